//! A child process that is asked and answers, with what it said last on its standard error.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// How many lines of standard error are kept.
const TAIL: usize = 12;

/// Why a process did not answer.
#[derive(Debug)]
pub enum Fault {
    /// It ended, or closed its output.
    Died(String),
    /// Its answer is none.
    Garbage(String),
    /// It took too long.
    Slow(Duration),
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
    stdin: Option<ChildStdin>,
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
        let stdin = child.stdin.take().ok_or_else(gone)?;
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
            stdin: Some(stdin),
            messages,
            said,
        })
    }

    /// Sends `bytes`.
    ///
    /// # Errors
    /// If it reads no more.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let sent = match &mut self.stdin {
            Some(stdin) => stdin.write_all(bytes).and_then(|()| stdin.flush()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        sent.map_err(|_| self.died())
    }

    /// The next message.
    ///
    /// # Errors
    /// If none comes within `limit`.
    pub fn receive(&mut self, limit: Duration) -> Result<Vec<u8>, Fault> {
        match self.messages.recv_timeout(limit) {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(error)) => Err(Fault::Garbage(error.to_string())),
            Err(RecvTimeoutError::Timeout) => Err(Fault::Slow(limit)),
            Err(RecvTimeoutError::Disconnected) => Err(self.died()),
        }
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
        self.stdin.take();
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
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = said.iter().map(String::as_str).collect();
        Fault::Died(format!("{status}{}", lines.join(" | ")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin.take();
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
