//! Transactions over the same log, and partitions that take markers when they are told to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_config::NodeConfig;
use ottla_runtime::Runtime;
use ottla_types::{ErrorCode, LeaderEpoch, PartitionId, ProducerEpoch, ProducerId, TopicPartition};

use super::{Log, TOPIC, in_world, until};
use crate::runtime::Transactions;
use crate::txn::{
    EPOCH_BUMP, EndTransaction, InitProducerId, ListFilter, MarkerPort, MarkersWritten, Outcome,
    Producer, TransactionState, TransactionalId, TxnCheck, TxnMarker,
};
use crate::{IdBlock, ProducerIds};

/// Partitions that remember their markers, and refuse so many.
#[derive(Clone, Default)]
struct Partitions(Arc<Mutex<(Vec<TxnMarker>, usize)>>);

impl MarkerPort for Partitions {
    fn write(&self, markers: Vec<TxnMarker>) -> MarkersWritten {
        let mut state = self.0.lock().unwrap();
        let outcomes = markers.into_iter().map(|marker| {
            if state.1 > 0 {
                state.1 -= 1;
                return Err(ErrorCode::NotLeaderOrFollower);
            }
            state.0.push(marker);
            Ok(())
        });
        let outcomes = outcomes.collect();
        Box::pin(std::future::ready(outcomes))
    }
}

fn start(runtime: &Runtime, log: &Log, partitions: &Partitions) -> Transactions {
    let config = NodeConfig::new(None, &[]).expect("the defaults are good").transactions;
    let next = Arc::new(Mutex::new(1));
    let allocate = Box::new(move || -> crate::producer_ids::Allocated {
        let mut next = next.lock().unwrap();
        let block = IdBlock { first: ProducerId(*next), count: 1 };
        *next += 1;
        Box::pin(std::future::ready(Ok(block)))
    });
    let (logs, ids) = (Box::new(log.clone()), Arc::new(ProducerIds::new(allocate)));
    let markers = Arc::new(partitions.clone());
    let transactions = Transactions::start(runtime, config, logs, markers, ids);
    let transactions = transactions.expect("a simulation has threads");
    transactions.version_changed(EPOCH_BUMP);
    transactions
}

fn init(id: &str) -> InitProducerId {
    InitProducerId {
        id: TransactionalId::from(id),
        timeout_ms: 60_000,
        expected: None,
        fresh: None,
    }
}

fn end(id: &str, producer: Producer) -> EndTransaction {
    EndTransaction {
        id: TransactionalId::from(id),
        producer,
        outcome: Outcome::Commit,
        client_version: EPOCH_BUMP,
        fresh: None,
    }
}

