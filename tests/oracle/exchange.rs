//! A request and what came of it, and the connection that carries them.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::cases::{Body, Case, Known};
use crate::schema::{Api, Type, Version, hex, unhex};
use crate::value::{Value, decode};

const CLIENT_ID: &str = "oracle";
const API_VERSIONS: i16 = 18;
/// Longest answer.
const ANSWER_MAX: usize = 64 << 20;

/// No leader yet, another leader, a coordinator that loads, is not there or is elsewhere.
const PASSING: [i64; 5] = [5, 6, 14, 15, 16];

/// What came of a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// The body of an answer.
    Body(Vec<u8>),
    /// The connection was closed.
    Closed,
    /// Nothing came, and the connection stayed.
    Silent,
}

/// A request and what came of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Exchange {
    /// Key of the API.
    pub api: i16,
    /// Its version.
    pub version: i16,
    /// Name of the row.
    pub name: String,
    /// Body of the request.
    pub request: Vec<u8>,
    /// What came of it.
    pub answer: Answer,
}

impl Exchange {
    /// As a line of the golden file.
    #[must_use]
    pub fn line(&self) -> String {
        let answer = match &self.answer {
            Answer::Body(bytes) => hex(bytes),
            Answer::Closed => "closed".to_owned(),
            Answer::Silent => "silent".to_owned(),
        };
        let request = hex(&self.request);
        format!("{}\t{}\t{}\t{request}\t{answer}\n", self.api, self.version, self.name)
    }

    /// From a line of the golden file.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Exchange> {
        let [api, version, name, request, answer] =
            line.split('\t').collect::<Vec<_>>().try_into().ok()?;
        let answer = match answer {
            "closed" => Answer::Closed,
            "silent" => Answer::Silent,
            bytes => Answer::Body(unhex(bytes)?),
        };
        Some(Exchange {
            api: api.parse().ok()?,
            version: version.parse().ok()?,
            name: name.to_owned(),
            request: unhex(request)?,
            answer,
        })
    }
}

/// The schema in which an answer is read: not to know a version is answered in the oldest one.
#[must_use]
pub fn answered<'a>(api: &'a Api, case: &Case, version: i16) -> Option<&'a Type> {
    let version = match (&case.body, api.key) {
        (Body::TooNew, API_VERSIONS) => 0,
        (Body::TooNew, _) => return None,
        _ => version,
    };
    Some(&api.versions.get(&version)?.answered)
}

/// What an answer says.
///
/// # Errors
/// When it cannot be read, or bytes are left.
pub fn read(bytes: &[u8], of: &Type) -> Result<Value, String> {
    let mut rest = bytes;
    let value = decode(&mut rest, of)?;
    match rest.len() {
        0 => Ok(value),
        left => Err(format!("{left} bytes behind the answer {value}")),
    }
}

/// Whether an answer has an error that passes by itself.
#[must_use]
pub fn passes(value: &Value) -> bool {
    match value {
        Value::List(values) => values.iter().any(passes),
        Value::Struct(fields) => fields.iter().any(|(name, value)| match value {
            Value::Int(code) => name == "error_code" && PASSING.contains(code),
            other => passes(other),
        }),
        _ => false,
    }
}

impl Known {
    /// Takes what an answer says of ids, and keeps it under the row's name.
    pub fn learn(&mut self, row: &str, answer: &Value) {
        self.learn_ids(answer);
        self.answers.insert(row.to_owned(), answer.clone());
    }

    fn learn_ids(&mut self, value: &Value) {
        match value {
            Value::List(values) => values.iter().for_each(|value| self.learn_ids(value)),
            Value::Struct(fields) => {
                if let (Some(Value::Text(name)), Some(Value::Uuid(id))) =
                    (fields.get("name"), fields.get("topic_id"))
                    && *id != [0; 16]
                {
                    self.ids.insert(name.clone(), *id);
                }
                fields.values().for_each(|value| self.learn_ids(value));
            }
            _ => {}
        }
    }
}

/// A connection to a broker, made anew when it was closed.
pub struct Asker {
    address: SocketAddr,
    patience: Duration,
    stream: Option<TcpStream>,
    correlation: i32,
}

impl Asker {
    /// To a broker; what does not answer within `patience` is silent.
    #[must_use]
    pub fn new(address: SocketAddr, patience: Duration) -> Asker {
        Asker { address, patience, stream: None, correlation: 0 }
    }

    /// The versions of each API that the broker shows.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn shown(&mut self, api: &Api) -> Result<BTreeMap<i16, (i16, i16)>, String> {
        let version = &api.versions[&0];
        let Answer::Body(bytes) = self.ask(API_VERSIONS, 0, version, &[])? else {
            return Err("ApiVersions is not answered".to_owned());
        };
        let answer = read(&bytes, &version.answered)?;
        let Value::Struct(fields) = &answer else { return Err("no answer".to_owned()) };
        let Some(Value::List(keys)) = fields.get("api_keys") else {
            return Err("no keys".to_owned());
        };
        let number = |fields: &BTreeMap<String, Value>, name: &str| match fields.get(name) {
            Some(Value::Int(number)) => i16::try_from(*number).unwrap_or(-1),
            _ => -1,
        };
        let row = |value: &Value| match value {
            Value::Struct(of) => Some((
                number(of, "api_key"),
                (number(of, "min_version"), number(of, "max_version")),
            )),
            _ => None,
        };
        Ok(keys.iter().filter_map(row).collect())
    }

    /// Sends a body and waits for what comes of it.
    ///
    /// # Errors
    /// When there is no connection, or the answer is not one.
    pub fn ask(
        &mut self,
        api: i16,
        number: i16,
        version: &Version,
        body: &[u8],
    ) -> Result<Answer, String> {
        self.correlation += 1;
        let mut frame = vec![0; 4];
        frame.extend_from_slice(&api.to_be_bytes());
        frame.extend_from_slice(&number.to_be_bytes());
        frame.extend_from_slice(&self.correlation.to_be_bytes());
        frame.extend_from_slice(&(CLIENT_ID.len() as u16).to_be_bytes());
        frame.extend_from_slice(CLIENT_ID.as_bytes());
        if version.request_header >= 2 {
            frame.push(0);
        }
        frame.extend_from_slice(body);
        let length = u32::try_from(frame.len() - 4).map_err(|error| error.to_string())?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        let found = self.exchange(&frame);
        match found {
            Ok(answer) => {
                let of_id = if version.response_header >= 1 { 5 } else { 4 };
                if answer.len() < of_id || answer[..4] != self.correlation.to_be_bytes() {
                    return Err(format!("not the answer to {api} v{number}: {}", hex(&answer)));
                }
                Ok(Answer::Body(answer[of_id..].to_vec()))
            }
            Err(error) => {
                self.stream = None;
                match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Answer::Silent),
                    ErrorKind::UnexpectedEof
                    | ErrorKind::ConnectionReset
                    | ErrorKind::BrokenPipe => Ok(Answer::Closed),
                    _ => Err(error.to_string()),
                }
            }
        }
    }

    fn exchange(&mut self, frame: &[u8]) -> std::io::Result<Vec<u8>> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(self.patience))?;
            self.stream = Some(stream);
        }
        let stream = self.stream.as_mut().expect("just made");
        stream.write_all(frame)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > ANSWER_MAX {
            return Err(std::io::Error::other(format!("an answer of {length} bytes")));
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }
}
