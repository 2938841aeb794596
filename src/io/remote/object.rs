//! One version of an object.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _};

use super::super::Fingerprint;
use super::failed;
use super::spool::Spool;
use super::store::{self, CHANGED, store_of, told};
use super::stream::Stream;

/// How often a range is asked for whose body broke off, where the library of the stores does not
/// ask again itself.
pub(super) const ATTEMPTS: u32 = 4;

/// The objects that are open, by their URLs: who opens one that is open reads the same version, and
/// what was spooled of it.
static OPEN: LazyLock<Mutex<HashMap<String, Weak<Object>>>> = LazyLock::new(Mutex::default);

/// An object, as it was when it was opened: every range that is read later is of this version, or
/// an error.
pub struct Object {
    store: Arc<dyn ObjectStore>,
    key: Key,
    found: ObjectMeta,
    spool: Mutex<Option<Spool>>,
    /// The first request that failed: libraries that read from it pass on no more than its text.
    failure: Mutex<Option<String>>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("found", &self.found)
            .finish_non_exhaustive()
    }
}

impl Object {
    /// Asks for an object, unless it is open.
    ///
    /// # Errors
    /// If there is none, or the store does not answer.
    pub fn open(url: &Path) -> io::Result<Arc<Self>> {
        let url = store::text(url)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(object) = open.get(url).and_then(Weak::upgrade) {
            return Ok(object);
        }
        let (store, key) = store_of(url)?;
        let object = Arc::new(Self::ask(store, key)?);
        open.retain(|_, object| object.strong_count() > 0);
        open.insert(url.to_owned(), Arc::downgrade(&object));
        Ok(object)
    }

    /// Asks for the object `key` of `store`.
    ///
    /// # Errors
    /// If there is none, or the store does not answer.
    pub(super) fn ask(store: Arc<dyn ObjectStore>, key: Key) -> io::Result<Self> {
        let found = store::wait(store.head(&key))?;
        Ok(Self {
            store,
            key,
            found,
            spool: Mutex::default(),
            failure: Mutex::default(),
        })
    }

    /// What identifies the object that is there now.
    ///
    /// # Errors
    /// If there is none, or the store does not answer.
    pub fn fingerprint_of(url: &Path) -> io::Result<Fingerprint> {
        let written = store::text(url)?;
        let (store, key) = store_of(written)?;
        let found = store::wait(store.head(&key))?;
        let modified = found.last_modified.timestamp_nanos_opt();
        Ok(Fingerprint {
            name: written.to_owned(),
            bytes: found.size,
            modified_ns: modified.and_then(|at| u64::try_from(at).ok()).unwrap_or(0),
            ends: found.e_tag.unwrap_or_default(),
        })
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.found.size
    }

    /// Its bytes from `from` on, one after the other.
    #[must_use]
    pub fn stream(self: &Arc<Self>, from: u64) -> Stream {
        Stream::new(Arc::clone(self), from)
    }

    /// Reads bytes from `at` on, through a nameless file that keeps what was read once; none behind
    /// the end.
    ///
    /// # Errors
    /// If the store does not answer, or the object has changed.
    pub fn read_at(self: &Arc<Self>, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
        let spool = match &mut *spool {
            Some(spool) => spool,
            none => none.insert(Spool::new(self.size())?),
        };
        spool.read_at(self, buffer, at)
    }

    /// Fills `buffer` with the bytes from `at` on, as [`Self::read_at`] reads them.
    ///
    /// # Errors
    /// As [`Self::read_at`], and if there are fewer.
    pub fn read_exact_at(self: &Arc<Self>, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, at + filled as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        Ok(())
    }

    /// Fills `buffer` with the bytes from `at` on, straight from the store.
    ///
    /// # Errors
    /// If the store does not answer, the object has changed, or there are fewer.
    pub fn read_range(self: &Arc<Self>, buffer: &mut [u8], at: u64) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let range = at..at.saturating_add(buffer.len() as u64);
        let content = store::runtime()?.block_on(Arc::clone(self).range(range))?;
        if content.len() != buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.copy_from_slice(&content);
        Ok(())
    }

    /// The first request that failed.
    #[must_use]
    pub fn failure(&self) -> Option<io::Error> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let what = failure.as_ref()?;
        Some(failed(io::ErrorKind::Other, what.clone()))
    }

    /// A range of its bytes from the store.
    ///
    /// # Errors
    /// If the store does not answer, or the object has changed.
    pub async fn range(self: Arc<Self>, range: Range<u64>) -> io::Result<Bytes> {
        let mut attempt = 1;
        let outcome = loop {
            match self.asked(range.clone()).await {
                Err(object_store::Error::Generic { .. }) if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
                    attempt += 1;
                }
                Err(error) => break Err(told(error)),
                Ok((content, found)) if self.is(&found) => break Ok(content),
                Ok(_) => break Err(failed(io::ErrorKind::Other, CHANGED)),
            }
        };
        if let Err(error) = &outcome {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| error.to_string());
        }
        outcome
    }

    async fn asked(&self, range: Range<u64>) -> object_store::Result<(Bytes, ObjectMeta)> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: self.found.e_tag.clone(),
            ..GetOptions::default()
        };
        let answer = self.store.get_opts(&self.key, options).await?;
        let found = answer.meta.clone();
        Ok((answer.bytes().await?, found))
    }

    /// Whether an answer is of the version that was opened, as far as the server says: not all heed
    /// conditions.
    fn is(&self, found: &ObjectMeta) -> bool {
        let same = self.found.size == found.size && self.found.e_tag == found.e_tag;
        same && (found.e_tag.is_some() || self.found.last_modified == found.last_modified)
    }
}
