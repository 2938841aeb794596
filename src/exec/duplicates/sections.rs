//! A file in sections, of which a reader needs some: each has a digest of its own, and a name that
//! grows.

use std::io;
use std::path::Path;

use smallvec::SmallVec;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::Part;
use crate::exec::spill::sorter;
use crate::io::atomic::Keep;
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};

/// Writes the sections of a file, one after the other.
pub struct SectionWriter {
    log: Log,
    index: Log,
    digest: Xxh3,
    name: Option<u64>,
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
        let bytes: SmallVec<[u8; 32]> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.digest.update(&bytes);
        self.log.append(&bytes)
    }

    fn end(&mut self) -> io::Result<()> {
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

/// Reads sections of a file.
pub struct Sections {
    log: Log,
    sections: Vec<Section>,
}

impl Sections {
    /// Those of the file `name` that a task left.
    ///
    /// # Errors
    /// If they cannot be read, or are not what the task left.
    pub fn of(left: &Part, name: &str) -> io::Result<Self> {
        let mut index = Log::sealed(&left.directory, &index_name(name), &left.lengths)?;
        let mut sections = Vec::new();
        each_record(&mut index.replay()?, |record: [u8; 24]| {
            let mut words = record.as_chunks::<8>().0.iter();
            let mut word = || words.next().map_or(0, |word| u64::from_le_bytes(*word));
            sections.push([word(), word(), word()]);
        })?;
        Ok(Self {
            log: Log::unproved(&left.directory, name, &left.lengths)?,
            sections,
        })
    }

    /// The place of the last section whose name is no greater than `name`, or of the first one.
    #[must_use]
    pub fn before(&self, name: u64) -> usize {
        let behind = self.sections.partition_point(|section| section[0] <= name);
        behind.saturating_sub(1)
    }

    /// Reads the section at a place as records of `N` words; none behind the last.
    ///
    /// # Errors
    /// If it cannot be read, or is not what was written.
    pub fn read<const N: usize>(&self, at: usize) -> io::Result<Option<Vec<[u64; N]>>> {
        let Some(&[_, end, digest]) = self.sections.get(at) else {
            return Ok(None);
        };
        let before = at.checked_sub(1).and_then(|at| self.sections.get(at));
        let start = before.map_or(0, |[_, end, _]| *end);
        let other = || self.log.damaged("a section is not what was written");
        let length = end.checked_sub(start).ok_or_else(other)?;
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| other())?];
        self.log.read_exact_at(&mut bytes, start)?;
        if xxh3_64(&bytes) != digest || bytes.len() % (8 * N) != 0 {
            return Err(other());
        }
        let mut words = bytes.as_chunks::<8>().0.iter();
        let mut records = Vec::with_capacity(bytes.len() / (8 * N).max(1));
        for _ in 0..records.capacity() {
            let mut record = [0; N];
            for (slot, word) in record.iter_mut().zip(words.by_ref()) {
                *slot = u64::from_le_bytes(*word);
            }
            records.push(record);
        }
        Ok(Some(records))
    }

    /// Reads the section called `name`; nothing if there is none.
    ///
    /// # Errors
    /// As [`Sections::read`].
    pub fn read_named<const N: usize>(&self, name: u64) -> io::Result<Vec<[u64; N]>> {
        let at = self
            .sections
            .binary_search_by_key(&name, |section| section[0]);
        let read = at.map_or(Ok(None), |at| self.read(at))?;
        Ok(read.unwrap_or_default())
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
        };
        let sections = Sections::of(&left, "keys").unwrap();
        assert_eq!(sections.read_named(2).unwrap(), [[1, 2], [3, 4]]);
        assert_eq!(sections.read_named(9).unwrap(), [[5, 6]]);
        for none in [0, 5, 10] {
            assert!(sections.read_named::<2>(none).unwrap().is_empty());
        }
        let places = [(0, 0), (2, 0), (4, 0), (5, 1), (8, 1), (9, 2), (99, 2)];
        for (name, place) in places {
            assert_eq!(sections.before(name), place, "{name}");
        }
        assert_eq!(sections.read::<2>(3).unwrap(), None);
        // Only the section that is read is looked at.
        let path = dir.path().join("keys");
        let mut bytes = fs::read(&path).unwrap();
        bytes[33] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let sections = Sections::of(&left, "keys").unwrap();
        assert!(sections.read_named::<2>(2).is_ok());
        let error = sections.read_named::<2>(9).unwrap_err().to_string();
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
