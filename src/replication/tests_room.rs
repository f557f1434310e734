//! Partitions that wait for room on a full disk.

use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::batch::{BatchBuilder, BatchHeader, BatchKind};
use ottla_storage::IncomingBatch;
use ottla_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::Acks;
use crate::tests::{in_world, placement};

/// A producer's batch of one record.
fn of_producer(sequence: i32) -> IncomingBatch {
    let kind = BatchKind::Data;
    let mut builder = BatchBuilder::new(kind, Offset(0), LeaderEpoch(-1), Timestamp(1))
        .with_producer(ProducerId(4), ProducerEpoch(0), sequence);
    builder.push(None, Some(&[7; 50]));
    let bytes = Bytes::from(builder.build());
    IncomingBatch { header: BatchHeader::read(&bytes).expect("just built"), bytes }
}

#[test]
fn what_a_partition_refused_while_it_waited_for_room_must_come_first() {
    in_world(async |bench| {
        let (waits, unknown) = (placement(1, 1), placement(2, 1));
        let used = bench.node.disk().used();
        bench.node.disk().set_faults(|faults| faults.capacity = Some(used));
        bench.replicas.start_housekeeping();
        bench.replicas.place(vec![waits.clone()]).await.expect("waits");
        let code = |id, sequence| {
            let header = of_producer(sequence).header;
            bench.replicas.get_for(id, Some(&header)).map(|_| ()).unwrap_err()
        };
        assert_eq!(code(&unknown.id, 0), ErrorCode::NotLeaderOrFollower, "nobody knows of it");
        assert_eq!(code(&waits.id, 0), ErrorCode::KafkaStorageError);
        bench.node.disk().set_faults(|faults| faults.capacity = None);
        bench.runtime.clock().sleep(Duration::from_secs(5)).await;
        let header = of_producer(1).header;
        let partition = bench.replicas.get_for(&waits.id, Some(&header)).expect("there is room");
        let append = |sequence| {
            let batch = of_producer(sequence);
            let now = bench.runtime.clock().wall();
            partition.append(&batch, Acks::Leader, now).map(|_| ()).map_err(|error| error.code())
        };
        assert_eq!(append(1), Err(ErrorCode::OutOfOrderSequenceNumber), "0 was refused before");
        assert_eq!((append(0), append(1)), (Ok(()), Ok(())));
    });
}
