//! The closing table of a run.

use std::fmt::Write as _;
use std::time::Duration;

pub use crate::note::thousands;
use crate::record::counts::StratumCounts;
use crate::record::{RunReport, ServiceRecord, Stage};

/// The table: rows in, what each operator did, what was set aside and why, rows out, time, memory.
#[must_use]
pub fn render(report: &RunReport) -> String {
    let mut out = String::new();
    let width = report
        .steps
        .iter()
        .map(|s| s.name.len())
        .max()
        .unwrap_or(0)
        .max(12)
        + 4;
    let line = |out: &mut String, label: &str, count: u64, note: &str| {
        let _ = writeln!(
            out,
            "{label:<width$} {:>11}{}{note}",
            thousands(count),
            if note.is_empty() { "" } else { "   " }
        );
    };
    line(&mut out, "rows in", report.rows_in, &from(&report.inputs));
    write_strata(&report.datasets, &mut out);
    for (number, step) in report.steps.iter().enumerate() {
        let mut notes = Vec::new();
        if step.changed > 0 {
            notes.push(format!("{} changed", thousands(step.changed)));
        }
        if step.quarantined > 0 {
            notes.push(format!("{} set aside", thousands(step.quarantined)));
        }
        if step.time >= Duration::from_millis(1) {
            notes.push(format!("{} cpu", seconds(step.time)));
        }
        if step.repeated > 0 {
            notes.push(format!("{} repeated", thousands(step.repeated)));
        }
        if step.merged > 0 {
            notes.push(format!("{} merged", thousands(step.merged)));
        }
        let label = format!("{:>2} {}", number + 1, step.name);
        let dropped = if step.dropped == 0 {
            "-".to_owned()
        } else {
            format!("-{}", thousands(step.dropped))
        };
        let _ = writeln!(
            out,
            "{}",
            format!("{label:<width$} {dropped:>11}   {}", notes.join(", ")).trim_end()
        );
        write_strata(&step.strata, &mut out);
    }
    if report.not_drawn > 0 {
        line(&mut out, "not drawn", report.not_drawn, "for any sample");
    }
    if report.unmatched > 0 {
        let why = "by the conditions of all outputs";
        line(&mut out, "not asked for", report.unmatched, why);
    }
    line(&mut out, "dropped", report.dropped, "");
    line(
        &mut out,
        "set aside",
        report.quarantined,
        &quarantine_reasons(report),
    );
    if report.merged > 0 {
        line(&mut out, "merged", report.merged, "into other rows");
    }
    line(&mut out, "rows out", report.rows_out, "");
    for (number, output) in report.outputs.iter().enumerate() {
        let mut notes = match output.checked_for {
            Some(reader) => format!("-> {} ({}, for {reader})", output.name, output.format),
            None => format!("-> {} ({})", output.name, output.format),
        };
        if output.wanted.is_some() {
            let _ = write!(notes, ", drawn from {}", thousands(output.candidates));
        }
        if output.refused > 0 {
            let why = reasons(report, |stage| stage == Stage::Output(number));
            let _ = write!(notes, ", {} refused: {why}", thousands(output.refused));
        }
        if output.unmatched > 0 {
            let _ = write!(notes, ", {} not asked for", thousands(output.unmatched));
        }
        line(&mut out, "  written", output.written, &notes);
    }
    for service in &report.services {
        if let Some((asked, words)) = served(service) {
            line(&mut out, "asked", asked, &words);
        }
    }
    let rate = rate(report.rows_in, report.time);
    let _ = writeln!(
        out,
        "{:<width$} {:>11}   {rate} rows/s, peak memory {}",
        "time",
        seconds(report.time),
        bytes(report.peak_memory)
    );
    out
}

/// How often a service was asked, and what that came to; `None` if it was not.
#[must_use]
pub fn served(service: &ServiceRecord) -> Option<(u64, String)> {
    if service.is_server() {
        return Some((service.sent, asked(service)));
    }
    let is_used = service.requests + service.cache_hits > 0;
    is_used.then(|| (service.requests, computed(service)))
}

