//! Mappers: change a row in place, or make several of it.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::{Answer, Asks, Change};
use crate::sample::{FieldPath, RowError, Sample};

/// Changes one row.
pub trait Mapper: Send + Sync {
    /// Edits the row.
    ///
    /// # Errors
    /// Whatever makes the row impossible to process; it is quarantined.
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError>;

    /// The mapper as one that asks a service, if it does.
    fn asks(&self) -> Option<&dyn Asks> {
        None
    }

    /// Edits the row by what the service answered, in the order of the requests.
    ///
    /// # Errors
    /// As [`Mapper::apply`].
    fn apply_answers(&self, sample: &mut Sample, _answers: &[Answer]) -> Result<(), RowError> {
        self.apply(sample)
    }
}

/// One of the rows that an [`Expander`] makes of one.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// The row with other values in these fields; with none, as it is.
    Edits(Vec<(FieldPath, Value)>),
    /// A row of its own, a JSON object on one line. Of a group's stats it gets its own.
    Row(String),
    /// The row with these changes, stats included.
    Changed(Change),
}

impl Part {
    /// The part, as number `number` of `sample`.
    ///
    /// # Errors
    /// Those of [`Sample::set_text`] and [`Sample::parse`].
    pub fn of(self, sample: &Sample, number: u64) -> Result<Sample, RowError> {
        match self {
            Self::Edits(edits) => sample.part(number, edits),
            Self::Row(line) => {
                let context = Arc::clone(sample.image_context());
                let mut part = Sample::parse(line, sample.origin().part(number), context)?
                    .with_attached(sample.attached().to_vec());
                let own = usize::try_from(number).unwrap_or(usize::MAX);
                part.stats = sample.stats.members().get(own).cloned().unwrap_or_default();
                Ok(part)
            }
            Self::Changed(change) => {
                let mut part = sample.part(number, Vec::new())?;
                change.apply(&mut part, false);
                Ok(part)
            }
        }
    }

    /// Whether it is the row as it is.
    #[must_use]
    pub fn is_same(&self) -> bool {
        match self {
            Self::Edits(edits) => edits.is_empty(),
            Self::Row(_) => false,
            Self::Changed(change) => change.is_none(),
        }
    }

    /// Whether it writes the top-level field `name`.
    #[must_use]
    pub fn writes(&self, name: &str) -> bool {
        match self {
            Self::Edits(edits) => edits.iter().any(|(path, _)| path.as_str() == name),
            Self::Row(_) => true,
            Self::Changed(change) => {
                change.set.contains_key(name) || change.gone.iter().any(|gone| gone == name)
            }
        }
    }
}

/// Makes any number of rows of one: its parts take its place, in order, and run through the
/// operators behind. All but the first count as repeated; a row without parts counts as dropped.
pub trait Expander: Send + Sync {
    /// The parts of the row.
    ///
    /// # Errors
    /// Whatever makes the row impossible to process; it is quarantined.
    fn parts(&self, sample: &Sample) -> Result<Vec<Part>, RowError>;

    /// The expander as one that asks a service, if it does.
    fn asks(&self) -> Option<&dyn Asks> {
        None
    }

    /// The parts of the row, by what the service answered, in the order of the requests.
    ///
    /// # Errors
    /// As [`Expander::parts`].
    fn parts_of_answers(&self, sample: &Sample, _: &[Answer]) -> Result<Vec<Part>, RowError> {
        self.parts(sample)
    }

    /// A file that gets what [`Expander::note`] says of each row, a line a row.
    fn notes_path(&self) -> Option<&Path> {
        None
    }

    /// What is noted of a row that was taken apart.
    ///
    /// # Errors
    /// If the row cannot be read.
    fn note(&self, _sample: &Sample) -> Result<Option<Value>, RowError> {
        Ok(None)
    }
}

/// A mapper that is a pure function of the row's text; most are.
pub trait TextMapper: Send + Sync {
    /// The new text; borrowed if it is a part of, or equal to, the old one.
    ///
    /// # Errors
    /// Only if the text cannot be processed at all.
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError>;
}

/// Applies a [`TextMapper`] to the operator's text field.
pub struct TextMapperAdapter<T> {
    mapper: T,
    text_key: FieldPath,
}

impl<T: TextMapper> TextMapperAdapter<T> {
    /// `mapper` over the field `text_key`.
    pub fn new(mapper: T, text_key: FieldPath) -> Self {
        Self { mapper, text_key }
    }
}

impl<T: TextMapper> Mapper for TextMapperAdapter<T> {
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError> {
        let text = sample.required_text(&self.text_key)?;
        let mapped = self.mapper.map_text(&text)?;
        if *mapped == *text {
            return Ok(());
        }
        let mapped = mapped.into_owned();
        sample.set_text(&self.text_key, mapped)
    }
}
