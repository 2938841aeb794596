//! `djr why`: what became of rows, from the ledger.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_json::value::RawValue;

use super::ui::{AsJson, Ui};
use super::{Exit, past};
use crate::answer::{BoundValue, PlaceRecord, SetAsideRecord, WhyAnswer, WhyRow};
use crate::note::rows;
use crate::op::named_in;
use crate::record::stats::READ;
use crate::record::{Fate, InputRecord, LedgerEntry, PastRun, QuarantineEntry, RecordError};
use crate::report::table::thousands;

const EXAMPLES: &str = "\
Examples:
  djr why out/clean.jsonl 006092514 001206   the rows with these ids
  djr why out/clean.jsonl data.jsonl:17      the row of this line
  djr why out/clean.jsonl --dropped --by text_length_filter --limit 5
  djr why out/clean.jsonl --set-aside --code json_invalid --json";

/// Say what became of rows and which operator decided.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The run: its .djr directory, or one of its outputs.
    run: PathBuf,
    /// The rows: their ids, or an input and a line as `FILE:LINE`.
    #[arg(required_unless_present_any = ["dropped", "set_aside", "by", "code"])]
    row: Vec<String>,
    /// All rows that operators dropped.
    #[arg(long, conflicts_with_all = ["row", "set_aside"])]
    dropped: bool,
    /// All rows that were set aside, or that an output refused.
    #[arg(long, conflicts_with = "row")]
    set_aside: bool,
    /// Only rows that this step decided about: an operator's name, or its number.
    #[arg(long, value_name = "STEP", conflicts_with = "row")]
    by: Option<String>,
    /// Only rows set aside for this reason (docs/REASONS.md).
    #[arg(long, value_name = "CODE", conflicts_with_all = ["row", "dropped"])]
    code: Option<String>,
    /// Show at most so many rows of a list.
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "row")]
    limit: usize,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let run = match past::open(&args.run, ui) {
        Ok(run) => run,
        Err(exit) => return exit,
    };
    let asked: Vec<Wanted<'_>> = args.row.iter().map(|row| Wanted::new(&run, row)).collect();
    let listed = List::new(args);
    let found = if asked.is_empty() {
        match listed.check(&run, ui) {
            Some(exit) => return exit,
            None => listed.search(&run),
        }
    } else {
        search(&asked, &run)
    };
    let answer = found.and_then(|found| {
        let origins = duplicated(&run, &found.rows)?;
        let set_aside = set_aside(&run, &found.rows)?;
        Ok((found, origins, set_aside))
    });
    let (found, origins, set_aside) = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            ui.record(&failure);
            return Exit::Failed;
        }
    };
    let mut text = String::new();
    let mut records = Vec::new();
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
            set_aside: of_row
                .iter()
                .filter(|r| (r.part, r.copy) == (row.part, row.copy))
                .collect(),
        };
        if ui.json {
            records.push(answer.record());
        } else {
            answer.words(&mut text);
        }
    }
    let shown = found.rows.len() as u64;
    ui.result(&WhyAnswer {
        run_dir: run.files.dir.clone(),
        total: found.total.max(shown),
        rows: records,
        unknown: found.unknown.iter().map(|(row, _)| row.clone()).collect(),
    });
    let printed = ui.data(&text);
    if asked.is_empty() {
        let more = found.total.saturating_sub(shown);
        let more = match more {
            0 => String::new(),
            more => format!("; {} more: --limit shows them", thousands(more)),
        };
        ui.info(&format!("{}{more}", rows(found.total)));
        return printed;
    }
    for (row, hint) in &found.unknown {
        ui.error(
            "no_such_row",
            &format!("the run read no row {row}"),
            Some(hint),
        );
    }
    if found.unknown.is_empty() {
        printed
    } else {
        Exit::Usage
    }
}

type Entry = LedgerEntry<'static>;
type SetAside = QuarantineEntry<'static>;

/// The rows of a list.
struct List<'a> {
    fate: Option<Fate>,
    by: Option<&'a str>,
    code: Option<&'a str>,
    limit: usize,
}

