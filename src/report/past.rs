//! A run that has ended, read back from what it left beside its outputs.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Name of the manifest in a run's directory.
const MANIFEST: &str = "manifest.json";

/// A run's directory and its manifest.
pub struct PastRun {
    /// The directory.
    pub dir: PathBuf,
    /// The manifest.
    pub manifest: Value,
}

/// Why there is no run to read.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// Neither a run's directory nor an output with one beside it.
    #[error("{0}: no manifest here or beside it")]
    NoRun(String),
    /// The manifest is damaged.
    #[error("{path}: {error}")]
    Manifest {
        /// The file.
        path: String,
        /// What is wrong.
        error: io::Error,
    },
}

impl PastRun {
    /// The run that `path` names: its directory, the manifest in it, or one of its outputs.
    ///
    /// # Errors
    /// If there is no manifest, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, PastError> {
        let found = if path.is_dir() {
            Some(path.join(MANIFEST)).filter(|manifest| manifest.is_file())
        } else if path.file_name().is_some_and(|name| name == MANIFEST) {
            Some(path.to_owned()).filter(|manifest| manifest.is_file())
        } else {
            manifest_beside(path)
        };
        let Some(manifest) = found else {
            return Err(PastError::NoRun(path.display().to_string()));
        };
        Self::read(&manifest).map_err(|error| PastError::Manifest {
            path: manifest.display().to_string(),
            error,
        })
    }

    fn read(manifest: &Path) -> io::Result<Self> {
        let value: Value = serde_json::from_reader(BufReader::new(File::open(manifest)?))?;
        if !value.is_object() {
            return Err(io::Error::other("it is no manifest of djr"));
        }
        Ok(Self {
            dir: manifest.parent().map_or_else(PathBuf::new, Path::to_owned),
            manifest: value,
        })
    }

    /// The name of input number `file`.
    #[must_use]
    pub fn input_name(&self, file: u64) -> &str {
        usize::try_from(file)
            .ok()
            .and_then(|file| self.inputs().get(file))
            .and_then(|input| input["name"].as_str())
            .unwrap_or("?")
    }

    /// The inputs' fingerprints.
    #[must_use]
    pub fn inputs(&self) -> &[Value] {
        self.list("inputs")
    }

    /// A list of the manifest.
    #[must_use]
    pub fn list(&self, name: &str) -> &[Value] {
        self.manifest[name].as_array().map_or(&[], Vec::as_slice)
    }

    /// The ledger's path. A run's directory may have been moved: its own files are looked for in
    /// it.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.dir.join("ledger.jsonl.zst")
    }

    /// The quarantine's path, if the run set a row aside.
    #[must_use]
    pub fn quarantine(&self) -> Option<PathBuf> {
        (!self.manifest["quarantine"].is_null()).then(|| self.dir.join("quarantine.jsonl"))
    }

    /// Calls `each` with every line of the ledger until it returns false.
    ///
    /// # Errors
    /// If the ledger is missing or damaged.
    pub fn each_entry(&self, each: impl FnMut(&[u8]) -> io::Result<bool>) -> io::Result<()> {
        let decoder = zstd::Decoder::new(File::open(self.ledger())?)?;
        each_line(BufReader::with_capacity(1 << 16, decoder), each)
    }

    /// Calls `each` with every record of the quarantine until it returns false.
    ///
    /// # Errors
    /// If the quarantine is missing or unreadable.
    pub fn each_set_aside(&self, each: impl FnMut(&[u8]) -> io::Result<bool>) -> io::Result<()> {
        match self.quarantine() {
            Some(path) => each_line(BufReader::with_capacity(1 << 16, File::open(path)?), each),
            None => Ok(()),
        }
    }
}

/// The manifest of `<name>.djr` beside an output, or of whichever run beside it wrote it.
fn manifest_beside(output: &Path) -> Option<PathBuf> {
    let name = output.file_name()?.to_string_lossy().into_owned();
    let base = name.split_once('.').map_or(name.as_str(), |(base, _)| base);
    let directory = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let own = directory.join(format!("{base}.djr")).join(MANIFEST);
    if own.is_file() {
        return Some(own);
    }
    let output = std::fs::canonicalize(output).ok()?;
    let mut others: Vec<PathBuf> = std::fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "djr"))
        .map(|path| path.join(MANIFEST))
        .collect();
    others.sort();
    others.into_iter().find(|manifest| {
        PastRun::read(manifest).is_ok_and(|run| {
            let outputs = run.list("outputs").iter();
            let files = outputs.flat_map(|o| o["files"].as_array().into_iter().flatten());
            let mut paths = files.filter_map(|file| file["path"].as_str());
            paths.any(|path| std::fs::canonicalize(path).is_ok_and(|path| path == output))
        })
    })
}

fn each_line(
    mut reader: impl BufRead,
    mut each: impl FnMut(&[u8]) -> io::Result<bool>,
) -> io::Result<()> {
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if !each(&line)? {
            break;
        }
        line.clear();
    }
    Ok(())
}
