//! Every API in every version: one answer that is a success and one that is Kafka's error.
//!
//! The table here is Kafka 4.3.1's own, cut to what this version answers: an API that is offered
//! and not in it fails a test, and so does one that has no calls here.

mod admin;
mod calls;
mod configs;
mod described;
mod forwarded;
mod groups;
mod negotiation;
mod quorum;
mod transactions;

use std::collections::BTreeMap;

use crate::client::{Client, Decode, Sent};
use crate::node::Node;

pub use admin::{
    assign_request, assigned, broker_epoch, log_dirs_of, log_dirs_request, move_request,
    partitions_request,
};
pub use calls::epoch_request;
pub use configs::{alter_request, describe_request, legacy_request};
pub use described::{
    elect_request, features_request, list_request, producers_request, quorum_request,
    reassign_request, topics_request,
};
pub use forwarded::envelope_of;
pub use quorum::{begin_request, end_request, snapshot_request, vote_request};
pub use transactions::add_offsets_request;

/// Lowest and highest version, where the API is shown.
type Shown = Option<(i16, i16)>;

/// Key, versions shown to clients, and to the quorum.
const KAFKA: &[(i16, Shown, Shown)] = &[
    (0, Some((0, 13)), None),
    (1, Some((4, 18)), Some((4, 18))),
    (2, Some((1, 11)), None),
    (3, Some((0, 13)), None),
    (8, Some((2, 10)), None),
    (9, Some((1, 10)), None),
    (10, Some((0, 6)), None),
    (11, Some((0, 9)), None),
    (12, Some((0, 4)), None),
    (13, Some((0, 5)), None),
    (14, Some((0, 5)), None),
    (15, Some((0, 6)), None),
    (16, Some((0, 5)), None),
    (18, Some((0, 4)), Some((0, 4))),
    (19, Some((2, 7)), Some((2, 7))),
    (20, Some((1, 6)), Some((1, 6))),
    (21, Some((0, 2)), None),
    (22, Some((0, 5)), None),
    (23, Some((2, 4)), None),
    (24, Some((0, 5)), None),
    (25, Some((0, 4)), None),
    (26, Some((0, 5)), None),
    (27, Some((1, 2)), None),
    (28, Some((0, 5)), None),
    (32, Some((1, 4)), Some((1, 4))),
    (33, Some((0, 2)), Some((0, 2))),
    (34, Some((1, 2)), None),
    (35, Some((1, 5)), None),
    (37, Some((0, 3)), Some((0, 3))),
    (42, Some((0, 2)), None),
    (43, Some((0, 2)), Some((0, 2))),
    (44, Some((0, 1)), Some((0, 1))),
    (45, Some((0, 1)), Some((0, 1))),
    (46, Some((0, 0)), Some((0, 0))),
    (47, Some((0, 0)), None),
    (48, Some((0, 1)), None),
    (52, None, Some((0, 2))),
    (53, None, Some((0, 1))),
    (54, None, Some((0, 1))),
    (55, Some((0, 2)), Some((0, 2))),
    (57, Some((0, 2)), Some((0, 2))),
    (58, None, Some((0, 0))),
    (59, None, Some((0, 1))),
    (60, Some((0, 2)), Some((0, 2))),
    (61, Some((0, 0)), None),
    (64, Some((0, 0)), Some((0, 0))),
    (65, Some((0, 0)), None),
    (66, Some((0, 2)), None),
    (67, None, Some((0, 0))),
    (68, Some((0, 1)), None),
    (69, Some((0, 1)), None),
    (73, None, Some((0, 0))),
    (74, Some((0, 1)), None),
    (75, Some((0, 0)), None),
];

/// The lowest version of an API that is answered: Produce shows versions that it refuses, so that
/// old clients do not take the broker for an even older one (KAFKA-18659).
fn answered_from(key: i16, shown: i16) -> i16 {
    if key == 0 { 3 } else { shown }
}

/// A node with a connection to each of its listeners.
struct World {
    node: Node,
    broker: Client,
    controller: Client,
}

impl World {
    fn new() -> World {
        let node = Node::start();
        let broker = node.connect();
        let controller = Client::connect(node.controller_address());
        World { node, broker, controller }
    }
}

/// Requests that were answered, of every kind in every version.
pub struct Seeds {
    broker: Vec<Sent>,
    controller: Vec<Sent>,
}

impl Seeds {
    /// Each frame, and whether it was for the controller.
    pub fn all(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let of_broker = self.broker.iter().map(|sent| (&*sent.frame, false));
        of_broker.chain(self.controller.iter().map(|sent| (&*sent.frame, true)))
    }

    /// How answers are decoded, by key.
    pub fn decoders(&self) -> BTreeMap<i16, Decode> {
        let all = self.broker.iter().chain(&self.controller);
        all.map(|sent| (sent.key, sent.decode)).collect()
    }
}

/// Makes all calls on a fresh node, and tells what was sent.
pub fn seeds() -> (Node, Seeds) {
    let mut world = World::new();
    (world.broker.record, world.controller.record) = (Some(Vec::new()), Some(Vec::new()));
    for (key, clients, quorum) in KAFKA {
        for version in
            clients.map(|(min, max)| answered_from(*key, min)..=max).into_iter().flatten()
        {
            calls::call(&mut world, *key, version);
        }
        for version in quorum.map(|(min, max)| min..=max).into_iter().flatten() {
            quorum::call(&mut world, *key, version);
        }
    }
    let World { node, broker, controller } = world;
    let recorded = |client: Client| client.record.unwrap_or_default();
    (node, Seeds { broker: recorded(broker), controller: recorded(controller) })
}

#[test]
fn clients_are_answered_in_every_version() {
    let mut world = World::new();
    for (key, shown, _) in KAFKA {
        let Some((min, max)) = *shown else { continue };
        for version in answered_from(*key, min)..=max {
            calls::call(&mut world, *key, version);
        }
    }
}

#[test]
fn the_quorum_is_answered_in_every_version() {
    let mut world = World::new();
    for (key, _, shown) in KAFKA {
        let Some((min, max)) = *shown else { continue };
        for version in min..=max {
            quorum::call(&mut world, *key, version);
        }
    }
}
