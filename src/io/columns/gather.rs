//! What rows have in the columns of their inputs, read from there again in the order of the rows.

use std::fmt;
use std::io;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use arrow_select::take::take;

use super::build::cast;
use super::layout::{Carried, Layout, Places};
use crate::io::Input;
use crate::io::source::columns::{Batches, broken};

/// Reads rows of column files where they lie.
pub struct Gatherer {
    inputs: Vec<Input>,
    open: Option<Open>,
}

impl fmt::Debug for Gatherer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gatherer").finish_non_exhaustive()
    }
}

/// The input that rows were taken from last.
struct Open {
    file: u32,
    batches: Box<dyn Batches>,
    /// The places of the columns that are read.
    places: Vec<usize>,
    batch: Option<RecordBatch>,
    /// The first row of the batch.
    first: u64,
    /// The row behind it.
    next: u64,
}

impl Gatherer {
    /// Reads rows of `inputs`.
    #[must_use]
    pub fn new(inputs: Vec<Input>) -> Self {
        Self { inputs, open: None }
    }

    /// The columns of `layout` for rows, each the number of an input and of a row there. Rows that
    /// follow each other are read once.
    ///
    /// # Errors
    /// If an input cannot be read.
    pub fn rows(&mut self, layout: &Layout, rows: &[(u32, u64)]) -> io::Result<Vec<ArrayRef>> {
        let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); layout.columns.len()];
        let mut rest = rows;
        while let Some(&(file, row)) = rest.first() {
            let open = self.at(layout, file, row)?;
            let (first, next) = (open.first, open.next);
            let here = |&(other, row): &(u32, u64)| other == file && (first..next).contains(&row);
            let count = rest.iter().position(|it| !here(it)).unwrap_or(rest.len());
            let (taken, behind) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = behind;
            let indices = taken
                .iter()
                .map(|(_, row)| u32::try_from(row - first).map_err(io::Error::other));
            let indices = UInt32Array::from(indices.collect::<io::Result<Vec<_>>>()?);
            let places = layout.files.get(file as usize).and_then(Option::as_ref);
            for (number, (column, parts)) in layout.columns.iter().zip(&mut parts).enumerate() {
                let data_type = column.field.data_type();
                let place = places.and_then(|places| places.of(number));
                let at = place.and_then(|place| open.places.binary_search(&place).ok());
                let values = at.and_then(|at| open.batch.as_ref()?.columns().get(at));
                parts.push(match values {
                    None => new_null_array(data_type, taken.len()),
                    Some(values) => {
                        let values = take(values, &indices, None).map_err(broken)?;
                        cast(&compact(values), data_type)?
                    }
                });
            }
        }
        let whole = |(parts, column): (Vec<ArrayRef>, &Carried)| match parts.as_slice() {
            [] => Ok(new_null_array(column.field.data_type(), 0)),
            [only] => Ok(Arc::clone(only)),
            several => {
                let several: Vec<&dyn arrow_array::Array> =
                    several.iter().map(AsRef::as_ref).collect();
                concat(&several).map_err(broken)
            }
        };
        parts.into_iter().zip(&layout.columns).map(whole).collect()
    }

    /// The input `file` with the batch that has `row`.
    fn at(&mut self, layout: &Layout, file: u32, row: u64) -> io::Result<&Open> {
        let mut open = match self.open.take().filter(|open| open.file == file) {
            Some(open) => open,
            None => self.open(layout, file)?,
        };
        // Where it is not known how many rows there are, seeking means reading from the start.
        let far = row >= open.next + FAR && open.batches.rows().is_some();
        if row < open.first || far {
            open.batches.seek(row)?;
            (open.batch, open.first, open.next) = (None, row, row);
        }
        while row >= open.next {
            let Some(batch) = open.batches.next()? else {
                let why = format!("{} has no row {row} any more", self.name(file));
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            };
            open.first = open.next;
            open.next += batch.num_rows() as u64;
            open.batch = Some(batch);
        }
        Ok(self.open.insert(open))
    }

    fn open(&self, layout: &Layout, file: u32) -> io::Result<Open> {
        let lost = || io::Error::other(format!("{} is not at hand", self.name(file)));
        let input = self.inputs.get(file as usize).ok_or_else(lost)?;
        let mut batches = input.batches()?.ok_or_else(lost)?;
        let places = layout.files.get(file as usize).and_then(Option::as_ref);
        let places = places.map(Places::all).unwrap_or_default();
        batches.project(places.clone())?;
        Ok(Open {
            file,
            batches,
            places,
            batch: None,
            first: 0,
            next: 0,
        })
    }

    fn name(&self, file: u32) -> String {
        let input = self.inputs.get(file as usize);
        input.map_or_else(|| "an input".to_owned(), Input::name)
    }
}

/// What lies so many rows ahead is sought instead of read up to.
const FAR: u64 = 65_536;

/// Values that hold no more than their own bytes: those of a view hold all that they were taken of.
fn compact(values: ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Utf8View => Arc::new(values.as_string_view().gc()),
        DataType::BinaryView => Arc::new(values.as_binary_view().gc()),
        _ => values,
    }
}
