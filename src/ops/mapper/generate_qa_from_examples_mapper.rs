//! Has a language model make questions and answers like given ones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::hash::PythonRandom;
use crate::op::{BuildContext, Facts, Field, Mapper, Operator, ParamError, operator, positive};
use crate::ops::llm::{
    Edit, Format, Halt, Script, Scripted, Server, Talk, flattened, llm_params, no_local_model,
    pattern, prompts, system_and_user,
};
use crate::sample::{RowError, Sample};
use crate::text::python_regex::Pattern;
use crate::text::{rouge_l, strip};

operator! {
    /// Gives each row a question and an answer that a language model makes after examples.
    ///
    /// `example_num` of the dialogs in `seed_file` are drawn for each row, by the recipe's `seed` and the
    /// row's place. A server is told what is wanted (`system_prompt`) and sent `input_template` with the
    /// examples: each is `example_template` with a `qa_pair_template` for each of its pairs that has
    /// both texts. The last match of `output_pattern` in the answer becomes `query_key` and
    /// `response_key`, those before it the pairs in `history_key`. A dialog that is too like one of its
    /// examples leaves the three fields empty: one whose ROUGE-L (the F-measure over words between
    /// white space) is above `similarity_threshold`.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - generate_qa_from_examples_mapper: {seed_file: fixtures/llm/seeds.jsonl, example_num: 1, api_model: m, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": ""}, "said": ["【问题】\nwhat soars?\n【回答】\na kite"], "out": {"text": "", "query": "what soars?", "response": "a kite", "history": []}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `generate_qa_from_examples_mapper`, which runs its model in the process: here it
    /// is asked at a server, under the name `api_model`, or else `hf_model`. The same is sent, and answers
    /// are read the same. There examples are drawn without a seed, and an answer without a pair leaves
    /// the three fields empty; here the row is set aside. A `seed_file` of fewer dialogs than
    /// `example_num`, which fails on every row there, is refused. `enable_vllm` must be false.
    generate_qa_from_examples_mapper: Mapper(Params) => build,
    Facts {
        writes: &[
            Field::Param("query_key"),
            Field::Param("response_key"),
            Field::Param("history_key"),
        ],
        ..Facts::NONE
    }
}

llm_params! {
    api_model = None, try_num = 3;
    /// What the server calls the model, unless `api_model` says.
    hf_model: Option<String> = Some("Qwen/Qwen2.5-7B-Instruct".to_owned());
    /// Dialogs, one on each line: an object whose `messages` have `role` and `content`.
    seed_file: String = String::new();
    /// Dialogs that a row's prompt has.
    example_num: i64 = 3;
    /// The greatest likeness to an example that a dialog may have, 0 to 1, inclusive.
    similarity_threshold: f64 = 0.7;
    /// What the model is told.
    system_prompt: Option<String> = None;
    /// Around the examples, which stand where it has `{}`.
    input_template: Option<String> = None;
    /// Around an example, which stands where it has `{}`.
    example_template: Option<String> = None;
    /// Around question and answer, which stand where it has `{}`.
    qa_pair_template: Option<String> = None;
    /// A regular expression (of Python, the dot matches line feeds) whose groups are question and
    /// answer.
    output_pattern: Option<String> = None;
    /// Must be false: a model is asked at a server.
    enable_vllm: bool = false;
    /// The field that the question goes to.
    query_key: String = "query".to_owned();
    /// The field that the answer goes to.
    response_key: String = "response".to_owned();
    /// The field that the pairs before it go to.
    history_key: String = "history".to_owned();
}

/// Questions with their answers; a part that is missing is empty.
type Dialog = Vec<[String; 2]>;

struct Examples {
    server: Server,
    system_prompt: String,
    seeds: Vec<Dialog>,
    count: u64,
    templates: Templates,
    pattern: Pattern,
    threshold: f64,
    keys: [String; 3],
    draw: u64,
}

struct Templates {
    input: Format,
    example: Format,
    pair: Format,
}

