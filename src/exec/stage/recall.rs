//! Answers of models that other runs got: what was asked before is not asked again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::cache::Results;
use crate::cache::kernel::ANSWER;
use crate::op::{Answer, OpSpec, Request, Service};
use crate::record::ServiceRecord;

/// The answers that the steps of a phase may find in a cache.
pub struct Recall {
    results: Arc<Results>,
    of_step: BTreeMap<usize, Asked>,
}

/// A model that a step asks.
struct Asked {
    /// What its answers are found by, beside the request.
    kernel: u64,
    service: String,
    found: AtomicU64,
    kept: AtomicU64,
}

/// Requests of a row as far as they are answered: of each its answer, or its key.
pub type Known = Vec<Result<Answer, u128>>;

impl Recall {
    /// For the steps that ask models, which run on what `records` say. Answers of programs and
    /// servers are not kept here: they may be others each time.
    pub fn new<'s>(
        results: Arc<Results>,
        steps: impl Iterator<Item = (usize, &'s OpSpec)>,
        records: &[ServiceRecord],
    ) -> Self {
        let of_step = steps.filter_map(|(number, spec)| {
            let service = spec.service.as_ref()?;
            let record = records
                .iter()
                .find(|record| record.service == service.name())?;
            let asked = Asked {
                kernel: kernel(spec, service, &record.runs_on)?,
                service: record.service.clone(),
                found: AtomicU64::new(0),
                kept: AtomicU64::new(0),
            };
            Some((number, asked))
        });
        Self {
            of_step: of_step.collect(),
            results,
        }
    }

    /// What is known of the requests of a row by step `step`; `None` if nothing of it is kept.
    pub fn of(&self, step: usize, requests: &[Request]) -> Option<Known> {
        let asked = self.of_step.get(&step)?;
        let known = requests.iter().map(|request| {
            let key = key(request);
            let found = self.results.get(key, asked.kernel);
            found.as_deref().and_then(decode).ok_or(key)
        });
        let known: Known = known.collect();
        let found = known.iter().filter(|answer| answer.is_ok()).count();
        asked.found.fetch_add(found as u64, Ordering::Relaxed);
        Some(known)
    }

    /// Keeps what was answered to requests that were not known.
    pub fn keep(&self, step: usize, known: &Known, answers: &[Answer]) {
        let Some(asked) = self.of_step.get(&step) else {
            return;
        };
        for (known, answer) in known.iter().zip(answers) {
            if let (Err(key), Some(value)) = (known, encode(answer)) {
                asked.kept.fetch_add(1, Ordering::Relaxed);
                self.results.keep(*key, asked.kernel, &value);
            }
        }
    }

    /// Hands what was kept to the system, so that a run which is killed has not asked in vain.
    pub fn flush(&self) {
        // What is lost is asked again; the cache says once that it cannot be written.
        let _ = self.results.cache().flush();
    }

    /// Adds to `records` what was found and kept.
    pub fn count(&self, records: &mut [ServiceRecord]) {
        for asked in self.of_step.values() {
            let mut records = records.iter_mut();
            if let Some(record) = records.find(|record| record.service == asked.service) {
                record.cache_hits += asked.found.load(Ordering::Relaxed);
                record.cache_misses += asked.kept.load(Ordering::Relaxed);
            }
        }
    }
}

/// The requests that are not answered, and all answers if there is none.
pub fn missing(known: &Known, requests: Vec<Request>) -> Result<Vec<Answer>, Vec<Request>> {
    if known.iter().all(Result::is_ok) {
        return Ok(known.iter().flatten().cloned().collect());
    }
    let left = requests.into_iter().zip(known);
    Err(left
        .filter_map(|(request, known)| known.is_err().then_some(request))
        .collect())
}

/// All answers of a row, those that came for what was missing in their places.
pub fn together(known: &Known, came: Vec<Answer>) -> Vec<Answer> {
    let mut came = came.into_iter();
    let all = known.iter().filter_map(|known| match known {
        Ok(answer) => Some(answer.clone()),
        Err(_) => came.next(),
    });
    all.collect()
}

/// What the answers of a model depend on beside the request; `None` if they are not kept.
fn kernel(spec: &OpSpec, service: &Service, runs_on: &str) -> Option<u64> {
    let Service::Model(_) = service else {
        return None;
    };
    let mut described = serde_json::to_value(service).ok()?;
    // Its files count by what is in them.
    if let Value::Object(fields) = &mut described {
        fields.shift_remove("dir");
        fields.shift_remove("model");
    }
    let mut files: Vec<&str> = spec.assets.iter().map(|it| it.xxh3_128.as_str()).collect();
    files.sort_unstable();
    let described = described.to_string();
    Some(ANSWER.id(&[
        described.as_bytes(),
        files.join(" ").as_bytes(),
        runs_on.as_bytes(),
    ]))
}

fn key(request: &Request) -> u128 {
    let mut digest = Xxh3::new();
    digest.update(&(request.head as u64).to_le_bytes());
    digest.update(&request.bytes);
    digest.digest128()
}

fn encode(answer: &Answer) -> Option<Vec<u8>> {
    match answer {
        Answer::Floats(numbers) => {
            let mut out = vec![0];
            out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            Some(out)
        }
        Answer::Text(text) => Some([&[1], text.as_bytes()].concat()),
        Answer::Said(_) => None,
    }
}

fn decode(value: &[u8]) -> Option<Answer> {
    match value.split_first()? {
        (0, numbers) => {
            let (numbers, rest) = numbers.as_chunks::<4>();
            let numbers = numbers.iter().map(|number| f32::from_le_bytes(*number));
            rest.is_empty().then(|| Answer::Floats(numbers.collect()))
        }
        (1, text) => Some(Answer::Text(String::from_utf8(text.to_vec()).ok()?)),
        _ => None,
    }
}
