//! All scenarios: what they measure, how long they take with Apache Kafka on two quiet processors,
//! and how long they may.

use crate::Failure;
use crate::results::Report;
use crate::run::Context;
use crate::{
    cleaner, durable, fetch, group_life, idle, latency, many, produce, requests, restart, start,
    transactions,
};

/// A scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// What it takes.
    pub(crate) seconds: u64,
    /// Behind this it is ended.
    pub(crate) limit: u64,
    pub(crate) measure: fn(&Context, &mut Report) -> Result<(), Failure>,
}

/// In the order in which they are run and shown.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "produce",
        about: "batches of 1 MiB, 64 KiB and 16 KiB, to 1 and 64 partitions",
        seconds: 200,
        limit: 480,
        measure: produce::measure,
    },
    Scenario {
        name: "codecs",
        about: "batches that were compressed with lz4 and zstd",
        seconds: 100,
        limit: 300,
        measure: produce::measure_codecs,
    },
    Scenario {
        name: "small",
        about: "requests of one record of 100 B",
        seconds: 50,
        limit: 180,
        measure: requests::measure_produce,
    },
    Scenario {
        name: "fetch",
        about: "fetches of a log from its front",
        seconds: 40,
        limit: 180,
        measure: fetch::measure,
    },
    Scenario {
        name: "fan-out",
        about: "one producer and ten consumers",
        seconds: 65,
        limit: 180,
        measure: latency::measure_fan_out,
    },
    Scenario {
        name: "requests",
        about: "ApiVersions, and Metadata of 10 and 1,000 topics",
        seconds: 60,
        limit: 180,
        measure: requests::measure_metadata,
    },
    Scenario {
        name: "groups",
        about: "heartbeats of both protocols, OffsetCommit, and new partitions of a group",
        seconds: 90,
        limit: 180,
        measure: requests::measure_groups,
    },
    Scenario {
        name: "latency",
        about: "messages on their way at 1,000 and 10,000 a second",
        seconds: 150,
        limit: 300,
        measure: latency::measure_fixed,
    },
    Scenario {
        name: "latency-most",
        about: "the same at the highest rate that both sustain, with write-back",
        seconds: 200,
        limit: 420,
        measure: latency::measure_highest,
    },
    Scenario {
        name: "durable",
        about: "flush.messages=1 with 64 partitions and with one",
        seconds: 110,
        limit: 240,
        measure: durable::measure,
    },
    Scenario {
        name: "start",
        about: "from exec to an open port and to the first record; memory at rest",
        seconds: 90,
        limit: 300,
        measure: start::measure,
    },
    Scenario {
        name: "idle",
        about: "idle connections and consumers that wait",
        seconds: 90,
        limit: 240,
        measure: idle::measure,
    },
    Scenario {
        name: "many",
        about: "a broker with 10,000 partitions",
        seconds: 230,
        limit: 480,
        measure: many::measure,
    },
    Scenario {
        name: "restart",
        about: "restarts with 1,000 partitions, and the speed of recovery",
        seconds: 160,
        limit: 480,
        measure: restart::measure,
    },
    Scenario {
        name: "group-life",
        about: "groups at rest, in restarts, and beside produce",
        seconds: 300,
        limit: 600,
        measure: group_life::measure,
    },
    Scenario {
        name: "cleaner",
        about: "compaction, and what it does to producers",
        seconds: 120,
        limit: 360,
        measure: cleaner::measure,
    },
    Scenario {
        name: "transactions",
        about: "small transactions, readers of committed records, and 100,000 producers",
        seconds: 150,
        limit: 400,
        measure: transactions::measure,
    },
];
