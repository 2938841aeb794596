//! The report of a run.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use hashbrown::HashMap;
use maud::{Markup, html};

use super::plot::{Plot, bar, value_of};
use super::text::{count, number, percent};
use super::tokens_told;
use super::{Card, Head, Section, cards, cuts, page, pairs, recipe_steps};
use crate::io::Input;
use crate::op::TEXT_UNITS;
use crate::record::manifest::StepRecord;
use crate::record::stats::READ;
use crate::record::{InputRecord, PastRun, QuarantineEntry, ServiceRecord, StepNumber};
use crate::report::table::{bytes, seconds, served, thousands};
use crate::sample::Origin;
use crate::view::ViewError;
use crate::view::gather::{self, Bound, Facts, Measure, Reason, Sampled};
use crate::view::histogram::Histogram;
use crate::view::rows::{self, Budget, RowStyle, ShownRow};
use crate::view::texts::{self, Edited};

/// The report of `run` as HTML.
///
/// # Errors
/// If a file of the run directory cannot be read.
pub fn run_page(run: &PastRun) -> Result<String, ViewError> {
    let mut facts = gather::gather(run)?;
    let budget = Budget::default();
    let inputs = run.inputs().unwrap_or_default();
    let style = RowStyle::of_recipe(&run.settings, &inputs);
    // Inputs that are not what they were are told of once, where rows are read back.
    let edited = match reread(&run.manifest.inputs) {
        Ok(inputs) => texts::edited(run, inputs, &style)?,
        Err(_) => Vec::new(),
    };
    let rows = shown_rows(run, &mut facts, &edited, (&style, &budget))?;
    let report = RunReport {
        run,
        facts: &facts,
        edited: &edited,
        rows: &rows,
    };
    let mut sections = vec![report.waterfall()];
    sections.extend(report.filters());
    sections.extend(report.texts());
    sections.extend(report.quarantine(&style, &budget));
    sections.extend(report.duplicates());
    sections.extend(report.samples());
    sections.push(report.about());
    let manifest = &run.manifest;
    let counted = manifest.rows;
    let total = counted.read + counted.repeated;
    let figure = |class, rows: u64, what: &str| {
        let what = format!("{what}, {}", percent(rows, total));
        (class, thousands(rows), what)
    };
    let mut figures = vec![
        ("", thousands(counted.read), "rows in".to_owned()),
        figure("kept", counted.out, "kept"),
        figure("lost", counted.dropped, "dropped"),
        figure("aside", counted.quarantined, "set aside"),
    ];
    if counted.merged > 0 {
        figures.push(figure("", counted.merged, "merged"));
    }
    let whole = bar(
        &[
            ("kept-fill", counted.out),
            ("lost-fill", counted.dropped),
            ("aside-fill", counted.quarantined),
        ],
        total,
    );
    let directory = run.files.dir.file_name().map(|name| name.to_string_lossy());
    let name = match run.settings.project_name.as_str() {
        // Data-Juicer's default says nothing.
        "hello_world" | "" => directory.as_deref().unwrap_or("run"),
        name => name,
    };
    // What is to be known of the run, then what the page does not show.
    let of_run = manifest.notes.iter().map(|note| format!("Note: {note}"));
    let notes: Vec<String> = of_run.chain(facts.notes.iter().cloned()).collect();
    let head = Head {
        kicker: &format!(
            "Report of a run · {} · {}",
            manifest.recipe_file,
            duration(manifest.seconds)
        ),
        title: name,
        figures,
        below: html! { div.whole { (whole) } },
        notes: &notes,
    };
    Ok(page(&head, &sections))
}

/// Reads back the rows that are shown, if the inputs are still those of the run.
fn shown_rows(
    run: &PastRun,
    facts: &mut Facts,
    edited: &[Edited],
    (style, budget): (&RowStyle, &Budget),
) -> Result<HashMap<u64, ShownRow>, ViewError> {
    let of_bounds = facts
        .measures
        .iter()
        .flat_map(|m| &m.bounds)
        .filter(|b| !b.dropped.is_empty())
        .flat_map(|b| b.kept.iter().chain(&b.dropped).map(|(_, offset)| *offset));
    let of_clusters = facts
        .duplicates
        .iter()
        .flat_map(|d| &d.largest)
        .flat_map(|(_, rows)| rows.iter().copied());
    let wanted: BTreeSet<u64> = of_bounds
        .chain(of_clusters)
        .chain(edited.iter().map(|edited| edited.row))
        .collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    match reread(&run.manifest.inputs) {
        Ok(inputs) => rows::fetch(inputs, &wanted, style, budget),
        Err(problem) => {
            facts.notes.push(problem);
            Ok(HashMap::new())
        }
    }
}

