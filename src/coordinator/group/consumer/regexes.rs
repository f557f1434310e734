//! Patterns that members subscribe by (KIP-848), and the topics that they stand for.
//!
//! ```text
//!   heartbeat with a new pattern ──> member's record ──> answer, still without its topics
//!                └─ Resolve ──> looked up beside the shard ──> Found ──> records, group epoch + 1
//!   next heartbeat ──> target, with the topics
//! ```
//! - A pattern is looked up once for all members that subscribe by it. What it stands for is a
//!   record; so all see the same topics until it is looked up again, and the record says by which
//!   version of the metadata.
//! - It is looked up when it is new to the group, when topics were created since, and in any case
//!   every `group.consumer.regex.refresh.interval.ms`: not more often than every ten seconds, by a
//!   heartbeat, and on behalf of its sender: topics that it may not describe are left out, for the
//!   whole group.
//! - When its last member goes, or wants something else, what it stood for is forgotten.
//!
//! Source: `GroupMetadataManager.maybeUpdateRegularExpressions`,
//! `handleRegularExpressionsResult`, `TopicRegexResolver` of Kafka.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::coordinator::group::GroupRecord;
use ottla_types::{ErrorCode, Timestamp, TopicName};

use super::cluster::Cluster;
use super::hash::metadata_hash;
use super::member::ConsumerMember;
use super::messages::Refusal;
use super::pattern::Pattern;
use super::records;
use super::state::Resolved;
use crate::group::change::Change;
use crate::group::effect::{Effects, Then};
use crate::group::{GroupId, GroupShard, Now, Slot};

/// Shortest time between two look-ups of a group's patterns, ms.
const REFRESH_MIN_MS: i64 = 10_000;

/// Patterns that are to be looked up, without the shard's lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolve {
    /// The group.
    pub group: GroupId,
    /// All of its patterns.
    pub patterns: BTreeSet<String>,
}

/// What patterns stand for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    group: GroupId,
    topics: BTreeMap<String, BTreeSet<TopicName>>,
    version: i64,
    at: Timestamp,
}

impl Resolve {
    /// Looks the patterns up; `may_see` says which topics may be told of.
    #[must_use]
    pub fn look_up(
        self,
        at: Timestamp,
        cluster: &dyn Cluster,
        may_see: &dyn Fn(&str) -> bool,
    ) -> Found {
        // One that was good when its member came, and is bad now, stands for nothing.
        let compiled = |text: String| (Pattern::new(&text).ok(), text, BTreeSet::new());
        let mut all: Vec<_> = self.patterns.into_iter().map(compiled).collect();
        cluster.each_topic(&mut |name| {
            let mut seen = None;
            for (pattern, _, topics) in &mut all {
                if pattern.as_ref().is_some_and(|pattern| pattern.matches(name))
                    && *seen.get_or_insert_with(|| may_see(name))
                {
                    topics.insert(name.clone());
                }
            }
        });
        let topics = all.into_iter().map(|(_, text, topics)| (text, topics)).collect();
        Found { group: self.group, topics, version: cluster.version(), at }
    }
}

/// What a change of a member's pattern means for its group.
#[derive(Default)]
pub(super) struct Followed {
    /// Whether the member subscribes by another pattern.
    pub(super) is_changed: bool,
    /// Whether it is known what that means, so that another assignment is due.
    pub(super) is_resolved: bool,
    /// What is to be looked up.
    pub(super) resolve: Option<Resolve>,
}

impl GroupShard {
    /// Follows a member's pattern from one heartbeat to the next.
    ///
    /// # Errors
    /// `INVALID_REGULAR_EXPRESSION`.
    pub(super) fn follow_regex(
        &self,
        now: Now,
        id: &GroupId,
        (old, new): (&ConsumerMember, &ConsumerMember),
        out: &mut Vec<GroupRecord>,
    ) -> Result<Followed, Refusal> {
        let mut counts =
            self.consumers.index(id).map_or_else(BTreeMap::new, |index| index.regexes().clone());
        let had_some = !counts.is_empty();
        let mut followed = Followed::default();
        let mut is_new = false;
        if old.regex != new.regex {
            followed.is_changed = true;
            if counts.get(&old.regex) == Some(&1) {
                out.push(records::no_regex(id, &old.regex));
            }
            if new.regex.is_empty() {
                followed.is_resolved = true;
            } else if !counts.contains_key(&new.regex) {
                check_pattern(&new.regex)?;
                is_new = true;
            } else {
                followed.is_resolved = self.consumers.regex(id, &new.regex).is_some();
            }
            count(&mut counts, &old.regex, &new.regex);
        }
        if (is_new || had_some) && self.wants_look_up(now, id, counts.len(), is_new) {
            let patterns: BTreeSet<String> = counts.into_keys().collect();
            if !patterns.is_empty() {
                followed.resolve = Some(Resolve { group: id.clone(), patterns });
            }
        }
        Ok(followed)
    }

