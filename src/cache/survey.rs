//! A cache read as a whole: what is in it, and whether all of it is sound.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{Key, Opened, damaged, log, logs, open_one};

/// What a cache holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Finished segments.
    pub segments: usize,
    /// Logs that runs are writing, which were not looked into.
    pub live: usize,
    /// Bytes of the finished segments.
    pub bytes: u64,
    /// Results by kernel.
    pub kernels: BTreeMap<u64, Tally>,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

/// A file of a cache that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where, in bytes from its beginning, if that is known.
    pub offset: Option<u64>,
    /// What is wrong with it.
    pub why: String,
}

impl Damage {
    fn new(path: &Path, why: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            offset: None,
            why: why.into(),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&damaged(&self.path, &self.why))
    }
}

/// How many results a kernel has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many; one that is there twice counts twice.
    pub results: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// Reads every record of the cache in `dir`, and hands it to `each`.
///
/// # Errors
/// If the directory or a file of it cannot be read.
pub fn survey(dir: &Path, each: &mut dyn FnMut(Key, &[u8])) -> io::Result<Survey> {
    let mut survey = Survey::default();
    for listed in logs(dir)? {
        let segment = match open_one(&listed.path)? {
            Opened::Segment(segment) => segment,
            Opened::Live => {
                survey.live += 1;
                continue;
            }
            Opened::Gone => continue,
            Opened::Damaged(why) => {
                survey.damage.push(Damage::new(&listed.path, why));
                continue;
            }
        };
        survey.segments += 1;
        survey.bytes += segment.bytes();
        let Some(mut scan) = segment.scan()? else {
            continue;
        };
        let ended = loop {
            match scan.next()? {
                log::Next::Record(_, head) => {
                    let tally = survey.kernels.entry(head.key.kernel).or_default();
                    tally.results += 1;
                    tally.bytes += u64::from(head.length);
                    each(head.key, scan.value());
                }
                ended => break ended,
            }
        };
        let at = scan.offset();
        if ended != log::Next::End && at < segment.log_length() {
            let why = format!("its record at byte {at} is none");
            survey.damage.push(Damage {
                offset: Some(at),
                ..Damage::new(&listed.path, why)
            });
        } else if !segment.index_is_sound()? {
            let why = "its index is not the one that was written";
            survey.damage.push(Damage::new(&listed.path, why));
        }
    }
    Ok(survey)
}
