//! What reports and analyses say of bounds: what other values leave is what runs leave, and bounds
//! from the data are those of runs.

use std::fmt::Write as _;

use regex::Regex;
use serde_json::json;

use crate::support::Scratch;

/// Rows with pictures of many shapes, every tenth with two of them, and texts of 1 to 60 characters;
/// one is of 5,000.
fn pictured(scratch: &Scratch) {
    std::fs::create_dir_all(scratch.path("img")).unwrap();
    let mut rows = String::new();
    for n in 0..60_u32 {
        let name = |k: u32| format!("img/{n}-{k}.png");
        let mut images = vec![name(0)];
        let picture = |width, height| {
            let mut bytes = std::io::Cursor::new(Vec::new());
            let picture = image::RgbImage::new(width, height);
            picture
                .write_to(&mut bytes, image::ImageFormat::Png)
                .unwrap();
            bytes.into_inner()
        };
        scratch.write(&name(0), picture(10 + n * 7 % 61, 10 + n * 11 % 59));
        if n % 10 == 0 {
            scratch.write(&name(1), picture(70 - n, 20 + n));
            images.push(name(1));
        }
        let length = if n == 30 { 5000 } else { 1 + n as usize };
        let row = json!({"id": n, "text": "a".repeat(length), "images": images});
        let _ = writeln!(rows, "{row}");
    }
    scratch.write("in.jsonl", rows);
}

const LENGTH: &str = "text_length_filter: {min_len: 4, max_len: 5500}";
const SHAPE: &str =
    "image_shape_filter: {min_width: 20, max_width: 60, min_height: 15, max_height: 65}";

fn recipe(steps: &[&str]) -> String {
    let steps: Vec<String> = steps.iter().map(|step| format!("  - {step}\n")).collect();
    format!(
        "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess:\n{}",
        steps.concat()
    )
}

