//! Which of rows that are the same stays, and what it takes over from those that go.

use djr::op::{self, Family, OpKind};
use serde_json::{Value, json};

use crate::support::{Scratch, rows};

/// A recipe over `in.jsonl` with these steps.
fn recipe(steps: &str) -> String {
    format!("dataset_path: in.jsonl\nexport_path: out.jsonl\nprocess:\n{steps}")
}

fn clusters(scratch: &Scratch) -> Vec<Value> {
    let packed = scratch.read("out.jsonl.djr/clusters.jsonl.zst");
    rows(&zstd::decode_all(&packed[..]).unwrap())
}

const ROWS: &str = r#"{"id": 1, "text": "a red kite", "n": 3, "tag": "x"}
{"id": 2, "text": "two cats", "n": 1}
{"id": 3, "text": "a red kite", "n": 7, "tag": ["y", "x"], "src": "b"}
{"id": 4, "text": "a red kite", "n": null, "src": "c"}
{"id": 5, "text": "Two cats ", "n": 2, "tag": "z"}
"#;

#[test]
fn the_row_that_is_chosen_stays_and_takes_over_what_others_knew() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    let ids = |steps: &str| {
        scratch.write("r.yaml", recipe(steps));
        scratch.djr(&["run", "r.yaml"]).expect(0);
        let rows = scratch.rows("out.jsonl");
        rows.iter()
            .map(|row| row["id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    let dedup = |choice: &str| format!("  - document_deduplicator: {{lowercase: true{choice}}}\n");
    assert_eq!(ids(&dedup("")), [1, 2]);
    assert_eq!(ids(&dedup(", keep: first")), [1, 2]);
    assert_eq!(ids(&dedup(", keep: {max: n}")), [3, 5]);
    assert_eq!(ids(&dedup(", keep: {min: n}")), [1, 2]);
    assert_eq!(ids(&dedup(", keep: longest")), [1, 5]);
    let measured = format!(
        "  - text_length_filter: {{min_len: 1}}\n{}",
        dedup(", keep: {max: text_len}")
    );
    assert_eq!(ids(&measured), [1, 5]);

    let merging =
        dedup(", keep: {max: n}, merge: {tag: list, n: sum, src: first}, report_clusters: true");
    // What comes behind sees the rows as they are now.
    let behind = "  - specified_numeric_field_filter: {field_key: n, min_value: 4}\n";
    assert_eq!(ids(&format!("{merging}{behind}")), [3]);
    assert_eq!(
        String::from_utf8(scratch.read("out.jsonl")).unwrap(),
        "{\"id\": 3, \"text\": \"a red kite\", \"n\": 10, \"tag\": [\"x\", \"y\"], \"src\": \"b\"}\n"
    );
    let place = |line: usize, id: u64| {
        let offset: usize = ROWS.lines().take(line - 1).map(|row| row.len() + 1).sum();
        json!({"file": 0, "line": line, "offset": offset, "id": id})
    };
    assert_eq!(
        clusters(&scratch),
        [
            json!({"step": 1, "by": "document_deduplicator", "kept": place(3, 3), "duplicates": [place(1, 1), place(4, 4)]}),
            json!({"step": 1, "by": "document_deduplicator", "kept": place(5, 5), "duplicates": [place(2, 2)]}),
        ]
    );
    let manifest = scratch.json("out.jsonl.djr/manifest.json");
    assert_eq!(manifest["steps"][0]["changed"], 2);
    let ledger = scratch.ledger("out.jsonl.djr");
    let of = |line: u64| ledger.iter().find(|entry| entry["line"] == line).unwrap();
    assert_eq!(of(1)["duplicate_of"], place(3, 3)["offset"]);
    let original = |of: &Value| json!([of["original"]["line"], of["original"]["id"]]);
    assert_eq!(original(of(1)), json!([3, 3]));
    assert_eq!(original(of(2)), json!([5, 5]));
    assert!(of(3).get("original").is_none());
    scratch.djr(&["verify", "out.jsonl"]).expect(0);
    // The manifest knows the file, so that a run without clusters takes it away.
    ids(&dedup(""));
    assert!(!scratch.path("out.jsonl.djr/clusters.jsonl.zst").exists());
}

#[test]
fn what_cannot_be_chosen_is_refused() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    for (step, what) in [
        (
            "document_deduplicator: {keep: last}",
            "does not say which duplicate stays",
        ),
        (
            "document_deduplicator: {merge: {tag: all}}",
            "'tag' is to be merged by",
        ),
        (
            "document_deduplicator: {merge: {text: list}}",
            "'text' is what rows are made of",
        ),
        (
            "document_deduplicator: {merge: {a.b: list}}",
            "'a.b' is within a field",
        ),
        (
            "document_line_deduplicator: {keep: longest}",
            "drops no rows",
        ),
        (
            "text_length_filter: {merge: {tag: list}}",
            "unknown parameter 'merge'",
        ),
    ] {
        scratch.write("r.yaml", recipe(&format!("  - {step}\n")));
        let ran = scratch.djr(&["run", "r.yaml"]).expect(2);
        assert!(ran.stderr.contains(what), "{step}: {}", ran.stderr);
    }
    scratch.write(
        "r.yaml",
        recipe("  - document_deduplicator: {keep: {max: size}}\n"),
    );
    let ran = scratch.djr(&["run", "r.yaml"]).expect(3);
    assert!(
        ran.stderr
            .contains("`keep` asks for 'size', and no row has a number there"),
        "{}",
        ran.stderr
    );
}

/// Words of a vocabulary, the same for the same numbers.
fn words(seed: u64, count: u64) -> Vec<String> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count).map(|_| format!("w{}", next() % 5000)).collect()
}

