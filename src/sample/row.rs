//! [`Sample`]: a line of JSONL that is decoded field by field, on demand.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::file::{FILE, IMAGE, Place};
use super::json::{JsonText, push_string, python_json};
use super::not_finite::{blanked, float_of, read_json};
use super::scan::{self, Member};
use super::{
    Attachment, FieldPath, ImageContext, ImageCounts, ImageSlot, Produced, RowError, RowFile, Stats,
};
use crate::note::{Code, Codes};
use crate::text::{TextCounts, WordCutter, Words};

/// Where a row came from. `offset` is its identity: the offset in bytes of its line in the
/// (decompressed) inputs laid end to end, each ended by a newline. It does not change when the
/// same rows are cut into other files. The parts that an operator made of a row share it and are
/// told apart by `part`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Origin {
    /// Global byte offset of the line.
    pub offset: u64,
    /// Index of the input file in the plan's list.
    pub file: u32,
    /// Line number in that file, from 1.
    pub line: u64,
    /// Which part of the line's row it is; 0 for the row itself and for the first of its parts.
    pub part: u64,
    /// Which further copy of the row it is, where a selector took the row more than once; 0 for the
    /// row itself.
    pub copy: u64,
}

impl Origin {
    /// The same line's part `number` (from 0) of this row. Parts of parts count on in the bits
    /// above, so that no two rows that exist at one time share a number.
    #[must_use]
    pub fn part(self, number: u64) -> Self {
        Self {
            part: (self.part << PART_BITS) | number,
            ..self
        }
    }

    /// The copy of the row, or of a copy of it, whose number is greater by `more`.
    #[must_use]
    pub fn copied(self, more: u64) -> Self {
        Self {
            copy: self.copy.wrapping_add(more),
            ..self
        }
    }

    /// The identity of the row and its copies: the offset, for a further part mixed with its number.
    #[must_use]
    pub fn identity(&self) -> u64 {
        mixed(self.offset, self.part)
    }

    /// What draws go by: the identity, for a copy mixed with its number.
    #[must_use]
    pub fn lot(&self) -> u64 {
        mixed(self.identity(), self.copy)
    }
}

/// A number told from others of the same `base`; the base itself where it is the first.
fn mixed(base: u64, number: u64) -> u64 {
    if number == 0 {
        return base;
    }
    let mut bytes = [0; 16];
    let (first, second) = bytes.split_at_mut(8);
    first.copy_from_slice(&base.to_le_bytes());
    second.copy_from_slice(&number.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

/// A row of more bytes has texts that are worth freeing.
const LONG_LINE: usize = 1 << 20;

/// A row has fewer than a million parts; more would only share a number.
const PART_BITS: u32 = 20;

/// Hashes that deduplicators computed, shared between them as Data-Juicer's hash columns are: a
/// second deduplicator of the same kind reuses the first one's value.
#[derive(Debug, Clone, Default)]
pub struct HashColumns {
    /// `__dj__hash`: MD5 of the (cleaned) text.
    pub text: OnceCell<[u8; 16]>,
    /// `__dj__imagehash`: concatenated perceptual hashes in hexadecimal.
    pub image: OnceCell<String>,
    /// One key a band of `__dj__minhash`.
    pub minhash_bands: OnceCell<Vec<u64>>,
    /// `__dj__simhash`.
    pub simhash: OnceCell<u64>,
}

/// An image that takes the place of others of a row.
#[derive(Debug)]
pub struct NewImage {
    /// Its path as the row will have it.
    pub written: String,
    /// The content of its file.
    pub file: Vec<u8>,
    /// The numbers, from 0, of the images that it replaces.
    pub places: Vec<usize>,
}

/// One row: an ordered JSON object that remembers the bytes it was read from.
#[derive(Debug)]
pub struct Sample {
    line: String,
    fields: SmallVec<[Field; 4]>,
    origin: Origin,
    images: OnceCell<Result<Vec<ImageSlot>, RowError>>,
    words: RefCell<Vec<CutText>>,
    /// Those of the text in the field of this index.
    counts: Cell<Option<(usize, TextCounts)>>,
    /// An empty text whose room is used again.
    spare: RefCell<String>,
    context: Arc<ImageContext>,
    produced: Vec<Arc<Produced>>,
    attached: Vec<Attachment>,
    /// Which fields are not as the input has them, though they stand in the line.
    changed: Changed,
    /// What images cost that the row no longer has.
    spent: ImageCounts,
    edits: u32,
    /// What the step in hand has to note of it.
    remarks: Cell<Codes>,
    /// What earlier steps had to note of it, by their index.
    pub remarked: SmallVec<[(usize, Codes); 1]>,
    /// What filters measured so far.
    pub stats: Stats,
    /// What deduplicators hashed so far.
    pub hashes: HashColumns,
}

#[derive(Debug, Clone)]
struct Field {
    key: Key,
    /// Where the member (`"key": value`) lies in the line; `None` for an added field.
    member: Option<Range<usize>>,
    /// Where its value lies in the line; kept after an edit so that it can be spliced.
    raw: Option<Range<usize>>,
    content: Content,
}

/// What earlier phases made of a row whose line is no longer the one that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Changed {
    /// Nothing: the line is the one that was read.
    #[default]
    Nothing,
    /// They wrote these fields.
    Fields(Vec<String>),
    /// The row was made of several.
    All,
}

impl Changed {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Fields(names) => names.iter().any(|known| known == name),
            Self::All => true,
        }
    }
}

/// The words of one field as one cutter cuts it.
#[derive(Debug)]
struct CutText {
    path: FieldPath,
    lang: Option<Box<str>>,
    words: Arc<Words>,
    /// Whether they are those of the row as it is now; else only their room is of use.
    current: bool,
}

impl Field {
    fn read(Member { key, value }: Member) -> Self {
        Self {
            // The quote before it belongs to the member.
            member: Some(key.start - 1..value.end),
            key: Key::Span(key),
            raw: Some(value),
            content: Content::Raw {
                decoded: OnceCell::new(),
            },
        }
    }
}

#[derive(Debug, Clone)]
enum Key {
    Span(Range<usize>),
    Owned(Box<str>),
}

#[derive(Debug, Clone)]
enum Content {
    /// As read. `decoded` holds the text once somebody asked for it and it had escapes.
    Raw { decoded: OnceCell<String> },
    /// A text that an operator wrote.
    Text(String),
    /// Another value that an operator wrote. Rare, so that a field is small.
    Json(Box<Value>),
    /// Removed: the field is not written.
    Removed,
}

impl Sample {
    /// Reads one line (without its newline) that must hold a JSON object.
    ///
    /// # Errors
    /// `json_invalid` if it is not valid JSON, `json_not_object` if it is not an object.
    pub fn parse(
        line: String,
        origin: Origin,
        context: Arc<ImageContext>,
    ) -> Result<Self, RowError> {
        Self::read(line, origin, context).map_err(|(error, _)| error)
    }

