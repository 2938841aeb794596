//! What a report shows of a run, gathered from its ledger and from the stats that are stored.
//!
//! Stats of all rows in the run directory are used if there are some. Else the stats of the survivors (Data-Juicer's `*_stats.jsonl`) stand for what
//! a filter kept and the values in the ledger for what it dropped; of rows that a later operator
//! ended nothing is known, and [`Measure::unknown`] says of how many.
//!
//! In memory: 8 to 16 bytes a row, some kilobytes a filter, and the first row of each duplicate
//! cluster with a few others.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::PathBuf;

use hashbrown::{HashMap, HashSet};
use serde::Deserialize;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::cuts::{self, Cuts, SHARES};
use super::histogram::{Histogram, Sketch};
use super::{RowReader, ViewError};
use crate::analysis::trial::Trial;
use crate::io::Input;
use crate::op::{self, BoundParam, Family, Keep, OpDef, Side, Stat, Written};
use crate::recipe::RecipeSpec;
use crate::record::counts::FromData;
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
    /// Of rows next to bounds that a step ended, its number (from 0), and what it did in words.
    pub ended: HashMap<u64, (usize, String)>,
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
    /// The parameter, or `keep`.
    pub param: String,
    /// Its value.
    pub value: f64,
    /// Whether it is the greatest value and not the least.
    pub upper: bool,
    /// As the recipe writes it, where that is a text: `20MB`, `p99`.
    pub written: Option<String>,
    /// Whether the value was found in the data.
    pub from_data: bool,
    /// Of a filter with several stats: whether a value on the bound is let through. By that, rows that
    /// broke another stat's bound are told apart.
    pub closed: Option<bool>,
    /// Other values of the bound, and how many of the rows whose values are stored they would leave.
    pub cuts: Option<Cuts>,
    /// The rows nearest to it that the filter let through: value and identity.
    pub kept: Vec<(f64, u64)>,
    /// The nearest rows that it dropped.
    pub dropped: Vec<(f64, u64)>,
}

impl Bound {
    /// Whether it is no bound of the filter's, but the last row that `keep` kept.
    #[must_use]
    pub fn is_rank(&self) -> bool {
        Keep::parse(self.written.as_deref().unwrap_or_default()).is_ok()
    }

    /// Whether a dropped row with these values must have broken another bound.
    fn is_met(&self, values: &[f64]) -> bool {
        let Some(closed) = self.closed else {
            return false;
        };
        let within = |value: &f64| match value.total_cmp(&self.value) {
            Ordering::Less => self.upper,
            Ordering::Equal => closed,
            Ordering::Greater => !self.upper,
        };
        values.iter().all(within)
    }
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
        let Some(def) = op::find(&step.op) else {
            continue;
        };
        let record = run.manifest.steps.get(number);
        let found = record.map_or(&[][..], |record| &record.from_data);
        for stat in def.stats(&step.params) {
            out.push(Measure {
                step: number,
                op: step.op.clone(),
                bounds: bounds(def, step, &stat, found),
                unit: stat.unit,
                stat: stat.name.into_owned(),
                ..Measure::default()
            });
        }
    }
    out
}

