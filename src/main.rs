//! The `ottla` binary. Everything is in the rooms; see `docs/ARCHITECTURE.md`.

mod allocator;

use std::process::ExitCode;

/// Reserves lazily: a request that claims a billion elements costs address space, not memory.
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

fn main() -> ExitCode {
    ottla_cli::main()
}
