//! How many tokens a row has: counted by a tokenizer's file, or estimated.

use std::path::Path;
use std::sync::Arc;

use tokenizers::Tokenizer;

use super::record::Record;
use crate::models::SentencePiece;

/// What counts the tokens of a text.
#[derive(Clone, Default)]
pub enum Tokens {
    /// Nothing: about one a character of Chinese, Japanese and Korean, else one for three and a
    /// half bytes.
    #[default]
    Estimated,
    /// The `tokenizer.json` of a fast tokenizer.
    Fast(Arc<Tokenizer>),
    /// A SentencePiece model.
    Pieces(Arc<SentencePiece>),
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Estimated => "estimated",
            Self::Fast(_) => "tokenizer.json",
            Self::Pieces(_) => "SentencePiece model",
        })
    }
}

/// What an image costs.
#[derive(Debug, Clone, Copy)]
pub enum ImageTokens {
    /// Always so many.
    Fixed(u64),
    /// So many a tile, of at most so many tiles (shared by the images of a row) and a thumbnail.
    Tiles {
        /// Tokens a tile.
        each: u64,
        /// Tiles at most.
        most: u64,
        /// The side of a tile in pixels.
        side: u64,
    },
    /// One for a square of so many pixels a side, of a picture shrunk to at most so many pixels.
    Patches {
        /// The side of the square.
        side: u64,
        /// Pixels at most.
        most: u64,
    },
}

impl Tokens {
    /// Reads a tokenizer's file.
    ///
    /// # Errors
    /// If it cannot be read, or is none.
    pub fn load(path: &Path) -> Result<Self, String> {
        let named = |what: String| format!("{}: {what}", path.display());
        let file = std::fs::read(path).map_err(|e| named(e.to_string()))?;
        if file.trim_ascii_start().starts_with(b"{") {
            let mut fast = Tokenizer::from_bytes(&file)
                .map_err(|e| named(format!("it is no tokenizer.json: {e}")))?;
            // What the file says of cutting and padding is for training, not for counting.
            fast.with_padding(None);
            let _ = fast.with_truncation(None);
            return Ok(Self::Fast(Arc::new(fast)));
        }
        SentencePiece::parse(&file)
            .map(|pieces| Self::Pieces(Arc::new(pieces)))
            .map_err(|e| named(format!("neither a tokenizer.json nor a model: {e}")))
    }

    /// The tokens of a text.
    #[must_use]
    pub fn count(&self, text: &str) -> u64 {
        match self {
            Self::Fast(tokenizer) => match tokenizer.encode(text, false) {
                Ok(encoded) => encoded.len() as u64,
                Err(_) => estimate(text),
            },
            Self::Pieces(model) => {
                let mut count = 0;
                model.pieces(text, |_| count += 1);
                count
            }
            Self::Estimated => estimate(text),
        }
    }

    /// Whether a count is only about right.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        matches!(self, Self::Estimated)
    }
}

/// One a character of scripts without spaces, else one for 3.5 bytes.
fn estimate(text: &str) -> u64 {
    let (mut wide, mut bytes) = (0_u64, 0_u64);
    for c in text.chars() {
        if matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{20000}'..='\u{3ffff}')
        {
            wide += 1;
        } else {
            bytes += c.len_utf8() as u64;
        }
    }
    wide + (bytes * 2).div_ceil(7)
}

impl ImageTokens {
    /// What a picture of this size costs, in a row of so many.
    #[must_use]
    pub fn of(self, width: u64, height: u64, pictures: u64) -> u64 {
        let (width, height) = (width.max(1), height.max(1));
        match self {
            Self::Fixed(count) => count,
            Self::Tiles { each, most, side } => {
                let tiles = tiles(width, height, (most / pictures.max(1)).max(1), side);
                each * if tiles > 1 { tiles + 1 } else { 1 }
            }
            Self::Patches { side, most } => {
                let area = (width * height).min(most);
                area.div_ceil(side * side).max(1)
            }
        }
    }
}

/// The tiles of the grid whose proportions are nearest to the picture's; of several such the
/// largest that the picture fills by half.
fn tiles(width: u64, height: u64, most: u64, side: u64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "pixels are few")]
    let ratio = |w: u64, h: u64| w as f64 / h as f64;
    let own = ratio(width, height);
    let mut best = (f64::INFINITY, 1);
    for count in 1..=most {
        for across in (1..=count).filter(|across| count.is_multiple_of(*across)) {
            let distance = (ratio(across, count / across) - own).abs();
            let fills = 2 * width * height > side * side * count;
            if distance < best.0 || (distance - best.0).abs() < f64::EPSILON && fills {
                best = (distance, count);
            }
        }
    }
    best.1
}

/// The tokens of a row: its texts and its images; images whose size cannot be read cost nothing.
#[must_use]
pub fn of_record(record: &Record, tokens: &Tokens, image: ImageTokens) -> u64 {
    let texts: u64 = record
        .turns
        .iter()
        .filter_map(|turn| turn.text.as_deref())
        .map(|text| tokens.count(text))
        .sum();
    let pictures = record.images.len() as u64;
    let images: u64 = record
        .images
        .iter()
        .filter_map(|slot| slot.header().ok())
        .map(|header| image.of(u64::from(header.width), u64::from(header.height), pictures))
        .sum();
    texts + images
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_about_right() {
        assert_eq!(estimate("seven letters"), 4);
        assert_eq!(estimate("\u{4e2d}\u{6587} ab"), 3);
        let tiles = ImageTokens::Tiles {
            each: 256,
            most: 12,
            side: 448,
        };
        assert_eq!(tiles.of(448, 448, 1), 256);
        assert_eq!(tiles.of(896, 448, 1), 768);
        assert_eq!(tiles.of(1792, 1344, 1), 3328);
        let patches = ImageTokens::Patches {
            side: 28,
            most: 768 * 768,
        };
        assert_eq!(tiles.of(1792, 1344, 12), 256);
        assert_eq!(patches.of(280, 280, 1), 100);
        assert_eq!(patches.of(10_000, 10_000, 1), 753);
    }
}
