//! Subsets of files whose rows nobody needs to understand: rows are drawn and copied as they are.
//!
//! The inputs are read twice: once to find where rows begin, once to copy those that were drawn.

use std::io::{self, Seek, Write};
use std::sync::Arc;

use super::spill::store::StoreWriter;
use super::{RunError, setup, write_error};
use crate::hash::{PythonRandom, priority};
use crate::io::atomic::Keep;
use crate::io::destination::{check_stdout, open_stream};
use crate::io::remote::is_remote;
use crate::io::source::{Place, RowReader, SourceError, Split};
use crate::io::terminal::Shown;
use crate::io::{Input, OutputLock, PendingFile, Workspace};
use crate::layout::CopiedRecord;
use crate::recipe::{Inputs, Sampler, Target};
use crate::record::forget_run;

/// Bytes written at once.
const OUT_BLOCK: usize = 1 << 18;

/// Rows that are written in random order wait in memory up to this many bytes, else on disk.
const HELD: u64 = 64 << 20;

/// What to draw.
#[derive(Debug, Clone, Copy)]
pub struct LineSample {
    /// How many rows.
    pub rows: u64,
    /// The seed.
    pub seed: u64,
    /// How rows are drawn.
    pub sampler: Sampler,
    /// Write rows in random order.
    pub shuffle: bool,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Rows there were.
    pub rows: u64,
    /// Rows that cannot be copied: a JSON array that ends inside of one, and the like.
    pub unusable: u64,
    /// Rows written.
    pub written: u64,
}

/// Where a row lies. Sorted, rows are in input order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    /// Index of the input.
    file: usize,
    /// How many bytes stand before it, decompressed.
    start: u64,
    /// Its bytes and those between it and the rows around.
    length: u64,
}

/// Draws rows of `inputs` and writes them to `target`, byte for byte.
///
/// The inputs are read twice: once to draw, once to copy (and once more by Python's sampler, which
/// needs to know how many rows there are). Memory grows with the sample only.
///
/// # Errors
/// If an input cannot be read or the output cannot be written.
pub fn copy(inputs: &Inputs, target: &Target, sample: &LineSample) -> Result<Copied, RunError> {
    // A pipe can be read once only, so it is put into a file first.
    let mut spooled = Vec::new();
    let mut files = Vec::new();
    for input in setup::sources(inputs, &Arc::default()) {
        let file = spool(&input)?;
        files.push(match &file {
            Some(file) => Input::File(file.path().to_owned()),
            None => input,
        });
        spooled.extend(file);
    }
    let rows = Rows(files);
    let (found, drawn) = draw(&rows, sample)?;
    let written = drawn.len() as u64;
    match target {
        Target::Caller => {
            let why = "lines are copied to files and streams only";
            return Err(write_error(target, io::Error::other(why)));
        }
        Target::Stdout => {
            check_stdout().map_err(|e| write_error(target, e))?;
            let mut out = Shown::new(io::stdout().lock());
            write(&rows, &drawn, &mut out, HELD).map_err(|e| named(e, target))?;
            out.flush().map_err(pipe_error)?;
        }
        Target::Stream(path) => {
            let out = open_stream(path).map_err(|e| write_error(target, e))?;
            let mut out = Shown::new(out);
            write(&rows, &drawn, &mut out, HELD).map_err(|e| named(e, target))?;
            out.flush().map_err(pipe_error)?;
        }
        Target::File(path) => {
            let failed = |e| write_error(path.display(), e);
            let _lock = OutputLock::acquire(path).map_err(|error| RunError::Locked {
                path: path.display().to_string(),
                error,
            })?;
            let mut out = PendingFile::create_lasting(path, &Keep::default()).map_err(failed)?;
            write(&rows, &drawn, &mut out, HELD).map_err(|e| named(e, target))?;
            let sealed = out.seal().map_err(failed)?;
            if !is_remote(path) {
                let file = sealed.finished().into();
                let record = CopiedRecord::of(file, found.rows, written).map_err(failed)?;
                forget_run(path);
                record.write().map_err(failed)?;
            }
            sealed.publish().map_err(failed)?;
        }
    }
    drop(spooled);
    Ok(Copied {
        rows: found.rows,
        unusable: found.unusable,
        written,
    })
}

/// How many rows there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Found {
    rows: u64,
    unusable: u64,
}

