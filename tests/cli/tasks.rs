//! Runs cut into tasks: the same bytes as one run, whoever does them in whatever order, and however
//! many attempts die.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::resume::{self, assert_same, faults};
use crate::support::{Ran, Scratch, root};

/// Filters, two exact deduplicators, near-duplicates, a bound from the data, a census, samples and
/// records for training.
pub const RECIPE: &str = "\
dataset_path: rows.jsonl
export_path: out/clean.jsonl
max_quarantine: none
process:
  - text_length_filter: {min_len: 8, max_len: 900}
  - document_deduplicator: {lowercase: true}
  - words_num_filter: {min_num: 2}
  - document_deduplicator: {ignore_non_character: true}
  - document_minhash_deduplicator: {num_permutations: 32, report_clusters: true}
  - punctuation_normalization_mapper:
  - average_line_length_filter: {max_len: 3sigma}
  - document_line_deduplicator: {frequency_threshold: 40}
  - text_length_filter: {min_len: 9, max_len: 900}
outputs:
  - {format: llava, path: out/train.json, question: What is it?, validate: none, paths: keep}
  - {format: jsonl, path: out/sample.jsonl, sample: 200, seed: 7, validate: exists, paths: keep}
  - {format: jsonl, path: out/python.jsonl, sample: 80, seed: 3, sampler: python, validate: none, paths: keep}
  - {format: jsonl, path: out/all.jsonl, of: all}
  - {format: parquet, path: 'out/{shard}.parquet', shard_rows: 500}
";

/// Rows with duplicates of every kind, half of them one text, blank lines, missing images and broken
/// lines.
pub fn rows(count: u32) -> String {
    let mut state = 11_u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    let mut text = String::new();
    for number in 0..count {
        let words: Vec<String> = (0..=random(30))
            .map(|_| format!("w{}", random(60)))
            .collect();
        let words = match random(4) {
            0 | 1 => "The one text that half of all rows have.".to_owned(),
            _ => words.join(" "),
        };
        let row = match random(40) {
            0 => "{\"text\": \"cut\n".to_owned(),
            1 => format!(
                "{{\"id\": \"{number:05}\", \"text\": \"{words}\", \"images\": [\"none.jpg\"]}}\n"
            ),
            2 => "\n \n\n".to_owned(),
            _ => format!("{{\"id\": \"{number:05}\", \"text\": \"{words}\"}}\n"),
        };
        text.push_str(&row);
    }
    text
}

/// Everything below `out` that must be the same.
pub fn results(scratch: &Scratch) -> Vec<(String, Vec<u8>)> {
    let mut found = resume::results(scratch);
    let is_manifest = |name: &str| name.ends_with("manifest.json");
    for (_, bytes) in found.iter_mut().filter(|(name, _)| is_manifest(name)) {
        let mut manifest: Value = serde_json::from_slice(bytes).unwrap();
        // Those of the machine that wrote it.
        manifest["threads"] = Value::Null;
        *bytes = manifest.to_string().into_bytes();
    }
    found
}

/// A directory with the rows and the recipe, and what one run makes of them.
pub fn made(recipe: &str, rows: &str) -> (Scratch, Vec<(String, Vec<u8>)>) {
    let scratch = Scratch::new();
    scratch.write("r.yaml", recipe);
    scratch.write("rows.jsonl", rows);
    scratch.djr(&["run", "r.yaml", "--quiet"]).expect(1);
    let expected = results(&scratch);
    assert!(
        expected
            .iter()
            .any(|(name, _)| name.ends_with("ledger.jsonl.zst"))
    );
    fs::remove_dir_all(scratch.path("out")).unwrap();
    (scratch, expected)
}

/// Rows that are no more than added up once they are in order: most of them in one recipe, those that no
/// step before has seen all of in the other.
#[test]
fn rows_that_tasks_add_up_are_those_of_one_run() {
    let outputs = "outputs:\n  - {format: llava, path: out/train.json, question: What?, validate: exists, paths: keep}\n";
    let stream = "  - text_length_filter: {min_len: 8, max_len: 900}
  - document_deduplicator: {lowercase: true}
  - words_num_filter: {min_num: 2}
  - document_deduplicator: {ignore_non_character: true}\n";
    let before = "  - document_minhash_deduplicator: {num_permutations: 32}\n";
    let head =
        "dataset_path: rows.jsonl\nexport_path: out/clean.jsonl\nmax_quarantine: none\nprocess:\n";
    for steps in [stream.to_owned(), format!("{before}{stream}")] {
        let (scratch, expected) = made(&format!("{head}{steps}{outputs}"), &rows(2500));
        for size in ["9KB", "60KB"] {
            let words = [
                "run",
                "r.yaml",
                "--quiet",
                "--tasks",
                size,
                "--task-bytes",
                size,
            ];
            scratch.djr(&words).expect(1);
            assert_same(&results(&scratch), &expected, size);
            fs::remove_dir_all(scratch.path("out")).unwrap();
        }
    }
}

/// The tasks that can be done now, and the exit code of `next`.
fn ready(scratch: &Scratch) -> (Vec<String>, i32) {
    let next = scratch.djr(&["next", "work", "--all"]);
    (next.text().lines().map(str::to_owned).collect(), next.code)
}