    /// As [`Sample::parse`], but gives a line back that is no row.
    ///
    /// # Errors
    /// Those of [`Sample::parse`].
    pub fn read(
        line: String,
        origin: Origin,
        context: Arc<ImageContext>,
    ) -> Result<Self, (RowError, String)> {
        if !line.starts_with('{') && !line.trim_start_matches(JSON_SPACE).starts_with('{') {
            return Err((not_an_object(&line), line));
        }
        let mut sample = Self::empty(context);
        match scan_members(&line, &mut sample.fields) {
            Ok(()) => {
                sample.line = line;
                sample.origin = origin;
                Ok(sample)
            }
            Err(error) => Err((error, line)),
        }
    }

    /// A row without fields, to be read into.
    #[must_use]
    pub fn empty(context: Arc<ImageContext>) -> Self {
        Self {
            line: String::new(),
            fields: SmallVec::new(),
            origin: Origin::default(),
            images: OnceCell::new(),
            words: RefCell::default(),
            counts: Cell::default(),
            spare: RefCell::default(),
            context,
            produced: Vec::new(),
            attached: Vec::new(),
            changed: Changed::Nothing,
            spent: ImageCounts::default(),
            edits: 0,
            remarks: Cell::default(),
            remarked: SmallVec::new(),
            stats: Stats::default(),
            hashes: HashColumns::default(),
        }
    }

    /// Makes this the row of another line; what it was before is forgotten, its room used again.
    ///
    /// # Errors
    /// Those of [`Sample::parse`]; the row has no fields then.
    pub fn read_again(&mut self, line: &str, origin: Origin) -> Result<(), RowError> {
        self.forget();
        if !line.starts_with('{') && !line.trim_start_matches(JSON_SPACE).starts_with('{') {
            return Err(not_an_object(line));
        }
        if let Err(error) = scan_members(line, &mut self.fields) {
            self.fields.clear();
            return Err(error);
        }
        self.line.push_str(line);
        self.origin = origin;
        Ok(())
    }

    /// Makes the row one without fields.
    fn forget(&mut self) {
        let Self {
            line,
            fields,
            origin,
            images,
            words: _,
            counts: _,
            spare,
            context: _,
            produced,
            attached,
            changed,
            spent,
            edits,
            remarks,
            remarked,
            stats,
            hashes,
        } = self;
        let long = line.capacity() >= LONG_LINE;
        if long {
            *line = String::new();
        } else {
            line.clear();
            for field in fields.iter_mut() {
                if let Content::Raw { decoded } = &mut field.content
                    && let Some(mut text) = decoded.take()
                {
                    text.clear();
                    *spare.get_mut() = text;
                }
            }
        }
        fields.clear();
        *origin = Origin::default();
        images.take();
        produced.clear();
        attached.clear();
        *changed = Changed::Nothing;
        *spent = ImageCounts::default();
        *edits = 0;
        remarks.take();
        remarked.clear();
        stats.clear();
        *hashes = HashColumns::default();
        self.outdate_texts();
        if long {
            self.words.get_mut().clear();
        }
    }

    /// Gives the row what came with it.
    pub fn attach(&mut self, attached: &[Attachment]) {
        self.attached.extend_from_slice(attached);
    }

    /// The row with what came with it.
    #[must_use]
    pub fn with_attached(mut self, attached: Vec<Attachment>) -> Self {
        self.attached = attached;
        self
    }

    /// The paths of the row's images as they stand in the line: nothing if the field of images is
    /// no list of plain texts, or they were looked at or came with the row.
    #[must_use]
    pub fn paths_as_read(&self) -> Option<SmallVec<[&str; 1]>> {
        if self.images.get().is_some() || !self.produced.is_empty() || !self.attached.is_empty() {
            return None;
        }
        scan::plain_texts(self.raw_json(&self.context.image_key)?)
    }

    /// The row, whose line earlier phases wrote.
    #[must_use]
    pub fn with_changed(mut self, changed: Changed) -> Self {
        self.changed = changed;
        self
    }

    /// What of the row is not as its input has it.
    #[must_use]
    pub fn changed(&self) -> Changed {
        let mut names = match &self.changed {
            Changed::All => return Changed::All,
            Changed::Nothing => Vec::new(),
            Changed::Fields(names) => names.clone(),
        };
        for field in &self.fields {
            if matches!(field.content, Content::Text(_) | Content::Json(_)) {
                let name = self.key_text(&field.key);
                if names.iter().all(|known| **known != *name) {
                    names.push(name.into_owned());
                }
            }
        }
        if names.is_empty() {
            Changed::Nothing
        } else {
            Changed::Fields(names)
        }
    }

    /// Whether the row was made of several, so that no input has it.
    #[must_use]
    pub fn is_made_of_several(&self) -> bool {
        self.changed == Changed::All
    }

    /// Whether a field is there as its input has it.
    #[must_use]
    pub fn is_as_read(&self, name: &str) -> bool {
        self.raw_json(name).is_some() && !self.changed.has(name)
    }

    /// The content of what came with the row.
    ///
    /// # Errors
    /// `file_unreadable`.
    pub fn attachment(&self, attached: &Attachment) -> Result<bytes::Bytes, RowError> {
        if let Some(content) = &attached.here {
            return Ok(content.clone());
        }
        let read = match &self.context.attachments {
            Some(attachments) => attachments.read(attached, u64::MAX),
            None => Err(std::io::Error::other("its input is not at hand")),
        };
        let context = Arc::clone(&self.context);
        let place = || Place::new(attached.name.to_string(), self.origin.file, context, &FILE);
        read.map_err(|error| place().io_error(&error))
    }

    /// The row with its images in files of their own below `directory`, which are written if it
    /// lives.
    ///
    /// # Errors
    /// Those of [`Sample::images`] and [`ImageSlot::content`].
    pub fn with_copies(&self, directory: &Path) -> Result<Self, RowError> {
        let mut copy = self.part(0, Vec::new())?;
        copy.origin = self.origin;
        let images = self.images()?;
        if images.is_empty() {
            return Ok(copy);
        }
        let identity = self.origin.identity();
        // A folder is to have some thousands of files, not millions.
        let folder = xxhash_rust::xxh3::xxh3_64(&identity.to_le_bytes()) % 1000;
        let mut slots = Vec::with_capacity(images.len());
        for (number, image) in images.iter().enumerate() {
            let bytes = image.content()?;
            let written = Path::new(image.written()).extension();
            let ending = written.map_or(String::new(), |it| format!(".{}", it.to_string_lossy()));
            let name = format!("{folder:03}/{identity:012}-{number}{ending}");
            let path = directory.join(name);
            let written = path.to_str().map(str::to_owned).ok_or_else(|| {
                let why = "the folder of copies has a name that is no Unicode";
                RowError::new("image_path_invalid", why)
            })?;
            let produced = Arc::new(Produced {
                written,
                path,
                root: None,
                bytes: bytes.to_vec(),
            });
            let context = Arc::clone(&self.context);
            slots.push(ImageSlot::of_produced(
                Arc::clone(&produced),
                self.origin.file,
                context,
            ));
            copy.produced.push(produced);
        }
        copy.put_images(slots, self.image_field_is_list());
        Ok(copy)
    }

