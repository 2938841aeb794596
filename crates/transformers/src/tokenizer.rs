//! Tokenizers as transformers 4.57.1 loads its fast ones: from `tokenizer.json`, or from the older
//! vocabulary files, with what the configuration files beside them add.

use serde_json::{Map, Value, json};
use tokenizers::{AddedToken, Tokenizer as Inner, TruncationDirection, TruncationParams};

use crate::{ModelError, ModelFiles};

/// The token ids of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The ids, special ones included.
    pub ids: Vec<u32>,
    /// How many there would be if nothing had been cut off.
    pub untruncated: usize,
}

/// A model's tokenizer.
pub struct Tokenizer {
    inner: Inner,
    /// How many special tokens are put around a text.
    around: usize,
    model_max_length: Option<usize>,
    pad: u32,
    /// Whether spaces that tokens leave before marks are taken out of texts.
    cleans_up: bool,
}

const CONFIG: &str = "tokenizer_config.json";
const FAST: &str = "tokenizer.json";

/// The special tokens that have a name of their own.
const NAMED: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// What differs between the classes of tokenizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Clip,
    Bert,
    /// All there is to know stands in `tokenizer.json`.
    Other,
}

impl Class {
    fn defaults(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Clip => &[
                ("bos_token", "<|startoftext|>"),
                ("eos_token", "<|endoftext|>"),
                ("unk_token", "<|endoftext|>"),
                ("pad_token", "<|endoftext|>"),
            ],
            Self::Bert => &[
                ("unk_token", "[UNK]"),
                ("sep_token", "[SEP]"),
                ("pad_token", "[PAD]"),
                ("cls_token", "[CLS]"),
                ("mask_token", "[MASK]"),
            ],
            Self::Other => &[],
        }
    }
}

impl Tokenizer {
    /// The tokenizer of CLIP and OWL-ViT.
    ///
    /// # Errors
    /// If its files are missing or broken.
    pub fn clip(files: &ModelFiles<'_>) -> Result<Self, ModelError> {
        Self::read(files, Class::Clip)
    }

    /// The tokenizer of BERT and BLIP.
    ///
    /// # Errors
    /// If its files are missing or broken.
    pub fn bert(files: &ModelFiles<'_>) -> Result<Self, ModelError> {
        Self::read(files, Class::Bert)
    }

    /// The tokenizer that the model's files name.
    ///
    /// # Errors
    /// If its files are missing or broken, or it has no `tokenizer.json` and is not of CLIP or
    /// BERT.
    pub fn auto(files: &ModelFiles<'_>) -> Result<Self, ModelError> {
        let config = files.object(CONFIG)?.unwrap_or_default();
        let named = config.get("tokenizer_class").and_then(Value::as_str);
        if config.get("auto_map").is_some_and(|map| !map.is_null()) {
            return Err(ModelError::new(
                format!("{CONFIG}: `auto_map` names a tokenizer of the model's own code"),
                "use a model whose tokenizer is one of transformers' own",
            ));
        }
        let class = match named.map(|name| name.strip_suffix("Fast").unwrap_or(name)) {
            Some("CLIPTokenizer") => Class::Clip,
            Some("BertTokenizer") => Class::Bert,
            _ => Class::Other,
        };
        Self::read(files, class)
    }

