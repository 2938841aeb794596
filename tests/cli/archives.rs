//! Rows and their images in tar archives: the same answers as from files, whatever they are cut into.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use crate::support::Scratch;

/// A tar of members, each a name and its content, with its end.
pub fn tar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
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
pub fn samples(count: u32) -> Vec<Vec<(String, Vec<u8>)>> {
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
            "--max-quarantine",
            "none",
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

/// The samples of an archive: the names of its members and their contents.
fn untar(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut rest = bytes;
    let mut walk = djr::archive::tar::Walk::strict();
    let mut found = Vec::new();
    while let Some(member) = walk.next(&mut rest).unwrap() {
        let size = usize::try_from(member.size).unwrap();
        found.push((
            String::from_utf8(member.name.clone()).unwrap(),
            rest[..size].to_vec(),
        ));
        rest = &rest[size + usize::try_from(member.padding()).unwrap()..];
    }
    assert!(
        rest.iter().all(|byte| *byte == 0),
        "what stands behind the end"
    );
    found
}

#[test]
fn rows_are_written_as_archives_and_read_back() {
    let scratch = Scratch::new();
    scratch.write("in.tar", tar(&samples(30).concat()));
    scratch.write(
        "r.yaml",
        "dataset_path: in.tar\nprocess: [text_length_filter: {min_len: 1}]\noutputs:\n\
         - {path: whole.tar, validate: decode}\n\
         - {path: 'shards/{shard:05}.tar', shard_rows: 7}\n\
         - {path: rows.jsonl}\n",
    );
    scratch.djr(&["run", "r.yaml", "--threads", "1"]).expect(0);
    let once = scratch.read("whole.tar");
    scratch
        .djr(&["run", "r.yaml", "--threads", "8", "--batch-rows", "3"])
        .expect(0);
    assert!(once == scratch.read("whole.tar"));
    scratch.djr(&["verify", "whole.tar"]).expect(0);
    let members = untar(&once);
    assert_eq!(members.len(), 90);
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    // The ids are the keys, and members stand in the order of their names.
    assert_eq!(names[..4], ["0.json", "0.png", "0.txt", "1.json"]);
    assert_eq!(members[1].1, png(1));
    assert_eq!(members[2].1, b"caption 0");
    let json: Value = serde_json::from_slice(&members[0].1).unwrap();
    assert_eq!(json["x"], json!(1e-07));
    assert!(json.get("images").is_none() && json.get("__key__").is_none());
    let shards = scratch.files("shards");
    let names: Vec<String> = (0..5).map(|n| format!("{n:05}.tar")).collect();
    assert_eq!(shards, names);
    let parts: Vec<_> = names
        .iter()
        .flat_map(|name| untar(&scratch.read(&format!("shards/{name}"))))
        .collect();
    assert!(parts == members);
    // Read back, they are the rows that they were made of, but for the keys.
    scratch
        .djr(&["convert", "whole.tar", "--to", "jsonl", "-o", "back.jsonl"])
        .expect(0);
    for (back, row) in scratch
        .rows("back.jsonl")
        .iter()
        .zip(scratch.rows("rows.jsonl"))
    {
        assert_eq!(
            (&back["id"], &back["text"], &back["x"]),
            (&row["id"], &row["text"], &row["x"])
        );
    }
    // What cannot be a sample is set aside; a key that is taken is replaced.
    scratch.write("odd.jsonl", "{\"id\": \"a\", \"images\": [\"none.png\"]}\n{\"id\": \"b\"}\n{\"id\": \"b\"}\n{\"id\": \"c.d\"}\n");
    scratch
        .djr(&[
            "convert",
            "odd.jsonl",
            "--to",
            "webdataset",
            "--max-quarantine",
            "none",
            "-o",
            "odd.tar",
        ])
        .expect(1);
    let names: Vec<String> = untar(&scratch.read("odd.tar"))
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["b.json", "000000001.json", "000000002.json"]);
    let piped = scratch
        .djr(&["convert", "odd.jsonl", "--to", "webdataset", "-o", "-"])
        .expect(1);
    assert!(piped.stdout == scratch.read("odd.tar"));
}

