//! What a recipe says of results that earlier runs computed.

use serde::{Deserialize, Serialize};

use super::keys::Keys;
use crate::sample::words;

words! {
    /// How the cache knows that a file is as it was.
    #[derive(Default)]
    CacheTrust {
        /// By its size, its times and its number.
        #[default]
        Stat = "stat",
        /// By its content, which is read each time.
        Content = "content",
    }
}

/// `cache` and `cache_trust`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultKeys {
    /// `cache`: a directory, or `auto`.
    pub dir: Option<String>,
    /// `cache_trust`.
    pub trust: CacheTrust,
}

impl ResultKeys {
    /// Its field in a recipe as JSON. No answer depends on it.
    pub const FIELD: &str = "results";

    pub(super) fn of(keys: &Keys) -> Self {
        Self {
            dir: Some(keys.text("cache")).filter(|dir| !dir.is_empty()),
            trust: keys.word("cache_trust"),
        }
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
