//! A figure: what is measured, and what it is to be.

use serde_json::{Value, json};

/// What is measured of each server.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    /// Its name in results.
    pub(crate) key: &'static str,
    /// Its line in a table, with the unit.
    pub(crate) title: &'static str,
    /// What the medians are to be, all of it.
    pub(crate) target: &'static [Condition],
}

impl Figure {
    /// A figure that is to be nothing in particular.
    pub(crate) const fn new(key: &'static str, title: &'static str) -> Figure {
        Figure { key, title, target: &[] }
    }

    /// The same with a target.
    pub(crate) const fn to_be(self, target: &'static [Condition]) -> Figure {
        Figure { target, ..self }
    }
}

/// What a median of Ottla's is to be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Condition {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// At most so many times the floor's.
    OfFloor(f64),
    /// At most so many times Apache Kafka's.
    OfKafka(f64),
    /// At least so many times Apache Kafka's.
    AtLeastOfKafka(f64),
    /// At most so much above Ottla's median in relaxed mode.
    AboveRelaxed(f64),
}

/// Medians that a condition is held against.
#[derive(Default)]
pub(crate) struct Medians {
    pub(crate) ottla: Option<f64>,
    pub(crate) kafka: Option<f64>,
    pub(crate) floor: Option<f64>,
    /// Ottla's in relaxed mode.
    pub(crate) relaxed: Option<f64>,
}

impl Condition {
    /// Whether it holds; `None` when what it speaks of was not measured.
    pub(crate) fn holds(self, medians: &Medians) -> Option<bool> {
        let ottla = medians.ottla?;
        Some(match self {
            Condition::AtMost(most) => ottla <= most,
            Condition::AtLeast(least) => ottla >= least,
            Condition::OfFloor(times) => ottla <= times * medians.floor?,
            Condition::OfKafka(times) => ottla <= times * medians.kafka?,
            Condition::AtLeastOfKafka(times) => ottla >= times * medians.kafka?,
            Condition::AboveRelaxed(most) => ottla <= medians.relaxed? + most,
        })
    }

    /// In words.
    pub(crate) fn text(self) -> String {
        match self {
            Condition::AtMost(most) => format!("at most {most}"),
            Condition::AtLeast(least) => format!("at least {least}"),
            Condition::OfFloor(times) => format!("at most {times}x of the floor"),
            Condition::OfKafka(times) => format!("at most {times}x of Kafka"),
            Condition::AtLeastOfKafka(times) => format!("at least {times}x of Kafka"),
            Condition::AboveRelaxed(most) => format!("at most {most:.3} above relaxed"),
        }
    }

    pub(crate) fn to_json(self) -> Value {
        match self {
            Condition::AtMost(most) => json!(["at most", most]),
            Condition::AtLeast(least) => json!(["at least", least]),
            Condition::OfFloor(times) => json!(["of floor", times]),
            Condition::OfKafka(times) => json!(["of kafka", times]),
            Condition::AtLeastOfKafka(times) => json!(["at least of kafka", times]),
            Condition::AboveRelaxed(most) => json!(["above relaxed", most]),
        }
    }

    pub(crate) fn from_json(value: &Value) -> Option<Condition> {
        let number = value.get(1)?.as_f64()?;
        Some(match value.get(0)?.as_str()? {
            "at most" => Condition::AtMost(number),
            "at least" => Condition::AtLeast(number),
            "of floor" => Condition::OfFloor(number),
            "of kafka" => Condition::OfKafka(number),
            "at least of kafka" => Condition::AtLeastOfKafka(number),
            "above relaxed" => Condition::AboveRelaxed(number),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_or_do_not_or_cannot_be_told() {
        let medians =
            Medians { ottla: Some(0.6), kafka: Some(1.2), floor: Some(0.4), relaxed: Some(0.5) };
        for (condition, holds) in [
            (Condition::AtMost(0.6), Some(true)),
            (Condition::AtMost(0.5), Some(false)),
            (Condition::AtLeast(0.6), Some(true)),
            (Condition::AtLeast(0.7), Some(false)),
            (Condition::OfFloor(1.6), Some(true)),
            (Condition::OfFloor(1.4), Some(false)),
            (Condition::OfKafka(0.5), Some(true)),
            (Condition::OfKafka(0.4), Some(false)),
            (Condition::AtLeastOfKafka(0.5), Some(true)),
            (Condition::AtLeastOfKafka(0.6), Some(false)),
            (Condition::AboveRelaxed(0.2), Some(true)),
            (Condition::AboveRelaxed(0.05), Some(false)),
        ] {
            assert_eq!(condition.holds(&medians), holds, "{condition:?}");
            assert_eq!(Condition::from_json(&condition.to_json()), Some(condition));
        }
        let without = Medians { ottla: Some(0.6), ..Medians::default() };
        assert_eq!(Condition::OfFloor(1.0).holds(&without), None);
        assert_eq!(Condition::OfKafka(1.0).holds(&without), None);
        assert_eq!(Condition::AboveRelaxed(1.0).holds(&without), None);
    }
}
