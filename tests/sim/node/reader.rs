//! A consumer that reads anywhere, again and again: what was there once must stay there.

use std::io;

use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest};
use ottla_test_client::{Connection, records_of};

use super::client::{Client, Phase};
use super::compacted;
use super::model::Topic;
use super::wire::{self, BY_ID, code};

/// Latest offset, as ListOffsets asks for it.
const LATEST: i64 = -1;
/// Earliest offset.
const EARLIEST: i64 = -2;

/// Reads until the world ends.
pub async fn run(client: Client) {
    while *client.phase.borrow() == Phase::Load && !client.is_over() {
        let Some(mut connection) = client.connect().await else { return };
        while let Ok(()) = look_somewhere(&client, &mut connection).await {
            if *client.phase.borrow() != Phase::Load || client.is_over() {
                return;
            }
            client.pause(0, 40).await;
        }
        client.pause(1, 20).await;
    }
}

async fn look_somewhere(client: &Client, connection: &mut Connection) -> io::Result<()> {
    let topics = client.model().existing();
    if topics.is_empty() {
        return Ok(());
    }
    let topic = client.dice.pick(&topics);
    let partition = client.dice.below(topic.partitions.unsigned_abs().into()) as i32;
    if topic.stable && client.dice.chance(25) {
        return list(client, connection, &topic, partition).await;
    }
    let floor = client.model().floor((topic.id, partition));
    let from = client.dice.below(floor.unsigned_abs() + 1) as i64;
    read_some(client, connection, &topic, partition, from).await.map(drop)
}

async fn list(
    client: &Client,
    connection: &mut Connection,
    topic: &Topic,
    partition: i32,
) -> io::Result<()> {
    let place = (topic.id, partition);
    let (floor, start) = client.model().bounds(place);
    let earliest = client.dice.chance(20);
    let request = wire::list_offsets(topic, partition, if earliest { EARLIEST } else { LATEST });
    let version = client.dice.between(1, 10) as i16;
    let call = connection.call::<ListOffsetsRequest>(version, &request);
    let response = client.answer(call).await?;
    match wire::listed_offset(&response) {
        Some((code::NONE, offset)) if earliest => {
            client.check(client.model().saw_start(place, offset, start));
        }
        Some((code::NONE, offset)) if !earliest && offset >= floor => {
            client.model().saw_end(place, offset);
        }
        Some((code::NOT_LEADER_OR_FOLLOWER | code::KAFKA_STORAGE_ERROR, _)) => {}
        other => client.findings.violated(format!(
            "{place:?} lists {other:?} (earliest: {earliest}), {floor} were promised"
        )),
    }
    Ok(())
}

/// Fetches from `from`, and checks every record; tells the offset behind the last one, or where the
/// log begins when that is behind `from`.
pub async fn read_some(
    client: &Client,
    connection: &mut Connection,
    topic: &Topic,
    partition: i32,
    from: i64,
) -> io::Result<i64> {
    let place = (topic.id, partition);
    let (floor, start) = client.model().bounds(place);
    let bytes_max = client.dice.pick(&[1, 500, 3_000, 100_000]);
    let request = wire::fetch(topic, partition, from, bytes_max);
    let by_name = topic.stable && client.dice.chance(50);
    let version = if by_name {
        client.dice.between(4, BY_ID as u64 - 1)
    } else {
        client.dice.between(BY_ID as u64, 18)
    } as i16;
    let asked = client.model().fetches();
    let response = client.answer(connection.call::<FetchRequest>(version, &request)).await?;
    let Some(fetched) = wire::fetched(&response) else {
        client.findings.violated(format!("{place:?} was not answered"));
        return Ok(from);
    };
    if fetched.log_start >= 0 {
        client.check(client.model().saw_start(place, fetched.log_start, start));
    }
    match fetched.error {
        code::NONE => {}
        code::OFFSET_OUT_OF_RANGE => {
            // Nobody asks for more than was there, so the log begins above.
            let above = from + 1;
            client.check(client.model().saw_start(place, above, 0));
            return Ok(above);
        }
        code::UNKNOWN_TOPIC_ID if client.model().may_be_gone(topic.id) => return Ok(from),
        code::UNKNOWN_TOPIC_OR_PARTITION if client.model().may_be_gone(topic.id) => {
            return Ok(from);
        }
        code::NOT_LEADER_OR_FOLLOWER | code::KAFKA_STORAGE_ERROR => return Ok(from),
        other => {
            client.findings.violated(format!("{place:?} fetched at {from}: error {other}"));
            return Ok(from);
        }
    }
    if fetched.high_watermark < floor {
        let high_watermark = fetched.high_watermark;
        client.findings.violated(format!(
            "{place:?} has the high watermark {high_watermark}, {floor} were promised"
        ));
    }
    let next = if topic.compacted {
        check_compacted(client, place, from, asked, &fetched)
    } else {
        check_records(client, place, from, &fetched)
    };
    if next == from && from < floor {
        client.findings.violated(format!("{place:?} gives nothing at {from} of {floor}"));
    }
    client.model().saw_end(place, fetched.high_watermark);
    Ok(next)
}

fn check_records(
    client: &Client,
    place: super::model::Place,
    from: i64,
    fetched: &wire::Fetched,
) -> i64 {
    let mut next = from;
    match records_of(&fetched.records) {
        Err(error) => client.findings.violated(format!("{place:?} at {from}: {error}")),
        Ok(records) => {
            // A batch is sent whole, also for an offset in its middle.
            for record in records.iter().filter(|record| record.offset >= from) {
                if record.offset != next || record.offset >= fetched.high_watermark {
                    let (at, end) = (record.offset, fetched.high_watermark);
                    let what = format!("{place:?} gives {at} instead of {next}, end is {end}");
                    client.findings.violated(what);
                }
                next = record.offset + 1;
                client.findings.count(|stats| stats.read += 1);
                client.check(client.model().read(place, record.offset, &record.value));
            }
        }
    }
    next
}

/// The same of a log that is compacted: what is passed over is gone.
fn check_compacted(
    client: &Client,
    place: super::model::Place,
    from: i64,
    asked: u64,
    fetched: &wire::Fetched,
) -> i64 {
    let mut next = from;
    let records = match records_of(&fetched.records) {
        Err(error) => {
            client.findings.violated(format!("{place:?} at {from}: {error}"));
            return next;
        }
        Ok(records) => records,
    };
    for record in records.iter().filter(|record| record.offset >= from) {
        let offset = record.offset;
        if offset < next || offset >= fetched.high_watermark {
            let end = fetched.high_watermark;
            let what = format!("{place:?} gives {offset} behind {next}, end is {end}");
            client.findings.violated(what);
        }
        note_gone(client, place, next, offset);
        next = offset + 1;
        client.findings.count(|stats| stats.read += 1);
        client.check(client.model().check_back(place, offset, asked));
        client.check(client.model().read(place, offset, compacted::named(record)));
    }
    if let Some(end) = compacted::end_of(&fetched.records).filter(|end| *end > next) {
        note_gone(client, place, next, end);
        next = end;
    }
    next
}

fn note_gone(client: &Client, place: super::model::Place, next: i64, offset: i64) {
    client.findings.count(|stats| stats.compacted += (offset - next).max(0).unsigned_abs());
    client.model().passed(place, next, offset);
}
