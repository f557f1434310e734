//! A raw client for tests: it sends exactly what it is told, over real or simulated sockets.
//!
//! Requests and answers are those of the `kafka-protocol` crate, so that the node's own encoders
//! are not checked by themselves. Nothing is retried and nothing is negotiated.

mod batches;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
pub use kafka_protocol::messages;
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::codec_version;
use ottla_runtime::{Runtime, Stream};

pub use batches::{ReadRecord, compressed, record_batch, records_of};

/// Longest answer that is read.
const FRAME_MAX: usize = 256 << 20;

/// A connection to a broker.
pub struct Connection {
    stream: Stream,
    incoming: BytesMut,
    correlation: i32,
    client_id: StrBytes,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn connect(runtime: &Runtime, address: SocketAddr) -> io::Result<Connection> {
        let stream = runtime.net().connect(address).await?;
        let client_id = StrBytes::from_static_str("test");
        Ok(Connection { stream, incoming: BytesMut::new(), correlation: 0, client_id })
    }

    /// Connects within `wait`, trying again while nobody listens.
    ///
    /// # Errors
    /// The last refusal.
    pub async fn connect_within(
        runtime: &Runtime,
        address: SocketAddr,
        wait: Duration,
    ) -> io::Result<Connection> {
        let deadline = runtime.clock().now().after(wait);
        loop {
            match Connection::connect(runtime, address).await {
                Err(error) if runtime.clock().now() >= deadline => return Err(error),
                Err(_) => runtime.clock().sleep(Duration::from_millis(5)).await,
                connected => return connected,
            }
        }
    }

    /// Sends a request and waits for its answer. Requests before it must have been answered.
    ///
    /// # Errors
    /// Those of the connection; `InvalidData` when the answer is not one.
    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send(version, request).await?;
        self.receive::<R>(version).await
    }

    /// Sends a request; tells its correlation id.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<i32> {
        let correlation = self.correlation;
        self.correlation += 1;
        let frame = encode_request(version, correlation, &self.client_id, request)?;
        self.send_raw(&frame).await?;
        Ok(correlation)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn send_raw(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(&[io::IoSlice::new(bytes)]) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for the next answer, which must be one to a request of this kind. Cancel safe.
    ///
    /// # Errors
    /// Those of the connection; `InvalidData` when the answer is not one.
    pub async fn receive<R: Request>(&mut self, version: i16) -> io::Result<R::Response> {
        let frame = self.receive_frame().await?;
        decode_response::<R>(version, frame).map(|(_, response)| response)
    }

    /// Waits for the next frame, without its length. Cancel safe.
    ///
    /// # Errors
    /// Those of the connection; `UnexpectedEof` when it was closed.
    pub async fn receive_frame(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(frame);
            }
            self.stream.readable().await?;
            match self.stream.try_read(&mut self.incoming) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    fn take_frame(&mut self) -> io::Result<Option<Bytes>> {
        let Some(len) = self.incoming.first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_be_bytes(*len) as usize;
        if len > FRAME_MAX {
            return Err(invalid("an answer of an impossible length"));
        }
        if self.incoming.len() < 4 + len {
            self.incoming.reserve(4 + len - self.incoming.len());
            return Ok(None);
        }
        self.incoming.advance(4);
        Ok(Some(self.incoming.split_to(len).freeze()))
    }
}

/// A frame with its length in front.
///
/// # Errors
/// `InvalidData` when the version cannot say what the request holds.
pub fn encode_request<R: Request>(
    version: i16,
    correlation: i32,
    client_id: &StrBytes,
    request: &R,
) -> io::Result<Bytes> {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(client_id.clone()));
    header.encode(&mut frame, R::header_version(version)).map_err(invalid)?;
    request.encode(&mut frame, body_version::<R>(version)).map_err(invalid)?;
    let len = u32::try_from(frame.len() - 4).map_err(invalid)?;
    frame[..4].copy_from_slice(&len.to_be_bytes());
    Ok(frame.freeze())
}

/// The answer in a frame without its length, and its correlation id. Nothing may follow it.
///
/// # Errors
/// `InvalidData` when it is not one.
pub fn decode_response<R: Request>(
    version: i16,
    mut frame: Bytes,
) -> io::Result<(i32, R::Response)> {
    let header_version = R::Response::header_version(version);
    let header = ResponseHeader::decode(&mut frame, header_version).map_err(invalid)?;
    let response = R::Response::decode(&mut frame, body_version::<R>(version)).map_err(invalid)?;
    if frame.has_remaining() {
        return Err(invalid(format!("{} bytes behind the answer", frame.len())));
    }
    Ok((header.correlation_id, response))
}

/// The version in whose form the crate reads and writes a body.
fn body_version<R: Request>(version: i16) -> i16 {
    match (ApiKey::from_code(R::KEY), version) {
        // KIP-1166 added one tagged field to the request, and nothing to the answer.
        (Some(ApiKey::Fetch), 18) => 17,
        (Some(key), _) => codec_version(key, version),
        (None, _) => version,
    }
}

fn invalid(reason: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_string())
}
