//! Rows that share something: the same text, the same image, one image under many captions.
//!
//! Hashes of 64 bits stand for texts, paths and contents; they wait on disk and are sorted one
//! kind at a time: in memory 24 bytes a row, and 48 a reference to an image.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::column::Spill;
use super::pass::Measures;
use crate::record::analysis::{Cluster, Clusters, Duplicates, RowExample};

/// How many of the largest groups are shown.
const SHOWN: usize = 20;

/// How many rows of a group are shown.
const SHOWN_ROWS: usize = 20;

/// What is kept of rows to find those that belong together.
pub struct Groups {
    rows: u64,
    /// For each row the hash of its text, or 0.
    texts: Spill,
    /// A row number, the hash of a path, and that of the content or 0, by turns.
    images: Spill,
    contents_read: bool,
    examples: BufWriter<File>,
    ends: Spill,
    position: u64,
}

/// A group of rows and what they share.
struct Group {
    rows: Vec<u64>,
    /// How many different things they have, where that is what counts.
    different: usize,
}

impl Groups {
    /// Starts with no row; spills into `directory`.
    ///
    /// # Errors
    /// If a file cannot be made.
    pub fn create(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            rows: 0,
            texts: Spill::create(directory)?,
            images: Spill::create(directory)?,
            contents_read: false,
            examples: BufWriter::with_capacity(1 << 18, tempfile::tempfile_in(directory)?),
            ends: Spill::create(directory)?,
            position: 0,
        })
    }

    /// Adds the rows of a batch.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn add(&mut self, batch: &Measures) -> io::Result<()> {
        for hash in &batch.captions.hashes {
            self.texts.push(hash.unwrap_or(0))?;
        }
        for &(index, path, content) in &batch.images.hashes {
            self.contents_read |= content.is_some();
            self.images.push(self.rows + u64::from(index))?;
            self.images.push(path)?;
            self.images.push(content.unwrap_or(0))?;
        }
        self.examples.write_all(&batch.examples)?;
        for example in batch.examples.split_inclusive(|byte| *byte == b'\n') {
            self.position += example.len() as u64;
            self.ends.push(self.position)?;
        }
        self.rows += batch.rows;
        Ok(())
    }

    /// Finds the groups: the analysis' `duplicates`, and how many different paths there are.
    ///
    /// # Errors
    /// If what was set aside cannot be read back.
    pub fn finish(mut self) -> io::Result<(Duplicates, u64)> {
        self.examples.flush()?;
        self.examples.get_mut().rewind()?;
        self.ends.flush()?;
        let shown = Examples {
            file: self.examples.get_ref(),
            ends: &self.ends,
        };
        let by_row = self.texts.read()?;
        let mut texts: Vec<(u64, u64)> = (0_u64..)
            .zip(&by_row)
            .filter(|(_, hash)| **hash != 0)
            .map(|(row, hash)| (*hash, row))
            .collect();
        let text_groups = same(&mut texts);
        drop(texts);
        let words = self.images.read()?;
        let (refs, _) = words.as_chunks::<3>();
        let mut contents: Vec<(u64, u64)> = refs
            .iter()
            .filter(|[_, _, content]| *content != 0)
            .map(|[row, _, content]| (*content, *row))
            .collect();
        let content_groups = same(&mut contents);
        drop(contents);
        let mut paired: Vec<(u64, u64, u64)> = refs
            .iter()
            .map(|[row, path, _]| {
                let index = usize::try_from(*row).unwrap_or(usize::MAX);
                (*path, by_row.get(index).copied().unwrap_or(0), *row)
            })
            .collect();
        drop(words);
        drop(by_row);
        paired.sort_unstable();
        let paths = paired.chunk_by(|a, b| a.0 == b.0).count() as u64;
        // A row without a text has no caption.
        paired.retain(|(_, text, _)| *text != 0);
        let captions = many(&mut paired);
        for (first, second, _) in &mut paired {
            std::mem::swap(first, second);
        }
        let images = many(&mut paired);
        let unread = "images were not read as a whole: no content was compared";
        let found = Duplicates {
            text: shown.clusters(&text_groups, Shared::Text)?,
            image: Clusters {
                note: (!self.contents_read).then(|| unread.to_owned()),
                ..shown.clusters(&content_groups, Shared::Content)?
            },
            captions_per_image: shown.clusters(&captions, Shared::Image)?,
            images_per_caption: shown.clusters(&images, Shared::Caption)?,
        };
        Ok((found, paths))
    }
}

