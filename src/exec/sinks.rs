//! Where rendered rows go: one sink an output, each complete or absent.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::io::PendingFile;
use crate::io::atomic::Finished;
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
}

impl Sink {
    /// Starts writing `spec`.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn create(spec: &OutputSpec) -> io::Result<Self> {
        let mut shards = None;
        let target = match &spec.target {
            Target::Stdout => Writer::Stdout(io::BufWriter::with_capacity(1 << 16, io::stdout())),
            Target::File(path) => match spec.shard_size {
                Some(size) if size > 0 => {
                    shards = Some(Shards {
                        path: path.clone(),
                        size,
                        in_shard: 0,
                        full: Vec::new(),
                    });
                    Writer::File(Box::new(PendingFile::create(&numbered(path, 0, None))?))
                }
                _ => Writer::File(Box::new(PendingFile::create(path)?)),
            },
        };
        let mut sink = Self {
            target,
            format: spec.format,
            shards,
            written: 0,
        };
        if sink.format == OutputFormat::Llava {
            sink.put(b"[")?;
        }
        Ok(sink)
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

    /// Ends the output; files are durable but not yet under their names.
    ///
    /// # Errors
    /// If the last bytes cannot be written.
    pub fn finish(mut self) -> io::Result<Complete> {
        if self.format == OutputFormat::Llava {
            self.put(b"\n]\n")?;
        }
        let written = self.written;
        let mut files = self
            .shards
            .as_mut()
            .map_or_else(Vec::new, |s| std::mem::take(&mut s.full));
        match self.target {
            Writer::Stdout(mut out) => out.flush()?,
            Writer::File(file) => files.push(*file),
        }
        if let Some(shards) = &self.shards {
            let count = files.len();
            for (index, file) in files.iter_mut().enumerate() {
                file.rename_target(numbered(&shards.path, index, Some(count)));
            }
        }
        Ok(Complete { files, written })
    }

    fn next_shard(&mut self) -> io::Result<()> {
        let Some(shards) = &mut self.shards else {
            return Ok(());
        };
        if shards.in_shard < shards.size {
            return Ok(());
        }
        shards.in_shard = 0;
        let next = PendingFile::create(&numbered(&shards.path, shards.full.len() + 1, None))?;
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

/// An output that is written and waits for its name.
pub struct Complete {
    files: Vec<PendingFile>,
    /// Records written.
    pub written: u64,
}

impl Complete {
    /// Gives the files their names.
    ///
    /// # Errors
    /// If a file cannot be synced or renamed.
    pub fn commit(self) -> io::Result<Vec<Finished>> {
        self.files.into_iter().map(PendingFile::commit).collect()
    }
}

/// `dir/base-03-of-12.ext`, cut at the first dot of the name as Data-Juicer does; while the count is
/// not known, `dir/base-3.ext`.
fn numbered(path: &Path, index: usize, count: Option<usize>) -> PathBuf {
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
