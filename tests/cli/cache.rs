//! The cache of results: the same outcome with it and without it, whatever happens to it and to the
//! files that it knows.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use djr::note::Code;
use serde_json::Value;

use crate::support::{Scratch, expect_no_note, expect_note, root};

/// What a run left but for its manifest, which holds times.
type Left = Vec<(String, Vec<u8>)>;

/// Runs a recipe and takes away what it left; also its exit code and what it says of the cache.
fn run(scratch: &Scratch, args: &[&str]) -> (i32, Left, Value) {
    let mut all = vec!["run"];
    all.extend(args);
    let ran = scratch.djr(&all);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    let mut cache = Value::Null;
    let mut left = Vec::new();
    for name in scratch.files("out") {
        let bytes = scratch.read(&format!("out/{name}"));
        if name.ends_with("manifest.json") {
            cache = serde_json::from_slice::<Value>(&bytes).unwrap()["cache"].clone();
        } else if name.ends_with(".zst") {
            left.push((name, zstd::decode_all(&bytes[..]).unwrap()));
        } else {
            left.push((name, bytes));
        }
    }
    let _ = fs::remove_dir_all(scratch.path("out"));
    (ran.code, left, cache)
}

#[track_caller]
fn same(a: &Left, b: &Left, what: &str) {
    let names = |left: &Left| left.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(a), names(b), "{what}");
    for (a, b) in a.iter().zip(b) {
        assert!(a == b, "{} differs: {what}", a.0);
    }
}

/// Every recipe of the repository over the fixture dataset: with an empty cache, with one
/// that knows half of the rows, with one that knows all, and without.
#[test]
fn a_cache_changes_no_byte_of_any_fixture_recipe() {
    let rows = fs::read(root().join("fixtures/dataset/rows.jsonl")).unwrap();
    let lines = rows.split_inclusive(|byte| *byte == b'\n');
    let half: Vec<u8> = lines.step_by(2).flatten().copied().collect();
    let mut recipes = vec![root().join("fixtures/demo.yaml")];
    for folder in ["recipes", "benches/recipes", "fixtures/golden/_recipes"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        recipes.extend(entries.map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                path.join("recipe.yaml")
            } else {
                path
            }
        }));
    }
    recipes.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    recipes.sort();
    assert!(recipes.len() >= 20, "{} recipes", recipes.len());
    for recipe in recipes {
        let scratch = Scratch::new();
        let name = recipe.strip_prefix(root()).unwrap().display();
        let images = root().join("fixtures/dataset");
        let image_root = format!("image_root={}", images.display());
        scratch.write("rows.jsonl", &rows);
        scratch.write("half.jsonl", &half);
        let path = recipe.to_str().unwrap();
        let with = |input: &str, more: &[&str]| {
            let mut args = vec![path, "--input", input, "--set", &image_root];
            args.extend(["--output", "out/rows.jsonl", "-q"]);
            args.extend(more);
            run(&scratch, &args)
        };
        let (code, plain, none) = with("rows.jsonl", &["--no-cache"]);
        assert!(code <= 1, "{name} ends with {code}");
        assert_eq!(none, Value::Null);
        let on = ["--cache", "kept"];
        with("half.jsonl", &on);
        let (half_code, half_warm, counts) = with("rows.jsonl", &on);
        same(&plain, &half_warm, &format!("{name}, half-warm"));
        let hits = counts["hits"].as_u64().unwrap();
        let (warm_code, warm, counts) = with("rows.jsonl", &on);
        same(&plain, &warm, &format!("{name}, warm"));
        assert_eq!(counts["misses"], 0, "{name}: {counts}");
        assert!(counts["hits"].as_u64().unwrap() >= hits);
        let (cold_code, cold, counts) = with("rows.jsonl", &["--cache", "other", "-j", "1"]);
        same(&plain, &cold, &format!("{name}, cold"));
        assert_eq!(counts["stale"], 0);
        let content = ["--cache", "kept", "--set", "cache_trust=content"];
        let (_, by_content, counts) = with("rows.jsonl", &content);
        same(&plain, &by_content, &format!("{name}, by content"));
        assert_eq!(counts["misses"], 0);
        assert_eq!([half_code, warm_code, cold_code], [code; 3], "{name}");
    }
}

/// A folder of its own with some pictures, and a recipe that decodes each and hashes it.
fn pictures() -> Scratch {
    let scratch = Scratch::new();
    let from = root().join("fixtures/dataset/images/00000");
    fs::create_dir(scratch.path("i")).unwrap();
    let mut rows = String::new();
    let names = ["000003.jpg", "000007.jpg", "000010.jpg", "000014.jpg"];
    for name in names {
        fs::copy(from.join(name), scratch.path("i").join(name)).unwrap();
        let _ = writeln!(rows, "{{\"text\": \"{name}\", \"images\": [\"i/{name}\"]}}");
    }
    fs::write(
        scratch.path("i/broken.jpg"),
        &fs::read(from.join(names[0])).unwrap()[..3000],
    )
    .unwrap();
    rows += "{\"text\": \"broken\", \"images\": [\"i/broken.jpg\"]}\n";
    rows += "{\"text\": \"gone\", \"images\": [\"i/gone.jpg\"]}\n";
    scratch.write("rows.jsonl", rows);
    scratch.write(
        "r.yaml",
        "dataset_path: rows.jsonl\nexport_path: out/a.jsonl\ncache: kept\nmax_quarantine: none\n\
         process:\n  - image_shape_filter: {min_width: 10}\n  - image_deduplicator:\n\
         outputs:\n  - {format: llava, path: out/b.json, validate: decode}\n",
    );
    scratch
}

