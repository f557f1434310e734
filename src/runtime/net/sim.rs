//! The simulated network: pipes with delay, bounded buffers, short reads and writes, and resets.
//!
//! Bytes arrive whole and in order, as TCP gives them, after a delay that the seed draws for each
//! write. A connection ends by a close from one side, by the death of a node, or by a reset that
//! the harness asks for; then what was on its way may be lost.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use bytes::BufMut;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::entropy::Entropy;
use crate::sim::{SimNode, Trace};

/// Bytes on their way in one direction of a connection.
const PIPE_BYTES_MAX: usize = 128 * 1024;

/// All listeners and connections of a world. Copies share them.
#[derive(Clone)]
pub(crate) struct Fabric {
    state: Arc<Mutex<FabricState>>,
    entropy: Entropy,
    trace: Trace,
}

#[derive(Default)]
struct FabricState {
    listeners: BTreeMap<SocketAddr, Arc<AcceptQueue>>,
    connections: Vec<Weak<Wire>>,
    next_port: u16,
}

#[derive(Default)]
struct AcceptQueue {
    waiting: Mutex<VecDeque<SimConnection>>,
    arrived: Notify,
}

/// The two pipes of a connection.
struct Wire {
    client: SocketAddr,
    server: SocketAddr,
    to_server: Pipe,
    to_client: Pipe,
}

#[derive(Default)]
struct Pipe {
    state: Mutex<PipeState>,
    readable: Notify,
    writable: Notify,
}

#[derive(Default)]
struct PipeState {
    chunks: VecDeque<Chunk>,
    buffered: usize,
    closed_by_writer: bool,
    closed_by_reader: bool,
    reset: bool,
}

struct Chunk {
    arrives: Instant,
    bytes: Vec<u8>,
    read: usize,
}

pub(crate) struct SimListener {
    address: SocketAddr,
    queue: Arc<AcceptQueue>,
    fabric: Fabric,
}

/// The server's end before it is watched.
pub(crate) struct SimConnection {
    wire: Arc<Wire>,
    fabric: Fabric,
}

pub(crate) struct SimStream {
    wire: Arc<Wire>,
    is_client: bool,
    fabric: Fabric,
}

impl Fabric {
    pub(crate) fn new(entropy: Arc<Mutex<fastrand::Rng>>, trace: Trace) -> Fabric {
        Fabric { state: Arc::default(), entropy: Entropy::seeded(entropy), trace }
    }

    /// Frees the listeners of a node and resets its connections.
    pub(crate) fn node_died(&self, address: IpAddr) {
        let mut state = self.lock();
        state.listeners.retain(|at, _| at.ip() != address);
        state.connections.retain(|wire| wire.strong_count() > 0);
        for wire in state.connections.iter().filter_map(Weak::upgrade) {
            if wire.client.ip() == address || wire.server.ip() == address {
                wire.reset();
            }
        }
    }

