//! The same bytes for any number of threads and any batch size.

use crate::support::Scratch;

/// Every file a run leaves, but for the manifest, which holds times.
fn outcome(args: &[&str]) -> Vec<(String, Vec<u8>)> {
    let scratch = Scratch::new();
    let mut all = vec!["run", "fixtures/demo.yaml"];
    all.extend(args);
    scratch.djr(&all).expect(1);
    scratch
        .files("out")
        .into_iter()
        .filter(|name| !name.ends_with("manifest.json"))
        .map(|name| {
            let bytes = scratch.read(&format!("out/{name}"));
            // Absolute paths name the scratch directory.
            let text =
                String::from_utf8_lossy(&bytes).replace(scratch.path("").to_str().unwrap(), "/");
            let same = if name.ends_with(".zst") {
                zstd::decode_all(&bytes[..]).unwrap()
            } else {
                text.into_bytes()
            };
            (name, same)
        })
        .collect()
}

#[test]
fn threads_and_batch_sizes_change_nothing() {
    let reference = outcome(&["--threads", "1", "--batch-rows", "100000"]);
    assert!(
        reference.len() >= 6,
        "{:?}",
        reference.iter().map(|f| &f.0).collect::<Vec<_>>()
    );
    for args in [
        ["--threads", "2", "--batch-rows", "1"],
        ["--threads", "8", "--batch-rows", "7"],
        ["--threads", "8", "--batch-rows", "64"],
    ] {
        let other = outcome(&args);
        for (a, b) in reference.iter().zip(&other) {
            assert!(a == b, "{} differs with {args:?}", a.0);
        }
        assert_eq!(reference.len(), other.len());
    }
}

#[test]
fn a_tight_memory_budget_changes_nothing() {
    let whole = outcome(&[]);
    assert!(whole == outcome(&["--max-memory", "256MB"]));
    // One text of a megabyte, and no other row, is more than HTML's parser has room for then.
    let rest = |files: Vec<(String, Vec<u8>)>| {
        let other = |line: &&[u8]| memchr::memmem::find(line, b"\"offset\":18624,").is_none();
        let lines = |bytes: &[u8]| {
            bytes
                .split(|byte| *byte == b'\n')
                .filter(other)
                .collect::<Vec<_>>()
                .concat()
        };
        files
            .into_iter()
            .map(|(name, bytes)| (name, lines(&bytes)))
            .collect::<Vec<_>>()
    };
    let tight = outcome(&["--max-memory", "1MB"]);
    let is_too_long = |line: &[u8]| memchr::memmem::find(line, b"\"row_too_long\"").is_some();
    let (_, ledger) = tight
        .iter()
        .find(|(name, _)| name.contains("ledger"))
        .unwrap();
    assert_eq!(
        ledger
            .split(|byte| *byte == b'\n')
            .filter(|line| is_too_long(line))
            .count(),
        1
    );
    assert!(rest(whole) == rest(tight));
}

/// Keys that do not fit are compared on disk: five kilobytes for thousands of them.
#[test]
fn keys_beyond_the_budget_change_nothing() {
    let rows: String = (0..3000_u64)
        .map(|number| {
            let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            serde_json::json!({
                "text": format!("common line\nline {} of some length", mixed % 2500),
                "group": format!("group {}", mixed % 700),
                "title": format!("title {}", mixed % 2900),
                "weight": mixed % 1000,
            })
            .to_string()
                + "\n"
        })
        .collect();
    let recipe = "\
dataset_path: rows.jsonl
export_path: out/clean.jsonl
process:
  - document_line_deduplicator: {frequency_threshold: 3}
  - document_minhash_deduplicator: {num_permutations: 16}
  - document_deduplicator:
  - frequency_specified_field_selector: {field_key: group, top_ratio: 0.9}
  - topk_specified_field_selector: {field_key: title, top_ratio: 0.9}
  - range_specified_field_selector: {field_key: weight, lower_percentile: 0.05, upper_percentile: 0.9}
  - random_selector: {select_ratio: 0.9}
";
    let outcome = |args: &[&str]| {
        let scratch = Scratch::new();
        scratch.write("rows.jsonl", &rows);
        scratch.write("r.yaml", recipe);
        let mut all = vec!["run", "r.yaml"];
        all.extend(args);
        scratch.djr(&all).expect(0);
        scratch.read("out/clean.jsonl")
    };
    let plenty = outcome(&[]);
    assert!(plenty.len() > 10_000);
    assert!(plenty == outcome(&["--max-memory", "20KB"]));
}
