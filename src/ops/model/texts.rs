//! Texts as token ids of a fixed number.

use crate::op::{BuildContext, Element, Head};
use crate::sample::RowError;

use super::open::head;

/// Token ids and a mask, both filled up with zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Padded {
    ids: Vec<i32>,
    tokens: usize,
}

impl Padded {
    /// `ids` filled up with `pad` to `length`.
    ///
    /// # Errors
    /// If there are more.
    pub fn new(ids: &[u32], length: usize, pad: u32) -> Result<Self, RowError> {
        let tokens = ids.len();
        if tokens > length {
            return Err(RowError::new(
                "model_input",
                format!("the text has {tokens} tokens, and the model takes {length}"),
            ));
        }
        let number = |id: u32| {
            i32::try_from(id).map_err(|_| RowError::new("model_input", "a token has no such id"))
        };
        let mut ids: Vec<i32> = ids.iter().copied().map(number).collect::<Result<_, _>>()?;
        ids.resize(length, number(pad)?);
        Ok(Self { ids, tokens })
    }

    /// Appends the ids.
    pub fn put_ids(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.ids.iter().flat_map(|id| id.to_le_bytes()));
    }

    /// Appends 1 for each token, and 0 for what was filled up.
    pub fn put_mask(&self, bytes: &mut Vec<u8>) {
        for place in 0..self.ids.len() {
            bytes.extend(i32::from(place < self.tokens).to_le_bytes());
        }
    }
}

/// The lengths that texts are filled up to. Which one a text gets depends on the text alone.
const LENGTHS: [usize; 4] = [32, 128, 512, 4096];

/// Heads that differ in the length of their texts.
#[derive(Debug, Clone)]
pub struct TextHeads {
    lengths: Vec<usize>,
    pad: u32,
    masked: bool,
}

impl TextHeads {
    /// For texts of at most `longest` tokens, filled up with `pad`.
    #[must_use]
    pub fn new(longest: usize, pad: u32) -> Self {
        let mut lengths: Vec<usize> = LENGTHS
            .into_iter()
            .take_while(|length| *length < longest)
            .collect();
        lengths.truncate(LENGTHS.len() - 1);
        lengths.push(longest);
        Self {
            lengths,
            pad,
            masked: true,
        }
    }

    /// The same for a model that needs no mask.
    #[must_use]
    pub fn without_mask(self) -> Self {
        Self {
            masked: false,
            ..self
        }
    }

    /// The heads, called as `names` says, the shortest first. Beside ids and mask they have the
    /// inputs `before`. A batch of longer texts has fewer of them where a text is all there is, so
    /// that each batch has about as many tokens.
    #[must_use]
    pub fn heads(
        &self,
        context: &BuildContext,
        names: [&'static str; 4],
        before: &[(&'static str, Element, &[usize])],
        outputs: usize,
    ) -> Vec<Head> {
        let shortest = self.lengths.first().copied().unwrap_or_default();
        let each = self.lengths.iter().zip(names);
        let heads = each.map(|(length, name)| {
            let shape = [*length];
            let mut inputs = before.to_vec();
            inputs.push(("ids", Element::I32, &shape));
            if self.masked {
                inputs.push(("mask", Element::I32, &shape));
            }
            let mut head = head(context, name, &inputs, Some(vec![outputs]));
            if before.is_empty() {
                head.batch = (head.batch * shortest).div_ceil((*length).max(1)).max(1);
            }
            head
        });
        heads.collect()
    }

    /// The head for these ids, and `bytes` with ids and mask behind them.
    ///
    /// # Errors
    /// If they are too many.
    pub fn put(&self, ids: &[u32], bytes: &mut Vec<u8>) -> Result<usize, RowError> {
        let fits = self.lengths.iter().position(|length| ids.len() <= *length);
        let head = fits.unwrap_or(self.lengths.len().saturating_sub(1));
        let length = self.lengths.get(head).copied().unwrap_or_default();
        let padded = Padded::new(ids, length, self.pad)?;
        padded.put_ids(bytes);
        if self.masked {
            padded.put_mask(bytes);
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_gets_the_shortest_head_that_takes_it() {
        let heads = TextHeads::new(200, 9);
        assert_eq!(heads.lengths, [32, 128, 200]);
        let mut bytes = Vec::new();
        assert_eq!(heads.put(&[7; 3], &mut bytes).unwrap(), 0);
        assert_eq!(bytes.len(), 32 * 8);
        assert_eq!(
            bytes[..20],
            [7, 0, 0, 0, 7, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0]
        );
        assert_eq!(
            bytes[128..144],
            [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(heads.put(&[7; 33], &mut bytes).unwrap(), 1);
        assert_eq!(heads.put(&[7; 200], &mut bytes).unwrap(), 2);
        assert_eq!(
            heads.put(&[7; 201], &mut bytes).unwrap_err().code,
            "model_input"
        );
        assert_eq!(TextHeads::new(16, 0).lengths, [16]);
        assert_eq!(TextHeads::new(4096, 0).lengths, [32, 128, 512, 4096]);
    }
}
