//! Records, replies and states as lines of a script.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};

use ottla_protocol::metadata::{
    BrokerRegistrationChangeRecord, ConfigRecord, MetadataRecord, PartitionChangeRecord,
    PartitionRecord, RegisterBrokerRecord,
};
use ottla_types::{NO_NODE, NodeId, PartitionId, Uuid};

use super::harness::Append;
use crate::controller::{CreatedTopic, HeartbeatReply, TopicError};
use crate::image::{Broker, Image, LEADER_STAYS, Topic};

/// Names of topics by id.
pub(super) type Names = BTreeMap<Uuid, String>;

/// One line for each record: its offset, kind, version and content.
pub(super) fn append(append: &Append, names: &Names) -> String {
    let mut out = String::new();
    for (index, record) in append.records.iter().enumerate() {
        let offset = append.base_offset.plus(index as i64);
        let text = record_text(&record.record, names);
        let (kind, text) = text.split_once(' ').unwrap_or((&text, ""));
        let _ = writeln!(out, "{offset} {kind} v{} {text}", record.version);
    }
    out.lines().map(str::trim_end).fold(String::new(), |all, line| all + line + "\n")
}

fn record_text(record: &MetadataRecord, names: &Names) -> String {
    match record {
        MetadataRecord::BeginTransaction(it) => {
            format!("BeginTransaction {}", it.name.as_deref().unwrap_or_default())
        }
        MetadataRecord::EndTransaction(_) => "EndTransaction".into(),
        MetadataRecord::AbortTransaction(it) => {
            format!("AbortTransaction {}", it.reason.as_deref().unwrap_or_default())
        }
        MetadataRecord::FeatureLevel(it) => {
            format!("FeatureLevel {}={}", it.name, it.feature_level)
        }
        MetadataRecord::Config(it) => config(it),
        MetadataRecord::RegisterController(it) => {
            format!(
                "RegisterController {} incarnation {}",
                it.controller_id,
                name(it.incarnation_id)
            )
        }
        MetadataRecord::RegisterBroker(it) => registration(it),
        MetadataRecord::BrokerRegistrationChange(it) => registration_change(it),
        MetadataRecord::Topic(it) => format!("Topic {}", it.name),
        MetadataRecord::RemoveTopic(it) => format!("RemoveTopic {}", names[&it.topic_id]),
        MetadataRecord::Partition(it) => partition(it, names),
        MetadataRecord::PartitionChange(it) => partition_change(it, names),
        MetadataRecord::ClearElr(it) => format!("ClearElr {}", it.topic_name),
        MetadataRecord::ProducerIds(it) => {
            format!("ProducerIds broker {} next {}", it.broker_id, it.next_producer_id)
        }
        other => format!("{other:?}"),
    }
}

fn config(it: &ConfigRecord) -> String {
    let kind = match it.resource_type {
        2 => "topic",
        4 => "broker",
        16 => "metrics",
        _ => "group",
    };
    let value = it.value.as_deref().unwrap_or("null");
    format!("Config {kind} '{}' {}={value}", it.resource_name, it.name)
}

fn registration(it: &RegisterBrokerRecord) -> String {
    let mut out = format!("RegisterBroker {} epoch {}", it.broker_id, it.broker_epoch);
    let _ = write!(out, " incarnation {} dirs {}", name(it.incarnation_id), ids(&it.log_dirs));
    if let Some(rack) = &it.rack {
        let _ = write!(out, " rack {rack}");
    }
    out.push_str(if it.fenced { " fenced" } else { " unfenced" });
    out
}

fn registration_change(it: &BrokerRegistrationChangeRecord) -> String {
    let mut out = format!("BrokerRegistrationChange {} epoch {}", it.broker_id, it.broker_epoch);
    out.push_str(match it.fenced {
        1 => " fenced",
        -1 => " unfenced",
        _ => "",
    });
    if it.in_controlled_shutdown == 1 {
        out.push_str(" in controlled shutdown");
    }
    if !it.log_dirs.is_empty() {
        let _ = write!(out, " dirs {}", ids(&it.log_dirs));
    }
    if let Some(cordoned) = &it.cordoned_log_dirs {
        let _ = write!(out, " cordoned {}", ids(cordoned));
    }
    out
}

