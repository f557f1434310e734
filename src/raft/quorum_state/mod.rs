//! The file `quorum-state`: epoch, leader and vote, one line of JSON (`FileQuorumStateStore`).
//!
//! ```text
//! kraft.version 0, data_version 0:
//! {"clusterId":"","leaderId":1,"leaderEpoch":2,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}
//! kraft.version 1, data_version 1:
//! {"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}
//! ```
//! Written as Kafka writes it, byte for byte, without a newline. Read strictly: a replica that
//! misreads its vote may vote twice, so a file that is not one of these is an error, not a guess.
//! The driver writes to `quorum-state.tmp`, flushes, and renames.

mod json;

use std::fmt::{self, Write};

use ottla_types::{InvalidUuid, LeaderEpoch, NodeId, ReplicaKey, Uuid};

use crate::core::ElectionState;
use json::{Json, JsonError};

/// Name of the file, beside the log of `__cluster_metadata-0`.
pub const FILE_NAME: &str = "quorum-state";

/// Which of the two forms to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format<'a> {
    /// `kraft.version` 0: without directory ids, but with the configured voters.
    V0 {
        /// Their ids.
        voters: &'a [NodeId],
    },
    /// `kraft.version` 1.
    V1,
}

/// What is wrong with a `quorum-state` file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QuorumStateError {
    /// It is not one JSON object.
    Json(JsonError),
    /// A field is missing.
    Missing(&'static str),
    /// A field stands there twice, or belongs to no version.
    Unexpected(String),
    /// A field's value is of another type, or out of range.
    BadValue(&'static str),
    /// The directory of the vote is no UUID.
    BadDirectory(InvalidUuid),
    /// A version of a later Kafka.
    UnsupportedVersion(i64),
}

impl fmt::Display for QuorumStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuorumStateError::Json(error) => error.fmt(f),
            QuorumStateError::Missing(name) => write!(f, "the field {name} is missing"),
            QuorumStateError::Unexpected(name) => write!(f, "the field {name} is not expected"),
            QuorumStateError::BadValue(name) => write!(f, "the value of {name} is not valid"),
            QuorumStateError::BadDirectory(error) => write!(f, "votedDirectoryId is {error}"),
            QuorumStateError::UnsupportedVersion(version) => {
                write!(f, "data_version {version} is not supported, only 0 and 1 are")
            }
        }
    }
}

impl std::error::Error for QuorumStateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            QuorumStateError::Json(error) => Some(error),
            QuorumStateError::BadDirectory(error) => Some(error),
            QuorumStateError::Missing(_)
            | QuorumStateError::Unexpected(_)
            | QuorumStateError::BadValue(_)
            | QuorumStateError::UnsupportedVersion(_) => None,
        }
    }
}

