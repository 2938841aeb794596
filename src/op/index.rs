//! Reference indexes: what a deduplicator tells rows apart by, made of rows once and kept in a file that
//! stands for them in `reference:`.
//!
//! The first line says that a file is one, the second is its [`IndexHeader`] in JSON. Then come the rows,
//! in order: the length of the key (4 bytes), the key, the number of the file that the row is from (4 bytes)
//! and its line (8 bytes), all numbers in little-endian order. Behind the last one stand [`END`], the number of
//! rows (8 bytes) and the XXH3-128 of everything before (16 bytes).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::Xxh3;

use super::{Asset, OpDef, OpSpec};

/// How every such file begins, whatever its version.
const MAGIC: &str = "djr reference index ";

/// Raised when the files are written in another way.
const VERSION: u32 = 1;

/// Stands in the place of a key's length behind the last row.
const END: u32 = u32::MAX;

/// The longest header read, in bytes.
const MOST_HEADER: u64 = 16 << 20;

/// What decides about the keys of a deduplicator's rows: two makers that are equal give the same row the
/// same key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyMaker {
    /// The operator.
    pub op: String,
    /// The version of its answers.
    pub version: u32,
    /// How it is executed: keys that are compared for equality are others than near ones.
    pub kind: Value,
    /// Its parameters, but for those that only say how keys are compared.
    pub params: Map<String, Value>,
    /// The fields that it reads.
    pub reads: Vec<String>,
    /// The digests of the files that it opened while it was built.
    pub files: Vec<String>,
    /// The model that it asks, and how that is run.
    pub service: Value,
}

impl KeyMaker {
    /// That of a step with these parameters, defaults included; `spec` is what it came to.
    #[must_use]
    pub fn of(def: &OpDef, spec: &OpSpec, params: &Map<String, Value>) -> Self {
        let makes = |name: &&String| !def.facts.compares.contains(&name.as_str());
        let params = params.iter().filter(|(name, _)| makes(name));
        let json = |value: serde_json::Result<Value>| value.unwrap_or_default();
        Self {
            op: def.name.to_owned(),
            version: spec.version,
            kind: json(serde_json::to_value(spec.kind)),
            params: params.map(|(k, v)| (k.clone(), v.clone())).collect(),
            reads: spec.reads.clone(),
            files: spec.assets.iter().map(|a| a.xxh3_128.clone()).collect(),
            service: json(serde_json::to_value(&spec.service)),
        }
    }

    /// Why keys of this maker are not those of `asked`, in words; `None` if they are.
    #[must_use]
    pub fn difference(&self, asked: &Self) -> Option<String> {
        if self.op != asked.op {
            return Some(format!("its keys are those of {}", self.op));
        }
        if self.version != asked.version {
            let (was, is) = (self.version, asked.version);
            return Some(format!("its keys are of version {was}, and this is {is}"));
        }
        let absent = Value::Null;
        let other = asked.params.iter().find_map(|(name, is)| {
            let was = self.params.get(name).unwrap_or(&absent);
            (was != is).then(|| format!("it was made with {name}: {was}, and this is {is}"))
        });
        if other.is_some() {
            return other;
        }
        if self.kind != asked.kind {
            return Some(format!(
                "its keys are made for {} comparison, and these are for {}",
                kind_words(&self.kind),
                kind_words(&asked.kind)
            ));
        }
        if self.reads != asked.reads {
            let (was, is) = (self.reads.join(", "), asked.reads.join(", "));
            return Some(format!("it was made of {was}, and this reads {is}"));
        }
        if self.files != asked.files {
            return Some("it was made with other word lists or models".to_owned());
        }
        (self != asked).then(|| "it was made with another model, or one that runs otherwise".into())
    }
}

fn kind_words(kind: &Value) -> &'static str {
    match kind.as_str() {
        Some("exact") => "exact",
        _ => "near",
    }
}

/// What an index says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexHeader {
    /// The program that made it.
    pub djr: String,
    /// What made the keys.
    pub maker: KeyMaker,
    /// The files that its rows are from, as they were then.
    pub sources: Vec<Asset>,
}