    /// What came with the row.
    #[must_use]
    pub fn attached(&self) -> &[Attachment] {
        &self.attached
    }

    /// A copy of the row that is its part `number`, with other values in some fields. It opens its
    /// images anew.
    ///
    /// # Errors
    /// Those of [`Sample::set_text`].
    pub fn part(&self, number: u64, edits: Vec<(FieldPath, Value)>) -> Result<Self, RowError> {
        let mut part = Self {
            line: self.line.clone(),
            fields: self.fields.clone(),
            origin: self.origin.part(number),
            images: OnceCell::new(),
            words: RefCell::default(),
            counts: Cell::default(),
            spare: RefCell::default(),
            context: Arc::clone(&self.context),
            produced: self.produced.clone(),
            attached: self.attached.clone(),
            changed: self.changed.clone(),
            spent: ImageCounts::default(),
            edits: self.edits,
            remarks: Cell::default(),
            remarked: self.remarked.clone(),
            stats: self.stats.clone(),
            hashes: self.hashes.clone(),
        };
        for (path, value) in edits {
            match value {
                Value::String(text) => part.set_text(&path, text)?,
                other => part.set_value(path.as_str(), other),
            }
        }
        Ok(part)
    }

    /// The step in hand notes this of the row. It changes nothing; the run counts such rows.
    pub fn remark(&self, code: Code) {
        let mut remarks = self.remarks.get();
        remarks.insert(code);
        self.remarks.set(remarks);
    }

    /// What the step in hand noted of the row, once.
    pub fn take_remarks(&self) -> Codes {
        self.remarks.take()
    }

    /// Where the row came from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// What the dataset is called that the row is from, if it has a name.
    #[must_use]
    pub fn dataset(&self) -> Option<&str> {
        let names = &self.context.datasets;
        names
            .get(self.origin.file as usize)
            .map(std::string::String::as_str)
    }

    /// It is the copy whose number is greater by `more` from now on.
    pub fn become_copy(&mut self, more: u64) {
        self.origin = self.origin.copied(more);
    }

