//! When a consumer group is at rest: exactly those who stay are members, all of them have what the
//! target of the group's epoch gives them, and every partition of what they want is somebody's.

use std::collections::BTreeMap;
use std::io;

use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, MetadataRequest,
};
use ottla_test_client::Connection;
use uuid::Uuid;

use super::readers::Partitions;
use super::requests::{self, OTHERS, code as consumer_code};
use crate::groups::member::Client;
use crate::groups::plan::{Group, Plan};
use crate::groups::requests::{self as classic, TOPIC, code};

/// A member of a consumer group that speaks the classic protocol, as operators are told.
const TYPE_CLASSIC: i8 = 0;

/// The epoch of a group that is at rest; else what is missing.
pub async fn look_at(client: &Client, group: &Group) -> Result<i32, String> {
    let Some(mut connection) = client.connect().await else { return Err("it is over".to_owned()) };
    let topics = existing(client, &mut connection).await?;
    let request = requests::describe(&group.name());
    let call = connection.call::<ConsumerGroupDescribeRequest>(1, &request);
    let answer = client.answer(call).await.map_err(|error| error.to_string())?;
    let (told, name) = (&answer.groups[0], group.name());
    let members = client.model().members(group.number);
    match told.error_code {
        code::NONE => {}
        consumer_code::GROUP_ID_NOT_FOUND if members.is_empty() => return Ok(-1),
        error => return Err(format!("{name} is described with error {error}")),
    }
    let state = told.group_state.as_str();
    let mut ids: Vec<&str> = told.members.iter().map(|it| it.member_id.as_str()).collect();
    ids.sort_unstable();
    if members.is_empty() {
        return match state {
            "Empty" => Ok(-1),
            _ => Err(format!("{name} is {state} with {ids:?}, and should be empty")),
        };
    }
    let epoch = told.group_epoch;
    let mut known: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
    known.sort_unstable();
    let is_in = members.iter().all(|it| it.stays && it.is_in && it.generation == epoch);
    if state != "Stable" || ids != known || !is_in || told.assignment_epoch != epoch {
        return Err(format!("{name} is {state} in {epoch} with {ids:?}, and has {members:?}"));
    }
    check_owners(client, group, told, &topics)?;
    Ok(epoch)
}

/// The same of a group of both protocols, which is a classic one when no member speaks the other,
/// if it may become one.
pub async fn look_at_mixed(client: &Client, plan: &Plan, group: &Group) -> Result<i32, String> {
    let Some(mut connection) = client.connect().await else { return Err("it is over".to_owned()) };
    let request = requests::describe(&group.name());
    let call = connection.call::<ConsumerGroupDescribeRequest>(1, &request);
    let answer = client.answer(call).await.map_err(|error| error.to_string())?;
    let told = &answer.groups[0];
    if told.error_code == consumer_code::GROUP_ID_NOT_FOUND {
        return look_at_classic(client, group, &mut connection).await;
    }
    let is_classic = told.members.iter().all(|member| member.member_type == TYPE_CLASSIC);
    if plan.policy.downgrades() && is_classic && !told.members.is_empty() {
        return Err(format!("{} is a consumer group, and nobody speaks that", group.name()));
    }
    look_at(client, group).await
}

/// The generation of a classic group whose members were told what they are to read by each other.
async fn look_at_classic(
    client: &Client,
    group: &Group,
    connection: &mut Connection,
) -> Result<i32, String> {
    let topics = existing(client, connection).await?;
    let request = classic::describe(&group.name());
    let call = connection.call::<DescribeGroupsRequest>(5, &request);
    let answer = client.answer(call).await.map_err(|error| error.to_string())?;
    let (told, name) = (&answer.groups[0], group.name());
    if told.error_code != code::NONE {
        return Err(format!("{name} is described with error {}", told.error_code));
    }
    let (state, mut ids) = classic::described(told);
    let members = client.model().members(group.number);
    if members.is_empty() {
        return match state.as_str() {
            "Empty" | "Dead" => Ok(-1),
            _ => Err(format!("{name} is {state} with {ids:?}, and should be empty")),
        };
    }
    let mut known: Vec<String> = members.iter().map(|member| member.id.clone()).collect();
    known.sort_unstable();
    ids.sort_unstable();
    let generation = members[0].generation;
    let is_in = members.iter().all(|it| it.stays && it.is_in && it.generation == generation);
    if state != "Stable" || ids != known || !is_in {
        return Err(format!("{name} is {state} with {ids:?}, and its members are {members:?}"));
    }
    let (read, all) = (client.model().readers.all(group.number), topics.get(TOPIC));
    match Some(&read) == all {
        true => Ok(generation),
        false => Err(format!("the members of {name} read {read:?}, and should {all:?}")),
    }
}

/// The id of the topic that stays; none when it is not known yet.
pub async fn id_of(client: &Client, connection: &mut Connection) -> io::Result<Option<Uuid>> {
    let request = requests::metadata(&[TOPIC]);
    let answer = client.answer(connection.call::<MetadataRequest>(12, &request)).await?;
    let topic = &answer.topics[0];
    Ok((topic.error_code == code::NONE).then_some(topic.topic_id))
}

/// What members read is what operators are told, and all that there is to read.
fn check_owners(
    client: &Client,
    group: &Group,
    told: &DescribedGroup,
    topics: &BTreeMap<String, Partitions>,
) -> Result<(), String> {
    let name = group.name();
    let described = requests::described(told);
    let all = described.members.values().flat_map(|(_, owned)| owned);
    let owned: Partitions = all.copied().collect();
    let read = client.model().readers.all(group.number);
    if owned != read {
        return Err(format!("the members of {name} read {read:?}, and should {owned:?}"));
    }
    let is_wanted = |topic: &str| {
        told.members.iter().any(|member| {
            let pattern = member.subscribed_topic_regex.as_ref().map_or("", |it| it.as_str());
            member.subscribed_topic_names.iter().any(|name| name.as_str() == topic)
                || requests::stands_for(pattern, topic)
        })
    };
    let named = topics.iter().filter(|(topic, _)| is_wanted(topic));
    let wanted: Partitions = named.flat_map(|(_, partitions)| partitions).copied().collect();
    match owned == wanted {
        true => Ok(()),
        false => Err(format!("{name} has {owned:?}, and should have {wanted:?}")),
    }
}

/// The topics that exist, with their partitions.
async fn existing(
    client: &Client,
    connection: &mut Connection,
) -> Result<BTreeMap<String, Partitions>, String> {
    let request = requests::metadata(&[TOPIC, OTHERS[0], OTHERS[1]]);
    let call = connection.call::<MetadataRequest>(12, &request);
    let answer = client.answer(call).await.map_err(|error| error.to_string())?;
    let mut topics = BTreeMap::new();
    for topic in answer.topics.iter().filter(|topic| topic.error_code == code::NONE) {
        let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
        let partitions = topic.partitions.iter().map(|it| (topic.topic_id, it.partition_index));
        topics.insert(name, partitions.collect());
    }
    Ok(topics)
}
