//! The commands about offsets, and about what operators delete.
//!
//! | command | does |
//! |---|---|
//! | `commit [member=] [generation=] [instance=] [retention=] PLACE@OFFSET...` | commits offsets |
//! | `commit ... [metadata=LENGTH] [version=]` | with so long a text; as an older client |
//! | `commit ... txn=PRODUCER` | as part of a producer's transaction |
//! | `end PRODUCER commit` or `abort` | the transaction's marker comes |
//! | `fetch [stable=true] [member=] [epoch=] [PLACE...]` | what readers are told |
//! | `forget PLACE...` | an operator deletes offsets |
//! | `delete` | an operator deletes the group |
//! | `counts` | what the shard has counted |
//! | `topic-deleted NAME` | a topic is not there any more |
//! | `logged PRODUCER PLACE@OFFSET...` | the log has more: offsets of a transaction |
//! | `logged PRODUCER end=commit` | and its end |
//! | `logged-group KIND [members=N]` | and a group of another protocol: `share`; of KIND `topics` |
//! | | what older versions of Kafka kept of a consumer group |
//!
//! A PLACE is `TOPIC-PARTITION`. What is logged is known after `load`.

use std::error::Error;

use bytes::Bytes;
use goldenscript::ArgumentConsumer;
use ottla_protocol::coordinator::group::GroupRecord;
use ottla_protocol::coordinator::group::consumer::{
    ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue,
};
use ottla_protocol::coordinator::group::share::{
    ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue, ShareGroupMetadataKey,
    ShareGroupMetadataValue,
};
use ottla_types::{
    LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, Timestamp, TopicName, Uuid,
};

use super::{Output, Script, group};
use crate::group::tests::harness::Logged;
use crate::group::{
    Change, CommittedOffset, FetchedOffset, MemberId, OffsetCommit, OffsetKey, OffsetToCommit,
    RecordBytes, Transaction, TransactionEnd,
};

type Place = (TopicName, PartitionId);

impl Script {
    pub(super) fn step_of_offsets(
        &mut self,
        name: &str,
        args: &mut ArgumentConsumer<'_>,
    ) -> Output {
        match name {
            "commit" => self.commit(args)?,
            "fetch" => return self.fetch(args),
            "end" => {
                let end = TransactionEnd {
                    producer_id: ProducerId(args.next_pos().ok_or("PRODUCER")?.parse()?),
                    producer_epoch: ProducerEpoch(1),
                    commit: args.next_pos() == Some("commit"),
                    coordinator_epoch: 0,
                    transaction_version: 2,
                };
                let ticket = self.harness().ticket("end");
                self.harness().step(|shard, _, out| shard.end_transaction(&end, ticket, out));
            }
            "forget" => {
                let places = places(args)?;
                let ticket = self.harness().ticket("forget");
                let shard = self.harness();
                shard.step(|shard, _, out| shard.delete_offsets(&group(), &places, ticket, out));
            }
            "delete" => {
                let ticket = self.harness().ticket("delete");
                self.harness().step(|shard, _, out| shard.delete_group(&group(), ticket, out));
            }
            "topic-deleted" => {
                let topics = [(TopicName::from(args.next_pos().ok_or("NAME")?), Uuid([9; 16]))];
                self.harness().step(|shard, _, out| shard.topics_deleted(&topics, out));
            }
            "counts" => return Ok(format!("{:?}", self.harness().shard.counts())),
            "logged" => self.logged(args)?,
            "logged-group" => self.logged_group(args)?,
            _ => return Err(format!("no command {name}").into()),
        }
        Ok(self.told())
    }

    fn commit(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
        let generation = args.take_key("generation").map_or(Ok(-1), str::parse)?;
        let member = args.take_key("member").unwrap_or_default().to_owned();
        let instance = args.take_key("instance").map(str::to_owned);
        let retention_ms = args.take_key("retention").map(str::parse).transpose()?;
        let version: i16 = args.take_key("version").unwrap_or("10").parse()?;
        let metadata: usize = args.take_key("metadata").unwrap_or("0").parse()?;
        let producer: Option<i64> = args.take_key("txn").map(str::parse).transpose()?;
        let mut offsets = Vec::new();
        while let Some(one) = args.next_pos() {
            let ((topic, partition), offset) = offset(one)?;
            offsets.push(OffsetToCommit {
                topic_id: self.topic_id(&topic),
                topic,
                partition,
                offset,
                leader_epoch: LeaderEpoch::NONE,
                metadata: "x".repeat(metadata),
            });
        }
        let request = OffsetCommit {
            group: group(),
            member: MemberId::from(member.as_str()),
            instance,
            generation,
            knows_epochs: version >= 9,
            retention_ms,
            offsets,
        };
        let ticket = self.harness().ticket("commit");
        let transaction = producer.map(|producer| Transaction {
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(0),
            verified: true,
            guard: None,
        });
        self.harness().step(|shard, now, out| match transaction {
            None => shard.commit_offsets(now, &request, ticket, out),
            Some(of) => shard.commit_transactional(now, &request, of, ticket, out),
        });
        Ok(())
    }

