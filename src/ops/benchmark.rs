//! Benchmark sets, to look for their questions and pictures among rows.
//!
//! Read are TSV tables with columns `index, question, image` (a JPEG as base64, or the index of the
//! row that has it), `hint` and `A`, `B`, … (`MMBench`); JSON `{"data": [{"question", "image_id", …}]}`
//! beside a folder of pictures (`TextVQA`); JSON arrays and JSON Lines of such objects, or of rows
//! with `text` and `images`, packed or not; and what [`Benchmark::to_index`] wrote of any of them.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::archive::packing::{Packing, split_name};
use crate::image::{HashMethod, decode, perceptual_hash_and_blank};
use crate::text::lower;

/// The version of the prepared form.
const INDEX: u32 = 1;

/// Endings under which a picture is looked for that is named by its id.
const ENDINGS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "JPG"];

/// Questions and pictures that must not be among the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Benchmark {
    /// Says that a file is one.
    djr_index: u32,
    /// The method of the hashes.
    method: String,
    /// In the order of the files.
    pub entries: Vec<Entry>,
    /// How much memory reading a file may take, if that is bounded.
    #[serde(skip)]
    budget: Option<u64>,
}

/// One question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The file's name and the number of the question in it, from 1.
    pub place: String,
    /// The words of the question.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub question: String,
    /// Those of all that it says, options too, if that is more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub all: String,
    /// The perceptual hash of its picture; none if it has none, or one of a single shade.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "digits")]
    pub image: Option<u64>,
}

/// Hashes as 16 hexadecimal digits: JSON readers lose large numbers.
mod digits {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "as serde asks for it")]
    pub fn serialize<S: Serializer>(hash: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        match hash {
            Some(hash) => to.collect_str(&format_args!("{hash:016x}")),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        let text = String::deserialize(from)?;
        u64::from_str_radix(&text, 16)
            .map(Some)
            .map_err(|_| D::Error::custom(format!("'{text}' is no hash")))
    }
}

/// Why a benchmark cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BenchmarkError(String);

/// How files are opened: through the build context of an operator, which lists what it opened.
pub type Open<'a> = dyn Fn(&Path) -> std::io::Result<Vec<u8>> + 'a;

impl Benchmark {
    /// None yet; reading a file may take `budget` bytes of memory, if that is bounded.
    #[must_use]
    pub fn within(budget: Option<u64>) -> Self {
        Self {
            budget,
            ..Self::default()
        }
    }

    /// Adds what stands in `path`. Pictures that are named lie in `folder`, else beside the file.
    ///
    /// # Errors
    /// If the file cannot be read or is no benchmark, if a picture that it names is missing or does
    /// not decode, or if it was prepared with another `method`.
    pub fn add(
        &mut self,
        path: &Path,
        folder: Option<&Path>,
        method: Option<(&str, HashMethod)>,
        open: &Open<'_>,
    ) -> Result<(), BenchmarkError> {
        let name = path.display();
        let failed = |why: String| BenchmarkError(format!("{name}: {why}"));
        let bytes = content(path, self.budget, open).map_err(|e| failed(e.to_string()))?;
        if let Ok(index) = serde_json::from_slice::<Self>(&bytes) {
            return self.add_index(index, method).map_err(failed);
        }
        let items = items(path, &bytes).map_err(failed)?;
        if items.is_empty() {
            return Err(failed("no question stands in it".to_owned()));
        }
        let beside = path.parent().unwrap_or_else(|| Path::new(""));
        let file = path
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let by_index: HashMap<&str, &str> = items
            .iter()
            .filter_map(|item| Some((item.index.as_deref()?, item.image.as_deref()?)))
            .collect();
        for (number, item) in (1_u64..).zip(&items) {
            let place = format!("{file}:{number}");
            let picture = match (method, &item.image, &item.picture) {
                (None, ..) | (_, None, None) => None,
                (_, Some(image), _) => {
                    // A short one is the index of the row that has the picture.
                    let image = by_index.get(image.as_str()).copied().unwrap_or(image);
                    let bytes = BASE64_STANDARD.decode(image.trim().as_bytes());
                    Some(bytes.map_err(|_| failed(format!("{number}: its image is no base64")))?)
                }
                (_, None, Some(named)) => {
                    let found = find(named, folder, beside).ok_or_else(|| {
                        failed(format!("{number}: no picture '{named}' is there"))
                    })?;
                    let bytes = open(&found);
                    Some(bytes.map_err(|e| failed(format!("{}: {e}", found.display())))?)
                }
            };
            let image = match (picture, method) {
                (Some(bytes), Some((_, method))) => {
                    let decoded = decode(&bytes)
                        .map_err(|e| failed(format!("{number}: its image does not decode: {e}")))?;
                    let (hash, blank) = perceptual_hash_and_blank(&decoded.image, method);
                    (!blank).then_some(hash)
                }
                _ => None,
            };
            let question = words(&item.question);
            let all = item.all.as_deref().map(words).unwrap_or_default();
            self.entries.push(Entry {
                place,
                all: if all == question { String::new() } else { all },
                question,
                image,
            });
        }
        if let Some((name, _)) = method {
            name.clone_into(&mut self.method);
        }
        self.djr_index = INDEX;
        Ok(())
    }

