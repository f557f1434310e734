//! Why a node did not start, or had to end.

use std::fmt;

use ottla_metadata::ControllerError;
use ottla_raft::driver::QuorumError;
use ottla_storage::DirError;

use crate::format::FormatError;
use crate::listeners::BindError;
use crate::protections::Unprotected;

/// Why a node did not start, or had to end. The text is one line for the operator.
#[derive(Debug)]
pub enum StartError {
    /// The data directory.
    Format(FormatError),
    /// A listener.
    Bind(BindError),
    /// A host of `max.connections.per.ip.overrides` has no address.
    UnknownHost {
        /// The host.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// The metadata log.
    Quorum(QuorumError),
    /// The registration.
    Register(ControllerError),
    /// The metadata asks for a protection that is not built.
    Unprotected(Unprotected),
    /// The data directory failed while the node ran.
    Fenced(String),
    /// The operating system refused something else.
    Io(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Format(error) => error.fmt(f),
            StartError::Bind(error) => error.fmt(f),
            StartError::UnknownHost { host, source } => {
                write!(f, "max.connections.per.ip.overrides: {host}: {source}")
            }
            StartError::Quorum(error) => error.fmt(f),
            StartError::Register(error) => write!(f, "the broker cannot register: {error}"),
            StartError::Unprotected(unprotected) => unprotected.fmt(f),
            StartError::Fenced(reason) => write!(f, "the data directory failed: {reason}"),
            StartError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Format(error) => Some(error),
            StartError::Bind(error) => Some(error),
            StartError::Quorum(error) => Some(error),
            StartError::Register(error) => Some(error),
            StartError::Io(error) | StartError::UnknownHost { source: error, .. } => Some(error),
            StartError::Fenced(_) | StartError::Unprotected(_) => None,
        }
    }
}

impl From<FormatError> for StartError {
    fn from(error: FormatError) -> StartError {
        StartError::Format(error)
    }
}

impl From<DirError> for StartError {
    fn from(error: DirError) -> StartError {
        StartError::Format(FormatError::Dir(error))
    }
}
