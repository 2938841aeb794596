//! Looking at a dataset before it is cut: every stat of every row in one pass, nothing dropped.
//!
//! Worker threads measure batches (`pass`), the ordered step writes a line of stats for each
//! row and sets numbers aside on disk (`column`), and at the end each column is read back on
//! its own and summarised. `docs/ANALYSIS.md` describes the files.

mod among;
pub mod column;
mod default;
mod groups;
pub mod live;
mod parquet;
mod pass;
pub mod recut;
pub mod stat;
mod stat_column;
pub mod stored;
pub mod suggest;
mod tally;
pub mod trial;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::Ordering;

pub use among::StepMeasures;
pub use default::default_recipe;

use self::among::{Dropped, Judged, sees_all_rows};
use self::column::{Column, Spill};
use self::groups::Groups;
use self::pass::{Measures, Pass, WaitingBatch};
use self::stat::{Shape, Stat, bounds_of, stats_of};
use self::tally::Tally;
use crate::exec::driver::{Job, Stages};
use crate::exec::setup::AnswersFile;
use crate::exec::{
    Batcher, FieldWatch, Moment, Observer, RunError, RunOptions, count_note, found_notes, remember,
    setup, write_error,
};
use crate::io::lock::{unix_now, utc};
use crate::io::source::fingerprints;
use crate::io::{Input, LineSource, PendingFile};
use crate::layout::{AnalysisFiles, AnalysisKind};
use crate::note::{Code, Note};
use crate::op::{ImageNeed, OpKind};
use crate::plan::{self, Plan};
use crate::recipe::Recipe;
use crate::record::analysis::{
    Counts, FilterRecord, Found, ImagesRecord, Rows, StatRecord, StepError, TextRecord,
};
use crate::record::counts::FromData;
use crate::record::ordered::Ordered;
use crate::record::version::CURRENT;
use crate::record::{Analysis, InputRecord, RunReport, ServiceRecord, StepCounts, StepNumber};
use crate::sample::{FieldPath, ImageCheck};

/// How many words, templates and values are shown.
const SHOWN: usize = 50;

