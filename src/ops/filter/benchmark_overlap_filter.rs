//! Keeps rows that hold nothing of benchmark sets.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::op::{
    Bounds, BuildContext, Facts, Field, Filter, ImageNeed, Measured, OneOrMany, Operator,
    ParamError, Problems, SpecialTokens, StatDef, StatType, Verdict, operator, positive,
};
use crate::ops::benchmark::{Benchmark, runs, words};
use crate::ops::dedup::Method;
use crate::sample::{FieldPath, RowError, Sample, StatValue, Stats};

operator! {
    /// Keeps rows that share neither words nor pictures with benchmark sets.
    ///
    /// A benchmark is a TSV table with columns `index, question, image` (base64) and `A`, `B`, …
    /// (MMBench), JSON `{"data": [{"question", "image_id"}]}` with its pictures in `image_folder`
    /// (TextVQA), a JSON array or JSON Lines of such objects or of rows with `text` and `images`, or
    /// what `djr index` made of any of them. Words are runs of letters and digits in lower case; the
    /// special tokens of a row's text do not count.
    ///
    /// `benchmark_ngrams` is how many of the text's runs of `ngram` words stand in a benchmark, its
    /// options included, as GPT-3's data were checked (there with 13 words). `benchmark_questions` is
    /// how many questions of at least `min_words` words stand whole in the text.
    /// `benchmark_image_distance` is the least number of bits, of 64, in which the perceptual hash of
    /// a picture of the row differs from that of a picture of a benchmark; 64 without pictures, and
    /// for pictures of one shade. `benchmark_match` names the first that was found: the file, the number
    /// of the question in it, and how (a picture, if it differs in at most 12 bits). All ends are
    /// inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - benchmark_overlap_filter: {benchmarks: fixtures/benchmark/questions.json, images: false, questions: true}
    /// ```
    /// ```json
    /// {"in": {"text": "A red kite."}, "out": {"text": "A red kite."}, "stats": {"benchmark_ngrams": 0, "benchmark_questions": 0, "benchmark_match": ""}}
    /// {"in": {"text": "Q: What is the colour of the kite? A: red"}, "out": null, "stats": {"benchmark_ngrams": 0, "benchmark_questions": 1, "benchmark_match": "questions.json:2 (question)"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 has no such operator.
    benchmark_overlap_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Images],
        images: |params| match params.get("images") {
            Some(Value::Bool(false)) => ImageNeed::None,
            _ => ImageNeed::Pixels,
        },
        stats: &[NGRAMS, QUESTIONS, DISTANCE, MATCH],
        ..Facts::NONE
    }
}

/// A check against benchmarks as a step of a recipe.
#[derive(Debug, Clone, Default)]
pub struct BenchmarkStep {
    /// Where benchmarks and their pictures are.
    pub benchmarks: Vec<String>,
    /// `image_folder`.
    pub image_folder: Option<String>,
    /// `ngram`; none compares no runs of words.
    pub ngram: Option<i64>,
    /// Looks for whole questions.
    pub questions: bool,
    /// The most bits in which pictures are taken for the same; none compares no pictures.
    pub distance: Option<u32>,
}

impl BenchmarkStep {
    /// The operator's name.
    pub const NAME: &str = "benchmark_overlap_filter";

