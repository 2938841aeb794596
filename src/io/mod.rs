//! Reading rows and writing outputs: files, pipes, compression, and nothing half-written.

pub mod atomic;
pub mod columns;
pub mod destination;
mod digested;
pub mod fingerprint;
pub mod format;
pub mod lock;
mod named;
pub mod paths;
pub mod produced;
pub mod remote;
pub mod source;
pub mod split;
pub mod terminal;
pub mod workspace;

pub use atomic::PendingFile;
pub use destination::Destination;
pub use fingerprint::Fingerprint;
pub use lock::{LockError, OutputLock};
pub use named::{Named, named};
pub use produced::ProducedFiles;
pub use source::{
    GivenRows, Input, LineSource, Opened, Position, RawBatch, RawLine, Source, SourceError,
};
pub use workspace::{Log, Workspace};
