//! One recipe over many machines: a plan in a directory that all of them see, or in a store, tasks
//! that any of them does in any order, and the same bytes as one run.
//!
//! A task of a *pass* takes some rows through the steps of a phase and writes down what became of
//! them (`exec::parts`). A task that *decides* does the ordered step of a phase over these parts,
//! and cuts the rows that are left for the next pass. Finishing is the ordered step of the last
//! phase: it leaves what a run leaves. Nothing is decided in a way of its own here, but for the
//! duplicates that further tasks look for where a plan asks for it (`exec::duplicates`). There is no
//! state but the files below the directory and the checkpoint of the run:
//!
//! | below WORK | |
//! |---|---|
//! | `plan.json` | the recipe as resolved, the inputs and how they are cut |
//! | `t/ID/attempt-…/` | what an attempt at a task made |
//! | `t/ID.done` | which attempt counts, its files with size and digest, what it found |
//! | `finished.json` | where the record of the run is, once it is complete |
//!
//! In a store the same objects lie below the URL (`mirror.rs`).

mod done;
mod local;
mod mirror;
mod place;
mod plan;
mod rounds;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

pub use done::Facts;
use done::{Attempt, Done};
pub use local::Told;
use place::Place;
pub use plan::{Cut, TaskPlan};
use plan::{Measure, PlannedPiece};

use super::checkpoint::ByTasks;
use super::exchange::stage::{Left, counted_key};
use super::parts::Parts;
use super::run::{Ended, FromTasks, Piece, PieceRows, check_limit, run_piece, run_tasks};
use super::setup::{AnswersFile, BATCH_BYTES};
use super::spill::{Store, StoreWriter, store};
use super::{Observer, Resume, RunError, RunOptions, RunOutcome, setup, write_error};
use crate::io::atomic::Keep;
use crate::io::source::InputSummary;
use crate::io::workspace::{Lengths, each_record};
use crate::io::{LineSource, LockError, Log, OutputLock, Position, Workspace};
use crate::op::Common;
use crate::plan::Plan;
use crate::recipe::{Recipe, RecipeSpec, Step};
use crate::record::ServiceRecord;
use crate::service::PeerPython;

/// About how many bytes of rows a task reads, unless somebody says otherwise.
pub const TASK_BYTES: u64 = 256 << 20;

/// The file of the plan.
const PLAN: &str = "plan.json";

/// The file that says where the record of the run is.
const FINISHED: &str = "finished.json";

/// How long who waits for another machine sleeps before it looks again.
const WAIT: Duration = Duration::from_millis(200);

/// Why tasks do not go on.
#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    /// It cannot be done by tasks, or not so.
    #[error("{what}")]
    Refused {
        /// What is wrong.
        what: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// There is no plan, or it cannot be read.
    #[error("{path}: {error}")]
    NoPlan {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// A task failed.
    #[error("{task}: {error}")]
    Task {
        /// The task.
        task: TaskId,
        /// Why.
        error: RunError,
    },
    /// The run as a whole failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// A task of a plan. Its word counts passes from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskId {
    /// Finds something out of an input.
    Measure(usize),
    /// Takes rows through the steps of a pass.
    Pass(usize, usize),
    /// Sorts the keys of the rows of a part of a pass: those of a step whose duplicates tasks look for.
    Keys(usize, usize, usize),
    /// Looks for equal or near keys in a partition of them.
    Match(usize, usize, usize),
    /// Says who stands for the rows that these join.
    Join(usize, usize),
    /// Lets the steps decide that see all rows of a pass.
    Decide(usize),
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measure(number) => write!(f, "measure-{number:05}"),
            Self::Pass(pass, number) => write!(f, "pass-{}-{number:05}", pass + 1),
            Self::Keys(pass, round, number) => {
                write!(f, "keys-{}-{}-{number:05}", pass + 1, round + 1)
            }
            Self::Match(pass, round, number) => {
                write!(f, "match-{}-{}-{number:05}", pass + 1, round + 1)
            }
            Self::Join(pass, round) => write!(f, "join-{}-{}", pass + 1, round + 1),
            Self::Decide(pass) => write!(f, "decide-{}", pass + 1),
        }
    }
}