    /// The line as it was read, whatever was edited since.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The text at `path`: `None` if the field is missing or null.
    ///
    /// # Errors
    /// `wrong_type` if it is not a string, `lone_surrogate` if it is not valid Unicode.
    pub fn text(&self, path: &FieldPath) -> Result<Option<Cow<'_, str>>, RowError> {
        if let Some(index) = self.find(path.as_str()) {
            return self.text_of(index, path.as_str());
        }
        match self.nested(path)? {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(Cow::Owned(text))),
            Some(other) => Err(wrong_type(path.as_str(), "a string", &other)),
        }
    }

    /// The text at `path`, where a missing or null field is an error.
    ///
    /// # Errors
    /// `missing_field`, and those of [`Sample::text`].
    pub fn required_text(&self, path: &FieldPath) -> Result<Cow<'_, str>, RowError> {
        self.text(path)?.ok_or_else(|| {
            RowError::new(
                "missing_field",
                format!("field '{path}' is missing or null"),
            )
        })
    }

    /// The refined words of the text at `path`. They are cut once and shared by all operators that
    /// cut alike, until some field is changed.
    ///
    /// # Errors
    /// Those of [`Sample::required_text`].
    pub fn words(&self, path: &FieldPath, cutter: &WordCutter) -> Result<Arc<Words>, RowError> {
        let mut known = self.words.borrow_mut();
        let found = known
            .iter_mut()
            .find(|cut| cut.path == *path && cut.lang.as_deref() == cutter.lang());
        if let Some(cut) = found {
            if !cut.current {
                let text = self.required_text(path)?;
                if let Some(words) = Arc::get_mut(&mut cut.words) {
                    words.clear();
                    cutter.push_words(&text, words);
                } else {
                    cut.words = Arc::new(cutter.words(&text));
                }
                cut.current = true;
            }
            return Ok(Arc::clone(&cut.words));
        }
        let words = Arc::new(cutter.words(&self.required_text(path)?));
        known.push(CutText {
            path: path.clone(),
            lang: cutter.lang().map(Into::into),
            words: Arc::clone(&words),
            current: true,
        });
        Ok(words)
    }

    /// What several operators ask of the text at `path`, counted once for all of them, until some
    /// field is changed.
    ///
    /// # Errors
    /// Those of [`Sample::required_text`].
    pub fn text_counts(&self, path: &FieldPath) -> Result<TextCounts, RowError> {
        let index = self.find(path.as_str());
        if let Some((of, counts)) = self.counts.get()
            && index == Some(of)
        {
            return Ok(counts);
        }
        let counts = TextCounts::of(&self.required_text(path)?);
        self.counts.set(index.map(|index| (index, counts)));
        Ok(counts)
    }

    /// What was made of texts is no longer that of the row.
    fn outdate_texts(&mut self) {
        self.counts.take();
        for cut in self.words.get_mut() {
            cut.current = false;
        }
    }

    /// Any value at `path`, decoded: `None` if missing.
    ///
    /// # Errors
    /// `json_invalid` if the value cannot be decoded (a lone surrogate, nesting too deep).
    pub fn value(&self, path: &FieldPath) -> Result<Option<Value>, RowError> {
        match self.find(path.as_str()) {
            Some(index) => self.value_of(index).map(Some),
            None => self.nested(path),
        }
    }

    /// Whether a top-level field called `name` exists (null counts).
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Whether there is a field at `path` (null counts).
    #[must_use]
    pub fn has_at(&self, path: &FieldPath) -> bool {
        self.has(path.as_str()) || matches!(self.nested(path), Ok(Some(_)))
    }

    /// Replaces the text at `path`. A nested path rewrites its whole top-level field.
    ///
    /// # Errors
    /// `wrong_type` if a dotted path runs through something that is not an object.
    pub fn set_text(&mut self, path: &FieldPath, text: String) -> Result<(), RowError> {
        if self.find(path.as_str()).is_none() && path.descend().is_some() {
            return self.set_nested(path, Value::String(text));
        }
        self.put(path.as_str(), Content::Text(text));
        Ok(())
    }

    /// Sets a top-level field to any value, adding it at the end if it is new.
    pub fn set_value(&mut self, name: &str, value: Value) {
        self.put(name, Content::Json(Box::new(value)));
        if name == self.context.image_key {
            self.spent = self.image_counts();
            self.images = OnceCell::new();
        }
    }

    /// Opens the file that the text at `path` names, found as images are.
    ///
    /// # Errors
    /// Those of [`Sample::required_text`], and `file_missing`, `file_not_a_file`,
    /// `file_path_invalid`, `file_outside_root`, `file_unreadable`, `file_too_large`.
    pub fn file(&self, path: &FieldPath) -> Result<RowFile, RowError> {
        let written = self.required_text(path)?.into_owned();
        let context = Arc::clone(&self.context);
        RowFile::open(Place::new(written, self.origin.file, context, &FILE))
    }

    /// Where the file lies that the row calls `written`: joined with the root, `.` and `..`
    /// resolved where no link is on the way.
    #[must_use]
    pub fn path_of(&self, written: &str) -> PathBuf {
        let context = Arc::clone(&self.context);
        let place = Place::new(written.to_owned(), self.origin.file, context, &IMAGE);
        place.normal_path()
    }

    /// An image of the row that its field of images does not list, found as those are.
    #[must_use]
    pub fn image_at(&self, written: String) -> ImageSlot {
        let mut slots = self.slots(vec![written]);
        slots.swap_remove(0)
    }

    /// Replaces images by new ones: for each, its number in the row's list and the image that takes
    /// its place, as a path and the content of a file. The files are written if the row lives; until
    /// then the row has them in memory. An image may take several places.
    ///
    /// # Errors
    /// Those of [`Sample::images`], `image_path_invalid`, and with `confine` `image_outside_root`.
    pub fn replace_images(&mut self, new: Vec<NewImage>) -> Result<(), RowError> {
        if new.is_empty() {
            return Ok(());
        }
        self.images()?;
        let mut made = Vec::with_capacity(new.len());
        for image in new {
            let context = Arc::clone(&self.context);
            let place = Place::new(image.written, self.origin.file, context, &IMAGE);
            let produced = Produced {
                root: place.check_new()?,
                written: place.written().to_owned(),
                path: place.normal_path(),
                bytes: image.file,
            };
            made.push((Arc::new(produced), image.places));
        }
        let list = self.image_field_is_list();
        let mut slots = match self.images.take() {
            Some(slots) => slots?,
            None => Vec::new(),
        };
        for (produced, places) in made {
            for number in places {
                if let Some(slot) = slots.get_mut(number) {
                    self.spent.add(slot.counts());
                    let context = Arc::clone(&self.context);
                    let made = Arc::clone(&produced);
                    *slot = ImageSlot::of_produced(made, self.origin.file, context);
                }
            }
            self.produced.push(produced);
        }
        self.put_images(slots, list);
        Ok(())
    }

    /// Puts images in the place of those that the row had, as a list or as one.
    fn put_images(&mut self, slots: Vec<ImageSlot>, list: bool) {
        let mut paths: Vec<Value> = slots.iter().map(|slot| slot.written().into()).collect();
        let value = match (list, paths.pop()) {
            (false, Some(only)) if paths.is_empty() => only,
            (_, end) => paths.into_iter().chain(end).collect(),
        };
        let key = self.context.image_key.clone();
        self.put(&key, Content::Json(Box::new(value)));
        self.images = OnceCell::new();
        let _ = self.images.set(Ok(slots));
    }

    /// The files that operators made of the row.
    #[must_use]
    pub fn produced(&self) -> &[Arc<Produced>] {
        &self.produced
    }

    /// Removes a top-level field, if there.
    pub fn remove(&mut self, name: &str) {
        self.outdate_texts();
        if let Some(field) = self.find(name).and_then(|i| self.fields.get_mut(i)) {
            field.content = Content::Removed;
        }
    }

    /// The row's images in list order, each with its own lazy state. A string is one path; an
    /// empty one, a missing or null field means no image.
    ///
    /// # Errors
    /// `wrong_type` if the field is neither a list of strings, a string nor null.
    pub fn images(&self) -> Result<&[ImageSlot], RowError> {
        self.images
            .get_or_init(|| self.image_slots())
            .as_ref()
            .map(Vec::as_slice)
            .map_err(Clone::clone)
    }

    /// Of a group, the images of all its rows, and the image field as it is: a list of what those
    /// rows had there. `None` if it is no such list.
    #[must_use]
    pub fn group_images(&self) -> Option<(Vec<ImageSlot>, Value)> {
        let value = self.value_of(self.find(&self.context.image_key)?).ok()?;
        let mut paths = Vec::new();
        for row in value.as_array()? {
            match row {
                Value::Null => {}
                Value::String(path) => paths.push(path.clone()),
                Value::Array(items) => {
                    for item in items {
                        paths.push(item.as_str()?.to_owned());
                    }
                }
                _ => return None,
            }
        }
        Some((self.slots(paths), value))
    }

    /// Whether the text at `text` speaks of as many images, by `token`, as the row has; `None` if
    /// there is no text, or the images are not understood. Costs little where the field of images
    /// is a list that nobody asked for.
    #[must_use]
    pub fn images_match(&self, text: &FieldPath, token: &str) -> Option<bool> {
        let listed = match self.images.get() {
            Some(_) => None,
            None => match self.find(&self.context.image_key) {
                None => Some(0),
                Some(index) => self.raw_at(index).and_then(scan::texts_in),
            },
        };
        let images = match listed {
            Some(images) => images,
            None => self.images().ok()?.len(),
        };
        let spoken = count(&self.text(text).ok()??, token);
        Some(spoken == images)
    }

    /// Whether the image field is a text that holds a list: its paths are read, but nothing else is
    /// written in its place.
    #[must_use]
    pub fn image_field_is_quoted(&self) -> bool {
        if self.image_field_is_list() {
            return false;
        }
        let index = self.find(&self.context.image_key);
        let text = index.and_then(|index| self.text_of(index, "").ok().flatten());
        text.is_some_and(|text| list_in_text(&text).is_some())
    }

    /// Whether the image field is a list (and not a single path).
    #[must_use]
    pub fn image_field_is_list(&self) -> bool {
        let index = self.find(&self.context.image_key);
        let Some(field) = index.and_then(|index| self.fields.get(index)) else {
            return false;
        };
        match &field.content {
            Content::Raw { .. } => self.raw_of(field).starts_with('['),
            Content::Json(value) => value.is_array(),
            Content::Text(_) | Content::Removed => false,
        }
    }

    /// What was read of the row's images so far.
    #[must_use]
    pub fn image_counts(&self) -> ImageCounts {
        let mut sum = self.spent;
        if let Some(Ok(slots)) = self.images.get() {
            for slot in slots {
                sum.add(slot.counts());
            }
        }
        sum
    }

    /// Whether every image of the row was decoded without an error.
    #[must_use]
    pub fn images_known_to_decode(&self) -> bool {
        matches!(self.images.get(), Some(Ok(slots)) if slots.iter().all(ImageSlot::known_to_decode))
    }

    /// Frees pixels and file bytes that images hold; their headers stay.
    pub fn release_images(&mut self) {
        if let Some(Ok(slots)) = self.images.get_mut() {
            slots.iter_mut().for_each(ImageSlot::release);
        }
    }

    /// Frees what was decoded of very long texts; who asks again has it decoded again.
    pub fn release_texts(&mut self) {
        if self.line.len() < LONG_LINE {
            return;
        }
        self.words.get_mut().clear();
        for field in &mut self.fields {
            if let Content::Raw { decoded } = &mut field.content {
                decoded.take();
            }
        }
    }

    /// How images are found and checked.
    #[must_use]
    pub fn image_context(&self) -> &Arc<ImageContext> {
        &self.context
    }

    /// Top-level field names in order.
    pub fn keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.fields
            .iter()
            .filter(|f| !matches!(f.content, Content::Removed))
            .map(|f| self.key_text(&f.key))
    }

    /// The value of a top-level field exactly as it stands in the line; `None` if it is missing or
    /// was changed.
    #[must_use]
    pub fn raw_json(&self, name: &str) -> Option<&str> {
        self.raw_at(self.find(name)?)
    }

    fn raw_at(&self, index: usize) -> Option<&str> {
        let field = self.fields.get(index)?;
        matches!(field.content, Content::Raw { .. }).then(|| self.raw_of(field))
    }

    /// About how many bytes a top-level text or value has: as it stands in the line, or as a step wrote
    /// it. 0 if there is none.
    #[must_use]
    pub fn bytes_of(&self, name: &str) -> usize {
        let field = self.find(name).and_then(|index| self.fields.get(index));
        match field.map(|field| &field.content) {
            Some(Content::Raw { .. }) => field.map_or(0, |field| self.raw_of(field).len()),
            Some(Content::Text(text)) => text.len(),
            Some(Content::Json(_) | Content::Removed) | None => 0,
        }
    }

    /// The top-level fields in order, each by its name and as JSON; of duplicate keys the last.
    pub fn members(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.fields
            .iter()
            .enumerate()
            .filter(|(_, field)| !matches!(field.content, Content::Removed))
            .map(|(index, field)| (index, self.key_text(&field.key), field))
            .filter(|(index, name, _)| self.find(name) == Some(*index))
            .map(|(_, name, field)| (name, self.json_of(field)))
    }

    /// How many times a field was written: a step that leaves it as it was changed nothing.
    #[must_use]
    pub fn edits(&self) -> u32 {
        self.edits
    }

    /// Whether an operator changed, added or removed a field.
    #[must_use]
    pub fn is_edited(&self) -> bool {
        self.fields
            .iter()
            .any(|f| !matches!(f.content, Content::Raw { .. }))
    }

    /// Appends the row as one JSON object without a newline. Untouched parts of the line are
    /// copied byte for byte; `overrides` replaces (or adds) top-level fields.
    pub fn write_json(&self, overrides: &[(&str, &dyn JsonText)], out: &mut Vec<u8>) {
        if overrides.is_empty() && !self.is_edited() {
            out.extend_from_slice(trimmed(&self.line).as_bytes());
            return;
        }
        Splicer::new(self, out).run(overrides);
    }

    fn find(&self, name: &str) -> Option<usize> {
        // The last of duplicate keys wins, as in Python.
        let line = self.line.as_bytes();
        self.fields.iter().rposition(|field| {
            let is_it = match &field.key {
                Key::Span(span) => {
                    span.len() == name.len() && line.get(span.clone()) == Some(name.as_bytes())
                }
                Key::Owned(key) => **key == *name,
            };
            is_it && !matches!(field.content, Content::Removed)
        })
    }

    fn key_text<'a>(&'a self, key: &'a Key) -> Cow<'a, str> {
        match key {
            Key::Span(span) => Cow::Borrowed(self.line.get(span.clone()).unwrap_or_default()),
            Key::Owned(text) => Cow::Borrowed(text),
        }
    }

    fn raw_of(&self, field: &Field) -> &str {
        field
            .raw
            .clone()
            .and_then(|span| self.line.get(span))
            .unwrap_or("null")
    }

    fn json_of(&self, field: &Field) -> Cow<'_, str> {
        match &field.content {
            Content::Raw { .. } => Cow::Borrowed(self.raw_of(field)),
            Content::Text(text) => Cow::Owned(python_json(&Value::from(text.as_str()))),
            Content::Json(value) => Cow::Owned(python_json(value)),
            Content::Removed => Cow::Borrowed("null"),
        }
    }

    fn text_of(&self, index: usize, name: &str) -> Result<Option<Cow<'_, str>>, RowError> {
        let Some(field) = self.fields.get(index) else {
            return Ok(None);
        };
        match &field.content {
            Content::Text(text) => Ok(Some(Cow::Borrowed(text))),
            Content::Json(value) => match &**value {
                Value::String(text) => Ok(Some(Cow::Borrowed(text))),
                Value::Null => Ok(None),
                other => Err(wrong_type(name, "a string", other)),
            },
            Content::Removed => Ok(None),
            Content::Raw { decoded } => {
                let raw = self.raw_of(field);
                if raw == "null" {
                    return Ok(None);
                }
                let Some(inner) = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')) else {
                    return Err(wrong_type(name, "a string", &short_value(raw)));
                };
                if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
                    return Ok(Some(Cow::Borrowed(inner)));
                }
                if decoded.get().is_none() {
                    let mut text = self.spare.take();
                    if !scan::unescape(inner, &mut text) {
                        text = serde_json::from_str(raw).map_err(|e| undecodable(name, &e))?;
                    }
                    let _ = decoded.set(text);
                }
                Ok(decoded.get().map(|t| Cow::Borrowed(t.as_str())))
            }
        }
    }

    fn value_of(&self, index: usize) -> Result<Value, RowError> {
        let Some(field) = self.fields.get(index) else {
            return Ok(Value::Null);
        };
        match &field.content {
            Content::Text(text) => Ok(Value::String(text.clone())),
            Content::Json(value) => Ok((**value).clone()),
            Content::Removed => Ok(Value::Null),
            Content::Raw { .. } => {
                let name = || self.key_text(&field.key);
                read_json(self.raw_of(field)).map_err(|e| undecodable(&name(), &e))
            }
        }
    }

    fn nested(&self, path: &FieldPath) -> Result<Option<Value>, RowError> {
        let Some((head, rest)) = path.descend() else {
            return Ok(None);
        };
        let Some(index) = self.find(head) else {
            return Ok(None);
        };
        let mut value = self.value_of(index)?;
        for part in rest {
            match value {
                Value::Object(mut map) => match map.shift_remove(part) {
                    Some(inner) => value = inner,
                    None => return Ok(None),
                },
                _ => return Ok(None),
            }
        }
        Ok(Some(value))
    }

    fn set_nested(&mut self, path: &FieldPath, new: Value) -> Result<(), RowError> {
        let Some((head, rest)) = path.descend() else {
            return Ok(());
        };
        let mut root = match self.find(head) {
            Some(index) => self.value_of(index)?,
            None => Value::Object(serde_json::Map::new()),
        };
        let mut slot = &mut root;
        for part in rest {
            let Value::Object(map) = slot else {
                return Err(wrong_type(head, "an object", &Value::Null));
            };
            slot = map
                .entry(part)
                .or_insert(Value::Object(serde_json::Map::new()));
        }
        *slot = new;
        self.put(head, Content::Json(Box::new(root)));
        Ok(())
    }

    fn put(&mut self, name: &str, content: Content) {
        self.edits += 1;
        self.outdate_texts();
        match self.find(name).and_then(|i| self.fields.get_mut(i)) {
            Some(field) => field.content = content,
            None => self.fields.push(Field {
                key: Key::Owned(name.into()),
                member: None,
                raw: None,
                content,
            }),
        }
    }

    fn image_slots(&self) -> Result<Vec<ImageSlot>, RowError> {
        let key = self.context.image_key.as_str();
        let Some(index) = self.find(key) else {
            return Ok(Vec::new());
        };
        if let Some(list) = self
            .fields
            .get(index)
            .and_then(|field| self.raw_list(field))
        {
            return Ok(self.slots(list));
        }
        let paths = match self.value_of(index)? {
            Value::Null => Vec::new(),
            Value::String(path) if path.is_empty() => Vec::new(),
            Value::String(path) => match list_in_text(&path) {
                Some(paths) => paths,
                None => vec![path],
            },
            Value::Array(items) => items
                .into_iter()
                // A column of images has places without one.
                .filter(|item| self.attached.is_empty() || !item.is_null())
                .map(|item| match item {
                    Value::String(path) => Ok(path),
                    other => {
                        let item = format!("{key}[]");
                        Err(wrong_type(&item, "the path of an image", &other))
                    }
                })
                .collect::<Result<_, _>>()?,
            other => return Err(wrong_type(key, "a list of paths, a path or null", &other)),
        };
        Ok(self.slots(paths))
    }

    /// A field as it was read, if it is a list of strings. The usual case, without a [`Value`].
    fn raw_list(&self, field: &Field) -> Option<Vec<String>> {
        let raw = matches!(field.content, Content::Raw { .. }).then(|| self.raw_of(field))?;
        if !raw.starts_with('[') {
            return None;
        }
        let plain = scan::plain_texts(raw);
        let plain = plain.map(|texts| texts.into_iter().map(str::to_owned).collect());
        plain.or_else(|| serde_json::from_str(raw).ok())
    }

    fn slots(&self, paths: Vec<String>) -> Vec<ImageSlot> {
        // Of attachments that share a name each is taken once before one is taken again.
        let mut taken: SmallVec<[usize; 4]> = SmallVec::new();
        paths
            .into_iter()
            .map(|path| {
                let file = self.origin.file;
                let context = Arc::clone(&self.context);
                let made = self.produced.iter().find(|made| made.written == path);
                if let Some(made) = made {
                    return ImageSlot::of_produced(Arc::clone(made), file, context);
                }
                let named = |(_, it): &(usize, &Attachment)| it.is_image && *it.name == *path;
                let mut candidates = self.attached.iter().enumerate().filter(named);
                let last = candidates.clone().last();
                let free = candidates.find(|(number, _)| !taken.contains(number));
                match free.or(last) {
                    Some((number, attached)) => {
                        taken.push(number);
                        ImageSlot::of_attached(attached.clone(), path, file, context)
                    }
                    None => ImageSlot::new(path, file, context),
                }
            })
            .collect()
    }
}

