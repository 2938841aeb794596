//! Rows of reference files, read before the pass whose deduplicators have them, or once and for all into
//! an index.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::context::Place;
use super::serving::Serving;
use super::{Run, RunContext};
use crate::exec::exchange::stage::ExchangeStage;
use crate::exec::stage::{RowEnd, Source, drive};
use crate::exec::watch::Watch;
use crate::exec::{Moment, Observer, RunError, RunOptions, setup, write_error};
use crate::io::Workspace;
use crate::op::{Asset, IndexHeader, IndexPlace, IndexReader, IndexWriter, KeyMaker, Survivor};
use crate::recipe::{Inputs, Recipe, Step};
use crate::record::{Earlier, RunReport};

/// Who takes the key of each row of references, and where the row is from.
type TakeKey<'t> = &'t mut dyn FnMut(&[u8], IndexPlace) -> io::Result<()>;

/// A deduplicator, by its number, and files of rows that are references of it.
#[derive(Clone, Copy)]
struct References<'a> {
    number: usize,
    step: &'a Step,
    files: &'a [PathBuf],
}

impl Run<'_> {
    /// Reads the references that the deduplicators of `pass` do not know yet.
    ///
    /// # Errors
    /// If a file, or a row of one, cannot be read.
    pub(super) fn read_references(
        &self,
        pass: &mut ExchangeStage<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<(), RunError> {
        let context = &self.context;
        for number in pass.wanting_references() {
            let Some(step) = context.recipe.steps.get(number) else {
                continue;
            };
            let files = &step.base.choice.reference;
            for (done, file) in files.iter().enumerate() {
                let what = "reading references";
                watch.task(what, done, files.len(), &self.accounting.report);
                let failed = |e| write_error(file.display(), e);
                let Some(mut index) = IndexReader::open(file).map_err(failed)? else {
                    let name = file.display();
                    let mut take = |key: &[u8], place: IndexPlace| {
                        pass.push_reference(number, key, &format!("{name}:{}", place.line))
                    };
                    let references = References {
                        number,
                        step,
                        files: std::slice::from_ref(file),
                    };
                    context.reference_keys(references, &mut take, &mut ())?;
                    continue;
                };
                let mut key = Vec::new();
                while let Some(place) = index.next_row(&mut key).map_err(failed)? {
                    let place = index.words(place).map_err(failed)?;
                    pass.push_reference(number, &key, &place)
                        .map_err(set_aside)?;
                }
            }
        }
        Ok(())
    }
}

fn set_aside(error: io::Error) -> RunError {
    write_error("keys set aside on disk", error)
}

impl RunContext<'_> {
    /// Takes every row of references to their deduplicator, and its key to `take`; `observer` hears how
    /// many rows and bytes were read.
    fn reference_keys(
        &self,
        references: References<'_>,
        take: TakeKey<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), RunError> {
        let References {
            number,
            step,
            files,
        } = references;
        let mut report = RunReport::default();
        // What is known of the rows of the run is not known of these.
        let options = RunOptions {
            cached_stats: None,
            ..self.options.clone()
        };
        let reading = Arc::new(self.recipe.reading());
        let inputs = setup::sources(&Inputs::Files(files.to_vec()), &reading);
        let mut chain = self.reference_chain(number, step, &inputs);
        let serving = Serving::open(self, &mut chain, &[])?;
        let ranked = step.base.choice.survivor != Survivor::First;
        let source = Source::inputs(&inputs, None);
        let passed = drive(
            &self.pool,
            &options,
            &chain,
            source,
            &serving.batcher,
            |batch, _| {
                for row in &batch.rows {
                    let place = IndexPlace {
                        source: row.origin.file,
                        line: row.origin.line,
                    };
                    if let RowEnd::Failed(_, error, _) = &row.end {
                        let input = inputs.get(place.source as usize);
                        let name = input.map_or_else(String::new, crate::io::Input::name);
                        return Err(RunError::Exchange {
                            operator: step.name.to_owned(),
                            message: format!(
                                "reference row {name}:{}: {}",
                                place.line, error.message
                            ),
                        });
                    }
                    let record = row.records.first().cloned();
                    let record = record.and_then(|at| batch.records.get(at));
                    let record = record.unwrap_or_default();
                    // None is better than a reference, whatever its rank.
                    let key = if ranked {
                        record.get(8..)
                    } else {
                        Some(record)
                    };
                    take(key.unwrap_or_default(), place).map_err(set_aside)?;
                }
                report.rows_in += batch.read;
                report.bytes_in += batch.bytes;
                observer.progress(&Moment::reading(0, 1, &report));
                Ok(())
            },
        )?;
        if passed.interrupted {
            return Err(RunError::Interrupted);
        }
        serving.batcher.finish()
    }
}

/// An index of the rows of files, for a deduplicator of a recipe.
#[derive(Debug, Clone, Copy)]
pub struct ReferenceIndex<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The deduplicator, by the number of its step, from 0.
    pub step: usize,
    /// The files.
    pub files: &'a [PathBuf],
    /// Threads, interruption, where models run.
    pub options: &'a RunOptions,
}

impl ReferenceIndex<'_> {
    /// Writes it to `out`, and says how many rows it has.
    ///
    /// # Errors
    /// If a row or a file cannot be read, a model cannot be asked, or `out` cannot be written.
    pub fn write(&self, out: &mut dyn Write, observer: &mut dyn Observer) -> Result<u64, RunError> {
        let Self {
            recipe,
            step: number,
            files,
            options,
        } = *self;
        let missing = || RunError::Conservation("the recipe has no such step".into());
        let step = recipe.steps.get(number).ok_or_else(missing)?;
        let def = crate::op::find(step.name).ok_or_else(missing)?;
        let source = |path: &PathBuf| Asset::now(path).map_err(|e| write_error(path.display(), e));
        let header = IndexHeader {
            djr: env!("CARGO_PKG_VERSION").to_owned(),
            maker: KeyMaker::of(def, &step.spec, &step.params),
            sources: files.iter().map(source).collect::<Result<_, _>>()?,
        };
        let place = Place {
            files: None,
            workspace: Workspace::nameless(std::env::temp_dir()),
            earlier: Earlier::default(),
            answers: None,
        };
        let context = RunContext::open(recipe, options, Vec::new(), Vec::new(), place)?;
        let failed = |e| write_error("the index", e);
        let mut writer = IndexWriter::new(out, &header).map_err(failed)?;
        let mut take = |key: &[u8], place: IndexPlace| writer.push(key, place);
        let references = References {
            number,
            step,
            files,
        };
        context.reference_keys(references, &mut take, observer)?;
        context.sync_results();
        // A file that was written to meanwhile is not what its digest says.
        let changed = header.sources.iter().find(|source| {
            let now = Asset::now(&source.path);
            !now.is_ok_and(|now| now == **source)
        });
        if let Some(source) = changed {
            return Err(RunError::InputChanged {
                name: source.path.display().to_string(),
                change: "its content is another".to_owned(),
            });
        }
        writer.finish().map_err(failed)
    }
}
