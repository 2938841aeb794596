//! How image paths are written: as they were, absolute, or relative to the output.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::sample::{
    ImageSlot, JsonText, RowError, Sample, each_path, is_normal, is_url, join, push_escaped,
    simplify, words,
};

words! {
    /// How image paths are written.
    PathStyle {
        /// Absolute; `.` and `..` are resolved where no link is on the way.
        Absolute = "absolute",
        /// As they came in.
        Keep = "keep",
        /// Relative to the output's directory.
        Relative = "relative",
    }
}

/// Writes image paths in one style.
#[derive(Debug, Clone)]
pub struct PathWriter {
    style: PathStyle,
    working_dir: PathBuf,
    output_dir: PathBuf,
    /// The output's directory with its links resolved, from which `..` leads where it seems to.
    real_output_dir: PathBuf,
    /// How many folders one can go up from `output_dir` before the first link.
    steps_up: usize,
}

/// A path in two parts that need not be put together to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainPath<'a> {
    /// The folder that it is read from, if the row does not say it.
    pub root: Option<&'a str>,
    /// The path as the row has it.
    pub written: &'a str,
}

impl JsonText for PlainPath<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        if let Some(root) = self.root {
            push_escaped(root, out);
            out.push(b'/');
        }
        push_escaped(self.written, out);
        out.push(b'"');
    }
}

impl PathWriter {
    /// Paths in `style` for an output in `output_dir`, both resolved against `working_dir`.
    #[must_use]
    pub fn new(style: PathStyle, working_dir: &Path, output_dir: &Path) -> Self {
        let output_dir = simplify(working_dir.join(output_dir));
        let links = output_dir
            .ancestors()
            .map(|dir| std::fs::symlink_metadata(dir).is_ok_and(|found| found.is_symlink()));
        Self {
            style,
            working_dir: working_dir.to_owned(),
            real_output_dir: real_directory(&output_dir),
            steps_up: links.take_while(|link| !link).count(),
            output_dir,
        }
    }

    /// The same in another style.
    #[must_use]
    pub fn with_style(self, style: PathStyle) -> Self {
        Self { style, ..self }
    }