impl FromStr for TaskId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let none = || {
            format!("'{text}' is no task; djr next lists them, such as pass-1-00000 or decide-1")
        };
        let (kind, rest) = text.split_once('-').ok_or_else(none)?;
        let number = |text: &str| text.parse::<usize>().ok();
        let pass = |text: &str| number(text)?.checked_sub(1);
        let of_round = |text: &str| {
            let (at, rest) = text.split_once('-')?;
            let (round, n) = rest.split_once('-')?;
            Some((pass(at)?, pass(round)?, number(n)?))
        };
        let id = match kind {
            "measure" => number(rest).map(Self::Measure),
            "decide" => pass(rest).map(Self::Decide),
            "keys" => of_round(rest).map(|(at, round, n)| Self::Keys(at, round, n)),
            "match" => of_round(rest).map(|(at, round, n)| Self::Match(at, round, n)),
            "join" => rest
                .split_once('-')
                .and_then(|(at, round)| Some(Self::Join(pass(at)?, pass(round)?))),
            "pass" => rest
                .split_once('-')
                .and_then(|(at, n)| Some(Self::Pass(pass(at)?, number(n)?))),
            _ => None,
        };
        // A task has one name.
        id.filter(|id| id.to_string() == text).ok_or_else(none)
    }
}

/// How far the tasks of a plan are.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Those that can be done now, in order.
    pub ready: Vec<TaskId>,
    /// How many are done.
    pub done: usize,
    /// How many are known; those of a pass are known once the one before has decided.
    pub known: usize,
    /// Whether all are done, so that the run can be finished.
    pub complete: bool,
    /// Rows of the inputs that tasks have read.
    pub rows: u64,
    /// Rows that could not be processed for sure, by reason.
    pub failed: BTreeMap<String, u64>,
}

/// What a task came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEnd {
    /// It is done.
    Done,
    /// It was done before, or somebody else was faster.
    Already,
}

/// `finished.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finished {
    /// The directory of the run's record.
    pub run_dir: Option<PathBuf>,
}

/// A plan, and the tasks that are done.
pub struct Work {
    place: Place,
    plan: TaskPlan,
    /// The digest of `plan.json`.
    digest: String,
    here: RunOptions,
    recipe: OnceLock<Recipe>,
    /// Records that were read: they never change.
    known: Mutex<HashMap<TaskId, Arc<Done>>>,
}

impl Work {
    /// Plans a run of `recipe` in `work`, a directory or a URL, or opens the same plan that is
    /// there.
    ///
    /// # Errors
    /// If it cannot be done by tasks, or another plan is there.
    pub fn plan(
        work: &Path,
        recipe: &Recipe,
        options: &RunOptions,
        cut: Cut,
    ) -> Result<Self, TasksError> {
        let place = Place::of(&options.working_dir, work)?;
        let text = if let Some(text) = place.read(PLAN)? {
            text
        } else {
            let plan = TaskPlan::of(recipe, options, cut)?;
            let text = serde_json::to_vec(&plan).map_err(|e| place.failed(e.into()))?;
            if place.create(PLAN, &text)? {
                text
            } else {
                // Somebody else has planned something at the same time.
                Self::text_of(&place)?
            }
        };
        let work = Self::of(place, &text, options.clone())?;
        work.is_of(recipe, cut)?;
        Ok(work)
    }

    /// Opens the plan in `work`, a directory or a URL; a relative path starts from `working_dir`.
    /// `here` says what is so on this machine: threads, memory.
    ///
    /// # Errors
    /// If there is none, or another djr made it.
    pub fn open(working_dir: &Path, work: &Path, here: RunOptions) -> Result<Self, TasksError> {
        let place = Place::of(working_dir, work)?;
        let text = Self::text_of(&place)?;
        Self::of(place, &text, here)
    }

    fn text_of(place: &Place) -> Result<Vec<u8>, TasksError> {
        let none = || TasksError::NoPlan {
            path: place.name().join(PLAN).display().to_string(),
            error: io::Error::new(io::ErrorKind::NotFound, "there is no plan"),
        };
        place.read(PLAN)?.ok_or_else(none)
    }

    fn of(place: Place, text: &[u8], here: RunOptions) -> Result<Self, TasksError> {
        let plan = TaskPlan::read(&place.name().join(PLAN), text)?;
        Ok(Self {
            place,
            here: plan.said.options(here),
            plan,
            digest: format!("{:032x}", xxh3_128(text)),
            recipe: OnceLock::new(),
            known: Mutex::default(),
        })
    }

