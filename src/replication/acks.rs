//! Producers that wait until a partition's offset is acknowledged.

use std::collections::VecDeque;

use ottla_types::Offset;
use tokio::sync::oneshot;

use crate::request::AckWait;

/// Why a wait is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AckEnd {
    /// What it waited for is there.
    Acknowledged,
    /// The log directory failed.
    Offline,
}

/// Where the end of a wait is told; a receiver learns that the partition is gone when it is
/// dropped.
pub(crate) type AckSender = oneshot::Sender<AckEnd>;

/// Waits in the order of the offsets they need.
#[derive(Default)]
pub(crate) struct AckQueue {
    waits: VecDeque<(Offset, AckSender)>,
}

impl AckQueue {
    /// A wait for everything below `needed`.
    pub(crate) fn wait_for(&mut self, needed: Offset) -> AckWait {
        let (ack, wait) = oneshot::channel();
        // A duplicate waits for an offset that is not the newest.
        let at = self.waits.partition_point(|(other, _)| *other <= needed);
        self.waits.insert(at, (needed, ack));
        AckWait(wait)
    }

    /// Whether anybody waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waits.is_empty()
    }

    /// Takes out those that need nothing at or behind `reached`.
    pub(crate) fn take_reached(&mut self, reached: Offset, out: &mut Vec<AckSender>) {
        let count = self.waits.partition_point(|(needed, _)| *needed <= reached);
        out.extend(self.waits.drain(..count).map(|(_, ack)| ack));
    }

    /// Takes all out.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = AckSender> {
        std::mem::take(&mut self.waits).into_iter().map(|(_, ack)| ack)
    }
}
