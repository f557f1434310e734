//! Functions that callgrind knows by name. They must not be inlined.

use std::hint::black_box;

/// Ends a count and begins the next one (`--dump-before`).
#[inline(never)]
pub fn mark() {
    black_box(());
}

/// Counts what happens in `operation` (`--toggle-collect`).
#[inline(never)]
pub fn counted<T>(operation: impl FnOnce() -> T) -> T {
    black_box(operation())
}
