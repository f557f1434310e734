//! Requests, as whole frames: prefix, header, and the body of every kind in every version.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::group_offsets::{
    OffsetCommitRequest, OffsetFetchRequest, TxnOffsetCommitRequest,
};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AllocateProducerIdsRequest,
    AlterPartitionReassignmentsRequest, ApiVersionsRequest, AssignReplicasToDirsRequest,
    BeginQuorumEpochRequest, BrokerId, CreatePartitionsRequest, CreateTopicsRequest, Decodable,
    DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeGroupsRequest, DescribeLogDirsRequest, DescribeProducersRequest, DescribeQuorumRequest,
    DescribeTopicPartitionsRequest, DescribeTransactionsRequest, ElectLeadersRequest, Encodable,
    EndQuorumEpochRequest, EndTxnRequest, EnvelopeRequest, FetchRequest, FetchSnapshotRequest,
    FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, ListOffsetsRequest, ListPartitionReassignmentsRequest,
    ListTransactionsRequest, MetadataRequest, OffsetDeleteRequest, ProduceRequest, StrBytes,
    SyncGroupRequest, TopicName, UnregisterBrokerRequest, VoteRequest,
    add_partitions_to_txn_request, alter_partition_reassignments_request,
    assign_replicas_to_dirs_request, codec_version, create_partitions_request,
    create_topics_request, decode_request, delete_records_request, describe_log_dirs_request,
    describe_producers_request, describe_quorum_request, describe_topic_partitions_request,
    elect_leaders_request, fetch_request, join_group_request, leave_group_request,
    list_offsets_request, metadata_request, offset_delete_request, produce_request,
    sync_group_request,
};
use ottla_protocol::txn_markers::WriteTxnMarkersRequest;
use ottla_protocol::{ApiKey, Message, Reader, RequestHeader, RequestPrefix, Writer, produce};

use crate::targets::Target;

/// The kinds that docs/apis.md shows.
pub fn all() -> Vec<Target> {
    [clients(), groups(), transactions(), administration(), placement()]
        .into_iter()
        .flatten()
        .collect()
}

fn clients() -> Vec<Target> {
    vec![
        produce_target(),
        target::<FetchRequest>(ApiKey::Fetch, 4..=18, fetch),
        target::<ListOffsetsRequest>(ApiKey::ListOffsets, 1..=11, |_| list_offsets()),
        target::<MetadataRequest>(ApiKey::Metadata, 0..=13, |_| metadata()),
        target::<FindCoordinatorRequest>(ApiKey::FindCoordinator, 0..=6, |version| {
            let request = FindCoordinatorRequest::default();
            match version {
                0..=3 => request.with_key(text("group")),
                _ => request.with_coordinator_keys(vec![text("a"), text("b")]),
            }
        }),
        target::<ApiVersionsRequest>(ApiKey::ApiVersions, 0..=4, |version| match version {
            0..=2 => ApiVersionsRequest::default(),
            _ => ApiVersionsRequest::default()
                .with_client_software_name(text("fuzz"))
                .with_client_software_version(text("1")),
        }),
        target::<CreateTopicsRequest>(ApiKey::CreateTopics, 2..=7, |_| create_topics()),
        target::<DeleteTopicsRequest>(ApiKey::DeleteTopics, 1..=6, |version| match version {
            0..=5 => DeleteTopicsRequest::default().with_topic_names(vec![topic(), topic()]),
            _ => DeleteTopicsRequest::default(),
        }),
        target::<DeleteRecordsRequest>(ApiKey::DeleteRecords, 0..=2, |_| delete_records()),
        target::<InitProducerIdRequest>(ApiKey::InitProducerId, 0..=5, |_| {
            InitProducerIdRequest::default().with_transactional_id(Some(text("x").into()))
        }),
        target::<VoteRequest>(ApiKey::Vote, 0..=2, |_| VoteRequest::default()),
        target::<BeginQuorumEpochRequest>(ApiKey::BeginQuorumEpoch, 0..=1, |_| {
            BeginQuorumEpochRequest::default()
        }),
        target::<EndQuorumEpochRequest>(ApiKey::EndQuorumEpoch, 0..=1, |_| {
            EndQuorumEpochRequest::default()
        }),
        target::<FetchSnapshotRequest>(ApiKey::FetchSnapshot, 0..=1, |_| {
            FetchSnapshotRequest::default()
        }),
        target::<DescribeClusterRequest>(ApiKey::DescribeCluster, 0..=2, |_| {
            DescribeClusterRequest::default()
        }),
    ]
}

