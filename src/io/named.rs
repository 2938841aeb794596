//! Errors of writing that say which file: who hears of a full disk must know which.

use std::fmt::Display;
use std::io::{self, Write};

/// `error`, said of `place`.
pub fn named(place: impl Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{place}: {error}"))
}

/// A writer whose errors name what is written to.
pub struct Named<W> {
    place: String,
    inner: W,
}

impl<W> Named<W> {
    /// Names `place` in the errors of `inner`.
    pub fn new(place: impl Display, inner: W) -> Self {
        Self {
            place: place.to_string(),
            inner,
        }
    }
}

impl<W: Write> Write for Named<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        written.map_err(|e| named(&self.place, &e))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush().map_err(|e| named(&self.place, &e))
    }
}
