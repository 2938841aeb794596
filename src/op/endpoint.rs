//! A server that answers requests over HTTP as OpenAI's does, as operators name it.

use std::fmt::{self, Write as _};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{ParamError, Problems};

/// What goes beside a body that is posted to a server: which answer to it is asked for, so that a
/// second try is another request.
const HEAD: usize = 4;

/// What nobody may read in a record or a message.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// It, for whom it is meant.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "***" })
    }
}

/// What is said of servers beside the parameters of operators: by the environment, and by the keys
/// of a recipe.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EndpointSettings {
    /// `OPENAI_BASE_URL`, `OPENAI_API_URL` or `DASHSCOPE_BASE_URL`.
    pub base_url: Option<String>,
    /// `OPENAI_API_KEY`, `DASHSCOPE_API_KEY` or `SK`.
    pub key: Secret,
    /// `OPENAI_ORG_ID`.
    pub organization: Option<String>,
    /// `OPENAI_PROJECT_ID`.
    pub project: Option<String>,
    /// `DASHSCOPE_DEFAULT_MODEL` or `OPENAI_DEFAULT_MODEL`: what stands for a model that `DashScope`
    /// does not have.
    pub dashscope_model: Option<String>,
    /// `compat_requests`: images are sent as Data-Juicer sends them.
    pub compat_requests: bool,
}

impl EndpointSettings {
    /// What the environment says.
    #[must_use]
    pub fn of_env(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| {
            let mut found = names.iter().filter_map(|name| env(name));
            found.find(|value| !value.is_empty())
        };
        Self {
            base_url: first(&["OPENAI_BASE_URL", "OPENAI_API_URL", "DASHSCOPE_BASE_URL"]),
            key: Secret::new(
                first(&["OPENAI_API_KEY", "DASHSCOPE_API_KEY", "SK"]).unwrap_or_default(),
            ),
            organization: first(&["OPENAI_ORG_ID"]),
            project: first(&["OPENAI_PROJECT_ID"]),
            dashscope_model: first(&["DASHSCOPE_DEFAULT_MODEL", "OPENAI_DEFAULT_MODEL"]),
            compat_requests: false,
        }
    }
}

/// What a million tokens cost, in whatever money.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Prices {
    /// Of those that are sent.
    pub input: f64,
    /// Of those that are answered.
    pub output: f64,
}

impl Prices {
    /// What so many tokens cost.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "tokens stay far below 2^53")]
    pub fn of(self, input: u64, output: u64) -> f64 {
        (input as f64 * self.input + output as f64 * self.output) / 1e6
    }
}

/// A server, or several that answer alike. Only what answers depend on is part of the plan: where
/// it runs, how it is reached and what it costs may change between a run and its resumption.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointService {
    /// The model, as the server calls it; `None` for the first that it has.
    pub model: Option<String>,
    /// What is appended to the addresses, e.g. `/chat/completions`.
    pub path: String,
    /// Where in a response the answer stands: names and places, with dots between.
    pub response_path: String,
    /// Addresses, e.g. `http://127.0.0.1:8000/v1`.
    #[serde(skip)]
    pub base_urls: Vec<String>,
    /// The key, if there is one.
    #[serde(skip)]
    pub key: Secret,
    /// Further headers.
    #[serde(skip)]
    pub headers: Vec<(String, String)>,
    /// How often a request is sent again that failed for a reason that may pass.
    #[serde(skip)]
    pub max_retries: u32,
    /// Seconds after which an unanswered request counts as failed.
    #[serde(skip)]
    pub timeout_s: f64,
    /// The most requests on their way at a time, to all addresses together.
    #[serde(skip)]
    pub max_concurrency: usize,
    /// What tokens cost; `None` if nobody says.
    #[serde(skip)]
    pub prices: Option<Prices>,
    /// The most tokens that a request and its answer may have together.
    #[serde(skip)]
    pub max_model_len: Option<u64>,
    /// The most tokens of an answer, by what is sent along.
    #[serde(skip)]
    pub longest_answer: Option<u64>,
    /// Answers to a request.
    #[serde(skip)]
    pub answers: u64,
}

impl EndpointService {
    /// The same, with this sent along with every request.
    #[must_use]
    pub fn with_sampling(self, sampling: &Map<String, Value>) -> Self {
        let number = |name| sampling.get(name).and_then(Value::as_u64);
        let one = number("max_completion_tokens").or_else(|| number("max_tokens"));
        Self {
            longest_answer: one,
            answers: number("n").unwrap_or(1),
            ..self
        }
    }

