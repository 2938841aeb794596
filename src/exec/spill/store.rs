//! Rows set aside on disk between phases: written once in order, read back in any order.
//!
//! Eight bytes a row are resident: where its frame ends.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::io::workspace::{Lengths, each_record, next_block};
use crate::io::{Log, Workspace};
use crate::note::Codes;
use crate::sample::{
    Attachment, Changed, ImageContext, Origin, RowError, Sample, StatValue, Stats,
};

/// A row is known to have images that decode, so that nothing needs to check them again.
const FLAG_IMAGES_DECODE: u8 = 1;
/// Something was measured.
const FLAG_STATS: u8 = 2;
/// Something came with the row.
const FLAG_ATTACHED: u8 = 4;
/// Steps noted something of the row.
const FLAG_REMARKED: u8 = 8;
/// Some fields are not as the input has them: their names are stored.
const FLAG_CHANGED: u8 = 16;
/// The row was made of several.
const FLAG_MADE: u8 = 32;

/// Bytes between two rows that are read for nothing rather than ask the system twice.
const GAP: u64 = 1 << 11;

/// Bytes that are read together, unless a row has more.
const TOGETHER: u64 = 1 << 18;

/// Appends rows to a log.
pub struct StoreWriter {
    frames: Log,
    ends: Vec<u64>,
    /// `ends` on disk, if another process could go on with them.
    ends_log: Option<Log>,
}

/// Rows that were set aside; shared by worker threads.
pub struct Store {
    frames: Log,
    ends: Vec<u64>,
}

/// Rows of a store, in an order of their own; some may come more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picks {
    /// Their ordinals.
    pub rows: Vec<u32>,
    /// How often each came before; empty if no row comes twice.
    before: Vec<u32>,
    /// How far the numbers of the copies of a row are apart.
    apart: u64,
}

impl Picks {
    /// These rows, each of which comes once.
    #[must_use]
    pub fn once(rows: Vec<u32>) -> Self {
        Self {
            rows,
            before: Vec::new(),
            apart: 1,
        }
    }

    /// These rows, some of which may come more than once. The copies of a row are numbered in their
    /// order, its own number and `apart`, twice `apart`, … more: so many numbers there are already.
    #[must_use]
    pub fn numbered(rows: Vec<u32>, apart: u64) -> Self {
        let most = rows.iter().max().map_or(0, |most| *most as usize + 1);
        let mut seen = vec![0_u32; most];
        let mut next = |row: &u32| {
            let slot = seen.get_mut(*row as usize)?;
            *slot += 1;
            Some(*slot - 1)
        };
        let mut before: Vec<u32> = rows.iter().filter_map(&mut next).collect();
        if before.iter().all(|times| *times == 0) {
            before.clear();
        }
        Self {
            rows,
            before,
            apart,
        }
    }

    /// How often the row comes that comes most often.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.before
            .iter()
            .max()
            .map_or(1, |most| u64::from(*most) + 1)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// How much greater the number of the one at `index` is than that of its row; `None` if no row comes
    /// twice.
    #[must_use]
    pub fn copy(&self, index: usize) -> Option<u64> {
        let before = self.before.get(index).copied()?;
        Some(u64::from(before).wrapping_mul(self.apart))
    }

    /// Those in a range.
    #[must_use]
    pub fn within(&self, range: Range<usize>) -> Self {
        let of = |list: &[u32]| list.get(range.clone()).unwrap_or_default().to_vec();
        Self {
            rows: of(&self.rows),
            before: of(&self.before),
            apart: self.apart,
        }
    }
}

impl StoreWriter {
    /// The store `name`: empty, or with the rows that an earlier process made durable.
    ///
    /// # Errors
    /// If its files cannot be opened.
    pub fn open(workspace: &Workspace, name: &str) -> io::Result<Self> {
        let frames = workspace.log(&format!("{name}.rows"))?.beside();
        let mut ends_log = workspace.log_if_kept(&format!("{name}.ends"))?;
        let mut ends = Vec::new();
        if let Some(log) = &mut ends_log {
            each_record(&mut log.replay()?, |word| {
                ends.push(u64::from_le_bytes(word));
            })?;
        }
        Ok(Self {
            frames,
            ends,
            ends_log,
        })
    }