/// Files are not known by their times while they might be written again within them.
fn settle() {
    std::thread::sleep(Duration::from_millis(2100));
}

/// Runs the recipe with the cache and without, which must be the same; what the cache told.
#[track_caller]
fn checked(scratch: &Scratch, what: &str) -> [u64; 3] {
    let (code, cached, counts) = run(scratch, &["r.yaml", "-q"]);
    let (plain_code, plain, _) = run(scratch, &["r.yaml", "-q", "--no-cache"]);
    assert_eq!(code, plain_code, "{what}");
    same(&plain, &cached, what);
    ["hits", "misses", "stale"].map(|name| counts[name].as_u64().unwrap())
}

#[test]
fn a_file_is_known_by_all_that_the_system_says_of_it() {
    let scratch = pictures();
    let image = |name: &str| scratch.path("i").join(name);
    settle();
    let [hits, misses, stale] = checked(&scratch, "cold");
    assert!(
        hits == 0 && misses > 8 && stale == 0,
        "{hits} {misses} {stale}"
    );
    let [all, misses, stale] = checked(&scratch, "warm");
    assert!(
        all > 8 && misses == 0 && stale == 0,
        "{all} {misses} {stale}"
    );

    // Touched: read again, and found by its content.
    fs::File::options()
        .write(true)
        .open(image("000003.jpg"))
        .unwrap()
        .set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
        .unwrap();
    settle();
    assert_eq!(checked(&scratch, "touched"), [all, 0, 1]);
    assert_eq!(checked(&scratch, "after the touch"), [all, 0, 0]);

    // Another content of the same length and the same time of writing: the time of change tells.
    let path = image("000007.jpg");
    let mut bytes = fs::read(&path).unwrap();
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let end = bytes.len() - 2000;
    bytes[end..].fill(0);
    fs::write(&path, &bytes).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(time).unwrap();
    drop(file);
    settle();
    let [_, misses, stale] = checked(&scratch, "rewritten");
    assert!(misses > 0 && stale == 1, "{misses} {stale}");

    // Two that change places, and one that moves.
    fs::rename(image("000010.jpg"), image("x")).unwrap();
    fs::rename(image("000014.jpg"), image("000010.jpg")).unwrap();
    fs::rename(image("x"), image("000014.jpg")).unwrap();
    settle();
    let [_, misses, stale] = checked(&scratch, "swapped");
    assert_eq!((misses, stale), (0, 2));
    fs::rename(image("000014.jpg"), image("moved.jpg")).unwrap();
    let rows = String::from_utf8(scratch.read("rows.jsonl")).unwrap();
    scratch.write("rows.jsonl", rows.replace("i/000014.jpg", "i/moved.jpg"));
    settle();
    let [_, misses, stale] = checked(&scratch, "moved");
    assert_eq!((misses, stale), (0, 0));

    // One that cannot be read any more is not answered for from the cache.
    fs::remove_file(image("000010.jpg")).unwrap();
    checked(&scratch, "removed");
}

#[test]
fn a_file_that_was_just_written_is_read_again() {
    let scratch = pictures();
    checked(&scratch, "cold");
    let path = scratch.path("i/000003.jpg");
    let other = fs::read(root().join("fixtures/dataset/images/00000/000020.jpg")).unwrap();
    fs::write(path, other).unwrap();
    let [_, _, stale] = checked(&scratch, "at once");
    assert_eq!(stale, 0, "it was never known");
}

/// Damage costs the work again and a note, nothing else.
#[test]
fn a_damaged_cache_is_noted_and_changes_nothing() {
    let scratch = pictures();
    settle();
    checked(&scratch, "cold");
    let notes = || scratch.json("out/a.jsonl.djr/manifest.json")["notes"].clone();
    // A sound one is not spoken of.
    let ran = scratch.djr(&["run", "r.yaml"]).expect(1);
    expect_no_note(Code::CacheTrouble, &ran.stderr);
    fs::remove_dir_all(scratch.path("out")).unwrap();
    let files: Vec<String> = scratch.files("kept");
    for (suffix, at) in [("log", 40), ("log", 200), ("idx", 9), ("idx", 60)] {
        let name = files.iter().find(|name| name.ends_with(suffix)).unwrap();
        let whole = scratch.read(&format!("kept/{name}"));
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        scratch.write(&format!("kept/{name}"), bytes);
        let ran = scratch.djr(&["run", "r.yaml"]).expect(1);
        let notes = notes();
        let told = notes.as_array().unwrap().iter();
        let told = told
            .filter(|note| note["code"] == Code::CacheTrouble.word())
            .count();
        assert!(told <= 1, "{notes}");
        if suffix == "idx" && at < 40 {
            assert_eq!(told, 1);
            expect_note(Code::CacheTrouble, &ran.stderr);
            assert!(
                ran.stderr.contains("is damaged and ignored"),
                "{}",
                ran.stderr
            );
        }
        let _ = fs::remove_dir_all(scratch.path("out"));
        checked(&scratch, &format!("{suffix} {at}"));
        // What ran meanwhile has put in anew what it could not find.
        for name in scratch.files("kept") {
            if !files.contains(&name) {
                fs::remove_file(scratch.path("kept").join(name)).unwrap();
            }
        }
        scratch.write(&format!("kept/{name}"), whole);
    }
    assert_eq!(checked(&scratch, "whole again")[1], 0);
}

