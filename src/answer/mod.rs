//! What commands answer with `--json`, in types: one object on standard output, with a
//! version of its own. Nothing in it has to be parsed out of a sentence. Only the command line makes
//! these values; whoever reads them has their JSON Schemas (`djr schema`).

mod cache;
mod check;
mod look;
mod run;
mod runs;
mod tasks;
mod verify;

pub use cache::{CacheAnswer, CacheKernel, CacheProblem};
pub use check::{CheckAnswer, FindingCount, FindingRecord, RecipeChecked, TrainingChecked};
pub use look::{
    AnalyzeAnswer, BoundValue, DiffAnswer, DiffCount, DiffField, DiffReason, OpAnswer, OpsAnswer,
    PlaceRecord, ReportAnswer, SetAsideRecord, StatShort, WhyAnswer, WhyRow,
};
pub use run::{CostEstimate, DryRun, Estimate, FileThere, ProbeRecord, RunAnswer, RunState};
pub use runs::{CleanAnswer, IndexAnswer, LsAnswer, RunListed, RunSkipped};
pub use tasks::TasksAnswer;
pub use verify::{Difference, LookedAt, VerifyAnswer, VerifyKind};

use schemars::JsonSchema;
use serde::Serialize;

use crate::note::Note;
use crate::recipe::Problem;
use crate::record::version::Version;

/// The version of answers. It is not that of records: who reads answers and who reads what runs left
/// are told of changes apart.
pub const FORMAT: Version = Version { major: 3, minor: 1 };

/// The answer of a command.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Answer<R> {
    /// The version of this object.
    pub format: Version,
    /// The program that wrote it.
    pub djr: String,
    /// The command.
    pub command: String,
    /// The exit code: 0 done, 1 finished with losses or differences, 2 wrong usage, recipe or
    /// input, 3 failed, 130 and 143 stopped by a signal; of `djr next` 10 none yet, 11 all done.
    pub exit: u8,
    /// What is wrong, if something is.
    pub problems: Vec<ProblemRecord>,
    /// What should be known all the same.
    pub notes: Vec<Note>,
    /// What the command found or did; null where it came to nothing.
    pub result: Option<R>,
}

impl<R> Answer<R> {
    /// An answer with nothing in it.
    #[must_use]
    pub fn new(command: &str) -> Self {
        Self {
            format: FORMAT,
            djr: env!("CARGO_PKG_VERSION").to_owned(),
            command: command.to_owned(),
            exit: 0,
            problems: Vec::new(),
            notes: Vec::new(),
            result: None,
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProblemRecord {
    /// The file, or the option, it is in.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The column, from 1, in characters.
    pub column: Option<usize>,
    /// The stable word for it.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The path, key, operator or parameter that it is about, as it was written, where it is about
    /// one.
    pub named: Option<String>,
}

impl From<&Problem> for ProblemRecord {
    fn from(problem: &Problem) -> Self {
        let placed = |number: usize| (problem.line > 0).then_some(number);
        Self {
            file: Some(problem.file.clone()),
            line: placed(problem.line),
            column: placed(problem.column),
            code: problem.code.to_owned(),
            message: problem.message.clone(),
            hint: problem.hint.clone(),
            named: problem.named.clone(),
        }
    }
}
