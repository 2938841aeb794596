//! Operator pages and the tables of a recipe's keys, as Markdown.

use std::fmt::Write as _;

use serde_json::Value;

use super::peer_ops::{PEER_OPS, PeerOp};
use crate::io::format::OutputFormat;
use crate::op::{self, Field, OpDef, Side};
use crate::recipe::{BASE_KEYS, FUSED, KEYS, OutputKey, ParamSchema, Role, output_keys};

/// The page of one operator: its definition, parameters, stats, example and peer.
#[must_use]
pub fn operator_page(def: &OpDef) -> String {
    page(def, "#")
}

/// All operators: an index, the common parameters, a page each, and the peer's operators that are
/// lacking.
#[must_use]
pub fn operators_markdown() -> String {
    let ops = op::all();
    let mut out = String::from(
        "# Operators\n\nGenerated from the operators' own documentation; do not edit.\n\n\
         | operator | kind | what it does |\n|---|---|---|\n",
    );
    for def in &ops {
        row(
            &mut out,
            &[
                &format!("[`{0}`](#{0})", def.name),
                &def.family.to_string(),
                &summary(def),
            ],
        );
    }
    out.push_str(
        "\n## Common parameters\n\nEvery operator accepts these beside its own.\n\n\
         | parameter | type | meaning |\n|---|---|---|\n",
    );
    for base in BASE_KEYS.iter().filter(|base| base.used) {
        let whose = match base.family {
            None => String::new(),
            Some(family) => format!(" Of {family}s only."),
        };
        row(
            &mut out,
            &[
                &format!("`{}`", base.name),
                &base.kind.words(),
                &format!("{}{whose}", base.doc),
            ],
        );
    }
    let meaningless: Vec<String> = BASE_KEYS
        .iter()
        .filter(|base| !base.used)
        .map(|base| format!("`{}`", base.name))
        .collect();
    let _ = writeln!(
        out,
        "\nAccepted for Data-Juicer's sake, without a meaning here: {}.",
        meaningless.join(", ")
    );
    out.push_str(FROM_DATA);
    out.push_str(CHOICES);
    out.push_str(FUSED_PAGE);
    for def in &ops {
        out.push('\n');
        out.push_str(&page(def, "##"));
    }
    out.push_str(
        "\n## Operators of Data-Juicer 1.6.1 that djr does not have\n\n\
         They run in Data-Juicer itself, in a Python that has it (docs/DATA_JUICER.md), but for \
         selectors, groupers, pipelines and deduplicators with Ray.\n\n\
         | operator | kind | works on | needs |\n|---|---|---|---|\n",
    );
    let lacking = |peer: &&PeerOp| op::find(peer.name).is_none() && peer.name != FUSED;
    for peer in PEER_OPS.iter().filter(lacking) {
        row(
            &mut out,
            &[
                &format!("`{}`", peer.name),
                peer.kind,
                peer.modality,
                peer.needs,
            ],
        );
    }
    out
}

/// What is said of duplicates.
const CHOICES: &str = "
## Which duplicate stays

Data-Juicer keeps the first of rows that are the same, and so does djr. `keep`, `merge` and
`report_clusters` of a deduplicator are djr's own; with one of them it decides once all rows are known,
and the rows that stay keep their order.

- `keep: longest` keeps the row whose text has the most characters, `keep: {max: NAME}` and
  `keep: {min: NAME}` the one with the greatest or least number in the stat of an earlier step, or else
  in a field of the row (dots descend). Numbers are read as selectors read
  them: texts as Python's `float` does, of lists the mean. A row without a number loses against one that has
  one; of equal rows the first stays. Where no row has a number, the run fails and says so.
- `merge: {FIELD: list}` gives the row that stays the values of all rows of its cluster, in input
  order, each once, those of lists one by one; `sum` the sum of their numbers (texts that are numbers count); `first`, if it has
  none or null, the first value of the others. Stats are not measured again. The text and the images
  cannot be merged.
- `reference: [PATH, ...]` names files of rows (in any form that inputs have) that are known before the
  rows of the run: what is the same as one of them, directly or through rows between them as duplicates
  are, goes, whatever `keep` says, and they are never written. Of a row that went so the ledger says which reference row it was for
  (`reference`, with the file and line). Steps before are not applied to them; a row of theirs that
  cannot be read ends the run. Images are found from where the file lies, unless the recipe has
  an `image_root`. Where lines go and not rows, their lines count among those of the rows.
  `djr index FILES --for RECIPE` makes their keys once: the index stands for the files in
  the list, and one that does not fit the step is refused (docs/CURATION.md).
- `report_clusters: true` writes `clusters.jsonl.zst` into the run's directory: for each row that stays
  and has duplicates `{\"step\", \"by\", \"kept\", \"duplicates\"}`, each row by its `file`, `line`, `offset` and `id`,
  as in the ledger.

