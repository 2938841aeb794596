//! Samples in a tar archive, as webdataset reads them: members of one key, one behind the other, are
//! a row.
//!
//! Contents of `json` and `txt` members make the row, images lie where they are. Where webdataset
//! and its like give rows that lack members without a word (a member twice, a key that comes back),
//! the sample is set aside.

use std::io::{self, Read as _};

use hashbrown::HashSet;
use serde_json::Value;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use super::bytes::Bytes;
use super::columns::view;
use super::format::{Format, FoundRow, Place, Recognised, RowReader, Start};
use super::{Reading, keep_start, too_long};
use crate::archive::ArchiveError;
use crate::archive::tar::{Member, Walk};
use crate::sample::{Attachment, Locator, RowError, push_string};

/// The field of a sample's key.
pub const KEY_FIELD: &str = "__key__";

/// Endings of the names of images.
pub const IMAGES: [&str; 15] = [
    "jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm", "jp2",
    "jfif", "ico",
];

/// Tar archives of samples.
pub struct WebDataset;

impl Format for WebDataset {
    fn word(&self) -> &'static str {
        "webdataset"
    }

    fn name(&self) -> &'static str {
        "webdataset tar archives"
    }

    fn suffixes(&self) -> &'static [&'static str] {
        &[".tar", ".tgz"]
    }

    fn is_binary(&self) -> bool {
        true
    }

    fn holds_lines(&self) -> bool {
        false
    }

    fn is_read_again(&self) -> bool {
        true
    }

    fn recognise(&self, start: &Start<'_>) -> Recognised {
        let magic = start.bytes.get(257..262) == Some(b"ustar");
        let name = start.name.to_ascii_lowercase();
        let named = self.suffixes().iter().any(|suffix| name.ends_with(suffix));
        // An archive without members has nothing but zeros, older ones no magic.
        if magic || named && Walk::default().next(&mut &*start.bytes).is_ok() {
            Recognised::Yes
        } else {
            Recognised::No
        }
    }

    fn open(&self, bytes: Bytes, reading: &Reading) -> io::Result<Box<dyn RowReader>> {
        Ok(Box::new(TarReader {
            bytes,
            walk: Walk::strict(),
            next: None,
            ended: None,
            number: 0,
            seen: HashSet::new(),
            reading: reading.clone(),
        }))
    }
}

/// A member of a sample.
struct Part {
    key: Vec<u8>,
    /// What follows the key and a dot.
    field: String,
    name: String,
    /// Where its first header begins.
    start: u64,
    size: u64,
}

struct TarReader {
    bytes: Bytes,
    walk: Walk,
    /// A member whose headers were read and whose content was not.
    next: Option<Part>,
    /// Where the archive ends, once that is known.
    ended: Option<u64>,
    number: u64,
    /// Keys of the samples so far.
    seen: HashSet<u128>,
    reading: Reading,
}

/// A sample under way.
#[derive(Default)]
struct Pieces {
    json: Option<Vec<u8>>,
    text: Option<Vec<u8>>,
    fields: Vec<String>,
    attached: Vec<Attachment>,
    /// Bytes of the members that were read, and of those that are too long to be.
    length: u64,
    problem: Option<RowError>,
}

impl TarReader {
    /// Goes on to the next member that belongs to a sample.
    fn advance(&mut self) -> io::Result<()> {
        while self.next.is_none() && self.ended.is_none() {
            let start = self.bytes.position();
            let Some(member) = self.walk.next(&mut self.bytes).map_err(damaged)? else {
                self.ended = Some(start);
                return Ok(());
            };
            match part(&member, start) {
                Some(part) => {
                    if member.is_sparse {
                        return Err(invalid("a file in it is stored as sparse"));
                    }
                    self.next = Some(part);
                }
                None => self.pass_content(member.size)?,
            }
        }
        Ok(())
    }

