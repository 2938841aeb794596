//! What became of a batch, as bytes: a task writes it, the ordered step of another process reads it.
//!
//! Nothing here lasts: a part is read by the program that wrote it, so there is one version of it,
//! that of the plan.

use std::borrow::Cow;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::exec::fields::FieldsSeen;
use crate::exec::stage::{
    BatchResult, Candidates, Marks, Rendered, RowEnd, RowResult, Settled, StepCost, Trace,
};
use crate::note::{Code, Codes, Counts};
use crate::op::Decision;
use crate::record::Stage;
use crate::record::counts::{HeldField, Word};
use crate::sample::frame::{
    bytes, number, take_byte, take_bytes, take_number, take_size, take_text, take_value, value,
};
use crate::sample::{ImageCounts, Origin, Produced, RowError, read_json};

/// What a row has beyond its place and its end.
mod has {
    pub const ID: u64 = 1;
    pub const EXACT: u64 = 1 << 1;
    pub const RECORDS: u64 = 1 << 2;
    pub const FRAME: u64 = 1 << 3;
    pub const STATS: u64 = 1 << 4;
    pub const KEPT: u64 = 1 << 5;
    pub const RENDERED: u64 = 1 << 6;
    pub const TRACES: u64 = 1 << 7;
    pub const FILES: u64 = 1 << 8;
    pub const REMARKED: u64 = 1 << 9;
    pub const PART: u64 = 1 << 10;
    pub const COPY: u64 = 1 << 11;
    pub const UNWANTED: u64 = 1 << 12;
}

/// Appends `batch` to `out`.
///
/// # Errors
/// If something in it cannot be written, which no batch that is done holds.
pub fn encode(batch: &BatchResult, out: &mut Vec<u8>) -> serde_json::Result<()> {
    number(batch.rows.len() as u64, out);
    for row in &batch.rows {
        encode_row(row, out)?;
    }
    number(batch.settled.len() as u64, out);
    for rows in &batch.settled {
        encode_settled(rows, out);
    }
    encode_candidates(&batch.candidates, out);
    for buffer in [
        &batch.frames,
        &batch.records,
        &batch.stats,
        &batch.kept,
        &batch.row_stats,
        &batch.id_hashes,
    ] {
        bytes(buffer, out);
    }
    number(batch.rendered.len() as u64, out);
    for buffer in &batch.rendered {
        bytes(buffer, out);
    }
    number(batch.costs.len() as u64, out);
    for cost in &batch.costs {
        let counts = [
            cost.rows,
            cost.timed,
            cost.nanos,
            cost.changed,
            cost.repeated,
            cost.rounding_decided,
        ];
        for count in counts {
            number(count, out);
        }
        number(cost.notes.iter().count() as u64, out);
        for (code, times) in cost.notes.iter() {
            number(code as u64, out);
            number(times, out);
        }
    }
    bytes(&serde_json::to_vec(&batch.images)?, out);
    bytes(&serde_json::to_vec(&batch.fields.held)?, out);
    let (clock, cpu) = batch.time;
    for count in [
        batch.read,
        batch.bytes,
        batch.fields.there,
        batch.tokens_differ,
        u64::try_from(clock.as_nanos()).unwrap_or(u64::MAX),
        u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX),
    ] {
        number(count, out);
    }
    Ok(())
}