    fn add_index(&mut self, index: Self, method: Option<(&str, HashMethod)>) -> Result<(), String> {
        if index.djr_index != INDEX {
            return Err(format!(
                "an index of version {}, not {INDEX}",
                index.djr_index
            ));
        }
        match method {
            Some(_) if index.method.is_empty() => {
                return Err("an index without pictures; prepare it with them".to_owned());
            }
            Some((method, _)) if method != index.method => {
                return Err(format!("an index of {}, not of {method}", index.method));
            }
            _ => {}
        }
        self.djr_index = INDEX;
        self.method = index.method;
        self.entries.extend(index.entries);
        Ok(())
    }

    /// The prepared form, which is read without any picture.
    #[must_use]
    pub fn to_index(&self) -> Vec<u8> {
        // Writing to memory cannot fail.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// The words that are compared, a space between two: runs of letters and digits, in lower case.
#[must_use]
pub fn words(text: &str) -> String {
    let text = lower(text);
    let words = text.split(|c: char| !c.is_alphanumeric());
    let mut joined = String::with_capacity(text.len());
    for word in words.filter(|word| !word.is_empty()) {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(word);
    }
    joined
}

/// Every run of `count` words among `words`, which stand as [`words`] gives them.
pub fn runs(words: &str, count: usize) -> impl Iterator<Item = &str> {
    let ends = memchr::memchr_iter(b' ', words.as_bytes()).chain([words.len()]);
    let starts = memchr::memchr_iter(b' ', words.as_bytes()).map(|space| space + 1);
    let starts = [0].into_iter().chain(starts);
    let runs = starts.zip(ends.skip(count.saturating_sub(1)));
    runs.filter(|_| !words.is_empty())
        .filter_map(|(start, end)| words.get(start..end))
}

/// A question as a file has it.
#[derive(Debug, Default)]
struct Item {
    index: Option<String>,
    question: String,
    /// All that it says, if that is more.
    all: Option<String>,
    /// Base64, or an index.
    image: Option<String>,
    /// A picture's file, or its id.
    picture: Option<String>,
}

/// The most bytes that a benchmark may unpack to, whatever memory there is.
const MOST_UNPACKED: u64 = 4 << 30;

/// How many bytes of memory a byte of a benchmark takes while it is read: the file, its values, its
/// words and the runs of them.
const MEMORY: u64 = 8;

/// What `path` holds, unpacked, if that is no more than fits into `budget`.
fn content(path: &Path, budget: Option<u64>, open: &Open<'_>) -> io::Result<Vec<u8>> {
    let most = budget.map_or(MOST_UNPACKED, |budget| budget / MEMORY);
    let check = |bytes: u64| match budget {
        _ if bytes <= most => Ok(()),
        Some(_) => Err(io::Error::other(format!(
            "a benchmark of more than {most} bytes does not fit into max_memory; of one with pictures djr index makes a smaller file, and any other needs {MEMORY} times its size"
        ))),
        None => Err(io::Error::other(format!(
            "it unpacks to more than {most} bytes"
        ))),
    };
    if budget.is_some() {
        check(path.metadata().map_or(0, |about| about.len()))?;
    }
    let bytes = open(path)?;
    let Some(packing) = Packing::of(&bytes) else {
        return Ok(bytes);
    };
    let mut whole = Vec::new();
    let stream = packing.unpack(Box::new(io::Cursor::new(bytes)))?;
    stream.take(most + 1).read_to_end(&mut whole)?;
    check(whole.len() as u64)?;
    Ok(whole)
}

fn items(path: &Path, bytes: &[u8]) -> Result<Vec<Item>, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (stem, _) = split_name(&name);
    let is_table = Path::new(stem)
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("tsv"));
    if is_table {
        return table(bytes);
    }
    let list = match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Array(list)) => list,
        Ok(Value::Object(mut whole)) if matches!(whole.get("data"), Some(Value::Array(_))) => {
            match whole.remove("data") {
                Some(Value::Array(list)) => list,
                _ => Vec::new(),
            }
        }
        _ => serde_json::Deserializer::from_slice(bytes)
            .into_iter::<Value>()
            .collect::<Result<Vec<Value>, _>>()
            .map_err(|e| format!("neither a .tsv table, nor JSON: {e}"))?,
    };
    list.into_iter()
        .zip(1_u64..)
        .map(|(value, number)| {
            of_json(&value).ok_or_else(|| format!("{number}: neither a question nor a text"))
        })
        .collect()
}