/// The bounds of `stat` in a step: those that it sets, and those `found` in the data.
pub(super) fn bounds(
    def: &OpDef,
    step: &StepSettings,
    stat: &Stat,
    found: &[FromData],
) -> Vec<Bound> {
    let is_alone = def.stats(&step.params).into_iter().nth(1).is_none();
    let closed = |side: Side| {
        let param = match side {
            Side::Min => "min_closed_interval",
            Side::Max => "max_closed_interval",
        };
        let tells = !is_alone && !step.is_set("reversed_range");
        tells.then(|| step.params.get(param) != Some(&Value::Bool(false)))
    };
    let set = |bound: BoundParam| {
        let from_data = found.iter().find(|found| found.param == bound.param);
        let written = step.params.get(bound.param).and_then(Value::as_str);
        Some(Bound {
            param: bound.param.to_owned(),
            value: match from_data {
                Some(found) => found.value?,
                None => bound.value(&step.params)?,
            },
            upper: bound.side == Side::Max,
            written: written.map(str::to_owned),
            from_data: from_data.is_some(),
            closed: closed(bound.side),
            ..Bound::default()
        })
    };
    let mut bounds: Vec<Bound> = stat.bounds().filter_map(set).collect();
    let ranked = |keep: &Keep| {
        let first = || def.stats(&step.params).into_iter().next();
        match &keep.by {
            Some(by) => stat.name == **by,
            None => first().is_some_and(|first| first.name == stat.name),
        }
    };
    // The last row kept is a bound, too, but for rows that are as good.
    let kept = found.iter().find_map(|found| {
        let keep = Keep::parse(&found.from).ok()?;
        let value = found.value.filter(|_| ranked(&keep))?;
        Some(Bound {
            param: found.param.clone(),
            value,
            upper: keep.worst,
            written: Some(found.from.clone()),
            from_data: true,
            ..Bound::default()
        })
    });
    bounds.extend(kept);
    bounds
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

/// The stored stats of one row.
struct Row<'a> {
    offset: u64,
    /// Whether it reached the outputs.
    reached: bool,
    stats: &'a Map<String, Value>,
    kind_at: &'a dyn Fn(usize) -> Option<usize>,
}

/// A value that one row has of a measure: let through (0) or dropped (1).
struct Found {
    kind: usize,
    offset: u64,
    numbers: Vec<f64>,
}

impl Row<'_> {
    /// Its values of a measure, if the filter judged it.
    fn found(&self, measure: &Measure) -> Option<Found> {
        Some(Found {
            numbers: numbers(self.stats.get(&measure.stat)?),
            kind: (self.kind_at)(measure.step)?,
            offset: self.offset,
        })
    }
}

