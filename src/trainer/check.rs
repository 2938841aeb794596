//! What a check is: a rule, what the loader does where it is broken, and what cures it.

use std::path::Path;

use super::Trainer;
use super::columns::Columns;
use super::container::Container;
use super::length::Tokens;
use super::record::Record;
use crate::sample::{ImageCheck, Sample, words};

/// Something that a trainer stumbles over.
#[derive(Debug)]
pub struct Check {
    /// The stable word for it.
    pub code: &'static str,
    /// What must be so, in one sentence.
    pub rule: &'static str,
    /// How the loader takes it if it is not.
    pub effect: Effect,
    /// What it does then, in a few words.
    pub loader: &'static str,
    /// What cures it.
    pub cure: &'static str,
    /// How it is found.
    pub find: Find,
}

impl Check {
    /// The same for a loader that leaves out what does not pass; `loader` says how.
    #[must_use]
    pub const fn skipped(self, loader: &'static str) -> Self {
        Self {
            effect: Effect::Skip,
            loader,
            ..self
        }
    }
}

/// How a check finds what it looks for.
#[derive(Debug, Clone, Copy)]
pub enum Find {
    /// In one row: what is wrong with it, if anything.
    Row(fn(&Look<'_>) -> Option<String>),
    /// In one row, of a file in which some row has an image.
    RowAmongImages(fn(&Look<'_>) -> Option<String>),
    /// In the file as a whole.
    File(fn(&FileFacts<'_>) -> Option<String>),
}

/// How a loader takes what it does not expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It ends before the first step.
    CrashStart,
    /// It ends in the middle of training.
    CrashMiddle,
    /// The row is left out, or another one taken in its place, without a word or with a line in a
    /// log.
    Skip,
    /// It trains on something else than the file says.
    Wrong,
}

impl Effect {
    /// The stable word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::CrashStart => "crash_start",
            Self::CrashMiddle => "crash_middle",
            Self::Skip => "skip",
            Self::Wrong => "wrong",
        }
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::CrashStart => "crash at the start",
            Self::CrashMiddle => "crash in the middle",
            Self::Skip => "silent skip",
            Self::Wrong => "silently wrong",
        }
    }
}

/// A check that failed.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The check.
    pub check: &'static Check,
    /// What is wrong.
    pub message: String,
}

words! {
    /// The chat template whose marks must not stand in texts.
    Template {
        /// Vicuna's, LLaVA 1.5's.
        V1 = "v1",
        /// Pretraining: a picture and its caption, nothing else.
        Plain = "plain",
        /// Gemma's.
        Gemma = "gemma",
        /// Llama 2's.
        Llama2 = "llama_2",
        /// Qwen's, MPT's, and others' with `<|im_start|>`.
        Chatml = "chatml",
        /// Llama 3's.
        Llama3 = "llama_3",
    }
}

impl Template {
    /// What a text must not hold.
    #[must_use]
    pub fn marks(self) -> &'static [&'static str] {
        match self {
            Self::V1 => &[" ASSISTANT: ", "</s>"],
            Self::Plain => &[],
            Self::Gemma => &["<start_of_turn>", "<end_of_turn>", "<eos>"],
            Self::Llama2 => &["[INST]", "[/INST]", "</s>"],
            Self::Chatml => &["<|im_start|>", "<|im_end|>"],
            Self::Llama3 => &["<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
        }
    }
}

/// What is said of the training to come.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The template, where the loader has several.
    pub template: Template,
    /// How many tokens a row may have.
    pub max_tokens: Option<u64>,
    /// What counts them.
    pub tokens: Tokens,
    /// How far images are checked.
    pub images: ImageCheck,
}

/// A row as a loader sees it.
pub struct Look<'a> {
    /// The row.
    pub sample: &'a Sample,
    /// What the loader reads of it, or why it reads nothing.
    pub record: &'a Result<Record, String>,
    /// What is said of the training.
    pub settings: &'a Settings,
    /// The trainer.
    pub trainer: &'static Trainer,
}

impl<'a> Look<'a> {
    /// What the loader reads of the row, if it can read it.
    #[must_use]
    pub fn read(&self) -> Option<&'a Record> {
        self.record.as_ref().ok()
    }
}

/// What is known of a file as a whole.
pub struct FileFacts<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// How rows lie in it.
    pub container: Container,
    /// Whether it begins with a byte order mark.
    pub has_mark: bool,
    /// Whether it is compressed.
    pub is_packed: bool,
    /// Whether there are blank lines in it.
    pub has_blank: bool,
    /// Its rows.
    pub rows: u64,
    /// The types of its columns.
    pub columns: &'a Columns,
    /// The trainer.
    pub trainer: &'static Trainer,
}