fn partition(it: &PartitionRecord, names: &Names) -> String {
    let mut out = format!("Partition {}-{}", names[&it.topic_id], it.partition_id);
    let _ = write!(out, " replicas {:?} isr {:?} leader {}", it.replicas, it.isr, node(it.leader));
    let _ = write!(out, " epochs {}/{}", it.leader_epoch, it.partition_epoch);
    let _ = write!(out, " dirs {}", ids(&it.directories));
    out
}

fn partition_change(it: &PartitionChangeRecord, names: &Names) -> String {
    let mut out = format!("PartitionChange {}-{}", names[&it.topic_id], it.partition_id);
    let mut list = |name: &str, list: &Option<Vec<NodeId>>| {
        if let Some(list) = list {
            let _ = write!(out, " {name} {list:?}");
        }
    };
    list("replicas", &it.replicas);
    list("isr", &it.isr);
    list("elr", &it.eligible_leader_replicas);
    list("last-known", &it.last_known_elr);
    if it.leader != LEADER_STAYS {
        let _ = write!(out, " leader {}", node(it.leader));
    }
    match it.leader_recovery_state {
        -1 => {}
        0 => out.push_str(" recovered"),
        _ => out.push_str(" recovering"),
    }
    out
}

fn node(id: NodeId) -> String {
    if id == NO_NODE { "none".into() } else { id.to_string() }
}

/// The short name that an id was made from, or the id.
fn name(id: Uuid) -> String {
    let text: Vec<u8> = id.0.iter().copied().take_while(|byte| *byte != 0).collect();
    match String::from_utf8(text) {
        Ok(text) if !text.is_empty() && text.bytes().all(|it| it.is_ascii_graphic()) => text,
        _ => id.to_string(),
    }
}

fn ids(list: &[Uuid]) -> String {
    format!("[{}]", list.iter().map(|it| name(*it)).collect::<Vec<String>>().join(", "))
}

pub(super) fn heartbeat_reply(it: HeartbeatReply) -> String {
    let mut said = vec![if it.is_fenced { "fenced" } else { "unfenced" }];
    said.extend((!it.is_caught_up).then_some("not caught up"));
    said.extend(it.in_controlled_shutdown.then_some("in controlled shutdown"));
    said.extend(it.should_shut_down.then_some("should shut down"));
    format!("reply: {}\n", said.join(", "))
}

/// A refusal of any kind, as a client sees it.
pub(super) fn refusal(code: impl Debug, text: &str) -> String {
    format!("error: {code:?} {text}\n")
}

pub(super) fn outcome(name: &str, result: &Result<CreatedTopic, TopicError>) -> String {
    match result {
        Ok(it) => format!(
            "reply: {name} has {} partitions of {} replicas\n",
            it.partitions, it.replication_factor
        ),
        Err(error) => refusal(error.code(), &error.message().unwrap_or_default()),
    }
}

pub(super) fn topic(topic: &Topic) -> String {
    let line = |(id, it): (PartitionId, &crate::image::Partition)| {
        let mut out = format!("{}-{id}: replicas {:?} isr {:?}", topic.name, it.replicas, it.isr);
        let _ = write!(out, " elr {:?} leader {}", it.elr, node(it.leader));
        let _ = writeln!(out, " epochs {}/{}", it.leader_epoch, it.partition_epoch);
        out
    };
    topic.partitions().map(line).collect()
}

pub(super) fn brokers(image: &Image) -> String {
    let line = |it: &Broker| {
        let fenced = if it.fenced { "fenced" } else { "unfenced" };
        let stops = if it.in_controlled_shutdown { ", in controlled shutdown" } else { "" };
        format!("broker {}: epoch {}, {fenced}{stops}\n", it.id, it.epoch)
    };
    image.cluster().brokers().map(line).collect()
}
