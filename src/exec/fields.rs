//! Which of the fields that a recipe asks for rows have, and what fields they have instead.

use crate::op::STATS;
use crate::plan::Asked;
use crate::record::counts::HeldField;
use crate::sample::{FieldPath, Sample};

/// Fields that are looked for; a recipe that asks for more has other worries.
const MOST_FIELDS: usize = 64;

/// Names of fields that are remembered, and how long they may be.
const MOST_NAMES: usize = 24;
const LONGEST_NAME: usize = 80;

/// Looks for fields in rows, until each was seen once.
pub struct FieldWatch {
    /// Each, and the stat that does as well.
    asked: Vec<(FieldPath, Option<FieldPath>)>,
}

/// What a batch shows of fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldsSeen {
    /// A bit for each field that was asked for and is there.
    pub there: u64,
    /// Fields that rows have, where one that was asked for is missing.
    pub held: Vec<HeldField>,
}

impl FieldWatch {
    /// Looks for the fields `asked`.
    #[must_use]
    pub fn new(asked: &[Asked]) -> Self {
        let paths = asked.iter().take(MOST_FIELDS);
        Self {
            asked: paths
                .map(|a| {
                    let stat = a.or_stat.then(|| format!("{STATS}.{}", a.field));
                    let stat = stat.map(|stat| FieldPath::new(stat.as_str()));
                    (FieldPath::new(a.field.as_str()), stat)
                })
                .collect(),
        }
    }

    /// All bits.
    fn all(&self) -> u64 {
        u64::MAX
            .checked_shr(64 - u32::try_from(self.asked.len()).unwrap_or(64))
            .unwrap_or(0)
    }

    /// Looks at one row.
    pub fn look(&self, sample: &Sample, seen: &mut FieldsSeen) {
        if seen.there == self.all() {
            return;
        }
        for (bit, (path, stat)) in self.asked.iter().enumerate() {
            let is_there = || {
                let mut paths = std::iter::once(path).chain(stat);
                paths.any(|path| sample.has_at(path))
            };
            if seen.there >> bit & 1 == 0 && is_there() {
                seen.there |= 1 << bit;
            }
        }
        if seen.there != self.all() {
            let own = |name: &str| name.starts_with("__dj__");
            for (name, value) in sample.members().filter(|(name, _)| !own(name)) {
                remember(&mut seen.held, &name, value.starts_with('"'));
            }
        }
    }
}

/// Adds a field of rows to those known, in the order in which they appear.
pub fn remember(held: &mut Vec<HeldField>, name: &str, is_text: bool) {
    let short = name.len() <= LONGEST_NAME && held.len() < MOST_NAMES;
    if short && held.iter().all(|field| field.name != name) {
        held.push(HeldField {
            name: name.to_owned(),
            is_text,
        });
    }
}
