//! Commands of scripts for what an operator asks for: more partitions, elections, reassignments.

use goldenscript::ArgumentConsumer;
use ottla_types::{NodeId, PartitionId};

use super::{Output, Script, assignments, render};
use crate::controller::{
    Direction, ElectLeaders, ElectionKind, FeatureUpdate, GrownTopic, NewPartitions,
    PartitionsOutcome, Reassignments, UpdateFeatures,
};

impl Script {
    pub(super) fn administer(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Output {
        match name {
            "grow" => self.grow(args),
            "elect" => self.elect(args),
            "reassign" => self.reassign(args),
            "update" => self.update_features(args),
            _ => self.unregister(args),
        }
    }

    fn grow(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let assigned = args.take_key("assign").map(assignments).transpose()?;
        let assigned = assigned.map(|all| all.into_iter().map(|one| one.replicas).collect());
        let validate_only = args.take_key("validate").is_some();
        let mut topics = Vec::new();
        while let Some((name, count)) = args.next_key() {
            let (name, count, assignments) = (name.to_owned(), count.parse()?, assigned.clone());
            topics.push(GrownTopic { name, count, assignments });
        }
        let harness = self.harness();
        let (request, mut random) = (NewPartitions { topics, validate_only }, harness.random());
        let decision = harness.controller.create_partitions(&request, &mut random);
        let (append, reply) = harness.append(decision);
        let mut output = self.show(&append);
        for PartitionsOutcome { name, result } in reply {
            output += &match result {
                Ok(()) => format!("reply: {name} has grown\n"),
                Err(error) => render::refusal(error.code(), &error.to_string()),
            };
        }
        Ok(output)
    }

    /// `elect preferred t 0 1`, or `elect unclean all`.
    fn elect(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let kind = match args.next_pos() {
            Some("unclean") => ElectionKind::Unclean,
            _ => ElectionKind::Preferred,
        };
        let topic = args.next_pos().ok_or("TOPIC")?;
        let mut ids = Vec::new();
        while let Some(id) = args.next_pos() {
            ids.push(PartitionId(id.parse()?));
        }
        let partitions = (topic != "all").then(|| vec![(topic.to_owned(), ids)]);
        let harness = self.harness();
        let request = ElectLeaders { kind, partitions };
        let decision = harness.controller.elect_leaders(&request)?;
        let (append, reply) = harness.append(decision);
        let mut output = self.show(&append);
        for topic in reply {
            for (id, elected) in topic.partitions {
                output += &match elected {
                    Ok(()) => format!("reply: {}-{id} has a leader\n", topic.name),
                    Err(error) => render::refusal(error.code(), &error.to_string()),
                };
            }
        }
        Ok(output)
    }

    /// `reassign t 0=2-3`, `reassign t 0=cancel`, `same-rf=yes`.
    fn reassign(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let may_change_replication_factor = args.take_key("same-rf").is_none();
        let topic = args.next_pos().ok_or("TOPIC")?.to_owned();
        let mut partitions = Vec::new();
        while let Some((id, brokers)) = args.next_key() {
            let ids = brokers.split('-').filter(|id| !id.is_empty()).map(str::parse);
            let replicas = match brokers {
                "cancel" => None,
                _ => Some(ids.map(|id| id.map(NodeId)).collect::<Result<Vec<_>, _>>()?),
            };
            partitions.push((PartitionId(id.parse()?), replicas));
        }
        let topics = vec![(topic, partitions)];
        let harness = self.harness();
        let request = Reassignments { topics, may_change_replication_factor };
        let decision = harness.controller.reassign(&request)?;
        let (append, reply) = harness.append(decision);
        let mut output = self.show(&append);
        for topic in reply {
            for (id, done) in topic.partitions {
                output += &match done {
                    Ok(()) => format!("reply: {}-{id} is reassigned\n", topic.name),
                    Err(error) => render::refusal(error.code(), &error.to_string()),
                };
            }
        }
        Ok(output)
    }

    fn update_features(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let direction = match args.take_key("kind") {
            None | Some("up") => Some(Direction::Upgrade),
            Some("safe") => Some(Direction::SafeDowngrade),
            Some("unsafe") => Some(Direction::UnsafeDowngrade),
            Some(_) => None,
        };
        let validate_only = args.take_key("validate").is_some();
        let mut updates = Vec::new();
        while let Some((name, level)) = args.next_key() {
            let (name, level) = (name.to_owned(), level.parse()?);
            updates.push(FeatureUpdate { name, level, direction });
        }
        let request = UpdateFeatures { updates, validate_only };
        let harness = self.harness();
        match harness.controller.update_features(NodeId(3000), &request) {
            Err(error) => Ok(render::refusal(error.code(), &error.to_string())),
            Ok(decision) => {
                let (append, ()) = harness.append(decision);
                Ok(self.show(&append) + "reply: they are updated\n")
            }
        }
    }

    fn unregister(&mut self, args: &mut ArgumentConsumer<'_>) -> Output {
        let id = NodeId(args.next_pos().ok_or("ID")?.parse()?);
        let harness = self.harness();
        match harness.controller.unregister_broker(id) {
            Err(error) => Ok(render::refusal(error.code(), &error.to_string())),
            Ok(decision) => {
                let (append, ()) = harness.append(decision);
                Ok(self.show(&append) + "reply: it is forgotten\n")
            }
        }
    }
}
