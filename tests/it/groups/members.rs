//! Members of groups: what they are told when the broker dies and comes back.

use kafka_protocol::messages::{DescribeGroupsRequest, HeartbeatRequest};
use ottla_types::ErrorCode;

use super::{Member, member_of, sync_request};
use crate::client::Client;
use crate::node::{Setup, wait_until};
use crate::requests::{error, text};

fn heartbeat(client: &mut Client, group: &str, member: &Member) -> ErrorCode {
    let request = HeartbeatRequest::default()
        .with_group_id(text(group).into())
        .with_member_id(text(&member.id))
        .with_generation_id(member.generation);
    error(client.call(4, &request).error_code)
}

#[test]
fn a_stable_group_outlives_a_kill() {
    let mut node = Setup::new().with("group.initial.rebalance.delay.ms", 0).start();
    let client = &mut node.connect();
    let member = member_of(client, "g", 9);
    let answer = client.call(5, &sync_request("g", &member, 5));
    assert_eq!(error(answer.error_code), ErrorCode::None);
    node.crash();
    let client = &mut node.connect();
    // Loading is well for a heartbeat, so the assignment is asked for.
    wait_until("the group is loaded", || {
        let answer = client.call(5, &sync_request("g", &member, 5));
        error(answer.error_code) == ErrorCode::None && &*answer.assignment == b"all"
    });
    assert_eq!(heartbeat(client, "g", &member), ErrorCode::None);
    let later = Member { generation: 2, ..member };
    assert_eq!(heartbeat(client, "g", &later), ErrorCode::IllegalGeneration);
}

#[test]
fn a_silent_member_is_out() {
    let setup = Setup::new()
        .with("group.initial.rebalance.delay.ms", 0)
        .with("group.min.session.timeout.ms", 100);
    let node = setup.start();
    let client = &mut node.connect();
    super::find_coordinator_of(client, "g");
    let mut request = super::join_request("g", "");
    request.session_timeout_ms = 300;
    let answer = client.call(3, &request);
    assert_eq!(error(answer.error_code), ErrorCode::None);
    let member = Member {
        id: answer.member_id.to_string(),
        generation: answer.generation_id,
        leader: answer.leader.to_string(),
    };
    let answer = client.call(5, &sync_request("g", &member, 5));
    assert_eq!(error(answer.error_code), ErrorCode::None);
    // A heartbeat would keep it.
    let asked = DescribeGroupsRequest::default().with_groups(vec![text("g").into()]);
    wait_until("it is out", || client.call(5, &asked).groups[0].members.is_empty());
    assert_eq!(heartbeat(client, "g", &member), ErrorCode::UnknownMemberId);
}
