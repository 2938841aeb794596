//! The program as users run it: commands, files, exit codes.

mod bad_recipes;
mod determinism;
mod documents;
mod ledger;
mod pipeline;
mod real;
mod subset;
mod support;
mod tidy;
