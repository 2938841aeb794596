//! Data-Juicer in the user's own Python: what its operators are, and worker processes that run one.
//!
//! A row goes to a worker when the one before it is answered, so that the row which a worker dies or
//! falls silent on is known. That row is sent again to a fresh worker; if it ends that one, too, the
//! row fails, and no other.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::process::{Fault, Process};
use super::program::read_line;
use super::{Host, Identity, Lane, Opened, ServiceError};
use crate::op::{Answer, PeerAsked, PeerFacts, PeerKind, PeerRefusal, PeerService, Peers, Request};
use crate::sample::RowError;

/// The worker's side of the conversation.
const WORKER: &str = include_str!("peer.py");

/// Importing Data-Juicer from a cold disk takes its time, and an operator may load a model.
const START: Duration = Duration::from_secs(900);

/// The most processes if nobody says: each has all of Data-Juicer in memory.
const MOST_PROCESSES: usize = 4;

/// How often in a row a worker may fail before the run ends.
const RESTARTS: usize = 20;

/// A worker that has Data-Juicer.
struct Worker {
    process: Process,
    /// The versions that it has of Data-Juicer and of Python.
    version: String,
    python: String,
    /// The interpreter itself; what was named may be a script that finds it.
    executable: PathBuf,
}

impl Worker {
    /// Starts the interpreter at `path` in `dir`.
    ///
    /// # Errors
    /// Why it does not start, or that it has no Data-Juicer.
    fn start<'e>(
        path: &Path,
        dir: &Path,
        env: impl Iterator<Item = (&'e String, &'e String)>,
    ) -> Result<Self, String> {
        let mut command = Command::new(path);
        command.args(["-u", "-c", WORKER]).envs(env);
        if !dir.as_os_str().is_empty() {
            command.current_dir(dir);
        }
        let mut process =
            Process::start(&mut command, read_line).map_err(|error| error.to_string())?;
        let hello = ask(&mut process, &json!({"op": "hello"})).map_err(|fault| fault.words())?;
        let text = |key| hello.get(key).and_then(Value::as_str).unwrap_or_default();
        if hello.get("ok") != Some(&true.into()) {
            return Err(text("message").to_owned());
        }
        Ok(Self {
            version: text("version").to_owned(),
            python: text("python").to_owned(),
            executable: match text("executable") {
                "" => path.to_owned(),
                executable => executable.into(),
            },
            process,
        })
    }

    /// Has it build an operator.
    fn build(&mut self, asked: &PeerAsked<'_>, id: u64, rank: usize) -> Result<Value, Fault> {
        let message = json!({
            "op": "build", "id": id, "name": asked.op, "params": asked.params,
            "custom": asked.custom, "rank": rank,
        });
        ask(&mut self.process, &message)
    }
}

/// What a worker answers to a message that is no row.
fn ask(process: &mut Process, message: &Value) -> Result<Value, Fault> {
    process.send(format!("{message}\n").into_bytes())?;
    let reply = process.receive(START)?;
    let shown = || String::from_utf8_lossy(reply.get(..80).unwrap_or(&reply)).into_owned();
    serde_json::from_slice(&reply).map_err(|_| Fault::Garbage(shown()))
}

/// Knows Data-Juicer's operators by asking the first Python that has it. None is started before it
/// is asked.
pub struct PeerPython {
    pythons: Vec<PathBuf>,
    working_dir: PathBuf,
    found: RefCell<Found>,
}

enum Found {
    NotLooked,
    Nowhere(String),
    /// A worker, unless it died, and the interpreter.
    There(Option<Worker>, PathBuf),
}

impl PeerPython {
    /// Looks in `pythons`, in order, from the directory that operators are to run in.
    #[must_use]
    pub fn new(pythons: Vec<PathBuf>, working_dir: PathBuf) -> Self {
        Self {
            pythons,
            working_dir,
            found: RefCell::new(Found::NotLooked),
        }
    }

    /// The first interpreter that has Data-Juicer.
    fn look(&self, env: &PeerAsked<'_>) -> Found {
        let mut tried = Vec::new();
        for path in &self.pythons {
            match Worker::start(path, &self.working_dir, env.env.iter()) {
                Ok(worker) => {
                    let path = worker.executable.clone();
                    return Found::There(Some(worker), path);
                }
                Err(why) => tried.push(format!("{}: {why}", path.display())),
            }
        }
        Found::Nowhere(tried.join("; "))
    }
}