/// Measures every row of the inputs of `recipe` by its filters, looks at images as far as
/// `images`, and writes the analysis, which it returns as well.
///
/// # Errors
/// If an input cannot be read, a file cannot be written, or a signal says stop.
pub fn analyze(
    recipe: &Recipe,
    options: &RunOptions,
    images: ImageCheck,
    files: &AnalysisFiles,
    observer: &mut dyn Observer,
) -> Result<Analysis, RunError> {
    let failed = |e| write_error(files.dir.display(), e);
    let started = utc(unix_now());
    std::fs::create_dir_all(&files.dir).map_err(failed)?;
    let pool = setup::pool(recipe, options)?;
    let results = setup::results(recipe, options)?;
    let inputs = setup::inputs(recipe);
    let prints = fingerprints(&inputs)?;
    let names: Vec<String> = inputs.iter().map(Input::name).collect();
    let stats = stats_of(&recipe.steps);
    let foreseen = plan::foresee(recipe);
    let of_steps = recipe.steps.iter().map(|step| step.spec.images);
    let want = of_steps.chain([need_of(images)]).max().unwrap_or_default();
    let pass = Pass {
        steps: &recipe.steps,
        stats: &stats,
        inputs: &names,
        text_key: FieldPath::new(recipe.text_keys.first().map_or("text", String::as_str)),
        tokens: [&recipe.image_special_token, &recipe.eoc_special_token],
        context: setup::with_results(
            setup::image_context(recipe, &inputs, &options.working_dir, want),
            results.as_ref(),
        ),
        images,
        ujson: recipe.rounds_stats(),
        longest: options.longest_texts(recipe),
        watch: FieldWatch::new(&foreseen.asked),
        suffixes: setup::suffixes(recipe, &inputs),
    };
    let (batch_rows, limit) = setup::limits(
        pool.current_num_threads(),
        options,
        want > ImageNeed::Header,
    );
    let mut book = Book::create(recipe, &stats, files).map_err(failed)?;
    let mut lines = LineSource::new(inputs.clone()).bounded(options.longest_row(recipe));
    let mut report = RunReport::default();
    let asked = || {
        let steps = recipe.steps.iter().enumerate();
        steps.filter_map(|(number, step)| Some((number, step.spec.service.as_ref()?)))
    };
    let threads = pool.current_num_threads();
    let answers = AnswersFile::of_run(files.answers(), options);
    let host = setup::host(recipe, options, threads, Some(&answers))?;
    let batcher = Batcher::<WaitingBatch>::open(asked(), &host)?.until(&options.interrupted);
    let stages = Stages {
        pool: &pool,
        limit: setup::with_services(limit, batch_rows, asked().map(|(_, service)| service)),
        lanes: &batcher,
    };
    stages.run(
        || {
            if options.interrupted.load(Ordering::Relaxed) {
                return Err(RunError::Interrupted);
            }
            let batch = lines.next_unwritten(batch_rows, setup::BATCH_BYTES)?;
            Ok(batch.map(|batch| {
                let size = batch.size();
                (batch, size)
            }))
        },
        |job| {
            Some(match job {
                Job::New(mut batch) => {
                    batch.write_columns();
                    pass.start(&batch)
                }
                Job::On(batch) => pass.go_on(batch),
            })
        },
        |measures: Measures| {
            book.add(&measures).map_err(failed)?;
            report.seen.fields |= measures.fields.there;
            for field in &measures.fields.held {
                remember(&mut report.seen.held, &field.name, field.is_text);
            }
            for ((step, code), rows) in &measures.remarks {
                report
                    .steps
                    .resize_with(recipe.steps.len(), StepCounts::default);
                if let Some(counts) = report.steps.get_mut(*step) {
                    count_note(counts, *code, *rows);
                }
            }
            report.rows_in += measures.rows;
            report.unreadable += measures.unreadable.values().sum::<u64>();
            report.bytes_in += measures.bytes;
            observer.progress(&Moment::reading(0, 1, &report));
            Ok(())
        },
    )?;
    batcher.finish()?;
    book.services = batcher.records();
    let inputs: Vec<InputRecord> = inputs
        .iter()
        .zip(&prints)
        .zip(lines.summaries())
        .map(|((input, print), read)| InputRecord::of(input, print.as_ref(), read))
        .collect();
    let found = found_notes(recipe, &foreseen, &report);
    book.notes = foreseen.notes.into_iter().chain(found).collect();
    if let Some(results) = &results {
        let _ = results.cache().finish();
        let troubles = results.cache().troubles().into_iter();
        let notes = troubles.map(|trouble| Note::new(Code::CacheTrouble, trouble));
        book.notes.extend(notes);
    }
    let mut task = |what: &str, done: usize, all: usize| {
        observer.progress(&Moment {
            task: Some((what, done as u64, all as u64)),
            ..Moment::reading(0, 1, &report)
        });
    };
    let read = Read {
        inputs,
        images,
        started,
        command: options.command.clone(),
    };
    book.finish(recipe, &stats, read, files, &mut task)
        .map_err(failed)
}

fn need_of(check: ImageCheck) -> ImageNeed {
    match check {
        ImageCheck::None => ImageNeed::None,
        ImageCheck::Exists => ImageNeed::FileSize,
        ImageCheck::Header => ImageNeed::Header,
        ImageCheck::Decode => ImageNeed::Scaled,
    }
}

/// What was read.
struct Read {
    inputs: Vec<InputRecord>,
    /// When that was begun, in UTC.
    started: String,
    /// The command line.
    command: Vec<String>,
    /// How far images were looked at.
    images: ImageCheck,
}

