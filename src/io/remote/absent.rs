//! What a djr says that was built without the cargo feature `remote`.

use std::convert::Infallible;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::super::Fingerprint;
use super::address::UNKNOWN;
use super::{Found, Kind, failed};

/// There is none.
#[derive(Debug)]
pub struct Object(Infallible);

/// There is none.
pub struct Stream(Infallible);

/// There is none.
#[derive(Debug)]
pub struct Folder(Infallible);

fn missing<T>(url: &str) -> io::Result<T> {
    if Kind::of(url).is_none() {
        return Err(failed(io::ErrorKind::InvalidInput, UNKNOWN));
    }
    let what = "this djr reads and writes local files only: build it with the cargo feature `remote` (cargo build --release --features remote)";
    Err(failed(io::ErrorKind::Unsupported, what))
}

impl Object {
    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub fn open(url: &Path) -> io::Result<Arc<Self>> {
        missing(&url.to_string_lossy())
    }

    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub fn fingerprint_of(url: &Path) -> io::Result<Fingerprint> {
        missing(&url.to_string_lossy())
    }

    /// There is none.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self.0 {}
    }

    /// There is none.
    #[must_use]
    pub fn stream(self: &Arc<Self>, _: u64) -> Stream {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub fn read_range(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        match self.0 {}
    }

    /// There is none.
    #[must_use]
    pub fn failure(&self) -> Option<io::Error> {
        match self.0 {}
    }
}

impl Folder {
    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub fn open(url: &Path) -> io::Result<Self> {
        missing(&url.to_string_lossy())
    }

    /// There is none.
    #[must_use]
    pub fn url(&self, _: &str) -> String {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub fn read(&self, _: &str) -> io::Result<Option<Vec<u8>>> {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub fn read_each(
        &self,
        _: &[Found],
        _: impl FnMut(&Found, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub fn object(&self, _: &str) -> io::Result<Arc<Object>> {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub fn create(&self, _: &str, _: &[u8]) -> io::Result<bool> {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub fn keeps_the_first(&self, _: &str, _: &[u8]) -> io::Result<bool> {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub fn upload(&self, _: &str, _: &Path) -> io::Result<()> {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub fn list(&self, _: &str) -> io::Result<Vec<Found>> {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub fn list_all(&self, _: &str) -> io::Result<Vec<Found>> {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub fn remove(&self, _: Vec<String>) -> io::Result<()> {
        match self.0 {}
    }
}

impl Read for Stream {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

/// Fails.
///
/// # Errors
/// Always.
pub fn list(url: &str) -> io::Result<Vec<String>> {
    missing(url)
}

/// Fails.
///
/// # Errors
/// Always.
pub fn check_target(url: &Path) -> io::Result<()> {
    missing(&url.to_string_lossy())
}

/// Fails.
///
/// # Errors
/// Always.
pub fn upload(_: &Path, url: &Path) -> io::Result<()> {
    missing(&url.to_string_lossy())
}
