//! What a report shows of a run, gathered from its ledger and from the stats that are stored.
//!
//! Stats of all rows in the run directory are used if there are some. Else the stats of the survivors (Data-Juicer's `*_stats.jsonl`) stand for what
//! a filter kept and the values in the ledger for what it dropped; of rows that a later operator
//! ended nothing is known, and [`Measure::unknown`] says of how many.
//!
//! In memory: 8 to 16 bytes a row, some kilobytes a filter, and the first row of each duplicate
//! cluster with a few others.

use std::collections::{BTreeMap, BinaryHeap};
use std::path::PathBuf;

use hashbrown::{HashMap, HashSet};
use serde::Deserialize;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::histogram::{Histogram, Sketch, round_up, tidy};
use super::{RowReader, ViewError};
use crate::io::Input;
use crate::op::{self, BoundParam, Family, Side};
use crate::record::past::StatsRows;
use crate::record::settings::StepSettings;
use crate::record::{Fate, LedgerEntry, PastRun, QuarantineEntry, Records, StepNumber};
use crate::sample::{ImageContext, Origin, Sample};

/// How many rows are shown on each side of a bound.
const BORDERLINE: usize = 4;

/// How many clusters of a deduplicator are shown, and how many rows of each.
const CLUSTERS: usize = 6;
const CLUSTER_ROWS: usize = 4;

/// How many rows are shown of each reason.
const REASON_ROWS: usize = 3;

/// What is shown of a run.
#[derive(Debug, Default)]
pub struct Facts {
    /// What its filters measured, in their order.
    pub measures: Vec<Measure>,
    /// Duplicates, one entry a deduplicator that dropped some.
    pub duplicates: Vec<Duplicates>,
    /// Rows that could not be processed, by whom and code; the commonest first.
    pub reasons: Vec<Reason>,
    /// The sampled outputs whose rows could be found among all.
    pub samples: Vec<Sampled>,
    /// Rows next to bounds that a later step ended, and which.
    pub later: HashMap<u64, String>,
    /// What is not shown, and why.
    pub notes: Vec<String>,
}

/// One stat of one filter: its values, its bounds, the rows next to them.
#[derive(Debug, Clone, Default)]
pub struct Measure {
    /// The filter's position in `process`, from 0.
    pub step: usize,
    /// Its name.
    pub op: String,
    /// The stat.
    pub stat: String,
    /// What it counts or is measured in.
    pub unit: &'static str,
    /// The bounds, the lower one first.
    pub bounds: Vec<Bound>,
    /// Values of rows that the filter let through (0) and dropped (1).
    pub histogram: Histogram,
    /// Rows with a value, let through and dropped.
    pub rows: [u64; 2],
    /// Rows that the filter judged and whose value is not stored.
    pub unknown: u64,
    /// One entry a sampled output: the rows that reached the outputs (0), and the drawn ones (1).
    pub samples: Vec<Histogram>,
}

/// A bound of a stat, and the rows next to it.
#[derive(Debug, Clone, Default)]
pub struct Bound {
    /// The parameter.
    pub param: String,
    /// Its value.
    pub value: f64,
    /// Whether it is the greatest value and not the least.
    pub upper: bool,
    /// As the recipe writes it, where that is a text: `20MB`.
    pub written: Option<String>,
    /// Other values of the bound, and how many of the rows whose value is stored they would leave.
    pub cuts: Vec<(f64, u64)>,
    /// The rows nearest to it that the filter let through: value and identity.
    pub kept: Vec<(f64, u64)>,
    /// The nearest rows that it dropped.
    pub dropped: Vec<(f64, u64)>,
}

/// What a deduplicator dropped.
#[derive(Debug, Clone, Default)]
pub struct Duplicates {
    /// Its position in `process`, from 0.
    pub step: usize,
    /// Its name.
    pub op: String,
    /// Rows dropped.
    pub dropped: u64,
    /// How many rows have duplicates.
    pub clusters: u64,
    /// The largest clusters: how many rows each has, and some of them; the row that stayed first.
    pub largest: Vec<(u64, Vec<u64>)>,
}

/// Rows that could not be processed for one reason.
#[derive(Debug, Clone)]
pub struct Reason {
    /// The operator or output.
    pub by: String,
    /// The stable word.
    pub code: String,
    /// How many rows.
    pub rows: u64,
    /// Some of them.
    pub examples: Vec<QuarantineEntry<'static>>,
}

