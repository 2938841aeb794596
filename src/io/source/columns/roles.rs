//! What the columns of a file are to a row: fields, images, or bytes that are handed on untouched.

use arrow_schema::{DataType, Field, Schema};
use serde_json::Value;

use super::super::Reading;
use super::view::has_json;

/// What a column is to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A field.
    Field,
    /// Images as Hugging Face's `Image` has them: their bytes, their paths, or both.
    Image,
    /// Bytes of the images that another field names, in its order.
    ImageBytes,
    /// One image's bytes.
    Content,
    /// Bytes that no operator sees.
    Carried,
    /// A column that nobody asked for.
    Left,
}

/// Names of columns that hold an image's bytes.
const CONTENTS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "gif"];

/// The role of each column of a file.
#[must_use]
pub fn roles(schema: &Schema, reading: &Reading) -> Vec<Role> {
    let marked = marked_as_images(schema);
    let wanted = |field: &Field| match &reading.spec.columns {
        Some(columns) => columns.iter().any(|column| column == field.name()),
        None => true,
    };
    let from = reading.spec.images_from.as_deref();
    let may = |field: &Field| from.is_none_or(|from| from == field.name());
    let fields: Vec<&Field> = schema.fields().iter().map(AsRef::as_ref).collect();
    let is_image = |field: &Field| {
        let named = matches!(field.name().as_str(), "image" | "images")
            || from == Some(field.name())
            || marked.iter().any(|name| name == field.name());
        named && may(field) && wanted(field) && holds_images(field.data_type())
    };
    let any_image = fields.iter().any(|field| is_image(field));
    let is_bytes = |field: &Field| {
        *field.name() == reading.image_bytes_key
            && may(field)
            && wanted(field)
            && matches!(item(field.data_type()), Some(item) if is_binary(item))
    };
    let any_bytes = !any_image && fields.iter().any(|field| is_bytes(field));
    let is_content = |field: &Field| {
        (CONTENTS.contains(&field.name().as_str()) || from == Some(field.name()))
            && may(field)
            && wanted(field)
            && is_binary(field.data_type())
    };
    let any_content = !any_image && !any_bytes && fields.iter().any(|field| is_content(field));
    // Images that come from elsewhere take the place of a field of paths.
    let replaced = any_image || any_content;
    let role = |field: &&Field| {
        if !wanted(field) {
            Role::Left
        } else if any_image && is_image(field) {
            Role::Image
        } else if any_bytes && is_bytes(field) {
            Role::ImageBytes
        } else if any_content && is_content(field) {
            Role::Content
        } else if replaced && *field.name() == reading.image_key {
            Role::Carried
        } else if has_json(field.data_type()) {
            Role::Field
        } else {
            Role::Carried
        }
    };
    fields.iter().map(role).collect()
}

/// Columns that Hugging Face's metadata calls images.
fn marked_as_images(schema: &Schema) -> Vec<String> {
    let Some(text) = schema.metadata().get("huggingface") else {
        return Vec::new();
    };
    let metadata: Value = serde_json::from_str(text).unwrap_or_default();
    let Some(features) = metadata
        .pointer("/info/features")
        .and_then(Value::as_object)
    else {
        return Vec::new();
    };
    let is_image = |feature: &Value| {
        let of = |feature: &Value| feature.get("_type").and_then(Value::as_str) == Some("Image");
        of(feature)
            || feature.get("feature").is_some_and(of)
            || feature
                .as_array()
                .and_then(|list| list.first())
                .is_some_and(of)
    };
    let marked = features.iter().filter(|(_, feature)| is_image(feature));
    marked.map(|(name, _)| name.clone()).collect()
}

/// Whether a type is a struct of bytes and a path, or a list of such.
fn holds_images(data_type: &DataType) -> bool {
    match item(data_type).unwrap_or(data_type) {
        DataType::Struct(fields) => {
            let has = |name: &str, of: fn(&DataType) -> bool| {
                fields
                    .iter()
                    .any(|field| field.name() == name && of(field.data_type()))
            };
            fields.len() == 2 && has("bytes", is_binary) && has("path", is_text)
        }
        _ => false,
    }
}

/// The type of a list's items.
#[must_use]
pub fn item(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item.data_type())
        }
        _ => None,
    }
}

/// Whether it is bytes of any length.
#[must_use]
pub fn is_binary(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    )
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null
    )
}

/// Whether columns of one name may stand one behind the other: alike, or as whole numbers, texts and
/// bytes of another width.
#[must_use]
pub fn agree(a: &DataType, b: &DataType) -> bool {
    if a == b || a.is_null() || b.is_null() {
        return true;
    }
    let plain = |data_type: &DataType| match data_type {
        DataType::Dictionary(_, value) => (**value).clone(),
        other => other.clone(),
    };
    let (a, b) = (&plain(a), &plain(b));
    if let (Some(a), Some(b)) = (item(a), item(b)) {
        return agree(a, b);
    }
    if let (DataType::Struct(a), DataType::Struct(b)) = (a, b) {
        let of = |name: &str| b.iter().find(|field| field.name() == name);
        return a.iter().all(|field| {
            of(field.name()).is_none_or(|other| agree(field.data_type(), other.data_type()))
        });
    }
    if let (DataType::Map(a, _), DataType::Map(b, _)) = (a, b) {
        return agree(a.data_type(), b.data_type());
    }
    a == b
        || a.is_signed_integer() && b.is_signed_integer()
        || a.is_unsigned_integer() && b.is_unsigned_integer()
        || is_text(a) && is_text(b)
        || is_binary(a) && is_binary(b)
}
