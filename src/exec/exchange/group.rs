//! Groupers: rows with equal keys are put beside each other, and one row is made of each group.

use std::io;
use std::sync::Arc;

use super::digests::KeyRecords;
use super::{Exchange, Records, Resolution};
use crate::exec::accounting::Accounting;
use crate::exec::spill::store::{self, Store, StoreWriter};
use crate::exec::{RunError, write_error};
use crate::io::Workspace;
use crate::io::paths::PathWriter;
use crate::sample::{Group, ImageContext, JsonText as _, Origin, RowError, Sample, python_json};

/// Rows are recorded with the 128-bit key of their group.
pub struct Grouping;

impl Exchange for Grouping {
    fn open<'e>(
        &'e self,
        workspace: &Workspace,
        name: &str,
        budget: Option<u64>,
    ) -> io::Result<Box<dyn Records + 'e>> {
        KeyRecords::open(workspace, name, budget, side_by_side)
    }
}

/// Puts rows with equal keys beside each other, the groups in the order of their first rows.
fn side_by_side(alive: &[u32], firsts: &[Option<u32>]) -> Resolution {
    let mut places: Vec<(u32, u32)> = (0..)
        .zip(firsts)
        .map(|(place, first)| (first.unwrap_or(place), place))
        .collect();
    places.sort_unstable();
    let groups = places.chunk_by(|(a, _), (b, _)| a == b);
    let sizes = groups.map(|group| u32::try_from(group.len()).unwrap_or(u32::MAX));
    Resolution {
        groups: Some(sizes.collect()),
        alive: places
            .iter()
            .filter_map(|&(_, place)| alive.get(place as usize).copied())
            .collect(),
        ..Resolution::default()
    }
}

/// How the rows of groups are made.
pub struct GroupRows {
    /// How images are found.
    pub context: Arc<ImageContext>,
    /// Writes them as absolute paths.
    pub paths: PathWriter,
    /// The longest row, in bytes, that a group is made to.
    pub longest: u64,
}

/// Makes the groups of one grouper.
pub struct Merging<'a> {
    /// The grouper.
    pub step: usize,
    /// The rows.
    pub store: &'a Store,
    /// How theirs are made.
    pub making: &'a GroupRows,
    /// Where each row that goes into another is entered.
    pub accounting: &'a mut Accounting,
}

impl Merging<'_> {
    /// Appends a row to `out` for each group: of `rows`, the first `sizes[0]`, the next `sizes[1]`,
    /// and so on. One group is in memory at a time.
    ///
    /// # Errors
    /// If a file cannot be read or written, or a group is longer than a row may be.
    pub fn merge(
        mut self,
        rows: &[u32],
        sizes: &[u32],
        out: &mut StoreWriter,
    ) -> Result<(), RunError> {
        let failed = |e| write_error("rows set aside on disk", e);
        let mut rest = rows;
        let mut frame = Vec::new();
        for &size in sizes {
            let (group, behind) = rest.split_at_checked(size as usize).unwrap_or((rest, &[]));
            rest = behind;
            let Some(merged) = self.group(group)? else {
                continue;
            };
            frame.clear();
            store::encode(&merged, false, &mut frame);
            out.push(&frame).map_err(failed)?;
        }
        Ok(())
    }

    /// The row of one group; `None` for none.
    fn group(&mut self, rows: &[u32]) -> Result<Option<Sample>, RunError> {
        let failed = |e| write_error("rows set aside on disk", e);
        let context = &self.making.context;
        let mut first: Option<Origin> = None;
        let mut merged = Group::default();
        let mut frame = Vec::new();
        for &row in rows {
            self.store.read(row, &mut frame).map_err(failed)?;
            let (sample, _) = store::decode(&frame, context).map_err(failed)?;
            let origin = sample.origin();
            let into = *first.get_or_insert(origin);
            let moved = context.root(origin.file) != context.root(into.file);
            let mut paths = Vec::new();
            if moved {
                let writer = &self.making.paths;
                let unwritable = |e: RowError| failed(io::Error::other(e.to_string()));
                let images = image_paths(&sample, writer).map_err(unwritable)?;
                paths.extend(images.map(|paths| (context.image_key.as_str(), paths)));
                let media = writer.media(&sample).map_err(unwritable)?;
                paths.extend(
                    media
                        .into_iter()
                        .map(|(key, value)| (key, python_json(&value))),
                );
            }
            merged.push(&sample, &paths);
            if merged.bytes() as u64 > self.making.longest {
                return Err(self
                    .accounting
                    .too_long(self.step, into, self.making.longest));
            }
            if merged.rows() > 1 {
                let id = sample.raw_json("id");
                self.accounting.merged(self.step, origin, id, into.offset)?;
            }
        }
        first
            .map(|origin| merged.into_sample(origin, Arc::clone(context)))
            .transpose()
            .map_err(|e| failed(io::Error::other(e.to_string())))
    }
}

/// The image field with absolute paths, in its own shape; `None` if it holds no images.
fn image_paths(sample: &Sample, paths: &PathWriter) -> Result<Option<String>, RowError> {
    let Ok(images) = sample.images() else {
        return Ok(None);
    };
    let written = images
        .iter()
        .map(|image| paths.image(image))
        .collect::<Result<Vec<_>, _>>()?;
    let mut out = Vec::new();
    match written.as_slice() {
        [] => return Ok(None),
        [only] if !sample.image_field_is_list() => only.write(&mut out),
        list => list.write(&mut out),
    }
    Ok(String::from_utf8(out).ok())
}
