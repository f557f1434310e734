//! Markers in a partition: committed readers wait for them, and nobody is told of one that a power
//! cut could take back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::batch::{BatchBuilder, BatchHeader, BatchKind};
use ottla_runtime::Plane;
use ottla_storage::{FirstBatch, IncomingBatch, Marker, Verification, VerificationGuard};
use ottla_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::tests::{Bench, FROM_START, in_world, placement};
use crate::{Acks, Appended, FetchSpec, FetchWait, Isolation, Partition, Transactional};

const PRODUCER: ProducerId = ProducerId(7);

fn append(
    bench: &Bench,
    partition: &Arc<Partition>,
    epoch: i16,
    guard: Option<VerificationGuard>,
) -> Result<Appended, ErrorCode> {
    let kind = BatchKind::Transactional;
    let mut builder = BatchBuilder::new(kind, Offset(0), LeaderEpoch(-1), Timestamp(1))
        .with_producer(PRODUCER, ProducerEpoch(epoch), 0);
    builder.push(None, Some(&[7; 50]));
    let bytes = Bytes::from(builder.build());
    let batch = IncomingBatch { header: BatchHeader::read(&bytes).expect("just built"), bytes };
    let by = Transactional { is_coordinator: false, verified: true, guard };
    let now = bench.runtime.clock().wall();
    let appended = partition.append_transactional(&batch, by, Acks::All, now);
    flushed(bench, partition, appended.map_err(|error| error.code())?)
}

fn end(bench: &Bench, partition: &Arc<Partition>, epoch: i16) -> Result<Appended, ErrorCode> {
    let marker = Marker {
        producer_id: PRODUCER,
        producer_epoch: ProducerEpoch(epoch),
        commit: true,
        coordinator_epoch: 0,
        transaction_version: 2,
    };
    let appended = partition.append_marker(&marker, bench.runtime.clock().wall());
    flushed(bench, partition, appended.map_err(|error| error.code())?)
}

fn flushed(
    bench: &Bench,
    partition: &Arc<Partition>,
    appended: Appended,
) -> Result<Appended, ErrorCode> {
    if appended.start_flush {
        bench.replicas.flush(partition.clone(), Plane::Data(0));
    }
    Ok(appended)
}

fn guard(partition: &Partition, epoch: i16) -> Option<VerificationGuard> {
    let batch = FirstBatch {
        producer_id: PRODUCER,
        producer_epoch: ProducerEpoch(epoch),
        sequence: 0,
        adds: true,
    };
    match partition.begin_verification(batch, Timestamp(0)).expect("it is led here") {
        Verification::Needed(guard) => Some(guard),
        Verification::NotNeeded => None,
    }
}

#[test]
fn a_marker_is_told_and_read_when_it_is_durable_and_so_is_one_that_comes_again() {
    in_world(async |bench| {
        let placement = placement(1, 1);
        bench.replicas.place(vec![placement.clone()]).await.expect("created");
        let partition = bench.replicas.get(&placement.id).expect("just created");
        let refused = append(&bench, &partition, 0, None).err();
        assert_eq!(refused, Some(ErrorCode::InvalidTxnState), "nobody knows of it");
        let guard = guard(&partition, 0);
        let data = append(&bench, &partition, 0, guard).expect("verified");
        data.wait.expect("not durable yet").acknowledged().await.expect("flushed");

        let wait = Arc::new(FetchWait::default());
        let _watch = wait.watch(&partition, 3);
        let committed = FetchSpec { isolation: Isolation::ReadCommitted, ..FROM_START };
        assert!(partition.fetch(committed).unwrap().extent.is_none(), "it is open");
        let first = end(&bench, &partition, 1).expect("in order");
        let again = end(&bench, &partition, 1).expect("in order");
        assert!(partition.fetch(committed).unwrap().extent.is_none(), "it may be lost");
        assert_eq!(partition.offsets(None).unwrap().end, Offset(2), "written once");
        for told in [first, again] {
            told.wait.expect("not durable yet").acknowledged().await.expect("flushed");
        }
        let woken = bench.runtime.clock().timeout(Duration::from_secs(1), wait.changed()).await;
        assert_eq!(woken, Some(vec![3]));
        assert!(partition.fetch(committed).unwrap().extent.is_some());
        assert_eq!(partition.offsets(None).unwrap().last_stable, Offset(2));
        assert_eq!(partition.inconsistencies().unwrap(), Vec::<String>::new());
    });
}
