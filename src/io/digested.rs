//! A file that is written in large blocks, with a digest of what was written.
//!
//! Whoever appends does not wait for the disk where that is asked for: a long file is digested and
//! written by a thread of its own, a few blocks behind. What goes wrong there is said at a later
//! call, at the latest by [`DigestedFile::flush`].

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;

use xxhash_rust::xxh3::Xxh3;

use super::atomic::{Committed, hex};

/// Bytes that wait to be written and digested together: doing either for each record would cost
/// more than the record.
const BLOCK: usize = 1 << 18;

/// Fewer bytes that are handed over are copied into a block.
const WHOLE: usize = 1 << 14;

/// A file of more bytes gets a thread, if it may have one.
const LONG: u64 = 1 << 21;

/// Blocks that wait for the thread: it is to be busy, and memory small.
const AHEAD: usize = 4;

/// A file being appended to.
pub struct DigestedFile {
    file: Arc<File>,
    /// Bytes that were handed over and wait, before the other ones that do; there are none without a
    /// thread.
    whole: Vec<Vec<u8>>,
    waiting: Vec<u8>,
    /// Of what was written; out of date while a thread writes.
    digest: Box<Xxh3>,
    /// Bytes written, waiting ones included.
    bytes: u64,
    /// Whether a thread may write.
    beside: bool,
    writer: Option<Writer>,
}

impl Write for DigestedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::flush(self)
    }
}

impl DigestedFile {
    /// Appends to `file`, which holds `bytes` bytes of this digest.
    #[must_use]
    pub fn new(file: File, digest: Xxh3, bytes: u64) -> Self {
        Self {
            file: Arc::new(file),
            whole: Vec::new(),
            waiting: Vec::new(),
            digest: Box::new(digest),
            bytes,
            beside: false,
            writer: None,
        }
    }

