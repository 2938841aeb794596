//! A worker that speaks the protocol of `src/service/worker.py` without Python: its model adds the
//! bytes of each request. The file that `FAKE_WORKER_LOG` names gets a line with the device of each
//! batch, the one that `FAKE_WORKER_STARTS` names a line whenever one starts. The environment variable `FAKE_WORKER` has it misbehave, by words that
//! are separated by commas:
//!
//! - `die-on=N`: ends when a request of a batch sums to N
//! - `die-at=N`: ends before its Nth batch; `garbage-at=N`: answers that one with nonsense;
//!   `wrong-at=N`: answers it with the number of another
//! - `any`: takes models of any class; whatever they are asked, each number of the answer is the sum
//! - `slow`: takes a few milliseconds for each batch
//! - `torch=N`: says that it has version N of torch
//! - `oom`: says that the memory is too small; `no-torch`: that there is no torch

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "whoever talks nonsense to it sees it end"
)]

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
                log("FAKE_WORKER_LOG", model.load["device"].as_str().unwrap());
                run(model, &message, order("die-on"));
                let seq = message["seq"].as_u64().unwrap();
                let wrong = u64::from(order("wrong-at") == Some(batches));
                json!({"ok": true, "seq": seq + wrong})
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
    let size: usize = input["shape"]
        .as_array()
        .unwrap()
        .iter()
        .map(number)
        .product();
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
