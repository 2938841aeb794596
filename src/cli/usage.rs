//! What is wrong with a command line: in clap's words for people, as one problem for programs, with
//! djr's way where the line is one of Data-Juicer's.

use std::ffi::OsString;
use std::io::Write as _;

use clap::error::{ContextKind, ContextValue};
use clap::{Command, ValueEnum as _};

use super::ui::{Ui, Voice};
use super::{Exit, environment, run};
use crate::answer::ProblemRecord;
use crate::report::log::LogFormat;
use crate::report::printable;

/// Says what is wrong with a command line that cannot be read, as it asks for: as text, as lines of
/// a JSON log, and as the object of `--json`. Help that was asked for is printed.
pub fn refuse(failure: &clap::Error, known: &Command, words: &[OsString]) -> Exit {
    if !failure.use_stderr() {
        let _ = failure.print();
        return Exit::Success;
    }
    let name = command_of(known, words).unwrap_or_default();
    let voice = Voice {
        log_format: log_format(words, &name),
        ..Voice::default()
    };
    let ui = Ui::new(voice, is_json(words, &name));
    let problem = problem(failure, known, words);
    if voice.log_format == LogFormat::Json {
        ui.log
            .error(&problem.code, &problem.message, problem.hint.as_deref());
    } else {
        let _ = failure.print();
        if let Some(hint) = own_hint(failure, known, words) {
            let _ = writeln!(std::io::stderr().lock(), "hint: {}", printable(&hint));
        }
    }
    ui.unsaid(problem);
    ui.finish(&name, Exit::Usage)
}

/// What is wrong, in one line, and apart from it what to do.
pub fn problem(failure: &clap::Error, known: &Command, words: &[OsString]) -> ProblemRecord {
    let text = failure.to_string();
    let mut paragraphs = text.split("\n\n").map(one_line);
    let first = paragraphs.next().unwrap_or_default();
    let tip = paragraphs.find_map(|paragraph| {
        let said = paragraph.strip_prefix("tip: ").map(str::to_owned);
        said.or_else(|| paragraph.starts_with("Usage: ").then_some(paragraph))
    });
    let named = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand];
    let named = named.map(|kind| match failure.get(kind) {
        Some(ContextValue::String(name)) => Some(name.clone()),
        _ => None,
    });
    ProblemRecord {
        code: "usage".to_owned(),
        message: first.trim_start_matches("error: ").to_owned(),
        hint: own_hint(failure, known, words).or(tip),
        named: named.into_iter().flatten().next(),
        ..ProblemRecord::default()
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What clap does not know to say: which variable an option comes from, and djr's way.
fn own_hint(failure: &clap::Error, known: &Command, words: &[OsString]) -> Option<String> {
    let Some(command) = command_of(known, words) else {
        return djr_way(words);
    };
    let mut named = Vec::new();
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        match failure.get(kind) {
            Some(ContextValue::String(one)) => named.push(one.clone()),
            Some(ContextValue::Strings(several)) => named.extend(several.iter().cloned()),
            _ => {}
        }
    }
    let origins = named
        .iter()
        .filter_map(|option| environment::origin(known, &command, option, words));
    let said: Vec<String> = origins
        .map(|(name, value)| format!("the environment says {name}={value}"))
        .collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// The name of the command, wherever it stands.
fn command_of(known: &Command, words: &[OsString]) -> Option<String> {
    let mut words = words.iter().skip(1).filter_map(|word| word.to_str());
    words.find_map(|word| Some(known.find_subcommand(word)?.get_name().to_owned()))
}

/// A command line without a command, in djr's words.
fn djr_way(words: &[OsString]) -> Option<String> {
    let words: Vec<String> = words
        .iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .filter(|word| !matches!(word.as_str(), "-q" | "--quiet" | "-v" | "--verbose"))
        .collect();
    let (first, rest) = words.split_first()?;
    let command = match first.as_str() {
        "process" | "dj-process" | "process_data" => "run",
        "dj-analyze" | "analyse" => "analyze",
        _ => "",
    };
    let rest = if command.is_empty() {
        words.as_slice()
    } else {
        rest
    };
    let mut line = Vec::new();
    let mut recipe = None;
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix("--config") {
            Some("") => recipe = words.next().cloned(),
            Some(value) if value.starts_with('=') => recipe = value.get(1..).map(str::to_owned),
            _ => line.push(word.clone()),
        }
    }
    let is_recipe = |word: &String| run::is_recipe(word.as_ref());
    if recipe.is_none() {
        let at = line.iter().position(is_recipe);
        recipe = at.map(|at| line.remove(at));
    }
    let rows = line.first().filter(|word| run::holds_rows(word.as_ref()));
    match (command, recipe, rows) {
        ("", None, Some(rows)) => Some(format!(
            "djr run RECIPE --input {rows}; djr analyze {rows} -o DIR measures rows without a recipe"
        )),
        ("", None, None) => None,
        (command, recipe, _) => {
            let command = if command.is_empty() { "run" } else { command };
            let recipe = recipe.unwrap_or_else(|| "RECIPE".to_owned());
            let words = ["djr", command, &recipe].into_iter();
            let line: Vec<&str> = words.chain(line.iter().map(String::as_str)).collect();
            Some(line.join(" "))
        }
    }
}

/// Whether the answer is asked for as one JSON object.
fn is_json(words: &[OsString], command: &str) -> bool {
    let said = environment::value(command, "json");
    let said = said.is_some_and(|said| {
        matches!(
            said.to_lowercase().as_str(),
            "1" | "true" | "yes" | "on" | "y" | "t"
        )
    });
    said || words.iter().any(|word| word == "--json")
}

/// How messages are to be written.
fn log_format(words: &[OsString], command: &str) -> LogFormat {
    const OPTION: &str = "log-format";
    let mut said = environment::value(command, OPTION);
    let mut words = words.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        let Some(value) = word
            .strip_prefix("--")
            .and_then(|word| word.strip_prefix(OPTION))
        else {
            continue;
        };
        said = match value.strip_prefix('=') {
            Some(value) => Some(value.to_owned()),
            None => words.next().map(std::borrow::Cow::into_owned),
        };
    }
    said.and_then(|word| LogFormat::from_str(&word, true).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_a_command_are_said_in_other_words() {
        let way = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            djr_way(&words)
        };
        for (line, own) in [
            ("djr --config r.yaml --np 4", "djr run r.yaml --np 4"),
            ("djr --config=r.yaml", "djr run r.yaml"),
            ("djr process --config r.yaml", "djr run r.yaml"),
            ("djr -q dj-analyze --config r.yaml", "djr analyze r.yaml"),
            ("djr r.yaml -o x.jsonl", "djr run r.yaml -o x.jsonl"),
            ("djr process", "djr run RECIPE"),
            (
                "djr d.jsonl.gz",
                "djr run RECIPE --input d.jsonl.gz; djr analyze d.jsonl.gz -o DIR measures rows without a recipe",
            ),
        ] {
            assert_eq!(way(line).as_deref(), Some(own));
        }
        assert_eq!(way("djr nonsense"), None);
    }
}
