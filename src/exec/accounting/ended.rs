//! Rows that have come to an end, set aside for the outputs that take them.

use std::io;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::exec::spill::store::{self, Store, StoreWriter};
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};
use crate::recipe::{Of, OutputSpec};
use crate::record::{Fate, LedgerEntry};
use crate::sample::{Changed, FATE, ImageContext, Origin, Sample};

/// The field of a row that is no JSON object: the bytes it came with, as text.
pub const LINE: &str = "__dj__line__";

/// A row as it was when it came to its end.
#[derive(Clone, Copy)]
pub enum Last<'r> {
    /// Its frame ([`store::encode`]).
    Frame(&'r [u8]),
    /// The line it was read from.
    Line(Origin, &'r [u8]),
}

/// Rows that have come to an end, with what decided.
pub struct Ended {
    of: Vec<Of>,
    rows: StoreWriter,
    /// Where each row is from, and how it ended.
    index: Log,
    context: Arc<ImageContext>,
    /// How the row ended that comes next, if some output takes it.
    next: Option<(u8, Value)>,
}

/// An entry of the index: offset, part, copy, kind.
const INDEX: usize = 25;

/// Rows that have come to an end, complete.
pub struct Endings {
    /// The rows.
    pub store: Arc<Store>,
    /// Each row by where it is from (offset, part, copy), with its kind.
    places: Vec<([u64; 3], u32, u8)>,
}

impl Ended {
    /// Whether some of `outputs` takes them.
    pub fn are_taken(outputs: &[OutputSpec]) -> bool {
        outputs.iter().any(|spec| spec.of != Of::Kept)
    }

    /// Opens them, new or as an earlier process left them; `None` where no output takes them.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn open(outputs: &[OutputSpec], workspace: &Workspace) -> io::Result<Option<Self>> {
        let of: Vec<Of> = outputs
            .iter()
            .map(|spec| spec.of)
            .filter(|of| *of != Of::Kept)
            .collect();
        if of.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            of,
            rows: StoreWriter::open(workspace, "ended")?,
            index: workspace.log("ended-index")?,
            context: Arc::default(),
            next: None,
        }))
    }

    /// Notes how the row ended that is pushed next.
    ///
    /// # Errors
    /// Never.
    pub fn note(&mut self, entry: &LedgerEntry<'_>) -> io::Result<()> {
        let kind = kind(entry);
        let taken = self.of.iter().any(|of| is_of(*of, kind));
        self.next = taken
            .then(|| fate(entry))
            .transpose()?
            .map(|fate| (kind, fate));
        Ok(())
    }

    /// Sets aside the row whose end was noted, if some output takes it.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push(&mut self, last: Last<'_>) -> io::Result<()> {
        let Some((kind, fate)) = self.next.take() else {
            return Ok(());
        };
        let (mut sample, decode) = match last {
            Last::Frame(frame) => store::decode(frame, &self.context)?,
            Last::Line(origin, line) => (self.of_line(origin, line)?, false),
        };
        sample.set_value(FATE, fate);
        let mut frame = Vec::new();
        store::encode(&sample, decode, &mut frame);
        self.rows.push(&frame)?;
        let origin = sample.origin();
        self.index.append(&origin.offset.to_le_bytes())?;
        self.index.append(&origin.part.to_le_bytes())?;
        self.index.append(&origin.copy.to_le_bytes())?;
        self.index.append(&[kind])
    }

    /// The row of a line, or one that has the line where it is none.
    fn of_line(&self, origin: Origin, line: &[u8]) -> io::Result<Sample> {
        let text = String::from_utf8_lossy(line).into_owned();
        let parsed = Sample::parse(text.clone(), origin, Arc::clone(&self.context));
        parsed
            .or_else(|_| {
                let mut row = Map::new();
                row.insert(LINE.to_owned(), text.into());
                let row = crate::sample::python_json(&Value::Object(row));
                let row = Sample::parse(row, origin, Arc::clone(&self.context));
                // Whatever lies there in the input cannot be taken from it.
                row.map(|row| row.with_changed(Changed::All))
            })
            .map_err(|error| io::Error::other(error.to_string()))
    }

    /// Makes them durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.rows.sync(lengths)?;
        self.index.sync(lengths)
    }

    /// Ends them, in the order of the input.
    ///
    /// # Errors
    /// If they cannot be written or read back.
    pub fn finish(mut self) -> io::Result<Endings> {
        let mut places = Vec::new();
        let mut ordinal = 0;
        each_record(&mut self.index.replay()?, |record: [u8; INDEX]| {
            let (words, kind) = record.as_chunks::<8>();
            if let ([offset, part, copy], [kind]) = (words, kind) {
                let place = [offset, part, copy].map(|word| u64::from_le_bytes(*word));
                places.push((place, ordinal, *kind));
            }
            ordinal += 1;
        })?;
        places.sort_unstable();
        Ok(Endings {
            store: Arc::new(self.rows.finish()?),
            places,
        })
    }
}

impl Endings {
    /// The rows that an output of `of` takes, in the order of the input, each with its identity.
    #[must_use]
    pub fn of(&self, of: Of) -> Vec<(u64, u32)> {
        let taken = self.places.iter().filter(|(.., kind)| is_of(of, *kind));
        taken
            .map(|&([offset, part, copy], ordinal, _)| {
                let origin = Origin {
                    offset,
                    part,
                    copy,
                    ..Origin::default()
                };
                (origin.lot(), ordinal)
            })
            .collect()
    }
}

const KEPT: u8 = 0;
const DROPPED: u8 = 1;
const QUARANTINED: u8 = 2;
const DUPLICATE: u8 = 3;

fn kind(entry: &LedgerEntry<'_>) -> u8 {
    match entry.fate {
        Fate::Kept | Fate::Merged => KEPT,
        Fate::Dropped if entry.is_duplicate() => DUPLICATE,
        Fate::Dropped => DROPPED,
        Fate::Quarantined => QUARANTINED,
    }
}

fn is_of(of: Of, kind: u8) -> bool {
    match of {
        Of::Kept => false,
        Of::Dropped => kind == DROPPED || kind == DUPLICATE,
        Of::Quarantined => kind == QUARANTINED,
        Of::Duplicates => kind == DUPLICATE,
        Of::All => true,
    }
}

/// What the ledger says of a row, but for where it is from.
fn fate(entry: &LedgerEntry<'_>) -> io::Result<Value> {
    let mut fate = serde_json::to_value(entry)?;
    if let Value::Object(map) = &mut fate {
        for known in ["file", "line", "offset", "part", "id"] {
            map.shift_remove(known);
        }
    }
    Ok(fate)
}
