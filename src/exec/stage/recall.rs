//! Answers of models and servers that other runs got: what was asked before is not asked again.
//!
//! An answer is found by its request. What a model is asked of a row is found by what the row holds
//! where the operator reads it, so that pictures which are known are not made ready again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::Xxh3;

use crate::cache::Results;
use crate::cache::kernel::{ANSWER, ASKED, WORKER_ID};
use crate::image::DECODERS;
use crate::op::{ANY_FIELD, Answer, ImageNeed, OpSpec, Recalls, Request, Said, Service};
use crate::recipe::Step;
use crate::record::ServiceRecord;
use crate::sample::{FieldPath, ImageSlot, Sample, originals};
use crate::service::Memory;

/// The answers that the steps of a phase may find in a cache.
pub struct Recall {
    results: Arc<Results>,
    of_step: BTreeMap<usize, Asked>,
}

/// Whom a step asks.
struct Asked {
    /// What its answers are found by, beside the request.
    kernel: u64,
    /// What its requests are found by, beside the row, if they are kept.
    rows: Option<Rows>,
    service: String,
    found: AtomicU64,
    kept: AtomicU64,
}

/// What tells a step's requests for a row.
struct Rows {
    kernel: u64,
    /// The fields that the operator reads, but for the images.
    fields: Vec<FieldPath>,
    images: bool,
    /// Rows that hold the same are asked about differently.
    each_by_itself: bool,
}

/// Requests of a row as far as they are answered: of each its key, and its answer.
#[derive(Debug, Clone)]
pub struct Known(Vec<(u128, Option<Answer>)>);

/// The special tokens of a recipe, which requests depend on.
pub type Tokens<'a> = [&'a str; 2];

impl Recall {
    /// For the steps that ask models, which run on what `records` say, and servers. Answers of
    /// programs are not kept here: they may be others each time.
    pub fn new<'s>(
        results: Arc<Results>,
        steps: impl Iterator<Item = &'s Step>,
        tokens: Tokens<'_>,
        records: &[ServiceRecord],
    ) -> Self {
        let of_step = steps.filter_map(|step| {
            let service = step.spec.service.as_ref()?;
            let mut records = records.iter();
            let record = records.find(|record| record.service == service.name())?;
            let kernel = kernel(&step.spec, service, &record.runs_on)?;
            let asked = Asked {
                kernel,
                rows: matches!(service, Service::Model(_))
                    .then(|| Rows::of(step, tokens, kernel))
                    .flatten(),
                service: record.service.clone(),
                found: AtomicU64::new(0),
                kept: AtomicU64::new(0),
            };
            Some((step.index, asked))
        });
        Self {
            of_step: of_step.collect(),
            results,
        }
    }

    /// The answers to all that step `step` would ask of a row, if they are known by what the row
    /// holds: the operator need not say what it asks.
    pub fn all_of(&self, step: usize, sample: &Sample) -> Option<Vec<Answer>> {
        let asked = self.of_step.get(&step)?;
        let rows = asked.rows.as_ref()?;
        let kept = self.results.get(rows.key(sample)?, rows.kernel)?;
        let (damage, keys) = kept.split_at_checked(rows.images_of(sample).len())?;
        let (keys, _) = keys.as_chunks::<16>();
        let answers = keys
            .iter()
            .map(|key| self.answer(asked, u128::from_le_bytes(*key)));
        let answers: Vec<Answer> = answers.collect::<Option<_>>()?;
        for (slot, damage) in rows.images_of(sample).iter().zip(damage) {
            if *damage != NOT_DECODED {
                slot.take_as_sound(*damage == DAMAGED);
            }
        }
        let found = answers.len() as u64;
        asked.found.fetch_add(found, Ordering::Relaxed);
        Some(answers)
    }

    /// What is known of the requests of a row by step `step`; `None` if nothing of it is kept.
    pub fn of(&self, step: usize, requests: &[Request]) -> Option<Known> {
        let asked = self.of_step.get(&step)?;
        let known = requests.iter().map(|request| {
            let key = key(request);
            (key, self.answer(asked, key))
        });
        let known: Vec<_> = known.collect();
        let found = known.iter().filter(|(_, answer)| answer.is_some()).count();
        asked.found.fetch_add(found as u64, Ordering::Relaxed);
        Some(Known(known))
    }

    fn answer(&self, asked: &Asked, key: u128) -> Option<Answer> {
        decode(&self.results.get(key, asked.kernel)?)
    }

    /// Keeps what was answered to requests that were not known, and what was asked of the row.
    pub fn keep(&self, step: usize, sample: &Sample, known: &Known, answers: &[Answer]) {
        let Some(asked) = self.of_step.get(&step) else {
            return;
        };
        for ((key, known), answer) in known.0.iter().zip(answers) {
            if known.is_none()
                && let Some(value) = encode(answer)
            {
                asked.kept.fetch_add(1, Ordering::Relaxed);
                self.results.keep(*key, asked.kernel, &value);
            }
        }
        if let Some(rows) = &asked.rows
            && let Some(row) = rows.key(sample)
            && self.results.get(row, rows.kernel).is_none()
        {
            // How each image was found, then what was asked.
            let damage = rows.images_of(sample).iter();
            let damage = damage.map(|slot| match slot.known_damage() {
                None => NOT_DECODED,
                Some(false) => SOUND,
                Some(true) => DAMAGED,
            });
            let keys = known.0.iter().flat_map(|(key, _)| key.to_le_bytes());
            let kept: Vec<u8> = damage.chain(keys).collect();
            self.results.keep(row, rows.kernel, &kept);
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

/// What runs learn of workers, kept with their results.
#[derive(Debug)]
pub struct Workers(pub Arc<Results>);

impl Memory for Workers {
    fn recall(&self, key: u128) -> Option<Vec<u8>> {
        self.0.get(key, *WORKER_ID)
    }

    fn keep(&self, key: u128, value: &[u8]) {
        self.0.keep(key, *WORKER_ID, value);
    }
}

/// What is known of the rows of one step.
pub struct OfStep<'a>(pub &'a Recall, pub usize);

impl fmt::Debug for OfStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OfStep")
            .field(&self.1)
            .finish_non_exhaustive()
    }
}

