//! Rows that wait for services: their requests are gathered across batches into the fixed batches
//! of each service, and served on its lanes.
//!
//! A batch of requests is closed when it is full, when many others came while its first one waited,
//! or when nothing can come before something is served; never by a clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::RunError;
use super::driver::{Lanes, Served};
use super::stage::Waiting;
use crate::op::{Answer, Request, Service};
use crate::record::ServiceRecord;
use crate::sample::RowError;
use crate::service::{Host, Lane, Paid, Spending, open};

/// A batch of rows some of which wait.
pub trait Asking: Send {
    /// What its rows wait for, row by row: the step that asks, and its requests.
    fn take_requests(&mut self) -> Vec<(usize, Vec<Request>)>;

    /// Gives each of these rows its answers, or the reason why there are none.
    fn answer(&mut self, answers: Vec<Result<Vec<Answer>, RowError>>);
}

impl Asking for Waiting {
    fn take_requests(&mut self) -> Vec<(usize, Vec<Request>)> {
        self.batch.take_requests()
    }

    fn answer(&mut self, answers: Vec<Result<Vec<Answer>, RowError>>) {
        self.batch.answer(answers);
    }
}

/// Gathers and serves what batches of rows wait for, in one pass over rows at a time.
pub struct Batcher<P> {
    services: Vec<Service>,
    /// Which service each step asks.
    of_step: BTreeMap<usize, usize>,
    /// Lanes, each with its service.
    lanes: Vec<(usize, Mutex<Box<dyn Lane>>)>,
    state: Mutex<State<P>>,
    changed: Condvar,
    /// What servers have cost, and what each of the services had been asked before.
    spending: Arc<Spending>,
    before: Vec<Paid>,
    /// Set when nothing more is to be served.
    interrupted: Arc<AtomicBool>,
}

struct State<P> {
    /// What waits, by service and head.
    queues: Vec<Vec<VecDeque<(Owner, Request)>>>,
    /// How many requests came, by service.
    came: Vec<usize>,
    waiting: BTreeMap<u64, Ticket<P>>,
    /// Lanes that serve.
    busy: usize,
    /// Batches are closed though they are not full.
    flushing: bool,
    closed: bool,
    records: Vec<ServiceRecord>,
}

/// Whose a request is: the batch of rows, the row in it, which of its requests; and how many came
/// before it.
#[derive(Clone, Copy)]
struct Owner {
    number: u64,
    row: usize,
    index: usize,
    before: usize,
}

/// How many times as many requests as should wait for a service may come while one of a seldom head
/// waits for its batch to fill: until then it keeps its rows, which are some of those in flight.
const PATIENCE: usize = 2;

/// A batch of rows that waits, and what was answered so far.
struct Ticket<P> {
    item: P,
    answers: Vec<Vec<Option<Result<Answer, RowError>>>>,
    left: usize,
}

/// A batch of requests that is being served.
struct Closed {
    head: usize,
    owners: Vec<Owner>,
    requests: Vec<Request>,
}

impl<P: Asking> Batcher<P> {
    /// Starts the services that steps ask: each with its number, and whom it asks.
    ///
    /// # Errors
    /// If one cannot be started.
    pub fn open<'s>(
        asked: impl Iterator<Item = (usize, &'s Service)>,
        host: &Host,
    ) -> Result<Self, RunError> {
        let mut batcher = Self {
            services: Vec::new(),
            of_step: BTreeMap::new(),
            lanes: Vec::new(),
            state: Mutex::new(State {
                queues: Vec::new(),
                came: Vec::new(),
                waiting: BTreeMap::new(),
                busy: 0,
                flushing: false,
                closed: false,
                records: Vec::new(),
            }),
            changed: Condvar::new(),
            spending: Arc::clone(&host.spending),
            before: Vec::new(),
            interrupted: Arc::default(),
        };
        for (step, service) in asked {
            let known = batcher.services.iter().position(|known| known == service);
            let number = known.unwrap_or(batcher.services.len());
            batcher.of_step.insert(step, number);
            if known.is_some() {
                continue;
            }
            let opened = open(service, host)?;
            let lanes = opened
                .lanes
                .into_iter()
                .map(|lane| (number, Mutex::new(lane)));
            batcher.lanes.extend(lanes);
            batcher.services.push(service.clone());
            let state = batcher
                .state
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            state.records.push(ServiceRecord {
                service: opened.identity.service,
                runs_on: opened.identity.runs_on,
                ..ServiceRecord::default()
            });
            let before = batcher.spending.paid(service.name());
            batcher.before.push(before.unwrap_or_default());
            let heads = (0..service.heads()).map(|_| VecDeque::new());
            state.queues.push(heads.collect());
            state.came.push(0);
        }
        Ok(batcher)
    }

    /// The same; once `interrupted` is set, what is being served is the last.
    #[must_use]
    pub fn until(self, interrupted: &Arc<AtomicBool>) -> Self {
        Self {
            interrupted: Arc::clone(interrupted),
            ..self
        }
    }

    /// Lets a further pass over rows be served, once one has ended.
    pub fn reopen(&self) {
        self.lock().closed = false;
    }

    /// What the services did so far.
    pub fn records(&self) -> Vec<ServiceRecord> {
        let mut records = self.lock().records.clone();
        for (record, before) in records.iter_mut().zip(&self.before) {
            if let Some(paid) = self.spending.paid(&record.service) {
                record.sent = paid.sent - before.sent;
                record.reused = paid.reused - before.reused;
                record.tokens_in = paid.tokens_in;
                record.tokens_out = paid.tokens_out;
                record.cost = paid.cost;
            }
        }
        records
    }

