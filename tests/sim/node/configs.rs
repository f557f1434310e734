//! Configs that an operator changes: what was acknowledged is there, whatever came after.
//!
//! Each value is used once. A change that was not answered may be made at any later time.

use std::collections::BTreeSet;
use std::io;

use kafka_protocol::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, describe_configs_request,
    incremental_alter_configs_request,
};
use kafka_protocol::protocol::StrBytes;
use ottla_test_client::Connection;

use super::client::Client;
use super::wire::code;

/// A key whose value decides nothing in these worlds.
const KEY: &str = "flush.ms";
const POLICY: &str = "cleanup.policy";
const TOPIC: i8 = 2;

/// What is known of the key of one topic.
#[derive(Default)]
pub struct Configs {
    /// The last value that was used.
    used: u32,
    acknowledged: Option<u32>,
    in_doubt: BTreeSet<u32>,
}

impl Configs {
    /// Sets the key of a topic that stays.
    pub async fn alter(
        &mut self,
        client: &Client,
        connection: &mut Connection,
        topic: &str,
    ) -> io::Result<()> {
        self.used += 1;
        self.in_doubt.insert(self.used);
        let request = alter(topic, KEY, self.used.to_string());
        let version = client.dice.between(0, 1) as i16;
        let call = connection.call::<IncrementalAlterConfigsRequest>(version, &request);
        let response = client.answer(call).await?;
        match response.responses.first().map(|it| it.error_code) {
            Some(code::NONE) => {
                self.in_doubt.remove(&self.used);
                self.acknowledged = Some(self.used);
                client.findings.count(|stats| stats.configs += 1);
            }
            Some(code::NOT_CONTROLLER | code::REQUEST_TIMED_OUT) => {}
            other => client.findings.violated(format!("configs of {topic}: {other:?}")),
        }
        Ok(())
    }

    /// Looks whether what was acknowledged is there.
    pub async fn look(
        &self,
        client: &Client,
        connection: &mut Connection,
        topic: &str,
    ) -> io::Result<()> {
        let request = describe(topic);
        let call = connection.call::<DescribeConfigsRequest>(4, &request);
        let response = client.answer(call).await?;
        let Some(config) = response.results.first().and_then(|it| it.configs.first()) else {
            client.findings.violated(format!("{topic} has no {KEY}"));
            return Ok(());
        };
        // 1 is the topic's own.
        let own = config.value.as_ref().filter(|_| config.config_source == 1);
        let value: Option<u32> = own.and_then(|value| value.parse().ok());
        let is_known =
            value == self.acknowledged || value.is_some_and(|value| self.in_doubt.contains(&value));
        if !is_known {
            let acknowledged = self.acknowledged;
            let what = format!("{KEY} of {topic} is {value:?}, acknowledged is {acknowledged:?}");
            client.findings.violated(what);
        }
        Ok(())
    }
}

/// Gives a topic another policy. Whether that is acknowledged does not matter.
pub async fn set_policy(
    client: &Client,
    connection: &mut Connection,
    topic: &str,
) -> io::Result<()> {
    let policy = client.dice.pick(&["compact", "delete", "compact,delete"]);
    let request = alter(topic, POLICY, policy.to_owned());
    let call = connection.call::<IncrementalAlterConfigsRequest>(1, &request);
    let response = client.answer(call).await?;
    match response.responses.first().map(|it| it.error_code) {
        Some(code::NONE | code::NOT_CONTROLLER | code::REQUEST_TIMED_OUT) => {}
        other => client.findings.violated(format!("{policy} for {topic}: {other:?}")),
    }
    Ok(())
}

fn alter(topic: &str, key: &'static str, value: String) -> IncrementalAlterConfigsRequest {
    let config = incremental_alter_configs_request::AlterableConfig::default()
        .with_name(StrBytes::from_static_str(key))
        .with_value(Some(StrBytes::from_string(value)));
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_string(topic.to_owned()))
        .with_configs(vec![config]);
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

fn describe(topic: &str) -> DescribeConfigsRequest {
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_string(topic.to_owned()))
        .with_configuration_keys(Some(vec![StrBytes::from_static_str(KEY)]));
    DescribeConfigsRequest::default().with_resources(vec![resource])
}
