//! Parquet files.

use std::io::{self, BufReader};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type;
use parquet::file::reader::{ChunkReader, Length};

use super::super::Reading;
use super::super::bytes::Bytes;
use super::super::format::{Format, Recognised, RowReader, Start};
use super::super::whole::{Places, Whole};
use super::{BATCH_BYTES, Batches, ColumnReader, broken};

/// Parquet.
pub struct Parquet;

impl Format for Parquet {
    fn word(&self) -> &'static str {
        "parquet"
    }

    fn name(&self) -> &'static str {
        "an Apache Parquet file"
    }

    fn suffixes(&self) -> &'static [&'static str] {
        &[".parquet"]
    }

    fn is_binary(&self) -> bool {
        true
    }

    fn holds_lines(&self) -> bool {
        false
    }

    fn needs_file(&self) -> bool {
        true
    }

    fn is_read_again(&self) -> bool {
        true
    }

    fn recognise(&self, start: &Start<'_>) -> Recognised {
        // One that was cut to nothing is still meant to be one.
        let empty = start.bytes.is_empty() && start.name.to_ascii_lowercase().ends_with(".parquet");
        if start.bytes.starts_with(b"PAR1") || empty {
            Recognised::Yes
        } else {
            Recognised::No
        }
    }

    fn batches(&self, file: Whole) -> io::Result<Option<Box<dyn Batches>>> {
        Ok(Some(Box::new(ParquetBatches::open(file)?)))
    }

    fn open(&self, bytes: Bytes, reading: &Reading) -> io::Result<Box<dyn RowReader>> {
        let batches = ParquetBatches::open(bytes.into_whole()?)?;
        Ok(Box::new(ColumnReader::new(Box::new(batches), reading)?))
    }
}

impl Length for Whole {
    fn len(&self) -> u64 {
        self.length().unwrap_or(0)
    }
}

impl ChunkReader for Whole {
    type T = BufReader<Places>;

    /// For the heads of pages, which are short.
    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.cursor(start, 1 << 12)?)
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<bytes::Bytes> {
        let mut content = vec![0; length];
        self.read_exact_at(&mut content, start)?;
        Ok(content.into())
    }
}

/// Batches of a Parquet file.
pub struct ParquetBatches {
    file: Whole,
    bytes: u64,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    /// Rows a batch.
    rows: usize,
    /// The rest of one row group: damage in another costs this one nothing.
    reader: Option<ParquetRecordBatchReader>,
    /// Where each row group ends.
    ends: Vec<u64>,
    /// The next row.
    row: u64,
}

impl ParquetBatches {
    /// Reads the footer of a file.
    ///
    /// # Errors
    /// If it is none.
    pub fn open(file: Whole) -> io::Result<Self> {
        let bytes = file.length()?;
        let metadata = caught(|| {
            let loaded = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default());
            without_zones_of_int96(loaded.map_err(broken)?)
        });
        let metadata = metadata.map_err(|error| file.failure().unwrap_or(error))?;
        let mut end = 0;
        let groups = metadata.metadata().row_groups();
        let ends = groups
            .iter()
            .map(|group| {
                end += u64::try_from(group.num_rows()).unwrap_or(0);
                end
            })
            .collect();
        let mut batches = Self {
            file,
            bytes,
            metadata,
            mask: ProjectionMask::all(),
            rows: 1,
            reader: None,
            ends,
            row: 0,
        };
        batches.rows = batches.batch_rows();
        batches.seek(0)?;
        Ok(batches)
    }

    /// What the file says of itself.
    #[must_use]
    pub fn metadata(&self) -> &ArrowReaderMetadata {
        &self.metadata
    }

    /// So many rows that a batch has about [`BATCH_BYTES`].
    fn batch_rows(&self) -> usize {
        let groups = self.metadata.metadata().row_groups();
        let mut bytes = 0_u64;
        for group in groups {
            for (number, column) in group.columns().iter().enumerate() {
                if self.mask.leaf_included(number) {
                    bytes += u64::try_from(column.uncompressed_size()).unwrap_or(0);
                }
            }
        }
        let rows = self.ends.last().copied().unwrap_or(0);
        let each = (bytes / rows.max(1)).max(1);
        usize::try_from((BATCH_BYTES / each).clamp(1, 4096)).unwrap_or(1)
    }
}

