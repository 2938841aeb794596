//! Archives sound and hostile, made by hand.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use super::*;

const NONE: Limits = Limits {
    member: None,
    total: None,
};

/// A tar member: its header, its content and what fills the last block.
fn member(name: &str, kind: u8, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[148..156].fill(b' ');
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut out = header.to_vec();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    member(name, b'0', content.len() as u64, content)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A zip of members: name, what it claims to unpack to, method, content as it is packed, checksum.
fn zip(members: &[(&str, u64, u16, Vec<u8>, u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, size, method, packed, crc) in members {
        let offset = u32::try_from(out.len()).unwrap();
        let mut fields = vec![20, 0, 0, 0];
        fields.extend(method.to_le_bytes());
        fields.extend([0; 4]);
        fields.extend(crc.to_le_bytes());
        fields.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
        fields.extend(u32::try_from(*size).unwrap().to_le_bytes());
        fields.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        fields.extend([0; 2]);
        out.extend(b"PK\x03\x04");
        out.extend(&fields);
        out.extend(name.as_bytes());
        out.extend(packed);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = u32::try_from(out.len()).unwrap();
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(members.len()).unwrap();
    out.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    out.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    out
}

fn crc(content: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(content);
    crc.sum()
}

fn stored(name: &'static str, content: &[u8]) -> (&'static str, u64, u16, Vec<u8>, u32) {
    (
        name,
        content.len() as u64,
        0,
        content.to_vec(),
        crc(content),
    )
}

fn deflated(name: &'static str, content: &[u8]) -> (&'static str, u64, u16, Vec<u8>, u32) {
    let mut out = DeflateEncoder::new(Vec::new(), Compression::best());
    out.write_all(content).unwrap();
    let packed = out.finish().unwrap();
    (name, content.len() as u64, 8, packed, crc(content))
}

#[track_caller]
fn check(archive: &[u8], packing: Packing, limits: Limits, expected: Result<&[&str], &str>) {
    let found = members(Cursor::new(archive), packing, ".tex", limits);
    let found: Result<Vec<String>, _> = found.map(|contents| {
        let text = |content| String::from_utf8(content).unwrap();
        contents.into_iter().map(text).collect()
    });
    match (&found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected),
        (Err(error), Err(code)) => assert_eq!(error.code, code, "{error}"),
        _ => panic!("{found:?}, expected {expected:?}"),
    }
}

#[test]
fn tars_are_read_gzipped_or_not() {
    let long = format!("{}/x.tex", "d".repeat(120));
    let record = " path=../../p.tex\n";
    let record = format!("{}{record}", record.len() + 2);
    let tar = [
        file("a.tex", b"one"),
        file("b.TEX", b"no"),
        member("dir.tex", b'5', 0, b""),
        member("link.tex", b'2', 0, b""),
        member(
            "././@LongLink",
            b'L',
            long.len() as u64 + 1,
            format!("{long}\0").as_bytes(),
        ),
        file("cut", b"two"),
        member("pax", b'x', record.len() as u64, record.as_bytes()),
        file("cut", b"three"),
        file("e.tex", b""),
        vec![0; 1024],
        file("behind.tex", b"no"),
    ]
    .concat();
    let expected = Ok(&["one", "two", "three", ""][..]);
    check(&tar, Packing::Tar, NONE, expected);
    check(&gzip(&tar), Packing::Tar, NONE, expected);
}

#[test]
fn zips_are_read_stored_or_deflated() {
    let archive = zip(&[
        stored("a.tex", b"one"),
        stored("b.txt", b"no"),
        deflated("../c.tex", b"two"),
        deflated("a.tex", b"last"),
    ]);
    let expected = Ok(&["last", "two", "last"][..]);
    check(&archive, Packing::Zip, NONE, expected);
    let prefixed = [b"#!/bin/sh\n", archive.as_slice()].concat();
    check(&prefixed, Packing::Zip, NONE, expected);
}

#[test]
fn limits_leave_out_and_stop() {
    let limits = |member, total| Limits { member, total };
    let tar = [
        file("a.tex", b"12345"),
        file("b.tex", b"123"),
        file("c.tex", b"1"),
    ]
    .concat();
    let zipped = zip(&[
        stored("a.tex", b"12345"),
        deflated("b.tex", b"123"),
        stored("c.tex", b"1"),
    ]);
    for (archive, packing) in [(tar, Packing::Tar), (zipped, Packing::Zip)] {
        let all = ["12345", "123", "1"];
        check(&archive, packing, limits(Some(5), Some(9)), Ok(&all));
        check(&archive, packing, limits(Some(4), None), Ok(&all[1..]));
        check(&archive, packing, limits(None, Some(8)), Ok(&all[..2]));
        check(&archive, packing, limits(None, Some(7)), Ok(&all[..1]));
        check(&archive, packing, limits(Some(4), Some(3)), Ok(&all[1..2]));
    }
}

#[test]
fn what_lies_about_its_size_is_refused_at_that_size() {
    let nothing = vec![0; 1 << 22];
    let mut bomb = deflated("a.tex", &nothing);
    bomb.1 = 10;
    check(&zip(&[bomb]), Packing::Zip, NONE, Err("archive_corrupt"));
    let mut short = stored("a.tex", b"abc");
    short.1 = 1 << 29;
    check(&zip(&[short]), Packing::Zip, NONE, Err("archive_corrupt"));
    let tar = member("a.tex", b'0', 1 << 29, b"abc");
    check(&tar, Packing::Tar, NONE, Err("archive_corrupt"));
    let name = member("l", b'L', 1 << 30, b"");
    check(&gzip(&name), Packing::Tar, NONE, Err("archive_corrupt"));
    let huge = member("a.tex", b'0', (1 << 30) + 1, b"abc");
    check(&huge, Packing::Tar, NONE, Err("archive_too_large"));
}

#[test]
fn a_stream_without_end_is_cut() {
    let mut stream = Capped {
        inner: std::io::repeat(0),
        left: 1 << 20,
    };
    let error = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_err();
    assert_eq!(ArchiveError::from(error).code, "archive_too_large");
}

#[test]
fn damage_has_a_reason() {
    let corrupt = Err("archive_corrupt");
    let sound = [file("a.tex", b"one"), file("b.tex", &[b'x'; 2000])].concat();
    check(b"", Packing::Tar, NONE, corrupt);
    check(&[b'x'; 600], Packing::Tar, NONE, corrupt);
    check(&sound[..sound.len() - 600], Packing::Tar, NONE, corrupt);
    let packed = gzip(&sound);
    check(&packed[..packed.len() / 2], Packing::Tar, NONE, corrupt);
    // As in Python, junk where a header should be ends the archive.
    check(
        &[&sound[..1024], &[b'x'; 700][..]].concat(),
        Packing::Tar,
        NONE,
        Ok(&["one"]),
    );
    check(
        b"BZh91AY&SY",
        Packing::Tar,
        NONE,
        Err("archive_unsupported"),
    );
    let sparse = member("a.tex", b'S', 3, b"abc");
    check(&sparse, Packing::Tar, NONE, Err("archive_unsupported"));

    check(b"", Packing::Zip, NONE, corrupt);
    let mut wrong = stored("a.tex", b"abc");
    wrong.4 += 1;
    check(&zip(&[wrong]), Packing::Zip, NONE, corrupt);
    let mut method = stored("a.tex", b"abc");
    method.2 = 14;
    check(
        &zip(&[method]),
        Packing::Zip,
        NONE,
        Err("archive_unsupported"),
    );
    let sound = zip(&[deflated("a.tex", b"abc"), stored("b.tex", b"abc")]);
    for cut in 0..sound.len() {
        check(&sound[..cut], Packing::Zip, NONE, corrupt);
    }
    for at in 0..sound.len() {
        let mut changed = sound.clone();
        changed[at] ^= 0x41;
        // Whatever comes of it, it ends.
        let _ = members(Cursor::new(&changed), Packing::Zip, ".tex", NONE);
    }
}
