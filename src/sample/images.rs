//! A row's image: opened at most once, decoded only as far as some operator asks.
//!
//! The ladder is path, file size, header, scaled decode, full decode. Each step is taken on
//! first use and its outcome, an error included, is remembered for the row's whole way through
//! the plan. An image that an operator made is read from memory: its file may not be there yet.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;
use schemars::JsonSchema;
use smallvec::SmallVec;

use super::file::{IMAGE, MAX_FILE, Place};
use super::words::words;
use super::{Attachment, Attachments, Locator, Produced, RowError};
use crate::cache::kernel::{HEADER_ID, HashWay, VALIDATE_ID, hash_id};
use crate::cache::verdict::{self, Seen};
use crate::cache::{FileKnown, Results, Stat};
use crate::image::{
    self, Decoded, Format, HashMethod, Header, ImageError, Probe, RgbImage,
    perceptual_hash_and_blank,
};

/// How far an operator needs a row's images decoded. Ordered: each level includes the former.
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
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ImageNeed {
    /// Does not look at images.
    #[default]
    None,
    /// The path, as text.
    Path,
    /// The size of the file in bytes.
    FileSize,
    /// Width, height and format, read from the file's first bytes.
    Header,
    /// A decode at reduced scale: every bit of the stream is read, few pixels are made.
    Scaled,
    /// All pixels.
    Pixels,
}

words! {
    /// How strictly an image is checked before its row is written. Each level includes the former.
    #[derive(PartialOrd, Ord, Default, JsonSchema)]
    ImageCheck {
        /// Not at all.
        #[default]
        None = "none",
        /// The file is there.
        Exists = "exists",
        /// Its header is that of an image, of an acceptable size.
        Header = "header",
        /// It decodes to its end, as strictly as a trainer's loader.
        Decode = "decode",
    }
}

/// How a run finds and checks images; shared by all rows.
#[derive(Debug, Clone)]
pub struct ImageContext {
    /// The field that holds the paths (`images`).
    pub image_key: String,
    /// The fields that hold paths of other files (`videos`, `audios`).
    pub media_keys: Vec<String>,
    /// Where relative paths start, one directory an input file. One entry serves all files.
    pub roots: Vec<PathBuf>,
    /// What the dataset of each input file is called; none where nobody asks.
    pub datasets: Vec<String>,
    /// Refuse whatever lies outside the row's root, symlinks followed.
    pub confine: bool,
    /// The furthest that any operator or output of the plan will decode: when that is beyond the
    /// header, the whole file is read at the first opening instead of its first bytes.
    pub want: ImageNeed,
    /// What reads the images that are no files of their own; `None` where no row has any.
    pub attachments: Option<Arc<dyn Attachments>>,
    /// What earlier runs measured of images, if it is asked for.
    pub results: Option<Arc<Results>>,
}

impl Default for ImageContext {
    fn default() -> Self {
        Self {
            image_key: "images".into(),
            media_keys: vec!["videos".into(), "audios".into()],
            roots: vec![PathBuf::new()],
            datasets: Vec::new(),
            confine: false,
            want: ImageNeed::None,
            attachments: None,
            results: None,
        }
    }
}

impl ImageContext {
    /// The directory relative paths of rows of input `file` start from.
    #[must_use]
    pub fn root(&self, file: u32) -> &Path {
        self.roots
            .get(file as usize)
            .or_else(|| self.roots.last())
            .map_or(Path::new(""), PathBuf::as_path)
    }
}

/// What reading images cost.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, JsonSchema,
)]
pub struct ImageCounts {
    /// Files opened.
    pub opened: u64,
    /// Headers read.
    pub header_reads: u64,
    /// Decodes at reduced scale.
    pub scaled_decodes: u64,
    /// Full decodes.
    pub full_decodes: u64,
    /// Bytes read from files.
    pub bytes_read: u64,
    /// Images with damage that the decoder stepped over, as Pillow does.
    pub suspect: u64,
    /// Results that the cache had.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_hits: u64,
    /// Results that were computed and kept in the cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_misses: u64,
    /// Files that were written since the cache knew them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_stale: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl ImageCounts {
    /// The counts as JSON, for the manifest.
    #[must_use]
    pub fn to_json(self) -> serde_json::Value {
        serde_json::json!({
            "opened": self.opened,
            "header_reads": self.header_reads,
            "scaled_decodes": self.scaled_decodes,
            "full_decodes": self.full_decodes,
            "bytes_read": self.bytes_read,
            "suspect": self.suspect,
        })
    }

    /// Adds `other`.
    pub fn add(&mut self, other: Self) {
        self.opened += other.opened;
        self.header_reads += other.header_reads;
        self.scaled_decodes += other.scaled_decodes;
        self.full_decodes += other.full_decodes;
        self.bytes_read += other.bytes_read;
        self.suspect += other.suspect;
        self.cache_hits += other.cache_hits;
        self.cache_misses += other.cache_misses;
        self.cache_stale += other.cache_stale;
    }
}

/// Bytes read first; most JPEG headers fit.
const FIRST_READ: usize = 1024;

