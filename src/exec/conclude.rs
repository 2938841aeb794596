//! The notes of a run that has read its rows: what was foreseen, and what was counted.

use std::fmt::Write as _;

use crate::note::{Code, Note, rows as words, thousands};
use crate::plan::{Asked, Foreseen, named};
use crate::recipe::{Recipe, Step};
use crate::record::RunReport;
use crate::record::counts::{HeldField, Stage};

/// All notes of the run, in the order of what they are about: the recipe, the fields, the steps,
/// the rows.
#[must_use]
pub fn notes(recipe: &Recipe, foreseen: &Foreseen, report: &RunReport) -> Vec<Note> {
    let mut notes: Vec<Note> = foreseen
        .notes
        .iter()
        .filter(|note| !is_counted(note.code))
        .cloned()
        .collect();
    notes.extend(found_notes(recipe, foreseen, report));
    let seen = &report.seen;
    if seen.tokens_differ > 0 {
        let text = format!(
            "{} reached the outputs with another number of image tokens ({}) in the text than of images",
            words(seen.tokens_differ),
            recipe.image_special_token
        );
        notes.push(Note::new(Code::ImageTokensDiffer, text).of_rows(seen.tokens_differ));
    }
    if seen.ids_repeated > 0 {
        let (rows, have) = (words(seen.ids_repeated), have(seen.ids_repeated));
        let text = format!("{rows} {have} the id of an earlier row");
        notes.push(Note::new(Code::IdsRepeat, text).of_rows(seen.ids_repeated));
    }
    notes.extend(short_samples(report));
    notes.extend(short_mixtures(recipe, report));
    notes
}

/// The notes that rows gave rise to, on the fields that are asked for and on each step.
#[must_use]
pub fn found_notes(recipe: &Recipe, foreseen: &Foreseen, report: &RunReport) -> Vec<Note> {
    let mut notes = missing_fields(&foreseen.asked, report);
    for (step, counts) in recipe.steps.iter().zip(&report.steps) {
        for &(code, rows) in &counts.notes {
            notes.extend(of_step(step, code, rows, foreseen));
        }
        if counts.rounding_decided > 0 {
            let text = format!(
                "rounding as Data-Juicer does decided {} of {} the other way; compat_stats: exact does not round",
                words(counts.rounding_decided),
                named(step)
            );
            let note = Note::new(Code::RoundingDecided, text);
            notes.push(note.at(step.index).of_rows(counts.rounding_decided));
        }
    }
    notes
}

/// Whether a note foreseen of the recipe is told at the end of a run by the rows it is about, and
/// not if there are none.
#[must_use]
pub fn is_counted(code: Code) -> bool {
    matches!(
        code,
        Code::StatOfOtherField | Code::StatOfOtherStep | Code::StatBeforeChange
    )
}

fn of_step(step: &Step, code: Code, rows: u64, foreseen: &Foreseen) -> Option<Note> {
    let (who, count) = (named(step), words(rows));
    let text = match code {
        Code::StatCameAlong => {
            format!("{who} decided {count} by stats that came with the input, as in Data-Juicer")
        }
        Code::StatMeasuredAgain => format!(
            "{who} measured {count} anew whose stats came with the input as null or as another type"
        ),
        Code::ShortTexts => format!(
            "{who}: the texts of {count} have fewer tokens than its window (window_size: {}), and all such texts count as one; short_texts: exact or keep tells them apart",
            step.params.get("window_size").cloned().unwrap_or_default()
        ),
        Code::BlankImages => format!(
            "{who}: the pictures of {count} are of one shade, so that their hashes have no content, and all such pictures count as one"
        ),
        _ => {
            let mut all = foreseen.notes.iter();
            let note = all.find(|note| {
                note.code == code && note.step.is_some_and(|at| at.get() == step.index + 1)
            })?;
            format!("{}: {count}", note.message)
        }
    };
    Some(Note::new(code, text).at(step.index).of_rows(rows))
}

/// Fields that were asked for and that no row has.
fn missing_fields(asked: &[Asked], report: &RunReport) -> Vec<Note> {
    let seen = &report.seen;
    let read = report.rows_in - report.unreadable;
    if read == 0 {
        return Vec::new();
    }
    let missing = |(bit, _): &(usize, &Asked)| *bit < 64 && seen.fields >> bit & 1 == 0;
    asked
        .iter()
        .enumerate()
        .filter(missing)
        .map(|(_, asked)| {
            let note = Note::new(Code::FieldOfNoRow, missing_words(asked, &seen.held));
            let note = note.of_rows(read);
            match asked.step {
                Some(step) => note.at(step),
                None => note,
            }
        })
        .collect()
}