    /// Whether the patterns of a group, so many of them, are to be looked up.
    fn wants_look_up(&self, now: Now, id: &GroupId, count: usize, is_new: bool) -> bool {
        if self.consumers.is_resolving(id) {
            return false;
        }
        let resolved = self.consumers.first_regex(id);
        let Some(last) = resolved else { return true };
        // A time that is still to come is of a clock that was set back since: it holds nothing up.
        let is_past = last.at.0 <= now.wall.0;
        if is_past && now.wall.0 <= last.at.0.saturating_add(REFRESH_MIN_MS) {
            return false;
        }
        let interval = i64::try_from(self.config.consumer_regex_refresh_interval.as_millis());
        is_new
            || !is_past
            || count != self.consumers.regexes(id).count()
            || last.version < self.newest_topics
            || now.wall.0 > last.at.0.saturating_add(interval.unwrap_or(i64::MAX))
    }

    /// The patterns of a group were looked up.
    pub fn regexes_found(&mut self, found: Found, out: &mut Effects) {
        let Found { group: id, topics: all, version, at } = found;
        self.consumers.set_resolving(&id, false);
        if !matches!(self.slots.get(&id), Some(Slot::Consumer)) {
            return;
        }
        let index = self.consumers.index(&id).expect("a consumer group has an index");
        // What nobody subscribes by any more is not kept.
        let all: BTreeMap<_, _> =
            all.into_iter().filter(|(regex, _)| index.regexes().contains_key(regex)).collect();
        let mut names: BTreeSet<TopicName> = index.topics().keys().cloned().collect();
        for (regex, topics) in &all {
            names.extend(topics.iter().cloned());
            debug_assert!(!regex.is_empty(), "a pattern is not empty");
        }
        let others = self.consumers.regexes(&id).filter(|regex| !all.contains_key(*regex));
        for regex in others {
            let topics = self.consumers.regex(&id, regex).map(|it| it.topics.clone());
            names.extend(topics.unwrap_or_default());
        }
        let none = BTreeSet::new();
        let is_other = |(regex, topics): (&String, &BTreeSet<TopicName>)| {
            let old = self.consumers.regex(&id, regex);
            old.map_or(&none, |old| &old.topics) != topics
        };
        let mut is_due = all.iter().any(is_other);
        let head = self.consumers.head(&id);
        let hash = metadata_hash(&names, &*self.cluster);
        is_due |= hash != head.metadata_hash;
        let mut changes: Vec<GroupRecord> = all
            .into_iter()
            .map(|(regex, topics)| records::regex(&id, &regex, &Resolved { topics, version, at }))
            .collect();
        if is_due {
            changes.push(records::epoch(&id, head.epoch.saturating_add(1), hash));
        }
        if changes.is_empty() {
            return;
        }
        let changes: Vec<Change> =
            changes.into_iter().map(|record| Change::Consumer(Box::new(record))).collect();
        self.write(&changes, Then::Nothing, out);
        if is_due && let Some(index) = self.consumers.index_mut(&id) {
            index.is_fresh = true;
        }
    }
}

fn count(counts: &mut BTreeMap<String, usize>, old: &str, new: &str) {
    if let Some(count) = counts.get_mut(old) {
        *count -= 1;
        if *count == 0 {
            counts.remove(old);
        }
    }
    if !new.is_empty() {
        *counts.entry(new.to_owned()).or_default() += 1;
    }
}

fn check_pattern(regex: &str) -> Result<(), Refusal> {
    let Err(what) = Pattern::new(regex) else { return Ok(()) };
    let text = format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {what}.");
    Err(Refusal::new(ErrorCode::InvalidRegularExpression, text))
}
