//! What operators see of a cell: Arrow values as JSON, each type as its own text.
//!
//! Whole numbers of 64 bits, decimals and floats of every width keep all their digits; bytes have
//! no place in JSON and are left out.

use std::fmt::Write as _;
use std::io::Write as _;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowDictionaryKeyType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::sample::push_string;
use crate::text::write_python_float;

/// Whether values of a type have a place in JSON, as a whole or in part.
#[must_use]
pub fn has_json(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Interval(_)
        | DataType::Union(..) => false,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => has_json(item.data_type()),
        DataType::Struct(fields) => {
            fields.is_empty() || fields.iter().any(|field| has_json(field.data_type()))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields.iter().all(|field| has_json(field.data_type())),
            _ => false,
        },
        DataType::Dictionary(_, value) => has_json(value),
        DataType::RunEndEncoded(_, value) => has_json(value.data_type()),
        _ => true,
    }
}

/// Appends the value in row `row` of `array` as JSON.
pub fn write_value(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if array.is_null(row) {
        return out.extend_from_slice(b"null");
    }
    macro_rules! whole {
        ($type:ty) => {{
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{}", array.as_primitive::<$type>().value(row));
        }};
    }
    macro_rules! text {
        ($($to_text:tt)*) => {{
            let text: Option<String> = $($to_text)*;
            match text {
                Some(text) => push_string(&text, out),
                None => out.extend_from_slice(b"null"),
            }
        }};
    }
    match array.data_type() {
        DataType::Boolean => {
            let value = array.as_boolean().value(row);
            out.extend_from_slice(if value { b"true" } else { b"false" });
        }
        DataType::Utf8 => push_string(array.as_string::<i32>().value(row), out),
        DataType::LargeUtf8 => push_string(array.as_string::<i64>().value(row), out),
        DataType::Utf8View => push_string(array.as_string_view().value(row), out),
        DataType::Int8 => whole!(Int8Type),
        DataType::Int16 => whole!(Int16Type),
        DataType::Int32 => whole!(Int32Type),
        DataType::Int64 => whole!(Int64Type),
        DataType::UInt8 => whole!(UInt8Type),
        DataType::UInt16 => whole!(UInt16Type),
        DataType::UInt32 => whole!(UInt32Type),
        DataType::UInt64 => whole!(UInt64Type),
        DataType::Float16 => {
            let value = array.as_primitive::<Float16Type>().value(row);
            write_float(half_as_written(value), out);
        }
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            // The shortest digits that mean this value among those of its type.
            write_float(value.to_string().parse().unwrap_or(f64::from(value)), out);
        }
        DataType::Float64 => write_float(array.as_primitive::<Float64Type>().value(row), out),
        DataType::Decimal32(..) => {
            out.extend(
                array
                    .as_primitive::<Decimal32Type>()
                    .value_as_string(row)
                    .bytes(),
            );
        }
        DataType::Decimal64(..) => {
            out.extend(
                array
                    .as_primitive::<Decimal64Type>()
                    .value_as_string(row)
                    .bytes(),
            );
        }
        DataType::Decimal128(..) => {
            out.extend(
                array
                    .as_primitive::<Decimal128Type>()
                    .value_as_string(row)
                    .bytes(),
            );
        }
        DataType::Decimal256(..) => {
            out.extend(
                array
                    .as_primitive::<Decimal256Type>()
                    .value_as_string(row)
                    .bytes(),
            );
        }
        DataType::Date32 => {
            text!(date(i64::from(
                array.as_primitive::<Date32Type>().value(row)
            )));
        }
        DataType::Date64 => {
            text!(date(
                array
                    .as_primitive::<Date64Type>()
                    .value(row)
                    .div_euclid(86_400_000),
            ));
        }
        DataType::Time32(TimeUnit::Second) => {
            text!(time(
                i64::from(array.as_primitive::<Time32SecondType>().value(row)),
                0
            ));
        }
        DataType::Time32(_) => {
            text!(time(
                i64::from(array.as_primitive::<Time32MillisecondType>().value(row)),
                3
            ));
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            text!(time(
                array.as_primitive::<Time64NanosecondType>().value(row),
                9
            ));
        }
        DataType::Time64(_) => {
            text!(time(
                array.as_primitive::<Time64MicrosecondType>().value(row),
                6
            ));
        }
        DataType::Timestamp(unit, zone) => {
            let (value, digits) = match unit {
                TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().value(row), 0),
                TimeUnit::Millisecond => (
                    array.as_primitive::<TimestampMillisecondType>().value(row),
                    3,
                ),
                TimeUnit::Microsecond => (
                    array.as_primitive::<TimestampMicrosecondType>().value(row),
                    6,
                ),
                TimeUnit::Nanosecond => (
                    array.as_primitive::<TimestampNanosecondType>().value(row),
                    9,
                ),
            };
            match timestamp(value, digits, zone.as_deref()) {
                Some(text) => push_string(&text, out),
                // Beyond the years that have names: the number itself.
                None => {
                    let _ = write!(out, "{value}");
                }
            }
        }
        DataType::Duration(unit) => match unit {
            TimeUnit::Second => whole!(DurationSecondType),
            TimeUnit::Millisecond => whole!(DurationMillisecondType),
            TimeUnit::Microsecond => whole!(DurationMicrosecondType),
            TimeUnit::Nanosecond => whole!(DurationNanosecondType),
        },
        DataType::List(_) => write_list(&array.as_list::<i32>().value(row), out),
        DataType::LargeList(_) => write_list(&array.as_list::<i64>().value(row), out),
        DataType::FixedSizeList(..) => write_list(&array.as_fixed_size_list().value(row), out),
        DataType::ListView(_) => write_list(&array.as_list_view::<i32>().value(row), out),
        DataType::LargeListView(_) => write_list(&array.as_list_view::<i64>().value(row), out),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            out.push(b'{');
            let mut first = true;
            for (field, column) in fields.iter().zip(columns) {
                if has_json(field.data_type()) {
                    name(field.name(), &mut first, out);
                    write_value(column, row, out);
                }
            }
            out.push(b'}');
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            out.push(b'{');
            let mut first = true;
            let mut key = Vec::new();
            for entry in 0..entries.len() {
                key.clear();
                write_value(keys, entry, &mut key);
                if key.first() == Some(&b'"') {
                    if !std::mem::take(&mut first) {
                        out.extend_from_slice(b", ");
                    }
                    out.extend_from_slice(&key);
                    out.extend_from_slice(b": ");
                } else {
                    name(&String::from_utf8_lossy(&key), &mut first, out);
                }
                write_value(values, entry, out);
            }
            out.push(b'}');
        }
        DataType::Dictionary(key, _) => match **key {
            DataType::Int8 => write_of_dictionary::<Int8Type>(array, row, out),
            DataType::Int16 => write_of_dictionary::<Int16Type>(array, row, out),
            DataType::Int32 => write_of_dictionary::<Int32Type>(array, row, out),
            DataType::Int64 => write_of_dictionary::<Int64Type>(array, row, out),
            DataType::UInt8 => write_of_dictionary::<UInt8Type>(array, row, out),
            DataType::UInt16 => write_of_dictionary::<UInt16Type>(array, row, out),
            DataType::UInt32 => write_of_dictionary::<UInt32Type>(array, row, out),
            _ => write_of_dictionary::<UInt64Type>(array, row, out),
        },
        DataType::RunEndEncoded(ends, _) => match ends.data_type() {
            DataType::Int16 => write_of_run::<Int16Type>(array, row, out),
            DataType::Int32 => write_of_run::<Int32Type>(array, row, out),
            _ => write_of_run::<Int64Type>(array, row, out),
        },
        _ => out.extend_from_slice(b"null"),
    }
}

