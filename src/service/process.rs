//! A child process that is asked and answers, with what it said last on its standard error.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process_group};

/// How many lines of standard error are kept.
const TAIL: usize = 12;

/// The least that a pipe holds.
const PAGE: usize = 4096;

/// How long a silent process is left alone before it is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Why a process did not answer.
#[derive(Debug)]
pub enum Fault {
    /// It ended, or closed its output.
    Died(String),
    /// Its answer is none.
    Garbage(String),
    /// It took too long.
    Slow(Duration),
    /// It had read nothing of what it was sent when it ended, or for so long; and what it said last.
    Unready(Option<Duration>, String),
}

impl Fault {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Died(said) if said.is_empty() => "the process ended".to_owned(),
            Self::Died(said) => format!("the process ended; it said last: {said}"),
            Self::Garbage(what) => format!("the process answered what cannot be read: {what}"),
            Self::Slow(limit) => format!("no answer within {} s", limit.as_secs()),
            Self::Unready(limit, said) => {
                let when = match limit {
                    Some(limit) => format!("for {} s", limit.as_secs()),
                    None => "when it ended".to_owned(),
                };
                let said = match said.as_str() {
                    "" => String::new(),
                    said => format!("; it said last: {said}"),
                };
                format!("it had read nothing {when}{said}")
            }
        }
    }
}

/// Reads one message of a process; `None` at its end.
pub type ReadMessage = fn(&mut dyn BufRead) -> io::Result<Option<Vec<u8>>>;

/// The groups of the processes that run.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills all processes that run, for a program that is about to end without order: one that takes
/// no notice of signals and of the end of its input would live on.
pub fn kill_all() {
    for id in running().iter().copied().filter_map(Pid::from_raw) {
        let _ = kill_process_group(id, Signal::KILL);
    }
}

