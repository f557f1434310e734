//! Who leads, told with the error to a client that does not know it any more (KIP-951).

use kafka_protocol::messages::BrokerId;
use ottla_types::ErrorCode;

use crate::node::{Setup, fresh};
use crate::requests::{create, error, fetch_request};

#[test]
fn who_fetches_with_an_old_epoch_is_told_the_leader() {
    let mut node = Setup::new().start();
    let topic = create(&mut node.connect(), &fresh("led"), 1, &[]);
    node.stop();
    // The leader has left, and comes again in a later epoch.
    let node = node.into_setup().start();
    let mut client = node.connect();
    for version in 9..=17 {
        let mut request = fetch_request(version, &topic, &[(0, 0)]);
        request.topics[0].partitions[0].current_leader_epoch = 0;
        let answer = client.call(version, &request);
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(error(partition.error_code), ErrorCode::FencedLeaderEpoch, "v{version}");
        let leader = &partition.current_leader;
        if version < 16 {
            assert_eq!((leader.leader_id.0, answer.node_endpoints.len()), (-1, 0));
            continue;
        }
        assert_eq!(leader.leader_id, BrokerId(1));
        assert!(leader.leader_epoch > 0, "{leader:?}");
        let [endpoint] = answer.node_endpoints.as_slice() else { panic!("{answer:?}") };
        let port = i32::from(node.address().port());
        assert_eq!((endpoint.node_id.0, &*endpoint.host, endpoint.port), (1, "127.0.0.1", port));
    }
}
