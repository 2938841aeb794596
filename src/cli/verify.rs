//! `djr verify`: whether all that a run wrote, and all it read, is still as its manifest says.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use super::ui::{AsJson, Ui};
use super::{Exit, past};
use crate::answer::{Difference, LookedAt, VerifyAnswer, VerifyKind};
use crate::exec::{Moment, Observer};
use crate::io::atomic::digest_of;
use crate::io::format::{Framing, OutputFormat};
use crate::io::source::InputAttachments;
use crate::io::{Input, LineSource, RawBatch};
use crate::record::manifest::{Change, OutputRecord, RowCounts};
use crate::record::settings::OutputSettings;
use crate::record::{Fate, PastRun, RecordError, RunReport, StepNumber};
use crate::report::progress::Progress;
use crate::report::table::{bytes, thousands};
use crate::sample::{
    Attachment, ImageCheck, ImageContext, ImageNeed, ImageSlot, Origin, RowError, read_row,
    simplify,
};

const EXAMPLES: &str = "\
Examples:
  djr verify out/clean.jsonl
  djr verify out/clean.jsonl --images decode   decode all images, whatever the run checked
  djr verify out/clean.jsonl --images none     digests and counts only

Exit code 1 if something differs; the first difference of each kind is named.";

/// Check that what a run wrote and read is still as its manifest says.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The run: its .djr directory, or one of its outputs.
    run: PathBuf,
    /// How far images of the outputs are checked [default: as far as the run checked them].
    #[arg(long, value_name = "LEVEL")]
    images: Option<ImageCheck>,
    /// Threads that check images [default: all cores].
    #[arg(long, short = 'j', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let run = match past::open(&args.run, ui) {
        Ok(run) => run,
        Err(exit) => return exit,
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads.map_or(0, usize::from))
        .build();
    let pool = match pool {
        Ok(pool) => pool,
        Err(failure) => {
            ui.error("internal", &format!("worker threads: {failure}"), None);
            return Exit::Failed;
        }
    };
    let kinds = [
        inputs(&run),
        assets(&run),
        files(&run),
        counts(&run),
        ledger(&run),
        quarantine(&run),
    ];
    let mut kinds = Vec::from(kinds);
    kinds.extend(rows(&run, args, &pool, ui));
    let mut text = String::new();
    for kind in &kinds {
        match &kind.first {
            None if ui.log.quiet => {}
            None => {
                let _ = writeln!(text, "ok       {:<12} {}", kind.name, looked_at(kind));
            }
            Some(first) => {
                let more = match kind.differences {
                    0 | 1 => String::new(),
                    n => format!(" (and {} more)", thousands(n - 1)),
                };
                let _ = writeln!(text, "DIFFERS  {:<12} {}{more}", kind.name, first.message);
            }
        }
    }
    let sound = kinds.iter().all(|kind| kind.first.is_none());
    ui.result(&VerifyAnswer {
        run_dir: run.files.dir.clone(),
        checks: kinds,
    });
    let printed = ui.data(&text);
    if sound { printed } else { Exit::Losses }
}

/// What was looked at, for people.
fn looked_at(kind: &VerifyKind) -> String {
    let LookedAt {
        count,
        bytes: size,
        without_digest,
        rows,
        unchecked,
    } = &kind.looked_at;
    let Some(count) = count else {
        return "there is none".to_owned();
    };
    let number = thousands(*count);
    match kind.name {
        INPUTS => match without_digest.unwrap_or(0) {
            0 => format!("{number} as they were read"),
            others => format!(
                "{} as they were read, {} unchanged in size, time and both ends",
                thousands(count.saturating_sub(others)),
                thousands(others)
            ),
        },
        ASSETS => format!("{number} as they were read"),
        FILES => format!("{number} as written, {}", bytes(size.unwrap_or(0))),
        COUNTS => rows_in_words(&rows.unwrap_or_default()),
        LEDGER => format!("{number} entries add up"),
        QUARANTINE => format!("{number} records"),
        ROWS => format!("{number} as counted"),
        PATHS => format!("{number} absolute where they should be"),
        _ => match unchecked {
            None => format!("{number} checked"),
            Some(outputs) => format!(
                "{number} checked; not those of {} (--images decode checks them)",
                outputs.join(", ")
            ),
        },
    }
}

