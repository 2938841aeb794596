//! What a worker thread does with a batch of an analysis: every row is measured by every filter,
//! none is dropped, and its images and its caption are looked at.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::Value;

use super::among::{Judged, StepMeasures, sees_all_rows};
use super::stat::{Shape, Stat, numbers_of};
use crate::exec::driver::Worked;
use crate::exec::{Asking, FieldWatch, FieldsSeen, Suffixes, enter, panic_message};
use crate::io::{RawBatch, RawLine};
use crate::note::Code;
use crate::op::{Answer, OpKind, Outcome, Request, Setting};
use crate::recipe::Step;
use crate::record::analysis::RowExample;
use crate::record::stats::{IMAGES, InputRef, READ};
use crate::record::{StatsError, StatsRow, StepNumber};
use crate::sample::{
    FieldPath, ImageCheck, ImageContext, ImageSlot, Origin, RowError, Sample, StatValue, Stats,
    python_json, read_row, simplify,
};
use crate::text::Words;

/// How many characters of a text an example shows.
const EXAMPLE_CHARS: usize = 300;

/// How many words of a caption its template keeps.
const TEMPLATE_WORDS: usize = 3;

/// What is done with each row.
pub struct Pass<'a> {
    /// The steps of the recipe.
    pub steps: &'a [Step],
    /// The stats of its filters, each once.
    pub stats: &'a [Stat],
    /// Names of the inputs.
    pub inputs: &'a [String],
    /// The text field, if rows have one.
    pub text_key: FieldPath,
    /// Tokens that are no part of a caption.
    pub tokens: [&'a str; 2],
    /// How images are found.
    pub context: Arc<ImageContext>,
    /// How far images are looked at.
    pub images: ImageCheck,
    /// Round stats as Data-Juicer 1.6.1 does.
    pub ujson: bool,
    /// The longest text, in bytes, that each step may be given, if that is bounded.
    pub longest: Vec<Option<u64>>,
    /// Looks for the fields that rows are asked for.
    pub watch: FieldWatch,
    /// What rows are told of the suffixes of their inputs.
    pub suffixes: Option<Suffixes>,
}

/// What a batch showed; columns hold rows in order.
#[derive(Debug, Default)]
pub struct Measures {
    /// Rows.
    pub rows: u64,
    /// Bytes of rows.
    pub bytes: u64,
    /// Rows that could not be read, by reason.
    pub unreadable: BTreeMap<&'static str, u64>,
    /// Steps that could not measure or change a row, by step and reason.
    pub errors: BTreeMap<(usize, &'static str), u64>,
    /// Which fields rows have.
    pub fields: FieldsSeen,
    /// What is noted of rows at a step, and of how many.
    pub remarks: BTreeMap<(usize, Code), u64>,
    /// What each step says of each row, if some step decides among all rows.
    pub judged: Option<Judged>,
    /// One line of `stats.jsonl` a row.
    pub lines: Vec<u8>,
    /// One entry a stat.
    pub stats: Vec<StatMeasures>,
    /// One entry a step.
    pub steps: Vec<StepMeasures>,
    /// The images.
    pub images: ImageMeasures,
    /// The captions.
    pub captions: CaptionMeasures,
    /// For each row: an example of it as JSON, ended by a newline.
    pub examples: Vec<u8>,
}

/// A stat over the rows of a batch.
#[derive(Debug, Default)]
pub struct StatMeasures {
    /// Rows that have it.
    pub rows: u64,
    /// Rows that the filter drops because of it.
    pub would_drop: u64,
    /// Its numbers.
    pub numbers: Vec<f64>,
    /// Its values that are no numbers.
    pub others: Vec<String>,
    /// Those because of which the filter drops the row.
    pub others_dropped: Vec<String>,
    /// What its values look like.
    pub shape: Shape,
}

/// The images of a batch.
#[derive(Debug, Default)]
pub struct ImageMeasures {
    /// Images of rows, repetitions included.
    pub references: u64,
    /// Rows without images.
    pub rows_without: u64,
    /// Rows whose image field is not understood, by reason.
    pub bad_fields: BTreeMap<&'static str, u64>,
    /// Images that are no files or do not decode, by reason.
    pub broken: BTreeMap<&'static str, u64>,
    /// Formats by content.
    pub formats: BTreeMap<&'static str, u64>,
    /// Widths in pixels.
    pub width: Vec<f64>,
    /// Heights in pixels.
    pub height: Vec<f64>,
    /// Width by height.
    pub aspect: Vec<f64>,
    /// Sizes of files.
    pub bytes: Vec<f64>,
    /// For each reference: the row in the batch, a hash of its path, and of its content if that
    /// was read.
    pub hashes: Vec<(u32, u64, Option<u64>)>,
}

/// The captions of a batch.
#[derive(Debug, Default)]
pub struct CaptionMeasures {
    /// Rows with an empty caption.
    pub empty: u64,
    /// Rows without a text.
    pub missing: u64,
    /// Characters.
    pub characters: Vec<f64>,
    /// Words.
    pub words: Vec<f64>,
    /// All words in order, a space between two.
    pub vocabulary: String,
    /// One template a caption, a newline behind each.
    pub templates: String,
    /// For each row: a hash of its text, if it has one.
    pub hashes: Vec<Option<u64>>,
}

/// What one row showed.
struct Row {
    /// The stats as they were measured, one entry a stat.
    stats: Vec<Option<StatValue>>,
    errors: Vec<(usize, RowError)>,
    /// For each step: which stat made its filter drop the row.
    drops: Vec<(usize, Option<usize>)>,
    first_drop: Option<usize>,
    /// What steps noted of it.
    remarks: Vec<(usize, Code)>,
    text: Option<String>,
    images: Vec<Seen>,
    image_field: Result<(), RowError>,
    id: Option<Value>,
}

/// What was seen of an image.
struct Seen {
    written: String,
    path: u64,
    content: Option<u64>,
    size: Option<u64>,
    header: Option<crate::image::Header>,
    problem: Option<RowError>,
}

/// A row on its way, or at its end.
enum Slot {
    Done(Origin, Box<Result<Row, RowError>>),
    /// The step that it is in asks about it.
    Waits(Box<WaitingRow>),
}

struct WaitingRow {
    sample: Sample,
    row: Row,
    step: usize,
    requests: Vec<Request>,
    answers: Option<Result<Vec<Answer>, RowError>>,
    /// What the step was answered before, if it asks again.
    answered: Vec<Answer>,
}

/// A batch some of whose rows wait for services.
pub struct WaitingBatch {
    out: Measures,
    slots: Vec<Slot>,
}

impl WaitingBatch {
    fn waiting(&mut self) -> impl Iterator<Item = &mut WaitingRow> {
        self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Done(..) => None,
            Slot::Waits(row) => Some(&mut **row),
        })
    }
}

