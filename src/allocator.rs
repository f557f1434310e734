//! The allocator: mimalloc, but what is huge comes from the kernel and goes back to it.
//!
//! The crate that decodes requests reserves room for as many elements as a request claims, before
//! it has read one. Reserving is harmless: nobody touches what was reserved. Yet mimalloc takes
//! fresh addresses for each reservation of that size, and keeps a map of all that it ever took,
//! 64 KiB for each 512 MiB: hostile claims, one after the other, made a process grow to gigabytes.
//! The kernel gives the same addresses again, and nothing of them is remembered.
//!
//! `unsafe` is allowed in this file only: an allocator cannot be had without.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr;

use mimalloc::MiMalloc;

/// From here on memory is the kernel's: more than any buffer that is used again and again.
const HUGE: usize = 32 << 20;
/// Alignment that whatever the kernel gives has at least.
const PAGE: usize = 4096;

/// mimalloc, and the kernel for what is huge.
pub struct Allocator;

/// Who gives memory of this layout, and takes it back.
fn is_huge(layout: &Layout) -> bool {
    layout.size() >= HUGE && layout.align() <= PAGE
}

/// Reserves addresses; their pages come, as zeros, when they are touched.
#[allow(unsafe_code)]
fn reserve(len: usize) -> *mut u8 {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: new addresses, of no file, that nobody else has.
    let start = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, -1, 0) };
    if start == libc::MAP_FAILED { ptr::null_mut() } else { start.cast() }
}

// SAFETY: a layout alone decides who gives memory, and the same one takes it back; both keep the
// promises of an allocator. Whatever changes between the two is copied.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_huge(&layout) {
            return reserve(layout.size());
        }
        // SAFETY: the caller's promises are mimalloc's.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if is_huge(&layout) {
            // SAFETY: `reserve` gave exactly this. That it cannot be given back does not happen,
            // and would only cost addresses.
            let _ = unsafe { libc::munmap(pointer.cast(), layout.size()) };
            return;
        }
        // SAFETY: mimalloc gave it.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_huge(&layout) {
            return reserve(layout.size());
        }
        // SAFETY: the caller's promises are mimalloc's.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size, rounded up to the alignment, is no overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if !is_huge(&layout) && !is_huge(&wanted) {
            // SAFETY: mimalloc gave it, and the caller's promises are mimalloc's.
            return unsafe { MiMalloc.realloc(pointer, layout, size) };
        }
        // SAFETY: the two do not overlap, and both are as long as what is copied.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(pointer, moved, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    /// The binary's allocator is this one, so that ordinary vectors test it.
    #[test]
    fn what_is_huge_keeps_its_bytes_wherever_it_is() {
        let mut bytes: Vec<u8> = (0..super::HUGE - 1).map(|index| index as u8).collect();
        for len in [super::HUGE, 3 * super::HUGE, super::HUGE + 1, 4096, 2 * super::HUGE] {
            bytes.resize(len, 7);
            bytes.shrink_to_fit();
            let kept = bytes.iter().take(4096).enumerate().all(|(at, byte)| *byte == at as u8);
            assert!(kept, "{len} bytes");
        }
        assert!(vec![0u8; 2 * super::HUGE].iter().all(|byte| *byte == 0));
        let claimed: Vec<u64> = Vec::with_capacity(1 << 34);
        assert!(claimed.capacity() >= 1 << 34, "addresses only");
    }
}
