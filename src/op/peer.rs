//! Operators of Data-Juicer that djr does not have: Data-Juicer itself runs their classes, one row
//! at a time, in a worker process.
//!
//! What such an operator is (a mapper, a filter) and which parameters it takes, only Data-Juicer
//! knows: it is asked while a recipe is read ([`Peers`]).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::{
    ANY_FIELD, Answer, Asks, Decision, ExactDeduplicator, Expander, Family, Filter, Mapper,
    Measured, OpKind, OpSpec, Operator, Part, Request, STATS, Service, Verdict,
};
use crate::sample::{FieldPath, JsonText, RowError, Sample, StatValue, each_path, read_json};

/// An operator of Data-Juicer as it is built and run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeerService {
    /// Its name in recipes.
    pub op: String,
    /// What it is built with.
    pub params: Map<String, Value>,
    /// Files and packages that register further operators.
    pub custom: Vec<PathBuf>,
    /// Environment variables that Data-Juicer reads.
    pub env: BTreeMap<String, String>,
    /// What it is there.
    #[serde(flatten)]
    pub facts: PeerFacts,
    /// How it is run. No answer depends on it.
    #[serde(skip)]
    pub run: PeerSettings,
}

/// What Data-Juicer says of one of its operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerFacts {
    /// How it works.
    pub works: PeerKind,
    /// Its class, with the module.
    pub class: String,
    /// The version of py-data-juicer.
    pub version: String,
    /// The interpreter that has it. Another one with the same version gives the same answers.
    #[serde(skip)]
    pub python: PathBuf,
}

/// How an operator of Data-Juicer works on rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerKind {
    /// Changes a row.
    Mapper,
    /// Makes any number of rows of one.
    Expander,
    /// Measures a row, and keeps or drops it.
    Filter,
    /// Has a key that is equal for equal rows.
    Deduplicator,
    /// Changes a row that a grouper made.
    Aggregator,
}

impl PeerKind {
    /// What such an operator is for.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            Self::Mapper | Self::Expander | Self::Aggregator => Family::Mapper,
            Self::Filter => Family::Filter,
            Self::Deduplicator => Family::Deduplicator,
        }
    }
}

/// How a recipe has such operators run: `operator_processes` and `operator_timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSettings {
    /// How many processes it may be run in at a time; as many as there are threads, but at most four,
    /// if nobody says.
    pub processes: Option<usize>,
    /// Seconds that a row may take before its process counts as dead.
    pub timeout_s: u64,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            processes: None,
            timeout_s: 900,
        }
    }
}

impl PeerSettings {
    /// Whether it is what recipes have that say nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which operator is asked about.
#[derive(Debug, Clone, Copy)]
pub struct PeerAsked<'a> {
    /// Its name.
    pub op: &'a str,
    /// Its parameters, those of every operator included.
    pub params: &'a Map<String, Value>,
    /// Files and packages that register further operators.
    pub custom: &'a [PathBuf],
    /// Environment variables that Data-Juicer reads.
    pub env: &'a BTreeMap<String, String>,
}

/// Why an operator of Data-Juicer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerRefusal {
    /// No Python has Data-Juicer: which were tried, and what each says.
    Nowhere(String),
    /// The Data-Juicer of this version has no operator of that name.
    Unknown(String),
    /// It has none of the first parameters, but the second.
    Parameters(Vec<String>, Vec<String>),
    /// It does not work row by row: why.
    Whole(String),
    /// It does not accept its parameters, or cannot be loaded: what Python says.
    Refused(String),
}

/// Who knows the operators of Data-Juicer.
pub trait Peers {
    /// Builds an operator to see whether it is sound, and what it is.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn describe(&self, asked: &PeerAsked<'_>) -> Result<PeerFacts, PeerRefusal>;
}

/// Changes of top-level fields that were made elsewhere.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// Fields with other values than before; that of stats has all of them.
    pub set: Map<String, Value>,
    /// Fields that are gone.
    pub gone: Vec<String>,
}

