//! Megatron-Energon: WebDataset archives, or lines, with an index that its own `energon prepare`
//! makes.

use super::Trainer;
use super::check::{Check, Effect, FileFacts, Find};
use super::container::Container;
use super::webdataset::{self, TAR, TOGETHER, TWICE};
use super::{llava, rules};

/// The trainer.
pub const TRAINER: Trainer = Trainer {
    name: "energon",
    title: "Megatron-Energon",
    reads: "Tar archives as WebDataset's, or one `.jsonl`, each with its index.",
    containers: &[Container::Tar, Container::Lines],
    checks: CHECKS,
    ..webdataset::TRAINER
};

const CHECKS: &[Check] = &[
    Check {
        rule: "The file is a tar archive or JSON objects one a line, not compressed.",
        find: Find::File(rules::container),
        ..TAR
    },
    llava::ROWS,
    Check {
        effect: Effect::CrashStart,
        loader: "`energon prepare` finds the key twice",
        ..TOGETHER
    },
    TWICE,
    Check {
        code: "index_stale",
        rule: "An index beside the file (`NAME.idx`) fits it.",
        effect: Effect::CrashStart,
        loader: "an assertion on the size of the file",
        cure: "energon prepare, after the file is written",
        find: Find::File(index),
    },
    Check {
        effect: Effect::CrashMiddle,
        loader: "an error of the decoder",
        ..llava::IMAGES
    },
];

/// What is wrong with the index: the offset of each sample as 64 bits, then where the last one ends.
fn index(file: &FileFacts<'_>) -> Option<String> {
    let mut name = file.path.as_os_str().to_owned();
    name.push(".idx");
    let index = std::fs::read(&name).ok()?;
    let offsets: Vec<u64> = index
        .chunks_exact(8)
        .filter_map(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)))
        .collect();
    let shown = std::path::Path::new(&name).display();
    let size = std::fs::metadata(file.path).ok()?.len();
    let samples = match file.container {
        Container::Tar => webdataset::samples(file),
        _ => file.rows,
    };
    let entries = (offsets.len() as u64).saturating_sub(1);
    let end = offsets.last().copied().unwrap_or(0);
    if index.len() % 8 != 0 || entries != samples {
        return Some(format!(
            "{shown} is of {entries} samples, there are {samples}"
        ));
    }
    let fits = match file.container {
        Container::Tar => end <= size && size - end <= 20 * 512,
        _ => end == size,
    };
    (!fits).then(|| format!("{shown} ends at byte {end}, the file has {size}"))
}
