//! A table that the calling program has in memory through a recipe, and what is left of it as a table
//! again, or the whole of it with the fate of each row.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use hashbrown::HashMap;

use super::{Observer, RunError, RunOptions, RunOutcome, run_to, setup, write_error};
use crate::io::GivenRows;
use crate::io::columns::collect::{Collected, pieces};
use crate::io::format::{FormatError, OutputFormat};
use crate::io::source::Table;
use crate::op::OpKind;
use crate::recipe::{Inputs, OutputSpec, Recipe, Target};
use crate::record::{Fate, PastRun};

/// What the table is called in messages.
const NAME: &str = "table";

/// A table that a recipe left.
#[derive(Debug)]
pub struct TableOutcome {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
    /// What became of the run.
    pub outcome: RunOutcome,
}

/// The rows of `table` that `recipe` keeps, with what it changed and added. Columns that nobody wrote
/// to stay as they are, type and all, and large values are not copied. The recipe's own inputs and
/// outputs are put aside: nothing is written but files that operators make.
///
/// # Errors
/// As [`super::run`].
pub fn filter_table(
    recipe: &mut Recipe,
    table: &Arc<Table>,
    options: &RunOptions,
    observer: &mut dyn Observer,
) -> Result<TableOutcome, RunError> {
    hand_in(recipe, table);
    let groups = recipe
        .steps
        .iter()
        .any(|step| step.spec.kind == OpKind::Grouper);
    let (format, mut collected) = match setup::inputs(recipe).first() {
        Some(input) if !groups => {
            let collected = Collected::of(input, Arc::clone(table)).map_err(FormatError)?;
            (OutputFormat::TABLE, collected)
        }
        _ => (OutputFormat::MADE_TABLE, Collected::made(Arc::clone(table))),
    };
    recipe.outputs = vec![OutputSpec::new(format, Target::Caller)];
    let outcome = run_to(recipe, options, observer, &mut |_, record: &[u8]| {
        collected.push(record);
        Ok(())
    })?;
    let (schema, batches) = collected.finish().map_err(|e| write_error(NAME, e))?;
    Ok(TableOutcome {
        schema,
        batches,
        outcome,
    })
}

/// All rows of `table` as they are, with columns that say what `recipe` would do to each:
/// `__djr_fate` (`kept`, `dropped`, `quarantined` or `merged`), `__djr_by` (who decided),
/// `__djr_value` against `__djr_limit` (of a filter), and `__djr_code` (why it was set aside). A row
/// of which a part is kept is kept.
///
/// # Errors
/// As [`super::run`].
pub fn table_fates(
    recipe: &mut Recipe,
    table: &Arc<Table>,
    options: &RunOptions,
    observer: &mut dyn Observer,
) -> Result<TableOutcome, RunError> {
    hand_in(recipe, table);
    recipe.outputs = vec![OutputSpec::new(OutputFormat::ROWS, Target::Caller)];
    // Only a run that keeps a record has a ledger.
    let record = tempfile::tempdir().map_err(|e| write_error("a directory for the ledger", e))?;
    let options = RunOptions {
        run_dir: Some(record.path().join("run")),
        ..options.clone()
    };
    let outcome = run_to(recipe, &options, observer, &mut |_, _: &[u8]| Ok(()))?;
    let failed = |e| write_error("the ledger", e);
    let fates = Fates::read(&record.path().join("run"), table.rows()).map_err(failed)?;
    let (schema, batches) = fates.beside(table).map_err(|e| write_error(NAME, e))?;
    Ok(TableOutcome {
        schema,
        batches,
        outcome: RunOutcome {
            run_dir: None,
            quarantine: None,
            ..outcome
        },
    })
}

/// Makes `table` the only thing that `recipe` reads.
fn hand_in(recipe: &mut Recipe, table: &Arc<Table>) {
    recipe.inputs = Inputs::Given(GivenRows::table(NAME, Arc::clone(table)));
    recipe.shares.clear();
    recipe.tracer.open = false;
}

/// What became of each row.
struct Fates {
    rows: Vec<Option<FateOf>>,
    /// Words that many rows share.
    words: Vec<String>,
}

/// What became of a row; words by their numbers.
#[derive(Clone, Copy)]
struct FateOf {
    fate: Fate,
    by: Option<usize>,
    value: Option<f64>,
    limit: Option<usize>,
    code: Option<usize>,
}

