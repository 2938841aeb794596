//! The formats an output can have: each says what it is in one [`Format`], turns one row into the
//! bytes of one record, or says by name why the row cannot be one.
//!
//! A format is a file of this folder and a line in [`FORMATS`]. Recipes, the command line, the
//! executor and what reads a finished run know formats by what stands in [`Format`] only.

pub mod beside;
mod chat;
pub mod conversation;
pub mod dj;
pub mod from;
pub mod imagefolder;
pub mod internvl;
pub mod json;
pub mod jsonl;
pub mod llava;
pub mod llava_jsonl;
pub mod messages;
pub mod openai;
mod options;
pub mod parquet;
pub mod questions;
pub mod shape;
pub mod trl;
pub mod webdataset;

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use beside::Beside;
pub use options::{FormatOption, OptionKind, OptionValue, Options};

use crate::io::Input;
use crate::io::paths::PathStyle;
use crate::io::paths::PathWriter;
use crate::sample::{FieldPath, ImageCheck, RowError, Sample, words};

/// All formats. One that is listed here can be written by recipes and by `djr convert`.
pub const FORMATS: &[&Format] = &[
    jsonl::FORMAT,
    json::FORMAT,
    llava::FORMAT,
    llava_jsonl::FORMAT,
    internvl::FORMAT,
    messages::FORMAT,
    openai::FORMAT,
    trl::FORMAT,
    imagefolder::FORMAT,
    webdataset::FORMAT,
    parquet::FORMAT,
    dj::FORMAT,
];

/// What there is to know about a format.
#[derive(Debug)]
pub struct Format {
    /// Its name in recipes and after `--to`.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub summary: &'static str,
    /// How the names of its files end, without a dot. A path that ends so and says no format has
    /// the first one listed that does.
    pub suffixes: &'static [&'static str],
    /// What stands around its records in a file.
    pub framing: Framing,
    /// Whether its records are the rows themselves, so that the file can be an input again.
    pub holds_rows: bool,
    /// What it is made of unless its option `from` says otherwise; `None` where it is made of the
    /// rows as they are, whatever they hold.
    pub made_of: Option<&'static str>,
    /// The field of image paths in its records, where that is not the rows' own.
    pub written_image_key: Option<&'static str>,
    /// How far images are checked, unless somebody says otherwise.
    pub check: ImageCheck,
    /// How `djr convert` writes image paths, unless somebody says otherwise.
    pub paths: PathStyle,
    /// Where the images of its records may be; the first unless somebody says otherwise.
    pub images: &'static [ImageFiles],
    /// Whether its readers take paths in one style only, so that nobody can say another.
    pub own_paths: bool,
    /// Which record a file begins with, where readers infer types from the first ones.
    pub lead: Option<Lead>,
    /// A file that says to readers what the output is.
    pub beside: Option<&'static Beside>,
    /// Bytes of memory that an output may need for each byte of a row, beside the row and its record;
    /// 0 if it needs none to speak of. Where a run's memory is bounded, longer rows than fit are
    /// refused.
    pub memory: u32,
    /// What can be said of an output in this format and perhaps of no other.
    pub options: &'static [FormatOption],
    /// What writes its records.
    pub renderer: fn(&Options, Setting) -> Made,
}

/// Which records tell the type of every field. A program that infers types from the first rows, and
/// finds only empty lists there, fails at the first one that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Those in which these bytes stand.
    With(&'static [u8]),
    /// Those in which these bytes do not.
    Without(&'static [u8]),
}

impl Lead {
    /// Whether `record` is such a one.
    #[must_use]
    pub fn is_complete(self, record: &[u8]) -> bool {
        match self {
            Self::With(bytes) => memchr::memmem::find(record, bytes).is_some(),
            Self::Without(bytes) => memchr::memmem::find(record, bytes).is_none(),
        }
    }
}

words! {
    /// Where the images of an output's records are.
    ImageFiles {
        /// Where they were: records have their paths.
        Path = "path",
        /// In the output itself.
        Embed = "embed",
        /// In files beside the output, copied there.
        Copy = "copy",
    }
}

/// What writes the records of an output, or why nothing can.
pub type Made = Result<Box<dyn Renderer>, FormatError>;

/// What a recipe says to the renderers of all formats.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The field of the caption or conversation.
    pub text_key: FieldPath,
    /// What stands for an image in the text, e.g. `<__dj__image>`.
    pub image_token: String,
    /// What ends a chunk in the text, e.g. `<|__dj__eoc|>`.
    pub eoc_token: String,
    /// Whether rows keep `__dj__stats__`.
    pub keep_stats: bool,
    /// Whether rows keep hash columns.
    pub keep_hashes: bool,
    /// How image paths are written.
    pub paths: PathWriter,
    /// How far images are checked.
    pub validate: ImageCheck,
    /// Where the images of the records are to be.
    pub images: ImageFiles,
    /// Where the rows come from.
    pub inputs: Vec<Input>,
    /// Fields that steps make lists of.
    pub lists: Vec<String>,
    /// Fields that steps add up.
    pub sums: Vec<String>,
    /// Whether rows have what became of them in a field ([`crate::sample::FATE`]), which every record is
    /// to have, too.
    pub tells_fate: bool,
}

