//! The report of a run.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use hashbrown::HashMap;

use super::plot::{Plot, bar, value_of};
use super::text::{count, esc, number, percent};
use super::{Card, Head, Section, cards, page, pairs, recipe_steps};
use crate::io::Input;
use crate::record::manifest::StepRecord;
use crate::record::stats::READ;
use crate::record::{InputRecord, PastRun, QuarantineEntry};
use crate::report::table::{bytes, seconds, thousands};
use crate::sample::Origin;
use crate::view::ViewError;
use crate::view::gather::{self, Bound, Facts, Measure, Reason};
use crate::view::rows::{self, Budget, RowStyle, ShownRow};

/// The report of `run` as HTML.
///
/// # Errors
/// If a file of the run directory cannot be read.
pub fn run_page(run: &PastRun) -> Result<String, ViewError> {
    let mut facts = gather::gather(run)?;
    let budget = Budget::default();
    let inputs = run.inputs().unwrap_or_default();
    let style = RowStyle::of_recipe(&run.settings, &inputs);
    let rows = shown_rows(run, &mut facts, &style, &budget)?;
    let report = RunReport {
        run,
        facts: &facts,
        rows: &rows,
    };
    let mut sections = vec![report.waterfall()];
    sections.extend(report.filters());
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
    let head = Head {
        kicker: &format!(
            "Report of a run · {} · {}",
            manifest.recipe_file,
            duration(manifest.seconds)
        ),
        title: name,
        figures,
        below: format!("<div class=\"whole\">{whole}</div>\n"),
        notes: &facts.notes,
    };
    Ok(page(&head, &sections))
}

