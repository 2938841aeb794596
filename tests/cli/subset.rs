//! `djr subset`: exact counts, the same rows for the same seed, Python's own draw.

use std::fmt::Write as _;

use crate::support::{Scratch, rows};

fn numbered(count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|i| format!("{{\"id\": {i}, \"text\": \"row {i}\"}}\n").into_bytes())
        .collect()
}

fn ids(bytes: &[u8]) -> Vec<u64> {
    rows(bytes)
        .iter()
        .map(|row| row["id"].as_u64().unwrap())
        .collect()
}

#[test]
fn python_draws_are_the_rows_and_order_of_random_sample() {
    // CPython 3.11: random.seed(S); random.sample(range(1000), N)
    let scratch = Scratch::new();
    scratch.write("in.jsonl", numbered(1000));
    for (n, seed, expected) in [
        ("5", "1024", PYTHON_5_1024),
        ("8", "42", PYTHON_8_42),
        ("12", "0", PYTHON_12_0),
    ] {
        let ran = scratch
            .djr(&[
                "subset",
                "--n",
                n,
                "--seed",
                seed,
                "--sampler",
                "python",
                "in.jsonl",
            ])
            .expect(0);
        assert_eq!(ids(&ran.stdout), expected);
    }
}

#[test]
fn a_subset_does_not_depend_on_how_rows_are_cut_into_files() {
    let scratch = Scratch::new();
    let all = numbered(500);
    scratch.write("all.jsonl", &all);
    let cut = all
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .nth(200)
        .unwrap()
        .0
        + 1;
    scratch.write("a.jsonl", &all[..cut]);
    // Without its last newline the file is still the same rows.
    scratch.write("b.jsonl", &all[cut..all.len() - 1]);
    let whole = scratch
        .djr(&["subset", "--n", "50", "all.jsonl"])
        .expect(0)
        .stdout;
    let shards = scratch
        .djr(&["subset", "--n", "50", "a.jsonl", "b.jsonl"])
        .expect(0)
        .stdout;
    let piped = scratch
        .djr_with(&["subset", "--n", "50"], &all)
        .expect(0)
        .stdout;
    assert_eq!(whole, shards);
    assert_eq!(whole, piped);
    let drawn = ids(&whole);
    assert_eq!(drawn.len(), 50);
    assert!(drawn.is_sorted());
    let shuffled = scratch
        .djr(&["subset", "--n", "50", "--shuffle", "all.jsonl"])
        .expect(0)
        .stdout;
    let mut again = ids(&shuffled);
    assert!(!again.is_sorted());
    again.sort_unstable();
    assert_eq!(again, drawn);
    let other = scratch
        .djr(&["subset", "--n", "50", "--seed", "7", "all.jsonl"])
        .expect(0)
        .stdout;
    assert_ne!(whole, other);
    // The way with validation draws the same rows as the way that only copies lines.
    let validated = scratch
        .djr(&["subset", "--n", "50", "--validate", "decode", "all.jsonl"])
        .expect(0)
        .stdout;
    assert_eq!(whole, validated);
}

