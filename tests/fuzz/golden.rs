//! What Apache Kafka was asked (`tests/oracle/golden*.txt`), as inputs of the decoders of requests:
//! every version, with fields empty, filled and wrong.

use ottla_protocol::ApiKey;

/// Key, version, name of the row, body of the request, and what Kafka answered.
const GOLDEN: &str =
    concat!(include_str!("../oracle/golden.txt"), include_str!("../oracle/golden-quorum.txt"));
/// Longest input: rows about limits are long, and are damaged elsewhere.
const LEN_MAX: usize = 2_000;

/// The requests for a target, in the form in which it takes them.
pub fn of_target(target: &str) -> Vec<Vec<u8>> {
    let Some(api) = target.strip_prefix("request-") else { return Vec::new() };
    GOLDEN.lines().filter_map(|line| frame(line, api)).collect()
}

fn frame(line: &str, api: &str) -> Option<Vec<u8>> {
    let mut columns = line.split('\t');
    let (key, version) = (columns.next()?.parse().ok()?, columns.next()?.parse::<i16>().ok()?);
    let key = ApiKey::from_code(key).filter(|key| key.name() == api)?;
    let body = columns.nth(1)?;
    let mut frame = [key.code().to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend(b"\0\0\0\x07\0\x04fuzz");
    if key.is_flexible(version) {
        frame.push(0);
    }
    if body != "-" {
        let byte = |at| u8::from_str_radix(body.get(at..at + 2)?, 16).ok();
        frame.extend((0..body.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?);
    }
    (frame.len() <= LEN_MAX).then_some(frame)
}
