//! Keeps rows whose text is like given texts, by a model's embeddings.

use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use smallvec::smallvec;

use super::valid_rows::valid_rows;
use crate::op::{
    Answer, Asks, Bounds, BuildContext, EndpointParams, Facts, Field, Filter, Measured, Operator,
    ParamError, Request, Service, StatDef, Verdict, operator,
};
use crate::ops::llm::{Server, unusable};
use crate::ops::model::{TextHeads, open, service};
use crate::sample::{FieldPath, RowError, Sample, StatValue, Stats};
use crate::text::python_str;
use crate::transformers::{Architecture, Tokenizer, cosine, mean};

operator! {
    /// Keeps rows whose text is on average as like the texts of `valid_dataset`, by a model's
    /// embeddings, as `min_score` and `max_score` say.
    ///
    /// The stat is the mean of the cosines of the row's embedding and those of the rows in
    /// `valid_dataset`. An embedding is the hidden state of the last token, or with `pooling: mean`
    /// or `weighted_mean` (later tokens weigh more) a mean of all, divided by its norm. What is
    /// embedded is `input_template` with a row's fields; of a row that lacks one, the contents of its
    /// `messages`, in order. Texts are cut at 4,096 tokens; one of more tokens than the model has
    /// places for is an error of the row. Both ends are inclusive. A stat that rows bring along as null
    /// keeps them.
    ///
    /// With `is_hf_model: false` a server is asked for the embeddings: `api_or_hf_model` is what it calls
    /// the model, `ebd_dim` how many dimensions it is to give. The rows of `valid_dataset` are asked for
    /// once. Of what is sent, how failures are met, what it costs and what is never paid twice, see
    /// docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - text_embd_similarity_filter: {api_or_hf_model: fixtures/transformers/bert-fast, is_hf_model: true, valid_dataset: [{text: the cat}]}
    /// ```
    /// ```json
    /// {"in": {"text": "a", "__dj__stats__": {"text_embd_similarity": 0.5}}, "out": {"text": "a", "__dj__stats__": {"text_embd_similarity": 0.5}}, "stats": {"text_embd_similarity": 0.5}}
    /// {"in": {"text": "a", "__dj__stats__": {"text_embd_similarity": 0.05}}, "out": null, "stats": {"text_embd_similarity": 0.05}}
    /// {"in": {"text": "a", "__dj__stats__": {"text_embd_similarity": null}}, "out": {"text": "a", "__dj__stats__": {"text_embd_similarity": null}}, "stats": {"text_embd_similarity": null}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `text_embd_similarity_filter` with `is_hf_model: true`: same, to the last
    /// digits of the sums (1e-5). Texts are made ready as by transformers 4.57.1, whichever version
    /// computes. With `is_hf_model: false` the same requests, and the same stat for each answer; where
    /// the server fails, the stat is null, which keeps the row, or 0 where it has failed from the
    /// start: here the row is set aside. That a long text is asked for in pieces, which never happens
    /// there, is not there.
    /// A template that ends in words behind its last field, which fails on every row there, is
    /// refused, as are conversions and formats of fields. Models whose code comes with them are not
    /// run.
    text_embd_similarity_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Any],
        stats: &[SIMILARITY],
        ..Facts::NONE
    }
}

/// How hidden states become an embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Pooling {
    /// Their mean.
    Mean,
    /// Their mean, in which later ones weigh more.
    WeightedMean,
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_field_names,
    reason = "they are called as in Data-Juicer"
)]
struct Params {
    /// The model: its id (`owner/name`), or its folder; or what a server calls it.
    api_or_hf_model: String,
    /// Whether the model is one of Hugging Face; if not, a server is asked.
    is_hf_model: bool,
    /// What is appended to the server's address.
    api_endpoint: String,
    /// Where in a response the embedding stands.
    response_path: String,
    /// The server, as for `llm_quality_score_filter`.
    model_params: Option<Map<String, Value>>,
    /// Dimensions of the embeddings that a server is asked for.
    ebd_dim: i64,
    /// Least similarity kept, inclusive.
    min_score: Option<f64>,
    /// Greatest similarity kept, inclusive.
    max_score: Option<f64>,
    /// The rows that texts are compared with.
    valid_dataset: Option<Vec<Map<String, Value>>>,
    /// How hidden states become an embedding; by default the last one is it.
    pooling: Option<Pooling>,
    /// What is embedded, with fields in braces; by default the text.
    input_template: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            api_or_hf_model: "text-embedding-v4".into(),
            is_hf_model: false,
            api_endpoint: "embeddings".into(),
            response_path: "data.0.embedding".into(),
            model_params: None,
            ebd_dim: 4096,
            min_score: Some(0.1),
            max_score: Some(1.0),
            valid_dataset: None,
            pooling: None,
            input_template: None,
        }
    }
}

