//! The report of an analysis: `analysis.json`, and the stored stats for the rows next to bounds.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;
use serde::Deserialize;
use serde_json::Value;

use super::plot::{Plot, bar, value_of};
use super::run::{input_fact, reread};
use super::text::{count, esc, number, percent, shorten};
use super::{Card, Head, Section, cards, page, pairs, recipe_steps};
use crate::io::Input;
use crate::record::past::StatsRows;
use crate::record::version::{self, VersionError};
use crate::record::{InputRecord, Settings};
use crate::report::table::thousands;
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
    let file = if path.is_dir() {
        path.join("analysis.json")
    } else {
        path.to_owned()
    };
    let text = std::fs::read(&file).map_err(|e| ViewError::read(file.display(), e))?;
    if let Err(error) = version::check(&text) {
        return Err(match error {
            VersionError::Foreign(_) => ViewError::format(file.display(), "not an analysis"),
            error => ViewError::format(file.display(), error.to_string()),
        });
    }
    let analysis: Value = serde_json::from_slice(&text)
        .map_err(|e| ViewError::format(file.display(), format!("not an analysis: {e}")))?;
    if analysis["kind"] != "analysis" {
        return Err(ViewError::format(file.display(), "not an analysis"));
    }
    let directory = file.parent().map_or_else(PathBuf::new, Path::to_owned);
    let mut notes = Vec::new();
    let borders = borders(&analysis, &directory, &mut notes)?;
    let wanted: BTreeSet<u64> = borders
        .iter()
        .flat_map(|b| b.inside.iter().chain(&b.outside).map(|(_, offset)| *offset))
        .chain(cluster_rows(&analysis))
        .collect();
    let about = About::deserialize(&analysis)
        .map_err(|e| ViewError::format(file.display(), format!("not an analysis: {e}")))?;
    let inputs: Option<Vec<Input>> = about.inputs.iter().map(InputRecord::input).collect();
    let style = RowStyle::of_recipe(&about.recipe, inputs.as_deref().unwrap_or_default());
    let rows = match reread(&about.inputs) {
        Ok(inputs) => rows::fetch(inputs, &wanted, &style, &Budget::default())?,
        Err(problem) => {
            notes.push(problem);
            HashMap::new()
        }
    };
    let report = AnalysisReport {
        analysis: &analysis,
        about: &about,
        borders: &borders,
        rows: &rows,
    };
    let sections: Vec<Section> = [
        report.filters(),
        report.stats(),
        report.captions(),
        report.images(),
        report.duplicates(),
        Some(report.about()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let of = |path: &str| analysis.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let head = Head {
        kicker: "Report of an analysis: nothing was dropped",
        title: &title(inputs.as_deref(), &directory),
        figures: vec![
            ("", thousands(of("/rows/in")), "rows read".to_owned()),
            (
                "aside",
                thousands(of("/rows/unreadable")),
                "unreadable".to_owned(),
            ),
            (
                "kept",
                thousands(of("/images/references")),
                "images in rows".to_owned(),
            ),
            (
                "lost",
                thousands(broken(&analysis)),
                "of them missing or broken".to_owned(),
            ),
        ],
        below: String::new(),
        notes: &notes,
    };
    Ok(page(&head, &sections))
}

/// What an analysis says of how it was made.
#[derive(Deserialize)]
struct About {
    inputs: Vec<InputRecord>,
    recipe: Settings,
}

fn title(inputs: Option<&[Input]>, directory: &Path) -> String {
    let input = match inputs {
        Some([Input::File(path)]) => path.file_name().map(std::ffi::OsStr::to_owned),
        _ => None,
    };
    let name = input.or_else(|| directory.file_name().map(std::ffi::OsStr::to_owned));
    name.map_or_else(
        || "analysis".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn broken(analysis: &Value) -> u64 {
    let images = &analysis["images"];
    let broken = images["broken"].as_object().into_iter().flatten();
    broken.filter_map(|(_, rows)| rows.as_u64()).sum::<u64>()
        + images["missing"].as_u64().unwrap_or(0)
}

/// The rows next to a bound of a stat.
struct Border {
    stat: String,
    upper: bool,
    bound: f64,
    inside: Vec<(f64, u64)>,
    outside: Vec<(f64, u64)>,
}

/// The rows next to each bound, from the stored stats.
fn borders(
    analysis: &Value,
    directory: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<Border>, ViewError> {
    let mut bounds: Vec<(Border, Nearest, Nearest)> = Vec::new();
    for (stat, entry) in analysis["stats"].as_object().into_iter().flatten() {
        for (key, upper) in [("min", false), ("max", true)] {
            if let Some(bound) = entry["bounds"][key].as_f64() {
                let border = Border {
                    stat: stat.clone(),
                    upper,
                    bound,
                    inside: Vec::new(),
                    outside: Vec::new(),
                };
                bounds.push((border, Nearest::default(), Nearest::default()));
            }
        }
    }
    if bounds.is_empty() {
        return Ok(Vec::new());
    }
    let path = directory.join("stats.jsonl");
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

const KINDS: [(&str, &str); 4] = [
    ("text", "The same text"),
    ("image", "The same image, byte for byte"),
    ("captions_per_image", "One image under several captions"),
    ("images_per_caption", "One caption for several images"),
];

fn largest<'a>(analysis: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    let list = analysis["duplicates"][kind]["largest"].as_array();
    list.into_iter().flatten().take(CLUSTERS)
}

fn origins(cluster: &Value) -> impl Iterator<Item = u64> {
    let list = cluster["origins"].as_array().into_iter().flatten();
    list.take(CLUSTER_ROWS).filter_map(|o| o["offset"].as_u64())
}

fn cluster_rows(analysis: &Value) -> Vec<u64> {
    KINDS
        .iter()
        .flat_map(|(kind, _)| largest(analysis, kind))
        .flat_map(origins)
        .collect()
}

/// The histogram of a summary.
fn histogram(summary: &Value) -> Option<Histogram> {
    let list = |key: &str| summary["histogram"][key].as_array();
    let edges: Vec<f64> = list("edges")?.iter().filter_map(Value::as_f64).collect();
    let counts: Vec<u64> = list("counts")?.iter().filter_map(Value::as_u64).collect();
    (edges.len() == counts.len() + 1).then(|| Histogram::counted(edges, &counts))
}

struct AnalysisReport<'a> {
    analysis: &'a Value,
    about: &'a About,
    borders: &'a [Border],
    rows: &'a HashMap<u64, ShownRow>,
}

impl AnalysisReport<'_> {
    fn filters(&self) -> Option<Section> {
        let filters = self.analysis["filters"].as_array()?;
        let measured = self.analysis["rows"]["measured"].as_u64().unwrap_or(0);
        let drops = |f: &Value, key: &str| f[key].as_u64().unwrap_or(0);
        if filters.iter().all(|f| drops(f, "would_drop") == 0) {
            return None;
        }
        let mut out = String::from(
            "<p class=\"lead\">What each filter would drop on its own, and of the rows that the \
             filters before it keep.</p>\n<table class=\"waterfall\"><thead><tr><th scope=\"col\">Filter</th>\
             <th scope=\"col\"><span class=\"skip\">Share of rows</span></th><th scope=\"col\">Alone</th>\
             <th scope=\"col\">In sequence</th><th scope=\"col\">Left</th></tr></thead><tbody>\n",
        );
        let mut left = measured;
        for filter in filters {
            let (alone, then) = (
                drops(filter, "would_drop"),
                drops(filter, "would_drop_in_sequence"),
            );
            left = left.saturating_sub(then);
            let _ = writeln!(
                out,
                "<tr data-left=\"{left}\" data-dropped=\"{then}\"><th scope=\"row\"><span class=\"no\">{}</span>{}</th>\
                 <td class=\"flow-cell\">{}</td><td class=\"num\" data-label=\"alone\">{}</td>\
                 <td class=\"num\" data-label=\"in sequence\"><span class=\"lost\">{}</span></td>\
                 <td class=\"left\">{}</td></tr>",
                filter["step"].as_u64().unwrap_or(0),
                esc(filter["op"].as_str().unwrap_or_default()),
                bar(&[("left-fill", left), ("lost-fill", then)], measured),
                thousands(alone),
                thousands(then),
                thousands(left)
            );
        }
        out.push_str("</tbody></table>\n");
        Some(Section {
            id: "filters",
            title: "What the filters would drop",
            body: out,
        })
    }

    fn stats(&self) -> Option<Section> {
        let stats = self.analysis["stats"].as_object()?;
        if stats.is_empty() {
            return None;
        }
        let mut out = String::new();
        for (name, stat) in stats {
            self.stat(name, stat, &mut out);
        }
        Some(Section {
            id: "stats",
            title: "What was measured",
            body: out,
        })
    }

    fn stat(&self, name: &str, stat: &Value, out: &mut String) {
        let of = |key: &str| stat[key].as_u64().unwrap_or(0);
        let _ = write!(
            out,
            "<article><header><h3><code>{}</code></h3><p>{}{}</p></header><p class=\"what\">{}</p>",
            esc(name),
            count(of("rows"), "row"),
            match of("would_drop") {
                0 => String::new(),
                rows => format!(
                    " · <span class=\"lost\">{} would go</span> ({})",
                    thousands(rows),
                    percent(rows, of("rows"))
                ),
            },
            esc(stat["op"].as_str().unwrap_or_default())
        );
        let borders: Vec<&Border> = self.borders.iter().filter(|b| b.stat == name).collect();
        let marks = [("min", false), ("max", true)]
            .into_iter()
            .filter_map(|(key, upper)| Some((key, stat["bounds"][key].as_f64()?, upper)))
            .collect();
        Self::distribution(name, stat, marks, out);
        if let Some(top) = stat["top"].as_array() {
            ranks("Value", top, of("values"), out);
        }
        for border in borders {
            self.border(name, border, out);
        }
        out.push_str("</article>\n");
    }

    /// Percentiles and a histogram.
    fn distribution(name: &str, summary: &Value, marks: Vec<(&str, f64, bool)>, out: &mut String) {
        let Some(histogram) = histogram(summary) else {
            return;
        };
        let shown = |value: &Value| value.as_f64().map_or("–".to_owned(), |v| value_of(name, v));
        let columns = [
            ("least", &summary["min"]),
            ("5 %", &summary["percentiles"]["5"]),
            ("25 %", &summary["percentiles"]["25"]),
            ("median", &summary["percentiles"]["50"]),
            ("75 %", &summary["percentiles"]["75"]),
            ("95 %", &summary["percentiles"]["95"]),
            ("most", &summary["max"]),
            ("mean", &summary["mean"]),
            ("std", &summary["std"]),
        ];
        let plot = Plot {
            histogram: &histogram,
            stat: name,
            kinds: ["rows", ""],
            marks,
            compare: false,
        };
        let kinds = if summary["values"] == summary["rows"] {
            plot
        } else {
            Plot {
                kinds: ["values", ""],
                ..plot
            }
        };
        let _ = write!(out, "{}<dl class=\"spread\">", kinds.draw());
        for (label, value) in columns {
            let _ = write!(
                out,
                "<div><dt>{label}</dt><dd>{}</dd></div>",
                esc(&shown(value))
            );
        }
        out.push_str("</dl>");
    }

    fn border(&self, name: &str, border: &Border, out: &mut String) {
        if border.outside.is_empty() || self.rows.is_empty() {
            return;
        }
        let bound = if border.upper { "max" } else { "min" };
        for (title, class, rows) in [
            ("Just within", "kept", &border.inside),
            ("Just beyond", "lost", &border.outside),
        ] {
            let list: Vec<Card<'_>> = rows
                .iter()
                .map(|(value, offset)| Card {
                    class,
                    value: value_of(name, *value),
                    reason: None,
                    row: self.rows.get(offset),
                    raw: None,
                })
                .collect();
            let _ = write!(
                out,
                "<h4>{title} <code>{bound} {}</code></h4>{}",
                value_of(name, border.bound),
                cards(&list)
            );
        }
    }

    fn captions(&self) -> Option<Section> {
        let text = &self.analysis["text"];
        let rows = text["rows"].as_u64()?;
        let of = |key: &str| text[key].as_u64().unwrap_or(0);
        let ratio = text["type_token_ratio"].as_f64();
        let at_least = if text["distinct_words_exact"] == false {
            "at least "
        } else {
            ""
        };
        let mut out = pairs(&[
            ("Rows with a text", thousands(rows)),
            ("Without a text", thousands(of("missing"))),
            ("Empty", thousands(of("empty"))),
            (
                "Words",
                format!(
                    "{}, {at_least}{} different",
                    thousands(of("total_words")),
                    thousands(of("distinct_words"))
                ),
            ),
            (
                "Different words per word",
                ratio.map_or("–".to_owned(), number),
            ),
        ]);
        out.push_str("<div class=\"grid two\">");
        for (key, title) in [("characters", "Characters"), ("words", "Words")] {
            let _ = write!(out, "<article><header><h3>{title}</h3></header>");
            Self::distribution(key, &text[key], Vec::new(), &mut out);
            out.push_str("</article>");
        }
        for (key, title, whole) in [
            ("top_words", "Most frequent words", of("total_words")),
            ("templates", "Most frequent beginnings", rows),
        ] {
            let Some(list) = text[key].as_array().filter(|l| !l.is_empty()) else {
                continue;
            };
            let _ = write!(out, "<article><header><h3>{title}</h3></header>");
            ranks(title, list, whole, &mut out);
            out.push_str("</article>");
        }
        out.push_str("</div>\n");
        Some(Section {
            id: "captions",
            title: "Captions",
            body: out,
        })
    }

    fn images(&self) -> Option<Section> {
        let images = &self.analysis["images"];
        let references = images["references"].as_u64()?;
        let of = |key: &str| images[key].as_u64().unwrap_or(0);
        let mut out = pairs(&[
            ("Images in rows", thousands(references)),
            ("Different paths", thousands(of("distinct_paths"))),
            ("Rows without an image", thousands(of("rows_without"))),
            ("Files that are not there", thousands(of("missing"))),
            (
                "Looked at as far as",
                self.analysis["images_checked"]
                    .as_str()
                    .unwrap_or("–")
                    .to_owned(),
            ),
        ]);
        out.push_str("<div class=\"grid\">");
        for (key, title) in [
            ("formats", "Formats"),
            ("broken", "Broken"),
            ("bad_fields", "Fields that hold no paths"),
        ] {
            let mut list: Vec<Value> = images[key]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, rows)| serde_json::json!([name, rows]))
                .collect();
            if list.is_empty() {
                continue;
            }
            list.sort_by_key(|entry| std::cmp::Reverse(entry[1].as_u64()));
            let _ = write!(out, "<article><header><h3>{title}</h3></header>");
            ranks(title, &list, references, &mut out);
            out.push_str("</article>");
        }
        for (key, title) in [
            ("width", "Width in pixels"),
            ("height", "Height in pixels"),
            ("aspect_ratio", "Width by height"),
            ("bytes", "File size"),
        ] {
            if images[key]["values"].as_u64().unwrap_or(0) == 0 {
                continue;
            }
            let _ = write!(out, "<article><header><h3>{title}</h3></header>");
            Self::distribution(key, &images[key], Vec::new(), &mut out);
            out.push_str("</article>");
        }
        out.push_str("</div>\n");
        Some(Section {
            id: "images",
            title: "Images",
            body: out,
        })
    }

    fn duplicates(&self) -> Option<Section> {
        let mut out = String::new();
        for (kind, title) in KINDS {
            let found = &self.analysis["duplicates"][kind];
            let clusters = found["clusters"].as_u64().unwrap_or(0);
            let _ = write!(
                out,
                "<article><header><h3>{title}</h3><p>{} in {}</p></header>",
                count(found["rows"].as_u64().unwrap_or(0), "row"),
                count(clusters, "cluster")
            );
            if let Some(note) = found["note"].as_str() {
                let _ = write!(out, "<p class=\"what\">{}</p>", esc(note));
            }
            out.push_str("<div class=\"clusters\">");
            for cluster in largest(self.analysis, kind) {
                let list: Vec<Card<'_>> = origins(cluster)
                    .map(|offset| Card {
                        class: "",
                        value: String::new(),
                        reason: None,
                        row: self.rows.get(&offset),
                        raw: None,
                    })
                    .collect();
                let wide = if list.len() > 2 { " wide" } else { "" };
                let _ = write!(
                    out,
                    "<div class=\"cluster{wide}\"><h4>{}</h4>{}</div>",
                    count(cluster["rows"].as_u64().unwrap_or(0), "row"),
                    cards(&list)
                );
            }
            out.push_str("</div></article>\n");
        }
        Some(Section {
            id: "duplicates",
            title: "Duplicates",
            body: out,
        })
    }

    fn about(&self) -> Section {
        let mut facts: Vec<(&str, String)> = Vec::new();
        facts.extend(self.about.inputs.iter().map(input_fact));
        for (code, rows) in self.analysis["unreadable"]
            .as_object()
            .into_iter()
            .flatten()
        {
            facts.push((
                "Unreadable",
                format!("{code}: {}", count(rows.as_u64().unwrap_or(0), "row")),
            ));
        }
        for entry in self.analysis["errors"].as_array().into_iter().flatten() {
            facts.push((
                "Not measured",
                format!(
                    "{} at {}: {}",
                    entry["code"].as_str().unwrap_or_default(),
                    entry["op"].as_str().unwrap_or_default(),
                    count(entry["rows"].as_u64().unwrap_or(0), "row")
                ),
            ));
        }
        let recipe = self.analysis["recipe_file"].as_str().unwrap_or_default();
        facts.push(("Recipe", recipe.to_owned()));
        facts.push((
            "Made by",
            format!("djr {}", self.analysis["djr"].as_str().unwrap_or_default()),
        ));
        Section {
            id: "about",
            title: "About this analysis",
            body: format!(
                "{}<details><summary>The recipe as resolved</summary>{}</details>",
                pairs(&facts),
                recipe_steps(&self.about.recipe)
            ),
        }
    }
}

/// `[[text, rows], …]` as a table with bars.
fn ranks(title: &str, list: &[Value], whole: u64, out: &mut String) {
    let _ = write!(
        out,
        "<table class=\"ranks\"><thead class=\"skip\"><tr><th scope=\"col\">{}</th><th scope=\"col\">Count</th>\
         <th scope=\"col\">Share</th></tr></thead><tbody>",
        esc(title)
    );
    let most = list.iter().filter_map(|e| e[1].as_u64()).max().unwrap_or(1);
    for entry in list.iter().take(RANKS) {
        let rows = entry[1].as_u64().unwrap_or(0);
        let _ = write!(
            out,
            "<tr><th scope=\"row\" dir=\"auto\">{}</th><td>{}</td><td title=\"{}\">{}</td></tr>",
            esc(&shorten(entry[0].as_str().unwrap_or_default(), 80)),
            thousands(rows),
            esc(&percent(rows, whole)),
            bar(&[("kept-fill", rows)], most)
        );
    }
    out.push_str("</tbody></table>");
}
