//! A recipe that is data written as YAML again, for people: what is as by default is left out,
//! and lines of comment may stand in it.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::keys::{KEYS, Keys, Role};
use super::model::{Inputs, OutputSpec, RecipeSpec, StepSpec, Target};
use super::results::ResultKeys;
use crate::io::format::OutputFormat;
use crate::io::source::InputSpec;
use crate::op::{self, Choice, ModelSettings};
use crate::sample::DATASET;

/// What is written beside a recipe, one line of comment an element, without the `#`.
#[derive(Debug, Default, Clone)]
pub struct Comments {
    /// At the top.
    pub head: Vec<String>,
    /// Before each step.
    pub steps: Vec<Vec<String>>,
}

impl RecipeSpec {
    /// The recipe as a YAML file, which may lie anywhere: relative paths are written as they were
    /// found.
    #[must_use]
    pub fn to_yaml(&self, comments: &Comments) -> String {
        let [peers, own] = self.said();
        self.written(comments, &[peers, own].concat())
    }

    /// The same without those of its keys that Data-Juicer would refuse: [`Self::own_options`].
    #[must_use]
    pub fn to_peer_yaml(&self, comments: &Comments) -> String {
        let [peers, _] = self.said();
        self.written(comments, &peers)
    }

    /// What its keys say that Data-Juicer does not have, as options of `djr run`.
    #[must_use]
    pub fn own_options(&self) -> Vec<String> {
        let [_, own] = self.said();
        let option = |(key, value): &(&str, Value)| {
            let value = match value {
                Value::String(text) => text.clone(),
                value => scalar(value),
            };
            format!("--set {}", quoted(&format!("{key}={value}")))
        };
        own.iter().map(option).collect()
    }

    fn written(&self, comments: &Comments, keys: &[(&str, Value)]) -> String {
        let mut out = String::new();
        for line in &comments.head {
            let _ = writeln!(out, "# {line}");
        }
        if !comments.head.is_empty() {
            out.push('\n');
        }
        for (key, value) in keys {
            let _ = writeln!(out, "{key}: {}", scalar(value));
        }
        if self.shares.is_empty() {
            let _ = writeln!(out, "dataset_path: {}", scalar(&self.named_inputs()));
        } else {
            let _ = writeln!(out, "dataset: {}", scalar(&self.mixture()));
        }
        self.write_outputs(&mut out);
        out.push_str("\nprocess:\n");
        for (i, step) in self.steps.iter().enumerate() {
            for line in comments.steps.get(i).into_iter().flatten() {
                let _ = writeln!(out, "  # {line}");
            }
            self.write_step(step, &mut out);
        }
        out
    }

    /// The inputs: as they are named where a step asks for their names, else file by file.
    fn named_inputs(&self) -> Value {
        let asks = |step: &StepSpec| step.params.values().any(|value| value == DATASET);
        if self.datasets.is_empty() || !self.steps.iter().any(asks) {
            return inputs(&self.inputs);
        }
        let paths = self.datasets.iter().map(|it| it.path.display().to_string());
        paths.collect::<Vec<_>>().into()
    }

    /// The datasets of a mixture.
    fn mixture(&self) -> Value {
        let Inputs::Files(files) = &self.inputs else {
            return Value::Null;
        };
        let mut rest = files.as_slice();
        let configs = self.shares.iter().map(|share| {
            let (own, behind) = rest.split_at_checked(share.files).unwrap_or((rest, &[]));
            rest = behind;
            let path: Vec<String> = own.iter().map(|file| file.display().to_string()).collect();
            serde_json::json!({"type": "local", "path": path, "weight": share.weight})
        });
        let configs: Vec<Value> = configs.collect();
        let most: u64 = self.shares.iter().map(|share| share.rows).sum();
        serde_json::json!({"configs": configs, "max_sample_num": most})
    }

