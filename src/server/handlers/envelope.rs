//! Envelope (58): a client's request that a broker forwards to the controller (KIP-590).
//!
//! Versions: 0.
//! - The request inside is handled as if its client had sent it here: authorized as the principal
//!   and from the address that the envelope names. Its answer, header included, is in the
//!   envelope's.
//! - Only requests that Kafka forwards may be inside; an envelope is none of them.
//! - The sender needs CLUSTER_ACTION on the cluster: it speaks for others.
//!
//! Errors: `CLUSTER_AUTHORIZATION_FAILED`, `PRINCIPAL_DESERIALIZATION_FAILURE`, `INVALID_REQUEST`
//! (an address that is none, or a request that is not forwarded), `UNSUPPORTED_VERSION` (a request
//! that cannot be read, or is not answered here), `NOT_CONTROLLER`. All are the envelope's own.

use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use ottla_protocol::envelope::ForwardedPrincipal;
use ottla_protocol::messages::{EnvelopeRequest, EnvelopeResponse, decode_request};
use ottla_protocol::{ApiKey, Decoded, RequestHeader, RequestPrefix};
use ottla_security::Principal;
use ottla_types::ErrorCode;

use super::quorum::check_sender;
use crate::apis::{Api, Incoming, find};
use crate::connection::Peer;
use crate::dispatch::Reply;
use crate::response::{Chunk, Response};
use crate::services::Services;

/// Bytes of a frame in front of its correlation id.
const LENGTH_LEN: usize = 4;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let header = request.header.clone();
    let body: EnvelopeRequest = decode_request(&request.body, header.api_key, header.api_version)?;
    let reply = check_sender(services, &request)
        .and_then(|()| check_controller(services))
        .and_then(|()| forward(services, &body, request.peer));
    Ok(match reply {
        Err(error) => Reply::Now(refuse(&header, error)),
        Ok(Reply::Now(inner)) => Reply::Now(wrap(&header, &inner)),
        Ok(Reply::Later(inner)) => {
            Reply::Later(Box::pin(async move { wrap(&header, &inner.await) }))
        }
        // Nothing that is forwarded holds others up, or is not answered.
        Ok(Reply::Held(_) | Reply::None | Reply::Close) => {
            Reply::Now(refuse(&header, ErrorCode::UnsupportedVersion))
        }
    })
}

/// A controller that does not lead says so with the envelope, so that the broker asks another one.
fn check_controller(services: &Services) -> Result<(), ErrorCode> {
    let leads = services.quorum.leader() == Some(services.identity.node_id);
    if leads { Ok(()) } else { Err(ErrorCode::NotController) }
}

/// Begins the request inside.
fn forward(services: &Services, body: &EnvelopeRequest, sender: &Peer) -> Result<Reply, ErrorCode> {
    let peer = client(body, sender)?;
    let frame = &body.request_data;
    let (api, header, body) = request_in(frame).map_err(|error| match error {
        NotForwarded::Unreadable => ErrorCode::UnsupportedVersion,
        NotForwarded::Ineligible => ErrorCode::InvalidRequest,
    })?;
    let reply = (api.handler)(services, Incoming { peer: &peer, header, body });
    reply.map_err(|_| ErrorCode::UnsupportedVersion)
}

/// Who sent the request inside, and from where.
fn client(body: &EnvelopeRequest, sender: &Peer) -> Result<Peer, ErrorCode> {
    let principal = body.request_principal.as_deref().unwrap_or_default();
    let principal = ForwardedPrincipal::read(principal)
        .map_err(|_| ErrorCode::PrincipalDeserializationFailure)?;
    let address: &[u8] = &body.client_host_address;
    let ip = if let Ok(v4) = <[u8; 4]>::try_from(address) {
        IpAddr::from(v4)
    } else {
        IpAddr::from(<[u8; 16]>::try_from(address).map_err(|_| ErrorCode::InvalidRequest)?)
    };
    Ok(Peer {
        principal: Principal { kind: principal.kind, name: principal.name },
        address: SocketAddr::new(ip, sender.address.port()),
        listener: sender.listener,
        plane: sender.plane,
    })
}

/// Why a request is not begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NotForwarded {
    /// It cannot be read, or is not answered here.
    Unreadable,
    /// Brokers answer it themselves.
    Ineligible,
}

