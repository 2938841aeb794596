//! Arrays of JSON values, of the types that JSON has values for.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use arrow_array::builder::{GenericByteDictionaryBuilder, StringBuilder};
use arrow_array::types::{
    ArrowDictionaryKeyType, Float16Type, Float32Type, Float64Type, GenericStringType, Int8Type,
    Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, GenericListArray, GenericStringArray,
    LargeBinaryArray, ListArray, NullArray, OffsetSizeTrait, PrimitiveArray, StringArray,
    StringViewArray, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, FieldRef};
use serde_json::Value;

use super::kind::image_type;
use super::record::RowImage;
use crate::io::source::columns::{broken, bytes_at, view};
use crate::sample::{float_of, read_json};

/// Whether a value has a place in a column.
#[must_use]
pub fn fits(value: &Value, field: &Field) -> bool {
    if value.is_null() {
        return field.is_nullable();
    }
    has_place(value, field.data_type())
}

fn has_place(value: &Value, data_type: &DataType) -> bool {
    let whole = |low: i64, high: i64| value.as_i64().is_some_and(|n| (low..=high).contains(&n));
    let natural = |high: u64| value.as_u64().is_some_and(|n| n <= high);
    match data_type {
        DataType::Boolean => value.is_boolean(),
        DataType::Int8 => whole(i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => whole(i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => whole(i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => whole(i64::MIN, i64::MAX),
        DataType::UInt8 => natural(u8::MAX.into()),
        DataType::UInt16 => natural(u16::MAX.into()),
        DataType::UInt32 => natural(u32::MAX.into()),
        DataType::UInt64 => natural(u64::MAX),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => float_of(value).is_some(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => value.is_string(),
        DataType::Dictionary(_, item) => {
            matches!(**item, DataType::Utf8 | DataType::LargeUtf8) && value.is_string()
        }
        DataType::List(item) | DataType::LargeList(item) => value
            .as_array()
            .is_some_and(|items| items.iter().all(|value| fits(value, item))),
        DataType::Struct(fields) => value.as_object().is_some_and(|members| {
            float_of(value).is_none()
                && members
                    .keys()
                    .all(|name| fields.iter().any(|field| field.name() == name))
                && fields
                    .iter()
                    .all(|field| fits(members.get(field.name()).unwrap_or(&Value::Null), field))
        }),
        _ => false,
    }
}

/// The values as an array of a type that they all fit; what is not there is null.
///
/// # Errors
/// If a dictionary has too many entries for its keys.
pub fn array(values: &[Option<&Value>], data_type: &DataType) -> io::Result<ArrayRef> {
    macro_rules! numbers {
        ($type:ty, $of:expr) => {
            Arc::new(PrimitiveArray::<$type>::from_iter(
                values.iter().map(|value| value.and_then($of)),
            ))
        };
    }
    macro_rules! whole {
        ($type:ty) => {
            numbers!($type, |value: &Value| value.as_i64()?.try_into().ok())
        };
    }
    macro_rules! natural {
        ($type:ty) => {
            numbers!($type, |value: &Value| value.as_u64()?.try_into().ok())
        };
    }
    let texts = || values.iter().map(|value| value.and_then(Value::as_str));
    Ok(match data_type {
        DataType::Null => Arc::new(NullArray::new(values.len())),
        DataType::Boolean => {
            let all = values.iter().map(|value| value.and_then(Value::as_bool));
            Arc::new(all.collect::<BooleanArray>())
        }
        DataType::Int8 => whole!(Int8Type),
        DataType::Int16 => whole!(Int16Type),
        DataType::Int32 => whole!(Int32Type),
        DataType::Int64 => whole!(Int64Type),
        DataType::UInt8 => natural!(UInt8Type),
        DataType::UInt16 => natural!(UInt16Type),
        DataType::UInt32 => natural!(UInt32Type),
        DataType::UInt64 => natural!(UInt64Type),
        DataType::Float16 => {
            numbers!(Float16Type, |value| float_of(value)
                .map(half::f16::from_f64))
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the nearest value of the column's type is meant"
        )]
        DataType::Float32 => numbers!(Float32Type, |value| float_of(value).map(|n| n as f32)),
        DataType::Float64 => numbers!(Float64Type, float_of),
        DataType::Utf8 => Arc::new(texts().collect::<StringArray>()),
        DataType::LargeUtf8 => Arc::new(texts().collect::<GenericStringArray<i64>>()),
        DataType::Utf8View => Arc::new(texts().collect::<StringViewArray>()),
        DataType::Dictionary(key, item) => {
            let large = **item == DataType::LargeUtf8;
            let texts: Vec<Option<&str>> = texts().collect();
            macro_rules! of {
                ($key:ty) => {
                    if large {
                        dictionary::<$key, i64>(&texts)?
                    } else {
                        dictionary::<$key, i32>(&texts)?
                    }
                };
            }
            match **key {
                DataType::Int8 => of!(Int8Type),
                DataType::Int16 => of!(Int16Type),
                DataType::Int32 => of!(Int32Type),
                DataType::Int64 => of!(Int64Type),
                DataType::UInt8 => of!(UInt8Type),
                DataType::UInt16 => of!(UInt16Type),
                DataType::UInt32 => of!(UInt32Type),
                _ => of!(UInt64Type),
            }
        }
        DataType::List(item) => list::<i32>(values, item)?,
        DataType::LargeList(item) => list::<i64>(values, item)?,
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|field| {
                let members = values
                    .iter()
                    .map(|value| value.and_then(|it| it.get(field.name())));
                let members: Vec<Option<&Value>> = members.collect();
                array(&present(&members), field.data_type())
            });
            let columns = columns.collect::<io::Result<Vec<_>>>()?;
            let nulls = nulls(values, Value::is_object);
            let built = StructArray::try_new(fields.clone(), columns, nulls);
            Arc::new(built.map_err(broken)?)
        }
        other => {
            let why = format!("no JSON value is a {other}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
    })
}

/// JSON null is what is not there.
fn present<'v>(values: &[Option<&'v Value>]) -> Vec<Option<&'v Value>> {
    let all = values.iter().copied();
    all.map(|value| value.filter(|it| !it.is_null())).collect()
}

