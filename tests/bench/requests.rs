//! Small requests: processor time for each of them, by kind and by connections.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use ottla_test_client::messages::metadata_request::MetadataRequestTopic;
use ottla_test_client::messages::{ApiVersionsRequest, MetadataRequest};

use crate::Failure;
use crate::client::{Client, METADATA, encode, produce_frame, topic_name};
use crate::closed::{Closed, Expect, Frame, Until};
use crate::consumers::{self, Consumer};
use crate::figure::Condition::OfFloor;
use crate::figure::Figure;
use crate::floor::configure_frame;
use crate::groups::{self, Member};
use crate::payload::batch_of;
use crate::results::Report;
use crate::run::Context;
use crate::servers::{Configs, Server, connect, note_calls, note_requests, start, stop};

const TOPIC: &str = "requests";
const RECORD: usize = 100;
const CONNECTIONS: usize = 8;
const TOPICS: usize = 1000;
const API_VERSIONS: i16 = 3;
/// Requests before anything is counted, of each kind: a JVM compiles its code while it runs.
const WARM_UP: usize = 3;

#[derive(Clone, Copy)]
enum Kind {
    Produce,
    ApiVersions,
    /// Of as many topics.
    Metadata(usize),
    Heartbeat,
    /// Of a member of a consumer group.
    ConsumerHeartbeat,
    OffsetCommit,
}

struct Workload {
    figure: Figure,
    kind: Kind,
    connections: usize,
    depth: usize,
    /// In a pass.
    requests: usize,
}

const SMALL: Workload = Workload {
    figure: Figure::new("", ""),
    kind: Kind::Produce,
    connections: CONNECTIONS,
    depth: 1,
    requests: 20_000,
};

const PRODUCE: &[Workload] = &[
    Workload {
        figure: Figure::new("small-1", "one record of 100 B, 1 connection: CPU us"),
        connections: 1,
        requests: 10_000,
        ..SMALL
    },
    Workload {
        figure: Figure::new("small-1x5", "the same, 5 requests under way: CPU us")
            .to_be(&[OfFloor(2.0)]),
        connections: 1,
        depth: 5,
        ..SMALL
    },
    Workload {
        figure: Figure::new("small-16", "the same, 16 connections: CPU us").to_be(&[OfFloor(1.6)]),
        connections: 16,
        ..SMALL
    },
];

const METADATA_KINDS: &[Workload] = &[
    Workload {
        figure: Figure::new("api-versions", "ApiVersions, 8 connections: CPU us")
            .to_be(&[OfFloor(1.5)]),
        kind: Kind::ApiVersions,
        ..SMALL
    },
    Workload {
        figure: Figure::new("metadata-10", "Metadata of 10 topics, 8 connections: CPU us")
            .to_be(&[OfFloor(2.0)]),
        kind: Kind::Metadata(10),
        ..SMALL
    },
    Workload {
        figure: Figure::new("metadata-1000", "Metadata of all of 1,000 topics: CPU us")
            .to_be(&[OfFloor(2.0)]),
        kind: Kind::Metadata(TOPICS),
        requests: 800,
        ..SMALL
    },
];

const GROUPS: &[Workload] = &[
    Workload {
        figure: Figure::new("heartbeat", "Heartbeat, 8 connections: CPU us").to_be(&[OfFloor(2.0)]),
        kind: Kind::Heartbeat,
        ..SMALL
    },
    Workload {
        figure: Figure::new("consumer-heartbeat", "ConsumerGroupHeartbeat, 8 connections: CPU us")
            .to_be(&[OfFloor(2.5)]),
        kind: Kind::ConsumerHeartbeat,
        ..SMALL
    },
    Workload {
        figure: Figure::new(
            "offset-commit",
            "OffsetCommit of one partition, 8 connections: CPU us",
        )
        .to_be(&[OfFloor(2.5)]),
        kind: Kind::OffsetCommit,
        ..SMALL
    },
];

/// Produces of one record.
pub(crate) fn measure_produce(context: &Context, report: &mut Report) -> Result<(), Failure> {
    measure(context, PRODUCE, report, |server| server.create(TOPIC, 1, &[]))
}

/// What clients ask when they connect.
pub(crate) fn measure_metadata(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let names: Vec<String> = (0..TOPICS).map(topic_of).collect();
    measure(context, METADATA_KINDS, report, |server| {
        if !server.is_broker() {
            return Ok(());
        }
        let mut client = server.process.connect()?;
        client.create_topics(&names)?;
        crate::many::wait_for_all_leaders(&mut client, TOPICS)
    })
}

/// What members of groups ask.
pub(crate) fn measure_groups(context: &Context, report: &mut Report) -> Result<(), Failure> {
    measure(context, GROUPS, report, |server| {
        if !server.is_broker() {
            return Ok(());
        }
        let mut client = server.process.connect()?;
        client.create_topic(TOPIC, 1)?;
        Ok(groups::prepare(&mut client)?)
    })?;
    consumers::measure_settling(context, report)
}

