//! Rows as samples of webdataset archives: the row as `json`, its text as `txt`, its images by their
//! content.
//!
//! A sample's key has to be its own in the whole run, which only who writes all of them can tell:
//! here a row is a key that it proposes, and its members.

use super::{
    Format, FormatOption, Framing, ImageFiles, Made, OptionKind, Options, Renderer, Setting,
};
use crate::io::paths::PathStyle;
use crate::io::source::columns::ending;
use crate::io::source::webdataset::{IMAGES, KEY_FIELD, with_tokens};
use crate::sample::{FieldPath, ImageCheck, RowError, python_json};

/// The format.
pub const FORMAT: &Format = &Format {
    name: "webdataset",
    summary: "A tar archive of samples: `KEY.json` the row, `KEY.txt` its text, `KEY.jpg` its image.",
    suffixes: &["tar"],
    framing: Framing::TAR,
    holds_rows: true,
    made_of: None,
    written_image_key: None,
    check: ImageCheck::Header,
    paths: PathStyle::Keep,
    images: &[ImageFiles::Embed],
    own_paths: false,
    options: &[INDEX],
    lead: None,
    beside: None,
    memory: 3,
    renderer,
};

/// Whether a file beside each archive says where its samples begin.
pub const INDEX: FormatOption = FormatOption {
    name: "index",
    argument: "index",
    kind: OptionKind::Flag,
    doc: "Write `NAME.tar.idx` beside each archive: where each sample begins and where the last one ends, as numbers of 64 bits (Megatron-Energon reads it).",
};

/// The longest key that a row may propose.
const MAX_KEY: usize = 64;

#[expect(
    clippy::unnecessary_wraps,
    reason = "renderers of other formats read files"
)]
fn renderer(_: &Options, setting: Setting) -> Made {
    Ok(Box::new(WebDatasetRenderer { setting }))
}

/// Whether a text may be the key of a sample.
#[must_use]
pub fn is_key(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(plain)
}

/// A sample, before it has its key.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sample<'a> {
    /// The key that its row proposes.
    pub key: Option<&'a str>,
    /// What follows the key in the name of each member, and its content.
    pub members: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Sample<'a> {
    /// Appends it to a record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let key = self.key.unwrap_or_default();
        // A member may be as long as its row: the record is not to grow by doubling.
        let of_member = |(field, content): &(&str, &[u8])| field.len() + content.len() + 16;
        let members: usize = self.members.iter().map(of_member).sum();
        out.reserve(key.len() + 8 + members);
        push(key.as_bytes(), out);
        for (field, content) in &self.members {
            push(field.as_bytes(), out);
            push(content, out);
        }
    }

    /// What [`Sample::encode`] wrote.
    #[must_use]
    pub fn decode(mut record: &'a [u8]) -> Option<Self> {
        let key = std::str::from_utf8(take(&mut record)?).ok()?;
        let mut members = Vec::new();
        while !record.is_empty() {
            let field = std::str::from_utf8(take(&mut record)?).ok()?;
            members.push((field, take(&mut record)?));
        }
        Some(Self {
            key: Some(key).filter(|key| !key.is_empty()),
            members,
        })
    }
}

fn push(block: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(block.len() as u64).to_le_bytes());
    out.extend_from_slice(block);
}

fn take<'a>(record: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = record.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (block, rest) = rest.split_at_checked(length)?;
    *record = rest;
    Some(block)
}

/// How many bytes of tokens a text begins with, if who reads the archive puts just these in front
/// again ([`with_tokens`]).
fn tokens_in_front(text: &str, images: usize, token: &str) -> usize {
    let mut bare = text;
    while let Some(rest) = bare.strip_prefix(token).filter(|_| !token.is_empty()) {
        bare = rest.strip_prefix('\n').unwrap_or(rest);
    }
    let tokens = text.len() - bare.len();
    let again = if bare.contains(token) {
        String::new()
    } else {
        with_tokens(String::new(), images, token)
    };
    if text.get(..tokens) == Some(again.as_str()) {
        tokens
    } else {
        0
    }
}

struct WebDatasetRenderer {
    setting: Setting,
}

impl WebDatasetRenderer {
    /// The key that a row proposes: its id, or the one it came with.
    fn key(sample: &crate::sample::Sample) -> Option<String> {
        let text = |field: &str| {
            let value = sample.value(&FieldPath::new(field)).ok()??;
            let text = match value.as_str() {
                Some(text) => text.to_owned(),
                None if value.is_u64() => value.to_string(),
                None => return None,
            };
            is_key(&text).then_some(text)
        };
        text("id").or_else(|| text(KEY_FIELD))
    }

