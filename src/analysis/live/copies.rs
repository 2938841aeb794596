//! Copies that selectors made in a run: behind such a step a row counts as often as it was taken.

use std::collections::BTreeSet;

use super::Bits;

/// How one copy of a row came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyEnd {
    /// The row, by its number.
    pub row: u32,
    /// Which copy, as the ledger has it.
    pub copy: u64,
    /// The step that it ended at; `None` if it reached the outputs.
    pub step: Option<usize>,
}

/// How many further copies of which rows there are behind so many steps.
#[derive(Debug, Default)]
pub struct Copies {
    further: Vec<Vec<(u32, u64)>>,
}

impl Copies {
    /// Those of `steps` steps, of which `repeating` took rows more than once, from how all copies of the
    /// rows ended that have some: sorted by row.
    #[must_use]
    pub fn of(steps: usize, repeating: &[usize], ends: &[CopyEnd]) -> Self {
        let mut further = vec![Vec::new(); steps + 1];
        for copies in ends.chunk_by(|a, b| a.row == b.row) {
            for (done, further) in further.iter_mut().enumerate() {
                let alive = copies
                    .iter()
                    .filter(|end| end.step.is_none_or(|step| step >= done));
                let there: BTreeSet<u64> = alive
                    .map(|end| {
                        // Each later step that repeats has put numbers of its own below.
                        let later = repeating.iter().filter(|step| {
                            **step >= done && end.step.is_none_or(|end| end > **step)
                        });
                        later.fold(end.copy, |copy, _| copy >> u32::BITS)
                    })
                    .collect();
                let more = (there.len() as u64).saturating_sub(1);
                if let (Some(end), 1..) = (copies.first(), more) {
                    further.push((end.row, more));
                }
            }
        }
        Self { further }
    }

    /// How many there are of `rows` behind `done` steps, copies included.
    #[must_use]
    pub fn count(&self, rows: &Bits, done: usize) -> u64 {
        let further = self.further.get(done).into_iter().flatten();
        let of_rows = further.filter(|(row, _)| rows.has(*row as usize));
        rows.count() + of_rows.map(|(_, more)| more).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_count_behind_the_step_that_made_them() {
        let end = |row, copy, step| CopyEnd { row, copy, step };
        // Step 1 takes row 3 three times; step 2 drops one of these copies; step 3 takes what is left
        // twice, and step 4 drops one of the four.
        let ends = [
            end(3, 0, None),
            end(3, 1, None),
            end(3, 1, Some(2)),
            end(3, 2 << 32, None),
            end(3, (2 << 32) | 1, Some(4)),
        ];
        let copies = Copies::of(5, &[1, 3], &ends);
        let mut rows = Bits::none(6);
        rows.add(3);
        rows.add(5);
        let counts: Vec<u64> = (0..=5).map(|done| copies.count(&rows, done)).collect();
        assert_eq!(counts, [2, 2, 4, 3, 5, 4]);
        assert_eq!(copies.count(&Bits::none(6), 4), 0);
        assert_eq!(Copies::default().count(&rows, 2), 2);
    }
}
