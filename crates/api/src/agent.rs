//! The agent protocol, generated from `proto/agent.proto`, and the limits both sides keep.

/// Generated messages and services.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("drydock.agent.v1");
}

/// Largest message either side accepts, bytes: one inventory section or one task report, and their frame.
pub const MESSAGE_MAX_BYTES: usize = drydock_domain::limits::SECTION_MAX_BYTES + 64 * 1024;

pub use drydock_domain::work::{ORDER_SIGNATURE_CONTEXT, signed_bytes};