fn measure(
    context: &Context,
    workloads: &[Workload],
    report: &mut Report,
    mut prepare: impl FnMut(&mut Server) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let programs = context.with_floor().into_iter().map(|it| (it, Configs::default()));
    let mut servers = start(&context.place, &programs.collect::<Vec<_>>())?;
    for server in &mut servers {
        prepare(server)?;
    }
    for workload in workloads {
        let figure = &workload.figure;
        let mut loads = workload.loads(&mut servers)?;
        for pass in 0..=context.settings.passes {
            let times = if pass == 0 { WARM_UP } else { 1 };
            for (server, load) in servers.iter().zip(&mut loads) {
                let requests = times * workload.requests;
                let spent = server.spend(|| load.run(Until::Requests(requests)))?;
                if pass > 0 {
                    let micros = spent.cpu * 1e6 / spent.done.requests as f64;
                    report.add(figure, &server.program, micros);
                    note_requests(figure, &server.program, &spent.done, report);
                }
            }
        }
        for (server, load) in servers.iter().zip(&mut loads) {
            let requests = workload.requests / 5;
            let scratch = &context.place.scratch;
            let (done, calls) = server.calls(scratch, || load.run(Until::Requests(requests)))?;
            note_calls(figure, &server.program, calls, done.requests, report);
        }
    }
    stop(servers)
}

impl Workload {
    /// A load for each server. The floor answers what Ottla does.
    fn loads(&self, servers: &mut [Server]) -> Result<Vec<Closed>, Failure> {
        let mut loads = Vec::new();
        let mut answer: Option<Vec<u8>> = None;
        for server in servers.iter_mut().rev() {
            let mut clients = connect(&mut server.process, self.connections)?;
            let frames = self.frames(server, &mut clients[0])?;
            let mut connections = Vec::new();
            for (number, (mut client, frame)) in clients.into_iter().zip(frames).enumerate() {
                if let Some(answer) = answer.as_ref().filter(|_| !server.is_broker()) {
                    let key = i16::from_be_bytes([frame[4], frame[5]]);
                    client.send(&configure_frame(key, answer))?;
                    client.receive()?;
                }
                client.send(&frame)?;
                let first = client.receive()?.to_vec();
                let expect = match self.kind {
                    Kind::Produce if server.is_broker() => Expect::Acks(1),
                    // Correlation id and error; the epoch of features grows by itself.
                    Kind::ApiVersions => Expect::Front(first[..6].to_vec()),
                    _ => Expect::Same(first.clone()),
                };
                expect.check(&first)?;
                if number == 0 {
                    answer = Some(first);
                }
                connections.push((client, Frame::fixed(&frame), expect));
            }
            loads.push(Closed::new(connections, self.depth)?);
        }
        loads.reverse();
        Ok(loads)
    }

    /// A frame for each connection.
    fn frames(&self, server: &Server, client: &mut Client) -> Result<Vec<Bytes>, Failure> {
        let same = |frame: Bytes| vec![frame; self.connections];
        Ok(match self.kind {
            Kind::Produce => same(produce_frame(TOPIC, batch_of(0, RECORD))?),
            Kind::ApiVersions => same(api_versions()?),
            Kind::Metadata(TOPICS) => {
                same(encode(METADATA, &MetadataRequest::default().with_topics(None))?)
            }
            Kind::Metadata(count) => {
                let topic = |name: String| {
                    MetadataRequestTopic::default().with_name(Some(topic_name(&name)))
                };
                let topics = (0..count).map(|number| topic(topic_of(number))).collect();
                same(encode(METADATA, &MetadataRequest::default().with_topics(Some(topics)))?)
            }
            Kind::ConsumerHeartbeat => {
                let frame = |number: usize| {
                    let group = format!("consumers-{number}");
                    let consumer = match server.is_broker() {
                        true => Consumer::join(client, &group, TOPIC)?,
                        false => Consumer::made_up(&group),
                    };
                    consumer.heartbeat()
                };
                (0..self.connections).map(frame).collect::<Result<_, _>>()?
            }
            Kind::Heartbeat | Kind::OffsetCommit => {
                // Groups of their own: those of the last kind still have their members.
                let first = if matches!(self.kind, Kind::Heartbeat) { 0 } else { 100 };
                let members = if server.is_broker() {
                    groups::join(client, TOPIC, first..first + self.connections)?
                } else {
                    (0..self.connections).map(Member::made_up).collect()
                };
                let mut frames = Vec::new();
                for member in members {
                    if server.is_broker() {
                        member.check(client, TOPIC)?;
                    }
                    frames.push(match self.kind {
                        Kind::Heartbeat => member.heartbeat()?,
                        _ => member.commit(TOPIC)?,
                    });
                }
                frames
            }
        })
    }
}

fn topic_of(number: usize) -> String {
    format!("topic-{number}")
}

/// What a client asks first.
pub(crate) fn api_versions() -> Result<Bytes, Failure> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("bench"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    Ok(encode(API_VERSIONS, &request)?)
}
