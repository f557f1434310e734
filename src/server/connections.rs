//! The connections of a node's clients, or of its quorum: how many there are, and which goes when
//! there is too much.
//!
//! - A listener accepts while it has room for one more and they all have; `max.connections.per.ip`
//!   closes what is over. The brokers' own listener, when it is not the only one, accepts all the
//!   same, and the connection that was quiet for longest is closed for it (`ConnectionQuotas`).
//! - New connections come as fast as `max.connection.creation.rate` says, as the mean of ten
//!   seconds; one that is too early waits, up to a second.
//! - Answers that wait for sockets may take `ottla.unsent.max.bytes`. Beyond, the connection
//!   whose client has taken nothing for longest is closed.
//! - When requests find no memory, whoever holds some and sends slowly is closed; and if there is
//!   nobody, after a while, one that waits itself (so that none wait for each other for ever).
//!
//! A connection is closed by its own task, which is told why ([`Admitted::cut`]). Everything here
//! is counts behind a mutex that is held for moments; a connection that answers as fast as its
//! client reads never takes it between its first request and its end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ottla_config::ListenerLimits;
use ottla_types::MonoTime;
use tokio::sync::{Notify, oneshot};

use crate::pace::Pace;

/// A request that came for so long, and below this rate, holds memory for nothing.
const SLOW_AFTER: Duration = Duration::from_secs(1);
const SLOW_BYTES_PER_SECOND: u128 = 256 << 10;
/// Longest wait for memory before another request that waits gives its part back.
const STARVED_MAX: Duration = Duration::from_secs(2);

/// Why a connection is closed for the sake of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// It was quiet for longest when there was no room for another one.
    Quiet,
    /// Its client has taken nothing of its answers for longest when they took too much memory.
    Unread,
    /// Its request took memory that others waited for.
    Slow,
}

/// What the connections of some listeners are held to.
#[derive(Clone, Debug)]
pub struct ConnectionsSetup {
    /// Connections at one time.
    pub connections_max: u32,
    /// New connections in a second.
    pub creation_rate_max: u32,
    /// Connections of one address.
    pub per_ip_max: u32,
    /// The same for single addresses.
    pub per_ip_overrides: BTreeMap<IpAddr, u32>,
    /// Bytes of answers that wait for sockets.
    pub unsent_max: usize,
    /// Each listener, in the order of their indexes.
    pub listeners: Vec<ListenerLimits>,
}

/// Counts connections against their limits. Copies share the counts.
#[derive(Clone)]
pub struct Connections {
    shared: Arc<Shared>,
}

struct Shared {
    setup: ConnectionsSetup,
    /// Connections of one address, as it is now.
    per_ip_max: AtomicU32,
    counts: Mutex<Counts>,
    /// A connection has gone; one for each listener, as each has one task that waits.
    freed: Vec<Notify>,
    /// Bytes of answers that wait for sockets.
    unsent: AtomicUsize,
}

#[derive(Default)]
struct Counts {
    total: u32,
    by_address: BTreeMap<IpAddr, u32>,
    by_listener: Vec<u32>,
    rates: Vec<Pace>,
    rate: Pace,
    live: BTreeMap<u64, Live>,
    next_id: u64,
    /// Data thread that gets the next connection.
    next_thread: usize,
}

struct Live {
    slot: Arc<Slot>,
    listener: usize,
    /// Gone once the connection was told to end.
    cut: Option<oneshot::Sender<Cut>>,
}

/// What others know of a connection. Times are microseconds since the process started.
#[derive(Default)]
pub struct Slot {
    active_at: AtomicU64,
    /// When its client last took something of an answer.
    taken_at: AtomicU64,
    unsent: AtomicUsize,
    /// When the large request that is being received began; 0 is none.
    request_began: AtomicU64,
    request_bytes: AtomicUsize,
    /// Whether it waits for memory.
    is_starved: AtomicBool,
}

/// A counted connection; uncounted when dropped.
pub struct Admitted {
    connections: Connections,
    id: u64,
    listener: usize,
    address: IpAddr,
    slot: Arc<Slot>,
    /// Bytes of answers that this connection has counted.
    unsent: usize,
    /// Tells that the connection is to end, for others' sake.
    pub cut: oneshot::Receiver<Cut>,
}