impl Peers for PeerPython {
    fn describe(&self, asked: &PeerAsked<'_>) -> Result<PeerFacts, PeerRefusal> {
        let mut found = self.found.borrow_mut();
        if matches!(*found, Found::NotLooked) {
            *found = self.look(asked);
        }
        let (worker, path) = match &mut *found {
            Found::Nowhere(tried) => return Err(PeerRefusal::Nowhere(tried.clone())),
            Found::There(worker, path) => (worker, path),
            Found::NotLooked => return Err(PeerRefusal::Nowhere(String::new())),
        };
        let mut asking = None;
        let mut reply = Err(Fault::Died(String::new()));
        // One that died is not spoken to again; a second one may live.
        for _ in 0..2 {
            let mut ready = match worker.take() {
                Some(worker) => worker,
                None => Worker::start(path, &self.working_dir, asked.env.iter())
                    .map_err(PeerRefusal::Refused)?,
            };
            reply = ready.build(asked, 0, 0);
            if reply.is_ok() {
                asking = Some(ready);
                break;
            }
        }
        let reply = reply.map_err(|fault| PeerRefusal::Refused(fault.words()))?;
        let version = asking
            .as_ref()
            .map_or_else(String::new, |it| it.version.clone());
        *worker = asking;
        let text = |key| reply.get(key).and_then(Value::as_str).unwrap_or_default();
        if let Some(works) = works(&reply) {
            return Ok(PeerFacts {
                works,
                class: text("class").to_owned(),
                version,
                python: path.clone(),
            });
        }
        let message = text("message").to_owned();
        let texts = |key| {
            let list = reply.get(key).and_then(Value::as_array);
            let texts = list.into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        Err(match text("code") {
            "unknown_operator" => PeerRefusal::Unknown(version),
            "unknown_parameter" => PeerRefusal::Parameters(texts("unknown"), texts("known")),
            "whole" => PeerRefusal::Whole(message),
            _ => PeerRefusal::Refused(message),
        })
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How an operator that was built works.
fn works(reply: &Value) -> Option<PeerKind> {
    serde_json::from_value(reply.get("kind")?.clone()).ok()
}

/// Worker processes that the operators of a recipe share: each has all of them, and answers for one
/// row of one operator at a time.
#[derive(Clone, Default)]
pub struct PeerWorkers(Arc<Mutex<Vec<Arc<Mutex<Shared>>>>>);

/// A worker, if it runs, and the operators that it has built.
#[derive(Default)]
struct Shared {
    worker: Option<Worker>,
    built: BTreeSet<u64>,
}

impl fmt::Debug for PeerWorkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_tuple("PeerWorkers").field(&workers.len()).finish()
    }
}

impl PeerWorkers {
    /// The one of this rank; it is not started before it is asked.
    fn ranked(&self, rank: usize) -> Arc<Mutex<Shared>> {
        let mut workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while workers.len() <= rank {
            workers.push(Arc::default());
        }
        workers.get(rank).cloned().unwrap_or_default()
    }
}

/// An operator of Data-Juicer in a worker process.
pub struct Peer {
    service: PeerService,
    /// What the operator is called in its worker.
    id: u64,
    working_dir: PathBuf,
    /// Which of the workers it is.
    rank: usize,
    shared: Arc<Mutex<Shared>>,
    restarts: usize,
}

impl Peer {
    /// Has the first worker build the operator, to learn what it runs on; the others do so when they
    /// are first asked.
    ///
    /// # Errors
    /// If Data-Juicer is not there any more, or does not build the operator.
    pub fn open(service: &PeerService, host: &Host) -> Result<Opened, ServiceError> {
        let processes = service.run.processes;
        let processes = processes.unwrap_or_else(|| host.threads.clamp(1, MOST_PROCESSES));
        let json = serde_json::to_vec(service).unwrap_or_default();
        let lane = |rank| Self {
            service: service.clone(),
            id: xxh3_64(&json),
            working_dir: host.working_dir.clone(),
            rank,
            shared: host.peers.ranked(rank),
            restarts: 0,
        };
        let first = lane(0);
        let runs_on = first.begin(&mut lock(&first.shared))?;
        let others = (1..processes.max(1)).map(lane);
        Ok(Opened {
            lanes: std::iter::once(first)
                .chain(others)
                .map(|lane| Box::new(lane) as Box<dyn Lane>)
                .collect(),
            identity: Identity {
                service: service.op.clone(),
                runs_on,
            },
        })
    }

