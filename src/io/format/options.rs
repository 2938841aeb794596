//! What a format wants to know of an output, declared by the format and read everywhere else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::io::paths;

/// One thing that can be said of an output in a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatOption {
    /// The key of an output in recipes.
    pub name: &'static str,
    /// The name of the argument of `djr convert`, without its dashes.
    pub argument: &'static str,
    /// What its value may be.
    pub kind: OptionKind,
    /// What it means, in one sentence.
    pub doc: &'static str,
}

/// What the value of an option may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// One of these words.
    Word(&'static [&'static str]),
    /// A file that is read: its content is part of what the output is made of.
    File,
    /// `true` or `false`.
    Flag,
    /// Any text.
    Text,
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// A word of the option.
    Word(&'static str),
    /// A path.
    File(PathBuf),
    /// On or off.
    Flag(bool),
    /// A text.
    Text(String),
}

/// What is said of one output beyond what all outputs have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<&'static str, OptionValue>);

impl Options {
    /// Says one thing.
    pub fn set(&mut self, option: &FormatOption, value: OptionValue) {
        self.0.insert(option.name, value);
    }

    /// The word said for `name`.
    #[must_use]
    pub fn word(&self, name: &str) -> Option<&'static str> {
        match self.0.get(name) {
            Some(OptionValue::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// The file said for `name`.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&Path> {
        match self.0.get(name) {
            Some(OptionValue::File(path)) => Some(path),
            _ => None,
        }
    }

    /// The text said for `name`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(OptionValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether `name` is on.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name) == Some(&OptionValue::Flag(true))
    }

    /// All files that the output is made of.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.values().filter_map(|value| match value {
            OptionValue::File(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// All that is said, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &OptionValue)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// All that is said, as members of a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let json = |value: &OptionValue| match value {
            OptionValue::Word(word) => (*word).into(),
            OptionValue::File(path) => paths::to_json(path),
            OptionValue::Flag(on) => (*on).into(),
            OptionValue::Text(text) => text.as_str().into(),
        };
        self.iter()
            .map(|(name, value)| (name.to_owned(), json(value)))
            .collect()
    }

    /// What [`Options::to_json`] wrote, for an output whose format has `known` options.
    ///
    /// # Errors
    /// Which member is no option, or has no value of its kind.
    pub fn from_json(
        known: &'static [FormatOption],
        json: Map<String, Value>,
    ) -> Result<Self, String> {
        let mut options = Self::default();
        for (name, value) in json {
            let Some(option) = known.iter().find(|option| option.name == name) else {
                return Err(format!("an output of this format has no '{name}'"));
            };
            let read = match (option.kind, &value) {
                (OptionKind::Word(words), Value::String(word)) => words
                    .iter()
                    .find(|known| **known == word.as_str())
                    .map(|word| OptionValue::Word(word)),
                (OptionKind::File, value) => paths::from_json(value).map(OptionValue::File),
                (OptionKind::Flag, Value::Bool(on)) => Some(OptionValue::Flag(*on)),
                (OptionKind::Text, Value::String(text)) => Some(OptionValue::Text(text.clone())),
                _ => None,
            };
            let read = read.ok_or_else(|| format!("'{name}' of an output cannot be {value}"))?;
            options.set(option, read);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[FormatOption] = &[
        FormatOption {
            name: "kind",
            argument: "kind",
            kind: OptionKind::Word(&["a", "b"]),
            doc: "",
        },
        FormatOption {
            name: "list",
            argument: "list",
            kind: OptionKind::File,
            doc: "",
        },
        FormatOption {
            name: "on",
            argument: "on",
            kind: OptionKind::Flag,
            doc: "",
        },
    ];

    #[test]
    fn options_come_back_from_json() {
        let mut options = Options::default();
        options.set(&KNOWN[0], OptionValue::Word("b"));
        options.set(&KNOWN[1], OptionValue::File("/l.json".into()));
        options.set(&KNOWN[2], OptionValue::Flag(true));
        assert_eq!(
            Options::from_json(KNOWN, options.to_json()).unwrap(),
            options
        );
        assert_eq!(options.word("kind"), Some("b"));
        assert_eq!(options.files().collect::<Vec<_>>(), [Path::new("/l.json")]);
        assert!(options.flag("on") && !options.flag("kind"));
    }

    #[test]
    fn other_members_are_refused_by_name() {
        for (name, value) in [("other", "b"), ("kind", "c"), ("on", "true")] {
            let json = Map::from_iter([(name.to_owned(), value.into())]);
            let error = Options::from_json(KNOWN, json).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
