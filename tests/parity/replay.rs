//! Runs one operator over the rows of a case, row by row as the executor does, and compares.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use djr::op::{
    BandDeduplicator, Built, Census, Clusters, Common, FieldKey, KeyList, OpDef, Operator, Outcome,
    Picked, RowKey, Selector, Setting, Tally, VectorRule,
};
use djr::sample::{Group, ImageContext, Origin, RowError, Sample, StatValue};
use djr::service::{Host, run_alone};
use serde_json::{Map, Value};
use std::sync::Arc;

use crate::case::{self, Case, Made, Suite};

/// How an answer differs: as a whole, or row by row.
#[derive(Debug, Default)]
pub struct Difference {
    /// What is wrong with the case as a whole.
    pub whole: Vec<String>,
    /// What is wrong with single rows, by index into the input.
    pub rows: BTreeMap<usize, Vec<String>>,
}

impl Difference {
    fn row(&mut self, row: usize, message: impl Into<String>) {
        self.rows.entry(row).or_default().push(message.into());
    }

    fn whole(message: impl Into<String>) -> Self {
        Self {
            whole: vec![message.into()],
            rows: BTreeMap::new(),
        }
    }

    fn is_none(&self) -> bool {
        self.whole.is_empty() && self.rows.is_empty()
    }

    /// The first few differences, for a person.
    pub fn shown(&self) -> String {
        let mut out = String::new();
        for message in self.whole.iter().take(3) {
            let _ = write!(out, "\n    {message}");
        }
        for (row, messages) in self.rows.iter().take(5) {
            let _ = write!(out, "\n    row {row}: {}", messages.join("; "));
        }
        if self.rows.len() > 5 {
            let all: Vec<_> = self.rows.keys().map(ToString::to_string).collect();
            let _ = write!(out, "\n    {} rows in all: {}", all.len(), all.join(", "));
        }
        out
    }
}

/// Builds the operator from a recipe's parameters.
pub fn build(def: &OpDef, suite: &Suite, params: &Map<String, Value>) -> Result<Built, String> {
    let (base, own) = case::split(params);
    (def.check)(own.clone())?;
    def.build(own, &suite.build_context(base))
        .map_err(|errors| {
            let shown: Vec<_> = errors.into_iter().map(|e| e.message).collect();
            shown.join("; ")
        })
}

/// Replays `case` on `def`.
pub fn run(def: &OpDef, suite: &Suite, case: &Case) -> Result<(), Difference> {
    let built = match build(def, suite, &case.params) {
        Ok(built) => built,
        Err(_) if case.fails => return Ok(()),
        Err(e) => return Err(Difference::whole(format!("cannot be built: {e}"))),
    };
    let (base, _) = case::split(&case.params);
    let rows = Rows {
        input: &case.input,
        context: suite.image_context(&base),
    };
    let mut difference = match &built.operator {
        Operator::Filter(_) => filter(&built, &rows, case),
        Operator::Mapper(_) => mapper(&built, &rows, case, suite),
        Operator::Expander(_) => expander(&built, &rows, case),
        Operator::Exact(_) => exact(&built, &rows, case),
        Operator::Near(op) => near(&built, op.as_ref(), &rows, case),
        // Data-Juicer has none, so none of its answers is recorded.
        Operator::Vectors(_) => {
            return Err(Difference::whole("rows are not shown to a model here"));
        }
        Operator::Census(op) => census(&built, op.as_ref(), &rows, case),
        Operator::Selector(op) => selector(&built, op.as_ref(), &rows, case),
        Operator::Grouper(_) => grouper(&built, &rows, case),
    };
    difference.rows.retain(|row, _| !case.damaged.contains(row));
    if case.fails {
        return if difference.is_none() {
            Err(Difference::whole("the peer fails, we do not"))
        } else {
            Ok(())
        };
    }
    if difference.is_none() {
        Ok(())
    } else {
        Err(difference)
    }
}

