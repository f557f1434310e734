//! Transactions on this node: which of their logs it leads, and how markers get into partitions.

use ottla_coordinator::Transactions;
use ottla_coordinator::runtime::TRANSACTIONS_TOPIC;
use ottla_coordinator::txn::{MarkerPort, MarkersWritten, TxnMarker};
use ottla_metadata::TRANSACTION_VERSION;
use ottla_metadata::image::Image;
use ottla_runtime::Plane;
use ottla_server::Markers;
use ottla_storage::Marker;
use ottla_types::{NodeId, TopicPartition};

use crate::coordinator_logs::led;

/// The partitions of this node, which take markers.
pub(crate) struct NodeMarkers(pub(crate) Markers);

impl MarkerPort for NodeMarkers {
    fn write(&self, markers: Vec<TxnMarker>) -> MarkersWritten {
        Box::pin(self.0.write(markers.into_iter().map(in_partition).collect(), Plane::Data(0)))
    }
}

fn in_partition(marker: TxnMarker) -> (TopicPartition, Marker) {
    let written = Marker {
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        commit: marker.commit,
        coordinator_epoch: marker.coordinator_epoch,
        transaction_version: marker.transaction_version,
    };
    (marker.partition, written)
}

/// Tells the coordinator which partitions this node leads.
pub(crate) fn lead(transactions: &Transactions, image: &Image, node: NodeId) {
    let (topic, count, led) = led(image, TRANSACTIONS_TOPIC, node);
    transactions.lead(topic, count, &led);
}

/// Tells the coordinator which transactions the cluster has.
pub(crate) fn tell_version(transactions: &Transactions, image: &Image) {
    transactions.version_changed(image.features().level(TRANSACTION_VERSION));
}
