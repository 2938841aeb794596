//! MGM's training: LLaVA's loader, which takes another row where it fails.

use super::Trainer;
use super::check::{Check, Effect, Find, Look};
use super::llava;
use crate::sample::ImageSlot;

/// The trainer.
pub const TRAINER: Trainer = Trainer {
    name: "mgm",
    title: "MGM (Mini-Gemini)",
    reads: "One JSON array as LLaVA's; `image` may be a list.",
    checks: CHECKS,
    ..llava::TRAINER
};

/// What a loader does that tries other rows.
const SKIPS: &str = "takes another row at random, ten times; after that an UnboundLocalError";

/// What is wrong with an image: of one whose path holds `ocr` and that is not there the `.png` is
/// opened.
fn opened(look: &Look<'_>, slot: &ImageSlot) -> Option<String> {
    let error = slot.check(look.settings.images).err()?;
    let written = slot.written();
    if error.code == "image_missing" && written.contains("ocr") && written.contains(".jpg") {
        let other = look.sample.image_at(written.replace(".jpg", ".png"));
        if other.check(look.settings.images).is_ok() {
            return None;
        }
    }
    Some(format!("{}: {}", error.code, error.message))
}

const CHECKS: &[Check] = &[
    llava::ARRAY,
    llava::MARK,
    llava::ROWS,
    llava::READABLE.skipped(SKIPS),
    Check {
        find: Find::Row(|look| {
            let mut slots = look.read()?.images.iter();
            slots.find_map(|slot| opened(look, slot))
        }),
        ..llava::IMAGES.skipped(SKIPS)
    },
    llava::IMAGE_NAMED.skipped(SKIPS),
    Check {
        code: "path_rewritten",
        rule: "No image path holds `VG_100K`.",
        effect: Effect::Skip,
        loader: "writes `images` instead before it opens it, and takes another row when that is not there",
        cure: "rename the folder, or link it under another name",
        find: Find::Row(|look| {
            let mut slots = look.read()?.images.iter();
            let found = slots.find(|slot| slot.written().contains("VG_100K"))?;
            Some(format!("{} holds VG_100K", found.written()))
        }),
    },
    llava::ROLES.skipped(SKIPS),
    llava::CONTENTS.skipped(SKIPS),
    llava::TOKEN_MISSING,
    llava::TOKENS_SPREAD,
    llava::TOKEN_ALONE,
    llava::MARKS,
    llava::LENGTH,
    llava::ANSWERS,
    llava::TINY.skipped(
        "the processor takes rows for channels: another row at 1x1, wrong pixels at height 3",
    ),
];