    /// The file, written by a thread of its own once it is long.
    #[must_use]
    pub fn beside(mut self) -> Self {
        self.beside = true;
        self
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        if self.waiting.len() + bytes.len() > BLOCK {
            self.write_waiting()?;
            if bytes.len() >= BLOCK {
                return self.write(bytes);
            }
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends bytes. Where they are handed over, are many, and a thread writes, they are not
    /// copied.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn append_whole(&mut self, bytes: Cow<'_, [u8]>) -> io::Result<()> {
        if self.writer.is_none() || bytes.len() < WHOLE || matches!(bytes, Cow::Borrowed(_)) {
            return self.append(&bytes);
        }
        self.bytes += bytes.len() as u64;
        if !self.waiting.is_empty() {
            self.whole.push(std::mem::take(&mut self.waiting));
        }
        self.whole.push(bytes.into_owned());
        // Waking a thread costs more than it does with few bytes.
        if self.whole.iter().map(Vec::len).sum::<usize>() < BLOCK {
            return Ok(());
        }
        self.write_waiting()
    }

    /// Hands what waits to the system.
    ///
    /// # Errors
    /// If the disk is full or fails, now or since the last call.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write_waiting()?;
        if let Some(writer) = &mut self.writer {
            *self.digest = writer.wait()?;
        }
        Ok(())
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() && self.whole.is_empty() {
            return Ok(());
        }
        if let Some(writer) = &mut self.writer {
            let mut all = std::mem::take(&mut self.whole);
            all.push(std::mem::take(&mut self.waiting));
            return writer.write(all);
        }
        self.digest.update(&self.waiting);
        self.file.as_ref().write_all(&self.waiting)?;
        self.waiting.clear();
        if self.beside && self.bytes > LONG {
            // Without a thread it is written as before.
            self.writer = Writer::start(Arc::clone(&self.file), (*self.digest).clone()).ok();
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(writer) = &mut self.writer {
            return writer.write(vec![bytes.to_vec()]);
        }
        self.digest.update(bytes);
        self.file.as_ref().write_all(bytes)
    }

    /// The file; it lacks what was not flushed.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Bytes written.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// What was written, once it was flushed.
    #[must_use]
    pub fn written(&self) -> Committed {
        Committed {
            bytes: self.bytes,
            xxh3_128: hex(&self.digest),
        }
    }
}

/// What the thread of a file is told.
enum Task {
    /// To write these, one after the other.
    Write(Vec<Vec<u8>>),
    /// To say what all bytes so far come to, or what went wrong.
    Tell(SyncSender<io::Result<Xxh3>>),
}

/// A thread that writes a file.
struct Writer {
    tasks: Option<SyncSender<Task>>,
    /// Set when something went wrong.
    failed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(file: Arc<File>, mut digest: Xxh3) -> io::Result<Self> {
        let (tasks, inbox) = mpsc::sync_channel(AHEAD);
        let failed = Arc::new(AtomicBool::new(false));
        let failure = Arc::clone(&failed);
        let work = move || {
            let mut outcome = Ok(());
            for task in inbox {
                match task {
                    // Behind a gap nothing is written.
                    Task::Write(_) if failure.load(Ordering::Acquire) => {}
                    Task::Write(all) => {
                        outcome = all.iter().try_for_each(|bytes| {
                            digest.update(bytes);
                            file.as_ref().write_all(bytes)
                        });
                        failure.store(outcome.is_err(), Ordering::Release);
                    }
                    Task::Tell(to) => {
                        let again = || Err(io::Error::other("it could not be written"));
                        let outcome = match std::mem::replace(&mut outcome, Ok(())) {
                            Ok(()) if failure.load(Ordering::Acquire) => again(),
                            outcome => outcome.map(|()| digest.clone()),
                        };
                        // Who asked may have gone.
                        let _ = to.send(outcome);
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("djr-writer".into());
        Ok(Self {
            tasks: Some(tasks),
            failed,
            thread: Some(thread.spawn(work)?),
        })
    }

    fn write(&mut self, all: Vec<Vec<u8>>) -> io::Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return self.wait().map(drop);
        }
        self.send(Task::Write(all))
    }

    /// Waits until all is written; its digest.
    fn wait(&mut self) -> io::Result<Xxh3> {
        let (to, told) = mpsc::sync_channel(1);
        self.send(Task::Tell(to))?;
        told.recv().map_err(|_| gone())?
    }

    fn send(&self, task: Task) -> io::Result<()> {
        let tasks = self.tasks.as_ref().ok_or_else(gone)?;
        tasks.send(task).map_err(|_| gone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.tasks.take();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say that was not asked.
            let _ = thread.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that writes it has ended")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    #[test]
    fn a_thread_writes_what_is_written_without_one() {
        let mut expected = Vec::new();
        let mut files = [false, true].map(|beside| {
            let file = DigestedFile::new(tempfile::tempfile().unwrap(), Xxh3::new(), 0);
            if beside { file.beside() } else { file }
        });
        let mut random = 7_u64;
        while expected.len() < 3 * usize::try_from(LONG).unwrap() {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let length = usize::try_from(random >> 45).unwrap();
            let bytes = vec![
                random.to_le_bytes()[7];
                if random.is_multiple_of(3) {
                    length
                } else {
                    100
                }
            ];
            for file in &mut files {
                match random % 5 {
                    0 => file.append_whole(Cow::Owned(bytes.clone())).unwrap(),
                    1 => file.append_whole(Cow::Borrowed(&bytes)).unwrap(),
                    _ => file.append(&bytes).unwrap(),
                }
                if random % 50 == 7 {
                    file.flush().unwrap();
                }
            }
            expected.extend(bytes);
        }
        for file in &mut files {
            file.flush().unwrap();
        }
        assert!(files[0].writer.is_none() && files[1].writer.is_some());
        assert_eq!(files[0].written(), files[1].written());
        for file in files {
            let mut content = Vec::new();
            let mut reader = file.file();
            reader.rewind().unwrap();
            reader.read_to_end(&mut content).unwrap();
            assert!(content == expected);
        }
    }

    #[test]
    fn what_a_thread_cannot_write_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "").unwrap();
        // Open for reading only: the thread cannot write it.
        let file = File::open(&path).unwrap();
        let mut file = DigestedFile::new(file, Xxh3::new(), LONG);
        file.writer = Some(Writer::start(Arc::clone(&file.file), Xxh3::new()).unwrap());
        let block = vec![0; BLOCK];
        let failed = (0..1000).find_map(|_| file.append(&block).err());
        assert_eq!(failed.unwrap().raw_os_error(), Some(libc::EBADF));
        assert!(file.flush().is_err());
    }
}