impl Recalls for OfStep<'_> {
    fn answers(&self, sample: &Sample) -> Option<Vec<Answer>> {
        self.0.all_of(self.1, sample)
    }
}

impl Known {
    /// All answers, if none is missing; else the requests that are not answered.
    pub fn missing(&self, requests: Vec<Request>) -> Result<Vec<Answer>, Vec<Request>> {
        let answers = self.0.iter().map(|(_, answer)| answer.clone());
        if let Some(all) = answers.collect() {
            return Ok(all);
        }
        let left = requests.into_iter().zip(&self.0);
        let left = left.filter(|(_, (_, answer))| answer.is_none());
        Err(left.map(|(request, _)| request).collect())
    }

    /// All answers of a row, those that came for what was missing in their places.
    pub fn together(&self, came: Vec<Answer>) -> Vec<Answer> {
        let mut came = came.into_iter();
        let all = self
            .0
            .iter()
            .filter_map(|(_, known)| known.clone().or_else(|| came.next()));
        all.collect()
    }
}

/// What answers depend on beside the request; `None` if they are not kept.
fn kernel(spec: &OpSpec, service: &Service, runs_on: &str) -> Option<u64> {
    let mut described = serde_json::to_value(service).ok()?;
    match service {
        // Its files count by what is in them.
        Service::Model(_) => {
            let fields = described.as_object_mut()?;
            fields.shift_remove("dir");
            fields.shift_remove("model");
            let files = files(spec);
            let described = described.to_string();
            Some(ANSWER.id(&[described.as_bytes(), files.as_bytes(), runs_on.as_bytes()]))
        }
        // Whichever address answers.
        Service::Endpoint(_) => Some(ANSWER.id(&[described.to_string().as_bytes()])),
        Service::Program(_) | Service::Peer(_) => None,
    }
}

/// The files that an operator read, by their contents.
fn files(spec: &OpSpec) -> String {
    let mut files: Vec<&str> = spec.assets.iter().map(|it| it.xxh3_128.as_str()).collect();
    files.sort_unstable();
    files.join(" ")
}

/// What a model was shown of an image, as it is kept.
const NOT_DECODED: u8 = 0;
const SOUND: u8 = 1;
const DAMAGED: u8 = 2;