/// Does all tasks, the ready ones in an order that `pick` chooses: it gets their number.
fn do_all(scratch: &Scratch, mut pick: impl FnMut(usize) -> usize) {
    loop {
        let (ids, code) = ready(scratch);
        if code == 11 {
            return;
        }
        assert_eq!(code, 0, "{ids:?}");
        let id = &ids[pick(ids.len()) % ids.len()];
        scratch.djr(&["task", "work", id, "--quiet"]).expect(0);
    }
}

#[test]
fn tasks_of_any_size_make_the_bytes_of_one_run() {
    let (scratch, expected) = made(RECIPE, &rows(4000));
    for (size, threads) in [("16KB", "4"), ("200KB", "1"), ("1GB", "2")] {
        let words = ["run", "r.yaml", "--tasks", "work", "--task-bytes", size];
        scratch
            .djr(&[&words[..], &["-j", threads]].concat())
            .expect(1);
        assert_same(&results(&scratch), &expected, size);
        let manifest = scratch.json("out/clean.jsonl.djr/manifest.json");
        assert_eq!(manifest["rows"]["in"], manifest["inputs"][0]["rows"]);
        scratch.djr(&["verify", "out/clean.jsonl"]).expect(0);
        fs::remove_dir_all(scratch.path("out")).unwrap();
        fs::remove_dir_all(scratch.path("work")).unwrap();
    }
}

/// Exact and near duplicates of texts and pictures, one after the other, before a bound from the data and
/// behind it.
const DUPLICATES: &str = "\
dataset_path: rows.jsonl
export_path: out/clean.jsonl
max_quarantine: none
open_tracer: true
process:
  - text_length_filter: {min_len: 8, max_len: 200}
  - document_deduplicator: {lowercase: true}
  - image_shape_filter: {max_width: 300}
  - document_minhash_deduplicator: {num_permutations: 32, jaccard_threshold: 0.5, lowercase: false}
  - image_deduplicator: {}
  - image_deduplicator: {threshold: 6}
  - document_simhash_deduplicator: {text_key: more, hamming_distance: 4, num_blocks: 6}
  - average_line_length_filter: {max_len: 1sigma}
  - replace_content_mapper: {pattern: '[2-9]', repl: ''}
  - document_minhash_deduplicator: {num_permutations: 64, jaccard_threshold: 0.4, window_size: 2}
outputs:
  - {format: jsonl, path: out/all.jsonl, of: all}
  - {format: jsonl, path: out/dropped.jsonl, of: dropped}
";

/// Rows of texts and of pictures that are the same, near each other, not there, and not whole; and what
/// one run makes of them.
pub fn made_with_pictures(count: u32) -> (Scratch, Vec<(String, Vec<u8>)>) {
    let scratch = Scratch::new();
    for number in 0..40_u8 {
        let kind = u32::from(number / 2);
        let shade = |x: u32, y: u32| {
            let wave = kind * 7 * x + (x * y) % (kind + 3) * 9 + u32::from(number % 2);
            image::Luma([wave.to_le_bytes()[0]])
        };
        let picture = image::ImageBuffer::from_fn(48, 48, shade);
        picture
            .save(scratch.path(&format!("{number}.png")))
            .unwrap();
    }
    let whole = fs::read(scratch.path("0.png")).unwrap();
    fs::write(scratch.path("cut.png"), &whole[..whole.len() / 2]).unwrap();
    let mut state = 11_u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    let mut lines = String::new();
    let mut said: Vec<String> = Vec::new();
    for number in 0..count {
        let words = |kind: char, kinds: u32, count: u32, random: &mut dyn FnMut(u32) -> u32| {
            let words: Vec<String> = (0..count)
                .map(|_| format!("{kind}{}", random(kinds)))
                .collect();
            words.join(" ")
        };
        let length = 3 + random(30);
        let mut text = words('w', 60, length, &mut random);
        let earlier = random(said.len().max(1).try_into().unwrap()) as usize;
        match (random(8), said.get(earlier)) {
            (0, _) => "The one text that many rows have.".clone_into(&mut text),
            (1 | 2, Some(said)) => text.clone_from(said),
            (3, Some(said)) => text = said.to_uppercase(),
            (4, Some(said)) => text = format!("{said} more"),
            _ => said.push(text.clone()),
        }
        let mut row = serde_json::json!({"id": number, "text": text});
        if random(12) > 0 {
            let length = 3 + random(9);
            row["more"] = words('m', 3, length, &mut random).into();
        }
        let pictures = match random(9) {
            0 => vec![format!("{}.png", random(40))],
            1 => vec![["cut.png", "none.png", "1.png", "2.png"][random(4) as usize].to_owned()],
            2 => vec![format!("{}.png", random(40)), format!("{}.png", random(40))],
            _ => Vec::new(),
        };
        if !pictures.is_empty() {
            row["images"] = pictures.into();
        }
        if random(40) == 0 {
            lines.push_str("{\"text\": \"cut\n");
        }
        lines.extend([row.to_string(), "\n".to_owned()]);
    }
    scratch.write("r.yaml", DUPLICATES);
    scratch.write("rows.jsonl", &lines);
    scratch.djr(&["run", "r.yaml", "--quiet"]).expect(1);
    let expected = results(&scratch);
    let manifest = scratch.json("out/clean.jsonl.djr/manifest.json");
    let mut failed = 0;
    for step in manifest["steps"].as_array().unwrap() {
        if step["op"].as_str().unwrap().ends_with("deduplicator") {
            assert!(step["dropped"].as_u64() > Some(0), "{step}");
            failed += usize::from(step["quarantined"].as_u64() > Some(0));
        }
    }
    assert_eq!(
        failed, 2,
        "rows fail at steps whose duplicates are looked for"
    );
    fs::remove_dir_all(scratch.path("out")).unwrap();
    (scratch, expected)
}

