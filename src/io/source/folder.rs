//! A folder that has each of its rows in several files, as img2dataset writes them: `KEY.json` its
//! fields, `KEY.txt` its text, `KEY.jpg` its image.
//!
//! Rows stand in the order of their keys, and a row's identity is its ordinal. Images are files like
//! all others: paths start at the folder.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::format::{FoundRow, Place};
use super::webdataset::{IMAGES, SampleParts, key_end};
use super::{Fingerprint, Reading, RowReader, too_long};
use crate::sample::RowError;

/// The files of one row.
#[derive(Debug, Default, PartialEq, Eq)]
struct Files {
    key: Vec<u8>,
    json: Option<OsString>,
    text: Option<OsString>,
    images: Vec<OsString>,
}

/// The rows of a folder, by key. Files that are part of no row are left out.
fn samples(folder: &Path) -> io::Result<Vec<Files>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.sort_unstable();
    let mut all: Vec<Files> = Vec::new();
    for name in names {
        let bytes = name.as_bytes();
        let Some((key, field)) = key_end(bytes).and_then(|dot| bytes.split_at_checked(dot)) else {
            continue;
        };
        let field = String::from_utf8_lossy(field).to_ascii_lowercase();
        let field = field.trim_start_matches('.').to_owned();
        // What was tried, and how it went.
        let is_image = IMAGES.contains(&field.rsplit('.').next().unwrap_or_default());
        if key.ends_with(b"_stats") || !(is_image || matches!(field.as_str(), "json" | "txt")) {
            continue;
        }
        // Names of one key stand together only where no other key begins with it.
        let place = match all.binary_search_by(|files| files.key.as_slice().cmp(key)) {
            Ok(place) => place,
            Err(place) => {
                let key = key.to_vec();
                all.insert(
                    place,
                    Files {
                        key,
                        ..Files::default()
                    },
                );
                place
            }
        };
        let Some(files) = all.get_mut(place) else {
            continue;
        };
        match field.as_str() {
            "json" => files.json = Some(name),
            "txt" => files.text = Some(name),
            _ => files.images.push(name),
        }
    }
    Ok(all)
}

/// Whether a folder has its rows so: images, and beside each `json` the image that it tells of.
#[must_use]
pub fn holds_samples(folder: &Path) -> bool {
    let all = samples(folder).unwrap_or_default();
    let mut told = all.iter().filter(|files| files.json.is_some()).peekable();
    told.peek().is_some() && told.all(|files| !files.images.is_empty())
}

/// What identifies the content of a folder: the names, sizes and times of its files.
///
/// # Errors
/// If it cannot be listed.
pub fn fingerprint(folder: &Path) -> io::Result<Fingerprint> {
    let mut digest = Xxh3::new();
    let (mut bytes, mut last) = (0, 0);
    for files in samples(folder)? {
        for name in files.json.iter().chain(&files.text).chain(&files.images) {
            let metadata = fs::metadata(folder.join(name))?;
            bytes += metadata.len();
            let nanos = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
            last = last.max(u64::try_from(nanos).unwrap_or(0));
            digest.update(name.as_bytes());
            digest.update(&metadata.len().to_le_bytes());
            digest.update(&nanos.to_le_bytes());
        }
    }
    Ok(Fingerprint {
        name: folder.display().to_string(),
        bytes,
        modified_ns: last,
        ends: format!("{:032x}", digest.digest128()),
    })
}

/// Reads the rows of a folder.
///
/// # Errors
/// If it cannot be listed.
pub fn open(folder: &Path, reading: &Reading) -> io::Result<Box<dyn RowReader>> {
    Ok(Box::new(FolderReader {
        folder: folder.to_owned(),
        samples: samples(folder)?,
        reading: reading.clone(),
        next: 0,
        bytes: 0,
    }))
}

struct FolderReader {
    folder: PathBuf,
    samples: Vec<Files>,
    reading: Reading,
    next: usize,
    bytes: u64,
}

