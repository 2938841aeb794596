//! A file as a source.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::SchemaRef;

use super::bytes::{Origin, RemoteBytes};
use super::columns::Batches;
use super::drawn::Drawn;
use super::folder;
use super::lines;
use super::opened::Opened;
use super::{
    Fingerprint, OnBrokenInput, Reading, RowReader, Source, SourceError, Split, is_of_system,
};
use crate::archive::frames::{Framed, FramedBytes};
use crate::archive::packing::split_name;
use crate::io::atomic::digest_of;
use crate::io::remote;

/// A file of rows, packed or not, a pipe that has a name, a folder of samples, or an object of a
/// store ([`remote`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// Where it lies; an object has its URL here.
    pub path: PathBuf,
    /// How it is read.
    pub reading: Arc<Reading>,
    /// Which of its rows are, if not all.
    pub drawn: Option<Drawn>,
}

impl FileSource {
    /// A file that is read as usual.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            reading: Arc::default(),
            drawn: None,
        }
    }

    /// Opens it and finds out what it is.
    ///
    /// # Errors
    /// If it cannot be read, or holds no rows that djr reads.
    pub fn look(&self) -> Result<Opened, SourceError> {
        if remote::is_remote(&self.path) {
            let object = remote::Object::open(&self.path).map_err(|e| self.failed(e))?;
            let origin = Origin::Remote(RemoteBytes::new(object));
            return Opened::new(&self.name(), &self.file_name(), origin, &self.reading);
        }
        let file_name = self.file_name();
        let file = File::open(&self.path).map_err(|e| self.failed(e))?;
        let plain = file.metadata().map_err(|e| self.failed(e))?.is_file();
        let origin = if plain {
            Origin::Plain(file)
        } else {
            Origin::Stream(Box::new(file))
        };
        Opened::new(&self.name(), &file_name, origin, &self.reading)
    }

    /// Whether it is a folder that has each of its rows in several files.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.path.is_dir() && folder::holds_samples(&self.path)
    }

    /// The columns of its rows, if it is a column file.
    #[must_use]
    pub fn columns(&self) -> Option<SchemaRef> {
        // What is read of a pipe is gone.
        let lasts = self.is_remote() || self.path.is_file();
        let opened = lasts.then(|| self.look().ok())??;
        let format = opened.format();
        if !format.needs_file() {
            return None;
        }
        let file = opened.into_bytes().into_whole().ok()?;
        Some(format.batches(file).ok()??.schema())
    }

    /// Whether it is an object of a store, or of a web server.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        remote::is_remote(&self.path)
    }

    fn file_name(&self) -> String {
        if self.is_remote() {
            return remote::file_name(&self.path.to_string_lossy()).to_owned();
        }
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn rows(&self, opened: Opened) -> Result<Box<dyn RowReader>, SourceError> {
        let what = opened.format().name().to_owned();
        opened.rows(&self.reading).map_err(|error| {
            if is_of_system(&error) {
                return self.failed(error);
            }
            SourceError::Invalid {
                name: self.name(),
                what: format!("{what} that cannot be read"),
                error,
            }
        })
    }

    /// As [`Self::look`], if rows of it can be read without those before them.
    fn look_to_cut(&self) -> Result<Option<Opened>, SourceError> {
        if self.drawn.is_some() {
            return Ok(None);
        }
        if !self.is_remote() {
            let found = std::fs::metadata(&self.path).map_err(|e| self.failed(e))?;
            if !found.is_file() {
                return Ok(None);
            }
        }
        let opened = self.look()?;
        if !opened.is_packed() {
            return Ok(Some(opened));
        }
        self.look_at_frames()
    }

    /// The file unpacked from anywhere, if it is a packed one for which that is known, and holds rows that
    /// can be cut.
    fn look_at_frames(&self) -> Result<Option<Opened>, SourceError> {
        if self.is_remote() {
            return Ok(None);
        }
        let framed = File::open(&self.path).and_then(Framed::of);
        let Some(framed) = framed.map_err(|e| self.failed(e))? else {
            return Ok(None);
        };
        let origin = Origin::Framed(FramedBytes::new(Arc::new(framed), 0));
        let opened = Opened::new(&self.name(), &self.file_name(), origin, &self.reading)?;
        Ok(Some(opened).filter(|opened| !opened.format().needs_file()))
    }

    fn failed(&self, error: io::Error) -> SourceError {
        SourceError::Io {
            name: self.name(),
            error,
        }
    }
}

impl Source for FileSource {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn suffix(&self) -> String {
        if self.path.is_dir() {
            return ".json".into();
        }
        let suffix_of = |name: &str| match Path::new(name).extension() {
            Some(extension) => format!(".{}", extension.to_string_lossy().to_lowercase()),
            None => String::new(),
        };
        let name = self.file_name();
        let (stem, packing) = split_name(&name);
        match suffix_of(stem) + &packing.to_lowercase() {
            suffix if suffix.is_empty() => ".".into(),
            suffix => suffix,
        }
    }

    /// What stands beside an object is not read: relative paths of its rows start from the working
    /// directory.
    fn directory(&self) -> Option<PathBuf> {
        if self.is_remote() {
            return None;
        }
        if self.path.is_dir() {
            return Some(self.path.clone());
        }
        Some(self.path.parent().map_or_else(PathBuf::new, Path::to_owned))
    }

