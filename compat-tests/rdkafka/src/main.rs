//! The adapter of rust-rdkafka, as the harness asks it: one line of JSON for each question.
//!
//! Answers are `{"ok": …}`, `{"error": "text"}` or `{"unoffered": "why"}`. Its admin client has no
//! calls to describe the cluster or a topic; metadata tell it.

mod members;
mod transactions;

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use members::Members;
use transactions::Transactions;

type Failure = Box<dyn std::error::Error>;
type Told = Result<Value, Failure>;

const LIMIT: Duration = Duration::from_secs(15);
const BURST: u32 = 20;
/// What librdkafka gets wrong by itself (confluent-kafka/README.md).
const STUCK: &str = "send_offsets_to_transaction may never return after the broker was away";
const CALLS: &[(&str, fn(&mut Client, &Value) -> Told)] = &[
    ("hello", Client::hello),
    ("produce", Client::produce),
    ("consume", Client::consume),
    ("list_offsets", Client::list_offsets),
    ("unknown_topic", Client::unknown_topic),
    ("list_topics", Client::list_topics),
    ("describe_topic", Client::describe_topic),
    ("create_topic", Client::create_topic),
    ("delete_topic", Client::delete_topic),
    ("describe_cluster", Client::describe_cluster),
    ("delete_records", Client::delete_records),
    ("create_partitions", Client::create_partitions),
    ("describe_configs", Client::describe_configs),
    ("alter_configs", Client::alter_configs),
    ("endure", Client::endure),
    ("endured", Client::endured),
    ("calm", Client::calm),
    ("join", |client, ask| client.members.join(client.config(&[]), ask)),
    ("leave", |client, ask| client.members.leave(ask)),
    ("txn_open", |client, ask| client.transactions.open(client.config(&[]), ask)),
    ("transact", |client, ask| client.transactions.transact(ask)),
    ("txn_close", |client, ask| client.transactions.close(ask)),
    ("copy", |client, ask| {
        let config = client.config(&[]);
        transactions::copy(&mut client.members, config, ask)
    }),
];

/// What was acknowledged to the producer that endures, and the word to end.
#[derive(Default)]
struct Endurance {
    acked: Mutex<Vec<u32>>,
    errors: Mutex<Vec<String>>,
    over: AtomicBool,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

struct Client {
    bootstrap: String,
    runtime: tokio::runtime::Runtime,
    endurance: Arc<Endurance>,
    members: Members,
    transactions: Transactions,
}

fn text<'a>(question: &'a Value, field: &str) -> &'a str {
    question[field].as_str().unwrap_or_default()
}

fn number(question: &Value, field: &str) -> i64 {
    question[field].as_i64().unwrap_or_default()
}

fn unpacked(text: &Value) -> Result<Option<Vec<u8>>, Failure> {
    Ok(text.as_str().map(|text| BASE64.decode(text)).transpose()?)
}

fn packed(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| BASE64.encode(bytes).into())
}

fn list(question: &Value, field: &str) -> Vec<Value> {
    question[field].as_array().cloned().unwrap_or_default()
}

fn strings(question: &Value, field: &str) -> HashMap<String, String> {
    let object = question[field].as_object().cloned().unwrap_or_default();
    object.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or("").into())).collect()
}

