//! Listeners: `NAME://host:port`.

use std::fmt;

/// How a listener is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecurityProtocol {
    /// Nothing.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without TLS.
    SaslPlaintext,
    /// SASL inside TLS.
    SaslSsl,
}

/// A host and a port; an IPv6 host stands in brackets in text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Host name or address; empty where the text has none.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A named endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Name, in upper case.
    pub name: String,
    /// Where.
    pub endpoint: Endpoint,
}

impl SecurityProtocol {
    /// The protocol with Kafka's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<SecurityProtocol> {
        match name.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Some(SecurityProtocol::Plaintext),
            "SSL" => Some(SecurityProtocol::Ssl),
            "SASL_PLAINTEXT" => Some(SecurityProtocol::SaslPlaintext),
            "SASL_SSL" => Some(SecurityProtocol::SaslSsl),
            _ => None,
        }
    }

    /// Kafka's number, as registrations carry it.
    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            SecurityProtocol::Plaintext => 0,
            SecurityProtocol::Ssl => 1,
            SecurityProtocol::SaslPlaintext => 2,
            SecurityProtocol::SaslSsl => 3,
        }
    }
}

impl Endpoint {
    /// Reads `host:port`, `[host]:port` or `:port`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Endpoint> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        Some(Endpoint { host: host.to_owned(), port: port.parse().ok()? })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Listener {
    /// Reads `NAME://host:port`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Listener> {
        let (name, endpoint) = text.split_once("://")?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.is_empty() || !name.bytes().all(legal) {
            return None;
        }
        Some(Listener { name: name.to_ascii_uppercase(), endpoint: Endpoint::parse(endpoint)? })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.name, self.endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_listeners() {
        for text in ["PLAINTEXT://:9092", "A_B-1://host:1", "C://[::1]:65535", "D://10.0.0.1:0"] {
            assert_eq!(Listener::parse(text).map(|l| l.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Listener::parse("plain://h:1").expect("valid").name, "PLAIN");
        for text in ["", "://:1", "A:9092", "A://host", "A://host:70000", "A://::1:9", "A b://h:1"]
        {
            assert_eq!(Listener::parse(text), None, "{text:?}");
        }
    }
}
