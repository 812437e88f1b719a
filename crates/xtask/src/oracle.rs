//! `cargo xtask oracle`: what `domain` decides about access beside what Cedar decides, on generated statements and requests.
//! A crate beside the workspace, so that Cedar's libraries and their features stay out of it.

use anyhow::{Context as _, Result};

use crate::sh;

/// Where the crate is, from the workspace's root.
const MANIFEST: &str = "crates/access-oracle/Cargo.toml";

/// Compares; fails at a disagreement.
pub fn run() -> Result<()> {
    let args = ["test", "--locked", "--manifest-path", MANIFEST, "--", "--nocapture"];
    sh::run(sh::cargo(args)).context("the decision about access and Cedar's do not agree")
}