impl Client {
    fn config(&self, more: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("log_level", "2");
        for (key, value) in more {
            config.set(*key, *value);
        }
        config
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, Failure> {
        Ok(self.config(&[]).create()?)
    }

    fn consumer(&self) -> Result<BaseConsumer, Failure> {
        self.consumer_of("read_uncommitted")
    }

    fn consumer_of(&self, isolation: &str) -> Result<BaseConsumer, Failure> {
        let config = [
            ("group.id", "unused"),
            ("enable.auto.commit", "false"),
            ("fetch.wait.max.ms", "100"),
            ("isolation.level", isolation),
        ];
        Ok(self.config(&config).create()?)
    }

    fn hello(&mut self, _: &Value) -> Told {
        let calls: Vec<_> = CALLS.iter().map(|(name, _)| name).collect();
        let own = json!({"txn-restart": STUCK, "txn-kill-9": STUCK});
        Ok(json!({"version": "0.39.0", "calls": calls, "consumer_protocol": true, "own": own}))
    }

    fn produce(&mut self, ask: &Value) -> Told {
        let idempotent = ask["idempotent"].to_string();
        let auto_create = ask["auto_create"].to_string();
        let max_bytes = ask["max_bytes"].to_string();
        let producer: FutureProducer = self
            .config(&[
                ("compression.type", text(ask, "codec")),
                ("acks", text(ask, "acks")),
                ("enable.idempotence", &idempotent),
                ("message.max.bytes", &max_bytes),
                ("allow.auto.create.topics", &auto_create),
                ("linger.ms", "20"),
                ("message.timeout.ms", "15000"),
            ])
            .create()?;
        let topic = text(ask, "topic");
        let partition = number(ask, "partition") as i32;
        let offsets = self.send(&producer, topic, partition, &list(ask, "records"))?;
        Ok(if text(ask, "acks") == "0" { json!([]) } else { json!(offsets) })
    }

    fn send(
        &self,
        producer: &FutureProducer,
        topic: &str,
        partition: i32,
        records: &[Value],
    ) -> Result<Vec<i64>, Failure> {
        let mut sent = Vec::new();
        for made in records {
            let (key, value) = (unpacked(&made["key"])?, unpacked(&made["value"])?);
            let mut record = FutureRecord::<[u8], [u8]>::to(topic)
                .partition(partition)
                .timestamp(number(made, "timestamp"));
            record.key = key.as_deref();
            record.payload = value.as_deref();
            let mut headers = OwnedHeaders::new();
            for header in list(made, "headers") {
                let value = unpacked(&header[1])?;
                let key = header[0].as_str().unwrap_or_default();
                headers = headers.insert(Header { key, value: value.as_ref() });
            }
            record = record.headers(headers);
            sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
        }
        let mut offsets = Vec::new();
        for one in sent {
            let told = self.runtime.block_on(one)?;
            offsets.push(told.map_err(|(error, _)| error)?.offset);
        }
        Ok(offsets)
    }

    fn consume(&mut self, ask: &Value) -> Told {
        let (topic, partition) = (text(ask, "topic"), number(ask, "partition") as i32);
        let committed = ask["committed"].as_bool() == Some(true);
        let isolation = if committed { "read_committed" } else { "read_uncommitted" };
        let consumer = self.consumer_of(isolation)?;
        let offset = match text(ask, "start") {
            "start" => Offset::Beginning,
            // Resolved now: the assignment alone would ask for it later.
            "end" => Offset::Offset(consumer.fetch_watermarks(topic, partition, LIMIT)?.1),
            "offset" => Offset::Offset(number(ask, "at")),
            _ => Offset::Offset(for_time(&consumer, topic, partition, number(ask, "at"))?),
        };
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, partition, offset)?;
        consumer.assign(&assignment)?;
        let then = list(ask, "then");
        if !then.is_empty() {
            let producer: FutureProducer = self.config(&[]).create()?;
            self.send(&producer, topic, partition, &then)?;
        }
        let count = number(ask, "count") as usize;
        let (mut found, deadline) = (Vec::new(), Instant::now() + LIMIT);
        while found.len() < count {
            if Instant::now() > deadline {
                return Err(format!("{} records came, not {count}", found.len()).into());
            }
            if let Some(message) = consumer.poll(Duration::from_millis(500)) {
                found.push(shown(&message?));
            }
        }
        Ok(found.into())
    }

    fn list_offsets(&mut self, ask: &Value) -> Told {
        let (topic, partition) = (text(ask, "topic"), number(ask, "partition") as i32);
        let consumer = self.consumer()?;
        let (low, high) = consumer.fetch_watermarks(topic, partition, LIMIT)?;
        Ok(match text(ask, "at") {
            "earliest" => low.into(),
            "latest" => high.into(),
            _ => for_time(&consumer, topic, partition, number(ask, "at"))?.into(),
        })
    }

