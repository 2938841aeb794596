//! Names of fields: `text`, or dotted as in `meta.lang`.

use std::fmt;

/// A field's name. A literal top-level key of that very name wins; otherwise the dots descend
/// through nested objects, as in Data-Juicer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldPath {
    whole: String,
    dots: bool,
}

impl FieldPath {
    /// The path written as `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let whole = name.into();
        let dots = whole.contains('.');
        Self { whole, dots }
    }

    /// The path as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.whole
    }

    /// The first part and the remaining parts, if the path is dotted.
    pub(crate) fn descend(&self) -> Option<(&str, std::str::Split<'_, char>)> {
        if !self.dots {
            return None;
        }
        let (head, rest) = self.whole.split_once('.')?;
        Some((head, rest.split('.')))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.whole)
    }
}

impl From<&str> for FieldPath {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}
