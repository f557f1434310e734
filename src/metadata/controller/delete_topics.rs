//! Deletes topics: one RemoveTopicRecord each; partitions and configs go with it.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::metadata::RemoveTopicRecord;
use ottla_types::Uuid;

use super::error::TopicError;
use super::{Controller, Decision, USER_RECORDS_MAX};
use crate::image::Topic;

/// A topic to be deleted, by its name or by its id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TopicSelector {
    /// Its name.
    pub name: Option<String>,
    /// Its id; [`Uuid::ZERO`] when it is named.
    pub topic_id: Uuid,
}

impl TopicSelector {
    /// Why it selects nothing, whatever topics there are.
    #[must_use]
    pub fn fault(&self) -> Option<TopicError> {
        match (&self.name, self.topic_id != Uuid::ZERO) {
            (None, false) => Some(TopicError::NeitherNameNorId),
            (Some(_), true) => Some(TopicError::BothNameAndId),
            _ => None,
        }
    }
}

/// What became of a topic to be deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletedTopic {
    /// Its name, as far as it is known.
    pub name: Option<String>,
    /// Its id, as far as it is known.
    pub topic_id: Uuid,
    /// Why it is still there.
    pub result: Result<(), TopicError>,
}

impl Controller {
    /// Deletes topics. What is asked for twice is not deleted, and reported once; what names no
    /// topic, or one in two ways, each time.
    ///
    /// # Errors
    /// When topics cannot be deleted, or not so many at once.
    pub fn delete_topics(
        &self,
        selectors: &[TopicSelector],
    ) -> Result<Decision<Vec<DeletedTopic>>, TopicError> {
        if !self.settings.delete_topics {
            return Err(TopicError::DeletionDisabled);
        }
        if selectors.len() > USER_RECORDS_MAX {
            return Err(TopicError::TooManyRecords);
        }
        let mut counts: BTreeMap<&TopicSelector, usize> = BTreeMap::new();
        selectors.iter().for_each(|selector| *counts.entry(selector).or_default() += 1);
        let ids: BTreeSet<Uuid> = selectors.iter().map(|selector| selector.topic_id).collect();
        let names: BTreeSet<&str> =
            selectors.iter().filter_map(|selector| selector.name.as_deref()).collect();
        let mut outcomes = Vec::new();
        let mut records = Vec::new();
        for selector in selectors {
            if let Some(error) = selector.fault() {
                let TopicSelector { name, topic_id } = selector.clone();
                outcomes.push(DeletedTopic { name, topic_id, result: Err(error) });
                continue;
            }
            // Taken out with its first occurrence, so that the others find nothing.
            let Some(count) = counts.remove(selector) else { continue };
            let outcome = self.delete_topic(selector, count, &ids);
            // Asked for by its name as well: that is refused where the name stands, and the id is
            // not answered.
            let named_too = outcome.name.as_deref().is_some_and(|name| names.contains(name));
            if selector.name.is_none() && named_too && outcome.result.is_ok() {
                continue;
            }
            if outcome.result.is_ok() {
                records.push(self.record(RemoveTopicRecord { topic_id: outcome.topic_id }));
            }
            outcomes.push(outcome);
        }
        Ok(Decision::atomic(records, outcomes))
    }

    fn delete_topic(
        &self,
        selector: &TopicSelector,
        count: usize,
        ids: &BTreeSet<Uuid>,
    ) -> DeletedTopic {
        let (name, topic_id) = (selector.name.clone(), selector.topic_id);
        let refused = |error| DeletedTopic { name: name.clone(), topic_id, result: Err(error) };
        let found = |topic: &Topic, result| DeletedTopic {
            name: Some(topic.name.to_string()),
            topic_id: topic.id,
            result,
        };
        match &selector.name {
            Some(_) if count > 1 => refused(TopicError::DuplicateName),
            None if count > 1 => refused(TopicError::DuplicateId),
            Some(name) => match self.image.topics().by_name(name) {
                None => refused(TopicError::Unknown),
                Some(topic) if ids.contains(&topic.id) => {
                    found(topic, Err(TopicError::NameOfDuplicateId))
                }
                Some(topic) => found(topic, Ok(())),
            },
            None => match self.image.topics().by_id(topic_id) {
                None => refused(TopicError::UnknownId),
                Some(topic) => found(topic, Ok(())),
            },
        }
    }
}
