//! The rows that a run hands over, as a table in memory.
//!
//! Columns that nobody wrote to are parts of those that were handed in wherever enough rows lie
//! behind each other; what is copied is only what would be dearer as a batch of its own.

use std::io;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::SchemaRef;

use super::kind::Kind;
use super::layout::Layout;
use super::made;
use super::record::Record;
use crate::io::Input;
use crate::io::format::ImageFiles;
use crate::io::source::Table;
use crate::io::source::columns::broken;

/// So many rows behind each other are a batch of their own.
const OWN_ROWS: usize = 1024;

/// So many bytes of rows behind each other are, where rows are large.
const OWN_BYTES: u64 = 16 << 10;

/// A batch of rows that are copied has so many of them,
const COPIED_ROWS: usize = 8192;

/// or so many bytes.
const COPIED_BYTES: u64 = 16 << 20;

/// No row of the table.
const NOWHERE: u64 = u64::MAX;

/// Collects the records of an output whose format is
/// [`OutputFormat::TABLE`](crate::io::format::OutputFormat::TABLE).
#[derive(Debug)]
pub struct Collected {
    layout: Layout,
    table: Arc<Table>,
    records: Vec<u8>,
    ends: Vec<usize>,
}

impl Collected {
    /// Records of rows of `input`, which is the only one, and a table.
    ///
    /// # Errors
    /// Says which column cannot be handed over.
    pub fn of(input: &Input, table: Arc<Table>) -> Result<Self, String> {
        Ok(Self {
            layout: Layout::of(std::slice::from_ref(input), ImageFiles::Path)?,
            ..Self::made(table)
        })
    }

