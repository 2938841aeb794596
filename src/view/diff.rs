//! How two runs, or two files of rows, differ: row by row, with what decided.
//!
//! A is read once into a table of hashes (about 250 bytes a row), B is held against it, and what
//! differs of B waits on disk until A is read a second time and both sides are written together.
//!
//! Rows of two runs over the same input are matched by their identity, else by `id`: the first
//! row with an id in A is the first one with it in B, and so on. Rows without an id match by
//! content. Rows are equal if their values are: white space between tokens, the order of fields
//! and how characters are escaped make no difference; digits of numbers do.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{RowReader, ViewError};
use crate::io::Input;
use crate::record::manifest::OutputRecord;
use crate::record::{Fate, LedgerEntry, PastRun, Records};
use crate::sample::{ImageContext, Sample};

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only A has (kept) it.
    OnlyA,
    /// Only B has (kept) it.
    OnlyB,
    /// Both have it, with other values.
    Changed,
    /// Neither run kept it, and not for the same reason.
    Decided,
}

/// Why rows differ, with the values that decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reason {
    /// How many rows.
    pub rows: u64,
    /// Least and greatest value that decided, if they were numbers.
    pub values: Option<(f64, f64)>,
}

/// What decided that a run did not keep a row. Sorted, rows that are not in its input come last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decided {
    /// The run read it.
    Here {
        /// What became of it.
        fate: Fate,
        /// Who decided.
        by: Option<String>,
        /// Why it could not be processed.
        code: Option<String>,
        /// The bound it broke, as the recipe says it.
        limit: Option<String>,
    },
    /// It is not in its input.
    Elsewhere,
}

impl Decided {
    /// By the ledger, without the row's own value.
    fn of(entry: Option<&LedgerEntry<'_>>) -> Self {
        let Some(entry) = entry else {
            return Self::Elsewhere;
        };
        let text = |word: &Option<Cow<'_, str>>| word.as_deref().map(str::to_owned);
        let code = text(&entry.code);
        Self::Here {
            fate: entry.fate,
            by: text(&entry.by),
            limit: text(&entry.limit).filter(|_| code.is_none()),
            code,
        }
    }
}

/// `dropped by text_length_filter, max_len: 100`.
impl fmt::Display for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Here {
            fate,
            by,
            code,
            limit,
        } = self
        else {
            return f.write_str("not in its input");
        };
        let by = by.as_deref().unwrap_or("?");
        write!(f, "{} by {by}", fate.word())?;
        match (code, limit) {
            (Some(code), _) => write!(f, ": {code}"),
            (None, Some(limit)) => write!(f, ", {limit}"),
            (None, None) => Ok(()),
        }
    }
}

/// What the comparison found.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Rows that A has (kept).
    pub rows_a: u64,
    /// Rows that B has (kept).
    pub rows_b: u64,
    /// Rows that both have, with the same values.
    pub same: u64,
    /// Rows that differ, by kind.
    pub differing: BTreeMap<Kind, u64>,
    /// What decided, by kind.
    pub reasons: BTreeMap<(Kind, Decided), Reason>,
    /// Fields that differ in changed rows.
    pub fields: BTreeMap<String, u64>,
    /// What could not be compared, for people.
    pub notes: Vec<String>,
}

impl Summary {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.differing.values().all(|n| *n == 0)
    }
}

/// What is compared, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Fields that do not count.
    pub ignore: Vec<String>,
}

/// How far a comparison is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Rows read so far; those of A are read twice.
    pub rows: u64,
    /// How much of [`work`] is done.
    pub done: u64,
}

/// Hears now and then how far a comparison is.
pub type Watcher<'w> = &'w mut dyn FnMut(Seen);

/// How much there is to read: bytes of files, or entries of ledgers; `None` where that is not known
/// beforehand.
#[must_use]
pub fn work(a: &Path, b: &Path) -> Option<u64> {
    let size = |path: &Path| match PastRun::open(path) {
        Ok(run) if PastRun::is_one(path) => Some(run.manifest.rows.read),
        _ => Input::File(path.to_owned()).source().size(),
    };
    Some(2 * size(a)? + size(b)?)
}

