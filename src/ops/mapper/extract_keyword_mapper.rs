//! Has a language model find the keywords of texts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{BuildContext, Facts, Field, Mapper, Operator, ParamError, operator};
use crate::ops::llm::qa::field;
use crate::ops::llm::{
    Edit, Format, Halt, Script, Scripted, Server, Talk, drop_text, flattened, llm_params, meta_has,
    pattern, prompts, set_meta, split_by_punctuation, user,
};
use crate::sample::{FieldPath, Sample};
use crate::text::python_regex::Pattern;

operator! {
    /// Has a language model find the keywords of the text, into `__dj__meta__`.
    ///
    /// A server is sent the text in `prompt_template`; what `output_pattern` finds in its answer, cut
    /// at punctuation, is the list `keyword_key`. A row that has it is passed over.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - extract_keyword_mapper: {api_model: m, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "cats and dogs"}, "said": ["(\"content_keywords\" \"cats, dogs\")<|COMPLETE|>"], "out": {"text": "cats and dogs", "__dj__meta__": {"keyword": ["cats", "dogs"]}}}
    /// {"in": {"text": "a", "__dj__meta__": {"keyword": ["b"]}}, "out": {"text": "a", "__dj__meta__": {"keyword": ["b"]}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `extract_keyword_mapper`: the same requests, and the same keywords for each
    /// answer that has some. Where none has, or the server fails, the list is empty there; here the row
    /// is set aside.
    extract_keyword_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Meta],
        writes: &[Field::Meta, Field::TextWith("drop_text")],
        ..Facts::NONE
    }
}

llm_params! {
    api_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// What the list is called in `__dj__meta__`.
    keyword_key: String = "keyword".to_owned();
    /// What is sent, with `{completion_delimiter}` and `{input_text}`; null for Data-Juicer's prompt.
    prompt_template: Option<String> = None;
    /// What the model is to end with.
    completion_delimiter: Option<String> = None;
    /// A regular expression (of Python, verbose, the dot matches line feeds) whose group holds keywords.
    output_pattern: Option<String> = None;
    /// Whether the text goes.
    drop_text: bool = false;
}

struct Keywords {
    server: Server,
    text_key: FieldPath,
    prompt: Format,
    delimiter: String,
    pattern: Pattern,
    keyword_key: String,
    drop_text: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let delimiter = params.completion_delimiter.clone();
    let delimiter = delimiter.filter(|text| !text.is_empty());
    let script = Keywords {
        server: params.server(context)?,
        text_key: context.base.text_key.clone(),
        prompt: Format::of(
            "prompt_template",
            params.prompt_template.as_ref(),
            prompts::KEYWORD_PROMPT_TEMPLATE,
            &["completion_delimiter", "input_text"],
        )?,
        delimiter: delimiter.unwrap_or_else(|| prompts::KEYWORD_COMPLETION_DELIMITER.to_owned()),
        pattern: pattern(
            "output_pattern",
            params.output_pattern.as_ref(),
            prompts::KEYWORD_OUTPUT_PATTERN,
            "sx",
        )?,
        keyword_key: params.keyword_key,
        drop_text: params.drop_text,
    };
    let mapper: Box<dyn Mapper> = Box::new(Scripted(script));
    Ok(Operator::Mapper(mapper))
}

impl Script for Keywords {
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        if meta_has(sample, &[&self.keyword_key])? {
            return Ok(Vec::new());
        }
        let text = field(sample, self.text_key.as_str())?;
        let prompt = self.prompt.fill(&[
            ("completion_delimiter", &self.delimiter),
            ("input_text", &text),
        ]);
        let found = talk.use_of(&[user(prompt)], |said| {
            let records = flattened(&self.pattern, said).ok()?;
            let words = records.iter().filter_map(|record| record.first());
            let words: Vec<String> = words
                .flat_map(|record| split_by_punctuation(record))
                .collect();
            (!words.is_empty()).then_some(words)
        })?;
        let mut edits = vec![set_meta(sample, vec![(&self.keyword_key, found.into())])?];
        drop_text(&mut edits, self.drop_text, &self.text_key);
        Ok(edits)
    }
}
