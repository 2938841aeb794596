//! Drops rows whose text is nearly that of an earlier row, by `MinHash` and bands.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::hash::{IgnorePattern, Permutations, Shingler, Tokenization, band_keys, optimal_bands};
use crate::models::SentencePiece;
use crate::note::Code;
use crate::op::{
    BandDeduplicator, BuildContext, Facts, Joins, Operator, ParamError, check_number, check_share,
    operator,
};
use crate::sample::{FieldPath, RowError, Sample};

operator! {
    /// Drops rows whose text is nearly the same as that of an earlier row (`MinHash` LSH).
    ///
    /// A text is taken in lower case, without what `ignore_pattern` matches, as the set of all
    /// runs of `window_size` neighbouring tokens. Its signature holds, for each of
    /// `num_permutations` permutations, the least permuted hash of the set; it is cut into
    /// `num_bands` bands of `num_rows_per_band` values. Rows that agree in a whole band are joined,
    /// whatever their true similarity; of all rows joined, directly or through others, the first
    /// one stays. Bands and rows a band are chosen for `jaccard_threshold` unless both are given.
    ///
    /// A text of fewer tokens than `window_size` has an empty set, and all empty sets are the
    /// same: of all texts under five words just the first one stays. A note counts such rows. With
    /// short captions choose `short_texts: exact` (or `keep`), a smaller `window_size`, or
    /// `tokenization: character`.
    ///
    /// With `verify: exact` rows that share a band are only candidates: of those joined, row by row
    /// from the one that stays first on, a row goes only for one that stays, shares a band with it
    /// and has itself a Jaccard similarity of at least `jaccard_threshold`, computed from all
    /// windows. So no row goes for one that it is less like than asked for, and none through others;
    /// pairs that share no band are not found: with the default 25 bands of 10 values, 51 of 100
    /// pairs of similarity 0.7 share one, 94 of 0.8, and all but 2 in 100,000 of 0.9. `estimated` compares the signatures instead, whose
    /// estimate has a deviation of about 0.03 with 256 permutations. Both keep the windows
    /// (8 bytes each) or signatures of all rows on disk until all rows are known.
    ///
    /// ## Example
    /// ```yaml
    /// - document_minhash_deduplicator: {window_size: 2}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a red bicycle by the old wall"}, {"text": "two cats"}, {"text": "A  red bicycle by the old wall"}], "out": [{"text": "a red bicycle by the old wall"}, {"text": "two cats"}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `document_minhash_deduplicator`: same rows; `short_texts` and `verify` are djr's own. A band is compared by 64 bits
    /// of its values (a chance below 1 in a million of one wrong pair in 400,000 rows). Bands
    /// that lie wholly beyond the permutations are refused: they would join all rows.
    /// `tokenizer_model` is the path of a SentencePiece model.
    document_minhash_deduplicator: Deduplicator(Params) => build,
    Facts::OF_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Params {
    /// How texts are cut: `space`, `punctuation` or `character`.
    pub(super) tokenization: MinhashTokenization,
    /// Tokens in a shingle, at least 1.
    pub(super) window_size: u64,
    /// Compare texts in lower case.
    pub(super) lowercase: bool,
    /// A regular expression; what it matches is cut before the text is compared.
    pub(super) ignore_pattern: Option<String>,
    /// Values in a signature, at least 1.
    pub(super) num_permutations: u64,
    /// The Jaccard similarity, from 0 to 1, around which rows begin to be joined.
    pub(super) jaccard_threshold: f64,
    /// Bands of a signature; used only together with `num_rows_per_band`.
    pub(super) num_bands: Option<u64>,
    /// Values in a band; used only together with `num_bands`.
    pub(super) num_rows_per_band: Option<u64>,
    /// Path of the SentencePiece model of `tokenization: sentencepiece`, which needs one.
    pub(super) tokenizer_model: Option<String>,
    /// What texts of fewer tokens than `window_size` are: `peer`, all of them one text, as for
    /// Data-Juicer; `exact`, the same as those with equal tokens; `keep`, like no other.
    pub(super) short_texts: ShortTexts,
    /// How candidates are held against each other before one goes: `none`, as for Data-Juicer;
    /// `estimated`, by their signatures; `exact`, by all their windows.
    pub(super) verify: Verify,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            tokenization: MinhashTokenization::Space,
            window_size: 5,
            lowercase: true,
            ignore_pattern: None,
            num_permutations: 256,
            jaccard_threshold: 0.7,
            num_bands: None,
            num_rows_per_band: None,
            tokenizer_model: None,
            short_texts: ShortTexts::Peer,
            verify: Verify::None,
        }
    }
}