/// The most bytes read in search of a JPEG's header before the whole file is read.
const LAST_PROBE: usize = 1 << 20;

/// One image of a row.
#[derive(Debug)]
pub struct ImageSlot {
    place: Place,
    /// The image, if an operator made it.
    produced: Option<Arc<Produced>>,
    /// The image, if it came with the row.
    attached: Option<Attachment>,
    size: OnceCell<Result<u64, RowError>>,
    header: OnceCell<Result<Header, RowError>>,
    pixels: OnceCell<Result<RgbImage, RowError>>,
    /// Whether the file decodes to its end.
    sound: OnceCell<Result<(), RowError>>,
    /// The whole file, between the header and the decode.
    bytes: RefCell<Option<bytes::Bytes>>,
    /// What the system said of the file before and behind reading it whole, if that was the same.
    read_as: Cell<Option<Stat>>,
    /// The digest of the content, if there is a cache and it can be read.
    content: OnceCell<Option<u128>>,
    /// What was wrong with the content at the last decode.
    failure: RefCell<Option<ImageError>>,
    counts: Cell<ImageCounts>,
}

impl ImageSlot {
    /// The image that the row calls `written`, of a row of input `file`.
    #[must_use]
    pub fn new(written: String, file: u32, context: Arc<ImageContext>) -> Self {
        Self {
            place: Place::new(written, file, context, &IMAGE),
            produced: None,
            attached: None,
            size: OnceCell::new(),
            header: OnceCell::new(),
            pixels: OnceCell::new(),
            sound: OnceCell::new(),
            bytes: RefCell::new(None),
            read_as: Cell::new(None),
            content: OnceCell::new(),
            failure: RefCell::new(None),
            counts: Cell::new(ImageCounts::default()),
        }
    }

    /// An image of the row that an operator made, whose file is not read.
    #[must_use]
    pub(super) fn of_produced(
        produced: Arc<Produced>,
        file: u32,
        context: Arc<ImageContext>,
    ) -> Self {
        let mut slot = Self::new(produced.written.clone(), file, context);
        slot.produced = Some(produced);
        slot
    }

    /// An image that came with the row.
    #[must_use]
    pub(super) fn of_attached(
        attached: Attachment,
        written: String,
        file: u32,
        context: Arc<ImageContext>,
    ) -> Self {
        let mut slot = Self::new(written, file, context);
        slot.attached = Some(attached);
        slot
    }

    /// Whether it came with the row and is no file of its own.
    #[must_use]
    pub fn attached(&self) -> Option<&Attachment> {
        self.attached.as_ref()
    }

    /// The bytes of the whole file.
    ///
    /// # Errors
    /// Those of [`ImageSlot::digest`].
    pub fn content(&self) -> Result<bytes::Bytes, RowError> {
        if let Some(produced) = &self.produced {
            return Ok(produced.bytes.clone().into());
        }
        self.with_bytes(|_| Ok(()))?;
        Ok(self.bytes.borrow().clone().unwrap_or_default())
    }

    /// The path as the row has it.
    #[must_use]
    pub fn written(&self) -> &str {
        self.place.written()
    }

    /// The path to open: joined with the root, otherwise as the row has it.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// The file's size in bytes. The file is not opened.
    ///
    /// # Errors
    /// `image_missing`, `image_not_a_file`, `image_path_invalid`, `image_outside_root`,
    /// `image_unreadable`.
    pub fn file_size(&self) -> Result<u64, RowError> {
        self.size
            .get_or_init(|| match (&self.produced, &self.attached) {
                (Some(produced), _) => Ok(produced.bytes.len() as u64),
                (None, Some(attached)) => {
                    let size = self.attachments()?.size(attached);
                    size.map_err(|error| self.place.io_error(&error))
                }
                (None, None) => self.place.size(),
            })
            .clone()
    }

    /// Width, height and format.
    ///
    /// # Errors
    /// Those of [`ImageSlot::file_size`], and `image_empty`, `image_unknown_format`,
    /// `image_zero_size`, `image_too_large`, `image_truncated`, `image_corrupt`.
    pub fn header(&self) -> Result<Header, RowError> {
        self.header.get_or_init(|| self.read_header()).clone()
    }

    /// All pixels, upright.
    ///
    /// # Errors
    /// Those of [`ImageSlot::header`], and `image_unsupported_format`. A truncated file is an
    /// error, never an image with a grey rest.
    pub fn pixels(&self) -> Result<&RgbImage, RowError> {
        self.pixels
            .get_or_init(|| self.decode())
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The picture upright and in grey, at a reduced scale at which both sides still have `side`
    /// pixels, if the picture's have; formats without such scales as [`ImageSlot::pixels`]. It
    /// depends on the file alone, not on what else was decoded, and is not kept.
    ///
    /// # Errors
    /// Those of [`ImageSlot::pixels`].
    pub fn reduced(&self, side: u32) -> Result<Cow<'_, RgbImage>, RowError> {
        if self.header()?.format != Format::Jpeg {
            return self.pixels().map(Cow::Borrowed);
        }
        let decoded = self.with_bytes(|bytes| {
            self.count(|counts| counts.scaled_decodes += 1);
            image::decode_reduced(bytes, side)
        });
        let decoded = decoded.map(|decoded| self.as_shown(decoded));
        self.learn(&decoded);
        decoded.map(|decoded| Cow::Owned(decoded.image))
    }