fn build(mut params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    no_local_model(false, params.enable_vllm)?;
    params.api_model = params.api_model.take().or_else(|| params.hf_model.clone());
    let seeds = seeds(&params.seed_file, context)?;
    let count = positive("example_num", params.example_num)?;
    if count > seeds.len() {
        let message = format!(
            "seed_file has {} dialogs, and {count} are drawn",
            seeds.len()
        );
        let hint = "give more dialogs, or a smaller example_num";
        return Err(ParamError::new("example_num", message).hint(hint).into());
    }
    if !(0.0..=1.0).contains(&params.similarity_threshold) {
        let message = format!("similarity_threshold is {}", params.similarity_threshold);
        let hint = "a likeness lies between 0 and 1";
        return Err(ParamError::new("similarity_threshold", message)
            .hint(hint)
            .into());
    }
    let one = ["0"];
    let templates = Templates {
        input: Format::of("input_template", params.input_template.as_ref(), "{}", &one)?,
        example: Format::of(
            "example_template",
            params.example_template.as_ref(),
            prompts::QA_FROM_EXAMPLES_EXAMPLE,
            &one,
        )?,
        pair: Format::of(
            "qa_pair_template",
            params.qa_pair_template.as_ref(),
            prompts::QA_FROM_EXAMPLES_PAIR,
            &["0", "1"],
        )?,
    };
    let given = params.system_prompt.clone().filter(|text| !text.is_empty());
    let script = Examples {
        server: params.server(context)?,
        system_prompt: given.unwrap_or_else(|| prompts::QA_FROM_EXAMPLES_SYSTEM.to_owned()),
        seeds,
        count: count as u64,
        templates,
        pattern: pattern(
            "output_pattern",
            params.output_pattern.as_ref(),
            prompts::QA_FROM_EXAMPLES_PATTERN,
            "s",
        )?,
        threshold: params.similarity_threshold,
        keys: [params.query_key, params.response_key, params.history_key],
        draw: context.base.draw,
    };
    let mapper: Box<dyn Mapper> = Box::new(Scripted(script));
    Ok(Operator::Mapper(mapper))
}

/// The parameter that names the file.
const SEEDS: &str = "seed_file";

/// The dialogs of the file that `written` names.
fn seeds(written: &str, context: &BuildContext) -> Result<Vec<Dialog>, ParamError> {
    const HINT: &str = "give a file that has on each line an object like {\"messages\": [{\"role\": \
                        \"user\", \"content\": \"…\"}, {\"role\": \"assistant\", \"content\": \"…\"}]}";
    if written.is_empty() {
        return Err(ParamError::new(SEEDS, "seed_file is missing").hint(HINT));
    }
    let path = context.resolve(written).map_err(|missing| {
        let tried: Vec<String> = missing
            .tried
            .iter()
            .map(|it| it.display().to_string())
            .collect();
        let message = format!("'{written}' is not there (looked for {})", tried.join(", "));
        ParamError::new(SEEDS, message).hint(HINT)
    })?;
    let text = context.read_text(&path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        ParamError::new(SEEDS, message).hint("make it a readable text file")
    })?;
    let mut seeds = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let dialog = dialog(strip(line)).ok_or_else(|| {
            let message = format!("{}:{}: no dialog", path.display(), number + 1);
            ParamError::new(SEEDS, message).hint(HINT)
        })?;
        seeds.extend((!dialog.is_empty()).then_some(dialog));
    }
    if seeds.is_empty() {
        let message = format!("{} has no answer of an assistant", path.display());
        return Err(ParamError::new(SEEDS, message).hint(HINT));
    }
    Ok(seeds)
}

/// The pairs of a dialog: each answer with the question last asked before it.
fn dialog(line: &str) -> Option<Dialog> {
    let read: Value = serde_json::from_str(line).ok()?;
    let mut question = String::new();
    let mut pairs = Vec::new();
    for message in read.get("messages")?.as_array()? {
        let content = match message.get("content")? {
            Value::Null => "",
            content => content.as_str()?,
        };
        match message.get("role")?.as_str()? {
            "user" => content.clone_into(&mut question),
            "assistant" => pairs.push([question.clone(), content.to_owned()]),
            _ => {}
        }
    }
    Some(pairs)
}

