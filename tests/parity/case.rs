//! Recorded cases: where they lie, how they are read, and what their placeholders mean.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use djr::op::{BaseParams, BuildContext, Family};
use djr::sample::ImageContext;
use md5::{Digest as _, Md5};
use serde_json::{Map, Value};

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of cases, one sub-folder an operator.
pub struct Suite {
    /// Put before `operator/case` in names: empty for the cases of the repository.
    pub prefix: &'static str,
    folder: PathBuf,
    /// Where relative image paths and assets start.
    root: PathBuf,
    cache: Option<PathBuf>,
    placeholders: Vec<(&'static str, PathBuf)>,
}

impl Suite {
    /// The cases kept in the repository.
    pub fn golden() -> Self {
        Self {
            prefix: "",
            folder: repository().join("fixtures/golden"),
            root: repository().to_owned(),
            cache: Some(repository().join("fixtures/cache")),
            placeholders: Vec::new(),
        }
    }

    /// The cases of the shared folder.
    pub fn shared(folder: &Path) -> Self {
        let peer = folder.join("peer");
        let cases = peer.join("cases");
        let assets = peer.join("assets");
        Self {
            prefix: "shared/",
            root: cases.join("_tests_data"),
            cache: Some(assets.join("cache")),
            placeholders: vec![
                ("{cases}", cases.clone()),
                ("{tests_root}", cases.join("_tests_data")),
                ("{assets}", assets),
            ],
            folder: cases,
        }
    }

    /// Operators of `family` that have cases, by name.
    pub fn operators(&self, family: Family) -> Vec<String> {
        let suffix = format!("_{family}");
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        let mut names: Vec<_> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.trim_end_matches("_with_uid").ends_with(&suffix))
            .collect();
        names.sort();
        names
    }

    /// The case files of `operator`, by name.
    pub fn cases(&self, operator: &str) -> BTreeMap<String, PathBuf> {
        let entries = std::fs::read_dir(self.folder.join(operator))
            .into_iter()
            .flatten();
        entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .filter_map(|path| {
                let stem = path.file_stem()?.to_str()?;
                Some((format!("{}{operator}/{stem}", self.prefix), path.clone()))
            })
            .collect()
    }

    /// Whether a case called `name` would lie here.
    pub fn owns(&self, name: &str) -> bool {
        name.starts_with("shared/") == (self.prefix == "shared/")
    }

    /// Whether the case called `name` exists.
    pub fn has(&self, name: &str) -> bool {
        let relative = name.strip_prefix(self.prefix).unwrap_or(name);
        self.folder.join(format!("{relative}.json")).exists()
    }

    /// Reads the case in `path`.
    pub fn read(&self, path: &Path) -> Result<Case, String> {
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        let mut value: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let damaged = damaged_rows(&value);
        self.resolve(&mut value);
        let Value::Object(fields) = value else {
            return Err("a case is a JSON object".to_owned());
        };
        let copies = fields.get("output_files").cloned();
        let mut case = Case::new(fields)?;
        if let Some(copies) = copies {
            case.produced = Some(self.produced(&copies, case.output.as_deref())?);
        }
        case.replayable &= case.input.is_empty() || damaged.len() < case.input.len();
        case.damaged = damaged;
        Ok(case)
    }

    /// Digests of files that an operator made, from copies of them.
    fn produced(&self, copies: &Value, output: Option<&[Value]>) -> Result<Vec<Vec<Made>>, String> {
        let made = |image: &Value| {
            let copy = copies.get(image.as_str()?)?.get("copy")?.as_str()?;
            Some(self.folder.join("image_blur_mapper").join(copy))
        };
        let of_row = |row: &Value| {
            let images = row.get("images").and_then(Value::as_array);
            let copies = images.into_iter().flatten().filter_map(made);
            copies
                .map(|path| Made::of(&std::fs::read(&path).map_err(|e| e.to_string())?))
                .collect()
        };
        output.unwrap_or_default().iter().map(of_row).collect()
    }

    /// A path as it is recorded: below the suite's root it is relative.
    pub fn recorded_path(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.root.display()), "")
    }

    /// What operators are built with.
    pub fn build_context(&self, base: BaseParams) -> BuildContext {
        BuildContext::new(base, vec![self.root.clone()], self.cache.clone())
    }

    /// How images are found.
    pub fn image_context(&self, base: &BaseParams) -> Arc<ImageContext> {
        Arc::new(ImageContext {
            image_key: base.image_key.as_str().to_owned(),
            roots: vec![self.root.clone()],
            ..ImageContext::default()
        })
    }

    fn resolve(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                for (name, path) in &self.placeholders {
                    if text.contains(name) {
                        *text = text.replace(name, &path.to_string_lossy());
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.resolve(item)),
            Value::Object(map) => map.values_mut().for_each(|item| self.resolve(item)),
            _ => {}
        }
    }
}

/// A file that an operator made.
#[derive(Debug, PartialEq, serde::Deserialize)]
pub struct Made {
    /// MD5 of the file in hexadecimal.
    pub file: String,
    /// MD5 of `WIDTHxHEIGHT:` and the pixels as RGB.
    pub pixels: String,
}

