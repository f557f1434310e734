//! Groups of the consumer protocol (KIP-848; types 3 to 8 and 16).

use bytes::Bytes;
use ottla_types::{PartitionId, Timestamp, TopicName, Uuid};

use crate::message::messages;

messages! {
    /// A group.
    pub struct ConsumerGroupMetadataKey { versions: 0..=0, flexible: none;
        /// Its id.
        group_id: String => 0+,
    }

    /// A group's epoch.
    pub struct ConsumerGroupMetadataValue { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Rises whenever a new assignment is due.
        epoch: i32 => 0+,
        /// Hash of the topics that the group reads; 0 when there are none.
        metadata_hash: i64 => 0+ tag 0,
    }

    /// A group whose topics were recorded (before Kafka 4.1).
    pub struct ConsumerGroupPartitionMetadataKey { versions: 0..=0, flexible: none;
        /// Its id.
        group_id: String => 0+,
    }

    /// Racks of a partition.
    pub struct PartitionMetadata { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// The partition.
        partition: PartitionId => 0+,
        /// Racks of its replicas.
        racks: Vec<String> => 0+,
    }

    /// A topic that the group reads.
    pub struct TopicMetadata { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Id of the topic.
        topic_id: Uuid => 0+,
        /// Name of the topic.
        topic_name: TopicName => 0+,
        /// How many partitions it has.
        num_partitions: i32 => 0+,
        /// Partitions with racks.
        partition_metadata: Vec<PartitionMetadata> => 0+,
    }

    /// The topics that a group read when its assignment was made (before Kafka 4.1).
    pub struct ConsumerGroupPartitionMetadataValue {
        versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// The topics.
        topics: Vec<TopicMetadata> => 0+,
    }

    /// A member of a group.
    pub struct ConsumerGroupMemberMetadataKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group_id: String => 0+,
        /// Id of the member.
        member_id: String => 0+,
    }

    /// An assignor that a classic member supports.
    pub struct ClassicProtocol { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Its name.
        name: String => 0+,
        /// What the member said about itself for it.
        metadata: Bytes => 0+,
    }

    /// What a member of the classic protocol brings into a consumer group.
    pub struct ClassicMemberMetadata { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// How long it may be silent, ms.
        session_timeout_ms: i32 => 0+,
        /// Its assignors, the preferred one first.
        supported_protocols: Vec<ClassicProtocol> => 0+,
    }

    /// What a member told about itself.
    pub struct ConsumerGroupMemberMetadataValue { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Its instance id when it is a static member.
        instance_id: Option<String> = Some(String::new()) => 0+,
        /// Its rack.
        rack_id: Option<String> = Some(String::new()) => 0+,
        /// Its client id.
        client_id: String => 0+,
        /// Where it connected from.
        client_host: String => 0+,
        /// Topics it wants, by name.
        subscribed_topic_names: Vec<TopicName> => 0+,
        /// Topics it wants, by pattern.
        subscribed_topic_regex: Option<String> = Some(String::new()) => 0+,
        /// How long it may take to give partitions back, ms.
        rebalance_timeout_ms: i32 = -1 => 0+,
        /// The assignor it asks for.
        server_assignor: Option<String> = Some(String::new()) => 0+,
        /// What it said in the classic protocol; `None` when it does not speak that. A record
        /// that says nothing stands for an empty one.
        classic_member_metadata: Option<ClassicMemberMetadata> =
            Some(ClassicMemberMetadata::default()) => 0+ tag 0,
    }

    /// A group whose target assignment was made.
    pub struct ConsumerGroupTargetAssignmentMetadataKey { versions: 0..=0, flexible: none;
        /// Its id.
        group_id: String => 0+,
    }

    /// Which target assignment a group has.
    pub struct ConsumerGroupTargetAssignmentMetadataValue {
        versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Group epoch that it was made for.
        assignment_epoch: i32 => 0+,
        /// When it was made; 0 when it is not known.
        assignment_timestamp: Timestamp => 0+ tag 0,
    }

    /// A member that has a target assignment.
    pub struct ConsumerGroupTargetAssignmentMemberKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group_id: String => 0+,
        /// Id of the member.
        member_id: String => 0+,
    }

    /// Partitions of a topic in a target assignment.
    pub struct TargetPartitions { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Id of the topic.
        topic_id: Uuid => 0+,
        /// The partitions.
        partitions: Vec<PartitionId> => 0+,
    }

    /// What a member is to have.
    pub struct ConsumerGroupTargetAssignmentMemberValue {
        versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Partitions, by topic.
        topic_partitions: Vec<TargetPartitions> => 0+,
    }

    /// A member that has partitions.
    pub struct ConsumerGroupCurrentMemberAssignmentKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group_id: String => 0+,
        /// Id of the member.
        member_id: String => 0+,
    }

    /// Partitions of a topic that a member has.
    pub struct CurrentPartitions { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Id of the topic.
        topic_id: Uuid => 0+,
        /// The partitions.
        partitions: Vec<PartitionId> => 0+,
        /// Since which member epoch it has each of them; `None` when that is not known.
        assignment_epochs: Option<Vec<i32>> = Some(Vec::new()) => 0+ tag 0,
    }

    /// What a member has, and what it still has to give back.
    pub struct ConsumerGroupCurrentMemberAssignmentValue {
        versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Epoch that the member was told.
        member_epoch: i32 => 0+,
        /// Epoch that it had before.
        previous_member_epoch: i32 => 0+,
        /// 0 stable, 1 gives partitions back, 2 waits for partitions of others.
        state: i8 => 0+,
        /// Partitions that it may read.
        assigned_partitions: Vec<CurrentPartitions> => 0+,
        /// Partitions that it has to give back.
        partitions_pending_revocation: Vec<CurrentPartitions> => 0+,
    }

    /// A pattern that members of a group subscribe to.
    pub struct ConsumerGroupRegularExpressionKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group_id: String => 0+,
        /// The pattern.
        regular_expression: String => 0+,
    }

    /// The topics that a pattern stood for.
    pub struct ConsumerGroupRegularExpressionValue {
        versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Their names.
        topics: Vec<TopicName> => 0+,
        /// Offset of the metadata that it was looked up in.
        version: i64 => 0+,
        /// When it was looked up.
        timestamp: Timestamp => 0+,
    }
}
