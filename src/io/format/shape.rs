//! How conversations lie in the records of a format, as data: readers and writers of all of them
//! are the same code.

use super::conversation::Role;

/// How a format writes a conversation.
#[derive(Debug)]
pub struct Shape {
    /// The field of the turns.
    pub turns: &'static str,
    /// In a turn, the field of who speaks.
    pub role: &'static str,
    /// In a turn, the field of what is said.
    pub content: &'static str,
    /// What the speakers are called.
    pub roles: Roles,
    /// What a turn's content is.
    pub parts: Parts,
    /// The field of the images.
    pub images: ImageField,
    /// The field of the videos, if records may have some.
    pub videos: Option<VideoField>,
}

/// What the speakers of a format are called.
#[derive(Debug, Clone, Copy)]
pub struct Roles {
    /// Who says how the model is to be.
    pub system: &'static str,
    /// Who asks.
    pub user: &'static str,
    /// Who answers.
    pub assistant: &'static str,
}

/// What the content of a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// A text in which `<image>` stands for an image.
    Text,
    /// A list of texts and of images that hold their address.
    Addressed,
    /// A list of texts and of blocks that stand for the images of the record, in order.
    Blocks,
}

/// Where a record has its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageField {
    /// A field that is there where there is an image: a path, or a list of several.
    OneOrList(&'static str),
    /// A field that every record has: a list, which may be empty.
    List(&'static str),
    /// In the turns.
    InTurns,
}

/// Where a record has its videos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoField {
    /// A field that is there where there is a video: a path, or a list of several.
    OneOrList(&'static str),
    /// A list that every record has, which may be empty.
    List(&'static str),
}

impl VideoField {
    /// Its name.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::OneOrList(key) | Self::List(key) => key,
        }
    }
}

impl ImageField {
    /// Its name.
    #[must_use]
    pub fn key(self) -> Option<&'static str> {
        match self {
            Self::OneOrList(key) | Self::List(key) => Some(key),
            Self::InTurns => None,
        }
    }
}

impl Roles {
    /// The role called `word`.
    #[must_use]
    pub fn role(&self, word: &str) -> Role {
        match word {
            word if word == self.system => Role::System,
            word if word == self.user => Role::User,
            word if word == self.assistant => Role::Assistant,
            other => Role::Other(other.to_owned()),
        }
    }

    /// What a role is called.
    #[must_use]
    pub fn word<'r>(&self, role: &'r Role) -> &'r str {
        match role {
            Role::System => self.system,
            Role::User => self.user,
            Role::Assistant => self.assistant,
            Role::Other(word) => word,
        }
    }
}
