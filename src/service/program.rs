//! Programs that read a line of JSON and write one for it.

use std::io::{self, BufRead};
use std::process::Command;
use std::time::Duration;

use super::process::{Fault, Process};
use super::{Host, Identity, Lane, Opened, ServiceError};
use crate::op::{Answer, ProgramService, Request};
use crate::sample::RowError;

/// The longest line of an answer.
const LONGEST: u64 = 256 << 20;

/// What is wrong with a program that says more than it is asked.
const MORE: &str = "more lines than it was sent";

/// How often in a row a program may fail before the run ends.
const RESTARTS: usize = 20;

/// How often in a row a program may fail to start.
const STARTS: usize = 3;

/// A program that can be asked.
pub struct Program {
    service: ProgramService,
    working_dir: std::path::PathBuf,
    process: Option<Process>,
    restarts: usize,
}

impl Program {
    /// Its lanes, one a process; each starts its process when it is first asked.
    #[must_use]
    pub fn open(service: &ProgramService, host: &Host) -> Opened {
        let lane = || -> Box<dyn Lane> {
            Box::new(Self {
                service: service.clone(),
                working_dir: host.working_dir.clone(),
                process: None,
                restarts: 0,
            })
        };
        Opened {
            lanes: (0..service.processes.max(1)).map(|_| lane()).collect(),
            identity: Identity {
                service: service.shown.clone(),
                runs_on: "this machine".to_owned(),
            },
        }
    }

    /// Starts the program.
    fn start(&self) -> Result<Process, ServiceError> {
        let none = || self.error("no program is named".to_owned(), None);
        let (program, arguments) = self.service.command.split_first().ok_or_else(none)?;
        let mut command = Command::new(program);
        command.args(arguments);
        if !self.working_dir.as_os_str().is_empty() {
            command.current_dir(&self.working_dir);
        }
        Process::start(&mut command, read_line).map_err(|error| {
            self.error(
                format!("{program}: {error}"),
                Some("name a program that exists, by its path or as found in PATH"),
            )
        })
    }

    fn error(&self, message: String, hint: Option<&str>) -> ServiceError {
        ServiceError {
            service: self.service.shown.clone(),
            message,
            hint: hint.map(str::to_owned),
            spoiled: false,
        }
    }

    /// Lines that nobody asked for: to which rows the others belong cannot be told.
    fn spoiled(&self) -> ServiceError {
        ServiceError {
            spoiled: true,
            ..self.error(
                "it wrote more lines than it was sent, so that its answers cannot be told apart"
                    .to_owned(),
                Some("it must write one line for each line it reads"),
            )
        }
    }

    /// Sends all requests and reads as many lines. A program that fails is not spoken to again.
    fn converse(
        &mut self,
        requests: &[Request],
    ) -> Result<Result<Vec<Answer>, Fault>, ServiceError> {
        let (mut process, is_new) = match self.process.take() {
            Some(process) => (process, false),
            None => (self.start()?, true),
        };
        let answers = if process.has_more() {
            Err(Fault::Garbage(MORE.to_owned()))
        } else {
            self.exchange(&mut process, requests, is_new)
                .and_then(|answers| {
                    if process.has_more() {
                        return Err(Fault::Garbage(MORE.to_owned()));
                    }
                    Ok(answers)
                })
        };
        match &answers {
            Ok(_) => self.process = Some(process),
            // Its answers to earlier rows may have been one another's.
            Err(Fault::Garbage(what)) if what == MORE && !is_new => return Err(self.spoiled()),
            Err(_) => {}
        }
        Ok(answers)
    }

