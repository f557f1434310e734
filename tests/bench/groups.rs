//! Groups as the figures need them: their topic, members that joined, and the frames of requests
//! that are sent again and again, encoded once.

use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use ottla_test_client::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_test_client::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_test_client::messages::offset_fetch_request::OffsetFetchRequestTopic;
use ottla_test_client::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_test_client::messages::{
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use ottla_types::java_string_hash;

use crate::client::{Client, encode, topic_name};

/// Versions that clients of these years send, with names of topics.
const FIND_COORDINATOR: i16 = 4;
const JOIN_GROUP: i16 = 9;
const SYNC_GROUP: i16 = 5;
const HEARTBEAT: i16 = 4;
const OFFSET_COMMIT: i16 = 9;
const OFFSET_FETCH: i16 = 7;
/// Partitions of `__consumer_offsets`.
pub(crate) const SHARDS: i32 = 50;
const PROTOCOL_TYPE: StrBytes = StrBytes::from_static_str("consumer");
const PROTOCOL: StrBytes = StrBytes::from_static_str("range");
/// As the Java client's.
const SESSION_MS: i32 = 45_000;
const REBALANCE_MS: i32 = 300_000;
/// The coordinator is not there, loads, or is elsewhere.
const NOT_READY: [i16; 3] = [14, 15, 16];
const LOADING: i16 = 14;
const MEMBER_ID_REQUIRED: i16 = 79;
pub(crate) const ILLEGAL_GENERATION: i16 = 22;
const PAUSE: Duration = Duration::from_millis(1);

/// The only member of a group.
pub(crate) struct Member {
    group: String,
    id: StrBytes,
    generation: i32,
}

/// Has the groups' topic created, and waits until each of its partitions is served.
pub(crate) fn prepare(client: &mut Client) -> io::Result<()> {
    let request = FindCoordinatorRequest::default()
        .with_key_type(0)
        .with_coordinator_keys(vec![StrBytes::from_static_str("bench")]);
    loop {
        let answer = client.call(FIND_COORDINATOR, &request)?;
        if answer.coordinators.iter().all(|found| found.error_code == 0) {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    wait_until_loaded(client).map(drop)
}

/// Asks a group in each partition for offsets until all of them are loaded.
pub(crate) fn wait_until_loaded(client: &mut Client) -> io::Result<()> {
    for shard in 0..SHARDS {
        while fetch_offset(client, &group_in(shard), "none")?.is_none() {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// The name of a group in that partition of the topic: the first that the figures load.
pub(crate) fn group_in(shard: i32) -> String {
    let in_shard = |name: &String| java_string_hash(name).unsigned_abs() % SHARDS as u32;
    let mut names = (0..).map(group_name);
    names.find(|name| in_shard(name) == shard.unsigned_abs()).expect("names do not end")
}

pub(crate) fn group_name(number: usize) -> String {
    format!("group-{number}")
}

/// The committed offset of partition 0; `None` while the coordinator is not ready.
pub(crate) fn fetch_offset(
    client: &mut Client,
    group: &str,
    topic: &str,
) -> io::Result<Option<i64>> {
    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(Some(vec![topic]))
        .with_require_stable(true);
    let answer = client.call(OFFSET_FETCH, &request)?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    match (answer.error_code, partition) {
        (error, _) if NOT_READY.contains(&error) => Ok(None),
        (0, Some(partition)) if NOT_READY.contains(&partition.error_code) => Ok(None),
        (0, Some(partition)) if partition.error_code == 0 => Ok(Some(partition.committed_offset)),
        (error, _) => Err(io::Error::other(format!("OffsetFetch: error {error}"))),
    }
}

/// Makes groups of one member each, all of them stable.
pub(crate) fn join(
    client: &mut Client,
    topic: &str,
    numbers: Range<usize>,
) -> io::Result<Vec<Member>> {
    numbers.map(|number| join_one(client, topic, group_name(number))).collect()
}

fn join_one(client: &mut Client, topic: &str, group: String) -> io::Result<Member> {
    let protocol =
        JoinGroupRequestProtocol::default().with_name(PROTOCOL).with_metadata(subscription(topic));
    let mut request = JoinGroupRequest::default()
        .with_group_id(group_id(&group))
        .with_session_timeout_ms(SESSION_MS)
        .with_rebalance_timeout_ms(REBALANCE_MS)
        .with_protocol_type(PROTOCOL_TYPE)
        .with_protocols(vec![protocol]);
    let joined = loop {
        let answer = client.call(JOIN_GROUP, &request)?;
        match answer.error_code {
            0 => break answer,
            MEMBER_ID_REQUIRED => request.member_id = answer.member_id,
            error if NOT_READY.contains(&error) => std::thread::sleep(PAUSE),
            error => return Err(io::Error::other(format!("JoinGroup: error {error}"))),
        }
    };
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(assignment(topic));
    let request = SyncGroupRequest::default()
        .with_group_id(group_id(&group))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(Some(PROTOCOL_TYPE))
        .with_protocol_name(Some(PROTOCOL))
        .with_assignments(vec![assignment]);
    match client.call(SYNC_GROUP, &request)?.error_code {
        0 => Ok(Member { group, id: joined.member_id, generation: joined.generation_id }),
        error => Err(io::Error::other(format!("SyncGroup: error {error}"))),
    }
}

impl Member {
    /// A member that never joined, for a server that looks at nothing.
    pub(crate) fn made_up(number: usize) -> Member {
        let id = format!("bench-{}", "0".repeat(36));
        Member { group: group_name(number), id: StrBytes::from_string(id), generation: 1 }
    }

    /// Says that it is there.
    pub(crate) fn heartbeat(&self) -> io::Result<Bytes> {
        encode(HEARTBEAT, &self.heartbeat_of(self.generation))
    }

    /// Commits an offset of one partition.
    pub(crate) fn commit(&self, topic: &str) -> io::Result<Bytes> {
        encode(OFFSET_COMMIT, &self.commit_of(topic))
    }

    /// A heartbeat and a commit are taken.
    pub(crate) fn check(&self, client: &mut Client, topic: &str) -> io::Result<()> {
        commit(client, &self.commit_of(topic))?;
        if self.is_known(client)? {
            return Ok(());
        }
        Err(io::Error::other(format!("{} is not known", self.group)))
    }

    fn commit_of(&self, topic: &str) -> OffsetCommitRequest {
        commit_of(&self.group, topic, 1)
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.id.clone())
    }

    /// Whether the coordinator knows the group again: while it loads, it says to every heartbeat
    /// that all is well, and behind that it knows which generation is the present one.
    pub(crate) fn is_known(&self, client: &mut Client) -> io::Result<bool> {
        let ask = |client: &mut Client, generation| {
            client.call(HEARTBEAT, &self.heartbeat_of(generation)).map(|answer| answer.error_code)
        };
        match ask(client, self.generation + 1)? {
            ILLEGAL_GENERATION => {}
            error if error == 0 || NOT_READY.contains(&error) => return Ok(false),
            error => return Err(io::Error::other(format!("Heartbeat: error {error}"))),
        }
        match ask(client, self.generation)? {
            0 => Ok(true),
            error => Err(io::Error::other(format!("Heartbeat: error {error}"))),
        }
    }

    fn heartbeat_of(&self, generation: i32) -> HeartbeatRequest {
        HeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(generation)
            .with_member_id(self.id.clone())
    }
}

/// Commits offsets of a group without members, of the first partitions of a topic.
pub(crate) fn commit_simple(
    client: &mut Client,
    group: &str,
    topic: &str,
    partitions: i32,
) -> io::Result<()> {
    commit(client, &commit_of(group, topic, partitions))
}

fn commit(client: &mut Client, request: &OffsetCommitRequest) -> io::Result<()> {
    loop {
        let answer = client.call(OFFSET_COMMIT, request)?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        match partitions.map(|partition| partition.error_code).find(|error| *error != 0) {
            None => return Ok(()),
            Some(LOADING) => std::thread::sleep(PAUSE),
            Some(error) => return Err(io::Error::other(format!("OffsetCommit: error {error}"))),
        }
    }
}

fn commit_of(group: &str, topic: &str, partitions: i32) -> OffsetCommitRequest {
    let partition = |index| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(1_000_000)
            .with_committed_metadata(Some(StrBytes::default()))
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions((0..partitions).map(partition).collect());
    OffsetCommitRequest::default().with_group_id(group_id(group)).with_topics(vec![topic])
}

/// What a consumer of one topic says of itself, as version 0 of the consumer protocol.
fn subscription(topic: &str) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    put_topic(&mut out, topic);
    out.put_i32(-1);
    out.freeze()
}

/// Partition 0 of the topic.
fn assignment(topic: &str) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    put_topic(&mut out, topic);
    out.put_i32(1);
    out.put_i32(0);
    out.put_i32(-1);
    out.freeze()
}

fn put_topic(out: &mut BytesMut, topic: &str) {
    out.put_i32(1);
    out.put_i16(i16::try_from(topic.len()).expect("names are short"));
    out.put_slice(topic.as_bytes());
}

fn group_id(name: &str) -> GroupId {
    GroupId(StrBytes::from_string(name.to_owned()))
}
