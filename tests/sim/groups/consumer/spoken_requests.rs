//! What members of the classic protocol say and are told in opaque bytes.

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{JoinGroupRequest, SyncGroupRequest};
use kafka_protocol::protocol::StrBytes;
use ottla_protocol::consumer_protocol::{
    ConsumedPartitions, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};
use ottla_protocol::{Message, Writer};
use ottla_types::{PartitionId, TopicName};

use crate::dice::Dice;
use crate::groups::requests::TOPIC;

fn name(is_cooperative: bool) -> StrBytes {
    StrBytes::from_static_str(if is_cooperative { "cooperative-sticky" } else { "range" })
}

fn of_topic(partitions: &[i32]) -> Vec<ConsumedPartitions> {
    if partitions.is_empty() {
        return Vec::new();
    }
    let partitions = partitions.iter().copied().map(PartitionId).collect();
    vec![ConsumedPartitions { topic: TopicName::from(TOPIC), partitions }]
}

fn written<T: Message>(message: &T, version: i16) -> Bytes {
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version);
    writer.into_bytes().into()
}

/// What a member says about itself: it reads the topic, which has so many partitions, and has some
/// of them since a generation. Who has none says so in any version.
pub fn subscription(
    dice: &Dice,
    is_cooperative: bool,
    (count, owned, generation): (i32, &[i32], i32),
) -> Bytes {
    let said = ConsumerProtocolSubscription {
        topics: vec![TopicName::from(TOPIC)],
        user_data: Some(count.to_be_bytes().to_vec().into()),
        owned_partitions: of_topic(owned),
        generation_id: if generation > 0 { generation } else { -1 },
        rack_id: None,
    };
    let version = dice.between(if is_cooperative { 2 } else { 0 }, 3) as i16;
    written(&said, version)
}

/// What a leader tells a member.
pub fn assignment(partitions: &[i32]) -> Bytes {
    let assigned_partitions = of_topic(partitions);
    written(&ConsumerProtocolAssignment { assigned_partitions, user_data: None }, 0)
}

/// A join with the one assignor that all of a group have.
pub fn with_protocol(
    request: JoinGroupRequest,
    is_cooperative: bool,
    said: Bytes,
) -> JoinGroupRequest {
    let protocol =
        JoinGroupRequestProtocol::default().with_name(name(is_cooperative)).with_metadata(said);
    request.with_protocols(vec![protocol])
}

/// A sync with what a leader decided.
pub fn with_assignments(
    request: SyncGroupRequest,
    is_cooperative: bool,
    told: Vec<(String, Bytes)>,
) -> SyncGroupRequest {
    let assignment = |(id, told): (String, Bytes)| {
        SyncGroupRequestAssignment::default()
            .with_member_id(StrBytes::from_string(id))
            .with_assignment(told)
    };
    let protocol = request.protocol_name.as_ref().map(|_| name(is_cooperative));
    request
        .with_protocol_name(protocol)
        .with_assignments(told.into_iter().map(assignment).collect())
}
