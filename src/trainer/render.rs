//! Checks while rows are written: what is wrong with a row as its record, or the record refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::check::{Find, Finding, Look, Settings, Template};
use super::columns::signature;
use super::record::Record;
use super::{Tokens, TrainerRef};
use crate::io::format::Renderer;
use crate::sample::{ImageCheck, ImageContext, RowError, Sample, read_json};

/// Who will read an output, and what is said of the training to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFor {
    /// Who reads it.
    pub trainer: TrainerRef,
    /// The chat template, where the trainer has several.
    pub template: Template,
    /// How many tokens a row may have.
    pub max_tokens: Option<u64>,
    /// The file that counts them.
    pub tokenizer: Option<PathBuf>,
    /// What is done about rows that fail.
    pub task: Task,
}

/// What is done about rows that fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// They are refused, by the code of the check.
    Refuse,
    /// The record of a row is what is wrong with it, images checked so far.
    Find(ImageCheck),
    /// Rows at these offsets are refused: it is known what is wrong with them.
    Leave(Arc<HashMap<u64, &'static str>>),
}

impl CheckedFor {
    /// For `trainer`, with nothing else said.
    #[must_use]
    pub fn new(trainer: TrainerRef) -> Self {
        Self {
            trainer,
            template: Template::V1,
            max_tokens: None,
            tokenizer: None,
            task: Task::Refuse,
        }
    }

    fn settings(&self, images: ImageCheck) -> Result<Settings, String> {
        Ok(Settings {
            template: self.template,
            max_tokens: self.max_tokens,
            tokens: match &self.tokenizer {
                Some(path) => Tokens::load(path)?,
                None => Tokens::Estimated,
            },
            images,
        })
    }
}

/// The checks of one row.
struct Checker {
    trainer: TrainerRef,
    settings: Settings,
}

impl Checker {
    /// Every check of the row that fails; where `every`, those too that only count in a file with
    /// images.
    fn check(&self, sample: &Sample, every: bool) -> Vec<(usize, Finding)> {
        let record = Record::read(&self.trainer.get().view, sample);
        let look = Look {
            sample,
            record: &record,
            settings: &self.settings,
            trainer: self.trainer.get(),
        };
        let mut found = Vec::new();
        for (number, check) in self.trainer.get().checks.iter().enumerate() {
            let message = match check.find {
                Find::Row(find) => find(&look),
                Find::RowAmongImages(find) if every => find(&look),
                Find::RowAmongImages(_) | Find::File(_) => None,
            };
            found.extend(message.map(|message| (number, Finding { check, message })));
        }
        found
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFindings {
    /// The index of its input.
    pub file: u32,
    /// Its line.
    pub line: u64,
    /// Where it begins in all inputs.
    pub offset: u64,
    /// The checks that fail, by their number, and what is wrong.
    pub found: Vec<(usize, String)>,
    /// The types of its fields, if the trainer infers them.
    pub types: Option<String>,
    /// Whether it has an image.
    pub has_image: bool,
}

struct Findings(Checker);

impl Renderer for Findings {
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        let trainer = self.0.trainer.get();
        let record = Record::read(&trainer.view, sample);
        let origin = sample.origin();
        let types = trainer
            .infers_types
            .then(|| read_json(sample.line()).ok().map(|row| signature(&row)))
            .flatten();
        let row = RowFindings {
            file: origin.file,
            line: origin.line,
            offset: origin.offset,
            found: self
                .0
                .check(sample, true)
                .into_iter()
                .map(|(number, finding)| (number, finding.message))
                .collect(),
            types,
            has_image: record.is_ok_and(|record| record.has_image()),
        };
        // Writing to a Vec cannot fail.
        let _ = serde_json::to_writer(out, &row);
        Ok(())
    }
}

struct Refusing {
    inner: Box<dyn Renderer>,
    checker: Checker,
    context: Arc<ImageContext>,
}

impl Renderer for Refusing {
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        let start = out.len();
        self.inner.render(sample, out)?;
        let text = String::from_utf8_lossy(out.get(start..).unwrap_or_default()).into_owned();
        let record = Sample::parse(text, sample.origin(), Arc::clone(&self.context))?;
        match self.checker.check(&record, false).into_iter().next() {
            Some((_, Finding { check, message })) => Err(RowError {
                code: check.code,
                message: format!("for {}: {message}", self.checker.trainer.title).into(),
            }),
            None => Ok(()),
        }
    }
}

struct Leaving {
    inner: Box<dyn Renderer>,
    bad: Arc<HashMap<u64, &'static str>>,
    trainer: TrainerRef,
}

impl Renderer for Leaving {
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        match self.bad.get(&sample.origin().offset) {
            Some(code) => Err(RowError {
                code,
                message: format!("{} would not read it as it is", self.trainer.title).into(),
            }),
            None => self.inner.render(sample, out),
        }
    }
}

/// What writes the findings of rows.
///
/// # Errors
/// If the tokenizer cannot be read.
pub fn findings(checked: &CheckedFor, images: ImageCheck) -> Result<Box<dyn Renderer>, String> {
    Ok(Box::new(Findings(Checker {
        trainer: checked.trainer,
        settings: checked.settings(images)?,
    })))
}

/// `inner`, with the records refused that the trainer stumbles over. Relative paths in them start
/// in `directory`; images were checked with the rows.
///
/// # Errors
/// If the tokenizer cannot be read.
pub fn refusing(
    inner: Box<dyn Renderer>,
    checked: &CheckedFor,
    directory: &Path,
) -> Result<Box<dyn Renderer>, String> {
    let context = ImageContext {
        roots: vec![directory.to_owned()],
        ..ImageContext::default()
    };
    Ok(match &checked.task {
        Task::Leave(bad) => Box::new(Leaving {
            inner,
            bad: Arc::clone(bad),
            trainer: checked.trainer,
        }),
        Task::Refuse | Task::Find(_) => Box::new(Refusing {
            inner,
            checker: Checker {
                trainer: checked.trainer,
                settings: checked.settings(ImageCheck::None)?,
            },
            context: Arc::new(context),
        }),
    })
}
