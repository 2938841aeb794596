//! Every input of the shared world of formats: its rows, their identities and their images, through
//! every command. Skipped where there is no such folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use djr::io::source::{FileSource, InputAttachments, Reading};
use djr::io::{Input, LineSource};
use djr::recipe::find_inputs;
use djr::sample::{ImageContext, ImageNeed, read_row};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::support::{Scratch, rows, shared};

/// One input of the world.
struct Case {
    name: String,
    status: String,
    rows: Vec<Value>,
    identity: Option<Vec<u64>>,
}

fn cases(world: &Path) -> Vec<Case> {
    let index: Value =
        serde_json::from_slice(&fs::read(world.join("expected/index.json")).unwrap()).unwrap();
    let cases = index["cases"].as_array().unwrap().iter();
    cases
        .map(|case| {
            let file = |key: &str| case[key].as_str().map(|name| world.join(name));
            let text = |path: PathBuf| fs::read_to_string(path).unwrap();
            // Numbers that are none in JSON are compared by check.py of that world.
            let plain = |text: String| {
                text.replace("NaN", "null")
                    .replace("-Infinity", "null")
                    .replace("Infinity", "null")
            };
            Case {
                name: case["case"].as_str().unwrap().to_owned(),
                status: case["status"].as_str().unwrap().to_owned(),
                rows: file("expected")
                    .map_or_else(Vec::new, |path| rows(plain(text(path)).as_bytes())),
                identity: file("identity").map(|path| serde_json::from_str(&text(path)).unwrap()),
            }
        })
        .collect()
}

/// What a reader of the library sees: the rows, their identities, and a digest of each image.
struct Seen {
    ids: Vec<Value>,
    offsets: Vec<u64>,
    images: Vec<Vec<Option<String>>>,
}

fn see(path: &Path, reading: Reading) -> Result<Seen, String> {
    let found = find_inputs(&[path.to_owned()]).map_err(|problems| problems.to_string())?;
    let reading = Arc::new(reading);
    let source = |path: PathBuf| {
        Input::Data(FileSource {
            reading: Arc::clone(&reading),
            ..FileSource::new(path)
        })
    };
    let inputs: Vec<Input> = found.files.into_iter().map(source).collect();
    let context = Arc::new(ImageContext {
        roots: inputs.iter().map(Input::directory).collect(),
        want: ImageNeed::Pixels,
        attachments: Some(Arc::new(InputAttachments::new(inputs.clone()))),
        ..ImageContext::default()
    });
    let mut source = LineSource::new(inputs);
    let mut seen = Seen {
        ids: Vec::new(),
        offsets: Vec::new(),
        images: Vec::new(),
    };
    while let Some(batch) = source
        .next_batch(7, 1 << 16)
        .map_err(|error| error.to_string())?
    {
        for line in batch.lines.iter().filter(|line| line.problem.is_none()) {
            let Ok(sample) = read_row(batch.bytes(line).into(), line.origin, &context) else {
                continue;
            };
            // What is at hand, and what is read from the input again, are the same.
            let mut attached = line.attached.clone();
            let mut digests: Option<Vec<Option<String>>> = None;
            for _ in 0..2 {
                let sample = read_row(batch.bytes(line).into(), line.origin, &context).unwrap();
                let sample = sample.with_attached(attached.clone());
                let images = sample.images().map_err(|error| error.to_string())?.iter();
                let digest = |content: bytes::Bytes| format!("{:x}", Sha256::digest(content));
                let found: Vec<_> = images
                    .map(|image| image.content().ok().map(digest))
                    .collect();
                assert_eq!(*digests.get_or_insert_with(|| found.clone()), found);
                for attachment in &mut attached {
                    attachment.here = None;
                }
            }
            seen.ids.push(
                sample
                    .value(&"id".into())
                    .ok()
                    .flatten()
                    .unwrap_or_default(),
            );
            seen.offsets.push(line.origin.offset);
            seen.images.push(digests.unwrap());
        }
    }
    Ok(seen)
}

