//! The levels that a new cluster is formatted with, as `kafka-storage format` of Kafka 4.3 chooses
//! and refuses them: a release, single features on top, and what they depend on.
//!
//! What can be chosen ends with 4.3, so that Kafka 4.3 opens what was formatted. The texts of
//! errors are Kafka's.

use std::collections::BTreeMap;
use std::fmt;

use ottla_protocol::metadata::FeatureLevelRecord;

use crate::versions::{
    ELIGIBLE_LEADER_REPLICAS, FEATURES, Feature, KRAFT_VERSION, METADATA_VERSION, MetadataVersion,
    VersionedRecord,
};

/// Where the voters of the quorum are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuorumKind {
    /// In the config: `kraft.version` 0.
    Static,
    /// In the log (KIP-853): `kraft.version` 1.
    Dynamic,
}

/// Levels of all features that a cluster begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormatLevels {
    version: MetadataVersion,
    features: BTreeMap<&'static str, i16>,
}

/// Why levels cannot be formatted with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LevelError {
    /// No release of this name.
    UnknownRelease(String),
    /// No feature of this name.
    UnknownFeature(String),
    /// No `metadata.version` of this number.
    UnknownVersion(i16),
    /// `metadata.version` beside a release.
    TwoVersions,
    /// A release that 4.3 calls unstable.
    Unstable(MetadataVersion),
    /// The feature has no such level.
    UnknownLevel(&'static str, i16),
    /// It needs a higher level of something else.
    Depends {
        /// The feature.
        feature: &'static str,
        /// Its level.
        level: i16,
        /// What it depends on.
        on: (&'static str, i16),
    },
    /// The voters are kept where this `kraft.version` does not keep them.
    Quorum(i16),
}

impl fmt::Display for LevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LevelError::UnknownRelease(name) => {
                let known: Vec<_> = MetadataVersion::stable().map(MetadataVersion::name).collect();
                let known = known.join(", ");
                write!(
                    f,
                    "Unknown metadata.version '{name}'. Supported metadata.version are: {known}"
                )
            }
            LevelError::UnknownFeature(name) => {
                let mut known: Vec<_> = known_features().map(|feature| feature.name).collect();
                known.sort_unstable();
                let known = known.join(", ");
                write!(f, "Unsupported feature: {name}. Supported features are: {known}")
            }
            LevelError::UnknownVersion(level) => {
                let (min, max) = (MetadataVersion::MIN.level(), MetadataVersion::V4_3.level());
                write!(
                    f,
                    "No MetadataVersion with feature level {level}. \
                     Valid feature levels are from {min} to {max}."
                )
            }
            LevelError::TwoVersions => f.write_str(
                "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.",
            ),
            LevelError::Unstable(version) => {
                write!(f, "metadata.version {} is not yet stable.", version.name())
            }
            LevelError::UnknownLevel(name, level) => {
                write!(f, "No feature:{name} with feature level {level}")
            }
            LevelError::Depends { feature, level, on: (name, needed) } => write!(
                f,
                "{feature} could not be set to {level} because it depends on {name} level {needed}"
            ),
            LevelError::Quorum(0) => f.write_str(
                "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the \
                 flags --standalone, --initial-controllers, or --no-initial-controllers is used. \
                 For dynamic controllers support, try removing the --feature flag for \
                 kraft.version.",
            ),
            LevelError::Quorum(level) => write!(
                f,
                "Cannot set kraft.version to {level} unless controller.quorum.voters is empty and \
                 one of the flags --standalone, --initial-controllers, or \
                 --no-initial-controllers is used. For dynamic controllers support, try using one \
                 of --standalone, --initial-controllers, or --no-initial-controllers and removing \
                 controller.quorum.voters."
            ),
        }
    }
}

impl std::error::Error for LevelError {}

/// All features but `metadata.version`.
fn known_features() -> impl Iterator<Item = &'static Feature> {
    FEATURES.iter().chain(std::iter::once(&KRAFT_VERSION))
}

impl Feature {
    /// The feature of this name; `metadata.version` is none of them.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Feature> {
        known_features().find(|feature| feature.name == name)
    }

    /// Whether Kafka 4.3 has this level. What it has it also gives to a new cluster.
    #[must_use]
    pub fn has_level(&self, level: i16) -> bool {
        (self.min..=self.default_level(MetadataVersion::V4_3)).contains(&level)
    }

    /// The features that this one needs at `level`, with their levels.
    #[must_use]
    pub fn dependencies(&self, level: i16) -> &'static [(&'static str, i16)] {
        if self.name == ELIGIBLE_LEADER_REPLICAS && level == 1 {
            const { &[(METADATA_VERSION, MetadataVersion::ELR.0)] }
        } else {
            &[]
        }
    }
}

