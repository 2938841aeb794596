//! Why a model cannot be used.

use std::fmt;

/// Something of a model that is missing, broken, or not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelError {
    /// What is wrong, with the file's name.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl ModelError {
    /// `message`, and what to do about it.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ModelError {}
