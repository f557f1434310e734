//! Groups that change their protocol while they have members: one that speaks the classic protocol
//! and one of the consumer protocol (KIP-848) in one group, up, down, and not at all
//! (`group.consumer.migration.policy`).

use bytes::Bytes;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatResponse, DescribeGroupsRequest,
    HeartbeatRequest, JoinGroupResponse, ListGroupsRequest, SyncGroupRequest,
};
use ottla_protocol::consumer_protocol::{
    ConsumedPartitions, ConsumerProtocolAssignment, ConsumerProtocolSubscription, decode,
};
use ottla_protocol::group_offsets::OffsetCommitResponse;
use ottla_protocol::{ApiKey, Message, Writer};
use ottla_types::{ErrorCode, PartitionId, TopicName};

use super::{beat_request, commit_request, find_coordinator_of, join_request};
use crate::client::Client;
use crate::node::{Setup, wait_until};
use crate::requests::{Topic, create, error, text};

fn of_topic(partitions: &[i32]) -> Vec<ConsumedPartitions> {
    let partitions = partitions.iter().copied().map(PartitionId).collect();
    vec![ConsumedPartitions { topic: TopicName::from("t"), partitions }]
}

fn written<T: Message>(message: &T, version: i16) -> Bytes {
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version);
    writer.into_bytes().into()
}

/// A member that speaks the classic protocol and keeps what it has while it joins again.
struct Classic {
    id: String,
    generation: i32,
    leads: bool,
    /// What it reads.
    owned: Vec<i32>,
}

impl Classic {
    fn new() -> Classic {
        Classic { id: String::new(), generation: -1, leads: false, owned: Vec::new() }
    }

    fn ask_to_join(&self, client: &mut Client) -> JoinGroupResponse {
        let said = ConsumerProtocolSubscription {
            topics: vec![TopicName::from("t")],
            owned_partitions: of_topic(&self.owned),
            generation_id: self.generation,
            ..ConsumerProtocolSubscription::default()
        };
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("cooperative-sticky"))
            .with_metadata(written(&said, 3));
        client.call(9, &join_request("g", &self.id).with_protocols(vec![protocol]))
    }

    fn join(&mut self, client: &mut Client) {
        loop {
            let answer = self.ask_to_join(client);
            self.id = answer.member_id.to_string();
            match error(answer.error_code) {
                ErrorCode::MemberIdRequired => {}
                ErrorCode::None => {
                    self.generation = answer.generation_id;
                    self.leads = *answer.leader == *self.id;
                    return;
                }
                other => panic!("{other}"),
            }
        }
    }

    /// Asks for its assignment; as the leader it takes everything.
    fn sync(&mut self, client: &mut Client) -> ErrorCode {
        let told = ConsumerProtocolAssignment {
            assigned_partitions: of_topic(&[0, 1]),
            ..ConsumerProtocolAssignment::default()
        };
        let assignment = SyncGroupRequestAssignment::default()
            .with_member_id(text(&self.id))
            .with_assignment(written(&told, 1));
        let request = SyncGroupRequest::default()
            .with_group_id(text("g").into())
            .with_member_id(text(&self.id))
            .with_generation_id(self.generation)
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("cooperative-sticky")))
            .with_assignments(if self.leads { vec![assignment] } else { Vec::new() });
        let answer = client.call(5, &request);
        if error(answer.error_code) == ErrorCode::None {
            let (told, _) = decode::<ConsumerProtocolAssignment>(&answer.assignment).unwrap();
            let topics = told.assigned_partitions.iter();
            self.owned = topics.flat_map(|it| it.partitions.iter().map(|it| it.0)).collect();
        }
        error(answer.error_code)
    }

    fn heartbeat(&self, client: &mut Client) -> ErrorCode {
        let request = HeartbeatRequest::default()
            .with_group_id(text("g").into())
            .with_member_id(text(&self.id))
            .with_generation_id(self.generation);
        error(client.call(4, &request).error_code)
    }

    /// Joins and syncs until its heartbeats are well.
    fn settle(&mut self, client: &mut Client) {
        wait_until("a classic member has what it is to have", || {
            if self.heartbeat(client) == ErrorCode::None {
                return true;
            }
            self.join(client);
            assert_eq!(self.sync(client), ErrorCode::None);
            false
        });
    }

    fn commit(&self, client: &mut Client, topic: &Topic, offset: i64) -> ErrorCode {
        commit(client, topic, (&self.id, self.generation), (self.owned[0], offset))
    }
}