fn of_json(value: &Value) -> Option<Item> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let first = |key: &str| match value.get(key) {
        Some(Value::Array(list)) => list.first().and_then(Value::as_str),
        _ => None,
    };
    let picture = text("image")
        .or_else(|| first("images"))
        .or_else(|| text("image_id"));
    let number = value.get("image_id").and_then(Value::as_u64);
    let question = text("question").or_else(|| text("text"));
    if question.is_none() && picture.is_none() && number.is_none() {
        return None;
    }
    Some(Item {
        index: None,
        all: None,
        question: question.unwrap_or_default().to_owned(),
        image: None,
        picture: picture
            .map(str::to_owned)
            .or(number.map(|id| id.to_string())),
    })
}

fn table(bytes: &[u8]) -> Result<Vec<Item>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(b'\t')
        .flexible(true)
        .from_reader(bytes);
    let header = reader.headers().map_err(|e| e.to_string())?.clone();
    if !header.iter().any(|name| name == "question") {
        return Err("the table has no column 'question'".to_owned());
    }
    let mut items = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| e.to_string())?;
        let mut item = Item::default();
        let mut rest = String::new();
        for (name, cell) in header.iter().zip(&record) {
            match name {
                "index" => item.index = Some(cell.to_owned()),
                "question" => cell.clone_into(&mut item.question),
                "image" => item.image = Some(cell.to_owned()).filter(|cell| !cell.is_empty()),
                "image_path" => item.picture = Some(cell.to_owned()).filter(|p| !p.is_empty()),
                _ if name == "hint" || is_option(name) => {
                    rest.push(' ');
                    rest.push_str(cell);
                }
                _ => {}
            }
        }
        item.all = Some(format!("{}{rest}", item.question));
        items.push(item);
    }
    Ok(items)
}

/// `A`, `B`, … name the answers to choose from.
fn is_option(name: &str) -> bool {
    matches!(name.as_bytes(), [b'A'..=b'Z'])
}

