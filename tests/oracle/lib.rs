//! The differential oracle: what Apache Kafka answers, recorded, and what Ottla answers beside it.
//!
//! ```text
//!   schemas.txt  (from Kafka's classes)  ─┐
//!   cases/*.txt  (what is asked)         ─┼─ record ─ Kafka ─> golden.txt, golden-quorum.txt
//!   differences.txt (what differs, why)  ─┴─ replay ─ Ottla ─> a report
//! ```
//!
//! Each of a node's two listeners has its rows and its recording, made with a Kafka of its own.
//! `scripts/oracle record` starts Kafka and writes them; `tests/it/oracle.rs` asks Ottla the same,
//! in the same order, and needs no Java. The first rows bring both sides into the same state.
//! Requests for an API that Ottla does not show yet are counted and not sent. Whoever adds an API
//! adds rows, records, and gets a failing test until the answers are Kafka's.

mod cases;
mod compare;
mod exchange;
mod expression;
mod replay;
mod schema;
mod value;

use std::net::SocketAddr;
use std::time::Duration;

use cases::{Case, Known};
use exchange::{Answer, Asker, Exchange, answered, passes, read};
pub use replay::{Report, replay, show};
use schema::{Schemas, Version};

const API_VERSIONS: i16 = 18;
const SCHEMAS: &str = include_str!("schemas.txt");
/// How long Kafka has for an answer, and Ottla where Kafka had one.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often, and with which pause, is asked again what settles.
const SETTLES_MAX: usize = 100;
const SETTLE_PAUSE: Duration = Duration::from_millis(100);
/// How long is waited for an answer that Kafka did not give either.
const SILENCE: Duration = Duration::from_millis(150);

/// A listener of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listener {
    /// That of clients.
    Clients,
    /// That of the quorum, which tools ask as well (`--bootstrap-controller`).
    Quorum,
}

impl Listener {
    /// What is asked, in this order.
    fn cases(self) -> &'static [&'static str] {
        match self {
            Listener::Clients => &[
                include_str!("cases/state.txt"),
                include_str!("cases/reading.txt"),
                include_str!("cases/writing.txt"),
                include_str!("cases/admin.txt"),
                include_str!("cases/groups.txt"),
                include_str!("cases/members.txt"),
                include_str!("cases/consumers.txt"),
                include_str!("cases/migration.txt"),
            ],
            Listener::Quorum => &[include_str!("cases/quorum.txt")],
        }
    }

    fn golden(self) -> &'static str {
        match self {
            Listener::Clients => include_str!("golden.txt"),
            Listener::Quorum => include_str!("golden-quorum.txt"),
        }
    }
}

fn tables(listener: Listener) -> Result<(Schemas, Vec<Case>), String> {
    let schemas = schema::parse(SCHEMAS)?;
    let cases = cases::parse(listener.cases(), &schemas)?;
    Ok((schemas, cases))
}

/// Asks Kafka everything on one of its listeners; gives the golden file.
///
/// # Errors
/// A row that cannot be read, or a broker that is gone.
pub fn record(listener: Listener, address: SocketAddr) -> Result<String, String> {
    let (schemas, cases) = tables(listener)?;
    let mut asker = Asker::new(address, PATIENCE);
    let (mut known, mut golden) = (Known::default(), String::new());
    let shown = asker.shown(&schemas[&API_VERSIONS])?;
    for (case, number) in in_order(&cases, &schemas) {
        if !shown.contains_key(&case.api) {
            continue;
        }
        let api = &schemas[&case.api];
        let version = &api.versions[&number];
        let request = case.request(version, number, &known)?;
        let place = format!("{} / {} v{number}", api.name, case.name);
        let answer = ask_patiently(&mut asker, case, number, version, &request);
        let answer = answer.map_err(|error| format!("{place}: {error}"))?;
        if let (Answer::Body(bytes), Some(of)) = (&answer, answered(api, case, number)) {
            let said = read(bytes, of).map_err(|error| format!("{place}: {error}"))?;
            known.learn(&case.name, &said);
        }
        let name = case.name.clone();
        let exchange = Exchange { api: case.api, version: number, name, request, answer };
        golden.push_str(&exchange.line());
    }
    Ok(golden)
}

/// Whether an answer is one that passes.
fn has_to_settle(answer: &Answer, version: &Version) -> bool {
    match answer {
        Answer::Body(bytes) => read(bytes, &version.answered).is_ok_and(|said| passes(&said)),
        _ => false,
    }
}

/// Asks Kafka, and asks again what settles.
fn ask_patiently(
    asker: &mut Asker,
    case: &Case,
    number: i16,
    version: &Version,
    request: &[u8],
) -> Result<Answer, String> {
    let deadline = if case.settles { SETTLES_MAX } else { 1 };
    for attempt in 1.. {
        let answer = asker.ask(case.api, sent_as(case, number), version, request)?;
        if attempt >= deadline || !has_to_settle(&answer, version) {
            return Ok(answer);
        }
        std::thread::sleep(SETTLE_PAUSE);
    }
    unreachable!("attempts end")
}

fn in_order<'a>(cases: &'a [Case], schemas: &'a Schemas) -> impl Iterator<Item = (&'a Case, i16)> {
    cases.iter().flat_map(|case| {
        let (first, last) = case.versions;
        let versions = schemas[&case.api].versions.range(first..=last);
        versions.map(move |(number, _)| (case, *number))
    })
}

fn sent_as(case: &Case, number: i16) -> i16 {
    number + i16::from(matches!(case.body, cases::Body::TooNew))
}
