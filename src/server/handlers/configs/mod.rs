//! The APIs about configs. What they have in common is in `server/configs/`.

pub mod alter;
pub mod alter_incremental;
pub mod describe;
pub mod list;

use ottla_protocol::messages::StrBytes;
use ottla_types::ErrorCode;

use crate::configs::Refusal;
use crate::configs::judged::{Asked, Form, carry_out, judge};
use crate::connection::Peer;
use crate::handlers::Permissions;
use crate::services::Services;

/// What became of a resource whose configs were to be changed.
struct Altered {
    kind: i8,
    name: StrBytes,
    error: i16,
    message: Option<StrBytes>,
}

/// Judges what is asked at once, and carries it out when it is waited for.
fn alter(
    services: &Services,
    peer: &Peer,
    asked: Vec<Asked>,
    form: Form,
    validate_only: bool,
) -> impl Future<Output = Vec<Altered>> + Send + use<> {
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let judged = judge(services, &permissions, &asked, form, validate_only);
    let controller = services.controller.clone();
    let clock = services.runtime.clock().clone();
    async move {
        let outcomes = carry_out(controller, clock, judged).await;
        let altered = asked.into_iter().zip(outcomes).map(|(asked, refusal)| {
            let none = Refusal { error: ErrorCode::None, message: None };
            let Refusal { error, message } = refusal.unwrap_or(none);
            Altered {
                kind: asked.kind,
                name: StrBytes::from_string(asked.name),
                error: error.code(),
                message: message.map(StrBytes::from_string),
            }
        });
        altered.collect()
    }
}
