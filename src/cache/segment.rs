//! A segment that is finished: a log, and an index of it that says where each key's record begins.
//!
//! The index is a head of 40 bytes (a mark, how many entries, bytes of the log, XXH3 of the
//! entries, CRC-32 of all that) and entries of 24 bytes in order: the upper half of the content's
//! digest, its lower half xor the kernel, the offset. So all results of one content lie together,
//! and where a key must be can be guessed: digests are spread evenly.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use xxhash_rust::xxh3::Xxh3;

use super::Key;
use super::log;

/// How an index begins.
const MAGIC: &[u8; 8] = b"djrcidx1";

/// Bytes of its head.
const HEAD: usize = 40;

/// Bytes of an entry.
pub const ENTRY: usize = 24;

/// Entries that are read at once: about a page of memory.
const WINDOW: usize = 170;

/// Bytes of indexes that a cache holds in memory at most.
pub const MOST_HELD: u64 = 64 << 20;

/// Guesses after which a search halves instead: keys that are not spread evenly.
const GUESSES: usize = 6;

/// Entries of an index in memory that are found by one look into its table, where keys are spread
/// evenly.
const TOGETHER: usize = 8;

/// Bytes of memory that an entry takes with its share of the table.
pub const HELD_ENTRY: u64 = (ENTRY + 2 * size_of::<usize>() / TOGETHER) as u64;

/// What an index is sorted by.
pub type Place = (u64, u64);

impl Key {
    /// Where the key's entry stands. Two keys of one place are as unlikely as two contents of one
    /// digest, and told apart by the record.
    #[expect(clippy::cast_possible_truncation, reason = "halves are taken")]
    pub(super) fn place(self) -> Place {
        (
            (self.content >> 64) as u64,
            self.content as u64 ^ self.kernel,
        )
    }
}

/// An open segment.
#[derive(Debug)]
pub struct Segment {
    /// The path of its log.
    pub path: PathBuf,
    log: File,
    index: File,
    entries: u64,
    log_length: u64,
    /// Windows of the index that were read.
    windows: AtomicU64,
    /// Somebody reads the whole index, or has.
    taken: AtomicBool,
    /// All entries, once so much was read of them piece by piece.
    held: OnceLock<Held>,
    /// Damage was found: it is not asked any more.
    damaged: AtomicBool,
}

/// What a segment answers.
#[derive(Debug)]
pub enum Found {
    /// The value.
    Value(Vec<u8>),
    /// It has none.
    Nothing,
    /// It is damaged, which was not known before.
    Damaged(String),
}

impl Segment {
    /// Opens the segment whose log is at `path`; `Ok(Err)` says how it is damaged.
    ///
    /// # Errors
    /// If a file of it cannot be opened or read; that of a segment which was merged meanwhile is
    /// not found.
    pub fn open(path: &Path) -> io::Result<Result<Self, String>> {
        Self::check(path, File::open(path)?, File::open(index_path(path))?)
    }

