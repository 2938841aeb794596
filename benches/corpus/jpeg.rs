//! JPEG encoding by the library that decodes for djr.
#![expect(
    unsafe_code,
    reason = "libjpeg is a C library; this file is the encoder's whole binding"
)]

use std::ffi::c_ulong;
use std::ptr::null_mut;

use mozjpeg_sys as sys;

use super::picture::Picture;

/// How a picture is encoded.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// 1 to 100.
    pub quality: u8,
    /// Several scans instead of one.
    pub progressive: bool,
    /// Luma only.
    pub grey: bool,
}

/// Encodes with libjpeg-turbo's settings (baseline, 4:2:0, standard tables).
pub fn encode(picture: &Picture, style: Style) -> Vec<u8> {
    let mut out: *mut u8 = null_mut();
    let mut length: c_ulong = 0;
    // SAFETY: `cinfo` and `errors` outlive the calls; zero bytes are valid for both before
    // `jpeg_std_error` and `jpeg_CreateCompress` fill them in. Each scan line handed over has
    // `3 * width` bytes. `out` is memory from malloc of `length` bytes, copied and then freed. A
    // fatal error unwinds or ends the process; this is a tool for benchmarks.
    unsafe {
        let mut errors: sys::jpeg_error_mgr = std::mem::zeroed();
        let mut cinfo: sys::jpeg_compress_struct = std::mem::zeroed();
        cinfo.common.err = sys::jpeg_std_error(&mut errors);
        sys::jpeg_create_compress(&raw mut cinfo);
        sys::jpeg_mem_dest(&mut cinfo, &raw mut out, &raw mut length);
        cinfo.image_width = picture.width;
        cinfo.image_height = picture.height;
        cinfo.input_components = 3;
        cinfo.in_color_space = sys::J_COLOR_SPACE::JCS_YCbCr;
        sys::jpeg_c_set_int_param(
            &mut cinfo,
            sys::J_INT_PARAM::JINT_COMPRESS_PROFILE,
            sys::JINT_COMPRESS_PROFILE_VALUE::JCP_FASTEST as i32,
        );
        sys::jpeg_set_defaults(&mut cinfo);
        sys::jpeg_set_quality(&mut cinfo, i32::from(style.quality), 1);
        if style.grey {
            sys::jpeg_set_colorspace(&mut cinfo, sys::J_COLOR_SPACE::JCS_GRAYSCALE);
        }
        if style.progressive {
            sys::jpeg_simple_progression(&mut cinfo);
        }
        sys::jpeg_start_compress(&mut cinfo, 1);
        for line in picture.pixels.chunks_exact(picture.width as usize * 3) {
            let line = [line.as_ptr()];
            sys::jpeg_write_scanlines(&mut cinfo, line.as_ptr(), 1);
        }
        sys::jpeg_finish_compress(&mut cinfo);
        sys::jpeg_destroy_compress(&mut cinfo);
        let bytes = std::slice::from_raw_parts(out, usize::try_from(length).unwrap_or(0)).to_vec();
        libc::free(out.cast());
        bytes
    }
}
