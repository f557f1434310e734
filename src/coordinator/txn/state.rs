//! What is known of a transactional id, and how it changes.
//!
//! ```text
//!                  AddPartitions           EndTxn                  all markers are written
//!   Empty ─────────────────────> Ongoing ─────────> PrepareCommit ────────────────> CompleteCommit
//!     ^  <── InitProducerId ──┐     │  └──────────> PrepareAbort  ────────────────> CompleteAbort
//!     └───────────────────────┴─────┼── timeout, InitProducerId ──^                        │
//!                             from Complete* as from Empty <───────────────────────────────┘
//! ```
//! Each function makes the next state out of the last one, and judges nothing: who may ask for it
//! is decided where requests are.
//!
//! **Epochs.** In the classic protocol InitProducerId raises the epoch, and so does whoever fences
//! a producer (a timeout, another InitProducerId). With `transaction.version` 2 (KIP-890) the end
//! of each transaction does, too: its markers have the raised epoch. The last epoch that a
//! producer is given is 32766, so that it can be fenced by 32767; behind that comes another
//! producer id, which is `next_producer_id` until the markers of the old one are written.
//!
//! Source: `TransactionMetadata` of Kafka.

use std::collections::BTreeSet;

use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};

/// The last epoch that a producer is given.
const EPOCH_LAST: ProducerEpoch = ProducerEpoch(i16::MAX - 1);

/// The version of `transaction.version` with which the end of each transaction raises the epoch.
pub const EPOCH_BUMP: i16 = 2;

/// What a transactional id is doing. Numbers and names are those of Kafka's records and answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionState {
    /// Nothing yet.
    Empty,
    /// It has partitions.
    Ongoing,
    /// It is committed; markers are on their way.
    PrepareCommit,
    /// It is aborted; markers are on their way.
    PrepareAbort,
    /// All markers of a commit are written.
    CompleteCommit,
    /// All markers of an abort are written.
    CompleteAbort,
}

use TransactionState::{
    CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit,
};

/// States by their number in records.
const STATES: [TransactionState; 6] =
    [Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort];

impl TransactionState {
    /// Names of Kafka's states that nothing is in for longer than a step: filters may name them.
    pub const TRANSIENT: [&str; 2] = ["Dead", "PrepareEpochFence"];

    /// The state of a number.
    #[must_use]
    pub fn from_number(number: i8) -> Option<TransactionState> {
        STATES.get(usize::try_from(number).ok()?).copied()
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i8 {
        self as i8
    }

    /// The state of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<TransactionState> {
        STATES.into_iter().find(|state| state.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Empty => "Empty",
            Ongoing => "Ongoing",
            PrepareCommit => "PrepareCommit",
            PrepareAbort => "PrepareAbort",
            CompleteCommit => "CompleteCommit",
            CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether markers are on their way.
    #[must_use]
    pub fn is_prepared(self) -> bool {
        matches!(self, PrepareCommit | PrepareAbort)
    }

    /// Whether an id that nobody uses may be forgotten.
    #[must_use]
    pub fn may_expire(self) -> bool {
        matches!(self, Empty | CompleteCommit | CompleteAbort)
    }
}

/// What a transaction comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Its records count.
    Commit,
    /// They do not.
    Abort,
}

/// A producer, as it names itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    /// Its id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

impl Producer {
    /// Whether another id comes behind its epoch.
    #[must_use]
    pub fn is_exhausted(self) -> bool {
        self.epoch >= EPOCH_LAST
    }
}

/// What is known of a transactional id: its record, and where that is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// Its producer.
    pub producer: Producer,
    /// The id of the producer that the state before this one had.
    pub previous_producer_id: ProducerId,
    /// The id of the producer of the next transaction, if that gets another (KIP-890).
    pub next_producer_id: ProducerId,
    /// The epoch that its producer had before, so that it can ask again (KIP-360). It is in no
    /// record: whoever asks again after a load is fenced, as with Kafka.
    pub last_epoch: ProducerEpoch,
    /// How long a transaction may take, ms.
    pub timeout_ms: i32,
    /// What it is doing.
    pub state: TransactionState,
    /// What the transaction has written to.
    pub partitions: BTreeSet<TopicPartition>,
    /// When the transaction began; none in the state Empty.
    pub started: Timestamp,
    /// When the state changed last.
    pub updated: Timestamp,
    /// `transaction.version` that the client speaks.
    pub client_version: i16,
    /// The offset of its record; replaying sets it.
    pub record: Offset,
}

impl Transaction {
    /// An id that nobody has used; not yet a state that is kept.
    #[must_use]
    pub fn unused(fresh: ProducerId) -> Transaction {
        Transaction {
            producer: Producer { id: fresh, epoch: ProducerEpoch::NONE },
            previous_producer_id: ProducerId::NONE,
            next_producer_id: ProducerId::NONE,
            last_epoch: ProducerEpoch::NONE,
            timeout_ms: 0,
            state: Empty,
            partitions: BTreeSet::new(),
            started: Timestamp::NONE,
            updated: Timestamp::NONE,
            client_version: 0,
            record: Offset::ZERO,
        }
    }

