//! What deduplicators do beside dropping rows: clusters are written down, and the rows that stay take
//! over fields of those that went.

use std::sync::Arc;

use serde_json::Value;

use crate::exec::accounting::Accounting;
use crate::exec::spill::store::{self, Store, StoreWriter};
use crate::exec::{RunError, write_error};
use crate::io::source::MAX_ROW_BYTES;
use crate::recipe::Step;
use crate::record::RowPlace;
use crate::sample::{FieldPath, ImageContext, Sample};

/// The rows that went at one step, by those that stand for them.
pub struct Gone(Vec<(u32, u32)>);

impl Gone {
    /// Rows that went, each with the row that it duplicates.
    #[must_use]
    pub fn new(dropped: &[(u32, Option<u32>)]) -> Self {
        let pairs = dropped.iter().filter_map(|(row, by)| Some(((*by)?, *row)));
        let mut pairs: Vec<(u32, u32)> = pairs.collect();
        pairs.sort_unstable();
        Self(pairs)
    }

    /// Those that went for `row`, in input order.
    fn for_row(&self, row: u32) -> impl Iterator<Item = u32> {
        let start = self.0.partition_point(|(by, _)| *by < row);
        let rest = self.0.get(start..).unwrap_or_default().iter();
        rest.take_while(move |(by, _)| *by == row)
            .map(|(_, gone)| *gone)
    }
}

/// Reads rows that were set aside.
pub struct Rows<'s> {
    store: &'s Store,
    context: Arc<ImageContext>,
    frame: Vec<u8>,
}

impl<'s> Rows<'s> {
    /// Those of `store`.
    #[must_use]
    pub fn new(store: &'s Store) -> Self {
        Self {
            store,
            context: Arc::default(),
            frame: Vec::new(),
        }
    }

    /// A row, and whether its images are known to decode.
    fn read(&mut self, row: u32) -> Result<(Sample, bool), RunError> {
        let failed = |e| write_error("rows set aside on disk", e);
        self.store.read(row, &mut self.frame).map_err(failed)?;
        store::decode(&self.frame, &self.context).map_err(failed)
    }
}

/// Writes down the clusters of the step `number`, in the order of the rows that stay.
///
/// # Errors
/// If a file cannot be read or written.
pub fn report(
    number: usize,
    gone: &Gone,
    rows: &mut Rows<'_>,
    accounting: &mut Accounting,
) -> Result<(), RunError> {
    if !accounting.reports_clusters() {
        return Ok(());
    }
    for cluster in gone.0.chunk_by(|(a, _), (b, _)| a == b) {
        let Some(&(by, _)) = cluster.first() else {
            continue;
        };
        let kept = rows.read(by)?.0;
        let gone = cluster.iter().map(|(_, row)| Ok(rows.read(*row)?.0));
        let gone = gone.collect::<Result<Vec<Sample>, RunError>>()?;
        accounting.cluster(number, place(&kept), gone.iter().map(place).collect())?;
    }
    Ok(())
}

fn place(sample: &Sample) -> RowPlace<'_> {
    RowPlace::of(sample.origin(), sample.raw_json("id"))
}

/// Appends the rows `alive` to `out`, with the fields that those which stay take over.
///
/// # Errors
/// If a file cannot be read or written, or a row gets longer than a row may be.
pub fn merge(
    (number, step): (usize, &Step),
    alive: &[u32],
    gone: &Gone,
    rows: &mut Rows<'_>,
    out: &mut StoreWriter,
    accounting: &mut Accounting,
) -> Result<(), RunError> {
    let failed = |e| write_error("rows set aside on disk", e);
    for &row in alive {
        let mut members: Vec<u32> = gone.for_row(row).collect();
        if members.is_empty() {
            rows.store.read(row, &mut rows.frame).map_err(failed)?;
            out.push(&rows.frame).map_err(failed)?;
            continue;
        }
        members.push(row);
        members.sort_unstable();
        let fields = step.base.choice.merge.iter();
        let fields: Vec<FieldPath> = fields.map(|(name, _)| FieldPath::new(name)).collect();
        let mut values: Vec<Vec<Value>> = vec![Vec::new(); fields.len()];
        for member in members {
            let (sample, _) = rows.read(member)?;
            for (field, values) in fields.iter().zip(&mut values) {
                // A field that cannot be read is none; the operator has seen the row as it is.
                let value = sample.value(field).unwrap_or_default();
                values.push(value.unwrap_or_default());
            }
        }
        let (mut sample, decode) = rows.read(row)?;
        let edits = sample.edits();
        for ((name, how), values) in step.base.choice.merge.iter().zip(&values) {
            let own = sample.value(&FieldPath::new(name)).unwrap_or_default();
            let own = own.unwrap_or_default();
            if let Some(value) = how.of(&own, values).filter(|value| *value != own) {
                sample.set_value(name, value);
            }
        }
        if sample.edits() != edits {
            accounting.count_changed(number, 1);
        }
        let mut frame = Vec::new();
        store::encode(&sample, decode, &mut frame);
        if frame.len() > MAX_ROW_BYTES {
            let longest = MAX_ROW_BYTES as u64;
            return Err(accounting.too_long(number, sample.origin(), longest));
        }
        out.push(&frame).map_err(failed)?;
    }
    Ok(())
}
