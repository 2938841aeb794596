//! A resolved recipe written as YAML again: what a manifest or an analysis says was run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::op;

/// A resolved recipe ([`crate::recipe::Recipe::to_json`]) to be written as YAML.
pub struct Resolved<'a> {
    /// The recipe.
    pub recipe: &'a Value,
    /// Where its relative paths start.
    pub search: Vec<PathBuf>,
    /// Leave out what is as it is by default.
    pub brief: bool,
}

impl Resolved<'_> {
    /// The keys but for `process`, inputs and outputs.
    #[must_use]
    pub fn globals(&self) -> String {
        let mut out = String::new();
        let defaults = crate::recipe::default_keys();
        for (key, value) in self.recipe.as_object().into_iter().flatten() {
            let written = match key.as_str() {
                "inputs" | "outputs" | "process" => continue,
                "threads" => "np",
                other => other,
            };
            let usual = defaults.get(key) == Some(value);
            let left_out = value.is_null() || (self.brief && usual);
            if !left_out {
                let _ = writeln!(out, "{written}: {}", scalar(value));
            }
        }
        out
    }

    /// The inputs.
    #[must_use]
    pub fn inputs(&self) -> String {
        let inputs = self.recipe.get("inputs").cloned().unwrap_or_default();
        match inputs.as_array().map(Vec::as_slice) {
            Some([one]) => format!("dataset_path: {}\n", scalar(one)),
            _ => format!("dataset_path: {}\n", scalar(&inputs)),
        }
    }

    /// The steps: name and parameters.
    pub fn steps(&self) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
        let steps = self.recipe.get("process").and_then(Value::as_array);
        steps.into_iter().flatten().filter_map(|step| {
            let (name, params) = step.as_object()?.iter().next()?;
            Some((name.as_str(), params.as_object()?))
        })
    }

    /// One step as an item of `process`.
    #[must_use]
    pub fn step(&self, name: &str, params: &Map<String, Value>) -> String {
        let defaults = op::find(name).map(|def| (def.defaults)());
        let mut out = String::new();
        for (param, value) in params {
            let usual = match defaults.as_ref().and_then(|d| d.get(param)) {
                Some(default) => default == value,
                None => self.is_usual_base(param, value),
            };
            if self.brief && usual {
                continue;
            }
            let found = self.found(param, value);
            let _ = writeln!(
                out,
                "      {param}: {}",
                scalar(found.as_ref().unwrap_or(value))
            );
        }
        if out.is_empty() {
            format!("  - {name}:\n")
        } else {
            format!("  - {name}:\n{out}")
        }
    }

    /// Whether a parameter that every operator has is what the recipe's keys say.
    fn is_usual_base(&self, param: &str, value: &Value) -> bool {
        match param {
            "text_key" => self.recipe.pointer("/text_keys/0") == Some(value),
            "image_key" => self.recipe.get("image_key") == Some(value),
            "reversed_range" => *value == Value::Bool(false),
            _ => *value == Value::Bool(true),
        }
    }

    /// The path that a relative one meant where the recipe stood.
    fn found(&self, param: &str, value: &Value) -> Option<Value> {
        let names_a_path = ["_dir", "_path"].iter().any(|end| param.ends_with(end));
        let written = value
            .as_str()
            .filter(|text| !text.is_empty() && names_a_path)?;
        if Path::new(written).is_absolute() {
            return None;
        }
        let found = self
            .search
            .iter()
            .map(|dir| dir.join(written))
            .find(|path| path.exists())?;
        Some(found.display().to_string().into())
    }
}

/// A value as YAML reads it back: JSON, but for floats, which need a point and a sign.
#[must_use]
pub fn scalar(value: &Value) -> String {
    match value {
        Value::Number(number) => {
            let text = number.to_string();
            match text.split_once('e') {
                Some((mantissa, exponent)) => {
                    let point = if mantissa.contains('.') { "" } else { ".0" };
                    let sign = if exponent.starts_with(['-', '+']) {
                        ""
                    } else {
                        "+"
                    };
                    format!("{mantissa}{point}e{sign}{exponent}")
                }
                None => text,
            }
        }
        Value::String(text) => {
            // `${NAME}` would be looked up once more.
            Value::from(text.replace("${", "$${")).to_string()
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(scalar).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), scalar(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_back_as_they_were() {
        for value in [
            json!(1e-7),
            json!(-9.223_372_036_854_776e18),
            json!(1e300),
            json!(0.1),
            json!(-3),
            json!("a ${HOME}: #\u{1}é\n\"'"),
            json!(["no", "1e5", null, true]),
        ] {
            let text = format!(
                "dataset_path: '-'\nexport_path: '-'\nprocess: [general_field_filter: ]\n\
                 project_name: {}\n",
                scalar(&json!(value.to_string()))
            );
            let source = crate::recipe::RecipeSource::Text {
                name: String::new(),
                text,
            };
            let options = crate::recipe::LoadOptions::new("/");
            let recipe = crate::recipe::load(&source, &options).unwrap();
            assert_eq!(recipe.project_name, value.to_string());
        }
        assert_eq!(scalar(&json!(1e-7)), "1.0e-7");
        assert_eq!(scalar(&json!(1e300)), "1.0e+300");
        assert_eq!(scalar(&json!(9.5e18)), "9.5e+18");
        assert_eq!(scalar(&json!(["a", 2, 0.5])), "[\"a\", 2, 0.5]");
    }
}