    /// The perceptual hash of all pixels, and whether the picture is blank.
    ///
    /// # Errors
    /// Those of [`ImageSlot::pixels`].
    pub fn hash(&self, method: HashMethod) -> Result<(u64, bool), RowError> {
        self.hash_of(method, false, || {
            Ok(perceptual_hash_and_blank(self.pixels()?, method))
        })
    }

    /// The same of the picture at a reduced scale.
    ///
    /// # Errors
    /// Those of [`ImageSlot::reduced`].
    pub fn reduced_hash(&self, method: HashMethod) -> Result<(u64, bool), RowError> {
        self.hash_of(method, true, || {
            let reduced = self.reduced(method.least_side())?;
            Ok(perceptual_hash_and_blank(&reduced, method))
        })
    }

    fn hash_of(
        &self,
        method: HashMethod,
        reduced: bool,
        compute: impl FnOnce() -> Result<(u64, bool), RowError>,
    ) -> Result<(u64, bool), RowError> {
        if let Some(Err(error)) = self.header.get() {
            return Err(error.clone());
        }
        let way = HashWay {
            reduced,
            as_stored: self.attached.as_ref().is_some_and(|it| it.as_stored),
        };
        let kernel = hash_id(method, way);
        if let Some(value) = self.recall(kernel)
            && let Some(verdict) = verdict::decode(&value)
        {
            match verdict {
                Ok((seen, [hash @ .., blank])) if hash.len() == 8 => {
                    self.found();
                    self.saw(seen);
                    let hash = hash
                        .first_chunk()
                        .map_or(0, |hash| u64::from_le_bytes(*hash));
                    return Ok((hash, *blank == 1));
                }
                Ok(_) => {}
                Err(error) => {
                    self.found();
                    let error = self.error(&error);
                    let _ = self.sound.set(Err(error.clone()));
                    return Err(error);
                }
            }
        }
        self.failure.take();
        let computed = compute();
        match &computed {
            Ok((hash, blank)) => {
                if let Some(Ok(header)) = self.header.get() {
                    let mut more = hash.to_le_bytes().to_vec();
                    more.push(u8::from(*blank));
                    let suspect = self.counts.get().suspect > 0;
                    let seen = Seen {
                        header: *header,
                        suspect,
                    };
                    self.keep(kernel, verdict::encode(Ok(seen), &more));
                }
            }
            Err(_) => {
                if let Some(failure) = self.failure.borrow().as_ref() {
                    self.keep(kernel, verdict::encode(Err(failure), &[]));
                }
            }
        }
        computed
    }

    /// What the cache has of a kernel about this image.
    fn recall(&self, kernel: u64) -> Option<Vec<u8>> {
        let results = self.place.context().results.as_deref()?;
        results.get(self.digest_of_content(results)?, kernel)
    }

    /// Counts a result that the cache had.
    fn found(&self) {
        self.count(|counts| counts.cache_hits += 1);
    }

    /// Keeps what a kernel says of this image.
    fn keep(&self, kernel: u64, value: Option<Vec<u8>>) {
        let (Some(results), Some(value)) = (self.place.context().results.as_deref(), value) else {
            return;
        };
        if let Some(content) = self.digest_of_content(results) {
            self.count(|counts| counts.cache_misses += 1);
            results.keep(content, kernel, &value);
        }
    }

    /// Takes over what an earlier run saw when it decoded the image.
    fn saw(&self, seen: Seen) {
        let first = self.sound.set(Ok(())).is_ok();
        let _ = self.header.set(Ok(seen.header));
        if first && seen.suspect {
            self.count(|counts| counts.suspect += 1);
        }
    }

    /// What the row's image holds, as far as a cache tells contents apart: by the system's word for
    /// a file that was read before, else by reading it. `None` if it cannot be read.
    fn digest_of_content(&self, results: &Results) -> Option<u128> {
        *self.content.get_or_init(|| {
            let is_file = self.produced.is_none() && self.attached.is_none();
            if is_file && self.bytes.borrow().is_none() && results.trusts_stat() {
                let metadata = self.place.metadata().ok()?;
                let _ = self.size.set(Ok(metadata.len()));
                let stat = Stat::of(&metadata);
                match results.file(self.place.path(), &stat) {
                    FileKnown::Content(digest) => return Some(digest),
                    FileKnown::Stale => self.count(|counts| counts.cache_stale += 1),
                    FileKnown::Nothing => {}
                }
            }
            let digest = self.on_bytes(xxhash_rust::xxh3::xxh3_128).ok()?;
            if is_file && let Some(stat) = self.read_as.get() {
                results.keep_file(self.place.path(), &stat, digest);
            }
            Some(digest)
        })
    }

