//! Pixels of AVIF by dav1d's code in Rust, and libavif's and libyuv's way from planes to bytes, as
//! Pillow's wheels hold them: fixed point, chroma between its samples weighted by 3 and 1.

use re_rav1d::dav1d::pixel::YUVRange;
use re_rav1d::dav1d::{Decoder, PixelLayout, PlanarImageComponent as Which, Settings};

use super::avif::Avif;
use super::{ImageError, RgbImage};

/// How luma and chroma become colours: libyuv's constants, in units of 1/64 of a level.
struct Matrix {
    /// Factor of luma, and what is added.
    luma: (u32, i32),
    /// Of the second chroma to red, of both to green, of the first to blue.
    red: i32,
    green: [i32; 2],
    blue: i32,
}

/// Whole range, or that of television.
const WHOLE: (u32, i32) = (16_320, 32);
const LIMITED: (u32, i32) = (18_997, -1160);

impl Matrix {
    /// The matrix of code points of H.273; `None` for those that libyuv has none for.
    fn new(code: u16, whole: bool) -> Option<Self> {
        let (red, green, blue) = match (code, whole) {
            // Not said means BT.601, too.
            (2 | 5 | 6, true) => (90, [22, 46], 113),
            (2 | 5 | 6, false) => (102, [25, 52], 128),
            (1, true) => (101, [12, 30], 119),
            (1, false) => (115, [14, 34], 128),
            (9, true) => (94, [11, 37], 120),
            (9, false) => (107, [12, 42], 128),
            _ => return None,
        };
        let luma = match (code, whole) {
            (9, false) => (19_003, -1160),
            (_, true) => WHOLE,
            (_, false) => LIMITED,
        };
        Some(Self {
            luma,
            red,
            green,
            blue,
        })
    }

    fn colour(&self, luma: u8, chroma: [u8; 2]) -> [u8; 3] {
        let (factor, add) = self.luma;
        let luma = (u32::from(luma) * 0x0101 * factor) >> 16;
        let luma = i32::try_from(luma).unwrap_or(0) + add;
        let [u, v] = chroma.map(|level| i32::from(level) - 128);
        let levels = [
            luma + v * self.red,
            luma - u * self.green[0] - v * self.green[1],
            luma + u * self.blue,
        ];
        levels.map(|level| u8::try_from((level >> 6).clamp(0, 255)).unwrap_or(0))
    }
}

/// Samples of one kind.
struct Plane {
    width: usize,
    samples: Vec<u8>,
}

impl Plane {
    fn row(&self, y: usize) -> &[u8] {
        self.samples
            .get(y * self.width..(y + 1) * self.width)
            .unwrap_or_default()
    }
}

fn unsupported(what: &str) -> ImageError {
    ImageError::new(
        "image_unsupported_format",
        format!("AVIF images {what} are not supported"),
    )
}