impl Pass<'_> {
    fn fill(&self, facts: &mut Facts, drawn: &[Drawn]) -> Result<(), ViewError> {
        let mut sketches = vec![Sketch::default(); facts.measures.len()];
        self.each(|row| {
            for (measure, sketch) in facts.measures.iter().zip(&mut sketches) {
                let found = row.found(measure).into_iter();
                found
                    .flat_map(|found| found.numbers)
                    .for_each(|n| sketch.add(n));
            }
        })?;
        let mut nearest = Vec::new();
        for (measure, sketch) in facts.measures.iter_mut().zip(&sketches) {
            let marks: Vec<f64> = measure.bounds.iter().map(|b| b.value).collect();
            measure.histogram = sketch.histogram(&marks);
            measure.samples = drawn.iter().map(|_| measure.histogram.clone()).collect();
            nearest.push(vec![[Nearest::default(), Nearest::default()]; marks.len()]);
        }
        let mut trials = self.trials(facts, &sketches);
        let mut counted = std::mem::take(&mut facts.measures);
        self.each(|row| {
            for (measure, nearest) in counted.iter_mut().zip(&mut nearest) {
                if let Some(found) = row.found(measure) {
                    enter(measure, nearest, &found, row.reached.then_some(drawn));
                }
            }
            for (step, trial) in &mut trials {
                if (row.kind_at)(*step).is_some() {
                    trial.see(row.stats);
                }
            }
        })?;
        for (measure, nearest) in counted.iter_mut().zip(nearest) {
            let trial = trials.iter().find(|(step, _)| *step == measure.step);
            for (bound, [kept, dropped]) in measure.bounds.iter_mut().zip(nearest) {
                bound.kept = kept.into_list();
                bound.dropped = dropped.into_list();
                for (_, offset) in &bound.kept {
                    let ended = self.fates.ended.get(offset);
                    let step = ended.and_then(|(step, _)| self.run.manifest.steps.get(*step));
                    if let (Some(step), Some((number, dropped))) = (step, ended) {
                        let what = if *dropped { "dropped" } else { "set aside" };
                        let told = format!("{what} later, by {}", step.op);
                        facts.ended.insert(*offset, (*number, told));
                    }
                }
                bound.cuts = trial.and_then(|(_, trial)| {
                    let param = trial.bound(&bound.param)?;
                    Cuts::of(trial, param, Some(bound.value))
                });
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
        Ok(())
    }

    /// The filters with bounds, each with the values of its bounds that are tried.
    fn trials(&self, facts: &mut Facts, sketches: &[Sketch]) -> Vec<(usize, Trial)> {
        let Ok(recipe) = RecipeSpec::from_json(self.run.manifest.plan.recipe.clone()) else {
            return Vec::new();
        };
        let mut trials: Vec<(usize, Trial)> = Vec::new();
        let mut failed = Vec::new();
        for (measure, sketch) in facts.measures.iter().zip(sketches) {
            if measure.bounds.is_empty() || failed.contains(&measure.step) {
                continue;
            }
            if trials.iter().all(|(step, _)| *step != measure.step) {
                let record = self.run.manifest.steps.get(measure.step);
                let found = record.map_or(&[][..], |record| &record.from_data);
                match Trial::open(&recipe, measure.step, found) {
                    Ok(Some(trial)) => trials.push((measure.step, trial)),
                    Ok(None) => continue,
                    Err(problems) => {
                        failed.push(measure.step);
                        facts.notes.push(cuts::not_tried(&measure.op, &problems));
                        continue;
                    }
                }
            }
            let Some((_, trial)) = trials.iter_mut().find(|(step, _)| *step == measure.step) else {
                continue;
            };
            let quantiles = sketch.quantiles(&SHARES);
            for bound in &measure.bounds {
                let written = trial
                    .bound(&bound.param)
                    .map_or(Written::Number, |b| b.written);
                let values = cuts::values(&quantiles, Some(bound.value), written);
                trial.add(&bound.param, &values);
            }
        }
        trials
    }

    /// Calls `visit` with all stored stats.
    fn each(&self, mut visit: impl FnMut(&Row<'_>)) -> Result<(), ViewError> {
        match self.values {
            Values::All(path) => {
                let mut records = StatsRows::open(path)?;
                while let Some(row) = records.next_record()? {
                    let offset = row.offset;
                    let ended = self.fates.ended.get(&offset).copied();
                    visit(&Row {
                        offset,
                        reached: ended.is_none(),
                        stats: &row.stats,
                        kind_at: &|step: usize| match ended {
                            Some((end, _)) if end < step => None,
                            Some((end, dropped)) if end == step => dropped.then_some(1),
                            _ => Some(0),
                        },
                    });
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
                        visit(&Row {
                            offset: *offset,
                            reached: true,
                            stats,
                            kind_at: &|_| Some(0),
                        });
                    }
                }
            }
            Values::None => {}
        }
        let mut ledger = self.run.ledger()?;
        while let Some(row) = ledger.next_record()? {
            let (Some(end), Some(stat), Some(value)) = (row.step, &row.stat, &row.value) else {
                continue;
            };
            visit(&Row {
                offset: row.offset,
                reached: false,
                stats: &Map::from_iter([(stat.to_string(), value.clone())]),
                kind_at: &|step: usize| (step == end.index()).then_some(1),
            });
        }
        Ok(())
    }
}

/// Counts the values of a row; `drawn` are the samples of rows that reached the outputs, if it is one.
fn enter(
    measure: &mut Measure,
    nearest: &mut [[Nearest; 2]],
    found: &Found,
    drawn: Option<&[Drawn]>,
) {
    if let Some(rows) = measure.rows.get_mut(found.kind) {
        *rows += 1;
    }
    for value in &found.numbers {
        measure.histogram.add(*value, found.kind);
        for (histogram, sample) in measure.samples.iter_mut().zip(drawn.into_iter().flatten()) {
            histogram.add(*value, 0);
            if sample.rows.contains(&found.offset) {
                histogram.add(*value, 1);
            }
        }
    }
    enter_nearest(measure, nearest, found);
}

/// The numbers in a stat: itself, or one an image.
pub(super) fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_f64).collect(),
        other => other.as_f64().into_iter().collect(),
    }
}

fn enter_nearest(measure: &Measure, nearest: &mut [[Nearest; 2]], found: &Found) {
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
    for ((bound, distance), pair) in measure.bounds.iter().zip(&distances).zip(nearest) {
        let Some((distance, value)) = distance else {
            continue;
        };
        // A dropped row broke the bound it is nearest to, or another stat's.
        if found.kind == 1 && (*distance > least || bound.is_met(&found.numbers)) {
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
