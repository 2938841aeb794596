//! A `djr` that has one more operator.

use own_operator as _;

fn main() -> std::process::ExitCode {
    djr::cli::main()
}
