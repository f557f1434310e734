//! What changed from one image to a later one.
//!
//! Replay notes the keys of what it touches; old and new values are looked up in the two images.
//! A publisher that walks a delta so pays for what changed, not for what there is. What was
//! touched and came out the same, or was created and deleted again, is not reported.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use ottla_protocol::metadata::{
    AccessControlEntryRecord, DelegationTokenRecord, UserScramCredentialRecord,
};
use ottla_types::{NodeId, PartitionId, ProducerId, TopicIdPartition, Uuid};

use super::{
    Broker, ConfigMap, ConfigResource, ControllerNode, Image, Partition, QuotaEntity, QuotaMap,
    ScramKey, Topic,
};

/// Keys of what the records replayed were about.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Touched {
    pub(super) topics: BTreeSet<Uuid>,
    pub(super) partitions: BTreeSet<TopicIdPartition>,
    pub(super) brokers: BTreeSet<NodeId>,
    pub(super) controllers: BTreeSet<NodeId>,
    pub(super) features: BTreeSet<String>,
    pub(super) configs: BTreeSet<ConfigResource>,
    pub(super) quotas: BTreeSet<QuotaEntity>,
    pub(super) acls: BTreeSet<Uuid>,
    pub(super) scram: BTreeSet<ScramKey>,
    pub(super) tokens: BTreeSet<String>,
    pub(super) producer_ids: bool,
}

impl Touched {
    /// Partitions that were created, changed, or deleted with their topic.
    pub fn partitions(&self) -> impl Iterator<Item = TopicIdPartition> {
        self.partitions.iter().copied()
    }

    /// Topics that were created or deleted.
    pub fn topics(&self) -> impl Iterator<Item = Uuid> {
        self.topics.iter().copied()
    }

    pub(super) fn partition(&mut self, topic_id: Uuid, partition: PartitionId) {
        self.partitions.insert(TopicIdPartition { topic_id, partition });
    }

    /// Everything in either image: what a snapshot may have changed.
    fn everything(images: [&Image; 2]) -> Touched {
        let mut all = Touched { producer_ids: true, ..Touched::default() };
        for image in images {
            all.topics.extend(image.topics().iter().map(|topic| topic.id));
            for topic in image.topics().iter() {
                topic.partitions().for_each(|(partition, _)| all.partition(topic.id, partition));
            }
            all.brokers.extend(image.cluster().brokers().map(|broker| broker.id));
            all.controllers.extend(image.cluster().controllers().map(|node| node.id));
            all.features.extend(image.features().levels().keys().cloned());
            all.configs.extend(image.configs().iter().map(|(resource, _)| resource.clone()));
            all.quotas.extend(image.quotas().iter().map(|(entity, _)| entity.clone()));
            all.acls.extend(image.acls().iter().map(|acl| acl.id));
            all.scram.extend(
                image
                    .scram()
                    .iter()
                    .map(|it| ScramKey { mechanism: it.mechanism, user: it.name.clone() }),
            );
            all.tokens.extend(image.tokens().iter().map(|token| token.token_id.clone()));
        }
        all
    }
}

/// A value that changed: old and new differ, and one of them may be missing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Changed<'a, K: ?Sized, V: ?Sized> {
    /// What it is of.
    pub key: &'a K,
    /// The value before; `None` when there was none.
    pub old: Option<&'a V>,
    /// The value now; `None` when it is gone.
    pub new: Option<&'a V>,
}

/// A partition that was created, changed or deleted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PartitionDelta<'a> {
    /// Its topic: as it is now, or, when it is deleted, as it was.
    pub topic: &'a Topic,
    /// Its index.
    pub id: PartitionId,
    /// Its registration before; `None` when it is new.
    pub old: Option<&'a Partition>,
    /// Its registration now; `None` when it is deleted.
    pub new: Option<&'a Partition>,
}

/// What a change of a partition asks of one broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LocalChange {
    /// It holds a replica no more.
    Delete,
    /// It leads.
    Lead {
        /// Whether the leader epoch is new to it.
        elected: bool,
    },
    /// It holds a replica that another leads, or that has no leader.
    Follow,
}

impl<'a> PartitionDelta<'a> {
    /// What the change asks of this broker; `None` when it is not concerned.
    #[must_use]
    pub fn local(&self, broker: NodeId) -> Option<LocalChange> {
        let held = |it: Option<&'a Partition>| it.filter(|it| it.replicas.contains(&broker));
        match (held(self.old), held(self.new)) {
            (None, None) => None,
            (Some(_), None) => Some(LocalChange::Delete),
            (_, Some(new)) if new.leader == broker => Some(LocalChange::Lead {
                elected: self.old.is_none_or(|old| old.leader_epoch != new.leader_epoch),
            }),
            (_, Some(_)) => Some(LocalChange::Follow),
        }
    }
}

