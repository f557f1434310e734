//! Transactional producers, and copy jobs (compat-tests/harness/cases_transactions.py).

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::members::{Log, Members};
use crate::{Failure, LIMIT, Told, list, number, text};

/// The producers that are open, by name, and whether a transaction of each is.
#[derive(Default)]
pub struct Transactions(HashMap<String, (FutureProducer, bool)>);

impl Transactions {
    pub fn open(&mut self, config: ClientConfig, ask: &Value) -> Told {
        let producer = with_transactions(config, text(ask, "id"))?;
        self.0.insert(text(ask, "handle").to_owned(), (producer, false));
        Ok(Value::Null)
    }

    pub fn transact(&mut self, ask: &Value) -> Told {
        let (producer, is_begun) = self.0.get_mut(text(ask, "handle")).ok_or("no such producer")?;
        if !*is_begun {
            producer.begin_transaction()?;
        }
        *is_begun = text(ask, "end") == "none";
        for value in list(ask, "values") {
            let partition = value[0].as_i64().unwrap_or_default() as i32;
            let payload = value[1].as_str().unwrap_or_default();
            send(producer, text(ask, "topic"), partition, payload)?;
        }
        producer.flush(LIMIT)?;
        match text(ask, "end") {
            "commit" => producer.commit_transaction(LIMIT)?,
            "abort" => producer.abort_transaction(LIMIT)?,
            _ => {}
        }
        Ok(Value::Null)
    }

    pub fn close(&mut self, ask: &Value) -> Told {
        self.0.remove(text(ask, "handle"));
        Ok(Value::Null)
    }
}

fn with_transactions(mut config: ClientConfig, id: &str) -> Result<FutureProducer, Failure> {
    config
        .set("transactional.id", id)
        .set("linger.ms", "0")
        .set("message.timeout.ms", LIMIT.as_millis().to_string());
    let producer: FutureProducer = config.create()?;
    producer.init_transactions(LIMIT)?;
    Ok(producer)
}

fn send(
    producer: &FutureProducer,
    topic: &str,
    partition: i32,
    value: &str,
) -> Result<(), Failure> {
    let record = FutureRecord::<str, str>::to(topic).partition(partition).payload(value);
    // Whether it was delivered says the transaction's end.
    drop(producer.send_result(record).map_err(|(error, _)| error)?);
    Ok(())
}

/// A copy job, as a member of its own; it begins anew whatever goes wrong.
pub fn copy(members: &mut Members, config: ClientConfig, ask: &Value) -> Told {
    let log = OpenOptions::new().create(true).append(true).open(text(ask, "log"))?;
    let job = Job { config, ask: ask.clone() };
    let over = Arc::new(AtomicBool::new(false));
    let mut abort = ask["abort"].as_bool() == Some(true);
    let ends = over.clone();
    let run = move || again(&job, &ends, &mut abort, log);
    members.add(text(ask, "member"), over, std::thread::spawn(run));
    Ok(Value::Null)
}

fn again(job: &Job, over: &AtomicBool, abort: &mut bool, file: File) {
    let log = Log(file);
    while !over.load(Ordering::Relaxed) {
        if let Err(error) = job.run(over, abort) {
            log.line('!', &error.to_string());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

struct Job {
    config: ClientConfig,
    ask: Value,
}

impl Job {
    fn consumer(&self) -> Result<BaseConsumer, Failure> {
        let mut config = self.config.clone();
        config
            .set("group.id", text(&self.ask, "group"))
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "100")
            .set("session.timeout.ms", number(&self.ask, "session").to_string())
            .set("heartbeat.interval.ms", number(&self.ask, "heartbeat").to_string());
        let consumer: BaseConsumer = config.create()?;
        consumer.subscribe(&[text(&self.ask, "source")])?;
        Ok(consumer)
    }

    /// Copies until `over`, or until something goes wrong.
    fn run(&self, over: &AtomicBool, abort: &mut bool) -> Result<(), Failure> {
        let producer = with_transactions(self.config.clone(), text(&self.ask, "id"))?;
        let consumer = self.consumer()?;
        while !over.load(Ordering::Relaxed) {
            let mut polled = Vec::new();
            while polled.len() < 5 {
                match consumer.poll(Duration::from_millis(50)) {
                    Some(one) => polled.push(one?.detach()),
                    None => break,
                }
            }
            if !polled.is_empty() {
                self.transaction(&producer, &consumer, &polled, abort)?;
            }
        }
        Ok(())
    }

    fn transaction(
        &self,
        producer: &FutureProducer,
        consumer: &BaseConsumer,
        polled: &[OwnedMessage],
        abort: &mut bool,
    ) -> Result<(), Failure> {
        producer.begin_transaction()?;
        let mut offsets = TopicPartitionList::new();
        for one in polled {
            send(producer, text(&self.ask, "target"), 0, &one.offset().to_string())?;
        }
        let next = polled.last().map_or(0, Message::offset) + 1;
        offsets.add_partition_offset(text(&self.ask, "source"), 0, Offset::Offset(next))?;
        let group = consumer.group_metadata().ok_or("no member of the group")?;
        producer.send_offsets_to_transaction(&offsets, &group, LIMIT)?;
        if std::mem::take(abort) {
            producer.flush(LIMIT)?;
            producer.abort_transaction(LIMIT)?;
            return Err("aborted as it was asked to".into());
        }
        Ok(producer.commit_transaction(LIMIT)?)
    }
}
