//! `djr run --explain`: the plan of a recipe, for people.

use std::fmt::Write as _;
use std::time::Duration;

use crate::answer::{CostEstimate, Estimate, ProbeRecord};
use crate::exec::{self, Probe, RunOptions, Sampled, StepProbe};
use crate::io::format::OptionValue;
use crate::note::{rows, thousands};
use crate::op::{Asset, ImageNeed, OpKind, PeerService, Service};
use crate::plan::Plan;
use crate::recipe::{Inputs, Of, OutputSpec, Recipe, Split, Step, Validation};
use crate::record::counts::resident_memory;
use crate::report::table::{bytes, seconds};

/// The plan as text, with what a probe of the first rows measured.
#[must_use]
pub fn render(
    recipe: &Recipe,
    plan: &Plan,
    probed: Option<&Probe>,
    estimate: Option<&Estimate>,
) -> String {
    let mut out = reads(recipe);
    if let Some(root) = &recipe.image_root {
        let _ = writeln!(
            out,
            "images below {}{}",
            root.display(),
            if recipe.confine {
                ", confined to it"
            } else {
                ""
            }
        );
    }
    for (number, stage) in plan.stages.iter().enumerate() {
        let _ = writeln!(
            out,
            "stage {} of {}: {}",
            number + 1,
            plan.stages.len(),
            image_words(stage.images)
        );
        for number in stage.rows.iter().chain(&stage.exchanges) {
            let index = number.saturating_sub(1);
            let Some(step) = recipe.steps.get(index) else {
                continue;
            };
            let _ = writeln!(out, "  {}", step_line(step));
            for asset in &step.spec.assets {
                let _ = writeln!(out, "       {}", asset_words(asset));
            }
            if let Some(service) = &step.spec.service {
                let _ = writeln!(out, "       asks {}", service_words(service));
            }
            if let Some(probed) = probed {
                let probe = probed.steps.get(index).copied().flatten();
                let _ = writeln!(out, "       {}", probe_line(probe));
            }
        }
        if !stage.rows.is_sorted() {
            out.push_str(FUSED);
        }
        if !stage.exchanges.is_empty() {
            out.push_str("  -- exchange: rows wait on disk until every key is known --\n");
        }
    }
    for output in &recipe.outputs {
        let _ = writeln!(out, "write  {}", output_line(output));
    }
    for asset in &plan.assets {
        let _ = writeln!(out, "reads  {}", asset_words(asset));
    }
    let _ = writeln!(out, "plan   {}", plan.digest());
    match (probed, estimate) {
        (Some(probed), Some(estimate)) => {
            let _ = writeln!(out, "takes  {}", estimate_words(probed, estimate));
        }
        (Some(_), None) => out.push_str("takes  not known: the size of the inputs is not\n"),
        (None, _) => {}
    }
    let here = std::env::current_dir().unwrap_or_default();
    for note in &exec::all_notes(recipe, &here) {
        let _ = writeln!(out, "note   {note}");
    }
    out
}

/// Where rows come from, a line each.
#[must_use]
pub fn reads(recipe: &Recipe) -> String {
    match &recipe.inputs {
        Inputs::Stdin => "read   standard input\n".to_owned(),
        Inputs::Given(_) => "read   rows that are handed in\n".to_owned(),
        Inputs::Files(files) => {
            let mut out = String::new();
            for file in files {
                let _ = writeln!(out, "read   {}", file.display());
            }
            out
        }
    }
}

/// Where relative image paths start, in words.
#[must_use]
pub fn paths_start(recipe: &Recipe) -> String {
    let from = match (&recipe.image_root, &recipe.inputs) {
        (Some(root), _) => root.display().to_string(),
        (None, Inputs::Files(_)) => "the directory of the input that a row is from".to_owned(),
        (None, Inputs::Stdin | Inputs::Given(_)) => "the working directory".to_owned(),
    };
    format!("relative image paths start at {from}")
}

