//! Pixels of TIFFs that hold luma and chroma and are no JPEG: libtiff's conversion for those that are
//! packed, and Pillow's own for those that are not.

use super::tiff_page::Page;

/// Steps of a fraction in the tables of libtiff, and of Pillow, as bits.
const LIBTIFF: u32 = 16;
const PILLOW: u32 = 6;

/// What each level of luma and chroma adds to red, green and blue.
pub struct Luma {
    light: [i32; 256],
    red: [i32; 256],
    /// By the blue chroma and by the red one, in fractions.
    green: [[i32; 256]; 2],
    blue: [i32; 256],
    bits: u32,
}

/// A level from -128 to 127 for each byte.
fn centred(table: &mut [i32; 256], mut of: impl FnMut(i32) -> i32) {
    for (level, entry) in (-128..).zip(table) {
        *entry = of(level);
    }
}

/// A number as the casts of C make a whole one of it.
#[expect(clippy::cast_possible_truncation, reason = "as C has it")]
fn whole(number: f64) -> i32 {
    number as i32
}

impl Luma {
    /// The conversion that `page` is read by.
    pub fn of(page: &Page<'_>) -> Self {
        let mut tables = Self {
            light: [0; 256],
            red: [0; 256],
            green: [[0; 256]; 2],
            blue: [0; 256],
            bits: if page.compression == 1 {
                PILLOW
            } else {
                LIBTIFF
            },
        };
        if page.compression == 1 {
            let of = |factor: f64| {
                move |level: i32| whole(factor * f64::from(1 << PILLOW) * f64::from(level) + 0.5)
            };
            centred(&mut tables.light, |level| level + 128);
            centred(&mut tables.red, |level| of(1.402)(level) >> PILLOW);
            centred(&mut tables.green[0], of(-0.344_14));
            centred(&mut tables.green[1], of(-0.714_14));
            centred(&mut tables.blue, |level| of(1.772)(level) >> PILLOW);
            return tables;
        }
        let [of_red, of_green, of_blue] = page.weights;
        let factors = [
            2.0 - 2.0 * of_red,
            of_red * (2.0 - 2.0 * of_red) / of_green,
            2.0 - 2.0 * of_blue,
            of_blue * (2.0 - 2.0 * of_blue) / of_green,
        ];
        let [red, red_green, blue, blue_green] = factors.map(|factor: f32| {
            let factor = f64::from(factor.clamp(0.0, 2.0));
            whole(factor * f64::from(1 << LIBTIFF) + 0.5)
        });
        let half = 1 << (LIBTIFF - 1);
        let [black, white, blue_black, blue_white, red_black, red_white] = page.levels;
        centred(&mut tables.light, |level| {
            scaled(level + 128, black, white, 255.0)
        });
        let of_red = |level| scaled(level, red_black - 128.0, red_white - 128.0, 127.0);
        let of_blue = |level| scaled(level, blue_black - 128.0, blue_white - 128.0, 127.0);
        centred(&mut tables.red, |level| {
            (red * of_red(level) + half) >> LIBTIFF
        });
        centred(&mut tables.blue, |level| {
            (blue * of_blue(level) + half) >> LIBTIFF
        });
        centred(&mut tables.green[0], |level| {
            half - blue_green * of_blue(level)
        });
        centred(&mut tables.green[1], |level| -red_green * of_red(level));
        tables
    }

    /// The colour of a pixel.
    pub fn colour(&self, [luma, blue, red]: [u8; 3]) -> [u8; 3] {
        let of =
            |table: &[i32; 256], level: u8| table.get(usize::from(level)).copied().unwrap_or(0);
        let light = of(&self.light, luma);
        let green = (of(&self.green[0], blue) + of(&self.green[1], red)) >> self.bits;
        let level = |level: i32| u8::try_from(level.clamp(0, 255)).unwrap_or(0);
        [
            level(light + of(&self.red, red)),
            level(light + green),
            level(light + of(&self.blue, blue)),
        ]
    }
}

/// A level between those of black and white, as one between 0 and `range`.
#[expect(clippy::cast_precision_loss, reason = "levels of a byte")]
fn scaled(level: i32, black: f32, white: f32, range: f32) -> i32 {
    let black_level = whole(f64::from(black));
    let span = if white - black == 0.0 {
        1.0
    } else {
        white - black
    };
    let value = (level - black_level) as f32 * range / span;
    whole(f64::from(value.clamp(-128.0 * 32.0, 128.0 * 32.0)))
}

/// Luma and chroma of each pixel, of a part that holds for each block of `across` by `down` pixels their
/// luma, and the chroma of all of them. Blocks are whole, also where the part ends within them.
pub fn spread(stored: &[u8], (across, down): (usize, usize), width: usize, rows: usize) -> Vec<u8> {
    let block = across * down + 2;
    let blocks = width.div_ceil(across);
    let mut out = Vec::with_capacity(width * rows * 3);
    for y in 0..rows {
        for x in 0..width {
            let at = (y / down * blocks + x / across) * block;
            let luma = at + y % down * across + x % across;
            let chroma = at + across * down;
            out.extend([luma, chroma, chroma + 1].map(|at| stored.get(at).copied().unwrap_or(0)));
        }
    }
    out
}
