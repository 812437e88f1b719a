//! The daemon as its users meet it: over real TLS, with real certificates and a real database.

mod agent_link;
mod content;
mod daemon;
mod guard;
mod managers;
mod rest;
mod restart;
mod support;