    /// The most tokens that answers to a request may have, if anything says so.
    #[must_use]
    pub fn most_answered(&self) -> Option<u64> {
        if self.path.to_lowercase().contains("embedd") {
            // Numbers are no tokens.
            return Some(0);
        }
        let one = self.longest_answer.or(self.max_model_len)?;
        Some(one.saturating_mul(self.answers))
    }
}

/// How an operator names a server: parameters that all which ask one share.
#[derive(Debug, Clone, Copy)]
pub struct EndpointParams<'a> {
    /// The name of the parameter that names the model.
    pub param: &'a str,
    /// The model.
    pub model: Option<&'a str>,
    /// `api_endpoint`.
    pub path: Option<&'a str>,
    /// `response_path`.
    pub response_path: Option<&'a str>,
    /// `model_params`.
    pub model_params: Option<&'a Map<String, Value>>,
}

/// Where requests go if nobody says.
const OPENAI: &str = "https://api.openai.com/v1";
/// As OpenAI's own client waits.
const TIMEOUT_S: f64 = 600.0;
const RETRIES: u32 = 8;
/// Requests on their way to a server of this machine, and to others.
const LOCAL_CONCURRENCY: usize = 64;
const REMOTE_CONCURRENCY: usize = 16;

/// Keys of `model_params`.
const KEYS: [&str; 14] = [
    "base_url",
    "api_key",
    "organization",
    "project",
    "timeout",
    "max_retries",
    "default_headers",
    "default_query",
    "api_backend",
    "max_concurrency",
    "price_in",
    "price_out",
    "max_model_len",
    "device",
];

impl EndpointParams<'_> {
    /// The server.
    ///
    /// # Errors
    /// If `model_params` cannot be understood, or neither an address nor a key is known.
    pub fn service(&self, settings: &EndpointSettings) -> Result<EndpointService, Vec<ParamError>> {
        let mut problems = Problems::default();
        let none = Map::new();
        let params = Reader(self.model_params.unwrap_or(&none));
        problems.keep(params.known());
        let text = |problems: &mut Problems, key| problems.keep(params.text(key)).flatten();
        let number = |problems: &mut Problems, key, least| {
            problems.keep(params.number(key, least)).flatten()
        };
        if let Some(backend) = text(&mut problems, "api_backend")
            && backend != "openai_compatible"
        {
            let message = format!("api_backend is {backend}");
            problems.keep(Err::<(), _>(wrong(message).hint(
                "djr speaks OpenAI's protocol only: leave api_backend out, or put a gateway such as LiteLLM's in front",
            )));
        }
        let mut base_urls = problems.keep(params.addresses()).unwrap_or_default();
        if base_urls.is_empty() {
            base_urls.extend(settings.base_url.clone());
        }
        let own_key = text(&mut problems, "api_key");
        let was_hidden = own_key.as_deref() == Some(HIDDEN);
        let key = own_key.filter(|_| !was_hidden).map(Secret::new);
        let key = key.unwrap_or_else(|| settings.key.clone());
        if base_urls.is_empty() {
            if key.is_empty() && !was_hidden {
                let message = "neither an address nor a key of a server is known";
                problems.keep(Err::<(), _>(wrong(message.to_owned()).hint(
                    "set OPENAI_API_KEY, and OPENAI_BASE_URL for a server of your own (or model_params: {base_url: http://127.0.0.1:8000/v1})",
                )));
            }
            base_urls.push(OPENAI.to_owned());
        }
        for url in &mut base_urls {
            problems.keep(check_address(url));
            url.truncate(url.trim_end_matches('/').len());
        }
        let mut headers = problems
            .keep(params.pairs("default_headers"))
            .unwrap_or_default();
        headers.retain(|(_, value)| value != HIDDEN);
        let org = text(&mut problems, "organization").or_else(|| settings.organization.clone());
        let project = text(&mut problems, "project").or_else(|| settings.project.clone());
        headers.extend(org.map(|org| ("OpenAI-Organization".to_owned(), org)));
        headers.extend(project.map(|project| ("OpenAI-Project".to_owned(), project)));
        let mut path = self
            .path
            .filter(|path| !path.is_empty())
            .unwrap_or("/chat/completions")
            .to_owned();
        if !path.starts_with('/') && !path.contains("://") {
            path.insert(0, '/');
        }
        let query = problems
            .keep(params.pairs("default_query"))
            .unwrap_or_default();
        for (at, (name, value)) in query.iter().enumerate() {
            path.push(if at == 0 && !path.contains('?') {
                '?'
            } else {
                '&'
            });
            path.push_str(&escaped(name));
            path.push('=');
            path.push_str(&escaped(value));
        }
        let kind = path.to_lowercase();
        let fallback = if kind.contains("chat") {
            "choices.0.message.content"
        } else if kind.contains("embeddings") {
            "data.0.embedding"
        } else {
            problems.keep(Err::<(), _>(
                ParamError::new(
                    "api_endpoint",
                    format!("{path} is neither chat nor embeddings"),
                )
                .hint("name a path such as /chat/completions or /embeddings"),
            ));
            ""
        };
        let local = base_urls.iter().all(|url| is_local(url));
        let timeout_s = number(&mut problems, "timeout", 0.001).unwrap_or(TIMEOUT_S);
        let retries = number(&mut problems, "max_retries", 0.0);
        let concurrency = number(&mut problems, "max_concurrency", 1.0);
        let price_in = number(&mut problems, "price_in", 0.0);
        let price_out = number(&mut problems, "price_out", 0.0);
        let prices = price_in.or(price_out).map(|_| Prices {
            input: price_in.unwrap_or_default(),
            output: price_out.unwrap_or_default(),
        });
        let max_model_len = number(&mut problems, "max_model_len", 1.0);
        let model = self.model.filter(|model| !model.is_empty());
        let model = model.map(|model| served_as(model, &base_urls, &path, settings));
        let problems: Vec<ParamError> = problems.into();
        if !problems.is_empty() {
            return Err(problems);
        }
        let response_path = self.response_path.filter(|path| !path.is_empty());
        Ok(EndpointService {
            model,
            path,
            response_path: response_path.unwrap_or(fallback).to_owned(),
            base_urls,
            key,
            headers,
            max_retries: retries.map_or(RETRIES, whole),
            timeout_s,
            max_concurrency: concurrency.map_or(
                if local {
                    LOCAL_CONCURRENCY
                } else {
                    REMOTE_CONCURRENCY
                },
                |most| whole(most).clamp(1, 1024) as usize,
            ),
            prices,
            max_model_len: max_model_len.map(|most| u64::from(whole(most))),
            longest_answer: None,
            answers: 1,
        })
    }
}

