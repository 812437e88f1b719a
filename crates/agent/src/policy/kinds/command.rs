//! Running the small tools of a host: what they say is told when they fail.

use std::time::Duration;

use drydock_pkgmgr::run::{CommandSpec, End, Finished};

use super::evidence;
use crate::policy::kind::{Cx, Failure};

/// One small tool.
const LIMIT: Duration = Duration::from_secs(120);
/// Its last words in a message, bytes; the evidence has more.
const WORDS_MAX_BYTES: usize = 600;

/// Runs it; anything but success is a failure in its own words.
pub fn run(cx: &Cx<'_>, program: &str, args: &[&str]) -> Result<Finished, Failure> {
    let command = CommandSpec::new(program, program, LIMIT.min(cx.limit)).args(args.iter().copied());
    let finished = cx.runner.run(&command).map_err(|e| Failure::of(e.to_string()))?;
    if finished.success() {
        return Ok(finished);
    }
    let words = [finished.stderr.text(), finished.stdout.text()].concat();
    let words: String = words.trim().chars().take(WORDS_MAX_BYTES).collect();
    Err(Failure {
        message: format!("{program} {}: {}: {}", args.join(" "), finished.describe_end(), cx.secrets.redact(&words)),
        evidence: Some(evidence::output(cx, &finished)),
        timed_out: finished.end == End::TimedOut,
    })
}
