//! How handlers and the broker's life cycle reach the controller of this node.

use std::fmt;

use ottla_types::{BrokerEpoch, ErrorCode, NodeId};
use tokio::sync::{mpsc, oneshot};

use crate::controller::{
    AlterConfigs, AlteredConfigs, BrokerError, BrokerHeartbeat, BrokerRegistration,
    ControllerRegistration, CreateTopics, DeletedTopic, ElectLeaders, ElectedTopic, FeatureError,
    HeartbeatReply, NewPartitions, PartitionsOutcome, ProducerIdBlock, ReassignedTopic,
    Reassignments, ReplicaAssignments, TopicError, TopicOutcome, TopicSelector, UpdateFeatures,
};

/// Requests that wait for the controller.
pub(super) const COMMANDS_MAX: usize = 1024;

/// Where a reply goes.
pub(super) type ReplyTo<R> = oneshot::Sender<Result<R, ControllerError>>;

/// What the controller is asked.
pub(super) enum Command {
    CreateTopics(CreateTopics, ReplyTo<Vec<TopicOutcome>>),
    CreatePartitions(NewPartitions, ReplyTo<Vec<PartitionsOutcome>>),
    DeleteTopics(Vec<TopicSelector>, ReplyTo<Vec<DeletedTopic>>),
    ElectLeaders(ElectLeaders, ReplyTo<Vec<ElectedTopic>>),
    Reassign(Reassignments, ReplyTo<Vec<ReassignedTopic>>),
    UnregisterBroker(NodeId, ReplyTo<()>),
    UpdateFeatures(NodeId, UpdateFeatures, ReplyTo<()>),
    AllocateProducerIds(NodeId, BrokerEpoch, ReplyTo<ProducerIdBlock>),
    RegisterController(ControllerRegistration, ReplyTo<()>),
    RegisterBroker(BrokerRegistration, ReplyTo<BrokerEpoch>),
    Heartbeat(BrokerHeartbeat, ReplyTo<HeartbeatReply>),
    AssignReplicas(ReplicaAssignments, ReplyTo<Vec<ErrorCode>>),
    AlterConfigs(AlterConfigs, ReplyTo<AlteredConfigs>),
}

/// Why the controller did not do what it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControllerError {
    /// This node does not lead the quorum, or lost the lead meanwhile: whether it was done is not
    /// known then.
    NotController,
    /// It took longer than the client wanted to wait; it may still be done.
    TimedOut,
    /// The request about topics is refused as a whole.
    Topic(TopicError),
    /// The broker's request is refused.
    Broker(BrokerError),
    /// Features are not updated.
    Feature(FeatureError),
}

impl ControllerError {
    /// What the client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            ControllerError::NotController => ErrorCode::NotController,
            ControllerError::TimedOut => ErrorCode::RequestTimedOut,
            ControllerError::Topic(error) => error.code(),
            ControllerError::Broker(error) => error.code(),
            ControllerError::Feature(error) => error.code(),
        }
    }
}