/// The paths of a list that stands in a text, as a table's cell has it.
fn list_in_text(text: &str) -> Option<Vec<String>> {
    text.starts_with('[')
        .then(|| serde_json::from_str(text).ok())?
}

/// JSON's own white space.
const JSON_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// An object without the white space around it, of which most lines have none.
fn trimmed(line: &str) -> &str {
    trimmed_end(trimmed_start(line))
}

fn trimmed_start(line: &str) -> &str {
    if line.starts_with('{') {
        return line;
    }
    line.trim_start_matches(JSON_SPACE)
}

fn trimmed_end(line: &str) -> &str {
    if line.ends_with('}') {
        return line;
    }
    line.trim_end_matches(JSON_SPACE)
}

/// Writes an edited row: copies the line up to each edit, then the edit.
struct Splicer<'a> {
    sample: &'a Sample,
    out: &'a mut Vec<u8>,
    any: bool,
}

impl<'a> Splicer<'a> {
    fn new(sample: &'a Sample, out: &'a mut Vec<u8>) -> Self {
        Self {
            sample,
            out,
            any: false,
        }
    }

    fn run(mut self, overrides: &[(&str, &dyn JsonText)]) {
        if self.splices(overrides) {
            return;
        }
        self.member_by_member(overrides);
    }

