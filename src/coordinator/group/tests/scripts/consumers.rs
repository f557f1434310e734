//! The commands of consumer groups (KIP-848). What members say is what clients remember: a member
//! that says nothing else is in the epoch that it was told last.
//!
//! | command | does |
//! |---|---|
//! | `topic NAME COUNT [rack=]` | a topic of so many partitions; with 0 it is gone |
//! | `config KEY=VALUE...` | an operator sets configs of the group |
//! | `beat NAME [epoch=] [topics=a/b] [owned=t:0,1/u:2] ...` | a member sends a heartbeat |
//! | `beats NAME...` | some members follow what they are told, until nothing changes |
//! | `consumers` | shows what operators are told |
//!
//! | `hide [NAME...]` | who looks patterns up may not see these topics |
//! | `look-up [holds]` | patterns are looked up now; with `holds`, those to come wait for it |
//!
//! A heartbeat of epoch 0 joins, and reads `t` unless it says otherwise. It may also say `regex=`,
//! `instance=`, `assignor=`, `rack=`, `rebalance=` (ms), and another `id=` than the name.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use goldenscript::ArgumentConsumer;
use ottla_types::{PartitionId, TopicName, Uuid};

use super::{Output, Script, group, keys};
use crate::group::consumer::{Assignment, ChangedTopics, ConsumerHeartbeat, TopicView};
use crate::group::tests::cluster::{TestCluster, id_of};
use crate::group::tests::render;
use crate::group::{Answer, MemberId};

/// What a member was told.
#[derive(Clone, Default)]
pub(super) struct Consumer {
    epoch: i32,
    owned: Assignment,
}

#[derive(Default)]
pub(super) struct Consumers {
    known: BTreeMap<String, Consumer>,
    cluster: TestCluster,
}

impl Script {
    pub(super) fn step_of_consumers(
        &mut self,
        name: &str,
        args: &mut ArgumentConsumer<'_>,
    ) -> Output {
        match name {
            "topic" => {
                let topic = args.next_pos().ok_or("NAME")?.to_owned();
                let partitions: i32 = args.next_pos().ok_or("COUNT")?.parse()?;
                let view = TopicView { id: id_of(&topic), partitions };
                if let Some(rack) = args.take_key("rack") {
                    self.consumers.cluster.racks.insert(topic.clone(), rack.to_owned());
                }
                let has_new = partitions > 0 && !self.consumers.cluster.topics.contains_key(&topic);
                match partitions {
                    0 => drop(self.consumers.cluster.topics.remove(&topic)),
                    _ => drop(self.consumers.cluster.topics.insert(topic.clone(), view)),
                }
                let names = [TopicName::from(topic.as_str())].into();
                self.change_cluster(ChangedTopics { names, has_new });
            }
            "config" => {
                self.consumers.cluster.configs.extend(keys(args));
                self.change_cluster(ChangedTopics::default());
            }
            "beat" => self.beat(args)?,
            "beats" => self.beats(args),
            "hide" => {
                self.harness().hidden =
                    std::iter::from_fn(|| args.next_pos().map(str::to_owned)).collect();
            }
            "look-up" => {
                self.harness().holds_look_ups = args.next_pos() == Some("holds");
                self.harness().look_up();
            }
            "consumers" => {
                let described = self.harness().shard.describe_consumers(&group());
                return Ok(described.map_or("none".to_owned(), |it| render::consumers(&it)));
            }
            _ => return self.step_of_offsets(name, args),
        }
        Ok(self.told())
    }

    pub(super) fn topic_id(&self, name: &str) -> Uuid {
        let topic = self.consumers.cluster.topics.get(name);
        topic.map_or(Uuid::ZERO, |topic| topic.id)
    }

    pub(super) fn change_cluster(&mut self, changed: ChangedTopics) {
        self.consumers.cluster.version += 1;
        let cluster = Arc::new(self.consumers.cluster.clone());
        self.harness().cluster = cluster.clone();
        self.harness().step(|shard, _, _| shard.cluster_changed(cluster, &changed));
    }

    fn beat(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
        let name = args.next_pos().ok_or("NAME")?.to_owned();
        let known = self.consumers.known.entry(name.clone()).or_default().clone();
        let mut get = |key: &str| args.take_key(key).map(str::to_owned);
        let epoch = get("epoch").map_or(Ok(known.epoch), |it| it.parse())?;
        let joins = epoch == 0;
        let regex = get("regex");
        let reads_t = joins && regex.is_none();
        let topics = get("topics").or(reads_t.then(|| "t".to_owned()));
        let topics = topics
            .map(|it| it.split('/').filter(|it| !it.is_empty()).map(TopicName::from).collect());
        let rebalance = get("rebalance").or(joins.then(|| "60000".to_owned()));
        let owned = match get("owned") {
            Some(owned) => Some(partitions(&owned)?),
            None => joins.then(Vec::new),
        };
        let request = ConsumerHeartbeat {
            group: group(),
            member: MemberId::from(get("id").unwrap_or(name.clone()).as_str()),
            epoch,
            instance: get("instance"),
            rack: get("rack"),
            rebalance_timeout_ms: rebalance.map(|it| it.parse()).transpose()?,
            topics,
            regex,
            assignor: get("assignor"),
            owned,
            client_id: name.clone(),
            client_host: "/127.0.0.1".to_owned(),
        };
        self.send_beat(&name, &request);
        Ok(())
    }

    /// Sends a heartbeat; the member remembers what it is told.
    fn send_beat(&mut self, name: &str, request: &ConsumerHeartbeat) {
        let ticket = self.harness().ticket(name);
        self.harness().step(|shard, now, out| shard.consumer_heartbeat(now, request, ticket, out));
        let answers = std::mem::take(&mut self.harness().answers);
        for (of, told) in answers {
            let (true, Ok(Answer::Beat(Ok(beat)))) = (of == ticket, told) else { continue };
            let known = self.consumers.known.entry(name.to_owned()).or_default();
            known.epoch = beat.epoch.max(0);
            if let Some(assignment) = beat.assignment {
                known.owned = assignment;
            }
        }
    }

    fn beats(&mut self, args: &mut ArgumentConsumer<'_>) {
        let names: Vec<String> =
            std::iter::from_fn(|| args.next_pos().map(str::to_owned)).collect();
        for _ in 0..20 {
            let before = self.harness().told.len();
            for name in &names {
                let known = self.consumers.known.get(name).cloned().unwrap_or_default();
                let request = ConsumerHeartbeat {
                    group: group(),
                    member: MemberId::from(name.as_str()),
                    epoch: known.epoch,
                    instance: None,
                    rack: None,
                    rebalance_timeout_ms: None,
                    topics: None,
                    regex: None,
                    assignor: None,
                    owned: Some(known.owned.0.into_iter().collect()),
                    client_id: name.clone(),
                    client_host: "/127.0.0.1".to_owned(),
                };
                self.send_beat(name, &request);
            }
            let told = &self.harness().told[before..];
            if !told.iter().any(|line| line.starts_with("log:")) {
                self.harness().told.truncate(before);
                return;
            }
        }
    }
}

/// What a member says that it has.
type Said = Vec<(Uuid, Vec<PartitionId>)>;

fn partitions(text: &str) -> Result<Said, Box<dyn Error>> {
    let mut all = Vec::new();
    for topic in text.split('/').filter(|it| *it != "none") {
        let (name, list) = topic.split_once(':').ok_or("TOPIC:PARTITION,...")?;
        let ids = list.split(',').map(|it| it.parse().map(PartitionId));
        all.push((id_of(name), ids.collect::<Result<_, _>>()?));
    }
    Ok(all)
}
