//! The memory in which batches are validated: as many workspaces as batches are looked at at one
//! time, used again and again.

use std::sync::Mutex;

use ottla_config::{ProduceConfig, TopicConfig};
use ottla_storage::IncomingBatch;
use ottla_types::{Timestamp, TopicPartition};

use crate::validation::{Refusal, Rules, Workspace, validate_records};

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

    /// Checks the records of a batch whose header is good, and makes of it what is appended.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn validate(
        &self,
        batch: IncomingBatch,
        topic: &TopicConfig,
        partition: &TopicPartition,
        now: Timestamp,
    ) -> Result<IncomingBatch, Refusal> {
        let rules = Rules {
            topic,
            partition,
            validation: self.config.validation,
            decompressed_bytes_max: self.config.decompressed_bytes_max as usize,
            now,
        };
        let idle = self.idle.lock().expect("never poisoned").pop();
        let mut workspace = idle.unwrap_or_default();
        let validated = validate_records(batch, &rules, &mut workspace);
        workspace.trim();
        self.idle.lock().expect("never poisoned").push(workspace);
        validated
    }
}
