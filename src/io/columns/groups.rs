//! Row groups of a Parquet file, each packed by itself, so that a file can be gone on with behind
//! any of them; and the footer that makes a file of them.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, Type, ZstdLevel};
use parquet::file::metadata::{
    KeyValue, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader,
    ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;

use crate::io::source::columns::broken;
use crate::io::source::columns::parquet::caught;

/// What a Parquet file begins with.
pub const MAGIC: &[u8] = b"PAR1";

/// How the pages of a file are packed, by the word for it.
pub const PACKINGS: &[&str] = &["zstd", "snappy", "gzip", "brotli", "none"];

/// Takes what a writer of a whole file writes, but for the magic number in front and, once the pages
/// are written, the footer.
struct Pages<'o> {
    out: &'o mut (dyn Write + Send),
    /// Bytes of the magic number that are still to come.
    magic: usize,
    ended: bool,
}

impl Write for Pages<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.ended {
            return Ok(bytes.len());
        }
        let left_out = self.magic.min(bytes.len());
        self.magic -= left_out;
        self.out
            .write_all(bytes.get(left_out..).unwrap_or_default())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The pieces of a column, one after the other, made when they are asked for.
pub type Pieces<'a> = Box<dyn Iterator<Item = io::Result<ArrayRef>> + 'a>;

/// Packs columns, each in one piece or several, as the row group that begins at byte `at` of `out`.
/// One piece of one column is alive at a time. What is given is the metadata of a file that has this
/// group there and nothing else.
///
/// # Errors
/// If values have no place in a Parquet file, a piece cannot be made, or `out` cannot be written.
pub fn pack(
    schema: &SchemaRef,
    columns: Vec<Pieces<'_>>,
    packing: &str,
    at: u64,
    out: &mut (dyn Write + Send),
) -> io::Result<ParquetMetaData> {
    caught(|| {
        let pages = Pages {
            out,
            magic: MAGIC.len(),
            ended: false,
        };
        let mut writer = writer(schema, packing, pages)?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(schema));
        let mut leaves = factory
            .create_column_writers(0)
            .map_err(broken)?
            .into_iter();
        let mut group = writer.next_row_group().map_err(broken)?;
        for (field, pieces) in schema.fields().iter().zip(columns) {
            let mut of_field: Vec<_> = Vec::new();
            for (number, piece) in pieces.enumerate() {
                let levels = compute_leaves(field, &piece?).map_err(broken)?;
                if number == 0 {
                    of_field.extend(leaves.by_ref().take(levels.len()));
                }
                for (leaf, levels) in of_field.iter_mut().zip(&levels) {
                    leaf.write(levels).map_err(broken)?;
                }
            }
            for leaf in of_field {
                let chunk = leaf.close().map_err(broken)?;
                chunk.append_to_row_group(&mut group).map_err(broken)?;
            }
        }
        group.close().map_err(broken)?;
        writer.flush().map_err(broken)?;
        writer.inner_mut().ended = true;
        let metadata = writer.finish().map_err(broken)?;
        let group = metadata.row_groups().first();
        let group = group.ok_or_else(|| io::Error::other("a row group is lost"))?;
        let group = moved(group, at)?;
        Ok(with_groups(&metadata, vec![group]))
    })
}

/// The pieces of a column that are there.
#[must_use]
pub fn whole(pieces: Vec<ArrayRef>) -> Pieces<'static> {
    Box::new(pieces.into_iter().map(Ok))
}

/// What stands behind the row groups of `files`, which have one schema.
///
/// # Errors
/// If it cannot be written.
pub fn footer(schema: &SchemaRef, parts: &[&ParquetMetaData]) -> io::Result<Vec<u8>> {
    let about = writer(schema, "none", io::sink())?
        .finish()
        .map_err(broken)?;
    let groups = parts
        .iter()
        .flat_map(|part| part.row_groups().iter().cloned());
    let groups = groups.zip(0_i16..).map(|(group, ordinal)| {
        let numbered = group.into_builder().set_ordinal(ordinal.into());
        numbered.build().map_err(broken)
    });
    write(&with_groups(&about, groups.collect::<io::Result<_>>()?))
}

/// The footer of a file as bytes.
///
/// # Errors
/// If it cannot be written.
pub fn write(metadata: &ParquetMetaData) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let writer = ParquetMetaDataWriter::new(&mut out, metadata);
    writer.finish().map_err(broken)?;
    Ok(out)
}

/// What [`write()`] wrote.
///
/// # Errors
/// If it is no footer.
pub fn read(footer: &[u8]) -> io::Result<ParquetMetaData> {
    // The length and the magic number stand behind it.
    let end = footer.len().saturating_sub(8);
    let metadata = footer.get(..end).unwrap_or_default();
    ParquetMetaDataReader::decode_metadata(metadata).map_err(broken)
}

