//! Control records: transaction markers in data logs, and the quorum's own records in the
//! metadata log (`kafka-internals` 2.2; `ControlRecordType`).
//!
//! A control record's key is its schema version (0) and its type. The values of the quorum's types
//! are bare messages in version 0, without a version in front.

use ottla_types::{NodeId, Timestamp, Uuid};

use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::message::{Message, messages};

messages! {
    /// A voter in a [`LeaderChange`].
    pub struct ChangeVoter { versions: 0..=1, flexible: 0;
        /// Its id.
        voter_id: NodeId => 0+,
        /// `directory.id` of its metadata directory; not written so far.
        voter_directory_id: Uuid => 1+,
    }

    /// Written first by every new leader of the quorum.
    pub struct LeaderChange { versions: 0..=1, flexible: 0;
        /// Version of this schema.
        version: i16 => 0+,
        /// The new leader.
        leader_id: NodeId => 0+,
        /// All voters.
        voters: Vec<ChangeVoter> => 0+,
        /// Those whose votes made it leader.
        granting_voters: Vec<ChangeVoter> => 0+,
    }

    /// First record of a snapshot.
    pub struct SnapshotHeader { versions: 0..=0, flexible: 0;
        /// Version of this schema.
        version: i16 => 0+,
        /// Time of the last record that the snapshot stands for.
        last_contained_log_timestamp: Timestamp => 0+,
    }

    /// Last record of a snapshot: without it the file is not complete.
    pub struct SnapshotFooter { versions: 0..=0, flexible: 0;
        /// Version of this schema.
        version: i16 => 0+,
    }

    /// Version of the quorum's own protocol (`kraft.version`, KIP-853).
    pub struct KRaftVersion { versions: 0..=0, flexible: 0;
        /// Version of this schema.
        version: i16 => 0+,
        /// 0: voters come from the configuration; 1: from [`Voters`].
        k_raft_version: i16 => 0+,
    }

    /// Where a voter listens.
    pub struct VoterEndpoint { versions: 0..=0, flexible: 0;
        /// Name of the listener.
        name: String => 0+,
        /// Host.
        host: String => 0+,
        /// Port.
        port: u16 => 0+,
    }

    /// Range of `kraft.version` that a voter can speak.
    pub struct KRaftVersionRange { versions: 0..=0, flexible: 0;
        /// Lowest.
        min_supported_version: i16 => 0+,
        /// Highest.
        max_supported_version: i16 => 0+,
    }

    /// A voter.
    pub struct Voter { versions: 0..=0, flexible: 0;
        /// Its id.
        voter_id: NodeId => 0+,
        /// `directory.id` of its metadata directory.
        voter_directory_id: Uuid => 0+,
        /// Where it listens.
        endpoints: Vec<VoterEndpoint> => 0+,
        /// What it can speak.
        k_raft_version_feature: KRaftVersionRange => 0+,
    }

    /// The voters of the quorum from here on.
    pub struct Voters { versions: 0..=0, flexible: 0;
        /// Version of this schema.
        version: i16 => 0+,
        /// Every voter.
        voters: Vec<Voter> => 0+,
    }
}

/// A control record.
#[derive(Clone, PartialEq, Debug)]
pub enum ControlRecord {
    /// A transaction was aborted.
    Abort(EndTransaction),
    /// A transaction was committed.
    Commit(EndTransaction),
    /// The quorum has a new leader.
    LeaderChange(LeaderChange),
    /// A snapshot begins.
    SnapshotHeader(SnapshotHeader),
    /// A snapshot is complete.
    SnapshotFooter(SnapshotFooter),
    /// The quorum's protocol.
    KRaftVersion(KRaftVersion),
    /// The quorum's voters.
    Voters(Voters),
    /// A type of a later Kafka; consumers pass over it.
    Unknown(i16),
}