impl<'a> List<'a> {
    fn new(args: &'a Args) -> Self {
        let fate = match (args.dropped, args.set_aside || args.code.is_some()) {
            (true, _) => Some(Fate::Dropped),
            (_, true) => Some(Fate::Quarantined),
            _ => None,
        };
        Self {
            fate,
            by: args.by.as_deref(),
            code: args.code.as_deref(),
            limit: args.limit,
        }
    }

    /// Whether what is asked for can be in the run at all.
    fn check(&self, run: &PastRun, ui: &Ui) -> Option<Exit> {
        let steps = &run.manifest.steps;
        if let Some(by) = self.by {
            let is_number = by.parse().is_ok_and(|n: usize| n >= 1 && n <= steps.len());
            let others = run.manifest.reasons.iter().map(|reason| reason.by.as_str());
            let mut names = steps
                .iter()
                .map(|step| step.op.as_str())
                .chain(others)
                .chain([READ, OUTPUTS, SAMPLE]);
            if !is_number && !names.any(|name| name == by) {
                let names: Vec<&str> = steps.iter().map(|step| step.op.as_str()).collect();
                return Some(ui.usage(
                    &format!("the run has no step '{by}'"),
                    Some(&format!("its steps are {}", names.join(", "))),
                ));
            }
        }
        let mut reasons = run.manifest.reasons.iter();
        if let Some(code) = self.code
            && !reasons.any(|reason| reason.code == code)
        {
            let mut codes: Vec<&str> = Vec::new();
            for reason in &run.manifest.reasons {
                if !codes.contains(&reason.code.as_str()) {
                    codes.push(&reason.code);
                }
            }
            return Some(ui.usage(
                &format!("the run set no row aside for '{code}'"),
                Some(&format!("its reasons are {}", codes.join(", "))),
            ));
        }
        None
    }

    fn wants(&self, entry: &Entry) -> bool {
        // A row that one output refused may stand in another one.
        let decided = entry.fate != Fate::Kept && entry.fate != Fate::Merged;
        let fate = match self.fate {
            None => decided,
            Some(fate) => entry.fate == fate,
        };
        let by = self.by.is_none_or(|by| {
            entry.by.as_deref() == Some(by) || entry.step.is_some_and(|step| step.to_string() == by)
        });
        let code = self
            .code
            .is_none_or(|code| entry.code.as_deref() == Some(code));
        fate && by && code
    }

    fn search(&self, run: &PastRun) -> Result<Found, RecordError> {
        let mut found = Found::default();
        // Rows that an output refused and another one wrote are told of by the quarantine alone.
        let refused = self.refused(run)?;
        let kept = memchr::memmem::Finder::new(b"\"fate\":\"kept\"");
        let about = about(refused.iter().copied());
        let mut ledger = run.ledger()?;
        while let Some(entry) = ledger.next_of(|line| kept.find(line).is_none() || about(line))? {
            if self.wants(&entry) || refused.contains(&entry.offset) {
                found.total += 1;
                if found.rows.len() < self.limit {
                    found.rows.push(entry);
                }
            }
        }
        found.rows.sort_by_key(place);
        Ok(found)
    }

    /// The identities of rows that outputs refused for the reason asked for.
    fn refused(&self, run: &PastRun) -> Result<Vec<u64>, RecordError> {
        let mut refused = Vec::new();
        if self.fate != Some(Fate::Quarantined) {
            return Ok(refused);
        }
        let outputs: Vec<&str> = run
            .manifest
            .outputs
            .iter()
            .map(|o| o.name.as_str())
            .collect();
        let Some(mut records) = run.quarantine()? else {
            return Ok(refused);
        };
        while let Some(record) = records.next_record()? {
            if outputs.contains(&&*record.by)
                && self.by.is_none_or(|by| record.by == by || by == OUTPUTS)
                && self.code.is_none_or(|code| record.code == code)
                && !refused.contains(&record.offset)
                && refused.len() <= self.limit
            {
                refused.push(record.offset);
            }
        }
        Ok(refused)
    }
}

/// Who decides where no output took a row.
const OUTPUTS: &str = "outputs";

/// Who decides where no sample drew a row.
const SAMPLE: &str = "sample";

