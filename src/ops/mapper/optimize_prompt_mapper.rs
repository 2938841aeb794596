//! Has a language model make better prompts of prompts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{BuildContext, Facts, Field, Operator, ParamError, Part, operator, positive};
use crate::ops::llm::qa::field;
use crate::ops::llm::{
    Format, Halt, Script, ScriptedParts, Server, Talk, flattened, llm_params, no_local_model,
    pattern, prompts, system_and_user,
};
use crate::sample::{FieldPath, Sample};
use crate::text::python_regex::Pattern;
use crate::text::strip;

operator! {
    /// Makes rows of better prompts that a language model makes of the prompt of a row.
    ///
    /// A server is sent the prompt as an example, and answers with another one; that one becomes an
    /// example beside it, and so on, `gen_num` times; the last `max_example_num` examples are sent.
    /// Each new prompt is a copy of the row, behind the row itself if `keep_original_sample` is true. A
    /// row without a prompt passes.
    ///
    /// An answer without a prompt is asked for anew, `retry_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - optimize_prompt_mapper: {api_or_hf_model: m, gen_num: 1, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"prompt": "draw a cat"}, "said": ["【提示词】draw a small cat"], "out": [{"prompt": "draw a cat"}, {"prompt": "draw a small cat"}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `optimize_prompt_mapper` with an API, in batches of one row: the same
    /// requests and rows for answers that have a prompt. There the examples are drawn from a batch of
    /// rows, and `gen_num` prompts are made for each batch, so that they depend on how rows are batched;
    /// here each row is its own. A failure makes no row there; here the row is set aside. Models are not
    /// run in the process: `is_hf_model` and `enable_vllm` must be false.
    optimize_prompt_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Param("prompt_key")],
        writes: &[Field::Param("prompt_key")],
        ..Facts::NONE
    }
}

llm_params! {
    api_or_hf_model = Some("Qwen/Qwen2.5-7B-Instruct".to_owned()), retry_num = 3;
    /// How many prompts are made of one.
    gen_num: i64 = 3;
    /// How many examples are sent at most.
    max_example_num: i64 = 3;
    /// Whether the row itself stays.
    keep_original_sample: bool = true;
    /// Must be false: a model is asked at a server.
    is_hf_model: bool = false;
    /// Must be false: a model is asked at a server.
    enable_vllm: bool = false;
    /// What the model is told; null for Data-Juicer's prompt.
    system_prompt: Option<String> = None;
    /// What is sent, with `{}` for the examples.
    input_template: Option<String> = None;
    /// An example, with `{}` for the prompt as `prompt_template` has it.
    example_template: Option<String> = None;
    /// A prompt, with `{}` for it.
    prompt_template: Option<String> = None;
    /// A regular expression (of Python, the dot matches line feeds) whose group is the prompt.
    output_pattern: Option<String> = None;
    /// The field of the prompt.
    prompt_key: String = "prompt".to_owned();
}

struct Prompts {
    server: Server,
    prompt_key: String,
    system_prompt: String,
    input: Format,
    example: Format,
    prompt: Format,
    pattern: Pattern,
    made: usize,
    most: usize,
    keeps: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    no_local_model(params.is_hf_model, params.enable_vllm)?;
    let template = |name: &str, given: &Option<String>, usual: &str| {
        Format::of(name, given.as_ref(), usual, &["0"])
    };
    let given = params
        .system_prompt
        .clone()
        .filter(|prompt| !prompt.is_empty());
    let script = Prompts {
        server: params.server(context)?,
        system_prompt: given.unwrap_or_else(|| prompts::OPTIMIZE_PROMPT_SYSTEM_PROMPT.to_owned()),
        input: template("input_template", &params.input_template, "{}")?,
        example: template(
            "example_template",
            &params.example_template,
            prompts::OPTIMIZE_PROMPT_EXAMPLE_TEMPLATE,
        )?,
        prompt: template(
            "prompt_template",
            &params.prompt_template,
            prompts::OPTIMIZE_PROMPT_PROMPT_TEMPLATE,
        )?,
        pattern: pattern(
            "output_pattern",
            params.output_pattern.as_ref(),
            prompts::OPTIMIZE_PROMPT_OUTPUT_PATTERN,
            "s",
        )?,
        made: positive("gen_num", params.gen_num)?,
        most: positive("max_example_num", params.max_example_num)?,
        keeps: params.keep_original_sample,
        prompt_key: params.prompt_key,
    };
    Ok(Operator::Expander(Box::new(ScriptedParts(script))))
}

impl Script for Prompts {
    type Outcome = Vec<Part>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Part>, Halt> {
        let same = Part::Edits(Vec::new());
        if !sample.has(&self.prompt_key) {
            return Ok(vec![same]);
        }
        let mut examples = vec![field(sample, &self.prompt_key)?];
        let mut parts: Vec<Part> = self.keeps.then_some(same).into_iter().collect();
        let mut sent = Vec::new();
        for _ in 0..self.made {
            let shown = examples.iter().map(|prompt| {
                let prompt = self.prompt.fill(&[("0", prompt)]);
                self.example.fill(&[("0", &prompt)])
            });
            let input = self.input.fill(&[("0", &shown.collect::<String>())]);
            // A prompt that came back as it was asks in the same words again, for another answer.
            let before = sent.iter().filter(|earlier| **earlier == input).count();
            let messages = || Ok(system_and_user(&self.system_prompt, input.clone()));
            let outcome = u32::try_from(before).unwrap_or(u32::MAX);
            let made = talk.use_another(outcome, messages, |said| {
                let found = flattened(&self.pattern, said).ok()?;
                let prompt = strip(found.first()?.first()?);
                (!prompt.is_empty()).then(|| prompt.to_owned())
            })?;
            sent.push(input);
            let key = FieldPath::new(self.prompt_key.as_str());
            parts.push(Part::Edits(vec![(key, made.as_str().into())]));
            examples.push(made);
            if examples.len() > self.most {
                examples.remove(0);
            }
        }
        Ok(parts)
    }
}
