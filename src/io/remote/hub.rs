//! Data sets of Hugging Face's hub, file by file: `hf://datasets/ORG/NAME[@REVISION]/PATH`.
//!
//! `HF_ENDPOINT` says where the hub is if not at huggingface.co, `HF_TOKEN` who asks.

use std::io;

use object_store::HeaderMap;
use serde_json::Value;

use super::{HubPlace, failed};

/// The most pages of a listing, of a thousand files each.
const MOST_PAGES: usize = 10_000;

/// The longest page, in bytes.
const LONGEST_PAGE: u64 = 64 << 20;

fn endpoint() -> String {
    let named = std::env::var("HF_ENDPOINT").ok();
    let named = named.filter(|it| !it.is_empty());
    let endpoint = named.unwrap_or_else(|| "https://huggingface.co".to_owned());
    endpoint.trim_end_matches('/').to_owned()
}

fn token() -> Option<String> {
    let token = std::env::var("HF_TOKEN").ok()?;
    let token = token.trim();
    (!token.is_empty()).then(|| format!("Bearer {token}"))
}

fn place(written: &str) -> io::Result<HubPlace<'_>> {
    let place = written.strip_prefix("hf://").and_then(HubPlace::parse);
    place.ok_or_else(|| {
        let what =
            "no data set of the hub is called so: it is hf://datasets/ORG/NAME[@REVISION]/PATH";
        failed(io::ErrorKind::InvalidInput, what)
    })
}

/// Where the hub has a file.
///
/// # Errors
/// If it is none of a data set.
pub fn url_of(written: &str) -> io::Result<String> {
    let HubPlace {
        set,
        revision,
        path,
    } = place(written)?;
    let mut path = path.replace('%', "%25");
    for (character, escaped) in [('?', "%3F"), ('#', "%23")] {
        path = path.replace(character, escaped);
    }
    Ok(format!(
        "{}/datasets/{set}/resolve/{revision}/{path}",
        endpoint()
    ))
}

/// What every request to the hub says of who asks.
///
/// # Errors
/// If the token is no header.
pub fn headers() -> io::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token() {
        let token = token.parse().map_err(|_| {
            failed(
                io::ErrorKind::InvalidInput,
                "HF_TOKEN holds what no header can",
            )
        })?;
        headers.insert("authorization", token);
    }
    Ok(headers)
}

/// The files below a folder of a data set, sorted.
///
/// # Errors
/// If the hub does not answer.
pub fn list(folder: &str) -> io::Result<Vec<String>> {
    let folder = folder.trim_end_matches('/');
    let HubPlace {
        set,
        revision,
        path,
    } = place(folder)?;
    let root = folder
        .strip_suffix(path)
        .unwrap_or(folder)
        .trim_end_matches('/');
    let mut next = Some(format!(
        "{}/api/datasets/{set}/tree/{revision}{}{path}?recursive=true&expand=false",
        endpoint(),
        if path.is_empty() { "" } else { "/" },
    ));
    let mut found = Vec::new();
    for _ in 0..MOST_PAGES {
        let Some(page) = next.take() else { break };
        let (entries, further) = one(&page)?;
        for entry in entries {
            let is_file = entry.get("type").and_then(Value::as_str) == Some("file");
            if let Some(path) = entry
                .get("path")
                .and_then(Value::as_str)
                .filter(|_| is_file)
            {
                found.push(format!("{root}/{path}"));
            }
        }
        next = further;
    }
    found.sort();
    Ok(found)
}

/// A page of a listing, and where the next one is.
fn one(url: &str) -> io::Result<(Vec<Value>, Option<String>)> {
    let other = |what: String| failed(io::ErrorKind::Other, what);
    let mut request = ureq::get(url);
    if let Some(token) = token() {
        request = request.header("authorization", token);
    }
    let mut answer = request.call().map_err(|error| match error {
        ureq::Error::StatusCode(404) => failed(
            io::ErrorKind::NotFound,
            "the hub has no such data set, revision or folder",
        ),
        ureq::Error::StatusCode(401 | 403) => failed(
            io::ErrorKind::PermissionDenied,
            "the hub refuses it: does HF_TOKEN name somebody who may read it?",
        ),
        error => other(format!("{url}: {error}")),
    })?;
    let link = answer
        .headers()
        .get("link")
        .and_then(|link| link.to_str().ok());
    let next = link.and_then(next_of);
    let body = answer.body_mut().with_config().limit(LONGEST_PAGE);
    let body = body
        .read_to_vec()
        .map_err(|error| other(format!("{url}: {error}")))?;
    let entries = serde_json::from_slice(&body)
        .map_err(|error| other(format!("{url}: this is no listing: {error}")))?;
    Ok((entries, next))
}

/// The address of the next page in a `Link` header.
fn next_of(link: &str) -> Option<String> {
    let part = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let (_, rest) = part.split_once('<')?;
    Some(rest.split_once('>')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        let link = r#"<https://h/api?cursor=a%3D>; rel="next""#;
        assert_eq!(next_of(link).as_deref(), Some("https://h/api?cursor=a%3D"));
        assert_eq!(next_of(r#"<https://h/api>; rel="prev""#), None);
    }
}
