//! The task that moves replicas: the steps of one, then of the next, paced, until they are where
//! they are to be, or the node stops.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_runtime::{Clock, Plane};
use ottla_storage::{DirError, PartitionDirName};
use ottla_types::{MonoTime, TopicPartition};
use tokio::sync::{mpsc, oneshot};

use super::steps::{Did, Move};
use super::{MoveEnd, Moving};
use crate::partition::Partition;
use crate::replicas::Replicas;

/// Where its work is done.
pub(super) const PLANE: Plane = Plane::Data(0);
/// Pause when no move has anything to do.
const IDLE: Duration = Duration::from_millis(5);
/// Pause of a move that holds the flushes of its log.
const HOLDING: Duration = Duration::from_millis(1);
/// Pause when no move finds room.
const ROOM_RETRY: Duration = Duration::from_secs(1);
/// A rate that bounds nothing.
const UNBOUNDED: u64 = i64::MAX.unsigned_abs();
/// Time after which the rate is looked at again.
const PACE_MAX: Duration = Duration::from_millis(100);
/// Steps of a move until the next one has its turn.
const TURN_STEPS: u32 = 64;

/// The way to the mover, and what paces it.
pub(crate) struct Moves {
    asks: mpsc::UnboundedSender<Ask>,
    asked: Mutex<Option<mpsc::UnboundedReceiver<Ask>>>,
    /// Bytes in a second.
    rate: AtomicU64,
}

enum Ask {
    Move(Box<Move>),
    /// Nothing is done any more when this is told.
    Stop(oneshot::Sender<()>),
}

impl Moves {
    pub(crate) fn new(rate: u64) -> Moves {
        let (asks, asked) = mpsc::unbounded_channel();
        Moves { asks, asked: Mutex::new(Some(asked)), rate: AtomicU64::new(rate.max(1)) }
    }

    pub(super) fn add(&self, partition: Arc<Partition>, moving: Arc<Moving>) {
        // The mover ends with the node.
        let _ = self.asks.send(Ask::Move(Box::new(Move::new(partition, moving))));
    }

    pub(super) fn set_rate(&self, rate: u64) {
        self.rate.store(rate.max(1), Ordering::Relaxed);
    }

    pub(super) fn rate(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    fn take_asked(&self) -> Option<mpsc::UnboundedReceiver<Ask>> {
        self.asked.lock().expect("never poisoned").take()
    }
}

impl Replicas {
    /// Begins to move replicas that are to move.
    pub(crate) fn start_moving(&self) {
        let Some(asked) = self.shared.moves.take_asked() else { return };
        let pace = Pace::new(self.shared.runtime.clock());
        let mover = Mover { replicas: self.clone(), asked, moves: VecDeque::new(), pace };
        self.shared.runtime.spawn(PLANE, "moves", mover.run());
    }

    /// Ends moving: copies stay as they are, for the next start.
    pub(crate) async fn stop_moving(&self) {
        if self.shared.moves.take_asked().is_some() {
            return;
        }
        let (stopped, wait) = oneshot::channel();
        if self.shared.moves.asks.send(Ask::Stop(stopped)).is_ok() {
            // A mover that is gone does nothing any more.
            let _ = wait.await;
        }
    }

    /// Removes the copy of a log that does not move any more.
    pub(super) fn remove_copy(&self, moving: &Moving, name: &TopicPartition) {
        let deleted = PartitionDirName::deleted(name, self.shared.runtime.entropy().uuid());
        match moving.dir.data().rename(&moving.dir_name, &deleted) {
            Ok(()) => self.remove_later(moving.dir.clone(), deleted, Duration::ZERO),
            // It was not begun yet.
            Err(DirError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => moving.dir.health().fence(error.to_string()),
        }
    }
}

struct Mover {
    replicas: Replicas,
    asked: mpsc::UnboundedReceiver<Ask>,
    moves: VecDeque<Move>,
    pace: Pace,
}

impl Mover {
    /// Runs until the node stops.
    async fn run(mut self) {
        let mut pause = None;
        loop {
            let Some(ask) = self.next_ask(pause).await else {
                pause = self.turns().await;
                continue;
            };
            pause = None;
            match ask {
                Ask::Move(new) => self.moves.push_back(*new),
                Ask::Stop(stopped) => {
                    self.stop().await;
                    // Whoever waited may be gone.
                    let _ = stopped.send(());
                    return;
                }
            }
        }
    }

    /// What is asked, within the pause; without moves whatever comes.
    ///
    /// Cancel safe: receiving takes nothing unless it completes.
    async fn next_ask(&mut self, pause: Option<Duration>) -> Option<Ask> {
        if let Ok(ask) = self.asked.try_recv() {
            return Some(ask);
        }
        let clock = self.replicas.shared.runtime.clock().clone();
        let ask = match pause {
            _ if self.moves.is_empty() => self.asked.recv().await,
            None => return None,
            Some(pause) => match clock.timeout(pause, self.asked.recv()).await {
                None => return None,
                Some(ask) => ask,
            },
        };
        match ask {
            Some(ask) => Some(ask),
            // The node ends.
            None => std::future::pending().await,
        }
    }

