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
use crate::exec::{RunError, RunOptions, setup, write_error};
use crate::io::Workspace;
use crate::op::{Asset, IndexHeader, IndexPlace, IndexReader, IndexWriter, KeyMaker, Survivor};
use crate::recipe::{Inputs, Recipe, Step};
use crate::record::Earlier;

/// Who takes the key of each row of references, and where the row is from.
type TakeKey<'t> = &'t mut dyn FnMut(&[u8], IndexPlace) -> io::Result<()>;

impl Run<'_> {
    /// Reads the references that the deduplicators of `pass` do not know yet.
    ///
    /// # Errors
    /// If a file, or a row of one, cannot be read.
    pub(super) fn read_references(&self, pass: &mut ExchangeStage<'_>) -> Result<(), RunError> {
        let context = &self.context;
        for number in pass.wanting_references() {
            let Some(step) = context.recipe.steps.get(number) else {
                continue;
            };
            for file in &step.base.choice.reference {
                let failed = |e| write_error(file.display(), e);
                let Some(mut index) = IndexReader::open(file).map_err(failed)? else {
                    let name = file.display();
                    let mut take = |key: &[u8], place: IndexPlace| {
                        pass.push_reference(number, key, &format!("{name}:{}", place.line))
                    };
                    context.reference_keys(number, step, std::slice::from_ref(file), &mut take)?;
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
    /// Takes every row of `files` to the deduplicator `number`, and its key to `take`.
    fn reference_keys(
        &self,
        number: usize,
        step: &Step,
        files: &[PathBuf],
        take: TakeKey<'_>,
    ) -> Result<(), RunError> {
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
                Ok(())
            },
        )?;
        if passed.interrupted {
            return Err(RunError::Interrupted);
        }
        serving.batcher.finish()
    }
}

/// Writes an index of the rows of `files` for the deduplicator `number` of `recipe` to `out`, and says how
/// many rows it has.
///
/// # Errors
/// If a row or a file cannot be read, a model cannot be asked, or `out` cannot be written.
pub fn index_references(
    recipe: &Recipe,
    number: usize,
    files: &[PathBuf],
    options: &RunOptions,
    out: &mut dyn Write,
) -> Result<u64, RunError> {
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
    };
    let context = RunContext::open(recipe, options, Vec::new(), Vec::new(), place)?;
    let failed = |e| write_error("the index", e);
    let mut writer = IndexWriter::new(out, &header).map_err(failed)?;
    let mut take = |key: &[u8], place: IndexPlace| writer.push(key, place);
    context.reference_keys(number, step, files, &mut take)?;
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
