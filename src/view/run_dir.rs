//! The directory a run leaves, read back: manifest, ledger, quarantine, and where its outputs are.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::ViewError;
use crate::io::Input;

/// A run directory.
#[derive(Debug)]
pub struct RunDir {
    /// Where it is.
    pub dir: PathBuf,
    /// `manifest.json`.
    pub manifest: Value,
}

/// One record of the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LedgerRow {
    /// Index of the input in the manifest.
    pub file: u32,
    /// Line in it, from 1.
    pub line: u64,
    /// Global byte offset: the row's identity.
    pub offset: u64,
    /// The row's `id` as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Box<RawValue>>,
    /// `kept`, `dropped`, `quarantined` or `merged`.
    pub fate: String,
    /// The operator or output that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The operator's position in `process`, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// The stat that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stat: Option<String>,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The bound it broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Identity of the row it duplicates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<u64>,
    /// Why it could not be processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One record of the quarantine.
#[derive(Debug, Clone, Deserialize)]
pub struct SetAside {
    /// The input's name.
    pub input: String,
    /// Line in it, from 1.
    pub line: u64,
    /// Global byte offset.
    pub offset: u64,
    /// The row's `id` as JSON text.
    #[serde(default)]
    pub id: Option<Box<RawValue>>,
    /// The operator or output that could not process it.
    pub stage: String,
    /// The stable word.
    pub code: String,
    /// The reason for people.
    pub reason: String,
    /// The row as it was read, if it is UTF-8.
    #[serde(default)]
    pub row: Option<String>,
}

/// Records of a JSON Lines file, one at a time.
pub struct Records<T> {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    line: Vec<u8>,
    number: u64,
    marker: std::marker::PhantomData<T>,
}

/// One output of a run, as its manifest has it.
#[derive(Debug, Clone)]
pub struct RunOutput {
    /// Its path as the manifest names it.
    pub name: String,
    /// Its format.
    pub format: String,
    /// Whether it is a sample.
    pub sampled: bool,
    /// Rows written.
    pub written: u64,
    /// Its files, as far as they are still there.
    pub files: Vec<PathBuf>,
    /// Whether all of them are there, with the size that the run wrote.
    pub complete: bool,
}

impl RunDir {
    /// Whether `path` is a directory with a manifest.
    #[must_use]
    pub fn is_one(path: &Path) -> bool {
        path.is_dir() && path.join("manifest.json").is_file()
    }

    /// Reads the manifest of the run directory `dir`.
    ///
    /// # Errors
    /// If there is none, or it is not a manifest.
    pub fn open(dir: &Path) -> Result<Self, ViewError> {
        let path = dir.join("manifest.json");
        let text = std::fs::read(&path).map_err(|e| ViewError::read(path.display(), e))?;
        let manifest: Value = serde_json::from_slice(&text)
            .map_err(|e| ViewError::format(path.display(), format!("not a manifest: {e}")))?;
        if !manifest["rows"].is_object() || !manifest["recipe"].is_object() {
            return Err(ViewError::format(
                path.display(),
                "not the manifest of a run: it has no rows or no recipe",
            ));
        }
        Ok(Self {
            dir: dir.to_owned(),
            manifest,
        })
    }

    /// The ledger, row by row.
    ///
    /// # Errors
    /// If it is not there.
    pub fn ledger(&self) -> Result<Records<LedgerRow>, ViewError> {
        Records::open(&self.dir.join("ledger.jsonl.zst"))
    }

    /// The rows set aside; `None` if there are none.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn quarantine(&self) -> Result<Option<Records<SetAside>>, ViewError> {
        let path = self.dir.join("quarantine.jsonl");
        if self.manifest["quarantine"].is_null() || !path.exists() {
            return Ok(None);
        }
        Records::open(&path).map(Some)
    }

    /// The outputs.
    #[must_use]
    pub fn outputs(&self) -> Vec<RunOutput> {
        let specs = self.manifest["recipe"]["outputs"].as_array();
        let outputs = self.manifest["outputs"].as_array();
        let (Some(specs), Some(outputs)) = (specs, outputs) else {
            return Vec::new();
        };
        outputs
            .iter()
            .zip(specs)
            .map(|(output, spec)| {
                let listed = output["files"].as_array().map_or(&[][..], Vec::as_slice);
                let files: Vec<PathBuf> = listed.iter().filter_map(|f| self.file(f)).collect();
                RunOutput {
                    name: text(&output["name"]),
                    format: text(&output["format"]),
                    sampled: !spec["sample"].is_null(),
                    written: output["written"].as_u64().unwrap_or(0),
                    complete: files.len() == listed.len(),
                    files,
                }
            })
            .collect()
    }

    /// Where a file that the manifest lists is now: under its name, or beside the run directory if
    /// both were moved together; `None` if it is not there with the size it was written with.
    #[must_use]
    pub fn file(&self, file: &Value) -> Option<PathBuf> {
        let written = PathBuf::from(file["path"].as_str()?);
        let beside = self
            .dir
            .parent()
            .zip(written.file_name())
            .map(|(dir, name)| dir.join(name));
        let size = file["bytes"].as_u64();
        [Some(written), beside]
            .into_iter()
            .flatten()
            .find(|path| std::fs::metadata(path).is_ok_and(|m| Some(m.len()) == size))
    }
}

impl<T: DeserializeOwned> Records<T> {
    /// Opens `path`, packed if its name ends in `.zst`.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, ViewError> {
        let fail = |e| ViewError::read(path.display(), e);
        let file = File::open(path).map_err(fail)?;
        let bytes: Box<dyn Read> = if path.extension().is_some_and(|e| e == "zst") {
            Box::new(zstd::stream::read::Decoder::new(file).map_err(fail)?)
        } else {
            Box::new(file)
        };
        Ok(Self {
            path: path.to_owned(),
            reader: Box::new(BufReader::with_capacity(1 << 18, bytes)),
            line: Vec::new(),
            number: 0,
            marker: std::marker::PhantomData,
        })
    }

    /// The next record.
    ///
    /// # Errors
    /// If the file cannot be read on, or a line is not such a record.
    pub fn next_record(&mut self) -> Result<Option<T>, ViewError> {
        self.line.clear();
        let read = self
            .reader
            .read_until(b'\n', &mut self.line)
            .map_err(|e| ViewError::read(self.path.display(), e))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        serde_json::from_slice(&self.line).map(Some).map_err(|e| {
            ViewError::format(
                format!("{}:{}", self.path.display(), self.number),
                format!("not a record of this file: {e}"),
            )
        })
    }
}

/// The inputs that a manifest or an analysis names, in order; `None` where one was a pipe.
pub(crate) fn inputs_of(looked_at: &Value) -> Option<Vec<Input>> {
    let list = looked_at["inputs"].as_array()?;
    list.iter()
        .map(|input| match input["name"].as_str() {
            None | Some("<stdin>") => None,
            Some(name) => Some(Input::File(PathBuf::from(name))),
        })
        .collect()
}

/// The text in `value`, empty if it is none.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
