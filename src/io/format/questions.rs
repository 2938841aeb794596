//! The questions of an original LLaVA file, by record id, in little memory.

use std::ffi::OsStr;
use std::path::{Component, Path};

use hashbrown::{HashMap, HashSet};
use simd_json::BorrowedValue;
use simd_json::prelude::{
    ValueAsScalar, ValueObjectAccess, ValueObjectAccessAsArray, ValueObjectAccessAsScalar,
};
use xxhash_rust::xxh3::xxh3_128;

use crate::io::source::{Input, MAX_ROW_BYTES, Reading, SourceError};
use crate::sample::blanked;

/// First human turns by record id. Pretraining files have a handful of distinct questions, so
/// each is held once and a record costs about 20 bytes.
pub struct Questions {
    by_id: HashMap<u128, Entry>,
    texts: Vec<String>,
    /// Ids whose records have different questions.
    repeated: HashSet<u128>,
    /// The records of those ids, by id and the name of the image's file.
    by_image: HashMap<u128, Vec<Record>>,
    unusable: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    question: u32,
    id_is_number: bool,
}

/// One of several records with the same id.
struct Record {
    entry: Entry,
    /// Its image; the first one if it has several.
    image: Option<String>,
}

/// What a record says about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// The first human turn, `<image>` included.
    pub text: &'a str,
    /// Whether the record's id is a JSON number (else a string).
    pub id_is_number: bool,
}

/// What the file knows of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// Its question.
    One(Question<'a>),
    /// No record has its id.
    None,
    /// Records with its id have different questions, and its image does not tell which is its own.
    Several,
}

/// A questions file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QuestionsError {
    /// It cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It holds no JSON.
    #[error("{name}: expected LLaVA records in JSON, found {found}")]
    NotJson {
        /// The file.
        name: String,
        /// How it begins.
        found: String,
    },
    /// The array is cut short.
    #[error("{name}: {reason}")]
    Broken {
        /// The file.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl Questions {
    /// Reads all records of `input`. Of records with the same id and question the last counts, as
    /// in Data-Juicer. Where records with the same id have different questions, the file is read
    /// once more for their images; a pipe cannot be, and there such ids have no question.
    ///
    /// # Errors
    /// If the file cannot be read, holds no JSON, or is an array that is cut short. Single records without an id or
    /// two turns are skipped and counted.
    pub fn load(input: &Input) -> Result<Self, QuestionsError> {
        let mut questions = Self {
            by_id: HashMap::new(),
            texts: Vec::new(),
            repeated: HashSet::new(),
            by_image: HashMap::new(),
            unusable: 0,
        };
        let mut known: HashMap<String, u32> = HashMap::new();
        each_record(input, |record| match record {
            None => questions.unusable += 1,
            Some(record) => questions.add(record, &mut known),
        })?;
        questions.by_id.shrink_to_fit();
        let again = input.path().is_some_and(Path::is_file);
        if again && !questions.repeated.is_empty() {
            each_record(input, |record| {
                if let Some(record) = record {
                    questions.add_repeated(&record, &known);
                }
            })?;
        }
        Ok(questions)
    }

    /// What the record of the row with `id` (as text) and `image`, if it has one, says.
    #[must_use]
    pub fn get(&self, id: &str, image: Option<&str>) -> Found<'_> {
        let key = xxh3_128(id.as_bytes());
        let entry = if self.repeated.contains(&key) {
            let records = self.by_image.get(&with_image(key, image));
            match records.and_then(|records| own(records, image)) {
                None => return Found::Several,
                found => found,
            }
        } else {
            self.by_id.get(&key).copied()
        };
        let question = entry.and_then(|entry| {
            Some(Question {
                text: self.texts.get(entry.question as usize)?,
                id_is_number: entry.id_is_number,
            })
        });
        question.map_or(Found::None, Found::One)
    }

    /// How many ids are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether no record was usable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Records that were skipped: no id, fewer than two turns, or not a LLaVA record.
    #[must_use]
    pub fn unusable(&self) -> u64 {
        self.unusable
    }

    fn add(&mut self, record: Asked, known: &mut HashMap<String, u32>) {
        let question = if let Some(&index) = known.get(&record.question) {
            index
        } else {
            let index = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
            self.texts.push(record.question.clone());
            known.insert(record.question, index);
            index
        };
        let key = xxh3_128(record.id.as_bytes());
        let entry = Entry {
            question,
            id_is_number: record.id_is_number,
        };
        let before = self.by_id.insert(key, entry);
        if before.is_some_and(|before| before.question != question) {
            self.repeated.insert(key);
        }
    }

    /// Keeps a record whose id others have with another question.
    fn add_repeated(&mut self, record: &Asked, known: &HashMap<String, u32>) {
        let key = xxh3_128(record.id.as_bytes());
        let Some(&question) = known.get(&record.question) else {
            return;
        };
        if !self.repeated.contains(&key) {
            return;
        }
        let place = with_image(key, record.image.as_deref());
        self.by_image.entry(place).or_default().push(Record {
            entry: Entry {
                question,
                id_is_number: record.id_is_number,
            },
            image: record.image.clone(),
        });
    }
}

