//! Keeps rows of whose captions a detector finds enough in the images.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Answer, AnyOrAll, Asks, Bounds, BuildContext, Element, Facts, Field, Filter, ImageNeed,
    Measured, Operator, ParamError, Request, Service, StatDef, StatType, operator,
};
use crate::ops::model::{
    Chunk, Chunks, Padded, Pictures, ReduceMode, all_pixels, head, open, own_code_only, service,
};
use crate::ops::nltk;
use crate::sample::{FieldPath, ImageSlot, RowError, Sample, StatValue};
use crate::text::noun_phrases::{NounPhrases, Tagger};
use crate::transformers::{
    Architecture, Detections, Grounding, ImageProcessor, ModelConfig, ProcessorKind, Tokenizer,
};

operator! {
    /// Keeps rows for whose captions a detector finds a share of the phrases, between `min_recall`
    /// and `max_recall`, in the images.
    ///
    /// A text is cut at end-of-chunk tokens. Each chunk with image tokens takes as many of the row's
    /// images, in order, and has one recall. Its phrases are its noun phrases as NLTK finds them:
    /// an article, adjectives, nouns. An OWL-ViT model says how well each phrase fits each of its boxes;
    /// as many of the best boxes as there are phrases are gone through, those above `conf_thr`. A
    /// box counts if its phrase was not found yet, it covers no more than `large_area_ratio_thr` of the
    /// image, and overlaps no box that counts by more than `iou_thr`. The recall of an image is the
    /// share of phrases that were found, that of a chunk is reduced over its images by `reduce_mode`; a
    /// chunk without phrases has 1. With `any_or_all: any` one chunk within the range keeps the row,
    /// with `all` every chunk must be; a row without images, or without image tokens, stays. Both ends
    /// are inclusive. A chunk with phrases for which no image is left is an error of the row.
    ///
    /// NLTK's tables are looked for as `sentence_split_mapper` does: `tokenizers/punkt_tab/english` and
    /// `taggers/averaged_perceptron_tagger_eng`.
    ///
    /// ## Example
    /// ```yaml
    /// - phrase_grounding_recall_filter: {hf_owlvit: fixtures/transformers/owlvit, nltk_dir: fixtures/nltk_data}
    /// ```
    /// ```json
    /// {"in": {"text": "no image", "images": []}, "out": {"text": "no image", "images": []}, "stats": {"phrase_grounding_recall": []}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `phrase_grounding_recall_filter`: same, to boxes whose scores are equal to the
    /// last digits. Images and texts are made ready as by transformers 4.57.1, whichever version
    /// computes. There phrases are in the order of a set, which differs from run to run; here in that of
    /// their characters. As there, a chunk without phrases leaves its images to the chunks behind it.
    /// There damaged JPEG files are scored with a grey rest; here the row is quarantined. A chunk of
    /// more than 128 phrases is an error of the row.
    /// `nltk_dir` is djr's. Audio and video tokens are always `<__dj__audio>` and `<__dj__video>`.
    /// Code that comes with a model is not run: `trust_remote_code: true` is refused.
    phrase_grounding_recall_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Images],
        stats: &[RECALL],
        images: |_| ImageNeed::Pixels,
        decides: &["any_or_all"],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The OWL-ViT model: its id (`owner/name`), or its folder.
    hf_owlvit: String,
    /// Whether to run code that comes with the model; must be false.
    trust_remote_code: bool,
    /// Least recall kept, inclusive.
    min_recall: Option<f64>,
    /// Greatest recall kept, inclusive.
    max_recall: Option<f64>,
    /// Mirror the images, left to right.
    horizontal_flip: bool,
    /// Turn the images upside down, as a mirror does.
    vertical_flip: bool,
    /// Whether one chunk or every chunk of a row must pass.
    any_or_all: AnyOrAll,
    /// How the recalls of a chunk's images become one.
    reduce_mode: ReduceMode,
    /// The most that two boxes may overlap: the shared area divided by that of both.
    iou_thr: f64,
    /// The greatest share of an image that a box may cover.
    large_area_ratio_thr: f64,
    /// What the score of a box must exceed.
    conf_thr: f64,
    /// The directory of NLTK's data; by default an `nltk_data` beside the recipe, those of the variable
    /// `NLTK_DATA`, or the usual places.
    nltk_dir: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            hf_owlvit: "google/owlvit-base-patch32".into(),
            trust_remote_code: false,
            min_recall: Some(0.1),
            max_recall: Some(1.0),
            horizontal_flip: false,
            vertical_flip: false,
            any_or_all: AnyOrAll::Any,
            reduce_mode: ReduceMode::Avg,
            iou_thr: 0.5,
            large_area_ratio_thr: 0.95,
            conf_thr: 0.0,
            nltk_dir: None,
        }
    }
}

