//! What consumers of the classic protocol put into a group's opaque bytes: a version, then their
//! subscription or assignment (`ConsumerProtocol`). The coordinator keeps such bytes as they are;
//! who wants to look into them reads them here.

use bytes::Bytes;
use ottla_types::{PartitionId, TopicName};

use crate::codec::{Decoded, Reader};
use crate::message::{Message, messages};

/// Protocol type of groups whose members speak this protocol.
pub const PROTOCOL_TYPE: &str = "consumer";

messages! {
    /// Partitions of a topic.
    pub struct ConsumedPartitions { versions: 0..=3, flexible: none;
        /// Name of the topic.
        topic: TopicName => 0+,
        /// The partitions.
        partitions: Vec<PartitionId> => 0+,
    }

    /// What a member wants to read.
    pub struct ConsumerProtocolSubscription { versions: 0..=3, flexible: none;
        /// The topics.
        topics: Vec<TopicName> => 0+,
        /// What its assignor wants to tell others.
        user_data: Option<Bytes> => 0+,
        /// What it has now.
        owned_partitions: Vec<ConsumedPartitions> => 1+,
        /// Generation in which it got that; -1 is none.
        generation_id: i32 = -1 => 2+,
        /// Its rack.
        rack_id: Option<String> => 3+,
    }

    /// What a member is to read.
    pub struct ConsumerProtocolAssignment { versions: 0..=3, flexible: none;
        /// Partitions, by topic.
        assigned_partitions: Vec<ConsumedPartitions> => 0+,
        /// What the leader's assignor wants to tell the member.
        user_data: Option<Bytes> => 0+,
    }
}

/// Reads bytes of this protocol: the message, and the version it was written in.
///
/// # Errors
/// `UnsupportedVersion`, or what is wrong with the bytes. Bytes behind the message are left alone.
pub fn decode<T: Message>(bytes: &[u8]) -> Decoded<(T, i16)> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    Ok((T::decode(&mut reader, version)?, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stands_in_front() {
        let bytes = [0, 1, 0, 0, 0, 1, 0, 1, b't', 255, 255, 255, 255, 0, 0, 0, 0];
        let expected = ConsumerProtocolSubscription {
            topics: vec![TopicName::from("t")],
            ..ConsumerProtocolSubscription::default()
        };
        assert_eq!(decode(&bytes), Ok((expected, 1)));
        assert!(decode::<ConsumerProtocolAssignment>(&[0, 4, 0, 0]).is_err());
    }
}
