//! Reading rows and writing outputs: files, pipes, compression, and nothing half-written.

pub mod array;
pub mod atomic;

pub mod format;
pub mod paths;

pub mod source;

pub use atomic::PendingFile;
pub use source::{Input, LineSource, RawBatch, RawLine, SourceError};
