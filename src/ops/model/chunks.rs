//! The parts of a text, each with the images that its tokens stand for.

use std::ops::Range;

use crate::op::{BuildContext, SpecialTokens};
use crate::sample::RowError;

/// A part of a text that has image tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its text without special tokens.
    pub text: String,
    /// Which of the row's images its tokens stand for; fewer than tokens if they are used up.
    pub images: Range<usize>,
    /// How many image tokens it has.
    pub tokens: usize,
}

impl Chunk {
    /// That its images are used up.
    #[must_use]
    pub fn without_image(&self) -> RowError {
        let start: String = self.text.chars().take(40).collect();
        RowError::new(
            "model_input",
            format!("the row has fewer images than image tokens: none is left for '{start}'"),
        )
    }
}

/// Cuts texts into chunks.
#[derive(Debug, Clone)]
pub struct Chunks {
    tokens: SpecialTokens,
}

impl Chunks {
    /// By the tokens of the recipe.
    #[must_use]
    pub fn new(context: &BuildContext) -> Self {
        Self {
            tokens: context.special_tokens.clone(),
        }
    }

    /// The chunks of `text` that have image tokens, of a row with so many images.
    #[must_use]
    pub fn of(&self, text: &str, images: usize) -> Vec<Chunk> {
        let mut offset = 0;
        let mut chunks = Vec::new();
        for part in text.split(&self.tokens.eoc) {
            let count = part.matches(&self.tokens.image).count();
            if count == 0 {
                continue;
            }
            let end = offset + count;
            chunks.push(Chunk {
                text: self.tokens.removed_from(part),
                images: offset.min(images)..end.min(images),
                tokens: count,
            });
            offset = end;
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_given_out_in_order() {
        let chunks = Chunks::new(&BuildContext::default());
        let of = |text, images| -> Vec<(String, Range<usize>)> {
            let found = chunks.of(text, images).into_iter();
            found.map(|chunk| (chunk.text, chunk.images)).collect()
        };
        let text = "<__dj__image> a <__dj__image> b <|__dj__eoc|> none <|__dj__eoc|><__dj__image>";
        assert_eq!(
            of(text, 3),
            [("a  b".to_owned(), 0..2), (String::new(), 2..3)]
        );
        assert_eq!(of(text, 2)[1].1, 2..2);
        assert_eq!(of("no token", 2), []);
    }
}