/// A sampled output.
#[derive(Debug, Clone)]
pub struct Sampled {
    /// Its path.
    pub name: String,
    /// Rows of it that were found among all.
    pub rows: u64,
}

/// Gathers what there is to show of `run`.
///
/// # Errors
/// If a file of the run directory cannot be read.
pub fn gather(run: &PastRun) -> Result<Facts, ViewError> {
    let mut facts = Facts {
        measures: measures(run),
        reasons: reasons(run)?,
        ..Facts::default()
    };
    let mut drawn = sampled_ids(run, &mut facts.notes);
    let whole = run.stats();
    let fates = Fates::read(run, &mut drawn, whole.is_some())?;
    facts.duplicates = fates.duplicates(run);
    for sample in &drawn {
        if sample.rows.len() as u64 == sample.written {
            facts.samples.push(Sampled {
                name: sample.name.clone(),
                rows: sample.written,
            });
        } else {
            facts.notes.push(format!(
                "{}: which rows were drawn could not be told ({} of {} found by their id), so the \
                 sample is not compared with the whole.",
                sample.name,
                sample.rows.len(),
                sample.written
            ));
        }
    }
    drawn.retain(|sample| sample.rows.len() as u64 == sample.written);
    let values = match whole {
        Some(path) => Values::All(path),
        None => survivors(run, &fates, &mut facts.notes)?,
    };
    let shown = Pass {
        run,
        values: &values,
        fates: &fates,
    };
    shown.fill(&mut facts, &drawn)?;
    if matches!(values, Values::None) && !facts.measures.is_empty() {
        facts.notes.push(
            "No stats of kept rows are stored with this run: histograms show dropped rows only."
                .to_owned(),
        );
    }
    Ok(facts)
}

/// The stats that the filters of the recipe measure, with their bounds.
fn measures(run: &PastRun) -> Vec<Measure> {
    let mut out = Vec::new();
    for (number, step) in run.settings.process.iter().enumerate() {
        let (name, params) = (&step.op, &step.params);
        let Some(def) = op::find(name) else {
            continue;
        };
        for stat in def.stats(params) {
            let set = |bound: BoundParam| {
                Some(Bound {
                    param: bound.param.to_owned(),
                    value: bound.value(params)?,
                    upper: bound.side == Side::Max,
                    written: params
                        .get(bound.param)
                        .and_then(Value::as_str)
                        .map(str::to_owned),
                    ..Bound::default()
                })
            };
            out.push(Measure {
                step: number,
                op: name.clone(),
                bounds: stat.bounds().filter_map(set).collect(),
                unit: stat.unit,
                stat: stat.name.into_owned(),
                ..Measure::default()
            });
        }
    }
    out
}

fn reasons(run: &PastRun) -> Result<Vec<Reason>, ViewError> {
    let mut out: Vec<Reason> = run
        .manifest
        .reasons
        .iter()
        .map(|reason| Reason {
            by: reason.by.clone(),
            code: reason.code.clone(),
            rows: reason.rows,
            examples: Vec::new(),
        })
        .collect();
    if let Some(mut records) = run.quarantine()? {
        while let Some(record) = records.next_record()? {
            let reason = out
                .iter_mut()
                .find(|r| r.by == record.by && r.code == record.code);
            if let Some(reason) = reason
                && reason.examples.len() < REASON_ROWS
            {
                reason.examples.push(record);
            }
        }
    }
    out.sort_by(|a, b| (b.rows, &a.code, &a.by).cmp(&(a.rows, &b.code, &b.by)));
    Ok(out)
}

/// The rows of a sampled output.
struct Drawn {
    name: String,
    written: u64,
    /// Hashes of ids, and how many rows of the sample with each are still to be found.
    ids: HashMap<u64, u32>,
    /// Identities.
    rows: HashSet<u64>,
}