    /// The digest of the content, if there is a cache and it can be read.
    #[must_use]
    pub fn content_digest(&self) -> Option<u128> {
        self.digest_of_content(self.place.context().results.as_deref()?)
    }

    /// Whether it decodes with damage that was stepped over; `None` if nobody has decoded it.
    #[must_use]
    pub fn known_damage(&self) -> Option<bool> {
        self.known_to_decode()
            .then(|| self.counts.get().suspect > 0)
    }

    /// Takes over that it decodes, as an earlier run found.
    pub fn take_as_sound(&self, suspect: bool) {
        if self.sound.set(Ok(())).is_ok() && suspect {
            self.count(|counts| counts.suspect += 1);
        }
    }

    /// Checks the image; free where an earlier step has already answered.
    ///
    /// # Errors
    /// What is wrong, as the codes of the other methods.
    pub fn check(&self, level: ImageCheck) -> Result<(), RowError> {
        match level {
            ImageCheck::None => Ok(()),
            ImageCheck::Exists => self.file_size().map(drop),
            ImageCheck::Header => self.header().map(drop),
            ImageCheck::Decode => self.sound.get_or_init(|| self.validate()).clone(),
        }
    }

    /// Whether an earlier step has shown that the file decodes to its end.
    #[must_use]
    pub fn known_to_decode(&self) -> bool {
        matches!(self.sound.get(), Some(Ok(())))
    }

    /// XXH3 of the file's bytes; the file is read as a whole.
    ///
    /// # Errors
    /// Those of [`ImageSlot::file_size`], `image_too_large` and `image_unreadable`.
    pub fn digest(&self) -> Result<u64, RowError> {
        self.with_bytes(|bytes| Ok(xxhash_rust::xxh3::xxh3_64(bytes)))
    }

    /// Asks the system to bring into memory what will be read of the file, without waiting for
    /// it. Whether it was not there already; false too if the system cannot tell, or the file cannot
    /// be opened.
    #[must_use]
    pub fn read_ahead(&self) -> bool {
        // Inputs are read in order, so the system reads on by itself.
        if self.attached.is_some() {
            return false;
        }
        // What is known of a file is not read again; to ask for it brings its times into memory.
        if let Some(results) = self.place.context().results.as_deref()
            && results.trusts_stat()
            && self.place.metadata().is_ok_and(|metadata| {
                let known = results.file(self.place.path(), &Stat::of(&metadata));
                matches!(known, FileKnown::Content(_))
            })
        {
            return false;
        }
        self.open().is_ok_and(|(file, size)| {
            let whole = self.place.context().want > ImageNeed::Header;
            let length = if whole { size } else { FIRST_READ as u64 };
            read_ahead(&file, length)
        })
    }

    /// What this image cost so far.
    #[must_use]
    pub fn counts(&self) -> ImageCounts {
        self.counts.get()
    }

    /// Frees pixels and file bytes; what was learnt of the header and the file stays.
    pub fn release(&mut self) {
        *self.bytes.get_mut() = None;
        if matches!(self.pixels.get(), Some(Ok(_))) {
            self.pixels.take();
        }
    }

    fn read_header(&self) -> Result<Header, RowError> {
        let want = self.place.context().want;
        if want > ImageNeed::Header
            && let Some(value) = self.recall(*HEADER_ID)
            && let Some(verdict) = verdict::decode(&value)
        {
            self.found();
            let seen = verdict.map_err(|error| self.error(&error));
            return seen.map(|(seen, _)| self.turned(seen.header));
        }
        self.count(|counts| counts.header_reads += 1);
        let here = self.produced.is_some() || self.bytes.borrow().is_some();
        if want > ImageNeed::Header || here {
            let header = self.on_bytes(image::header)?;
            if want > ImageNeed::Header {
                let seen = header.as_ref().map(|header| Seen {
                    header: *header,
                    suspect: false,
                });
                self.keep(*HEADER_ID, verdict::encode(seen, &[]));
            }
            let header = header.map_err(|error| self.error(&error));
            return header.map(|header| self.turned(header));
        }
        if let Some(attached) = &self.attached {
            return self.attached_header(attached);
        }
        let (mut file, size) = self.open()?;
        let mut head = Vec::with_capacity(FIRST_READ);
        let mut target = FIRST_READ;
        loop {
            self.read_up_to(&mut file, &mut head, target)?;
            let whole = head.len() < target || u64::try_from(head.len()) == Ok(size);
            match image::probe(&head) {
                Probe::Known(result) => return result.map_err(|error| self.error(&error)),
                Probe::Needs(needed) if !whole && needed <= LAST_PROBE => {
                    target = needed.next_power_of_two().max(target * 4);
                }
                _ if whole => return image::header(&head).map_err(|error| self.error(&error)),
                Probe::Needs(_) | Probe::NeedsAll => break,
            }
        }
        self.read_rest(&mut file, &mut head, size)?;
        let header = image::header(&head).map_err(|error| self.error(&error));
        *self.bytes.borrow_mut() = Some(head.into());
        header
    }