    /// Records of rows that have little in common with those of the table: all columns are made of
    /// their values.
    #[must_use]
    pub fn made(table: Arc<Table>) -> Self {
        Self {
            layout: Layout::default(),
            table,
            records: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Takes the next record.
    pub fn push(&mut self, record: &[u8]) {
        self.records.extend_from_slice(record);
        self.ends.push(self.records.len());
    }

    fn records(&self, rows: Range<usize>) -> io::Result<Vec<Record<'_>>> {
        let record = |number: usize| {
            let start = number.checked_sub(1).and_then(|it| self.ends.get(it));
            let range = start.copied().unwrap_or(0)..*self.ends.get(number)?;
            Record::decode(self.records.get(range)?)
        };
        let lost = || io::Error::other("a row cannot be read back");
        rows.map(|number| record(number).ok_or_else(lost)).collect()
    }

    /// The table of all records.
    ///
    /// # Errors
    /// If a value has no place in its column.
    pub fn finish(mut self) -> io::Result<(SchemaRef, Vec<RecordBatch>)> {
        let mut made: Vec<(String, Kind)> = Vec::new();
        let mut rows: Vec<u64> = Vec::with_capacity(self.ends.len());
        for start in (0..self.ends.len()).step_by(COPIED_ROWS) {
            let records = self.records(start..self.ends.len().min(start + COPIED_ROWS))?;
            made::take_in(&mut made, &self.layout, &records)?;
            let at = |record: &Record<'_>| record.at.map_or(NOWHERE, |(_, row)| row);
            rows.extend(records.iter().map(at));
        }
        if rows.contains(&NOWHERE) {
            self.layout.may_be_null(true);
        }
        let schema = made::schema(&self.layout, &made);
        let pieces = pieces(&self.table, &rows);
        let batch = |piece: Range<usize>| {
            let at = rows.get(piece.clone()).unwrap_or_default();
            self.batch(&schema, &mut made, piece, at)
        };
        let batches = pieces.into_iter().map(batch).collect::<io::Result<_>>()?;
        Ok((schema, batches))
    }

    /// The batch of the records `piece`, which are of the rows `at` of the table.
    fn batch(
        &self,
        schema: &SchemaRef,
        made: &mut Vec<(String, Kind)>,
        piece: Range<usize>,
        at: &[u64],
    ) -> io::Result<RecordBatch> {
        let records = self.records(piece)?;
        let found: Vec<u64> = at.iter().copied().filter(|row| *row != NOWHERE).collect();
        let mut next = 0..found.len();
        let place_of = at.iter().map(|row| (*row != NOWHERE).then(|| next.next()));
        let place_of: Vec<Option<usize>> = place_of.map(Option::flatten).collect();
        let places = self.layout.files.first().and_then(Option::as_ref);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for (number, column) in self.layout.columns.iter().enumerate() {
            let values = match places.and_then(|places| places.of(number)) {
                Some(place) => self.table.values(place, &found)?,
                None => new_null_array(column.field.data_type(), found.len()),
            };
            columns.push(made::with_new(column, &values, &records, &place_of)?);
        }
        let texts = made::take_in(made, &self.layout, &records)?;
        let all = 0..records.len();
        for column in made::pieces(made, &texts, &records, slice::from_ref(&all)) {
            columns.extend(column.collect::<io::Result<Vec<_>>>()?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(broken)
    }
}

/// Cuts `rows` of `table` into batches: those that lie behind each other are one without a copy, if
/// there are enough of them.
#[must_use]
pub fn pieces(table: &Table, rows: &[u64]) -> Vec<Range<usize>> {
    let heavy = table.schema().fields().iter().any(made::is_heavy);
    let row_bytes = table.bytes() / table.stored_rows().max(1);
    let is_own = |rows: usize| {
        rows >= OWN_ROWS || heavy && (rows as u64).saturating_mul(row_bytes) >= OWN_BYTES
    };
    let most = usize::try_from(COPIED_BYTES / row_bytes.max(1)).unwrap_or(COPIED_ROWS);
    let most = most.clamp(1, COPIED_ROWS);
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(rest) = rows.get(at..).filter(|rest| !rest.is_empty()) {
        let together = table.together(rest).max(1);
        if is_own(together) {
            if start < at {
                pieces.push(start..at);
            }
            pieces.push(at..at + together);
            at += together;
            start = at;
            continue;
        }
        at += together;
        if at - start >= most {
            pieces.push(start..at);
            start = at;
        }
    }
    if start < rows.len() {
        pieces.push(start..rows.len());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use arrow_array::BinaryArray;
    use arrow_array::cast::AsArray as _;
    use arrow_schema::{DataType, Field, Schema};

    use super::*;
    use crate::io::source::GivenRows;

    /// Rows of so many bytes each, in two batches of so many.
    fn table(bytes: usize, rows: usize) -> Arc<Table> {
        let field = Field::new("b", DataType::Binary, true);
        let schema = Arc::new(Schema::new(vec![field]));
        let batch = |first: usize| {
            let values = (first..first + rows).map(|n| vec![u8::try_from(n % 251).unwrap(); bytes]);
            let column: ArrayRef = Arc::new(BinaryArray::from_iter_values(values));
            RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap()
        };
        let batches = vec![batch(0), batch(rows)];
        Arc::new(Table::new(schema, batches).unwrap())
    }

    fn collected(table: &Arc<Table>, rows: &[(u64, &[(&str, &str)])]) -> Vec<RecordBatch> {
        let given = GivenRows::table("table", Arc::clone(table));
        let mut all = Collected::of(&Input::Given(given), Arc::clone(table)).unwrap();
        for (row, members) in rows {
            let mut out = Vec::new();
            let record = Record {
                at: Some((0, *row)),
                members: members.to_vec(),
                ..Record::default()
            };
            record.encode(&mut out);
            all.push(&out);
        }
        let (schema, batches) = all.finish().unwrap();
        assert!(batches.iter().all(|batch| batch.schema() == schema));
        batches
    }

    #[test]
    fn large_values_are_not_copied() {
        let table = table(20_000, 8);
        let rows: Vec<(u64, &[(&str, &str)])> =
            [0, 1, 2, 5, 9, 15].map(|row| (row, &[][..])).to_vec();
        let batches = collected(&table, &rows);
        let lengths: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(lengths, [3, 1, 1, 1]);
        let whole = table.values(0, &[0]).unwrap();
        let own = |values: &ArrayRef| values.as_binary::<i32>().values().as_ptr();
        assert_eq!(own(batches[1].column(0)), own(&whole));
        assert_eq!(batches[1].column(0).as_binary::<i32>().value(0)[0], 5);
    }

    #[test]
    fn small_values_are_gathered() {
        let rows: Vec<u64> = (0..30).step_by(2).collect();
        let small = table(8, 20);
        assert_eq!(
            pieces(&small, &rows),
            std::iter::once(0..15).collect::<Vec<_>>()
        );
        let all: Vec<u64> = (0..6000).collect();
        assert_eq!(pieces(&table(8, 3000), &all), [0..3000, 3000..6000]);
        assert_eq!(pieces(&small, &[]), [] as [Range<usize>; 0]);
    }

    #[test]
    fn new_fields_get_a_type_that_all_values_fit() {
        let table = table(8, 4);
        let rows: [(u64, &[(&str, &str)]); 3] = [
            (0, &[("n", "1")]),
            (2, &[]),
            (3, &[("n", "2.5"), ("t", "\"x\"")]),
        ];
        let batches = collected(&table, &rows);
        let [batch] = batches.as_slice() else {
            panic!("{} batches", batches.len());
        };
        let names: Vec<&str> = batch
            .schema_ref()
            .fields()
            .iter()
            .map(|it| it.name().as_str())
            .collect();
        assert_eq!(names, ["b", "n", "t"]);
        let numbers = batch
            .column(1)
            .as_primitive::<arrow_array::types::Float64Type>();
        assert_eq!(
            numbers.iter().collect::<Vec<_>>(),
            [Some(1.0), None, Some(2.5)]
        );
    }
}