impl Change {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.set.is_empty() && self.gone.is_empty()
    }

    /// Makes the changes; stats are rounded if `round`. Gives the names of the stats that are new or
    /// other than before.
    pub fn apply(self, sample: &mut Sample, round: bool) -> Vec<String> {
        let mut measured = Vec::new();
        for name in self.gone {
            sample.remove(&name);
        }
        for (name, value) in self.set {
            match value {
                Value::Object(stats) if name == STATS => {
                    for (key, value) in stats {
                        let known = sample.stats.get(&key).map(StatValue::to_json);
                        if known.as_ref() != Some(&value) {
                            let value = StatValue::from_json(value);
                            sample.stats.set_measured(key.clone(), value, round);
                            measured.push(key);
                        }
                    }
                }
                // Groups have no stats of their own.
                _ if name == STATS => {}
                value => sample.set_value(&name, value),
            }
        }
        measured
    }
}

/// An operator of Data-Juicer in a step of a recipe.
#[derive(Debug)]
struct Peer {
    service: Service,
    works: PeerKind,
    /// What the random draws of the step start from.
    draw: u64,
    /// Its parameters, as the reason of a dropped row has them.
    limit: String,
}

/// The operator that `service` describes, and what it is. `name` is its name, `draw` what the random
/// draws of the step start from, `said` the parameters that the recipe gives.
#[must_use]
pub fn peer_operator(
    name: &'static str,
    service: PeerService,
    draw: u64,
    said: &Map<String, Value>,
) -> (Operator, OpSpec) {
    let works = service.facts.works;
    let limits = said.iter().map(|(key, value)| format!("{key}: {value}"));
    let peer = Peer {
        limit: match limits.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "its own rule".to_owned(),
            limits => limits,
        },
        works,
        draw,
        service: Service::Peer(service),
    };
    let spec = OpSpec {
        reads: vec![ANY_FIELD.to_owned()],
        writes: match works {
            PeerKind::Deduplicator => Vec::new(),
            _ => vec![ANY_FIELD.to_owned()],
        },
        takes_groups: works == PeerKind::Aggregator,
        service: Some(peer.service.clone()),
        ..OpSpec::new(name, works.family(), kind(works))
    };
    let operator = match works {
        PeerKind::Mapper | PeerKind::Aggregator => Operator::Mapper(Box::new(peer)),
        PeerKind::Expander => Operator::Expander(Box::new(peer)),
        PeerKind::Filter => Operator::Filter(Box::new(peer)),
        PeerKind::Deduplicator => Operator::Exact(Box::new(peer)),
    };
    (operator, spec)
}

fn kind(works: PeerKind) -> OpKind {
    match works {
        PeerKind::Mapper | PeerKind::Aggregator => OpKind::Mapper,
        PeerKind::Expander => OpKind::Expander,
        PeerKind::Filter => OpKind::Filter,
        PeerKind::Deduplicator => OpKind::Exact,
    }
}

impl Asks for Peer {
    fn service(&self) -> &Service {
        &self.service
    }