/// Value of a transaction marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndTransaction {
    /// Epoch of the coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl ControlRecord {
    /// Key and value of the record.
    ///
    /// # Panics
    /// For `Unknown`, which is never written.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let mut value = Writer::new();
        let record_type = match self {
            ControlRecord::Abort(end) => marker(0, *end, &mut value),
            ControlRecord::Commit(end) => marker(1, *end, &mut value),
            ControlRecord::LeaderChange(message) => bare(2, message, &mut value),
            ControlRecord::SnapshotHeader(message) => bare(3, message, &mut value),
            ControlRecord::SnapshotFooter(message) => bare(4, message, &mut value),
            ControlRecord::KRaftVersion(message) => bare(5, message, &mut value),
            ControlRecord::Voters(message) => bare(6, message, &mut value),
            ControlRecord::Unknown(_) => unreachable!("unknown control records are only read"),
        };
        let mut key = Writer::new();
        key.i16(0);
        key.i16(record_type);
        (key.into_bytes(), value.into_bytes())
    }

    /// Reads a record of a control batch.
    ///
    /// # Errors
    /// When key or value are null or not what their type says.
    pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Decoded<ControlRecord> {
        let mut key = Reader::new(key.ok_or(DecodeError::BadLength)?);
        let _version = key.i16()?;
        let record_type = key.i16()?;
        let mut value = Reader::new(value.ok_or(DecodeError::BadLength)?);
        Ok(match record_type {
            0 => ControlRecord::Abort(read_marker(&mut value)?),
            1 => ControlRecord::Commit(read_marker(&mut value)?),
            2 => ControlRecord::LeaderChange(Message::decode(&mut value, 0)?),
            3 => ControlRecord::SnapshotHeader(Message::decode(&mut value, 0)?),
            4 => ControlRecord::SnapshotFooter(Message::decode(&mut value, 0)?),
            5 => ControlRecord::KRaftVersion(Message::decode(&mut value, 0)?),
            6 => ControlRecord::Voters(Message::decode(&mut value, 0)?),
            other => ControlRecord::Unknown(other),
        })
    }
}

fn bare(record_type: i16, message: &impl Message, value: &mut Writer) -> i16 {
    message.encode(value, 0);
    record_type
}

fn marker(record_type: i16, end: EndTransaction, value: &mut Writer) -> i16 {
    value.i16(0);
    value.i32(end.coordinator_epoch);
    record_type
}

fn read_marker(value: &mut Reader<'_>) -> Decoded<EndTransaction> {
    let _version = value.i16()?;
    Ok(EndTransaction { coordinator_epoch: value.i32()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leader_change_has_the_bytes_that_kafka_writes() {
        // Value of the first batch of a metadata log written by Kafka 4.3.1.
        let voter = || vec![ChangeVoter { voter_id: NodeId(1), ..ChangeVoter::default() }];
        let change = LeaderChange {
            version: 0,
            leader_id: NodeId(1),
            voters: voter(),
            granting_voters: vec![],
        };
        let mut writer = Writer::new();
        change.encode(&mut writer, 0);
        assert_eq!(writer.into_bytes(), [0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 1, 0]);
        let record =
            ControlRecord::LeaderChange(LeaderChange { granting_voters: voter(), ..change });
        let (key, value) = record.encode();
        assert_eq!(key, [0, 0, 0, 2]);
        assert_eq!(ControlRecord::decode(Some(&key), Some(&value)), Ok(record));
    }

    #[test]
    fn every_type_is_read_as_it_was_written() {
        let endpoint = VoterEndpoint { name: "C".into(), host: "h".into(), port: 65_535 };
        let voter = Voter { voter_id: NodeId(3), endpoints: vec![endpoint], ..Voter::default() };
        for record in [
            ControlRecord::Abort(EndTransaction { coordinator_epoch: 7 }),
            ControlRecord::Commit(EndTransaction { coordinator_epoch: -1 }),
            ControlRecord::SnapshotHeader(SnapshotHeader::default()),
            ControlRecord::SnapshotFooter(SnapshotFooter::default()),
            ControlRecord::KRaftVersion(KRaftVersion { version: 0, k_raft_version: 1 }),
            ControlRecord::Voters(Voters { version: 0, voters: vec![voter] }),
        ] {
            let (key, value) = record.encode();
            assert_eq!(ControlRecord::decode(Some(&key), Some(&value)), Ok(record));
        }
        let unknown = ControlRecord::decode(Some(&[0, 0, 0, 99]), Some(&[]));
        assert_eq!(unknown, Ok(ControlRecord::Unknown(99)));
        assert!(ControlRecord::decode(None, Some(&[])).is_err());
    }
}