/// The rows drawn, in the order in which they are to be written, and how many rows there are.
fn draw(rows: &Rows, sample: &LineSample) -> Result<(Found, Vec<Span>), RunError> {
    match sample.sampler {
        Sampler::Uniform => {
            let mut best = Best::new(sample.rows);
            let found = rows.each(|identity, span| {
                best.offer(priority(sample.seed, identity), span);
            })?;
            Ok((found, best.finish(sample.shuffle)))
        }
        Sampler::Python => {
            let found = rows.each(|_, _| {})?;
            let count = sample.rows.min(found.rows);
            let numbers = PythonRandom::new(sample.seed).sample(found.rows, count);
            Ok((found, numbered(rows, &numbers)?))
        }
    }
}

/// The rows of these numbers, in this order.
fn numbered(rows: &Rows, numbers: &[u64]) -> Result<Vec<Span>, RunError> {
    let mut wanted: Vec<(u64, usize)> = numbers.iter().copied().zip(0..).collect();
    wanted.sort_unstable();
    let mut next = wanted.into_iter().peekable();
    let mut spans = vec![Span::default(); numbers.len()];
    let mut number = 0;
    rows.each(|_, span| {
        if let Some((_, place)) = next.next_if(|(wanted, _)| *wanted == number)
            && let Some(slot) = spans.get_mut(place)
        {
            *slot = span;
        }
        number += 1;
    })?;
    Ok(spans)
}

/// The rows with the smallest priorities so far, and some that may turn out not to be.
struct Best {
    wanted: usize,
    kept: Vec<(u64, Span)>,
    /// From this one on none can be among them.
    limit: Option<(u64, Span)>,
}

impl Best {
    fn new(wanted: u64) -> Self {
        Self {
            wanted: usize::try_from(wanted).unwrap_or(usize::MAX),
            kept: Vec::new(),
            limit: None,
        }
    }

    fn offer(&mut self, priority: u64, span: Span) {
        let candidate = (priority, span);
        if self.wanted == 0 || self.limit.is_some_and(|limit| candidate >= limit) {
            return;
        }
        self.kept.push(candidate);
        if self.kept.len() >= self.wanted.saturating_mul(2).max(1024) {
            self.trim();
        }
    }

    fn trim(&mut self) {
        if self.kept.len() > self.wanted {
            let (_, limit, _) = self.kept.select_nth_unstable(self.wanted);
            self.limit = Some(*limit);
            self.kept.truncate(self.wanted);
        }
    }

    fn finish(mut self, by_priority: bool) -> Vec<Span> {
        self.trim();
        if by_priority {
            self.kept.sort_unstable();
        }
        let mut spans: Vec<Span> = self.kept.into_iter().map(|kept| kept.1).collect();
        if !by_priority {
            spans.sort_unstable();
        }
        spans
    }
}

/// Writes `drawn` in its order. Out of order, rows are set aside as they come by: in memory up to
/// `held` bytes, else on disk.
fn write(rows: &Rows, drawn: &[Span], out: &mut impl Write, held: u64) -> Result<(), RunError> {
    let mut out = Blocks::new(out);
    if drawn.is_sorted() {
        rows.fetch(drawn, |row| out.line(row).map_err(pipe_error))?;
        return out.flush().map_err(pipe_error);
    }
    let mut order: Vec<u32> = (0_u32..).take(drawn.len()).collect();
    let span_of = |at: u32| drawn.get(at as usize).copied().unwrap_or_default();
    order.sort_unstable_by_key(|&at| span_of(at));
    let sorted: Vec<Span> = order.iter().map(|&at| span_of(at)).collect();
    // For each row to write, where it comes by.
    let mut ordinals = vec![0_u32; drawn.len()];
    for (ordinal, &at) in (0_u32..).zip(&order) {
        if let Some(slot) = ordinals.get_mut(at as usize) {
            *slot = ordinal;
        }
    }
    if drawn.iter().map(|span| span.length).sum::<u64>() <= held {
        let mut ends = Vec::with_capacity(drawn.len());
        let mut bytes = Vec::new();
        rows.fetch(&sorted, |row| {
            bytes.extend_from_slice(row);
            ends.push(bytes.len());
            Ok(())
        })?;
        for ordinal in ordinals {
            let ordinal = ordinal as usize;
            let start = ordinal.checked_sub(1).and_then(|i| ends.get(i));
            let range = start.copied().unwrap_or(0)..ends.get(ordinal).copied().unwrap_or(0);
            out.line(bytes.get(range).unwrap_or_default())
                .map_err(pipe_error)?;
        }
        return out.flush().map_err(pipe_error);
    }
    let failed = |e| write_error(std::env::temp_dir().display(), e);
    let workspace = Workspace::nameless(std::env::temp_dir());
    let mut aside = StoreWriter::open(&workspace, "drawn").map_err(failed)?;
    rows.fetch(&sorted, |row| aside.push(row).map(drop).map_err(failed))?;
    let aside = aside.finish().map_err(failed)?;
    let mut row = Vec::new();
    for ordinal in ordinals {
        aside.read(ordinal, &mut row).map_err(failed)?;
        out.line(&row).map_err(pipe_error)?;
    }
    out.flush().map_err(pipe_error)
}

