//! Filters, one file each.

mod image_aspect_ratio_filter;
mod image_shape_filter;
mod image_size_filter;
mod text_length_filter;