const FUSED: &str =
    "  -- op_fusion: in the order above; the same rows survive, but a row that several filters
     would drop or fail on is charged to the first of them that runs --
";

fn service_words(service: &Service) -> String {
    match service {
        Service::Model(model) => {
            let batch = model.heads.iter().map(|head| head.batch).max().unwrap_or(1);
            format!(
                "the model {} ({}, {}, batches of {batch})",
                model.model,
                model.class,
                model.dtype.word()
            )
        }
        Service::Peer(peer) => peer_words(peer),
        Service::Program(program) => format!(
            "the program `{}` ({} at a time, {} rows before each answer)",
            program.shown, program.processes, program.batch
        ),
        Service::Endpoint(endpoint) => format!(
            "{} at {} (up to {} at a time)",
            endpoint.model.as_deref().unwrap_or("the first model"),
            endpoint.base_urls.join(", "),
            endpoint.max_concurrency
        ),
    }
}

/// Where an operator that djr lacks runs.
pub fn peer_words(peer: &PeerService) -> String {
    let processes = match peer.run.processes {
        Some(processes) => format!("{processes} at a time"),
        None => "a process a thread, at most 4".to_owned(),
    };
    format!(
        "Data-Juicer {}, Python at {} ({}, {processes})",
        peer.facts.version,
        peer.facts.python.display(),
        peer.facts.class
    )
}

fn asset_words(asset: &Asset) -> String {
    let Asset {
        path,
        bytes,
        xxh3_128,
    } = asset;
    format!("{} ({bytes} bytes, {xxh3_128})", path.display())
}

fn probe_line(probe: Option<StepProbe>) -> String {
    let Some(probe) = probe else {
        return "not probed: behind an exchange".to_owned();
    };
    if probe.rows == 0 {
        return "no row came here".to_owned();
    }
    let micros = Duration::from_nanos(probe.nanos).as_secs_f64() * 1e6;
    let mut line = format!("{}, {micros:.2} µs a row", rows(probe.rows));
    match probe.dropped {
        Some(0) => {}
        Some(dropped) => {
            let _ = write!(line, ", {dropped} dropped");
        }
        None => line.push_str(", what it drops is not known from a few rows"),
    }
    if probe.failed > 0 {
        let _ = write!(line, ", {} cannot be processed", probe.failed);
    }
    line
}

/// What a probe measured, as `--json` shows it.
pub fn probe_records(probed: &Probe) -> Vec<Option<ProbeRecord>> {
    let record = |probe: &StepProbe| ProbeRecord {
        rows: probe.rows,
        dropped: probe.dropped,
        failed: probe.failed,
        nanoseconds: probe.nanos,
    };
    let steps = probed.steps.iter();
    steps.map(|step| step.as_ref().map(record)).collect()
}

/// Resident bytes a row that an exchange needs whatever the memory budget says (ARCHITECTURE.md,
/// Memory).
const RESIDENT_A_ROW: u64 = 52;

/// What reading a row and writing it costs beside its steps, in nanoseconds.
const ROW_NANOS: u64 = 2_000;

/// Bytes of ledger and stats a row leaves, packed.
const RECORD_BYTES: u64 = 40;