    /// Removes the store `name`, which nothing will read again.
    pub fn remove(workspace: &Workspace, name: &str) {
        workspace.remove(&format!("{name}.rows"));
        workspace.remove(&format!("{name}.ends"));
    }

    /// The bytes of the rows so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.frames.len()
    }

    /// Appends the frame of one row and returns its ordinal.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push(&mut self, frame: &[u8]) -> io::Result<u32> {
        let ordinal = u32::try_from(self.ends.len())
            .map_err(|_| io::Error::other("more than 2^32 rows before an exchange"))?;
        self.frames.append(frame)?;
        let end = self.frames.len();
        self.ends.push(end);
        if let Some(log) = &mut self.ends_log {
            log.append(&end.to_le_bytes())?;
        }
        Ok(ordinal)
    }

    /// How many rows were set aside.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Makes the rows durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.frames.sync(lengths)?;
        self.ends_log
            .as_mut()
            .map_or(Ok(()), |log| log.sync(lengths))
    }

    /// Ends writing.
    ///
    /// # Errors
    /// If the last bytes cannot be written.
    pub fn finish(mut self) -> io::Result<Store> {
        self.frames.flush()?;
        Ok(Store {
            frames: self.frames,
            ends: self.ends,
        })
    }
}

/// Rows that are read back in the order in which they were set aside, and no other: nothing of them is
/// resident.
pub struct Frames(Log);

impl Frames {
    /// The rows `name`: none, or those that an earlier process made durable.
    ///
    /// # Errors
    /// If their file cannot be opened.
    pub fn open(workspace: &Workspace, name: &str) -> io::Result<Self> {
        Ok(Self(workspace.log(name)?.beside()))
    }

    /// Appends the frame of one row.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.append_block(frame)
    }

    /// Makes the rows durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.0.sync(lengths)
    }

    /// Hands the frame of each row to `see`.
    ///
    /// # Errors
    /// If the file cannot be read, or what `see` says.
    pub fn each(&mut self, mut see: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut rows = self.0.replay()?;
        let mut frame = Vec::new();
        while next_block(&mut rows, &mut frame)? {
            see(&frame)?;
        }
        Ok(())
    }
}

impl Store {
    /// The store `name` as a writer in `directory` made it durable, with these lengths.
    ///
    /// # Errors
    /// If its files cannot be read, or hold something else.
    pub fn sealed(directory: &Path, name: &str, lengths: &Lengths) -> io::Result<Self> {
        let frames = Log::sealed(directory, &format!("{name}.rows"), lengths)?;
        let mut ends = Vec::new();
        let mut log = Log::sealed(directory, &format!("{name}.ends"), lengths)?;
        each_record(&mut log.replay()?, |word| {
            ends.push(u64::from_le_bytes(word));
        })?;
        Ok(Self { frames, ends })
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Size of the frame of row `ordinal` in bytes.
    #[must_use]
    pub fn size(&self, ordinal: u32) -> usize {
        let index = ordinal as usize;
        let end = self.ends.get(index).copied().unwrap_or(0);
        let start = index
            .checked_sub(1)
            .and_then(|i| self.ends.get(i))
            .copied()
            .unwrap_or(0);
        usize::try_from(end - start).unwrap_or(usize::MAX)
    }

    /// Reads back row `ordinal`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&self, ordinal: u32, buffer: &mut Vec<u8>) -> io::Result<()> {
        let size = self.size(ordinal);
        let end = self.ends.get(ordinal as usize).copied().unwrap_or(0);
        buffer.resize(size, 0);
        self.frames.read_exact_at(buffer, end - size as u64)
    }

