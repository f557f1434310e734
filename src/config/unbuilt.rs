//! Configs of Kafka's that ask for what is not built.

use crate::values::{ConfigError, Values};

const AUTHORIZER: &str = "authorizer.class.name";

/// Keys of Kafka's whose silence would be dangerous: they protect data, or say where it is.
pub(crate) fn refuse_what_is_not_built(values: &Values) -> Result<(), ConfigError> {
    let protections = [
        (AUTHORIZER, "authorization is not built yet"),
        ("create.topic.policy.class.name", "policies are not built yet"),
        ("remote.log.storage.system.enable", "tiered storage is not built yet"),
        ("zookeeper.connect", "ZooKeeper is gone since Kafka 4.0; this is a KRaft broker"),
    ];
    for (key, reason) in protections {
        let set = values.given(key).is_some_and(|value| !value.is_empty() && value != "false");
        // Who asks for it may look at the data from this machine; binding checks that.
        let waived = key == AUTHORIZER && values.boolean("ottla.unprotected.loopback");
        if set && !waived {
            return Err(values.refuse(key, reason));
        }
    }
    let roles = values.list("process.roles");
    if roles.len() != 2 || !roles.contains(&"broker") || !roles.contains(&"controller") {
        return Err(values.refuse("process.roles", "this version runs broker,controller only"));
    }
    Ok(())
}
