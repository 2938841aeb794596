//! Fewer segments: the newest merged into one, and records that are too old or too many left out.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use super::segment::{ENTRY, IndexWriter, Place, Places, Segment, index_path};
use super::{Opened, log, log_path, logs, now, number_of, open_one, run_name};

/// More segments than these are merged.
const MOST: usize = 8;

/// So many are left then, or fewer.
const FEW: usize = 4;

/// What may stay in a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all its files: the oldest results go first.
    pub max_bytes: Option<u64>,
    /// How long ago a result may have been written.
    pub max_age: Option<Duration>,
}

/// What a clean-up did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes after.
    pub bytes_after: u64,
    /// Results before; of one that is there twice both are counted.
    pub results_before: u64,
    /// Results after.
    pub results_after: u64,
    /// Logs that runs are writing, which were left alone.
    pub live: usize,
}

/// Merges the newest segments of `dir` if there are many. If another run does so already, nothing
/// is done.
///
/// # Errors
/// If the cache cannot be read or written.
pub fn few(dir: &Path) -> io::Result<()> {
    if logs(dir)?.len() <= MOST {
        return Ok(());
    }
    let Some(_lock) = lock(dir, false)? else {
        return Ok(());
    };
    let mut segments = Vec::new();
    for log in logs(dir)? {
        if let Opened::Segment(segment) = open_one(&log.path)? {
            segments.push(segment);
        }
    }
    if segments.len() <= MOST {
        return Ok(());
    }
    // A large old segment is not written again for a few small new ones.
    let (mut count, mut bytes) = (0, 0);
    for segment in &segments {
        if segments.len() - count < FEW && segment.bytes() > bytes * 2 {
            break;
        }
        count += 1;
        bytes += segment.bytes();
    }
    segments.truncate(count);
    merge(dir, &segments, |_| true)
}

/// Leaves out of the cache in `dir` what `limits` forbid, and what is damaged; the rest becomes
/// one segment. Waits for another run that merges.
///
/// # Errors
/// If the cache cannot be read or written.
pub fn clean(dir: &Path, limits: Limits) -> io::Result<Cleaned> {
    let _lock = lock(dir, true)?;
    let mut cleaned = Cleaned::default();
    let mut segments = Vec::new();
    for log in logs(dir)? {
        match salvage(&log.path)? {
            Opened::Segment(segment) => segments.push(segment),
            Opened::Live => cleaned.live += 1,
            Opened::Gone => {}
            Opened::Damaged(_) => {
                cleaned.bytes_before += fs::metadata(&log.path)?.len();
                remove(&log.path)?;
            }
        }
    }
    cleaned.bytes_before += segments.iter().map(Segment::bytes).sum::<u64>();
    cleaned.results_before = segments.iter().map(Segment::entries).sum();
    let oldest = oldest(&segments, limits)?;
    merge(dir, &segments, |head| head.written >= oldest)?;
    drop(segments);
    for log in logs(dir)? {
        if let Opened::Segment(segment) = open_one(&log.path)? {
            cleaned.bytes_after += segment.bytes();
            cleaned.results_after += segment.entries();
        }
    }
    Ok(cleaned)
}

/// Opens a segment; of one that is damaged the records before the damage.
fn salvage(path: &Path) -> io::Result<Opened> {
    let mut opened = open_one(path)?;
    if matches!(opened, Opened::Damaged(_)) {
        let _ = fs::remove_file(index_path(path));
        opened = open_one(path)?;
        if matches!(opened, Opened::Damaged(_)) {
            opened = open_one(path)?;
        }
    }
    Ok(opened)
}

/// The second since which results were written that may stay.
fn oldest(segments: &[Segment], limits: Limits) -> io::Result<u32> {
    let age = limits
        .max_age
        .map(|age| u32::try_from(age.as_secs()).unwrap_or(u32::MAX));
    let mut oldest = age.map_or(0, |age| now().saturating_sub(age));
    let Some(most) = limits.max_bytes else {
        return Ok(oldest);
    };
    let mut by_second: BTreeMap<u32, u64> = BTreeMap::new();
    for segment in segments {
        let Some(mut scan) = segment.scan()? else {
            continue;
        };
        while let log::Next::Record(_, head) = scan.next()? {
            *by_second.entry(head.written).or_default() += head.bytes() + ENTRY as u64;
        }
    }
    let mut sum = 0;
    for (second, bytes) in by_second.into_iter().rev() {
        sum += bytes;
        if sum > most {
            oldest = oldest.max(second.saturating_add(1));
            break;
        }
    }
    Ok(oldest)
}