#[test]
fn duplicates_that_partitions_find_are_those_of_one_run() {
    let (scratch, expected) = made_with_pictures(3000);
    for (size, partitions, memory) in [
        ("20KB", "3", "1GB"),
        ("1GB", "1", "64MB"),
        ("50KB", "7", "64MB"),
    ] {
        let plan = ["plan", "r.yaml", "--work", "work", "--task-bytes", size];
        let planned = scratch
            .djr(&[&plan[..], &["--partitions", partitions]].concat())
            .expect(0)
            .text();
        assert!(planned.contains("join-1-5 "), "{planned}");
        loop {
            let (ids, code) = ready(&scratch);
            if code == 11 {
                break;
            }
            for id in ids {
                let words = ["task", "work", &id, "--quiet", "--max-memory", memory];
                scratch.djr(&words).expect(0);
            }
        }
        scratch.djr(&["finish", "work", "--quiet"]).expect(1);
        assert_same(&results(&scratch), &expected, partitions);
        scratch.djr(&["verify", "out/clean.jsonl"]).expect(0);
        fs::remove_dir_all(scratch.path("work")).unwrap();
        fs::remove_dir_all(scratch.path("out")).unwrap();
    }
}

/// Behind a selector rows have an order of their own: one process decides there.
#[test]
fn partitions_end_where_rows_are_put_in_another_order() {
    let steps = "
dataset_path: rows.jsonl
export_path: out/clean.jsonl
max_quarantine: none
process:
  - document_minhash_deduplicator: {num_permutations: 32}
  - topk_specified_field_selector: {field_key: id, topk: 300}
  - punctuation_normalization_mapper:
  - document_minhash_deduplicator: {num_permutations: 16, jaccard_threshold: 0.2, window_size: 2}
";
    let (scratch, expected) = made(steps, &rows(900));
    let cut = ["--task-bytes", "20KB", "--partitions", "2"];
    let plan = ["plan", "r.yaml", "--work", "work"];
    let planned = scratch.djr(&[&plan[..], &cut].concat()).expect(0).text();
    assert!(
        planned.contains("join-1-1 ") && !planned.contains("keys-2"),
        "{planned}"
    );
    let run = ["run", "r.yaml", "--quiet", "--tasks", "work"];
    scratch.djr(&[&run[..], &cut].concat()).expect(1);
    assert_same(&results(&scratch), &expected, "a selector");
}

#[test]
fn tasks_are_done_in_any_order_and_the_commands_read_what_they_leave() {
    let (scratch, expected) = made(RECIPE, &rows(1500));
    let plan = ["plan", "r.yaml", "--work", "work", "--task-bytes", "20KB"];
    let planned = scratch.djr(&plan).expect(0).text();
    for line in [
        "pass-1    ",
        "decide-1  1 task: document_minhash_deduplicator",
        "finish ",
    ] {
        assert!(planned.contains(line), "{planned}");
    }
    scratch.djr(&plan).expect(0);
    let early = scratch.djr(&["finish", "work"]).expect(2);
    assert!(early.stderr.contains("tasks are done"), "{}", early.stderr);
    let early = scratch.djr(&["task", "work", "decide-1"]).expect(2);
    assert!(
        early.stderr.contains("cannot be done now"),
        "{}",
        early.stderr
    );
    scratch.djr(&["task", "work", "pass-9-00000"]).expect(2);
    let mut state = 5_usize;
    do_all(&scratch, |many| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % many
    });
    let again = scratch.djr(&["task", "work", "pass-1-00000"]).expect(0);
    assert!(
        again.stderr.contains("was done already"),
        "{}",
        again.stderr
    );
    assert!(!scratch.path("out/clean.jsonl").exists());
    scratch.djr(&["finish", "work"]).expect(1);
    assert_same(&results(&scratch), &expected, "any order");
    let again = scratch.djr(&["finish", "work"]).expect(1);
    assert!(again.stderr.contains("up to date"), "{}", again.stderr);
    scratch.djr(&["verify", "out/clean.jsonl"]).expect(0);
    let why = scratch.djr(&["why", "out/clean.jsonl", "00003"]).expect(0);
    assert!(why.text().contains("rows.jsonl:"), "{}", why.text());
    scratch
        .djr(&["report", "out/clean.jsonl", "-o", "report.html"])
        .expect(0);
    scratch
        .djr(&["diff", "out/clean.jsonl", "out/clean.jsonl"])
        .expect(0);
}

