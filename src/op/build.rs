//! What an operator is given while it is built from its parameters.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::assets::Asset;
use super::choice::Choice;
use super::from_data::{DataBound, DataLimit, Keep};
use super::{EndpointSettings, ModelSettings};
use crate::sample::FieldPath;
use crate::text::strip;
use crate::transformers::Hub;

/// Parameters that every operator accepts, already merged with the recipe's global keys.
#[derive(Debug, Clone)]
pub struct BaseParams {
    /// The text field (`text_key`, else the first of `text_keys`).
    pub text_key: FieldPath,
    /// The field of image paths (`image_key`).
    pub image_key: FieldPath,
    /// Filters: the lower bound is inclusive.
    pub min_closed_interval: bool,
    /// Filters: the upper bound is inclusive.
    pub max_closed_interval: bool,
    /// Filters: keep what lies outside of the range.
    pub reversed_range: bool,
    /// Filters: bounds that come from the data, in place of the parameters of their names.
    pub from_data: Vec<DataBound>,
    /// Filters: keep only the best of the rows that pass.
    pub keep: Option<Keep>,
    /// Deduplicators: which of rows that are the same stays, and what it takes over.
    pub choice: Choice,
    /// What random draws of this step start from: the recipe's `seed`, mixed with the operator's
    /// name and how many steps of that name stand before it.
    pub draw: u64,
}

impl BaseParams {
    /// Parameters of every filter that say which values are kept, besides bounds.
    pub const RANGE_FLAGS: [&'static str; 3] = [
        "min_closed_interval",
        "max_closed_interval",
        "reversed_range",
    ];

    /// The place in the data that the bound `param` is taken from, if it is.
    #[must_use]
    pub fn data_limit(&self, param: &str) -> Option<DataLimit> {
        let mut bounds = self.from_data.iter();
        let bound = bounds.find(|bound| bound.param == param)?;
        Some(bound.limit)
    }

    /// Whether a filter with these parameters takes a bound from rows that reach filters before it.
    #[must_use]
    pub fn looks_at_all(&self) -> bool {
        self.from_data.iter().any(|bound| bound.limit.of_all)
    }

    /// Whether a filter or deduplicator with these parameters must see every row before it can decide.
    #[must_use]
    pub fn sees_all_rows(&self) -> bool {
        self.keep.is_some() || !self.from_data.is_empty() || self.choice.sees_all_rows()
    }
}

impl Default for BaseParams {
    fn default() -> Self {
        Self {
            text_key: "text".into(),
            image_key: "images".into(),
            min_closed_interval: true,
            max_closed_interval: true,
            reversed_range: false,
            from_data: Vec::new(),
            keep: None,
            choice: Choice::default(),
            draw: 42,
        }
    }
}

/// A problem with one parameter (or, with no name, with their combination).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamError {
    /// The parameter at fault.
    pub param: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ParamError {
    /// `message` about `param`.
    pub fn new(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<ParamError> for Vec<ParamError> {
    fn from(problem: ParamError) -> Self {
        vec![problem]
    }
}

/// Collects the problems of several parameters, so that one build reports them all.
#[derive(Debug, Default)]
pub struct Problems(Vec<ParamError>);

impl Problems {
    /// The value, or `None` after noting why there is none.
    pub fn keep<T>(&mut self, result: Result<T, impl Into<Vec<ParamError>>>) -> Option<T> {
        result.map_err(|problem| self.0.extend(problem.into())).ok()
    }
}

impl From<Problems> for Vec<ParamError> {
    fn from(problems: Problems) -> Self {
        problems.0
    }
}

/// A count that must be at least 1.
///
/// # Errors
/// If it is less.
pub fn positive(param: &str, value: i64) -> Result<usize, ParamError> {
    usize::try_from(value)
        .ok()
        .filter(|&value| value > 0)
        .ok_or_else(|| {
            ParamError::new(param, format!("{param} is {value}"))
                .hint("give a whole number of at least 1")
        })
}

/// An asset (word list, tokenizer, model) that is not where it was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetError {
    /// The places that were tried.
    pub tried: Vec<PathBuf>,
}

/// What stands for other things in texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialTokens {
    /// For an image (`image_special_token`).
    pub image: String,
    /// For a sound.
    pub audio: String,
    /// For a video.
    pub video: String,
    /// For the end of a chunk (`eoc_special_token`).
    pub eoc: String,
}

