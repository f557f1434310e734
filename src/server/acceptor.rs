//! Accepting connections: limits, and spreading them over the data threads.
//!
//! Accepting runs on the control plane, so that a stalled data thread does not keep others from
//! connecting. Controller connections stay there, and are counted apart: no crowd of clients keeps
//! the quorum out.

use std::sync::Arc;

use ottla_runtime::{Listener, NewConnection, Plane, Stream};
use ottla_security::Principal;

use crate::connection::{Connection, Peer};
use crate::connections::Admitted;
use crate::services::{ListenerId, Services};

/// Accepts connections of a listener for ever.
pub async fn accept(services: Arc<Services>, listener: Listener, id: ListenerId) {
    let (connections, clock) = (services.connections(id), services.runtime.clock());
    loop {
        connections.room(id.index()).await;
        match listener.accept().await {
            Ok(connection) => {
                let wait = connections.pace(id.index(), clock.now());
                if !wait.is_zero() {
                    clock.sleep(wait).await;
                }
                // Others may have come meanwhile, on other listeners.
                connections.room(id.index()).await;
                admit(&services, connection, id);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                clock.sleep(ottla_runtime::net::ACCEPT_RETRY).await;
            }
        }
    }
}

fn admit(services: &Arc<Services>, connection: NewConnection, listener: ListenerId) {
    let address = connection.peer;
    let (connections, now) = (services.connections(listener), services.runtime.clock().now());
    let Some(admitted) = connections.admit(listener.index(), address.ip(), now) else {
        tracing::info!(%address, "closing connection: its address has too many");
        return;
    };
    let plane = if listener.is_controller() {
        Plane::Control
    } else {
        Plane::Data(connections.next_thread(services.runtime.data_threads()))
    };
    let peer = Peer { principal: Principal::anonymous(), address, listener, plane };
    let task = serve(services.clone(), peer, connection, admitted);
    services.runtime.spawn(plane, "connection", task);
}

async fn serve(services: Arc<Services>, peer: Peer, connection: NewConnection, admitted: Admitted) {
    let stream: Stream = match connection.attach() {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(address = %peer.address, %error, "connection went before it was served");
            return;
        }
    };
    Connection::new(services, peer, admitted).serve(stream).await;
}
