//! A folder of a store that many machines work in at once. Of any number of them that make an
//! object there, one does ([`Folder::create`]); everything else is read, uploaded and removed as
//! usual. One client does it all, so that connections last.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path as Key;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};

use super::object::{ATTEMPTS, Object};
use super::store::{check_written, put, runtime, store_of, text, told, wait};
use super::{Found, failed};

/// Small objects that are asked for at once.
const SMALL_AT_ONCE: usize = 32;

/// What fails sooner was not asked for again by the library of the stores.
const QUICK: Duration = Duration::from_secs(5);

/// A folder of a store.
#[derive(Debug)]
pub struct Folder {
    store: Arc<dyn ObjectStore>,
    key: Key,
    url: String,
}

impl Folder {
    /// The folder `url`. Nobody is asked for it: a folder is what its objects are called.
    ///
    /// # Errors
    /// If the URL is none that djr writes to, or something is missing in the environment.
    pub fn open(url: &Path) -> io::Result<Self> {
        let url = text(url)?.trim_end_matches('/');
        let (store, key) = store_of(url)?;
        check_written(url)?;
        if key.is_root() {
            let what = "the URL names no folder, such as s3://bucket/work";
            return Err(failed(io::ErrorKind::InvalidInput, what));
        }
        Ok(Self {
            store,
            key,
            url: url.to_owned(),
        })
    }

    /// The URL of the object `name`.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    fn key(&self, name: &str) -> Key {
        let parts = name.split('/');
        parts.fold(self.key.clone(), Key::join)
    }

    /// What an object holds; `None` if there is none.
    ///
    /// # Errors
    /// If the store does not answer.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let content = runtime()?.block_on(self.content(name)).map_err(told)?;
        Ok(content.map(Into::into))
    }

    /// What each of some small objects holds, in any order; those that are gone are passed over.
    ///
    /// # Errors
    /// If the store does not answer, or as `take` says.
    pub fn read_each(
        &self,
        objects: &[Found],
        mut take: impl FnMut(&Found, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let asked = stream::iter(objects)
            .map(|object| async move { (object, self.content(&object.name).await) });
        let mut answers = asked.buffer_unordered(SMALL_AT_ONCE);
        while let Some((object, content)) = runtime()?.block_on(answers.next()) {
            if let Some(content) = content.map_err(told)? {
                take(object, &content)?;
            }
        }
        Ok(())
    }

    async fn content(&self, name: &str) -> object_store::Result<Option<Bytes>> {
        let key = self.key(name);
        let ask = || async { self.store.get(&key).await?.bytes().await };
        match again(ask).await {
            Ok(content) => Ok(Some(content)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An object, to be read by ranges.
    ///
    /// # Errors
    /// If there is none, or the store does not answer.
    pub fn object(&self, name: &str) -> io::Result<Arc<Object>> {
        let object = Object::ask(Arc::clone(&self.store), self.key(name))?;
        Ok(Arc::new(object))
    }

    /// Makes an object unless there is one: says whether it is this one that is there.
    ///
    /// # Errors
    /// If the store does not answer, or cannot do so.
    pub fn create(&self, name: &str, content: &[u8]) -> io::Result<bool> {
        let mut attempt = 1;
        loop {
            match wait(self.put_first(name, content)) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(error) => match self.read(name)? {
                    // Of a request that is made again, the first may have been heard.
                    Some(found) => return Ok(found == content),
                    // Somebody else was at it, and gave it up.
                    None if attempt < ATTEMPTS => std::thread::sleep(pause(attempt)),
                    None => return Err(error),
                },
            }
            attempt += 1;
        }
    }

    /// Whether the store takes `content` as the object `name`, which it has just taken, no second
    /// time: not all heed the condition.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn keeps_the_first(&self, name: &str, content: &[u8]) -> io::Result<bool> {
        match wait(self.put_first(name, content)) {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn put_first(&self, name: &str, content: &[u8]) -> object_store::Result<()> {
        let key = self.key(name);
        let content = PutPayload::from(content.to_vec());
        let ask = || async {
            let put = self
                .store
                .put_opts(&key, content.clone(), PutMode::Create.into());
            put.await.map(drop)
        };
        again(ask).await
    }

    /// Makes an object of a file, which is there once it is whole.
    ///
    /// # Errors
    /// If the file cannot be read, or the store does not take it.
    pub fn upload(&self, name: &str, file: &Path) -> io::Result<()> {
        put(file, self.store.as_ref(), &self.key(name))
    }

    /// The objects that lie in the folder `name` itself.
    ///
    /// # Errors
    /// If it cannot be listed.
    pub fn list(&self, name: &str) -> io::Result<Vec<Found>> {
        let listed = wait(self.store.list_with_delimiter(Some(&self.key(name))))?;
        Ok(listed
            .objects
            .iter()
            .filter_map(|it| self.found(it))
            .collect())
    }

    /// All objects below the folder `name`.
    ///
    /// # Errors
    /// If it cannot be listed.
    pub fn list_all(&self, name: &str) -> io::Result<Vec<Found>> {
        let below = self.key(name);
        let found: Vec<_> = wait(self.store.list(Some(&below)).try_collect())?;
        Ok(found.iter().filter_map(|it| self.found(it)).collect())
    }

    fn found(&self, object: &ObjectMeta) -> Option<Found> {
        let parts = object.location.prefix_match(&self.key)?;
        let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
        Some(Found {
            name: parts.join("/"),
            bytes: object.size,
            made: u64::try_from(object.last_modified.timestamp()).unwrap_or(0),
        })
    }

    /// Removes objects; one that is gone is removed.
    ///
    /// # Errors
    /// If the store does not let them go.
    pub fn remove(&self, names: Vec<String>) -> io::Result<()> {
        let keys: Vec<_> = names.iter().map(|name| Ok(self.key(name))).collect();
        let gone = self.store.delete_stream(stream::iter(keys).boxed());
        let outcomes: Vec<_> = runtime()?.block_on(gone.collect());
        for outcome in outcomes {
            match outcome {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(told(error)),
            }
        }
        Ok(())
    }
}

/// Asks again where an answer broke off, or was not understood; what took longer, the library of
/// the stores has asked for again itself.
async fn again<T, F>(ask: impl Fn() -> F) -> object_store::Result<T>
where
    F: Future<Output = object_store::Result<T>>,
{
    let mut attempt = 1;
    loop {
        let asked = Instant::now();
        match ask().await {
            Err(Error::Generic { .. }) if attempt < ATTEMPTS && asked.elapsed() < QUICK => {
                tokio::time::sleep(pause(attempt)).await;
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

fn pause(attempt: u32) -> Duration {
    Duration::from_millis(100 << attempt)
}