/// Reads back the rows that are shown, if the inputs are still those of the run.
fn shown_rows(
    run: &PastRun,
    facts: &mut Facts,
    style: &RowStyle,
    budget: &Budget,
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
    let wanted: BTreeSet<u64> = of_bounds.chain(of_clusters).collect();
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
pub(super) fn reread(recorded: &[InputRecord]) -> Result<Vec<Input>, String> {
    let inputs: Option<Vec<Input>> = recorded.iter().map(InputRecord::input).collect();
    let inputs = inputs.ok_or("The rows came from a pipe: they cannot be read again and shown.")?;
    for (input, recorded) in inputs.iter().zip(recorded) {
        let Input::File(path) = input else { continue };
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
    rows: &'a HashMap<u64, ShownRow>,
}

impl RunReport<'_> {
    fn steps(&self) -> &[StepRecord] {
        &self.run.manifest.steps
    }

    fn waterfall(&self) -> Section {
        let rows = self.run.manifest.rows;
        let whole = self
            .steps()
            .iter()
            .map(|s| s.shown + s.repeated)
            .chain([rows.read])
            .max()
            .unwrap_or(0);
        let longest = self.steps().iter().map(|s| s.seconds).fold(0.0, f64::max);
        let mut out = String::from(
            "<p class=\"lead\">What is left after each operator. Times are over all threads, \
             estimated from a part of the rows.</p>\n<table class=\"waterfall\"><thead><tr>\
             <th scope=\"col\">Operator</th><th scope=\"col\"><span class=\"skip\">Share of rows</span></th>\
             <th scope=\"col\">Dropped</th><th scope=\"col\">Set aside</th>\
             <th scope=\"col\">Changed</th><th scope=\"col\">Left</th><th scope=\"col\">Time</th>\
             </tr></thead><tbody>\n",
        );
        let first = self.steps().first().map(|s| s.shown);
        let rows_in = rows.read;
        let readable = first.unwrap_or_else(|| {
            let read = |r: &&Reason| r.by == READ;
            rows_in.saturating_sub(self.facts.reasons.iter().filter(read).map(|r| r.rows).sum())
        });
        Line {
            name: "<span class=\"no\"></span>rows read".to_owned(),
            aside: rows_in.saturating_sub(readable),
            left: readable,
            ..Line::default()
        }
        .draw(whole, longest, &mut out);
        for (index, step) in self.steps().iter().enumerate() {
            Line {
                name: format!("<span class=\"no\">{}</span>{}", index + 1, esc(&step.op)),
                dropped: step.dropped,
                aside: step.quarantined,
                changed: step.changed,
                repeated: step.repeated,
                merged: step.merged,
                left: step.out,
                seconds: Some(step.seconds),
                class: "",
            }
            .draw(whole, longest, &mut out);
        }
        let reached = self.steps().last().map_or(readable, |s| s.out);
        let dropped: u64 = self.steps().iter().map(|s| s.dropped).sum();
        let late = rows.dropped.saturating_sub(dropped);
        let refused = reached.saturating_sub(late + rows.out);
        Line {
            name: "<span class=\"no\"></span>written by an output".to_owned(),
            dropped: late,
            aside: refused,
            left: rows.out,
            class: "sum",
            ..Line::default()
        }
        .draw(whole, longest, &mut out);
        out.push_str("</tbody></table>\n");
        if late > 0 {
            let _ = write!(
                out,
                "<p class=\"what\">The {} dropped at the end were drawn by no sample.</p>",
                count(late, "row")
            );
        }
        Section {
            id: "waterfall",
            title: "Rows through the operators",
            body: out,
        }
    }

    fn filters(&self) -> Option<Section> {
        if self.facts.measures.is_empty() {
            return None;
        }
        let mut out = String::from(
            "<p class=\"lead\">What each filter measured, where its bounds lie, and the rows next \
             to them. Texts are those of the input, without special tokens; values count what the \
             filter saw.</p>\n",
        );
        for measure in &self.facts.measures {
            self.filter(measure, &mut out);
        }
        Some(Section {
            id: "filters",
            title: "Filters and their bounds",
            body: out,
        })
    }

    fn filter(&self, measure: &Measure, out: &mut String) {
        let step = self.steps().get(measure.step);
        let (judged, lost) = step.map_or((0, 0), |s| (s.shown, s.dropped));
        let [_, dropped] = measure.rows;
        let _ = writeln!(
            out,
            "<article id=\"filter-{}-{}\"><header><h3>{}</h3><p>{} judged · <span class=\"lost\">{} \
             dropped</span> ({})</p></header><p class=\"what\">{}</p>",
            measure.step + 1,
            esc(&measure.stat),
            esc(&measure.op),
            count(judged, "row"),
            thousands(lost),
            percent(lost, judged),
            self.what(measure)
        );
        if measure.rows == [0, 0] {
            out.push_str("<p class=\"what\">None of its values are stored.</p>");
        } else {
            let plot = Plot {
                histogram: &measure.histogram,
                stat: &measure.stat,
                kinds: ["let through", "dropped"],
                marks: marks(measure),
                compare: false,
            };
            let _ = write!(
                out,
                "<ul class=\"key\"><li class=\"k0\"><i></i>let through</li>\
                 <li class=\"k1\"><i></i>dropped here</li></ul>{}",
                plot.draw()
            );
        }
        if measure.unknown > 0 {
            let _ = write!(
                out,
                "<p class=\"beyond\">Not drawn: {} that a later operator ended, or that another stat of this \
                 filter dropped. The run does not store their values.</p>",
                count(measure.unknown, "row")
            );
        }
        for bound in &measure.bounds {
            self.border(measure, bound, dropped, out);
        }
        out.push_str("</article>\n");
    }

    fn what(&self, measure: &Measure) -> String {
        let mut bounds: Vec<String> = measure
            .bounds
            .iter()
            .map(|b| format!("{} {}", b.param, value_of(&measure.stat, b.value)))
            .collect();
        let step = self.run.settings.process.get(measure.step);
        if step.is_some_and(|step| step.is_set("reversed_range")) {
            bounds.push("range reversed: keeps what lies outside".to_owned());
        }
        if bounds.is_empty() {
            bounds.push("no bound".to_owned());
        }
        format!(
            "<code>{}</code> · {}",
            esc(&measure.stat),
            esc(&bounds.join(", "))
        )
    }

    /// The rows next to a bound.
    fn border(&self, measure: &Measure, bound: &Bound, dropped: u64, out: &mut String) {
        let show = |value: f64| value_of(&measure.stat, value);
        if bound.dropped.is_empty() {
            if let (Some((value, _)), true) = (bound.kept.first(), dropped > 0) {
                let _ = write!(
                    out,
                    "<p class=\"what\">At <code>{} {}</code> nothing was dropped; the nearest value is {}.</p>",
                    esc(&bound.param),
                    show(bound.value),
                    show(*value)
                );
            }
            return;
        }
        for (title, class, rows) in [
            ("Just let through", "kept", &bound.kept),
            ("Just dropped", "lost", &bound.dropped),
        ] {
            let _ = write!(
                out,
                "<h4>{title} at <code>{} {}</code></h4>",
                esc(&bound.param),
                show(bound.value)
            );
            if rows.is_empty() {
                out.push_str("<p class=\"what\">No such row, or none whose value is stored.</p>");
                continue;
            }
            if self.rows.is_empty() {
                let values: Vec<String> = rows.iter().map(|(value, _)| show(*value)).collect();
                let _ = write!(out, "<p class=\"what\">{}</p>", esc(&values.join(" · ")));
                continue;
            }
            let list: Vec<Card<'_>> = rows
                .iter()
                .map(|(value, offset)| Card {
                    class,
                    value: show(*value),
                    reason: None,
                    row: self.rows.get(offset),
                    raw: None,
                })
                .collect();
            out.push_str(&cards(&list));
        }
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
                };
                (
                    origin,
                    row.row.as_deref().unwrap_or_default().as_bytes().to_vec(),
                )
            })
            .collect();
        let mut shown = style.show_all(&raw, budget).into_iter();
        let mut out = String::from(
            "<p class=\"lead\">Rows that an operator could not process or an output refused, by \
             reason. They are in <code>quarantine.jsonl</code>, as they were read. A row that one \
             output refused may have been written by another.</p>\n",
        );
        for reason in reasons {
            let _ = write!(
                out,
                "<article><header><h3>{}</h3><p>{} at {}</p></header>",
                esc(&reason.code),
                count(reason.rows, "row"),
                esc(short_path(&reason.by))
            );
            let rows: Vec<(ShownRow, &QuarantineEntry<'_>)> = reason
                .examples
                .iter()
                .filter_map(|example| Some((shown.next()?, example)))
                .collect();
            if rows.is_empty() {
                out.push_str("<p class=\"what\">No example is stored.</p></article>\n");
                continue;
            }
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
            let _ = writeln!(out, "<h4>For example</h4>{}</article>", cards(&list));
        }
        Some(Section {
            id: "set-aside",
            title: "Set aside, by reason",
            body: out,
        })
    }

    fn duplicates(&self) -> Option<Section> {
        if self.facts.duplicates.is_empty() {
            return None;
        }
        let mut out = String::from(
            "<p class=\"lead\">The largest clusters of each deduplicator. The first row of a \
             cluster stayed; the others are its duplicates.</p>\n",
        );
        for dedup in &self.facts.duplicates {
            let _ = write!(
                out,
                "<article><header><h3>{}</h3><p><span class=\"lost\">{} dropped</span> in {}</p></header>",
                esc(&dedup.op),
                count(dedup.dropped, "row"),
                count(dedup.clusters, "cluster")
            );
            out.push_str("<div class=\"clusters\">");
            for (size, rows) in &dedup.largest {
                let wide = if rows.len() > 2 { " wide" } else { "" };
                let more = size.saturating_sub(rows.len() as u64);
                let more = if more > 0 {
                    format!(", {} not shown", thousands(more))
                } else {
                    String::new()
                };
                let _ = write!(
                    out,
                    "<div class=\"cluster{wide}\"><h4>{}{more}</h4>",
                    count(*size, "row")
                );
                if self.rows.is_empty() {
                    out.push_str("<p class=\"what\">The rows could not be read back.</p></div>");
                    continue;
                }
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
                let _ = write!(out, "{}</div>", cards(&list));
            }
            out.push_str("</div></article>\n");
        }
        Some(Section {
            id: "duplicates",
            title: "Duplicates",
            body: out,
        })
    }

    fn samples(&self) -> Option<Section> {
        let samples = &self.facts.samples;
        if samples.is_empty() {
            return None;
        }
        let mut out = String::from(
            "<p class=\"lead\">Each sample beside all rows that it was drawn from, as shares: the \
             line should follow the bars.</p>\n",
        );
        let mut any = false;
        for (index, sample) in samples.iter().enumerate() {
            let _ = write!(
                out,
                "<h3>{} <span class=\"kicker\">{}</span></h3><div class=\"grid\">",
                esc(short_path(&sample.name)),
                count(sample.rows, "row")
            );
            let mut shown: Vec<&str> = Vec::new();
            for measure in &self.facts.measures {
                let Some(histogram) = measure.samples.get(index) else {
                    continue;
                };
                // The same stat may be judged by several filters.
                if histogram.total(0) == 0 || shown.contains(&measure.stat.as_str()) {
                    continue;
                }
                shown.push(&measure.stat);
                any = true;
                let plot = Plot {
                    histogram: &histogram.coarser(20),
                    stat: &measure.stat,
                    kinds: ["of all", "of the sample"],
                    marks: Vec::new(),
                    compare: true,
                };
                let _ = write!(
                    out,
                    "<article class=\"compare\"><header><h3><code>{}</code></h3></header>\
                     <ul class=\"key compare\"><li class=\"k0\"><i></i>all</li><li class=\"k1\"><i></i>sample</li></ul>\
                     {}</article>",
                    esc(&measure.stat),
                    plot.draw()
                );
            }
            out.push_str("</div>\n");
        }
        if !any {
            out.push_str(
                "<p class=\"what\">No stats of kept rows are stored with this run, so there is \
                 nothing to compare.</p>",
            );
        }
        Some(Section {
            id: "samples",
            title: "Samples against the whole",
            body: out,
        })
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
            if output.refused > 0 {
                let _ = write!(line, ", {} refused", thousands(output.refused));
            }
            facts.push(("Output", line));
            for file in &output.files {
                let line = format!("{} · xxh3 {}", bytes(file.bytes), file.xxh3_128);
                facts.push(("", line));
            }
        }
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
        facts.push(("Run by", format!("djr {}", manifest.djr)));
        Section {
            id: "about",
            title: "About this run",
            body: format!(
                "{}<details><summary>The recipe as resolved</summary>{}</details>",
                pairs(&facts),
                recipe_steps(&self.run.settings)
            ),
        }
    }
}

