//! Where requests are at home, and which thread serves a connection therefore.
//!
//! A connection begins on a data thread. The first request of a group moves it to the thread of
//! groups, which no write of data can hold up; clients have a connection of its own for their
//! coordinator. One that asks for data there as well is shared by its client: it goes back, and
//! stays.

use bytes::Bytes;
use ottla_protocol::{ApiKey, RequestPrefix};
use ottla_runtime::Plane;

/// Where a request is at home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Home {
    /// With the groups.
    Groups,
    /// With the data, and whatever else may read or write files.
    Data,
    /// Wherever its connection is.
    Anywhere,
}

impl Home {
    fn of(key: ApiKey) -> Home {
        match key {
            ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::ConsumerGroupHeartbeat
            | ApiKey::OffsetCommit
            | ApiKey::OffsetFetch => Home::Groups,
            ApiKey::ApiVersions
            | ApiKey::Metadata
            | ApiKey::FindCoordinator
            | ApiKey::DescribeGroups
            | ApiKey::ConsumerGroupDescribe
            | ApiKey::ListGroups
            | ApiKey::DeleteGroups
            | ApiKey::OffsetDelete
            // Producers have no connection of their own for the group that they read with.
            | ApiKey::TxnOffsetCommit
            // Nor for the coordinator of their transactions.
            | ApiKey::InitProducerId
            | ApiKey::AddPartitionsToTxn
            | ApiKey::AddOffsetsToTxn
            | ApiKey::EndTxn
            | ApiKey::DescribeTransactions
            | ApiKey::ListTransactions => Home::Anywhere,
            _ => Home::Data,
        }
    }
}

/// Whether a request reads what others before it on the connection may be about to commit.
fn reads_groups(key: ApiKey) -> bool {
    matches!(
        key,
        ApiKey::OffsetFetch
            | ApiKey::DescribeGroups
            | ApiKey::ConsumerGroupDescribe
            | ApiKey::ListGroups
    )
}

/// The threads that a connection knows.
pub struct Planes {
    /// Where it began.
    first: Plane,
    now: Plane,
    /// Whether it does not move any more.
    stays: bool,
}

impl Planes {
    /// A connection that begins on this one.
    #[must_use]
    pub fn new(first: Plane) -> Planes {
        // Those of the quorum are not clients'.
        Planes { first, now: first, stays: first == Plane::Control }
    }

    /// Where the connection has to be, with nothing in work, before it begins a request; `None`
    /// where it may begin at once. One that has something in work does not leave its data thread
    /// for a group's sake. Who reads what a group committed sees what the same connection
    /// committed before: with Kafka one request of a connection ends before the next one begins.
    #[must_use]
    pub fn before(&mut self, frame: &Bytes, is_idle: bool) -> Option<Plane> {
        let prefix = RequestPrefix::read(frame).ok()?;
        let key = ApiKey::from_code(prefix.api_key)?;
        match (self.now, Home::of(key)) {
            (Plane::Groups, Home::Data) => {
                self.stays = true;
                self.now = self.first;
                Some(self.now)
            }
            (Plane::Data(_), Home::Groups) if is_idle && !self.stays => {
                self.now = Plane::Groups;
                Some(self.now)
            }
            _ => (reads_groups(key) && !is_idle).then_some(self.now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_of_a_group_moves_and_a_shared_one_comes_back_for_good() {
        let frame = |key: ApiKey| [&key.code().to_be_bytes()[..], &[0, 1, 0, 0, 0, 9]].concat();
        let frame = |key| Bytes::from(frame(key));
        let mut planes = Planes::new(Plane::Data(1));
        assert_eq!(planes.before(&frame(ApiKey::FindCoordinator), true), None);
        assert_eq!(planes.before(&frame(ApiKey::Produce), true), None);
        assert_eq!(planes.before(&frame(ApiKey::Heartbeat), false), None, "in work");
        assert_eq!(planes.before(&frame(ApiKey::Heartbeat), true), Some(Plane::Groups));
        assert_eq!(planes.before(&frame(ApiKey::OffsetCommit), true), None);
        assert_eq!(planes.before(&frame(ApiKey::Metadata), true), None);
        assert_eq!(planes.before(&frame(ApiKey::OffsetFetch), true), None);
        let wait = planes.before(&frame(ApiKey::OffsetFetch), false);
        assert_eq!(wait, Some(Plane::Groups), "a commit before it is in work");
        assert_eq!(planes.before(&frame(ApiKey::Fetch), false), Some(Plane::Data(1)));
        assert_eq!(planes.before(&frame(ApiKey::Heartbeat), true), None, "it is shared");
        let mut planes = Planes::new(Plane::Control);
        assert_eq!(planes.before(&frame(ApiKey::Heartbeat), true), None);
    }
}
