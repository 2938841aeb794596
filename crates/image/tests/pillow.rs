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