/// Two images and what differs between them.
#[derive(Clone, Debug)]
pub struct Delta {
    base: Image,
    image: Image,
    touched: Touched,
}

/// Declares readers of what changed in the maps of the image.
macro_rules! changes {
    ($($(#[$doc:meta])* $name:ident: $key:ty => $value:ty, |$image:ident, $at:ident| $get:expr;)*)
    => {$(
        $(#[$doc])*
        pub fn $name(&self) -> impl Iterator<Item = Changed<'_, $key, $value>> {
            fn at<'a>($image: &'a Image, $at: &$key) -> Option<&'a $value> {
                $get
            }
            let keys = self.touched.$name.iter().map(Borrow::<$key>::borrow);
            keys.filter_map(|key| changed(key, at(&self.base, key), at(&self.image, key)))
        }
    )*};
}

impl Delta {
    /// What the records behind `touched` made of `base`.
    #[must_use]
    pub fn new(base: Image, image: Image, touched: Touched) -> Delta {
        Delta { base, image, touched }
    }

    /// Compares two images of which neither was made from the other; O(both).
    #[must_use]
    pub fn between(base: Image, image: Image) -> Delta {
        let touched = Touched::everything([&base, &image]);
        Delta { base, image, touched }
    }

    /// The image before.
    #[must_use]
    pub fn base(&self) -> &Image {
        &self.base
    }

    /// The image after.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Takes the image after out of the delta.
    #[must_use]
    pub fn into_image(self) -> Image {
        self.image
    }

    /// Topics that are new, as they are now.
    pub fn topics_created(&self) -> impl Iterator<Item = &Topic> {
        let is_new = |id: &&Uuid| self.base.topics().by_id(**id).is_none();
        self.touched.topics.iter().filter(is_new).filter_map(|id| self.image.topics().by_id(*id))
    }

    /// Topics that are gone, as they were.
    pub fn topics_deleted(&self) -> impl Iterator<Item = &Topic> {
        let is_gone = |id: &&Uuid| self.image.topics().by_id(**id).is_none();
        self.touched.topics.iter().filter(is_gone).filter_map(|id| self.base.topics().by_id(*id))
    }

    /// Partitions that were created, changed or deleted, by topic id and index.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionDelta<'_>> {
        self.touched.partitions.iter().filter_map(|key| {
            let (old_topic, new_topic) =
                (self.base.topics().by_id(key.topic_id), self.image.topics().by_id(key.topic_id));
            let old = old_topic.and_then(|topic| topic.partition(key.partition));
            let new = new_topic.and_then(|topic| topic.partition(key.partition));
            let topic = new_topic.or(old_topic)?;
            (old != new).then_some(PartitionDelta { topic, id: key.partition, old, new })
        })
    }

    changes! {
        /// Brokers that registered, changed or were removed.
        brokers: NodeId => Broker, |image, id| image.cluster().broker(*id);
        /// Controllers that registered, changed or were removed.
        controllers: NodeId => ControllerNode, |image, id| image.cluster().controller(*id);
        /// Features whose level changed.
        features: str => i16, |image, name| image.features().levels().get(name);
        /// Resources whose configs changed, with all their configs.
        configs: ConfigResource => ConfigMap, |image, resource| image.configs().of(resource);
        /// Entities whose quotas changed, with all their quotas.
        quotas: QuotaEntity => QuotaMap, |image, entity| image.quotas().of(entity);
        /// ACLs that were added or removed.
        acls: Uuid => AccessControlEntryRecord, |image, id| image.acls().get(*id);
        /// SCRAM credentials that were set or removed.
        scram: ScramKey => UserScramCredentialRecord, |image, key| image.scram().get(key);
        /// Delegation tokens that were set or removed.
        tokens: str => DelegationTokenRecord, |image, id| image.tokens().get(id);
    }

    /// First id of the next block of producer ids, if it changed.
    #[must_use]
    pub fn next_producer_id(&self) -> Option<ProducerId> {
        let next = self.image.producer_ids().next();
        (self.touched.producer_ids && next != self.base.producer_ids().next()).then_some(next)
    }
}

fn changed<'a, K: ?Sized, V: PartialEq + ?Sized>(
    key: &'a K,
    old: Option<&'a V>,
    new: Option<&'a V>,
) -> Option<Changed<'a, K, V>> {
    (old != new).then_some(Changed { key, old, new })
}