    fn read(files: &ModelFiles<'_>, class: Class) -> Result<Self, ModelError> {
        let config = files.object(CONFIG)?.unwrap_or_default();
        let map = files.object("special_tokens_map.json")?.unwrap_or_default();
        let fast = files.object(FAST)?;
        let mut special = Special::of(class, &config, &map);
        if class == Class::Clip && fast.is_none() {
            special.normalize_words(&config, &map);
        }
        let description = match fast {
            Some(fast) if class == Class::Bert => with_bert_flags(fast, &config),
            Some(fast) => Value::Object(fast),
            None => match class {
                Class::Clip => clip_of_files(files, &special)?,
                Class::Bert => bert_of_files(files, &special, &config)?,
                Class::Other => return Err(files.lacks(FAST)),
            },
        };
        let broken = |error: &dyn std::fmt::Display| {
            ModelError::new(
                format!("{}: {error}", files.path(FAST).display()),
                "fetch the model's tokenizer again",
            )
        };
        let direction = direction_of(&description, &config);
        let bytes = serde_json::to_vec(&description).map_err(|e| broken(&e))?;
        let mut inner = Inner::from_bytes(bytes).map_err(|e| broken(&e))?;
        inner.with_padding(None);
        add_tokens(&mut inner, &special, &config);
        let around = inner
            .encode("", true)
            .map_err(|e| broken(&e))?
            .get_special_tokens_mask()
            .iter()
            .filter(|mask| **mask == 1)
            .count();
        let _ = inner.with_truncation(None);
        let pad = special
            .get("pad_token")
            .and_then(|token| inner.token_to_id(&token.content));
        let limit = config.get("model_max_length").and_then(Value::as_u64);
        let mut tokenizer = Self {
            inner,
            around,
            model_max_length: limit.and_then(|limit| usize::try_from(limit).ok()),
            pad: pad.unwrap_or(0),
            cleans_up: config.get("clean_up_tokenization_spaces") == Some(&Value::Bool(true)),
        };
        tokenizer.set_direction(direction);
        Ok(tokenizer)
    }

    /// The side that is cut is kept where the length will be set.
    fn set_direction(&mut self, direction: TruncationDirection) {
        let _ = self.inner.with_truncation(Some(TruncationParams {
            direction,
            max_length: usize::MAX,
            ..TruncationParams::default()
        }));
    }

    /// Cuts what is longer than `length` tokens, special ones included; `None` cuts nothing.
    ///
    /// # Errors
    /// If `length` has no room for the special tokens.
    pub fn truncated(mut self, length: Option<usize>) -> Result<Self, ModelError> {
        let direction = self
            .inner
            .get_truncation()
            .map_or(TruncationDirection::Right, |params| params.direction);
        let params = length.map(|max_length| TruncationParams {
            direction,
            max_length,
            ..TruncationParams::default()
        });
        self.inner.with_truncation(params).map_err(|error| {
            ModelError::new(
                format!(
                    "cannot cut texts to {} tokens: {error}",
                    length.unwrap_or(0)
                ),
                "use a model that takes longer texts",
            )
        })?;
        Ok(self)
    }

    /// The length to which the model's files say that texts are cut, if they say one.
    #[must_use]
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    /// The id of the padding token; 0 if there is none.
    #[must_use]
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// The ids of `text`.
    ///
    /// # Errors
    /// If the tokenizer cannot read it.
    pub fn encode(&self, text: &str) -> Result<Tokens, String> {
        let encoding = self.inner.encode(text, true).map_err(|e| e.to_string())?;
        let ids = encoding.get_ids().to_vec();
        let beyond = encoding.get_overflowing().iter();
        let beyond = beyond.map(|part| part.get_ids().len().saturating_sub(self.around));
        let untruncated = ids.len() + beyond.sum::<usize>();
        Ok(Tokens { ids, untruncated })
    }

    /// The text of `ids` without special tokens.
    ///
    /// # Errors
    /// If the tokenizer cannot put it together.
    pub fn decode(&self, ids: &[u32]) -> Result<String, String> {
        let text = self.inner.decode(ids, true).map_err(|e| e.to_string())?;
        Ok(if self.cleans_up {
            cleaned_up(&text)
        } else {
            text
        })
    }
}

