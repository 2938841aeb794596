//! Pure text kernels: character classes, words, n-grams, lines. They know no rows.

pub mod contacts;
pub mod ftfy;
pub mod html;
pub mod normal;
mod number;
pub mod python_regex;

pub use number::python_float;

/// The number of Unicode code points.
#[must_use]
pub fn char_count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}