impl Connections {
    /// No connections yet.
    #[must_use]
    pub fn new(setup: ConnectionsSetup) -> Connections {
        let listeners = setup.listeners.len();
        let counts = Counts {
            by_listener: vec![0; listeners],
            rates: (0..listeners).map(|_| Pace::default()).collect(),
            ..Counts::default()
        };
        Connections {
            shared: Arc::new(Shared {
                per_ip_max: AtomicU32::new(setup.per_ip_max),
                setup,
                counts: Mutex::new(counts),
                freed: (0..listeners).map(|_| Notify::new()).collect(),
                unsent: AtomicUsize::new(0),
            }),
        }
    }

    /// Changes how many an address may have; those that are there stay.
    pub fn set_per_ip_max(&self, per_ip_max: u32) {
        self.shared.per_ip_max.store(per_ip_max, Relaxed);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.shared.counts.lock().expect("never poisoned")
    }

    /// Whether `max.connections` does not keep it out.
    fn is_protected(&self, listener: usize) -> bool {
        let listeners = &self.shared.setup.listeners;
        listeners.len() > 1 && listeners[listener].is_inter_broker
    }

    fn has_room(&self, listener: usize) -> bool {
        let setup = &self.shared.setup;
        let counts = self.counts();
        counts.by_listener[listener] < setup.listeners[listener].connections_max
            && (self.is_protected(listener) || counts.total < setup.connections_max)
    }

    /// Waits until a listener may take one more. Cancel safe; one waits for each listener.
    pub async fn room(&self, listener: usize) {
        while !self.has_room(listener) {
            self.shared.freed[listener].notified().await;
        }
    }

    /// Counts a new connection; `None` when its address has as many as it may.
    #[must_use]
    pub fn admit(&self, listener: usize, address: IpAddr, now: MonoTime) -> Option<Admitted> {
        // IPv4 over a socket of both families is IPv4 all the same.
        let address = address.to_canonical();
        let setup = &self.shared.setup;
        let per_ip_max = self.shared.per_ip_max.load(Relaxed);
        let of_address_max = setup.per_ip_overrides.get(&address).unwrap_or(&per_ip_max);
        let mut counts = self.counts();
        let of_address = counts.by_address.get(&address).copied().unwrap_or_default();
        if of_address >= *of_address_max {
            return None;
        }
        counts.by_address.insert(address, of_address + 1);
        counts.total += 1;
        counts.by_listener[listener] += 1;
        let slot = Arc::new(Slot::default());
        slot.active(now);
        let (cut, is_cut) = oneshot::channel();
        let id = counts.next_id;
        counts.next_id += 1;
        counts.live.insert(id, Live { slot: slot.clone(), listener, cut: Some(cut) });
        if counts.total > setup.connections_max {
            self.cut_quiet(&mut counts);
        }
        drop(counts);
        let connections = self.clone();
        Some(Admitted { connections, id, listener, address, slot, unsent: 0, cut: is_cut })
    }

    /// Counts a connection that came; how long it has to wait before it is served.
    #[must_use]
    pub fn pace(&self, listener: usize, now: MonoTime) -> Duration {
        let setup = &self.shared.setup;
        let mut counts = self.counts();
        let own = counts.rates[listener].wait(setup.listeners[listener].creation_rate_max, now);
        if self.is_protected(listener) {
            return own;
        }
        own.max(counts.rate.wait(setup.creation_rate_max, now))
    }

    /// The data thread for the next connection.
    #[must_use]
    pub fn next_thread(&self, threads: usize) -> usize {
        let mut counts = self.counts();
        counts.next_thread = (counts.next_thread + 1) % threads;
        counts.next_thread
    }

    /// Closes the connection that was quiet for longest, but for those of the brokers.
    fn cut_quiet(&self, counts: &mut Counts) {
        let others = counts.live.values_mut().filter(|live| !self.is_protected(live.listener));
        let quiet = others.filter(|live| live.cut.is_some());
        if let Some(live) = quiet.min_by_key(|live| live.slot.active_at.load(Relaxed)) {
            live.tell(Cut::Quiet);
        }
    }

    /// Closes those whose clients have taken nothing for longest, until the rest has room.
    fn cut_unread(&self) {
        let mut counts = self.counts();
        let mut unread: Vec<&mut Live> =
            counts.live.values_mut().filter(|live| live.cut.is_some()).collect();
        let mut left: usize = unread.iter().map(|live| live.slot.unsent.load(Relaxed)).sum();
        unread.sort_by_key(|live| live.slot.taken_at.load(Relaxed));
        for live in unread {
            if left <= self.shared.setup.unsent_max {
                return;
            }
            let unsent = live.slot.unsent.load(Relaxed);
            if unsent > 0 {
                left = left.saturating_sub(unsent);
                live.tell(Cut::Unread);
            }
        }
    }

