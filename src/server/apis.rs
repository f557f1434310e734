//! The table of APIs: what the node answers, in which versions, on which listeners, how long a
//! request may be, and who handles it.
//!
//! ApiVersions, dispatch, frame limits and `docs/apis.md` are all made from it. A row is here when
//! its handler works, in every version of the row.

use std::ops::RangeInclusive;

use bytes::Bytes;
use ottla_protocol::{ApiKey, Decoded, RequestHeader, RequestPrefix};

use crate::connection::Peer;
use crate::dispatch::Reply;
use crate::handlers;
use crate::services::Services;

/// Where an API is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offered {
    /// To clients of the broker.
    Broker,
    /// To the quorum and to admin clients of the controller.
    Controller,
    /// To both.
    Both,
}

/// A request on its way to its handler.
pub struct Incoming<'a> {
    /// Who sent it.
    pub peer: &'a Peer,
    /// Its header.
    pub header: RequestHeader,
    /// Its body, still encoded.
    pub body: Bytes,
}

/// Handles a request; an error means that the body is not one.
pub type Handler = fn(&Services, Incoming<'_>) -> Decoded<Reply>;

/// A row of the table.
pub struct Api {
    /// Kind of request.
    pub key: ApiKey,
    /// Versions that are answered.
    pub versions: RangeInclusive<i16>,
    /// Lowest version that ApiVersions shows.
    pub shown_min: i16,
    /// Where it is offered.
    pub offered: Offered,
    /// Longest request in bytes; `None` leaves it to `socket.request.max.bytes`.
    pub length_max: Option<u32>,
    /// Who handles it.
    pub handler: Handler,
}

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;
/// For requests without lists of any length.
const SMALL: u32 = 64 * KIB;

const fn api(
    key: ApiKey,
    versions: RangeInclusive<i16>,
    offered: Offered,
    length_max: u32,
    handler: Handler,
) -> Api {
    let shown_min = *versions.start();
    Api { key, versions, shown_min, offered, length_max: Some(length_max), handler }
}

/// All APIs, by key.
pub const APIS: &[Api] = &[
    Api {
        key: ApiKey::Produce,
        versions: 3..=13,
        // KAFKA-18659: old librdkafka takes a higher minimum for a broker without idempotence.
        shown_min: 0,
        offered: Offered::Broker,
        length_max: None,
        handler: handlers::produce::handle,
    },
    api(ApiKey::Fetch, 4..=18, Offered::Both, 4 * MIB, handlers::fetch::handle),
    api(ApiKey::ListOffsets, 1..=11, Offered::Broker, MIB, handlers::list_offsets::handle),
    api(ApiKey::Metadata, 0..=13, Offered::Broker, MIB, handlers::metadata::handle),
    api(
        ApiKey::OffsetCommit,
        2..=10,
        Offered::Broker,
        4 * MIB,
        handlers::groups::offset_commit::handle,
    ),
    api(ApiKey::OffsetFetch, 1..=10, Offered::Broker, MIB, handlers::groups::offset_fetch::handle),
    api(ApiKey::FindCoordinator, 0..=6, Offered::Broker, MIB, handlers::find_coordinator::handle),
    api(ApiKey::JoinGroup, 0..=9, Offered::Broker, 4 * MIB, handlers::groups::join::handle),
    api(ApiKey::Heartbeat, 0..=4, Offered::Broker, SMALL, handlers::groups::heartbeat::handle),
    api(ApiKey::LeaveGroup, 0..=5, Offered::Broker, MIB, handlers::groups::leave::handle),
    api(ApiKey::SyncGroup, 0..=5, Offered::Broker, 4 * MIB, handlers::groups::sync::handle),
    api(ApiKey::DescribeGroups, 0..=6, Offered::Broker, MIB, handlers::groups::describe::handle),
    api(ApiKey::ListGroups, 0..=5, Offered::Broker, SMALL, handlers::groups::list::handle),
    api(ApiKey::ApiVersions, 0..=4, Offered::Both, SMALL, handlers::api_versions::handle),
    api(ApiKey::CreateTopics, 2..=7, Offered::Both, 4 * MIB, handlers::create_topics::handle),
    api(ApiKey::DeleteTopics, 1..=6, Offered::Both, MIB, handlers::delete_topics::handle),
    api(ApiKey::DeleteRecords, 0..=2, Offered::Broker, MIB, handlers::delete_records::handle),
    api(ApiKey::InitProducerId, 0..=5, Offered::Broker, SMALL, handlers::init_producer_id::handle),
    api(
        ApiKey::OffsetForLeaderEpoch,
        2..=4,
        Offered::Broker,
        MIB,
        handlers::offset_for_leader_epoch::handle,
    ),
    api(
        ApiKey::AddPartitionsToTxn,
        0..=5,
        Offered::Broker,
        4 * MIB,
        handlers::transactions::add_partitions::handle,
    ),
    api(
        ApiKey::AddOffsetsToTxn,
        0..=4,
        Offered::Broker,
        SMALL,
        handlers::transactions::add_offsets::handle,
    ),
    api(ApiKey::EndTxn, 0..=5, Offered::Broker, SMALL, handlers::transactions::end::handle),
    api(
        ApiKey::WriteTxnMarkers,
        1..=2,
        Offered::Broker,
        4 * MIB,
        handlers::write_txn_markers::handle,
    ),
    api(
        ApiKey::TxnOffsetCommit,
        0..=5,
        Offered::Broker,
        4 * MIB,
        handlers::groups::txn_offset_commit::handle,
    ),
    api(ApiKey::DescribeConfigs, 1..=4, Offered::Both, MIB, handlers::configs::describe::handle),
    api(ApiKey::AlterConfigs, 0..=2, Offered::Both, MIB, handlers::configs::alter::handle),
    api(
        ApiKey::AlterReplicaLogDirs,
        1..=2,
        Offered::Broker,
        MIB,
        handlers::alter_replica_log_dirs::handle,
    ),
    api(ApiKey::DescribeLogDirs, 1..=5, Offered::Broker, MIB, handlers::describe_log_dirs::handle),
    api(ApiKey::CreatePartitions, 0..=3, Offered::Both, MIB, handlers::create_partitions::handle),
    api(ApiKey::DeleteGroups, 0..=2, Offered::Broker, MIB, handlers::groups::delete::handle),
    api(ApiKey::ElectLeaders, 0..=2, Offered::Both, MIB, handlers::elect_leaders::handle),
    api(
        ApiKey::IncrementalAlterConfigs,
        0..=1,
        Offered::Both,
        MIB,
        handlers::configs::alter_incremental::handle,
    ),
    api(
        ApiKey::AlterPartitionReassignments,
        0..=1,
        Offered::Both,
        MIB,
        handlers::reassignments::alter,
    ),
    api(
        ApiKey::ListPartitionReassignments,
        0..=0,
        Offered::Both,
        MIB,
        handlers::reassignments::list,
    ),
    api(ApiKey::OffsetDelete, 0..=0, Offered::Broker, MIB, handlers::groups::offset_delete::handle),
    api(
        ApiKey::DescribeClientQuotas,
        0..=1,
        Offered::Broker,
        SMALL,
        handlers::describe_client_quotas::handle,
    ),
    api(ApiKey::Vote, 0..=2, Offered::Controller, SMALL, handlers::quorum::vote),
    api(ApiKey::BeginQuorumEpoch, 0..=1, Offered::Controller, SMALL, handlers::quorum::begin_epoch),
    api(ApiKey::EndQuorumEpoch, 0..=1, Offered::Controller, SMALL, handlers::quorum::end_epoch),
    api(ApiKey::DescribeQuorum, 0..=2, Offered::Both, SMALL, handlers::quorum::describe),
    api(ApiKey::UpdateFeatures, 0..=2, Offered::Both, SMALL, handlers::update_features::handle),
    api(ApiKey::Envelope, 0..=0, Offered::Controller, 4 * MIB, handlers::envelope::handle),
    api(ApiKey::FetchSnapshot, 0..=1, Offered::Controller, SMALL, handlers::quorum::fetch_snapshot),
    api(ApiKey::DescribeCluster, 0..=2, Offered::Both, SMALL, handlers::describe_cluster::handle),
    api(
        ApiKey::DescribeProducers,
        0..=0,
        Offered::Broker,
        MIB,
        handlers::describe_producers::handle,
    ),
    api(ApiKey::UnregisterBroker, 0..=0, Offered::Both, SMALL, handlers::unregister_broker::handle),
    api(
        ApiKey::DescribeTransactions,
        0..=0,
        Offered::Broker,
        MIB,
        handlers::transactions::describe::handle,
    ),
    api(
        ApiKey::ListTransactions,
        0..=2,
        Offered::Broker,
        MIB,
        handlers::transactions::list::handle,
    ),
    api(
        ApiKey::AllocateProducerIds,
        0..=0,
        Offered::Controller,
        SMALL,
        handlers::allocate_producer_ids::handle,
    ),
    api(
        ApiKey::ConsumerGroupHeartbeat,
        0..=1,
        Offered::Broker,
        MIB,
        handlers::groups::consumer_heartbeat::handle,
    ),
    api(
        ApiKey::ConsumerGroupDescribe,
        0..=1,
        Offered::Broker,
        MIB,
        handlers::groups::consumer_describe::handle,
    ),
    api(
        ApiKey::AssignReplicasToDirs,
        0..=0,
        Offered::Controller,
        MIB,
        handlers::assign_replicas::handle,
    ),
    api(
        ApiKey::ListConfigResources,
        0..=1,
        Offered::Broker,
        SMALL,
        handlers::configs::list::handle,
    ),
    api(
        ApiKey::DescribeTopicPartitions,
        0..=0,
        Offered::Broker,
        MIB,
        handlers::describe_topic_partitions::handle,
    ),
];

impl Api {
    /// Whether a listener of this kind offers the API.
    #[must_use]
    pub fn is_offered(&self, to_controller: bool) -> bool {
        match self.offered {
            Offered::Both => true,
            Offered::Broker => !to_controller,
            Offered::Controller => to_controller,
        }
    }
}

/// The row of an API that a listener of this kind offers.
#[must_use]
pub fn find(key: i16, on_controller: bool) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key.code() == key && api.is_offered(on_controller))
}

