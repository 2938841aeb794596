//! Data-Juicer's own recipes and parameters, read by djr's loader and held against its schema.

use std::fs;
use std::path::Path;

use djr::catalog;
use djr::recipe::{LoadOptions, RecipeSource, load};
use serde_json::json;
use tempfile::TempDir;

use crate::yaml;

/// The peer's own pipelines: what it runs must load here, operators that are lacking aside.
#[test]
fn pipelines_of_the_peer_load() {
    let Ok(shared) = std::env::var("DJR_SHARED") else {
        eprintln!("skipped: DJR_SHARED is not set");
        return;
    };
    let pipelines = Path::new(&shared).join("peer/cases/_pipelines");
    let schema = jsonschema::validator_for(&catalog::recipe_schema()).unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(pipelines).unwrap() {
        let dir = entry.unwrap().path();
        let recipe = dir.join("recipe.yaml");
        if !recipe.exists() {
            continue;
        }
        seen += 1;
        let scratch = TempDir::new().unwrap();
        let result = load(
            &RecipeSource::File(recipe.clone()),
            &LoadOptions::new(scratch.path()),
        );
        match result {
            Ok(_) => {
                let text = fs::read_to_string(&recipe).unwrap();
                let tree = yaml::read(&text).unwrap();
                assert!(schema.is_valid(&tree), "{tree}");
            }
            Err(problems) => {
                let lacking = problems
                    .iter()
                    .all(|p| p.message.contains("djr does not have"));
                let fails_there = !dir.join("expected").exists();
                assert!(lacking || fails_there, "{problems}");
            }
        }
    }
    assert!(seen > 0);
}

/// Every parameter set that the peer's cases were made with is understood here, those aside that
/// are cases of an error.
#[test]
fn parameters_of_the_peers_cases_are_understood() {
    let Ok(shared) = std::env::var("DJR_SHARED") else {
        eprintln!("skipped: DJR_SHARED is not set");
        return;
    };
    let schema = jsonschema::validator_for(&catalog::recipe_schema()).unwrap();
    let mut wrong = Vec::new();
    for op in djr::op::all() {
        let Ok(cases) = fs::read_dir(Path::new(&shared).join("peer/cases").join(op.name)) else {
            continue;
        };
        for case in cases {
            let path = case.unwrap().path();
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let case: serde_json::Value = serde_json::from_str(&text).unwrap();
            let (Some(params), None) = (case.get("params"), case.get("error")) else {
                continue;
            };
            let recipe = json!({"dataset_path": "-", "process": [{op.name: params}]});
            if !schema.is_valid(&recipe) {
                wrong.push(format!("{}: the schema refuses {params}", op.name));
            }
            let source = RecipeSource::Text {
                name: path.display().to_string(),
                text: recipe
                    .to_string()
                    .replace("${", "$${")
                    .replace("{assets}", &format!("{shared}/peer/assets")),
            };
            let mut options = LoadOptions::new(std::env::temp_dir());
            let cache = format!("{shared}/peer/assets/cache");
            options.env =
                Box::new(move |name| (name == "DATA_JUICER_CACHE_HOME").then(|| cache.clone()));
            if let Err(problems) = load(&source, &options) {
                for problem in &problems {
                    wrong.push(format!("{} {params}", problem.message));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