/// Requests about groups.
fn transactions() -> Vec<Target> {
    vec![
        target::<AddPartitionsToTxnRequest>(ApiKey::AddPartitionsToTxn, 0..=5, |version| {
            let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
                .with_name(topic())
                .with_partitions(vec![0, 1]);
            let request = AddPartitionsToTxnRequest::default();
            if version < 4 {
                return request.with_v3_and_below_topics(vec![topic.clone(), topic]);
            }
            let of = add_partitions_to_txn_request::AddPartitionsToTxnTransaction::default()
                .with_transactional_id(text("x").into())
                .with_topics(vec![topic]);
            request.with_transactions(vec![of.clone(), of])
        }),
        target::<AddOffsetsToTxnRequest>(ApiKey::AddOffsetsToTxn, 0..=4, |_| {
            AddOffsetsToTxnRequest::default().with_group_id(text("g").into())
        }),
        target::<EndTxnRequest>(ApiKey::EndTxn, 0..=5, |_| {
            EndTxnRequest::default().with_transactional_id(text("x").into())
        }),
        target::<DescribeTransactionsRequest>(ApiKey::DescribeTransactions, 0..=0, |_| {
            let ids = vec![text("a").into(), text("b").into()];
            DescribeTransactionsRequest::default().with_transactional_ids(ids)
        }),
        target::<ListTransactionsRequest>(ApiKey::ListTransactions, 0..=2, |version| {
            let request = ListTransactionsRequest::default()
                .with_state_filters(vec![text("Ongoing"), text("Empty")])
                .with_duration_filter(-1);
            let pattern = (version >= 2).then(|| text("a.*"));
            request.with_transactional_id_pattern(pattern)
        }),
    ]
}

fn groups() -> Vec<Target> {
    let bytes = || Bytes::from_static(b"metadata");
    vec![
        schema_target::<OffsetCommitRequest>(ApiKey::OffsetCommit, 2..=10),
        schema_target::<TxnOffsetCommitRequest>(ApiKey::TxnOffsetCommit, 0..=5),
        schema_target::<WriteTxnMarkersRequest>(ApiKey::WriteTxnMarkers, 1..=2),
        schema_target::<OffsetFetchRequest>(ApiKey::OffsetFetch, 1..=10),
        target::<JoinGroupRequest>(ApiKey::JoinGroup, 0..=9, move |_| {
            let protocol = join_group_request::JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata(bytes());
            JoinGroupRequest::default()
                .with_group_id(text("group").into())
                .with_member_id(text("member"))
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol.clone(), protocol])
        }),
        target::<SyncGroupRequest>(ApiKey::SyncGroup, 0..=5, move |_| {
            let assignment = sync_group_request::SyncGroupRequestAssignment::default()
                .with_member_id(text("member"))
                .with_assignment(bytes());
            SyncGroupRequest::default()
                .with_group_id(text("group").into())
                .with_assignments(vec![assignment.clone(), assignment])
        }),
        target::<HeartbeatRequest>(ApiKey::Heartbeat, 0..=4, |_| {
            HeartbeatRequest::default().with_group_id(text("group").into())
        }),
        target::<LeaveGroupRequest>(ApiKey::LeaveGroup, 0..=5, |version| match version {
            0..=2 => LeaveGroupRequest::default().with_member_id(text("member")),
            _ => {
                let member = leave_group_request::MemberIdentity::default();
                LeaveGroupRequest::default().with_members(vec![member.clone(), member])
            }
        }),
        target::<DescribeGroupsRequest>(ApiKey::DescribeGroups, 0..=6, |_| {
            DescribeGroupsRequest::default().with_groups(vec![text("a").into(), text("b").into()])
        }),
        target::<ListGroupsRequest>(ApiKey::ListGroups, 0..=5, |version| match version {
            0..=3 => ListGroupsRequest::default(),
            _ => ListGroupsRequest::default().with_states_filter(vec![text("Empty")]),
        }),
        target::<DeleteGroupsRequest>(ApiKey::DeleteGroups, 0..=2, |_| {
            DeleteGroupsRequest::default().with_groups_names(vec![text("a").into()])
        }),
        target::<OffsetDeleteRequest>(ApiKey::OffsetDelete, 0..=0, |_| {
            let partition = offset_delete_request::OffsetDeleteRequestPartition::default();
            let topic_part = offset_delete_request::OffsetDeleteRequestTopic::default()
                .with_name(topic())
                .with_partitions(vec![partition.clone(), partition]);
            OffsetDeleteRequest::default()
                .with_group_id(text("group").into())
                .with_topics(vec![topic_part])
        }),
    ]
}

