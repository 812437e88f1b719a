//! The daemon as its users meet it: over real TLS, with real certificates and a real database.

mod access_hosts;
mod advisories;
mod agent_link;
mod api_keys;
mod attacks;
mod audit;
mod content;
mod daemon;
mod deployments;
mod filters;
mod guard;
mod history;
mod managers;
mod modules;
mod policies;
mod rest;
mod restart;
mod rollouts;
mod sign_in;
mod support;
mod vulnerabilities;
