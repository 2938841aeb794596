//! Products of vectors on a device: which pairs of rows may be near, and which rows may be the
//! farthest from those taken.
//!
//! A device adds up in an order of its own, so that its last digits are not djr's. What it is asked is
//! therefore who *may* be meant, with room for both roundings ([`rounding`]); whoever asks looks at
//! these again. So an outcome does not depend on whether, and on which, device there was.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::lanes::shared_file;
use super::python::{Python, Refusal};
use super::{Host, ServiceError};

/// Bytes that both sides map: a piece of vectors, or pairs.
const SHARED: usize = 64 << 20;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// Multiplications from which on a device is looked for that nobody named: some tens of seconds of a
/// processor, where a Python with torch starts in a few.
const WORTHWHILE: u64 = 1 << 40;

/// A processor, as torch calls it.
const CPU: &str = "cpu";

/// By how much two sums of `dims` products may differ whose vectors have norm 1, whatever the order of
/// each: each is off by at most the unit roundoff times the number of terms (Higham, *Accuracy and
/// Stability of Numerical Algorithms*, 3.1), here with as much again for the norms' own rounding.
#[must_use]
pub fn rounding(dims: usize) -> f32 {
    let dims = u16::try_from(dims).map_or(f32::INFINITY, f32::from);
    4.0 * (dims + 16.0) * (f32::EPSILON / 2.0)
}

/// Pairs that may be near, by their places in two blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'f> {
    /// These.
    Pairs(&'f [[u32; 2]]),
    /// So many that they were not told: all of these rows of the first block with all of these of the
    /// second.
    Dense(std::ops::Range<usize>, std::ops::Range<usize>),
}

/// The rows that are farthest next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Far {
    /// Rows that are taken beyond doubt, one after the other.
    pub taken: Vec<u32>,
    /// Those of which one is next; none if enough are taken, or no row with a vector is left.
    pub candidates: Vec<u32>,
}

/// A device that multiplies.
pub struct Products {
    python: Python,
    device: String,
    is_named: bool,
    memory: File,
}

#[derive(Deserialize)]
struct NearReply {
    count: usize,
    dense: Option<[usize; 4]>,
    next: Option<usize>,
}

#[derive(Deserialize)]
struct FarReply {
    taken: usize,
    candidates: usize,
}

impl Products {
    /// A device of `host` for so many multiplications; `None` if the processor does them as well.
    ///
    /// Where devices are named, the first that is no processor is used for any number; else the first
    /// GPU, if there is enough to do.
    ///
    /// # Errors
    /// If a device is named and cannot be had.
    pub fn open(host: &Host, multiplications: u64) -> Result<Option<Self>, ServiceError> {
        let named = host.devices.iter().find(|name| *name != CPU);
        let wanted = match named {
            Some(_) => true,
            None => host.devices.is_empty() && multiplications >= WORTHWHILE,
        };
        if !wanted {
            return Ok(None);
        }
        let opened = Self::start(host, named.map(String::as_str));
        match opened {
            Err(error) if named.is_some() => Err(error),
            Err(_) => Ok(None),
            Ok(opened) => Ok(opened),
        }
    }

