//! The end: nothing befalls the broker any more. Whatever was left open is ended within the time
//! that transactions may take; copy jobs copy the rest; and the logs are read and judged.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use kafka_protocol::messages::{ListTransactionsRequest, OffsetFetchRequest};
use kafka_protocol::protocol::StrBytes;
use ottla_test_client::Connection;

use super::copier::{Copier, group_of, id_of};
use super::history::{IN, Place, TOPICS};
use super::plan::{JUMP_MS_MAX, Plan};
use super::post::LETTERS_LAST;
use super::reading::{self, Batch};
use super::requests::{self, code};
use super::session::{Client, Session};
use super::verdict;

/// What coordination takes beside the time of the transaction itself: looks for those that take
/// too long, records, markers.
const COORDINATION: Duration = Duration::from_secs(3);
/// Virtual time within which a job copies everything.
const COPIED_WITHIN: Duration = Duration::from_secs(60);

/// What a log holds: its batches, and what readers of what is committed are given.
pub struct Drained {
    pub batches: Vec<Batch>,
    pub committed: Vec<(i64, String)>,
}

/// Every partition's.
pub type Logs = BTreeMap<Place, Drained>;

/// All partitions of a world.
pub fn places(plan: &Plan) -> Vec<Place> {
    let partitions = |topic| (0..plan.partitions).map(move |partition| Place { topic, partition });
    (0..TOPICS.len()).flat_map(partitions).collect()
}

/// Waits until nothing is open any more.
pub async fn settle(client: &Client, plan: &Plan) {
    let clock = client.runtime.clock();
    clock.sleep(LETTERS_LAST).await;
    // A wall clock that went back makes a transaction longer.
    let jumped = if plan.clock_jumps { plan.lives * 20 * JUMP_MS_MAX } else { 0 };
    let patience = Duration::from_millis(plan.timeout_ms + jumped) + COORDINATION;
    let until = clock.now().after(patience);
    loop {
        let open = match client.connect().await {
            None => return,
            Some(mut connection) => what_is_open(client, &mut connection, plan).await,
        };
        match open {
            Ok(None) => return,
            Ok(Some(what)) if clock.now() > until => {
                return client.findings.violated(format!("{what} after {patience:?}"));
            }
            Err(error) if clock.now() > until => {
                return client.findings.violated(format!("nothing settles: {error}"));
            }
            _ => client.pause(50, 100).await,
        }
    }
}

/// Something that is not at its end.
async fn what_is_open(
    client: &Client,
    connection: &mut Connection,
    plan: &Plan,
) -> io::Result<Option<String>> {
    for place in places(plan) {
        let Some(piece) = client.piece(connection, place, 0, true).await? else {
            return Ok(Some(format!("{place} cannot be read")));
        };
        if piece.stable != piece.high {
            let (stable, high) = (piece.stable, piece.high);
            return Ok(Some(format!("{place} ends at {high}, and is stable to {stable}")));
        }
    }
    for job in 0..plan.copiers.len() as u32 {
        let find = requests::find(&group_of(job), 0);
        let found = connection.call::<kafka_protocol::messages::FindCoordinatorRequest>(4, &find);
        client.answer(found).await?;
        let request = requests::stable_offsets(&group_of(job), IN, plan.partitions);
        let call = connection.call::<OffsetFetchRequest>(9, &request);
        let answer = client.answer(call).await?;
        let group = &answer.groups[0];
        let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
        let mut errors = partitions.map(|it| it.error_code).chain([group.error_code]);
        if let Some(error) = errors.find(|error| *error != code::NONE) {
            return Ok(Some(format!("the offsets of job {job} are told as {error}")));
        }
    }
    let open = ["Ongoing", "PrepareCommit", "PrepareAbort"].map(StrBytes::from_static_str);
    let request = ListTransactionsRequest::default().with_state_filters(open.to_vec());
    let call = connection.call::<ListTransactionsRequest>(0, &request);
    let answer = client.answer(call).await?;
    Ok(match (answer.error_code, answer.transaction_states.first()) {
        (code::NONE, None) => None,
        (code::NONE, Some(open)) => Some(format!("{open:?}")),
        (error, _) => Some(format!("transactions are not told: {error}")),
    })
}

/// Lets each job copy the rest; how far they are.
pub async fn copy_rest(client: &Client, plan: &Plan) -> Vec<Vec<i64>> {
    let mut ends = Vec::new();
    for (job, speaks) in plan.copiers.iter().enumerate() {
        let job = job as u32;
        let mut session = Session::new(client.clone(), id_of(job), *speaks, plan.timeout_ms);
        session.is_careful = true;
        let mut copier = Copier::new(session, job, plan.partitions);
        let all = async {
            copier.copy_all().await;
            copier.committed().await
        };
        match client.runtime.clock().timeout(COPIED_WITHIN, all).await {
            Some(Some(positions)) => ends.push(positions),
            Some(None) => return ends,
            None => client.findings.violated(format!("job {job} does not get done")),
        }
    }
    ends
}

/// Reads everything, and judges it.
pub async fn judge(client: &Client, plan: &Plan, ends: &[Vec<i64>]) {
    let mut logs = Logs::new();
    for place in places(plan) {
        let Some(drained) = drain(client, place).await else { return };
        logs.insert(place, drained);
    }
    let found = verdict::of(&client.model(), &logs, plan, ends);
    for what in found {
        client.findings.violated(what);
    }
}

/// Reads a log to its end, twice: all of it, and what is committed.
async fn drain(client: &Client, place: Place) -> Option<Drained> {
    let mut drained = Drained { batches: Vec::new(), committed: Vec::new() };
    for committed in [false, true] {
        let mut from = 0;
        'connected: while !client.is_over() {
            let mut connection = client.connect().await?;
            while !client.is_over() {
                let piece = client.piece(&mut connection, place, from, committed).await;
                let Ok(piece) = piece else { continue 'connected };
                let Some(piece) = piece else {
                    client.pause(5, 50).await;
                    continue;
                };
                let (next, high) = (piece.next(from), piece.high);
                match committed {
                    true => drained.committed.extend(reading::note(client, place, from, piece)),
                    false => drained.batches.extend(piece.batches),
                }
                from = next;
                if from >= high {
                    break 'connected;
                }
            }
        }
    }
    (!client.is_over()).then_some(drained)
}