/// Gathers lines into large writes.
struct Blocks<'a, W> {
    out: &'a mut W,
    block: Vec<u8>,
}

impl<'a, W: Write> Blocks<'a, W> {
    fn new(out: &'a mut W) -> Self {
        Self {
            out,
            block: Vec::with_capacity(OUT_BLOCK + OUT_BLOCK / 8),
        }
    }

    fn line(&mut self, row: &[u8]) -> io::Result<()> {
        self.block.extend_from_slice(row);
        self.block.push(b'\n');
        if self.block.len() >= OUT_BLOCK {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }
}

/// The rows of inputs that can be read again.
struct Rows(Vec<Input>);

impl Rows {
    /// Calls `see` with the identity of every row, which is the offset of its first byte in all
    /// inputs laid end to end, and where it lies.
    fn each(&self, mut see: impl FnMut(u64, Span)) -> Result<Found, RunError> {
        let mut found = Found::default();
        let mut base = 0;
        for (file, input) in self.0.iter().enumerate() {
            let failed = |e| read_error(input, e);
            let mut reader = input.source().open(Split::default())?;
            let mut start = reader.place().bytes;
            while let Some(row) = reader.pass().map_err(failed)? {
                let end = reader.place().bytes;
                if row.problem.is_none() {
                    found.rows += 1;
                    let span = Span {
                        file,
                        start,
                        length: end - start,
                    };
                    see(base + row.offset, span);
                } else {
                    found.unusable += 1;
                }
                start = end;
            }
            base += reader.extent();
        }
        Ok(found)
    }