/// Files whose rows cannot be counted before they are read, and some that can be cut.
#[test]
fn identities_do_not_depend_on_how_inputs_are_packed_or_cut() {
    let text = rows(2400);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let parts: Vec<String> = lines
        .chunks(lines.len() / 5 + 1)
        .map(<[&str]>::concat)
        .collect();
    let (scratch, expected) = made(RECIPE, &text);
    fs::create_dir(scratch.path("in")).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(parts[0].as_bytes()).unwrap();
    scratch.write("in/0.jsonl.gz", gz.finish().unwrap());
    scratch.write("in/1.jsonl", parts[1].trim_end());
    scratch.write("in/2.jsonl", &parts[2]);
    scratch.write(
        "in/3.jsonl.zst",
        zstd::encode_all(parts[3].as_bytes(), 1).unwrap(),
    );
    scratch.write("in/4.jsonl", &parts[4]);
    let ids = |found: &[(String, Vec<u8>)]| {
        let kept = found.iter().find(|(name, _)| name == "sample.jsonl");
        kept.unwrap().1.clone()
    };
    let run = ["run", "r.yaml", "--input", "in", "--quiet"];
    scratch.djr(&run).expect(1);
    let whole = results(&scratch);
    fs::remove_dir_all(scratch.path("out")).unwrap();
    for size in ["7KB", "50KB", "1GB"] {
        let tasks = ["--tasks", "work", "--task-bytes", size];
        scratch.djr(&[&run[..], &tasks].concat()).expect(1);
        assert_same(&results(&scratch), &whole, size);
        // The rows of one file have the same identities.
        assert!(ids(&results(&scratch)) == ids(&expected), "{size}");
        fs::remove_dir_all(scratch.path("out")).unwrap();
        fs::remove_dir_all(scratch.path("work")).unwrap();
    }
}

/// Tables, archives and records with headers: whole files, whose rows are known by their number.
#[test]
fn column_files_and_tables_are_read_file_by_file() {
    let scratch = Scratch::new();
    let recipe = "\
process:
  - text_length_filter: {min_len: 3}
  - document_deduplicator:
  - average_line_length_filter: {max_len: p90}
  - words_num_filter: {min_num: 1, max_num: 9}
outputs:
  - {format: jsonl, path: out/clean.jsonl}
  - {format: webdataset, path: 'out/{shard}.tar', shard_rows: 20}
  - {format: parquet, path: out/sample.parquet, sample: 10}
";
    scratch.write("r.yaml", recipe);
    fs::create_dir(scratch.path("in")).unwrap();
    let texts = |from: u32| {
        (from..from + 40).map(|n| format!("row {} of {} some", n % 70, "x".repeat(n as usize % 9)))
    };
    let records: Vec<String> = texts(0)
        .map(|text| format!("{{\"text\": \"{text}\"}}\n"))
        .collect();
    let jsonl = records.concat();
    scratch.write("in/1.jsonl", &jsonl);
    scratch
        .djr(&[
            "convert",
            "in/1.jsonl",
            "--to",
            "parquet",
            "-o",
            "2.parquet",
            "-q",
        ])
        .expect(0);
    scratch
        .djr(&[
            "convert",
            "in/1.jsonl",
            "--to",
            "webdataset",
            "-o",
            "3.tar",
            "-q",
        ])
        .expect(0);
    // What an earlier run wrote in a directory is passed over.
    for name in ["2.parquet", "3.tar"] {
        fs::copy(scratch.path(name), scratch.path(&format!("in/{name}"))).unwrap();
    }
    for (name, from) in [("in/4.csv", 20), ("in/5.csv", 40)] {
        let rows: String = texts(from).map(|text| text + "\n").collect();
        scratch.write(name, format!("text\n{rows}"));
    }
    scratch.write(
        "in/6.json",
        serde_json::to_vec(&crate::support::rows(jsonl.as_bytes())).unwrap(),
    );
    scratch.write("in/7.jsonl", &jsonl);
    let run = ["run", "r.yaml", "--input", "in", "--quiet"];
    scratch.djr(&run).expect(0);
    let whole = results(&scratch);
    fs::remove_dir_all(scratch.path("out")).unwrap();
    scratch
        .djr(&[&run[..], &["--tasks", "work", "--task-bytes", "300"]].concat())
        .expect(0);
    assert_same(&results(&scratch), &whole, "tables");
}

/// A Parquet file is cut between row groups; a row is known by its number, wherever a task begins.
#[test]
fn row_groups_are_tasks() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("in")).unwrap();
    let rows = crate::parquet::all_types(400);
    crate::parquet::write(&scratch, "in/0.parquet", &rows);
    crate::parquet::write(&scratch, "in/2.parquet", &rows.slice(30, 300));
    scratch.write(
        "r.yaml",
        "dataset_path: in
input: {on_broken_input: quarantine}
process:
  - text_length_filter: {min_len: 7}
  - document_minhash_deduplicator: {window_size: 1, tokenization: character}
  - whitespace_normalization_mapper:
outputs:
  - {format: parquet, path: out/clean.parquet}
  - {format: jsonl, path: out/sample.jsonl, sample: 30, validate: none}
",
    );
    let run = ["run", "r.yaml", "-q"];
    let tasks = |size: &str, code: i32| {
        let words = ["--tasks", "work", "--task-bytes", size];
        scratch.djr(&[&run[..], &words].concat()).expect(code);
        let found = results(&scratch);
        let plan = scratch.json("work/plan.json");
        fs::remove_dir_all(scratch.path("out")).unwrap();
        fs::remove_dir_all(scratch.path("work")).unwrap();
        (found, plan["reads"].as_array().unwrap().len())
    };
    let code = scratch.djr(&run).code;
    let whole = results(&scratch);
    assert!(code < 2 && whole.len() > 3, "{code}");
    fs::remove_dir_all(scratch.path("out")).unwrap();
    for (size, count) in [("1B", 6 + 5), ("1GB", 1)] {
        let (found, reads) = tasks(size, code);
        assert_eq!(reads, count, "{size}");
        assert_same(&found, &whole, size);
    }
    // A row group that is damaged costs its own rows, in whichever task they are.
    let path = scratch.path("in/0.parquet");
    let sound = fs::read(&path).unwrap();
    let mut damaged = sound.clone();
    let at = sound.len() / 2;
    damaged[at..at + 64].fill(0xAA);
    fs::write(&path, &damaged).unwrap();
    let code = scratch.djr(&run).code;
    let whole = results(&scratch);
    fs::remove_dir_all(scratch.path("out")).unwrap();
    assert_same(&tasks("1B", code).0, &whole, "damaged");
}

