//! JPEG pixels by libjpeg-turbo's decoder (as mozjpeg ships it), with Pillow's verdict.
//!
//! It knows no file and no row: bytes in, pixels or a
//! reason out. The source never pretends that there is more input than there is: when the bytes
//! run out before the last pixel, the decoder suspends and the image is refused as truncated,
//! which is what Pillow's strict `load()` does, even if only the two bytes of the end marker are
//! missing (the decoder looks ahead). Damage that the decoder can step over ("Corrupt JPEG
//! data…"), or a tail of other bytes in place of the end marker, is accepted as in Pillow, but
//! reported.
//!
//! The scans of plain files are read by our own code: by [`jpeg_skip`] where no more than the first
//! coefficients count, otherwise by [`Blocks`] in the place of libjpeg's part for it. Both give a
//! scan up at the first thing that libjpeg might say something of, and libjpeg alone decides.
#![expect(
    unsafe_code,
    reason = "libjpeg is a C library; this file is its whole binding"
)]

use std::any::Any;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{addr_of_mut, null_mut};

use mozjpeg_sys as sys;
use mozjpeg_sys::{J_COLOR_SPACE, J_DCT_METHOD};

use super::jpeg_blocks::Blocks;
use super::jpeg_scan::Plain;
use super::{ImageError, RgbImage, check_size, jpeg_idct, jpeg_skip};

/// `jpeg_read_header` found an image (and did not run out of input).
const HEADER_OK: i32 = 1;

/// It found the end of a stream that has tables and no image.
const HEADER_TABLES_ONLY: i32 = 2;

/// As many scans as libjpeg-turbo's own tools take of files they do not trust. An encoder makes
/// about ten; each scan may be a few bytes and still costs a walk over all blocks of the picture.
const MAX_SCANS: i32 = 500;

/// More scans than [`MAX_SCANS`] are read of a picture so small that they cost little: this many
/// pixels times scans take a few seconds. Pillow has no limit and takes hours for a bad file.
const MAX_SCANNED_PIXELS: u64 = 1 << 33;

/// What a decode noticed besides its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notes {
    /// The stream has damage that the decoder stepped over: some pixels are made up.
    pub suspect: bool,
}

/// All pixels as RGB, not yet oriented: accurate integer DCT, smooth chroma upsampling, CMYK by
/// Pillow's formula (after the inversion that it assumes of every four-channel JPEG).
///
/// # Errors
/// `image_truncated` or `image_corrupt`, exactly where Pillow's strict `load()` refuses;
/// `image_too_large`, `image_zero_size`.
pub fn decode_rgb(bytes: &[u8]) -> Result<(RgbImage, Notes), ImageError> {
    run(bytes, read_rgb)
}

fn read_rgb(session: &Session<'_>) -> Result<RgbImage, ImageError> {
    session.read_header()?;
    let cmyk = session.components() == 4;
    session.set_output(if cmyk {
        J_COLOR_SPACE::JCS_CMYK
    } else {
        J_COLOR_SPACE::JCS_RGB
    });
    session.start()?;
    let (width, height) = session.output_size();
    let stride = width as usize * if cmyk { 4 } else { 3 };
    let mut data = vec![0; stride * height as usize];
    session.read_rows(&mut data, stride)?;
    session.finish()?;
    if cmyk {
        data = cmyk_to_rgb(&data);
    }
    RgbImage::new(width, height, data)
        .ok_or_else(|| ImageError::corrupt("the decoder returned an impossible size"))
}

/// Width, height and the samples as stored, or, if that is `luma`, luma and chroma as red, green and
/// blue: a JPEG within another file, which says itself what its channels are, and that it has about
/// `expected` samples.
///
/// # Errors
/// As [`decode_rgb`].
pub fn decode_samples(
    bytes: &[u8],
    luma: bool,
    expected: usize,
) -> Result<(u32, u32, Vec<u8>), ImageError> {
    let read = |session: &Session<'_>| {
        session.read_header()?;
        let channels = usize::try_from(session.components()).unwrap_or(0);
        if luma && channels != 3 {
            return Err(ImageError::corrupt("not a valid JPEG: it has no chroma"));
        }
        session.set_output(if luma {
            J_COLOR_SPACE::JCS_RGB
        } else {
            J_COLOR_SPACE::JCS_UNKNOWN
        });
        session.set_stored(if luma {
            J_COLOR_SPACE::JCS_YCbCr
        } else {
            J_COLOR_SPACE::JCS_UNKNOWN
        });
        session.start()?;
        let (width, height) = session.output_size();
        let stride = width as usize * channels;
        if stride * height as usize > expected * 4 + (1 << 20) {
            return Err(ImageError::corrupt(
                "not a valid JPEG: it is larger than its place",
            ));
        }
        let mut data = vec![0; stride * height as usize];
        session.read_rows(&mut data, stride)?;
        session.finish()?;
        Ok((width, height, data))
    };
    Session::open(bytes).run(read).map(|(found, _)| found)
}

/// Reads the whole stream but makes no pixels, or only every eighth grey one: the same verdict as
/// [`decode_rgb`] at a fraction of its cost.
///
/// # Errors
/// As [`decode_rgb`].
pub fn validate(bytes: &[u8]) -> Result<Notes, ImageError> {
    if jpeg_skip::is_sound(bytes) {
        return Ok(Notes::default());
    }
    validate_by_libjpeg(bytes)
}

