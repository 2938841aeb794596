//! Recipes: YAML in, a checked [`Recipe`] out, or every problem at once.
//!
//! The only module that knows YAML. It resolves names, defaults and paths and builds the
//! operators; it neither reads rows nor prints.

mod candidates;
mod fused;
mod hub;
mod inputs;
mod keys;
mod load;
mod model;
mod nearest;
mod outputs;
mod patterns;
pub mod peer_ops;
mod peers;
mod problem;
mod process;
mod remote;
mod results;
mod schema;
mod wire;
mod write;
mod yaml;

use std::path::PathBuf;
use std::rc::Rc;

pub use fused::{FUSED, LIST as FUSED_LIST};
pub use inputs::{Found, find_inputs};
pub use keys::{BASE_KEYS, BaseKey, KEYS, KeyDef, Kind, Role, parse_size};
pub use load::load;
pub use model::{
    CompatStats, FormatVersion, Inputs, Of, OnError, OutputSpec, QuarantineLimit, Recipe,
    RecipeSpec, Sampler, Share, Split, Step, StepSpec, Target, Tracer,
};
pub use nearest::nearest;
pub use outputs::{
    OutputKey, PathProblem, check_document, check_local, check_named, check_path, check_plain,
    check_writable, format_of_name, is_packed, output_keys, unread,
};
pub use peers::PeerKeys;
pub use problem::{Problem, Problems};
pub use results::{CacheTrust, ResultKeys};
pub use schema::ParamSchema;
pub use write::{Comments, scalar};

use crate::op::Peers;

/// How image paths are written.
pub use crate::io::paths::PathStyle;
/// How far images are checked before a row is written.
pub use crate::sample::ImageCheck as Validation;

/// Where a recipe comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum RecipeSource {
    /// A file; relative paths in it are looked for in its directory first.
    File(PathBuf),
    /// Text, with the name that problems show.
    Text {
        /// Shown in problems.
        name: String,
        /// The YAML.
        text: String,
    },
    /// A value in the shape of a recipe, with the name that problems show.
    Value {
        /// Shown in problems.
        name: String,
        /// The keys of the recipe.
        value: serde_json::Value,
    },
}

/// Looks a variable up by its name.
pub type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// What the command line adds to a recipe.
pub struct LoadOptions {
    /// `--set key=value`, in order; later ones win. Values are read as YAML.
    pub sets: Vec<(String, String)>,
    /// `--input`: replaces `dataset_path` and `dataset`.
    pub input: Option<Inputs>,
    /// `--output`: replaces `export_path`; `outputs` are written as well.
    pub output: Option<Target>,
    /// The working directory.
    pub cwd: PathBuf,
    /// The directory that a recipe given as text stands in; by default the working directory.
    pub dir: Option<PathBuf>,
    /// Looks a variable up for `${NAME}`.
    pub env: Lookup,
    /// Who knows the operators of Data-Juicer that djr lacks; without, they are refused.
    pub peers: Option<Rc<dyn Peers>>,
    /// Leave `reference` of deduplicators out: an index that it names is about to be made.
    pub without_references: bool,
    /// `--max-memory` in bytes: replaces `max_memory`.
    pub max_memory: Option<u64>,
}

impl LoadOptions {
    /// Nothing overridden, variables from the process environment.
    #[must_use]
    pub fn new(cwd: impl Into<PathBuf>) -> Self {
        Self {
            sets: Vec::new(),
            input: None,
            output: None,
            cwd: cwd.into(),
            dir: None,
            env: Box::new(|name| std::env::var(name).ok()),
            peers: None,
            max_memory: None,
            without_references: false,
        }
    }
}

#[cfg(test)]
mod tests;

/// The message and hint for an operator name that djr does not know.
#[must_use]
pub fn unknown_operator(name: &str) -> (String, Option<String>) {
    let issue = process::unknown_operator(
        name,
        yaml::Pos {
            source: 0,
            line: 0,
            column: 0,
        },
    );
    (issue.message, issue.hint)
}