/// Compares `a` with `b`: two run directories, or two files of rows. One JSON record a row that
/// differs goes to `out`.
///
/// # Errors
/// If something cannot be read or written, or one of the two is a run and the other is not.
pub fn compare(
    a: &Path,
    b: &Path,
    options: &Options,
    out: Option<&mut dyn Write>,
    watch: Watcher<'_>,
) -> Result<Summary, ViewError> {
    let mut summary = Summary::default();
    let (a, b) = match (PastRun::is_one(a), PastRun::is_one(b)) {
        (true, true) => runs(PastRun::open(a)?, PastRun::open(b)?, &mut summary.notes)?,
        (false, false) => (Side::file(a), Side::file(b)),
        (run, _) => {
            let (run, other) = if run { (a, b) } else { (b, a) };
            return Err(ViewError::format(
                other.display(),
                format!(
                    "not a run directory, but {} is one; compare two runs or two files",
                    run.display()
                ),
            ));
        }
    };
    Comparison {
        options,
        slots: HashMap::new(),
        extra: Vec::new(),
        spill: Spill::new()?,
        summary,
        seen: Seen::default(),
        watch,
    }
    .run(&a, &b, out)
}

/// One of the two things compared; can be read several times.
struct Side {
    run: Option<PastRun>,
    rows: Option<RowFiles>,
    by_id: bool,
}

/// Files of rows.
#[derive(Clone)]
struct RowFiles {
    files: Vec<PathBuf>,
    /// Identities of rows that the ledger counts as kept and that are not in these files.
    refused: HashSet<u64>,
}

/// One row of a side.
struct Row {
    key: u128,
    id: Option<Box<str>>,
    line: u64,
    ledger: Option<LedgerEntry<'static>>,
    bytes: Option<Vec<u8>>,
}

impl Row {
    fn is_kept(&self) -> bool {
        self.ledger.as_ref().is_none_or(|l| l.fate == Fate::Kept)
    }
}

struct SideRows {
    ledger: Option<Records<LedgerEntry<'static>>>,
    rows: Option<RowReader>,
    refused: HashSet<u64>,
    by_id: bool,
    ignore: Vec<String>,
    copies: HashMap<u128, u32>,
}

impl Side {
    fn file(path: &Path) -> Self {
        Self {
            run: None,
            rows: Some(RowFiles {
                files: vec![path.to_owned()],
                refused: HashSet::new(),
            }),
            by_id: true,
        }
    }

    fn open(&self, options: &Options) -> Result<SideRows, ViewError> {
        let reader =
            |rows: &RowFiles| RowReader::new(rows.files.iter().cloned().map(Input::File).collect());
        Ok(SideRows {
            ledger: self.run.as_ref().map(PastRun::ledger).transpose()?,
            rows: self.rows.as_ref().map(reader),
            refused: self
                .rows
                .as_ref()
                .map(|r| r.refused.clone())
                .unwrap_or_default(),
            by_id: self.by_id,
            ignore: options.ignore.clone(),
            copies: HashMap::new(),
        })
    }
}

impl SideRows {
    fn next(&mut self) -> Result<Option<Row>, ViewError> {
        let mut row = if let Some(ledger) = &mut self.ledger {
            let Some(entry) = ledger.next_record()? else {
                return Ok(None);
            };
            let written = entry.fate == Fate::Kept && !self.refused.contains(&entry.offset);
            let bytes = match &mut self.rows {
                Some(rows) if written => rows.next()?.map(|(_, bytes)| bytes),
                _ => None,
            };
            Row {
                key: u128::from(entry.offset),
                id: entry.id.as_ref().map(|id| id.get().into()),
                line: entry.line,
                ledger: Some(entry),
                bytes,
            }
        } else {
            let next = self.rows.as_mut().map_or(Ok(None), RowReader::next)?;
            let Some((origin, bytes)) = next else {
                return Ok(None);
            };
            Row {
                key: 0,
                id: id_of(&bytes),
                line: origin.line,
                ledger: None,
                bytes: Some(bytes),
            }
        };
        if self.by_id {
            row.key = match (&row.id, &row.bytes, &row.ledger) {
                (Some(id), ..) => xxh3_128(canonical(id).as_bytes()),
                (None, _, Some(entry)) => u128::from(entry.offset),
                (None, bytes, None) => u128::from(content_hash(
                    bytes.as_deref().unwrap_or_default(),
                    &self.ignore,
                )),
            };
        }
        // The how-manieth row with this key it is.
        let copy = self.copies.entry(row.key).or_default();
        if *copy > 0 {
            let mut bytes = row.key.to_le_bytes().to_vec();
            bytes.extend_from_slice(&copy.to_le_bytes());
            row.key = xxh3_128(&bytes);
        }
        *copy += 1;
        Ok(Some(row))
    }
}