/// The same without [`jpeg_skip`].
fn validate_by_libjpeg(bytes: &[u8]) -> Result<Notes, ImageError> {
    let skim = |session: &Session<'_>| {
        session.read_header()?;
        session.set_output(if session.components() == 4 {
            J_COLOR_SPACE::JCS_CMYK
        } else {
            J_COLOR_SPACE::JCS_GRAYSCALE
        });
        session.set_scale(1);
        session.start()?;
        let (width, _) = session.output_size();
        let mut row = vec![0; width as usize * 4];
        session.skim_rows(&mut row)?;
        session.finish()
    };
    Session::open(bytes).run(skim).map(|((), notes)| notes)
}

/// The picture in grey at the smallest of the scales 1/8, 1/4, 1/2 and 1 at which both sides have
/// `side` pixels or more (at 1 if they never have), as equal channels and not yet oriented. The
/// verdict is that of [`decode_rgb`]. Four inks are decoded as they are there.
///
/// # Errors
/// As [`decode_rgb`].
pub fn decode_reduced(bytes: &[u8], side: u32) -> Result<(RgbImage, Notes), ImageError> {
    if let Some(plain) = Plain::read(bytes)
        && eighths(plain.width, plain.height, side) == 1
        && let Some((width, height, samples)) = jpeg_skip::eighth(&plain)
        && let Some(image) = grey(width, height, &samples)
    {
        return Ok((image, Notes::default()));
    }
    let (image, notes) = run(bytes, |session| read_reduced(session, side))?;
    match image {
        Some(image) => Ok((image, notes)),
        None => decode_rgb(bytes),
    }
}

/// `None` inside for four inks.
fn read_reduced(session: &Session<'_>, side: u32) -> Result<Option<RgbImage>, ImageError> {
    session.read_header()?;
    if session.components() == 4 {
        return Ok(None);
    }
    session.set_output(J_COLOR_SPACE::JCS_GRAYSCALE);
    let (width, height) = session.size();
    session.set_scale(eighths(width, height, side));
    session.start()?;
    let (width, height) = session.output_size();
    let stride = width as usize;
    let mut samples = vec![0; stride * height as usize];
    session.read_rows(&mut samples, stride)?;
    session.finish()?;
    Ok(grey(width, height, &samples))
}

fn grey(width: u32, height: u32, samples: &[u8]) -> Option<RgbImage> {
    let data = samples.iter().flat_map(|level| [*level; 3]).collect();
    RgbImage::new(width, height, data)
}

/// The smallest of libjpeg's scales at which both sides have `side` pixels, or the largest.
fn eighths(width: u32, height: u32, side: u32) -> u32 {
    let shorter = u64::from(width.min(height));
    [1, 2, 4, 8]
        .into_iter()
        .find(|eighths| shorter * u64::from(*eighths) / 8 >= u64::from(side))
        .unwrap_or(8)
}

/// Runs `work` with our reader of plain scans in the place of libjpeg's, if the file is of that
/// kind, and from the beginning with libjpeg's own if anything in the scan is odd.
fn run<T>(
    bytes: &[u8],
    work: impl Fn(&Session<'_>) -> Result<T, ImageError>,
) -> Result<(T, Notes), ImageError> {
    if let Some(plain) = Plain::read(bytes)
        && let Some(blocks) = Blocks::new(&plain)
    {
        let mut session = Session::open(bytes);
        session.read_scan_by(&plain, blocks);
        if let Some(result) = session.attempt(&work) {
            return result;
        }
    }
    Session::open(bytes).run(work)
}

/// Pillow's conversion: ink is inverted (Adobe's habit), then scaled by the black channel.
pub fn cmyk_to_rgb(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / 4 * 3);
    for pixel in data.chunks_exact(4) {
        let &[c, m, y, k] = pixel else { continue };
        let white = u32::from(k);
        for ink in [c, m, y] {
            let product = (255 - u32::from(ink)) * white + 128;
            let scaled = ((product >> 8) + product) >> 8;
            out.push(u8::try_from(white.saturating_sub(scaled)).unwrap_or(u8::MAX));
        }
    }
    out
}

/// Everything libjpeg points at, in one allocation that does not move.
struct Inner {
    cinfo: sys::jpeg_decompress_struct,
    errors: sys::jpeg_error_mgr,
    source: sys::jpeg_source_mgr,
    progress: sys::jpeg_progress_mgr,
    client: Client,
}

/// What our functions find behind libjpeg's pointer for callers.
struct Client {
    notes: Notes,
    /// Our reader of the scan, null if libjpeg reads it.
    blocks: *mut Blocks,
}

/// One decompression. Owns libjpeg's state and frees it whatever happens.
struct Session<'a> {
    inner: *mut Inner,
    bytes: &'a [u8],
    /// What libjpeg must find in the file for our reader of its scan, and where the scan ends.
    plain: Option<Expected>,
}

/// A picture as our reader of scans takes it.
#[derive(Debug, Clone, Copy)]
struct Expected {
    units: (usize, usize),
    blocks: usize,
    end: usize,
}

/// The payload of the unwinding that carries a fatal error out of libjpeg.
struct Fatal(String);

