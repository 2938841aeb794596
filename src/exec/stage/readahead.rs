//! Images of rows that wait for a worker thread are brought into memory, so that a disk is asked
//! for several files at once however few workers there are.
//!
//! It changes when files are read, never what is read of them. While files are found in memory
//! already, only one row a batch is looked at, which costs nothing to speak of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::io::{RawBatch, RawLine};
use crate::op::ImageNeed;
use crate::sample::{ImageContext, Origin, read_row};

/// Files that are asked for at once. A solid-state disk that gives 8,400 files of 47 KB a second to
/// one reader gives 23,000 to eight, and little more to thirty-two.
const READERS: usize = 8;

/// Rows that a reader takes at a time.
const ROWS: usize = 8;

/// How many batches are read ahead as a whole after a file was not found in memory.
const BATCHES: usize = 16;

/// Jobs that may wait for a reader, and bytes of their rows; beyond them rows are left to their
/// workers.
const WAITING: usize = 1024;
const WAITING_BYTES: usize = 8 << 20;

/// Rows, each with its bytes.
type Job = Vec<(Origin, Vec<u8>)>;

/// Threads that read ahead until this is dropped.
pub struct Readahead {
    jobs: Option<SyncSender<Job>>,
    state: Arc<State>,
    readers: Vec<JoinHandle<()>>,
}

/// What the readers share.
struct State {
    context: Arc<ImageContext>,
    /// Batches that are still to be read ahead as a whole.
    batches: AtomicUsize,
    /// Bytes of rows in jobs that are not done.
    bytes: AtomicUsize,
    /// Nothing more is wanted.
    stopped: AtomicBool,
}

impl Readahead {
    /// Starts reading ahead for rows whose images are found by `context`; `None` if it reads no
    /// files, or no thread can be started.
    #[must_use]
    pub fn start(context: &Arc<ImageContext>) -> Option<Self> {
        if context.want < ImageNeed::Header {
            return None;
        }
        let state = Arc::new(State {
            context: Arc::clone(context),
            batches: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let (jobs, inbox) = sync_channel(WAITING);
        let inbox = Arc::new(Mutex::new(inbox));
        let readers: Vec<_> = (0..READERS)
            .map_while(|i| {
                let (state, inbox) = (Arc::clone(&state), Arc::clone(&inbox));
                std::thread::Builder::new()
                    .name(format!("djr-readahead-{i}"))
                    .spawn(move || state.read(&inbox))
                    .ok()
            })
            .collect();
        (!readers.is_empty()).then_some(Self {
            jobs: Some(jobs),
            state,
            readers,
        })
    }

    /// Reads ahead for the rows of `batch`, if files have to come from a disk at present. Never
    /// waits.
    pub fn offer(&self, batch: &RawBatch) {
        let left = self.state.batches.load(Ordering::Relaxed);
        if left == 0 {
            // The last row: of all, the worker will come to it last.
            let last = batch.lines.len().saturating_sub(1);
            self.ask(batch, batch.lines.get(last..).unwrap_or_default());
            return;
        }
        // The readers may meanwhile have set it anew; one batch more or less does not matter.
        self.state.batches.store(left - 1, Ordering::Relaxed);
        for lines in batch.lines.chunks(ROWS) {
            if !self.ask(batch, lines) {
                return;
            }
        }
    }

    /// Hands a copy of some rows to the readers; false if too many wait already.
    fn ask(&self, batch: &RawBatch, lines: &[RawLine]) -> bool {
        let rows = || {
            lines
                .iter()
                .filter(|line| line.problem.is_none() && line.attached.is_empty())
        };
        let bytes: usize = rows().map(|line| batch.bytes(line).len()).sum();
        let waiting = &self.state.bytes;
        // Only this thread adds to it.
        if waiting.load(Ordering::Relaxed) + bytes > WAITING_BYTES {
            return false;
        }
        waiting.fetch_add(bytes, Ordering::Relaxed);
        let job = rows().map(|line| (line.origin, batch.bytes(line).to_vec()));
        let sent = self.jobs.as_ref().map(|jobs| jobs.try_send(job.collect()));
        let sent = matches!(sent, Some(Ok(())));
        if !sent {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        sent
    }
}

impl Drop for Readahead {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        self.jobs = None;
        for reader in self.readers.drain(..) {
            // A reader that panicked has read less ahead; its worker meets the same row.
            let _ = reader.join();
        }
    }
}

impl State {
    /// Works on jobs until there are no more.
    fn read(&self, inbox: &Mutex<Receiver<Job>>) {
        loop {
            let job = {
                let inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
                inbox.recv()
            };
            let Ok(job) = job else { return };
            for (origin, bytes) in job {
                let size = bytes.len();
                if self.stopped.load(Ordering::Relaxed) {
                    return;
                }
                if self.read_row(origin, bytes) {
                    self.batches.store(BATCHES, Ordering::Relaxed);
                }
                self.bytes.fetch_sub(size, Ordering::Relaxed);
            }
        }
    }

    /// Whether an image of the row was not in memory. What is wrong with the row its worker tells.
    fn read_row(&self, origin: Origin, bytes: Vec<u8>) -> bool {
        let Ok(sample) = read_row(bytes.into(), origin, &self.context) else {
            return false;
        };
        let Ok(slots) = sample.images() else {
            return false;
        };
        // Every slot is to be read ahead, not only those up to the first that was not in memory.
        slots.iter().filter(|slot| slot.read_ahead()).count() > 0
    }
}
