//! `djr verify`: whether all that a run wrote, and all it read, is still as its manifest says.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::args::ValidateArg;
use super::why::NO_RUN;
use super::{Exit, data, error};
use crate::exec::Observer;
use crate::io::{Fingerprint, Input, LineSource, RawBatch};
use crate::recipe::Validation;
use crate::report::RunReport;
use crate::report::past::PastRun;
use crate::report::progress::Progress;
use crate::report::table::{bytes, thousands};
use crate::sample::{
    ImageCheck, ImageContext, ImageNeed, ImageSlot, Origin, RowError, Sample, normalise,
};

const EXAMPLES: &str = "\
Examples:
  djr verify out/clean.djr
  djr verify out/clean.jsonl --images decode   decode all images, whatever the run checked
  djr verify out/clean.djr --images none       digests and counts only

Exit code 1 if something differs; the first difference of each kind is named.";

/// Check that what a run wrote and read is still as its manifest says.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The run: its .djr directory, or one of its outputs.
    run: PathBuf,
    /// How far images of the outputs are checked [default: as far as the run checked them].
    #[arg(long, value_name = "LEVEL")]
    images: Option<ValidateArg>,
    /// Threads that check images [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Print differences only.
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the command.
pub fn main(args: &Args) -> Exit {
    let run = match PastRun::open(&args.run) {
        Ok(run) => run,
        Err(failure) => {
            error(&failure.to_string(), Some(NO_RUN));
            return Exit::Usage;
        }
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads.map_or(0, usize::from))
        .build();
    let pool = match pool {
        Ok(pool) => pool,
        Err(failure) => {
            error(&format!("worker threads: {failure}"), None);
            return Exit::Failed;
        }
    };
    let kinds = [
        inputs(&run),
        files(&run),
        counts(&run),
        ledger(&run),
        quarantine(&run),
    ];
    let mut kinds = Vec::from(kinds);
    kinds.extend(rows(&run, args, &pool));
    let mut text = String::new();
    for kind in &kinds {
        match &kind.first {
            None if args.quiet => {}
            None => {
                let _ = writeln!(text, "ok       {:<12} {}", kind.name, kind.looked_at);
            }
            Some(first) => {
                let more = match kind.differences {
                    0 | 1 => String::new(),
                    n => format!(" (and {} more)", thousands(n - 1)),
                };
                let _ = writeln!(text, "DIFFERS  {:<12} {first}{more}", kind.name);
            }
        }
    }
    let printed = data(&text);
    let sound = kinds.iter().all(|kind| kind.first.is_none());
    if sound { printed } else { Exit::Losses }
}

/// One kind of thing that is checked.
struct Kind {
    name: &'static str,
    looked_at: String,
    differences: u64,
    first: Option<String>,
}

