//! An output in a file, or in several of about equal size.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::columns::Columns;
use super::packer::{self, Packer};
use super::tar::{self, Tar};
use super::{Complete, Framed, Sink, SinkState, Span};
use crate::io::format::webdataset::INDEX;
use crate::io::format::{Lead, Records};
use crate::io::workspace::{Lengths, sync_pending};
use crate::io::{Input, PendingFile, Workspace};
use crate::recipe::OutputSpec;

/// Writes to files that get their names when all outputs are complete.
pub struct Files {
    file: Box<PendingFile>,
    framed: Framed,
    shards: Option<Shards>,
    written: u64,
    /// Which record comes first in each file, if not the first one.
    lead: Option<Lead>,
    /// Where it is, in each file so far.
    leads: Vec<Option<Span>>,
    /// Packs what is written, if the name says so.
    packer: Option<Packer>,
    /// Makes members of an archive of the records.
    tar: Option<Tar>,
    /// Makes row groups of the records.
    columns: Option<Columns>,
    /// Where the indexes of archives are written, if they are to have some.
    index: Option<Workspace>,
}

/// An output cut into files of about equal size, named `base-00-of-12.ext` once their number is
/// known. Each is a whole file of its format.
struct Shards {
    path: PathBuf,
    size: u64,
    rows: u64,
    in_shard: u64,
    full: Vec<PendingFile>,
    /// The records of each of them.
    in_full: Vec<u64>,
    workspace: Workspace,
}

impl Files {
    /// Opens the output `spec` at `path`, new or after `state`; with a `shard_size`, cut into files
    /// of about so many bytes.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn open(
        (number, path): (usize, &Path),
        spec: &OutputSpec,
        workspace: &Workspace,
        state: Option<&SinkState>,
        inputs: &[Input],
    ) -> io::Result<Self> {
        let framing = spec.format.framing;
        let before = state.cloned().unwrap_or_default();
        let mut shards = None;
        let file = match cut(path, spec) {
            Some(size) => {
                let shard = |index| workspace.pending(&numbered(path, index, None));
                shards = Some(Shards {
                    path: path.to_owned(),
                    size,
                    rows: spec.shard_rows.unwrap_or(u64::MAX),
                    in_shard: before.in_shard,
                    full: (0..before.full_shards)
                        .map(shard)
                        .collect::<io::Result<_>>()?,
                    in_full: before.in_full,
                    workspace: workspace.clone(),
                });
                shard(before.full_shards)?
            }
            _ => workspace.pending(path)?,
        };
        let mut files = Self {
            file: Box::new(file),
            framed: Framed {
                framing,
                records: before.in_file,
            },
            shards,
            written: before.written,
            lead: spec.format.lead(&spec.options),
            leads: before.leads,
            packer: packing(path, spec)
                .map(|kind| Packer::new(kind, &before.waiting, before.packed)),
            tar: (framing.records == Records::Samples)
                .then(|| Tar::open(workspace, number))
                .transpose()?,
            columns: (framing.records == Records::Rows)
                .then(|| Columns::open((number, before.full_shards), spec, workspace, inputs))
                .transpose()?,
            index: spec.options.flag(INDEX.name).then(|| workspace.clone()),
        };
        if state.is_none() {
            files.put(framing.open)?;
            files.leads.push(None);
        }
        Ok(files)
    }

    /// What the first file of the output `spec` at `path` is called as long as the number of all is not
    /// known.
    pub fn first(path: &Path, spec: &OutputSpec) -> PathBuf {
        match cut(path, spec) {
            Some(_) => numbered(path, 0, None),
            None => path.to_owned(),
        }
    }

    /// Goes on to the next shard where this one is full.
    fn next_shard(&mut self) -> io::Result<()> {
        let Some(shards) = &mut self.shards else {
            return Ok(());
        };
        if shards.in_shard < shards.size && self.framed.records < shards.rows {
            return Ok(());
        }
        shards.in_shard = 0;
        let next = numbered(&shards.path, shards.full.len() + 1, None);
        let next = shards.workspace.pending(&next)?;
        self.close()?;
        let Some(shards) = &mut self.shards else {
            return Ok(());
        };
        shards.full.push(std::mem::replace(&mut *self.file, next));
        shards.in_full.push(self.framed.records);
        self.framed.records = 0;
        self.leads.push(None);
        self.put(self.framed.framing.open)
    }

    /// Writes what stands around records.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.packer {
            Some(packer) => {
                packer.push(bytes);
                Ok(())
            }
            None => self.file.write_all(bytes),
        }
    }

    /// Ends a file.
    fn close(&mut self) -> io::Result<()> {
        if let Some(columns) = &mut self.columns {
            return columns.end_file(&mut self.file);
        }
        self.put(self.framed.framing.close)?;
        match &mut self.packer {
            Some(packer) => packer.finish(&mut *self.file),
            None => Ok(()),
        }
    }

    /// Remembers where the record that comes first in its file is to be written.
    fn look_for_lead(&mut self, record: &[u8]) {
        if let (Some(lead), Some(found @ None)) = (self.lead, self.leads.last_mut())
            && lead.is_complete(record)
        {
            let length = (record.len() + self.framed.framing.after.len()) as u64;
            let at = self.file.bytes();
            *found = Some(Span { at, length });
        }
    }
}

