//! The log directories at the start: opened, locked, and checked or formatted.

use std::sync::Arc;

use ottla_config::NodeConfig;
use ottla_protocol::control::VoterEndpoint;
use ottla_runtime::Runtime;
use ottla_storage::{DataDir, LogDir, LogDirs};

use crate::format::{FormatError, check_or_format};

/// The directories of a node that starts.
pub(crate) struct Dirs {
    pub(crate) dirs: LogDirs,
    pub(crate) cluster_id: String,
}

impl Dirs {
    /// Locks the directories, formats fresh ones, and takes the marks of a clean stop away.
    ///
    /// # Errors
    /// When they cannot be this node's.
    pub(crate) fn open(
        runtime: &Runtime,
        config: &NodeConfig,
        voter: &[VoterEndpoint],
    ) -> Result<Dirs, FormatError> {
        let data = DataDir::open(runtime.disk(), &config.data_dir)?;
        let identity = check_or_format(runtime, &data, config, voter)?;
        let clean = data.take_clean_shutdown()?;
        let dir = Arc::new(LogDir::new(data, identity.directory_id, clean));
        let dirs = LogDirs::new(vec![dir.clone()], dir);
        Ok(Dirs { dirs, cluster_id: identity.cluster_id })
    }
}
