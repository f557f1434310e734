//! What can be wrong with the disk of a world's machines, with the logs of its groups, or around
//! its cleaner, to be noticed: faults of the world and no switches of the product, so that no build
//! of the product has them.

use ottla_runtime::SyncPoint;
use ottla_runtime::sim::DiskFaults;

use crate::run::Workload;

/// Name of the mutant that turns the order of two syncs.
const RECOVERY_POINT_FIRST: &str = "recovery-point-before-data";

/// What the group coordinator is told about its logs that is not so: what it does then, it would do
/// by itself if it had the bug that the lie is named for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// Records are said to be committed as soon as they are written.
    AnswerBeforeCommitted,
    /// Of the offsets of a partition the one that was committed first is loaded.
    FirstOffsetWins,
    /// A group is loaded with the generation before its own.
    GenerationNotKept,
    /// A group's members are loaded with the assignments of the generation before.
    AssignmentOfBefore,
    /// A static member is loaded with the id that it had before it was replaced.
    ReplacementNotKept,
    /// Members are loaded with sessions that last a thousand times as long.
    SessionNeverEnds,
    /// What was deleted is loaded as it was before.
    DeletionNotKept,
    /// A consumer group is loaded with the epoch before its own.
    GroupEpochNotKept,
    /// A member of a consumer group is loaded with the target that it had before.
    TargetOfBefore,
    /// A member of a consumer group is loaded with the epoch that it was in before.
    MemberEpochNotKept,
    /// What a member of a consumer group still has to give back is not loaded.
    RevocationNotKept,
    /// What a member of a consumer group has is not loaded.
    AssignmentNotKept,
    /// A static member that left for a while is loaded as it was before.
    StaticLeaveNotKept,
    /// That a member of a consumer group speaks the classic protocol is not loaded.
    ClassicNotKept,
    /// Members of consumer groups that speak the classic protocol are loaded with sessions that
    /// last a thousand times as long.
    ClassicSessionNeverEnds,
    /// That a classic group became a consumer group is not loaded: it is both.
    UpgradeNotKept,
    /// A consumer group that became a classic one is loaded without its generation.
    DowngradeWithoutGeneration,
    /// What a member has that joins by the classic protocol is not heard by a consumer group: its
    /// members do not say it, and read on.
    OwnedNotHeard,
}

impl Lie {
    /// All of them.
    pub const ALL: &'static [Lie] = &[
        Lie::AnswerBeforeCommitted,
        Lie::FirstOffsetWins,
        Lie::GenerationNotKept,
        Lie::AssignmentOfBefore,
        Lie::ReplacementNotKept,
        Lie::SessionNeverEnds,
        Lie::DeletionNotKept,
        Lie::GroupEpochNotKept,
        Lie::TargetOfBefore,
        Lie::MemberEpochNotKept,
        Lie::RevocationNotKept,
        Lie::AssignmentNotKept,
        Lie::StaticLeaveNotKept,
        Lie::ClassicNotKept,
        Lie::ClassicSessionNeverEnds,
        Lie::UpgradeNotKept,
        Lie::DowngradeWithoutGeneration,
        Lie::OwnedNotHeard,
    ];

    fn name(self) -> &'static str {
        match self {
            Lie::AnswerBeforeCommitted => "answer-before-committed",
            Lie::FirstOffsetWins => "first-offset-wins",
            Lie::GenerationNotKept => "generation-not-kept",
            Lie::AssignmentOfBefore => "assignment-of-before",
            Lie::ReplacementNotKept => "replacement-not-kept",
            Lie::SessionNeverEnds => "session-never-ends",
            Lie::DeletionNotKept => "deletion-not-kept",
            Lie::GroupEpochNotKept => "group-epoch-not-kept",
            Lie::TargetOfBefore => "target-of-before",
            Lie::MemberEpochNotKept => "member-epoch-not-kept",
            Lie::RevocationNotKept => "revocation-not-kept",
            Lie::AssignmentNotKept => "assignment-not-kept",
            Lie::StaticLeaveNotKept => "static-leave-not-kept",
            Lie::ClassicNotKept => "classic-not-kept",
            Lie::ClassicSessionNeverEnds => "classic-session-never-ends",
            Lie::UpgradeNotKept => "upgrade-not-kept",
            Lie::DowngradeWithoutGeneration => "downgrade-without-generation",
            Lie::OwnedNotHeard => "owned-not-heard",
        }
    }

    /// Where it can be noticed.
    fn workload(self) -> Workload {
        match self {
            Lie::ClassicNotKept
            | Lie::ClassicSessionNeverEnds
            | Lie::UpgradeNotKept
            | Lie::DowngradeWithoutGeneration
            | Lie::OwnedNotHeard => Workload::Mixed,
            _ => Workload::Groups,
        }
    }
}

/// A bug of transactions that Apache Kafka had; what it makes of a world is done around the
/// product: to its logs, its config, its disk, what its clients send, and what they hear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxnBug {
    /// Readers of what is committed are given everything below the high watermark.
    ReadsToHighWatermark,
    /// A partition takes a batch of which the coordinator knows nothing.
    NotVerified,
    /// The end of a transaction leaves its producer the epoch that it had.
    EpochNotRaised,
    /// The end of a transaction is taken from a producer of any epoch.
    EndOfAnyEpoch,
    /// The next transaction may begin before the markers of the last one are written.
    CompleteBeforeMarkers,
    /// An abort of nothing raises the epoch, and its producer does not hear of it.
    EmptyAbortFences,
    /// A transaction whose producer has used its epochs up never ends.
    UsedUpEpochsHang,
    /// The coordinator answers by what it remembers, and not by what it has kept.
    EpochInMemoryOnly,
    /// A partition takes a batch that is not a producer's first one as its first one.
    FirstSequenceNotZero,
    /// A snapshot of producers is of an older state than its name says.
    ProducersOfBefore,
    /// A coordinator that loads a transaction that ends, forgets to end it.
    PreparedForgotten,
    /// A group is loaded with an older offset than that of its last transaction.
    OffsetsRegress,
}

