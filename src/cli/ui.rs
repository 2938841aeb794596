//! How a command speaks: messages to standard error, its answer to standard output, as text or as
//! one JSON object; or all of it to the program that called it.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Serialize;
use serde_json::Value;

use super::Exit;
use crate::answer::{Answer, ProblemRecord};
use crate::io::destination::check_stdout;
use crate::note::{Code, Note};
use crate::recipe::{Problems, RecipeSource};
use crate::record::RecordError;
use crate::report::log::{Log, LogFormat};
use crate::report::printable;
use crate::report::progress::{Listener, Progress};
use crate::view::ViewError;

/// How every command speaks.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Voice {
    /// Print errors only.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more: every note by itself.
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// How messages on standard error are written: sentences, or a JSON object a line.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true,
        global = true
    )]
    pub log_format: LogFormat,
}

/// Asks for the answer of a command as JSON.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct AsJson {
    /// Print one JSON object on standard output: docs/SCHEMAS.md.
    #[arg(long)]
    pub json: bool,
}

/// What a command has said so far, and how it says it.
#[derive(Debug, Default)]
pub struct Ui {
    /// Where messages go.
    pub log: Log,
    /// The answer is one JSON object.
    pub json: bool,
    /// The options that were typed, not read from the environment.
    typed: Vec<String>,
    /// The command line.
    pub words: Vec<OsString>,
    /// The program that called the command, if one did.
    pub caller: Option<Caller>,
    problems: RefCell<Vec<ProblemRecord>>,
    notes: RefCell<Vec<Note>>,
    result: RefCell<Option<Value>>,
    /// The answer could not be written as JSON.
    unanswered: Cell<bool>,
}

/// What a program hands to a command that it calls, and what it hears of it.
#[derive(Default)]
pub struct Caller {
    /// What stands for the recipe `-`, and the directory that it stands in.
    pub recipe: Option<(RecipeSource, Option<PathBuf>)>,
    /// Set when the command is to end.
    pub interrupted: Arc<AtomicBool>,
    /// Who shows progress, in lines shorter than so many characters.
    pub progress: RefCell<Option<(usize, Listener)>>,
    /// The sentences that were said.
    pub said: RefCell<Vec<String>>,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}

impl Ui {
    /// Speaks as `voice` says; with `json`, the answer is one object.
    pub fn new(voice: Voice, json: bool) -> Self {
        Self {
            log: Log {
                format: voice.log_format,
                silent: false,
                quiet: voice.quiet,
                verbose: voice.verbose,
            },
            json,
            ..Self::default()
        }
    }

    /// The same, knowing the command line, and what was typed behind the name of the command.
    pub fn knowing(self, line: Vec<OsString>, matches: &ArgMatches) -> Self {
        let Some((_, words)) = matches.subcommand() else {
            return Self {
                words: line,
                ..self
            };
        };
        let typed =
            |id: &&clap::Id| words.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        let named = |id: &clap::Id| format!("--{}", id.as_str().replace('_', "-"));
        Self {
            typed: words.ids().filter(typed).map(named).collect(),
            words: line,
            ..self
        }
    }

    /// Whether an option was typed. One that stands in the environment is a wish for every command:
    /// where it has no effect, that is no mistake.
    pub fn typed(&self, option: &str) -> bool {
        self.typed.iter().any(|typed| typed == option)
    }

    /// Speaks to a program: prints nothing.
    pub fn called(caller: Caller) -> Self {
        Self {
            log: Log {
                silent: true,
                ..Log::default()
            },
            json: true,
            caller: Some(caller),
            ..Self::default()
        }
    }

    /// Shows the progress of a pass over so many bytes of rows.
    pub fn progress(&self, total_bytes: Option<u64>) -> Progress {
        let caller = self.caller.as_ref();
        match caller.and_then(|caller| caller.progress.take()) {
            Some((width, listener)) => Progress::told(total_bytes, width, listener),
            None => Progress::new(total_bytes, self.log),
        }
    }

    /// Says a sentence.
    pub fn info(&self, message: &str) {
        if let Some(caller) = &self.caller {
            caller.said.borrow_mut().push(message.to_owned());
        }
        self.log.info(message);
    }

    /// Says what is wrong.
    pub fn error(&self, code: &str, message: &str, hint: Option<&str>) {
        self.log.error(code, message, hint);
        self.problems.borrow_mut().push(ProblemRecord {
            code: code.to_owned(),
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
            ..ProblemRecord::default()
        });
    }

    /// Says what is wrong with a file, which the message names.
    pub fn error_in(&self, file: impl Display, code: &str, message: &str, hint: Option<&str>) {
        self.problem(ProblemRecord {
            file: Some(file.to_string()),
            code: code.to_owned(),
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
            ..ProblemRecord::default()
        });
    }

    /// Says what is wrong, with its place if it has one.
    pub fn problem(&self, problem: ProblemRecord) {
        self.log
            .error(&problem.code, &problem.message, problem.hint.as_deref());
        self.unsaid(problem);
    }