#[test]
fn every_input_of_the_world_gives_its_rows_and_images() {
    let Some(world) = shared().map(|shared| shared.join("format_world")) else {
        return;
    };
    let mut checked = 0;
    for case in cases(&world) {
        if !matches!(case.status.as_str(), "whole" | "set-aside")
            || case.name == "img2dataset_files"
        {
            continue;
        }
        let mut reading = Reading::default();
        reading.spec.delimiter = (case.name == "semicolon.csv").then_some(';');
        let seen = see(&world.join("inputs").join(&case.name), reading);
        let seen = seen.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(seen.offsets.len(), case.rows.len(), "{}", case.name);
        // Each file of several begins anew there, and here where the one before ends.
        if let Some(identity) = &case.identity {
            let steps = |all: &[u64]| -> Vec<u64> {
                all.windows(2)
                    .map(|two| two[1].wrapping_sub(two[0]))
                    .collect()
            };
            let rising = identity.windows(2).map(|two| two[0] < two[1]);
            if identity.len() == seen.offsets.len() {
                let both = steps(identity).into_iter().zip(steps(&seen.offsets));
                for ((wanted, own), _) in both.zip(rising).filter(|(_, rising)| *rising) {
                    assert_eq!(own, wanted, "{}", case.name);
                }
                assert_eq!(seen.offsets.first(), identity.first(), "{}", case.name);
            } else {
                let known = seen.offsets.iter().all(|offset| identity.contains(offset));
                assert!(known, "{}", case.name);
            }
        }
        for (number, expected) in case.rows.iter().enumerate() {
            let id = expected["row"].get("id").cloned().unwrap_or_default();
            assert_eq!(seen.ids[number], id, "{} row {number}", case.name);
            let Some(images) = expected["images"].as_array() else {
                continue;
            };
            let wanted: Vec<Option<String>> = images
                .iter()
                .filter(|image| !image.is_null())
                .map(|image| image["sha256"].as_str().map(str::to_owned))
                .collect();
            // Paths of rows in directories start elsewhere: image_root would find them.
            let elsewhere = world.join("inputs").join(&case.name).is_dir()
                && images.iter().any(|image| image["from"] != "bytes");
            if !elsewhere {
                assert_eq!(seen.images[number], wanted, "{} row {number}", case.name);
            }
        }
        checked += 1;
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn every_command_reads_every_input_of_the_world() {
    let Some(world) = shared().map(|shared| shared.join("format_world")) else {
        return;
    };
    let scratch = Scratch::new();
    scratch.write("r.yaml", "process: [words_num_filter: {min_num: 0}]\n");
    for case in cases(&world) {
        let skipped = ["img2dataset_files", "semicolon.csv"].contains(&case.name.as_str());
        if case.status != "whole" || skipped {
            continue;
        }
        let path = world.join("inputs").join(&case.name);
        let input = path.to_str().unwrap();
        let count = case.rows.len();
        let texts = case
            .rows
            .iter()
            .filter(|row| row["row"]["text"].is_string())
            .count();
        let ran = scratch.djr(&[
            "run",
            "r.yaml",
            "--input",
            input,
            "--output",
            "run.jsonl",
            "--max-quarantine",
            "none",
        ]);
        let unnamed = texts == 0 && count > 0;
        if unnamed {
            // A field that no row has is no fault of any row.
            assert_eq!(ran.code, 2, "{}: {}", case.name, ran.stderr);
            assert!(ran.stderr.contains("no row has the field 'text'"));
        } else {
            assert!(ran.code < 2, "{}: {}", case.name, ran.stderr);
        }
        let lines = |name: &str| {
            String::from_utf8(scratch.read(name))
                .unwrap()
                .lines()
                .count()
        };
        if !unnamed {
            assert_eq!(lines("run.jsonl"), texts, "{}", case.name);
        }
        let ran = scratch.djr(&[
            "convert",
            input,
            "--to",
            "jsonl",
            "--validate",
            "none",
            "-o",
            "convert.jsonl",
        ]);
        assert!(ran.code < 2, "{}: {}", case.name, ran.stderr);
        assert_eq!(lines("convert.jsonl"), count, "{}", case.name);
        let ran = scratch.djr(&[
            "subset",
            input,
            "--n",
            "1000",
            "-o",
            "subset.jsonl",
            "--force",
        ]);
        assert!(ran.code < 2, "{}: {}", case.name, ran.stderr);
        assert_eq!(lines("subset.jsonl"), count, "{}", case.name);
        let ran = scratch.djr(&["analyze", input, "-o", "analysis"]);
        assert!(ran.code < 2, "{}: {}", case.name, ran.stderr);
        assert_eq!(
            scratch.json("analysis/analysis.json")["rows"]["in"],
            count,
            "{}",
            case.name
        );
    }
}
