//! `version-mapping` and `feature-dependencies`: plain tables.

use std::fmt::Write;

use ottla_metadata::{Feature, METADATA_VERSION, MetadataVersion};

use super::ToolError;

/// In the order in which Kafka prints them.
const PRINTED: [&str; 6] = [
    "kraft.version",
    "transaction.version",
    "group.version",
    "eligible.leader.replicas.version",
    "share.version",
    "streams.version",
];

/// The levels that a cluster formatted with a release gets, one a line; without one those of 4.3.
///
/// # Errors
/// When there is no such release.
pub fn version_mapping(release: Option<&str>) -> Result<String, ToolError> {
    let release = release.unwrap_or(MetadataVersion::V4_3.name());
    let version = MetadataVersion::of_release(release)?;
    let mut text = format!("{METADATA_VERSION}={} ({release})\n", version.level());
    for feature in PRINTED.into_iter().filter_map(Feature::named) {
        let _ = writeln!(text, "{}={}", feature.name, feature.default_level(version));
    }
    Ok(text)
}

/// What `feature=level` needs, as text.
///
/// # Errors
/// When it is not of that form, or there is no such feature or level.
pub fn feature_dependencies(setting: &str) -> Result<String, ToolError> {
    let refused = |reason: String| Err(ToolError::Refused(reason));
    let Some((name, level_text)) = setting.split_once('=') else {
        return refused(format!(
            "Invalid feature format: {setting}. Expected format: 'feature=version' (e.g. \
             'group.version=1')"
        ));
    };
    let Ok(level) = level_text.parse::<i16>() else {
        return refused(format!("Invalid version format: {level_text} for feature {name}"));
    };
    if name == METADATA_VERSION {
        let version =
            MetadataVersion::from_level(level).filter(|level| *level <= MetadataVersion::V4_3);
        let Some(version) = version else {
            return refused(format!("Unknown metadata.version {level}"));
        };
        return Ok(format!("{name}={level} ({}) has no dependencies.\n", version.name()));
    }
    let Some(feature) = Feature::named(name) else {
        return refused(format!("Unknown feature: {name}"));
    };
    if !feature.has_level(level) {
        return refused(format!("Feature level {level} is not supported for feature {name}"));
    }
    let dependencies = feature.dependencies(level);
    if dependencies.is_empty() {
        return Ok(format!("{name}={level} has no dependencies.\n"));
    }
    let mut text = format!("{name}={level} requires:\n");
    for (name, level) in dependencies {
        let _ = write!(text, "    {name}={level}");
        // Only metadata.version has names for its levels.
        let version = MetadataVersion::from_level(*level).filter(|_| *name == METADATA_VERSION);
        let _ = match version {
            Some(version) => writeln!(text, " ({})", version.name()),
            None => writeln!(text),
        };
    }
    Ok(text)
}

/// Reads the `feature=level` of `format`.
///
/// # Errors
/// When it is not of that form.
pub fn feature_level(setting: &str) -> Result<(String, i16), ToolError> {
    let refused = |why: &str| {
        ToolError::Refused(format!("Can't parse feature=level string {setting}: {why}"))
    };
    let (name, level) = setting.split_once('=').ok_or_else(|| refused("equals sign not found."))?;
    let parsed = level.trim().parse();
    let parsed =
        parsed.map_err(|_| refused(&format!("unable to parse {} as a short.", level.trim())))?;
    Ok((name.trim().to_owned(), parsed))
}
