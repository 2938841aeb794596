//! WebP by libwebp, the library that Pillow has, asked in the same way: its demultiplexer for what the
//! file holds, its decoder of animations for the first frame.
//!
//! It knows no file and no row: bytes in, pixels or a reason out. The library is never asked for a
//! picture before its size is known to be small enough.
#![expect(
    unsafe_code,
    reason = "libwebp is a C library; this file is its whole binding"
)]

use std::marker::PhantomData;
use std::ptr::{null, null_mut};

use libwebp_sys as sys;

use super::{ImageError, RgbImage, check_size};

/// What a WebP holds.
pub(crate) struct Webp<'a> {
    demuxer: *mut sys::WebPDemuxer,
    data: sys::WebPData,
    /// The library reads them where they are.
    bytes: PhantomData<&'a [u8]>,
}

impl<'a> Webp<'a> {
    /// Looks at all chunks of a file.
    ///
    /// # Errors
    /// `image_too_large` by the size that its first chunk says, `image_truncated` if it is shorter than
    /// it says, else `image_corrupt`.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, ImageError> {
        if let Some((width, height)) = first_size(bytes).filter(|size| size.0 > 0 && size.1 > 0) {
            check_size(width, height)?;
        }
        let data = sys::WebPData {
            bytes: bytes.as_ptr(),
            size: bytes.len(),
        };
        // SAFETY: `data` is a slice that outlives the demuxer, whose version is that of the header.
        let demuxer =
            unsafe { sys::WebPDemuxInternal(&raw const data, 0, null_mut(), DEMUX_VERSION) };
        if demuxer.is_null() {
            return Err(if is_short(bytes) {
                ImageError::truncated("the WebP is shorter than it says")
            } else {
                ImageError::corrupt("not a valid WebP: its chunks do not go together")
            });
        }
        Ok(Self {
            demuxer,
            data,
            bytes: PhantomData,
        })
    }

    /// Width and height of its canvas.
    pub(crate) fn size(&self) -> (u32, u32) {
        use sys::WebPFormatFeature::{WEBP_FF_CANVAS_HEIGHT, WEBP_FF_CANVAS_WIDTH};
        let feature = |which| {
            // SAFETY: the demuxer is alive.
            unsafe { sys::WebPDemuxGetI(self.demuxer, which) }
        };
        (
            feature(WEBP_FF_CANVAS_WIDTH),
            feature(WEBP_FF_CANVAS_HEIGHT),
        )
    }

    /// What the first chunk of this name holds.
    pub(crate) fn chunk(&self, name: [u8; 4]) -> Option<Vec<u8>> {
        let mut found = sys::WebPChunkIterator {
            chunk_num: 0,
            num_chunks: 0,
            chunk: sys::WebPData {
                bytes: null(),
                size: 0,
            },
            pad: [0; 6],
            private_: null_mut(),
        };
        // SAFETY: the demuxer is alive, and four bytes of the name are read.
        let is_there = unsafe {
            sys::WebPDemuxGetChunk(self.demuxer, name.as_ptr().cast(), 1, &raw mut found)
        };
        if is_there == 0 || found.chunk.bytes.is_null() {
            return None;
        }
        // SAFETY: the library found so many bytes there, within those that it was given.
        let chunk = unsafe { std::slice::from_raw_parts(found.chunk.bytes, found.chunk.size) };
        let chunk = chunk.to_vec();
        // SAFETY: it was filled above.
        unsafe { sys::WebPDemuxReleaseChunkIterator(&raw mut found) };
        Some(chunk)
    }

    /// The first frame on its canvas, in RGB.
    ///
    /// # Errors
    /// `image_too_large`, or `image_corrupt` if the frame cannot be decoded to its end.
    pub(crate) fn decode_rgb(&self) -> Result<RgbImage, ImageError> {
        let (width, height) = self.size();
        check_size(width, height)?;
        let corrupt = || ImageError::corrupt("not a valid WebP: its picture cannot be decoded");
        let decoder = Decoder::new(&self.data).ok_or_else(corrupt)?;
        let mut canvas = null_mut();
        let mut time = 0;
        // SAFETY: the decoder is alive, and fills both.
        let found =
            unsafe { sys::WebPAnimDecoderGetNext(decoder.0, &raw mut canvas, &raw mut time) };
        if found == 0 || canvas.is_null() {
            return Err(corrupt());
        }
        let pixels = width as usize * height as usize;
        // SAFETY: the canvas has four bytes for each of its pixels, and belongs to the decoder.
        let rgba = unsafe { std::slice::from_raw_parts(canvas, pixels * 4) };
        let (rgba, _) = rgba.as_chunks::<4>();
        let rgb = rgba.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect();
        RgbImage::new(width, height, rgb).ok_or_else(corrupt)
    }
}

