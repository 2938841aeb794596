//! Rows of which tasks have found out that they go: they wait in a log for their step, and are entered
//! into the account when all rows are in, as those are that an exchange drops.

use std::borrow::Cow;
use std::io::{self, BufRead as _, Read as _};
use std::sync::Arc;

use rayon::ThreadPool;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::dropped::{BYTES, ROWS, Told, told_by};
use super::stage::FailedKey;
use crate::exec::accounting::{Accounting, Last};
use crate::exec::duplicates::{Found, KeyPlace, Verdict, Verdicts};
use crate::exec::{RunError, write_error};
use crate::io::workspace::{Lengths, Replay, next_block};
use crate::io::{Log, Workspace};
use crate::note::Codes;
use crate::sample::ImageContext;

/// The steps of a group that are judged, and the rows that wait for them.
pub struct Judged {
    verdicts: Verdicts,
    /// Each step, with its rows.
    waiting: Vec<(usize, Log)>,
}

/// What waits for a step.
pub enum Waiting<'r> {
    /// A row that goes.
    Gone(&'r [u8]),
    /// A row that goes, and would have failed at a later step.
    GoneBefore(&'r FailedKey),
    /// A row that fails at the step.
    Failed(&'r FailedKey),
}

/// The kinds of [`Waiting`], as they are written.
const GONE: u8 = 0;
const GONE_BEFORE: u8 = 1;
const FAILED: u8 = 2;

/// A row that waited.
struct Row {
    kind: u8,
    first: u64,
    body: Vec<u8>,
}

impl Judged {
    /// What tasks `found`, and the rows that an earlier process let wait in the files that `name` names.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn open(
        workspace: &Workspace,
        found: &Found,
        name: impl Fn(usize) -> String,
    ) -> io::Result<Self> {
        let of_group = found.rounds.iter();
        let of_group = of_group.filter(|round| round.place != KeyPlace::Admitted);
        let waiting = of_group.map(|round| Ok((round.step, workspace.log(&name(round.step))?)));
        Ok(Self {
            verdicts: Verdicts::open(&found.left)?,
            waiting: waiting.collect::<io::Result<_>>()?,
        })
    }

    /// How many steps of the group are judged.
    #[must_use]
    pub fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Whether rows wait for `step`.
    #[must_use]
    pub fn is_of(&self, step: usize) -> bool {
        self.waiting.iter().any(|(number, _)| *number == step)
    }

    /// Why the row `identity` goes, if it does. Rows are asked for in order.
    ///
    /// # Errors
    /// If what tasks left cannot be read.
    pub fn verdict(&mut self, identity: u64) -> io::Result<Option<Verdict>> {
        self.verdicts.of(identity)
    }

    /// Lets a row wait for `step`; it goes for `first`.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push(&mut self, step: usize, first: u64, row: &Waiting<'_>) -> io::Result<()> {
        let mut waiting = self.waiting.iter_mut();
        let Some((_, log)) = waiting.find(|(number, _)| *number == step) else {
            return Err(io::Error::other(
                "a row waits for a step that tasks did not judge",
            ));
        };
        let (kind, body) = match row {
            Waiting::Gone(frame) => (GONE, Cow::Borrowed(*frame)),
            Waiting::GoneBefore(row) => (GONE_BEFORE, serde_json::to_vec(row)?.into()),
            Waiting::Failed(row) => (FAILED, serde_json::to_vec(row)?.into()),
        };
        log.append(&[kind])?;
        log.append(&first.to_le_bytes())?;
        log.append_block(&body)
    }

    /// Makes the rows durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.waiting
            .iter_mut()
            .try_for_each(|(_, log)| log.sync(lengths))
    }

    /// Enters the rows that waited, step by step: of each first those that fail at it, then those that
    /// go. `begin` hears of each step before.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn enter(
        self,
        pool: &ThreadPool,
        accounting: &mut Accounting,
        mut begin: impl FnMut(usize, &Accounting),
    ) -> Result<(), RunError> {
        let failed = |e| write_error("rows set aside on disk", e);
        for (step, mut log) in self.waiting {
            begin(step, accounting);
            let mut gone = 0;
            let mut rows = log.replay().map_err(failed)?;
            while let Some(row) = next(&mut rows).map_err(failed)? {
                if row.kind != FAILED {
                    gone += 1;
                    continue;
                }
                let row: FailedKey = parsed(&row.body).map_err(failed)?;
                row.enter(step, accounting)?;
            }
            accounting.count_dropped(step, gone);
            if accounting.ledger.is_none() && !accounting.keeps_ended() {
                continue;
            }
            let traced = accounting.traces.get(step).is_some_and(Option::is_some);
            let mut rows = log.replay().map_err(failed)?;
            loop {
                let some = some_gone(&mut rows).map_err(failed)?;
                if some.is_empty() {
                    break;
                }
                let told: io::Result<Vec<Told>> = pool.install(|| {
                    let told = some.par_iter().map_init(Arc::default, |context, row| {
                        row.tell((step, traced), context)
                    });
                    told.collect()
                });
                for (row, (origin, id, trace, noted)) in some.iter().zip(told.map_err(failed)?) {
                    accounting.traced(&trace);
                    let first = Some(row.first);
                    accounting.record_dropped(step, origin, id.as_deref(), first, noted)?;
                    if !accounting.keeps_ended() {
                        continue;
                    }
                    if row.kind == GONE {
                        accounting.keep_ended(Last::Frame(&row.body))?;
                    } else {
                        let row: FailedKey = parsed(&row.body).map_err(failed)?;
                        accounting.keep_ended(Last::Line(row.origin, &row.verbatim))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Row {
    /// What is told of a row that goes.
    fn tell(&self, step: (usize, bool), context: &Arc<ImageContext>) -> io::Result<Told> {
        if self.kind == GONE {
            return told_by(&self.body, step, context);
        }
        let row = parsed(&self.body)?;
        Ok((row.origin, row.id, None, Codes::default()))
    }
}

fn parsed(body: &[u8]) -> io::Result<FailedKey> {
    Ok(serde_json::from_slice(body)?)
}

/// The next rows that go, none behind the last.
fn some_gone(rows: &mut Replay<'_>) -> io::Result<Vec<Row>> {
    let mut some = Vec::new();
    let mut bytes = 0;
    while some.len() < ROWS && bytes < BYTES {
        let Some(row) = next(rows)? else {
            break;
        };
        if row.kind != FAILED {
            bytes += row.body.len();
            some.push(row);
        }
    }
    Ok(some)
}

fn next(rows: &mut Replay<'_>) -> io::Result<Option<Row>> {
    if rows.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let (mut kind, mut first, mut body) = ([0], [0; 8], Vec::new());
    rows.read_exact(&mut kind)?;
    rows.read_exact(&mut first)?;
    if !next_block(rows, &mut body)? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Row {
        kind: kind[0],
        first: u64::from_le_bytes(first),
        body,
    }))
}
