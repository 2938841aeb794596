//! What records are made of: rows, or records of another format. Each way of reading gives a
//! [`Conversation`].

mod alpaca;
mod captions;
mod rows;
mod turns;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

pub use rows::{Images, RowsReader};

use super::conversation::{Conversation, RowTokens, TokenPlace};
use super::questions::Questions;
use super::shape::Shape;
use super::{FormatError, Setting, llava, messages, openai, trl};
use crate::sample::{FieldPath, ImageCheck, ImageSlot, RowError, Sample};

/// Reads a row as a conversation. Shared by all worker threads.
pub trait Reader: Send + Sync {
    /// What the row says.
    ///
    /// # Errors
    /// Why it is no conversation.
    fn read<'s>(&'s self, sample: &'s Sample) -> Result<Conversation<'s>, RowError>;

    /// The fields that go into it; what else a row has is not looked at.
    fn fields(&self) -> &[&'static str];
}

/// The field of the system text.
const SYSTEM: &str = "system";

/// What a row says of how the model is to be, in the field of that name. What is no text there is
/// something else.
fn system_field<'a>(sample: &Sample) -> Result<Option<Cow<'a, str>>, RowError> {
    Ok(match sample.value(&FieldPath::new(SYSTEM))? {
        Some(Value::String(text)) if !text.is_empty() => Some(Cow::Owned(text)),
        _ => None,
    })
}

/// A format that can be read.
#[derive(Debug)]
pub struct Origin {
    /// Its name.
    pub name: &'static str,
    /// The field of its images, where that is not the rows' own.
    pub image_key: Option<&'static str>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Rows,
    Turns(&'static Shape),
    Alpaca,
    Captions,
}

/// Every format that can be read.
pub const ORIGINS: &[Origin] = &[
    Origin {
        name: "dj",
        image_key: None,
        kind: Kind::Rows,
    },
    Origin {
        name: "llava",
        image_key: Some("image"),
        kind: Kind::Turns(llava::SHAPE),
    },
    Origin {
        name: "messages",
        image_key: Some("images"),
        kind: Kind::Turns(messages::SHAPE),
    },
    Origin {
        name: "openai",
        image_key: None,
        kind: Kind::Turns(openai::SHAPE),
    },
    Origin {
        name: "trl",
        image_key: Some("images"),
        kind: Kind::Turns(trl::SHAPE),
    },
    Origin {
        name: "alpaca",
        image_key: Some("images"),
        kind: Kind::Alpaca,
    },
    Origin {
        name: "imagefolder",
        image_key: Some("file_name"),
        kind: Kind::Captions,
    },
];

/// Their names.
pub const WORDS: &[&str] = &{
    let mut words = [""; ORIGINS.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = ORIGINS[at].name;
        at += 1;
    }
    words
};

impl Origin {
    /// The one called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ORIGINS.iter().find(|origin| origin.name == name)
    }

    /// Whether it is made of rows, whose text has the rows' own tokens.
    #[must_use]
    pub fn is_rows(&self) -> bool {
        matches!(self.kind, Kind::Rows)
    }

    /// What reads it.
    ///
    /// # Errors
    /// If there are questions for what has its own.
    pub fn reader(&self, asked: Asked, setting: &Setting) -> Result<Box<dyn Reader>, FormatError> {
        let takes = match asked.question {
            Question::None => true,
            Question::Same(_) => matches!(self.kind, Kind::Rows | Kind::Captions),
            Question::File(_) => self.is_rows(),
        };
        if !takes {
            return Err(FormatError(format!(
                "records of format {} take no questions from elsewhere",
                self.name
            )));
        }
        let elsewhere = Elsewhere(setting.validate);
        Ok(match self.kind {
            Kind::Rows => Box::new(RowsReader {
                text_key: setting.text_key.clone(),
                tokens: asked.tokens,
                question: asked.question,
                images: asked.images,
                place: asked.place,
            }),
            Kind::Turns(shape) => Box::new(turns::TurnsReader::new(shape, elsewhere)),
            Kind::Alpaca => Box::new(alpaca::AlpacaReader { elsewhere }),
            Kind::Captions => Box::new(captions::CaptionsReader {
                question: asked.question,
                elsewhere,
            }),
        })
    }
}

/// What is said of how rows are read.
pub struct Asked {
    /// The rows' tokens.
    pub tokens: RowTokens,
    /// Where captions get their questions from.
    pub question: Question,
    /// What becomes of several images.
    pub images: Images,
    /// Where image tokens will stand.
    pub place: TokenPlace,
}

/// Where captions get their questions from.
#[derive(Clone)]
pub enum Question {
    /// They have none.
    None,
    /// One for all.
    Same(String),
    /// A file has one for each.
    File(Arc<Questions>),
}

/// Finds images that are not in the field of images that the run knows, and checks them.
#[derive(Debug, Clone, Copy)]
struct Elsewhere(ImageCheck);

impl Elsewhere {
    /// The images at `written`.
    fn slots(self, sample: &Sample, written: Vec<String>) -> Result<Vec<ImageSlot>, RowError> {
        written
            .into_iter()
            .map(|path| {
                let slot = sample.image_at(path);
                slot.check(self.0).map(|()| slot)
            })
            .collect()
    }
}
