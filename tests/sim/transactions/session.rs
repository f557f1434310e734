//! A transactional producer, as a client library is one: it begins with its id, writes, commits
//! offsets and ends transactions, and asks again until it knows.
//!
//! - Classic (`transaction.version` 0 and 1): it adds partitions and groups itself. Where it does
//!   not know what became of a request, it begins anew before the next transaction: its epoch is
//!   all that guards it from what comes late (`docs/transactions.md`).
//! - KIP-890 (`transaction.version` 2): the broker adds partitions, and the end of each transaction
//!   gives it another epoch. It may leave behind whatever it likes.
//!
//! Its requests get lost, come late, and come twice ([`super::post`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest,
    InitProducerIdRequest, InitProducerIdResponse, TxnOffsetCommitRequest,
};
use ottla_test_client::Connection;
use ottla_types::MonoTime;

use super::history::{Fate, History, Place, TxnNumber};
use super::post::Letter;
use super::requests::{self, Name, code, is_fencing};
use crate::client::Phase;
use crate::mutant::TxnBug;

/// A client of this workload.
pub type Client = crate::client::Client<History>;

/// What a producer speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaks {
    /// `transaction.version` 0 and 1.
    Classic,
    /// `transaction.version` 2 (KIP-890).
    Bumping,
}

/// Why a transaction does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The world ends.
    Over,
    /// It is to be aborted.
    Abort,
    /// The producer has to begin anew.
    Begin,
}

/// Most time that is slept between two tries, ms.
const PAUSE_MS_MAX: u64 = 60;

/// A producer, over all its connections and lives.
pub struct Session {
    pub client: Client,
    /// Its transactional id.
    pub id: String,
    pub speaks: Speaks,
    pub timeout_ms: u64,
    /// What it speaks in this transaction: what the cluster lets it.
    pub(super) now: Speaks,
    /// The producer that it was, when it is to go on as that.
    was: Option<(i64, i16)>,
    /// Whether nothing of what it sends is lost or late any more.
    pub is_careful: bool,
    pub(super) connection: Option<Connection>,
    pub(super) me: Option<Me>,
    pub(super) past: VecDeque<Letter>,
}

/// A producer that has begun.
pub(super) struct Me {
    pub(super) name: Name,
    pub(super) sequences: BTreeMap<Place, i32>,
    /// What the transaction has, as its client added it: partitions, and groups.
    pub(super) places: BTreeSet<Place>,
    pub(super) groups: BTreeSet<String>,
    /// Whether the transaction has anything.
    pub(super) is_begun: bool,
    /// Which beginning of its id it was.
    ordinal: u64,
    /// Whether somebody who asked before it may have begun behind it.
    is_followed: bool,
    /// Whether something that it sent may still come.
    pub(super) is_doubtful: bool,
    since: MonoTime,
}

impl Session {
    pub fn new(client: Client, id: String, speaks: Speaks, timeout_ms: u64) -> Session {
        let (connection, me, past) = (None, None, VecDeque::new());
        let (now, was, is_careful) = (speaks, None, false);
        Session { client, id, speaks, timeout_ms, now, was, is_careful, connection, me, past }
    }

    pub(super) fn bug(&self) -> Option<TxnBug> {
        self.client.model().rules.bug
    }

    /// Whether it is to speak the classic protocol: a broker that does not raise epochs makes no
    /// other of KIP-890.
    pub(super) fn is_classic(&self) -> bool {
        self.now == Speaks::Classic || self.bug() == Some(TxnBug::EpochNotRaised)
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.me.is_some()
    }

    pub(super) fn me(&mut self) -> &mut Me {
        self.me.as_mut().expect("whoever writes has begun")
    }

    /// It forgets everything, as when its process dies.
    pub fn die(&mut self) {
        (self.me, self.was, self.connection) = (None, None, None);
    }

    /// Begins with its id; whoever had it before is fenced.
    pub async fn begin(&mut self) -> Result<(), Trouble> {
        self.me = None;
        let find = requests::find(&self.id, 1);
        let code_of = |answer: &kafka_protocol::messages::FindCoordinatorResponse| {
            answer.coordinators[0].error_code
        };
        self.ask::<FindCoordinatorRequest>(4, &find, code_of).await?;
        let (answer, ordinal) = self.initialized().await?;
        let name = Name {
            transactional_id: self.id.clone(),
            id: answer.producer_id.0,
            epoch: answer.producer_epoch,
        };
        let now = self.client.runtime.clock().now();
        let is_followed = self.client.model().has_begun(&self.id, ordinal, now);
        self.client.model().is_now(&self.id, (name.id, name.epoch));
        self.client.findings.count(|stats| stats.joins += 1);
        self.client.findings.note(|| format!("{name:?} begins, the {ordinal}th"));
        self.me = Some(Me {
            name,
            sequences: BTreeMap::new(),
            places: BTreeSet::new(),
            groups: BTreeSet::new(),
            is_begun: false,
            ordinal,
            is_followed,
            is_doubtful: false,
            since: now,
        });
        Ok(())
    }

