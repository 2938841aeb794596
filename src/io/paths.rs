//! How image paths are written: as they were, absolute, or relative to the output.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::recipe::PathStyle;
use crate::sample::{join, normalise};

/// Writes image paths in one style.
#[derive(Debug, Clone)]
pub struct PathWriter {
    style: PathStyle,
    working_dir: PathBuf,
    output_dir: PathBuf,
}

impl PathWriter {
    /// Paths in `style` for an output in `output_dir`, both resolved against `working_dir`.
    #[must_use]
    pub fn new(style: PathStyle, working_dir: &Path, output_dir: &Path) -> Self {
        Self {
            style,
            working_dir: working_dir.to_owned(),
            output_dir: normalise(working_dir.join(output_dir)),
        }
    }

    /// Whether paths stay as they are.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.style == PathStyle::Keep
    }

    /// The path to write for an image that the row calls `written` and that lies at `path`.
    #[must_use]
    pub fn rewrite<'a>(&self, written: &'a str, path: &Path) -> Cow<'a, str> {
        match self.style {
            PathStyle::Keep => Cow::Borrowed(written),
            PathStyle::Absolute => Cow::Owned(display(self.absolute(path))),
            PathStyle::Relative => {
                Cow::Owned(display(relative(&self.absolute(path), &self.output_dir)))
            }
        }
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        normalise(join(&self.working_dir, path))
    }
}

/// A path in JSON: its text, or its bytes where it has none.
#[must_use]
pub fn to_json(path: &Path) -> Value {
    match path.to_str() {
        Some(text) => text.into(),
        None => serde_json::json!({"bytes": path.as_os_str().as_bytes()}),
    }
}

/// What [`to_json`] wrote.
#[must_use]
pub fn from_json(json: &Value) -> Option<PathBuf> {
    if let Some(text) = json.as_str() {
        return Some(text.into());
    }
    let bytes = json.get("bytes")?.as_array()?;
    let bytes: Option<Vec<u8>> = bytes
        .iter()
        .map(|byte| u8::try_from(byte.as_u64()?).ok())
        .collect();
    Some(OsString::from_vec(bytes?).into())
}

fn display(path: PathBuf) -> String {
    // Paths come from JSON text, so they are Unicode, unless the folder's name is not.
    path.into_os_string()
        .into_string()
        .unwrap_or_else(|path| path.to_string_lossy().into_owned())
}

/// `path` as seen from `base`; both absolute and normalised.
fn relative(path: &Path, base: &Path) -> PathBuf {
    let mut from = base.components().peekable();
    let mut to = path.components().peekable();
    while let (Some(a), Some(b)) = (from.peek(), to.peek()) {
        if a != b {
            break;
        }
        from.next();
        to.next();
    }
    let up = from.map(|_| Component::ParentDir);
    up.chain(to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_text_comes_back_from_json() {
        let odd = PathBuf::from(OsString::from_vec(b"/data/\xff.json".to_vec()));
        for path in [PathBuf::from("/data/a.json"), odd] {
            assert_eq!(from_json(&to_json(&path)), Some(path));
        }
        assert_eq!(from_json(&Value::Null), None);
        assert_eq!(from_json(&serde_json::json!({"bytes": [300]})), None);
    }

    #[test]
    fn paths_are_rewritten_as_asked() {
        let rewrite = |style| {
            PathWriter::new(style, Path::new("/w"), Path::new("out/a"))
                .rewrite("./i/x.jpg", Path::new("data/./i/x.jpg"))
        };
        assert_eq!(rewrite(PathStyle::Keep), "./i/x.jpg");
        assert_eq!(rewrite(PathStyle::Absolute), "/w/data/i/x.jpg");
        assert_eq!(rewrite(PathStyle::Relative), "../../data/i/x.jpg");
    }
}