/// The number as a whole one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of at least 0, cut off at what u32 holds"
)]
fn whole(number: f64) -> u32 {
    number as u32
}

fn wrong(message: String) -> ParamError {
    ParamError::new("model_params", message)
}

/// The model as the server calls it: as Data-Juicer does, another stands for one that
/// `DashScope` does not have.
fn served_as(model: &str, base_urls: &[String], path: &str, settings: &EndpointSettings) -> String {
    let is_dashscope = base_urls.iter().any(|url| {
        let url = url.to_lowercase();
        url.contains("dashscope") || (url.contains("compatible-mode") && url.contains("aliyun"))
    });
    let lower = model.to_lowercase();
    let has_it = lower.starts_with("qwen") || lower.starts_with("deepseek");
    if !is_dashscope || has_it || path.to_lowercase().contains("embedd") {
        return model.to_owned();
    }
    let other = settings.dashscope_model.as_deref();
    other.unwrap_or("qwen-plus").to_owned()
}

fn check_address(url: &str) -> Result<(), ParamError> {
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let sound = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if sound && !url.contains(char::is_whitespace) {
        return Ok(());
    }
    Err(wrong(format!("base_url is {url}")).hint(
        "give an address that begins with http:// or https://, e.g. http://127.0.0.1:8000/v1",
    ))
}

/// Whether an address is one of this machine.
fn is_local(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or_default();
    ["127.", "localhost", "[::1]", "0.0.0.0"]
        .iter()
        .any(|local| host.starts_with(local))
}

/// A part of a query.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Takes keys out of the parameters of an operator: they are not to stand in what a run leaves.
/// Whoever reads them back has the key from the environment.
pub fn without_secrets(params: &mut Map<String, Value>) {
    let Some(Value::Object(model_params)) = params.get_mut("model_params") else {
        return;
    };
    let hide = |value: &mut Value| {
        if !value.is_null() {
            *value = HIDDEN.into();
        }
    };
    if let Some(key) = model_params.get_mut("api_key") {
        hide(key);
    }
    if let Some(Value::Object(headers)) = model_params.get_mut("default_headers") {
        headers.values_mut().for_each(hide);
    }
}

/// Stands for what was taken out.
const HIDDEN: &str = "***";

/// Reads `model_params`.
struct Reader<'a>(&'a Map<String, Value>);