/// All pixels as stored, not yet oriented.
pub fn decode_rgb(avif: &Avif<'_>) -> Result<RgbImage, ImageError> {
    if let Some(what) = avif.picture.unsupported {
        return Err(unsupported(what));
    }
    let corrupt = |why: &str| ImageError::corrupt(format!("not a valid AVIF: {why}"));
    let data = avif.picture.parts.concat();
    if data.is_empty() {
        return Err(ImageError::truncated("the AVIF has no picture"));
    }
    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_all_layers(false);
    // What the boxes say is the most that is allocated.
    settings.set_frame_size_limit(avif.width.saturating_mul(avif.height));
    let fail = |error: re_rav1d::dav1d::Error| corrupt(&error.to_string());
    let mut decoder = Decoder::with_settings(&settings).map_err(fail)?;
    let mut sent = decoder.send_data(data, None, None, None);
    let picture = loop {
        match decoder.get_picture() {
            Ok(picture) => break picture,
            Err(error) if !error.is_again() => return Err(fail(error)),
            Err(_) => match sent {
                Ok(()) => return Err(corrupt("its data hold no picture")),
                Err(error) if !error.is_again() => return Err(fail(error)),
                Err(_) => sent = decoder.send_pending_data(),
            },
        }
    };
    if (picture.width(), picture.height()) != (avif.width, avif.height) {
        return Err(unsupported("that are to be scaled"));
    }
    if picture.bit_depth() != 8 {
        return Err(unsupported("of more than 8 bits"));
    }
    let (width, height) = (avif.width as usize, avif.height as usize);
    let layout = picture.pixel_layout();
    let plane = |which: Which| {
        let (across, down) = match (which, layout) {
            (Which::Y, _) | (_, PixelLayout::I444) => (width, height),
            (_, PixelLayout::I422) => (width.div_ceil(2), height),
            (_, _) => (width.div_ceil(2), height.div_ceil(2)),
        };
        let (stride, _) = picture.plane_data_geometry(which);
        let stored = picture.plane(which);
        let rows = stored.chunks(stride.max(1) as usize).take(down);
        let samples = rows
            .flat_map(|row| row.iter().take(across).copied())
            .collect();
        Plane {
            width: across,
            samples,
        }
    };
    let (code, whole) = avif.picture.colours.unwrap_or_else(|| {
        let whole = matches!(picture.color_range(), YUVRange::Full);
        (picture.matrix_coefficients() as u16, whole)
    });
    let luma = plane(Which::Y);
    let mut out = Vec::with_capacity(width * height * 3);
    if layout == PixelLayout::I400 {
        if (code, whole) == (8, false) {
            return Err(unsupported("with these colours"));
        }
        let level = |luma: u8| {
            if whole {
                return luma;
            }
            let level = (f32::from(luma) - 16.0) / 219.0;
            super::whole_level(0.5 + level.clamp(0.0, 1.0) * 255.0)
        };
        out.extend(luma.samples.iter().flat_map(|&luma| [level(luma); 3]));
    } else {
        let chroma = [plane(Which::U), plane(Which::V)];
        if code == 0 {
            if !whole || layout != PixelLayout::I444 {
                return Err(unsupported("with these colours"));
            }
            let [blue, red] = chroma;
            let others = blue.samples.iter().zip(&red.samples);
            for (green, (blue, red)) in luma.samples.iter().zip(others) {
                out.extend([*red, *green, *blue]);
            }
        } else {
            let matrix =
                Matrix::new(code, whole).ok_or_else(|| unsupported("with these colours"))?;
            for y in 0..height {
                let [u, v] =
                    [0, 1].map(|index: usize| chroma_row(&chroma[index], layout, width, height, y));
                for (x, &luma) in luma.row(y).iter().enumerate() {
                    let at = |row: &[u8]| row.get(x).copied().unwrap_or(128);
                    out.extend(matrix.colour(luma, [at(&u), at(&v)]));
                }
            }
        }
    }
    RgbImage::new(avif.width, avif.height, out)
        .ok_or_else(|| corrupt("it has fewer samples than it should"))
}

/// Chroma for each pixel of line `y`.
fn chroma_row(
    plane: &Plane,
    layout: PixelLayout,
    width: usize,
    height: usize,
    y: usize,
) -> Vec<u8> {
    match layout {
        PixelLayout::I444 => plane.row(y).to_vec(),
        PixelLayout::I422 => between(plane.row(y), width),
        _ => {
            // Above the first line of chroma and below the last there is no other.
            let near = y / 2;
            let other = if y % 2 == 1 {
                near + 1
            } else {
                near.wrapping_sub(1)
            };
            if y == 0 || (y + 1 == height && height.is_multiple_of(2)) {
                between(plane.row(near), width)
            } else {
                between_four(plane.row(near), plane.row(other), width)
            }
        }
    }
}

/// The two samples that pixel `x` lies between, the nearer one first. The first pixel and the last
/// have one alone.
fn neighbours(row: &[u8], x: usize, width: usize) -> [u32; 2] {
    let near = x / 2;
    let other = match x % 2 {
        _ if x == 0 || x + 1 == width => near,
        0 => near - 1,
        _ => near + 1,
    };
    [near, other].map(|index| row.get(index).copied().map_or(128, u32::from))
}

fn between(row: &[u8], width: usize) -> Vec<u8> {
    let level = |x: usize| {
        let [near, far] = neighbours(row, x, width);
        u8::try_from((3 * near + far + 2) >> 2).unwrap_or(u8::MAX)
    };
    (0..width).map(level).collect()
}

fn between_four(near: &[u8], far: &[u8], width: usize) -> Vec<u8> {
    let level = |x: usize| {
        let ([a, b], [c, d]) = (neighbours(near, x, width), neighbours(far, x, width));
        u8::try_from((9 * a + 3 * b + 3 * c + d + 8) >> 4).unwrap_or(u8::MAX)
    };
    (0..width).map(level).collect()
}
