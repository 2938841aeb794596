//! Files that decoders disagree about, each held to what Pillow 13.0.0 says of it. They and the
//! answers are made by `fixtures/images.py`.

use std::path::Path;

use djr_image::{Format, decode, header, validate};

#[test]
fn verdicts_sizes_and_pixels_are_those_of_pillow() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/images");
    let answers = std::fs::read_to_string(folder.join("answers.tsv")).unwrap();
    let mut differ = Vec::new();
    for line in answers.lines() {
        let (name, expected) = line.split_once('\t').unwrap();
        let bytes = std::fs::read(folder.join(name)).unwrap();
        // Without the feature there is a size, and no pixels.
        if name.starts_with("avif_") && !Format::Avif.has_pixels() {
            if let Ok(header) = header(&bytes) {
                let size = format!("\t{}\t{}\t", header.width, header.height);
                let known = expected.starts_with("refused") || expected.contains(&size);
                assert!(known, "{name}: {size:?}, Pillow {expected}");
            } else {
                assert!(expected.starts_with("refused"), "{name}");
            }
            continue;
        }
        let decoded = decode(&bytes);
        let found = match &decoded {
            Ok(decoded) => {
                let image = &decoded.image;
                let mut sum = flate2::Crc::new();
                sum.update(image.data());
                format!(
                    "ok\t{}\t{}\t{:08x}",
                    image.width(),
                    image.height(),
                    sum.sum()
                )
            }
            Err(_) => "refused\t0\t0\t0".to_owned(),
        };
        if found != expected {
            let why = decoded.err().map(|error| error.to_string());
            differ.push(format!("{name}: {found}, Pillow {expected} {why:?}"));
        } else if validate(&bytes).map(drop) != decoded.map(drop) {
            differ.push(format!("{name}: validate says something else than decode"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(answers.lines().count() > 100);
}

#[test]
fn kinds_of_tiff_that_are_not_read_are_named() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/images");
    let bytes = std::fs::read(folder.join("tiff_raw_YCbCr.tif")).unwrap();
    assert!(decode(&bytes).is_ok());
    // Tags of one short number: compression, meaning, and whether samples lie apart.
    for (tag, value, named) in [
        (259_u16, 6_u16, "old-style JPEG"),
        (262, 8, "CIELab"),
        (262, 9, "CIELab"),
        (284, 2, "luma and chroma in this layout"),
    ] {
        let mut bytes = bytes.clone();
        let entry = [&tag.to_le_bytes()[..], &[3, 0, 1, 0, 0, 0]].concat();
        let at = bytes.windows(8).rposition(|found| found == entry).unwrap();
        bytes[at + 8..at + 10].copy_from_slice(&value.to_le_bytes());
        let error = decode(&bytes).err().unwrap();
        assert_eq!(error.code, "image_unsupported_format", "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}
