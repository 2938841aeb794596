//! Captions images, by a BLIP-2 or by a language model that sees.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::hash::{Shingler, Tokenization, text_simhash};
use crate::op::{
    Answer, Asks, BuildContext, Expander, Facts, Field, ImageNeed, Operator, ParamError, Part,
    Problems, Request, Service, SpecialTokens, operator, positive,
};
use crate::ops::llm::{Halt, Script, ScriptedParts, Server, Talk, image_url, llm_params, user};
use crate::ops::model::{Captions, captions_model, own_code_only};
use crate::sample::{FieldPath, RowError, Sample, originals};
use crate::text::strip;

operator! {
    /// Makes rows in which the text is captions of the images, as a model sees them.
    ///
    /// Of each chunk of the text that is not blank, special tokens are left, and an end-of-chunk token
    /// behind it; each caption goes in behind the chunk's first image token, a space on each side, so
    /// that of several images the last one's caption comes first. The row itself stays in front of
    /// those that are made of it, unless `keep_original_sample: false`. Rows without images, or
    /// without an image token, make none.
    ///
    /// The model is a BLIP-2 in a Python of yours (`hf_img2seq`), or, if `api_model` or `model_params`
    /// is there, a server. A BLIP-2 continues the prompt, which stays in front of the caption; it draws
    /// at most 128 tokens as its language model's configuration says, seeded by the recipe's `seed`, the row, the
    /// image's place and the number of the caption, so that a run gives the same captions again. A
    /// server is sent the prompt (by default `Describe this image in one sentence.`) and an image, and
    /// what it says, stripped, is the caption; one that is empty is asked for anew, `try_num` times in
    /// all, then the row is set aside as `answer_unusable`. Of what is sent, how failures are met, what
    /// it costs and what is never paid twice, see docs/SERVERS.md.
    ///
    /// `keep_candidate_mode` says what becomes of `caption_num` captions of an image: `random_any`
    /// takes any of them (one is drawn, as all are drawn alike), `similar_one_simhash` the one whose
    /// `SimHash` (of pairs of words) is nearest to that of the chunk's text, the first of equal ones,
    /// `all` makes a row of each.
    ///
    /// ## Example
    /// ```yaml
    /// - image_captioning_mapper: {api_model: m, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "<__dj__image> a kite", "images": ["fixtures/images/apng_sound.png"]}, "said": ["a square"], "out": [{"text": "<__dj__image> a kite", "images": ["fixtures/images/apng_sound.png"]}, {"text": "<__dj__image> a square <|__dj__eoc|>", "images": ["fixtures/images/apng_sound.png"]}]}
    /// {"in": {"text": "no image", "images": []}, "out": [{"text": "no image", "images": []}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `image_captioning_mapper`: the same rows; captions are drawn from the same
    /// distribution, where it draws without a seed. It has no server. A row with images and without
    /// an image token makes rows of empty chunks there if another row of its batch has one. A row of
    /// fewer images than image tokens is set aside; there it takes its batch along. Each image is made
    /// ready by itself; there the first of a batch tells how channels lie. The placeholders of a
    /// picture are those of the model's configuration, which T5's differ from there.
    /// `gpu_batch_size` has no effect: `model_batch` of the recipe says how many are computed together.
    image_captioning_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Images, Field::Param("prompt_key")],
        writes: &[Field::Text],
        images: |_| ImageNeed::Pixels,
        ..Facts::NONE
    }
}

llm_params! {
    api_model = None, try_num = 3;
    /// The BLIP-2: its id (`owner/name`), or its folder.
    hf_img2seq: String = "Salesforce/blip2-opt-2.7b".to_owned();
    /// Whether to run code that comes with the model; must be false.
    trust_remote_code: bool = false;
    /// Captions that are drawn for an image.
    caption_num: i64 = 1;
    /// Which of them stay.
    keep_candidate_mode: Keep = Keep::RandomAny;
    /// Whether the row itself stays.
    keep_original_sample: bool = true;
    /// What the model is told about every image.
    prompt: Option<String> = None;
    /// The field of what it is told about a row's images; where that is no text, `prompt`.
    prompt_key: Option<String> = None;
    /// Has no effect: see `model_batch`.
    gpu_batch_size: i64 = 8;
}

/// Which captions of an image stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Keep {
    /// Any.
    RandomAny,
    /// The nearest to the text.
    SimilarOneSimhash,
    /// All, each in a row of its own.
    All,
}

/// What a server is told that nothing else is asked of.
const PROMPT: &str = "Describe this image in one sentence.";

/// The parameter that names the model.
const MODEL: &str = "hf_img2seq";

