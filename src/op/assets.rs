//! Word lists, tokenizers and models that text operators look up while they are built.
//!
//! Data-Juicer downloads what it lacks; a run here touches no network, so an absent asset is a
//! problem of the recipe, reported before any data is read, with what to download and where to.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{AssetError, BuildContext, ParamError};
use crate::models::{FastText, KenLm, SentencePiece};
use crate::text::{WordCutter, WordSet};

/// Where Data-Juicer keeps what its operators download.
const DOWNLOADS: &str = "https://dail-wlcb.oss-cn-wulanchabu.aliyuncs.com/data_juicer";

/// The language name that stands for all lists together.
const ALL: &str = "all";

/// A file that decides what an operator answers: a word list, a tokenizer, a model, bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Asset {
    /// Where it was found.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// XXH3-128 of its bytes, in hexadecimal digits.
    pub xxh3_128: String,
}

/// A path that is no text is shown as well as can be: its digest tells what it was.
fn as_text<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl Asset {
    fn new(path: &Path, content: &[u8]) -> Self {
        Self {
            path: path.to_owned(),
            bytes: content.len() as u64,
            xxh3_128: hex(xxh3_128(content)),
        }
    }

    /// The file at `path` as it is now; it is read, not kept.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn now(path: &Path) -> io::Result<Self> {
        let mut file = std::fs::File::open(path)?;
        let mut digest = Xxh3::new();
        let mut bytes = 0;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = file.read(&mut buffer)?;
            let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else {
                break;
            };
            digest.update(part);
            bytes += part.len() as u64;
        }
        Ok(Self {
            path: path.to_owned(),
            bytes,
            xxh3_128: hex(digest.digest128()),
        })
    }
}

fn hex(digest: u128) -> String {
    format!("{digest:032x}")
}

/// The one door to files for operators that are being built.
impl BuildContext {
    /// The content of a file that decides what the operator answers. It is listed among the
    /// operator's assets, so that a run knows when another file stands in its place.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let content = std::fs::read(path)?;
        let asset = Asset::new(path, &content);
        let mut opened = self.opened.borrow_mut();
        if !opened.contains(&asset) {
            opened.push(asset);
        }
        Ok(content)
    }

    /// The same for a text.
    ///
    /// # Errors
    /// If it cannot be read, or is not UTF-8.
    pub fn read_text(&self, path: &Path) -> io::Result<String> {
        String::from_utf8(self.read(path)?)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.utf8_error()))
    }

    /// Lists a file that is too large to be kept, or that others read, among the operator's assets.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn note_file(&self, path: &Path) -> io::Result<()> {
        let mut opened = self.opened.borrow_mut();
        if !opened.iter().any(|asset| asset.path == path) {
            opened.push(Asset::now(path)?);
        }
        Ok(())
    }

    /// Lists the files that a command line names among the operator's assets: the program, found as
    /// the system finds it, and each word that is a file, as it is or behind a `=`. Of a text for a
    /// shell, these are the words of the text, but for files that it writes. What cannot be read is
    /// left out: a program may be one that may only be run.
    pub fn note_command(&self, command: &[String]) {
        let words = command.iter().enumerate();
        let mut words: Vec<Word> = words
            .map(|(number, text)| Word {
                text: text.clone(),
                is_program: number == 0,
            })
            .collect();
        if let [_, flag, script] = command
            && flag == "-c"
        {
            words.truncate(1);
            words.extend(words_of_script(script));
        }
        let here = self.search.last().map_or(Path::new(""), PathBuf::as_path);
        for word in &words {
            let value = word.text.split_once('=').map(|(_, value)| value);
            let named = [Some(word.text.as_str()), value].into_iter().flatten();
            let mut files: Vec<PathBuf> = named.map(|word| here.join(word)).collect();
            if word.is_program && !word.text.contains('/') {
                files = in_path(&word.text);
            }
            if let Some(file) = files.into_iter().find(|file| file.is_file()) {
                let _ = self.note_file(&file);
            }
        }
    }

    /// What was read since this was last asked.
    pub(super) fn take_opened(&self) -> Vec<Asset> {
        self.opened.take()
    }
}

