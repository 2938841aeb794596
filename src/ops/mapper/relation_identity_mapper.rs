//! Has a language model say how two entities of a text are related.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{BuildContext, Facts, Field, Mapper, Operator, ParamError, operator};
use crate::ops::llm::qa::field;
use crate::ops::llm::{
    Edit, Format, Halt, Script, Scripted, Server, Talk, drop_text, flattened, llm_params, meta_has,
    pattern, prompts, set_meta, system_and_user,
};
use crate::sample::{FieldPath, Sample};
use crate::text::python_regex::Pattern;
use crate::text::{lines, strip};

operator! {
    /// Has a language model say what `target_entity` is to `source_entity` in the text, into
    /// `__dj__meta__`.
    ///
    /// A server is sent the text; what the second group of `output_pattern_template` finds in its
    /// answer, or else what stands behind the last colon of a conclusion, is `output_key`. Without both
    /// entities that is empty, and nothing is asked. A row that has it is passed over.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - relation_identity_mapper: {api_model: m, source_entity: Tom, target_entity: Jerry, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "a"}, "said": ["分析推理：they fight\n所以Jerry是Tom的：rival"], "out": {"text": "a", "__dj__meta__": {"role_relation": "rival"}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `relation_identity_mapper`: the same requests, and the same relation for each
    /// answer that has one. Where none has, or the server fails, it is empty there; here the row is set
    /// aside.
    relation_identity_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Meta],
        writes: &[Field::Meta, Field::TextWith("drop_text")],
        ..Facts::NONE
    }
}

llm_params! {
    api_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// To whom the other one is something.
    source_entity: Option<String> = None;
    /// Who it is that is something.
    target_entity: Option<String> = None;
    /// What the relation is called in `__dj__meta__`.
    output_key: String = "role_relation".to_owned();
    /// What the model is told, with `{entity1}` and `{entity2}`; null for Data-Juicer's prompt.
    system_prompt_template: Option<String> = None;
    /// What is sent, with `{entity1}`, `{entity2}` and `{text}`.
    input_template: Option<String> = None;
    /// A regular expression (of Python, verbose, the dot matches line feeds) with `{entity1}` and
    /// `{entity2}`, whose second group is the relation.
    output_pattern_template: Option<String> = None;
    /// Whether the text goes.
    drop_text: bool = false;
}

struct Relation {
    server: Server,
    text_key: FieldPath,
    /// Both entities, if both are named.
    entities: Option<[String; 2]>,
    system_prompt: String,
    input: Format,
    pattern: Pattern,
    conclusion: Pattern,
    output_key: String,
    drop_text: bool,
}

/// A conclusion that ends with what it comes to.
const CONCLUSION: &str = r"(?:所以|因此|故|可见).{0,48}?[：:]\s*(.+?)(?:\s*$)";

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let both = ["entity1", "entity2"];
    let system = Format::of(
        "system_prompt_template",
        params.system_prompt_template.as_ref(),
        prompts::RELATION_IDENTITY_SYSTEM_PROMPT_TEMPLATE,
        &both,
    )?;
    let output = Format::of(
        "output_pattern_template",
        params.output_pattern_template.as_ref(),
        prompts::RELATION_IDENTITY_OUTPUT_PATTERN_TEMPLATE,
        &both,
    )?;
    let server = params.server(context)?;
    let entities = params.source_entity.zip(params.target_entity);
    let entities = entities.map(|(source, target)| [source, target]);
    let none = "None".to_owned();
    let named = entities.clone().unwrap_or_else(|| [none.clone(), none]);
    let values = [
        ("entity1", named[0].as_str()),
        ("entity2", named[1].as_str()),
    ];
    let script = Relation {
        server,
        text_key: context.base.text_key.clone(),
        system_prompt: system.fill(&values),
        input: Format::of(
            "input_template",
            params.input_template.as_ref(),
            prompts::RELATION_IDENTITY_INPUT_TEMPLATE,
            &["entity1", "entity2", "text"],
        )?,
        pattern: pattern("output_pattern_template", None, &output.fill(&values), "sx")?,
        conclusion: pattern("output_pattern_template", None, CONCLUSION, "")?,
        entities,
        output_key: params.output_key,
        drop_text: params.drop_text,
    };
    let mapper: Box<dyn Mapper> = Box::new(Scripted(script));
    Ok(Operator::Mapper(mapper))
}

impl Relation {
    fn read(&self, said: &str) -> Option<String> {
        let found = flattened(&self.pattern, said).ok()?;
        let last = found.last().and_then(|groups| groups.get(1));
        if let Some(relation) = last.map(|text| strip(text)).filter(|text| !text.is_empty()) {
            return Some(relation.to_owned());
        }
        let all: Vec<&str> = lines(strip(said)).map(strip).collect();
        all.iter().rev().find_map(|line| {
            let found = flattened(&self.conclusion, line).ok()?;
            let behind = strip(found.first()?.first()?);
            let behind = behind.trim_matches(['。', '.', '"', '\'']);
            (!behind.is_empty()).then(|| behind.to_owned())
        })
    }
}

impl Script for Relation {
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        if meta_has(sample, &[&self.output_key])? {
            return Ok(Vec::new());
        }
        let Some([source, target]) = &self.entities else {
            return Ok(vec![set_meta(sample, vec![(&self.output_key, "".into())])?]);
        };
        let text = field(sample, self.text_key.as_str())?;
        let values = [
            ("entity1", source.as_str()),
            ("entity2", target),
            ("text", &text),
        ];
        let messages = system_and_user(&self.system_prompt, self.input.fill(&values));
        let found = talk.use_of(&messages, |said| self.read(said))?;
        let mut edits = vec![set_meta(sample, vec![(&self.output_key, found.into())])?];
        drop_text(&mut edits, self.drop_text, &self.text_key);
        Ok(edits)
    }
}
