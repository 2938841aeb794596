//! `djr slurm`: a script for SLURM that does the tasks of a plan.

use std::path::{Path, PathBuf};

use super::runner::Signals;
use super::ui::Ui;
use super::{Exit, tasks};
use crate::exec::tasks::Work;
use crate::io::remote::{is_remote, stand_in};

const EXAMPLES: &str = "\
Examples:
  djr slurm work > job.sh              then: sbatch job.sh
  djr slurm work --cpus 4 --mem 8G -- --partition=cpu --time=02:00:00 > job.sh

The script submits the tasks that can be done now as one array, and itself behind it, until all are
done; then it finishes the run. When a task fails, nothing follows: sbatch job.sh goes on where it
stopped. A task whose node is lost is queued again.";

/// Print a SLURM script that does the tasks of a plan.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory or URL of the plan.
    work: PathBuf,
    /// Processors a task.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    cpus: u16,
    /// Memory a task, as sbatch knows it.
    #[arg(long, value_name = "SIZE")]
    mem: Option<String>,
    /// Elements an array has at most: `MaxArraySize` of the cluster.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    array: u32,
    /// Further options of sbatch, for every job.
    #[arg(last = true, value_name = "OPTION")]
    sbatch: Vec<String>,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let signals = Signals::watch(ui);
    let work = match tasks::open(&args.work, None, &signals, ui) {
        Ok(work) => work,
        Err(exit) => return exit,
    };
    let Ok(program) = std::env::current_exe() else {
        return ui.usage("this program does not know where it lies", None);
    };
    let quoted = |path: &Path| quote(&path.display().to_string());
    let mut options = vec![format!("--cpus-per-task={}", args.cpus)];
    options.extend(args.mem.as_ref().map(|mem| format!("--mem={mem}")));
    options.extend(args.sbatch.iter().cloned());
    let options: Vec<String> = options.iter().map(|option| quote(option)).collect();
    let script = SCRIPT
        .replace("@DJR@", &quoted(&program))
        .replace("@WORK@", &quoted(work.place()))
        .replace("@LOGS@", &quoted(&logs(&work)))
        .replace("@HOME@", &quoted(&work.task_plan().said.working_dir))
        .replace("@CPUS@", &args.cpus.to_string())
        .replace("@ARRAY@", &args.array.to_string())
        .replace("@OPTIONS@", &options.join(" "));
    ui.data(&script)
}

/// Where jobs leave lists of tasks and what they say: beside the tasks, or, where these are in a
/// store, where the plan was made.
fn logs(work: &Work) -> PathBuf {
    let place = work.place();
    if is_remote(place) {
        let mut name = stand_in(place).into_os_string();
        name.push(".slurm");
        return work.task_plan().said.working_dir.join(name);
    }
    place.join("slurm")
}

/// A word as a shell takes it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// One script with two uses: a round of the loop, and an element of an array of tasks.
const SCRIPT: &str = r#"#!/bin/sh
# Does the tasks of a plan of djr: sbatch job.sh
set -eu
djr=@DJR@
work=@WORK@
logs=@LOGS@
cd @HOME@

submit() {
    sbatch --parsable --chdir=@HOME@ --output="$logs/%A-%a.log" @OPTIONS@ "$@"
}

if [ "${1:-round}" = task ]; then
    # Of the list of tasks, every $3rd from the place of this element on.
    at=$((SLURM_ARRAY_TASK_ID + 1))
    while id=$(sed -n "${at}p" "$2") && [ -n "$id" ]; do
        "$djr" task "$work" "$id" --threads @CPUS@
        at=$((at + $3))
    done
    exit 0
fi

mkdir -p "$logs"
# SLURM runs a copy that it removes: jobs behind this one need one that stays.
self=$logs/job.sh
[ "$0" -ef "$self" ] || cp "$0" "$self"
list=$logs/round-${SLURM_JOB_ID:-0}-$$
code=0
"$djr" next "$work" --all > "$list" || code=$?
case $code in
    0) ;;
    10) echo "other jobs are at the tasks that are left; submit this again when they have ended"; exit 0 ;;
    11) rm -f "$list"; code=0; "$djr" finish "$work" --threads @CPUS@ || code=$?
        # Rows were set aside: finished all the same.
        [ "$code" -eq 1 ] && exit 0; exit "$code" ;;
    *) exit "$code" ;;
esac
tasks=$(wc -l < "$list")
elements=$((tasks < @ARRAY@ ? tasks : @ARRAY@))
array=$(submit --requeue --array="0-$((elements - 1))" "$self" task "$list" "$elements")
submit --dependency="afterok:${array%%;*}" --kill-on-invalid-dep=yes "$self" round
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_shell_as_they_are() {
        for word in ["/data/it's here", "a b", "$HOME", ""] {
            let echo = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(echo.stdout).unwrap(), word);
        }
    }
}