    /// The row as Data-Juicer would have it: with absolute paths, and with what was measured so far.
    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        if self.works != PeerKind::Aggregator && !sample.stats.members().is_empty() {
            return Err(RowError::new(
                "wrong_type",
                "the row is a group, which only an aggregator takes",
            ));
        }
        let context = sample.image_context();
        if context.confine {
            sample.check_media()?;
            for image in sample.images()? {
                image.file_size()?;
            }
        }
        let mut paths = Vec::new();
        let media = context.media_keys.iter().map(String::as_str);
        // An image that came within its input has no path.
        let images = sample.attached().is_empty() && !sample.image_field_is_quoted();
        let images = images.then_some(context.image_key.as_str());
        for key in images
            .into_iter()
            .chain(media)
            .filter(|key| sample.has(key))
        {
            let Some(written) = sample.value(&FieldPath::new(key))? else {
                continue;
            };
            let mut absolute = written.clone();
            let Ok(()) = each_path(&mut absolute, &mut |path: &mut String| {
                if let Some(found) = sample.path_of(path).to_str() {
                    found.clone_into(path);
                }
                Ok::<(), std::convert::Infallible>(())
            });
            if absolute != written {
                paths.push((key, absolute));
            }
        }
        let mut overrides: Vec<(&str, &dyn JsonText)> = Vec::new();
        for (key, value) in &paths {
            overrides.push((key, value));
        }
        if !sample.stats.is_empty() {
            overrides.push((STATS, &sample.stats));
        }
        let origin = sample.origin();
        let number = xxh3_64_with_seed(&origin.identity().to_le_bytes(), self.draw);
        let mut bytes = format!("{{\"number\": {number}, \"row\": ").into_bytes();
        sample.write_json(&overrides, &mut bytes);
        // What is written as it was read may have line breaks between its members.
        for byte in &mut bytes {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        bytes.push(b'}');
        Ok(vec![Request { head: 0, bytes }])
    }
}

/// What was answered.
fn answered(answers: &[Answer]) -> Result<Map<String, Value>, RowError> {
    let text = answers.first().map(Answer::text).transpose()?;
    match read_json(text.unwrap_or_default()) {
        Ok(Value::Object(answer)) => match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(failed(error.to_owned())),
            None => Ok(answer),
        },
        Ok(_) => Err(failed("the answer is no object")),
        Err(error) => Err(failed(format!("the answer cannot be read: {error}"))),
    }
}

fn failed(message: impl Into<Cow<'static, str>>) -> RowError {
    RowError::new("operator_failed", message)
}

fn unasked() -> RowError {
    failed("the operator was not asked")
}

/// What an answer says that changed in a row.
fn change(answer: &mut Map<String, Value>) -> Result<Change, RowError> {
    match (answer.remove("set"), answer.remove("gone")) {
        (Some(Value::Object(set)), Some(Value::Array(gone))) => Ok(Change {
            set,
            gone: gone
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        }),
        _ => Err(failed("the answer does not say what changed")),
    }
}