impl Reader<'_> {
    fn known(&self) -> Result<(), ParamError> {
        match self.0.keys().find(|key| !KEYS.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(wrong(format!("model_params has no '{key}'"))
                .hint(format!("it may have {}", KEYS.join(", ")))),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, ParamError> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(wrong(format!("{key} is {other}")).hint("give a text")),
        }
    }

    fn number(&self, key: &str, least: f64) -> Result<Option<f64>, ParamError> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64().filter(|number| *number >= least) {
                Some(number) => Ok(Some(number)),
                None => Err(wrong(format!("{key} is {value}"))
                    .hint(format!("give a number of at least {least}"))),
            },
        }
    }

    fn pairs(&self, key: &str) -> Result<Vec<(String, String)>, ParamError> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Object(map)) => {
                let pairs = map.iter().map(|(name, value)| {
                    let text = match value {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    (name.clone(), text)
                });
                Ok(pairs.collect())
            }
            Some(other) => Err(wrong(format!("{key} is {other}")).hint("give names and texts")),
        }
    }

    /// One address, or several.
    fn addresses(&self) -> Result<Vec<String>, ParamError> {
        match self.0.get("base_url") {
            Some(Value::Array(urls)) => {
                let texts = urls.iter().map(|url| url.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().ok_or_else(|| {
                    wrong("base_url has something that is no address".to_owned())
                        .hint("give one address, or a list of them")
                })
            }
            _ => Ok(self.text("base_url")?.into_iter().collect()),
        }
    }
}

/// The bytes of a request for a server: the body as it is sent, and which answer to it is wanted,
/// counted from 0: a further one is asked for where the one before could not be used.
#[must_use]
pub fn endpoint_request(body: &[u8], answer: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.extend_from_slice(&answer.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Takes the bytes of such a request apart.
#[must_use]
pub fn read_endpoint_request(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let (head, body) = bytes.split_first_chunk::<HEAD>()?;
    Some((body, u32::from_le_bytes(*head)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(params: &Value, env: &[(&str, &str)]) -> Result<EndpointService, Vec<ParamError>> {
        let settings = EndpointSettings::of_env(&|name| {
            let mut pairs = env.iter();
            let found = pairs.find(|(key, _)| *key == name)?;
            Some(found.1.to_owned())
        });
        let params = params.as_object().unwrap();
        let of = EndpointParams {
            param: "api_model",
            model: Some("gpt-4o"),
            path: None,
            response_path: None,
            model_params: Some(params),
        };
        of.service(&settings)
    }

    #[test]
    fn parameters_win_over_the_environment_and_the_key_is_never_shown() {
        let env = [("OPENAI_API_URL", "http://a/v1/"), ("SK", "sk-env")];
        let found = service(&json!({}), &env).unwrap();
        assert_eq!(found.base_urls, ["http://a/v1"]);
        assert_eq!(found.key.reveal(), "sk-env");
        assert!(!format!("{found:?}").contains("sk-env"));
        assert_eq!(
            serde_json::to_value(&found).unwrap(),
            json!({"model": "gpt-4o", "path": "/chat/completions", "response_path": "choices.0.message.content"})
        );
        let own = json!({
            "base_url": ["http://127.0.0.1:1/v1", "http://localhost:2/v1"], "api_key": "sk-own",
            "max_retries": 2, "timeout": 1.5, "price_in": 0.5, "default_headers": {"X-A": "b"},
        });
        let found = service(&own, &env).unwrap();
        assert_eq!(
            (found.base_urls.len(), found.max_concurrency),
            (2, LOCAL_CONCURRENCY)
        );
        assert_eq!((found.key.reveal(), found.max_retries), ("sk-own", 2));
        assert_eq!(found.headers, [("X-A".to_owned(), "b".to_owned())]);
        assert_eq!(
            service(&json!({}), &[("SK", "k")]).unwrap().base_urls,
            [OPENAI]
        );
    }

    #[test]
    fn what_cannot_work_is_refused_at_once() {
        for wrong in [
            json!({}),
            json!({"base_url": "ftp://x"}),
            json!({"base_url": 3}),
            json!({"base_url": "http://x", "no_such": 1}),
            json!({"base_url": "http://x", "timeout": -1}),
            json!({"base_url": "http://x", "api_backend": "litellm"}),
        ] {
            let problems = service(&wrong, &[]).unwrap_err();
            assert!(
                problems.iter().all(|p| p.hint.is_some()),
                "{wrong}: {problems:?}"
            );
        }
    }

    #[test]
    fn dashscope_gets_a_model_that_it_has() {
        let url = json!({"base_url": "https://dashscope.aliyuncs.com/compatible-mode/v1"});
        let model = |env| service(&url, env).unwrap().model;
        assert_eq!(model(&[]).as_deref(), Some("qwen-plus"));
        let env = [("OPENAI_DEFAULT_MODEL", "qwen-max")];
        assert_eq!(model(&env).as_deref(), Some("qwen-max"));
    }

    #[test]
    fn a_request_says_which_answer_it_wants() {
        let bytes = endpoint_request(b"{}", 2);
        assert_eq!(read_endpoint_request(&bytes), Some((&b"{}"[..], 2)));
        assert_eq!(read_endpoint_request(b"x"), None);
    }
}
