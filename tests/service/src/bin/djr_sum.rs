//! A `djr` that has `sum_filter`.

use service_tests as _;

fn main() -> std::process::ExitCode {
    djr::cli::main()
}
