//! The records of the metadata log, all types of Kafka 4.4, and their frame.
//!
//! A record's value is its frame version (1), its type and its version as unsigned variable-length
//! numbers, then the message, always in the flexible form; nothing may follow. An unknown type or
//! version is fatal for a replica: `metadata.version` keeps it from being written. Which version is
//! written under which `metadata.version` is the controller's decision.
//!
//! Source: `metadata/src/main/resources/common/metadata/*.json` of Kafka 4.4 (MetadataRecordSerde).

mod schema;

pub use schema::*;

use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::json::{Json, type_name};
use crate::message::{Field, Message};

/// Version of the frame around each record.
const FRAME_VERSION: u32 = 1;

/// Declares the enum over all record types.
macro_rules! metadata_records {
    ($($key:literal => $variant:ident($record:ident),)*) => {
        /// A record of the metadata log.
        #[derive(Clone, PartialEq, Debug)]
        pub enum MetadataRecord {
            $(#[doc = concat!("Type ", stringify!($key), ".")] $variant($record),)*
        }

        impl MetadataRecord {
            /// Numbers of all types.
            pub const TYPES: &'static [u32] = &[$($key,)*];

            /// Number of the record's type.
            #[must_use]
            pub fn type_number(&self) -> u32 {
                match self { $(MetadataRecord::$variant(_) => $key,)* }
            }

            /// Kafka's name of the record's type, such as `TOPIC_RECORD`.
            #[must_use]
            pub fn type_name(&self) -> String {
                type_name(match self { $(MetadataRecord::$variant(_) => $record::NAME,)* })
            }

            /// The record without its type, in JSON, as it is in `version`.
            #[must_use]
            pub fn json(&self, version: i16) -> Json {
                match self { $(MetadataRecord::$variant(record) => record.json(version),)* }
            }

            /// Appends the record with its frame.
            ///
            /// # Panics
            /// When the type has no such version.
            pub fn encode(&self, version: i16, writer: &mut Writer) {
                writer.uvarint(FRAME_VERSION);
                writer.uvarint(self.type_number());
                writer.uvarint(version as u32);
                match self {
                    $(MetadataRecord::$variant(record) => record.encode(writer, version),)*
                }
            }

            /// Reads a record's value: the record and the version it was written in.
            ///
            /// # Errors
            /// `UnknownValue` for another frame version or type; else what is wrong with it.
            pub fn decode(value: &[u8]) -> Decoded<(MetadataRecord, i16)> {
                let mut reader = Reader::new(value);
                if reader.uvarint()? != FRAME_VERSION {
                    return Err(DecodeError::UnknownValue);
                }
                let type_number = reader.uvarint()?;
                let version = i16::try_from(reader.uvarint()?)
                    .map_err(|_| DecodeError::UnsupportedVersion)?;
                let record = match type_number {
                    $($key => MetadataRecord::$variant($record::decode(&mut reader, version)?),)*
                    _ => return Err(DecodeError::UnknownValue),
                };
                if reader.remaining() > 0 {
                    return Err(DecodeError::TrailingBytes);
                }
                Ok((record, version))
            }
        }

        $(impl From<$record> for MetadataRecord {
            fn from(record: $record) -> MetadataRecord {
                MetadataRecord::$variant(record)
            }
        })*
    };
}

metadata_records! {
    0 => RegisterBroker(RegisterBrokerRecord),
    1 => UnregisterBroker(UnregisterBrokerRecord),
    2 => Topic(TopicRecord),
    3 => Partition(PartitionRecord),
    4 => Config(ConfigRecord),
    5 => PartitionChange(PartitionChangeRecord),
    7 => FenceBroker(FenceBrokerRecord),
    8 => UnfenceBroker(UnfenceBrokerRecord),
    9 => RemoveTopic(RemoveTopicRecord),
    10 => DelegationToken(DelegationTokenRecord),
    11 => UserScramCredential(UserScramCredentialRecord),
    12 => FeatureLevel(FeatureLevelRecord),
    14 => ClientQuota(ClientQuotaRecord),
    15 => ProducerIds(ProducerIdsRecord),
    17 => BrokerRegistrationChange(BrokerRegistrationChangeRecord),
    18 => AccessControlEntry(AccessControlEntryRecord),
    19 => RemoveAccessControlEntry(RemoveAccessControlEntryRecord),
    20 => NoOp(NoOpRecord),
    21 => ZkMigrationState(ZkMigrationStateRecord),
    22 => RemoveUserScramCredential(RemoveUserScramCredentialRecord),
    23 => BeginTransaction(BeginTransactionRecord),
    24 => EndTransaction(EndTransactionRecord),
    25 => AbortTransaction(AbortTransactionRecord),
    26 => RemoveDelegationToken(RemoveDelegationTokenRecord),
    27 => RegisterController(RegisterControllerRecord),
    28 => ClearElr(ClearElrRecord),
    29 => UnregisterController(UnregisterControllerRecord),
}

#[cfg(test)]
mod tests {
    use ottla_types::{LeaderEpoch, NodeId, PartitionEpoch, PartitionId, Uuid};

    use super::*;

    fn encoded(record: &MetadataRecord, version: i16) -> Vec<u8> {
        let mut writer = Writer::new();
        record.encode(version, &mut writer);
        writer.into_bytes()
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let partition = PartitionRecord {
            partition_id: PartitionId(2),
            topic_id: Uuid([7; 16]),
            replicas: vec![NodeId(1)],
            isr: vec![NodeId(1)],
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            directories: vec![Uuid([8; 16])],
            last_known_elr: Some(vec![NodeId(3)]),
            ..PartitionRecord::default()
        };
        let quota = ClientQuotaRecord {
            entity: vec![EntityData { entity_type: "user".into(), entity_name: None }],
            key: "producer_byte_rate".into(),
            value: 1024.5,
            remove: false,
        };
        for (record, version) in [
            (MetadataRecord::from(partition), 2),
            (quota.into(), 0),
            (NoOpRecord::default().into(), 0),
            (
                RegisterBrokerRecord { log_dirs: vec![Uuid([1; 16])], ..Default::default() }.into(),
                4,
            ),
        ] {
            let bytes = encoded(&record, version);
            assert_eq!(MetadataRecord::decode(&bytes), Ok((record, version)));
        }
    }

    #[test]
    fn known_bytes() {
        let feature = FeatureLevelRecord { name: "metadata.version".into(), feature_level: 30 };
        let mut bytes = vec![1, 12, 0, 17];
        bytes.extend(b"metadata.version");
        bytes.extend([0, 30, 0]);
        let feature = MetadataRecord::from(feature);
        assert_eq!(encoded(&feature, 0), bytes);
        assert_eq!(feature.type_name(), "FEATURE_LEVEL_RECORD");
        let json = r#"{"name":"metadata.version","featureLevel":30}"#;
        assert_eq!(feature.json(0).to_string(), json);
    }

    #[test]
    fn what_is_not_a_record_is_refused() {
        assert_eq!(MetadataRecord::decode(&[2, 20, 0, 0]), Err(DecodeError::UnknownValue));
        assert_eq!(MetadataRecord::decode(&[1, 6, 0, 0]), Err(DecodeError::UnknownValue));
        assert_eq!(MetadataRecord::decode(&[1, 20, 1, 0]), Err(DecodeError::UnsupportedVersion));
        assert_eq!(MetadataRecord::decode(&[1, 20, 0, 0, 0]), Err(DecodeError::TrailingBytes));
        assert_eq!(MetadataRecord::decode(&[1, 20, 0]), Err(DecodeError::Truncated));
        assert_eq!(MetadataRecord::TYPES.len(), 27);
    }
}
