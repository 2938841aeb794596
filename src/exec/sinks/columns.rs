//! Rows that are written to a column file, a row group at a time.
//!
//! A group ends behind so many rows or bytes of them, whoever reads them in whichever pieces, so
//! that its bytes depend on its rows alone. What a checkpoint needs are the groups' footers and the
//! rows of the group under way. Columns that are made of JSON may get a wider type by a later row;
//! then the groups before it are written once more when all rows are in.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch};
use parquet::file::metadata::ParquetMetaData;

use crate::io::columns::build;
use crate::io::columns::gather::Gatherer;
use crate::io::columns::groups::{self, MAGIC, Pieces};
use crate::io::columns::kind::Kind;
use crate::io::columns::layout::Layout;
use crate::io::columns::made;
use crate::io::columns::record::{Record, block, push, take as take_bytes};
use crate::io::format::parquet::COMPRESSION;
use crate::io::source::columns::size::size;
use crate::io::source::columns::view;
use crate::io::workspace::Lengths;
use crate::io::{Input, Log, PendingFile, Workspace};
use crate::recipe::{OutputSpec, Sampler};

/// A group has at most so many rows, or so many if they have images.
const GROUP_ROWS: (usize, usize) = (100_000, 100);

/// A group ends when its rows have so many bytes: they are in memory until then.
const GROUP_BYTES: u64 = 8 << 20;

/// So many rows are taken from the inputs at a time, or so many if they have images.
const TAKEN_ROWS: (usize, usize) = (500, 10);

/// Rows of so many bytes are taken from the inputs, or made arrays of, at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// Makes row groups of rows.
pub struct Columns {
    number: usize,
    workspace: Workspace,
    layout: Layout,
    gatherer: Gatherer,
    packing: &'static str,
    group_rows: usize,
    group_bytes: u64,
    taken_rows: usize,
    taken_bytes: u64,
    /// The columns that are made of JSON, in the order in which they came up.
    made: Vec<(String, Kind)>,
    group: Group,
    /// The groups so far.
    done: Vec<Done>,
    /// They on disk, if another process could go on behind them.
    log: Option<Log>,
    /// The rows of the group under way on disk.
    rows_log: Option<Log>,
    /// Logs of rows that are in groups by now, the last of them only since the last checkpoint.
    stale: (Vec<String>, Vec<String>),
    /// The number of the file that is written.
    file: u32,
}

/// The rows of a group under way.
#[derive(Default)]
struct Group {
    records: Vec<u8>,
    ends: Vec<usize>,
    /// What the inputs have of the first of them, one piece after the other, column by column.
    carried: Vec<Vec<ArrayRef>>,
    taken: usize,
    /// About how many bytes the inputs have of those that are not taken yet.
    waiting: u64,
    bytes: u64,
}

impl Group {
    fn record(&self, number: usize) -> io::Result<Record<'_>> {
        let start = number.checked_sub(1).and_then(|it| self.ends.get(it));
        let range = start.copied().unwrap_or(0)..self.ends.get(number).copied().unwrap_or(0);
        let record = self.records.get(range).and_then(Record::decode);
        record.ok_or_else(|| io::Error::other("a row cannot be read back"))
    }

    fn records(&self, from: usize) -> io::Result<Vec<Record<'_>>> {
        (from..self.ends.len())
            .map(|number| self.record(number))
            .collect()
    }

    /// Its rows, cut into pieces of about [`PIECE_BYTES`].
    fn pieces(&self) -> Vec<Range<usize>> {
        let mut pieces = Vec::new();
        let (mut first, mut start) = (0, 0);
        for (number, end) in (1..).zip(&self.ends) {
            if (*end - start) as u64 >= PIECE_BYTES || number == self.ends.len() {
                pieces.push(first..number);
                (first, start) = (number, *end);
            }
        }
        pieces
    }
}

/// A group that is in a file.
struct Done {
    file: u32,
    made: Vec<(String, Kind)>,
    metadata: ParquetMetaData,
}

