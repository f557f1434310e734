//! Strangers at the controller's listener. A vote that is asked for in a later epoch takes the
//! leadership away, as with Kafka; with a quorum of one that costs a moment, not an election
//! timeout, and clients who read and write do not notice.

use std::time::{Duration, Instant};

use kafka_protocol::messages::VoteRequest;
use ottla_types::ErrorCode;

use super::attack;
use crate::apis::vote_request;
use crate::client::Client;
use crate::node::{Setup, fresh, wait_until};
use crate::requests::{CREATE_TOPICS, creatable, create_request, error};

const VOTE: i16 = 2;
const ROUNDS: i32 = 15;
/// Below the shortest election timeout (`controller.quorum.election.timeout.ms`), which is what it
/// would cost among several voters.
const COST_MAX: Duration = Duration::from_millis(800);

/// Asks for a vote in an epoch of its own making.
fn ask(client: &mut Client, epoch: i32) -> ErrorCode {
    let mut request: VoteRequest = vote_request();
    request.topics[0].partitions[0].replica_epoch = epoch;
    let answer = client.call(VOTE, &request);
    error(answer.topics[0].partitions[0].error_code)
}

#[test]
fn made_up_epochs_cost_a_quorum_of_one_a_moment() {
    let mut node = Setup::new().start();
    if node.is_outside() {
        return;
    }
    attack(&mut node, |node| {
        let mut stranger = Client::connect(node.controller_address());
        let mut client = node.connect();
        let mut costs = Vec::new();
        for round in 1..=ROUNDS {
            let began = Instant::now();
            assert_eq!(ask(&mut stranger, round * 1000), ErrorCode::None);
            let request = create_request(vec![creatable(&fresh("elected"), 1, &[])]);
            wait_until("topics are created", || {
                let answer = client.call(CREATE_TOPICS, &request);
                error(answer.topics[0].error_code) == ErrorCode::None
            });
            costs.push(began.elapsed());
        }
        costs.sort_unstable();
        let (median, longest) = (costs[costs.len() / 2], costs[costs.len() - 1]);
        println!("the leadership is gone for {median:?}, at most {longest:?}");
        assert!(median <= COST_MAX, "{costs:?}");
        // A stream of them ends nothing, either.
        for epoch in 0..500 {
            ask(&mut stranger, 1_000_000 + epoch);
        }
        // An epoch that has none behind it is no epoch.
        assert_eq!(ask(&mut stranger, i32::MAX), ErrorCode::InvalidRequest);
        let request = create_request(vec![creatable(&fresh("afterwards"), 1, &[])]);
        wait_until("topics are created", || {
            let answer = client.call(CREATE_TOPICS, &request);
            error(answer.topics[0].error_code) == ErrorCode::None
        });
    });
}
