//! A model in worker processes: one a device, two batches on their way to each, so that one is
//! written while the other is computed.
//!
//! Tensors go through a file in memory that both sides map; it has no name, so that nothing is
//! left of it however djr ends. A worker that dies, falls silent or talks nonsense is started
//! again and given the same batch; if that happens again, the batch is halved until the request
//! that does it is alone, and that request's row fails.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::process::Fault;
use super::python::{Device, Hello, Python, Refusal};
use super::remembered::Remembered;
use super::{Host, Identity, Lane, Opened, ServiceError};
use crate::op::{Answer, Head, ModelService, Request};
use crate::sample::RowError;

/// Why a worker is refused that says other things of itself than before.
const CHANGED: &str = "changed";

/// Slots of a device.
const SLOTS: usize = 2;

/// The most workers that compute on processors; each has a copy of the model.
const MOST_ON_CPU: usize = 4;

/// How long a model may take to load, or a batch to be computed.
const PATIENCE: Duration = Duration::from_secs(900);

/// How often in a row a worker may fail before the run ends.
const RESTARTS: usize = 20;

/// A piece of so many bytes is worth a system call of its own.
const LARGE: usize = 1 << 14;

/// Where tensors begin.
const ALIGN: usize = 64;

/// A model that is loaded.
pub struct Model;

impl Model {
    /// Starts a worker on each device and has it load the model; where an earlier run has started the
    /// same Python, each is started when something is asked of it.
    ///
    /// # Errors
    /// If no Python has what a worker needs, a device is not there, or the model does not load.
    pub fn open(service: &ModelService, host: &Host) -> Result<Opened, ServiceError> {
        let error = |message: String, hint: Option<&str>| ServiceError {
            service: service.model.clone(),
            message,
            hint: hint.map(str::to_owned),
            spoiled: false,
        };
        let remembered = Remembered::of(host);
        let mut first = None;
        let known = remembered.as_ref().and_then(Remembered::hello);
        let begun = known.is_none();
        let hello = if let Some(hello) = known {
            hello
        } else {
            let python = Python::start(&service.model, host)?;
            let is_first = host
                .pythons
                .first()
                .is_some_and(|path| path == python.path());
            if let Some(remembered) = remembered.as_ref().filter(|_| is_first) {
                remembered.keep(&python.hello);
            }
            first.insert(python).hello.clone()
        };
        let devices = choose(&hello.devices, host).map_err(|message| {
            error(
                message,
                Some("name devices as torch does, e.g. --devices cuda:0,cuda:1"),
            )
        })?;
        let title = devices.first().map_or("", |device| device.title.as_str());
        let identity = Identity {
            service: service.model.clone(),
            runs_on: hello.runs_on(title),
        };
        let layout = Arc::new(Layout::of(service));
        let mut lanes: Vec<Box<dyn Lane>> = Vec::new();
        for device in devices {
            let memory =
                Arc::new(shared_file(layout.slot * SLOTS).map_err(|e| {
                    error(format!("no memory to share with the worker: {e}"), None)
                })?);
            let mut worker = Worker {
                python: first.take(),
                path: host.pythons.clone(),
                load: load_message(service, &layout, &device, &memory),
                hello: hello.clone(),
                remembered: remembered.clone(),
                begun: false,
                restarts: 0,
                name: service.model.clone(),
                title: device.title.clone(),
            };
            if begun {
                worker.begin()?;
            }
            let worker = Arc::new(Mutex::new(worker));
            for slot in 0..SLOTS {
                lanes.push(Box::new(DeviceLane {
                    worker: Arc::clone(&worker),
                    memory: Arc::clone(&memory),
                    layout: Arc::clone(&layout),
                    slot,
                    sequence: 0,
                }));
            }
        }
        Ok(Opened { lanes, identity })
    }
}

const SMALLER: &str = "set a smaller model_batch in the recipe (it is part of the plan, so it is \
                       never changed behind your back), or free the device";

