//! `ottla dump-log`: the options of Kafka's `kafka-dump-log`.
//!
//! What it prints on standard output is Kafka's. It ends with 1 where something is wrong with a
//! file, which Kafka's tool only says; wrong arguments are 1 as well.

use std::io::{BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use clap::Args;
use ottla_node::tool::dump::{Decoder, DumpRequest, Findings, IndexMode, dump_log};

use crate::storage::{FAILED, on_machine};

/// The only class of decoders that is built in.
const STRING_DECODER: &str = "org.apache.kafka.tools.api.StringDecoder";
/// Kafka's default of `--max-message-size`, bytes.
const MESSAGE_BYTES_MAX: &str = "5242880";

#[derive(Args)]
pub(crate) struct DumpLog {
    /// The files: .log, .checkpoint, .index, .timeindex, .txnindex or .snapshot.
    #[arg(long, required = true, value_delimiter = ',', value_name = "FILE,...")]
    files: Vec<String>,
    /// Goes through the records of each batch.
    #[arg(long)]
    deep_iteration: bool,
    /// Prints keys and values; goes through the records.
    #[arg(long)]
    print_data_log: bool,
    /// Shows records of __consumer_offsets.
    #[arg(long)]
    offsets_decoder: bool,
    /// Shows records of __transaction_state.
    #[arg(long)]
    transaction_log_decoder: bool,
    /// Shows records of the metadata log.
    #[arg(long)]
    cluster_metadata_decoder: bool,
    /// Shows records of __share_group_state.
    #[arg(long)]
    share_group_state_decoder: bool,
    /// Refused: tiered storage is not built yet.
    #[arg(long)]
    remote_log_metadata_decoder: bool,
    /// Shows keys with this class, which can only be the StringDecoder.
    #[arg(long, value_name = "CLASS", num_args = 0..=1, default_missing_value = STRING_DECODER)]
    key_decoder_class: Option<String>,
    /// Shows values with this class, which can only be the StringDecoder.
    #[arg(long, value_name = "CLASS", num_args = 0..=1, default_missing_value = STRING_DECODER)]
    value_decoder_class: Option<String>,
    /// Prints only keys and values of a record; nothing of control records.
    #[arg(long)]
    skip_record_metadata: bool,
    /// Holds indexes against the log without printing their entries.
    #[arg(long)]
    verify_index_only: bool,
    /// Checks of an index only what a start looks at.
    #[arg(long)]
    index_sanity_check: bool,
    /// Largest batch that an index entry may point to, bytes.
    #[arg(long, value_name = "BYTES", default_value = MESSAGE_BYTES_MAX,
        value_parser = clap::value_parser!(u64).range(..=i32::MAX as u64))]
    max_message_size: u64,
    /// Reads only the batches within so many bytes.
    #[arg(long, value_name = "BYTES",
        value_parser = clap::value_parser!(u64).range(..=i32::MAX as u64))]
    max_bytes: Option<u64>,
}

/// Dumps the files.
pub(crate) fn run(arguments: &DumpLog) -> ExitCode {
    let done = request(arguments).and_then(|request| {
        on_machine(move |runtime| {
            let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
            let mut err = std::io::stderr().lock();
            match dump_log(runtime.disk(), &request, &mut out, &mut err) {
                // Whoever read this has seen enough.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Findings::Sound),
                done => done.map_err(|error| error.to_string()),
            }
        })
        .and_then(|done| done)
    });
    match done {
        Ok(Findings::Sound) => ExitCode::SUCCESS,
        Ok(Findings::Damage) => ExitCode::from(FAILED),
        Err(reason) => {
            // Nothing is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "ottla: {reason}");
            ExitCode::from(FAILED)
        }
    }
}

fn request(arguments: &DumpLog) -> Result<DumpRequest, String> {
    let decoder = decoder(arguments)?;
    Ok(DumpRequest {
        files: arguments.files.clone(),
        deep: arguments.deep_iteration || decoder.is_some(),
        decoder,
        skip_record_metadata: arguments.skip_record_metadata,
        index: match (arguments.index_sanity_check, arguments.verify_index_only) {
            (true, _) => IndexMode::Sanity,
            (false, true) => IndexMode::Verify,
            (false, false) => IndexMode::Dump,
        },
        max_message_size: arguments.max_message_size,
        // Kafka's default is the largest number, and means none.
        max_bytes: arguments.max_bytes.filter(|bytes| *bytes < i32::MAX as u64),
    })
}

/// The first of the decoders that were asked for, in Kafka's order.
fn decoder(arguments: &DumpLog) -> Result<Option<Decoder>, String> {
    let classes =
        [("key", &arguments.key_decoder_class), ("value", &arguments.value_decoder_class)];
    for (what, class) in classes {
        if let Some(class) = class
            && class != STRING_DECODER
        {
            return Err(format!(
                "--{what}-decoder-class {class} is refused: only {STRING_DECODER} is built in, and \
                 Java classes cannot be loaded"
            ));
        }
    }
    let has_class = classes.iter().any(|(_, class)| class.is_some());
    if arguments.offsets_decoder {
        return Ok(Some(Decoder::Offsets));
    }
    if arguments.transaction_log_decoder {
        return Ok(Some(Decoder::Transactions));
    }
    if arguments.cluster_metadata_decoder {
        return Ok(Some(Decoder::Metadata));
    }
    if arguments.remote_log_metadata_decoder {
        return Err(
            "--remote-log-metadata-decoder is refused: tiered storage is not built yet".to_owned()
        );
    }
    if arguments.share_group_state_decoder {
        return Ok(Some(Decoder::ShareState));
    }
    Ok((arguments.print_data_log || has_class).then_some(Decoder::Text))
}
