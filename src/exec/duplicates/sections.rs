//! A file in sections, of which a reader needs some: each has a digest of its own, and a name that
//! grows.

use std::io;
use std::ops::Range;
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::Part;
use crate::exec::parts::{Pieces, bring};
use crate::exec::spill::sorter;
use crate::io::atomic::Keep;
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};

/// Bytes that are written together.
const BLOCK: usize = 1 << 16;

/// Writes the sections of a file, one after the other.
pub struct SectionWriter {
    log: Log,
    index: Log,
    digest: Xxh3,
    name: Option<u64>,
    /// The last words of the section, which are written together.
    waiting: Vec<u8>,
}

/// A section: its name, where it ends, and XXH3-64 of its bytes.
type Section = [u64; 3];

fn index_name(name: &str) -> String {
    format!("{name}.index")
}

impl SectionWriter {
    /// The file `name` in `directory`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(directory: &Path, name: &str) -> io::Result<Self> {
        let files = Workspace::kept(directory.to_owned(), Lengths::new(), Keep::default());
        Ok(Self {
            log: files.log(name)?,
            index: files.log(&index_name(name))?,
            digest: Xxh3::new(),
            name: None,
            waiting: Vec::with_capacity(BLOCK),
        })
    }

    /// Begins the section `name`: a greater one than that before.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn begin(&mut self, name: u64) -> io::Result<()> {
        self.end()?;
        self.name = Some(name);
        Ok(())
    }

    /// The section that is open.
    #[must_use]
    pub fn open(&self) -> Option<u64> {
        self.name
    }

    /// Appends words to the section.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn append(&mut self, words: &[u64]) -> io::Result<()> {
        for word in words {
            self.waiting.extend_from_slice(&word.to_le_bytes());
        }
        if self.waiting.len() < BLOCK {
            return Ok(());
        }
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.digest.update(&self.waiting);
        self.log.append(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.write()?;
        if let Some(name) = self.name.take() {
            let section: Section = [name, self.log.len(), self.digest.digest()];
            sorter::append(&mut self.index, section)?;
            self.digest = Xxh3::new();
        }
        Ok(())
    }

    /// Makes the file durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn finish(mut self) -> io::Result<Lengths> {
        self.end()?;
        let mut lengths = Lengths::new();
        self.log.sync(&mut lengths)?;
        self.index.sync(&mut lengths)?;
        Ok(lengths)
    }
}

/// What is read at once, in bytes, where several sections are: one is read whole however long it is.
const AT_ONCE: u64 = 8 << 20;

/// Reads sections of a file.
pub struct Sections {
    file: Box<dyn Pieces>,
    sections: Vec<Section>,
}

/// Brings what says where the sections of the files `name` of `left` are.
///
/// # Errors
/// If one cannot be had, or is not what the task left.
pub fn bring_indexes(left: &[Part], name: &str) -> io::Result<()> {
    bring(left, &index_name(name))
}

impl Sections {
    /// Those of the file `name` that a task left.
    ///
    /// # Errors
    /// If they cannot be read, or are not what the task left.
    pub fn of(left: &Part, name: &str) -> io::Result<Self> {
        bring_indexes(std::slice::from_ref(left), name)?;
        let mut index = Log::sealed(&left.directory, &index_name(name), &left.lengths)?;
        let mut sections = Vec::new();
        each_record(&mut index.replay()?, |record: [u8; 24]| {
            let mut words = record.as_chunks::<8>().0.iter();
            let mut word = || words.next().map_or(0, |word| u64::from_le_bytes(*word));
            sections.push([word(), word(), word()]);
        })?;
        Ok(Self {
            file: left.pieces(name)?,
            sections,
        })
    }

    /// The place of the last section whose name is no greater than `name`, or of the first one.
    #[must_use]
    pub fn before(&self, name: u64) -> usize {
        let behind = self.sections.partition_point(|section| section[0] <= name);
        behind.saturating_sub(1)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sections.len()
    }

    /// Where the section before this place ends.
    fn start(&self, at: usize) -> u64 {
        let before = at.checked_sub(1).and_then(|at| self.sections.get(at));
        before.map_or(0, |[_, end, _]| *end)
    }

