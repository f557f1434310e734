//! Accepting connections: limits, and spreading them over the data threads.
//!
//! Accepting runs on the control plane, so that a stalled data thread does not keep others from
//! connecting. Controller connections stay there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use ottla_runtime::{Listener, NewConnection, Plane, Stream};
use ottla_security::Principal;
use tokio::sync::Notify;

use crate::connection::{Connection, Peer};
use crate::services::{ListenerId, Services};

/// Counts the connections of a node against its limits. Copies share the count.
#[derive(Clone)]
pub struct ConnectionCount {
    shared: Arc<Shared>,
}

struct Shared {
    connections_max: u32,
    per_address_max: u32,
    counts: Mutex<Counts>,
    freed: Notify,
}

#[derive(Default)]
struct Counts {
    total: u32,
    by_address: BTreeMap<IpAddr, u32>,
    /// Data thread that gets the next connection.
    next_thread: usize,
}

/// A counted connection; uncounted when dropped.
struct Counted {
    count: ConnectionCount,
    address: IpAddr,
}

impl ConnectionCount {
    /// No connections yet.
    #[must_use]
    pub fn new(connections_max: u32, per_address_max: u32) -> ConnectionCount {
        let shared = Shared {
            connections_max,
            per_address_max,
            counts: Mutex::default(),
            freed: Notify::new(),
        };
        ConnectionCount { shared: Arc::new(shared) }
    }

    /// Number of connections now.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.shared.counts.lock().expect("never poisoned").total
    }

    /// Waits until there is room for one more. Cancel safe.
    async fn room(&self) {
        while self.total() >= self.shared.connections_max {
            self.shared.freed.notified().await;
        }
    }

    /// Counts a connection; `None` when its address has as many as it may.
    fn admit(&self, address: IpAddr) -> Option<Counted> {
        let mut counts = self.shared.counts.lock().expect("never poisoned");
        let of_address = counts.by_address.entry(address).or_default();
        if *of_address >= self.shared.per_address_max {
            return None;
        }
        *of_address += 1;
        counts.total += 1;
        Some(Counted { count: self.clone(), address })
    }

    fn next_thread(&self, threads: usize) -> usize {
        let mut counts = self.shared.counts.lock().expect("never poisoned");
        counts.next_thread = (counts.next_thread + 1) % threads;
        counts.next_thread
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.count.shared.counts.lock().expect("never poisoned");
        counts.total -= 1;
        if let Some(of_address) = counts.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                counts.by_address.remove(&self.address);
            }
        }
        drop(counts);
        self.count.shared.freed.notify_one();
    }
}

/// Accepts connections of a listener for ever.
pub async fn accept(services: Arc<Services>, listener: Listener, id: ListenerId) {
    loop {
        services.connections.room().await;
        match listener.accept().await {
            Ok(connection) => admit(&services, connection, id),
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                services.runtime.clock().sleep(ottla_runtime::net::ACCEPT_RETRY).await;
            }
        }
    }
}

fn admit(services: &Arc<Services>, connection: NewConnection, listener: ListenerId) {
    let address = connection.peer;
    let Some(counted) = services.connections.admit(address.ip()) else {
        tracing::info!(%address, "closing connection: its address has too many");
        return;
    };
    let plane = if listener.is_controller() {
        Plane::Control
    } else {
        Plane::Data(services.connections.next_thread(services.runtime.data_threads()))
    };
    let peer = Peer { principal: Principal::anonymous(), address, listener, plane };
    let task = serve(services.clone(), peer, connection, counted);
    services.runtime.spawn(plane, "connection", task);
}

async fn serve(services: Arc<Services>, peer: Peer, connection: NewConnection, counted: Counted) {
    let stream: Stream = match connection.attach() {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(address = %peer.address, %error, "connection went before it was served");
            return;
        }
    };
    Connection::new(services, peer, stream).serve().await;
    drop(counted);
}