/// What a run over `input_bytes` takes, by what its first rows took; `None` if it is not known how
/// many rows there are. What stands behind an exchange is taken to cost as much as the steps before it.
pub fn estimate(
    recipe: &Recipe,
    probed: &Probe,
    input_bytes: Option<u64>,
    threads: Option<usize>,
) -> Option<Estimate> {
    let times = probed.part.times(input_bytes)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.or(recipe.threads).unwrap_or(cores).clamp(1, cores) as u64;
    let seen = probed.rows.max(1);
    let row_bytes = (probed.bytes / seen).max(1);
    let rows = times_of(probed.rows, times);
    let rows_left = scaled(rows, probed.alive, seen);
    let steps = probed.steps.iter().flatten();
    let probed_nanos: u64 = steps.map(|step| step.nanos * step.rows).sum();
    let known = probed.steps.iter().flatten().count().max(1) as u64;
    let all = probed.steps.len().max(1) as u64;
    let nanos = scaled(probed_nanos, all, known) / seen + ROW_NANOS;
    let exchanges = recipe
        .steps
        .iter()
        .filter(|step| step.is_exchange())
        .count();
    let budget = RunOptions {
        max_memory: recipe.max_memory,
        ..RunOptions::default()
    }
    .memory();
    let in_flight = (threads * 4 + 2) * (1 << 20);
    let keys = if exchanges > 0 {
        rows * RESIDENT_A_ROW + (rows * 16).min(budget / 4)
    } else {
        (rows * 40).min(budget / 4)
    };
    let output = |output: &OutputSpec| {
        let written = output.sample.map_or(rows_left, |most| most.min(rows_left));
        written * row_bytes
    };
    Some(Estimate {
        rows,
        rows_left,
        seconds: Duration::from_nanos(scaled(rows, nanos, threads)).as_secs_f64(),
        memory_bytes: resident_memory() + in_flight + keys,
        output_bytes: recipe.outputs.iter().map(output).sum::<u64>() + rows * RECORD_BYTES,
        working_bytes: if exchanges > 0 {
            rows_left * row_bytes + rows * 64
        } else {
            rows * RECORD_BYTES
        },
    })
}

/// A number so many times, or a share of it, rounded.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rows and bytes are fewer than 2^53, and never negative"
)]
pub(super) fn times_of(number: u64, times: f64) -> u64 {
    (number as f64 * times).round() as u64
}

/// `number * times / by`, without an overflow.
fn scaled(number: u64, times: u64, by: u64) -> u64 {
    let product = u128::from(number) * u128::from(times) / u128::from(by.max(1));
    u64::try_from(product).unwrap_or(u64::MAX)
}

fn estimate_words(probed: &Probe, estimate: &Estimate) -> String {
    let from = if probed.part.is_whole {
        "all of them".to_owned()
    } else {
        format!("the first {}", rows(probed.rows))
    };
    let time = if estimate.seconds < 0.1 {
        "less than 0.1 s".to_owned()
    } else {
        let time = Duration::from_secs_f64(estimate.seconds);
        format!("about {}", seconds(time))
    };
    format!(
        "{time} for {}, {} of memory, {} on disk and {} of working files; {} left (from {from})",
        rows(estimate.rows),
        bytes(estimate.memory_bytes),
        bytes(estimate.output_bytes),
        bytes(estimate.working_bytes),
        thousands(estimate.rows_left),
    )
}

fn step_line(step: &Step) -> String {
    let class = if step.spec.kind == OpKind::Filter && step.is_exchange() {
        from_data(step)
    } else if step.is_exchange() && step.spec.kind == OpKind::Exact {
        OpKind::Near.words().to_owned()
    } else {
        step.spec.kind.words().to_owned()
    };
    let params: Vec<String> = step
        .written_params()
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let image = match step.spec.images {
        ImageNeed::None => String::new(),
        need => format!(", {}", image_words(need)),
    };
    format!(
        "{:>2} {} {{{}}}  ({class}{image})",
        step.index + 1,
        step.name,
        params.join(", ")
    )
}

/// What a filter takes from the data.
fn from_data(step: &Step) -> String {
    let bounds: Vec<&str> = step
        .base
        .from_data
        .iter()
        .map(|b| b.param.as_str())
        .collect();
    let mut parts = Vec::new();
    if !bounds.is_empty() {
        parts.push(format!("{} from the data", bounds.join(" and ")));
    }
    if step.base.keep.is_some() {
        parts.push("ranks the rows that pass".to_owned());
    }
    parts.push("decides when all rows are measured".to_owned());
    parts.join(", ")
}

