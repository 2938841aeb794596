//! What models are asked of rows, by the version of the kernel that results of runs are kept under.
//!
//! `fixtures/transformers/asked.txt` has that version, and of each operator that asks a model a digest
//! of all its requests for rows of the fixtures. Where a digest is another one, what was kept of rows
//! must not be found any more.

#![expect(
    clippy::unwrap_used,
    reason = "a fixture that cannot be read fails the test"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use djr::cache::kernel::ASKED;
use djr::op::{self, Service};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::case::{Suite, repository, split};
use crate::example;
use crate::replay::Rows;

/// Rows of the fixture dataset, with images where the repository has them, and odd ones.
fn rows() -> Vec<Value> {
    let bytes = fs::read(repository().join("fixtures/dataset/rows.jsonl")).unwrap();
    let lines = bytes.split(|byte| *byte == b'\n').take(12);
    let rows = lines.map(|line| {
        let line = String::from_utf8_lossy(line);
        serde_json::from_str(&line.replace("images/", "fixtures/dataset/images/")).unwrap()
    });
    let odd = [
        r#"{"text": "", "images": []}"#,
        r#"{"text": "<__dj__image>\u00e9 \u98ce <|__dj__eoc|> two <__dj__image>", "answer": "two", "images": ["fixtures/images/cmyk.jpg", "fixtures/images/apng_sound.png"]}"#,
        r#"{"text": "a longer text of some forty words, that goes on and on and on and on and on and on and on and on and on and on and on and on and on and on and on and on and on and on", "answer": "b", "images": ["fixtures/dataset/images/00000/000003.jpg", "fixtures/dataset/images/00000/000007.jpg"]}"#,
    ];
    rows.chain(odd.iter().map(|row| serde_json::from_str(row).unwrap()))
        .collect()
}

/// A digest of what an operator asks of each row.
fn digests() -> BTreeMap<&'static str, String> {
    let suite = Suite::golden();
    let input = rows();
    let mut digests = BTreeMap::new();
    for def in op::all() {
        let Ok((built, params)) = example::built(def, &suite) else {
            continue;
        };
        let Some(asks) = built.operator.asks() else {
            continue;
        };
        if !matches!(built.spec.service, Some(Service::Model(_))) {
            continue;
        }
        let (base, _) = split(&params);
        let rows = Rows {
            input: &input,
            context: suite.image_context(&base),
        };
        let mut digest = Sha256::new();
        let mut requests = 0;
        for index in 0..input.len() {
            match asks.ask(&rows.sample(index).unwrap()) {
                Ok(asked) => {
                    for request in asked {
                        requests += 1;
                        digest.update((request.head as u64).to_le_bytes());
                        digest.update((request.bytes.len() as u64).to_le_bytes());
                        digest.update(&request.bytes);
                    }
                }
                Err(error) => digest.update(error.code),
            }
        }
        let digest: String = digest.finalize()[..12]
            .iter()
            .fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
        digests.insert(def.name, format!("{digest} {requests} requests"));
    }
    digests
}

#[test]
fn what_models_are_asked_changes_with_the_version_only() {
    let path = repository().join("fixtures/transformers/asked.txt");
    let found = digests();
    assert!(found.len() >= 10, "{found:?}");
    let mut text = format!("{} {}\n", ASKED.name, ASKED.version);
    for (name, digest) in &found {
        let _ = writeln!(text, "{name} {digest}");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    if kept == text {
        return;
    }
    let (version, known) = kept.split_once('\n').unwrap_or_default();
    let known: BTreeMap<&str, &str> = known
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let changed: Vec<&str> = found
        .iter()
        .filter(|(name, digest)| known.get(**name).is_some_and(|was| was != digest))
        .map(|(name, _)| *name)
        .collect();
    let raised = version != format!("{} {}", ASKED.name, ASKED.version);
    assert!(
        changed.is_empty() || raised,
        "{} ask another thing of the same rows than before: raise the version of {} in \
         src/cache/kernel.rs, then DJR_BLESS=1 cargo test --test parity asked",
        changed.join(", "),
        ASKED.name
    );
    if std::env::var_os("DJR_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    } else {
        panic!(
            "{} is out of date\nhint: DJR_BLESS=1 cargo test --test parity asked",
            path.display()
        );
    }
}
