//! Where the replicas of a new topic go.
//!
//! Stripes, as Kafka lays them: racks stand in a ring, and the brokers of a rack in a ring of
//! their own, each with a start drawn by chance. A partition's leader is the next broker that is
//! not fenced, from the next rack that has one; its other replicas go round the racks, so that no
//! rack gets a second one before all others have one, and a fenced broker only when its rack has
//! no other left. For the next partition all starts move by one. When each broker could have led
//! once, the rings are shuffled, as the same order would give the same sets again.

use ottla_types::NodeId;

use super::Random;
use super::error::PlacementError;

/// A broker that can take a replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct UsableBroker {
    pub(super) id: NodeId,
    pub(super) rack: Option<String>,
    pub(super) fenced: bool,
}

/// Brokers of one rack that are all fenced, or all not.
#[derive(Default)]
struct Ring {
    brokers: Vec<NodeId>,
    start: usize,
    /// How many of them the present partition was given.
    given: usize,
    /// The partition that `given` is about.
    round: usize,
}

impl Ring {
    /// The next broker that the partition of this round does not have yet.
    fn next(&mut self, round: usize) -> Option<NodeId> {
        if self.brokers.is_empty() {
            return None;
        }
        if self.round != round {
            self.round = round;
            self.given = 0;
            self.start = (self.start + 1) % self.brokers.len();
        }
        if self.given == self.brokers.len() {
            return None;
        }
        let broker = self.brokers[(self.start + self.given) % self.brokers.len()];
        self.given += 1;
        Some(broker)
    }
}

#[derive(Default)]
struct Rack {
    name: Option<String>,
    unfenced: Ring,
    fenced: Ring,
}

struct Racks {
    racks: Vec<Rack>,
    start: usize,
    /// Counts the partitions. (Kafka begins anew after a shuffle, and a ring that was not used in
    /// between takes the partition for the one it saw before.)
    round: usize,
    /// Partitions that are placed before the rings are shuffled.
    until_shuffle: usize,
    unfenced_count: usize,
}

/// The replicas of each partition, the leader first.
pub(super) fn place(
    brokers: &[UsableBroker],
    partitions: usize,
    replication_factor: usize,
    random: &mut Random<'_>,
) -> Result<Vec<Vec<NodeId>>, PlacementError> {
    if brokers.iter().all(|broker| broker.fenced) {
        return Err(PlacementError::AllFenced);
    }
    if replication_factor > brokers.len() {
        let (wanted, usable) = (replication_factor, brokers.len());
        return Err(PlacementError::TooFewBrokers { wanted, usable });
    }
    let mut racks = Racks::new(brokers, random);
    Ok((0..partitions).map(|_| racks.place(replication_factor, random)).collect())
}

impl Racks {
    fn new(brokers: &[UsableBroker], random: &mut Random<'_>) -> Racks {
        let mut racks: Vec<Rack> = Vec::new();
        let mut sorted: Vec<&UsableBroker> = brokers.iter().collect();
        sorted.sort_by_key(|broker| (&broker.rack, broker.id));
        for broker in sorted {
            if racks.last().is_none_or(|rack| rack.name != broker.rack) {
                racks.push(Rack { name: broker.rack.clone(), ..Rack::default() });
            }
            let rack = racks.last_mut().expect("a rack was just pushed");
            let ring = if broker.fenced { &mut rack.fenced } else { &mut rack.unfenced };
            ring.brokers.push(broker.id);
        }
        for ring in racks.iter_mut().flat_map(|rack| [&mut rack.fenced, &mut rack.unfenced]) {
            ring.start = below(ring.brokers.len(), random);
        }
        let unfenced_count = brokers.iter().filter(|broker| !broker.fenced).count();
        let start = below(racks.len(), random);
        Racks { racks, start, round: 0, until_shuffle: unfenced_count, unfenced_count }
    }

    fn place(&mut self, replication_factor: usize, random: &mut Random<'_>) -> Vec<NodeId> {
        if self.until_shuffle == 0 {
            self.shuffle(random);
        }
        self.until_shuffle -= 1;
        let (round, count) = (self.round, self.racks.len());
        let around = (0..count).map(|step| (self.start + step) % count);
        let (leader_rack, leader) = around
            .filter_map(|at| Some((at, self.racks[at].unfenced.next(round)?)))
            .next()
            .expect("there is a broker that is not fenced");
        let mut replicas = vec![leader];
        // The leader's rack had its turn in the first time round.
        let mut skipped = Some(leader_rack);
        let mut at = self.start;
        while replicas.len() < replication_factor {
            if skipped == Some(at) {
                skipped = None;
            } else {
                let rack = &mut self.racks[at];
                replicas.extend(rack.unfenced.next(round).or_else(|| rack.fenced.next(round)));
            }
            at = (at + 1) % count;
        }
        self.round += 1;
        self.start = (self.start + 1) % count;
        replicas
    }

    fn shuffle(&mut self, random: &mut Random<'_>) {
        self.until_shuffle = self.unfenced_count;
        shuffle(&mut self.racks, random);
        for rack in &mut self.racks {
            shuffle(&mut rack.fenced.brokers, random);
            shuffle(&mut rack.unfenced.brokers, random);
        }
    }
}

fn shuffle<T>(items: &mut [T], random: &mut Random<'_>) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(last + 1, random));
    }
}

/// A number below `limit`, or 0 when there is none; the bias of the remainder is below 2^-32.
fn below(limit: usize, random: &mut Random<'_>) -> usize {
    (random() % limit.max(1) as u64) as usize
}