#[test]
fn images_of_an_archive_are_copied_to_files() {
    let scratch = Scratch::new();
    scratch.write("in.tar", tar(&samples(20).concat()));
    let llava = [
        "convert",
        "in.tar",
        "--to",
        "llava",
        "--question",
        "What is it?",
        "--image-files",
        "copy",
        "--paths",
        "relative",
        "-o",
        "train.json",
    ];
    scratch.djr(&llava).expect(0);
    let records = scratch.json("train.json");
    let records = records.as_array().unwrap();
    assert_eq!(records.len(), 20);
    for (n, record) in (0..).zip(records) {
        let path = record["image"].as_str().unwrap();
        assert!(path.starts_with("train.json.images/"), "{path}");
        assert_eq!(scratch.read(path), png(1 + n), "{path}");
    }
    scratch.djr(&["verify", "train.json"]).expect(0);
    scratch.write("r.yaml", "dataset_path: in.tar\nprocess: [text_length_filter: {min_len: 1}]\noutputs:\n- {path: a.jsonl, images: copy, sample: 4, validate: decode}\n");
    scratch.djr(&["run", "r.yaml"]).expect(0);
    for row in scratch.rows("a.jsonl") {
        assert!(
            fs::read(row["images"][0].as_str().unwrap()).is_ok(),
            "{row}"
        );
    }
    assert_eq!(scratch.files("a.jsonl.images").len(), 4);
    let ran = scratch
        .djr(&[
            "convert",
            "in.tar",
            "--to",
            "jsonl",
            "--image-files",
            "embed",
            "-o",
            "e.jsonl",
        ])
        .expect(2);
    assert!(ran.stderr.contains("only path, copy"), "{}", ran.stderr);
}

#[test]
fn rows_are_packed_as_they_are_written() {
    let scratch = Scratch::new();
    let mut rows = String::new();
    for n in 0..40_000 {
        writeln!(rows, "{{\"id\": {n}, \"text\": \"row number {n}\"}}").unwrap();
    }
    scratch.write("in.jsonl", &rows);
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nprocess: [text_length_filter: {min_len: 1}]\noutputs:\n\
         - {path: a.jsonl.gz}\n- {path: b.jsonl.zst, shard_size: 600KB}\n- {path: c.json.gz}\n",
    );
    scratch
        .djr(&["run", "r.yaml", "--checkpoint-every", "0"])
        .expect(0);
    let packed = scratch.read("a.jsonl.gz");
    let mut unpacked = String::new();
    flate2::read::MultiGzDecoder::new(&packed[..])
        .read_to_string(&mut unpacked)
        .unwrap();
    assert!(unpacked == rows);
    let shards: Vec<String> = scratch
        .files("")
        .into_iter()
        .filter(|name| name.starts_with("b-"))
        .collect();
    assert_eq!(
        shards,
        [
            "b-00-of-03.jsonl.zst",
            "b-01-of-03.jsonl.zst",
            "b-02-of-03.jsonl.zst"
        ]
    );
    let parts = shards
        .iter()
        .flat_map(|name| zstd::decode_all(&scratch.read(name)[..]).unwrap());
    assert!(String::from_utf8(parts.collect()).unwrap() == rows);
    scratch
        .djr(&["subset", "c.json.gz", "--n", "40000", "-o", "d.jsonl"])
        .expect(0);
    assert_eq!(scratch.rows("d.jsonl").len(), 40_000);
    // Checkpoints leave no trace in the bytes.
    scratch
        .djr(&[
            "run",
            "r.yaml",
            "--checkpoint-every",
            "1000",
            "--batch-rows",
            "7",
        ])
        .expect(0);
    assert!(packed == scratch.read("a.jsonl.gz"));
    scratch.djr(&["verify", "a.jsonl.gz"]).expect(0);
    scratch
        .djr(&["subset", "in.jsonl", "--n", "3", "-o", "three.jsonl.zst"])
        .expect(0);
    let three = zstd::decode_all(&scratch.read("three.jsonl.zst")[..]).unwrap();
    assert_eq!(crate::support::rows(&three).len(), 3);
}

/// Where samples begin, for readers that go to any of them.
#[test]
fn an_index_says_where_samples_begin() {
    let scratch = Scratch::new();
    let mut rows = String::new();
    for n in 0..25 {
        let text = "x".repeat(n * 40);
        writeln!(rows, "{{\"id\": \"r{n}\", \"text\": \"{text}\"}}").unwrap();
    }
    scratch.write("rows.jsonl", rows);
    scratch.write(
        "r.yaml",
        "dataset_path: rows.jsonl
process: [text_length_filter: {min_len: 0}]
outputs:
  - {path: 'out/{shard}.tar', shard_rows: 10, index: true}
",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let mut row = 0;
    for (shard, count) in [(0, 10), (1, 10), (2, 5)] {
        let archive = scratch.read(&format!("out/{shard}.tar"));
        let index = scratch.read(&format!("out/{shard}.tar.idx"));
        let offsets: Vec<usize> = index
            .as_chunks::<8>()
            .0
            .iter()
            .map(|it| usize::try_from(u64::from_le_bytes(*it)).unwrap())
            .collect();
        assert_eq!(offsets.len(), count + 1);
        for offset in &offsets[..count] {
            let name = format!("r{row}.json");
            assert!(archive[*offset..].starts_with(name.as_bytes()), "{name}");
            row += 1;
        }
        assert_eq!(archive.len(), offsets[count] + 1024);
    }
    scratch.djr(&["verify", "out/0.tar"]).expect(0);
}
