//! Command lines as users of Data-Juicer write them, in djr's words.

use std::ffi::OsString;

use clap::Command;

use crate::recipe::KEYS;

/// The same command line with Data-Juicer's options in djr's words: `--config FILE` names the
/// recipe, and `--KEY VALUE` or `--OPERATOR.PARAMETER VALUE` is `--set`. What a command knows by
/// itself is left alone.
pub fn translated(words: Vec<OsString>, known: &Command) -> Vec<OsString> {
    let words = with_command(words, known);
    let mut words = words.into_iter();
    let mut out: Vec<OsString> = words.next().into_iter().collect();
    let mut command = None;
    for word in words.by_ref() {
        let found = word.to_str().and_then(|word| known.find_subcommand(word));
        out.push(word);
        if found.is_some() {
            command = found;
            break;
        }
    }
    let Some(command) = command else { return out };
    let takes_sets = has_option(command, "set");
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            out.push(word);
            break;
        }
        let Some(option) = word.to_str().and_then(|word| word.strip_prefix("--")) else {
            out.push(word);
            continue;
        };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(OsString::from(value))),
            None => (option.to_owned(), None),
        };
        if !takes_sets || has_option(command, &name) {
            out.push(word);
        } else if name == "config" {
            if command.get_name() == "analyze" {
                out.push("--recipe".into());
            }
            out.extend(value.or_else(|| words.next()));
        } else if is_key(&name) {
            let value = value.or_else(|| words.next_if(is_value));
            let mut set = OsString::from(format!("{name}="));
            set.push(value.unwrap_or_else(|| "true".into()));
            out.extend(["--set".into(), set]);
        } else {
            out.push(word);
        }
    }
    out.extend(words);
    out
}

/// The same command line with `run` where a recipe is named and no command: Data-Juicer's program
/// has none.
fn with_command(mut words: Vec<OsString>, known: &Command) -> Vec<OsString> {
    let first = words.get(1).and_then(|word| word.to_str());
    let is_option = first.is_some_and(|word| word.starts_with("--"));
    let names_recipe = |word: &OsString| {
        let word = word.to_string_lossy();
        word == "--config" || word.starts_with("--config=")
    };
    let is_command = |word: &OsString| {
        let word = word.to_str();
        word.is_some_and(|word| known.find_subcommand(word).is_some())
    };
    if is_option && words.iter().any(names_recipe) && !words.iter().any(is_command) {
        words.insert(1, "run".into());
    }
    words
}

/// Whether a word is the value of the key before it: no option, but it may be a number below zero.
fn is_value(word: &OsString) -> bool {
    let word = word.to_string_lossy();
    !word.starts_with('-') || word.parse::<f64>().is_ok()
}

/// A key of recipes, or a parameter of an operator.
fn is_key(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    KEYS.iter().any(|key| key.name == name)
        || name
            .split_once('.')
            .is_some_and(|(op, param)| is_word(op) && is_word(param))
}

fn has_option(command: &Command, name: &str) -> bool {
    command.get_arguments().any(|arg| {
        arg.get_long() == Some(name)
            || arg
                .get_all_aliases()
                .is_some_and(|names| names.contains(&name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        let known = crate::cli::command();
        let words = line.split(' ').map(OsString::from).collect();
        let out = translated(words, &known).into_iter();
        let out: Vec<String> = out.map(|word| word.into_string().unwrap()).collect();
        out.join(" ")
    }

    #[test]
    fn the_peers_options_are_said_in_other_words() {
        for (peer, own) in [
            (
                "djr run --config r.yaml --np 4 --dataset_path d.jsonl --export_path o.jsonl",
                "djr run r.yaml --np 4 --dataset_path d.jsonl --export_path o.jsonl",
            ),
            (
                "djr run --config=r.yaml --text_length_filter.max_len 9 --text_keys=content",
                "djr run r.yaml --set text_length_filter.max_len=9 --set text_keys=content",
            ),
            (
                "djr run r.yaml --open_tracer --op_fusion true",
                "djr run r.yaml --set open_tracer=true --set op_fusion=true",
            ),
            (
                "djr run r.yaml --open_tracer -q",
                "djr run r.yaml --set open_tracer=true -q",
            ),
            (
                "djr run r.yaml --debug -o x --words_num_filter.min_num -1",
                "djr run r.yaml --set debug=true -o x --set words_num_filter.min_num=-1",
            ),
            (
                "djr analyze --dataset_path x --export_path y",
                "djr analyze --dataset_path x --export_path y",
            ),
            (
                "djr analyze --config r.yaml -o look",
                "djr analyze --recipe r.yaml -o look",
            ),
            ("djr --config r.yaml --np 4", "djr run r.yaml --np 4"),
            (
                "djr --np 2 --config=r.yaml --text_keys x",
                "djr run --np 2 r.yaml --set text_keys=x",
            ),
            ("djr --nonsense 3", "djr --nonsense 3"),
            ("djr run r.yaml --nonsense 3", "djr run r.yaml --nonsense 3"),
            ("djr ops --config r.yaml", "djr ops --config r.yaml"),
            (
                "djr run r.yaml -- --text_keys x",
                "djr run r.yaml -- --text_keys x",
            ),
        ] {
            assert_eq!(said(peer), own);
        }
    }
}
