//! The version of what is recorded. Readers of one major version understand all its minor ones: a
//! newer one adds facts, which an older reader passes over. Another major version is refused by
//! name.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// Changes when a reader would misread.
    pub major: u32,
    /// Changes when something is added.
    pub minor: u32,
}

/// The version that this program writes. The first one had no number.
pub const CURRENT: Version = Version { major: 2, minor: 2 };

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What is read of a document before anything else.
#[derive(Deserialize)]
struct Head {
    format: Option<Version>,
    djr: Option<String>,
}

/// Why a document is not read.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// It is no document of this program.
    #[error("it is not what djr writes: {0}")]
    Foreign(String),
    /// Its version is another.
    #[error("djr {djr} wrote it in format {found}; this is djr {}, which reads format {}", env!("CARGO_PKG_VERSION"), CURRENT.major)]
    Other {
        /// The program that wrote it.
        djr: String,
        /// Its major and minor version; the first format had no number.
        found: String,
    },
}

/// Checks that a document is of a version that this program reads.
///
/// # Errors
/// If it is of another, or is no such document at all.
pub fn check(document: &[u8]) -> Result<(), VersionError> {
    let head: Head =
        serde_json::from_slice(document).map_err(|e| VersionError::Foreign(e.to_string()))?;
    let Some(djr) = head.djr else {
        return Err(VersionError::Foreign("it names no version of djr".into()));
    };
    match head.format {
        Some(version) if version.major == CURRENT.major => Ok(()),
        found => Err(VersionError::Other {
            djr,
            found: found.map_or_else(|| "1".to_owned(), |version| version.to_string()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_versions_are_refused_by_name() {
        let said = |text: &str| check(text.as_bytes()).map_err(|e| e.to_string());
        assert_eq!(
            said(r#"{"djr": "9", "format": {"major": 2, "minor": 7}}"#),
            Ok(())
        );
        let old = said(r#"{"djr": "0.1.0", "rows": {}}"#).unwrap_err();
        assert!(old.starts_with("djr 0.1.0 wrote it in format 1;"), "{old}");
        let new = said(r#"{"djr": "9", "format": {"major": 3, "minor": 1}}"#).unwrap_err();
        assert!(new.starts_with("djr 9 wrote it in format 3.1;"), "{new}");
        for foreign in ["[]", "{", r#"{"format": {"major": 2, "minor": 0}}"#] {
            assert!(said(foreign).unwrap_err().contains("not what djr writes"));
        }
    }
}
