//! Regular files in a tar stream: V7, ustar, GNU's long names, PAX.

use std::io::{Read, copy, sink};

use super::{ArchiveError, Take, Taken};

/// Headers and contents fill whole blocks of so many bytes.
const BLOCK: usize = 512;

/// The longest name or set of PAX records that is read.
const MAX_EXTENSION: u64 = 1 << 20;

type Header = [u8; BLOCK];

/// What extension headers say of the next member.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

/// Reads members to the end. As in Python, a header that is none ends the archive, unless it is
/// the first.
pub(crate) fn members(
    mut tar: impl Read,
    suffix: &[u8],
    taken: &mut Taken,
) -> Result<(), ArchiveError> {
    let mut walk = Walk::default();
    while let Some(member) = walk.next(&mut tar)? {
        let take = if member.is_file && member.name.ends_with(suffix) {
            if member.is_sparse {
                return Err(ArchiveError::unsupported(
                    "a file in it is stored as sparse",
                ));
            }
            taken.decide(member.size)?
        } else {
            Take::LeaveOut
        };
        match take {
            Take::Yes => taken.read((&mut tar).take(member.size), member.size)?,
            Take::LeaveOut => skip(&mut tar, member.size)?,
            Take::Stop => return Ok(()),
        }
        skip_padding(&mut tar, member.size)?;
    }
    Ok(())
}

/// What the headers of a member say. Its content follows, then [`Member::padding`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its whole name.
    pub name: Vec<u8>,
    /// How many bytes of content follow.
    pub size: u64,
    /// Bytes of headers that were read to get here.
    pub header: u64,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether its content is stored without its holes, which nothing here fills in.
    pub is_sparse: bool,
}

impl Member {
    /// How many bytes fill the last block of the content.
    #[must_use]
    pub fn padding(&self) -> u64 {
        padding(self.size)
    }
}

/// Reads the headers of a tar stream, one member after the other.
#[derive(Debug, Default)]
pub struct Walk {
    begun: bool,
    /// A header that is none is an error, and not the end.
    strict: bool,
}

impl Walk {
    /// One that takes a tar for damaged where a header is cut off or is none. Python's `tarfile`
    /// takes that for the end.
    #[must_use]
    pub fn strict() -> Self {
        Self {
            begun: false,
            strict: true,
        }
    }

    /// The next member; `None` at the end. Its content and padding are to be read before the next.
    ///
    /// # Errors
    /// `archive_corrupt`; `file_unreadable` if `tar` cannot be read.
    pub fn next(&mut self, tar: &mut impl Read) -> Result<Option<Member>, ArchiveError> {
        let mut extension = Extension::default();
        let mut read = 0;
        while let Some(header) = self.next_header(tar, read > 0)? {
            read += BLOCK as u64;
            let kind = field(&header, 156, 1).first().copied().unwrap_or_default();
            let size = number(field(&header, 124, 12))
                .ok_or_else(|| ArchiveError::corrupt("a file in it has no size"))?;
            if matches!(kind, b'L' | b'K' | b'x' | b'X' | b'g') {
                let data = extension_data(tar, size)?;
                read += size + padding(size);
                match kind {
                    b'L' => extension.name = Some(until_nul(&data).to_vec()),
                    b'x' | b'X' => extension.read_records(&data)?,
                    // Names of links, and what holds for all members: neither names a file.
                    _ => {}
                }
                continue;
            }
            if kind == b'S' {
                read += skip_sparse_map(tar, &header)?;
            }
            // Links, devices, directories and pipes have no content, whatever they say.
            let has_content = !matches!(kind, b'1'..=b'6');
            return Ok(Some(Member {
                size: if has_content {
                    extension.size.unwrap_or(size)
                } else {
                    0
                },
                name: match extension.name {
                    Some(name) => name,
                    None => short_name(&header),
                },
                header: read,
                is_file: matches!(kind, b'0' | b'\0' | b'7' | b'S'),
                is_sparse: kind == b'S' || extension.sparse,
            }));
        }
        Ok(None)
    }

    /// The next header; `None` at the end. `inside` a member there is no end.
    fn next_header(
        &mut self,
        tar: &mut impl Read,
        inside: bool,
    ) -> Result<Option<Header>, ArchiveError> {
        let is_first = !std::mem::replace(&mut self.begun, true);
        let mut block = Vec::with_capacity(BLOCK);
        tar.take(BLOCK as u64).read_to_end(&mut block)?;
        let length = block.len();
        let header: Option<Header> = block.try_into().ok();
        let (strict, inside) = (self.strict, self.strict && inside);
        match header {
            Some(header) if header.iter().all(|byte| *byte == 0) && !inside => Ok(None),
            Some(header) if is_sound(&header) => Ok(Some(header)),
            _ if is_first && !(strict && length == 0) => {
                Err(ArchiveError::corrupt("it does not begin as a tar"))
            }
            Some(_) if strict => Err(ArchiveError::corrupt("a header in it is damaged")),
            None if strict && (inside || length > 0) => Err(ArchiveError::corrupt("it is cut off")),
            _ => Ok(None),
        }
    }
}

