//! Keeps rows whose share of flagged words is within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listed_words::{self, Listed};
use crate::op::{BuildContext, Facts, Operator, ParamError, StatDef, operator};

operator! {
    /// Keeps rows whose share of flagged words is between `min_ratio` and `max_ratio`.
    ///
    /// Words are those of `words_num_filter`, turned to lower case before special characters are
    /// stripped; the share is the number of words on the list of `lang`, by exact spelling, divided
    /// by the number of words; 0 if there is no word. With `use_words_aug`, every group of as many
    /// words in a row as `words_aug_group_sizes` says is joined and counts as a word too. The lists
    /// are all `*.json` of `flagged_words_dir` whose name contains `flagged_words`, each an object from
    /// languages to lists of words; `all` is all languages together. Both ends are inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - flagged_words_filter: {flagged_words_dir: fixtures/words, max_ratio: 0.1}
    /// ```
    /// ```json
    /// {"in": {"text": "The cat is on a mat"}, "out": {"text": "The cat is on a mat"}, "stats": {"flagged_words_ratio": 0.0}}
    /// {"in": {"text": "Darn, that darned cat!"}, "out": null, "stats": {"flagged_words_ratio": 0.25}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `flagged_words_filter`: same, but a language without a list is an error before
    /// any row is read (there, at the first row that has a word), and absent lists and models are not
    /// downloaded: the error says where to put them.
    flagged_words_filter: Filter(Params) => build,
    Facts {
        stats: &[SHARE],
        ..Facts::OF_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Language of the list and of the SentencePiece model; `all` takes every list.
    lang: String,
    /// Cut words with a SentencePiece model instead of at white space.
    tokenization: bool,
    /// Smallest share kept (0 to 1), inclusive.
    min_ratio: Option<f64>,
    /// Largest share kept (0 to 1), inclusive.
    max_ratio: Option<f64>,
    /// Directory of the word lists; by default the assets in Data-Juicer's cache directory.
    flagged_words_dir: Option<String>,
    /// Count groups of words in a row as words too.
    use_words_aug: bool,
    /// Sizes of the groups in words, each at least 1.
    words_aug_group_sizes: Vec<i64>,
    /// What is put between the words of a group.
    words_aug_join_char: String,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            lang: "en".into(),
            tokenization: false,
            min_ratio: Some(0.0),
            max_ratio: Some(0.045),
            flagged_words_dir: None,
            use_words_aug: false,
            words_aug_group_sizes: vec![2],
            words_aug_join_char: String::new(),
        }
    }
}

const SHARE: StatDef = StatDef::number("flagged_words_ratio")
    .min("min_ratio")
    .max("max_ratio");

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let given = Listed {
        stat: &SHARE,
        list: "flagged_words",
        dir: ("flagged_words_dir", params.flagged_words_dir.as_deref()),
        lang: &params.lang,
        tokenization: params.tokenization,
        range: (params.min_ratio, params.max_ratio),
        use_groups: params.use_words_aug,
        group_sizes: &params.words_aug_group_sizes,
        join: &params.words_aug_join_char,
    };
    listed_words::build(&given, context)
}

#[cfg(test)]
mod tests {
    use crate::op::testing::{build_filter, check_filter};

    #[test]
    fn words_are_looked_up_in_lower_case() {
        let params = r#"{"flagged_words_dir": "fixtures/words"}"#;
        for (text, expected) in [
            ("", r#"{"flagged_words_ratio": 0.0} keep"#),
            ("DARN! it", r#"{"flagged_words_ratio": 0.5} drop"#),
            ("zut", r#"{"flagged_words_ratio": 0.0} keep"#),
        ] {
            check_filter("flagged_words_filter", params, text, expected);
        }
    }

    #[test]
    fn groups_of_words_count_when_asked_for() {
        let params = r#"{"flagged_words_dir": "fixtures/words", "use_words_aug": true}"#;
        let expected = r#"{"flagged_words_ratio": 0.2} drop"#;
        check_filter("flagged_words_filter", params, "two words here", expected);
        let params = r#"{"flagged_words_dir": "fixtures/words", "words_aug_group_sizes": [0],
            "lang": "xx"}"#;
        let problems = build_filter("flagged_words_filter", params).err().unwrap();
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
