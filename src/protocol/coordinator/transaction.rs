//! Records of the transaction coordinator (`__transaction_state`).
//!
//! Source: `transaction-coordinator/src/main/resources/common/message/*.json` of Kafka 4.4.

use ottla_types::{PartitionId, ProducerEpoch, ProducerId, Timestamp, TopicName};

use super::coordinator_records;
use crate::message::messages;

messages! {
    /// A transactional id.
    pub struct TransactionLogKey { versions: 0..=0, flexible: none;
        /// The id.
        transactional_id: String => 0+,
    }

    /// Partitions of a topic that belong to a transaction.
    pub struct PartitionsSchema { versions: 0..=1, flexible: 1, keeps: unknown_tags;
        /// Name of the topic.
        topic: TopicName => 0+,
        /// The partitions.
        partition_ids: Vec<PartitionId> => 0+,
    }

    /// The state of a transactional id. Version 1 is that of `transaction.version` 1 and above.
    pub struct TransactionLogValue { versions: 0..=1, flexible: 1, keeps: unknown_tags;
        /// Its producer.
        producer_id: ProducerId => 0+,
        /// The producer of the transaction before, when this one has another (KIP-890).
        previous_producer_id: ProducerId = ProducerId::NONE => 1+ tag 0,
        /// The producer of the next transaction, when it gets another (KIP-890).
        next_producer_id: ProducerId = ProducerId::NONE => 1+ tag 1,
        /// Epoch of its producer.
        producer_epoch: ProducerEpoch => 0+,
        /// Epoch of the producer of the next transaction.
        next_producer_epoch: ProducerEpoch = ProducerEpoch::NONE => 1+ tag 3,
        /// How long a transaction may take, ms.
        transaction_timeout_ms: i32 => 0+,
        /// 0 empty, 1 ongoing, 2 prepares a commit, 3 prepares an abort, 4 committed, 5 aborted,
        /// 6 dead, 7 prepares a fencing of the epoch.
        transaction_status: i8 => 0+,
        /// Partitions that belong to the transaction; `None` when there are none to tell of.
        transaction_partitions: Option<Vec<PartitionsSchema>> = Some(Vec::new()) => 0+,
        /// When the state changed last.
        transaction_last_update_timestamp_ms: Timestamp => 0+,
        /// When the transaction began.
        transaction_start_timestamp_ms: Timestamp => 0+,
        /// Which transactions the client speaks; 2 and above is KIP-890's second part.
        client_transaction_version: i16 => 1+ tag 2,
    }
}

coordinator_records! {
    /// A record of the transaction coordinator.
    TransactionRecord {
        0 => TransactionLog(TransactionLogKey, TransactionLogValue),
    }
}
