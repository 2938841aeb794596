//! The tasks of a plan on this machine, several at once.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};

use super::{Standing, TaskId, TasksError, Work};
use crate::exec::{RunError, RunOptions};

/// Hears of each task that is done, and how far all are.
pub type Told<'t> = &'t (dyn Fn(TaskId, &Standing) + Sync);

/// What the threads know of each other.
#[derive(Default)]
struct Shared {
    running: BTreeSet<TaskId>,
    failure: Option<TasksError>,
}

impl Work {
    /// Does the tasks that are left, `at_once` of them at a time, those of passes with a thread each.
    /// Other processes may do some of them meanwhile.
    ///
    /// # Errors
    /// That of the first task that fails: the others end what they are at, and all that is done
    /// stays done.
    pub fn run_all(&self, at_once: usize, told: Told<'_>) -> Result<(), TasksError> {
        // Built once, before all of them need it.
        self.recipe()?;
        let options = RunOptions {
            threads: Some(1),
            max_memory: Some(self.options().memory() / at_once.max(1) as u64),
            ..self.options().clone()
        };
        let shared = Mutex::new(Shared::default());
        let changed = Condvar::new();
        std::thread::scope(|scope| {
            for _ in 0..at_once.max(1) {
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
        let mut last = None;
        while held.failure.is_none() {
            let standing = match self.standing() {
                Ok(standing) => standing,
                Err(error) => {
                    held.failure = Some(error);
                    break;
                }
            };
            if let Some(id) = last.take() {
                told(id, &standing);
            }
            if standing.complete {
                break;
            }
            let mut ready = standing.ready.into_iter();
            let Some(id) = ready.find(|id| !held.running.contains(id)) else {
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
                Ok(_) => last = Some(id),
                Err(error) => {
                    held.failure.get_or_insert(error);
                }
            }
            changed.notify_all();
        }
        changed.notify_all();
    }
}
