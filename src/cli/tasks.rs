//! What the commands over a plan of tasks share.

use std::path::{Path, PathBuf};

use super::args::parse_size;
use super::runner::{self, Signals};
use super::ui::Ui;
use super::{Exit, args};
use crate::answer::TasksAnswer;
use crate::exec::tasks::{Standing, TASK_BYTES, TasksError, Work};
use crate::exec::{RunError, RunOptions};
use crate::service::{self, Host};

/// How a task uses the machine it runs on. The outcome is the same for any of it.
#[derive(Debug, Clone, clap::Args)]
pub struct HereArgs {
    /// Worker threads [default: all cores].
    #[arg(long, short = 'j', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Memory to stay within, e.g. 2GB or 512MiB [default: half of the machine's, or of a container's;
    /// with --threads the share of it that these are of all cores].
    #[arg(long, value_name = "SIZE", value_parser = args::parse_size)]
    max_memory: Option<u64>,
    /// The Python that runs models [default: `DJR_PYTHON`, the active environment's, python3].
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Devices for models and for comparing vectors, e.g. cuda:0 or cpu [default: all GPUs that the process sees, else the processor].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    devices: Vec<String>,
}

impl HereArgs {
    /// The memory to stay within, if anything is said of it: several tasks may share the machine.
    fn memory(&self) -> Option<u64> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let threads = self
            .threads
            .map(u64::from)
            .filter(|threads| *threads < cores);
        let share = threads.map(|threads| RunOptions::default().memory() / cores * threads);
        self.max_memory.or(share)
    }

    /// Where models and programs run.
    fn host(&self) -> Host {
        Host {
            pythons: service::candidates(self.python.as_deref(), |name| std::env::var_os(name)),
            devices: self.devices.clone(),
            ..Host::default()
        }
    }
}

/// Bytes of rows a task reads.
///
/// # Errors
/// What was expected.
pub fn parse_task_bytes(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        0 => Err("a task reads at least a byte".to_owned()),
        bytes => Ok(bytes),
    }
}

/// Opens the plan in `place`, a directory or a URL, to do something with it on this machine. The
/// process goes to the directory in which the plan was made, for its relative paths.
///
/// # Errors
/// The user was told.
pub fn open(
    place: &Path,
    here: Option<&HereArgs>,
    signals: &Signals,
    ui: &Ui,
) -> Result<Work, Exit> {
    let cwd = runner::working_dir(ui)?;
    let options = RunOptions {
        threads: here.and_then(|here| here.threads).map(usize::from),
        max_memory: here.and_then(HereArgs::memory),
        host: here.map(HereArgs::host).unwrap_or_default(),
        interrupted: signals.interrupted(),
        ..RunOptions::default()
    };
    let work = Work::open(&cwd, place, options).map_err(|e| failed(&e, signals, ui))?;
    let home: PathBuf = work.task_plan().said.working_dir.clone();
    if here.is_some() && home != cwd {
        // The directory of a program is its own business.
        let gone = ui
            .caller
            .is_none()
            .then(|| std::env::set_current_dir(&home));
        if !matches!(gone, Some(Ok(()))) {
            return Err(ui.usage(
                &format!("the plan was made in {}", home.display()),
                Some("do its tasks there: relative paths start from it"),
            ));
        }
    }
    Ok(work)
}

/// Says why tasks do not go on.
pub fn failed(failure: &TasksError, signals: &Signals, ui: &Ui) -> Exit {
    let say = |error: &RunError, hint: Option<&str>| {
        let (exit, problem) = runner::failed(error, Some(true));
        let message = failure.to_string();
        ui.error(&problem.code, &message, hint.or(problem.hint.as_deref()));
        match exit {
            Exit::Interrupted => signals.exit(),
            exit => exit,
        }
    };
    match failure {
        TasksError::Refused { what, hint } => ui.usage(what, Some(hint)),
        TasksError::NoPlan { .. } => {
            ui.error(
                "no_plan",
                &failure.to_string(),
                Some("djr plan RECIPE --work DIR makes one"),
            );
            Exit::Usage
        }
        TasksError::Task { error, .. } | TasksError::Run(error) => {
            let hint = match error {
                RunError::Unfinished { .. } => None,
                RunError::Changed(_) => Some(
                    "undo the change, or remove the directory of the plan and plan again with --restart",
                ),
                RunError::TooManyBad { .. } => Some(
                    "look at the reason; to go on, remove the directory of the plan and plan again with --restart, and with a higher --max-quarantine if these rows are to be set aside",
                ),
                error if error.can_be_mended() => {
                    Some("once the cause is gone, the same command goes on; what is done is kept")
                }
                _ => None,
            };
            say(error, hint)
        }
    }
}

/// What there is to say of a plan.
pub fn answer(work: &Work, standing: &Standing) -> TasksAnswer {
    TasksAnswer {
        work: work.place().to_owned(),
        working_dir: work.task_plan().said.working_dir.clone(),
        ready: standing.ready.iter().map(ToString::to_string).collect(),
        done: standing.done,
        known: standing.known,
        complete: standing.complete,
        did: None,
    }
}

const _: () = assert!(TASK_BYTES == 256 << 20, "as the help says");