/// A text without the spaces that stand before marks and English endings, as
/// `clean_up_tokenization_spaces` takes them out.
fn cleaned_up(text: &str) -> String {
    const ENDINGS: [(&str, &str); 10] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    let each = ENDINGS.into_iter();
    each.fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The special tokens with names, and others.
struct Special {
    named: Vec<(&'static str, AddedToken)>,
    others: Vec<AddedToken>,
}

impl Special {
    /// The class' own, unless a file has others; `tokenizer_config.json` wins.
    fn of(class: Class, config: &Map<String, Value>, map: &Map<String, Value>) -> Self {
        let mut named = Vec::new();
        for name in NAMED {
            let written = [config, map].into_iter().find_map(|file| file.get(name));
            let own = class.defaults().iter().find(|(key, _)| *key == name);
            let token = match written {
                Some(value) => added_token(value),
                None => own.map(|(_, content)| AddedToken::from(*content, true)),
            };
            named.extend(token.map(|token| (name, token)));
        }
        let lists = ["additional_special_tokens", "extra_special_tokens"];
        let others = lists
            .into_iter()
            .filter_map(|name| config.get(name).or_else(|| map.get(name)))
            .flat_map(|value| match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(items) => items.values().collect(),
                _ => Vec::new(),
            })
            .filter_map(added_token)
            .collect();
        Self { named, others }
    }

    /// CLIP's older class looks for its tokens in the normalised text, unless a file describes them
    /// by more than their words.
    fn normalize_words(&mut self, config: &Map<String, Value>, map: &Map<String, Value>) {
        for (name, token) in &mut self.named {
            let written = config.get(*name).or_else(|| map.get(*name));
            let by_class = matches!(*name, "bos_token" | "eos_token" | "unk_token");
            if by_class && !written.is_some_and(Value::is_object) {
                token.normalized = true;
            }
        }
    }

    fn get(&self, name: &str) -> Option<&AddedToken> {
        let found = self.named.iter().find(|(key, _)| *key == name);
        found.map(|(_, token)| token)
    }

    /// The text of a token that the class cannot do without.
    fn text(&self, name: &str) -> &str {
        self.get(name).map_or("", |token| token.content.as_str())
    }
}

/// A token as the files write it: its text, or an object.
fn added_token(value: &Value) -> Option<AddedToken> {
    match value {
        Value::String(content) => Some(AddedToken::from(content.clone(), true)),
        Value::Object(map) => {
            let content = map.get("content")?.as_str()?;
            let flag =
                |name: &str, default| map.get(name).and_then(Value::as_bool).unwrap_or(default);
            let special = flag("special", true);
            Some(
                AddedToken::from(content, special)
                    .single_word(flag("single_word", false))
                    .lstrip(flag("lstrip", false))
                    .rstrip(flag("rstrip", false))
                    .normalized(flag("normalized", !special)),
            )
        }
        _ => None,
    }
}

fn same(a: &AddedToken, b: &AddedToken) -> bool {
    let flags = |t: &AddedToken| (t.single_word, t.lstrip, t.rstrip, t.normalized, t.special);
    a.content == b.content && flags(a) == flags(b)
}

/// Adds what the configuration has beside `tokenizer.json`, in the order of transformers: first
/// the listed tokens that differ, by id, then special ones that no list has.
fn add_tokens(inner: &mut Inner, special: &Special, config: &Map<String, Value>) {
    let listed = config
        .get("added_tokens_decoder")
        .and_then(Value::as_object);
    let mut listed: Vec<(u32, AddedToken)> = listed
        .into_iter()
        .flatten()
        .filter_map(|(id, token)| Some((id.parse().ok()?, added_token(token)?)))
        .collect();
    listed.sort_by_key(|(id, _)| *id);
    let known = inner.get_added_tokens_decoder();
    let mut new: Vec<AddedToken> = Vec::new();
    for (_, token) in listed {
        if !known.values().any(|old| same(old, &token)) {
            new.push(token);
        }
    }
    let named = special.named.iter().map(|(_, token)| token);
    for token in named.chain(&special.others) {
        let is_there = |t: &AddedToken| t.content == token.content;
        if !known.values().any(is_there) && !new.iter().any(is_there) {
            new.push(token.clone());
        }
    }
    let is_special = |token: &AddedToken| {
        let named = special.named.iter().map(|(_, token)| token);
        let mut all = named.chain(&special.others);
        all.any(|special| special.content == token.content)
    };
    for token in &mut new {
        token.special = token.special || is_special(token);
    }
    if !new.is_empty() {
        inner.add_tokens(&new);
    }
}

fn direction_of(description: &Value, config: &Map<String, Value>) -> TruncationDirection {
    let in_file = description.pointer("/truncation/direction");
    let written = config.get("truncation_side").or(in_file);
    match written.and_then(Value::as_str) {
        Some(side) if side.eq_ignore_ascii_case("left") => TruncationDirection::Left,
        _ => TruncationDirection::Right,
    }
}

/// BERT's class sets these flags of the normalizer whatever the file says.
fn with_bert_flags(mut fast: Map<String, Value>, config: &Map<String, Value>) -> Value {
    let normalizer = fast.get_mut("normalizer").and_then(Value::as_object_mut);
    if let Some(normalizer) = normalizer {
        for (name, value) in bert_flags(config) {
            if normalizer.contains_key(name) {
                normalizer.insert(name.to_owned(), value);
            }
        }
    }
    Value::Object(fast)
}

fn bert_flags(config: &Map<String, Value>) -> [(&'static str, Value); 3] {
    let flag = |name: &str, default: Value| config.get(name).cloned().unwrap_or(default);
    [
        ("lowercase", flag("do_lower_case", true.into())),
        ("strip_accents", flag("strip_accents", Value::Null)),
        (
            "handle_chinese_chars",
            flag("tokenize_chinese_chars", true.into()),
        ),
    ]
}

fn text_file(files: &ModelFiles<'_>, name: &str) -> Result<String, ModelError> {
    let bytes = files.bytes(name)?.ok_or_else(|| files.lacks(name))?;
    String::from_utf8(bytes).map_err(|error| {
        ModelError::new(
            format!("{}: {error}", files.path(name).display()),
            "fetch the model's tokenizer again",
        )
    })
}

/// The ids of two tokens that stand around every text.
fn around(
    files: &ModelFiles<'_>,
    vocabulary: &Map<String, Value>,
    tokens: [&str; 2],
) -> Result<[Value; 2], ModelError> {
    let id = |token: &str| {
        let id = vocabulary.get(token).cloned();
        id.ok_or_else(|| files.lacks(&format!("'{token}' in its vocabulary")))
    };
    Ok([id(tokens[0])?, id(tokens[1])?])
}

/// The tokenizer that `vocab.json` and `merges.txt` make.
fn clip_of_files(files: &ModelFiles<'_>, special: &Special) -> Result<Value, ModelError> {
    /// Merges that CLIP reads: a vocabulary of 49,152 less bytes and special tokens.
    const MERGES: usize = 49_152 - 256 - 2;
    let vocabulary = files.required("vocab.json")?;
    let merges = text_file(files, "merges.txt")?;
    let merges: Vec<Vec<&str>> = merges
        .trim()
        .lines()
        .skip(1)
        .take(MERGES)
        .map(|line| line.split_whitespace().collect())
        .collect();
    let (bos, eos) = (special.text("bos_token"), special.text("eos_token"));
    let [bos_id, eos_id] = around(files, &vocabulary, [bos, eos])?;
    Ok(json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"},
                "behavior": "Removed",
                "invert": true,
            },
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": [eos, eos_id],
            "cls": [bos, bos_id],
            "trim_offsets": false,
            "add_prefix_space": false,
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": special.text("unk_token"),
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocabulary,
            "merges": merges,
        },
    }))
}

