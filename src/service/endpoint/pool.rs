//! The addresses of a server: how many requests are on their way to each, which one is next, and
//! when nothing may be sent.
//!
//! The window of an address grows by one with each answer and is halved where it is slow or asks
//! for patience. Before the first answer of all there is one request on its way, so that a wrong key
//! or model costs one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::service::ServiceError;

/// How many rows in a row may fail before the run stops.
const FAILURES: usize = 50;
/// After so many failures in a row an address is left alone for a while, if another one answers.
const DOWN_AFTER: u32 = 3;
/// For how long at most.
const DOWN_FOR: Duration = Duration::from_secs(30);
/// How long whoever waits goes without a look at whether the run stops.
const LOOK: Duration = Duration::from_millis(50);

/// The addresses.
pub struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    stopping: Arc<AtomicBool>,
    most: usize,
}

struct State {
    addresses: Vec<Address>,
    /// Whether any of them has given a sound answer.
    answered: bool,
    /// Whether any has answered at all.
    alive: bool,
    /// Rows that failed, one after the other.
    failed: usize,
    /// Why nothing is sent any more.
    fatal: Option<ServiceError>,
}

struct Address {
    window: usize,
    busy: usize,
    /// When the window was halved last: what was sent before says nothing new.
    cut: Option<Instant>,
    /// Nothing is sent before.
    paused: Option<Instant>,
    /// Failures to reach it, one after the other.
    failures: u32,
    /// Whether it has given a sound answer.
    answered: bool,
}

/// A request that is on its way.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// The address that it goes to.
    pub address: usize,
    since: Instant,
}

/// What became of a request, as far as its address is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fared {
    /// It was answered.
    Well,
    /// The address is asked too much, and asks to wait so long.
    TooFast(Option<Duration>),
    /// It answered that something is wrong there.
    Badly,
    /// It could not be reached, or did not answer.
    Lost,
    /// It refused the request.
    Refused,
    /// It was not sent after all.
    Unsent,
}