    fn pass_content(&mut self, size: u64) -> io::Result<()> {
        let end = self.bytes.position().checked_add(size);
        let end = end.ok_or_else(|| invalid("a file in it is longer than can be"))?;
        self.bytes
            .skip_to(end)
            .map_err(|error| match error.kind() {
                io::ErrorKind::Other if error.raw_os_error().is_none() => cut(),
                _ => error,
            })?;
        self.pass_padding()
    }

    /// Passes over what fills the last block. Where that is cut off, so are other members.
    fn pass_padding(&mut self) -> io::Result<()> {
        let end = self.bytes.position();
        let padding = end.checked_next_multiple_of(512).unwrap_or(end) - end;
        let passed = io::copy(&mut (&mut self.bytes).take(padding), &mut io::sink())?;
        if passed == padding {
            Ok(())
        } else {
            Err(cut())
        }
    }

    /// Reads the next sample; `keep` says whether its content is wanted.
    fn sample(&mut self, keep: bool, limit: usize) -> io::Result<Option<(u64, Vec<u8>, Pieces)>> {
        self.advance()?;
        let Some(first) = &self.next else {
            return Ok(None);
        };
        let (key, start) = (first.key.clone(), first.start);
        let mut pieces = Pieces::default();
        if !self.seen.insert(xxh3_128(&key)) {
            let shown = String::from_utf8_lossy(&key);
            pieces.problem = Some(RowError::new(
                "wds_key_returns",
                format!(
                    "samples called '{}' stand in two places of the archive",
                    shown.escape_debug()
                ),
            ));
        }
        while let Some(part) = self.next.take_if(|part| part.key == key) {
            self.member(part, keep, limit, &mut pieces)?;
            self.advance()?;
        }
        self.number += 1;
        Ok(Some((start, key, pieces)))
    }

    fn member(
        &mut self,
        part: Part,
        keep: bool,
        limit: usize,
        pieces: &mut Pieces,
    ) -> io::Result<()> {
        let field = part.field.to_ascii_lowercase();
        if pieces.fields.contains(&field) && pieces.problem.is_none() {
            pieces.problem = Some(RowError::new(
                "wds_duplicate_member",
                format!("the sample has two members '{}'", part.name.escape_debug()),
            ));
        }
        let ending = field.rsplit('.').next().unwrap_or_default();
        let is_image = IMAGES.contains(&ending);
        let offset = self.bytes.position();
        match field.as_str() {
            "json" | "txt" if keep => {
                pieces.length += part.size;
                if pieces.length > limit as u64 {
                    self.pass_content(part.size)?;
                } else {
                    let mut content = Vec::new();
                    (&mut self.bytes)
                        .take(part.size)
                        .read_to_end(&mut content)?;
                    if content.len() as u64 != part.size {
                        return Err(cut());
                    }
                    self.pass_padding()?;
                    if field == "json" {
                        pieces.json = Some(content);
                    } else {
                        pieces.text = Some(content);
                    }
                }
            }
            _ => {
                self.pass_content(part.size)?;
                if !matches!(field.as_str(), "json" | "txt") {
                    pieces.attached.push(Attachment {
                        name: part.name.into(),
                        input: 0,
                        at: Locator::Range {
                            offset,
                            size: part.size,
                        },
                        as_stored: false,
                        is_image,
                        here: None,
                    });
                }
            }
        }
        pieces.fields.push(field);
        Ok(())
    }

    /// Appends the row of a sample to `data`.
    fn write(&self, key: &[u8], pieces: &Pieces, data: &mut Vec<u8>) -> Result<(), RowError> {
        let mut images: Vec<&str> = pieces
            .attached
            .iter()
            .filter(|it| it.is_image)
            .map(|it| &*it.name)
            .collect();
        images.sort_unstable();
        let sample = SampleParts {
            key: Some(key),
            json: pieces.json.as_deref(),
            text: pieces.text.as_deref(),
            images: &images,
        };
        sample.write(&self.reading, data)
    }
}

