//! The `portcullis` program; see `portcullis --help`.

use std::process::ExitCode;

/// Batches allocate and free large buffers all the time; mimalloc keeps their pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portcullis::cli::main()
}
