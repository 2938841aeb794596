//! The cache as a run uses it: what a file holds by its path, and what was measured of contents.

use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::xxh3_128;

use super::kernel::FILE_ID;
use super::{Cache, Key};

/// Whether a file is known by what the system says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// A file of the same size, times and number has the same content.
    #[default]
    Stat,
    /// Its content is read and digested each time.
    Content,
}

/// The user's own cache: `$XDG_CACHE_HOME/djr`, or `~/.cache/djr`.
#[must_use]
pub fn user_dir(env: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let named = |name| {
        env(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = named("XDG_CACHE_HOME").filter(|dir| dir.is_absolute());
    let base = base.or_else(|| named("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("djr"))
}

/// What the system says of a file: if all of it is the same, so is the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    size: u64,
    /// Nanoseconds since 1970: when the content was written, and when anything of the file was.
    modified: i64,
    changed: i64,
    inode: u64,
}

/// A file may be written twice within the resolution of its times: one that was written so
/// shortly ago is not known by them.
const RACY_NANOS: i64 = 2_000_000_000;

impl Stat {
    /// That of an open file or a path.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let nanos =
            |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            size: metadata.size(),
            modified: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanos(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// Whether whoever writes the file from now on changes its times.
    fn is_settled(&self) -> bool {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| {
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        });
        self.modified.max(self.changed) < now.saturating_sub(RACY_NANOS)
    }

    fn numbers(&self) -> [[u8; 8]; 4] {
        [
            self.size.to_le_bytes(),
            self.modified.to_le_bytes(),
            self.changed.to_le_bytes(),
            self.inode.to_le_bytes(),
        ]
    }
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKnown {
    /// The digest of its content.
    Content(u128),
    /// It has been written since.
    Stale,
    /// Nothing.
    Nothing,
}

/// A cache of results.
#[derive(Debug)]
pub struct Results {
    cache: Cache,
    trust: Trust,
}

impl Results {
    /// Opens the cache in `dir`.
    ///
    /// # Errors
    /// Those of [`Cache::open`].
    pub fn open(dir: &Path, trust: Trust) -> io::Result<Self> {
        Ok(Self {
            cache: Cache::open(dir)?,
            trust,
        })
    }

    /// The cache itself.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Whether files are known by what the system says of them.
    #[must_use]
    pub fn trusts_stat(&self) -> bool {
        self.trust == Trust::Stat
    }

    /// The result of `kernel` for `content`.
    #[must_use]
    pub fn get(&self, content: u128, kernel: u64) -> Option<Vec<u8>> {
        self.cache.get(Key { content, kernel })
    }

    /// Keeps a result. One that cannot be kept is computed again; the cache says so once.
    pub fn keep(&self, content: u128, kernel: u64, value: &[u8]) {
        let _ = self.cache.put(Key { content, kernel }, value);
    }

    /// What is known of the file at `path`, of which the system says `stat`.
    #[must_use]
    pub fn file(&self, path: &Path, stat: &Stat) -> FileKnown {
        if !self.trusts_stat() {
            return FileKnown::Nothing;
        }
        let Some(path) = absolute(path) else {
            return FileKnown::Nothing;
        };
        let Some(value) = self.get(path_digest(&path), *FILE_ID) else {
            return FileKnown::Nothing;
        };
        match parse_file(&value) {
            Some((known, digest, at)) if at == path && known == stat.numbers() => {
                FileKnown::Content(digest)
            }
            _ => FileKnown::Stale,
        }
    }

    /// Keeps the digest of what the file at `path` held while the system said `stat` of it.
    pub fn keep_file(&self, path: &Path, stat: &Stat, digest: u128) {
        if !stat.is_settled() {
            return;
        }
        let Some(path) = absolute(path) else {
            return;
        };
        let mut value = stat.numbers().concat();
        value.extend_from_slice(&digest.to_le_bytes());
        value.extend_from_slice(path.as_os_str().as_bytes());
        self.keep(path_digest(&path), *FILE_ID, &value);
    }
}

/// What [`Results::keep_file`] wrote: what the system said, the digest, the path.
fn parse_file(value: &[u8]) -> Option<([[u8; 8]; 4], u128, &Path)> {
    let (numbers, rest) = value.split_at_checked(32)?;
    let (digest, path) = rest.split_first_chunk()?;
    let mut stat = [[0; 8]; 4];
    for (to, from) in stat.iter_mut().zip(numbers.as_chunks::<8>().0) {
        *to = *from;
    }
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    Some((stat, u128::from_le_bytes(*digest), path))
}

/// The file that a result of [`super::kernel::FILE`] is about and the digest of its content, if
/// the system says of it what it said then.
#[must_use]
pub fn unchanged_file(value: &[u8]) -> Option<(PathBuf, u128)> {
    let (numbers, digest, path) = parse_file(value)?;
    let now = Stat::of(&std::fs::metadata(path).ok()?);
    (now.numbers() == numbers).then(|| (path.to_owned(), digest))
}

/// Of a path that is absolute already no copy is made.
fn absolute(path: &Path) -> Option<std::borrow::Cow<'_, Path>> {
    if path.is_absolute() {
        return Some(path.into());
    }
    std::path::absolute(path).ok().map(Into::into)
}

fn path_digest(path: &Path) -> u128 {
    xxh3_128(path.as_os_str().as_bytes())
}