/// Each task starts the programs that it asks.
#[test]
fn programs_are_asked_by_tasks() {
    let recipe = "\
dataset_path: rows.jsonl
max_quarantine: none
process:
  - text_length_filter: {min_len: 8}
  - command_mapper: {command: [sh, upper.sh], lines: 7}
  - document_minhash_deduplicator: {}
  - command_mapper: {command: [sh, upper.sh], lines: 7}
outputs:
  - {format: jsonl, path: out/clean.jsonl}
";
    let scratch = Scratch::new();
    scratch.write("r.yaml", recipe);
    scratch.write("rows.jsonl", rows(300));
    // The names of fields stay as they are.
    scratch.write(
        "upper.sh",
        "while IFS= read -r row; do printf '%s\\n' \"$row\" | tr w W; done",
    );
    scratch.djr(&["run", "r.yaml", "--quiet"]).expect(1);
    let services = || scratch.json("out/clean.jsonl.djr/manifest.json")["services"].take();
    let (mut expected, asked) = (results(&scratch), services());
    fs::remove_dir_all(scratch.path("out")).unwrap();
    let words = [
        "run",
        "r.yaml",
        "-q",
        "--tasks",
        "work",
        "--task-bytes",
        "3KB",
    ];
    scratch.djr(&words).expect(1);
    assert_eq!(services()[0]["requests"], asked[0]["requests"]);
    let mut found = results(&scratch);
    for results in [&mut expected, &mut found] {
        for (_, bytes) in results
            .iter_mut()
            .filter(|(name, _)| name.ends_with("manifest.json"))
        {
            let mut manifest: Value = serde_json::from_slice(bytes).unwrap();
            // How full batches were depends on how rows come together.
            manifest["services"] = Value::Null;
            *bytes = manifest.to_string().into_bytes();
        }
    }
    assert_same(&found, &expected, "programs");
}

/// Tasks do not know of each other; who hands them out adds up what they set aside.
#[test]
fn no_task_follows_when_too_many_rows_failed() {
    let (scratch, expected) = made(RECIPE, &rows(900));
    let broken = scratch
        .read("rows.jsonl")
        .split(|b| *b == b'\n')
        .filter(|line| *line == b"{\"text\": \"cut")
        .count();
    assert!(broken > 10, "{broken}");
    let plan = |most: usize| {
        let _ = fs::remove_dir_all(scratch.path("work"));
        let most = most.to_string();
        let words = ["plan", "r.yaml", "--work", "work", "--task-bytes", "15KB"];
        let limit = ["--max-quarantine", &most];
        scratch.djr(&[&words[..], &limit].concat()).expect(0);
    };
    plan(broken - 1);
    let stopped = loop {
        let next = scratch.djr(&["next", "work"]);
        if next.code != 0 {
            break next.expect(3);
        }
        let id = next.text().trim().to_owned();
        assert!(!id.starts_with("decide"), "{id}");
        scratch.djr(&["task", "work", &id, "-q"]).expect(0);
    };
    let said = format!("more than max_quarantine ({} rows) allows", broken - 1);
    assert!(stopped.stderr.contains(&said), "{}", stopped.stderr);
    for word in ["json_invalid", "plan again"] {
        assert!(stopped.stderr.contains(word), "{}", stopped.stderr);
    }
    let words = [
        "run",
        "r.yaml",
        "--tasks",
        "work",
        "--task-bytes",
        "15KB",
        "-q",
    ];
    let limit = (broken - 1).to_string();
    let local = scratch.djr(&[&words[..], &["--max-quarantine", &limit]].concat());
    assert!(local.expect(3).stderr.contains(&said));
    // One task alone may have too many.
    plan(0);
    while !scratch.djr(&["next", "work"]).text().starts_with("pass") {
        let id = scratch.djr(&["next", "work"]).text().trim().to_owned();
        scratch.djr(&["task", "work", &id, "-q"]).expect(0);
    }
    let alone = scratch.djr(&["task", "work", "pass-1-00000"]).expect(3);
    assert!(
        alone.stderr.contains("max_quarantine (0 rows)"),
        "{}",
        alone.stderr
    );
    // As many as are allowed are allowed.
    plan(broken);
    do_all(&scratch, |_| 0);
    scratch.djr(&["finish", "work", "-q"]).expect(1);
    assert_same(&results(&scratch), &expected, "as many as are allowed");
}

/// Groups, expanders and merged duplicates are decided by the same ordered step.
#[test]
fn rows_that_are_remade_between_passes_are_the_same() {
    let recipe = "\
dataset_path: rows.jsonl
max_quarantine: none
process:
  - text_length_filter: {min_len: 8}
  - document_deduplicator:
  - mixture_selector: {by: text_len, bins: [30, 80], shares: equal, repeat_to: 900}
  - document_deduplicator: {keep: longest, merge: {id: list}, report_clusters: true}
  - key_value_grouper: {group_by_keys: [text.1]}
outputs:
  - {format: jsonl, path: out/clean.jsonl}
";
    let (scratch, expected) = made(recipe, &rows(1200));
    scratch
        .djr(&[
            "run",
            "r.yaml",
            "--tasks",
            "work",
            "--task-bytes",
            "9KB",
            "-q",
        ])
        .expect(1);
    assert_same(&results(&scratch), &expected, "groups");
}

