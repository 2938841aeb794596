//! What CPython 3.11 says of text: character classes and cases of Unicode 14.0, lines, numbers,
//! `str`, `repr`, regular expressions, conditions and normal forms, with its odd answers.

mod case;
mod class;
mod lines;
pub mod normal;
mod number;
pub mod python_expr;
pub mod python_regex;
mod python_str;
mod python_value;
#[rustfmt::skip]
pub mod tables;

pub use case::{lower, push_lower, strip};
pub use class::{
    alnum_count, alpha_count, is_alnum, is_alpha, is_line_break, is_space, is_special,
    is_special_ascii, special_count,
};
pub use lines::{Lines, line_count, lines, longest_line};
pub use number::{parse_python_float, python_float, ujson_round_trip, write_python_float};
pub use python_str::{NOT_FINITE, is_true, python_int, python_number, python_repr, python_str};
pub use python_value::{PyValue, TypeMismatch};

/// The number of Unicode code points.
#[must_use]
pub fn char_count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}
