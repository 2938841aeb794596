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

/// A row, its copy and its fate as the ledger has them.
fn fates(scratch: &Scratch, run_dir: &str) -> Vec<(u64, u64, Value)> {
    let ledger = scratch.ledger(run_dir);
    let told = |entry: &Value| {
        let copy = entry["copy"].as_u64().unwrap_or(0);
        (entry["line"].as_u64().unwrap(), copy, entry["fate"].clone())
    };
    let mut fates: Vec<_> = ledger.iter().map(told).collect();
    fates.sort_by_key(|(line, copy, _)| (*line, *copy));
    fates
}

#[test]
fn copies_have_numbers_wherever_they_go() {
    let rows: Vec<String> = (0..40)
        .map(|n| format!("{}\n", json!({"id": n, "text": format!("row {}", n % 13)})))
        .collect();
    let recipe = |steps: &str, outputs: &str| {
        format!(
            "dataset_path: in.jsonl\nprocess:\n  - text_length_filter: {{min_len: 6}}\n{steps}outputs:\n  - {{path: out.jsonl}}\n{outputs}"
        )
    };
    let scratch = Scratch::new();
    scratch.write("in.jsonl", rows.concat());
    // Texts of six characters: `row 10` to `row 12`.
    let long: Vec<u64> = (0..40).filter(|n| n % 13 > 9).map(|n| n + 1).collect();
    let (all, wanted) = (long.len() as u64, 31);
    let mixture = format!("  - mixture_selector: {{repeat_to: {wanted}}}\n");
    scratch.write("r.yaml", recipe(&mixture, ""));
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let copies: Vec<(u64, u64)> = fates(&scratch, "out.jsonl.djr")
        .into_iter()
        .filter(|(.., fate)| fate == "kept")
        .map(|(line, copy, _)| (line, copy))
        .collect();
    assert_eq!(copies.len() as u64, wanted);
    // Whole copies of all, then a draw; each is told from the others.
    for line in &long {
        let own: Vec<u64> = copies
            .iter()
            .filter(|it| it.0 == *line)
            .map(|it| it.1)
            .collect();
        assert!(own.iter().copied().eq(0..own.len() as u64), "{own:?}");
        assert!((wanted / all..=wanted / all + 1).contains(&(own.len() as u64)));
    }
    let most = |line: u64| copies.iter().filter(|it| it.0 == line).count();
    let told = scratch.djr(&["why", "out.jsonl", &format!("in.jsonl:{}", long[0])]);
    let said = format!("and copies 1 to {}", most(long[0]) - 1);
    assert!(told.expect(0).text().contains(&said));

    // Behind such a step copies are rows: one stays of those that are the same, and what becomes of each
    // is told. All outputs and samples have them.
    let steps = format!("{mixture}  - document_deduplicator: {{keep: {{max: text_len}}}}\n");
    let outputs =
        "  - {path: doubles.jsonl, of: duplicates}\n  - {path: some.jsonl, of: all, sample: 9}\n";
    scratch.write("r.yaml", recipe(&steps, outputs));
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let ended = fates(&scratch, "out.jsonl.djr");
    let kept = ended.iter().filter(|(.., fate)| fate == "kept");
    assert_eq!(
        kept.map(|(_, copy, _)| *copy).collect::<Vec<_>>(),
        [0, 0, 0]
    );
    let mut places: Vec<(u64, u64)> = ended.iter().map(|it| (it.0, it.1)).collect();
    places.dedup();
    assert_eq!(places.len(), ended.len());
    assert_eq!(ended.len() as u64, 40 - all + wanted);
    let doubles = scratch.rows("doubles.jsonl");
    assert_eq!(doubles.len() as u64, wanted - 3);
    let numbered = doubles
        .iter()
        .filter(|row| row["__dj__fate__"]["copy"].is_u64());
    assert_eq!(numbered.count() as u64, wanted - all);

    // Copies of copies, through pieces of tasks, too.
    let steps = format!(
        "{mixture}  - mixture_selector: {{repeat_to: 70}}\n  - text_length_filter: {{min_len: 1, max_len: 6}}\n  - mixture_selector: {{select_num: 50}}\n"
    );
    let again = recipe(&steps, "  - {path: some.jsonl, sample: 20}\n");
    scratch.write("r.yaml", again.replace("out.jsonl", "again.jsonl"));
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let ended = fates(&scratch, "again.jsonl.djr");
    let mut places: Vec<(u64, u64)> = ended.iter().map(|it| (it.0, it.1)).collect();
    places.dedup();
    assert_eq!(places.len() as u64, 40 - all + 70);
    let kept = ended.iter().filter(|(.., fate)| fate == "kept");
    assert_eq!(kept.count(), 50);
    let one = [
        "again.jsonl",
        "some.jsonl",
        "again.jsonl.djr/ledger.jsonl.zst",
    ]
    .map(|name| scratch.read(name));
    scratch
        .djr(&["run", "r.yaml", "--tasks", "W", "--task-bytes", "300"])
        .expect(0);
    for (name, before) in [
        "again.jsonl",
        "some.jsonl",
        "again.jsonl.djr/ledger.jsonl.zst",
    ]
    .iter()
    .zip(one)
    {
        assert!(scratch.read(name) == before, "{name}");
    }
}

