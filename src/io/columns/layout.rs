//! The columns that an output has from its inputs, where they lie in each, and which type they get.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Metadata, Schema};
use parquet::arrow::ArrowSchemaConverter;

use super::build::can_be_cast_to;
use crate::io::Input;
use crate::io::format::ImageFiles;
use crate::io::source::columns::roles::{Role, agree, roles};

/// Stats that rows bring along are measured anew, and of another type perhaps.
const MEASURED: &str = "__dj__stats__";

/// The columns that come from inputs.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// They, in the order of the first input that has them.
    pub columns: Vec<Carried>,
    /// Of each input that is a column file, where in it each of them lies.
    pub files: Vec<Option<Places>>,
    /// What the first input says of itself.
    pub metadata: Metadata,
    /// Whether images are embedded in a column of that name.
    pub embedded: Option<String>,
}

/// A column that comes from inputs.
#[derive(Debug, Clone)]
pub struct Carried {
    /// Its name and type.
    pub field: FieldRef,
    /// Whether it holds images of the row, which have no other place.
    pub is_image: bool,
}

/// Where the columns lie in an input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(Vec<Option<usize>>);

impl Places {
    /// Where column `number` lies.
    #[must_use]
    pub fn of(&self, number: usize) -> Option<usize> {
        self.0.get(number).copied().flatten()
    }

    /// All places, in order.
    #[must_use]
    pub fn all(&self) -> Vec<usize> {
        let mut all: Vec<usize> = self.0.iter().flatten().copied().collect();
        all.sort_unstable();
        all
    }
}

impl Layout {
    /// The columns of an output over `inputs`, whose images are at `images`.
    ///
    /// # Errors
    /// Says which column has types that do not go together.
    pub fn of(inputs: &[Input], images: ImageFiles) -> Result<Self, String> {
        let mut layout = Self::default();
        let mut absent = Vec::new();
        for input in inputs {
            let reading = input.reading();
            let Some(schema) = input.columns() else {
                // Its rows may lack any field.
                absent.push(layout.files.len());
                layout.files.push(None);
                continue;
            };
            if layout.metadata.is_empty() {
                layout.metadata.clone_from(schema.metadata());
            }
            let roles = roles(&schema, &reading);
            let is_image =
                |role: Role| matches!(role, Role::Image | Role::ImageBytes | Role::Content);
            let has_images = roles.iter().any(|role| is_image(*role));
            let mut places = vec![None; layout.columns.len()];
            for (place, (field, role)) in schema.fields().iter().zip(&roles).enumerate() {
                let replaced = match images {
                    ImageFiles::Path => false,
                    ImageFiles::Copy => is_image(*role) || *field.name() == reading.image_key,
                    ImageFiles::Embed => !has_images && *field.name() == reading.image_key,
                };
                if *role == Role::Left || replaced || field.name() == MEASURED {
                    continue;
                }
                let known = layout
                    .columns
                    .iter()
                    .position(|column| column.field.name() == field.name());
                let Some(known) = known else {
                    layout.columns.push(Carried {
                        field: Arc::clone(field),
                        is_image: matches!(role, Role::Image | Role::Content),
                    });
                    places.push(Some(place));
                    continue;
                };
                if places.get(known).copied().flatten().is_some() {
                    return Err(format!(
                        "the input {} has two columns '{}'",
                        input.name(),
                        field.name()
                    ));
                }
                if let (Some(column), Some(slot)) =
                    (layout.columns.get_mut(known), places.get_mut(known))
                {
                    column.field = Arc::new(both(&column.field, field)?);
                    *slot = Some(place);
                }
            }
            if images == ImageFiles::Embed && !has_images {
                layout.embedded = Some(reading.image_key.clone());
            }
            layout.files.push(Some(Places(places)));
        }
        if images == ImageFiles::Embed && !absent.is_empty() {
            layout.embedded = inputs
                .first()
                .map(|input| input.reading().image_key.clone());
        }
        layout.may_be_null(!absent.is_empty());
        for column in &layout.columns {
            let name = column.field.name();
            if Some(name) == layout.embedded.as_ref() {
                return Err(format!(
                    "images are to be embedded in the column '{name}', which some inputs have already"
                ));
            }
        }
        Ok(layout)
    }

    /// What some input lacks is null in its rows; with `all`, any field may be.
    pub fn may_be_null(&mut self, all: bool) {
        for (number, column) in self.columns.iter_mut().enumerate() {
            let lacks = |places: &Places| places.of(number).is_none();
            if (all || self.files.iter().flatten().any(lacks)) && !column.field.is_nullable() {
                column.field = Arc::new(column.field.as_ref().clone().with_nullable(true));
            }
        }
    }

    /// Makes sure that a Parquet file has a place for its columns.
    ///
    /// # Errors
    /// Says for which it has none.
    pub fn check_parquet(&self) -> Result<(), String> {
        for column in &self.columns {
            let alone = Schema::new(vec![Arc::clone(&column.field)]);
            let converted =
                std::panic::catch_unwind(|| ArrowSchemaConverter::new().convert(&alone));
            if !matches!(converted, Ok(Ok(_))) {
                return Err(format!(
                    "the column '{}' is a {}, which no Parquet file has a place for; leave it out by `input.columns`",
                    column.field.name(),
                    column.field.data_type()
                ));
            }
        }
        Ok(())
    }

    /// The column called `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Carried> {
        self.columns
            .iter()
            .find(|column| column.field.name() == name)
    }
}

/// The field of a column that two inputs have.
fn both(a: &Field, b: &Field) -> Result<Field, String> {
    let (of_a, of_b) = (a.data_type(), b.data_type());
    let nullable = a.is_nullable() || b.is_nullable();
    let wider = if of_a.is_null() || of_a.is_integer() && wide(of_b) > wide(of_a) {
        of_b
    } else {
        of_a
    };
    let goes = of_a == of_b || of_b.is_null() || of_a.is_null();
    let cast = agree(of_a, of_b) && can_be_cast_to(wider);
    if !goes && !cast {
        return Err(format!(
            "the column '{}' is {of_a} in one input and {of_b} in another; write one of them with the type of the other first",
            a.name()
        ));
    }
    Ok(a.clone()
        .with_data_type(wider.clone())
        .with_nullable(nullable))
}

fn wide(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(0)
}
