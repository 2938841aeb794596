//! Takes rows that are unlike each other, by a model's embeddings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    Answer, Asks, BuildContext, Facts, Field, Operator, ParamError, VectorOperator, VectorRule,
    check_number, operator,
};
use crate::ops::model::{By, VectorParams, Vectors};
use crate::sample::{RowError, Sample};

operator! {
    /// Takes exactly `select_num` rows whose pictures, or texts, are unlike each other, by a model.
    ///
    /// Vectors are those of `semantic_deduplicator`, made by a model or read from `field`. The first row that has one is taken; then, again
    /// and again, the row whose greatest cosine to the rows taken is least, of equal ones the first, as
    /// often as rows are wanted (farthest-first traversal, Gonzalez 1985). Rows without a vector (no
    /// image, an empty text) are taken last, in input order; fewer rows than wanted are all taken. What
    /// is taken stays in input order. All vectors are in memory while it decides (four bytes a number,
    /// 2 KB a row for CLIP B/32), within a quarter of `max_memory`: more is an error. Time grows with
    /// the number of rows times the number taken; a GPU is used as by `semantic_deduplicator`.
    ///
    /// ## Example
    /// ```yaml
    /// - diversity_selector: {by: image, hf_model: fixtures/transformers/clip, select_num: 1}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a", "images": []}, {"text": "b", "images": []}], "out": [{"text": "a", "images": []}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 has no such operator.
    diversity_selector: Selector(Params) => build,
    Facts {
        reads: &[Field::TextWithout("field"), Field::Images, Field::Param("field")],
        images: By::images,
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
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
    /// The number of rows to take, at least 1.
    select_num: Option<u64>,
}

struct Diversity {
    vectors: Vectors,
    rows: u64,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    if let Some(wrong) = check_number("select_num", params.select_num) {
        return Err(wrong.into());
    }
    let Some(rows) = params.select_num else {
        let none = ParamError::new(
            "select_num",
            "select_num does not say how many rows are taken",
        );
        return Err(none.hint("select_num: 10000").into());
    };
    let compared = VectorParams {
        by: params.by,
        hf_model: params.hf_model.as_deref(),
        field: params.field.as_deref(),
        dims: params.dims,
    };
    let vectors = Vectors::new(&compared, context)?;
    Ok(Operator::Vectors(Box::new(Diversity { vectors, rows })))
}

impl VectorOperator for Diversity {
    fn dims(&self) -> usize {
        self.vectors.dims()
    }

    fn rule(&self) -> VectorRule {
        VectorRule::Spread(self.rows)
    }

    fn asks(&self) -> Option<&dyn Asks> {
        self.vectors.asks()
    }

    fn vector(&self, sample: &Sample, answers: &[Answer]) -> Result<Option<Vec<f32>>, RowError> {
        self.vectors.of(sample, answers)
    }
}
