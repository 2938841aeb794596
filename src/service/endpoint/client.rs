//! One request to one address, and what its response says.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, http};

use super::answers::LONGEST;
use super::events::joined;
use crate::op::{EndpointService, Said};

/// Bytes of a refusal that are read.
const LONGEST_REFUSAL: u64 = 1 << 16;
/// Characters of one that are told.
const SHOWN: usize = 300;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Nothing is waited for longer, whatever a server asks.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Sends requests.
pub struct Client {
    agent: Agent,
    headers: Vec<(String, String)>,
}

/// What came of a request.
#[derive(Debug, PartialEq)]
pub enum Response {
    /// It was answered: the answer, and the response as it came.
    Answered(Said, Vec<u8>),
    /// The address asks for patience.
    TooFast {
        /// What it said.
        why: String,
        /// For how long, if it says so.
        wait: Option<Duration>,
    },
    /// Something is wrong there, and may pass.
    Failed(String),
    /// The request never got there, or no whole response came back.
    Lost(String),
    /// It is refused, and would be again.
    Refused {
        /// The status.
        status: u16,
        /// What was said.
        why: String,
        /// Whether the request is too long for the model.
        too_long: bool,
    },
}

/// A response, and how long its address wants to be left alone.
pub struct Heard {
    /// What came.
    pub response: Response,
    /// By its announced limits.
    pub rest: Option<Duration>,
    /// The server may have answered, and counts it, though no answer came.
    pub may_be_paid: bool,
}

impl Client {
    /// For `service`.
    ///
    /// # Errors
    /// If the certificates that `SSL_CERT_FILE` names cannot be read.
    pub fn new(service: &EndpointService) -> Result<Self, String> {
        let mut tls = TlsConfig::builder();
        // As Python's clients do: a server of one's own may have a certificate of one's own.
        if let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty())
            && service
                .base_urls
                .iter()
                .any(|url| url.starts_with("https:"))
        {
            let named =
                |why: &dyn std::fmt::Display| format!("SSL_CERT_FILE: {}: {why}", path.display());
            let bytes = std::fs::read(&path).map_err(|e| named(&e))?;
            let mut certificates = Vec::new();
            for item in parse_pem(&bytes) {
                if let PemItem::Certificate(certificate) = item.map_err(|e| named(&e))? {
                    certificates.push(certificate);
                }
            }
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates)));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(Duration::from_secs_f64(service.timeout_s)))
            .max_idle_connections(service.max_concurrency)
            .max_idle_connections_per_host(service.max_concurrency)
            .user_agent(concat!("djr/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        if !service.key.is_empty() {
            let bearer = format!("Bearer {}", service.key.reveal());
            headers.push(("authorization".to_owned(), bearer));
        }
        headers.extend(service.headers.iter().cloned());
        Ok(Self {
            agent: config.into(),
            headers,
        })
    }

    /// Posts `body` to `url` and looks for the answer at `response_path`.
    #[must_use]
    pub fn post(&self, url: &str, body: &[u8], response_path: &str) -> Heard {
        let mut request = self.agent.post(url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let sent = request
            .header("content-type", "application/json")
            .send(body);
        heard(sent, |bytes| answer(bytes, response_path))
    }

    /// The models that a server has.
    #[must_use]
    pub fn first_model(&self, url: &str) -> Heard {
        let mut request = self.agent.get(url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        heard(request.call(), |bytes| {
            let said = answer(bytes, "data.0.id")?;
            if said.text.is_empty() {
                return Err("the server has no models".to_owned());
            }
            Ok(said)
        })
    }
}

fn heard(
    sent: Result<http::Response<Body>, ureq::Error>,
    read: impl FnOnce(&[u8]) -> Result<Said, String>,
) -> Heard {
    let mut response = match sent {
        Ok(response) => response,
        Err(error) => {
            return Heard {
                may_be_paid: got_there(&error),
                response: Response::Lost(error.to_string()),
                rest: None,
            };
        }
    };
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let rest = announced_rest(&text);
    let limit = if status < 300 {
        LONGEST
    } else {
        LONGEST_REFUSAL
    };
    let body = response.body_mut().with_config().limit(limit).read_to_vec();
    let response = match (status, body) {
        (200..300, Ok(bytes)) => match read(&bytes) {
            Ok(said) => Response::Answered(said, bytes),
            Err(why) => Response::Failed(format!("HTTP {status}: {why}")),
        },
        (200..300, Err(error)) => Response::Lost(format!("the response is cut off: {error}")),
        (_, body) => {
            let bytes = body.unwrap_or_default();
            let why = format!("HTTP {status}: {}", refusal(&bytes));
            match status {
                429 | 503 => Response::TooFast {
                    why,
                    wait: retry_after(&text),
                },
                408 | 409 | 425 | 500..600 => Response::Failed(why),
                _ => Response::Refused {
                    status,
                    too_long: is_too_long(&bytes),
                    why,
                },
            }
        }
    };
    Heard {
        may_be_paid: status < 300 && !matches!(response, Response::Answered(..)),
        response,
        rest,
    }
}

/// Whether a request that failed so may have got to its server as a whole.
fn got_there(error: &ureq::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        ureq::Error::Timeout(when) => !matches!(
            when,
            ureq::Timeout::Resolve
                | ureq::Timeout::Connect
                | ureq::Timeout::SendRequest
                | ureq::Timeout::SendBody
        ),
        ureq::Error::Io(error) => !matches!(
            error.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::AddrNotAvailable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
        ),
        ureq::Error::Protocol(_) | ureq::Error::BodyStalled => true,
        _ => false,
    }
}

