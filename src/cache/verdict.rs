//! What is kept of an image, as bytes: what was seen of it, or why it is none.

use std::borrow::Cow;

use crate::image::{Format, Header, ImageError};

/// What a decoder said of an image, beside its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its header.
    pub header: Header,
    /// It has damage that a decoder steps over.
    pub suspect: bool,
}

/// The codes of errors that are about the content of an image: only these are kept.
const CODES: [&str; 7] = [
    "image_empty",
    "image_unknown_format",
    "image_zero_size",
    "image_too_large",
    "image_truncated",
    "image_corrupt",
    "image_unsupported_format",
];

/// As bytes, with `more` behind what was seen; `None` if it is not to be kept.
#[must_use]
pub fn encode(verdict: Result<Seen, &ImageError>, more: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(16 + more.len());
    match verdict {
        Ok(Seen { header, suspect }) => {
            let format = Format::ALL.iter().position(|it| *it == header.format)?;
            out.extend([
                1,
                u8::from(suspect),
                u8::try_from(format).ok()?,
                header.orientation,
            ]);
            out.extend_from_slice(&header.width.to_le_bytes());
            out.extend_from_slice(&header.height.to_le_bytes());
            out.extend_from_slice(more);
        }
        Err(error) => {
            let code = CODES.iter().position(|code| *code == error.code)?;
            out.extend([0, u8::try_from(code).ok()?]);
            out.extend_from_slice(error.message.as_bytes());
        }
    }
    Some(out)
}

/// What [`encode`] wrote; of what was seen also the bytes behind it.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Result<(Seen, &[u8]), ImageError>> {
    match bytes.split_first()? {
        (1, rest) => {
            let ([suspect, format, orientation], rest) = rest.split_first_chunk()?;
            let (width, rest) = rest.split_first_chunk()?;
            let (height, rest) = rest.split_first_chunk()?;
            let header = Header {
                width: u32::from_le_bytes(*width),
                height: u32::from_le_bytes(*height),
                format: *Format::ALL.get(usize::from(*format))?,
                orientation: *orientation,
            };
            let seen = Seen {
                header,
                suspect: *suspect == 1,
            };
            Some(Ok((seen, rest)))
        }
        (0, rest) => {
            let (code, message) = rest.split_first()?;
            let message = std::str::from_utf8(message).ok()?.to_owned();
            Some(Err(ImageError {
                code: CODES.get(usize::from(*code))?,
                message: Cow::Owned(message),
            }))
        }
        _ => None,
    }
}
