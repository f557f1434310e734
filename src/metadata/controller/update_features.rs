//! UpdateFeatures: raises and lowers the levels of features that the cluster works with (KIP-584,
//! KIP-778).
//!
//! - All updates are made or none; the first that cannot be made is named.
//! - Every broker and controller that is registered must be able to work with the new level.
//! - `metadata.version` goes down only where no level in between has changed the records.
//! - Updated is what this node shows in ApiVersions. `kraft.version` stands in the quorum's own
//!   records, which nothing here writes.

use std::fmt;

use ottla_protocol::metadata::{FeatureLevelRecord, FeatureRange};
use ottla_types::{ErrorCode, NodeId};

use super::{Controller, Decision};
use crate::versions::{
    KRAFT_VERSION, METADATA_VERSION, MetadataVersion, VersionedRecord, shown_features,
};

/// A request to update features.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdateFeatures {
    /// The updates; of a feature that comes twice the last counts.
    pub updates: Vec<FeatureUpdate>,
    /// Whether to decide only, and write nothing.
    pub validate_only: bool,
}

/// A level that a feature is to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeatureUpdate {
    /// Name of the feature.
    pub name: String,
    /// The level, not checked.
    pub level: i16,
    /// In which direction; `None` is one that there is not.
    pub direction: Option<Direction>,
}

/// In which direction a level may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Up.
    Upgrade,
    /// Down, if nothing is lost.
    SafeDowngrade,
    /// Down, whatever is lost.
    UnsafeDowngrade,
}

/// Why features are not updated: what is wrong with the first that cannot be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeatureError {
    what: String,
}

impl FeatureError {
    fn invalid(update: &FeatureUpdate, reason: impl fmt::Display) -> FeatureError {
        let FeatureUpdate { name, level, .. } = update;
        let what = format!("Invalid update version {level} for feature {name}. {reason}");
        FeatureError { what }
    }

    /// What the client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode::InvalidUpdateVersion
    }
}

impl fmt::Display for FeatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        write!(
            f,
            "The update failed for all features since the following feature had an error: {what}"
        )
    }
}

impl Controller {
    /// Updates features.
    ///
    /// # Errors
    /// When one of them cannot be updated.
    pub fn update_features(
        &self,
        node: NodeId,
        request: &UpdateFeatures,
    ) -> Result<Decision<()>, FeatureError> {
        let mut records = Vec::new();
        let updates = &request.updates;
        for (at, update) in updates.iter().enumerate() {
            if !updates[at + 1..].iter().any(|later| later.name == update.name) {
                records.extend(self.update_feature(node, update)?);
            }
        }
        if request.validate_only {
            records.clear();
        }
        Ok(Decision::atomic(records, ()))
    }

    fn update_feature(
        &self,
        node: NodeId,
        update: &FeatureUpdate,
    ) -> Result<Option<VersionedRecord>, FeatureError> {
        let refuse = |reason: &str| Err(FeatureError::invalid(update, reason));
        let Some(direction) = update.direction else {
            return refuse("The controller does not support the given upgrade type.");
        };
        if update.level < 0 {
            return refuse("A feature version cannot be less than 0.");
        }
        self.check_support(node, update)?;
        let Some((name, ..)) = shown_features().find(|(name, ..)| *name == update.name) else {
            return refuse(&format!("Feature {} not found.", update.name));
        };
        let now = self.feature_level(name);
        let is_upgrade = direction == Direction::Upgrade;
        if update.level < now && is_upgrade {
            return refuse(
                "Can't downgrade the version of this feature without setting the upgrade type to \
                 either safe or unsafe downgrade.",
            );
        }
        if update.level > now && !is_upgrade {
            return refuse("Can't downgrade to a newer version.");
        }
        if update.level == now {
            return Ok(None);
        }
        if name == KRAFT_VERSION.name {
            let is_down = update.level < now;
            let up = "This node cannot upgrade the version of this feature while it runs.";
            let down = "Can't downgrade the version of this feature.";
            return refuse(if is_down { down } else { up });
        }
        if name == METADATA_VERSION {
            self.check_metadata_version(update.level, direction)?;
        }
        let record = FeatureLevelRecord { name: name.to_owned(), feature_level: update.level };
        Ok(Some(self.record(record)))
    }

    /// Whether this controller, and all brokers and controllers that are registered, can work with
    /// the level.
    fn check_support(&self, node: NodeId, update: &FeatureUpdate) -> Result<(), FeatureError> {
        let check = |who: String, min: i16, max: i16| {
            let reason = match max {
                _ if (min..=max).contains(&update.level) => return Ok(()),
                0 => format!("{who} does not support this feature."),
                _ => format!("{who} only supports versions {min}-{max}"),
            };
            Err(FeatureError::invalid(update, reason))
        };
        let own = shown_features().find(|(name, ..)| *name == update.name);
        let (min, max) = own.map_or((0, 0), |(_, min, max)| (min, max));
        check(format!("Local controller {node}"), min, max)?;
        let of = |ranges: &[FeatureRange]| {
            let range = ranges.iter().find(|range| range.name == update.name);
            range.map_or((0, 0), |range| (range.min_supported_version, range.max_supported_version))
        };
        let cluster = self.image.cluster();
        for broker in cluster.brokers() {
            let (min, max) = of(&broker.features);
            check(format!("Broker {}", broker.id), min, max)?;
        }
        for controller in cluster.controllers().filter(|controller| controller.id != node) {
            let (min, max) = of(&controller.features);
            check(format!("Controller {}", controller.id), min, max)?;
        }
        Ok(())
    }

    fn feature_level(&self, name: &str) -> i16 {
        if name == KRAFT_VERSION.name {
            self.settings.kraft_version
        } else {
            self.image.features().level(name)
        }
    }

    fn check_metadata_version(&self, level: i16, direction: Direction) -> Result<(), FeatureError> {
        let now = self.version();
        let refuse = |reason: &str| {
            let now = now.level();
            let what =
                format!("Unsupported metadata.version downgrade from {now} to {level}. {reason}");
            Err(FeatureError { what })
        };
        let new = MetadataVersion::from_level(level).expect("levels that are shown are known");
        if level >= now.level() || !now.changes_records_since(new) {
            Ok(())
        } else if direction == Direction::UnsafeDowngrade {
            refuse("Unsafe metadata downgrade is not supported in this version.")
        } else {
            refuse(
                "Refusing to perform the requested downgrade because it might delete metadata \
                 information.",
            )
        }
    }
}
