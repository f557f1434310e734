//! Runs the scripts of `group/scripts`. `UPDATE=1` rewrites them: read the diff.
//!
//! | command | does |
//! |---|---|
//! | `start [KEY=VALUE]...` | a shard with an empty log; keys are those of `server.properties` |
//! | `join NAME [id=] [instance=] [protocols=a/b] [version=] ...` | a client of this name joins |
//! | `sync NAME id= generation= [assign=ID@TEXT/...] ...` | it asks for its assignment |
//! | `heartbeat ID generation=N [instance=]` | says that it is there |
//! | `leave ID... [instances=a,b]` | leaves |
//! | `commit [member=] [generation=] [retention=] TOPIC-PARTITION@OFFSET...` | commits offsets |
//! | `fetch` | what readers are told of offsets |
//! | `wait MS` | time passes |
//! | `hold`, `flush`, `refuse` | writes wait; are committed; are refused |
//! | `load` | another coordinator takes over |
//! | `group` | shows the group |
//!
//! Everything is about the group `g`.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use ottla_types::{ErrorCode, LeaderEpoch, Offset, PartitionId, TopicName, Uuid};

use super::harness::Harness;
use super::render;
use crate::group::classic::{Join, Leave, Leaving, Protocols, Sync};
use crate::group::{FetchedOffset, GroupId, MemberId, OffsetCommit, OffsetToCommit};

type Output = Result<String, Box<dyn Error>>;

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("group/scripts");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        let script = std::fs::read_to_string(&path).expect("readable");
        let output = goldenscript::generate(&mut Script::default(), &script)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_name().expect("a file").to_string_lossy();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &output).expect("writable");
        } else {
            assert_eq!(output, script, "{name} differs; UPDATE=1 rewrites it");
        }
        assert!(output.lines().count() < 80, "{name} is too long to be read at once");
        count += 1;
    }
    assert!(count >= 15, "{count} scripts");
}

/// A script in the making.
#[derive(Default)]
struct Script {
    harness: Option<Harness>,
    /// Members so far; a new one's id ends in its number.
    members: u64,
}