/// The fields that no row has, if that is why no row could be processed.
#[must_use]
pub fn fatal_field(foreseen: &Foreseen, report: &RunReport) -> Option<String> {
    let read = report.rows_in - report.unreadable;
    let of = |is_there: &dyn Fn(Stage) -> bool| -> u64 {
        let reasons = report.reasons.iter();
        let own = reasons.filter(|(it, _)| it.code == MISSING_FIELD && is_there(it.stage));
        own.map(|(_, rows)| rows).sum()
    };
    let in_steps = of(&|stage| stage.step().is_some());
    // A row that one output takes is processed.
    let outputs = 0..report.outputs.len();
    let in_outputs = outputs.map(|output| of(&|stage| stage == Stage::Output(output)));
    if read == 0 || in_steps + in_outputs.min().unwrap_or(0) < read {
        return None;
    }
    let missing = missing_fields(&foreseen.asked, report);
    let messages: Vec<String> = missing.into_iter().map(|note| note.message).collect();
    (!messages.is_empty()).then(|| messages.join("; "))
}

/// The reason of a row that lacks a field.
const MISSING_FIELD: &str = "missing_field";

/// `no row has the field 'text' (text_keys); rows have: id, content; did you mean …?`
#[must_use]
pub fn missing_words(asked: &Asked, held: &[HeldField]) -> String {
    let Asked { field, key, .. } = asked;
    let names: Vec<&str> = held.iter().map(|field| field.name.as_str()).collect();
    let has = if names.is_empty() {
        "no field".to_owned()
    } else {
        names.join(", ")
    };
    let mut text = format!("no row has the field '{field}' ({key}); rows have: {has}");
    let is_text = key.starts_with("text_key");
    if let Some(meant) = meant(field, held, is_text) {
        let key = key.split(' ').next().unwrap_or(key);
        // Writing to a string cannot fail.
        let _ = write!(text, "; did you mean {key}: {meant}?");
    }
    text
}

/// The field of rows that was probably meant: one of a similar name, or the only text where a text
/// is asked for.
fn meant<'h>(field: &str, held: &'h [HeldField], is_text: bool) -> Option<&'h str> {
    let names = || held.iter().map(|field| field.name.as_str());
    let alike = |name: &&str| {
        let (a, b) = (name.to_lowercase(), field.to_lowercase());
        a.starts_with(&b) || b.starts_with(&a)
    };
    let near = names().find(alike);
    let near = near.or_else(|| crate::recipe::nearest(field, names()));
    near.or_else(|| {
        let mut texts = held.iter().filter(|f| f.is_text && f.name != "id");
        match (texts.next(), texts.next()) {
            (Some(only), None) if is_text => Some(only.name.as_str()),
            _ => None,
        }
    })
}

fn have(rows: u64) -> &'static str {
    if rows == 1 { "has" } else { "have" }
}

/// Mixtures that drew fewer rows than they were to draw, or found none of a kind that they name.
fn short_mixtures(recipe: &Recipe, report: &RunReport) -> Vec<Note> {
    let mut notes = Vec::new();
    for (step, counts) in recipe.steps.iter().zip(&report.steps) {
        let lacking = counts.lacking();
        let absent = counts
            .strata
            .iter()
            .filter(|it| it.had == 0 && it.wanted > 0);
        let absent: Vec<&str> = absent.map(|it| it.value.as_str()).collect();
        if lacking == 0 && absent.is_empty() {
            continue;
        }
        let got: u64 = counts.strata.iter().map(|it| it.got).sum();
        let mut text = format!(
            "{}: {} of {}",
            named(step),
            thousands(got),
            words(got + lacking)
        );
        if !absent.is_empty() {
            let there = counts.strata.iter().filter(|it| it.had > 0).take(10);
            let there: Vec<&str> = there.map(|it| it.value.as_str()).collect();
            let _ = write!(
                text,
                "; no row is of the kind '{}' (rows are of: {})",
                absent.join("', '"),
                there.join(", ")
            );
        }
        notes.push(Note::new(Code::SampleShort, text).at(step.index));
    }
    notes
}

fn short_samples(report: &RunReport) -> Vec<Note> {
    let short = |output: &crate::record::OutputCounts| {
        let wanted = output.wanted.filter(|wanted| output.written < *wanted)?;
        let were = if output.refused == 1 { "was" } else { "were" };
        let refused = format!("{} {were} refused", words(output.refused));
        let asked = output.candidates.saturating_sub(output.unmatched);
        let why = if output.unmatched > 0 {
            let meet = if asked == 1 { "meets" } else { "meet" };
            let all = thousands(output.candidates);
            let mut why = format!(
                "of {all} rows only {} {meet} its condition",
                thousands(asked)
            );
            if output.refused > 0 {
                // Writing to a string cannot fail.
                let _ = write!(why, ", and {refused}");
            }
            why
        } else if output.refused > 0 {
            format!("{refused} and no others were left")
        } else {
            format!("there are only {}", words(output.candidates))
        };
        let text = format!(
            "{}: {} of {}: {why}",
            output.name,
            thousands(output.written),
            words(wanted)
        );
        Some(Note::new(Code::SampleShort, text).of_rows(wanted - output.written))
    };
    report.outputs.iter().filter_map(short).collect()
}