/// Two runs as sides: with the rows they wrote, if they can be told apart.
fn runs(a: PastRun, b: PastRun, notes: &mut Vec<String>) -> Result<(Side, Side), ViewError> {
    let read = |run: &PastRun| {
        let inputs = run.manifest.inputs.iter();
        inputs.fold((0, 0), |sum, i| (sum.0 + i.rows, sum.1 + i.bytes_read))
    };
    let by_id = read(&a) != read(&b);
    if by_id {
        notes.push("the runs read different inputs: rows are matched by id".to_owned());
    }
    let (whole_a, whole_b) = (whole_outputs(&a), whole_outputs(&b));
    let pair = whole_a.iter().find_map(|left| {
        let mut others = whole_b.iter();
        let right = others.find(|o| o.record.format == left.record.format)?;
        Some((left, right))
    });
    let mut rows = (None, None);
    match pair {
        None => notes.push(
            "no output of the same format, whole and not sampled, is left of both runs: \
             whether rows kept by both changed was not looked at"
                .to_owned(),
        ),
        Some((left, right)) => {
            let joined = (joined(&a, left)?, joined(&b, right)?);
            if joined.0.is_some() && joined.1.is_some() {
                rows = joined;
            } else {
                notes.push(
                    "the outputs hold other rows than the ledgers say: whether rows kept by both \
                     changed was not looked at"
                        .to_owned(),
                );
            }
        }
    }
    let side = |run, rows| Side {
        run: Some(run),
        rows,
        by_id,
    };
    Ok((side(a, rows.0), side(b, rows.1)))
}

/// An output whose files are all as the run wrote them.
struct WholeOutput {
    record: OutputRecord,
    files: Vec<PathBuf>,
}

/// The outputs of a run that hold all rows kept, as far as their files are still there.
fn whole_outputs(run: &PastRun) -> Vec<WholeOutput> {
    let outputs = run.manifest.outputs.iter().zip(&run.settings.outputs);
    let whole = outputs.filter(|(_, spec)| spec.is_whole());
    whole
        .filter_map(|(record, _)| {
            Some(WholeOutput {
                files: record
                    .files
                    .iter()
                    .map(|file| run.intact(file))
                    .collect::<Option<_>>()?,
                record: record.clone(),
            })
        })
        .collect()
}

/// The rows of `output`, if they can be laid beside the ledger: an output that is not sampled
/// holds the kept rows in the ledger's order, but for those that it refused.
fn joined(run: &PastRun, output: &WholeOutput) -> Result<Option<RowFiles>, ViewError> {
    let mut refused = HashSet::new();
    if let Some(mut records) = run.quarantine()? {
        while let Some(record) = records.next_record()? {
            if record.by == output.record.name {
                refused.insert(record.offset);
            }
        }
    }
    let mut ledger = run.ledger()?;
    let mut kept = 0;
    while let Some(entry) = ledger.next_record()? {
        kept += u64::from(entry.fate == Fate::Kept && !refused.contains(&entry.offset));
    }
    Ok((kept == output.record.written).then(|| RowFiles {
        files: output.files.clone(),
        refused,
    }))
}

/// What is remembered of a row of A.
struct Slot {
    kept: bool,
    fate: u64,
    content: u64,
    seen: Found,
}

enum Found {
    Not,
    Same,
    /// B has it otherwise; its side waits here.
    Differs(Kind, Place),
}

#[derive(Clone, Copy)]
struct Place {
    at: u64,
    bytes: u32,
}

struct Comparison<'o, 'w> {
    options: &'o Options,
    seen: Seen,
    watch: Watcher<'w>,
    slots: HashMap<u128, Slot>,
    /// Rows of B that A does not know at all.
    extra: Vec<Place>,
    spill: Spill,
    summary: Summary,
}