impl IndexHeader {
    /// What the file at `path` says of itself, if it is an index at all.
    ///
    /// # Errors
    /// If it cannot be read, is of another version, or its header is damaged.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        Ok(IndexReader::open(path)?.map(|reader| reader.header))
    }

    /// Why rows of a step whose keys are made by `asked` cannot be held against it, in words: its keys
    /// are others, or one of its sources is there and has changed.
    ///
    /// # Errors
    /// If a source is there and cannot be read.
    pub fn unfit(&self, asked: &KeyMaker) -> io::Result<Option<String>> {
        if let Some(difference) = self.maker.difference(asked) {
            return Ok(Some(difference));
        }
        for source in self.sources.iter().filter(|source| source.path.exists()) {
            let size = std::fs::metadata(&source.path)?.len();
            if size != source.bytes || Asset::now(&source.path)? != *source {
                let name = source.path.display();
                return Ok(Some(format!("{name} has changed since it was made of it")));
            }
        }
        Ok(None)
    }
}

/// Where a row of a reference is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexPlace {
    /// Which of the sources.
    pub source: u32,
    /// The line or number of the row in it, from 1.
    pub line: u64,
}

/// Writes an index, row by row.
pub struct IndexWriter<W> {
    out: W,
    digest: Xxh3,
    rows: u64,
}

impl<W: Write> IndexWriter<W> {
    /// Begins one.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn new(out: W, header: &IndexHeader) -> io::Result<Self> {
        let mut writer = Self {
            out,
            digest: Xxh3::new(),
            rows: 0,
        };
        writer.put(format!("{MAGIC}{VERSION}\n").as_bytes())?;
        writer.put(&serde_json::to_vec(header)?)?;
        writer.put(b"\n")?;
        Ok(writer)
    }

    /// Appends a row.
    ///
    /// # Errors
    /// If it cannot be written, or its key is of four gigabytes.
    pub fn push(&mut self, key: &[u8], place: IndexPlace) -> io::Result<()> {
        let length = u32::try_from(key.len()).ok().filter(|it| *it != END);
        let length = length.ok_or_else(|| io::Error::other("a key of more than 2^32 bytes"))?;
        self.put(&length.to_le_bytes())?;
        self.put(key)?;
        self.put(&place.source.to_le_bytes())?;
        self.put(&place.line.to_le_bytes())?;
        self.rows += 1;
        Ok(())
    }

    /// Writes the end, and says how many rows there are.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> io::Result<u64> {
        self.put(&END.to_le_bytes())?;
        self.put(&self.rows.to_le_bytes())?;
        self.out.write_all(&self.digest.digest128().to_le_bytes())?;
        Ok(self.rows)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.out.write_all(bytes)
    }
}

/// Reads an index, row by row.
pub struct IndexReader {
    file: BufReader<File>,
    /// What it says of itself.
    pub header: IndexHeader,
    digest: Xxh3,
    rows: u64,
}

impl IndexReader {
    /// Opens the file at `path`, if it is an index.
    ///
    /// # Errors
    /// As [`IndexHeader::of`].
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let mut file = BufReader::new(File::open(path)?);
        let mut first = Vec::new();
        let longest = MAGIC.len() as u64 + 12;
        (&mut file).take(longest).read_until(b'\n', &mut first)?;
        let Some(version) = first.strip_prefix(MAGIC.as_bytes()) else {
            return Ok(None);
        };
        if version != format!("{VERSION}\n").as_bytes() {
            let version = String::from_utf8_lossy(version);
            let what = format!("an index of version {}, not {VERSION}", version.trim());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let mut second = Vec::new();
        (&mut file)
            .take(MOST_HEADER)
            .read_until(b'\n', &mut second)?;
        let header = serde_json::from_slice(&second);
        let header = header.map_err(|error| damaged(&format!("its header: {error}")))?;
        let mut digest = Xxh3::new();
        digest.update(&first);
        digest.update(&second);
        Ok(Some(Self {
            file,
            header,
            digest,
            rows: 0,
        }))
    }

    /// Reads the next row's key into `key` and says where the row is from; `None` behind the last one.
    ///
    /// # Errors
    /// If the file cannot be read, ends early, or is not what was written.
    pub fn next_row(&mut self, key: &mut Vec<u8>) -> io::Result<Option<IndexPlace>> {
        let length = u32::from_le_bytes(self.take()?);
        if length == END {
            let rows = u64::from_le_bytes(self.take()?);
            let found = self.digest.digest128();
            let mut said = [0; 16];
            self.file.read_exact(&mut said).map_err(cut_off)?;
            if rows != self.rows || u128::from_le_bytes(said) != found {
                return Err(damaged("its bytes are not those that were written"));
            }
            return Ok(None);
        }
        key.clear();
        // Read piece by piece: a damaged length asks for no memory.
        (&mut self.file).take(length.into()).read_to_end(key)?;
        if key.len() as u64 != u64::from(length) {
            return Err(damaged("it ends early"));
        }
        self.digest.update(key);
        let source = u32::from_le_bytes(self.take()?);
        let line = u64::from_le_bytes(self.take()?);
        self.rows += 1;
        Ok(Some(IndexPlace { source, line }))
    }