impl Fates {
    /// Reads the ledger of a run over so many rows.
    fn read(run: &Path, rows: u64) -> io::Result<Self> {
        let mut fates = Self {
            rows: vec![None; usize::try_from(rows).map_err(io::Error::other)?],
            words: Vec::new(),
        };
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut number = |word: Option<&str>| {
            let word = word?;
            Some(*numbers.entry_ref(word).or_insert_with(|| {
                fates.words.push(word.to_owned());
                fates.words.len() - 1
            }))
        };
        let past = PastRun::open(run).map_err(io::Error::other)?;
        let mut ledger = past.ledger().map_err(io::Error::other)?;
        while let Some(entry) = ledger.next_record().map_err(io::Error::other)? {
            let row = entry.line.checked_sub(1).map(usize::try_from);
            let row = row
                .and_then(Result::ok)
                .and_then(|row| fates.rows.get_mut(row));
            let row = row.ok_or_else(|| io::Error::other("it has a row that the table has not"))?;
            if row.is_some_and(|before| before.fate == Fate::Kept) {
                continue;
            }
            *row = Some(FateOf {
                fate: entry.fate,
                by: number(entry.by.as_deref()),
                value: entry.value.as_ref().and_then(serde_json::Value::as_f64),
                limit: number(entry.limit.as_deref()),
                code: number(entry.code.as_deref()),
            });
        }
        Ok(fates)
    }

    /// The columns of some rows.
    fn columns(&self, rows: &[u64]) -> Vec<(FieldRef, ArrayRef)> {
        let of = |row: &u64| *self.rows.get(usize::try_from(*row).ok()?)?;
        let fates: Vec<Option<FateOf>> = rows.iter().map(of).collect();
        let texts = |word: fn(FateOf) -> Option<usize>| -> ArrayRef {
            let text = |fate: &Option<FateOf>| self.words.get(word((*fate)?)?).map(String::as_str);
            Arc::new(fates.iter().map(text).collect::<StringArray>())
        };
        let fate = |fate: &Option<FateOf>| fate.map(|it| it.fate.word());
        let value = |fate: &Option<FateOf>| fate.and_then(|it| it.value);
        let columns: [(&str, ArrayRef); 5] = [
            (
                "__djr_fate",
                Arc::new(fates.iter().map(fate).collect::<StringArray>()),
            ),
            ("__djr_by", texts(|it| it.by)),
            (
                "__djr_value",
                Arc::new(fates.iter().map(value).collect::<Float64Array>()),
            ),
            ("__djr_limit", texts(|it| it.limit)),
            ("__djr_code", texts(|it| it.code)),
        ];
        let field = |name: &str, data_type: &DataType| Field::new(name, data_type.clone(), true);
        columns
            .map(|(name, column)| (Arc::new(field(name, column.data_type())), column))
            .into()
    }

    /// The table with these columns in place of those that it has of the same names.
    fn beside(&self, table: &Table) -> io::Result<(SchemaRef, Vec<RecordBatch>)> {
        let own: Vec<FieldRef> = self
            .columns(&[])
            .into_iter()
            .map(|(field, _)| field)
            .collect();
        let fields = table.schema().fields();
        let kept: Vec<usize> = (0..fields.len())
            .filter(|place| {
                let name = fields.get(*place).map(|field| field.name());
                own.iter().all(|field| Some(field.name()) != name)
            })
            .collect();
        let carried = kept.iter().filter_map(|place| fields.get(*place).cloned());
        let fields: Vec<FieldRef> = carried.chain(own).collect();
        let metadata = table.schema().metadata().clone();
        let schema = Arc::new(Schema::new(fields).with_metadata(metadata));
        let rows: Vec<u64> = (0..table.rows()).collect();
        let mut batches = Vec::new();
        for piece in pieces(table, &rows) {
            let rows = rows.get(piece).unwrap_or_default();
            let carried = kept.iter().map(|place| table.values(*place, rows));
            let mut columns = carried.collect::<io::Result<Vec<_>>>()?;
            columns.extend(self.columns(rows).into_iter().map(|(_, column)| column));
            let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options);
            batches.push(batch.map_err(io::Error::other)?);
        }
        Ok((schema, batches))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray as _;
    use arrow_array::{BinaryArray, Int64Array};

    use super::*;
    use crate::recipe::{LoadOptions, RecipeSource, load};

