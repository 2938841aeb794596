//! Drops rows whose text is nearly that of an earlier row, by `SimHash`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::{IgnorePattern, Shingler, Tokenization, text_simhash};
use crate::note::Code;
use crate::op::{
    BandDeduplicator, BuildContext, Facts, Joins, Operator, ParamError, SharedHash, check_number,
    operator,
};
use crate::sample::{FieldPath, RowError, Sample};

operator! {
    /// Drops rows whose text is nearly the same as that of an earlier row (`SimHash`).
    ///
    /// A text is taken in lower case, without what `ignore_pattern` matches, as the list of all
    /// runs of `window_size` neighbouring tokens. Bit i of its fingerprint is set if the hashes of
    /// more runs have it set than not; the hash is the first 8 bytes of MD5, big-endian. Rows
    /// whose fingerprints differ in at most `hamming_distance` of the 64 bits are joined; of all
    /// rows joined, directly or through others, the first one stays.
    ///
    /// A text of fewer tokens than `window_size` has the fingerprint 0, so that of all such texts
    /// just the first one stays. A row whose fingerprint an earlier deduplicator of the recipe
    /// made keeps that one.
    ///
    /// ## Example
    /// ```yaml
    /// - document_simhash_deduplicator: {window_size: 2}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a red bicycle by the old wall"}, {"text": "two cats on a roof"}, {"text": "A red  bicycle by the old wall"}], "out": [{"text": "a red bicycle by the old wall"}, {"text": "two cats on a roof"}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `document_simhash_deduplicator`: same. `num_blocks` there shapes the
    /// search for near fingerprints, not its answer; here it is only checked.
    document_simhash_deduplicator: Deduplicator(Params) => build,
    Facts {
        hashes: |_| &[SharedHash::Simhash],
        compares: &["num_blocks", "hamming_distance"],
        ..Facts::OF_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// How texts are cut: `space`, `punctuation` or `character`.
    tokenization: Tokenization,
    /// Tokens in a shingle, at least 1.
    window_size: u64,
    /// Compare texts in lower case.
    lowercase: bool,
    /// A regular expression; what it matches is cut before the text is compared.
    ignore_pattern: Option<String>,
    /// More than `hamming_distance` and at most 64; has no influence on the outcome.
    num_blocks: u64,
    /// Most bits, of 64, in which fingerprints of near texts differ, inclusive; at least 1.
    hamming_distance: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            tokenization: Tokenization::Space,
            window_size: 6,
            lowercase: true,
            ignore_pattern: None,
            num_blocks: 6,
            hamming_distance: 4,
        }
    }
}

struct DocumentSimhash {
    text_key: FieldPath,
    shingler: Shingler,
    distance: u32,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut errors: Vec<ParamError> = [
        check_number("window_size", Some(params.window_size)),
        check_number("hamming_distance", Some(params.hamming_distance)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if params.num_blocks <= params.hamming_distance || params.num_blocks > 64 {
        errors.push(
            ParamError::new(
                "num_blocks",
                format!(
                    "num_blocks is {}, not from hamming_distance + 1 = {} to 64",
                    params.num_blocks,
                    params.hamming_distance.saturating_add(1)
                ),
            )
            .hint("two more than hamming_distance is usual"),
        );
    }
    let ignore = IgnorePattern::optional(params.ignore_pattern).unwrap_or_else(|problem| {
        errors.push(ParamError::new("ignore_pattern", problem));
        None
    });
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Operator::Near(Box::new(DocumentSimhash {
        text_key: context.base.text_key.clone(),
        shingler: Shingler {
            tokenization: params.tokenization,
            window: usize::try_from(params.window_size).unwrap_or(usize::MAX),
            lowercase: params.lowercase,
            ignore,
            model: None,
        },
        distance: u32::try_from(params.hamming_distance).unwrap_or(u32::MAX),
    })))
}

impl DocumentSimhash {
    fn fingerprint(&self, sample: &Sample) -> Result<u64, RowError> {
        let text = sample.required_text(&self.text_key)?;
        let shingles = self
            .shingler
            .shingles(&text)
            .map_err(|problem| RowError::new("pattern_failed", problem))?;
        if shingles.is_empty() {
            sample.remark(Code::ShortTexts);
        }
        Ok(text_simhash(&shingles))
    }
}

impl BandDeduplicator for DocumentSimhash {
    fn bands(&self) -> usize {
        1
    }

    fn keys(&self, sample: &Sample, out: &mut Vec<u64>) -> Result<(), RowError> {
        let print = if let Some(print) = sample.hashes.simhash.get() {
            *print
        } else {
            let print = self.fingerprint(sample)?;
            *sample.hashes.simhash.get_or_init(|| print)
        };
        out.push(print);
        Ok(())
    }

    fn joins(&self) -> Joins {
        Joins::Within(self.distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Clusters;

    #[test]
    fn rows_join_through_others() {
        let Ok(Operator::Near(op)) = build(Params::default(), &BuildContext::default()) else {
            panic!("a near deduplicator");
        };
        let clusters = Clusters::new(5);
        op.cluster(&[0xff, u64::MAX, 0x0f, 0, u64::MAX], &clusters);
        let found: Vec<u32> = (0..5).map(|row| clusters.find(row)).collect();
        assert_eq!(found, [0, 1, 0, 0, 1]);
    }

    #[test]
    fn blocks_must_exceed_the_distance() {
        for num_blocks in [4, 65] {
            let params = Params {
                num_blocks,
                ..Params::default()
            };
            assert!(build(params, &BuildContext::default()).is_err());
        }
    }
}