fn request_in(frame: &Bytes) -> Result<(&'static Api, RequestHeader, Bytes), NotForwarded> {
    let unreadable = NotForwarded::Unreadable;
    let prefix = RequestPrefix::read(frame).map_err(|_| unreadable)?;
    let key = ApiKey::from_code(prefix.api_key).ok_or(unreadable)?;
    if !key.is_forwardable() {
        return Err(NotForwarded::Ineligible);
    }
    let api = find(prefix.api_key, true).ok_or(unreadable)?;
    let is_short = api.length_max.is_none_or(|max| frame.len() <= max as usize);
    if !api.versions.contains(&prefix.api_version) || !is_short {
        return Err(unreadable);
    }
    let (header, body) = RequestHeader::split(frame, key).map_err(|_| unreadable)?;
    Ok((api, header, body))
}

/// The answer to the request inside, in an envelope.
fn wrap(header: &RequestHeader, inner: &Response) -> Response {
    let mut bytes = BytesMut::new();
    for chunk in &inner.chunks {
        match chunk {
            Chunk::Bytes(more) => bytes.extend_from_slice(more),
            // Nothing that is forwarded is answered with a piece of a file.
            Chunk::Extent(_) => return refuse(header, ErrorCode::UnknownServerError),
        }
    }
    let answer = bytes.freeze().slice(LENGTH_LEN..);
    Response::encode(header, &EnvelopeResponse::default().with_response_data(Some(answer)))
}

fn refuse(header: &RequestHeader, error: ErrorCode) -> Response {
    let answer = EnvelopeResponse::default().with_response_data(None);
    Response::encode(header, &answer.with_error_code(error.code()))
}

#[cfg(test)]
mod tests {
    use ottla_runtime::Plane;

    use super::*;
    use crate::services::ListenerId;

    fn envelope(principal: Option<&'static [u8]>, address: &'static [u8]) -> EnvelopeRequest {
        EnvelopeRequest::default()
            .with_request_principal(principal.map(Bytes::from_static))
            .with_client_host_address(Bytes::from_static(address))
    }

    #[test]
    fn the_client_is_who_the_envelope_says() {
        let sender = Peer {
            principal: Principal::anonymous(),
            address: SocketAddr::from(([127, 0, 0, 1], 1234)),
            listener: ListenerId::Controller(0),
            plane: Plane::Control,
        };
        let alice: &[u8] = b"\0\0\x05User\x06alice\0\0";
        let found = client(&envelope(Some(alice), &[10, 0, 0, 7]), &sender).expect("sound");
        assert_eq!(
            (found.principal.kind.as_str(), found.principal.name.as_str()),
            ("User", "alice")
        );
        assert_eq!(found.address.ip(), IpAddr::from([10, 0, 0, 7]));
        let found = client(&envelope(Some(alice), &[1; 16]), &sender).expect("sound");
        assert_eq!(found.address.ip(), IpAddr::from([1; 16]));
        let error = |principal, address| client(&envelope(principal, address), &sender).err();
        assert_eq!(error(None, &[1; 4]), Some(ErrorCode::PrincipalDeserializationFailure));
        assert_eq!(error(Some(b"xx"), &[1; 4]), Some(ErrorCode::PrincipalDeserializationFailure));
        assert_eq!(error(Some(alice), &[1; 5]), Some(ErrorCode::InvalidRequest));
    }

    #[test]
    fn only_what_brokers_forward_is_begun() {
        let error = |bytes: &[u8]| request_in(&Bytes::copy_from_slice(bytes)).err();
        let frame = |key: u8, version: u8| [0, key, 0, version, 0, 0, 0, 7, 0, 0, 0];
        assert_eq!(error(&frame(19, 7)), None);
        assert_eq!(error(&frame(19, 99)), Some(NotForwarded::Unreadable));
        assert_eq!(error(&frame(19, 7)[..9]), Some(NotForwarded::Unreadable));
        assert_eq!(error(&frame(18, 0)), Some(NotForwarded::Ineligible));
        assert_eq!(error(&frame(58, 0)), Some(NotForwarded::Ineligible), "no envelope inside");
        assert_eq!(error(&frame(30, 3)), Some(NotForwarded::Unreadable), "not built");
        assert_eq!(error(&[0x7f, 0, 0, 0, 0, 0, 0, 7]), Some(NotForwarded::Unreadable));
    }
}
