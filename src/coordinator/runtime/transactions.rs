//! The transaction coordinator of a node: what handlers, partitions and the node ask of it.
//!
//! - Whatever waits for the log begins at once: requests of a connection are begun in their order.
//! - Who needs a producer id that nobody has waits for one, and asks again with it.
//! - Markers are written by tasks beside the shards, on a data thread: they append to logs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};
use std::time::Duration;

use ottla_config::TransactionsConfig;
use ottla_protocol::compression::Codec;
use ottla_runtime::Runtime;
use ottla_types::{ErrorCode, LeaderEpoch, Offset, PartitionId, ProducerId, Uuid};

use super::port::LogPort;
use super::shard::Shard;
use super::shards::{Host, Setup, Shards, Tasks, hear};
use crate::producer_ids::ProducerIds;
use crate::txn::{
    AddPartitions, Answer, DescribedTransaction, EndTransaction, Errand, InitProducerId,
    ListFilter, ListedTransaction, MarkerPort, Producer, TransactionalId, TxnCheck, TxnMarker,
    TxnShard, VerifyPartitions,
};

/// The topic that transactions are kept in.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// How long whoever changes a transaction waits for its record; as long as Kafka's requests may
/// take by default.
const PATIENCE: Duration = Duration::from_secs(30);

/// The transaction coordinator of a node. Copies share it.
#[derive(Clone)]
pub struct Transactions {
    shards: Shards<TxnShard>,
    host: Arc<TransactionsHost>,
}

/// What transactions need besides their shards.
struct TransactionsHost {
    runtime: Runtime,
    markers: Arc<dyn MarkerPort>,
    producer_ids: Arc<ProducerIds>,
    /// The cluster's `transaction.version`.
    version: AtomicI16,
}

impl Host<TxnShard> for TransactionsHost {
    fn begins(&self, core: &mut TxnShard) {
        core.version_changed(self.version.load(Ordering::Relaxed));
    }

    fn ends(&self, _: &TxnShard) {}

    fn run(&self, shards: &Shards<TxnShard>, shard: &Arc<Shard<TxnShard>>, errands: Vec<Errand>) {
        for errand in errands {
            let (shards, shard) = (shards.clone(), shard.clone());
            match errand {
                Errand::Markers { id, record, markers } => {
                    self.write_markers(shards, shard, (id, record), markers);
                }
                Errand::FreshId { id, record } => self.abort_with_id(shards, shard, id, record),
            }
        }
    }
}

impl TransactionsHost {
    fn write_markers(
        &self,
        shards: Shards<TxnShard>,
        shard: Arc<Shard<TxnShard>>,
        (id, record): (TransactionalId, Offset),
        markers: Vec<TxnMarker>,
    ) {
        let (port, plane) = (self.markers.clone(), shards.plane(&shard.partition));
        let task = async move {
            let partitions: Vec<_> = markers.iter().map(|it| it.partition.clone()).collect();
            let outcomes = port.write(markers).await;
            let outcomes: Vec<_> = partitions.into_iter().zip(outcomes).collect();
            shards.step(&shard, |core, now, out| {
                core.markers_told(now, &id, record, &outcomes, out);
            });
        };
        self.runtime.spawn(plane, "write markers", task);
    }

    fn abort_with_id(
        &self,
        shards: Shards<TxnShard>,
        shard: Arc<Shard<TxnShard>>,
        id: TransactionalId,
        record: Offset,
    ) {
        let (producer_ids, plane) = (self.producer_ids.clone(), shards.plane(&shard.partition));
        let task = async move {
            // Without one it is tried again when transactions are looked at again.
            let Ok(fresh) = producer_ids.next().await else { return };
            shards.step(&shard, |core, now, out| {
                core.abort_with(now, &id, record, Some(fresh), out);
            });
        };
        self.runtime.spawn(plane, "abort a transaction", task);
    }

    /// A producer id that nobody has.
    async fn fresh_id(&self) -> Result<ProducerId, ErrorCode> {
        // The controller is away for a moment: producers know how to wait for this one.
        self.producer_ids.next().await.map_err(|_| ErrorCode::CoordinatorLoadInProgress)
    }
}

