//! Bytes on their way to what may be a terminal.

use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd;

use crate::text::printable;

/// A stream that gets bytes as they are, and if it is a terminal, nothing that commands it.
#[derive(Debug)]
pub struct Shown<W: Write> {
    out: W,
    is_terminal: bool,
    /// The beginning of a character whose end is not written yet.
    cut: Vec<u8>,
}

impl<W: Write + AsFd> Shown<W> {
    /// What is written to `out`.
    pub fn new(out: W) -> Self {
        let is_terminal = out.as_fd().is_terminal();
        Self {
            out,
            is_terminal,
            cut: Vec::new(),
        }
    }
}

impl<W: Write> Shown<W> {
    /// Writes text, what is none in replacement characters.
    fn show(&mut self, bytes: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(bytes);
        self.out.write_all(printable(&text).as_bytes())
    }
}

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            return self.out.write(data);
        }
        let mut bytes = std::mem::take(&mut self.cut);
        bytes.extend_from_slice(data);
        let end = match std::str::from_utf8(&bytes) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => bytes.len(),
        };
        self.cut = bytes.split_off(end);
        self.show(&bytes)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let cut = std::mem::take(&mut self.cut);
        self.show(&cut)?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(is_terminal: bool, pieces: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut stream = Shown {
            out: &mut out,
            is_terminal,
            cut: Vec::new(),
        };
        for piece in pieces {
            stream.write_all(piece).unwrap();
        }
        stream.flush().unwrap();
        out
    }

    #[test]
    fn what_commands_a_terminal_is_written_as_json_writes_it() {
        let row = "{\"id\": \"\u{9b}2J\u{e9}\u{7f}\"}\n".as_bytes();
        let safe = "{\"id\": \"\\u009b2J\u{e9}\\u007f\"}\n".as_bytes();
        assert_eq!(shown(true, &[row]), safe);
        assert_eq!(shown(false, &[row]), row);
        // Wherever characters are cut.
        let bytes: Vec<&[u8]> = row.chunks(1).collect();
        assert_eq!(shown(true, &bytes), safe);
        assert_eq!(
            shown(true, &[b"a\x1b[31m\xc3"]),
            "a\\u001b[31m\u{fffd}".as_bytes()
        );
        assert_eq!(shown(false, &[b"a\x1b\xc3"]), b"a\x1b\xc3");
    }
}
