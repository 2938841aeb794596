//! Replays the seeds of the fuzz targets, every input that once failed, and a few thousand
//! mutations of the seeds. `CONTRIBUTING.md` says how to fuzz in earnest.

use std::fs;
use std::path::PathBuf;

use crate::support::root;

#[path = "../../fuzz/src/targets.rs"]
mod targets;

fn inputs(folder: &str, target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join("fuzz").join(folder).join(target))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// A small generator of its own: the same mutations on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap()
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let any = u8::try_from(self.below(256)).unwrap();
            let byte = [0, 1, 0x7f, 0x80, 0xff, any][self.below(6)];
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                2 => {
                    let end = (at + self.below(16)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => {
                    if let Some(slot) = bytes.get_mut(at) {
                        *slot = byte;
                    }
                }
            }
        }
    }
}

#[test]
fn seeds_and_inputs_that_once_failed_do_no_harm() {
    for (name, run) in targets::TARGETS {
        let seeds = inputs("seeds", name);
        assert!(!seeds.is_empty(), "fuzz/seeds/{name} is missing");
        for (path, bytes) in seeds.into_iter().chain(inputs("failed", name)) {
            let outcome = std::panic::catch_unwind(|| run(&bytes));
            assert!(outcome.is_ok(), "{}", path.display());
        }
    }
}

#[test]
fn mutated_seeds_do_no_harm() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (name, run) in targets::TARGETS {
        // These take a hundred times as long as the others.
        let rounds = if matches!(*name, "operators" | "rows") {
            3
        } else {
            40
        };
        for (path, bytes) in inputs("seeds", name) {
            for round in 0..rounds {
                let mut bytes = bytes.clone();
                random.mutate(&mut bytes);
                let outcome = std::panic::catch_unwind(|| run(&bytes));
                assert!(
                    outcome.is_ok(),
                    "{} mutated, round {round}: {bytes:?}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn every_target_has_a_binary() {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for (name, _) in targets::TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
