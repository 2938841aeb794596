//! A row's image: opened at most once, decoded only as far as some operator asks.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// How a run finds and checks images; shared by all rows.
#[derive(Debug, Clone)]
pub struct ImageContext {
    /// The field that holds the paths (`images`).
    pub image_key: String,
    /// Where relative paths start, one directory an input file. One entry serves all files.
    pub roots: Vec<PathBuf>,
    /// Refuse whatever lies outside the row's root, symlinks followed.
    pub confine: bool,
}

impl Default for ImageContext {
    fn default() -> Self {
        Self {
            image_key: "images".into(),
            roots: vec![PathBuf::new()],
            confine: false,
        }
    }
}

impl ImageContext {
    /// The directory relative paths of rows of input `file` start from.
    #[must_use]
    pub fn root(&self, file: u32) -> &Path {
        self.roots
            .get(file as usize)
            .or_else(|| self.roots.last())
            .map_or(Path::new(""), PathBuf::as_path)
    }
}

/// What was read of images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageCounts {
    /// Files opened.
    pub opened: u64,
    /// Full decodes.
    pub full_decodes: u64,
}

impl ImageCounts {
    /// The counts as JSON, for the manifest.
    #[must_use]
    pub fn to_json(self) -> serde_json::Value {
        serde_json::json!({"opened": self.opened, "full_decodes": self.full_decodes})
    }

    /// Adds `other`.
    pub fn add(&mut self, other: Self) {
        self.opened += other.opened;
        self.full_decodes += other.full_decodes;
    }
}

/// One image of a row.
#[derive(Debug)]
pub struct ImageSlot {
    written: String,
    path: PathBuf,
    #[expect(dead_code, reason = "the decode ladder reads it")]
    context: Arc<ImageContext>,
}

impl ImageSlot {
    /// The image that the row calls `written`, of a row of input `file`.
    #[must_use]
    pub fn new(written: String, file: u32, context: Arc<ImageContext>) -> Self {
        let path = normalise(&context.root(file).join(&written));
        Self {
            written,
            path,
            context,
        }
    }

    /// The path as the row has it.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The path to open: joined with the root, `.` and `..` resolved by name, links untouched.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was read.
    #[must_use]
    pub fn counts(&self) -> ImageCounts {
        ImageCounts::default()
    }

    /// Whether it decoded.
    #[must_use]
    pub fn known_to_decode(&self) -> bool {
        false
    }

    /// Checks it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, _level: crate::recipe::Validation) -> Result<(), super::RowError> {
        Ok(())
    }

    /// Frees pixels and file bytes; what was learnt of the header stays.
    pub fn release(&mut self) {}
}

/// Resolves `.` and `..` without asking the file system, as Python's `os.path.normpath`.
#[must_use]
pub fn normalise(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match out.components().next_back() {
                Some(Component::Normal(_)) => {
                    out.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => {}
                _ => out.push(".."),
            },
            other => out.push(other),
        }
    }
    out
}
