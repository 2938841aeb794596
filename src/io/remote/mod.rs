//! Objects in stores, over HTTP and on Hugging Face's hub: `s3://`, `gs://`, `az://`, `https://`,
//! `hf://`. An [`Object`] is read by ranges of the version that was found when it was opened; a
//! file becomes an object as a whole ([`upload`]), or not at all. What many machines share is a
//! [`Folder`], in which an object can be made only if there is none.
//!
//! A remote place is a path that is written as a URL ([`is_remote`]): all else of djr carries it
//! about as it carries other paths. What talks to servers is built with the cargo feature `remote`
//! alone, and nothing outside of this module knows that it does so asynchronously. Without the
//! feature everything here fails and says what is missing.

#[cfg(not(feature = "remote"))]
mod absent;
mod address;
#[cfg(feature = "remote")]
mod folder;
#[cfg(feature = "remote")]
mod hub;
#[cfg(feature = "remote")]
mod object;
#[cfg(feature = "remote")]
mod spool;
#[cfg(feature = "remote")]
mod store;
#[cfg(feature = "remote")]
mod stream;

use std::fmt;
use std::io;

#[cfg(not(feature = "remote"))]
pub use absent::{Folder, Object, Stream, check_target, list, upload};
pub use address::{HubPlace, Kind, file_name, is_remote, parent_of, stand_in};
#[cfg(feature = "remote")]
pub use folder::Folder;
#[cfg(feature = "remote")]
pub use object::Object;
#[cfg(feature = "remote")]
pub use store::{check_target, list, upload};
#[cfg(feature = "remote")]
pub use stream::Stream;

/// An object of a [`Folder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is called in the folder, with `/` between the parts.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was made, in seconds since 1970.
    pub made: u64,
}

/// A request that failed, or an object that is another one by now: nothing that the bytes of an
/// input are to blame for.
#[derive(Debug)]
struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// The error of a request.
fn failed(kind: io::ErrorKind, what: impl Into<String>) -> io::Error {
    io::Error::new(kind, Failed(what.into()))
}

/// Whether an error tells of a request that failed, and not of what the bytes hold.
#[must_use]
pub fn is_failure(error: &io::Error) -> bool {
    let Some(error) = error.get_ref() else {
        return false;
    };
    error.is::<Failed>()
}
