//! A hostile case: what is sent, and what must come of it.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::{Request, StrBytes};
use ottla_test_client::{decode_response, encode_request};
use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::Node;
use crate::requests::error;

/// What must come of a case.
pub enum Outcome {
    /// The connection is closed without an answer.
    Closes,
    /// Answers come, as many as these, and the connection goes on.
    Answers(usize),
    /// An answer with this code comes, and the connection goes on.
    Code(ErrorCode, Box<dyn Fn(Bytes) -> i16>),
}

/// What the sender does behind the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It waits for an answer.
    Waits,
    /// It says that it will send no more.
    Finishes,
}

pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    pub end: End,
    pub outcome: Outcome,
    pub to_controller: bool,
    /// Kafka does something else, which is as good for a client or worse.
    pub unlike_kafka: bool,
}

impl Case {
    pub fn new(name: impl ToString, bytes: impl Into<Vec<u8>>, outcome: Outcome) -> Case {
        Case {
            name: name.to_string(),
            bytes: bytes.into(),
            end: End::Waits,
            outcome,
            to_controller: false,
            unlike_kafka: false,
        }
    }

    pub fn finishes(self) -> Case {
        Case { end: End::Finishes, ..self }
    }

    pub fn on_controller(self) -> Case {
        Case { to_controller: true, ..self }
    }

    pub fn unlike_kafka(self) -> Case {
        Case { unlike_kafka: true, ..self }
    }

    /// What must come of it, in a word.
    pub fn expected(&self) -> String {
        match &self.outcome {
            Outcome::Closes => CLOSED.to_owned(),
            Outcome::Answers(1) => "an answer".to_owned(),
            Outcome::Answers(count) => format!("{count} answers"),
            Outcome::Code(code, _) => format!("{code:?}"),
        }
    }

    /// Plays the case on a connection of its own; what came of it. A connection that is to go on is
    /// asked for one more answer.
    pub fn observe(&self, node: &Node, patience: Duration) -> String {
        let address = if self.to_controller { node.controller_address() } else { node.address() };
        let mut client = Client::connect(address);
        client.read_timeout(patience);
        // The other end may close before it has read everything.
        let _ = client.send_raw(&self.bytes);
        if self.end == End::Finishes {
            let _ = client.try_finish();
        }
        let ended = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => "no answer".to_owned(),
            _ => CLOSED.to_owned(),
        };
        let (count, code_of) = match &self.outcome {
            Outcome::Closes => (1, None),
            Outcome::Answers(count) => (*count, None),
            Outcome::Code(_, code_of) => (1, Some(code_of)),
        };
        for _ in 0..count {
            match (client.receive_frame(), code_of) {
                (Err(error), _) => return ended(error),
                (Ok(answer), Some(code_of)) => {
                    let code = format!("{:?}", error(code_of(answer)));
                    return match self.goes_on(&mut client) {
                        Ok(()) => code,
                        Err(error) => format!("{code}, then {}", ended(error)),
                    };
                }
                (Ok(_), None) => {}
            }
        }
        let answers = if count == 1 { "an answer".to_owned() } else { format!("{count} answers") };
        match self.goes_on(&mut client) {
            Ok(()) => answers,
            Err(error) => format!("{answers}, then {}", ended(error)),
        }
    }

    fn goes_on(&self, client: &mut Client) -> io::Result<()> {
        match self.end {
            End::Finishes => Ok(()),
            End::Waits => client.try_call(0, &ApiVersionsRequest::default()).map(drop),
        }
    }
}

/// The connection was closed without an answer.
const CLOSED: &str = "closed";

/// A request as a frame.
pub fn encoded<R: Request>(version: i16, request: &R) -> Vec<u8> {
    encode_request(version, 0, &StrBytes::from_static_str("it"), request).unwrap().to_vec()
}

/// A case of a well-formed request that must be answered with a code.
pub fn coded<R: Request + 'static>(
    name: impl ToString,
    version: i16,
    request: &R,
    expected: ErrorCode,
    pick: fn(&R::Response) -> i16,
) -> Case {
    let code = move |frame: Bytes| pick(&decode_response::<R>(version, frame).unwrap().1);
    Case::new(name, encoded(version, request), Outcome::Code(expected, Box::new(code)))
}

/// A frame around a request's bytes.
pub fn framed(request: &[u8]) -> Vec<u8> {
    let mut frame = (request.len() as u32).to_be_bytes().to_vec();
    frame.extend(request);
    frame
}

/// A frame of a header and a body. Flexible headers have no tags.
pub fn request(key: i16, version: i16, flexible: bool, body: &[u8]) -> Vec<u8> {
    let mut bytes = header(key, version);
    if flexible {
        bytes.push(0);
    }
    bytes.extend(body);
    framed(&bytes)
}

/// A header up to its client id.
pub fn header(key: i16, version: i16) -> Vec<u8> {
    let mut bytes = key.to_be_bytes().to_vec();
    bytes.extend(version.to_be_bytes());
    bytes.extend([0, 0, 0, 9, 0, 2, b'i', b't']);
    bytes
}
