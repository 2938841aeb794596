//! The options of all formats as arguments of a command, read from where the formats declare them.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::io::format::{self, FormatOption, OptionKind, OptionValue, Options, OutputFormat};

/// What was said of the output that only a format knows.
#[derive(Debug, Clone, Default)]
pub struct FormatArgs(Vec<(&'static FormatOption, OptionValue)>);

impl FormatArgs {
    /// What was said, for an output in `format`.
    ///
    /// # Errors
    /// What `format` has no use for.
    pub fn options(&self, chosen: OutputFormat) -> Result<Options, String> {
        let mut options = Options::default();
        for (option, value) in &self.0 {
            if chosen.option(option.name).is_none() {
                let formats = format::all_options();
                let names: Vec<&str> = formats
                    .iter()
                    .filter(|(known, _)| known.name == option.name)
                    .flat_map(|(_, formats)| formats.iter().map(|format| format.word()))
                    .collect();
                return Err(format!(
                    "--{} is for --to {}",
                    option.argument,
                    names.join(" or ")
                ));
            }
            options.set(option, value.clone());
        }
        Ok(options)
    }
}

impl clap::Args for FormatArgs {
    fn augment_args(mut command: Command) -> Command {
        for (option, formats) in format::all_options() {
            let names: Vec<&str> = formats.iter().map(|format| format.word()).collect();
            let arg = Arg::new(option.name).long(option.argument).help(format!(
                "To {}: {}",
                names.join(", "),
                plain(option.doc)
            ));
            command = command.arg(match option.kind {
                OptionKind::Word(words) => arg
                    .value_name("WHAT")
                    .value_parser(PossibleValuesParser::new(words)),
                OptionKind::File => arg
                    .value_name("FILE")
                    .value_parser(clap::value_parser!(PathBuf)),
                OptionKind::Flag => arg.action(ArgAction::SetTrue),
                OptionKind::Text => arg.value_name("TEXT"),
            });
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for FormatArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut said = Self::default();
        said.update_from_arg_matches(matches)?;
        Ok(said)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (option, _) in format::all_options() {
            let value = match option.kind {
                OptionKind::Word(words) => matches
                    .get_one::<String>(option.name)
                    .and_then(|said| words.iter().find(|word| **word == said.as_str()))
                    .map(|word| OptionValue::Word(word)),
                OptionKind::File => matches
                    .get_one::<PathBuf>(option.name)
                    .map(|path| OptionValue::File(path.clone())),
                OptionKind::Text => matches
                    .get_one::<String>(option.name)
                    .map(|text| OptionValue::Text(text.clone())),
                OptionKind::Flag => matches
                    .get_flag(option.name)
                    .then_some(OptionValue::Flag(true)),
            };
            self.0.extend(value.map(|value| (option, value)));
        }
        Ok(())
    }
}

/// Reads the name of a format.
pub fn parser() -> impl TypedValueParser<Value = OutputFormat> {
    let names = OutputFormat::all()
        .map(|format| PossibleValue::new(format.word()).help(plain(format.summary)));
    PossibleValuesParser::new(names).try_map(|word| {
        OutputFormat::from_word(&word).ok_or_else(|| clap::Error::new(ErrorKind::InvalidValue))
    })
}

/// A sentence as clap's help has it.
fn plain(sentence: &'static str) -> &'static str {
    sentence.trim_end_matches('.')
}