impl Default for SpecialTokens {
    fn default() -> Self {
        Self {
            image: "<__dj__image>".to_owned(),
            audio: "<__dj__audio>".to_owned(),
            video: "<__dj__video>".to_owned(),
            eoc: "<|__dj__eoc|>".to_owned(),
        }
    }
}

impl SpecialTokens {
    /// `text` without them, white space cut off its ends each time.
    #[must_use]
    pub fn removed_from(&self, text: &str) -> String {
        let tokens = [&self.image, &self.audio, &self.video, &self.eoc];
        let mut text = text.to_owned();
        for token in tokens.into_iter().filter(|token| !token.is_empty()) {
            if text.contains(token.as_str()) {
                text = text.replace(token.as_str(), "");
            }
            let kept = strip(&text);
            if kept.len() < text.len() {
                text = kept.to_owned();
            }
        }
        text
    }
}

/// What an operator may use while it is built.
#[derive(Debug, Clone, Default)]
pub struct BuildContext {
    /// Parameters common to all operators.
    pub base: BaseParams,
    /// The recipe's directory, then the working directory: where relative paths are looked for.
    pub search: Vec<PathBuf>,
    /// Data-Juicer's cache directory (`DATA_JUICER_CACHE_HOME`, else `~/.cache/data_juicer`).
    pub cache: Option<PathBuf>,
    /// The directories of `NLTK_DATA`.
    pub nltk_data: Vec<PathBuf>,
    /// How models are run.
    pub models: ModelSettings,
    /// What is said of servers.
    pub servers: EndpointSettings,
    /// Where models are.
    pub hub: Hub,
    /// What stands for other things in texts.
    pub special_tokens: SpecialTokens,
    /// `max_memory` in bytes, if it is given.
    pub max_memory: Option<u64>,
    /// What the operator that is being built has opened.
    pub(super) opened: RefCell<Vec<Asset>>,
}

impl BuildContext {
    /// A context with these parameters, search path and cache directory.
    #[must_use]
    pub fn new(base: BaseParams, search: Vec<PathBuf>, cache: Option<PathBuf>) -> Self {
        Self {
            base,
            search,
            cache,
            nltk_data: Vec::new(),
            models: ModelSettings::default(),
            servers: EndpointSettings::default(),
            hub: Hub::default(),
            special_tokens: SpecialTokens::default(),
            max_memory: None,
            opened: RefCell::default(),
        }
    }

    /// The first existing path that `written` may mean.
    ///
    /// # Errors
    /// All places tried, if none exists.
    pub fn resolve(&self, written: &str) -> Result<PathBuf, AssetError> {
        let path = Path::new(written);
        let mut tried = Vec::new();
        for base in &self.search {
            let candidate = base.join(path);
            if candidate.exists() {
                return Ok(candidate);
            }
            if !tried.contains(&candidate) {
                tried.push(candidate);
            }
        }
        if self.search.is_empty() {
            if path.exists() {
                return Ok(path.to_owned());
            }
            tried.push(path.to_owned());
        }
        Err(AssetError { tried })
    }

    /// The file or directory `relative` of Data-Juicer's cache (`assets`, `models/en.sp.model`).
    ///
    /// # Errors
    /// The place tried, if it does not exist.
    pub fn cached(&self, relative: &str) -> Result<PathBuf, AssetError> {
        match self.cache.as_ref().map(|dir| dir.join(relative)) {
            Some(path) if path.exists() => Ok(path),
            other => Err(AssetError {
                tried: other.into_iter().collect(),
            }),
        }
    }
}
