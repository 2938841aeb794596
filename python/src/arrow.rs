//! Arrow tables from Python and back, by the C stream interface in capsules. Nothing is copied.
//!
//! The only unsafe code of this crate: one pointer that Python hands over, checked by its name.
#![expect(
    unsafe_code,
    reason = "a stream is moved out of the capsule that holds it"
)]

use std::sync::Arc;

use arrow_array::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use arrow_array::{RecordBatch, RecordBatchIterator, RecordBatchReader as _};
use arrow_schema::ffi::FFI_ArrowSchema;
use arrow_schema::{ArrowError, SchemaRef};
use djr::io::source::Table;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

/// What a capsule with a stream is called.
const STREAM: &std::ffi::CStr = c"arrow_array_stream";

/// What a capsule with a schema is called.
const SCHEMA: &std::ffi::CStr = c"arrow_schema";

/// A table of whoever has `__arrow_c_stream__`, its rows in the order of the first column of `order`.
///
/// # Errors
/// If it is no such thing, or its stream fails.
pub fn table(data: &Bound<'_, PyAny>, order: Option<&Bound<'_, PyAny>>) -> PyResult<Table> {
    let (schema, batches) = batches(data)?;
    let table = Table::new(schema, batches).map_err(invalid)?;
    match order {
        None => Ok(table),
        Some(order) => table.ordered(numbers(order)?).map_err(invalid),
    }
}

fn batches(data: &Bound<'_, PyAny>) -> PyResult<(SchemaRef, Vec<RecordBatch>)> {
    let py = data.py();
    let capsule = data.call_method0("__arrow_c_stream__")?;
    let capsule = capsule.cast_into::<PyCapsule>().map_err(PyErr::from)?;
    let pointer = capsule.pointer_checked(Some(STREAM))?;
    // SAFETY: a capsule of this name holds a valid stream. It is moved out, and what is left there is
    // a released one, so that nobody reads or frees it twice. No Python code runs in between.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer.as_ptr().cast()) };
    let reader = RecordBatchStreamReader::try_new(stream).map_err(invalid)?;
    let schema = reader.schema();
    // Whoever makes the batches may need Python for it, on any thread.
    let batches = py.detach(|| reader.collect::<Result<Vec<_>, ArrowError>>());
    Ok((schema, batches.map_err(invalid)?))
}

/// The first column of whole numbers.
fn numbers(data: &Bound<'_, PyAny>) -> PyResult<Vec<u64>> {
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::{Int64Type, UInt64Type};
    let (_, batches) = batches(data)?;
    let mut numbers = Vec::new();
    for batch in &batches {
        let column = batch.columns().first();
        let natural = column.and_then(|it| it.as_primitive_opt::<UInt64Type>());
        let whole = column.and_then(|it| it.as_primitive_opt::<Int64Type>());
        match (natural, whole) {
            (Some(column), _) => numbers.extend_from_slice(column.values()),
            // One below 0 lies behind every row, and is refused as such.
            (_, Some(column)) => numbers.extend(
                column
                    .values()
                    .iter()
                    .map(|it| u64::try_from(*it).unwrap_or(u64::MAX)),
            ),
            _ => return Err(PyTypeError::new_err("indices are whole numbers")),
        }
    }
    Ok(numbers)
}

fn invalid(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// Rows in Arrow's columns. It is a table to pyarrow, pandas, polars and DuckDB, as often as they
/// ask for it.
#[pyclass(frozen, module = "djr._djr")]
#[derive(Debug)]
pub struct Rows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Rows {
    /// Rows of `batches`, which are of `schema`.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, batches }
    }
}

#[pymethods]
impl Rows {
    #[getter]
    fn num_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    #[getter]
    fn column_names(&self) -> Vec<&str> {
        let fields = self.schema.fields().iter();
        fields.map(|field| field.name().as_str()).collect()
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // Whoever asks for another schema gets this one, as the interface allows.
        drop(requested_schema);
        let batches = self.batches.clone().into_iter().map(Ok);
        let reader = RecordBatchIterator::new(batches, Arc::clone(&self.schema));
        let stream = FFI_ArrowArrayStream::new(Box::new(reader));
        PyCapsule::new_with_value(py, stream, STREAM)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.schema.as_ref()).map_err(invalid)?;
        PyCapsule::new_with_value(py, schema, SCHEMA)
    }
}
