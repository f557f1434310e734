//! Long work in the background that lets others go first, between small pieces.
//!
//! A thread that wakes up waits until the one that runs has had its slice (a millisecond or more on
//! Linux), however little it wants. Whoever works for long therefore offers the processor all the
//! time: that costs next to nothing while nobody wants it. It shortens the usual wait, not the
//! longest: what the kernel does for this thread meanwhile is one piece (docs/benchmarks.md).
//!
//! In simulation there is one thread, and offering the processor changes nothing.

/// Work between two offers, bytes: well below a tenth of a millisecond.
const PIECE_BYTES: u64 = 64 << 10;

/// Counts what was done since the processor was offered last.
#[derive(Default, Debug)]
pub struct Pace {
    bytes: u64,
}

impl Pace {
    /// So much was worked at, in bytes; now and then others go first.
    pub fn worked(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes >= PIECE_BYTES {
            self.bytes = 0;
            std::thread::yield_now();
        }
    }
}
