//! The `vestibule` program.

use std::process::ExitCode;

/// Allocating is a good part of a proxy's work; this one is quicker at it than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    vestibule::cli::main()
}
