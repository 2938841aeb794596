//! NLTK's data, where NLTK and Data-Juicer keep it.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::op::{BuildContext, ParamError};
use crate::text::punkt::Punkt;

/// Where NLTK's packages come from.
const PACKAGES: &str = "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages";

/// The directory of `resource` (`tokenizers/punkt_tab/english`) in NLTK's data: an `nltk_data` beside
/// the recipe, a directory of `NLTK_DATA`, or one of the usual places.
///
/// # Errors
/// All places tried, if none has it.
pub fn place(resource: &str, context: &BuildContext) -> Result<PathBuf, Vec<PathBuf>> {
    let relative = format!("nltk_data/{resource}");
    let mut tried = match context.resolve(&relative) {
        Ok(found) => return Ok(found),
        Err(e) => e.tried,
    };
    let named = context.nltk_data.iter().map(|dir| dir.join(resource));
    // The cache is ~/.cache/data_juicer, and NLTK's usual place is ~/nltk_data.
    let above = context
        .cache
        .iter()
        .flat_map(|cache| cache.ancestors().take(3));
    let system = ["/usr/local/share", "/usr/share"].map(Path::new);
    let usual = above.chain(system).map(|dir| dir.join(&relative));
    for candidate in named.chain(usual) {
        if candidate.is_dir() {
            return Ok(candidate);
        }
        tried.push(candidate);
    }
    Err(tried)
}

/// The directory of `resource` in the directory that the parameter `param` names, or in NLTK's own.
///
/// # Errors
/// If it is not there; says where it was looked for and where it comes from.
pub fn find(
    param: &str,
    written: Option<&str>,
    resource: &str,
    context: &BuildContext,
) -> Result<PathBuf, ParamError> {
    let found = match written {
        Some(written) => {
            let found = context.resolve(&format!("{written}/{resource}"));
            found.map_err(|e| e.tried)
        }
        None => place(resource, context),
    };
    found.map_err(|tried| {
        let message = format!("no {resource} of NLTK: tried {}", shown(&tried));
        ParamError::new(param, message).hint(format!(
            "get it with: python -m nltk.downloader {}, or unpack {PACKAGES}/{}.zip there",
            package(resource),
            archive(resource)
        ))
    })
}

/// The tables of sentences of `language`.
///
/// # Errors
/// If they are not there, or cannot be read.
pub fn punkt(
    param: &str,
    written: Option<&str>,
    language: &str,
    context: &BuildContext,
) -> Result<Punkt, ParamError> {
    let resource = format!("tokenizers/punkt_tab/{language}");
    let folder = find(param, written, &resource, context)?;
    read_punkt(&folder, context).map_err(|(path, error)| broken(param, &path, &resource, &error))
}

/// The tables of sentences in `folder`.
///
/// # Errors
/// Which one cannot be read, and why.
pub fn read_punkt(folder: &Path, context: &BuildContext) -> Result<Punkt, (PathBuf, String)> {
    let read = |name: &str| {
        let path = folder.join(name);
        let text = context.read_text(&path);
        text.map_err(|error| (path, error.to_string()))
    };
    Punkt::parse(
        &read("abbrev_types.txt")?,
        &read("collocations.tab")?,
        &read("sent_starters.txt")?,
        &read("ortho_context.tab")?,
    )
    .map_err(|error| (folder.to_owned(), error))
}

/// A file of `resource` that cannot be used.
pub fn broken(param: &str, path: &Path, resource: &str, error: &dyn Display) -> ParamError {
    let message = format!("cannot read {}: {error}", path.display());
    ParamError::new(param, message).hint(format!(
        "get it again with: python -m nltk.downloader {}",
        package(resource)
    ))
}

/// Places that were tried, for a person.
#[must_use]
pub fn shown(tried: &[PathBuf]) -> String {
    let tried: Vec<String> = tried
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    tried.join(", ")
}

/// `tokenizers/punkt_tab` of `tokenizers/punkt_tab/english`.
fn archive(resource: &str) -> &str {
    let mut slashes = resource.match_indices('/');
    let end = slashes.nth(1).map_or(resource.len(), |(at, _)| at);
    resource.get(..end).unwrap_or(resource)
}

/// `punkt_tab` of `tokenizers/punkt_tab/english`.
fn package(resource: &str) -> &str {
    resource.split('/').nth(1).unwrap_or(resource)
}
