//! The finalized feature levels.

use imbl::OrdMap;
use ottla_protocol::metadata::{FeatureLevelRecord, ZkMigrationStateRecord};

use super::delta::Touched;
use super::error::ReplayError;
use crate::versions::{
    ELIGIBLE_LEADER_REPLICAS, METADATA_VERSION, MetadataVersion, VersionedRecord,
};

/// The features that the cluster has agreed on.
///
/// A level that this version does not know is kept, `metadata.version` apart: what it means is
/// decided by those who use the feature, and a level found in a log is never lowered.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Features {
    /// `None` before the first record of a cluster.
    metadata_version: Option<MetadataVersion>,
    /// All levels above 0 by name, `metadata.version` included.
    levels: OrdMap<String, i16>,
    /// Left by a migration from ZooKeeper; nothing reads it, and no snapshot loses it.
    zk_migration_state: Option<i8>,
}

impl Features {
    /// The finalized `metadata.version`; `None` when the log holds none yet.
    #[must_use]
    pub fn metadata_version(&self) -> Option<MetadataVersion> {
        self.metadata_version
    }

    /// The finalized level of a feature; 0 when it is off.
    #[must_use]
    pub fn level(&self, name: &str) -> i16 {
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// All levels above 0 by name, `metadata.version` included.
    #[must_use]
    pub fn levels(&self) -> &OrdMap<String, i16> {
        &self.levels
    }

    /// Whether eligible leader replicas are kept (KIP-966).
    #[must_use]
    pub fn elr_enabled(&self) -> bool {
        self.level(ELIGIBLE_LEADER_REPLICAS) > 0
    }

    pub(super) fn set(
        &mut self,
        record: &FeatureLevelRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        if record.name == METADATA_VERSION {
            let version = MetadataVersion::from_level(record.feature_level)
                .ok_or(ReplayError::UnknownMetadataVersion(record.feature_level))?;
            self.metadata_version = Some(version);
        }
        match record.feature_level {
            0 => self.levels.remove(&record.name),
            level => self.levels.insert(record.name.clone(), level),
        };
        touched.features.insert(record.name.clone());
        Ok(())
    }

    pub(super) fn set_zk_migration_state(&mut self, record: &ZkMigrationStateRecord) {
        self.zk_migration_state = Some(record.zk_migration_state);
    }

    /// `metadata.version` first: it says how the rest is to be read.
    pub(super) fn write(&self, version: MetadataVersion, out: &mut dyn FnMut(VersionedRecord)) {
        let is_first = |name: &str| name == METADATA_VERSION;
        let first = self.levels.iter().filter(|(name, _)| is_first(name));
        let others = self.levels.iter().filter(|(name, _)| !is_first(name));
        for (name, level) in first.chain(others) {
            let record = FeatureLevelRecord { name: name.clone(), feature_level: *level };
            out(VersionedRecord::new(record, version));
        }
        if let Some(zk_migration_state) = self.zk_migration_state {
            out(VersionedRecord::new(ZkMigrationStateRecord { zk_migration_state }, version));
        }
    }
}
