//! The manifest: what was run, on what, with which outcome.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::RunReport;
use crate::exec::Stage;
use crate::io::atomic::Finished;
use crate::io::source::InputSummary;
use crate::io::{Fingerprint, Input, PendingFile, Workspace};
use crate::recipe::Recipe;

/// Everything the manifest is made of.
pub struct Manifest<'a> {
    /// The recipe as resolved.
    pub recipe: &'a Recipe,
    /// The numbers.
    pub report: &'a RunReport,
    /// The inputs.
    pub inputs: &'a [Input],
    /// What identified each, where it is a file.
    pub fingerprints: &'a [Option<Fingerprint>],
    /// What was read of each.
    pub summaries: &'a [InputSummary],
    /// The ledger.
    pub ledger: Option<&'a Finished>,
    /// The stats of all rows.
    pub row_stats: Option<&'a Finished>,
    /// The quarantine.
    pub quarantine: Option<&'a Finished>,
    /// The stats file.
    pub stats: Option<&'a Finished>,
    /// Worker threads.
    pub threads: usize,
}

impl Manifest<'_> {
    /// Writes what will stand at `path`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path, workspace: &Workspace) -> io::Result<PendingFile> {
        let mut file = workspace.pending(path)?;
        serde_json::to_writer_pretty(&mut file, &self.to_json())?;
        file.write_all(b"\n")?;
        Ok(file)
    }

    fn to_json(&self) -> Value {
        let report = self.report;
        json!({
            "djr": env!("CARGO_PKG_VERSION"),
            "recipe_file": self.recipe.name,
            "recipe_dir": self.recipe.search.first(),
            "recipe": self.recipe.to_json(),
            "threads": self.threads,
            "inputs": self.inputs.iter().zip(self.fingerprints).zip(self.summaries).map(|((i, print), read)| input(i, print.as_ref(), read)).collect::<Vec<_>>(),
            "rows": {
                "in": report.rows_in,
                "out": report.rows_out,
                "dropped": report.dropped,
                "quarantined": report.quarantined,
                "repeated": report.repeated,
                "merged": report.merged,
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
                "merged": step.merged,
                "from_data": step.from_data.iter().map(|bound| json!({
                    "param": bound.param,
                    "from": bound.from,
                    "value": bound.value,
                })).collect::<Vec<_>>(),
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
            "row_stats": self.row_stats.map(finished),
            "quarantine": self.quarantine.map(finished),
            "stats": self.stats.map(finished),
            "images": report.images.to_json(),
            "produced": {"files": report.produced.files, "bytes": report.produced.bytes},
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
#[must_use]
pub fn input(input: &Input, print: Option<&Fingerprint>, read: &InputSummary) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "a time, for people")]
    let seconds = |ns: u64| ns as f64 / 1e9;
    json!({
        "name": input.name(),
        "bytes": print.map(|p| p.bytes),
        "modified_unix": print.map(|p| seconds(p.modified_ns)),
        "ends_xxh3_128": print.map(|p| &p.ends),
        "rows": read.rows,
        "bytes_read": read.bytes,
    })
}
