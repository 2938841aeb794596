//! Texts before and after a run: what mappers, or models that caption, have made of them.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::rows::RowStyle;
use super::{RowReader, ViewError};
use crate::io::Input;
use crate::record::manifest::OutputRecord;
use crate::record::{Fate, PastRun};

/// How many rows are looked at, all over an output, and how many are shown.
const LOOKED_AT: usize = 240;
const SHOWN: usize = 6;

/// A row whose text is another one in an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The row's identity.
    pub row: u64,
    /// Its text in the output, without the special tokens.
    pub text: String,
}

/// Some rows of the first output of rows whose text is not what it was in `inputs`.
///
/// # Errors
/// If the ledger or an input cannot be read.
pub fn edited(
    run: &PastRun,
    inputs: Vec<Input>,
    style: &RowStyle,
) -> Result<Vec<Edited>, ViewError> {
    let steps = run.manifest.steps.iter();
    if steps.map(|step| step.changed + step.repeated).sum::<u64>() == 0 {
        return Ok(Vec::new());
    }
    let Some(output) = rows_in_order(run) else {
        return Ok(Vec::new());
    };
    let Some(texts) = texts_of(run, output, style)? else {
        return Ok(Vec::new());
    };
    let wanted: BTreeSet<u64> = texts.iter().map(|edited| edited.row).collect();
    let before = originals(inputs, &wanted, style)?;
    let mut shown = texts;
    shown.retain(|now| before.get(&now.row).is_some_and(|was| *was != now.text));
    shown.truncate(SHOWN);
    Ok(shown)
}

/// An output that has all rows that were kept, each as a row.
fn rows_in_order(run: &PastRun) -> Option<&OutputRecord> {
    let mut outputs = run.manifest.outputs.iter().zip(&run.settings.outputs);
    let (output, _) = outputs.find(|(output, spec)| {
        let whole = spec.sample.is_none() && spec.of.is_none();
        whole && ["jsonl", "json", "parquet"].contains(&output.format.as_str())
    })?;
    (output.written == run.manifest.rows.out).then_some(output)
}

/// Rows all over an output with their texts; `None` if its files are not those that were written.
fn texts_of(
    run: &PastRun,
    output: &OutputRecord,
    style: &RowStyle,
) -> Result<Option<Vec<Edited>>, ViewError> {
    let files = output.files.iter().map(|file| run.intact(file));
    let Some(files) = files.collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    let every = output.written.div_ceil(LOOKED_AT as u64).max(1);
    // The number of the record, and whose it is: the ledger has the rows in the order of the output.
    let mut of_record = BTreeMap::new();
    let mut ledger = run.ledger()?;
    let mut number = 0;
    while let Some(row) = ledger.next_record()? {
        if row.fate == Fate::Kept {
            if number % every == 0 {
                of_record.insert(number, row.offset);
            }
            number += 1;
        }
    }
    if number != output.written {
        return Ok(None);
    }
    let mut texts = Vec::with_capacity(of_record.len());
    let mut reader = RowReader::new(files.into_iter().map(Input::File).collect());
    let mut number = 0;
    while let Some((origin, bytes)) = reader.next()? {
        if let Some(row) = of_record.get(&number)
            && let Some(text) = style.text_of(origin, &bytes)
        {
            texts.push(Edited { row: *row, text });
        }
        number += 1;
    }
    Ok(Some(texts))
}

/// The texts of these rows as they were read.
fn originals(
    inputs: Vec<Input>,
    wanted: &BTreeSet<u64>,
    style: &RowStyle,
) -> Result<HashMap<u64, String>, ViewError> {
    let mut found = HashMap::new();
    let Some(last) = wanted.last() else {
        return Ok(found);
    };
    let mut reader = RowReader::new(inputs);
    while let Some((origin, bytes)) = reader.next()? {
        if origin.offset > *last {
            break;
        }
        if wanted.contains(&origin.offset)
            && let Some(text) = style.text_of(origin, &bytes)
        {
            found.insert(origin.offset, text);
        }
    }
    Ok(found)
}
