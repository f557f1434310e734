//! Scripts about configs: commands, each with its answer.
//!
//! ```text
//! > alter topic {t}: set retention.ms=5; delete segment.ms & broker 1: append a=b
//! > validate ...       the same, validated only
//! > legacy topic {t}: retention.ms=5; segment.ms=7 & ...
//! > describe topic {t}: retention.ms; segment.ms & ...
//! > list topic group   the configs' resources of these types
//! > quotas user any; client-id exact c; strict
//! ```
//! An answer of Kafka's is followed by that of Ottla, with `!`, where it is another on purpose.
//! Names in braces are topics that are made when they are first named. A key without `=` has no
//! value, LONG stands for one of 32,768 characters. Answers hold an error for each resource, or a
//! line for each config, sorted.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeClientQuotasRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, ListConfigResourcesRequest, alter_configs_request,
    describe_configs_request, incremental_alter_configs_request,
};
use kafka_protocol::protocol::StrBytes;

use crate::client::Client;
use crate::node::{Node, fresh};
use crate::requests::{create, error, text};

const TYPES: [(&str, i8); 7] = [
    ("unknown", 0),
    ("topic", 2),
    ("broker", 4),
    ("logger", 8),
    ("metrics", 16),
    ("group", 32),
    ("strange", 77),
];
const OPERATIONS: [(&str, i8); 5] =
    [("set", 0), ("delete", 1), ("append", 2), ("subtract", 3), ("frobnicate", 9)];
const MATCHES: [(&str, i8); 4] = [("exact", 0), ("default", 1), ("any", 2), ("odd", 9)];
const VALUE_TYPES: [&str; 10] =
    ["UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD"];

/// Runs a script; records it when the broker is Kafka and it is to be updated.
pub fn check(node: &Node, name: &str) {
    let client = &mut node.connect();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/it/configs/scripts/{name}.txt"));
    let script = std::fs::read_to_string(&path).unwrap();
    let mut names = BTreeMap::new();
    let mut actual = String::new();
    let expected = if node.is_outside() { of_kafka(&script) } else { of_ottla(&script) };
    for line in expected.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            writeln!(actual, "{line}").unwrap();
            if node.is_outside() {
                // Kafka's broker learns of a change a moment after who made it.
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            let command = with_names(client, command, &mut names);
            let mut answer = run(client, &command).unwrap_or_else(|| {
                *client = node.connect();
                "  (closed)\n".to_owned()
            });
            for (name, real) in &names {
                answer = answer.replace(real, name);
            }
            // Topics of other scripts.
            let lines = answer.lines().filter(|line| !line.starts_with("2 configs-"));
            lines.for_each(|line| writeln!(actual, "{line}").unwrap());
        } else if line.is_empty() || line.starts_with(['#', '!']) {
            writeln!(actual, "{line}").unwrap();
        }
    }
    if node.is_outside() && std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &actual).unwrap();
    } else if actual != expected {
        let seen = std::env::temp_dir().join(format!("ottla-configs-{name}.txt"));
        std::fs::write(&seen, &actual).unwrap();
        let differs = actual.lines().zip(expected.lines()).find(|(a, b)| a != b);
        panic!("{differs:#?}: diff {} {}", path.display(), seen.display());
    }
}

/// The script with what Kafka answers, without what Ottla does.
fn of_kafka(script: &str) -> String {
    // They are kept for a recording, and lie behind the answer they replace.
    script.to_owned()
}

/// The script with what Ottla answers.
fn of_ottla(script: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut of_kafka = 0;
    for line in script.lines() {
        match line.strip_prefix("! ") {
            Some(answer) => {
                out.truncate(out.len() - of_kafka);
                of_kafka = 0;
                out.push(answer.to_owned());
            }
            None => {
                let is_answer = !line.is_empty() && !line.starts_with(['#', '>']);
                of_kafka = if is_answer { of_kafka + 1 } else { 0 };
                out.push(line.to_owned());
            }
        }
    }
    out.join("\n") + "\n"
}

/// The command with topics for the names in braces.
fn with_names(client: &mut Client, command: &str, names: &mut BTreeMap<String, String>) -> String {
    let mut command = command.to_owned();
    for part in command.clone().split('{').skip(1) {
        let name = format!("{{{}}}", part.split('}').next().unwrap());
        let real = names.entry(name.clone()).or_insert_with(|| {
            let real = fresh("configs");
            create(client, &real, 1, &[]);
            real
        });
        command = command.replace(&name, real);
    }
    command
}

/// The answer; nothing when the connection is closed instead.
fn run(client: &mut Client, command: &str) -> Option<String> {
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    let resources = || rest.split(" & ").map(resource);
    match verb {
        "alter" | "validate" => {
            let resources = resources().map(|(kind, name, parts)| {
                incremental_alter_configs_request::AlterConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(name)
                    .with_configs(parts.iter().map(|part| operation(part)).collect())
            });
            let request = IncrementalAlterConfigsRequest::default()
                .with_resources(resources.collect())
                .with_validate_only(verb == "validate");
            let answer = client.try_call(1, &request).ok()?;
            Some(lines(answer.responses.iter().map(|it| (it.error_code, &it.error_message))))
        }
        "legacy" => {
            let resources = resources().map(|(kind, name, parts)| {
                let config = |part: &String| {
                    let (name, value) = key_value(part);
                    alter_configs_request::AlterableConfig::default()
                        .with_name(name)
                        .with_value(value)
                };
                alter_configs_request::AlterConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(name)
                    .with_configs(parts.iter().map(config).collect())
            });
            let request = AlterConfigsRequest::default().with_resources(resources.collect());
            let answer = client.try_call(2, &request).ok()?;
            Some(lines(answer.responses.iter().map(|it| (it.error_code, &it.error_message))))
        }
        "describe" => describe(client, resources()),
        "list" => Some(list(client, rest)),
        "quotas" => Some(quotas(client, rest)),
        _ => panic!("{command}"),
    }
}

