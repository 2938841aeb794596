//! Where rendered rows go: one sink an output, which owns what stands around its records and how
//! they are cut into files.
//!
//! A sink knows its format by the format's [`Framing`] alone, and the executor knows sinks by the
//! trait.

mod caller;
mod columns;
mod files;
mod packer;
mod split;
mod spooled;
mod stream;
mod tar;

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

pub use caller::{Caller, Receiver};
pub use files::numbered;
pub use split::split_files;
pub use tar::index_of;

use crate::io::destination::{check_stdout, open_stream};
use crate::io::format::{Framing, Records};
use crate::io::terminal::Shown;
use crate::io::workspace::Lengths;
use crate::io::{Input, PendingFile, Workspace};
use crate::recipe::{OutputSpec, Target};

/// Takes the records of one output, in order.
pub trait Sink {
    /// Writes one record.
    ///
    /// # Errors
    /// If the disk is full, the pipe is closed, or whoever receives it says so.
    fn write(&mut self, record: &[u8]) -> io::Result<()>;

    /// Writes `count` records, each between the bytes that its format has before every further
    /// record and behind each ([`Framing::next`], [`Framing::after`]): only if [`takes_framed`] says
    /// that the output takes them so.
    ///
    /// # Errors
    /// As [`Sink::write`].
    fn write_framed(&mut self, _records: Cow<'_, [u8]>, _count: u64) -> io::Result<()> {
        Err(io::Error::other("this output takes one record at a time"))
    }

    /// How many records were written, by earlier processes, too.
    fn written(&self) -> u64;

    /// Makes what was written durable; what is returned lets a later process go on.
    ///
    /// # Errors
    /// If the disk is full or fails.
    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<SinkState>;

    /// Ends the output; its files, if it has any, have all their bytes but not yet their names.
    ///
    /// # Errors
    /// If the last bytes cannot be written.
    fn finish(self: Box<Self>) -> io::Result<Vec<Complete>>;
}

/// A file that has all its bytes.
pub struct Complete {
    /// The file, which has not got its name.
    pub file: PendingFile,
    /// Its records.
    pub records: u64,
    /// A file that goes with it.
    pub beside: Option<PendingFile>,
}

/// What a sink has written, beyond the bytes in its files.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SinkState {
    /// Records that wait to be packed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    waiting: String,
    /// Whether any was packed in the file that is being written.
    #[serde(default)]
    packed: bool,
    written: u64,
    /// Records in the file that is being written.
    in_file: u64,
    full_shards: usize,
    in_shard: u64,
    /// The records of full shards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    in_full: Vec<u64>,
    /// Where in each file, this one included, the record is that comes first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    leads: Vec<Option<Span>>,
}

/// Where a record lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    at: u64,
    length: u64,
}

/// Opens the output `number` of a run, new or after `state`.
///
/// # Errors
/// If a file cannot be opened.
pub fn open<'a>(
    number: usize,
    spec: &OutputSpec,
    workspace: &Workspace,
    state: Option<&SinkState>,
    caller: Option<&Caller<'a>>,
    inputs: &[Input],
) -> io::Result<Box<dyn Sink + 'a>> {
    Ok(match &spec.target {
        Target::Stdout => {
            check_stdout()?;
            to_stream(number, io::stdout(), spec, workspace, inputs)?
        }
        Target::Stream(path) => to_stream(number, open_stream(path)?, spec, workspace, inputs)?,
        Target::File(path) if spec.split.is_some() => {
            Box::new(split::Split::open((number, path), spec, workspace, inputs)?)
        }
        Target::File(path) => Box::new(files::Files::open(
            (number, path),
            spec,
            workspace,
            state,
            inputs,
        )?),
        Target::Caller => {
            let caller = caller.ok_or_else(|| io::Error::other("nobody receives its records"))?;
            Box::new(caller::ToCaller::new(number, caller.clone()))
        }
    })
}

/// Whether the output `spec` takes records with what stands around them, many at a time.
#[must_use]
pub fn takes_framed(spec: &OutputSpec) -> bool {
    let is_bytes = spec.format.framing.records == Records::Bytes;
    match &spec.target {
        Target::Stdout | Target::Stream(_) => is_bytes,
        Target::File(path) => is_bytes && spec.split.is_none() && files::takes_framed(path, spec),
        Target::Caller => false,
    }
}

/// Opens the output `number` of a run that goes to a stream.
fn to_stream<'a, W: Write + AsFd + 'a>(
    number: usize,
    out: W,
    spec: &OutputSpec,
    workspace: &Workspace,
    inputs: &[Input],
) -> io::Result<Box<dyn Sink + 'a>> {
    let framing = spec.format.framing;
    if framing.records == Records::Bytes {
        return Ok(Box::new(stream::Stream::over(
            Shown::new(out),
            framing,
            None,
        )?));
    }
    if out.as_fd().is_terminal() {
        let what = format!("format {} is not written to a terminal", spec.format);
        return Err(io::Error::other(what));
    }
    if framing.records == Records::Rows {
        let spooled = spooled::Spooled::open(number, out, spec, workspace, inputs)?;
        return Ok(Box::new(spooled));
    }
    let tar = tar::Tar::open(workspace, number)?;
    Ok(Box::new(stream::Stream::over(out, framing, Some(tar))?))
}

/// Puts the framing of a file around its records.
#[derive(Debug, Clone, Copy)]
struct Framed {
    framing: Framing,
    /// Records so far.
    records: u64,
}

impl Framed {
    /// Writes one record by `put`, and says how many bytes that were.
    fn record(
        &mut self,
        record: &[u8],
        mut put: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<u64> {
        let mut bytes = 0;
        for part in [
            self.framing.before(self.records),
            record,
            self.framing.after,
        ] {
            put(part)?;
            bytes += part.len() as u64;
        }
        self.records += 1;
        Ok(bytes)
    }

    /// Writes `count` records that have their framing, as all but the first record have it.
    fn framed<'r>(
        &mut self,
        records: Cow<'r, [u8]>,
        count: u64,
        mut put: impl FnMut(Cow<'r, [u8]>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Framing { first, next, .. } = self.framing;
        let at_start = self.records == 0 && count > 0;
        self.records += count;
        if !at_start || first == next {
            return put(records);
        }
        put(first.into())?;
        put(match records {
            Cow::Borrowed(records) => records.get(next.len()..).unwrap_or_default().into(),
            Cow::Owned(mut records) => {
                records.drain(..next.len().min(records.len()));
                records.into()
            }
        })
    }
}