fn group() -> GroupId {
    GroupId::from("g")
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

impl Script {
    fn harness(&mut self) -> &mut Harness {
        self.harness.as_mut().expect("a script begins with start")
    }

    fn step(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Output {
        match name {
            "start" => {
                let pairs = std::iter::from_fn(|| args.next_key());
                let keys = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
                self.harness = Some(Harness::new(&keys.collect::<Vec<_>>()));
            }
            "join" => self.join(args)?,
            "sync" => self.sync(args)?,
            "heartbeat" => return self.heartbeat(args),
            "leave" => self.leave(args),
            "commit" => self.commit(args)?,
            "fetch" => return Ok(self.fetch()),
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
            "load" => self.harness().load(),
            "group" => {
                let shown = self.harness().shard.classic(&group()).map(render::group);
                return Ok(shown.unwrap_or("none".to_owned()));
            }
            _ => return Err(format!("no command {name}").into()),
        }
        Ok(std::mem::take(&mut self.harness().told).join("\n"))
    }

    fn join(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
        let name = args.next_pos().ok_or("NAME")?.to_owned();
        let mut ms = |key| -> Result<Duration, Box<dyn Error>> {
            let ms = args.take_key(key).map_or(Ok(10_000), str::parse)?;
            Ok(Duration::from_millis(ms))
        };
        let (session_timeout, rebalance_timeout) = (ms("session")?, ms("rebalance")?);
        let mut get = |key: &str, default: &str| args.take_key(key).unwrap_or(default).to_owned();
        let (id, meta) = (get("id", ""), get("meta", &name));
        let protocols = get("protocols", "range");
        let protocols = protocols.split('/').filter(|name| *name != "none");
        let protocols = protocols.map(|it| (it.to_owned(), Bytes::from(meta.clone()))).collect();
        let instance = Some(get("instance", "")).filter(|it| !it.is_empty());
        let version: i16 = get("version", "9").parse()?;
        self.members += u64::from(id.is_empty());
        let request = Join {
            group: group(),
            member: MemberId::from(id.as_str()),
            instance,
            client_id: name.clone(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout,
            rebalance_timeout,
            protocol_type: get("type", "consumer"),
            protocols: Protocols(protocols),
            unique: self.members.to_string(),
            must_know_id: version >= 4,
            can_skip_assignment: version >= 9,
        };
        let ticket = self.harness().ticket(&name);
        self.harness().step(|shard, now, out| shard.join(now, request, ticket, out));
        Ok(())
    }

    fn sync(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
        let name = args.next_pos().ok_or("NAME")?.to_owned();
        let mut get = |key: &str| args.take_key(key).map(str::to_owned);
        let assign = get("assign").unwrap_or_default();
        let assignments = assign.split('/').filter_map(|one| one.split_once('@'));
        let request = Sync {
            group: group(),
            member: MemberId::from(get("id").ok_or("id=")?.as_str()),
            instance: get("instance"),
            generation: get("generation").ok_or("generation=")?.parse()?,
            protocol_type: Some("consumer".to_owned()),
            protocol: Some(get("protocol").unwrap_or("range".to_owned())),
            assignments: assignments
                .map(|(id, text)| (MemberId::from(id), Bytes::from(text.to_owned())))
                .collect(),
        };
        let ticket = self.harness().ticket(&name);
        self.harness().step(|shard, now, out| shard.sync(now, request, ticket, out));
        Ok(())
    }

    fn heartbeat(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let id = MemberId::from(args.next_pos().ok_or("ID")?);
        let generation = args.take_key("generation").ok_or("generation=")?.parse()?;
        let instance = args.take_key("instance").map(str::to_owned);
        let now = self.harness().now();
        let member = (&id, instance.as_deref());
        let result = self.harness().shard.heartbeat(now, &group(), member, generation);
        Ok(result.map_or_else(|error| error.to_string(), |()| "well".to_owned()))
    }

    fn leave(&mut self, args: &mut ArgumentConsumer<'_>) {
        let instances = args.take_key("instances").unwrap_or_default().to_owned();
        let instances = instances
            .split(',')
            .filter(|it| !it.is_empty())
            .map(|it| Leaving { id: MemberId::from(""), instance: Some(it.to_owned()) });
        let mut members: Vec<Leaving> = instances.collect();
        while let Some(id) = args.next_pos() {
            members.push(Leaving { id: MemberId::from(id), instance: None });
        }
        let request = Leave { group: group(), members };
        let ticket = self.harness().ticket("leave");
        self.harness().step(|shard, now, out| shard.leave(now, &request, ticket, out));
    }

    fn commit(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
        let generation = args.take_key("generation").map_or(Ok(-1), str::parse)?;
        let member = args.take_key("member").unwrap_or_default().to_owned();
        let retention_ms = args.take_key("retention").map(str::parse).transpose()?;
        let mut offsets = Vec::new();
        while let Some(one) = args.next_pos() {
            let (place, offset) = one.split_once('@').ok_or("TOPIC-PARTITION@OFFSET")?;
            let (topic, partition) = place.split_once('-').ok_or("TOPIC-PARTITION@OFFSET")?;
            offsets.push(OffsetToCommit {
                topic: TopicName::from(topic),
                topic_id: Uuid::ZERO,
                partition: PartitionId(partition.parse()?),
                offset: Offset(offset.parse()?),
                leader_epoch: LeaderEpoch::NONE,
                metadata: String::new(),
            });
        }
        let request = OffsetCommit {
            group: group(),
            member: MemberId::from(member.as_str()),
            instance: None,
            generation,
            tells_missing_group: true,
            retention_ms,
            offsets,
        };
        let ticket = self.harness().ticket("commit");
        self.harness().step(|shard, now, out| shard.commit_offsets(now, &request, ticket, out));
        Ok(())
    }

    fn fetch(&mut self) -> String {
        let offsets = self.harness().shard.fetch_all_offsets(&group(), false);
        let line = |(key, offset): (crate::group::OffsetKey, FetchedOffset)| {
            let FetchedOffset::Offset(offset) = offset else { unreachable!("nothing is pending") };
            format!("{}-{}:{}", key.topic, key.partition, offset.offset)
        };
        let lines: Vec<String> = offsets.into_iter().map(line).collect();
        if lines.is_empty() { "nothing".to_owned() } else { lines.join(" ") }
    }
}
