//! The tasks of a plan on this machine, several at once.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};

use super::{Standing, TaskId, TasksError, Work};
use crate::exec::{RunError, RunOptions};
use crate::op::Service;

/// Hears of each task that is done, how many are, and how many are known.
pub type Told<'t> = &'t (dyn Fn(TaskId, (usize, usize)) + Sync);

/// What the threads know of each other.
#[derive(Default)]
struct Shared {
    /// How far the tasks were when somebody looked last; what has been taken since is taken out.
    standing: Standing,
    ready: VecDeque<TaskId>,
    running: BTreeSet<TaskId>,
    failure: Option<TasksError>,
}

impl Work {
    /// Does the tasks that are left, `at_once` of them at a time, those of passes with a thread each;
    /// one at a time with all threads where steps ask models, which have a device to themselves,
    /// Data-Juicer, which takes its time to start, or servers, which many requests are sent to anyway.
    /// Other processes may do some of them meanwhile.
    ///
    /// # Errors
    /// That of the first task that fails: the others end what they are at, and all that is done
    /// stays done.
    pub fn run_all(&self, at_once: usize, told: Told<'_>) -> Result<(), TasksError> {
        // Built once, before all of them need it.
        let steps = &self.recipe()?.steps;
        let is_alone = |service: &Service| !matches!(service, Service::Program(_));
        let (at_once, threads) = if steps
            .iter()
            .any(|s| s.spec.service.as_ref().is_some_and(is_alone))
        {
            (1, at_once.max(1))
        } else {
            (at_once.max(1), 1)
        };
        let options = RunOptions {
            threads: Some(threads),
            max_memory: Some(self.options().memory() / at_once as u64),
            ..self.options().clone()
        };
        let shared = Mutex::new(Shared::default());
        let changed = Condvar::new();
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| self.run_some(&options, (&shared, &changed), told));
            }
        });
        let shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        shared.failure.map_or(Ok(()), Err)
    }

    /// Does one task after the other until none is left, or one fails.
    fn run_some(
        &self,
        options: &RunOptions,
        (shared, changed): (&Mutex<Shared>, &Condvar),
        told: Told<'_>,
    ) {
        let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = lock();
        while held.failure.is_none() && !held.standing.complete {
            if held.ready.is_empty() {
                // Looking costs a look at every record, so that it is done once for many tasks.
                match self
                    .standing()
                    .and_then(|now| self.check_limit(&now).map(|()| now))
                {
                    Ok(mut now) => {
                        // Those that are done, and whose threads have not said so yet.
                        let unsaid = held.running.iter().filter(|id| !now.ready.contains(id));
                        now.done -= unsaid.count();
                        let ready = std::mem::take(&mut now.ready).into_iter();
                        held.ready = ready.filter(|id| !held.running.contains(id)).collect();
                        held.standing = now;
                    }
                    Err(error) => held.failure = Some(error),
                }
                if held.failure.is_some() || held.standing.complete {
                    break;
                }
            }
            let Some(id) = held.ready.pop_front() else {
                if held.running.is_empty() {
                    let none = "no task is left, and not all are done".to_owned();
                    held.failure = Some(RunError::Conservation(none).into());
                    break;
                }
                held = changed.wait(held).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            held.running.insert(id);
            drop(held);
            let done = self.run_with(id, options);
            held = lock();
            held.running.remove(&id);
            match done {
                Ok(_) => {
                    held.standing.done += 1;
                    told(id, (held.standing.done, held.standing.known));
                }
                Err(error) => {
                    held.failure.get_or_insert(error);
                }
            }
            changed.notify_all();
        }
        changed.notify_all();
    }
}
