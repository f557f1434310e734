//! How the descriptors of the process are shared out: to files of logs that stay open between their
//! uses, to files that answers and syncs hold meanwhile, and to connections.
//!
//! So a crowd of clients finds a full queue of connections and no failing disk. A log that is
//! refused a descriptor all the same gets it from a file that is not in use
//! ([`ottla_runtime::LazyFile`]).

use ottla_config::NodeConfig;

/// Part of the descriptors that files of logs take at most, and as much again for what is held.
const FILES_PART: usize = 4;
/// Part of the connections that the quorum may have for itself.
const CONTROLLER_PART: usize = 16;
/// Descriptors of the process itself: standard streams, event queues, listeners, the directory's
/// lock, checkpoints while they are written.
const OWN: usize = 64;

/// The shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Descriptors {
    /// Files that stay open between their uses.
    pub(crate) files_max: usize,
    /// Connections of clients at one time.
    pub(crate) connections_max: u32,
    /// Connections of the quorum and of the controller's admin clients.
    pub(crate) controller_connections_max: u32,
}

impl Descriptors {
    /// Shares `max` descriptors out; never more to anybody than the config says.
    pub(crate) fn share(max: usize, config: &NodeConfig) -> Descriptors {
        let part = max / FILES_PART;
        let left = max.saturating_sub(2 * part + OWN).max(2);
        let of_controller = (left / CONTROLLER_PART).max(1);
        let at_most =
            |share| u32::try_from(share).unwrap_or(u32::MAX).min(config.limits.connections_max);
        Descriptors {
            files_max: part.clamp(1, config.open_files_max),
            connections_max: at_most(left - of_controller),
            controller_connections_max: at_most(of_controller),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_a_share() {
        let check = |max, overrides: &[(&str, &str)], files_max, connections| {
            let (connections_max, controller_connections_max) = connections;
            let overrides = overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            let config = NodeConfig::new(None, &overrides.collect::<Vec<_>>()).unwrap();
            let shares = Descriptors::share(max, &config);
            assert_eq!(
                shares,
                Descriptors { files_max, connections_max, controller_connections_max }
            );
        };
        check(1_048_576, &[], 1_000, (491_460, 32_764));
        check(1_024, &[], 256, (420, 28));
        let all = i32::MAX.unsigned_abs();
        check(usize::MAX, &[], 1_000, (all, all));
        check(64, &[], 16, (1, 1));
        check(0, &[], 1, (1, 1));
        check(1_048_576, &[("max.connections", "20"), ("ottla.open.files.max", "7")], 7, (20, 20));
    }
}