    /// Makes sure that the plan is one of `recipe`.
    fn is_of(&self, recipe: &Recipe, cut: Cut) -> Result<(), TasksError> {
        let now = Plan::of(recipe).map_err(RunError::of_asset)?;
        let mut differences = self.plan.plan.differences(&now);
        if self.plan.task_bytes != cut.task_bytes {
            let (was, is) = (self.plan.task_bytes, cut.task_bytes);
            differences.push(format!("tasks had {was} bytes and have {is}"));
        }
        if self.plan.partitions != cut.partitions {
            let (was, is) = (self.plan.partitions, cut.partitions);
            differences.push(format!("there were {was} partitions and are {is}"));
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(TasksError::Refused {
            what: format!(
                "{} holds another plan: {}",
                self.place.name().display(),
                differences.join("; ")
            ),
            hint: "plan in another directory, or remove that one",
        })
    }

    /// The plan.
    #[must_use]
    pub fn task_plan(&self) -> &TaskPlan {
        &self.plan
    }

    /// Where it is: a directory or a URL.
    #[must_use]
    pub fn place(&self) -> &Path {
        self.place.name()
    }

    /// The options of the run.
    #[must_use]
    pub fn options(&self) -> &RunOptions {
        &self.here
    }

    /// The recipe with its operators built, as it was when it was planned.
    ///
    /// # Errors
    /// If it cannot be built any more, or something that it reads has changed.
    pub fn recipe(&self) -> Result<&Recipe, TasksError> {
        if let Some(recipe) = self.recipe.get() {
            return Ok(recipe);
        }
        let changed = |what: String| RunError::Changed(vec![what]);
        let spec = RecipeSpec::from_json(self.plan.plan.recipe.clone());
        let home = self.plan.said.working_dir.clone();
        let peers = Rc::new(PeerPython::new(self.here.host.pythons.clone(), home));
        let mut recipe = spec
            .map_err(|e| changed(e.to_string()))?
            .build_with(&[], Some(peers))
            .map_err(|problems| changed(problems.to_string()))?;
        recipe.notes.clone_from(&self.plan.notes);
        let now = Plan::of(&recipe).map_err(RunError::of_asset)?;
        let differences = self.plan.plan.differences(&now);
        if !differences.is_empty() {
            return Err(RunError::Changed(differences).into());
        }
        Ok(self.recipe.get_or_init(|| recipe))
    }

    /// Learns which tasks are done, where that is not seen in a directory.
    fn refresh(&self) -> Result<(), RunError> {
        self.place
            .mirror()
            .map_or(Ok(()), |mirror| mirror.refresh())
    }

    /// The record of a task that may have been done just now.
    fn done_by_now(&self, id: TaskId) -> Result<Option<Arc<Done>>, RunError> {
        if let Some(mirror) = self.place.mirror() {
            mirror.look(&id.to_string())?;
        }
        self.done(id)
    }

    /// The record of a task, if it is done and known here.
    fn done(&self, id: TaskId) -> Result<Option<Arc<Done>>, RunError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = known().get(&id) {
            return Ok(Some(Arc::clone(done)));
        }
        let found = done::done(&self.place.tasks(), &id.to_string());
        let found = found.map_err(|e| self.place.failed(e))?;
        let Some(done) = found else {
            return Ok(None);
        };
        if done.plan != self.digest {
            return Err(RunError::Damaged(format!(
                "{}/t/{id}.done is the record of another plan",
                self.place.name().display()
            )));
        }
        let done = Arc::new(done);
        known().insert(id, Arc::clone(&done));
        Ok(Some(done))
    }

    /// How many tasks a pass has; `None` before they are known.
    fn tasks_of(&self, pass: usize) -> Result<Option<usize>, RunError> {
        let Some(before) = pass.checked_sub(1) else {
            return Ok(Some(self.plan.reads.len()));
        };
        let decided = self.done(TaskId::Decide(before))?;
        Ok(decided.map(|done| match &done.facts {
            Facts::Decided(slices) => slices.len(),
            _ => 0,
        }))
    }

