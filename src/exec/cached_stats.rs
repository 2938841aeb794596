//! Stats of an earlier pass over the same rows, so that nothing is measured twice.

use std::path::PathBuf;

use serde_json::Value;

use super::RunError;
use super::spill::store::stats_from_json;
use crate::io::{Input, LineSource, RawBatch};
use crate::op::{ImageNeed, is_measured};
use crate::recipe::Step;
use crate::record::stats::InputRef;
use crate::record::{StatsError, StatsRow, StepNumber};
use crate::sample::{Origin, StatKey, StatValue, Stats, push_string};

/// Where stats of all rows of the inputs are: one line of JSON a row, in input order, as
/// `stats.jsonl` of an analysis has them.
#[derive(Debug, Clone)]
pub struct CachedStats {
    /// The file.
    pub path: PathBuf,
}

/// Reads them beside the rows.
pub struct CachedReader(LineSource);

/// What is stored of one row.
#[derive(Debug)]
pub struct CachedRow {
    stats: Stats,
    /// Every image of the row decodes.
    pub images_decode: bool,
    /// Steps that could not measure it.
    failed: Vec<StepNumber>,
}

impl CachedStats {
    /// Starts reading.
    #[must_use]
    pub fn open(&self) -> CachedReader {
        CachedReader(LineSource::new(vec![Input::File(self.path.clone())]))
    }
}

impl CachedReader {
    /// Passes over the lines of rows that an earlier process has done.
    ///
    /// # Errors
    /// As [`CachedReader::next`].
    pub fn skip(&mut self, mut rows: u64) -> Result<(), RunError> {
        while rows > 0 {
            let some = rows.min(4096);
            self.next(usize::try_from(some).unwrap_or(4096))?;
            rows -= some;
        }
        Ok(())
    }

    /// The lines for the next `rows` rows.
    ///
    /// # Errors
    /// If there are not so many, or the file cannot be read.
    pub fn next(&mut self, rows: usize) -> Result<RawBatch, RunError> {
        let batch = self.0.next_batch(rows, usize::MAX)?.unwrap_or_default();
        if batch.lines.len() == rows {
            Ok(batch)
        } else {
            Err(RunError::Stored(
                "the input has more rows than there are stored stats".into(),
            ))
        }
    }
}

impl CachedRow {
    /// Reads one line, which must be about the row at `origin`.
    ///
    /// # Errors
    /// What does not fit.
    pub fn parse(line: &[u8], origin: Origin) -> Result<Self, String> {
        let mut row: StatsRow<'_> =
            serde_json::from_slice(line).map_err(|e| format!("stored stats: {e}"))?;
        if row.offset != origin.offset {
            return Err(format!(
                "the stored stats are not those of the input at line {}",
                origin.line
            ));
        }
        // A number that was not finite is not stored.
        row.stats.retain(|_, value| match value {
            Value::Array(items) => !items.contains(&Value::Null),
            other => !other.is_null(),
        });
        Ok(Self {
            failed: row.errors.iter().filter_map(|error| error.step).collect(),
            images_decode: row.images_decode == Some(true),
            stats: stats_from_json(Value::Object(row.stats)),
        })
    }

    /// Fills in the stats of a filter, all or none, rounded for operators if `round`; whether they
    /// are there now.
    ///
    /// # Errors
    /// If they are not known although the row was measured, and would have to be measured from
    /// its images: that is what stored stats are to save.
    pub fn fill(&self, step: &Step, stats: &mut Stats, round: bool) -> Result<bool, String> {
        if !step.spec.decides_by_stats() {
            return Ok(false);
        }
        let names: Vec<&StatKey> = step.spec.stats.iter().map(|stat| &stat.name).collect();
        if is_measured(&step.spec.stats, stats) {
            return Ok(true);
        }
        let found: Option<Vec<_>> = names.iter().map(|name| self.stats.get(name)).collect();
        if let Some(found) = found {
            for (name, value) in names.iter().zip(found) {
                stats.set_measured((*name).clone(), value.clone(), round);
            }
            return Ok(true);
        }
        let tried = self.failed.contains(&StepNumber::at(step.index));
        if tried || step.spec.images == ImageNeed::None {
            return Ok(false);
        }
        Err(format!(
            "{} was measured",
            names
                .iter()
                .map(AsRef::as_ref)
                .collect::<Vec<_>>()
                .join(", ")
        ))
    }
}

/// Appends what a run knows of a row to a file that [`CachedReader`] reads: where it is, its stats,
/// whether all its images are known to decode, and what could not be measured.
pub fn write_line(
    origin: Origin,
    stats: Option<&Stats>,
    images_decode: bool,
    error: Option<StatsError<'_>>,
    out: &mut Vec<u8>,
) {
    let none = Stats::default();
    if error.is_none() {
        return write_sound(origin, stats.unwrap_or(&none), images_decode, out);
    }
    let row = StatsRow {
        file: InputRef::Index(origin.file),
        line: origin.line,
        offset: origin.offset,
        id: None,
        stats: stats.unwrap_or(&none),
        images_decode: images_decode.then_some(true),
        errors: error.into_iter().collect(),
    };
    row.write(out);
}

/// The line of a row without an error: what [`StatsRow::write`] writes, by the shortest way.
fn write_sound(origin: Origin, stats: &Stats, images_decode: bool, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"{\"file\":");
    out.extend_from_slice(digits.format(origin.file).as_bytes());
    out.extend_from_slice(b",\"line\":");
    out.extend_from_slice(digits.format(origin.line).as_bytes());
    out.extend_from_slice(b",\"offset\":");
    out.extend_from_slice(digits.format(origin.offset).as_bytes());
    out.extend_from_slice(b",\"stats\":{");
    for (index, (name, value)) in stats.iter_exact().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_string(name, out);
        out.push(b':');
        match value {
            StatValue::Int(value) => out.extend_from_slice(digits.format(*value).as_bytes()),
            // Writing to a Vec cannot fail.
            other => drop(serde_json::to_writer(&mut *out, other)),
        }
    }
    out.push(b'}');
    if images_decode {
        out.extend_from_slice(b",\"images_decode\":true");
    }
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_writes_what_the_long_way_writes() {
        let mut stats = Stats::default();
        for stage in 0..3 {
            for images_decode in [false, true] {
                let origin = Origin {
                    offset: 118,
                    file: 2,
                    line: 9,
                    part: 0,
                    copy: 0,
                };
                let mut long = Vec::new();
                let row = StatsRow {
                    file: InputRef::Index(origin.file),
                    line: origin.line,
                    offset: origin.offset,
                    id: None,
                    stats: &stats,
                    images_decode: images_decode.then_some(true),
                    errors: Vec::new(),
                };
                row.write(&mut long);
                let mut short = Vec::new();
                write_line(origin, Some(&stats), images_decode, None, &mut short);
                assert_eq!(String::from_utf8(short), String::from_utf8(long));
            }
            if stage == 0 {
                stats.set_measured("a\"é", StatValue::Float(0.1 + 0.2), true);
                continue;
            }
            stats.set("n", StatValue::Int(-7));
            stats.set("l", StatValue::Ints([1, 2].into_iter().collect()));
            stats.set(
                "f",
                StatValue::Floats([f64::NAN, 1e300].into_iter().collect()),
            );
            stats.set("x", StatValue::Float(f64::INFINITY));
            stats.set("j", StatValue::json(serde_json::json!({"b": [1.5, "c"]})));
        }
    }
}