fn check(id: &str, producer: Producer, add: bool) -> TxnCheck {
    let partition = TopicPartition { topic: "t".into(), partition: PartitionId(0) };
    TxnCheck {
        transactional_id: id.to_owned(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        partitions: vec![partition],
        add,
    }
}

fn producer(id: i64, epoch: i16) -> Producer {
    Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}

const LED: [(PartitionId, LeaderEpoch); 1] = [(PartitionId(0), LeaderEpoch(4))];

#[test]
fn a_transaction_ends_with_markers_that_are_tried_again() {
    in_world(|runtime| async move {
        let (log, partitions) = (Log::default(), Partitions::default());
        let transactions = start(&runtime, &log, &partitions);
        transactions.lead(TOPIC, 1, &LED);
        let began = transactions.init_producer_id(init("a")).await;
        assert_eq!(began, Ok(producer(1, 0)));
        let refused = transactions.verify_or_add(check("a", producer(1, 0), false)).await;
        assert_eq!(refused, [Err(ErrorCode::TransactionAbortable)]);
        let added = transactions.verify_or_add(check("a", producer(1, 0), true)).await;
        assert_eq!(added, [Ok(())]);
        let verified = transactions.verify_or_add(check("a", producer(1, 0), false)).await;
        assert_eq!(verified, [Ok(())]);

        partitions.0.lock().unwrap().1 = 2;
        let ended = transactions.end_transaction(end("a", producer(1, 0))).await;
        assert_eq!(ended, Ok(Some(producer(1, 1))));
        let id = TransactionalId::from("a");
        let state = || transactions.describe(&id).unwrap().unwrap().state;
        assert_eq!(state(), TransactionState::PrepareCommit);
        until(&runtime, || state() == TransactionState::CompleteCommit).await;
        let written = partitions.0.lock().unwrap().0.clone();
        assert_eq!(written.len(), 1);
        assert_eq!((written[0].coordinator_epoch, written[0].producer_epoch.0), (4, 1));

        let again = start(&runtime, &log, &partitions);
        again.lead(TOPIC, 1, &LED);
        until(&runtime, || again.list(&ListFilter::default()).is_ok()).await;
        assert_eq!(again.init_producer_id(init("a")).await, Ok(producer(1, 2)));
    });
}

#[test]
fn nothing_is_sent_before_it_is_committed() {
    in_world(|runtime| async move {
        let (log, partitions) = (Log::default(), Partitions::default());
        let transactions = start(&runtime, &log, &partitions);
        transactions.lead(TOPIC, 1, &LED);
        transactions.init_producer_id(init("a")).await.expect("it begins");
        transactions.verify_or_add(check("a", producer(1, 0), true)).await;
        log.0.lock().unwrap().holds = true;
        let ending = transactions.end_transaction(end("a", producer(1, 0)));
        let mut ending = std::pin::pin!(ending);
        // Longer than anybody waits: whoever asked hears that it is not known.
        let clock = runtime.clock();
        assert_eq!(clock.timeout(Duration::from_secs(29), &mut ending).await, None);
        assert_eq!(ending.await, Err(ErrorCode::CoordinatorNotAvailable));
        assert!(partitions.0.lock().unwrap().0.is_empty());
        log.0.lock().unwrap().holds = false;
        log.commit();
        until(&runtime, || partitions.0.lock().unwrap().0.len() == 1).await;
    });
}

#[test]
fn who_does_not_lead_a_partition_says_so() {
    in_world(|runtime| async move {
        let (log, partitions) = (Log::default(), Partitions::default());
        let transactions = start(&runtime, &log, &partitions);
        let not_here = ErrorCode::NotCoordinator;
        for _ in 0..2 {
            let began = transactions.init_producer_id(init("a")).await;
            assert_eq!(began, Err(not_here));
            let ended = transactions.end_transaction(end("a", producer(1, 0))).await;
            assert_eq!(ended, Err(not_here));
            let added = transactions.verify_or_add(check("a", producer(1, 0), true)).await;
            assert_eq!(added, [Err(not_here)]);
            let described = transactions.describe(&TransactionalId::from("a"));
            assert_eq!(described, Err(not_here));
            assert_eq!(transactions.list(&ListFilter::default()), Ok(Vec::new()));
            transactions.lead(TOPIC, 1, &LED);
            until(&runtime, || transactions.list(&ListFilter::default()).is_ok()).await;
            assert!(transactions.init_producer_id(init("a")).await.is_ok());
            transactions.lead(TOPIC, 1, &[]);
        }
    });
}

#[test]
fn who_loads_says_so() {
    in_world(|runtime| async move {
        let (log, partitions) = (Log::default(), Partitions::default());
        let transactions = start(&runtime, &log, &partitions);
        transactions.lead(TOPIC, 1, &LED);
        transactions.init_producer_id(init("a")).await.expect("it begins");
        let again = start(&runtime, &log, &partitions);
        again.lead(TOPIC, 1, &LED);
        let loads = ErrorCode::CoordinatorLoadInProgress;
        assert_eq!(again.list(&ListFilter::default()), Err(loads));
        assert_eq!(again.describe(&TransactionalId::from("a")), Err(loads));
        assert_eq!(again.init_producer_id(init("a")).await, Err(loads));
        assert_eq!(again.end_transaction(end("a", producer(1, 0))).await, Err(loads));
        let added = again.verify_or_add(check("a", producer(1, 0), true)).await;
        assert_eq!(added, [Err(loads)]);
        until(&runtime, || again.list(&ListFilter::default()).is_ok()).await;
        assert_eq!(again.init_producer_id(init("a")).await, Ok(producer(1, 1)));
    });
}
