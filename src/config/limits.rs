//! What connections and their requests may take.
//!
//! Two keys are for all listeners together, and with the prefix `listener.name.NAME.` for one
//! alone, as Kafka has them: both count then.

use std::time::Duration;

use crate::listener::Listener;
use crate::values::{ConfigError, Values};

/// `queued.max.request.bytes` when it is -1.
const REQUEST_BYTES_DEFAULT: u64 = 256 << 20;

const CONNECTIONS: &str = "max.connections";
const RATE: &str = "max.connection.creation.rate";
const PER_IP: &str = "max.connections.per.ip";
const OVERRIDES: &str = "max.connections.per.ip.overrides";
const INTER_BROKER: &str = "inter.broker.listener.name";
/// Kafka's name for the listener when `security.inter.broker.protocol` has its default.
const INTER_BROKER_DEFAULT: &str = "PLAINTEXT";

/// Keys that a listener may have for itself.
pub(crate) const LISTENER_KEYS: [&str; 2] = [CONNECTIONS, RATE];

/// Limits on what connections may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// `max.connections`.
    pub connections_max: u32,
    /// `max.connection.creation.rate`, in a second.
    pub creation_rate_max: u32,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: u32,
    /// `max.connections.per.ip.overrides`: host and count.
    pub per_ip_overrides: Vec<(String, u32)>,
    /// `connections.max.idle.ms`; `None` is never.
    pub idle_max: Option<Duration>,
    /// `socket.request.max.bytes`.
    pub request_bytes_max: u32,
    /// `queued.max.request.bytes`.
    pub request_bytes_in_flight_max: u64,
    /// `ottla.connection.receive.max.ms`.
    pub receive_max: Duration,
    /// `ottla.connection.requests.max`.
    pub requests_max: usize,
    /// `ottla.connection.unread.max.ms`.
    pub unread_max: Duration,
    /// `ottla.connection.unsent.max.bytes`.
    pub unsent_per_connection_max: usize,
    /// `ottla.connection.waiting.max.bytes`.
    pub waiting_per_connection_max: usize,
    /// `ottla.unsent.max.bytes`.
    pub unsent_max: usize,
    /// `ottla.waiting.max.bytes`.
    pub waiting_max: usize,
}

/// What the connections of one listener are held to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerLimits {
    /// `listener.name.NAME.max.connections`, else `max.connections`.
    pub connections_max: u32,
    /// `listener.name.NAME.max.connection.creation.rate`, else `max.connection.creation.rate`.
    pub creation_rate_max: u32,
    /// Whether it is the listener of the brokers among themselves.
    pub is_inter_broker: bool,
}

impl ConnectionLimits {
    pub(crate) fn read(values: &Values) -> Result<ConnectionLimits, ConfigError> {
        let long_ms = |name| values.long(name).and_then(|ms| u64::try_from(ms).ok());
        let ms = |name| Duration::from_millis(u64::from(values.int(name).unsigned_abs()));
        let bytes =
            |name| usize::try_from(values.long(name).expect("has a default")).unwrap_or(usize::MAX);
        let limits = ConnectionLimits {
            connections_max: values.int(CONNECTIONS).unsigned_abs(),
            creation_rate_max: values.int(RATE).unsigned_abs(),
            connections_per_ip_max: values.int(PER_IP).unsigned_abs(),
            per_ip_overrides: overrides(values)?,
            idle_max: long_ms("connections.max.idle.ms").map(Duration::from_millis),
            request_bytes_max: values.int("socket.request.max.bytes").unsigned_abs(),
            request_bytes_in_flight_max: long_ms("queued.max.request.bytes")
                .unwrap_or(REQUEST_BYTES_DEFAULT),
            receive_max: ms("ottla.connection.receive.max.ms"),
            requests_max: values.int("ottla.connection.requests.max").unsigned_abs() as usize,
            unread_max: ms("ottla.connection.unread.max.ms"),
            unsent_per_connection_max: values
                .int("ottla.connection.unsent.max.bytes")
                .unsigned_abs() as usize,
            waiting_per_connection_max: values
                .int("ottla.connection.waiting.max.bytes")
                .unsigned_abs() as usize,
            unsent_max: bytes("ottla.unsent.max.bytes"),
            waiting_max: bytes("ottla.waiting.max.bytes"),
        };
        if limits.connections_per_ip_max == 0 && limits.per_ip_overrides.is_empty() {
            return Err(values.refuse(PER_IP, format!("can be 0 only with {OVERRIDES}")));
        }
        Ok(limits)
    }
}