    /// A row's place in words, as a reference that was not prepared has it.
    ///
    /// # Errors
    /// If the index names no such file.
    pub fn words(&self, place: IndexPlace) -> io::Result<String> {
        let source = self.header.sources.get(place.source as usize);
        let source = source.ok_or_else(|| damaged("a row is from none of its files"))?;
        Ok(format!("{}:{}", source.path.display(), place.line))
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(cut_off)?;
        self.digest.update(&bytes);
        Ok(bytes)
    }
}

fn cut_off(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends early"),
        _ => error,
    }
}

fn damaged(what: &str) -> io::Error {
    let what = format!("the reference index is damaged: {what}");
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn maker() -> KeyMaker {
        KeyMaker {
            op: "a".into(),
            version: 1,
            kind: json!("near"),
            params: Map::from_iter([("window".to_owned(), json!(5))]),
            reads: vec!["text".into()],
            files: Vec::new(),
            service: Value::Null,
        }
    }

    fn written(rows: &[(&[u8], IndexPlace)]) -> Vec<u8> {
        let header = IndexHeader {
            djr: "0".into(),
            maker: maker(),
            sources: vec![Asset {
                path: "/none/such.jsonl".into(),
                bytes: 3,
                xxh3_128: "0".into(),
            }],
        };
        let mut bytes = Vec::new();
        let mut writer = IndexWriter::new(&mut bytes, &header).unwrap();
        for (key, place) in rows {
            writer.push(key, *place).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), rows.len() as u64);
        bytes
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<(Vec<u8>, String)>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut reader = IndexReader::open(file.path())?.unwrap();
        let (mut rows, mut key) = (Vec::new(), Vec::new());
        while let Some(place) = reader.next_row(&mut key)? {
            rows.push((key.clone(), reader.words(place)?));
        }
        Ok(rows)
    }

    #[test]
    fn rows_come_back_and_every_changed_byte_is_noticed() {
        let place = |line| IndexPlace { source: 0, line };
        let bytes = written(&[(b"key", place(1)), (b"", place(7))]);
        let name = |line: u64| format!("/none/such.jsonl:{line}");
        let expected = vec![(b"key".to_vec(), name(1)), (Vec::new(), name(7))];
        assert_eq!(read(&bytes).unwrap(), expected);
        for cut in MAGIC.len() + 2..bytes.len() {
            assert!(read(&bytes[..cut]).is_err(), "{cut}");
        }
        for at in MAGIC.len()..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(read(&other).is_err(), "{at}");
        }
        let elsewhere = IndexPlace { source: 1, line: 1 };
        assert!(read(&written(&[(b"k", elsewhere)])).is_err());
    }

    #[test]
    fn other_files_are_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for content in ["", "{\"text\": \"a\"}\n", "djr reference"] {
            std::fs::write(file.path(), content).unwrap();
            assert!(IndexReader::open(file.path()).unwrap().is_none());
        }
        std::fs::write(file.path(), "djr reference index 2\n").unwrap();
        let error = IndexReader::open(file.path()).err().unwrap();
        assert!(error.to_string().contains("of version 2, not 1"));
    }

    #[test]
    fn what_differs_is_named() {
        let mine = maker();
        assert_eq!(mine.difference(&maker()), None);
        let with = |change: fn(&mut KeyMaker)| {
            let mut other = maker();
            change(&mut other);
            mine.difference(&other).unwrap()
        };
        for (said, what) in [
            (with(|m| m.op = "b".into()), "those of a"),
            (with(|m| m.version = 2), "version 1"),
            (
                with(|m| m.params = Map::from_iter([("window".to_owned(), json!(6))])),
                "window: 5, and this is 6",
            ),
            (with(|m| m.kind = json!("exact")), "near comparison"),
            (with(|m| m.reads = vec!["caption".into()]), "reads caption"),
            (with(|m| m.files = vec!["1".into()]), "other word lists"),
            (with(|m| m.service = json!(1)), "another model"),
        ] {
            assert!(said.contains(what), "{said}");
        }
    }
}