/// The rows of the group that `metadata` tells of, in the file at `path`.
///
/// # Errors
/// If it cannot be read.
pub fn unpack(path: &Path, metadata: &ParquetMetaData) -> io::Result<RecordBatch> {
    let file = File::open(path)?;
    let rows: i64 = metadata
        .row_groups()
        .iter()
        .map(RowGroupMetaData::num_rows)
        .sum();
    caught(|| {
        let options = ArrowReaderOptions::default();
        let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata.clone()), options);
        let metadata = metadata.map_err(broken)?;
        let mut reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_batch_size(usize::try_from(rows).unwrap_or(0).max(1))
            .build()
            .map_err(broken)?;
        let batch = reader.next().transpose().map_err(broken)?;
        batch.ok_or_else(|| io::Error::other("a row group that was written is lost"))
    })
}

fn writer<W: Write + Send>(
    schema: &SchemaRef,
    packing: &str,
    out: W,
) -> io::Result<SerializedFileWriter<W>> {
    let parquet = ArrowSchemaConverter::new()
        .convert(schema)
        .map_err(broken)?;
    let mut about: Vec<KeyValue> = schema
        .metadata()
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
        .collect();
    about.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let packing = match packing {
        "snappy" => Compression::SNAPPY,
        "gzip" => Compression::GZIP(GzipLevel::default()),
        "brotli" => Compression::BROTLI(BrotliLevel::default()),
        "none" => Compression::UNCOMPRESSED,
        _ => Compression::ZSTD(ZstdLevel::try_new(3).map_err(broken)?),
    };
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("djr version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(packing)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(about));
    for column in parquet.columns() {
        // Contents of files hardly repeat.
        let is_bytes = column.physical_type() == Type::BYTE_ARRAY
            && column.logical_type_ref().is_none()
            && column.converted_type() == parquet::basic::ConvertedType::NONE;
        if is_bytes {
            properties = properties.set_column_dictionary_enabled(column.path().clone(), false);
        }
    }
    let mut properties = properties.build();
    add_encoded_arrow_schema_to_metadata(schema, &mut properties);
    let root = parquet.root_schema_ptr();
    SerializedFileWriter::new(out, root, Arc::new(properties)).map_err(broken)
}

fn with_groups(about: &ParquetMetaData, groups: Vec<RowGroupMetaData>) -> ParquetMetaData {
    ParquetMetaDataBuilder::new(about.file_metadata().clone())
        .set_row_groups(groups)
        .build()
}

/// A group that was packed at the start of a file, at byte `at`.
fn moved(group: &RowGroupMetaData, at: u64) -> io::Result<RowGroupMetaData> {
    let at = i64::try_from(at).map_err(io::Error::other)? - 4;
    let columns = group.columns().iter().map(|column| {
        let dictionary = column.dictionary_page_offset().map(|offset| offset + at);
        let moved = column.clone().into_builder();
        moved
            .set_data_page_offset(column.data_page_offset() + at)
            .set_dictionary_page_offset(dictionary)
            .build()
            .map_err(broken)
    });
    let columns = columns.collect::<io::Result<Vec<_>>>()?;
    let start = group.file_offset().unwrap_or(4);
    let moved = group.clone().into_builder().set_column_metadata(columns);
    moved.set_file_offset(start + at).build().map_err(broken)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringArray};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn groups_packed_one_by_one_are_one_file() {
        let fields = vec![
            Field::new("n", DataType::Int64, true),
            Field::new("t", DataType::Utf8, true),
        ];
        let about = arrow_schema::Metadata::from([("huggingface", "{}")]);
        let schema: SchemaRef = Arc::new(Schema::new(fields).with_metadata(about));
        let mut file = MAGIC.to_vec();
        let mut parts = Vec::new();
        for start in [0, 10, 20] {
            let number: ArrayRef = Arc::new(Int64Array::from_iter_values(start..start + 10));
            let text: ArrayRef = Arc::new(StringArray::from_iter_values(
                (0..10).map(|n| format!("t{}", n % 3)),
            ));
            let columns = [vec![number.slice(0, 4), number.slice(4, 6)], vec![text]];
            let columns = columns.into_iter().map(whole).collect();
            let at = file.len() as u64;
            let metadata = pack(&schema, columns, "zstd", at, &mut file).unwrap();
            parts.push(read(&write(&metadata).unwrap()).unwrap());
        }
        let parts: Vec<&ParquetMetaData> = parts.iter().collect();
        file.extend_from_slice(&footer(&schema, &parts).unwrap());
        let file_on_disk = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file_on_disk.path(), &file).unwrap();
        let second = unpack(file_on_disk.path(), parts[1]).unwrap();
        assert_eq!(second.num_rows(), 10);
        assert_eq!(second.schema().fields(), schema.fields());
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
        assert_eq!(reader.schema(), &schema);
        let mut seen = Vec::new();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let numbers = batch
                .column(0)
                .as_any()
                .downcast_ref::<Int64Array>()
                .unwrap();
            seen.extend(numbers.values().iter().copied());
        }
        assert_eq!(seen, (0..30).collect::<Vec<i64>>());
    }
}