    /// Copies the line from one edit to the next: the usual way of a row that lost no field and was
    /// given none by an operator. False, and nothing written, where it is another.
    fn splices(&mut self, overrides: &[(&str, &dyn JsonText)]) -> bool {
        let sample = self.sample;
        let is_read =
            |field: &Field| field.member.is_some() && !matches!(field.content, Content::Removed);
        let Some(end) = sample
            .fields
            .last()
            .and_then(|f| f.raw.as_ref())
            .map(|raw| raw.end)
        else {
            return false;
        };
        if !sample.fields.iter().all(is_read) {
            return false;
        }
        let line = sample.line.as_str();
        let slice = |span: Range<usize>| line.get(span).unwrap_or_default().as_bytes();
        let places: SmallVec<[Option<usize>; 4]> =
            overrides.iter().map(|(key, _)| sample.find(key)).collect();
        let mut from = line.len() - trimmed_start(line).len();
        for (index, field) in sample.fields.iter().enumerate() {
            let fresh = places.iter().position(|place| *place == Some(index));
            let fresh = fresh.and_then(|at| overrides.get(at));
            let Some(raw) = &field.raw else { continue };
            if fresh.is_none() && matches!(field.content, Content::Raw { .. }) {
                continue;
            }
            self.out.extend_from_slice(slice(from..raw.start));
            match (fresh, &field.content) {
                (Some((_, json)), _) => json.write(self.out),
                (None, Content::Text(text)) => push_string(text, self.out),
                (None, Content::Json(value)) => value.write(self.out),
                (None, Content::Raw { .. } | Content::Removed) => {}
            }
            from = raw.end;
        }
        self.out.extend_from_slice(slice(from..end));
        for (number, (key, json)) in overrides.iter().enumerate() {
            let place = places.get(number).copied().flatten();
            let again = places.iter().take(number).any(|other| *other == place);
            if place.is_none() || again {
                self.out.extend_from_slice(b", ");
                push_string(key, self.out);
                self.out.extend_from_slice(b": ");
                json.write(self.out);
            }
        }
        let tail = slice(end..trimmed_end(line).len());
        self.out.extend_from_slice(tail);
        true
    }

