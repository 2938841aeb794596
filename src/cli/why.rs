//! `djr why`: what became of a row, from the ledger.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Exit, data, error};
use crate::note::Code;
use crate::record::stats::READ;
use crate::record::{
    Fate, InputRecord, LedgerEntry, PastRun, QuarantineEntry, RecordError, StepNumber,
};
use crate::report::table::thousands;

const EXAMPLES: &str = "\
Examples:
  djr why out/clean.jsonl 006092514        the row with this id
  djr why out/clean.jsonl data.jsonl:17    the row of this line
  djr why out/clean.jsonl 006092514 --json";

/// Say what became of a row and which operator decided.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The run: its .djr directory, or one of its outputs.
    run: PathBuf,
    /// The row: its id, or its input and line as `FILE:LINE`.
    row: String,
    /// One JSON object a row.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn main(args: &Args) -> Exit {
    let run = match PastRun::open(&args.run) {
        Ok(run) => run,
        Err(failure) => {
            error(&failure.to_string(), failure.hint());
            return Exit::Usage;
        }
    };
    let wanted = Wanted::new(&run, &args.row);
    let answer = wanted.search(&run).and_then(|found| {
        let origins = duplicated(&run, &found.rows)?;
        let set_aside = set_aside(&run, &found.rows)?;
        Ok((found, origins, set_aside))
    });
    let (found, origins, set_aside) = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            error(&failure.to_string(), failure.hint());
            return Exit::Failed;
        }
    };
    if found.rows.is_empty() {
        error(
            &format!("the run read no row {}", args.row),
            Some(&found.hint(&wanted)),
        );
        return Exit::Usage;
    }
    let mut text = String::new();
    for (row, times) in repeats(&found.rows) {
        let of_row = set_aside.get(&row.offset).map_or(&[][..], Vec::as_slice);
        let answer = Answer {
            run: &run,
            row,
            times,
            in_parts: found
                .rows
                .iter()
                .any(|other| other.offset == row.offset && other.part > 0),
            other: row.other().and_then(|offset| origins.get(&offset)),
            set_aside: of_row.iter().filter(|r| r.part == row.part).collect(),
        };
        if args.json {
            // Nothing in it can fail to be written as JSON.
            let line = serde_json::to_string(&answer.record()).unwrap_or_default();
            let _ = writeln!(text, "{line}");
        } else {
            answer.words(&mut text);
        }
    }
    data(&text)
}

type Entry = LedgerEntry<'static>;
type SetAside = QuarantineEntry<'static>;

/// What the user asks for.
struct Wanted<'a> {
    id: &'a str,
    /// Inputs that the name before a colon may mean, and the line after it.
    place: Option<(Vec<u32>, u64)>,
    /// The text has the form of a place, but no input has that name.
    unknown_file: bool,
}

#[derive(Default)]
struct Found {
    rows: Vec<Entry>,
    /// An id that differs in its leading zeros only.
    near: Option<String>,
    /// The last line of the inputs asked for.
    last_line: u64,
}

impl<'a> Wanted<'a> {
    fn new(run: &PastRun, asked: &'a str) -> Self {
        let place = asked
            .rsplit_once(':')
            .and_then(|(name, line)| Some((name, line.parse().ok()?)));
        let (files, line) = match place {
            Some((name, line)) => (files_called(run, name), line),
            None => (Vec::new(), 0),
        };
        Self {
            id: asked,
            unknown_file: place.is_some() && files.is_empty(),
            place: (!files.is_empty()).then_some((files, line)),
        }
    }

    /// Reads the ledger once and keeps the rows asked for.
    fn search(&self, run: &PastRun) -> Result<Found, RecordError> {
        let mut found = Found::default();
        let needle = memchr::memmem::Finder::new(self.id.as_bytes());
        let bare = self.id.trim_start_matches('0');
        let bare_needle = memchr::memmem::Finder::new(bare.as_bytes());
        let mut ledger = run.ledger()?;
        loop {
            let wants_near = found.near.is_none() && !bare.is_empty();
            let may_be = |line: &[u8]| {
                // An id may be written with escapes; else its text stands in the line.
                self.place.is_some()
                    || needle.find(line).is_some()
                    || memchr::memchr(b'\\', line).is_some()
                    || wants_near && bare_needle.find(line).is_some()
            };
            let Some(entry) = ledger.next_of(may_be)? else {
                break;
            };
            let here = self
                .place
                .as_ref()
                .is_some_and(|(files, _)| files.contains(&entry.file));
            if here {
                found.last_line = found.last_line.max(entry.line);
            }
            let at_place = here && self.place.as_ref().is_some_and(|p| p.1 == entry.line);
            let id = entry.id_text();
            if at_place || id.as_deref() == Some(self.id) {
                found.rows.push(entry);
            } else if let Some(id) = id
                && wants_near
                && id.trim_start_matches('0') == bare
            {
                found.near = Some(id);
            }
        }
        found.rows.sort_by_key(|row| (row.offset, row.part));
        Ok(found)
    }
}

