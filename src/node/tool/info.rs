//! `info`: what is in the data directory, and what is wrong with it. Nothing is opened or locked.

use std::fmt::Write;
use std::path::Path;

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

/// Tells what is in the data directory of `config`.
#[must_use]
pub fn info(runtime: &Runtime, config: &NodeConfig) -> Info {
    let dir = &config.data_dir;
    let found = dir.is_dir();
    let (meta, problem) = if found {
        match DataDir::meta_properties_in(runtime.disk(), dir) {
            Ok(Some(meta)) => (Some(meta), None),
            Ok(None) => (None, Some(format!("{} is not formatted.", dir.display()))),
            Err(error) => (None, Some(unreadable(&error))),
        }
    } else {
        let what = if dir.exists() { "is not a directory" } else { "does not exist" };
        (None, Some(format!("{} {what}", dir.display())))
    };
    let text = told(found.then_some(dir.as_path()), meta.as_ref(), problem.as_deref());
    Info { text, has_problem: problem.is_some() }
}

fn unreadable(error: &DirError) -> String {
    match error {
        DirError::Io { path, source } => format!("Error loading {}: {source}", path.display()),
        DirError::InUse(_) | DirError::Foreign(_) => error.to_string(),
    }
}

fn told(dir: Option<&Path>, meta: Option<&MetaProperties>, problem: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(dir) = dir {
        let _ = writeln!(text, "Found log directory:\n  {}\n", dir.display());
    }
    if let Some(meta) = meta {
        let MetaProperties { cluster_id, node_id, directory_id } = meta;
        let directory = directory_id.map(|id| format!("directory.id={id}, ")).unwrap_or_default();
        let _ = writeln!(
            text,
            "Found metadata: {{cluster.id={cluster_id}, {directory}node.id={node_id}, version=1}}\n"
        );
    }
    if let Some(problem) = problem {
        let _ = writeln!(text, "Found problem:\n  {problem}\n");
    }
    text
}