impl BuildContext {
    /// The list of `lang` in the word lists of a directory: every `*.json` whose name contains
    /// `kind` (`stopwords`, say), each an object from languages to lists, put together. `param`
    /// names the directory in the recipe; if it is absent, Data-Juicer's assets are searched.
    /// `all` is the union of all lists, unless a list of that name exists.
    ///
    /// # Errors
    /// If there is no such file, one cannot be read, or none has the language.
    pub fn word_list(
        &self,
        kind: &str,
        (param, dir): (&str, Option<&str>),
        (lang_param, lang): (&str, &str),
    ) -> Result<WordSet, ParamError> {
        let dir = match dir {
            Some(written) => self.resolve(written),
            None => self.cached("assets"),
        };
        let missing = |tried: &[PathBuf]| {
            ParamError::new(
                param,
                format!("no word list: no *{kind}*.json in {}", shown(tried)),
            )
            .hint(format!(
                "download {DOWNLOADS}/{kind}.json into that directory, or set {param} to a \
                 directory that has one"
            ))
        };
        let dir = dir.map_err(|e| missing(&e.tried))?;
        let files = list_files(&dir, kind).map_err(|e| {
            ParamError::new(param, format!("cannot list {}: {e}", dir.display()))
                .hint("name a directory that can be read")
        })?;
        let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in files {
            let broken = |e: &dyn std::fmt::Display| {
                ParamError::new(param, format!("cannot read {}: {e}", file.display()))
                    .hint("a word list is a JSON object from languages to lists of words")
            };
            let text = self.read(&file).map_err(|e| broken(&e))?;
            let read: BTreeMap<String, Vec<String>> =
                serde_json::from_slice(&text).map_err(|e| broken(&e))?;
            for (lang, words) in read {
                lists.entry(lang).or_default().extend(words);
            }
        }
        if lists.is_empty() {
            return Err(missing(&[dir]));
        }
        if let Some(words) = lists.remove(lang) {
            return Ok(words.into_iter().collect());
        }
        if lang == ALL {
            return Ok(lists.into_values().flatten().collect());
        }
        let known: Vec<&str> = lists
            .keys()
            .map(String::as_str)
            .filter(|l| *l != ALL)
            .collect();
        Err(ParamError::new(
            lang_param,
            format!("no {kind} list of language '{lang}' in {}", dir.display()),
        )
        .hint(format!("use one of {ALL}, {}", known.join(", "))))
    }

    /// How words are cut: at white space, or with `tokenization` by the SentencePiece model of
    /// `lang` in Data-Juicer's cache.
    ///
    /// # Errors
    /// If the model is absent or cannot be read.
    pub fn word_cutter(&self, lang: &str, tokenization: bool) -> Result<WordCutter, ParamError> {
        if !tokenization {
            return Ok(WordCutter::Separators);
        }
        Ok(WordCutter::SentencePiece {
            lang: lang.to_owned(),
            model: Box::new(self.sentence_piece(
                "tokenization",
                lang,
                ", or set tokenization: false",
            )?),
        })
    }

    /// The SentencePiece model of `lang` in Data-Juicer's cache. `param` is the parameter to blame,
    /// and `or` what else can be done about an absent model.
    ///
    /// # Errors
    /// If the model is absent or cannot be read.
    pub fn sentence_piece(
        &self,
        param: &str,
        lang: &str,
        or: &str,
    ) -> Result<SentencePiece, ParamError> {
        let what = format!("SentencePiece model of language '{lang}'");
        let name = format!("{lang}.sp.model");
        self.model(param, &what, &name, or, |file| SentencePiece::parse(&file))
    }

    /// The fastText model that tells languages, in Data-Juicer's cache. `param` is the parameter to
    /// blame.
    ///
    /// # Errors
    /// If the model is absent or cannot be read.
    pub fn language_model(&self, param: &str) -> Result<FastText, ParamError> {
        let what = "fastText model of languages";
        self.model(param, what, "lid.176.bin", "", |file| {
            FastText::parse(&file)
        })
    }

    /// The KenLM model of `lang` in Data-Juicer's cache. `param` is the parameter to blame.
    ///
    /// # Errors
    /// If the model is absent or cannot be read.
    pub fn ngram_model(&self, param: &str, lang: &str) -> Result<KenLm, ParamError> {
        let what = format!("KenLM model of language '{lang}'");
        let name = format!("{lang}.arpa.bin");
        self.model(param, &what, &name, "", KenLm::parse)
    }