/// How long a frame with this prefix may be; `None` when the listener does not take it, which
/// closes the connection. A version of ApiVersions that is not known is answered.
#[must_use]
pub fn frame_limit(prefix: RequestPrefix, on_controller: bool) -> Option<u32> {
    let api = find(prefix.api_key, on_controller)?;
    let known = api.versions.contains(&prefix.api_version) || api.key == ApiKey::ApiVersions;
    known.then(|| api.length_max.unwrap_or(u32::MAX))
}

/// `docs/apis.md`.
#[must_use]
pub fn reference_page() -> String {
    use std::fmt::Write;
    let mut page = String::from(
        "# APIs\n\n\
         Written from `src/server/apis.rs`; a test keeps it fresh. What is not here is not in\n\
         the answer to ApiVersions, and a request for it closes the connection, as with Apache\n\
         Kafka.\n\n\
         | key | API | versions | offered to | longest request |\n|---|---|---|---|---|\n",
    );
    for api in APIS {
        let offered = match api.offered {
            Offered::Broker => "clients",
            Offered::Controller => "the quorum",
            Offered::Both => "both",
        };
        let length = match api.length_max {
            None => "`socket.request.max.bytes`".to_owned(),
            Some(bytes) => format!("{} KiB", bytes / KIB),
        };
        let (first, last) = (api.versions.start(), api.versions.end());
        let _ = writeln!(
            page,
            "| {} | {} | {first}-{last} | {offered} | {length} |",
            api.key.code(),
            api.key
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_the_page_is_fresh() {
        assert!(APIS.is_sorted_by_key(|api| api.key));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/apis.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, reference_page()).expect("docs/ is writable");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == reference_page(), "run UPDATE=1 cargo test -p ottla-server");
    }

    #[test]
    fn frames_are_judged_by_their_prefix() {
        let limit = |api_key, api_version, on_controller| {
            frame_limit(RequestPrefix { api_key, api_version, correlation_id: 0 }, on_controller)
        };
        assert_eq!(limit(0, 13, false), Some(u32::MAX));
        assert_eq!(limit(0, 2, false), None, "shown and refused");
        assert_eq!(limit(0, 13, true), None, "not offered to the quorum");
        assert_eq!(limit(52, 2, true), Some(SMALL));
        assert_eq!(limit(52, 2, false), None);
        assert_eq!(limit(18, 99, false), Some(SMALL));
        assert_eq!(limit(18, -1, false), Some(SMALL));
        assert_eq!(limit(99, 0, false), None);
        assert_eq!(limit(-5, 0, false), None);
    }
}
