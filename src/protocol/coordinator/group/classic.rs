//! Groups of the classic protocol (type 2).

use bytes::Bytes;
use ottla_types::Timestamp;

use crate::message::messages;

messages! {
    /// A group.
    pub struct GroupMetadataKey { versions: 0..=0, flexible: none;
        /// Its id.
        group: String => 0+,
    }

    /// A member of a group.
    pub struct MemberMetadata { versions: 0..=4, flexible: 4, keeps: unknown_tags;
        /// Its id.
        member_id: String => 0+,
        /// Its instance id when it is a static member (KIP-345).
        group_instance_id: Option<String> => 3+,
        /// Its client id.
        client_id: String => 0+,
        /// Where it connected from.
        client_host: String => 0+,
        /// How long the group waits for it to join again, ms.
        rebalance_timeout: i32 = -1 => 1+,
        /// How long it may be silent, ms.
        session_timeout: i32 => 0+,
        /// What it said about itself in the protocol that was chosen.
        subscription: Bytes => 0+,
        /// What the leader assigned to it.
        assignment: Bytes => 0+,
    }

    /// The state of a group after a rebalance.
    pub struct GroupMetadataValue { versions: 0..=4, flexible: 4, keeps: unknown_tags;
        /// "consumer", "connect" or another kind of group.
        protocol_type: String => 0+,
        /// Generation; counts the rebalances.
        generation: i32 => 0+,
        /// The assignor that was chosen.
        protocol: Option<String> => 0+,
        /// Member id of the leader.
        leader: Option<String> => 0+,
        /// When the group came into its state; -1 when it is not known.
        current_state_timestamp: Timestamp = Timestamp(-1) => 2+,
        /// The members.
        members: Vec<MemberMetadata> => 0+,
    }
}