impl Pool {
    /// `count` addresses, with `most` requests on their way to all of them together.
    #[must_use]
    pub fn new(count: usize, most: usize, stopping: Arc<AtomicBool>) -> Self {
        let address = |_| Address {
            window: 1,
            busy: 0,
            cut: None,
            paused: None,
            failures: 0,
            answered: false,
        };
        Self {
            state: Mutex::new(State {
                addresses: (0..count).map(address).collect(),
                answered: false,
                alive: false,
                failed: 0,
                fatal: None,
            }),
            changed: Condvar::new(),
            stopping,
            most,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops everything for `error`, or for what it was stopped for before.
    pub fn stop(&self, error: ServiceError) -> ServiceError {
        let error = self.lock().fatal.get_or_insert(error).clone();
        self.changed.notify_all();
        error
    }

    /// Why nothing is sent any more, if so.
    ///
    /// # Errors
    /// That.
    fn go_on(&self, state: &State, name: &str) -> Result<(), ServiceError> {
        if let Some(error) = &state.fatal {
            return Err(error.clone());
        }
        if self.stopping.load(Ordering::Relaxed) {
            return Err(ServiceError {
                service: name.to_owned(),
                message: "the run is to stop".to_owned(),
                hint: None,
                spoiled: false,
            });
        }
        Ok(())
    }

    /// Waits for the turn of a request, and says where it goes: rather not to `avoided`, where it
    /// has failed.
    ///
    /// # Errors
    /// If nothing is sent any more.
    pub fn enter(&self, avoided: Option<usize>, name: &str) -> Result<Slot, ServiceError> {
        let mut state = self.lock();
        loop {
            self.go_on(&state, name)?;
            let now = Instant::now();
            if let Some(address) = state.choose(avoided, self.most, now) {
                if let Some(chosen) = state.addresses.get_mut(address) {
                    chosen.busy += 1;
                }
                return Ok(Slot {
                    address,
                    since: now,
                });
            }
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Gives the place of a request back.
    pub fn leave(&self, slot: Slot, fared: Fared) {
        let mut state = self.lock();
        let others = state.addresses.len() > 1;
        let now = Instant::now();
        if fared == Fared::Well {
            state.answered = true;
            state.failed = 0;
        }
        state.alive |= !matches!(fared, Fared::Lost | Fared::Unsent);
        if let Some(address) = state.addresses.get_mut(slot.address) {
            address.busy = address.busy.saturating_sub(1);
            let halves = matches!(fared, Fared::TooFast(_) | Fared::Badly | Fared::Lost);
            if halves && address.cut.is_none_or(|cut| cut < slot.since) {
                address.window = (address.window / 2).max(1);
                address.cut = Some(now);
            }
            match fared {
                Fared::Well => {
                    address.window = (address.window + 1).min(self.most);
                    address.failures = 0;
                    address.answered = true;
                }
                Fared::TooFast(wait) => {
                    let until = wait.and_then(|wait| now.checked_add(wait));
                    address.paused = address.paused.max(until);
                }
                Fared::Lost => {
                    address.failures += 1;
                    if others && address.failures >= DOWN_AFTER {
                        let more = (address.failures - DOWN_AFTER).min(5);
                        let wait = Duration::from_secs(1 << more).min(DOWN_FOR);
                        address.paused = address.paused.max(now.checked_add(wait));
                    }
                }
                Fared::Badly | Fared::Refused | Fared::Unsent => {}
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Lets an address rest, as it has announced that its limit is reached.
    pub fn rest(&self, address: usize, wait: Duration) {
        let mut state = self.lock();
        if let Some(address) = state.addresses.get_mut(address) {
            address.paused = address.paused.max(Instant::now().checked_add(wait));
        }
    }

    /// Whether an address has never given a sound answer.
    #[must_use]
    pub fn is_new(&self, address: usize) -> bool {
        let state = self.lock();
        state
            .addresses
            .get(address)
            .is_none_or(|address| !address.answered)
    }

    /// Whether no address has ever answered anything.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        !self.lock().alive
    }

    /// Counts a row that failed, and says whether too many did, one after the other.
    #[must_use]
    pub fn row_failed(&self) -> bool {
        let mut state = self.lock();
        state.failed += 1;
        state.failed >= FAILURES
    }

    /// Waits before a request is sent again.
    ///
    /// # Errors
    /// If nothing is sent any more.
    pub fn sleep(&self, wait: Duration, name: &str) -> Result<(), ServiceError> {
        let until = Instant::now() + wait;
        let mut state = self.lock();
        loop {
            self.go_on(&state, name)?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let waited = self.changed.wait_timeout(state, left.min(LOOK));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    /// The address with the most room, if there is one.
    fn choose(&self, avoided: Option<usize>, most: usize, now: Instant) -> Option<usize> {
        let busy: usize = self.addresses.iter().map(|address| address.busy).sum();
        let allowed = if self.answered { most } else { 1 };
        if busy >= allowed {
            return None;
        }
        let open = |address: &Address| {
            address.busy < address.window && address.paused.is_none_or(|until| until <= now)
        };
        let numbered = self.addresses.iter().enumerate();
        let room = numbered.filter(|(_, address)| open(address));
        // One that failed just now comes last, and of equal ones the first is first.
        let chosen = room.min_by_key(|(number, address)| {
            let spare = address.window - address.busy;
            (
                avoided == Some(*number),
                address.failures,
                std::cmp::Reverse(spare),
            )
        });
        chosen.map(|(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: usize, most: usize) -> Pool {
        Pool::new(count, most, Arc::default())
    }

    fn room(pool: &Pool) -> usize {
        let mut slots = Vec::new();
        while pool
            .lock()
            .choose(None, pool.most, Instant::now())
            .is_some()
        {
            slots.push(pool.enter(None, "m").unwrap());
        }
        let mut state = pool.lock();
        for slot in &slots {
            state.addresses[slot.address].busy -= 1;
        }
        slots.len()
    }

    #[test]
    fn the_window_opens_with_answers_and_is_halved_once_for_what_was_sent_together() {
        let pool = pool(1, 8);
        assert_eq!(room(&pool), 1);
        for _ in 0..20 {
            let slot = pool.enter(None, "m").unwrap();
            pool.leave(slot, Fared::Well);
        }
        assert_eq!(room(&pool), 8);
        let slots: Vec<Slot> = (0..4).map(|_| pool.enter(None, "m").unwrap()).collect();
        for slot in slots {
            pool.leave(slot, Fared::TooFast(None));
        }
        assert_eq!(room(&pool), 4);
        let slot = pool.enter(None, "m").unwrap();
        pool.leave(slot, Fared::TooFast(Some(Duration::from_secs(60))));
        assert_eq!(room(&pool), 0);
    }

    #[test]
    fn one_that_fails_is_avoided_and_left_alone_while_another_answers() {
        let pool = pool(2, 8);
        let first = pool.enter(None, "m").unwrap();
        assert_eq!((first.address, room(&pool)), (0, 0));
        pool.leave(first, Fared::Lost);
        assert!(pool.is_dead());
        let second = pool.enter(Some(0), "m").unwrap();
        assert_eq!(second.address, 1);
        pool.leave(second, Fared::Well);
        assert!(!pool.is_dead() && pool.is_new(0) && !pool.is_new(1));
        for _ in 0..2 {
            let slot = Slot {
                address: 0,
                since: Instant::now(),
            };
            pool.lock().addresses[0].busy += 1;
            pool.leave(slot, Fared::Lost);
        }
        let slots: Vec<usize> = (0..2)
            .map(|_| pool.enter(None, "m").unwrap().address)
            .collect();
        assert_eq!(slots, [1, 1]);
    }

    #[test]
    fn what_stops_stops_all_who_wait() {
        let stopping = Arc::new(AtomicBool::new(false));
        let pool = Pool::new(1, 1, Arc::clone(&stopping));
        let slot = pool.enter(None, "m").unwrap();
        std::thread::scope(|threads| {
            let waits = threads.spawn(|| pool.enter(None, "m").map(|_| ()));
            stopping.store(true, Ordering::Relaxed);
            assert!(waits.join().unwrap().is_err());
        });
        pool.leave(slot, Fared::Well);
        stopping.store(false, Ordering::Relaxed);
        let error = |message: &str| ServiceError {
            service: "m".into(),
            message: message.into(),
            hint: None,
            spoiled: false,
        };
        assert_eq!(pool.stop(error("first")), error("first"));
        assert_eq!(pool.stop(error("second")), error("first"));
        assert_eq!(pool.enter(None, "m").unwrap_err(), error("first"));
        let rows = (0..FAILURES).map(|_| pool.row_failed());
        assert_eq!(rows.filter(|stops| *stops).count(), 1);
    }
}