impl Kind {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            looked_at: String::new(),
            differences: 0,
            first: None,
        }
    }

    fn differs(&mut self, what: impl Into<String>) {
        self.differences += 1;
        self.first.get_or_insert(what.into());
    }

    /// Notes a difference unless `found` is what the manifest says.
    fn same(&mut self, what: &str, found: u64, said: u64) {
        if found != said {
            self.differs(format!(
                "{what}: {}, the manifest says {}",
                thousands(found),
                thousands(said)
            ));
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// The inputs' sizes and times.
fn inputs(run: &PastRun) -> Kind {
    let mut kind = Kind::new("inputs");
    let mut seen = 0;
    for input in run.inputs() {
        let name = input["name"].as_str().unwrap_or_default();
        // Standard input has no size.
        let Some(size) = input["bytes"].as_u64() else {
            continue;
        };
        seen += 1;
        match Fingerprint::of(Path::new(name)) {
            Err(failure) => kind.differs(format!("{name}: {failure}")),
            Ok(None) => kind.differs(format!("{name}: it is no file any more")),
            Ok(Some(now)) => {
                let time = Duration::from_nanos(now.modified_ns);
                let said = input["modified_unix"].as_f64();
                if now.bytes != size {
                    kind.same(&format!("{name}: bytes"), now.bytes, size);
                } else if input["ends_xxh3_128"] != now.ends {
                    kind.differs(format!("{name}: its content is another"));
                } else if said.is_some_and(|said| (time.as_secs_f64() - said).abs() > 1e-3) {
                    kind.differs(format!("{name}: it was written to after the run read it"));
                }
            }
        }
    }
    kind.looked_at = format!("{seen} unchanged in size, time and both ends");
    kind
}

/// A file of the manifest; a run that was moved as a whole is found where it is now.
fn place(run: &PastRun, file: &Value) -> PathBuf {
    let said = PathBuf::from(file["path"].as_str().unwrap_or_default());
    if said.exists() {
        return said;
    }
    let name = said.file_name().unwrap_or_default();
    let here = [Some(run.dir.as_path()), run.dir.parent()];
    let moved = here.into_iter().flatten().map(|dir| dir.join(name));
    moved
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or(said)
}

/// Sizes and digests of all files that the run wrote.
fn files(run: &PastRun) -> Kind {
    let mut kind = Kind::new("files");
    let own = ["ledger", "quarantine", "stats"].map(|name| &run.manifest[name]);
    let outputs = run.list("outputs").iter();
    let outputs = outputs.flat_map(|output| output["files"].as_array().into_iter().flatten());
    let (mut seen, mut total) = (0, 0);
    for file in outputs.chain(own).filter(|file| !file.is_null()) {
        let path = place(run, file);
        let shown = path.display();
        seen += 1;
        match digest(&path) {
            Err(failure) => kind.differs(format!("{shown}: {failure}")),
            Ok((size, digest)) => {
                total += size;
                if size != number(&file["bytes"]) {
                    kind.same(&format!("{shown}: bytes"), size, number(&file["bytes"]));
                } else if file["xxh3_128"] != digest {
                    kind.differs(format!(
                        "{shown}: its digest is {digest}, the manifest says {}",
                        file["xxh3_128"].as_str().unwrap_or("none")
                    ));
                }
            }
        }
    }
    kind.looked_at = format!("{seen} as written, {}", bytes(total));
    kind
}

fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3::new();
    let mut block = vec![0; 1 << 18];
    let mut size = 0;
    loop {
        let n = file.read(&mut block)?;
        if n == 0 {
            return Ok((size, format!("{:032x}", hash.digest128())));
        }
        size += n as u64;
        hash.update(block.get(..n).unwrap_or_default());
    }
}

/// What is counted of rows, in the manifest.
const COUNTS: [&str; 6] = ["in", "out", "dropped", "quarantined", "repeated", "merged"];

/// The manifest's own numbers: every row accounted for.
fn counts(run: &PastRun) -> Kind {
    let mut kind = Kind::new("counts");
    let rows = &run.manifest["rows"];
    let [read, out, dropped, aside, repeated, merged] = COUNTS.map(|name| number(&rows[name]));
    if read + repeated != out + dropped + aside + merged {
        kind.differs(format!(
            "rows in {read} + repeated {repeated} are not rows out {out} + dropped {dropped} + quarantined {aside} + merged {merged}"
        ));
    }
    let from_inputs: u64 = run
        .inputs()
        .iter()
        .map(|input| number(&input["rows"]))
        .sum();
    kind.same("rows of all inputs", from_inputs, read);
    let mut shown: Option<u64> = None;
    for step in run.list("steps") {
        let [came, went, dropped, aside, repeated, merged] = COUNTS.map(|name| number(&step[name]));
        let name = step["op"].as_str().unwrap_or("?");
        if came + repeated != went + dropped + aside + merged {
            kind.differs(format!("the rows of {name} do not add up"));
        }
        if let Some(before) = shown {
            kind.same(&format!("rows that {name} was shown"), came, before);
        }
        shown = Some(went);
    }
    for output in run.list("outputs") {
        let [reached, written, refused, left] =
            ["candidates", "written", "refused", "not_drawn"].map(|name| number(&output[name]));
        if reached != written + refused + left {
            let name = output["name"].as_str().unwrap_or("?");
            kind.differs(format!("the rows of {name} do not add up"));
        }
    }
    kind.looked_at = format!(
        "{} rows in = {} out + {} dropped + {} quarantined{}{}",
        thousands(read),
        thousands(out),
        thousands(dropped),
        thousands(aside),
        if merged > 0 {
            format!(" + {} merged", thousands(merged))
        } else {
            String::new()
        },
        if repeated > 0 {
            format!(" - {} repeated", thousands(repeated))
        } else {
            String::new()
        }
    );
    kind
}

#[derive(Deserialize)]
struct Entry<'a> {
    file: u64,
    fate: &'a str,
    step: Option<u64>,
}