/// Timestamps of 96 bits have no zone, whatever the writer's own schema said: as pyarrow reads them.
fn without_zones_of_int96(metadata: ArrowReaderMetadata) -> io::Result<ArrowReaderMetadata> {
    let leaves = metadata.parquet_schema().columns();
    let old: Vec<&str> = leaves
        .iter()
        .filter(|leaf| leaf.physical_type() == Type::INT96)
        .filter_map(|leaf| leaf.path().parts().first().map(String::as_str))
        .collect();
    let mut changed = false;
    let field = |field: &Arc<Field>| match field.data_type() {
        DataType::Timestamp(unit, Some(_)) if old.contains(&field.name().as_str()) => {
            changed = true;
            let plain = DataType::Timestamp(*unit, None);
            Arc::new(field.as_ref().clone().with_data_type(plain))
        }
        _ => Arc::clone(field),
    };
    let fields: Vec<Arc<Field>> = metadata.schema().fields().iter().map(field).collect();
    if !changed {
        return Ok(metadata);
    }
    let about = metadata.schema().metadata().clone();
    let schema = Arc::new(Schema::new_with_metadata(fields, about));
    let options = ArrowReaderOptions::default().with_schema(schema);
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).map_err(broken)
}

/// The libraries that read column files panic on some damage: that is damage, too.
///
/// # Errors
/// Those of `work`, and its panic.
pub fn caught<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is damaged in a way that its reader does not expect",
        ))
    })
}

impl Batches for ParquetBatches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.metadata.schema())
    }

    fn rows(&self) -> Option<u64> {
        Some(self.ends.last().copied().unwrap_or(0))
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn project(&mut self, columns: Vec<usize>) -> io::Result<()> {
        self.mask = ProjectionMask::roots(self.metadata.parquet_schema(), columns);
        self.rows = self.batch_rows();
        self.seek(0)
    }

    fn next(&mut self) -> io::Result<Option<RecordBatch>> {
        loop {
            let Some(reader) = &mut self.reader else {
                return Ok(None);
            };
            let next = caught(|| reader.next().transpose().map_err(broken));
            if let Some(batch) = next.map_err(|error| self.file.failure().unwrap_or(error))? {
                self.row += batch.num_rows() as u64;
                return Ok(Some(batch));
            }
            let end = self.ends.partition_point(|end| *end < self.row);
            if self.ends.get(end) != Some(&self.row) {
                // The group has fewer rows than the footer says.
                let short = "a row group has fewer rows than the footer promises";
                return Err(io::Error::new(io::ErrorKind::InvalidData, short));
            }
            self.seek(self.row)?;
        }
    }

    fn seek(&mut self, row: u64) -> io::Result<()> {
        let group = self.ends.partition_point(|end| *end <= row);
        self.reader = None;
        self.row = row;
        if group >= self.ends.len() {
            return Ok(());
        }
        let before = group
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        let offset = row - before.copied().unwrap_or(0);
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let file = self.file.try_clone()?;
        let (metadata, mask) = (self.metadata.clone(), self.mask.clone());
        let rows = self.rows;
        let reader = caught(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
                .with_projection(mask)
                .with_batch_size(rows)
                .with_row_groups(vec![group])
                .with_offset(offset)
                .build()
                .map_err(broken)
        });
        let reader = reader.map_err(|error| self.file.failure().unwrap_or(error))?;
        self.reader = Some(reader);
        Ok(())
    }

    fn piece_end(&self, row: u64) -> u64 {
        let group = self.ends.partition_point(|end| *end <= row);
        self.ends.get(group).copied().unwrap_or(row)
    }
}
