//! The first rows that a step changed or dropped, as Data-Juicer's tracer writes them.

use std::io::Write;
use std::path::PathBuf;

use crate::exec::stage::Trace;
use crate::exec::{RunError, write_error};
use crate::io::{PendingFile, Workspace};
use crate::layout::RunFiles;
use crate::op::{OpKind, Operator};
use crate::recipe::{Recipe, Step};

/// The first rows that a step changed or dropped, as Data-Juicer's tracer writes them, or what a
/// step notes of rows in a file that its parameters name.
pub struct TraceFile {
    path: PathBuf,
    pub(super) left: u64,
    pub(super) lines: Vec<String>,
}

impl TraceFile {
    pub(super) fn of(recipe: &Recipe, step: &Step, files: Option<&RunFiles>) -> Option<Self> {
        if let Operator::Expander(op) = &step.operator
            && let Some(path) = op.notes_path()
        {
            return Some(Self {
                path: path.to_owned(),
                left: u64::MAX,
                lines: Vec::new(),
            });
        }
        let tracer = &recipe.tracer;
        let wanted =
            tracer.open && (tracer.ops.is_empty() || tracer.ops.iter().any(|op| op == step.name));
        // Data-Juicer pairs rows with parts that are not theirs where a mapper makes several rows
        // of one, so there is no such trace to match.
        let rowwise = matches!(step.spec.kind, OpKind::Mapper | OpKind::Filter);
        let files = files.filter(|_| wanted && rowwise)?;
        Some(Self {
            path: files.trace(step.name),
            left: tracer.rows,
            lines: Vec::new(),
        })
    }

    pub(super) fn push(&mut self, trace: &Trace) {
        if self.left > 0 {
            self.left -= 1;
            self.lines.push(crate::sample::python_json(&trace.entry));
        }
    }
}

/// Writes what was collected into the files that will hold it. Steps of one name share a file, as in
/// Data-Juicer: what the later ones did stands behind what the earlier ones did.
///
/// # Errors
/// If a file cannot be written.
pub fn write_traces(
    traces: &[Option<TraceFile>],
    workspace: &Workspace,
) -> Result<Vec<PendingFile>, RunError> {
    let mut files: Vec<(&TraceFile, Vec<&String>)> = Vec::new();
    for trace in traces.iter().flatten() {
        match files.iter_mut().find(|(file, _)| file.path == trace.path) {
            Some((_, lines)) => lines.extend(&trace.lines),
            None => files.push((trace, trace.lines.iter().collect())),
        }
    }
    let write = |(trace, lines): (&TraceFile, Vec<&String>)| {
        let mut file = workspace.pending(&trace.path)?;
        for line in lines {
            file.write_all(line.as_bytes())?;
            file.write_all(b"\n")?;
        }
        Ok(file)
    };
    let files = files.into_iter().map(|file| {
        let path = &file.0.path;
        write(file).map_err(|e| write_error(path.display(), e))
    });
    files.collect()
}
