//! Mistakes that a controller could make, made on purpose: a test that does not find them is none.
//!
//! They are made on the way from the decision to the log, so that no operation knows of them.

use ottla_protocol::metadata::{MetadataRecord, PartitionChangeRecord};
use ottla_types::BrokerEpoch;

use crate::VersionedRecord;
use crate::image::LEADER_STAYS;

/// A mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mistake {
    /// A broker is fenced, its partitions are not moved.
    FenceMovesNothing,
    /// A broker is unfenced, and leads nothing that has no leader.
    UnfenceElectsNobody,
    /// An eligible replica is elected, and not taken into the ISR.
    LeaderStaysOutside,
    /// A replica that came back from a crash stays eligible.
    CrashForgiven,
    /// A leader's epoch does not count on when it is elected from nobody.
    SilentElection,
    /// A new incarnation gets the epoch of the one before.
    OldBrokerEpoch,
    /// A block of producer ids is not noted.
    ProducerIdsForgotten,
    /// Lost leadership reverts nothing.
    NothingReverted,
}

impl Mistake {
    pub(super) const ALL: [Mistake; 8] = [
        Mistake::FenceMovesNothing,
        Mistake::UnfenceElectsNobody,
        Mistake::LeaderStaysOutside,
        Mistake::CrashForgiven,
        Mistake::SilentElection,
        Mistake::OldBrokerEpoch,
        Mistake::ProducerIdsForgotten,
        Mistake::NothingReverted,
    ];

    /// Makes the mistake, where the records give occasion.
    pub(super) fn corrupt(self, records: &mut Vec<VersionedRecord>) {
        let has = |test: fn(&MetadataRecord) -> bool| records.iter().any(|it| test(&it.record));
        let fences =
            has(|it| matches!(it, MetadataRecord::BrokerRegistrationChange(it) if it.fenced == 1));
        let unfences =
            has(|it| matches!(it, MetadataRecord::BrokerRegistrationChange(it) if it.fenced == -1));
        let registers = has(|it| matches!(it, MetadataRecord::RegisterBroker(_)));
        match self {
            Mistake::FenceMovesNothing if fences => records.retain(|it| change(it).is_none()),
            Mistake::UnfenceElectsNobody if unfences => records.retain(|it| change(it).is_none()),
            Mistake::CrashForgiven if registers => {
                records.retain(|it| change(it).is_none_or(|it| it.isr.is_some()));
            }
            Mistake::ProducerIdsForgotten => {
                records.retain(|it| !matches!(it.record, MetadataRecord::ProducerIds(_)));
            }
            Mistake::LeaderStaysOutside => each_change(records, |it| {
                if it.eligible_leader_replicas.is_some() && it.leader.0 >= 0 {
                    it.isr = None;
                }
            }),
            Mistake::SilentElection => each_change(records, |it| {
                if it.leader_recovery_state == 1 {
                    it.leader = LEADER_STAYS;
                }
            }),
            Mistake::OldBrokerEpoch => {
                for record in records {
                    if let MetadataRecord::RegisterBroker(it) = &mut record.record {
                        it.broker_epoch = BrokerEpoch(it.broker_epoch.0.min(20));
                    }
                }
            }
            _ => {}
        }
    }
}

fn change(record: &VersionedRecord) -> Option<&PartitionChangeRecord> {
    match &record.record {
        MetadataRecord::PartitionChange(it) => Some(it),
        _ => None,
    }
}

fn each_change(records: &mut [VersionedRecord], spoil: impl Fn(&mut PartitionChangeRecord)) {
    for record in records {
        if let MetadataRecord::PartitionChange(it) = &mut record.record {
            spoil(it);
        }
    }
}
