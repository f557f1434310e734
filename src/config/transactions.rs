//! How transactions are coordinated.

use std::time::Duration;

use crate::values::Values;

/// Limits and times of transactions, and the topic that they are kept in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionsConfig {
    /// `transaction.state.log.num.partitions`.
    pub topic_partitions: i32,
    /// `transaction.state.log.replication.factor`, if it is given; else at most as many as are
    /// alive.
    pub topic_replicas: Option<i16>,
    /// `transaction.state.log.segment.bytes`.
    pub topic_segment_bytes: u32,
    /// `transaction.state.log.min.isr`, if it is given: else at most as many as there are replicas.
    pub topic_in_sync_min: Option<i32>,
    /// `transaction.state.log.load.buffer.size`.
    pub load_bytes: u64,
    /// `transaction.max.timeout.ms`.
    pub timeout_max_ms: i32,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    pub abort_interval: Duration,
    /// `transactional.id.expiration.ms`.
    pub id_expiration: Duration,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub expiry_interval: Duration,
}

/// In-sync replicas that the topic's writes need unless another number is given.
pub const TRANSACTIONS_IN_SYNC_DEFAULT: i32 = 2;

const REPLICAS: &str = "transaction.state.log.replication.factor";
const IN_SYNC: &str = "transaction.state.log.min.isr";

impl TransactionsConfig {
    pub(crate) fn read(values: &Values) -> TransactionsConfig {
        let ms = |name| Duration::from_millis(u64::from(values.int(name).unsigned_abs()));
        let replicas = i16::try_from(values.int(REPLICAS)).unwrap_or(i16::MAX);
        let in_sync_min = values.int(IN_SYNC);
        TransactionsConfig {
            topic_partitions: values.int("transaction.state.log.num.partitions"),
            topic_replicas: values.is_given(REPLICAS).then_some(replicas),
            topic_segment_bytes: values.int("transaction.state.log.segment.bytes").unsigned_abs(),
            topic_in_sync_min: values.is_given(IN_SYNC).then_some(in_sync_min),
            load_bytes: u64::from(
                values.int("transaction.state.log.load.buffer.size").unsigned_abs(),
            ),
            timeout_max_ms: values.int("transaction.max.timeout.ms"),
            abort_interval: ms("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            id_expiration: ms("transactional.id.expiration.ms"),
            expiry_interval: ms("transaction.remove.expired.transaction.cleanup.interval.ms"),
        }
    }
}