    /// Reads the sections at `places` as records of `N` words, each with the name of its section;
    /// none behind the last.
    ///
    /// # Errors
    /// If they cannot be read, are not what was written, or as `see` says.
    pub fn read<const N: usize>(
        &self,
        places: Range<usize>,
        mut see: impl FnMut(u64, [u64; N]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut wanted = self.sections.get(places.start..).unwrap_or_default();
        wanted = wanted.get(..places.len()).unwrap_or(wanted);
        let mut start = self.start(places.start);
        let other = || self.file.damaged("a section is not what was written");
        while let Some((first, rest)) = wanted.split_first() {
            let more = rest
                .iter()
                .take_while(|[_, end, _]| end.saturating_sub(start) <= AT_ONCE)
                .count();
            let (together, behind) = wanted.split_at(1 + more);
            let end = together.last().unwrap_or(first)[1];
            let length = end.checked_sub(start).ok_or_else(other)?;
            let mut bytes = vec![0; usize::try_from(length).map_err(|_| other())?];
            self.file.read_exact_at(&mut bytes, start)?;
            let mut rest = bytes.as_slice();
            for &[name, end, digest] in together {
                let length = end.checked_sub(start).ok_or_else(other)?;
                let length = usize::try_from(length).map_err(|_| other())?;
                let (section, behind) = rest.split_at_checked(length).ok_or_else(other)?;
                if xxh3_64(section) != digest || !length.is_multiple_of(8 * N) {
                    return Err(other());
                }
                let mut words = section.as_chunks::<8>().0.iter();
                for _ in 0..length / (8 * N).max(1) {
                    let mut record = [0; N];
                    for (slot, word) in record.iter_mut().zip(words.by_ref()) {
                        *slot = u64::from_le_bytes(*word);
                    }
                    see(name, record)?;
                }
                (rest, start) = (behind, end);
            }
            wanted = behind;
        }
        Ok(())
    }

    /// Reads the sections whose names are among `names`.
    ///
    /// # Errors
    /// As [`Sections::read`].
    pub fn read_named<const N: usize>(
        &self,
        names: Range<u64>,
        see: impl FnMut(u64, [u64; N]) -> io::Result<()>,
    ) -> io::Result<()> {
        let place = |name: u64| self.sections.partition_point(|section| section[0] < name);
        self.read(place(names.start)..place(names.end), see)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn sections_are_read_alone_and_a_damaged_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = SectionWriter::create(dir.path(), "keys").unwrap();
        for (name, records) in [(2, vec![[1, 2], [3, 4]]), (5, vec![]), (9, vec![[5, 6]])] {
            writer.begin(name).unwrap();
            for record in records {
                writer.append(&record).unwrap();
            }
        }
        let left = Part {
            directory: dir.path().to_owned(),
            lengths: writer.finish().unwrap(),
            elsewhere: None,
        };
        let sections = Sections::of(&left, "keys").unwrap();
        let named = |sections: &Sections, names| {
            let mut found = Vec::new();
            let read = sections.read_named(names, |name, record: [u64; 2]| {
                found.push((name, record));
                Ok(())
            });
            read.map(|()| found)
        };
        let all = [(2, [1, 2]), (2, [3, 4]), (9, [5, 6])];
        assert_eq!(named(&sections, 2..3).unwrap(), all[..2]);
        assert_eq!(named(&sections, 9..10).unwrap(), all[2..]);
        assert_eq!(named(&sections, 0..99).unwrap(), all);
        for none in [0, 5, 10] {
            assert!(named(&sections, none..none + 1).unwrap().is_empty());
        }
        let places = [(0, 0), (2, 0), (4, 0), (5, 1), (8, 1), (9, 2), (99, 2)];
        for (name, place) in places {
            assert_eq!(sections.before(name), place, "{name}");
        }
        assert_eq!(sections.len(), 3);
        for behind in [3..4, 7..9] {
            sections
                .read(behind, |_, _: [u64; 2]| panic!("there is none"))
                .unwrap();
        }
        // Only the section that is read is looked at.
        let path = dir.path().join("keys");
        let mut bytes = fs::read(&path).unwrap();
        bytes[33] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let sections = Sections::of(&left, "keys").unwrap();
        assert!(named(&sections, 2..3).is_ok());
        let error = named(&sections, 9..10).unwrap_err().to_string();
        assert!(
            error.contains("keys: a section is not what was written"),
            "{error}"
        );
        fs::write(&path, &bytes[1..]).unwrap();
        let error = Sections::of(&left, "keys").err().unwrap().to_string();
        assert!(
            error.contains("it holds 47 bytes, its record says 48"),
            "{error}"
        );
    }
}
