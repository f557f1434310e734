//! Share groups (KIP-932; types 10 to 15). Where their readers are stands in the log of the share
//! coordinator.

use ottla_types::{PartitionId, Timestamp, TopicName, Uuid};

use crate::message::messages;

messages! {
    /// A member of a group.
    pub struct ShareGroupMemberMetadataKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group_id: String => 0+,
        /// Id of the member.
        member_id: String => 0+,
    }

    /// What a member told about itself.
    pub struct ShareGroupMemberMetadataValue { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Its rack.
        rack_id: Option<String> = Some(String::new()) => 0+,
        /// Its client id.
        client_id: String => 0+,
        /// Where it connected from.
        client_host: String => 0+,
        /// Topics it wants.
        subscribed_topic_names: Vec<TopicName> => 0+,
    }

    /// A group.
    pub struct ShareGroupMetadataKey { versions: 0..=0, flexible: none;
        /// Its id.
        group_id: String => 0+,
    }

    /// A group's epoch.
    pub struct ShareGroupMetadataValue { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Rises whenever a new assignment is due.
        epoch: i32 => 0+,
        /// Hash of the topics that the group reads.
        metadata_hash: i64 => 0+,
    }

    /// A group whose target assignment was made.
    pub struct ShareGroupTargetAssignmentMetadataKey { versions: 0..=0, flexible: none;
        /// Its id.
        group_id: String => 0+,
    }

    /// Which target assignment a group has.
    pub struct ShareGroupTargetAssignmentMetadataValue {
        versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Group epoch that it was made for.
        assignment_epoch: i32 => 0+,
        /// When it was made; 0 when it is not known.
        assignment_timestamp: Timestamp => 0+ tag 0,
    }

    /// A member that has a target assignment.
    pub struct ShareGroupTargetAssignmentMemberKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group_id: String => 0+,
        /// Id of the member.
        member_id: String => 0+,
    }

    /// Partitions of a topic.
    pub struct TopicPartitions { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Id of the topic.
        topic_id: Uuid => 0+,
        /// The partitions.
        partitions: Vec<PartitionId> => 0+,
    }

    /// What a member is to have.
    pub struct ShareGroupTargetAssignmentMemberValue {
        versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Partitions, by topic.
        topic_partitions: Vec<TopicPartitions> => 0+,
    }

    /// A member that has partitions.
    pub struct ShareGroupCurrentMemberAssignmentKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group_id: String => 0+,
        /// Id of the member.
        member_id: String => 0+,
    }

    /// What a member has.
    pub struct ShareGroupCurrentMemberAssignmentValue {
        versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Epoch that the member was told.
        member_epoch: i32 => 0+,
        /// Epoch that it had before.
        previous_member_epoch: i32 => 0+,
        /// 0 stable.
        state: i8 => 0+,
        /// Partitions that it may read.
        assigned_partitions: Vec<TopicPartitions> => 0+,
    }

    /// A group that has share state.
    pub struct ShareGroupStatePartitionMetadataKey { versions: 0..=0, flexible: none;
        /// Its id.
        group_id: String => 0+,
    }

    /// A topic with partitions.
    pub struct TopicPartitionsInfo { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Id of the topic.
        topic_id: Uuid => 0+,
        /// Name of the topic.
        topic_name: TopicName => 0+,
        /// The partitions.
        partitions: Vec<PartitionId> => 0+,
    }

    /// A topic.
    pub struct TopicInfo { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Id of the topic.
        topic_id: Uuid => 0+,
        /// Name of the topic.
        topic_name: TopicName => 0+,
    }

    /// How far the share state of the group's partitions is.
    pub struct ShareGroupStatePartitionMetadataValue {
        versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Partitions whose state is being made.
        initializing_topics: Vec<TopicPartitionsInfo> => 0+,
        /// Partitions that have state.
        initialized_topics: Vec<TopicPartitionsInfo> => 0+,
        /// Topics whose state is being deleted.
        deleting_topics: Vec<TopicInfo> => 0+,
    }
}