const RECALL: StatDef = StatDef::new("phrase_grounding_recall", StatType::Numbers)
    .min("min_recall")
    .max("max_recall");

/// The parameter that names the model.
const MODEL: &str = "hf_owlvit";

/// The heads, by the most phrases that they take.
const HEADS: [(&str, usize); 3] = [("detect_a", 8), ("detect_b", 32), ("detect_c", 128)];

struct PhraseGroundingRecall {
    service: Service,
    pictures: Pictures,
    tokenizer: Tokenizer,
    /// Tokens that a phrase is filled up to.
    length: usize,
    phrases: NounPhrases,
    chunks: Chunks,
    text_key: FieldPath,
    rule: Grounding,
    reduce: ReduceMode,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    own_code_only(params.trust_remote_code)?;
    let bounds = Bounds::new(&RECALL, params.min_recall, params.max_recall, &context.base)?
        .mode(params.any_or_all);
    let phrases = noun_phrases(params.nltk_dir.as_deref(), context)?;
    let id = params.hf_owlvit.as_str();
    let (dir, (model, processor, tokenizer)) = open(context, MODEL, id, |files| {
        let model: ModelConfig = Architecture::OwlVit.read(&files.required("config.json")?)?;
        let processor = files.image_processor()?;
        let processor = ImageProcessor::read(&processor, Some(ProcessorKind::OwlVit))?;
        let tokenizer = Tokenizer::clip(files)?;
        let longest = tokenizer.model_max_length();
        Ok((model, processor, tokenizer.truncated(longest)?))
    })?;
    let pictures = Pictures::new(MODEL, processor, &model)?
        .flipped(params.horizontal_flip, params.vertical_flip);
    let length = model.positions.unwrap_or_default() as usize;
    let side = (model.image_size / model.patch_size.max(1)) as usize;
    let boxes = side * side;
    let (name, element, shape) = pictures.input();
    let heads = HEADS.map(|(called, most)| {
        let texts = [most, length];
        let inputs: [(&str, Element, &[usize]); 3] = [
            (name, element, &shape),
            ("ids", Element::I32, &texts),
            ("mask", Element::I32, &texts),
        ];
        // For each box a logit a phrase; then its place.
        head(context, called, &inputs, Some(vec![boxes * (most + 4)]))
    });
    let table = Some(pictures.table());
    let model = service(context, (id, dir), &model.class, heads.to_vec(), table);
    Ok(Operator::Filter(Box::new(PhraseGroundingRecall {
        service: model.into(),
        pictures,
        tokenizer,
        length,
        phrases,
        chunks: Chunks::new(context),
        text_key: context.base.text_key.clone(),
        rule: Grounding {
            iou_thr: params.iou_thr,
            large_area_ratio_thr: params.large_area_ratio_thr,
            conf_thr: params.conf_thr,
        },
        reduce: params.reduce_mode,
        bounds,
    })))
}

/// NLTK's tables, and what finds phrases by them.
fn noun_phrases(written: Option<&str>, context: &BuildContext) -> Result<NounPhrases, ParamError> {
    const PARAM: &str = "nltk_dir";
    let punkt = nltk::punkt(PARAM, written, "english", context)?;
    let resource = "taggers/averaged_perceptron_tagger_eng";
    let folder: PathBuf = nltk::find(PARAM, written, resource, context)?;
    let part = |name: &str| {
        let file = folder.join(format!("averaged_perceptron_tagger_eng.{name}.json"));
        let text = context.read_text(&file);
        text.map_err(|error| nltk::broken(PARAM, &file, resource, &error))
    };
    let tagger = Tagger::parse(&part("weights")?, &part("tagdict")?, &part("classes")?);
    let tagger = tagger.map_err(|error| nltk::broken(PARAM, &folder, resource, &error))?;
    Ok(NounPhrases::new(punkt, tagger))
}

/// A chunk of a row, and its phrases.
struct Caption {
    chunk: Chunk,
    phrases: Vec<String>,
}

