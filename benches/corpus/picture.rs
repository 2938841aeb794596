//! Pictures with the spectrum of photographs: fractal noise, a few hard edges, grain.

use super::random::Random;

/// Luma and chroma (YCbCr), three bytes a pixel.
pub struct Picture {
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `3 * width * height` bytes.
    pub pixels: Vec<u8>,
}

/// A size as the reference data has them: the short side mostly 336, mean 402 × 370.
fn size(random: &mut Random) -> (u32, u32) {
    let pixels = |n: usize| u32::try_from(n).unwrap_or(1);
    let long = pixels(336 + random.below(226));
    match random.below(1000) {
        // Large ones, small ones, strips.
        0 => (
            pixels(1200 + random.below(1000)),
            pixels(900 + random.below(900)),
        ),
        1..10 => (
            pixels(60 + random.below(100)),
            pixels(60 + random.below(100)),
        ),
        10..14 => (pixels(1010 + random.below(300)), 336),
        14..580 => (long, 336),
        580..890 => (336, long),
        _ => (336, 336),
    }
}

/// Adds bilinear noise of `cells` cells across to `plane`.
fn add_noise(
    plane: &mut [f32],
    width: usize,
    height: usize,
    cells: usize,
    strength: f32,
    random: &mut Random,
) {
    let down = (cells * height / width).max(1);
    let stride = cells + 2;
    let grid: Vec<f32> = (0..stride * (down + 2))
        .map(|_| (random.unit() - 0.5) * strength)
        .collect();
    let step = |length: usize, cells: usize| cells as f32 / length as f32;
    let across: Vec<(usize, f32)> = (0..width)
        .map(|x| {
            let at = x as f32 * step(width, cells);
            (at as usize, at.fract())
        })
        .collect();
    let mut line = vec![0.0; stride];
    for (y, row) in plane.chunks_exact_mut(width).enumerate() {
        let at = y as f32 * step(height, down);
        let (top, share) = (at as usize * stride, at.fract());
        for (x, value) in line.iter_mut().enumerate() {
            let (a, b) = (grid[top + x], grid[top + stride + x]);
            *value = a + (b - a) * share;
        }
        for (value, &(cell, share)) in row.iter_mut().zip(&across) {
            let (a, b) = (line[cell], line[cell + 1]);
            *value += a + (b - a) * share;
        }
    }
}

/// Adds up to five ellipses with hard edges.
fn add_shapes(plane: &mut [f32], width: usize, height: usize, random: &mut Random) {
    for _ in 0..random.below(6) {
        let (cx, cy) = (random.unit() * width as f32, random.unit() * height as f32);
        let (rx, ry) = (20.0 + random.unit() * 90.0, 20.0 + random.unit() * 90.0);
        let shade = (random.unit() - 0.5) * 120.0;
        let first = (cy - ry).max(0.0) as usize;
        let last = ((cy + ry) as usize).min(height);
        for y in first..last {
            let part = (y as f32 - cy) / ry;
            let half = rx * (1.0 - part * part).max(0.0).sqrt();
            let (from, to) = (
                (cx - half).max(0.0) as usize,
                ((cx + half).max(0.0) as usize).min(width),
            );
            for value in plane
                .get_mut(y * width + from..(y * width + to).max(y * width + from))
                .unwrap_or_default()
            {
                *value += shade;
            }
        }
    }
}

/// Draws one picture.
pub fn draw(random: &mut Random) -> Picture {
    let (width, height) = size(random);
    let (w, h) = (width as usize, height as usize);
    // How busy it is: from a sky to a crowd.
    let busy = 0.5 + random.unit();
    let mut luma = vec![70.0 + random.unit() * 110.0; w * h];
    for (cells, strength) in [
        (3, 130.0),
        (7, 80.0),
        (17, 50.0),
        (41, 40.0),
        (101, 34.0),
        (190, 30.0),
    ] {
        let strength = if cells > 20 {
            strength * busy
        } else {
            strength
        };
        add_noise(&mut luma, w, h, cells, strength, random);
    }
    add_shapes(&mut luma, w, h, random);
    // JPEG halves the colour anyway.
    let (half_w, half_h) = (w.div_ceil(2), h.div_ceil(2));
    let [blue, red] = [(); 2].map(|()| {
        let mut plane = vec![128.0 + (random.unit() - 0.5) * 30.0; half_w * half_h];
        for (cells, strength) in [(4, 50.0), (30, 20.0), (90, 16.0)] {
            add_noise(&mut plane, half_w, half_h, cells, strength, random);
        }
        plane
    });
    let grain = 9.0 * busy;
    let mut bits = random.next() | 1;
    let mut pixels = Vec::with_capacity(w * h * 3);
    for (y, row) in luma.chunks_exact(w).enumerate() {
        let colours = y / 2 * half_w..(y / 2 + 1) * half_w;
        for (pair, (cb, cr)) in row
            .chunks(2)
            .zip(blue[colours.clone()].iter().zip(&red[colours]))
        {
            for y in pair {
                // Grain from a fast generator: its quality does not matter.
                bits ^= bits << 13;
                bits ^= bits >> 7;
                bits ^= bits << 17;
                let noise = (f32::from((bits >> 40) as u8) / 128.0 - 1.0) * grain;
                pixels.extend([(y + noise) as u8, *cb as u8, *cr as u8]);
            }
        }
    }
    Picture {
        width,
        height,
        pixels,
    }
}
