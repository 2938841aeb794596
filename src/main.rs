//! Arguments in, exit code out; see [`djr::cli`].

fn main() -> std::process::ExitCode {
    djr::cli::main()
}