/// `9 rows in = 6 out + 2 dropped + 1 set aside`.
fn rows_in_words(rows: &RowCounts) -> String {
    let mut words = format!(
        "{} rows in = {} out + {} dropped + {} set aside",
        thousands(rows.read),
        thousands(rows.out),
        thousands(rows.dropped),
        thousands(rows.quarantined)
    );
    if rows.merged > 0 {
        let _ = write!(words, " + {} merged", thousands(rows.merged));
    }
    if rows.repeated > 0 {
        let _ = write!(words, " - {} repeated", thousands(rows.repeated));
    }
    words
}

/// The kinds of things that are checked.
const INPUTS: &str = "inputs";
const ASSETS: &str = "assets";
const FILES: &str = "files";
const COUNTS: &str = "counts";
const LEDGER: &str = "ledger";
const QUARANTINE: &str = "quarantine";
const ROWS: &str = "rows";
const PATHS: &str = "paths";
const IMAGES: &str = "images";

/// One kind of thing that is checked, while it is.
struct Kind(VerifyKind);

impl Kind {
    fn new(name: &'static str) -> Self {
        Self(VerifyKind {
            name,
            looked_at: LookedAt {
                count: Some(0),
                ..LookedAt::default()
            },
            ..VerifyKind::default()
        })
    }

    fn looked_at(mut self, looked_at: LookedAt) -> VerifyKind {
        self.0.looked_at = looked_at;
        self.0
    }

    /// So many things were looked at.
    fn counted(self, count: u64) -> VerifyKind {
        self.looked_at(LookedAt {
            count: Some(count),
            ..LookedAt::default()
        })
    }

    fn differs(&mut self, what: Difference) {
        self.0.differences += 1;
        self.0.first.get_or_insert(what);
    }

    /// Notes a difference unless `found` is what the manifest says.
    fn same(&mut self, what: Difference, found: u64, recorded: u64) {
        if found != recorded {
            let message = format!(
                "{}: {}, the manifest says {}",
                what.message,
                thousands(found),
                thousands(recorded)
            );
            self.differs(Difference { message, ..what }.between(found, recorded));
        }
    }
}

/// The inputs' digests; of what has none, size, time and both ends.
fn inputs(run: &PastRun) -> VerifyKind {
    let mut kind = Kind::new(INPUTS);
    // Standard input has no size.
    let records = run.manifest.inputs.iter();
    let records: Vec<_> = records.filter(|input| input.bytes.is_some()).collect();
    let changes: Vec<_> = records.par_iter().map(|input| input.change()).collect();
    for (input, change) in records.iter().zip(changes) {
        let name = &input.name;
        let differs =
            |code: &str, what: &str| Difference::new(code, format!("{name}: {what}")).of_file(name);
        match change {
            Err(failure) => kind.differs(differs("cannot_read", &failure.to_string())),
            Ok(None) => {}
            Ok(Some(Change::Kind)) => kind.differs(differs("not_a_file", "it is no file any more")),
            Ok(Some(Change::Size(now))) => kind.same(
                Difference::count("bytes", format!("{name}: bytes")).of_file(name),
                now,
                input.bytes.unwrap_or(0),
            ),
            Ok(Some(Change::Content)) => {
                kind.differs(differs("content", "its content is another"));
            }
            Ok(Some(Change::Time)) => {
                kind.differs(differs("time", "it was written to after the run read it"));
            }
        }
    }
    let by_digest = records.iter().filter(|input| input.xxh3_128.is_some());
    let by_digest = by_digest.count();
    kind.looked_at(LookedAt {
        count: Some(records.len() as u64),
        without_digest: Some((records.len() - by_digest) as u64),
        ..LookedAt::default()
    })
}

