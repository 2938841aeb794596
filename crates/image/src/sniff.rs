//! What bytes that are not an image look like, to say it in the message.

/// A short name for the content of `bytes`, the beginning of a file.
pub fn looks_like(bytes: &[u8]) -> &'static str {
    const MAGIC: [(&[u8], &str); 16] = [
        (b"%PDF", "PDF"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"BZh", "bzip2"),
        (b"7z\xbc\xaf", "a 7z archive"),
        (b"Rar!", "a RAR archive"),
        (
            b"version https://git-lfs",
            "a Git LFS pointer, not the file itself",
        ),
        (b"ID3", "MP3 audio"),
        (b"OggS", "Ogg audio or video"),
        (b"\x1a\x45\xdf\xa3", "Matroska or WebM video"),
        (b"\x7fELF", "a program"),
        (b"MZ", "a program"),
        (b"8BPS", "a Photoshop document"),
        (b"\xff\xd8", "a damaged JPEG"),
        (b"SQLite format 3", "an SQLite database"),
    ];
    for (magic, name) in MAGIC {
        if bytes.starts_with(magic) {
            return name;
        }
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return "MP4 video or HEIF";
    }
    if bytes.starts_with(b"RIFF") {
        return "RIFF audio or video";
    }
    let head = bytes.get(..512).unwrap_or(bytes);
    if head.iter().all(|&b| b == 0) {
        return "zero bytes";
    }
    let text = head
        .trim_ascii_start()
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head.trim_ascii_start())
        .to_ascii_lowercase();
    if text.starts_with(b"<!doctype html") || memchr::memmem::find(&text, b"<html").is_some() {
        "HTML"
    } else if memchr::memmem::find(&text, b"<svg").is_some() {
        "SVG, a vector drawing"
    } else if text.starts_with(b"<?xml") {
        "XML"
    } else if text.starts_with(b"{") || text.starts_with(b"[") {
        "JSON"
    } else if text
        .iter()
        .all(|&b| b >= 0x20 && b != 0x7f || b.is_ascii_whitespace())
    {
        "text"
    } else {
        "unknown binary data"
    }
}

#[cfg(test)]
mod tests {
    use super::looks_like;

    #[test]
    fn common_mistakes_are_named() {
        assert_eq!(looks_like(b"\n<!DOCTYPE HTML><p>404"), "HTML");
        assert_eq!(looks_like(b"{\"error\": 1}"), "JSON");
        assert_eq!(looks_like(&[0; 64]), "zero bytes");
        assert_eq!(looks_like(b"not found"), "text");
        assert_eq!(looks_like(b"%PDF-1.7"), "PDF");
        assert_eq!(looks_like(b"\x01\x02\x03"), "unknown binary data");
    }
}