```yaml
- image_deduplicator: {threshold: 6, keep: {max: image_width}, merge: {captions: list}}
- document_minhash_deduplicator: {verify: exact, keep: longest, report_clusters: true}
```
";

/// What bounds and `keep` may say of the data.
const FROM_DATA: &str = "
## Bounds from the data

Every bound of a filter (`min_…`, `max_…`) may be a place in the distribution of what the filter
measures, over all rows that reach it; with several images in a row each counts.

- `p5`, `p99.5`: a percentile from `p0` to `p100`, linear between two values as numpy's.
- `3sigma`: so many standard deviations (of the population) from the mean, on the bound's own side:
  `max_len: 3sigma` is the mean plus three of them, `min_len: 3sigma` the mean less three, and
  `max_len: -1sigma` the mean less one.

With `of all` behind it (`p25 of all`, `3sigma of all`) the distribution is that of the rows which reach the
first of the neighbouring filters with such bounds or `keep`: several cut-offs are taken from the same rows, at
once, and not each from what the one before it leaves.

Values that are not finite numbers do not count, and without any value a bound bounds nothing. Then
the filter decides as with a number, ends and flags included.

`keep: best 1000` keeps the rows with the greatest values among those that pass the bounds (the
defaults too), `keep: worst 5%` the least ones, rounded down; `keep: best 2000..202000` skips the first 2,000
ranks and keeps those up to 202,000. Of equal rows the earlier goes first; a
row without a value goes last; of several images the greatest counts, or the least with
`any_or_all: all` (for `worst` the other way round). A filter of several stats is told which:
`keep: best 10 by image_width`.

Such a filter decides once all rows are measured; nothing is measured or decoded twice. The values
found are in the manifest (`from_data` of the step) and in the ledger's limits.

```yaml
- text_length_filter: {min_len: p5, max_len: p99.5}
- image_aspect_ratio_filter: {max_ratio: 3sigma}
- image_shape_filter: {keep: best 20% by image_width}
```
";

/// The step that stands for several.
pub const FUSED_PAGE: &str = "
## Several operators in one step

`general_fused_op: {fused_op_list: [...]}` of Data-Juicer is read as the mappers and filters that it
lists, one after the other in its place: the same rows come out. Its other parameters have no effect.
Operators in it that name no `text_key` take the recipe's, where Data-Juicer takes `text`; what else
it lists is refused, as there.
";

/// The global keys of a recipe and the keys of an output, as tables.
#[must_use]
pub fn keys_markdown() -> String {
    let mut out = String::from("| key | type | default | meaning |\n|---|---|---|---|\n");
    let mut ignored = String::new();
    let mut refused = String::new();
    for key in KEYS {
        let name = format!("`{}`", key.name);
        let default = match key.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        match key.role {
            Role::Used | Role::Own => {
                let own = if key.role == Role::Own {
                    " (djr's own)"
                } else {
                    ""
                };
                row(
                    &mut out,
                    &[
                        &name,
                        &key.kind.words(),
                        &default,
                        &format!("{}{own}", key.doc),
                    ],
                );
            }
            Role::Ignored(why) => row(&mut ignored, &[&name, key.doc, why]),
            Role::Refused(why) => row(&mut refused, &[&name, key.doc, why]),
        }
    }
    let _ = write!(
        out,
        "\nAn item of `outputs`:\n\n| key | type | meaning |\n|---|---|---|\n"
    );
    for (key, formats) in output_keys() {
        row(
            &mut out,
            &[
                &format!("`{}`", key.name),
                &key.kind.words(),
                &output_key_meaning(&key, &formats),
            ],
        );
    }
    let _ = write!(
        out,
        "\nFormats of outputs, which `djr convert --to` writes, too:\n\n| format | named | what it is |\n|---|---|---|\n"
    );
    for format in OutputFormat::all() {
        let suffixes: Vec<String> = format.suffixes.iter().map(|s| format!("`.{s}`")).collect();
        row(
            &mut out,
            &[&format!("`{format}`"), &suffixes.join(", "), format.summary],
        );
    }
    let _ = write!(
        out,
        "\nRefused unless they have their default, because the answer would differ:\n\n\
         | key | meaning in Data-Juicer | why |\n|---|---|---|\n{refused}\n\
         Accepted and noted once, without a meaning here:\n\n\
         | key | meaning in Data-Juicer | why |\n|---|---|---|\n{ignored}"
    );
    out
}

/// What a key of an output means, and to which formats it belongs if not to all.
pub(super) fn output_key_meaning(key: &OutputKey, formats: &[OutputFormat]) -> String {
    let names: Vec<&str> = formats.iter().map(|format| format.word()).collect();
    if names.is_empty() {
        key.doc.to_owned()
    } else {
        format!("Format {}: {}", names.join(", "), key.doc)
    }
}

