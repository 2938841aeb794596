//! What servers have answered, so that no answer is paid for twice: a file that is only ever
//! appended to, read again by a run that goes on or is run anew.
//!
//! A record is its length, the CRC-32 of the rest, the key, a line of JSON that says what it cost,
//! and the response as it came. What a killed process left half written is cut off. Requests with
//! one key are sent once: whoever asks meanwhile waits for that answer.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use flate2::Crc;
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"djrans1\n";

/// Bytes of a record before what its length counts.
const HEAD: usize = 8;
/// Bytes of a key.
const KEY: usize = 16;
/// Stands for a run that begins.
const BEGUN: u128 = 0;
/// Stands for a response that never came whole, and may have been paid.
const LOST: u128 = u128::MAX;
/// No response is longer.
pub const LONGEST: u64 = 64 << 20;

/// What an answer cost, and whose it was.
#[expect(clippy::struct_field_names, reason = "the money, beside the tokens")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The service, as records name it.
    pub service: String,
    /// Bytes of the request.
    pub bytes: u64,
    /// Tokens sent.
    pub tokens_in: u64,
    /// Tokens answered.
    pub tokens_out: u64,
    /// In the money of the prices.
    pub cost: f64,
    /// Nobody said what it took: this is the most that it may be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untold: bool,
}

/// What was answered so far.
#[derive(Debug, Default)]
pub struct Answers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Opened when the first answer comes, if it has no name.
    file: Option<File>,
    end: u64,
    /// Where each response lies.
    known: HashMap<u128, (u64, u32)>,
    /// Keys that somebody asks for now.
    asked: HashSet<u128>,
}

/// Whether there is an answer to a request.
pub enum Claim {
    /// This.
    Known(Vec<u8>),
    /// Whoever hears this asks for it, and says through [`Answers::settle`] what came of it.
    Yours,
}

