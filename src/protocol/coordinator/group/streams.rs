//! Streams groups (KIP-1071; types 17 to 23).

use ottla_types::{PartitionId, Timestamp, TopicName};

use crate::message::messages;

messages! {
    /// A group.
    pub struct StreamsGroupMetadataKey { versions: 0..=0, flexible: none;
        /// Its id.
        group_id: String => 0+,
    }

    /// A config that the last assignment was made with.
    pub struct LastAssignmentConfig { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Its name.
        key: String => 0+,
        /// Its value.
        value: String => 0+,
    }

    /// A group's epochs.
    pub struct StreamsGroupMetadataValue { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Rises whenever a new assignment is due.
        epoch: i32 => 0+,
        /// Hash of the topics that the group reads.
        metadata_hash: i64 => 0+,
        /// Epoch of the topology whose topics were checked; -1 is none.
        validated_topology_epoch: i32 = -1 => 0+ tag 0,
        /// Configs of the last assignment; `None` when they are not known.
        last_assignment_configs: Option<Vec<LastAssignmentConfig>> = Some(Vec::new()) => 0+ tag 1,
        /// Epoch of the topology whose description is kept; -1 is none (Kafka 4.4).
        stored_description_topology_epoch: i32 = -1 => 0+ tag 2,
        /// Epoch of the topology whose description could not be kept; -1 is none (Kafka 4.4).
        failed_description_topology_epoch: i32 = -1 => 0+ tag 3,
    }

    /// A member of a group.
    pub struct StreamsGroupMemberMetadataKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group_id: String => 0+,
        /// Id of the member.
        member_id: String => 0+,
    }

    /// Where a member answers queries.
    pub struct Endpoint { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Host.
        host: String => 0+,
        /// Port.
        port: u16 => 0+,
    }

    /// A tag of a member.
    pub struct KeyValue { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Its name.
        key: String => 0+,
        /// Its value.
        value: String => 0+,
    }

    /// What a member told about itself.
    pub struct StreamsGroupMemberMetadataValue { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Its instance id when it is a static member.
        instance_id: Option<String> = Some(String::new()) => 0+,
        /// Its rack.
        rack_id: Option<String> = Some(String::new()) => 0+,
        /// Its client id.
        client_id: String => 0+,
        /// Where it connected from.
        client_host: String => 0+,
        /// How long it may take to give tasks back, ms.
        rebalance_timeout_ms: i32 = -1 => 0+,
        /// Epoch of its topology.
        topology_epoch: i32 => 0+,
        /// Process that it runs in; members of one process share their state stores.
        process_id: String => 0+,
        /// Where it answers queries.
        user_endpoint: Option<Endpoint> => 0+,
        /// Tags by which standby tasks are kept apart.
        client_tags: Vec<KeyValue> => 0+,
    }

    /// A group whose target assignment was made.
    pub struct StreamsGroupTargetAssignmentMetadataKey { versions: 0..=0, flexible: none;
        /// Its id.
        group_id: String => 0+,
    }

    /// Which target assignment a group has.
    pub struct StreamsGroupTargetAssignmentMetadataValue {
        versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Group epoch that it was made for.
        assignment_epoch: i32 => 0+,
        /// When it was made; 0 when it is not known.
        assignment_timestamp: Timestamp => 0+ tag 0,
    }

    /// A member that has a target assignment.
    pub struct StreamsGroupTargetAssignmentMemberKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group_id: String => 0+,
        /// Id of the member.
        member_id: String => 0+,
    }

    /// Tasks of a subtopology in a target assignment.
    pub struct TargetTaskIds { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// The subtopology.
        subtopology_id: String => 0+,
        /// The partitions of its input.
        partitions: Vec<PartitionId> => 0+,
    }

    /// What a member is to have.
    pub struct StreamsGroupTargetAssignmentMemberValue {
        versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Tasks that it is to run.
        active_tasks: Vec<TargetTaskIds> => 0+,
        /// Tasks whose state it is to keep ready.
        standby_tasks: Vec<TargetTaskIds> => 0+,
        /// Tasks whose state it is to catch up with.
        warmup_tasks: Vec<TargetTaskIds> => 0+,
    }

    /// A member that has tasks.
    pub struct StreamsGroupCurrentMemberAssignmentKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group_id: String => 0+,
        /// Id of the member.
        member_id: String => 0+,
    }

    /// Tasks of a subtopology that a member has.
    pub struct CurrentTaskIds { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// The subtopology.
        subtopology_id: String => 0+,
        /// The partitions of its input.
        partitions: Vec<PartitionId> => 0+,
        /// Since which member epoch it has each of them; `None` when that is not known.
        assignment_epochs: Option<Vec<i32>> = Some(Vec::new()) => 0+ tag 0,
    }

    /// What a member has, and what it still has to give back.
    pub struct StreamsGroupCurrentMemberAssignmentValue {
        versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Epoch that the member was told.
        member_epoch: i32 => 0+,
        /// Epoch that it had before.
        previous_member_epoch: i32 => 0+,
        /// 0 stable, 1 gives tasks back, 2 waits for tasks of others.
        state: i8 => 0+,
        /// Tasks that it runs.
        active_tasks: Vec<CurrentTaskIds> => 0+,
        /// Tasks whose state it keeps ready.
        standby_tasks: Vec<CurrentTaskIds> => 0+,
        /// Tasks whose state it catches up with.
        warmup_tasks: Vec<CurrentTaskIds> => 0+,
        /// Active tasks that it has to give back.
        active_tasks_pending_revocation: Vec<CurrentTaskIds> => 0+,
        /// Standby tasks that it has to give back.
        standby_tasks_pending_revocation: Vec<CurrentTaskIds> => 0+,
        /// Warm-up tasks that it has to give back.
        warmup_tasks_pending_revocation: Vec<CurrentTaskIds> => 0+,
    }

    /// A group that has a topology.
    pub struct StreamsGroupTopologyKey { versions: 0..=0, flexible: none;
        /// Its id.
        group_id: String => 0+,
    }

    /// A config of an internal topic.
    pub struct TopicConfig { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Its name.
        key: String => 0+,
        /// Its value.
        value: String => 0+,
    }

    /// An internal topic.
    pub struct TopicInfo { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Its name.
        name: TopicName => 0+,
        /// How many partitions it has; 0 follows from its inputs.
        partitions: i32 => 0+,
        /// Its replication factor; 0 is the broker's default.
        replication_factor: i16 => 0+,
        /// Its configs.
        topic_configs: Vec<TopicConfig> => 0+,
    }

    /// Topics that must have as many partitions as each other, as indexes into the subtopology's.
    pub struct CopartitionGroup { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Source topics.
        source_topics: Vec<i16> => 0+,
        /// Patterns of source topics.
        source_topic_regex: Vec<i16> => 0+,
        /// Repartition topics.
        repartition_source_topics: Vec<i16> => 0+,
    }

    /// A connected part of a topology.
    pub struct Subtopology { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Its id.
        subtopology_id: String => 0+,
        /// Topics that it reads.
        source_topics: Vec<TopicName> => 0+,
        /// Patterns of topics that it reads.
        source_topic_regex: Vec<String> => 0+,
        /// Topics that hold its state.
        state_changelog_topics: Vec<TopicInfo> => 0+,
        /// Repartition topics that it writes.
        repartition_sink_topics: Vec<TopicName> => 0+,
        /// Repartition topics that it reads.
        repartition_source_topics: Vec<TopicInfo> => 0+,
        /// Topics that must have as many partitions as each other.
        copartition_groups: Vec<CopartitionGroup> => 0+,
    }

    /// A group's topology.
    pub struct StreamsGroupTopologyValue { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Its epoch.
        epoch: i32 => 0+,
        /// Its connected parts.
        subtopologies: Vec<Subtopology> => 0+,
    }
}
