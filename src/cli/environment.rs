//! Every option by a variable of the environment: `DJR_THREADS=4` is `--threads 4`, and so is
//! `DJR_NP=4`, by the option's other name.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Command};

use crate::note::{Code, Note};
use crate::recipe::nearest;

/// Options that count beside another option only. Their general variable would be an error wherever
/// that other option is missing, so they have the one that names the command.
const DEPENDENT: [(&str, &str); 23] = [
    ("index", "step"),
    ("index", "set"),
    ("index", "threads"),
    ("index", "python"),
    ("subset", "by"),
    ("subset", "bins"),
    ("subset", "shares"),
    ("subset", "repeat"),
    ("run", "probe"),
    ("analyze", "bounds"),
    ("analyze", "set"),
    ("check", "template"),
    ("check", "max-tokens"),
    ("check", "tokenizer"),
    ("check", "image-root"),
    ("check", "validate"),
    ("check", "fix"),
    ("check", "all"),
    ("convert", "template"),
    ("convert", "max-tokens"),
    ("convert", "tokenizer"),
    ("recut", "target"),
    ("recut", "by"),
];

/// The same command, whose options are read from the environment where they are not given.
pub fn with_variables(command: Command) -> Command {
    let command = command.mut_args(|arg| of_variable(arg, ""));
    command.mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        command.mut_args(|arg| of_variable(arg, &name))
    })
}

fn of_variable(arg: Arg, command: &str) -> Arg {
    // An empty variable says nothing.
    let is_set = |name: &String| env::var_os(name).is_some_and(|value| !value.is_empty());
    let Some(name) = variables(&arg, command).into_iter().find(is_set) else {
        return arg;
    };
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let arg = arg.env(kept(name)).hide_env(true);
    if is_switch {
        arg.value_parser(BoolishValueParser::new())
    } else {
        arg
    }
}

/// The variables of an option, the one that counts most first: those that name the command, then
/// those for all commands; each for its name, then for its other names.
fn variables(arg: &Arg, command: &str) -> Vec<String> {
    let Some(option) = arg.get_long().filter(|_| !arg.is_hide_set()) else {
        return Vec::new();
    };
    let variable = |words: String| format!("DJR_{}", words.replace('-', "_").to_uppercase());
    let names = || std::iter::once(option).chain(arg.get_all_aliases().unwrap_or_default());
    let own = names().map(|name| format!("{command}-{name}"));
    let own = own.filter(|_| !command.is_empty()).map(variable);
    let general = names().map(|name| variable(name.to_owned()));
    let general = general.filter(|_| !DEPENDENT.contains(&(command, option)));
    own.chain(general).collect()
}

/// Variables that tests and scripts of this project use, and no option has.
const OTHERS: [&str; 5] = [
    "DJR_BINARY",
    "DJR_BLESS",
    "DJR_PYTHONS",
    "DJR_RAY_PYTHON",
    "DJR_SHARED",
];

/// Notes about variables that are called like options and are none, each with the one that was
/// probably meant.
pub fn unknown(known: &Command) -> Vec<Note> {
    let mut names: Vec<String> = OTHERS.map(str::to_owned).into();
    for command in std::iter::once(known).chain(known.get_subcommands()) {
        let is_top = std::ptr::eq(command, known);
        let name = if is_top { "" } else { command.get_name() };
        names.extend(command.get_arguments().flat_map(|arg| variables(arg, name)));
    }
    let set = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = set.filter(|(name, value)| name.starts_with("DJR_") && !value.is_empty());
    let unknown: BTreeSet<String> = ours
        .map(|(name, _)| name)
        .filter(|name| !names.contains(name))
        .collect();
    let note = |name: String| {
        let meant = nearest(&name, names.iter().map(String::as_str));
        let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
        let text = format!("the variable {name} stands for no option{meant}");
        Note::new(Code::VariableUnknown, text)
    };
    unknown.into_iter().map(note).collect()
}

/// The variable that an option of `command` was read from, if `words` do not have the option.
/// `option` is as clap shows it, such as `--threads <N>`.
pub fn origin(
    known: &Command,
    command: &str,
    option: &str,
    words: &[OsString],
) -> Option<(String, String)> {
    let shown = option.split([' ', '=', '<', '[']).next()?;
    let long = shown.strip_prefix("--")?;
    let command = known.find_subcommand(command).unwrap_or(known);
    let mut args = command.get_arguments().chain(known.get_arguments());
    let arg = args.find(|arg| arg.get_long() == Some(long))?;
    let name = arg.get_env()?.to_str()?.to_owned();
    let names = std::iter::once(long).chain(arg.get_all_aliases().unwrap_or_default());
    let typed: Vec<String> = names.map(|name| format!("--{name}")).collect();
    let short = arg.get_short().map(|letter| format!("-{letter}"));
    let is_typed = words.iter().any(|word| {
        let word = word.to_string_lossy();
        let long = word.split('=').next().unwrap_or_default();
        typed.iter().any(|typed| typed == long)
            || short.as_ref().is_some_and(|short| word.starts_with(short))
    });
    let value = env::var_os(&name)?.to_string_lossy().into_owned();
    (!is_typed).then_some((name, value))
}

/// The value of an option as a variable gives it, where the command line cannot be read.
pub fn value(command: &str, option: &'static str) -> Option<String> {
    let arg = Arg::new("option").long(option);
    let value = |name: String| env::var(name).ok().filter(|value| !value.is_empty());
    variables(&arg, command).into_iter().find_map(value)
}

/// The same name, made once a process, however many commands a program runs: clap holds on to it by
/// reference.
fn kept(name: String) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name.as_str()) {
        return known;
    }
    let name: &'static str = Box::leak(name.into_boxed_str());
    names.insert(name);
    name
}