/// What texts without a window are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ShortTexts {
    /// All of them one text.
    #[default]
    Peer,
    /// The same if their tokens are.
    Exact,
    /// Like no other text.
    Keep,
}

/// How candidates are held against each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verify {
    /// Not at all.
    #[default]
    None,
    /// By the share of values in which their signatures agree.
    Estimated,
    /// By the windows that they have in common.
    Exact,
}

/// How texts are cut into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum MinhashTokenization {
    /// At spaces (U+0020 only).
    Space,
    /// At each punctuation character.
    Punctuation,
    /// Each code point is a token.
    Character,
    /// Into the pieces of `tokenizer_model`.
    Sentencepiece,
}

/// More permutations than this only cost time and memory.
const MOST_PERMUTATIONS: u64 = 1 << 16;

struct DocumentMinhash {
    text_key: FieldPath,
    shingler: Shingler,
    permutations: Permutations,
    bands: usize,
    rows: usize,
    short: ShortTexts,
    verify: Verify,
    threshold: f64,
    /// Values in a signature.
    values: usize,
}

/// The key of a row that is like no other.
const ALONE: u64 = 0;

/// Checks the parameters; the operators that differ in nothing but their names build this one.
pub(super) fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut errors: Vec<ParamError> = [
        check_number("window_size", Some(params.window_size)),
        check_number("num_permutations", Some(params.num_permutations)),
        check_number("num_bands", params.num_bands),
        check_number("num_rows_per_band", params.num_rows_per_band),
        check_share("jaccard_threshold", Some(params.jaccard_threshold)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if params.num_permutations > MOST_PERMUTATIONS {
        errors.push(ParamError::new(
            "num_permutations",
            format!("num_permutations is above {MOST_PERMUTATIONS}"),
        ));
    }
    if let (Some(bands), Some(rows)) = (params.num_bands, params.num_rows_per_band) {
        let filled = params.num_permutations.div_ceil(rows.max(1));
        if bands > filled {
            errors.push(
                ParamError::new(
                    "num_bands",
                    format!(
                        "{bands} bands of {rows} values need more than the {} permutations: \
                         the last bands would be empty and join all rows",
                        params.num_permutations
                    ),
                )
                .hint(format!(
                    "lower num_bands to {filled}, or raise num_permutations"
                )),
            );
        }
    }
    let mut model = None;
    let tokenization = match params.tokenization {
        MinhashTokenization::Space => Tokenization::Space,
        MinhashTokenization::Punctuation => Tokenization::Punctuation,
        MinhashTokenization::Character => Tokenization::Character,
        MinhashTokenization::Sentencepiece => {
            match tokenizer(params.tokenizer_model.as_deref(), context) {
                Ok(loaded) => model = Some(Arc::new(loaded)),
                Err(error) => errors.push(error),
            }
            Tokenization::Character
        }
    };
    let ignore = IgnorePattern::optional(params.ignore_pattern).unwrap_or_else(|problem| {
        errors.push(ParamError::new("ignore_pattern", problem));
        None
    });
    if !errors.is_empty() {
        return Err(errors);
    }
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (bands, rows) = match (params.num_bands, params.num_rows_per_band) {
        (Some(bands), Some(rows)) => (size(bands), size(rows)),
        _ => optimal_bands(params.jaccard_threshold, size(params.num_permutations)),
    };
    // Values beyond the last band are never looked at.
    let used = bands
        .saturating_mul(rows)
        .min(size(params.num_permutations));
    Ok(Operator::Near(Box::new(DocumentMinhash {
        text_key: context.base.text_key.clone(),
        shingler: Shingler {
            tokenization,
            window: size(params.window_size),
            lowercase: params.lowercase,
            ignore,
            model,
        },
        permutations: Permutations::new(used),
        bands,
        rows,
        short: params.short_texts,
        verify: params.verify,
        threshold: params.jaccard_threshold,
        values: used,
    })))
}

/// Loads the model that `tokenizer_model` names.
fn tokenizer(path: Option<&str>, context: &BuildContext) -> Result<SentencePiece, ParamError> {
    let wrong = |message: String| {
        ParamError::new("tokenizer_model", message)
            .hint("give the path of a SentencePiece model, a file that ends in .model")
    };
    let path =
        path.ok_or_else(|| wrong("tokenization: sentencepiece needs tokenizer_model".to_owned()))?;
    let found = context.resolve(path).map_err(|error| {
        let tried: Vec<String> = error
            .tried
            .iter()
            .map(|p| p.display().to_string())
            .collect();
        wrong(format!("no model '{path}': tried {}", tried.join(", ")))
    })?;
    let file = context
        .read(&found)
        .map_err(|e| wrong(format!("{}: {e}", found.display())))?;
    SentencePiece::parse(&file).map_err(|e| wrong(format!("{}: {e}", found.display())))
}

impl BandDeduplicator for DocumentMinhash {
    fn bands(&self) -> usize {
        self.bands
    }

    // The row's `minhash_bands` slot stays unused: Data-Juicer removes its column at the end of
    // each minhash deduplicator, so that a second one in a recipe computes its own.
    fn keys(&self, sample: &Sample, out: &mut Vec<u64>) -> Result<(), RowError> {
        let text = sample.required_text(&self.text_key)?;
        let shingles = self
            .shingler
            .shingles(&text)
            .map_err(|problem| RowError::new("pattern_failed", problem))?;
        if shingles.is_empty() {
            match self.short {
                ShortTexts::Peer => sample.remark(Code::ShortTexts),
                ShortTexts::Exact => {
                    let key = xxh3_64(shingles.joined().as_bytes()).max(ALONE + 1);
                    out.extend(std::iter::repeat_n(key, self.bands));
                    // Equal to those of equal texts, and to no other.
                    let values = match self.verify {
                        Verify::None => 0,
                        Verify::Estimated => self.values.div_ceil(2),
                        Verify::Exact => 1,
                    };
                    out.extend(std::iter::repeat_n(key, values));
                    return Ok(());
                }
                ShortTexts::Keep => {
                    out.extend(std::iter::repeat_n(ALONE, self.bands));
                    return Ok(());
                }
            }
        }
        let mut signature = Vec::new();
        self.permutations
            .signature_of(shingles.iter(), &mut signature);
        band_keys(&signature, self.bands, self.rows, out);
        match self.verify {
            Verify::None => {}
            Verify::Estimated => out.extend(signature.chunks(2).map(packed)),
            Verify::Exact => {
                let mut windows: Vec<u64> = shingles.iter().map(xxh3_64).collect();
                windows.sort_unstable();
                windows.dedup();
                out.extend(windows);
            }
        }
        Ok(())
    }

    fn verifies(&self) -> bool {
        self.verify != Verify::None
    }

    fn alike(&self, a: &[u64], b: &[u64]) -> bool {
        let (common, all) = match self.verify {
            Verify::None => return true,
            Verify::Estimated => agreeing(a, b, self.values),
            Verify::Exact => common(a, b),
        };
        #[expect(clippy::cast_precision_loss, reason = "counts of windows of one text")]
        let similarity = common as f64 / all as f64;
        all == 0 || similarity >= self.threshold
    }

    fn joins(&self) -> Joins {
        Joins::Equal {
            alone: (self.short == ShortTexts::Keep).then_some(ALONE),
        }
    }
}

/// Two values of a signature in one word.
fn packed(values: &[u32]) -> u64 {
    values
        .iter()
        .fold(0, |word, value| word << 32 | u64::from(*value))
}

/// In how many of its `values` two signatures agree.
fn agreeing(a: &[u64], b: &[u64], values: usize) -> (usize, usize) {
    let halves = |word: u64| [word >> 32, word & u64::from(u32::MAX)];
    let words = a.iter().zip(b).map(|(a, b)| {
        let halves = halves(*a).into_iter().zip(halves(*b));
        halves.filter(|(a, b)| a == b).count()
    });
    // The last word of an odd number of values has an empty half.
    (words.sum::<usize>().saturating_sub(values % 2), values)
}

/// How many elements two ascending lists share, and how many there are in both together.
fn common(mut a: &[u64], mut b: &[u64]) -> (usize, usize) {
    let both = a.len() + b.len();
    let mut shared = 0;
    while let (Some((x, rest_a)), Some((y, rest_b))) = (a.split_first(), b.split_first()) {
        if x <= y {
            a = rest_a;
        }
        if y <= x {
            b = rest_b;
        }
        shared += usize::from(x == y);
    }
    (shared, both - shared)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::op::Clusters;
    use crate::sample::{ImageContext, Origin};

    /// The rows that stay.
    fn kept(params: Params, texts: &[&str]) -> Vec<usize> {
        let Ok(Operator::Near(op)) = build(params, &BuildContext::default()) else {
            panic!("a near deduplicator");
        };
        let rows: Vec<Vec<u64>> = texts
            .iter()
            .map(|text| {
                let line = serde_json::json!({ "text": text }).to_string();
                let context = Arc::new(ImageContext::default());
                let sample = Sample::parse(line, Origin::default(), context).unwrap();
                let mut keys = Vec::new();
                op.keys(&sample, &mut keys).unwrap();
                assert_eq!(keys.len(), op.bands());
                keys
            })
            .collect();
        let clusters = Clusters::new(rows.len());
        for band in 0..op.bands() {
            let column: Vec<u64> = rows.iter().map(|keys| keys[band]).collect();
            op.cluster(&column, &clusters);
        }
        (0u32..)
            .zip(0..texts.len())
            .filter(|&(row, _)| clusters.find(row) == row)
            .map(|(_, index)| index)
            .collect()
    }

    #[test]
    fn near_texts_and_all_short_texts_are_joined() {
        let long = "one two three four five six seven eight nine ten eleven twelve";
        let near = "One two three  four five six seven eight nine ten eleven twelve thirteen";
        let other = "there is nothing in common between this and the others here";
        assert_eq!(
            kept(
                Params::default(),
                &[long, "short", near, other, "", "also short"]
            ),
            [0, 1, 3]
        );
        let texts = ["short", "Short ", long, "", "also short", near, "short"];
        for (short_texts, expected) in [
            (ShortTexts::Peer, vec![0, 2]),
            (ShortTexts::Exact, vec![0, 2, 3, 4]),
            (ShortTexts::Keep, vec![0, 1, 2, 3, 4, 6]),
        ] {
            let params = Params {
                short_texts,
                ..Params::default()
            };
            assert_eq!(kept(params, &texts), expected, "{short_texts:?}");
        }
        let pattern = Params {
            ignore_pattern: Some(r"\p{P}".into()),
            tokenization: MinhashTokenization::Character,
            ..Params::default()
        };
        assert_eq!(
            kept(pattern, &["你好，请问你是谁", "你好请问，你是谁？"]),
            [0]
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let params = Params {
            tokenization: MinhashTokenization::Sentencepiece,
            window_size: 0,
            ignore_pattern: Some("(".into()),
            num_bands: Some(30),
            num_rows_per_band: Some(10),
            ..Params::default()
        };
        let errors = build(params, &BuildContext::default()).err().unwrap();
        let names: Vec<_> = errors.iter().filter_map(|e| e.param.as_deref()).collect();
        assert_eq!(
            names,
            [
                "window_size",
                "num_bands",
                "tokenizer_model",
                "ignore_pattern"
            ]
        );
    }
}
