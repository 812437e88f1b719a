//! `status`: what the running agent says of itself. Exit codes: 0 connected; 3 not running; 4 running without a
//! connection; 5 connected, but something needs a person.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use crate::paths::Paths;
use crate::socket::{Status, TaskStatus, ask};

const NOT_RUNNING: u8 = 3;
const NOT_CONNECTED: u8 = 4;
const HAS_PROBLEMS: u8 = 5;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct ShowStatus {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl ShowStatus {
    /// Prints.
    pub fn run(self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let status = match ask(&paths.socket) {
            Ok(status) => status,
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                anyhow::bail!("{} may be read by root only", paths.socket.display())
            }
            Err(e) => {
                if self.json {
                    println!("{}", serde_json::json!({ "running": false, "socket": paths.socket, "reason": e.to_string() }));
                } else {
                    println!("drydock-agent is not running ({}: {e})", paths.socket.display());
                    let enrolled = paths.instance().exists();
                    println!(
                        "{}",
                        if enrolled {
                            "Start it with `systemctl start drydock-agent`."
                        } else {
                            "This host is not enrolled; run `drydock-agent enrol`."
                        }
                    );
                }
                return Ok(ExitCode::from(NOT_RUNNING));
            }
        };
        if self.json {
            let mut value = serde_json::to_value(&status)?;
            value["running"] = true.into();
            println!("{}", serde_json::to_string_pretty(&value)?);
        } else {
            print!("{}", text(&status, Timestamp::now()));
        }
        Ok(ExitCode::from(code(&status)))
    }
}

fn code(status: &Status) -> u8 {
    match (status.connected_since, status.problems.is_empty()) {
        (None, _) => NOT_CONNECTED,
        (Some(_), false) => HAS_PROBLEMS,
        (Some(_), true) => 0,
    }
}

fn text(status: &Status, now: Timestamp) -> String {
    let ago = |t: Option<Timestamp>| {
        t.map_or("never".to_owned(), |t| format!("{} ({} ago)", at(t), span(now.as_second() - t.as_second())))
    };
    let mut lines = vec![("Agent", format!("{} (process {})", status.version, status.pid))];
    lines.push(("Instance", status.instance_id.clone()));
    lines.push(("Server", status.server.clone()));
    lines.push(match (status.connected_since, &status.last_error) {
        (Some(since), _) => ("Connection", format!("up since {}", ago(Some(since)))),
        (None, Some(error)) => ("Connection", format!("DOWN: {error}")),
        (None, None) => ("Connection", "being made".to_owned()),
    });
    if let Some(expires) = status.certificate_expires {
        let left = expires.as_second() - now.as_second();
        let left = if left > 0 { format!("{} left", span(left)) } else { "EXPIRED".to_owned() };
        lines.push(("Certificate", format!("until {} ({left})", at(expires))));
    }
    lines.push(("Inventory", format!("read {}, reported {}", ago(status.inventory_collected), ago(status.inventory_reported))));
    lines.push(("Task", status.current.as_ref().map_or("none".to_owned(), task)));
    for waiting in &status.queue {
        lines.push(("Queued", task(waiting)));
    }
    if let Some(sources) = &status.sources {
        let aside = match sources.set_aside.len() {
            0 => String::new(),
            count => format!(", {count} repository definitions of this host set aside"),
        };
        lines.push(("Sources", format!("{} generation {}{aside}", sources.state, sources.generation)));
    }
    if let Some(policies) = &status.policies {
        let counts = format!("{} compliant, {} non-compliant", policies.compliant, policies.non_compliant);
        let unknown = if policies.unknown > 0 { format!(", {} unknown", policies.unknown) } else { String::new() };
        let kept = if policies.kept { "" } else { " (no keeper runs)" };
        let text = format!("generation {}{kept}: {counts}{unknown}", policies.generation);
        lines.push(("Policies", format!("{text}; drift repaired: {}", policies.drift_repaired)));
        for flapping in &policies.flapping {
            lines.push(("Flapping", flapping.clone()));
        }
    }
    if status.reports_waiting > 0 {
        lines.push(("Reports", format!("{} waiting for the server", status.reports_waiting)));
    }
    for problem in &status.problems {
        lines.push(("Problem", problem.clone()));
    }
    lines.into_iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect()
}

fn at(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn task(task: &TaskStatus) -> String {
    format!("{} step {} of task {} (job {}) {}", task.state, task.step, task.task, task.job, task.message)
}

fn span(secs: i64) -> String {
    let secs = secs.max(0);
    match secs {
        0..=119 => format!("{secs} s"),
        120..=7199 => format!("{} min", secs / 60),
        7200..=172_799 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{PoliciesStatus, SourcesStatus};

    #[test]
    fn people_see_what_is_wrong_and_programs_get_a_code() {
        let now = Timestamp::from_second(1_000_000).expect("in range");
        let mut status = Status { last_error: Some("refused".into()), ..Default::default() };
        assert!(text(&status, now).contains("DOWN: refused"));
        assert_eq!(code(&status), NOT_CONNECTED);
        status.connected_since = Timestamp::from_second(999_940).ok();
        assert!(text(&status, now).contains("(60 s ago)"), "{}", text(&status, now));
        assert_eq!(code(&status), 0);
        status.problems.push("ledger file x".into());
        assert_eq!(code(&status), HAS_PROBLEMS);
        assert!(text(&status, now).contains("Problem      ledger file x"));
        assert!(!text(&status, now).contains("Sources"));
        let set_aside = vec!["/etc/yum.repos.d/base.repo".to_owned()];
        status.sources = Some(SourcesStatus { generation: 3, state: "APPLIED".into(), set_aside, ..Default::default() });
        let shown = text(&status, now);
        assert!(shown.contains("Sources      APPLIED generation 3, 1 repository definitions of this host set aside"), "{shown}");
        status.policies = Some(PoliciesStatus {
            generation: 7,
            kept: true,
            compliant: 3,
            non_compliant: 1,
            drift_repaired: 9,
            flapping: vec!["web/base/motd".into()],
            ..Default::default()
        });
        let shown = text(&status, now);
        let line = "Policies     generation 7: 3 compliant, 1 non-compliant; drift repaired: 9\nFlapping     web/base/motd\n";
        assert!(shown.contains(line), "{shown}");
    }
}
