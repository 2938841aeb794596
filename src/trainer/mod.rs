//! Programs that train on what djr writes, as far as it can be known before they start whether
//! they will read a file: what each makes of a row, and what it stumbles over.
//!
//! A trainer is a file of this folder and a line in [`TRAINERS`]; what it checks is a table of
//! [`Check`]s. The rules themselves are in `rules`, where several share them.

mod check;
mod columns;
mod container;
mod energon;
mod imagefolder;
mod internvl;
mod length;
mod llama_factory;
mod llava;
mod llava_next;
mod mgm;
mod ms_swift;
mod qwen_vl;
mod record;
mod render;
mod rules;
mod trl;
mod webdataset;

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use check::{Check, Effect, FileFacts, Find, Finding, Look, Settings, Template};
pub use columns::Columns;
pub use container::{Container, Form, Named, files_of};
pub use length::{ImageTokens, Tokens};
pub use record::View;
pub use render::{CheckedFor, RowFindings, Task, findings, refusing};

/// Every trainer.
pub const TRAINERS: &[&Trainer] = &[
    &llava::TRAINER,
    &mgm::TRAINER,
    &llava_next::TRAINER,
    &qwen_vl::TRAINER,
    &internvl::TRAINER,
    &llama_factory::TRAINER,
    &ms_swift::TRAINER,
    &trl::TRAINER,
    &imagefolder::TRAINER,
    &webdataset::TRAINER,
    &energon::TRAINER,
];

/// A program that reads files for training.
#[derive(Debug)]
pub struct Trainer {
    /// Its name after `--for`.
    pub name: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// What it reads, in one sentence.
    pub reads: &'static str,
    /// Where a row has its turns and images.
    pub view: View,
    /// How rows may lie in a file.
    pub containers: &'static [Container],
    /// Relative paths start in the working directory, not beside the file.
    pub from_working_dir: bool,
    /// Whether the types of columns are inferred from the first rows (Hugging Face's `datasets`).
    pub infers_types: bool,
    /// How many tokens a row may have, unless somebody says otherwise.
    pub max_tokens: Option<u64>,
    /// What an image costs of them.
    pub image_tokens: ImageTokens,
    /// What it stumbles over.
    pub checks: &'static [Check],
}

/// One of [`TRAINERS`].
#[derive(Clone, Copy)]
pub struct TrainerRef(&'static Trainer);

impl TrainerRef {
    /// All their names, in order.
    pub const WORDS: &'static [&'static str] = &{
        let mut words = [""; TRAINERS.len()];
        let mut at = 0;
        while at < words.len() {
            words[at] = TRAINERS[at].name;
            at += 1;
        }
        words
    };

    /// The trainer called `word`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let mut all = TRAINERS.iter();
        all.find(|trainer| trainer.name == word).map(|it| Self(it))
    }

    /// What it is.
    #[must_use]
    pub fn get(self) -> &'static Trainer {
        self.0
    }
}

impl Deref for TrainerRef {
    type Target = Trainer;

    fn deref(&self) -> &Trainer {
        self.0
    }
}

impl PartialEq for TrainerRef {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for TrainerRef {}

impl fmt::Debug for TrainerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl fmt::Display for TrainerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl Serialize for TrainerRef {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.name.serialize(to)
    }
}

impl<'de> Deserialize<'de> for TrainerRef {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = String::deserialize(from)?;
        Self::from_word(&word)
            .ok_or_else(|| serde::de::Error::custom(format!("this djr knows no trainer '{word}'")))
    }
}