/// What a server was asked, and what that cost.
fn asked(service: &ServiceRecord) -> String {
    let mut words = format!(
        "requests of {}: {} tokens sent, {} answered",
        service.service,
        thousands(service.tokens_in),
        thousands(service.tokens_out)
    );
    if service.cost > 0.0 {
        let _ = write!(words, ", cost {:.4}", service.cost);
    }
    if service.reused > 0 {
        let _ = write!(words, "; {} answers were known", thousands(service.reused));
    }
    words
}

/// What a worker or a program was asked, and how full its batches were.
fn computed(service: &ServiceRecord) -> String {
    let mut words = format!("requests of {} on {}", service.service, service.runs_on);
    if let Some(fill) = service.fill() {
        let _ = write!(words, ", batches {:.1}% full", fill * 100.0);
    }
    if service.cache_hits > 0 {
        let _ = write!(
            words,
            "; {} answers were known",
            thousands(service.cache_hits)
        );
    }
    words
}

/// Where rows come from.
fn from(inputs: &[String]) -> String {
    let shown = inputs.iter().take(INPUTS_SHOWN);
    let mut names: Vec<String> = shown.cloned().collect();
    match inputs.len().saturating_sub(names.len()) {
        0 => {}
        more => names.push(format!("{more} more")),
    }
    if names.is_empty() {
        String::new()
    } else {
        format!("<- {}", names.join(", "))
    }
}

/// How many kinds of rows the table names for a step.
const STRATA_SHOWN: usize = 20;

/// What became of kinds of rows, the first of them one by one.
fn write_strata(strata: &[StratumCounts], out: &mut String) {
    for stratum in strata.iter().take(STRATA_SHOWN) {
        let _ = writeln!(out, "{}", stratum_line(stratum));
    }
    if let more @ 1.. = strata.len().saturating_sub(STRATA_SHOWN) {
        let _ = writeln!(out, "     {more} more kinds");
    }
}

/// What became of one kind of rows.
fn stratum_line(stratum: &StratumCounts) -> String {
    let [had, wanted, got] = [stratum.had, stratum.wanted, stratum.got].map(thousands);
    format!(
        "     {}: had {had}, wanted {wanted}, got {got}",
        stratum.value
    )
}

/// How many inputs the table names.
const INPUTS_SHOWN: usize = 3;

/// Why rows were quarantined. Refusals of an output count where nothing else wrote the row.
fn quarantine_reasons(report: &RunReport) -> String {
    let before_outputs = |stage: Stage| !matches!(stage, Stage::Output(_));
    let counted: u64 = report
        .reasons
        .iter()
        .filter(|(r, _)| before_outputs(r.stage))
        .map(|(_, n)| n)
        .sum();
    let refusals = report.quarantined > counted;
    reasons(report, |stage| refusals || before_outputs(stage))
}

/// The three commonest reasons of the stages that `of` accepts, with their counts.
fn reasons(report: &RunReport, of: impl Fn(Stage) -> bool) -> String {
    let mut by_code: Vec<(&str, u64)> = Vec::new();
    for (reason, count) in report.reasons.iter().filter(|(reason, _)| of(reason.stage)) {
        match by_code.iter_mut().find(|(code, _)| *code == reason.code) {
            Some(entry) => entry.1 += count,
            None => by_code.push((reason.code, *count)),
        }
    }
    by_code.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let shown: Vec<String> = by_code
        .iter()
        .take(3)
        .map(|(code, count)| format!("{code} {}", thousands(*count)))
        .collect();
    match by_code.len().saturating_sub(3) {
        0 => shown.join(", "),
        more => format!("{} and {more} more reasons", shown.join(", ")),
    }
}

/// `1.5 GB`, in powers of 1000.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn bytes(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" {
                format!("{number} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// `0.25 s`, `12.3 s`, `3 min 5 s`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    let total = time.as_secs_f64();
    if total < 10.0 {
        format!("{total:.2} s")
    } else if total < 120.0 {
        format!("{total:.1} s")
    } else {
        format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

/// Rows a second, for people.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shown rounded"
)]
pub fn rate(rows: u64, time: Duration) -> String {
    thousands((rows as f64 / time.as_secs_f64().max(1e-9)).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(bytes(1_500_000), "1.5 MB");
        assert_eq!(bytes(12), "12 B");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 5 s");
    }
}
