//! An output split into files by a value of its rows.
//!
//! Records wait in one file in the order in which they come; when the last one is in, they are written
//! file by file. So one file is open at a time however many values there are, and the bytes depend
//! neither on checkpoints nor on where a run was interrupted.

use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use super::files::Files;
use super::{Complete, Sink, SinkState};
use crate::io::split::{file_of, take_value};
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Input, Log, Workspace};
use crate::recipe::OutputSpec;

/// More different values are taken for a mistake.
const MOST_VALUES: usize = 10_000;

/// Where each record ends, and whose it is.
const INDEX: usize = 12;

/// A name as a file system that does not tell case has it.
fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// Whether names that differ in case are two files in `directory`, which is there: asked of the system
/// by its own name in another case.
fn knows_case(directory: &Path) -> bool {
    let Some(name) = directory.file_name().and_then(|name| name.to_str()) else {
        return true;
    };
    let other = match name.to_uppercase() {
        upper if upper == name => name.to_lowercase(),
        upper => upper,
    };
    let other = directory.with_file_name(other);
    let (own, other) = (directory.canonicalize(), other.canonicalize());
    !matches!((own, other), (Ok(own), Ok(other)) if own == other)
}

fn log_name(number: usize, of: &str) -> String {
    format!("split-{number}-{of}")
}

/// The files that output `number` was to be split into when the run stopped whose working files are in
/// `directory`.
pub fn split_files(directory: &Path, number: usize, path: &Path) -> Vec<PathBuf> {
    let names = std::fs::read(directory.join(log_name(number, "names")));
    let names = names.unwrap_or_default();
    let names = names.lines().map_while(Result::ok);
    names.map(|name| file_of(path, &name)).collect()
}

/// Takes the records of an output that is split. Each begins with the name of its value.
pub struct Split {
    number: usize,
    path: PathBuf,
    spec: OutputSpec,
    workspace: Workspace,
    /// Where the rows come from.
    inputs: Vec<Input>,
    records: Log,
    index: Log,
    names_log: Log,
    names: Vec<String>,
    ids: HashMap<String, u32>,
    /// Each name as a file system that knows no case has it; found out once two of them are the same.
    folded: HashMap<String, u32>,
    knows_case: Option<bool>,
}

impl Split {
    /// Opens output `number`, which goes to files called after `path`, new or as an earlier process
    /// left it.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn open(
        (number, path): (usize, &Path),
        spec: &OutputSpec,
        workspace: &Workspace,
        inputs: &[Input],
    ) -> io::Result<Self> {
        let log = |of: &str| workspace.log(&log_name(number, of));
        let mut split = Self {
            number,
            path: path.to_owned(),
            spec: spec.clone(),
            workspace: workspace.clone(),
            inputs: inputs.to_vec(),
            records: log("records")?,
            index: log("index")?,
            names_log: log("names")?,
            names: Vec::new(),
            ids: HashMap::new(),
            folded: HashMap::new(),
            knows_case: None,
        };
        let names: io::Result<Vec<String>> = split.names_log.replay()?.lines().collect();
        for name in names? {
            split.enter(&name);
        }
        Ok(split)
    }

    fn id(&mut self, name: &str) -> io::Result<u32> {
        if let Some(id) = self.ids.get(name) {
            return Ok(*id);
        }
        if self.names.len() >= MOST_VALUES {
            return Err(io::Error::other(format!(
                "it is split into more than {MOST_VALUES} files: split by a field of fewer values"
            )));
        }
        self.check_name(name)?;
        self.names_log.append(format!("{name}\n").as_bytes())?;
        Ok(self.enter(name))
    }

    fn enter(&mut self, name: &str) -> u32 {
        let id = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.ids.insert(name.to_owned(), id);
        self.folded.entry(folded(name)).or_insert(id);
        self.names.push(name.to_owned());
        id
    }

    /// Sees that the file of a new value is no other file of the run.
    fn check_name(&mut self, name: &str) -> io::Result<()> {
        let path = file_of(&self.path, name);
        let taken = |whose: &str| {
            io::Error::other(format!(
                "the file of the value '{name}' would be {}, which is {whose}: call the files of this output \
                 otherwise, or write them into a directory of their own",
                path.display()
            ))
        };
        // Files that are cut have other names.
        let first = Files::first(&path, &self.spec);
        if self.workspace.is_opened(&first) {
            return Err(taken("another file of this run"));
        }
        let same = self.folded.get(&folded(name));
        let Some(other) = same.and_then(|id| self.names.get(*id as usize)) else {
            return Ok(());
        };
        let place = self.workspace.directory();
        if *self.knows_case.get_or_insert_with(|| knows_case(place)) {
            return Ok(());
        }
        let whose = format!("that of the value '{other}' on a file system that does not tell case");
        Err(taken(&whose))
    }

    /// The records as (whose, start, end), those of one value beside each other in their order.
    fn sorted(&mut self) -> io::Result<Vec<(u32, u64, u64)>> {
        let mut spans = Vec::new();
        let mut start = 0;
        each_record(&mut self.index.replay()?, |record: [u8; INDEX]| {
            if let Some((id, end)) = record.split_first_chunk::<4>()
                && let Ok(end) = <[u8; 8]>::try_from(end)
            {
                let end = u64::from_le_bytes(end);
                spans.push((u32::from_le_bytes(*id), start, end));
                start = end;
            }
        })?;
        spans.sort_unstable();
        Ok(spans)
    }
}

impl Sink for Split {
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        let damaged = || io::Error::other("a record without the value that it is split by");
        let (name, record) = take_value(record).ok_or_else(damaged)?;
        let id = self.id(name)?;
        self.records.append(record)?;
        self.index.append(&id.to_le_bytes())?;
        self.index.append(&self.records.len().to_le_bytes())
    }

    fn written(&self) -> u64 {
        self.index.len() / INDEX as u64
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<SinkState> {
        self.records.sync(lengths)?;
        self.index.sync(lengths)?;
        self.names_log.sync(lengths)?;
        Ok(SinkState {
            written: self.written(),
            ..SinkState::default()
        })
    }

    fn finish(mut self: Box<Self>) -> io::Result<Vec<Complete>> {
        let spans = self.sorted()?;
        self.records.flush()?;
        let mut complete = Vec::new();
        let mut record = Vec::new();
        for spans in spans.chunk_by(|(a, ..), (b, ..)| a == b) {
            let name = spans
                .first()
                .and_then(|(id, ..)| self.names.get(*id as usize));
            let path = file_of(&self.path, name.map_or("", String::as_str));
            let place = (self.number, path.as_path());
            let file = Files::open(place, &self.spec, &self.workspace, None, &self.inputs)?;
            let mut file: Box<dyn Sink> = Box::new(file);
            for &(_, start, end) in spans {
                record.resize(usize::try_from(end - start).unwrap_or(usize::MAX), 0);
                self.records.read_exact_at(&mut record, start)?;
                file.write(&record)?;
            }
            for mut part in file.finish()? {
                // It is closed now, so that few files are open.
                part.file.seal()?;
                complete.push(part);
            }
        }
        Ok(complete)
    }
}