/// A file that an option names cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FormatError(pub String);

/// The bytes that make a file of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Stands before all records.
    pub open: &'static [u8],
    /// Stands before the first record.
    pub first: &'static [u8],
    /// Stands before each other record.
    pub next: &'static [u8],
    /// Stands behind each record.
    pub after: &'static [u8],
    /// Stands behind all records.
    pub close: &'static [u8],
    /// What a record is.
    pub records: Records,
}

/// What the records of a format are, on their way to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// The bytes of the file.
    Bytes,
    /// Samples of an archive ([`webdataset::Sample`]), whose members are made when they are written.
    Samples,
    /// Rows of a column file ([`crate::io::columns::record::Record`]), which are written many at a
    /// time.
    Rows,
}

impl Framing {
    /// One record a line.
    pub const LINES: Self = Self {
        open: b"",
        first: b"",
        next: b"",
        after: b"\n",
        close: b"",
        records: Records::Bytes,
    };

    /// A JSON array, one element a line.
    pub const ARRAY: Self = Self {
        open: b"[",
        first: b"\n",
        next: b",\n",
        after: b"",
        close: b"\n]\n",
        records: Records::Bytes,
    };

    /// Members of a tar archive.
    pub const TAR: Self = Self {
        open: b"",
        first: b"",
        next: b"",
        after: b"",
        close: &[0; 1024],
        records: Records::Samples,
    };

    /// Row groups of a column file, which has its own beginning and end.
    pub const COLUMNS: Self = Self {
        open: crate::io::columns::groups::MAGIC,
        first: b"",
        next: b"",
        after: b"",
        close: b"",
        records: Records::Rows,
    };

    /// What stands before a record that `earlier` ones of its file come before.
    #[must_use]
    pub fn before(&self, earlier: u64) -> &'static [u8] {
        if earlier == 0 { self.first } else { self.next }
    }
}

/// Writes rows in one format. Shared by all worker threads.
pub trait Renderer: Send + Sync {
    /// Appends the record of `sample`, without what stands around it, to `out`.
    ///
    /// # Errors
    /// Why the row cannot be written in this format; `out` is then to be discarded.
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError>;
}

/// One of [`FORMATS`], or what a program asks for that no recipe can name.
#[derive(Clone, Copy)]
pub struct OutputFormat(&'static Format);

impl OutputFormat {
    /// Rows, one a line: what an output is that says nothing.
    pub const ROWS: Self = Self(jsonl::FORMAT);

    /// Rows for a table in memory, which no recipe can name.
    pub const TABLE: Self = Self(parquet::TABLE);

    /// Such rows without the columns of the inputs.
    pub const MADE_TABLE: Self = Self(parquet::MADE_TABLE);

    /// The names of all formats, in order.
    pub const WORDS: &'static [&'static str] = &{
        let mut words = [""; FORMATS.len()];
        let mut at = 0;
        while at < words.len() {
            words[at] = FORMATS[at].name;
            at += 1;
        }
        words
    };

    /// All formats, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        FORMATS.iter().copied().map(Self)
    }

    /// The format called `word`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::all().find(|format| format.name == word)
    }

    /// The format of a file whose name ends in `suffix`.
    #[must_use]
    pub fn of_suffix(suffix: &str) -> Option<Self> {
        Self::all().find(|format| format.suffixes.contains(&suffix))
    }

    /// Whether its files may be packed by gzip or zstd: rows as text, which nobody moves about in a
    /// file afterwards.
    #[must_use]
    pub fn may_be_packed(self) -> bool {
        self.0.holds_rows && self.0.framing.records == Records::Bytes && self.0.made_of.is_none()
    }

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.0.name
    }

    /// What an output with `options` is made of; `None` where it is made of the rows as they are.
    #[must_use]
    pub fn origin(self, options: &Options) -> Option<&'static from::Origin> {
        let word = options.word(chat::FROM.name).or(self.0.made_of)?;
        from::Origin::named(word)
    }

    /// Which record a file of an output with `options` begins with, if not the first one.
    #[must_use]
    pub fn lead(self, options: &Options) -> Option<Lead> {
        let in_order = options.word(chat::FIRST_ROW.name) == Some("as_is");
        self.0.lead.filter(|_| !in_order)
    }

    /// The option called `name`.
    #[must_use]
    pub fn option(self, name: &str) -> Option<&'static FormatOption> {
        self.0.options.iter().find(|option| option.name == name)
    }
}

