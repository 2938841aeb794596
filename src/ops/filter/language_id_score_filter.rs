//! Keeps rows whose text is in one of the given languages with enough certainty.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::models::FastText;
use crate::op::{
    Bounds, BuildContext, Facts, Filter, Measured, OneOrMany, Operator, ParamError, Problems,
    StatDef, StatType, Verdict, operator,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue, Stats};

operator! {
    /// Keeps rows whose text is in one of the languages `lang` with a score of at least `min_score`.
    ///
    /// The text is turned to lower case and to one line, and the fastText model `models/lid.176.bin`
    /// of Data-Juicer's cache names its most probable language and a score, which is a probability in
    /// single precision that may exceed 1 a little. Without `lang` only the score counts. The end is
    /// inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - language_id_score_filter: {lang: [en, fr], min_score: 0.9}
    /// ```
    /// ```json
    /// {"in": {"text": "the boat is on the lake"}, "out": {"text": "the boat is on the lake"}, "stats": {"lang": "en", "lang_score": 0.9991679787635803}}
    /// {"in": {"text": "das boot ist auf dem see"}, "out": null, "stats": {"lang": "de", "lang_score": 0.9942052960395813}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `language_id_score_filter`: same. The model is not downloaded: if it is
    /// absent the error says where to put it.
    language_id_score_filter: Filter(Params) => build,
    Facts {
        stats: &[LANGUAGE, SCORE],
        decides: &["lang"],
        ..Facts::OF_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The language to keep, or a list of them; none keeps all.
    lang: Option<OneOrMany>,
    /// Smallest score kept, inclusive.
    min_score: Option<f64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            lang: Some(OneOrMany::default()),
            min_score: Some(0.8),
        }
    }
}

const LANGUAGE: StatDef = StatDef::new("lang", StatType::Text);
const SCORE: StatDef = StatDef::number("lang_score").min("min_score");

struct LanguageIdScore {
    text_key: FieldPath,
    model: FastText,
    languages: Vec<String>,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    let model = problems.keep(context.language_model("lang"));
    let bounds = problems.keep(Bounds::new(&SCORE, params.min_score, None, &context.base));
    let (Some(model), Some(bounds)) = (model, bounds) else {
        return Err(problems.into());
    };
    let languages = match params.lang {
        Some(OneOrMany::One(one)) if !one.is_empty() => vec![one],
        Some(OneOrMany::Many(many)) => many,
        _ => Vec::new(),
    };
    Ok(Operator::Filter(Box::new(LanguageIdScore {
        text_key: context.base.text_key.clone(),
        model,
        languages,
        bounds,
    })))
}

impl Filter for LanguageIdScore {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let text = sample.required_text(&self.text_key)?;
        let line = crate::text::lower(&text).replace('\n', " ");
        let (language, score) = self.model.predict(&line).ok_or_else(|| {
            RowError::new("no_language", "the model names no language of the text")
        })?;
        Ok(smallvec![
            StatValue::json(language),
            StatValue::Float(f64::from(score))
        ])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }

    fn decide_within(&self, bounds: &[Bounds], stats: &Stats) -> Verdict {
        let language = stats
            .get(LANGUAGE.name())
            .map(StatValue::to_json)
            .unwrap_or_default();
        let wanted = |known: &String| language.as_str() == Some(known);
        if !self.languages.is_empty() && !self.languages.iter().any(wanted) {
            let limit = format!("lang: {}", self.languages.join(", "));
            return Verdict::drop(LANGUAGE.name(), StatValue::json(language), limit);
        }
        Bounds::decide_all(bounds, stats)
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_row;

    const NAME: &str = "language_id_score_filter";

    #[test]
    fn texts_of_any_kind_have_a_language_or_are_refused() {
        let params = r#"{"lang": "zh", "min_score": 0.3}"#;
        for row in [r#"{"text": null}"#, "{}"] {
            check_row(NAME, params, row, "missing_field");
        }
        check_row(NAME, params, r#"{"text": ["the"]}"#, "wrong_type");
        // Case and line ends do not count.
        let expected = r#"{"lang": "en", "lang_score": 0.9991679787635803} drop"#;
        check_row(
            NAME,
            params,
            r#"{"text": "The BOAT\nis on\nthe lake"}"#,
            expected,
        );
        let any = r#"{"lang": null}"#;
        check_row(
            NAME,
            any,
            r#"{"text": "the boat is on the lake"}"#,
            &expected.replace("drop", "keep"),
        );
    }
}
