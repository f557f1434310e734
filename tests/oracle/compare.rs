//! What must be equal in two answers, and the short list of what need not be.
//!
//! Ids that both sides gave to the same thing are the same. What else may differ anywhere is in
//! [`REASONS`]; what differs in single rows is in `differences.txt`, each with its reason, and a
//! line there that nothing needs any more is a failure, so that the list only shrinks.

use std::collections::{BTreeMap, BTreeSet};

use crate::Listener;
use crate::cases::Known;
use crate::value::Value;

/// Fields that may differ, and why. A path has the names without the indexes; `*` is any API.
const REASONS: &[(&str, &str, Reason, &str)] = &[
    ("*", "throttle_time_ms", Reason::Differs, "time: nobody is throttled for the same time"),
    ("*", "cluster_id", Reason::Differs, "id: each cluster has its own"),
    ("*", "brokers.port", Reason::Differs, "port: each broker has its own"),
    ("*", "node_endpoints.port", Reason::Differs, "port: each broker has its own"),
    ("FindCoordinator", "port", Reason::Differs, "port: each broker has its own"),
    ("FindCoordinator", "coordinators.port", Reason::Differs, "port: each broker has its own"),
    ("ListGroups", "groups", Reason::AnyOrder, "order: that of partitions in a Java map"),
    ("OffsetCommit", "topics", Reason::AnyOrder, "order: Kafka tells refusals first"),
    ("OffsetCommit", "topics.partitions", Reason::AnyOrder, "order: Kafka tells refusals first"),
    ("OffsetDelete", "topics", Reason::AnyOrder, "order: Kafka tells refusals first"),
    ("OffsetDelete", "topics.partitions", Reason::AnyOrder, "order: Kafka tells refusals first"),
    ("DeleteGroups", "results", Reason::AnyOrder, "order: Kafka tells refusals first"),
    ("OffsetFetch", "topics.partitions", Reason::AnyOrder, "order: that of a Java map"),
    ("OffsetFetch", "groups.topics.partitions", Reason::AnyOrder, "order: that of a Java map"),
    ("JoinGroup", "member_id", Reason::Id, "id: given once"),
    ("JoinGroup", "leader", Reason::Id, "id: given once"),
    ("JoinGroup", "members.member_id", Reason::Id, "id: given once"),
    ("LeaveGroup", "members.member_id", Reason::Id, "id: given once"),
    ("DescribeGroups", "groups.members.member_id", Reason::Id, "id: given once"),
    ("ConsumerGroupHeartbeat", "member_id", Reason::Id, "id: given once"),
    ("ConsumerGroupDescribe", "groups", Reason::AnyOrder, "order: Kafka tells refusals first"),
    ("ConsumerGroupDescribe", "groups.members", Reason::AnyOrder, "order: that of a Java map"),
    ("ConsumerGroupDescribe", "groups.members.member_id", Reason::Id, "id: given once"),
    (
        "ConsumerGroupDescribe",
        "groups.members.subscribed_topic_names",
        Reason::AnyOrder,
        "order: that of a Java set",
    ),
    ("Produce", "responses.partition_responses.log_append_time_ms", Reason::Time, "time: by clock"),
    ("DescribeConfigs", "results.configs", Reason::Common, "what nothing reads is not shown"),
    ("DescribeLogDirs", "results.log_dir", Reason::Differs, "id: each has its own path"),
    ("DescribeLogDirs", "results.total_bytes", Reason::Differs, "id: each has its own disk"),
    ("DescribeLogDirs", "results.usable_bytes", Reason::Differs, "time: a disk fills"),
    ("DescribeLogDirs", "results.topics", Reason::AnyOrder, "order: that of a Java map"),
    ("DescribeLogDirs", "results.topics.partitions", Reason::AnyOrder, "order: that of a Java map"),
    ("InitProducerId", "producer_id", Reason::Differs, "id: given once"),
    ("ApiVersions", "finalized_features_epoch", Reason::Differs, "id: an offset of the metadata"),
    ("ApiVersions", "api_keys", Reason::Common, "what is not built yet is not shown"),
    ("ApiVersions", "supported_features", Reason::Common, "what is not built is not shown"),
    ("ApiVersions", "finalized_features", Reason::Common, "what is not built is not shown"),
    ("DescribeQuorum", "nodes.listeners.port", Reason::Differs, "port: each broker has its own"),
    ("DescribeQuorum", "topics.partitions.high_watermark", Reason::Differs, "id: an offset"),
    (
        "DescribeQuorum",
        "topics.partitions.current_voters.log_end_offset",
        Reason::Differs,
        "id: an offset",
    ),
    (
        "DescribeQuorum",
        "topics.partitions.current_voters.replica_directory_id",
        Reason::Differs,
        "id: given once",
    ),
    (
        "DescribeQuorum",
        "topics.partitions.current_voters.last_fetch_timestamp",
        Reason::Time,
        "time: by clock",
    ),
    (
        "DescribeQuorum",
        "topics.partitions.current_voters.last_caught_up_timestamp",
        Reason::Time,
        "time: by clock",
    ),
    ("ElectLeaders", "replica_election_results", Reason::AnyOrder, "order: that of a Java map"),
    ("UpdateFeatures", "results", Reason::AnyOrder, "order: that of a Java map"),
    ("AlterReplicaLogDirs", "results", Reason::AnyOrder, "order: that of a Java map"),
    ("AlterReplicaLogDirs", "results.partitions", Reason::AnyOrder, "order: that of a Java map"),
    ("ListConfigResources", "config_resources", Reason::AnyOrder, "order: that of a Java map"),
    ("Metadata", "topics", Reason::AnyOrder, "order: that of a Java map"),
    ("Metadata", "topics.partitions", Reason::AnyOrder, "order: that of a Java map"),
    ("CreateTopics", "topics", Reason::AnyOrder, "order: that of a Java map"),
    ("CreateTopics", "topics.configs", Reason::Common, "what nothing reads is not shown"),
    ("DeleteTopics", "responses", Reason::AnyOrder, "order: that of a Java map"),
    ("Produce", "responses", Reason::AnyOrder, "order: that of a Java map"),
    ("Produce", "responses.partition_responses", Reason::AnyOrder, "order: that of a Java map"),
    ("ListOffsets", "topics", Reason::AnyOrder, "order: that of a Java map"),
    ("ListOffsets", "topics.partitions", Reason::AnyOrder, "order: that of a Java map"),
    ("DeleteRecords", "topics", Reason::AnyOrder, "order: that of a Java map"),
    ("DeleteRecords", "topics.partitions", Reason::AnyOrder, "order: that of a Java map"),
];