/// What captions are put into, and how.
struct Plan {
    captions: u32,
    keep: Keep,
    keeps_row: bool,
    prompt: Option<String>,
    prompt_key: Option<String>,
    text_key: FieldPath,
    tokens: SpecialTokens,
    shingler: Shingler,
}

/// By a BLIP-2.
struct ByModel {
    plan: Plan,
    model: Captions,
    draw: u64,
}

/// By a server.
struct ByServer {
    plan: Plan,
    server: Server,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    problems.keep(own_code_only(params.trust_remote_code));
    let captions = problems.keep(positive("caption_num", params.caption_num));
    problems.keep(positive("gpu_batch_size", params.gpu_batch_size));
    let captions = captions.and_then(|number| u32::try_from(number).ok());
    let plan = Plan {
        captions: match params.keep_candidate_mode {
            Keep::RandomAny => 1,
            Keep::SimilarOneSimhash | Keep::All => captions.unwrap_or(1),
        },
        keep: params.keep_candidate_mode,
        keeps_row: params.keep_original_sample,
        prompt: params.prompt.clone().filter(|prompt| !prompt.is_empty()),
        prompt_key: params.prompt_key.clone().filter(|key| !key.is_empty()),
        text_key: context.base.text_key.clone(),
        tokens: context.special_tokens.clone(),
        shingler: shingler(),
    };
    let expander: Option<Box<dyn Expander>> = if params.api_model.is_some()
        || params.model_params.is_some()
    {
        let server = problems.keep(params.server(context));
        server.map(|server| Box::new(ScriptedParts(ByServer { plan, server })) as Box<dyn Expander>)
    } else {
        let draw = context.base.draw;
        let model = problems.keep(captions_model(context, MODEL, &params.hf_img2seq));
        model.map(|model| Box::new(ByModel { plan, model, draw }) as Box<dyn Expander>)
    };
    let problems: Vec<ParamError> = problems.into();
    match expander {
        Some(expander) if problems.is_empty() => Ok(Operator::Expander(expander)),
        _ => Err(problems),
    }
}

impl Plan {
    /// For each image token the text of its chunk. The first is for the row's first image, and so on.
    fn beside(&self, sample: &Sample) -> Result<Vec<String>, RowError> {
        let images = sample.images()?.len();
        if images == 0 {
            return Ok(Vec::new());
        }
        let text = sample.required_text(&self.text_key)?;
        let mut beside = Vec::new();
        for chunk in self.chunks(&text) {
            let tokens = chunk.matches(self.tokens.image.as_str()).count();
            let text = self.tokens.removed_from(chunk);
            beside.extend(std::iter::repeat_n(text, tokens));
        }
        if beside.len() > images {
            let message = format!("{} image tokens and {images} images", beside.len());
            return Err(RowError::new("model_input", message));
        }
        Ok(beside)
    }

    fn chunks<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let chunks = text.split(self.tokens.eoc.as_str());
        let chunks: Vec<&str> = chunks.filter(|chunk| !strip(chunk).is_empty()).collect();
        chunks.into_iter()
    }

    fn prompt(&self, sample: &Sample) -> Result<Option<String>, RowError> {
        if let Some(key) = &self.prompt_key
            && let Value::String(own) = crate::op::top_value(sample, key)?
        {
            return Ok(Some(own));
        }
        Ok(self.prompt.clone())
    }

    /// The rows, by the captions of each image.
    fn parts(
        &self,
        sample: &Sample,
        beside: &[String],
        captions: &[Vec<String>],
    ) -> Result<Vec<Part>, RowError> {
        let row = self.keeps_row.then(|| Part::Edits(Vec::new()));
        if beside.is_empty() {
            return Ok(row.into_iter().collect());
        }
        let mut kept = Vec::with_capacity(captions.len());
        for (beside, captions) in beside.iter().zip(captions) {
            kept.push(self.kept(beside, captions)?);
        }
        let text = sample.required_text(&self.text_key)?;
        let made = match self.keep {
            Keep::All => self.captions as usize,
            Keep::RandomAny | Keep::SimilarOneSimhash => 1,
        };
        let rows = (0..made).map(|number| {
            let each = kept
                .iter()
                .map(|kept| kept.get(number).map_or("", |text| *text));
            let text = self.captioned(&text, each);
            Part::Edits(vec![(self.text_key.clone(), text.into())])
        });
        Ok(row.into_iter().chain(rows).collect())
    }

    /// The captions of an image that stay.
    fn kept<'c>(&self, beside: &str, captions: &'c [String]) -> Result<Vec<&'c str>, RowError> {
        if self.keep != Keep::SimilarOneSimhash {
            return Ok(captions.iter().map(String::as_str).collect());
        }
        let print = |text: &str| {
            let shingles = self.shingler.shingles(text);
            shingles
                .map(|shingles| text_simhash(&shingles))
                .map_err(|why| RowError::new("pattern_failed", why))
        };
        let beside = print(beside)?;
        let mut nearest: Option<(u32, &str)> = None;
        for caption in captions {
            let far = (print(caption)? ^ beside).count_ones();
            if nearest.is_none_or(|(least, _)| far < least) {
                nearest = Some((far, caption));
            }
        }
        Ok(nearest.into_iter().map(|(_, caption)| caption).collect())
    }

    /// The special tokens of a text, with captions in its chunks.
    fn captioned<'c>(&self, text: &str, mut captions: impl Iterator<Item = &'c str>) -> String {
        let image = self.tokens.image.as_str();
        let mut whole = String::new();
        for chunk in self.chunks(text) {
            let mut left = special_tokens(chunk, &self.tokens);
            for _ in 0..chunk.matches(image).count() {
                let caption = captions.next().unwrap_or_default();
                // The first token each time, also for captions of later ones.
                if let Some(at) = left.find(image) {
                    left.insert_str(at + image.len(), &format!(" {caption} "));
                }
            }
            whole.push_str(&left);
            whole.push_str(&self.tokens.eoc);
        }
        whole
    }
}

