//! What producers are held to, beside what their topics say.

use crate::values::Values;

/// How much of a produced batch is looked at (`ottla.produce.validation`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProduceValidation {
    /// Every record.
    Strict,
    /// The header, as long as it does not show that more must be looked at.
    Relaxed,
}

/// What producers are held to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProduceConfig {
    /// `ottla.produce.validation`.
    pub validation: ProduceValidation,
    /// `ottla.produce.decompressed.max.bytes`.
    pub decompressed_bytes_max: u32,
}

impl ProduceConfig {
    pub(crate) fn read(values: &Values) -> ProduceConfig {
        let relaxed = values.text("ottla.produce.validation") == Some("relaxed");
        let decompressed_bytes_max = values.int("ottla.produce.decompressed.max.bytes");
        ProduceConfig {
            validation: if relaxed {
                ProduceValidation::Relaxed
            } else {
                ProduceValidation::Strict
            },
            decompressed_bytes_max: decompressed_bytes_max.unsigned_abs(),
        }
    }
}
