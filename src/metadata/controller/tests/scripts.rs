//! Runs the scripts of `controller/scripts`. `UPDATE=1` rewrites them: read the diff.
//!
//! | command | does |
//! |---|---|
//! | `start [version=] [min-isr=] ...` | a controller becomes active over an empty log |
//! | `register ID [incarnation=] [dirs=] [previous=] [dead=true] ...` | registers a broker |
//! | `heartbeat ID [epoch=] [offset=] [fence=true] [stop=true] ...` | a broker is heard |
//! | `brokers ID...` | registers and unfences brokers, without output |
//! | `wait MS` | time passes; nobody is heard |
//! | `fence-stale` | fences whose session has timed out, until none is left |
//! | `create NAME... [partitions=] [rf=] [assign=1-2/2-3] ...` | creates topics |
//! | `delete NAME... [id=NAME]` | deletes topics by name and by id |
//! | `alter KIND NAME ...` | changes configs, see `alter.rs` |
//! | `producer-ids ID`, `register-controller ID` | the other requests |
//! | `assign-dir ID DIR NAME INDEX [epoch=]` | a broker says where its replica is |
//! | `isr NAME INDEX ID...` | the leader changes the replicas in sync |
//! | `place NAME INDEX DIRS` | the brokers name the directories of a partition |
//! | `update NAME=LEVEL... [kind=up\|safe\|unsafe] [validate=true]` | updates features |
//! | `hold`, `commit`, `renounce`, `activate` | appends wait; are committed; are lost; again |
//! | `begin` | a transaction begins, and its controller dies |
//! | `load N` | the log is Kafka's (`testdata`), up to there |
//! | `offset N`, `next-id ID` | others write up to there; the next topic gets this id |
//! | `topic NAME`, `cluster`, `snapshot`, `deadline` | show state |

mod admin;

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use ottla_protocol::metadata::{Endpoint, PartitionChangeRecord};
use ottla_types::{BrokerEpoch, NodeId, Offset, PartitionId, TopicIdPartition, Uuid};

use super::harness::{Append, Harness, endpoints, features, features_of_4_3, id, settings};
use super::render;
use crate::MetadataVersion;
use crate::controller::{
    ControllerRegistration, CreateTopics, ManualAssignment, NewTopic, ReplicaAssignments,
    TopicSelector,
};
use crate::testdata::RESTARTS;

type Output = Result<String, Box<dyn Error>>;

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("controller/scripts");
    ottla_golden::run(&folder, 20, Script::default);
}

/// A script in the making.
#[derive(Default)]
pub(super) struct Script {
    harness: Option<Harness>,
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Output {
        let mut args = command.consume_args();
        let output = self.step(&command.name, &mut args)?;
        args.reject_next()?;
        Ok(output)
    }
}

impl Script {
    pub(super) fn harness(&mut self) -> &mut Harness {
        self.harness.as_mut().expect("a script begins with start")
    }

