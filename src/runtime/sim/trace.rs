//! The log of a simulated world's events, with a hash over all of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Lines kept for the report of a failure.
const TAIL_LINES_MAX: usize = 400;

/// What happened, in order. Copies share the log.
#[derive(Clone)]
pub struct Trace {
    start: tokio::time::Instant,
    state: Arc<Mutex<State>>,
}

struct State {
    hash: u64,
    events: u64,
    tail: VecDeque<String>,
    print: bool,
}

impl Trace {
    pub(crate) fn new(start: tokio::time::Instant) -> Trace {
        // FNV-1a's offset basis: any fixed start will do.
        let state =
            State { hash: 0xcbf2_9ce4_8422_2325, events: 0, tail: VecDeque::new(), print: false };
        Trace { start, state: Arc::new(Mutex::new(state)) }
    }

    /// Prints every line from now on.
    pub fn print(&self) {
        self.state.lock().expect("a log").print = true;
    }

    /// Adds an event.
    pub fn event(&self, text: impl FnOnce() -> String) {
        let line = format!("{:>9} {}", self.start.elapsed().as_millis(), text());
        let mut state = self.state.lock().expect("a log");
        state.hash = fnv(state.hash, line.as_bytes());
        state.events += 1;
        if state.print {
            println!("{line}");
        }
        if state.tail.len() == TAIL_LINES_MAX {
            state.tail.pop_front();
        }
        state.tail.push_back(line);
    }

    /// Adds an event that a reader of a failure looks for.
    pub fn note(&self, text: impl FnOnce() -> String) {
        self.event(|| format!("== {}", text()));
    }

    /// Hash over all events so far, and their number.
    #[must_use]
    pub fn fingerprint(&self) -> (u64, u64) {
        let state = self.state.lock().expect("a log");
        (state.hash, state.events)
    }

    /// The last lines.
    #[must_use]
    pub fn tail(&self) -> Vec<String> {
        self.state.lock().expect("a log").tail.iter().cloned().collect()
    }
}

/// FNV-1a, continued from `hash`.
pub(crate) fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
