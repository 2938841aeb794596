//! As much of HTTP/1.1 as a page of our own needs: one request a connection, small bodies, answers
//! that are known as a whole.

use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The head of a request may have so many bytes.
const HEAD: u64 = 16 << 10;

/// The body of a request may have so many bytes.
const BODY: u64 = 1 << 20;

const HEADERS: usize = 64;

/// A browser that says nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a browser asks for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`.
    pub method: String,
    /// The path, beginning with a slash.
    pub path: String,
    /// What it calls this server.
    pub host: String,
    /// The page that it asks for, if it says so.
    pub origin: Option<String>,
    /// What the body is said to be.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// 200 and so on.
    pub status: u16,
    /// What the body is.
    pub content_type: &'static str,
    /// The policy of the page, if it is one.
    pub policy: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A refusal, with its name as the body.
    #[must_use]
    pub fn refusal(status: u16) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            policy: None,
            body: name_of(status).as_bytes().to_vec(),
        }
    }

    /// Data.
    #[must_use]
    pub fn json(body: Vec<u8>) -> Self {
        Self {
            status: 200,
            content_type: "application/json",
            policy: None,
            body,
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// If the browser went away.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let policy = self
            .policy
            .as_deref()
            .unwrap_or("default-src 'none'; frame-ancestors 'none'");
        let head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\
             Cache-Control: no-store\r\nContent-Security-Policy: {policy}\r\n\
             Cross-Origin-Opener-Policy: same-origin\r\nCross-Origin-Resource-Policy: same-origin\r\n\
             Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n\
             X-Frame-Options: DENY\r\n\r\n",
            self.status,
            name_of(self.status),
            self.content_type,
            self.body.len()
        );
        to.write_all(head.as_bytes())?;
        to.write_all(&self.body)?;
        to.flush()
    }
}

fn name_of(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        _ => "Internal Server Error",
    }
}

/// Reads a request; `None` if the browser only opened the connection.
///
/// # Errors
/// The status that it is refused with.
pub fn read(stream: &TcpStream) -> Result<Option<Request>, u16> {
    let patient = stream.set_read_timeout(Some(PATIENCE));
    patient
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .map_err(|_| 500_u16)?;
    let mut from = BufReader::new(stream);
    let mut head = Vec::new();
    let mut lines = (&mut from).take(HEAD);
    loop {
        let start = head.len();
        let read = lines.read_until(b'\n', &mut head).map_err(|_| 400_u16)?;
        let line = head.get(start..).unwrap_or_default();
        if read == 0 {
            return if head.is_empty() { Ok(None) } else { Err(413) };
        }
        if line == b"\r\n" || line == b"\n" {
            break;
        }
    }
    let (mut request, length) = parse(&head)?;
    if length > BODY {
        return Err(413);
    }
    let read = from.take(length).read_to_end(&mut request.body);
    if read.map_err(|_| 400_u16)? as u64 == length {
        Ok(Some(request))
    } else {
        Err(400)
    }
}

/// A request's head, and how long its body is.
fn parse(head: &[u8]) -> Result<(Request, u64), u16> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        _ => return Err(400),
    }
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        ..Request::default()
    };
    let mut length = 0;
    let mut hosts = 0;
    for header in parsed.headers.iter() {
        let value = || std::str::from_utf8(header.value).map_err(|_| 400_u16);
        match header.name.to_ascii_lowercase().as_str() {
            "host" => {
                hosts += 1;
                value()?.trim().clone_into(&mut request.host);
            }
            "origin" => request.origin = Some(value()?.trim().to_owned()),
            "content-type" => value()?.trim().clone_into(&mut request.content_type),
            "content-length" => length = value()?.trim().parse().map_err(|_| 400_u16)?,
            "transfer-encoding" => return Err(400),
            _ => {}
        }
    }
    if hosts == 1 {
        Ok((request, length))
    } else {
        Err(400)
    }
}

/// Whether two texts are equal, in a time that tells nothing of where they differ.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_or_refused() {
        let head = b"POST /t/cut HTTP/1.1\r\nhost: 127.0.0.1:9\r\nORIGIN: http://x\r\nContent-Length: 12\r\nContent-Type: application/json\r\n\r\n";
        let (request, length) = parse(head).unwrap();
        assert_eq!((request.method.as_str(), length), ("POST", 12));
        assert_eq!(request.host, "127.0.0.1:9");
        assert_eq!(request.origin.as_deref(), Some("http://x"));
        for wrong in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /\r\n\r\n",
        ] {
            assert_eq!(parse(wrong.as_bytes()).unwrap_err(), 400, "{wrong}");
        }
    }

    #[test]
    fn texts_are_equal_or_not() {
        assert!(equal(b"abc", b"abc") && equal(b"", b""));
        assert!(!equal(b"abc", b"abd") && !equal(b"abc", b"ab") && !equal(b"", b"a"));
    }
}