/// Requests of those who look at a cluster, and of brokers to the controller.
fn administration() -> Vec<Target> {
    vec![
        target::<DescribeLogDirsRequest>(ApiKey::DescribeLogDirs, 1..=5, |_| {
            let topic_part = describe_log_dirs_request::DescribableLogDirTopic::default()
                .with_topic(topic())
                .with_partitions(vec![0, 1]);
            let topics = vec![topic_part.clone(), topic_part];
            DescribeLogDirsRequest::default().with_topics(Some(topics))
        }),
        target::<CreatePartitionsRequest>(ApiKey::CreatePartitions, 0..=3, |_| {
            let brokers = vec![BrokerId(1), BrokerId(2)];
            let assignment = create_partitions_request::CreatePartitionsAssignment::default()
                .with_broker_ids(brokers);
            let topic_part = create_partitions_request::CreatePartitionsTopic::default()
                .with_name(topic())
                .with_assignments(Some(vec![assignment.clone(), assignment]));
            CreatePartitionsRequest::default().with_topics(vec![topic_part])
        }),
        target::<AssignReplicasToDirsRequest>(ApiKey::AssignReplicasToDirs, 0..=0, |_| {
            let partition = assign_replicas_to_dirs_request::PartitionData::default();
            let topic_part = assign_replicas_to_dirs_request::TopicData::default()
                .with_partitions(vec![partition.clone(), partition]);
            let directory = assign_replicas_to_dirs_request::DirectoryData::default()
                .with_topics(vec![topic_part.clone(), topic_part]);
            AssignReplicasToDirsRequest::default().with_directories(vec![directory])
        }),
        target::<DescribeQuorumRequest>(ApiKey::DescribeQuorum, 0..=2, |_| {
            let topic_part = describe_quorum_request::TopicData::default()
                .with_partitions(vec![describe_quorum_request::PartitionData::default()]);
            DescribeQuorumRequest::default().with_topics(vec![topic_part])
        }),
        target::<DescribeProducersRequest>(ApiKey::DescribeProducers, 0..=0, |_| {
            let topic_part = describe_producers_request::TopicRequest::default()
                .with_name(topic())
                .with_partition_indexes(vec![0, 1]);
            DescribeProducersRequest::default().with_topics(vec![topic_part])
        }),
        target::<DescribeTopicPartitionsRequest>(ApiKey::DescribeTopicPartitions, 0..=0, |_| {
            let asked = describe_topic_partitions_request::TopicRequest::default();
            let cursor = describe_topic_partitions_request::Cursor::default();
            DescribeTopicPartitionsRequest::default()
                .with_topics(vec![asked.with_name(topic())])
                .with_cursor(Some(cursor.with_topic_name(topic())))
        }),
    ]
}

/// Requests about leaders and replicas, and what brokers forward.
fn placement() -> Vec<Target> {
    vec![
        target::<ElectLeadersRequest>(ApiKey::ElectLeaders, 0..=2, |_| {
            let topic_part = elect_leaders_request::TopicPartitions::default()
                .with_topic(topic())
                .with_partitions(vec![0, 1]);
            ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic_part]))
        }),
        target::<AlterPartitionReassignmentsRequest>(
            ApiKey::AlterPartitionReassignments,
            0..=1,
            |_| {
                let partition =
                    alter_partition_reassignments_request::ReassignablePartition::default()
                        .with_replicas(Some(vec![BrokerId(1)]));
                let topic_part =
                    alter_partition_reassignments_request::ReassignableTopic::default()
                        .with_name(topic())
                        .with_partitions(vec![partition]);
                AlterPartitionReassignmentsRequest::default().with_topics(vec![topic_part])
            },
        ),
        target::<ListPartitionReassignmentsRequest>(
            ApiKey::ListPartitionReassignments,
            0..=0,
            |_| ListPartitionReassignmentsRequest::default().with_topics(None),
        ),
        target::<UnregisterBrokerRequest>(ApiKey::UnregisterBroker, 0..=0, |_| {
            UnregisterBrokerRequest::default()
        }),
        target::<EnvelopeRequest>(ApiKey::Envelope, 0..=0, |_| {
            EnvelopeRequest::default()
                .with_request_data(Bytes::from_static(&[0, 19, 0, 7, 0, 0, 0, 1, 0, 0, 0]))
                .with_request_principal(Some(Bytes::from_static(b"\0\0\x05User\x02a\0\0")))
                .with_client_host_address(Bytes::from_static(&[127, 0, 0, 1]))
        }),
        target::<AllocateProducerIdsRequest>(ApiKey::AllocateProducerIds, 0..=0, |_| {
            AllocateProducerIdsRequest::default()
        }),
    ]
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic() -> TopicName {
    TopicName(text("topic"))
}

fn delete_records() -> DeleteRecordsRequest {
    let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(-1);
    let topic = delete_records_request::DeleteRecordsTopic::default()
        .with_name(topic())
        .with_partitions(vec![partition.clone(), partition]);
    DeleteRecordsRequest::default().with_topics(vec![topic.clone(), topic])
}

fn fetch(version: i16) -> FetchRequest {
    let partition = fetch_request::FetchPartition::default().with_partition(1);
    let mut topic_part =
        fetch_request::FetchTopic::default().with_partitions(vec![partition.clone(), partition]);
    if version < 13 {
        topic_part = topic_part.with_topic(topic());
    }
    FetchRequest::default().with_topics(vec![topic_part.clone(), topic_part])
}