impl FolderReader {
    fn write(
        &self,
        files: &Files,
        limit: usize,
        data: &mut Vec<u8>,
    ) -> io::Result<Option<RowError>> {
        let mut length = 0;
        for name in files.json.iter().chain(&files.text) {
            length += fs::metadata(self.folder.join(name))?.len();
        }
        if length > limit as u64 {
            return Ok(Some(too_long(length, limit)));
        }
        let read = |name: &Option<OsString>| match name {
            Some(name) => fs::read(self.folder.join(name)).map(Some),
            None => Ok(None),
        };
        let (json, text) = (read(&files.json)?, read(&files.text)?);
        let images: Option<Vec<&str>> = files.images.iter().map(|name| name.to_str()).collect();
        let Some(images) = images else {
            let why = "its image has a name that is no Unicode";
            return Ok(Some(RowError::new("image_path_invalid", why)));
        };
        let sample = SampleParts {
            key: None,
            json: json.as_deref(),
            text: text.as_deref(),
            images: &images,
        };
        Ok(sample.write(&self.reading, data).err())
    }
}

impl RowReader for FolderReader {
    fn next(&mut self, data: &mut Vec<u8>, limit: usize) -> io::Result<Option<FoundRow>> {
        let Some(files) = self.samples.get(self.next) else {
            return Ok(None);
        };
        let start = data.len();
        let problem = self.write(files, limit, data)?;
        if problem.is_some() {
            data.truncate(start);
            data.extend_from_slice(&files.key);
        }
        self.bytes += (data.len() - start) as u64;
        self.next += 1;
        let number = self.next as u64;
        Ok(Some(FoundRow::plain(number - 1, number, problem)))
    }

    fn pass(&mut self) -> io::Result<Option<FoundRow>> {
        if self.next >= self.samples.len() {
            return Ok(None);
        }
        self.next += 1;
        let number = self.next as u64;
        Ok(Some(FoundRow::plain(number - 1, number, None)))
    }

    fn place(&self) -> Place {
        Place {
            bytes: self.next as u64,
            rows: self.next as u64,
        }
    }

    fn skip_to(&mut self, place: Place) -> io::Result<()> {
        self.next = usize::try_from(place.rows).map_err(io::Error::other)?;
        Ok(())
    }

    fn consumed(&self) -> u64 {
        self.bytes
    }

    fn extent(&self) -> u64 {
        self.samples.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_key_are_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| fs::write(dir.path().join(name), content).unwrap();
        write("1.jpg", "");
        write("1-b.txt", "b");
        write("1-b.png", "");
        write("1.json", "{\n \"n\": 1}");
        write("1.txt", "a");
        write("2.json", "[]");
        assert!(!holds_samples(dir.path()));
        write("2.jpg", "");
        write("x_stats.json", "{}");
        assert!(holds_samples(dir.path()));
        let mut reader = open(dir.path(), &Reading::default()).unwrap();
        let mut data = Vec::new();
        let mut rows = Vec::new();
        while let Some(row) = reader.next(&mut data, 1 << 20).unwrap() {
            rows.push((
                row.offset,
                row.number,
                row.problem.map(|problem| problem.code),
            ));
            data.push(b'\n');
        }
        assert_eq!(
            rows,
            [(0, 1, None), (1, 2, None), (2, 3, Some("json_not_object"))]
        );
        assert_eq!(
            String::from_utf8(data).unwrap(),
            "{\"n\":  1, \"text\": \"<__dj__image>\\na\", \"images\": [\"1.jpg\"]}\n"
                .replace(":  ", ": ")
                + "{\"text\": \"<__dj__image>\\nb\", \"images\": [\"1-b.png\"]}\n2\n"
        );
        let before = fingerprint(dir.path()).unwrap();
        write("1.txt", "longer");
        assert!(
            before
                .difference(&fingerprint(dir.path()).unwrap())
                .is_some()
        );
    }
}
