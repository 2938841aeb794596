//! Where the rows are from that stand for others. While a run goes on, the ledger's line of a duplicate
//! or of a merged row names the other row by its identity alone: its line may be anywhere. Once all lines
//! are there, each such line is told where the other row is from.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use rayon::ThreadPool;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::LedgerEntry;
use super::ledger::FRAME;
use crate::io::Log;

/// Where a row is from that stands for another one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Original<'a> {
    /// Index of the input in the manifest, from 0.
    pub file: u32,
    /// Line in it, from 1 (the element's number in a JSON array).
    pub line: u64,
    /// Its `id` as JSON text, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub id: Option<Cow<'a, RawValue>>,
}

/// How a line names the row that stands for it.
static NAMES: LazyLock<[Finder<'static>; 2]> = LazyLock::new(|| {
    let names = [",\"duplicate_of\":", ",\"merged_into\":"];
    names.map(Finder::new)
});

/// What stands before the identity of a line's own row. No id stands before it.
static OFFSET: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"offset\":"));

/// How much is read at a time to find the end of a line.
const MORE: usize = 4096;

/// Where the lines of the rows that others name lie in a ledger that is not packed yet: 16 bytes for
/// each of these rows.
pub struct Originals {
    /// Their identities, ascending.
    offsets: Vec<u64>,
    /// Where the first line of each begins; `u64::MAX` if it has none.
    places: Vec<u64>,
}

impl Originals {
    /// Looks through all lines.
    ///
    /// # Errors
    /// If they cannot be read back.
    pub fn find(log: &Log, pool: &ThreadPool) -> io::Result<Self> {
        let blocks = log.len().div_ceil(FRAME);
        let named = |block: u64| -> io::Result<Vec<u64>> {
            let (_, bytes) = lines_of(log, block)?;
            let naming = naming(&bytes).into_iter();
            Ok(naming.filter_map(|line| other(bytes.get(line)?)).collect())
        };
        let found: io::Result<Vec<Vec<u64>>> =
            pool.install(|| (0..blocks).into_par_iter().map(named).collect());
        let mut offsets = found?.concat();
        offsets.sort_unstable();
        offsets.dedup();
        let mut places = vec![u64::MAX; offsets.len()];
        if offsets.is_empty() {
            return Ok(Self { offsets, places });
        }
        let wanted_in = |block: u64| -> io::Result<Vec<(usize, u64)>> {
            let (start, bytes) = lines_of(log, block)?;
            let wanted = |(at, line): (usize, &[u8])| {
                let index = offsets.binary_search(&own_offset(line)?).ok()?;
                Some((index, start + at as u64))
            };
            Ok(lines(&bytes).filter_map(wanted).collect())
        };
        let found: io::Result<Vec<_>> =
            pool.install(|| (0..blocks).into_par_iter().map(wanted_in).collect());
        for (index, place) in found?.into_iter().flatten() {
            if let Some(first) = places.get_mut(index) {
                // A row that fell into parts has several.
                *first = place.min(*first);
            }
        }
        Ok(Self { offsets, places })
    }

    /// Whether no line names another row.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The lines that begin in a block of the ledger, each with what is to be told of the row it names.
    ///
    /// # Errors
    /// If they cannot be read back.
    pub fn told(&self, log: &Log, block: u64) -> io::Result<Vec<u8>> {
        let (_, bytes) = lines_of(log, block)?;
        let mut out = Vec::with_capacity(bytes.len());
        let mut copied = 0;
        for range in naming(&bytes) {
            let line = bytes.get(range.clone()).unwrap_or_default();
            let original = other(line).map(|offset| self.line_of(log, offset));
            let original = original.transpose()?.flatten();
            let open = range.end.saturating_sub(b"}\n".len());
            if let (Some(original), true) = (original, line.ends_with(b"}\n")) {
                out.extend_from_slice(bytes.get(copied..open).unwrap_or_default());
                out.extend_from_slice(b",\"original\":");
                out.extend_from_slice(&original);
                copied = open;
            }
        }
        out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
        Ok(out)
    }

    /// What is told of the row with this identity, as JSON.
    fn line_of(&self, log: &Log, offset: u64) -> io::Result<Option<Vec<u8>>> {
        let index = self.offsets.binary_search(&offset).ok();
        let place = index.and_then(|index| self.places.get(index));
        let Some(&place) = place.filter(|place| **place != u64::MAX) else {
            return Ok(None);
        };
        let mut line = Vec::new();
        read_line(log, place, &mut line)?;
        let entry: LedgerEntry<'_> = serde_json::from_slice(&line)?;
        let original = Original {
            file: entry.file,
            line: entry.line,
            id: entry.id,
        };
        Ok(Some(serde_json::to_vec(&original)?))
    }
}

/// Lines, each with its newline, and where they begin.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(move |line| {
            let begins = at;
            at += line.len();
            (begins, line)
        })
}

