//! The table of configs. Sorted by name.

use crate::key::{ConfigKey, Kind, TopicKey};

const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey { name, kind, default, doc }
}

const fn topic(
    name: &'static str,
    broker_keys: &'static [&'static str],
    kind: Kind,
    doc: &'static str,
) -> TopicKey {
    TopicKey { name, broker_keys, kind, doc }
}

const COMPRESSION_TYPES: Kind =
    Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);
/// The library has one level: that which Kafka's default stands for.
const LZ4_LEVELS: Kind = Kind::IntRange { min: 9, max: 9 };
const ZSTD_LEVELS: Kind = Kind::IntRange { min: -131_072, max: 22 };
const TIMESTAMP_TYPES: Kind = Kind::OneOf(&["CreateTime", "LogAppendTime"]);

/// Keys of the node.
pub const BROKER_KEYS: &[ConfigKey] = &[
    key(
        "advertised.listeners",
        Kind::List,
        None,
        "What clients are told to connect to, as NAME://host:port. Default: `listeners`, with the \
         host's name where they name none.",
    ),
    key(
        "auto.create.topics.enable",
        Kind::Boolean,
        Some("true"),
        "Whether asking for the metadata of a missing topic creates it.",
    ),
    key(
        "broker.heartbeat.interval.ms",
        Kind::Int { min: 1 },
        Some("2000"),
        "Time between the heartbeats of a broker to the controller, ms.",
    ),
    key("broker.rack", Kind::Text, None, "Rack of the node."),
    key(
        "broker.session.timeout.ms",
        Kind::Int { min: 1 },
        Some("9000"),
        "Time without a heartbeat after which the controller fences a broker, ms.",
    ),
    key("compression.gzip.level", Kind::GzipLevel, Some("-1"), "Default of the topic's key."),
    key("compression.lz4.level", LZ4_LEVELS, Some("9"), "Default of the topic's key."),
    key("compression.type", COMPRESSION_TYPES, Some("producer"), "Default of the topic's key."),
    key("compression.zstd.level", ZSTD_LEVELS, Some("3"), "Default of the topic's key."),
    key(
        "connections.max.idle.ms",
        Kind::Long { min: -1 },
        Some("600000"),
        "Time after which a connection without a request in work is closed, ms; -1 is never.",
    ),
    key(
        "controller.listener.names",
        Kind::List,
        None,
        "Names of the listeners that belong to the controller.",
    ),
    key(
        "controller.quorum.bootstrap.servers",
        Kind::List,
        None,
        "Where controllers listen, as host:port. This version runs a quorum of one and refuses \
         more than one.",
    ),
    key(
        "controller.quorum.election.backoff.max.ms",
        Kind::Int { min: 0 },
        Some("1000"),
        "Longest wait after a lost election, ms.",
    ),
    key(
        "controller.quorum.election.timeout.ms",
        Kind::Int { min: 0 },
        Some("1000"),
        "Time without a leader after which a voter asks for votes, ms (drawn up to twice it).",
    ),
    key(
        "controller.quorum.fetch.timeout.ms",
        Kind::Int { min: 0 },
        Some("2000"),
        "Time without a successful fetch after which a voter asks for votes, ms.",
    ),
    key(
        "controller.quorum.request.timeout.ms",
        Kind::Int { min: 1 },
        Some("2000"),
        "Time after which a request of the quorum counts as lost, ms.",
    ),
    key(
        "controller.quorum.voters",
        Kind::List,
        None,
        "Voters of a static quorum, as id@host:port. This version runs a quorum of one and \
         refuses more than one.",
    ),
    key(
        "default.replication.factor",
        Kind::Int { min: 1 },
        Some("1"),
        "Replicas of a topic that is created without saying.",
    ),
    key("delete.topic.enable", Kind::Boolean, Some("true"), "Whether topics can be deleted."),
    key(
        "fetch.max.bytes",
        Kind::Int { min: 1024 },
        Some("57671680"),
        "Most bytes of records in the answer to a fetch.",
    ),
    key(
        "listener.security.protocol.map",
        Kind::List,
        None,
        "Security protocol of each listener, as NAME:PROTOCOL. This version serves PLAINTEXT and \
         refuses to start with another. Default: each protocol is the name of its listener, and \
         controller listeners are PLAINTEXT.",
    ),
    key(
        "listeners",
        Kind::List,
        Some("PLAINTEXT://:9092"),
        "Where the node listens, as NAME://host:port; without a host, on all addresses.",
    ),
    key("log.cleanup.policy", Kind::CleanupPolicy, Some("delete"), "Default of `cleanup.policy`."),
    key(
        "log.dir",
        Kind::Text,
        Some("/tmp/kafka-logs"),
        "Data directories when `log.dirs` is absent.",
    ),
    key(
        "log.dirs",
        Kind::List,
        None,
        "Data directories. A new partition goes where the fewest are; when one fails, those in the \
         others are served on.",
    ),
    key(
        "log.flush.interval.messages",
        Kind::Long { min: 1 },
        Some("9223372036854775807"),
        "Default of `flush.messages`.",
    ),
    key(
        "log.flush.offset.checkpoint.interval.ms",
        Kind::Int { min: 0 },
        Some("60000"),
        "Time between writings of the recovery points, ms.",
    ),
    key(
        "log.index.interval.bytes",
        Kind::Int { min: 0 },
        Some("4096"),
        "Default of `index.interval.bytes`.",
    ),
    key(
        "log.index.size.max.bytes",
        Kind::Int { min: 4 },
        Some("10485760"),
        "Default of `segment.index.bytes`.",
    ),
    key(
        "log.message.timestamp.after.max.ms",
        Kind::Long { min: 0 },
        Some("3600000"),
        "Default of `message.timestamp.after.max.ms`.",
    ),
    key(
        "log.message.timestamp.before.max.ms",
        Kind::Long { min: 0 },
        Some("9223372036854775807"),
        "Default of `message.timestamp.before.max.ms`.",
    ),
    key(
        "log.message.timestamp.type",
        TIMESTAMP_TYPES,
        Some("CreateTime"),
        "Default of `message.timestamp.type`.",
    ),
    key(
        "log.retention.bytes",
        Kind::Long { min: i64::MIN },
        Some("-1"),
        "Default of `retention.bytes`.",
    ),
    key(
        "log.retention.check.interval.ms",
        Kind::Long { min: 1 },
        Some("300000"),
        "Time between looks for segments that retention lets go, ms; the first look is after 30 s \
         at the latest.",
    ),
    key(
        "log.retention.hours",
        Kind::Int { min: i32::MIN },
        Some("168"),
        "Default of `retention.ms` in hours, when `log.retention.ms` and `log.retention.minutes` \
         are absent; negative is never.",
    ),
    key(
        "log.retention.minutes",
        Kind::Int { min: i32::MIN },
        None,
        "Default of `retention.ms` in minutes, when `log.retention.ms` is absent.",
    ),
    key("log.retention.ms", Kind::Long { min: -1 }, None, "Default of `retention.ms`."),
    key(
        "log.roll.hours",
        Kind::Int { min: 1 },
        Some("168"),
        "Default of `segment.ms` in hours, when `log.roll.ms` is absent.",
    ),
    key("log.roll.ms", Kind::Long { min: 1 }, None, "Default of `segment.ms`."),
    key(
        "log.segment.bytes",
        Kind::Int { min: 1_048_576 },
        Some("1073741824"),
        "Default of `segment.bytes`.",
    ),
    key(
        "log.segment.delete.delay.ms",
        Kind::Long { min: 0 },
        Some("60000"),
        "Default of `file.delete.delay.ms`.",
    ),
    key(
        "max.connections",
        Kind::Int { min: 0 },
        Some("2147483647"),
        "Most connections at one time; further ones wait to be accepted.",
    ),
    key(
        "max.connections.per.ip",
        Kind::Int { min: 0 },
        Some("2147483647"),
        "Most connections from one address at one time; further ones are closed.",
    ),
    key(
        "message.max.bytes",
        Kind::Int { min: 0 },
        Some("1048588"),
        "Default of `max.message.bytes`.",
    ),
    key(
        "metadata.log.dir",
        Kind::Text,
        None,
        "Directory of the metadata log. Default: the first of `log.dirs`.",
    ),
    key(
        "metadata.log.max.record.bytes.between.snapshots",
        Kind::Long { min: 1 },
        Some("20971520"),
        "Bytes of the metadata log after which a snapshot of the metadata is written.",
    ),
    key(
        "metadata.log.max.snapshot.interval.ms",
        Kind::Long { min: 0 },
        Some("3600000"),
        "Time after which a snapshot of the metadata is written if there is anything new, ms; 0 \
         is never.",
    ),
    key(
        "metadata.log.segment.bytes",
        Kind::Int { min: 8_388_608 },
        Some("1073741824"),
        "Size of a segment of the metadata log at which the next one begins.",
    ),
    key(
        "metadata.log.segment.ms",
        Kind::Long { min: i64::MIN },
        Some("604800000"),
        "Age of the first record of a segment of the metadata log at which the next one begins, ms.",
    ),
    key(
        "metadata.max.retention.bytes",
        Kind::Long { min: i64::MIN },
        Some("104857600"),
        "Bytes of the metadata log and its snapshots together, above which the oldest snapshot goes \
         if there is a newer one, and the log in front of that; negative is all.",
    ),
    key(
        "metadata.max.retention.ms",
        Kind::Long { min: i64::MIN },
        Some("604800000"),
        "Age of a snapshot of the metadata at which it goes if there is a newer one, ms; negative \
         is never.",
    ),
    key("min.insync.replicas", Kind::Int { min: 1 }, Some("1"), "Default of the topic's key."),
    key("node.id", Kind::Int { min: 0 }, Some("1"), "Id of the node."),
    key(
        "num.partitions",
        Kind::Int { min: 1 },
        Some("1"),
        "Partitions of a topic that is created without saying.",
    ),
    key(
        "num.recovery.threads.per.data.dir",
        Kind::Int { min: 1 },
        Some("2"),
        "Logs that are opened at the same time at the start; at most four for each data thread.",
    ),
    key(
        "ottla.data.threads",
        Kind::Int { min: 0 },
        Some("0"),
        "Threads that serve clients; 0 is one per processor.",
    ),
    key(
        "ottla.open.files.max",
        Kind::Int { min: 1 },
        Some("1000"),
        "Most files of logs that stay open between uses; at most a quarter of the process's limit.",
    ),
    key(
        "ottla.produce.decompressed.max.bytes",
        Kind::Int { min: 1 },
        Some("268435456"),
        "Most bytes that the records of one produced batch may take when they are decompressed, \
         where they are looked at.",
    ),
    key(
        "ottla.produce.validation",
        Kind::OneOf(&["strict", "relaxed"]),
        Some("strict"),
        "strict looks at every record of a produced batch, as Kafka does. relaxed takes the \
         producer's word for what is inside compressed batches and for the times of records; \
         batches without a largest time, or for compacted topics, are looked at all the same.",
    ),
    key(
        "ottla.unprotected.loopback",
        Kind::Boolean,
        Some("false"),
        "Whether to start although the configuration names an authorizer, or the metadata holds \
         ACLs or client quotas, none of which is built yet: for a look at the data. Only taken \
         when all listeners are bound to loopback addresses.",
    ),
    key(
        "process.roles",
        Kind::List,
        Some("broker,controller"),
        "Roles of the node. This version runs both in one process and refuses another value.",
    ),
    key(
        "producer.id.expiration.ms",
        Kind::Int { min: 1 },
        Some("86400000"),
        "Time after which the sequence numbers of a silent producer are forgotten, ms.",
    ),
    key(
        "queued.max.request.bytes",
        Kind::Long { min: -1 },
        Some("-1"),
        "Most bytes of requests that are being received or answered, over all connections; at the \
         limit no more is read. -1 is 256 MiB.",
    ),
    key(
        "replica.high.watermark.checkpoint.interval.ms",
        Kind::Long { min: 1 },
        Some("5000"),
        "Time between writings of the high watermarks, ms.",
    ),
    key(
        "socket.request.max.bytes",
        Kind::Int { min: 1 },
        Some("104857600"),
        "Longest request in bytes; a longer one closes its connection.",
    ),
];

