//! Stats that rows bring along.

use super::spill::store::stats_from_json;
use crate::sample::{FieldPath, RowError, Sample};

/// The field Data-Juicer keeps stats in.
pub const STATS_FIELD: &str = "__dj__stats__";

/// Makes stats that came with a row its stats: they count as measured, as in Data-Juicer.
///
/// # Errors
/// Those of [`Sample::value`].
pub fn take_stats(sample: &mut Sample) -> Result<(), RowError> {
    if sample.has(STATS_FIELD) {
        if let Some(stats) = sample.value(&FieldPath::new(STATS_FIELD))? {
            sample.stats = stats_from_json(stats);
        }
        sample.remove(STATS_FIELD);
    }
    Ok(())
}