/// What the user asks for.
struct Wanted<'a> {
    id: &'a str,
    /// Inputs that the name before a colon may mean, and the line after it.
    place: Option<(Vec<u32>, u64)>,
    /// The text has the form of a place, but no input has that name.
    unknown_file: bool,
    needle: memchr::memmem::Finder<'a>,
    /// The id without its leading zeros, to find one that is nearly it.
    bare: &'a str,
    bare_needle: memchr::memmem::Finder<'a>,
}

#[derive(Default)]
struct Found {
    rows: Vec<Entry>,
    /// How many there are, of a list.
    total: u64,
    /// What was asked for and is not there, with a hint.
    unknown: Vec<(String, String)>,
}

/// What was found of one row asked for.
#[derive(Clone, Default)]
struct Seen {
    is_found: bool,
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
        let bare = asked.trim_start_matches('0');
        Self {
            id: asked,
            unknown_file: place.is_some() && files.is_empty(),
            place: (!files.is_empty()).then_some((files, line)),
            needle: memchr::memmem::Finder::new(asked.as_bytes()),
            bare,
            bare_needle: memchr::memmem::Finder::new(bare.as_bytes()),
        }
    }

    /// Whether a line of the ledger may be of it.
    fn may_be(&self, line: &[u8], seen: &Seen) -> bool {
        // An id may be written with escapes; else its text stands in the line.
        self.place.is_some()
            || self.needle.find(line).is_some()
            || memchr::memchr(b'\\', line).is_some()
            || self.wants_near(seen) && self.bare_needle.find(line).is_some()
    }

    fn wants_near(&self, seen: &Seen) -> bool {
        seen.near.is_none() && !self.bare.is_empty()
    }

    /// Whether the entry is the row asked for.
    fn is_it(&self, entry: &Entry, seen: &mut Seen) -> bool {
        let here = self
            .place
            .as_ref()
            .is_some_and(|(files, _)| files.contains(&entry.file));
        if here {
            seen.last_line = seen.last_line.max(entry.line);
        }
        let at_place = here && self.place.as_ref().is_some_and(|p| p.1 == entry.line);
        let id = entry.id_text();
        if at_place || id.as_deref() == Some(self.id) {
            seen.is_found = true;
            return true;
        }
        if let Some(id) = id
            && self.wants_near(seen)
            && id.trim_start_matches('0') == self.bare
        {
            seen.near = Some(id);
        }
        false
    }

    fn hint(&self, seen: &Seen) -> String {
        if self.place.is_some() {
            return format!(
                "blank lines are not rows; the last row of that input is on line {}",
                thousands(seen.last_line)
            );
        }
        if self.unknown_file {
            return "no input of the run has that name; manifest.json lists them".to_owned();
        }
        match &seen.near {
            Some(id) => format!("there is a row with the id {id}"),
            None => {
                "ids are compared letter by letter; a line is asked for as FILE:LINE".to_owned()
            }
        }
    }
}

