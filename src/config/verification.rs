//! How partitions see to it that what is written in a transaction is known to its coordinator
//! (KIP-890).

use std::time::Duration;

use crate::values::Values;

/// What comes before the first batch of a transaction in a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerificationConfig {
    /// `transaction.partition.verification.enable` of the node's file: whether clients that add
    /// partitions themselves are believed only when the coordinator says the same.
    pub verifies: bool,
    /// `add.partitions.to.txn.retry.backoff.ms`: pause before the coordinator is asked again that
    /// is still ending the producer's last transaction.
    pub add_retry_backoff: Duration,
    /// `add.partitions.to.txn.retry.backoff.max.ms`: how long it is asked again.
    pub add_retry_max: Duration,
}

impl VerificationConfig {
    /// The key of `verifies`, which an operator may change while the node runs.
    pub const KEY: &str = "transaction.partition.verification.enable";

    pub(crate) fn read(values: &Values) -> VerificationConfig {
        let ms = |name| Duration::from_millis(u64::from(values.int(name).unsigned_abs()));
        VerificationConfig {
            verifies: values.boolean(VerificationConfig::KEY),
            add_retry_backoff: ms("add.partitions.to.txn.retry.backoff.ms"),
            add_retry_max: ms("add.partitions.to.txn.retry.backoff.max.ms"),
        }
    }
}
