//! `djr index`: benchmark sets read once, for many checks.

use std::io::Write as _;
use std::path::PathBuf;

use super::Exit;
use super::ui::{AsJson, Ui};
use crate::answer::IndexAnswer;
use crate::image::HashMethod;
use crate::io::PendingFile;
use crate::ops::benchmark::Benchmark;
use crate::report::table::{bytes, thousands};

const EXAMPLES: &str = "\
Examples:
  djr index benchmark.json --image-folder images -o benchmark.index.json
  djr decontaminate data.jsonl --against benchmark.index.json -o free.jsonl

Benchmarks are TSV tables with columns index, question, image (base64) and A, B, ... (MMBench), or
JSON {\"data\": [{\"question\", \"image_id\"}]} with a folder of pictures (TextVQA).";

/// Read benchmark sets once, words and perceptual hashes, for many checks against them.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The files of the benchmarks.
    #[arg(required = true)]
    benchmark: Vec<PathBuf>,
    /// Where the pictures lie that they name [default: beside the file].
    #[arg(long, value_name = "DIR")]
    image_folder: Option<PathBuf>,
    /// Leave pictures out.
    #[arg(long)]
    no_images: bool,
    /// The file to write.
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let mut benchmark = Benchmark::default();
    let method = (!args.no_images).then_some(("phash", HashMethod::Phash));
    for path in &args.benchmark {
        let folder = args.image_folder.as_deref();
        let open = |path: &std::path::Path| std::fs::read(path);
        if let Err(error) = benchmark.add(path, folder, method, &open) {
            ui.error("benchmark_invalid", &error.to_string(), None);
            return Exit::Usage;
        }
    }
    let index = benchmark.to_index();
    let written = PendingFile::create(&args.output)
        .and_then(|mut file| file.write_all(&index).and_then(|()| file.commit()));
    if let Err(error) = written {
        let message = format!("{}: {error}", args.output.display());
        ui.error("cannot_write", &message, None);
        return Exit::Failed;
    }
    let entries = &benchmark.entries;
    let with = |has: fn(&crate::ops::benchmark::Entry) -> bool| {
        entries.iter().filter(|entry| has(entry)).count() as u64
    };
    let answer = IndexAnswer {
        output: args.output.clone(),
        bytes: index.len() as u64,
        questions: with(|entry| !entry.question.is_empty()),
        pictures: with(|entry| entry.image.is_some()),
    };
    ui.info(&format!(
        "{}: {} questions, {} pictures, {}",
        args.output.display(),
        thousands(answer.questions),
        thousands(answer.pictures),
        bytes(answer.bytes)
    ));
    ui.result(&answer);
    Exit::Success
}
