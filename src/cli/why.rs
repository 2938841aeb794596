//! `djr why`: what became of a row, from the ledger.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Exit, data, error};
use crate::report::past::PastRun;
use crate::report::table::thousands;

const EXAMPLES: &str = "\
Examples:
  djr why out/clean.jsonl 006092514      the row with this id
  djr why out/clean.djr data.jsonl:17    the row of this line
  djr why out/clean.djr 006092514 --json";

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
            error(&failure.to_string(), Some(NO_RUN));
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
            let ledger = run.ledger();
            error(&format!("{}: {failure}", ledger.display()), None);
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
        let answer = Answer {
            run: &run,
            row,
            times,
            duplicated: row.other().and_then(|offset| origins.get(&offset)),
            set_aside: set_aside.get(&row.offset).map_or(&[], Vec::as_slice),
        };
        if args.json {
            let _ = writeln!(text, "{}", answer.json());
        } else {
            answer.words(&mut text);
        }
    }
    data(&text)
}

pub(super) const NO_RUN: &str =
    "give the .djr directory that a run leaves beside its first output, or one of its outputs";

/// An entry of the ledger.
#[derive(Deserialize)]
struct Entry {
    file: u64,
    line: u64,
    offset: u64,
    id: Option<Box<RawValue>>,
    fate: String,
    by: Option<String>,
    step: Option<u64>,
    stat: Option<String>,
    value: Option<Value>,
    limit: Option<String>,
    duplicate_of: Option<u64>,
    merged_into: Option<u64>,
    reason: Option<String>,
}

impl Entry {
    fn read(line: &[u8]) -> io::Result<Self> {
        Ok(serde_json::from_slice(line)?)
    }

    /// The row that stands for it: the one it duplicates, or the first of its group.
    fn other(&self) -> Option<u64> {
        self.duplicate_of.or(self.merged_into)
    }

    /// The id as people write it: a string without its quotes.
    fn id(&self) -> Option<String> {
        let raw = self.id.as_ref()?.get();
        Some(serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned()))
    }
}

/// A record of the quarantine.
#[derive(Deserialize)]
struct SetAside {
    offset: u64,
    stage: String,
    code: String,
    reason: String,
}

/// What the user asks for.
struct Wanted<'a> {
    id: &'a str,
    /// Inputs that the name before a colon may mean, and the line after it.
    place: Option<(Vec<u64>, u64)>,
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
    fn search(&self, run: &PastRun) -> io::Result<Found> {
        let mut found = Found::default();
        let needle = memchr::memmem::Finder::new(self.id.as_bytes());
        let bare = self.id.trim_start_matches('0');
        let bare_needle = memchr::memmem::Finder::new(bare.as_bytes());
        run.each_entry(|line| {
            // An id may be written with escapes; else its text stands in the line.
            let spelt = needle.find(line).is_some() || memchr::memchr(b'\\', line).is_some();
            let nearly =
                found.near.is_none() && !bare.is_empty() && bare_needle.find(line).is_some();
            if !spelt && !nearly && self.place.is_none() {
                return Ok(true);
            }
            let entry = Entry::read(line)?;
            let here = self
                .place
                .as_ref()
                .is_some_and(|(files, _)| files.contains(&entry.file));
            if here {
                found.last_line = found.last_line.max(entry.line);
            }
            let at_place = here && self.place.as_ref().is_some_and(|p| p.1 == entry.line);
            let id = entry.id();
            if at_place || id.as_deref() == Some(self.id) {
                found.rows.push(entry);
            } else if let Some(id) = id
                && found.near.is_none()
                && !bare.is_empty()
                && id.trim_start_matches('0') == bare
            {
                found.near = Some(id);
            }
            Ok(true)
        })?;
        found.rows.sort_by_key(|row| row.offset);
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
fn files_called(run: &PastRun, name: &str) -> Vec<u64> {
    let real = std::fs::canonicalize(name).ok();
    let named = |input: &Value| {
        let Some(path) = input["name"].as_str() else {
            return false;
        };
        Path::new(path).ends_with(name)
            || real.is_some() && std::fs::canonicalize(path).ok() == real
    };
    (0..)
        .zip(run.inputs())
        .filter(|(_, input)| named(input))
        .map(|(number, _)| number)
        .collect()
}

/// The rows that `rows` duplicate or are merged into, by their identities.
fn duplicated(run: &PastRun, rows: &[Entry]) -> io::Result<BTreeMap<u64, Entry>> {
    let wanted: Vec<u64> = rows.iter().filter_map(Entry::other).collect();
    let mut found = BTreeMap::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let needles: Vec<String> = wanted.iter().map(|o| format!("\"offset\":{o},")).collect();
    run.each_entry(|line| {
        if needles
            .iter()
            .any(|n| memchr::memmem::find(line, n.as_bytes()).is_some())
        {
            let entry = Entry::read(line)?;
            if wanted.contains(&entry.offset) {
                found.insert(entry.offset, entry);
            }
        }
        Ok(true)
    })?;
    Ok(found)
}

/// What the quarantine says of `rows`, by their identities.
fn set_aside(run: &PastRun, rows: &[Entry]) -> io::Result<BTreeMap<u64, Vec<SetAside>>> {
    let mut found: BTreeMap<u64, Vec<SetAside>> = BTreeMap::new();
    let needles: Vec<String> = rows
        .iter()
        .map(|row| format!("\"offset\":{},", row.offset))
        .collect();
    let whose = |offset| rows.iter().any(|row| row.offset == offset);
    run.each_set_aside(|line| {
        if needles
            .iter()
            .any(|n| memchr::memmem::find(line, n.as_bytes()).is_some())
        {
            let record: SetAside = serde_json::from_slice(line)?;
            if whose(record.offset) {
                found.entry(record.offset).or_default().push(record);
            }
        }
        Ok(true)
    })?;
    Ok(found)
}

/// Each row once, with how many entries it has: selectors may take a row more than once.
fn repeats(rows: &[Entry]) -> Vec<(&Entry, usize)> {
    let mut out: Vec<(&Entry, usize)> = Vec::new();
    for row in rows {
        match out.last_mut() {
            Some((last, times))
                if last.offset == row.offset && last.fate == row.fate && last.by == row.by =>
            {
                *times += 1;
            }
            _ => out.push((row, 1)),
        }
    }
    out
}

/// All that is known of one row.
struct Answer<'a> {
    run: &'a PastRun,
    row: &'a Entry,
    times: usize,
    duplicated: Option<&'a Entry>,
    set_aside: &'a [SetAside],
}

