//! The report of an analysis: `analysis.json`, and the stored stats for the rows next to bounds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;
use maud::{Markup, html};

use super::plot::{Plot, bar, value_of};
use super::run::{input_fact, reread, service_fact};
use super::text::{count, number, percent, shorten};
use super::tokens_told;
use super::{Card, Head, Section, cards, cuts, page, pairs, recipe_steps};
use crate::analysis::trial::Trial;
use crate::io::Input;
use crate::layout::AnalysisFiles;
use crate::op::{self, BYTES, BoundParam, Bounds, TEXT_UNITS};
use crate::recipe::RecipeSpec;
use crate::record::analysis::{Cluster, Clusters, Counts, Found, StatRecord, Summary};
use crate::record::counts::FromData;
use crate::record::past::StatsRows;
use crate::record::{Analysis, InputRecord, Settings};
use crate::report::table::thousands;
use crate::sample::ImageCheck;
use crate::view::ViewError;
use crate::view::cuts::{self as tried, Cuts, SHARES};
use crate::view::gather::{self, Bound, Nearest, numbers};
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
    let files = AnalysisFiles::new(&directory);
    let looked = Looked::at(&analysis, &settings, &files, &mut notes)?;
    let wanted: BTreeSet<u64> = looked
        .stats
        .iter()
        .flat_map(|stat| &stat.borders)
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
        looked: &looked,
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

/// What the stored stats show of each stat beside its summary.
#[derive(Default)]
struct Looked {
    stats: Vec<StatLook>,
}

/// What is shown of one stat.
struct StatLook {
    name: String,
    borders: Vec<Border>,
    /// Values within the range (0) and beyond it (1), if it has one and the stats are there.
    histogram: Option<Histogram>,
    cuts: Vec<Cuts>,
}

/// The rows next to a bound of a stat.
struct Border {
    bound: Bound,
    inside: Vec<(f64, u64)>,
    outside: Vec<(f64, u64)>,
}

/// A stat while rows are looked at.
struct Looking<'a> {
    name: &'a str,
    step: usize,
    params: Vec<BoundParam>,
    range: Bounds,
    /// Each bound with the rows next to it, within and beyond.
    borders: Vec<(Bound, [Nearest; 2])>,
    histogram: Option<Histogram>,
}

impl Looked {
    /// Reads the stored stats once.
    fn at(
        analysis: &Analysis,
        settings: &Settings,
        files: &AnalysisFiles,
        notes: &mut Vec<String>,
    ) -> Result<Self, ViewError> {
        let mut looking: Vec<Looking<'_>> = Vec::new();
        for (name, record) in analysis.stats.iter() {
            looking.extend(Looking::of(name, record, analysis, settings));
        }
        let path = files.jsonl();
        if !path.is_file() {
            if looking.iter().any(|stat| !stat.borders.is_empty()) {
                notes.push(
                    "stats.jsonl is not there: rows next to bounds, and what other bounds would \
                     leave, are not shown."
                        .to_owned(),
                );
            }
            let stats = looking.into_iter().map(|stat| stat.seen(&[], false));
            return Ok(Self {
                stats: stats.collect(),
            });
        }
        let mut trials = trials(analysis, &looking, notes);
        let mut records = StatsRows::open(&path)?;
        while let Some(row) = records.next_record()? {
            for stat in &mut looking {
                let values = row.stats.get(stat.name).map(numbers).unwrap_or_default();
                stat.see(&values, row.offset);
            }
            for (_, trial) in &mut trials {
                trial.see(&row.stats);
            }
        }
        let stats = looking.into_iter().map(|stat| stat.seen(&trials, true));
        Ok(Self {
            stats: stats.collect(),
        })
    }

    fn of(&self, name: &str) -> Option<&StatLook> {
        self.stats.iter().find(|stat| stat.name == name)
    }
}

impl<'a> Looking<'a> {
    fn of(
        name: &'a str,
        record: &StatRecord,
        analysis: &Analysis,
        settings: &Settings,
    ) -> Option<Self> {
        let step = record.step.index();
        let set = settings.process.get(step)?;
        let def = op::find(&set.op)?;
        let stat = def.stats(&set.params);
        let stat = stat.into_iter().find(|stat| stat.name == name)?;
        let found = found_in(analysis, step);
        let values = found.iter().map(|it| (it.param.as_str(), it.value));
        let range = Bounds::of_params(&stat, &set.params);
        let borders = gather::bounds(def, set, &stat, found);
        let bounded = borders.iter().any(|bound| !bound.is_rank());
        Some(Self {
            name,
            step,
            params: stat.bounds().collect(),
            range: range.with_found(values).unwrap_or(range),
            histogram: record
                .found
                .numbers()
                .filter(|_| bounded)
                .and_then(histogram)
                .map(|drawn| drawn.emptied()),
            borders: borders
                .into_iter()
                .map(|bound| (bound, <[Nearest; 2]>::default()))
                .collect(),
        })
    }

