//! Where the node tells its metrics.

use crate::listener::Endpoint;
use crate::values::{ConfigError, Values};

const LISTENER: &str = "ottla.metrics.listener";

/// Where the node tells its metrics, and how many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetricsConfig {
    /// `ottla.metrics.listener`; nowhere without it.
    pub listener: Option<Endpoint>,
    /// `ottla.metrics.offsets.max`.
    pub offsets_max: usize,
}

impl MetricsConfig {
    pub(crate) fn read(values: &Values) -> Result<MetricsConfig, ConfigError> {
        let listener = match values.text(LISTENER).filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => {
                let endpoint = Endpoint::parse(text);
                Some(endpoint.ok_or_else(|| values.refuse(LISTENER, "must be host:port"))?)
            }
        };
        let offsets_max = values.int("ottla.metrics.offsets.max").unsigned_abs() as usize;
        Ok(MetricsConfig { listener, offsets_max })
    }
}

#[cfg(test)]
mod tests {
    use crate::NodeConfig;

    #[test]
    fn a_listener_of_metrics_is_an_endpoint() {
        let config = |value: &str| {
            let overrides = [("ottla.metrics.listener".to_owned(), value.to_owned())];
            NodeConfig::new(None, &overrides)
        };
        let listener = |value: &str| {
            let listener = config(value).expect("valid").metrics.listener;
            listener.map(|endpoint| endpoint.to_string())
        };
        assert_eq!(listener(""), None);
        assert_eq!(listener("127.0.0.1:9404").as_deref(), Some("127.0.0.1:9404"));
        assert_eq!(listener(":9404").as_deref(), Some(":9404"));
        for wrong in ["9404", "host", "a:b", "PLAINTEXT://h:1"] {
            let error = config(wrong).unwrap_err();
            assert_eq!(error.key, "ottla.metrics.listener", "{wrong}");
        }
    }
}