/// Rows with the same hash, the largest group first.
fn same(pairs: &mut Vec<(u64, u64)>) -> Vec<Group> {
    pairs.sort_unstable();
    pairs.dedup();
    let mut groups: Vec<Group> = pairs
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|group| group.len() > 1)
        .map(|group| Group {
            rows: group.iter().map(|(_, row)| *row).collect(),
            different: group.len(),
        })
        .collect();
    order(&mut groups);
    groups
}

/// Rows with the same first and at least two different second hashes.
fn many(triples: &mut [(u64, u64, u64)]) -> Vec<Group> {
    triples.sort_unstable();
    let mut groups: Vec<Group> = triples
        .chunk_by(|a, b| a.0 == b.0)
        .filter_map(|group| {
            let different = group.chunk_by(|a, b| a.1 == b.1).count();
            let mut rows: Vec<u64> = group.iter().map(|(_, _, row)| *row).collect();
            rows.sort_unstable();
            rows.dedup();
            (different > 1).then_some(Group { rows, different })
        })
        .collect();
    order(&mut groups);
    groups
}

fn order(groups: &mut [Group]) {
    groups.sort_unstable_by(|a, b| {
        b.different
            .cmp(&a.different)
            .then(a.rows.first().cmp(&b.rows.first()))
    });
}

/// What the rows of a group share.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shared {
    /// The text: nothing else is counted.
    Text,
    /// The bytes of an image: nothing else is counted.
    Content,
    /// An image, under several captions.
    Image,
    /// A caption, of several images.
    Caption,
}

/// What rows look like, for people.
struct Examples<'a> {
    file: &'a File,
    ends: &'a Spill,
}

impl Examples<'_> {
    fn read(&self, row: u64) -> io::Result<RowExample> {
        let start = self.ends.get(row.checked_sub(1))?;
        let end = self.ends.get(Some(row))?;
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// The groups as the analysis writes them; `of` is what the rows of one share.
    fn clusters(&self, groups: &[Group], of: Shared) -> io::Result<Clusters> {
        let mut largest = Vec::new();
        for group in groups.iter().take(SHOWN) {
            let mut cluster = Cluster {
                rows: group.rows.len(),
                captions: (of == Shared::Image).then_some(group.different),
                images: (of == Shared::Caption).then_some(group.different),
                ..Cluster::default()
            };
            for row in group.rows.iter().take(SHOWN_ROWS) {
                let mut example = self.read(*row)?;
                if cluster.origins.is_empty() {
                    cluster.example = match of {
                        Shared::Content | Shared::Image => example.images.first().cloned(),
                        Shared::Text | Shared::Caption => example.text.clone(),
                    };
                }
                if of == Shared::Text {
                    // All rows have the text that the group shows.
                    example.text = None;
                }
                cluster.origins.push(example);
            }
            largest.push(cluster);
        }
        Ok(Clusters {
            clusters: groups.len(),
            rows: groups.iter().map(|group| group.rows.len()).sum(),
            largest,
            note: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_and_ordered() {
        let mut pairs = vec![(7, 0), (8, 1), (7, 2), (9, 3), (8, 4), (8, 5), (8, 5)];
        let groups = same(&mut pairs);
        let rows: Vec<&[u64]> = groups.iter().map(|g| g.rows.as_slice()).collect();
        assert_eq!(rows, [&[1, 4, 5][..], &[0, 2]]);
        // Path 1 has the captions 5 and 6, path 2 the caption 5 twice.
        let groups = many(&mut [(1, 5, 0), (2, 5, 1), (1, 6, 2), (2, 5, 3)]);
        assert_eq!(groups.len(), 1);
        assert_eq!((groups[0].different, &groups[0].rows[..]), (2, &[0, 2][..]));
    }
}
