//! A server for tests: whatever is asked of it over HTTP is kept, and answered as the test says.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Counted from 0.
    pub number: usize,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(key, _)| key == name)?;
        Some(&found.1)
    }

    /// What the last message says.
    pub fn said(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let messages = body["messages"].as_array().cloned().unwrap_or_default();
        let last = messages.last().cloned().unwrap_or_default();
        last["content"].as_str().unwrap_or_default().to_owned()
    }
}

/// What a test has the server do.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A response.
    Of(u16, Vec<(String, String)>, String),
    /// The beginning of a response, and no more.
    Cut,
    /// Nothing for so long, then the end of the connection.
    Hang(Duration),
}

impl Reply {
    /// A sound answer, with 10 tokens sent and 5 answered.
    pub fn content(text: impl Into<Value>) -> Self {
        Self::json(
            200,
            &json!({
                "id": "c", "object": "chat.completion", "model": "m",
                "choices": [{"index": 0, "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text.into()}}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }),
        )
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::Of(status, Vec::new(), body.to_string())
    }

    /// A refusal or failure.
    pub fn error(status: u16, message: &str) -> Self {
        Self::json(status, &json!({"error": {"message": message}}))
    }

    pub fn with(self, name: &str, value: &str) -> Self {
        match self {
            Self::Of(status, mut headers, body) => {
                headers.push((name.to_owned(), value.to_owned()));
                Self::Of(status, headers, body)
            }
            other => other,
        }
    }
}

type Answer = dyn Fn(&Seen) -> Reply + Send + Sync;

/// A server that runs until it is dropped.
pub struct Mock {
    port: u16,
    shared: Arc<Shared>,
    accepts: Option<JoinHandle<()>>,
}

struct Shared {
    answer: Box<Answer>,
    seen: Mutex<Vec<Seen>>,
    stopped: AtomicBool,
    busy: AtomicUsize,
    most: AtomicUsize,
}

impl Mock {
    pub fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            seen: Mutex::default(),
            stopped: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let own = Arc::clone(&shared);
        let accepts = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if own.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&own);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self {
            port,
            shared,
            accepts: Some(accepts),
        }
    }

    /// Its address, as recipes write it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many requests came so far.
    pub fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// The most requests that were answered at a time.
    pub fn most_at_once(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepts) = self.accepts.take() {
            let _ = accepts.join();
        }
    }
}

/// An address where nobody listens.
pub fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}/v1")
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(mut writer) = stream.try_clone() else {
            return;
        };
        let mut reader = BufReader::new(stream);
        while let Some(mut seen) = request(&mut reader) {
            {
                let mut all = self.seen.lock().unwrap();
                seen.number = all.len();
                all.push(seen.clone());
            }
            let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(busy, Ordering::SeqCst);
            let reply = (self.answer)(&seen);
            self.busy.fetch_sub(1, Ordering::SeqCst);
            let sent = match reply {
                Reply::Of(status, headers, body) => {
                    let mut head = format!(
                        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
                        body.len()
                    );
                    for (name, value) in headers {
                        let _ = write!(head, "{name}: {value}\r\n");
                    }
                    head.push_str("\r\n");
                    head.push_str(&body);
                    writer.write_all(head.as_bytes())
                }
                Reply::Cut => {
                    let _ = writer.write_all(
                        b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"choices\": [{\"mess",
                    );
                    return;
                }
                Reply::Hang(wait) => {
                    std::thread::sleep(wait);
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        number: 0,
        method,
        path,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}
