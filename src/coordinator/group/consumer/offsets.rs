//! Who may commit and read offsets of a consumer group.
//!
//! - While the group has no members, whoever names no epoch may commit.
//! - A member commits in its epoch. With an older one it may commit for partitions that it has had
//!   since that epoch, or longer (KIP-1251): the answer with the new epoch may be on its way.
//! - Who reads, and names a member, has to be it, in its epoch.

use ottla_types::{ErrorCode, PartitionId, Uuid};

use super::member::{ConsumerMember, Owned};
use crate::group::offsets::OffsetCommit;
use crate::group::{GroupId, GroupShard, MemberId};

/// Whose commit it is.
pub(in crate::group) enum Committer {
    /// Anybody's, for all partitions.
    Trusted,
    /// A member's, in an older epoch than its own.
    Late(std::sync::Arc<ConsumerMember>),
}

impl Committer {
    /// Whether an offset of this partition is taken, by a member that says it is in `epoch`.
    ///
    /// # Errors
    /// `STALE_MEMBER_EPOCH`.
    pub(in crate::group) fn check(
        &self,
        epoch: i32,
        topic: Uuid,
        partition: PartitionId,
    ) -> Result<(), ErrorCode> {
        let Committer::Late(member) = self else { return Ok(()) };
        let find = |owned: &Owned| owned.get(&topic)?.get(&partition).copied();
        match find(&member.assigned).or_else(|| find(&member.revoking)) {
            Some(since) if epoch >= since => Ok(()),
            _ if member.classic.is_some() => Err(ErrorCode::IllegalGeneration),
            _ => Err(ErrorCode::StaleMemberEpoch),
        }
    }
}

impl GroupShard {
    /// Who commits to a consumer group.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `STALE_MEMBER_EPOCH`; `UNSUPPORTED_VERSION` of OffsetCommit, whose
    /// answer has no place for a stale epoch.
    pub(in crate::group) fn check_consumer_commit(
        &self,
        request: &OffsetCommit,
    ) -> Result<Committer, ErrorCode> {
        let id = &request.group;
        if request.generation < 0 && self.consumers.member_count(id) == 0 {
            return Ok(Committer::Trusted);
        }
        let member = self.consumers.member(id, &request.member);
        let member = member.ok_or(ErrorCode::UnknownMemberId)?;
        let speaks_classic = member.classic.is_some();
        if !speaks_classic && !request.knows_epochs {
            return Err(ErrorCode::UnsupportedVersion);
        }
        match request.generation.cmp(&member.epoch) {
            std::cmp::Ordering::Equal => Ok(Committer::Trusted),
            std::cmp::Ordering::Greater if speaks_classic => Err(ErrorCode::IllegalGeneration),
            std::cmp::Ordering::Greater => Err(ErrorCode::StaleMemberEpoch),
            std::cmp::Ordering::Less => Ok(Committer::Late(member.clone())),
        }
    }

    /// Whether somebody may read the offsets of a consumer group.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `STALE_MEMBER_EPOCH`.
    pub(in crate::group) fn check_consumer_fetch(
        &self,
        id: &GroupId,
        member: Option<&str>,
        epoch: i32,
    ) -> Result<(), ErrorCode> {
        if member.is_none() && epoch < 0 {
            return Ok(());
        }
        let known = member.and_then(|it| self.consumers.committed_member(id, &MemberId::from(it)));
        let known = known.ok_or(ErrorCode::UnknownMemberId)?;
        match known.classic {
            _ if epoch == known.epoch => Ok(()),
            Some(_) => Err(ErrorCode::IllegalGeneration),
            None => Err(ErrorCode::StaleMemberEpoch),
        }
    }
}