    /// How far the tasks are.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn standing(&self) -> Result<Standing, TasksError> {
        self.refresh()?;
        let mut standing = Standing::default();
        let mut take = |id: TaskId, can: bool| -> Result<bool, RunError> {
            standing.known += 1;
            let done = self.done(id)?;
            standing.done += usize::from(done.is_some());
            if can && done.is_none() {
                standing.ready.push(id);
            }
            if let Some(Facts::Rows { failed, read, .. }) = done.as_deref().map(|it| &it.facts) {
                standing.rows += read.iter().map(|read| read.rows).sum::<u64>();
                for (code, count) in failed {
                    *standing.failed.entry(code.clone()).or_default() += count;
                }
            }
            Ok(done.is_some())
        };
        for number in 0..self.plan.measures.len() {
            take(TaskId::Measure(number), true)?;
        }
        let known = self.known()?;
        let last = self.plan.passes().saturating_sub(1);
        let mut complete = false;
        for pass in 0..=last {
            let Some(tasks) = self.tasks_of(pass)? else {
                break;
            };
            let mut all = true;
            for number in 0..tasks {
                let can = pass > 0
                    || self
                        .plan
                        .reads
                        .get(number)
                        .is_some_and(|pieces| known.places(pieces).is_some());
                all &= take(TaskId::Pass(pass, number), can)?;
            }
            for stage in self.stages(pass, tasks) {
                let can = all;
                for id in stage {
                    all &= take(id, can)?;
                }
            }
            if pass == last {
                complete = all;
            } else {
                take(TaskId::Decide(pass), all)?;
            }
        }
        standing.complete = complete;
        Ok(standing)
    }

    /// Makes sure that tasks have not set more rows aside than the run allows, if that is a number:
    /// what decides would stop it, and further tasks would be for nothing.
    ///
    /// # Errors
    /// [`RunError::TooManyBad`].
    pub fn check_limit(&self, standing: &Standing) -> Result<(), TasksError> {
        let limit = self.plan.said.max_quarantine();
        Ok(check_limit(limit, &standing.failed, standing.rows)?)
    }

    /// What was found out of the inputs so far.
    fn known(&self) -> Result<Known, RunError> {
        let mut known = Known {
            extents: self.plan.inputs.iter().map(|input| input.extent).collect(),
            lines: HashMap::new(),
            bases: Vec::new(),
        };
        for (number, measure) in self.plan.measures.iter().enumerate() {
            let facts = self.done(TaskId::Measure(number))?;
            let facts = facts.map(|done| done.facts.clone());
            match (*measure, facts) {
                (Measure::Lines { input, from, until }, facts) => {
                    let found = match facts {
                        Some(Facts::Lines(lines)) => Some(lines),
                        _ => None,
                    };
                    // Ranges of an input follow each other.
                    let before = match from {
                        0 => Some(0),
                        from => known.lines.get(&(input, from)).copied().flatten(),
                    };
                    let sum = before.zip(found).map(|(before, found)| before + found);
                    known.lines.insert((input, until), sum);
                }
                (Measure::Extent { input }, Some(Facts::Extent(extent))) => {
                    if let Some(known) = known.extents.get_mut(input) {
                        *known = Some(extent);
                    }
                }
                (Measure::Extent { .. }, _) => {}
            }
        }
        let mut base = Some(0_u64);
        for extent in &known.extents {
            known.bases.push(base);
            base = base
                .zip(*extent)
                .map(|(base, extent)| base.wrapping_add(extent));
        }
        Ok(known)
    }

    /// Does a task, unless it is done.
    ///
    /// # Errors
    /// If it cannot be done now, or fails.
    pub fn run(&self, id: TaskId) -> Result<TaskEnd, TasksError> {
        self.refresh()?;
        self.run_with(id, &self.here)
    }

    /// As [`Work::run`]; a task of a pass uses the machine as `options` say.
    fn run_with(&self, id: TaskId, options: &RunOptions) -> Result<TaskEnd, TasksError> {
        if self.done_by_now(id)?.is_some() {
            return Ok(TaskEnd::Already);
        }
        let of_task = |error| TasksError::Task { task: id, error };
        let attempt = Attempt::begin(&self.place.tasks(), &id.to_string())
            .map_err(|e| of_task(self.place.failed(e)))?;
        let made = match id {
            TaskId::Measure(number) => self.measure(id, number),
            TaskId::Pass(pass, number) => self.pass((pass, number), options, attempt.directory()),
            TaskId::Keys(..) | TaskId::Match(..) | TaskId::Join(..) => {
                self.round(id, options, attempt.directory())
            }
            TaskId::Decide(pass) => self.decide(pass, attempt.directory()),
        };
        let made = match made {
            Err(TasksError::Run(error)) => {
                // Whoever was faster may have taken away what this one was reading.
                if self.done_by_now(id)?.is_some() {
                    return Ok(TaskEnd::Already);
                }
                return Err(of_task(error));
            }
            made => made?,
        };
        let Some((files, facts)) = made else {
            return Ok(TaskEnd::Already);
        };
        let mirror = self.place.mirror().map(Arc::as_ref);
        let counts = attempt.commit(&self.digest, files, facts, mirror);
        Ok(if counts.map_err(of_task)? {
            TaskEnd::Done
        } else {
            TaskEnd::Already
        })
    }

    fn not_ready(id: TaskId) -> TasksError {
        TasksError::Refused {
            what: format!("{id} cannot be done now"),
            hint: "djr next lists the tasks that can",
        }
    }

    /// Finds something out of an input.
    fn measure(&self, id: TaskId, number: usize) -> Made {
        let measure = self.plan.measures.get(number);
        let measure = *measure.ok_or_else(|| Self::not_ready(id))?;
        let (Measure::Lines { input, .. } | Measure::Extent { input }) = measure;
        let inputs = setup::inputs(self.recipe()?);
        self.check_input(input, &inputs)?;
        let none = || RunError::Conservation("the plan has no such input".into());
        let facts = match measure {
            Measure::Lines { from, until, .. } => {
                let source = inputs.get(input).ok_or_else(none)?.source();
                Facts::Lines(source.lines(from, until).map_err(RunError::from)?)
            }
            Measure::Extent { .. } => {
                let position = Position {
                    file: input,
                    ..Position::default()
                };
                let mut rows = LineSource::piece(&inputs, position, None);
                while rows
                    .next_batch(usize::MAX, BATCH_BYTES)
                    .map_err(RunError::from)?
                    .is_some()
                {
                    if self.here.interrupted.load(Ordering::Relaxed) {
                        return Err(RunError::Interrupted.into());
                    }
                }
                Facts::Extent(rows.position().base)
            }
        };
        self.check_input(input, &inputs)?;
        Ok(Some((Lengths::new(), facts)))
    }

    /// Takes rows through the steps of a pass.
    fn pass(&self, (pass, number): (usize, usize), options: &RunOptions, directory: &Path) -> Made {
        let id = TaskId::Pass(pass, number);
        let recipe = self.recipe()?;
        let mut inputs = Vec::new();
        let rows = match pass.checked_sub(1) {
            None => {
                let pieces = self.plan.reads.get(number);
                let pieces = pieces.ok_or_else(|| Self::not_ready(id))?;
                inputs.extend(pieces.iter().map(|piece| piece.input));
                let places = self.known()?.places(pieces);
                PieceRows::Inputs(places.ok_or_else(|| Self::not_ready(id))?)
            }
            Some(before) => {
                let decided = self.done(TaskId::Decide(before))?;
                let decided = decided.ok_or_else(|| Self::not_ready(id))?;
                if self.tasks_of(pass)?.is_none_or(|tasks| number >= tasks) {
                    return Err(Self::not_ready(id));
                }
                let from = self.part_of(&decided).directory;
                if let Some(mirror) = self.place.mirror() {
                    let rows = format!("{}.", slice(number));
                    let is_needed = |name: &str| name == COMMON || name.starts_with(&rows);
                    let mut files = decided.files.clone();
                    files.retain(|name, _| is_needed(name));
                    mirror.bring(&from, &files)?;
                }
                let read = |from: &Path| -> io::Result<_> {
                    let store = Store::sealed(from, &slice(number), &decided.files)?;
                    let mut common = Common::new();
                    let mut keys = Log::sealed(from, COMMON, &decided.files)?;
                    each_record(&mut keys.replay()?, |record| {
                        let (key, count) = counted_key(record);
                        common.insert(key, count);
                    })?;
                    Ok(PieceRows::Stored(Arc::new(store), Arc::new(common)))
                };
                read(&from).map_err(|e| write_error(from.display(), e))?
            }
        };
        let sources = setup::inputs(recipe);
        for input in &inputs {
            self.check_input(*input, &sources)?;
        }
        let asked = self.asked(pass)?;
        let (answers, _lock) = if setup::asks_servers(recipe) {
            let Some((answers, lock)) = self.answers(id)? else {
                return Ok(None);
            };
            (Some(answers), Some(lock))
        } else {
            (None, None)
        };
        let piece = Piece {
            phase: pass,
            rows,
            asked,
            answers,
        };
        let worked = run_piece(recipe, options, piece, directory)?;
        for input in &inputs {
            self.check_input(*input, &sources)?;
        }
        let failed = worked.failed.into_iter();
        let facts = Facts::Rows {
            rows: worked.rows,
            failed: failed.map(|(code, rows)| (code.to_owned(), rows)).collect(),
            read: worked.read,
            services: worked.services,
        };
        Ok(Some((worked.part.lengths, facts)))
    }

    /// Where the answers of servers to a task are kept, so that no attempt asks again what an earlier
    /// one was answered: an attempt holds the lock for as long as it asks. `None` if the task was done
    /// meanwhile.
    fn answers(&self, id: TaskId) -> Result<Option<(AnswersFile, OutputLock)>, TasksError> {
        let path = self.place.tasks().join(id.to_string()).join(ANSWERS);
        let lock = self.once_free(id, || match OutputLock::acquire(&path) {
            Err(LockError::Io(error)) => Err(write_error(path.display(), error).into()),
            Err(LockError::Held { .. }) => Ok(None),
            Ok(lock) => Ok(Some(lock)),
        })?;
        let answers = AnswersFile {
            path,
            goes_on: true,
        };
        Ok(lock.map(|lock| (answers, lock)))
    }

    /// What some task of a pass asked, if one is done and the steps ask at all: the others ask the
    /// same.
    fn asked(&self, pass: usize) -> Result<Vec<ServiceRecord>, TasksError> {
        let asks = |step: &Step| step.spec.service.is_some();
        if !self.recipe()?.steps.iter().any(asks) {
            return Ok(Vec::new());
        }
        for number in 0..self.tasks_of(pass)?.unwrap_or(0) {
            if let Some(done) = self.done(TaskId::Pass(pass, number))?
                && let Facts::Rows { services, .. } = &done.facts
            {
                return Ok(services.clone());
            }
        }
        Ok(Vec::new())
    }

    /// Lets the steps decide that see all rows of a pass, and cuts what they left for the next one.
    fn decide(&self, pass: usize, directory: &Path) -> Made {
        let id = TaskId::Decide(pass);
        if pass + 1 >= self.plan.passes() {
            return Err(Self::not_ready(id));
        }
        let tasks = self.parts_up_to(pass)?.ok_or_else(|| Self::not_ready(id))?;
        let tasks = FromTasks {
            until: Some(pass),
            ..tasks
        };
        let Some(ended) = self.in_turn(id, &tasks, &mut ())? else {
            return Ok(None);
        };
        let Ended::Decided(left) = ended else {
            return Err(RunError::Conservation("the run went on".into()).into());
        };
        let failed = |e| write_error(directory.display(), e);
        let files = Workspace::kept(directory.to_owned(), Lengths::new(), Keep::default());
        let mut slices = Slices {
            files: &files,
            bytes: self.plan.task_bytes,
            lengths: Lengths::new(),
            rows: Vec::new(),
            open: None,
        };
        let none = Common::new();
        let common = match &left {
            Left::Alive(alive) => &*alive.common,
            Left::All(_) => &none,
        };
        slices.write_common(common).map_err(failed)?;
        let cut = match left {
            Left::All(mut rows) => rows.each(|frame| slices.push(frame)),
            Left::Alive(alive) => {
                let mut index = 0;
                alive.store.each(&alive.rows.rows, |frame| {
                    let copy = alive.rows.copy(index);
                    index += 1;
                    match copy {
                        None => slices.push(frame),
                        Some(copy) => slices.push(&store::copied(frame, copy)?),
                    }
                })
            }
        };
        cut.and_then(|()| slices.end()).map_err(failed)?;
        Ok(Some((slices.lengths, Facts::Decided(slices.rows))))
    }

    /// Does the ordered step as far as `tasks` says, once no other process does it. `None` if the
    /// task was done meanwhile.
    fn in_turn(
        &self,
        id: TaskId,
        tasks: &FromTasks,
        observer: &mut dyn Observer,
    ) -> Result<Option<Ended>, TasksError> {
        self.once_free(id, || match self.ordered(tasks, observer) {
            Err(TasksError::Run(RunError::Locked {
                error: LockError::Held { .. },
                ..
            })) => Ok(None),
            ended => ended.map(Some),
        })
    }

    /// Tries what gives nothing while another process is at it. `None` if the task was done meanwhile.
    fn once_free<T>(
        &self,
        id: TaskId,
        mut get: impl FnMut() -> Result<Option<T>, TasksError>,
    ) -> Result<Option<T>, TasksError> {
        loop {
            if let Some(got) = get()? {
                return Ok(Some(got));
            }
            if self.done_by_now(id)?.is_some() {
                return Ok(None);
            }
            if self.here.interrupted.load(Ordering::Relaxed) {
                return Err(RunError::Interrupted.into());
            }
            std::thread::sleep(WAIT);
        }
    }

    fn ordered(&self, tasks: &FromTasks, observer: &mut dyn Observer) -> Result<Ended, TasksError> {
        let options = RunOptions {
            resume: Resume::Continue,
            ..self.here.clone()
        };
        Ok(run_tasks(self.recipe()?, &options, observer, tasks)?)
    }

    /// The parts of all passes up to `last`; `None` if one is missing.
    fn parts_up_to(&self, last: usize) -> Result<Option<FromTasks>, TasksError> {
        let mut phases = Vec::new();
        let mut all_found = Vec::new();
        let mut at_work = Vec::new();
        let mut services = Vec::new();
        for number in 0..self.plan.measures.len() {
            at_work.extend(self.done(TaskId::Measure(number))?.map(|done| done.at_work));
        }
        for pass in 0..=last {
            let Some(tasks) = self.tasks_of(pass)? else {
                return Ok(None);
            };
            at_work.extend(self.done(TaskId::Decide(pass))?.map(|done| done.at_work));
            let Some(found) = self.found(pass)? else {
                return Ok(None);
            };
            all_found.push(found);
            for id in self.stages(pass, tasks).into_iter().flatten() {
                at_work.extend(self.done(id)?.map(|done| done.at_work));
            }
            let mut summaries = vec![InputSummary::default(); self.plan.inputs.len()];
            let mut parts = Vec::new();
            for number in 0..tasks {
                let id = TaskId::Pass(pass, number);
                let Some(done) = self.done(id)? else {
                    return Ok(None);
                };
                at_work.push(done.at_work);
                if let Facts::Rows {
                    services: asked, ..
                } = &done.facts
                {
                    for record in asked {
                        let same = record.check(&services);
                        same.map_err(|change| RunError::Changed(vec![format!("{id}: {change}")]))?;
                    }
                    services = ServiceRecord::sum_of_tasks(&services, asked.clone());
                }
                if let (0, Facts::Rows { read, .. }, Some(pieces)) =
                    (pass, &done.facts, self.plan.reads.get(number))
                {
                    for (piece, read) in pieces.iter().zip(read) {
                        if let Some(summary) = summaries.get_mut(piece.input) {
                            summary.rows += read.rows;
                            // That of the last piece is how far all of it was read.
                            summary.bytes = read.bytes;
                        }
                    }
                }
                parts.push(self.part_of(&done));
            }
            phases.push(Parts {
                parts,
                summaries: (pass == 0).then_some(summaries),
                services: services.clone(),
            });
        }
        let (started_unix, elapsed) = done::together(at_work).unwrap_or_default();
        Ok(Some(FromTasks {
            phases,
            found: all_found,
            by: ByTasks {
                plan: self.digest.clone(),
                started_unix,
                elapsed,
            },
            until: None,
        }))
    }

    /// What `finished.json` says, if the run is finished.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn finished(&self) -> Result<Option<Finished>, TasksError> {
        let Some(text) = self.place.read(FINISHED)? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&text).map_err(|e| self.place.failed(e.into()));
        Ok(Some(read?))
    }

    /// Finishes the run whose tasks are all done: does the ordered step of the last pass, draws
    /// samples, makes sure that rows add up, and gives the files their names.
    ///
    /// # Errors
    /// If tasks are not done, or as [`super::run`].
    pub fn finish(&self, observer: &mut dyn Observer) -> Result<RunOutcome, TasksError> {
        let standing = self.standing()?;
        let last = self.plan.passes().saturating_sub(1);
        let tasks = self.parts_up_to(last)?.filter(|_| standing.complete);
        let Some(tasks) = tasks else {
            return Err(TasksError::Refused {
                what: format!(
                    "{} of {} known tasks are done",
                    standing.done, standing.known
                ),
                hint: "djr next lists those that can be done now",
            });
        };
        let ended = self.ordered(&tasks, observer)?;
        let Ended::Whole(outcome) = ended else {
            return Err(RunError::Conservation("the run stopped early".into()).into());
        };
        let finished = Finished {
            run_dir: outcome.run_dir.clone(),
        };
        let text = serde_json::to_vec(&finished).map_err(|e| self.place.failed(e.into()))?;
        self.place.create(FINISHED, &text)?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mirror) = self.place.mirror() {
            mirror.clear(known.values().map(Arc::as_ref));
        } else {
            for done in known.values() {
                done::remove_others(&self.place.tasks(), done);
            }
        }
        Ok(*outcome)
    }

    /// Makes sure that an input is as it was planned.
    fn check_input(&self, number: usize, inputs: &[crate::io::Input]) -> Result<(), RunError> {
        let (Some(planned), Some(input)) = (self.plan.inputs.get(number), inputs.get(number))
        else {
            return Err(RunError::Conservation("the plan has no such input".into()));
        };
        let change = match input.source().fingerprint() {
            Ok(Some(now)) => planned.print.difference(&now),
            Ok(None) => Some("it is no regular file any more".to_owned()),
            Err(e) => Some(e.to_string()),
        };
        match change {
            None => Ok(()),
            Some(change) => Err(RunError::InputChanged {
                name: planned.print.name.clone(),
                change,
            }),
        }
    }
}