/// Whether at least three of four windows are shared.
fn alike(a: &str, b: &str) -> bool {
    let windows = |text: &str| -> std::collections::BTreeSet<String> {
        let words: Vec<&str> = text.split(' ').collect();
        words.windows(2).map(|window| window.join(" ")).collect()
    };
    let (a, b) = (windows(a), windows(b));
    a.intersection(&b).count() * 4 >= a.union(&b).count() * 3
}

/// Texts and copies of them with more and more words changed.
fn near_rows() -> Vec<Value> {
    let mut all = Vec::new();
    for text in 0..60_u64 {
        let own = words(text + 1, 40);
        for copy in 0..4_u64 {
            let mut copied = own.clone();
            let other = words(1000 + text * 4 + copy, 40);
            for at in 0..copy * 2 {
                let at = usize::try_from((at * 7 + text) % 40).unwrap();
                copied[at].clone_from(&other[at]);
            }
            all.push(
                json!({"id": all.len(), "text": copied.join(" "), "n": (text * 7 + copy * 5) % 11}),
            );
        }
    }
    all
}

#[test]
fn verified_duplicates_are_what_they_are_said_to_be() {
    let all = near_rows();
    let lines: Vec<String> = all.iter().map(Value::to_string).collect();
    let scratch = Scratch::new();
    scratch.write("in.jsonl", lines.join("\n"));
    let text = |at: usize| all[at]["text"].as_str().unwrap();
    let mut wrong = [0; 3];
    for (verify, wrong) in ["none", "estimated", "exact"].into_iter().zip(&mut wrong) {
        let step = format!(
            "  - document_minhash_deduplicator: {{window_size: 2, jaccard_threshold: 0.75, verify: {verify}, keep: {{max: n}}}}\n"
        );
        scratch.write("r.yaml", recipe(&step));
        scratch.djr(&["run", "r.yaml"]).expect(0);
        let ledger = scratch.ledger("out.jsonl.djr");
        let row = |offset: &Value| {
            let entry = ledger.iter().find(|entry| &entry["offset"] == offset);
            usize::try_from(entry.unwrap()["line"].as_u64().unwrap()).unwrap() - 1
        };
        let gone: Vec<(usize, usize)> = ledger
            .iter()
            .filter(|entry| entry["fate"] == "dropped")
            .map(|entry| (row(&entry["offset"]), row(&entry["duplicate_of"])))
            .collect();
        assert!(gone.len() > 40, "{verify}: {}", gone.len());
        for (row, by) in &gone {
            // Nobody goes for a row that went, or for a worse one.
            assert!(gone.iter().all(|(other, _)| other != by));
            assert!(all[*by]["n"].as_u64() >= all[*row]["n"].as_u64());
            *wrong += usize::from(!alike(text(*row), text(*by)));
        }
        if verify == "exact" {
            // Every pair that stays is either unlike, or shares no band; most near ones are found.
            let stays: Vec<usize> = (0..all.len())
                .filter(|row| gone.iter().all(|(gone, _)| gone != row))
                .collect();
            let like = |a: usize, b: usize| alike(text(a), text(b));
            let missed = stays
                .iter()
                .flat_map(|&a| stays.iter().map(move |&b| (a, b)));
            let missed = missed.filter(|&(a, b)| a < b && like(a, b)).count();
            assert!(missed * 5 < gone.len(), "{missed} of {}", gone.len());
        }
    }
    assert!(
        wrong[0] > 0 && wrong[1] <= wrong[0] && wrong[2] == 0,
        "{wrong:?}"
    );
}