fn nulls(values: &[Option<&Value>], is: impl Fn(&Value) -> bool) -> Option<NullBuffer> {
    let there: Vec<bool> = values.iter().map(|value| value.is_some_and(&is)).collect();
    (!there.iter().all(|there| *there)).then(|| NullBuffer::from(there))
}

fn dictionary<K: ArrowDictionaryKeyType, O: OffsetSizeTrait>(
    texts: &[Option<&str>],
) -> io::Result<ArrayRef> {
    let mut builder = GenericByteDictionaryBuilder::<K, GenericStringType<O>>::new();
    for text in texts {
        match text {
            Some(text) => builder.append(text).map(drop).map_err(broken)?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn list<O: OffsetSizeTrait>(values: &[Option<&Value>], item: &FieldRef) -> io::Result<ArrayRef> {
    let lengths = values.iter().map(|value| {
        let items = value.and_then(Value::as_array);
        items.map_or(0, Vec::len)
    });
    let offsets = OffsetBuffer::<O>::from_lengths(lengths);
    let items = values
        .iter()
        .filter_map(|value| value.and_then(Value::as_array));
    let items: Vec<Option<&Value>> = items.flatten().map(Some).collect();
    let items = array(&present(&items), item.data_type())?;
    let nulls = nulls(values, Value::is_array);
    let built = GenericListArray::<O>::try_new(Arc::clone(item), offsets, items, nulls);
    Ok(Arc::new(built.map_err(broken)?))
}

/// Values as JSON texts in an array of a type that they all fit; `None` and null are null.
///
/// # Errors
/// If one is no JSON, or as [`array()`].
pub fn of_texts(texts: &[Option<&str>], data_type: &DataType) -> io::Result<ArrayRef> {
    if *data_type == DataType::Utf8 {
        let bytes = texts.iter().flatten().map(|text| text.len()).sum();
        let mut builder = StringBuilder::with_capacity(texts.len(), bytes);
        for text in texts {
            match text.filter(|it| *it != "null") {
                None => builder.append_null(),
                Some(text) => builder.append_value(unquoted(text)?),
            }
        }
        return Ok(Arc::new(builder.finish()));
    }
    let read = |text: Option<&str>| match text {
        Some(text) => read_json(text)
            .map(|value| Some(value).filter(|it| !it.is_null()))
            .map_err(io::Error::from),
        None => Ok(None),
    };
    let values = texts
        .iter()
        .copied()
        .map(read)
        .collect::<io::Result<Vec<_>>>()?;
    let values: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
    array(&values, data_type)
}

/// What a JSON string says.
fn unquoted(text: &str) -> io::Result<Cow<'_, str>> {
    let inner = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    match inner.filter(|inner| memchr::memchr(b'\\', inner.as_bytes()).is_none()) {
        Some(inner) => Ok(Cow::Borrowed(inner)),
        None => Ok(Cow::Owned(serde_json::from_str(text)?)),
    }
}

/// Values as JSON texts in an array of these texts.
#[must_use]
pub fn json_texts(texts: &[Option<&str>]) -> ArrayRef {
    let there = texts.iter().map(|text| text.filter(|it| *it != "null"));
    Arc::new(there.collect::<StringArray>())
}

/// Lists of images; `None` is null.
///
/// # Errors
/// Never for images of bounded size.
pub fn images(rows: &[Option<&[RowImage<'_>]>]) -> io::Result<ArrayRef> {
    let lengths = rows.iter().map(|row| row.map_or(0, <[_]>::len));
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    let items: Vec<RowImage<'_>> = rows.iter().flatten().copied().flatten().copied().collect();
    let items = Arc::new(image_structs(&items)?);
    let there: Vec<bool> = rows.iter().map(Option::is_some).collect();
    let nulls = (!there.iter().all(|it| *it)).then(|| NullBuffer::from(there));
    let field = Arc::new(Field::new("element", image_type(), true));
    let built = ListArray::try_new(field, offsets, items, nulls);
    Ok(Arc::new(built.map_err(broken)?))
}

fn image_structs(items: &[RowImage<'_>]) -> io::Result<StructArray> {
    let content = items.iter().map(|(_, content)| *content);
    let content: ArrayRef = Arc::new(content.collect::<BinaryArray>());
    let path: ArrayRef = Arc::new(StringArray::from_iter_values(
        items.iter().map(|(path, _)| *path),
    ));
    let DataType::Struct(fields) = image_type() else {
        return Err(io::Error::other("an image is a struct"));
    };
    StructArray::try_new(fields, vec![content, path], None).map_err(broken)
}

/// The images of rows as a column of a type that an input has: a struct, a list of structs, bytes.
/// Of a row that has none it is null, or an empty list.
///
/// # Errors
/// If the type holds no images.
pub fn images_as(rows: &[&[RowImage<'_>]], data_type: &DataType) -> io::Result<ArrayRef> {
    match data_type {
        DataType::List(item) => {
            let offsets = OffsetBuffer::<i32>::from_lengths(rows.iter().map(|row| row.len()));
            let all: Vec<Option<RowImage<'_>>> = rows
                .iter()
                .flat_map(|row| row.iter().copied().map(Some))
                .collect();
            let items = image_cells(&all, item.data_type())?;
            let built = ListArray::try_new(Arc::clone(item), offsets, items, None);
            Ok(Arc::new(built.map_err(broken)?))
        }
        other => {
            let cells: Vec<Option<RowImage<'_>>> =
                rows.iter().map(|row| row.first().copied()).collect();
            image_cells(&cells, other)
        }
    }
}

fn image_cells(cells: &[Option<RowImage<'_>>], data_type: &DataType) -> io::Result<ArrayRef> {
    let contents = || {
        cells
            .iter()
            .map(|cell| cell.and_then(|(_, content)| content))
    };
    let paths = || cells.iter().map(|cell| cell.map(|(path, _)| path));
    Ok(match data_type {
        DataType::Binary => Arc::new(contents().collect::<BinaryArray>()),
        DataType::LargeBinary => Arc::new(contents().collect::<LargeBinaryArray>()),
        DataType::Utf8 => Arc::new(paths().collect::<StringArray>()),
        DataType::LargeUtf8 => Arc::new(paths().collect::<GenericStringArray<i64>>()),
        DataType::Null => Arc::new(NullArray::new(cells.len())),
        DataType::Struct(fields) => {
            let of = |field: &FieldRef| image_cells(cells, field.data_type());
            let columns = fields.iter().map(of).collect::<io::Result<Vec<_>>>()?;
            let there: Vec<bool> = cells.iter().map(Option::is_some).collect();
            let nulls = (!there.iter().all(|it| *it)).then(|| NullBuffer::from(there));
            let built = StructArray::try_new(fields.clone(), columns, nulls);
            Arc::new(built.map_err(broken)?)
        }
        other => {
            let why = format!("a {other} holds no image");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
    })
}

/// Whether [`images_as`] can make such a column.
#[must_use]
pub fn holds_images(data_type: &DataType) -> bool {
    images_as(&[], data_type).is_ok()
}

/// The array as another type that its values fit ([`crate::io::source::columns::roles::agree`]).
///
/// # Errors
/// If they do not.
pub fn cast(values: &ArrayRef, to: &DataType) -> io::Result<ArrayRef> {
    if values.data_type() == to {
        return Ok(Arc::clone(values));
    }
    let bytes = || (0..values.len()).map(|row| bytes_at(values, row));
    match to {
        DataType::Binary => return Ok(Arc::new(bytes().collect::<BinaryArray>())),
        DataType::LargeBinary => return Ok(Arc::new(bytes().collect::<LargeBinaryArray>())),
        _ => {}
    }
    let mut text = Vec::new();
    let ends = (0..values.len()).map(|row| {
        view::write_value(values, row, &mut text);
        text.len()
    });
    let ends: Vec<usize> = ends.collect();
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let texts = starts.zip(&ends).map(|(start, end)| text.get(start..*end));
    of_texts(&texts.collect::<Vec<_>>(), to)
}

/// Whether [`cast`] can make such a column of all values that agree with it.
#[must_use]
pub fn can_be_cast_to(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) => {
            !is_bytes(item.data_type()) && can_be_cast_to(item.data_type())
        }
        DataType::Struct(fields) => fields
            .iter()
            .all(|field| !is_bytes(field.data_type()) && can_be_cast_to(field.data_type())),
        DataType::Dictionary(_, item) => matches!(**item, DataType::Utf8 | DataType::LargeUtf8),
        DataType::Null
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::Boolean
        | DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View => true,
        other => other.is_integer(),
    }
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary)
}

#[cfg(test)]
mod tests {
    use arrow_schema::Fields;

    use super::*;

    fn back(values: &ArrayRef) -> Vec<String> {
        let text = |row| {
            let mut out = Vec::new();
            view::write_value(values, row, &mut out);
            String::from_utf8(out).unwrap()
        };
        (0..values.len()).map(text).collect()
    }

    #[test]
    fn values_come_back_from_arrays() {
        let element = |item| Arc::new(Field::new("element", item, true));
        let members = DataType::Struct(Fields::from(vec![
            Field::new("a", DataType::Int8, true),
            Field::new("b", DataType::List(element(DataType::Utf8)), true),
        ]));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        for (data_type, texts) in [
            (DataType::Boolean, &["true", "null", "false"][..]),
            (DataType::Int16, &["-32768", "7"]),
            (DataType::UInt64, &["18446744073709551615", "null"]),
            (DataType::Float32, &["0.3", "NaN", "-Infinity"]),
            (DataType::Float16, &["0.1"]),
            (DataType::Utf8View, &["\"a\\n\"", "null"]),
            (dictionary, &["\"a\"", "\"b\"", "\"a\"", "null"]),
            (
                DataType::LargeList(element(DataType::Float64)),
                &["[1.0, null]", "null", "[]"],
            ),
            (members, &[r#"{"a": 1, "b": ["x"]}"#, "null"]),
        ] {
            let field = Field::new("x", data_type.clone(), true);
            for text in texts {
                assert!(
                    fits(&read_json(text).unwrap(), &field),
                    "{text} {data_type}"
                );
            }
            let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(*text)).collect();
            let array = of_texts(&texts, &data_type).unwrap();
            assert_eq!(array.data_type(), &data_type);
            let texts: Vec<&str> = texts.into_iter().flatten().collect();
            assert_eq!(back(&array), texts);
            assert_eq!(back(&cast(&array, &data_type).unwrap()), texts);
        }
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let inner = DataType::Struct(Fields::from(vec![Field::new("a", DataType::Int8, false)]));
        for (data_type, text) in [
            (DataType::Int8, "128"),
            (DataType::Int8, "1.0"),
            (DataType::UInt8, "-1"),
            (DataType::Utf8, "1"),
            (DataType::Date32, "\"2024-01-01\""),
            (DataType::Binary, "\"a\""),
            (inner.clone(), r#"{"a": null}"#),
            (inner.clone(), r#"{"b": 1}"#),
            (inner, "NaN"),
        ] {
            let field = Field::new("x", data_type, true);
            assert!(!fits(&read_json(text).unwrap(), &field), "{text} {field:?}");
        }
        assert!(!fits(&Value::Null, &Field::new("x", DataType::Int8, false)));
    }
}
