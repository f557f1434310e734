//! Properties of placement over random clusters.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use ottla_types::NodeId;

use crate::controller::error::PlacementError;
use crate::controller::placement::{UsableBroker, place};

fn random_cluster(random: &mut Rng) -> Vec<UsableBroker> {
    let racks = random.i32(0..5);
    let broker = |random: &mut Rng, id| UsableBroker {
        id: NodeId(id),
        rack: (racks > 0).then(|| format!("rack-{}", random.i32(0..racks))),
        fenced: random.u8(0..4) == 0,
    };
    (0..random.i32(1..12)).map(|id| broker(random, id)).collect()
}

#[test]
fn replicas_are_distinct_and_spread_over_racks() {
    let mut random = Rng::with_seed(7);
    for _ in 0..2000 {
        let brokers = random_cluster(&mut random);
        let by_id: BTreeMap<NodeId, &UsableBroker> = brokers.iter().map(|it| (it.id, it)).collect();
        let factor = random.usize(1..=brokers.len());
        let mut draw = random.fork();
        let placed = place(&brokers, random.usize(1..30), factor, &mut || draw.u64(..));
        if brokers.iter().all(|it| it.fenced) {
            assert_eq!(placed, Err(PlacementError::AllFenced));
            continue;
        }
        for replicas in placed.expect("there are enough brokers") {
            assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), factor);
            assert!(!by_id[&replicas[0]].fenced, "the leader is not fenced");
            check_racks(&brokers, &by_id, &replicas);
        }
    }
}

/// No rack has two replicas more than another that could take one; a fenced broker has one only
/// where its rack has no other left.
fn check_racks(
    brokers: &[UsableBroker],
    by_id: &BTreeMap<NodeId, &UsableBroker>,
    replicas: &[NodeId],
) {
    let racks: BTreeSet<&Option<String>> = brokers.iter().map(|it| &it.rack).collect();
    let used = |rack: &Option<String>| replicas.iter().filter(|id| by_id[id].rack == *rack).count();
    let size = |rack: &Option<String>| brokers.iter().filter(|it| it.rack == *rack).count();
    let most = racks.iter().map(|rack| used(rack)).max().expect("there is a rack");
    for rack in racks {
        assert!(used(rack) == size(rack) || used(rack) + 2 > most, "{replicas:?} of {brokers:?}");
        let in_rack = brokers.iter().filter(|it| &it.rack == rack);
        let has = |it: &UsableBroker| replicas.contains(&it.id);
        let takes_fenced = in_rack.clone().any(|it| it.fenced && has(it));
        assert!(!takes_fenced || in_rack.filter(|it| !it.fenced).all(has));
    }
}

/// With as many partitions as brokers in one rack, each broker leads one.
#[test]
fn leaders_are_spread() {
    for count in 1..20 {
        let broker = |id| UsableBroker { id: NodeId(id), rack: None, fenced: false };
        let brokers: Vec<UsableBroker> = (0..count).map(broker).collect();
        let mut random = Rng::with_seed(count as u64);
        let placed = place(&brokers, count as usize, 1, &mut || random.u64(..)).expect("enough");
        let leaders: BTreeSet<NodeId> = placed.iter().map(|replicas| replicas[0]).collect();
        assert_eq!(leaders.len(), count as usize);
    }
}

#[test]
fn too_few_brokers_are_refused() {
    let brokers = [UsableBroker { id: NodeId(1), rack: None, fenced: false }];
    let refused = PlacementError::TooFewBrokers { wanted: 2, usable: 1 };
    assert_eq!(place(&brokers, 1, 2, &mut || 0), Err(refused));
    assert_eq!(place(&[], 1, 1, &mut || 0), Err(PlacementError::AllFenced));
}
