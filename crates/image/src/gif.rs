//! GIF: the first frame on its canvas, as Pillow shows it.

use std::io::Cursor;

use super::{ImageError, RgbImage, check_size};

/// Width and height of the canvas, grown to hold the first frame.
pub fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let mut decoder = open(bytes)?;
    canvas(&mut decoder).map(|canvas| (canvas.width, canvas.height))
}

/// The first frame as RGB. What the frame leaves open has its transparent colour, else the
/// first of its palette.
pub fn decode_rgb(bytes: &[u8]) -> Result<RgbImage, ImageError> {
    let mut decoder = open(without_cut_block(bytes))?;
    let canvas = canvas(&mut decoder)?;
    check_size(canvas.width, canvas.height)?;
    let palette: Vec<u8> = decoder.palette().map(<[u8]>::to_vec).unwrap_or_default();
    let mut indices = vec![0; decoder.buffer_size()];
    // The frame at once and as it lies in the file: where a run of pixels crosses rows at the very
    // end of an interlaced frame, `read_into_buffer`, which goes row by row, calls it truncated.
    if !indices.is_empty()
        && !decoder
            .fill_buffer(&mut indices)
            .map_err(|error| failure(&error))?
    {
        return Err(ImageError::truncated(
            "the GIF ends before its first frame is whole",
        ));
    }
    let color = |index: u8| -> [u8; 3] {
        let at = usize::from(index) * 3;
        if palette.is_empty() {
            return [index; 3];
        }
        palette
            .get(at..at + 3)
            .and_then(|c| c.try_into().ok())
            .unwrap_or_default()
    };
    let stride = canvas.width as usize * 3;
    let mut data = color(canvas.background).repeat(canvas.width as usize * canvas.height as usize);
    if canvas.frame_width > 0 {
        let rows = indices.chunks_exact(canvas.frame_width);
        let order = row_order(rows.len(), canvas.interlaced);
        for (row, at) in rows.zip(order) {
            let start = (canvas.top + at) * stride;
            let out = data
                .get_mut(start + canvas.left * 3..start + stride)
                .unwrap_or_default();
            for (index, pixel) in row.iter().zip(out.chunks_exact_mut(3)) {
                pixel.copy_from_slice(&color(*index));
            }
        }
    }
    RgbImage::new(canvas.width, canvas.height, data)
        .ok_or_else(|| ImageError::corrupt("the GIF has an impossible size"))
}

/// `bytes` up to the block of the first frame's data that the file ends in, if it does: Pillow looks
/// at no block before it has all of it, so what of it is there makes no pixels.
fn without_cut_block(bytes: &[u8]) -> &[u8] {
    let byte = |at: usize| bytes.get(at).copied().map(usize::from);
    let palette = |flags: usize| {
        if flags & 0x80 == 0 {
            0
        } else {
            6 << (flags & 7)
        }
    };
    // The end of the blocks that begin at a place, or where one of them is cut off.
    let blocks = |mut at: usize| loop {
        match byte(at) {
            Some(0) => return Ok(at + 1),
            Some(length) if at + length < bytes.len() => at += length + 1,
            _ => return Err(at),
        }
    };
    let mut at = 13 + byte(10).map_or(0, palette);
    loop {
        let end = match byte(at) {
            Some(0x21) => blocks(at + 2),
            Some(0x2c) => {
                let data = at + 11 + byte(at + 9).map_or(0, palette);
                let cut = blocks(data).err().and_then(|cut| bytes.get(..cut));
                return cut.unwrap_or(bytes);
            }
            _ => return bytes,
        };
        match end {
            Ok(next) => at = next,
            Err(_) => return bytes,
        }
    }
}

/// Where each row of a frame belongs: an interlaced one has every eighth row first, then those
/// between them, three times over.
fn row_order(rows: usize, interlaced: bool) -> Box<dyn Iterator<Item = usize>> {
    if interlaced {
        let passes = [(0, 8), (4, 8), (2, 4), (1, 2)];
        Box::new(
            passes
                .into_iter()
                .flat_map(move |(first, step)| (first..rows).step_by(step)),
        )
    } else {
        Box::new(0..rows)
    }
}