    /// The next state, so far with all else as it is.
    fn next(&self, state: TransactionState, now: Timestamp) -> Transaction {
        let previous_producer_id = self.producer.id;
        Transaction { previous_producer_id, state, updated: now, ..self.clone() }
    }

    /// A producer begins with this epoch, after that of `last`.
    #[must_use]
    pub fn initialized(
        &self,
        (epoch, last): (ProducerEpoch, ProducerEpoch),
        timeout_ms: i32,
        now: Timestamp,
    ) -> Transaction {
        Transaction {
            producer: Producer { id: self.producer.id, epoch },
            last_epoch: last,
            timeout_ms,
            partitions: BTreeSet::new(),
            started: Timestamp::NONE,
            ..self.next(Empty, now)
        }
    }

    /// A producer begins with another id, after the epoch of `last` of the old one.
    #[must_use]
    pub fn rotated(
        &self,
        fresh: ProducerId,
        last: ProducerEpoch,
        timeout_ms: i32,
        now: Timestamp,
    ) -> Transaction {
        let next = self.initialized((ProducerEpoch(0), last), timeout_ms, now);
        Transaction { producer: Producer { id: fresh, epoch: ProducerEpoch(0) }, ..next }
    }

    /// Partitions are added; the first ones begin a transaction.
    #[must_use]
    pub fn with_partitions(
        &self,
        added: impl IntoIterator<Item = TopicPartition>,
        client_version: i16,
        now: Timestamp,
    ) -> Transaction {
        let mut next = self.next(Ongoing, now);
        next.partitions.extend(added);
        if self.state != Ongoing {
            next.started = now;
        }
        Transaction { client_version, ..next }
    }

    /// The transaction ends as its producer asks for. With KIP-890 its epoch rises, and if it is
    /// the last one, `fresh` is the next id; one without partitions may be aborted.
    #[must_use]
    pub fn prepared(
        &self,
        outcome: Outcome,
        client_version: i16,
        fresh: Option<ProducerId>,
        now: Timestamp,
    ) -> Transaction {
        let state = if outcome == Outcome::Commit { PrepareCommit } else { PrepareAbort };
        let mut next = self.next(state, now);
        next.client_version = client_version;
        next.next_producer_id = fresh.unwrap_or(ProducerId::NONE);
        if client_version >= EPOCH_BUMP {
            next.producer.epoch = above(self.producer.epoch);
            next.last_epoch = self.producer.epoch;
        }
        if self.state != Ongoing {
            next.started = now;
        }
        next
    }

    /// The transaction is aborted by somebody else, and its producer is fenced by a higher epoch.
    #[must_use]
    pub fn fenced(
        &self,
        server_version: i16,
        fresh: Option<ProducerId>,
        now: Timestamp,
    ) -> Transaction {
        if server_version >= EPOCH_BUMP {
            return self.prepared(Outcome::Abort, server_version, fresh, now);
        }
        let mut next = self.prepared(Outcome::Abort, 0, None, now);
        next.producer.epoch = above(self.producer.epoch);
        next.last_epoch = ProducerEpoch::NONE;
        next
    }

    /// All markers are written. If there is a next id, it is the producer's from now on; the last
    /// epoch that its client has seen stays that of the old one.
    #[must_use]
    pub fn completed(&self, now: Timestamp) -> Transaction {
        let state = if self.state == PrepareCommit { CompleteCommit } else { CompleteAbort };
        Transaction {
            producer: self.producer_after(),
            next_producer_id: ProducerId::NONE,
            partitions: BTreeSet::new(),
            ..self.next(state, now)
        }
    }

    /// The producer of the next transaction.
    #[must_use]
    pub fn producer_after(&self) -> Producer {
        match self.next_producer_id {
            ProducerId::NONE => self.producer,
            id => Producer { id, epoch: ProducerEpoch(0) },
        }
    }

    /// What the markers of its end say.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.state {
            PrepareCommit | CompleteCommit => Outcome::Commit,
            _ => Outcome::Abort,
        }
    }

    /// Panics when what always holds does not.
    pub fn check(&self) {
        assert!(self.producer.id.0 >= 0 && self.producer.epoch.0 >= 0, "a producer is given");
        assert!(self.partitions.is_empty() || !self.state.may_expire(), "{:?}", self.state);
        assert!(self.state != Ongoing || !self.partitions.is_empty(), "what began has partitions");
        let has_next = self.next_producer_id != ProducerId::NONE;
        assert!(!has_next || self.state.is_prepared(), "a next id is for markers on their way");
    }
}

fn above(epoch: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch(epoch.0.saturating_add(1))
}
