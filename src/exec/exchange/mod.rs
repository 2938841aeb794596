//! Exchanges: operators that decide once every row is known.
//!
//! In a worker thread each row gives a key for every exchange of its phase; the keys wait on disk as
//! records, in row order; when the last row is in, the exchange decides which rows go on. Rows are known
//! by their number among those that were set aside ([`stage`]), which grows with their identity.
//!
//! A kind of exchange is one file: how its records are kept, and how they decide. It is registered
//! in [`of`]; what of a recipe shares a pass is decided in [`crate::plan`].

pub mod bounds;
mod census;
mod choosing;
pub mod clusters;
mod digests;
mod dropped;
mod exact;
pub mod group;
mod judged;
mod near;
mod references;
mod select;
pub mod stage;
mod vectors;
mod verify;

use std::io;
use std::ops::Range;

use rayon::ThreadPool;

use crate::io::Workspace;
use crate::io::workspace::Lengths;
use crate::op::{Common, Decision, Operator, PickError};
use crate::recipe::Step;
use crate::record::counts::{FromData, StratumCounts};
use crate::service::Host;

/// What there is to compute with.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'m> {
    /// The threads of the run.
    pub pool: &'m ThreadPool,
    /// Where models run, whose devices multiply vectors, too.
    pub host: &'m Host,
}

/// One operator that decides among all rows.
pub trait Exchange: Send + Sync {
    /// The records called `name`: none yet, or those that an earlier process made durable. About
    /// `budget` bytes of them are held in memory while they decide.
    ///
    /// # Errors
    /// If their files cannot be opened.
    fn open<'e>(
        &'e self,
        workspace: &Workspace,
        name: &str,
        budget: Option<u64>,
    ) -> io::Result<Box<dyn Records + 'e>>;

    /// Removes the files of the records called `name`, which nothing will read again.
    fn remove(&self, workspace: &Workspace, name: &str) {
        workspace.remove(name);
    }
}

/// The records of one exchange, one for each row that was set aside, in row order.
pub trait Records {
    /// Appends the record of the next row; `None` for a row that ended before this operator.
    ///
    /// # Errors
    /// If a file cannot be written.
    fn push(&mut self, record: Option<&[u8]>) -> io::Result<()>;

    /// Whether it has references and does not know them yet.
    fn wants_references(&self) -> bool {
        false
    }

    /// Appends the key of a row of a reference, without a rank; the row is called `place`. All of them
    /// come before the rows.
    ///
    /// # Errors
    /// If a file cannot be written.
    fn push_reference(&mut self, key: &[u8], place: &str) -> io::Result<()> {
        let _ = place;
        self.push(Some(key))
    }

    /// The first `rows` records are of rows that stay whatever they are like.
    fn fix(&mut self, rows: u32) {
        let _ = rows;
    }

    /// The rows that reach the first of the neighbouring filters that decide among all rows, of which this
    /// is one.
    fn reach(&mut self, rows: &[u32]) {
        let _ = rows;
    }

    /// Makes them durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()>;

    /// Decides among the rows `alive`, which stand in their present order.
    ///
    /// # Errors
    /// If the records cannot be read back, or the operator cannot compare them.
    fn decide(
        &mut self,
        alive: Vec<u32>,
        machine: Machine<'_>,
    ) -> Result<Resolution, ExchangeError>;

    /// Why `row` was dropped, where the records tell; asked after [`Records::decide`].
    ///
    /// # Errors
    /// If the records cannot be read back.
    fn decision(&self, row: u32) -> io::Result<Option<Box<Decision>>> {
        let _ = row;
        Ok(None)
    }
}

/// The exchange that the operator of `step` is; `None` for one that works row by row.
#[must_use]
pub fn of(step: &Step) -> Option<Box<dyn Exchange + '_>> {
    let inner = without_references(step)?;
    let choice = &step.base.choice;
    Some(if choice.reference.is_empty() {
        inner
    } else {
        Box::new(references::Referenced { inner, choice })
    })
}

fn without_references(step: &Step) -> Option<Box<dyn Exchange + '_>> {
    Some(match &step.operator {
        Operator::Near(op) => Box::new(near::NearDuplicates {
            op: op.as_ref(),
            choice: &step.base.choice,
        }),
        Operator::Vectors(op) => Box::new(vectors::ByVectors {
            op: op.as_ref(),
            choice: &step.base.choice,
        }),
        Operator::Exact(_) => Box::new(exact::ExactDuplicates(&step.base.choice)),
        Operator::Selector(op) => Box::new(select::Selection(op.as_ref())),
        Operator::Census(op) => Box::new(census::Counting(op.as_ref())),
        Operator::Grouper(_) => Box::new(group::Grouping),
        Operator::Filter(op) => Box::new(bounds::BoundsFromData {
            step,
            filter: op.as_ref(),
        }),
        Operator::Mapper(_) | Operator::Expander(_) => return None,
    })
}

/// An exchange and the step that it is.
pub type PlacedExchange<'s> = (usize, Box<dyn Exchange + 's>);

/// The exchanges among the steps `group`.
#[must_use]
pub fn of_steps<'s>(steps: &'s [Step], group: &Range<usize>) -> Vec<PlacedExchange<'s>> {
    let of = |number: usize| Some((number, of(steps.get(number)?)?));
    group.clone().filter_map(of).collect()
}

/// What an exchange decided of the rows it was shown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resolution {
    /// Rows that stay, in output order.
    pub alive: Vec<u32>,
    /// Rows that go, each with the row it duplicates, if that is why.
    pub dropped: Vec<(u32, Option<u32>)>,
    /// Further copies among `alive`: a selector may take a row more than once.
    pub repeated: u64,
    /// How many of `alive`, one after the other, make each group of a grouper.
    pub groups: Option<Vec<u32>>,
    /// What a census found common.
    pub common: Common,
    /// What a filter took from the data.
    pub from_data: Vec<FromData>,
    /// The kinds of rows that a selector drew from.
    pub strata: Vec<StratumCounts>,
}

/// Why an exchange could not decide.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Its records cannot be read.
    #[error("cannot read back keys set aside on disk: {0}")]
    Io(#[from] io::Error),
    /// The operator refuses its records.
    #[error("{0}")]
    Operator(String),
}

impl From<PickError> for ExchangeError {
    fn from(error: PickError) -> Self {
        match error {
            PickError::Io(error) => Self::Io(error),
            PickError::Keys(message) => Self::Operator(message),
        }
    }
}
