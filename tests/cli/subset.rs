//! `djr subset`: exact counts, the same rows for the same seed, Python's own draw.

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