impl Sink for Files {
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        self.next_shard()?;
        self.look_for_lead(record);
        let Self {
            file,
            framed,
            packer,
            tar,
            columns,
            written,
            ..
        } = self;
        if let Some(columns) = columns {
            let bytes = columns.push(record, file)?;
            framed.records += 1;
            *written += 1;
            if let Some(shards) = &mut self.shards {
                shards.in_shard += bytes;
            }
            return Ok(());
        }
        let record = match tar {
            Some(tar) => tar.members(record, *written)?,
            None => record,
        };
        let bytes = framed.record(record, |part| match packer {
            Some(packer) => {
                packer.push(part);
                Ok(())
            }
            None => file.write_all(part),
        })?;
        if let Some(packer) = packer {
            packer.record_ends(&mut **file)?;
        }
        if let Some(shards) = &mut self.shards {
            shards.in_shard += bytes;
        }
        self.written += 1;
        Ok(())
    }

    fn write_framed(&mut self, records: Cow<'_, [u8]>, count: u64) -> io::Result<()> {
        let Self { file, framed, .. } = self;
        framed.framed(records, count, |bytes| file.append(bytes))?;
        self.written += count;
        Ok(())
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<SinkState> {
        let mut state = SinkState {
            written: self.written,
            in_file: self.framed.records,
            leads: self.leads.clone(),
            ..SinkState::default()
        };
        if let Some(packer) = &self.packer {
            (state.waiting, state.packed) = packer.state();
        }
        if let Some(tar) = &mut self.tar {
            tar.sync(lengths)?;
        }
        if let Some(columns) = &mut self.columns {
            columns.sync(lengths)?;
        }
        if let Some(shards) = &mut self.shards {
            state.full_shards = shards.full.len();
            state.in_shard = shards.in_shard;
            state.in_full.clone_from(&shards.in_full);
            for shard in &mut shards.full {
                let name = shard.target().to_owned();
                sync_pending(shard, &name, lengths)?;
            }
        }
        let name = self.file.target().to_owned();
        sync_pending(&mut self.file, &name, lengths)?;
        Ok(state)
    }

    fn finish(mut self: Box<Self>) -> io::Result<Vec<Complete>> {
        self.close()?;
        let (mut files, mut records) = match &mut self.shards {
            Some(shards) => (
                std::mem::take(&mut shards.full),
                std::mem::take(&mut shards.in_full),
            ),
            None => (Vec::new(), Vec::new()),
        };
        files.push(*self.file);
        records.push(self.framed.records);
        if let Some(columns) = &mut self.columns {
            columns.finish(&mut files)?;
        }
        for (file, lead) in files.iter_mut().zip(&self.leads) {
            if let Some(Span { at, length }) = lead.filter(|lead| lead.at > 0) {
                file.move_to_front(at, length)?;
            }
        }
        if let Some(shards) = &self.shards {
            let count = files.len();
            for (index, file) in files.iter_mut().enumerate() {
                file.rename_target(numbered(&shards.path, index, Some(count)));
            }
        }
        let complete = files.into_iter().zip(records);
        let complete = complete.map(|(mut file, records)| {
            let beside = match &self.index {
                Some(workspace) => index(workspace, &mut file)?,
                None => None,
            };
            Ok(Complete {
                file,
                records,
                beside,
            })
        });
        complete.collect()
    }
}

