//! What a URL says before anybody is asked.

use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

/// Who has what a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Amazon's S3, or what speaks its language.
    S3,
    /// Google's Cloud Storage.
    Google,
    /// Microsoft's Blob Storage.
    Azure,
    /// Any server; it can only be read from, and lists nothing.
    Http,
    /// A data set of Hugging Face's hub; it can only be read from.
    Hub,
}

impl Kind {
    /// Whose a URL is; `None` if nobody's that djr knows, or if it is none.
    #[must_use]
    pub fn of(written: &str) -> Option<Self> {
        Some(match written.split_once("://")?.0 {
            "s3" | "s3a" => Self::S3,
            "gs" => Self::Google,
            "az" | "azure" | "adl" | "abfs" | "abfss" => Self::Azure,
            "http" | "https" => Self::Http,
            "hf" => Self::Hub,
            _ => return None,
        })
    }

    /// Whether it tells which objects it has.
    #[must_use]
    pub fn lists(self) -> bool {
        self != Self::Http
    }

    /// Whether djr writes to it.
    #[must_use]
    pub fn is_written_to(self) -> bool {
        matches!(self, Self::S3 | Self::Google | Self::Azure)
    }
}

/// What is said of a URL that is nobody's.
pub(super) const UNKNOWN: &str =
    "djr knows URLs that begin with s3://, gs://, az://, abfs://, https:// and hf://";

/// Whether a path is written as a URL.
#[must_use]
pub fn is_remote(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    let Some(end) = memchr::memmem::find(text, b"://") else {
        return false;
    };
    let scheme = text.get(..end).unwrap_or_default();
    !scheme.is_empty() && scheme.iter().all(u8::is_ascii_alphanumeric)
}

/// The last part of the path of a URL, without its query.
#[must_use]
pub fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

/// What stands before the last part of the path of a URL.
#[must_use]
pub fn parent_of(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The local name, in the working directory, of what will be uploaded as `url`: where it waits and
/// what is locked. No two URLs have one.
#[must_use]
pub fn stand_in(url: &Path) -> PathBuf {
    let text = url.as_os_str().as_encoded_bytes();
    let name = url.file_name().unwrap_or_default().to_string_lossy();
    PathBuf::from(format!("{name}-{:016x}", xxh3_64(text)))
}

/// A place in a data set of Hugging Face's hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubPlace<'a> {
    /// `ORG/NAME`.
    pub set: &'a str,
    /// A branch, a tag or a commit.
    pub revision: &'a str,
    /// A file, a folder or a pattern in it; empty for all of it.
    pub path: &'a str,
}

impl<'a> HubPlace<'a> {
    /// What stands behind `hf://`.
    #[must_use]
    pub fn parse(written: &'a str) -> Option<Self> {
        let rest = written.strip_prefix("datasets/")?;
        let (organisation, rest) = rest.split_once('/')?;
        let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        let plain = |text: &str| {
            let sound = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !text.is_empty() && !text.starts_with('.') && text.chars().all(sound)
        };
        let climbs = path.split('/').any(|part| part == "..");
        let end = organisation.len() + 1 + name.len();
        let set = written.strip_prefix("datasets/")?.get(..end)?;
        (plain(organisation) && plain(name) && plain(revision) && !climbs).then_some(Self {
            set,
            revision,
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for url in ["s3://b/k", "https://h/x?y", "hf://datasets/a/b", "foo://x"] {
            assert!(is_remote(Path::new(url)), "{url}");
        }
        for path in ["a/b", "/s3:/x", "a/s3://b", "://x", "c:/x"] {
            assert!(!is_remote(Path::new(path)), "{path}");
        }
        assert_eq!(Kind::of("s3a://b/k"), Some(Kind::S3));
        assert_eq!(Kind::of("ftp://b/k"), None);
        assert_eq!(file_name("https://h/a/x.jsonl.gz?sig=/y"), "x.jsonl.gz");
        assert_eq!(parent_of("s3://b/a/x.jsonl"), "s3://b/a");
    }

    #[test]
    fn what_waits_for_two_urls_has_two_names() {
        let name = |url: &str| stand_in(Path::new(url)).display().to_string();
        assert!(name("s3://a/x.jsonl").starts_with("x.jsonl-"));
        assert_ne!(name("s3://a/x.jsonl"), name("s3://b/x.jsonl"));
    }

    #[test]
    fn places_of_the_hub_are_read_as_they_are_written() {
        let place = |set, revision, path| {
            Some(HubPlace {
                set,
                revision,
                path,
            })
        };
        assert_eq!(HubPlace::parse("datasets/a/b"), place("a/b", "main", ""));
        assert_eq!(
            HubPlace::parse("datasets/a/b@v1.0/data/*.parquet"),
            place("a/b", "v1.0", "data/*.parquet")
        );
        for other in [
            "a/b",
            "datasets/a",
            "datasets/../b",
            "datasets/a/b/../../x",
            "datasets/a/b@..",
        ] {
            assert_eq!(HubPlace::parse(other), None, "{other}");
        }
    }
}