fn list_offsets() -> ListOffsetsRequest {
    let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
    let topic_part = list_offsets_request::ListOffsetsTopic::default()
        .with_name(topic())
        .with_partitions(vec![partition.clone(), partition]);
    ListOffsetsRequest::default().with_topics(vec![topic_part])
}

fn metadata() -> MetadataRequest {
    let topic_part = metadata_request::MetadataRequestTopic::default().with_name(Some(topic()));
    MetadataRequest::default().with_topics(Some(vec![topic_part.clone(), topic_part]))
}

fn create_topics() -> CreateTopicsRequest {
    let assignment = create_topics_request::CreatableReplicaAssignment::default()
        .with_broker_ids(vec![BrokerId(1), BrokerId(2)]);
    let config = create_topics_request::CreatableTopicConfig::default()
        .with_name(text("segment.bytes"))
        .with_value(Some(text("1048576")));
    let topic_part = create_topics_request::CreatableTopic::default()
        .with_name(topic())
        .with_num_partitions(2)
        .with_assignments(vec![assignment.clone(), assignment])
        .with_configs(vec![config]);
    CreateTopicsRequest::default().with_topics(vec![topic_part])
}

fn produce_target() -> Target {
    let message = |version: i16| {
        let partition = produce_request::PartitionProduceData::default()
            .with_records(Some(Bytes::from_static(&[7; 80])));
        let mut data = produce_request::TopicProduceData::default()
            .with_partition_data(vec![partition.clone(), partition]);
        if version < 13 {
            data = data.with_name(topic());
        }
        ProduceRequest::default().with_acks(-1).with_topic_data(vec![data])
    };
    let mut made = target::<ProduceRequest>(ApiKey::Produce, 3..=13, message);
    made.decode = Box::new(|bytes| {
        let Some((header, body)) = split(bytes, ApiKey::Produce) else { return false };
        (3..=13).contains(&header.api_version)
            && produce::ProduceRequest::decode(&body, header.api_version).is_ok()
    });
    // Read by hand, so that memory is bounded by the frame.
    (made.fixed, made.times) = (16 << 10, 32);
    made
}

/// A request that the crate does not read in every version.
fn schema_target<R: Message>(api_key: ApiKey, versions: std::ops::RangeInclusive<i16>) -> Target {
    let frame = |version: i16| {
        let mut out = Writer::new();
        out.i16(api_key.code());
        out.i16(version);
        out.i32(7);
        out.nullable_str(Some("fuzz"), false);
        if api_key.is_flexible(version) {
            out.uvarint(0);
        }
        R::default().encode(&mut out, version);
        out.into_bytes()
    };
    Target {
        name: format!("request-{}", api_key.name()),
        inputs: versions.clone().map(frame).collect(),
        mend: |_| {},
        decode: Box::new(move |bytes| {
            let Some((header, body)) = split(bytes, api_key) else { return false };
            versions.contains(&header.api_version)
                && R::decode(&mut Reader::new(&body), header.api_version).is_ok()
        }),
        fixed: 16 << 10,
        times: 64,
    }
}

fn target<R: Encodable + Decodable>(
    api_key: ApiKey,
    versions: std::ops::RangeInclusive<i16>,
    message: impl Fn(i16) -> R,
) -> Target {
    let inputs = versions.clone().map(|version| frame(api_key, version, &message(version)));
    Target {
        name: format!("request-{}", api_key.name()),
        inputs: inputs.collect(),
        mend: |_| {},
        decode: Box::new(move |bytes| {
            let Some((header, body)) = split(bytes, api_key) else { return false };
            versions.contains(&header.api_version)
                && decode_request::<R>(&body, api_key, header.api_version).is_ok()
        }),
        // The crate reserves by counts from the wire; the allocator does so lazily (docs of
        // ottla_protocol::messages). What is seen here is that it neither panics nor aborts.
        fixed: usize::MAX >> 1,
        times: 0,
    }
}

fn split(bytes: &[u8], api_key: ApiKey) -> Option<(RequestHeader, Bytes)> {
    RequestPrefix::read(bytes).ok()?;
    RequestHeader::split(&Bytes::copy_from_slice(bytes), api_key).ok()
}

fn frame<R: Encodable>(api_key: ApiKey, version: i16, request: &R) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_i16(api_key.code());
    out.put_i16(version);
    out.put_i32(7);
    out.put_i16(4);
    out.put_slice(b"fuzz");
    if api_key.is_flexible(version) {
        out.put_u8(0);
    }
    let version = codec_version(api_key, version);
    request.encode(&mut out, version).expect("a sound request of this version");
    out.to_vec()
}
