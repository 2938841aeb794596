//! Makes one row of all rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{BuildContext, Facts, Grouper, Operator, ParamError, operator};
use crate::sample::{RowError, Sample};

operator! {
    /// Makes one row of all rows: each field becomes the list of the rows' values, in their order.
    ///
    /// The row has the fields in the order in which they first come up; where a row lacks one, null
    /// stands in its list. What filters measured becomes a list too, which
    /// `naive_reverse_grouper` gives back to the rows; hashes of deduplicators do not survive. The
    /// row has the place and the identity of the first row; all others count as `merged`, and the
    /// ledger names the row that they went into. No rows give no row.
    ///
    /// Operators behind see lists in the place of texts and images: those that need a text set the
    /// row aside. All rows must fit into memory and, as one, into the 64 MiB that a row may have:
    /// beyond that the run fails. Image paths stay as written, but become absolute in rows whose
    /// relative paths start in another directory than the first row's.
    ///
    /// ## Example
    /// ```yaml
    /// - naive_grouper: {}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a", "n": 1}, {"text": "b"}, {"text": "c", "x": {}}], "out": [{"text": ["a", "b", "c"], "n": [1, null, null], "x": [null, null, {}]}]}
    /// {"rows": [], "out": []}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `naive_grouper`: same, but that the hash columns of deduplicators survive
    /// there, and that a filter over a group without stats measures its lists where it can.
    naive_grouper: Grouper(Params) => build,
    Facts::NONE
}

/// Parameters: none.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {}

struct NaiveGrouper;

#[expect(clippy::unnecessary_wraps, reason = "the signature of the registry")]
fn build(_: Params, _: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Grouper(Box::new(NaiveGrouper)))
}

impl Grouper for NaiveGrouper {
    fn key(&self, _: &Sample) -> Result<u128, RowError> {
        Ok(0)
    }
}
