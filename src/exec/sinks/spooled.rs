//! A column file on its way to a stream: the groups of one may have to be written once more when all
//! rows are known, and its footer is behind them, so that it is made in a working file first.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use tempfile::TempDir;

use super::files::Files;
use super::{Complete, Sink, SinkState};
use crate::io::workspace::Lengths;
use crate::io::{Input, Workspace};
use crate::recipe::OutputSpec;

/// Writes to a file that goes to a stream once it is complete. What was written cannot be gone on with.
pub struct Spooled<W: Write> {
    file: Files,
    out: W,
    /// Where the file is: nothing is put beside a stream.
    _place: TempDir,
}

impl<W: Write> Spooled<W> {
    /// Opens output `number`, which ends in `out`; its working file lies where those of the run do.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(
        number: usize,
        out: W,
        spec: &OutputSpec,
        workspace: &Workspace,
        inputs: &[Input],
    ) -> io::Result<Self> {
        let place = tempfile::tempdir_in(workspace.directory())?;
        let own = Workspace::nameless(place.path().to_owned());
        let path = place.path().join(Path::new("output"));
        Ok(Self {
            file: Files::open((number, &path), spec, &own, None, inputs)?,
            out,
            _place: place,
        })
    }
}

impl<W: Write> Sink for Spooled<W> {
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        self.file.write(record)
    }

    fn written(&self) -> u64 {
        self.file.written()
    }

    fn sync(&mut self, _: &mut Lengths) -> io::Result<SinkState> {
        Ok(SinkState {
            written: self.file.written(),
            ..SinkState::default()
        })
    }

    fn finish(self: Box<Self>) -> io::Result<Vec<Complete>> {
        let Self { file, mut out, .. } = *self;
        for mut complete in Box::new(file).finish()? {
            if let Some(part) = complete.file.part()? {
                io::copy(&mut File::open(part)?, &mut out)?;
            }
        }
        out.flush()?;
        Ok(Vec::new())
    }
}