impl Rows {
    /// The images of a row that it is told by.
    fn images_of<'s>(&self, sample: &'s Sample) -> &'s [ImageSlot] {
        if !self.images {
            // Looking at them would be told of the row.
            return &[];
        }
        sample.images().unwrap_or_default()
    }

    /// For a step whose answers have this kernel; `None` if what it reads is not known.
    fn of(step: &Step, tokens: Tokens<'_>, answers: u64) -> Option<Self> {
        let spec = &step.spec;
        if spec.reads.iter().any(|name| name == ANY_FIELD) {
            return None;
        }
        // What decides, and asks nothing.
        let mut params = step.params.clone();
        for bound in spec.stats.iter().flat_map(crate::op::Stat::bounds) {
            params.shift_remove(bound.param);
        }
        let image_key = step.base.image_key.as_str();
        let images = spec.images != ImageNeed::None;
        let asks = step.operator.asks()?;
        let described = serde_json::to_string(&(
            (spec.name, spec.version, &params, tokens),
            (&spec.reads, image_key, step.base.draw),
        ));
        Some(Self {
            kernel: ASKED.id(&[
                DECODERS.as_bytes(),
                described.ok()?.as_bytes(),
                files(spec).as_bytes(),
                &answers.to_le_bytes(),
            ]),
            fields: spec
                .reads
                .iter()
                .filter(|name| !images || *name != image_key)
                .map(FieldPath::new)
                .collect(),
            images,
            each_by_itself: asks.each_row_by_itself(),
        })
    }

    /// What a row is found by; `None` if it cannot be told.
    fn key(&self, sample: &Sample) -> Option<u128> {
        let mut digest = Xxh3::new();
        if self.each_by_itself {
            digest.update(&sample.origin().identity().to_le_bytes());
        }
        for field in &self.fields {
            // A field that is not there is told from null.
            let value = sample.value(field).ok()?;
            let text = value.map_or_else(String::new, |value| value.to_string());
            digest.update(&(text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        }
        if self.images {
            let slots = sample.images().ok()?;
            for (slot, first) in slots.iter().zip(originals(slots)) {
                // Which images are one.
                let place = slots.iter().position(|other| std::ptr::eq(other, first))?;
                digest.update(&(place as u64).to_le_bytes());
                digest.update(&first.content_digest()?.to_le_bytes());
                let as_stored = slot.attached().is_some_and(|it| it.as_stored);
                digest.update(&[u8::from(as_stored)]);
            }
        }
        Some(digest.digest128())
    }
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
        // What is nothing may be something the next time.
        Answer::Said(said) if said.text.is_empty() => None,
        Answer::Said(said) => {
            let mut out = vec![2];
            for tokens in [said.tokens_in, said.tokens_out, said.tokens] {
                out.extend(tokens.to_le_bytes());
            }
            out.extend_from_slice(said.text.as_bytes());
            Some(out)
        }
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
        (2, said) => {
            let (tokens, text) = said.split_at_checked(24)?;
            let (tokens, _) = tokens.as_chunks::<8>();
            let &[tokens_in, tokens_out, tokens] = tokens else {
                return None;
            };
            Some(Answer::Said(Said {
                text: String::from_utf8(text.to_vec()).ok()?,
                tokens_in: u64::from_le_bytes(tokens_in),
                tokens_out: u64::from_le_bytes(tokens_out),
                tokens: u64::from_le_bytes(tokens),
            }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    /// The version of [`ANSWER`], and what answers depend on: the worker that computes them. If what it
    /// computes has changed, raise the version; write both here.
    const COMPUTED: (u32, u64) = (1, 0x041b_a727_f5cb_f6f8);

    #[test]
    fn answers_are_computed_in_another_way_with_another_version_only() {
        let worker = include_str!("../../service/worker.py");
        let found = (ANSWER.version, xxh3_64(worker.as_bytes()));
        assert_eq!(found, COMPUTED, "{found:#x?}");
    }

    #[test]
    fn answers_are_kept_as_their_version_says() {
        assert_eq!(ANSWER.version, 1);
        let said = Said {
            text: "yes".to_owned(),
            tokens_in: 3,
            tokens_out: 1,
            tokens: 4,
        };
        let kept = [
            (
                Answer::Floats(vec![1.0, -0.5]),
                vec![0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xbf],
            ),
            (Answer::Text("é".to_owned()), vec![1, 0xc3, 0xa9]),
            (
                Answer::Said(said),
                [
                    &[2, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4][..],
                    &[0, 0, 0, 0, 0, 0, 0],
                    b"yes",
                ]
                .concat(),
            ),
        ];
        for (answer, bytes) in kept {
            assert_eq!(encode(&answer).unwrap(), bytes);
            assert_eq!(decode(&bytes).unwrap(), answer);
        }
        assert_eq!(encode(&Answer::Said(Said::default())), None);
    }
}
