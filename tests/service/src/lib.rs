//! A filter and a deduplicator that ask a model which adds bytes, and a worker with that model
//! (`fake_worker`): the executor's way with models, proven without torch.

use djr::op::{
    Answer, Asks, Bounds, BuildContext, Element, Facts, Filter, Head, Measured, ModelService,
    Operator, ParamError, Request, Service, StatDef, Tensor, VectorOperator, VectorRule, operator,
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
    /// A file of the model, which says nothing.
    weights: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            min_sum: None,
            max_sum: None,
            class: "Sum".to_owned(),
            weights: None,
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

/// The model, asked about words.
fn sums(class: String, context: &BuildContext) -> Service {
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
    Service::Model(ModelService {
        model: "sum".to_owned(),
        dir: ".".into(),
        class,
        dtype: context.models.dtype,
        heads: vec![head],
        options: Map::new(),
    })
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    if let Some(written) = &params.weights {
        let read = context
            .resolve(written)
            .ok()
            .and_then(|path| context.read(&path).ok());
        read.ok_or_else(|| ParamError::new("weights", "the file is not there"))?;
    }
    Ok(Operator::Filter(Box::new(SumFilter {
        text_key: context.base.text_key.clone(),
        bounds: Bounds::new(&SUM, params.min_sum, params.max_sum, &context.base)?,
        service: sums(params.class, context),
    })))
}

/// A request for each word.
fn requests(sample: &Sample, text_key: &FieldPath) -> Result<Vec<Request>, RowError> {
    let text = sample.required_text(text_key)?;
    let requests = text.split_whitespace().map(|word| {
        let mut bytes: Vec<u8> = word.bytes().take(SIZE).collect();
        bytes.resize(SIZE, 0);
        Request { head: 0, bytes }
    });
    Ok(requests.collect())
}

impl Asks for SumFilter {
    fn service(&self) -> &Service {
        &self.service
    }

    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        requests(sample, &self.text_key)
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

operator! {
    /// Drops rows whose words have much the same sums as those of an earlier row.
    sums_deduplicator: Deduplicator(SumsParams) => build_sums,
    Facts::OF_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct SumsParams {
    /// The least cosine of rows that are the same.
    threshold: f32,
}

impl Default for SumsParams {
    fn default() -> Self {
        Self { threshold: 0.99 }
    }
}

struct SumsDeduplicator {
    text_key: FieldPath,
    threshold: f32,
    service: Service,
}

fn build_sums(params: SumsParams, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Vectors(Box::new(SumsDeduplicator {
        text_key: context.base.text_key.clone(),
        threshold: params.threshold,
        service: sums("Sum".to_owned(), context),
    })))
}

impl Asks for SumsDeduplicator {
    fn service(&self) -> &Service {
        &self.service
    }

    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        requests(sample, &self.text_key)
    }
}

impl VectorOperator for SumsDeduplicator {
    fn dims(&self) -> usize {
        100
    }

    fn rule(&self) -> VectorRule {
        VectorRule::Join(self.threshold)
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    /// Counts sums by their last two digits.
    fn vector(&self, _: &Sample, answers: &[Answer]) -> Result<Option<Vec<f32>>, RowError> {
        let mut counts = vec![0.0_f32; self.dims()];
        for answer in answers {
            for sum in answer.floats()? {
                let place =
                    (0_u16..100).find(|place| (f32::from(*place) - sum % 100.0).abs() < 0.5);
                if let Some(count) = place.and_then(|place| counts.get_mut(usize::from(place))) {
                    *count += 1.0;
                }
            }
        }
        let norm = counts.iter().map(|x| x * x).sum::<f32>().sqrt();
        Ok((norm > 0.0).then(|| counts.iter().map(|x| x / norm).collect()))
    }
}
