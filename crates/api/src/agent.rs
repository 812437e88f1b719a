//! The agent protocol, generated from `proto/agent.proto`, and the limits both sides keep.

/// Generated messages and services.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("drydock.agent.v1");
}

/// Largest message either side accepts, bytes: one inventory section or one task report, and their frame.
pub const MESSAGE_MAX_BYTES: usize = drydock_domain::limits::SECTION_MAX_BYTES + 64 * 1024;

/// What an order's signature covers in front of the order's bytes: a signature made for anything else never fits.
pub const ORDER_SIGNATURE_CONTEXT: &[u8] = b"drydock-work-order-v1\n";

/// The bytes an order's signature covers.
pub fn signed_bytes(order: &[u8]) -> Vec<u8> {
    [ORDER_SIGNATURE_CONTEXT, order].concat()
}