/// The devices to use: those asked for, else all of the kind of the first, and as many workers on
/// processors as may compute.
fn choose(there: &[Device], host: &Host) -> Result<Vec<Device>, String> {
    let mut chosen: Vec<Device> = Vec::new();
    if host.devices.is_empty() {
        let best = there.first().ok_or("the worker has no device")?;
        let kind = |device: &Device| device.name.split(':').next().map(str::to_owned);
        let same = there.iter().filter(|device| kind(device) == kind(best));
        chosen.extend(same.cloned());
    }
    for asked in &host.devices {
        let found = there.iter().find(|device| device.name == *asked);
        let names: Vec<&str> = there.iter().map(|device| device.name.as_str()).collect();
        let found = found
            .ok_or_else(|| format!("there is no device {asked}; there are {}", names.join(", ")))?;
        chosen.push(found.clone());
    }
    if let [only] = chosen.as_slice()
        && only.name == "cpu"
    {
        let workers = host.threads.clamp(1, MOST_ON_CPU);
        chosen = vec![only.clone(); workers];
    }
    Ok(chosen)
}

const AGAIN: &str = "run again, with --restart: a run's answers must come from one and the same";

/// Where the tensors of each head lie in a slot.
struct Layout {
    slot: usize,
    heads: Vec<HeadLayout>,
}

struct HeadLayout {
    head: Head,
    inputs: Vec<usize>,
    output: usize,
}

impl Layout {
    fn of(service: &ModelService) -> Self {
        let mut end = 0;
        let mut take = |bytes: usize| {
            let start = end;
            end = (end + bytes).next_multiple_of(ALIGN);
            start
        };
        let heads = service
            .heads
            .iter()
            .map(|head| HeadLayout {
                inputs: head
                    .inputs
                    .iter()
                    .map(|tensor| take(tensor.bytes() * head.batch))
                    .collect(),
                output: take(head.floats() * 4 * head.batch),
                head: head.clone(),
            })
            .collect();
        Self {
            slot: end.max(ALIGN),
            heads,
        }
    }
}

/// A file of so many bytes in memory, without a name.
pub(super) fn shared_file(bytes: usize) -> io::Result<File> {
    let shared = Path::new("/dev/shm");
    let file = if shared.is_dir() {
        tempfile::tempfile_in(shared)
    } else {
        tempfile::tempfile()
    }?;
    file.set_len(bytes as u64)?;
    Ok(file)
}

fn load_message(service: &ModelService, layout: &Layout, device: &Device, memory: &File) -> Value {
    let heads = layout.heads.iter().map(|place| {
        let inputs = place.head.inputs.iter().zip(&place.inputs);
        let inputs = inputs.map(|(tensor, offset)| {
            json!({
                "name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape, "offset": offset,
            })
        });
        let output = place.head.output.as_ref();
        let output = output.map(|shape| json!({"shape": shape, "offset": place.output}));
        json!({
            "name": place.head.name,
            "batch": place.head.batch,
            "inputs": inputs.collect::<Vec<_>>(),
            "output": output,
        })
    });
    json!({
        "op": "load",
        "model": 0,
        "dir": service.dir.to_string_lossy(),
        "class": service.class,
        "dtype": service.dtype,
        "device": device.name,
        "threads": 1,
        "shm": format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd()),
        "bytes": layout.slot * SLOTS,
        "slots": SLOTS,
        "slot_bytes": layout.slot,
        "heads": heads.collect::<Vec<_>>(),
        "options": service.options,
    })
}

/// A worker process, started again when it dies.
struct Worker {
    python: Option<Python>,
    path: Vec<std::path::PathBuf>,
    load: Value,
    /// What it says of itself, each time.
    hello: Hello,
    remembered: Option<Remembered>,
    /// Whether the model was loaded once.
    begun: bool,
    restarts: usize,
    name: String,
    /// The device's name for a person.
    title: String,
}

