//! The end: nothing befalls the broker any more, some members stay, and each group must come to
//! rest with exactly those, and stay so, also over a restart.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{CreateTopicsRequest, DescribeGroupsRequest};
use kafka_protocol::messages::{FindCoordinatorRequest, OffsetCommitRequest};
use kafka_protocol::protocol::StrBytes;
use ottla_test_client::Connection;

use super::consumer;
use super::member::{Client, fetch_offsets};
use super::plan::{Group, Kind, Plan};
use super::promises::GroupNumber;
use super::requests::{self, Me, TOPIC, code, described};

/// Virtual time within which groups settle: several times the longest session and rebalance.
const SETTLES_WITHIN: Duration = Duration::from_secs(40);
/// How long they must stay settled.
const STAYS_FOR: Duration = Duration::from_secs(8);

/// The generations that groups settled in.
pub type Settled = BTreeMap<GroupNumber, i32>;

/// Makes the topic, and gives each group an offset, without which an empty one is forgotten.
pub async fn found(client: Client, plan: Plan) {
    let mut left: Vec<Group> = plan.groups.clone();
    let mut has_topic = false;
    while let Some(mut connection) = client.connect().await {
        loop {
            let step = match left.last() {
                _ if !has_topic => create(&client, &mut connection, plan.partitions).await,
                Some(group) => first_commit(&client, &mut connection, group).await,
                None => return,
            };
            match step {
                Err(_) => break,
                Ok(false) => client.pause(10, 50).await,
                Ok(true) if !has_topic => has_topic = true,
                Ok(true) => drop(left.pop()),
            }
        }
        client.pause(5, 40).await;
    }
}

async fn create(client: &Client, connection: &mut Connection, count: i32) -> io::Result<bool> {
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_num_partitions(count)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
    let answer = client.answer(connection.call::<CreateTopicsRequest>(7, &request)).await?;
    if !matches!(answer.topics[0].error_code, code::NONE | code::TOPIC_ALREADY_EXISTS) {
        return Ok(false);
    }
    let id = consumer::id_of(client, connection).await?;
    client.model().readers.topic = id;
    Ok(id.is_some())
}

async fn first_commit(
    client: &Client,
    connection: &mut Connection,
    group: &Group,
) -> io::Result<bool> {
    let request = requests::find(&group.name());
    let call = connection.call::<FindCoordinatorRequest>(4, &request);
    if client.answer(call).await?.coordinators[0].error_code != code::NONE {
        return Ok(false);
    }
    let me = Me {
        group: group.name(),
        protocol_type: group.protocol_type,
        id: String::new(),
        instance: None,
        generation: -1,
    };
    client.model().commits(group.number, 0, 0);
    let request = me.commit(0, 0);
    let call = connection.call::<OffsetCommitRequest>(8, &request);
    let error = client.answer(call).await?.topics[0].partitions[0].error_code;
    if error == code::NONE {
        client.model().committed(group.number, 0, 0);
    }
    Ok(error == code::NONE)
}

/// Waits until all groups have settled, and looks whether they stay so. With `before`, in the
/// generations that they were settled in.
pub async fn settle(client: &Client, plan: &Plan, before: Option<&Settled>) -> Settled {
    let clock = client.runtime.clock();
    let until = clock.now().after(SETTLES_WITHIN);
    let mut settled = look(client, plan).await;
    while settled.is_err() && clock.now() < until && !client.is_over() {
        client.pause(100, 300).await;
        settled = look(client, plan).await;
    }
    let settled = match settled {
        Ok(settled) => settled,
        Err(what) => {
            client.findings.violated(what);
            return Settled::new();
        }
    };
    client.findings.note(|| format!("settled: {settled:?}"));
    if let Some(before) = before
        && *before != settled
    {
        let what = format!("groups settled as {before:?}, and after a restart as {settled:?}");
        client.findings.violated(what);
    }
    clock.sleep(STAYS_FOR).await;
    match look(client, plan).await {
        Ok(after) if after == settled => {
            client.findings.count(|stats| stats.settled += settled.len() as u64);
        }
        Ok(after) => {
            let what = format!("groups settled as {settled:?}, and went on to {after:?}");
            client.findings.violated(what);
        }
        Err(what) => client.findings.violated(format!("settled, and then: {what}")),
    }
    settled
}

/// The generation of each group if all have settled; else what is missing.
async fn look(client: &Client, plan: &Plan) -> Result<Settled, String> {
    let mut settled = Settled::new();
    if !client.model().is_founded {
        return Err("the topic, or the offsets of groups, cannot be made".to_owned());
    }
    for group in &plan.groups {
        let epoch = match group.kind {
            Kind::Classic => look_at(client, plan, group).await?,
            Kind::Consumer => consumer::look_at(client, group).await?,
            Kind::Mixed => consumer::look_at_mixed(client, plan, group).await?,
        };
        settled.insert(group.number, epoch);
    }
    Ok(settled)
}

async fn look_at(client: &Client, plan: &Plan, group: &Group) -> Result<i32, String> {
    let Some(mut connection) = client.connect().await else { return Err("it is over".to_owned()) };
    let request = requests::describe(&group.name());
    let call = connection.call::<DescribeGroupsRequest>(5, &request);
    let answer = client.answer(call).await.map_err(|error| error.to_string())?;
    let told = &answer.groups[0];
    let name = group.name();
    if told.error_code != code::NONE {
        return Err(format!("{name} is described with error {}", told.error_code));
    }
    let (state, mut ids) = described(told);
    let members = client.model().members(group.number);
    let mut known: Vec<String> = members.iter().map(|member| member.id.clone()).collect();
    known.sort_unstable();
    ids.sort_unstable();
    if members.is_empty() {
        return match state.as_str() {
            "Empty" => Ok(-1),
            _ => Err(format!("{name} is {state} with {ids:?}, and should be empty")),
        };
    }
    let generation = members[0].generation;
    let is_in = members.iter().all(|it| it.stays && it.is_in && it.generation == generation);
    if state != "Stable" || ids != known || !is_in {
        return Err(format!("{name} is {state} with {ids:?}, and its members are {members:?}"));
    }
    match client.model().unowned(group.number, generation, plan.partitions).as_slice() {
        [] => Ok(generation),
        unowned => Err(format!("{name} has nobody for {unowned:?} in generation {generation}")),
    }
}

/// Reads every offset of every group.
pub async fn audit(client: &Client, plan: &Plan) {
    for group in &plan.groups {
        let floors: BTreeMap<i32, i64> = {
            let model = client.model();
            (0..plan.partitions).map(|it| (it, model.floor(group.number, it))).collect()
        };
        let is_read = async || -> io::Result<bool> {
            let Some(mut connection) = client.connect().await else { return Ok(true) };
            let told = fetch_offsets(client, &mut connection, group, &floors).await?;
            Ok(told.is_some())
        };
        while !matches!(is_read().await, Ok(true)) && !client.is_over() {
            client.pause(10, 50).await;
        }
    }
}
