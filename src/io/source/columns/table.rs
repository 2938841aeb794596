//! A table in memory: batches of columns that the program which djr is a library of hands in.
//!
//! Its values stay where they are. Rows that lie behind each other in one batch are handed on as a
//! part of it; others are copied.

use std::fmt;
use std::io;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::interleave::interleave;

use super::{Batches, broken};

/// So many rows are handed on at a time.
const BATCH_ROWS: usize = 4096;

/// Batches of one schema, and the order in which their rows are read.
pub struct Table {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    /// Of each batch, the row behind its last.
    ends: Vec<u64>,
    /// The rows that the table has, by their numbers in the batches; all, if there is none.
    order: Option<Vec<u64>>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("schema", &self.schema)
            .field("rows", &self.rows())
            .finish_non_exhaustive()
    }
}

impl Table {
    /// The rows of `batches`, one behind the other.
    ///
    /// # Errors
    /// If a batch has other columns than `schema`.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> io::Result<Self> {
        let mut ends = Vec::with_capacity(batches.len());
        let mut rows = 0;
        for batch in &batches {
            let types = |schema: &Schema| {
                let fields = schema.fields().iter();
                fields
                    .map(|field| (field.name().clone(), field.data_type().clone()))
                    .collect::<Vec<_>>()
            };
            if batch.schema_ref() != &schema && types(batch.schema_ref()) != types(&schema) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a batch has other columns than its table",
                ));
            }
            rows += batch.num_rows() as u64;
            ends.push(rows);
        }
        Ok(Self {
            schema,
            batches,
            ends,
            order: None,
        })
    }

    /// The rows at `order`, by their numbers, in that order; a row may be there several times.
    ///
    /// # Errors
    /// If there is no such row.
    pub fn ordered(mut self, order: Vec<u64>) -> io::Result<Self> {
        let all = self.stored_rows();
        let order = match self.order.take() {
            None => order,
            Some(before) => {
                let of = |row: &u64| before.get(usize::try_from(*row).ok()?).copied();
                order
                    .iter()
                    .map(|row| of(row).unwrap_or(u64::MAX))
                    .collect()
            }
        };
        if order.iter().any(|row| *row >= all) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("an index lies behind the last of {all} rows"),
            ));
        }
        self.order = Some(order);
        Ok(self)
    }

    /// Its columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> u64 {
        match &self.order {
            Some(order) => order.len() as u64,
            None => self.stored_rows(),
        }
    }

    /// How many rows its batches have, whether they are read or not.
    #[must_use]
    pub fn stored_rows(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// About how many bytes its values have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let columns = self.batches.iter().flat_map(RecordBatch::columns);
        let size = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0);
        columns.map(|column| size(column) as u64).sum()
    }

    /// The number of a row in the batches.
    fn number(&self, row: u64) -> Option<u64> {
        match &self.order {
            Some(order) => order.get(usize::try_from(row).ok()?).copied(),
            None => Some(row),
        }
    }

    /// In which batch the row of a number lies, where in it, and how many come behind it there.
    fn place(&self, number: u64) -> Option<(usize, usize, u64)> {
        let batch = self.ends.partition_point(|end| *end <= number);
        let end = *self.ends.get(batch)?;
        let first = match batch.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        Some((batch, usize::try_from(number - first).ok()?, end - number))
    }

    /// How many of `rows`, from the first one on, lie behind each other in one batch.
    #[must_use]
    pub fn together(&self, rows: &[u64]) -> usize {
        let first = rows.first().and_then(|row| self.number(*row));
        let Some((first, (_, _, left))) = first.and_then(|it| Some((it, self.place(it)?))) else {
            return 0;
        };
        let follows = |(row, behind): &(&u64, u64)| self.number(**row) == Some(first + behind);
        rows.iter().zip(0..left).take_while(follows).count()
    }

    /// The values of column `column` in `rows`.
    ///
    /// # Errors
    /// If there is no such column or row.
    pub fn values(&self, column: usize, rows: &[u64]) -> io::Result<ArrayRef> {
        let lost = || io::Error::other("the table has no such cell");
        let field = self.schema.fields().get(column).ok_or_else(lost)?;
        let Some(first) = rows.first() else {
            return Ok(new_empty_array(field.data_type()));
        };
        let of = |batch: usize| self.batches.get(batch)?.columns().get(column);
        if self.together(rows) == rows.len() {
            let place = self.number(*first).and_then(|it| self.place(it));
            let (batch, at, _) = place.ok_or_else(lost)?;
            return Ok(of(batch).ok_or_else(lost)?.slice(at, rows.len()));
        }
        // The batches that rows lie in, each once.
        let mut parts: Vec<&dyn Array> = Vec::new();
        let mut numbers: Vec<Option<usize>> = vec![None; self.batches.len()];
        let mut places = Vec::with_capacity(rows.len());
        for row in rows {
            let place = self.number(*row).and_then(|it| self.place(it));
            let (batch, at, _) = place.ok_or_else(lost)?;
            let slot = numbers.get_mut(batch).ok_or_else(lost)?;
            let number = if let Some(number) = *slot {
                number
            } else {
                parts.push(of(batch).ok_or_else(lost)?);
                *slot.insert(parts.len() - 1)
            };
            places.push((number, at));
        }
        interleave(&parts, &places).map_err(broken)
    }
}

