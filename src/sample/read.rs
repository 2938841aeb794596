//! From the bytes of an input to a row, for whoever reads rows.

use std::borrow::Cow;
use std::sync::Arc;

use super::{ImageContext, Origin, RowError, Sample};

/// A row that cannot be read.
#[derive(Debug)]
pub struct Unread {
    /// Why.
    pub error: RowError,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Unread {
    /// A row of these bytes that cannot be read.
    #[must_use]
    pub fn new(error: RowError, bytes: Cow<'_, [u8]>) -> Self {
        Self {
            error,
            bytes: bytes.into_owned(),
        }
    }
}

/// Makes `sample` the row that these bytes are. Bytes that are handed over are not copied.
///
/// # Errors
/// As [`read_row`]; what `sample` is then, nobody may ask.
pub fn read_row_into(
    sample: &mut Sample,
    bytes: Cow<'_, [u8]>,
    origin: Origin,
) -> Result<(), Unread> {
    let line = match bytes {
        Cow::Owned(_) => {
            *sample = read_row(bytes, origin, &Arc::clone(sample.image_context()))?;
            return Ok(());
        }
        Cow::Borrowed(bytes) => bytes,
    };
    match simdutf8::compat::from_utf8(line) {
        Ok(text) => sample
            .read_again(text, origin)
            .map_err(|error| Unread::new(error, line.into())),
        Err(e) => Err(Unread::new(not_utf8(e.valid_up_to()), line.into())),
    }
}

/// Reads a row; its images are found by `context`. Bytes that are handed over are not copied.
///
/// # Errors
/// `utf8_invalid`, and those of [`Sample::parse`].
pub fn read_row(
    bytes: Cow<'_, [u8]>,
    origin: Origin,
    context: &Arc<ImageContext>,
) -> Result<Sample, Unread> {
    let line = match bytes {
        Cow::Borrowed(bytes) => match simdutf8::compat::from_utf8(bytes) {
            Ok(line) => line.to_owned(),
            Err(e) => return Err(Unread::new(not_utf8(e.valid_up_to()), bytes.into())),
        },
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(line) => line,
            Err(e) => {
                let error = not_utf8(e.utf8_error().valid_up_to());
                return Err(Unread::new(error, e.into_bytes().into()));
            }
        },
    };
    Sample::read(line, origin, Arc::clone(context))
        .map_err(|(error, line)| Unread::new(error, line.into_bytes().into()))
}

fn not_utf8(valid: usize) -> RowError {
    RowError::new(
        "utf8_invalid",
        format!("the row is not UTF-8 (byte {} of the line)", valid + 1),
    )
}