impl PhraseGroundingRecall {
    /// The captions of a row that has images.
    fn captions(&self, sample: &Sample) -> Result<Vec<Caption>, RowError> {
        let text = sample.required_text(&self.text_key)?;
        let images = sample.images()?.len();
        let mut offset = 0;
        let chunks = self.chunks.of(&text, images).into_iter();
        let captions = chunks.map(|mut chunk| {
            let phrases = self.phrases.of(&chunk.text);
            let end = offset + chunk.tokens;
            chunk.images = offset.min(images)..end.min(images);
            // As in Data-Juicer, a chunk without phrases leaves its images to those behind it.
            if !phrases.is_empty() {
                offset = end;
            }
            Caption { chunk, phrases }
        });
        Ok(captions.collect())
    }

    /// Which head takes so many phrases.
    fn head(phrases: usize) -> Result<(usize, usize), RowError> {
        let fits = HEADS.iter().position(|(_, most)| phrases <= *most);
        let found = fits.and_then(|at| Some((at, HEADS.get(at)?.1)));
        found.ok_or_else(|| {
            let message = format!("the text has {phrases} phrases, and at most 128 are looked for");
            RowError::new("model_input", message)
        })
    }

    /// Asks where each of a caption's phrases is in each of its images.
    fn requests(&self, caption: &Caption, slots: &[&ImageSlot]) -> Result<Vec<Request>, RowError> {
        let (head, most) = Self::head(caption.phrases.len())?;
        let (mut ids, mut masks) = (Vec::new(), Vec::new());
        for phrase in &caption.phrases {
            let tokens = self.tokenizer.encode(phrase);
            let tokens = tokens.map_err(|why| RowError::new("tokenizer_failed", why))?;
            let padded = Padded::new(&tokens.ids, self.length, self.tokenizer.pad())?;
            padded.put_ids(&mut ids);
            padded.put_mask(&mut masks);
        }
        // A phrase of zeros is none.
        ids.resize(most * self.length * 4, 0);
        masks.resize(most * self.length * 4, 0);
        let pictures = self.pictures.together(slots)?.into_iter();
        let requests = pictures.map(|mut bytes| {
            bytes.extend_from_slice(&ids);
            bytes.extend_from_slice(&masks);
            Request { head, bytes }
        });
        Ok(requests.collect())
    }

    fn recall(&self, answer: &Answer, phrases: usize, slot: &ImageSlot) -> Result<f64, RowError> {
        let (_, stride) = Self::head(phrases)?;
        let numbers = answer.floats()?;
        let logits = numbers.len() / (stride + 4) * stride;
        let (logits, boxes) = numbers
            .split_at_checked(logits)
            .ok_or_else(|| RowError::new("model_failed", "the answer is too short"))?;
        let header = slot.header()?;
        let found = Detections {
            logits,
            stride,
            boxes,
            size: (header.width, header.height),
        };
        Ok(self.rule.recall(&found, phrases))
    }
}

impl Asks for PhraseGroundingRecall {
    fn service(&self) -> &Service {
        &self.service
    }

    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        let slots = all_pixels(sample.images()?)?;
        if slots.is_empty() {
            return Ok(Vec::new());
        }
        let mut requests = Vec::new();
        for caption in self.captions(sample)? {
            if caption.phrases.is_empty() {
                continue;
            }
            let slots = slots.get(caption.chunk.images.clone()).unwrap_or_default();
            if slots.is_empty() {
                return Err(caption.chunk.without_image());
            }
            requests.extend(self.requests(&caption, slots)?);
        }
        Ok(requests)
    }
}

impl Filter for PhraseGroundingRecall {
    fn measure(&self, _: &Sample) -> Result<Measured, RowError> {
        Err(RowError::new("model_failed", "the model was not asked"))
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn measure_answers(&self, sample: &Sample, answers: &[Answer]) -> Result<Measured, RowError> {
        let missing = || RowError::new("model_failed", "an answer is missing");
        let slots = sample.images()?;
        let mut answers = answers.iter();
        let mut recalls = Vec::new();
        let captions = if slots.is_empty() {
            Vec::new()
        } else {
            self.captions(sample)?
        };
        for caption in captions {
            if caption.phrases.is_empty() {
                recalls.push(1.0);
                continue;
            }
            let mut each = Vec::new();
            for slot in slots.get(caption.chunk.images).unwrap_or_default() {
                let answer = answers.next().ok_or_else(missing)?;
                each.push(self.recall(answer, caption.phrases.len(), slot)?);
            }
            recalls.push(self.reduce.of(&each).ok_or_else(missing)?);
        }
        Ok(smallvec![StatValue::Floats(recalls.into())])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}