impl Made {
    /// Of the content of an image file.
    pub fn of(file: &[u8]) -> Result<Self, String> {
        let decoded = djr::image::decode(file).map_err(|e| e.to_string())?;
        let image = decoded.image;
        let mut pixels = format!("{}x{}:", image.width(), image.height()).into_bytes();
        pixels.extend_from_slice(image.data());
        let digest = |bytes: &[u8]| {
            let digest: [u8; 16] = Md5::digest(bytes).into();
            format!("{:032x}", u128::from_be_bytes(digest))
        };
        Ok(Self {
            file: digest(file),
            pixels: digest(&pixels),
        })
    }
}

/// One recorded case.
pub struct Case {
    /// Parameters as a recipe would give them.
    pub params: Map<String, Value>,
    /// The rows.
    pub input: Vec<Value>,
    /// Filters: the stats of each row.
    pub stats: Option<Vec<Value>>,
    /// Indices of the surviving rows, in output order.
    pub kept: Option<Vec<usize>>,
    /// The rows afterwards.
    pub output: Option<Vec<Value>>,
    /// For each row the files that the operator made.
    pub produced: Option<Vec<Vec<Made>>>,
    /// Hash columns, one object a row.
    pub hashes: Option<Vec<Value>>,
    /// For each row and band, the first row with the same value.
    pub bands: Option<Vec<Vec<usize>>>,
    /// Rows that say nothing: a text that merely looks like a path was rewritten when the case
    /// was recorded.
    pub damaged: BTreeSet<usize>,
    /// Whether the operator failed for the peer.
    pub fails: bool,
    /// Whether it can be replayed at all.
    pub replayable: bool,
}

impl Case {
    fn new(mut fields: Map<String, Value>) -> Result<Self, String> {
        let mut take = |name: &str| fields.shift_remove(name).filter(|v| !v.is_null());
        let params = match take("params") {
            None => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => return Err("params is not an object".to_owned()),
        };
        let hashes = take("hashes").map(rows).transpose()?;
        let bands = match take("bands") {
            Some(bands) => Some(serde_json::from_value(bands).map_err(|e| e.to_string())?),
            None => hashes.as_deref().and_then(bands_of),
        };
        let kept = take("kept_exact")
            .or_else(|| take("kept"))
            .map(serde_json::from_value)
            .transpose()
            .map_err(|e| e.to_string())?;
        let stats = take("stats_exact").or_else(|| take("stats"));
        Ok(Self {
            params,
            input: take("input").map(rows).transpose()?.unwrap_or_default(),
            stats: stats.map(rows).transpose()?,
            kept,
            output: take("output").map(rows).transpose()?,
            produced: take("produced")
                .map(serde_json::from_value)
                .transpose()
                .map_err(|e| e.to_string())?,
            hashes,
            bands,
            damaged: BTreeSet::new(),
            fails: take("error").is_some(),
            replayable: take("replayable") != Some(Value::Bool(false)),
        })
    }
}

fn rows(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(rows) => Ok(rows),
        other => Err(format!("expected a list of rows, found {other}")),
    }
}

/// Rows with a scratch folder's placeholder in a text, before or after the operator. In lists,
/// as image paths are, it is meant.
fn damaged_rows(case: &Value) -> BTreeSet<usize> {
    let mut damaged = BTreeSet::new();
    for table in ["input", "output"] {
        let rows = case.get(table).and_then(Value::as_array);
        for (index, row) in rows.into_iter().flatten().enumerate() {
            let mut fields = row.as_object().into_iter().flat_map(Map::values);
            if fields.any(|f| f.as_str().is_some_and(|t| t.contains("{tests_root}"))) {
                damaged.insert(index);
            }
        }
    }
    damaged
}

/// The first row with the same value, a row and a band, from recorded minhash columns.
fn bands_of(hashes: &[Value]) -> Option<Vec<Vec<usize>>> {
    let mut first: BTreeMap<(usize, String), usize> = BTreeMap::new();
    hashes
        .iter()
        .enumerate()
        .map(|(row, columns)| {
            let bands = columns.get("__dj__minhash")?.as_array()?;
            Some(
                bands
                    .iter()
                    .enumerate()
                    .map(|(band, value)| *first.entry((band, value.to_string())).or_insert(row))
                    .collect(),
            )
        })
        .collect()
}

/// Parts a recipe's parameters into those common to all operators and the operator's own.
/// Parameters that only steer how Data-Juicer runs an operator are left out.
pub fn split(params: &Map<String, Value>) -> (BaseParams, Map<String, Value>) {
    const STEERING: [&str; 6] = [
        "batch_size",
        "num_proc",
        "skip_op_error",
        "turbo",
        "work_dir",
        "accelerator",
    ];
    let mut base = BaseParams::default();
    let mut own = Map::new();
    for (name, value) in params {
        match (name.as_str(), value) {
            ("text_key", Value::String(key)) => base.text_key = key.as_str().into(),
            ("image_key", Value::String(key)) => base.image_key = key.as_str().into(),
            ("min_closed_interval", Value::Bool(flag)) => base.min_closed_interval = *flag,
            ("max_closed_interval", Value::Bool(flag)) => base.max_closed_interval = *flag,
            ("reversed_range", Value::Bool(flag)) => base.reversed_range = *flag,
            (name, _) if STEERING.contains(&name) => {}
            _ => {
                own.insert(name.clone(), value.clone());
            }
        }
    }
    (base, own)
}