/// The tables of a page: of each its parameter, and each value with the rows that it leaves.
fn tables(page: &str) -> Vec<(String, Vec<(f64, u64)>)> {
    let line = Regex::new(r#"data-cut="([^"]*)" data-left="(\d+)""#).unwrap();
    page.split("<details class=\"numbers\"><summary>")
        .skip(1)
        .filter_map(|table| {
            let (param, rest) = table.split_once(" → rows left")?;
            let table = rest.split("</details>").next()?;
            let lines = line.captures_iter(table);
            let values = lines.map(|c| (c[1].parse().unwrap(), c[2].parse().unwrap()));
            Some((param.to_owned(), values.collect()))
        })
        .collect()
}

#[test]
fn other_values_of_a_bound_leave_what_runs_with_them_leave() {
    let scratch = Scratch::new();
    pictured(&scratch);
    scratch.write("r.yaml", recipe(&[LENGTH, SHAPE]));
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let page = scratch.djr(&["report", "o.jsonl.djr"]).expect(0).text();
    let found = tables(&page);
    let params: Vec<&str> = found.iter().map(|(param, _)| param.as_str()).collect();
    let expected = [
        "min_len",
        "max_len",
        "min_width",
        "max_width",
        "min_height",
        "max_height",
    ];
    assert_eq!(params, expected);
    for (number, (param, values)) in found.iter().enumerate() {
        let (op, step) = if number < 2 {
            ("text_length_filter", 0)
        } else {
            ("image_shape_filter", 1)
        };
        assert!(values.len() >= 6, "{param}: {values:?}");
        assert!(values.windows(2).all(|w| w[0].0 < w[1].0), "{values:?}");
        let grows = param.starts_with("max");
        let ordered = |w: &[(f64, u64)]| {
            if grows {
                w[0].1 <= w[1].1
            } else {
                w[0].1 >= w[1].1
            }
        };
        assert!(values.windows(2).all(ordered), "{param}: {values:?}");
        let some = [
            values[0],
            values[values.len() / 2],
            values[values.len() - 1],
        ];
        for (value, left) in some {
            let set = format!("{op}.{param}={value}");
            let args = [
                "run",
                "r.yaml",
                "--force",
                "--output",
                "again.jsonl",
                "--set",
                &set,
            ];
            scratch.djr(&args).expect(0);
            let again = scratch.json("again.jsonl.djr/manifest.json");
            assert_eq!(again["steps"][step]["out"], left, "{set}");
        }
    }
    // One row of 5,000 characters does not take the table away from the others.
    let lengths = &found[0].1;
    let near = lengths.iter().filter(|(value, _)| *value <= 60.0).count();
    assert!(near >= 6, "{lengths:?}");
}

#[test]
fn ranges_that_are_reversed_or_open_have_the_table_too() {
    let scratch = Scratch::new();
    pictured(&scratch);
    for flags in ["reversed_range: true", "min_closed_interval: false"] {
        let step = format!("text_length_filter: {{min_len: 10, max_len: 40, {flags}}}");
        scratch.write("r.yaml", recipe(&[&step]));
        scratch.djr(&["run", "r.yaml", "--force"]).expect(0);
        let out = scratch.json("o.jsonl.djr/manifest.json")["steps"][0]["out"].clone();
        let page = scratch.djr(&["report", "o.jsonl.djr"]).expect(0).text();
        for (param, now) in [("min_len", 10.0), ("max_len", 40.0)] {
            let found = tables(&page);
            let (_, values) = found.iter().find(|(name, _)| name == param).unwrap();
            let here = values
                .iter()
                .find(|(value, _)| value.to_bits() == f64::to_bits(now))
                .unwrap();
            assert_eq!(out, here.1, "{flags}, {param}: {values:?}");
        }
    }
}

#[test]
fn an_analysis_says_what_other_bounds_would_leave() {
    let scratch = Scratch::new();
    pictured(&scratch);
    scratch.write("r.yaml", recipe(&[SHAPE]));
    scratch
        .djr(&["analyze", "--recipe", "r.yaml", "-o", "look"])
        .expect(0);
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let of_run = scratch.djr(&["report", "o.jsonl.djr"]).expect(0).text();
    let of_analysis = scratch.djr(&["report", "look"]).expect(0).text();
    // Both look at all rows, the one by a sketch of the values.
    for ((param, run), (same, analysis)) in tables(&of_run).iter().zip(&tables(&of_analysis)) {
        assert_eq!(param, same);
        for (value, left) in analysis {
            if let Some((_, other)) = run
                .iter()
                .find(|(known, _)| known.to_bits() == value.to_bits())
            {
                assert_eq!(left, other, "{param} {value}");
            }
        }
    }
    assert_eq!(tables(&of_analysis).len(), 4);
    // Bounds that the recipe leaves open have it as well.
    scratch
        .djr(&["analyze", "in.jsonl", "-o", "open"])
        .expect(0);
    let open = scratch.djr(&["report", "open"]).expect(0).text();
    let found = tables(&open);
    let (_, values) = found.iter().find(|(param, _)| param == "max_len").unwrap();
    assert_eq!(values.last().map(|(_, left)| *left), Some(59), "{values:?}");
}

#[test]
fn bounds_from_the_data_are_those_of_the_run() {
    let scratch = Scratch::new();
    pictured(&scratch);
    let steps = [
        "image_shape_filter: {max_width: p80, min_height: 1sigma}",
        "text_length_filter: {min_len: p10 of all, max_len: 3000, keep: best 20}",
        "alphanumeric_filter: {min_ratio: 0.5}",
    ];
    scratch.write("r.yaml", recipe(&steps));
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let manifest = scratch.json("o.jsonl.djr/manifest.json");
    scratch
        .djr(&["analyze", "--recipe", "r.yaml", "-o", "look"])
        .expect(0);
    let analysis = scratch.json("look/analysis.json");
    for step in 0..3 {
        let (filter, ran) = (&analysis["filters"][step], &manifest["steps"][step]);
        assert_eq!(filter["would_drop_in_sequence"], ran["dropped"], "{filter}");
        let found = filter.get("from_data").cloned().unwrap_or(json!([]));
        assert_eq!(found, ran["from_data"]);
    }
    let found = |step: usize, at: usize| manifest["steps"][step]["from_data"][at]["value"].clone();
    assert_eq!(
        analysis["stats"]["image_width"]["bounds"],
        json!({"min": 1.0, "max": found(0, 0)})
    );
    assert_eq!(
        analysis["stats"]["text_len"]["bounds"],
        json!({"min": found(1, 0), "max": 3000.0})
    );
    // Alone, the second filter keeps 20 of all 60 rows, too.
    assert_eq!(analysis["filters"][1]["would_drop"], 40);
    for page in ["o.jsonl.djr", "look"] {
        let page = scratch.djr(&["report", page]).expect(0).text();
        for told in ["max_width p80 (", "min_len p10 of all (", "keep best 20 ("] {
            assert!(page.contains(told), "{told}");
        }
        let marked = format!("data-bound=\"{}\"", found(0, 0).as_f64().unwrap());
        assert!(page.contains(&marked), "{marked}");
    }
    // Of the rows within other bounds, the best 20 stay.
    let page = scratch.djr(&["report", "o.jsonl.djr"]).expect(0).text();
    let tables = tables(&page);
    let (_, values) = tables.iter().find(|(param, _)| param == "min_len").unwrap();
    assert_eq!(values[0].1, 20, "{values:?}");
}

#[test]
fn a_row_is_told_of_as_dropped_later_only_where_it_was_let_through() {
    let scratch = Scratch::new();
    // 12 characters pass the first filter by one, and fail the second by one word.
    let row = |id: &str, text: &str| format!("{}\n", json!({"id": id, "text": text}));
    scratch.write(
        "in.jsonl",
        [
            row("both", "one two three"),
            row("first", "one twotwo12"),
            row("none", "one"),
        ]
        .concat(),
    );
    let steps = [
        "text_length_filter: {min_len: 12}",
        "words_num_filter: {min_num: 3}",
    ];
    scratch.write("r.yaml", recipe(&steps));
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let page = scratch.djr(&["report", "o.jsonl.djr"]).expect(0).text();
    let (first, second) = page.split_once("id=\"filter-2-num_words\"").unwrap();
    let told = "dropped later, by words_num_filter";
    assert_eq!(first.matches(told).count(), 1, "{first}");
    assert_eq!(second.matches("dropped later").count(), 0, "{second}");
}

#[test]
fn sizes_and_sides_are_shown_as_the_recipe_has_them() {
    let scratch = Scratch::new();
    pictured(&scratch);
    let steps = [
        "image_size_filter: {min_size: '0', max_size: 20MB}",
        "text_length_filter: {min_len: 33}",
        "specified_field_filter: {field_key: id, target_value: [1, 2]}",
    ];
    scratch.write("r.yaml", recipe(&steps));
    scratch
        .djr(&["analyze", "--recipe", "r.yaml", "-o", "look"])
        .expect(0);
    let page = scratch.djr(&["report", "look"]).expect(0).text();
    assert!(page.contains("max_size 20MB") && !page.contains("21.0 MB"));
    // 32 rows are shorter, but for the long one; no bar is on one side where it is on both.
    let length = page.split("data-stat=\"text_len\"").nth(1).unwrap();
    let drawn = length.split("</svg>").next().unwrap();
    let counts = Regex::new(r#"data-a="(\d+)" data-b="(\d+)""#).unwrap();
    let sums = counts.captures_iter(drawn).fold([0_u64; 2], |[a, b], c| {
        [
            a + c[1].parse::<u64>().unwrap(),
            b + c[2].parse::<u64>().unwrap(),
        ]
    });
    assert_eq!(sums, [29, 31]);
}

#[test]
fn of_values_that_are_words_those_that_would_go_are_told_apart() {
    let scratch = Scratch::new();
    let row = |kind: &str| format!("{}\n", json!({"text": "t", "kind": kind}));
    scratch.write("in.jsonl", [row("a"), row("a"), row("b")].concat());
    scratch.write(
        "r.yaml",
        recipe(&["specified_field_filter: {field_key: kind, target_value: [a]}"]),
    );
    scratch
        .djr(&["analyze", "--recipe", "r.yaml", "-o", "look"])
        .expect(0);
    let found = &scratch.json("look/analysis.json")["stats"]["kind"];
    assert_eq!(found["top"], json!([["a", 2], ["b", 1]]));
    assert_eq!(found["top_would_drop"], json!([["b", 1]]));
    let page = scratch.djr(&["report", "look"]).expect(0).text();
    let (_, ranks) = page.split_once("<table class=\"ranks\">").unwrap();
    let ranks = ranks.split("</table>").next().unwrap();
    assert_eq!(ranks.matches("lost-fill").count(), 1, "{ranks}");
    assert_eq!(ranks.matches("kept-fill").count(), 1, "{ranks}");
}