    fn fingerprint(&self) -> io::Result<Option<Fingerprint>> {
        if self.path.is_dir() {
            return folder::fingerprint(&self.path).map(Some);
        }
        Fingerprint::of(&self.path)
    }

    fn digest(&self, all: bool) -> io::Result<Option<String>> {
        if self.is_remote() || !self.path.is_file() {
            return Ok(None);
        }
        let passed_over = |opened: Opened| opened.format().is_read_again();
        if !all && self.look().is_ok_and(passed_over) {
            return Ok(None);
        }
        digest_of(&self.path).map(|(_, digest)| Some(digest))
    }

    fn size(&self) -> Option<u64> {
        if self.is_remote() {
            let object = remote::Object::open(&self.path).ok()?;
            return (!self.look().ok()?.is_packed()).then(|| object.size());
        }
        let metadata = std::fs::metadata(&self.path).ok()?;
        let plain = metadata.is_file() && !self.look().ok()?.is_packed();
        plain.then_some(metadata.len())
    }

    fn on_broken(&self) -> OnBrokenInput {
        self.reading.spec.on_broken_input
    }

    fn check(&self) -> Result<(), SourceError> {
        if self.is_remote() {
            let opened = self.look()?;
            if opened.format().needs_file() && self.on_broken() == OnBrokenInput::Fail {
                self.rows(opened)?;
            }
            return Ok(());
        }
        let metadata = std::fs::metadata(&self.path).map_err(|e| self.failed(e))?;
        // What is read from a pipe is gone.
        if metadata.is_dir() && folder::holds_samples(&self.path) {
            return Ok(());
        }
        if metadata.is_file() || metadata.is_dir() {
            let opened = self.look()?;
            if opened.format().needs_file() && self.on_broken() == OnBrokenInput::Fail {
                self.rows(opened)?;
            }
        }
        Ok(())
    }

    fn splits(&self, bytes: u64) -> Result<Vec<Split>, SourceError> {
        let failed = |e| self.failed(e);
        let Some(opened) = self.look_to_cut()? else {
            return Ok(vec![Split::default()]);
        };
        let format = opened.format();
        if format.needs_file() {
            // A footer that cannot be read is found once more by who reads the rows.
            let columns = opened
                .into_bytes()
                .into_whole()
                .and_then(|it| format.batches(it));
            let cuts = columns.ok().flatten().map(|it| row_cuts(&*it, bytes));
            return Ok(Split::between_rows(&cuts.unwrap_or_default()));
        }
        let whole = opened.into_bytes().into_whole();
        let cuts = whole.and_then(|it| format.cuts(&it, bytes));
        Ok(Split::between(&cuts.map_err(failed)?))
    }

    fn extent(&self) -> Result<Option<u64>, SourceError> {
        let Some(opened) = self.look_to_cut()? else {
            return Ok(None);
        };
        let format = opened.format();
        if format.needs_file() {
            // A footer that cannot be read is found once more by who reads the rows.
            let columns = opened
                .into_bytes()
                .into_whole()
                .map(|it| format.batches(it));
            return Ok(columns
                .and_then(|it| it)
                .ok()
                .flatten()
                .and_then(|it| it.rows()));
        }
        let whole = opened.into_bytes().into_whole();
        let extent = whole.and_then(|it| format.extent(&it));
        extent.map_err(|e| self.failed(e))
    }

    fn lines(&self, from: u64, until: u64) -> Result<u64, SourceError> {
        let cut = self.look_to_cut()?.map_or_else(|| self.look(), Ok)?;
        let whole = cut.into_bytes().into_whole();
        let counted = whole.and_then(|it| lines::count(&it, from, until));
        counted.map_err(|e| self.failed(e))
    }

    fn open(&self, split: Split) -> Result<Box<dyn RowReader>, SourceError> {
        if let Some(drawn) = &self.drawn {
            let whole = Self {
                drawn: None,
                ..self.clone()
            };
            let rows = drawn.open(&whole)?;
            return split.of(rows).map_err(|e| self.failed(e));
        }
        if self.path.is_dir() {
            let rows = folder::open(&self.path, &self.reading);
            return rows
                .and_then(|rows| split.of(rows))
                .map_err(|e| self.failed(e));
        }
        let mut opened = self.look()?;
        if opened.is_packed() && split.from.bytes > 0 {
            // What is before the piece need not be unpacked where it can be told where frames begin.
            opened = self.look_at_frames()?.unwrap_or(opened);
        }
        let rows = self.rows(opened)?;
        split.of(rows).map_err(|e| self.failed(e))
    }
}

/// Where a column file is cut so that each piece has about so many `bytes`: the first rows of some of
/// its row groups, which are damaged and read as a whole.
fn row_cuts(columns: &dyn Batches, bytes: u64) -> Vec<u64> {
    let Some(rows) = columns.rows().filter(|rows| *rows > 0) else {
        return Vec::new();
    };
    let of_row = columns.bytes().div_ceil(rows).max(1);
    let (mut cuts, mut from) = (Vec::new(), 0);
    let mut end = columns.piece_end(0);
    while end < rows {
        if (end - from).saturating_mul(of_row) >= bytes {
            cuts.push(end);
            from = end;
        }
        let next = columns.piece_end(end);
        if next <= end {
            break;
        }
        end = next;
    }
    cuts
}