/// The file's content.
#[must_use]
pub fn encode(election: &ElectionState, format: Format<'_>) -> String {
    let leader = election.leader.map_or(-1, |leader| leader.0);
    let voted = election.voted.map_or(-1, |voted| voted.id.0);
    let common =
        format!(r#""leaderId":{leader},"leaderEpoch":{},"votedId":{voted}"#, election.epoch);
    match format {
        Format::V0 { voters } => {
            let mut list = String::new();
            for (index, voter) in voters.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                write!(list, r#"{comma}{{"voterId":{voter}}}"#).expect("a string takes all");
            }
            format!(
                r#"{{"clusterId":"",{common},"appliedOffset":0,"currentVoters":[{list}],"data_version":0}}"#
            )
        }
        Format::V1 => {
            let directory = election.voted.map_or(Uuid::ZERO, |voted| voted.directory_id);
            format!(r#"{{{common},"votedDirectoryId":"{directory}","data_version":1}}"#)
        }
    }
}

/// Reads the file's content.
///
/// # Errors
/// When it is not what Kafka writes in version 0 or 1; order and space do not matter.
pub fn parse(text: &str) -> Result<ElectionState, QuorumStateError> {
    let mut fields = Fields(json::parse_object(text).map_err(QuorumStateError::Json)?);
    let directory_id = match fields.integer("data_version")? {
        0 => fields.rest_of_version_0()?,
        1 => fields.directory()?,
        other => return Err(QuorumStateError::UnsupportedVersion(other)),
    };
    let epoch = i32::try_from(fields.integer("leaderEpoch")?).ok().filter(|epoch| *epoch >= 0);
    let leader = fields.node("leaderId")?;
    let voted = fields.node("votedId")?;
    fields.nothing_left()?;
    Ok(ElectionState {
        epoch: LeaderEpoch(epoch.ok_or(QuorumStateError::BadValue("leaderEpoch"))?),
        leader,
        voted: voted.map(|id| ReplicaKey { id, directory_id }),
    })
}

/// The fields that have not been read yet.
struct Fields(Vec<(String, Json)>);

impl Fields {
    fn take(&mut self, name: &'static str) -> Result<Json, QuorumStateError> {
        let at = self.0.iter().position(|(field, _)| field == name);
        Ok(self.0.remove(at.ok_or(QuorumStateError::Missing(name))?).1)
    }

    fn integer(&mut self, name: &'static str) -> Result<i64, QuorumStateError> {
        match self.take(name)? {
            Json::Integer(value) => Ok(value),
            Json::Text(_) | Json::Array(_) => Err(QuorumStateError::BadValue(name)),
        }
    }

    /// The id of a node; -1 is none.
    fn node(&mut self, name: &'static str) -> Result<Option<NodeId>, QuorumStateError> {
        match i32::try_from(self.integer(name)?) {
            Ok(-1) => Ok(None),
            Ok(id) if id >= 0 => Ok(Some(NodeId(id))),
            Ok(_) | Err(_) => Err(QuorumStateError::BadValue(name)),
        }
    }

    fn directory(&mut self) -> Result<Uuid, QuorumStateError> {
        match self.take("votedDirectoryId")? {
            Json::Text(text) => text.parse().map_err(QuorumStateError::BadDirectory),
            Json::Integer(_) | Json::Array(_) => {
                Err(QuorumStateError::BadValue("votedDirectoryId"))
            }
        }
    }

    /// Checks what version 0 has and nobody needs any more; its votes name no directory.
    fn rest_of_version_0(&mut self) -> Result<Uuid, QuorumStateError> {
        let Json::Text(_) = self.take("clusterId")? else {
            return Err(QuorumStateError::BadValue("clusterId"));
        };
        self.integer("appliedOffset")?;
        let Json::Array(voters) = self.take("currentVoters")? else {
            return Err(QuorumStateError::BadValue("currentVoters"));
        };
        for voter in voters {
            let mut voter = Fields(voter);
            voter.node("voterId")?.ok_or(QuorumStateError::BadValue("voterId"))?;
            voter.nothing_left()?;
        }
        Ok(Uuid::ZERO)
    }

    fn nothing_left(&mut self) -> Result<(), QuorumStateError> {
        match self.0.pop() {
            None => Ok(()),
            Some((name, _)) => Err(QuorumStateError::Unexpected(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn election(epoch: i32, leader: Option<i32>, voted: Option<(i32, Uuid)>) -> ElectionState {
        ElectionState {
            epoch: LeaderEpoch(epoch),
            leader: leader.map(NodeId),
            voted: voted.map(|(id, directory_id)| ReplicaKey { id: NodeId(id), directory_id }),
        }
    }

    fn check(state: ElectionState, format: Format<'_>, text: &str) {
        assert_eq!(encode(&state, format), text);
        assert_eq!(parse(text), Ok(state));
    }

    #[test]
    fn version_1_has_the_bytes_that_kafka_writes() {
        // As Kafka 4.3.1 leaves it on a node formatted with --standalone.
        check(
            election(1, Some(1), None),
            Format::V1,
            r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#,
        );
        let directory = "J8aAPcfLQt2bqs1JT_rMgQ".parse().expect("a UUID");
        check(
            election(2, None, Some((1, directory))),
            Format::V1,
            r#"{"leaderId":-1,"leaderEpoch":2,"votedId":1,"votedDirectoryId":"J8aAPcfLQt2bqs1JT_rMgQ","data_version":1}"#,
        );
    }

    #[test]
    fn version_0_has_the_bytes_that_kafka_writes() {
        // As Kafka 4.3.1 leaves it on a node with controller.quorum.voters.
        check(
            election(1, Some(1), None),
            Format::V0 { voters: &[NodeId(1)] },
            r#"{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#,
        );
        check(
            election(7, Some(2), Some((3, Uuid::ZERO))),
            Format::V0 { voters: &[NodeId(1), NodeId(2), NodeId(3)] },
            r#"{"clusterId":"","leaderId":2,"leaderEpoch":7,"votedId":3,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":2},{"voterId":3}],"data_version":0}"#,
        );
        check(
            election(0, None, None),
            Format::V0 { voters: &[] },
            r#"{"clusterId":"","leaderId":-1,"leaderEpoch":0,"votedId":-1,"appliedOffset":0,"currentVoters":[],"data_version":0}"#,
        );
    }

    #[test]
    fn order_and_space_do_not_matter() {
        let text = " { \"data_version\" : 1 ,\n\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\", \
                    \"votedId\": -1 , \"leaderEpoch\":3,\"leaderId\":\t-1 } \n";
        assert_eq!(parse(text), Ok(election(3, None, None)));
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        let check = |text: &str, error: QuorumStateError| {
            assert_eq!(parse(text), Err(error), "{text}");
        };
        let version_1 = |fields: &str| format!(r#"{{{fields},"data_version":1}}"#);
        let good = r#""leaderId":1,"leaderEpoch":1,"votedId":-1"#;
        let directory = r#""votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA""#;
        check("{}", QuorumStateError::Missing("data_version"));
        check(r#"{"data_version":0}"#, QuorumStateError::Missing("clusterId"));
        check(&version_1(directory), QuorumStateError::Missing("leaderEpoch"));
        check(r#"{"data_version":9,"fields":7}"#, QuorumStateError::UnsupportedVersion(9));
        check(&version_1(good), QuorumStateError::Missing("votedDirectoryId"));
        let text = version_1(&format!("{good},{directory}")).replace(":1}", ":2}");
        check(&text, QuorumStateError::UnsupportedVersion(2));
        let text = version_1(&format!(r#"{good},{directory},"votedId":4"#));
        check(&text, QuorumStateError::Unexpected("votedId".into()));
        let text = version_1(&format!(r#"{good},{directory},"appliedOffset":0"#));
        check(&text, QuorumStateError::Unexpected("appliedOffset".into()));
        let text = version_1(&format!("{},{directory}", good.replace(":-1", ":-2")));
        check(&text, QuorumStateError::BadValue("votedId"));
        let text = version_1(&format!("{},{directory}", good.replace("Epoch\":1", "Epoch\":-1")));
        check(&text, QuorumStateError::BadValue("leaderEpoch"));
        let text = version_1(&format!("{},{directory}", good.replace("Id\":1", "Id\":2147483648")));
        check(&text, QuorumStateError::BadValue("leaderId"));
        let text = version_1(&format!(r#"{good},"votedDirectoryId":"A""#));
        check(&text, QuorumStateError::BadDirectory(InvalidUuid));
        let text = version_1(&format!(r#"{good},"votedDirectoryId":7"#));
        check(&text, QuorumStateError::BadValue("votedDirectoryId"));
    }

    #[test]
    fn a_damaged_file_is_never_read_as_another_vote() {
        let directory = "J8aAPcfLQt2bqs1JT_rMgQ".parse().expect("a UUID");
        let state = election(2, None, Some((1, directory)));
        let text = encode(&state, Format::V1);
        for len in 0..text.len() {
            assert!(parse(&text[..len]).is_err(), "cut at {len}");
        }
        assert!(parse(&format!("{text}{text}")).is_err());
    }
}