#[test]
fn rows_come_out_byte_for_byte() {
    let scratch = Scratch::new();
    let odd = "{\"a\":1e-07,  \"b\":\"\\u00e9\" , \"a\":12345678901234567890123}\r\n\n{\"z\": [ ]}";
    scratch.write("odd.jsonl", odd);
    let ran = scratch.djr(&["subset", "--n", "9", "odd.jsonl"]).expect(1);
    assert_eq!(
        ran.text(),
        "{\"a\":1e-07,  \"b\":\"\\u00e9\" , \"a\":12345678901234567890123}\r\n{\"z\": [ ]}\n"
    );
    assert!(
        ran.stderr.contains("there are only 2 rows"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_row_with_a_broken_image_is_replaced_by_the_next_one_drawn() {
    let scratch = Scratch::new();
    let args = [
        "subset",
        "fixtures/dataset/rows.jsonl",
        "--validate",
        "decode",
        "--paths",
        "absolute",
        "--force",
        "-o",
        "s.jsonl",
        "--n",
    ];
    let take = |n: &str| {
        let mut args = args.to_vec();
        args.push(n);
        scratch.djr(&args)
    };
    let ran = take("150");
    let written = scratch.read("s.jsonl");
    let lines: Vec<&[u8]> = written
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(lines.len(), 150, "{}", ran.stderr);
    // One planted row holds a lone surrogate, which no JSON reader here accepts.
    for row in lines
        .iter()
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
    {
        for image in row["images"].as_array().into_iter().flatten() {
            assert!(std::path::Path::new(image.as_str().unwrap()).is_absolute());
        }
    }
    let ran = take("213").expect(1);
    assert!(ran.stderr.contains("of 213 rows"), "{}", ran.stderr);
    let manifest = scratch.json("s.jsonl.djr/manifest.json");
    assert_eq!(manifest["rows"]["conserved"], true);
}

#[test]
fn wrong_arguments_are_refused() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", numbered(3));
    scratch.djr(&["subset", "--n", "x", "in.jsonl"]).expect(2);
    scratch.djr(&["subset", "in.jsonl"]).expect(2);
    scratch
        .djr(&["subset", "--n", "1", "absent.jsonl"])
        .expect(2);
    std::fs::create_dir(scratch.path("empty")).unwrap();
    scratch.djr(&["subset", "--n", "1", "empty"]).expect(2);
    scratch
        .djr(&["subset", "--n", "1", "in.jsonl", "-o", "in.jsonl"])
        .expect(2);
    assert_eq!(scratch.read("in.jsonl"), numbered(3));
}

const PYTHON_5_1024: &[u64] = &[816, 19, 495, 870, 398];
const PYTHON_8_42: &[u64] = &[654, 114, 25, 759, 281, 250, 228, 142];
const PYTHON_12_0: &[u64] = &[864, 394, 776, 911, 430, 41, 265, 988, 523, 497, 414, 940];

#[test]
fn so_many_of_each_kind_are_drawn() {
    let scratch = Scratch::new();
    let mut rows = String::new();
    for i in 0..300 {
        let source = ["web", "web", "news"][i % 3];
        let _ = writeln!(
            rows,
            "{{\"n\":  {i}, \"from\": {{\"source\": \"{source}\"}}}}"
        );
    }
    scratch.write("in.jsonl", &rows);
    let drawn = |args: &[&str], code: i32| {
        let all = [&["subset", "in.jsonl", "-o", "out.jsonl", "--by"], args].concat();
        let ran = scratch.djr(&all).expect(code);
        let out = String::from_utf8(scratch.read("out.jsonl")).unwrap();
        // Rows are copied as they are, in input order.
        let lines: Vec<&str> = out.lines().collect();
        let news = lines.iter().filter(|line| line.contains("news")).count();
        assert!(lines.iter().all(|line| rows.contains(&format!("{line}\n"))));
        (lines.len(), news, out, ran.stderr)
    };
    let (count, news, out, said) = drawn(&["from.source", "--n", "30"], 0);
    assert_eq!((count, news), (30, 10), "{said}");
    assert!(said.contains("news"), "{said}");
    let again = drawn(
        &["from.source", "--n", "30", "--threads", "1", "--force"],
        0,
    );
    assert_eq!(out, again.2);
    let other = drawn(&["from.source", "--n", "30", "--seed", "1", "--force"], 0);
    assert_ne!(out, other.2);
    let equal = ["from.source", "-n", "10%", "--shares", "equal", "--force"];
    assert_eq!(drawn(&equal, 0).1, 15);
    let given = [
        "from.source",
        "--n",
        "60",
        "--shares",
        "web=1,news=5",
        "--force",
    ];
    assert_eq!(drawn(&given, 0).1, 50);
    let repeated = [
        "from.source",
        "--n",
        "600",
        "--shares",
        "web=1,news=5",
        "--repeat",
        "--force",
    ];
    let (count, news, ..) = drawn(&repeated, 0);
    assert_eq!((count, news), (600, 500));
    let bins = [
        "n", "--bins", "100,200", "--shares", "equal", "--n", "9", "--force",
    ];
    assert_eq!(drawn(&bins, 0).0, 9);
    let (_, _, shuffled, _) = drawn(&["from.source", "--n", "30", "--shuffle", "--force"], 0);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert!(shuffled != out && sorted(&shuffled) == sorted(&out));
    // Fewer than asked for.
    assert_eq!(drawn(&["from.source", "--n", "301", "--force"], 1).0, 300);
    for (args, words) in [
        (&["--by", "n", "--shares", "web"][..], "shares"),
        (&["--by", "n", "--shares", "a=b"], "no number to a kind"),
        (&["--shares", "equal"], "--by"),
        (&["--by", "n", "--bins", "2,1"], "bins do not ascend"),
        (&["--by", "n", "--sampler", "python"], "--sampler"),
    ] {
        let all = [&["subset", "in.jsonl", "-o", "no.jsonl", "--n", "3"], args].concat();
        let ran = scratch.djr(&all).expect(2);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn a_copied_subset_is_no_input_of_who_reads_its_directory() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("d")).unwrap();
    let lines: Vec<String> = (0..20).map(|n| format!("{{\"id\": {n}}}\n")).collect();
    let lines = lines.concat();
    scratch.write("d/all.jsonl", &lines);
    let copy = ["subset", "--n", "5", "d/all.jsonl", "-o", "d/part.jsonl"];
    scratch.djr(&copy).expect(0);
    let rows = |dir: &str, told: bool| {
        let ran = scratch
            .djr(&["subset", "--n", "20", dir, "-o", "-"])
            .expect(0);
        let is_told = ran
            .stderr
            .contains("that an earlier run wrote (part.jsonl)");
        assert_eq!(is_told, told, "{}", ran.stderr);
        ran.stdout
    };
    assert_eq!(rows("d", true), lines.as_bytes());
    std::fs::rename(scratch.path("d"), scratch.path("moved")).unwrap();
    assert_eq!(rows("moved", true), lines.as_bytes());
    // Who names it means it, and the record goes with nothing else that reads runs.
    assert_eq!(
        scratch
            .djr(&["subset", "--n", "5", "moved/part.jsonl"])
            .expect(0)
            .text()
            .lines()
            .count(),
        5
    );
    scratch.djr(&["ls", "moved"]).expect(0);
    std::fs::remove_dir_all(scratch.path("moved/part.jsonl.djr")).unwrap();
    let ran = scratch.djr(&["subset", "--n", "25", "moved"]).expect(0);
    assert_eq!(ran.text().lines().count(), 25);
}