/// The ledger's fates, added up.
fn ledger(run: &PastRun) -> Kind {
    let mut kind = Kind::new("ledger");
    if run.manifest["ledger"].is_null() {
        "there is none".clone_into(&mut kind.looked_at);
        return kind;
    }
    let (mut kept, mut dropped, mut aside, mut merged) = (0, 0, 0, 0);
    let mut by_step = vec![(0, 0, 0); run.list("steps").len()];
    let mut by_input = vec![0_u64; run.inputs().len()];
    let mut line_number = 0_u64;
    let read = run.each_entry(|line| {
        line_number += 1;
        let entry: Entry<'_> = serde_json::from_slice(line)?;
        let of_step = entry
            .step
            .and_then(|step| by_step.get_mut(usize::try_from(step).ok()?));
        match (entry.fate, of_step) {
            ("kept", _) => kept += 1,
            ("dropped", step) => {
                dropped += 1;
                if let Some(step) = step {
                    step.0 += 1;
                }
            }
            ("quarantined", step) => {
                aside += 1;
                if let Some(step) = step {
                    step.1 += 1;
                }
            }
            ("merged", step) => {
                merged += 1;
                if let Some(step) = step {
                    step.2 += 1;
                }
            }
            (other, _) => return Err(io::Error::other(format!("unknown fate '{other}'"))),
        }
        if let Some(rows) = usize::try_from(entry.file)
            .ok()
            .and_then(|file| by_input.get_mut(file))
        {
            *rows += 1;
        }
        Ok(true)
    });
    if let Err(failure) = read {
        kind.differs(format!(
            "{}, entry {}: {failure}",
            run.ledger().display(),
            thousands(line_number)
        ));
        return kind;
    }
    let rows = &run.manifest["rows"];
    kind.same("rows kept", kept, number(&rows["out"]));
    kind.same("rows dropped", dropped, number(&rows["dropped"]));
    kind.same("rows quarantined", aside, number(&rows["quarantined"]));
    kind.same("rows merged", merged, number(&rows["merged"]));
    let dropping = run.manifest["recipe"]["on_error"] == "drop";
    for (step, (dropped, aside, merged)) in run.list("steps").iter().zip(by_step) {
        let name = step["op"].as_str().unwrap_or("?");
        let said = (number(&step["dropped"]), number(&step["quarantined"]));
        // With `on_error: drop` rows that failed in a step are among the dropped.
        let found = if dropping {
            (dropped - said.1.min(dropped), said.1)
        } else {
            (dropped, aside)
        };
        kind.same(&format!("rows dropped by {name}"), found.0, said.0);
        kind.same(&format!("rows quarantined by {name}"), found.1, said.1);
        kind.same(
            &format!("rows merged by {name}"),
            merged,
            number(&step["merged"]),
        );
    }
    if number(&rows["repeated"]) == 0 {
        for (input, found) in run.inputs().iter().zip(by_input) {
            let name = input["name"].as_str().unwrap_or("?");
            kind.same(&format!("rows of {name}"), found, number(&input["rows"]));
        }
    }
    kind.looked_at = format!("{} entries add up", thousands(line_number));
    kind
}

/// The quarantine holds a record for each reason counted.
fn quarantine(run: &PastRun) -> Kind {
    let mut kind = Kind::new("quarantine");
    let mut records = 0;
    let read = run.each_set_aside(|line| {
        serde_json::from_slice::<serde::de::IgnoredAny>(line)?;
        records += 1;
        Ok(true)
    });
    if let Err(failure) = read {
        kind.differs(format!("record {}: {failure}", thousands(records + 1)));
    } else if run.manifest["recipe"]["on_error"] != "drop" {
        let reasons = run.list("reasons").iter();
        let said = reasons.map(|reason| number(&reason["rows"])).sum();
        kind.same("records", records, said);
    }
    kind.looked_at = format!("{} records", thousands(records));
    kind
}

/// One output: where its rows are and how its image paths are to be read.
struct Output<'a> {
    name: &'a str,
    files: Vec<PathBuf>,
    written: u64,
    llava: bool,
    absolute: bool,
    level: ImageCheck,
    context: Arc<ImageContext>,
}