fn encode_row(row: &RowResult, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let flag = |set: bool, flag: u64| if set { flag } else { 0 };
    let flags = flag(row.id.is_some(), has::ID)
        | flag(!row.exact.is_empty(), has::EXACT)
        | flag(!row.records.is_empty(), has::RECORDS)
        | flag(!row.frame.is_empty(), has::FRAME)
        | flag(!row.stats.is_empty(), has::STATS)
        | flag(!row.kept.is_empty(), has::KEPT)
        | flag(!row.rendered.is_empty(), has::RENDERED)
        | flag(!row.traces.is_empty(), has::TRACES)
        | flag(
            !row.produced.is_empty() || !row.copies.is_empty(),
            has::FILES,
        )
        | flag(!row.remarked.is_empty(), has::REMARKED)
        | flag(row.origin.part != 0, has::PART)
        | flag(row.origin.copy != 0, has::COPY)
        | flag(!row.unwanted.is_empty(), has::UNWANTED);
    number(flags, out);
    number(row.origin.offset, out);
    number(row.origin.file.into(), out);
    number(row.origin.line, out);
    if row.origin.part != 0 {
        number(row.origin.part, out);
    }
    if row.origin.copy != 0 {
        number(row.origin.copy, out);
    }
    if !row.unwanted.is_empty() {
        let words = row.unwanted.words();
        number(words.len() as u64, out);
        for word in words {
            number(*word, out);
        }
    }
    match &row.end {
        RowEnd::Alive => out.push(0),
        RowEnd::Dropped(step, decision) => {
            out.push(1);
            number(*step as u64, out);
            bytes(decision.stat.as_bytes(), out);
            value(&decision.value, out);
            bytes(decision.limit.as_bytes(), out);
        }
        RowEnd::Failed(stage, error, verbatim) => {
            out.push(2);
            let (kind, index) = match *stage {
                Stage::Read => (0, 0),
                Stage::Step(step) => (1, step),
                Stage::Output(output) => (2, output),
            };
            out.push(kind);
            number(index as u64, out);
            encode_error(error, verbatim, out);
        }
    }
    if let Some(id) = &row.id {
        bytes(id.as_bytes(), out);
    }
    if !row.exact.is_empty() {
        number(row.exact.len() as u64, out);
        for (step, key) in &row.exact {
            number(*step as u64, out);
            out.extend_from_slice(&key.to_le_bytes());
        }
    }
    if !row.records.is_empty() {
        number(row.records.len() as u64, out);
        row.records.iter().for_each(|place| range(place, out));
    }
    for place in [&row.frame, &row.stats, &row.kept] {
        if !place.is_empty() {
            range(place, out);
        }
    }
    if !row.rendered.is_empty() {
        number(row.rendered.len() as u64, out);
        for rendered in &row.rendered {
            match rendered {
                Rendered::Bytes(place) => {
                    out.push(0);
                    range(place, out);
                }
                Rendered::Refused(error, verbatim) => {
                    out.push(1);
                    encode_error(error, verbatim, out);
                }
                Rendered::Unmatched => out.push(2),
            }
        }
    }
    if !row.traces.is_empty() {
        number(row.traces.len() as u64, out);
        for trace in &row.traces {
            number(trace.step as u64, out);
            bytes(trace.entry.to_string().as_bytes(), out);
        }
    }
    if !row.produced.is_empty() || !row.copies.is_empty() {
        for files in [&row.produced, &row.copies] {
            number(files.len() as u64, out);
            for file in files {
                encode_file(file, out);
            }
        }
    }
    if !row.remarked.is_empty() {
        number(row.remarked.len() as u64, out);
        for (step, codes) in &row.remarked {
            number(*step as u64, out);
            number(codes.bits(), out);
        }
    }
    Ok(())
}

fn encode_settled(rows: &Settled, out: &mut Vec<u8>) {
    let Settled {
        behind,
        kept,
        dropped,
        records,
        stats,
        ledger,
        candidates,
    } = rows;
    number(*behind as u64, out);
    number(*kept, out);
    number(dropped.len() as u64, out);
    for (step, rows) in dropped {
        number(*step as u64, out);
        number(*rows, out);
    }
    number(records.len() as u64, out);
    let places = records.iter().chain([stats, ledger, candidates]);
    places.for_each(|place| range(place, out));
}

fn encode_candidates(candidates: &Candidates, out: &mut Vec<u8>) {
    let Candidates {
        keys,
        record_ends,
        line_ends,
    } = candidates;
    number(keys.count() as u64, out);
    for row in 0..keys.count() {
        number(keys.offset(row), out);
        let keys = keys.of(row);
        number(keys.len() as u64, out);
        for (step, key) in keys {
            number(*step as u64, out);
            out.extend_from_slice(&key.to_le_bytes());
        }
    }
    number(record_ends.len() as u64, out);
    for end in record_ends {
        number(*end as u64, out);
    }
    for (stats, ledger) in line_ends {
        number(*stats as u64, out);
        number(*ledger as u64, out);
    }
}

fn encode_error(error: &RowError, verbatim: &[u8], out: &mut Vec<u8>) {
    bytes(error.code.as_bytes(), out);
    bytes(error.message.as_bytes(), out);
    bytes(verbatim, out);
}

fn encode_file(file: &Produced, out: &mut Vec<u8>) {
    use std::os::unix::ffi::OsStrExt as _;
    bytes(file.written.as_bytes(), out);
    bytes(file.path.as_os_str().as_bytes(), out);
    out.push(u8::from(file.root.is_some()));
    if let Some(root) = &file.root {
        bytes(root.as_os_str().as_bytes(), out);
    }
    bytes(&file.bytes, out);
}

fn range(value: &Range<usize>, out: &mut Vec<u8>) {
    number(value.start as u64, out);
    number(value.len() as u64, out);
}

