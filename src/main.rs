//! Arguments in, exit code out; see [`djr::cli`].

/// Whether standard output is open, asked before Rust's runtime opens `/dev/null` in the place of a closed
/// one: what is written there would be lost without a word.
#[cfg(target_os = "linux")]
#[used]
#[expect(
    unsafe_code,
    reason = "only the linker can have something run before the runtime"
)]
// SAFETY: the C runtime calls each function of this section once, with no other thread there yet; this
// one asks the system a question and keeps the answer in an atomic.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = djr::io::destination::look_at_stdout;

fn main() -> std::process::ExitCode {
    djr::cli::main()
}
