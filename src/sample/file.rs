//! A file that a row names: found, judged and opened by the same rules whatever it holds.
//!
//! A directory, a device or a pipe is never read, and with `confine` nothing is opened that lies
//! outside the row's root, whatever links say and whenever they change.

use std::cell::RefCell;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::images::is_normal;
use super::{ImageContext, RowError, join, simplify};

/// The largest file read, in bytes.
pub const MAX_FILE: u64 = 1 << 30;

/// What errors of a kind of file are called.
#[derive(Debug)]
pub struct Kind {
    noun: &'static str,
    missing: &'static str,
    path_invalid: &'static str,
    outside_root: &'static str,
    not_a_file: &'static str,
    unreadable: &'static str,
    too_large: &'static str,
}

/// An image.
pub const IMAGE: Kind = Kind {
    noun: "image",
    missing: "image_missing",
    path_invalid: "image_path_invalid",
    outside_root: "image_outside_root",
    not_a_file: "image_not_a_file",
    unreadable: "image_unreadable",
    too_large: "image_too_large",
};

/// Any other file.
pub const FILE: Kind = Kind {
    noun: "file",
    missing: "file_missing",
    path_invalid: "file_path_invalid",
    outside_root: "file_outside_root",
    not_a_file: "file_not_a_file",
    unreadable: "file_unreadable",
    too_large: "file_too_large",
};

