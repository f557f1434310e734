//! What members of the classic protocol say and hear in opaque bytes, as far as a consumer group
//! needs it: their subscriptions, and their assignments, in the version that they speak.
//!
//! A version newer than all that are known is read as the newest one: new fields are behind.

use bytes::Bytes;
use ottla_protocol::consumer_protocol::{
    ConsumedPartitions, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};
use ottla_protocol::{Message, Reader, Writer};
use ottla_types::{PartitionId, Uuid};

use super::cluster::Cluster;
use super::member::{Assignment, ConsumerMember};

/// Reads what a member said or was told, and in which version; none when it is nothing of the kind.
pub(super) fn read<T: Message>(bytes: &[u8]) -> Option<(T, i16)> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16().ok().filter(|version| *version >= 0)?;
    let version = version.min(T::VERSION_MAX);
    Some((T::decode(&mut reader, version).ok()?, version))
}

/// Partitions by id, of topics that there are.
pub(super) fn by_id(
    named: &[ConsumedPartitions],
    cluster: &dyn Cluster,
) -> Vec<(Uuid, Vec<PartitionId>)> {
    let topic = |topic: &ConsumedPartitions| {
        Some((cluster.topic(&topic.topic)?.id, topic.partitions.clone()))
    };
    named.iter().filter_map(topic).collect()
}

/// An assignment in the bytes that a member expects who said this about itself.
pub(super) fn assignment(assigned: &Assignment, said: &[u8], cluster: &dyn Cluster) -> Bytes {
    let version = read::<ConsumerProtocolSubscription>(said).map_or(0, |(_, version)| version);
    let topic = |(id, partitions): (&Uuid, &Vec<PartitionId>)| {
        let topic = cluster.name_of(*id)?;
        Some(ConsumedPartitions { topic, partitions: partitions.clone() })
    };
    let assigned_partitions = assigned.0.iter().filter_map(topic).collect();
    let message = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version);
    writer.into_bytes().into()
}

impl ConsumerMember {
    /// The protocol of the classic ones that the member likes best: name, and what it said in it.
    pub(super) fn favourite(&self) -> Option<(&str, &Bytes)> {
        let first = self.classic.as_ref()?.supported_protocols.first()?;
        Some((&first.name, &first.metadata))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::tests::TestCluster;

    #[test]
    fn an_assignment_has_the_version_that_its_member_speaks() {
        let mut cluster = TestCluster::default();
        let id = cluster.add("t", 3);
        let assigned = Assignment([(id, vec![PartitionId(0), PartitionId(2)])].into());
        let newest = ConsumerProtocolSubscription::VERSION_MAX;
        // One from the future is told what is known today.
        for version in (0..=newest).chain([99]) {
            let mut writer = Writer::new();
            writer.i16(version);
            ConsumerProtocolSubscription::default().encode(&mut writer, version.min(newest));
            let told = assignment(&assigned, &writer.into_bytes(), &cluster);
            let (told, of) = read::<ConsumerProtocolAssignment>(&told).expect("it is one");
            assert_eq!(of, version.min(newest));
            let named = by_id(&told.assigned_partitions, &cluster);
            assert_eq!(named, [(id, vec![PartitionId(0), PartitionId(2)])]);
        }
        // Nothing is told of what is gone.
        assert!(read::<ConsumerProtocolAssignment>(&[255, 255]).is_none());
        let told = assignment(&assigned, &[], &TestCluster::default());
        let (told, _) = read::<ConsumerProtocolAssignment>(&told).expect("it is one");
        assert_eq!(told.assigned_partitions, []);
    }
}