    /// What its keys say that is not as by default, but for input, outputs and `process`; first
    /// Data-Juicer's, then djr's own.
    fn said(&self) -> [Vec<(&'static str, Value)>; 2] {
        let mut usual = Self::of_keys("", &Keys::default()).to_json();
        // Left out where all of it is as by default.
        if let Value::Object(usual) = &mut usual {
            for (field, value) in [
                ("input", serde_json::to_value(InputSpec::default())),
                ("models", serde_json::to_value(ModelSettings::default())),
                (
                    ResultKeys::FIELD,
                    serde_json::to_value(ResultKeys::default()),
                ),
            ] {
                usual.insert(field.to_owned(), value.unwrap_or_default());
            }
        }
        let own = self.to_json();
        let mut said = [Vec::new(), Vec::new()];
        for key in KEYS {
            let place = place(key.name);
            let value = match key.name {
                "max_quarantine" => Some(self.max_quarantine.written().into()),
                "input.csv" => self.csv(),
                _ => own.pointer(&place).cloned(),
            };
            let is_usual = own.pointer(&place) == usual.pointer(&place) && key.name != "input.csv";
            let elsewhere = matches!(key.name, "process" | "outputs");
            let Some(value) = value.filter(|value| !value.is_null() && !is_usual && !elsewhere)
            else {
                continue;
            };
            let [peers, owns] = &mut said;
            let list = if key.role == Role::Own { owns } else { peers };
            list.push((key.name, value));
        }
        said
    }

    /// How tables in text are read, if it says so.
    fn csv(&self) -> Option<Value> {
        let mut csv = Map::new();
        if let Some(delimiter) = self.input.delimiter {
            csv.insert("delimiter".to_owned(), delimiter.to_string().into());
        }
        if self.input.infer_types {
            csv.insert("types".to_owned(), "infer".into());
        }
        (!csv.is_empty()).then_some(Value::Object(csv))
    }

    fn write_outputs(&self, out: &mut String) {
        let plain = self.outputs.first().filter(|spec| self.is_plain(spec));
        if let Some(spec) = plain {
            let _ = writeln!(out, "export_path: {}", scalar(&target(&spec.target)));
            if let Some(bytes) = spec.shard_size {
                let _ = writeln!(out, "export_shard_size: {bytes}");
            }
        }
        let mut rest = self.outputs.iter().skip(usize::from(plain.is_some()));
        if let Some(first) = rest.next() {
            out.push_str("outputs:\n");
            for spec in std::iter::once(first).chain(rest) {
                let mut item = serde_json::to_value(spec).unwrap_or_default();
                if let Value::Object(item) = &mut item {
                    let sampled = spec.sample.is_some();
                    let drawing = |key: &str| key == "sampler" || key == "shuffle";
                    item.retain(|key, value| !value.is_null() && (sampled || !drawing(key)));
                }
                let _ = writeln!(out, "  - {}", scalar(&item));
            }
        }
    }

    /// Whether `export_path` alone says what the output is.
    fn is_plain(&self, spec: &OutputSpec) -> bool {
        *spec
            == OutputSpec {
                seed: self.seed,
                shard_size: spec.shard_size,
                line: spec.line,
                ..OutputSpec::new(OutputFormat::ROWS, spec.target.clone())
            }
    }

    fn write_step(&self, step: &StepSpec, out: &mut String) {
        let defaults = op::find(&step.name).map(|def| (def.defaults)());
        let mut params = String::new();
        for (param, value) in &step.params {
            let usual = match defaults.as_ref().and_then(|d| d.get(param)) {
                Some(default) => default == value,
                None => self.is_usual_base(param, value),
            };
            if !usual {
                let found = self.found(param, value);
                let value = found.as_ref().unwrap_or(value);
                let _ = writeln!(params, "      {param}: {}", scalar(value));
            }
        }
        let _ = write!(out, "  - {}:\n{params}", step.name);
    }

    /// Whether a parameter that every operator has is what the recipe's keys say.
    fn is_usual_base(&self, param: &str, value: &Value) -> bool {
        match param {
            "text_key" => self.text_keys.first().is_some_and(|key| value == key),
            "image_key" => *value == self.image_key,
            "reversed_range" => *value == Value::Bool(false),
            // Whoever says it means it.
            _ if Choice::KEYS.contains(&param) => false,
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
        let found = super::inputs::locate(written, &self.search)?;
        Some(found.display().to_string().into())
    }
}

/// Where the value of a key stands in a recipe as JSON.
fn place(key: &str) -> String {
    let path = match key {
        "np" => "threads",
        "model_dtype" => "models/dtype",
        "model_batch" => "models/batch",
        "cache" => "results/dir",
        "cache_trust" => "results/trust",
        key => key,
    };
    format!("/{}", path.replace('.', "/"))
}

/// A word of a command line, as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=%,:+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn inputs(inputs: &Inputs) -> Value {
    match inputs {
        Inputs::Stdin | Inputs::Given(_) => "-".into(),
        Inputs::Files(files) => {
            let mut names: Vec<Value> = files
                .iter()
                .map(|file| file.display().to_string().into())
                .collect();
            match (names.pop(), names.is_empty()) {
                (Some(only), true) => only,
                (last, _) => {
                    names.extend(last);
                    names.into()
                }
            }
        }
    }
}

fn target(target: &Target) -> Value {
    match target.path() {
        None => "-".into(),
        Some(path) => path.display().to_string().into(),
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
        Value::Object(map) => format!("{{{}}}", entries(map)),
        other => other.to_string(),
    }
}

fn entries(map: &Map<String, Value>) -> String {
    let entries: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), scalar(value)))
        .collect();
    entries.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recipe::yaml;

    #[test]
    fn values_are_read_back_as_they_were() {
        for value in [
            json!(1e-7),
            json!(-9.223_372_036_854_776e18),
            json!(1e300),
            json!(0.1),
            json!(-3),
            json!("a #: \u{1}é\n\"'"),
            json!(["no", "1e5", null, true]),
            json!({"a": {"b: c": [1.5, "~"]}}),
        ] {
            let text = scalar(&value);
            let parsed = yaml::parse(&text, 0);
            assert!(parsed.issues.is_empty(), "{text}");
            assert_eq!(parsed.root.unwrap().to_json(), value, "{text}");
        }
        assert_eq!(scalar(&json!(1e-7)), "1.0e-7");
        assert_eq!(scalar(&json!(1e300)), "1.0e+300");
        assert_eq!(scalar(&json!(9.5e18)), "9.5e+18");
        assert_eq!(scalar(&json!("${HOME}")), "\"$${HOME}\"");
    }
}
