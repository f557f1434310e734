//! What a controller writes when it becomes the active one.

use ottla_protocol::metadata::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord,
    MetadataRecord,
};
use ottla_types::{MonoTime, Offset};

use super::configs::MIN_INSYNC_REPLICAS;
use super::{Controller, Decision};
use crate::image::{Image, ResourceKind, Touched};
use crate::versions::{MetadataVersion, VersionedRecord};

impl Controller {
    /// Begins the sessions of brokers and writes what must come first.
    ///
    /// An open transaction, as [`Loader::open_transaction`](crate::Loader::open_transaction) tells,
    /// is aborted. An empty log gets the records the cluster was formatted
    /// with, and, when eligible leader replicas are kept, `min.insync.replicas` for the whole
    /// cluster: with KIP-966 it decides who is eligible, and may not differ between brokers.
    pub fn activate(
        &mut self,
        now: MonoTime,
        bootstrap: &[VersionedRecord],
        open_transaction: Option<Offset>,
    ) -> Decision<()> {
        self.sessions.begin(&self.image, now);
        let abort = open_transaction.map(|_| abort());
        if self.image.features().metadata_version().is_some() {
            return Decision::atomic(abort.into_iter().collect(), ());
        }
        let formatted = image_of(bootstrap);
        let version = formatted.metadata_version();
        let in_transaction = version >= MetadataVersion::TRANSACTIONS;
        let mut records: Vec<VersionedRecord> = abort.into_iter().collect();
        if in_transaction {
            let name = Some("Bootstrap records".to_owned());
            records.push(VersionedRecord::new(BeginTransactionRecord { name }, version));
        }
        records.extend_from_slice(bootstrap);
        if formatted.features().elr_enabled() {
            records.push(VersionedRecord::new(self.cluster_min_isr(), version));
        }
        if in_transaction {
            records.push(VersionedRecord::new(EndTransactionRecord {}, version));
        }
        Decision { records, atomic: !in_transaction, reply: () }
    }

    fn cluster_min_isr(&self) -> ConfigRecord {
        ConfigRecord {
            resource_type: ResourceKind::BROKER.0,
            resource_name: String::new(),
            name: MIN_INSYNC_REPLICAS.to_owned(),
            value: Some(self.settings.min_insync_replicas.to_string()),
        }
    }
}

fn abort() -> VersionedRecord {
    let reason = Some("Controller failover".to_owned());
    let record = MetadataRecord::from(AbortTransactionRecord { reason });
    VersionedRecord { record, version: 0 }
}

/// What the records of a formatted cluster say.
fn image_of(bootstrap: &[VersionedRecord]) -> Image {
    let mut image = Image::default();
    for record in bootstrap {
        image
            .replay(&record.record, &mut Touched::default())
            .expect("a cluster is formatted with records that this version knows");
    }
    image
}