/// The inputs that a manifest or an analysis records, if their rows can be read back.
pub(in crate::view) fn reread(recorded: &[InputRecord]) -> Result<Vec<Input>, String> {
    let inputs: Option<Vec<Input>> = recorded.iter().map(InputRecord::input).collect();
    let inputs = inputs.ok_or("The rows came from a pipe: they cannot be read again and shown.")?;
    for (input, recorded) in inputs.iter().zip(recorded) {
        let Some(path) = input.path() else { continue };
        let name = path.display();
        match std::fs::metadata(path) {
            Err(e) => return Err(format!("{name}: {e}. Its rows are not shown.")),
            Ok(now) if Some(now.len()) != recorded.bytes => {
                return Err(format!(
                    "{name} is not what it was when it was read. Its rows are not shown."
                ));
            }
            Ok(_) => {}
        }
    }
    Ok(inputs)
}

struct RunReport<'a> {
    run: &'a PastRun,
    facts: &'a Facts,
    edited: &'a [Edited],
    rows: &'a HashMap<u64, ShownRow>,
}

impl RunReport<'_> {
    fn steps(&self) -> &[StepRecord] {
        &self.run.manifest.steps
    }

    fn waterfall(&self) -> Section {
        let rows = self.run.manifest.rows;
        let steps = self.steps();
        let whole = steps
            .iter()
            .map(|s| s.shown + s.repeated)
            .chain([rows.read])
            .max()
            .unwrap_or(0);
        let longest = steps.iter().map(|s| s.seconds).fold(0.0, f64::max);
        let readable = steps.first().map_or_else(
            || {
                let read = |r: &&Reason| r.by == READ;
                let unread: u64 = self.facts.reasons.iter().filter(read).map(|r| r.rows).sum();
                rows.read.saturating_sub(unread)
            },
            |first| first.shown,
        );
        let mut lines = vec![Line {
            name: "rows in",
            left: rows.read,
            ..Line::default()
        }];
        if readable < rows.read {
            lines.push(Line {
                name: "could be read",
                aside: rows.read - readable,
                left: readable,
                ..Line::default()
            });
        }
        lines.extend(steps.iter().enumerate().map(|(index, step)| Line {
            step: Some(StepNumber::at(index)),
            name: &step.op,
            dropped: step.dropped,
            aside: step.quarantined,
            changed: step.changed,
            repeated: step.repeated,
            merged: step.merged,
            left: step.out,
            seconds: Some(step.seconds),
            class: "",
        }));
        let reached = steps.last().map_or(readable, |s| s.out);
        let dropped: u64 = steps.iter().map(|s| s.dropped).sum();
        let late = rows.dropped.saturating_sub(dropped);
        lines.push(Line {
            name: "written by an output",
            dropped: late,
            aside: reached.saturating_sub(late + rows.out),
            left: rows.out,
            class: "sum",
            ..Line::default()
        });
        Section {
            id: "waterfall",
            title: "Rows through the operators",
            body: html! {
                p.lead {
                    "What is left after each operator. Times are those of processors, of all threads \
                     together, estimated from a part of the rows."
                }
                table.waterfall {
                    thead {
                        tr {
                            th scope="col" { "Operator" }
                            th scope="col" { span.skip { "Share of rows" } }
                            @for title in ["Dropped", "Set aside", "Changed", "Left", "CPU time"] {
                                th scope="col" { (title) }
                            }
                        }
                    }
                    tbody { @for line in &lines { (line.draw(whole, longest)) } }
                }
                @if late > 0 {
                    p.what {
                        "The " (count(late, "row")) " dropped at the end were drawn by no sample."
                    }
                }
            },
        }
    }

    fn filters(&self) -> Option<Section> {
        let measures = &self.facts.measures;
        (!measures.is_empty()).then(|| Section {
            id: "filters",
            title: "Filters and their bounds",
            body: html! {
                p.lead {
                    "What each filter measured, where its bounds lie, and the rows next to them. \
                     Texts are those of the input, without special tokens; values count what the \
                     filter saw."
                    @if measures.iter().any(|measure| TEXT_UNITS.contains(&measure.unit)) {
                        " " (tokens_told(&self.run.settings))
                    }
                }
                @for measure in measures { (self.filter(measure)) }
            },
        })
    }

    fn filter(&self, measure: &Measure) -> Markup {
        let step = self.steps().get(measure.step);
        let (judged, lost) = step.map_or((0, 0), |s| (s.shown, s.dropped));
        let plot = || Plot {
            histogram: &measure.histogram,
            stat: &measure.stat,
            unit: measure.unit,
            kinds: ["let through", "dropped"],
            marks: marks(measure),
            compare: false,
        };
        html! {
            article id={ "filter-" (StepNumber::at(measure.step)) "-" (measure.stat) } {
                header {
                    h3 { (measure.op) }
                    p {
                        (count(judged, "row")) " judged · "
                        span class=[(lost > 0).then_some("lost")] { (thousands(lost)) " dropped" }
                        " (" (percent(lost, judged)) ")"
                    }
                }
                p.what { code { (measure.stat) } " · " (self.what(measure)) }
                @if measure.rows == [0, 0] {
                    p.what { "None of its values are stored." }
                } @else {
                    ul.key {
                        li.k0 { i {} "let through" }
                        li.k1 { i {} "dropped here" }
                    }
                    (plot().draw())
                }
                @if measure.unknown > 0 {
                    p.beyond {
                        "Not drawn: " (count(measure.unknown, "row"))
                        " that a later operator ended, or that another stat of this filter \
                         dropped. The run does not store their values."
                    }
                }
                @for bound in &measure.bounds {
                    @if let Some(tried) = &bound.cuts {
                        (cuts::table(tried, measure.unit, Some(&shown_bound(measure, bound)), "whose values are stored"))
                    }
                }
                @for bound in &measure.bounds { (self.border(measure, bound)) }
            }
        }
    }

    /// The bounds of a filter in words.
    fn what(&self, measure: &Measure) -> String {
        let mut bounds: Vec<String> = measure
            .bounds
            .iter()
            .map(|b| format!("{} {}", b.param, shown_bound(measure, b)))
            .collect();
        let step = self.run.settings.process.get(measure.step);
        if step.is_some_and(|step| step.is_set("reversed_range")) {
            bounds.push("range reversed: keeps what lies outside".to_owned());
        }
        if bounds.is_empty() {
            bounds.push("no bound".to_owned());
        }
        bounds.join(", ")
    }

    /// The rows next to a bound.
    fn border(&self, measure: &Measure, bound: &Bound) -> Markup {
        let show = |value: f64| value_of(measure.unit, value);
        let [_, dropped] = measure.rows;
        let at = html! { code { (bound.param) " " (shown_bound(measure, bound)) } };
        if bound.dropped.is_empty() {
            return html! {
                @if let (Some((value, _)), true) = (bound.kept.first(), dropped > 0) {
                    p.what {
                        "At " (at) " nothing was dropped; the nearest value is " (show(*value)) "."
                    }
                }
            };
        }
        let sides = [
            ("Just let through", "kept", &bound.kept),
            ("Just dropped", "lost", &bound.dropped),
        ];
        let values = |rows: &[(f64, u64)]| {
            let values: Vec<String> = rows.iter().map(|(value, _)| show(*value)).collect();
            values.join(" · ")
        };
        let later = |offset: &u64| {
            let ended = self.facts.ended.get(offset);
            ended.filter(|(step, _)| *step > measure.step)
        };
        let list = |class, rows: &[(f64, u64)]| -> Vec<Card<'_>> {
            rows.iter()
                .map(|(value, offset)| Card {
                    class,
                    value: show(*value),
                    reason: later(offset).map(|(_, told)| told.as_str()),
                    row: self.rows.get(offset),
                    raw: None,
                })
                .collect()
        };
        html! {
            @for (title, class, rows) in sides {
                h4 { (title) " at " (at) }
                @if rows.is_empty() {
                    p.what { "No such row, or none whose value is stored." }
                } @else if self.rows.is_empty() {
                    p.what { (values(rows)) }
                } @else {
                    (cards(&list(class, rows)))
                }
            }
        }
    }

    fn texts(&self) -> Option<Section> {
        let now: Vec<String> = self
            .edited
            .iter()
            .map(|edited| format!("now: {}", edited.text))
            .collect();
        let list: Vec<Card<'_>> = self
            .edited
            .iter()
            .zip(&now)
            .map(|(edited, now)| Card {
                class: "kept",
                value: String::new(),
                reason: Some(now),
                row: self.rows.get(&edited.row),
                raw: None,
            })
            .collect();
        (!list.is_empty()).then(|| Section {
            id: "texts",
            title: "Texts before and after",
            body: html! {
                p.lead {
                    "Some rows of the output whose text is another one than it was read with: edited, \
                     or made by a model. The picture and the first text are the row\u{2019}s own."
                }
                (cards(&list))
            },
        })
    }

    fn quarantine(&self, style: &RowStyle, budget: &Budget) -> Option<Section> {
        let reasons = &self.facts.reasons;
        if reasons.is_empty() {
            return None;
        }
        let raw: Vec<(Origin, Vec<u8>)> = reasons
            .iter()
            .flat_map(|r| &r.examples)
            .map(|row| {
                let origin = Origin {
                    offset: row.offset,
                    file: file_of(self.run, &row.input),
                    line: row.line,
                    part: 0,
                    copy: 0,
                };
                let text = row.row.as_deref().unwrap_or_default();
                (origin, text.as_bytes().to_vec())
            })
            .collect();
        let mut shown = style.show_all(&raw, budget).into_iter();
        let examples: Vec<(&Reason, Vec<(ShownRow, &QuarantineEntry<'_>)>)> = reasons
            .iter()
            .map(|reason| {
                let examples = reason.examples.iter();
                let rows = examples.filter_map(|example| Some((shown.next()?, example)));
                (reason, rows.collect())
            })
            .collect();
        let list = |rows: &[(ShownRow, &QuarantineEntry<'_>)]| {
            let list: Vec<Card<'_>> = rows
                .iter()
                .map(|(row, example)| Card {
                    class: "aside",
                    value: String::new(),
                    reason: Some(&example.message),
                    row: Some(row),
                    raw: example.row.as_deref(),
                })
                .collect();
            cards(&list)
        };
        Some(Section {
            id: "set-aside",
            title: "Set aside, by reason",
            body: html! {
                p.lead {
                    "Rows that an operator could not process or an output refused, by reason. They \
                     are in " code { "quarantine.jsonl" } ", as they were read. A row that one \
                     output refused may have been written by another."
                }
                @for (reason, rows) in &examples {
                    article {
                        header {
                            h3 { (reason.code) }
                            p { (count(reason.rows, "row")) " at " (short_path(&reason.by)) }
                        }
                        @if rows.is_empty() {
                            p.what { "No example is stored." }
                        } @else {
                            h4 { "For example" }
                            (list(rows))
                        }
                    }
                }
            },
        })
    }

    fn duplicates(&self) -> Option<Section> {
        let found = &self.facts.duplicates;
        (!found.is_empty()).then(|| Section {
            id: "duplicates",
            title: "Duplicates",
            body: html! {
                p.lead {
                    "The largest clusters of each deduplicator. The first row of a cluster stayed; \
                     the others are its duplicates."
                }
                @for dedup in found {
                    article {
                        header {
                            h3 { (dedup.op) }
                            p {
                                span.lost { (count(dedup.dropped, "row")) " dropped" }
                                " in " (count(dedup.clusters, "cluster"))
                            }
                        }
                        div.clusters {
                            @for (size, rows) in &dedup.largest { (self.cluster(*size, rows)) }
                        }
                    }
                }
            },
        })
    }

    fn cluster(&self, size: u64, rows: &[u64]) -> Markup {
        let list: Vec<Card<'_>> = rows
            .iter()
            .enumerate()
            .map(|(index, offset)| Card {
                class: if index == 0 { "kept" } else { "lost" },
                value: if index == 0 { "stayed" } else { "duplicate" }.to_owned(),
                reason: None,
                row: self.rows.get(offset),
                raw: None,
            })
            .collect();
        let more = size.saturating_sub(rows.len() as u64);
        html! {
            div.cluster.wide[rows.len() > 2] {
                h4 {
                    (count(size, "row"))
                    @if more > 0 { ", " (thousands(more)) " not shown" }
                }
                @if self.rows.is_empty() {
                    p.what { "The rows could not be read back." }
                } @else {
                    (cards(&list))
                }
            }
        }
    }

    fn samples(&self) -> Option<Section> {
        let samples = &self.facts.samples;
        if samples.is_empty() {
            return None;
        }
        let compared: Vec<(&Sampled, Vec<(&Measure, Histogram)>)> = samples
            .iter()
            .enumerate()
            .map(|(index, sample)| (sample, self.compared(index)))
            .collect();
        let none = compared.iter().all(|(_, histograms)| histograms.is_empty());
        let plot = |measure: &Measure, histogram: &Histogram| {
            let plot = Plot {
                histogram,
                stat: &measure.stat,
                unit: measure.unit,
                kinds: ["of all", "of the sample"],
                marks: Vec::new(),
                compare: true,
            };
            plot.draw()
        };
        Some(Section {
            id: "samples",
            title: "Samples against the whole",
            body: html! {
                p.lead {
                    "Each sample beside all rows that it was drawn from, as shares: the line should \
                     follow the bars."
                }
                @for (sample, histograms) in &compared {
                    h3 {
                        (short_path(&sample.name)) " "
                        span.kicker { (count(sample.rows, "row")) }
                    }
                    div.grid {
                        @for (measure, histogram) in histograms {
                            article.compare {
                                header { h3 { code { (measure.stat) } } }
                                ul.key.compare {
                                    li.k0 { i {} "all" }
                                    li.k1 { i {} "sample" }
                                }
                                (plot(measure, histogram))
                            }
                        }
                    }
                }
                @if none {
                    p.what {
                        "No stats of kept rows are stored with this run, so there is nothing to \
                         compare."
                    }
                }
            },
        })
    }

    /// The histograms of sample number `index` beside the whole, each stat once: several filters
    /// may judge the same one.
    fn compared(&self, index: usize) -> Vec<(&Measure, Histogram)> {
        let mut out: Vec<(&Measure, Histogram)> = Vec::new();
        for measure in &self.facts.measures {
            let Some(histogram) = measure.samples.get(index) else {
                continue;
            };
            let seen = out.iter().any(|(shown, _)| shown.stat == measure.stat);
            if histogram.total(0) > 0 && !seen {
                out.push((measure, histogram.coarser(20)));
            }
        }
        out
    }

    fn about(&self) -> Section {
        let manifest = &self.run.manifest;
        let mut facts: Vec<(&str, String)> = Vec::new();
        facts.extend(manifest.inputs.iter().map(input_fact));
        for output in &manifest.outputs {
            let mut line = format!(
                "{} · {} · {} written",
                output.name,
                output.format,
                count(output.written, "row")
            );
            if let Some(reader) = &output.checked_for {
                let _ = write!(line, " · checked for {reader}");
            }
            if output.refused > 0 {
                let why: Vec<String> = manifest
                    .reasons
                    .iter()
                    .filter(|reason| reason.by == output.name)
                    .map(|reason| format!("{} {}", reason.code, thousands(reason.rows)))
                    .collect();
                let refused = thousands(output.refused);
                let _ = write!(line, ", {refused} refused ({})", why.join(", "));
            }
            facts.push(("Output", line));
            for file in &output.files {
                let line = format!("{} · xxh3 {}", bytes(file.bytes), file.xxh3_128);
                facts.push(("", line));
            }
        }
        facts.extend(manifest.services.iter().filter_map(service_fact));
        facts.push(("Seed", self.run.settings.seed.to_string()));
        facts.push((
            "Time",
            format!(
                "{} with {} threads",
                duration(manifest.seconds),
                thousands(manifest.threads as u64)
            ),
        ));
        facts.push(("Peak memory", bytes(manifest.peak_memory_bytes)));
        facts.push(("Started", manifest.started.clone()));
        facts.push(("Ended", manifest.ended.clone()));
        facts.push(("Command", manifest.command.join(" ")));
        facts.push(("Plan", manifest.plan_digest.clone()));
        let format = format!(
            "djr {}, records of format {}",
            manifest.djr, manifest.format
        );
        facts.push(("Run by", format));
        facts.retain(|(_, what)| !what.is_empty());
        Section {
            id: "about",
            title: "About this run",
            body: html! {
                (pairs(&facts))
                details {
                    summary { "The recipe as resolved" }
                    (recipe_steps(&self.run.settings))
                }
            },
        }
    }
}

/// What a model, program or server was asked, for a list of facts.
pub(super) fn service_fact(service: &ServiceRecord) -> Option<(&'static str, String)> {
    let (asked, words) = served(service)?;
    Some(("Asked", format!("{} {words}", thousands(asked))))
}

fn marks(measure: &Measure) -> Vec<(String, f64, bool)> {
    let name = |b: &Bound| format!("{} {}", b.param, shown_bound(measure, b));
    let bounds = measure.bounds.iter();
    bounds.map(|b| (name(b), b.value, b.upper)).collect()
}

fn shown_bound(measure: &Measure, bound: &Bound) -> String {
    bound.shown(measure.unit)
}

/// One line of the waterfall.
#[derive(Default)]
struct Line<'a> {
    step: Option<StepNumber>,
    name: &'a str,
    dropped: u64,
    aside: u64,
    changed: u64,
    repeated: u64,
    merged: u64,
    left: u64,
    seconds: Option<f64>,
    class: &'static str,
}

impl Line<'_> {
    fn draw(&self, whole: u64, longest: f64) -> Markup {
        let flow = bar(
            &[
                ("left-fill", self.left),
                ("lost-fill", self.dropped),
                ("aside-fill", self.aside),
            ],
            whole,
        );
        html! {
            tr class=(self.class) data-left=(self.left) data-dropped=(self.dropped)
                data-aside=(self.aside) {
                th scope="row" {
                    span.no { @if let Some(step) = self.step { (step) } }
                    (self.name)
                }
                td."flow-cell" { (flow) }
                (lost("lost", "dropped", self.dropped))
                (lost("aside", "set aside", self.aside))
                (self.changes())
                td.left { (thousands(self.left)) }
                (self.time(longest))
            }
        }
    }

    fn changes(&self) -> Markup {
        match (self.changed, self.repeated, self.merged) {
            (changed, 0, 0) => lost("", "changed", changed),
            (_, 0, merged) => html! {
                td.num data-label="merged" { (thousands(merged)) " merged" }
            },
            (_, repeated, _) => html! {
                td.num data-label="repeated" { "+" (thousands(repeated)) " repeated" }
            },
        }
    }

    fn time(&self, longest: f64) -> Markup {
        let Some(time) = self.seconds else {
            return html! { td.num.time.none {} };
        };
        let width = if longest > 0.0 {
            time / longest * 48.0
        } else {
            0.0
        };
        html! {
            td.num.time data-label="time" {
                (short_time(time))
                s { i style=(format!("width:{width:.0}px")) {} }
            }
        }
    }
}

