//! The load's client: blocking, one connection, requests encoded before they are counted.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::{Request, StrBytes};
use ottla_test_client::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_test_client::messages::delete_topics_request::DeleteTopicState;
use ottla_test_client::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_test_client::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ottla_test_client::messages::metadata_request::MetadataRequestTopic;
use ottla_test_client::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_test_client::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, IncrementalAlterConfigsRequest,
    MetadataRequest, ProduceRequest, TopicName,
};
use ottla_test_client::{decode_response, encode_request};

/// The newest versions that name topics by name, and are in all Kafkas since 2.8.
const PRODUCE: i16 = 9;
pub(crate) const FETCH: i16 = 11;
const CREATE_TOPICS: i16 = 7;
const DELETE_TOPICS: i16 = 6;
pub(crate) const METADATA: i16 = 12;
const INCREMENTAL_ALTER_CONFIGS: i16 = 1;
const TOPIC_RESOURCE: i8 = 2;
/// Ten thousand partitions may take a while.
const ANSWER_MAX: Duration = Duration::from_secs(300);
/// Errors of a partition whose leader is not ready yet.
const NOT_READY: [i16; 3] = [3, 5, 6];

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
    /// The answer that is expected again and again.
    repeated: Vec<u8>,
}

impl Client {
    /// Connects, once.
    pub(crate) fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        // While nobody listens, a port that the system gives out may be connected to itself.
        if stream.local_addr()? == stream.peer_addr()? {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(Client { stream, answer: Vec::new(), repeated: Vec::new() })
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.stream.write_all(frame)
    }

    /// Waits for the next answer, without its length.
    pub(crate) fn receive(&mut self) -> io::Result<&[u8]> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        self.answer.resize(u32::from_be_bytes(len) as usize, 0);
        self.stream.read_exact(&mut self.answer)?;
        Ok(&self.answer)
    }

    /// The socket.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Waits for an answer that every other one will have to be like.
    pub(crate) fn expect_repeated(&mut self) -> io::Result<()> {
        self.repeated = self.receive()?.to_vec();
        Ok(())
    }

    /// Whether an answer is like the first; where none was expected, whether it acknowledges a
    /// produce.
    pub(crate) fn check_repeated(&self, answer: &[u8]) -> io::Result<()> {
        if self.repeated.is_empty() {
            return no_error([produce_error(answer)?].into_iter(), "Produce");
        }
        if answer == self.repeated {
            return Ok(());
        }
        Err(io::Error::other(format!("{answer:x?} is not {:x?}", self.repeated)))
    }

    pub(crate) fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> io::Result<R::Response> {
        self.send(&encode(version, request)?)?;
        let answer = Bytes::copy_from_slice(self.receive()?);
        Ok(decode_response::<R>(version, answer)?.1)
    }

    /// Creates a topic.
    pub(crate) fn create_topic(&mut self, name: &str, partitions: i32) -> io::Result<()> {
        self.create_topic_with(name, partitions, &[])
    }

    /// Creates a topic with configs.
    pub(crate) fn create_topic_with(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&'static str, &'static str)],
    ) -> io::Result<()> {
        let config = |(key, value): &(&'static str, &'static str)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str(key))
                .with_value(Some(StrBytes::from_static_str(value)))
        };
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.iter().map(config).collect());
        self.create(vec![topic])
    }

    /// Creates topics of one partition in one request.
    pub(crate) fn create_topics(&mut self, names: &[String]) -> io::Result<()> {
        let topic = |name: &String| {
            CreatableTopic::default()
                .with_name(topic_name(name))
                .with_num_partitions(1)
                .with_replication_factor(1)
        };
        self.create(names.iter().map(topic).collect())
    }

    fn create(&mut self, topics: Vec<CreatableTopic>) -> io::Result<()> {
        let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(300_000);
        let answer = self.call(CREATE_TOPICS, &request)?;
        no_error(answer.topics.iter().map(|topic| topic.error_code), "CreateTopics")
    }

    /// Sets a config of a topic.
    pub(crate) fn set_config(
        &mut self,
        topic: &str,
        key: &'static str,
        value: &'static str,
    ) -> io::Result<()> {
        let config = AlterableConfig::default()
            .with_name(StrBytes::from_static_str(key))
            .with_value(Some(StrBytes::from_static_str(value)));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(StrBytes::from_string(topic.to_owned()))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.call(INCREMENTAL_ALTER_CONFIGS, &request)?;
        no_error(answer.responses.iter().map(|one| one.error_code), "IncrementalAlterConfigs")
    }

    /// Deletes a topic.
    pub(crate) fn delete_topic(&mut self, name: &str) -> io::Result<()> {
        let topic = DeleteTopicState::default().with_name(Some(topic_name(name)));
        let request =
            DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let answer = self.call(DELETE_TOPICS, &request)?;
        no_error(answer.responses.iter().map(|topic| topic.error_code), "DeleteTopics")
    }

    /// Produces a frame until it is taken: the leader of a new partition may need a moment.
    pub(crate) fn produce_first(&mut self, frame: &[u8]) -> io::Result<()> {
        loop {
            self.send(frame)?;
            match produce_error(self.receive()?)? {
                0 => return Ok(()),
                error if NOT_READY.contains(&error) => {
                    std::thread::sleep(Duration::from_micros(200));
                }
                error => return Err(io::Error::other(format!("Produce: error {error}"))),
            }
        }
    }

    /// Waits for the answer to a produce, which must be an acknowledgement.
    pub(crate) fn acknowledged(&mut self) -> io::Result<()> {
        let error = produce_error(self.receive()?)?;
        no_error([error].into_iter(), "Produce")
    }

    /// Asks for the metadata of a topic, or of all; tells how many partitions have a leader.
    pub(crate) fn partitions_with_leader(&mut self, topic: Option<&str>) -> io::Result<usize> {
        let asked = |name| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default().with_topics(topic.map(|name| vec![asked(name)]));
        let answer = self.call(METADATA, &request)?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(partitions.filter(|partition| partition.leader_id.0 >= 0).count())
    }

    /// Fetches several partitions from their beginning; tells how many of the first ones gave
    /// records.
    pub(crate) fn fetch_all(&mut self, topic: &str, partitions: Range<i32>) -> io::Result<i32> {
        let asked = |index| {
            FetchPartition::default().with_partition(index).with_partition_max_bytes(1 << 20)
        };
        let topic = FetchTopic::default()
            .with_topic(topic_name(topic))
            .with_partitions(partitions.map(asked).collect());
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(500)
            .with_min_bytes(1)
            .with_max_bytes(50 << 20)
            .with_topics(vec![topic]);
        let answer = self.call(FETCH, &request)?;
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
        no_error(partitions.clone().map(|partition| partition.error_code), "Fetch")?;
        let is_there = |records: &Option<Bytes>| records.as_ref().is_some_and(|r| !r.is_empty());
        let read = partitions.take_while(|partition| is_there(&partition.records)).count();
        i32::try_from(read).map_err(io::Error::other)
    }
}

