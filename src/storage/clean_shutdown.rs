//! The mark of a clean stop, `.kafka_cleanshutdown` (`CleanShutdownFileHandler`).

use ottla_types::BrokerEpoch;

/// What a clean stop left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanShutdown {
    /// Epoch of the broker that stopped.
    pub broker_epoch: BrokerEpoch,
}

/// Reads `{"version":0,"brokerEpoch":14}`. Kafka writes no other form.
pub(crate) fn parse_clean_shutdown(bytes: &[u8]) -> Option<CleanShutdown> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let fields = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut version = None;
    let mut broker_epoch = None;
    for field in fields.split(',') {
        let (name, value) = field.split_once(':')?;
        let value: i64 = value.trim().parse().ok()?;
        match name.trim() {
            "\"version\"" => version = Some(value),
            "\"brokerEpoch\"" => broker_epoch = Some(value),
            _ => {}
        }
    }
    let broker_epoch = BrokerEpoch(broker_epoch.filter(|_| version == Some(0))?);
    Some(CleanShutdown { broker_epoch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_clean_stop() {
        let parse = |text: &str| parse_clean_shutdown(text.as_bytes()).map(|c| c.broker_epoch.0);
        assert_eq!(parse("{\"version\":0,\"brokerEpoch\":14}"), Some(14));
        assert_eq!(parse("{\"brokerEpoch\": -1, \"version\": 0}\n"), Some(-1));
        for text in ["", "{}", "{\"version\":1,\"brokerEpoch\":14}", "\0\0\0", "{\"version\":0}"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
