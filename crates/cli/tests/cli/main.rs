//! The whole command against a server that is played by this test: what is printed, what is sent, how it ends.

mod advisories;
mod assignments;
mod audit;
mod compliance;
mod deployments;
mod docs;
mod documents;
mod errors;
mod fake;
mod follow;
mod groups;
mod lists;
mod login;
mod packages;
mod policies;
mod progress;
mod rollouts;
mod sources;
mod start;
mod statements;
mod tls;
mod users;
mod vercmp;
mod vulnerabilities;