impl TxnBug {
    /// All of them.
    pub const ALL: &'static [TxnBug] = &[
        TxnBug::ReadsToHighWatermark,
        TxnBug::NotVerified,
        TxnBug::EpochNotRaised,
        TxnBug::EndOfAnyEpoch,
        TxnBug::CompleteBeforeMarkers,
        TxnBug::EmptyAbortFences,
        TxnBug::UsedUpEpochsHang,
        TxnBug::EpochInMemoryOnly,
        TxnBug::FirstSequenceNotZero,
        TxnBug::ProducersOfBefore,
        TxnBug::PreparedForgotten,
        TxnBug::OffsetsRegress,
    ];

    /// Its name, with the issue of Kafka's that it was.
    fn name(self) -> &'static str {
        match self {
            TxnBug::ReadsToHighWatermark => "reads-to-high-watermark-9807",
            TxnBug::NotVerified => "not-verified-14402",
            TxnBug::EpochNotRaised => "epoch-not-raised-kip-890",
            TxnBug::EndOfAnyEpoch => "end-of-any-epoch-9600",
            TxnBug::CompleteBeforeMarkers => "complete-before-markers-18575",
            TxnBug::EmptyAbortFences => "empty-abort-fences-18464",
            TxnBug::UsedUpEpochsHang => "used-up-epochs-hang-20090",
            TxnBug::EpochInMemoryOnly => "epoch-in-memory-only-9666",
            TxnBug::FirstSequenceNotZero => "first-sequence-not-zero-18202",
            TxnBug::ProducersOfBefore => "producers-of-before-12153",
            TxnBug::PreparedForgotten => "prepared-forgotten-19862",
            TxnBug::OffsetsRegress => "offsets-regress-15755",
        }
    }
}

/// What is wrong around the cleaner of logs, so that it does what it would do by itself if it had
/// the bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CleanerBug {
    /// Two keys are taken for one: producers write them as one.
    KeysCollide,
    /// Tombstones go before their time: the broker is told that it is short.
    TombstonesGoEarly,
}

impl CleanerBug {
    /// All of them.
    pub const ALL: &'static [CleanerBug] =
        &[CleanerBug::KeysCollide, CleanerBug::TombstonesGoEarly];

    fn name(self) -> &'static str {
        match self {
            CleanerBug::KeysCollide => "keys-collide",
            CleanerBug::TombstonesGoEarly => "tombstones-go-early",
        }
    }
}

/// A disk, or a log of groups, that does not do as it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// The sync of this name does nothing.
    Ignored(SyncPoint),
    /// Records become durable only behind the checkpoint that says that they are.
    RecoveryPointFirst,
    /// The group coordinator is lied to.
    Lie(Lie),
    /// The cleaner does what it should not.
    Cleaner(CleanerBug),
    /// Something of transactions is as it once was in Kafka.
    Txn(TxnBug),
}

impl Mutant {
    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Mutant> {
        let mut all: Vec<Mutant> = SyncPoint::ALL.iter().copied().map(Mutant::Ignored).collect();
        all.push(Mutant::RecoveryPointFirst);
        all.extend(Mutant::bugs());
        all
    }

    /// Those that stand for bugs of the coordinators and the cleaner of logs.
    pub fn bugs() -> impl Iterator<Item = Mutant> {
        let cleaner = CleanerBug::ALL.iter().copied().map(Mutant::Cleaner);
        let txn = TxnBug::ALL.iter().copied().map(Mutant::Txn);
        Lie::ALL.iter().copied().map(Mutant::Lie).chain(cleaner).chain(txn)
    }

    /// Whether a workload can notice it.
    #[must_use]
    pub fn concerns(self, workload: Workload) -> bool {
        match self {
            Mutant::Lie(lie) => workload == lie.workload(),
            Mutant::Cleaner(_) => workload == Workload::Node,
            Mutant::Txn(_) => workload == Workload::Transactions,
            Mutant::Ignored(_) | Mutant::RecoveryPointFirst => {
                matches!(workload, Workload::Node | Workload::Quorum)
            }
        }
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mutant::Ignored(point) => point.name(),
            Mutant::RecoveryPointFirst => RECOVERY_POINT_FIRST,
            Mutant::Lie(lie) => lie.name(),
            Mutant::Cleaner(bug) => bug.name(),
            Mutant::Txn(bug) => bug.name(),
        }
    }

    /// The mutant with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Mutant> {
        Mutant::all().into_iter().find(|mutant| mutant.name() == name)
    }

    /// What the group coordinator is told.
    pub(crate) fn lie(self) -> Option<Lie> {
        match self {
            Mutant::Lie(lie) => Some(lie),
            _ => None,
        }
    }

    /// What the cleaner does wrong.
    pub(crate) fn cleaner_bug(self) -> Option<CleanerBug> {
        match self {
            Mutant::Cleaner(bug) => Some(bug),
            _ => None,
        }
    }

    /// What is wrong of transactions.
    pub(crate) fn txn_bug(self) -> Option<TxnBug> {
        match self {
            Mutant::Txn(bug) => Some(bug),
            _ => None,
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
            Mutant::Lie(_) | Mutant::Cleaner(_) | Mutant::Txn(_) => {}
        }
    }
}
