//! Runs the scripts of `txn/scripts`. `UPDATE=1` rewrites them: read the diff.
//!
//! | command | does |
//! |---|---|
//! | `start [version=N] [KEY=VALUE]...` | a shard with an empty log, of this "transaction.version" (2), with keys of `server.properties` |
//! | `init ID [as=PRODUCER] [timeout=MS]` | a producer begins; `as` says who it is |
//! | `add ID PRODUCER PARTITION... [version=N]` | adds partitions; a client of this version (2) |
//! | `verify ID PRODUCER PARTITION...` | asks whether they are in the transaction |
//! | `commit ID PRODUCER [version=N]`, `abort` | ends a transaction |
//! | `wait MS` | time passes |
//! | `hold`, `flush`, `refuse` | writes wait; are committed; are refused |
//! | `hold_markers`, `markers [PARTITION=ERROR]...` | markers are left unanswered; are answered |
//! | `load` | another coordinator takes over |
//! | `version N` | the cluster has another `transaction.version` |
//! | `next_id N` | the next producer id that is given |
//! | `logged ID STATE PRODUCER [PARTITION]... [value=N] [client=N] [next=ID] [started=MS]` | a record that "somebody else" wrote |
//! | `describe ID`, `list [producers=] [states=] [duration=]` | what operators are told |
//!
//! A PRODUCER is its id and epoch: `1/0`.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use ottla_types::{
    ErrorCode, Offset, PartitionId, ProducerEpoch, ProducerId, Timestamp, TopicName, TopicPartition,
};

use super::harness::{Ask, Harness};
use super::render;
use crate::txn::{
    AddPartitions, EndTransaction, InitProducerId, ListFilter, Outcome, Producer, Transaction,
    TransactionState, TransactionalId, VerifyPartitions, record,
};

type Output = Result<String, Box<dyn Error>>;
type Done = Result<(), Box<dyn Error>>;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("txn/scripts")
}

#[test]
fn scripts() {
    ottla_golden::run(&folder(), 20, Script::default);
}

#[test]
fn the_scripts_are_a_book() {
    ottla_golden::check_book(&folder());
}

/// A script in the making.
#[derive(Default)]
struct Script {
    harness: Option<Harness>,
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Output {
        let mut args = command.consume_args();
        let output = self.step(&command.name, &mut args)?;
        args.reject_next()?;
        Ok(output)
    }
}

fn producer(text: Option<&str>) -> Result<Producer, Box<dyn Error>> {
    let (id, epoch) = text.and_then(|text| text.split_once('/')).ok_or("PRODUCER")?;
    Ok(Producer { id: ProducerId(id.parse()?), epoch: ProducerEpoch(epoch.parse()?) })
}

fn partition(text: &str) -> Result<TopicPartition, Box<dyn Error>> {
    let (topic, partition) = text.rsplit_once('-').ok_or("PARTITION")?;
    Ok(TopicPartition { topic: TopicName::from(topic), partition: PartitionId(partition.parse()?) })
}

fn partitions(args: &mut ArgumentConsumer<'_>) -> Result<Vec<TopicPartition>, Box<dyn Error>> {
    std::iter::from_fn(|| args.next_pos()).map(partition).collect()
}

fn id(args: &mut ArgumentConsumer<'_>) -> Result<TransactionalId, Box<dyn Error>> {
    Ok(TransactionalId::from(args.next_pos().ok_or("ID")?))
}

fn number<T: std::str::FromStr>(
    args: &mut ArgumentConsumer<'_>,
    key: &str,
    default: T,
) -> Result<T, Box<dyn Error>>
where
    T::Err: Error + 'static,
{
    Ok(args.take_key(key).map_or(Ok(default), str::parse)?)
}

impl Script {
    fn harness(&mut self) -> &mut Harness {
        self.harness.as_mut().expect("a script begins with start")
    }

