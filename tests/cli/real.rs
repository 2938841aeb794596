//! The real rows of the shared folder, where there is one.

use std::path::Path;

use serde_json::Value;

use crate::support::{Scratch, rows, shared};

#[test]
fn convert_equals_the_known_good_records_but_for_the_absolute_path() {
    let Some(real) = shared().map(|dir| dir.join("real")) else {
        println!("skipped: DJR_SHARED is not set");
        return;
    };
    let scratch = Scratch::new();
    let path = |name: &str| real.join(name).display().to_string();
    let args = [
        "convert",
        "--to",
        "llava",
        &path("rows.jsonl"),
        "--questions",
        &path("stage_1.json"),
        "-o",
        "train.json",
    ];
    scratch.djr(&args).expect(0);
    let found = scratch.json("train.json");
    let mut expected: Value =
        serde_json::from_slice(&std::fs::read(real.join("expected_llava.json")).unwrap()).unwrap();
    for record in expected.as_array_mut().unwrap() {
        let image = real.join(record["image"].as_str().unwrap());
        record["image"] = Value::from(image.to_str().unwrap());
    }
    assert_eq!(found.as_array().unwrap().len(), 990);
    assert!(found == expected);
}

#[test]
fn every_recipe_runs_on_real_rows() {
    let Some(real) = shared().map(|dir| dir.join("real")) else {
        println!("skipped: DJR_SHARED is not set");
        return;
    };
    let scratch = Scratch::new();
    std::os::unix::fs::symlink(&real, scratch.path("real")).unwrap();
    for recipe in [
        "basic_clean",
        "full_clean",
        "caption_quality",
        "baseline_10k",
        "train_200k",
        "rank_window",
        "quartiles",
        "mixture",
        "best_of_duplicates",
    ] {
        let file = format!("recipes/{recipe}.yaml");
        let ran = scratch.djr(&[
            "run",
            &file,
            "--input",
            "real/rows.jsonl",
            "--set",
            "image_root=real",
        ]);
        assert!(ran.code <= 1, "{recipe}: {}", ran.stderr);
        assert!(ran.stderr.contains("rows out"), "{recipe}: {}", ran.stderr);
    }
    assert!(rows(&std::fs::read(Path::new(&real).join("rows.jsonl")).unwrap()).len() == 990);
}

/// Paths as the peer writes them still have their `..`.
fn normalised(mut row: Value) -> Value {
    if let Some(images) = row.get_mut("images").and_then(Value::as_array_mut) {
        for image in images {
            let path = djr::sample::normalise(image.as_str().unwrap().into());
            *image = Value::from(path.to_str().unwrap());
        }
    }
    row
}

#[test]
fn whole_recipes_give_the_rows_that_the_peer_gave() {
    let Some(cases) = shared().map(|dir| dir.join("peer/cases")) else {
        println!("skipped: DJR_SHARED is not set");
        return;
    };
    let mut compared = 0;
    for entry in std::fs::read_dir(cases.join("_pipelines"))
        .unwrap()
        .flatten()
    {
        let pipeline = entry.path();
        let Ok(expected) = std::fs::read_to_string(pipeline.join("expected/result.jsonl")) else {
            continue;
        };
        let scratch = Scratch::new();
        let recipe = std::fs::read_to_string(pipeline.join("recipe.yaml")).unwrap();
        let place = cases.to_str().unwrap();
        scratch.write("r.yaml", recipe.replace("{cases}", place));
        let input = pipeline.join("input.jsonl").display().to_string();
        let args = [
            "run",
            "r.yaml",
            "--input",
            &input,
            "--output",
            "result.jsonl",
        ];
        let ran = scratch.djr(&args);
        assert!(ran.code <= 1, "{}: {}", pipeline.display(), ran.stderr);
        let expected: Vec<Value> = rows(expected.replace("{cases}", place).as_bytes());
        // Where the peer lost sound rows beside a bad one, it left nothing to compare with.
        if expected.is_empty() {
            continue;
        }
        let known: Vec<u64> = scratch
            .path("result.jsonl.djr/quarantine.jsonl")
            .exists()
            .then(|| scratch.rows("result.jsonl.djr/quarantine.jsonl"))
            .into_iter()
            .flatten()
            .filter_map(|row| {
                serde_json::from_str::<Value>(row["row"].as_str()?).ok()?["id"].as_u64()
            })
            .collect();
        // Rows that are set aside here on purpose (a truncated image, say) pass there.
        let wanted: Vec<Value> = expected
            .into_iter()
            .map(normalised)
            .filter(|row| row["id"].as_u64().is_none_or(|id| !known.contains(&id)))
            .collect();
        let found: Vec<Value> = scratch
            .rows("result.jsonl")
            .into_iter()
            .map(normalised)
            .collect();
        assert!(
            found == wanted,
            "{}: {found:#?} instead of {wanted:#?}",
            pipeline.display()
        );
        compared += 1;
    }
    assert!(compared >= 6, "only {compared} recipes compared");
}
