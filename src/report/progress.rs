//! Progress of a long run: a live line on a terminal, plain lines elsewhere, nothing for short runs.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::table::{bytes, rate, seconds, thousands};
use crate::exec::Observer;
use crate::record::RunReport;
use crate::record::counts::resident_memory;

/// Shows progress on standard error.
pub struct Progress {
    started: Instant,
    shown: Option<Instant>,
    interval: Duration,
    total_bytes: Option<u64>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Progress of a run over `total_bytes` of rows, if that is known beforehand.
    #[must_use]
    pub fn new(total_bytes: Option<u64>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = terminal.then(|| {
            let bar =
                ProgressBar::with_draw_target(total_bytes, ProgressDrawTarget::stderr_with_hz(5));
            let template = if total_bytes.is_some() {
                "{bar:24} {percent:>3}% {msg}"
            } else {
                "{spinner} {msg}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        let interval = if terminal {
            Duration::from_millis(200)
        } else {
            Duration::from_secs(10)
        };
        Self {
            started: Instant::now(),
            shown: None,
            interval,
            total_bytes,
            bar,
        }
    }

    fn message(&self, phase: usize, phases: usize, report: &RunReport) -> String {
        let elapsed = self.started.elapsed();
        let mut parts = vec![
            format!("{} rows", thousands(report.rows_in)),
            format!("{} rows/s", rate(report.rows_in, elapsed)),
            format!("{}/s", bytes(per_second(report.bytes_in, elapsed))),
        ];
        if phases > 1 {
            parts.insert(0, format!("phase {} of {phases}", phase + 1));
        }
        let mut dropping: Vec<_> = report.steps.iter().filter(|s| s.dropped > 0).collect();
        dropping.sort_by_key(|s| std::cmp::Reverse(s.dropped));
        parts.extend(dropping.iter().take(3).map(|s| {
            format!(
                "{} kept {} dropped {}",
                s.name,
                thousands(s.rows_out()),
                thousands(s.dropped)
            )
        }));
        if report.quarantined > 0 {
            parts.push(format!("{} quarantined", thousands(report.quarantined)));
        }
        parts.push(bytes(resident_memory()));
        if let Some(left) = self.remaining(phase, report, elapsed) {
            parts.push(format!("{} left", seconds(left)));
        }
        parts.join(", ")
    }

    /// Time left of the first phase, which reads the input; the later ones are not foreseen.
    fn remaining(&self, phase: usize, report: &RunReport, elapsed: Duration) -> Option<Duration> {
        let total = self.total_bytes?;
        let done = report.bytes_in;
        if phase > 0 || done == 0 || done >= total {
            return None;
        }
        let per_byte = elapsed.div_f64(as_f64(done));
        Some(per_byte.mul_f64(as_f64(total - done)))
    }
}

impl Observer for Progress {
    fn progress(&mut self, phase: usize, phases: usize, report: &RunReport) {
        let since = self.shown.unwrap_or(self.started);
        if since.elapsed() < self.interval {
            return;
        }
        self.shown = Some(Instant::now());
        let message = self.message(phase, phases, report);
        match &self.bar {
            Some(bar) => {
                bar.set_position(report.bytes_in);
                bar.set_message(message);
            }
            None => super::note(&message),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "only for an estimate")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shown rounded"
)]
fn per_second(number: u64, time: Duration) -> u64 {
    (as_f64(number) / time.as_secs_f64().max(1e-9)) as u64
}