/// An id together with the name of an image's file.
fn with_image(id: u128, image: Option<&str>) -> u128 {
    let name = image.and_then(|image| Path::new(image).file_name());
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend_from_slice(name.map_or(b"", OsStr::as_encoded_bytes));
    xxh3_128(&bytes)
}

/// The one of `records` that is the row's with `image`: by the same path, or else by a path that
/// the other one ends with, since the folder that paths start from may differ. Of several that
/// agree in the question the last counts.
fn own(records: &[Record], image: Option<&str>) -> Option<Entry> {
    let agreed = |fits: &dyn Fn(Option<&str>) -> bool| -> Option<Entry> {
        let mut fitting = records
            .iter()
            .filter(|record| fits(record.image.as_deref()))
            .map(|record| record.entry);
        let first = fitting.next()?;
        fitting.try_fold(first, |last, next| {
            (last.question == next.question).then_some(next)
        })
    };
    let same = |other: Option<&str>| other == image;
    let similar = |other: Option<&str>| match (other, image) {
        (Some(a), Some(b)) => is_end_of(a, b) || is_end_of(b, a),
        _ => false,
    };
    if records.iter().any(|record| same(record.image.as_deref())) {
        agreed(&same)
    } else {
        agreed(&similar)
    }
}

/// Whether `path` consists of the last parts of `longer`.
fn is_end_of(path: &str, longer: &str) -> bool {
    let parts = |path| Path::new(path).components().rev();
    let mut rest = parts(longer);
    parts(path)
        .filter(|part| *part != Component::CurDir)
        .all(|part| rest.next() == Some(part))
}

/// What a record of a questions file has for a row.
struct Asked {
    id: String,
    id_is_number: bool,
    question: String,
    image: Option<String>,
}

/// Reads the records of a questions file in order; `None` for one that has no question for an id.
fn each_record(input: &Input, mut see: impl FnMut(Option<Asked>)) -> Result<(), QuestionsError> {
    let name = input.name();
    let io_error = |error| SourceError::Io {
        name: name.clone(),
        error,
    };
    let not_json = |found: &str| QuestionsError::NotJson {
        name: name.clone(),
        found: found.to_owned(),
    };
    let opened = input.look()?.ok_or_else(|| not_json("rows"))?;
    let format = opened.format();
    if !matches!(format.word(), "json" | "jsonl") {
        return Err(not_json(format.name()));
    }
    let mut elements = opened.rows(&Reading::default()).map_err(io_error)?;
    let mut any = false;
    let mut data = Vec::new();
    loop {
        data.clear();
        let row = elements.next(&mut data, MAX_ROW_BYTES).map_err(io_error)?;
        let Some(row) = row else {
            // An array may have no elements.
            let empty = !any && format.word() == "jsonl";
            return if empty {
                Err(not_json("an empty file"))
            } else {
                Ok(())
            };
        };
        any = true;
        if let Some(problem) = row.problem {
            return Err(QuestionsError::Broken {
                name,
                reason: problem.message.into_owned(),
            });
        }
        see(parse(&mut data));
    }
}

/// The question of one record; the parser uses `json` as its scratch space.
fn parse(json: &mut [u8]) -> Option<Asked> {
    blank_words(json);
    let record = simd_json::to_borrowed_value(json).ok()?;
    let id = record.get("id")?;
    let id_is_number = id.as_str().is_none();
    let id = match id.as_str() {
        Some(text) => text.to_owned(),
        None => number_text(id)?,
    };
    let turns = record.get_array("conversations")?;
    turns.get(1)?;
    let asked = turns
        .iter()
        .find(|turn| turn.get_str("from") == Some("human"))?;
    let image = record
        .get_str("image")
        .or_else(|| record.get_array("image")?.first()?.as_str())
        .filter(|image| !image.is_empty());
    Some(Asked {
        id,
        id_is_number,
        question: asked.get_str("value")?.to_owned(),
        image: image.map(str::to_owned),
    })
}

