//! Where a plan is: a directory that all machines see, or a folder of a store.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::TasksError;
use super::done::create_linked;
use super::mirror::Mirror;
use crate::exec::{RunError, write_error};
use crate::io::atomic::{create_fresh, directory, sync_directory};
use crate::io::named;
use crate::io::remote::{Folder, is_remote};

/// Where a plan is.
pub struct Place {
    /// As it was given, but for where relative paths start.
    name: PathBuf,
    /// The directory that tasks work in.
    directory: PathBuf,
    mirror: Option<Arc<Mirror>>,
}

impl Place {
    /// The directory or URL `work`; a relative path starts from `working_dir`.
    ///
    /// # Errors
    /// If it is a URL of nothing that tasks could share.
    pub fn of(working_dir: &Path, work: &Path) -> Result<Self, TasksError> {
        if !is_remote(work) {
            let directory = working_dir.join(work);
            return Ok(Self {
                name: directory.clone(),
                directory,
                mirror: None,
            });
        }
        let folder = Folder::open(work).map_err(|error| TasksError::Refused {
            what: format!("{}: {error}", work.display()),
            hint: "a plan is in a directory that all machines see, or in a folder of a store, such as s3://bucket/work",
        })?;
        let mirror = Mirror::new(folder)?;
        Ok(Self {
            name: work.to_owned(),
            directory: mirror.local().to_owned(),
            mirror: Some(Arc::new(mirror)),
        })
    }

    /// The directory, or the URL.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// The local directory of the attempts at tasks.
    #[must_use]
    pub fn tasks(&self) -> PathBuf {
        self.directory.join("t")
    }

    /// What is here of a store, if the plan is in one.
    #[must_use]
    pub fn mirror(&self) -> Option<&Arc<Mirror>> {
        self.mirror.as_ref()
    }

    /// What is said of a file that cannot be read or written.
    pub fn failed(&self, error: io::Error) -> RunError {
        write_error(self.name.display(), error)
    }

    /// A file beside the tasks; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, RunError> {
        if let Some(mirror) = &self.mirror {
            return mirror.read(name);
        }
        match fs::read(self.directory.join(name)) {
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            other => other.map(Some).map_err(|e| self.failed(e)),
        }
    }

    /// Makes a file beside the tasks, whole or not at all, unless there is one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(&self, name: &str, text: &[u8]) -> Result<bool, RunError> {
        if let Some(mirror) = &self.mirror {
            return mirror.create(name, text);
        }
        let made = fs::create_dir_all(self.tasks());
        let created = made.and_then(|()| create_named(&self.directory.join(name), text));
        created.map_err(|e| self.failed(e))
    }
}

/// Creates `path` with `text`, whole or not at all, unless it is there.
fn create_named(path: &Path, text: &[u8]) -> io::Result<bool> {
    let directory = directory(path);
    let create = || {
        let part = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(directory)?;
        let new = part.path().join("text");
        let mut file = create_fresh(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        let created = create_linked(&new, path)?;
        sync_directory(directory).map(|()| created)
    };
    create().map_err(|e| named(path.display(), &e))
}