    /// Closes those who hold memory for a request and send slowly. If there are none, and `starved`
    /// has waited for too long: another one that waits too, the one that holds most.
    pub fn cut_slow(&self, starved: &Slot, waited: Duration, now: MonoTime) {
        let mut counts = self.counts();
        let told = counts.live.values().any(|it| it.cut.is_none() && it.slot.is(starved));
        let holders = counts.live.values_mut().filter(|live| live.slot.is_receiving());
        let (slow, others): (Vec<_>, Vec<_>) = holders.partition(|live| live.slot.is_slow(now));
        if !slow.is_empty() || told || waited < STARVED_MAX {
            slow.into_iter().for_each(|live| live.tell(Cut::Slow));
            return;
        }
        let waits = |live: &&mut Live| {
            live.cut.is_some() && live.slot.is_starved.load(Relaxed) && !live.slot.is(starved)
        };
        let most = others.into_iter().filter(waits);
        if let Some(live) = most.max_by_key(|live| live.slot.request_bytes.load(Relaxed)) {
            live.tell(Cut::Slow);
        }
    }
}

impl Live {
    fn tell(&mut self, cut: Cut) {
        if let Some(sender) = self.cut.take() {
            // It may be ending by itself.
            let _ = sender.send(cut);
        }
    }
}

fn us(time: MonoTime) -> u64 {
    u64::try_from(time.since_start().as_micros()).unwrap_or(u64::MAX)
}

impl Slot {
    /// Something was received or sent.
    pub fn active(&self, now: MonoTime) {
        self.active_at.store(us(now), Relaxed);
    }

    /// A large request is being received since `began`, of which `bytes` are here.
    pub fn receiving(&self, began: MonoTime, bytes: usize) {
        self.request_bytes.store(bytes, Relaxed);
        self.request_began.store(us(began).max(1), Relaxed);
    }

    /// The request waits for memory, or does so no longer.
    pub fn starved(&self, is_starved: bool) {
        self.is_starved.store(is_starved, Relaxed);
    }

    /// Whether the request waits for memory.
    pub fn is_starved(&self) -> bool {
        self.is_starved.load(Relaxed)
    }

    /// The large request is here.
    pub fn received(&self) {
        self.request_began.store(0, Relaxed);
    }

    fn is(&self, other: &Slot) -> bool {
        std::ptr::eq(self, other)
    }

    fn is_receiving(&self) -> bool {
        self.request_began.load(Relaxed) != 0
    }

    fn is_slow(&self, now: MonoTime) -> bool {
        let began = self.request_began.load(Relaxed);
        let took = Duration::from_micros(us(now).saturating_sub(began));
        let bytes = self.request_bytes.load(Relaxed) as u128;
        !self.is_starved()
            && took >= SLOW_AFTER
            && bytes * 1000 < SLOW_BYTES_PER_SECOND * took.as_millis()
    }
}

