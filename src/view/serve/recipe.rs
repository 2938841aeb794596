//! The recipe with the bounds where the sliders are, as a file.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use super::Viewer;
use super::answers::Asked;
use crate::analysis::live::{Bits, Moved};
use crate::analysis::recut::{RecutOutput, outputs};
use crate::note::rows;
use crate::recipe::Comments;
use crate::report::table::thousands;

/// So many names are tried.
const NAMES: u32 = 10_000;

/// A recipe as text.
#[derive(Debug, Serialize)]
pub struct Written {
    /// Its file name.
    name: String,
    /// Where it was written, if it was.
    path: Option<String>,
    /// What it says.
    yaml: String,
    /// How many rows its filters leave to the outputs.
    left: u64,
    /// The same in words, with what it does not count.
    says: String,
}

impl Viewer {
    /// The recipe as text, under the first name that is free.
    pub(super) fn recipe(&self, asked: &Asked) -> Result<Written, String> {
        let moved = asked.moved(&self.live)?;
        let free = (1..NAMES)
            .map(|number| format!("view-{number}"))
            .find(|name| !self.is_taken(name));
        self.written(&free.ok_or("no name is free")?, &moved)
    }

    fn is_taken(&self, name: &str) -> bool {
        let there = |path: &str| self.directory.join(path).symlink_metadata().is_ok();
        there(&format!("{name}.yaml")) || there(name)
    }

    /// Writes the recipe beside where the viewer was started; nothing that is there is touched.
    pub(super) fn write(&self, asked: &Asked) -> Result<Written, String> {
        let moved = asked.moved(&self.live)?;
        for number in 1..NAMES {
            let name = format!("view-{number}");
            if self.is_taken(&name) {
                continue;
            }
            let mut written = self.written(&name, &moved)?;
            let path = self.directory.join(&written.name);
            match create(&path, &written.yaml) {
                Ok(()) => {
                    written.path = Some(path.display().to_string());
                    return Ok(written);
                }
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(format!("{}: {error}", path.display())),
            }
        }
        Err("no name is free".to_owned())
    }

    fn written(&self, name: &str, moved: &[Moved]) -> Result<Written, String> {
        let outcome = self.live.outcome(moved)?;
        let left = self.live.left(&outcome);
        let mut spec = self.live.recipe_with(moved);
        let output = RecutOutput::Directory(name.into());
        let only = RecutOutput::File(Path::new(name).join("rows.jsonl"));
        spec.outputs = outputs(spec.outputs.clone(), &output, &self.directory)
            .or_else(|_| outputs(spec.outputs.clone(), &only, &self.directory))
            .map_err(|error| error.to_string())?;
        let problems = spec.build_with(&[], None).err();
        // What is asked of a server or of Data-Juicer is asked when it runs.
        let known = self
            .live
            .steps()
            .iter()
            .all(|step| step.spec.service.is_none());
        if let Some(problems) = problems.filter(|_| known) {
            return Err(problems.to_string());
        }
        let rows_left = outcome.reach.last().map_or(0, Bits::count);
        let copies = if left > rows_left { " and copies" } else { "" };
        let (left_words, all) = (thousands(left), thousands(self.rows()));
        let of = format!("{left_words}{copies} of {all} rows");
        let mut head = vec![format!("Written by djr view of {}.", self.title)];
        let unsure = outcome.unsure.and_then(|step| self.live.steps().get(step));
        let mut says = match unsure {
            None => format!("It leaves {of} to its outputs"),
            Some(step) => format!(
                "Its filters leave {of}; what {} makes of other rows is not counted",
                step.name
            ),
        };
        let steps = outcome.steps.iter().enumerate();
        let unknown = steps.map(|(at, step)| self.live.count(&step.unknown, at));
        let unknown: u64 = unknown.sum();
        if unknown > 0 {
            let are = if unknown == 1 { "is" } else { "are" };
            // Writing to a string cannot fail.
            let _ = write!(
                says,
                "; {}, whose stats were not all measured, {are} not counted",
                rows(unknown)
            );
        }
        says.push('.');
        head.push(says.clone());
        let comments = Comments {
            head,
            ..Comments::default()
        };
        Ok(Written {
            name: format!("{name}.yaml"),
            path: None,
            yaml: spec.to_yaml(&comments),
            left,
            says,
        })
    }
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