#[test]
fn copies_of_copies_have_numbers_of_their_own_however_often_they_are_copied() {
    let scratch = Scratch::new();
    let rows = (0..6).map(|n| format!("{}\n", json!({"id": n, "text": "t", "n": n})));
    scratch.write("in.jsonl", rows.collect::<String>());
    // Between the copying steps some copies go, each with a number that nobody gets again.
    let steps: String = [14, 40, 60, 130, 300]
        .iter()
        .flat_map(|most| {
            [
                format!("  - mixture_selector: {{repeat_to: {most}}}\n"),
                format!("  - mixture_selector: {{select_num: {}}}\n", most * 2 / 3),
            ]
        })
        .collect();
    scratch.write(
        "r.yaml",
        format!("dataset_path: in.jsonl\nseed: 4\nprocess:\n  - text_length_filter: {{min_len: 1}}\n{steps}outputs:\n  - {{path: out.jsonl}}\n  - {{path: all.jsonl, of: all}}\n"),
    );
    let left = |args: &[&str]| {
        scratch.djr(args).expect(0);
        let ended = fates(&scratch, "out.jsonl.djr");
        let mut places: Vec<(u64, u64)> = ended.iter().map(|it| (it.0, it.1)).collect();
        places.dedup();
        assert_eq!(places.len(), ended.len(), "two copies have one number");
        let manifest = scratch.json("out.jsonl.djr/manifest.json");
        let repeated = manifest["rows"]["repeated"].as_u64().unwrap();
        assert_eq!(places.len() as u64, 6 + repeated);
        // Rows are taken up to 3, 5, 3, 4 and 4 times: a number has a few digits, whatever becomes of a copy.
        let most = places.iter().map(|it| it.1).max().unwrap();
        assert!((100..2000).contains(&most), "{most}");
        let names = ["out.jsonl", "all.jsonl", "out.jsonl.djr/ledger.jsonl.zst"];
        names.map(|name| scratch.read(name))
    };
    let one = left(&["run", "r.yaml"]);
    assert!(one == left(&["run", "r.yaml", "--threads", "1", "--batch-rows", "3"]));
    assert!(one == left(&["run", "r.yaml", "--tasks", "W", "--task-bytes", "300"]));
    let clear = || {
        for name in ["out.jsonl", "all.jsonl"] {
            let _ = fs::remove_file(scratch.path(name));
        }
        let _ = fs::remove_dir_all(scratch.path("out.jsonl.djr"));
    };
    let kills = [("rename", "5"), ("rename", "9"), ("rename", "14")];
    crate::resume::kills_change_nothing(&scratch, &kills, &one, clear, left);
}