impl Answer<'_> {
    fn place(&self, row: &Entry) -> String {
        let place = format!("{}:{}", self.run.input_name(row.file), row.line);
        match row.id() {
            Some(id) => format!("{place}  id {id}"),
            None => place,
        }
    }

    fn words(&self, out: &mut String) {
        let row = self.row;
        let _ = writeln!(out, "{}", self.place(row));
        let by = row.by.as_deref();
        let step = row.step.map(|step| {
            let steps = self.run.list("steps").len();
            format!("step {} of {steps}, ", step + 1)
        });
        let times = match self.times {
            1 => String::new(),
            times => format!(", {times} times"),
        };
        let line = match (row.fate.as_str(), by) {
            (fate, Some("read")) => format!("{fate} while it was read"),
            (fate, Some("outputs")) => format!("{fate}: no output took it"),
            (fate, Some("sample")) => format!("{fate}: no sample drew it"),
            (fate, Some(by)) => format!("{fate} by {}{by}", step.unwrap_or_default()),
            (fate, None) => fate.to_owned(),
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
        if let Some(first) = self.duplicated {
            let _ = writeln!(out, "  {relation} {}", self.place(first));
        } else if let Some(offset) = row.other() {
            let _ = writeln!(out, "  {relation} the row at byte {offset} of the inputs");
        }
        for record in self.set_aside {
            let who = if Some(record.stage.as_str()) == by || record.stage == "read" {
                String::new()
            } else {
                format!("refused by {}: ", record.stage)
            };
            let _ = writeln!(out, "  {who}{}: {}", record.code, record.reason);
        }
        if let (Some(reason), []) = (&row.reason, self.set_aside) {
            let _ = writeln!(out, "  {reason}");
        }
    }

    fn json(&self) -> Value {
        let row = self.row;
        let id = |row: &Entry| -> Value {
            let raw = row.id.as_ref().map_or("null", |id| id.get());
            serde_json::from_str(raw).unwrap_or_else(|_| raw.into())
        };
        let mut out = serde_json::json!({
            "input": self.run.input_name(row.file),
            "line": row.line,
            "offset": row.offset,
            "id": id(row),
            "fate": row.fate,
            "times": self.times,
            "by": row.by,
            "step": row.step,
            "stat": row.stat,
            "value": row.value,
            "limit": row.limit,
            "reason": row.reason,
        });
        let relation = if row.merged_into.is_some() {
            "merged_into"
        } else {
            "duplicate_of"
        };
        if let Some(offset) = row.other() {
            out[relation] =
                self.duplicated
                    .map_or(serde_json::json!({"offset": offset}), |first| {
                        serde_json::json!({
                            "input": self.run.input_name(first.file),
                            "line": first.line,
                            "offset": offset,
                            "id": id(first),
                        })
                    });
        }
        out["set_aside"] = self
            .set_aside
            .iter()
            .map(|record| {
                serde_json::json!({
                    "stage": record.stage,
                    "code": record.code,
                    "reason": record.reason,
                })
            })
            .collect();
        out
    }
}