    /// The header of an image that came with the row, of its first bytes if they tell.
    fn attached_header(&self, attached: &Attachment) -> Result<Header, RowError> {
        if attached.here.is_none() {
            let head = self.read_attached(attached, FIRST_READ as u64)?;
            if let Probe::Known(result) = image::probe(&head) {
                let header = result.map_err(|error| self.error(&error))?;
                return Ok(self.turned(header));
            }
        }
        self.with_bytes(image::header)
            .map(|header| self.turned(header))
    }

    /// The header of the picture as it is looked at: one that is taken as it is stored is not turned.
    fn turned(&self, mut header: Header) -> Header {
        if self.attached.as_ref().is_some_and(|it| it.as_stored) {
            if header.orientation >= 5 {
                std::mem::swap(&mut header.width, &mut header.height);
            }
            header.orientation = 1;
        }
        header
    }

    /// As [`ImageSlot::turned`], of the pixels, too.
    fn as_shown(&self, mut decoded: Decoded) -> Decoded {
        if self.attached.as_ref().is_some_and(|it| it.as_stored) {
            // Quarter turns undo each other; all else undoes itself.
            let back = match decoded.header.orientation {
                6 => 8,
                8 => 6,
                other => other,
            };
            decoded.image = decoded.image.oriented(back);
            decoded.header = self.turned(decoded.header);
        }
        decoded
    }

    fn attachments(&self) -> Result<&dyn Attachments, RowError> {
        let context = self.place.context();
        context.attachments.as_deref().ok_or_else(|| {
            let lost = std::io::Error::other("what came with the row is not at hand");
            self.place.io_error(&lost)
        })
    }

    /// The first `limit` bytes of what came with the row.
    fn read_attached(&self, attached: &Attachment, limit: u64) -> Result<bytes::Bytes, RowError> {
        let content = if let Some(content) = &attached.here {
            content.clone()
        } else {
            let read = self.attachments()?.read(attached, limit);
            read.map_err(|error| self.place.io_error(&error))?
        };
        self.count(|counts| {
            counts.opened += 1;
            counts.bytes_read += content.len() as u64;
        });
        Ok(content)
    }

    fn decode(&self) -> Result<RgbImage, RowError> {
        if let Some(Err(error)) = self.header.get() {
            return Err(error.clone());
        }
        let decoded = self.with_bytes(|bytes| {
            self.count(|counts| counts.full_decodes += 1);
            image::decode(bytes)
        });
        // The file has told all it can.
        *self.bytes.borrow_mut() = None;
        let decoded = decoded.map(|decoded| self.as_shown(decoded));
        self.learn(&decoded);
        decoded.map(|decoded| decoded.image)
    }

    /// Remembers what a decode told of the file.
    fn learn(&self, decoded: &Result<Decoded, RowError>) {
        let outcome = decoded.as_ref().map(drop).map_err(Clone::clone);
        let first = self.sound.set(outcome).is_ok();
        if let Ok(decoded) = decoded {
            let _ = self.header.set(Ok(decoded.header));
            if first && decoded.suspect {
                self.count(|counts| counts.suspect += 1);
            }
        }
    }

    fn validate(&self) -> Result<(), RowError> {
        if let Some(Err(error)) = self.header.get() {
            return Err(error.clone());
        }
        let known = self.recall(*VALIDATE_ID);
        let seen = if let Some(verdict) = known.as_deref().and_then(verdict::decode) {
            self.found();
            verdict.map(|(seen, _)| seen)
        } else {
            let verdict = self.on_bytes(|bytes| {
                self.count(|counts| counts.scaled_decodes += 1);
                image::validate(bytes)
            })?;
            let verdict = verdict.map(|(header, suspect)| Seen { header, suspect });
            let kept = verdict::encode(verdict.as_ref().copied(), &[]);
            self.keep(*VALIDATE_ID, kept);
            verdict
        };
        let seen = seen.map_err(|error| self.error(&error))?;
        let _ = self.header.set(Ok(self.turned(seen.header)));
        if seen.suspect {
            self.count(|counts| counts.suspect += 1);
        }
        Ok(())
    }

    /// Runs `work` on the whole file, which is read at the first call and kept.
    fn with_bytes<T>(
        &self,
        work: impl FnOnce(&[u8]) -> Result<T, ImageError>,
    ) -> Result<T, RowError> {
        self.on_bytes(work)?.map_err(|error| {
            let shown = self.error(&error);
            *self.failure.borrow_mut() = Some(error);
            shown
        })
    }

