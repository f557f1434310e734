//! Requests to change configs, judged before the controller decides: what is the same for
//! IncrementalAlterConfigs and AlterConfigs (Kafka's `ConfigAdminManager`).
//!
//! In this order: a resource that comes twice, a key that comes twice, values that are missing, a
//! type of resource that is not known, a broker that is another one, and keys of a broker that do
//! not change while it runs. Then the authorizer is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_config::{BrokerConfigError, CleanerConfig, check_broker_config};
use ottla_metadata::controller::{
    AlterConfigs, AlteredConfigs, ConfigChange, ConfigOperation, check_config_length,
};
use ottla_metadata::image::{ConfigResource, Image};
use ottla_metadata::{ControllerError, ControllerHandle};
use ottla_runtime::Clock;
use ottla_security::Operation;
use ottla_types::{ErrorCode, NodeId};

use super::{BROKER, BROKER_LOGGER, Refusal, authorize, kept};
use crate::handlers::Permissions;
use crate::services::Services;

/// Longest wait for the controller, as clients wait for an answer (`request.timeout.ms`).
const WAIT_MAX: Duration = Duration::from_secs(30);
const LOG_LEVELS: [&str; 6] = ["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"];

/// What is done to a key, as the request says it.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    /// Kafka's number; AlterConfigs only sets.
    pub(crate) operation: i8,
    pub(crate) value: Option<String>,
}

pub(crate) const SET: i8 = 0;
pub(crate) const DELETE: i8 = 1;
pub(crate) const APPEND: i8 = 2;
pub(crate) const SUBTRACT: i8 = 3;

/// A resource of a request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) kind: i8,
    pub(crate) name: String,
    pub(crate) keys: Vec<Key>,
}

/// Which of the two requests it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    Incremental,
    Replacing,
}

/// A request, and for each of its resources why it is refused, if it is.
pub(crate) struct Judged {
    pub(crate) request: AlterConfigs,
    pub(crate) refusals: Vec<Option<Refusal>>,
}

/// Judges a request.
pub(crate) fn judge(
    services: &Services,
    permissions: &Permissions<'_>,
    asked: &[Asked],
    form: Form,
    validate_only: bool,
) -> Judged {
    let image = services.images.load();
    let (node, cleaner) = (services.identity.node_id, services.config.cleaner);
    let judge = Judge { node, cleaner, image: &image, permissions, form };
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<(i8, &str)> =
        asked.iter().map(Asked::id).filter(|id| !seen.insert(*id)).collect();
    let mut resources = Vec::new();
    let mut refusals = Vec::new();
    let on_controller = permissions.peer.listener.is_controller();
    for resource in asked {
        let is_unknown = resource.kind != BROKER_LOGGER && kept(resource.kind).is_none();
        let judged = if on_controller && is_unknown {
            // There it is asked first, and the client's version is blamed.
            let text = format!("Unknown resource type {}.", resource.kind);
            Err(Refusal::new(ErrorCode::UnsupportedVersion, text))
        } else if twice.contains(&resource.id()) {
            Err(Refusal::request("Each resource must appear at most once."))
        } else {
            judge.resource(resource)
        };
        refusals.push(match judged {
            Ok(change) => {
                resources.push(change);
                None
            }
            Err(refusal) => Some(refusal),
        });
    }
    Judged { request: AlterConfigs { resources, validate_only }, refusals }
}

/// Carries a request out; what became of each of its resources, in order.
pub(crate) async fn carry_out(
    controller: ControllerHandle,
    clock: Clock,
    judged: Judged,
) -> Vec<Option<Refusal>> {
    let Judged { request, refusals } = judged;
    let altered = if request.resources.is_empty() {
        Ok(AlteredConfigs::new())
    } else {
        let altered = controller.alter_configs(request);
        let done = clock.timeout(WAIT_MAX, altered).await;
        done.unwrap_or(Err(ControllerError::TimedOut))
    };
    let mut results = altered.map(Vec::into_iter);
    let outcomes = refusals.into_iter().map(|refusal| {
        refusal.or_else(|| match &mut results {
            Ok(results) => {
                let error = results.next().expect("a result for each resource").err()?;
                Some(Refusal::new(error.code(), error.to_string()))
            }
            Err(error) => Some(Refusal::new(error.code(), error.to_string())),
        })
    });
    outcomes.collect()
}