/// A number of rows that are gone, or a dash.
fn lost(class: &str, label: &str, number: u64) -> Markup {
    html! {
        @if number == 0 {
            td.num.none data-label=(label) { span.zero { "–" } }
        } @else {
            td.num data-label=(label) { span class=(class) { (thousands(number)) } }
        }
    }
}

fn file_of(run: &PastRun, input: &str) -> u32 {
    let mut inputs = run.manifest.inputs.iter().zip(0..);
    let at = inputs.find(|(recorded, _)| recorded.name == input);
    at.map_or(0, |(_, index)| index)
}

/// What was read of an input.
pub(super) fn input_fact(input: &InputRecord) -> (&'static str, String) {
    let rows = count(input.rows, "row");
    let line = format!("{} · {rows} · {}", input.name, bytes(input.bytes_read));
    ("Input", line)
}

/// The last part of a path, which may also be the name of an operator.
fn short_path(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// `1.2 ms`, `0.35 s`, `12.3 s`.
fn short_time(time: f64) -> String {
    if time < 0.1 {
        format!("{} ms", number((time * 1e4).round() / 10.0))
    } else {
        seconds(Duration::from_secs_f64(time.clamp(0.0, 1e12)))
    }
}

fn duration(time: f64) -> String {
    seconds(Duration::from_secs_f64(time.clamp(0.0, 1e12)))
}
