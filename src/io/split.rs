//! How the files are called that an output is split into, and how its records say whose they are.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The longest part of a file's name that a value makes, in bytes.
const LONGEST_VALUE: usize = 100;

/// What stands before and behind the value in the name of a file that an output is split into.
#[must_use]
pub fn around(name: &str) -> (&str, &str) {
    match name.split_once(SPLIT_VALUE) {
        Some(parts) => parts,
        // As the number of a shard: before the first dot.
        None => name.split_at(name.find('.').unwrap_or(name.len())),
    }
}

/// Stands for the value in the name of an output that is split.
const SPLIT_VALUE: &str = "{value}";

/// The file for rows with the value `name`.
#[must_use]
pub fn file_of(path: &Path, name: &str) -> PathBuf {
    let pattern = path.file_name().unwrap_or_default().to_string_lossy();
    let (before, after) = around(&pattern);
    let joint = if pattern.len() == before.len() + after.len() && !before.is_empty() {
        "-"
    } else {
        ""
    };
    path.with_file_name(format!("{before}{joint}{name}{after}"))
}

/// Begins a record with the value that it is split by, as a part of a file's name: what no name can
/// have is written as `%` and two hexadecimal digits, so that no two values share a file.
pub fn write_value(value: Option<&str>, out: &mut Vec<u8>) {
    let mut name = String::new();
    match value {
        None => name.push_str("%none"),
        Some("") => name.push_str("%empty"),
        Some(value) => {
            for (at, character) in value.char_indices() {
                let plain = character.is_alphanumeric() || "-_ ".contains(character);
                // A name that begins with a dot is hidden.
                if plain || (character == '.' && at > 0) {
                    name.push(character);
                } else {
                    let mut bytes = [0; 4];
                    for byte in character.encode_utf8(&mut bytes).bytes() {
                        // Writing to a string cannot fail.
                        let _ = write!(name, "%{byte:02x}");
                    }
                }
            }
        }
    }
    if name.len() > LONGEST_VALUE {
        let hash = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
        let mut end = LONGEST_VALUE - 20;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        let _ = write!(name, "%%{hash:016x}");
    }
    out.extend_from_slice(&u32::try_from(name.len()).unwrap_or_default().to_le_bytes());
    out.extend_from_slice(name.as_bytes());
}

/// The name that a record begins with, and the record itself.
#[must_use]
pub fn take_value(record: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = record.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (name, record) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(name).ok()?, record))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_parts_of_names_that_differ() {
        let name = |value: Option<&str>| {
            let mut out = Vec::new();
            write_value(value, &mut out);
            String::from_utf8(out.split_off(4)).unwrap()
        };
        for (value, expected) in [
            (None, "%none"),
            (Some(""), "%empty"),
            (Some("%none"), "%25none"),
            (Some("en"), "en"),
            (Some("日本 v1.2"), "日本 v1.2"),
            (Some(".."), "%2e."),
            (Some("a/b\n"), "a%2fb%0a"),
        ] {
            assert_eq!(name(value), expected);
        }
        let long = "é".repeat(200);
        let (a, b) = (name(Some(&long)), name(Some(&format!("{long}x"))));
        assert!(a != b && a.len() <= LONGEST_VALUE);
        for (path, expected) in [
            ("o/rows.jsonl.gz", "o/rows-en.jsonl.gz"),
            ("o/{value}.jsonl", "o/en.jsonl"),
            ("o/a.{value}-{shard}.jsonl", "o/a.en-{shard}.jsonl"),
            ("o/rows", "o/rows-en"),
        ] {
            assert_eq!(file_of(Path::new(path), "en"), Path::new(expected));
        }
    }
}