impl Asked {
    fn id(&self) -> (i8, &str) {
        (self.kind, &self.name)
    }
}

struct Judge<'a> {
    node: NodeId,
    /// As the node began.
    cleaner: CleanerConfig,
    image: &'a Image,
    permissions: &'a Permissions<'a>,
    form: Form,
}

impl Judge<'_> {
    fn resource(&self, asked: &Asked) -> Result<(ConfigResource, ConfigChange), Refusal> {
        let mut names = BTreeSet::new();
        if !asked.keys.iter().all(|key| names.insert(key.name.as_str())) {
            return Err(Refusal::request("Error due to duplicate config keys"));
        }
        let null = asked.keys.iter().filter(|it| it.value.is_none() && it.operation != DELETE);
        let null: Vec<&str> = null.map(|key| key.name.as_str()).collect();
        if !null.is_empty() {
            let text = format!("Null value not supported for : {}", null.join(", "));
            return Err(Refusal::request(text));
        }
        let kind = match (asked.kind, self.form) {
            (BROKER_LOGGER, Form::Incremental) => return Err(self.logger(asked)),
            (kind, _) => kept(kind)
                .ok_or_else(|| Refusal::request(format!("Unknown resource type {kind}")))?,
        };
        if asked.kind == BROKER {
            self.broker(asked)?;
        }
        let change = self.change(asked)?;
        let operation = Operation::AlterConfigs;
        authorize(self.permissions, operation, asked.kind, &asked.name)
            .map_err(|error| Refusal { error, message: None })?;
        Ok((ConfigResource { kind, name: asked.name.clone() }, change))
    }

    fn change(&self, asked: &Asked) -> Result<ConfigChange, Refusal> {
        let value = |key: &Key| key.value.clone().unwrap_or_default();
        if self.form == Form::Replacing {
            let all = asked.keys.iter().map(|key| (key.name.clone(), value(key)));
            return Ok(ConfigChange::All(all.collect()));
        }
        let operation = |key: &Key| {
            let operation = match key.operation {
                SET => ConfigOperation::Set(value(key)),
                DELETE => ConfigOperation::Delete,
                APPEND => ConfigOperation::Append(value(key)),
                SUBTRACT => ConfigOperation::Subtract(value(key)),
                other => {
                    return Err(Refusal::request(format!("Unknown operations type {other}")));
                }
            };
            Ok((key.name.clone(), operation))
        };
        Ok(ConfigChange::Some(asked.keys.iter().map(operation).collect::<Result<_, _>>()?))
    }

    fn check_node(&self, name: &str, mismatch: &str) -> Result<(), Refusal> {
        let id: i32 = name.parse().map_err(|_| {
            Refusal::request(format!("Node id must be an integer, but it is: {name}"))
        })?;
        if id == self.node.0 {
            return Ok(());
        }
        Err(Refusal::request(mismatch.replace("{}", &self.node.to_string()) + name))
    }

    /// What a broker is to go by must be something that it can change to.
    fn broker(&self, asked: &Asked) -> Result<(), Refusal> {
        if !asked.name.is_empty() {
            self.check_node(&asked.name, "Unexpected broker id, expected {}, but received ")?;
        }
        let resource = ConfigResource {
            kind: kept(BROKER).expect("brokers have configs"),
            name: asked.name.clone(),
        };
        let now = self.image.configs().of(&resource);
        // What is there already is not judged again: another version may have put it there.
        let is_new = |key: &Key| now.and_then(|now| now.get(&key.name)) != key.value.as_ref();
        let mut static_keys = Vec::new();
        for key in asked.keys.iter().filter(|key| key.operation != DELETE && is_new(key)) {
            let value = key.value.as_deref().unwrap_or_default();
            let too_long = |text| Refusal::new(ErrorCode::InvalidConfig, text);
            check_config_length(value).map_err(too_long)?;
            if matches!(key.operation, APPEND | SUBTRACT) {
                check_list(key)?;
            }
            match check_broker_config(&key.name, value) {
                // Fewer elements than there are cannot be judged by those that go.
                Err(BrokerConfigError::Value(_)) if key.operation == SUBTRACT => {}
                Err(BrokerConfigError::Value(text)) => return Err(Refusal::request(text)),
                Err(BrokerConfigError::NotRead(text)) => {
                    return Err(Refusal::new(ErrorCode::InvalidConfig, text));
                }
                Err(BrokerConfigError::NotDynamic) => static_keys.push(key.name.as_str()),
                Ok(()) => {}
            }
        }
        if !static_keys.is_empty() {
            return Err(Refusal::request(format!(
                "Cannot update these configs dynamically: [{}]",
                static_keys.join(", ")
            )));
        }
        let now = self.cleaner.with(|key| self.told(key, None));
        let next = self.cleaner.with(|key| self.told(key, Some(asked)));
        now.check_change(&next).map_err(Refusal::request)
    }

    /// What this broker, else all brokers, are told of a key, or will be if what is asked is done.
    fn told<'s>(&'s self, key: &str, asked: Option<&'s Asked>) -> Option<&'s str> {
        let of = |name: String| {
            let asked = asked.filter(|asked| asked.name == name);
            let change = asked.and_then(|asked| asked.keys.iter().find(|it| it.name == key));
            match change {
                Some(change) if change.operation == DELETE => None,
                Some(change) => change.value.as_deref(),
                None if asked.is_some() && self.form == Form::Replacing => None,
                None => {
                    let kind = kept(BROKER).expect("brokers have configs");
                    self.image.configs().value(&ConfigResource { kind, name }, key)
                }
            }
        };
        of(self.node.to_string()).or_else(|| of(String::new()))
    }

    /// This version has no loggers whose levels could be changed.
    fn logger(&self, asked: &Asked) -> Refusal {
        if !self.permissions.cluster(Operation::AlterConfigs) {
            return Refusal { error: ErrorCode::ClusterAuthorizationFailed, message: None };
        }
        let mismatch = "Unexpected node id. Expected {}, but received ";
        if let Err(refusal) = self.check_node(&asked.name, mismatch) {
            return refusal;
        }
        let Some(key) = asked.keys.first() else {
            return Refusal { error: ErrorCode::None, message: None };
        };
        let (name, level) = (&key.name, key.value.as_deref().unwrap_or_default());
        match key.operation {
            SET if !LOG_LEVELS.contains(&level) => {
                let text = format!(
                    "Cannot set the log level of {name} to {level} as it is not a supported log \
                     level. Valid log levels are {}",
                    LOG_LEVELS.join(", ")
                );
                Refusal::new(ErrorCode::InvalidConfig, text)
            }
            DELETE if name == "root" => {
                Refusal::request("Removing the log level of the root logger is not allowed")
            }
            APPEND | SUBTRACT => {
                let verb = if key.operation == APPEND { "APPEND" } else { "SUBTRACT" };
                Refusal::request(format!(
                    "{verb} operation is not allowed for the BROKER_LOGGER resource"
                ))
            }
            SET | DELETE => {
                let text = format!("Logger {name} does not exist!");
                Refusal::new(ErrorCode::InvalidConfig, text)
            }
            other => Refusal::request(format!("Unknown operations type {other}")),
        }
    }
}

/// Only lists grow and shrink.
fn check_list(key: &Key) -> Result<(), Refusal> {
    let invalid = |text: String| Err(Refusal::new(ErrorCode::InvalidConfig, text));
    let Some(known) = ottla_config::broker_key(&key.name) else {
        return invalid(format!("Unknown config name: {}", key.name));
    };
    if known.kind.value_type() == ottla_config::ValueType::List {
        return Ok(());
    }
    let verb = if key.operation == APPEND { "append" } else { "subtract" };
    invalid(format!("Config value {verb} is not allowed for config key: {}", key.name))
}