    /// The model `name` in Data-Juicer's cache, read by `parse`.
    fn model<T, E: std::fmt::Display>(
        &self,
        param: &str,
        what: &str,
        name: &str,
        or: &str,
        parse: impl FnOnce(Vec<u8>) -> Result<T, E>,
    ) -> Result<T, ParamError> {
        let path = self.cached(&format!("models/{name}")).map_err(|e| {
            ParamError::new(param, format!("no {what}: tried {}", shown(&e.tried))).hint(format!(
                "download {DOWNLOADS}/models/{name} to that place{or}"
            ))
        })?;
        let broken = |e: &dyn std::fmt::Display| {
            ParamError::new(
                param,
                format!("cannot use the model {}: {e}", path.display()),
            )
            .hint(format!("download {DOWNLOADS}/models/{name} again"))
        };
        let file = self.read(&path).map_err(|e| broken(&e))?;
        parse(file).map_err(|e| broken(&e))
    }

    /// The Hugging Face tokenizer `name` (`owner/model`): a directory or `tokenizer.json` of that
    /// name where relative paths are looked for, then `models/` of Data-Juicer's cache, then
    /// Hugging Face's own cache beside Data-Juicer's. `param` is the parameter to blame.
    ///
    /// # Errors
    /// If it is absent or cannot be read.
    pub fn hf_tokenizer(&self, param: &str, name: &str) -> Result<Tokenizer, ParamError> {
        let path = self.find_tokenizer(name).map_err(|e| {
            ParamError::new(
                param,
                format!("no tokenizer '{name}': tried {}", shown(&e.tried)),
            )
            .hint(format!(
                "download https://huggingface.co/{name}/resolve/main/tokenizer.json to one of \
                 these places"
            ))
        })?;
        let broken = |e: &dyn std::fmt::Display| {
            ParamError::new(
                param,
                format!("cannot use the tokenizer {}: {e}", path.display()),
            )
            .hint("only the tokenizer.json of fast tokenizers can be read")
        };
        let file = self.read(&path).map_err(|e| broken(&e))?;
        let mut tokenizer = Tokenizer::from_bytes(&file).map_err(|e| broken(&e))?;
        // What the file says of cutting and padding is for training, not for counting.
        tokenizer.with_padding(None);
        let _ = tokenizer.with_truncation(None);
        Ok(tokenizer)
    }

    fn find_tokenizer(&self, name: &str) -> Result<PathBuf, AssetError> {
        const FILE: &str = "tokenizer.json";
        let mut tried = Vec::new();
        let direct = [
            self.resolve(&format!("{name}/{FILE}")),
            self.resolve(name)
                .ok()
                .filter(|path| path.is_file())
                .ok_or(AssetError { tried: Vec::new() }),
            self.cached(&format!("models/{name}/{FILE}")),
        ];
        for found in direct {
            match found {
                Ok(path) => return Ok(path),
                Err(e) => tried.extend(e.tried),
            }
        }
        let repository = format!("models--{}", name.replace('/', "--"));
        let hub = self
            .cache
            .as_deref()
            .and_then(Path::parent)
            .map(|home| home.join("huggingface/hub").join(&repository));
        if let Some(hub) = hub {
            if let Some(path) = newest_snapshot(&hub, FILE) {
                return Ok(path);
            }
            tried.push(hub.join("snapshots/*").join(FILE));
        }
        Err(AssetError { tried })
    }
}

/// The file in the snapshot that `refs/main` names, else in the first snapshot by name that has
/// it.
fn newest_snapshot(hub: &Path, file: &str) -> Option<PathBuf> {
    let snapshots = hub.join("snapshots");
    let main = std::fs::read_to_string(hub.join("refs/main")).ok();
    let main = main.map(|revision| snapshots.join(revision.trim()).join(file));
    if let Some(path) = main.filter(|path| path.is_file()) {
        return Some(path);
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(snapshots)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join(file)))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.into_iter().next()
}

/// A word of a command line.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    text: String,
    /// It names the program that is run.
    is_program: bool,
}

/// The words of a text for a shell, as far as they can be told without running it; names of files
/// that are written are left out.
fn words_of_script(script: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut text = String::new();
    let (mut is_program, mut is_written) = (true, false);
    let mut quote = None;
    for c in script.chars().chain(['\n']) {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ' | '\t' | '\n' | ';' | '|' | '&' | '(' | ')' | '<' | '>') => {
                if !text.is_empty() {
                    let text = std::mem::take(&mut text);
                    if !std::mem::take(&mut is_written) {
                        words.push(Word { text, is_program });
                    }
                    is_program = false;
                }
                match c {
                    '\n' | ';' | '|' | '&' | '(' => is_program = true,
                    '>' => is_written = true,
                    _ => {}
                }
            }
            (Some(_) | None, _) => text.push(c),
        }
    }
    words
}

