//! JPEG files as Pillow saves them by default: libjpeg's baseline encoder (mozjpeg without its own
//! ideas), quality 75, chroma halved both ways.
#![expect(
    unsafe_code,
    reason = "libjpeg is a C library; this file is its binding for writing"
)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::addr_of_mut;

use mozjpeg_sys as sys;

use super::{ImageError, RgbImage};

/// Bytes that the encoder hands over at a time.
const BLOCK: usize = 1 << 16;

/// The payload of the unwinding that carries a fatal error out of libjpeg.
struct Fatal;

/// Everything libjpeg points at, in one allocation that does not move.
struct Inner {
    cinfo: sys::jpeg_compress_struct,
    errors: sys::jpeg_error_mgr,
    sink: sys::jpeg_destination_mgr,
    block: Vec<u8>,
    out: Vec<u8>,
}

/// The file of `image`.
///
/// # Errors
/// `image_not_writable` for a side of more than 65,500 pixels.
pub fn encode_rgb(image: &RgbImage) -> Result<Vec<u8>, ImageError> {
    let mut session = Session::open();
    catch_unwind(AssertUnwindSafe(|| session.run(image))).map_err(|_| {
        ImageError::new(
            "image_not_writable",
            format!(
                "{}x{} pixels cannot be written as JPEG",
                image.width(),
                image.height()
            ),
        )
    })
}

/// One compression. Owns libjpeg's state and frees it whatever happens.
struct Session(*mut Inner);

impl Session {
    fn open() -> Self {
        // SAFETY: all fields of libjpeg's structs are integers, enums with a zero variant, raw
        // pointers or optional function pointers, for which zero bytes are valid.
        let inner = unsafe {
            Inner {
                cinfo: std::mem::zeroed(),
                errors: std::mem::zeroed(),
                sink: std::mem::zeroed(),
                block: vec![0; BLOCK],
                out: Vec::new(),
            }
        };
        Self(Box::into_raw(Box::new(inner)))
    }

    fn run(&mut self, image: &RgbImage) -> Vec<u8> {
        let stride = image.width() as usize * 3;
        // SAFETY: the calls follow libjpeg's order for compression. `self.0` is a live allocation
        // that the pointers stored in `cinfo` lead into and that outlives it; each row handed over
        // has the `stride` bytes that `image_width` and `input_components` promise.
        unsafe {
            let inner = self.0;
            sys::jpeg_std_error(&mut *addr_of_mut!((*inner).errors));
            (*inner).errors.error_exit = Some(on_error);
            (*inner).errors.emit_message = Some(on_message);
            (*inner).errors.output_message = Some(on_output);
            (*inner).cinfo.common.err = addr_of_mut!((*inner).errors);
            let cinfo = addr_of_mut!((*inner).cinfo);
            sys::jpeg_create_compress(cinfo);
            (*inner).cinfo.common.client_data = inner.cast();
            (*inner).sink = sys::jpeg_destination_mgr {
                next_output_byte: std::ptr::null_mut(),
                free_in_buffer: 0,
                init_destination: Some(begin),
                empty_output_buffer: Some(take_block),
                term_destination: Some(end),
            };
            (*cinfo).dest = addr_of_mut!((*inner).sink);
            (*cinfo).image_width = image.width();
            (*cinfo).image_height = image.height();
            (*cinfo).input_components = 3;
            (*cinfo).in_color_space = sys::J_COLOR_SPACE::JCS_RGB;
            // Before the defaults, which depend on it.
            let plain = sys::JCP_FASTEST as i32;
            sys::jpeg_c_set_int_param(&mut *cinfo, sys::JINT_COMPRESS_PROFILE, plain);
            sys::jpeg_set_defaults(&mut *cinfo);
            sys::jpeg_start_compress(&mut *cinfo, 1);
            for row in image.data().chunks_exact(stride) {
                sys::jpeg_write_scanlines(&mut *cinfo, &row.as_ptr(), 1);
            }
            sys::jpeg_finish_compress(&mut *cinfo);
            std::mem::take(&mut (*inner).out)
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `Box::into_raw` and is released once. Destroying is defined
        // for a compressor in any state, a zeroed one (no memory manager) included.
        unsafe {
            sys::jpeg_destroy_compress(&mut (*self.0).cinfo);
            drop(Box::from_raw(self.0));
        }
    }
}

/// libjpeg found an error that it cannot go on from. It must not be returned to.
unsafe extern "C-unwind" fn on_error(_: &mut sys::jpeg_common_struct) {
    resume_unwind(Box::new(Fatal));
}

unsafe extern "C-unwind" fn on_message(_: &mut sys::jpeg_common_struct, _: i32) {}

unsafe extern "C-unwind" fn on_output(_: &mut sys::jpeg_common_struct) {}

unsafe extern "C-unwind" fn begin(cinfo: &mut sys::jpeg_compress_struct) {
    // SAFETY: `client_data` is the `Inner` that `run` set; libjpeg calls this while `run` holds it.
    unsafe {
        let inner = cinfo.common.client_data.cast::<Inner>();
        (*inner).sink.next_output_byte = (*addr_of_mut!((*inner).block)).as_mut_ptr();
        (*inner).sink.free_in_buffer = BLOCK;
    }
}

/// The block is full, whatever the free count says.
unsafe extern "C-unwind" fn take_block(cinfo: &mut sys::jpeg_compress_struct) -> sys::boolean {
    // SAFETY: as in `begin`.
    unsafe {
        let inner = cinfo.common.client_data.cast::<Inner>();
        let block = &*addr_of_mut!((*inner).block);
        (*addr_of_mut!((*inner).out)).extend_from_slice(block);
        begin(cinfo);
    }
    1
}

unsafe extern "C-unwind" fn end(cinfo: &mut sys::jpeg_compress_struct) {
    // SAFETY: as in `begin`.
    unsafe {
        let inner = cinfo.common.client_data.cast::<Inner>();
        let used = BLOCK.saturating_sub((*inner).sink.free_in_buffer);
        let block = &*addr_of_mut!((*inner).block);
        (*addr_of_mut!((*inner).out)).extend_from_slice(block.get(..used).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    #[test]
    fn a_file_of_any_size_is_whole_and_baseline() {
        for (width, height) in [(1, 1), (17, 9), (900, 700)] {
            // Noise, so that the large one fills several blocks.
            let mut state = 1_u32;
            let data = (0..width * height * 3).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_le_bytes()[3]
            });
            let image = RgbImage::new(width, height, data.collect()).unwrap();
            let file = encode_rgb(&image).unwrap();
            assert!(width < 900 || file.len() > 3 * BLOCK);
            let decoded = decode(&file).unwrap();
            assert!(!decoded.suspect);
            assert_eq!(
                (decoded.header.width, decoded.header.height),
                (width, height)
            );
        }
    }

    #[test]
    fn a_side_that_jpeg_has_no_number_for_is_an_error() {
        let image = RgbImage::new(65_501, 1, vec![0; 65_501 * 3]).unwrap();
        assert_eq!(encode_rgb(&image).unwrap_err().code, "image_not_writable");
    }
}