/// Rows between two words about how far it is.
const TOLD_EVERY: u64 = 1024;

impl Comparison<'_, '_> {
    fn run(
        mut self,
        a: &Side,
        b: &Side,
        mut out: Option<&mut dyn Write>,
    ) -> Result<Summary, ViewError> {
        let mut rows = a.open(self.options)?;
        while let Some(row) = rows.next()? {
            self.tell(&row);
            self.summary.rows_a += u64::from(row.is_kept());
            self.slots.insert(
                row.key,
                Slot {
                    kept: row.is_kept(),
                    fate: fate_hash(&row),
                    content: self.content_hash(&row),
                    seen: Found::Not,
                },
            );
        }
        let mut rows = b.open(self.options)?;
        while let Some(row) = rows.next()? {
            self.tell(&row);
            self.summary.rows_b += u64::from(row.is_kept());
            self.hold_against(&row)?;
        }
        let mut rows = a.open(self.options)?;
        while let Some(row) = rows.next()? {
            self.tell(&row);
            let Some(slot) = self.slots.get(&row.key) else {
                continue;
            };
            let (kind, place) = match slot.seen {
                Found::Same => continue,
                Found::Not if row.is_kept() => (Kind::OnlyA, None),
                Found::Not => (Kind::Decided, None),
                Found::Differs(kind, place) => (kind, Some(place)),
            };
            let other = place.map(|place| self.spill.get(place)).transpose()?;
            self.record(kind, Some(&row), other.as_ref(), &mut out)?;
        }
        for place in std::mem::take(&mut self.extra) {
            let row = self.spill.get(place)?;
            let kind = if row.is_kept() {
                Kind::OnlyB
            } else {
                Kind::Decided
            };
            self.record(kind, None, Some(&row), &mut out)?;
        }
        Ok(self.summary)
    }

    /// Says now and then how far it is.
    fn tell(&mut self, row: &Row) {
        self.seen.rows += 1;
        self.seen.done += match (&row.ledger, &row.bytes) {
            (None, Some(bytes)) => bytes.len() as u64 + 1,
            _ => 1,
        };
        if self.seen.rows.is_multiple_of(TOLD_EVERY) {
            (self.watch)(self.seen);
        }
    }

    /// Holds a row of B against what is known of A.
    fn hold_against(&mut self, row: &Row) -> Result<(), ViewError> {
        let content = self.content_hash(row);
        let Some(slot) = self.slots.get_mut(&row.key) else {
            let place = self.spill.put(row)?;
            self.extra.push(place);
            return Ok(());
        };
        let kind = match (slot.kept, row.is_kept()) {
            (true, false) => Some(Kind::OnlyA),
            (false, true) => Some(Kind::OnlyB),
            (true, true) => {
                let same = slot.content == content;
                self.summary.same += u64::from(same);
                (!same).then_some(Kind::Changed)
            }
            (false, false) => (slot.fate != fate_hash(row)).then_some(Kind::Decided),
        };
        slot.seen = match kind {
            None => Found::Same,
            Some(kind) => Found::Differs(kind, self.spill.put(row)?),
        };
        Ok(())
    }