impl Found {
    fn hint(&self, wanted: &Wanted) -> String {
        if wanted.place.is_some() {
            return format!(
                "blank lines are not rows; the last row of that input is on line {}",
                thousands(self.last_line)
            );
        }
        if wanted.unknown_file {
            return "no input of the run has that name; manifest.json lists them".to_owned();
        }
        match &self.near {
            Some(id) => format!("there is a row with the id {id}"),
            None => {
                "ids are compared letter by letter; a line is asked for as FILE:LINE".to_owned()
            }
        }
    }
}

/// The inputs that `name` may mean: by their whole path, or by its end.
fn files_called(run: &PastRun, name: &str) -> Vec<u32> {
    let real = std::fs::canonicalize(name).ok();
    let named = |input: &InputRecord| {
        let path = Path::new(&input.name);
        path.ends_with(name) || real.is_some() && std::fs::canonicalize(path).ok() == real
    };
    (0..)
        .zip(&run.manifest.inputs)
        .filter(|(_, input)| named(input))
        .map(|(number, _)| number)
        .collect()
}

/// Whether a line of a record may be about a row of these identities.
fn about(offsets: impl Iterator<Item = u64>) -> impl Fn(&[u8]) -> bool {
    let needles: Vec<String> = offsets.map(|o| format!("\"offset\":{o},")).collect();
    move |line| {
        let mut needles = needles.iter();
        needles.any(|n| memchr::memmem::find(line, n.as_bytes()).is_some())
    }
}

/// The rows that `rows` duplicate or are merged into, by their identities. Of a row that was cut
/// into parts, one that was kept speaks for it.
fn duplicated(run: &PastRun, rows: &[Entry]) -> Result<BTreeMap<u64, Entry>, RecordError> {
    let wanted: Vec<u64> = rows.iter().filter_map(Entry::other).collect();
    let mut found: BTreeMap<u64, Entry> = BTreeMap::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let may_be = about(wanted.iter().copied());
    let mut ledger = run.ledger()?;
    while let Some(entry) = ledger.next_of(&may_be)? {
        let better = |old: &Entry| old.fate != Fate::Kept && entry.fate == Fate::Kept;
        if wanted.contains(&entry.offset) && found.get(&entry.offset).is_none_or(better) {
            found.insert(entry.offset, entry);
        }
    }
    Ok(found)
}

/// What the quarantine says of `rows`, by their identities.
fn set_aside(run: &PastRun, rows: &[Entry]) -> Result<BTreeMap<u64, Vec<SetAside>>, RecordError> {
    let mut found: BTreeMap<u64, Vec<SetAside>> = BTreeMap::new();
    let Some(mut records) = run.quarantine()? else {
        return Ok(found);
    };
    let may_be = about(rows.iter().map(|row| row.offset));
    while let Some(record) = records.next_of(&may_be)? {
        if rows.iter().any(|row| row.offset == record.offset) {
            found.entry(record.offset).or_default().push(record);
        }
    }
    Ok(found)
}

/// Each row once, with how many entries it has: selectors may take a row more than once.
fn repeats(rows: &[Entry]) -> Vec<(&Entry, usize)> {
    let mut out: Vec<(&Entry, usize)> = Vec::new();
    for row in rows {
        let same = |last: &Entry| {
            (last.offset, last.part, last.fate) == (row.offset, row.part, row.fate)
                && last.by == row.by
        };
        match out.last_mut() {
            Some((last, times)) if same(last) => *times += 1,
            _ => out.push((row, 1)),
        }
    }
    out
}

/// All that is known of one row, or of one part of it.
struct Answer<'a> {
    run: &'a PastRun,
    row: &'a Entry,
    times: usize,
    /// The row was cut into parts, and this is one of them.
    in_parts: bool,
    /// The row that it duplicates or is merged into.
    other: Option<&'a Entry>,
    set_aside: Vec<&'a SetAside>,
}