fn sampled_ids(run: &PastRun, notes: &mut Vec<String>) -> Vec<Drawn> {
    let mut out = Vec::new();
    let outputs = run.manifest.outputs.iter().zip(&run.settings.outputs);
    for (output, _) in outputs.filter(|(_, spec)| spec.sample.is_some() && spec.of.is_none()) {
        let mut ids: HashMap<u64, u32> = HashMap::new();
        let files = output.files.iter().map(|file| run.intact(file));
        if let Some(files) = files.collect::<Option<Vec<_>>>() {
            let mut reader = RowReader::new(files.into_iter().map(Input::File).collect());
            while let Ok(Some((_, bytes))) = reader.next() {
                if let Some(id) = id_hash(&bytes) {
                    *ids.entry(id).or_default() += 1;
                }
            }
            out.push(Drawn {
                name: output.name.clone(),
                written: output.written,
                ids,
                rows: HashSet::new(),
            });
        } else {
            notes.push(format!(
                "{}: the file is not there as the run wrote it, so the sample is not compared with \
                 the whole.",
                output.name
            ));
        }
    }
    out
}

fn id_hash(row: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(row).ok()?.to_owned();
    let sample = Sample::parse(line, Origin::default(), ImageContext::default().into()).ok()?;
    sample.raw_json("id").and_then(hash_of_id)
}

/// A hash of an id's value, however it is escaped.
fn hash_of_id(json: &str) -> Option<u64> {
    match serde_json::from_str(json).ok()? {
        Value::Null => None,
        Value::String(text) => Some(xxh3_64(format!("s{text}").as_bytes())),
        _ => Some(xxh3_64(json.trim().as_bytes())),
    }
}

/// What the ledger says.
struct Fates {
    /// Rows that reached the outputs, in the ledger's order.
    reached: Vec<u64>,
    /// The step that ended a row, and whether it dropped it; only where stats of all rows are
    /// there to be sorted by it.
    ended: HashMap<u64, (usize, bool)>,
    /// By step: the rows that have duplicates, how many, and some of them.
    clusters: BTreeMap<usize, HashMap<u64, (u64, Vec<u64>)>>,
}

impl Fates {
    fn read(run: &PastRun, drawn: &mut [Drawn], ended: bool) -> Result<Self, ViewError> {
        let mut fates = Self {
            reached: Vec::new(),
            ended: HashMap::new(),
            clusters: BTreeMap::new(),
        };
        let mut ledger = run.ledger()?;
        while let Some(row) = ledger.next_record()? {
            fates.enter(&row, drawn, ended);
        }
        Ok(fates)
    }

    fn enter(&mut self, row: &LedgerEntry<'_>, drawn: &mut [Drawn], ended: bool) {
        let step = row.step.map(StepNumber::index);
        if let (Some(step), Some(first)) = (step, row.duplicate_of) {
            let clusters = self.clusters.entry(step).or_default();
            let (rows, some) = clusters.entry(first).or_insert((1, vec![first]));
            *rows += 1;
            if some.len() < CLUSTER_ROWS {
                some.push(row.offset);
            }
        }
        let late = matches!(
            row.by.as_deref(),
            None | Some("outputs" | "sample" | "where")
        );
        if step.is_none() && late {
            self.reached.push(row.offset);
            let id = row.id.as_ref().and_then(|id| hash_of_id(id.get()));
            for sample in drawn {
                let left = id.and_then(|id| sample.ids.get_mut(&id));
                if let Some(left) = left
                    && *left > 0
                    && sample.rows.insert(row.offset)
                {
                    *left -= 1;
                }
            }
        } else if ended {
            let dropped = row.fate == Fate::Dropped;
            self.ended.insert(row.offset, (step.unwrap_or(0), dropped));
        }
    }

    fn duplicates(&self, run: &PastRun) -> Vec<Duplicates> {
        let of_step = |step: usize| run.manifest.steps.get(step);
        self.clusters
            .iter()
            .map(|(&step, clusters)| {
                let mut largest: Vec<(u64, Vec<u64>)> = clusters.values().cloned().collect();
                largest.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
                largest.truncate(CLUSTERS);
                Duplicates {
                    step,
                    op: of_step(step).map_or_else(String::new, |s| s.op.clone()),
                    dropped: of_step(step).map_or(0, |s| s.dropped),
                    clusters: clusters.len() as u64,
                    largest,
                }
            })
            .collect()
    }
}

/// A line of the stats that Data-Juicer writes beside its export.
#[derive(Deserialize)]
struct ExportedStats {
    #[serde(default, rename = "__dj__stats__")]
    stats: Value,
}