/// What a row is made of that lies in several files.
pub struct SampleParts<'a> {
    /// What its files have in common, if the row is to say it.
    pub key: Option<&'a [u8]>,
    /// The fields of the row.
    pub json: Option<&'a [u8]>,
    /// Its text.
    pub text: Option<&'a [u8]>,
    /// What its images are called.
    pub images: &'a [&'a str],
}

impl SampleParts<'_> {
    /// Appends the row to `data`.
    ///
    /// # Errors
    /// `json_invalid`, `json_not_object`, `utf8_invalid`.
    pub fn write(&self, reading: &Reading, data: &mut Vec<u8>) -> Result<(), RowError> {
        let images = self.images;
        let mut first = true;
        data.push(b'{');
        if let Some(key) = self.key {
            view::name(KEY_FIELD, &mut first, data);
            push_string(&String::from_utf8_lossy(key), data);
        }
        let given = match self.json {
            Some(json) => members(json)?,
            None => Vec::new(),
        };
        let text = match &reading.spec.text_from {
            Some(from) => text_from(from, &given),
            None => match self.text {
                Some(text) => Some(
                    std::str::from_utf8(text)
                        .map_err(|error| {
                            let at = error.valid_up_to() + 1;
                            RowError::new(
                                "utf8_invalid",
                                format!("the text is not UTF-8 (byte {at})"),
                            )
                        })?
                        .to_owned(),
                ),
                None => None,
            },
        };
        for (name, value) in &given {
            let replaced = name == KEY_FIELD && self.key.is_some()
                || text.is_some() && *name == reading.text_key
                || !images.is_empty() && *name == reading.image_key;
            if !replaced {
                view::name(name, &mut first, data);
                // A line break within a value can only stand between tokens.
                data.extend(value.get().bytes().map(|byte| match byte {
                    b'\n' | b'\r' => b' ',
                    other => other,
                }));
            }
        }
        if let Some(text) = text {
            let text = with_tokens(text, images.len(), &reading.image_token);
            view::name(&reading.text_key, &mut first, data);
            push_string(&text, data);
        }
        if !images.is_empty() {
            view::name(&reading.image_key, &mut first, data);
            data.push(b'[');
            for (number, image) in images.iter().enumerate() {
                if number > 0 {
                    data.extend_from_slice(b", ");
                }
                push_string(image, data);
            }
            data.push(b']');
        }
        data.push(b'}');
        Ok(())
    }
}

/// A text with a token for each image in front, unless it has one already.
#[must_use]
pub fn with_tokens(text: String, images: usize, token: &str) -> String {
    if token.is_empty() || images == 0 || text.contains(token) {
        return text;
    }
    let mut all = String::with_capacity(text.len() + images * (token.len() + 1));
    for _ in 0..images {
        all.push_str(token);
        all.push('\n');
    }
    all + &text
}

/// The fields of a JSON object in order, of duplicate keys the last.
///
/// # Errors
/// `json_invalid`, `json_not_object`.
pub fn members(json: &[u8]) -> Result<Vec<(String, Box<RawValue>)>, RowError> {
    struct Fields(Vec<(String, Box<RawValue>)>);
    impl<'de> serde::Deserialize<'de> for Fields {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Fields;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<Fields, A::Error> {
                    let mut fields: Vec<(String, Box<RawValue>)> = Vec::new();
                    while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                        fields.retain(|(known, _)| *known != name);
                        fields.push((name, value));
                    }
                    Ok(Fields(fields))
                }
            }
            from.deserialize_map(Visitor)
        }
    }
    let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
    let begins = json.trim_ascii_start().first();
    let fields: Result<Fields, _> = serde_json::from_slice(json);
    fields.map(|fields| fields.0).map_err(|error| {
        if begins == Some(&b'{') {
            RowError::new("json_invalid", format!("the json of the sample: {error}"))
        } else {
            RowError::new("json_not_object", "the json of the sample is no object")
        }
    })
}

