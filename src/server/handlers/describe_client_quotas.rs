//! DescribeClientQuotas (48): the quotas of users, client ids and addresses (KIP-546).
//!
//! Versions: 0-1; 1 is flexible.
//! - Told are the entities that the filter matches. A node whose metadata holds quotas starts only
//!   where it is told that they may be left alone (`ottla.unprotected.loopback`): nothing enforces
//!   them yet, which is why there is no way to set one.
//!
//! Errors: `CLUSTER_AUTHORIZATION_FAILED`, `INVALID_REQUEST` and `UNSUPPORTED_VERSION` for filters
//! that make no sense.

use std::collections::BTreeMap;

use ottla_metadata::image::{ClientQuotas, QuotaEntity, QuotaMap};
use ottla_protocol::Decoded;
use ottla_protocol::messages::describe_client_quotas_request::ComponentData;
use ottla_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use ottla_protocol::messages::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, StrBytes, decode_request,
};
use ottla_security::Operation;
use ottla_types::ErrorCode;

use super::Permissions;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let header = &request.header;
    let body: DescribeClientQuotasRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer: request.peer };
    let answer = DescribeClientQuotasResponse::default();
    let filter = if permissions.cluster(Operation::DescribeConfigs) {
        Filter::read(&body.components, body.strict)
    } else {
        let text = "Cluster authorization failed.".to_owned();
        Err((ErrorCode::ClusterAuthorizationFailed, text))
    };
    let answer = match filter {
        Ok(filter) => {
            let image = services.images.load();
            answer.with_entries(Some(filter.entries(image.quotas())))
        }
        Err((error, text)) => answer
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_string(text)))
            .with_entries(None),
    };
    Ok(Reply::Now(Response::encode(header, &answer)))
}

/// What the entity of a type must be.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Wanted {
    /// This one; `None` is the default.
    Exactly(Option<String>),
    /// Any.
    Any,
}

#[derive(Debug)]
struct Filter {
    wanted: BTreeMap<String, Wanted>,
    /// Whether entities of more types do not match.
    strict: bool,
}

impl Filter {
    fn read(components: &[ComponentData], strict: bool) -> Result<Filter, (ErrorCode, String)> {
        let invalid = |text: String| Err((ErrorCode::InvalidRequest, text));
        let mut wanted = BTreeMap::new();
        for component in components {
            let kind: &str = &component.entity_type;
            if kind.is_empty() {
                return invalid("Invalid empty entity type.".to_owned());
            } else if wanted.contains_key(kind) {
                let text =
                    format!("Entity type {kind} cannot appear more than once in the filter.");
                return invalid(text);
            } else if !matches!(kind, "ip" | "user" | "client-id") {
                let text = format!("Unsupported entity type {kind}");
                return Err((ErrorCode::UnsupportedVersion, text));
            }
            let name = component._match.as_ref().map(ToString::to_string);
            let one = match (component.match_type, name) {
                (EXACT, Some(name)) => Wanted::Exactly(Some(name)),
                (DEFAULT, None) => Wanted::Exactly(None),
                (SPECIFIED, None) => Wanted::Any,
                (EXACT, None) => {
                    let text = "Request specified MATCH_TYPE_EXACT, but set match string to null.";
                    return invalid(text.to_owned());
                }
                (given @ (DEFAULT | SPECIFIED), Some(_)) => {
                    let given = if given == DEFAULT { "DEFAULT" } else { "SPECIFIED" };
                    return invalid(format!(
                        "Request specified MATCH_TYPE_{given}, but also specified a match string."
                    ));
                }
                (other, _) => return invalid(format!("Unknown match type {other}")),
            };
            wanted.insert(kind.to_owned(), one);
        }
        if wanted.contains_key("ip") && wanted.len() > 1 {
            let text = "Invalid entity filter component combination. IP filter component should \
                        not be used with user or clientId filter component.";
            return invalid(text.to_owned());
        }
        Ok(Filter { wanted, strict })
    }

    fn matches(&self, entity: &QuotaEntity) -> bool {
        let is_wanted = |(kind, wanted): (&String, &Wanted)| match entity.0.get(kind) {
            None => false,
            Some(name) => *wanted == Wanted::Any || *wanted == Wanted::Exactly(name.clone()),
        };
        let fits = !self.strict || entity.0.len() == self.wanted.len();
        fits && self.wanted.iter().all(is_wanted)
    }

    fn entries(&self, quotas: &ClientQuotas) -> Vec<EntryData> {
        let found = quotas.iter().filter(|(entity, _)| self.matches(entity));
        found.map(|(entity, quotas)| entry(entity, quotas)).collect()
    }
}

fn entry(entity: &QuotaEntity, quotas: &QuotaMap) -> EntryData {
    let part = |(kind, name): (&String, &Option<String>)| {
        EntityData::default()
            .with_entity_type(StrBytes::from_string(kind.clone()))
            .with_entity_name(name.clone().map(StrBytes::from_string))
    };
    let value = |(key, value): (&String, &f64)| {
        ValueData::default().with_key(StrBytes::from_string(key.clone())).with_value(*value)
    };
    EntryData::default()
        .with_entity(entity.0.iter().map(part).collect())
        .with_values(quotas.iter().map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(kind: &str, match_type: i8, name: Option<&str>) -> ComponentData {
        ComponentData::default()
            .with_entity_type(StrBytes::from_string(kind.to_owned()))
            .with_match_type(match_type)
            .with_match(name.map(|name| StrBytes::from_string(name.to_owned())))
    }

    fn entity(parts: &[(&str, Option<&str>)]) -> QuotaEntity {
        let part =
            |(kind, name): &(&str, Option<&str>)| ((*kind).to_owned(), name.map(str::to_owned));
        QuotaEntity(parts.iter().map(part).collect())
    }

    #[test]
    fn filters_match_as_kafkas_do() {
        let entities = [
            entity(&[("user", Some("a"))]),
            entity(&[("user", None)]),
            entity(&[("user", Some("a")), ("client-id", Some("c"))]),
            entity(&[("ip", None)]),
        ];
        let check = |components: &[ComponentData], strict: bool, expected: &[usize]| {
            let filter = Filter::read(components, strict).expect("a filter");
            let found = (0..entities.len()).filter(|at| filter.matches(&entities[*at]));
            assert_eq!(found.collect::<Vec<_>>(), expected, "{components:?}");
        };
        check(&[], false, &[0, 1, 2, 3]);
        check(&[], true, &[]);
        check(&[component("user", EXACT, Some("a"))], false, &[0, 2]);
        check(&[component("user", EXACT, Some("a"))], true, &[0]);
        check(&[component("user", DEFAULT, None)], false, &[1]);
        check(&[component("user", SPECIFIED, None)], false, &[0, 1, 2]);
        check(&[component("ip", SPECIFIED, None)], true, &[3]);
        let both = [component("user", SPECIFIED, None), component("client-id", EXACT, Some("c"))];
        check(&both, true, &[2]);
    }
}
