//! The daemon as its users meet it: over real TLS, with real certificates and a real database.

mod agent_link;
mod daemon;
mod guard;
mod rest;
mod restart;
mod support;