impl Columns {
    /// The groups of output `number` over `inputs`, in its file number `file`, new or with those
    /// that an earlier process made durable.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn open(
        (number, file): (usize, usize),
        spec: &OutputSpec,
        workspace: &Workspace,
        inputs: &[Input],
    ) -> io::Result<Self> {
        let layout = Layout::of(inputs, spec.images).map_err(io::Error::other)?;
        let heavy =
            layout.embedded.is_some() || layout.columns.iter().any(|it| made::is_heavy(&it.field));
        let of = |(rows, heavy_rows): (usize, usize)| if heavy { heavy_rows } else { rows };
        let mixed = spec.shuffle || spec.sampler != Sampler::Uniform;
        let group_rows = of(GROUP_ROWS);
        let mut columns = Self {
            number,
            workspace: workspace.clone(),
            gatherer: Gatherer::new(inputs.to_vec()),
            packing: spec.options.word(COMPRESSION.name).unwrap_or("zstd"),
            group_rows,
            group_bytes: spec.shard_size.unwrap_or(GROUP_BYTES).min(GROUP_BYTES),
            // Rows in random order are sought in as few ways through the inputs as possible.
            taken_rows: if mixed { group_rows } else { of(TAKEN_ROWS) },
            taken_bytes: if mixed { GROUP_BYTES } else { PIECE_BYTES },
            layout,
            made: Vec::new(),
            group: Group::default(),
            done: Vec::new(),
            log: workspace.log_if_kept(&format!("groups-{number}"))?,
            rows_log: None,
            stale: Default::default(),
            file: u32::try_from(file).unwrap_or(u32::MAX),
        };
        columns.read_back()?;
        Ok(columns)
    }

    /// Reads what an earlier process made durable.
    fn read_back(&mut self) -> io::Result<()> {
        let lost = || io::Error::other("a row group cannot be read back");
        if let Some(log) = &mut self.log {
            let mut all = Vec::new();
            io::Read::read_to_end(&mut log.replay()?, &mut all)?;
            let mut rest = all.as_slice();
            while !rest.is_empty() {
                let file = u32::from_le_bytes(take_bytes(&mut rest).ok_or_else(lost)?);
                let made = serde_json::from_slice(block(&mut rest).ok_or_else(lost)?)?;
                let metadata = groups::read(block(&mut rest).ok_or_else(lost)?)?;
                self.done.push(Done {
                    file,
                    made,
                    metadata,
                });
            }
        }
        if let Some(last) = self.done.last() {
            self.made.clone_from(&last.made);
        }
        let name = self.rows_name();
        let mut log = self.workspace.log_if_kept(&name)?;
        if let Some(log) = &mut log {
            let mut all = Vec::new();
            io::Read::read_to_end(&mut log.replay()?, &mut all)?;
            let mut rest = all.as_slice();
            while !rest.is_empty() {
                self.take_in(block(&mut rest).ok_or_else(lost)?)?;
            }
        }
        self.rows_log = log;
        Ok(())
    }

    fn rows_name(&self) -> String {
        format!("group-{}-{}", self.number, self.done.len())
    }

    /// Takes a row. When its group is full, that is written to `out`; how many bytes of rows were
    /// is told.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn push(&mut self, record: &[u8], out: &mut PendingFile) -> io::Result<u64> {
        if let Some(log) = &mut self.rows_log {
            log.append(&(record.len() as u64).to_le_bytes())?;
            log.append(record)?;
        }
        self.take_in(record)?;
        if self.group.ends.len() >= self.group_rows || self.group.bytes >= self.group_bytes {
            return self.end_group(out);
        }
        Ok(0)
    }

    fn take_in(&mut self, record: &[u8]) -> io::Result<()> {
        self.group.records.extend_from_slice(record);
        self.group.ends.push(self.group.records.len());
        self.group.bytes += record.len() as u64;
        self.group.waiting += Record::decode(record).map_or(0, |record| record.weight);
        let waiting = self.group.ends.len() - self.group.taken;
        if waiting >= self.taken_rows || self.group.waiting >= self.taken_bytes {
            self.carry()?;
        }
        Ok(())
    }

    /// Takes what the inputs have of the rows that came last.
    fn carry(&mut self) -> io::Result<()> {
        let Self {
            layout,
            gatherer,
            group,
            ..
        } = self;
        if layout.columns.is_empty() {
            return Ok(());
        }
        let records = group.records(group.taken)?;
        let mut places: Vec<((u32, u64), usize)> = records
            .iter()
            .enumerate()
            .filter_map(|(number, record)| Some((record.at?, number)))
            .collect();
        places.sort_unstable();
        let rows: Vec<(u32, u64)> = places.iter().map(|(at, _)| *at).collect();
        let found = gatherer.rows(layout, &rows)?;
        let mut place_of = vec![None; records.len()];
        for (place, (_, number)) in places.iter().enumerate() {
            if let Some(slot) = place_of.get_mut(*number) {
                *slot = Some(place);
            }
        }
        let mut parts = Vec::new();
        for (column, found) in layout.columns.iter().zip(&found) {
            parts.push(made::with_new(column, found, &records, &place_of)?);
        }
        group.taken = group.ends.len();
        group.waiting = 0;
        group.carried.resize(layout.columns.len(), Vec::new());
        for (pieces, part) in group.carried.iter_mut().zip(parts) {
            group.bytes += size(&part);
            pieces.push(part);
        }
        Ok(())
    }

    /// Writes the group under way; none is written without rows.
    fn end_group(&mut self, out: &mut PendingFile) -> io::Result<u64> {
        if self.group.ends.is_empty() {
            return Ok(0);
        }
        if self.group.taken < self.group.ends.len() {
            self.carry()?;
        }
        let mut group = std::mem::take(&mut self.group);
        let carried = std::mem::take(&mut group.carried);
        let records = group.records(0)?;
        let texts = made::take_in(&mut self.made, &self.layout, &records)?;
        let rows = group.pieces();
        let mut columns: Vec<Pieces<'_>> = carried.into_iter().map(groups::whole).collect();
        columns.extend(made::pieces(&self.made, &texts, &records, &rows));
        let schema = made::schema(&self.layout, &self.made);
        let metadata = groups::pack(&schema, columns, self.packing, out.bytes(), out)?;
        if let Some(log) = &mut self.log {
            let mut entry = self.file.to_le_bytes().to_vec();
            push(&serde_json::to_vec(&self.made)?, &mut entry);
            push(&groups::write(&metadata)?, &mut entry);
            log.append(&entry)?;
        }
        if self.rows_log.take().is_some() {
            self.stale.1.push(self.rows_name());
        }
        self.done.push(Done {
            file: self.file,
            made: self.made.clone(),
            metadata,
        });
        self.rows_log = self.workspace.log_if_kept(&self.rows_name())?;
        Ok(group.bytes)
    }

    /// Ends a file; the rows that follow go to the next one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn end_file(&mut self, out: &mut PendingFile) -> io::Result<()> {
        self.end_group(out)?;
        self.file += 1;
        Ok(())
    }

    /// Makes groups and rows durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        for log in self.log.iter_mut().chain(&mut self.rows_log) {
            log.sync(lengths)?;
        }
        // The checkpoint before this one may still count on those of the last interval.
        let gone = std::mem::replace(&mut self.stale.0, std::mem::take(&mut self.stale.1));
        for name in &gone {
            self.workspace.remove(name);
        }
        for name in gone.iter().chain(&self.stale.0) {
            lengths.remove(name);
        }
        Ok(())
    }

    /// Writes the ends of all files, which have one schema.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn finish(&mut self, files: &mut [PendingFile]) -> io::Result<()> {
        let schema = made::schema(&self.layout, &self.made);
        for (number, file) in (0..).zip(files) {
            let groups: Vec<&Done> = self
                .done
                .iter()
                .filter(|done| done.file == number)
                .collect();
            if groups.iter().all(|group| group.made == self.made) {
                let parts: Vec<&ParquetMetaData> = groups.iter().map(|it| &it.metadata).collect();
                io::Write::write_all(file, &groups::footer(&schema, &parts)?)?;
                continue;
            }
            file.rewrite(|part, out| {
                out.append(MAGIC)?;
                let mut parts = Vec::new();
                for group in &groups {
                    let batch = groups::unpack(part, &group.metadata)?;
                    let columns = self.widened(&batch, &group.made)?;
                    let columns = columns.into_iter().map(groups::whole).collect();
                    let at = out.len();
                    parts.push(groups::pack(&schema, columns, self.packing, at, out)?);
                }
                out.append(&groups::footer(&schema, &parts.iter().collect::<Vec<_>>())?)
            })?;
        }
        Ok(())
    }

    /// The columns of a group with the types that later rows have given them.
    fn widened(
        &self,
        batch: &RecordBatch,
        made: &[(String, Kind)],
    ) -> io::Result<Vec<Vec<ArrayRef>>> {
        let carried = self.layout.columns.len();
        let mut columns: Vec<Vec<ArrayRef>> = batch
            .columns()
            .iter()
            .take(carried)
            .map(|it| vec![Arc::clone(it)])
            .collect();
        for (place, (_, kind)) in self.made.iter().enumerate() {
            let before = made.get(place).zip(batch.columns().get(carried + place));
            let column = match before {
                Some(((_, before), values)) if before == kind => Arc::clone(values),
                Some(((_, before), values)) => {
                    let texts = (0..values.len()).map(|row| text_of(values, row, before.is_json()));
                    let texts: Vec<Option<String>> = texts.collect();
                    let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
                    made::of_texts(&texts, kind)?
                }
                None if *kind == Kind::Images => build::images(&vec![None; batch.num_rows()])?,
                None => made::of_texts(&vec![None; batch.num_rows()], kind)?,
            };
            columns.push(vec![column]);
        }
        Ok(columns)
    }
}

/// A value of a made column as JSON again.
fn text_of(values: &ArrayRef, row: usize, is_json: bool) -> Option<String> {
    if values.is_null(row) {
        return None;
    }
    let mut out = Vec::new();
    view::write_value(values, row, &mut out);
    let text = String::from_utf8(out).ok()?;
    if is_json {
        serde_json::from_str(&text).ok()
    } else {
        Some(text)
    }
}