fn write_of_dictionary<K: ArrowDictionaryKeyType>(
    array: &dyn Array,
    row: usize,
    out: &mut Vec<u8>,
) {
    let dictionary = array.as_dictionary::<K>();
    match dictionary.key(row) {
        Some(key) => write_value(dictionary.values(), key, out),
        None => out.extend_from_slice(b"null"),
    }
}

fn write_of_run<R: arrow_array::types::RunEndIndexType>(
    array: &dyn Array,
    row: usize,
    out: &mut Vec<u8>,
) {
    let run = array.as_run::<R>();
    write_value(run.values(), run.get_physical_index(row), out);
}

fn write_list(items: &ArrayRef, out: &mut Vec<u8>) {
    out.push(b'[');
    for item in 0..items.len() {
        if item > 0 {
            out.extend_from_slice(b", ");
        }
        write_value(items, item, out);
    }
    out.push(b']');
}

/// Appends the name of a member, behind what separates it from the one before.
pub fn name(name: &str, first: &mut bool, out: &mut Vec<u8>) {
    if !std::mem::take(first) {
        out.extend_from_slice(b", ");
    }
    push_string(name, out);
    out.extend_from_slice(b": ");
}

/// Appends a float as Python writes it.
pub fn write_float(value: f64, out: &mut Vec<u8>) {
    let word: &[u8] = if value.is_nan() {
        b"NaN"
    } else if value == f64::INFINITY {
        b"Infinity"
    } else if value == f64::NEG_INFINITY {
        b"-Infinity"
    } else {
        // Writing to a Vec cannot fail.
        let _ = write_python_float(value, out);
        return;
    };
    out.extend_from_slice(word);
}