fn commit(
    client: &mut Client,
    topic: &Topic,
    (member, epoch): (&str, i32),
    offset: (i32, i64),
) -> ErrorCode {
    let mut request = commit_request("g", topic, 9, &[offset]);
    (request.member_id, request.generation) = (member.to_owned(), epoch);
    let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 9, &request);
    error(answer.topics[0].partitions[0].error_code)
}

/// A member of the consumer protocol.
struct Consumer {
    epoch: i32,
    owned: Vec<i32>,
}

impl Consumer {
    fn beat(&mut self, client: &mut Client, topic: &Topic) -> ConsumerGroupHeartbeatResponse {
        let owned =
            TopicPartitions::default().with_topic_id(topic.id).with_partitions(self.owned.clone());
        let owned = if self.owned.is_empty() { Vec::new() } else { vec![owned] };
        let request = beat_request("g", "bob", self.epoch, "t");
        let answer: ConsumerGroupHeartbeatResponse =
            client.call(1, &request.with_topic_partitions(Some(owned)));
        if error(answer.error_code) == ErrorCode::None {
            self.epoch = answer.member_epoch;
            if let Some(told) = &answer.assignment {
                let topics = told.topic_partitions.iter();
                self.owned = topics.flat_map(|topic| topic.partitions.clone()).collect();
            }
        }
        answer
    }
}

/// Type and state of the only group.
fn listed(client: &mut Client) -> (String, String) {
    let listed = client.call(5, &ListGroupsRequest::default());
    let [group] = listed.groups.as_slice() else { panic!("{listed:?}") };
    (group.group_type.to_string(), group.group_state.to_string())
}

fn setup(policy: &str) -> Setup {
    Setup::new()
        .with("group.initial.rebalance.delay.ms", 0)
        .with("group.consumer.assignment.interval.ms", 0)
        .with("group.consumer.migration.policy", policy)
}

/// A classic group with one member that reads everything.
fn classic_group(client: &mut Client) -> (Topic, Classic) {
    let topic = create(client, "t", 2, &[]);
    find_coordinator_of(client, "g");
    let mut ann = Classic::new();
    ann.join(client);
    assert_eq!(ann.sync(client), ErrorCode::None);
    assert_eq!((ann.generation, &*ann.owned), (1, &[0, 1][..]));
    (topic, ann)
}