fn output_line(output: &OutputSpec) -> String {
    let target = output.target.to_string();
    let mut notes = vec![
        output.format.word().to_owned(),
        format!("{} paths", output.paths),
    ];
    if output.validate != Validation::None {
        notes.push(format!("images checked: {}", output.validate));
    }
    if output.of != Of::Kept {
        notes.push(format!("rows that are {}", output.of));
    }
    if let Some(condition) = &output.condition {
        notes.push(format!("where {condition}"));
    }
    match &output.split {
        Some(Split::Field(field)) => notes.push(format!("a file for each value of {field}")),
        Some(Split::Input) => notes.push("a file for each input".to_owned()),
        None => {}
    }
    if let Some(count) = output.sample {
        notes.push(format!(
            "sample of {count}, {} sampler, seed {}",
            output.sampler, output.seed
        ));
    }
    for (name, value) in output.options.iter() {
        notes.push(match value {
            OptionValue::Word(word) => format!("{name}: {word}"),
            OptionValue::File(path) => format!("{name} from {}", path.display()),
            OptionValue::Flag(on) => format!("{name}: {on}"),
            OptionValue::Text(text) => format!("{name}: {text:?}"),
        });
    }
    if let Some(checked) = &output.checked {
        notes.push(format!("checked for {}", checked.trainer));
    }
    format!("{target} ({})", notes.join(", "))
}

fn image_words(need: ImageNeed) -> &'static str {
    match need {
        ImageNeed::None => "images not looked at",
        ImageNeed::Path => "image paths",
        ImageNeed::FileSize => "image file sizes",
        ImageNeed::Header => "image headers",
        ImageNeed::Scaled => "images decoded at reduced scale",
        ImageNeed::Pixels => "images decoded once",
    }
}

/// What `found` comes to for inputs of so many bytes.
#[must_use]
pub fn cost(found: &Sampled, bytes: Option<u64>) -> CostEstimate {
    let paid = found.paid;
    // Rows whose answers were known cost nothing now: what is told is of those that did.
    let factor = found.part.times(bytes);
    let whole = |now: u64| factor.map(|factor| times_of(now, factor));
    CostEstimate {
        rows: found.rows,
        failed: found.failed,
        requests: paid.sent,
        reused: paid.reused,
        tokens_in: paid.tokens_in,
        tokens_out: paid.tokens_out,
        cost: paid.cost,
        all_rows: whole(found.rows),
        all_requests: whole(paid.sent),
        all_tokens_in: whole(paid.tokens_in),
        all_tokens_out: whole(paid.tokens_out),
        all_cost: factor.map(|factor| paid.cost * factor),
    }
}

/// What servers would take, for a person.
#[must_use]
pub fn cost_words(estimate: &CostEstimate) -> String {
    let line = |read: u64, requests: u64, sent: u64, answered: u64, cost: f64| {
        let cost = if cost > 0.0 {
            format!(", cost {cost:.4}")
        } else {
            String::new()
        };
        format!(
            "{}: {} requests, {} tokens sent, {} answered{cost}",
            rows(read),
            thousands(requests),
            thousands(sent),
            thousands(answered)
        )
    };
    let now = line(
        estimate.rows,
        estimate.requests,
        estimate.tokens_in,
        estimate.tokens_out,
        estimate.cost,
    );
    let mut words = format!("asked about {now}");
    if estimate.reused > 0 {
        let known = thousands(estimate.reused);
        let _ = write!(words, "; {known} answers were known already");
    }
    if estimate.failed > 0 {
        let failed = rows(estimate.failed);
        let _ = write!(words, "; {failed} could not be processed");
    }
    words.push('\n');
    if let (Some(read), Some(requests), Some(sent), Some(answered), Some(cost)) = (
        estimate.all_rows,
        estimate.all_requests,
        estimate.all_tokens_in,
        estimate.all_tokens_out,
        estimate.all_cost,
    ) {
        let all = line(read, requests, sent, answered, cost);
        let _ = writeln!(words, "all of them, about {all}");
    } else {
        words.push_str("how many rows there are is not known beforehand\n");
    }
    words.push_str("a run does not pay for these answers again\n");
    words
}
