//! What was computed before, so that it is not computed again: results by content and kernel, kept
//! in a directory that any number of runs share.
//!
//! The directory holds segments: logs that are only appended to (`log`), each with an index
//! (`segment`). A run writes logs of its own, so that nobody waits for anybody; it holds a lock
//! on the one it is writing, which says to others that it lives. A log without an index that
//! nobody holds is that of a run which was killed: whoever opens the cache next makes its index.
//! Where the segments are many, the newest are merged (`merge`).
//!
//! A result that is found is the one that was put in, or nothing: each record has its key and its
//! checksum, and a segment in which one does not fit is asked no more. To lose a result costs the
//! work to compute it again and nothing else; so nothing here makes a run fail.

pub mod kernel;
mod log;
mod merge;
mod results;
mod segment;
mod survey;
pub mod verdict;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

pub use merge::{Cleaned, Limits, clean};
pub use results::{FileKnown, Results, Stat, Trust, unchanged_file, user_dir};
use segment::{Found, IndexWriter, Place, Segment, index_path};
pub use survey::{Damage, Survey, Tally, survey};

/// What a result is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// A digest of all that was measured: XXH3 of the content, for instance. It must be spread
    /// evenly; a path or a number is no digest.
    pub content: u128,
    /// Who measured it: what is measured, its version and its parameters.
    pub kernel: u64,
}

/// Results kept of a log that is being written; one that has more is finished and another begun,
/// so that what is in memory of it is bounded (about 50 MB).
const MOST_OWN: usize = 1 << 20;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 16;

/// An open cache. All threads of a run share it.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    /// Tells the logs of this run from those of others.
    run: String,
    most_own: usize,
    /// Newest first.
    finished: RwLock<Vec<Segment>>,
    own: Mutex<Own>,
    /// Bytes that indexes of segments may still take of memory.
    room: AtomicU64,
    troubles: Mutex<Vec<String>>,
}

/// What this run has put in since its last segment was finished.
#[derive(Debug, Default)]
struct Own {
    log: Option<OwnLog>,
    /// Writing failed once: nothing more is kept.
    failed: bool,
}

#[derive(Debug)]
struct OwnLog {
    path: PathBuf,
    /// Locked as long as it is open.
    file: File,
    /// Bytes in the file.
    written: u64,
    /// What follows them.
    buffer: Vec<u8>,
    offsets: HashMap<Place, u64>,
}

/// A log in the directory of a cache.
enum Opened {
    Segment(Segment),
    /// A run is writing it.
    Live,
    /// It was merged or emptied meanwhile.
    Gone,
    Damaged(String),
}

impl Cache {
    /// Opens the cache in `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// If the directory cannot be made, read or written to.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Self::with_own(dir, MOST_OWN)
    }

    fn with_own(dir: &Path, most_own: usize) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let cache = Self {
            dir: dir.to_owned(),
            run: run_name(),
            most_own,
            finished: RwLock::default(),
            own: Mutex::default(),
            room: AtomicU64::new(segment::MOST_HELD),
            troubles: Mutex::default(),
        };
        // Found out now and not after hours.
        drop(tempfile::tempfile_in(dir)?);
        let (segments, troubles) = open_all(dir)?;
        *cache
            .finished
            .write()
            .unwrap_or_else(PoisonError::into_inner) = segments;
        *cache
            .troubles
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = troubles;
        Ok(cache)
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The value that was put in for `key`: by this run, or by one that ended before this one
    /// began.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<Vec<u8>> {
        if let Some(value) = self.own().get(key) {
            return Some(value);
        }
        let finished = self.finished.read().unwrap_or_else(PoisonError::into_inner);
        for segment in &*finished {
            match segment.get(key, &self.room) {
                Found::Value(value) => return Some(value),
                Found::Nothing => {}
                Found::Damaged(why) => self.trouble(damaged(&segment.path, &why)),
            }
        }
        None
    }

    /// Puts a value in. It outlives this process once [`Cache::flush`] was called, and the machine
    /// once [`Cache::sync`] was.
    ///
    /// # Errors
    /// If it cannot be written. From then on nothing more is kept, and each call says so; what
    /// was put in before is still found.
    pub fn put(&self, key: Key, value: &[u8]) -> io::Result<()> {
        self.writing(|own| own.put(self, key, value))
    }

    /// Hands everything that was put in to the system: it is kept if this process is killed.
    ///
    /// # Errors
    /// As [`Cache::put`].
    pub fn flush(&self) -> io::Result<()> {
        self.writing(|own| own.log.as_mut().map_or(Ok(()), OwnLog::flush))
    }

    /// Makes everything that was put in durable.
    ///
    /// # Errors
    /// As [`Cache::put`].
    pub fn sync(&self) -> io::Result<()> {
        self.writing(|own| {
            let Some(log) = &mut own.log else {
                return Ok(());
            };
            log.flush()?;
            log.file.sync_data()
        })
    }

    /// Ends what this run has put in, and merges segments if there are many.
    ///
    /// # Errors
    /// If it cannot be written; the next who opens the cache makes up for it.
    pub fn finish(&self) -> io::Result<()> {
        self.writing(|own| self.finish_own(own))?;
        merge::few(&self.dir)
    }

    /// What is wrong with it, one sentence each.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let troubles = self.troubles.lock();
        troubles.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self, what: String) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.push(what);
    }

    /// Does `work`; after a failure of it nothing is written any more.
    fn writing(&self, work: impl FnOnce(&mut Own) -> io::Result<()>) -> io::Result<()> {
        let mut own = self.own();
        if own.failed {
            return Err(io::Error::other("the cache could not be written before"));
        }
        let done = work(&mut own);
        if let Err(error) = &done {
            own.failed = true;
            if let Some(log) = &mut own.log {
                log.give_up();
            }
            drop(own);
            let dir = self.dir.display();
            self.trouble(format!(
                "{dir} cannot be written, nothing more is kept: {error}"
            ));
        }
        done
    }

    /// Makes a segment of the log that is being written.
    fn finish_own(&self, own: &mut Own) -> io::Result<()> {
        let Some(log) = &mut own.log else {
            return Ok(());
        };
        log.flush()?;
        log.file.sync_data()?;
        let entries = log.offsets.iter().map(|(place, at)| (*place, *at));
        let index = write_index(&log.path, entries.collect(), log.written)?;
        if let Some(log) = own.log.take() {
            // It stays open: others may merge it and remove it from now on.
            let segment = Segment::of_files(log.path, log.file, index)?;
            let mut finished = self
                .finished
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            finished.insert(0, segment);
        }
        Ok(())
    }
}

