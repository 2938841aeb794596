//! Stats of an earlier pass over the same rows, so that nothing is measured twice.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::RunError;
use super::store::stats_from_json;
use crate::io::{Input, LineSource, RawBatch};
use crate::op::{ImageNeed, Operator};
use crate::recipe::Step;
use crate::sample::{Origin, RowError, Stats};

/// Where stats of all rows of the inputs are: one line of JSON a row, in input order, as
/// `stats.jsonl` of an analysis has them.
#[derive(Debug, Clone)]
pub struct KnownStats {
    /// The file.
    pub path: PathBuf,
}

/// The keys of a line that are no stats.
const PLACES: [&str; 6] = ["file", "line", "offset", "id", "images_decode", "errors"];

/// Reads them beside the rows.
pub struct KnownReader(LineSource);

/// What is known of one row.
pub struct KnownRow {
    stats: Stats,
    /// Every image of the row decodes.
    pub images_decode: bool,
    /// Steps that could not measure it.
    failed: Vec<u64>,
}

impl KnownStats {
    /// Starts reading.
    #[must_use]
    pub fn open(&self) -> KnownReader {
        KnownReader(LineSource::new(vec![Input::File(self.path.clone())]))
    }
}

impl KnownReader {
    /// Passes over the lines of rows that an earlier process has done.
    ///
    /// # Errors
    /// As [`KnownReader::next`].
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

impl KnownRow {
    /// Reads one line, which must be about the row at `origin`.
    ///
    /// # Errors
    /// What does not fit.
    pub fn parse(line: &[u8], origin: Origin) -> Result<Self, String> {
        let mut row: Map<String, Value> =
            serde_json::from_slice(line).map_err(|e| format!("stored stats: {e}"))?;
        if row.get("offset").and_then(Value::as_u64) != Some(origin.offset) {
            return Err(format!(
                "the stored stats are not those of the input at line {}",
                origin.line
            ));
        }
        let errors = row.swap_remove("errors").unwrap_or_default();
        let failed = errors.as_array().into_iter().flatten();
        let failed = failed.filter_map(|error| error.get("step")?.as_u64());
        let images_decode = row.swap_remove("images_decode") == Some(Value::Bool(true));
        // A number that was not finite is not stored.
        row.retain(|_, value| match value {
            Value::Array(items) => !items.contains(&Value::Null),
            other => !other.is_null(),
        });
        Ok(Self {
            failed: failed.collect(),
            images_decode,
            stats: stats_from_json(Value::Object(row)),
        })
    }

    /// Fills in the stats of a filter, all or none; whether they are there now.
    ///
    /// # Errors
    /// If they are not known although the row was measured, and would have to be measured from
    /// its images: that is what stored stats are to save.
    pub fn fill(&self, step: &Step, stats: &mut Stats) -> Result<bool, String> {
        let Operator::Filter(filter) = &step.operator else {
            return Ok(false);
        };
        let names = filter.stats();
        if names.iter().all(|name| stats.get(name).is_some()) {
            return Ok(true);
        }
        let found: Option<Vec<_>> = names.iter().map(|name| self.stats.get(name)).collect();
        if let Some(found) = found {
            for (name, value) in names.iter().zip(found) {
                stats.set(name.clone(), value.clone());
            }
            return Ok(true);
        }
        let tried = self.failed.contains(&(step.index as u64));
        if tried || filter.image_need() == ImageNeed::None {
            return Ok(false);
        }
        Err(format!("{} was measured", names.join(", ")))
    }
}

/// Appends what is known of a row to a file that [`KnownReader`] reads: where it is, its stats,
/// whether all its images are known to decode, and the step at which it failed, if it did.
pub fn write_line(
    origin: Origin,
    stats: Option<&Stats>,
    images_decode: bool,
    error: Option<(&str, Option<usize>, &RowError)>,
    out: &mut Vec<u8>,
) {
    let Origin {
        file, line, offset, ..
    } = origin;
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{{\"file\":{file},\"line\":{line},\"offset\":{offset}");
    for (name, value) in stats.into_iter().flat_map(Stats::iter) {
        // Stats that came with a row may have any name.
        if !PLACES.contains(&name) {
            out.push(b',');
            let _ = serde_json::to_writer(&mut *out, name);
            out.push(b':');
            value.write_json(out);
        }
    }
    if images_decode {
        out.extend_from_slice(b",\"images_decode\":true");
    }
    if let Some((stage, step, error)) = error {
        let error = serde_json::json!([{"stage": stage, "step": step, "code": error.code}]);
        let _ = write!(out, ",\"errors\":{error}");
    }
    out.extend_from_slice(b"}\n");
}