fn marks(measure: &Measure) -> Vec<(&str, f64, bool)> {
    measure
        .bounds
        .iter()
        .map(|b| (b.param.as_str(), b.value, b.upper))
        .collect()
}

/// One line of the waterfall.
#[derive(Default)]
struct Line {
    /// HTML.
    name: String,
    dropped: u64,
    aside: u64,
    changed: u64,
    repeated: u64,
    merged: u64,
    left: u64,
    seconds: Option<f64>,
    class: &'static str,
}

impl Line {
    fn draw(&self, whole: u64, longest: f64, out: &mut String) {
        let flow = bar(
            &[
                ("left-fill", self.left),
                ("lost-fill", self.dropped),
                ("aside-fill", self.aside),
            ],
            whole,
        );
        let lost = |class: &str, label: &str, number: u64| {
            if number == 0 {
                return format!(
                    "<td class=\"num none\" data-label=\"{label}\"><span class=\"zero\">–</span></td>"
                );
            }
            format!(
                "<td class=\"num\" data-label=\"{label}\"><span class=\"{class}\">{}</span></td>",
                thousands(number)
            )
        };
        let changed = match (self.changed, self.repeated, self.merged) {
            (changed, 0, 0) => lost("", "changed", changed),
            (_, 0, merged) => format!(
                "<td class=\"num\" data-label=\"merged\">{} merged</td>",
                thousands(merged)
            ),
            (_, repeated, _) => format!(
                "<td class=\"num\" data-label=\"repeated\">+{} repeated</td>",
                thousands(repeated)
            ),
        };
        let time = match self.seconds {
            None => "<td class=\"num time none\"></td>".to_owned(),
            Some(time) => format!(
                "<td class=\"num time\" data-label=\"time\">{}<s><i style=\"width:{:.0}px\"></i></s></td>",
                short_time(time),
                if longest > 0.0 {
                    time / longest * 48.0
                } else {
                    0.0
                }
            ),
        };
        let _ = writeln!(
            out,
            "<tr class=\"{}\" data-left=\"{}\" data-dropped=\"{}\" data-aside=\"{}\">\
             <th scope=\"row\">{}</th><td class=\"flow-cell\">{flow}</td>{}{}{changed}\
             <td class=\"left\">{}</td>{time}</tr>",
            self.class,
            self.left,
            self.dropped,
            self.aside,
            self.name,
            lost("lost", "dropped", self.dropped),
            lost("aside", "set aside", self.aside),
            thousands(self.left),
        );
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
