//! What can be wrong with the disk of a world's machines, to be noticed: faults of the disk and no
//! switches of the product, so that no build of the product has them.

use ottla_runtime::SyncPoint;
use ottla_runtime::sim::DiskFaults;

/// Name of the mutant that turns the order of two syncs.
const RECOVERY_POINT_FIRST: &str = "recovery-point-before-data";

/// A disk that does not do as it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// The sync of this name does nothing.
    Ignored(SyncPoint),
    /// Records become durable only behind the checkpoint that says that they are.
    RecoveryPointFirst,
}

impl Mutant {
    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Mutant> {
        let mut all: Vec<Mutant> = SyncPoint::ALL.iter().copied().map(Mutant::Ignored).collect();
        all.push(Mutant::RecoveryPointFirst);
        all
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mutant::Ignored(point) => point.name(),
            Mutant::RecoveryPointFirst => RECOVERY_POINT_FIRST,
        }
    }

    /// The mutant with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Mutant> {
        match name {
            RECOVERY_POINT_FIRST => Some(Mutant::RecoveryPointFirst),
            point => SyncPoint::from_name(point).map(Mutant::Ignored),
        }
    }

    /// Gives a disk this fault.
    pub(crate) fn plant(self, faults: &mut DiskFaults) {
        match self {
            Mutant::Ignored(point) => {
                faults.disabled_syncs.insert(point);
            }
            Mutant::RecoveryPointFirst => {
                let order = (SyncPoint::SegmentData, SyncPoint::OffsetCheckpointFile);
                faults.late_sync = Some(order);
            }
        }
    }
}
