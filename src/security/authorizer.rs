//! The question that handlers ask (`org.apache.kafka.server.authorizer.Authorizer`).

use std::net::IpAddr;

/// Who sends a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// Type, such as "User".
    pub kind: String,
    /// Name.
    pub name: String,
}

impl Principal {
    /// The principal of a connection without authentication.
    #[must_use]
    pub fn anonymous() -> Principal {
        Principal { kind: "User".to_owned(), name: "ANONYMOUS".to_owned() }
    }
}

/// What is done to a resource (`AclOperation`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the names are Kafka's and say it")]
pub enum Operation {
    Read,
    Write,
    Create,
    Delete,
    Alter,
    Describe,
    ClusterAction,
    DescribeConfigs,
    AlterConfigs,
    IdempotentWrite,
}

/// The type of a resource (`ResourceType`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the names are Kafka's and say it")]
pub enum ResourceKind {
    Topic,
    Group,
    Cluster,
    TransactionalId,
}

/// A resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Resource<'a> {
    /// Its type.
    pub kind: ResourceKind,
    /// Its name.
    pub name: &'a str,
}

impl<'a> Resource<'a> {
    /// The cluster, whose name is always the same.
    pub const CLUSTER: Resource<'static> =
        Resource { kind: ResourceKind::Cluster, name: "kafka-cluster" };

    /// A topic.
    #[must_use]
    pub fn topic(name: &'a str) -> Resource<'a> {
        Resource { kind: ResourceKind::Topic, name }
    }
}

/// One question.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Action<'a> {
    /// What is done.
    pub operation: Operation,
    /// To what.
    pub resource: Resource<'a>,
}

/// Answers whether a principal may do something. Plain calls: what an answer needs is in memory.
pub trait Authorizer: Send + Sync {
    /// Whether `principal`, connected from `host`, may do `action`.
    fn allows(&self, principal: &Principal, host: IpAddr, action: Action<'_>) -> bool;

    /// Whether `principal` may do `operation` to at least one resource of this type (KIP-679).
    fn allows_any(
        &self,
        principal: &Principal,
        host: IpAddr,
        operation: Operation,
        kind: ResourceKind,
    ) -> bool;

    /// Whether `principal` may surely do `operation` to every resource of this type, those that do
    /// not exist yet included; when not, each is asked for.
    fn allows_every(
        &self,
        principal: &Principal,
        host: IpAddr,
        operation: Operation,
        kind: ResourceKind,
    ) -> bool;
}

/// Allows everything, as Kafka does without `authorizer.class.name`.
#[derive(Clone, Copy, Default, Debug)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn allows(&self, _: &Principal, _: IpAddr, _: Action<'_>) -> bool {
        true
    }

    fn allows_any(&self, _: &Principal, _: IpAddr, _: Operation, _: ResourceKind) -> bool {
        true
    }

    fn allows_every(&self, _: &Principal, _: IpAddr, _: Operation, _: ResourceKind) -> bool {
        true
    }
}