    fn unknown_topic(&mut self, ask: &Value) -> Told {
        let config =
            [("allow.auto.create.topics", "false"), ("topic.metadata.propagation.max.ms", "1000")];
        let producer: FutureProducer = self.config(&config).create()?;
        let record = json!({"key": null, "value": "eA==", "timestamp": 1});
        Ok(self.send(&producer, text(ask, "topic"), 0, &[record])?.into())
    }

    fn list_topics(&mut self, _: &Value) -> Told {
        let metadata = self.consumer()?.client().fetch_metadata(None, LIMIT)?;
        let names: Vec<_> = metadata.topics().iter().map(|topic| topic.name()).collect();
        Ok(json!(names))
    }

    fn describe_topic(&mut self, ask: &Value) -> Told {
        let topic = Some(text(ask, "topic"));
        let metadata = self.consumer()?.client().fetch_metadata(topic, LIMIT)?;
        Ok(metadata.topics()[0].partitions().len().into())
    }

    fn create_topic(&mut self, ask: &Value) -> Told {
        let partitions = number(ask, "partitions") as i32;
        let mut topic = NewTopic::new(text(ask, "topic"), partitions, TopicReplication::Fixed(1));
        let configs = strings(ask, "configs");
        for (name, value) in &configs {
            topic = topic.set(name, value);
        }
        let admin = self.admin()?;
        let done = admin.create_topics([&topic], &AdminOptions::new());
        for one in self.runtime.block_on(done)? {
            one.map_err(|(_, code)| code)?;
        }
        Ok(Value::Null)
    }

    fn delete_topic(&mut self, ask: &Value) -> Told {
        let (admin, topics) = (self.admin()?, [text(ask, "topic")]);
        let options = AdminOptions::new();
        let done = admin.delete_topics(&topics, &options);
        for one in self.runtime.block_on(done)? {
            one.map_err(|(_, code)| code)?;
        }
        Ok(Value::Null)
    }

    fn describe_cluster(&mut self, _: &Value) -> Told {
        let consumer = self.consumer()?;
        let metadata = consumer.client().fetch_metadata(None, LIMIT)?;
        let brokers: Vec<_> = metadata
            .brokers()
            .iter()
            .map(|one| json!({"id": one.id(), "host": one.host(), "port": one.port()}))
            .collect();
        let cluster_id = consumer.client().fetch_cluster_id(LIMIT);
        Ok(json!({"brokers": brokers, "cluster_id": cluster_id}))
    }

    fn delete_records(&mut self, ask: &Value) -> Told {
        let (topic, partition) = (text(ask, "topic"), number(ask, "partition") as i32);
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(number(ask, "offset")))?;
        let (admin, options) = (self.admin()?, AdminOptions::new());
        let done = self.runtime.block_on(admin.delete_records(&before, &options))?;
        let found = done.find_partition(topic, partition).ok_or("no answer for the partition")?;
        found.error()?;
        Ok(found.offset().to_raw().into())
    }

    fn create_partitions(&mut self, ask: &Value) -> Told {
        let new = NewPartitions::new(text(ask, "topic"), number(ask, "count") as usize);
        let (admin, options) = (self.admin()?, AdminOptions::new());
        for one in self.runtime.block_on(admin.create_partitions([&new], &options))? {
            one.map_err(|(_, code)| code)?;
        }
        Ok(Value::Null)
    }

    fn describe_configs(&mut self, ask: &Value) -> Told {
        let wanted = [ResourceSpecifier::Topic(text(ask, "topic"))];
        let (admin, options) = (self.admin()?, AdminOptions::new());
        let mut values = serde_json::Map::new();
        for one in self.runtime.block_on(admin.describe_configs(&wanted, &options))? {
            for entry in one?.entries {
                values.insert(entry.name, json!(entry.value));
            }
        }
        Ok(values.into())
    }

    /// With AlterConfigs, which replaces all: the incremental one is not in this crate.
    fn alter_configs(&mut self, ask: &Value) -> Told {
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(text(ask, "topic")));
        let configs = strings(ask, "configs");
        for (name, value) in &configs {
            change = change.set(name, value);
        }
        let (admin, options) = (self.admin()?, AdminOptions::new());
        for one in self.runtime.block_on(admin.alter_configs([&change], &options))? {
            one.map_err(|(_, code)| code)?;
        }
        Ok(Value::Null)
    }

    fn endure(&mut self, ask: &Value) -> Told {
        self.endurance = Arc::default();
        let (endurance, topic) = (self.endurance.clone(), text(ask, "topic").to_owned());
        let producer: FutureProducer = self
            .config(&[
                ("enable.idempotence", "true"),
                ("linger.ms", "2"),
                ("message.timeout.ms", "60000"),
            ])
            .create()?;
        let thread = std::thread::spawn(move || bursts(&endurance, &producer, &topic));
        *self.endurance.thread.lock().expect("no one panicked") = Some(thread);
        Ok(Value::Null)
    }

    fn endured(&mut self, _: &Value) -> Told {
        Ok(self.endurance.acked.lock().expect("no one panicked").len().into())
    }

    fn calm(&mut self, _: &Value) -> Told {
        self.endurance.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.endurance.thread.lock().expect("no one panicked").take() {
            thread.join().map_err(|_| "the producer's thread panicked")?;
        }
        let acked = self.endurance.acked.lock().expect("no one panicked").clone();
        let errors = self.endurance.errors.lock().expect("no one panicked").clone();
        Ok(json!({"acked": acked, "errors": errors}))
    }
}