/// The files that operators and outputs read: word lists, models, questions.
fn assets(run: &PastRun) -> VerifyKind {
    let mut kind = Kind::new(ASSETS);
    let plan = &run.manifest.plan;
    for change in plan.changed_assets() {
        let code = match change.error {
            Some(_) => "cannot_read",
            None => "content",
        };
        kind.differs(Difference::new(code, change.to_string()).of_file(change.path.display()));
    }
    let (digest, recorded) = (plan.digest(), &run.manifest.plan_digest);
    if digest != *recorded {
        let what = "the plan is not the one whose digest the manifest holds";
        kind.differs(Difference::new("plan", what).between(digest, recorded.as_str()));
    }
    kind.counted(plan.assets().count() as u64)
}

/// Sizes and digests of all files that the run wrote.
fn files(run: &PastRun) -> VerifyKind {
    let mut kind = Kind::new(FILES);
    let (mut seen, mut total) = (0, 0);
    for file in run.manifest.files() {
        let path = run.place(file);
        let shown = path.display();
        seen += 1;
        match digest_of(&path) {
            Err(failure) => kind.differs(
                Difference::new("cannot_read", format!("{shown}: {failure}")).of_file(&shown),
            ),
            Ok((size, digest)) => {
                total += size;
                if size != file.bytes {
                    let what = Difference::count("bytes", format!("{shown}: bytes"));
                    kind.same(what.of_file(&shown), size, file.bytes);
                } else if file.xxh3_128 != digest {
                    let recorded = file.xxh3_128.as_str();
                    let what =
                        format!("{shown}: its digest is {digest}, the manifest says {recorded}");
                    let what = Difference::new("content", what).of_file(&shown);
                    kind.differs(what.between(digest, recorded));
                }
            }
        }
    }
    kind.looked_at(LookedAt {
        count: Some(seen),
        bytes: Some(total),
        ..LookedAt::default()
    })
}

/// The manifest's own numbers: every row accounted for.
fn counts(run: &PastRun) -> VerifyKind {
    let mut kind = Kind::new(COUNTS);
    let rows = &run.manifest.rows;
    let (read, out, dropped, aside) = (rows.read, rows.out, rows.dropped, rows.quarantined);
    let (repeated, merged) = (rows.repeated, rows.merged);
    let ended = out + dropped + aside + merged;
    if read + repeated != ended {
        let what = format!(
            "rows in {read} + repeated {repeated} are not rows out {out} + dropped {dropped} + quarantined {aside} + merged {merged}"
        );
        kind.differs(Difference::new("not_conserved", what).between(ended, read + repeated));
    }
    let from_inputs: u64 = run.manifest.inputs.iter().map(|input| input.rows).sum();
    kind.same(
        Difference::count("in", "rows of all inputs"),
        from_inputs,
        read,
    );
    let mut compared = 2;
    let mut shown: Option<u64> = None;
    for (number, step) in run.manifest.steps.iter().enumerate() {
        let name = &step.op;
        let ended = step.out + step.dropped + step.quarantined + step.merged;
        if step.shown + step.repeated != ended {
            let what = format!("the rows of {name} do not add up");
            let what = Difference::new("not_conserved", what).of_step(number);
            kind.differs(what.between(ended, step.shown + step.repeated));
        }
        if let Some(before) = shown {
            let what = Difference::count("shown", format!("rows that {name} was shown"));
            kind.same(what.of_step(number), step.shown, before);
        }
        compared += 1 + u64::from(shown.is_some());
        shown = Some(step.out);
    }
    for output in &run.manifest.outputs {
        let ended = output.written + output.refused + output.not_drawn + output.unmatched;
        if output.candidates != ended {
            let what = format!("the rows of {} do not add up", output.name);
            let what = Difference::new("not_conserved", what).of_file(&output.name);
            kind.differs(what.between(ended, output.candidates));
        }
        compared += 1;
    }
    kind.looked_at(LookedAt {
        count: Some(compared),
        rows: Some(*rows),
        ..LookedAt::default()
    })
}