/// The payload of the unwinding that ends a picture of too many scans.
struct TooManyScans;

/// The payload of the unwinding that leaves a scan to libjpeg.
struct Odd;

impl<'a> Session<'a> {
    fn open(bytes: &'a [u8]) -> Self {
        // SAFETY: all fields are integers, enums with a zero variant, raw pointers or optional
        // function pointers, for which zero bytes are valid.
        let inner: Box<Inner> = Box::new(unsafe { std::mem::zeroed() });
        Self {
            inner: Box::into_raw(inner),
            bytes,
            plain: None,
        }
    }

    /// Lets `blocks` read the scan of the picture, which is `plain`.
    fn read_scan_by(&mut self, plain: &Plain<'_>, blocks: Blocks) {
        self.plain = Some(Expected {
            units: plain.units(),
            blocks: blocks.in_unit(),
            end: plain.begin() + blocks.length(),
        });
        // SAFETY: `inner` is live, and libjpeg is not running.
        unsafe { (*self.inner).client.blocks = Box::into_raw(Box::new(blocks)) };
    }

    /// Runs `work` between creation and destruction of the decompressor, turning libjpeg's fatal
    /// errors into ours.
    fn run<T>(
        self,
        work: impl FnOnce(&Self) -> Result<T, ImageError>,
    ) -> Result<(T, Notes), ImageError> {
        let odd = || ImageError::corrupt("not a valid JPEG: its scan is odd");
        self.attempt(work).unwrap_or_else(|| Err(odd()))
    }

