//! Chinese characters from one standard into another, as OpenCC 1.1.9 converts them.
//!
//! `tables.zst` holds OpenCC's dictionaries (<https://github.com/BYVoid/OpenCC>, Apache License
//! 2.0); `fixtures/tools/opencc_tables.py` packs them and says how the file is laid out. A mode
//! names the dictionary that cuts a text into segments, and the steps that each segment goes
//! through on its own. All matching takes the longest key at a place.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use hashbrown::HashMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// From which standard into which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Simplified to traditional characters.
    #[default]
    S2t,
    /// Traditional to simplified characters.
    T2s,
    /// Simplified characters to the standard of Taiwan.
    S2tw,
    /// The standard of Taiwan to simplified characters.
    Tw2s,
    /// Simplified characters to the variants of Hong Kong.
    S2hk,
    /// The variants of Hong Kong to simplified characters.
    Hk2s,
    /// Simplified characters to the standard and the words of Taiwan.
    S2twp,
    /// The standard and the words of Taiwan to simplified characters and the words of the mainland.
    Tw2sp,
    /// Traditional characters to the standard of Taiwan.
    T2tw,
    /// The standard of Taiwan to traditional characters.
    Tw2t,
    /// The variants of Hong Kong to traditional characters.
    Hk2t,
    /// Traditional characters to the variants of Hong Kong.
    T2hk,
    /// Traditional characters (Kyūjitai) to the new ones of Japan (Shinjitai).
    T2jp,
    /// The new characters of Japan to traditional ones.
    Jp2t,
}

/// The dictionary that cuts segments, and those of each step; of a step's dictionaries the first
/// one that has a key at a place decides, however long the keys of the others are.
type Config = (&'static str, &'static [&'static [&'static str]]);

impl Mode {
    fn config(self) -> Config {
        match self {
            Self::S2t => ("STPhrases", &[&["STPhrases", "STCharacters"]]),
            Self::T2s => ("TSPhrases", &[&["TSPhrases", "TSCharacters"]]),
            Self::S2tw => (
                "STPhrases",
                &[&["STPhrases", "STCharacters"], &["TWVariants"]],
            ),
            Self::Tw2s => (
                "TSPhrases",
                &[
                    &["TWVariantsRevPhrases", "TWVariantsRev"],
                    &["TSPhrases", "TSCharacters"],
                ],
            ),
            Self::S2hk => (
                "STPhrases",
                &[&["STPhrases", "STCharacters"], &["HKVariants"]],
            ),
            Self::Hk2s => (
                "TSPhrases",
                &[
                    &["HKVariantsRevPhrases", "HKVariantsRev"],
                    &["TSPhrases", "TSCharacters"],
                ],
            ),
            Self::S2twp => (
                "STPhrases",
                &[
                    &["STPhrases", "STCharacters"],
                    &["TWPhrases"],
                    &["TWVariants"],
                ],
            ),
            Self::Tw2sp => (
                "TSPhrases",
                &[
                    &["TWPhrasesRev", "TWVariantsRevPhrases", "TWVariantsRev"],
                    &["TSPhrases", "TSCharacters"],
                ],
            ),
            Self::T2tw => ("TWVariants", &[&["TWVariants"]]),
            Self::Tw2t => (
                "TWVariantsRevPhrases",
                &[&["TWVariantsRevPhrases", "TWVariantsRev"]],
            ),
            Self::Hk2t => (
                "HKVariantsRevPhrases",
                &[&["HKVariantsRevPhrases", "HKVariantsRev"]],
            ),
            Self::T2hk => ("HKVariants", &[&["HKVariants"]]),
            Self::T2jp => ("JPVariants", &[&["JPVariants"]]),
            Self::Jp2t => (
                "JPShinjitaiPhrases",
                &[&[
                    "JPShinjitaiPhrases",
                    "JPShinjitaiCharacters",
                    "JPVariantsRev",
                ]],
            ),
        }
    }
}

/// Converts texts in one mode.
pub struct Converter {
    segments: Arc<Dictionary>,
    steps: Vec<Vec<Arc<Dictionary>>>,
}

impl Converter {
    /// The converter of `mode`.
    ///
    /// # Errors
    /// If the packed dictionaries cannot be read, which only a damaged build can bring about.
    pub fn new(mode: Mode) -> Result<Self, String> {
        let mut loaded: HashMap<&str, Arc<Dictionary>> = HashMap::new();
        let mut load = |name: &'static str| -> Result<Arc<Dictionary>, String> {
            if let Some(dictionary) = loaded.get(name) {
                return Ok(Arc::clone(dictionary));
            }
            let dictionary = Arc::new(Dictionary::load(name)?);
            loaded.insert(name, Arc::clone(&dictionary));
            Ok(dictionary)
        };
        let (segments, steps) = mode.config();
        Ok(Self {
            segments: load(segments)?,
            steps: steps
                .iter()
                .map(|names| names.iter().map(|name| load(name)).collect())
                .collect::<Result<_, _>>()?,
        })
    }

    /// `text`, converted. As with OpenCC, which takes C strings, a text ends at U+0000.
    #[must_use]
    pub fn convert<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let text = text.split('\0').next().unwrap_or_default();
        if text.is_ascii() {
            // Every key has a character beyond ASCII.
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut buffers = (String::new(), String::new());
        let mut rest = text;
        while !rest.is_empty() {
            let (segment, after) = rest.split_at(self.segment(rest));
            rest = after;
            self.convert_segment(segment, &mut buffers, &mut out);
        }
        Cow::Owned(out)
    }

    /// The length of the segment that starts `text`: a key, or all up to the next key.
    fn segment(&self, text: &str) -> usize {
        for (at, _) in text.char_indices() {
            let rest = text.get(at..).unwrap_or_default();
            if let Some((key, _)) = self.segments.longest(rest) {
                return if at == 0 { key } else { at };
            }
        }
        text.len()
    }

    fn convert_segment(
        &self,
        segment: &str,
        (before, after): &mut (String, String),
        out: &mut String,
    ) {
        let Some((last, first)) = self.steps.split_last() else {
            return out.push_str(segment);
        };
        before.clear();
        before.push_str(segment);
        for step in first {
            after.clear();
            replace(before, step, after);
            std::mem::swap(before, after);
        }
        replace(before, last, out);
    }
}

