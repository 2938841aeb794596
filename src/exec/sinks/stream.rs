//! An output that only takes bytes: standard output, a device, a pipe.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::{Complete, Framed, Sink, SinkState};
use crate::io::destination::{check_stdout, open_stream};
use crate::io::format::Framing;
use crate::io::workspace::Lengths;

/// Writes to a stream. What was written cannot be gone on with.
pub struct Stream<W: Write> {
    out: BufWriter<W>,
    framed: Framed,
}

impl Stream<io::Stdout> {
    /// The standard output.
    ///
    /// # Errors
    /// If it is closed.
    pub fn stdout(framing: Framing) -> io::Result<Self> {
        check_stdout()?;
        Self::over(io::stdout(), framing)
    }
}

impl Stream<File> {
    /// What `path` leads to.
    ///
    /// # Errors
    /// If it cannot be opened for writing.
    pub fn open(path: &Path, framing: Framing) -> io::Result<Self> {
        Self::over(open_stream(path)?, framing)
    }
}

impl<W: Write> Stream<W> {
    fn over(out: W, framing: Framing) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 16, out);
        out.write_all(framing.open)?;
        Ok(Self {
            out,
            framed: Framed {
                framing,
                records: 0,
            },
        })
    }
}

impl<W: Write> Sink for Stream<W> {
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        let Self { out, framed } = self;
        framed.record(record, |part| out.write_all(part)).map(drop)
    }

    fn takes_framed(&self) -> bool {
        true
    }

    fn write_framed(&mut self, records: Cow<'_, [u8]>, count: u64) -> io::Result<()> {
        let Self { out, framed } = self;
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
