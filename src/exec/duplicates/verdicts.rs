//! Which rows go, as tasks found out: read in the order of the rows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::Path;

use super::Part;
use super::sections::{SectionWriter, Sections, bring_indexes};
use crate::exec::spill::Sorter;
use crate::io::workspace::Lengths;

/// The name of the file of rows that go: records of a row's identity and that of the row for which it
/// goes, in order. A section is called by the first row in it.
const GONE: &str = "gone";

/// Records of a section.
const ROWS: u64 = 1 << 12;

/// Sections that are in memory at once, but for one of each file where these are more: 64 MiB.
const RESIDENT: usize = 1 << 10;

/// Sections of a file that are read at once: the more the further it is read.
const AHEAD: usize = 16;

/// Writes down which rows go, each with the one that stands for it.
///
/// # Errors
/// If the disk is full or fails.
pub fn write_gone(gone: Sorter<2>, directory: &Path) -> io::Result<(Lengths, u64)> {
    let mut writer = SectionWriter::create(directory, GONE)?;
    let mut count = 0_u64;
    gone.each(|[row, first]| {
        if count.is_multiple_of(ROWS) {
            writer.begin(row)?;
        }
        count += 1;
        writer.append(&[row, first])
    })?;
    Ok((writer.finish()?, count))
}

/// Why a row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verdict {
    /// The step that drops it.
    pub step: usize,
    /// The identity of the row that it duplicates.
    pub first: u64,
}

/// The rows that go, of all rounds that are over.
pub struct Verdicts {
    sources: Vec<Source>,
    /// The next row of each source: its identity, why it goes, and the number of the source.
    heads: BinaryHeap<Reverse<(u64, Verdict, usize)>>,
    is_open: bool,
}

/// One file.
struct Source {
    step: usize,
    sections: Sections,
    /// The section to be read next.
    at: usize,
    /// How many are read then.
    ahead: usize,
    records: std::vec::IntoIter<[u64; 2]>,
}

impl Source {
    /// Goes to the section in which the row `identity` would be.
    fn seek(&mut self, identity: u64) {
        self.at = self.sections.before(identity);
        self.ahead = 1;
        self.records = Vec::new().into_iter();
    }

    fn next(&mut self, most: usize) -> io::Result<Option<(u64, Verdict)>> {
        loop {
            if let Some([row, first]) = self.records.next() {
                let step = self.step;
                return Ok(Some((row, Verdict { step, first })));
            }
            if self.at >= self.sections.len() {
                return Ok(None);
            }
            let mut records = Vec::new();
            let until = self.at + self.ahead;
            self.sections.read(self.at..until, |_, record| {
                records.push(record);
                Ok(())
            })?;
            self.records = records.into_iter();
            (self.at, self.ahead) = (until, (2 * self.ahead).min(most));
        }
    }
}

impl Verdicts {
    /// What these tasks left, each with the step that its rows go at.
    ///
    /// # Errors
    /// If it cannot be read, or is not what they left.
    pub fn open(left: &[(usize, Part)]) -> io::Result<Self> {
        let parts: Vec<Part> = left.iter().map(|(_, left)| left.clone()).collect();
        bring_indexes(&parts, GONE)?;
        let open = |(step, left): &(usize, Part)| {
            Ok(Source {
                step: *step,
                sections: Sections::of(left, GONE)?,
                at: 0,
                ahead: 1,
                records: Vec::new().into_iter(),
            })
        };
        let sources: io::Result<Vec<Source>> = left.iter().map(open).collect();
        Ok(Self {
            sources: sources?,
            heads: BinaryHeap::new(),
            is_open: false,
        })
    }

    /// Why the row `identity` goes, if it does. Rows are asked for in order.
    ///
    /// # Errors
    /// If a file cannot be read, or is not what was written.
    pub fn of(&mut self, identity: u64) -> io::Result<Option<Verdict>> {
        if !std::mem::replace(&mut self.is_open, true) {
            for number in 0..self.sources.len() {
                if let Some(source) = self.sources.get_mut(number) {
                    source.seek(identity);
                }
                self.read(number)?;
            }
        }
        while let Some(&Reverse((row, verdict, number))) = self.heads.peek() {
            if row > identity {
                break;
            }
            self.heads.pop();
            self.read(number)?;
            if row == identity {
                return Ok(Some(verdict));
            }
        }
        Ok(None)
    }

    /// Reads the next row of a source.
    fn read(&mut self, number: usize) -> io::Result<()> {
        let most = (RESIDENT / self.sources.len().max(1)).clamp(1, AHEAD);
        let source = self.sources.get_mut(number);
        let next = source.map(|source| source.next(most));
        let next = next.transpose()?.flatten();
        let head = next.map(|(row, verdict)| Reverse((row, verdict, number)));
        self.heads.extend(head);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_wherever_reading_begins() {
        let dir = tempfile::tempdir().unwrap();
        let mut left = Vec::new();
        for step in 0..3_u64 {
            let directory = dir.path().join(step.to_string());
            std::fs::create_dir(&directory).unwrap();
            let mut gone = Sorter::new(dir.path(), 1 << 20);
            // Every seventh row of each, so that no row goes twice.
            for row in (step..70_000).step_by(7) {
                gone.push([row * 10, row]).unwrap();
            }
            let (lengths, count) = write_gone(gone, &directory).unwrap();
            assert_eq!(count, 10_000);
            let step = usize::try_from(step).unwrap();
            let part = Part {
                directory,
                lengths,
                elsewhere: None,
            };
            left.push((step, part));
        }
        for from in [0, 1, 40_959, 350_005, 699_990, 800_000] {
            let mut verdicts = Verdicts::open(&left).unwrap();
            for identity in from..800_000 {
                let row = identity / 10;
                let step = usize::try_from(row % 7).unwrap();
                let goes = identity % 10 == 0 && row < 70_000 && step < 3;
                let expected = goes.then_some(Verdict { step, first: row });
                assert_eq!(verdicts.of(identity).unwrap(), expected, "{identity}");
            }
        }
        assert_eq!(Verdicts::open(&[]).unwrap().of(5).unwrap(), None);
    }
}
