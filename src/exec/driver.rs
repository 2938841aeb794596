//! Parallel work on a stream, with the results in order and the memory in flight bounded.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Condvar, Mutex, PoisonError};

/// How much may be between the reader and the ordered step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// Items.
    pub items: usize,
    /// Bytes, as the source counts them. One item is always admitted.
    pub bytes: usize,
}

enum Event<T, R, E> {
    Read(T, usize),
    Done(u64, usize, Result<R, Panicked>),
    End(Result<(), E>),
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
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
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
    mut next: impl FnMut() -> Result<Option<(T, usize)>, E> + Send,
    work: impl Fn(T) -> R + Sync,
    mut consume: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E>
where
    T: Send,
    R: Send,
    E: Send + From<Panicked>,
{
    let gate = Gate::new(limit);
    let (events, inbox) = mpsc::channel::<Event<T, R, E>>();
    std::thread::scope(|threads| {
        let reader_events = events.clone();
        let reader_gate = &gate;
        threads.spawn(move || {
            let outcome = loop {
                // While very long rows are in flight no other one is read.
                if !reader_gate.wait() {
                    break Ok(());
                }
                match Panicked::catch(&mut next) {
                    Err(panic) => break Err(panic.into()),
                    Ok(Err(error)) => break Err(error),
                    Ok(Ok(None)) => break Ok(()),
                    Ok(Ok(Some((item, bytes)))) => {
                        if !reader_gate.enter(bytes)
                            || reader_events.send(Event::Read(item, bytes)).is_err()
                        {
                            break Ok(());
                        }
                    }
                }
            };
            let _ = reader_events.send(Event::End(outcome));
        });
        // However this thread ends, the reader does not wait for room any more.
        let _cancel = CancelOnDrop(&gate);
        pool.in_place_scope(|scope| {
            let mut result = Ok(());
            let mut waiting = BTreeMap::new();
            let (mut started, mut consumed) = (0_u64, 0_u64);
            let mut reading = true;
            while reading || consumed < started {
                let Ok(event) = inbox.recv() else { break };
                match event {
                    Event::Read(item, bytes) => {
                        let sequence = started;
                        started += 1;
                        let events = events.clone();
                        let work = &work;
                        scope.spawn(move |_| {
                            let result = Panicked::catch(|| work(item));
                            let _ = events.send(Event::Done(sequence, bytes, result));
                        });
                    }
                    Event::Done(sequence, bytes, value) => {
                        waiting.insert(sequence, (bytes, value));
                        while let Some((bytes, value)) = waiting.remove(&consumed) {
                            consumed += 1;
                            if result.is_ok() {
                                result = value.map_err(E::from).and_then(&mut consume);
                                if result.is_err() {
                                    gate.cancel();
                                }
                            }
                            gate.leave(bytes);
                        }
                    }
                    Event::End(outcome) => {
                        reading = false;
                        if result.is_ok() {
                            result = outcome;
                        }
                    }
                }
            }
            result
        })
    })
}

struct CancelOnDrop<'a>(&'a Gate);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Admits items while they fit into the limit.
struct Gate {
    limit: InFlight,
    inside: Mutex<(usize, usize)>,
    changed: Condvar,
    cancelled: AtomicBool,
}

impl Gate {
    fn new(limit: InFlight) -> Self {
        Self {
            limit,
            inside: Mutex::new((0, 0)),
            changed: Condvar::new(),
            cancelled: AtomicBool::new(false),
        }
    }

    /// Waits while the limit is reached; false if the work was cancelled meanwhile.
    fn wait(&self) -> bool {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        while inside.0 > 0 && inside.1 >= self.limit.bytes {
            if self.cancelled.load(Ordering::Acquire) {
                return false;
            }
            inside = self
                .changed
                .wait(inside)
                .unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Waits until `bytes` fit; false if the work was cancelled meanwhile.
    fn enter(&self, bytes: usize) -> bool {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        while inside.0 > 0 && (inside.0 >= self.limit.items || inside.1 + bytes > self.limit.bytes)
        {
            if self.cancelled.load(Ordering::Acquire) {
                return false;
            }
            inside = self
                .changed
                .wait(inside)
                .unwrap_or_else(PoisonError::into_inner);
        }
        inside.0 += 1;
        inside.1 += bytes;
        !self.cancelled.load(Ordering::Acquire)
    }

    fn leave(&self, bytes: usize) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.0 = inside.0.saturating_sub(1);
        inside.1 = inside.1.saturating_sub(bytes);
        self.changed.notify_all();
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
}
