//! The report of an analysis: `analysis.json`, and the stored stats for the rows next to bounds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;
use maud::{Markup, html};

use super::plot::{Plot, bar, value_of};
use super::run::{input_fact, reread, service_fact};
use super::text::{count, number, percent, shorten};
use super::{Card, Head, Section, cards, page, pairs, recipe_steps};
use crate::io::Input;
use crate::layout::AnalysisFiles;
use crate::op::BYTES;
use crate::record::analysis::{Cluster, Clusters, Counts, Found, StatRecord, Summary};
use crate::record::past::StatsRows;
use crate::record::{Analysis, InputRecord, Settings};
use crate::report::table::thousands;
use crate::sample::ImageCheck;
use crate::view::ViewError;
use crate::view::gather::{Nearest, numbers};
use crate::view::histogram::Histogram;
use crate::view::rows::{self, Budget, RowStyle, ShownRow};

/// How many clusters of a kind of duplicates are shown, and how many rows of each.
const CLUSTERS: usize = 6;
const CLUSTER_ROWS: usize = 4;

/// How many words, templates and values are listed.
const RANKS: usize = 20;

/// The report of the analysis in `path`, a directory or its `analysis.json`, as HTML.
///
/// # Errors
/// If the analysis cannot be read.
pub fn analysis_page(path: &Path) -> Result<String, ViewError> {
    let analysis = Analysis::read(path)?;
    let settings = analysis.settings(path)?;
    let directory = if path.is_dir() {
        path.to_owned()
    } else {
        path.parent().map_or_else(PathBuf::new, Path::to_owned)
    };
    let of_analysis = analysis.notes.iter();
    let mut notes: Vec<String> = of_analysis.map(|note| format!("Note: {note}")).collect();
    let borders = borders(&analysis, &AnalysisFiles::new(&directory), &mut notes)?;
    let wanted: BTreeSet<u64> = borders
        .iter()
        .flat_map(|b| b.inside.iter().chain(&b.outside).map(|(_, offset)| *offset))
        .chain(cluster_rows(&analysis))
        .collect();
    let inputs: Option<Vec<Input>> = analysis.inputs.iter().map(InputRecord::input).collect();
    let style = RowStyle::of_recipe(&settings, inputs.as_deref().unwrap_or_default());
    let rows = match reread(&analysis.inputs) {
        Ok(inputs) => rows::fetch(inputs, &wanted, &style, &Budget::default())?,
        Err(problem) => {
            notes.push(problem);
            HashMap::new()
        }
    };
    let report = AnalysisReport {
        analysis: &analysis,
        settings: &settings,
        borders: &borders,
        rows: &rows,
    };
    let sections: Vec<Section> = [
        report.filters(),
        report.stats(),
        Some(report.captions()),
        Some(report.images()),
        Some(report.duplicates()),
        Some(report.about()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let figure = |class, rows: u64, what: &str| (class, thousands(rows), what.to_owned());
    let images = &analysis.images;
    let head = Head {
        kicker: "Report of an analysis: nothing was dropped",
        title: &title(inputs.as_deref(), &directory),
        figures: vec![
            figure("", analysis.rows.read, "rows in"),
            figure("aside", analysis.rows.unreadable, "unreadable"),
            figure("kept", images.references, "images in rows"),
            figure("lost", images.unusable(), "of them missing or broken"),
        ],
        below: Markup::default(),
        notes: &notes,
    };
    Ok(page(&head, &sections))
}

fn title(inputs: Option<&[Input]>, directory: &Path) -> String {
    let only = inputs.and_then(|inputs| match inputs {
        [input] => input.path()?.file_name(),
        _ => None,
    });
    let input = only.map(std::ffi::OsStr::to_owned);
    let name = input.or_else(|| directory.file_name().map(std::ffi::OsStr::to_owned));
    name.map_or_else(
        || "analysis".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// The rows next to a bound of a stat.
struct Border {
    stat: String,
    unit: String,
    upper: bool,
    bound: f64,
    inside: Vec<(f64, u64)>,
    outside: Vec<(f64, u64)>,
}

/// The rows next to each bound, from the stored stats.
fn borders(
    analysis: &Analysis,
    files: &AnalysisFiles,
    notes: &mut Vec<String>,
) -> Result<Vec<Border>, ViewError> {
    let mut bounds: Vec<(Border, Nearest, Nearest)> = Vec::new();
    for (stat, entry) in analysis.stats.iter() {
        for (_, bound, upper) in marks(entry) {
            let border = Border {
                stat: stat.to_owned(),
                unit: entry.unit.clone(),
                upper,
                bound,
                inside: Vec::new(),
                outside: Vec::new(),
            };
            bounds.push((border, Nearest::default(), Nearest::default()));
        }
    }
    if bounds.is_empty() {
        return Ok(Vec::new());
    }
    let path = files.jsonl();
    if !path.is_file() {
        notes.push("stats.jsonl is not there: rows next to bounds are not shown.".to_owned());
        return Ok(Vec::new());
    }
    let mut records = StatsRows::open(&path)?;
    while let Some(row) = records.next_record()? {
        for (border, inside, outside) in &mut bounds {
            let values = row.stats.get(&border.stat).map(numbers).unwrap_or_default();
            // Of several images the one nearest to the bound speaks for the row.
            let nearest = values
                .into_iter()
                .map(|value| ((value - border.bound).abs(), value))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let Some((distance, value)) = nearest else {
                continue;
            };
            let beyond = if border.upper {
                value > border.bound
            } else {
                value < border.bound
            };
            let side = if beyond { outside } else { inside };
            side.add(distance, value, row.offset);
        }
    }
    Ok(bounds
        .into_iter()
        .map(|(border, inside, outside)| Border {
            inside: inside.into_list(),
            outside: outside.into_list(),
            ..border
        })
        .collect())
}

/// The bounds of a stat, as charts mark them.
/// The bounds of a stat as a chart shows them.
fn named_marks(stat: &StatRecord) -> Vec<(String, f64, bool)> {
    let named = |(param, value, upper)| {
        let name = format!("{param} {}", value_of(&stat.unit, value));
        (name, value, upper)
    };
    marks(stat).into_iter().map(named).collect()
}

fn marks(stat: &StatRecord) -> Vec<(&'static str, f64, bool)> {
    let bounds = stat.bounds.unwrap_or_default();
    [("min", bounds.min, false), ("max", bounds.max, true)]
        .into_iter()
        .filter_map(|(name, value, upper)| Some((name, value?, upper)))
        .collect()
}

/// The kinds of duplicates.
fn kinds(analysis: &Analysis) -> [(&'static str, &Clusters); 4] {
    let found = &analysis.duplicates;
    [
        ("The same text", &found.text),
        ("The same image, byte for byte", &found.image),
        (
            "One image under several captions",
            &found.captions_per_image,
        ),
        ("One caption for several images", &found.images_per_caption),
    ]
}

fn origins(cluster: &Cluster) -> impl Iterator<Item = u64> {
    let rows = cluster.origins.iter().take(CLUSTER_ROWS);
    rows.map(|row| row.offset)
}

fn cluster_rows(analysis: &Analysis) -> Vec<u64> {
    kinds(analysis)
        .iter()
        .flat_map(|(_, found)| found.largest.iter().take(CLUSTERS))
        .flat_map(origins)
        .collect()
}

/// The histogram of a summary.
fn histogram(summary: &Summary) -> Option<Histogram> {
    let bars = &summary.histogram;
    (bars.edges.len() == bars.counts.len() + 1)
        .then(|| Histogram::counted(bars.edges.clone(), &bars.counts))
}

struct AnalysisReport<'a> {
    analysis: &'a Analysis,
    settings: &'a Settings,
    borders: &'a [Border],
    rows: &'a HashMap<u64, ShownRow>,
}

impl AnalysisReport<'_> {
    fn filters(&self) -> Option<Section> {
        let filters = &self.analysis.filters;
        let measured = self.analysis.rows.measured;
        if filters.iter().all(|f| f.would_drop == 0) {
            return None;
        }
        let mut left = measured;
        let lines: Vec<_> = filters
            .iter()
            .map(|filter| {
                left = left.saturating_sub(filter.would_drop_in_sequence);
                (filter, filter.would_drop_in_sequence, left)
            })
            .collect();
        Some(Section {
            id: "filters",
            title: "What the filters would drop",
            body: html! {
                p.lead {
                    "What each filter would drop on its own, and of the rows that the filters \
                     before it keep."
                }
                table.waterfall {
                    thead {
                        tr {
                            th scope="col" { "Filter" }
                            th scope="col" { span.skip { "Share of rows" } }
                            th scope="col" { "Alone" }
                            th scope="col" { "In sequence" }
                            th scope="col" { "Left" }
                        }
                    }
                    tbody {
                        @for (filter, then, left) in lines {
                            tr data-left=(left) data-dropped=(then) {
                                th scope="row" { span.no { (filter.step) } (filter.op) }
                                td."flow-cell" {
                                    (bar(&[("left-fill", left), ("lost-fill", then)], measured))
                                }
                                td.num data-label="alone" { (thousands(filter.would_drop)) }
                                td.num data-label="in sequence" {
                                    span class=[(then > 0).then_some("lost")] { (thousands(then)) }
                                }
                                td.left { (thousands(left)) }
                            }
                        }
                    }
                }
            },
        })
    }

    fn stats(&self) -> Option<Section> {
        let stats = &self.analysis.stats;
        (!stats.is_empty()).then(|| Section {
            id: "stats",
            title: "What was measured",
            body: html! { @for (name, stat) in stats.iter() { (self.stat(name, stat)) } },
        })
    }

    fn stat(&self, name: &str, stat: &StatRecord) -> Markup {
        let borders = self.borders.iter().filter(|border| border.stat == name);
        html! {
            article {
                header {
                    h3 { code { (name) } }
                    p {
                        (count(stat.rows, "row"))
                        @if stat.would_drop > 0 {
                            " · " span class=[(stat.would_drop > 0).then_some("lost")] { (thousands(stat.would_drop)) " would go" }
                            " (" (percent(stat.would_drop, stat.rows)) ")"
                        }
                    }
                }
                p.what { (stat.op) }
                @match &stat.found {
                    Found::Numbers(summary) => {
                        (distribution((name, &stat.unit), summary, Some(stat.rows), named_marks(stat)))
                    }
                    Found::Words { values, top, .. } => { (ranks("Value", top, *values)) }
                }
                @for border in borders { (self.border(border)) }
            }
        }
    }

    fn border(&self, border: &Border) -> Markup {
        if border.outside.is_empty() || self.rows.is_empty() {
            return Markup::default();
        }
        let bound = if border.upper { "max" } else { "min" };
        let list = |class, rows: &[(f64, u64)]| {
            let list: Vec<Card<'_>> = rows
                .iter()
                .map(|(value, offset)| Card {
                    class,
                    value: value_of(&border.unit, *value),
                    reason: None,
                    row: self.rows.get(offset),
                    raw: None,
                })
                .collect();
            cards(&list)
        };
        html! {
            @for (title, class, rows) in [
                ("Just within", "kept", &border.inside),
                ("Just beyond", "lost", &border.outside),
            ] {
                h4 { (title) " " code { (bound) " " (value_of(&border.unit, border.bound)) } }
                (list(class, rows))
            }
        }
    }

    fn captions(&self) -> Section {
        let text = &self.analysis.text;
        let at_least = if text.distinct_words_exact {
            ""
        } else {
            "at least "
        };
        let facts = [
            ("Rows with a text", thousands(text.rows)),
            ("Without a text", thousands(text.missing)),
            ("Empty", thousands(text.empty)),
            (
                "Words",
                format!(
                    "{}, {at_least}{} different",
                    thousands(text.total_words),
                    thousands(text.distinct_words as u64)
                ),
            ),
            (
                "Different words per word",
                text.type_token_ratio.map_or("–".to_owned(), number),
            ),
        ];
        let lists = [
            ("Most frequent words", &text.top_words, text.total_words),
            ("Most frequent beginnings", &text.templates, text.rows),
        ];
        let lists = lists.iter().filter(|(_, list, _)| !list.is_empty());
        Section {
            id: "captions",
            title: "Captions",
            body: html! {
                (pairs(&facts))
                div.grid.two {
                    (article("Characters", &distribution(("characters", ""), &text.characters, None, vec![])))
                    (article("Words", &distribution(("words", ""), &text.words, None, vec![])))
                    @for (title, list, whole) in lists { (article(title, &ranks(title, list, *whole))) }
                }
            },
        }
    }

    fn images(&self) -> Section {
        let images = &self.analysis.images;
        let facts = [
            ("Images in rows", thousands(images.references)),
            ("Different paths", thousands(images.distinct_paths)),
            ("Rows without an image", thousands(images.rows_without)),
            ("Files that are not there", thousands(images.missing)),
            (
                "Looked at as far as",
                level(self.analysis.images_checked).to_owned(),
            ),
        ];
        let counted = [
            ("Formats", &images.formats),
            ("Broken", &images.broken),
            ("Fields that hold no paths", &images.bad_fields),
        ];
        let counted = counted.iter().filter(|(_, counts)| !counts.is_empty());
        let measured = [
            ("width", "", "Width in pixels", &images.width),
            ("height", "", "Height in pixels", &images.height),
            ("aspect_ratio", "", "Width by height", &images.aspect_ratio),
            ("bytes", BYTES, "File size", &images.bytes),
        ];
        let measured = measured
            .iter()
            .filter(|(_, _, _, summary)| summary.values > 0);
        Section {
            id: "images",
            title: "Images",
            body: html! {
                (pairs(&facts))
                div.grid {
                    @for (title, counts) in counted {
                        (article(title, &ranks(title, &ranked(counts), images.references)))
                    }
                    @for (key, unit, title, summary) in measured {
                        (article(title, &distribution((key, unit), summary, None, vec![])))
                    }
                }
            },
        }
    }

    fn duplicates(&self) -> Section {
        Section {
            id: "duplicates",
            title: "Duplicates",
            body: html! {
                @for (title, found) in kinds(self.analysis) {
                    article {
                        header {
                            h3 { (title) }
                            p {
                                (count(found.rows as u64, "row")) " in "
                                (count(found.clusters as u64, "cluster"))
                            }
                        }
                        @if let Some(note) = &found.note { p.what { (note) } }
                        div.clusters {
                            @for cluster in found.largest.iter().take(CLUSTERS) {
                                (self.cluster(cluster))
                            }
                        }
                    }
                }
            },
        }
    }

    fn cluster(&self, cluster: &Cluster) -> Markup {
        let list: Vec<Card<'_>> = origins(cluster)
            .map(|offset| Card {
                class: "",
                value: String::new(),
                reason: None,
                row: self.rows.get(&offset),
                raw: None,
            })
            .collect();
        html! {
            div.cluster.wide[list.len() > 2] {
                h4 { (count(cluster.rows as u64, "row")) }
                (cards(&list))
            }
        }
    }

    fn about(&self) -> Section {
        let mut facts: Vec<(&str, String)> = Vec::new();
        facts.extend(self.analysis.inputs.iter().map(input_fact));
        for (code, rows) in &self.analysis.unreadable {
            facts.push(("Unreadable", format!("{code}: {}", count(*rows, "row"))));
        }
        for error in &self.analysis.errors {
            let rows = count(error.rows, "row");
            facts.push((
                "Not measured",
                format!("{} at {}: {rows}", error.code, error.by),
            ));
        }
        facts.extend(self.analysis.services.iter().filter_map(service_fact));
        facts.push(("Recipe", self.analysis.recipe_file.clone()));
        facts.push(("Started", self.analysis.started.clone()));
        facts.push(("Ended", self.analysis.ended.clone()));
        facts.push(("Command", self.analysis.command.join(" ")));
        facts.push(("Made by", format!("djr {}", self.analysis.djr)));
        facts.retain(|(_, what)| !what.is_empty());
        Section {
            id: "about",
            title: "About this analysis",
            body: html! {
                (pairs(&facts))
                details {
                    summary { "The recipe as resolved" }
                    (recipe_steps(self.settings))
                }
            },
        }
    }
}

/// How far images were looked at, in a word.
fn level(check: ImageCheck) -> &'static str {
    match check {
        ImageCheck::None => "none",
        ImageCheck::Exists => "exists",
        ImageCheck::Header => "header",
        ImageCheck::Decode => "decode",
    }
}

fn article(title: &str, body: &Markup) -> Markup {
    html! {
        article {
            header { h3 { (title) } }
            (body)
        }
    }
}

/// Percentiles and a histogram. Where each of `rows` has one value, it is rows that are counted.
fn distribution(
    (name, unit): (&str, &str),
    summary: &Summary,
    rows: Option<u64>,
    marks: Vec<(String, f64, bool)>,
) -> Markup {
    let Some(histogram) = histogram(summary) else {
        return Markup::default();
    };
    let shown = |value: Option<f64>| value.map_or("–".to_owned(), |v| value_of(unit, v));
    let columns = [
        ("least", summary.min),
        ("5 %", summary.percentile("5")),
        ("25 %", summary.percentile("25")),
        ("median", summary.percentile("50")),
        ("75 %", summary.percentile("75")),
        ("95 %", summary.percentile("95")),
        ("most", summary.max),
        ("mean", summary.mean),
        ("std", summary.std),
    ];
    let plot = Plot {
        histogram: &histogram,
        stat: name,
        unit,
        kinds: match rows {
            Some(rows) if rows == summary.values => ["rows", ""],
            _ => ["values", ""],
        },
        marks,
        compare: false,
    };
    html! {
        (plot.draw())
        dl.spread {
            @for (label, value) in columns {
                div { dt { (label) } dd { (shown(value)) } }
            }
        }
    }
}

/// Counts by name, the greatest first.
fn ranked(counts: &Counts) -> Vec<(String, u64)> {
    let mut list: Vec<(String, u64)> = counts.clone().into_iter().collect();
    list.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
    list
}

/// Texts and how often they came up, as a table with bars.
fn ranks(title: &str, list: &[(String, u64)], whole: u64) -> Markup {
    let most = list.iter().map(|(_, rows)| *rows).max().unwrap_or(1);
    html! {
        table.ranks {
            thead.skip {
                tr {
                    th scope="col" { (title) }
                    th scope="col" { "Count" }
                    th scope="col" { "Share" }
                }
            }
            tbody {
                @for (text, rows) in list.iter().take(RANKS) {
                    tr {
                        th scope="row" dir="auto" { (shorten(text, 80)) }
                        td { (thousands(*rows)) }
                        td title=(percent(*rows, whole)) { (bar(&[("kept-fill", *rows)], most)) }
                    }
                }
            }
        }
    }
}
