//! The rules that several trainers share: each says what is wrong with a row, if anything.

use serde_json::Value;

use super::check::{FileFacts, Look, Template};
use super::container::Container;
use super::length;
use super::record::{Record, Said};
use crate::sample::{FieldPath, ImageSlot};

/// What stands for an image in texts.
pub const TOKEN: &str = "<image>";

/// The row is read at all.
pub fn readable(look: &Look<'_>) -> Option<String> {
    look.record.as_ref().err().cloned()
}

/// Every image is there and decodes.
pub fn images_decode(look: &Look<'_>) -> Option<String> {
    let bad = |slot: &ImageSlot| slot.check(look.settings.images).err();
    look.read()?
        .images
        .iter()
        .find_map(bad)
        .map(|error| format!("{}: {}", error.code, error.message))
}

/// A size of an image that somebody minds.
fn size(look: &Look<'_>, minds: impl Fn(u32, u32) -> bool) -> Option<String> {
    look.read()?.images.iter().find_map(|slot| {
        let header = slot.header().ok()?;
        let (width, height) = (header.width, header.height);
        minds(width, height).then(|| format!("{} is {width}x{height}", slot.written()))
    })
}

/// No image is so small that its rows are taken for channels.
pub fn image_not_tiny(look: &Look<'_>) -> Option<String> {
    size(look, |width, height| {
        matches!(height, 1 | 3) || (width, height) == (1, 1)
    })
}

/// No image is over 200 times longer than wide.
pub fn image_ratio(look: &Look<'_>) -> Option<String> {
    size(look, |width, height| {
        width.max(height) > width.min(height).saturating_mul(200)
    })
}

/// No image vanishes when it is shrunk.
pub fn image_stays(look: &Look<'_>) -> Option<String> {
    size(look, |width, height| {
        width.max(height) > width.min(height).saturating_mul(590_000)
    })
}

/// Both sides of an image have 28 pixels.
pub fn image_sides(look: &Look<'_>) -> Option<String> {
    size(look, |width, height| width.min(height) < 28)
}

/// A row whose key says that it has an image has one.
pub fn image_named(look: &Look<'_>) -> Option<String> {
    let record = look.read()?;
    (record.image_field.is_some() && !record.has_image())
        .then(|| "the field of the image is there, and holds none".to_owned())
}

/// Whether `word` is one of `words`.
fn is(words: &[&str], word: Option<&str>) -> bool {
    word.is_some_and(|word| words.contains(&word))
}

/// Every turn is of somebody whom the loader knows.
pub fn roles_known(look: &Look<'_>) -> Option<String> {
    let view = &look.trainer.view;
    let known = [view.user, view.assistant, view.system, view.tools];
    numbered(look.read()?).find_map(|(number, turn)| {
        let role = turn.role.as_deref();
        (!known.iter().any(|words| is(words, role))).then(|| match role {
            Some(role) => format!("turn {number} is of '{role}'"),
            None => format!("turn {number} does not say who speaks"),
        })
    })
}

fn numbered(record: &Record) -> impl Iterator<Item = (usize, &Said)> {
    (1..).zip(&record.turns)
}

/// After a system text at the start, if the trainer takes one, person and model take turns, in
/// pairs.
pub fn roles_alternate(look: &Look<'_>) -> Option<String> {
    let view = &look.trainer.view;
    let mut turns = look.read()?.turns.as_slice();
    if let Some((first, rest)) = turns.split_first()
        && is(view.system, first.role.as_deref())
    {
        turns = rest;
    }
    for (index, turn) in turns.iter().enumerate() {
        let role = turn.role.as_deref();
        let (expected, others) = if index % 2 == 0 {
            (view.user, view.assistant)
        } else {
            (view.assistant, view.user)
        };
        if is(others, role) || is(view.system, role) {
            let role = role.unwrap_or_default();
            let expected = expected.join(" or ");
            return Some(format!(
                "turn {} is of '{role}', expected {expected}",
                index + 1
            ));
        }
    }
    (turns.is_empty() || turns.len() % 2 == 1).then(|| format!("{} turns, no pairs", turns.len()))
}