/// Keys of topics.
pub const TOPIC_KEYS: &[TopicKey] = &[
    topic(
        "cleanup.policy",
        &["log.cleanup.policy"],
        Kind::CleanupPolicy,
        "Whether `retention.ms` and `retention.bytes` count. A topic taken over from Kafka whose \
         policy is compact keeps all its records.",
    ),
    topic(
        "compression.gzip.level",
        &["compression.gzip.level"],
        Kind::GzipLevel,
        "Level at which batches are compressed with gzip, 1 to 9; -1 is the library's own.",
    ),
    topic(
        "compression.lz4.level",
        &["compression.lz4.level"],
        LZ4_LEVELS,
        "Level at which batches are compressed with lz4. There is one.",
    ),
    topic(
        "compression.type",
        &["compression.type"],
        COMPRESSION_TYPES,
        "Codec of the batches in the log. A batch that comes with another one is compressed \
         again; producer keeps that of each batch.",
    ),
    topic(
        "compression.zstd.level",
        &["compression.zstd.level"],
        ZSTD_LEVELS,
        "Level at which batches are compressed with zstd.",
    ),
    topic(
        "file.delete.delay.ms",
        &["log.segment.delete.delay.ms"],
        Kind::Long { min: 0 },
        "Time between the renaming of a deleted directory and its removal, ms.",
    ),
    topic(
        "flush.messages",
        &["log.flush.interval.messages"],
        Kind::Long { min: 1 },
        "Messages after which the log is made durable. With 1, nothing is acknowledged before it \
         is durable; one fsync serves all that arrived meanwhile.",
    ),
    topic(
        "index.interval.bytes",
        &["log.index.interval.bytes"],
        Kind::Int { min: 0 },
        "Bytes of records between two entries of the offset index.",
    ),
    topic(
        "max.message.bytes",
        &["message.max.bytes"],
        Kind::Int { min: 0 },
        "Largest batch that is accepted, in bytes, as it is sent and as it is stored.",
    ),
    topic(
        "message.timestamp.after.max.ms",
        &["log.message.timestamp.after.max.ms"],
        Kind::Long { min: 0 },
        "How far a record's time may lie in the future, ms, where it is the producer's.",
    ),
    topic(
        "message.timestamp.before.max.ms",
        &["log.message.timestamp.before.max.ms"],
        Kind::Long { min: 0 },
        "How far a record's time may lie in the past, ms, where it is the producer's.",
    ),
    topic(
        "message.timestamp.type",
        &["log.message.timestamp.type"],
        TIMESTAMP_TYPES,
        "Whether a record's time is the producer's or that of its append.",
    ),
    topic(
        "min.insync.replicas",
        &["min.insync.replicas"],
        Kind::Int { min: 1 },
        "Replicas that must be in sync for a produce with acks=all.",
    ),
    topic(
        "retention.bytes",
        &["log.retention.bytes"],
        Kind::Long { min: i64::MIN },
        "Bytes that a partition's log keeps at least; whole segments beyond go, the oldest first. \
         -1 is all.",
    ),
    topic(
        "retention.ms",
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
        Kind::Long { min: -1 },
        "Age of a segment's latest record from which the segment goes, ms; -1 is never.",
    ),
    topic(
        "segment.bytes",
        &["log.segment.bytes"],
        Kind::Int { min: 1_048_576 },
        "Size of a segment at which the next one begins.",
    ),
    topic(
        "segment.index.bytes",
        &["log.index.size.max.bytes"],
        Kind::Int { min: 4 },
        "Size of an index at which the next segment begins.",
    ),
    topic(
        "segment.ms",
        &["log.roll.ms", "log.roll.hours"],
        Kind::Long { min: 1 },
        "Age of a segment's first record at which the next segment begins, ms.",
    ),
];
