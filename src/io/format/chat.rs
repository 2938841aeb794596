//! What the formats for training share: their options, and the one writer of all [`Shape`]s.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::conversation::{
    Conversation, IMAGE_TOKEN, Role, RowTokens, TokenPlace, Turn, VIDEO_MARK, Video,
};
use super::from::{self, Asked, Images, Origin, Question, Reader};
use super::questions::Questions;
use super::shape::{ImageField, Parts, Shape, VideoField};
use super::{
    FormatError, FormatOption, Made, OptionKind, Options, Renderer, Setting, push_ascii_json,
};
use crate::io::Input;
use crate::io::paths::PathWriter;
use crate::sample::{FATE, FieldPath, ImageSlot, RowError, Sample};

/// What the records are made of.
pub const FROM: FormatOption = FormatOption {
    name: "from",
    argument: "from",
    kind: OptionKind::Word(from::WORDS),
    doc: "What the records are made of: `dj`, which are Data-Juicer rows, or records of another format.",
};

/// Questions by id.
pub const QUESTIONS: FormatOption = FormatOption {
    name: "questions",
    argument: "questions",
    kind: OptionKind::File,
    doc: "The file of records (`stage_1.json`) whose ids and first human turns are restored.",
};

/// One question.
pub const QUESTION: FormatOption = FormatOption {
    name: "question",
    argument: "question",
    kind: OptionKind::Text,
    doc: "The question that every caption answers; rows that are conversations keep theirs.",
};

/// Several images.
pub const IMAGES: FormatOption = FormatOption {
    name: "images",
    argument: "images",
    kind: OptionKind::Word(&["one", "list"]),
    doc: "What becomes of rows with several images: `one` refuses them, `list` writes a list, one token an image, as LLaVA-NeXT and MGM read it.",
};

/// Where system texts go.
pub const SYSTEM: FormatOption = FormatOption {
    name: "system",
    argument: "system",
    kind: OptionKind::Word(&["keep", "move", "drop"]),
    doc: "Where a system text goes: `keep` makes it the first turn, `move` a field `system`, `drop` leaves it out.",
};

/// Where tokens stand.
pub const TOKEN: FormatOption = FormatOption {
    name: "token",
    argument: "token",
    kind: OptionKind::Word(&["ends", "keep", "first"]),
    doc: "Where `<image>` stands: `ends` at the start or end of the first question (several where they are), `keep` where it is, `first` at the start of the first question.",
};

/// What becomes of ids.
pub const IDS: FormatOption = FormatOption {
    name: "ids",
    argument: "ids",
    kind: OptionKind::Word(&["keep", "string", "none"]),
    doc: "What becomes of ids: `keep` writes them as they are, `string` as strings in every record (empty where there is none), `none` leaves them out.",
};

/// Which record comes first.
pub const FIRST_ROW: FormatOption = FormatOption {
    name: "first_row",
    argument: "first-row",
    kind: OptionKind::Word(&["complete", "as_is"]),
    doc: "Which record a file begins with: `complete` moves the first one with an image there, from which loaders that infer types take them; `as_is` leaves the order.",
};

/// Whether records may have videos.
pub const VIDEOS: FormatOption = FormatOption {
    name: "videos",
    argument: "videos",
    kind: OptionKind::Flag,
    doc: "Records may have videos, `<video>` in a question stands for one: LLaVA's have a field `video`, messages a list `videos` in every record. Without it rows with videos are refused.",
};

/// What stands for a video.
pub const VIDEO_TOKEN: FormatOption = FormatOption {
    name: "video_token",
    argument: "video-token",
    kind: OptionKind::Word(&["video", "image"]),
    doc: "With `videos`, what stands for one in a question: `<video>`, as Qwen-VL and InternVL read it, or `<image>`, as LLaVA-NeXT does.",
};

