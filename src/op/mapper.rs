//! Mappers: change a row in place, or make several of it.

use std::borrow::Cow;

use super::ImageNeed;
use serde_json::Value;

use crate::sample::{FieldPath, RowError, Sample};

/// Changes one row.
pub trait Mapper: Send + Sync {
    /// Edits the row.
    ///
    /// # Errors
    /// Whatever makes the row impossible to process; it is quarantined.
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError>;

    /// How far it needs images decoded.
    fn image_need(&self) -> ImageNeed {
        ImageNeed::None
    }
}

/// The fields in which a part differs from the row it is made of.
pub type Part = Vec<(FieldPath, Value)>;

/// Makes any number of rows of one: its parts take its place, in order, and run through the
/// operators behind. All but the first count as repeated; a row without parts counts as dropped.
pub trait Expander: Send + Sync {
    /// The parts of the row; a part without edits is the row as it is.
    ///
    /// # Errors
    /// Whatever makes the row impossible to process; it is quarantined.
    fn parts(&self, sample: &Sample) -> Result<Vec<Part>, RowError>;
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