/// Where the lines are that may name another row: what a value holds may look so, too.
fn naming(bytes: &[u8]) -> Vec<Range<usize>> {
    let hits = NAMES.iter().flat_map(|name| name.find_iter(bytes));
    let mut hits: Vec<usize> = hits.collect();
    hits.sort_unstable();
    let mut found: Vec<Range<usize>> = Vec::new();
    for hit in hits {
        if found.last().is_some_and(|line| line.contains(&hit)) {
            continue;
        }
        let (before, behind) = bytes.split_at(hit);
        let start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let end = memchr::memchr(b'\n', behind).map_or(bytes.len(), |newline| hit + newline + 1);
        found.push(start..end);
    }
    found
}

/// The row that a line names, if it names one: the line is read as a whole.
fn other(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<LedgerEntry<'_>>(line)
        .ok()?
        .other()
}

/// The identity of a line's own row.
fn own_offset(line: &[u8]) -> Option<u64> {
    let digits = line.get(OFFSET.find(line)? + OFFSET.needle().len()..)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

/// The lines that begin in a block, and where the first of them begins.
fn lines_of(log: &Log, block: u64) -> io::Result<(u64, Vec<u8>)> {
    let start = block * FRAME;
    let end = (start + FRAME).min(log.len());
    // A line begins behind the newline before it.
    let from = start.saturating_sub(1);
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(from)).unwrap_or(0)];
    log.read_exact_at(&mut bytes, from)?;
    if start > 0 {
        let newline = memchr::memchr(b'\n', &bytes);
        let before = newline.map_or(bytes.len(), |newline| newline + 1);
        bytes.drain(..before);
        if bytes.is_empty() {
            return Ok((end, bytes));
        }
    }
    let first = end - bytes.len() as u64;
    if bytes.last().is_some_and(|last| *last != b'\n') {
        read_line(log, end, &mut bytes)?;
    }
    Ok((first, bytes))
}

/// Appends the bytes from `place` on as far as the next newline.
fn read_line(log: &Log, place: u64, line: &mut Vec<u8>) -> io::Result<()> {
    let mut at = place;
    while at < log.len() {
        let more = usize::try_from(log.len() - at).unwrap_or(MORE).min(MORE);
        let known = line.len();
        line.resize(known + more, 0);
        log.read_exact_at(line.get_mut(known..).unwrap_or_default(), at)?;
        let newline = memchr::memchr(b'\n', line.get(known..).unwrap_or_default());
        if let Some(newline) = newline {
            line.truncate(known + newline + 1);
            break;
        }
        at += more as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Workspace;

    /// Lines with ids of all lengths around the ends of blocks.
    fn log(lines: &[String]) -> Log {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Workspace::nameless(dir.path().to_owned())
            .log("ledger")
            .unwrap();
        for line in lines {
            log.append(line.as_bytes()).unwrap();
        }
        log.flush().unwrap();
        log
    }

    #[test]
    fn each_line_is_in_one_block_and_told_what_it_names() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(3)
            .build()
            .unwrap();
        let mut lines = Vec::new();
        for n in 0..9000_u64 {
            let id = "x".repeat(usize::try_from(n * 7 % 200).unwrap());
            let line = n + 1;
            let rest = match n % 3 {
                0 => String::new(),
                // The other row stands behind it, or before, or nowhere.
                1 => format!(",\"duplicate_of\":{}", (n * 13 % 9000) * 10),
                _ => format!(",\"merged_into\":{}", 1_000_000),
            };
            lines.push(format!(
                "{{\"file\":1,\"line\":{line},\"offset\":{},\"id\":\"{id}\",\"fate\":\"kept\"{rest}}}\n",
                n * 10
            ));
        }
        // What only looks so.
        lines.push("{\"file\":1,\"line\":1,\"offset\":5,\"id\":\",\\\"duplicate_of\\\":0\",\"fate\":\"dropped\",\"value\":{\"a\":1,\"duplicate_of\":0}}\n".into());
        let log = log(&lines);
        assert!(log.len() > 2 * FRAME);
        let originals = Originals::find(&log, &pool).unwrap();
        let blocks = 0..log.len().div_ceil(FRAME);
        let told: Vec<u8> = blocks
            .flat_map(|it| originals.told(&log, it).unwrap())
            .collect();
        let told = String::from_utf8(told).unwrap();
        let told: Vec<&str> = told.split_inclusive('\n').collect();
        assert_eq!(told.len(), lines.len());
        for (told, line) in told.iter().zip(&lines) {
            let is: Value = serde_json::from_str(told).unwrap();
            let Some(other) = is.get("duplicate_of").and_then(Value::as_u64) else {
                assert_eq!(told, line);
                continue;
            };
            let mut was: Value = serde_json::from_str(line).unwrap();
            let n = other / 10;
            was["original"] = serde_json::json!({
                "file": 1, "line": n + 1, "id": "x".repeat(usize::try_from(n * 7 % 200).unwrap()),
            });
            assert_eq!(is, was);
        }
    }
}