    fn fetch(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let stable = args.take_key("stable").is_some();
        let member = args.take_key("member").map(str::to_owned);
        let epoch = args.take_key("epoch").unwrap_or("-1").parse()?;
        let places = places(args)?;
        let shard = &self.harness().shard;
        if let Err(error) = shard.check_fetch(&group(), member.as_deref(), epoch) {
            return Ok(error.to_string());
        }
        let key = |(topic, partition)| OffsetKey { group: group(), topic, partition };
        let offsets = if places.is_empty() {
            shard.fetch_all_offsets(&group(), stable)
        } else {
            let told = |place| {
                let key = key(place);
                let told = shard.fetch_offset(&key, Uuid::ZERO, stable);
                (key, told)
            };
            places.into_iter().map(told).collect()
        };
        let line = |(key, offset): (OffsetKey, FetchedOffset)| {
            let told = match offset {
                FetchedOffset::Offset(offset) => offset.offset.to_string(),
                FetchedOffset::None => "none".to_owned(),
                FetchedOffset::Unstable => "unstable".to_owned(),
            };
            format!("{}-{}:{told}", key.topic, key.partition)
        };
        let lines: Vec<String> = offsets.into_iter().map(line).collect();
        Ok(if lines.is_empty() { "nothing".to_owned() } else { lines.join(" ") })
    }

    fn logged(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
        let producer = ProducerId(args.next_pos().ok_or("PRODUCER")?.parse()?);
        if let Some(end) = args.take_key("end") {
            self.harness().log.push(Logged::Marker(producer, end == "commit"));
        }
        while let Some(one) = args.next_pos() {
            let ((topic, partition), offset) = offset(one)?;
            let key = OffsetKey { group: group(), topic, partition };
            let committed = CommittedOffset {
                offset,
                leader_epoch: LeaderEpoch::NONE,
                metadata: "".into(),
                committed_at: Timestamp(1_000_000),
                expires: None,
                topic_id: Uuid::ZERO,
                record: Offset::ZERO,
            };
            let record = Change::Offset(key, committed).encode();
            self.harness().log.push(Logged::Record(record, Some(producer)));
        }
        Ok(())
    }

    fn logged_group(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
        let kind = args.next_pos().ok_or("KIND")?;
        let members: usize = args.take_key("members").unwrap_or("0").parse()?;
        let text = |text: &str| text.to_owned();
        let group_id = || text("g");
        let of_group = match kind {
            "share" => GroupRecord::ShareGroupMetadata(
                ShareGroupMetadataKey { group_id: group_id() },
                Some(ShareGroupMetadataValue { epoch: 5, ..Default::default() }),
            ),
            // Of a consumer group, as Kafka before 4.1 wrote it.
            "topics" => GroupRecord::ConsumerGroupPartitionMetadata(
                ConsumerGroupPartitionMetadataKey { group_id: group_id() },
                Some(ConsumerGroupPartitionMetadataValue::default()),
            ),
            other => return Err(format!("no kind {other}").into()),
        };
        let member = |number: usize| {
            let (group_id, member_id) = (group_id(), format!("m{number}"));
            GroupRecord::ShareGroupMemberMetadata(
                ShareGroupMemberMetadataKey { group_id, member_id },
                Some(ShareGroupMemberMetadataValue::default()),
            )
        };
        for record in std::iter::once(of_group).chain((0..members).map(member)) {
            let (key, value) = record.encode(0);
            let record = RecordBytes { key: key.into(), value: value.map(Bytes::from) };
            self.harness().log.push(Logged::Record(record, None));
        }
        Ok(())
    }
}

fn place(text: &str) -> Result<Place, Box<dyn Error>> {
    let (topic, partition) = text.split_once('-').ok_or("TOPIC-PARTITION")?;
    Ok((TopicName::from(topic), PartitionId(partition.parse()?)))
}

fn places(args: &mut ArgumentConsumer<'_>) -> Result<Vec<Place>, Box<dyn Error>> {
    let mut places = Vec::new();
    while let Some(text) = args.next_pos() {
        places.push(place(text)?);
    }
    Ok(places)
}

fn offset(text: &str) -> Result<(Place, Offset), Box<dyn Error>> {
    let (at, offset) = text.split_once('@').ok_or("TOPIC-PARTITION@OFFSET")?;
    Ok((place(at)?, Offset(offset.parse()?)))
}