    /// Gives each move a turn. Returns how long to wait then.
    async fn turns(&mut self) -> Option<Duration> {
        let wait = self.pace.wait(self.replicas.shared.moves.rate());
        let mut pause = wait.or(Some(ROOM_RETRY));
        for _ in 0..self.moves.len() {
            let Some(one) = self.moves.pop_front() else { break };
            // What is not to be copied any more goes at once, whatever the pace.
            if wait.is_some() && one.is_wanted() {
                self.moves.push_back(one);
                continue;
            }
            let waits = self.turn(one).await;
            pause = pause.min(waits);
        }
        pause
    }

    /// Some steps of a move. Returns how long it waits then; `None` when it does not.
    async fn turn(&mut self, mut one: Move) -> Option<Duration> {
        let mut steps = 0;
        loop {
            let replicas = self.replicas.clone();
            let step = move || {
                let did = one.step(&replicas);
                (one, did)
            };
            let did;
            (one, did) = self.replicas.shared.runtime.blocking(PLANE, step).await;
            steps += 1;
            let wait = match did {
                Did::Some(bytes) => {
                    self.pace.note(bytes);
                    let paced = self.pace.wait(self.replicas.shared.moves.rate());
                    if steps < TURN_STEPS { paced } else { Some(Duration::ZERO) }
                }
                Did::Nothing => Some(IDLE),
                Did::NoRoom => Some(ROOM_RETRY),
                Did::Moved(dir, deleted) => {
                    let config = one.partition.config();
                    let delay = config.map_or(Duration::ZERO, |config| config.file_delete_delay);
                    tracing::info!(partition = %one.partition.name(),
                        from = %dir.data().path().display(),
                        to = %one.moving.dir.data().path().display(), "moved a replica");
                    self.replicas.remove_later(dir, deleted, delay);
                    return None;
                }
                Did::Ended(end) => {
                    self.ended(&one, &end);
                    return None;
                }
            };
            // Producers wait meanwhile: nobody else has a turn.
            if one.holds() {
                if matches!(wait, Some(IDLE)) {
                    self.replicas.shared.runtime.clock().sleep(HOLDING).await;
                }
                continue;
            }
            if let Some(wait) = wait {
                self.moves.push_back(one);
                return Some(wait).filter(|wait| !wait.is_zero());
            }
        }
    }

    /// A move does not get there: the replica stays where it is, and the copy goes.
    fn ended(&self, one: &Move, end: &MoveEnd) {
        let Move { partition, moving, .. } = one;
        let name = partition.name();
        if let Some(directory) = partition.end_move(moving) {
            self.replicas.shared.tell(partition.id(), directory);
        }
        match end {
            MoveEnd::CalledOff => tracing::info!(partition = %name, "called a move off"),
            MoveEnd::Log(error) => {
                tracing::warn!(partition = %name, %error, "a replica does not move");
            }
            MoveEnd::Copy(error) => {
                tracing::warn!(partition = %name, %error, "a replica does not move");
                if error.is_fault() {
                    moving.dir.health().fence(format!("{name}: {error}"));
                }
            }
            MoveEnd::DirFailed => {
                tracing::warn!(partition = %name, "a replica does not move: its directory failed");
            }
        }
        if !end.leaves_copy() && !moving.dir.health().is_fenced() {
            self.replicas.remove_copy(moving, name);
        }
    }

    async fn stop(&mut self) {
        let (moves, replicas) = (std::mem::take(&mut self.moves), self.replicas.clone());
        let close = move || {
            for mut one in moves {
                one.release(&replicas);
                // The next start looks into it in any case.
                if let Err(error) = one.close() {
                    tracing::warn!(partition = %one.partition.name(), %error,
                        "the copy of a log that moves is not closed");
                }
            }
        };
        self.replicas.shared.runtime.blocking(PLANE, close).await;
    }
}

/// What may be copied now: no more than the rate allows on average.
struct Pace {
    clock: Clock,
    /// Bytes that were copied ahead of the rate, at `since`.
    debt: u64,
    since: MonoTime,
}

impl Pace {
    fn new(clock: &Clock) -> Pace {
        Pace { clock: clock.clone(), debt: 0, since: clock.now() }
    }

    fn note(&mut self, bytes: u64) {
        self.debt = self.debt.saturating_add(bytes);
    }

    /// How long to wait before the next bytes, and the rate, are looked at again.
    fn wait(&mut self, rate: u64) -> Option<Duration> {
        let now = self.clock.now();
        let passed = now.since_start().saturating_sub(self.since.since_start()).as_nanos();
        let allowed = u128::from(rate) * passed / 1_000_000_000;
        if allowed > 0 {
            self.debt = self.debt.saturating_sub(u64::try_from(allowed).unwrap_or(u64::MAX));
            self.since = now;
        }
        if self.debt == 0 || rate >= UNBOUNDED {
            self.debt = 0;
            return None;
        }
        let nanos = u128::from(self.debt) * 1_000_000_000 / u128::from(rate);
        let wait = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(wait.clamp(Duration::from_millis(1), PACE_MAX))
    }
}
