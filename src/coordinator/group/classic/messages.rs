//! What members ask, and what they are told.

use std::time::Duration;

use bytes::Bytes;
use ottla_types::ErrorCode;

use super::member::Protocols;
use crate::group::names::{GroupId, MemberId};

/// A request to join.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Join {
    /// The group.
    pub group: GroupId,
    /// Who asks; empty for a new member.
    pub member: MemberId,
    /// Its instance id when it is a static member.
    pub instance: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// Where it connected from.
    pub client_host: String,
    /// How long it may be silent.
    pub session_timeout: Duration,
    /// How long it wants to be waited for.
    pub rebalance_timeout: Duration,
    /// What kind of group it takes this for.
    pub protocol_type: String,
    /// What it supports.
    pub protocols: Protocols,
    /// A text that no other member has, for the id of a new one: a UUID.
    pub unique: String,
    /// Another one, the whole id of a new member of a consumer group: 22 characters of base64.
    pub consumer_id: String,
    /// Whether a new member has to come back with its id (KIP-394).
    pub must_know_id: bool,
    /// Whether it can be told to leave an assignment as it is (KIP-814).
    pub can_skip_assignment: bool,
}

/// The answer to a request to join.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// Why it did not join.
    pub error: ErrorCode,
    /// Its id.
    pub member: MemberId,
    /// The generation; -1 for none.
    pub generation: i32,
    /// What kind of group it is.
    pub protocol_type: Option<String>,
    /// What was chosen.
    pub protocol: Option<String>,
    /// Id of the leader.
    pub leader: Option<MemberId>,
    /// Whether the leader leaves the assignment as it is.
    pub skip_assignment: bool,
    /// For the leader: all members.
    pub members: Vec<JoinedMember>,
}

impl Joined {
    /// A refusal.
    #[must_use]
    pub fn refused(error: ErrorCode, member: MemberId) -> Joined {
        Joined {
            error,
            member,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: None,
            skip_assignment: false,
            members: Vec::new(),
        }
    }
}

/// A member, as its leader is told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinedMember {
    /// Its id.
    pub id: MemberId,
    /// Its instance id.
    pub instance: Option<String>,
    /// What it said about itself in the protocol that was chosen.
    pub metadata: Bytes,
}

/// A request for the assignment, which the leader brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sync {
    /// The group.
    pub group: GroupId,
    /// Who asks.
    pub member: MemberId,
    /// Its instance id.
    pub instance: Option<String>,
    /// The generation that it is in.
    pub generation: i32,
    /// What kind of group it takes this for, if it says.
    pub protocol_type: Option<String>,
    /// What it thinks was chosen, if it says.
    pub protocol: Option<String>,
    /// From the leader: what each member is to do.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// An assignment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synced {
    /// What kind of group it is.
    pub protocol_type: Option<String>,
    /// What was chosen.
    pub protocol: Option<String>,
    /// What the member is to do.
    pub assignment: Bytes,
}

/// A request to be left alone, of members or for them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leave {
    /// The group.
    pub group: GroupId,
    /// Who leaves.
    pub members: Vec<Leaving>,
}

/// A member that leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaving {
    /// Its id; empty when only its instance id is known.
    pub id: MemberId,
    /// Its instance id.
    pub instance: Option<String>,
}