impl Worker {
    /// Has the model loaded for the first time.
    fn begin(&mut self) -> Result<(), ServiceError> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        let loaded = self.load();
        let error = |message: String, hint: Option<&str>| ServiceError {
            service: self.name.clone(),
            message,
            hint: hint.map(str::to_owned),
            spoiled: false,
        };
        loaded.map_err(|no| match no {
            Refusal::Fault(fault) => error(fault.words(), None),
            Refusal::No(code, message) if code == "oom" => error(
                format!("not enough memory on {}: {message}", self.title),
                Some(SMALLER),
            ),
            Refusal::No(code, message) if code == CHANGED => error(message, Some(AGAIN)),
            Refusal::No(_, message) => error(message, None),
        })
    }

    /// Starts the process if there is none, and has it load the model.
    fn load(&mut self) -> Result<(), Refusal> {
        let mut why = String::new();
        let mut start = || {
            let mut paths = self.path.iter();
            paths.find_map(|path| Python::start_one(path).map_err(|said| why = said).ok())
        };
        let python = self.python.take().or_else(&mut start);
        let mut python = python.ok_or(Refusal::Fault(Fault::Died(why)))?;
        // Only the interpreter that was found first is ever started again.
        self.path = vec![python.path().to_owned()];
        if python.hello != self.hello {
            if let Some(remembered) = &self.remembered {
                remembered.keep(&python.hello);
            }
            let was = self.hello.runs_on(&self.title);
            let now = python.hello.runs_on(&self.title);
            let message = format!(
                "earlier runs had a worker on {was}, and this one is on {now}, or has other devices"
            );
            return Err(Refusal::No(CHANGED.to_owned(), message));
        }
        python.ask(&self.load, PATIENCE)?;
        self.python = Some(python);
        Ok(())
    }

    /// Has the batch in `slot` computed.
    fn run(&mut self, message: &Value) -> Result<Value, Refusal> {
        if self.python.is_none() {
            self.load()?;
        }
        let Some(python) = &mut self.python else {
            return Err(Refusal::Fault(Fault::Died(String::new())));
        };
        let reply = python.ask(message, PATIENCE);
        let reply = reply.and_then(|reply| {
            if reply.get("seq") == message.get("seq") {
                Ok(reply)
            } else {
                let text = reply.to_string().chars().take(80).collect();
                Err(Refusal::Fault(Fault::Garbage(text)))
            }
        });
        if matches!(reply, Err(Refusal::Fault(_))) {
            self.python = None;
        }
        reply
    }

    /// The error that ends the run if the worker was started too often.
    fn restarted(&mut self, fault: &Fault) -> Result<(), ServiceError> {
        self.restarts += 1;
        if self.restarts <= RESTARTS {
            return Ok(());
        }
        Err(ServiceError {
            service: self.name.clone(),
            message: format!(
                "the worker failed {} times in a row; the last time {}",
                self.restarts,
                fault.words()
            ),
            hint: None,
            spoiled: false,
        })
    }
}

/// One slot of a device.
struct DeviceLane {
    worker: Arc<Mutex<Worker>>,
    memory: Arc<File>,
    layout: Arc<Layout>,
    slot: usize,
    sequence: u64,
}

/// What became of a batch.
enum Computed {
    Answers(Vec<Answer>),
    /// The batch as a whole failed.
    Failed(String),
}

impl Lane for DeviceLane {
    fn serve(
        &mut self,
        head: usize,
        requests: &[Request],
    ) -> Result<Vec<Result<Answer, RowError>>, ServiceError> {
        match self.compute(head, requests)? {
            Computed::Answers(answers) => Ok(answers.into_iter().map(Ok).collect()),
            Computed::Failed(message) if requests.len() == 1 => {
                Ok(vec![Err(RowError::new("model_failed", message))])
            }
            Computed::Failed(_) => {
                let (left, right) = requests.split_at(requests.len() / 2);
                let mut answers = self.serve(head, left)?;
                answers.extend(self.serve(head, right)?);
                Ok(answers)
            }
        }
    }
}