/// Where values of rows come from.
enum Values {
    /// Stats of all rows.
    All(PathBuf),
    /// Stats of the survivors, and the identity of each.
    Survivors(PathBuf, Vec<u64>),
    /// Only what the ledger says of dropped rows.
    None,
}

/// The survivors' stats, if each line can be laid beside its row.
fn survivors(run: &PastRun, fates: &Fates, notes: &mut Vec<String>) -> Result<Values, ViewError> {
    let Some(path) = run.manifest.stats.as_ref().and_then(|f| run.intact(f)) else {
        return Ok(Values::None);
    };
    let specs = &run.settings.outputs;
    let sampled = specs.iter().any(|o| o.sample.is_some());
    let settled_at_once = specs
        .iter()
        .zip(&run.manifest.outputs)
        .any(|(spec, output)| spec.sample.is_none() && output.refused == 0);
    let mut rows = fates.reached.clone();
    if sampled && !settled_at_once {
        // What became of some rows was known only when the samples were drawn, and the ledger has
        // them at its end. The stats are in the order of the stream, which is the input's unless a
        // selector ordered rows anew.
        let steps = run.manifest.steps.iter();
        let selects = steps
            .filter_map(|step| op::find(&step.op))
            .any(|def| def.family == Family::Selector);
        if selects {
            notes.push(
                "The stored stats cannot be laid beside the rows: a selector changed their order."
                    .to_owned(),
            );
            return Ok(Values::None);
        }
        rows.sort_unstable();
    }
    let mut lines = Records::<serde::de::IgnoredAny>::open(&path)?;
    let mut count = 0;
    while lines.next_record()?.is_some() {
        count += 1;
    }
    if count != rows.len() {
        notes.push(format!(
            "{}: has {count} lines for {} rows, so its stats are not shown.",
            path.display(),
            rows.len()
        ));
        return Ok(Values::None);
    }
    Ok(Values::Survivors(path, rows))
}

/// Goes over all values there are.
struct Pass<'a> {
    run: &'a PastRun,
    values: &'a Values,
    fates: &'a Fates,
}

/// The values of one row: of the measure with this index, let through (0) or dropped (1).
struct Found<'a> {
    measure: usize,
    kind: usize,
    offset: u64,
    reached: bool,
    numbers: &'a [f64],
}

