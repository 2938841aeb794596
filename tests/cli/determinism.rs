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
    assert!(outcome(&[]) == outcome(&["--max-memory", "1MB"]));
}
