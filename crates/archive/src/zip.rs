//! Members of a zip by its directory, as Python's `zipfile` finds them.

use std::io::{Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use hashbrown::HashMap;

use super::{ArchiveError, Take, Taken};

/// The end record without its comment, and the longest comment.
const END: usize = 22;
const MAX_COMMENT: u64 = 1 << 16;

/// The largest directory that is read, in bytes.
const MAX_DIRECTORY: u64 = 64 << 20;

/// Where a directory lies.
struct Directory {
    size: u64,
    /// By the end record.
    offset: u64,
    /// Where its last byte is by the file.
    end: u64,
}

/// A member by the directory.
struct Member {
    name: Vec<u8>,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    offset: u64,
}

/// Takes members in the order of the directory. As in Python, of several members of a name the
/// last one stands for each of them.
pub fn members(
    mut zip: impl Read + Seek,
    suffix: &[u8],
    taken: &mut Taken,
) -> Result<(), ArchiveError> {
    let listed = listed(&mut zip)?;
    let mut last = HashMap::new();
    for (index, member) in listed.iter().enumerate() {
        last.insert(member.name.as_slice(), index);
    }
    for member in listed.iter().filter(|m| m.name.ends_with(suffix)) {
        let stands = last.get(member.name.as_slice());
        let member = stands
            .and_then(|index| listed.get(*index))
            .unwrap_or(member);
        match taken.decide(member.size)? {
            Take::Yes => member.take(&mut zip, taken)?,
            Take::LeaveOut => {}
            Take::Stop => break,
        }
    }
    Ok(())
}

impl Member {
    fn take(&self, zip: &mut (impl Read + Seek), taken: &mut Taken) -> Result<(), ArchiveError> {
        if self.flags & 1 != 0 {
            return Err(ArchiveError::unsupported("a file in it is encrypted"));
        }
        zip.seek(SeekFrom::Start(self.offset))?;
        let mut header = [0; 30];
        zip.read_exact(&mut header)?;
        let mut fields = Fields(&header);
        if fields.take(4)? != b"PK\x03\x04" {
            return Err(ArchiveError::corrupt(
                "a file in it is not where it should be",
            ));
        }
        fields.take(22)?;
        let (name, extra) = (fields.u16()?, fields.u16()?);
        let mut found = vec![0; usize::from(name)];
        zip.read_exact(&mut found)?;
        if until_nul(&found) != self.name {
            return Err(ArchiveError::corrupt("a file in it has two names"));
        }
        zip.seek_relative(i64::from(extra))?;
        let packed = zip.take(self.packed);
        match self.method {
            0 => taken.read(packed, self.size)?,
            8 => taken.read(DeflateDecoder::new(packed), self.size)?,
            method => {
                return Err(ArchiveError::unsupported(format!(
                    "a file in it is compressed by method {method}"
                )));
            }
        }
        let mut crc = Crc::new();
        crc.update(taken.contents.last().map_or(&[][..], Vec::as_slice));
        if crc.sum() == self.crc {
            Ok(())
        } else {
            Err(ArchiveError::corrupt("a file in it has a wrong checksum"))
        }
    }
}

/// What the directory lists.
fn listed(zip: &mut (impl Read + Seek)) -> Result<Vec<Member>, ArchiveError> {
    let directory = find(zip)?;
    if directory.size > MAX_DIRECTORY {
        return Err(ArchiveError::new(
            "archive_too_large",
            format!("its directory has more than {MAX_DIRECTORY} bytes"),
        ));
    }
    let lost = || ArchiveError::corrupt("its directory is not where it should be");
    let start = directory.end.checked_sub(directory.size).ok_or_else(lost)?;
    // What stands before the archive shifts every place in it.
    let shift = start.checked_sub(directory.offset).ok_or_else(lost)?;
    zip.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    zip.take(directory.size).read_to_end(&mut bytes)?;
    let mut fields = Fields(&bytes);
    let mut members = Vec::new();
    while !fields.0.is_empty() {
        if fields.take(4)? != b"PK\x01\x02" {
            return Err(ArchiveError::corrupt("its directory is damaged"));
        }
        fields.take(4)?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.take(4)?;
        let crc = fields.u32()?;
        let (packed, size) = (fields.u32()?, fields.u32()?);
        let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
        fields.take(8)?;
        let offset = fields.u32()?;
        let name = until_nul(fields.take(name.into())?).to_vec();
        let extra = fields.take(extra.into())?;
        fields.take(comment.into())?;
        let [size, packed, offset] = widened(extra, [size, packed, offset])?;
        members.push(Member {
            name,
            flags,
            method,
            crc,
            packed,
            size,
            offset: offset.saturating_add(shift),
        });
    }
    Ok(members)
}

/// Numbers that do not fit 32 bits stand in an extra field, in this order.
fn widened(extra: &[u8], numbers: [u32; 3]) -> Result<[u64; 3], ArchiveError> {
    let mut fields = Fields(extra);
    let mut wide = Fields(&[]);
    while fields.0.len() >= 4 {
        let (tag, length) = (fields.u16()?, fields.u16()?);
        let content = fields.take(length.into())?;
        if tag == 1 {
            wide = Fields(content);
        }
    }
    let mut out = numbers.map(u64::from);
    for number in &mut out {
        if *number == u64::from(u32::MAX) {
            *number = wide.u64()?;
        }
    }
    Ok(out)
}

/// Finds the directory by the end record, which stands before the comment at the end.
fn find(zip: &mut (impl Read + Seek)) -> Result<Directory, ArchiveError> {
    let none = || ArchiveError::corrupt("it does not end as a zip");
    let length = zip.seek(SeekFrom::End(0))?;
    let from = length.saturating_sub(MAX_COMMENT + END as u64);
    zip.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    zip.take(length - from).read_to_end(&mut tail)?;
    let at = memchr::memmem::rfind_iter(&tail, b"PK\x05\x06")
        .find(|at| tail.len() - at >= END)
        .ok_or_else(none)?;
    let mut fields = Fields(tail.get(at + 12..).unwrap_or_default());
    let (size, offset) = (fields.u32()?, fields.u32()?);
    let end = from + at as u64;
    if let Some(wide) = find_wide(zip, end)? {
        return Ok(wide);
    }
    Ok(Directory {
        size: size.into(),
        offset: offset.into(),
        end,
    })
}

/// The record of a zip of more than 4 GiB or 65,535 members, which a locator of 20 bytes before
/// the end record points out.
fn find_wide(zip: &mut (impl Read + Seek), end: u64) -> Result<Option<Directory>, ArchiveError> {
    let mut locator = [0; 20];
    let mut record = [0; 56];
    let Some(at) = end.checked_sub(locator.len() as u64) else {
        return Ok(None);
    };
    zip.seek(SeekFrom::Start(at))?;
    zip.read_exact(&mut locator)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(None);
    }
    let wrong = || ArchiveError::corrupt("its directory is not where it should be");
    let start = at.checked_sub(record.len() as u64).ok_or_else(wrong)?;
    zip.seek(SeekFrom::Start(start))?;
    zip.read_exact(&mut record)?;
    let mut fields = Fields(&record);
    if fields.take(4)? != b"PK\x06\x06" {
        return Err(wrong());
    }
    fields.take(36)?;
    Ok(Some(Directory {
        size: fields.u64()?,
        offset: fields.u64()?,
        end: start,
    }))
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Little-endian fields, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ArchiveError> {
        let (head, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| ArchiveError::corrupt("its directory is cut off"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        Ok(self.take(N)?.try_into().unwrap_or([0; N]))
    }

    fn u16(&mut self) -> Result<u16, ArchiveError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, ArchiveError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, ArchiveError> {
        self.array().map(u64::from_le_bytes)
    }
}
