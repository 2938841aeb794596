//! `djr plan`: cuts a run into tasks for many machines.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::args::RunArgs;
use super::run::{self, Asked};
use super::runner::{self, Signals};
use super::ui::{AsJson, Ui};
use super::{Exit, tasks};
use crate::exec::tasks::{Cut, TaskPlan, Work};
use crate::report::table::{bytes, thousands};

const EXAMPLES: &str = "\
Examples:
  djr plan recipe.yaml --input data.jsonl --output out/planned.jsonl --work work

djr next lists the tasks that can be done now, djr task does one on any machine that sees the plan,
the inputs and the outputs, and djr finish writes what djr run would have written. djr slurm makes a
script of that, and djr run --tasks does it on this machine. Machines that have no file system in
common share a store: --work s3://bucket/work. docs/CLUSTER.md has the whole of it.";

/// Cut a run into tasks that many machines do.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The recipe: a Data-Juicer YAML file; - reads it from standard input.
    recipe: PathBuf,
    /// Read rows from here instead of the recipe's dataset: a file, a directory or a pattern.
    /// Repeatable.
    #[arg(long, short, value_name = "PATH")]
    input: Vec<PathBuf>,
    /// Write rows here instead of the recipe's `export_path`.
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Override a key of the recipe, e.g. np=4 or `text_length_filter.min_len=5`; repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = run::parse_set)]
    set: Vec<(String, String)>,
    /// The directory of the plan and of what tasks leave, which all machines see, or a folder of a
    /// store, such as `s3://bucket/work`.
    #[arg(long, value_name = "DIR|URL")]
    work: PathBuf,
    /// About how many bytes of rows a task reads. The outcome is the same for any size.
    #[arg(long, value_name = "SIZE", value_parser = tasks::parse_task_bytes, default_value = "256MiB")]
    task_bytes: u64,
    /// Let so many tasks look for the duplicates of each step, instead of the process that decides: for
    /// more rows than one machine has memory for. The outcome is the same.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    partitions: Option<u16>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let asked = Asked {
        sets: args.set.clone(),
        input: &args.input,
        output: args.output.as_ref(),
        run: &args.run,
    };
    let recipe = match run::load(&args.recipe, asked, ui) {
        Ok(recipe) => recipe,
        Err(exit) => return exit,
    };
    let signals = Signals::watch(ui);
    let options = match runner::options(&recipe, &args.run, &signals, ui) {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    let cut = Cut {
        task_bytes: args.task_bytes,
        partitions: args.partitions.map_or(0, usize::from),
    };
    let planned = Work::plan(&args.work, &recipe, &options, cut)
        .and_then(|work| Ok((work.standing()?, work)));
    match planned {
        Ok((standing, work)) => {
            ui.notes(&crate::plan::foresee(&recipe).notes);
            ui.result(&tasks::answer(&work, &standing));
            ui.data(&words(work.task_plan()))
        }
        Err(failure) => tasks::failed(&failure, &signals, ui),
    }
}

/// The stages of a plan and their tasks, for a person.
fn words(plan: &TaskPlan) -> String {
    let mut text = String::new();
    let size = bytes(plan.task_bytes);
    let inputs = plan.inputs.len();
    let tasks = |count: usize| match count {
        1 => "1 task".to_owned(),
        count => format!("{} tasks", thousands(count as u64)),
    };
    let measures = plan.measures.len();
    if measures > 0 {
        let _ = writeln!(
            text,
            "measure   {}: where rows of inputs begin",
            tasks(measures)
        );
    }
    let last = plan.passes().saturating_sub(1);
    for (number, stage) in plan.plan.stages.iter().enumerate() {
        let pass = number + 1;
        let steps = |steps: &[usize]| {
            let name = |step: &usize| {
                let step = step.checked_sub(1).and_then(|at| plan.plan.steps.get(at));
                step.map_or("", |step| step.op.as_str())
            };
            steps.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        let row_steps = match steps(&stage.rows) {
            none if none.is_empty() => "no steps".to_owned(),
            some => some,
        };
        let _ = match number {
            0 => writeln!(
                text,
                "pass-{pass}    {} of about {size} over {inputs} inputs: {row_steps}",
                tasks(plan.reads.len())
            ),
            _ => writeln!(
                text,
                "pass-{pass}    as many tasks of about {size} as there are rows for: {row_steps}"
            ),
        };
        let rounds = plan.rounds.get(number).into_iter().flatten();
        for (at, round) in (1..).zip(rounds) {
            let (step, partitions) = (steps(&[round.step + 1]), tasks(plan.partitions));
            let _ = writeln!(
                text,
                "keys-{pass}-{at}  as many tasks as pass-{pass} has: {step}"
            );
            let _ = writeln!(
                text,
                "match-{pass}-{at} {partitions}: which of the keys are alike"
            );
            if round.joins() {
                let _ = writeln!(
                    text,
                    "join-{pass}-{at}  1 task: which rows stand for others"
                );
            }
        }
        if number < last {
            let _ = writeln!(text, "decide-{pass}  1 task: {}", steps(&stage.exchanges));
        }
    }
    text.push_str("finish    adds up, writes the outputs and the record of the run\n");
    text
}
