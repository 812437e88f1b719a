//! The one connection to the server, opened by this agent: enrolment, the attached session, renewal. Absent: what is
//! reported and what orders mean.

pub mod address;
pub mod backoff;
pub mod channel;
pub mod enrol;
pub mod session;
pub mod tls;
