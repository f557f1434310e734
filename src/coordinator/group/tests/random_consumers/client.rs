//! A member of a consumer group that behaves well: it reads what it was told and nothing else,
//! gives back in its own time, says what is new about itself, and all of it after an error; when
//! it is refused it drops what it has, and joins anew.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{ErrorCode, PartitionId, TopicName, Uuid};

use super::spoken::{Spoken, Stage};
use crate::group::consumer::{Assignment, ConsumerBeat, ConsumerHeartbeat, Owned, Refusal};
use crate::group::{GroupId, MemberId, Ticket};

pub(super) type Partitions = BTreeSet<(Uuid, PartitionId)>;

pub(super) fn told(assignment: &Assignment) -> Partitions {
    let topics = assignment.0.iter();
    topics.flat_map(|(topic, ids)| ids.iter().map(|id| (*topic, *id))).collect()
}

pub(super) fn all_of(owned: &Owned) -> Partitions {
    owned.iter().flat_map(|(topic, ids)| ids.keys().map(|id| (*topic, *id))).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    /// It is not there.
    Out,
    /// It is a member, or on its way to be one.
    In,
    /// It is there, and says nothing.
    Frozen,
}

#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) number: usize,
    pub(super) group: GroupId,
    pub(super) id: MemberId,
    pub(super) instance: Option<String>,
    pub(super) life: Life,
    /// The epoch that it was told; 0 while it joins.
    pub(super) epoch: i32,
    /// What it reads.
    pub(super) owns: Partitions,
    /// What it was told to read.
    pub(super) told: Partitions,
    pub(super) topics: BTreeSet<TopicName>,
    pub(super) assignor: Option<String>,
    pub(super) rebalance_ms: i32,
    /// Whether it says all of itself next.
    pub(super) is_full: bool,
    said_topics: BTreeSet<TopicName>,
    said_owned: Partitions,
    /// Of one that speaks the classic protocol.
    pub(super) spoken: Option<Spoken>,
    /// The answer that it waits for.
    pub(super) waits: Option<Ticket>,
    /// What it has sent since it has its id.
    pub(super) sent: Vec<ConsumerHeartbeat>,
    /// It was put out of the group, and has not heard of it: what it reads counts for nothing.
    pub(super) is_void: bool,
    lives: u32,
}

impl Client {
    pub(super) fn new(number: usize, group: GroupId, instance: Option<String>) -> Client {
        Client {
            number,
            group,
            id: MemberId::from(""),
            instance,
            life: Life::Out,
            epoch: 0,
            owns: Partitions::new(),
            told: Partitions::new(),
            topics: BTreeSet::new(),
            assignor: None,
            rebalance_ms: 60_000,
            is_full: true,
            said_topics: BTreeSet::new(),
            said_owned: Partitions::new(),
            spoken: None,
            waits: None,
            sent: Vec::new(),
            is_void: false,
            lives: 0,
        }
    }

    /// It begins, under a new id or its old one.
    pub(super) fn start(&mut self, keeps_id: bool) {
        if !keeps_id || self.lives == 0 {
            self.lives += 1;
            self.id = MemberId::from(format!("c{}-{}", self.number, self.lives).as_str());
        }
        self.life = Life::In;
        self.begin_anew();
    }

    /// It has nothing, and joins.
    fn begin_anew(&mut self) {
        self.epoch = 0;
        self.owns.clear();
        self.told.clear();
        self.sent.clear();
        (self.is_full, self.is_void, self.waits) = (true, false, None);
        if let Some(spoken) = &mut self.spoken {
            spoken.stage = Stage::Out;
        }
    }

    /// It is gone, from one moment to the next.
    pub(super) fn stop(&mut self) {
        self.begin_anew();
        self.life = Life::Out;
    }

    pub(super) fn has_to_revoke(&self) -> bool {
        !self.owns.is_subset(&self.told)
    }

    /// It reads what it was told.
    pub(super) fn follow(&mut self) {
        self.owns = self.told.clone();
    }

    /// What it says next.
    pub(super) fn beat(&mut self) -> ConsumerHeartbeat {
        let is_full = self.is_full || self.epoch == 0;
        let says_topics = is_full || self.topics != self.said_topics;
        let says_owned = is_full || self.owns != self.said_owned;
        let owned = says_owned.then(|| {
            let mut owned: BTreeMap<Uuid, Vec<PartitionId>> = BTreeMap::new();
            self.owns.iter().for_each(|(topic, id)| owned.entry(*topic).or_default().push(*id));
            owned.into_iter().collect()
        });
        let request = ConsumerHeartbeat {
            group: self.group.clone(),
            member: self.id.clone(),
            epoch: self.epoch,
            instance: self.instance.clone(),
            rack: None,
            rebalance_timeout_ms: is_full.then_some(self.rebalance_ms),
            topics: says_topics.then(|| self.topics.iter().cloned().collect()),
            regex: None,
            assignor: self.assignor.clone().filter(|_| is_full),
            owned,
            client_id: format!("client{}", self.number),
            client_host: "/127.0.0.1".to_owned(),
        };
        self.said_topics = self.topics.clone();
        self.said_owned = self.owns.clone();
        self.is_full = false;
        self.sent.push(request.clone());
        request
    }

    /// A heartbeat with which it leaves, with nothing more to read.
    pub(super) fn leaves(&mut self, epoch: i32) -> ConsumerHeartbeat {
        let said = self.beat();
        let request = ConsumerHeartbeat {
            epoch,
            rebalance_timeout_ms: None,
            topics: None,
            regex: None,
            assignor: None,
            owned: None,
            ..said
        };
        self.stop();
        request
    }

    /// No answer came; maybe it was on its way.
    pub(super) fn gives_up(&mut self) {
        (self.waits, self.is_full) = (None, true);
    }

    pub(super) fn hears(&mut self, told: Result<ConsumerBeat, Refusal>) {
        self.waits = None;
        match told {
            Ok(beat) => {
                assert_eq!(beat.member, self.id);
                assert!(beat.epoch >= self.epoch, "{self:?} goes back to {}", beat.epoch);
                assert!(beat.epoch > 0, "{self:?} is told {}", beat.epoch);
                self.epoch = beat.epoch;
                if let Some(assignment) = beat.assignment {
                    self.told = self::told(&assignment);
                }
                if !self.has_to_revoke() {
                    self.follow();
                }
            }
            Err(refusal) => match refusal.error {
                ErrorCode::FencedInstanceId => self.start(false),
                // Another of its instance id has not left: it tries until that one is out.
                ErrorCode::UnreleasedInstanceId => self.begin_anew(),
                ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId => self.begin_anew(),
                ErrorCode::GroupIdNotFound => self.begin_anew(),
                error => panic!("{self:?} is refused: {error:?}"),
            },
        }
    }
}
