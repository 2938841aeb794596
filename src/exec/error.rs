//! Why a run ended without its outputs.

use std::borrow::Cow;
use std::io;

use super::driver::Panicked;
use crate::io::atomic::Damaged;
use crate::io::format::FormatError;
use crate::io::{LockError, SourceError};
use crate::recipe::{OutputSpec, QuarantineLimit, Target};
use crate::record::ClaimError;
use crate::sample::RowError;
use crate::service::ServiceError;

/// A run that did not finish. Nothing stands under a final name.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An input cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file that an output is made of cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A file cannot be written.
    #[error("{path}: {error}")]
    Write {
        /// The file or directory.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// A complete file cannot get its name.
    #[error("{path}: {error}; {}", standing_words(.standing))]
    Publish {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
        /// Files that have theirs.
        standing: Vec<String>,
    },
    /// An operator cannot decide among all rows.
    #[error("{operator}: {message}")]
    Exchange {
        /// The operator.
        operator: String,
        /// Why.
        message: String,
    },
    /// A bad row with `on_error: fail`.
    #[error("{file}:{line}: {error} (on_error: fail)")]
    Row {
        /// The input.
        file: String,
        /// The line in it, from 1.
        line: u64,
        /// What is wrong.
        error: RowError,
    },
    /// Stored stats that do not fit the rows or do not suffice.
    #[error("{0}")]
    Stored(String),
    /// A signal asked to stop.
    #[error("interrupted; no output was written")]
    Interrupted,
    /// An unfinished run of the same outputs is in the way.
    #[error(
        "an unfinished run of these outputs, started {since}, stands at {rows} rows in {directory}"
    )]
    Unfinished {
        /// Its working files.
        directory: String,
        /// Rows it has read.
        rows: u64,
        /// When it was started, in UTC.
        since: String,
    },
    /// What an unfinished run was made of is not what it is to go on with.
    #[error("the unfinished run cannot go on, something has changed: {}", .0.join("; "))]
    Changed(Vec<String>),
    /// A run over standard input or output keeps no progress.
    #[error(
        "a run that reads standard input or a pipe, or writes standard output or a pipe, keeps no progress to resume"
    )]
    CannotResume,
    /// The checkpoint cannot be read.
    #[error("{0}: the checkpoint cannot be read: {1}")]
    Checkpoint(String, io::Error),
    /// A working file or an unfinished output is not as the last checkpoint left it.
    #[error("the unfinished run cannot go on, a file of it is damaged: {0}")]
    Damaged(String),
    /// A thread panicked: a defect of djr.
    #[error("djr failed, please report this: {0}")]
    Panicked(#[from] Panicked),
    /// The run's directory is not this run's to write into.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Another process writes an output.
    #[error("{path}: {error}")]
    Locked {
        /// The output.
        path: String,
        /// Who holds it.
        error: LockError,
    },
    /// An input changed while it was read.
    #[error("{name}: the input changed while it was read: {change}")]
    InputChanged {
        /// The input.
        name: String,
        /// What is different.
        change: String,
    },
    /// More rows could not be processed than `max_quarantine` allows.
    #[error("{failing} of {rows} rows could not be processed{}, {count} times for the reason {reason}: more than max_quarantine ({limit}) allows", streak_words(*.streak))]
    TooManyBad {
        /// Rows that could not be processed.
        failing: u64,
        /// Rows read.
        rows: u64,
        /// What is allowed.
        limit: QuarantineLimit,
        /// How many of them came last, one after the other.
        streak: u64,
        /// The most frequent reason.
        reason: Cow<'static, str>,
        /// How often it came up.
        count: u64,
        /// Input and line of the last such row, if this process has seen one.
        last: Option<Box<(String, u64)>>,
    },
    /// Rows reached the outputs, and every output refused all of them.
    #[error(
        "no output was written: every one of the {rows} rows that reached the outputs was refused ({reasons}){}", first_words(.first.as_deref())
    )]
    AllRefused {
        /// Rows that reached the outputs.
        rows: u64,
        /// Why, the commonest reasons with their counts.
        reasons: String,
        /// What was said of the first.
        first: Option<String>,
    },
    /// Not one row could be read.
    #[error(
        "no output was written: none of the {rows} rows could be read ({reasons}){}", first_words(.first.as_deref())
    )]
    AllUnreadable {
        /// Rows of the inputs.
        rows: u64,
        /// Why, the commonest reasons with their counts.
        reasons: String,
        /// What was said of the first.
        first: Option<String>,
    },
    /// Every row lacks a field that a step needs.
    #[error("no row could be processed: {0}")]
    FieldOfNoRow(String),
    /// A model or program that steps ask does not answer.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// Whoever read the standard output, or the pipe, went away.
    #[error("the reader of the output went away before its end")]
    BrokenPipe,
    /// Rows do not add up: a defect of djr.
    #[error("rows do not add up, please report this: {0}")]
    Conservation(String),
}