    /// The same for any row: the specification.
    fn member_by_member(mut self, overrides: &[(&str, &dyn JsonText)]) {
        let sample = self.sample;
        let head = sample
            .fields
            .first()
            .and_then(|f| f.member.as_ref())
            .map(|m| ..m.start);
        let head = head.and_then(|span| sample.line.get(span)).unwrap_or("{");
        self.out.extend_from_slice(trimmed_start(head).as_bytes());
        let mut used: SmallVec<[bool; 4]> = SmallVec::from_elem(false, overrides.len());
        // Only the last of duplicate keys may be replaced; it is the one that readers see.
        for (index, field) in sample.fields.iter().enumerate() {
            if matches!(field.content, Content::Removed) {
                continue;
            }
            let name = sample.key_text(&field.key);
            let replaced = overrides
                .iter()
                .position(|(key, _)| *key == name)
                .filter(|_| sample.find(&name) == Some(index));
            if let Some(position) = replaced
                && let Some(flag) = used.get_mut(position)
            {
                *flag = true;
            }
            let fresh = replaced
                .and_then(|p| overrides.get(p))
                .map(|(_, json)| *json);
            self.member(index, field, &name, fresh);
        }
        for ((key, json), used) in overrides.iter().zip(used) {
            if !used {
                self.separator(b", ");
                push_string(key, self.out);
                self.out.extend_from_slice(b": ");
                json.write(self.out);
            }
        }
        let tail = sample
            .fields
            .iter()
            .rev()
            .find_map(|f| f.raw.as_ref())
            .map(|r| r.end..);
        let tail = tail.and_then(|span| sample.line.get(span)).unwrap_or("}");
        self.out.extend_from_slice(trimmed_end(tail).as_bytes());
    }

    fn member(&mut self, index: usize, field: &Field, name: &str, fresh: Option<&dyn JsonText>) {
        let line = self.sample.line.as_str();
        let slice = |span: Range<usize>| line.get(span).unwrap_or_default().as_bytes();
        if let (Some(member), Some(raw)) = (&field.member, &field.raw) {
            self.separator(self.sample.separator_before(index, member.start));
            self.out.extend_from_slice(slice(member.start..raw.start));
        } else {
            self.separator(b", ");
            push_string(name, self.out);
            self.out.extend_from_slice(b": ");
        }
        match (fresh, &field.content, &field.raw) {
            (Some(json), _, _) => json.write(self.out),
            (None, Content::Text(text), _) => push_string(text, self.out),
            (None, Content::Json(value), _) => value.write(self.out),
            (None, _, Some(raw)) => self.out.extend_from_slice(slice(raw.clone())),
            (None, _, None) => self.out.extend_from_slice(b"null"),
        }
    }

    fn separator(&mut self, separator: &[u8]) {
        if self.any {
            self.out.extend_from_slice(separator);
        }
        self.any = true;
    }
}

impl Sample {
    /// The text between the previous member and this one (comma and spaces), as in the line.
    fn separator_before(&self, index: usize, start: usize) -> &[u8] {
        index
            .checked_sub(1)
            .and_then(|previous| self.fields.get(previous)?.raw.as_ref())
            .and_then(|raw| self.line.get(raw.end..start))
            .map_or(b", ", str::as_bytes)
    }
}

/// Puts the members of the object that `line` is into `fields`, which is empty.
fn scan_members(line: &str, fields: &mut SmallVec<[Field; 4]>) -> Result<(), RowError> {
    if scan::members(line, |member| fields.push(Field::read(member))) {
        return Ok(());
    }
    *fields = scan_json(line).or_else(|error| match blanked(line) {
        // The same places in the same text, but for words that JSON does not know.
        Some(blanked) => scan_json(&blanked),
        None => Err(error),
    })?;
    Ok(())
}

fn scan_json(line: &str) -> Result<SmallVec<[Field; 4]>, RowError> {
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let fields = deserializer
        .deserialize_map(Members { line })
        .map_err(|e| RowError::new("json_invalid", json_message(&e)))?;
    deserializer
        .end()
        .map_err(|e| RowError::new("json_invalid", json_message(&e)))?;
    Ok(fields)
}

struct Members<'a> {
    line: &'a str,
}

impl<'de> Visitor<'de> for Members<'de> {
    type Value = SmallVec<[Field; 4]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let base = self.line.as_ptr() as usize;
        let mut fields = SmallVec::new();
        let mut scan_from = self.line.find('{').map_or(0, |i| i + 1);
        while let Some(key) = map.next_key_seed(KeySeed)? {
            let raw: &'de RawValue = map.next_value()?;
            let start = raw.get().as_ptr() as usize - base;
            let end = start + raw.get().len();
            let member = self
                .line
                .get(scan_from..start)
                .and_then(|gap| gap.find('"'))
                .map_or(start, |i| scan_from + i);
            let key = match key {
                Cow::Borrowed(text) => {
                    let at = text.as_ptr() as usize - base;
                    Key::Span(at..at + text.len())
                }
                Cow::Owned(text) => Key::Owned(text.into_boxed_str()),
            };
            fields.push(Field {
                key,
                member: Some(member..end),
                raw: Some(start..end),
                content: Content::Raw {
                    decoded: OnceCell::new(),
                },
            });
            scan_from = end;
        }
        Ok(fields)
    }
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(v.to_owned()))
    }
}

/// How often `token` stands in `text`.
/// How often `token` stands in a text. A searcher made for it would cost more than these texts.
fn count(text: &str, token: &str) -> usize {
    let Some(&first) = token.as_bytes().first() else {
        return 0;
    };
    let mut rest = text.as_bytes();
    let mut found = 0;
    while let Some(at) = memchr::memchr(first, rest) {
        rest = rest.get(at..).unwrap_or_default();
        let is_it = rest.starts_with(token.as_bytes());
        found += usize::from(is_it);
        let behind = if is_it { token.len() } else { 1 };
        rest = rest.get(behind..).unwrap_or_default();
    }
    found
}

fn not_an_object(line: &str) -> RowError {
    let blanked = blanked(line);
    let line = blanked.as_deref().unwrap_or(line);
    match serde_json::from_str::<serde::de::IgnoredAny>(line) {
        Ok(_) => {
            let kind = match line.trim_start_matches(JSON_SPACE).as_bytes().first() {
                Some(b'"') => "a string",
                Some(b'[') => "a list",
                Some(b't' | b'f') => "a boolean",
                Some(b'n') => "null",
                _ => "a number",
            };
            RowError::new(
                "json_not_object",
                format!("the row is {kind}, and no object"),
            )
        }
        Err(e) => RowError::new("json_invalid", json_message(&e)),
    }
}

