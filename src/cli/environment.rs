//! Every option by a variable of the environment: `DJR_THREADS=4` is `--threads 4`.

use std::collections::BTreeSet;
use std::env;
use std::sync::{Mutex, PoisonError};

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Command};

/// Options that count beside another option only. Their general variable would be an error wherever
/// that other option is missing, so they have the one that names the command.
const DEPENDENT: [(&str, &str); 19] = [
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
    let Some(option) = arg.get_long().filter(|_| !arg.is_hide_set()) else {
        return arg;
    };
    let variable = |words: &str| format!("DJR_{}", words.replace('-', "_").to_uppercase());
    let own = variable(format!("{command}-{option}").trim_start_matches('-'));
    let name = if env::var_os(&own).is_some() || DEPENDENT.contains(&(command, option)) {
        own
    } else {
        variable(option)
    };
    let name = kept(name);
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let arg = arg.env(name).hide_env(true);
    if is_switch {
        arg.value_parser(BoolishValueParser::new())
    } else {
        arg
    }
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
