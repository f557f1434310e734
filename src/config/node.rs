//! The node's configs, typed and checked against each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ottla_types::NodeId;

use crate::cleaner::CleanerConfig;
use crate::groups::GroupsConfig;
use crate::key::TopicKey;
use crate::limits::{self, ConnectionLimits, ListenerLimits};
use crate::listener::{Endpoint, Listener, SecurityProtocol};
use crate::metadata_log::MetadataLogConfig;
use crate::metrics::MetricsConfig;
use crate::produce::ProduceConfig;
use crate::properties::Properties;
use crate::sessions::FetchSessionLimits;
use crate::table::TOPIC_KEYS;
use crate::topic::TopicConfig;
use crate::transactions::TransactionsConfig;
use crate::unbuilt::refuse_what_is_not_built;
use crate::values::{ConfigError, Values};
use crate::verification::VerificationConfig;

const MOVE_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// What the node is without a file: both roles, alone, on the usual ports, data in `./ottla-data`.
const EMBEDDED: &[(&str, &str)] = &[
    ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
    ("controller.listener.names", "CONTROLLER"),
    ("log.dirs", "ottla-data"),
];
/// What clients are told then, unless `listeners` is set: they follow that.
const EMBEDDED_ADVERTISED: &str = "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093";

/// Timeouts of the metadata quorum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuorumTimeouts {
    /// `controller.quorum.election.timeout.ms`.
    pub election: Duration,
    /// `controller.quorum.fetch.timeout.ms`.
    pub fetch: Duration,
    /// `controller.quorum.election.backoff.max.ms`.
    pub election_backoff_max: Duration,
    /// `controller.quorum.request.timeout.ms`.
    pub request: Duration,
}