    fn table(texts: &[&str]) -> Arc<Table> {
        let count = i64::try_from(texts.len()).unwrap();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("text", Arc::new(StringArray::from(texts.to_vec()))),
            ("id", Arc::new(Int64Array::from_iter_values(0..count))),
            (
                "blob",
                Arc::new(BinaryArray::from_iter_values(
                    texts
                        .iter()
                        .map(|text| [text.as_bytes(), &[0xFF; 20_000]].concat()),
                )),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        Arc::new(Table::new(batch.schema(), vec![batch]).unwrap())
    }

    fn recipe(text: &str) -> Recipe {
        let source = RecipeSource::Text {
            name: "recipe".into(),
            text: text.into(),
        };
        let options = LoadOptions {
            input: Some(Inputs::Given(GivenRows::gone(NAME))),
            output: Some(Target::Caller),
            ..LoadOptions::new("/")
        };
        load(&source, &options).unwrap()
    }

    fn filtered(text: &str, table: &Arc<Table>) -> TableOutcome {
        filter_table(&mut recipe(text), table, &RunOptions::default(), &mut ()).unwrap()
    }

    /// A column as JSON, row by row.
    fn column(outcome: &TableOutcome, name: &str) -> Vec<String> {
        let text = |values: &ArrayRef, row| {
            let mut out = Vec::new();
            crate::io::source::columns::view::write_value(values, row, &mut out);
            String::from_utf8(out).unwrap()
        };
        let columns = outcome
            .batches
            .iter()
            .map(|it| it.column_by_name(name).unwrap());
        columns
            .flat_map(|values| (0..values.len()).map(move |row| text(values, row)))
            .collect()
    }

    #[test]
    fn rows_that_are_kept_have_their_columns_as_they_were() {
        let table = table(&["a red kite", "hm", "a red  kite", "two boats"]);
        let steps = "process: [whitespace_normalization_mapper, text_length_filter: {min_len: 5}]";
        let left = filtered(steps, &table);
        assert_eq!(column(&left, "id"), ["0", "2", "3"]);
        let boats = left.batches.last().unwrap();
        let blob = boats.column_by_name("blob").unwrap().as_binary::<i32>();
        let whole = table.values(2, &[0]).unwrap();
        assert_eq!(
            blob.values().as_ptr(),
            whole.as_binary::<i32>().values().as_ptr()
        );
        assert_eq!(&*left.schema, &**table.schema());
    }

    #[test]
    fn changed_columns_keep_their_type_and_new_ones_get_one() {
        let table = table(&["see https://a.bc now", "nothing here"]);
        let steps = "keep_stats_in_res_ds: true\n\
                     process: [clean_links_mapper: {}, text_length_filter: {min_len: 3}]";
        let left = filtered(steps, &table);
        assert_eq!(column(&left, "text"), ["\"see  now\"", "\"nothing here\""]);
        assert_eq!(left.schema.field(0), table.schema().field(0));
        assert_eq!(
            column(&left, "__dj__stats__"),
            ["{\"text_len\": 8}", "{\"text_len\": 12}"]
        );
    }

    #[test]
    fn operators_that_see_all_rows_do() {
        let table = table(&["a red kite", "two boats", "a red kite", "a blue kite"]);
        let left = filtered("process: [document_deduplicator: {}]", &table);
        assert_eq!(column(&left, "id"), ["0", "1", "3"]);
        let best = "process: [topk_specified_field_selector: {field_key: id, topk: 2}]";
        assert_eq!(column(&filtered(best, &table), "id"), ["3", "2"]);
        let groups = "process: [key_value_grouper: {group_by_keys: [text]}]";
        let groups = filtered(groups, &table);
        assert_eq!(groups.outcome.report.rows_out, 3);
        assert_eq!(column(&groups, "id")[0], "[0, 2]");
    }

    #[test]
    fn each_row_gets_its_fate() {
        let table = table(&["a red kite", "hm", "a red kite"]);
        let steps = "process: [text_length_filter: {min_len: 5}, document_deduplicator: {}]";
        let options = RunOptions::default();
        let fates = table_fates(&mut recipe(steps), &table, &options, &mut ()).unwrap();
        let texts = |name| column(&fates, name).join(" ");
        assert_eq!(texts("id"), "0 1 2");
        assert_eq!(texts("__djr_fate"), "\"kept\" \"dropped\" \"dropped\"");
        assert_eq!(
            texts("__djr_by"),
            "null \"text_length_filter\" \"document_deduplicator\""
        );
        assert_eq!(texts("__djr_value"), "null 2.0 null");
        assert_eq!(texts("__djr_limit"), "null \"min_len: 5\" null");
        assert_eq!(texts("__djr_code"), "null null null");
        let whole = table.values(2, &[0]).unwrap();
        let blob = fates.batches[0].column_by_name("blob").unwrap();
        assert_eq!(
            blob.as_binary::<i32>().values().as_ptr(),
            whole.as_binary::<i32>().values().as_ptr()
        );
    }
}
