//! Answers as a list of chunks: bytes in memory and pieces of files.
//!
//! A piece of a file goes to the socket by `sendfile` and never through this process; it holds its
//! file open. If the file turns out to be shorter than promised, the connection is closed: bytes
//! are never made up.

use bytes::{Bytes, BytesMut};
use ottla_protocol::fetch::{Piece, RecordBytes};
use ottla_protocol::messages::{Encodable, encode_response};
use ottla_protocol::{RequestHeader, Writer};
use ottla_storage::Extent;

/// A part of an answer.
pub enum Chunk {
    /// Bytes.
    Bytes(Bytes),
    /// A piece of a file.
    Extent(Extent),
}

/// A whole answer, its length and header included.
pub struct Response {
    /// Its parts, in order.
    pub chunks: Vec<Chunk>,
}

/// A piece of a file as the records of a Fetch answer.
pub struct ExtentRecords(pub Extent);

impl RecordBytes for ExtentRecords {
    fn len(&self) -> usize {
        usize::try_from(self.0.len).expect("answers are bounded")
    }
}

impl Response {
    /// An answer whose body the crate encodes.
    #[must_use]
    pub fn encode<R: Encodable>(header: &RequestHeader, body: &R) -> Response {
        Response::encode_as(header, header.api_version, body)
    }

    /// An answer in another version than the request's: ApiVersions does that.
    #[must_use]
    pub fn encode_as<R: Encodable>(header: &RequestHeader, version: i16, body: &R) -> Response {
        let mut out = BytesMut::from(front(header, version).into_bytes().as_slice());
        encode_response(body, header.api_key, version, &mut out);
        set_length(&mut out, 0);
        Response { chunks: vec![Chunk::Bytes(out.freeze())] }
    }

    /// A writer that holds the front of an answer, to be continued by [`Response::from_pieces`].
    #[must_use]
    pub fn begin(header: &RequestHeader) -> Writer {
        front(header, header.api_version)
    }

    /// An answer from pieces, the first of which began as [`Response::begin`].
    #[must_use]
    pub fn from_pieces(pieces: Vec<Piece<ExtentRecords>>) -> Response {
        let records: usize = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Bytes(_) => 0,
                Piece::Records(records) => records.len(),
            })
            .sum();
        let mut later: usize = pieces
            .iter()
            .skip(1)
            .map(|piece| match piece {
                Piece::Bytes(bytes) => bytes.len(),
                Piece::Records(_) => 0,
            })
            .sum();
        later += records;
        let mut chunks = Vec::with_capacity(pieces.len());
        for (index, piece) in pieces.into_iter().enumerate() {
            chunks.push(match piece {
                Piece::Bytes(mut bytes) => {
                    if index == 0 {
                        set_length(&mut bytes, later);
                    }
                    Chunk::Bytes(bytes.into())
                }
                Piece::Records(records) => Chunk::Extent(records.0),
            });
        }
        Response { chunks }
    }
}

/// Room for the length, then the header of the answer.
fn front(header: &RequestHeader, version: i16) -> Writer {
    let mut writer = Writer::with_capacity(128);
    writer.i32(0);
    writer.i32(header.correlation_id);
    if header.api_key.has_flexible_response_header(version) {
        writer.uvarint(0);
    }
    writer
}

/// Writes the length of the frame, which goes on for `later` bytes behind `first`.
fn set_length(first: &mut [u8], later: usize) {
    let length = i32::try_from(first.len() - 4 + later).expect("answers are below 2 GiB");
    first[..4].copy_from_slice(&length.to_be_bytes());
}
