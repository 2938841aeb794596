//! What an operator asks that is not djr itself: a model on a device, a program, a server.
//!
//! An operator says what it wants to know of a row ([`Asks::ask`]) and goes on when it has been
//! answered; in between the executor gathers the requests of many rows and has them served
//! together. The operator knows neither processes nor devices, and nothing that it is told depends
//! on which rows were served together.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    BuildContext, EndpointService, OneOrMany, ParamError, PeerService, Problems, positive,
};
use crate::sample::{RowError, Sample};

/// One question about one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which head of the service it is for.
    pub head: usize,
    /// The inputs of the head laid end to end in the order in which it declares them; for a
    /// program, one line of JSON without its line break; for a server,
    /// [`super::endpoint_request`].
    pub bytes: Vec<u8>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The output of a head that gives numbers, flat.
    Floats(Vec<f32>),
    /// The output of a head that gives text; for a program, one line of JSON.
    Text(String),
    /// What a server said.
    Said(Said),
}

/// What a server answered to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// What stands in its response where answers stand: a text as it is, empty if there is none
    /// or it is null, any other value as JSON.
    pub text: String,
    /// Tokens of the request, by the server's count.
    pub tokens_in: u64,
    /// Tokens of the answer.
    pub tokens_out: u64,
    /// Tokens of both, as the server adds them up.
    pub tokens: u64,
}

impl Answer {
    /// The numbers.
    ///
    /// # Errors
    /// If it is a text.
    pub fn floats(&self) -> Result<&[f32], RowError> {
        match self {
            Self::Floats(numbers) => Ok(numbers),
            Self::Text(_) | Self::Said(_) => {
                Err(RowError::new("model_failed", "the answer is a text"))
            }
        }
    }

    /// The text.
    ///
    /// # Errors
    /// If it is numbers.
    pub fn text(&self) -> Result<&str, RowError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Said(said) => Ok(&said.text),
            Self::Floats(_) => Err(RowError::new("model_failed", "the answer is no text")),
        }
    }
}

/// How many batches of requests wait for a service.
const BATCHES_AHEAD: usize = 8;

/// An operator that asks.
pub trait Asks: Send + Sync {
    /// Whom it asks.
    fn service(&self) -> &Service;

    /// What it asks about a row; nothing if the row can be answered without.
    ///
    /// # Errors
    /// Whatever makes the row impossible to process; it is quarantined.
    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError>;

    /// What it asks further about the row once it has been answered `answers`, all of them in the
    /// order in which it asked; nothing if it has heard enough.
    ///
    /// # Errors
    /// As [`Asks::ask`].
    fn ask_on(&self, _: &Sample, _answers: &[Answer]) -> Result<Vec<Request>, RowError> {
        Ok(Vec::new())
    }

    /// Whether it asks otherwise about rows that hold the same where it reads them.
    fn each_row_by_itself(&self) -> bool {
        false
    }
}

/// Who is asked, as data: part of the plan, because the answers depend on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Service {
    /// A model, in a process that has torch.
    Model(ModelService),
    /// A program that reads and writes lines of JSON.
    Program(ProgramService),
    /// An operator of Data-Juicer, in a process that has it.
    Peer(PeerService),
    /// A server that is asked over HTTP.
    Endpoint(EndpointService),
}

/// Rows that one process of an operator of Data-Juicer takes in turn.
const ROWS_IN_TURN: usize = 4;

impl Service {
    /// The most requests for `head` that are served together.
    #[must_use]
    pub fn batch(&self, head: usize) -> usize {
        let batch = match self {
            Self::Model(model) => model.heads.get(head).map_or(1, |head| head.batch),
            Self::Program(program) => program.batch,
            Self::Peer(_) => ROWS_IN_TURN,
            Self::Endpoint(_) => 1,
        };
        batch.max(1)
    }

    /// About how many requests should wait for it, so that it is never idle.
    #[must_use]
    pub fn ahead(&self) -> usize {
        if let Self::Endpoint(endpoint) = self {
            return endpoint.max_concurrency * 2;
        }
        let batches = (0..self.heads()).map(|head| self.batch(head));
        batches.max().unwrap_or(0) * BATCHES_AHEAD
    }

    /// How many heads it has.
    #[must_use]
    pub fn heads(&self) -> usize {
        match self {
            Self::Model(model) => model.heads.len(),
            Self::Program(_) | Self::Peer(_) | Self::Endpoint(_) => 1,
        }
    }

    /// About how many bytes of memory a batch of requests takes.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        match self {
            Self::Model(model) => model.slot_bytes(),
            Self::Program(_) | Self::Peer(_) | Self::Endpoint(_) => 1 << 20,
        }
    }

    /// Whom it is, for a person.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Model(model) => &model.model,
            Self::Program(program) => &program.shown,
            Self::Peer(peer) => &peer.op,
            Self::Endpoint(endpoint) => endpoint.model.as_deref().unwrap_or("the server's model"),
        }
    }
}

/// A model and how it is run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelService {
    /// As the recipe names it.
    pub model: String,
    /// Where its files are.
    pub dir: PathBuf,
    /// Its class, as the worker knows it.
    pub class: String,
    /// In which precision it computes.
    pub dtype: Dtype,
    /// What it can be asked.
    pub heads: Vec<Head>,
    /// What the worker must know beside that: tables, pooling.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
}