/// A produce with acks=all to partition 0.
pub(crate) fn produce_frame(topic: &str, batch: Bytes) -> io::Result<Bytes> {
    produce_all_frame(topic, 0..1, &batch)
}

/// A produce with acks=all of the same batch to several partitions.
pub(crate) fn produce_all_frame(
    topic: &str,
    partitions: Range<i32>,
    batch: &Bytes,
) -> io::Result<Bytes> {
    let data =
        |index| PartitionProduceData::default().with_index(index).with_records(Some(batch.clone()));
    let topic = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(partitions.map(data).collect());
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic]);
    encode(PRODUCE, &request)
}

pub(crate) fn encode<R: Request>(version: i16, request: &R) -> io::Result<Bytes> {
    encode_request(version, 1, &StrBytes::from_static_str("bench"), request)
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// The first error of any partition, or 0.
fn produce_error(answer: &[u8]) -> io::Result<i16> {
    let answer = Bytes::copy_from_slice(answer);
    let (_, answer) = decode_response::<ProduceRequest>(PRODUCE, answer)?;
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    let mut errors = partitions.map(|partition| partition.error_code).peekable();
    errors.peek().ok_or(io::ErrorKind::InvalidData)?;
    Ok(errors.find(|error| *error != 0).unwrap_or(0))
}

fn no_error(mut errors: impl Iterator<Item = i16>, what: &str) -> io::Result<()> {
    match errors.find(|error| *error != 0) {
        None => Ok(()),
        Some(error) => Err(io::Error::other(format!("{what}: error {error}"))),
    }
}