impl Pass<'_> {
    fn fill(&self, facts: &mut Facts, drawn: &[Drawn]) -> Result<(), ViewError> {
        let mut sketches = vec![Sketch::default(); facts.measures.len()];
        self.each(&facts.measures, |found| {
            if let Some(sketch) = sketches.get_mut(found.measure) {
                found.numbers.iter().for_each(|n| sketch.add(*n));
            }
        })?;
        let mut nearest = Vec::new();
        for (measure, sketch) in facts.measures.iter_mut().zip(&sketches) {
            add_cuts(measure, sketch, &self.run.settings.process);
            let marks: Vec<f64> = measure.bounds.iter().map(|b| b.value).collect();
            measure.histogram = sketch.histogram(&marks);
            measure.samples = drawn.iter().map(|_| measure.histogram.clone()).collect();
            nearest.push(vec![[Nearest::default(), Nearest::default()]; marks.len()]);
        }
        let mut counted = facts.measures.clone();
        self.each(&facts.measures, |found| {
            let (Some(measure), Some(nearest)) = (
                counted.get_mut(found.measure),
                nearest.get_mut(found.measure),
            ) else {
                return;
            };
            if let Some(rows) = measure.rows.get_mut(found.kind) {
                *rows += 1;
            }
            count_cuts(measure, found.numbers, &self.run.settings.process);
            for value in found.numbers {
                measure.histogram.add(*value, found.kind);
                if found.reached {
                    for (histogram, sample) in measure.samples.iter_mut().zip(drawn) {
                        histogram.add(*value, 0);
                        if sample.rows.contains(&found.offset) {
                            histogram.add(*value, 1);
                        }
                    }
                }
            }
            enter_nearest(measure, nearest, &found);
        })?;
        let mut later = HashMap::new();
        for (measure, nearest) in counted.iter_mut().zip(nearest) {
            for (bound, [kept, dropped]) in measure.bounds.iter_mut().zip(nearest) {
                bound.kept = kept.into_list();
                bound.dropped = dropped.into_list();
                for (_, offset) in &bound.kept {
                    let ended = self.fates.ended.get(offset);
                    let step = ended.and_then(|(step, _)| self.run.manifest.steps.get(*step));
                    if let (Some(step), Some((_, dropped))) = (step, ended) {
                        let what = if *dropped { "dropped" } else { "set aside" };
                        later.insert(*offset, format!("{what} later, by {}", step.op));
                    }
                }
                // What the run counted is what the bound itself leaves, rounding included.
                for (value, left) in &mut bound.cuts {
                    if value.to_bits() == bound.value.to_bits() {
                        *left = measure.rows[0];
                    }
                }
            }
            let step = self.run.manifest.steps.get(measure.step);
            let judged = step.map_or(0, |s| s.shown.saturating_sub(s.quarantined));
            measure.unknown = judged.saturating_sub(measure.rows.iter().sum());
        }
        // A filter of several stats writes those that its parameters ask for.
        let steps: Vec<(usize, bool)> =
            counted.iter().map(|m| (m.step, m.rows != [0, 0])).collect();
        counted.retain(|m| {
            m.rows != [0, 0] || !steps.iter().any(|(step, found)| *step == m.step && *found)
        });
        facts.measures = counted;
        facts.later = later;
        Ok(())
    }

    fn each(
        &self,
        measures: &[Measure],
        mut visit: impl FnMut(Found<'_>),
    ) -> Result<(), ViewError> {
        match self.values {
            Values::All(path) => {
                let mut records = StatsRows::open(path)?;
                while let Some(row) = records.next_record()? {
                    let offset = row.offset;
                    let ended = self.fates.ended.get(&offset).copied();
                    let kind_at = |step: usize| match ended {
                        Some((end, _)) if end < step => None,
                        Some((end, dropped)) if end == step => dropped.then_some(1),
                        _ => Some(0),
                    };
                    visit_row(
                        measures,
                        &row.stats,
                        offset,
                        ended.is_none(),
                        kind_at,
                        &mut visit,
                    );
                }
                return Ok(());
            }
            Values::Survivors(path, rows) => {
                let mut records = Records::<ExportedStats>::open(path)?;
                for offset in rows {
                    let Some(line) = records.next_record()? else {
                        break;
                    };
                    if let Value::Object(stats) = &line.stats {
                        visit_row(measures, stats, *offset, true, |_| Some(0), &mut visit);
                    }
                }
            }
            Values::None => {}
        }
        let mut ledger = self.run.ledger()?;
        while let Some(row) = ledger.next_record()? {
            let (Some(step), Some(stat), Some(value)) = (row.step, &row.stat, &row.value) else {
                continue;
            };
            let measure = measures
                .iter()
                .position(|m| m.step == step.index() && m.stat == **stat);
            if let Some(measure) = measure {
                visit(Found {
                    measure,
                    kind: 1,
                    offset: row.offset,
                    reached: false,
                    numbers: &numbers(value),
                });
            }
        }
        Ok(())
    }
}

fn visit_row(
    measures: &[Measure],
    stats: &Map<String, Value>,
    offset: u64,
    reached: bool,
    kind_at: impl Fn(usize) -> Option<usize>,
    visit: &mut impl FnMut(Found<'_>),
) {
    for (index, measure) in measures.iter().enumerate() {
        if let (Some(value), Some(kind)) = (stats.get(&measure.stat), kind_at(measure.step)) {
            visit(Found {
                measure: index,
                kind,
                offset,
                reached,
                numbers: &numbers(value),
            });
        }
    }
}

/// The numbers in a stat: itself, or one an image.
pub(super) fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_f64).collect(),
        other => other.as_f64().into_iter().collect(),
    }
}

/// How many round values of a bound are tried.
const ROUND_CUTS: f64 = 5.0;