const SIMILARITY: StatDef = StatDef::number("text_embd_similarity")
    .min("min_score")
    .max("max_score")
    .nullable();

/// Tokens that are left of a longer text.
const MAX_LENGTH: usize = 4096;

/// The heads, by the lengths of their texts.
const HEADS: [&str; 4] = ["embed_a", "embed_b", "embed_c", "embed_d"];

const MODEL: &str = "api_or_hf_model";

struct TextEmbdSimilarity {
    service: Service,
    tokenizer: Tokenizer,
    texts: TextHeads,
    template: Template,
    /// What is asked about the rows to compare with.
    valid: Vec<Request>,
    /// Their embeddings, once they are answered.
    embedded: OnceLock<Vec<Vec<f32>>>,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let bounds = Bounds::new(
        &SIMILARITY,
        params.min_score,
        params.max_score,
        &context.base,
    )?;
    let text_key = context.base.text_key.as_str();
    let template = Template::read(params.input_template.as_deref(), text_key)?;
    if !params.is_hf_model {
        let remote = Remote::build(&params, template, bounds, context)?;
        return Ok(Operator::Filter(Box::new(remote)));
    }
    let id = params.api_or_hf_model.as_str();
    let (dir, (model, tokenizer)) = open(context, MODEL, id, |files| {
        let model = Architecture::Text.read(&files.required("config.json")?)?;
        let tokenizer = Tokenizer::auto(files)?.truncated(Some(MAX_LENGTH))?;
        Ok((model, tokenizer))
    })?;
    let places = model.positions.map_or(MAX_LENGTH, |places| places as usize);
    let texts = TextHeads::new(places.min(MAX_LENGTH), tokenizer.pad());
    let heads = texts.heads(context, HEADS, &[], model.outputs as usize);
    let mut model = service(context, (id, dir), "TextEmbedding", heads, None);
    if let Some(pooling) = params.pooling {
        let word = match pooling {
            Pooling::Mean => "mean",
            Pooling::WeightedMean => "weighted_mean",
        };
        model.options.insert("pooling".to_owned(), word.into());
    }
    let mut filter = TextEmbdSimilarity {
        service: model.into(),
        tokenizer,
        texts,
        template,
        valid: Vec::new(),
        embedded: OnceLock::new(),
        bounds,
    };
    filter.valid = filter.requests_of(&valid_rows(params.valid_dataset.as_ref()))?;
    Ok(Operator::Filter(Box::new(filter)))
}

impl TextEmbdSimilarity {
    fn requests_of(&self, rows: &[Map<String, Value>]) -> Result<Vec<Request>, ParamError> {
        const ROWS: &str = "valid_dataset";
        if rows.is_empty() {
            return Err(ParamError::new(ROWS, "valid_dataset has no rows")
                .hint("give the rows that texts are compared with: [{text: …}, …]"));
        }
        let requests = rows.iter().enumerate().map(|(at, row)| {
            let text = self.template.of(|field| Ok(row.get(field).cloned()));
            let request = text.and_then(|text| self.request(&text));
            request.map_err(|error| {
                ParamError::new(ROWS, format!("row {at}: {}", error.message))
                    .hint("give rows with the fields of input_template, short enough for the model")
            })
        });
        requests.collect()
    }

