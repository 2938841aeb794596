//! Parallel work on a stream, with the results in order and the memory in flight bounded.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How much may be between the reader and the ordered step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// Items.
    pub items: usize,
    /// Bytes, as the source counts them. One item is always admitted.
    pub bytes: usize,
}

enum Event<T, P, R, E> {
    /// An item was read; it counts as so many bytes.
    Read(T, usize),
    /// A worker is done with one for now.
    Worked(u64, Result<Worked<P, R>, Panicked>),
    /// A lane has served.
    Served(Served<P, E>),
    /// The reader waits for room.
    Stalled,
    /// Nothing more is read.
    End(Result<(), E>),
}

/// What a worker made of an item.
#[derive(Debug)]
pub enum Worked<P, R> {
    /// Its result.
    Done(R),
    /// It cannot go on before it is served; so many bytes more are in flight until then.
    Waits(P, usize),
}

/// What is worked on.
#[derive(Debug)]
pub enum Job<T, P> {
    /// An item from its beginning.
    New(T),
    /// One that was served.
    On(P),
}

/// What a lane says.
#[derive(Debug)]
pub enum Served<P, E> {
    /// The item of this number can go on.
    Ready(u64, P),
    /// Something was served, and no item can go on yet.
    Part,
    /// Nothing can be served any more.
    Failed(E),
}

/// Serves items that cannot go on by themselves, several together, on threads of its own.
pub trait Lanes<P, E>: Sync {
    /// How many threads serve.
    fn count(&self) -> usize;

    /// Takes an item that waits.
    fn enter(&self, number: u64, item: P);

    /// Serves on thread `lane` until [`Lanes::close`], and says through `back` what became of it.
    fn serve(&self, lane: usize, back: &mut dyn FnMut(Served<P, E>));

    /// No further item comes before one is served: serves what there is.
    fn flush(&self);

    /// Nothing is served any more.
    fn close(&self);
}

/// Nobody serves: for work that always goes on.
pub struct NoLanes;

impl<P, E> Lanes<P, E> for NoLanes {
    fn count(&self) -> usize {
        0
    }
    fn enter(&self, _: u64, _: P) {}
    fn serve(&self, _: usize, _: &mut dyn FnMut(Served<P, E>)) {}
    fn flush(&self) {}
    fn close(&self) {}
}

/// A panic in a thread of a run: a defect, which ends the run and leaves nobody waiting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Panicked(pub String);

impl Panicked {
    /// What `work` gives, or its panic as an error.
    ///
    /// # Errors
    /// The panic. What `work` changed may be half done: nobody may go on with it.
    pub fn catch<R>(work: impl FnOnce() -> R) -> Result<R, Self> {
        catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Self(panic_message(panic.as_ref())))
    }
}

/// What a panic said.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// Reads items with `next` on a thread of its own, works on them on `pool` and gives the results
/// to `consume` on the calling thread in the order they were read.
///
/// # Errors
/// The first error of `next` or `consume`, or a panic of `next` or `work`; what is in flight is
/// then finished and thrown away.
///
/// # Panics
/// If `consume` does, once all threads have ended.
pub fn ordered<T, R, E>(
    pool: &rayon::ThreadPool,
    limit: InFlight,
    next: impl FnMut() -> Result<Option<(T, usize)>, E> + Send,
    work: impl Fn(T) -> R + Sync,
    consume: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E>
where
    T: Send,
    R: Send,
    E: Send + From<Panicked>,
{
    let stages = Stages::<(), E> {
        pool,
        limit,
        lanes: &NoLanes,
    };
    let work = |job| match job {
        Job::New(item) => Some(Worked::Done(work(item))),
        Job::On(()) => None,
    };
    stages.run(next, work, consume)
}

/// Where items are worked on and served, and how much may be in flight.
pub struct Stages<'a, P, E> {
    /// The workers.
    pub pool: &'a rayon::ThreadPool,
    /// What may be between the reader and the ordered step.
    pub limit: InFlight,
    /// Who serves what cannot go on by itself.
    pub lanes: &'a dyn Lanes<P, E>,
}

