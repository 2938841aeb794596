//! Subsets of files whose rows nobody needs to understand: lines are drawn and copied as they are.

use std::collections::BinaryHeap;
use std::io::{self, Seek, Write};

use super::store::StoreWriter;
use super::{RunError, write_error};
use crate::hash::{PythonRandom, priority};
use crate::io::{Input, LineSource, PendingFile};
use crate::recipe::{Inputs, Sampler, Target};

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
    /// Rows written.
    pub written: u64,
}

/// Draws rows of `inputs` and writes them to `target`, byte for byte.
///
/// The inputs are read twice: once to draw, once to copy. Memory grows with the sample only.
///
/// # Errors
/// If an input cannot be read or the output cannot be written.
pub fn copy(inputs: &Inputs, target: &Target, sample: &LineSample) -> Result<Copied, RunError> {
    // A pipe can be read once only, so it is put into a file first.
    let mut spooled = None;
    let files: Vec<Input> = match inputs {
        Inputs::Files(files) => files.iter().cloned().map(Input::File).collect(),
        Inputs::Stdin => {
            let file = spool().map_err(|e| write_error("standard input", e))?;
            let path = file.path().to_owned();
            spooled = Some(file);
            vec![Input::File(path)]
        }
    };
    let (rows, drawn) = draw(&files, sample)?;
    let written = drawn.len() as u64;
    match target {
        Target::Stdout => {
            let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
            let outcome =
                write(&files, drawn, &mut out).and_then(|()| out.flush().map_err(pipe_error));
            outcome?;
        }
        Target::File(path) => {
            let failed = |e| write_error(path.display(), e);
            let mut out = PendingFile::create(path).map_err(failed)?;
            write(&files, drawn, &mut out)?;
            out.commit().map_err(failed)?;
        }
    }
    drop(spooled);
    Ok(Copied { rows, written })
}

/// Row numbers in the order they are to be written, and how many rows there are.
fn draw(files: &[Input], sample: &LineSample) -> Result<(u64, Vec<u64>), RunError> {
    let wanted = usize::try_from(sample.rows).unwrap_or(usize::MAX);
    let uniform = sample.sampler == Sampler::Uniform;
    let mut rows = 0_u64;
    // The rows with the smallest priorities, the largest of them on top.
    let mut best: BinaryHeap<(u64, u64, u64)> = BinaryHeap::new();
    each_row(files, |offset, _| {
        if uniform && wanted > 0 {
            let key = (priority(sample.seed, offset), offset, rows);
            if best.len() < wanted {
                best.push(key);
            } else if best.peek().is_some_and(|worst| key < *worst) {
                best.pop();
                best.push(key);
            }
        }
        rows += 1;
        Ok(())
    })?;
    let drawn = if uniform {
        let mut numbers: Vec<u64> = best
            .into_sorted_vec()
            .into_iter()
            .map(|key| key.2)
            .collect();
        if !sample.shuffle {
            numbers.sort_unstable();
        }
        numbers
    } else {
        PythonRandom::new(sample.seed).sample(rows, sample.rows.min(rows))
    };
    Ok((rows, drawn))
}

fn write(files: &[Input], drawn: Vec<u64>, out: &mut impl Write) -> Result<(), RunError> {
    let in_order = drawn.is_sorted();
    let mut by_number: Vec<(u64, u32)> = drawn.iter().copied().zip(0_u32..).collect();
    by_number.sort_unstable();
    let mut next = by_number.iter().peekable();
    let mut number = 0_u64;
    // Out of order, rows are set aside as they come by and written in a second go.
    let aside_error = |e| write_error(std::env::temp_dir().display(), e);
    let mut aside = None;
    if !in_order {
        aside = Some(StoreWriter::create(&std::env::temp_dir()).map_err(aside_error)?);
    }
    each_row(files, |_, bytes| {
        if next.next_if(|(wanted, _)| *wanted == number).is_some() {
            match &mut aside {
                Some(store) => store.push(bytes).map(|_| ()).map_err(aside_error)?,
                None => out
                    .write_all(bytes)
                    .and_then(|()| out.write_all(b"\n"))
                    .map_err(pipe_error)?,
            }
        }
        number += 1;
        Ok(())
    })?;
    if let Some(store) = aside {
        let store = store.finish().map_err(aside_error)?;
        let mut place = vec![0_u32; drawn.len()];
        for (ordinal, (_, position)) in (0_u32..).zip(&by_number) {
            if let Some(slot) = place.get_mut(*position as usize) {
                *slot = ordinal;
            }
        }
        let mut row = Vec::new();
        for ordinal in place {
            store.read(ordinal, &mut row).map_err(aside_error)?;
            out.write_all(&row)
                .and_then(|()| out.write_all(b"\n"))
                .map_err(pipe_error)?;
        }
    }
    Ok(())
}

/// Calls `see` with the identity and the bytes of every row.
fn each_row(
    files: &[Input],
    mut see: impl FnMut(u64, &[u8]) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let mut source = LineSource::new(files.to_vec());
    while let Some(batch) = source.next_batch(4096, 1 << 20)? {
        for line in &batch.lines {
            see(line.origin.offset, batch.bytes(line))?;
        }
    }
    Ok(())
}

fn spool() -> io::Result<tempfile::NamedTempFile> {
    // The suffix keeps the reader from taking an array for lines or the other way round.
    let mut file = tempfile::Builder::new().suffix(".jsonl").tempfile()?;
    io::copy(&mut io::stdin().lock(), &mut file)?;
    file.rewind()?;
    Ok(file)
}

fn pipe_error(error: io::Error) -> RunError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        RunError::BrokenPipe
    } else {
        write_error("output", error)
    }
}