    /// The same with a process of their own, which is to end: lines too many are found for sure.
    fn converse_alone(
        &mut self,
        requests: &[Request],
    ) -> Result<Result<Vec<Answer>, Fault>, ServiceError> {
        let mut unready = None;
        for _ in 0..STARTS {
            let mut process = self.start()?;
            match self.exchange(&mut process, requests, true) {
                // It has seen no row: that no row is to blame for.
                Err(fault @ Fault::Unready(..)) => unready = Some(fault),
                Err(fault) => return Ok(Err(fault)),
                Ok(answers) => {
                    return Ok(match process.end(self.limit()) {
                        Ok(0) => Ok(answers),
                        Ok(_) => Err(Fault::Garbage(MORE.to_owned())),
                        Err(fault @ Fault::Garbage(_)) => Err(fault),
                        // One that does not end has answered all the same.
                        Err(_) => Ok(answers),
                    });
                }
            }
        }
        let why = unready.map(|fault| fault.words()).unwrap_or_default();
        Err(self.error(
            format!("it does not start: {why}, {STARTS} times in a row"),
            Some("try it by hand: it must read rows from its standard input; if it is slow to start, raise start_timeout"),
        ))
    }

    /// Sends rows to a process, which may be new, and reads its answers.
    fn exchange(
        &self,
        process: &mut Process,
        requests: &[Request],
        is_new: bool,
    ) -> Result<Vec<Answer>, Fault> {
        let mut lines = Vec::new();
        for request in requests {
            lines.extend_from_slice(&request.bytes);
            lines.push(b'\n');
        }
        process.send(lines)?;
        let mut answers = Vec::with_capacity(requests.len());
        for _ in requests {
            let line = if is_new && answers.is_empty() {
                let start = Duration::from_secs(self.service.start_timeout_s.max(1));
                process.receive_first(start, self.limit())?
            } else {
                process.receive(self.limit())?
            };
            let text = String::from_utf8(line)
                .map_err(|_| Fault::Garbage("a line that is not UTF-8".to_owned()))?;
            answers.push(Answer::Text(text));
        }
        Ok(answers)
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.service.timeout_s.max(1))
    }

    /// Answers requests of which one makes the program fail: by halves, until it is alone.
    fn recover(
        &mut self,
        requests: &[Request],
        fault: Fault,
    ) -> Result<Vec<Result<Answer, RowError>>, ServiceError> {
        self.restarts += 1;
        if self.restarts > RESTARTS {
            return Err(self.error(
                format!(
                    "it failed {} times in a row; the last time {}",
                    self.restarts,
                    fault.words()
                ),
                Some("try it by hand: it must write one line for each line it reads, and flush"),
            ));
        }
        if requests.len() == 1 {
            return Ok(vec![Err(RowError::new("program_failed", fault.words()))]);
        }
        let mut answers = Vec::with_capacity(requests.len());
        let (left, right) = requests.split_at(requests.len() / 2);
        for half in [left, right] {
            match self.converse_alone(half)? {
                Ok(sound) => {
                    self.restarts = 0;
                    answers.extend(sound.into_iter().map(Ok));
                }
                Err(fault) => answers.extend(self.recover(half, fault)?),
            }
        }
        Ok(answers)
    }
}

impl Lane for Program {
    fn serve(
        &mut self,
        _: usize,
        requests: &[Request],
    ) -> Result<Vec<Result<Answer, RowError>>, ServiceError> {
        match self.converse(requests)? {
            Ok(answers) => {
                self.restarts = 0;
                Ok(answers.into_iter().map(Ok).collect())
            }
            // Alone it may answer what it did not among others.
            Err(fault) => match self.converse_alone(requests)? {
                Ok(answers) => Ok(answers.into_iter().map(Ok).collect()),
                Err(_) => self.recover(requests, fault),
            },
        }
    }

    fn finish(&mut self) -> Result<(), ServiceError> {
        let limit = self.limit();
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        // One that does not end has answered all the same.
        match process.end(limit) {
            Ok(0) => Ok(()),
            Ok(_) | Err(Fault::Garbage(_)) => Err(self.spoiled()),
            Err(_) => Ok(()),
        }
    }
}

/// The next line without its break; `None` at the end.
///
/// # Errors
/// If the last line has no end, or is too long.
pub fn read_line(from: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut from = io::Read::take(from, LONGEST);
    if from.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the last line has no end",
        ));
    }
    line.pop();
    Ok(Some(line))
}