    /// Counts a row that differs and writes its record.
    fn record(
        &mut self,
        kind: Kind,
        a: Option<&Row>,
        b: Option<&Row>,
        out: &mut Option<&mut dyn Write>,
    ) -> Result<(), ViewError> {
        *self.summary.differing.entry(kind).or_default() += 1;
        let by_run = [a, b].into_iter().flatten().any(|r| r.ledger.is_some());
        let lost = match kind {
            Kind::OnlyA => b,
            Kind::OnlyB => a,
            Kind::Changed => None,
            Kind::Decided => b.or(a),
        };
        if by_run && kind != Kind::Changed {
            let entry = lost.and_then(|row| row.ledger.as_ref());
            let reason = self
                .summary
                .reasons
                .entry((kind, Decided::of(entry)))
                .or_default();
            reason.rows += 1;
            for value in entry.map(numbers).unwrap_or_default() {
                let (low, high) = reason.values.unwrap_or((value, value));
                reason.values = Some((low.min(value), high.max(value)));
            }
        }
        let fields = match (kind, a, b) {
            (Kind::Changed, Some(a), Some(b)) => self.changes(a, b),
            _ => Map::new(),
        };
        for field in fields.keys() {
            *self.summary.fields.entry(field.clone()).or_default() += 1;
        }
        let Some(out) = out else { return Ok(()) };
        let id = a.or(b).and_then(|row| row.id.as_deref());
        let record = Difference {
            kind: kind.word(),
            id: id.and_then(|id| serde_json::from_str(id).ok()),
            a: a.map(|row| SideRecord::of(row, kind)),
            b: b.map(|row| SideRecord::of(row, kind)),
            fields: (kind == Kind::Changed).then_some(fields),
        };
        serde_json::to_writer(&mut *out, &record)
            .map_err(std::io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .map_err(|e| ViewError::write("the list of differences", e))
    }

    fn content_hash(&self, row: &Row) -> u64 {
        row.bytes
            .as_deref()
            .map_or(0, |bytes| content_hash(bytes, &self.options.ignore))
    }

    /// The fields that differ, with both values.
    fn changes(&self, a: &Row, b: &Row) -> Map<String, Value> {
        let fields = |row: &Row| {
            row.bytes
                .as_deref()
                .and_then(|bytes| fields(bytes, &self.options.ignore))
                .unwrap_or_default()
        };
        let (a, b) = (fields(a), fields(b));
        let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let mut out = Map::new();
        for name in names {
            let (left, right) = (a.get(name), b.get(name));
            if left == right {
                continue;
            }
            let mut sides = Map::new();
            for (side, value) in [("a", left), ("b", right)] {
                // A field that is not there has no entry; one that is null has null.
                if let Some(value) = value {
                    sides.insert(side.to_owned(), json_or_text(value));
                }
            }
            out.insert(name.clone(), Value::Object(sides));
        }
        out
    }
}

impl Kind {
    /// The word in records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::OnlyA => "only_a",
            Self::OnlyB => "only_b",
            Self::Changed => "changed",
            Self::Decided => "decided",
        }
    }
}

/// Rows that wait on disk: a nameless temporary file.
struct Spill {
    file: File,
    end: u64,
}

#[derive(Serialize, serde::Deserialize)]
struct Waiting {
    id: Option<Box<RawValue>>,
    line: u64,
    ledger: Option<LedgerEntry<'static>>,
}

impl Spill {
    fn new() -> Result<Self, ViewError> {
        Ok(Self {
            file: tempfile::tempfile().map_err(spill_error)?,
            end: 0,
        })
    }

    fn put(&mut self, row: &Row) -> Result<Place, ViewError> {
        let head = Waiting {
            id: row
                .id
                .as_deref()
                .and_then(|id| RawValue::from_string(id.to_owned()).ok()),
            line: row.line,
            ledger: row.ledger.clone(),
        };
        let mut bytes = serde_json::to_vec(&head).map_err(|e| spill_error(e.into()))?;
        bytes.push(b'\n');
        bytes.extend_from_slice(row.bytes.as_deref().unwrap_or_default());
        self.file.write_all(&bytes).map_err(spill_error)?;
        let place = Place {
            at: self.end,
            bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        };
        self.end += bytes.len() as u64;
        Ok(place)
    }

    fn get(&mut self, place: Place) -> Result<Row, ViewError> {
        let mut bytes = vec![0; place.bytes as usize];
        self.file
            .seek(SeekFrom::Start(place.at))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(spill_error)?;
        let split = bytes.iter().position(|b| *b == b'\n').unwrap_or(0);
        let row = bytes.split_off(split);
        let head: Waiting = serde_json::from_slice(&bytes).map_err(|e| spill_error(e.into()))?;
        let row = row.get(1..).unwrap_or_default();
        Ok(Row {
            key: 0,
            id: head.id.map(|id| id.get().into()),
            line: head.line,
            ledger: head.ledger,
            bytes: (!row.is_empty()).then(|| row.to_vec()),
        })
    }
}

fn spill_error(error: std::io::Error) -> ViewError {
    let place = std::env::temp_dir();
    ViewError::write(format!("a temporary file in {}", place.display()), error)
}

/// A row that differs, as `--output` has it.
#[derive(Serialize)]
struct Difference<'a> {
    kind: &'static str,
    id: Option<Value>,
    a: Option<SideRecord<'a>>,
    b: Option<SideRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Map<String, Value>>,
}