    /// Keeps for the answer what is wrong, which was said already.
    pub fn unsaid(&self, problem: ProblemRecord) {
        self.problems.borrow_mut().push(problem);
    }

    /// Says that the command is used in a wrong way.
    pub fn usage(&self, message: &str, hint: Option<&str>) -> Exit {
        self.error("usage", message, hint);
        Exit::Usage
    }

    /// Says that a file, which the message names, is not one that the command can use.
    pub fn usage_in(&self, file: impl Display, message: &str, hint: Option<&str>) -> Exit {
        self.error_in(file, "usage", message, hint);
        Exit::Usage
    }

    /// Says all that is wrong with a recipe.
    pub fn problems(&self, problems: &Problems) -> Exit {
        if self.log.format == LogFormat::Text && !self.log.silent {
            let text = problems.to_string();
            let _ = writeln!(std::io::stderr().lock(), "{}", printable(text.trim_end()));
        }
        for problem in problems {
            let record = ProblemRecord::from(problem);
            if self.log.format == LogFormat::Json {
                let at = match (record.line, record.column) {
                    (Some(line), Some(column)) => format!("{}:{line}:{column}", problem.file),
                    _ => problem.file.clone(),
                };
                let message = format!("{at}: {}", problem.message);
                self.log
                    .error(&record.code, &message, problem.hint.as_deref());
            }
            self.problems.borrow_mut().push(record);
        }
        Exit::Usage
    }

    /// Says why no record can be read.
    pub fn record(&self, failure: &RecordError) {
        let message = failure.to_string();
        self.error_in(failure.path(), failure.code(), &message, failure.hint());
    }

    /// Says why something cannot be looked at.
    pub fn view(&self, failure: &ViewError) {
        let code = match failure {
            ViewError::Record(record) => record.code(),
            ViewError::Write { .. } => "cannot_write",
            _ => "cannot_read",
        };
        self.problem(ProblemRecord {
            file: failure.path().map(str::to_owned),
            code: code.to_owned(),
            message: failure.to_string(),
            hint: failure.hint().map(str::to_owned),
            ..ProblemRecord::default()
        });
    }

    /// Says notes, one a line. Of keys that have no meaning here, only how many there are, unless
    /// more was asked for.
    pub fn notes(&self, notes: &[Note]) {
        self.some_notes(notes, self.log.verbose);
    }

    /// Says notes, each by itself.
    pub fn all_notes(&self, notes: &[Note]) {
        self.some_notes(notes, true);
    }

    fn some_notes(&self, notes: &[Note], all: bool) {
        let ignored = notes.iter().filter(|note| note.code == Code::KeyIgnored);
        let ignored = ignored.count();
        let folded = ignored > 1 && !all;
        if folded {
            let text = format!("{ignored} keys have no meaning here: djr check, or -v, lists them");
            self.log.note(&Note::new(Code::KeyIgnored, text));
        }
        for note in notes {
            if !(folded && note.code == Code::KeyIgnored) {
                self.log.note(note);
            }
            let mut kept = self.notes.borrow_mut();
            if !kept.contains(note) {
                kept.push(note.clone());
            }
        }
    }

    /// The answer of the command, where it is asked for as JSON.
    pub fn result(&self, result: &impl Serialize) {
        if !self.json {
            return;
        }
        match serde_json::to_value(result) {
            Ok(value) => *self.result.borrow_mut() = Some(value),
            Err(error) => {
                self.error("internal", &format!("the answer is no JSON: {error}"), None);
                self.unanswered.set(true);
            }
        }
    }

    /// Writes an answer to standard output, with nothing in it that commands a terminal; whoever
    /// reads it may stop early. Where the answer is asked for as JSON, that is all there is.
    pub fn data(&self, text: &str) -> Exit {
        if self.json {
            return Exit::Success;
        }
        self.write(text)
    }

    fn write(&self, text: &str) -> Exit {
        let mut out = std::io::stdout().lock();
        match check_stdout()
            .and_then(|()| out.write_all(printable(text).as_bytes()))
            .and_then(|()| out.flush())
        {
            Ok(()) => Exit::Success,
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Exit::Success,
            Err(e) => {
                self.error("cannot_write", &format!("standard output: {e}"), None);
                Exit::Failed
            }
        }
    }

    /// Ends the command: prints the object that was asked for.
    pub fn finish(&self, command: &str, exit: Exit) -> Exit {
        if !self.json {
            return exit;
        }
        let exit = match exit {
            Exit::Success if self.unanswered.get() => Exit::Failed,
            exit => exit,
        };
        let answer = self.answer(command, exit);
        match self.write(&format!("{}\n", serde_json::json!(answer))) {
            Exit::Success => exit,
            failed => failed,
        }
    }

    /// What the command has to answer.
    pub fn answer(&self, command: &str, exit: Exit) -> Answer<Value> {
        Answer {
            exit: exit as u8,
            problems: self.problems.take(),
            notes: self.notes.take(),
            result: self.result.take(),
            ..Answer::new(command)
        }
    }
}