struct Canvas {
    width: u32,
    height: u32,
    left: usize,
    top: usize,
    frame_width: usize,
    interlaced: bool,
    background: u8,
}

fn open(bytes: &[u8]) -> Result<gif::Decoder<Cursor<&[u8]>>, ImageError> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::Indexed);
    options.check_frame_consistency(false);
    options.set_memory_limit(gif::MemoryLimit::Unlimited);
    options
        .read_info(Cursor::new(bytes))
        .map_err(|error| failure(&error))
}

fn canvas(decoder: &mut gif::Decoder<Cursor<&[u8]>>) -> Result<Canvas, ImageError> {
    let (screen_width, screen_height) = (decoder.width(), decoder.height());
    let frame = decoder
        .next_frame_info()
        .map_err(|error| failure(&error))?
        .ok_or_else(|| ImageError::truncated("the GIF has no frame"))?;
    Ok(Canvas {
        width: u32::from(screen_width).max(u32::from(frame.left) + u32::from(frame.width)),
        height: u32::from(screen_height).max(u32::from(frame.top) + u32::from(frame.height)),
        left: frame.left.into(),
        top: frame.top.into(),
        frame_width: frame.width.into(),
        interlaced: frame.interlaced,
        background: frame.transparent.unwrap_or(0),
    })
}

fn failure(error: &gif::DecodingError) -> ImageError {
    match error {
        gif::DecodingError::UnexpectedEof | gif::DecodingError::EndCodeNotFound => {
            ImageError::truncated("the GIF ends before its first frame is whole")
        }
        gif::DecodingError::Io(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::truncated("the GIF ends before its first frame is whole")
        }
        other => ImageError::corrupt(format!("not a valid GIF: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_interlaced_frame_is_whole() {
        // 31 x 19 pixels of one colour, as Pillow writes them.
        let mut bytes = b"GIF87a\x1f\0\x13\0\x81\0\0lll".to_vec();
        bytes.extend([0; 9]);
        bytes.extend(b",\0\0\0\0\x1f\0\x13\0\x40\x08\x29");
        bytes.extend(b"\x00\x01\x08\x1c\x48\xb0\xa0\xc1\x83\x08\x13\x2a\x5c\xc8\xb0\xa1");
        bytes.extend(b"\xc3\x87\x10\x23\x4a\x9c\x48\xb1\xa2\xc5\x8b\x18\x33\x6a\xdc\xc8");
        bytes.extend(b"\xb1\xa3\xc7\x8f\x20\x43\x72\x0c\x08\0;");
        let image = decode_rgb(&bytes).unwrap();
        assert_eq!((image.width(), image.height()), (31, 19));
        assert!(image.data().iter().all(|&level| level == 0x6c));
        let order: Vec<_> = row_order(10, true).collect();
        assert_eq!(order, [0, 8, 4, 2, 6, 1, 3, 5, 7, 9]);
    }

    #[test]
    fn a_small_frame_lies_on_the_canvas() {
        let mut bytes = Vec::new();
        let palette = [10, 11, 12, 20, 21, 22];
        let mut encoder = gif::Encoder::new(&mut bytes, 3, 2, &palette).unwrap();
        let frame = gif::Frame {
            left: 1,
            top: 1,
            width: 1,
            height: 1,
            buffer: (&[1_u8][..]).into(),
            ..gif::Frame::default()
        };
        encoder.write_frame(&frame).unwrap();
        drop(encoder);
        let image = decode_rgb(&bytes).unwrap();
        assert_eq!((image.width(), image.height()), (3, 2));
        let first: Vec<u8> = image.data().iter().step_by(3).copied().collect();
        assert_eq!(first, [10, 10, 10, 10, 20, 10]);
        assert_eq!(
            decode_rgb(&bytes[..20]).unwrap_err().code,
            "image_truncated"
        );
    }
}