/// Sends bursts of numbered records, and notes each acknowledgement.
fn bursts(endurance: &Endurance, producer: &FutureProducer, topic: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("threads and descriptors are there");
    for first in (0..).step_by(BURST as usize) {
        let values: Vec<_> = (first..first + BURST).map(|number| number.to_string()).collect();
        let sent = values.iter().map(|value| {
            let record = FutureRecord::<str, str>::to(topic).partition(0).payload(value);
            producer.send_result(record)
        });
        for (number, one) in (first..).zip(sent.collect::<Vec<_>>()) {
            let told = one.map_err(|(error, _)| error.to_string()).and_then(|waiting| {
                let told = runtime.block_on(waiting).map_err(|error| error.to_string())?;
                told.map_err(|(error, _)| error.to_string())
            });
            match told {
                Ok(_) => endurance.acked.lock().expect("no one panicked").push(number),
                Err(error) => endurance.errors.lock().expect("no one panicked").push(error),
            }
        }
        if endurance.over.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn for_time(consumer: &BaseConsumer, topic: &str, partition: i32, at: i64) -> Result<i64, Failure> {
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_offset(topic, partition, Offset::Offset(at))?;
    let found = consumer.offsets_for_times(wanted, LIMIT)?;
    let found = found.find_partition(topic, partition).ok_or("no answer for the partition")?;
    found.error()?;
    Ok(found.offset().to_raw().unwrap_or(-1))
}

fn shown(message: &impl Message) -> Value {
    let headers: Vec<_> = message
        .headers()
        .map(|headers| headers.iter().map(|one| json!([one.key, packed(one.value)])).collect())
        .unwrap_or_default();
    json!({
        "offset": message.offset(), "timestamp": message.timestamp().to_millis(),
        "key": packed(message.key()), "value": packed(message.payload()), "headers": headers,
    })
}

fn main() -> Result<(), Failure> {
    let bootstrap = std::env::args().nth(1).ok_or("usage: adapter HOST:PORT")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut client = Client {
        bootstrap,
        runtime,
        endurance: Arc::default(),
        members: Members::default(),
        transactions: Transactions::default(),
    };
    for line in std::io::stdin().lock().lines() {
        let question: Value = serde_json::from_str(&line?)?;
        let op = CALLS.iter().find(|(name, _)| *name == text(&question, "op"));
        let answer = match op.map(|(_, call)| call(&mut client, &question)) {
            None => json!({"unoffered": "client: no such call"}),
            Some(Ok(told)) => json!({"ok": told}),
            Some(Err(error)) => json!({"error": error.to_string()}),
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