/// The text at a path such as `json.caption`.
fn text_from(path: &str, given: &[(String, Box<RawValue>)]) -> Option<String> {
    let path = path.strip_prefix("json.").unwrap_or(path);
    let mut parts = path.split('.');
    let head = parts.next()?;
    let (_, value) = given.iter().find(|(name, _)| name == head)?;
    let mut value: Value = serde_json::from_str(value.get()).ok()?;
    for part in parts {
        value = value.get_mut(part)?.take();
    }
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// A member as a part of a sample; `None` for what belongs to none: what is no file, what has no dot
/// to part a key and a field, and what webdataset keeps for itself.
fn part(member: &Member, start: u64) -> Option<Part> {
    let name = &member.name;
    let own = name.starts_with(b"__")
        && name
            .split(|byte| *byte == b'/')
            .next()
            .is_some_and(|first| first.len() > 3 && first.ends_with(b"__"));
    if !member.is_file || own {
        return None;
    }
    let dot = key_end(name)?;
    Some(Part {
        key: name.get(..dot)?.to_vec(),
        field: String::from_utf8_lossy(name.get(dot + 1..)?).into_owned(),
        name: String::from_utf8_lossy(name).into_owned(),
        start,
        size: member.size,
    })
}

/// Where the key in a name ends, by webdataset's pattern `^((?:.*/|)[^.]+)[.]([^/]*)$`: at the first
/// dot of the base name. If that begins with a dot, the name of its folder is the key.
#[must_use]
pub fn key_end(name: &[u8]) -> Option<usize> {
    let slashes = memchr::memrchr_iter(b'/', name).map(|slash| slash + 1);
    for begin in slashes.chain([0]) {
        let rest = name.get(begin..)?;
        let dot = memchr::memchr(b'.', rest)?;
        let field = rest.get(dot + 1..)?;
        if memchr::memchr(b'/', field).is_some() {
            return None;
        }
        if dot > 0 {
            return Some(begin + dot);
        }
    }
    None
}

fn damaged(error: ArchiveError) -> io::Error {
    match error.code {
        "archive_corrupt" => io::Error::new(io::ErrorKind::UnexpectedEof, error.message),
        _ => io::Error::other(error.message),
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn cut() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the archive is cut off inside a file",
    )
}

impl RowReader for TarReader {
    fn next(&mut self, data: &mut Vec<u8>, limit: usize) -> io::Result<Option<FoundRow>> {
        let Some((offset, key, mut pieces)) = self.sample(true, limit)? else {
            return Ok(None);
        };
        let start = data.len();
        if pieces.length > limit as u64 {
            pieces.problem.get_or_insert(too_long(pieces.length, limit));
        }
        if let Err(error) = self.write(&key, &pieces, data) {
            pieces.problem.get_or_insert(error);
            data.truncate(start);
            data.extend_from_slice(b"{\"__key__\": ");
            push_string(&String::from_utf8_lossy(&key), data);
            data.push(b'}');
        }
        if pieces
            .problem
            .as_ref()
            .is_some_and(|problem| problem.code == "row_too_long")
        {
            keep_start(data, start);
        }
        Ok(Some(FoundRow {
            offset,
            number: self.number,
            problem: pieces.problem,
            attached: pieces.attached,
        }))
    }

    fn pass(&mut self) -> io::Result<Option<FoundRow>> {
        let found = self.sample(false, 0)?;
        Ok(found.map(|(offset, _, _)| FoundRow::plain(offset, self.number, None)))
    }

    fn place(&self) -> Place {
        let next = self.next.as_ref().map(|part| part.start);
        Place {
            bytes: next.or(self.ended).unwrap_or_else(|| self.bytes.position()),
            rows: self.number,
        }
    }

    /// The keys on the way are needed to tell one that comes back.
    fn skip_to(&mut self, place: Place) -> io::Result<()> {
        while self.place().bytes < place.bytes && self.pass()?.is_some() {}
        self.number = place.rows;
        Ok(())
    }

    fn extent(&self) -> u64 {
        self.ended.unwrap_or_else(|| self.bytes.position())
    }
}
