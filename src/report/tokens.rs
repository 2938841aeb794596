//! What special tokens count as in lengths of texts.

use super::table::thousands;
use crate::text::{char_count, word_count};

/// `special tokens count in text lengths: <__dj__image> is 13 characters and 1 word, …`, for the
/// `tokens` of a recipe that are not empty; nothing if all are. Words are those between separators.
#[must_use]
pub fn special_tokens(tokens: [&str; 2]) -> String {
    let count = |number: u64, one: &str| {
        let s = if number == 1 { "" } else { "s" };
        format!("{} {one}{s}", thousands(number))
    };
    let tokens = tokens.into_iter().filter(|token| !token.is_empty());
    let told: Vec<String> = tokens
        .map(|token| {
            let characters = u64::try_from(char_count(token)).unwrap_or_default();
            let words = word_count(token) as u64;
            format!(
                "{token} is {} and {}",
                count(characters, "character"),
                count(words, "word")
            )
        })
        .collect();
    if told.is_empty() {
        return String::new();
    }
    format!("special tokens count in text lengths: {}", told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_and_words_of_each_token_are_told() {
        assert_eq!(
            special_tokens(["<__dj__image>", "<|__dj__eoc|>"]),
            "special tokens count in text lengths: <__dj__image> is 13 characters and 1 word, \
             <|__dj__eoc|> is 13 characters and 1 word"
        );
        assert_eq!(
            special_tokens(["", "[a b]"]),
            "special tokens count in text lengths: [a b] is 5 characters and 2 words"
        );
        assert_eq!(special_tokens(["", ""]), "");
    }
}
