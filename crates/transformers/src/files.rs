//! The files of a model's folder.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::ModelError;

/// How a file is read: whoever asks for a model may note what was read.
pub type Read<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// A model's folder, and how its files are read.
#[derive(Clone, Copy)]
pub struct ModelFiles<'a> {
    folder: &'a Path,
    read: Read<'a>,
}

impl<'a> ModelFiles<'a> {
    /// The files of `folder`, read by `read`.
    #[must_use]
    pub fn new(folder: &'a Path, read: Read<'a>) -> Self {
        Self { folder, read }
    }

    /// The path of the file `name`, which need not exist.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The bytes of the file `name`; `None` if there is no such file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, ModelError> {
        let path = self.path(name);
        match (self.read)(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ModelError::new(
                format!("cannot read {}: {error}", path.display()),
                "make the file readable",
            )),
        }
    }

    /// The JSON object in the file `name`; `None` if there is no such file.
    ///
    /// # Errors
    /// If it cannot be read, or holds something else.
    pub fn object(&self, name: &str) -> Result<Option<Map<String, Value>>, ModelError> {
        let Some(bytes) = self.bytes(name)? else {
            return Ok(None);
        };
        let broken = |what: &dyn std::fmt::Display| {
            ModelError::new(
                format!("{}: {what}", self.path(name).display()),
                "fetch the model again",
            )
        };
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => Ok(Some(map)),
            Ok(_) => Err(broken(&"is no JSON object")),
            Err(error) => Err(broken(&error)),
        }
    }

    /// The JSON object in the file `name`.
    ///
    /// # Errors
    /// Those of [`ModelFiles::object`], and if there is no such file.
    pub fn required(&self, name: &str) -> Result<Map<String, Value>, ModelError> {
        self.object(name)?.ok_or_else(|| self.lacks(name))
    }

    /// What is done to a picture before the model sees it: `preprocessor_config.json`, or what
    /// `processor_config.json` says of it, where transformers 5 keeps it.
    ///
    /// # Errors
    /// Those of [`ModelFiles::object`], and if neither file says it.
    pub fn image_processor(&self) -> Result<Map<String, Value>, ModelError> {
        const OWN: &str = "preprocessor_config.json";
        if let Some(own) = self.object(OWN)? {
            return Ok(own);
        }
        let shared = self.object("processor_config.json")?;
        match shared.and_then(|mut shared| shared.remove("image_processor")) {
            Some(Value::Object(config)) => Ok(config),
            _ => Err(self.lacks(OWN)),
        }
    }

    /// That the folder has no such file.
    #[must_use]
    pub fn lacks(&self, what: &str) -> ModelError {
        ModelError::new(
            format!("{} has no {what}", self.folder.display()),
            "name the folder of a model as save_pretrained or hf download leaves it",
        )
    }

    /// The files that hold the weights, by name: one file, or the parts that an index lists.
    /// Safetensors come before pickles, as transformers takes them.
    ///
    /// # Errors
    /// If there are none, or parts are missing.
    pub fn weights(&self) -> Result<Vec<PathBuf>, ModelError> {
        for whole in ["model.safetensors", "pytorch_model.bin"] {
            if self.path(whole).is_file() {
                return Ok(vec![self.path(whole)]);
            }
            let Some(index) = self.object(&format!("{whole}.index.json"))? else {
                continue;
            };
            let parts = index.get("weight_map").and_then(Value::as_object);
            let mut names: Vec<&str> = parts
                .into_iter()
                .flat_map(Map::values)
                .filter_map(Value::as_str)
                .collect();
            names.sort_unstable();
            names.dedup();
            if let Some(missing) = names.iter().find(|name| !self.path(name).is_file()) {
                return Err(self.lacks(missing));
            }
            if !names.is_empty() {
                return Ok(names.into_iter().map(|name| self.path(name)).collect());
            }
        }
        Err(self.lacks("model.safetensors or pytorch_model.bin"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_read_from_its_own_file_or_from_the_shared_one() {
        const OLD: (&str, &str) = ("preprocessor_config.json", r#"{"resample": 3}"#);
        const NEW: (&str, &str) = (
            "processor_config.json",
            r#"{"image_processor": {"resample": 2}, "num_query_tokens": 4}"#,
        );
        const NONE: (&str, &str) = ("processor_config.json", r#"{"num_query_tokens": 4}"#);
        let files = |there: &'static [(&str, &str)]| {
            move |path: &Path| {
                let name = path.file_name().unwrap_or_default();
                let found = there.iter().find(|(of, _)| name == *of);
                found
                    .map(|(_, text)| text.as_bytes().to_vec())
                    .ok_or_else(|| io::ErrorKind::NotFound.into())
            }
        };
        let folder = Path::new("model");
        let resample = |there: &'static [(&str, &str)]| {
            let read = files(there);
            let found = ModelFiles::new(folder, &read).image_processor();
            found.map(|config| config.get("resample").cloned())
        };
        assert_eq!(resample(&[OLD]).unwrap(), Some(3.into()));
        assert_eq!(resample(&[NEW]).unwrap(), Some(2.into()));
        assert_eq!(resample(&[NEW, OLD]).unwrap(), Some(3.into()));
        for lacking in [&[] as &[_], &[NONE]] {
            let error = resample(lacking).unwrap_err().to_string();
            assert!(error.contains("has no preprocessor_config.json"), "{error}");
        }
    }
}