    /// Makes sure, once all rows are through, that what was answered can be trusted.
    ///
    /// # Errors
    /// If it cannot.
    pub fn finish(&self) -> Result<(), RunError> {
        for (_, lane) in &self.lanes {
            let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
            lane.finish()?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch for a lane of `service`; `None` once nothing is served any more.
    fn next(&self, service: usize) -> Option<Closed> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let flushing = state.flushing;
            let asked = self.services.get(service)?;
            let batch = |head| asked.batch(head);
            let long_ago = state
                .came
                .get(service)
                .and_then(|came| came.checked_sub(asked.ahead() * PATIENCE));
            let is_overdue = |queue: &VecDeque<(Owner, Request)>| {
                let first = queue.front().map(|(owner, _)| owner.before);
                first
                    .zip(long_ago)
                    .is_some_and(|(first, then)| first < then)
            };
            let queues = state.queues.get_mut(service)?;
            // The fullest first: what is nearest to a whole batch keeps the device busy.
            let next = queues
                .iter_mut()
                .enumerate()
                .filter(|(head, queue)| {
                    queue.len() >= batch(*head)
                        || is_overdue(queue)
                        || (flushing && !queue.is_empty())
                })
                .max_by_key(|(_, queue)| (is_overdue(queue), queue.len()));
            if let Some((head, queue)) = next {
                let count = batch(head).min(queue.len());
                let (owners, requests) = queue.drain(..count).unzip();
                state.busy += 1;
                if let Some(record) = state.records.get_mut(service) {
                    record.requests += count as u64;
                    record.batches += 1;
                    record.room += batch(head) as u64;
                }
                return Some(Closed {
                    head,
                    owners,
                    requests,
                });
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Hands answers to the rows that asked, and batches of rows that can go on back. Said while the
    /// state is held: who hears it finds the lane free.
    fn settle(
        &self,
        owners: &[Owner],
        answers: Vec<Result<Answer, RowError>>,
        back: &mut dyn FnMut(Served<P, RunError>),
    ) {
        let mut state = self.lock();
        state.busy -= 1;
        for (owner, answer) in owners.iter().zip(answers) {
            let Some(ticket) = state.waiting.get_mut(&owner.number) else {
                continue;
            };
            let row = ticket.answers.get_mut(owner.row);
            if let Some(slot) = row.and_then(|row| row.get_mut(owner.index)) {
                *slot = Some(answer);
                ticket.left -= 1;
            }
        }
        let mut none = true;
        for owner in owners {
            let number = owner.number;
            let is_done = |ticket: &Ticket<P>| ticket.left == 0;
            if state.waiting.get(&number).is_some_and(is_done)
                && let Some(ticket) = state.waiting.remove(&number)
            {
                none = false;
                back(Served::Ready(number, ticket.answered()));
            }
        }
        if none {
            back(Served::Part);
        }
    }
}

impl<P: Asking> Ticket<P> {
    /// The rows with their answers; a row fails if one of its requests did.
    fn answered(mut self) -> P {
        let answers = self.answers.into_iter().map(|row| {
            let row = row.into_iter().map(|answer| {
                answer.unwrap_or_else(|| Err(RowError::new("model_failed", "no answer came")))
            });
            row.collect()
        });
        self.item.answer(answers.collect());
        self.item
    }
}

impl<P: Asking> Lanes<P, RunError> for Batcher<P> {
    fn count(&self) -> usize {
        self.lanes.len()
    }

    fn enter(&self, number: u64, mut item: P) {
        let rows = item.take_requests();
        let mut state = self.lock();
        state.flushing = false;
        let mut answers = Vec::with_capacity(rows.len());
        let mut left = 0;
        for (row, (step, requests)) in rows.into_iter().enumerate() {
            answers.push(requests.iter().map(|_| None).collect());
            let service = self.of_step.get(&step).copied().unwrap_or(usize::MAX);
            for (index, request) in requests.into_iter().enumerate() {
                let State { queues, came, .. } = &mut *state;
                let queue = queues
                    .get_mut(service)
                    .and_then(|heads| heads.get_mut(request.head));
                if let Some((queue, before)) = queue.zip(came.get_mut(service)) {
                    left += 1;
                    let owner = Owner {
                        number,
                        row,
                        index,
                        before: *before,
                    };
                    *before += 1;
                    queue.push_back((owner, request));
                }
            }
        }
        let ticket = Ticket {
            item,
            answers,
            left,
        };
        state.waiting.insert(number, ticket);
        drop(state);
        self.changed.notify_all();
    }

    fn serve(&self, lane: usize, back: &mut dyn FnMut(Served<P, RunError>)) {
        let Some((service, lane)) = self.lanes.get(lane) else {
            return;
        };
        let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(closed) = self.next(*service) {
            // What waits may take hours.
            if self.interrupted.load(Ordering::Relaxed) {
                self.lock().busy -= 1;
                back(Served::Failed(RunError::Interrupted));
                return;
            }
            match lane.serve(closed.head, &closed.requests) {
                Ok(answers) => self.settle(&closed.owners, answers, back),
                Err(error) => {
                    self.lock().busy -= 1;
                    back(Served::Failed(error.into()));
                    return;
                }
            }
        }
    }

    fn flush(&self) {
        let mut state = self.lock();
        if state.busy == 0 && !state.waiting.is_empty() {
            state.flushing = true;
            drop(state);
            self.changed.notify_all();
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.changed.notify_all();
    }
}