/// The limits of each of `listeners`; the brokers' own is one of those for clients.
pub(crate) fn of_listeners(values: &Values, listeners: &[Listener]) -> Vec<ListenerLimits> {
    let inter_broker = values.text(INTER_BROKER).unwrap_or(INTER_BROKER_DEFAULT);
    let own = |listener: &Listener, name| {
        values.of_listener(&listener.name, name).unwrap_or_else(|| values.int(name))
    };
    let limits = |listener: &Listener| ListenerLimits {
        connections_max: own(listener, CONNECTIONS).unsigned_abs(),
        creation_rate_max: own(listener, RATE).unsigned_abs(),
        is_inter_broker: listener.name.eq_ignore_ascii_case(inter_broker),
    };
    listeners.iter().map(limits).collect()
}

/// Refuses an inter-broker listener that is not one of `listeners`.
pub(crate) fn check_inter_broker(
    values: &Values,
    listeners: &[Listener],
) -> Result<(), ConfigError> {
    let name = values.text(INTER_BROKER).unwrap_or(INTER_BROKER_DEFAULT);
    if values.is_given(INTER_BROKER) && !listeners.iter().any(|l| l.name.eq_ignore_ascii_case(name))
    {
        return Err(values.refuse(INTER_BROKER, "is not one of the listeners for clients"));
    }
    Ok(())
}

fn overrides(values: &Values) -> Result<Vec<(String, u32)>, ConfigError> {
    let parse = |entry: &&str| {
        let (host, count) = entry.rsplit_once(':')?;
        let count = count.trim().parse::<i32>().ok().and_then(|count| u32::try_from(count).ok())?;
        let host = host.trim();
        (!host.is_empty()).then(|| (host.to_owned(), count))
    };
    let parsed = values.list(OVERRIDES).iter().map(parse).collect::<Option<Vec<_>>>();
    parsed.ok_or_else(|| values.refuse(OVERRIDES, "must be HOST:COUNT, separated by commas"))
}

#[cfg(test)]
mod tests {
    use crate::{ListenerLimits, NodeConfig, Properties};

    fn config(text: &str) -> Result<NodeConfig, crate::ConfigError> {
        let text = format!(
            "listeners=PLAINTEXT://:1,EXT://:2,CONTROLLER://:3\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=\
             PLAINTEXT:PLAINTEXT,EXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             {text}"
        );
        NodeConfig::new(Some(Properties::parse(text.as_bytes()).expect("valid")), &[])
    }

    #[test]
    fn listeners_have_limits_of_their_own() {
        let config = config(
            "max.connections=9\nlistener.name.ext.max.connections=5\n\
             listener.name.ext.max.connection.creation.rate=3\n\
             max.connections.per.ip.overrides=127.0.0.2:4, ::1:0 ,localhost:3\n\
             listener.name.other.max.connections=1\nlistener.name.ext.max.connectionz=1",
        )
        .expect("valid");
        let all = u32::try_from(i32::MAX).expect("positive");
        let limits = |connections_max, creation_rate_max, is_inter_broker| ListenerLimits {
            connections_max,
            creation_rate_max,
            is_inter_broker,
        };
        assert_eq!(config.listener_limits, [limits(9, all, true), limits(5, 3, false)]);
        assert_eq!(config.controller_limits, [limits(9, all, false)]);
        let overrides = [("127.0.0.2", 4), ("::1", 0), ("localhost", 3)];
        assert_eq!(config.limits.per_ip_overrides, overrides.map(|(h, n)| (h.to_owned(), n)));
        let unknown: Vec<_> = config.unknown_keys.iter().map(|(name, _)| name.as_str()).collect();
        let strangers =
            ["listener.name.ext.max.connectionz", "listener.name.other.max.connections"];
        assert_eq!(unknown, strangers);
    }

    #[test]
    fn wrong_limits_are_refused() {
        let check = |text: &str, message: &str| {
            assert_eq!(config(text).unwrap_err().to_string(), message);
        };
        check(
            "max.connections.per.ip=0",
            "max.connections.per.ip=0: can be 0 only with max.connections.per.ip.overrides",
        );
        for wrong in ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:-1", ":3"] {
            check(
                &format!("max.connections.per.ip.overrides={wrong}"),
                &format!(
                    "max.connections.per.ip.overrides={wrong}: must be HOST:COUNT, separated by \
                     commas"
                ),
            );
        }
        check(
            "listener.name.ext.max.connections=x",
            "listener.name.ext.max.connections=x: must be a 32-bit number from 0 on",
        );
        check(
            "inter.broker.listener.name=CONTROLLER",
            "inter.broker.listener.name=CONTROLLER: is not one of the listeners for clients",
        );
        assert!(config("max.connections.per.ip=0\nmax.connections.per.ip.overrides=a:1").is_ok());
        assert!(config("inter.broker.listener.name=ext").is_ok());
    }
}