impl ModelService {
    /// Bytes that one batch of every head takes with its outputs: a slot of the memory that is
    /// shared with the worker.
    #[must_use]
    pub fn slot_bytes(&self) -> usize {
        let heads = self.heads.iter();
        heads
            .map(|head| head.batch * (head.bytes() + head.floats() * 4))
            .sum()
    }
}

/// How a recipe has its models run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSettings {
    /// `model_dtype`.
    pub dtype: Dtype,
    /// `model_batch`: requests that are computed together.
    pub batch: usize,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            dtype: Dtype::Fp32,
            batch: 64,
        }
    }
}

impl ModelSettings {
    /// Whether it is what recipes have that say nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Precision of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// 32-bit floats, as Data-Juicer computes.
    #[default]
    Fp32,
    /// The same with products in TensorFloat-32.
    Tf32,
    /// 16-bit floats.
    Fp16,
}

impl Dtype {
    /// How recipes write them.
    pub const WORDS: &[&str] = &["fp32", "tf32", "fp16"];

    /// How recipes write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
        }
    }
}

/// A function of a model: tensors of fixed shapes in, one of a fixed shape, or a text, out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    /// Its name, as the worker knows it.
    pub name: &'static str,
    /// How many requests make a batch. A batch always has this shape: what is missing is zero, so
    /// that no answer depends on the other requests.
    pub batch: usize,
    /// Its inputs.
    pub inputs: Vec<Tensor>,
    /// The shape of its output of one request; `None` if it is a text.
    pub output: Option<Vec<usize>>,
}

impl Head {
    /// Bytes of the inputs of one request.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.inputs.iter().map(Tensor::bytes).sum()
    }

    /// Numbers in the output of one request.
    #[must_use]
    pub fn floats(&self) -> usize {
        self.output
            .as_ref()
            .map_or(0, |shape| shape.iter().product())
    }
}

/// An input of a head, of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tensor {
    /// Its name, as the worker knows it.
    pub name: &'static str,
    /// Its elements, little endian.
    pub dtype: Element,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Tensor {
    /// Its size.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bytes()
    }
}

/// Type of the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Element {
    /// Bytes.
    U8,
    /// 32-bit integers.
    I32,
    /// 64-bit integers.
    I64,
    /// 32-bit floats.
    F32,
}

impl Element {
    /// Bytes of one.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::I32 | Self::F32 => 4,
            Self::I64 => 8,
        }
    }
}

/// A program that answers lines of JSON with lines of JSON, one for one, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgramService {
    /// How it is shown.
    pub shown: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How many lines are sent before their answers are read.
    pub batch: usize,
    /// How many processes run at a time.
    pub processes: usize,
    /// Seconds without an answer after which it counts as dead.
    pub timeout_s: u64,
    /// Seconds that a process has until it reads; from then on its time runs.
    pub start_timeout_s: u64,
}

/// How an operator runs a program: parameters that those which do so share.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandParams<'a> {
    /// `command`: a text for `sh -c`, or a program and its arguments.
    pub command: &'a OneOrMany,
    /// `lines`: rows that are sent before their answers are awaited.
    pub lines: i64,
    /// `processes` that run at a time.
    pub processes: i64,
    /// `timeout`: seconds without an answer after which a process counts as dead.
    pub timeout: i64,
    /// `start_timeout`: seconds that a process has until it reads.
    pub start_timeout: i64,
}

impl CommandParams<'_> {
    /// The program as a service, with its files among the assets of the operator.
    ///
    /// # Errors
    /// If there is no command, or a number is not positive.
    pub fn service(&self, context: &BuildContext) -> Result<Service, Vec<ParamError>> {
        let mut problems = Problems::default();
        let command = match self.command {
            OneOrMany::One(text) if text.trim().is_empty() => None,
            OneOrMany::One(text) => Some(vec!["sh".to_owned(), "-c".to_owned(), text.clone()]),
            OneOrMany::Many(words) if words.is_empty() => None,
            OneOrMany::Many(words) => Some(words.clone()),
        };
        let command = problems.keep(command.ok_or_else(|| {
            ParamError::new("command", "command is empty").hint("name a program to run")
        }));
        let lines = problems.keep(positive("lines", self.lines));
        let processes = problems.keep(positive("processes", self.processes));
        let timeout = problems.keep(positive("timeout", self.timeout));
        let start = problems.keep(positive("start_timeout", self.start_timeout));
        let (Some(command), Some(batch), Some(processes), Some(timeout), Some(start)) =
            (command, lines, processes, timeout, start)
        else {
            return Err(problems.into());
        };
        context.note_command(&command);
        Ok(Service::Program(ProgramService {
            shown: match self.command {
                OneOrMany::One(text) => text.clone(),
                OneOrMany::Many(words) => words.join(" "),
            },
            command,
            batch,
            processes,
            timeout_s: timeout as u64,
            start_timeout_s: start as u64,
        }))
    }
}

impl Request {
    /// A row as one line of JSON, for a program.
    #[must_use]
    pub fn line(sample: &Sample) -> Self {
        let mut bytes = Vec::new();
        sample.write_json(&[], &mut bytes);
        // What is written as it was read may have line breaks between its members.
        for byte in &mut bytes {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        Self { head: 0, bytes }
    }
}