/// The rows of a case as samples.
pub struct Rows<'a> {
    /// The rows as JSON.
    pub input: &'a [Value],
    /// How their images are found.
    pub context: Arc<ImageContext>,
}

impl Rows<'_> {
    /// Row `index` as a sample, with the stats that the row brings along.
    pub fn sample(&self, index: usize) -> Result<Sample, RowError> {
        let row = self.input.get(index).unwrap_or(&Value::Null);
        let origin = Origin {
            offset: index as u64,
            file: 0,
            line: index as u64 + 1,
            part: 0,
            copy: 0,
        };
        let mut sample = Sample::parse(row.to_string(), origin, Arc::clone(&self.context))?;
        if let Some(Value::Object(stats)) = row.get("__dj__stats__") {
            for (key, value) in stats {
                sample.stats.set(key.clone(), stat(value));
            }
        }
        Ok(sample)
    }
}

fn stat(value: &Value) -> StatValue {
    match value {
        Value::Number(n) => n.as_i64().map_or_else(
            || StatValue::Float(n.as_f64().unwrap_or(f64::NAN)),
            StatValue::Int,
        ),
        other => StatValue::json(other.clone()),
    }
}

/// Runs the operator on one row, as the executor does.
pub fn run_row(built: &Built, sample: &mut Sample) -> Result<Outcome, RowError> {
    let (setting, host) = (Setting::default(), Host::default());
    run_alone(&built.operator, &built.spec, sample, &setting, &host)
}

/// What the operator tells row `index` from others by, and the row.
fn key_of(built: &Built, rows: &Rows, index: usize) -> Result<(RowKey, Sample), RowError> {
    let setting = Setting {
        collects: true,
        ..Setting::default()
    };
    let mut sample = rows.sample(index)?;
    match built.operator.run(&built.spec, &mut sample, &setting)? {
        Outcome::Key(key) => Ok((key, sample)),
        other => Err(RowError::new("no_key", format!("{other:?}"))),
    }
}

/// The key of a row that must be one of these.
macro_rules! key {
    ($kind:ident, $key:expr) => {
        match $key {
            RowKey::$kind(key) => key,
            other => return Err(RowError::new("other_key", format!("{other:?}"))),
        }
    };
}

fn exact_key(built: &Built, rows: &Rows, index: usize) -> Result<(Option<u128>, Sample), RowError> {
    let (key, sample) = key_of(built, rows, index)?;
    Ok((key!(Exact, key), sample))
}

fn near_keys(built: &Built, rows: &Rows, index: usize) -> Result<(Vec<u64>, Sample), RowError> {
    let (key, sample) = key_of(built, rows, index)?;
    Ok((key!(Near, key), sample))
}

fn counted(built: &Built, rows: &Rows, index: usize) -> Result<Vec<u128>, RowError> {
    Ok(key!(Counts, key_of(built, rows, index)?.0))
}

fn select_key(built: &Built, rows: &Rows, index: usize) -> Result<FieldKey, RowError> {
    Ok(key!(Select, key_of(built, rows, index)?.0))
}

/// The row as it is written.
pub fn written(sample: &Sample) -> Value {
    let mut out = Vec::new();
    sample.write_json(&[], &mut out);
    serde_json::from_slice(&out).unwrap_or_else(|e| Value::String(format!("not JSON: {e}")))
}

/// JSON in ASCII, so that a person sees which space or joiner it is.
pub fn visible(value: &Value) -> String {
    let mut out = String::new();
    for character in value.to_string().chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
        }
    }
    out
}

