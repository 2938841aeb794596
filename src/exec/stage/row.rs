//! What became of the rows of a batch, as the ordered step gets it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::chain::WaitingRow;
use super::marks::Marks;
use super::settled::{Candidates, Mark, Settled};
use crate::exec::entry::STATS_FIELD;
use crate::exec::fields::FieldsSeen;
use crate::note::{Codes, Counts};
use crate::op::Decision;
use crate::record::Stage;
use crate::sample::{ImageCounts, Origin, Produced, RowError, Sample, read_json};

/// Where a row's way ended.
#[derive(Debug)]
pub enum RowEnd {
    /// It goes on.
    Alive,
    /// A filter dropped it.
    Dropped(usize, Box<Decision>),
    /// It could not be processed.
    Failed(Stage, RowError, Vec<u8>),
}

/// A row's record for one output.
#[derive(Debug)]
pub enum Rendered {
    /// These bytes of the output's [`BatchResult::rendered`].
    Bytes(Range<usize>),
    /// The output refuses the row.
    Refused(RowError, Vec<u8>),
    /// The output does not ask for the row.
    Unmatched,
}

/// What became of one row.
#[derive(Debug)]
pub struct RowResult {
    /// Where it came from.
    pub origin: Origin,
    /// Its `id` as JSON, if it has one.
    pub id: Option<CompactString>,
    /// Where it ended.
    pub end: RowEnd,
    /// Keys of the exact deduplicators of the stream that it reached.
    pub exact: SmallVec<[(usize, u128); 1]>,
    /// Its records for the exchanges of the phase in [`BatchResult::records`], in step order; empty
    /// if it did not get there.
    pub records: SmallVec<[Range<usize>; 1]>,
    /// Its frame in [`BatchResult::frames`].
    pub frame: Range<usize>,
    /// Its stats in [`BatchResult::stats`].
    pub stats: Range<usize>,
    /// What the ledger says of it if it is kept, in [`BatchResult::kept`].
    pub kept: Range<usize>,
    /// Its records in the output's [`BatchResult::rendered`], one an output.
    pub rendered: SmallVec<[Rendered; 1]>,
    /// What traced steps did to it.
    pub traces: Vec<Trace>,
    /// Files that operators made of it, to be written if it lives.
    pub produced: Vec<Arc<Produced>>,
    /// Copies of its images, to be written if it is.
    pub copies: Vec<Arc<Produced>>,
    /// The samples whose conditions it does not meet ([`super::chain::Chain::sampled`]).
    pub unwanted: Marks,
    /// Whether rounding decided at the step that it has just passed.
    pub rounding: bool,
    /// What steps noted of it, by their index.
    pub remarked: SmallVec<[(usize, Codes); 1]>,
}

impl RowResult {
    pub(super) fn new(origin: Origin, sample: &Sample) -> Self {
        Self {
            id: sample.raw_json("id").map(Into::into),
            ..Self::unread(origin)
        }
    }

    /// A row of which nothing is known.
    pub(in crate::exec) fn unread(origin: Origin) -> Self {
        Self {
            origin,
            id: None,
            end: RowEnd::Alive,
            exact: SmallVec::new(),
            records: SmallVec::new(),
            frame: 0..0,
            stats: 0..0,
            kept: 0..0,
            rendered: SmallVec::new(),
            traces: Vec::new(),
            produced: Vec::new(),
            copies: Vec::new(),
            unwanted: Marks::default(),
            rounding: false,
            remarked: SmallVec::new(),
        }
    }
}

/// What a step has to tell of a row: what it did to it, if it is traced, or noted of it.
#[derive(Debug)]
pub struct Trace {
    /// The step.
    pub step: usize,
    /// The entry as Data-Juicer writes it.
    pub entry: Value,
}

impl Trace {
    /// A row whose text a mapper changed, behind the fields that were asked for.
    pub(super) fn changed(
        step: usize,
        mut fields: Map<String, Value>,
        before: Option<Value>,
        after: Option<Value>,
    ) -> Option<Self> {
        if before == after {
            return None;
        }
        // A text that is not there is an empty one to Data-Juicer's tracer.
        let text = |value: Option<Value>| value.unwrap_or_else(|| "".into());
        fields.insert("original_text".to_owned(), text(before));
        fields.insert("processed_text".to_owned(), text(after));
        let entry = Value::Object(fields);
        Some(Self { step, entry })
    }

