//! Where rendered rows go: one sink an output, each complete or absent.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::io::workspace::{Lengths, sync_pending};
use crate::io::{PendingFile, Workspace};
use crate::recipe::{OutputFormat, OutputSpec, Target};

/// Writes the records of one output.
pub struct Sink {
    target: Writer,
    format: OutputFormat,
    shards: Option<Shards>,
    /// Records written.
    pub written: u64,
}

enum Writer {
    Stdout(io::BufWriter<io::Stdout>),
    File(Box<PendingFile>),
}

/// An output cut into files of about equal size, named `base-00-of-12.ext` once their number is known.
struct Shards {
    path: PathBuf,
    size: u64,
    in_shard: u64,
    full: Vec<PendingFile>,
    workspace: Workspace,
}

/// What a sink has written, beyond the bytes in its files.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SinkState {
    written: u64,
    full_shards: usize,
    in_shard: u64,
}

impl Sink {
    /// Starts writing `spec`, or goes on after `state`.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn open(
        spec: &OutputSpec,
        workspace: &Workspace,
        state: Option<&SinkState>,
    ) -> io::Result<Self> {
        let before = state.cloned().unwrap_or_default();
        let mut shards = None;
        let target = match &spec.target {
            Target::Stdout => Writer::Stdout(io::BufWriter::with_capacity(1 << 16, io::stdout())),
            Target::Stream(path) => Writer::File(Box::new(workspace.pending(path)?)),
            Target::File(path) => match spec.shard_size {
                Some(size) if size > 0 => {
                    let shard = |index| workspace.pending(&numbered(path, index, None));
                    shards = Some(Shards {
                        path: path.clone(),
                        size,
                        in_shard: before.in_shard,
                        full: (0..before.full_shards)
                            .map(shard)
                            .collect::<io::Result<_>>()?,
                        workspace: workspace.clone(),
                    });
                    Writer::File(Box::new(shard(before.full_shards)?))
                }
                _ => Writer::File(Box::new(workspace.pending(path)?)),
            },
        };
        let mut sink = Self {
            target,
            format: spec.format,
            shards,
            written: before.written,
        };
        if sink.format == OutputFormat::Llava && state.is_none() {
            sink.put(b"[")?;
        }
        Ok(sink)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<SinkState> {
        let mut state = SinkState {
            written: self.written,
            ..SinkState::default()
        };
        if let Some(shards) = &mut self.shards {
            state.full_shards = shards.full.len();
            state.in_shard = shards.in_shard;
            for shard in &mut shards.full {
                let name = shard.target().to_owned();
                sync_pending(shard, &name, lengths)?;
            }
        }
        if let Writer::File(file) = &mut self.target {
            let name = file.target().to_owned();
            sync_pending(file, &name, lengths)?;
        }
        Ok(state)
    }

    /// Writes one record.
    ///
    /// # Errors
    /// If the disk is full or the pipe is closed.
    pub fn write(&mut self, record: &[u8]) -> io::Result<()> {
        if self.format == OutputFormat::Llava {
            self.put(if self.written == 0 { b"\n" } else { b",\n" })?;
            self.put(record)?;
        } else {
            self.next_shard()?;
            self.put(record)?;
            self.put(b"\n")?;
            if let Some(shards) = &mut self.shards {
                shards.in_shard += record.len() as u64 + 1;
            }
        }
        self.written += 1;
        Ok(())
    }

    /// Ends the output; its files have all their bytes but not yet their names.
    ///
    /// # Errors
    /// If the last bytes cannot be written.
    pub fn finish(mut self) -> io::Result<Vec<PendingFile>> {
        if self.format == OutputFormat::Llava {
            self.put(b"\n]\n")?;
        }
        let mut files = self
            .shards
            .as_mut()
            .map_or_else(Vec::new, |s| std::mem::take(&mut s.full));
        match self.target {
            Writer::Stdout(mut out) => out.flush()?,
            // A stream has all it will get, and needs no name.
            Writer::File(mut file) if file.is_stream() => {
                file.seal()?;
            }
            Writer::File(file) => files.push(*file),
        }
        if let Some(shards) = &self.shards {
            let count = files.len();
            for (index, file) in files.iter_mut().enumerate() {
                file.rename_target(numbered(&shards.path, index, Some(count)));
            }
        }
        Ok(files)
    }

    fn next_shard(&mut self) -> io::Result<()> {
        let Some(shards) = &mut self.shards else {
            return Ok(());
        };
        if shards.in_shard < shards.size {
            return Ok(());
        }
        shards.in_shard = 0;
        let next = numbered(&shards.path, shards.full.len() + 1, None);
        let next = shards.workspace.pending(&next)?;
        if let Writer::File(file) = &mut self.target {
            shards.full.push(std::mem::replace(&mut **file, next));
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.target {
            Writer::Stdout(out) => out.write_all(bytes),
            Writer::File(file) => file.write_all(bytes),
        }
    }
}

/// `dir/base-03-of-12.ext`, cut at the first dot of the name as Data-Juicer does; while the count is
/// not known, `dir/base-3.ext`.
pub(super) fn numbered(path: &Path, index: usize, count: Option<usize>) -> PathBuf {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let (base, extension) = name.split_once('.').unwrap_or((&name, ""));
    let dot = if extension.is_empty() { "" } else { "." };
    let number = match count {
        None => format!("{index}"),
        Some(count) => {
            let width = count.to_string().len() + 1;
            format!("{index:0width$}-of-{count:0width$}")
        }
    };
    path.with_file_name(format!("{base}-{number}{dot}{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_named_as_the_peer_names_them() {
        assert_eq!(
            numbered(Path::new("o/a.b.jsonl"), 3, Some(12)),
            Path::new("o/a-003-of-012.b.jsonl")
        );
    }
}