impl Drop for Webp<'_> {
    fn drop(&mut self) {
        // SAFETY: it was made by the library and is used no more.
        unsafe { sys::WebPDemuxDelete(self.demuxer) };
    }
}

/// A decoder of frames.
struct Decoder(*mut sys::WebPAnimDecoder);

impl Decoder {
    fn new(data: &sys::WebPData) -> Option<Self> {
        // SAFETY: the bytes of `data` outlive the decoder; without options it has the usual ones.
        let decoder = unsafe { sys::WebPAnimDecoderNewInternal(data, null(), DEMUX_VERSION) };
        (!decoder.is_null()).then_some(Self(decoder))
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: it was made by the library and is used no more.
        unsafe { sys::WebPAnimDecoderDelete(self.0) };
    }
}

/// The version of the interface that the bindings are made of.
const DEMUX_VERSION: i32 = sys::WEBP_DEMUX_ABI_VERSION.cast_signed();

/// The size that the first chunk says, whatever the rest is; Pillow looks at it first.
fn first_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize, length: usize| {
        let digits = bytes.get(at..at + length)?.iter().rev();
        Some(digits.fold(0, |number, digit| number << 8 | u32::from(*digit)))
    };
    match bytes.get(12..16)? {
        b"VP8 " if bytes.get(23..26)? == b"\x9d\x01\x2a" => {
            Some((number(26, 2)? & 0x3fff, number(28, 2)? & 0x3fff))
        }
        b"VP8X" => Some((number(24, 3)? + 1, number(27, 3)? + 1)),
        b"VP8L" if bytes.get(20) == Some(&0x2f) => {
            let sides = number(21, 4)?;
            Some(((sides & 0x3fff) + 1, (sides >> 14 & 0x3fff) + 1))
        }
        _ => None,
    }
}

/// Whether there are fewer bytes than a file says that it has.
fn is_short(bytes: &[u8]) -> bool {
    let size = bytes.get(4..8).and_then(|size| size.try_into().ok());
    let size = size.map_or(u32::MAX, u32::from_le_bytes);
    (bytes.len() as u64) < u64::from(size) + 8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of one pixel, without losses.
    fn pixel() -> Vec<u8> {
        let mut bytes = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0".to_vec();
        bytes.extend([
            0x2f, 0, 0, 0, 0x10, 7, 0x10, 0x11, 0x11, 0x88, 0x88, 0xfe, 7, 0,
        ]);
        bytes
    }

    #[test]
    fn a_picture_is_there_or_not() {
        let sound = pixel();
        let webp = Webp::open(&sound).unwrap();
        assert_eq!(webp.size(), (1, 1));
        assert_eq!(webp.chunk(*b"EXIF"), None);
        assert_eq!(webp.decode_rgb().unwrap().width(), 1);
        let code = |bytes: &[u8]| Webp::open(bytes).err().map(|error| error.code);
        assert_eq!(code(&sound[..20]), Some("image_truncated"));
        let changed = |at: usize, to: &[u8]| {
            let mut bytes = sound.clone();
            bytes[at..at + to.len()].copy_from_slice(to);
            bytes
        };
        assert_eq!(code(&changed(12, b"X")), Some("image_corrupt"));
        // A size is too large whether the rest is sound or not.
        let large = changed(21, &[0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(code(&large), Some("image_too_large"));
        assert_eq!(code(&large[..25]), Some("image_too_large"));
    }

    #[test]
    fn chunks_are_found_by_their_names() {
        let mut bytes = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0".to_vec();
        bytes.extend([8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&pixel()[12..]);
        bytes.extend_from_slice(b"EXIF\x03\0\0\0abc\0");
        let size = u32::try_from(bytes.len() - 8).unwrap();
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
        let webp = Webp::open(&bytes).unwrap();
        assert_eq!(webp.chunk(*b"EXIF").as_deref(), Some(&b"abc"[..]));
        assert_eq!(webp.chunk(*b"XMP "), None);
    }
}
