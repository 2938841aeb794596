//! Rows on their way into column files: which columns there are, and arrays of values.
//!
//! What rows of column files have in columns that nobody wrote to is taken from there again
//! ([`gather`]) and never passes through JSON. Other columns get the type that all their values fit
//! ([`kind`]); a [`record`] is what a row hands over. [`made`] puts both together, for files row group
//! by row group, in memory ([`collect`]) for all rows.

pub mod build;
pub mod collect;
pub mod gather;
pub mod groups;
pub mod kind;
pub mod layout;
pub mod made;
pub mod record;