fn command(scratch: &Scratch, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_djr"));
    command
        .args(words)
        .current_dir(scratch.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// The command with its `at`-th `call` on a file failing with `errno`, or killing it.
fn broken(scratch: &Scratch, library: &Path, words: &[&str], fault: (&str, usize, &str)) -> Output {
    let (call, at, errno) = fault;
    command(scratch, words)
        .env("LD_PRELOAD", library)
        .env("FAULT_DIR", fs::canonicalize(scratch.path("")).unwrap())
        .env("FAULT_CALL", call)
        .env("FAULT_AT", at.to_string())
        .env("FAULT_ERRNO", errno)
        .output()
        .unwrap()
}

/// Attempts at a task that are there.
fn attempts(scratch: &Scratch, id: &str) -> usize {
    fs::read_dir(scratch.path(&format!("work/t/{id}"))).map_or(0, Iterator::count)
}

#[test]
fn of_many_attempts_at_once_one_counts() {
    let (scratch, expected) = made(RECIPE, &rows(900));
    scratch
        .djr(&["plan", "r.yaml", "--work", "work", "--task-bytes", "20KB"])
        .expect(0);
    loop {
        let (ids, code) = ready(&scratch);
        if code == 11 {
            break;
        }
        let id = ids.first().unwrap();
        let race: Vec<Child> = (0..8)
            .map(|_| command(&scratch, &["task", "work", id]).spawn().unwrap())
            .collect();
        let ran = race
            .into_iter()
            .map(|child| Ran::of(child.wait_with_output().unwrap()));
        let did = ran.filter(|ran| {
            assert_eq!(ran.code, 0, "{id}: {}", ran.stderr);
            !ran.stderr.contains("already")
        });
        assert_eq!(did.count(), 1, "{id}");
        assert_eq!(attempts(&scratch, id), 1, "{id}");
    }
    scratch.djr(&["finish", "work"]).expect(1);
    assert_same(&results(&scratch), &expected, "races");
}

#[test]
fn killed_attempts_are_done_again_and_leave_nothing() {
    killed_attempts(made(RECIPE, &rows(900)), &["--task-bytes", "20KB"]);
    let few = ["--task-bytes", "80KB", "--partitions", "2"];
    killed_attempts(made_with_pictures(900), &few);
}

fn killed_attempts((scratch, expected): (Scratch, Vec<(String, Vec<u8>)>), cut: &[&str]) {
    let library = faults(&scratch);
    let plan = ["plan", "r.yaml", "--work", "work"];
    scratch.djr(&[&plan[..], cut].concat()).expect(0);
    let (mut killed, mut seed) = (0, 1_usize);
    let mut disturbed = |scratch: &Scratch, words: &[&str]| {
        for call in ["write", "fsync", "rename"] {
            seed = seed.wrapping_mul(25_214_903_917).wrapping_add(11);
            let fault = (call, (seed >> 20) % 6 + 1, "kill");
            let output = broken(scratch, &library, words, fault);
            killed += usize::from(output.status.signal() == Some(9));
        }
    };
    loop {
        let (ids, code) = ready(&scratch);
        if code == 11 {
            break;
        }
        let id = ids.first().unwrap();
        disturbed(&scratch, &["task", "work", id]);
        scratch.djr(&["task", "work", id, "-q"]).expect(0);
    }
    disturbed(&scratch, &["finish", "work"]);
    scratch.djr(&["finish", "work", "-q"]).expect(1);
    assert!(killed > 20, "{killed} were killed");
    assert_same(&results(&scratch), &expected, "kills");
    let left = fs::read_dir(scratch.path("work/t")).unwrap().flatten();
    for entry in left.filter(|entry| entry.path().is_dir()) {
        let id = entry.file_name().into_string().unwrap();
        assert_eq!(attempts(&scratch, &id), 1, "{id}");
    }
}

#[test]
fn a_local_run_that_is_killed_goes_on() {
    let (scratch, expected) = made(RECIPE, &rows(900));
    let library = faults(&scratch);
    let words = [
        "run",
        "r.yaml",
        "--tasks",
        "work",
        "--task-bytes",
        "20KB",
        "-j",
        "3",
    ];
    for at in [3, 20, 60, 130] {
        let output = broken(&scratch, &library, &words, ("fsync", at, "kill"));
        assert_eq!(output.status.signal(), Some(9), "{at}");
    }
    scratch.djr(&words).expect(1);
    assert_same(&results(&scratch), &expected, "kills of all at once");
}

#[test]
fn tasks_that_end_at_once_are_counted_once_each() {
    let (scratch, _) = made(RECIPE, &rows(900));
    for work in ["a", "b", "c"] {
        let words = [
            "run",
            "r.yaml",
            "--tasks",
            work,
            "--task-bytes",
            "2KB",
            "-j",
            "8",
            "--force",
        ];
        let ran = scratch.djr(&words).expect(1);
        let counted = ran.stderr.lines().filter_map(|line| {
            let (_, rest) = line.split_once(" done (")?;
            rest.split_once(" of ")?.0.parse::<usize>().ok()
        });
        let counted: Vec<usize> = counted.collect();
        assert!(counted.len() > 40, "{}", ran.stderr);
        assert_eq!(counted, (1..=counted.len()).collect::<Vec<_>>());
    }
}

#[test]
fn a_full_disk_stops_the_plan_by_the_name_of_the_task() {
    let (scratch, expected) = made(RECIPE, &rows(900));
    let library = faults(&scratch);
    let words = [
        "run",
        "r.yaml",
        "--tasks",
        "work",
        "--task-bytes",
        "20KB",
        "-j",
        "1",
    ];
    // In a task that measures, in others, and at the end; the first eight lock outputs and plan.
    let mut named = Vec::new();
    for at in [9, 4, 5, 8, 30, 60] {
        let output = Ran::of(broken(&scratch, &library, &words, ("write", at, "28"))).expect(3);
        let mut errors = output
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix("error: "));
        let error = errors.next().unwrap_or_default();
        assert!(error.contains("No space left"), "{}", output.stderr);
        named.extend(error.split(&['-', ':']).next().map(str::to_owned));
        assert!(
            output.stderr.contains("what is done is kept"),
            "{}",
            output.stderr
        );
    }
    for kind in ["measure", "pass"] {
        assert!(named.iter().any(|task| task == kind), "{named:?}");
    }
    scratch.djr(&words).expect(1);
    assert_same(&results(&scratch), &expected, "full disk");
}

#[test]
fn files_that_are_not_as_a_task_left_them_are_named() {
    let (scratch, expected) = made(RECIPE, &rows(900));
    scratch
        .djr(&["plan", "r.yaml", "--work", "work", "--task-bytes", "20KB"])
        .expect(0);
    do_all(&scratch, |_| 0);
    let (ids, code) = ready(&scratch);
    assert_eq!((ids.len(), code), (0, 11));
    let parts = scratch.files("work/t");
    let part = parts
        .iter()
        .find(|name| name.starts_with("pass-4-00000/") && name.ends_with("/part"))
        .unwrap();
    let path = format!("work/t/{part}");
    let sound = scratch.read(&path);
    let mut other = sound.clone();
    *other.last_mut().unwrap() ^= 1;
    scratch.write(&path, &other);
    let refused = scratch.djr(&["finish", "work"]).expect(3);
    assert!(
        refused.stderr.contains(part) && refused.stderr.contains("digest"),
        "{}",
        refused.stderr
    );
    scratch.write(&path, sound);
    scratch.djr(&["finish", "work"]).expect(1);
    assert_same(&results(&scratch), &expected, "mended");
}

#[test]
fn what_has_changed_since_the_plan_stops_its_tasks() {
    let (scratch, _) = made(RECIPE, &rows(300));
    let plan = ["plan", "r.yaml", "--work", "work", "--task-bytes", "20KB"];
    scratch.djr(&plan).expect(0);
    let other = scratch.djr(&[&plan[..], &["--set", "text_length_filter.min_len=9"]].concat());
    let other = other.expect(2);
    assert!(other.stderr.contains("holds another plan") && other.stderr.contains("min_len"));
    scratch.write("rows.jsonl", rows(301));
    let changed = scratch.djr(&["task", "work", "measure-00000"]).expect(3);
    assert!(
        changed.stderr.contains("the input changed"),
        "{}",
        changed.stderr
    );
    // An unfinished run of tasks is none of a run without them, and the other way round.
    scratch.write("rows.jsonl", rows(300));
    fs::remove_dir_all(scratch.path("work")).unwrap();
    scratch.djr(&plan).expect(0);
    while !scratch.path("work/t/decide-1.done").exists() {
        let (ids, _) = ready(&scratch);
        scratch.djr(&["task", "work", &ids[0], "-q"]).expect(0);
    }
    let alone = scratch.djr(&["run", "r.yaml", "--resume"]).expect(2);
    assert!(alone.stderr.contains("tasks did it"), "{}", alone.stderr);
    let again = scratch
        .djr(&["plan", "r.yaml", "--work", "again"])
        .expect(2);
    assert!(again.stderr.contains("unfinished run"), "{}", again.stderr);
    scratch
        .djr(&["plan", "r.yaml", "--work", "again", "--restart"])
        .expect(0);
}

#[test]
fn what_tasks_cannot_do_is_refused_by_name() {
    let (scratch, _) = made(RECIPE, &rows(50));
    let plan = |more: &[&str]| {
        let words = [&["plan", "r.yaml", "--work", "work"], more].concat();
        scratch.djr_with(&words, b"{}\n").expect(2).stderr
    };
    assert!(plan(&["--input", "-"]).contains("tasks read files"));
    assert!(plan(&["--output", "-"]).contains("tasks write files"));
    assert!(plan(&["--task-bytes", "0"]).contains("at least a byte"));
    // The clusters of its near-duplicates are written down, which asks for all of them in one place.
    let none = plan(&["--partitions", "4"]);
    assert!(
        none.contains("no step of this recipe finds duplicates by partitions"),
        "{none}"
    );
    scratch.write("r.yaml", "dataset_path: rows.jsonl\nexport_path: out/a.jsonl\nprocess:\n  - python_file_mapper: {file_path: a.py}\n");
    assert!(!scratch.path("work").exists());
    let none = scratch.djr(&["next", "nowhere"]).expect(2);
    assert!(
        none.stderr.contains("djr plan RECIPE --work DIR"),
        "{}",
        none.stderr
    );
}

#[test]
fn answers_say_how_far_the_tasks_are() {
    let (scratch, _) = made(RECIPE, &rows(300));
    let plan = [
        "plan",
        "r.yaml",
        "--work",
        "work",
        "--task-bytes",
        "10KB",
        "--json",
    ];
    let planned = scratch.djr(&plan).expect(0).answer();
    let known = planned["result"]["known"].as_u64().unwrap();
    assert!(known > 4 && planned["result"]["done"] == 0, "{planned}");
    let first = planned["result"]["ready"][0].as_str().unwrap().to_owned();
    let next = scratch.djr(&["next", "work", "--json"]).expect(0).answer();
    assert_eq!(next["result"]["ready"], serde_json::json!([first]));
    let done = scratch
        .djr(&["task", "work", &first, "--json"])
        .expect(0)
        .answer();
    assert_eq!(
        (&done["result"]["done"], &done["result"]["did"]),
        (&Value::from(1), &Value::from(true))
    );
    do_all(&scratch, |_| 0);
    let next = scratch.djr(&["next", "work", "--json"]).expect(11).answer();
    assert_eq!(next["result"]["complete"], true);
    let finished = scratch
        .djr(&["finish", "work", "--json"])
        .expect(1)
        .answer();
    assert_eq!(finished["result"]["state"], "done");
}

/// A stand-in for SLURM: runs each job at once, the elements of an array at the same time.
pub const SBATCH: &str = r#"#!/bin/sh
set -eu
for word; do
    case $word in
        --array=0-*) last=${word#--array=0-}; shift ;;
        --dependency=afterok:*) shift; [ ! -e "$SLURM_STATE/failed-${word#--dependency=afterok:}" ] || exit 0 ;;
        -*) shift ;;
        *) break ;;
    esac