/// Reads batches back. Words of the program, such as codes, are kept once each.
#[derive(Default)]
pub struct Decoder {
    words: HashMap<String, Word>,
    /// Whether frames, and what is written of rows, are passed over.
    only_keys: bool,
}

impl Decoder {
    /// One for whom rows are their keys and their records for exchanges.
    pub fn of_keys() -> Self {
        Self {
            only_keys: true,
            ..Self::default()
        }
    }

    /// The batch that [`encode`] wrote as `block`; `None` for other bytes.
    pub fn decode(&mut self, mut block: &[u8]) -> Option<BatchResult> {
        let from = &mut block;
        let mut rows = Vec::new();
        for _ in 0..take_number(from)? {
            rows.push(self.row(from)?);
        }
        let mut settled = Vec::new();
        for _ in 0..take_number(from)? {
            settled.push(take_settled(from)?);
        }
        let candidates = take_candidates(from)?;
        let all = !self.only_keys;
        let mut buffer = |is_wanted: bool| {
            let bytes = take_bytes(from)?;
            Some(if is_wanted {
                bytes.to_vec()
            } else {
                Vec::new()
            })
        };
        let [frames, records, stats, kept, row_stats, id_hashes] = [
            buffer(all)?,
            buffer(true)?,
            buffer(all)?,
            buffer(all)?,
            buffer(all)?,
            buffer(all)?,
        ];
        let mut rendered = SmallVec::new();
        for _ in 0..take_number(from)? {
            let bytes = take_bytes(from)?;
            rendered.push(if all { bytes.to_vec() } else { Vec::new() });
        }
        let mut costs = Vec::new();
        for _ in 0..take_number(from)? {
            costs.push(take_cost(from)?);
        }
        let images: ImageCounts = serde_json::from_slice(take_bytes(from)?).ok()?;
        let held: Vec<HeldField> = serde_json::from_slice(take_bytes(from)?).ok()?;
        let read = take_number(from)?;
        let size = take_number(from)?;
        let there = take_number(from)?;
        let tokens_differ = take_number(from)?;
        let clock = Duration::from_nanos(take_number(from)?);
        let cpu = Duration::from_nanos(take_number(from)?);
        from.is_empty().then(|| BatchResult {
            rows,
            settled,
            candidates,
            frames,
            records,
            rendered,
            stats,
            kept,
            row_stats,
            id_hashes,
            costs,
            images,
            read,
            bytes: size,
            fields: FieldsSeen { there, held },
            tokens_differ,
            time: (clock, cpu),
            ..BatchResult::default()
        })
    }

    fn row(&mut self, from: &mut &[u8]) -> Option<RowResult> {
        let flags = take_number(from)?;
        let origin = Origin {
            offset: take_number(from)?,
            file: u32::try_from(take_number(from)?).ok()?,
            line: take_number(from)?,
            part: if flags & has::PART == 0 {
                0
            } else {
                take_number(from)?
            },
            copy: if flags & has::COPY == 0 {
                0
            } else {
                take_number(from)?
            },
        };
        let mut words = 0;
        if flags & has::UNWANTED != 0 {
            words = take_number(from)?;
        }
        let words: Option<Vec<u64>> = (0..words).map(|_| take_number(from)).collect();
        let unwanted = Marks::of_words(words?);
        let end = match take_byte(from)? {
            0 => RowEnd::Alive,
            1 => {
                let step = take_size(from)?;
                let stat = self.word(take_bytes(from)?)?;
                let value = take_value(from)?;
                let limit = take_text(from)?;
                let decision = Decision {
                    stat: Cow::Borrowed(stat),
                    value,
                    limit,
                };
                RowEnd::Dropped(step, Box::new(decision))
            }
            _ => {
                let kind = take_byte(from)?;
                let index = take_size(from)?;
                let stage = match kind {
                    0 => Stage::Read,
                    1 => Stage::Step(index),
                    _ => Stage::Output(index),
                };
                let (error, verbatim) = self.error(from)?;
                RowEnd::Failed(stage, error, verbatim)
            }
        };
        let mut row = RowResult {
            end,
            unwanted,
            ..RowResult::unread(origin)
        };
        if flags & has::ID != 0 {
            row.id = Some(std::str::from_utf8(take_bytes(from)?).ok()?.into());
        }
        if flags & has::EXACT != 0 {
            for _ in 0..take_number(from)? {
                row.exact.push(take_key(from)?);
            }
        }
        if flags & has::RECORDS != 0 {
            for _ in 0..take_number(from)? {
                row.records.push(take_range(from)?);
            }
        }
        for (flag, place) in [
            (has::FRAME, &mut row.frame),
            (has::STATS, &mut row.stats),
            (has::KEPT, &mut row.kept),
        ] {
            if flags & flag != 0 {
                *place = take_range(from)?;
            }
        }
        if flags & has::RENDERED != 0 {
            for _ in 0..take_number(from)? {
                row.rendered.push(match take_byte(from)? {
                    0 => Rendered::Bytes(take_range(from)?),
                    1 => {
                        let (error, verbatim) = self.error(from)?;
                        Rendered::Refused(error, verbatim)
                    }
                    _ => Rendered::Unmatched,
                });
            }
        }
        if flags & has::TRACES != 0 {
            for _ in 0..take_number(from)? {
                row.traces.push(Trace {
                    step: take_size(from)?,
                    entry: read_json(std::str::from_utf8(take_bytes(from)?).ok()?).ok()?,
                });
            }
        }
        if flags & has::FILES != 0 {
            for files in [&mut row.produced, &mut row.copies] {
                for _ in 0..take_number(from)? {
                    files.push(Arc::new(take_file(from)?));
                }
            }
        }
        if flags & has::REMARKED != 0 {
            for _ in 0..take_number(from)? {
                let step = take_size(from)?;
                row.remarked
                    .push((step, Codes::from_bits(take_number(from)?)));
            }
        }
        Some(row)
    }

