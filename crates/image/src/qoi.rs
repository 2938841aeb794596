//! QOI, as Pillow reads it: the end marker may be missing, pixels may not.

use super::{ImageError, RgbImage, check_size};

/// Width and height.
pub fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let side =
        |at: usize| -> Option<u32> { Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?)) };
    // The number of channels follows.
    match (side(4), side(8), bytes.get(12)) {
        (Some(width), Some(height), Some(_)) => Ok((width, height)),
        _ => Err(ImageError::truncated("the QOI ends within its header")),
    }
}

/// All pixels as RGB.
pub fn decode_rgb(bytes: &[u8]) -> Result<RgbImage, ImageError> {
    let (width, height) = size(bytes)?;
    check_size(width, height)?;
    let all = width as usize * height as usize * 3;
    let mut data = bytes.get(14..).unwrap_or_default().iter().copied();
    let mut seen = [[0_u8; 4]; 64];
    let mut pixel = [0, 0, 0, u8::MAX];
    let mut out = Vec::new();
    while out.len() < all {
        let cut = || ImageError::truncated("the QOI ends before its last pixel");
        let mut byte = || data.next().ok_or_else(cut);
        let code = byte()?;
        let add = |pixel: [u8; 4], by: [u8; 3]| {
            let [red, green, blue, alpha] = pixel;
            [
                red.wrapping_add(by[0]),
                green.wrapping_add(by[1]),
                blue.wrapping_add(by[2]),
                alpha,
            ]
        };
        pixel = match code {
            0xfe => [byte()?, byte()?, byte()?, pixel[3]],
            0xff => [byte()?, byte()?, byte()?, byte()?],
            0..0x40 => seen[usize::from(code)],
            0x40..0x80 => {
                let two = |shift: u32| (code >> shift & 3).wrapping_sub(2);
                add(pixel, [two(4), two(2), two(0)])
            }
            0x80..0xc0 => {
                let green = (code & 0x3f).wrapping_sub(32);
                let rest = byte()?;
                let beside = |value: u8| green.wrapping_add(value).wrapping_sub(8);
                add(pixel, [beside(rest >> 4), green, beside(rest & 15)])
            }
            _ => {
                for _ in 0..=code & 0x3f {
                    out.extend_from_slice(&pixel[..3]);
                }
                continue;
            }
        };
        let weighted = pixel
            .iter()
            .zip([3, 5, 7, 11])
            .map(|(&value, by)| usize::from(value) * by);
        seen[weighted.sum::<usize>() % 64] = pixel;
        out.extend_from_slice(&pixel[..3]);
    }
    out.truncate(all);
    RgbImage::new(width, height, out)
        .ok_or_else(|| ImageError::corrupt("the decoder returned an impossible size"))
}