    /// The same whatever comes of it: errors are those of reading alone.
    fn on_bytes<T>(&self, work: impl FnOnce(&[u8]) -> T) -> Result<T, RowError> {
        if let Some(produced) = &self.produced {
            return Ok(work(&produced.bytes));
        }
        if let Some(attached) = &self.attached
            && self.bytes.borrow().is_none()
        {
            self.place.check_size(self.file_size()?)?;
            let bytes = self.read_attached(attached, MAX_FILE)?;
            *self.bytes.borrow_mut() = Some(bytes);
        } else if self.bytes.borrow().is_none() {
            let (mut file, opened) = self.place.open_known()?;
            let size = opened.len();
            let _ = self.size.set(Ok(size));
            self.count(|counts| counts.opened += 1);
            let mut bytes = Vec::new();
            self.read_rest(&mut file, &mut bytes, size)?;
            if self.place.context().results.is_some() {
                let before = Stat::of(&opened);
                let behind = file.metadata().map(|behind| Stat::of(&behind));
                let same = behind.is_ok_and(|behind| behind == before);
                self.read_as.set(same.then_some(before));
            }
            *self.bytes.borrow_mut() = Some(bytes.into());
        }
        let bytes = self.bytes.borrow();
        Ok(work(bytes.as_deref().unwrap_or_default()))
    }

    /// Reads until `buffer` holds `target` bytes or the file ends.
    fn read_up_to(
        &self,
        file: &mut File,
        buffer: &mut Vec<u8>,
        target: usize,
    ) -> Result<(), RowError> {
        let missing = target.saturating_sub(buffer.len());
        let read = file
            .take(missing as u64)
            .read_to_end(buffer)
            .map_err(|error| self.place.io_error(&error))?;
        self.count(|counts| counts.bytes_read += read as u64);
        Ok(())
    }

    fn read_rest(&self, file: &mut File, buffer: &mut Vec<u8>, size: u64) -> Result<(), RowError> {
        self.place.check_size(size)?;
        // One byte more than the file has lets the last read see its end.
        let more = usize::try_from(size)
            .unwrap_or(0)
            .saturating_sub(buffer.len())
            + 1;
        buffer.reserve_exact(more);
        let limit = usize::try_from(MAX_FILE).unwrap_or(usize::MAX);
        self.read_up_to(file, buffer, limit)
    }

    fn open(&self) -> Result<(File, u64), RowError> {
        let (file, size) = self.place.open()?;
        let _ = self.size.set(Ok(size));
        self.count(|counts| counts.opened += 1);
        Ok((file, size))
    }

    fn count(&self, change: impl FnOnce(&mut ImageCounts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    fn error(&self, error: &ImageError) -> RowError {
        self.place.fail(error.code, &error.message)
    }
}

/// For each image of a row the first one of the same path, so that a path that is listed twice
/// is looked at once. What came with the row is told apart by where it lies, too.
#[must_use]
pub fn originals(slots: &[ImageSlot]) -> SmallVec<[&ImageSlot; 2]> {
    if slots.len() <= 1 {
        return slots.iter().collect();
    }
    let mut first = HashMap::with_capacity(slots.len());
    slots
        .iter()
        .map(|slot| {
            let place = |attached: &Attachment| (attached.input, attached.at);
            let key: (_, Option<(u32, Locator)>) = (slot.written(), slot.attached().map(place));
            *first.entry(key).or_insert(slot)
        })
        .collect()
}

/// Asks for the first `length` bytes of `file`; whether they were not in memory.
#[cfg(target_os = "linux")]
fn read_ahead(file: &File, length: u64) -> bool {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    let mut byte = [0];
    let mut buffers = [std::io::IoSliceMut::new(&mut byte)];
    let there = preadv2(file, &mut buffers, 0, ReadWriteFlags::NOWAIT);
    if there != Err(Errno::AGAIN) {
        return false;
    }
    let advice = rustix::fs::Advice::WillNeed;
    rustix::fs::fadvise(file, 0, std::num::NonZeroU64::new(length), advice).is_ok()
}

/// Other systems do not tell what is in memory.
#[cfg(not(target_os = "linux"))]
fn read_ahead(_: &File, _: u64) -> bool {
    false
}

/// [`Path::join`] with one allocation.
#[must_use]
pub fn join(base: &Path, path: &Path) -> PathBuf {
    let length = base.as_os_str().len() + path.as_os_str().len();
    let mut joined = PathBuf::with_capacity(length + 1);
    joined.push(base);
    joined.push(path);
    joined
}

/// Resolves `.` and `..` without asking the file system, as Python's `os.path.normpath`.
#[must_use]
pub fn normalise(path: PathBuf) -> PathBuf {
    if is_normal(&path) {
        return path;
    }
    resolve(&path)
}

/// Whether resolving surely changes nothing: the path neither begins with a dot nor ends with a
/// slash, and after each slash comes something else than a slash or a dot.
#[must_use]
pub fn is_normal(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    let goes_on = |at: usize| bytes.get(at).is_some_and(|b| !matches!(b, b'/' | b'.'));
    cfg!(unix)
        && bytes.first() != Some(&b'.')
        && memchr::memchr_iter(b'/', bytes).all(|slash| goes_on(slash + 1))
}

/// As [`normalise`], but only where the result surely names the same file: `x/..` goes where `x` is
/// a directory and no link, whose `..` may lie elsewhere, and a slash at the end stays, since behind
/// a file it makes the path invalid.
#[must_use]
pub fn simplify(path: PathBuf) -> PathBuf {
    if is_normal(&path) {
        return path;
    }
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match out.components().next_back() {
                Some(Component::Normal(_)) if is_directory(&out) => {
                    out.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => {}
                _ => out.push(".."),
            },
            other => out.push(other),
        }
    }
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        out.push("");
    }
    out
}