    fn error(&mut self, from: &mut &[u8]) -> Option<(RowError, Vec<u8>)> {
        let code = self.word(take_bytes(from)?)?;
        let message = take_text(from)?;
        let verbatim = take_bytes(from)?.to_vec();
        Some((RowError::new(code, message), verbatim))
    }

    /// A word of the program. There are few, so what is leaked is nothing.
    fn word(&mut self, text: &[u8]) -> Option<Word> {
        let text = std::str::from_utf8(text).ok()?;
        if let Some(word) = self.words.get(text) {
            return Some(word);
        }
        let word: Word = Box::leak(text.to_owned().into_boxed_str());
        self.words.insert(text.to_owned(), word);
        Some(word)
    }
}

/// A step and the key that it knows a row by.
fn take_key(from: &mut &[u8]) -> Option<(usize, u128)> {
    let step = take_size(from)?;
    let (key, rest) = from.split_first_chunk::<16>()?;
    *from = rest;
    Some((step, u128::from_le_bytes(*key)))
}

fn take_settled(from: &mut &[u8]) -> Option<Settled> {
    let behind = take_size(from)?;
    let kept = take_number(from)?;
    let mut rows = Settled {
        behind,
        kept,
        ..Settled::default()
    };
    for _ in 0..take_number(from)? {
        rows.dropped.push((take_size(from)?, take_number(from)?));
    }
    for _ in 0..take_number(from)? {
        rows.records.push(take_range(from)?);
    }
    rows.stats = take_range(from)?;
    rows.ledger = take_range(from)?;
    rows.candidates = take_range(from)?;
    Some(rows)
}

fn take_candidates(from: &mut &[u8]) -> Option<Candidates> {
    let mut candidates = Candidates::default();
    let rows = take_number(from)?;
    for _ in 0..rows {
        let offset = take_number(from)?;
        let keys: Option<SmallVec<[(usize, u128); 2]>> =
            (0..take_number(from)?).map(|_| take_key(from)).collect();
        candidates.keys.push(offset, &keys?);
    }
    for _ in 0..take_number(from)? {
        candidates.record_ends.push(take_size(from)?);
    }
    for _ in 0..rows {
        candidates
            .line_ends
            .push((take_size(from)?, take_size(from)?));
    }
    Some(candidates)
}

fn take_cost(from: &mut &[u8]) -> Option<StepCost> {
    let mut cost = StepCost {
        rows: take_number(from)?,
        timed: take_number(from)?,
        nanos: take_number(from)?,
        changed: take_number(from)?,
        repeated: take_number(from)?,
        rounding_decided: take_number(from)?,
        notes: Counts::default(),
    };
    for _ in 0..take_number(from)? {
        let code = Code::ALL.get(take_size(from)?)?;
        cost.notes.add_many(*code, take_number(from)?);
    }
    Some(cost)
}

fn take_file(from: &mut &[u8]) -> Option<Produced> {
    Some(Produced {
        written: take_text(from)?,
        path: take_path(from)?,
        root: match take_byte(from)? {
            0 => None,
            _ => Some(take_path(from)?),
        },
        bytes: take_bytes(from)?.to_vec(),
    })
}

fn take_path(from: &mut &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::OsStr::from_bytes(take_bytes(from)?);
    Some(PathBuf::from(name))
}

