//! An output whose records go to the program that runs the recipe.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::{Complete, Sink, SinkState};
use crate::io::workspace::Lengths;

/// Receives the records of the outputs whose target is [`crate::recipe::Target::Caller`], on the
/// thread that called [`crate::exec::run_to`], in order.
pub trait Receiver {
    /// Takes a record of an output: its number in the recipe, from 0, and the bytes, without what
    /// the format would put around it in a file.
    ///
    /// # Errors
    /// What ends the run; nothing is published then.
    fn receive(&mut self, output: usize, record: &[u8]) -> io::Result<()>;
}

impl<F: FnMut(usize, &[u8]) -> io::Result<()>> Receiver for F {
    fn receive(&mut self, output: usize, record: &[u8]) -> io::Result<()> {
        self(output, record)
    }
}

/// A receiver that several outputs share.
#[derive(Clone)]
pub struct Caller<'a>(Rc<RefCell<&'a mut dyn Receiver>>);

impl<'a> Caller<'a> {
    /// Shares `receiver`.
    pub fn new(receiver: &'a mut dyn Receiver) -> Self {
        Self(Rc::new(RefCell::new(receiver)))
    }
}

/// Hands the records of one output over.
pub struct ToCaller<'a> {
    number: usize,
    caller: Caller<'a>,
    written: u64,
}

impl<'a> ToCaller<'a> {
    /// For the output `number`.
    pub fn new(number: usize, caller: Caller<'a>) -> Self {
        Self {
            number,
            caller,
            written: 0,
        }
    }
}

impl Sink for ToCaller<'_> {
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        // The run's own thread is the only one that writes, and a receiver cannot write to itself.
        let mut receiver = self.caller.0.try_borrow_mut().map_err(io::Error::other)?;
        receiver.receive(self.number, record)?;
        self.written += 1;
        Ok(())
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn sync(&mut self, _: &mut Lengths) -> io::Result<SinkState> {
        Ok(SinkState {
            written: self.written,
            ..SinkState::default()
        })
    }

    fn finish(self: Box<Self>) -> io::Result<Vec<Complete>> {
        Ok(Vec::new())
    }
}
