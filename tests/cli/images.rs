//! Images as a run meets them: which it keeps, and by which paths.

use std::fmt::Write as _;
use std::fs;

use serde_json::json;

use crate::support::Scratch;

const RECIPE: &str = "dataset_path: in.jsonl
outputs: [{format: jsonl, path: out.jsonl, validate: decode}]
paths: keep
process:
";

/// The ids of the rows that come out of `rows` of an image each.
fn kept(scratch: &Scratch, images: &[String], process: &str) -> Vec<String> {
    let mut lines = String::new();
    for image in images {
        let row = json!({"id": image, "text": "a picture", "images": [image]});
        writeln!(lines, "{row}").unwrap();
    }
    scratch.write("in.jsonl", lines);
    scratch.write("r.yaml", format!("{RECIPE}{process}"));
    let ran = scratch.djr(&["run", "r.yaml"]);
    assert!(ran.code < 2, "{}", ran.stderr);
    let id = |row: &serde_json::Value| row["id"].as_str().unwrap().to_owned();
    scratch.rows("out.jsonl").iter().map(id).collect()
}

#[test]
fn a_run_keeps_the_images_that_pillow_loads() {
    let scratch = Scratch::new();
    let answers = String::from_utf8(scratch.read("fixtures/images/answers.tsv")).unwrap();
    let names = |which: fn(&str) -> bool| -> Vec<String> {
        let lines = answers.lines().filter_map(|line| line.split_once('\t'));
        lines
            .filter(|(name, _)| cfg!(feature = "avif") || !name.starts_with("avif_"))
            .filter(|(_, answer)| which(answer))
            .map(|(name, _)| format!("fixtures/images/{name}"))
            .collect()
    };
    let process = "  - image_shape_filter: {}\n";
    assert_eq!(
        kept(&scratch, &names(|_| true), process),
        names(|answer| answer.starts_with("ok"))
    );
}

#[test]
fn a_run_opens_a_path_as_it_is_written() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("there")).unwrap();
    let picture = scratch.read("fixtures/golden/_images/scene.jpg");
    scratch.write("i.jpg", picture);
    let images = [
        "i.jpg",
        "there/../i.jpg",
        "./i.jpg",
        "i.jpg/",
        "i.jpg/.",
        "nosuch/../i.jpg",
        "i.jpg/../i.jpg",
    ]
    .map(str::to_owned);
    assert_eq!(
        kept(&scratch, &images, "  - image_shape_filter: {}\n"),
        images[..3]
    );
}