/// As [`roles_alternate`], where a first turn that is not the person's is cut off, and the last may
/// be the person's.
pub fn roles_alternate_from_user(look: &Look<'_>) -> Option<String> {
    let view = &look.trainer.view;
    let turns = look.read()?.turns.as_slice();
    let turns = match turns.split_first() {
        Some((first, rest)) if !is(view.user, first.role.as_deref()) => rest,
        _ => turns,
    };
    let wrong = turns.iter().enumerate().find(|(index, turn)| {
        let expected = if index % 2 == 0 {
            view.user
        } else {
            view.assistant
        };
        !is(expected, turn.role.as_deref())
    });
    match wrong {
        Some((index, turn)) => Some(format!(
            "turn {} is of '{}'",
            index + 1,
            turn.role.as_deref().unwrap_or_default()
        )),
        None => turns.is_empty().then(|| "there are no turns".to_owned()),
    }
}

/// Every turn is a text (or a list of parts).
pub fn contents(look: &Look<'_>) -> Option<String> {
    let record = look.read()?;
    if record.turns.is_empty() {
        return Some("there are no turns".to_owned());
    }
    numbered(record)
        .find(|(_, turn)| turn.text.is_none())
        .map(|(number, _)| format!("turn {number} says nothing"))
}

/// No answer is empty.
pub fn answers_not_empty(look: &Look<'_>) -> Option<String> {
    let answers = look.trainer.view.assistant;
    numbered(look.read()?)
        .find(|(_, turn)| {
            is(answers, turn.role.as_deref())
                && turn
                    .text
                    .as_deref()
                    .is_some_and(|text| text.trim().is_empty())
        })
        .map(|(number, _)| format!("turn {number} is empty"))
}

/// No turn but the first is of the system; not even that, where nobody takes one.
pub fn no_system(look: &Look<'_>) -> Option<String> {
    numbered(look.read()?)
        .find(|(_, turn)| turn.role.as_deref() == Some("system"))
        .map(|(number, _)| format!("turn {number} is a system text"))
}

/// No text holds what the chat template puts between turns.
pub fn no_template_marks(look: &Look<'_>) -> Option<String> {
    let marks = look.settings.template.marks();
    numbered(look.read()?).find_map(|(number, turn)| {
        let text = turn.text.as_deref()?;
        let mark = marks.iter().find(|mark| text.contains(**mark))?;
        Some(format!("turn {number} holds {mark:?}"))
    })
}

/// Pretraining: two turns, a token in the first one, and an image.
pub fn plain_pair(look: &Look<'_>) -> Option<String> {
    let record = look.read()?;
    if look.settings.template != Template::Plain {
        return None;
    }
    if record.turns.len() != 2 {
        return Some(format!("{} turns", record.turns.len()));
    }
    if !record.has_image() {
        return Some("it has no image".to_owned());
    }
    let first = record.turns.first().map_or(0, |turn| turn.count(TOKEN));
    (first == 0).then(|| "no <image> in the first turn".to_owned())
}

/// A row without an image speaks of none.
pub fn no_token_without_image(look: &Look<'_>) -> Option<String> {
    let record = look.read()?;
    (record.image_field.is_none() && record.count(TOKEN) > 0)
        .then(|| format!("{} <image> and no image", record.count(TOKEN)))
}

/// A row with an image has a token for it.
pub fn token_for_image(look: &Look<'_>) -> Option<String> {
    let record = look.read()?;
    (record.has_image() && record.count(TOKEN) == 0)
        .then(|| format!("no <image> for {}", images(record.images.len())))
}

/// A row with one image has one token.
pub fn one_token(look: &Look<'_>) -> Option<String> {
    let record = look.read()?;
    let spread = record.turns.iter().filter(|turn| turn.count(TOKEN) > 0);
    (record.images.len() == 1 && spread.count() > 1).then(|| {
        format!(
            "{} <image> in several turns for 1 image",
            record.count(TOKEN)
        )
    })
}

/// A row with an image has as many tokens as images, in all turns.
pub fn tokens_fit(look: &Look<'_>) -> Option<String> {
    let record = look.read()?;
    differ(record.count(TOKEN), record.images.len())
}

/// As [`tokens_fit`], for rows with several images.
pub fn tokens_fit_several(look: &Look<'_>) -> Option<String> {
    let record = look.read()?;
    let several = record.images.len() > 1 || record.has_image() && record.count(TOKEN) > 1;
    several
        .then(|| differ(record.count(TOKEN), record.images.len()))
        .flatten()
}