    fn request(&self, text: &str) -> Result<Request, RowError> {
        let tokens = self.tokenizer.encode(text);
        let tokens = tokens.map_err(|why| RowError::new("tokenizer_failed", why))?;
        let mut bytes = Vec::new();
        let head = self.texts.put(&tokens.ids, &mut bytes)?;
        Ok(Request { head, bytes })
    }
}

impl Asks for TextEmbdSimilarity {
    fn service(&self) -> &Service {
        &self.service
    }

    /// The row's text, and behind it those to compare with, until they have been answered once.
    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        let mut requests = vec![self.request(&self.template.of_row(sample)?)?];
        if self.embedded.get().is_none() {
            requests.extend(self.valid.iter().cloned());
        }
        Ok(requests)
    }
}

impl Filter for TextEmbdSimilarity {
    fn measure(&self, _: &Sample) -> Result<Measured, RowError> {
        Err(RowError::new("model_failed", "the model was not asked"))
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn measure_answers(&self, _: &Sample, answers: &[Answer]) -> Result<Measured, RowError> {
        let missing = || RowError::new("model_failed", "an answer is missing");
        let (row, valid) = answers.split_first().ok_or_else(missing)?;
        if self.embedded.get().is_none() {
            let valid = valid.iter().map(|answer| Ok(answer.floats()?.to_vec()));
            // Whichever row is first: the answers are the same.
            let _ = self.embedded.set(valid.collect::<Result<_, RowError>>()?);
        }
        let row = row.floats()?;
        let valid = self.embedded.get().ok_or_else(missing)?;
        let cosines = valid.iter().map(|other| cosine(row, other));
        let similarity = mean(cosines).ok_or_else(missing)?;
        Ok(smallvec![StatValue::Float(similarity)])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }

    fn decide_within(&self, bounds: &[Bounds], stats: &Stats) -> Verdict {
        decide(bounds, stats)
    }
}

/// The same with the embeddings of a server.
struct Remote {
    server: Server,
    template: Template,
    dimensions: i64,
    /// The texts to compare with.
    valid: Vec<String>,
    /// Their embeddings, once they are answered.
    embedded: OnceLock<Vec<Vec<f64>>>,
    bounds: Bounds,
}

impl Remote {
    fn build(
        params: &Params,
        template: Template,
        bounds: Bounds,
        context: &BuildContext,
    ) -> Result<Self, Vec<ParamError>> {
        let endpoint = EndpointParams {
            param: MODEL,
            model: Some(params.api_or_hf_model.as_str()),
            path: Some(params.api_endpoint.as_str()),
            response_path: Some(params.response_path.as_str()),
            model_params: params.model_params.as_ref(),
        };
        let server = Server::build(context, endpoint, None, ("ebd_dim", params.ebd_dim))?;
        let rows = valid_rows(params.valid_dataset.as_ref());
        let texts = rows.iter().enumerate().map(|(at, row)| {
            let text = template.of(|field| Ok(row.get(field).cloned()));
            text.map_err(|error| {
                ParamError::new("valid_dataset", format!("row {at}: {}", error.message))
                    .hint("give rows with the fields of input_template")
            })
        });
        let valid: Vec<String> = texts.collect::<Result<_, _>>()?;
        if valid.is_empty() {
            return Err(
                ParamError::new("valid_dataset", "valid_dataset has no rows")
                    .hint("give the rows that texts are compared with: [{text: …}, …]")
                    .into(),
            );
        }
        Ok(Self {
            server,
            template,
            dimensions: params.ebd_dim,
            valid,
            embedded: OnceLock::new(),
            bounds,
        })
    }

    fn request(&self, text: &str) -> Request {
        let behind = [
            ("dimensions", self.dimensions.into()),
            ("encoding_format", "float".into()),
        ];
        self.server.embed(text, &behind)
    }
}

/// The numbers of an embedding.
fn numbers(answer: &Answer) -> Result<Vec<f64>, RowError> {
    let said = answer.text()?;
    let numbers: Option<Vec<f64>> = serde_json::from_str(said).ok();
    let full = numbers.filter(|numbers| !numbers.is_empty());
    full.ok_or_else(|| unusable(1, said))
}

/// The cosine of two vectors of one length.
fn cosine_of(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norms = dot(a, a).sqrt() * dot(b, b).sqrt();
    dot(a, b) / norms.max(1e-8)
}

impl Asks for Remote {
    fn service(&self) -> &Service {
        &self.server.service
    }