#[test]
fn threads_cuts_and_batches_change_no_choice() {
    let all = near_rows();
    let lines: Vec<String> = all.iter().map(|row| format!("{row}\n")).collect();
    let steps = "process:
  - document_minhash_deduplicator: {window_size: 2, verify: exact, keep: {max: n}, merge: {id: list}, report_clusters: true}
  - document_deduplicator: {keep: longest, merge: {n: sum}}
  - document_simhash_deduplicator: {keep: {min: n}, report_clusters: true}
";
    let mut reference: Option<[Vec<u8>; 2]> = None;
    for (files, threads, batch) in [(1, "1", "1000"), (7, "2", "1"), (100, "8", "7")] {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.path("in")).unwrap();
        for (number, part) in lines.chunks(lines.len().div_ceil(files)).enumerate() {
            scratch.write(&format!("in/{number:03}.jsonl"), part.concat());
        }
        scratch.write(
            "r.yaml",
            format!("dataset_path: in\nexport_path: out.jsonl\n{steps}"),
        );
        let args = ["run", "r.yaml", "--threads", threads, "--batch-rows", batch];
        scratch.djr(&args).expect(0);
        let kept = clusters(&scratch);
        // Files and lines differ with the cut; who went for whom does not.
        let kept = kept.iter().map(|cluster| {
            let ids = cluster["duplicates"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| &row["offset"]);
            json!([
                cluster["step"],
                cluster["kept"]["offset"],
                ids.collect::<Vec<_>>()
            ])
            .to_string()
        });
        let found = [
            scratch.read("out.jsonl"),
            kept.collect::<String>().into_bytes(),
        ];
        match &reference {
            None => reference = Some(found),
            Some(reference) => assert!(*reference == found, "{files} files, {threads} threads"),
        }
    }
}

/// The deduplicators that drop rows and ask no model, each with parameters.
fn deduplicators() -> Vec<(&'static str, Value)> {
    let mut all = vec![
        (
            "document_minhash_deduplicator",
            json!({"window_size": 2, "verify": "exact"}),
        ),
        (
            "document_minhash_deduplicator",
            json!({"window_size": 2, "verify": "estimated"}),
        ),
        ("image_deduplicator", json!({"threshold": 6})),
        ("image_deduplicator", json!({"consider_text": true})),
    ];
    for def in op::all() {
        let params = (def.defaults)().as_object().unwrap().clone();
        let built = def.build(params, &op::BuildContext::default());
        let kind = built.map(|built| built.spec.kind);
        if def.family == Family::Deduplicator && matches!(kind, Ok(OpKind::Exact | OpKind::Near)) {
            all.push((def.name, json!({})));
        }
    }
    all
}

