//! The node's sockets: taken early, opened when the node is ready.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use ottla_config::{Endpoint, Listener, ListenerLimits, NodeConfig, SecurityProtocol};
use ottla_protocol::control::VoterEndpoint;
use ottla_protocol::metadata::Endpoint as RecordEndpoint;
use ottla_runtime::{Bound, Net, Runtime};
use ottla_server::{Connections, ConnectionsSetup, ListenerId};

use crate::descriptors::Descriptors;
use crate::start_error::StartError;

/// A listener's address cannot be taken.
#[derive(Debug)]
pub struct BindError {
    listener: Listener,
    source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => {
                let port = self.listener.endpoint.port;
                write!(f, "listener {}: port {port} is in use by another process", self.listener)
            }
            _ => write!(f, "listener {}: {}", self.listener, self.source),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The addresses of all listeners.
pub(crate) struct Sockets {
    pub(crate) broker: Vec<(ListenerId, Bound)>,
    pub(crate) controller: Vec<(ListenerId, Bound)>,
    /// Of the page of metrics.
    pub(crate) metrics: Option<Bound>,
}

/// Takes the addresses of all listeners.
///
/// # Errors
/// The first listener that cannot have its address, or that other machines could reach while
/// `ottla.unprotected.loopback` is set.
pub(crate) async fn bind_all(runtime: &Runtime, config: &NodeConfig) -> Result<Sockets, BindError> {
    let only_loopback = config.unprotected_loopback;
    let mut sockets = Sockets { broker: Vec::new(), controller: Vec::new(), metrics: None };
    for (index, listener) in config.broker_listeners.iter().enumerate() {
        let bound = bind(runtime.net(), listener, only_loopback).await?;
        sockets.broker.push((ListenerId::Broker(index), bound));
    }
    for (index, listener) in config.controller_listeners.iter().enumerate() {
        let bound = bind(runtime.net(), listener, only_loopback).await?;
        sockets.controller.push((ListenerId::Controller(index), bound));
    }
    if let Some(endpoint) = &config.metrics.listener {
        let listener = Listener { name: "METRICS".to_owned(), endpoint: endpoint.clone() };
        sockets.metrics = Some(bind(runtime.net(), &listener, only_loopback).await?);
    }
    Ok(sockets)
}

async fn bind(net: &Net, listener: &Listener, only_loopback: bool) -> Result<Bound, BindError> {
    let failed = |source| BindError { listener: listener.clone(), source };
    let Endpoint { host, port } = &listener.endpoint;
    let addresses = net.resolve(host, *port).await.map_err(failed)?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    if only_loopback && !addresses.iter().all(|address| address.ip().is_loopback()) {
        let reason = "ottla.unprotected.loopback takes loopback addresses only, such as 127.0.0.1";
        return Err(failed(io::Error::other(reason)));
    }
    for address in addresses {
        match net.bind(address) {
            Ok(bound) => return Ok(bound),
            // The first of all addresses is IPv6, which a machine may not have.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(failed(error)),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// What the connections of clients, and those of the quorum, are counted with.
///
/// # Errors
/// A host of `max.connections.per.ip.overrides` that has no address.
pub(crate) async fn connections(
    net: &Net,
    config: &NodeConfig,
    descriptors: &Descriptors,
) -> Result<(Connections, Connections), StartError> {
    let limits = &config.limits;
    let mut per_ip_overrides = BTreeMap::new();
    for (host, count) in &limits.per_ip_overrides {
        let failed = |source| StartError::UnknownHost { host: host.clone(), source };
        for address in net.resolve(host, 0).await.map_err(failed)? {
            per_ip_overrides.insert(address.ip().to_canonical(), *count);
        }
    }
    let counted = |connections_max, listeners: &[ListenerLimits]| {
        Connections::new(ConnectionsSetup {
            connections_max,
            creation_rate_max: limits.creation_rate_max,
            per_ip_max: limits.connections_per_ip_max,
            per_ip_overrides: per_ip_overrides.clone(),
            unsent_max: limits.unsent_max,
            listeners: listeners.to_vec(),
        })
    };
    Ok((
        counted(descriptors.connections_max, &config.listener_limits),
        counted(descriptors.controller_connections_max, &config.controller_limits),
    ))
}

/// An advertised listener with the machine's name where the configuration names no host.
fn told(net: &Net, listener: &Listener) -> Listener {
    let mut told = listener.clone();
    if told.endpoint.host.is_empty() {
        told.endpoint.host = net.host_name();
    }
    told
}

/// What is registered for listeners.
pub(crate) fn registered(net: &Net, advertised: &[Listener]) -> Vec<RecordEndpoint> {
    let register = |listener: &Listener| {
        let Listener { name, endpoint } = told(net, listener);
        RecordEndpoint {
            name,
            host: endpoint.host,
            port: endpoint.port,
            security_protocol: SecurityProtocol::Plaintext.code(),
        }
    };
    advertised.iter().map(register).collect()
}

/// Where the quorum finds this node.
pub(crate) fn voter_endpoints(net: &Net, config: &NodeConfig) -> Vec<VoterEndpoint> {
    let endpoint = |listener: &Listener| {
        let Listener { name, endpoint } = told(net, listener);
        VoterEndpoint { name, host: endpoint.host, port: endpoint.port }
    };
    config.advertised_controller_listeners.iter().map(endpoint).collect()
}

/// Tells the operator where the node listens and what clients are told.
pub(crate) fn announce(net: &Net, config: &NodeConfig) {
    let listeners = config.broker_listeners.iter().zip(&config.advertised_listeners);
    for (listener, advertised) in listeners {
        let advertised = told(net, advertised).endpoint;
        tracing::info!("listening on {listener}; clients are told to connect to {advertised}");
    }
    for listener in &config.controller_listeners {
        tracing::info!("listening on {listener} for the metadata quorum");
    }
    if let Some(endpoint) = &config.metrics.listener {
        tracing::info!("metrics are at http://{endpoint}/metrics");
    }
}
