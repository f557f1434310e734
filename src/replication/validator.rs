//! The memory in which batches are validated: as many workspaces as batches are looked at at one
//! time, used again and again.

use std::sync::Mutex;

use ottla_config::{ProduceConfig, TopicConfig};
use ottla_storage::IncomingBatch;
use ottla_types::{Timestamp, TopicPartition};

use crate::validation::{Refusal, Rules, Workspace, validate_records};

/// Whatever the limit says, a request may be decompressed to so many times its length.
const DECOMPRESSED_FACTOR: usize = 16;

/// Validates the batches of clients.
pub struct Validator {
    config: ProduceConfig,
    /// Workspaces that nobody uses. Each is taken by one thread for one batch and given back, so
    /// that there are never more than threads.
    idle: Mutex<Vec<Workspace>>,
}

impl Validator {
    /// A validator without memory yet.
    #[must_use]
    pub fn new(config: ProduceConfig) -> Validator {
        Validator { config, idle: Mutex::default() }
    }

    /// Bytes that the batches of a request of `len` bytes may take together when they are
    /// decompressed.
    #[must_use]
    pub fn decompressed_max(&self, len: usize) -> usize {
        let max = self.config.decompressed_bytes_max as usize;
        max.max(len.saturating_mul(DECOMPRESSED_FACTOR))
    }

    /// Checks the records of a batch whose header is good, and makes of it what is appended. Takes
    /// what they are when they are decompressed from `left`.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn validate(
        &self,
        batch: IncomingBatch,
        topic: &TopicConfig,
        partition: &TopicPartition,
        now: Timestamp,
        left: &mut usize,
    ) -> Result<IncomingBatch, Refusal> {
        let rules = Rules {
            topic,
            partition,
            validation: self.config.validation,
            decompressed_bytes_max: *left,
            now,
        };
        let idle = self.idle.lock().expect("never poisoned").pop();
        let mut workspace = idle.unwrap_or_default();
        let validated = validate_records(batch, &rules, &mut workspace);
        workspace.trim();
        let decompressed = usize::try_from(workspace.take_decompressed()).unwrap_or(usize::MAX);
        *left = left.saturating_sub(decompressed);
        self.idle.lock().expect("never poisoned").push(workspace);
        validated
    }
}