    /// The identity of row `ordinal`: its offset in the input, with which its frame begins.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn identity(&self, ordinal: u32) -> io::Result<u64> {
        let end = self.ends.get(ordinal as usize).copied().unwrap_or(0);
        let mut offset = [0; 8];
        let start = end - self.size(ordinal) as u64;
        self.frames.read_exact_at(&mut offset, start)?;
        Ok(u64::from_le_bytes(offset))
    }

    /// Reads back rows that are named in order, neighbours together, and hands the frame of each to
    /// `see`.
    ///
    /// # Errors
    /// If the file cannot be read, or what `see` says.
    pub fn each(
        &self,
        mut ordinals: &[u32],
        mut see: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let place = |ordinal: u32| {
            let end = self.ends.get(ordinal as usize).copied().unwrap_or(0);
            (end - self.size(ordinal) as u64, end)
        };
        let mut block = Vec::new();
        while let Some(first) = ordinals.first() {
            let (from, mut until) = place(*first);
            let mut count = 0;
            for ordinal in ordinals {
                let (start, end) = place(*ordinal);
                let is_near = (until..=until + GAP).contains(&start) && end - from <= TOGETHER;
                if count > 0 && !is_near {
                    break;
                }
                until = end;
                count += 1;
            }
            block.resize(usize::try_from(until - from).unwrap_or(usize::MAX), 0);
            self.frames.read_exact_at(&mut block, from)?;
            let (now, later) = ordinals.split_at(count);
            for ordinal in now {
                let (start, end) = place(*ordinal);
                let [start, end] = [start, end].map(|at| usize::try_from(at - from).unwrap_or(0));
                see(block.get(start..end).unwrap_or_default())?;
            }
            ordinals = later;
        }
        Ok(())
    }
}

/// Appends the frame of `sample`: its identity, what was learnt of it, and the row as it is now.
pub fn encode(sample: &Sample, images_decode: bool, out: &mut Vec<u8>) {
    let origin = sample.origin();
    out.extend_from_slice(&origin.offset.to_le_bytes());
    out.extend_from_slice(&origin.line.to_le_bytes());
    out.extend_from_slice(&origin.file.to_le_bytes());
    out.extend_from_slice(&origin.part.to_le_bytes());
    out.extend_from_slice(&origin.copy.to_le_bytes());
    let remarked = !sample.remarked.is_empty();
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let attached = sample.attached();
    let changed = sample.changed();
    out.push(
        flag(images_decode, FLAG_IMAGES_DECODE)
            | flag(!sample.stats.is_empty(), FLAG_STATS)
            | flag(remarked, FLAG_REMARKED)
            | flag(!attached.is_empty(), FLAG_ATTACHED)
            | flag(matches!(changed, Changed::Fields(_)), FLAG_CHANGED)
            | flag(changed == Changed::All, FLAG_MADE),
    );
    if let Changed::Fields(names) = &changed {
        push_block(out, Value::from(names.as_slice()).to_string().as_bytes());
    }
    if !attached.is_empty() {
        let mut block = Vec::new();
        for attachment in attached {
            attachment.encode(&mut block);
        }
        push_block(out, &block);
    }
    push_block(out, sample.hashes.text.get().map_or(&[][..], |d| &d[..]));
    push_block(
        out,
        sample.hashes.image.get().map_or(&[][..], |h| h.as_bytes()),
    );
    match sample.hashes.simhash.get() {
        Some(hash) => push_block(out, &hash.to_le_bytes()),
        None => push_block(out, &[]),
    }
    if !sample.stats.is_empty() {
        sample.stats.encode(out);
    }
    if remarked {
        let mut block = Vec::new();
        for (step, codes) in &sample.remarked {
            block.extend_from_slice(&(*step as u64).to_le_bytes());
            block.extend_from_slice(&codes.bits().to_le_bytes());
        }
        push_block(out, &block);
    }
    sample.write_json(&[], out);
}

/// Where a frame has the number of a copy.
const COPY: Range<usize> = 28..36;

/// The frame of the copy whose number is by `more` greater than that of the row of `frame`.
///
/// # Errors
/// Never for a frame that [`encode`] wrote.
pub fn copied(frame: &[u8], more: u64) -> io::Result<Vec<u8>> {
    let mut copied = frame.to_vec();
    let slot = copied.get_mut(COPY).and_then(|slot| slot.first_chunk_mut());
    let slot: &mut [u8; 8] = slot.ok_or_else(|| io::Error::other("a row cannot be read back"))?;
    let before = Origin {
        copy: u64::from_le_bytes(*slot),
        ..Origin::default()
    };
    *slot = before.copied(more).copy.to_le_bytes();
    Ok(copied)
}

/// Restores the sample of `frame`, and whether its images are known to decode.
///
/// # Errors
/// Never for a frame that [`encode`] wrote.
pub fn decode(frame: &[u8], context: &Arc<ImageContext>) -> io::Result<(Sample, bool)> {
    match restore(frame, context) {
        Some(Ok(restored)) => Ok(restored),
        Some(Err(error)) => Err(io::Error::other(error.to_string())),
        None => Err(io::Error::other("a row cannot be read back")),
    }
}

