//! Tasks that look for the duplicates of a pass: by rounds, each of which sorts the keys of every part,
//! compares those of every partition, and says who stands for the rows that these join.

use std::path::Path;
use std::sync::Arc;

use super::done::{Done, Facts};
use super::{Made, TaskId, TasksError, Work};
use crate::exec::duplicates::{Found, Round, find_matches, join, write_keys};
use crate::exec::parts::{Elsewhere, Part};
use crate::exec::{RunError, RunOptions, write_error};

impl Work {
    /// The rounds of a pass, if tasks look for its duplicates.
    fn rounds(&self, pass: usize) -> &[Round] {
        self.plan.rounds.get(pass).map_or(&[], Vec::as_slice)
    }

    /// The tasks of the rounds of a pass that left so many `parts`: those of a stage can be done once
    /// all of the stage before are.
    pub(super) fn stages(&self, pass: usize, parts: usize) -> Vec<Vec<TaskId>> {
        let mut stages = Vec::new();
        for (number, round) in self.rounds(pass).iter().enumerate() {
            let keys = (0..parts).map(|part| TaskId::Keys(pass, number, part));
            stages.push(keys.collect());
            stages.push(self.matches(pass, number));
            if round.joins() {
                stages.push(vec![TaskId::Join(pass, number)]);
            }
        }
        stages
    }

    /// The tasks that compare the keys of a round.
    fn matches(&self, pass: usize, round: usize) -> Vec<TaskId> {
        let partitions = 0..self.plan.partitions;
        let tasks = partitions.map(|partition| TaskId::Match(pass, round, partition));
        tasks.collect()
    }

    /// What the first `rounds` of a pass found; `None` if they are not over.
    fn found_by(&self, pass: usize, rounds: usize) -> Result<Option<Found>, RunError> {
        let mut found = Found::default();
        for (number, round) in self.rounds(pass).iter().take(rounds).enumerate() {
            found.rounds.push(*round);
            let tasks = if round.joins() {
                vec![TaskId::Join(pass, number)]
            } else {
                self.matches(pass, number)
            };
            let Some(left) = self.left(tasks)? else {
                return Ok(None);
            };
            let left = left.into_iter().map(|left| (round.step, left));
            found.left.extend(left);
        }
        Ok(Some(found))
    }

    /// What all rounds of a pass found; `None` if they are not over.
    pub(super) fn found(&self, pass: usize) -> Result<Option<Found>, RunError> {
        self.found_by(pass, self.rounds(pass).len())
    }

    /// What tasks left; `None` if one is not done.
    fn left(&self, tasks: Vec<TaskId>) -> Result<Option<Vec<Part>>, RunError> {
        let mut all = Vec::new();
        for task in tasks {
            let Some(done) = self.done(task)? else {
                return Ok(None);
            };
            all.push(self.part_of(&done));
        }
        Ok(Some(all))
    }

    /// The files that a task left.
    pub(super) fn part_of(&self, done: &Done) -> Part {
        Part {
            directory: self.place.tasks().join(&done.task).join(&done.attempt),
            lengths: done.files.clone(),
            elsewhere: self
                .place
                .mirror()
                .map(|mirror| Arc::clone(mirror) as Arc<dyn Elsewhere>),
        }
    }

    /// Does a task of a round.
    pub(super) fn round(&self, id: TaskId, options: &RunOptions, directory: &Path) -> Made {
        let not_ready = || Self::not_ready(id);
        let (TaskId::Keys(pass, number, _)
        | TaskId::Match(pass, number, _)
        | TaskId::Join(pass, number)) = id
        else {
            return Err(not_ready());
        };
        let round = *self.rounds(pass).get(number).ok_or_else(not_ready)?;
        let parts = self.tasks_of(pass)?.ok_or_else(not_ready)?;
        let step = (&round, self.recipe()?.steps.as_slice());
        let room = (directory, options.memory() / 2);
        let failed = |e| write_error(directory.display(), e);
        let all = |tasks: Vec<TaskId>| -> Result<Vec<Part>, TasksError> {
            self.left(tasks)?.ok_or_else(not_ready)
        };
        let (files, records) = match id {
            TaskId::Keys(_, _, part) => {
                let earlier = self.found_by(pass, number)?.ok_or_else(not_ready)?.left;
                let done = self.done(TaskId::Pass(pass, part))?.ok_or_else(not_ready)?;
                write_keys(
                    &self.part_of(&done),
                    step,
                    &earlier,
                    self.plan.partitions,
                    room,
                )?
            }
            TaskId::Match(_, _, partition) if partition < self.plan.partitions => {
                let keys = (0..parts).map(|part| TaskId::Keys(pass, number, part));
                let keys = all(keys.collect())?;
                find_matches(&keys, step, partition, room).map_err(failed)?
            }
            TaskId::Join(..) if round.joins() => {
                let pairs = all(self.matches(pass, number))?;
                join(&pairs, room.0, room.1).map_err(failed)?
            }
            _ => return Err(not_ready()),
        };
        Ok(Some((files, Facts::Records(records))))
    }
}