/// Rows, paths and images of the outputs.
fn rows(run: &PastRun, args: &Args, pool: &rayon::ThreadPool) -> Vec<Kind> {
    let outputs: Vec<Output<'_>> = run
        .list("outputs")
        .iter()
        .zip(
            run.manifest["recipe"]["outputs"]
                .as_array()
                .into_iter()
                .flatten(),
        )
        .filter_map(|(counted, spec)| output(run, args, counted, spec))
        .collect();
    let total = outputs
        .iter()
        .flat_map(|output| &output.files)
        .filter_map(|file| std::fs::metadata(file).ok())
        .map(|metadata| metadata.len())
        .sum();
    let mut check = RowCheck {
        rows: Kind::new("rows"),
        paths: Kind::new("paths"),
        images: Kind::new("images"),
        rows_seen: 0,
        paths_seen: 0,
        images_seen: 0,
        known: HashSet::new(),
        progress: (!args.quiet).then(|| Progress::new(Some(total))),
        report: RunReport::default(),
    };
    for output in &outputs {
        check.output(output, pool);
    }
    check.rows.looked_at = format!("{} as counted", thousands(check.rows_seen));
    check.paths.looked_at = format!(
        "{} absolute where they should be",
        thousands(check.paths_seen)
    );
    check.images.looked_at = format!("{} checked", thousands(check.images_seen));
    let unchecked: Vec<&str> = outputs
        .iter()
        .filter(|output| output.level == ImageCheck::None)
        .map(|output| output.name)
        .collect();
    if !unchecked.is_empty() {
        let _ = write!(
            check.images.looked_at,
            "; not those of {} (--images decode checks them)",
            unchecked.join(", ")
        );
    }
    vec![check.rows, check.paths, check.images]
}

fn output<'a>(run: &PastRun, args: &Args, counted: &'a Value, spec: &Value) -> Option<Output<'a>> {
    let files: Vec<PathBuf> = counted["files"]
        .as_array()?
        .iter()
        .map(|file| place(run, file))
        .collect();
    // What went to the standard output is gone.
    let first = files.first()?;
    let recipe = &run.manifest["recipe"];
    let style = spec["paths"].as_str().unwrap_or("keep");
    let format = counted["format"].as_str().unwrap_or_default();
    let level = args.images.map_or_else(
        || serde_json::from_value(spec["validate"].clone()).unwrap_or_default(),
        |level| Validation::from(level).into(),
    );
    let parent = |path: &Path| path.parent().map_or_else(PathBuf::new, Path::to_owned);
    let mut roots = match (style, recipe["image_root"].as_str()) {
        ("relative", _) => vec![parent(first)],
        (_, Some(root)) => vec![PathBuf::from(root)],
        _ => run
            .inputs()
            .iter()
            .map(|input| parent(Path::new(input["name"].as_str().unwrap_or_default())))
            .collect(),
    };
    roots.dedup();
    let image_key = match format {
        "llava" => "image",
        "dj" => "images",
        _ => recipe["image_key"].as_str().unwrap_or("images"),
    };
    let confine = style == "keep" && recipe["confine"] == true;
    Some(Output {
        name: counted["name"].as_str().unwrap_or("?"),
        written: number(&counted["written"]),
        llava: format == "llava",
        absolute: style == "absolute",
        level,
        context: Arc::new(ImageContext {
            image_key: image_key.to_owned(),
            roots,
            confine,
            want: match level {
                ImageCheck::None | ImageCheck::Exists => ImageNeed::Path,
                ImageCheck::Header => ImageNeed::Header,
                ImageCheck::Decode => ImageNeed::Scaled,
            },
        }),
        files,
    })
}

struct RowCheck {
    rows: Kind,
    paths: Kind,
    images: Kind,
    rows_seen: u64,
    paths_seen: u64,
    images_seen: u64,
    /// Images known to be sound, by path and level: outputs of a run share most of them.
    known: HashSet<u128>,
    progress: Option<Progress>,
    report: RunReport,
}

/// What one row of an output has that should not be.
#[derive(Default)]
struct RowFound {
    problem: Option<String>,
    relative: Option<String>,
    paths: u64,
    sound: Vec<u128>,
    broken: Vec<String>,
}

