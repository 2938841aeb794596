//! The questions of an original LLaVA file, by record id, in little memory.

use std::io::Read;

use hashbrown::HashMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use crate::io::array::ElementReader;
use crate::io::source::{Input, MAX_ROW_BYTES, SourceError, open_bytes};

/// First human turns by record id. Pretraining files have a handful of distinct questions, so
/// each is held once and a record costs about 20 bytes.
pub struct Questions {
    by_id: HashMap<u128, Entry>,
    texts: Vec<String>,
    unusable: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    question: u32,
    id_is_number: bool,
}

/// What a record says about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// The first human turn, `<image>` included.
    pub text: &'a str,
    /// Whether the record's id is a JSON number (else a string).
    pub id_is_number: bool,
}

/// A questions file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QuestionsError {
    /// It cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It is not a JSON array.
    #[error("{name}: expected one JSON array of LLaVA records, found {found}")]
    NotAnArray {
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

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    conversations: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    value: String,
}

impl Questions {
    /// Reads all records of `input`. Of records with the same id the last counts, as in
    /// Data-Juicer.
    ///
    /// # Errors
    /// If the file cannot be read or is not a whole JSON array. Single records without an id or
    /// two turns are skipped and counted.
    pub fn load(input: &Input) -> Result<Self, QuestionsError> {
        let name = input.name();
        let mut bytes = open_bytes(input)?;
        let io_error = |error| SourceError::Io {
            name: name.clone(),
            error,
        };
        let mut start = vec![0; 4096];
        let n = bytes.read(&mut start).map_err(io_error)?;
        start.truncate(n);
        let text_start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&start);
        let first = text_start.iter().find(|b| !b.is_ascii_whitespace());
        if first != Some(&b'[') {
            let found = match first {
                None => "an empty file".to_owned(),
                Some(byte) => format!("'{}'", char::from(*byte)),
            };
            return Err(QuestionsError::NotAnArray { name, found });
        }
        let mut elements = ElementReader::new(bytes, start);
        let mut questions = Self {
            by_id: HashMap::new(),
            texts: Vec::new(),
            unusable: 0,
        };
        let mut known: HashMap<String, u32> = HashMap::new();
        let mut data = Vec::new();
        loop {
            data.clear();
            let row = elements.next(&mut data, MAX_ROW_BYTES).map_err(io_error)?;
            let Some(row) = row else { break };
            if let Some(problem) = row.problem {
                return Err(QuestionsError::Broken {
                    name,
                    reason: problem.message.into_owned(),
                });
            }
            questions.add(&data, &mut known);
        }
        questions.by_id.shrink_to_fit();
        Ok(questions)
    }

    /// What the record with `id` (as text) says.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Question<'_>> {
        let entry = self.by_id.get(&xxh3_128(id.as_bytes()))?;
        let text = self.texts.get(entry.question as usize)?;
        Some(Question {
            text,
            id_is_number: entry.id_is_number,
        })
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

    fn add(&mut self, json: &[u8], known: &mut HashMap<String, u32>) {
        let usable = serde_json::from_slice::<Record>(json)
            .ok()
            .and_then(|record| {
                let raw = record.id.get();
                let id_is_number = !raw.starts_with('"');
                let id = if id_is_number {
                    raw.to_owned()
                } else {
                    serde_json::from_str(raw).ok()?
                };
                let mut turns = record.conversations.into_iter();
                let first = turns.next()?;
                turns.next()?;
                Some((id, id_is_number, first.value))
            });
        let Some((id, id_is_number, text)) = usable else {
            self.unusable += 1;
            return;
        };
        let question = if let Some(&index) = known.get(&text) {
            index
        } else {
            let index = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
            self.texts.push(text.clone());
            known.insert(text, index);
            index
        };
        self.by_id.insert(
            xxh3_128(id.as_bytes()),
            Entry {
                question,
                id_is_number,
            },
        );
    }
}
