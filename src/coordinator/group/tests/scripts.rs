//! Runs the scripts of `group/scripts`. `UPDATE=1` rewrites them: read the diff.
//!
//! | command | does |
//! |---|---|
//! | `start [KEY=VALUE]...` | a shard with an empty log; keys are those of `server.properties` |
//! | `join NAME [id=] [instance=] [protocols=a/b] [topics=a/b] [version=] ...` | a client joins |
//! | `sync NAME id= generation= [assign=ID@TEXT/...] ...` | asks for its assignment |
//! | `heartbeat ID generation=N [instance=]` | says that it is there |
//! | `leave ID... [instances=a,b]` | leaves; an ID may be `ID/INSTANCE` |
//! | `wait MS` | time passes |
//! | `clock MS` | the wall clock is set, forth or back |
//! | `hold`, `flush`, `refuse` | writes wait; are committed; are refused |
//! | `load [KEY=VALUE]...` | another coordinator takes over, maybe with other keys |
//! | `group`, `describe`, `list` | shows the group; what operators are told |
//!
//! Those about offsets are in `offsets.rs`, those of consumer groups in `consumers.rs`. Everything
//! is about the group `g`.

mod consumers;
mod offsets;

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use ottla_protocol::Writer;
use ottla_types::ErrorCode;

use super::harness::Harness;
use super::render;
use crate::group::classic::{ClassicGroup, Join, Leave, Leaving, Protocols, Sync};
use crate::group::{GroupId, MemberId};

type Output = Result<String, Box<dyn Error>>;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("group/scripts")
}

#[test]
fn scripts() {
    ottla_golden::run(&folder(), 50, Script::default);
}

#[test]
fn the_scripts_are_a_book() {
    ottla_golden::check_book(&folder());
}

/// A script in the making.
#[derive(Default)]
pub(super) struct Script {
    harness: Option<Harness>,
    consumers: consumers::Consumers,
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
    /// The group as it is.
    pub(super) fn classic(&self) -> Option<&ClassicGroup> {
        self.harness.as_ref()?.shard.classic(&group())
    }

    fn harness(&mut self) -> &mut Harness {
        self.harness.as_mut().expect("a script begins with start")
    }