    fn step(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Output {
        match name {
            "start" => {
                let version = number(args, "version", 2)?;
                let keys = std::iter::from_fn(|| args.next_key());
                let keys: Vec<_> =
                    keys.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                self.harness = Some(Harness::new(&keys, version));
            }
            "init" => self.init(args)?,
            "add" => self.add(args)?,
            "verify" => self.verify(args)?,
            "commit" => self.end(args, Outcome::Commit)?,
            "abort" => self.end(args, Outcome::Abort)?,
            "wait" => {
                let time = Duration::from_millis(args.next_pos().ok_or("MS")?.parse()?);
                self.harness().wait(time);
            }
            "hold" => self.harness().holds = true,
            "flush" => {
                self.harness().holds = false;
                self.harness().commit();
            }
            "refuse" => {
                self.harness().holds = false;
                self.harness().refuse(ErrorCode::CoordinatorNotAvailable);
            }
            "hold_markers" => self.harness().holds_markers = true,
            "markers" => self.markers(args)?,
            "load" => self.harness().load(),
            "version" => {
                let version = args.next_pos().ok_or("N")?.parse()?;
                self.harness().set_version(version);
            }
            "next_id" => self.harness().next_id = args.next_pos().ok_or("N")?.parse()?,
            "logged" => self.logged(args)?,
            "describe" => return self.describe(args),
            "list" => return self.list(args),
            _ => return Err(format!("no command {name}").into()),
        }
        Ok(std::mem::take(&mut self.harness().told).join("\n"))
    }

    fn init(&mut self, args: &mut ArgumentConsumer<'_>) -> Done {
        let id = id(args)?;
        let expected = args.take_key("as").map(|text| producer(Some(text))).transpose()?;
        let timeout_ms = number(args, "timeout", 60_000)?;
        let request = InitProducerId { id: id.clone(), timeout_ms, expected, fresh: None };
        self.harness().ask(&id, Ask::Init(request));
        Ok(())
    }

    fn add(&mut self, args: &mut ArgumentConsumer<'_>) -> Done {
        let (id, producer) = (id(args)?, producer(args.next_pos())?);
        let client_version = number(args, "version", 2)?;
        let partitions = partitions(args)?;
        let ticket = self.harness().ticket(&id, None);
        let request = AddPartitions { id, producer, partitions, client_version };
        self.harness().step(|shard, now, out| shard.add_partitions(now, request, ticket, out));
        Ok(())
    }

    fn verify(&mut self, args: &mut ArgumentConsumer<'_>) -> Done {
        let (id, producer) = (id(args)?, producer(args.next_pos())?);
        let partitions = partitions(args)?;
        let ticket = self.harness().ticket(&id, None);
        let request = VerifyPartitions { id, producer, partitions };
        self.harness().step(|shard, _, out| shard.verify_partitions(&request, ticket, out));
        Ok(())
    }

    fn end(&mut self, args: &mut ArgumentConsumer<'_>, outcome: Outcome) -> Done {
        let (id, producer) = (id(args)?, producer(args.next_pos())?);
        let client_version = number(args, "version", 2)?;
        let label = id.clone();
        let request = EndTransaction { id, producer, outcome, client_version, fresh: None };
        self.harness().ask(&label, Ask::End(request));
        Ok(())
    }

    fn markers(&mut self, args: &mut ArgumentConsumer<'_>) -> Done {
        let mut errors = BTreeMap::new();
        while let Some((key, name)) = args.next_key() {
            let error = ErrorCode::ALL.iter().find(|error| error.name() == name);
            errors.insert(partition(key)?, *error.ok_or("ERROR")?);
        }
        self.harness().holds_markers = !errors.is_empty();
        self.harness().answer_markers(&errors);
        Ok(())
    }

    fn logged(&mut self, args: &mut ArgumentConsumer<'_>) -> Done {
        let id = id(args)?;
        let state = args.next_pos().ok_or("STATE")?;
        let state = TransactionState::from_name(state).ok_or("a state")?;
        let producer = producer(args.next_pos())?;
        let version = number(args, "value", 1)?;
        let transaction = Transaction {
            producer,
            previous_producer_id: producer.id,
            next_producer_id: ProducerId(number(args, "next", -1)?),
            last_epoch: ProducerEpoch::NONE,
            timeout_ms: number(args, "timeout", 60_000)?,
            state,
            started: Timestamp(number(args, "started", 1_000_000)?),
            updated: Timestamp(1_000_000),
            client_version: number(args, "client", 0)?,
            partitions: partitions(args)?.into_iter().collect(),
            record: Offset::ZERO,
        };
        let record = record::encode(&id, Some(&transaction), version);
        self.harness().log_as_is(record);
        Ok(())
    }

    fn describe(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let described = self.harness().shard.describe(&id(args)?);
        Ok(described.map_or("none".to_owned(), |it| render::described(&it)))
    }

    fn list(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let mut names = |key| args.take_key(key).map(|text| text.split('/').collect::<Vec<_>>());
        let producers = names("producers").unwrap_or_default();
        let producer_ids = producers.into_iter().map(|id| Ok(ProducerId(id.parse()?)));
        let states = names("states");
        let states = states.map(|all| all.into_iter().filter_map(TransactionState::from_name));
        let filter = ListFilter {
            producer_ids: producer_ids.collect::<Result<_, Box<dyn Error>>>()?,
            states: states.map(Iterator::collect),
            duration_ms: number(args, "duration", -1)?,
            id: None,
        };
        let now = self.harness().now().wall;
        let listed = self.harness().shard.list(&filter, now);
        let lines: Vec<String> = listed.iter().map(render::listed).collect();
        Ok(if lines.is_empty() { "none".to_owned() } else { lines.join("\n") })
    }
}
