//! Protections that the metadata asks for and that are not built: a node does not start without
//! them, unless the operator says so and nobody but this machine can connect.
//!
//! ACLs count also where no authorizer is configured: someone wrote them to be kept. SCRAM users
//! and delegation tokens do not: they let in over SASL listeners, which the configuration refuses.

use std::fmt;

use ottla_metadata::image::Image;

/// What nothing enforces. The text is one line for the operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unprotected {
    /// ACLs in the metadata.
    pub acls: usize,
    /// Users, clients and addresses with quotas.
    pub quotas: usize,
}

impl Unprotected {
    /// What the metadata asks for in vain; `None` when that is nothing.
    pub(crate) fn of(image: &Image) -> Option<Unprotected> {
        let found = Unprotected {
            acls: image.acls().iter().count(),
            quotas: image.quotas().iter().count(),
        };
        (found.acls + found.quotas > 0).then_some(found)
    }
}

impl fmt::Display for Unprotected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unprotected { acls, quotas } = self;
        write!(
            f,
            "the metadata holds {acls} ACLs and client quotas of {quotas} entities, which this \
             version does not enforce; to look at the data without them, from this machine only, \
             set ottla.unprotected.loopback=true"
        )
    }
}