    fn start(host: &Host, named: Option<&str>) -> Result<Option<Self>, ServiceError> {
        let mut python = Python::start("vectors", host)?;
        let there = &python.hello.devices;
        let found = match named {
            Some(named) => there.iter().find(|device| device.name == named),
            None => there.iter().find(|device| device.name != CPU),
        };
        let Some(device) = found.map(|device| device.name.clone()) else {
            let error = named.map(|named| failure(format!("there is no device {named}")));
            return error.map_or(Ok(None), Err);
        };
        let memory = shared_file(SHARED)
            .map_err(|e| failure(format!("no memory to share with the worker: {e}")))?;
        let message = json!({
            "op": "vectors",
            "device": device,
            "shm": format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd()),
            "bytes": SHARED,
        });
        ask::<Value>(&mut python, &message)?;
        Ok(Some(Self {
            python,
            device,
            is_named: named.is_some(),
            memory,
        }))
    }

    /// Whether somebody asked for it.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.is_named
    }

    /// The error of a device that tells what cannot be.
    #[must_use]
    pub fn nonsense(&self) -> ServiceError {
        failure(format!("{} tells what cannot be", self.device))
    }

    /// Puts `numbers`, vectors of `dims` of them one after the other, on the device as the block that is
    /// called `block`, in place of what was called so.
    ///
    /// # Errors
    /// If there is no room for them.
    pub fn place(&mut self, block: u32, dims: usize, numbers: &[f32]) -> Result<(), ServiceError> {
        let dims = dims.max(1);
        let piece = (SHARED / 4 / dims).max(1) * dims;
        let mut bytes = Vec::new();
        for (number, part) in numbers.chunks(piece).enumerate() {
            bytes.clear();
            bytes.extend(part.iter().flat_map(|number| number.to_le_bytes()));
            self.memory
                .write_all_at(&bytes, 0)
                .map_err(|e| failure(e.to_string()))?;
            let message = json!({
                "op": "place", "block": block, "dims": dims, "rows": numbers.len() / dims,
                "at": number * (piece / dims), "count": part.len() / dims,
            });
            ask::<Value>(&mut self.python, &message)?;
        }
        Ok(())
    }

    /// Tells `found` of the pairs of a row of block `a` and one of block `b` whose product may be
    /// `least` or more; of a block with itself each pair once.
    ///
    /// # Errors
    /// If the device does not answer.
    pub fn near(
        &mut self,
        (a, b): (u32, u32),
        least: f32,
        mut found: impl FnMut(Found<'_>),
    ) -> Result<(), ServiceError> {
        let mut next = Some(0);
        while let Some(tile) = next {
            let message = json!({"op": "near", "a": a, "b": b, "least": least, "tile": tile});
            let reply: NearReply = ask(&mut self.python, &message)?;
            let words = self.words(0, reply.count * 2)?;
            let (pairs, _) = words.as_chunks::<2>();
            if !pairs.is_empty() {
                found(Found::Pairs(pairs));
            }
            if let Some([from, until, other_from, other_until]) = reply.dense {
                found(Found::Dense(from..until, other_from..other_until));
            }
            if reply.next.is_some_and(|next| next <= tile) {
                return Err(failure("it does not get on".to_owned()));
            }
            next = reply.next;
        }
        Ok(())
    }

    /// Takes the row `take` of `block`, and, while there is no doubt, further ones: those whose greatest
    /// product with the rows taken is least; `count` in all that this call may take, `take` among them.
    /// Two that differ by less than `slack` are in doubt. `afresh` forgets what was taken before.
    ///
    /// # Errors
    /// If the device does not answer.
    pub fn far(
        &mut self,
        block: u32,
        take: u32,
        (count, slack): (usize, f32),
        afresh: bool,
    ) -> Result<Far, ServiceError> {
        let count = count.min(SHARED / 8);
        let message = json!({
            "op": "far", "block": block, "take": take, "count": count, "slack": slack,
            "afresh": afresh,
        });
        let reply: FarReply = ask(&mut self.python, &message)?;
        Ok(Far {
            taken: self.words(0, reply.taken)?,
            candidates: self.words(reply.taken, reply.candidates)?,
        })
    }

    /// So many numbers of the shared memory behind the first `from`.
    fn words(&self, from: usize, count: usize) -> Result<Vec<u32>, ServiceError> {
        if (from + count) * 4 > SHARED {
            return Err(failure("it tells more than there is room for".to_owned()));
        }
        let mut bytes = vec![0; count * 4];
        self.memory
            .read_exact_at(&mut bytes, from as u64 * 4)
            .map_err(|e| failure(e.to_string()))?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }
}

fn ask<T: DeserializeOwned>(python: &mut Python, message: &Value) -> Result<T, ServiceError> {
    let reply = python.ask(message, PATIENCE);
    let reply = reply.map_err(|no| match no {
        Refusal::Fault(fault) => failure(fault.words()),
        Refusal::No(_, message) => failure(message),
    })?;
    serde_json::from_value(reply).map_err(|e| failure(e.to_string()))
}

fn failure(message: String) -> ServiceError {
    ServiceError {
        service: "vectors".to_owned(),
        message,
        hint: Some("name no device, or cpu, by --devices: the outcome is the same".to_owned()),
        spoiled: false,
    }
}