    /// The answer to a request for a producer, and which of all it was.
    async fn initialized(&mut self) -> Result<(InitProducerIdResponse, u64), Trouble> {
        let version = self.client.dice.between(3, 5) as i16;
        loop {
            let request = requests::init(&self.id, self.timeout_ms, self.was);
            let now = self.client.runtime.clock().now();
            let ordinal = self.client.model().begins(&self.id, now);
            let answered = self.attempt::<InitProducerIdRequest>(version, &request).await?;
            match answered {
                Some(answer) if answer.error_code == code::NONE => {
                    self.was = None;
                    return Ok((answer, ordinal));
                }
                // Somebody else has begun; and so does it.
                Some(answer) if self.was.is_some() && is_fencing(answer.error_code) => {
                    self.was = None;
                }
                Some(answer) if !requests::is_passing(answer.error_code) => {
                    let what = format!("{} cannot begin: error {}", self.id, answer.error_code);
                    self.client.findings.violated(what);
                    return Err(Trouble::Over);
                }
                Some(answer) => {
                    let now = self.client.runtime.clock().now();
                    self.client.model().has_begun(&self.id, ordinal, now);
                    self.is_put_off(22, answer.error_code).await;
                }
                None => self.rest().await,
            }
        }
    }

    /// A transaction begins.
    pub fn open(&mut self) -> TxnNumber {
        let now = self.client.runtime.clock().now();
        let knows_no_bumps = self.client.model().level.is_some_and(|level| level < 2);
        self.now = if knows_no_bumps { Speaks::Classic } else { self.speaks };
        let me = self.me();
        (me.is_begun, me.since) = (false, now);
        me.places.clear();
        me.groups.clear();
        self.client.model().begin(&self.id)
    }

    /// Adds partitions, as a classic client does before it writes to them.
    pub(super) async fn add(&mut self, places: &[Place]) -> Result<(), Trouble> {
        let new: Vec<Place> =
            places.iter().filter(|place| !self.me().places.contains(place)).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let request = self.me().name.add_partitions(&new);
        self.me().is_begun = true;
        let code_of = |answer: &kafka_protocol::messages::AddPartitionsToTxnResponse| {
            let topics = answer.results_by_topic_v3_and_below.iter();
            let mut codes = topics.flat_map(|topic| &topic.results_by_partition);
            let refused = codes.find(|it| {
                !matches!(it.partition_error_code, code::NONE | code::OPERATION_NOT_ATTEMPTED)
            });
            refused.map_or(code::NONE, |it| it.partition_error_code)
        };
        let told = self.ask::<AddPartitionsToTxnRequest>(3, &request, code_of).await?;
        self.took("a partition", code_of(&told))?;
        self.me().places.extend(new);
        Ok(())
    }

    /// Commits an offset of a group in the transaction.
    pub async fn commit_offset(
        &mut self,
        txn: TxnNumber,
        group: &str,
        (place, offset): (Place, i64),
    ) -> Result<(), Trouble> {
        self.client.model().txn(txn).offset = Some((place, offset));
        let is_classic = self.is_classic();
        self.me().is_begun = true;
        if is_classic && !self.me().groups.contains(group) {
            let request = self.me().name.add_offsets(group);
            let code_of =
                |answer: &kafka_protocol::messages::AddOffsetsToTxnResponse| answer.error_code;
            let told = self.ask::<AddOffsetsToTxnRequest>(3, &request, code_of).await?;
            self.took("a group", told.error_code)?;
            self.me().groups.insert(group.to_owned());
        }
        let request = self.me().name.commit_offset(group, place, offset);
        let version = if is_classic { self.client.dice.between(3, 4) as i16 } else { 5 };
        let code_of = |answer: &kafka_protocol::messages::TxnOffsetCommitResponse| {
            answer.topics[0].partitions[0].error_code
        };
        let told = self.ask::<TxnOffsetCommitRequest>(version, &request, code_of).await?;
        self.took("an offset", code_of(&told))?;
        self.client.findings.count(|stats| stats.commits += 1);
        Ok(())
    }

    /// Ends a transaction.
    pub async fn end(&mut self, txn: TxnNumber, commit: bool) -> Result<(), Trouble> {
        if !self.me().is_begun && (self.is_classic() || commit) {
            return Ok(());
        }
        let had_anything = self.me().is_begun;
        if commit {
            self.client.model().txn(txn).fate = Fate::Committing;
        }
        let request = self.me().name.end(commit);
        let version = if self.is_classic() { self.client.dice.between(2, 4) as i16 } else { 5 };
        let code_of = |answer: &kafka_protocol::messages::EndTxnResponse| answer.error_code;
        let told = loop {
            match self.attempt::<EndTxnRequest>(version, &request).await? {
                Some(told) if !requests::is_passing(told.error_code) => break told,
                Some(told) => self.is_put_off(26, told.error_code).await,
                None => self.rest().await,
            }
        };
        self.took("an end", code_of(&told))?;
        if commit {
            self.client.model().txn(txn).fate = Fate::Committed;
        }
        self.client.findings.count(|stats| match commit {
            true => stats.txns_committed += 1,
            false => stats.txns_aborted += 1,
        });
        let next = (told.producer_id.0, told.producer_epoch);
        self.goes_on_as(next, commit, had_anything);
        Ok(())
    }

