//! Pure text kernels: character classes, words, n-grams, lines. They know no rows.

pub mod chat;
pub mod chunk;
pub mod contacts;
mod counts;
pub mod ftfy;
pub mod html;
pub mod latex;
pub mod latex_figures;
mod listed;
pub mod markup;
mod ngram;
pub mod noun_phrases;
pub mod opencc;
pub mod pii;
mod printable;
pub mod punkt;
pub mod rejoin;
pub mod repeats;
mod rouge;
pub mod table_text;
mod words;

pub use counts::TextCounts;
pub use djr_python::{
    Lines, NOT_FINITE, PyValue, TypeMismatch, alnum_count, alpha_count, char_count, is_alnum,
    is_alpha, is_line_break, is_space, is_special, is_true, line_count, lines, longest_line, lower,
    normal, parse_python_float, push_lower, python_expr, python_float, python_int, python_number,
    python_regex, python_repr, python_str, special_count, strip, ujson_round_trip,
    write_python_float,
};
pub use listed::{Augmentation, WordSet, listed_share};
pub use ngram::{char_repetition, ratio, word_repetition};
pub use printable::printable;
pub use rouge::rouge_l;
pub use words::{WordCutter, Words, split_words, strip_special, word_count};