impl Own {
    fn get(&self, key: Key) -> Option<Vec<u8>> {
        let log = self.log.as_ref()?;
        let offset = *log.offsets.get(&key.place())?;
        if let Some(ahead) = offset.checked_sub(log.written) {
            let record = log.buffer.get(usize::try_from(ahead).ok()?..)?;
            let (head, value) = log::decode(record)?;
            return (head.key == key).then(|| value.to_vec());
        }
        // What cannot be read is computed again.
        let (head, value) = log::read_at(&log.file, offset, log.written).ok()??;
        (head.key == key).then_some(value)
    }

    fn put(&mut self, cache: &Cache, key: Key, value: &[u8]) -> io::Result<()> {
        let full = |log: &OwnLog| log.offsets.len() >= cache.most_own;
        if self.log.as_ref().is_some_and(full) {
            cache.finish_own(self)?;
        }
        let log = match &mut self.log {
            Some(log) => log,
            none => none.insert(OwnLog::begin(&cache.dir, &cache.run)?),
        };
        let offset = log.written + log.buffer.len() as u64;
        log::encode(key, now(), value, &mut log.buffer)?;
        log.offsets.insert(key.place(), offset);
        if log.buffer.len() >= BUFFER {
            log.flush()?;
        }
        Ok(())
    }
}

