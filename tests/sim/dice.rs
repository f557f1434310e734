//! Choices, drawn from the world's seed.

use ottla_runtime::Entropy;
use ottla_runtime::sim::SimWorld;

/// A drawer of lots. Copies draw from the same source.
#[derive(Clone)]
pub struct Dice(Entropy);

impl Dice {
    /// The dice of a world.
    pub fn of(world: &SimWorld) -> Dice {
        Dice(world.entropy())
    }

    /// A number in `0..bound`.
    pub fn below(&self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// A number in `low..=high`.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.0.below(high - low + 1)
    }

    /// True in `percent` of a hundred draws.
    pub fn chance(&self, percent: u64) -> bool {
        self.0.below(100) < percent
    }

    /// One of `choices`, which are some.
    pub fn pick<T: Clone>(&self, choices: &[T]) -> T {
        choices[self.0.below(choices.len() as u64) as usize].clone()
    }
}
