//! `systemctl`, for hosts whose process 1 cannot be reached otherwise.
//!
//! ```text
//! $ systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState,CanReload -- ssh.service
//! CanReload=yes
//! LoadState=loaded
//! ActiveState=active
//! UnitFileState=enabled
//! ```

use std::time::Duration;

use drydock_domain::policy::Evidence;
use drydock_pkgmgr::run::{CommandSpec, End, Finished, Runner};

use crate::policy::kind::{Failure, UnitState};

/// Asking.
const SHOW_LIMIT: Duration = Duration::from_secs(60);
/// Words of systemctl kept for a message, bytes.
const WORDS_MAX_BYTES: usize = 600;

/// The state of a unit.
pub fn state(runner: &dyn Runner, unit: &str) -> Result<UnitState, Failure> {
    let show = ["show", "--no-pager", "--property=LoadState,ActiveState,UnitFileState,CanReload", "--", unit];
    let shown = ran(runner, &show, SHOW_LIMIT)?;
    let mut state = parse(&shown.stdout.text());
    // What systemd remembers may be older than the disk.
    let enabled = ran_anyhow(runner, &["is-enabled", "--", unit], SHOW_LIMIT)?.stdout.text();
    let word = enabled.trim();
    if !word.is_empty() && word != "not-found" {
        state.file = word.to_owned();
    }
    Ok(state)
}

/// Runs a changing verb.
pub fn run(runner: &dyn Runner, args: &[&str], limit: Duration) -> Result<(), Failure> {
    ran(runner, args, limit).map(drop)
}

fn ran(runner: &dyn Runner, args: &[&str], limit: Duration) -> Result<Finished, Failure> {
    let finished = ran_anyhow(runner, args, limit)?;
    if finished.success() {
        return Ok(finished);
    }
    let words: String = finished.stderr.text().trim().chars().take(WORDS_MAX_BYTES).collect();
    Err(Failure {
        message: format!("systemctl {}: {}: {words}", args.join(" "), finished.describe_end()),
        evidence: Some(Evidence::Output { end: finished.describe_end(), text: words }),
        timed_out: finished.end == End::TimedOut,
    })
}

/// Also with another exit code than 0: `is-enabled` says no that way.
fn ran_anyhow(runner: &dyn Runner, args: &[&str], limit: Duration) -> Result<Finished, Failure> {
    let command = CommandSpec::new("systemctl", format!("systemctl {}", args.join(" ")), limit).args(args.iter().copied());
    runner.run(&command).map_err(|e| Failure::of(format!("systemd cannot be asked: {e}")))
}

fn parse(text: &str) -> UnitState {
    let field = |name: &str| {
        let found = text.lines().filter_map(|l| l.split_once('=')).find(|(k, _)| *k == name);
        found.map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
    };
    UnitState {
        load: field("LoadState"),
        active: field("ActiveState"),
        file: field("UnitFileState"),
        can_reload: field("CanReload") == "yes",
    }
}