    /// What it is after the end of a transaction.
    fn goes_on_as(&mut self, next: (i64, i16), commit: bool, had_anything: bool) {
        let is_told = !self.is_classic();
        // What a broker that does not raise epochs would leave to the next transaction, stays.
        let is_guarded = self.now == Speaks::Bumping && commit;
        if !is_told && !is_guarded && self.me().is_doubtful {
            let (id, epoch) = (self.me().name.id, self.me().name.epoch);
            self.was = self.client.dice.chance(50).then_some((id, epoch));
            self.me = None;
            return;
        }
        let is_deaf = !had_anything && self.bug() == Some(TxnBug::EmptyAbortFences);
        if is_told && !is_deaf {
            let me = self.me();
            (me.name.id, me.name.epoch) = next;
            me.sequences.clear();
            self.client.model().is_now(&self.id, next);
        }
    }

    /// What an answer says of a step.
    pub(super) fn took(&mut self, what: &str, error: i16) -> Result<(), Trouble> {
        match error {
            code::NONE => Ok(()),
            error if is_fencing(error) || is_of_no_transaction(error) => {
                self.is_fenced(what, error);
                Err(Trouble::Begin)
            }
            // What came late from the transaction before: that is not all that it does.
            code::OUT_OF_ORDER_SEQUENCE_NUMBER if self.bug() == Some(TxnBug::EpochNotRaised) => {
                Err(Trouble::Begin)
            }
            other => {
                let me = self.me().name.clone();
                self.client.findings.violated(format!("{what} of {me:?} is refused: {other}"));
                Err(Trouble::Over)
            }
        }
    }

    /// A producer is fenced if somebody began in its place, or its transaction took too long.
    fn is_fenced(&mut self, what: &str, error: i16) {
        self.client.findings.count(|stats| stats.fenced += 1);
        let now = self.client.runtime.clock().now();
        let timeout = Duration::from_millis(self.timeout_ms);
        let me = self.me.as_ref().expect("it has begun");
        let history = self.client.model();
        let has_reason = history.rules.fences
            || me.is_doubtful
            || me.is_followed
            || history.begun(&self.id) > me.ordinal
            || history.current(&self.id) > Some((me.name.id, me.name.epoch))
            || (me.is_begun && now.since(me.since) >= timeout);
        let told = format!("{what} of {:?} is fenced ({error}), and nobody came", me.name);
        drop(history);
        if !has_reason {
            self.client.findings.violated(told);
        }
    }

    /// Ends what whoever has the id now is in the midst of: a broker that does not compare epochs
    /// takes that from anybody.
    async fn end_as_another(&mut self) {
        let Some((id, epoch)) = self.client.model().current(&self.id) else { return };
        let name = Name { transactional_id: self.id.clone(), id, epoch };
        let version = if self.is_classic() { 4 } else { 5 };
        let _ = self.attempt::<EndTxnRequest>(version, &name.end(true)).await;
    }

    /// After trouble in a transaction: it is aborted, or the producer begins anew. False when the
    /// world ends.
    pub async fn recover(&mut self, txn: TxnNumber, trouble: Trouble) -> bool {
        let mut trouble = trouble;
        if trouble == Trouble::Abort && self.has_begun() {
            match self.end(txn, false).await {
                Ok(()) => return true,
                Err(other) => trouble = other,
            }
        }
        if self.me.is_some() && self.bug() == Some(TxnBug::EndOfAnyEpoch) {
            self.end_as_another().await;
        }
        self.me = None;
        self.client.pause(0, 1_500).await;
        trouble != Trouble::Over
    }

    /// Small things that a client does, or suffers, in the midst of a transaction.
    pub async fn be_restless(&mut self) -> Result<(), Trouble> {
        if self.is_careful {
            return Ok(());
        }
        let dice = &self.client.dice;
        if !self.is_load() && dice.chance(15) {
            // Whoever is left open must be ended by the coordinator.
            self.die();
            return Err(Trouble::Over);
        }
        match dice.below(100) {
            0..=2 => {
                self.die();
                return Err(Trouble::Begin);
            }
            3..=5 => {
                let timeout = self.timeout_ms;
                self.client.pause(timeout / 4, timeout * 3 / 2).await;
            }
            6..=8 => self.connection = None,
            9..=20 => self.replay(),
            21..=50 => self.client.pause(1, 100).await,
            _ => {}
        }
        Ok(())
    }

    pub(super) async fn rest(&self) {
        self.client.pause(2, PAUSE_MS_MAX).await;
    }

    /// Whether it is to go on with what it does.
    pub fn is_load(&self) -> bool {
        *self.client.phase.borrow() == Phase::Load
    }
}

/// Whether the transaction is not, or no more, what its producer takes it for.
fn is_of_no_transaction(error: i16) -> bool {
    matches!(error, code::INVALID_TXN_STATE | code::TRANSACTION_ABORTABLE)
}