    fn step(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Output {
        match name {
            "start" => self.start(args),
            "register" => self.register(args),
            "register-controller" => self.register_controller(args),
            "heartbeat" => self.heartbeat(args),
            "brokers" => self.brokers(args),
            "fence-stale" => self.fence_stale(),
            "create" => self.create(args),
            "delete" => self.delete(args),
            "alter" => {
                let request = super::alter::request(args).ok_or("KIND NAME VERB.KEY=VALUE")?;
                Ok(super::alter::run(self.harness(), &request))
            }
            "producer-ids" => self.producer_ids(args),
            "isr" => self.isr(args),
            "place" => self.place(args),
            "assign-dir" => self.assign_directory(args),
            "wait" => {
                let pause = Duration::from_millis(args.next_pos().ok_or("MS")?.parse()?);
                let now = self.harness().now.after(pause);
                self.harness().now = now;
                Ok(String::new())
            }
            "grow" | "elect" | "reassign" | "unregister" | "update" => self.administer(name, args),
            other => self.show_or_turn(other, args),
        }
    }

    fn show_or_turn(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Output {
        let harness = self.harness();
        Ok(match name {
            "hold" => {
                harness.holds = true;
                String::new()
            }
            "commit" => {
                harness.commit();
                String::new()
            }
            "renounce" => {
                harness.renounce();
                String::new()
            }
            "activate" => {
                let append = harness.activate(MetadataVersion::V4_3);
                self.show(&append)
            }
            "topic" => {
                let image = harness.controller.image();
                let topic = image.topic(args.next_pos().ok_or("NAME")?);
                topic.map_or("no such topic\n".into(), render::topic)
            }
            "cluster" => render::brokers(harness.controller.image()),
            "deadline" => format!("{:?}\n", harness.controller.next_deadline()),
            "offset" => {
                // Records of others: NoOps, and the control records of the quorum.
                harness.next_offset = Offset(args.next_pos().ok_or("OFFSET")?.parse()?);
                String::new()
            }
            "load" => {
                let end_offset = Offset(args.next_pos().ok_or("OFFSET")?.parse()?);
                harness.load(RESTARTS, end_offset);
                String::new()
            }
            "next-id" => {
                let bytes = id(args.next_pos().ok_or("ID")?).0;
                for half in [&bytes[..8], &bytes[8..]] {
                    harness.queued.push_back(u64::from_be_bytes(half.try_into()?));
                }
                String::new()
            }
            "begin" => {
                harness.begin_transaction();
                String::new()
            }
            "snapshot" => {
                let records = harness.controller.image().to_records();
                self.show(&Append { base_offset: Offset(0), records })
            }
            other => return Err(format!("there is no command {other}").into()),
        })
    }

    fn show(&self, append: &Append) -> String {
        let names = self.harness.as_ref().map(|it| it.names.clone()).unwrap_or_default();
        render::append(append, &names)
    }

    fn start(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let mut settings = settings();
        if let Some(timeout) = args.take_key("session-timeout") {
            settings.session_timeout = Duration::from_millis(timeout.parse()?);
        }
        if let Some(cluster) = args.take_key("cluster") {
            settings.cluster_id = cluster.into();
        }
        if let Some(min_isr) = args.take_key("min-isr") {
            settings.min_insync_replicas = min_isr.parse()?;
        }
        settings.unclean_leader_election = args.take_key("unclean").is_some();
        settings.delete_topics = args.take_key("delete") != Some("off");
        let version = args.take_key("version").unwrap_or("4.3");
        let version = MetadataVersion::from_name(version).ok_or("no such version")?;
        let mut harness = Harness::new(settings);
        harness.next_offset = Offset(args.take_key("offset").unwrap_or("0").parse()?);
        if args.take_key("interrupted").is_some() {
            harness.begin_transaction();
            harness.renounce();
        }
        let append = harness.activate(version);
        self.harness = Some(harness);
        Ok(self.show(&append))
    }

    fn register(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let harness = self.harness();
        let mut request = harness.registration(args.next_pos().ok_or("ID")?.parse()?);
        if let Some(incarnation) = args.take_key("incarnation") {
            request.incarnation_id = id(incarnation);
        }
        if let Some(dirs) = args.take_key("dirs") {
            request.log_dirs = ids(dirs);
        }
        if let Some(cluster) = args.take_key("cluster") {
            request.cluster_id = cluster.into();
        }
        if let Some(endpoint) = args.take_key("endpoint") {
            request.endpoints = vec![parse_endpoint(endpoint)?];
        }
        if let Some(epoch) = args.take_key("previous") {
            request.previous_epoch = BrokerEpoch(epoch.parse()?);
        }
        if let Some(level) = args.take_key("metadata-version") {
            let range = request.features.last_mut().ok_or("features")?;
            range.max_supported_version = level.parse()?;
        }
        match args.take_key("features") {
            Some("none") => request.features.clear(),
            Some(_) => request.features = features_of_4_3(),
            None => {}
        }
        request.rack = args.take_key("rack").map(str::to_owned);
        request.is_migrating_zk_broker = args.take_key("zk").is_some();
        request.previous_incarnation_is_dead = args.take_key("dead").is_some();
        match harness.controller.register_broker(request, harness.moment()) {
            Err(error) => Ok(render::refusal(error.code(), &error.to_string())),
            Ok(decision) => {
                let (append, epoch) = harness.append(decision);
                Ok(self.show(&append) + &format!("reply: epoch {epoch}\n"))
            }
        }
    }

    fn register_controller(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let number = args.next_pos().ok_or("ID")?;
        let request = ControllerRegistration {
            controller: NodeId(number.parse()?),
            incarnation_id: id(args.take_key("incarnation").unwrap_or("c")),
            endpoints: args
                .take_key("endpoint")
                .map_or(Ok(endpoints()), |it| parse_endpoint(it).map(|it| vec![it]))?,
            features: args.take_key("features").map_or_else(features, |_| features_of_4_3()),
        };
        match self.harness().controller.register_controller(request) {
            Err(error) => Ok(render::refusal(error.code(), &error.to_string())),
            Ok(decision) => {
                let append = self.harness().append(decision).0;
                Ok(self.show(&append))
            }
        }
    }

    fn heartbeat(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let harness = self.harness();
        let mut request = harness.heartbeat(args.next_pos().ok_or("ID")?.parse()?);
        if let Some(epoch) = args.take_key("epoch") {
            request.epoch = BrokerEpoch(epoch.parse()?);
        }
        if let Some(offset) = args.take_key("offset") {
            request.metadata_offset = Offset(offset.parse()?);
        }
        request.want_fence = args.take_key("fence").is_some();
        request.want_shut_down = args.take_key("stop").is_some();
        request.offline_directories = args.take_key("offline").map(ids).unwrap_or_default();
        request.cordoned_directories = args.take_key("cordoned").map(ids);
        match harness.controller.broker_heartbeat(&request, harness.moment()) {
            Err(error) => Ok(render::refusal(error.code(), &error.to_string())),
            Ok(decision) => {
                let (append, reply) = harness.append(decision);
                Ok(self.show(&append) + &render::heartbeat_reply(reply))
            }
        }
    }

    fn brokers(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let racks: Vec<&str> = args.take_key("racks").unwrap_or_default().split('/').collect();
        let mut index = 0;
        while let Some(number) = args.next_pos() {
            let harness = self.harness();
            let mut request = harness.registration(number.parse()?);
            let rack = racks.get(index % racks.len()).filter(|rack| !rack.is_empty());
            request.rack = rack.map(|rack| (*rack).to_owned());
            index += 1;
            let decision = harness.controller.register_broker(request, harness.moment())?;
            harness.append(decision);
            let request = harness.heartbeat(number.parse()?);
            let decision = harness.controller.broker_heartbeat(&request, harness.moment())?;
            harness.append(decision);
        }
        Ok(String::new())
    }

    fn fence_stale(&mut self) -> Output {
        let mut output = String::new();
        loop {
            let harness = self.harness();
            let Some(decision) = harness.controller.fence_stale(harness.now) else {
                return Ok(output);
            };
            let append = harness.append(decision).0;
            output += &self.show(&append);
        }
    }

    fn create(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let partitions = args.take_key("partitions").unwrap_or("-1").parse()?;
        let replication_factor = args.take_key("rf").unwrap_or("-1").parse()?;
        let assigned = args.take_key("assign");
        let assignments = assigned.map_or(Ok(Vec::new()), assignments)?;
        let validate_only = args.take_key("validate").is_some();
        let mut configs = Vec::new();
        while let Some((key, value)) = args.next_key() {
            let name = key.strip_prefix("config.").ok_or("config.NAME=VALUE")?;
            configs.push((name.to_owned(), (value != "null").then(|| value.to_owned())));
        }
        let mut topics = Vec::new();
        while let Some(name) = args.next_pos() {
            let (assignments, configs) = (assignments.clone(), configs.clone());
            let name = name.to_owned();
            topics.push(NewTopic { name, partitions, replication_factor, assignments, configs });
        }
        let harness = self.harness();
        let (request, mut random) = (CreateTopics { topics, validate_only }, harness.random());
        match harness.controller.create_topics(&request, &mut random) {
            Err(error) => Ok(render::refusal(error.code(), &error.to_string())),
            Ok(decision) => {
                let (append, reply) = harness.append(decision);
                let lines = reply.iter().map(|it| render::outcome(&it.name, &it.result));
                Ok(lines.fold(self.show(&append), |all, line| all + &line))
            }
        }
    }

    fn delete(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let mut selectors = Vec::new();
        while let Some((_, name)) = args.next_key() {
            let image = self.harness().controller.image();
            let topic_id = image.topic(name).map_or_else(|| id(name), |topic| topic.id);
            selectors.push(TopicSelector { name: None, topic_id });
        }
        while let Some(name) = args.next_pos() {
            selectors.push(TopicSelector { name: Some(name.into()), topic_id: Uuid::ZERO });
        }
        let harness = self.harness();
        match harness.controller.delete_topics(&selectors) {
            Err(error) => Ok(render::refusal(error.code(), "")),
            Ok(decision) => {
                let (append, reply) = harness.append(decision);
                let mut output = self.show(&append);
                for topic in reply {
                    let name = topic.name.unwrap_or("?".into());
                    output += &match topic.result {
                        Ok(()) => format!("reply: {name} is deleted\n"),
                        Err(error) => render::refusal(error.code(), &error.to_string()),
                    };
                }
                Ok(output)
            }
        }
    }

    fn producer_ids(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let harness = self.harness();
        let mut asking = harness.heartbeat(args.next_pos().ok_or("ID")?.parse()?);
        if let Some(epoch) = args.take_key("epoch") {
            asking.epoch = BrokerEpoch(epoch.parse()?);
        }
        match harness.controller.allocate_producer_ids(asking.broker, asking.epoch) {
            Err(error) => Ok(render::refusal(error.code(), &error.to_string())),
            Ok(decision) => {
                let (append, block) = harness.append(decision);
                let reply = format!("reply: {} ids from {}\n", block.count, block.first);
                Ok(self.show(&append) + &reply)
            }
        }
    }

    /// The brokers name the directories of a partition, as with AssignReplicasToDirs.
    fn place(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let topic = args.next_pos().ok_or("NAME")?;
        let partition_id = PartitionId(args.next_pos().ok_or("INDEX")?.parse()?);
        let directories = Some(ids(args.next_pos().ok_or("DIRECTORIES")?));
        let harness = self.harness();
        let topic_id = harness.controller.image().topic(topic).ok_or("no such topic")?.id;
        harness.append_record(PartitionChangeRecord {
            topic_id,
            partition_id,
            directories,
            ..Default::default()
        });
        Ok(String::new())
    }

    fn assign_directory(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let harness = self.harness();
        let asking = harness.heartbeat(args.next_pos().ok_or("ID")?.parse()?);
        let directory = id(args.next_pos().ok_or("DIR")?);
        let topic = args.next_pos().ok_or("NAME")?;
        let topic_id = harness.controller.image().topic(topic).map_or(id(topic), |it| it.id);
        let partition = PartitionId(args.next_pos().ok_or("INDEX")?.parse()?);
        let epoch = args.take_key("epoch").map(str::parse).transpose()?;
        let request = ReplicaAssignments {
            broker: asking.broker,
            epoch: epoch.map_or(asking.epoch, BrokerEpoch),
            replicas: vec![(TopicIdPartition { topic_id, partition }, directory)],
        };
        match harness.controller.assign_replicas(&request) {
            Err(error) => Ok(render::refusal(error.code(), &error.to_string())),
            Ok(decision) => {
                let (append, reply) = harness.append(decision);
                Ok(self.show(&append) + &format!("reply: {}\n", reply[0]))
            }
        }
    }

    fn isr(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let topic = args.next_pos().ok_or("NAME")?;
        let index = args.next_pos().ok_or("INDEX")?.parse()?;
        let mut isr = Vec::new();
        while let Some(broker) = args.next_pos() {
            isr.push(NodeId(broker.parse()?));
        }
        let append = self.harness().set_isr(topic, index, isr);
        Ok(append.map_or(String::new(), |append| self.show(&append)))
    }
}

/// `NAME/HOST/PORT`, without encryption.
fn parse_endpoint(text: &str) -> Result<Endpoint, Box<dyn Error>> {
    let mut parts = text.split('/').map(str::to_owned);
    let mut next = || parts.next().ok_or("NAME/HOST/PORT");
    let (name, host, port) = (next()?, next()?, next()?.parse()?);
    Ok(Endpoint { name, host, port, security_protocol: 0 })
}

fn ids(names: &str) -> Vec<Uuid> {
    names.split('/').filter(|name| *name != "none").map(id).collect()
}

/// `1-2/2-3`: the replicas of partitions 0 and 1; `4@1-2` names the partition.
fn assignments(text: &str) -> Result<Vec<ManualAssignment>, Box<dyn Error>> {
    let mut assignments = Vec::new();
    for (index, text) in text.split('/').enumerate() {
        let (partition, replicas) = match text.split_once('@') {
            Some((partition, replicas)) => (partition.parse()?, replicas),
            None => (index as i32, text),
        };
        let replicas = replicas.split('-').filter(|id| !id.is_empty());
        let replicas = replicas.map(|id| Ok(NodeId(id.parse()?)));
        let replicas = replicas.collect::<Result<Vec<NodeId>, std::num::ParseIntError>>()?;
        assignments.push(ManualAssignment { partition: PartitionId(partition), replicas });
    }
    Ok(assignments)
}
