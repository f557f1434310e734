//! The answer to DescribeLogDirs, whose version 5 the `kafka-protocol` crate does not know.

use ottla_types::{PartitionId, TopicName};

use crate::message::messages;

messages! {
    /// What is in the log directories of a broker.
    pub struct DescribeLogDirsResponse { versions: 1..=5, flexible: 2;
        /// How long the client is to wait, ms.
        throttle_time_ms: i32 => 0+,
        /// Why nothing is told.
        error_code: i16 => 3+,
        /// The directories.
        results: Vec<DescribeLogDirsResult> => 0+,
    }

    /// A log directory.
    pub struct DescribeLogDirsResult { versions: 1..=5, flexible: 2;
        /// Why nothing is told of it.
        error_code: i16 => 0+,
        /// Its path, from the root on.
        log_dir: String => 0+,
        /// The topics that have a log in it.
        topics: Vec<DescribeLogDirsTopic> => 0+,
        /// Size of its file system, bytes.
        total_bytes: i64 = -1 => 4+,
        /// What of that may still be written, bytes.
        usable_bytes: i64 = -1 => 4+,
        /// Whether it takes no new replicas (KIP-1066).
        is_cordoned: bool => 5+,
    }

    /// A topic.
    pub struct DescribeLogDirsTopic { versions: 1..=5, flexible: 2;
        /// Its name.
        name: TopicName => 0+,
        /// Its logs in this directory.
        partitions: Vec<DescribeLogDirsPartition> => 0+,
    }

    /// A log.
    pub struct DescribeLogDirsPartition { versions: 1..=5, flexible: 2;
        /// The partition.
        partition_index: PartitionId => 0+,
        /// Bytes in its segments.
        partition_size: i64 => 0+,
        /// How far it is behind: behind the high watermark, or as a future log behind the present
        /// one; -1 when that is not known.
        offset_lag: i64 => 0+,
        /// Whether it is to replace the log in another directory.
        is_future_key: bool => 0+,
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::DescribeLogDirsResponse as Known;
    use kafka_protocol::protocol::Decodable;

    use super::*;
    use crate::codec::{Reader, Writer};
    use crate::message::Message;

    fn answer() -> DescribeLogDirsResponse {
        let partition = DescribeLogDirsPartition {
            partition_index: PartitionId(3),
            partition_size: 77,
            offset_lag: 5,
            is_future_key: true,
        };
        let topic = DescribeLogDirsTopic { name: "t".into(), partitions: vec![partition] };
        let result = DescribeLogDirsResult {
            error_code: 56,
            log_dir: "/d".to_owned(),
            topics: vec![topic],
            total_bytes: 1 << 40,
            usable_bytes: 9,
            is_cordoned: true,
        };
        DescribeLogDirsResponse { throttle_time_ms: 1, error_code: 31, results: vec![result] }
    }

    #[test]
    fn the_crate_reads_the_versions_that_it_knows() {
        for version in 1..=4 {
            let mut writer = Writer::new();
            answer().encode(&mut writer, version);
            let mut bytes = bytes::Bytes::from(writer.into_bytes());
            let read = Known::decode(&mut bytes, version).expect("a version it knows");
            assert!(bytes.is_empty(), "v{version}");
            let result = &read.results[0];
            assert_eq!((result.error_code, &*result.log_dir), (56, "/d"));
            assert_eq!(result.usable_bytes, if version < 4 { -1 } else { 9 });
            let partition = &result.topics[0].partitions[0];
            assert_eq!((partition.partition_size, partition.is_future_key), (77, true));
        }
    }

    #[test]
    fn version_5_is_version_4_with_one_byte_more_for_each_directory() {
        let bytes = |version| {
            let mut writer = Writer::new();
            answer().encode(&mut writer, version);
            writer.into_bytes()
        };
        let (old, mut new) = (bytes(4), bytes(5));
        assert_eq!(DescribeLogDirsResponse::decode(&mut Reader::new(&new), 5), Ok(answer()));
        // In front of the tags of the directory, and of the whole.
        assert_eq!(new.remove(new.len() - 3), 1);
        assert_eq!(new, old);
    }
}