impl<P, E> Stages<'_, P, E>
where
    P: Send,
    E: Send + From<Panicked>,
{
    /// As [`ordered`], for work that may have to be served before it goes on, any number of times.
    /// `work` gives `None` only for a job that it never asked for.
    ///
    /// # Errors
    /// As [`ordered`], and what the lanes say.
    ///
    /// # Panics
    /// As [`ordered`].
    pub fn run<T, R>(
        &self,
        mut next: impl FnMut() -> Result<Option<(T, usize)>, E> + Send,
        work: impl Fn(Job<T, P>) -> Option<Worked<P, R>> + Sync,
        mut consume: impl FnMut(R) -> Result<(), E>,
    ) -> Result<(), E>
    where
        T: Send,
        R: Send,
    {
        let gate = Gate::new(self.limit, self.lanes.count() == 0);
        let (sender, inbox) = mpsc::channel::<Event<T, P, R, E>>();
        let outbox = Outbox {
            sender,
            unread: AtomicUsize::new(0),
        };
        let (outbox, gate, work) = (&outbox, &gate, &work);
        std::thread::scope(|threads| {
            threads.spawn(move || {
                let stalled = || outbox.send(Event::Stalled);
                let outcome = loop {
                    // While very long rows are in flight no other one is read.
                    if !gate.wait(stalled) {
                        break Ok(());
                    }
                    match Panicked::catch(&mut next) {
                        Err(panic) => break Err(panic.into()),
                        Ok(Err(error)) => break Err(error),
                        Ok(Ok(None)) => break Ok(()),
                        Ok(Ok(Some((item, bytes)))) => {
                            if !gate.enter(bytes, stalled) {
                                break Ok(());
                            }
                            outbox.send(Event::Read(item, bytes));
                        }
                    }
                };
                outbox.send(Event::End(outcome));
            });
            // However this thread ends, nobody waits for it any more.
            let _cancel = CancelOnDrop(gate, || self.lanes.close());
            for lane in 0..self.lanes.count() {
                threads.spawn(move || {
                    let mut back = |served| outbox.send(Event::Served(served));
                    let served = Panicked::catch(|| self.lanes.serve(lane, &mut back));
                    if let Err(panic) = served {
                        back(Served::Failed(panic.into()));
                    }
                });
            }
            self.pool.in_place_scope(|scope| {
                let start = |number, job| {
                    scope.spawn(move |_| {
                        let worked = Panicked::catch(|| work(job)).and_then(|worked| {
                            worked.ok_or_else(|| Panicked("served what did not wait".into()))
                        });
                        outbox.send(Event::Worked(number, worked));
                    });
                };
                let mut result = Ok(());
                // The bytes of each item in flight, and of what it waits with.
                let mut inside: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
                let mut done = BTreeMap::new();
                let (mut started, mut consumed, mut running) = (0_u64, 0_u64, 0_usize);
                let (mut reading, mut stalled) = (true, false);
                while reading || running > 0 || (result.is_ok() && consumed < started) {
                    let Ok(event) = inbox.recv() else { break };
                    outbox.unread.fetch_sub(1, Ordering::AcqRel);
                    match event {
                        Event::Read(item, bytes) => {
                            inside.insert(started, (bytes, 0));
                            start(started, Job::New(item));
                            started += 1;
                            running += 1;
                        }
                        Event::Worked(number, Ok(Worked::Waits(item, bytes))) => {
                            running -= 1;
                            if let Some((_, waits)) = inside.get_mut(&number) {
                                *waits = bytes;
                            }
                            gate.add(bytes);
                            if self.lanes.count() == 0 && result.is_ok() {
                                let nobody = "work waits and nobody serves".to_owned();
                                result = Err(Panicked(nobody).into());
                            } else if result.is_ok() {
                                self.lanes.enter(number, item);
                            }
                        }
                        Event::Worked(number, worked) => {
                            running -= 1;
                            let value = worked.map(|worked| match worked {
                                Worked::Done(value) => Some(value),
                                Worked::Waits(..) => None,
                            });
                            done.insert(number, value);
                            while let Some(value) = done.remove(&consumed) {
                                let bytes = inside.remove(&consumed).unwrap_or_default().0;
                                consumed += 1;
                                if result.is_ok() {
                                    result = value
                                        .map_err(E::from)
                                        .and_then(|value| value.map_or(Ok(()), &mut consume));
                                }
                                stalled = false;
                                gate.leave(bytes);
                            }
                        }
                        Event::Served(Served::Ready(number, item)) => {
                            if let Some((_, waits)) = inside.get_mut(&number) {
                                stalled = false;
                                gate.give_back(std::mem::take(waits));
                            }
                            if result.is_ok() {
                                start(number, Job::On(item));
                                running += 1;
                            }
                        }
                        Event::Served(Served::Failed(error)) => {
                            if result.is_ok() {
                                result = Err(error);
                            }
                        }
                        Event::Served(Served::Part) => {}
                        Event::Stalled => stalled = true,
                        Event::End(outcome) => {
                            reading = false;
                            if result.is_ok() {
                                result = outcome;
                            }
                        }
                    }
                    if result.is_err() {
                        gate.cancel();
                        self.lanes.close();
                    } else if running == 0
                        && (stalled || !reading)
                        && outbox.unread.load(Ordering::Acquire) == 0
                    {
                        self.lanes.flush();
                    }
                }
                result
            })
        })
    }
}