impl Answers {
    /// Those that `path` keeps, made if it is not there, and what they cost since the run that
    /// `goes_on`, or begins now, was begun.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn open(path: &Path, goes_on: bool) -> io::Result<(Self, Vec<Cost>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut state = State::default();
        let mut costs = Vec::new();
        state.end = scan(&mut file, &mut state.known, &mut costs)?;
        file.set_len(state.end)?;
        state.file = Some(file);
        if !goes_on {
            costs.clear();
            // From here on a run counts anew.
            state.append(BEGUN, b"\n")?;
        }
        let answers = Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        Ok((answers, costs))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to the request `key`, once nobody else asks for it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn claim(&self, key: u128) -> io::Result<Claim> {
        let mut state = self.lock();
        loop {
            if let Some(&(at, length)) = state.known.get(&key) {
                let mut bytes = vec![0; length as usize];
                if let Some(file) = &state.file {
                    file.read_exact_at(&mut bytes, at)?;
                }
                return Ok(Claim::Known(bytes));
            }
            if state.asked.insert(key) {
                return Ok(Claim::Yours);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What came of a request: a response and what it cost, or nothing.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn settle(&self, key: u128, answer: Option<(&[u8], &Cost)>) -> io::Result<()> {
        let mut state = self.lock();
        state.asked.remove(&key);
        self.changed.notify_all();
        let Some((response, cost)) = answer else {
            return Ok(());
        };
        let mut bytes = serde_json::to_vec(cost)?;
        bytes.push(b'\n');
        let line = bytes.len() as u64;
        bytes.extend_from_slice(response);
        let start = state.append(key, &bytes)?;
        let length = u32::try_from(response.len()).unwrap_or(u32::MAX);
        state.known.insert(key, (start + line, length));
        Ok(())
    }

    /// Keeps what a response may have cost that never came whole.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn lose(&self, cost: &Cost) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(cost)?;
        bytes.push(b'\n');
        self.lock().append(LOST, &bytes).map(|_| ())
    }

    /// The key of a request with this digest: none that stands for something else.
    #[must_use]
    pub fn key(digest: u128) -> u128 {
        digest.clamp(BEGUN + 1, LOST - 1)
    }

    /// How many answers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().known.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl State {
    /// Appends a record, and says where what stands behind its key begins.
    fn append(&mut self, key: u128, bytes: &[u8]) -> io::Result<u64> {
        let key = key.to_le_bytes();
        let length = u32::try_from(KEY + bytes.len()).map_err(io::Error::other)?;
        let mut crc = Crc::new();
        crc.update(&key);
        crc.update(bytes);
        let mut record = Vec::with_capacity(HEAD + KEY + bytes.len());
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&crc.sum().to_le_bytes());
        record.extend_from_slice(&key);
        record.extend_from_slice(bytes);
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        if self.end == 0 {
            file.write_all_at(MAGIC, 0)?;
            self.end = MAGIC.len() as u64;
        }
        // A record that was written in part, as to a full disk, is overwritten by the next one.
        file.write_all_at(&record, self.end)?;
        let start = self.end + (HEAD + KEY) as u64;
        self.end += record.len() as u64;
        Ok(start)
    }
}

/// Reads all sound records, and says where they end.
fn scan(
    file: &mut File,
    known: &mut HashMap<u128, (u64, u32)>,
    costs: &mut Vec<Cost>,
) -> io::Result<u64> {
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    let mut reader = io::BufReader::new(file);
    let mut magic = [0; MAGIC.len()];
    if size < magic.len() as u64 {
        return Ok(0);
    }
    reader.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Ok(0);
    }
    let mut at = magic.len() as u64;
    let mut bytes = Vec::new();
    loop {
        let mut head = [0; HEAD];
        if size - at < HEAD as u64 {
            return Ok(at);
        }
        reader.read_exact(&mut head)?;
        // The length stands first, the sum behind it.
        let both = u64::from_le_bytes(head);
        let length = both & u64::from(u32::MAX);
        let sum = u32::try_from(both >> 32).unwrap_or_default();
        if length < KEY as u64 || length > LONGEST + (1 << 16) || size - at - (HEAD as u64) < length
        {
            return Ok(at);
        }
        bytes.resize(usize::try_from(length).unwrap_or_default(), 0);
        reader.read_exact(&mut bytes)?;
        let mut crc = Crc::new();
        crc.update(&bytes);
        let Some((key, rest)) = bytes.split_first_chunk::<KEY>() else {
            return Ok(at);
        };
        if crc.sum() != sum {
            return Ok(at);
        }
        let key = u128::from_le_bytes(*key);
        let line = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        if key == BEGUN {
            costs.clear();
        } else {
            let cost = rest.get(..line).unwrap_or_default();
            costs.push(serde_json::from_slice(cost).unwrap_or_default());
        }
        if key != BEGUN && key != LOST {
            let start = at + (HEAD + KEY + line) as u64;
            let length = u32::try_from(rest.len() - line).unwrap_or_default();
            known.insert(key, (start, length));
        }
        at += HEAD as u64 + length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(cost: f64) -> Cost {
        Cost {
            service: "m".into(),
            bytes: 100,
            tokens_in: 10,
            tokens_out: 5,
            cost,
            untold: false,
        }
    }

    fn known(answers: &Answers, key: u128) -> Option<Vec<u8>> {
        match answers.claim(key).unwrap() {
            Claim::Known(bytes) => Some(bytes),
            Claim::Yours => {
                answers.settle(key, None).unwrap();
                None
            }
        }
    }

    #[test]
    fn what_was_answered_is_known_again_however_the_file_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answers.log");
        let (answers, costs) = Answers::open(&path, false).unwrap();
        assert!(costs.is_empty());
        for key in 1..4_u128 {
            let text = format!("answer\n{key}");
            answers
                .settle(key, Some((text.as_bytes(), &cost(1.0))))
                .unwrap();
        }
        assert_eq!(known(&answers, 2).unwrap(), b"answer\n2");
        drop(answers);
        let whole = std::fs::read(&path).unwrap();
        let mut ends = Vec::new();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (answers, costs) = Answers::open(&path, true).unwrap();
            assert_eq!(costs.len(), answers.len());
            ends.push(answers.len());
            for key in 1..=answers.len() as u128 {
                assert_eq!(
                    known(&answers, key).unwrap(),
                    format!("answer\n{key}").as_bytes()
                );
            }
            // It goes on behind what is sound.
            answers.settle(9, Some((b"new", &cost(2.0)))).unwrap();
            drop(answers);
            let (answers, costs) = Answers::open(&path, true).unwrap();
            assert_eq!(known(&answers, 9).unwrap(), b"new");
            assert_eq!(costs.last(), Some(&cost(2.0)));
        }
        assert_eq!((ends.first(), ends.last()), (Some(&0), Some(&3)));
        // A byte that changed ends what is trusted, and nothing wrong is ever told.
        for at in 8..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            let (answers, _) = Answers::open(&path, true).unwrap();
            for key in 1..4_u128 {
                let found = known(&answers, key);
                assert!(found.is_none_or(|it| it == format!("answer\n{key}").as_bytes()));
            }
        }
    }

    #[test]
    fn what_was_lost_is_counted_and_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answers.log");
        let lost = Cost {
            untold: true,
            ..cost(3.0)
        };
        let (answers, _) = Answers::open(&path, false).unwrap();
        answers.lose(&lost).unwrap();
        answers.settle(1, Some((b"a", &cost(1.5)))).unwrap();
        drop(answers);
        let (answers, costs) = Answers::open(&path, true).unwrap();
        assert_eq!(costs, [lost, cost(1.5)]);
        assert_eq!(answers.len(), 1);
        for digest in [0, u128::MAX] {
            assert!(known(&answers, Answers::key(digest)).is_none_or(|it| it == b"a"));
        }
    }

    #[test]
    fn a_new_run_counts_anew_and_keeps_the_answers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answers.log");
        let (answers, _) = Answers::open(&path, false).unwrap();
        answers.settle(1, Some((b"a", &cost(1.5)))).unwrap();
        drop(answers);
        let (answers, costs) = Answers::open(&path, true).unwrap();
        assert_eq!((answers.len(), costs), (1, vec![cost(1.5)]));
        drop(answers);
        let (answers, costs) = Answers::open(&path, false).unwrap();
        assert_eq!((answers.len(), costs.len()), (1, 0));
        drop(answers);
        assert_eq!(Answers::open(&path, true).unwrap().1.len(), 0);
    }

    #[test]
    fn one_asks_and_all_hear() {
        let answers = Answers::default();
        let asked = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| match answers.claim(7).unwrap() {
                    Claim::Known(bytes) => assert_eq!(bytes, b"said"),
                    Claim::Yours => {
                        asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        answers
                            .settle(7, Some((b"said", &Cost::default())))
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(asked.into_inner(), 1);
    }
}
