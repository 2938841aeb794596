//! A conversation about a row, written as if answers came at once.
//!
//! A [`Script`] is run from its beginning whenever an answer has come: it hears again what was said
//! before, and stops where it asks something new. So it keeps nothing, and a row that waits is no
//! more than its answers so far.

use serde_json::{Map, Value};

use super::Server;
use crate::op::{Answer, Asks, Expander, META, Mapper, Part, Request, Said, Service, meta_of};
use crate::sample::{FieldPath, RowError, Sample};

/// Why a script stops.
#[derive(Debug)]
pub enum Halt {
    /// It asks this.
    Ask(Request),
    /// Nothing can be made of the row.
    Row(RowError),
}

impl From<RowError> for Halt {
    fn from(error: RowError) -> Self {
        Self::Row(error)
    }
}

/// The answers so far.
pub struct Talk<'a> {
    server: &'a Server,
    answers: std::slice::Iter<'a, Answer>,
}

impl<'a> Talk<'a> {
    /// What was answered to `request`, the next one.
    ///
    /// # Errors
    /// The request, if it was not asked yet.
    pub fn hear(&mut self, request: impl FnOnce(&Server) -> Request) -> Result<&'a Said, Halt> {
        match self.answers.next() {
            None => Err(Halt::Ask(request(self.server))),
            Some(Answer::Said(said)) => Ok(said),
            Some(_) => Err(RowError::new("model_failed", "the answer is not a server's").into()),
        }
    }

    /// Answer number `number`, from 0, to `messages`.
    ///
    /// # Errors
    /// The request, if it was not asked yet.
    pub fn say(&mut self, messages: &[Value], number: u32) -> Result<&'a Said, Halt> {
        self.hear(|server| server.chat(messages, number))
    }

    /// What `read` makes of the first answer to `messages` that it can use, of as many as the
    /// operator tries.
    ///
    /// # Errors
    /// The request, if one is to be asked; the row's error if none could be used.
    pub fn use_of<T>(
        &mut self,
        messages: &[Value],
        mut read: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, Halt> {
        self.use_said(messages, |said| read(&said.text))
    }

    /// The same with all that is known of an answer.
    ///
    /// # Errors
    /// As [`Talk::use_of`].
    pub fn use_said<T>(
        &mut self,
        messages: &[Value],
        mut read: impl FnMut(&Said) -> Option<T>,
    ) -> Result<T, Halt> {
        let mut last = "";
        for number in 0..self.server.tries {
            let said = self.say(messages, number)?;
            if let Some(found) = read(said) {
                return Ok(found);
            }
            last = &said.text;
        }
        Err(unusable(self.server.tries, last).into())
    }

    /// As [`Talk::use_of`], for messages that are dear to make: only if they are to be sent.
    ///
    /// # Errors
    /// As [`Talk::use_of`], and those of `messages`.
    pub fn use_lazily<T>(
        &mut self,
        messages: impl Fn() -> Result<Vec<Value>, RowError>,
        read: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, Halt> {
        self.use_another(0, messages, read)
    }

    /// The same for outcome number `outcome`, from 0, of messages that are sent several times.
    ///
    /// # Errors
    /// As [`Talk::use_lazily`].
    pub fn use_another<T>(
        &mut self,
        outcome: u32,
        messages: impl Fn() -> Result<Vec<Value>, RowError>,
        mut read: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, Halt> {
        let mut last = "";
        let first = outcome.saturating_mul(self.server.tries);
        for number in (0..self.server.tries).map(|number| first.saturating_add(number)) {
            let said = match self.answers.next() {
                None => return Err(Halt::Ask(self.server.chat(&messages()?, number))),
                Some(answer) => answer.text()?,
            };
            if let Some(found) = read(said) {
                return Ok(found);
            }
            last = said;
        }
        Err(unusable(self.server.tries, last).into())
    }

    /// How often an answer is asked for.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.server.tries
    }
}

/// None of so many answers could be used.
#[must_use]
pub fn unusable(tries: u32, last: &str) -> RowError {
    const SHOWN: usize = 80;
    let mut start: String = last.chars().take(SHOWN).collect();
    if last.chars().nth(SHOWN).is_some() {
        start.push('…');
    }
    let which = if tries == 1 {
        "the answer cannot be used".to_owned()
    } else {
        format!("none of {tries} answers can be used, the last one")
    };
    RowError::new("answer_unusable", format!("{which}: {start:?}"))
}

/// What an operator asks about a row, and what it makes of the answers.
pub trait Script: Send + Sync {
    /// What it makes of them.
    type Outcome;

    /// Whom it asks.
    fn server(&self) -> &Server;

    /// The conversation about a row, from its beginning.
    ///
    /// # Errors
    /// What it asks next, or why nothing can be made of the row.
    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Self::Outcome, Halt>;

    /// The conversation with these answers.
    ///
    /// # Errors
    /// As [`Script::talk`].
    fn with(&self, sample: &Sample, answers: &[Answer]) -> Result<Self::Outcome, Halt> {
        let mut talk = Talk {
            server: self.server(),
            answers: answers.iter(),
        };
        self.talk(sample, &mut talk)
    }

    /// What comes of it, now that all is answered.
    ///
    /// # Errors
    /// The row's.
    fn outcome(&self, sample: &Sample, answers: &[Answer]) -> Result<Self::Outcome, RowError> {
        self.with(sample, answers).map_err(|halt| match halt {
            Halt::Row(error) => error,
            Halt::Ask(_) => RowError::new("model_failed", "the server was not asked"),
        })
    }
}

impl<S: Script> Asks for S {
    fn service(&self) -> &Service {
        &self.server().service
    }

    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        self.ask_on(sample, &[])
    }

    fn ask_on(&self, sample: &Sample, answers: &[Answer]) -> Result<Vec<Request>, RowError> {
        match self.with(sample, answers) {
            Ok(_) => Ok(Vec::new()),
            Err(Halt::Ask(request)) => Ok(vec![request]),
            Err(Halt::Row(error)) => Err(error),
        }
    }
}