/// What one of the two has of a row.
#[derive(Serialize)]
#[serde(untagged)]
enum SideRecord<'a> {
    /// A run: what the ledger says, but for the id, which stands beside it.
    Ledger(Box<LedgerEntry<'a>>),
    /// A file: where the row is, and the row, unless its fields are told apart.
    Row {
        line: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        row: Option<Value>,
    },
}

impl SideRecord<'_> {
    fn of(row: &Row, kind: Kind) -> Self {
        if let Some(entry) = &row.ledger {
            return Self::Ledger(Box::new(LedgerEntry {
                id: None,
                ..entry.clone()
            }));
        }
        let bytes = row.bytes.as_ref().filter(|_| kind != Kind::Changed);
        Self::Row {
            line: row.line,
            row: bytes.map(|bytes| json_or_text(&String::from_utf8_lossy(bytes))),
        }
    }
}

/// JSON as it is; what cannot be decoded, as text.
fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

fn numbers(entry: &LedgerEntry<'_>) -> Vec<f64> {
    match &entry.value {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_f64).collect(),
        Some(value) => value.as_f64().into_iter().collect(),
        None => Vec::new(),
    }
}

fn fate_hash(row: &Row) -> u64 {
    let Some(entry) = &row.ledger else { return 0 };
    let parts = [
        Some(entry.fate.word()),
        entry.by.as_deref(),
        entry.code.as_deref(),
    ];
    xxh3_64(format!("{parts:?}").as_bytes())
}

/// A hash of what counts of a row: its fields by name, each in its canonical form.
fn content_hash(bytes: &[u8], ignore: &[String]) -> u64 {
    let Some(fields) = fields(bytes, ignore) else {
        return xxh3_64(bytes);
    };
    let mut all = Vec::with_capacity(bytes.len());
    for (name, value) in fields {
        // A length before each part keeps parts apart.
        for part in [name.as_bytes(), value.as_bytes()] {
            all.extend_from_slice(&(part.len() as u64).to_le_bytes());
            all.extend_from_slice(part);
        }
    }
    xxh3_64(&all)
}

/// The fields that count; `None` if the bytes are not an object.
fn fields(bytes: &[u8], ignore: &[String]) -> Option<BTreeMap<String, String>> {
    let sample = parse(bytes)?;
    let names = sample
        .keys()
        .filter(|name| !ignore.iter().any(|i| i == name));
    let field = |name: std::borrow::Cow<'_, str>| {
        let value = sample.raw_json(&name).map(canonical).unwrap_or_default();
        (name.into_owned(), value)
    };
    Some(names.map(field).collect())
}

fn id_of(bytes: &[u8]) -> Option<Box<str>> {
    let id: Box<str> = parse(bytes)?.raw_json("id")?.into();
    (&*id != "null").then_some(id)
}

fn parse(bytes: &[u8]) -> Option<Sample> {
    let line = std::str::from_utf8(bytes).ok()?.to_owned();
    Sample::parse(
        line,
        crate::sample::Origin::default(),
        Arc::new(ImageContext::default()),
    )
    .ok()
}

/// A JSON text without white space between tokens and with strings escaped one way.
fn canonical(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            let end = string_end(rest);
            let (string, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            match serde_json::from_str::<String>(string) {
                Ok(text) => out.push_str(&Value::from(text).to_string()),
                // A lone surrogate has no other way to be written.
                Err(_) => out.push_str(string),
            }
            rest = after;
            continue;
        }
        if !matches!(c, ' ' | '\t' | '\r' | '\n') {
            out.push(c);
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    out
}

/// One past the closing quote of the string that `text` starts with.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_compare_and_spelling_does_not() {
        assert_eq!(
            canonical(r#"{ "a" : [1, 2.50, "\u00e9 \"x\" "] }"#),
            canonical("{\"a\":[1,2.50,\"é \\\"x\\\" \"]}")
        );
        assert_ne!(canonical("1.0"), canonical("1"));
        assert_ne!(canonical(r#""\ud800""#), canonical(r#""\ud801""#));
        assert_eq!(canonical(r#""ends \\" "#), r#""ends \\""#);
    }
}