impl Admitted {
    /// What others know of the connection.
    #[must_use]
    pub fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// The connections that it is one of.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// So many bytes of answers wait for the socket now, which last took some at `taken`.
    pub fn note_unsent(&mut self, bytes: usize, taken: MonoTime) {
        if bytes == 0 && self.unsent == 0 {
            return;
        }
        self.slot.taken_at.store(us(taken), Relaxed);
        self.slot.unsent.store(bytes, Relaxed);
        let total = &self.connections.shared.unsent;
        if bytes <= self.unsent {
            total.fetch_sub(self.unsent - bytes, Relaxed);
            self.unsent = bytes;
            return;
        }
        let more = bytes - self.unsent;
        self.unsent = bytes;
        if total.fetch_add(more, Relaxed) + more > self.connections.shared.setup.unsent_max {
            self.connections.cut_unread();
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let shared = &self.connections.shared;
        shared.unsent.fetch_sub(self.unsent, Relaxed);
        let mut counts = self.connections.counts();
        counts.live.remove(&self.id);
        counts.total -= 1;
        counts.by_listener[self.listener] -= 1;
        if let Some(of_address) = counts.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                counts.by_address.remove(&self.address);
            }
        }
        drop(counts);
        shared.freed.iter().for_each(Notify::notify_one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_millis(ms))
    }

    fn connections(max: u32, listeners: &[(u32, bool)], unsent_max: usize) -> Connections {
        let no_rate = i32::MAX.unsigned_abs();
        let limits = |(max, is_inter_broker): &(u32, bool)| ListenerLimits {
            connections_max: *max,
            creation_rate_max: no_rate,
            is_inter_broker: *is_inter_broker,
        };
        Connections::new(ConnectionsSetup {
            connections_max: max,
            creation_rate_max: no_rate,
            per_ip_max: 4,
            per_ip_overrides: BTreeMap::from([(address(9), 1)]),
            unsent_max,
            listeners: listeners.iter().map(limits).collect(),
        })
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn brokers_displace_who_was_quiet_for_longest() {
        let all = connections(2, &[(9, true), (9, false)], 0);
        let mut first = all.admit(1, address(1), at(5)).unwrap();
        let mut second = all.admit(1, address(2), at(6)).unwrap();
        assert!(!all.has_room(1) && all.has_room(0));
        first.slot().active(at(9));
        let broker = all.admit(0, address(3), at(10)).unwrap();
        assert_eq!(second.cut.try_recv(), Ok(Cut::Quiet));
        assert!(first.cut.try_recv().is_err());
        drop((second, broker));
        assert!(all.has_room(1));
        // The only listener has no precedence.
        let alone = connections(1, &[(9, true)], 0);
        let _one = alone.admit(0, address(1), at(0)).unwrap();
        assert!(!alone.has_room(0));
    }

    #[test]
    fn addresses_and_listeners_have_limits_of_their_own() {
        let all = connections(99, &[(9, false), (2, false)], 0);
        let mut held: Vec<_> = (0..4).map(|_| all.admit(0, address(1), at(0)).unwrap()).collect();
        assert!(all.admit(0, address(1), at(0)).is_none());
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert!(all.admit(0, mapped, at(0)).is_none(), "the same address");
        held.extend(all.admit(0, address(9), at(0)));
        assert!(all.admit(0, address(9), at(0)).is_none(), "an address of its own limit");
        held.truncate(3);
        held.extend(all.admit(1, address(1), at(0)));
        held.extend(all.admit(1, address(2), at(0)));
        assert!(held.len() == 5 && !all.has_room(1) && all.has_room(0));
    }

    #[test]
    fn who_reads_nothing_goes_first() {
        let all = connections(99, &[(99, false)], 100);
        let mut deaf = all.admit(0, address(1), at(0)).unwrap();
        let mut slow = all.admit(0, address(2), at(0)).unwrap();
        deaf.note_unsent(60, at(1));
        slow.note_unsent(30, at(8));
        assert!(deaf.cut.try_recv().is_err());
        slow.note_unsent(50, at(9));
        assert_eq!(deaf.cut.try_recv(), Ok(Cut::Unread));
        assert!(slow.cut.try_recv().is_err());
        drop(deaf);
        slow.note_unsent(0, at(9));
        assert_eq!(all.shared.unsent.load(Relaxed), 0);
    }

    #[test]
    fn who_sends_slowly_gives_memory_back() {
        let all = connections(99, &[(99, false)], 0);
        let mut slow = all.admit(0, address(1), at(0)).unwrap();
        let mut fast = all.admit(0, address(2), at(0)).unwrap();
        let mut starved = all.admit(0, address(3), at(0)).unwrap();
        slow.slot().receiving(at(0), 100 << 10);
        fast.slot().receiving(at(0), 900 << 10);
        starved.slot().receiving(at(0), 100 << 10);
        starved.slot().starved(true);
        let waited = Duration::from_secs(2);
        all.cut_slow(starved.slot(), Duration::ZERO, at(500));
        all.cut_slow(starved.slot(), waited, at(500));
        assert!(slow.cut.try_recv().is_err() && fast.cut.try_recv().is_err());
        all.cut_slow(starved.slot(), Duration::ZERO, at(1500));
        assert_eq!(slow.cut.try_recv(), Ok(Cut::Slow));
        drop(slow);
        fast.slot().starved(true);
        all.cut_slow(fast.slot(), Duration::ZERO, at(1500));
        assert!(starved.cut.try_recv().is_err(), "it may wait for a while");
        all.cut_slow(fast.slot(), waited, at(3500));
        assert_eq!(starved.cut.try_recv(), Ok(Cut::Slow));
        all.cut_slow(starved.slot(), waited, at(3500));
        assert!(fast.cut.try_recv().is_err(), "who is closed closes nobody");
    }
}