impl RunError {
    /// `failing` of `rows` rows, the last `streak` in a row, are more than `limit` allows.
    pub(super) fn too_many<R: Into<Cow<'static, str>>>(
        (failing, rows, streak): (u64, u64, u64),
        limit: QuarantineLimit,
        reasons: impl Iterator<Item = (R, u64)>,
    ) -> Self {
        let most = reasons.max_by_key(|(_, count)| *count);
        let (reason, count) = most.map_or((Cow::Borrowed(""), 0), |(code, n)| (code.into(), n));
        Self::TooManyBad {
            failing,
            rows,
            limit,
            streak,
            reason,
            count,
            last: None,
        }
    }

    /// A file that an output is made of cannot be read.
    pub(super) fn of_asset(error: io::Error) -> Self {
        Self::Source(SourceError::Io {
            name: "a file of an output".to_owned(),
            error,
        })
    }

    /// Input and line of the row that it is about, if it is about one.
    #[must_use]
    pub fn place(&self) -> Option<(&str, u64)> {
        match self {
            Self::Row { file, line, .. } => Some((file, *line)),
            Self::TooManyBad { last, .. } => last.as_ref().map(|place| (place.0.as_str(), place.1)),
            _ => None,
        }
    }

    /// The file or directory that it is about, if it is about one.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Source(error) => Some(error.name()),
            Self::Write { path, .. }
            | Self::Publish { path, .. }
            | Self::Checkpoint(path, _)
            | Self::Locked { path, .. }
            | Self::Unfinished {
                directory: path, ..
            }
            | Self::InputChanged { name: path, .. } => Some(path),
            Self::Claim(taken) => Some(taken.path()),
            _ => self.place().map(|(file, _)| file),
        }
    }

    /// The stable word for it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Source(_) => "cannot_read",
            Self::Format(_) => "output_invalid",
            Self::Write { .. } | Self::Publish { .. } => "cannot_write",
            Self::Exchange { .. } => "cannot_decide",
            Self::Row { .. } => "row_failed",
            Self::Stored(_) => "stats_insufficient",
            Self::Interrupted => "interrupted",
            Self::Unfinished { .. } => "unfinished",
            Self::Changed(_) => "changed",
            Self::CannotResume => "cannot_resume",
            Self::Checkpoint(..) | Self::Damaged(_) => "checkpoint_damaged",
            Self::Panicked(_) | Self::Conservation(_) => "internal",
            Self::Claim(_) => "taken",
            Self::Locked { .. } => "locked",
            Self::InputChanged { .. } => "input_changed",
            Self::TooManyBad { .. } => "too_many_bad",
            Self::AllRefused { .. } => "all_refused",
            Self::AllUnreadable { .. } => "all_unreadable",
            Self::FieldOfNoRow(_) => "field_of_no_row",
            Self::Service(_) => "service_failed",
            Self::BrokenPipe => "broken_pipe",
        }
    }

    /// Whether the run can go on from its last checkpoint once the cause is gone.
    #[must_use]
    pub fn can_be_mended(&self) -> bool {
        matches!(
            self,
            Self::Source(_)
                | Self::Write { .. }
                | Self::Publish { .. }
                | Self::Interrupted
                | Self::TooManyBad { .. }
                | Self::Unfinished { .. }
                | Self::Changed(_)
                | Self::Checkpoint(..)
                | Self::Damaged(_)
                | Self::Panicked(_)
                | Self::Locked { .. }
        ) || matches!(self, Self::Service(error) if !error.spoiled)
    }
}

fn standing_words(standing: &[String]) -> String {
    if standing.is_empty() {
        "no file of this run stands under its name".to_owned()
    } else {
        format!(
            "under their names stand, from this run: {}",
            standing.join(", ")
        )
    }
}

fn first_words(first: Option<&str>) -> String {
    first.map_or_else(String::new, |first| format!("; the first one: {first}"))
}

fn streak_words(streak: u64) -> String {
    if streak < 100 {
        String::new()
    } else {
        format!(", the last {streak} in a row")
    }
}

/// The name of an output for people.
pub(super) fn target_name(spec: &OutputSpec) -> String {
    spec.target.to_string()
}

/// A file or directory that cannot be written.
pub fn write_error(path: impl std::fmt::Display, error: io::Error) -> RunError {
    if let Some(damaged) = Damaged::of(&error) {
        return RunError::Damaged(damaged.to_string());
    }
    RunError::Write {
        path: path.to_string(),
        error,
    }
}

pub(super) fn output_error(spec: Option<&OutputSpec>, error: io::Error) -> RunError {
    let to_pipe = spec.is_some_and(|s| matches!(s.target, Target::Stdout | Target::Stream(_)));
    if to_pipe && error.kind() == io::ErrorKind::BrokenPipe {
        return RunError::BrokenPipe;
    }
    write_error(spec.map(target_name).unwrap_or_default(), error)
}
