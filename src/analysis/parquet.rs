//! `stats.parquet`: the rows of `stats.jsonl` in columns, for `DuckDB`, pandas and the like.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;
use serde_json::Value;

use super::stat::Shape;
use crate::io::PendingFile;
use crate::record::StatsRow;
use crate::record::stats::InputRef;

/// Rows of a row group: what is in memory at a time.
const GROUP_ROWS: usize = 1 << 14;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Int,
    Float,
    Ints,
    Floats,
}

impl Kind {
    fn of(shape: Shape) -> Self {
        match (shape.others, shape.lists, shape.floats) {
            (true, ..) => Self::Text,
            (_, true, true) => Self::Floats,
            (_, true, false) => Self::Ints,
            (_, false, true) => Self::Float,
            (_, false, false) => Self::Int,
        }
    }
}

/// The columns that say where a row is.
const PLACE: [(&str, Kind); 4] = [
    ("file", Kind::Text),
    ("line", Kind::Int),
    ("offset", Kind::Int),
    ("id", Kind::Text),
];

/// The column that holds the stats: a struct, so that a stat may have the name of a place.
const STATS: &str = "stats";

/// Turns the lines of `stats.jsonl` into a Parquet file whose column `stats` has a field for each
/// stat of `shapes`.
///
/// # Errors
/// If a file cannot be read or written.
pub fn write(jsonl: &Path, target: &Path, shapes: &[(String, Shape)]) -> io::Result<()> {
    let stats: Vec<(String, Kind)> = shapes
        .iter()
        .map(|(name, shape)| (name.clone(), Kind::of(*shape)))
        .collect();
    let file = PendingFile::create(target)?;
    let file = write_columns(jsonl, file, &stats).map_err(io::Error::other)?;
    file.commit().map(drop)
}

/// Where the row is, in the order of [`PLACE`].
fn place(row: &StatsRow<'_>) -> [Option<Value>; 4] {
    let file = match &row.file {
        InputRef::Index(index) => Value::from(*index),
        InputRef::Name(name) => Value::from(name.as_ref()),
    };
    let id = row.id.as_deref().filter(|id| !id.is_null());
    [
        Some(file),
        Some(row.line.into()),
        Some(row.offset.into()),
        id.cloned(),
    ]
}

fn schema(stats: &[(String, Kind)]) -> Result<Type, ParquetError> {
    let mut fields = Vec::new();
    for (name, kind) in PLACE {
        fields.push(Arc::new(field(name, kind)?));
    }
    // A struct without fields is none.
    if !stats.is_empty() {
        let stats = stats
            .iter()
            .map(|(name, kind)| field(name, *kind).map(Arc::new))
            .collect::<Result<_, _>>()?;
        // Every row has it, so that it adds no level to those of its fields.
        let group = Type::group_type_builder(STATS)
            .with_repetition(Repetition::REQUIRED)
            .with_fields(stats);
        fields.push(Arc::new(group.build()?));
    }
    Type::group_type_builder("rows").with_fields(fields).build()
}

fn write_columns(
    jsonl: &Path,
    file: PendingFile,
    stats: &[(String, Kind)],
) -> Result<PendingFile, ParquetError> {
    let schema = schema(stats)?;
    let kinds: Vec<Kind> = PLACE.iter().map(|(_, kind)| *kind).collect();
    let kinds = [kinds, stats.iter().map(|(_, kind)| *kind).collect()].concat();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(concat!("djr ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?;
    let mut lines = BufReader::with_capacity(1 << 18, std::fs::File::open(jsonl)?);
    let mut line = String::new();
    loop {
        let mut columns: Vec<Vec<Option<Value>>> = kinds.iter().map(|_| Vec::new()).collect();
        let mut count = 0;
        while count < GROUP_ROWS {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                break;
            }
            let mut row: StatsRow<'_> =
                serde_json::from_str(&line).map_err(|e| ParquetError::External(Box::new(e)))?;
            let found = stats.iter().map(|(name, _)| {
                let value = row.stats.swap_remove(name);
                value.filter(|value| !value.is_null())
            });
            let found: Vec<Option<Value>> = found.collect();
            for (value, column) in place(&row).into_iter().chain(found).zip(&mut columns) {
                column.push(value);
            }
            count += 1;
        }
        if count == 0 {
            break;
        }
        let mut group = writer.next_row_group()?;
        for (kind, column) in kinds.iter().zip(&columns) {
            let Some(mut writer) = group.next_column()? else {
                break;
            };
            write_column(&mut writer, *kind, column)?;
            writer.close()?;
        }
        group.close()?;
    }
    writer.into_inner()
}

fn field(name: &str, kind: Kind) -> Result<Type, ParquetError> {
    let physical = match kind {
        Kind::Text => PhysicalType::BYTE_ARRAY,
        Kind::Int | Kind::Ints => PhysicalType::INT64,
        Kind::Float | Kind::Floats => PhysicalType::DOUBLE,
    };
    let primitive = |name: &str| {
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type((kind == Kind::Text).then_some(LogicalType::String))
            .build()
    };
    if !matches!(kind, Kind::Ints | Kind::Floats) {
        return primitive(name);
    }
    let list = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![Arc::new(primitive("element")?)])
        .build()?;
    Type::group_type_builder(name)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(Some(LogicalType::List))
        .with_fields(vec![Arc::new(list)])
        .build()
}

