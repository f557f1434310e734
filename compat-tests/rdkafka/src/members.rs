//! Members of groups, a thread each. What happens to one stands in a file that a kill does not take
//! (compat-tests/harness/groups.py).

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionList;
use serde_json::Value;

use crate::{Failure, Told, number, text};

/// The file of a member.
pub struct Log(pub File);

impl Log {
    /// Writes one line.
    pub fn line(&self, mark: char, text: &str) {
        let words: Vec<_> = text.split_whitespace().collect();
        let line = format!("{mark} {}\n", words.join(" "));
        (&self.0).write_all(line.as_bytes()).expect("the log of a member can be written");
    }

    fn partitions(&self, mark: char, several: &TopicPartitionList) {
        let several = several.elements();
        let words = several.iter().map(|one| format!("{}:{}", one.topic(), one.partition()));
        self.line(mark, &words.collect::<Vec<_>>().join(" "));
    }
}

struct Context(Log);

impl ClientContext for Context {}

impl ConsumerContext for Context {
    /// What was processed is committed: only the commit of a rebalance under way was refused.
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(taken) => {
                let _ = consumer.commit_consumer_state(CommitMode::Sync);
                self.0.partitions('-', taken);
            }
            Rebalance::Assign(given) => self.0.partitions('+', given),
            Rebalance::Error(error) => self.0.line('!', &error.to_string()),
        }
    }
}

struct Member {
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Those that joined and did not leave yet, by name.
#[derive(Default)]
pub struct Members(HashMap<String, Member>);

impl Members {
    /// Lets a consumer of `config` join as the question says.
    pub fn join(&mut self, mut config: ClientConfig, ask: &Value) -> Told {
        let cooperative = ask["cooperative"].as_bool() == Some(true);
        config
            .set("group.id", text(ask, "group"))
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("fetch.wait.max.ms", "100")
            .set("topic.metadata.refresh.interval.ms", "1000");
        if ask["protocol"].as_str() == Some("consumer") {
            // Times and assignors are the broker's.
            config.set("group.protocol", "consumer");
        } else {
            config
                .set("session.timeout.ms", number(ask, "session").to_string())
                .set("heartbeat.interval.ms", number(ask, "heartbeat").to_string())
                .set("partition.assignment.strategy", strategy(cooperative));
        }
        if let Some(instance) = ask["instance"].as_str() {
            config.set("group.instance.id", instance);
        }
        let log = OpenOptions::new().create(true).append(true).open(text(ask, "log"))?;
        let consumer: BaseConsumer<Context> = config.create_with_context(Context(Log(log)))?;
        let topics = ask["topics"].as_array().into_iter().flatten().filter_map(Value::as_str);
        consumer.subscribe(&topics.chain(ask["pattern"].as_str()).collect::<Vec<_>>())?;
        let over = Arc::new(AtomicBool::new(false));
        let thread = {
            let over = over.clone();
            std::thread::spawn(move || poll(&consumer, &over))
        };
        self.add(text(ask, "member"), over, thread);
        Ok(Value::Null)
    }

    /// Adds what runs in `thread` until it is told that it is `over`.
    pub fn add(&mut self, member: &str, over: Arc<AtomicBool>, thread: JoinHandle<()>) {
        self.0.insert(member.to_owned(), Member { over, thread });
    }

    /// Closes a member.
    pub fn leave(&mut self, ask: &Value) -> Told {
        let member = self.0.remove(text(ask, "member")).ok_or("no such member")?;
        member.over.store(true, Ordering::Relaxed);
        member.thread.join().map_err(|_| Failure::from("the member's thread panicked"))?;
        Ok(Value::Null)
    }
}

fn strategy(cooperative: bool) -> &'static str {
    if cooperative { "cooperative-sticky" } else { "range" }
}

/// Processes records until `over`; to drop the consumer is to leave.
fn poll(consumer: &BaseConsumer<Context>, over: &AtomicBool) {
    let log = &consumer.context().0;
    while !over.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(one)) => {
                log.line('.', &format!("{}:{} {}", one.topic(), one.partition(), one.offset()));
                if let Err(error) = consumer.store_offset_from_message(&one) {
                    log.line('!', &error.to_string());
                }
            }
            Some(Err(error)) => log.line('!', &error.to_string()),
            None => {}
        }
        let refused = consumer.commit_consumer_state(CommitMode::Sync).err();
        match refused.as_ref().and_then(|error| error.rdkafka_error_code()) {
            None | Some(RDKafkaErrorCode::NoOffset | RDKafkaErrorCode::RebalanceInProgress) => {}
            Some(code) => log.line('!', &code.to_string()),
        }
    }
}