/// An answer as `--json` gives it.
#[derive(Serialize)]
struct Told<'a> {
    input: &'a str,
    line: u64,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u64>,
    id: Option<&'a RawValue>,
    fate: Fate,
    times: usize,
    by: Option<&'a str>,
    step: Option<StepNumber>,
    stat: Option<&'a str>,
    value: Option<&'a Value>,
    limit: Option<&'a str>,
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate_of: Option<Place<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merged_into: Option<Place<'a>>,
    #[serde(skip_serializing_if = "<[Code]>::is_empty")]
    notes: &'a [Code],
    set_aside: Vec<Complaint<'a>>,
}

/// Where another row is.
#[derive(Serialize)]
struct Place<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
}

/// Why a row could not be processed.
#[derive(Serialize)]
struct Complaint<'a> {
    by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<StepNumber>,
    code: &'a str,
    message: &'a str,
}

impl Answer<'_> {
    fn place(&self, row: &Entry) -> String {
        let place = format!("{}:{}", self.run.input_name(row.file), row.line);
        let place = match row.id_text() {
            Some(id) => format!("{place}  id {id}"),
            None => place,
        };
        // An answer is one line a fact, whatever stands in a name.
        place.replace('\n', "\\n").replace('\t', "\\t")
    }

    fn words(&self, out: &mut String) {
        let row = self.row;
        let part = if self.in_parts {
            format!("  part {}", row.part)
        } else {
            String::new()
        };
        let _ = writeln!(out, "{}{part}", self.place(row));
        let by = row.by.as_deref();
        let step = row.step.map(|step| {
            let steps = self.run.manifest.steps.len();
            format!("step {step} of {steps}, ")
        });
        let times = match self.times {
            1 => String::new(),
            times => format!(", {times} times"),
        };
        let fate = row.fate.word();
        let line = match by {
            Some(READ) => format!("{fate} while it was read"),
            Some("outputs") => format!("{fate}: no output took it"),
            Some("sample") => format!("{fate}: no sample drew it"),
            Some("where") => format!("{fate}: no output asks for it"),
            Some(by) => format!("{fate} by {}{by}", step.unwrap_or_default()),
            None => fate.to_owned(),
        };
        let _ = writeln!(out, "  {line}{times}");
        if let (Some(stat), Some(value)) = (&row.stat, &row.value) {
            let limit = row.limit.as_deref().unwrap_or("?");
            let _ = writeln!(out, "  {stat} is {value}; the limit is {limit}");
        }
        let relation = if row.merged_into.is_some() {
            "part of the group of"
        } else {
            "duplicate of"
        };
        if let Some(first) = self.other {
            let _ = writeln!(out, "  {relation} {}", self.place(first));
        } else if let Some(offset) = row.other() {
            let _ = writeln!(out, "  {relation} the row at byte {offset} of the inputs");
        }
        for note in &row.notes {
            let _ = writeln!(out, "  noted: {} [{}]", note.meaning(), note.word());
        }
        for record in &self.set_aside {
            let who = if Some(&*record.by) == by || record.by == READ {
                String::new()
            } else {
                format!("refused by {}: ", record.by)
            };
            let _ = writeln!(out, "  {who}{}: {}", record.code, record.message);
        }
        if let (Some(code), true) = (&row.code, self.set_aside.is_empty()) {
            let _ = writeln!(out, "  {code}");
        }
    }

    fn record(&self) -> Told<'_> {
        let row = self.row;
        let other = |offset: Option<u64>| {
            offset.map(|offset| Place {
                input: self.other.map(|first| self.run.input_name(first.file)),
                line: self.other.map(|first| first.line),
                offset,
                id: self.other.and_then(|first| first.id.as_deref()),
            })
        };
        Told {
            input: self.run.input_name(row.file),
            line: row.line,
            offset: row.offset,
            part: self.in_parts.then_some(row.part),
            id: row.id.as_deref(),
            fate: row.fate,
            times: self.times,
            by: row.by.as_deref(),
            step: row.step,
            stat: row.stat.as_deref(),
            value: row.value.as_ref(),
            limit: row.limit.as_deref(),
            code: row.code.as_deref(),
            duplicate_of: other(row.duplicate_of),
            merged_into: other(row.merged_into),
            notes: &row.notes,
            set_aside: self
                .set_aside
                .iter()
                .map(|record| Complaint {
                    by: &record.by,
                    step: record.step,
                    code: &record.code,
                    message: &record.message,
                })
                .collect(),
        }
    }
}
