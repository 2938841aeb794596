//! A filter that asks a model which adds bytes, and a worker with that model (`fake_worker`): the
//! executor's way with models, proven without torch.

use djr::op::{
    Answer, Asks, Bounds, BuildContext, Element, Facts, Filter, Head, Measured, ModelService,
    Operator, ParamError, Request, Service, StatDef, Tensor, operator,
};
use djr::sample::{FieldPath, RowError, Sample, StatValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Map;

const SUM: StatDef = StatDef::number("sum").min("min_sum").max("max_sum");

operator! {
    /// Keeps rows by the sum of the bytes of their text's words, each word a request.
    sum_filter: Filter(Params) => build,
    Facts { stats: &[SUM], ..Facts::OF_TEXT }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Smallest sum kept.
    min_sum: Option<f64>,
    /// Largest sum kept.
    max_sum: Option<f64>,
    /// The class that is asked for.
    class: String,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            min_sum: None,
            max_sum: None,
            class: "Sum".to_owned(),
        }
    }
}

/// Bytes of a request.
const SIZE: usize = 16;

struct SumFilter {
    text_key: FieldPath,
    bounds: Bounds,
    service: Service,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let head = Head {
        name: "sum",
        batch: context.models.batch,
        inputs: vec![Tensor {
            name: "bytes",
            dtype: Element::U8,
            shape: vec![SIZE],
        }],
        output: Some(vec![1]),
    };
    Ok(Operator::Filter(Box::new(SumFilter {
        text_key: context.base.text_key.clone(),
        bounds: Bounds::new(&SUM, params.min_sum, params.max_sum, &context.base)?,
        service: Service::Model(ModelService {
            model: "sum".to_owned(),
            dir: ".".into(),
            class: params.class,
            dtype: context.models.dtype,
            heads: vec![head],
            options: Map::new(),
        }),
    })))
}

impl Asks for SumFilter {
    fn service(&self) -> &Service {
        &self.service
    }

    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        let text = sample.required_text(&self.text_key)?;
        let requests = text.split_whitespace().map(|word| {
            let mut bytes: Vec<u8> = word.bytes().take(SIZE).collect();
            bytes.resize(SIZE, 0);
            Request { head: 0, bytes }
        });
        Ok(requests.collect())
    }
}

impl Filter for SumFilter {
    fn measure(&self, _: &Sample) -> Result<Measured, RowError> {
        Err(RowError::new("model_failed", "the model was not asked"))
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn measure_answers(&self, _: &Sample, answers: &[Answer]) -> Result<Measured, RowError> {
        let mut sum = 0.0;
        for answer in answers {
            sum += answer.floats()?.iter().map(|n| f64::from(*n)).sum::<f64>();
        }
        Ok(Measured::from_iter([StatValue::Float(sum)]))
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}
