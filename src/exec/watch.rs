//! Tells whoever listens how far a run is.

use crate::exec::stage::Cursor;
use crate::exec::{Moment, Observer};
use crate::record::RunReport;

/// How far a run is, for whoever listens.
pub struct Watch<'o> {
    observer: &'o mut dyn Observer,
    phase: usize,
    phases: usize,
    /// Rows of an earlier phase that this one reads.
    rows: Option<u64>,
}

impl<'o> Watch<'o> {
    /// Tells `observer` of a run of so many phases.
    pub fn new(observer: &'o mut dyn Observer, phases: usize) -> Self {
        Self {
            observer,
            phase: 0,
            phases,
            rows: None,
        }
    }

    /// A phase begins, which reads so many rows of the one before, or the inputs.
    pub fn enter(&mut self, phase: usize, rows: Option<usize>) {
        self.phase = phase;
        self.rows = rows.map(|rows| rows as u64);
    }

    /// Rows will be read from `at` on, or from the first.
    pub fn begin(&mut self, at: Option<&Cursor>, report: &RunReport) {
        self.read(at.unwrap_or(&Cursor::Rows(0)), report);
    }

    /// A batch is done, and what stands before `at`.
    pub fn read(&mut self, at: &Cursor, report: &RunReport) {
        let rows = match (self.rows, at) {
            (Some(all), Cursor::Rows(done)) => Some((*done as u64, all)),
            _ => None,
        };
        self.observer.progress(&Moment {
            rows,
            ..Moment::reading(self.phase, self.phases, report)
        });
    }

    /// So much of something that reads no rows is done.
    pub fn task(&mut self, what: &str, done: usize, all: usize, report: &RunReport) {
        self.observer.progress(&Moment {
            task: Some((what, done as u64, all as u64)),
            ..Moment::reading(self.phase, self.phases, report)
        });
    }
}
