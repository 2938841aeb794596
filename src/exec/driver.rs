//! Parallel work on a stream, with the results in order and the memory in flight bounded.

use std::collections::BTreeMap;
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
    Done(u64, usize, R),
    End(Result<(), E>),
}

/// Reads items with `next` on a thread of its own, works on them on `pool` and gives the results
/// to `consume` on the calling thread in the order they were read.
///
/// # Errors
/// The first error of `next` or `consume`; what is in flight is then finished and thrown away.
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
    E: Send,
{
    let gate = Gate::new(limit);
    let (events, inbox) = mpsc::channel::<Event<T, R, E>>();
    std::thread::scope(|threads| {
        let reader_events = events.clone();
        let reader_gate = &gate;
        threads.spawn(move || {
            let outcome = loop {
                match next() {
                    Err(error) => break Err(error),
                    Ok(None) => break Ok(()),
                    Ok(Some((item, bytes))) => {
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
                            let _ = events.send(Event::Done(sequence, bytes, work(item)));
                        });
                    }
                    Event::Done(sequence, bytes, value) => {
                        waiting.insert(sequence, (bytes, value));
                        while let Some((bytes, value)) = waiting.remove(&consumed) {
                            consumed += 1;
                            if result.is_ok() {
                                result = consume(value);
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
                    Ok::<_, ()>(item.map(|i| (i, 100)))
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
            |item| if item == 10 { Err("stop") } else { Ok(()) },
        );
        assert_eq!(result, Err("stop"));
        let mut source = 0..3;
        let result = ordered(
            &pool(2),
            InFlight {
                items: 4,
                bytes: 1000,
            },
            || source.next().map(|i| Some((i, 1))).ok_or("read error"),
            |item| item,
            |_| Ok(()),
        );
        assert_eq!(result, Err("read error"));
    }
}