    /// A row that a filter dropped, with its stats.
    pub fn dropped(step: usize, sample: &Sample) -> Self {
        let mut json = Vec::new();
        sample.write_json(&[(STATS_FIELD, &sample.stats)], &mut json);
        Self {
            step,
            entry: read_json(&String::from_utf8_lossy(&json)).unwrap_or_default(),
        }
    }
}

/// What the steps cost on a batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct StepCost {
    /// Rows that ran through the step.
    pub rows: u64,
    /// Rows that were timed.
    pub timed: u64,
    /// Time of the timed rows in nanoseconds.
    pub nanos: u64,
    /// Rows that a mapper changed.
    pub changed: u64,
    /// Rows it made beyond one of one.
    pub repeated: u64,
    /// Rows that a filter would decide differently if it did not round what it measured.
    pub rounding_decided: u64,
    /// What was noted of rows.
    pub notes: Counts,
}

/// The outcome of a batch, rows in order.
#[derive(Debug, Default)]
pub struct BatchResult {
    /// One entry a row.
    pub rows: Vec<RowResult>,
    /// Frames for the store.
    pub frames: Vec<u8>,
    /// Records for exchanges.
    pub records: Vec<u8>,
    /// Rows that are no more than added up, apart from `rows`.
    pub settled: Vec<Settled>,
    /// Those of them that may be duplicates.
    pub candidates: Candidates,
    /// Rendered records, by output; framed where rows may be settled.
    pub rendered: SmallVec<[Vec<u8>; 1]>,
    /// Rendered stats, one line a row of Data-Juicer's stats file.
    pub stats: Vec<u8>,
    /// Entries of the ledger for rows that are kept, or settled.
    pub kept: Vec<u8>,
    /// What was measured of each row, one line a row in order.
    pub row_stats: Vec<u8>,
    /// Costs, one entry a step of the recipe.
    pub costs: Vec<StepCost>,
    /// What was read of images.
    pub images: ImageCounts,
    /// Rows read; an operator may have made several of one.
    pub read: u64,
    /// Bytes of rows read.
    pub bytes: u64,
    /// What is known of the rows does not fit them, or does not suffice; ends the run.
    pub fault: Option<String>,
    /// Hashes of the ids of fresh rows.
    pub id_hashes: Vec<u8>,
    /// Which fields fresh rows have.
    pub fields: FieldsSeen,
    /// Rows that reach the outputs with another number of image tokens than of images.
    pub tokens_differ: u64,
    /// What the batch took of the clock, and of the processor.
    pub time: (Duration, Duration),
    /// A row set aside cannot be read back; ends the run.
    pub unreadable: Option<std::io::Error>,
    /// How far its buffers were when the last row was added.
    pub(in crate::exec) mark: Mark,
    /// Rows that wait for answers; their places in `rows` are taken. None are left in the end.
    pub(in crate::exec) waiting: Vec<WaitingRow>,
    /// Whether steps ask services, so that rows may wait.
    pub(in crate::exec) may_wait: bool,
    /// Where rows may have waited: the number of each row that was read, and its line in
    /// `row_stats`.
    pub(in crate::exec) row_stats_lines: Vec<(usize, Range<usize>)>,
}

impl BatchResult {
    /// Brings the lines of `row_stats` into the order of the rows, if some waited while others
    /// went on.
    pub(super) fn sort_row_stats(&mut self) {
        let mut lines = std::mem::take(&mut self.row_stats_lines);
        if lines.is_sorted_by_key(|(number, _)| *number) {
            return;
        }
        lines.sort_by_key(|(number, _)| *number);
        let mut sorted = Vec::with_capacity(self.row_stats.len());
        for (_, line) in lines {
            sorted.extend_from_slice(self.row_stats.get(line).unwrap_or_default());
        }
        self.row_stats = sorted;
    }
}

impl BatchResult {
    /// How many rows it has, with those that are settled.
    #[must_use]
    pub fn count(&self) -> u64 {
        let settled = self.settled.iter().map(Settled::count);
        self.rows.len() as u64 + settled.sum::<u64>()
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: RowResult) {
        self.rows.push(row);
        self.mark = Mark::of(self);
    }

    /// Adds the hash of a fresh row's id, if it has one; `id` is JSON text.
    pub fn push_id(&mut self, id: Option<&str>) {
        if let Some(id) = id.filter(|id| *id != "null") {
            let hash = xxhash_rust::xxh3::xxh3_64(id.as_bytes());
            self.id_hashes.extend_from_slice(&hash.to_le_bytes());
        }
    }
}