/// Puts numbers in the place of `NaN` and its like, which Python writes and the parser does not
/// know; no question needs them.
fn blank_words(json: &mut [u8]) {
    let has = |word: &[u8]| memchr::memmem::find(json, word).is_some();
    if !has(b"NaN") && !has(b"Infinity") {
        return;
    }
    let blanked = std::str::from_utf8(json).ok().and_then(blanked);
    if let Some(blanked) = blanked.filter(|blanked| blanked.len() == json.len()) {
        json.copy_from_slice(blanked.as_bytes());
    }
}

/// A number as Python's `str()` prints it.
fn number_text(id: &BorrowedValue<'_>) -> Option<String> {
    if let Some(whole) = id.as_i64() {
        return Some(whole.to_string());
    }
    id.as_u64()
        .map(|whole| whole.to_string())
        .or_else(|| id.as_f64().map(crate::text::python_float))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn load(text: &str) -> Result<Questions, QuestionsError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Questions::load(&Input::File(file.path().to_owned()))
    }

    fn asked<'a>(questions: &'a Questions, id: &str, image: Option<&str>) -> Option<&'a str> {
        match questions.get(id, image) {
            Found::One(question) => Some(question.text),
            Found::None | Found::Several => None,
        }
    }

    #[test]
    fn records_are_found_by_id() {
        let turns = |q: &str| {
            format!(r#"[{{"from": "human", "value": "{q}"}}, {{"from": "gpt", "value": "a"}}]"#)
        };
        let text = format!(
            r#"[{{"id": "007", "conversations": {}}}, {{"id": 8, "conversations": {}}},
                {{"id": "007", "conversations": {}}}, {{"id": "9", "conversations": []}}, {{"no": 1}}]"#,
            turns("three \\u00e9"),
            turns("two"),
            turns("three \\u00e9"),
        );
        let questions = load(&text).unwrap();
        assert_eq!(asked(&questions, "007", None), Some("three é"));
        assert_eq!(
            questions.get("8", Some("a.jpg")),
            Found::One(Question {
                text: "two",
                id_is_number: true
            })
        );
        assert_eq!(questions.get("9", None), Found::None);
        assert_eq!((questions.len(), questions.unusable()), (2, 2));
    }

    #[test]
    fn records_of_one_id_are_told_apart_by_their_images() {
        let record = |image: &str, question: &str| {
            format!(
                r#"{{"id": "1", "image": {image}, "conversations": [{{"from": "system", "value": "s"}},
                    {{"from": "human", "value": "{question}"}}, {{"from": "gpt", "value": "a"}}]}}"#
            )
        };
        let questions = load(&format!(
            "[{}, {}, {}, {}]",
            record(r#""a/1.jpg""#, "one"),
            record(r#"["b/1.jpg"]"#, "two"),
            record(r#""./c/2.jpg""#, "three"),
            record(r#""""#, "four"),
        ))
        .unwrap();
        for (image, expected) in [
            (Some("a/1.jpg"), Some("one")),
            (Some("/data/b/1.jpg"), Some("two")),
            (Some("images/c/2.jpg"), Some("three")),
            (Some("2.jpg"), Some("three")),
            (None, Some("four")),
            // Two records end with it; a part of a name is no match.
            (Some("1.jpg"), None),
            (Some("xa/1.jpg"), None),
            (Some("d/9.jpg"), None),
        ] {
            assert_eq!(asked(&questions, "1", image), expected, "{image:?}");
        }
        assert_eq!(questions.get("1", Some("d/9.jpg")), Found::Several);
        assert_eq!(questions.get("2", None), Found::None);
    }

    #[test]
    fn records_may_stand_in_lines_and_what_is_no_json_is_refused() {
        let record = r#"{"id": "1", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}"#;
        let lines = load(&format!("{record}\n{}\n", record.replace("\"1\"", "\"2\""))).unwrap();
        let printed = load(&record.replace(", ", ",\n")).unwrap();
        assert_eq!((lines.len(), printed.len()), (2, 1));
        assert_eq!(load("{\"a\": 1}").unwrap().unusable(), 1);
        assert!(load("id,question\n1,what\n").is_err_and(|e| e.to_string().contains("CSV")));
        assert!(load("").is_err_and(|e| e.to_string().contains("empty")));
        assert!(load("[{\"id\": 1}").is_err_and(|e| e.to_string().contains("cut short")));
    }
}
