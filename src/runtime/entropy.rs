//! Randomness: from the operating system, or from the seed of a simulation.

use std::fmt;
use std::sync::{Arc, Mutex};

use ottla_types::Uuid;

/// A source of random numbers. Copies share the source.
#[derive(Clone)]
pub struct Entropy {
    twin: Twin,
}

#[derive(Clone)]
enum Twin {
    Real,
    Sim(Arc<Mutex<fastrand::Rng>>),
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

impl Entropy {
    pub(crate) fn real() -> Entropy {
        Entropy { twin: Twin::Real }
    }

    pub(crate) fn seeded(source: Arc<Mutex<fastrand::Rng>>) -> Entropy {
        Entropy { twin: Twin::Sim(source) }
    }

    /// Sixty-four random bits, good enough for keys.
    ///
    /// # Panics
    /// When the operating system has no randomness to give, which ends any use of it.
    #[must_use]
    pub fn bits(&self) -> u64 {
        match &self.twin {
            Twin::Real => getrandom::u64().expect("the operating system gives random bytes"),
            Twin::Sim(source) => source.lock().expect("no panic while drawing").u64(..),
        }
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        // The bias of the multiplication is below 2^-32 for the bounds used here.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A fresh id as Kafka's `Uuid.randomUuid` makes them.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        loop {
            let bytes = (u128::from(self.bits()) << 64) | u128::from(self.bits());
            if let Some(id) = Uuid::from_random(bytes.to_be_bytes()) {
                return id;
            }
        }
    }
}