/// Where the system would look for a program.
fn in_path(program: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .collect()
}

/// The JSON files whose name contains `kind`, by name.
fn list_files(dir: &Path, kind: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The ending counts with its case, as in Data-Juicer.
        if name.strip_suffix(".json").is_some() && name.contains(kind) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn shown(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "any cache directory (none is known)".into();
    }
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(dir: &Path) -> BuildContext {
        BuildContext {
            search: vec![dir.to_owned()],
            cache: Some(dir.join("cache")),
            ..BuildContext::default()
        }
    }

    #[test]
    fn programs_and_scripts_are_assets() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["clean.py", "words.txt", "log"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let noted = |command: &[&str]| {
            let context = context(dir.path());
            let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            context.note_command(&command);
            let opened = context.take_opened().into_iter();
            let names = opened.map(|asset| asset.path.file_name().unwrap().to_owned());
            names.collect::<Vec<_>>()
        };
        assert_eq!(
            noted(&["sh", "clean.py", "--words=words.txt", "no.txt", "sed"]),
            ["sh", "clean.py", "words.txt"]
        );
        assert_eq!(
            noted(&[
                "sh",
                "-c",
                "cat <words.txt | sed -u 's/log/x/' 'clean.py' 2>log"
            ]),
            ["sh", "cat", "words.txt", "sed", "clean.py"]
        );
        assert!(noted(&["no-such-program"]).is_empty());
    }

    #[test]
    fn lists_of_several_files_are_put_together() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(dir.path());
        let words = dir.path().join("words");
        std::fs::create_dir(&words).unwrap();
        let list = |lang| {
            context.word_list(
                "stopwords",
                ("stopwords_dir", Some("words")),
                ("lang", lang),
            )
        };
        let none = list("en").unwrap_err();
        assert!(none.message.contains("words") && none.hint.unwrap().contains("stopwords.json"));
        std::fs::write(
            words.join("a_stopwords.json"),
            r#"{"en": ["a"], "fr": ["le"]}"#,
        )
        .unwrap();
        std::fs::write(words.join("my_stopwords_2.json"), r#"{"en": ["the"]}"#).unwrap();
        std::fs::write(words.join("other.json"), "not read").unwrap();
        let english = list("en").unwrap();
        assert!(english.contains("a") && english.contains("the") && !english.contains("le"));
        assert!(list("all").unwrap().contains("le"));
        let unknown = list("xx").unwrap_err();
        assert_eq!(unknown.param.as_deref(), Some("lang"));
        assert_eq!(unknown.hint.as_deref(), Some("use one of all, en, fr"));
        std::fs::write(words.join("z_stopwords.json"), r#"{"all": ["x"], "en": 3}"#).unwrap();
        assert!(list("en").unwrap_err().message.contains("z_stopwords.json"));
    }

    #[test]
    fn every_file_that_is_read_is_listed_once() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(dir.path());
        for name in ["a_stopwords.json", "b_stopwords.json"] {
            std::fs::write(dir.path().join(name), r#"{"en": ["a"]}"#).unwrap();
        }
        let list = || context.word_list("stopwords", ("stopwords_dir", Some(".")), ("lang", "en"));
        assert!(list().is_ok() && list().is_ok());
        let opened = context.take_opened();
        let names: Vec<_> = opened.iter().map(|asset| asset.path.file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        for asset in &opened {
            assert_eq!(Asset::now(&asset.path).unwrap(), *asset);
            assert_eq!(asset.bytes, 13);
        }
        std::fs::write(&opened[0].path, r#"{"en": ["b"]}"#).unwrap();
        assert_ne!(Asset::now(&opened[0].path).unwrap(), opened[0]);
        assert_eq!(context.take_opened(), []);
        let json = serde_json::to_value(&opened[1]).unwrap();
        assert_eq!(serde_json::from_value::<Asset>(json).unwrap(), opened[1]);
    }

    #[test]
    fn an_absent_model_says_where_it_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(dir.path());
        let error = context.word_cutter("zh", true).unwrap_err();
        assert!(error.message.contains("models/zh.sp.model"), "{error:?}");
        assert!(context.word_cutter("zh", false).is_ok());
        let error = context
            .hf_tokenizer("tokenization", "owner/model")
            .unwrap_err();
        for place in [
            "owner/model/tokenizer.json",
            "cache/models/owner/model/tokenizer.json",
            "huggingface/hub/models--owner--model/snapshots",
        ] {
            assert!(error.message.contains(place), "{place}: {error:?}");
        }
    }
}
