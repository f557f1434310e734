//! The door to the `kafka-protocol` crate's requests and answers.
//!
//! Its `decode` may reserve memory by a count from the wire before it reads an element: frames are
//! limited before they come here, and the binary's allocator reserves lazily. Its
//! `valid_versions()` claims versions that it cannot read and is never asked. Versions that differ
//! from a version it knows only by their number are read and written as that one
//! ([`codec_version`]).

use bytes::{Bytes, BytesMut};
pub use kafka_protocol::messages::*;
pub use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use ottla_types::Uuid;

pub use crate::api_key::ApiKey;
use crate::codec::{DecodeError, Decoded};

/// The version in whose form the crate reads and writes `version` of this kind of request.
#[must_use]
pub fn codec_version(api_key: ApiKey, version: i16) -> i16 {
    match (api_key, version) {
        // KIP-1023 added a special timestamp in version 11, and no field.
        (ApiKey::ListOffsets, 11) => 10,
        // KIP-1066 added a field to the answer, which is written by hand.
        (ApiKey::DescribeLogDirs, 5) => 4,
        _ => version,
    }
}

/// Reads the body of a request. Bytes behind the last field are tolerated, as Kafka does.
///
/// # Errors
/// `Truncated` stands for whatever the crate found wrong; its text is of no use to a client.
pub fn decode_request<R: Decodable>(body: &Bytes, api_key: ApiKey, version: i16) -> Decoded<R> {
    let mut body = body.clone();
    R::decode(&mut body, codec_version(api_key, version)).map_err(|_| DecodeError::Truncated)
}

/// Appends the body of an answer.
///
/// # Panics
/// When the answer holds what its version cannot say, which is a mistake in the handler.
pub fn encode_response<R: Encodable>(
    response: &R,
    api_key: ApiKey,
    version: i16,
    out: &mut BytesMut,
) {
    response
        .encode(out, codec_version(api_key, version))
        .expect("handlers build what the version can say");
}

/// An id as the crate's messages hold it.
#[must_use]
pub fn to_wire_uuid(id: Uuid) -> uuid::Uuid {
    uuid::Uuid::from_bytes(id.0)
}

/// An id from the crate's messages.
#[must_use]
pub fn from_wire_uuid(id: uuid::Uuid) -> Uuid {
    Uuid(id.into_bytes())
}