    pub(crate) fn reset_some(&self, percent: u64, entropy: &Entropy) {
        for wire in self.lock().connections.iter().filter_map(Weak::upgrade) {
            if entropy.below(100) < percent {
                self.trace.note(|| format!("net: reset {} - {}", wire.client, wire.server));
                wire.reset();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, FabricState> {
        self.state.lock().expect("the simulated network does not panic")
    }
}

impl SimListener {
    pub(crate) fn bind(node: &SimNode, asked: SocketAddr) -> io::Result<SimListener> {
        let fabric = node.world().fabric().clone();
        let mut state = fabric.lock();
        let port = if asked.port() == 0 { state.fresh_port() } else { asked.port() };
        let address = SocketAddr::new(node.address(), port);
        if state.listeners.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let queue = Arc::new(AcceptQueue::default());
        state.listeners.insert(address, queue.clone());
        drop(state);
        Ok(SimListener { address, queue, fabric })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn accept(&self) -> io::Result<SimConnection> {
        loop {
            let next = self.queue.waiting.lock().expect("a queue").pop_front();
            match next {
                Some(connection) => return Ok(connection),
                None => self.queue.arrived.notified().await,
            }
        }
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut state = self.fabric.lock();
        // A new process may listen on the address already; its queue is another one.
        let ours = state.listeners.get(&self.address).is_some_and(|q| Arc::ptr_eq(q, &self.queue));
        if ours {
            state.listeners.remove(&self.address);
        }
    }
}

impl SimConnection {
    pub(crate) fn peer(&self) -> SocketAddr {
        self.wire.client
    }

    pub(crate) fn into_stream(self) -> SimStream {
        SimStream { wire: self.wire, is_client: false, fabric: self.fabric }
    }
}

impl SimStream {
    #[expect(clippy::disallowed_methods, reason = "the delay of the simulated network")]
    pub(crate) async fn connect(node: &SimNode, server: SocketAddr) -> io::Result<SimStream> {
        let fabric = node.world().fabric().clone();
        tokio::time::sleep(Duration::from_millis(fabric.entropy.below(3))).await;
        if node.is_dead() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let mut state = fabric.lock();
        let Some(queue) = state.listeners.get(&server).cloned() else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let client = SocketAddr::new(node.address(), state.fresh_port());
        let wire = Arc::new(Wire {
            client,
            server,
            to_server: Pipe::default(),
            to_client: Pipe::default(),
        });
        state.connections.retain(|wire| wire.strong_count() > 0);
        state.connections.push(Arc::downgrade(&wire));
        drop(state);
        fabric.trace.event(|| format!("net: connect {client} - {server}"));
        let accepted = SimConnection { wire: wire.clone(), fabric: fabric.clone() };
        queue.waiting.lock().expect("a queue").push_back(accepted);
        queue.arrived.notify_one();
        Ok(SimStream { wire, is_client: true, fabric })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        if self.is_client { self.wire.client } else { self.wire.server }
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        let pipe = self.incoming();
        loop {
            let arrives = {
                let state = pipe.lock();
                if state.reset || (state.closed_by_writer && state.chunks.is_empty()) {
                    return Ok(());
                }
                state.chunks.front().map(|chunk| chunk.arrives)
            };
            match arrives {
                Some(at) if has_come(at) => return Ok(()),
                Some(at) => wait_until(at).await,
                None => pipe.readable.notified().await,
            }
        }
    }

    pub(crate) fn try_read(&self, buf: &mut impl BufMut) -> io::Result<usize> {
        let pipe = self.incoming();
        let mut state = pipe.lock();
        if state.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let Some(chunk) = state.chunks.front_mut().filter(|chunk| has_come(chunk.arrives)) else {
            let at_end = state.closed_by_writer && state.chunks.is_empty();
            return if at_end { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        };
        let available = (chunk.bytes.len() - chunk.read).min(buf.remaining_mut());
        let count = self.a_part_of(available);
        buf.put_slice(&chunk.bytes[chunk.read..chunk.read + count]);
        chunk.read += count;
        if chunk.read == chunk.bytes.len() {
            state.chunks.pop_front();
        }
        state.buffered -= count;
        pipe.writable.notify_one();
        Ok(count)
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        let pipe = self.outgoing();
        loop {
            {
                let state = pipe.lock();
                if state.reset || state.closed_by_reader || state.buffered < PIPE_BYTES_MAX {
                    return Ok(());
                }
            }
            pipe.writable.notified().await;
        }
    }

    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let pipe = self.outgoing();
        let mut state = pipe.lock();
        if state.reset || state.closed_by_reader {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        if offered == 0 {
            return Ok(0);
        }
        let room = PIPE_BYTES_MAX - state.buffered;
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.a_part_of(offered.min(room));
        let bytes: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).take(count).collect();
        let hash = crate::sim::content_hash(&bytes);
        self.fabric.trace.event(|| {
            let (from, to) = (self.wire.client, self.wire.server);
            let arrow = if self.is_client { "->" } else { "<-" };
            format!("net: {from} {arrow} {to} {count} bytes {hash:016x}")
        });
        let delay = Duration::from_millis(self.fabric.entropy.below(4));
        let earliest = state.chunks.back().map(|chunk| chunk.arrives);
        let arrives = earliest.into_iter().fold(now() + delay, Instant::max);
        state.chunks.push_back(Chunk { arrives, bytes, read: 0 });
        state.buffered += count;
        pipe.readable.notify_one();
        Ok(count)
    }

    /// Mostly all of it, sometimes less, never nothing (of something).
    fn a_part_of(&self, available: usize) -> usize {
        if available > 1 && self.fabric.entropy.below(4) == 0 {
            1 + self.fabric.entropy.below(available as u64 - 1) as usize
        } else {
            available
        }
    }

    fn incoming(&self) -> &Pipe {
        if self.is_client { &self.wire.to_client } else { &self.wire.to_server }
    }

    fn outgoing(&self) -> &Pipe {
        if self.is_client { &self.wire.to_server } else { &self.wire.to_client }
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.outgoing().lock().closed_by_writer = true;
        self.outgoing().readable.notify_one();
        self.incoming().lock().closed_by_reader = true;
        self.incoming().writable.notify_one();
    }
}

impl Wire {
    fn reset(&self) {
        for pipe in [&self.to_server, &self.to_client] {
            pipe.lock().reset = true;
            pipe.readable.notify_one();
            pipe.writable.notify_one();
        }
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, PipeState> {
        self.state.lock().expect("a pipe does not panic")
    }
}

impl FabricState {
    fn fresh_port(&mut self) -> u16 {
        self.next_port = if self.next_port < 30_000 { 30_000 } else { self.next_port + 1 };
        self.next_port
    }
}

fn has_come(at: Instant) -> bool {
    at <= now()
}

#[expect(clippy::disallowed_methods, reason = "virtual time of the simulated network")]
fn now() -> Instant {
    Instant::now()
}

async fn wait_until(at: Instant) {
    tokio::time::sleep_until(at).await;
}
