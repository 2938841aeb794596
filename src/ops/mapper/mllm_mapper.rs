//! Has a language model that sees say something of images.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::op::{BuildContext, Facts, Field, ImageNeed, Mapper, Operator, ParamError, operator};
use crate::ops::llm::qa::field;
use crate::ops::llm::{Edit, Halt, Script, Scripted, Server, Talk, image_url, llm_params, user};
use crate::ops::model::distinct;
use crate::sample::{FieldPath, Sample};
use crate::text::strip;

operator! {
    /// Has a language model that sees answer the text for each image of a row; the text becomes the
    /// list of its answers.
    ///
    /// A server is sent the text and an image, each path once; what it says, stripped, is an element of
    /// the list that takes the text's place. A row without images passes.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - mllm_mapper: {api_model: m, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "what is it?", "images": ["fixtures/images/apng_sound.png"]}, "said": ["a square"], "out": {"text": ["a square"], "images": ["fixtures/images/apng_sound.png"]}}
    /// {"in": {"text": "what is it?", "images": []}, "out": {"text": "what is it?", "images": []}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `mllm_mapper`, which runs its model in the process and writes the prompt in
    /// front of each answer: here it is asked at a server, under the name `api_model`, or else
    /// `hf_model`, and the answer stands alone. `num_beams` must be 1.
    mllm_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Images],
        writes: &[Field::Text],
        images: |_| ImageNeed::Scaled,
        ..Facts::NONE
    }
}

llm_params! {
    api_model = None, try_num = 3;
    /// What the server calls the model, unless `api_model` says.
    hf_model: Option<String> = Some("llava-hf/llava-v1.6-vicuna-7b-hf".to_owned());
    /// The most tokens of an answer (`max_tokens`).
    max_new_tokens: Option<u32> = Some(256);
    /// How freely it draws its words (`temperature`).
    temperature: Option<f64> = Some(0.2);
    /// Of which share of its words (`top_p`).
    top_p: Option<f64> = None;
    /// Must be 1.
    num_beams: u32 = 1;
}

struct See {
    server: Server,
    text_key: FieldPath,
}

fn build(mut params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    if params.num_beams != 1 {
        return Err(
            ParamError::new("num_beams", "servers draw their words in one way")
                .hint("leave num_beams out, or set it to 1")
                .into(),
        );
    }
    params.api_model = params.api_model.take().or_else(|| params.hf_model.clone());
    let usual = [
        ("max_tokens", json!(params.max_new_tokens)),
        ("temperature", json!(params.temperature)),
        ("top_p", json!(params.top_p)),
    ];
    let usual: Vec<_> = usual
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect();
    let script = See {
        server: params.server(context)?.with_sampling(&usual),
        text_key: context.base.text_key.clone(),
    };
    let mapper: Box<dyn Mapper> = Box::new(Scripted(script));
    Ok(Operator::Mapper(mapper))
}

impl Script for See {
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        let slots = sample.images()?;
        if slots.is_empty() {
            return Ok(Vec::new());
        }
        let text = field(sample, self.text_key.as_str())?;
        let mut said: Vec<Value> = Vec::new();
        for slot in distinct(slots) {
            let messages = || {
                let url = image_url(slot, self.server.compat_requests)?;
                Ok(vec![user(json!([
                    {"type": "text", "text": text},
                    {"type": "image_url", "image_url": {"url": url}},
                ]))])
            };
            let answer = talk.use_lazily(messages, |said| {
                let said = strip(said);
                (!said.is_empty()).then(|| said.to_owned())
            })?;
            said.push(answer.into());
        }
        let name = self.text_key.as_str().to_owned();
        Ok(vec![Edit::Set(name, said.into())])
    }
}
