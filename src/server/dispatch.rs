//! From a frame to its handler.

use bytes::Bytes;
use ottla_protocol::{RequestHeader, RequestPrefix};

use crate::apis::{Incoming, find};
use crate::connection::{HeldRequest, LaterResponse, Peer};
use crate::response::Response;
use crate::services::Services;

/// What becomes of a request.
pub enum Reply {
    /// The answer.
    Now(Response),
    /// The answer comes later; the connection keeps its place.
    Later(LaterResponse),
    /// The request is begun elsewhere; nothing behind it may be begun before its reply is there.
    Held(HeldRequest),
    /// There is no answer (a produce with acks=0).
    None,
    /// The connection is closed, which is the answer.
    Close,
}

/// Begins a request. The inbox has seen that the listener takes it.
// What it takes is counted by its name (tests/gates).
#[inline(never)]
pub fn dispatch(services: &Services, peer: &Peer, frame: &Bytes) -> Reply {
    let reply = RequestPrefix::read(frame).and_then(|prefix| {
        let api = find(prefix.api_key, peer.listener.is_controller());
        let api = api.expect("the inbox lets nothing else pass");
        let (header, body) = RequestHeader::split(frame, api.key)?;
        let (key, version) = (header.api_key, header.api_version);
        tracing::debug!(api = %key, version, address = %peer.address, "request");
        (api.handler)(services, Incoming { peer, header, body })
    });
    reply.unwrap_or_else(|error| {
        tracing::info!(address = %peer.address, %error, "closing connection: not a request");
        Reply::Close
    })
}
