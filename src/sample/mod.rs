//! One row of a dataset: its bytes, its fields, its images and what filters measured of it.
//!
//! A [`Sample`] keeps the line it came from and decodes a field only when an operator asks for
//! it. A field that nobody changed is written back exactly as it was read: numbers, escapes,
//! duplicate keys and spacing survive. Operators see rows only through this module.

mod attached;
mod error;
mod file;
pub(crate) mod frame;
mod group;
mod images;
mod json;
mod media;
mod not_finite;
mod path;
mod produced;
mod read;
mod row;
mod scan;
mod stats;
mod words;

/// The field that says what became of a row which has come to an end.
pub const FATE: &str = "__dj__fate__";

/// Names the dataset of a row where an operator asks for a stat or field: what the recipe calls the
/// input that it is from. No row has it as a field.
pub const DATASET: &str = "__dj__dataset__";

pub use attached::{Attachment, Attachments, Locator};
pub use error::RowError;
pub use file::{RowFile, is_url, lies_below};
pub use group::Group;
pub use images::{
    ImageCheck, ImageContext, ImageCounts, ImageNeed, ImageSlot, is_normal, join, normalise,
    originals, simplify,
};
pub use json::{JsonText, RawJson, compact_json, push_escaped, push_string, python_json};
pub use media::each_path;
pub use not_finite::{as_text, blanked, float_of, read_json, word_of};
pub use path::FieldPath;
pub use produced::Produced;
pub use read::{Unread, read_row, read_row_into};
pub use row::{Changed, HashColumns, NewImage, Origin, Sample};
pub use scan::is_plain_string;
pub use stats::{StatKey, StatSource, StatValue, Stats};
pub(crate) use words::words;
