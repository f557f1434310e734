//! Costs that must not grow with the size of the image.

use std::time::{Duration, Instant};

use ottla_protocol::Writer;
use ottla_protocol::metadata::{PartitionChangeRecord, PartitionRecord, TopicRecord};
use ottla_raft::core::OffsetAndEpoch;
use ottla_raft::snapshot::{SnapshotStart, SnapshotWriter};
use ottla_types::{LeaderEpoch, NodeId, Offset, PartitionId, Timestamp, Uuid};

use crate::image::{Delta, Image, Touched};

fn topic_id(number: u32) -> Uuid {
    let mut bytes = [9; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Uuid(bytes)
}

fn create(image: &mut Image, number: u32, partitions: i32, touched: &mut Touched) {
    let topic_id = topic_id(number);
    let topic = TopicRecord { name: format!("topic-{number}").as_str().into(), topic_id };
    image.replay(&topic.into(), touched).expect("a new topic");
    for partition in 0..partitions {
        let replicas = vec![NodeId(1), NodeId(2), NodeId(3)];
        let record = PartitionRecord {
            partition_id: PartitionId(partition),
            topic_id,
            isr: replicas.clone(),
            leader: NodeId(1),
            replicas,
            ..Default::default()
        };
        image.replay(&record.into(), touched).expect("a new partition");
    }
}

#[expect(clippy::disallowed_methods, reason = "this test measures time")]
fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

/// Each topic is published, and the image before it kept, as by a slow reader. With a copy of the
/// maps for each topic this takes minutes.
#[test]
fn ten_thousand_topics_one_by_one() {
    let mut kept = Vec::new();
    let mut image = Image::default();
    let taken = timed(|| {
        for number in 0..10_000 {
            let (base, mut touched) = (image.clone(), Touched::default());
            create(&mut image, number, 1, &mut touched);
            let delta = Delta::new(base, image.clone(), touched);
            assert_eq!((delta.topics_created().count(), delta.partitions().count()), (1, 1));
            kept.push(delta.into_image());
        }
    });
    assert_eq!(kept[17].topics().count(), 18);
    assert_eq!(image.topics().count(), 10_000);
    assert!(taken < Duration::from_secs(10), "{taken:?}");
}

/// One change among 100,000 partitions costs a path through the maps.
#[test]
fn a_change_among_a_hundred_thousand_partitions() {
    let mut image = Image::default();
    for number in 0..10 {
        create(&mut image, number, 10_000, &mut Touched::default());
    }
    let taken = timed(|| {
        for change in 0..1000 {
            let (base, mut touched) = (image.clone(), Touched::default());
            let record = PartitionChangeRecord {
                topic_id: topic_id(change % 10),
                partition_id: PartitionId(change as i32 * 7),
                leader: NodeId(2),
                ..Default::default()
            };
            image.replay(&record.into(), &mut touched).expect("a known partition");
            let delta = Delta::new(base, image.clone(), touched);
            assert_eq!(delta.partitions().count(), 1);
        }
    });
    println!("1000 changes among 100,000 partitions: {taken:?}");
    assert!(taken < Duration::from_secs(1), "{taken:?}");
}

/// Records of a snapshot are made one at a time. What a control thread pays is the clone.
#[test]
fn a_snapshot_of_a_hundred_thousand_partitions() {
    let mut image = Image::default();
    for number in 0..1_000 {
        create(&mut image, number, 100, &mut Touched::default());
    }
    let mut copy = None;
    let cloned = timed(|| copy = Some(image.clone()));
    let (mut records, mut bytes) = (0, 0);
    let start = SnapshotStart {
        id: OffsetAndEpoch { offset: Offset(101_000), epoch: LeaderEpoch(1) },
        last_contained_log_timestamp: Timestamp(1),
        voters: None,
    };
    let mut writer = SnapshotWriter::new(&start, 1 << 20, Timestamp(2));
    let written = timed(|| {
        copy.expect("just made").for_each_record(&mut |record| {
            let mut value = Writer::new();
            record.record.encode(record.version, &mut value);
            writer.push(&value.into_bytes(), Timestamp(2));
            bytes += writer.take_finished().len();
            records += 1;
        });
        bytes += writer.finish(Timestamp(3)).len();
    });
    println!("{records} records, {bytes} bytes: clone {cloned:?}, records {written:?}");
    assert_eq!(records, 101_000);
    assert!(cloned < Duration::from_millis(1), "{cloned:?}");
    assert!(written < Duration::from_secs(10), "{written:?}");
}
