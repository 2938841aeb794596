//! How rows lie in a file, and the files that another one names.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Trainer;
use crate::io::SourceError;
use crate::io::source::FileSource;

/// How rows lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// One JSON array.
    Array,
    /// JSON objects, one a line.
    Lines,
    /// JSON objects over several lines.
    Objects,
    /// Samples in a tar archive.
    Tar,
    /// Columns of another kind of file.
    Columns,
}

impl Container {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Array => "one JSON array",
            Self::Lines => "JSON objects one a line",
            Self::Objects => "JSON objects over several lines",
            Self::Tar => "a tar archive",
            Self::Columns => "a file of columns",
        }
    }
}

/// What a file is.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// How rows lie in it.
    pub container: Container,
    /// Whether it begins with a byte order mark.
    pub has_mark: bool,
    /// Whether it is compressed.
    pub is_packed: bool,
    /// Whether it ends in blank lines.
    pub ends_blank: bool,
}

impl Form {
    /// Looks at a file.
    ///
    /// # Errors
    /// If it cannot be read, or holds no rows that djr reads.
    pub fn of(path: &Path) -> Result<Self, SourceError> {
        let failed = |error| SourceError::Io {
            name: path.display().to_string(),
            error,
        };
        let opened = FileSource::new(path.to_owned()).look()?;
        let is_packed = opened.is_packed();
        let word = opened.format().word();
        let is_binary = opened.format().is_binary();
        let mut bytes = opened.into_bytes();
        let head = bytes.peek().map_err(failed)?.trim_ascii_start();
        let container = match (is_binary, head.first()) {
            (true, _) if word == "webdataset" => Container::Tar,
            (false, Some(b'[')) => Container::Array,
            (false, Some(b'{')) if word == "json" => Container::Objects,
            (false, Some(b'{') | None) => Container::Lines,
            _ => Container::Columns,
        };
        let (start, end) = ends(path).map_err(failed)?;
        Ok(Self {
            container,
            has_mark: start.starts_with(&[0xEF, 0xBB, 0xBF]),
            is_packed,
            ends_blank: end.ends_with(b"\n\n") || end.ends_with(b"\n\r\n"),
        })
    }
}

/// The first and the last bytes of a file.
fn ends(path: &Path) -> io::Result<(Vec<u8>, Vec<u8>)> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(3).read_to_end(&mut start)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4)))?;
    let mut end = Vec::new();
    file.take(4).read_to_end(&mut end)?;
    Ok((start, end))
}

/// A file of rows, and where its images are if another file says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The file.
    pub path: PathBuf,
    /// Where its relative image paths start.
    pub image_root: Option<PathBuf>,
}

/// The files of rows that `path` stands for: itself, or those that it lists as `trainer`'s meta
/// file does.
///
/// # Errors
/// If it is a meta file that does not name any.
pub fn files_of(trainer: &Trainer, path: &Path) -> Result<Vec<Named>, String> {
    let itself = || {
        vec![Named {
            path: path.to_owned(),
            image_root: None,
        }]
    };
    if trainer.name != super::internvl::TRAINER.name {
        return Ok(itself());
    }
    match super::internvl::entries(path) {
        None => Ok(itself()),
        Some(entries) if entries.is_empty() => {
            Err(format!("{}: a meta file without entries", path.display()))
        }
        Some(entries) => Ok(entries
            .into_iter()
            .map(|entry| Named {
                path: entry.annotation,
                image_root: entry.root,
            })
            .collect()),
    }
}

/// The members of a JSON object in a file; `None` if it is something else.
#[must_use]
pub fn object_in(path: &Path) -> Option<serde_json::Map<String, Value>> {
    let text = std::fs::read(path).ok()?;
    match serde_json::from_slice(&text) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}