/// A cache that cannot be written is told of before a row is read.
#[test]
fn a_cache_that_cannot_be_is_refused() {
    let scratch = pictures();
    scratch.write("kept", "a file");
    let ran = scratch.djr(&["run", "r.yaml"]).expect(3);
    assert!(ran.stderr.contains("kept"), "{}", ran.stderr);
    scratch.djr(&["run", "r.yaml", "--no-cache"]).expect(1);
    scratch
        .djr(&["run", "r.yaml", "--cache", "c", "--no-cache"])
        .expect(2);
    assert!(!scratch.path("c").exists());
}

/// Two runs use one cache at the same time.
#[test]
fn runs_share_a_cache() {
    let scratch = pictures();
    settle();
    let (_, plain, _) = run(&scratch, &["r.yaml", "-q", "--no-cache"]);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let scratch = &scratch;
            scope.spawn(move || {
                let output = format!("each/{number}/a.jsonl");
                for _ in 0..3 {
                    let args = ["run", "r.yaml", "-q", "--output", &output, "--set"];
                    let mut args = args.to_vec();
                    args.push("outputs=[]");
                    scratch.djr(&args).expect(1);
                }
            });
        }
    });
    let wanted = &plain.iter().find(|file| file.0 == "a.jsonl").unwrap().1;
    for number in 0..4 {
        assert_eq!(&scratch.read(&format!("each/{number}/a.jsonl")), wanted);
    }
    let (_, warm, counts) = run(&scratch, &["r.yaml", "-q"]);
    same(&plain, &warm, "after four");
    assert!(counts["hits"].as_u64().unwrap() > 0);
}

#[test]
fn a_cache_is_told_of_verified_and_cleaned() {
    let scratch = pictures();
    settle();
    checked(&scratch, "cold");
    // The hash has told that they decode; without it they are checked for that alone.
    let recipe = String::from_utf8(scratch.read("r.yaml")).unwrap();
    scratch.write("v.yaml", recipe.replace("  - image_deduplicator:\n", ""));
    let (code, checked_only, _) = run(&scratch, &["v.yaml", "-q"]);
    for args in [["v.yaml", "-q"], ["v.yaml", "--no-cache"]] {
        let (again, left, _) = run(&scratch, &args);
        assert_eq!(again, code);
        same(&checked_only, &left, args[1]);
    }
    let of = |args: &[&str], code: i32| {
        let mut all = vec!["cache"];
        all.extend(args);
        all.push("--json");
        scratch.djr(&all).expect(code).answer()["result"].clone()
    };
    let stat = of(&["stat", "kept"], 0);
    let kernels = stat["kernels"].as_array().unwrap();
    let names: Vec<&str> = kernels
        .iter()
        .map(|it| it["kernel"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "file",
            "image/hash (phash)",
            "image/header",
            "image/validate"
        ]
    );
    assert_eq!(kernels[0]["results"], 5);
    let sound = of(&["verify", "kept"], 0);
    assert_eq!(
        (&sound["checked"], &sound["damage"]),
        (&5.into(), &serde_json::json!([]))
    );
    assert_eq!(of(&["verify", "kept", "--sample", "2"], 0)["checked"], 2);
    let words = scratch.djr(&["cache", "stat", "kept"]).expect(0).text();
    assert!(words.contains("image/validate"), "{words}");

    let cleaned = of(&["gc", "kept", "--older-than", "1d"], 0);
    assert_eq!(cleaned["removed"], 0);
    assert_eq!(checked(&scratch, "cleaned")[1], 0);
    let index = scratch
        .files("kept")
        .into_iter()
        .find(|name| name.ends_with("idx"))
        .unwrap();
    let mut bytes = scratch.read(&format!("kept/{index}"));
    *bytes.last_mut().unwrap() ^= 1;
    scratch.write(&format!("kept/{index}"), bytes);
    assert_eq!(
        of(&["verify", "kept"], 1)["damage"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let emptied = of(&["gc", "kept", "--max-size", "1"], 0);
    assert!(
        emptied["removed"].as_u64().unwrap() > 10 && emptied["bytes"] == 0,
        "{emptied}"
    );
    assert!(checked(&scratch, "emptied")[1] > 8);
    scratch.djr(&["cache", "stat", "nowhere"]).expect(2);
}
