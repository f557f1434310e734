//! A member of a classic group.

use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::coordinator::group::classic::MemberMetadata;

use crate::group::effect::Ticket;
use crate::group::names::MemberId;

/// The protocols that a member supports, the preferred one first, each with what the member says
/// about itself in it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Protocols(pub Vec<(String, Bytes)>);

impl Protocols {
    /// What the member says about itself in a protocol.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Bytes> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, said)| said.clone())
    }

    /// The names, the preferred one first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// A member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Its instance id when it is a static member.
    pub instance: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// Where it connected from, as Java prints it.
    pub client_host: String,
    /// How long the group waits for it to join again.
    pub rebalance_timeout: Duration,
    /// How long it may be silent.
    pub session_timeout: Duration,
    /// What it supports.
    pub protocols: Protocols,
    /// What the leader assigned to it in this generation.
    pub assignment: Bytes,
    /// Whether it joined and no rebalance has ended since: it does not know its id yet, and cannot
    /// send heartbeats.
    pub is_new: bool,
    /// Who waits for its JoinGroup.
    pub awaiting_join: Option<Ticket>,
    /// Who waits for its SyncGroup.
    pub awaiting_sync: Option<Ticket>,
}

impl Member {
    /// The member that a record describes. It is known in the chosen protocol only.
    #[must_use]
    pub fn loaded(record: MemberMetadata, protocol: &str) -> Member {
        let ms = |ms: i32| Duration::from_millis(u64::from(ms.max(0).unsigned_abs()));
        let session_timeout = ms(record.session_timeout);
        Member {
            id: MemberId::from(record.member_id.as_str()),
            instance: record.group_instance_id,
            client_id: record.client_id,
            client_host: record.client_host,
            // Version 0 had one timeout for both.
            rebalance_timeout: match record.rebalance_timeout {
                -1 => session_timeout,
                own => ms(own),
            },
            session_timeout,
            protocols: Protocols(vec![(protocol.to_owned(), record.subscription)]),
            assignment: record.assignment,
            is_new: false,
            awaiting_join: None,
            awaiting_sync: None,
        }
    }

    /// Whether its silence does not count: it waits for the coordinator.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}
