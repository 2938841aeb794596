//! The bytes of an object one after the other: a few ranges are asked for ahead.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use tokio::task::JoinHandle;

use super::object::Object;
use super::store::{IN_FLIGHT, PART, runtime};

/// The first range: enough to tell what an object is.
const FIRST: u64 = 64 << 10;

/// How much larger each range is than the one before, up to the size of a part.
const GROWTH: u64 = 16;

/// Reads an object from a place on. At most four ranges of 8 MiB are in memory beside the one that
/// is being read.
pub struct Stream {
    object: Arc<Object>,
    at_hand: Bytes,
    /// Ranges that were asked for, in order.
    waiting: VecDeque<JoinHandle<io::Result<Bytes>>>,
    /// What comes behind them.
    next: u64,
    /// How long the next range is.
    length: u64,
}

impl Stream {
    /// The bytes of `object` from `from` on.
    pub(super) fn new(object: Arc<Object>, from: u64) -> Self {
        Self {
            object,
            at_hand: Bytes::new(),
            waiting: VecDeque::new(),
            next: from,
            length: FIRST,
        }
    }

    /// Asks for ranges ahead. Who reads no further than the first asks for no second one.
    fn ask(&mut self) -> io::Result<()> {
        let most = if self.length == FIRST { 1 } else { IN_FLIGHT };
        while self.waiting.len() < most && self.next < self.object.size() {
            let end = self
                .next
                .saturating_add(self.length)
                .min(self.object.size());
            let range = Arc::clone(&self.object).range(self.next..end);
            self.waiting.push_back(runtime()?.spawn(range));
            self.next = end;
            self.length = (self.length * GROWTH).min(PART);
            if most == 1 {
                break;
            }
        }
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at_hand.is_empty() && !buffer.is_empty() {
            self.ask()?;
            let Some(range) = self.waiting.pop_front() else {
                return Ok(0);
            };
            self.at_hand = runtime()?.block_on(range).map_err(io::Error::other)??;
        }
        let count = buffer.len().min(self.at_hand.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), self.at_hand.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at_hand.advance(count);
        Ok(count)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        for range in &self.waiting {
            range.abort();
        }
    }
}
