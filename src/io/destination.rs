//! What the path of an output stands for, links followed: a file that is replaced when its new
//! content is complete, an object of a store, or something that only takes a stream of bytes.
//!
//! A device, a pipe, a socket or an open descriptor (`/dev/null`, a FIFO, `>(gzip > x.gz)`,
//! `/dev/fd/3`) is written to and never renamed over, and nothing is made beside it. A link is not
//! replaced: what it points to is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;

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

/// Opens what [`Destination::of`] calls a stream. Opening a FIFO waits for its reader. A descriptor of
/// this process is shared, as a shell's redirection is: what is there stays, and whoever writes to it
/// afterwards goes on behind us.
///
/// # Errors
/// If it cannot be opened for writing, is a descriptor that is open for reading only, or a standard
/// output that was closed.
pub fn open_stream(path: &Path) -> io::Result<File> {
    if own_descriptor(path) == Some(1) {
        check_stdout()?;
    }
    if let Some(shared) = own_descriptor(path).and_then(share) {
        let mode = rustix::fs::fcntl_getfl(&shared)?;
        if (mode & OFlags::ACCMODE) == OFlags::RDONLY {
            return Err(io::Error::other("it is open for reading only"));
        }
        return Ok(shared);
    }
    // A descriptor that cannot be shared is opened anew by its path: its content stays, ours follows.
    let regular = fs::metadata(path).is_ok_and(|found| found.is_file());
    OpenOptions::new().write(true).append(regular).open(path)
}

/// Whether standard output was closed when the process began.
static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Looks whether standard output is open. A program calls it before Rust's runtime, which opens
/// `/dev/null` in its place; it is a function that C can call for that.
pub extern "C" fn look_at_stdout() {
    let closed = rustix::fs::fcntl_getfl(io::stdout().as_fd()).is_err();
    STDOUT_WAS_CLOSED.store(closed, Ordering::Relaxed);
}

/// Makes sure that what is written to standard output goes somewhere.
///
/// # Errors
/// If it was closed when the process began.
pub fn check_stdout() -> io::Result<()> {
    if STDOUT_WAS_CLOSED.load(Ordering::Relaxed) {
        return Err(io::Error::other("it is closed"));
    }
    Ok(())
}

/// Whether what is written to the stream `path` (`/dev/stdout`, `/dev/fd/7`) goes into the regular
/// file `file`.
#[must_use]
pub fn leads_into(path: &Path, file: &Path) -> bool {
    match (fs::metadata(path), fs::metadata(file)) {
        (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// The number of the descriptor of this process that `path` names.
fn own_descriptor(path: &Path) -> Option<i32> {
    let word = path.to_str()?;
    match word {
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        _ => {
            let own = ["/dev/fd/", "/proc/self/fd/"];
            let number = own.iter().find_map(|dir| word.strip_prefix(dir))?;
            number.parse().ok()
        }
    }
}

/// Another descriptor of what `number` has open, at the same place. `None` where the system cannot.
fn share(number: i32) -> Option<File> {
    match number {
        1 => io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .ok()
            .map(File::from),
        2 => io::stderr()
            .as_fd()
            .try_clone_to_owned()
            .ok()
            .map(File::from),
        _ => share_numbered(number),
    }
}

#[cfg(target_os = "linux")]
fn share_numbered(number: i32) -> Option<File> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let this = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
    let shared = pidfd_getfd(this, number, PidfdGetfdFlags::empty()).ok()?;
    Some(File::from(shared))
}

#[cfg(not(target_os = "linux"))]
fn share_numbered(_: i32) -> Option<File> {
    None
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