#[test]
fn a_recut_chooses_as_a_fresh_run_does() {
    let scratch = Scratch::new();
    let mut all = near_rows();
    for (number, row) in all.iter_mut().enumerate() {
        row["images"] = json!([format!("{}.ppm", number % 9)]);
        row["tag"] = json!(format!("t{}", number % 3));
    }
    // Every fifth row has the text of the one before.
    for number in (5..all.len()).step_by(5) {
        all[number]["text"] = all[number - 1]["text"].clone();
    }
    for number in 0..9_u8 {
        let light = |at: u16| u8::try_from(at * (u16::from(number / 2) + 3) % 251).unwrap();
        let mut picture = format!("P6 {} 12 255\n", 16 + number).into_bytes();
        picture.extend((0..(16 + u16::from(number)) * 36).map(light));
        scratch.write(&format!("{number}.ppm"), picture);
    }
    let lines: Vec<String> = all.iter().map(Value::to_string).collect();
    scratch.write("in.jsonl", lines.join("\n"));
    let choices = [
        json!({"keep": "longest"}),
        json!({"keep": {"max": "n"}, "merge": {"id": "list", "n": "sum"}}),
        json!({"keep": {"min": "text_len"}, "merge": {"tag": "first"}, "report_clusters": true}),
    ];
    let deduplicators = deduplicators();
    assert!(deduplicators.len() >= 12, "{}", deduplicators.len());
    let mut went = 0;
    for (number, (op, params)) in deduplicators.iter().enumerate() {
        let mut params = params.as_object().unwrap().clone();
        params.extend(choices[number % choices.len()].as_object().unwrap().clone());
        // Behind them a step that sees what was merged.
        let steps = json!([{"text_length_filter": {"min_len": 1}}, {*op: params}, {"words_num_filter": {"max_num": 60}}]);
        let written =
            json!({"dataset_path": "in.jsonl", "export_path": "out.jsonl", "process": steps});
        scratch.write("r.yaml", written.to_string());
        scratch.djr(&["run", "r.yaml", "-q", "--force"]).expect(0);
        scratch
            .djr(&[
                "analyze", "--recipe", "r.yaml", "-o", "look", "-q", "--force",
            ])
            .expect(0);
        let set = ["--set", "text_length_filter.min_len=p30", "-q", "--force"];
        for (of, to) in [("look", "one.jsonl"), ("out.jsonl", "two.jsonl")] {
            scratch
                .djr(&[&["recut", of, "-o", to][..], &set].concat())
                .expect(0);
        }
        scratch
            .djr(&[&["run", "r.yaml"][..], &set].concat())
            .expect(0);
        let mut fates = |name: &str| {
            let mut ledger = scratch.ledger(&format!("{name}.djr"));
            ledger.retain(|entry| entry["by"] != "text_length_filter");
            went += ledger.iter().filter(|entry| entry["by"] == *op).count();
            let clusters = format!("{name}.djr/clusters.jsonl.zst");
            let clusters = scratch
                .path(&clusters)
                .exists()
                .then(|| scratch.read(&clusters));
            (scratch.read(name), ledger, clusters)
        };
        let fresh = fates("out.jsonl");
        assert!(fresh.1.len() < all.len(), "{op}: the bound drops nothing");
        for name in ["one.jsonl", "two.jsonl"] {
            assert!(fates(name) == fresh, "{op} {params:?}: {name}");
        }
    }
    assert!(went > 500, "{went} rows went");
}