    /// Whether paths stay as they are.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.style == PathStyle::Keep
    }

    /// The path to write for an image that the row calls `written` and that lies at `path`.
    ///
    /// # Errors
    /// `image_path_invalid` if a folder on the way has a name that is no Unicode, which JSON cannot
    /// hold.
    pub fn rewrite<'a>(&self, written: &'a str, path: &'a Path) -> Result<Cow<'a, str>, RowError> {
        // The usual case: it is what it will be.
        if self.style == PathStyle::Absolute
            && path.is_absolute()
            && is_normal(path)
            && let Some(path) = path.to_str()
            && !is_url(written)
        {
            return Ok(Cow::Borrowed(path));
        }
        let path = match self.style {
            // What lies elsewhere has no path here.
            _ if is_url(written) => return Ok(Cow::Borrowed(written)),
            PathStyle::Keep => return Ok(Cow::Borrowed(written)),
            PathStyle::Absolute => self.absolute(path),
            PathStyle::Relative => self.relative(&self.absolute(path)),
        };
        let unicode = path.into_os_string().into_string();
        unicode.map(Cow::Owned).map_err(|path| {
            let message = format!(
                "its path cannot be written as JSON, the name of a folder is no Unicode: {}",
                Path::new(&path).display()
            );
            RowError::new("image_path_invalid", message)
        })
    }

    /// What [`PathWriter::rewrite`] makes of a path that lies below `root`, if that is plain to see:
    /// nothing in it must be resolved, and it is no URL.
    #[must_use]
    pub fn rewrite_plain<'a>(&self, written: &'a str, root: &'a Path) -> Option<PlainPath<'a>> {
        if self.style != PathStyle::Absolute || is_url(written) || !is_normal(Path::new(written)) {
            return None;
        }
        if written.starts_with('/') {
            let root = None;
            return Some(PlainPath { root, written });
        }
        let root = root.is_absolute().then(|| root.to_str())??;
        if written.is_empty() || !is_normal(Path::new(root)) {
            return None;
        }
        let root = Some(root);
        Some(PlainPath { root, written })
    }

    /// The path to write for an image of a row. One that came with the row has no path of its own,
    /// only a name.
    ///
    /// # Errors
    /// Those of [`PathWriter::rewrite`].
    pub fn image<'a>(&self, image: &'a ImageSlot) -> Result<Cow<'a, str>, RowError> {
        if image.attached().is_some() {
            return Ok(Cow::Borrowed(image.written()));
        }
        self.rewrite(image.written(), image.path())
    }

    /// The fields of videos and audios of a row whose paths are to be written otherwise, in their own
    /// shapes.
    ///
    /// # Errors
    /// Those of [`Sample::media`] and [`PathWriter::rewrite`].
    pub fn media<'s>(&self, sample: &'s Sample) -> Result<Vec<(&'s str, Value)>, RowError> {
        let mut changed = Vec::new();
        for (key, mut value) in sample.media()? {
            let mut rewritten = false;
            each_path(
                &mut value,
                &mut |written: &mut String| -> Result<(), RowError> {
                    let new = self
                        .rewrite(written, &sample.path_of(written))?
                        .into_owned();
                    rewritten |= new != *written;
                    *written = new;
                    Ok(())
                },
            )?;
            if rewritten {
                changed.push((key, value));
            }
        }
        Ok(changed)
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        simplify(join(&self.working_dir, path))
    }

    fn relative(&self, path: &Path) -> PathBuf {
        let seen = relative(path, &self.output_dir);
        let up = |part: &Component<'_>| matches!(part, Component::ParentDir);
        if seen.components().take_while(up).count() > self.steps_up {
            return relative(path, &self.real_output_dir);
        }
        seen
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

/// `dir` with its links resolved, as far as it exists.
fn real_directory(dir: &Path) -> PathBuf {
    for there in dir.ancestors() {
        if let Ok(real) = std::fs::canonicalize(there) {
            return dir
                .strip_prefix(there)
                .map_or_else(|_| real.clone(), |rest| join(&real, rest));
        }
    }
    dir.to_owned()
}

/// `path` as seen from `base`; both absolute and simplified.
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
    use std::ffi::OsStr;

    use proptest::prelude::*;

    use super::*;
    use crate::sample::push_string;

    #[test]
    fn a_path_that_is_no_text_comes_back_from_json() {
        let odd = PathBuf::from(OsString::from_vec(b"/data/\xff.json".to_vec()));
        for path in [PathBuf::from("/data/a.json"), odd] {
            assert_eq!(from_json(&to_json(&path)), Some(path));
        }
        assert_eq!(from_json(&Value::Null), None);
        assert_eq!(from_json(&serde_json::json!({"bytes": [300]})), None);
    }

    proptest! {
        #[test]
        fn plain_paths_are_rewritten_as_all_are(
            written in r"(/|\./|\.\./|a|b\.jpg|https://){0,4}",
            root in r"(/|\.|\.\./|/data|x){0,3}",
            style in 0..3_usize,
        ) {
            let styles = [PathStyle::Absolute, PathStyle::Keep, PathStyle::Relative];
            let writer = PathWriter::new(styles[style], Path::new("/w"), Path::new("out"));
            let root = Path::new(&root);
            if let Some(plain) = writer.rewrite_plain(&written, root) {
                let lies = join(root, Path::new(&written));
                let (mut short, mut long) = (Vec::new(), Vec::new());
                plain.write(&mut short);
                push_string(&writer.rewrite(&written, &lies).unwrap(), &mut long);
                prop_assert_eq!(short, long);
            }
        }
    }

    #[test]
    fn paths_are_rewritten_as_asked() {
        let rewrite = |style| {
            PathWriter::new(style, Path::new("/w"), Path::new("out/a"))
                .rewrite("./i/x.jpg", Path::new("data/./i/x.jpg"))
                .unwrap()
        };
        assert_eq!(rewrite(PathStyle::Keep), "./i/x.jpg");
        assert_eq!(rewrite(PathStyle::Absolute), "/w/data/i/x.jpg");
        assert_eq!(rewrite(PathStyle::Relative), "../../data/i/x.jpg");
        let url = "https://example.org/x.jpg";
        let writer = PathWriter::new(PathStyle::Absolute, Path::new("/w"), Path::new("out"));
        assert_eq!(
            writer.rewrite(url, Path::new("data/https:/x")).unwrap(),
            url
        );
        let folder = OsStr::from_bytes(b"fo\xFFlder/i.jpg");
        let refused = writer.rewrite("i.jpg", Path::new(folder)).unwrap_err();
        assert_eq!(refused.code, "image_path_invalid");
    }
}