impl Asking for WaitingBatch {
    fn take_requests(&mut self) -> Vec<(usize, Vec<Request>)> {
        self.waiting()
            .map(|row| (row.step, std::mem::take(&mut row.requests)))
            .collect()
    }

    fn answer(&mut self, answers: Vec<Result<Vec<Answer>, RowError>>) {
        for (row, answers) in self.waiting().zip(answers) {
            row.answers = Some(answers.map(|now| {
                let mut all = std::mem::take(&mut row.answered);
                all.extend(now);
                all
            }));
        }
    }
}

impl Pass<'_> {
    /// Measures the rows of a batch, as far as it goes without a service.
    #[must_use]
    pub fn start(&self, batch: &RawBatch) -> Worked<WaitingBatch, Measures> {
        let mut out = Measures {
            stats: self.stats.iter().map(|_| StatMeasures::default()).collect(),
            steps: vec![StepMeasures::default(); self.steps.len()],
            bytes: batch.data.len() as u64,
            judged: self.sees_all_rows().then(|| Judged::new(self.steps.len())),
            ..Measures::default()
        };
        let mut slots = Vec::with_capacity(batch.lines.len());
        for line in &batch.lines {
            let fields = &mut out.fields;
            let begun = line
                .problem
                .clone()
                .map_or(Ok(()), Err)
                .and_then(|()| Self::guarded(|| self.begin(batch.bytes(line), line, fields)));
            slots.push(match begun {
                Ok((sample, row)) => self.measured(sample, row, 0, None),
                Err(error) => Slot::Done(line.origin, Box::new(Err(error))),
            });
        }
        self.settle(out, slots)
    }

    /// Goes on with a batch whose requests are answered.
    #[must_use]
    pub fn go_on(&self, batch: WaitingBatch) -> Worked<WaitingBatch, Measures> {
        let slots = batch.slots.into_iter().map(|slot| match slot {
            Slot::Waits(waiting) => {
                let WaitingRow {
                    sample,
                    row,
                    step,
                    answers,
                    ..
                } = *waiting;
                self.measured(sample, row, step, answers)
            }
            done @ Slot::Done(..) => done,
        });
        let slots = slots.collect();
        self.settle(batch.out, slots)
    }

    /// What is known of the rows of a batch, once none of them waits any more.
    fn settle(&self, mut out: Measures, slots: Vec<Slot>) -> Worked<WaitingBatch, Measures> {
        let asked = slots.iter().flat_map(|slot| match slot {
            Slot::Done(..) => [].as_slice(),
            Slot::Waits(row) => row.requests.as_slice(),
        });
        let bytes: usize = asked.map(|request| request.bytes.len()).sum();
        if slots.iter().any(|slot| matches!(slot, Slot::Waits(_))) {
            return Worked::Waits(WaitingBatch { out, slots }, bytes);
        }
        for slot in slots {
            if let Slot::Done(origin, row) = slot {
                self.enter(origin, *row, &mut out);
            }
        }
        Worked::Done(out)
    }

    /// Whether some step decides among all rows.
    fn sees_all_rows(&self) -> bool {
        self.steps.iter().any(sees_all_rows)
    }

    fn guarded<T>(run: impl FnOnce() -> Result<T, RowError>) -> Result<T, RowError> {
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let message = panic_message(panic.as_ref());
            Err(RowError::new("internal_panic", message))
        })
    }

    /// A row before its first step.
    fn begin(
        &self,
        bytes: &[u8],
        line: &RawLine,
        fields: &mut FieldsSeen,
    ) -> Result<(Sample, Row), RowError> {
        let sample = read_row(bytes.into(), line.origin, &self.context).map_err(|row| row.error)?;
        let mut sample = sample.with_attached(line.attached.clone());
        self.watch.look(&sample, fields);
        enter(&mut sample, self.suffixes.as_ref())?;
        let mut row = Row {
            stats: Vec::new(),
            errors: Vec::new(),
            drops: Vec::new(),
            first_drop: None,
            remarks: Vec::new(),
            text: None,
            images: Vec::new(),
            image_field: Ok(()),
            id: sample.value(&FieldPath::new("id")).ok().flatten(),
        };
        // Images come first: a filter that takes pixels gives the file's bytes back.
        match sample.images() {
            Ok(slots) => row.images = slots.iter().map(|slot| self.look_at(slot)).collect(),
            Err(error) => row.image_field = Err(error),
        }
        Ok((sample, row))
    }

    /// A row after the steps from `from` on, the first of them with its answers if it asked.
    fn measured(
        &self,
        mut sample: Sample,
        mut row: Row,
        from: usize,
        answers: Option<Result<Vec<Answer>, RowError>>,
    ) -> Slot {
        let origin = sample.origin();
        let asked = Self::guarded(|| {
            let asked = self.measure(&mut sample, &mut row, from, answers);
            if asked.is_none() {
                row.text = sample
                    .text(&self.text_key)
                    .ok()
                    .flatten()
                    .map(std::borrow::Cow::into_owned);
                let measured = self.stats.iter();
                let measured = measured.map(|stat| sample.stats.exact(&stat.name).cloned());
                row.stats = measured.collect();
            }
            Ok(asked)
        });
        match asked {
            Ok(Some((step, requests, answered))) => {
                sample.release_images();
                Slot::Waits(Box::new(WaitingRow {
                    sample,
                    row,
                    step,
                    requests,
                    answers: None,
                    answered,
                }))
            }
            Ok(None) => Slot::Done(origin, Box::new(Ok(row))),
            Err(error) => Slot::Done(origin, Box::new(Err(error))),
        }
    }

    /// Runs the mappers and measures by the filters, all of them from `from` on; ends early at one
    /// that asks a service.
    fn measure(
        &self,
        sample: &mut Sample,
        row: &mut Row,
        from: usize,
        mut answers: Option<Result<Vec<Answer>, RowError>>,
    ) -> Option<(usize, Vec<Request>, Vec<Answer>)> {
        for (number, step) in self.steps.iter().enumerate().skip(from) {
            // What decides among rows measures none; the rest was refused.
            if !matches!(step.spec.kind, OpKind::Mapper | OpKind::Filter) {
                continue;
            }
            let run = |answers: Option<&[Answer]>, sample: &mut Sample| {
                let setting = Setting {
                    longest: self.longest.get(number).copied().flatten(),
                    ujson: self.ujson,
                    collects: sees_all_rows(step),
                    answers,
                    ..Setting::default()
                };
                step.operator.run(&step.spec, sample, &setting)
            };
            let answered = answers.take().transpose();
            let outcome = match &answered {
                Ok(answers) => run(answers.as_deref(), sample),
                Err(error) => Err(error.clone()),
            };
            let remarks = sample.take_remarks();
            let told = [Code::StatCameAlong, Code::StatMeasuredAgain];
            let told = told.into_iter().filter(|code| remarks.contains(*code));
            row.remarks.extend(told.map(|code| (number, code)));
            match outcome {
                Ok(Outcome::Asks(requests)) => {
                    let answered = answered.ok().flatten().unwrap_or_default();
                    return Some((number, requests, answered));
                }
                Ok(Outcome::Dropped(decision)) => {
                    let stat = self.stats.iter().position(|s| s.name == decision.stat);
                    row.drops.push((number, stat));
                    if row.first_drop.is_none() && row.errors.is_empty() {
                        row.first_drop = Some(number);
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    row.errors.push((number, error));
                    if step.spec.kind == OpKind::Mapper {
                        // What stands behind would measure a text that the recipe never sees.
                        return None;
                    }
                }
            }
        }
        None
    }

    fn look_at(&self, slot: &ImageSlot) -> Seen {
        // However a row writes it, one place is one path.
        let place = simplify(slot.path().to_owned());
        let mut seen = Seen {
            written: slot.written().to_owned(),
            path: xxhash_rust::xxh3::xxh3_64(place.as_os_str().as_encoded_bytes()),
            content: None,
            size: None,
            header: None,
            problem: None,
        };
        let outcome = (|| {
            if self.images >= ImageCheck::Exists {
                seen.size = Some(slot.file_size()?);
            }
            if self.images >= ImageCheck::Decode {
                seen.content = Some(slot.digest()?);
            }
            if self.images >= ImageCheck::Header {
                seen.header = Some(slot.header()?);
            }
            slot.check(self.images)
        })();
        seen.problem = outcome.err();
        seen
    }

    fn enter(&self, origin: Origin, row: Result<Row, RowError>, out: &mut Measures) {
        let index = u32::try_from(out.rows).unwrap_or(u32::MAX);
        out.rows += 1;
        match row {
            Ok(row) => {
                self.write_line(origin, &row, &mut out.lines);
                self.write_example(origin, &row, &mut out.examples);
                Self::enter_stats(&row, out);
                for remark in &row.remarks {
                    *out.remarks.entry(*remark).or_default() += 1;
                }
                if let Some(judged) = &mut out.judged {
                    let drops = row.drops.iter().map(|(step, _)| *step);
                    judged.push(drops, row.errors.iter().map(|(step, _)| *step));
                }
                enter_images(index, &row, &mut out.images);
                self.enter_caption(&row, &mut out.captions);
            }
            Err(error) => {
                *out.unreadable.entry(error.code).or_default() += 1;
                out.judged.iter_mut().for_each(Judged::push_unread);
                let line = StatsRow {
                    errors: vec![StatsError {
                        by: READ.into(),
                        step: None,
                        code: error.code.into(),
                    }],
                    ..self.line(origin)
                };
                line.write(&mut out.lines);
                put(&self.example(origin), &mut out.examples);
                out.captions.hashes.push(None);
            }
        }
    }

    fn enter_stats(row: &Row, out: &mut Measures) {
        for (stat, value) in out.stats.iter_mut().zip(&row.stats) {
            let Some(value) = value else { continue };
            stat.rows += 1;
            stat.shape.see(value);
            match numbers_of(value) {
                Some(numbers) => stat
                    .numbers
                    .extend(numbers.into_iter().filter(|n| n.is_finite())),
                None => stat.others.push(as_word(value)),
            }
        }
        for (step, error) in &row.errors {
            *out.errors.entry((*step, error.code)).or_default() += 1;
        }
        for &(step, stat) in &row.drops {
            if let Some(step) = out.steps.get_mut(step) {
                step.alone += 1;
            }
            let Some(stat) = stat else { continue };
            let value = row.stats.get(stat).and_then(Option::as_ref);
            if let Some(stat) = out.stats.get_mut(stat) {
                stat.would_drop += 1;
                let word = value.filter(|value| numbers_of(value).is_none());
                stat.others_dropped.extend(word.map(as_word));
            }
        }
        if let Some(step) = row.first_drop.and_then(|step| out.steps.get_mut(step)) {
            step.in_sequence += 1;
        }
    }

    fn enter_caption(&self, row: &Row, out: &mut CaptionMeasures) {
        let Some(text) = &row.text else {
            out.missing += 1;
            out.hashes.push(None);
            return;
        };
        out.hashes
            .push(Some(xxhash_rust::xxh3::xxh3_64(text.as_bytes())));
        let caption = self.caption(text);
        let caption = caption.trim();
        if caption.is_empty() {
            out.empty += 1;
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let number = |count: i64| count as f64;
        out.characters
            .push(number(crate::text::char_count(caption)));
        let words = Words::of(caption);
        out.words
            .push(number(i64::try_from(words.len()).unwrap_or(i64::MAX)));
        for word in words.iter() {
            out.vocabulary.push_str(word);
            out.vocabulary.push(' ');
        }
        if words.len() > TEMPLATE_WORDS {
            let opening = words.runs(TEMPLATE_WORDS).next().unwrap_or_default();
            out.templates.push_str(opening);
            out.templates.push_str(" …\n");
        }
    }

    /// The text without special tokens.
    fn caption<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut caption = Cow::Borrowed(text);
        for token in self.tokens {
            if !token.is_empty() && caption.contains(token) {
                caption = caption.replace(token, " ").into();
            }
        }
        caption
    }

    fn place(&self, origin: Origin) -> &str {
        self.inputs
            .get(origin.file as usize)
            .map_or("", String::as_str)
    }

    /// What `stats.jsonl` says of the row at `origin` before anything is known of it.
    fn line(&self, origin: Origin) -> StatsRow<'_, Stats> {
        StatsRow {
            file: InputRef::Name(self.place(origin).into()),
            line: origin.line,
            offset: origin.offset,
            id: None,
            stats: Stats::default(),
            images_decode: None,
            errors: Vec::new(),
        }
    }

    /// One line of `stats.jsonl`, its stats in the order of the recipe.
    fn write_line(&self, origin: Origin, row: &Row, out: &mut Vec<u8>) {
        let mut line = StatsRow {
            id: row.id.as_ref().map(Cow::Borrowed),
            ..self.line(origin)
        };
        for (stat, value) in self.stats.iter().zip(&row.stats) {
            if let Some(value) = value {
                line.stats.set(stat.name.clone(), value.clone());
            }
        }
        if self.images == ImageCheck::Decode {
            let sound = row.image_field.is_ok() && row.images.iter().all(|i| i.problem.is_none());
            line.images_decode = Some(sound);
        }
        let of_steps = row.errors.iter().map(|(step, error)| StatsError {
            by: self.step_name(*step).into(),
            step: Some(StepNumber::at(*step)),
            code: error.code.into(),
        });
        let images = row.images.iter().filter_map(|image| image.problem.as_ref());
        let of_images = row.image_field.as_ref().err().into_iter().chain(images);
        let of_images = of_images.map(|error| StatsError {
            by: IMAGES.into(),
            step: None,
            code: error.code.into(),
        });
        line.errors = of_steps.chain(of_images).collect();
        line.write(out);
    }

    fn write_example(&self, origin: Origin, row: &Row, out: &mut Vec<u8>) {
        let text = row.text.as_ref().map(|text| {
            let mut short: String = text.chars().take(EXAMPLE_CHARS).collect();
            if short.len() < text.len() {
                short.push('…');
            }
            short
        });
        let example = RowExample {
            id: row.id.clone().unwrap_or_default(),
            text,
            images: row.images.iter().map(|i| i.written.clone()).collect(),
            ..self.example(origin)
        };
        put(&example, out);
    }

    /// What is shown of the row at `origin` if nothing is known of it.
    fn example(&self, origin: Origin) -> RowExample {
        RowExample {
            file: self.place(origin).to_owned(),
            line: origin.line,
            offset: origin.offset,
            ..RowExample::default()
        }
    }

    fn step_name(&self, step: usize) -> &'static str {
        self.steps.get(step).map_or("", |step| step.name)
    }
}

/// A value that is no number, as it is listed.
fn as_word(value: &StatValue) -> String {
    match value.to_json() {
        Value::String(text) => text,
        other => python_json(&other),
    }
}

fn put(example: &RowExample, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(&mut *out, example);
    out.push(b'\n');
}

fn enter_images(index: u32, row: &Row, out: &mut ImageMeasures) {
    if let Err(error) = &row.image_field {
        *out.bad_fields.entry(error.code).or_default() += 1;
    }
    out.rows_without += u64::from(row.image_field.is_ok() && row.images.is_empty());
    for image in &row.images {
        out.references += 1;
        out.hashes.push((index, image.path, image.content));
        if let Some(problem) = &image.problem {
            *out.broken.entry(problem.code).or_default() += 1;
        }
        #[expect(clippy::cast_precision_loss, reason = "no file has 2^53 bytes")]
        out.bytes.extend(image.size.map(|size| size as f64));
        if let Some(header) = &image.header {
            *out.formats.entry(header.format.name()).or_default() += 1;
            let (width, height) = (f64::from(header.width), f64::from(header.height));
            out.width.push(width);
            out.height.push(height);
            out.aspect.push(width / height);
        }
    }
}