impl RowCheck {
    fn output(&mut self, output: &Output<'_>, pool: &rayon::ThreadPool) {
        let inputs = output.files.iter().cloned().map(Input::File).collect();
        let mut source = LineSource::new(inputs);
        let mut written = 0;
        loop {
            let batch = match source.next_batch(512, 1 << 20) {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(failure) => {
                    self.rows.differs(failure.to_string());
                    return;
                }
            };
            written += self.batch(output, &batch, pool);
            self.report.rows_in += batch.lines.len() as u64;
            self.report.bytes_in += batch.data.len() as u64 + batch.lines.len() as u64;
            if let Some(progress) = &mut self.progress {
                progress.progress(0, 1, &self.report);
            }
        }
        self.rows_seen += written;
        let name = format!("{}: rows", output.name);
        self.rows.same(&name, written, output.written);
    }

    /// Checks the rows of a batch in parallel and returns how many there are.
    fn batch(&mut self, output: &Output<'_>, batch: &RawBatch, pool: &rayon::ThreadPool) -> u64 {
        let known = &self.known;
        let found: Vec<Option<(Origin, RowFound)>> = pool.install(|| {
            batch
                .lines
                .par_iter()
                .map(|line| {
                    let row = batch.bytes(line);
                    let row = record(row, output.llava)?;
                    let found = match &line.problem {
                        Some(problem) => RowFound {
                            problem: Some(problem.to_string()),
                            ..RowFound::default()
                        },
                        None => look(output, row, known),
                    };
                    Some((line.origin, found))
                })
                .collect()
        });
        let mut rows = 0;
        for (origin, found) in found.into_iter().flatten() {
            rows += 1;
            let file = output.files.get(origin.file as usize);
            let file = file.map_or_else(String::new, |file| file.display().to_string());
            let place = format!("{file}:{}", origin.line);
            if let Some(problem) = found.problem {
                self.rows.differs(format!("{place}: {problem}"));
            }
            if let Some(path) = found.relative {
                self.paths
                    .differs(format!("{place}: '{path}' is not absolute"));
            }
            for broken in found.broken {
                self.images.differs(format!("{place}: {broken}"));
            }
            self.paths_seen += found.paths;
            self.images_seen += found.sound.len() as u64;
            self.known.extend(found.sound);
        }
        rows
    }
}

/// A row of an output; `None` for the brackets of a JSON array read by lines.
fn record(line: &[u8], array: bool) -> Option<&[u8]> {
    if !array {
        return Some(line);
    }
    let line = line.trim_ascii();
    let line = line.strip_suffix(b",").unwrap_or(line);
    (!matches!(line, b"[" | b"]")).then_some(line)
}

fn look(output: &Output<'_>, row: &[u8], known: &HashSet<u128>) -> RowFound {
    let mut found = RowFound::default();
    let sample = std::str::from_utf8(row)
        .map_err(|failure| failure.to_string())
        .and_then(|line| {
            Sample::parse(
                line.to_owned(),
                Origin::default(),
                Arc::clone(&output.context),
            )
            .map_err(|failure| failure.to_string())
        });
    let sample = match sample {
        Ok(sample) => sample,
        Err(problem) => {
            found.problem = Some(problem);
            return found;
        }
    };
    let group;
    let images = match (sample.images(), sample.group_images()) {
        (Ok(images), _) => images,
        (Err(_), Some((images, _))) => {
            group = images;
            &group
        }
        (Err(problem), None) => {
            found.problem = Some(problem.to_string());
            return found;
        }
    };
    for image in images {
        found.paths += 1;
        let written = Path::new(image.written());
        if output.absolute && (!written.is_absolute() || normalise(written.to_owned()) != written) {
            found.relative = Some(image.written().to_owned());
        }
        if output.level == ImageCheck::None {
            continue;
        }
        let key = format!("{:?} {}", output.level, image.path().display());
        let key = xxh3_128(key.as_bytes());
        if known.contains(&key) {
            continue;
        }
        match check(output, image) {
            Ok(()) => found.sound.push(key),
            Err(problem) => found.broken.push(problem.to_string()),
        }
    }
    found
}

/// A relative path may start at any input's directory: the output does not say whose row it was.
fn check(output: &Output<'_>, image: &ImageSlot) -> Result<(), RowError> {
    let elsewhere = |file| {
        let context = Arc::clone(&output.context);
        ImageSlot::new(image.written().to_owned(), file, context).check(output.level)
    };
    image.check(output.level).or_else(|problem| {
        let mut others = (1..).take(output.context.roots.len().saturating_sub(1));
        others.find_map(|file| elsewhere(file).ok()).ok_or(problem)
    })
}
