//! How the program speaks on standard error: sentences for people, or a JSON object a line for
//! schedulers.

use std::io::Write as _;
use std::time::SystemTime;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Serialize;

use super::printable;
use crate::note::Note;
use crate::record::counts::resident_memory;

/// How messages are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Sentences, and a progress line on a terminal.
    #[default]
    Text,
    /// A JSON object a line; `djr schema log` describes it.
    Json,
}

/// How grave a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What happens.
    Info,
    /// What may surprise: a note.
    Warn,
    /// Why the command failed.
    Error,
}

/// What a line of the log is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A sentence.
    Message,
    /// A note, with its code.
    Note,
    /// How far a run is.
    Progress,
    /// A run has ended; its numbers.
    Finished,
    /// What is wrong.
    Error,
}

/// A line of the log.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LogLine {
    /// When, in UTC.
    pub time: String,
    /// How grave.
    pub level: Level,
    /// About what.
    pub event: Event,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The code of a note or an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What to do about an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What a run is doing, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Rows read so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Rows dropped so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// Rows set aside so far, as the manifest and `--json` call them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<u64>,
    /// Rows written, once the run has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_out: Option<u64>,
    /// How long a run took that has ended, earlier processes included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The exit code of a run that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
    /// Rows a second; of a later phase, of the rows that it reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<f64>,
    /// The part of the phase that is done, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// How long the phase will take still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// Resident memory.
    pub resident_bytes: u64,
}

impl LogLine {
    /// A line of now.
    #[must_use]
    pub fn new(level: Level, event: Event) -> Self {
        Self {
            time: now(),
            level,
            event,
            message: None,
            code: None,
            hint: None,
            phase: None,
            rows: None,
            dropped: None,
            quarantined: None,
            rows_out: None,
            seconds: None,
            exit: None,
            rows_per_second: None,
            share: None,
            seconds_left: None,
            resident_bytes: resident_memory(),
        }
    }
}

/// The present in UTC, to the millisecond.
fn now() -> String {
    jiff::Timestamp::try_from(SystemTime::now())
        .map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// Says things on standard error.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log {
    /// How.
    pub format: LogFormat,
    /// Nothing at all: somebody else says it.
    pub silent: bool,
    /// Nothing but errors.
    pub quiet: bool,
    /// More than most want to know.
    pub verbose: bool,
}

impl Log {
    /// Says a sentence, unless it is to be quiet.
    pub fn info(&self, message: &str) {
        if self.quiet || self.silent {
            return;
        }
        match self.format {
            LogFormat::Text => plain(message),
            LogFormat::Json => self.line(&LogLine {
                message: Some(message.to_owned()),
                ..LogLine::new(Level::Info, Event::Message)
            }),
        }
    }

    /// Says a note, unless it is to be quiet.
    pub fn note(&self, note: &Note) {
        if self.quiet || self.silent {
            return;
        }
        match self.format {
            LogFormat::Text => plain(&format!("note: {note}")),
            LogFormat::Json => self.line(&LogLine {
                message: Some(note.message.clone()),
                code: Some(note.code.word().to_owned()),
                rows: note.rows,
                ..LogLine::new(Level::Warn, Event::Note)
            }),
        }
    }

    /// Says what is wrong and, if there is something, what to do about it.
    pub fn error(&self, code: &str, message: &str, hint: Option<&str>) {
        if self.silent {
            return;
        }
        match self.format {
            LogFormat::Text => {
                plain(&format!("error: {message}"));
                if let Some(hint) = hint {
                    plain(&format!("hint: {hint}"));
                }
            }
            LogFormat::Json => self.line(&LogLine {
                message: Some(message.to_owned()),
                code: Some(code.to_owned()),
                hint: hint.map(str::to_owned),
                ..LogLine::new(Level::Error, Event::Error)
            }),
        }
    }

    /// Writes a line of a JSON log.
    pub fn line(&self, line: &LogLine) {
        if !self.silent
            && let Ok(json) = serde_json::to_string(line)
        {
            plain(&json);
        }
    }
}

/// One line for people. A closed standard error is no reason to stop.
fn plain(message: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", printable(message));
}