impl Examples {
    /// Those of a row.
    fn drawn(&self, sample: &Sample) -> Vec<&Dialog> {
        let identity = sample.origin().identity().to_le_bytes();
        let mut random = PythonRandom::new(xxh3_64_with_seed(&identity, self.draw));
        let drawn = random.sample(self.seeds.len() as u64, self.count);
        let places = drawn.into_iter().filter_map(|at| usize::try_from(at).ok());
        places.filter_map(|at| self.seeds.get(at)).collect()
    }
}

impl Templates {
    /// What is sent of examples.
    fn filled(&self, examples: &[&Dialog]) -> String {
        let each = examples.iter().map(|dialog| {
            let whole = dialog
                .iter()
                .filter(|pair| pair.iter().all(|text| !text.is_empty()));
            let pairs: String = whole
                .map(|[query, answer]| self.pair.fill(&[("0", query), ("1", answer)]))
                .collect();
            self.example.fill(&[("0", &pairs)])
        });
        let examples: String = each.collect();
        self.input.fill(&[("0", &examples)])
    }
}

/// The greatest likeness of a dialog to one of these.
fn likeness(dialog: &Dialog, examples: &[&Dialog]) -> Result<f64, RowError> {
    let text = |dialog: &Dialog| {
        let texts: Vec<&str> = dialog.iter().flatten().map(String::as_str).collect();
        texts.join("\n") + "\n"
    };
    let ours = text(dialog);
    let mut most = 0.0_f64;
    for example in examples {
        let like = rouge_l(&ours, &text(example));
        let like = like.ok_or_else(|| {
            RowError::new("answer_unusable", "the dialog is too long to be compared")
        })?;
        most = most.max(like);
    }
    Ok(most)
}

impl Script for Examples {
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        let examples = self.drawn(sample);
        let messages = system_and_user(&self.system_prompt, self.templates.filled(&examples));
        let mut pairs = talk.use_of(&messages, |said| {
            let found = flattened(&self.pattern, said).ok()?;
            let pairs = found.iter().map(|groups| match groups.as_slice() {
                [query, answer] => Some([query, answer].map(|text| strip(text).to_owned())),
                _ => None,
            });
            let pairs: Dialog = pairs.collect::<Option<_>>()?;
            (!pairs.is_empty()).then_some(pairs)
        })?;
        if likeness(&pairs, &examples)? > self.threshold {
            pairs.clear();
        }
        let [query, answer] = pairs.pop().unwrap_or_default();
        let values = [json!(query), json!(answer), json!(pairs)];
        let edits = self.keys.iter().zip(values);
        Ok(edits
            .map(|(key, value)| Edit::Set(key.clone(), value))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_is_read_as_data_juicer_reads_it() {
        let pairs = |messages: Value| dialog(&json!({"messages": messages}).to_string());
        let says = |role: &str, content: Value| json!({"role": role, "content": content});
        let found = pairs(json!([
            says("system", json!("x")),
            says("user", json!("q1")),
            says("assistant", json!("a1")),
            says("assistant", json!("a2")),
            says("user", json!("q3")),
        ]));
        let wanted = [["q1", "a1"], ["q1", "a2"]].map(|pair| pair.map(String::from));
        assert_eq!(found.unwrap(), wanted);
        assert_eq!(pairs(json!([])), Some(Vec::new()));
        assert_eq!(dialog("{}"), None);
        assert_eq!(pairs(json!([{"role": "user"}])), None);
    }

    #[test]
    fn what_cannot_be_drawn_from_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("seeds.jsonl");
        let refused = |text: &str, count: i64| {
            std::fs::write(&file, text).unwrap();
            let params = Params {
                seed_file: file.display().to_string(),
                example_num: count,
                api_model: Some("m".to_owned()),
                model_params: json!({"base_url": "http://127.0.0.1:9/v1"})
                    .as_object()
                    .cloned(),
                ..Params::default()
            };
            build(params, &BuildContext::default())
                .err()
                .map(|errors| errors[0].message.clone())
        };
        let one = r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}"#;
        assert_eq!(refused(one, 1), None);
        assert!(refused(one, 2).unwrap().contains("1 dialogs"));
        assert!(
            refused(&format!("{one}\nx"), 1)
                .unwrap()
                .contains("seeds.jsonl:2: no dialog")
        );
        assert!(
            refused(r#"{"messages": []}"#, 1)
                .unwrap()
                .contains("no answer")
        );
    }
}
