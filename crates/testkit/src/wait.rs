//! Waiting for a condition of the world, with a limit. The only way tests here wait for anything.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Pause between two looks at a condition: short beside a process start, long beside a look.
pub const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Polls `holds` until it says true.
///
/// # Errors
/// When `limit` passes first (the message names `what`), or when `holds` itself fails: a condition
/// that may fail for a while must turn that into `Ok(false)`.
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    loop {
        if holds().with_context(|| format!("while waiting until {what}"))? {
            return Ok(());
        }
        if begun.elapsed() >= limit {
            bail!("waited {} s, still not so: {what}", limit.as_secs_f32());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
