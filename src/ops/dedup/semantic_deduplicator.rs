//! Drops rows that mean what an earlier row means, by a model's embeddings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    Answer, Asks, BuildContext, Facts, Field, Operator, ParamError, VectorOperator, VectorRule,
    operator,
};
use crate::ops::model::{By, VectorParams, Vectors};
use crate::sample::{RowError, Sample};

operator! {
    /// Drops rows whose pictures, or texts, mean the same as those of an earlier row, by a model.
    ///
    /// With `by: image` the vector of a row is the mean of the CLIP features of its distinct images,
    /// each divided by its norm; with `by: text` it is the mean of the hidden states of the text's
    /// tokens, without special tokens, cut at as many as the model takes. It is divided by its norm.
    /// Rows are joined whose cosine is at least `threshold`, directly or through others; of all rows
    /// joined the first one stays, or the one that `keep` says. Every pair of rows is compared, so
    /// time grows with the square of their number: millions of rows want a coarser step before it. Where that
    /// is more than some tens of seconds of a processor and a GPU is there, or `--devices` names one, the
    /// GPU says which pairs may be near, and these alone are compared: the rows that stay are the same.
    /// A row without an image (or whose text is empty) stays.
    ///
    /// With `field` and `dims` rows have their vectors, as `embed` writes them: no model is asked, and
    /// another threshold costs no more than the comparing. Each is divided by its norm; a row whose
    /// field is missing or null stays, one that has something else there is set aside.
    ///
    /// ## Example
    /// ```yaml
    /// - semantic_deduplicator: {by: image, hf_model: fixtures/transformers/clip, threshold: 0.95}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a", "images": []}, {"text": "a", "images": []}], "out": [{"text": "a", "images": []}, {"text": "a", "images": []}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 has no such operator.
    semantic_deduplicator: Deduplicator(Params) => build,
    Facts {
        reads: &[Field::TextWithout("field"), Field::Images, Field::Param("field")],
        images: By::images,
        compares: &["threshold"],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// What is compared.
    by: By,
    /// The model, its id (`owner/name`) or its folder: a CLIP for images
    /// (`openai/clip-vit-base-patch32`), a model of sentences for texts
    /// (`sentence-transformers/all-MiniLM-L6-v2`).
    hf_model: Option<String>,
    /// The field that has the vectors already, as `embed` writes them; no model is asked then.
    field: Option<String>,
    /// Numbers in each vector of `field`.
    dims: Option<usize>,
    /// The least cosine of rows that are the same, above 0 and at most 1.
    threshold: f32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            by: By::Image,
            hf_model: None,
            field: None,
            dims: None,
            threshold: 0.95,
        }
    }
}

struct Semantic {
    vectors: Vectors,
    threshold: f32,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    if !(params.threshold > 0.0 && params.threshold <= 1.0) {
        return Err(ParamError::new(
            "threshold",
            format!("threshold is {}, no cosine above 0", params.threshold),
        )
        .hint("0.95 joins what is all but the same, 0.9 what is much alike")
        .into());
    }
    let compared = VectorParams {
        by: params.by,
        hf_model: params.hf_model.as_deref(),
        field: params.field.as_deref(),
        dims: params.dims,
    };
    Ok(Operator::Vectors(Box::new(Semantic {
        vectors: Vectors::new(&compared, context)?,
        threshold: params.threshold,
    })))
}

impl VectorOperator for Semantic {
    fn dims(&self) -> usize {
        self.vectors.dims()
    }

    fn rule(&self) -> VectorRule {
        VectorRule::Join(self.threshold)
    }

    fn asks(&self) -> Option<&dyn Asks> {
        self.vectors.asks()
    }

    fn vector(&self, sample: &Sample, answers: &[Answer]) -> Result<Option<Vec<f32>>, RowError> {
        self.vectors.of(sample, answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::testing::build as build_params;
    use crate::sample::{ImageContext, Origin};
    use std::sync::Arc;

    const NAME: &str = "semantic_deduplicator";

    #[test]
    fn vectors_that_rows_have_are_read() {
        let params = r#"{"field": "v", "dims": 2}"#;
        let Operator::Vectors(op) = build_params(NAME, params).unwrap().operator else {
            panic!("a deduplicator by vectors");
        };
        assert!(op.asks().is_none());
        let context = Arc::new(ImageContext::default());
        let vector = |row: &str| {
            let sample = Sample::parse(row.to_owned(), Origin::default(), Arc::clone(&context));
            op.vector(&sample.unwrap(), &[])
        };
        assert_eq!(vector(r#"{"v": [3, 4.0]}"#).unwrap(), Some(vec![0.6, 0.8]));
        assert_eq!(vector(r#"{"v": null}"#).unwrap(), None);
        assert_eq!(vector("{}").unwrap(), None);
        for wrong in ["[1]", "[0, 0]", "[1, \"2\"]", "\"1 2\""] {
            let error = vector(&format!("{{\"v\": {wrong}}}")).unwrap_err();
            assert_eq!(error.code, "wrong_type", "{wrong}");
        }
        for params in [
            r#"{"field": "v"}"#,
            r#"{"dims": 2}"#,
            r#"{"field": "v", "dims": 0}"#,
            r#"{"field": "v", "dims": 2, "hf_model": "fixtures/transformers/clip"}"#,
        ] {
            assert!(build_params(NAME, params).is_err(), "{params}");
        }
    }

    #[test]
    fn vectors_are_means_of_directions() {
        let params = r#"{"hf_model": "fixtures/transformers/clip"}"#;
        let Operator::Vectors(op) = build_params(NAME, params).unwrap().operator else {
            panic!("a deduplicator by vectors");
        };
        let answer = |at: usize, length: f32| {
            let mut numbers = vec![0.0; op.dims()];
            numbers[at] = length;
            Answer::Floats(numbers)
        };
        let context = Arc::new(ImageContext::default());
        let sample = Sample::parse("{}".to_owned(), Origin::default(), context).unwrap();
        assert_eq!(op.vector(&sample, &[]).unwrap(), None);
        let both = op
            .vector(&sample, &[answer(0, 3.0), answer(1, 0.5)])
            .unwrap()
            .unwrap();
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert_eq!((both[0], both[1], both[2]), (half, half, 0.0));
        for wrong in [
            Answer::Floats(vec![1.0]),
            answer(0, 0.0),
            answer(0, f32::NAN),
        ] {
            assert_eq!(
                op.vector(&sample, &[wrong]).unwrap_err().code,
                "model_failed"
            );
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for params in [
            r#"{"threshold": 0, "hf_model": "fixtures/transformers/clip"}"#,
            r#"{"threshold": 1.1, "hf_model": "fixtures/transformers/clip"}"#,
            r#"{"by": "text", "hf_model": "fixtures/transformers/clip"}"#,
            r#"{"hf_model": "fixtures/transformers/vit"}"#,
        ] {
            assert!(build_params(NAME, params).is_err(), "{params}");
        }
    }
}