/// A row without its null fields: Data-Juicer's columns give every row every field.
pub fn without_nulls(row: &Value) -> Value {
    match row {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn filter(built: &Built, rows: &Rows, case: &Case) -> Difference {
    let mut difference = Difference::default();
    let kept: Option<HashSet<usize>> = case.kept.as_ref().map(|k| k.iter().copied().collect());
    for index in 0..case.input.len() {
        let answer = rows.sample(index).and_then(|mut sample| {
            let keep = matches!(run_row(built, &mut sample)?, Outcome::Goes);
            Ok((keep, sample.stats.to_json()))
        });
        let (keep, stats) = match answer {
            Ok(answer) => answer,
            Err(e) => {
                difference.row(index, e.to_string());
                continue;
            }
        };
        let expected = case.stats.as_ref().and_then(|all| all.get(index));
        if let Some(expected) = expected
            && *expected != stats
        {
            difference.row(index, format!("stats {stats}, recorded {expected}"));
        }
        if let Some(kept) = &kept
            && kept.contains(&index) != keep
        {
            difference.row(
                index,
                if keep {
                    format!("kept ({stats}), recorded as dropped")
                } else {
                    format!("dropped ({stats}), recorded as kept")
                },
            );
        }
    }
    difference
}

/// A row as it is recorded: names of files that an operator made go without their hashes.
fn recorded(row: &Value, suite: &Suite) -> Value {
    let hash = regex::Regex::new("__dj_hash_#[0-9a-f]*#").unwrap_or_else(|_| unreachable!());
    let text = suite.recorded_path(&row.to_string());
    let text = hash.replace_all(&text, "__dj_hash_##");
    without_nulls(&serde_json::from_str(&text).unwrap_or_default())
}

/// Compares the images that an operator made with those recorded: JPEG files byte by byte, others
/// by their pixels.
fn compare_produced(sample: &Sample, index: usize, case: &Case, difference: &mut Difference) {
    let Some(recorded) = case.produced.as_ref().and_then(|all| all.get(index)) else {
        return;
    };
    let made = |image: &djr::sample::ImageSlot| {
        let produced = sample.produced().iter();
        let mut produced = produced.filter(|made| made.written == image.written());
        produced.next()
    };
    let images = sample.images().unwrap_or_default();
    let ours: Vec<_> = images.iter().filter_map(made).collect();
    if ours.len() != recorded.len() {
        let message = format!("{} files, recorded {}", ours.len(), recorded.len());
        return difference.row(index, message);
    }
    for (made, recorded) in ours.into_iter().zip(recorded) {
        let is_jpeg = made.path.extension().is_some_and(|e| e == "jpg");
        match Made::of(&made.bytes) {
            Ok(ours) if ours.pixels != recorded.pixels => {
                difference.row(index, format!("other pixels: {}", made.written));
            }
            Ok(ours) if is_jpeg && ours.file != recorded.file => {
                difference.row(index, format!("other bytes: {}", made.written));
            }
            Ok(_) => {}
            Err(e) => difference.row(index, e),
        }
    }
}

fn mapper(built: &Built, rows: &Rows, case: &Case, suite: &Suite) -> Difference {
    let mut difference = Difference::default();
    let Some(output) = &case.output else {
        return Difference::default();
    };
    if output.len() != case.input.len() {
        return Difference::whole(format!(
            "{} rows come out of {}: not one for one",
            output.len(),
            case.input.len()
        ));
    }
    for (index, expected) in output.iter().enumerate() {
        let answer = rows.sample(index).and_then(|mut sample| {
            run_row(built, &mut sample)?;
            compare_produced(&sample, index, case, &mut difference);
            Ok(written(&sample))
        });
        match answer {
            Ok(row) if without_nulls(&row) == without_nulls(expected) => {}
            Ok(row) if recorded(&row, suite) == recorded(expected, suite) => {}
            Ok(row) => difference.row(
                index,
                format!("{}\n      recorded {}", visible(&row), visible(expected)),
            ),
            Err(e) => difference.row(index, e.to_string()),
        }
    }
    difference
}

/// The rows that an expander makes of one.
pub fn parts(built: &Built, mut sample: Sample) -> Result<Vec<Value>, RowError> {
    let parts = match run_row(built, &mut sample)? {
        Outcome::Parts(parts) => parts,
        other => return Err(RowError::new("no_parts", format!("{other:?}"))),
    };
    (0..)
        .zip(parts)
        .map(|(number, part)| part.of(&sample, number).map(|part| written(&part)))
        .collect()
}

fn expander(built: &Built, rows: &Rows, case: &Case) -> Difference {
    let mut difference = Difference::default();
    let Some(output) = &case.output else {
        return Difference::default();
    };
    let mut expected = output.iter();
    for index in 0..case.input.len() {
        match rows.sample(index).and_then(|sample| parts(built, sample)) {
            Ok(made) => {
                for row in made {
                    match expected.next() {
                        Some(next) if without_nulls(&row) == without_nulls(next) => {}
                        Some(next) => difference.row(
                            index,
                            format!("{}\n      recorded {}", visible(&row), visible(next)),
                        ),
                        None => difference.row(index, format!("one more: {}", visible(&row))),
                    }
                }
            }
            Err(e) => difference.row(index, e.to_string()),
        }
    }
    let missing = expected.count();
    if missing > 0 {
        difference.whole.push(format!("{missing} rows too few"));
    }
    difference
}

/// The rows that a grouper makes of all rows.
pub fn groups(built: &Built, rows: &Rows) -> Result<Vec<Value>, RowError> {
    let mut keys = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    for index in 0..rows.input.len() {
        let (key, sample) = exact_key(built, rows, index)?;
        let known = keys.iter().position(|other| *other == key);
        let place = known.unwrap_or(keys.len());
        if known.is_none() {
            keys.push(key);
            groups.push(Group::default());
        }
        groups[place].push(&sample, &[]);
    }
    groups
        .into_iter()
        .map(|group| group.into_sample(Origin::default(), Arc::clone(&rows.context)))
        .map(|group| group.map(|group| written(&group)))
        .collect()
}

fn grouper(built: &Built, rows: &Rows, case: &Case) -> Difference {
    let Some(output) = &case.output else {
        return Difference::default();
    };
    // A field that no row of the group has.
    let without_empty = |row: &Value| match row {
        Value::Object(map) => map
            .iter()
            .filter(|(_, list)| {
                list.as_array()
                    .is_none_or(|l| !l.iter().all(Value::is_null))
            })
            .map(|(name, list)| (name.clone(), list.clone()))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    };
    match groups(built, rows) {
        Ok(made)
            if made
                .iter()
                .map(without_empty)
                .eq(output.iter().map(without_empty)) =>
        {
            Difference::default()
        }
        Ok(made) => Difference::whole(format!(
            "{}\n      recorded {}",
            visible(&made.into()),
            visible(&output.clone().into())
        )),
        Err(e) => Difference::whole(e.to_string()),
    }
}

fn exact(built: &Built, rows: &Rows, case: &Case) -> Difference {
    let mut difference = Difference::default();
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for index in 0..case.input.len() {
        match exact_key(built, rows, index) {
            Ok((key, sample)) => {
                if key.is_none_or(|key| seen.insert(key)) {
                    kept.push(index);
                }
                compare_hashes(&sample, index, case, &mut difference);
            }
            Err(e) => difference.row(index, e.to_string()),
        }
    }
    compare_kept(&kept, case, &mut difference);
    difference
}

fn near(built: &Built, op: &dyn BandDeduplicator, rows: &Rows, case: &Case) -> Difference {
    let mut difference = Difference::default();
    let mut table = Vec::new();
    let mut places = Vec::new();
    for index in 0..case.input.len() {
        match near_keys(built, rows, index) {
            Ok((keys, _)) if keys.len() != op.bands() => {
                return Difference::whole(format!(
                    "row {index} yields {} keys, not {}",
                    keys.len(),
                    op.bands()
                ));
            }
            Ok((keys, sample)) => {
                compare_hashes(&sample, index, case, &mut difference);
                table.push(keys);
                places.push(index);
            }
            Err(e) => difference.row(index, e.to_string()),
        }
    }
    let clusters = Clusters::new(table.len());
    let mut first: HashMap<(usize, u64), usize> = HashMap::new();
    for band in 0..op.bands() {
        let column: Vec<u64> = table
            .iter()
            .filter_map(|keys| keys.get(band))
            .copied()
            .collect();
        op.cluster(&column, &clusters);
        for (key, &row) in column.iter().zip(&places) {
            let ours = *first.entry((band, *key)).or_insert(row);
            let recorded = case.bands.as_ref().and_then(|b| b.get(row)?.get(band));
            if recorded.is_some_and(|&recorded| recorded != ours) {
                difference.row(row, format!("band {band} groups it with row {ours}"));
            }
        }
    }
    if let Some(recorded) = case.bands.as_ref().and_then(|b| b.first())
        && recorded.len() != op.bands()
    {
        difference
            .whole
            .push(format!("{} bands, recorded {}", op.bands(), recorded.len()));
    }
    let kept: Vec<_> = (0..)
        .zip(&places)
        .filter(|(position, _)| clusters.find(*position) == *position)
        .map(|(_, row)| *row)
        .collect();
    compare_kept(&kept, case, &mut difference);
    difference
}

/// The rows as a census leaves them.
pub fn edited(built: &Built, op: &dyn Census, rows: &Rows) -> Result<Vec<Value>, RowError> {
    let mut tally = Tally::new(op.counted());
    for index in 0..rows.input.len() {
        for key in counted(built, rows, index)? {
            tally.add(key);
        }
    }
    let all = rows.input.len() as u64;
    let common: Common = tally
        .into_counts()
        .filter(|&(_, count)| op.is_common(count, all))
        .collect();
    (0..rows.input.len())
        .filter_map(|index| {
            let mut sample = match rows.sample(index) {
                Ok(sample) => sample,
                Err(error) => return Some(Err(error)),
            };
            let setting = Setting {
                common: Some(&common),
                ..Setting::default()
            };
            match built.operator.run(&built.spec, &mut sample, &setting) {
                Ok(Outcome::Dropped(_)) => None,
                Ok(_) => Some(Ok(written(&sample))),
                Err(error) => Some(Err(error)),
            }
        })
        .collect()
}

fn census(built: &Built, op: &dyn Census, rows: &Rows, case: &Case) -> Difference {
    let mut difference = Difference::default();
    let ours = match edited(built, op, rows) {
        Ok(ours) => ours,
        Err(e) => return Difference::whole(e.to_string()),
    };
    let recorded = case.output.as_deref().unwrap_or_default();
    if ours.len() != recorded.len() {
        return Difference::whole(format!("{} rows, recorded {}", ours.len(), recorded.len()));
    }
    for (index, (row, expected)) in ours.iter().zip(recorded).enumerate() {
        if without_nulls(row) != without_nulls(expected) {
            difference.row(
                index,
                format!("{}\n      recorded {}", visible(row), visible(expected)),
            );
        }
    }
    difference
}

fn selector(built: &Built, op: &dyn Selector, rows: &Rows, case: &Case) -> Difference {
    match picked(built, op, rows) {
        Ok(picked) if case.kept.as_ref().is_none_or(|kept| *kept == picked) => {
            Difference::default()
        }
        Ok(picked) => Difference::whole(format!(
            "picks {picked:?}, recorded {:?}",
            case.kept.as_deref().unwrap_or_default()
        )),
        Err(e) => Difference::whole(e),
    }
}

/// The rows that a selector picks, in its order.
pub fn picked(built: &Built, op: &dyn Selector, rows: &Rows) -> Result<Vec<usize>, String> {
    let keys: Vec<_> = (0..rows.input.len())
        .map(|index| select_key(built, rows, index))
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())?;
    let total = keys.len();
    let picked = op.pick(&mut KeyList(keys)).map_err(|e| e.to_string())?;
    Ok(match picked {
        Picked::All => (0..total).collect(),
        Picked::Rows(rows) | Picked::Mixed { rows, .. } => {
            rows.into_iter().map(|row| row as usize).collect()
        }
    })
}

/// The rows that a deduplicator or selector leaves, in its order.
pub fn survivors(built: &Built, rows: &Rows) -> Result<Vec<usize>, String> {
    let failed = |e: RowError| e.to_string();
    match &built.operator {
        Operator::Exact(_) => {
            let mut seen = HashSet::new();
            let mut kept = Vec::new();
            for index in 0..rows.input.len() {
                let (key, _) = exact_key(built, rows, index).map_err(failed)?;
                if key.is_none_or(|key| seen.insert(key)) {
                    kept.push(index);
                }
            }
            Ok(kept)
        }
        Operator::Near(op) => {
            let mut table = vec![Vec::new(); op.bands()];
            for index in 0..rows.input.len() {
                let (keys, _) = near_keys(built, rows, index).map_err(failed)?;
                table.iter_mut().zip(keys).for_each(|(t, key)| t.push(key));
            }
            let clusters = Clusters::new(rows.input.len());
            for column in &table {
                op.cluster(column, &clusters);
            }
            Ok((0..)
                .zip(0..rows.input.len())
                .filter(|(position, _)| clusters.find(*position) == *position)
                .map(|(_, row)| row)
                .collect())
        }
        Operator::Selector(op) => picked(built, op.as_ref(), rows),
        // Rows that nothing is asked about have no vector.
        Operator::Vectors(op) => {
            for index in 0..rows.input.len() {
                let sample = rows.sample(index).map_err(failed)?;
                let asked = op.asks().map(|asks| asks.ask(&sample));
                let asked = asked.transpose().map_err(failed)?;
                if asked.is_some_and(|requests| !requests.is_empty()) {
                    return Err("asks a model".to_owned());
                }
            }
            let all = 0..rows.input.len();
            Ok(match op.rule() {
                VectorRule::Join(_) => all.collect(),
                VectorRule::Spread(count) => all
                    .take(usize::try_from(count).unwrap_or(usize::MAX))
                    .collect(),
            })
        }
        Operator::Census(_) => Err("edits rows".to_owned()),
        Operator::Grouper(_) => Err("makes other rows".to_owned()),
        Operator::Mapper(_) | Operator::Expander(_) | Operator::Filter(_) => {
            Err("works on one row at a time".to_owned())
        }
    }
}

fn compare_kept(kept: &[usize], case: &Case, difference: &mut Difference) {
    let Some(recorded) = &case.kept else { return };
    for row in kept.iter().filter(|row| !recorded.contains(row)) {
        difference.row(*row, "kept, recorded as dropped");
    }
    for row in recorded.iter().filter(|row| !kept.contains(row)) {
        difference.row(*row, "dropped, recorded as kept");
    }
}

/// Compares the hash columns that the operator filled with those recorded.
fn compare_hashes(sample: &Sample, index: usize, case: &Case, difference: &mut Difference) {
    let Some(recorded) = case.hashes.as_ref().and_then(|all| all.get(index)) else {
        return;
    };
    let text = sample.hashes.text.get().map(|digest| {
        digest.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    });
    let ours = [
        ("__dj__hash", text),
        ("__dj__imagehash", sample.hashes.image.get().cloned()),
        (
            "__dj__simhash",
            sample.hashes.simhash.get().map(ToString::to_string),
        ),
    ];
    for (column, ours) in ours {
        let recorded = recorded.get(column).and_then(Value::as_str);
        if let (Some(ours), Some(recorded)) = (ours, recorded)
            && ours != recorded
        {
            difference.row(index, format!("{column} {ours}, recorded {recorded}"));
        }
    }
}
