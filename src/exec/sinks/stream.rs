//! An output that only takes bytes: standard output, a device, a pipe.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use super::tar::Tar;
use super::{Complete, Framed, Sink, SinkState};
use crate::io::format::Framing;
use crate::io::workspace::Lengths;

/// Writes to a stream. What was written cannot be gone on with.
pub struct Stream<W: Write> {
    out: BufWriter<W>,
    framed: Framed,
    /// Makes members of an archive of the records.
    tar: Option<Tar>,
}

impl<W: Write> Stream<W> {
    /// Writes to `out`, the members that `tar` makes of the records if they are samples.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub fn over(out: W, framing: Framing, tar: Option<Tar>) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 16, out);
        out.write_all(framing.open)?;
        Ok(Self {
            out,
            framed: Framed {
                framing,
                records: 0,
            },
            tar,
        })
    }
}

impl<W: Write> Sink for Stream<W> {
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        let Self { out, framed, tar } = self;
        let record = match tar {
            Some(tar) => tar.members(record, framed.records)?,
            None => record,
        };
        framed.record(record, |part| out.write_all(part)).map(drop)
    }

    fn write_framed(&mut self, records: Cow<'_, [u8]>, count: u64) -> io::Result<()> {
        let Self { out, framed, .. } = self;
        framed.framed(records, count, |bytes| out.write_all(&bytes))
    }

    fn written(&self) -> u64 {
        self.framed.records
    }

    fn sync(&mut self, _: &mut Lengths) -> io::Result<SinkState> {
        self.out.flush()?;
        Ok(SinkState {
            written: self.framed.records,
            ..SinkState::default()
        })
    }

    fn finish(mut self: Box<Self>) -> io::Result<Vec<Complete>> {
        self.out.write_all(self.framed.framing.close)?;
        self.out.flush()?;
        Ok(Vec::new())
    }
}
