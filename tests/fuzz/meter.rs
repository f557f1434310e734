//! How many bytes this thread holds at most at one time, and how often it asks for some, counted by
//! the allocator.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::allocator::Allocator;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// The binary's allocator, counting. The fuzzer has one thread.
pub struct Meter;

// SAFETY: every call goes to the binary's allocator unchanged.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(held, Relaxed);
        TAKEN.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are the allocator's.
        unsafe { Allocator.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are the allocator's.
        unsafe { Allocator.dealloc(pointer, layout) }
    }
}

/// What some work took.
#[derive(Clone, Copy, Default)]
pub struct Took {
    /// Most bytes that it held at one time beyond what was held before.
    pub held: usize,
    /// How often it asked for memory.
    pub allocations: usize,
}

/// Runs `work`; gives what it took.
pub fn measure(work: impl FnOnce()) -> Took {
    let (before, taken) = (HELD.load(Relaxed), TAKEN.load(Relaxed));
    MOST.store(before, Relaxed);
    work();
    Took {
        held: MOST.load(Relaxed).saturating_sub(before),
        allocations: TAKEN.load(Relaxed) - taken,
    }
}
