//! Keys of the node: transactions, and the topic that they are kept in. Sorted by name.

use super::key;
use crate::key::{ConfigKey, Kind};

pub(super) const TRANSACTIONS: &[ConfigKey] = &[
    key(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        Kind::Int { min: 1 },
        Some("10000"),
        "Time between two looks for transactions that take too long, ms.",
    ),
    key(
        "transaction.max.timeout.ms",
        Kind::Int { min: 1 },
        Some("900000"),
        "Longest time that a producer may ask for its transactions, ms.",
    ),
    key(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        Kind::Int { min: 1 },
        Some("3600000"),
        "Time between two looks for transactional ids that nobody uses any more, ms.",
    ),
    key(
        "transaction.state.log.load.buffer.size",
        Kind::Int { min: 1 },
        Some("5242880"),
        "Bytes of `__transaction_state` that are read at once when it is loaded; more for a longer \
         batch.",
    ),
    key(
        "transaction.state.log.min.isr",
        Kind::Int { min: 1 },
        Some("2"),
        "`min.insync.replicas` that `__transaction_state` is created with. Unless it is given, at \
         most as many as the topic has replicas.",
    ),
    key(
        "transaction.state.log.num.partitions",
        Kind::Int { min: 1 },
        Some("50"),
        "Partitions that `__transaction_state` is created with.",
    ),
    key(
        "transaction.state.log.replication.factor",
        Kind::Short { min: 1 },
        Some("3"),
        "Replicas that `__transaction_state` is created with. Unless it is given, at most as many \
         as there are brokers.",
    ),
    key(
        "transaction.state.log.segment.bytes",
        Kind::Int { min: 1 },
        Some("104857600"),
        "`segment.bytes` that `__transaction_state` is created with.",
    ),
    key(
        "transactional.id.expiration.ms",
        Kind::Int { min: 1 },
        Some("604800000"),
        "How long a transactional id is kept without transactions, ms.",
    ),
];