impl Transactions {
    /// A coordinator without shards; its timers begin to run.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(
        runtime: &Runtime,
        config: TransactionsConfig,
        logs: Box<dyn LogPort>,
        markers: Arc<dyn MarkerPort>,
        producer_ids: Arc<ProducerIds>,
    ) -> io::Result<Transactions> {
        let setup = Setup {
            patience: PATIENCE,
            codec: Codec::None,
            load_bytes: config.load_bytes,
            tasks: Tasks {
                thread: "ottla-txns-log",
                timers: "transaction timers",
                load: "load transactions",
                append: "append transaction records",
                commit: "commit transaction records",
            },
        };
        let host = Arc::new(TransactionsHost {
            runtime: runtime.clone(),
            markers,
            producer_ids,
            version: AtomicI16::new(0),
        });
        let shards = Shards::start(runtime, Arc::new(config), setup, logs, host.clone())?;
        Ok(Transactions { shards, host })
    }

    /// How transactions are coordinated.
    #[must_use]
    pub fn config(&self) -> &TransactionsConfig {
        &self.shards.inner.config
    }

    /// The topic has so many partitions, of which this node leads these, each in an epoch.
    pub fn lead(&self, topic: Uuid, partitions: i32, led: &[(PartitionId, LeaderEpoch)]) {
        self.shards.lead(topic, partitions, led);
    }

    /// The cluster's `transaction.version` is this.
    pub fn version_changed(&self, version: i16) {
        if self.host.version.swap(version, Ordering::Relaxed) == version {
            return;
        }
        for shard in self.shards.all() {
            if let Ok(mut state) = shard.state.lock() {
                state.step_when_loaded(move |core, _| core.version_changed(version));
            }
        }
    }

    /// A producer begins.
    pub fn init_producer_id(
        &self,
        mut request: InitProducerId,
    ) -> impl Future<Output = Result<Producer, ErrorCode>> + Send + use<> {
        let transactions = self.clone();
        let told = self.ask_init(request.clone());
        async move {
            let mut answer = hear(told).await?;
            if answer == Answer::NeedsProducerId {
                request.fresh = Some(transactions.host.fresh_id().await?);
                answer = hear(transactions.ask_init(request)).await?;
            }
            match answer {
                Answer::Initialized(producer) => Ok(producer),
                other => unreachable!("a producer that begins is not answered with {other:?}"),
            }
        }
    }

    fn ask_init(&self, request: InitProducerId) -> super::shards::Told<TxnShard> {
        let id = request.id.clone();
        self.shards.ask(&id, |core, now, ticket, out| {
            core.init_producer_id(now, &request, ticket, out);
        })
    }

    /// A transaction ends; from KIP-890 on, tells the producer of the next one.
    pub fn end_transaction(
        &self,
        mut request: EndTransaction,
    ) -> impl Future<Output = Result<Option<Producer>, ErrorCode>> + Send + use<> {
        let transactions = self.clone();
        let told = self.ask_end(request.clone());
        async move {
            let mut answer = hear(told).await?;
            if answer == Answer::NeedsProducerId {
                request.fresh = Some(transactions.host.fresh_id().await?);
                answer = hear(transactions.ask_end(request)).await?;
            }
            match answer {
                Answer::Ended(next) => Ok(next),
                other => unreachable!("an end is not answered with {other:?}"),
            }
        }
    }

    fn ask_end(&self, request: EndTransaction) -> super::shards::Told<TxnShard> {
        let id = request.id.clone();
        self.shards.ask(&id, |core, now, ticket, out| {
            core.end_transaction(now, &request, ticket, out);
        })
    }

    /// Adds partitions to a transaction.
    pub fn add_partitions(
        &self,
        request: AddPartitions,
    ) -> impl Future<Output = Result<(), ErrorCode>> + Send + use<> {
        let id = request.id.clone();
        let told = self.shards.ask(&id, |core, now, ticket, out| {
            core.add_partitions(now, request, ticket, out);
        });
        async move { hear(told).await.map(drop) }
    }

    /// Says which partitions are in a transaction, in the order of the request.
    pub fn verify_partitions(
        &self,
        request: &VerifyPartitions,
    ) -> impl Future<Output = Result<Vec<Result<(), ErrorCode>>, ErrorCode>> + Send + use<> {
        let told = self.shards.ask(&request.id, |core, _, ticket, out| {
            core.verify_partitions(request, ticket, out);
        });
        async move {
            match hear(told).await? {
                Answer::Verified(outcomes) => Ok(outcomes),
                other => unreachable!("a verification is not answered with {other:?}"),
            }
        }
    }

    /// What a partition asks before it appends: whether each may, in the order of the request.
    pub fn verify_or_add(
        &self,
        check: TxnCheck,
    ) -> impl Future<Output = Vec<Result<(), ErrorCode>>> + Send + use<> {
        let TxnCheck { transactional_id, producer_id, producer_epoch, partitions, add } = check;
        let id = TransactionalId::from(transactional_id.as_str());
        let producer = Producer { id: producer_id, epoch: producer_epoch };
        let (transactions, count) = (self.clone(), partitions.len());
        async move {
            let outcomes = if add {
                let client_version = crate::txn::EPOCH_BUMP;
                let request = AddPartitions { id, producer, partitions, client_version };
                transactions.add_partitions(request).await.map(|()| vec![Ok(()); count])
            } else {
                let request = VerifyPartitions { id, producer, partitions };
                transactions.verify_partitions(&request).await
            };
            outcomes.unwrap_or_else(|error| vec![Err(error); count])
        }
    }

    /// Describes an id; `None` if there is none.
    ///
    /// # Errors
    /// Those of the shard.
    pub fn describe(
        &self,
        id: &TransactionalId,
    ) -> Result<Option<DescribedTransaction>, ErrorCode> {
        let shard = self.shards.of(id)?;
        let mut state = shard.state.lock().map_err(|_| ErrorCode::NotCoordinator)?;
        state.core().map(|core| core.describe(id))
    }

    /// All ids that this node coordinates and a filter takes.
    ///
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS` while some are not known yet.
    pub fn list(&self, filter: &ListFilter<'_>) -> Result<Vec<ListedTransaction>, ErrorCode> {
        let now = self.shards.now().wall;
        let mut all = Vec::new();
        for shard in self.shards.all() {
            let Ok(mut state) = shard.state.lock() else { continue };
            match state.core() {
                Ok(core) => all.extend(core.list(filter, now)),
                Err(ErrorCode::NotCoordinator) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }
}