    /// Its parameters.
    #[must_use]
    pub fn params(self) -> Map<String, Value> {
        let usual = Params::default();
        let params = Params {
            benchmarks: OneOrMany::Many(self.benchmarks),
            image_folder: self.image_folder,
            ngrams: self.ngram.is_some(),
            ngram: self.ngram.unwrap_or(usual.ngram),
            questions: self.questions,
            images: self.distance.is_some(),
            min_image_distance: self.distance.map(|bits| f64::from(bits) + 1.0),
            ..usual
        };
        // It is a struct of plain values.
        match serde_json::to_value(params) {
            Ok(Value::Object(params)) => params,
            _ => Map::new(),
        }
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The files of the benchmarks, or what `djr index` made of them.
    benchmarks: OneOrMany,
    /// Where the pictures lie that a benchmark names; beside its file, if this is not said.
    image_folder: Option<String>,
    /// Compare runs of words.
    ngrams: bool,
    /// How many words make a run.
    ngram: i64,
    /// Most runs of words that a row kept shares with a benchmark, inclusive.
    max_ngrams: Option<f64>,
    /// Look for whole questions.
    questions: bool,
    /// How many words a question has at least that is looked for.
    min_words: i64,
    /// Most questions that a row kept holds, inclusive.
    max_questions: Option<f64>,
    /// Compare pictures.
    images: bool,
    /// The perceptual hash of the pictures.
    method: Method,
    /// Fewest bits, of 64, in which the pictures of a row kept differ from those of a benchmark,
    /// inclusive.
    min_image_distance: Option<f64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            benchmarks: OneOrMany::default(),
            image_folder: None,
            ngrams: true,
            ngram: 13,
            max_ngrams: Some(0.0),
            questions: false,
            min_words: 4,
            max_questions: Some(0.0),
            images: true,
            method: Method::Phash,
            min_image_distance: Some(5.0),
        }
    }
}

const NGRAMS: StatDef = StatDef::integer("benchmark_ngrams")
    .max("max_ngrams")
    .when("ngrams", true);
const QUESTIONS: StatDef = StatDef::integer("benchmark_questions")
    .max("max_questions")
    .when("questions", true);
const DISTANCE: StatDef = StatDef::integer("benchmark_image_distance")
    .unit("bits")
    .min("min_image_distance")
    .when("images", true);
const MATCH: StatDef = StatDef::new("benchmark_match", StatType::Text);

/// Bits of a hash.
const BITS: u32 = 64;

/// Pictures are named that differ in at most so many bits.
const NEAR: u32 = 12;

struct BenchmarkOverlap {
    text_key: FieldPath,
    tokens: SpecialTokens,
    places: Vec<String>,
    ngrams: Option<Runs>,
    /// By the number of their words.
    questions: Option<BTreeMap<usize, Runs>>,
    images: Option<Pictures>,
    bounds: Vec<Bounds>,
}

/// Runs of so many words, each with the first entry that has it.
struct Runs {
    words: usize,
    known: HashMap<u64, usize>,
}

struct Pictures {
    method: crate::image::HashMethod,
    /// Each with its entry.
    hashes: Vec<(u64, usize)>,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    let ngram = problems.keep(positive("ngram", params.ngram));
    let min_words = problems.keep(positive("min_words", params.min_words));
    let mut bounds = Vec::new();
    for (stat, on, range) in [
        (&NGRAMS, params.ngrams, (None, params.max_ngrams)),
        (&QUESTIONS, params.questions, (None, params.max_questions)),
        (&DISTANCE, params.images, (params.min_image_distance, None)),
    ] {
        if on {
            let bound = Bounds::new(stat, range.0, range.1, &context.base);
            bounds.extend(problems.keep(bound));
        }
    }
    if !(params.ngrams || params.questions || params.images) {
        let wrong = ParamError::new("ngrams", "neither words nor pictures are compared");
        let wrong: Result<(), ParamError> = Err(wrong.hint("leave one of the three on"));
        problems.keep(wrong);
    }
    let benchmark = problems.keep(read(&params, context));
    let (Some(ngram), Some(min_words), Some(benchmark)) = (ngram, min_words, benchmark) else {
        return Err(problems.into());
    };
    let problems: Vec<ParamError> = problems.into();
    if !problems.is_empty() {
        return Err(problems);
    }
    let (mut ngrams, mut questions) = (Runs::of(ngram), BTreeMap::new());
    let mut hashes = Vec::new();
    for (number, entry) in benchmark.entries.iter().enumerate() {
        let asked = entry.question.as_str();
        let all = entry.all.as_str();
        if params.ngrams {
            ngrams.learn(if all.is_empty() { asked } else { all }, number);
        }
        let words = runs(asked, 1).count();
        if params.questions && words >= min_words {
            let runs = questions.entry(words);
            let runs = runs.or_insert_with(|| Runs::of(words));
            runs.learn(asked, number);
        }
        hashes.extend(entry.image.map(|hash| (hash, number)));
    }
    Ok(Operator::Filter(Box::new(BenchmarkOverlap {
        text_key: context.base.text_key.clone(),
        tokens: context.special_tokens.clone(),
        places: benchmark
            .entries
            .into_iter()
            .map(|entry| entry.place)
            .collect(),
        ngrams: params.ngrams.then_some(ngrams),
        questions: params.questions.then_some(questions),
        images: params.images.then(|| Pictures {
            method: params.method.into(),
            hashes,
        }),
        bounds,
    })))
}