    /// The segment that was just finished, of its own files; its log is locked no more.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of_files(path: PathBuf, log: File, index: File) -> io::Result<Self> {
        let _ = log.unlock();
        Self::check(&path, log, index)?.map_err(io::Error::other)
    }

    fn check(path: &Path, log: File, index: File) -> io::Result<Result<Self, String>> {
        let length = index.metadata()?.len();
        let mut head = [0; HEAD];
        let read = index.read_exact_at(&mut head, 0);
        let Some((entries, log_length, _)) = parse_head(&head).filter(|_| read.is_ok()) else {
            return Ok(Err("its index begins in a way that none does".into()));
        };
        if entries
            .checked_mul(ENTRY as u64)
            .and_then(|it| it.checked_add(HEAD as u64))
            != Some(length)
        {
            return Ok(Err("its index has another length than it says".into()));
        }
        if log.metadata()?.len() < log_length {
            return Ok(Err("its log is shorter than its index says".into()));
        }
        let mut magic = [0; log::MAGIC.len()];
        log.read_exact_at(&mut magic, 0)?;
        if magic != *log::MAGIC {
            return Ok(Err("its log begins in a way that none does".into()));
        }
        Ok(Ok(Self {
            path: path.to_owned(),
            log,
            index,
            entries,
            log_length,
            windows: AtomicU64::new(0),
            taken: AtomicBool::new(false),
            held: OnceLock::new(),
            damaged: AtomicBool::new(false),
        }))
    }

    /// How many results it has.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes of its log that count.
    pub fn log_length(&self) -> u64 {
        self.log_length
    }

    /// Bytes of its two files.
    pub fn bytes(&self) -> u64 {
        self.log_length + self.entries * ENTRY as u64 + HEAD as u64
    }

    /// The value of `key`. Of the bytes of `room` it takes what its index needs, if it is asked so
    /// often that to read it whole costs no more.
    pub fn get(&self, key: Key, room: &AtomicU64) -> Found {
        if self.damaged.load(Ordering::Relaxed) {
            return Found::Nothing;
        }
        let why = match self.find(key.place(), room) {
            Ok(None) => return Found::Nothing,
            Ok(Some(offset)) => match self.record(offset) {
                Ok(Some((head, value))) if head.key == key => return Found::Value(value),
                Ok(Some((head, _))) if head.key.place() == key.place() => return Found::Nothing,
                Ok(_) => format!("its record at byte {offset} is not what its index says"),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        if self.damaged.swap(true, Ordering::Relaxed) {
            return Found::Nothing;
        }
        Found::Damaged(why)
    }

    /// The record at `offset`; `None` if it is damaged.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn record(&self, offset: u64) -> io::Result<Option<(log::Head, Vec<u8>)>> {
        log::read_at(&self.log, offset, self.log_length)
    }

    /// Its log, from the beginning.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn scan(&self) -> io::Result<Option<log::Scan<'_>>> {
        log::Scan::new(&self.log)
    }

    /// Its entries in order: place and offset.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn places(&self) -> io::Result<Places<'_>> {
        let mut file = BufReader::with_capacity(1 << 16, &self.index);
        file.seek(io::SeekFrom::Start(HEAD as u64))?;
        Ok(Places {
            file,
            left: self.entries,
        })
    }

    /// Whether the index is the one that was written.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn index_is_sound(&self) -> io::Result<bool> {
        let mut head = [0; HEAD];
        self.index.read_exact_at(&mut head, 0)?;
        let mut digest = Xxh3::new();
        let mut places = self.places()?;
        while let Some((place, offset)) = places.next()? {
            digest.update(&entry(place, offset));
        }
        Ok(parse_head(&head).is_some_and(|(_, _, sum)| sum == digest.digest()))
    }

    /// The offset of the record at `place`: a guess from how far the place is between two that
    /// are known, a window around it, and again with what the window tells.
    fn find(&self, place: Place, room: &AtomicU64) -> io::Result<Option<u64>> {
        self.hold(room)?;
        if let Some(held) = self.held.get() {
            return Ok(held.find(place));
        }
        let (mut from, mut to) = (0, self.entries);
        let (mut low, mut high) = (0, u64::MAX);
        let mut buffer = [0; WINDOW * ENTRY];
        let most_entries = WINDOW as u64;
        let mut tries = 0;
        while from < to {
            let start = if to - from <= most_entries {
                from
            } else {
                let guess = if tries < GUESSES {
                    let share = u128::from(place.0.saturating_sub(low)) * u128::from(to - from)
                        / (u128::from(high.saturating_sub(low)) + 1);
                    from + u64::try_from(share).unwrap_or(u64::MAX).min(to - from)
                } else {
                    from + (to - from) / 2
                };
                guess
                    .saturating_sub(most_entries / 2)
                    .clamp(from, to - most_entries)
            };
            tries += 1;
            let count = usize::try_from((to - start).min(most_entries)).unwrap_or(0);
            let window = self.window(start, count, &mut buffer)?;
            let (entries, _) = window.as_chunks::<ENTRY>();
            let first = entries.first().map_or((0, 0), place_of);
            let last = entries.last().map_or((0, 0), place_of);
            if place < first {
                (to, high) = (start, first.0);
            } else if place > last {
                (from, low) = (start + count as u64, last.0);
            } else {
                return Ok(offset_among(entries, place));
            }
        }
        Ok(None)
    }

    /// `count` entries from `start` on.
    fn window<'a>(
        &self,
        start: u64,
        count: usize,
        buffer: &'a mut [u8; WINDOW * ENTRY],
    ) -> io::Result<&'a [u8]> {
        let (at, length) = (start * ENTRY as u64, count * ENTRY);
        self.windows.fetch_add(1, Ordering::Relaxed);
        let window = buffer.get_mut(..length).unwrap_or_default();
        self.index.read_exact_at(window, HEAD as u64 + at)?;
        Ok(window)
    }

    /// Reads the whole index if as much was read of it in windows, and there is room.
    fn hold(&self, room: &AtomicU64) -> io::Result<()> {
        let bytes = self.entries * HELD_ENTRY;
        let read = self.windows.load(Ordering::Relaxed);
        if read <= self.entries / WINDOW as u64 || self.taken.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let take = |left: u64| left.checked_sub(bytes);
        let taken = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        if let (Ok(_), Ok(length)) = (taken, usize::try_from(self.entries * ENTRY as u64)) {
            let mut all = vec![0; length];
            self.index.read_exact_at(&mut all, HEAD as u64)?;
            let _ = self.held.set(Held::new(all));
        }
        Ok(())
    }

    /// Whether its index is in memory.
    #[cfg(test)]
    pub fn is_held(&self) -> bool {
        self.held.get().is_some()
    }
}

