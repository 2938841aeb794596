//! Drops rows whose text is nearly that of an earlier row, with the parameters of Data-Juicer's
//! distributed operator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document_minhash_deduplicator::{
    self as minhash, MinhashTokenization, ShortTexts, Verify,
};
use crate::op::{BuildContext, Facts, Operator, ParamError, operator};

operator! {
    /// Drops rows whose text is nearly the same as that of an earlier row (`MinHash` LSH): what
    /// `document_minhash_deduplicator` does, with the parameters of a distributed run.
    ///
    /// ## Example
    /// ```yaml
    /// - ray_bts_minhash_deduplicator: {window_size: 2}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a red bicycle by the old wall"}, {"text": "two cats"}, {"text": "A  red bicycle by the old wall"}], "out": [{"text": "a red bicycle by the old wall"}, {"text": "two cats"}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `ray_bts_minhash_deduplicator`: same groups of rows. It keeps the row of a
    /// group that its workers saw first, here it is always the first one in the input. Parameters
    /// that steer its workers are accepted and have no effect. See `document_minhash_deduplicator`
    /// for the rest.
    ray_bts_minhash_deduplicator: Deduplicator(Params) => build,
    Facts::OF_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Params {
    /// How texts are cut: `space`, `punctuation` or `character`.
    tokenization: MinhashTokenization,
    /// Tokens in a shingle, at least 1.
    window_size: u64,
    /// Compare texts in lower case.
    lowercase: bool,
    /// A regular expression; what it matches is cut before the text is compared.
    ignore_pattern: Option<String>,
    /// Values in a signature, at least 1.
    num_permutations: u64,
    /// The Jaccard similarity, from 0 to 1, around which rows begin to be joined.
    jaccard_threshold: f64,
    /// Bands of a signature; used only together with `num_rows_per_band`.
    num_bands: Option<u64>,
    /// Values in a band; used only together with `num_bands`.
    num_rows_per_band: Option<u64>,
    /// The model of `tokenization: sentencepiece`.
    tokenizer_model: Option<String>,
    /// What texts of fewer tokens than `window_size` are: `peer`, `exact` or `keep`.
    short_texts: ShortTexts,
    /// How candidates are held against each other before one goes: `none`, `estimated` or `exact`.
    verify: Verify,
    /// No effect.
    union_find_parallel_num: AutoOrCount,
    /// No effect.
    union_threshold: Option<u64>,
    /// No effect.
    max_pending_edge_buffer_task: Option<u64>,
    /// No effect.
    num_edge_buffer_task_returns: Option<u64>,
    /// No effect.
    max_pending_filter_tasks: Option<u64>,
    /// No effect.
    num_filter_task_returns: Option<u64>,
    /// No effect.
    merge_batch_size: Option<u64>,
    /// No effect.
    minhash_batch_size: Option<AutoOrCount>,
    /// No effect.
    memory_per_sample: Option<f64>,
    /// No effect.
    actor_memory: Option<u64>,
    /// No effect.
    task_memory: Option<u64>,
}

impl Default for Params {
    fn default() -> Self {
        let minhash::Params {
            tokenization,
            window_size,
            lowercase,
            ignore_pattern,
            num_permutations,
            jaccard_threshold,
            num_bands,
            num_rows_per_band,
            tokenizer_model,
            short_texts,
            verify,
        } = minhash::Params::default();
        Self {
            tokenization,
            window_size,
            lowercase,
            ignore_pattern,
            num_permutations,
            jaccard_threshold,
            num_bands,
            num_rows_per_band,
            tokenizer_model,
            short_texts,
            verify,
            union_find_parallel_num: AutoOrCount::default(),
            union_threshold: Some(256),
            max_pending_edge_buffer_task: Some(20),
            num_edge_buffer_task_returns: Some(10),
            max_pending_filter_tasks: Some(20),
            num_filter_task_returns: Some(10),
            merge_batch_size: Some(1000),
            minhash_batch_size: Some(AutoOrCount::default()),
            memory_per_sample: Some(0.1),
            actor_memory: None,
            task_memory: None,
        }
    }
}

/// A number, or `auto`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a whole number or auto")]
pub(super) enum AutoOrCount {
    /// `auto`.
    Auto(Auto),
    /// A number.
    Count(u64),
}

/// The word.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Auto {
    /// Left to Data-Juicer.
    #[default]
    Auto,
}

impl Default for AutoOrCount {
    fn default() -> Self {
        Self::Auto(Auto::Auto)
    }
}

pub(super) fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let params = minhash::Params {
        tokenization: params.tokenization,
        window_size: params.window_size,
        lowercase: params.lowercase,
        ignore_pattern: params.ignore_pattern,
        num_permutations: params.num_permutations,
        jaccard_threshold: params.jaccard_threshold,
        num_bands: params.num_bands,
        num_rows_per_band: params.num_rows_per_band,
        tokenizer_model: params.tokenizer_model,
        short_texts: params.short_texts,
        verify: params.verify,
    };
    minhash::build(params, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_accepted_as_a_number_or_auto() {
        for (written, good) in [
            ("3", true),
            ("\"auto\"", true),
            ("\"all\"", false),
            ("-1", false),
        ] {
            let params = format!(
                r#"{{"union_find_parallel_num": {written}, "minhash_batch_size": {written}}}"#
            );
            let read = serde_json::from_str::<Params>(&params);
            assert_eq!(read.is_ok(), good, "{written}");
        }
    }

    #[test]
    fn problems_are_those_of_the_plain_operator() {
        let params = Params {
            window_size: 0,
            ..Params::default()
        };
        let errors = build(params, &BuildContext::default()).err().unwrap();
        assert_eq!(errors[0].param.as_deref(), Some("window_size"));
    }
}