/// Chooses the values of bounds to be tried: the bound itself, some close to it, and round ones over
/// all values. A range that is reversed or open has none.
fn add_cuts(measure: &mut Measure, sketch: &Sketch, process: &[StepSettings]) {
    let Some((least, greatest)) = sketch.range() else {
        return;
    };
    let plain = |step: &StepSettings| {
        let closed = |param: &str| step.params.get(param) != Some(&Value::Bool(false));
        !step.is_set("reversed_range")
            && closed("min_closed_interval")
            && closed("max_closed_interval")
    };
    if !process.get(measure.step).is_some_and(plain) {
        return;
    }
    let wide = round_up((greatest - least) / ROUND_CUTS);
    for bound in &mut measure.bounds {
        let near = round_up((greatest - least) / (ROUND_CUTS * 8.0));
        let near = if bound.value.fract() == 0.0 && wide >= 1.0 {
            near.max(1.0).round()
        } else {
            near
        };
        let mut values: Vec<f64> = (-2..=2_i32)
            .map(|steps| bound.value + f64::from(steps) * near)
            .map(|value| tidy(value, near))
            .collect();
        let mut at = if wide > 0.0 {
            (least / wide).ceil() * wide
        } else {
            greatest
        };
        while wide > 0.0 && at <= greatest {
            values.push(tidy(at, wide));
            at += wide;
        }
        values.push(bound.value);
        values.retain(|value| value.is_finite() && (least < 0.0 || *value >= 0.0));
        values.sort_by(f64::total_cmp);
        values.dedup();
        bound.cuts = values.into_iter().map(|value| (value, 0)).collect();
    }
}

/// Counts a row for each value of each bound that would leave it, the other bounds as they are.
fn count_cuts(measure: &mut Measure, numbers: &[f64], process: &[StepSettings]) {
    let step = process.get(measure.step);
    let all = step.is_some_and(|step| step.params.get("any_or_all") == Some(&"all".into()));
    let others: Vec<(f64, bool)> = measure.bounds.iter().map(|b| (b.value, b.upper)).collect();
    let within = |value: f64, bound: f64, upper: bool| {
        if upper {
            value <= bound
        } else {
            value >= bound
        }
    };
    for (number, bound) in measure.bounds.iter_mut().enumerate() {
        let upper = bound.upper;
        for (cut, left) in &mut bound.cuts {
            let passes = |value: &f64| {
                others.iter().enumerate().all(|(other, (bound, upper))| {
                    other == number || within(*value, *bound, *upper)
                }) && within(*value, *cut, upper)
            };
            let passes = if numbers.is_empty() || all {
                numbers.iter().all(passes)
            } else {
                numbers.iter().any(passes)
            };
            *left += u64::from(passes);
        }
    }
}

fn enter_nearest(measure: &Measure, nearest: &mut [[Nearest; 2]], found: &Found<'_>) {
    // Of several images the one nearest to the bound speaks for the row.
    let closest = |bound: &Bound| {
        found
            .numbers
            .iter()
            .map(|value| ((value - bound.value).abs(), *value))
            .min_by(|a, b| a.0.total_cmp(&b.0))
    };
    let distances: Vec<Option<(f64, f64)>> = measure.bounds.iter().map(closest).collect();
    let least = distances
        .iter()
        .flatten()
        .map(|d| d.0)
        .fold(f64::INFINITY, f64::min);
    for (distance, pair) in distances.iter().zip(nearest) {
        let Some((distance, value)) = distance else {
            continue;
        };
        // A dropped row broke the bound it is nearest to.
        if found.kind == 1 && *distance > least {
            continue;
        }
        if let Some(nearest) = pair.get_mut(found.kind) {
            nearest.add(*distance, *value, found.offset);
        }
    }
}

/// The few rows nearest to a bound; of equally near ones, the first in the input.
#[derive(Debug, Clone, Default)]
pub(super) struct Nearest(BinaryHeap<(u64, u64, u64)>);

impl Nearest {
    /// Considers a row.
    pub(super) fn add(&mut self, distance: f64, value: f64, offset: u64) {
        // Distances are not negative: their bits are in their order.
        let entry = (distance.to_bits(), offset, value.to_bits());
        if self.0.len() < BORDERLINE {
            self.0.push(entry);
        } else if self.0.peek().is_some_and(|worst| entry < *worst) {
            self.0.pop();
            self.0.push(entry);
        }
    }

    /// The nearest first.
    pub(super) fn into_list(self) -> Vec<(f64, u64)> {
        self.0
            .into_sorted_vec()
            .into_iter()
            .map(|(_, offset, value)| (f64::from_bits(value), offset))
            .collect()
    }
}