fn describe(
    client: &mut Client,
    resources: impl Iterator<Item = (i8, StrBytes, Vec<String>)>,
) -> Option<String> {
    let resources = resources.map(|(kind, name, parts)| {
        let keys = parts.iter().map(|part| text(part)).collect::<Vec<_>>();
        describe_configs_request::DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(name)
            .with_configuration_keys(if keys.is_empty() { None } else { Some(keys) })
    });
    let request = DescribeConfigsRequest::default()
        .with_resources(resources.collect())
        .with_include_synonyms(true);
    let mut answer = client.try_call(4, &request).ok()?;
    let mut out = String::new();
    for result in &mut answer.results {
        out += &lines([(result.error_code, &result.error_message)].into_iter());
        result.configs.sort_by(|a, b| a.name.cmp(&b.name));
        result.configs.iter().for_each(|config| out += &described(config));
    }
    Some(out)
}

fn described(config: &DescribeConfigsResourceResult) -> String {
    let show = |value: &Option<StrBytes>| value.as_deref().unwrap_or("(null)").to_owned();
    let mut line = format!(
        "{}={} source={} {}",
        config.name,
        show(&config.value),
        config.config_source,
        VALUE_TYPES[config.config_type as usize]
    );
    line += if config.read_only { " read-only" } else { "" };
    line += if config.is_sensitive { " sensitive" } else { "" };
    for synonym in &config.synonyms {
        write!(line, " <- {}={}@{}", synonym.name, show(&synonym.value), synonym.source).unwrap();
    }
    line + "\n"
}

fn list(client: &mut Client, kinds: &str) -> String {
    let kinds = kinds.split(' ').filter(|kind| !kind.is_empty()).map(|kind| number(&TYPES, kind));
    let request = ListConfigResourcesRequest::default().with_resource_types(kinds.collect());
    let answer = client.call(1, &request);
    let mut out = lines([(answer.error_code, &None)].into_iter());
    let mut found: Vec<_> = answer
        .config_resources
        .iter()
        .map(|it| format!("{} {}\n", it.resource_type, it.resource_name))
        .collect();
    found.sort();
    out += &found.concat();
    out
}

fn quotas(client: &mut Client, filter: &str) -> String {
    let mut request = DescribeClientQuotasRequest::default();
    for part in filter.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let mut words = part.split(' ');
        let (kind, how) = (words.next().unwrap(), words.next());
        match how {
            None => request.strict = true,
            Some(how) => request.components.push(
                ComponentData::default()
                    .with_entity_type(text(kind.trim_matches('-')))
                    .with_match_type(number(&MATCHES, how))
                    .with_match(words.next().map(text)),
            ),
        }
    }
    let answer = client.call(1, &request);
    let entries = answer.entries.map_or("none".to_owned(), |it| it.len().to_string());
    lines([(answer.error_code, &answer.error_message)].into_iter()) + &format!("{entries}\n")
}

/// `TYPE NAME: part; part`
fn resource(text_of: &str) -> (i8, StrBytes, Vec<String>) {
    let (head, parts) = text_of.split_once(':').unwrap_or((text_of, ""));
    let (kind, name) = head.split_once(' ').unwrap_or((head, ""));
    let parts = parts.split(';').map(|part| part.trim().to_owned());
    (number(&TYPES, kind), text(name), parts.filter(|part| !part.is_empty()).collect())
}

fn operation(part: &str) -> incremental_alter_configs_request::AlterableConfig {
    let (operation, rest) = part.split_once(' ').unwrap_or((part, ""));
    let (name, value) = key_value(rest);
    incremental_alter_configs_request::AlterableConfig::default()
        .with_config_operation(number(&OPERATIONS, operation))
        .with_name(name)
        .with_value(value)
}

fn key_value(part: &str) -> (StrBytes, Option<StrBytes>) {
    match part.split_once('=') {
        None => (text(part), None),
        Some((name, "LONG")) => (text(name), Some(text(&"x".repeat(32_768)))),
        Some((name, value)) => (text(name), Some(text(value))),
    }
}

fn number(table: &[(&str, i8)], name: &str) -> i8 {
    table.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}")).1
}

fn lines<'a>(results: impl Iterator<Item = (i16, &'a Option<StrBytes>)>) -> String {
    let line = |(code, message): (i16, &Option<StrBytes>)| match message {
        None => format!("  {}\n", error(code)),
        Some(message) if message.is_empty() => format!("  {}, \"\"\n", error(code)),
        Some(message) => format!("  {}: {}\n", error(code), message.replace('\n', "|")),
    };
    results.map(line).collect()
}