impl fmt::Display for ControllerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControllerError::NotController => {
                f.write_str("This is not the correct controller for this cluster.")
            }
            ControllerError::TimedOut => f.write_str("The request timed out."),
            ControllerError::Topic(error) => {
                f.write_str(&error.message().unwrap_or_else(|| error.code().to_string()))
            }
            ControllerError::Broker(error) => error.fmt(f),
            ControllerError::Feature(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ControllerError {}

/// A handle on the controller. Copies reach the same one.
#[derive(Clone)]
pub struct ControllerHandle {
    pub(super) commands: mpsc::Sender<Command>,
}

impl ControllerHandle {
    /// Creates topics. The answer comes when they can be used on this node.
    ///
    /// # Errors
    /// When nothing was decided about any of them.
    pub async fn create_topics(
        &self,
        request: CreateTopics,
    ) -> Result<Vec<TopicOutcome>, ControllerError> {
        self.ask(|reply| Command::CreateTopics(request, reply)).await
    }

    /// Adds partitions to topics. The answer comes when they can be used on this node.
    ///
    /// # Errors
    /// When nothing was decided about any of them.
    pub async fn create_partitions(
        &self,
        request: NewPartitions,
    ) -> Result<Vec<PartitionsOutcome>, ControllerError> {
        self.ask(|reply| Command::CreatePartitions(request, reply)).await
    }

    /// Deletes topics. The answer comes when this node does not serve them any more.
    ///
    /// # Errors
    /// When nothing was decided about any of them.
    pub async fn delete_topics(
        &self,
        selectors: Vec<TopicSelector>,
    ) -> Result<Vec<DeletedTopic>, ControllerError> {
        self.ask(|reply| Command::DeleteTopics(selectors, reply)).await
    }

    /// Elects leaders. The answer comes when this node goes by them.
    ///
    /// # Errors
    /// When nothing was decided about any partition.
    pub async fn elect_leaders(
        &self,
        request: ElectLeaders,
    ) -> Result<Vec<ElectedTopic>, ControllerError> {
        self.ask(|reply| Command::ElectLeaders(request, reply)).await
    }

    /// Begins and cancels reassignments. The answer comes when this node knows them.
    ///
    /// # Errors
    /// When nothing was decided about any partition.
    pub async fn reassign(
        &self,
        request: Reassignments,
    ) -> Result<Vec<ReassignedTopic>, ControllerError> {
        self.ask(|reply| Command::Reassign(request, reply)).await
    }

    /// Forgets a broker.
    ///
    /// # Errors
    /// When it is not registered, or this is not the controller.
    pub async fn unregister_broker(&self, broker: NodeId) -> Result<(), ControllerError> {
        self.ask(|reply| Command::UnregisterBroker(broker, reply)).await
    }

    /// Updates the levels of features; `node` is this one. The answer comes when this node goes by
    /// them.
    ///
    /// # Errors
    /// When one of them cannot be updated, or this is not the controller.
    pub async fn update_features(
        &self,
        node: NodeId,
        request: UpdateFeatures,
    ) -> Result<(), ControllerError> {
        self.ask(|reply| Command::UpdateFeatures(node, request, reply)).await
    }

    /// Asks for a block of producer ids.
    ///
    /// # Errors
    /// When the broker's epoch is not the registered one, or this is not the controller.
    pub async fn allocate_producer_ids(
        &self,
        broker: NodeId,
        epoch: BrokerEpoch,
    ) -> Result<ProducerIdBlock, ControllerError> {
        self.ask(|reply| Command::AllocateProducerIds(broker, epoch, reply)).await
    }

    /// Registers a controller.
    ///
    /// # Errors
    /// When the registration is refused, or this is not the controller.
    pub async fn register_controller(
        &self,
        request: ControllerRegistration,
    ) -> Result<(), ControllerError> {
        self.ask(|reply| Command::RegisterController(request, reply)).await
    }

    /// Registers a broker; tells its epoch.
    ///
    /// # Errors
    /// When the registration is refused, or this is not the controller.
    pub async fn register_broker(
        &self,
        request: BrokerRegistration,
    ) -> Result<BrokerEpoch, ControllerError> {
        self.ask(|reply| Command::RegisterBroker(request, reply)).await
    }

    /// Tells the controller how a broker is.
    ///
    /// # Errors
    /// When the broker must register again, or this is not the controller.
    pub async fn heartbeat(
        &self,
        request: BrokerHeartbeat,
    ) -> Result<HeartbeatReply, ControllerError> {
        self.ask(|reply| Command::Heartbeat(request, reply)).await
    }

    /// Tells the controller in which directories a broker's replicas are; the answer has an error
    /// for each.
    ///
    /// # Errors
    /// When the broker must register again, or this is not the controller.
    pub async fn assign_replicas(
        &self,
        request: ReplicaAssignments,
    ) -> Result<Vec<ErrorCode>, ControllerError> {
        self.ask(|reply| Command::AssignReplicas(request, reply)).await
    }

    /// Changes configs. The answer, a result for each resource, comes when they act on this node.
    ///
    /// # Errors
    /// When nothing was decided about any of them.
    pub async fn alter_configs(
        &self,
        request: AlterConfigs,
    ) -> Result<AlteredConfigs, ControllerError> {
        self.ask(|reply| Command::AlterConfigs(request, reply)).await
    }

    async fn ask<R>(
        &self,
        command: impl FnOnce(ReplyTo<R>) -> Command,
    ) -> Result<R, ControllerError> {
        let (reply, replied) = oneshot::channel();
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_| ControllerError::NotController)?;
        replied.await.unwrap_or(Err(ControllerError::NotController))
    }
}
