//! Files as the tools read them: segments, their indexes, and snapshots of producers, each beside
//! the sound files of its directory.
//!
//! The damaged file lies in a directory of the system's for such things, which is removed at the
//! end.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use ottla_node::tool::dump::{Decoder, DumpRequest, Findings, IndexMode, dump_log};
use ottla_runtime::{Disk, Runtime};
use ottla_storage::examine;

use crate::targets::Target;

const LOG: &str = "00000000000000000000.log";

macro_rules! kafka_file {
    ($name:literal) => {
        include_bytes!(concat!("../clients/data/kafka-4.3.1/", $name))
    };
}

const CODECS: &[u8] = kafka_file!("codecs-0/00000000000000000000.log");
const TRANSACTIONS: &[u8] = kafka_file!("txn-0/00000000000000000000.log");
const INDEX: &[u8] = kafka_file!("txn-0/00000000000000000000.index");
const TIME_INDEX: &[u8] = kafka_file!("txn-0/00000000000000000000.timeindex");
const TXN_INDEX: &[u8] = kafka_file!("txn-0/00000000000000000000.txnindex");
const SNAPSHOT: &[u8] = kafka_file!("txn-0/00000000000000000007.snapshot");
const METADATA: &[u8] =
    kafka_file!("__cluster_metadata-0/00000000000000000097-0000000001.checkpoint");

/// A directory that goes when the target does.
struct Place {
    disk: Disk,
    dir: PathBuf,
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left lies where such things are cleared away.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A target for each kind of file.
pub fn all() -> Vec<Target> {
    vec![
        file("file-segment", LOG, &[CODECS, TRANSACTIONS], true),
        file("file-index", "00000000000000000000.index", &[INDEX], false),
        file("file-timeindex", "00000000000000000000.timeindex", &[TIME_INDEX], false),
        file("file-txnindex", "00000000000000000000.txnindex", &[TXN_INDEX], false),
        file("file-snapshot", "00000000000000000007.snapshot", &[SNAPSHOT], false),
        file("file-checkpoint", "00000000000000000097-0000000001.checkpoint", &[METADATA], false),
    ]
}

fn place(target: &str) -> Place {
    let disk = Runtime::run(1, |runtime: Runtime| async move { runtime.disk().clone() })
        .expect("threads can be had");
    let dir = std::env::temp_dir().join(format!("ottla-fuzz-{}-{target}", std::process::id()));
    fs::create_dir_all(&dir).expect("the system has a directory for such things");
    fs::write(dir.join(LOG), TRANSACTIONS).expect("and room there");
    Place { disk, dir }
}

fn file(name: &str, file: &'static str, inputs: &[&[u8]], is_log: bool) -> Target {
    let place = AssertUnwindSafe(place(name));
    let mut target = Target::new(name, inputs, move |bytes| read(&place, file, bytes, is_log));
    // The tool decompresses a batch to 1 GiB at most, whatever it takes.
    target.fixed = 1 << 30;
    if is_log { target.mending(crate::targets::mend_batches) } else { target }
}

/// Reads the file as the tools do; whether nothing is wrong with it.
fn read(place: &AssertUnwindSafe<Place>, file: &str, bytes: &[u8], is_log: bool) -> bool {
    let path = place.dir.join(file);
    fs::write(&path, bytes).expect("there is room");
    let request = DumpRequest {
        files: vec![path.display().to_string()],
        deep: true,
        decoder: Some(Decoder::Text),
        skip_record_metadata: false,
        index: IndexMode::Dump,
        max_message_size: 5 << 20,
        max_bytes: None,
    };
    let (mut out, mut err) = (std::io::sink(), std::io::sink());
    let found = dump_log(&place.disk, &request, &mut out, &mut err).expect("sinks take all");
    if is_log {
        let mut batches = 0;
        let whole = examine(&place.disk, Path::new(&place.dir), true, |_, _| batches += 1);
        std::hint::black_box((whole.is_ok(), batches));
    }
    // Kafka's time index of a transaction does not agree with its log, which is not damage here.
    found == Findings::Sound || file.ends_with("timeindex")
}