/// Fields by which elements of lists are known.
const NAMES: [&str; 10] = [
    "name",
    "topic",
    "topic_name",
    "resource_type",
    "resource_name",
    "api_key",
    "topic_id",
    "partition_index",
    "partition_id",
    "index",
];

/// How a field may differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It may hold anything.
    Differs,
    /// It is a text of the same length.
    Id,
    /// It is a time on both sides, or on neither.
    Time,
    /// Its elements may come in any order.
    AnyOrder,
    /// Elements that one side alone has (by their first field) are passed over, in any order.
    Common,
}

/// Two answers to the same request, side by side.
pub struct Pair<'a> {
    /// Name of the API.
    pub api: &'a str,
    /// What is known of each side: Kafka's, and ours.
    pub known: [&'a Known; 2],
}

impl Pair<'_> {
    /// Paths and values that differ.
    #[must_use]
    pub fn differences(&self, theirs: &Value, ours: &Value) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let named: Vec<BTreeMap<[u8; 16], &str>> = self
            .known
            .iter()
            .map(|known| known.ids.iter().map(|(name, id)| (*id, name.as_str())).collect())
            .collect();
        let theirs = with_names(theirs, &named[0]);
        let ours = with_names(ours, &named[1]);
        self.walk("", &theirs, &ours, &mut found);
        found
    }

    fn reason(&self, path: &str) -> Option<Reason> {
        let path = without_names(path);
        let is_for = |api: &str| api == "*" || api == self.api;
        REASONS.iter().find(|(api, of, ..)| is_for(api) && *of == path).map(|row| row.2)
    }

    fn walk(&self, path: &str, theirs: &Value, ours: &Value, found: &mut Vec<(String, String)>) {
        let reason = self.reason(path);
        match (theirs, ours) {
            _ if reason == Some(Reason::Differs) => {}
            (Value::Int(1..), Value::Int(1..)) if reason == Some(Reason::Time) => {}
            (Value::Text(theirs), Value::Text(ours))
                if reason == Some(Reason::Id) && theirs.len() == ours.len() => {}
            (Value::Struct(theirs), Value::Struct(ours)) => {
                let names: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
                for name in names {
                    let dot = if path.is_empty() { "" } else { "." };
                    let path = format!("{path}{dot}{name}");
                    match (theirs.get(name), ours.get(name)) {
                        (Some(theirs), Some(ours)) => self.walk(&path, theirs, ours, found),
                        (theirs, ours) => found.push((path, one_sided(theirs, ours))),
                    }
                }
            }
            (Value::List(theirs), Value::List(ours)) => {
                let (theirs, ours) = match reason {
                    None => (theirs.clone(), ours.clone()),
                    Some(reason) => arranged(theirs, ours, reason),
                };
                if theirs.len() != ours.len() {
                    let shown = format!("{} / {}", Value::List(theirs), Value::List(ours));
                    found.push((path.to_owned(), shown));
                    return;
                }
                for (theirs, ours) in theirs.iter().zip(&ours) {
                    let place = match key(theirs) {
                        key if key.is_empty() => path.to_owned(),
                        key => format!("{path}{{{}}}", key.trim_end().replace(['"', '{', '}'], "")),
                    };
                    self.walk(&place, theirs, ours, found);
                }
            }
            (theirs, ours) if theirs == ours => {}
            (theirs, ours) => found.push((path.to_owned(), format!("{theirs} / {ours}"))),
        }
    }
}