/// The file of a picture that is named by its path or its id.
fn find(named: &str, folder: Option<&Path>, beside: &Path) -> Option<PathBuf> {
    let base = folder.unwrap_or(beside);
    let as_named = base.join(named);
    if as_named.is_file() {
        return Some(as_named);
    }
    let with = |ending: &str| base.join(format!("{named}.{ending}"));
    ENDINGS
        .iter()
        .map(|ending| with(ending))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, bytes: &[u8]) -> Result<Vec<Entry>, String> {
        let mut benchmark = Benchmark::default();
        let open = |_: &Path| Ok(bytes.to_vec());
        benchmark
            .add(Path::new(name), None, None, &open)
            .map_err(|e| e.to_string())?;
        Ok(benchmark.entries)
    }

    fn said(entries: &[Entry]) -> Vec<String> {
        let said = |e: &Entry| format!("{} | {} | {}", e.place, e.question, e.all);
        entries.iter().map(said).collect()
    }

    #[test]
    fn packed_files_are_read_as_what_they_hold() {
        let mut table = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut table, b"index\tquestion\n1\tWhat is it?\n").unwrap();
        let lines = zstd::encode_all(&b"{\"question\": \"What is it?\"}\n"[..], 1).unwrap();
        for (name, bytes) in [
            ("b.tsv.gz", table.finish().unwrap()),
            ("b.jsonl.zst", lines.clone()),
            ("b", lines),
        ] {
            let found = read(name, &bytes).unwrap();
            assert_eq!(found.len(), 1, "{name}");
            assert_eq!(found[0].question, "what is it", "{name}");
            assert_eq!(found[0].place, format!("{name}:1"));
        }
        assert!(read("b.jsonl.zst", &[0x28, 0xB5, 0x2F, 0xFD, 1]).is_err());
    }

    #[test]
    fn a_benchmark_stays_within_the_memory_that_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("b.jsonl");
        let packed = dir.path().join("b.jsonl.zst");
        let lines = "{\"question\": \"What is it?\"}\n".repeat(1000);
        std::fs::write(&plain, &lines).unwrap();
        std::fs::write(&packed, zstd::encode_all(lines.as_bytes(), 1).unwrap()).unwrap();
        let needed = MEMORY * lines.len() as u64;
        for path in [plain, packed] {
            let read = |budget| {
                let mut benchmark = Benchmark::within(budget);
                let open = |path: &Path| std::fs::read(path);
                let added = benchmark.add(&path, None, None, &open);
                added.map(|()| benchmark.entries.len())
            };
            for budget in [None, Some(needed)] {
                assert_eq!(read(budget).unwrap(), 1000);
            }
            let refused = read(Some(needed - 1)).unwrap_err().to_string();
            assert!(
                refused.contains("does not fit into max_memory"),
                "{refused}"
            );
        }
    }

    #[test]
    fn both_usual_shapes_and_rows_are_read() {
        let table = "index\tquestion\thint\tA\tB\timage\n\
            7\t\"What's \"\"it\"\"?\nNow.\"\t\tone\ttwo\t/9j/\n8\tWho?\tthere\tx\ty\t7\n";
        assert_eq!(
            said(&read("b.tsv", table.as_bytes()).unwrap()),
            [
                "b.tsv:1 | what s it now | what s it now one two",
                "b.tsv:2 | who | who there x y"
            ]
        );
        let json = br#"{"dataset": "TextVQA", "data": [{"question": "A B?", "image_id": "x"}]}"#;
        assert_eq!(said(&read("v.json", json).unwrap()), ["v.json:1 | a b | "]);
        let lines = b"{\"text\": \"One\", \"images\": []}\n{\"question\": \"\xC3\x84?\"}\n";
        assert_eq!(
            said(&read("r.jsonl", lines).unwrap()),
            ["r.jsonl:1 | one | ", "r.jsonl:2 | \u{e4} | "]
        );
        for (name, bytes, why) in [
            ("a.tsv", &b"a\tb\n"[..], "no column 'question'"),
            ("a.json", b"[]", "no question"),
            ("a.json", b"[1]", "1: neither"),
            ("a.txt", b"hello", "neither a .tsv table"),
        ] {
            let found = read(name, bytes).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
    }

    #[test]
    fn pictures_are_found_by_id_path_base64_and_index() {
        let dir = tempfile::tempdir().unwrap();
        let picture = std::fs::read(some_picture()).unwrap();
        std::fs::write(dir.path().join("x.png"), &picture).unwrap();
        let text = BASE64_STANDARD.encode(&picture);
        let table = format!("index\tquestion\timage\n7\ta\t{text}\n8\tb\t7\n");
        std::fs::write(dir.path().join("t.tsv"), table).unwrap();
        let json = r#"{"data": [{"question": "a", "image_id": "x"}, {"question": "b", "image": "x.png"}]}"#;
        std::fs::write(dir.path().join("j.json"), json).unwrap();
        let method = Some(("phash", HashMethod::Phash));
        let open = |path: &Path| std::fs::read(path);
        let mut all = Benchmark::default();
        for name in ["t.tsv", "j.json"] {
            all.add(&dir.path().join(name), None, method, &open)
                .unwrap();
        }
        let hashes: Vec<Option<u64>> = all.entries.iter().map(|entry| entry.image).collect();
        assert!(
            hashes.len() == 4
                && hashes
                    .iter()
                    .all(|hash| hash.is_some() && *hash == hashes[0])
        );
        // Prepared, it is the same without any picture.
        std::fs::write(dir.path().join("i.json"), all.to_index()).unwrap();
        std::fs::remove_file(dir.path().join("x.png")).unwrap();
        let mut index = Benchmark::default();
        index
            .add(&dir.path().join("i.json"), None, method, &open)
            .unwrap();
        assert_eq!(index, all);
        let other = Some(("dhash", HashMethod::Dhash));
        let refused = Benchmark::default().add(&dir.path().join("i.json"), None, other, &open);
        assert!(refused.unwrap_err().to_string().contains("of phash"));
        let gone = Benchmark::default().add(&dir.path().join("j.json"), None, method, &open);
        assert!(gone.unwrap_err().to_string().contains("1: no picture 'x'"));
    }

    fn some_picture() -> PathBuf {
        let mut found = walk(Path::new("fixtures/dataset/images"));
        found.sort();
        found.into_iter().find(|path| decodes(path)).unwrap()
    }

    fn decodes(path: &Path) -> bool {
        std::fs::read(path).is_ok_and(|bytes| {
            decode(&bytes)
                .is_ok_and(|it| !perceptual_hash_and_blank(&it.image, HashMethod::Phash).1)
        })
    }

    fn walk(dir: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                files.extend(walk(&path));
            } else {
                files.push(path);
            }
        }
        files
    }
}