    /// Makes sure that a worker runs and has the operator; what it runs on. One that ends meanwhile is
    /// started again, once.
    fn begin(&self, shared: &mut Shared) -> Result<String, ServiceError> {
        self.try_begin(shared)
            .or_else(|_| self.try_begin(shared))
            .map_err(|why| self.error(why))
    }

    fn try_begin(&self, shared: &mut Shared) -> Result<String, String> {
        let service = &self.service;
        let mut worker = if let Some(worker) = shared.worker.take() {
            worker
        } else {
            shared.built.clear();
            let python = &service.facts.python;
            Worker::start(python, &self.working_dir, service.env.iter())
                .map_err(|why| format!("{}: {why}", python.display()))?
        };
        if !shared.built.contains(&self.id) {
            let asked = PeerAsked {
                op: &service.op,
                params: &service.params,
                custom: &service.custom,
                env: &service.env,
            };
            let reply = worker.build(&asked, self.id, self.rank);
            let reply = reply.map_err(|fault| fault.words())?;
            if works(&reply) != Some(service.facts.works) {
                let message = reply.get("message").and_then(Value::as_str);
                return Err(message.unwrap_or("it is another operator now").to_owned());
            }
            shared.built.insert(self.id);
        }
        let runs_on = format!("Data-Juicer {}, Python {}", worker.version, worker.python);
        shared.worker = Some(worker);
        Ok(runs_on)
    }

    fn error(&self, message: String) -> ServiceError {
        ServiceError {
            service: self.service.op.clone(),
            message,
            hint: None,
            spoiled: false,
        }
    }

    /// The answer to one row. The next row is sent when it has come: what waits in a pipe could not be
    /// told from what a worker does not take.
    fn converse(&self, request: &Request) -> Result<Result<Answer, Fault>, ServiceError> {
        let mut shared = lock(&self.shared);
        self.begin(&mut shared)?;
        let Some(mut worker) = shared.worker.take() else {
            return Ok(Err(Fault::Died(String::new())));
        };
        let limit = Duration::from_secs(self.service.run.timeout_s.max(1));
        let mut line = format!("{{\"id\": {}, ", self.id).into_bytes();
        line.extend_from_slice(request.bytes.get(1..).unwrap_or_default());
        line.push(b'\n');
        let answer = worker.process.send(line);
        let answer = answer.and_then(|()| worker.process.receive(limit));
        let text = answer.and_then(|answer| {
            String::from_utf8(answer).map_err(|_| Fault::Garbage("no UTF-8".to_owned()))
        });
        if text.is_ok() {
            shared.worker = Some(worker);
        }
        Ok(text.map(Answer::Text))
    }

    /// The same, from a second worker if it ends the first.
    fn answer(&mut self, request: &Request) -> Result<Result<Answer, RowError>, ServiceError> {
        let mut is_second = false;
        loop {
            let fault = match self.converse(request)? {
                Ok(answer) => {
                    self.restarts = 0;
                    return Ok(Ok(answer));
                }
                Err(fault) => fault,
            };
            self.restarts += 1;
            if self.restarts > RESTARTS {
                return Err(self.error(format!(
                    "its worker failed {} times in a row; the last time {}",
                    self.restarts,
                    fault.words()
                )));
            }
            if is_second {
                return Ok(Err(RowError::new("operator_failed", fault.words())));
            }
            is_second = true;
        }
    }
}

impl Lane for Peer {
    fn serve(
        &mut self,
        _: usize,
        requests: &[Request],
    ) -> Result<Vec<Result<Answer, RowError>>, ServiceError> {
        requests.iter().map(|row| self.answer(row)).collect()
    }
}