    fn step(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Output {
        match name {
            "start" => {
                self.harness = Some(Harness::new(&keys(args)));
                self.consumers = consumers::Consumers::default();
            }
            "load" => {
                let keys = keys(args);
                self.harness().load(&keys);
            }
            "join" => self.join(args)?,
            "sync" => self.sync(args)?,
            "heartbeat" => return self.heartbeat(args),
            "leave" => self.leave(args),
            "wait" => {
                let time = Duration::from_millis(args.next_pos().ok_or("MS")?.parse()?);
                self.harness().wait(time);
            }
            "clock" => {
                self.harness().clock_set_ms += args.next_pos().ok_or("MS")?.parse::<i64>()?;
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
            "group" => {
                let shown = self.harness().shard.classic(&group()).map(render::group);
                return Ok(shown.unwrap_or("none".to_owned()));
            }
            "describe" => {
                let described = self.harness().shard.describe(&group());
                return Ok(described.map_or("none".to_owned(), |it| render::described(&it)));
            }
            "list" => {
                let listed = self.harness().shard.list();
                let lines: Vec<String> = listed.iter().map(render::listed).collect();
                return Ok(if lines.is_empty() { "none".to_owned() } else { lines.join("\n") });
            }
            _ => return self.step_of_consumers(name, args),
        }
        Ok(self.told())
    }

    fn told(&mut self) -> String {
        std::mem::take(&mut self.harness().told).join("\n")
    }

    fn join(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
        let name = args.next_pos().ok_or("NAME")?.to_owned();
        let mut ms = |key| -> Result<Duration, Box<dyn Error>> {
            let ms = args.take_key(key).map_or(Ok(10_000), str::parse)?;
            Ok(Duration::from_millis(ms))
        };
        let (session_timeout, rebalance_timeout) = (ms("session")?, ms("rebalance")?);
        let about = match args.take_key("topics") {
            Some(topics) => subscription(topics, args.take_key("owned")),
            None => Bytes::from(args.take_key("meta").unwrap_or(&name).to_owned()),
        };
        let mut get = |key: &str, default: &str| args.take_key(key).unwrap_or(default).to_owned();
        let id = get("id", "");
        let protocols = get("protocols", "range");
        let protocols = protocols.split('/').filter(|name| *name != "none");
        let protocols = protocols.map(|it| (it.to_owned(), about.clone())).collect();
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
            consumer_id: self.members.to_string(),
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
        let says = |said: Option<String>, default: &str| {
            Some(said.unwrap_or(default.to_owned())).filter(|said| said != "none")
        };
        let request = Sync {
            group: group(),
            member: MemberId::from(get("id").ok_or("id=")?.as_str()),
            instance: get("instance"),
            generation: get("generation").ok_or("generation=")?.parse()?,
            protocol_type: says(get("type"), "consumer"),
            protocol: says(get("protocol"), "range"),
            assignments: assignments
                .map(|(id, text)| (MemberId::from(id), assignment(text)))
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
            let (id, instance) = match id.split_once('/') {
                Some((id, instance)) => (id, Some(instance.to_owned())),
                None => (id, None),
            };
            members.push(Leaving { id: MemberId::from(id), instance });
        }
        let request = Leave { group: group(), members };
        let ticket = self.harness().ticket("leave");
        self.harness().step(|shard, now, out| shard.leave(now, &request, ticket, out));
    }
}

fn keys(args: &mut ArgumentConsumer<'_>) -> Vec<(String, String)> {
    let pairs = std::iter::from_fn(|| args.next_key());
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What a leader assigns: a text, or `t=0+1&u=2`, partitions as consumers are told of them, with
/// `;more` for what else its assignor tells.
fn assignment(text: &str) -> Bytes {
    if !text.contains('=') {
        return Bytes::from(text.to_owned());
    }
    let (text, more) = text.split_once(';').map_or((text, None), |(text, it)| (text, Some(it)));
    let topics: Vec<_> = text.split('&').filter_map(|it| it.split_once('=')).collect();
    let mut out = Writer::new();
    out.i16(0);
    out.i32(topics.len() as i32);
    for (topic, partitions) in topics {
        out.i16(topic.len() as i16);
        out.raw(topic.as_bytes());
        let partitions: Vec<i32> = partitions.split('+').filter_map(|it| it.parse().ok()).collect();
        out.i32(partitions.len() as i32);
        partitions.iter().for_each(|partition| out.i32(*partition));
    }
    out.i32(more.map_or(-1, |more| more.len() as i32));
    out.raw(more.unwrap_or_default().as_bytes());
    out.into_bytes().into()
}

/// What a consumer says about itself: the topics it wants to read, and maybe what it has.
fn subscription(topics: &str, owned: Option<&str>) -> Bytes {
    let topics: Vec<&str> = topics.split('/').collect();
    let mut out = Writer::new();
    out.i16(i16::from(owned.is_some()));
    out.i32(topics.len() as i32);
    for topic in topics {
        out.i16(topic.len() as i16);
        out.raw(topic.as_bytes());
    }
    out.i32(-1);
    let Some(owned) = owned else { return out.into_bytes().into() };
    let owned: Vec<_> = owned.split('/').filter_map(|it| it.split_once(':')).collect();
    out.i32(owned.len() as i32);
    for (topic, partitions) in owned {
        out.i16(topic.len() as i16);
        out.raw(topic.as_bytes());
        let partitions: Vec<i32> = partitions.split(',').filter_map(|it| it.parse().ok()).collect();
        out.i32(partitions.len() as i32);
        partitions.iter().for_each(|partition| out.i32(*partition));
    }
    out.into_bytes().into()
}