/// Where threads tell what they did.
struct Outbox<T, P, R, E> {
    sender: mpsc::Sender<Event<T, P, R, E>>,
    /// Events that were sent and not yet looked at.
    unread: AtomicUsize,
}

impl<T, P, R, E> Outbox<T, P, R, E> {
    fn send(&self, event: Event<T, P, R, E>) {
        self.unread.fetch_add(1, Ordering::AcqRel);
        // The receiver outlives all senders but in a panic, when nothing matters any more.
        let _ = self.sender.send(event);
    }
}

struct CancelOnDrop<'a, F: Fn()>(&'a Gate, F);

impl<F: Fn()> Drop for CancelOnDrop<'_, F> {
    fn drop(&mut self) {
        self.0.cancel();
        (self.1)();
    }
}

/// Admits items while they fit into the limit.
struct Gate {
    limit: InFlight,
    /// Who waits is woken when so many items are left inside: to be woken for each costs more than
    /// to read several at once.
    wake_at: usize,
    inside: Mutex<(usize, usize)>,
    changed: Condvar,
    cancelled: AtomicBool,
}

impl Gate {
    /// Where lanes wait for what is read next, there is no waiting for room for several (`sparing`).
    fn new(limit: InFlight, sparing: bool) -> Self {
        let several = if sparing { (limit.items / 4).max(2) } else { 1 };
        Self {
            limit,
            wake_at: limit.items.saturating_sub(several),
            inside: Mutex::new((0, 0)),
            changed: Condvar::new(),
            cancelled: AtomicBool::new(false),
        }
    }

    /// Waits while the limit is reached; false if the work was cancelled meanwhile. Before each wait
    /// `stalled` is called.
    fn wait(&self, stalled: impl Fn()) -> bool {
        let full = |inside: &(usize, usize)| inside.0 > 0 && inside.1 >= self.limit.bytes;
        drop(self.wait_while(full, stalled));
        !self.cancelled.load(Ordering::Acquire)
    }

    /// Waits until `bytes` fit; false if the work was cancelled meanwhile.
    fn enter(&self, bytes: usize, stalled: impl Fn()) -> bool {
        let full = |inside: &(usize, usize)| {
            inside.0 > 0 && (inside.0 >= self.limit.items || inside.1 + bytes > self.limit.bytes)
        };
        let mut inside = self.wait_while(full, stalled);
        inside.0 += 1;
        inside.1 += bytes;
        !self.cancelled.load(Ordering::Acquire)
    }