impl MetadataVersion {
    /// The levels that Kafka 4.3 calls stable, ascending.
    pub fn stable() -> impl Iterator<Item = MetadataVersion> {
        let (min, max) = (MetadataVersion::MIN.level(), MetadataVersion::V4_3.level());
        (min..=max).filter_map(MetadataVersion::from_level)
    }

    /// The stable level of this name or release.
    ///
    /// # Errors
    /// `UnknownRelease`.
    pub fn of_release(name: &str) -> Result<MetadataVersion, LevelError> {
        MetadataVersion::from_name(name)
            .filter(|version| *version <= MetadataVersion::V4_3)
            .ok_or_else(|| LevelError::UnknownRelease(name.to_owned()))
    }
}

impl FormatLevels {
    /// What a new cluster gets at `version`.
    #[must_use]
    pub fn new(version: MetadataVersion) -> FormatLevels {
        let features =
            FEATURES.iter().map(|feature| (feature.name, feature.default_level(version)));
        FormatLevels { version, features: features.collect() }
    }

    /// What a cluster of `release` (4.3 if it is not said) gets with `asked` levels on top, the
    /// last of a feature.
    ///
    /// # Errors
    /// What is unknown, unstable, or does not fit together.
    pub fn choose(
        release: Option<&str>,
        asked: &[(String, i16)],
        quorum: QuorumKind,
    ) -> Result<FormatLevels, LevelError> {
        let release = release.map(MetadataVersion::of_release).transpose()?;
        let asked: BTreeMap<&str, i16> =
            asked.iter().map(|(n, level)| (n.as_str(), *level)).collect();
        let version = match (release, asked.get(METADATA_VERSION)) {
            (Some(_), Some(_)) => return Err(LevelError::TwoVersions),
            (Some(release), None) => release,
            (None, None) => MetadataVersion::V4_3,
            (None, Some(level)) => {
                let version = MetadataVersion::from_level(*level);
                let version = version.ok_or(LevelError::UnknownVersion(*level))?;
                if version > MetadataVersion::V4_3 {
                    return Err(LevelError::Unstable(version));
                }
                version
            }
        };
        let mut levels = FormatLevels::new(version);
        for (name, level) in asked.iter().filter(|(name, _)| **name != METADATA_VERSION) {
            let feature = Feature::named(name)
                .ok_or_else(|| LevelError::UnknownFeature((*name).to_owned()))?;
            levels.set(feature, *level, quorum)?;
        }
        Ok(levels)
    }

    fn set(
        &mut self,
        feature: &'static Feature,
        level: i16,
        quorum: QuorumKind,
    ) -> Result<(), LevelError> {
        let is_kraft = feature.name == KRAFT_VERSION.name;
        if is_kraft && (level == 0) != (quorum == QuorumKind::Static) {
            return Err(LevelError::Quorum(level));
        }
        if !feature.has_level(level) {
            return Err(LevelError::UnknownLevel(feature.name, level));
        }
        // All dependencies so far are on metadata.version.
        let too_low = |on: &&(&str, i16)| self.version.level() < on.1;
        if let Some(on) = feature.dependencies(level).iter().find(too_low) {
            return Err(LevelError::Depends { feature: feature.name, level, on: *on });
        }
        // The level of kraft.version follows from the quorum, in a control record.
        if !is_kraft {
            self.features.insert(feature.name, level);
        }
        Ok(())
    }

    /// `metadata.version`.
    #[must_use]
    pub fn version(&self) -> MetadataVersion {
        self.version
    }

    /// All levels above 0 that stand in records: `metadata.version`, then the others by name.
    pub fn levels(&self) -> impl Iterator<Item = (&'static str, i16)> {
        let others = self.features.iter().map(|(name, level)| (*name, *level));
        std::iter::once((METADATA_VERSION, self.version.level()))
            .chain(others.filter(|(_, level)| *level > 0))
    }