fn restore(
    mut frame: &[u8],
    context: &Arc<ImageContext>,
) -> Option<Result<(Sample, bool), RowError>> {
    let offset = u64::from_le_bytes(take(&mut frame)?);
    let line = u64::from_le_bytes(take(&mut frame)?);
    let file = u32::from_le_bytes(take(&mut frame)?);
    let part = u64::from_le_bytes(take(&mut frame)?);
    let copy = u64::from_le_bytes(take(&mut frame)?);
    let [flags] = take::<1>(&mut frame)?;
    let changed = if flags & FLAG_CHANGED != 0 {
        Changed::Fields(serde_json::from_slice(take_block(&mut frame)?).ok()?)
    } else if flags & FLAG_MADE != 0 {
        Changed::All
    } else {
        Changed::Nothing
    };
    let mut attached = Vec::new();
    if flags & FLAG_ATTACHED != 0 {
        let mut block = take_block(&mut frame)?;
        while !block.is_empty() {
            attached.push(Attachment::decode(&mut block)?);
        }
    }
    let text_hash = take_block(&mut frame)?;
    let image_hash = take_block(&mut frame)?;
    let simhash = take_block(&mut frame)?;
    let stats = if flags & FLAG_STATS == 0 {
        Stats::default()
    } else {
        Stats::decode(&mut frame)?
    };
    let remarked = if flags & FLAG_REMARKED == 0 {
        &[][..]
    } else {
        take_block(&mut frame)?
    };
    let json = String::from_utf8(frame.to_vec()).ok()?;
    let origin = Origin {
        offset,
        file,
        line,
        part,
        copy,
    };
    let mut sample = match Sample::parse(json, origin, Arc::clone(context)) {
        Ok(sample) => sample.with_attached(attached).with_changed(changed),
        Err(error) => return Some(Err(error)),
    };
    if let Ok(digest) = text_hash.try_into() {
        let _ = sample.hashes.text.set(digest);
    }
    if !image_hash.is_empty() {
        let _ = sample
            .hashes
            .image
            .set(String::from_utf8(image_hash.to_vec()).ok()?);
    }
    if let Ok(hash) = simhash.try_into() {
        let _ = sample.hashes.simhash.set(u64::from_le_bytes(hash));
    }
    sample.stats = stats;
    for remark in remarked.as_chunks::<16>().0 {
        let (step, codes) = remark.split_first_chunk::<8>()?;
        let step = usize::try_from(u64::from_le_bytes(*step)).ok()?;
        let codes = u64::from_le_bytes(*codes.first_chunk()?);
        sample.remarked.push((step, Codes::from_bits(codes)));
    }
    Some(Ok((sample, flags & FLAG_IMAGES_DECODE != 0)))
}

/// Stats read back from JSON: whole numbers stay counts, numbers with a point stay floats.
#[must_use]
pub fn stats_from_json(value: Value) -> Stats {
    let mut stats = Stats::default();
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                stats.set(key, StatValue::from_json(value));
            }
            stats
        }
        Value::Array(members) => {
            Stats::of_group(members.into_iter().map(stats_from_json).collect())
        }
        _ => stats,
    }
}