    /// Calls `see` with the bytes of `spans`, which are sorted.
    fn fetch(
        &self,
        spans: &[Span],
        mut see: impl FnMut(&[u8]) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        let mut row = Vec::new();
        for spans in spans.chunk_by(|a, b| a.file == b.file) {
            let Some(input) = spans.first().and_then(|span| self.0.get(span.file)) else {
                continue;
            };
            let mut reader = input.source().open(Split::default())?;
            for span in spans {
                row.clear();
                read_at(reader.as_mut(), span.start, &mut row).map_err(|e| read_error(input, e))?;
                see(&row)?;
            }
        }
        Ok(())
    }
}

/// Appends the row behind the first `start` bytes, whatever its length.
fn read_at(reader: &mut dyn RowReader, start: u64, row: &mut Vec<u8>) -> io::Result<()> {
    // Its number is of no use here.
    let place = Place {
        bytes: start,
        rows: 0,
    };
    reader.skip_to(place)?;
    match reader.next(row, usize::MAX)? {
        Some(_) => Ok(()),
        None => Err(io::Error::other(
            "the file became shorter while it was read",
        )),
    }
}

/// What an input holds that can be read once only, in a file; `None` if it can be read again.
fn spool(input: &Input) -> Result<Option<tempfile::NamedTempFile>, RunError> {
    if let Some(path) = input.path() {
        let regular = std::fs::metadata(path).map(|metadata| metadata.is_file());
        if regular.map_err(|e| read_error(input, e))? {
            return Ok(None);
        }
    }
    let Some(opened) = input.look()? else {
        return Ok(None);
    };
    let mut bytes = opened.into_bytes();
    let copied = tempfile::NamedTempFile::new().and_then(|mut file| {
        // A byte order mark counts where rows begin.
        let mark = usize::try_from(bytes.position()).unwrap_or(0);
        file.write_all(b"\xEF\xBB\xBF".get(..mark).unwrap_or_default())?;
        io::copy(&mut bytes, &mut file)?;
        file.rewind()?;
        Ok(file)
    });
    copied.map(Some).map_err(|e| read_error(input, e))
}

fn read_error(input: &Input, error: io::Error) -> RunError {
    SourceError::Io {
        name: input.name(),
        error,
    }
    .into()
}

/// What the output is called as long as nobody knows better.
const OUTPUT: &str = "output";

/// The error with the name of the output.
fn named(error: RunError, target: &Target) -> RunError {
    match error {
        RunError::Write { path, error } if path == OUTPUT => write_error(target, error),
        other => other,
    }
}

fn pipe_error(error: io::Error) -> RunError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        RunError::BrokenPipe
    } else {
        write_error(OUTPUT, error)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::io::LineSource;

    fn file(suffix: &str, content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    /// Identities and bytes of all rows, in blocks and as runs read them.
    fn both(files: &[&tempfile::NamedTempFile]) -> [Vec<(u64, Vec<u8>)>; 2] {
        let inputs: Vec<Input> = files
            .iter()
            .map(|f| Input::File(f.path().to_owned()))
            .collect();
        let mut plain = Vec::new();
        let mut source = LineSource::new(inputs.clone());
        while let Some(batch) = source.next_batch(7, 1 << 20).unwrap() {
            for line in &batch.lines {
                plain.push((line.origin.offset, batch.bytes(line).to_vec()));
            }
        }
        let rows = Rows(inputs);
        let (mut identities, mut spans, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        rows.each(|identity, span| {
            identities.push(identity);
            spans.push(span);
        })
        .unwrap();
        rows.fetch(&spans, |row| {
            bytes.push(row.to_vec());
            Ok(())
        })
        .unwrap();
        [plain, identities.into_iter().zip(bytes).collect()]
    }

    proptest! {
        #[test]
        fn blocks_give_the_rows_that_runs_read(
            // What has no object at its beginning is no file of rows, unless it is blank.
            contents in prop::collection::vec(
                "\u{feff}?(\\{\\}\n([ab]{0,4}[ \r]?\n){0,5}[ c]{0,3}|[ \r\n]{0,3})",
                1..4,
            ),
        ) {
            let files: Vec<_> = contents.iter().map(|c| file(".jsonl", c.as_bytes())).collect();
            let [plain, fast] = both(&files.iter().collect::<Vec<_>>());
            prop_assert_eq!(plain, fast);
        }
    }

    #[test]
    fn rows_longer_than_a_block_are_whole() {
        let long = "x".repeat((2 << 20) + 77);
        let lines = file(".jsonl", format!("{{}}\n{long}\n\nb\n{long}").as_bytes());
        let array = file(".json", b"[{}, 1]");
        let [plain, fast] = both(&[&lines]);
        assert!(plain == fast && plain.len() == 4);
        let [plain, fast] = both(&[&lines, &array, &lines]);
        assert!(plain == fast && plain.len() == 10);
    }

    #[test]
    fn rows_wait_in_memory_or_on_disk_alike() {
        let mut content = String::new();
        for i in 0..3000 {
            let _ = writeln!(content, "{{\"n\": {i}}}");
        }
        let input = file(".jsonl", content.as_bytes());
        let rows = Rows(vec![Input::File(input.path().to_owned())]);
        let sample = LineSample {
            rows: 1000,
            seed: 5,
            sampler: Sampler::Uniform,
            shuffle: true,
        };
        let (count, drawn) = draw(&rows, &sample).unwrap();
        assert_eq!((count.rows, drawn.len()), (3000, 1000));
        let (mut memory, mut disk) = (Vec::new(), Vec::new());
        write(&rows, &drawn, &mut memory, HELD).unwrap();
        write(&rows, &drawn, &mut disk, 0).unwrap();
        assert!(memory == disk && memory.len() > 10_000);
    }

    #[test]
    fn the_best_are_the_smallest_in_any_order() {
        let priorities = |seed| (0..5000).map(move |i| priority(seed, i) % 1000);
        for wanted in [0, 1, 700, 4999, 5000, 6000] {
            let mut best = Best::new(wanted);
            let mut all = Vec::new();
            for (priority, start) in priorities(3).zip(0..) {
                let span = Span {
                    start,
                    ..Span::default()
                };
                best.offer(priority, span);
                all.push((priority, span));
            }
            all.sort_unstable();
            all.truncate(usize::try_from(wanted).unwrap());
            let all: Vec<Span> = all.into_iter().map(|kept| kept.1).collect();
            assert_eq!(best.finish(true), all);
        }
    }
}
