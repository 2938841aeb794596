//! The user's own Python, with torch and transformers, as a worker process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::process::{Fault, Process};
use super::{Host, ServiceError, frames};

/// The worker's side of the conversation.
const WORKER: &str = include_str!("worker.py");

/// Importing torch from a cold disk takes its time.
const START: Duration = Duration::from_secs(600);

/// The interpreters to try, in order: what is asked for alone, else `DJR_PYTHON`, an active conda
/// or virtual environment, and `python3`.
pub fn candidates(
    asked: Option<&Path>,
    env: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Vec<PathBuf> {
    if let Some(asked) = asked {
        return vec![asked.to_owned()];
    }
    if let Some(named) = env("DJR_PYTHON").filter(|value| !value.is_empty()) {
        return vec![named.into()];
    }
    let in_environment = ["CONDA_PREFIX", "VIRTUAL_ENV"]
        .into_iter()
        .filter_map(env)
        .map(|prefix| Path::new(&prefix).join("bin/python"));
    in_environment.chain(["python3".into()]).collect()
}

/// A device that the worker sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name for torch, e.g. `cuda:0`.
    pub name: String,
    /// Its name for a person, e.g. `NVIDIA H100 80GB HBM3`.
    pub title: String,
}

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Python's version.
    pub python: String,
    /// That of torch.
    pub torch: String,
    /// That of transformers.
    pub transformers: String,
    /// Devices, the best first.
    pub devices: Vec<Device>,
}

impl Hello {
    /// What it runs on and with, on devices that are called `title`.
    #[must_use]
    pub fn runs_on(&self, title: &str) -> String {
        format!(
            "{title}, torch {}, transformers {}",
            self.torch, self.transformers
        )
    }
}

/// A Python that can be asked.
pub struct Python {
    process: Process,
    path: PathBuf,
    /// What it said of itself.
    pub hello: Hello,
}

/// What a worker answers when it does not do what it was asked.
#[derive(Debug)]
pub enum Refusal {
    /// The process is not to be spoken to any more.
    Fault(Fault),
    /// It said no, by a code and in words.
    No(String, String),
}

impl Python {
    /// Starts the first interpreter of `host` that has torch and transformers.
    ///
    /// # Errors
    /// If none has; says what each lacks.
    pub fn start(service: &str, host: &Host) -> Result<Self, ServiceError> {
        let mut tried = Vec::new();
        for path in &host.pythons {
            match Self::start_one(path) {
                Ok(python) => return Ok(python),
                Err(why) => tried.push(format!("{}: {why}", path.display())),
            }
        }
        Err(ServiceError {
            service: service.to_owned(),
            message: format!(
                "no Python with torch and transformers: {}",
                tried.join("; ")
            ),
            hint: Some(
                "a model runs in a Python of yours that has torch and transformers (pip install \
                 torch transformers); name it with --python or DJR_PYTHON"
                    .to_owned(),
            ),
            spoiled: false,
        })
    }

    /// Starts the interpreter at `path` again.
    ///
    /// # Errors
    /// If it does not start or lacks something.
    pub fn start_one(path: &Path) -> Result<Self, String> {
        let mut command = Command::new(path);
        command.args(["-u", "-c", WORKER]);
        let mut process =
            Process::start(&mut command, frames::read).map_err(|error| error.to_string())?;
        let reply = ask(&mut process, &json!({"op": "hello"}), START).map_err(|no| match no {
            Refusal::Fault(fault) => fault.words(),
            Refusal::No(_, message) => message,
        })?;
        let hello = serde_json::from_value(reply).map_err(|error| error.to_string())?;
        Ok(Self {
            process,
            path: path.to_owned(),
            hello,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it answers to `message`.
    ///
    /// # Errors
    /// If it refuses, or does not answer within `limit`.
    pub fn ask(&mut self, message: &Value, limit: Duration) -> Result<Value, Refusal> {
        ask(&mut self.process, message, limit)
    }
}

fn ask(process: &mut Process, message: &Value, limit: Duration) -> Result<Value, Refusal> {
    process
        .send(frames::frame(message))
        .map_err(Refusal::Fault)?;
    let reply = process.receive(limit).map_err(Refusal::Fault)?;
    let shown = || String::from_utf8_lossy(reply.get(..80).unwrap_or(&reply)).into_owned();
    let garbage = || Refusal::Fault(Fault::Garbage(shown()));
    let value: Value = serde_json::from_slice(&reply).map_err(|_| garbage())?;
    match value.get("ok").and_then(Value::as_bool) {
        Some(true) => Ok(value),
        Some(false) => {
            let text = |key| value.get(key).and_then(Value::as_str).unwrap_or_default();
            Err(Refusal::No(text("code").into(), text("message").into()))
        }
        None => Err(garbage()),
    }
}