/// The files and facts of an attempt; `None` if the task was done meanwhile.
type Made = Result<Option<(Lengths, Facts)>, TasksError>;

/// The file of what servers answered a task, beside its attempts.
const ANSWERS: &str = "answers.log";

/// The file of what a census found common.
const COMMON: &str = "common";

/// The name of the rows of a task of the next pass.
fn slice(number: usize) -> String {
    format!("rows-{number:05}")
}

/// Cuts rows for the tasks of the next pass.
struct Slices<'w> {
    files: &'w Workspace,
    /// A slice ends when it has as many.
    bytes: u64,
    lengths: Lengths,
    /// How many rows each slice has.
    rows: Vec<u64>,
    open: Option<StoreWriter>,
}

impl Slices<'_> {
    fn write_common(&mut self, common: &Common) -> io::Result<()> {
        let mut keys: Vec<_> = common.iter().collect();
        keys.sort_unstable();
        let mut log = self.files.log(COMMON)?;
        for (key, count) in keys {
            log.append(&key.to_le_bytes())?;
            log.append(&count.to_le_bytes())?;
        }
        log.sync(&mut self.lengths)
    }

    fn push(&mut self, frame: &[u8]) -> io::Result<()> {
        if self
            .open
            .as_ref()
            .is_some_and(|slice| slice.bytes() >= self.bytes)
        {
            self.end()?;
        }
        let slice = match &mut self.open {
            Some(slice) => slice,
            none => none.insert(StoreWriter::open(self.files, &slice(self.rows.len()))?),
        };
        slice.push(frame).map(drop)
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(mut slice) = self.open.take() {
            slice.sync(&mut self.lengths)?;
            self.rows.push(slice.len() as u64);
        }
        Ok(())
    }
}

