//! What djr sees in image files: a line of output for each path on standard input, in order.
//!
//! `tests/differential/images.py` sets these lines beside Pillow's. The fields, divided by tabs, are
//! the verdict (`ok`, or the code of what is wrong), width, height, the perceptual hash, the CRC-32
//! of the pixels, and the message. With a folder as argument the pixels of the n-th path are written
//! there as `n.rgb`.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use djr_image::{HashMethod, decode, perceptual_hash, validate};

fn main() -> std::io::Result<()> {
    let pixels: Option<PathBuf> = std::env::args_os().nth(1).map(PathBuf::from);
    let mut out = std::io::stdout().lock();
    for (index, path) in std::io::stdin().lock().lines().enumerate() {
        let bytes = std::fs::read(path?)?;
        let decoded = decode(&bytes);
        // A run that only checks its images asks `validate`, which must not say anything else.
        let checked = validate(&bytes).map(drop);
        if checked.as_ref().err() != decoded.as_ref().err() {
            writeln!(out, "two_verdicts\t0\t0\t0\t0\t{decoded:?} and {checked:?}")?;
            continue;
        }
        match decoded {
            Ok(decoded) => {
                let image = decoded.image;
                let mut sum = flate2::Crc::new();
                sum.update(image.data());
                let hash = perceptual_hash(&image, HashMethod::Phash);
                let (width, height) = (image.width(), image.height());
                writeln!(
                    out,
                    "ok\t{width}\t{height}\t{hash:016x}\t{:08x}\t",
                    sum.sum()
                )?;
                if let Some(folder) = &pixels {
                    std::fs::write(folder.join(format!("{index}.rgb")), image.data())?;
                }
            }
            Err(error) => {
                let message = error.message.escape_debug();
                writeln!(out, "{}\t0\t0\t0\t0\t{message}", error.code)?;
            }
        }
        out.flush()?;
    }
    Ok(())
}
