//! Drops rows whose text an earlier row has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::text_digest;
use crate::op::{
    BuildContext, ExactDeduplicator, Facts, Operator, ParamError, SharedHash, operator,
};
use crate::sample::{FieldPath, RowError, Sample};

operator! {
    /// Drops rows whose text is the same as that of an earlier row.
    ///
    /// Texts are the same if their MD5 digests are, after white space at both ends is cut (as
    /// Python's `str.strip` does). `lowercase` and `ignore_non_character` make the comparison
    /// coarser; the text itself is not changed. Empty texts are the same as each other. A row
    /// whose digest an earlier deduplicator of the recipe made keeps that one.
    ///
    /// ## Example
    /// ```yaml
    /// - document_deduplicator: {lowercase: true, ignore_non_character: true}
    /// ```
    /// ```json
    /// {"rows": [{"text": "A dog."}, {"text": "a cat"}, {"text": " a dog 2"}], "out": [{"text": "A dog."}, {"text": "a cat"}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `document_deduplicator`: same. A `__dj__hash` column in the input is not
    /// read.
    document_deduplicator: Deduplicator(Params) => build,
    Facts {
        hashes: |_| &[SharedHash::Text],
        ..Facts::OF_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Compare texts in lower case.
    lowercase: bool,
    /// Compare texts without white space, decimal digits and ASCII punctuation.
    ignore_non_character: bool,
}

struct DocumentDeduplicator {
    text_key: FieldPath,
    lowercase: bool,
    ignore_non_character: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "every operator is built alike")]
fn build(
    Params {
        lowercase,
        ignore_non_character,
    }: Params,
    context: &BuildContext,
) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Exact(Box::new(DocumentDeduplicator {
        text_key: context.base.text_key.clone(),
        lowercase,
        ignore_non_character,
    })))
}

impl ExactDeduplicator for DocumentDeduplicator {
    fn key(&self, sample: &Sample) -> Result<Option<u128>, RowError> {
        let digest = if let Some(digest) = sample.hashes.text.get() {
            *digest
        } else {
            let text = sample.required_text(&self.text_key)?;
            let digest = text_digest(&text, self.lowercase, self.ignore_non_character);
            *sample.hashes.text.get_or_init(|| digest)
        };
        Ok(Some(u128::from_be_bytes(digest)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sample::{ImageContext, Origin};

    fn row(text: &str) -> Sample {
        let line = serde_json::json!({ "text": text }).to_string();
        Sample::parse(line, Origin::default(), Arc::new(ImageContext::default())).unwrap()
    }

    fn key(params: Params, sample: &Sample) -> Option<u128> {
        match build(params, &BuildContext::default()) {
            Ok(Operator::Exact(op)) => op.key(sample).unwrap(),
            _ => panic!("an exact deduplicator"),
        }
    }

    #[test]
    fn the_key_is_the_md5_of_the_stripped_text() {
        // hashlib.md5(b"hello world")
        let expected = 0x5eb6_3bbb_e01e_eed0_93cb_22bb_8f5a_cdc3;
        assert_eq!(
            key(Params::default(), &row(" hello world\n")),
            Some(expected)
        );
    }

    #[test]
    fn the_first_digest_of_a_row_stays() {
        let sample = row("A");
        let plain = key(Params::default(), &sample);
        let lower = Params {
            lowercase: true,
            ..Params::default()
        };
        assert_eq!(key(lower.clone(), &sample), plain);
        assert_ne!(key(lower, &row("A")), plain);
    }
}
