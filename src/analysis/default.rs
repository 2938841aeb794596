//! What is measured when no recipe says so.

use serde_json::{Map, Value, json};

use crate::op;
use crate::recipe::{self, LoadOptions, Problems, Recipe, RecipeSource, Target};

/// The filters that say they are worth it: they need no word lists and no models, and without bounds
/// they measure and drop nothing. Those that need least of the images come first.
fn measuring() -> Value {
    let mut steps = Vec::new();
    for def in op::all() {
        let given = def.facts.analysis.map(serde_json::from_str);
        let Some(Ok(Value::Object(mut given))) = given else {
            continue;
        };
        let mut params = match (def.defaults)() {
            Value::Object(defaults) => defaults,
            _ => Map::new(),
        };
        params.extend(given.clone());
        for bound in def.stats(&params).iter().flat_map(op::Stat::bounds) {
            given.insert(bound.param.to_owned(), bound.open());
        }
        steps.push(((def.facts.images)(&params), json!({ def.name: given })));
    }
    steps.sort_by_key(|(need, _)| *need);
    let steps: Vec<Value> = steps.into_iter().map(|(_, step)| step).collect();
    json!({"project_name": "analysis", "process": steps})
}

/// The recipe of an analysis without one, over the input of `options`.
///
/// # Errors
/// If that input is not there.
pub fn default_recipe(mut options: LoadOptions) -> Result<Recipe, Problems> {
    options.output = Some(Target::Stdout);
    let source = RecipeSource::Value {
        name: "default set of filters".into(),
        value: measuring(),
    };
    recipe::load(&source, &options)
}
