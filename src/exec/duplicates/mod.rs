//! Duplicates that tasks find, however many rows there are: none of them holds the keys, the numbers
//! or the clusters of all rows in memory.
//!
//! Each step that finds them is a *round*, in the order of the recipe, because a row that one drops
//! stands for no other at the next:
//!
//! 1. for each part of the pass, the keys of its rows that are left, by partition ([`keys`]);
//! 2. for each partition, who has the same keys, or near ones ([`mod@matches`]): of exact keys that says
//!    which rows go, and for which one;
//! 3. of bands it says which rows are joined, and one task says who stands for each set
//!    ([`components`]).
//!
//! The ordered step then hears of each row whether it goes ([`verdicts`]). Rows are known by their
//! identity, which grows in input order.

mod components;
mod keys;
mod matches;
mod sections;
mod verdicts;

use std::io;

use serde::{Deserialize, Serialize};

pub use components::join;
pub use keys::write_keys;
pub use matches::find_matches;
pub use verdicts::{Verdict, Verdicts};

use crate::exec::parts::Part;
use crate::hash::block_masks;
use crate::op::{Joins, OpKind, Operator};
use crate::plan::Phase;
use crate::recipe::Step;

/// A step whose duplicates tasks find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// The step.
    pub step: usize,
    /// Where a row has its key.
    pub place: KeyPlace,
}

/// Where a row has the key of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyPlace {
    /// Among the keys that the ordered step would admit.
    Admitted,
    /// In this one of its records, as 128 bits.
    Record(usize),
    /// In this one of its records, as a key of 64 bits for each band.
    Bands(usize),
}

impl Round {
    /// Whether rows are joined to sets, of which one row each stands.
    #[must_use]
    pub fn joins(&self) -> bool {
        matches!(self.place, KeyPlace::Bands(_))
    }
}

/// What tasks found of the duplicates of a phase.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The rounds in which they did.
    pub rounds: Vec<Round>,
    /// What they left, each with the step that its rows go at.
    pub left: Vec<(usize, Part)>,
}

impl Found {
    /// Whether it says which rows `step` drops.
    #[must_use]
    pub fn is_of(&self, step: usize) -> bool {
        self.rounds.iter().any(|round| round.step == step)
    }
}

/// The rounds of a phase: the exact deduplicators of its stream, then those steps of its group that
/// find duplicates and let the first row stay, up to the first other step. None if rows of the phase
/// may share an identity, as those do that were made of others, or have an order of their own, as a
/// selector may leave them.
#[must_use]
pub fn rounds(phase: &Phase, steps: &[Step]) -> Vec<Round> {
    let own = steps.get(..phase.stream.end).unwrap_or_default();
    let disorders = |step: &Step| {
        matches!(
            step.spec.kind,
            OpKind::Expander | OpKind::Grouper | OpKind::Selector
        )
    };
    if phase.group.is_empty() || own.iter().any(disorders) {
        return Vec::new();
    }
    let mut rounds = Vec::new();
    for number in phase.stream.clone() {
        let kind = steps.get(number).map(|step| step.spec.kind);
        if kind == Some(OpKind::Exact) {
            rounds.push(Round {
                step: number,
                place: KeyPlace::Admitted,
            });
        }
    }
    let admitted = rounds.len();
    for (record, number) in phase.group.clone().enumerate() {
        let Some(step) = steps
            .get(number)
            .filter(|step| !step.base.choice.sees_all_rows())
        else {
            break;
        };
        let place = match &step.operator {
            Operator::Exact(_) => KeyPlace::Record(record),
            Operator::Near(op) if !op.verifies() => KeyPlace::Bands(record),
            _ => break,
        };
        rounds.push(Round {
            step: number,
            place,
        });
    }
    if rounds.len() == admitted {
        // What the group does needs the rows that are left in one place anyway.
        return Vec::new();
    }
    rounds
}

/// How the keys of a round are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Comparing {
    /// Whole keys; of equal ones the first sound row stays.
    Exact,
    /// Keys of each of so many bands; equal ones join their rows, but one.
    Equal { bands: usize, alone: Option<u64> },
    /// Keys of each of so many bands, behind one that parts the rows if `parted`; those join their
    /// rows that agree in the bits of a mask, and differ in at most `distance`.
    Near {
        bands: usize,
        parted: bool,
        distance: u32,
        masks: Vec<u64>,
    },
}

impl Comparing {
    /// That of `round`.
    fn of(round: &Round, steps: &[Step]) -> io::Result<Self> {
        let step = steps.get(round.step).map(|step| &step.operator);
        match (step, round.place) {
            (Some(Operator::Exact(_)), KeyPlace::Admitted | KeyPlace::Record(_)) => Ok(Self::Exact),
            (Some(Operator::Near(op)), KeyPlace::Bands(_)) => {
                let (bands, parted) = (op.bands(), op.parted());
                let bands = bands - usize::from(parted);
                Ok(match op.joins() {
                    Joins::Equal { alone } if !parted => Self::Equal { bands, alone },
                    Joins::Equal { alone: Some(_) } => {
                        let what = "a key that joins none, within parts of the rows";
                        return Err(io::Error::other(what));
                    }
                    joins => {
                        let distance = match joins {
                            Joins::Within(distance) => distance,
                            Joins::Equal { .. } => 0,
                        };
                        Self::Near {
                            bands,
                            parted,
                            distance,
                            masks: block_masks(distance),
                        }
                    }
                })
            }
            _ => Err(io::Error::other("a round of another step")),
        }
    }

    /// How many tables of keys there are, which are compared each for itself.
    fn tables(&self) -> usize {
        match self {
            Self::Exact => 1,
            Self::Equal { bands, .. } => *bands,
            Self::Near { bands, masks, .. } => bands * masks.len(),
        }
    }
}

/// Which of `partitions` a key is looked at in.
fn partition_of(key: u64, partitions: usize) -> usize {
    // A product with 2^64 divided by the golden ratio spreads keys that differ in few bits.
    let mixed = (key ^ (key >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let scaled = (u128::from(mixed) * partitions as u128) >> 64;
    usize::try_from(scaled).unwrap_or_default()
}

/// Words of a record of keys: two of the key, where it is or what it is, and the identity of the row;
/// see [`keys`].
const RECORD: usize = 4;

/// A record.
type Record = [u64; RECORD];