fn json_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // A row is one line: the column says it all.
    match text.split_once(" at line ") {
        Some((what, _)) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

fn undecodable(name: &str, error: &serde_json::Error) -> RowError {
    let text = json_message(error);
    if text.contains("surrogate") || text.contains("hex escape") {
        RowError::new(
            "lone_surrogate",
            format!("field '{name}' is not valid Unicode: {text}"),
        )
    } else {
        RowError::new("json_invalid", format!("field '{name}': {text}"))
    }
}

fn short_value(raw: &str) -> Value {
    read_json(raw).unwrap_or_default()
}

fn wrong_type(name: &str, expected: &str, found: &Value) -> RowError {
    let kind = match found {
        _ if float_of(found).is_some() => "a number",
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    RowError::new(
        "wrong_type",
        format!("field '{name}' is {kind}, expected {expected}"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::RawJson;

    fn sample(line: &str) -> Sample {
        Sample::parse(
            line.to_owned(),
            Origin::default(),
            Arc::new(ImageContext::default()),
        )
        .unwrap()
    }

    fn written(sample: &Sample, overrides: &[(&str, &dyn JsonText)]) -> String {
        let mut out = Vec::new();
        sample.write_json(overrides, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_untouched_row_is_written_byte_for_byte() {
        let line =
            r#"{"a":1e-07,"a":12345678901234567890123,"t":"\u00e9\ud83d\ude00",  "z" : [1, 2]}"#;
        assert_eq!(written(&sample(line), &[]), line);
    }

    #[test]
    fn an_edit_changes_only_its_own_value() {
        let mut row = sample(r#"{"id":"7" , "text": "old \u00e9", "x":1e-07}"#);
        row.set_text(&"text".into(), "né\n".into()).unwrap();
        assert_eq!(
            written(&row, &[]),
            r#"{"id":"7" , "text": "né\n", "x":1e-07}"#
        );
        assert_eq!(
            written(&row, &[("x", &2), ("y", &RawJson("3".into()))]),
            r#"{"id":"7" , "text": "né\n", "x":2, "y": 3}"#
        );
        row.remove("id");
        assert_eq!(written(&row, &[]), r#"{"text": "né\n", "x":1e-07}"#);
    }

    #[test]
    fn dotted_names_prefer_the_literal_key() {
        let row = sample(r#"{"m": {"t": "in"}, "m.t": "flat"}"#);
        assert_eq!(row.text(&"m.t".into()).unwrap().unwrap(), "flat");
        let mut row = sample(r#"{"m": {"t": "in", "n": 1.50}}"#);
        assert_eq!(row.text(&"m.t".into()).unwrap().unwrap(), "in");
        row.set_text(&"m.t".into(), "new".into()).unwrap();
        assert_eq!(written(&row, &[]), r#"{"m": {"t": "new", "n": 1.5}}"#);
    }

    #[test]
    fn bad_rows_say_what_is_wrong() {
        let parse = |line: &str| {
            Sample::parse(
                line.to_owned(),
                Origin::default(),
                Arc::new(ImageContext::default()),
            )
            .unwrap_err()
        };
        assert_eq!(parse("{\"a\": 1,}").code, "json_invalid");
        assert_eq!(parse("[1]").code, "json_not_object");
        assert_eq!(parse("{} x").code, "json_invalid");
        assert_eq!(
            sample(r#"{"text": 5}"#)
                .text(&"text".into())
                .unwrap_err()
                .code,
            "wrong_type"
        );
        assert_eq!(
            sample(r#"{"text": "\ud800"}"#)
                .text(&"text".into())
                .unwrap_err()
                .code,
            "lone_surrogate"
        );
        assert_eq!(
            sample(r#"{"images": [1]}"#).images().unwrap_err().code,
            "wrong_type"
        );
    }

    proptest! {
        #[test]
        fn rows_are_spliced_as_they_are_written_member_by_member(
            spaces in prop::collection::vec("[ \t]{0,2}", 8),
            names in prop::collection::vec("[ab]", 0..4),
            edits in prop::collection::vec(("[abc]", 0..3_u8), 0..3),
            fresh in prop::collection::vec("[abc]", 0..3),
        ) {
            let space = |at: usize| spaces[at % spaces.len()].as_str();
            let members = names.iter().enumerate().map(|(at, name)| {
                format!("{}\"{name}\"{}:{}\"{at}\"", space(at), space(at + 1), space(at + 2))
            });
            let members: Vec<_> = members.collect();
            let line = format!("{}{{{}{}}}{}", space(5), members.join(","), space(6), space(7));
            let mut row = sample(&line);
            for (name, kind) in edits {
                match kind {
                    0 => row.remove(&name),
                    1 => row.set_value(&name, 7.into()),
                    _ => row.set_text(&name.as_str().into(), "é\"".into()).unwrap(),
                }
            }
            let fresh: Vec<(&str, &dyn JsonText)> =
                fresh.iter().map(|name| (name.as_str(), &1_i64 as _)).collect();
            let (mut spliced, mut plain) = (Vec::new(), Vec::new());
            Splicer::new(&row, &mut spliced).run(&fresh);
            Splicer::new(&row, &mut plain).member_by_member(&fresh);
            prop_assert_eq!(String::from_utf8(spliced), String::from_utf8(plain));
        }
    }

    #[test]
    fn images_are_counted_where_they_stand() {
        for (line, expected) in [
            (r#"{"text": "x", "images": ["a", "b"]}"#, Some(false)),
            (r#"{"text": "<i>\n<i>", "images": ["a", "b"]}"#, Some(true)),
            (r#"{"text": "<i>", "images": ["\u0061"]}"#, Some(true)),
            (r#"{"text": "<i>", "images": "a"}"#, Some(true)),
            (r#"{"text": "", "images": []}"#, Some(true)),
            (r#"{"text": "", "images": null}"#, Some(true)),
            (r#"{"text": ""}"#, Some(true)),
            (r#"{"text": "<i>", "images": [7]}"#, Some(false)),
            (r#"{"text": "<i>", "images": 7}"#, None),
            (r#"{"images": []}"#, None),
        ] {
            let row = sample(line);
            assert_eq!(row.images_match(&"text".into(), "<i>"), expected, "{line}");
        }
    }

    #[test]
    fn words_are_cut_again_after_an_edit() {
        let mut row = sample(r#"{"text": "Red, red", "other": "x"}"#);
        let words = |row: &Sample| {
            let words = row.words(&"text".into(), &WordCutter::Separators).unwrap();
            words.iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(words(&row), ["red", "red"]);
        assert_eq!(words(&row), ["red", "red"]);
        row.set_text(&"text".into(), "blue".into()).unwrap();
        assert_eq!(words(&row), ["blue"]);
        row.remove("text");
        let missing = row.words(&"text".into(), &WordCutter::Separators);
        assert_eq!(missing.unwrap_err().code, "missing_field");
    }

    #[test]
    fn images_accept_a_list_a_string_or_null() {
        assert_eq!(sample(r#"{"images": "a.jpg"}"#).images().unwrap().len(), 1);
        assert_eq!(
            sample(r#"{"images": ["a", "b"]}"#).images().unwrap().len(),
            2
        );
        assert_eq!(sample(r#"{"images": null}"#).images().unwrap().len(), 0);
        assert_eq!(sample("{}").images().unwrap().len(), 0);
    }
}