    /// What formatting puts into the cluster's log first.
    #[must_use]
    pub fn records(&self) -> Vec<VersionedRecord> {
        let record = |(name, feature_level): (&str, i16)| {
            let record = FeatureLevelRecord { name: name.to_owned(), feature_level };
            VersionedRecord::new(record, self.version)
        };
        self.levels().map(record).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(
        release: Option<&str>,
        asked: &[(&str, i16)],
        quorum: QuorumKind,
    ) -> Result<Vec<(&'static str, i16)>, String> {
        let asked: Vec<_> =
            asked.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect();
        let levels = FormatLevels::choose(release, &asked, quorum);
        levels.map(|levels| levels.levels().collect()).map_err(|error| error.to_string())
    }

    /// Each was given to `kafka-storage format` of 4.3.1.
    #[test]
    fn levels_are_those_that_kafka_chooses() {
        let check = |release, asked: &[(&str, i16)], expected: &[(&str, i16)]| {
            let chosen = choose(release, asked, QuorumKind::Dynamic);
            assert_eq!(chosen.as_deref(), Ok(expected), "{release:?} {asked:?}");
        };
        let (elr, group) = ("eligible.leader.replicas.version", "group.version");
        let (share, streams) = ("share.version", "streams.version");
        let (transaction, version) = ("transaction.version", METADATA_VERSION);
        let newest = [(version, 30), (elr, 1), (group, 1), (share, 1), (streams, 1)];
        check(None, &[], &[&newest[..], &[(transaction, 2)]].concat());
        check(None, &[("kraft.version", 1)], &[&newest[..], &[(transaction, 2)]].concat());
        check(None, &[(transaction, 0)], &newest);
        check(Some("3.3"), &[], &[(version, 7)]);
        check(Some("3.9"), &[], &[(version, 21)]);
        check(
            Some("4.0"),
            &[(share, 1)],
            &[(version, 25), (group, 1), (share, 1), (transaction, 2)],
        );
        check(None, &[(version, 25), (group, 1), (group, 0)], &[(version, 25), (transaction, 2)]);
    }

    /// The texts of 4.3.1.
    #[test]
    fn what_kafka_refuses_is_refused() {
        let check = |release, asked: &[(&str, i16)], quorum, expected: &str| {
            let told = choose(release, asked, quorum).expect_err("refused");
            assert_eq!(told, expected, "{release:?} {asked:?}");
        };
        let dynamic = QuorumKind::Dynamic;
        check(
            None,
            &[("foo", 1)],
            dynamic,
            "Unsupported feature: foo. Supported features are: eligible.leader.replicas.version, \
             group.version, kraft.version, share.version, streams.version, transaction.version",
        );
        check(
            Some("4.0"),
            &[(METADATA_VERSION, 25)],
            dynamic,
            "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.",
        );
        check(
            Some("3.9"),
            &[("eligible.leader.replicas.version", 1)],
            dynamic,
            "eligible.leader.replicas.version could not be set to 1 because it depends on \
             metadata.version level 23",
        );
        for (name, level) in
            [("share.version", 2), ("transaction.version", 9), ("kraft.version", 2)]
        {
            let expected = format!("No feature:{name} with feature level {level}");
            check(None, &[(name, level)], dynamic, &expected);
        }
        let unstable = "metadata.version 4.4-IV0 is not yet stable.";
        check(None, &[(METADATA_VERSION, 31)], dynamic, unstable);
        check(
            None,
            &[("kraft.version", 0)],
            dynamic,
            "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the \
             flags --standalone, --initial-controllers, or --no-initial-controllers is used. For \
             dynamic controllers support, try removing the --feature flag for kraft.version.",
        );
        check(
            None,
            &[("kraft.version", 1)],
            QuorumKind::Static,
            "Cannot set kraft.version to 1 unless controller.quorum.voters is empty and one of \
             the flags --standalone, --initial-controllers, or --no-initial-controllers is used. \
             For dynamic controllers support, try using one of --standalone, \
             --initial-controllers, or --no-initial-controllers and removing \
             controller.quorum.voters.",
        );
        for name in ["foo", "3.2", "4.4", "4.4-IV0", ""] {
            let told = choose(Some(name), &[], dynamic).expect_err("refused");
            let start = format!(
                "Unknown metadata.version '{name}'. Supported metadata.version are: 3.3-IV3, 3.4-IV0, "
            );
            assert!(told.starts_with(&start) && told.ends_with(", 4.2-IV1, 4.3-IV0"), "{told}");
        }
    }
}