/// The account of an analysis.
struct Book {
    rows: u64,
    unreadable: BTreeMap<&'static str, u64>,
    errors: BTreeMap<(usize, &'static str), u64>,
    lines: PendingFile,
    stats: Vec<StatBook>,
    steps: Vec<StepMeasures>,
    images: ImageBook,
    captions: CaptionBook,
    groups: Groups,
    notes: Vec<Note>,
    services: Vec<ServiceRecord>,
    /// [`Judged`] of all rows, if some step decides among them.
    judged: Option<Spill>,
}

struct StatBook {
    rows: u64,
    would_drop: u64,
    numbers: Column,
    others: Tally,
    others_dropped: Tally,
    other_values: u64,
    shape: Shape,
}

struct ImageBook {
    references: u64,
    rows_without: u64,
    bad_fields: BTreeMap<&'static str, u64>,
    broken: BTreeMap<&'static str, u64>,
    formats: BTreeMap<&'static str, u64>,
    width: Column,
    height: Column,
    aspect: Column,
    bytes: Column,
}

struct CaptionBook {
    empty: u64,
    missing: u64,
    characters: Column,
    words: Column,
    word_count: u64,
    vocabulary: Tally,
    templates: Tally,
}

impl Book {
    fn create(recipe: &Recipe, stats: &[Stat], files: &AnalysisFiles) -> io::Result<Self> {
        let dir = files.dir.as_path();
        let column = || Column::create(dir);
        Ok(Self {
            rows: 0,
            unreadable: BTreeMap::new(),
            errors: BTreeMap::new(),
            lines: PendingFile::create(&files.jsonl()).map_err(|e| of_file(&files.jsonl(), &e))?,
            stats: stats
                .iter()
                .map(|_| {
                    Ok(StatBook {
                        rows: 0,
                        would_drop: 0,
                        numbers: column()?,
                        others: Tally::default(),
                        others_dropped: Tally::default(),
                        other_values: 0,
                        shape: Shape::default(),
                    })
                })
                .collect::<io::Result<_>>()?,
            steps: vec![StepMeasures::default(); recipe.steps.len()],
            images: ImageBook {
                references: 0,
                rows_without: 0,
                bad_fields: BTreeMap::new(),
                broken: BTreeMap::new(),
                formats: BTreeMap::new(),
                width: column()?,
                height: column()?,
                aspect: column()?,
                bytes: column()?,
            },
            captions: CaptionBook {
                empty: 0,
                missing: 0,
                characters: column()?,
                words: column()?,
                word_count: 0,
                vocabulary: Tally::default(),
                templates: Tally::default(),
            },
            groups: Groups::create(dir)?,
            notes: Vec::new(),
            services: Vec::new(),
            judged: if recipe.steps.iter().any(sees_all_rows) {
                Some(Spill::create(dir)?)
            } else {
                None
            },
        })
    }

    fn add(&mut self, batch: &Measures) -> io::Result<()> {
        self.rows += batch.rows;
        add_counts(&mut self.unreadable, &batch.unreadable);
        add_counts(&mut self.errors, &batch.errors);
        let written = self.lines.write_all(&batch.lines);
        written.map_err(|e| crate::io::named("stats.jsonl", &e))?;
        if let (Some(spill), Some(judged)) = (&mut self.judged, &batch.judged) {
            let words = judged.words().iter();
            words.copied().try_for_each(|word| spill.push(word))?;
        }
        for (stat, found) in self.stats.iter_mut().zip(&batch.stats) {
            stat.rows += found.rows;
            stat.would_drop += found.would_drop;
            stat.numbers.extend(&found.numbers)?;
            stat.other_values += found.others.len() as u64;
            found.others.iter().for_each(|value| stat.others.add(value));
            let dropped = found.others_dropped.iter();
            dropped.for_each(|value| stat.others_dropped.add(value));
            stat.shape.add(found.shape);
        }
        for (step, found) in self.steps.iter_mut().zip(&batch.steps) {
            step.alone += found.alone;
            step.in_sequence += found.in_sequence;
        }
        let (images, found) = (&mut self.images, &batch.images);
        images.references += found.references;
        images.rows_without += found.rows_without;
        add_counts(&mut images.bad_fields, &found.bad_fields);
        add_counts(&mut images.broken, &found.broken);
        add_counts(&mut images.formats, &found.formats);
        images.width.extend(&found.width)?;
        images.height.extend(&found.height)?;
        images.aspect.extend(&found.aspect)?;
        images.bytes.extend(&found.bytes)?;
        let (captions, found) = (&mut self.captions, &batch.captions);
        captions.empty += found.empty;
        captions.missing += found.missing;
        captions.characters.extend(&found.characters)?;
        captions.words.extend(&found.words)?;
        for word in found.vocabulary.split(' ').filter(|word| !word.is_empty()) {
            captions.word_count += 1;
            captions.vocabulary.add(word);
        }
        found
            .templates
            .lines()
            .for_each(|template| captions.templates.add(template));
        self.groups.add(batch)
    }

