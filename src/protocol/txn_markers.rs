//! WriteTxnMarkers, whose version 2 (`transaction.version`, KIP-1228) the `kafka-protocol` crate
//! does not read.

use ottla_types::{PartitionId, ProducerEpoch, ProducerId, TopicName};

use crate::message::messages;

messages! {
    /// A coordinator's request to end transactions.
    pub struct WriteTxnMarkersRequest { versions: 1..=2, flexible: 1;
        /// The markers.
        markers: Vec<WritableTxnMarker> => 0+,
    }

    /// The end of a transaction.
    pub struct WritableTxnMarker { versions: 1..=2, flexible: 1;
        /// Its producer.
        producer_id: ProducerId => 0+,
        /// The producer's epoch.
        producer_epoch: ProducerEpoch => 0+,
        /// Whether it counts.
        transaction_result: bool => 0+,
        /// Where it goes.
        topics: Vec<WritableTxnMarkerTopic> => 0+,
        /// Epoch of the coordinator.
        coordinator_epoch: i32 => 0+,
        /// `transaction.version` of the transaction.
        transaction_version: i8 => 2+,
    }

    /// A topic that it goes to.
    pub struct WritableTxnMarkerTopic { versions: 1..=2, flexible: 1;
        /// Its name.
        name: TopicName = TopicName::from("") => 0+,
        /// The partitions.
        partition_indexes: Vec<PartitionId> => 0+,
    }

    /// The answer.
    pub struct WriteTxnMarkersResponse { versions: 1..=2, flexible: 1;
        /// What became of them, by producer.
        markers: Vec<WritableTxnMarkerResult> => 0+,
    }

    /// What became of a producer's markers.
    pub struct WritableTxnMarkerResult { versions: 1..=2, flexible: 1;
        /// The producer.
        producer_id: ProducerId => 0+,
        /// The topics.
        topics: Vec<WritableTxnMarkerTopicResult> => 0+,
    }

    /// A topic.
    pub struct WritableTxnMarkerTopicResult { versions: 1..=2, flexible: 1;
        /// Its name.
        name: TopicName = TopicName::from("") => 0+,
        /// The partitions.
        partitions: Vec<WritableTxnMarkerPartitionResult> => 0+,
    }

    /// A partition.
    pub struct WritableTxnMarkerPartitionResult { versions: 1..=2, flexible: 1;
        /// Its index.
        partition_index: PartitionId => 0+,
        /// Why the marker was not written.
        error_code: i16 => 0+,
    }
}
