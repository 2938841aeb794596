//! MGM's training: LLaVA's loader, which takes another row where it fails.

use super::Trainer;
use super::check::{Check, Effect, Find};
use super::llava;

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

const CHECKS: &[Check] = &[
    llava::ARRAY,
    llava::MARK,
    llava::ROWS,
    Check {
        effect: Effect::Skip,
        loader: SKIPS,
        ..llava::READABLE
    },
    Check {
        effect: Effect::Skip,
        loader: SKIPS,
        ..llava::IMAGES
    },
    Check {
        effect: Effect::Skip,
        loader: SKIPS,
        ..llava::IMAGE_NAMED
    },
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
    Check {
        effect: Effect::Skip,
        loader: SKIPS,
        ..llava::ROLES
    },
    Check {
        effect: Effect::Skip,
        loader: SKIPS,
        ..llava::CONTENTS
    },
    llava::TOKEN_MISSING,
    llava::TOKENS_SPREAD,
    llava::TOKEN_ALONE,
    llava::MARKS,
    llava::LENGTH,
    llava::ANSWERS,
    Check {
        effect: Effect::Skip,
        loader: "the processor takes rows for channels: another row at 1x1, wrong pixels at height 3",
        ..llava::TINY
    },
];
