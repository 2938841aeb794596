//! The filters by frequency: what they count is what plain code counts, however rows are cut, whatever
//! the memory, and in a recut.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::Scratch;

/// Rows with few captions and few pictures, some of them the same picture under two names.
fn rows(scratch: &Scratch) -> Vec<Value> {
    for (name, shade) in [("a", 10), ("b", 10), ("c", 90), ("d", 200)] {
        let pixels = (0..24 * 24 * 3_u32).map(|at| u8::try_from((at * shade) % 251).unwrap());
        let mut file = b"P6 24 24 255\n".to_vec();
        file.extend(pixels);
        scratch.write(&format!("{name}.ppm"), file);
    }
    let captions = ["a kite", "Stock photo", "stock photo ", "a boat", "the sea"];
    let mut state = 5_usize;
    let mut pick = |below: usize| {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        (state >> 16) % below
    };
    let rows = (0..150).map(|id| {
        let names = ["a", "b", "c", "d"];
        let images: Vec<String> = (0..pick(3))
            .map(|_| format!("{}.ppm", names[pick(4)]))
            .collect();
        let text = match id {
            0..40 => captions[pick(5)].to_owned(),
            _ => format!("{} {}", captions[pick(5)], pick(60)),
        };
        json!({"id": id, "text": text, "images": images})
    });
    rows.collect()
}

/// What is counted, by plain code: (by path, captions an image), (by content, captions an image), rows
/// a caption in lower case, images a caption.
fn counts(rows: &[Value]) -> Vec<[u64; 4]> {
    let mut sets: [BTreeMap<String, BTreeSet<String>>; 4] = Default::default();
    let caption = |row: &Value| row["text"].as_str().unwrap().trim().to_owned();
    let images = |row: &Value| -> Vec<String> {
        let images = row["images"].as_array().unwrap();
        images
            .iter()
            .map(|image| image.as_str().unwrap().to_owned())
            .collect()
    };
    // The files a and b have the same bytes.
    let content = |name: &str| name.replace('b', "a");
    for row in rows {
        for image in images(row) {
            sets[0]
                .entry(image.clone())
                .or_default()
                .insert(caption(row));
            sets[1]
                .entry(content(&image))
                .or_default()
                .insert(caption(row));
            sets[3]
                .entry(caption(row))
                .or_default()
                .insert(content(&image));
        }
        sets[2]
            .entry(caption(row).to_lowercase())
            .or_default()
            .insert(row["id"].to_string());
    }
    let size = |set: usize, key: &str| sets[set].get(key).map_or(0, |set| set.len() as u64);
    rows.iter()
        .map(|row| {
            let most = |of: &dyn Fn(&str) -> u64| {
                images(row).iter().map(|name| of(name)).max().unwrap_or(0)
            };
            let own = size(3, &caption(row));
            [
                most(&|name| size(0, name)),
                most(&|name| size(1, &content(name))),
                size(2, &caption(row).to_lowercase()),
                if images(row).is_empty() { 0 } else { own },
            ]
        })
        .collect()
}

const STEPS: [(&str, &str, &str); 4] = [
    ("image_frequency_filter", "image_frequency", "by: path"),
    ("image_frequency_filter", "image_frequency", "by: content"),
    ("text_frequency_filter", "text_frequency", "lowercase: true"),
    ("text_frequency_filter", "text_frequency", "count: images"),
];

fn recipe(op: &str, params: &str, input: &str, output: &str) -> String {
    format!(
        "dataset_path: [{input}]\nimage_root: .\nexport_path: {output}\nkeep_stats_in_res_ds: true\nprocess:\n  - {op}: {{{params}}}\n"
    )
}

#[test]
fn counts_are_those_of_plain_code() {
    let scratch = Scratch::new();
    let rows = rows(&scratch);
    let lines: Vec<String> = rows.iter().map(ToString::to_string).collect();
    scratch.write("all.jsonl", lines.join("\n") + "\n");
    let mut parts = Vec::new();
    for (number, part) in lines.chunks(23).enumerate() {
        let name = format!("part{number}.jsonl");
        scratch.write(&name, part.join("\n") + "\n");
        parts.push(name);
    }
    let expected = counts(&rows);
    for (number, (op, stat, params)) in STEPS.into_iter().enumerate() {
        let of =
            |row: &Value| expected[usize::try_from(row["id"].as_u64().unwrap()).unwrap()][number];
        let most = expected.iter().map(|counts| counts[number]).max().unwrap();
        let bound = most / 2;
        let bounded = format!("{params}, max_count: {bound}");
        scratch.write("r.yaml", recipe(op, &bounded, "all.jsonl", "all_out.jsonl"));
        scratch.djr(&["run", "r.yaml"]).expect(0);
        let kept = scratch.rows("all_out.jsonl");
        let wanted: Vec<&Value> = rows.iter().filter(|row| of(row) <= bound).collect();
        assert!(
            !wanted.is_empty() && wanted.len() < rows.len(),
            "{op} {params}"
        );
        let ids = |rows: &[Value]| rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
        assert_eq!(
            ids(&kept),
            wanted
                .iter()
                .map(|row| row["id"].clone())
                .collect::<Vec<_>>(),
            "{op} {params}"
        );
        for row in &kept {
            assert_eq!(row["__dj__stats__"][stat], of(row), "{op} {params} {row}");
        }
        // The ledger tells why the others went.
        let dropped = scratch
            .ledger("all_out.jsonl.djr")
            .into_iter()
            .find(|row| row["fate"] == "dropped")
            .unwrap();
        assert_eq!(
            (&dropped["stat"], &dropped["limit"]),
            (&json!(stat), &json!(format!("max_count: {bound}")))
        );
        assert_eq!(dropped["value"], of(&dropped));
        // The same bytes for other threads, batches, cuts into files, and keys that do not fit.
        let bytes = scratch.read("all_out.jsonl");
        scratch.write(
            "p.yaml",
            recipe(op, &bounded, &parts.join(", "), "parts_out.jsonl"),
        );
        for options in [
            ["--threads", "1"],
            ["--threads", "8"],
            ["--batch-rows", "7"],
            ["--max-memory", "1MB"],
        ] {
            for (file, output) in [("r.yaml", "all_out.jsonl"), ("p.yaml", "parts_out.jsonl")] {
                let ran = scratch.djr(&["run", file, "--restart", options[0], options[1]]);
                ran.expect(0);
                assert!(
                    scratch.read(output) == bytes,
                    "{op} {params} {options:?} {file}"
                );
            }
        }
        // And in a recut.
        let set = format!("{op}.max_count={}", bound + 1);
        scratch
            .djr(&["recut", "all_out.jsonl", "--set", &set, "-o", "recut.jsonl"])
            .expect(0);
        scratch
            .djr(&["run", "r.yaml", "--set", &set, "--output", "fresh.jsonl"])
            .expect(0);
        assert!(
            scratch.read("recut.jsonl") == scratch.read("fresh.jsonl"),
            "{op} {params}"
        );
    }
}

