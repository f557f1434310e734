//! Who may do what.
//!
//! Every handler asks the [`Authorizer`] port before it acts. This version has one that allows
//! everything; a configuration that asks for another is refused at the start. Deliberately absent
//! so far: ACLs, SASL, TLS, delegation tokens, quotas.

mod authorizer;

pub use authorizer::{Action, AllowAll, Authorizer, Operation, Principal, Resource, ResourceKind};
