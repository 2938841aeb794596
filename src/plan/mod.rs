//! The plan of a run: a recipe, its built operators and the files they opened, as one value.
//!
//! Nothing else but the rows decides what a run answers. The value can be printed, written, read
//! back, compared and hashed: `--explain` shows it, a checkpoint and a manifest hold it, and going
//! on, recutting and verifying compare it with what is there now.

pub mod cut;
mod foresee;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

pub use cut::{Phase, image_need, order, output_need, phases};
pub use foresee::{Asked, Foreseen, foresee, named};

use crate::op::{Asset, ImageNeed};
use crate::recipe::{OutputSpec, PeerKeys, Recipe, ResultKeys};

/// Raised when plans are written in another way.
pub const VERSION: u32 = 1;

/// Keys of a resolved recipe that the answer does not depend on: what it is called, how fast the
/// answer comes.
const ASIDE: [&str; 6] = [
    "name",
    "threads",
    "max_memory",
    "max_cost",
    "max_tokens_total",
    ResultKeys::FIELD,
];

/// A parameter of steps that says where a server is and what it costs, which no answer depends on.
const WHERE: &str = "model_params";

/// Whether a key is one of them.
fn is_aside(key: &str) -> bool {
    ASIDE.contains(&key) || PeerKeys::ASIDE.contains(&key)
}

/// What a run does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Of this form.
    pub version: u32,
    /// The recipe as resolved ([`Recipe::to_json`]).
    pub recipe: Value,
    /// Its steps, in order.
    pub steps: Vec<PlannedStep>,
    /// The passes over the rows.
    pub stages: Vec<Stage>,
    /// Files that outputs read.
    pub assets: Vec<Asset>,
}

/// An operator in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedStep {
    /// Its name.
    pub op: String,
    /// The version of its answers.
    pub version: u32,
    /// The files that it opened while it was built.
    pub assets: Vec<Asset>,
    /// The model or program that it asks, and how that is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Value>,
}

/// One pass over the rows. Steps count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// Steps that run row by row, in the order in which they run.
    pub rows: Vec<usize>,
    /// Steps that decide when all rows are known; the last stage has none and writes the outputs.
    pub exchanges: Vec<usize>,
    /// How far images are decoded.
    pub images: ImageNeed,
}

impl Plan {
    /// The plan of `recipe`, with the files that its outputs read as they are now.
    ///
    /// # Errors
    /// If one of these cannot be read; names it.
    pub fn of(recipe: &Recipe) -> io::Result<Self> {
        let steps = recipe.steps.iter().map(|step| PlannedStep {
            op: step.name.to_owned(),
            version: step.spec.version,
            assets: step.spec.assets.clone(),
            service: step
                .spec
                .service
                .as_ref()
                .and_then(|service| serde_json::to_value(service).ok()),
        });
        let stages = phases(&recipe.steps).into_iter().map(|phase| Stage {
            rows: order(recipe, &phase.stream).iter().map(|n| n + 1).collect(),
            exchanges: phase.group.clone().map(|n| n + 1).collect(),
            images: image_need(&recipe.steps, &phase, &recipe.outputs),
        });
        let files = recipe.outputs.iter().flat_map(OutputSpec::files);
        let asset = |path: &Path| {
            let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
            Asset::now(path).map_err(named)
        };
        Ok(Self {
            version: VERSION,
            recipe: recipe.to_json(),
            steps: steps.collect(),
            stages: stages.collect(),
            assets: files.map(asset).collect::<io::Result<_>>()?,
        })
    }

