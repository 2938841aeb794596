//! Pure text kernels: character classes, words, n-grams, lines. They know no rows.

mod case;
pub mod chat;
pub mod chunk;
mod class;
pub mod contacts;
mod fasttext;
pub mod ftfy;
pub mod html;
mod kenlm;
pub mod latex;
pub mod latex_figures;
mod lines;
mod listed;
pub mod markup;
mod ngram;
pub mod normal;
mod number;
pub mod opencc;
pub mod pii;
pub mod punkt;
pub mod python_expr;
pub mod python_regex;
mod python_str;
mod python_value;
pub mod rejoin;
pub mod repeats;
mod sentencepiece;
pub mod table_text;
#[rustfmt::skip]
mod tables;
mod words;

pub use case::{lower, push_lower, strip};
pub use class::{
    alnum_count, alpha_count, is_alnum, is_alpha, is_line_break, is_space, is_special,
    special_count,
};
pub use fasttext::{FastText, FastTextError};
pub use kenlm::{KenLm, KenLmError, perplexity};
pub use lines::{Lines, line_count, lines, longest_line};
pub use listed::{Augmentation, WordSet, listed_share};
pub use ngram::{char_repetition, ratio, word_repetition};
pub use number::{parse_python_float, python_float, ujson_round_trip, write_python_float};
pub use python_str::{is_true, python_int, python_number, python_repr, python_str};
pub use python_value::{PyValue, TypeMismatch};
pub use sentencepiece::{ModelError, SentencePiece};
pub use words::{WordCutter, Words, split_words, strip_special, word_count};

/// The number of Unicode code points.
#[must_use]
pub fn char_count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}
