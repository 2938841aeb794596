//! Rows as a Parquet file.
//!
//! Columns of column files that nobody wrote to are taken from there as they are, type and all; the
//! others get the type that all values of the output fit ([`crate::io::columns::kind`]).

use std::borrow::Cow;

use arrow_schema::DataType;

use super::jsonl::JsonlRenderer;
use super::{
    Format, FormatError, FormatOption, Framing, ImageFiles, Made, OptionKind, Options, Renderer,
    Setting,
};
use crate::io::columns::build::{fits, holds_images};
use crate::io::columns::groups::PACKINGS;
use crate::io::columns::layout::Layout;
use crate::io::columns::record::Record;
use crate::io::paths::PathStyle;
use crate::io::source::columns::view::has_json;
use crate::sample::{ImageCheck, ImageSlot, JsonText, RowError, Sample, read_json};

/// The format.
pub const FORMAT: &Format = &Format {
    name: "parquet",
    summary: "A Parquet file of the rows; columns of Parquet and Arrow inputs stay as they are.",
    suffixes: &["parquet"],
    framing: Framing::COLUMNS,
    holds_rows: true,
    made_of: None,
    written_image_key: None,
    check: ImageCheck::None,
    paths: PathStyle::Keep,
    images: &[ImageFiles::Path, ImageFiles::Embed, ImageFiles::Copy],
    own_paths: false,
    lead: None,
    beside: None,
    memory: 8,
    options: &[COMPRESSION],
    renderer,
};

/// How its pages are packed.
pub const COMPRESSION: FormatOption = FormatOption {
    name: "compression",
    argument: "compression",
    kind: OptionKind::Word(PACKINGS),
    doc: "How the pages of a Parquet file are packed; zstd if nothing is said.",
};

/// Rows for a table in memory ([`crate::io::columns::collect`]). No recipe can name it.
pub const TABLE: &Format = &Format {
    name: "table",
    summary: "A table in memory; columns of tables and of Parquet and Arrow inputs stay as they are.",
    suffixes: &[],
    images: &[ImageFiles::Path],
    options: &[],
    renderer: table_renderer,
    ..*FORMAT
};

/// The same for rows that have little in common with those of the inputs, such as groups: all columns
/// are made of their values.
pub const MADE_TABLE: &Format = &Format {
    renderer: made_renderer,
    ..*TABLE
};

fn renderer(_: &Options, setting: Setting) -> Made {
    let layout = Layout::of(&setting.inputs, setting.images).map_err(FormatError)?;
    layout.check_parquet().map_err(FormatError)?;
    check_merged(&layout, &setting)?;
    Ok(of_layout(layout, setting))
}

fn table_renderer(_: &Options, setting: Setting) -> Made {
    let layout = Layout::of(&setting.inputs, setting.images).map_err(FormatError)?;
    check_merged(&layout, &setting)?;
    Ok(of_layout(layout, setting))
}

/// Sees that columns which get lists or sums have room for some: a column has one type, and rows without
/// duplicates keep the values that they have.
fn check_merged(layout: &Layout, setting: &Setting) -> Result<(), FormatError> {
    let lists = |of: &DataType| matches!(of, DataType::List(_) | DataType::LargeList(_));
    for (how, names) in [("list", &setting.lists), ("sum", &setting.sums)] {
        let has_room = |of: &DataType| match how {
            "list" => lists(of),
            _ => of.is_numeric(),
        };
        let columns = names.iter().filter_map(|name| layout.column(name));
        let mut fields = columns.map(|column| &column.field);
        if let Some(field) = fields.find(|field| !has_room(field.data_type())) {
            let (makes, others) = match how {
                "list" => ("lists", "merge a column of lists, `sum` or `first` instead"),
                _ => ("sums", "merge a column of numbers, or `first` instead"),
            };
            return Err(FormatError(format!(
                "`merge: {{{}: {how}}}` makes {makes} of a column of the type {}: {others}, or write JSON Lines",
                field.name(),
                field.data_type()
            )));
        }
    }
    Ok(())
}

fn made_renderer(_: &Options, setting: Setting) -> Made {
    Ok(of_layout(Layout::default(), setting))
}

fn of_layout(layout: Layout, setting: Setting) -> Box<dyn Renderer> {
    Box::new(ParquetRenderer {
        layout,
        rows: JsonlRenderer {
            paths: setting.paths,
            keep_stats: setting.keep_stats,
            keep_hashes: setting.keep_hashes,
        },
    })
}

struct ParquetRenderer {
    layout: Layout,
    /// What is written of rows otherwise than they have it.
    rows: JsonlRenderer,
}

/// A member of a row: its name and its value as JSON.
type Member<'a> = (Cow<'a, str>, Cow<'a, str>);

