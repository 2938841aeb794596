//! What the path of an output stands for, links followed: a file that is replaced when its new
//! content is complete, an object of a store, or something that only takes a stream of bytes.
//!
//! A device, a pipe, a socket or an open descriptor (`/dev/null`, a FIFO, `>(gzip > x.gz)`,
//! `/dev/fd/3`) is written to and never renamed over, and nothing is made beside it. A link is not
//! replaced: what it points to is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::remote::{is_remote, stand_in};

/// Links that are followed before a path counts as a circle; Linux follows as many.
const MAX_LINKS: usize = 40;

/// Where the bytes of an output go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A regular file, or none yet: the path of the file itself, behind all links.
    File(PathBuf),
    /// An object of a store, which is uploaded as a whole: the path of the file that it is until
    /// then, in the working directory.
    Remote(PathBuf),
    /// Something that exists and is no regular file, or a descriptor of this process.
    Stream,
}

impl Destination {
    /// What `path` stands for now.
    ///
    /// # Errors
    /// If it is a directory, its links go round, or it cannot be asked for.
    pub fn of(path: &Path) -> io::Result<Self> {
        if is_remote(path) {
            return Ok(Self::Remote(stand_in(path)));
        }
        let mut real = path.to_owned();
        for _ in 0..MAX_LINKS {
            if is_descriptor(&real) {
                return Ok(Self::Stream);
            }
            let kind = match fs::symlink_metadata(&real) {
                Ok(found) => found.file_type(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Self::File(real));
                }
                Err(error) => return Err(error),
            };
            if kind.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            if !kind.is_symlink() {
                return Ok(if kind.is_file() {
                    Self::File(real)
                } else {
                    Self::Stream
                });
            }
            let link = fs::read_link(&real)?;
            // Joining an absolute path replaces the directory.
            real = super::atomic::directory(&real).join(link);
        }
        Err(io::Error::other("its links go round in a circle"))
    }

    /// The file that is written, or whose place is taken by one that is.
    ///
    /// # Errors
    /// If there is none.
    pub fn local(self) -> io::Result<PathBuf> {
        match self {
            Self::File(path) | Self::Remote(path) => Ok(path),
            Self::Stream => Err(io::Error::other("it is no regular file")),
        }
    }

    /// Whether `path` is something that only takes a stream of bytes.
    #[must_use]
    pub fn is_stream(path: &Path) -> bool {
        matches!(Self::of(path), Ok(Self::Stream))
    }
}

/// Opens what [`Destination::of`] calls a stream. Opening a FIFO waits for its reader.
///
/// # Errors
/// If it cannot be opened for writing.
pub fn open_stream(path: &Path) -> io::Result<File> {
    // A descriptor of a regular file is opened anew by its path: its content stays, ours follows.
    let regular = fs::metadata(path).is_ok_and(|found| found.is_file());
    OpenOptions::new().write(true).append(regular).open(path)
}

/// Whether `path` is this process's standard output by another name.
#[must_use]
pub fn is_stdout(path: &Path) -> bool {
    ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]
        .iter()
        .any(|name| path == Path::new(name))
}

/// `/dev/fd/N`, `/proc/self/fd/N`, `/proc/PID/fd/N`: behind these links is what a process has open,
/// which may have no name at all.
fn is_descriptor(path: &Path) -> bool {
    let parts: Vec<_> = path.components().collect();
    let Some((Component::RootDir, parts)) = parts.split_first() else {
        return false;
    };
    let name = |at: usize| parts.get(at).map(|part| part.as_os_str());
    let is = |at: usize, word: &str| name(at).is_some_and(|part| part == word);
    match parts.len() {
        2 => is(0, "dev") && ["stdin", "stdout", "stderr"].iter().any(|word| is(1, word)),
        3 => is(0, "dev") && is(1, "fd"),
        4 | 6 => is(0, "proc") && is(parts.len() - 2, "fd"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_to_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("sub/real"), "").unwrap();
        symlink("sub/real", at("one")).unwrap();
        symlink(at("one"), at("two")).unwrap();
        symlink("sub/new", at("dangling")).unwrap();
        let file = |path: PathBuf| Destination::File(path);
        assert_eq!(Destination::of(&at("two")).unwrap(), file(at("sub/real")));
        assert_eq!(
            Destination::of(&at("dangling")).unwrap(),
            file(at("sub/new"))
        );
        assert_eq!(Destination::of(&at("none")).unwrap(), file(at("none")));
        symlink("round", at("round")).unwrap();
        assert!(Destination::of(&at("round")).is_err());
        assert!(Destination::of(dir.path()).is_err());
    }

    #[test]
    fn what_is_no_regular_file_is_a_stream() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink("/dev/null", &link).unwrap();
        let _held = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        let socket = dir.path().join("socket");
        for path in [
            "/dev/null",
            "/dev/stdout",
            "/dev/stderr",
            "/dev/fd/2",
            "/proc/self/fd/1",
            "/proc/self/task/1/fd/1",
            link.to_str().unwrap(),
            socket.to_str().unwrap(),
        ] {
            assert!(Destination::is_stream(Path::new(path)), "{path}");
        }
        assert!(!Destination::is_stream(&dir.path().join("fd/1")));
    }
}