    fn see(&mut self, values: &[f64], offset: u64) {
        if let Some(histogram) = &mut self.histogram {
            for value in values {
                histogram.add(*value, usize::from(!self.range.keeps(*value)));
            }
        }
        for (bound, [inside, outside]) in &mut self.borders {
            // Of several images the one nearest to the bound speaks for the row.
            let nearest = values
                .iter()
                .map(|value| ((value - bound.value).abs(), *value))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let Some((distance, value)) = nearest else {
                continue;
            };
            let beyond = if bound.upper {
                value > bound.value
            } else {
                value < bound.value
            };
            let side = if beyond { outside } else { inside };
            side.add(distance, value, offset);
        }
    }

    /// What was seen, if `there` was something to see.
    fn seen(self, trials: &[(usize, Trial)], there: bool) -> StatLook {
        let trial = trials.iter().find(|(step, _)| *step == self.step);
        let cuts = self.params.iter().filter_map(|param| {
            let mut set = self.borders.iter().map(|(bound, _)| bound);
            let now = set.find(|bound| bound.param == param.param);
            Cuts::of(&trial?.1, *param, now.map(|bound| bound.value))
        });
        StatLook {
            name: self.name.to_owned(),
            cuts: cuts.collect(),
            histogram: self.histogram.filter(|_| there),
            borders: self
                .borders
                .into_iter()
                .map(|(bound, [inside, outside])| Border {
                    bound,
                    inside: inside.into_list(),
                    outside: outside.into_list(),
                })
                .collect(),
        }
    }
}

/// What a step of an analysis found in the data for its bounds.
fn found_in(analysis: &Analysis, step: usize) -> &[FromData] {
    let mut filters = analysis.filters.iter();
    let filter = filters.find(|filter| filter.step.index() == step);
    filter.map_or(&[], |filter| &filter.from_data)
}

