//! The contents of what came with rows, read from the inputs again by whoever needs them.
//!
//! A packed archive is unpacked into a nameless file when the first of its members is asked for.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::Input;
use crate::sample::{Attachment, Attachments, Locator};

/// How many inputs are kept open, whether their bytes are theirs or unpacked.
const OPEN: usize = 16;

/// Reads the attachments of the rows of some inputs.
#[derive(Debug)]
pub struct InputAttachments {
    inputs: Vec<Input>,
    /// Those that were asked last come first.
    open: Mutex<VecDeque<(u32, Arc<File>)>>,
}

impl InputAttachments {
    /// The attachments of the rows of `inputs`.
    #[must_use]
    pub fn new(inputs: Vec<Input>) -> Self {
        Self {
            inputs,
            open: Mutex::default(),
        }
    }

    /// A file of the unpacked bytes of an input.
    fn file(&self, input: u32) -> io::Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|(known, _)| *known == input)
            && let Some(found) = open.remove(at)
        {
            let file = Arc::clone(&found.1);
            open.push_front(found);
            return Ok(file);
        }
        let source = self.inputs.get(input as usize);
        let lost = || io::Error::other("its input is not at hand");
        let source = source.ok_or_else(lost)?;
        let opened = source.look().map_err(io::Error::other)?.ok_or_else(lost)?;
        let path = source.path().filter(|_| !opened.is_packed());
        let file = if let Some(path) = path {
            File::open(path)?
        } else {
            let mut file = tempfile::tempfile()?;
            io::copy(&mut opened.into_bytes(), &mut file)?;
            file.rewind()?;
            file
        };
        let file = Arc::new(file);
        open.push_front((input, Arc::clone(&file)));
        open.truncate(OPEN);
        Ok(file)
    }
}

impl Attachments for InputAttachments {
    fn size(&self, attachment: &Attachment) -> io::Result<u64> {
        match (&attachment.here, attachment.at) {
            (Some(content), _) => Ok(content.len() as u64),
            (None, Locator::Range { size, .. }) => Ok(size),
            (None, Locator::Cell { .. } | Locator::File) => {
                Ok(self.read(attachment, u64::MAX)?.len() as u64)
            }
        }
    }

    fn read(&self, attachment: &Attachment, limit: u64) -> io::Result<Bytes> {
        if let Some(content) = &attachment.here {
            return Ok(content.clone());
        }
        match attachment.at {
            Locator::Range { offset, size } => {
                let size = usize::try_from(size.min(limit)).map_err(io::Error::other)?;
                let mut content = vec![0; size];
                let file = self.file(attachment.input)?;
                file.read_exact_at(&mut content, offset)?;
                Ok(content.into())
            }
            Locator::Cell { .. } | Locator::File => {
                Err(io::Error::other("its input has no such part"))
            }
        }
    }
}