/// Whether `path` is a directory and no link to one. The rows of a file mostly ask for the same one
/// again.
fn is_directory(path: &Path) -> bool {
    thread_local! {
        static LAST: RefCell<(PathBuf, bool)> = RefCell::default();
    }
    LAST.with_borrow_mut(|(last, is)| {
        if last != path {
            *is = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
            path.clone_into(last);
        }
        *is
    })
}

fn resolve(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match out.components().next_back() {
                Some(Component::Normal(_)) => {
                    out.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => {}
                _ => out.push(".."),
            },
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A sound 3 × 2 PNG.
    fn png() -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        ::image::RgbImage::new(3, 2)
            .write_to(&mut bytes, ::image::ImageFormat::Png)
            .unwrap();
        bytes.into_inner()
    }

    fn slot(root: &Path, written: &str, change: impl FnOnce(&mut ImageContext)) -> ImageSlot {
        let mut context = ImageContext {
            roots: vec![root.to_owned()],
            ..ImageContext::default()
        };
        change(&mut context);
        ImageSlot::new(written.into(), 0, Arc::new(context))
    }

    proptest! {
        #[test]
        fn a_normal_path_is_left_as_it_is(path in "(/|\\./|a|b\\.|\\.\\.|é){0,8}") {
            let path = PathBuf::from(path);
            prop_assert_eq!(normalise(path.clone()).into_os_string(), resolve(&path).into_os_string());
            let base = Path::new("a/b");
            prop_assert_eq!(join(base, &path).into_os_string(), base.join(&path).into_os_string());
        }
    }

    #[test]
    fn one_opening_serves_every_step() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.jpg"), png()).unwrap();
        let mut image = slot(dir.path(), "a.jpg", |c| c.want = ImageNeed::Pixels);
        assert_eq!(image.file_size().unwrap(), png().len() as u64);
        assert_eq!(image.header().unwrap().width, 3);
        assert_eq!(image.pixels().unwrap().height(), 2);
        image.check(ImageCheck::Decode).unwrap();
        image.release();
        image.check(ImageCheck::Decode).unwrap();
        assert_eq!(image.header().unwrap().height, 2);
        let counts = image.counts();
        assert_eq!(
            (counts.opened, counts.full_decodes, counts.scaled_decodes),
            (1, 1, 0)
        );
        assert_eq!(counts.bytes_read, png().len() as u64);
    }

    #[test]
    fn errors_are_remembered_and_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("empty"), b"").unwrap();
        std::fs::write(dir.path().join("page.png"), b"<html>404").unwrap();
        std::fs::write(dir.path().join("cut.png"), &png()[..50]).unwrap();
        let code = |written: &str| {
            slot(dir.path(), written, |_| ())
                .check(ImageCheck::Decode)
                .unwrap_err()
                .code
        };
        assert_eq!(code("none.jpg"), "image_missing");
        assert_eq!(code("empty/x.jpg"), "image_missing");
        assert_eq!(code("."), "image_not_a_file");
        assert_eq!(code("empty"), "image_empty");
        assert_eq!(code("page.png"), "image_unknown_format");
        assert_eq!(code("cut.png"), "image_truncated");
        assert_eq!(code(""), "image_path_invalid");
        assert_eq!(code("a\0b"), "image_path_invalid");
        assert_eq!(code("file:///a.jpg"), "image_path_invalid");
        assert_eq!(code(&"x".repeat(5000)), "image_path_invalid");
        if cfg!(unix) {
            assert_eq!(code("/dev/null"), "image_not_a_file");
        }
        let image = slot(dir.path(), "page.png", |_| ());
        assert!(image.header().unwrap_err().message.contains("HTML"));
        assert!(image.pixels().is_err());
        assert_eq!(image.counts().opened, 1);
    }

    /// What the system cannot open is no image, however its name would resolve.
    #[cfg(unix)]
    #[test]
    fn a_path_is_opened_as_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("there")).unwrap();
        std::fs::write(dir.path().join("i.png"), png()).unwrap();
        std::os::unix::fs::symlink("i.png", dir.path().join("link.png")).unwrap();
        for confine in [false, true] {
            let outcome = |written: &str| {
                let slot = slot(dir.path(), written, |c| c.confine = confine);
                let size = slot.file_size().map_err(|error| error.code);
                let check = slot.check(ImageCheck::Decode).map_err(|error| error.code);
                assert_eq!(size.map(drop), check, "{written}");
                check
            };
            for written in ["i.png", "./i.png", "there/../i.png", "there//.././/i.png"] {
                assert_eq!(outcome(written), Ok(()), "{written}");
            }
            for written in [
                "i.png/",
                "i.png//",
                "i.png/.",
                "./i.png/",
                "link.png/",
                "nosuch/../i.png",
                "nosuch/../there/../i.png",
                "i.png/../i.png",
                "there/../i.png/",
            ] {
                assert_eq!(outcome(written), Err("image_missing"), "{written}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_confined_row_cannot_leave_its_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("in.png"), png()).unwrap();
        std::fs::write(dir.path().join("out.png"), png()).unwrap();
        std::os::unix::fs::symlink(dir.path().join("out.png"), root.join("link.png")).unwrap();
        std::os::unix::fs::symlink(root.join("in.png"), root.join("own.png")).unwrap();
        let outcome = |written: &str, confine: bool| {
            let image = slot(&root, written, |c| c.confine = confine);
            let outcome = image.check(ImageCheck::Decode).map_err(|e| e.code);
            (outcome, image.counts().opened)
        };
        assert_eq!(outcome("in.png", true), (Ok(()), 1));
        assert_eq!(outcome("own.png", true), (Ok(()), 1));
        let outside = (Err("image_outside_root"), 0);
        assert_eq!(outcome("link.png", true), outside);
        assert_eq!(outcome("../out.png", true), outside);
        assert_eq!(
            outcome(dir.path().join("out.png").to_str().unwrap(), true),
            outside
        );
        assert_eq!(outcome("link.png", false), (Ok(()), 1));
        assert_eq!(
            slot(&root, "link.png", |c| c.confine = true)
                .file_size()
                .unwrap_err()
                .code,
            "image_outside_root"
        );
    }

    /// Somebody swaps links, of the file itself and of a directory above it, as fast as he can
    /// while rows are read: what is read is what lies inside, or nothing.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_link_swapped_meanwhile_never_leads_outside() {
        use std::os::unix::fs::symlink;
        use std::sync::atomic::{AtomicBool, Ordering};

        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        for (place, width) in [(&root.join("real"), 3), (&outside, 5)] {
            std::fs::create_dir_all(place).unwrap();
            ::image::RgbImage::new(width, 2)
                .save_with_format(place.join("a.png"), ::image::ImageFormat::Png)
                .unwrap();
        }
        let done = AtomicBool::new(false);
        let swap = || {
            let targets = [root.join("real"), outside.clone()];
            for target in targets.iter().cycle() {
                for (link, target) in [("dir", target.clone()), ("link.png", target.join("a.png"))]
                {
                    let next = root.join(format!("{link}.next"));
                    symlink(target, &next).unwrap();
                    std::fs::rename(&next, root.join(link)).unwrap();
                }
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        };
        let (mut inside, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(swap);
            let started = std::time::Instant::now();
            let mut rounds = 0;
            while rounds < 2000 || inside.min(refused) < 50 {
                rounds += 1;
                for written in ["link.png", "dir/a.png"] {
                    let image = slot(&root, written, |c| {
                        c.confine = true;
                        c.want = ImageNeed::Pixels;
                    });
                    match image.pixels() {
                        Ok(pixels) => {
                            assert_eq!(pixels.width(), 3, "the picture outside was read");
                            inside += 1;
                        }
                        Err(e) if e.code == "image_outside_root" => refused += 1,
                        // The links are not there yet.
                        Err(e) => assert_eq!(e.code, "image_missing"),
                    }
                }
                if started.elapsed().as_secs() > 60 {
                    break;
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(
            inside > 0 && refused > 0,
            "{inside} inside, {refused} refused"
        );
    }

    /// Says nothing where the system keeps the file in memory whatever it is told (tmpfs).
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_is_read_ahead_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        std::fs::write(&path, vec![7; 300_000]).unwrap();
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let image = slot(dir.path(), "a.bin", |c| c.want = ImageNeed::Pixels);
        if image.read_ahead() {
            let started = std::time::Instant::now();
            while image.read_ahead() {
                assert!(started.elapsed().as_secs() < 60, "it never came");
            }
        }
        assert!(!image.read_ahead());
        assert!(!slot(dir.path(), "none.bin", |_| ()).read_ahead());
    }

    #[test]
    fn a_header_is_read_from_the_first_bytes_only() {
        let dir = tempfile::tempdir().unwrap();
        let mut jpeg =
            b"\xff\xd8\xff\xc0\0\x0b\x08\0\x10\0\x20\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0"
                .to_vec();
        jpeg.resize(100_000, 0);
        std::fs::write(dir.path().join("a.jpg"), &jpeg).unwrap();
        let image = slot(dir.path(), "a.jpg", |_| ());
        assert_eq!(image.header().unwrap().width, 32);
        assert_eq!(image.counts().bytes_read, 1024);
        // A large segment before the size makes it read on.
        let mut late = b"\xff\xd8\xff\xe1\xc0\x00".to_vec();
        late.resize(6 + 0xc000 - 2, b' ');
        late.extend_from_slice(&jpeg[2..]);
        std::fs::write(dir.path().join("b.jpg"), &late).unwrap();
        let image = slot(dir.path(), "b.jpg", |_| ());
        assert_eq!(image.header().unwrap().height, 16);
        assert!(image.counts().bytes_read <= 1 << 16);
    }
}
