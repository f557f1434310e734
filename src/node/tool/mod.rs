//! What `ottla storage` does, with the texts of Kafka's `kafka-storage`: formatting the data
//! directories, telling what is in them, and what levels of features belong together. And what
//! `ottla dump-log` does ([`dump`]).
//!
//! Each function of storage gives back what is to be printed; an error's text is Kafka's where
//! Kafka has one.

pub mod dump;
mod format;
mod info;
mod levels;
mod repair;

use std::fmt;
use std::path::PathBuf;

use ottla_config::NodeConfig;
use ottla_metadata::LevelError;
use ottla_storage::DirError;

use crate::format::FormatError;

pub use format::{FormatRequest, InitialControllers, format_storage};
pub use info::{Info, info};
pub use levels::{feature_dependencies, feature_level, version_mapping};
pub use ottla_storage::Kept;
pub use repair::{Repair, RepairRequest, repair};

/// Every directory of `config` once: those of partitions, then that of the metadata log.
fn all_dirs(config: &NodeConfig) -> Vec<PathBuf> {
    let mut dirs = config.log_dirs.clone();
    if !dirs.contains(&config.metadata_dir) {
        dirs.push(config.metadata_dir.clone());
    }
    dirs
}

/// Why a command failed, for the operator.
#[derive(Debug)]
pub enum ToolError {
    /// The levels that were asked for.
    Level(LevelError),
    /// The directory.
    Format(FormatError),
    /// Anything else that was asked for.
    Refused(String),
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToolError::Level(error) => error.fmt(f),
            ToolError::Format(error) => error.fmt(f),
            ToolError::Refused(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ToolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ToolError::Level(error) => Some(error),
            ToolError::Format(error) => Some(error),
            ToolError::Refused(_) => None,
        }
    }
}

impl From<LevelError> for ToolError {
    fn from(error: LevelError) -> ToolError {
        ToolError::Level(error)
    }
}

impl From<FormatError> for ToolError {
    fn from(error: FormatError) -> ToolError {
        ToolError::Format(error)
    }
}

impl From<DirError> for ToolError {
    fn from(error: DirError) -> ToolError {
        ToolError::Format(FormatError::Dir(error))
    }
}
