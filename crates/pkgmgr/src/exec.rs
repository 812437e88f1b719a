//! Small helpers around [`Runner`]: the checks every command needs, and waiting for a lock.

use std::time::Duration;

use drydock_domain::inventory::Finding;

use crate::error::PkgError;
use crate::run::{CommandSpec, End, Finished, Runner};

/// Reading commands that need no network: dpkg-query, rpm -qa, apt-get -s.
pub(crate) const QUERY_TIME_LIMIT: Duration = Duration::from_secs(120);
/// Solving dependencies over large repositories.
pub(crate) const SOLVE_TIME_LIMIT: Duration = Duration::from_secs(300);
/// Reading all repositories' metadata, with the tools' own retries.
pub(crate) const REFRESH_TIME_LIMIT: Duration = Duration::from_secs(900);
/// A whole transaction: downloads of gigabytes over slow lines, scriptlets that rebuild initramfs images.
pub(crate) const APPLY_TIME_LIMIT: Duration = Duration::from_secs(4 * 3600);
/// Mending an interrupted transaction.
pub(crate) const REPAIR_TIME_LIMIT: Duration = Duration::from_secs(3600);
/// How long a lock of another package manager is waited for: unattended upgrades end within minutes.
pub(crate) const LOCK_WAIT_LIMIT: Duration = Duration::from_secs(300);
/// Pause between two tries where the tool cannot wait by itself.
pub(crate) const LOCK_RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Words of a tool kept in an error or finding, bytes.
pub(crate) const MESSAGE_MAX_BYTES: usize = 1024;

/// Runs a command; ending at the time limit or by the kill switch is an error, any exit code is not.
pub(crate) fn run(runner: &dyn Runner, spec: &CommandSpec) -> Result<Finished, PkgError> {
    let finished = runner.run(spec).map_err(|source| PkgError::Run { label: spec.label.clone(), source })?;
    match finished.end {
        End::TimedOut => Err(PkgError::TimedOut { label: spec.label.clone(), limit: spec.time_limit }),
        End::Killed => Err(PkgError::Killed { label: spec.label.clone() }),
        End::Exited(_) | End::Signaled(_) => Ok(finished),
    }
}

/// Runs a command whose exit code must be one of `good` and whose output must be complete; returns the output.
pub(crate) fn run_text(runner: &dyn Runner, spec: &CommandSpec, good: &[i32]) -> Result<String, PkgError> {
    let finished = run(runner, spec)?;
    if !matches!(finished.end, End::Exited(code) if good.contains(&code)) {
        return Err(failed(spec, &finished));
    }
    complete(spec, &finished)
}

/// The whole standard output, or an error when a part is missing.
pub(crate) fn complete(spec: &CommandSpec, finished: &Finished) -> Result<String, PkgError> {
    if !finished.stdout.complete() {
        return Err(PkgError::Incomplete { label: spec.label.clone() });
    }
    Ok(finished.stdout.text())
}

/// The error of a command that said no, with its last words.
pub(crate) fn failed(spec: &CommandSpec, finished: &Finished) -> PkgError {
    PkgError::Failed { label: spec.label.clone(), end: finished.describe_end(), message: last_words(finished) }
}

/// The end of what a command printed, errors first, at most 1 KiB.
pub(crate) fn last_words(finished: &Finished) -> String {
    let err = finished.stderr.text();
    let text = if err.trim().is_empty() { finished.stdout.text() } else { err };
    let text = text.trim();
    if text.is_empty() {
        return "it printed nothing".to_owned();
    }
    cut_front(text, MESSAGE_MAX_BYTES)
}

/// The last `max` bytes at a character boundary.
fn cut_front(text: &str, max: usize) -> String {
    let mut start = text.len().saturating_sub(max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

/// The first 1 KiB at a character boundary.
pub(crate) fn cut(text: &str) -> String {
    let mut end = text.len().min(MESSAGE_MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// How much of a plan was carried out, in words.
pub(crate) fn planned_changes(n: usize) -> String {
    if n == 1 { "1 planned change".to_owned() } else { format!("{n} planned changes") }
}

/// Findings as one line of an error.
pub(crate) fn join_findings(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(|f| format!("{}: {}", f.subject, f.message)).collect();
    cut(&lines.join("; "))
}

/// Runs a command again and again while `locked` finds a lock in its end, up to [`LOCK_WAIT_LIMIT`]. `locked` returns
/// the holder, where the tool names it.
pub(crate) fn run_waiting(
    runner: &dyn Runner,
    spec: &CommandSpec,
    locked: impl Fn(&Finished) -> Option<Option<String>>,
) -> Result<Finished, PkgError> {
    let mut waited = Duration::ZERO;
    loop {
        let finished = run(runner, spec)?;
        let Some(holder) = locked(&finished) else { return Ok(finished) };
        if waited >= LOCK_WAIT_LIMIT {
            return Err(PkgError::Locked { label: spec.label.clone(), holder, waited });
        }
        runner.pause(LOCK_RETRY_INTERVAL);
        // Newer apt waits by itself before it gives up: that time counts as well.
        waited += LOCK_RETRY_INTERVAL + finished.wall;
    }
}

/// `uname -r`: the running kernel.
pub(crate) fn uname() -> CommandSpec {
    CommandSpec::new("uname", "uname -r", QUERY_TIME_LIMIT).args(["-r"])
}
