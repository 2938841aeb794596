//! What a loader reads of a row: turns, images, and which fields it has.

use serde_json::Value;

use crate::sample::{FieldPath, ImageSlot, RowError, Sample};

/// Where a loader looks for what it reads. Of several names the first that a row has counts.
#[derive(Debug)]
pub struct View {
    /// The field of the turns.
    pub turns: &'static [&'static str],
    /// In a turn, who speaks.
    pub role: &'static [&'static str],
    /// In a turn, what is said.
    pub content: &'static [&'static str],
    /// The field of images.
    pub images: &'static [&'static str],
    /// In a row without turns, the field of the one question, which `input` is added to.
    pub asked: &'static [&'static str],
    /// And of the one answer.
    pub answered: &'static [&'static str],
    /// The words for who asks.
    pub user: &'static [&'static str],
    /// The words for who answers.
    pub assistant: &'static [&'static str],
    /// The words for system texts.
    pub system: &'static [&'static str],
    /// The words for tools that answer in the user's place, and are called in the assistant's.
    pub tools: &'static [&'static str],
}

/// What a loader reads of a row.
#[derive(Debug)]
pub struct Record {
    /// The turns, in order.
    pub turns: Vec<Said>,
    /// The images of its field, in order.
    pub images: Vec<ImageSlot>,
    /// The field of images as it is, if it is there.
    pub image_field: Option<Value>,
}

/// A turn.
#[derive(Debug)]
pub struct Said {
    /// Who speaks; `None` if the turn does not say.
    pub role: Option<String>,
    /// What is said: of a list of parts their texts; `None` if it is neither text nor list.
    pub text: Option<String>,
    /// Where what is said is a list: how many of its parts stand for an image.
    pub blocks: Option<usize>,
}

impl Said {
    /// How often `token` stands in it.
    #[must_use]
    pub fn count(&self, token: &str) -> usize {
        self.text
            .as_deref()
            .map_or(0, |text| text.matches(token).count())
    }
}

impl Record {
    /// Reads a row as `view` says; why not, if it cannot be.
    ///
    /// # Errors
    /// What is missing, or not as it must be.
    pub fn read(view: &View, sample: &Sample) -> Result<Self, String> {
        let field = |names: &[&'static str]| -> Result<Option<(&'static str, Value)>, RowError> {
            for name in names {
                if let Some(value) = sample.value(&FieldPath::new(*name))? {
                    return Ok(Some((name, value)));
                }
            }
            Ok(None)
        };
        let said = |error: RowError| error.message;
        let image_field = field(view.images).map_err(said)?;
        let images = match &image_field {
            None => Vec::new(),
            Some((name, value)) => paths(name, value)?
                .into_iter()
                .map(|path| sample.image_at(path))
                .collect(),
        };
        let turns = if view.turns.is_empty() {
            Vec::new()
        } else {
            match field(view.turns).map_err(said)? {
                Some((_, Value::Array(items))) => items
                    .into_iter()
                    .map(|item| turn(view, item))
                    .collect::<Result<_, _>>()?,
                Some((name, _)) => return Err(format!("field '{name}' is no list of turns")),
                None => pair(view, sample)
                    .map_err(said)?
                    .ok_or_else(|| format!("there is no field '{}'", view.turns.join("' or '")))?,
            }
        };
        Ok(Self {
            turns,
            images,
            image_field: image_field.map(|(_, value)| value),
        })
    }

    /// How often `token` stands in all turns.
    #[must_use]
    pub fn count(&self, token: &str) -> usize {
        self.turns.iter().map(|turn| turn.count(token)).sum()
    }

    /// Whether it has an image.
    #[must_use]
    pub fn has_image(&self) -> bool {
        !self.images.is_empty()
    }
}

/// The paths in a field of images.
fn paths(name: &str, value: &Value) -> Result<Vec<String>, String> {
    let wrong = || format!("field '{name}' is neither a path nor a list of paths");
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(path) if path.is_empty() => Ok(Vec::new()),
        Value::String(path) => Ok(vec![path.clone()]),
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::String(path) => Ok(path.clone()),
                // Hugging Face's image cells that name a file.
                Value::Object(cell) => cell
                    .get("path")
                    .and_then(Value::as_str)
                    .map(ToOwned::to_owned)
                    .ok_or_else(wrong),
                _ => Err(wrong()),
            })
            .collect(),
        _ => Err(wrong()),
    }
}

/// A row of one question and one answer, as Alpaca's.
fn pair(view: &View, sample: &Sample) -> Result<Option<Vec<Said>>, RowError> {
    let text = |name: &str| -> Result<Option<String>, RowError> {
        let value = sample.value(&FieldPath::new(name))?;
        Ok(value.and_then(|value| value.as_str().map(str::to_owned)))
    };
    let named = |names: &[&'static str]| names.iter().copied().find(|name| sample.has(name));
    let (Some(asked), Some(answered)) = (named(view.asked), named(view.answered)) else {
        return Ok(None);
    };
    let mut question = text(asked)?;
    if asked != INPUT
        && let (Some(question), Some(input)) = (&mut question, text(INPUT)?)
    {
        question.push('\n');
        question.push_str(&input);
    }
    let turn = |role: &[&str], text| Said {
        role: role.first().map(|role| (*role).to_owned()),
        text,
        blocks: None,
    };
    Ok(Some(vec![
        turn(view.user, question),
        turn(view.assistant, text(answered)?),
    ]))
}

/// What Alpaca adds to a question.
const INPUT: &str = "input";

fn turn(view: &View, item: Value) -> Result<Said, String> {
    let Value::Object(mut fields) = item else {
        return Err("a turn is no object".to_owned());
    };
    let mut take = |names: &[&str]| names.iter().find_map(|name| fields.remove(*name));
    let role = match take(view.role) {
        Some(Value::String(role)) => Some(role),
        _ => None,
    };
    let (text, blocks) = match take(view.content) {
        Some(Value::String(text)) => (Some(text), None),
        Some(Value::Array(parts)) => {
            let kind = |part: &Value| part.get("type").and_then(Value::as_str).map(str::to_owned);
            let images = parts
                .iter()
                .filter(|part| matches!(kind(part).as_deref(), Some("image" | "image_url")))
                .count();
            let texts: Vec<&str> = parts
                .iter()
                .filter_map(|part| part.get("text")?.as_str())
                .collect();
            (Some(texts.join("\n")), Some(images))
        }
        _ => (None, None),
    };
    Ok(Said { role, text, blocks })
}
