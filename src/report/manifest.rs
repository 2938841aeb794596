//! The manifest: what was run, on what, with which outcome.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::RunReport;
use crate::exec::Stage;
use crate::io::atomic::Finished;
use crate::io::source::InputSummary;
use crate::io::{Input, PendingFile};
use crate::recipe::Recipe;

/// Everything the manifest is made of.
pub struct Manifest<'a> {
    /// The recipe as resolved.
    pub recipe: &'a Recipe,
    /// The numbers.
    pub report: &'a RunReport,
    /// The inputs.
    pub inputs: &'a [Input],
    /// What was read of each.
    pub summaries: &'a [InputSummary],
    /// The ledger.
    pub ledger: Option<&'a Finished>,
    /// The quarantine.
    pub quarantine: Option<&'a Finished>,
    /// The stats file.
    pub stats: Option<&'a Finished>,
    /// Worker threads.
    pub threads: usize,
}

impl Manifest<'_> {
    /// Writes it to `path`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = PendingFile::create(path)?;
        serde_json::to_writer_pretty(&mut file, &self.to_json())?;
        file.write_all(b"\n")?;
        file.commit().map(|_| ())
    }

    fn to_json(&self) -> Value {
        let report = self.report;
        json!({
            "djr": env!("CARGO_PKG_VERSION"),
            "recipe_file": self.recipe.name,
            "recipe": self.recipe.to_json(),
            "threads": self.threads,
            "inputs": self.inputs.iter().zip(self.summaries).map(|(input, read)| fingerprint(input, read)).collect::<Vec<_>>(),
            "rows": {
                "in": report.rows_in,
                "out": report.rows_out,
                "dropped": report.dropped,
                "quarantined": report.quarantined,
                "repeated": report.repeated,
                "conserved": report.check_conservation().is_ok(),
            },
            "steps": report.steps.iter().map(|step| json!({
                "op": step.name,
                "in": step.rows_in,
                "out": step.rows_out(),
                "dropped": step.dropped,
                "quarantined": step.quarantined,
                "changed": step.changed,
                "repeated": step.repeated,
                "seconds": step.time.as_secs_f64(),
            })).collect::<Vec<_>>(),
            "reasons": report.reasons.iter().map(|(reason, count)| json!({
                "stage": self.stage(reason.stage),
                "code": reason.code,
                "rows": count,
            })).collect::<Vec<_>>(),
            "outputs": report.outputs.iter().map(|output| json!({
                "name": output.name,
                "format": output.format,
                "candidates": output.candidates,
                "written": output.written,
                "refused": output.refused,
                "not_drawn": output.not_drawn,
                "files": output.files.iter().map(finished).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "ledger": self.ledger.map(finished),
            "quarantine": self.quarantine.map(finished),
            "stats": self.stats.map(finished),
            "images": report.images.to_json(),
            "seconds": report.time.as_secs_f64(),
            "peak_memory_bytes": report.peak_memory,
        })
    }

    fn stage(&self, stage: Stage) -> String {
        super::table::stage_name(self.report, stage)
    }
}

fn finished(file: &Finished) -> Value {
    json!({"path": file.path.display().to_string(), "bytes": file.bytes, "xxh3_128": file.xxh3_128})
}

/// What identifies an input: its size and time, and what was read of it.
fn fingerprint(input: &Input, read: &InputSummary) -> Value {
    let metadata = match input {
        Input::File(path) => std::fs::metadata(path).ok(),
        Input::Stdin => None,
    };
    let modified = metadata
        .as_ref()
        .and_then(|m| m.modified().ok())
        .and_then(|t| {
            t.duration_since(std::time::UNIX_EPOCH)
                .ok()
                .map(|d| d.as_secs_f64())
        });
    json!({
        "name": input.name(),
        "bytes": metadata.map(|m| m.len()),
        "modified_unix": modified,
        "rows": read.rows,
        "bytes_read": read.bytes,
    })
}