impl ParquetRenderer {
    /// The members of a row that its input does not have so, and whether its images are among them.
    fn members<'a>(
        &self,
        sample: &'a Sample,
        in_input: bool,
    ) -> Result<(Vec<Member<'a>>, bool), RowError> {
        let image_key = sample.image_context().image_key.as_str();
        let new = self.rows.with_new_fields(sample, |fields| {
            let json = |(name, value): &(&str, &dyn JsonText)| {
                let mut out = Vec::new();
                value.write(&mut out);
                // What rows are written of is text.
                let json = String::from_utf8(out).unwrap_or_default();
                ((*name).to_owned(), json)
            };
            fields.iter().map(json).collect::<Vec<_>>()
        })?;
        let mut new: Vec<(String, Option<String>)> = new
            .into_iter()
            .map(|(name, json)| (name, Some(json)))
            .collect();
        let mut members: Vec<Member<'a>> = Vec::new();
        for (name, json) in sample.members() {
            let other = new.iter_mut().find(|(new, _)| *new == name);
            match other.and_then(|(_, json)| json.take()) {
                Some(json) => members.push((name, json.into())),
                None if in_input && sample.is_as_read(&name) => {}
                None => members.push((name, json)),
            }
        }
        let added = |(name, json): (String, Option<String>)| Some((name.into(), json?.into()));
        members.extend(new.into_iter().filter_map(added));
        if in_input {
            let gone = self
                .layout
                .columns
                .iter()
                .filter(|column| !column.is_image)
                .map(|column| column.field.name().as_str())
                .filter(|name| !sample.has(name) && self.is_read(sample, name));
            let null = |name: &str| (Cow::Owned(name.to_owned()), Cow::Borrowed("null"));
            members.extend(
                gone.filter(|name| !named_in(&members, name))
                    .map(null)
                    .collect::<Vec<_>>(),
            );
        }
        let images = !in_input || !sample.is_as_read(image_key);
        Ok((members, images))
    }

    /// Whether operators see the column, in the file that the row comes from.
    fn is_read(&self, sample: &Sample, name: &str) -> bool {
        let file = self.layout.files.get(sample.origin().file as usize);
        let number = self
            .layout
            .columns
            .iter()
            .position(|column| column.field.name() == name);
        let place = file
            .and_then(Option::as_ref)
            .zip(number)
            .and_then(|(places, number)| places.of(number));
        place.is_some()
            && self
                .layout
                .column(name)
                .is_some_and(|column| has_json(column.field.data_type()))
    }

    /// Makes sure that the members have a place.
    fn check(&self, members: &[Member<'_>]) -> Result<(), RowError> {
        for (name, json) in members {
            let column = self.layout.column(name);
            // Half of a surrogate pair has no place in any column.
            if column.is_none() && memchr::memmem::find(json.as_bytes(), b"\\u").is_none() {
                continue;
            }
            let value = read_json(json).map_err(|error| {
                RowError::new("lone_surrogate", format!("field '{name}': {error}"))
            })?;
            if let Some(column) = column
                && !fits(&value, &column.field)
            {
                return Err(misfit(name, &column.field.data_type().to_string()));
            }
        }
        Ok(())
    }

    /// Whether images that were changed have a column to go to.
    fn check_images(&self, sample: &Sample) -> Result<bool, RowError> {
        let mut columns = self.layout.columns.iter().filter(|column| column.is_image);
        let Some(column) = columns.next() else {
            return Ok(self.layout.embedded.is_some());
        };
        let data_type = column.field.data_type();
        let one = !matches!(data_type, DataType::List(_));
        let count = sample.images()?.len();
        if columns.next().is_some() || !holds_images(data_type) || one && count > 1 {
            return Err(misfit(column.field.name(), "column of other images"));
        }
        Ok(true)
    }
}

fn named_in(members: &[Member<'_>], name: &str) -> bool {
    members.iter().any(|(known, _)| known == name)
}

fn misfit(name: &str, what: &str) -> RowError {
    RowError::new(
        "column_misfit",
        format!("the new value of '{name}' has no place in its column, a {what}"),
    )
}

impl Renderer for ParquetRenderer {
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        let origin = sample.origin();
        let file = self.layout.files.get(origin.file as usize);
        let in_input = matches!(file, Some(Some(_))) && !sample.is_made_of_several();
        let (mut members, mut images) = self.members(sample, in_input)?;
        if self.layout.columns.iter().all(|column| !column.is_image) {
            // Where nothing has images as bytes, they are embedded or named.
            images = self.layout.embedded.is_some();
        } else if !in_input && self.layout.embedded.is_none() {
            images = false;
        }
        images = images && self.check_images(sample)?;
        let image_key = sample.image_context().image_key.as_str();
        if self.layout.embedded.is_some() {
            // It says where the column of images stands.
            for (_, json) in members.iter_mut().filter(|(name, _)| name == image_key) {
                *json = Cow::Borrowed("null");
            }
        } else if images || self.layout.columns.iter().any(|column| column.is_image) && in_input {
            members.retain(|(name, _)| name != image_key);
        }
        self.check(&members)?;
        let contents = if images {
            let slots = sample.images()?.iter();
            Some(
                slots
                    .map(ImageSlot::content)
                    .collect::<Result<Vec<_>, _>>()?,
            )
        } else {
            None
        };
        let images = contents.as_ref().map(|contents| {
            let names = sample
                .images()
                .into_iter()
                .flatten()
                .map(ImageSlot::written);
            names
                .zip(contents.iter().map(|content| Some(&content[..])))
                .collect()
        });
        let record = Record {
            at: in_input.then(|| (origin.file, origin.line.saturating_sub(1))),
            members: members
                .iter()
                .map(|(name, json)| (&**name, &**json))
                .collect(),
            weight: if in_input {
                sample.line().len() as u64
            } else {
                0
            },
            images,
        };
        record.encode(out);
        Ok(())
    }
}
