//! Keeps rows whose text is like given texts, by a model's embeddings.

use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use smallvec::smallvec;

use crate::op::{
    Answer, Asks, Bounds, BuildContext, Facts, Field, Filter, Measured, Operator, ParamError,
    Request, Service, StatDef, Verdict, operator,
};
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
    /// ## Example
    /// ```yaml
    /// - text_embd_similarity_filter: {api_or_hf_model: fixtures/transformers/bert-fast, is_hf_model: true, valid_dataset: [{text: the cat}]}
    /// ```
    /// ```json
    /// {"in": {"text": "a", "__dj__stats__": {"text_embd_similarity": 0.5}}, "out": {"text": "a", "__dj__stats__": {"text_embd_similarity": 0.5}}, "stats": {"text_embd_similarity": 0.5}}
    /// {"in": {"text": "a", "__dj__stats__": {"text_embd_similarity": 0.05}}, "out": null, "stats": {"text_embd_similarity": 0.05}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `text_embd_similarity_filter` with `is_hf_model: true`: same, to the last
    /// digits of the sums (1e-5). Texts are made ready as by transformers 4.57.1, whichever version
    /// computes. Asking an endpoint for embeddings is not there, so `is_hf_model` must be true;
    /// `ebd_dim`, `api_endpoint` and `response_path`, which only endpoints use, are not there either.
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
struct Params {
    /// The model: its id (`owner/name`), or its folder.
    api_or_hf_model: String,
    /// Whether the model is one of Hugging Face; must be true.
    is_hf_model: bool,
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
    .max("max_score");

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
    if !params.is_hf_model {
        return Err(
            ParamError::new("is_hf_model", "endpoints are not asked for embeddings")
                .hint("set is_hf_model: true and name a model of Hugging Face")
                .into(),
        );
    }
    let text_key = context.base.text_key.as_str();
    let template = Template::read(params.input_template.as_deref(), text_key)?;
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
    filter.valid = filter.requests_of(params.valid_dataset.unwrap_or_default())?;
    Ok(Operator::Filter(Box::new(filter)))
}

impl TextEmbdSimilarity {
    fn requests_of(&self, rows: Vec<Map<String, Value>>) -> Result<Vec<Request>, ParamError> {
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
        let text = self.template.of(|field| {
            let path = FieldPath::new(field);
            if sample.has(field) {
                Ok(Some(sample.value(&path)?.unwrap_or_default()))
            } else {
                Ok(None)
            }
        })?;
        let mut requests = vec![self.request(&text)?];
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

    /// A stat that is null keeps the row, as in Data-Juicer, where an endpoint gave no answer.
    fn decide_within(&self, bounds: &[Bounds], stats: &Stats) -> Verdict {
        match stats.get(SIMILARITY.name()) {
            Some(StatValue::Json(Value::Null)) => Verdict::Keep,
            _ => Bounds::decide_all(bounds, stats),
        }
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