/// A running process. It is killed when it is dropped.
pub struct Process {
    child: Child,
    input: Option<Input>,
    messages: Receiver<io::Result<Vec<u8>>>,
    said: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Starts `command`, whose standard output is read by `read`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &mut Command, read: ReadMessage) -> io::Result<Self> {
        let mut child = command
            // Of a group of its own: what is named may only start what answers.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        running().extend(i32::try_from(child.id()).ok());
        let gone = || io::Error::other("a pipe of the process is missing");
        let input = Input::new(child.stdin.take().ok_or_else(gone)?);
        let stdout = child.stdout.take().ok_or_else(gone)?;
        let stderr = child.stderr.take().ok_or_else(gone)?;
        // Bounded: a process that talks without being asked waits.
        let (sender, messages) = mpsc::sync_channel(64);
        std::thread::spawn(move || {
            let mut stdout = BufReader::with_capacity(1 << 16, stdout);
            loop {
                let message = read(&mut stdout).transpose();
                let Some(message) = message else { break };
                let failed = message.is_err();
                if sender.send(message).is_err() || failed {
                    break;
                }
            }
        });
        let said = Arc::new(Mutex::new(VecDeque::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || keep_tail(stderr, heard));
        Ok(Self {
            child,
            input: Some(input),
            messages,
            said,
        })
    }

    /// Sends `bytes`, and does not wait until they are read: a process that reads nothing is found by
    /// its silence, and one that answers before it has read everything is heard.
    ///
    /// # Errors
    /// If it reads no more.
    pub fn send(&mut self, bytes: Vec<u8>) -> Result<(), Fault> {
        match &self.input {
            Some(input) if input.send(bytes) => Ok(()),
            _ => Err(self.died()),
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// If none comes within `limit`.
    pub fn receive(&mut self, limit: Duration) -> Result<Vec<u8>, Fault> {
        let asked = Instant::now();
        loop {
            let left = limit.saturating_sub(asked.elapsed());
            match self.messages.recv_timeout(left.min(LOOK)) {
                Ok(Ok(message)) => return Ok(message),
                Ok(Err(error)) => return Err(Fault::Garbage(error.to_string())),
                Err(RecvTimeoutError::Disconnected) => return Err(self.died()),
                Err(RecvTimeoutError::Timeout) if self.is_deaf() => return Err(self.died()),
                Err(RecvTimeoutError::Timeout) if left <= LOOK => return Err(Fault::Slow(limit)),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// The first message of a process that has just been started: it has `start` until it reads, and
    /// `limit` from then on.
    ///
    /// # Errors
    /// As [`Self::receive`]; [`Fault::Unready`] if it has read nothing of what it was sent.
    pub fn receive_first(&mut self, start: Duration, limit: Duration) -> Result<Vec<u8>, Fault> {
        let started = Instant::now();
        loop {
            if self.has_read() {
                return self.receive(limit);
            }
            let left = start.saturating_sub(started.elapsed());
            match self.receive(left.min(LOOK)) {
                Err(Fault::Slow(_)) if !left.is_zero() => {}
                Err(Fault::Slow(_)) => return Err(Fault::Unready(Some(start), self.last_words())),
                Err(Fault::Died(said)) if !self.has_read() => {
                    return Err(Fault::Unready(None, said));
                }
                other => return other,
            }
        }
    }

    /// Whether it has read anything of what it was sent.
    fn has_read(&self) -> bool {
        self.input.as_ref().is_some_and(Input::is_read)
    }

    /// Whether it reads no more.
    fn is_deaf(&self) -> bool {
        self.input.as_ref().is_some_and(Input::is_broken)
    }

    /// Whether it has said something that it was not asked.
    #[must_use]
    pub fn has_more(&mut self) -> bool {
        self.messages.try_recv().is_ok()
    }

    /// Closes its input and waits for its end: how many messages it had left to say.
    ///
    /// # Errors
    /// If it does not end within `limit` of its last message.
    pub fn end(&mut self, limit: Duration) -> Result<usize, Fault> {
        self.input.take();
        let mut left = 0;
        loop {
            match self.messages.recv_timeout(limit) {
                Ok(Ok(_)) => left += 1,
                Ok(Err(error)) => return Err(Fault::Garbage(error.to_string())),
                Err(RecvTimeoutError::Timeout) => return Err(Fault::Slow(limit)),
                Err(RecvTimeoutError::Disconnected) => return Ok(left),
            }
        }
    }

    fn died(&mut self) -> Fault {
        // It may still be on its way out: what it says last is worth a moment.
        for _ in 0..50 {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let status = match self.child.try_wait() {
            Ok(Some(status)) if !status.success() => format!("{status}; "),
            _ => String::new(),
        };
        // Whoever reads its standard error is done when the process has ended, or soon.
        for _ in 0..50 {
            if Arc::strong_count(&self.said) == 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Fault::Died(format!("{status}{}", self.last_words()))
    }

    /// What it said last on its standard error.
    fn last_words(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = said.iter().map(String::as_str).collect();
        lines.join(" | ")
    }
}

/// The standard input of a process, written to by a thread of its own. It is closed when it is
/// dropped, once everything is written.
struct Input {
    queue: Sender<Vec<u8>>,
    pipe: Arc<ChildStdin>,
    /// Bytes that are in the pipe, or were.
    written: Arc<AtomicU64>,
    broken: Arc<AtomicBool>,
}

impl Input {
    fn new(pipe: ChildStdin) -> Self {
        let (queue, waiting) = mpsc::channel::<Vec<u8>>();
        let input = Self {
            queue,
            pipe: Arc::new(pipe),
            written: Arc::default(),
            broken: Arc::default(),
        };
        let pipe = Arc::clone(&input.pipe);
        let (written, broken) = (Arc::clone(&input.written), Arc::clone(&input.broken));
        std::thread::spawn(move || {
            for bytes in waiting {
                if write(&pipe, &bytes, &written).is_err() {
                    broken.store(true, Ordering::Release);
                    break;
                }
            }
        });
        input
    }

    /// Whether there is still somebody who writes.
    fn send(&self, bytes: Vec<u8>) -> bool {
        self.queue.send(bytes).is_ok()
    }

    fn is_read(&self) -> bool {
        let written = self.written.load(Ordering::Acquire);
        // Where the pipe cannot be asked, what was written counts as read.
        written > ioctl_fionread(&*self.pipe).unwrap_or(0)
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }
}

fn write(mut pipe: &ChildStdin, mut bytes: &[u8], written: &AtomicU64) -> io::Result<()> {
    while !bytes.is_empty() {
        // By pages: of a write that waits for room nobody knows how much is through.
        match pipe.write(bytes.get(..PAGE).unwrap_or(bytes)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => {
                written.fetch_add(taken as u64, Ordering::AcqRel);
                bytes = bytes.get(taken..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input.take();
        if let Ok(None) = self.child.try_wait() {
            let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            let _ = id.map(|id| kill_process_group(id, Signal::KILL));
        }
        let _ = self.child.kill();
        if let Ok(id) = i32::try_from(self.child.id()) {
            // Before its number may be another's.
            running().remove(&id);
        }
        let _ = self.child.wait();
    }
}

fn keep_tail(stderr: impl Read, heard: Arc<Mutex<VecDeque<String>>>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without end is cut: nothing that a process says is kept whole in memory.
        match (&mut stderr).take(1 << 16).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text: String = text.trim_end().chars().take(400).collect();
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() == TAIL {
            heard.pop_front();
        }
        heard.push_back(text);
    }
}
