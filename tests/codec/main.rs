//! Our side of the codec oracle: `codec-cases list` names every record schema with its versions;
//! `codec-cases read CASES OUT` reads the cases that Kafka's generated classes wrote.
//!
//! A case is a line: name of the schema, version, the message in hex, its JSON. Each must be read,
//! be written again as the same bytes, and give the same JSON. Then the value is written in every
//! other version that the schema has, as lines of the same form, for Kafka's classes to read.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test's program lives in the real world"
)]

mod schemas;

use std::fmt::Write;
use std::process::ExitCode;

use schemas::{SCHEMAS, Schema};

/// Mistakes that are shown.
const SHOWN_MAX: usize = 20;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => {
            for Schema { name, low, high, .. } in SCHEMAS {
                println!("{name} {low} {high}");
            }
            Ok(())
        }
        ["read", cases, out] => read(cases, out),
        _ => Err("codec-cases list | codec-cases read CASES OUT".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("codec-cases: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn read(cases: &str, out: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(cases).map_err(|error| error.to_string())?;
    let (mut written, mut mistakes, mut count) = (String::new(), Vec::new(), 0);
    for line in text.lines() {
        count += 1;
        if let Err(reason) = case(line, &mut written) {
            mistakes.push(format!("{reason}: {line}"));
        }
    }
    std::fs::write(out, &written).map_err(|error| error.to_string())?;
    println!("{count} read, {} written", written.lines().count());
    if mistakes.is_empty() {
        return Ok(());
    }
    let more = mistakes.len().saturating_sub(SHOWN_MAX);
    mistakes.truncate(SHOWN_MAX);
    Err(format!("{}\nand {more} more", mistakes.join("\n")))
}

fn case(line: &str, written: &mut String) -> Result<(), String> {
    let fields: Vec<&str> = line.splitn(4, ' ').collect();
    let [name, version, hex, json] = fields[..] else { return Err("no case".to_owned()) };
    let version: i16 = version.parse().map_err(|_| "no version".to_owned())?;
    let schema = SCHEMAS.iter().find(|schema| schema.name == name).ok_or("no such schema")?;
    let bytes = from_hex(hex).ok_or("no hex")?;
    let (again, own_json) = (schema.recode)(&bytes, version, version)?;
    if again != bytes {
        return Err(format!("is written as {}", to_hex(&again)));
    }
    if own_json != json {
        return Err(format!("has the JSON {own_json}"));
    }
    for other in (schema.low..=schema.high).filter(|other| *other != version) {
        let (bytes, json) = (schema.recode)(&bytes, version, other)?;
        let _ = writeln!(written, "{name} {other} {} {json}", to_hex(&bytes));
    }
    Ok(())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
