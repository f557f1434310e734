//! A look at everything: which topics there are, and every record of each.

use std::io;

use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use ottla_test_client::Connection;

use super::client::{Client, Phase};
use super::committer::GROUPS_TOPIC;
use super::model::{Topic, TopicFate};
use super::reader::read_some;

/// Reads all topics whole, whatever else goes on. `Err` when the connection ended first.
pub async fn look_at_everything(client: &Client, connection: &mut Connection) -> io::Result<()> {
    let before = client.model().all_topics();
    let request = MetadataRequest::default().with_topics(None);
    let call = connection.call::<MetadataRequest>(12, &request);
    let response = client.answer(call).await?;
    check_topics(client, &before, &response);
    let topics = client.model().existing();
    for topic in topics {
        for partition in 0..topic.partitions {
            read_whole(client, connection, &topic, partition).await?;
        }
    }
    Ok(())
}

fn check_topics(client: &Client, before: &[Topic], response: &MetadataResponse) {
    let id = response.cluster_id.as_ref().map_or("none", |id| id.as_str());
    client.check(client.model().saw_cluster_id(id));
    let mut listed = Vec::new();
    for topic in &response.topics {
        let name = topic.name.as_ref().map_or("", |name| name.0.as_str());
        listed.push((topic.topic_id, name, topic.partitions.len()));
    }
    let model = client.model();
    for topic in before {
        let now = model.topic(topic.id);
        // It may have grown meanwhile.
        let partitions_max = now.map_or(0, |now| now.partitions_max);
        let counts = topic.partitions as usize..=partitions_max as usize;
        let there = listed.iter().any(|(id, name, count)| {
            (*id, *name) == (topic.id, topic.name.as_str()) && counts.contains(count)
        });
        let now = now.map(|topic| topic.fate);
        if topic.fate == TopicFate::Exists && now == Some(TopicFate::Exists) && !there {
            client.findings.violated(format!("the topic {topic:?} is lost"));
        }
        if topic.fate == TopicFate::Deleted && listed.iter().any(|(id, ..)| *id == topic.id) {
            client.findings.violated(format!("the deleted topic {topic:?} is back"));
        }
    }
    for (id, name, _) in listed {
        let is_known = model.is_in_doubt(name) || name == GROUPS_TOPIC;
        if model.topic(id).is_none() && !is_known {
            client.findings.violated(format!("nobody created the topic {name} {id}"));
        }
    }
}

async fn read_whole(
    client: &Client,
    connection: &mut Connection,
    topic: &Topic,
    partition: i32,
) -> io::Result<()> {
    let place = (topic.id, partition);
    // A fetch from its end tells where the log begins.
    let end = client.model().floor(place);
    read_some(client, connection, topic, partition, end).await?;
    let start = client.model().start(place);
    let end = client.model().floor(place);
    let mut next = start;
    while next < end && !client.is_over() && !client.model().may_be_gone(topic.id) {
        let before = next;
        let from = next.max(client.model().start(place));
        next = read_some(client, connection, topic, partition, from).await?;
        if next == before {
            // The partition has no leader, or its disk has failed: somebody else will look.
            return Ok(());
        }
    }
    let whole = client.model().check_whole(place, next.min(end));
    if next >= end && !client.model().may_be_gone(topic.id) {
        client.check(whole);
        // Before all is acknowledged, there is more than anybody has seen.
        let is_calm = *client.phase.borrow() == Phase::Finish;
        if is_calm && topic.compacted {
            let checked = client.model().check_compacted(place);
            client.check(checked);
        } else if is_calm && client.model().start(place) == start {
            client.check(client.model().check_kept(place, start, next));
        }
    }
    Ok(())
}
