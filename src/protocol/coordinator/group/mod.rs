//! Records of the group coordinator (`__consumer_offsets`): committed offsets, and the groups of
//! every protocol. Type 9 was never used.
//!
//! Source: `group-coordinator/src/main/resources/common/message/*.json` of Kafka 4.4.

#![allow(clippy::wildcard_imports, reason = "the table below names all of them")]

pub mod classic;
pub mod consumer;
pub mod offsets;
pub mod share;
pub mod streams;

use classic::*;
use consumer::*;
use offsets::*;
use share::*;
use streams::*;

use super::coordinator_records;

coordinator_records! {
    /// A record of the group coordinator.
    GroupRecord {
        0 => LegacyOffsetCommit(LegacyOffsetCommitKey, LegacyOffsetCommitValue),
        1 => OffsetCommit(OffsetCommitKey, OffsetCommitValue),
        2 => GroupMetadata(GroupMetadataKey, GroupMetadataValue),
        3 => ConsumerGroupMetadata(ConsumerGroupMetadataKey, ConsumerGroupMetadataValue),
        4 => ConsumerGroupPartitionMetadata(
            ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue),
        5 => ConsumerGroupMemberMetadata(
            ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue),
        6 => ConsumerGroupTargetAssignmentMetadata(
            ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue),
        7 => ConsumerGroupTargetAssignmentMember(
            ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue),
        8 => ConsumerGroupCurrentMemberAssignment(
            ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue),
        10 => ShareGroupMemberMetadata(ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue),
        11 => ShareGroupMetadata(ShareGroupMetadataKey, ShareGroupMetadataValue),
        12 => ShareGroupTargetAssignmentMetadata(
            ShareGroupTargetAssignmentMetadataKey, ShareGroupTargetAssignmentMetadataValue),
        13 => ShareGroupTargetAssignmentMember(
            ShareGroupTargetAssignmentMemberKey, ShareGroupTargetAssignmentMemberValue),
        14 => ShareGroupCurrentMemberAssignment(
            ShareGroupCurrentMemberAssignmentKey, ShareGroupCurrentMemberAssignmentValue),
        15 => ShareGroupStatePartitionMetadata(
            ShareGroupStatePartitionMetadataKey, ShareGroupStatePartitionMetadataValue),
        16 => ConsumerGroupRegularExpression(
            ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue),
        17 => StreamsGroupMetadata(StreamsGroupMetadataKey, StreamsGroupMetadataValue),
        19 => StreamsGroupMemberMetadata(
            StreamsGroupMemberMetadataKey, StreamsGroupMemberMetadataValue),
        20 => StreamsGroupTargetAssignmentMetadata(
            StreamsGroupTargetAssignmentMetadataKey, StreamsGroupTargetAssignmentMetadataValue),
        21 => StreamsGroupTargetAssignmentMember(
            StreamsGroupTargetAssignmentMemberKey, StreamsGroupTargetAssignmentMemberValue),
        22 => StreamsGroupCurrentMemberAssignment(
            StreamsGroupCurrentMemberAssignmentKey, StreamsGroupCurrentMemberAssignmentValue),
        23 => StreamsGroupTopology(StreamsGroupTopologyKey, StreamsGroupTopologyValue),
    }
}
