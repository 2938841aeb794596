//! Columns of rows that go to a table: those that inputs have, with what rows say otherwise in its
//! place, and those that are made of the rows' own values.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, UInt32Array, new_null_array};
use arrow_schema::{DataType, FieldRef, Schema, SchemaRef};
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use hashbrown::HashMap;

use super::build;
use super::groups::Pieces;
use super::kind::Kind;
use super::layout::{Carried, Layout};
use super::record::{Record, RowImage};
use crate::io::source::columns::broken;

/// Where Hugging Face looks for what columns are.
const FEATURES: &str = "huggingface";

/// What rows have in each made column, as JSON.
pub type Texts<'r> = Vec<Vec<Option<&'r str>>>;

/// Gives every field of `records` that no input has a column in `made`, and each of these columns a
/// type that all its values so far fit.
///
/// # Errors
/// If a value is no JSON.
pub fn take_in<'r>(
    made: &mut Vec<(String, Kind)>,
    layout: &Layout,
    records: &'r [Record<'_>],
) -> io::Result<Texts<'r>> {
    let mut places: HashMap<String, usize> = made
        .iter()
        .enumerate()
        .map(|(place, (name, _))| (name.clone(), place))
        .collect();
    let mut texts: Texts<'_> = vec![vec![None; records.len()]; made.len()];
    let embedded = layout.embedded.as_deref();
    for (row, record) in records.iter().enumerate() {
        let images = embedded.filter(|_| record.images.is_some());
        let names = record
            .members
            .iter()
            .map(|(name, json)| (*name, Some(*json)));
        for (name, json) in names.chain(images.map(|name| (name, None))) {
            if layout.column(name).is_some() {
                continue;
            }
            let place = *places.entry_ref(name).or_insert_with(|| {
                let kind = if embedded == Some(name) {
                    Kind::Images
                } else {
                    Kind::Null
                };
                made.push((name.to_owned(), kind));
                texts.push(vec![None; records.len()]);
                made.len() - 1
            });
            if let Some(slot) = texts.get_mut(place).and_then(|texts| texts.get_mut(row)) {
                *slot = json;
            }
        }
    }
    for ((name, kind), texts) in made.iter_mut().zip(&texts) {
        if *kind == Kind::Images {
            continue;
        }
        for text in texts.iter().flatten() {
            // Once it is as wide as can be, or a text among texts, nothing changes.
            if *kind == Kind::Json || *kind == Kind::Text && text.starts_with('"') {
                continue;
            }
            let found = Kind::of_text(text)
                .ok_or_else(|| io::Error::other(format!("a value of '{name}' is no JSON")))?;
            *kind = std::mem::take(kind).and(found);
        }
    }
    Ok(texts)
}

/// The made columns of `records`, whose `texts` were taken in, in pieces of these rows. A piece that
/// has a value without a place in its column is an error.
pub fn pieces<'a>(
    made: &'a [(String, Kind)],
    texts: &'a Texts<'_>,
    records: &'a [Record<'_>],
    rows: &'a [Range<usize>],
) -> impl Iterator<Item = Pieces<'a>> {
    made.iter().zip(texts).map(move |((_, kind), texts)| {
        let piece = move |rows: &Range<usize>| {
            if *kind != Kind::Images {
                return of_texts(texts.get(rows.clone()).unwrap_or_default(), kind);
            }
            let records = records.get(rows.clone()).unwrap_or_default().iter();
            let images: Vec<Option<&[RowImage<'_>]>> =
                records.map(|record| record.images.as_deref()).collect();
            build::images(&images)
        };
        Box::new(rows.iter().map(piece)) as Pieces<'a>
    })
}

/// The schema of a table with the columns of `layout` and these made ones.
#[must_use]
pub fn schema(layout: &Layout, made: &[(String, Kind)]) -> SchemaRef {
    let carried = layout
        .columns
        .iter()
        .map(|column| Arc::clone(&column.field));
    let made_fields = made.iter().map(|(name, kind)| Arc::new(kind.field(name)));
    let fields: Vec<FieldRef> = carried.chain(made_fields).collect();
    let mut metadata = layout.metadata.clone();
    if let Some(name) = &layout.embedded
        && !metadata.contains_key(FEATURES)
    {
        let features = serde_json::json!({"info": {"features": {
            name: {"feature": {"_type": "Image"}, "_type": "List"},
        }}});
        metadata.insert(FEATURES.to_owned(), features.to_string());
    }
    Arc::new(Schema::new(fields).with_metadata(metadata))
}

/// A column of values as JSON.
///
/// # Errors
/// If a value has no place in it.
pub fn of_texts(texts: &[Option<&str>], kind: &Kind) -> io::Result<ArrayRef> {
    if kind.is_json() {
        Ok(build::json_texts(texts))
    } else {
        build::of_texts(texts, &kind.data_type())
    }
}

/// Whether values of a column are large as a rule.
#[must_use]
pub fn is_heavy(field: &FieldRef) -> bool {
    match field.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_heavy(item)
        }
        DataType::Struct(fields) => fields.iter().any(is_heavy),
        _ => false,
    }
}

/// What rows have in a column: what is `found` in their inputs, at the place that `place_of` has for
/// each, or what they say otherwise.
///
/// # Errors
/// If a value has no place in the column.
pub fn with_new(
    column: &Carried,
    found: &ArrayRef,
    records: &[Record<'_>],
    place_of: &[Option<usize>],
) -> io::Result<ArrayRef> {
    let name = column.field.name();
    let data_type = column.field.data_type();
    let mut new_places = Vec::new();
    let mut texts = Vec::new();
    let mut images: Vec<&[RowImage<'_>]> = Vec::new();
    for (number, record) in records.iter().enumerate() {
        if column.is_image {
            if let Some(new) = &record.images {
                new_places.push(number);
                images.push(new);
            }
        } else if let Some((_, json)) = record.members.iter().find(|(known, _)| known == name) {
            new_places.push(number);
            texts.push(Some(*json));
        }
    }
    let in_order = place_of
        .iter()
        .enumerate()
        .all(|(number, place)| *place == Some(number));
    if new_places.is_empty() && in_order {
        return Ok(Arc::clone(found));
    }
    let all_found = place_of.iter().all(Option::is_some);
    if new_places.is_empty() && all_found {
        let places = place_of
            .iter()
            .flatten()
            .map(|place| u32::try_from(*place).unwrap_or(u32::MAX));
        let places: UInt32Array = places.collect();
        return take(found, &places, None).map_err(broken);
    }
    let new = if column.is_image {
        build::images_as(&images, data_type)?
    } else {
        build::of_texts(&texts, data_type)?
    };
    let none = new_null_array(data_type, 1);
    let mut from: Vec<(usize, usize)> = place_of
        .iter()
        .map(|place| place.map_or((2, 0), |place| (0, place)))
        .collect();
    for (place, number) in new_places.iter().enumerate() {
        if let Some(slot) = from.get_mut(*number) {
            *slot = (1, place);
        }
    }
    interleave(&[found, &new, &none], &from).map_err(broken)
}