/// The answer in a response.
fn answer(bytes: &[u8], path: &str) -> Result<Said, String> {
    let response: Value = match serde_json::from_slice(bytes) {
        Ok(response) => response,
        Err(error) => joined(bytes).unwrap_or_else(|| {
            Err(format!(
                "the response is no JSON ({error}): {}",
                start(bytes)
            ))
        })?,
    };
    let found = at_path(&response, path)
        .ok_or_else(|| format!("the response has no {path}: {}", start(bytes)))?;
    let usage = response.get("usage");
    let tokens = |names: [&str; 2]| {
        let mut found = names.iter().filter_map(|name| usage?.get(name)?.as_u64());
        found.next().unwrap_or_default()
    };
    Ok(Said {
        text: match found {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        },
        tokens_in: tokens(["prompt_tokens", "input_tokens"]),
        tokens_out: tokens(["completion_tokens", "output_tokens"]),
        tokens: tokens(["total_tokens", "total_tokens"]),
    })
}

/// Reads an answer that was kept.
///
/// # Errors
/// If it has nothing at `path`.
pub fn read_kept(bytes: &[u8], path: &str) -> Result<Said, String> {
    answer(bytes, path)
}

/// What stands at names and places with dots between.
fn at_path<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        Value::Object(map) => map.get(key),
        _ => None,
    })
}

fn start(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(SHOWN) {
        words.truncate(end);
        words.push('…');
    }
    words
}

/// What a refusal says.
fn refusal(bytes: &[u8]) -> String {
    let said: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let places = ["error.message", "message", "detail", "error"];
    let found = places
        .iter()
        .find_map(|path| at_path(&said, path)?.as_str());
    match found {
        Some(message) => start(message.as_bytes()),
        None if bytes.is_empty() => "it says nothing".to_owned(),
        None => start(bytes),
    }
}

/// Whether a refusal says that the request is longer than the model takes.
fn is_too_long(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    [
        "context_length_exceeded",
        "context length",
        "context window",
        "maximum context",
    ]
    .iter()
    .any(|sign| text.contains(sign))
}

/// How long `Retry-After` asks to wait: seconds, or until a date.
fn retry_after<'h>(header: &impl Fn(&str) -> Option<&'h str>) -> Option<Duration> {
    if let Some(wait) = header("retry-after-ms").and_then(|text| text.trim().parse::<f64>().ok()) {
        return seconds(wait / 1e3);
    }
    let text = header("retry-after")?.trim();
    if let Ok(wait) = text.parse::<f64>() {
        return seconds(wait);
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let wait = date.timestamp().duration_since(jiff::Timestamp::now());
    seconds(wait.as_secs_f64())
}

fn seconds(wait: f64) -> Option<Duration> {
    let wait = Duration::try_from_secs_f64(wait.max(0.0)).ok()?;
    Some(wait.min(LONGEST_WAIT))
}

/// How long an address is to be left alone that says in advance that its limit is reached.
fn announced_rest<'h>(header: &impl Fn(&str) -> Option<&'h str>) -> Option<Duration> {
    let waits = ["requests", "tokens"].iter().filter_map(|what| {
        let left = header(&format!("x-ratelimit-remaining-{what}"))?;
        let left: f64 = left.trim().parse().ok()?;
        let reset = header(&format!("x-ratelimit-reset-{what}"))?;
        (left <= 0.0).then(|| span(reset.trim())).flatten()
    });
    waits.max()
}