impl Mapper for Peer {
    fn apply(&self, _: &mut Sample) -> Result<(), RowError> {
        Err(unasked())
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn apply_answers(&self, sample: &mut Sample, answers: &[Answer]) -> Result<(), RowError> {
        let change = change(&mut answered(answers)?)?;
        change.apply(sample, false);
        Ok(())
    }
}

impl Expander for Peer {
    fn parts(&self, _: &Sample) -> Result<Vec<Part>, RowError> {
        Err(unasked())
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn parts_of_answers(&self, _: &Sample, answers: &[Answer]) -> Result<Vec<Part>, RowError> {
        let Some(Value::Array(rows)) = answered(answers)?.remove("rows") else {
            return Err(failed("the answer has no rows"));
        };
        let part = |row| match row {
            Value::Object(mut row) => change(&mut row).map(Part::Changed),
            _ => Err(failed("the answer has a row that is none")),
        };
        rows.into_iter().map(part).collect()
    }
}

impl Filter for Peer {
    fn measure(&self, _: &Sample) -> Result<Measured, RowError> {
        Err(unasked())
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn judges(&self) -> bool {
        true
    }

    fn judge(
        &self,
        sample: &mut Sample,
        answers: &[Answer],
        round: bool,
    ) -> Result<Verdict, RowError> {
        let mut answer = answered(answers)?;
        let keep = answer.get("keep").and_then(Value::as_bool);
        let keep = keep.ok_or_else(|| failed("the answer does not say whether the row stays"))?;
        let measured = change(&mut answer)?.apply(sample, round);
        if keep {
            return Ok(Verdict::Keep);
        }
        let value = |key: &String| {
            sample
                .stats
                .get(key)
                .map_or(Value::Null, StatValue::to_json)
        };
        let (stat, value) = match measured.as_slice() {
            // It goes by a field, or by stats that came with the row.
            [] => ("keep".to_owned(), Value::from(false)),
            [only] => (only.clone(), value(only)),
            all => {
                let values = all.iter().map(|key| (key.clone(), value(key)));
                (all.join(", "), Value::Object(values.collect()))
            }
        };
        Ok(Verdict::Drop(Box::new(Decision {
            stat: stat.into(),
            value: StatValue::from_json(value),
            limit: self.limit.clone(),
        })))
    }
}

impl ExactDeduplicator for Peer {
    fn key(&self, _: &Sample) -> Result<Option<u128>, RowError> {
        Err(unasked())
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn key_of_answers(&self, _: &Sample, answers: &[Answer]) -> Result<Option<u128>, RowError> {
        match answered(answers)?.remove("key") {
            Some(Value::String(key)) => Ok(Some(xxh3_128(key.as_bytes()))),
            Some(Value::Null) => Ok(None),
            _ => Err(failed("the answer has no key")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::op::{Outcome, RowKey, Setting};
    use crate::sample::{ImageContext, Origin};

    fn operator(works: PeerKind) -> (Operator, OpSpec) {
        let service = PeerService {
            op: "some_operator".into(),
            params: Map::new(),
            custom: Vec::new(),
            env: BTreeMap::new(),
            facts: PeerFacts {
                works,
                class: "some.Operator".into(),
                version: "1.6.1".into(),
                python: "python3".into(),
            },
            run: PeerSettings::default(),
        };
        let said = Map::from_iter([("most".to_owned(), json!(3))]);
        peer_operator("some_operator", service, 42, &said)
    }

    fn row(line: &str) -> Sample {
        let context = ImageContext {
            roots: vec!["/data".into()],
            ..ImageContext::default()
        };
        Sample::parse(line.to_owned(), Origin::default(), Arc::new(context)).unwrap()
    }

    fn run(works: PeerKind, sample: &mut Sample, answer: &Value) -> Result<Outcome, RowError> {
        let (operator, spec) = operator(works);
        let answers = [Answer::Text(answer.to_string())];
        let setting = Setting {
            answers: Some(&answers),
            ..Setting::default()
        };
        operator.run(&spec, sample, &setting)
    }

    #[test]
    fn a_row_is_asked_about_as_data_juicer_would_have_it() {
        let mut sample = row(
            r#"{"text": "a", "images": ["b.jpg", "/c.jpg"], "videos": [["d.mp4"]], "audios": null}"#,
        );
        sample.stats.set("text_len", StatValue::Int(1));
        let (operator, spec) = operator(PeerKind::Mapper);
        let asked = operator.run(&spec, &mut sample, &Setting::default());
        let Ok(Outcome::Asks(requests)) = asked else {
            panic!("{asked:?}");
        };
        let asked: Value = serde_json::from_slice(&requests[0].bytes).unwrap();
        assert!(asked["number"].is_u64());
        let expected = json!({
            "text": "a", "images": ["/data/b.jpg", "/c.jpg"], "videos": [["/data/d.mp4"]],
            "audios": null, "__dj__stats__": {"text_len": 1},
        });
        assert_eq!(asked["row"], expected);
    }

    #[test]
    fn only_what_changed_is_written() {
        let mut sample = row(r#"{"text": "a",  "n": 1.50, "old": 2}"#);
        let answer = json!({"set": {"text": "b", "__dj__meta__": {"tag": [1]}}, "gone": ["old"]});
        assert!(matches!(
            run(PeerKind::Mapper, &mut sample, &answer),
            Ok(Outcome::Goes)
        ));
        let mut out = Vec::new();
        sample.write_json(&[], &mut out);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(
            out,
            r#"{"text": "b",  "n": 1.50, "__dj__meta__": {"tag": [1]}}"#
        );
    }

    #[test]
    fn parts_take_the_place_of_a_row() {
        let mut sample = row(r#"{"text": "a", "n": 1}"#);
        sample.stats.set("text_len", StatValue::Int(1));
        let answer = json!({"rows": [
            {"set": {}, "gone": []},
            {"set": {"text": "b", "__dj__stats__": {"text_len": 1, "more": 2}}, "gone": ["n"]},
        ]});
        let Ok(Outcome::Parts(parts)) = run(PeerKind::Expander, &mut sample, &answer) else {
            panic!("no parts");
        };
        assert_eq!(
            parts.iter().map(Part::is_same).collect::<Vec<_>>(),
            [true, false]
        );
        assert!(parts[1].writes("n") && parts[1].writes("text") && !parts[1].writes("images"));
        let part = parts[1].clone().of(&sample, 1).unwrap();
        assert_eq!(part.origin().part, 1);
        assert_eq!(part.keys().collect::<Vec<_>>(), ["text"]);
        assert_eq!(part.stats.to_json(), json!({"text_len": 1, "more": 2}));
    }

    #[test]
    fn a_filter_says_what_it_measured_and_by_what_it_drops() {
        let dropped =
            |sample: &mut Sample, answer: &Value| match run(PeerKind::Filter, sample, answer) {
                Ok(Outcome::Dropped(decision)) => *decision,
                other => panic!("{other:?}"),
            };
        let mut sample = row(r#"{"text": "a"}"#);
        let stats = |stats| json!({"set": {"__dj__stats__": stats}, "gone": [], "keep": false});
        let decision = dropped(&mut sample, &stats(json!({"seconds": [1.5]})));
        assert_eq!(
            (decision.stat.as_ref(), decision.value.to_json()),
            ("seconds", json!([1.5]))
        );
        assert_eq!(decision.limit, "most: 3");
        assert_eq!(sample.stats.to_json(), json!({"seconds": [1.5]}));
        let decision = dropped(
            &mut sample,
            &stats(json!({"seconds": [1.5], "w": 2, "h": 3})),
        );
        assert_eq!(
            (decision.stat.as_ref(), decision.value.to_json()),
            ("w, h", json!({"w": 2, "h": 3}))
        );
        let decision = dropped(&mut sample, &json!({"set": {}, "gone": [], "keep": false}));
        assert_eq!(decision.stat, "keep");
        let kept = json!({"set": {}, "gone": [], "keep": true});
        assert!(matches!(
            run(PeerKind::Filter, &mut sample, &kept),
            Ok(Outcome::Goes)
        ));
    }

    #[test]
    fn equal_keys_are_equal_and_no_key_equals_none() {
        let mut sample = row("{}");
        let mut key = |answer| match run(PeerKind::Deduplicator, &mut sample, &answer) {
            Ok(Outcome::Key(RowKey::Exact(key))) => key,
            other => panic!("{other:?}"),
        };
        assert_eq!(key(json!({"key": "ab"})), key(json!({"key": "ab"})));
        assert_ne!(key(json!({"key": "ab"})), key(json!({"key": "ba"})));
        assert_eq!(key(json!({"key": null})), None);
    }

    #[test]
    fn an_error_or_an_answer_of_another_kind_fails_the_row() {
        for (works, answer) in [
            (PeerKind::Mapper, json!({"error": "ValueError: no"})),
            (PeerKind::Mapper, json!({"rows": []})),
            (PeerKind::Expander, json!({"set": {}, "gone": []})),
            (PeerKind::Filter, json!({"set": {}, "gone": []})),
            (PeerKind::Deduplicator, json!({"key": 1})),
            (PeerKind::Aggregator, json!([])),
        ] {
            let error = run(works, &mut row("{}"), &answer).unwrap_err();
            assert_eq!(error.code, "operator_failed", "{works:?} {answer}");
        }
    }
}
