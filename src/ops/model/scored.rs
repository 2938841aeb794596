//! Operators that have a model give each image of a row a score.

use smallvec::smallvec;

use crate::op::{
    Answer, Asks, Bounds, BuildContext, Filter, Measured, ParamError, Request, Service,
};
use crate::sample::{RowError, Sample, StatValue};
use crate::transformers::{Architecture, ImageProcessor, ModelConfig, ProcessorKind, softmax};

use super::open::{head, open, service};
use super::pictures::{Pictures, distinct};

/// What becomes of a model's output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// The share of the second class.
    SecondClass,
    /// The number, divided by this.
    Divided(f32),
}

/// How a model of pictures is read.
#[derive(Debug, Clone, Copy)]
pub struct Scorer<'a> {
    /// The parameter that names it.
    pub param: &'static str,
    /// As the recipe names it.
    pub id: &'a str,
    /// What it must be.
    pub architecture: Architecture,
    /// Its image processor, where its class says which.
    pub processor: Option<ProcessorKind>,
    /// The class that the worker runs it by, and the kind of its head.
    pub class: &'static str,
    /// The kind of its head, where there are several.
    pub head: Option<&'static str>,
    /// What becomes of its output.
    pub scale: Scale,
}

/// A classifier of pictures.
#[must_use]
pub fn classifier<'a>(param: &'static str, id: &'a str) -> Scorer<'a> {
    Scorer {
        param,
        id,
        architecture: Architecture::Vit,
        processor: None,
        class: "ViTForImageClassification",
        head: None,
        scale: Scale::SecondClass,
    }
}

/// A filter whose stat is one score a distinct image.
pub struct ImageScores {
    service: Service,
    pictures: Pictures,
    scale: Scale,
    bounds: Bounds,
}

impl ImageScores {
    /// By the model that `scorer` names.
    ///
    /// # Errors
    /// If it is not there, or not what it must be.
    pub fn new(
        context: &BuildContext,
        scorer: Scorer<'_>,
        bounds: Bounds,
    ) -> Result<Self, ParamError> {
        let (dir, (model, processor)) = open(context, scorer.param, scorer.id, |files| {
            let model: ModelConfig = scorer.architecture.read(&files.required("config.json")?)?;
            let processor = files.image_processor()?;
            Ok((model, ImageProcessor::read(&processor, scorer.processor)?))
        })?;
        if scorer.scale == Scale::SecondClass && model.outputs < 2 {
            let message = format!("'{}' tells {} class apart", scorer.id, model.outputs);
            let hint = "name a classifier of two classes, of which the second counts";
            return Err(ParamError::new(scorer.param, message).hint(hint));
        }
        let pictures = Pictures::new(scorer.param, processor, &model)?;
        let (name, element, shape) = pictures.input();
        let output = Some(vec![model.outputs as usize]);
        let heads = vec![head(context, "image", &[(name, element, &shape)], output)];
        let place = (scorer.id, dir);
        let mut model = service(context, place, scorer.class, heads, Some(pictures.table()));
        if let Some(head) = scorer.head {
            model.options.insert("head".to_owned(), head.into());
        }
        Ok(Self {
            service: model.into(),
            pictures,
            scale: scorer.scale,
            bounds,
        })
    }

    fn score(&self, answer: &Answer) -> Result<f64, RowError> {
        let numbers = answer.floats()?;
        let score = match self.scale {
            Scale::SecondClass => softmax(numbers).get(1).copied(),
            Scale::Divided(by) => numbers.first().map(|number| number / by),
        };
        let score = score.ok_or_else(|| RowError::new("model_failed", "the answer is empty"))?;
        Ok(f64::from(score))
    }
}

impl Asks for ImageScores {
    fn service(&self) -> &Service {
        &self.service
    }

    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        let pictures = self.pictures.together(&distinct(sample.images()?))?;
        let requests = pictures.into_iter();
        Ok(requests.map(|bytes| Request { head: 0, bytes }).collect())
    }
}

impl Filter for ImageScores {
    fn measure(&self, _: &Sample) -> Result<Measured, RowError> {
        Err(RowError::new("model_failed", "the model was not asked"))
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn measure_answers(&self, _: &Sample, answers: &[Answer]) -> Result<Measured, RowError> {
        let scores = answers.iter().map(|answer| self.score(answer));
        Ok(smallvec![StatValue::Floats(
            scores.collect::<Result<_, _>>()?
        )])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}
