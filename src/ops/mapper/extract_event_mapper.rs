//! Has a language model take texts apart into events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{BuildContext, Facts, Field, META, Operator, ParamError, Part, meta_of, operator};
use crate::ops::llm::qa::field;
use crate::ops::llm::{
    Format, Halt, Script, ScriptedParts, Server, Talk, flattened, llm_params, meta_has, pattern,
    prompts, split_by_punctuation, system_and_user,
};
use crate::sample::{FieldPath, RowError, Sample, read_json};
use crate::text::python_regex::Pattern;

operator! {
    /// Makes a row of each event that a language model finds in the text.
    ///
    /// A server is sent the text; each match of `output_pattern` in its answer becomes a copy of the
    /// row, with what happens (`event_desc_key`) and who takes part (`relevant_char_key`) in
    /// `__dj__meta__`. A row that has both is passed over.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - extract_event_mapper: {api_model: m, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "a"}, "said": ["### 情节1：\n- **情节描述**： it ran\n- **相关人物**：Tom，Jerry\n### 情节2：\n- **情节描述**： it slept\n- **相关人物**：Tom"], "out": [{"text": "a", "__dj__meta__": {"event_description": "it ran", "relevant_characters": ["Tom", "Jerry"]}}, {"text": "a", "__dj__meta__": {"event_description": "it slept", "relevant_characters": ["Tom"]}}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `extract_event_mapper`: the same requests, and the same rows for each answer
    /// with an event. A row without one, and one that the server fails, vanishes there if another row
    /// of its batch has one, and else stays as it is; here it is set aside. Whether a row has its events
    /// already is looked up in the first row of a batch there, in each row here.
    extract_event_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Meta],
        writes: &[Field::Meta, Field::TextWith("drop_text")],
        ..Facts::NONE
    }
}

llm_params! {
    api_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// What the event is called in `__dj__meta__`.
    event_desc_key: String = "event_description".to_owned();
    /// What the list of those who take part is called.
    relevant_char_key: String = "relevant_characters".to_owned();
    /// What the model is told; null for Data-Juicer's prompt.
    system_prompt: Option<String> = None;
    /// What is sent, with `{text}` in it.
    input_template: Option<String> = None;
    /// A regular expression (of Python, verbose, the dot matches line feeds) with three groups: a
    /// number, what happens, who takes part.
    output_pattern: Option<String> = None;
    /// Whether the text goes.
    drop_text: bool = false;
}

struct Events {
    server: Server,
    text_key: FieldPath,
    system_prompt: String,
    input: Format,
    pattern: Pattern,
    keys: [String; 2],
    drop_text: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let given = params
        .system_prompt
        .clone()
        .filter(|prompt| !prompt.is_empty());
    let script = Events {
        server: params.server(context)?,
        text_key: context.base.text_key.clone(),
        system_prompt: given.unwrap_or_else(|| prompts::EVENT_SYSTEM_PROMPT.to_owned()),
        input: Format::of(
            "input_template",
            params.input_template.as_ref(),
            prompts::EVENT_INPUT_TEMPLATE,
            &["text"],
        )?,
        pattern: pattern(
            "output_pattern",
            params.output_pattern.as_ref(),
            prompts::EVENT_OUTPUT_PATTERN,
            "sx",
        )?,
        keys: [params.event_desc_key, params.relevant_char_key],
        drop_text: params.drop_text,
    };
    Ok(Operator::Expander(Box::new(ScriptedParts(script))))
}

impl Events {
    fn read(&self, said: &str) -> Option<Vec<(String, Vec<String>)>> {
        let mut events = Vec::new();
        for groups in flattened(&self.pattern, said).ok()? {
            let [_, what, who] = groups.as_slice() else {
                return None;
            };
            events.push((what.clone(), split_by_punctuation(who)));
        }
        (!events.is_empty()).then_some(events)
    }

    /// The row with this as its `__dj__meta__`.
    fn part(&self, sample: &Sample, meta: Map<String, Value>) -> Result<Part, RowError> {
        if !self.drop_text {
            return Ok(Part::Edits(vec![(FieldPath::new(META), meta.into())]));
        }
        let mut line = Vec::new();
        sample.write_json(&[], &mut line);
        let line = String::from_utf8_lossy(&line);
        let Ok(Value::Object(mut row)) = read_json(&line) else {
            return Err(RowError::new("wrong_type", "the row is no object"));
        };
        row.shift_remove(self.text_key.as_str());
        row.insert(META.to_owned(), meta.into());
        Ok(Part::Row(Value::Object(row).to_string()))
    }
}

impl Script for Events {
    type Outcome = Vec<Part>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Part>, Halt> {
        let keys = self.keys.each_ref().map(String::as_str);
        if meta_has(sample, &keys)? {
            return Ok(vec![Part::Edits(Vec::new())]);
        }
        let text = field(sample, self.text_key.as_str())?;
        let messages = system_and_user(&self.system_prompt, self.input.fill(&[("text", &text)]));
        let events = talk.use_of(&messages, |said| self.read(said))?;
        let meta = meta_of(sample)?;
        let parts = events.into_iter().map(|(what, who)| {
            let mut meta = meta.clone();
            meta.insert(self.keys[0].clone(), what.into());
            meta.insert(self.keys[1].clone(), who.into());
            self.part(sample, meta)
        });
        Ok(parts.collect::<Result<_, _>>()?)
    }
}
