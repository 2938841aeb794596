//! Fuzz targets of djr for libFuzzer; CONTRIBUTING.md says how to run them.

pub mod targets;

pub use libfuzzer_sys;

/// Makes a binary that fuzzes one function of [`targets`].
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(
            init: $crate::let_panics_be_caught(),
            |bytes: &[u8]| $crate::targets::$name(bytes)
        );
    };
}

/// libFuzzer's panic hook ends the process at once. A panic that djr itself catches is no
/// failure; one that comes through still ends the process, a moment later.
pub fn let_panics_be_caught() {
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
}