/// The entries of an index in memory, and where in them those begin whose places begin alike.
#[derive(Debug)]
struct Held {
    entries: Vec<u8>,
    /// By the first bits of a place: the number of the first entry with these.
    starts: Vec<usize>,
    bits: u32,
}

impl Held {
    fn new(entries: Vec<u8>) -> Self {
        let (all, _) = entries.as_chunks::<ENTRY>();
        let bits = (all.len() / TOGETHER).max(1).ilog2();
        let mut starts = Vec::with_capacity((1 << bits) + 1);
        for (number, entry) in all.iter().enumerate() {
            let group = group(place_of(entry), bits);
            if starts.len() <= group {
                starts.resize(group + 1, number);
            }
        }
        starts.resize((1 << bits) + 1, all.len());
        Self {
            entries,
            starts,
            bits,
        }
    }

    fn find(&self, place: Place) -> Option<u64> {
        let group = group(place, self.bits);
        let (from, to) = (*self.starts.get(group)?, *self.starts.get(group + 1)?);
        let (all, _) = self.entries.as_chunks::<ENTRY>();
        offset_among(all.get(from..to)?, place)
    }
}

/// The first bits of a place.
fn group((upper, _): Place, bits: u32) -> usize {
    let first = upper.checked_shr(u64::BITS - bits).unwrap_or(0);
    usize::try_from(first).unwrap_or(0)
}

/// The offset that entries in order give a place.
fn offset_among(entries: &[[u8; ENTRY]], place: Place) -> Option<u64> {
    let found = entries.binary_search_by_key(&place, place_of).ok()?;
    entries.get(found).map(offset_of)
}

/// Where the index of the log at `path` lies.
pub fn index_path(path: &Path) -> PathBuf {
    path.with_extension("idx")
}

fn parse_head(head: &[u8; HEAD]) -> Option<(u64, u64, u64)> {
    let (summed, rest) = head.split_at_checked(HEAD - 8)?;
    let checksum = u64::from_le_bytes(*rest.first_chunk()?);
    if u64::from(crc32fast::hash(summed)) != checksum {
        return None;
    }
    let rest = summed.strip_prefix(MAGIC)?;
    let (entries, rest) = rest.split_first_chunk()?;
    let (log_length, rest) = rest.split_first_chunk()?;
    let digest = rest.first_chunk()?;
    Some((
        u64::from_le_bytes(*entries),
        u64::from_le_bytes(*log_length),
        u64::from_le_bytes(*digest),
    ))
}

fn entry((upper, lower): Place, offset: u64) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    for (to, number) in entry
        .as_chunks_mut::<8>()
        .0
        .iter_mut()
        .zip([upper, lower, offset])
    {
        *to = number.to_le_bytes();
    }
    entry
}

fn numbers(entry: &[u8; ENTRY]) -> [u64; 3] {
    let mut numbers = [0; 3];
    for (to, from) in numbers.iter_mut().zip(entry.as_chunks::<8>().0) {
        *to = u64::from_le_bytes(*from);
    }
    numbers
}

fn place_of(entry: &[u8; ENTRY]) -> Place {
    let [upper, lower, _] = numbers(entry);
    (upper, lower)
}

fn offset_of(entry: &[u8; ENTRY]) -> u64 {
    let [_, _, offset] = numbers(entry);
    offset
}

/// The entries of an index.
pub struct Places<'a> {
    file: BufReader<&'a File>,
    left: u64,
}

impl Places<'_> {
    /// The next one.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn next(&mut self) -> io::Result<Option<(Place, u64)>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut entry = [0; ENTRY];
        self.file.read_exact(&mut entry)?;
        Ok(Some((place_of(&entry), offset_of(&entry))))
    }
}

/// Writes an index; entries come in order.
pub struct IndexWriter {
    file: BufWriter<File>,
    part: PathBuf,
    entries: u64,
    digest: Xxh3,
}

impl IndexWriter {
    /// Begins the index of the log at `path`, under another name until it is whole.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let part = path.with_extension("idx.part");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&part)?;
        let mut file = BufWriter::with_capacity(1 << 16, file);
        file.write_all(&[0; HEAD])?;
        Ok(Self {
            file,
            part,
            entries: 0,
            digest: Xxh3::new(),
        })
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn push(&mut self, place: Place, offset: u64) -> io::Result<()> {
        let entry = entry(place, offset);
        self.digest.update(&entry);
        self.entries += 1;
        self.file.write_all(&entry)
    }

    /// Gives the index its name; its log has `log_length` bytes. Returns the open file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self, path: &Path, log_length: u64) -> io::Result<File> {
        let mut head = MAGIC.to_vec();
        for number in [self.entries, log_length, self.digest.digest()] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = u64::from(crc32fast::hash(&head));
        head.extend_from_slice(&checksum.to_le_bytes());
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.write_all_at(&head, 0)?;
        file.sync_data()?;
        fs::rename(&self.part, index_path(path))?;
        Ok(file)
    }
}
