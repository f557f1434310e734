//! What the active controller knows of brokers beyond the log: when each was last heard, how far
//! it has read the log, and how far its controlled shutdown is.
//!
//! A session belongs to one incarnation. It ends when the broker is silent for too long, when a
//! new incarnation registers, or when its shutdown is granted. (Kafka 4.3 lets the session of a
//! broker that stopped cleanly run out, so that a quick restart is refused until then.)

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{BrokerEpoch, MonoTime, NodeId, Offset};

use crate::image::Image;

/// What is known of one incarnation of a broker.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Session {
    epoch: BrokerEpoch,
    /// Offset of its registration, or one behind it: from there on it is caught up.
    pub(super) registered_at: Offset,
    /// When it was last heard; `None` when it has no live session.
    heard: Option<MonoTime>,
    /// How far it said it has read the log.
    pub(super) metadata_offset: Offset,
    /// Offset at which its controlled shutdown began: others must read up to there before it may
    /// stop, or they would still send clients to it.
    pub(super) shutdown_offset: Option<Offset>,
}

impl Session {
    fn new(epoch: BrokerEpoch, registered_at: Offset) -> Session {
        let metadata_offset = Offset(-1);
        Session { epoch, registered_at, heard: None, metadata_offset, shutdown_offset: None }
    }
}

/// The sessions of all registered brokers.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    timeout: Duration,
    brokers: BTreeMap<NodeId, Session>,
}

impl Sessions {
    pub(super) fn new(timeout: Duration) -> Sessions {
        Sessions { timeout, brokers: BTreeMap::new() }
    }

    /// Begins a session for each broker of the image. One that is unfenced counts as heard now: it
    /// may well have been heard by the controller before this one.
    pub(super) fn begin(&mut self, image: &Image, now: MonoTime) {
        let offset = image.provenance().offset;
        let begun = image.cluster().brokers().map(|broker| {
            let heard = (!broker.fenced).then_some(now);
            (broker.id, Session { heard, ..Session::new(broker.epoch, offset) })
        });
        self.brokers = begun.collect();
    }

    /// Follows the records that begin and end sessions.
    pub(super) fn replay(&mut self, record: &MetadataRecord, offset: Offset) {
        match record {
            MetadataRecord::RegisterBroker(record) => {
                let session = self
                    .brokers
                    .entry(record.broker_id)
                    .or_insert_with(|| Session::new(record.broker_epoch, offset));
                if session.epoch != record.broker_epoch {
                    *session = Session::new(record.broker_epoch, offset);
                }
                session.registered_at = offset;
            }
            MetadataRecord::UnregisterBroker(record) => {
                self.brokers.remove(&record.broker_id);
            }
            _ => {}
        }
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> &mut Session {
        self.brokers.get_mut(&id).expect("every registered broker has a session")
    }

    pub(super) fn get(&self, id: NodeId) -> &Session {
        self.brokers.get(&id).expect("every registered broker has a session")
    }

    /// Notes that the broker was heard.
    pub(super) fn hear(&mut self, id: NodeId, now: MonoTime, metadata_offset: Offset) {
        let session = self.get_mut(id);
        session.heard = Some(now);
        session.metadata_offset = metadata_offset;
    }

    /// Ends a session: the broker is expected to be silent from now on.
    pub(super) fn end(&mut self, id: NodeId) {
        let session = self.get_mut(id);
        session.heard = None;
        session.shutdown_offset = None;
    }

    /// Whether the broker was heard within the timeout.
    pub(super) fn is_live(&self, id: NodeId, now: MonoTime) -> bool {
        let heard = self.brokers.get(&id).and_then(|session| session.heard);
        heard.is_some_and(|heard| now < heard.after(self.timeout))
    }

    /// Whether the broker is about to stop.
    pub(super) fn is_shutting_down(&self, id: NodeId) -> bool {
        self.brokers.get(&id).is_some_and(|session| session.shutdown_offset.is_some())
    }

    /// Ends the session that has been silent for longest, if it has timed out.
    pub(super) fn end_expired(&mut self, now: MonoTime) -> Option<NodeId> {
        let (heard, id) = self.longest_silent()?;
        if now < heard.after(self.timeout) {
            return None;
        }
        self.end(id);
        Some(id)
    }

    /// When the next session times out.
    pub(super) fn next_deadline(&self) -> Option<MonoTime> {
        self.longest_silent().map(|(heard, _)| heard.after(self.timeout))
    }

    fn longest_silent(&self) -> Option<(MonoTime, NodeId)> {
        self.brokers.iter().filter_map(|(id, session)| Some((session.heard?, *id))).min()
    }
}