fn take_range(from: &mut &[u8]) -> Option<Range<usize>> {
    let start = take_size(from)?;
    Some(start..start.checked_add(take_size(from)?)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample::StatValue;

    fn rows() -> Vec<RowResult> {
        let origin = |offset, part| Origin {
            offset,
            file: 3,
            line: 300,
            part,
            copy: part / 2,
        };
        let row = |end, part| RowResult {
            end,
            ..RowResult::unread(origin(u64::MAX, part))
        };
        let decision = |value| {
            let stat = "text_len".into();
            let limit = "min_len: 10".to_owned();
            RowEnd::Dropped(2, Box::new(Decision { stat, value, limit }))
        };
        let error = || RowError::new("image_missing", "no such file");
        let file = || {
            vec![Arc::new(Produced {
                written: "a.jpg".into(),
                path: "made/a.jpg".into(),
                root: Some("made".into()),
                bytes: vec![0, 255],
            })]
        };
        let mut codes = Codes::default();
        codes.insert(Code::ShortTexts);
        let refused = || Rendered::Refused(error(), b"{}".to_vec());
        vec![
            row(RowEnd::Alive, 0),
            row(decision(StatValue::Int(-3)), 0),
            row(decision(StatValue::Float(f64::MIN_POSITIVE)), 7),
            row(
                decision(StatValue::Ints([1, -1, 4].into_iter().collect())),
                0,
            ),
            row(decision(StatValue::Floats(SmallVec::new())), 0),
            row(decision(StatValue::json(json!({"a": [1.5, null]}))), 0),
            row(RowEnd::Failed(Stage::Read, error(), vec![0xff]), 0),
            row(RowEnd::Failed(Stage::Output(2), error(), Vec::new()), 0),
            RowResult {
                id: Some("\"é\"".into()),
                exact: [(4, u128::MAX), (5, 0)].into_iter().collect(),
                records: [0..4, 4..4, 4..200].into_iter().collect(),
                frame: 1..1000,
                stats: 2..3,
                kept: 5..9,
                rendered: [Rendered::Bytes(3..500), refused(), Rendered::Unmatched]
                    .into_iter()
                    .collect(),
                traces: vec![Trace {
                    step: 1,
                    entry: json!({"original_text": "a"}),
                }],
                produced: file(),
                copies: file(),
                remarked: [(6, codes)].into_iter().collect(),
                unwanted: [1, 64, 200].into_iter().collect(),
                ..RowResult::unread(origin(0, 0))
            },
        ]
    }

    #[test]
    fn batches_come_back_as_they_were() {
        let mut notes = Counts::default();
        notes.add_many(Code::ShortTexts, 300);
        let settled = |behind, candidates| Settled {
            behind,
            kept: 3,
            dropped: [(2, 1), (70, 400)].into_iter().collect(),
            records: [5..9, 0..0].into_iter().collect(),
            stats: 7..300,
            ledger: 1..2,
            candidates,
        };
        let mut candidates = Candidates {
            record_ends: vec![4, 0, 9, 0],
            line_ends: vec![(1, 2), (300, 2)],
            ..Candidates::default()
        };
        candidates.keys.push(u64::MAX, &[(4, 7), (5, u128::MAX)]);
        candidates.keys.push(3, &[(4, 0)]);
        let batch = BatchResult {
            rows: rows(),
            settled: vec![settled(0, 0..0), settled(2, 0..2)],
            candidates,
            frames: vec![1; 300],
            records: vec![2; 3],
            rendered: [b"rows".to_vec(), Vec::new()].into_iter().collect(),
            row_stats: b"{}\n".to_vec(),
            id_hashes: vec![7; 16],
            costs: vec![StepCost {
                rows: 1,
                timed: 2,
                nanos: u64::MAX,
                changed: 4,
                repeated: 5,
                rounding_decided: 6,
                notes,
            }],
            images: ImageCounts {
                opened: 9,
                ..ImageCounts::default()
            },
            read: 10,
            bytes: 1 << 40,
            fields: FieldsSeen {
                there: 5,
                held: vec![HeldField {
                    name: "caption".into(),
                    is_text: true,
                }],
            },
            tokens_differ: 2,
            time: (Duration::from_nanos(3), Duration::from_secs(4)),
            ..BatchResult::default()
        };
        let mut block = Vec::new();
        encode(&batch, &mut block).unwrap();
        let back = Decoder::default().decode(&block).unwrap();
        assert_eq!(format!("{back:?}"), format!("{batch:?}"));
        for end in 0..block.len() {
            assert!(Decoder::default().decode(&block[..end]).is_none(), "{end}");
        }
    }
}
