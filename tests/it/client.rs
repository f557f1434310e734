//! A blocking connection that sends exactly what it is told and never waits for ever.
//!
//! Frames are written and read by `ottla-test-client`; only the socket is another one, as these
//! tests have threads of their own and no runtime.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Message, Request, StrBytes};
use ottla_protocol::{ApiKey, Message as Schema, Reader, Writer};
use ottla_test_client::{decode_response, encode_request};

use crate::node::WAIT_MAX;

/// Decodes the answer to a request of some kind in a version.
pub type Decode = fn(i16, Bytes) -> io::Result<()>;

/// Decodes an answer. Of versions that the crate does not have, nothing is looked at.
fn decode<R: Request>(version: i16, frame: Bytes) -> io::Result<()> {
    let known = version <= R::Response::VERSIONS.max;
    if known { decode_response::<R>(version, frame).map(drop) } else { Ok(()) }
}

/// A request that was sent.
#[derive(Clone)]
pub struct Sent {
    pub key: i16,
    pub frame: Bytes,
    pub decode: Decode,
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    correlation: i32,
    pub client_id: StrBytes,
    /// What was sent, if somebody wants to know.
    pub record: Option<Vec<Sent>>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap()
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        stream.set_write_timeout(Some(WAIT_MAX))?;
        let client_id = StrBytes::from_static_str("it");
        Ok(Client { stream, correlation: 0, client_id, record: None })
    }

    /// Sends a request and reads its answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.try_call(version, request)
            .unwrap_or_else(|error| panic!("key {} version {version}: {error}", R::KEY))
    }

    pub fn try_call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        let correlation = self.try_send(version, request)?;
        let (answered, response) = decode_response::<R>(version, self.receive_frame()?)?;
        assert_eq!(answered, correlation, "answers come in order");
        Ok(response)
    }

    /// Sends a request; its correlation id.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.try_send(version, request).unwrap()
    }

    pub fn try_send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<i32> {
        let correlation = self.correlation;
        self.correlation += 1;
        let frame = encode_request(version, correlation, &self.client_id, request)?;
        self.send_raw(&frame)?;
        if let Some(record) = &mut self.record {
            record.push(Sent { key: R::KEY, frame, decode: decode::<R> });
        }
        Ok(correlation)
    }

    /// Sends a request that the crate does not know in every version, and reads its answer.
    pub fn ask<Q: Schema, A: Schema>(&mut self, key: ApiKey, version: i16, request: &Q) -> A {
        let mut writer = Writer::new();
        writer.i32(0);
        writer.i16(key.code());
        writer.i16(version);
        writer.i32(self.correlation);
        writer.nullable_str(Some(&self.client_id), false);
        if version >= Q::FLEXIBLE_FROM {
            writer.uvarint(0);
        }
        request.encode(&mut writer, version);
        let mut frame = writer.into_bytes();
        let len = u32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&len.to_be_bytes());
        self.send_raw(&frame).unwrap();
        if let Some(record) = &mut self.record {
            record.push(Sent { key: key.code(), frame: frame.into(), decode: |_, _| Ok(()) });
        }
        let answer = self.receive_frame().unwrap();
        let mut reader = Reader::new(&answer);
        assert_eq!(reader.i32(), Ok(self.correlation), "answers come in order");
        self.correlation += 1;
        if version >= A::FLEXIBLE_FROM {
            reader.skip_tags().unwrap();
        }
        let decoded = A::decode(&mut reader, version).unwrap();
        assert_eq!(reader.remaining(), 0, "nothing is behind the answer");
        decoded
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads the answer to a request of this kind, and its correlation id.
    pub fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        decode_response::<R>(version, self.receive_frame().unwrap()).unwrap()
    }

    pub fn try_receive<R: Request>(&mut self, version: i16) -> io::Result<(i32, R::Response)> {
        decode_response::<R>(version, self.receive_frame()?)
    }

    /// Reads a frame, without its length.
    pub fn receive_frame(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = BytesMut::zeroed(u32::from_be_bytes(length) as usize);
        self.stream.read_exact(&mut frame)?;
        Ok(frame.freeze())
    }

    /// Another handle for sending on the same connection.
    pub fn sender(&self) -> Client {
        let stream = self.stream.try_clone().unwrap();
        let client_id = self.client_id.clone();
        Client { stream, correlation: self.correlation, client_id, record: None }
    }

    /// How long sending may take.
    pub fn write_timeout(&self, wait: Duration) {
        self.stream.set_write_timeout(Some(wait)).unwrap();
    }

    /// How long an answer may take.
    pub fn read_timeout(&self, wait: Duration) {
        self.stream.set_read_timeout(Some(wait)).unwrap();
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        self.try_finish().unwrap();
    }

    /// The same; an error when the other end has gone.
    pub fn try_finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Whether the other end closes the connection without a further byte.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}