    /// The row's text, and behind it those to compare with, until they have been answered once.
    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        let mut requests = vec![self.request(&self.template.of_row(sample)?)];
        if self.embedded.get().is_none() {
            requests.extend(self.valid.iter().map(|text| self.request(text)));
        }
        Ok(requests)
    }
}

impl Filter for Remote {
    fn measure(&self, _: &Sample) -> Result<Measured, RowError> {
        Err(RowError::new("model_failed", "the server was not asked"))
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn measure_answers(&self, _: &Sample, answers: &[Answer]) -> Result<Measured, RowError> {
        let missing = || RowError::new("model_failed", "an answer is missing");
        let (row, valid) = answers.split_first().ok_or_else(missing)?;
        if self.embedded.get().is_none() {
            let valid = valid.iter().map(numbers).collect::<Result<_, _>>()?;
            // Whichever row is first: the answers are the same.
            let _ = self.embedded.set(valid);
        }
        // Data-Juicer has the row's in 32 bits.
        #[expect(clippy::cast_possible_truncation, reason = "that is what is meant")]
        let row: Vec<f64> = numbers(row)?
            .into_iter()
            .map(|n| f64::from(n as f32))
            .collect();
        let valid = self.embedded.get().ok_or_else(missing)?;
        if let Some(other) = valid.iter().find(|other| other.len() != row.len()) {
            let message = format!(
                "an embedding of {} numbers, others have {}",
                row.len(),
                other.len()
            );
            return Err(RowError::new("answer_unusable", message));
        }
        let cosines = valid.iter().map(|other| cosine_of(&row, other));
        let similarity = mean(cosines).ok_or_else(missing)?;
        Ok(smallvec![StatValue::Float(similarity)])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }

    fn decide_within(&self, bounds: &[Bounds], stats: &Stats) -> Verdict {
        decide(bounds, stats)
    }
}

/// A stat that is null keeps the row, as in Data-Juicer, where an endpoint gave no answer.
fn decide(bounds: &[Bounds], stats: &Stats) -> Verdict {
    match stats.get(SIMILARITY.name()) {
        Some(value) if value.as_json() == Some(&Value::Null) => Verdict::Keep,
        _ => Bounds::decide_all(bounds, stats),
    }
}

/// A text with fields in it.
#[derive(Debug, PartialEq, Eq)]
struct Template {
    /// Words, and the field behind them.
    parts: Vec<(String, String)>,
}

impl Template {
    /// As `str.format` reads it, without conversions and formats.
    fn read(written: Option<&str>, text_key: &str) -> Result<Self, ParamError> {
        let Some(written) = written.filter(|written| !written.is_empty()) else {
            let parts = vec![(String::new(), text_key.to_owned())];
            return Ok(Self { parts });
        };
        let refused = |what: &str| {
            ParamError::new("input_template", format!("input_template {what}"))
                .hint("name fields in braces, e.g. \"{title}: {text}\"")
        };
        let mut parts = Vec::new();
        let mut words = String::new();
        let mut chars = written.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.peek() == Some(&c) => {
                    chars.next();
                    words.push(c);
                }
                '}' => return Err(refused("has a brace that was not opened")),
                '{' => {
                    let mut field = String::new();
                    loop {
                        match chars.next() {
                            Some('}') => break,
                            Some(c) => field.push(c),
                            None => return Err(refused("has a brace that is not closed")),
                        }
                    }
                    if field.is_empty() || field.contains(['!', ':', '.', '[', '{']) {
                        return Err(refused(&format!(
                            "has the field '{field}', which is no name"
                        )));
                    }
                    parts.push((std::mem::take(&mut words), field));
                }
                c => words.push(c),
            }
        }
        if parts.is_empty() || !words.is_empty() {
            return Err(refused("must end with a field"));
        }
        Ok(Self { parts })
    }

    /// The text of a row.
    fn of_row(&self, sample: &Sample) -> Result<String, RowError> {
        self.of(|field| {
            if sample.has(field) {
                let value = sample.value(&FieldPath::new(field))?;
                Ok(Some(value.unwrap_or_default()))
            } else {
                Ok(None)
            }
        })
    }

    /// The text with the values of a row's fields; of a row that lacks one, with the contents of its
    /// messages.
    fn of(
        &self,
        value: impl Fn(&str) -> Result<Option<Value>, RowError>,
    ) -> Result<String, RowError> {
        let mut values = Vec::with_capacity(self.parts.len());
        for (_, field) in &self.parts {
            match value(field)? {
                Some(found) => values.push(found),
                None => return self.of_messages(value("messages")?),
            }
        }
        Ok(self.filled(&values))
    }

    /// A field that is named again takes the last of the contents that fall to its name.
    fn of_messages(&self, messages: Option<Value>) -> Result<String, RowError> {
        let messages = messages.ok_or_else(|| {
            let first = self.parts.iter().map(|(_, field)| field.as_str());
            let fields: Vec<&str> = first.collect();
            let message = format!("the row lacks {}, and has no messages", fields.join(" or "));
            RowError::new("missing_field", message)
        })?;
        let wrong = || RowError::new("wrong_type", "field 'messages' is no list of messages");
        let contents = messages.as_array().ok_or_else(wrong)?.iter();
        let contents = contents.map(|message| message.get("content").ok_or_else(wrong));
        let contents: Vec<&Value> = contents.collect::<Result<_, _>>()?;
        let mut values = Vec::with_capacity(self.parts.len());
        for (_, field) in &self.parts {
            let names = self.parts.iter().map(|(_, name)| name).take(contents.len());
            let mut pairs = names.zip(&contents).rev();
            let last = pairs.find(|(name, _)| *name == field);
            let (_, content) = last.ok_or_else(|| {
                RowError::new(
                    "missing_field",
                    "the row has fewer messages than fields are named",
                )
            })?;
            values.push((*content).clone());
        }
        Ok(self.filled(&values))
    }

    fn filled(&self, values: &[Value]) -> String {
        let mut text = String::new();
        for ((words, _), value) in self.parts.iter().zip(values) {
            text.push_str(words);
            text.push_str(&python_str(value));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_with_fields_or_messages() {
        let fill = |template: &str, row: &str| {
            let row: Map<String, Value> = serde_json::from_str(row).unwrap();
            let template = Template::read(Some(template), "text").unwrap();
            template.of(|field| Ok(row.get(field).cloned()))
        };
        let two = "{title}: {{{text}";
        assert_eq!(fill(two, r#"{"title": "a", "text": 3}"#).unwrap(), "a: {3");
        let messages = r#"{"title": "a", "messages": [{"content": "x"}, {"content": "y"}, {}]}"#;
        assert_eq!(fill(two, messages).unwrap_err().code, "wrong_type");
        let messages = r#"{"title": "a", "messages": [{"content": "x"}, {"content": "y"}]}"#;
        assert_eq!(fill(two, messages).unwrap(), "x: {y");
        assert_eq!(fill("{a}{a}", messages).unwrap(), "yy");
        assert_eq!(
            fill(two, r#"{"messages": [{"content": "x"}]}"#)
                .unwrap_err()
                .code,
            "missing_field"
        );
        assert_eq!(fill(two, "{}").unwrap_err().code, "missing_field");
        for refused in [
            "no field",
            "{a} behind",
            "{",
            "a}",
            "{a!r}",
            "{a:>3}",
            "{}",
            "{a.b}",
        ] {
            assert!(Template::read(Some(refused), "text").is_err(), "{refused}");
        }
        assert_eq!(Template::read(None, "body").unwrap().parts[0].1, "body");
    }
}