/// Pairs of words, as Data-Juicer compares captions by.
fn shingler() -> Shingler {
    Shingler {
        tokenization: Tokenization::Space,
        window: 2,
        lowercase: true,
        ignore: None,
        model: None,
    }
}

/// What is left of a text if only special tokens stay.
fn special_tokens(text: &str, tokens: &SpecialTokens) -> String {
    let known = [&tokens.image, &tokens.audio, &tokens.video, &tokens.eoc];
    let mut left = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let token = known
            .into_iter()
            .find(|token| !token.is_empty() && rest.starts_with(token.as_str()));
        let length = token.map_or(c.len_utf8(), |token| {
            left.push_str(token);
            token.len()
        });
        rest = rest.get(length..).unwrap_or_default();
    }
    left
}

/// What a caption's words are drawn by.
fn seed(draw: u64, identity: u64, image: usize, number: u32) -> u64 {
    let mut bytes = Vec::with_capacity(20);
    bytes.extend(identity.to_le_bytes());
    bytes.extend((image as u64).to_le_bytes());
    bytes.extend(number.to_le_bytes());
    // 63 bits: torch takes a signed number.
    xxh3_64_with_seed(&bytes, draw) >> 1
}

impl Asks for ByModel {
    fn service(&self) -> &Service {
        &self.model.service
    }

    /// For each image its captions.
    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        let images = self.plan.beside(sample)?.len();
        let prompt = self.plan.prompt(sample)?;
        let identity = sample.origin().identity();
        let mut requests = Vec::new();
        let slots = originals(sample.images()?);
        for (place, slot) in slots.into_iter().take(images).enumerate() {
            let numbers = 0..self.plan.captions;
            let seeds: Vec<u64> = numbers
                .map(|number| seed(self.draw, identity, place, number))
                .collect();
            requests.extend(self.model.ask(slot, prompt.as_deref(), &seeds)?);
        }
        Ok(requests)
    }

    fn each_row_by_itself(&self) -> bool {
        true
    }
}