impl DeviceLane {
    /// The answers of one batch, after a second try if the worker failed.
    fn compute(&mut self, head: usize, requests: &[Request]) -> Result<Computed, ServiceError> {
        let layout = Arc::clone(&self.layout);
        let worker = Arc::clone(&self.worker);
        let name = || {
            worker
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .name
                .clone()
        };
        let broken = |message: String| ServiceError {
            service: name(),
            message,
            hint: None,
            spoiled: false,
        };
        let place = layout
            .heads
            .get(head)
            .ok_or_else(|| broken("no such head".into()))?;
        self.write(place, requests)
            .map_err(|e| broken(e.to_string()))?;
        self.sequence += 1;
        let message = json!({
            "op": "run", "model": 0, "head": place.head.name, "slot": self.slot,
            "count": requests.len(), "seq": self.sequence * 2 + self.slot as u64,
        });
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        worker.begin()?;
        let mut tried = worker.run(&message);
        if let Err(Refusal::Fault(fault)) = &tried {
            worker.restarted(fault)?;
            tried = worker.run(&message);
        }
        let reply = match tried {
            Ok(reply) => {
                worker.restarts = 0;
                reply
            }
            Err(Refusal::Fault(fault)) => {
                worker.restarted(&fault)?;
                return Ok(Computed::Failed(fault.words()));
            }
            Err(Refusal::No(code, message)) if code == "oom" => {
                return Err(ServiceError {
                    service: worker.name.clone(),
                    message: format!(
                        "not enough memory for a batch of {}: {message}",
                        place.head.batch
                    ),
                    hint: Some(SMALLER.to_owned()),
                    spoiled: false,
                });
            }
            Err(Refusal::No(_, message)) => return Ok(Computed::Failed(message)),
        };
        drop(worker);
        let answers = match &place.head.output {
            Some(_) => self
                .read(place, requests.len())
                .map_err(|e| broken(e.to_string()))?,
            None => texts(&reply, requests.len()),
        };
        if answers.len() != requests.len() {
            return Ok(Computed::Failed(format!(
                "the worker answered {} of {} requests",
                answers.len(),
                requests.len()
            )));
        }
        Ok(Computed::Answers(answers))
    }

    /// Writes requests into the slot, zeros behind them.
    fn write(&self, place: &HeadLayout, requests: &[Request]) -> io::Result<()> {
        let base = self.layout.slot * self.slot;
        let mut start = 0;
        for (tensor, offset) in place.head.inputs.iter().zip(&place.inputs) {
            let size = tensor.bytes();
            let at = |index: usize| (base + offset + index * size) as u64;
            let mut pieces = Vec::new();
            for (index, request) in requests.iter().enumerate() {
                let bytes = request.bytes.get(start..start + size);
                let bytes = bytes.ok_or_else(|| io::Error::other("a request is too short"))?;
                // A picture is written as it is, small pieces together.
                if size >= LARGE {
                    self.memory.write_all_at(bytes, at(index))?;
                } else {
                    pieces.extend_from_slice(bytes);
                }
            }
            let missing = place.head.batch.saturating_sub(requests.len()) * size;
            if size >= LARGE {
                self.memory
                    .write_all_at(&vec![0; missing], at(requests.len()))?;
            } else {
                pieces.resize(pieces.len() + missing, 0);
                self.memory.write_all_at(&pieces, at(0))?;
            }
            start += size;
        }
        Ok(())
    }

    /// The outputs of the first `count` requests.
    fn read(&self, place: &HeadLayout, count: usize) -> io::Result<Vec<Answer>> {
        let floats = place.head.floats();
        let mut bytes = vec![0; count * floats * 4];
        let base = self.layout.slot * self.slot;
        self.memory
            .read_exact_at(&mut bytes, (base + place.output) as u64)?;
        let numbers: Vec<f32> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|number| f32::from_le_bytes(*number))
            .collect();
        let answers = numbers.chunks(floats.max(1));
        Ok(answers
            .map(|numbers| Answer::Floats(numbers.to_vec()))
            .collect())
    }
}

fn texts(reply: &Value, count: usize) -> Vec<Answer> {
    let texts = reply.get("texts").and_then(Value::as_array);
    let texts = texts
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .take(count);
    texts.map(|text| Answer::Text(text.to_owned())).collect()
}