/// Makes one segment of `segments`, newest first, without records that are damaged or not to be
/// kept. If it cannot be written, nothing of it is left, and the error names it.
fn merge(dir: &Path, segments: &[Segment], keep: impl Fn(&log::Head) -> bool) -> io::Result<()> {
    let Some(newest) = segments.first() else {
        return Ok(());
    };
    let stem = newest.path.file_stem().and_then(|stem| stem.to_str());
    let number = stem.and_then(number_of).unwrap_or(0);
    let path = log_path(dir, number, &run_name());
    // Without the name of a log nobody looks at it.
    let part = dir.join("merging.part");
    write_merged(segments, keep, &path, &part).map_err(|error| {
        let _ = fs::remove_file(&part);
        let _ = fs::remove_file(path.with_extension("idx.part"));
        let name = path.file_name().unwrap_or_default();
        io::Error::new(error.kind(), format!("{}: {error}", name.display()))
    })?;
    File::open(dir)?.sync_all()?;
    for segment in segments {
        remove(&segment.path)?;
    }
    Ok(())
}

/// Writes the records of `segments` that are sound and to be kept to `part`, and names it `path` if
/// there are any.
fn write_merged(
    segments: &[Segment],
    keep: impl Fn(&log::Head) -> bool,
    path: &Path,
    part: &Path,
) -> io::Result<()> {
    let file = File::create(part)?;
    let mut out = BufWriter::with_capacity(1 << 17, file);
    out.write_all(log::MAGIC)?;
    let mut end = log::MAGIC.len() as u64;
    let mut index = IndexWriter::begin(path)?;
    let mut heads = Vec::with_capacity(segments.len());
    for segment in segments {
        let mut places = segment.places()?;
        let next = places.next()?;
        heads.push((places, next));
    }
    let mut record = Vec::new();
    let mut last = None;
    while let Some((number, place, offset)) = least(&mut heads)? {
        let Some(segment) = segments.get(number).filter(|_| last != Some(place)) else {
            continue;
        };
        let Some((head, value)) = segment.record(offset)? else {
            continue;
        };
        // What an older segment has of this place is older.
        last = Some(place);
        if head.key.place() != place || !keep(&head) {
            continue;
        }
        record.clear();
        log::encode(head.key, head.written, &value, &mut record)?;
        out.write_all(&record)?;
        index.push(place, end)?;
        end += record.len() as u64;
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_data()?;
    if end > log::MAGIC.len() as u64 {
        index.finish(path, end)?;
        fs::rename(part, path)?;
    } else {
        drop(index);
        fs::remove_file(part)?;
        let _ = fs::remove_file(path.with_extension("idx.part"));
    }
    Ok(())
}

/// Takes the least place of all; of one that several have, that of the first.
fn least(
    heads: &mut [(Places<'_>, Option<(Place, u64)>)],
) -> io::Result<Option<(usize, Place, u64)>> {
    let next = heads.iter().enumerate();
    let next = next.filter_map(|(number, (_, head))| head.map(|(place, _)| (place, number)));
    let Some((_, number)) = next.min() else {
        return Ok(None);
    };
    let Some((places, head)) = heads.get_mut(number) else {
        return Ok(None);
    };
    let taken = std::mem::replace(head, places.next()?);
    Ok(taken.map(|(place, offset)| (number, place, offset)))
}

/// Removes a segment: first the log, without which nobody asks for the rest.
fn remove(path: &Path) -> io::Result<()> {
    for path in [path, &index_path(path)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The lock that who merges holds; `None` if another does and is not waited for. What merges that
/// were killed have left is removed.
fn lock(dir: &Path, wait: bool) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join("lock"))?;
    if wait {
        file.lock()?;
    } else if file.try_lock().is_err() {
        return Ok(None);
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let stem = name.and_then(|name| {
            let stem = name.strip_suffix(".idx.part");
            stem.or_else(|| name.strip_suffix(".idx"))
        });
        let alone = stem.is_some_and(|stem| {
            number_of(stem).is_some() && !dir.join(format!("{stem}.log")).exists()
        });
        if alone {
            fs::remove_file(path)?;
        }
    }
    Ok(Some(file))
}