/// As [`tokens_fit`], counted in the turns of the person.
pub fn tokens_fit_user(look: &Look<'_>) -> Option<String> {
    let record = look.read()?;
    let users = look.trainer.view.user;
    let users = record
        .turns
        .iter()
        .filter(|turn| is(users, turn.role.as_deref()));
    differ(
        users.map(|turn| turn.count(TOKEN)).sum(),
        record.images.len(),
    )
}

/// No more tokens than images.
pub fn no_token_too_many(look: &Look<'_>) -> Option<String> {
    let record = look.read()?;
    let tokens = record.count(TOKEN);
    (tokens > record.images.len())
        .then(|| differ(tokens, record.images.len()))
        .flatten()
}

/// No more images than tokens, or parts that hold one.
pub fn no_image_too_many(look: &Look<'_>) -> Option<String> {
    let record = look.read()?;
    let tokens = record.count(TOKEN);
    (tokens < record.images.len())
        .then(|| differ(tokens, record.images.len()))
        .flatten()
}

fn differ(tokens: usize, count: usize) -> Option<String> {
    (tokens != count).then(|| format!("{tokens} <image> for {}", images(count)))
}

pub(super) fn images(count: usize) -> String {
    match count {
        1 => "1 image".to_owned(),
        count => format!("{count} images"),
    }
}

/// No text holds one of `marks`, which the loader takes for something else.
pub fn marked(look: &Look<'_>, marks: &[&str]) -> Option<String> {
    numbered(look.read()?).find_map(|(number, turn)| {
        let text = turn.text.as_deref()?;
        let mark = marks.iter().find(|mark| text.contains(**mark))?;
        Some(format!("turn {number} holds {mark}"))
    })
}

/// There are as many marks of videos as videos.
pub fn videos_differ(look: &Look<'_>, mark: &str) -> Option<String> {
    let found = look.read()?.count(mark);
    let there = match look.sample.value(&FieldPath::new("videos")) {
        Ok(Some(Value::Array(items))) => items.len(),
        Ok(Some(Value::String(_))) => 1,
        _ => 0,
    };
    (found != there).then(|| format!("{found} {mark} for {there} videos"))
}

/// The row is not longer than the model takes.
pub fn short_enough(look: &Look<'_>) -> Option<String> {
    let most = look.settings.max_tokens.or(look.trainer.max_tokens)?;
    let tokens = length::of_record(
        look.read()?,
        &look.settings.tokens,
        look.trainer.image_tokens,
    );
    let about = if look.settings.tokens.is_estimated() {
        "about "
    } else {
        ""
    };
    (tokens > most).then(|| format!("{about}{tokens} tokens, at most {most} are taken"))
}

/// Some turn has a word.
pub fn has_words(look: &Look<'_>) -> Option<String> {
    let mut texts = look
        .read()?
        .turns
        .iter()
        .filter_map(|turn| turn.text.as_deref());
    texts
        .all(|text| text.trim().is_empty())
        .then(|| "no turn has a word".to_owned())
}

/// Rows lie in the file as the loader takes them.
pub fn container(file: &FileFacts<'_>) -> Option<String> {
    if file.is_packed && !file.trainer.infers_types {
        return Some("it is compressed".to_owned());
    }
    (!file.trainer.containers.contains(&file.container))
        .then(|| format!("it is {}", file.container.words()))
}

/// No byte order mark.
pub fn no_mark(file: &FileFacts<'_>) -> Option<String> {
    file.has_mark
        .then(|| "it begins with a byte order mark".to_owned())
}

/// There are rows.
pub fn has_rows(file: &FileFacts<'_>) -> Option<String> {
    (file.rows == 0).then(|| "it has no rows".to_owned())
}

/// No blank lines.
pub fn no_blank(file: &FileFacts<'_>) -> Option<String> {
    (file.container == Container::Lines && file.has_blank).then(|| "it has blank lines".to_owned())
}

/// One type a column.
pub fn one_type(file: &FileFacts<'_>) -> Option<String> {
    let (line, at) = file.columns.mixed.as_ref()?;
    Some(format!("{at} has another type in line {line} than before"))
}

/// The first rows tell all columns and their types.
pub fn types_early(file: &FileFacts<'_>) -> Option<String> {
    let (line, what) = file.columns.late.as_ref()?;
    Some(format!("line {line}, behind the first 10 MiB: {what}"))
}
