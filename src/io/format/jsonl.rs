//! Rows as JSON Lines: the bytes they came with, but for what operators and path rewriting changed.

use super::Renderer;
use crate::io::paths::PathWriter;
use crate::sample::{RowError, Sample, python_json};

/// Writes rows as one JSON object a line.
pub struct JsonlRenderer {
    /// How image paths are written.
    pub paths: PathWriter,
    /// Whether `__dj__stats__` is written.
    pub keep_stats: bool,
    /// Whether hash columns are written.
    pub keep_hashes: bool,
}

impl Renderer for JsonlRenderer {
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        let mut fields: Vec<(&str, String)> = Vec::new();
        let image_key = sample.image_context().image_key.clone();
        if !self.paths.keeps()
            && sample.has(&image_key)
            && let Some(json) = self.images_json(sample)?
        {
            fields.push((&image_key, json));
        }
        if self.keep_stats && !sample.stats.is_empty() {
            fields.push(("__dj__stats__", python_json(&sample.stats.to_json())));
        }
        if self.keep_hashes {
            push_hashes(sample, &mut fields);
        }
        sample.write_json(&fields, out);
        Ok(())
    }
}

impl JsonlRenderer {
    /// The image field with rewritten paths in its own shape; `None` if nothing changes.
    fn images_json(&self, sample: &Sample) -> Result<Option<String>, RowError> {
        let images = sample.images()?;
        if images.is_empty() {
            return Ok(None);
        }
        let written: Vec<String> = images
            .iter()
            .map(|image| self.paths.rewrite(image.written(), image.path()))
            .collect();
        if written
            .iter()
            .zip(images)
            .all(|(new, image)| new == image.written())
        {
            return Ok(None);
        }
        // A single string stays a single string.
        let value = match (sample.image_field_is_list()?, written.first()) {
            (false, Some(only)) => serde_json::Value::from(only.as_str()),
            _ => serde_json::Value::from(written),
        };
        Ok(Some(python_json(&value)))
    }
}

fn push_hashes(sample: &Sample, fields: &mut Vec<(&str, String)>) {
    let hashes = &sample.hashes;
    if let Some(digest) = hashes.text.get() {
        let hex = u128::from_be_bytes(*digest);
        fields.push(("__dj__hash", format!("\"{hex:032x}\"")));
    }
    if let Some(hash) = hashes.image.get() {
        fields.push(("__dj__imagehash", format!("\"{hash}\"")));
    }
    if let Some(hash) = hashes.simhash.get() {
        fields.push(("__dj__simhash", format!("\"{hash}\"")));
    }
}