/// Reads the rows of a [`Table`].
pub struct TableBatches {
    table: Arc<Table>,
    columns: Vec<usize>,
    /// The next row.
    at: u64,
    bytes: u64,
}

impl TableBatches {
    /// All columns of `table`, from its first row on.
    #[must_use]
    pub fn new(table: Arc<Table>) -> Self {
        Self {
            columns: (0..table.schema.fields().len()).collect(),
            at: 0,
            bytes: table.bytes(),
            table,
        }
    }
}

impl Batches for TableBatches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn rows(&self) -> Option<u64> {
        Some(self.table.rows())
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn project(&mut self, columns: Vec<usize>) -> io::Result<()> {
        self.columns = columns;
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<RecordBatch>> {
        let end = self.table.rows().min(self.at + BATCH_ROWS as u64);
        let rows: Vec<u64> = (self.at..end).collect();
        // In their own order rows are handed on as they lie.
        let count = match self.table.order {
            Some(_) => rows.len(),
            None => self.table.together(&rows),
        };
        let rows = rows.get(..count).unwrap_or_default();
        if rows.is_empty() {
            return Ok(None);
        }
        let columns = self.columns.iter();
        let columns = columns.map(|column| self.table.values(*column, rows));
        let columns = columns.collect::<io::Result<Vec<_>>>()?;
        let schema = self.table.schema.project(&self.columns).map_err(broken)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::new(schema), columns, &options);
        self.at += rows.len() as u64;
        batch.map(Some).map_err(broken)
    }

    fn seek(&mut self, row: u64) -> io::Result<()> {
        self.at = row;
        Ok(())
    }

    fn piece_end(&self, _: u64) -> u64 {
        self.table.rows()
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::Int64Type;
    use arrow_array::{BinaryArray, Int64Array};
    use arrow_schema::{DataType, Field};

    use super::*;

    /// Numbers from 0, in batches of so many rows.
    fn table(lengths: &[i64]) -> Table {
        let fields = vec![
            Field::new("n", DataType::Int64, true),
            Field::new("b", DataType::Binary, true),
        ];
        let schema = Arc::new(Schema::new(fields));
        let mut start = 0;
        let batches = lengths.iter().map(|length| {
            let numbers = start..start + length;
            start += length;
            let bytes: Vec<Vec<u8>> = numbers.clone().map(|n| n.to_be_bytes().into()).collect();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(numbers)),
                Arc::new(BinaryArray::from_iter_values(bytes)),
            ];
            RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
        });
        let batches = batches.collect();
        Table::new(schema, batches).unwrap()
    }

    fn numbers(values: &ArrayRef) -> Vec<i64> {
        values.as_primitive::<Int64Type>().values().to_vec()
    }

    /// All rows from `from` on, as they are read.
    fn read(table: &Arc<Table>, from: u64) -> Vec<i64> {
        let mut batches = TableBatches::new(Arc::clone(table));
        batches.project(vec![0]).unwrap();
        batches.seek(from).unwrap();
        let mut found = Vec::new();
        while let Some(batch) = batches.next().unwrap() {
            found.extend(numbers(batch.column(0)));
        }
        found
    }

    #[test]
    fn rows_are_read_from_anywhere_in_whatever_batches() {
        let table = Arc::new(table(&[3, 0, 5000, 2]));
        let all: Vec<i64> = (0..5005).collect();
        for from in [0, 2, 3, 4, 4099, 5003, 5005] {
            assert_eq!(read(&table, from as u64), all[from..], "{from}");
        }
        assert_eq!(
            numbers(&table.values(0, &[4, 5004, 0]).unwrap()),
            [4, 5004, 0]
        );
        assert!(table.values(0, &[5005]).is_err());
        assert!(table.values(2, &[0]).is_err());
    }

    #[test]
    fn an_order_is_followed() {
        let table = table(&[3, 4]).ordered(vec![6, 1, 1, 0]).unwrap();
        let table = table.ordered(vec![3, 0, 1]).unwrap();
        assert_eq!(read(&Arc::new(table), 0), [0, 6, 1]);
        assert!(self::table(&[3]).ordered(vec![3]).is_err());
    }

    #[test]
    fn rows_behind_each_other_are_not_copied() {
        let table = table(&[10, 10]);
        let first = table.values(1, &[2, 3, 4]).unwrap();
        let whole = table.batches[0].column(1).as_binary::<i32>();
        let bytes = first.as_binary::<i32>();
        assert_eq!(bytes.values().as_ptr(), whole.values().as_ptr());
        assert_eq!(table.together(&[8, 9, 10, 11]), 2);
        assert_eq!(table.together(&[8, 10]), 1);
    }
}
