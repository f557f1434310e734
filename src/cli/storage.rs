//! `ottla storage`: the commands and flags of Kafka's `kafka-storage`.
//!
//! Output, errors and exit codes are Kafka's: 0 when all is well, else 1. What makes no sense for a
//! node that is its whole quorum, or is not built, is refused and never ignored.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ottla_node::tool::{self, FormatRequest, InitialControllers, Kept, RepairRequest, ToolError};
use ottla_runtime::Runtime;

use crate::{key_value, load};

/// The exit code of whatever fails.
pub(crate) const FAILED: u8 = 1;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Tells what is in the data directory of a config.
    Info {
        /// Kafka's server.properties.
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Formats the data directory of a config.
    Format(Format),
    /// Prints the levels of features that belong to a release.
    VersionMapping {
        /// The release, such as 4.0 or 4.0-IV3; 4.3-IV0 if it is not said.
        #[arg(short, long, value_name = "RELEASE")]
        release_version: Option<String>,
    },
    /// Prints what levels of features depend on.
    FeatureDependencies {
        /// A level of a feature. May be repeated.
        #[arg(short, long, required = true, value_name = "FEATURE=LEVEL")]
        feature: Vec<String>,
    },
    /// Prints a random UUID.
    RandomUuid,
    /// Looks for damage that a start does not mend by itself, and repairs it with --yes.
    ///
    /// No node may run meanwhile. Every batch is read. It tells what is damaged and what would be
    /// lost, and changes nothing without --yes. Ends with 1 when damage is left.
    Repair(Repair),
}

#[derive(Args)]
pub(crate) struct Repair {
    /// Kafka's server.properties.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets a config; wins over the file. May be repeated.
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = key_value)]
    overrides: Vec<(String, String)>,
    /// Takes out what is damaged.
    #[arg(long)]
    yes: bool,
    /// Does not keep what is taken out in files beside the logs.
    #[arg(long, requires = "yes")]
    discard: bool,
}

#[derive(Args)]
pub(crate) struct Format {
    /// Kafka's server.properties.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The id of the cluster, such as random-uuid prints.
    #[arg(short = 't', long, value_name = "ID")]
    cluster_id: String,
    /// Leaves a directory alone that is formatted already, and does not fail.
    #[arg(short = 'g', long)]
    ignore_formatted: bool,
    /// The release whose levels of features are set; 4.3-IV0 if it is not said.
    #[arg(short, long, value_name = "RELEASE")]
    release_version: Option<String>,
    /// Sets the level of a feature; wins over the release's. May be repeated.
    #[arg(short, long, value_name = "FEATURE=LEVEL")]
    feature: Vec<String>,
    /// The node is the only voter of a dynamic quorum.
    #[arg(short, long)]
    standalone: bool,
    /// No voters are set; only where controller.quorum.voters names them.
    #[arg(short = 'N', long, conflicts_with = "standalone")]
    no_initial_controllers: bool,
    /// Refused: a quorum of more than this node is not built yet.
    #[arg(short = 'I', long, value_name = "VOTERS",
        conflicts_with_all = ["standalone", "no_initial_controllers"])]
    initial_controllers: Option<String>,
    /// Refused: SCRAM is not built yet.
    #[arg(short = 'S', long, value_name = "CREDENTIAL")]
    add_scram: Vec<String>,
}

/// Runs one command.
pub(crate) fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Info { config } => info(config),
        Command::Format(format) => format_directory(format),
        Command::VersionMapping { release_version } => version_mapping(release_version.as_deref()),
        Command::FeatureDependencies { feature } => feature_dependencies(feature),
        Command::RandomUuid => random_uuid(),
        Command::Repair(repair) => repair_directories(repair),
    };
    done.unwrap_or_else(|reason| {
        // Nothing is left to tell when standard error is closed.
        let _ = writeln!(std::io::stderr(), "{reason}");
        ExitCode::from(FAILED)
    })
}

type Done = Result<ExitCode, String>;

fn print(text: &str) -> Done {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Gives `act` the machine; nothing here waits.
pub(crate) fn on_machine<T: Send + 'static>(
    act: impl FnOnce(&Runtime) -> T + Send + 'static,
) -> Result<T, String> {
    Runtime::run(1, |runtime| async move { act(&runtime) }).map_err(|error| error.to_string())
}

fn told(error: &ToolError) -> String {
    error.to_string()
}

fn info(file: &Path) -> Done {
    let config = load(Some(file), &[])?;
    let info = on_machine(move |runtime| tool::info(runtime, &config))?;
    print(&info.text)?;
    Ok(if info.has_problem { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

fn format_directory(format: &Format) -> Done {
    let config = load(Some(&format.config), &[])?;
    if format.initial_controllers.is_some() {
        return Err("--initial-controllers is refused: this version runs a quorum of one; use \
                    --standalone"
            .to_owned());
    }
    if !format.add_scram.is_empty() {
        return Err("--add-scram is refused: SCRAM is not built yet".to_owned());
    }
    let features = format.feature.iter().map(|setting| tool::feature_level(setting));
    let controllers = match (format.standalone, format.no_initial_controllers) {
        (true, _) => InitialControllers::Standalone,
        (false, true) => InitialControllers::Elsewhere,
        (false, false) => InitialControllers::Unsaid,
    };
    let request = FormatRequest {
        cluster_id: format.cluster_id.clone(),
        ignore_formatted: format.ignore_formatted,
        release: format.release_version.clone(),
        features: features.collect::<Result<_, _>>().map_err(|error| told(&error))?,
        controllers,
    };
    let done = on_machine(move |runtime| tool::format_storage(runtime, &config, &request))?;
    print(&done.map_err(|error| told(&error))?)
}

fn version_mapping(release: Option<&str>) -> Done {
    print(&tool::version_mapping(release).map_err(|error| told(&error))?)
}

fn feature_dependencies(settings: &[String]) -> Done {
    for setting in settings {
        print(&tool::feature_dependencies(setting).map_err(|error| told(&error))?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn repair_directories(repair: &Repair) -> Done {
    let config = load(repair.config.as_deref(), &repair.overrides)?;
    let kept = if repair.discard { Kept::Nowhere } else { Kept::Aside };
    let request = RepairRequest { act: repair.yes, kept };
    let done = on_machine(move |runtime| tool::repair(runtime, &config, request))?;
    let done = done.map_err(|error| told(&error))?;
    print(&done.text)?;
    Ok(if done.is_damaged { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

fn random_uuid() -> Done {
    let id = on_machine(|runtime| runtime.entropy().uuid())?;
    print(&format!("{id}\n"))
}
