//! Files that operators made of rows: written whole, each under its own name at once.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::atomic::{create_fresh, directory, part_path, sync_directory};
use crate::sample::{Origin, Produced, lies_below};

/// After so many files they are made durable, even if no checkpoint asks for it.
const MOST_WAITING: usize = 4096;

/// Writes files of rows in the order of the rows.
#[derive(Debug, Default)]
pub struct ProducedFiles {
    /// Written and perhaps not durable.
    waiting: Vec<PathBuf>,
    /// The files of the last row that had any, by the offset of its line: its parts share them.
    last: (u64, Vec<PathBuf>),
}

impl ProducedFiles {
    /// Writes a file of the row from `origin`; false if another part of that row wrote it. It is
    /// durable once [`ProducedFiles::sync`] was called.
    ///
    /// # Errors
    /// If the disk is full or fails, or if somebody has put a link into the way that leads out of
    /// the root that the file must lie below.
    pub fn write(&mut self, origin: Origin, file: &Produced) -> io::Result<bool> {
        let (offset, written) = &mut self.last;
        if *offset != origin.offset {
            *offset = origin.offset;
            written.clear();
        }
        if written.contains(&file.path) {
            return Ok(false);
        }
        written.push(file.path.clone());
        write_whole(file)?;
        self.waiting.push(file.path.clone());
        if self.waiting.len() >= MOST_WAITING {
            self.sync()?;
        }
        Ok(true)
    }

    /// Makes everything durable that was written.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync(&mut self) -> io::Result<()> {
        let mut directories = BTreeSet::new();
        for path in self.waiting.drain(..) {
            // Who takes the file away meanwhile does not want it.
            if let Ok(file) = File::open(&path) {
                file.sync_all()?;
            }
            directories.insert(directory(&path).to_owned());
        }
        for directory in directories {
            // Not every file system can.
            let _ = sync_directory(&directory);
        }
        Ok(())
    }
}

fn write_whole(file: &Produced) -> io::Result<()> {
    let Some(root) = &file.root else {
        fs::create_dir_all(directory(&file.path))?;
        return write_into(directory(&file.path), file);
    };
    if !lies_below(&file.path, root)? {
        return Err(outside(root));
    }
    fs::create_dir_all(directory(&file.path))?;
    write_below(root, file)
}

/// Takes hold of the directory, asks where that really lies, and writes by way of the handle: it
/// stays on the same directory whatever happens to the links that led to it.
#[cfg(target_os = "linux")]
fn write_below(root: &Path, file: &Produced) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    let handle = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)
        .open(directory(&file.path))?;
    let held = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    if fs::read_link(&held)?.starts_with(root) {
        write_into(&held, file)
    } else {
        Err(outside(root))
    }
}

/// Resolves all links and checks where they end. A link that is swapped after the check is not
/// noticed on systems other than Linux.
#[cfg(not(target_os = "linux"))]
fn write_below(root: &Path, file: &Produced) -> io::Result<()> {
    let real = fs::canonicalize(directory(&file.path))?;
    if real.starts_with(root) {
        write_into(&real, file)
    } else {
        Err(outside(root))
    }
}

fn outside(root: &Path) -> io::Error {
    let message = format!("it lies outside of {}", root.display());
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

fn write_into(directory: &Path, file: &Produced) -> io::Result<()> {
    let target = directory.join(file.path.file_name().unwrap_or_default());
    // The same name in a later process, so that a killed one leaves nothing but what that replaces.
    let part = part_path(&target, "djr-part")?;
    if fs::symlink_metadata(&target).is_ok_and(|found| !found.is_file() && !found.is_symlink()) {
        return Err(io::Error::other("what stands there is no regular file"));
    }
    let written = fill(&part, &file.bytes).and_then(|()| fs::rename(&part, &target));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

/// Never through a link that stands under the part's name.
fn fill(part: &Path, bytes: &[u8]) -> io::Result<()> {
    create_fresh(part)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn produced(path: PathBuf, root: Option<PathBuf>) -> Produced {
        Produced {
            written: String::new(),
            path,
            root,
            bytes: b"new".to_vec(),
        }
    }

    #[test]
    fn files_are_whole_and_counted_once_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let file = produced(dir.path().join("a/b.jpg"), None);
        // What a killed process left.
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/.b.jpg.djr-part"), "half").unwrap();
        let mut files = ProducedFiles::default();
        let row = Origin::default();
        assert!(files.write(row, &file).unwrap());
        assert!(!files.write(row.part(1), &file).unwrap());
        files.sync().unwrap();
        assert_eq!(fs::read(&file.path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_root_is_not_followed() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let outside = dir.path().join("outside");
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, root.join("link")).unwrap();
        symlink(dir.path().join("nowhere"), root.join("broken")).unwrap();
        symlink(outside.join("a.jpg"), root.join("own.jpg")).unwrap();
        let real = fs::canonicalize(&root).unwrap();
        let mut files = ProducedFiles::default();
        let mut write = |name: &str| {
            let file = produced(root.join(name), Some(real.clone()));
            files.write(Origin::default(), &file)
        };
        assert!(write("link/a.jpg").is_err());
        assert!(write("link/deep/a.jpg").is_err());
        assert!(write("broken/a.jpg").is_err());
        assert!(write("new/deep/a.jpg").is_ok());
        // The name itself is replaced, not what it leads to.
        assert!(write("own.jpg").is_ok());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