    /// The row without what the archive says in another way.
    fn json(&self, sample: &crate::sample::Sample) -> Vec<u8> {
        let left_out = [sample.image_context().image_key.as_str(), KEY_FIELD];
        let mut json = Vec::with_capacity(sample.line().len());
        json.push(b'{');
        let mut first = true;
        let kept = sample
            .members()
            .filter(|(name, _)| !left_out.contains(&name.as_ref()));
        for (name, value) in kept {
            crate::io::source::columns::view::name(&name, &mut first, &mut json);
            json.extend_from_slice(value.as_bytes());
        }
        if self.setting.keep_stats && !sample.stats.is_empty() {
            crate::io::source::columns::view::name("__dj__stats__", &mut first, &mut json);
            json.extend_from_slice(python_json(&sample.stats.to_json()).as_bytes());
        }
        json.push(b'}');
        json
    }
}

impl Renderer for WebDatasetRenderer {
    fn render(&self, sample: &crate::sample::Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        let images = sample.images()?;
        // A text may be as long as memory allows: it is not copied again.
        let text = sample.text(&self.setting.text_key)?.map(|text| {
            let tokens = tokens_in_front(&text, images.len(), &self.setting.image_token);
            let mut text = text.into_owned();
            text.drain(..tokens);
            text
        });
        let json = self.json(sample);
        let mut members: Vec<(String, bytes::Bytes)> = vec![("json".to_owned(), json.into())];
        members.extend(text.map(|text| ("txt".to_owned(), text.into_bytes().into())));
        for (number, image) in images.iter().enumerate() {
            let content = image.content()?;
            let ending = match ending(&content) {
                "" => {
                    let written = image.written().rsplit('.').next().unwrap_or_default();
                    let written = written.to_ascii_lowercase();
                    if IMAGES.contains(&written.as_str()) {
                        written
                    } else {
                        "jpg".to_owned()
                    }
                }
                known => known.trim_start_matches('.').to_owned(),
            };
            let field = if images.len() == 1 {
                ending
            } else {
                format!("{number}.{ending}")
            };
            members.push((field, content));
        }
        for other in sample.attached().iter().filter(|it| !it.is_image) {
            let base = other.name.rsplit('/').next().unwrap_or_default();
            let field = base.split_once('.').map_or(base, |(_, field)| field);
            if members.iter().all(|(known, _)| known != field) {
                members.push((field.to_owned(), sample.attachment(other)?));
            }
        }
        members.sort_by(|a, b| a.0.cmp(&b.0));
        let key = Self::key(sample);
        let members = members
            .iter()
            .map(|(field, content)| (field.as_str(), &content[..]));
        let members = members.collect();
        Sample {
            key: key.as_deref(),
            members,
        }
        .encode(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_read_back() {
        let sample = Sample {
            key: None,
            members: vec![("json", b"{}"), ("0.jpg", &[0, 255])],
        };
        let mut record = Vec::new();
        sample.encode(&mut record);
        assert_eq!(Sample::decode(&record), Some(sample));
        assert_eq!(Sample::decode(&record[..9]), None);
    }

    #[test]
    fn tokens_are_left_out_that_are_put_in_front_again() {
        for (text, images, bare) in [
            ("<i>\na", 1, "a"),
            ("<i>\n<i>\na", 2, "a"),
            ("<i>\n<i>\na", 1, "<i>\n<i>\na"),
            ("<i>a", 1, "<i>a"),
            ("a", 0, "a"),
            ("a", 1, "a"),
            ("<i>\na <i>", 1, "<i>\na <i>"),
            ("<i>\n", 1, ""),
            ("", 0, ""),
        ] {
            let tokens = tokens_in_front(text, images, "<i>");
            assert_eq!(&text[tokens..], bare, "{text:?} of {images}");
            let again = with_tokens(bare.to_owned(), images, "<i>");
            assert!(again == text || bare == text, "{text:?} of {images}");
        }
        assert_eq!(tokens_in_front("<i>\na", 1, ""), 0);
    }

    #[test]
    fn keys_are_plain() {
        assert!(is_key("a-1_B") && !is_key("a.b") && !is_key("") && !is_key("ä") && !is_key("a/b"));
    }
}