/// A change to a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// This top-level field gets this value.
    Set(String, Value),
    /// This field goes.
    Remove(String),
}

/// A script that changes rows, as a mapper.
pub struct Scripted<S>(pub S);

impl<S: Script<Outcome = Vec<Edit>>> Mapper for Scripted<S> {
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError> {
        self.apply_answers(sample, &[])
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(&self.0)
    }

    fn apply_answers(&self, sample: &mut Sample, answers: &[Answer]) -> Result<(), RowError> {
        for edit in self.0.outcome(sample, answers)? {
            match edit {
                Edit::Set(name, value) => sample.set_value(&name, value),
                Edit::Remove(name) => sample.remove(&name),
            }
        }
        Ok(())
    }
}

/// A script that makes several rows of one, as an expander.
pub struct ScriptedParts<S>(pub S);

impl<S: Script<Outcome = Vec<Part>>> Expander for ScriptedParts<S> {
    fn parts(&self, sample: &Sample) -> Result<Vec<Part>, RowError> {
        self.0.outcome(sample, &[])
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(&self.0)
    }

    fn parts_of_answers(&self, sample: &Sample, answers: &[Answer]) -> Result<Vec<Part>, RowError> {
        self.0.outcome(sample, answers)
    }
}

/// Whether `__dj__meta__` has all of these.
///
/// # Errors
/// Those of [`meta_of`].
pub fn meta_has(sample: &Sample, names: &[&str]) -> Result<bool, RowError> {
    let meta = meta_of(sample)?;
    Ok(names.iter().all(|name| meta.contains_key(*name)))
}

/// The edit that puts these into `__dj__meta__`.
///
/// # Errors
/// Those of [`meta_of`].
pub fn set_meta(sample: &Sample, found: Vec<(&str, Value)>) -> Result<Edit, RowError> {
    let mut meta = meta_of(sample)?;
    for (name, value) in found {
        meta.insert(name.to_owned(), value);
    }
    Ok(edit_meta(meta))
}

/// The edit that makes `meta` the row's `__dj__meta__`.
#[must_use]
pub fn edit_meta(meta: Map<String, Value>) -> Edit {
    Edit::Set(META.to_owned(), meta.into())
}

/// The edit that takes the text away, if it is wanted.
pub fn drop_text(edits: &mut Vec<Edit>, drops: bool, text_key: &FieldPath) {
    if drops {
        edits.push(Edit::Remove(text_key.as_str().to_owned()));
    }
}
