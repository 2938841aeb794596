//! A look at the first rows, for notes that need some and not all.

use std::path::Path;

use super::conclude::missing_words;
use super::fields::{FieldWatch, FieldsSeen};
use super::setup;
use crate::io::{Input, LineSource};
use crate::note::{Code, Note, rows as words};
use crate::op::ImageNeed;
use crate::plan::{self, Foreseen};
use crate::recipe::Recipe;
use crate::sample::{FieldPath, Sample, read_row};

/// Rows that are looked at.
const ROWS: usize = 1000;

/// Notes on the first rows of a recipe's inputs as they are read: fields that none of them has,
/// and texts with another number of image tokens than there are images. No operator runs.
/// Standard input, pipes and devices are not touched, and what cannot be read is left to the run
/// to say.
#[must_use]
pub fn peek(recipe: &Recipe, foreseen: &Foreseen, working_dir: &Path) -> Vec<Note> {
    let inputs = setup::inputs(recipe);
    let regular = |input: &Input| input.path().is_some_and(Path::is_file);
    if !inputs.iter().all(regular) {
        return Vec::new();
    }
    let context = setup::image_context(recipe, &inputs, working_dir, ImageNeed::None);
    let watch = FieldWatch::new(&foreseen.asked);
    let text = recipe
        .text_keys
        .first()
        .map(|key| FieldPath::new(key.as_str()));
    let token = recipe.image_special_token.as_str();
    let differs = |row: &Sample| {
        let matched = text.as_ref().and_then(|text| row.images_match(text, token));
        !token.is_empty() && matched == Some(false)
    };
    let mut source = LineSource::new(inputs);
    let (mut seen, mut read, mut differ) = (FieldsSeen::default(), 0, 0);
    let mut whole = false;
    while read < ROWS as u64 && !whole {
        let left = ROWS - usize::try_from(read).unwrap_or(ROWS);
        let Ok(batch) = source.next_batch(left, setup::BATCH_BYTES) else {
            break;
        };
        let Some(batch) = batch else {
            whole = true;
            break;
        };
        for line in &batch.lines {
            read += 1;
            let row = match &line.problem {
                Some(_) => continue,
                None => read_row(batch.bytes(line).into(), line.origin, &context),
            };
            if let Ok(row) = row.map(|row| row.with_attached(line.attached.clone())) {
                watch.look(&row, &mut seen);
                differ += u64::from(differs(&row));
            }
        }
    }
    let of_first = if whole {
        String::new()
    } else {
        format!(", of the first {} looked at", words(read))
    };
    let mut notes = Vec::new();
    let missing = foreseen.asked.iter().enumerate().filter(|(bit, _)| {
        let there = seen.there.checked_shr(u32::try_from(*bit).unwrap_or(64));
        there.is_some_and(|bits| bits & 1 == 0)
    });
    for (_, asked) in missing.filter(|_| !seen.held.is_empty()) {
        let text = format!("{}{of_first}", missing_words(asked, &seen.held));
        let note = Note::new(Code::FieldOfNoRow, text).of_rows(read);
        notes.push(
            asked
                .step
                .map_or_else(|| note.clone(), |step| note.clone().at(step)),
        );
    }
    if differ > 0 {
        let text = format!(
            "{} of the input {} another number of image tokens ({token}) in the text than images{of_first}",
            words(differ),
            if differ == 1 { "has" } else { "have" },
        );
        notes.push(Note::new(Code::ImageTokensDiffer, text).of_rows(differ));
    }
    notes
}

/// All notes on a recipe that can be made without reading all rows.
#[must_use]
pub fn all_notes(recipe: &Recipe, working_dir: &Path) -> Vec<Note> {
    let foreseen = plan::foresee(recipe);
    let found = peek(recipe, &foreseen, working_dir);
    foreseen.notes.into_iter().chain(found).collect()
}
