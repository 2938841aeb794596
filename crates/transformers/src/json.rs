//! Values of a configuration file, each asked for by name.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::ModelError;

const HINT: &str = "use a model of a kind that djr knows, or ask for this one";

/// An object of a configuration file: values that are asked for, and a list of those that were.
pub struct Config<'a> {
    file: String,
    map: &'a Map<String, Value>,
    asked: BTreeSet<&'static str>,
}

impl<'a> Config<'a> {
    pub fn new(file: &str, map: &'a Map<String, Value>) -> Self {
        Self {
            file: file.to_owned(),
            map,
            asked: BTreeSet::new(),
        }
    }

    /// The value of `key`, unless it is null.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.insert(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// These keys say nothing about the answer.
    pub fn ignore(&mut self, keys: &[&'static str]) {
        self.asked.extend(keys);
    }

    pub fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, ModelError> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.unfit(key, other, "true or false")),
        }
    }

    pub fn text(&mut self, key: &'static str) -> Result<Option<&'a str>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.unfit(key, other, "a text")),
        }
    }

    pub fn whole(&mut self, key: &'static str) -> Result<Option<u32>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match value.as_u64().and_then(|v| u32::try_from(v).ok()) {
                Some(number) => Ok(Some(number)),
                None => Err(self.unfit(key, value, "a whole number")),
            },
        }
    }

    pub fn whole_or(&mut self, key: &'static str, default: u32) -> Result<u32, ModelError> {
        Ok(self.whole(key)?.unwrap_or(default))
    }

    pub fn number(&mut self, key: &'static str, default: f64) -> Result<f64, ModelError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_f64()
                .ok_or_else(|| self.unfit(key, value, "a number")),
        }
    }

    pub fn object(
        &mut self,
        key: &'static str,
    ) -> Result<Option<&'a Map<String, Value>>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(self.unfit(key, other, "an object")),
        }
    }

    /// `key` has a value that is not understood.
    pub fn unfit(&self, key: &str, value: &Value, wanted: &str) -> ModelError {
        ModelError::new(
            format!("{}: `{key}` is {value}, not {wanted}", self.file),
            HINT,
        )
    }

    /// Refuses keys that nobody asked for, unless they are null.
    pub fn finish(self) -> Result<(), ModelError> {
        let unknown: Vec<String> = self
            .map
            .iter()
            .filter(|(key, value)| !value.is_null() && !self.asked.contains(key.as_str()))
            .map(|(key, _)| format!("`{key}`"))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(ModelError::new(
            format!("{}: unknown {}", self.file, unknown.join(", ")),
            HINT,
        ))
    }
}