fn read(params: &Params, context: &BuildContext) -> Result<Benchmark, Vec<ParamError>> {
    let named = match &params.benchmarks {
        OneOrMany::One(one) if one.is_empty() => Vec::new(),
        OneOrMany::One(one) => vec![one.clone()],
        OneOrMany::Many(many) => many.clone(),
    };
    if named.is_empty() {
        let none = ParamError::new("benchmarks", "no benchmark is named");
        return Err(none
            .hint("name a .tsv, a .json, or what djr index made of them")
            .into());
    }
    let mut problems = Problems::default();
    let found = |param: &str, name: &str| {
        context.resolve(name).map_err(|_| {
            ParamError::new(param, format!("{name} is not there"))
                .hint("a relative path starts at the recipe, or at the working directory")
        })
    };
    let folder = params.image_folder.as_deref();
    let folder = folder
        .map(|folder| found("image_folder", folder))
        .transpose()?;
    let method = params
        .images
        .then(|| (params.method.word(), params.method.into()));
    let mut benchmark = Benchmark::within(context.max_memory);
    for name in &named {
        let Some(path) = problems.keep(found("benchmarks", name)) else {
            continue;
        };
        let open = |path: &std::path::Path| context.read(path);
        let added = benchmark.add(&path, folder.as_deref(), method, &open);
        problems.keep(added.map_err(|error| ParamError::new("benchmarks", error.to_string())));
    }
    let problems: Vec<ParamError> = problems.into();
    if problems.is_empty() {
        Ok(benchmark)
    } else {
        Err(problems)
    }
}

impl Runs {
    fn of(words: usize) -> Self {
        Self {
            words,
            known: HashMap::new(),
        }
    }

    fn learn(&mut self, words: &str, entry: usize) {
        for run in runs(words, self.words) {
            self.known.entry(hash(run)).or_insert(entry);
        }
    }

    /// How many runs of `words` are known, and the entry that has the first of them.
    fn count(&self, words: &str) -> (i64, Option<usize>) {
        let mut found = runs(words, self.words).filter_map(|run| self.known.get(&hash(run)));
        let first = found.next().copied();
        let more = i64::try_from(found.count()).unwrap_or(i64::MAX);
        (more.saturating_add(i64::from(first.is_some())), first)
    }
}

fn hash(words: &str) -> u64 {
    xxh3_64(words.as_bytes())
}

impl Pictures {
    /// The least distance of a picture of the row to one of a benchmark, and the entry that has it.
    fn nearest(&self, sample: &Sample) -> Result<(u32, Option<usize>), RowError> {
        let mut nearest = (BITS, None);
        for slot in sample.images()? {
            let (hash, blank) = slot.hash(self.method)?;
            if blank {
                continue;
            }
            for &(other, entry) in &self.hashes {
                let distance = (hash ^ other).count_ones();
                if distance < nearest.0 {
                    nearest = (distance, Some(entry));
                }
            }
        }
        Ok(nearest)
    }
}

