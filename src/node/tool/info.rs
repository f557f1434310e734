//! `info`: what is in the data directories, and what is wrong with them. Nothing is opened or
//! locked.

use std::fmt::Write;
use std::path::PathBuf;

use ottla_config::NodeConfig;
use ottla_runtime::Runtime;
use ottla_storage::{DataDir, DirError, MetaProperties};

/// What is to be printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// The text.
    pub text: String,
    /// Whether a problem is in it.
    pub has_problem: bool,
}

/// Tells what is in the data directories of `config`, sorted by their names.
#[must_use]
pub fn info(runtime: &Runtime, config: &NodeConfig) -> Info {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let mut first: Option<MetaProperties> = None;
    let mut dirs = super::all_dirs(config);
    dirs.sort();
    for dir in dirs {
        if !dir.is_dir() {
            let what = if dir.exists() { "is not a directory" } else { "does not exist" };
            problems.push(format!("{} {what}", dir.display()));
            continue;
        }
        match DataDir::meta_properties_in(runtime.disk(), &dir) {
            Ok(Some(meta)) => match &first {
                None => first = Some(meta),
                Some(first) => problems.extend(mismatch(first, &meta).map(str::to_owned)),
            },
            Ok(None) => problems.push(format!("{} is not formatted.", dir.display())),
            Err(error) => problems.push(unreadable(&error)),
        }
        found.push(dir);
    }
    Info { text: told(&found, first.as_ref(), &problems), has_problem: !problems.is_empty() }
}

fn mismatch(first: &MetaProperties, other: &MetaProperties) -> Option<&'static str> {
    if first.cluster_id != other.cluster_id {
        return Some("Mismatched cluster IDs between storage directories.");
    }
    let differs = first.node_id != other.node_id;
    differs.then_some("Mismatched node IDs between storage directories.")
}

fn unreadable(error: &DirError) -> String {
    match error {
        DirError::Io { path, source } => format!("Error loading {}: {source}", path.display()),
        DirError::InUse(_) | DirError::Foreign(_) => error.to_string(),
    }
}

fn told(found: &[PathBuf], meta: Option<&MetaProperties>, problems: &[String]) -> String {
    let found: Vec<_> = found.iter().map(|dir| dir.display().to_string()).collect();
    let mut text = String::new();
    text += &listed(["Found log directory:", "Found log directories:"], &found);
    if let Some(meta) = meta {
        let MetaProperties { cluster_id, node_id, directory_id } = meta;
        let directory = directory_id.map(|id| format!("directory.id={id}, ")).unwrap_or_default();
        let _ = writeln!(
            text,
            "Found metadata: {{cluster.id={cluster_id}, {directory}node.id={node_id}, version=1}}\n"
        );
    }
    text + &listed(["Found problem:", "Found problems:"], problems)
}

/// A heading for one thing or for several, and the things; nothing when there are none.
fn listed([one, several]: [&str; 2], things: &[String]) -> String {
    if things.is_empty() {
        return String::new();
    }
    let mut text = format!("{}\n", if things.len() == 1 { one } else { several });
    things.iter().for_each(|thing| text += &format!("  {thing}\n"));
    text + "\n"
}
