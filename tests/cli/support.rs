//! Running the binary in a scratch directory, and looking at what it left.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use djr::note::Code;
use serde_json::Value;

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A scratch directory that sees the repository's fixtures and recipes under their names.
pub struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["fixtures", "recipes"] {
            std::os::unix::fs::symlink(root().join(name), dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    pub fn rows(&self, name: &str) -> Vec<Value> {
        rows(&self.read(name))
    }

    /// The ledger of a run directory.
    pub fn ledger(&self, run_dir: &str) -> Vec<Value> {
        let packed = self.read(&format!("{run_dir}/ledger.jsonl.zst"));
        rows(&zstd::decode_all(&packed[..]).unwrap())
    }

    pub fn djr<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        self.djr_with(args, b"")
    }

    pub fn djr_with<S: AsRef<OsStr>>(&self, args: &[S], input: &[u8]) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_djr"))
            .args(args)
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // A command that fails early does not read its input.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran::of(output)
    }

    /// Names of all files below `name`, hidden ones too.
    pub fn files(&self, name: &str) -> Vec<String> {
        fn walk(dir: &Path, base: &Path, out: &mut Vec<String>) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, base, out);
                } else {
                    out.push(path.strip_prefix(base).unwrap().display().to_string());
                }
            }
        }
        let mut out = Vec::new();
        walk(&self.path(name), &self.path(name), &mut out);
        out.sort();
        out
    }
}

/// What a command printed and how it ended.
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stderr:\n{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// The answer that `--json` printed, of the version that this program writes.
    #[track_caller]
    pub fn answer(&self) -> Value {
        let answer: Value = serde_json::from_slice(&self.stdout).unwrap();
        assert_eq!(answer["exit"], self.code, "{answer}");
        answer
    }

    /// A list of rows in the answer of `djr why`.
    #[track_caller]
    pub fn told(&self) -> Vec<Value> {
        self.answer()["result"]["rows"].as_array().unwrap().clone()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }
}

pub fn rows(bytes: &[u8]) -> Vec<Value> {
    bytes
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// The shared folder, if the environment names one.
pub fn shared() -> Option<PathBuf> {
    std::env::var_os("DJR_SHARED").map(PathBuf::from)
}

/// Sees that a note of a kind was printed.
#[track_caller]
pub fn expect_note(code: Code, printed: &str) {
    let shown = format!("[{}]", code.word());
    assert!(printed.contains(&shown), "{shown} is not in\n{printed}");
}

/// Sees that no note of a kind was printed.
#[track_caller]
pub fn expect_no_note(code: Code, printed: &str) {
    let shown = format!("[{}]", code.word());
    assert!(!printed.contains(&shown), "{shown} is in\n{printed}");
}
