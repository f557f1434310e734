//! The `ottla` binary. Everything is in the rooms; see `docs/ARCHITECTURE.md`.

use std::process::ExitCode;

/// Reserves lazily: a request that claims a billion elements costs address space, not memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ottla_cli::main()
}