    /// XXH3-128 of the plan but for what the answer does not depend on, 32 hexadecimal digits. Two runs with
    /// the same digest over the same rows give the same bytes.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut plan = self.clone();
        plan.recipe = self.without_places();
        if let Value::Object(recipe) = &mut plan.recipe {
            recipe.retain(|key, _| !is_aside(key));
        }
        let json = serde_json::to_vec(&plan).unwrap_or_default();
        format!("{:032x}", xxh3_128(&json))
    }

    /// The recipe without what says where the servers are that steps ask.
    fn without_places(&self) -> Value {
        let mut recipe = self.recipe.clone();
        let steps = recipe.get_mut("process").and_then(Value::as_array_mut);
        for (step, planned) in steps.into_iter().flatten().zip(&self.steps) {
            let kind = planned
                .service
                .as_ref()
                .and_then(|service| service.get("kind"));
            if kind.and_then(Value::as_str) == Some("endpoint")
                && let Some(params) = step.get_mut("params").and_then(Value::as_object_mut)
            {
                params.remove(WHERE);
            }
        }
        recipe
    }

    /// All files that operators and outputs read, in order.
    pub fn assets(&self) -> impl Iterator<Item = &Asset> {
        let of_steps = self.steps.iter().flat_map(|step| &step.assets);
        of_steps.chain(&self.assets)
    }

    /// Which of [`Plan::assets`] are not now what they were, each once.
    #[must_use]
    pub fn changed_assets(&self) -> Vec<AssetChange> {
        let mut changed: Vec<AssetChange> = Vec::new();
        for asset in self.assets() {
            let error = match Asset::now(&asset.path) {
                Ok(now) if now == *asset => continue,
                Ok(_) => None,
                Err(error) => Some(error),
            };
            if !changed.iter().any(|known| known.path == asset.path) {
                changed.push(AssetChange {
                    path: asset.path.clone(),
                    error,
                });
            }
        }
        changed
    }

    /// What is different in `now`, in words; nothing if both give the same answer.
    #[must_use]
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.version != now.version {
            let (was, is) = (self.version, now.version);
            found.push(format!("plans had version {was} and have {is}"));
        }
        let (was, is) = (self.without_places(), now.without_places());
        json_differences("recipe", &was, &is, &mut found);
        if !found.is_empty() {
            // Other steps read other files.
            return found;
        }
        for (was, is) in self.steps.iter().zip(&now.steps) {
            if was.version != is.version {
                let (op, was, is) = (&was.op, was.version, is.version);
                found.push(format!("{op} had version {was} and has {is}"));
            }
        }
        for was in self.assets() {
            let path = was.path.display();
            match now.assets().find(|is| is.path == was.path) {
                Some(is) if is == was => {}
                Some(_) => found.push(format!("{path}: its content is another")),
                None => found.push(format!("{path} is not read any more")),
            }
        }
        for is in now.assets() {
            if !self.assets().any(|was| was.path == is.path) {
                found.push(format!("{} was not read before", is.path.display()));
            }
        }
        found.dedup();
        if found.is_empty() && self.stages != now.stages {
            found.push("steps run in other stages".to_owned());
        }
        found
    }
}

/// A file that an operator or an output read, and that is not now what it was.
#[derive(Debug)]
pub struct AssetChange {
    /// The file.
    pub path: PathBuf,
    /// Why it cannot be read; else its content is another.
    pub error: Option<io::Error>,
}

impl fmt::Display for AssetChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.error {
            Some(error) => write!(f, "{path}: {error}"),
            None => write!(f, "{path}: its content is another"),
        }
    }
}

fn json_differences(at: &str, before: &Value, now: &Value, found: &mut Vec<String>) {
    match (before, now) {
        (Value::Object(a), Value::Object(b)) => {
            let absent = Value::Null;
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            for key in keys.filter(|key| at != "recipe" || !is_aside(key)) {
                json_differences(
                    &format!("{at}.{key}"),
                    a.get(key).unwrap_or(&absent),
                    b.get(key).unwrap_or(&absent),
                    found,
                );
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                json_differences(&format!("{at}[{index}]"), a, b, found);
            }
        }
        (a, b) if a != b => found.push(format!("{at} was {a} and is {b}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(recipe: Value, content: &str) -> Plan {
        Plan {
            version: VERSION,
            recipe,
            steps: vec![PlannedStep {
                op: "a".into(),
                version: 1,
                assets: vec![Asset {
                    path: PathBuf::from("words.json"),
                    bytes: 3,
                    xxh3_128: content.into(),
                }],
                service: None,
            }],
            stages: Vec::new(),
            assets: Vec::new(),
        }
    }

    #[test]
    fn changes_are_named() {
        let before = plan(
            json!({"process": [{"a": {"min": 1}}, {"b": {}}], "seed": 1, "old": 2}),
            "1",
        );
        let now = plan(
            json!({"process": [{"a": {"min": 5}}, {"b": {}}], "seed": 1, "new": []}),
            "1",
        );
        assert_eq!(
            before.differences(&now),
            [
                "recipe.process[0].a.min was 1 and is 5",
                "recipe.old was 2 and is null",
                "recipe.new was null and is []"
            ]
        );
        assert_ne!(before.digest(), now.digest());
    }

    #[test]
    fn files_count_and_speed_does_not() {
        let before = plan(json!({"seed": 1, "threads": 2}), "1");
        let faster = plan(json!({"seed": 1, "threads": 8}), "1");
        assert_eq!(before.digest(), faster.digest());
        assert!(before.differences(&faster).is_empty());
        let edited = plan(json!({"seed": 1, "threads": 2}), "2");
        assert_ne!(before.digest(), edited.digest());
        assert_eq!(
            before.differences(&edited),
            ["words.json: its content is another"]
        );
        let json = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), before);
    }
}
