//! Where the files of a model are.
//!
//! The order is Data-Juicer's: a folder of `DATA_JUICER_EXTERNAL_MODELS_HOME`, a folder of that
//! name, the cache of Hugging Face. Nothing is ever downloaded.

use std::path::{Path, PathBuf};

use crate::ModelError;

/// The places where models lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hub {
    /// The directory of models that Data-Juicer is told of.
    pub external: Option<PathBuf>,
    /// The cache of Hugging Face's hub.
    pub cache: Option<PathBuf>,
}

impl Hub {
    /// The places that the variables of an environment name.
    pub fn of_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let path = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let home = || path("HOME").map(|home| home.join(".cache"));
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| path("HF_HOME").map(|home| home.join("hub")))
            .or_else(|| {
                let cache = path("XDG_CACHE_HOME").or_else(home)?;
                Some(cache.join("huggingface/hub"))
            });
        Self {
            external: path("DATA_JUICER_EXTERNAL_MODELS_HOME"),
            cache,
        }
    }

    /// The folder of the model that a recipe calls `id`; `search` is where relative paths start.
    ///
    /// # Errors
    /// Where it was looked for, and the command that gets it.
    pub fn find(&self, id: &str, search: &[PathBuf]) -> Result<PathBuf, ModelError> {
        let mut tried = Vec::new();
        let mut bases: Vec<&Path> = self.external.iter().map(PathBuf::as_path).collect();
        bases.extend(search.iter().map(PathBuf::as_path));
        if search.is_empty() {
            bases.push(Path::new(""));
        }
        for base in bases {
            let folder = base.join(id);
            if folder.is_dir() {
                return Ok(folder);
            }
            if !tried.contains(&folder) {
                tried.push(folder);
            }
        }
        let is_id = is_hub_id(id);
        if let Some(repository) = self.cache.as_ref().filter(|_| is_id) {
            let repository = repository.join(format!("models--{}", id.replace('/', "--")));
            match snapshot(&repository) {
                Some(folder) => return Ok(folder),
                None => tried.push(repository),
            }
        }
        let tried: Vec<String> = tried
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let hint = if is_id {
            format!("get it with: hf download {id}")
        } else {
            "name a folder that is there, or the id of a model (owner/name)".to_owned()
        };
        let places = tried.join(", ");
        Err(ModelError::new(
            format!("no model '{id}': tried {places}"),
            hint,
        ))
    }
}

/// Whether `id` may be the name of a repository: at most one slash, and nothing of a path.
fn is_hub_id(id: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    id.split('/').count() <= 2 && id.split('/').all(plain)
}

/// The snapshot that `refs/main` of a repository names.
fn snapshot(repository: &Path) -> Option<PathBuf> {
    let commit = std::fs::read_to_string(repository.join("refs/main")).ok()?;
    let folder = repository.join("snapshots").join(commit.trim());
    folder.is_dir().then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_a_folder_or_lies_in_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap().to_owned();
        let hub = Hub::of_env(|name| (name == "HOME").then(|| home.clone()));
        let search = [dir.path().join("here")];
        let error = hub.find("org/clip", &search).unwrap_err();
        assert_eq!(error.hint, "get it with: hf download org/clip");
        assert!(error.message.contains("here/org/clip"), "{error}");
        assert!(error.message.contains("models--org--clip"), "{error}");
        let repository = dir.path().join(".cache/huggingface/hub/models--org--clip");
        std::fs::create_dir_all(repository.join("refs")).unwrap();
        std::fs::create_dir_all(repository.join("snapshots/abc")).unwrap();
        std::fs::write(repository.join("refs/main"), "abc\n").unwrap();
        assert_eq!(
            hub.find("org/clip", &search).unwrap(),
            repository.join("snapshots/abc")
        );
        std::fs::create_dir_all(search[0].join("org/clip")).unwrap();
        assert_eq!(
            hub.find("org/clip", &search).unwrap(),
            search[0].join("org/clip")
        );
        let error = hub.find("/no/such/folder", &search).unwrap_err();
        assert!(error.hint.contains("folder"), "{error:?}");
    }

    #[test]
    fn variables_are_taken_in_the_hubs_order() {
        let hub = |set: &'static [(&str, &str)]| {
            Hub::of_env(|name| {
                let found = set.iter().find(|(key, _)| *key == name)?;
                Some(found.1.to_owned())
            })
            .cache
        };
        assert_eq!(
            hub(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]),
            Some("/c".into())
        );
        assert_eq!(
            hub(&[("HF_HOME", "/h"), ("HOME", "/u")]),
            Some("/h/hub".into())
        );
        assert_eq!(
            hub(&[("HOME", "/u")]),
            Some("/u/.cache/huggingface/hub".into())
        );
        assert_eq!(hub(&[]), None);
    }
}