    fn finish(
        self,
        recipe: &Recipe,
        stats: &[Stat],
        read: Read,
        files: &AnalysisFiles,
        task: &mut dyn FnMut(&str, usize, usize),
    ) -> io::Result<Analysis> {
        let Read {
            inputs,
            images,
            started,
            command,
        } = read;
        // An older analysis must not be taken for one of the new rows of stats.
        match std::fs::remove_file(files.json()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = self.lines.commit();
        written.map_err(|e| of_file(&files.jsonl(), &e))?;
        let shapes: Vec<(String, Shape)> = stats
            .iter()
            .zip(&self.stats)
            .map(|(stat, book)| (stat.name.clone().into_owned(), book.shape))
            .collect();
        task("writing stats.parquet", 0, stats.len());
        let written = parquet::write(&files.jsonl(), &files.parquet(), &shapes);
        written.map_err(|e| of_file(&files.parquet(), &e))?;
        let mut notes = self.notes;
        let dropped = among(self.judged, recipe, stats, files, &mut notes)?;
        let measured_steps = dropped.as_ref().map_or(&self.steps, |it| &it.steps);
        let found_at = |step: usize| {
            let found = dropped.as_ref().and_then(|it| it.found.get(step));
            found.map_or(&[][..], Vec::as_slice)
        };
        let measured = self.rows - self.unreadable.values().sum::<u64>();
        let mut of_stats = Vec::new();
        for (done, (stat, book)) in stats.iter().zip(self.stats).enumerate() {
            task("sorting what was measured", done, stats.len());
            of_stats.push((
                stat.name.clone().into_owned(),
                book.record(
                    stat,
                    self.rows,
                    dropped.as_ref().map(|it| {
                        let more = it.by_stat.get(done).copied().unwrap_or(0);
                        (more, found_at(stat.step))
                    }),
                )?,
            ));
        }
        let filters = recipe
            .steps
            .iter()
            .zip(measured_steps)
            .filter(|(step, _)| step.spec.kind == OpKind::Filter)
            .map(|(step, counts)| FilterRecord {
                op: step.name.to_owned(),
                step: StepNumber::at(step.index),
                stats: step.spec.stats.iter().map(|s| s.name.to_string()).collect(),
                would_drop: counts.alone,
                would_drop_in_sequence: counts.in_sequence,
                from_data: found_at(step.index).to_vec(),
            })
            .collect();
        let errors = self
            .errors
            .iter()
            .map(|((step, code), rows)| StepError {
                by: recipe
                    .steps
                    .get(*step)
                    .map_or("", |step| step.name)
                    .to_owned(),
                step: StepNumber::at(*step),
                code: (*code).to_owned(),
                rows: *rows,
            })
            .collect();
        task("looking for duplicates", 0, 1);
        let (duplicates, paths) = self.groups.finish()?;
        task("sorting what images and captions are like", 0, 1);
        let analysis = Analysis {
            format: CURRENT,
            djr: env!("CARGO_PKG_VERSION").to_owned(),
            kind: AnalysisKind::Analysis,
            command,
            started,
            ended: utc(unix_now()),
            inputs,
            notes,
            services: self.services,
            rows: Rows {
                read: self.rows,
                measured,
                unreadable: self.rows - measured,
            },
            unreadable: named(&self.unreadable),
            errors,
            recipe_file: recipe.name.clone(),
            recipe_dir: recipe.search.first().cloned(),
            plan: Plan::of(recipe)?,
            images_checked: images,
            stats: Ordered(of_stats),
            filters,
            images: self.images.record(paths)?,
            text: self.captions.record(measured)?,
            duplicates,
        };
        let write = || {
            let mut out = PendingFile::create(&files.json())?;
            serde_json::to_writer_pretty(&mut out, &analysis)?;
            out.write_all(b"\n")?;
            out.commit()
        };
        write().map_err(|e| of_file(&files.json(), &e))?;
        Ok(analysis)
    }
}

/// An error of writing a file of the analysis. Whoever tells it names the directory.
fn of_file(path: &Path, error: &io::Error) -> io::Error {
    let name = path.file_name().unwrap_or_default();
    crate::io::named(name.display(), error)
}

/// What the steps would drop, where some of them decide among all rows; nothing where none does, or
/// where a run would find no sound bounds, which a note tells.
fn among(
    judged: Option<Spill>,
    recipe: &Recipe,
    stats: &[Stat],
    files: &AnalysisFiles,
    notes: &mut Vec<Note>,
) -> io::Result<Option<Dropped>> {
    let Some(mut spill) = judged else {
        return Ok(None);
    };
    let judged = Judged::from_words(recipe.steps.len(), spill.read()?);
    let of = (recipe.steps.as_slice(), stats);
    let dropped = among::decide(&files.jsonl(), of, recipe.rounds_stats(), &judged)?;
    Ok(dropped
        .map_err(|why| {
            let text = format!("what filters would drop is not known: {why}");
            notes.push(Note::new(Code::BoundsUnknown, text));
        })
        .ok())
}

impl StatBook {
    fn record(
        mut self,
        stat: &Stat,
        rows: u64,
        among: Option<(u64, &[FromData])>,
    ) -> io::Result<StatRecord> {
        let (more, found_in_data) = among.unwrap_or_default();
        // A stray text among numbers must not hide them.
        let found = if self.other_values > 0 && self.other_values * 2 >= self.rows {
            Found::Words {
                values: self.other_values,
                distinct: self.others.distinct(),
                top: top(&self.others),
                top_would_drop: self
                    .others
                    .top(SHOWN)
                    .into_iter()
                    .map(|(word, _)| (word.to_owned(), self.others_dropped.count(word)))
                    .filter(|(_, rows)| *rows > 0)
                    .collect(),
            }
        } else {
            Found::Numbers(self.numbers.sorted()?.summary())
        };
        Ok(StatRecord {
            op: stat.op.to_owned(),
            step: StepNumber::at(stat.step),
            unit: stat.unit.to_owned(),
            rows: self.rows,
            missing: rows - self.rows,
            others: match &found {
                Found::Numbers(_) => self.other_values,
                Found::Words { .. } => 0,
            },
            found,
            bounds: bounds_of(stat, found_in_data),
            would_drop: self.would_drop + more,
        })
    }
}

impl ImageBook {
    fn record(mut self, paths: u64) -> io::Result<ImagesRecord> {
        Ok(ImagesRecord {
            references: self.references,
            distinct_paths: paths,
            rows_without: self.rows_without,
            bad_fields: named(&self.bad_fields),
            missing: self.broken.remove("image_missing").unwrap_or(0),
            broken: named(&self.broken),
            formats: named(&self.formats),
            width: self.width.sorted()?.summary(),
            height: self.height.sorted()?.summary(),
            aspect_ratio: self.aspect.sorted()?.summary(),
            bytes: self.bytes.sorted()?.summary(),
        })
    }
}

impl CaptionBook {
    fn record(mut self, measured: u64) -> io::Result<TextRecord> {
        let distinct = self.vocabulary.distinct();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53 words")]
        let ratio = (self.word_count > 0).then(|| distinct as f64 / self.word_count as f64);
        Ok(TextRecord {
            rows: measured - self.missing,
            missing: self.missing,
            empty: self.empty,
            characters: self.characters.sorted()?.summary(),
            words: self.words.sorted()?.summary(),
            total_words: self.word_count,
            distinct_words: distinct,
            distinct_words_exact: self.vocabulary.is_exact(),
            type_token_ratio: ratio,
            top_words: top(&self.vocabulary),
            templates: top(&self.templates),
        })
    }
}

/// The most frequent texts, with their counts.
fn top(tally: &Tally) -> Vec<(String, u64)> {
    let top = tally.top(SHOWN).into_iter();
    top.map(|(text, count)| (text.to_owned(), count)).collect()
}

/// Counts by name.
fn named(counts: &BTreeMap<&'static str, u64>) -> Counts {
    let counts = counts.iter();
    counts.map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

fn add_counts<K: Ord + Copy>(sum: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (key, count) in more {
        *sum.entry(*key).or_default() += count;
    }
}
