//! A Python that an earlier run has started, known again without starting it.
//!
//! What it said of itself (its versions and its devices) is kept by what can be seen of it from
//! outside: the interpreter, the packages that lie beside it, the drivers and the environment. Where
//! any of that cannot be told, it is started as ever. Whoever starts it later compares.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::python::Hello;
use super::{Host, Memory};

/// What a Python imports, and where, depends on these, and which devices it sees.
const ENVIRONMENT: [&str; 7] = [
    "PYTHONPATH",
    "PYTHONHOME",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "HOME",
];

/// The packages whose versions it tells.
const PACKAGES: [&str; 2] = ["torch-", "transformers-"];

/// The interpreter that a run starts first, and where what it says is kept.
#[derive(Debug, Clone)]
pub struct Remembered {
    memory: Arc<dyn Memory>,
    key: u128,
}

impl Remembered {
    /// That of `host`; `None` if nothing is kept, or the interpreter cannot be told from another.
    pub fn of(host: &Host) -> Option<Self> {
        let memory = Arc::clone(host.memory.as_ref()?);
        let key = fingerprint(host.pythons.first()?, |name| std::env::var_os(name))?;
        Some(Self { memory, key })
    }

    /// What it said when it was started last.
    pub fn hello(&self) -> Option<Hello> {
        serde_json::from_slice(&self.memory.recall(self.key)?).ok()
    }

    /// Keeps what it says now.
    pub fn keep(&self, hello: &Hello) {
        if let Ok(said) = serde_json::to_vec(hello)
            && self.memory.recall(self.key).as_ref() != Some(&said)
        {
            self.memory.keep(self.key, &said);
        }
    }
}

/// A digest of all that says what the interpreter at `path` would say of itself.
fn fingerprint(path: &Path, env: impl Fn(&str) -> Option<OsString>) -> Option<u128> {
    // Devices of other makers are not told of here.
    if Path::new("/dev/kfd").exists() {
        return None;
    }
    let path = found(path, &env)?;
    let mut digest = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        digest.update(&(bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    part(path.as_os_str().as_bytes());
    part(&state(&fs::metadata(&path).ok()?));
    for (name, state) in packages(&path)? {
        part(name.as_bytes());
        part(&state);
    }
    for name in ENVIRONMENT {
        part(env(name).unwrap_or_default().as_bytes());
    }
    for (name, text) in devices() {
        part(name.as_bytes());
        part(&text);
    }
    Some(digest.digest128())
}

/// Where a program lies that may be named without its folder.
fn found(path: &Path, env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if path.components().nth(1).is_some() {
        return std::path::absolute(path).ok();
    }
    let folders = env("PATH")?;
    let mut all = std::env::split_paths(&folders).map(|folder| folder.join(path));
    all.find(|path| path.is_file())
        .and_then(|path| std::path::absolute(path).ok())
}

fn state(metadata: &Metadata) -> [u8; 24] {
    let mut out = [0; 24];
    let numbers = [
        metadata.len().to_le_bytes(),
        metadata.mtime().to_le_bytes(),
        metadata.mtime_nsec().to_le_bytes(),
    ];
    for (to, from) in out.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
        *to = from;
    }
    out
}

/// The records of the packages that lie beside an interpreter; `None` if one is not there.
fn packages(python: &Path) -> Option<Vec<(OsString, [u8; 24])>> {
    let libraries = fs::read_dir(python.parent()?.parent()?.join("lib")).ok()?;
    let mut found = Vec::new();
    for library in libraries.flatten() {
        let Ok(entries) = fs::read_dir(library.path().join("site-packages")) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let bytes = name.as_bytes();
            if PACKAGES
                .iter()
                .any(|start| bytes.starts_with(start.as_bytes()))
            {
                let state = state(&fs::metadata(entry.path()).ok()?);
                found.push((name, state));
            }
        }
    }
    found.sort();
    let has = |start: &str| {
        found
            .iter()
            .any(|(name, _)| name.as_bytes().starts_with(start.as_bytes()))
    };
    PACKAGES.iter().all(|start| has(start)).then_some(found)
}

/// What the system says of graphics processors and their driver.
fn devices() -> Vec<(OsString, Vec<u8>)> {
    let mut found = Vec::new();
    let driver = Path::new("/proc/driver/nvidia");
    if let Ok(version) = fs::read(driver.join("version")) {
        found.push(("version".into(), version));
    }
    for card in fs::read_dir(driver.join("gpus"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let about = fs::read(card.path().join("information"));
        found.push((card.file_name(), about.unwrap_or_default()));
    }
    for device in fs::read_dir("/dev").into_iter().flatten().flatten() {
        if device.file_name().as_bytes().starts_with(b"nvidia") {
            found.push((device.file_name(), Vec::new()));
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_another_with_other_packages_or_another_environment() {
        let dir = tempfile::tempdir().unwrap();
        let packages = dir.path().join("lib/python3.11/site-packages");
        fs::create_dir_all(&packages).unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        let python = dir.path().join("bin/python");
        fs::write(&python, "one").unwrap();
        let told = |devices: &'static str| {
            fingerprint(&python, |name| {
                (name == "CUDA_VISIBLE_DEVICES").then(|| devices.into())
            })
        };
        assert_eq!(told("0"), None, "without packages");
        fs::create_dir(packages.join("torch-2.8.0.dist-info")).unwrap();
        assert_eq!(told("0"), None, "without one of them");
        fs::create_dir(packages.join("transformers-4.57.1.dist-info")).unwrap();
        let mut seen = vec![told("0").unwrap()];
        assert_eq!(told("0"), seen.first().copied());
        seen.push(told("1").unwrap());
        fs::rename(
            packages.join("torch-2.8.0.dist-info"),
            packages.join("torch-2.9.0.dist-info"),
        )
        .unwrap();
        seen.push(told("0").unwrap());
        fs::write(&python, "another").unwrap();
        seen.push(told("0").unwrap());
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn a_program_without_a_folder_is_looked_for_where_programs_lie() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("snake"), "").unwrap();
        let env = |name: &str| (name == "PATH").then(|| dir.path().as_os_str().to_owned());
        let snake = found(Path::new("snake"), env);
        assert_eq!(snake, Some(dir.path().join("snake")));
        assert_eq!(found(Path::new("adder"), env), None);
    }
}