impl Expander for ByModel {
    fn parts(&self, sample: &Sample) -> Result<Vec<Part>, RowError> {
        self.parts_of_answers(sample, &[])
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn parts_of_answers(&self, sample: &Sample, answers: &[Answer]) -> Result<Vec<Part>, RowError> {
        let beside = self.plan.beside(sample)?;
        let each = answers.chunks(self.plan.captions as usize);
        let captions: Vec<Vec<String>> = each
            .map(|answers| answers.iter().map(|it| self.model.caption(it)).collect())
            .collect::<Result<_, RowError>>()?;
        if captions.len() != beside.len() {
            return Err(RowError::new("model_failed", "the model was not asked"));
        }
        self.plan.parts(sample, &beside, &captions)
    }
}

impl Script for ByServer {
    type Outcome = Vec<Part>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Part>, Halt> {
        let beside = self.plan.beside(sample)?;
        let prompt = self.plan.prompt(sample)?;
        let prompt = prompt.as_deref().unwrap_or(PROMPT);
        let slots = originals(sample.images()?);
        let mut captions = Vec::with_capacity(beside.len());
        for (place, slot) in slots.iter().take(beside.len()).enumerate() {
            let messages = || {
                let url = image_url(slot, self.server.compat_requests)?;
                Ok(vec![user(json!([
                    {"type": "text", "text": prompt},
                    {"type": "image_url", "image_url": {"url": url}},
                ]))])
            };
            // An image that the row names again is captioned anew.
            let before = slots.iter().take(place);
            let before = before.filter(|other| std::ptr::eq(**other, *slot)).count();
            let first = self.plan.captions * u32::try_from(before).unwrap_or(u32::MAX);
            let numbers = first..first + self.plan.captions;
            let said = numbers.map(|number| {
                talk.use_another(number, messages, |said| {
                    let said = strip(said);
                    (!said.is_empty()).then(|| said.to_owned())
                })
            });
            captions.push(said.collect::<Result<_, Halt>>()?);
        }
        Ok(self.plan.parts(sample, &beside, &captions)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(keep: Keep, captions: u32) -> Plan {
        Plan {
            captions,
            keep,
            keeps_row: true,
            prompt: Some("a".into()),
            prompt_key: Some("p".into()),
            text_key: "text".into(),
            tokens: SpecialTokens::default(),
            shingler: shingler(),
        }
    }

    fn sample(row: &Value) -> Sample {
        let context = std::sync::Arc::new(crate::sample::ImageContext::default());
        Sample::parse(row.to_string(), crate::sample::Origin::default(), context).unwrap()
    }

    #[test]
    fn captions_go_behind_the_first_token_of_their_chunk() {
        let plan = plan(Keep::RandomAny, 1);
        // What Data-Juicer 1.6.1 makes of these texts and captions.
        for (text, captions, made) in [
            (
                "<__dj__image> one",
                vec!["A"],
                "<__dj__image> A <|__dj__eoc|>",
            ),
            (
                "<__dj__image>one <__dj__image> two<|__dj__eoc|> \n<|__dj__eoc|>three<__dj__video><|__dj__eoc|><__dj__image>",
                vec!["A", "B", "C"],
                "<__dj__image> B  A <__dj__image><|__dj__eoc|><__dj__video><|__dj__eoc|><__dj__image> C <|__dj__eoc|>",
            ),
        ] {
            assert_eq!(plan.captioned(text, captions.into_iter()), made);
        }
    }

    #[test]
    fn the_caption_nearest_to_the_text_stays_the_first_of_equals() {
        let row = sample(&json!({"text": "<__dj__image> a red kite flies", "images": ["a.jpg"]}));
        let plan = plan(Keep::SimilarOneSimhash, 3);
        let captions = ["two dogs", "a Red kite  flies", "a red kite flies"].map(String::from);
        let parts = plan
            .parts(&row, &plan.beside(&row).unwrap(), &[captions.to_vec()])
            .unwrap();
        let text = "<__dj__image> a Red kite  flies <|__dj__eoc|>";
        assert_eq!(
            parts,
            [
                Part::Edits(Vec::new()),
                Part::Edits(vec![("text".into(), text.into())])
            ]
        );
    }

    #[test]
    fn each_caption_is_a_row_of_all() {
        let row = sample(&json!({"text": "<__dj__image><__dj__image>", "images": ["a", "a"]}));
        let mut plan = plan(Keep::All, 2);
        plan.keeps_row = false;
        let said = [["A", "B"], ["C", "D"]].map(|captions| captions.map(String::from).to_vec());
        let parts = plan
            .parts(&row, &plan.beside(&row).unwrap(), &said)
            .unwrap();
        let texts = [
            "<__dj__image> C  A <__dj__image><|__dj__eoc|>",
            "<__dj__image> D  B <__dj__image><|__dj__eoc|>",
        ];
        let rows = texts.map(|text| Part::Edits(vec![("text".into(), text.into())]));
        assert_eq!(parts, rows);
    }

    #[test]
    fn a_row_of_fewer_images_than_tokens_fails() {
        let plan = plan(Keep::All, 2);
        let row = sample(&json!({"text": "<__dj__image><__dj__image>", "images": ["a"]}));
        assert_eq!(plan.beside(&row).unwrap_err().code, "model_input");
        let none = sample(&json!({"text": "no token", "images": ["a"]}));
        assert!(plan.beside(&none).unwrap().is_empty());
    }

    #[test]
    fn a_prompt_of_the_row_wins_if_it_is_a_text() {
        let plan = plan(Keep::All, 2);
        let of = |row: Value| plan.prompt(&sample(&row)).unwrap().unwrap();
        assert_eq!(of(json!({"p": "b"})), "b");
        assert_eq!(of(json!({"p": 1})), "a");
        assert_eq!(of(json!({})), "a");
    }

    #[test]
    fn seeds_differ_by_row_image_and_caption() {
        let seeds = [
            seed(1, 2, 3, 4),
            seed(2, 2, 3, 4),
            seed(1, 3, 3, 4),
            seed(1, 2, 4, 4),
            seed(1, 2, 3, 5),
        ];
        assert_eq!(
            seeds
                .iter()
                .collect::<std::collections::BTreeSet<_>>()
                .len(),
            5
        );
        assert!(seeds.iter().all(|seed| i64::try_from(*seed).is_ok()));
    }
}
