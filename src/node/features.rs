//! What this node can work with, as its registrations say.
//!
//! The finalized levels of a cluster must lie in these ranges, so that a directory which Kafka
//! formatted can be opened. What clients are shown is another matter (ApiVersions).

use ottla_metadata::{FEATURES, KRAFT_VERSION, METADATA_VERSION, MetadataVersion};
use ottla_protocol::metadata::FeatureRange;

/// The ranges of all features.
pub(crate) fn supported() -> Vec<FeatureRange> {
    let range = |name: &str, min: i16, max: i16| FeatureRange {
        name: name.to_owned(),
        min_supported_version: min,
        max_supported_version: max,
    };
    let (min, max) = (MetadataVersion::MIN.level(), MetadataVersion::MAX.level());
    let mut ranges = vec![range(METADATA_VERSION, min, max)];
    let others = FEATURES.iter().chain(std::iter::once(&KRAFT_VERSION));
    ranges.extend(others.map(|feature| range(feature.name, feature.min, feature.max)));
    ranges
}
