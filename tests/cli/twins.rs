//! Choices, draws, merges and cut-offs held to plain Python (`twin.py`), over any threads and cuts, after
//! a kill, and in a recut.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::resume;
use crate::support::{Ran, Scratch, root, rows as parsed};

/// A draw that is the same for the same seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % end
    }

    fn one<'v>(&mut self, of: &'v [Value]) -> &'v Value {
        let at = self.below(of.len() as u64);
        &of[usize::try_from(at).unwrap()]
    }
}

/// Rows with duplicates that know different things.
fn some_rows(draw: &mut Draw, count: usize) -> Vec<Value> {
    let kinds = [
        json!("web"),
        json!("news"),
        json!("a b"),
        json!(7),
        Value::Null,
    ];
    let tags = [
        json!("x"),
        json!("y"),
        json!(["y", "z"]),
        json!([]),
        Value::Null,
    ];
    let row = |number: usize| {
        let words = 1 + draw.below(4);
        let words: Vec<String> = (0..words).map(|_| format!("W{}", draw.below(9))).collect();
        let pad = ["", " ", "\n"][usize::try_from(draw.below(3)).unwrap()];
        let mut row = json!({"id": number, "text": format!("{}{pad}", words.join(" "))});
        if draw.below(5) > 0 {
            row["n"] = match draw.below(4) {
                0 => json!(null),
                1 => json!(format!("{}.5", draw.below(20))),
                _ => json!(draw.below(20)),
            };
        }
        row["about"] =
            json!({"score": f64::from(u32::try_from(draw.below(64)).unwrap()) / 8.0 + 0.0625});
        row["kind"] = draw.one(&kinds).clone();
        row["tag"] = draw.one(&tags).clone();
        row
    };
    (0..count).map(row).collect()
}

/// One step of each kind, with parameters that are drawn.
fn some_steps(draw: &mut Draw) -> Vec<Value> {
    let bounds = [
        json!("p25"),
        json!("p62.5"),
        json!(4),
        json!("1sigma"),
        Value::Null,
    ];
    let keeps = [
        json!("best 40"),
        json!("worst 30%"),
        json!("best 20..90"),
        json!("worst 0..7"),
        Value::Null,
    ];
    let chosen = [
        json!("first"),
        json!("longest"),
        json!({"max": "n"}),
        json!({"min": "about.score"}),
        json!({"max": "text_len"}),
    ];
    let merges = [
        json!({}),
        json!({"tag": "list", "n": "sum"}),
        json!({"n": "first", "kind": "list"}),
        json!({"tag": "first", "kind": "first"}),
    ];
    let shares = [
        json!("proportional"),
        json!("equal"),
        json!({"web": 3, "news": 1, "7": 0.5}),
        json!({"a b": 1}),
    ];
    let mut filter = json!({"min_len": draw.one(&bounds)});
    let keep = draw.one(&keeps);
    if !keep.is_null() {
        filter["keep"] = keep.clone();
    }
    let lower = draw.below(2) == 0;
    let dedup = json!({"lowercase": lower, "keep": draw.one(&chosen), "merge": draw.one(&merges)});
    let size = ["select_num", "repeat_to"][usize::try_from(draw.below(2)).unwrap()];
    let mut mixture = json!({size: 1 + draw.below(150)});
    if draw.below(4) == 0 {
        mixture["by"] = json!(["n", "text_len"][usize::try_from(draw.below(2)).unwrap()]);
        mixture["bins"] = json!([4, 7.5, 12]);
        mixture["shares"] = json!("equal");
    } else if draw.below(4) > 0 {
        mixture["by"] = json!("kind");
        mixture["shares"] = draw.one(&shares).clone();
    }
    if filter["min_len"].is_null() {
        filter["min_len"] = json!(1);
    }
    let mut steps = vec![
        json!({"text_length_filter": filter}),
        json!({"document_deduplicator": dedup}),
        json!({"mixture_selector": mixture}),
    ];
    // Several cut-offs, at once or one after the other.
    let shares = [
        json!({"min_ratio": "p30 of all"}),
        json!({"min_ratio": "p20", "max_ratio": "p90 of all"}),
        json!({"min_ratio": 0.5, "keep": "best 90%"}),
        json!({"min_ratio": 0.5}),
    ];
    if draw.below(3) > 0 {
        steps.insert(1, json!({"alphanumeric_filter": draw.one(&shares)}));
        if draw.below(2) == 0 {
            steps.insert(
                2,
                json!({"text_length_filter": {"min_len": 1, "max_len": "p80 of all"}}),
            );
        }
        return steps;
    }
    // The filter comes first, since its stat is asked for; of the others some are left out.
    match draw.below(4) {
        0 => drop(steps.remove(1)),
        1 => drop(steps.remove(2)),
        2 => steps.swap(1, 2),
        _ => {}
    }
    steps
}

