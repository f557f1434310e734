//! The server: listeners, connections, the table of APIs, and one handler for each.
//!
//! ```text
//!   acceptor ── connection ── inbox ── apis (limits) ── dispatch ── handlers/… ── outbox
//! ```
//! Handlers read one immutable image from start to end, ask the authorizer before they act, and
//! answer per topic and partition; only what is not a request at all closes the connection.
//!
//! Deliberately absent so far: quotas, SASL, TLS, forwarding to another controller.

mod acceptor;
mod apis;
mod configs;
mod connection;
mod connections;
mod dispatch;
mod fetch_session;
mod handlers;
mod homes;
mod inbox;
mod memory;
mod metrics_page;
mod outbox;
mod pace;
mod repeated;
mod response;
mod services;
mod transactions;
mod waiting;
mod workers;

pub use acceptor::accept;
pub use apis::reference_page;
pub use connections::{Connections, ConnectionsSetup};
pub use fetch_session::Sessions as FetchSessions;
pub use handlers::api_versions::KeptAnswers as ApiVersionsAnswers;
pub use handlers::internal_topic::InternalTopic;
pub use handlers::metadata::KeptTopics as MetadataTopics;
pub use memory::RequestMemory;
pub use metrics_page::serve_metrics;
pub use services::{Identity, ListenerId, Services};
pub use transactions::Markers;
pub use waiting::Waiting;
pub use workers::Workers;