/// Everything that the node was configured with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// `node.id`.
    pub node_id: NodeId,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `log.dirs`: where partitions are kept; never empty.
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`: where the metadata log is kept, one of `log_dirs` or apart from them.
    pub metadata_dir: PathBuf,
    /// Listeners for clients.
    pub broker_listeners: Vec<Listener>,
    /// Listeners for the quorum and for admin clients of the controller.
    pub controller_listeners: Vec<Listener>,
    /// What clients are told, one for each of `broker_listeners`; an empty host is the machine's.
    pub advertised_listeners: Vec<Listener>,
    /// What is registered for the controller, one for each of `controller_listeners`.
    pub advertised_controller_listeners: Vec<Listener>,
    /// Whether `controller.quorum.voters` names the (only) voter: a static quorum.
    pub static_voters: bool,
    /// Timeouts of the quorum.
    pub quorum: QuorumTimeouts,
    /// How the metadata log is kept.
    pub metadata_log: MetadataLogConfig,
    /// `broker.heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `log.dir.failure.timeout.ms`.
    pub dir_failure_timeout: Duration,
    /// `broker.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `num.partitions`.
    pub partitions_default: i32,
    /// `default.replication.factor`.
    pub replication_factor_default: i16,
    /// `fetch.max.bytes`.
    pub fetch_bytes_max: u32,
    /// `max.request.partition.size.limit`.
    pub described_partitions_max: i32,
    /// What producers are held to.
    pub produce: ProduceConfig,
    /// What comes before the first batch of a transaction.
    pub verification: VerificationConfig,
    /// `producer.id.expiration.check.interval.ms`.
    pub producer_check_interval: Duration,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration: Duration,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub recovery_point_interval: Duration,
    /// `num.recovery.threads.per.data.dir`.
    pub recovery_threads: usize,
    /// `log.cleaner.*`.
    pub cleaner: CleanerConfig,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`.
    pub move_bytes_per_second: u64,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub high_watermark_interval: Duration,
    /// Limits on connections.
    pub limits: ConnectionLimits,
    /// Those of each of `broker_listeners`.
    pub listener_limits: Vec<ListenerLimits>,
    /// Those of each of `controller_listeners`.
    pub controller_limits: Vec<ListenerLimits>,
    /// `ottla.data.threads`; `None` is one per processor.
    pub data_threads: Option<usize>,
    /// `ottla.open.files.max`.
    pub open_files_max: usize,
    /// `ottla.unprotected.loopback`.
    pub unprotected_loopback: bool,
    /// What topics get that say nothing themselves.
    pub topic_defaults: TopicConfig,
    /// The same as text, by name, and whether the file or an override says so.
    pub topic_default_values: Vec<(&'static str, String, bool)>,
    /// How much is remembered of what clients fetch.
    pub fetch_sessions: FetchSessionLimits,
    /// How groups are coordinated.
    pub groups: GroupsConfig,
    /// How transactions are coordinated.
    pub transactions: TransactionsConfig,
    /// Where the node tells its metrics.
    pub metrics: MetricsConfig,
    /// Every key that something reads and that the file or an override gives.
    pub given: BTreeMap<&'static str, String>,
    /// Given keys that nothing reads, with the nearest that something reads.
    pub unknown_keys: Vec<(String, Option<&'static str>)>,
}

impl NodeConfig {
    /// The config of a node: from a file's properties, or the embedded default without one, with
    /// `overrides` on top.
    ///
    /// # Errors
    /// The first key whose value is wrong, contradicts another, or asks for what this version
    /// does not do: a protection or a role is refused, never ignored.
    pub fn new(
        file: Option<Properties>,
        overrides: &[(String, String)],
    ) -> Result<NodeConfig, ConfigError> {
        let mut given = file.unwrap_or_else(|| {
            let mut embedded = Properties::default();
            EMBEDDED.iter().for_each(|(key, value)| embedded.set(key, value));
            if overrides.iter().all(|(key, _)| key != "listeners") {
                embedded.set("advertised.listeners", EMBEDDED_ADVERTISED);
            }
            embedded
        });
        overrides.iter().for_each(|(key, value)| given.set(key, value));
        NodeConfig::from_values(&Values::new(given)?)
    }

    fn from_values(values: &Values) -> Result<NodeConfig, ConfigError> {
        refuse_what_is_not_built(values)?;
        let node_id = NodeId(values.int("node.id"));
        let static_voters = check_quorum(values, node_id)?;
        let listeners = Listeners::read(values)?;
        let ms = |name| Duration::from_millis(u64::from(values.int(name).unsigned_abs()));
        let long_ms = |name| values.long(name).and_then(|ms| u64::try_from(ms).ok());
        let default_ms = |name| Duration::from_millis(long_ms(name).expect("has a default"));
        let replication_factor = values.int("default.replication.factor");
        let log_dirs = log_dirs(values)?;
        let metadata_dir = values.text("metadata.log.dir").filter(|dir| !dir.is_empty());
        let metadata_dir = metadata_dir.map_or_else(|| log_dirs[0].clone(), PathBuf::from);
        Ok(NodeConfig {
            node_id,
            rack: values.text("broker.rack").map(str::to_owned),
            log_dirs,
            metadata_dir,
            listener_limits: limits::of_listeners(values, &listeners.broker),
            controller_limits: limits::of_listeners(values, &listeners.controller),
            broker_listeners: listeners.broker,
            controller_listeners: listeners.controller,
            advertised_listeners: listeners.advertised_broker,
            advertised_controller_listeners: listeners.advertised_controller,
            static_voters,
            quorum: QuorumTimeouts {
                election: ms("controller.quorum.election.timeout.ms"),
                fetch: ms("controller.quorum.fetch.timeout.ms"),
                election_backoff_max: ms("controller.quorum.election.backoff.max.ms"),
                request: ms("controller.quorum.request.timeout.ms"),
            },
            metadata_log: MetadataLogConfig::from_values(values),
            heartbeat_interval: ms("broker.heartbeat.interval.ms"),
            dir_failure_timeout: default_ms("log.dir.failure.timeout.ms"),
            session_timeout: ms("broker.session.timeout.ms"),
            auto_create_topics: values.boolean("auto.create.topics.enable"),
            delete_topics: values.boolean("delete.topic.enable"),
            partitions_default: values.int("num.partitions"),
            replication_factor_default: i16::try_from(replication_factor).map_err(|_| {
                values.refuse("default.replication.factor", "must be a 16-bit number from 1 on")
            })?,
            fetch_bytes_max: values.int("fetch.max.bytes").unsigned_abs(),
            described_partitions_max: values.int("max.request.partition.size.limit"),
            produce: ProduceConfig::read(values),
            verification: VerificationConfig::read(values),
            producer_check_interval: ms("producer.id.expiration.check.interval.ms"),
            producer_id_expiration: ms("producer.id.expiration.ms"),
            recovery_point_interval: ms("log.flush.offset.checkpoint.interval.ms"),
            recovery_threads: values.int("num.recovery.threads.per.data.dir").unsigned_abs()
                as usize,
            cleaner: CleanerConfig::read(values)?,
            retention_check_interval: default_ms("log.retention.check.interval.ms"),
            move_bytes_per_second: values.long(MOVE_RATE).map_or(u64::MAX, i64::unsigned_abs),
            high_watermark_interval: default_ms("replica.high.watermark.checkpoint.interval.ms"),
            limits: ConnectionLimits::read(values)?,
            data_threads: match values.int("ottla.data.threads") {
                0 => None,
                threads => Some(threads.unsigned_abs() as usize),
            },
            open_files_max: values.int("ottla.open.files.max").unsigned_abs() as usize,
            unprotected_loopback: values.boolean("ottla.unprotected.loopback"),
            topic_defaults: TopicConfig::defaults(values),
            topic_default_values: topic_default_values(values),
            fetch_sessions: FetchSessionLimits::read(values),
            groups: GroupsConfig::read(values),
            transactions: TransactionsConfig::read(values),
            metrics: MetricsConfig::read(values)?,
            given: values.given_known(),
            unknown_keys: values.unknown_keys(),
        })
    }
}

/// Checks that the node is the whole quorum; tells whether it is a static one.
fn check_quorum(values: &Values, node_id: NodeId) -> Result<bool, ConfigError> {
    let (voters, servers) = (
        values.list("controller.quorum.voters"),
        values.list("controller.quorum.bootstrap.servers"),
    );
    for (key, members) in
        [("controller.quorum.voters", &voters), ("controller.quorum.bootstrap.servers", &servers)]
    {
        if members.len() > 1 {
            return Err(values.refuse(key, "this version runs a quorum of one"));
        }
    }
    if servers.iter().any(|server| Endpoint::parse(server).is_none()) {
        return Err(values.refuse("controller.quorum.bootstrap.servers", "must be host:port"));
    }
    let Some(voter) = voters.first() else { return Ok(false) };
    let parsed = voter.split_once('@').and_then(|(id, endpoint)| {
        Endpoint::parse(endpoint)?;
        id.parse().ok()
    });
    match parsed {
        Some(id) if NodeId(id) == node_id => Ok(true),
        Some(_) => Err(values.refuse("controller.quorum.voters", "the voter is not this node.id")),
        None => Err(values.refuse("controller.quorum.voters", "must be id@host:port")),
    }
}

/// The defaults of topics in their own units.
fn topic_default_values(values: &Values) -> Vec<(&'static str, String, bool)> {
    let value = |key: &TopicKey| {
        let given = key.broker_keys.iter().find(|name| values.is_given(name));
        let name = given.or_else(|| key.broker_keys.iter().find(|n| values.text(n).is_some()))?;
        Some((key.name, TopicKey::in_own_unit(name, values.text(name)?), given.is_some()))
    };
    TOPIC_KEYS.iter().filter_map(value).collect()
}

fn log_dirs(values: &Values) -> Result<Vec<PathBuf>, ConfigError> {
    let fallback = values.text("log.dir").expect("has a default");
    let mut dirs = values.list("log.dirs");
    if dirs.is_empty() {
        dirs = fallback.split(',').map(str::trim).filter(|dir| !dir.is_empty()).collect();
    }
    if dirs.is_empty() {
        return Err(values.refuse("log.dirs", "must name a directory"));
    }
    for (at, dir) in dirs.iter().enumerate() {
        if dirs[..at].contains(dir) {
            return Err(values.refuse("log.dirs", format!("{dir} is named twice")));
        }
    }
    Ok(dirs.into_iter().map(PathBuf::from).collect())
}

struct Listeners {
    broker: Vec<Listener>,
    controller: Vec<Listener>,
    advertised_broker: Vec<Listener>,
    advertised_controller: Vec<Listener>,
}

impl Listeners {
    fn read(values: &Values) -> Result<Listeners, ConfigError> {
        let all = parse_list(values, "listeners")?;
        let advertised = parse_list(values, "advertised.listeners")?;
        let controller_names = values.list("controller.listener.names");
        if controller_names.is_empty() {
            return Err(values.refuse("controller.listener.names", "must name a listener"));
        }
        let is_controller =
            |l: &Listener| controller_names.iter().any(|n| n.eq_ignore_ascii_case(&l.name));
        let (controller, broker): (Vec<_>, Vec<_>) = all.into_iter().partition(is_controller);
        if controller.len() != controller_names.len() {
            let reason = "every name must be one of listeners";
            return Err(values.refuse("controller.listener.names", reason));
        }
        if broker.is_empty() {
            return Err(values.refuse("listeners", "must hold a listener for clients"));
        }
        limits::check_inter_broker(values, &broker)?;
        for listener in broker.iter().chain(&controller) {
            check_protocol(values, listener, is_controller(listener))?;
        }
        for listener in &advertised {
            if listener.endpoint.host == "0.0.0.0" {
                return Err(
                    values.refuse("advertised.listeners", "0.0.0.0 is no place to connect to")
                );
            }
            if !broker.iter().chain(&controller).any(|l| l.name == listener.name) {
                let reason = format!("{} is not one of listeners", listener.name);
                return Err(values.refuse("advertised.listeners", reason));
            }
        }
        let given = values.is_given("advertised.listeners");
        let (advertised_broker, missing) = advertise(&broker, &advertised);
        if let Some(missing) = missing.filter(|_| given) {
            return Err(values.refuse("advertised.listeners", format!("{missing} is missing")));
        }
        let (advertised_controller, _) = advertise(&controller, &advertised);
        Ok(Listeners { broker, controller, advertised_broker, advertised_controller })
    }
}

/// What is told for each listener, and the first that is not among the `advertised`.
fn advertise(listeners: &[Listener], advertised: &[Listener]) -> (Vec<Listener>, Option<String>) {
    let mut missing = None;
    let told = listeners.iter().map(|listener| {
        let found = advertised.iter().find(|a| a.name == listener.name);
        found.unwrap_or_else(|| {
            missing.get_or_insert_with(|| listener.name.clone());
            listener
        })
    });
    let told = told.cloned().collect();
    (told, missing)
}

fn parse_list(values: &Values, key: &'static str) -> Result<Vec<Listener>, ConfigError> {
    let parse = |text: &&str| {
        Listener::parse(text)
            .ok_or_else(|| values.refuse(key, format!("{text} is not NAME://host:port")))
    };
    let listeners = values.list(key).iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    for (index, listener) in listeners.iter().enumerate() {
        if listeners[..index].iter().any(|other| other.name == listener.name) {
            return Err(values.refuse(key, format!("{} is named twice", listener.name)));
        }
    }
    Ok(listeners)
}

/// Refuses a listener that asks for a protection that is not built.
fn check_protocol(
    values: &Values,
    listener: &Listener,
    is_controller: bool,
) -> Result<(), ConfigError> {
    const MAP: &str = "listener.security.protocol.map";
    let mapped = values.list(MAP).into_iter().find_map(|entry| {
        let (name, protocol) = entry.split_once(':')?;
        name.eq_ignore_ascii_case(&listener.name).then_some(protocol)
    });
    let protocol = match mapped {
        Some(protocol) => SecurityProtocol::from_name(protocol),
        None if is_controller && !values.is_given(MAP) => Some(SecurityProtocol::Plaintext),
        None => SecurityProtocol::from_name(&listener.name),
    };
    match protocol {
        Some(SecurityProtocol::Plaintext) => Ok(()),
        Some(_) => {
            let reason = format!("{} needs SASL or TLS, which is not built yet", listener.name);
            Err(values.refuse("listeners", reason))
        }
        None => {
            let reason = format!("no security protocol is known for listener {}", listener.name);
            Err(values.refuse(MAP, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<NodeConfig, ConfigError> {
        NodeConfig::new(Some(Properties::parse(text.as_bytes()).expect("valid")), &[])
    }

    const BASE: &str = "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
                        controller.listener.names=CONTROLLER\n";

    #[test]
    fn without_a_file_it_is_a_useful_single_node() {
        let config = NodeConfig::new(None, &[]).expect("valid");
        assert_eq!(config.node_id, NodeId(1));
        assert_eq!(config.log_dirs, [PathBuf::from("ottla-data")]);
        assert_eq!(config.metadata_dir, PathBuf::from("ottla-data"));
        assert_eq!(config.broker_listeners[0].to_string(), "PLAINTEXT://:9092");
        assert_eq!(config.controller_listeners[0].to_string(), "CONTROLLER://:9093");
        assert_eq!(config.advertised_listeners[0].to_string(), "PLAINTEXT://localhost:9092");
        assert!(config.auto_create_topics && config.unknown_keys.is_empty());
        let overrides = [("log.dirs".to_owned(), "/d".to_owned())];
        let config = NodeConfig::new(None, &overrides).expect("valid");
        assert_eq!(config.log_dirs, [PathBuf::from("/d")]);
        let listeners = "PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093".to_owned();
        let overrides = [("listeners".to_owned(), listeners)];
        let config = NodeConfig::new(None, &overrides).expect("valid");
        let told = config.advertised_listeners[0].to_string();
        assert_eq!(told, "PLAINTEXT://127.0.0.1:19092", "clients follow the listener");
    }

    #[test]
    fn every_key_of_the_table_is_read() {
        let values =
            Values::new(Properties::parse(BASE.as_bytes()).expect("valid")).expect("valid");
        NodeConfig::from_values(&values).expect("valid");
        assert_eq!(values.unread(), Vec::<&str>::new());
    }

    #[test]
    fn the_official_image_s_config_is_read() {
        let text = "node.id=1\nprocess.roles=broker,controller\n\
            listeners=PLAINTEXT_HOST://0.0.0.0:9092,PLAINTEXT://:19092,CONTROLLER://:29093\n\
            advertised.listeners=PLAINTEXT_HOST://localhost:9092,PLAINTEXT://broker:19092\n\
            listener.security.protocol.map=\
            CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT\n\
            controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@localhost:29093\n";
        let config = config(text).expect("valid");
        assert!(config.static_voters);
        assert_eq!(config.advertised_listeners[1].to_string(), "PLAINTEXT://broker:19092");
    }

    #[test]
    fn directories_are_those_of_kafka() {
        let dirs = |extra: &str| {
            let config = config(&format!("{BASE}{extra}")).expect("valid");
            (config.log_dirs, config.metadata_dir)
        };
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(dirs("log.dirs=/a, /b"), (paths(&["/a", "/b"]), PathBuf::from("/a")));
        assert_eq!(dirs("log.dir=/c,/d"), (paths(&["/c", "/d"]), PathBuf::from("/c")));
        let (log_dirs, metadata) = dirs("log.dirs=/a,/b\nlog.dir=/c\nmetadata.log.dir=/m");
        assert_eq!((log_dirs, metadata), (paths(&["/a", "/b"]), PathBuf::from("/m")));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_reason() {
        let check = |extra: &str, key: &str, reason: &str| {
            let error = config(&format!("{BASE}{extra}")).unwrap_err();
            assert!(error.key == key && error.reason.contains(reason), "{extra}: {error}");
        };
        check("process.roles=broker", "process.roles", "broker,controller only");
        check("authorizer.class.name=x", "authorizer.class.name", "not built");
        check("controller.quorum.voters=1@a:1,2@b:1", "controller.quorum.voters", "one");
        check("controller.quorum.voters=2@a:1", "controller.quorum.voters", "not this node");
        check("controller.quorum.voters=1", "controller.quorum.voters", "id@host:port");
        check(
            "controller.quorum.bootstrap.servers=x",
            "controller.quorum.bootstrap.servers",
            "host",
        );
        check("log.dirs=/a,/b, /a", "log.dirs", "/a is named twice");
        check("listeners=CONTROLLER://:1", "listeners", "for clients");
        check("listeners=PLAINTEXT://:1", "controller.listener.names", "one of listeners");
        check("listeners=PLAINTEXT://:1,PLAINTEXT://:2", "listeners", "twice");
        check("listeners=SSL://:1,CONTROLLER://:2", "listeners", "TLS");
        check("listeners=X://:1,CONTROLLER://:2", "listener.security.protocol.map", "listener X");
        check("advertised.listeners=X://h:1", "advertised.listeners", "not one of");
        check("advertised.listeners=PLAINTEXT://0.0.0.0:1", "advertised.listeners", "0.0.0.0");
        check("advertised.listeners=CONTROLLER://h:1", "advertised.listeners", "missing");
        check("default.replication.factor=40000", "default.replication.factor", "16-bit");
    }
}