#[test]
fn copies_of_a_picture_are_one_by_their_perceptual_hash() {
    let scratch = Scratch::new();
    let copy = crate::support::root().join("fixtures/dataset/images");
    std::os::unix::fs::symlink(copy, scratch.path("images")).unwrap();
    let images: Vec<String> = scratch
        .files("images")
        .into_iter()
        .filter(|name| name.ends_with(".jpg"))
        .collect();
    let name = images
        .iter()
        .find(|name| name.ends_with("000003.jpg"))
        .unwrap();
    let bytes = std::fs::read(scratch.path("images").join(name)).unwrap();
    scratch.write("one.jpg", &bytes);
    // Bytes behind the end of the picture make another file of it.
    scratch.write("two.jpg", [&bytes[..], b"more"].concat());
    scratch.write(
        "rows.jsonl",
        "{\"text\": \"a\", \"images\": [\"one.jpg\"]}\n{\"text\": \"b\", \"images\": [\"two.jpg\"]}\n",
    );
    for (by, kept) in [("phash", 0), ("content", 2), ("path", 2)] {
        let params = format!("by: {by}, max_count: 1");
        scratch.write(
            "r.yaml",
            recipe("image_frequency_filter", &params, "rows.jsonl", "out.jsonl"),
        );
        scratch.djr(&["run", "r.yaml", "--restart"]);
        let left = if scratch.path("out.jsonl").exists() {
            scratch.rows("out.jsonl").len()
        } else {
            0
        };
        assert_eq!(left, kept, "{by}");
    }
}

#[test]
fn it_ranks_no_rows() {
    let scratch = Scratch::new();
    scratch.write("rows.jsonl", "{\"text\": \"a\"}\n");
    scratch.write(
        "r.yaml",
        recipe(
            "text_frequency_filter",
            "keep: best 5",
            "rows.jsonl",
            "out.jsonl",
        ),
    );
    let ran = scratch.djr(&["check", "r.yaml"]).expect(2);
    assert!(
        ran.stderr.contains("counts among all rows"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_field_is_needed_only_where_it_is_counted() {
    let scratch = Scratch::new();
    let texts = ["a", "a", "b"].map(|text| json!({"text": text}).to_string());
    scratch.write("texts.jsonl", texts.join("\n"));
    scratch.write("a.ppm", b"P6 1 1 255\n\x01\x02\x03");
    scratch.write("images.jsonl", json!({"images": ["a.ppm"]}).to_string());
    for (input, step, left) in [
        ("texts.jsonl", "text_frequency_filter: {max_count: 1}", 1),
        ("images.jsonl", "image_frequency_filter: {count: rows}", 1),
    ] {
        scratch.write("r.yaml", format!("process:\n  - {step}\n"));
        let args = [
            "run",
            "r.yaml",
            "--input",
            input,
            "--output",
            "o.jsonl",
            "--restart",
            "--force",
        ];
        let ran = scratch.djr(&args).expect(0);
        assert!(!ran.stderr.contains("field_of_no_row"), "{}", ran.stderr);
        let rows = String::from_utf8(scratch.read("o.jsonl")).unwrap();
        assert_eq!(rows.lines().count(), left, "{step}");
    }
}

#[test]
fn an_analysis_passes_over_what_counts_among_all_rows() {
    let scratch = Scratch::new();
    let lines = rows(&scratch).into_iter().map(|row| format!("{row}\n"));
    scratch.write("in.jsonl", lines.collect::<String>());
    let recipe =
        "process:\n- text_frequency_filter: {max_count: 1}\n- text_length_filter: {min_len: 1}\n";
    scratch.write("r.yaml", recipe);
    scratch
        .djr(&["analyze", "in.jsonl", "--recipe", "r.yaml", "-o", "look"])
        .expect(0);
    let analysis = scratch.json("look/analysis.json");
    assert!(analysis.to_string().contains("text_len"), "{analysis}");
}