    fn wait_while(
        &self,
        full: impl Fn(&(usize, usize)) -> bool,
        stalled: impl Fn(),
    ) -> MutexGuard<'_, (usize, usize)> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        while full(&inside) && !self.cancelled.load(Ordering::Acquire) {
            stalled();
            inside = self
                .changed
                .wait(inside)
                .unwrap_or_else(PoisonError::into_inner);
        }
        inside
    }

    /// Counts `bytes` more of what is inside already.
    fn add(&self, bytes: usize) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.1 += bytes;
    }

    /// Takes back what [`Gate::add`] counted.
    fn give_back(&self, bytes: usize) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.1 = inside.1.saturating_sub(bytes);
        self.changed.notify_all();
    }

    fn leave(&self, bytes: usize) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.0 = inside.0.saturating_sub(1);
        inside.1 = inside.1.saturating_sub(bytes);
        if inside.0 <= self.wake_at {
            self.changed.notify_all();
        }
    }

    fn cancel(&self) {
        let _inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        self.cancelled.store(true, Ordering::Release);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Failure(String);

    impl From<Panicked> for Failure {
        fn from(panic: Panicked) -> Self {
            Self(panic.0)
        }
    }

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    }

    #[test]
    fn results_come_in_order_within_the_limit() {
        for threads in [1, 3] {
            let live = AtomicUsize::new(0);
            let most = AtomicUsize::new(0);
            let mut source = 0..500_u32;
            let mut out = Vec::new();
            ordered(
                &pool(threads),
                InFlight {
                    items: 5,
                    bytes: 1000,
                },
                || {
                    let item = source.next();
                    if item.is_some() {
                        most.fetch_max(live.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    }
                    Ok::<_, Failure>(item.map(|i| (i, 100)))
                },
                |item| {
                    if item % 7 == 0 {
                        std::thread::yield_now();
                    }
                    item
                },
                |item| {
                    live.fetch_sub(1, Ordering::SeqCst);
                    out.push(item);
                    Ok(())
                },
            )
            .unwrap();
            assert_eq!(out, (0..500).collect::<Vec<_>>());
            // Five inside, and one that the reader holds while it waits to enter.
            assert!(most.load(Ordering::SeqCst) <= 6);
        }
    }

    #[test]
    fn an_error_ends_the_stream() {
        let mut source = 0..u32::MAX;
        let result = ordered(
            &pool(2),
            InFlight {
                items: 4,
                bytes: 1000,
            },
            || Ok(source.next().map(|i| (i, 1))),
            |item| item,
            |item| {
                if item == 10 {
                    Err(Failure("stop".into()))
                } else {
                    Ok(())
                }
            },
        );
        assert_eq!(result, Err(Failure("stop".into())));
        let mut source = 0..3;
        let result = ordered(
            &pool(2),
            InFlight {
                items: 4,
                bytes: 1000,
            },
            || {
                let item = source.next().map(|i| Some((i, 1)));
                item.ok_or_else(|| Failure("read error".into()))
            },
            |item| item,
            |_| Ok(()),
        );
        assert_eq!(result, Err(Failure("read error".into())));
    }

    #[test]
    fn a_panic_of_any_thread_ends_the_stream() {
        // Few enough inside that the reader waits for room while the others fail.
        let limit = InFlight { items: 2, bytes: 2 };
        for culprit in ["reader", "worker", "consumer"] {
            let mut source = 0..100_000_u32;
            let fail = |who: &str, item: u32| assert!(who != culprit || item < 10, "{who} fails");
            let result = Panicked::catch(|| {
                ordered(
                    &pool(2),
                    limit,
                    || {
                        let item = source.next();
                        fail("reader", item.unwrap_or(0));
                        Ok::<_, Failure>(item.map(|i| (i, 1)))
                    },
                    |item| {
                        fail("worker", item);
                        item
                    },
                    |item| {
                        fail("consumer", item);
                        Ok(())
                    },
                )
            });
            let message = match result {
                Ok(ended) => ended.unwrap_err().0,
                Err(panic) => panic.0,
            };
            assert_eq!(message, format!("{culprit} fails"));
        }
    }

    /// What waits, lanes that serve, whether batches are flushed, whether all is over.
    type DoublerState = (Vec<(u64, u32)>, usize, bool, bool);

    /// Serves items in batches of `batch`, and counts the batches.
    struct Doubler {
        batch: usize,
        lanes: usize,
        state: Mutex<DoublerState>,
        changed: Condvar,
        served: AtomicUsize,
        fails_at: usize,
    }

    impl Lanes<u32, Failure> for Doubler {
        fn count(&self) -> usize {
            self.lanes
        }
        fn enter(&self, number: u64, item: u32) {
            let mut state = self.state.lock().unwrap();
            state.0.push((number, item));
            state.2 = false;
            self.changed.notify_all();
        }
        fn serve(&self, _: usize, back: &mut dyn FnMut(Served<u32, Failure>)) {
            loop {
                let mut state = self.state.lock().unwrap();
                while !state.3 && state.0.len() < self.batch && (!state.2 || state.0.is_empty()) {
                    state = self.changed.wait(state).unwrap();
                }
                if state.3 {
                    return;
                }
                let count = self.batch.min(state.0.len());
                let items: Vec<_> = state.0.drain(..count).collect();
                state.1 += 1;
                drop(state);
                let served = self.served.fetch_add(1, Ordering::SeqCst);
                let mut state = self.state.lock().unwrap();
                state.1 -= 1;
                if served == self.fails_at {
                    back(Served::Failed(Failure("no more".into())));
                    return;
                }
                for (number, item) in items {
                    back(Served::Ready(number, item * 2));
                }
            }
        }
        fn flush(&self) {
            let mut state = self.state.lock().unwrap();
            if state.1 == 0 {
                state.2 = true;
                self.changed.notify_all();
            }
        }
        fn close(&self) {
            self.state.lock().unwrap().3 = true;
            self.changed.notify_all();
        }
    }

    /// Every item waits once; what comes is doubled.
    fn doubled(lanes: &Doubler, items: usize, threads: usize) -> (Result<(), Failure>, Vec<u32>) {
        let mut source = 0..1000_u32;
        let mut out = Vec::new();
        let stages = Stages {
            pool: &pool(threads),
            limit: InFlight {
                items,
                bytes: 100_000,
            },
            lanes,
        };
        let result = stages.run(
            || Ok(source.next().map(|i| (i, 1))),
            |job| {
                Some(match job {
                    // Some items go through without waiting.
                    Job::New(item) if item % 5 == 0 => Worked::Done(item * 2),
                    Job::New(item) => Worked::Waits(item, 10),
                    Job::On(item) => Worked::Done(item),
                })
            },
            |item| {
                out.push(item);
                Ok(())
            },
        );
        (result, out)
    }

    #[test]
    fn what_waits_is_served_in_batches_and_comes_in_order() {
        // More than fits into what is in flight, as much, and less; never does it wait for ever.
        for (batch, items, lanes) in [(64, 8, 1), (8, 8, 2), (7, 300, 3), (1, 2, 1)] {
            for threads in [1, 3] {
                let lanes = Doubler {
                    batch,
                    lanes,
                    state: Mutex::default(),
                    changed: Condvar::new(),
                    served: AtomicUsize::new(0),
                    fails_at: usize::MAX,
                };
                let (result, out) = doubled(&lanes, items, threads);
                assert_eq!(result, Ok(()));
                assert_eq!(out, (0..1000).map(|i| i * 2).collect::<Vec<_>>());
                if batch == 7 {
                    // 800 items wait; with room enough nearly all batches are full.
                    let served = lanes.served.load(Ordering::SeqCst);
                    assert!(served <= 800_usize.div_ceil(7) + 6, "{served} batches");
                }
            }
        }
    }

    #[test]
    fn what_is_served_no_more_ends_the_stream() {
        let lanes = Doubler {
            batch: 4,
            lanes: 2,
            state: Mutex::default(),
            changed: Condvar::new(),
            served: AtomicUsize::new(0),
            fails_at: 9,
        };
        let (result, _) = doubled(&lanes, 16, 2);
        assert_eq!(result, Err(Failure("no more".into())));
    }
}