/// The index of a complete archive.
fn index(workspace: &Workspace, archive: &mut PendingFile) -> io::Result<Option<PendingFile>> {
    let name = tar::index_of(archive.target());
    let Some(part) = archive.part()? else {
        return Ok(None);
    };
    let index = tar::index(part)?;
    let mut file = workspace.pending(&name)?;
    file.write_all(&index)?;
    Ok(Some(file))
}

/// The size of the files that the output `spec` at `path` is cut into, if it is.
fn packing(path: &Path, spec: &OutputSpec) -> Option<packer::Kind> {
    packer::Kind::of(path).filter(|_| spec.format.may_be_packed())
}

/// Whether the files of `spec`, of bytes, take records without a look at each.
pub fn takes_framed(path: &Path, spec: &OutputSpec) -> bool {
    let lead = spec.format.lead(&spec.options);
    cut(path, spec).is_none() && lead.is_none() && packing(path, spec).is_none()
}

fn cut(path: &Path, spec: &OutputSpec) -> Option<u64> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let cut = spec.shard_size.is_some() || spec.shard_rows.is_some() || name.contains("{shard");
    let size = spec.shard_size.unwrap_or(u64::MAX);
    (cut && size > 0).then_some(size)
}

/// `dir/base-03-of-12.ext`, cut at the first dot of the name as Data-Juicer does; while the count is
/// not known, `dir/base-3.ext`.
pub fn numbered(path: &Path, index: usize, count: Option<usize>) -> PathBuf {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    if let Some(name) = placed(&name, index, count) {
        return path.with_file_name(name);
    }
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

/// A name whose `{shard}` and `{shards}` are the number of a shard, from 0, and of all; with `:05`
/// behind in so many digits. `None` if it has no place for its number.
fn placed(name: &str, index: usize, count: Option<usize>) -> Option<String> {
    let mut out = String::new();
    let mut rest = name;
    let mut any = false;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((inner, after)) = behind.split_once('}') else {
            break;
        };
        let (what, width) = inner.split_once(":0").unwrap_or((inner, "0"));
        out += before;
        match (what, width.parse::<usize>()) {
            ("shard", Ok(width)) => {
                any = true;
                // Writing to a string cannot fail.
                let _ = write!(out, "{index:0width$}");
            }
            ("shards", Ok(width)) => {
                // While it is not known, any text does that is the same each time.
                out += &count.map_or_else(|| "x".to_owned(), |count| format!("{count:0width$}"));
            }
            _ => {
                out.push('{');
                out += inner;
                out.push('}');
            }
        }
        rest = after;
    }
    out += rest;
    any.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_named_as_the_path_says() {
        let name = |path: &str, count| numbered(Path::new(path), 3, count).display().to_string();
        assert_eq!(name("o/{shard:05}.tar", Some(12)), "o/00003.tar");
        assert_eq!(
            name("a-{shard}-of-{shards:03}.jsonl", Some(12)),
            "a-3-of-012.jsonl"
        );
        assert_eq!(
            name("a-{shard}-of-{shards:03}.jsonl", None),
            "a-3-of-x.jsonl"
        );
        assert_eq!(name("{x}.jsonl", Some(12)), "{x}-003-of-012.jsonl");
    }

    #[test]
    fn shards_are_named_as_the_peer_names_them() {
        assert_eq!(
            numbered(Path::new("o/a.b.jsonl"), 3, Some(12)),
            Path::new("o/a-003-of-012.b.jsonl")
        );
    }
}