impl Filter for BenchmarkOverlap {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let mut measured = Measured::new();
        let mut matched = None;
        let mut note = |entry: Option<usize>, how: String| {
            if matched.is_none()
                && let Some(place) = entry.and_then(|entry| self.places.get(entry))
            {
                matched = Some(format!("{place} ({how})"));
            }
        };
        if self.ngrams.is_some() || self.questions.is_some() {
            let text = sample.required_text(&self.text_key)?;
            let text = words(&self.tokens.removed_from(&text));
            if let Some(ngrams) = &self.ngrams {
                let (count, first) = ngrams.count(&text);
                note(first, format!("{} words", ngrams.words));
                measured.push(StatValue::Int(count));
            }
            if let Some(questions) = &self.questions {
                let mut all = 0_i64;
                for runs in questions.values() {
                    let (count, first) = runs.count(&text);
                    note(first, "question".to_owned());
                    all = all.saturating_add(count);
                }
                measured.push(StatValue::Int(all));
            }
        }
        if let Some(pictures) = &self.images {
            let (distance, entry) = pictures.nearest(sample)?;
            if distance <= NEAR {
                note(entry, format!("picture, {distance} bits"));
            }
            measured.push(StatValue::Int(distance.into()));
        }
        measured.push(StatValue::json(matched.unwrap_or_default()));
        Ok(measured)
    }

    fn bounds(&self) -> &[Bounds] {
        &self.bounds
    }

    /// Says what was found, where something was: that tells more than how much.
    fn decide_within(&self, bounds: &[Bounds], stats: &Stats) -> Verdict {
        let verdict = Bounds::decide_all(bounds, stats);
        let matched = stats.get(MATCH.name()).map(StatValue::to_json);
        match (verdict, matched) {
            (Verdict::Drop(decision), Some(Value::String(matched))) if !matched.is_empty() => {
                Verdict::drop(MATCH.name(), StatValue::json(matched), decision.limit)
            }
            (verdict, _) => verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::{build_filter, check_filter};

    const NAME: &str = "benchmark_overlap_filter";

    #[test]
    fn words_are_compared_whatever_stands_between_them() {
        let params = r#"{"benchmarks": "fixtures/benchmark/questions.json", "images": false}"#;
        for (text, expected) in [
            (
                "<__dj__image>\nWHICH of the two boats -- that lie at the wooden pier, behind the small house...",
                r#"{"benchmark_ngrams": 3, "benchmark_match": "questions.json:3 (13 words)"} drop"#,
            ),
            (
                "of the two boats that lie at the wooden pier behind a small house",
                r#"{"benchmark_ngrams": 0, "benchmark_match": ""} keep"#,
            ),
            ("", r#"{"benchmark_ngrams": 0, "benchmark_match": ""} keep"#),
        ] {
            check_filter(NAME, params, text, expected);
        }
    }

    #[test]
    fn short_questions_are_not_looked_for() {
        let params = r#"{"benchmarks": "fixtures/benchmark/questions.json", "images": false,
            "ngrams": false, "questions": true, "min_words": 4, "max_questions": 1}"#;
        for (text, expected) in [
            (
                "who is that",
                r#"{"benchmark_questions": 0, "benchmark_match": ""} keep"#,
            ),
            (
                "what is the colour of the kite",
                r#"{"benchmark_questions": 1, "benchmark_match": "questions.json:2 (question)"} keep"#,
            ),
            (
                "What is the colour of the kite? What is the colour of the kite!",
                r#"{"benchmark_questions": 2, "benchmark_match": "questions.json:2 (question)"} drop"#,
            ),
        ] {
            check_filter(NAME, params, text, expected);
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_before_any_row() {
        for (params, why) in [
            ("{}", "no benchmark is named"),
            (r#"{"benchmarks": "nosuch.tsv"}"#, "nosuch.tsv is not there"),
            (r#"{"benchmarks": "fixtures/benchmark/questions.json"}"#, ""),
            (
                r#"{"benchmarks": "fixtures/benchmark/questions.json", "images": false, "ngrams": false}"#,
                "neither words nor pictures",
            ),
            (
                r#"{"benchmarks": "fixtures/demo.yaml", "images": false}"#,
                "nor JSON",
            ),
        ] {
            match build_filter(NAME, params) {
                Ok(_) => assert!(why.is_empty(), "{params}"),
                Err(problems) => {
                    let said = format!("{problems:?}");
                    assert!(!why.is_empty() && said.contains(why), "{params}: {said}");
                }
            }
        }
    }
}