/// The tokenizer that `vocab.txt` makes.
fn bert_of_files(
    files: &ModelFiles<'_>,
    special: &Special,
    config: &Map<String, Value>,
) -> Result<Value, ModelError> {
    let words = text_file(files, "vocab.txt")?;
    let words = words.strip_suffix('\n').unwrap_or(&words);
    let lines = words.split('\n').enumerate();
    let vocabulary: Map<String, Value> = lines
        .map(|(id, word)| (word.trim_end_matches('\r').to_owned(), id.into()))
        .collect();
    let (cls, sep) = (special.text("cls_token"), special.text("sep_token"));
    let [cls_id, sep_id] = around(files, &vocabulary, [cls, sep])?;
    let mut normalizer = json!({"type": "BertNormalizer", "clean_text": true});
    if let Some(map) = normalizer.as_object_mut() {
        map.extend(bert_flags(config).map(|(name, value)| (name.to_owned(), value)));
    }
    Ok(json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": cls, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": sep, "type_id": 0}},
            ],
            "pair": [
                {"SpecialToken": {"id": cls, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": sep, "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
                {"SpecialToken": {"id": sep, "type_id": 1}},
            ],
            "special_tokens": {
                cls: {"id": cls, "ids": [cls_id], "tokens": [cls]},
                sep: {"id": sep, "ids": [sep_id], "tokens": [sep]},
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece",
            "unk_token": special.text("unk_token"),
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }))
}
