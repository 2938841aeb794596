//! Keeps a model's embedding of a row beside it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::op::{Answer, Asks, BuildContext, Facts, Field, Mapper, Operator, ParamError, operator};
use crate::ops::model::{By, Embedder};
use crate::sample::{RowError, Sample};

operator! {
    /// Writes what a model makes of a row's pictures, or of its text, into a field: a list of numbers
    /// whose squares add up to 1, so that the sum of the products of two such lists is their cosine.
    ///
    /// The vector is the one that `semantic_deduplicator` and `diversity_selector` compare: with
    /// `by: image` the mean of the CLIP features of the row's distinct images, each divided by its norm,
    /// with `by: text` the mean of the hidden states of the text's tokens, without special tokens, cut at
    /// as many as the model takes; divided by its norm. Numbers have 32 bits and are written with as few
    /// digits as tell them apart. A row without an image (or whose text is empty) gets null. In Parquet
    /// the field is a column of lists.
    ///
    /// ## Example
    /// ```yaml
    /// - embed: {by: image, hf_model: fixtures/transformers/clip}
    /// ```
    /// ```json
    /// {"in": {"text": "a", "images": []}, "out": {"text": "a", "images": [], "embedding": null}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 has no such operator.
    embed: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Images],
        writes: &[Field::Param("field")],
        images: By::images,
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// What is embedded.
    by: By,
    /// The model, its id (`owner/name`) or its folder: a CLIP for images
    /// (`openai/clip-vit-base-patch32`), a model of sentences for texts
    /// (`sentence-transformers/all-MiniLM-L6-v2`).
    hf_model: Option<String>,
    /// The field that the embedding goes to.
    field: String,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            by: By::Image,
            hf_model: None,
            field: "embedding".to_owned(),
        }
    }
}

struct Embed {
    embedder: Embedder,
    field: String,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    if params.field.is_empty() {
        let error = ParamError::new("field", "field is empty");
        return Err(error.hint("name the field that embeddings go to").into());
    }
    let embedder = Embedder::new(params.by, params.hf_model.as_deref(), context)?;
    let field = params.field;
    Ok(Operator::Mapper(Box::new(Embed { embedder, field })))
}

impl Mapper for Embed {
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError> {
        self.apply_answers(sample, &[])
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(&self.embedder)
    }

    fn apply_answers(&self, sample: &mut Sample, answers: &[Answer]) -> Result<(), RowError> {
        let vector = self.embedder.vector(answers)?;
        let vector = vector.map(|numbers| numbers.into_iter().map(number).collect::<Vec<_>>());
        sample.set_value(&self.field, vector.into());
        Ok(())
    }
}

/// A number of 32 bits, with the digits that it needs.
fn number(number: f32) -> Value {
    let shortest = number.to_string().parse::<f64>();
    let written = shortest.unwrap_or_else(|_| f64::from(number));
    Number::from_f64(written).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::op::testing::build_mapper;
    use crate::sample::{ImageContext, Origin};

    #[test]
    fn a_vector_is_written_with_the_digits_it_needs() {
        let mapper = build_mapper(
            "embed",
            r#"{"hf_model": "fixtures/transformers/clip", "field": "v"}"#,
        );
        let mapper = mapper.unwrap();
        let context = Arc::new(ImageContext::default());
        let mut sample = Sample::parse("{}".to_owned(), Origin::default(), context).unwrap();
        let dims = {
            let asks = mapper.asks().unwrap();
            let crate::op::Service::Model(model) = asks.service() else {
                panic!("a model");
            };
            model.heads[0].floats()
        };
        let mut features = vec![0.0; dims];
        (features[0], features[1]) = (1.0, 2.0);
        mapper
            .apply_answers(&mut sample, &[Answer::Floats(features)])
            .unwrap();
        let mut out = Vec::new();
        sample.write_json(&[], &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with(r#"{"v": [0.4472136, 0.8944272, 0.0,"#),
            "{text}"
        );
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["v"].as_array().unwrap().len(), dims);
        mapper.apply(&mut sample).unwrap();
        let mut out = Vec::new();
        sample.write_json(&[], &mut out);
        let back: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(back, json!({"v": null}));
    }
}