/// Whether a path is a URL, which names no file here.
#[must_use]
pub fn is_url(path: &str) -> bool {
    let Some(colon) = memchr::memchr(b':', path.as_bytes()) else {
        return false;
    };
    path.split_at_checked(colon).is_some_and(|(scheme, rest)| {
        if !rest.starts_with("://") {
            return false;
        }
        let mut letters = scheme.chars();
        letters.next().is_some_and(|c| c.is_ascii_alphabetic())
            && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// Where a row says that a file is.
#[derive(Debug)]
pub struct Place {
    written: String,
    path: PathBuf,
    /// The input file that the row came from.
    input: u32,
    context: Arc<ImageContext>,
    kind: &'static Kind,
}

impl Place {
    /// The file that a row of input `input` calls `written`.
    pub fn new(
        written: String,
        input: u32,
        context: Arc<ImageContext>,
        kind: &'static Kind,
    ) -> Self {
        Self {
            path: join(context.root(input), Path::new(&written)),
            written,
            input,
            context,
            kind,
        }
    }

    /// The path as the row has it.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The path to open: joined with the root and otherwise as the row has it, since `a/` and
    /// `b/../a` are no files to the system where `a` is no directory or `b` does not exist.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path to write or compare: `.` and `..` resolved where no link is on the way.
    pub fn normal_path(&self) -> PathBuf {
        simplify(self.path.clone())
    }

    /// How files of the row are found.
    pub fn context(&self) -> &ImageContext {
        &self.context
    }

    /// Opens the file; also its size in bytes.
    ///
    /// # Errors
    /// `…_missing`, `…_not_a_file`, `…_path_invalid`, `…_outside_root`, `…_unreadable`.
    pub fn open(&self) -> Result<(File, u64), RowError> {
        let (file, opened) = self.open_known()?;
        Ok((file, opened.len()))
    }

    /// Opens the file; also what the system says of it.
    ///
    /// # Errors
    /// As [`Place::open`].
    pub fn open_known(&self) -> Result<(File, Metadata), RowError> {
        let file = match self.open_unseen() {
            Some(file) => file,
            None => self
                .locate()?
                .open(&self.path)
                .map_err(|error| self.io_error(&error))?,
        };
        // Between a look and the opening another file may have taken the name.
        let opened = file.metadata().map_err(|error| self.io_error(&error))?;
        if !opened.is_file() {
            return Err(self.not_a_file(&opened));
        }
        Ok((file, opened))
    }

    /// What the system says of the file, which is not opened.
    ///
    /// # Errors
    /// As [`Place::open`].
    pub fn metadata(&self) -> Result<Metadata, RowError> {
        self.locate().map(|found| found.metadata)
    }

    /// The file's size in bytes. The file is not opened.
    ///
    /// # Errors
    /// As [`Place::open`].
    pub fn size(&self) -> Result<u64, RowError> {
        self.locate().map(|found| found.metadata.len())
    }

    /// Refuses a file that is larger than is read at all.
    ///
    /// # Errors
    /// `…_too_large`.
    pub fn check_size(&self, size: u64) -> Result<(), RowError> {
        if size > MAX_FILE {
            return Err(self.fail(
                self.kind.too_large,
                &format!("the file has {size} bytes, more than the limit of {MAX_FILE}"),
            ));
        }
        Ok(())
    }

    /// The root that a new file of this name must stay below, links resolved; `None` if it may lie
    /// anywhere. Nothing is made.
    ///
    /// # Errors
    /// `…_path_invalid` if no file can be called so; with `confine` `…_outside_root`.
    pub fn check_new(&self) -> Result<Option<PathBuf>, RowError> {
        self.check_path()?;
        let path = self.normal_path();
        let bytes = |part: &std::ffi::OsStr| part.len();
        let name = path.file_name().map_or(0, bytes);
        if name + HIDDEN_PART > MAX_NAME || bytes(path.as_os_str()) + HIDDEN_PART > MAX_PATH {
            return Err(self.fail(self.kind.path_invalid, "its name is too long"));
        }
        if !self.context.confine {
            return Ok(None);
        }
        let root = self.real_root()?;
        if lies_below(&path, &root).map_err(|error| self.io_error(&error))? {
            Ok(Some(root))
        } else {
            Err(self.outside(&root))
        }
    }

    /// Opens the file without a look at what it is, which saves a call to the system. `None` if
    /// that may not be done or fails; a look then says why.
    fn open_unseen(&self) -> Option<File> {
        // To open a device may set it going, and a path of dots may lead to one.
        let devices = ["/dev", "/proc", "/sys"];
        if self.context.confine
            || !is_normal(&self.path)
            || devices.iter().any(|dir| self.path.starts_with(dir))
        {
            return None;
        }
        self.check_path().ok()?;
        open_for_reading(&self.path).ok()
    }

    /// Finds the file without opening it, and refuses what is not a regular file.
    fn locate(&self) -> Result<Located, RowError> {
        self.check_path()?;
        let found = if self.context.confine {
            self.locate_confined()?
        } else {
            Located {
                handle: None,
                metadata: std::fs::metadata(&self.path).map_err(|error| self.io_error(&error))?,
            }
        };
        if !found.metadata.is_file() {
            return Err(self.not_a_file(&found.metadata));
        }
        Ok(found)
    }

    fn check_path(&self) -> Result<(), RowError> {
        let invalid = |why: &str| Err(self.fail(self.kind.path_invalid, why));
        if self.written.is_empty() {
            return invalid("the path is empty");
        }
        if self.written.contains('\0') {
            return invalid("the path has a NUL byte");
        }
        if is_url(&self.written) {
            return invalid("it is a URL, not the path of a file");
        }
        Ok(())
    }

    /// Takes hold of the file by a handle that cannot be read from, asks where that handle
    /// really lies, and only then lets it be opened. The handle stays on the same file whatever
    /// happens to the links that led to it.
    #[cfg(target_os = "linux")]
    fn locate_confined(&self) -> Result<Located, RowError> {
        use std::os::fd::AsRawFd;
        use std::os::unix::fs::OpenOptionsExt;

        let root = self.real_root()?;
        let handle = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
            .open(&self.path)
            .map_err(|error| self.io_error(&error))?;
        let link = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        let real = std::fs::read_link(&link).map_err(|error| self.io_error(&error))?;
        if !real.starts_with(&root) {
            return Err(self.outside(&root));
        }
        Ok(Located {
            metadata: handle.metadata().map_err(|error| self.io_error(&error))?,
            handle: Some((handle, link)),
        })
    }

    /// Resolves all links and checks where they end. A link that is swapped after the check is
    /// not noticed on systems other than Linux.
    #[cfg(not(target_os = "linux"))]
    fn locate_confined(&self) -> Result<Located, RowError> {
        let root = self.real_root()?;
        let real = std::fs::canonicalize(&self.path).map_err(|error| self.io_error(&error))?;
        if !real.starts_with(&root) {
            return Err(self.outside(&root));
        }
        Ok(Located {
            handle: None,
            metadata: std::fs::metadata(&real).map_err(|error| self.io_error(&error))?,
        })
    }

    /// The row's root with all links resolved; the last one is remembered by each thread.
    fn real_root(&self) -> Result<PathBuf, RowError> {
        thread_local! {
            static LAST: RefCell<Option<(PathBuf, PathBuf)>> = const { RefCell::new(None) };
        }
        let root = self.context.root(self.input);
        let known = LAST.with_borrow(|last| match last {
            Some((from, real)) if from == root => Some(real.clone()),
            _ => None,
        });
        if let Some(real) = known {
            return Ok(real);
        }
        let asked = if root.as_os_str().is_empty() {
            Path::new(".")
        } else {
            root
        };
        let real = std::fs::canonicalize(asked).map_err(|error| {
            self.fail(
                self.kind.unreadable,
                &format!("its root {} cannot be resolved: {error}", root.display()),
            )
        })?;
        LAST.set(Some((root.to_owned(), real.clone())));
        Ok(real)
    }

    /// An error that begins with the path as the row has it, cut if it is very long.
    pub fn fail(&self, code: &'static str, why: &str) -> RowError {
        let mut shown: String = self.written.chars().take(200).collect();
        if shown.len() < self.written.len() {
            shown.push('…');
        }
        let noun = self.kind.noun;
        RowError::new(code, format!("{noun} '{}': {why}", shown.escape_debug()))
    }

    fn outside(&self, root: &Path) -> RowError {
        self.fail(
            self.kind.outside_root,
            &format!("it lies outside of {}", root.display()),
        )
    }

    fn not_a_file(&self, metadata: &Metadata) -> RowError {
        let kind = if metadata.is_dir() {
            "a directory"
        } else {
            "a device, pipe or socket"
        };
        self.fail(self.kind.not_a_file, &format!("it is {kind}"))
    }

    /// What the system said of the file.
    pub fn io_error(&self, error: &std::io::Error) -> RowError {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => self.fail(
                self.kind.missing,
                &format!("no such file: {}", self.path.display()),
            ),
            ErrorKind::InvalidFilename | ErrorKind::InvalidInput => self.fail(
                self.kind.path_invalid,
                "no file can have this path (too long?)",
            ),
            _ if error.raw_os_error() == Some(libc::ELOOP) => self.fail(
                self.kind.path_invalid,
                "its symbolic links lead in a circle",
            ),
            _ => self.fail(self.kind.unreadable, &error.to_string()),
        }
    }
}

/// The longest name of a file on common file systems, and the longest path, in bytes.
const MAX_NAME: usize = 255;
const MAX_PATH: usize = 4095;

/// What is put around a name while its file is written.
const HIDDEN_PART: usize = 16;

/// Whether `path`, which need not exist, lies below `root` once all links of what exists are
/// resolved.
///
/// # Errors
/// If the system refuses to look.
pub fn lies_below(path: &Path, root: &Path) -> io::Result<bool> {
    let mut directory = path.parent();
    while let Some(existing) = directory {
        let asked = if existing.as_os_str().is_empty() {
            Path::new(".")
        } else {
            existing
        };
        match std::fs::canonicalize(asked) {
            Ok(real) => return Ok(real.starts_with(root)),
            // A link that leads nowhere could be made to lead anywhere.
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && std::fs::symlink_metadata(asked).is_err() =>
            {
                // Where the `..` of a directory leads that does not exist yet is not known.
                if existing.file_name().is_none() {
                    return Ok(false);
                }
                directory = existing.parent();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// A file of a row, open for reading.
#[derive(Debug)]
pub struct RowFile {
    place: Place,
    file: File,
}

impl RowFile {
    /// Opens the file at `place`.
    ///
    /// # Errors
    /// Those of [`Place::open`] and `file_too_large`.
    pub(super) fn open(place: Place) -> Result<Self, RowError> {
        let (file, size) = place.open()?;
        place.check_size(size)?;
        Ok(Self { place, file })
    }

    /// The path as the row has it.
    #[must_use]
    pub fn written(&self) -> &str {
        self.place.written()
    }

    /// An error about this file.
    #[must_use]
    pub fn error(&self, code: &'static str, why: &str) -> RowError {
        self.place.fail(code, why)
    }
}

impl Read for RowFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for RowFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// A file that was looked at and not opened.
struct Located {
    metadata: Metadata,
    /// A handle on the very file, and the path that opens it.
    handle: Option<(File, PathBuf)>,
}

impl Located {
    fn open(&self, path: &Path) -> io::Result<File> {
        open_for_reading(self.handle.as_ref().map_or(path, |(_, link)| link))
    }
}

fn open_for_reading(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe must not hold us up, nor a terminal become ours.
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC);
    }
    options.open(path)
}