/// The ledger's fates, added up.
fn ledger(run: &PastRun) -> VerifyKind {
    let mut kind = Kind::new(LEDGER);
    if run.manifest.ledger.is_none() {
        return kind.looked_at(LookedAt::default());
    }
    match tally(run) {
        Ok(tally) => {
            tally.compare(run, &mut kind);
            kind.counted(tally.entries)
        }
        Err(failure) => {
            kind.differs(unread(&failure));
            kind.counted(0)
        }
    }
}

/// A record that cannot be read.
fn unread(failure: &RecordError) -> Difference {
    Difference::new(failure.code(), failure.to_string()).of_file(failure.path())
}

/// How many entries of the ledger have which fate.
#[derive(Clone, Default)]
struct Fates {
    kept: u64,
    dropped: u64,
    quarantined: u64,
    merged: u64,
}

impl Fates {
    fn add(&mut self, fate: Fate) {
        let count = match fate {
            Fate::Kept => &mut self.kept,
            Fate::Dropped => &mut self.dropped,
            Fate::Quarantined => &mut self.quarantined,
            Fate::Merged => &mut self.merged,
        };
        *count += 1;
    }
}

/// The ledger's entries: all of them, those of each step, those of each input.
struct Tally {
    entries: u64,
    all: Fates,
    by_step: Vec<Fates>,
    by_input: Vec<u64>,
}

fn tally(run: &PastRun) -> Result<Tally, RecordError> {
    let mut tally = Tally {
        entries: 0,
        all: Fates::default(),
        by_step: vec![Fates::default(); run.manifest.steps.len()],
        by_input: vec![0; run.manifest.inputs.len()],
    };
    let mut ledger = run.ledger()?;
    while let Some(entry) = ledger.next_record()? {
        tally.entries += 1;
        tally.all.add(entry.fate);
        let step = entry.step.map(StepNumber::index);
        if let Some(step) = step.and_then(|step| tally.by_step.get_mut(step)) {
            step.add(entry.fate);
        }
        if let Some(rows) = tally.by_input.get_mut(entry.file as usize) {
            *rows += 1;
        }
    }
    Ok(tally)
}

impl Tally {
    fn compare(&self, run: &PastRun, kind: &mut Kind) {
        let rows = &run.manifest.rows;
        for (counted, found, recorded) in [
            ("kept", self.all.kept, rows.out),
            ("dropped", self.all.dropped, rows.dropped),
            ("quarantined", self.all.quarantined, rows.quarantined),
            ("merged", self.all.merged, rows.merged),
        ] {
            let what = Difference::count(counted, format!("rows {counted}"));
            kind.same(what, found, recorded);
        }
        for (number, (step, found)) in run.manifest.steps.iter().zip(&self.by_step).enumerate() {
            // With `on_error: drop` rows that failed in a step are among the dropped.
            let (dropped, aside) = if run.settings.drops_failed() {
                let failed = step.quarantined;
                (found.dropped - failed.min(found.dropped), failed)
            } else {
                (found.dropped, found.quarantined)
            };
            for (counted, found, recorded) in [
                ("dropped", dropped, step.dropped),
                ("quarantined", aside, step.quarantined),
                ("merged", found.merged, step.merged),
            ] {
                let what = format!("rows {counted} by {}", step.op);
                let what = Difference::count(counted, what).of_step(number);
                kind.same(what, found, recorded);
            }
        }
        if rows.repeated == 0 {
            for (input, found) in run.manifest.inputs.iter().zip(&self.by_input) {
                let what = Difference::count("in", format!("rows of {}", input.name));
                kind.same(what.of_file(&input.name), *found, input.rows);
            }
        }
    }
}

