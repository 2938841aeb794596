//! How fast the kernels alone go through the images of a corpus: what a program could reach that had
//! nothing else to do. Files come one after the other from each of N threads, without rows, order,
//! accounting or outputs.
//!
//!     cargo run --release --example ideal -- WORK DIR [--threads 2]
//!
//! WORK is `read` (the file of rows, whole), `header` (open, read 1 KiB, scan), `validate` (read the
//! scan and step over all but the first coefficients), `near` (the same with pixels at 1/8, and a
//! perceptual hash of them) or `phash` (decode, resize, perceptual hash). It prints the seconds; `benches/programs.py --ideal` sets them beside djr's.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool that measures: it may stop at the first surprise"
)]

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Parser, ValueEnum};
use djr::image::{self, HashMethod, Probe, perceptual_hash};
use rayon::prelude::*;

/// Times kernels on a corpus.
#[derive(Parser)]
struct Args {
    /// What is done to each image.
    work: Work,
    /// The corpus: a folder with `rows.jsonl` and the images it names.
    corpus: PathBuf,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Work {
    Read,
    Header,
    Validate,
    Near,
    Phash,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let rows = args.corpus.join("rows.jsonl");
    if matches!(args.work, Work::Read) {
        let began = Instant::now();
        let mut file = File::open(rows)?;
        let mut block = vec![0; 1 << 20];
        while file.read(&mut block)? > 0 {}
        println!("{:.4}", began.elapsed().as_secs_f64());
        return Ok(());
    }
    let mut paths = Vec::new();
    for line in fs::read_to_string(rows)?.lines() {
        let row: serde_json::Value = serde_json::from_str(line)?;
        let names = row.get("images").and_then(serde_json::Value::as_array);
        let names = names.into_iter().flatten().filter_map(|name| name.as_str());
        paths.extend(names.map(|name| args.corpus.join(name)));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads)
        .build()?;
    let began = Instant::now();
    let good = pool.install(|| {
        paths
            .par_iter()
            .with_max_len(32)
            .filter(|path| one(args.work, path))
            .count()
    });
    let seconds = began.elapsed().as_secs_f64();
    println!("{seconds:.4}");
    eprintln!("{good} of {} images are good", paths.len());
    Ok(())
}

/// Whether the image is good.
fn one(work: Work, path: &Path) -> bool {
    if let Work::Header = work {
        let mut head = [0; 1024];
        let Ok(n) = File::open(path).and_then(|mut file| file.read(&mut head)) else {
            return false;
        };
        return match image::probe(head.get(..n).unwrap_or_default()) {
            Probe::Known(header) => header.is_ok(),
            _ => fs::read(path).is_ok_and(|bytes| image::header(&bytes).is_ok()),
        };
    }
    let Ok(bytes) = fs::read(path) else {
        return false;
    };
    let method = HashMethod::Phash;
    let hashed = |decoded: Result<image::Decoded, _>| {
        decoded.is_ok_and(|d| std::hint::black_box(perceptual_hash(&d.image, method)) > 0)
    };
    match work {
        Work::Near => hashed(image::decode_reduced(&bytes, method.least_side())),
        Work::Phash => hashed(image::decode(&bytes)),
        _ => image::validate(&bytes).is_ok(),
    }
}