    /// The same; `None` if our reader gives the scan up.
    fn attempt<T>(
        self,
        work: impl FnOnce(&Self) -> Result<T, ImageError>,
    ) -> Option<Result<(T, Notes), ImageError>> {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.create();
            work(&self)
        }));
        // SAFETY: `inner` is the live allocation of `open`; libjpeg is not running.
        let notes = unsafe { (*self.inner).client.notes };
        match outcome {
            Ok(result) => Some(result.map(|value| (value, notes))),
            Err(payload) if payload.is::<Odd>() => None,
            Err(payload) => Some(Err(fatal_error(payload.as_ref()))),
        }
    }

    fn create(&self) {
        // SAFETY: `inner` is live and zeroed; the pointers stored in `cinfo` point into the same
        // allocation, which outlives it. `jpeg_std_error` only fills in the table given.
        unsafe {
            let inner = self.inner;
            sys::jpeg_std_error(&mut *addr_of_mut!((*inner).errors));
            (*inner).errors.error_exit = Some(on_error);
            (*inner).errors.emit_message = Some(on_message);
            (*inner).errors.output_message = Some(on_output);
            (*inner).cinfo.common.err = addr_of_mut!((*inner).errors);
            sys::jpeg_create_decompress(addr_of_mut!((*inner).cinfo));
            // Creation clears the struct except for `err` and `client_data`; set it now anyway.
            (*inner).cinfo.common.client_data = addr_of_mut!((*inner).client).cast();
            (*inner).progress.progress_monitor = Some(on_progress);
            (*inner).cinfo.common.progress = addr_of_mut!((*inner).progress);
            (*inner).source = sys::jpeg_source_mgr {
                next_input_byte: self.bytes.as_ptr(),
                bytes_in_buffer: self.bytes.len(),
                init_source: Some(ignore_source),
                fill_input_buffer: Some(out_of_input),
                skip_input_data: Some(skip_input),
                resync_to_restart: Some(resync),
                term_source: Some(ignore_source),
            };
            (*inner).cinfo.src = addr_of_mut!((*inner).source);
        }
    }

    fn read_header(&self) -> Result<(), ImageError> {
        loop {
            // SAFETY: the decompressor was created and has a source.
            match unsafe { sys::jpeg_read_header(&mut (*self.inner).cinfo, 0) } {
                HEADER_OK => break,
                // A stream of tables alone; the picture is in the next one.
                HEADER_TABLES_ONLY => {}
                _ => return Err(self.ran_out()),
            }
        }
        let (width, height) = self.size();
        check_size(width, height)
    }

    fn size(&self) -> (u32, u32) {
        // SAFETY: plain reads of fields that reading the header has filled in.
        unsafe {
            (
                (*self.inner).cinfo.image_width,
                (*self.inner).cinfo.image_height,
            )
        }
    }

    fn components(&self) -> i32 {
        // SAFETY: a plain read of a live field.
        unsafe { (*self.inner).cinfo.num_components }
    }

    fn set_output(&self, space: J_COLOR_SPACE) {
        // SAFETY: the header was read and decompression has not begun, when these may be set.
        unsafe {
            (*self.inner).cinfo.out_color_space = space;
            (*self.inner).cinfo.dct_method = J_DCT_METHOD::JDCT_ISLOW;
        }
    }

    /// Says what the channels are, whatever the file says.
    fn set_stored(&self, space: J_COLOR_SPACE) {
        // SAFETY: as in `set_output`.
        unsafe { (*self.inner).cinfo.jpeg_color_space = space };
    }

    /// Lets only so many eighths of the rows and columns be made.
    fn set_scale(&self, eighths: u32) {
        // SAFETY: as in `set_output`.
        unsafe {
            (*self.inner).cinfo.scale_num = eighths;
            (*self.inner).cinfo.scale_denom = 8;
            (*self.inner).cinfo.do_fancy_upsampling = 0;
        }
    }

    fn start(&self) -> Result<(), ImageError> {
        // SAFETY: the header was read.
        if unsafe { sys::jpeg_start_decompress(&mut (*self.inner).cinfo) } == 0 {
            return Err(self.ran_out());
        }
        self.replace_transforms();
        self.replace_reader();
        Ok(())
    }

    /// The fields of libjpeg's struct that its binding keeps to itself.
    fn end_of_struct(&self) -> *mut EndOfStruct {
        // SAFETY: `inner` is live, and `EndOfStruct` is not larger than the struct it is the end of.
        unsafe {
            addr_of_mut!((*self.inner).cinfo)
                .add(1)
                .cast::<EndOfStruct>()
                .sub(1)
        }
    }

    /// Puts our reader of scans in the place of libjpeg's, if the session has one, and lets libjpeg
    /// go on behind the scan.
    fn replace_reader(&self) {
        let Some(expected) = self.plain else { return };
        // SAFETY: decompression has begun and nothing of the scan was read; the pointer leads to the
        // part that will read it, which begins with the two functions of `ScanReader`. The bytes left
        // are those of this session. Where libjpeg sees another picture than our reader, its own stays.
        unsafe {
            let end = self.end_of_struct();
            let units = ((*end).units_across as usize, (*end).units_down as usize);
            if units != expected.units
                || usize::try_from((*end).blocks_in_unit) != Ok(expected.blocks)
            {
                return;
            }
            (*(*end).scan_reader).decode_mcu = Some(read_unit);
            let rest = self.bytes.get(expected.end..).unwrap_or_default();
            (*self.inner).source.next_input_byte = rest.as_ptr();
            (*self.inner).source.bytes_in_buffer = rest.len();
        }
    }

    /// Puts our transform in the place of libjpeg's C code, see [`jpeg_idct`]. Starting has chosen
    /// one for each component, and nothing was transformed yet.
    fn replace_transforms(&self) {
        let plain = jpeg_idct_islow as *const ();
        // SAFETY: decompression has begun, so the pointer leads to libjpeg's table of transforms, whose
        // layout `Transforms` repeats.
        unsafe {
            let table = (*self.end_of_struct()).transforms;
            for transform in &mut (*table).of_component {
                if transform.is_some_and(|chosen| std::ptr::eq(chosen as *const (), plain)) {
                    *transform = Some(transform_block);
                }
            }
        }
    }

    fn output_size(&self) -> (u32, u32) {
        // SAFETY: plain reads of fields that starting has filled in.
        unsafe {
            (
                (*self.inner).cinfo.output_width,
                (*self.inner).cinfo.output_height,
            )
        }
    }

    /// Fills `data` with all rows of `stride` bytes each.
    fn read_rows(&self, data: &mut [u8], stride: usize) -> Result<(), ImageError> {
        let mut rest = data;
        while rest.len() >= stride {
            let mut rows = [null_mut(); 8];
            let mut count = 0;
            for (slot, row) in rows.iter_mut().zip(rest.chunks_exact_mut(stride)) {
                *slot = row.as_mut_ptr();
                count += 1;
            }
            let read = self.read_into(&mut rows, count)?;
            rest = rest.get_mut(read * stride..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads all rows over each other.
    fn skim_rows(&self, row: &mut [u8]) -> Result<(), ImageError> {
        let (_, height) = self.output_size();
        let mut left = height as usize;
        while left > 0 {
            let mut rows = [row.as_mut_ptr(); 8];
            // One row a call: they all go to the same buffer.
            left -= self.read_into(&mut rows, 1)?.min(left);
        }
        Ok(())
    }

    fn read_into(&self, rows: &mut [*mut u8; 8], count: u32) -> Result<usize, ImageError> {
        // SAFETY: decompression has begun; each of the first `count` pointers leads to a buffer
        // of at least one output row, which the callers size from `output_size`.
        let read =
            unsafe { sys::jpeg_read_scanlines(&mut (*self.inner).cinfo, rows.as_mut_ptr(), count) };
        if read == 0 {
            return Err(self.ran_out());
        }
        Ok(read as usize)
    }

    /// Looks for the end marker. All pixels are there by now: a fatal error still counts, but
    /// running out of input does not, as in Pillow (a tail of zeros instead of the marker, say).
    /// Where the marker alone is missing, the last rows already could not be read.
    fn finish(&self) -> Result<(), ImageError> {
        // SAFETY: all rows were read; the source is that of `create`; `notes` is a plain field of
        // the live allocation.
        let left = unsafe {
            if sys::jpeg_finish_decompress(&mut (*self.inner).cinfo) != 0 {
                return Ok(());
            }
            (*self.inner).client.notes.suspect = true;
            (*self.inner).source.bytes_in_buffer
        };
        // Newer libjpeg-turbo refuses a second frame header before it reads it, so also one that is
        // cut off.
        let read = self.bytes.get(..self.bytes.len().saturating_sub(left));
        match read.and_then(|read| read.last_chunk()) {
            Some([0xff, 0xc0..=0xc2 | 0xc9 | 0xca]) => Err(ImageError::corrupt(
                "not a valid JPEG: a second frame header follows the picture",
            )),
            _ => Ok(()),
        }
    }

    fn ran_out(&self) -> ImageError {
        ImageError::truncated(format!(
            "the JPEG ends before its end marker ({} bytes)",
            self.bytes.len()
        ))
    }
}

/// libjpeg's `inverse_DCT_method_ptr`.
type Transform = unsafe extern "C-unwind" fn(
    cinfo: *mut sys::jpeg_decompress_struct,
    component: *mut sys::jpeg_component_info,
    coefficients: *mut i16,
    output: *mut *mut u8,
    column: u32,
);

/// The end of libjpeg's `jpeg_decompress_struct`, from `MCUs_per_row` on.
#[repr(C)]
struct EndOfStruct {
    units_across: u32,
    units_down: u32,
    blocks_in_unit: i32,
    channel_of_block: [i32; 10],
    scan: [i32; 4],
    marker: i32,
    parts: [*mut (); 6],
    scan_reader: *mut ScanReader,
    transforms: *mut Transforms,
    more_parts: [*mut (); 3],
}

/// libjpeg's `jpeg_inverse_dct`, which its binding leaves open.
#[repr(C)]
struct Transforms {
    start_pass: Option<unsafe extern "C-unwind" fn(*mut sys::jpeg_decompress_struct)>,
    of_component: [Option<Transform>; 10],
}

/// The beginning of libjpeg's `jpeg_entropy_decoder`, which its binding leaves open.
#[repr(C)]
struct ScanReader {
    start_pass: Option<unsafe extern "C-unwind" fn(*mut sys::jpeg_decompress_struct)>,
    decode_mcu: Option<
        unsafe extern "C-unwind" fn(
            cinfo: *mut sys::jpeg_decompress_struct,
            blocks: *mut *mut [i16; 64],
        ) -> sys::boolean,
    >,
}

/// [`Blocks::unit`] for libjpeg.
unsafe extern "C-unwind" fn read_unit(
    cinfo: *mut sys::jpeg_decompress_struct,
    blocks: *mut *mut [i16; 64],
) -> sys::boolean {
    // SAFETY: this is called only where `replace_reader` put it, for a picture whose units have as
    // many blocks as the reader takes them to have. libjpeg hands over a pointer for each of them,
    // to zeros of its own. `client_data` is the `Client` of `create`, whose reader lives as long as
    // the session.
    let read = unsafe {
        let client = (*cinfo).common.client_data.cast::<Client>();
        (*(*client).blocks).unit(|number| &mut **blocks.add(number))
    };
    if read.is_none() {
        resume_unwind(Box::new(Odd));
    }
    1
}

unsafe extern "C-unwind" {
    /// libjpeg's accurate transform, without SIMD.
    fn jpeg_idct_islow(
        cinfo: *mut sys::jpeg_decompress_struct,
        component: *mut sys::jpeg_component_info,
        coefficients: *mut i16,
        output: *mut *mut u8,
        column: u32,
    );
}

/// [`jpeg_idct::idct`] for libjpeg.
unsafe extern "C-unwind" fn transform_block(
    _: *mut sys::jpeg_decompress_struct,
    component: *mut sys::jpeg_component_info,
    coefficients: *mut i16,
    output: *mut *mut u8,
    column: u32,
) {
    // SAFETY: libjpeg hands over a live component whose table of quantisation, if it has one, lives
    // as long; a block of 64 coefficients; and eight pointers to rows that have room for eight
    // samples at `column`.
    unsafe {
        let steps = (*component).quant_table;
        let steps = if steps.is_null() {
            [0; 64]
        } else {
            (*steps).quantval
        };
        let block = jpeg_idct::idct(&*coefficients.cast::<[i16; 64]>(), &steps);
        for (y, row) in block.iter().enumerate() {
            let at = (*output.add(y)).add(column as usize);
            at.copy_from_nonoverlapping(row.as_ptr(), row.len());
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // SAFETY: `inner` and `blocks` came from `Box::into_raw` and are released once. Destroying is defined
        // for a decompressor in any state, a zeroed one (no memory manager) included.
        unsafe {
            sys::jpeg_destroy_decompress(&mut (*self.inner).cinfo);
            let blocks = (*self.inner).client.blocks;
            if !blocks.is_null() {
                drop(Box::from_raw(blocks));
            }
            drop(Box::from_raw(self.inner));
        }
    }
}

fn fatal_error(payload: &(dyn Any + Send)) -> ImageError {
    if payload.is::<TooManyScans>() {
        return ImageError::new(
            "image_too_large",
            format!("the JPEG has more than {MAX_SCANS} scans of many pixels, to no good end"),
        );
    }
    let reason = payload
        .downcast_ref::<Fatal>()
        .map_or("the decoder failed", |fatal| fatal.0.as_str());
    ImageError::corrupt(format!("not a valid JPEG: {reason}"))
}

/// libjpeg found an error that it cannot go on from. It must not be returned to.
unsafe extern "C-unwind" fn on_error(cinfo: &mut sys::jpeg_common_struct) {
    // SAFETY: libjpeg passes the struct that `create` gave an error table.
    let message = unsafe { describe(&*cinfo.err) };
    resume_unwind(Box::new(Fatal(message)));
}

/// Called for each row of blocks while scans are read.
unsafe extern "C-unwind" fn on_progress(cinfo: &mut sys::jpeg_common_struct) {
    // SAFETY: only decompressors are given this function, and the common fields are the first of
    // theirs; plain reads of live fields.
    let (scans, pixels) = unsafe {
        let cinfo = std::ptr::from_mut(cinfo).cast::<sys::jpeg_decompress_struct>();
        let (width, height) = ((*cinfo).image_width, (*cinfo).image_height);
        (
            (*cinfo).input_scan_number,
            u64::from(width) * u64::from(height),
        )
    };
    let scanned = u64::try_from(scans).unwrap_or(0).saturating_mul(pixels);
    if scans > MAX_SCANS && scanned > MAX_SCANNED_PIXELS {
        resume_unwind(Box::new(TooManyScans));
    }
}

/// A warning (level -1) or a trace message.
unsafe extern "C-unwind" fn on_message(cinfo: &mut sys::jpeg_common_struct, level: i32) {
    if level >= 0 {
        return;
    }
    // SAFETY: `err` is the table of `create`.
    let code = unsafe { (*cinfo.err).msg_code };
    let harmless = [
        sys::JWRN_ADOBE_XFORM,
        sys::JWRN_JFIF_MAJOR,
        sys::JWRN_TOO_MUCH_DATA,
    ];
    if !harmless.contains(&code) && !cinfo.client_data.is_null() {
        // SAFETY: `client_data` is the `Client` of the same allocation, set by `create`.
        unsafe { (*cinfo.client_data.cast::<Client>()).notes.suspect = true };
    }
}

unsafe extern "C-unwind" fn on_output(_: &mut sys::jpeg_common_struct) {}

unsafe extern "C-unwind" fn ignore_source(_: &mut sys::jpeg_decompress_struct) {}

/// There is no more input: suspend.
unsafe extern "C-unwind" fn out_of_input(_: &mut sys::jpeg_decompress_struct) -> sys::boolean {
    0
}

unsafe extern "C-unwind" fn skip_input(
    cinfo: &mut sys::jpeg_decompress_struct,
    count: sys::c_long,
) {
    // SAFETY: `src` is the source of `create`; the pointer stays within the input or at its end.
    unsafe {
        let source = &mut *cinfo.src;
        let count = usize::try_from(count)
            .unwrap_or(0)
            .min(source.bytes_in_buffer);
        source.next_input_byte = source.next_input_byte.add(count);
        source.bytes_in_buffer -= count;
    }
}

unsafe extern "C-unwind" fn resync(
    cinfo: &mut sys::jpeg_decompress_struct,
    desired: i32,
) -> sys::boolean {
    // SAFETY: libjpeg's own default, called as libjpeg would.
    unsafe { sys::jpeg_resync_to_restart(cinfo, desired) }
}

/// libjpeg's message for the last error, its numbers filled in.
///
/// # Safety
/// `errors` must have been filled in by `jpeg_std_error`.
unsafe fn describe(errors: &sys::jpeg_error_mgr) -> String {
    let known = (0..=errors.last_jpeg_message).contains(&errors.msg_code);
    let index = usize::try_from(errors.msg_code).unwrap_or(0);
    if !known || errors.jpeg_message_table.is_null() {
        return format!("error {}", errors.msg_code);
    }
    // SAFETY: the table has an entry, a C string, for every code up to `last_jpeg_message`.
    let template = unsafe { CStr::from_ptr((*errors.jpeg_message_table.add(index)).cast()) };
    let template = template.to_string_lossy();
    let mut numbers = errors.msg_parm._bindgen_data_.iter();
    let mut parts = template.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let kind = part
            .find(|c: char| c.is_ascii_alphabetic() && c != 'l')
            .unwrap_or(0);
        match part.get(kind..=kind) {
            Some("s") | None => {}
            Some(letter) => {
                let number = numbers.next().copied().unwrap_or(0);
                let shown = if letter == "x" {
                    format!("{number:02x}")
                } else {
                    number.cast_signed().to_string()
                };
                text += &shown;
            }
        }
        text += part.get(kind + 1..).unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sound JPEG of the given colour space, made by the library's own encoder.
    fn encode(space: J_COLOR_SPACE, channels: i32, progressive: bool) -> Vec<u8> {
        let smooth = |x: u32, y: u32| u8::try_from((x * 5 + y * 7) % 256).unwrap();
        encode_with(space, channels, smooth, |cinfo| {
            // SAFETY: compression was set up and has not begun.
            unsafe {
                sys::jpeg_set_quality(cinfo, 90, 1);
                if progressive {
                    sys::jpeg_simple_progression(cinfo);
                }
            }
        })
    }

    const WIDTH: u32 = 40;
    const HEIGHT: u32 = 24;

    /// The same of other samples, by their column and row, and other settings.
    fn encode_with(
        space: J_COLOR_SPACE,
        channels: i32,
        sample: impl Fn(u32, u32) -> u8,
        set: impl FnOnce(&mut sys::jpeg_compress_struct),
    ) -> Vec<u8> {
        let mut out: *mut u8 = null_mut();
        let mut size: sys::c_ulong = 0;
        // SAFETY: the calls follow libjpeg's order for compression; all pointers are to locals
        // that outlive them, and the output buffer is copied before it is freed.
        unsafe {
            let mut errors: sys::jpeg_error_mgr = std::mem::zeroed();
            let mut cinfo: sys::jpeg_compress_struct = std::mem::zeroed();
            cinfo.common.err = sys::jpeg_std_error(&mut errors);
            sys::jpeg_create_compress(&raw mut cinfo);
            sys::jpeg_mem_dest(&mut cinfo, &raw mut out, &raw mut size);
            cinfo.image_width = WIDTH;
            cinfo.image_height = HEIGHT;
            cinfo.in_color_space = space;
            cinfo.input_components = channels;
            sys::jpeg_c_set_int_param(
                &mut cinfo,
                sys::JINT_COMPRESS_PROFILE,
                sys::JCP_FASTEST as i32,
            );
            sys::jpeg_set_defaults(&mut cinfo);
            set(&mut cinfo);
            sys::jpeg_start_compress(&mut cinfo, 1);
            for y in 0..HEIGHT {
                let row: Vec<u8> = (0..WIDTH * channels.cast_unsigned())
                    .map(|x| sample(x, y))
                    .collect();
                sys::jpeg_write_scanlines(&mut cinfo, &row.as_ptr(), 1);
            }
            sys::jpeg_finish_compress(&mut cinfo);
            sys::jpeg_destroy_compress(&mut cinfo);
            let bytes = std::slice::from_raw_parts(out, usize::try_from(size).unwrap()).to_vec();
            libc::free(out.cast());
            bytes
        }
    }

    fn kinds() -> Vec<Vec<u8>> {
        vec![
            encode(J_COLOR_SPACE::JCS_RGB, 3, false),
            encode(J_COLOR_SPACE::JCS_RGB, 3, true),
            encode(J_COLOR_SPACE::JCS_GRAYSCALE, 1, false),
            encode(J_COLOR_SPACE::JCS_CMYK, 4, false),
        ]
    }

    /// JPEGs that are read without libjpeg's reader of scans: of smooth and wild samples, of good
    /// quality and bad, with and without restarts, of all common shapes of units.
    fn plain_kinds() -> Vec<Vec<u8>> {
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            u8::try_from(state >> 24).unwrap()
        };
        let noise: Vec<u8> = (0..WIDTH * 4 * HEIGHT).map(|_| noise()).collect();
        let mut kinds = Vec::new();
        for (space, channels) in [
            (J_COLOR_SPACE::JCS_GRAYSCALE, 1),
            (J_COLOR_SPACE::JCS_RGB, 3),
            (J_COLOR_SPACE::JCS_CMYK, 4),
        ] {
            for (quality, restart, across, down, optimal) in [
                (10, 0, 2, 2, 0),
                (75, 0, 2, 1, 1),
                (90, 3, 1, 2, 0),
                (100, 1, 1, 1, 1),
                (100, 0, 2, 2, 1),
                (98, 2, 4, 1, 0),
            ] {
                for wild in [false, true] {
                    let sample = |x: u32, y: u32| {
                        if wild {
                            noise[(y * WIDTH * 4 + x) as usize]
                        } else {
                            u8::try_from((x * x / 40 + y * 7) % 256).unwrap()
                        }
                    };
                    kinds.push(encode_with(space, channels, sample, |cinfo| {
                        // SAFETY: compression was set up and has not begun; there is a channel.
                        unsafe {
                            sys::jpeg_set_quality(cinfo, quality, 1);
                            cinfo.restart_interval = restart;
                            cinfo.optimize_coding = optimal;
                            (*cinfo.comp_info).h_samp_factor = across;
                            (*cinfo.comp_info).v_samp_factor = down;
                        }
                    }));
                }
            }
        }
        kinds
    }

    /// Verdict, notes and pixels by libjpeg alone, and with our readers.
    fn both_ways(jpeg: &[u8]) {
        let plain = |result: Result<(RgbImage, Notes), ImageError>| {
            result.map(|(image, notes)| (image.data().to_vec(), notes))
        };
        assert_eq!(validate(jpeg), validate_by_libjpeg(jpeg));
        let expected = plain(Session::open(jpeg).run(read_rgb));
        assert_eq!(plain(decode_rgb(jpeg)), expected);
        for side in [1, 3, 5, 100] {
            let reduced = Session::open(jpeg).run(|session| read_reduced(session, side));
            let expected = match reduced {
                Ok((None, _)) => expected.clone(),
                Ok((Some(image), notes)) => plain(Ok((image, notes))),
                Err(error) => Err(error),
            };
            assert_eq!(plain(decode_reduced(jpeg, side)), expected, "{side}");
        }
    }

    #[test]
    fn our_readers_of_scans_say_what_libjpeg_says() {
        for jpeg in plain_kinds() {
            assert!(jpeg_skip::is_sound(&jpeg));
            assert!(Blocks::new(&Plain::read(&jpeg).unwrap()).is_some());
            both_ways(&jpeg);
        }
        for jpeg in kinds() {
            both_ways(&jpeg);
        }
    }

    #[test]
    fn our_readers_say_the_same_of_damage() {
        for (number, jpeg) in plain_kinds().into_iter().enumerate() {
            let scan = jpeg.windows(2).position(|two| two == b"\xff\xda").unwrap();
            for at in (scan..jpeg.len()).step_by(5 + number) {
                let mut damaged = jpeg.clone();
                match at % 4 {
                    0 => damaged[at] ^= 1 << (at / 4 % 8),
                    1 => drop(damaged.remove(at)),
                    2 => damaged.insert(at, 0xff),
                    _ => damaged[at] = 0,
                }
                both_ways(&damaged);
            }
            // The tables and the frame, too.
            for at in (2..scan).step_by(11) {
                let mut damaged = jpeg.clone();
                damaged[at] ^= 1 << (at % 8);
                both_ways(&damaged);
            }
        }
    }

    #[test]
    fn every_kind_decodes_to_rgb() {
        for jpeg in kinds() {
            let (image, notes) = decode_rgb(&jpeg).unwrap();
            assert_eq!((image.width(), image.height()), (40, 24));
            assert!(!notes.suspect);
            assert_eq!(validate(&jpeg).unwrap(), notes);
        }
    }

    #[test]
    fn a_cut_anywhere_is_refused_by_both_decodes() {
        for jpeg in kinds() {
            for cut in (2..jpeg.len())
                .step_by(13)
                .chain([jpeg.len() - 2, jpeg.len() - 1])
            {
                let part = &jpeg[..cut];
                assert_eq!(
                    decode_rgb(part).unwrap_err().code,
                    "image_truncated",
                    "{cut}"
                );
                assert_eq!(validate(part).unwrap_err().code, "image_truncated", "{cut}");
            }
        }
    }

    #[test]
    fn a_reduced_picture_keeps_the_sides_asked_for_and_the_verdict() {
        for jpeg in kinds() {
            let sizes = [1, 3, 4, 12, 13, 100].map(|side| {
                let (image, _) = decode_reduced(&jpeg, side).unwrap();
                (image.width(), image.height())
            });
            let four_inks = jpeg == *kinds().last().unwrap();
            let reduced = [(5, 3), (5, 3), (10, 6), (20, 12), (40, 24), (40, 24)];
            assert_eq!(sizes, if four_inks { [(40, 24); 6] } else { reduced });
            for cut in [jpeg.len() / 2, jpeg.len() - 1] {
                let error = decode_reduced(&jpeg[..cut], 4).unwrap_err();
                assert_eq!(error.code, "image_truncated", "{cut}");
            }
        }
    }

    /// A grey progressive picture whose scans are three bytes each and say nothing.
    fn scans(side: u16, count: usize) -> Vec<u8> {
        let mut jpeg = b"\xff\xd8\xff\xdb\0\x43\0".to_vec();
        jpeg.extend([1; 64]);
        jpeg.extend(b"\xff\xc2\0\x0b\x08");
        jpeg.extend([side.to_be_bytes(), side.to_be_bytes()].concat());
        jpeg.extend(b"\x01\x01\x11\0");
        // One code of one bit in each table: no difference, and a run of 2^14 empty blocks.
        for (table, symbol) in [(0x00, 0x00), (0x10, 0xe0)] {
            jpeg.extend([0xff, 0xc4, 0, 20, table, 1]);
            jpeg.extend([0; 15]);
            jpeg.push(symbol);
        }
        jpeg.extend(b"\xff\xda\0\x08\x01\x01\0\0\0\0\0");
        for _ in 1..count {
            jpeg.extend(b"\xff\xda\0\x08\x01\x01\0\x01\x3f\0\0\0\0");
        }
        jpeg.extend(b"\xff\xd9");
        jpeg
    }

    #[test]
    fn scans_without_end_are_refused_where_they_cost_much() {
        assert!(decode_rgb(&scans(4096, 10)).is_ok());
        for jpeg in [scans(4096, 3000), scans(16_000, 3000)] {
            assert_eq!(validate(&jpeg).unwrap_err().code, "image_too_large");
        }
        assert_eq!(
            decode_rgb(&scans(4096, 3000)).unwrap_err().code,
            "image_too_large"
        );
        // A small picture of as many scans is as odd, but does no harm.
        assert!(decode_rgb(&scans(64, 3000)).is_ok());
    }

    #[test]
    fn damage_that_can_be_stepped_over_is_reported() {
        let mut jpeg = encode(J_COLOR_SPACE::JCS_RGB, 3, false);
        let end = jpeg.len() - 2;
        jpeg.truncate(end);
        jpeg.resize(end + 100, 0);
        assert!(decode_rgb(&jpeg).unwrap().1.suspect);
        assert!(validate(&jpeg).unwrap().suspect);
    }

    #[test]
    fn a_fatal_error_carries_the_reason() {
        let error = decode_rgb(b"\xff\xd8\xff\xd8").unwrap_err();
        assert_eq!(error.code, "image_corrupt");
        assert!(error.message.contains("SOI"), "{error}");
        assert!(decode_rgb(b"PNG?").is_err());
    }

    #[test]
    fn black_ink_darkens_all_colours() {
        // Inverted, as Adobe stores it: 255 is no ink.
        assert_eq!(cmyk_to_rgb(&[255, 255, 255, 255]), [255, 255, 255]);
        assert_eq!(cmyk_to_rgb(&[255, 255, 255, 0]), [0, 0, 0]);
        assert_eq!(cmyk_to_rgb(&[0, 255, 128, 255]), [0, 255, 128]);
        assert_eq!(cmyk_to_rgb(&[0, 255, 255, 100]), [0, 100, 100]);
    }
}