#[test]
fn datasets_are_weighed_and_told_of() {
    let scratch = Scratch::new();
    let lines = |from: u64, to: u64| -> String {
        let rows = (from..to).map(|n| json!({"id": n, "text": "t"}).to_string());
        rows.collect::<Vec<_>>().join("\n")
    };
    fs::create_dir_all(scratch.path("web")).unwrap();
    scratch.write("web/a.jsonl", lines(0, 30));
    scratch.write("web/b.jsonl", lines(30, 60));
    scratch.write("news.jsonl.v1.jsonl", lines(60, 70));
    let strata = |told: &Value| -> Vec<(String, [u64; 3])> {
        let told = told.as_array().unwrap().iter();
        told.map(|it| {
            let numbers = ["had", "wanted", "got"].map(|name| it[name].as_u64().unwrap());
            (it["value"].as_str().unwrap().to_owned(), numbers)
        })
        .collect()
    };
    let expect =
        |web: [u64; 3], news: [u64; 3]| vec![("web".to_owned(), web), ("news".to_owned(), news)];

    // As Data-Juicer draws.
    let weights = |most: u64| {
        format!("dataset:
  configs: [{{type: local, path: web, weight: 2}}, {{type: local, path: news.jsonl.v1.jsonl, weight: 1}}]
  max_sample_num: {most}
export_path: out.jsonl
process: [{{text_length_filter: {{min_len: 1}}}}]
")
    };
    scratch.write("r.yaml", weights(24));
    let ran = scratch.djr(&["run", "r.yaml", "--json"]).expect(0);
    let drawn = expect([60, 16, 16], [10, 8, 8]);
    assert_eq!(strata(&ran.answer()["result"]["datasets"]), drawn);
    assert_eq!(
        strata(&scratch.json("out.jsonl.djr/manifest.json")["datasets"]),
        drawn
    );
    let ran = scratch.djr(&["run", "r.yaml"]).expect(0);
    assert!(
        ran.stderr
            .contains("     web: had 60, wanted 16, got 16\n     news: had 10, wanted 8, got 8\n"),
        "{}",
        ran.stderr
    );
    // More than there are: a step repeats them, and the run says which.
    scratch.write("r.yaml", weights(60));
    let refused = scratch.djr(&["run", "r.yaml"]);
    let told = "by: __dj__dataset__, shares: {NAME: WEIGHT} and repeat_to";
    assert!(
        refused.code > 1 && refused.stderr.contains(told),
        "{}",
        refused.stderr
    );

    scratch.write(
        "r.yaml",
        "dataset_path: [web, news.jsonl.v1.jsonl]
export_path: out.jsonl
process:
  - text_length_filter: {min_len: 1}
  - mixture_selector: {by: __dj__dataset__, shares: {web: 2, news: 1}, repeat_to: 60}
",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let manifest = scratch.json("out.jsonl.djr/manifest.json");
    assert_eq!(
        strata(&manifest["steps"][1]["strata"]),
        expect([60, 40, 40], [10, 20, 20])
    );
    let rows = scratch.rows("out.jsonl");
    let of_news = rows.iter().filter(|row| row["id"].as_u64() >= Some(60));
    assert_eq!(of_news.count(), 20);
    let shares = ["--by", "__dj__dataset__", "--shares", "web=2,news=1"];
    let drawn = [
        "subset",
        "web",
        "news.jsonl.v1.jsonl",
        "-n",
        "15",
        "-o",
        "mixed.jsonl",
    ];
    scratch.djr(&[&drawn[..], &shares].concat()).expect(0);
    let mixed = scratch.rows("mixed.jsonl");
    let of_news = mixed.iter().filter(|row| row["id"].as_u64() >= Some(60));
    assert_eq!((mixed.len(), of_news.count()), (15, 5));
    // No row has such a field for it.
    assert!(rows.iter().all(|row| row.get("__dj__dataset__").is_none()));
    scratch
        .djr(&[
            "recut",
            "out.jsonl",
            "--set",
            "text_length_filter.min_len=0",
            "-o",
            "again.jsonl",
        ])
        .expect(0);
    assert!(scratch.read("again.jsonl") == scratch.read("out.jsonl"));
}
