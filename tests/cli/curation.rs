//! Mixtures, windows of ranks and cut-offs, and the recipes for what people write by hand.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Scratch, rows};

/// What a run measured of each row that it could read: its line, and a stat.
fn measured(scratch: &Scratch, run_dir: &str, stat: &str) -> Vec<(u64, f64)> {
    let packed = scratch.read(&format!("{run_dir}/stats.jsonl.zst"));
    let entries = rows(&zstd::decode_all(&packed[..]).unwrap());
    let entries = entries.iter();
    let value = |entry: &Value| Some((entry["line"].as_u64()?, entry["stats"][stat].as_f64()?));
    entries.filter_map(value).collect()
}

/// The lines of the ledger's entries with this fate, in order, copies included.
fn lines(scratch: &Scratch, run_dir: &str, fate: &str) -> Vec<u64> {
    let ledger = scratch.ledger(run_dir);
    let ended = ledger.iter().filter(|entry| entry["fate"] == fate);
    let mut lines: Vec<u64> = ended.map(|entry| entry["line"].as_u64().unwrap()).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn recipes_do_what_people_write_by_hand() {
    let scratch = Scratch::new();
    let run = |name: &str| {
        let recipe = format!("recipes/{name}.yaml");
        let ran = scratch.djr(&["run", &recipe]);
        assert!(ran.code <= 1, "{name}: {}", ran.stderr);
        ran.stderr
    };

    // sorted(rows, key=len, reverse=True)[5:25]
    run("rank_window");
    let dir = "out/rank_window/window.jsonl.djr";
    let mut ranked = measured(&scratch, dir, "text_len");
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut window: Vec<u64> = ranked[5..25].iter().map(|(line, _)| *line).collect();
    window.sort_unstable();
    assert_eq!(lines(&scratch, dir, "kept"), window);
    let why = scratch
        .djr(&["why", dir, &format!("rows.jsonl:{}", ranked[0].0)])
        .expect(0)
        .text();
    assert!(why.contains("best 5..25, the first of them"), "{why}");

    run("quartiles");
    let dir = "out/quartiles/upper.jsonl.djr";
    let manifest = scratch.json(&format!("{dir}/manifest.json"));
    let mut lengths: Vec<f64> = measured(&scratch, dir, "text_len")
        .into_iter()
        .map(|it| it.1)
        .collect();
    lengths.sort_by(f64::total_cmp);
    let bound = manifest["steps"][0]["from_data"][0]["value"]
        .as_f64()
        .unwrap();
    let below = lengths.iter().filter(|length| **length < bound).count();
    assert_eq!(manifest["steps"][0]["dropped"], below);
    let up_to = lengths.iter().filter(|length| **length <= bound).count();
    assert!(below * 4 <= lengths.len() && lengths.len() <= up_to * 4);
    let dropped = scratch.rows("out/quartiles/dropped.jsonl");
    assert_eq!(dropped.len(), lines(&scratch, dir, "dropped").len());
    assert!(
        dropped
            .iter()
            .all(|row| row["__dj__fate__"]["limit"].is_string())
    );

    let told = run("mixture");
    assert_eq!(told.matches(", got 30").count(), 3, "{told}");
    let dir = "out/mixture/mixture.jsonl.djr";
    assert_eq!(scratch.rows("out/mixture/mixture.jsonl").len(), 90);
    let manifest = scratch.json(&format!("{dir}/manifest.json"));
    let strata = manifest["steps"][1]["strata"].as_array().unwrap();
    let kept = lines(&scratch, dir, "kept");
    let lengths = measured(&scratch, dir, "text_len");
    for (stratum, range) in strata.iter().zip(["below 80", "80 to 110", "from 110"]) {
        assert!(strata.iter().any(|stratum| stratum["value"] == range));
        let value = stratum["value"].as_str().unwrap();
        let is_of = |length: f64| match value {
            "below 80" => length < 80.0,
            "80 to 110" => (80.0..110.0).contains(&length),
            _ => length >= 110.0,
        };
        let own = lengths.iter().filter(|(_, length)| is_of(*length));
        let times: Vec<usize> = own
            .map(|(line, _)| kept.iter().filter(|kept| *kept == line).count())
            .collect();
        assert_eq!(stratum["had"], times.len());
        // So many whole copies, and a draw.
        let least = 30 / times.len();
        assert!(
            times
                .iter()
                .all(|times| (least..=least + 1).contains(times)),
            "{value}: {times:?}"
        );
        assert_eq!(times.iter().sum::<usize>(), 30);
    }

    run("best_of_duplicates");
    let dir = "out/best_of_duplicates/best.jsonl.djr";
    let packed = scratch.read(&format!("{dir}/clusters.jsonl.zst"));
    let clusters = rows(&zstd::decode_all(&packed[..]).unwrap());
    let width = |line: &Value| {
        let widths = scratch.read(&format!("{dir}/stats.jsonl.zst"));
        let widths = rows(&zstd::decode_all(&widths[..]).unwrap());
        let entry = widths
            .into_iter()
            .find(|entry| &entry["line"] == line)
            .unwrap();
        entry["stats"]["image_width"][0].as_u64().unwrap()
    };
    assert!(!clusters.is_empty());
    for cluster in clusters {
        let duplicates = cluster["duplicates"].as_array().unwrap();
        let best = width(&cluster["kept"]["line"]);
        assert!(
            duplicates.iter().all(|row| width(&row["line"]) <= best),
            "{cluster}"
        );
    }
}

#[test]
fn neither_threads_nor_cuts_change_a_mixture() {
    let rows: Vec<String> = (0..500_u64)
        .map(|n| {
            format!(
                "{}\n",
                json!({"id": n, "text": "t", "kind": n * n % 7, "n": n % 90})
            )
        })
        .collect();
    let recipe = "dataset_path: in
export_path: out.jsonl
seed: 5
process:
  - mixture_selector: {by: kind, shares: equal, select_num: 300}
  - mixture_selector: {by: n, bins: [30, 60], shares: proportional, repeat_to: 700}
  - mixture_selector: {select_num: 99}
";
    let mut reference: Option<Vec<u8>> = None;
    for (files, threads, batch) in [(1, "1", "1000"), (7, "2", "1"), (100, "8", "7")] {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path("in")).unwrap();
        for (number, part) in rows.chunks(rows.len().div_ceil(files)).enumerate() {
            scratch.write(&format!("in/{number:03}.jsonl"), part.concat());
        }
        scratch.write("r.yaml", recipe);
        let args = ["run", "r.yaml", "--threads", threads, "--batch-rows", batch];
        scratch.djr(&args).expect(0);
        let found = scratch.read("out.jsonl");
        assert_eq!(found.split(|byte| *byte == b'\n').count(), 100);
        match &reference {
            None => {
                // Another seed draws other rows.
                scratch.write("r.yaml", recipe.replace("seed: 5", "seed: 6"));
                scratch.djr(&args).expect(0);
                assert!(scratch.read("out.jsonl") != found);
                reference = Some(found);
            }
            Some(reference) => assert!(*reference == found, "{files} files, {threads} threads"),
        }
    }
}
