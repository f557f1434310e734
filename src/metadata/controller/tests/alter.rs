//! `alter KIND NAME [set.KEY=VALUE] [append.KEY=..] [subtract.KEY=..] [delete.KEY=-]` changes
//! configs, `all.KEY=VALUE` replaces them, `validate=true` only decides.

use goldenscript::ArgumentConsumer;

use super::harness::Harness;
use super::render;
use crate::controller::{AlterConfigs, ConfigChange, ConfigOperation};
use crate::image::{ConfigResource, ResourceKind};

pub(super) fn request(args: &mut ArgumentConsumer<'_>) -> Option<AlterConfigs> {
    let kind = match args.next_pos()? {
        "topic" => ResourceKind::TOPIC,
        "broker" => ResourceKind::BROKER,
        "group" => ResourceKind::GROUP,
        _ => ResourceKind::CLIENT_METRICS,
    };
    let name = args.next_pos().unwrap_or_default().to_owned();
    let validate_only = args.take_key("validate").is_some();
    let (mut operations, mut all) = (Vec::new(), Vec::new());
    while let Some((verb_and_key, value)) = args.next_key() {
        let (verb, key) = verb_and_key.split_once('.')?;
        let value = value.to_owned();
        let operation = match verb {
            "set" => ConfigOperation::Set(value),
            "append" => ConfigOperation::Append(value),
            "subtract" => ConfigOperation::Subtract(value),
            "delete" => ConfigOperation::Delete,
            _ => {
                all.push((key.to_owned(), value));
                continue;
            }
        };
        operations.push((key.to_owned(), operation));
    }
    let replaces = operations.is_empty();
    let change = if replaces { ConfigChange::All(all) } else { ConfigChange::Some(operations) };
    Some(AlterConfigs { resources: vec![(ConfigResource { kind, name }, change)], validate_only })
}

/// The records, and the refusal when there is one.
pub(super) fn run(harness: &mut Harness, request: &AlterConfigs) -> String {
    match harness.controller.alter_configs(request) {
        Err(error) => render::refusal(error.code(), &error.to_string()),
        Ok(decision) => {
            let (append, results) = harness.append(decision);
            let refused = results.iter().filter_map(|result| result.as_ref().err());
            let lines = refused.map(|error| render::refusal(error.code(), &error.to_string()));
            lines.fold(render::append(&append, &harness.names), |all, line| all + &line)
        }
    }
}
