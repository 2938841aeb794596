//! Rows and their images in tar archives: the same answers as from files, whatever they are cut into.

use std::fs;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::Scratch;

/// A tar of members, each a name and its content, with its end.
fn tar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in members {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        let size = format!("{:011o}", content.len());
        header[124..135].copy_from_slice(size.as_bytes());
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// A picture that differs from others by its width.
fn png(width: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(width, 4)
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// Samples of a caption, an id and a picture; every third caption comes twice.
fn samples(count: u32) -> Vec<Vec<(String, Vec<u8>)>> {
    let sample = |n: u32| {
        let key = format!("set/{n:04}");
        let caption = format!("caption {}", n - u32::from(n % 3 == 2));
        vec![
            (
                format!("{key}.json"),
                format!("{{\n  \"id\": {n}, \"x\": 1e-07\n}}").into_bytes(),
            ),
            (format!("{key}.png"), png(1 + n % 40)),
            (format!("{key}.txt"), caption.into_bytes()),
        ]
    };
    (0..count).map(sample).collect()
}

const RECIPE: &str = "dataset_path: in
process:
  - image_shape_filter: {min_width: 5}
  - document_deduplicator: {}
  - document_minhash_deduplicator: {window_size: 1}
  - image_deduplicator: {consider_text: true}
outputs:
  - {format: jsonl, path: out.jsonl, validate: decode}
  - {format: jsonl, path: some.jsonl, sample: 9, validate: decode}
";

#[test]
fn rows_of_archives_are_the_same_however_they_are_cut() {
    let all = samples(120);
    let mut expected: Option<(Vec<u8>, Vec<u8>)> = None;
    for (files, threads, packed) in [
        (1, "1", false),
        (7, "2", false),
        (100, "8", false),
        (7, "2", true),
    ] {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path("in")).unwrap();
        let each = all.len().div_ceil(files);
        for (number, samples) in all.chunks(each).enumerate() {
            let bytes = tar(&samples.concat());
            if packed {
                let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gz.write_all(&bytes).unwrap();
                scratch.write(&format!("in/{number:05}.tar.gz"), gz.finish().unwrap());
            } else {
                scratch.write(&format!("in/{number:05}.tar"), bytes);
            }
        }
        scratch.write("r.yaml", RECIPE);
        scratch
            .djr(&["run", "r.yaml", "--threads", threads])
            .expect(0);
        let got = (scratch.read("out.jsonl"), scratch.read("some.jsonl"));
        assert_eq!(scratch.rows("some.jsonl").len(), 9);
        assert_eq!(
            *expected.get_or_insert_with(|| got.clone()),
            got,
            "{files} files"
        );
    }
    let rows = crate::support::rows(&expected.unwrap().0);
    assert!(rows.len() > 30, "{}", rows.len());
    let first = &rows[0];
    assert_eq!(first["__key__"], "set/0004");
    assert_eq!(first["text"], "<__dj__image>\ncaption 4");
    assert_eq!(first["images"], json!(["set/0004.png"]));
    assert_eq!(first["x"], json!(1e-07));
}

#[test]
fn every_command_sees_the_images_of_an_archive() {
    let scratch = Scratch::new();
    scratch.write("in.tar", tar(&samples(20).concat()));
    scratch
        .djr(&[
            "convert",
            "in.tar",
            "--to",
            "dj",
            "--validate",
            "decode",
            "-o",
            "dj.jsonl",
        ])
        .expect(1);
    scratch
        .djr(&["subset", "in.tar", "--n", "5", "-o", "five.jsonl"])
        .expect(0);
    assert_eq!(scratch.rows("five.jsonl").len(), 5);
    scratch
        .djr(&[
            "subset",
            "in.tar",
            "--n",
            "5",
            "--validate",
            "decode",
            "-o",
            "sound.jsonl",
        ])
        .expect(0);
    assert_eq!(scratch.read("five.jsonl"), scratch.read("sound.jsonl"));
    scratch
        .djr(&["analyze", "in.tar", "-o", "analysis"])
        .expect(0);
    let analysis = scratch.json("analysis/analysis.json");
    assert_eq!(
        analysis["images"]["references"], 20,
        "{}",
        analysis["images"]
    );
    assert_eq!(
        analysis["images"]["broken"],
        json!({}),
        "{}",
        analysis["images"]
    );
}

#[test]
fn a_sample_that_is_not_whole_is_set_aside() {
    let scratch = Scratch::new();
    let mut members = samples(4);
    let twice = members[1][2].clone();
    members[1].push(twice);
    let again = members[0].clone();
    members.push(again);
    let broken = vec![
        ("k.json".to_owned(), b"[1]".to_vec()),
        ("k.txt".to_owned(), b"t".to_vec()),
    ];
    members.push(broken);
    members.push(vec![
        ("noted".to_owned(), b"x".to_vec()),
        ("__meta__/a.json".to_owned(), b"{}".to_vec()),
    ]);
    let whole = tar(&members.concat());
    scratch.write("in.tar", &whole);
    let flags = ["--max-quarantine", "none", "-o", "out.jsonl"];
    let args = ["subset", "in.tar", "--n", "9", "--validate", "exists"];
    scratch.djr(&[&args[..], &flags].concat()).expect(1);
    let codes = |name: &str| -> Vec<Value> {
        let rows = scratch.rows(name);
        rows.iter().map(|row| row["code"].clone()).collect()
    };
    assert_eq!(
        codes("out.jsonl.djr/quarantine.jsonl"),
        ["wds_duplicate_member", "wds_key_returns", "json_not_object"]
    );
    assert_eq!(scratch.rows("out.jsonl").len(), 3);
    // Cut in the third sample: nothing is written, unless the rest may be set aside.
    scratch.write("cut.tar", &tar(&samples(4).concat())[..7000]);
    scratch.write(
        "cut.yaml",
        "dataset_path: cut.tar\nexport_path: cut.jsonl\nprocess: [text_length_filter: {}]\n",
    );
    let ran = scratch.djr(&["run", "cut.yaml"]).expect(3);
    assert!(ran.stderr.contains("cut off"), "{}", ran.stderr);
    assert!(!scratch.path("cut.jsonl").exists());
    let aside = [
        "--set",
        "input.on_broken_input=quarantine",
        "--max-quarantine",
        "none",
        "--restart",
    ];
    scratch
        .djr(&[&["run", "cut.yaml"][..], &aside].concat())
        .expect(1);
    assert_eq!(codes("cut.jsonl.djr/quarantine.jsonl"), ["input_cut"]);
    assert_eq!(scratch.rows("cut.jsonl").len(), 2);
}
