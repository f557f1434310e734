//! The front of a request: key, version, correlation id, client id, tags.
//!
//! Parsed by hand, because what follows depends on it (which listener offers the key, how long the
//! frame may be) and because hostile bytes arrive here first.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use crate::api_key::ApiKey;
use crate::codec::{DecodeError, Decoded, Reader};

/// The first eight bytes of every request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestPrefix {
    /// Number of the kind of request; may be unknown.
    pub api_key: i16,
    /// Version of the request; may be unsupported.
    pub api_version: i16,
    /// Comes back in the answer.
    pub correlation_id: i32,
}

impl RequestPrefix {
    /// Bytes of the prefix.
    pub const LEN: usize = 8;

    /// Reads the prefix at the front of `frame` (without its length).
    ///
    /// # Errors
    /// `Truncated`.
    pub fn read(frame: &[u8]) -> Decoded<RequestPrefix> {
        let mut reader = Reader::new(frame);
        Ok(RequestPrefix {
            api_key: reader.i16()?,
            api_version: reader.i16()?,
            correlation_id: reader.i32()?,
        })
    }
}

/// A request's header and its body, still encoded.
#[derive(Clone, Debug)]
pub struct RequestHeader {
    /// Kind of request.
    pub api_key: ApiKey,
    /// Version of the request.
    pub api_version: i16,
    /// Comes back in the answer.
    pub correlation_id: i32,
    /// Name the client gives itself; empty when it gives none.
    pub client_id: StrBytes,
}

impl RequestHeader {
    /// Splits a frame of a known key into header and body. The body shares the frame's memory.
    ///
    /// A frame that ends before the client id is complete is refused; tags are passed over.
    ///
    /// # Errors
    /// When the frame is not a header; the connection is to be closed then, as Kafka does.
    pub fn split(frame: &Bytes, api_key: ApiKey) -> Decoded<(RequestHeader, Bytes)> {
        let prefix = RequestPrefix::read(frame)?;
        let mut reader = Reader::new(frame);
        reader.take(RequestPrefix::LEN)?;
        // KIP-482: the client id keeps its old form even in flexible headers.
        let client_id = match reader.string_len(false)? {
            None => StrBytes::new(),
            Some(len) => {
                let range = reader.take_range(len)?;
                StrBytes::from_utf8(frame.slice(range)).map_err(|_| DecodeError::BadUtf8)?
            }
        };
        if api_key.is_flexible(prefix.api_version) {
            reader.skip_tags()?;
        }
        let header = RequestHeader {
            api_key,
            api_version: prefix.api_version,
            correlation_id: prefix.correlation_id,
            client_id,
        };
        Ok((header, frame.slice(reader.position()..)))
    }

    /// The header without the client's name, which is a slice of the frame: for answers that wait
    /// and must not hold the frame's memory meanwhile.
    #[must_use]
    pub fn without_client_id(self) -> RequestHeader {
        RequestHeader { client_id: StrBytes::new(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(frame: &[u8], api_key: ApiKey) -> Decoded<(String, Vec<u8>)> {
        let (header, body) = RequestHeader::split(&Bytes::copy_from_slice(frame), api_key)?;
        Ok((header.client_id.to_string(), body.to_vec()))
    }

    #[test]
    fn headers_of_both_forms() {
        let plain = [0, 3, 0, 1, 0, 0, 0, 7, 0, 2, b'm', b'e', 9, 9];
        assert_eq!(split(&plain, ApiKey::Metadata), Ok(("me".into(), vec![9, 9])));
        let null_client = [0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 9];
        assert_eq!(split(&null_client, ApiKey::Metadata), Ok((String::new(), vec![9])));
        let flexible = [0, 3, 0, 12, 0, 0, 0, 7, 0xff, 0xff, 1, 5, 1, 0xaa, 9];
        assert_eq!(split(&flexible, ApiKey::Metadata), Ok((String::new(), vec![9])));
    }

    #[test]
    fn short_and_lying_headers_are_errors() {
        let flexible = [0, 3, 0, 12, 0, 0, 0, 7, 0, 1, b'c', 1, 5, 1, 0xaa];
        for len in 0..flexible.len() {
            assert!(split(&flexible[..len], ApiKey::Metadata).is_err(), "{len}");
        }
        let many_tags = [0, 3, 0, 12, 0, 0, 0, 7, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(split(&many_tags, ApiKey::Metadata), Err(DecodeError::TooManyElements));
        let not_utf8 = [0, 3, 0, 1, 0, 0, 0, 7, 0, 1, 0xff];
        assert_eq!(split(&not_utf8, ApiKey::Metadata), Err(DecodeError::BadUtf8));
    }
}
