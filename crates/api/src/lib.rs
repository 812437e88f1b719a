//! Contracts on the wire: the agent protocol (feature `agent-client` or `agent-server`) and the REST types of
//! `/api/v1`. Absent on purpose: decisions, storage, transport set-up.

#[cfg(any(feature = "agent-client", feature = "agent-server"))]
pub mod agent;
#[cfg(feature = "documents")]
pub mod documents;
pub mod rest;
