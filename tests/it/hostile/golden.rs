//! What Apache Kafka was asked (`tests/oracle/golden*.txt`), damaged: every API in every version,
//! with fields empty, filled and wrong, of which no good one is left.

use std::collections::BTreeMap;

use ottla_protocol::ApiKey;

use super::case::framed;
use super::mutated::{Bad, Dice, damage};

/// Key, version, name of the row, body of the request, and what Kafka answered.
const GOLDEN: &str = concat!(
    include_str!("../../oracle/golden.txt"),
    include_str!("../../oracle/golden-quorum.txt")
);
const CLIENT_ID: &[u8] = b"golden";

/// A request of the file as it was sent, without its length.
fn request(line: &str) -> Option<(i16, Vec<u8>)> {
    let mut columns = line.split('\t');
    let (key, version) = (columns.next()?.parse().ok()?, columns.next()?.parse::<i16>().ok()?);
    let body = columns.nth(1)?;
    let api = ApiKey::from_code(key)?;
    let mut request = [key.to_be_bytes(), version.to_be_bytes()].concat();
    request.extend([0, 0, 0, 7]);
    request.extend((CLIENT_ID.len() as i16).to_be_bytes());
    request.extend(CLIENT_ID);
    if api.is_flexible(version) {
        request.push(0);
    }
    if body != "-" {
        let byte = |at| u8::from_str_radix(body.get(at..at + 2)?, 16).ok();
        request.extend((0..body.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?);
    }
    Some((key, request))
}

/// `count` damaged requests of the APIs that `shown` knows; each API has as many. Some are for the
/// controller.
pub fn bad_requests(shown: impl Fn(i16) -> bool, seed: u64, count: usize) -> Vec<Bad> {
    let mut by_key: BTreeMap<i16, Vec<Vec<u8>>> = BTreeMap::new();
    for (key, request) in GOLDEN.lines().filter_map(request).filter(|(key, _)| shown(*key)) {
        by_key.entry(key).or_default().push(request);
    }
    let apis: Vec<&Vec<Vec<u8>>> = by_key.values().collect();
    let mut dice = Dice::new(seed);
    let bad = (0..count).map(|index| {
        let rows = apis[index % apis.len()];
        let mut request = rows[dice.below(rows.len())].clone();
        damage(&mut request, &mut dice);
        Bad { bytes: framed(&request), to_controller: dice.below(5) == 0 }
    });
    bad.collect()
}

#[test]
fn every_row_is_read() {
    let rows = GOLDEN.lines().count();
    let read = GOLDEN.lines().filter_map(request).count();
    assert!(rows >= 2_000 && read * 2 >= rows, "{read} of {rows} rows");
}