/// What is known of the inputs.
struct Known {
    extents: Vec<Option<u64>>,
    /// By input and byte: how many lines begin before it.
    lines: HashMap<(usize, u64), Option<u64>>,
    /// The identity of the first byte of each input.
    bases: Vec<Option<u64>>,
}

impl Known {
    /// Where the rows of `pieces` are, each with the byte before which they begin; `None` if something
    /// must be found out first.
    fn places(&self, pieces: &[PlannedPiece]) -> Option<Vec<(Position, Option<u64>)>> {
        let place = |piece: &PlannedPiece| {
            let lines = match piece.rows {
                Some(rows) => rows,
                None => self
                    .lines
                    .get(&(piece.input, piece.from))
                    .copied()
                    .flatten()?,
            };
            let position = Position {
                file: piece.input,
                bytes: piece.from,
                lines,
                base: self.bases.get(piece.input).copied().flatten()?,
                summaries: Vec::new(),
            };
            Some((position, piece.until))
        };
        pieces.iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_one_name() {
        for (id, name) in [
            (TaskId::Measure(12), "measure-00012"),
            (TaskId::Pass(0, 3), "pass-1-00003"),
            (TaskId::Pass(11, 123_456), "pass-12-123456"),
            (TaskId::Decide(0), "decide-1"),
            (TaskId::Keys(0, 1, 7), "keys-1-2-00007"),
            (TaskId::Match(2, 0, 0), "match-3-1-00000"),
            (TaskId::Join(0, 9), "join-1-10"),
        ] {
            assert_eq!(id.to_string(), name);
            assert_eq!(name.parse(), Ok(id));
        }
        for other in [
            "",
            "decide",
            "decide-0",
            "decide-01",
            "pass-1",
            "pass-1-3",
            "pass-0-00000",
            "measure-1",
            "measure--0001",
            "../decide-1",
            "keys-1-00000",
            "match-0-1-00000",
            "join-1",
        ] {
            assert!(other.parse::<TaskId>().is_err(), "{other}");
        }
    }
}