/// The name in a header: of POSIX archives with what stands before it.
fn short_name(header: &Header) -> Vec<u8> {
    let name = until_nul(field(header, 0, 100));
    let prefix = until_nul(field(header, 345, 155));
    if field(header, 257, 6) == b"ustar\0" && !prefix.is_empty() {
        return [prefix, b"/", name].concat();
    }
    name.to_vec()
}

/// Whether the checksum is right, taken of signed or of unsigned bytes.
fn is_sound(header: &Header) -> bool {
    let stored = number(field(header, 148, 8));
    let bytes = header.iter().enumerate().map(|(at, byte)| {
        if (148..156).contains(&at) {
            b' '
        } else {
            *byte
        }
    });
    let unsigned: i64 = bytes.clone().map(i64::from).sum();
    let signed: i64 = bytes.map(|byte| i64::from(byte.cast_signed())).sum();
    stored.is_some_and(|stored| {
        i64::try_from(stored).is_ok_and(|stored| stored == unsigned || stored == signed)
    })
}

fn field(header: &Header, at: usize, length: usize) -> &[u8] {
    header.get(at..at + length).unwrap_or_default()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number in octal digits, or in base 256 if its first byte says so. Empty is nought.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((0x80, digits)) = field.split_first() {
        return digits.iter().try_fold(0_u64, |sum, digit| {
            sum.checked_mul(256)?.checked_add(u64::from(*digit))
        });
    }
    let text = std::str::from_utf8(until_nul(field)).ok()?.trim();
    if text.is_empty() {
        return Some(0);
    }
    u64::from_str_radix(text, 8).ok()
}

fn extension_data(tar: &mut impl Read, size: u64) -> Result<Vec<u8>, ArchiveError> {
    if size > MAX_EXTENSION {
        return Err(ArchiveError::corrupt(format!(
            "a name in it has {size} bytes"
        )));
    }
    let mut data = Vec::new();
    tar.take(size).read_to_end(&mut data)?;
    if data.len() as u64 != size {
        return Err(ArchiveError::corrupt("it is cut off"));
    }
    skip_padding(tar, size)?;
    Ok(data)
}

impl Extension {
    /// Reads PAX records: `LENGTH KEY=VALUE\n`, the length that of the whole record.
    fn read_records(&mut self, mut data: &[u8]) -> Result<(), ArchiveError> {
        let wrong = || ArchiveError::corrupt("a PAX header in it cannot be read");
        while !until_nul(data).is_empty() {
            let space = memchr::memchr(b' ', data).ok_or_else(wrong)?;
            let length = data
                .get(..space)
                .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
            let length = length.filter(|length| *length > space + 1);
            let (record, rest) = length
                .and_then(|length| data.split_at_checked(length))
                .ok_or_else(wrong)?;
            let record = record.get(space + 1..record.len() - 1).unwrap_or_default();
            let equals = memchr::memchr(b'=', record).ok_or_else(wrong)?;
            let (key, value) = record.split_at(equals);
            let value = value.get(1..).unwrap_or_default();
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"size" => {
                    let digits = std::str::from_utf8(value).map_err(|_| wrong())?;
                    self.size = Some(digits.parse().map_err(|_| wrong())?);
                }
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
            data = rest;
        }
        Ok(())
    }
}

/// Further blocks of the map of a sparse file stand before its content.
fn skip_sparse_map(tar: &mut impl Read, header: &Header) -> Result<u64, ArchiveError> {
    let mut read = 0;
    let mut goes_on = field(header, 482, 1).first().is_some_and(|flag| *flag != 0);
    while goes_on {
        let mut block = [0; BLOCK];
        tar.read_exact(&mut block)?;
        read += BLOCK as u64;
        goes_on = field(&block, 504, 1).first().is_some_and(|flag| *flag != 0);
    }
    Ok(read)
}

fn skip(tar: &mut impl Read, size: u64) -> Result<(), ArchiveError> {
    if copy(&mut tar.take(size), &mut sink())? == size {
        Ok(())
    } else {
        Err(ArchiveError::corrupt("it is cut off"))
    }
}

/// Skips what fills the last block. Python does not mind if that is missing at the end.
fn skip_padding(tar: &mut impl Read, size: u64) -> Result<(), ArchiveError> {
    copy(&mut tar.take(padding(size)), &mut sink())?;
    Ok(())
}

/// How many bytes fill the last block of a content of `size` bytes.
fn padding(size: u64) -> u64 {
    let block = BLOCK as u64;
    (block - size % block) % block
}