/// Appends `text` with every key, found from left to right, replaced by its value.
fn replace(text: &str, step: &[Arc<Dictionary>], out: &mut String) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let found = step.iter().find_map(|dictionary| dictionary.longest(rest));
        let length = if let Some((length, value)) = found {
            out.push_str(value);
            length
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = rest.get(length..).unwrap_or_default();
    }
}

/// Keys and their values.
#[derive(Default)]
struct Dictionary {
    starts: HashMap<char, Start>,
    /// Keys of two and more characters.
    phrases: HashMap<&'static str, &'static str>,
}

/// The keys that start with one character.
#[derive(Default)]
struct Start {
    /// The value of the character itself, if it is a key.
    alone: Option<&'static str>,
    /// Bit n is set if there is a key of n + 2 characters.
    lengths: u32,
}

/// The unpacked dictionaries.
static TABLES: LazyLock<Result<String, String>> = LazyLock::new(|| {
    let packed: &[u8] = include_bytes!("tables.zst");
    let text = zstd::decode_all(packed).map_err(|e| e.to_string())?;
    String::from_utf8(text).map_err(|e| e.to_string())
});

impl Dictionary {
    fn load(name: &str) -> Result<Self, String> {
        let tables = TABLES.as_deref().map_err(Clone::clone)?;
        let table = tables
            .split("\n\n")
            .find_map(|table| table.strip_prefix(name)?.strip_prefix('\n'))
            .ok_or_else(|| format!("no dictionary {name}"))?;
        let mut dictionary = Self::default();
        for line in table.lines() {
            let (key, value) = line.split_once('\t').unwrap_or((line, line));
            dictionary.add(key, value)?;
        }
        Ok(dictionary)
    }

    fn add(&mut self, key: &'static str, value: &'static str) -> Result<(), String> {
        let mut chars = key.chars();
        let first = chars.next().ok_or("an empty key")?;
        let start = self.starts.entry(first).or_default();
        match u32::try_from(chars.count()) {
            Ok(0) => start.alone = Some(value),
            Ok(more @ 1..=32) => {
                start.lengths |= 1 << (more - 1);
                self.phrases.insert(key, value);
            }
            _ => return Err(format!("the key {key} is too long")),
        }
        Ok(())
    }

    /// The length in bytes and the value of the longest key that `text` starts with.
    fn longest(&self, text: &str) -> Option<(usize, &'static str)> {
        let first = text.chars().next()?;
        let start = self.starts.get(&first)?;
        let mut found = start.alone.map(|value| (first.len_utf8(), value));
        let mut lengths = start.lengths;
        // From the shortest on: most texts end the search after a few.
        let mut ends = text.char_indices().skip(1).map(|(at, c)| at + c.len_utf8());
        while lengths != 0 {
            let Some(end) = ends.next() else { break };
            if lengths & 1 == 1
                && let Some((key, value)) = self.phrases.get_key_value(text.get(..end)?)
            {
                found = Some((key.len(), *value));
            }
            lengths >>= 1;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: [Mode; 14] = [
        Mode::S2t,
        Mode::T2s,
        Mode::S2tw,
        Mode::Tw2s,
        Mode::S2hk,
        Mode::Hk2s,
        Mode::S2twp,
        Mode::Tw2sp,
        Mode::T2tw,
        Mode::Tw2t,
        Mode::Hk2t,
        Mode::T2hk,
        Mode::T2jp,
        Mode::Jp2t,
    ];

    #[track_caller]
    fn check(mode: Mode, text: &str, expected: &str) {
        assert_eq!(Converter::new(mode).unwrap().convert(text), expected);
    }

    #[test]
    fn phrases_win_over_characters() {
        check(Mode::S2t, "头发发展，干杯", "頭髮發展，乾杯");
        check(Mode::T2s, "頭髮發展", "头发发展");
        check(Mode::S2twp, "鼠标和软件", "滑鼠和軟體");
        check(Mode::Jp2t, "", "");
    }

    #[test]
    fn a_text_ends_at_nul() {
        check(Mode::S2t, "国\0国", "國");
        check(Mode::S2t, "a\0b", "a");
    }

    #[test]
    fn every_mode_has_its_dictionaries_and_leaves_ascii_alone() {
        for mode in MODES {
            let converter = Converter::new(mode).unwrap();
            for dictionary in converter.steps.iter().flatten() {
                assert!(!dictionary.starts.is_empty());
                assert!(dictionary.phrases.keys().all(|key| !key.is_ascii()));
                let alone = |c: &char| dictionary.starts.get(c).and_then(|s| s.alone);
                assert!((' '..'\u{7f}').all(|c| alone(&c).is_none()));
            }
            assert_eq!(converter.convert("plain text\n"), "plain text\n");
        }
    }
}
