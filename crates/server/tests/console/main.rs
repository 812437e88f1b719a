//! The console as a browser meets it: in process over the whole router, and in headless Chromium over real TLS.

mod approvals;
mod browser;
mod chromium;
mod history;
mod live;
mod oidc;
mod pages;
mod policies;
mod roles;
mod security;
mod sign_in;
mod sources;
mod support;
mod xss;
