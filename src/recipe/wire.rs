//! How paths and places are written in the JSON form of a recipe.
//!
//! A path that is not UTF-8 has no text; it is written as its bytes, so that what is read back
//! is the same path and never another one.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::Validation;
use super::model::{Inputs, Of, OutputSpec, Sampler, Split, Target};
use crate::io::format::{ImageFiles, Options, OutputFormat};
use crate::io::paths::PathStyle;
use crate::io::{GivenRows, Source as _};
use crate::trainer::{CheckedFor, Template, TrainerRef};

/// What stands for standard input and standard output.
const DASH: &str = "-";

/// A path in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes { bytes: Vec<u8> },
}

impl From<&Path> for Written {
    fn from(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes {
                bytes: path.as_os_str().as_bytes().to_vec(),
            },
        }
    }
}

impl From<Written> for PathBuf {
    fn from(written: Written) -> Self {
        match written {
            Written::Text(text) => text.into(),
            Written::Bytes { bytes } => OsString::from_vec(bytes).into(),
        }
    }
}

/// `Option<PathBuf>`.
pub mod optional {
    use super::{Deserialize, Deserializer, PathBuf, Serialize, Serializer, Written};

    /// A path, or null.
    ///
    /// # Errors
    /// Those of the serializer.
    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        path.as_deref().map(Written::from).serialize(to)
    }

    /// A path, or null.
    ///
    /// # Errors
    /// If it is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<Written>::deserialize(from)?.map(Into::into))
    }
}

/// `Vec<PathBuf>`.
pub mod list {
    use super::{Deserialize, Deserializer, PathBuf, Serializer, Written};

    /// A list of paths.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(paths.iter().map(|path| Written::from(path.as_path())))
    }

    /// A list of paths.
    ///
    /// # Errors
    /// If it is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
        let paths = Vec::<Written>::deserialize(from)?;
        Ok(paths.into_iter().map(Into::into).collect())
    }
}

impl Serialize for Inputs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Stdin => [DASH].serialize(to),
            Self::Files(files) => list::serialize(files, to),
            Self::Given(rows) => WrittenInputs::Given { given: rows.name() }.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let files = match WrittenInputs::deserialize(from)? {
            WrittenInputs::Given { given } => return Ok(Self::Given(GivenRows::gone(&given))),
            WrittenInputs::Files(files) => files,
        };
        let files: Vec<PathBuf> = files.into_iter().map(Into::into).collect();
        Ok(match files.as_slice() {
            [one] if one.as_os_str() == DASH => Self::Stdin,
            _ => Self::Files(files),
        })
    }
}

/// Inputs in JSON; rows that a caller handed in are gone when it is read back.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenInputs {
    Given { given: String },
    Files(Vec<Written>),
}

/// An output in JSON: what only its format knows stands beside what all outputs have.
#[derive(Serialize, Deserialize)]
pub struct Output {
    format: OutputFormat,
    path: Target,
    paths: PathStyle,
    validate: Validation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<Of>,
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    split_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    per_input: Option<bool>,
    sample: Option<u64>,
    seed: u64,
    sampler: Sampler,
    shuffle: bool,
    shard_size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard_rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_files: Option<ImageFiles>,
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    trainer: Option<TrainerRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template: Option<Template>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional")]
    tokenizer: Option<PathBuf>,
    #[serde(flatten)]
    options: Map<String, Value>,
}

impl From<OutputSpec> for Output {
    fn from(spec: OutputSpec) -> Self {
        Self {
            format: spec.format,
            path: spec.target,
            paths: spec.paths,
            validate: spec.validate,
            of: Some(spec.of).filter(|of| *of != Of::Kept),
            condition: spec.condition,
            per_input: (spec.split == Some(Split::Input)).then_some(true),
            split_by: match spec.split {
                Some(Split::Field(field)) => Some(field),
                _ => None,
            },
            sample: spec.sample,
            seed: spec.seed,
            sampler: spec.sampler,
            shuffle: spec.shuffle,
            shard_size: spec.shard_size,
            shard_rows: spec.shard_rows,
            image_files: Some(spec.images)
                .filter(|images| Some(images) != spec.format.images.first()),
            trainer: spec.checked.as_ref().map(|it| it.trainer),
            template: spec.checked.as_ref().map(|it| it.template),
            max_tokens: spec.checked.as_ref().and_then(|it| it.max_tokens),
            tokenizer: spec.checked.and_then(|it| it.tokenizer),
            options: spec.options.to_json(),
        }
    }
}

impl TryFrom<Output> for OutputSpec {
    type Error = String;

    fn try_from(output: Output) -> Result<Self, String> {
        Ok(Self {
            format: output.format,
            target: output.path,
            paths: output.paths,
            validate: output.validate,
            of: output.of.unwrap_or(Of::Kept),
            condition: output.condition,
            split: match (output.split_by, output.per_input) {
                (Some(field), _) => Some(Split::Field(field)),
                (None, Some(true)) => Some(Split::Input),
                _ => None,
            },
            sample: output.sample,
            seed: output.seed,
            sampler: output.sampler,
            shuffle: output.shuffle,
            shard_size: output.shard_size,
            shard_rows: output.shard_rows,
            images: output
                .image_files
                .or(output.format.images.first().copied())
                .unwrap_or(ImageFiles::Path),
            checked: output.trainer.map(|trainer| CheckedFor {
                template: output.template.unwrap_or(Template::V1),
                max_tokens: output.max_tokens,
                tokenizer: output.tokenizer,
                ..CheckedFor::new(trainer)
            }),
            options: Options::from_json(output.format.options, output.options)?,
            line: 0,
        })
    }
}

/// A target in JSON: what was a stream when the recipe was checked is one when it is read back.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenTarget {
    Stream { stream: Written },
    Caller { caller: bool },
    File(Written),
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Stdout => DASH.serialize(to),
            Self::Caller => WrittenTarget::Caller { caller: true }.serialize(to),
            Self::Stream(path) => WrittenTarget::Stream {
                stream: path.as_path().into(),
            }
            .serialize(to),
            Self::File(path) => WrittenTarget::File(path.as_path().into()).serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match WrittenTarget::deserialize(from)? {
            WrittenTarget::Stream { stream } => Self::Stream(stream.into()),
            WrittenTarget::Caller { .. } => Self::Caller,
            WrittenTarget::File(path) => match PathBuf::from(path) {
                path if path.as_os_str() == DASH => Self::Stdout,
                path => Self::File(path),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_as_they_were() {
        let odd = PathBuf::from(OsString::from_vec(b"/data/\xff.jsonl".to_vec()));
        for inputs in [
            Inputs::Stdin,
            Inputs::Files(Vec::new()),
            Inputs::Files(vec!["/a/b.jsonl".into(), odd.clone()]),
        ] {
            let json = serde_json::to_value(&inputs).unwrap();
            assert_eq!(serde_json::from_value::<Inputs>(json).unwrap(), inputs);
        }
        for target in [
            Target::Stdout,
            Target::File("/o.json".into()),
            Target::Stream("/dev/null".into()),
            Target::Caller,
            Target::File(odd),
        ] {
            let json = serde_json::to_value(&target).unwrap();
            assert_eq!(serde_json::from_value::<Target>(json).unwrap(), target);
        }
        assert_eq!(serde_json::to_value(Target::Stdout).unwrap(), "-");
        assert!(serde_json::from_str::<Inputs>("3").is_err());
    }
}
