//! Finding a model and saying how it is run.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::op::{BuildContext, Dtype, Element, Head, ModelService, ParamError, Service, Tensor};
use crate::transformers::{ModelError, ModelFiles, Table};

/// The name of a table of shades among the options of a model.
const TABLE: &str = "table";

fn param_error(param: &str, error: ModelError) -> ParamError {
    ParamError::new(param, error.message).hint(error.hint)
}

/// Refuses `trust_remote_code: true`.
///
/// # Errors
/// If it is true.
pub fn own_code_only(trust_remote_code: bool) -> Result<(), ParamError> {
    if !trust_remote_code {
        return Ok(());
    }
    let message = "code that comes with a model is not run";
    Err(ParamError::new("trust_remote_code", message)
        .hint("set trust_remote_code: false and name a model of one of transformers' own classes"))
}

/// Finds the model `id` that `param` names and has `read` look at its files. Those that are read,
/// and its weights, are listed among the files that the operator opened.
///
/// # Errors
/// If it is not there, or `read` refuses it.
pub fn open<T>(
    context: &BuildContext,
    param: &str,
    id: &str,
    read: impl FnOnce(&ModelFiles<'_>) -> Result<T, ModelError>,
) -> Result<(PathBuf, T), ParamError> {
    let found = context.hub.find(id, &context.search);
    let folder = found.map_err(|error| param_error(param, error))?;
    let reader = |path: &Path| context.read(path);
    let files = ModelFiles::new(&folder, &reader);
    let what = read(&files).map_err(|error| param_error(param, error))?;
    let weights = files.weights().map_err(|error| param_error(param, error))?;
    for path in weights {
        context.note_file(&path).map_err(|error| {
            let message = format!("cannot read {}: {error}", path.display());
            ParamError::new(param, message).hint("make the file readable")
        })?;
    }
    Ok((folder, what))
}

/// The model `id` in `dir`, run by the worker's class `class`.
#[must_use]
pub fn service(
    context: &BuildContext,
    (id, dir): (&str, PathBuf),
    class: &str,
    heads: Vec<Head>,
    table: Option<&Table>,
) -> ModelService {
    let mut options = Map::new();
    if let Some(table) = table {
        let shades = |channel: &[f32; 256]| Value::from(channel.map(f64::from).to_vec());
        options.insert(TABLE.to_owned(), table.iter().map(shades).collect());
    }
    let dtype: Dtype = context.models.dtype;
    ModelService {
        model: id.to_owned(),
        dir,
        class: class.to_owned(),
        dtype,
        heads,
        options,
    }
}

/// The head `name` of `inputs`, each a name, its elements and its shape.
#[must_use]
pub fn head(
    context: &BuildContext,
    name: &'static str,
    inputs: &[(&'static str, Element, &[usize])],
    output: Option<Vec<usize>>,
) -> Head {
    let inputs = inputs.iter().map(|(name, dtype, shape)| Tensor {
        name,
        dtype: *dtype,
        shape: shape.to_vec(),
    });
    Head {
        name,
        batch: context.models.batch.max(1),
        inputs: inputs.collect(),
        output,
    }
}

/// As [`Service::Model`].
impl From<ModelService> for Service {
    fn from(model: ModelService) -> Self {
        Self::Model(model)
    }
}