/// How images are addressed.
pub const URL: FormatOption = FormatOption {
    name: "url",
    argument: "url",
    kind: OptionKind::Word(&["path", "file", "data"]),
    doc: "How parts address images: by their `path`, as ms-swift reads it, as a `file` URL, or as a `data` URL that holds the file.",
};

/// Where a system text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// It is the first turn.
    Keep,
    /// A field of its own.
    Move,
    /// Nowhere.
    Drop,
}

/// What becomes of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// As they are.
    Keep,
    /// As strings, in every record.
    String,
    /// Left out.
    None,
}

/// How parts address images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Address {
    Path,
    File,
    Data,
}

/// What a format does unless options say otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Usual {
    /// Several images.
    pub images: Images,
    /// Where a system text goes.
    pub system: System,
    /// Where tokens stand.
    pub token: TokenPlace,
    /// What becomes of ids.
    pub ids: Ids,
}

/// What the writer needs to know of all renderers.
struct Writer {
    shape: &'static Shape,
    reader: Box<dyn Reader>,
    tokens: RowTokens,
    place: TokenPlace,
    system: System,
    ids: Ids,
    address: Address,
    /// The field of videos and what stands for one, if records may have some.
    videos: Option<(VideoField, &'static str)>,
    paths: PathWriter,
    /// Where a row says what became of it, if records are to say so.
    fate: Option<FieldPath>,
}

/// What writes records of `shape`.
///
/// # Errors
/// If a file that an option names cannot be used, or options do not go together.
pub fn renderer(shape: &'static Shape, usual: Usual, options: &Options, setting: Setting) -> Made {
    let origin = origin(options, from::ORIGINS[0].name)?;
    let images = match options.word(IMAGES.name) {
        Some("list") => Images::List,
        Some(_) => Images::One,
        None => usual.images,
    };
    let place = match options.word(TOKEN.name) {
        Some("ends") => TokenPlace::Ends,
        Some("keep") => TokenPlace::Keep,
        Some(_) => TokenPlace::First,
        None => usual.token,
    };
    let tokens = tokens(origin, &setting);
    let asked = Asked {
        tokens: tokens.clone(),
        question: question(options)?,
        images,
        place,
    };
    Ok(Box::new(Writer {
        shape,
        reader: origin.reader(asked, &setting)?,
        tokens,
        place,
        system: match options.word(SYSTEM.name) {
            Some("keep") => System::Keep,
            Some("move") => System::Move,
            Some(_) => System::Drop,
            None => usual.system,
        },
        ids: match options.word(IDS.name) {
            Some("keep") => Ids::Keep,
            Some("string") => Ids::String,
            Some(_) => Ids::None,
            None => usual.ids,
        },
        address: match options.word(URL.name) {
            Some("data") => Address::Data,
            Some("file") => Address::File,
            _ => Address::Path,
        },
        videos: shape
            .videos
            .filter(|_| options.flag(VIDEOS.name))
            .map(|field| match options.word(VIDEO_TOKEN.name) {
                Some("image") => (field, IMAGE_TOKEN),
                _ => (field, VIDEO_MARK),
            }),
        fate: setting.tells_fate.then(|| FieldPath::new(FATE)),
        paths: setting.paths,
    }))
}

/// What an output is made of.
///
/// # Errors
/// Never for options that were checked.
pub fn origin(options: &Options, usual: &str) -> Result<&'static Origin, FormatError> {
    let word = options.word(FROM.name).unwrap_or(usual);
    Origin::named(word).ok_or_else(|| FormatError(format!("this djr reads no format '{word}'")))
}

/// The tokens of what an output is made of: only rows have their own.
#[must_use]
pub fn tokens(origin: &Origin, setting: &Setting) -> RowTokens {
    let rows = |token: &str| {
        if origin.is_rows() {
            token.to_owned()
        } else {
            String::new()
        }
    };
    RowTokens {
        image: rows(&setting.image_token),
        eoc: rows(&setting.eoc_token),
    }
}