/// A path without what its elements are called.
fn without_names(path: &str) -> String {
    let parts = path.split('{').enumerate();
    let kept = parts.filter_map(|(at, part)| match at {
        0 => Some(part),
        _ => part.split_once('}').map(|(_, rest)| rest),
    });
    kept.collect()
}

/// How a field is shown that one side lacks.
fn one_sided(theirs: Option<&Value>, ours: Option<&Value>) -> String {
    let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), ToString::to_string);
    format!("{} / {}", shown(theirs), shown(ours))
}

/// What an element of a list is called, if it is called something.
fn key(value: &Value) -> String {
    let Value::Struct(fields) = value else { return String::new() };
    let values = NAMES.iter().filter_map(|name| fields.get(*name));
    values.map(|value| format!("{value} ")).collect()
}

/// Both lists in the same order, as far as their elements have the same names or keys.
fn arranged(theirs: &[Value], ours: &[Value], reason: Reason) -> (Vec<Value>, Vec<Value>) {
    let key = |value: &Value| match value {
        Value::Struct(_) => key(value),
        other => other.to_string(),
    };
    let sorted = |values: &[Value], others: &[Value]| {
        let there: BTreeSet<_> = others.iter().map(key).collect();
        let kept = values.iter().filter(|it| reason != Reason::Common || there.contains(&key(it)));
        let mut kept: Vec<_> = kept.cloned().collect();
        kept.sort_by_key(|value| (key(value), value.to_string()));
        kept
    };
    (sorted(theirs, ours), sorted(ours, theirs))
}

/// Ids of topics are replaced by the topics' names.
fn with_names(value: &Value, names: &BTreeMap<[u8; 16], &str>) -> Value {
    match value {
        Value::Uuid(id) => match names.get(id) {
            Some(name) => Value::Text(format!("id of {name}")),
            None => value.clone(),
        },
        Value::List(values) => {
            Value::List(values.iter().map(|value| with_names(value, names)).collect())
        }
        Value::Struct(fields) => {
            let fields = fields.iter().map(|(name, of)| (name.clone(), with_names(of, names)));
            Value::Struct(fields.collect())
        }
        other => other.clone(),
    }
}

/// What rows of the quorum's listener begin with in `differences.txt`.
const OF_QUORUM: &str = "quorum: ";

/// A line of `differences.txt`: `API / ROW / PATH: reason`, behind `quorum: ` for that listener.
/// Behind a row's name may stand versions (`[4-]`); a `*` at its end, or at that of a path, stands
/// for any end. Elements of lists may be called by name (`results{4 1}.configs{log.dirs}`), or are
/// meant all. `answer` as a path is whether, and how, there is an answer at all. A line that begins
/// with `? ` is an open question: it may turn out to be needless.
pub struct Declared {
    is_open: bool,
    line: String,
    api: String,
    row: String,
    versions: (i16, i16),
    path: String,
}

/// Reads `differences.txt`.
///
/// # Errors
/// The line that cannot be read.
pub fn declared(text: &str, listener: Listener) -> Result<Vec<Declared>, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines = lines.filter_map(|line| match (line.strip_prefix(OF_QUORUM), listener) {
        (Some(line), Listener::Quorum) => Some(line),
        (None, Listener::Clients) => Some(line),
        _ => None,
    });
    let read = |line: &str| {
        let is_open = line.starts_with("? ");
        let line = line.trim_start_matches("? ");
        let (place, reason) = line.split_once(": ").ok_or_else(|| format!("no reason: {line}"))?;
        let parts: Vec<_> = place.split(" / ").collect();
        let [api, row, path] = parts.try_into().map_err(|_| format!("not three parts: {line}"))?;
        if reason.trim().is_empty() {
            return Err(format!("no reason: {line}"));
        }
        let of = |text: &str| text.trim().to_owned();
        let (row, range) = row.split_once(" [").unwrap_or((row, "-"));
        let range = range.trim_end_matches(']');
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str, other| match text.is_empty() {
            true => Ok(other),
            false => text.parse().map_err(|_| format!("no versions: {line}")),
        };
        let versions = (number(from, 0)?, number(to, i16::MAX)?);
        let (api, row, path) = (of(api), of(row), of(path));
        Ok(Declared { is_open, line: line.to_owned(), api, row, versions, path })
    };
    lines.map(read).collect()
}

impl Declared {
    /// Whether it is about this difference.
    #[must_use]
    pub fn is_about(&self, api: &str, row: &str, version: i16, path: &str) -> bool {
        let of_versions = (self.versions.0..=self.versions.1).contains(&version);
        let row_fits = match self.row.strip_suffix('*') {
            Some(begin) => row.starts_with(begin),
            None => row == self.row,
        };
        let path_fits = |path: &str| match self.path.strip_suffix('*') {
            Some(begin) => path.starts_with(begin),
            None => path == self.path,
        };
        let path_fits = path_fits(path) || path_fits(&without_names(path));
        self.api == api && row_fits && of_versions && path_fits
    }

    /// Whether it may be needless.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// As it stands in the file.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }
}