done
number=$(ls "$SLURM_STATE" | wc -l)
: > "$SLURM_STATE/job-$number"
script=$(mktemp "$SLURM_STATE/spool-XXXXXX")
cp "$1" "$script"
shift
if [ -n "${last+x}" ]; then
    children=
    for element in $(seq 0 "$last"); do
        SLURM_JOB_ID=$number SLURM_ARRAY_TASK_ID=$element sh "$script" "$@" >> "$SLURM_STATE/log" 2>&1 &
        children="$children $!"
    done
    for child in $children; do wait "$child" || : > "$SLURM_STATE/failed-$number"; done
else
    SLURM_JOB_ID=$number sh "$script" "$@" >> "$SLURM_STATE/log" 2>&1
fi
echo "$number"
"#;

#[test]
fn the_script_for_slurm_does_a_plan() {
    let (scratch, expected) = made(RECIPE, &rows(900));
    scratch
        .djr(&["plan", "r.yaml", "--work", "work", "--task-bytes", "20KB"])
        .expect(0);
    let script = scratch
        .djr(&["slurm", "work", "--array", "3", "--", "--time=01:00:00"])
        .expect(0);
    scratch.write("job.sh", script.text());
    let bin = scratch.path("bin");
    fs::create_dir(&bin).unwrap();
    fs::create_dir(scratch.path("state")).unwrap();
    let sbatch = scratch.write("bin/sbatch", SBATCH);
    fs::set_permissions(&sbatch, fs::Permissions::from_mode(0o755)).unwrap();
    let submit = |path: String| {
        Command::new("sbatch")
            .arg("job.sh")
            .current_dir(scratch.path(""))
            .env("PATH", path)
            .env("SLURM_STATE", scratch.path("state"))
            .output()
            .unwrap()
    };
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    // A task that fails ends the chain of jobs.
    fs::rename(scratch.path("rows.jsonl"), scratch.path("aside")).unwrap();
    scratch.write("rows.jsonl", "{\"text\": \"other rows\"}\n");
    submit(path.clone());
    assert!(!scratch.path("out/clean.jsonl").exists());
    let log = String::from_utf8(scratch.read("state/log")).unwrap();
    assert!(log.contains("the input changed"), "{log}");
    fs::rename(scratch.path("aside"), scratch.path("rows.jsonl")).unwrap();
    submit(path);
    let log = String::from_utf8(scratch.read("state/log")).unwrap();
    assert!(scratch.path("out/clean.jsonl").exists(), "{log}");
    assert_same(&results(&scratch), &expected, "SLURM");
}

#[test]
fn what_the_page_of_clusters_shows_works() {
    let page = fs::read_to_string(root().join("docs/CLUSTER.md")).unwrap();
    let scratch = Scratch::new();
    let recipe = "dataset_path: rows.jsonl\nexport_path: out/clean.jsonl\nprocess: [text_length_filter: {min_len: 9}]\n";
    scratch.write("recipe.yaml", recipe);
    scratch.write("rows.jsonl", rows(300).replace("{\"text\": \"cut\n", ""));
    let bin = Path::new(env!("CARGO_BIN_EXE_djr")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let blocks: Vec<&str> = page
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(blocks.len(), 4);
    for block in blocks {
        let ran = Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", block])
            .current_dir(scratch.path(""))
            .env("PATH", &path)
            .output()
            .unwrap();
        let ran = Ran::of(ran);
        assert!(matches!(ran.code, 0 | 1), "{block}\n{}", ran.stderr);
        let _ = fs::remove_dir_all(scratch.path("work"));
        let _ = fs::remove_dir_all(scratch.path("out"));
    }
}
