//! Who answers what operators ask: worker processes with models or with Data-Juicer, programs, and
//! servers.
//!
//! [`open`] starts what a [`Service`] describes and gives one [`Lane`] for each batch that can be
//! on its way at a time. Nothing is downloaded, and nothing that is answered depends on how many
//! lanes there are or which rows are served together.

mod endpoint;
mod frames;
mod lanes;
mod peer;
mod process;
mod products;
mod program;
mod python;
mod remembered;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

pub use endpoint::{Answers, Endpoint, Limits, Paid, Spending};
pub use lanes::Model;
pub use peer::{Peer, PeerPython, PeerWorkers};
pub use process::kill_all;
pub use products::{Far, Found, Products, rounding};
pub use program::Program;
pub use python::{Python, candidates};

use crate::op::{Answer, OpSpec, Operator, Outcome, Request, Service, Setting};
use crate::sample::{RowError, Sample};

/// Why a service does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{service}: {message}")]
pub struct ServiceError {
    /// Whom it concerns.
    pub service: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether what it answered before cannot be trusted, so that a run cannot go on from there.
    pub spoiled: bool,
}

/// Serves one batch after the other.
pub trait Lane: Send {
    /// The answers to `requests`, all of them for head `head` and at most a batch, in order. A
    /// request that cannot be answered fails its row alone.
    ///
    /// # Errors
    /// If nothing can be answered any more.
    fn serve(
        &mut self,
        head: usize,
        requests: &[Request],
    ) -> Result<Vec<Result<Answer, RowError>>, ServiceError>;

    /// Makes sure, once all requests are served, that what was answered can be trusted.
    ///
    /// # Errors
    /// If it cannot.
    fn finish(&mut self) -> Result<(), ServiceError> {
        Ok(())
    }
}

/// A service that answers.
pub struct Opened {
    /// What serves it, each from a thread of its own.
    pub lanes: Vec<Box<dyn Lane>>,
    /// What answers depend on beside the plan.
    pub identity: Identity,
}

impl Opened {
    /// The answers to the requests of one row, served alone; the row's error if one fails.
    ///
    /// # Errors
    /// If nothing can be answered any more.
    pub fn answer(
        &mut self,
        requests: Vec<Request>,
    ) -> Result<Result<Vec<Answer>, RowError>, ServiceError> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let Some(lane) = self.lanes.first_mut() else {
                let message = "nobody answers".to_owned();
                return Ok(Err(RowError::new("model_failed", message)));
            };
            answers.extend(lane.serve(request.head, &[request])?);
        }
        Ok(answers.into_iter().collect())
    }
}

/// Runs an operator on one row, with what it asks served at once: for tests and tools that look
/// at single rows. A run serves the rows of many batches together.
///
/// # Errors
/// As [`Operator::run`]; a service that does not answer fails the row.
pub fn run_alone(
    operator: &Operator,
    spec: &OpSpec,
    sample: &mut Sample,
    setting: &Setting<'_>,
    host: &Host,
) -> Result<Outcome, RowError> {
    let failed = |error: ServiceError| RowError::new("model_failed", error.to_string());
    let mut opened = None;
    let mut answers: Option<Vec<Answer>> = None;
    loop {
        let setting = Setting {
            answers: answers.as_deref(),
            ..*setting
        };
        let requests = match operator.run(spec, sample, &setting)? {
            Outcome::Asks(requests) => requests,
            outcome => return Ok(outcome),
        };
        let Some(service) = &spec.service else {
            return Err(RowError::new("model_failed", "it asks nobody"));
        };
        let mut lanes = match opened.take() {
            Some(lanes) => lanes,
            None => open(service, host).map_err(failed)?,
        };
        let said = lanes.answer(requests).map_err(failed)??;
        answers.get_or_insert_default().extend(said);
        opened = Some(lanes);
    }
}

/// What the answers of a service depend on beside the plan: another device or version may give
/// other last digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Whom it concerns.
    pub service: String,
    /// What it runs on and with, e.g. `NVIDIA H100, torch 2.8.0, transformers 4.57.1`.
    pub runs_on: String,
}

/// Keeps what one run learns of a worker for the next.
pub trait Memory: std::fmt::Debug + Send + Sync {
    /// What was kept under `key`.
    fn recall(&self, key: u128) -> Option<Vec<u8>>;

    /// Keeps `value` under `key`. What cannot be kept is learnt again.
    fn keep(&self, key: u128, value: &[u8]);
}

/// Where services run.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Python interpreters to try, in order.
    pub pythons: Vec<PathBuf>,
    /// Devices to use, e.g. `cuda:0`; all of one kind, the best there is, if empty.
    pub devices: Vec<String>,
    /// The directory that programs run in.
    pub working_dir: PathBuf,
    /// How many processes may compute on processors.
    pub threads: usize,
    /// The workers that have Data-Juicer, which all operators share that run there.
    pub peers: PeerWorkers,
    /// What servers have answered, so that nothing is paid twice.
    pub answers: Arc<Answers>,
    /// What servers may cost, and have cost.
    pub spending: Arc<Spending>,
    /// Set when the run is to stop: nothing further is sent.
    pub stopping: Arc<AtomicBool>,
    /// What earlier runs learnt of workers, if results of runs are kept: a model whose worker is known
    /// is started when something is asked that is not.
    pub memory: Option<Arc<dyn Memory>>,
}

/// Starts a service.
///
/// # Errors
/// If it cannot be started, or lacks what it needs.
pub fn open(service: &Service, host: &Host) -> Result<Opened, ServiceError> {
    match service {
        Service::Model(model) => Model::open(model, host),
        Service::Program(program) => Ok(Program::open(program, host)),
        Service::Peer(peer) => Peer::open(peer, host),
        Service::Endpoint(endpoint) => Endpoint::open(endpoint, host),
    }
}
