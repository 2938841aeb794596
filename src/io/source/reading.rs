//! How inputs are read: what a recipe's `input` says, and what it calls its fields.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sample::words;

words! {
    /// What becomes of an input that is cut off or damaged.
    #[derive(Default, JsonSchema)]
    OnBrokenInput {
        /// The run stops, with the rows before it and nothing under a final name.
        #[default]
        Fail = "fail",
        /// The rest of the input is one record of the quarantine, and the run goes on.
        Quarantine = "quarantine",
    }
}

/// What a recipe's `input` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputSpec {
    /// The format of all inputs; none: what each one's content says.
    pub format: Option<String>,
    /// The columns that are read; none: all.
    pub columns: Option<Vec<String>>,
    /// The field that the text of a row is taken from, such as `json.caption`.
    pub text_from: Option<String>,
    /// The column that the images of a row are taken from.
    pub images_from: Option<String>,
    /// Hidden files of directories are read, too.
    pub hidden: bool,
    /// What becomes of a damaged input.
    pub on_broken_input: OnBrokenInput,
    /// What separates the cells of a csv file, if not a comma (or a tab in a tsv).
    pub delimiter: Option<char>,
    /// The cells of csv files get the types that pandas infers, instead of being texts.
    pub infer_types: bool,
}

impl InputSpec {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How an input is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What the recipe says of it.
    pub spec: InputSpec,
    /// The field of the text.
    pub text_key: String,
    /// The field of the images.
    pub image_key: String,
    /// The field of images as bytes, in column files.
    pub image_bytes_key: String,
    /// What stands for an image in a text.
    pub image_token: String,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            spec: InputSpec::default(),
            text_key: "text".into(),
            image_key: "images".into(),
            image_bytes_key: "image_bytes".into(),
            image_token: "<__dj__image>".into(),
        }
    }
}
