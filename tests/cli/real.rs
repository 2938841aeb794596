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