/// What plain Python leaves of the rows in each case; nothing where there is no Python.
fn twin(rows: &[Value], cases: &[Value]) -> Option<Vec<Vec<Value>>> {
    twin_of(&json!({"rows": rows, "cases": cases}))
}

/// As [`twin`], with all that it is told.
fn twin_of(asked: &Value) -> Option<Vec<Vec<Value>>> {
    let cases = asked["cases"].as_array().unwrap().len();
    let asked = asked.to_string();
    let child = Command::new("python3")
        .arg(root().join("tests/cli/twin.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    child
        .stdin
        .take()
        .unwrap()
        .write_all(asked.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the twin failed");
    let left = parsed(&output.stdout);
    assert_eq!(left.len(), cases);
    Some(
        left.into_iter()
            .map(|rows| rows.as_array().unwrap().clone())
            .collect(),
    )
}

/// Lays the rows into so many files.
fn lay(scratch: &Scratch, rows: &[Value], files: usize) {
    let _ = std::fs::remove_dir_all(scratch.path("in"));
    std::fs::create_dir(scratch.path("in")).unwrap();
    for (number, part) in rows.chunks(rows.len().div_ceil(files)).enumerate() {
        let lines: Vec<String> = part.iter().map(|row| format!("{row}\n")).collect();
        scratch.write(&format!("in/{number:03}.jsonl"), lines.concat());
    }
}

fn recipe(scratch: &Scratch, case: &Value) {
    let recipe = json!({"dataset_path": "in", "export_path": "out/rows.jsonl", "seed": case["seed"], "process": case["steps"]});
    scratch.write("r.yaml", recipe.to_string());
}

/// How a run is cut: files, threads, rows a batch.
const CUTS: [(usize, &str, &str); 3] = [(1, "1", "1000"), (7, "2", "7"), (100, "8", "1")];

/// Runs the recipe over the files that are there.
fn cut_run(scratch: &Scratch, threads: &str, batch: &str) -> Ran {
    let more = ["--threads", threads, "--batch-rows", batch];
    let args: Vec<&str> = ["run", "r.yaml", "-q"].into_iter().chain(more).collect();
    scratch.djr(&args)
}

#[test]
fn choices_draws_and_merges_are_those_of_plain_python() {
    let mut draw = Draw(0x1234_5678_9abc);
    let rows = some_rows(&mut draw, 180);
    let mut cases: Vec<Value> = (0..30)
        .map(|_| json!({"seed": draw.below(1 << 40), "steps": some_steps(&mut draw)}))
        .collect();
    let by_command = [
        (
            json!({"by": "kind", "shares": "equal", "select_num": 40}),
            "--by kind --shares equal -n 40",
        ),
        (
            json!({"by": "kind", "shares": {"web": 2, "news": 1}, "repeat_to": 500}),
            "--by kind --shares web=2,news=1 --repeat -n 500",
        ),
        (
            json!({"by": "about.score", "bins": [2, 4.5], "select_num": 33}),
            "--by about.score --bins 2,4.5 -n 33",
        ),
    ];
    let first_command = cases.len();
    for (mixture, _) in &by_command {
        cases.push(json!({"seed": 11, "steps": [{"mixture_selector": mixture}]}));
    }
    cases.push(json!({"seed": 11, "sample": 25}));
    let Some(expected) = twin(&rows, &cases) else {
        println!("skipped: there is no python3");
        return;
    };
    let mut sizes: Vec<usize> = expected.iter().map(Vec::len).collect();
    for (number, case) in cases.iter().take(first_command).enumerate() {
        let (files, threads, batch) = CUTS[number % CUTS.len()];
        let scratch = Scratch::new();
        lay(&scratch, &rows, files);
        recipe(&scratch, case);
        let ran = cut_run(&scratch, threads, batch);
        // A mixture may fall short.
        assert!(ran.code <= 1, "{case}: {}", ran.stderr);
        assert!(scratch.rows("out/rows.jsonl") == expected[number], "{case}");
    }
    let scratch = Scratch::new();
    lay(&scratch, &rows, 7);
    let commands = by_command.iter().map(|(_, command)| *command);
    let commands = commands.chain(["-n 25 --sampler python"]);
    for (number, (command, expected)) in commands.zip(&expected[first_command..]).enumerate() {
        let to = format!("drawn-{number}.jsonl");
        let fixed = ["subset", "in", "-o", &to, "--seed", "11", "-q"];
        let args: Vec<&str> = fixed.into_iter().chain(command.split(' ')).collect();
        scratch.djr(&args).expect(0);
        assert!(scratch.rows(&to) == *expected, "{command}");
    }
    sizes.sort_unstable();
    sizes.dedup();
    assert!(sizes.len() > 15, "the cases are too much alike: {sizes:?}");
}

/// Rows with texts and pictures that differ in a few places from those of others, and the pictures' values.
fn alike_rows(draw: &mut Draw, count: usize) -> (Vec<Value>, Value) {
    let mut rows = some_rows(draw, count);
    let mut pictures = json!({});
    let (mut texts, mut values): (Vec<Vec<String>>, Vec<Vec<u64>>) = (Vec::new(), Vec::new());
    for (number, row) in rows.iter_mut().enumerate() {
        let fresh = number == 0 || draw.below(4) == 0;
        let of = usize::try_from(draw.below(number.max(1) as u64)).unwrap();
        let (mut words, mut grey) = if fresh {
            let words = (0..20).map(|_| format!("w{}", draw.below(500))).collect();
            (words, (0..72).map(|_| draw.below(256)).collect())
        } else {
            (texts[of].clone(), values[of].clone())
        };
        for _ in 0..draw.below(4) {
            let at = usize::try_from(draw.below(20)).unwrap();
            words[at] = format!("W{}", draw.below(500));
            grey[at * 3] = draw.below(256);
        }
        row["text"] = json!(words.join(" "));
        let name = format!("pictures/{number}.pgm");
        pictures[&name] = json!(grey);
        row["images"] = json!([name]);
        // Not one of the cosines of such numbers is near the thresholds.
        let vector = grey
            .iter()
            .take(6)
            .map(|value| json!(f64::from(u32::try_from(value % 7).unwrap()) - 2.5));
        row["vector"] = vector.collect();
        texts.push(words);
        values.push(grey);
    }
    (rows, pictures)
}

#[test]
fn what_stays_of_near_duplicates_is_that_of_plain_python() {
    let mut draw = Draw(0x00c0_ffee);
    let (mut rows, pictures) = alike_rows(&mut draw, 150);
    // Every seventh row is one of a reference.
    let (mut seen, mut own) = (Vec::new(), Vec::new());
    for (number, row) in rows.drain(..).enumerate() {
        (if number % 7 == 3 { &mut seen } else { &mut own }).push(row);
    }
    let rows = own;
    let keeps = [
        json!("first"),
        json!("longest"),
        json!({"max": "n"}),
        json!({"min": "about.score"}),
    ];
    let merges = [
        json!({}),
        json!({"tag": "list", "n": "sum"}),
        json!({"kind": "first", "n": "list"}),
    ];
    let steps = [
        json!({"document_deduplicator": {"lowercase": true}}),
        json!({"image_deduplicator": {"method": "dhash", "threshold": 2}}),
        json!({"image_deduplicator": {"method": "dhash", "threshold": 6}}),
        json!({"semantic_deduplicator": {"field": "vector", "dims": 6, "threshold": 0.9137}}),
        json!({"document_minhash_deduplicator": {"window_size": 1, "jaccard_threshold": 0.8, "num_bands": 64, "num_rows_per_band": 4, "verify": "exact"}}),
        json!({"document_minhash_deduplicator": {"window_size": 2, "jaccard_threshold": 0.6, "num_bands": 85, "num_rows_per_band": 3, "verify": "exact"}}),
    ];
    let mut cases = Vec::new();
    for step in steps.iter().cycle().take(30) {
        let mut step = step.clone();
        let params = step.as_object_mut().unwrap().values_mut().next().unwrap();
        params["keep"] = draw.one(&keeps).clone();
        params["merge"] = draw.one(&merges).clone();
        if draw.below(2) == 0 {
            params["reference"] = json!(["seen.jsonl"]);
        }
        cases.push(json!({"seed": 1, "steps": [step]}));
    }
    let asked =
        json!({"rows": rows, "cases": cases, "pictures": pictures, "files": {"seen.jsonl": seen}});
    let Some(expected) = twin_of(&asked) else {
        println!("skipped: there is no python3");
        return;
    };
    let mut sizes: Vec<usize> = expected.iter().map(Vec::len).collect();
    for (number, (case, expected)) in cases.iter().zip(&expected).enumerate() {
        let scratch = Scratch::new();
        let (files, threads, batch) = CUTS[number % CUTS.len()];
        lay(&scratch, &rows, files);
        let lines: Vec<String> = seen.iter().map(|row| format!("{row}\n")).collect();
        scratch.write("seen.jsonl", lines.concat());
        std::fs::create_dir(scratch.path("pictures")).unwrap();
        for (name, values) in pictures.as_object().unwrap() {
            let values = values.as_array().unwrap().iter();
            let values = values.map(|value| u8::try_from(value.as_u64().unwrap()).unwrap());
            let picture = b"P5 9 8 255\n".iter().copied().chain(values);
            scratch.write(name, picture.collect::<Vec<u8>>());
        }
        let recipe = json!({"dataset_path": "in", "image_root": ".", "paths": "keep", "export_path": "out/rows.jsonl", "process": case["steps"]});
        scratch.write("r.yaml", recipe.to_string());
        cut_run(&scratch, threads, batch).expect(0);
        assert!(scratch.rows("out/rows.jsonl") == *expected, "{case}");
    }
    sizes.sort_unstable();
    sizes.dedup();
    assert!(
        sizes.len() > 6 && sizes.iter().all(|left| (10..rows.len()).contains(left)),
        "{sizes:?}"
    );
}

#[test]
fn outputs_have_the_rows_that_plain_python_writes() {
    let mut draw = Draw(0x0dd_ba11);
    let rows = some_rows(&mut draw, 300);
    let mut offsets = vec![0];
    for row in &rows {
        offsets.push(offsets[offsets.len() - 1] + row.to_string().len() as u64 + 1);
    }
    let wheres = [
        json!("id >= 40 and text == 'W1' or id in [1, 2, 33]"),
        json!("not (text == 'W3') and id < 250"),
        json!("id not in [21, 22] and 20 <= id < 280"),
        json!("id != 7"),
    ];
    let ofs = ["kept", "dropped", "all"].map(Value::from);
    let output = |draw: &mut Draw| {
        let mut output = json!({"of": draw.one(&ofs), "seed": draw.below(1 << 30)});
        if draw.below(4) > 0 {
            output["where"] = draw.one(&wheres).clone();
        }
        if draw.below(4) > 0 {
            output["sample"] = json!(1 + draw.below(60));
            output["shuffle"] = json!(draw.below(3) == 0);
        }
        output
    };
    let cases: Vec<Value> = (0..6)
        .map(|_| {
            let outputs: Vec<Value> = (0..9).map(|_| output(&mut draw)).collect();
            let least = format!("p{}", 20 + draw.below(40));
            let steps = json!([{"text_length_filter": {"min_len": least}}, {"document_deduplicator": {"keep": {"max": "n"}}}]);
            json!({"seed": 5, "steps": steps, "outputs": outputs})
        })
        .collect();
    let Some(expected) = twin_of(&json!({"rows": rows, "cases": cases, "offsets": offsets})) else {
        println!("skipped: there is no python3");
        return;
    };
    let mut sizes = Vec::new();
    for (number, (case, expected)) in cases.iter().zip(&expected).enumerate() {
        let scratch = Scratch::new();
        let (files, threads, batch) = CUTS[number % CUTS.len()];
        lay(&scratch, &rows, files);
        let mut outputs = vec![json!({"path": "kept.jsonl"})];
        for (number, output) in case["outputs"].as_array().unwrap().iter().enumerate() {
            let mut output = output.clone();
            output["path"] = json!(format!("{number}.jsonl"));
            outputs.push(output);
        }
        let recipe = json!({"dataset_path": "in", "process": case["steps"], "outputs": outputs});
        scratch.write("r.yaml", recipe.to_string());
        // A sample may fall short.
        let ran = cut_run(&scratch, threads, batch);
        assert!(ran.code <= 1, "{case}: {}", ran.stderr);
        let manifest = scratch.json("kept.jsonl.djr/manifest.json");
        for (number, expected) in expected.iter().enumerate() {
            let mut found = scratch.rows(&format!("{number}.jsonl"));
            for row in &mut found {
                row.as_object_mut().unwrap().remove("__dj__fate__");
            }
            let expected = expected.as_array().unwrap();
            let asked = &case["outputs"][number];
            assert!(
                found == *expected,
                "{asked}: {} rows, not {}",
                found.len(),
                expected.len()
            );
            // Rows that it does not ask for are told from those that it might have drawn.
            let counts = &manifest["outputs"][number + 1];
            let of = |name: &str| counts[name].as_u64().unwrap_or(0);
            let told = of("written") + of("unmatched") + of("not_drawn");
            assert_eq!(of("candidates"), told, "{asked}: {counts}");
            let is_short = of("written") < asked["sample"].as_u64().unwrap_or(0);
            assert!(!is_short || of("not_drawn") == 0, "{asked}: {counts}");
            sizes.push(found.len());
        }
    }
    sizes.sort_unstable();
    sizes.dedup();
    assert!(sizes.len() > 15, "the cases are too much alike: {sizes:?}");
}

#[test]
fn mixtures_of_inputs_are_those_of_plain_python() {
    let mut draw = Draw(0xabcd_0042);
    let rows = some_rows(&mut draw, 240);
    let case = |draw: &mut Draw| {
        // Between two and four datasets, the cuts on multiples of ten.
        let mut cuts: Vec<u64> = (0..=draw.below(3))
            .map(|_| 50 + draw.below(15) * 10)
            .collect();
        cuts.extend([0, 240]);
        cuts.sort_unstable();
        cuts.dedup();
        let datasets: Vec<Value> = cuts
            .windows(2)
            .map(|cut| json!([cut[0], cut[1], (1 + draw.below(8)) * cut[1] / 10]))
            .collect();
        json!({"seed": 1, "max_sample_num": 1 + draw.below(12), "datasets": datasets})
    };
    let mut cases: Vec<Value> = (0..12).map(|_| case(&mut draw)).collect();
    // All of one and a part of the other.
    cases.push(json!({"seed": 1, "max_sample_num": 80, "datasets": [[0, 40, 1], [40, 240, 1]]}));
    let Some(expected) = twin(&rows, &cases) else {
        println!("skipped: there is no python3");
        return;
    };
    for (number, (case, expected)) in cases.iter().zip(&expected).enumerate() {
        assert_eq!(case["max_sample_num"], expected.len(), "{case}");
        let (files, threads, batch) = CUTS[number % CUTS.len()];
        let scratch = Scratch::new();
        let mut configs = Vec::new();
        for (at, dataset) in case["datasets"].as_array().unwrap().iter().enumerate() {
            let place = |side: usize| usize::try_from(dataset[side].as_u64().unwrap()).unwrap();
            lay(&scratch, &rows[place(0)..place(1)], files);
            let name = format!("in-{at}");
            std::fs::rename(scratch.path("in"), scratch.path(&name)).unwrap();
            configs.push(json!({"type": "local", "path": name, "weight": dataset[2]}));
        }
        let dataset = json!({"configs": configs, "max_sample_num": case["max_sample_num"]});
        let recipe = json!({"dataset": dataset, "export_path": "out/rows.jsonl", "process": [{"text_length_filter": {"min_len": 1}}]});
        scratch.write("r.yaml", recipe.to_string());
        cut_run(&scratch, threads, batch).expect(0);
        assert!(scratch.rows("out/rows.jsonl") == *expected, "{case}");
    }
}

#[test]
fn neither_threads_nor_cuts_nor_kills_nor_recuts_change_what_python_leaves() {
    let mut draw = Draw(0xfeed_beef);
    let rows = some_rows(&mut draw, 400);
    let steps = |least: &str| {
        json!([
            {"text_length_filter": {"min_len": least, "keep": "best 10..330"}},
            {"alphanumeric_filter": {"min_ratio": "p15 of all"}},
            {"document_deduplicator": {"keep": {"max": "n"}, "merge": {"tag": "list", "n": "sum", "kind": "first"}}},
            {"mixture_selector": {"by": "kind", "shares": {"web": 2, "news": 1, "a b": 1}, "repeat_to": 90}},
        ])
    };
    let cases = ["p10", "p60"].map(|least| json!({"seed": 3, "steps": steps(least)}));
    let Some(expected) = twin(&rows, &cases) else {
        println!("skipped: there is no python3");
        return;
    };
    assert_eq!(expected[0].len(), 90);
    assert!(expected[0] != expected[1], "the bound changes nothing");
    let mut bytes: Option<Vec<u8>> = None;
    let scratch = Scratch::new();
    recipe(&scratch, &cases[0]);
    for files in [1, 7, 100] {
        lay(&scratch, &rows, files);
        for (_, threads, batch) in CUTS {
            cut_run(&scratch, threads, batch).expect(0);
            let found = scratch.read("out/rows.jsonl");
            assert!(
                parsed(&found) == expected[0],
                "{files} files, {threads} threads"
            );
            assert!(
                *bytes.get_or_insert(found.clone()) == found,
                "{files} files, {threads} threads"
            );
        }
    }
    // A recut has what a run of the changed recipe has.
    let set = ["--set", "text_length_filter.min_len=p60", "-q"];
    scratch
        .djr(&["analyze", "in", "--recipe", "r.yaml", "-o", "look", "-q"])
        .expect(0);
    for (of, to) in [("look", "one.jsonl"), ("out/rows.jsonl", "two.jsonl")] {
        let args = [&["recut", of, "-o", to][..], &set].concat();
        scratch.djr(&args).expect(0);
        assert!(scratch.rows(to) == expected[1], "{of}");
    }
    // Killed before, between and after the steps decide.
    let bytes = bytes.unwrap();
    let fixed = [
        "run",
        "r.yaml",
        "-q",
        "--batch-rows",
        "64",
        "--checkpoint-every",
        "0",
    ];
    for kill in [
        ("rename", "2"),
        ("rename", "4"),
        ("rename", "8"),
        ("fsync", "12"),
    ] {
        let _ = std::fs::remove_dir_all(scratch.path("out"));
        assert!(resume::killed_at(&scratch, &fixed, kill), "{kill:?}");
        assert!(!scratch.path("out/rows.jsonl").exists(), "{kill:?}");
        scratch.djr(&[&fixed[..], &["--resume"]].concat()).expect(0);
        assert!(scratch.read("out/rows.jsonl") == bytes, "{kill:?}");
    }
}