/// Where captions get their questions from.
///
/// # Errors
/// If the file cannot be read, or there are two such places.
pub fn question(options: &Options) -> Result<Question, FormatError> {
    match (options.file(QUESTIONS.name), options.text(QUESTION.name)) {
        (Some(_), Some(_)) => Err(FormatError(
            "a file of questions and one question for all do not go together".into(),
        )),
        (Some(path), None) => Questions::load(&Input::File(path.to_owned()))
            .map(|questions| Question::File(Arc::new(questions)))
            .map_err(|error| FormatError(error.to_string())),
        (None, Some(question)) => Ok(Question::Same(question.to_owned())),
        (None, None) => Ok(Question::None),
    }
}

impl Renderer for Writer {
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        let mut said = self.reader.read(sample)?;
        if self.system == System::Drop {
            said.system = None;
        }
        said.check_order()?;
        if self.videos.is_none() && !said.videos.is_empty() {
            return Err(RowError::new(
                "field_unplaced",
                "the row has videos, which this output has no place for (`videos: true` gives LLaVA's records and messages one)",
            ));
        }
        said.place_videos()?;
        said.place_tokens(self.place, &self.tokens)?;
        said.check_words(&self.tokens)?;
        if let Some((_, token)) = self.videos.filter(|_| !said.videos.is_empty()) {
            said.mark_videos(token);
        }
        self.write(said, out)?;
        if let Some(field) = &self.fate
            && let Some(fate) = sample.value(field)?
        {
            out.pop();
            out.extend_from_slice(b", ");
            name(FATE, out);
            out.extend_from_slice(fate.to_string().as_bytes());
            out.push(b'}');
        }
        Ok(())
    }
}

