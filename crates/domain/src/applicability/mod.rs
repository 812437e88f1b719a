//! Which updates, advisories and vulnerabilities touch a host: decided on the server from package sets, snapshots, advisories and the
//! host's rules, without waking the host, and as its own package manager would answer. DESIGN decision 12.

pub mod facts;
