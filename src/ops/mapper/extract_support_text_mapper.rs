//! Has a language model find the passage of a text that a summary is of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{BuildContext, Facts, Field, Mapper, Operator, ParamError, meta_of, operator};
use crate::ops::llm::qa::field;
use crate::ops::llm::{
    Edit, Format, Halt, Script, Scripted, Server, Talk, drop_text, llm_params, meta_has, prompts,
    set_meta, system_and_user,
};
use crate::sample::{FieldPath, Sample};
use crate::text::strip;

operator! {
    /// Has a language model find the passage of the text that a summary is of, into `__dj__meta__`.
    ///
    /// A server is sent the text and the `summary_key` of `__dj__meta__`; what it says, stripped, is
    /// `support_text_key`. A row that has that, or no summary that is a text, is passed over.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - extract_support_text_mapper: {api_model: m, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "a b c", "__dj__meta__": {"event_description": "of b"}}, "said": ["b"], "out": {"text": "a b c", "__dj__meta__": {"event_description": "of b", "support_text": "b"}}}
    /// {"in": {"text": "a"}, "out": {"text": "a"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `extract_support_text_mapper`: the same requests, and the same passage for
    /// each answer that is not empty. Where all are, or the server fails, the summary stands in its
    /// place there; here the row is set aside.
    extract_support_text_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Meta],
        writes: &[Field::Meta, Field::TextWith("drop_text")],
        ..Facts::NONE
    }
}

llm_params! {
    api_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// What the summary is called in `__dj__meta__`.
    summary_key: String = "event_description".to_owned();
    /// What the passage is called there.
    support_text_key: String = "support_text".to_owned();
    /// What the model is told; null for Data-Juicer's prompt.
    system_prompt: Option<String> = None;
    /// What is sent, with `{text}` and `{summary}` in it.
    input_template: Option<String> = None;
    /// Whether the text goes.
    drop_text: bool = false;
}

struct Passage {
    server: Server,
    text_key: FieldPath,
    system_prompt: String,
    input: Format,
    summary_key: String,
    support_text_key: String,
    drop_text: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let given = params
        .system_prompt
        .clone()
        .filter(|prompt| !prompt.is_empty());
    let script = Passage {
        server: params.server(context)?,
        text_key: context.base.text_key.clone(),
        system_prompt: given.unwrap_or_else(|| prompts::SUPPORT_TEXT_SYSTEM_PROMPT.to_owned()),
        input: Format::of(
            "input_template",
            params.input_template.as_ref(),
            prompts::SUPPORT_TEXT_INPUT_TEMPLATE,
            &["text", "summary"],
        )?,
        summary_key: params.summary_key,
        support_text_key: params.support_text_key,
        drop_text: params.drop_text,
    };
    let mapper: Box<dyn Mapper> = Box::new(Scripted(script));
    Ok(Operator::Mapper(mapper))
}

impl Script for Passage {
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        let meta = meta_of(sample)?;
        let Some(Value::String(summary)) = meta.get(&self.summary_key) else {
            return Ok(Vec::new());
        };
        if meta_has(sample, &[&self.support_text_key])? {
            return Ok(Vec::new());
        }
        let text = field(sample, self.text_key.as_str())?;
        let input = self.input.fill(&[("text", &text), ("summary", summary)]);
        let found = talk.use_of(&system_and_user(&self.system_prompt, input), |said| {
            let passage = strip(said);
            (!passage.is_empty()).then(|| passage.to_owned())
        })?;
        let mut edits = vec![set_meta(
            sample,
            vec![(&self.support_text_key, found.into())],
        )?];
        drop_text(&mut edits, self.drop_text, &self.text_key);
        Ok(edits)
    }
}