#[test]
fn rows_of_references_are_never_written_and_nobody_equals_them() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    scratch.write(
        "seen.jsonl",
        "{\"text\": \"two cats\"}\n{\"text\": \"nobody\"}\n",
    );
    scratch.write("more.json", "[{\"text\": \" TWO CATS\", \"n\": -5}]");
    let ids = |step: &str| {
        scratch.write("r.yaml", recipe(step));
        scratch.djr(&["run", "r.yaml"]).expect(0);
        let rows = scratch.rows("out.jsonl");
        rows.iter()
            .map(|row| row["id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ids("  - document_deduplicator: {reference: seen.jsonl}\n"),
        [1, 5]
    );
    let why = scratch.djr(&["why", "out.jsonl", "2"]).expect(0).text();
    assert!(
        why.contains("reference is") && why.contains("seen.jsonl:1"),
        "{why}"
    );
    let both = "  - document_deduplicator: {lowercase: true, reference: [seen.jsonl, more.json], keep: {max: n}, merge: {tag: list}}\n";
    assert_eq!(ids(both), [3]);
    assert_eq!(scratch.rows("out.jsonl")[0]["tag"], json!(["x", "y"]));
    scratch.djr(&["verify", "out.jsonl"]).expect(0);

    // All of a reference counts, and not what its rows have in common with each other.
    let all = near_rows();
    let lines = |of: &mut dyn Iterator<Item = &Value>| {
        of.map(|row| format!("{row}\n"))
            .collect::<Vec<_>>()
            .concat()
    };
    // The changed copies of two texts of three.
    let is_seen = |row: &&Value| {
        let id = row["id"].as_u64().unwrap();
        !id.is_multiple_of(4) && !(id / 4).is_multiple_of(3)
    };
    scratch.write("in.jsonl", lines(&mut all.iter().step_by(4)));
    scratch.write("seen.jsonl", lines(&mut all.iter().filter(is_seen)));
    let step = "  - document_minhash_deduplicator: {window_size: 2, jaccard_threshold: 0.75, num_bands: 64, num_rows_per_band: 4, verify: exact, reference: [seen.jsonl], keep: {min: n}}\n";
    let stays = ids(step);
    let text = |row: &Value| row["text"].as_str().unwrap().to_owned();
    let fresh = all.iter().step_by(4).filter(|row| {
        let near = |other: &Value| alike(&text(row), &text(other));
        !all.iter().filter(is_seen).any(near)
    });
    let fresh: Vec<u64> = fresh.map(|row| row["id"].as_u64().unwrap()).collect();
    assert!(fresh.len() > 10 && fresh.len() < 40, "{}", fresh.len());
    assert_eq!(stays, fresh);

    scratch.write("seen.jsonl", "{broken\n");
    scratch.write("r.yaml", recipe(step));
    let ran = scratch.djr(&["run", "r.yaml"]).expect(3);
    assert!(
        ran.stderr.contains("reference row") && ran.stderr.contains("seen.jsonl:1"),
        "{}",
        ran.stderr
    );
    scratch.write(
        "r.yaml",
        recipe("  - document_deduplicator: {reference: none.jsonl}\n"),
    );
    let ran = scratch.djr(&["run", "r.yaml"]).expect(2);
    assert!(
        ran.stderr.contains("no file 'none.jsonl'"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_mixture_that_falls_short_says_so() {
    let scratch = Scratch::new();
    let row = |n: u32| {
        let lang = ["en", "fr"][usize::from(n.is_multiple_of(3))];
        format!(
            "{}\n",
            json!({"text": format!("row {n}"), "lang": lang, "n": n})
        )
    };
    scratch.write("in.jsonl", (0..30).map(row).collect::<String>());
    let run = |params: Value, code: i32| {
        let recipe = json!({"dataset_path": "in.jsonl", "export_path": "out.jsonl", "process": [{"mixture_selector": params}]});
        scratch.write("r.yaml", recipe.to_string());
        let ran = scratch.djr(&["run", "r.yaml", "--force"]).expect(code);
        let manifest = scratch.json("out.jsonl.djr/manifest.json");
        let notes = manifest["notes"].as_array().unwrap().clone();
        let short = notes
            .into_iter()
            .find(|note| note["code"] == "sample_short");
        let strata = manifest["steps"][0]["strata"].clone();
        (scratch.rows("out.jsonl").len(), short, strata, ran.stderr)
    };
    let (rows, note, ..) = run(json!({"by": "lang", "select_num": 12}), 0);
    assert_eq!((rows, note), (12, None));
    let (rows, note, ..) = run(json!({"by": "lang", "select_num": 31}), 1);
    assert!(
        rows == 30
            && note.unwrap()["message"]
                .as_str()
                .unwrap()
                .contains("30 of 31 rows")
    );
    // A kind that no row is of, beside others and alone.
    let shares = json!({"en": 1, "xx": 1});
    let (rows, note, strata, said) =
        run(json!({"by": "lang", "shares": shares, "select_num": 10}), 0);
    assert_eq!(rows, 10);
    let note = note.unwrap()["message"].as_str().unwrap().to_owned();
    assert!(
        note.contains("no row is of the kind 'xx' (rows are of: fr, en)"),
        "{note}"
    );
    assert_eq!(
        strata[2],
        json!({"value": "xx", "had": 0, "wanted": 5, "got": 0})
    );
    assert!(said.contains("xx"), "{said}");
    let (rows, note, ..) = run(
        json!({"by": "lang", "shares": {"xx": 1}, "repeat_to": 5}),
        1,
    );
    assert!(rows == 0 && note.is_some());
    // Kinds of bins have names.
    let shares = json!({"below 10": 1, "10 to 20": 2});
    let (rows, note, ..) = run(
        json!({"by": "n", "bins": [10, 20], "shares": shares, "select_num": 9}),
        0,
    );
    assert_eq!((rows, note), (9, None));
}