/// The number of the fewest digits that means `value` among those of its type.
fn half_as_written(value: half::f16) -> f64 {
    let exact = f64::from(value);
    if !exact.is_finite() {
        return exact;
    }
    let candidates = (0..6).filter_map(|digits| format!("{exact:.digits$e}").parse().ok());
    let same = |written: &f64| half::f16::from_f64(*written) == value;
    candidates.into_iter().find(same).unwrap_or(exact)
}

fn date(days: i64) -> Option<String> {
    let epoch = Date::constant(1970, 1, 1);
    let days = jiff::Span::new().try_days(days).ok()?;
    Some(epoch.checked_add(days).ok()?.to_string())
}

/// A time of day, counted in units of `digits` digits behind the point.
fn time(value: i64, digits: u32) -> Option<String> {
    let unit = 10_i64.pow(digits);
    let seconds = value.div_euclid(unit);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if !(0..24).contains(&hour) {
        return None;
    }
    let mut text = format!("{hour:02}:{minute:02}:{second:02}");
    fraction(value.rem_euclid(unit), digits, &mut text);
    Some(text)
}

fn fraction(part: i64, digits: u32, text: &mut String) {
    // Of microseconds as Python writes them: six digits or none.
    let (part, digits) = if digits == 3 {
        (part * 1000, 6)
    } else {
        (part, digits)
    };
    if part != 0 {
        let _ = write!(text, ".{part:0width$}", width = digits as usize);
    }
}

/// A point in time, counted in units of `digits` digits behind the point; with its offset if it
/// has a zone.
fn timestamp(value: i64, digits: u32, zone: Option<&str>) -> Option<String> {
    let unit = 10_i64.pow(digits);
    let seconds = value.div_euclid(unit);
    let at = Timestamp::from_second(seconds).ok()?;
    let (local, offset): (DateTime, Option<i32>) = match zone {
        None => (TimeZone::UTC.to_datetime(at), None),
        Some(zone) => {
            let zone = self::zone(zone)?;
            let offset = zone.to_offset(at);
            (offset.to_datetime(at), Some(offset.seconds()))
        }
    };
    let mut text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        local.year(),
        local.month(),
        local.day(),
        local.hour(),
        local.minute(),
        local.second()
    );
    fraction(value.rem_euclid(unit), digits, &mut text);
    if let Some(offset) = offset {
        let minutes = offset.abs() / 60;
        let sign = if offset < 0 { '-' } else { '+' };
        let _ = write!(text, "{sign}{:02}:{:02}", minutes / 60, minutes % 60);
    }
    Some(text)
}

/// The zone of a column: the name of one, or an offset such as `+05:30`.
fn zone(name: &str) -> Option<TimeZone> {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    if name.starts_with(['+', '-']) && digits.len() == 4 {
        let minutes: i32 = digits.parse().ok()?;
        let seconds = (minutes / 100 * 60 + minutes % 100) * 60;
        let seconds = if name.starts_with('-') {
            -seconds
        } else {
            seconds
        };
        return Some(TimeZone::fixed(
            jiff::tz::Offset::from_seconds(seconds).ok()?,
        ));
    }
    if name.eq_ignore_ascii_case("utc") {
        return Some(TimeZone::UTC);
    }
    TimeZone::get(name).ok()
}
