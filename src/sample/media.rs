//! Files of other kinds that a row names: videos and audios. Nothing looks into them, but their paths
//! are found and written as those of images are.

use std::sync::Arc;

use serde_json::Value;

use super::file::{FILE, Place, is_url};
use super::{FieldPath, RowError, Sample};

impl Sample {
    /// The fields of such files that the row has, by name.
    ///
    /// # Errors
    /// Those of [`Sample::value`].
    pub fn media(&self) -> Result<Vec<(&str, Value)>, RowError> {
        let mut found = Vec::new();
        for key in &self.image_context().media_keys {
            if self.has(key)
                && let Some(value) = self.value(&FieldPath::new(key))?
            {
                found.push((key.as_str(), value));
            }
        }
        Ok(found)
    }

    /// Makes sure that such files are there.
    ///
    /// # Errors
    /// What is wrong with the first that is not: `file_missing` and its like.
    pub fn check_media(&self) -> Result<(), RowError> {
        for (_, mut value) in self.media()? {
            each_path(&mut value, &mut |path| {
                let context = Arc::clone(self.image_context());
                let place = Place::new(path.clone(), self.origin().file, context, &FILE);
                place.size().map(drop)
            })?;
        }
        Ok(())
    }
}

/// Calls `see` with every path of a field, whether it is a path, a list or a list of lists; stops at
/// the first error.
///
/// # Errors
/// What `see` says.
pub fn each_path<E>(
    value: &mut Value,
    see: &mut impl FnMut(&mut String) -> Result<(), E>,
) -> Result<(), E> {
    match value {
        // What lies elsewhere, or nowhere, is no file here.
        Value::String(path) if path.is_empty() || is_url(path) => Ok(()),
        Value::String(path) => see(path),
        Value::Array(items) => items.iter_mut().try_for_each(|item| each_path(item, see)),
        _ => Ok(()),
    }
}