/// Every option of every format once, with the formats that have it.
#[must_use]
pub fn all_options() -> Vec<(&'static FormatOption, Vec<OutputFormat>)> {
    let mut all: Vec<(&'static FormatOption, Vec<OutputFormat>)> = Vec::new();
    for format in OutputFormat::all() {
        for option in format.options {
            match all.iter_mut().find(|(known, _)| known.name == option.name) {
                Some((_, formats)) => formats.push(format),
                None => all.push((option, vec![format])),
            }
        }
    }
    all
}

impl Deref for OutputFormat {
    type Target = Format;

    fn deref(&self) -> &Format {
        self.0
    }
}

impl PartialEq for OutputFormat {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for OutputFormat {}

impl fmt::Debug for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl Serialize for OutputFormat {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.name.serialize(to)
    }
}

impl<'de> Deserialize<'de> for OutputFormat {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = String::deserialize(from)?;
        Self::from_word(&word)
            .ok_or_else(|| serde::de::Error::custom(format!("this djr writes no format '{word}'")))
    }
}

/// Appends `text` as a JSON string of ASCII characters only, as Python's `json.dumps` does.
pub fn push_ascii_json(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            ' '..='~' => out.push(c as u8),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.extend_from_slice(b"\\u");
                    for shift in [12, 8, 4, 0] {
                        out.push(HEX[usize::from((*unit >> shift) & 15)]);
                    }
                }
            }
        }
    }
    out.push(b'"');
}

/// Python's `str.strip()`.
#[must_use]
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_python_space)
}

/// Python's `str.isspace()` for one character.
fn is_python_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | '\u{1c}'..='\u{1f}') || (c != '\u{200b}' && c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_python_does() {
        let mut out = Vec::new();
        push_ascii_json("a\"\\\n\u{7f}é中😀\u{1}", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#""a\"\\\n\u007f\u00e9\u4e2d\ud83d\ude00\u0001""#
        );
    }

    #[test]
    fn every_format_is_known_by_one_name() {
        let mut names = OutputFormat::WORDS.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FORMATS.len());
        for format in OutputFormat::all() {
            assert_eq!(OutputFormat::from_word(format.word()), Some(format));
            let json = serde_json::to_value(format).unwrap();
            assert_eq!(
                serde_json::from_value::<OutputFormat>(json).unwrap(),
                format
            );
            assert!(!format.suffixes.is_empty() && format.summary.ends_with('.'));
            for option in format.options {
                assert!(option.doc.ends_with('.'), "{}", option.name);
                assert_eq!(option.name.replace('_', "-"), option.argument);
            }
        }
        assert_eq!(OutputFormat::of_suffix("json").unwrap().word(), "json");
        assert!(serde_json::from_str::<OutputFormat>("\"csv\"").is_err());
    }

    #[test]
    fn options_are_what_their_format_says() {
        // Two formats that share a name mean the same kind of value.
        for (option, formats) in all_options() {
            for format in formats {
                assert_eq!(format.option(option.name).unwrap().kind, option.kind);
            }
        }
    }

    #[test]
    fn strip_takes_what_python_takes() {
        assert_eq!(
            strip("\u{1c}\u{85}\u{a0}\u{2028}a\u{200b} \u{1f}"),
            "a\u{200b}"
        );
    }
}