fn page(def: &OpDef, level: &str) -> String {
    let mut out = format!(
        "{level} {}\n\n*{}*{}\n\n",
        def.name,
        def.family,
        fields(def)
    );
    let deeper = &level[1..];
    let mut fenced = false;
    let mut tabled = false;
    for line in def.docs {
        let line = line.strip_prefix(' ').unwrap_or(line);
        if line.starts_with("```") {
            fenced = !fenced;
        }
        if line.starts_with('#') && !fenced {
            if !tabled {
                out.push_str(&parameters(def, level));
                out.push_str(&stats(def, level));
                tabled = true;
            }
            out.push_str(deeper);
        }
        out.push_str(line);
        out.push('\n');
    }
    if !tabled {
        out.push('\n');
        out.push_str(&parameters(def, level));
        out.push_str(&stats(def, level));
    }
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

fn parameters(def: &OpDef, level: &str) -> String {
    let schema = ParamSchema::of(def);
    let defaults = (def.defaults)();
    let mut out = format!("{level}# Parameters\n\n");
    let mut any = false;
    for (name, property) in schema.properties() {
        if !any {
            out.push_str("| parameter | type | default | meaning |\n|---|---|---|---|\n");
            any = true;
        }
        let default = match defaults.get(name) {
            None | Some(Value::Null) => "none".to_owned(),
            Some(value) => format!("`{value}`"),
        };
        let doc = property
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        row(
            &mut out,
            &[
                &format!("`{name}`"),
                &schema.words(property, false),
                &default,
                doc,
            ],
        );
    }
    if !any {
        out.push_str("None of its own.\n");
    }
    out.push('\n');
    out
}

/// What it reads and writes, and what it is known by in stored results.
fn fields(def: &OpDef) -> String {
    let names = |fields: &[Field]| {
        let names: Vec<String> = fields.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    let facts = &def.facts;
    let mut out = String::new();
    if !facts.reads.is_empty() {
        let _ = write!(out, " · reads {}", names(facts.reads));
    }
    if !facts.writes.is_empty() {
        let _ = write!(out, " · writes {}", names(facts.writes));
    }
    let _ = write!(out, " · version {}", facts.version);
    out
}

/// What it measures; nothing for an operator that measures nothing.
fn stats(def: &OpDef, level: &str) -> String {
    let mut out = String::new();
    for stat in def.facts.stats {
        if out.is_empty() {
            let _ = write!(
                out,
                "{level}# Stats\n\n| stat | type | unit | least kept | greatest kept |\n|---|---|---|---|---|\n"
            );
        }
        let mut name = stat.shown_name();
        if !stat.condition().is_empty() {
            let _ = write!(name, ", {}", stat.condition());
        }
        let bound = |side| {
            let param = stat.bound(side);
            param.map_or_else(String::new, |param| format!("`{param}`"))
        };
        row(
            &mut out,
            &[
                &name,
                stat.kind.words(),
                stat.unit,
                &bound(Side::Min),
                &bound(Side::Max),
            ],
        );
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// The first paragraph of the page.
#[must_use]
pub fn summary(def: &OpDef) -> String {
    def.docs
        .iter()
        .map(|line| line.trim())
        .take_while(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn row(out: &mut String, cells: &[&str]) {
    out.push('|');
    for cell in cells {
        let cell = cell.replace('|', "\\|").replace('\n', " ");
        let _ = write!(out, " {cell} |");
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_parameters_before_the_stats() {
        let page = operator_page(op::find("text_length_filter").unwrap());
        assert!(
            page.starts_with(
                "# text_length_filter\n\n*filter* · reads the text · version 1\n\nKeeps rows"
            ),
            "{page}"
        );
        let parameters = page.find("## Parameters").unwrap();
        let stats = page.find("## Stats").unwrap();
        assert!(parameters < stats && stats < page.find("## Example").unwrap());
        assert!(
            page.contains("| `text_len` | integer | characters | `min_len` | `max_len` |"),
            "{page}"
        );
        assert!(
            page.contains("| `min_len` | a whole number | `10` | Fewest characters"),
            "{page}"
        );
    }

    #[test]
    fn the_index_lists_what_there_is_and_what_is_lacking() {
        let all = operators_markdown();
        assert!(all.contains("| [`text_length_filter`](#text_length_filter) | filter | Keeps"));
        assert!(all.contains("\n### Parameters\n") && all.contains("\n### Stats\n"));
        assert!(all.contains("| `video_aesthetics_filter` | filter | video | a neural model |"));
        let keys = keys_markdown();
        assert!(keys.contains("| `np` |") && keys.contains("| `use_cache` |"));
    }
}