#[test]
fn a_group_goes_from_one_protocol_to_the_other_and_back() {
    let mut node = setup("bidirectional").start();
    let client = &mut node.connect();
    let (topic, mut ann) = classic_group(client);
    let mut bob = Consumer { epoch: 0, owned: Vec::new() };
    assert_eq!(error(bob.beat(client, &topic).error_code), ErrorCode::None);
    assert_eq!((bob.epoch, bob.owned.len()), (2, 0), "the generation becomes the epoch");
    assert_eq!(listed(client).0, "consumer");

    // What ann has it has until it says that it has less.
    assert_eq!(ann.heartbeat(client), ErrorCode::RebalanceInProgress);
    assert_eq!(ann.commit(client, &topic, 5), ErrorCode::None);
    bob.beat(client, &topic);
    assert_eq!(bob.owned.len(), 0);
    ann.settle(client);
    wait_until("bob has what ann gave back", || {
        bob.beat(client, &topic);
        bob.owned.len() == 1
    });
    assert_eq!(ann.owned.len(), 1);
    assert_ne!(ann.owned, bob.owned);
    let names = vec![text("g").into()];
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(names.clone());
    let described = client.call(1, &request);
    let mut types: Vec<i8> =
        described.groups[0].members.iter().map(|member| member.member_type).collect();
    types.sort_unstable();
    assert_eq!(types, [0, 1], "a classic member and one of the consumer protocol");

    // Whom the coordinator names, it names as Kafka does here: by a Uuid in base64.
    let named = Classic::new().ask_to_join(client);
    assert_eq!(error(named.error_code), ErrorCode::MemberIdRequired);
    assert_eq!(named.member_id.len(), 22, "{}", &*named.member_id);

    // The broker dies, and both go on.
    node.crash();
    let client = &mut node.connect();
    wait_until("the group is loaded", || {
        error(bob.beat(client, &topic).error_code) == ErrorCode::None
    });
    assert_eq!(ann.heartbeat(client), ErrorCode::None);
    assert_eq!(ann.commit(client, &topic, 6), ErrorCode::None);
    let place = (bob.owned[0], 7);
    assert_eq!(commit(client, &topic, ("bob", bob.epoch), place), ErrorCode::None);

    // The last one of the consumer protocol leaves: the others share what it had, by themselves.
    let left = client.call(1, &beat_request("g", "bob", -1, "t"));
    assert_eq!((error(left.error_code), left.member_epoch), (ErrorCode::None, -1));
    assert_eq!(listed(client), ("classic".to_owned(), "PreparingRebalance".to_owned()));
    assert_eq!(ann.heartbeat(client), ErrorCode::RebalanceInProgress);
    let generation = ann.generation;
    ann.settle(client);
    assert!(ann.leads && ann.generation > generation, "{} of {generation}", ann.generation);
    assert_eq!(ann.owned, [0, 1]);
    let described = client.call(6, &DescribeGroupsRequest::default().with_groups(names));
    assert_eq!(described.groups[0].members.len(), 1);
    assert_eq!(&*described.groups[0].group_state, "Stable");
}

#[test]
fn protocols_stay_apart_where_no_way_is_open() {
    let node = setup("disabled").start();
    let client = &mut node.connect();
    let (topic, ann) = classic_group(client);
    let mut bob = Consumer { epoch: 0, owned: Vec::new() };
    let answer = bob.beat(client, &topic);
    assert_eq!(error(answer.error_code), ErrorCode::GroupIdNotFound);
    assert_eq!(ann.heartbeat(client), ErrorCode::None, "it is as it was");
    let leave = super::leave_request("g", &ann.id);
    assert_eq!(error(client.call(5, &leave).error_code), ErrorCode::None);

    // Without members a group may become one of the other kind, whatever the policy.
    assert_eq!(error(bob.beat(client, &topic).error_code), ErrorCode::None);
    let answer = Classic::new().ask_to_join(client);
    assert_eq!(error(answer.error_code), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(listed(client).0, "consumer");
}

#[test]
fn a_way_may_be_open_in_one_direction() {
    let node = setup("upgrade").start();
    let client = &mut node.connect();
    let (topic, mut ann) = classic_group(client);
    let mut bob = Consumer { epoch: 0, owned: Vec::new() };
    assert_eq!(error(bob.beat(client, &topic).error_code), ErrorCode::None);
    client.call(1, &beat_request("g", "bob", -1, "t"));
    assert_eq!(listed(client).0, "consumer", "nobody speaks that any more, and it stays one");
    ann.settle(client);
    assert_eq!(ann.owned, [0, 1]);

    let node = setup("downgrade").start();
    let client = &mut node.connect();
    let (topic, ann) = classic_group(client);
    let mut bob = Consumer { epoch: 0, owned: Vec::new() };
    let answer = bob.beat(client, &topic);
    assert_eq!(error(answer.error_code), ErrorCode::GroupIdNotFound);
    client.call(5, &super::leave_request("g", &ann.id));
    assert_eq!(error(bob.beat(client, &topic).error_code), ErrorCode::None);
    let mut ann = Classic::new();
    ann.join(client);
    client.call(1, &beat_request("g", "bob", -1, "t"));
    assert_eq!(listed(client).0, "classic");
    ann.settle(client);
    assert_eq!(ann.owned, [0, 1]);
}
