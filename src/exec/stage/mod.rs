//! One pass of rows through the steps of a phase: read in order, worked on in parallel, handed on
//! in order.

mod chain;
mod cpu;
mod feed;
mod marks;
mod readahead;
mod recall;
mod row;
mod settled;

pub use chain::{
    Chain, OutputWork, Progress, SplitBy, TIMED_EVERY, WaitingBatch, Work, panic_message,
};
pub use cpu::thread_time;
pub use feed::{Cursor, PartPlace, Passed, Source, Waiting, drive};
pub use marks::Marks;
pub use recall::{Recall, Workers};
pub use row::{BatchResult, Rendered, RowEnd, RowResult, StepCost, Trace};
pub use settled::{Candidates, Settled, decided_entry, noted_at};
