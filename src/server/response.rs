//! Answers as a list of chunks: bytes in memory and pieces of files.
//!
//! A piece of a file goes to the socket by `sendfile` and never through this process; it holds its
//! file open. If the file turns out to be shorter than promised, the connection is closed: bytes
//! are never made up.

use bytes::{Bytes, BytesMut};
use ottla_protocol::fetch::{Piece, RecordBytes};
use ottla_protocol::messages::{Encodable, encode_response};
use ottla_protocol::{Message, RequestHeader, Writer};
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

/// Longest piece of a file that is copied into an answer: below, a copy costs less than a
/// `sendfile`, and no file is held open for a client that reads slowly.
const COPIED_LEN_MAX: u64 = 4096;

/// The records of a partition in a Fetch answer.
pub enum FetchedRecords {
    /// A few, copied.
    Copied(Bytes),
    /// A piece of a file.
    Extent(Extent),
}

impl FetchedRecords {
    /// A piece of a file, copied when it is short. One that cannot be read stays a piece: sending
    /// it will close the connection.
    #[must_use]
    pub fn of(extent: Extent) -> FetchedRecords {
        if extent.len <= COPIED_LEN_MAX {
            let mut bytes = vec![0; usize::try_from(extent.len).expect("it is short")];
            if extent.file.read_exact_at(&mut bytes, extent.position).is_ok() {
                return FetchedRecords::Copied(bytes.into());
            }
        }
        FetchedRecords::Extent(extent)
    }
}

impl RecordBytes for FetchedRecords {
    fn len(&self) -> usize {
        match self {
            FetchedRecords::Copied(bytes) => bytes.len(),
            FetchedRecords::Extent(extent) => {
                usize::try_from(extent.len).expect("answers are bounded")
            }
        }
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

    /// An answer whose body is written by hand, in the request's version.
    #[must_use]
    pub fn message<M: Message>(header: &RequestHeader, body: &M) -> Response {
        let mut writer = front(header, header.api_version);
        body.encode(&mut writer, header.api_version);
        let mut bytes = writer.into_bytes();
        set_length(&mut bytes, 0);
        Response { chunks: vec![Chunk::Bytes(bytes.into())] }
    }

    /// An answer whose body is encoded already, in the request's version.
    #[must_use]
    pub fn of_body(header: &RequestHeader, body: &[u8]) -> Response {
        let mut bytes = front(header, header.api_version).into_bytes();
        bytes.reserve_exact(body.len());
        bytes.extend_from_slice(body);
        set_length(&mut bytes, 0);
        Response { chunks: vec![Chunk::Bytes(bytes.into())] }
    }

    /// An answer whose body is encoded already, in pieces between a front and a back of its own, in
    /// the request's version. Long pieces are not copied.
    #[must_use]
    pub fn of_pieces(
        header: &RequestHeader,
        before: &[u8],
        pieces: Vec<Bytes>,
        after: &[u8],
    ) -> Response {
        let mut bytes = front(header, header.api_version).into_bytes();
        bytes.extend_from_slice(before);
        let later = after.len() + pieces.iter().map(Bytes::len).sum::<usize>();
        set_length(&mut bytes, later);
        let mut chunks = Vec::new();
        for piece in pieces {
            if piece.len() as u64 <= COPIED_LEN_MAX {
                bytes.extend_from_slice(&piece);
            } else {
                chunks.push(Chunk::Bytes(std::mem::take(&mut bytes).into()));
                chunks.push(Chunk::Bytes(piece));
            }
        }
        bytes.extend_from_slice(after);
        chunks.push(Chunk::Bytes(bytes.into()));
        Response { chunks }
    }

    /// A writer that holds the front of an answer, to be continued by [`Response::from_pieces`].
    #[must_use]
    pub fn begin(header: &RequestHeader) -> Writer {
        front(header, header.api_version)
    }

    /// Bytes of it that lie in memory.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        let len = |chunk: &Chunk| match chunk {
            Chunk::Bytes(bytes) => bytes.len(),
            Chunk::Extent(_) => 0,
        };
        self.chunks.iter().map(len).sum()
    }

    /// An answer from pieces, the first of which began as [`Response::begin`].
    #[must_use]
    pub fn from_pieces(pieces: Vec<Piece<FetchedRecords>>) -> Response {
        let len = |piece: &Piece<FetchedRecords>| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Records(records) => records.len(),
        };
        let later = pieces.iter().skip(1).map(len).sum();
        let mut chunks = Vec::new();
        let mut bytes = Vec::new();
        for (index, piece) in pieces.into_iter().enumerate() {
            match piece {
                Piece::Bytes(mut first) if index == 0 => {
                    set_length(&mut first, later);
                    bytes = first;
                }
                Piece::Bytes(more) => bytes.extend_from_slice(&more),
                Piece::Records(FetchedRecords::Copied(more)) => bytes.extend_from_slice(&more),
                Piece::Records(FetchedRecords::Extent(extent)) => {
                    chunks.push(Chunk::Bytes(std::mem::take(&mut bytes).into()));
                    chunks.push(Chunk::Extent(extent));
                }
            }
        }
        chunks.push(Chunk::Bytes(bytes.into()));
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