/// Reads the ledger once and keeps the rows asked for.
fn search(asked: &[Wanted<'_>], run: &PastRun) -> Result<Found, RecordError> {
    let mut found = Found::default();
    let mut seen = vec![Seen::default(); asked.len()];
    let mut ledger = run.ledger()?;
    loop {
        let may_be = |line: &[u8]| {
            let mut asked = asked.iter().zip(&seen);
            asked.any(|(wanted, seen)| wanted.may_be(line, seen))
        };
        let Some(entry) = ledger.next_of(may_be)? else {
            break;
        };
        let mut is_wanted = false;
        for (wanted, seen) in asked.iter().zip(&mut seen) {
            is_wanted |= wanted.is_it(&entry, seen);
        }
        if is_wanted {
            found.rows.push(entry);
        }
    }
    found.rows.sort_by_key(place);
    for (wanted, seen) in asked.iter().zip(&seen) {
        if !seen.is_found {
            found
                .unknown
                .push((wanted.id.to_owned(), wanted.hint(seen)));
        }
    }
    Ok(found)
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

/// Where an entry stands in an answer.
fn place(row: &Entry) -> (u64, u64, u64) {
    (row.offset, row.part, row.copy)
}

/// Each row with how many entries it has: copies that selectors made and that ended alike, one number
/// behind the other, are told of together.
fn repeats(rows: &[Entry]) -> Vec<(&Entry, u64)> {
    let mut out: Vec<(&Entry, u64)> = Vec::new();
    for row in rows {
        let same = |last: &Entry, times: u64| {
            place(row) == (last.offset, last.part, last.copy + times)
                && (last.fate, &last.by, last.step) == (row.fate, &row.by, row.step)
                && (&last.code, last.other()) == (&row.code, row.other())
        };
        match out.last_mut() {
            Some((last, times)) if same(last, *times) => *times += 1,
            _ => out.push((row, 1)),
        }
    }
    out
}

/// All that is known of one row, or of one part of it.
struct Answer<'a> {
    run: &'a PastRun,
    row: &'a Entry,
    times: u64,
    /// The row was cut into parts, and this is one of them.
    in_parts: bool,
    /// The row that it duplicates or is merged into.
    other: Option<&'a Entry>,
    set_aside: Vec<&'a SetAside>,
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
        let last = row.copy + self.times.saturating_sub(1);
        let copy = match (row.copy, last) {
            (0, 0) => String::new(),
            (0, 1) => "  and copy 1".to_owned(),
            (0, last) => format!("  and copies 1 to {last}"),
            (first, last) if first == last => format!("  copy {first}"),
            (first, last) => format!("  copies {first} to {last}"),
        };
        let _ = writeln!(out, "{}{part}{copy}", self.place(row));
        let by = row.by.as_deref();
        let step = row.step.map(|step| {
            let steps = self.run.manifest.steps.len();
            format!("step {step} of {steps}, ")
        });
        let times = match self.times {
            1 => String::new(),
            times => format!(", {times} times"),
        };
        let fate = match row.fate {
            Fate::Quarantined => "set aside",
            fate => fate.word(),
        };
        let line = match by {
            Some(READ) => format!("{fate} while it was read"),
            Some(OUTPUTS) => format!("{fate}: no output took it"),
            Some(SAMPLE) => format!("{fate}: no sample drew it"),
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

    fn record(&self) -> WhyRow {
        let row = self.row;
        let text =
            |word: &Option<std::borrow::Cow<'static, str>>| word.as_deref().map(str::to_owned);
        let other = |offset: Option<u64>| {
            offset.map(|offset| PlaceRecord {
                input: self
                    .other
                    .map(|first| self.run.input_name(first.file).to_owned()),
                line: self.other.map(|first| first.line),
                offset,
                id: self.other.and_then(|first| first.id.as_deref()).map(value),
            })
        };
        let set_aside = self.set_aside.iter().map(|record| SetAsideRecord {
            by: record.by.clone().into_owned(),
            step: record.step,
            code: record.code.clone().into_owned(),
            message: record.message.clone().into_owned(),
        });
        WhyRow {
            input: self.run.input_name(row.file).to_owned(),
            line: row.line,
            offset: row.offset,
            part: self.in_parts.then_some(row.part),
            copy: (row.copy > 0).then_some(row.copy),
            id: row.id.as_deref().map_or(Value::Null, value),
            fate: row.fate,
            times: self.times,
            by: text(&row.by),
            step: row.step,
            stat: text(&row.stat),
            value: row.value.clone(),
            limit: text(&row.limit),
            bounds: bounds_in(row.limit.as_deref()),
            code: text(&row.code),
            duplicate_of: other(row.duplicate_of),
            merged_into: other(row.merged_into),
            notes: row.notes.clone(),
            set_aside: set_aside.collect(),
        }
    }
}

/// The bounds that a limit of the ledger names, as values.
pub(super) fn bounds_in(limit: Option<&str>) -> Vec<BoundValue> {
    let named = named_in(limit.unwrap_or_default()).into_iter();
    let bound = |(param, value): (&str, Option<f64>)| BoundValue {
        param: param.to_owned(),
        value,
    };
    named.map(bound).collect()
}

/// A JSON text as a value; it was checked when it was recorded.
fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}
