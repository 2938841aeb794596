//! A worker that speaks the protocol of `src/service/worker.py` without Python: its model adds the
//! bytes of each request. The file that `FAKE_WORKER_LOG` names gets a line with the device and the
//! head of each batch, the one that `FAKE_WORKER_STARTS` names a line whenever one starts. The environment variable `FAKE_WORKER` has it misbehave, by words that
//! are separated by commas:
//!
//! - `die-on=N`: ends when a request of a batch sums to N
//! - `die-at=N`: ends before its Nth batch; `garbage-at=N`: answers that one with nonsense;
//!   `wrong-at=N`: answers it with the number of another
//! - `any`: takes models of any class; whatever they are asked, each number of the answer is the sum
//! - `slow`: takes a few milliseconds for each batch
//! - `torch=N`: says that it has version N of torch
//! - `oom`: says that the memory is too small; `no-torch`: that there is no torch
//!
//! It compares vectors, too, and is off by some millionths, as a GPU is:
//!
//! - `dense`: tells blocks instead of pairs; `vague`: tells each pair and row that could be meant
//! - `die-comparing`: ends when it is to compare

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "whoever talks nonsense to it sees it end"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;

use serde_json::{Value, json};

struct Model {
    load: Value,
    memory: File,
}

fn main() {
    let orders = std::env::var("FAKE_WORKER").unwrap_or_default();
    let order = |name: &str| {
        orders.split(',').find_map(|word| {
            word.strip_prefix(name)?
                .strip_prefix('=')?
                .parse::<u64>()
                .ok()
        })
    };
    let said = |word: &str| orders.split(',').any(|said| said == word);
    log("FAKE_WORKER_STARTS", "started");
    let mut model = None;
    let mut vectors: Option<Vectors> = None;
    let mut batches = 0;
    while let Some(message) = receive() {
        let reply = match message["op"].as_str().unwrap() {
            "hello" if said("no-torch") => {
                json!({"ok": false, "code": "no_torch", "message": "No module named 'torch'"})
            }
            "hello" => json!({
                "ok": true, "python": "3.11.7", "transformers": "0.fake",
                "torch": order("torch").map_or("0.fake".to_owned(), |n| n.to_string()),
                "devices": [{"name": "fake:0", "title": "Fake 0"}, {"name": "fake:1", "title": "Fake 1"}],
            }),
            "load" if message["class"] != "Sum" && !said("any") => {
                json!({"ok": false, "code": "model", "message": "no such class"})
            }
            "load" => {
                let path = message["shm"].as_str().unwrap();
                let memory = File::options().read(true).write(true).open(path).unwrap();
                model = Some(Model {
                    load: message,
                    memory,
                });
                json!({"ok": true})
            }
            "run" if said("oom") => json!({
                "ok": false, "seq": message["seq"], "code": "oom", "message": "out of memory",
            }),
            "run" => {
                batches += 1;
                if order("die-at") == Some(batches) {
                    eprintln!("the fake worker was told to die");
                    std::process::exit(9);
                }
                if order("garbage-at") == Some(batches) {
                    std::io::stdout().write_all(b"Traceback!").unwrap();
                    std::io::stdout().flush().unwrap();
                    continue;
                }
                if said("slow") {
                    std::thread::sleep(std::time::Duration::from_millis(4));
                }
                let model = model.as_ref().unwrap();
                let (device, head) = (&model.load["device"], &message["head"]);
                let line = format!("{} {}", device.as_str().unwrap(), head.as_str().unwrap());
                log("FAKE_WORKER_LOG", &line);
                run(model, &message, order("die-on"));
                let seq = message["seq"].as_u64().unwrap();
                let wrong = u64::from(order("wrong-at") == Some(batches));
                json!({"ok": true, "seq": seq + wrong})
            }
            "vectors" => {
                vectors = Some(Vectors::open(&message));
                json!({"ok": true})
            }
            "place" => {
                vectors.as_mut().unwrap().place(&message);
                json!({"ok": true})
            }
            "near" | "far" if said("die-comparing") => return,
            "near" => {
                log("FAKE_WORKER_LOG", "near");
                vectors.as_ref().unwrap().near(&message, &said)
            }
            "far" => {
                log("FAKE_WORKER_LOG", "far");
                vectors.as_mut().unwrap().far(&message, &said)
            }
            _ => return,
        };
        let reply = reply.to_string();
        let mut out = std::io::stdout().lock();
        out.write_all(&u32::try_from(reply.len()).unwrap().to_le_bytes())
            .unwrap();
        out.write_all(reply.as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

fn whole(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

/// Blocks of vectors.
struct Vectors {
    memory: File,
    blocks: BTreeMap<usize, Vec<Vec<f64>>>,
    nearest: Vec<f64>,
}

impl Vectors {
    fn open(message: &Value) -> Self {
        let path = message["shm"].as_str().unwrap();
        Self {
            memory: File::options().read(true).write(true).open(path).unwrap(),
            blocks: BTreeMap::new(),
            nearest: Vec::new(),
        }
    }

    fn place(&mut self, message: &Value) {
        let (dims, count) = (whole(&message["dims"]), whole(&message["count"]));
        let mut bytes = vec![0; dims * count * 4];
        self.memory.read_exact_at(&mut bytes, 0).unwrap();
        let (words, _) = bytes.as_chunks::<4>();
        let numbers: Vec<f64> = words
            .iter()
            .map(|w| f32::from_le_bytes(*w).into())
            .collect();
        let block = self.blocks.entry(whole(&message["block"])).or_default();
        block.truncate(whole(&message["at"]));
        block.extend(numbers.chunks(dims).map(<[f64]>::to_vec));
    }

    fn product(a: &[f64], b: &[f64], at: usize) -> f64 {
        let off = [2e-6, -1e-6, 0.0, 1e-6, -2e-6][at % 5];
        a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() + off
    }

    fn tell(&self, numbers: &[usize], at: usize) {
        let words = numbers.iter().map(|n| u32::try_from(*n).unwrap());
        let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        self.memory.write_all_at(&bytes, at as u64 * 4).unwrap();
    }

    /// One row of the first block a call.
    fn near(&self, message: &Value, said: &dyn Fn(&str) -> bool) -> Value {
        let (a, b, at) = (
            whole(&message["a"]),
            whole(&message["b"]),
            whole(&message["tile"]),
        );
        let (block, other_block) = (&self.blocks[&a], &self.blocks[&b]);
        let next = (at + 1 < block.len()).then_some(at + 1);
        let behind = if a == b { at + 1 } else { 0 };
        if said("dense") {
            let dense = [at, at + 1, 0, other_block.len()];
            return json!({"ok": true, "count": 0, "dense": dense, "next": next});
        }
        let least = message["least"].as_f64().unwrap();
        let others = other_block.iter().enumerate().skip(behind);
        let near = others.filter(|(place, other)| {
            said("vague") || Self::product(&block[at], other, at + place) >= least
        });
        let pairs: Vec<usize> = near.flat_map(|(place, _)| [at, place]).collect();
        self.tell(&pairs, 0);
        json!({"ok": true, "count": pairs.len() / 2, "dense": null, "next": next})
    }

    fn far(&mut self, message: &Value, said: &dyn Fn(&str) -> bool) -> Value {
        let rows = &self.blocks[&whole(&message["block"])];
        if message["afresh"].as_bool().unwrap() {
            let none = |row: &Vec<f64>| row.iter().all(|x| *x == 0.0);
            let known = rows.iter().map(|r| {
                if none(r) {
                    f64::INFINITY
                } else {
                    f64::NEG_INFINITY
                }
            });
            self.nearest = known.collect();
        }
        let slack = message["slack"].as_f64().unwrap();
        let mut taken = vec![whole(&message["take"])];
        let mut candidates: Vec<usize> = Vec::new();
        loop {
            let newest = *taken.last().unwrap();
            for (at, (nearest, row)) in self.nearest.iter_mut().zip(rows).enumerate() {
                *nearest = nearest.max(Self::product(row, &rows[newest], at + newest));
            }
            self.nearest[newest] = f64::INFINITY;
            let least = self.nearest.iter().copied().fold(f64::INFINITY, f64::min);
            if taken.len() >= whole(&message["count"]) || least.is_infinite() {
                break;
            }
            let free = self
                .nearest
                .iter()
                .enumerate()
                .filter(|(_, n)| n.is_finite());
            let free = free.filter(|(_, n)| said("vague") || **n <= least + slack);
            candidates = free.map(|(at, _)| at).collect();
            if candidates.len() > 1 {
                break;
            }
            taken.append(&mut candidates);
        }
        self.tell(&taken, 0);
        self.tell(&candidates, taken.len());
        json!({"ok": true, "taken": taken.len(), "candidates": candidates.len()})
    }
}

/// Adds a line to the file that a variable names.
fn log(variable: &str, line: &str) {
    let Ok(path) = std::env::var(variable) else {
        return;
    };
    let file = File::options().append(true).create(true).open(path);
    file.unwrap()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

fn receive() -> Option<Value> {
    let mut length = [0; 4];
    std::io::stdin().read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    std::io::stdin().read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

/// Adds the bytes of each request of the batch, and how many others it holds times nothing: what
/// is asked for beyond `count` must be zero, or it ends.
fn run(model: &Model, message: &Value, die_on: Option<u64>) {
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let heads = model.load["heads"].as_array().unwrap();
    let head = heads
        .iter()
        .find(|head| head["name"] == message["head"])
        .unwrap();
    let base = number(&message["slot"]) * number(&model.load["slot_bytes"]);
    let (batch, count) = (number(&head["batch"]), number(&message["count"]));
    let input = &head["inputs"][0];
    let shape = input["shape"].as_array().unwrap().iter().map(number);
    let bytes_of_one = if input["dtype"] == "u8" { 1 } else { 4 };
    let size = shape.product::<usize>() * bytes_of_one;
    let outputs = head["output"]["shape"].as_array().unwrap();
    let outputs: usize = outputs.iter().map(number).product();
    let mut bytes = vec![0; size * batch];
    let at = (base + number(&input["offset"])) as u64;
    model.memory.read_exact_at(&mut bytes, at).unwrap();
    let mut sums = Vec::new();
    for (index, request) in bytes.chunks(size).enumerate() {
        let sum: u64 = request.iter().map(|byte| u64::from(*byte)).sum();
        assert!(
            index < count || sum == 0,
            "the batch is not padded with zeros"
        );
        if die_on == Some(sum) && index < count {
            eprintln!("the fake worker dies of {sum}");
            std::process::exit(9);
        }
        #[expect(clippy::cast_precision_loss, reason = "sums are small")]
        sums.extend((sum as f32).to_le_bytes().repeat(outputs));
    }
    let at = (base + number(&head["output"]["offset"])) as u64;
    model.memory.write_all_at(&sums, at).unwrap();
}
