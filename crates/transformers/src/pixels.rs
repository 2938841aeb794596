//! A picture as a model sees it: resized, cropped, and through the table.

use std::borrow::Cow;
use std::fmt;

use djr_image::{MAX_PIXELS, RgbImage, resize_part};

use crate::processor::{ImageProcessor, Size};

/// In which order a processor takes the numbers of a picture to lie. It guesses by the first
/// picture of a call, and takes one of height 1 or 3 for a list of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelOrder {
    /// Rows of pixels, as pictures lie.
    Last,
    /// The rows are taken for channels.
    First,
}

impl ChannelOrder {
    /// The guess, if `image` is the first picture of a call.
    #[must_use]
    pub fn guess(image: &RgbImage) -> Self {
        match image.height() {
            1 | 3 => Self::First,
            _ => Self::Last,
        }
    }
}

/// Why a picture has no tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelError {
    /// The picture has this many rows, which are taken for channels. transformers refuses it too.
    RowsAsChannels(u32),
    /// In proportion it would become this wide and high: more pixels than an image may have.
    TooLong(u32, u32),
}

impl fmt::Display for PixelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RowsAsChannels(rows) => write!(
                f,
                "the processor takes a picture of {rows} rows for one of {rows} channels"
            ),
            Self::TooLong(width, height) => {
                write!(f, "the picture would be resized to {width}x{height} pixels")
            }
        }
    }
}

impl std::error::Error for PixelError {}

/// A picture that has its size, before the table: rows of pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Rows.
    pub height: u32,
    /// Pixels a row.
    pub width: u32,
    /// 3, or 1 for a picture of one row that was taken for a channel.
    pub channels: u32,
    /// `channels` bytes a pixel, row by row.
    pub data: Vec<u8>,
}

impl ImageProcessor {
    /// The picture as this processor sizes it.
    ///
    /// # Errors
    /// If its rows are taken for channels and there is no such number of them.
    pub fn pixels(&self, image: &RgbImage, order: ChannelOrder) -> Result<Pixels, PixelError> {
        let (image, channels) = match order {
            ChannelOrder::Last => (Cow::Borrowed(image), 3),
            ChannelOrder::First => (Cow::Owned(self.rows_as_channels(image)?), image.height()),
        };
        let sized = match self.resize.map(|size| size.of(&image)) {
            Some((width, height)) if u64::from(width) * u64::from(height) > MAX_PIXELS => {
                return Err(PixelError::TooLong(width, height));
            }
            Some((width, height)) if (width, height) != (image.width(), image.height()) => {
                // What the crop would cut off is not made.
                let part = |side: u32, cropped: Option<u32>| {
                    let (from, _) = offsets(side, cropped.unwrap_or(side));
                    from..from + cropped.unwrap_or(side).min(side)
                };
                let columns = part(width, self.crop.map(|(_, width)| width));
                let rows = part(height, self.crop.map(|(height, _)| height));
                let size = (width, height);
                Cow::Owned(resize_part(&image, self.resample, size, columns, rows))
            }
            _ => image,
        };
        let pixels = match self.crop {
            Some((height, width)) if (height, width) != (sized.height(), sized.width()) => {
                crop(&sized, height, width)
            }
            _ => Pixels {
                height: sized.height(),
                width: sized.width(),
                channels: 3,
                data: sized.into_owned().into_data(),
            },
        };
        Ok(if channels == 1 {
            one_channel(pixels)
        } else {
            pixels
        })
    }

    /// The tensor of `pixels`: channel by channel, row by row.
    #[must_use]
    pub fn tensor(&self, pixels: &Pixels) -> Vec<f32> {
        let step = pixels.channels as usize;
        let mut out = Vec::with_capacity(pixels.data.len());
        for (channel, shades) in self.table().iter().take(step).enumerate() {
            let bytes = pixels.data.iter().skip(channel).step_by(step);
            out.extend(bytes.map(|&byte| shades.get(usize::from(byte)).copied().unwrap_or(0.0)));
        }
        out
    }

    /// The picture that comes of it when rows are taken for channels: each column is a row of three
    /// pixels, for the three colours, and each row a channel.
    fn rows_as_channels(&self, image: &RgbImage) -> Result<RgbImage, PixelError> {
        let height = image.height();
        let error = PixelError::RowsAsChannels(height);
        if height != 3 && (height != 1 || self.by_channel) {
            return Err(error);
        }
        let row = image.width() as usize * 3;
        let mut data = Vec::with_capacity(row * 3);
        for at in 0..row {
            for channel in 0..3 {
                let line = if height == 3 { channel } else { 0 };
                data.push(image.data().get(line * row + at).copied().ok_or(error)?);
            }
        }
        RgbImage::new(3, image.width(), data).ok_or(error)
    }
}

impl Size {
    /// Width and height that a picture gets. Python multiplies exactly and divides correctly
    /// rounded; so does this, as the numbers are below 2^53.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "sides are small, and Python truncates just so"
    )]
    fn of(self, image: &RgbImage) -> (u32, u32) {
        let (width, height) = (image.width(), image.height());
        match self {
            Self::Exact(height, width) => (width, height),
            Self::ShortestEdge(short) => {
                let other = |long: u32, before: u32| {
                    let product = u64::from(short) * u64::from(long);
                    (product as f64 / f64::from(before)) as u32
                };
                if width <= height {
                    (short, other(height, width))
                } else {
                    (other(width, height), short)
                }
            }
        }
    }
}

/// The middle of a picture, with black around it where it is smaller.
fn crop(image: &RgbImage, height: u32, width: u32) -> Pixels {
    let offsets = |has: u32, wants: u32| {
        let (from, to) = offsets(has, wants);
        (from as usize, to as usize)
    };
    let (from_row, to_row) = offsets(image.height(), height);
    let (from_column, to_column) = offsets(image.width(), width);
    let (height, width) = (height as usize, width as usize);
    let (rows, columns) = (image.height() as usize, image.width() as usize);
    let mut data = vec![0; height * width * 3];
    let count = columns.min(width) * 3;
    let lines = image.data().chunks_exact(columns * 3).skip(from_row);
    let places = data.chunks_exact_mut(width * 3).skip(to_row);
    for (line, place) in lines.zip(places).take(rows.min(height)) {
        let line = line.get(from_column * 3..).unwrap_or_default();
        let place = place.get_mut(to_column * 3..).unwrap_or_default();
        for (from, to) in line.iter().zip(place).take(count) {
            *to = *from;
        }
    }
    Pixels {
        height: u32::try_from(height).unwrap_or(0),
        width: u32::try_from(width).unwrap_or(0),
        channels: 3,
        data,
    }
}

/// Where a side of `has` begins to be taken, and where it begins to be put, for a crop to `wants`.
///
/// transformers pads a side that is too short with the greater half before it, and crops with the
/// lesser half cut before it. A side that is long enough is cropped the same whether the other one
/// is padded or not: padding adds nothing to it.
fn offsets(has: u32, wants: u32) -> (u32, u32) {
    if has >= wants {
        ((has - wants) / 2, 0)
    } else {
        // ceil of the half before, then the crop begins at floor(-gap / 2) + that half, which is 0.
        let gap = wants - has;
        (0, gap.div_ceil(2))
    }
}

fn one_channel(pixels: Pixels) -> Pixels {
    Pixels {
        channels: 1,
        data: pixels.data.into_iter().step_by(3).collect(),
        ..pixels
    }
}
