//! Which requests are under way, and which peers are left alone for a while.
//!
//! A peer has at most one request of ours at a time (`RequestManager`). A response counts only
//! while its request is under way: after a time-out, or a change of role, which forgets all of
//! them, it says nothing about the state we are in now.

use std::collections::BTreeMap;

use ottla_types::MonoTime;

use super::messages::{CallId, Peer};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Connection {
    Awaiting {
        call: CallId,
        until: MonoTime,
    },
    BackingOff {
        until: MonoTime,
    },
    /// It did not answer in time. It may be asked again, but another might know better.
    Silent,
}

#[derive(Clone, Default, Debug)]
pub(super) struct Requests {
    /// Peers that are not in it are ready.
    connections: BTreeMap<Peer, Connection>,
    calls: u64,
}

impl Requests {
    pub(super) fn is_ready(&self, peer: Peer) -> bool {
        matches!(self.connections.get(&peer), None | Some(Connection::Silent))
    }

    /// Whether a peer is left alone for a while.
    pub(super) fn is_backing_off(&self, peer: Peer) -> bool {
        matches!(self.connections.get(&peer), Some(Connection::BackingOff { .. }))
    }

    /// Whether the last request to a peer timed out; says so once.
    pub(super) fn was_silent(&mut self, peer: Peer) -> bool {
        let silent = self.connections.get(&peer) == Some(&Connection::Silent);
        if silent {
            self.connections.remove(&peer);
        }
        silent
    }

    pub(super) fn any_under_way(&self) -> bool {
        self.connections.values().any(|state| matches!(state, Connection::Awaiting { .. }))
    }

    /// Notes a request that goes out now and will have failed at `until`.
    pub(super) fn sent(&mut self, peer: Peer, until: MonoTime) -> CallId {
        assert!(self.is_ready(peer), "a peer has at most one request of ours");
        self.calls += 1;
        let call = CallId(self.calls);
        self.connections.insert(peer, Connection::Awaiting { call, until });
        call
    }

    /// Takes note of a response: whom it is from, or `None` when it is no longer waited for.
    pub(super) fn received(&mut self, call: CallId) -> Option<Peer> {
        let peer = self.connections.iter().find_map(|(peer, state)| match state {
            Connection::Awaiting { call: awaited, .. } if *awaited == call => Some(*peer),
            _ => None,
        })?;
        self.connections.remove(&peer);
        Some(peer)
    }

    /// Leaves a peer alone until then.
    pub(super) fn back_off(&mut self, peer: Peer, until: MonoTime) {
        self.connections.insert(peer, Connection::BackingOff { until });
    }

    /// Ends what has lasted too long.
    pub(super) fn expire(&mut self, now: MonoTime) {
        self.connections.retain(|_, state| match *state {
            Connection::BackingOff { until } => until > now,
            Connection::Awaiting { until, .. } if until <= now => {
                *state = Connection::Silent;
                true
            }
            Connection::Awaiting { .. } | Connection::Silent => true,
        });
    }

    /// Forgets every request under way.
    pub(super) fn reset(&mut self) {
        self.connections.clear();
    }

    /// When the next thing has lasted too long.
    pub(super) fn deadline(&self) -> Option<MonoTime> {
        let until = |state: &Connection| match state {
            Connection::Awaiting { until, .. } | Connection::BackingOff { until } => Some(*until),
            Connection::Silent => None,
        };
        self.connections.values().filter_map(until).min()
    }
}