/// The quarantine holds a record for each reason counted, but for those of outputs of rows that had ended:
/// what has ended is not set aside once more.
fn quarantine(run: &PastRun) -> VerifyKind {
    let mut kind = Kind::new(QUARANTINE);
    let count = || -> Result<u64, RecordError> {
        let mut count = 0;
        if let Some(mut records) = run.quarantine()? {
            while records.next_record()?.is_some() {
                count += 1;
            }
        }
        Ok(count)
    };
    match count() {
        Err(failure) => {
            kind.differs(unread(&failure));
            kind.counted(0)
        }
        Ok(records) => {
            if !run.settings.drops_failed() {
                let outputs = run.manifest.outputs.iter().zip(&run.settings.outputs);
                let of_ended = outputs.filter(|(_, settings)| settings.of.is_some());
                let of_ended: Vec<&str> = of_ended.map(|(it, _)| it.name.as_str()).collect();
                let reasons = run.manifest.reasons.iter();
                let said = reasons.filter(|reason| !of_ended.contains(&reason.by.as_str()));
                let said = said.map(|reason| reason.rows).sum();
                kind.same(Difference::count("records", "records"), records, said);
            }
            kind.counted(records)
        }
    }
}

/// One output: where its rows are and how its image paths are to be read.
struct Output<'a> {
    name: &'a str,
    files: Vec<PathBuf>,
    written: u64,
    in_array: bool,
    absolute: bool,
    level: ImageCheck,
    context: Arc<ImageContext>,
}

/// Rows, paths and images of the outputs.
fn rows(run: &PastRun, args: &Args, pool: &rayon::ThreadPool, ui: &Ui) -> Vec<VerifyKind> {
    let outputs: Vec<Output<'_>> = run
        .manifest
        .outputs
        .iter()
        .zip(&run.settings.outputs)
        .filter_map(|(counted, spec)| output(run, args, counted, spec))
        .collect();
    let total = outputs
        .iter()
        .flat_map(|output| &output.files)
        .filter_map(|file| std::fs::metadata(file).ok())
        .map(|metadata| metadata.len())
        .sum();
    let mut check = RowCheck {
        rows: Kind::new(ROWS),
        paths: Kind::new(PATHS),
        images: Kind::new(IMAGES),
        rows_seen: 0,
        paths_seen: 0,
        images_seen: 0,
        known: HashSet::new(),
        progress: ui.progress(Some(total)),
        report: RunReport::default(),
    };
    for output in &outputs {
        check.output(output, pool);
    }
    let unchecked: Vec<String> = outputs
        .iter()
        .filter(|output| output.level == ImageCheck::None)
        .map(|output| output.name.to_owned())
        .collect();
    vec![
        check.rows.counted(check.rows_seen),
        check.paths.counted(check.paths_seen),
        check.images.looked_at(LookedAt {
            count: Some(check.images_seen),
            unchecked: Some(unchecked).filter(|outputs| !outputs.is_empty()),
            ..LookedAt::default()
        }),
    ]
}