impl Writer {
    fn write(&self, mut said: Conversation<'_>, out: &mut Vec<u8>) -> Result<(), RowError> {
        out.push(b'{');
        match (self.ids, &said.id) {
            (Ids::Keep, Some(id)) => {
                out.extend_from_slice(b"\"id\": ");
                out.extend_from_slice(id.json.as_bytes());
                out.extend_from_slice(b", ");
            }
            (Ids::String, id) => {
                out.extend_from_slice(b"\"id\": ");
                push_ascii_json(id.as_ref().map_or("", |id| &id.text), out);
                out.extend_from_slice(b", ");
            }
            (Ids::Keep | Ids::None, _) => {}
        }
        let whole = matches!(self.shape.images, ImageField::List(_) | ImageField::InTurns);
        match (self.system, said.system.take()) {
            (System::Move, None) if whole => out.extend_from_slice(b"\"system\": \"\", "),
            (System::Move, Some(system)) => {
                out.extend_from_slice(b"\"system\": ");
                push_ascii_json(&system, out);
                out.extend_from_slice(b", ");
            }
            (System::Keep, Some(system)) => said.turns.insert(
                0,
                Turn {
                    role: Role::System,
                    value: system,
                },
            ),
            _ => {}
        }
        let slots = said.pictures.slots();
        name(self.shape.turns, out);
        out.push(b'[');
        let mut next = slots.iter();
        for (index, turn) in said.turns.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            out.push(b'{');
            name(self.shape.role, out);
            push_ascii_json(self.shape.roles.word(&turn.role), out);
            out.extend_from_slice(b", ");
            name(self.shape.content, out);
            match self.shape.parts {
                Parts::Text => push_ascii_json(&turn.value, out),
                _ => self.parts(&turn.value, &mut next, out)?,
            }
            out.push(b'}');
        }
        out.push(b']');
        self.images(slots, out)?;
        if let Some((field, _)) = self.videos {
            self.videos(field, &said.videos, out)?;
        }
        out.push(b'}');
        Ok(())
    }

    fn videos(
        &self,
        field: VideoField,
        videos: &[Video],
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        let alone = match (field, videos) {
            (VideoField::OneOrList(_), []) => return Ok(()),
            (VideoField::OneOrList(_), [_]) => true,
            _ => false,
        };
        out.extend_from_slice(b", ");
        name(field.key(), out);
        if !alone {
            out.push(b'[');
        }
        for (index, video) in videos.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            push_ascii_json(&self.paths.rewrite(&video.written, &video.path)?, out);
        }
        if !alone {
            out.push(b']');
        }
        Ok(())
    }

    fn images(&self, slots: &[ImageSlot], out: &mut Vec<u8>) -> Result<(), RowError> {
        let (key, alone) = match (self.shape.images, slots) {
            (ImageField::InTurns, _) | (ImageField::OneOrList(_), []) => return Ok(()),
            (ImageField::OneOrList(key), [_]) => (key, true),
            (ImageField::OneOrList(key) | ImageField::List(key), _) => (key, false),
        };
        out.extend_from_slice(b", ");
        name(key, out);
        if !alone {
            out.push(b'[');
        }
        for (index, slot) in slots.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            push_ascii_json(&self.path(slot)?, out);
        }
        if !alone {
            out.push(b']');
        }
        Ok(())
    }

    fn path<'a>(&self, slot: &'a ImageSlot) -> Result<Cow<'a, str>, RowError> {
        has_file(slot)?;
        self.paths.image(slot)
    }

    /// A turn as a list of texts and images. A line break beside an image only set it apart.
    fn parts<'i>(
        &self,
        value: &str,
        images: &mut impl Iterator<Item = &'i ImageSlot>,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        let pieces: Vec<&str> = value.split(IMAGE_TOKEN).collect();
        let last = pieces.len().saturating_sub(1);
        let mut any = false;
        let mut begin = |out: &mut Vec<u8>| {
            out.extend_from_slice(if any { b", {" } else { b"{" });
            any = true;
        };
        out.push(b'[');
        for (index, piece) in pieces.into_iter().enumerate() {
            if index > 0 {
                begin(out);
                self.image_part(images.next(), out)?;
                out.push(b'}');
            }
            let after = piece.strip_prefix('\n').filter(|_| index > 0);
            let piece = after.unwrap_or(piece);
            let before = piece.strip_suffix('\n').filter(|_| index < last);
            let piece = before.unwrap_or(piece);
            if !piece.is_empty() {
                begin(out);
                out.extend_from_slice(b"\"type\": \"text\", \"text\": ");
                push_ascii_json(piece, out);
                out.push(b'}');
            }
        }
        out.push(b']');
        Ok(())
    }

    fn image_part(&self, slot: Option<&ImageSlot>, out: &mut Vec<u8>) -> Result<(), RowError> {
        if self.shape.parts == Parts::Blocks {
            out.extend_from_slice(b"\"type\": \"image\"");
            return Ok(());
        }
        let slot = slot
            .ok_or_else(|| RowError::new("image_token_count", "more image tokens than images"))?;
        let url = match self.address {
            Address::Path => self.path(slot)?,
            Address::File => Cow::Owned(file_url(&self.path(slot)?)),
            Address::Data => {
                let kind = slot.header()?.format.name().to_ascii_lowercase();
                let data = STANDARD.encode(slot.content()?);
                Cow::Owned(format!("data:image/{kind};base64,{data}"))
            }
        };
        out.extend_from_slice(b"\"type\": \"image_url\", \"image_url\": {\"url\": ");
        push_ascii_json(&url, out);
        out.push(b'}');
        Ok(())
    }
}

/// Sees that a record can name the image by a path.
///
/// # Errors
/// `image_has_no_file`.
pub fn has_file(slot: &ImageSlot) -> Result<(), RowError> {
    if slot.attached().is_some() {
        return Err(RowError::new(
            "image_has_no_file",
            format!(
                "image '{}' came with the row; a record can only name a file",
                slot.written()
            ),
        ));
    }
    Ok(())
}

/// A path as a `file` URL, as readers take it that only cut off `file://`.
fn file_url(path: &str) -> String {
    if path.contains("://") {
        path.to_owned()
    } else {
        format!("file://{path}")
    }
}

/// The name of a member.
fn name(name: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\": ");
}
