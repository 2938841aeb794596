//! How djr and its worker talk: frames of a length (four bytes, little endian) and so many bytes
//! of JSON, in both directions.

use std::io::{self, BufRead, Read as _};

use serde_json::Value;

/// The longest frame; what claims more is no frame.
const LONGEST: usize = 64 << 20;

/// A frame with `message`.
#[must_use]
pub fn frame(message: &Value) -> Vec<u8> {
    let json = message.to_string();
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend_from_slice(json.as_bytes());
    frame
}

/// The next frame's bytes; `None` at the end.
///
/// # Errors
/// If the input ends within a frame, or a frame claims to be too long.
pub fn read(from: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    if from.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        let start = String::from_utf8_lossy(&length.to_le_bytes()[..4]).into_owned();
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it begins with {start:?} and is no frame"),
        ));
    }
    let mut bytes = Vec::new();
    from.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn frames_read_back_and_what_is_none_is_refused() {
        let mut bytes = frame(&json!({"ok": true}));
        bytes.extend(frame(&json!(["é"])));
        let mut from = bytes.as_slice();
        assert_eq!(read(&mut from).unwrap().unwrap(), b"{\"ok\":true}");
        assert_eq!(read(&mut from).unwrap().unwrap(), "[\"é\"]".as_bytes());
        assert!(read(&mut from).unwrap().is_none());
        let mut cut = bytes.get(..8).unwrap_or_default();
        assert!(read(&mut cut).is_err());
        assert!(read(&mut b"Traceback (most recent call last)".as_slice()).is_err());
    }
}