/// A span such as `6m0s`, `1.5s`, `20ms` or `3` (seconds).
fn span(text: &str) -> Option<Duration> {
    if let Ok(plain) = text.parse::<f64>() {
        return seconds(plain);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let unit = behind
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let factor = match unit {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = behind;
    }
    seconds(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_where_it_stands() {
        let body = br#"{"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}"#;
        let said = answer(body, "choices.0.message.content").unwrap();
        assert_eq!(
            (
                said.text.as_str(),
                said.tokens_in,
                said.tokens_out,
                said.tokens
            ),
            ("hi", 3, 2, 5)
        );
        let null = br#"{"choices": [{"message": {"content": null}}]}"#;
        assert_eq!(
            answer(null, "choices.0.message.content").unwrap(),
            Said::default()
        );
        let pieces = b"data: {\"choices\": [{\"delta\": {\"content\": \"h\"}}]}\n\ndata: {\"choices\": [{\"delta\": {\"content\": \"i\"}, \"finish_reason\": \"stop\"}]}\n\n";
        let said = answer(pieces, "choices.0.message.content").unwrap();
        assert_eq!(said.text, "hi");
        let vector = br#"{"data": [{"embedding": [0.5, -1]}], "usage": {"input_tokens": 4}}"#;
        let said = answer(vector, "data.0.embedding").unwrap();
        assert_eq!((said.text.as_str(), said.tokens_in), ("[0.5,-1]", 4));
        for none in ["{\"choices\": []}", "<html>", "[]", ""] {
            assert!(
                answer(none.as_bytes(), "choices.0.message.content").is_err(),
                "{none}"
            );
        }
    }

    #[test]
    fn servers_say_how_long_to_wait_in_several_ways() {
        let headers = |pairs: &'static [(&'static str, &'static str)]| {
            move |name: &str| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| *value)
            }
        };
        let after = |pairs| retry_after(&headers(pairs)).map(|wait| wait.as_secs_f64());
        assert_eq!(after(&[("retry-after", "2.5")]), Some(2.5));
        assert_eq!(
            after(&[("retry-after-ms", "20"), ("retry-after", "9")]),
            Some(0.02)
        );
        assert_eq!(
            after(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]),
            Some(0.0)
        );
        assert_eq!(after(&[("retry-after", "soon")]), None);
        assert_eq!(after(&[("retry-after", "1e9")]), Some(600.0));
        for (text, want) in [
            ("6m0s", 360.0),
            ("1.5s", 1.5),
            ("20ms", 0.02),
            ("3", 3.0),
            ("1h1m", 3660.0),
        ] {
            assert_eq!(span(text), seconds(want), "{text}");
        }
        assert_eq!(span("1x"), None);
        let used = headers(&[
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-remaining-tokens", "10"),
            ("x-ratelimit-reset-tokens", "1h"),
        ]);
        assert_eq!(announced_rest(&used), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_request_that_never_got_there_is_not_paid() {
        use std::io::{Error, ErrorKind};
        for (error, paid) in [
            (ureq::Error::Timeout(ureq::Timeout::Global), true),
            (ureq::Error::Timeout(ureq::Timeout::RecvBody), true),
            (ureq::Error::Timeout(ureq::Timeout::Connect), false),
            (ureq::Error::Timeout(ureq::Timeout::SendBody), false),
            (ureq::Error::Io(ErrorKind::ConnectionReset.into()), true),
            (ureq::Error::Io(Error::other("cut")), true),
            (ureq::Error::Io(ErrorKind::ConnectionRefused.into()), false),
            (ureq::Error::HostNotFound, false),
        ] {
            assert_eq!(got_there(&error), paid, "{error}");
        }
    }

    #[test]
    fn a_refusal_says_why() {
        assert_eq!(refusal(br#"{"error": {"message": "bad key"}}"#), "bad key");
        assert_eq!(refusal(br#"{"detail": "gone"}"#), "gone");
        assert_eq!(refusal(b"<html>\n x </html>"), "<html> x </html>");
        assert_eq!(refusal(b""), "it says nothing");
        assert!(is_too_long(
            br#"{"error": {"code": "context_length_exceeded"}}"#
        ));
    }
}
