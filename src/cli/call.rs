//! Commands that a program calls: as on the command line, but for what is said, which goes to the
//! program. Nothing is printed and no signal is caught.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use super::ui::{Caller, Ui};
use super::{Exit, args, carry_out, command, matched, quiet_worker_panics, usage};
use crate::answer::Answer;
use crate::recipe::RecipeSource;
use crate::report::progress::Listener;

/// A command and what goes with it.
#[derive(Default)]
pub struct Call {
    /// The words behind `djr`, such as `run`, `-`, `--output`, `clean.jsonl`.
    pub words: Vec<OsString>,
    /// What a recipe that is called `-` is, and the directory that it stands in if that is not the
    /// working directory.
    pub recipe: Option<(RecipeSource, Option<PathBuf>)>,
    /// To be set when the command is to end: a run makes a checkpoint and ends with 130.
    pub interrupted: Arc<AtomicBool>,
    /// Gets a line about progress, shorter than so many characters, now and then.
    pub progress: Option<(usize, Listener)>,
}

/// What came of a command.
#[derive(Debug)]
pub struct Called {
    /// What it answers, as with `--json`, and its exit code.
    pub answer: Answer<Value>,
    /// What it would have said to a person, errors and notes left out.
    pub said: Vec<String>,
}

/// Runs a command of this process.
///
/// ```
/// use djr::cli::{Call, call};
/// use djr::recipe::RecipeSource;
///
/// let text = "process: [text_length_filtre: {}]".to_owned();
/// let called = call(Call {
///     words: ["check", "-", "--input", "Cargo.toml"].map(Into::into).to_vec(),
///     recipe: Some((RecipeSource::Text { name: "recipe".into(), text }, None)),
///     ..Call::default()
/// });
/// assert_eq!(called.answer.exit, 2);
/// assert_eq!(called.answer.problems[0].code, "operator_unknown");
/// assert_eq!(called.answer.problems[0].column, Some(11));
/// ```
#[must_use]
pub fn call(call: Call) -> Called {
    quiet_worker_panics();
    let words: Vec<OsString> = std::iter::once("djr".into()).chain(call.words).collect();
    let mut ui = Ui::called(Caller {
        recipe: call.recipe,
        interrupted: call.interrupted,
        progress: RefCell::new(call.progress),
        said: RefCell::default(),
    });
    let mut known = command();
    let (name, exit) = match matched(&mut known, &words) {
        Ok((cli, matches)) => {
            ui = ui.knowing(words, &matches);
            let name = matches.subcommand_name().unwrap_or_default().to_owned();
            let exit = match args::refuse_unused(&name, &ui) {
                Ok(()) => carry_out(&cli.command, &ui),
                Err(exit) => exit,
            };
            (name, exit)
        }
        Err(failure) => {
            ui.unsaid(usage::problem(&failure, &known, &words));
            let name = words.get(1).map(|word| word.to_string_lossy().into_owned());
            (name.unwrap_or_default(), Exit::Usage)
        }
    };
    Called {
        answer: ui.answer(&name, exit),
        said: ui
            .caller
            .map(|caller| caller.said.take())
            .unwrap_or_default(),
    }
}