/// The filters whose stats have bounds, each with the values of these that are tried.
fn trials(
    analysis: &Analysis,
    looking: &[Looking<'_>],
    notes: &mut Vec<String>,
) -> Vec<(usize, Trial)> {
    let mut trials: Vec<(usize, Trial)> = Vec::new();
    let Ok(recipe) = RecipeSpec::from_json(analysis.plan.recipe.clone()) else {
        return trials;
    };
    for filter in &analysis.filters {
        let step = filter.step.index();
        let mut own = looking.iter().filter(|stat| stat.step == step).peekable();
        if own.peek().is_none_or(|stat| stat.params.is_empty()) {
            continue;
        }
        let mut trial = match Trial::open(&recipe, step, &filter.from_data) {
            Ok(Some(trial)) => trial,
            Ok(None) => continue,
            Err(problems) => {
                notes.push(tried::not_tried(&filter.op, &problems));
                continue;
            }
        };
        for stat in own {
            let record = analysis.stats.get(stat.name);
            let Some(summary) = record.and_then(|record| record.found.numbers()) else {
                continue;
            };
            let quantiles: Option<Vec<f64>> = SHARES
                .iter()
                .map(|share| match *share {
                    0.0 => summary.min,
                    100.0 => summary.max,
                    share => summary.percentile(&share.to_string()),
                })
                .collect();
            let quantiles = quantiles.unwrap_or_default();
            for param in &stat.params {
                let mut set = stat.borders.iter().map(|(bound, _)| bound);
                let now = set.find(|bound| bound.param == param.param);
                let now = now.map(|bound| bound.value);
                trial.add(param.param, &tried::values(&quantiles, now, param.written));
            }
        }
        trials.push((step, trial));
    }
    trials
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
    looked: &'a Looked,
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
        let mut units = stats.iter().map(|(_, stat)| stat.unit.as_str());
        let of_texts = units.any(|unit| TEXT_UNITS.contains(&unit));
        (!stats.is_empty()).then(|| Section {
            id: "stats",
            title: "What was measured",
            body: html! {
                @if of_texts { p.lead { (tokens_told(self.settings)) } }
                @for (name, stat) in stats.iter() { (self.stat(name, stat)) }
            },
        })
    }

    fn stat(&self, name: &str, stat: &StatRecord) -> Markup {
        let look = self.looked.of(name);
        let borders = look.map_or(&[][..], |look| &look.borders);
        let shown = |bound: &Bound| format!("{} {}", bound.param, bound.shown(&stat.unit));
        let marks = borders.iter().map(|border| {
            let bound = &border.bound;
            (shown(bound), bound.value, bound.upper)
        });
        let now = |cuts: &Cuts| {
            let mut bounds = borders.iter().map(|border| &border.bound);
            let now = bounds.find(|bound| bound.param == cuts.bound.param);
            now.map(|bound| bound.shown(&stat.unit))
        };
        html! {
            article {
                header {
                    h3 { code { (name) } }
                    p {
                        (count(stat.rows, "row"))
                        @if stat.would_drop > 0 {
                            " · " span.lost { (thousands(stat.would_drop)) " would go" }
                            " (" (percent(stat.would_drop, stat.rows)) ")"
                        }
                    }
                }
                p.what { (stat.op) }
                @match &stat.found {
                    Found::Numbers(summary) => {
                        (Distribution {
                            name,
                            unit: &stat.unit,
                            summary,
                            rows: Some(stat.rows),
                            marks: marks.collect(),
                            sides: look.and_then(|look| look.histogram.as_ref()),
                        }.draw())
                    }
                    Found::Words { values, top, top_would_drop, .. } => {
                        (ranks("Value", top, top_would_drop, *values))
                    }
                }
                @for cuts in look.iter().flat_map(|look| &look.cuts) {
                    (cuts::table(cuts, &stat.unit, now(cuts).as_deref(), "that have it, by this filter alone"))
                }
                @for border in borders { (self.border(border, &stat.unit)) }
            }
        }
    }

    fn border(&self, border: &Border, unit: &str) -> Markup {
        if border.outside.is_empty() || self.rows.is_empty() {
            return Markup::default();
        }
        let list = |class, rows: &[(f64, u64)]| {
            let list: Vec<Card<'_>> = rows
                .iter()
                .map(|(value, offset)| Card {
                    class,
                    value: value_of(unit, *value),
                    reason: None,
                    row: self.rows.get(offset),
                    raw: None,
                })
                .collect();
            cards(&list)
        };
        let bound = &border.bound;
        html! {
            @for (title, class, rows) in [
                ("Just within", "kept", &border.inside),
                ("Just beyond", "lost", &border.outside),
            ] {
                h4 { (title) " " code { (bound.param) " " (bound.shown(unit)) } }
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
                    (article("Characters", &Distribution::of("characters", "", &text.characters).draw()))
                    (article("Words", &Distribution::of("words", "", &text.words).draw()))
                    @for (title, list, whole) in lists { (article(title, &ranks(title, list, &[], *whole))) }
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
                        (article(title, &ranks(title, &ranked(counts), &[], images.references)))
                    }
                    @for (key, unit, title, summary) in measured {
                        (article(title, &Distribution::of(key, unit, summary).draw()))
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

/// Percentiles and a histogram.
struct Distribution<'a> {
    name: &'a str,
    unit: &'a str,
    summary: &'a Summary,
    /// Where each of so many rows has one value, it is rows that are counted.
    rows: Option<u64>,
    marks: Vec<(String, f64, bool)>,
    /// The histogram of the summary with values beyond the range told apart.
    sides: Option<&'a Histogram>,
}

impl<'a> Distribution<'a> {
    /// One without bounds.
    fn of(name: &'a str, unit: &'a str, summary: &'a Summary) -> Self {
        Self {
            name,
            unit,
            summary,
            rows: None,
            marks: Vec::new(),
            sides: None,
        }
    }

    fn draw(self) -> Markup {
        let Some(histogram) = histogram(self.summary) else {
            return Markup::default();
        };
        let unit = self.unit;
        let shown = |value: Option<f64>| value.map_or("–".to_owned(), |v| value_of(unit, v));
        let summary = self.summary;
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
            histogram: self.sides.unwrap_or(&histogram),
            stat: self.name,
            unit,
            kinds: match (self.rows, self.sides) {
                (_, Some(_)) => ["within the bounds", "beyond"],
                (Some(rows), None) if rows == summary.values => ["rows", ""],
                _ => ["values", ""],
            },
            marks: self.marks,
            compare: false,
        };
        html! {
            @if self.sides.is_some() {
                ul.key {
                    li.k0 { i {} "within the bounds" }
                    li.k1 { i {} "beyond" }
                }
            }
            (plot.draw())
            dl.spread {
                @for (label, value) in columns {
                    div { dt { (label) } dd { (shown(value)) } }
                }
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

/// Texts and how often they came up, as a table with bars; `gone` says how many of some would go.
fn ranks(title: &str, list: &[(String, u64)], gone: &[(String, u64)], whole: u64) -> Markup {
    let parts = |text: &str, rows: u64| {
        let gone = gone.iter().find(|(other, _)| other == text);
        let gone = gone.map_or(0, |(_, gone)| rows.min(*gone));
        [("kept-fill", rows - gone), ("lost-fill", gone)]
    };
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
                        td title=(percent(*rows, whole)) { (bar(&parts(text, *rows), most)) }
                    }
                }
            }
        }
    }
}
