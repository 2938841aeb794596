//! Stats that an analysis or a run kept, and what filters say of them.

use std::io::{self, BufRead};
use std::path::Path;

use serde_json::{Map, Value};

use super::stat::Stat;
use crate::exec::stats_from_json;
use crate::io::source::FileSource;
use crate::op::{Operator, Verdict};
use crate::recipe::Step;
use crate::record::stats::InputRef;
use crate::record::{StatsError, StatsRow};
use crate::sample::Stats;

/// One row of stored stats.
pub struct StoredRow {
    /// Its input.
    pub file: InputRef<'static>,
    /// Its line in its input.
    pub line: u64,
    /// Its identity.
    pub offset: u64,
    /// It could not be read, or some step could not process it.
    pub failed: bool,
    /// What could not be measured.
    pub errors: Vec<StatsError<'static>>,
    /// Its stats.
    pub stats: Stats,
}

/// Calls `see` with every row of a file of stored stats, in order, its stats rounded for filters
/// if `round`.
///
/// # Errors
/// If the file cannot be read, or `see` says stop.
pub fn each_row(
    path: &Path,
    stats: &[Stat],
    round: bool,
    mut see: impl FnMut(StoredRow) -> io::Result<()>,
) -> io::Result<()> {
    let opened = FileSource::new(path.to_owned()).look();
    let mut lines = opened.map_err(io::Error::other)?.into_bytes();
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut row: StatsRow<'static> = serde_json::from_str(&line)?;
        let mut found = Map::new();
        for stat in stats {
            if let Some(value) = row.stats.swap_remove(stat.name.as_ref()) {
                found.insert(stat.name.clone().into_owned(), value);
            }
        }
        let mut stats = stats_from_json(Value::Object(found));
        if round {
            stats.remeasure();
        }
        see(StoredRow {
            file: row.file,
            line: row.line,
            offset: row.offset,
            failed: row.errors.iter().any(StatsError::ends_row),
            errors: row.errors,
            stats,
        })?;
    }
}

/// What a filter says of stored stats; `None` if a stat is missing.
#[must_use]
pub fn judge(step: &Step, stats: &Stats) -> Option<Verdict> {
    match &step.operator {
        Operator::Filter(filter) if step.spec.measures() => {
            let mut own = step.spec.stats.iter();
            let complete = own.all(|stat| stats.get(&stat.name).is_some());
            complete.then(|| filter.decide(stats))
        }
        _ => Some(Verdict::Keep),
    }
}
