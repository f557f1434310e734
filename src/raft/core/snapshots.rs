//! Snapshots: one that the driver made shortens the log; one that the leader has stands in for
//! what its log no longer holds (KIP-630).
//!
//! A snapshot is fetched piece by piece from its first byte. When all is there the driver installs
//! it, and the log begins, empty, at its end.

use ottla_protocol::control::ControlRecord;
use ottla_types::{ErrorCode, Offset};

use super::Core;
use super::effect::{Effect, SnapshotRange};
use super::messages::{FetchSnapshot, OffsetAndEpoch, Peer, ReplyBody, RequestId, SnapshotChunk};
use super::role::Role;
use super::voters::BEFORE_LOG;

impl Core {
    /// Takes note of the driver's snapshots and of the log's new start.
    ///
    /// # Panics
    /// When the log lacks what no snapshot has.
    pub(super) fn on_snapshots(&mut self, range: SnapshotRange) {
        assert!(range.log_start <= range.earliest.offset, "a snapshot has what was trimmed");
        assert!(range.earliest <= range.latest, "the oldest snapshot is not the newest");
        self.log.set_snapshots(range);
        self.voters.trim_to(range.log_start);
    }

    /// Lets the driver answer with a piece of a snapshot. Errors as for a Fetch.
    pub(super) fn on_fetch_snapshot(&mut self, id: RequestId, fetch: FetchSnapshot) {
        if let Err(error) = self.admit_to_leader(fetch.epoch) {
            let nothing = ReplyBody::FetchSnapshot(SnapshotChunk::default());
            return self.answer(id, error, nothing);
        }
        let (me, now, wait) = (self.config.me, self.now, self.check_quorum_wait());
        if let Role::Leader(leader) = &mut self.role {
            leader.heard_from(fetch.replica, me, now, wait);
        }
        let (snapshot, position) = (fetch.snapshot, fetch.position);
        let chunk = SnapshotChunk { snapshot, position, ..SnapshotChunk::default() };
        self.answer(id, ErrorCode::None, ReplyBody::FetchSnapshot(chunk));
    }

    /// Takes in a piece; false when it is not the one that was asked for.
    pub(super) fn on_snapshot_chunk(&mut self, chunk: SnapshotChunk) -> bool {
        let Role::Follower(follower) = &mut self.role else { return true };
        let Some(fetch) = &mut follower.snapshot else { return true };
        let end = chunk.position + chunk.bytes.len() as u64;
        let expected = chunk.snapshot == fetch.id && chunk.position == fetch.position;
        if !expected || end > chunk.size || chunk.bytes.is_empty() {
            return false;
        }
        fetch.position = end;
        fetch.complete = end == chunk.size;
        let installed = fetch.complete.then_some(fetch.id);
        self.emit(Effect::WriteSnapshot(chunk));
        if let Some(snapshot) = installed {
            self.emit(Effect::InstallSnapshot(snapshot));
        }
        self.leader_is_alive();
        true
    }

    /// Gives up a snapshot that the leader does not give any more; the next Fetch names another.
    pub(super) fn give_up_snapshot(&mut self) {
        if let Role::Follower(follower) = &mut self.role {
            follower.snapshot = None;
        }
    }

    /// Gives up a snapshot that could not be installed, and leaves the leader alone for a while.
    pub(super) fn on_snapshot_unsound(&mut self, snapshot: OffsetAndEpoch) {
        let Role::Follower(follower) = &mut self.role else { return };
        if follower.snapshot.as_ref().is_some_and(|fetch| fetch.id == snapshot) {
            follower.snapshot = None;
            let leader = Peer::Node(self.election.leader.expect("a follower has a leader"));
            self.requests.back_off(leader, self.after(self.config.timeouts.retry_backoff));
        }
    }

    /// Begins anew at the end of a snapshot.
    ///
    /// # Panics
    /// When it is not the one that was to be installed, or when it ends below the high watermark:
    /// committed records would be lost.
    pub(super) fn on_snapshot_installed(
        &mut self,
        snapshot: OffsetAndEpoch,
        control: &[ControlRecord],
    ) {
        let Role::Follower(follower) = &mut self.role else {
            panic!("only followers install snapshots");
        };
        let fetched = follower.snapshot.take().filter(|fetch| fetch.complete).map(|fetch| fetch.id);
        assert_eq!(fetched, Some(snapshot), "the snapshot was to be installed");
        assert!(Some(snapshot.offset) >= self.high_watermark, "a snapshot does not go back");
        self.log.restart_at(snapshot);
        self.voters.truncate_to(BEFORE_LOG);
        for record in control {
            self.voters.record(Offset(snapshot.offset.0 - 1), record);
        }
        self.raise_high_watermark(snapshot.offset);
    }
}