fn write_column(
    writer: &mut SerializedColumnWriter<'_>,
    kind: Kind,
    column: &[Option<Value>],
) -> Result<(), ParquetError> {
    match kind {
        Kind::Text => {
            let (levels, values) = flat(column, |value| {
                Some(match value {
                    Value::String(text) => ByteArray::from(text.as_str()),
                    other => ByteArray::from(other.to_string().into_bytes()),
                })
            });
            writer
                .typed::<ByteArrayType>()
                .write_batch(&values, Some(&levels), None)?;
        }
        Kind::Int => {
            let (levels, values) = flat(column, Value::as_i64);
            writer
                .typed::<Int64Type>()
                .write_batch(&values, Some(&levels), None)?;
        }
        Kind::Float => {
            let (levels, values) = flat(column, Value::as_f64);
            writer
                .typed::<DoubleType>()
                .write_batch(&values, Some(&levels), None)?;
        }
        Kind::Ints => {
            let lists = Lists::of(column, Value::as_i64);
            writer.typed::<Int64Type>().write_batch(
                &lists.values,
                Some(&lists.definitions),
                Some(&lists.repetitions),
            )?;
        }
        Kind::Floats => {
            let lists = Lists::of(column, Value::as_f64);
            writer.typed::<DoubleType>().write_batch(
                &lists.values,
                Some(&lists.definitions),
                Some(&lists.repetitions),
            )?;
        }
    }
    Ok(())
}

/// Definition levels and the values that are there.
fn flat<T>(column: &[Option<Value>], read: impl Fn(&Value) -> Option<T>) -> (Vec<i16>, Vec<T>) {
    let mut levels = Vec::with_capacity(column.len());
    let mut values = Vec::with_capacity(column.len());
    for value in column {
        let value = value.as_ref().and_then(&read);
        levels.push(i16::from(value.is_some()));
        values.extend(value);
    }
    (levels, values)
}

/// Lists in Parquet's way: a level for each item says how much of it is there, another whether
/// it begins a row.
struct Lists<T> {
    values: Vec<T>,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl<T> Lists<T> {
    fn of(column: &[Option<Value>], read: impl Fn(&Value) -> Option<T>) -> Self {
        let mut out = Self {
            values: Vec::new(),
            definitions: Vec::new(),
            repetitions: Vec::new(),
        };
        for value in column {
            let items = match value {
                None => {
                    out.push(0, 0, None);
                    continue;
                }
                Some(Value::Array(items)) => items.as_slice(),
                // A number among lists is a list of one.
                Some(one) => std::slice::from_ref(one),
            };
            if items.is_empty() {
                out.push(1, 0, None);
            }
            for (index, item) in items.iter().enumerate() {
                let item = read(item);
                let definition = if item.is_some() { 3 } else { 2 };
                out.push(definition, i16::from(index > 0), item);
            }
        }
        out
    }

    fn push(&mut self, definition: i16, repetition: i16, value: Option<T>) {
        self.definitions.push(definition);
        self.repetitions.push(repetition);
        self.values.extend(value);
    }
}