fn push_block(out: &mut Vec<u8>, block: &[u8]) {
    out.extend_from_slice(&u32::try_from(block.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(block);
}

fn take<const N: usize>(frame: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = frame.split_first_chunk::<N>()?;
    *frame = rest;
    Some(*head)
}

fn take_block<'a>(frame: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(take(frame)?) as usize;
    let (head, rest) = frame.split_at_checked(length)?;
    *frame = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::Code;

    #[test]
    fn rows_that_are_read_together_are_those_that_are_read_alone() {
        let dir = tempfile::tempdir().unwrap();
        let files = Workspace::nameless(dir.path().to_owned());
        let mut writer = StoreWriter::open(&files, "rows").unwrap();
        // Short rows, none, and some that are longer than what is read together.
        for row in 0..600_u64 {
            let size = match row {
                100 | 101 | 350 => TOGETHER + row,
                _ => (row * 37) % 900,
            };
            let byte = row.to_le_bytes()[0];
            let size = usize::try_from(size).unwrap();
            writer.push(&vec![byte; size]).unwrap();
        }
        let store = writer.finish().unwrap();
        let all: Vec<u32> = (0..600).collect();
        let sparse: Vec<u32> = all.iter().copied().filter(|row| row % 7 > 4).collect();
        for wanted in [all, sparse, vec![599], Vec::new()] {
            let mut found = Vec::new();
            store
                .each(&wanted, |frame| {
                    found.push(frame.to_vec());
                    Ok(())
                })
                .unwrap();
            let alone = wanted.iter().map(|row| {
                let mut frame = Vec::new();
                store.read(*row, &mut frame).unwrap();
                frame
            });
            assert!(found == alone.collect::<Vec<_>>());
        }
        let stopped = store.each(&[1, 2, 3], |_| Err(io::Error::other("enough")));
        assert_eq!(stopped.unwrap_err().to_string(), "enough");
    }

    #[test]
    fn rows_that_come_again_are_numbered() {
        let copies = |rows: &[u32], apart| {
            let picks = match apart {
                Some(apart) => Picks::numbered(rows.to_vec(), apart),
                None => Picks::once(rows.to_vec()),
            };
            let copies = (0..picks.len()).map(|at| picks.copy(at));
            (copies.collect::<Vec<_>>(), picks)
        };
        let (numbers, picks) = copies(&[2, 5, 2, 0, 2, 5], Some(1));
        assert_eq!(numbers, [0, 0, 1, 0, 2, 1].map(Some));
        assert_eq!(picks.most(), 3);
        assert_eq!(picks.within(2..4).rows, [2, 0]);
        assert_eq!(picks.within(2..4).copy(0), Some(1));
        assert_eq!(copies(&[2, 5, 0], Some(3)).0, [None; 3]);
        assert_eq!(copies(&[2, 5, 2], None).0, [None; 3]);
        assert_eq!(copies(&[], Some(1)).0, []);
        // Copies of rows that have numbers below 7 are told from all of them.
        let (numbers, picks) = copies(&[1, 1, 0, 1], Some(7));
        assert_eq!(numbers, [0, 7, 0, 14].map(Some));
        assert_eq!(picks.within(1..3).copy(0), Some(7));
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let context = Arc::new(ImageContext::default());
        let origin = Origin {
            offset: 7,
            file: 2,
            line: 9,
            part: 3,
            copy: 2,
        };
        let mut sample = Sample::parse(
            r#"{"text": "a", "x": 1e-07}"#.into(),
            origin,
            Arc::clone(&context),
        )
        .unwrap();
        sample.set_text(&"text".into(), "b".into()).unwrap();
        sample.stats.set("n", StatValue::Int(3));
        sample.stats.set("r", StatValue::Float(1.0));
        sample
            .stats
            .set("w", StatValue::Ints([1, 2].into_iter().collect()));
        sample
            .stats
            .set("e", StatValue::Ints([].into_iter().collect()));
        sample.stats.set_measured("m", StatValue::Int(4), false);
        sample.stats.outdate("m");
        let mut codes = Codes::default();
        codes.insert(Code::ShortTexts);
        sample.remarked.push((3, codes));
        sample.hashes.text.set([5; 16]).unwrap();
        let mut frame = Vec::new();
        encode(&sample, true, &mut frame);
        let workspace = Workspace::nameless(std::env::temp_dir());
        let mut writer = StoreWriter::open(&workspace, "store").unwrap();
        writer.push(b"other").unwrap();
        let ordinal = writer.push(&frame).unwrap();
        let store = writer.finish().unwrap();
        let mut read = Vec::new();
        store.read(ordinal, &mut read).unwrap();
        let (back, decodes) = decode(&read, &context).unwrap();
        assert!(decodes);
        assert_eq!(back.line(), r#"{"text": "b", "x": 1e-07}"#);
        assert_eq!(back.origin(), origin);
        let (again, _) = decode(&copied(&read, 5).unwrap(), &context).unwrap();
        assert_eq!(again.origin(), origin.copied(5));
        assert_ne!(again.origin(), origin);
        assert_eq!(again.line(), back.line());
        assert_eq!(back.stats.to_json(), sample.stats.to_json());
        for stat in ["n", "m"] {
            assert_eq!(back.stats.source(stat), sample.stats.source(stat));
        }
        assert_eq!(back.remarked, sample.remarked);
        assert_eq!(back.hashes.text.get(), Some(&[5; 16]));
    }
}
