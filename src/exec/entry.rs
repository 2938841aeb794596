//! What is done to a row before its first step, whoever runs the steps.

use super::spill::store::stats_from_json;
use crate::sample::{FieldPath, RowError, Sample};

/// The field Data-Juicer keeps stats in.
pub const STATS_FIELD: &str = "__dj__stats__";

/// The field that names the suffix of a row's input, and the suffix of each input.
pub type Suffixes = (&'static str, Vec<String>);

/// Gives a row the suffix of its input, if a step asks for it and the row names none, and makes
/// stats that came with it its stats: they count as measured, as in Data-Juicer.
///
/// # Errors
/// Those of [`Sample::value`].
pub fn enter(sample: &mut Sample, suffixes: Option<&Suffixes>) -> Result<(), RowError> {
    if let Some((field, suffixes)) = suffixes
        && !sample.has(field)
        && let Some(suffix) = suffixes.get(sample.origin().file as usize)
    {
        sample.set_value(field, suffix.clone().into());
    }
    if sample.has(STATS_FIELD) {
        if let Some(stats) = sample.value(&FieldPath::new(STATS_FIELD))? {
            sample.stats = stats_from_json(stats);
        }
        sample.remove(STATS_FIELD);
    }
    Ok(())
}