fn output<'a>(
    run: &PastRun,
    args: &Args,
    counted: &'a OutputRecord,
    spec: &OutputSettings,
) -> Option<Output<'a>> {
    let files: Vec<PathBuf> = counted.files.iter().map(|file| run.place(file)).collect();
    // What went to the standard output is gone.
    let first = files.first()?;
    let recipe = &run.settings;
    let style = spec.paths.as_deref().unwrap_or("keep");
    let level = args.images.unwrap_or(spec.validate);
    let parent = |path: &Path| path.parent().map_or_else(PathBuf::new, Path::to_owned);
    let mut roots = match (style, &recipe.image_root) {
        ("relative", _) => vec![parent(first)],
        (_, Some(root)) => vec![root.clone()],
        _ => run
            .manifest
            .inputs
            .iter()
            .map(|input| parent(Path::new(&input.name)))
            .collect(),
    };
    roots.dedup();
    // Images that lie in archives and columns have names, which no style makes paths of.
    let mut inputs = run.manifest.inputs.iter();
    let names_only = inputs.any(|input| {
        let opened = input.input().and_then(|input| input.look().ok()?);
        opened.is_some_and(|opened| opened.format().is_binary())
    });
    let known = OutputFormat::from_word(&counted.format);
    let image_key = known
        .and_then(|format| format.written_image_key)
        .unwrap_or_else(|| recipe.image_key());
    Some(Output {
        name: &counted.name,
        written: counted.written,
        in_array: known.is_some_and(|format| format.framing == Framing::ARRAY),
        absolute: style == "absolute" && !names_only,
        level,
        context: Arc::new(ImageContext {
            image_key: image_key.to_owned(),
            roots,
            confine: style == "keep" && recipe.confine,
            want: match level {
                ImageCheck::None | ImageCheck::Exists => ImageNeed::Path,
                ImageCheck::Header => ImageNeed::Header,
                ImageCheck::Decode => ImageNeed::Scaled,
            },
            attachments: Some(Arc::new(InputAttachments::new(
                files.iter().cloned().map(Input::File).collect(),
            ))),
            ..ImageContext::default()
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
    progress: Progress,
    report: RunReport,
}

/// What one row of an output has that should not be.
#[derive(Default)]
struct RowFound {
    problem: Option<RowError>,
    relative: Option<String>,
    paths: u64,
    sound: Vec<u128>,
    /// Images as they are written, with what is wrong.
    broken: Vec<(String, RowError)>,
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
                    let what = Difference::new("cannot_read", failure.to_string());
                    self.rows.differs(what.of_file(output.name));
                    return;
                }
            };
            written += self.batch(output, &batch, pool);
            self.report.rows_in += batch.lines.len() as u64;
            self.report.bytes_in += batch.data.len() as u64 + batch.lines.len() as u64;
            self.progress.progress(&Moment::reading(0, 1, &self.report));
        }
        self.rows_seen += written;
        let what = Difference::count("written", format!("{}: rows", output.name));
        self.rows
            .same(what.of_file(output.name), written, output.written);
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
                    let row = record(row, output.in_array)?;
                    let found = match &line.problem {
                        Some(problem) => RowFound {
                            problem: Some(problem.clone()),
                            ..RowFound::default()
                        },
                        None => look(output, row, &line.attached, known),
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
            let differs = |code: &str, what: &str, image: Option<String>| Difference {
                line: Some(origin.line),
                offset: Some(origin.offset),
                image,
                ..Difference::new(code, format!("{file}:{}: {what}", origin.line)).of_file(&file)
            };
            if let Some(problem) = found.problem {
                let what = problem.to_string();
                self.rows.differs(differs(problem.code, &what, None));
            }
            if let Some(path) = found.relative {
                let what = format!("'{path}' is not absolute");
                self.paths
                    .differs(differs("path_not_absolute", &what, Some(path)));
            }
            for (image, broken) in found.broken {
                let what = broken.to_string();
                self.images
                    .differs(differs(broken.code, &what, Some(image)));
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

fn look(
    output: &Output<'_>,
    row: &[u8],
    attached: &[Attachment],
    known: &HashSet<u128>,
) -> RowFound {
    let mut found = RowFound::default();
    let sample = read_row(row.into(), Origin::default(), &output.context)
        .map(|sample| sample.with_attached(attached.to_vec()))
        .map_err(|unread| unread.error);
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
            found.problem = Some(problem);
            return found;
        }
    };
    for image in images {
        found.paths += 1;
        let written = Path::new(image.written());
        // What an output holds itself has a name and no path.
        let own = image.attached().is_some();
        if output.absolute
            && !own
            && (!written.is_absolute() || simplify(written.to_owned()) != written)
        {
            found.relative = Some(image.written().to_owned());
        }
        if output.level == ImageCheck::None {
            continue;
        }
        let place = image.attached().map(|it| (it.input, it.at));
        let key = format!("{:?} {place:?} {}", output.level, image.path().display());
        let key = xxh3_128(key.as_bytes());
        if known.contains(&key) {
            continue;
        }
        match check(output, image) {
            Ok(()) => found.sound.push(key),
            Err(problem) => found.broken.push((image.written().to_owned(), problem)),
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
