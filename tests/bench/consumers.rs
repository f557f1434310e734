//! Members of consumer groups (KIP-848): frames of heartbeats, and how long a group takes to share
//! out partitions that are new.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use ottla_test_client::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_test_client::messages::consumer_group_heartbeat_response::Assignment;
use ottla_test_client::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, GroupId,
};
use uuid::Uuid;

use crate::Failure;
use crate::client::{Client, encode, topic_name};
use crate::figure::{Condition, Figure};
use crate::groups;
use crate::machine::{CLIENT_CPU, now, on_cpu};
use crate::program::{Place, Program};
use crate::results::Report;
use crate::run::Context;

const SETTLED: Figure = Figure::new(
    "consumers-settled",
    "10 consumers of the new protocol: 900 new partitions owned behind their creation, ms",
)
.to_be(&[Condition::AtMost(1000.0)]);

const HEARTBEAT: i16 = 1;
const REBALANCE_MS: i32 = 300_000;
const MEMBERS: usize = 10;
const NEW_PARTITIONS: i32 = 900;
const RUNS: usize = 3;
const PAUSE: Duration = Duration::from_millis(5);
const SETTLED_MAX: Duration = Duration::from_secs(60);
/// The coordinator is not there, loads, or is elsewhere.
const NOT_READY: [i16; 3] = [14, 15, 16];

/// A member of a consumer group.
pub(crate) struct Consumer {
    group: String,
    id: StrBytes,
    epoch: i32,
    topics: Vec<String>,
    owned: BTreeMap<Uuid, Vec<i32>>,
    /// Whether what it owns is to be told.
    is_news: bool,
}

impl Consumer {
    fn new(group: &str, number: usize, topics: &[&str]) -> Consumer {
        Consumer {
            group: group.to_owned(),
            id: StrBytes::from_string(format!("{number:036}")),
            epoch: 0,
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            owned: BTreeMap::new(),
            is_news: true,
        }
    }

    /// A member that never joined, for a server that looks at nothing.
    pub(crate) fn made_up(group: &str) -> Consumer {
        Consumer { epoch: 1, ..Consumer::new(group, 0, &[]) }
    }

    /// The only member of a group, which has a partition of the topic and has said so.
    pub(crate) fn join(client: &mut Client, group: &str, topic: &str) -> io::Result<Consumer> {
        let mut consumer = Consumer::new(group, 0, &[topic]);
        while consumer.owned.is_empty() || consumer.is_news {
            consumer.beat(client)?;
        }
        consumer.beat(client)?;
        Ok(consumer)
    }

    /// Says that it is there, and nothing else.
    pub(crate) fn heartbeat(&self) -> io::Result<Bytes> {
        encode(HEARTBEAT, &self.request())
    }

    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(self.group.clone())))
            .with_member_id(self.id.clone())
            .with_member_epoch(self.epoch)
    }

    /// One heartbeat, with what is new, and what the answer changes.
    fn beat(&mut self, client: &mut Client) -> io::Result<()> {
        let mut request = self.request();
        if self.epoch == 0 {
            let topics = self.topics.iter().map(|topic| topic_name(topic)).collect();
            request = request
                .with_rebalance_timeout_ms(REBALANCE_MS)
                .with_subscribed_topic_names(Some(topics));
        }
        if self.is_news {
            let owned = self.owned.iter().map(|(topic, partitions)| {
                TopicPartitions::default().with_topic_id(*topic).with_partitions(partitions.clone())
            });
            request.topic_partitions = Some(owned.collect());
        }
        let answer: ConsumerGroupHeartbeatResponse = client.call(HEARTBEAT, &request)?;
        match answer.error_code {
            0 => {}
            error if NOT_READY.contains(&error) => {
                std::thread::sleep(PAUSE);
                return Ok(());
            }
            error => {
                let told = format!("ConsumerGroupHeartbeat: error {error}");
                return Err(io::Error::other(told));
            }
        }
        self.is_news = false;
        self.epoch = answer.member_epoch;
        if let Some(assignment) = answer.assignment {
            self.take(assignment);
        }
        Ok(())
    }

    fn take(&mut self, assignment: Assignment) {
        let topics = assignment.topic_partitions.into_iter();
        let told = topics.filter(|topic| !topic.partitions.is_empty());
        let told = told.map(|topic| {
            let mut partitions = topic.partitions;
            partitions.sort_unstable();
            (topic.topic_id, partitions)
        });
        self.owned = told.collect();
        // Also who gives partitions back says so.
        self.is_news = true;
    }

    fn count(&self) -> usize {
        self.owned.values().map(Vec::len).sum()
    }
}

/// Measures how long members take to own what is new, from the answer that it is created on.
/// Each says so at once when it was told something, and asks again every few milliseconds else.
pub(crate) fn measure_settling(context: &Context, report: &mut Report) -> Result<(), Failure> {
    for program in &context.brokers {
        for _ in 0..RUNS {
            measure_once(program, &context.place, report)?;
        }
    }
    Ok(())
}

fn measure_once(program: &Program, place: &Place, report: &mut Report) -> Result<(), Failure> {
    let mut process = program.install(place, 0)?.spawn_pinned()?;
    let mut client = process.connect()?;
    client.create_topic("few", MEMBERS as i32)?;
    groups::prepare(&mut client)?;
    let mut members: Vec<Consumer> =
        (1..=MEMBERS).map(|number| Consumer::new("settling", number, &["few", "many"])).collect();
    let settled = on_cpu(CLIENT_CPU, || -> io::Result<f64> {
        settle(&mut client, &mut members, MEMBERS)?;
        client.create_topic("many", NEW_PARTITIONS)?;
        let began = now();
        settle(&mut client, &mut members, MEMBERS + NEW_PARTITIONS as usize)?;
        Ok(millis(began))
    })??;
    report.add(&SETTLED, program, settled);
    drop(client);
    process.stop()?;
    Ok(())
}

/// Heartbeats of all members in turn until they own so many partitions, as fairly as can be, and
/// have said so.
fn settle(client: &mut Client, members: &mut [Consumer], partitions: usize) -> io::Result<()> {
    let began = now();
    let fair = partitions / members.len();
    loop {
        for member in members.iter_mut() {
            member.beat(client)?;
        }
        if members.iter().all(|it| it.count() == fair && !it.is_news) {
            return Ok(());
        }
        if began.elapsed() > SETTLED_MAX {
            let counts: Vec<usize> = members.iter().map(Consumer::count).collect();
            return Err(io::Error::other(format!("not settled: {counts:?}")));
        }
        if members.iter().all(|it| !it.is_news) {
            std::thread::sleep(PAUSE);
        }
    }
}

fn millis(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
