//! Calls of the APIs about configs, on either listener.

use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeClientQuotasRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, ListConfigResourcesRequest, alter_configs_request,
    describe_configs_request, incremental_alter_configs_request,
};
use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::fresh;
use crate::requests::{create, error, text};

const TOPIC: i8 = 2;

/// Sets one key of a resource.
pub fn alter_request(
    kind: i8,
    name: &str,
    key: &str,
    value: &str,
) -> IncrementalAlterConfigsRequest {
    let config = incremental_alter_configs_request::AlterableConfig::default()
        .with_name(text(key))
        .with_value(Some(text(value)));
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(vec![config]);
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

/// Leaves one key of a resource.
pub fn legacy_request(kind: i8, name: &str, key: &str, value: &str) -> AlterConfigsRequest {
    let config = alter_configs_request::AlterableConfig::default()
        .with_name(text(key))
        .with_value(Some(text(value)));
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(vec![config]);
    AlterConfigsRequest::default().with_resources(vec![resource])
}

/// Asks for everything that is known of a resource.
pub fn describe_request(kind: i8, name: &str) -> DescribeConfigsRequest {
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true)
}

pub fn of_topic(client: &mut Client, key: i16, version: i16, topic: &str) {
    match key {
        32 => describe_topic(client, version, topic),
        33 => alter_topic(client, version, topic),
        _ => alter_topic_incrementally(client, version, topic),
    }
}

pub fn describe(client: &mut Client, version: i16) {
    let name = fresh("described");
    create(client, &name, 1, &[("segment.ms", "5000")]);
    describe_topic(client, version, &name);
    // Types and texts came with version 3.
    let request = describe_request(TOPIC, &name).with_include_documentation(version >= 3);
    let answer = client.call(version, &request);
    let config = answer.results[0].configs.iter().find(|it| &*it.name == "segment.ms").unwrap();
    assert_eq!((config.value.as_deref(), config.config_source), (Some("5000"), 1));
    assert_eq!(config.synonyms[0].source, 1);
    if version >= 3 {
        assert_eq!(config.config_type, 5);
        assert!(config.documentation.as_ref().is_some_and(|text| text.len() > 10));
    }
}

fn describe_topic(client: &mut Client, version: i16, topic: &str) {
    let answer = client.call(version, &describe_request(TOPIC, topic));
    assert_eq!(error(answer.results[0].error_code), ErrorCode::None);
    assert!(answer.results[0].configs.len() > 30);
    let answer = client.call(version, &describe_request(TOPIC, &fresh("missing")));
    assert_eq!(error(answer.results[0].error_code), ErrorCode::UnknownTopicOrPartition);
}

pub fn alter(client: &mut Client, version: i16) {
    let name = fresh("altered");
    create(client, &name, 1, &[("segment.ms", "5000")]);
    alter_topic(client, version, &name);
}

fn alter_topic(client: &mut Client, version: i16, topic: &str) {
    for (value, expected) in [("7", ErrorCode::None), ("x", ErrorCode::InvalidConfig)] {
        let request = legacy_request(TOPIC, topic, "retention.ms", value);
        let answer = client.call(version, &request);
        assert_eq!(error(answer.responses[0].error_code), expected, "v{version}");
        assert_eq!(answer.responses[0].error_message.is_some(), expected != ErrorCode::None);
    }
}

pub fn alter_incremental(client: &mut Client, version: i16) {
    let name = fresh("altered");
    create(client, &name, 1, &[]);
    alter_topic_incrementally(client, version, &name);
}

fn alter_topic_incrementally(client: &mut Client, version: i16, topic: &str) {
    for (value, expected) in [("7", ErrorCode::None), ("x", ErrorCode::InvalidConfig)] {
        let request = alter_request(TOPIC, topic, "retention.ms", value);
        let answer = client.call(version, &request);
        assert_eq!(error(answer.responses[0].error_code), expected, "v{version}");
        assert_eq!(&*answer.responses[0].resource_name, topic);
    }
}

pub fn client_quotas(client: &mut Client, version: i16) {
    let any = |kind: &str| {
        let part = ComponentData::default().with_entity_type(text(kind)).with_match_type(2);
        DescribeClientQuotasRequest::default().with_components(vec![part.with_match(None)])
    };
    let answer = client.call(version, &any("user"));
    assert_eq!(error(answer.error_code), ErrorCode::None);
    assert_eq!(answer.entries.map(|entries| entries.len()), Some(0));
    let answer = client.call(version, &any(""));
    assert_eq!((error(answer.error_code), answer.entries), (ErrorCode::InvalidRequest, None));
}

pub fn list(client: &mut Client, version: i16) {
    let answer = client.call(version, &ListConfigResourcesRequest::default());
    assert_eq!(error(answer.error_code), ErrorCode::None);
    // Version 0 knows subscriptions to client metrics only.
    assert_eq!(answer.config_resources.iter().any(|it| it.resource_type == 4), version > 0);
    if version > 0 {
        let request = ListConfigResourcesRequest::default().with_resource_types(vec![3]);
        let answer = client.call(version, &request);
        assert_eq!(error(answer.error_code), ErrorCode::UnsupportedVersion);
    }
}