impl OwnLog {
    fn begin(dir: &Path, run: &str) -> io::Result<Self> {
        let newest = logs(dir)?.first().map_or(0, |log| log.number);
        let path = log_path(dir, newest + 1, run);
        // Under another name until it is locked: a log that nobody holds is taken for that of a
        // run which has died.
        let new = path.with_extension("new");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&new)?;
        // Where files cannot be locked, others leave a log without an index alone.
        let _ = file.try_lock();
        file.write_all_at(log::MAGIC, 0)?;
        fs::rename(&new, &path)?;
        Ok(Self {
            path,
            file,
            written: log::MAGIC.len() as u64,
            buffer: Vec::with_capacity(BUFFER + 4096),
            offsets: HashMap::new(),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Leaves what is whole in the file.
    fn give_up(&mut self) {
        self.buffer.clear();
        let _ = self.file.set_len(self.written);
        let written = self.written;
        self.offsets.retain(|_, offset| *offset < written);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // What is lost is computed again.
        let _ = self.flush();
        // A child that is being started still holds what is open here, for a moment.
        if let Some(log) = &self.own().log {
            let _ = log.file.unlock();
        }
    }
}

/// Opens every segment in `dir`, newest first, and says what is wrong with others.
fn open_all(dir: &Path) -> io::Result<(Vec<Segment>, Vec<String>)> {
    /// How often other runs may merge what is being opened.
    const TRIES: usize = 8;
    let mut tries = 0;
    let mut troubles = Vec::new();
    loop {
        tries += 1;
        let mut segments = Vec::new();
        let before = logs(dir)?;
        for log in &before {
            match open_one(&log.path) {
                Ok(Opened::Segment(segment)) => segments.push(segment),
                Ok(Opened::Live | Opened::Gone) => {}
                Ok(Opened::Damaged(why)) => troubles.push(damaged(&log.path, &why)),
                Err(error) => troubles.push(damaged(&log.path, &error.to_string())),
            }
        }
        if tries >= TRIES || logs(dir)? == before {
            troubles.sort();
            troubles.dedup();
            return Ok((segments, troubles));
        }
    }
}

/// Opens the segment whose log is at `path`; makes its index if its run has died.
fn open_one(path: &Path) -> io::Result<Opened> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    if !index_path(path).try_exists()? {
        let log = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(log) => log,
            Err(error) if gone(&error) => return Ok(Opened::Gone),
            Err(error) => return Err(error),
        };
        match log.try_lock() {
            Ok(()) => {}
            // Where files cannot be locked nobody knows whether its run lives.
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return Ok(Opened::Live),
        }
        // Its run may have finished it just now.
        let recovered = match index_path(path).try_exists() {
            Ok(true) => Ok(None),
            Ok(false) => recover(path, &log),
            Err(error) => Err(error),
        };
        let _ = log.unlock();
        if let Some(opened) = recovered? {
            return Ok(opened);
        }
    }
    match Segment::open(path) {
        Ok(Ok(segment)) => Ok(Opened::Segment(segment)),
        Ok(Err(why)) => Ok(Opened::Damaged(why)),
        Err(error) if gone(&error) => Ok(Opened::Gone),
        Err(error) => Err(error),
    }
}

/// Makes the index of a log whose run has died; whoever calls it holds the lock. Says what became
/// of the log if that is no segment.
fn recover(path: &Path, file: &File) -> io::Result<Option<Opened>> {
    let Some(mut scan) = log::Scan::new(file)? else {
        if file.metadata()?.len() < log::MAGIC.len() as u64 {
            fs::remove_file(path)?;
            return Ok(Some(Opened::Gone));
        }
        let why = "its log begins in a way that none does";
        return Ok(Some(Opened::Damaged(why.into())));
    };
    let mut entries = Vec::new();
    let ended = loop {
        match scan.next()? {
            log::Next::Record(at, head) => entries.push((head.key.place(), at)),
            ended => break ended,
        }
    };
    let at = scan.offset();
    let is_damaged = ended == log::Next::Damaged;
    if !entries.is_empty() {
        write_index(path, entries, at)?;
    } else if !is_damaged {
        fs::remove_file(path)?;
        return Ok(Some(Opened::Gone));
    }
    // Said once: whoever opens it next finds the index of what lies before.
    let why = format!("its record at byte {at} is none");
    Ok(is_damaged.then_some(Opened::Damaged(why)))
}

/// Writes the index of a log; of several entries of one place the last one counts.
fn write_index(path: &Path, mut entries: Vec<(Place, u64)>, length: u64) -> io::Result<File> {
    entries.sort_unstable();
    let mut index = IndexWriter::begin(path)?;
    let mut entries = entries.into_iter().peekable();
    while let Some((place, offset)) = entries.next() {
        if entries.peek().is_none_or(|(next, _)| *next != place) {
            index.push(place, offset)?;
        }
    }
    index.finish(path, length)
}

/// A log by its name.
#[derive(PartialEq, Eq)]
struct Listed {
    number: u64,
    path: PathBuf,
}

/// The logs in `dir`, newest first.
fn logs(dir: &Path) -> io::Result<Vec<Listed>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| number_of(name.strip_suffix(".log")?));
        logs.extend(number.map(|number| Listed { number, path }));
    }
    logs.sort_by(|a, b| (b.number, &b.path).cmp(&(a.number, &a.path)));
    Ok(logs)
}

/// The number that the name of a segment begins with.
fn number_of(stem: &str) -> Option<u64> {
    let (number, run) = stem.split_once('-')?;
    let is_run = run.len() == 16 && run.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_run && number.len() >= 8).then(|| number.parse().ok())?
}

fn log_path(dir: &Path, number: u64, run: &str) -> PathBuf {
    dir.join(format!("{number:08}-{run}.log"))
}

fn damaged(path: &Path, why: &str) -> String {
    format!("{} is damaged and ignored: {why}", path.display())
}

/// A name that no other run has.
fn run_name() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    let host = rustix::system::uname();
    let seed = format!("{nanos} {} {:?}", std::process::id(), host.nodename());
    let here = std::ptr::from_ref(&seed) as usize;
    format!("{:016x}", xxh3_64(format!("{seed} {here}").as_bytes()))
}

/// Seconds since 1970.
fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
    })
}

#[cfg(test)]
mod tests;
