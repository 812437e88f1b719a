//! One health check, made: a command, a unit's state, a connection, an HTTP request. Each ends within its limit.
//!
//! Absent: deciding what follows, proxies (a host's own services are asked directly), redirections, reading bodies.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use drydock_domain::limits::STEP_TIME_LIMIT_MAX_SECS;
use drydock_domain::patch::spec::ExecStepConfig;
use drydock_domain::rollout::health::{EXEC_LIMIT_DEFAULT_SECS, HostPort, HttpCheck, HttpTarget, TcpCheck, UnitCheck};
use drydock_pkgmgr::run::{CommandSpec, End, Finished, RunError, Runner, SystemRunner};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::host::{Probe, Trouble};
use crate::inventory::collect;
use crate::link::channel::{USER_AGENT, chain};
use crate::link::tls;

/// Longest status line of an HTTP answer, bytes.
const STATUS_LINE_MAX_BYTES: usize = 8 * 1024;
/// Words of a command's output told, characters.
const SAID_MAX_CHARS: usize = 300;
/// systemctl answers in milliseconds; a hung process 1 must not hang us.
const SYSTEMCTL_LIMIT: Duration = Duration::from_secs(20);

/// A check's command with its own limit, or what is left of the host's time.
pub fn limited(config: &ExecStepConfig, left: Duration) -> ExecStepConfig {
    let own = config.time_limit_secs.unwrap_or(EXEC_LIMIT_DEFAULT_SECS);
    let left = u32::try_from(left.as_secs().max(1)).unwrap_or(STEP_TIME_LIMIT_MAX_SECS);
    ExecStepConfig { time_limit_secs: Some(own.min(left)), ..config.clone() }
}

/// Runs a check's command. `success` says which exit codes are healthy.
pub fn command(runner: &SystemRunner, command: &CommandSpec, success: impl FnOnce(i32) -> bool) -> Result<Probe, Trouble> {
    let finished = match runner.run(command) {
        Ok(finished) => finished,
        Err(RunError::NotFound { program, .. }) => return Ok(Probe::ill(format!("{program} is not installed on this host"))),
        Err(e) => return Ok(Probe::ill(chain(&e))),
    };
    let said = last_line(&finished);
    let (healthy, detail) = match finished.end {
        End::Killed => return Err(Trouble::Killed),
        End::Exited(code) => (success(code), format!("exit code {code}{said}")),
        End::Signaled(signal) => (false, format!("ended by signal {signal}{said}")),
        End::TimedOut => (false, format!("did not end within {} s{said}", command.time_limit.as_secs())),
    };
    Ok(Probe { healthy, detail, output: finished.output(), exit_code: finished.exit_code })
}

fn last_line(finished: &Finished) -> String {
    let text = finished.stdout.text();
    let line = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
    let said: String = line.trim().chars().filter(|c| !c.is_control()).take(SAID_MAX_CHARS).collect();
    if said.is_empty() { said } else { format!(": {said}") }
}

/// Is the unit active?
pub fn unit(runner: &SystemRunner, check: &UnitCheck, limit: Duration) -> Result<Probe, Trouble> {
    let spec = CommandSpec::new("systemctl", "systemctl is-active", limit.min(SYSTEMCTL_LIMIT)).args([
        "is-active",
        "--",
        check.unit.as_str(),
    ]);
    match runner.run(&spec) {
        Ok(Finished { end: End::Killed, .. }) => Err(Trouble::Killed),
        Ok(done) => {
            let text = done.stdout.text();
            let state = text.lines().next().unwrap_or_default().trim();
            let state = if state.is_empty() { done.stderr.text().trim().to_owned() } else { format!("is {state}") };
            Ok(Probe { healthy: done.success(), ..Probe::ill(state) })
        }
        Err(e) => Ok(Probe::ill(chain(&e))),
    }
}

/// The host's failed units, sorted.
pub fn failed_units(runner: &SystemRunner) -> Result<Vec<String>, String> {
    let args = ["list-units", "--failed", "--plain", "--no-legend", "--no-pager", "--full"];
    let spec = CommandSpec::new("systemctl", "systemctl list-units", SYSTEMCTL_LIMIT).args(args);
    let done = runner.run(&spec).map_err(|e| chain(&e))?;
    if !done.success() {
        return Err(format!("systemctl list-units: {} {}", done.describe_end(), done.stderr.text().trim()));
    }
    Ok(collect::failed_units(&done.stdout.text()))
}

/// Is the host still coming up?
pub fn starting(runner: &SystemRunner) -> bool {
    let spec = CommandSpec::new("systemctl", "systemctl is-system-running", SYSTEMCTL_LIMIT).args(["is-system-running"]);
    let said = runner.run(&spec).map(|done| done.stdout.text()).unwrap_or_default();
    matches!(said.trim(), "initializing" | "starting")
}

/// Can a connection be opened?
pub fn tcp(check: &TcpCheck, limit: Duration) -> Probe {
    let place = match HostPort::parse(&check.address, None) {
        Ok(place) => place,
        Err(why) => return Probe::ill(why),
    };
    within(limit, async {
        connect(&place).await?;
        Ok(Probe::well("a connection was opened"))
    })
}

/// Does an HTTP server answer as wished?
pub fn http(check: &HttpCheck, limit: Duration) -> Probe {
    let target = match HttpTarget::parse(&check.url) {
        Ok(target) => target,
        Err(why) => return Probe::ill(why),
    };
    within(limit, async {
        let stream = connect(&target.place).await?;
        let status = if target.tls {
            let config = if check.insecure { tls::unverified() } else { tls::system_roots() }.map_err(|e| e.to_string())?;
            let name = ServerName::try_from(target.place.host.clone()).map_err(|e| e.to_string())?;
            let stream = tokio_rustls::TlsConnector::from(Arc::clone(&config)).connect(name, stream).await;
            status(stream.map_err(|e| format!("no TLS: {}", chain(&e)))?, &target).await?
        } else {
            status(stream, &target).await?
        };
        let healthy = (check.status_min..=check.status_max).contains(&status);
        Ok(Probe { healthy, ..Probe::ill(format!("status {status}")) })
    })
}

/// Everything within the limit, looking the name up included.
fn within(limit: Duration, probe: impl Future<Output = Result<Probe, String>>) -> Probe {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return Probe::ill(format!("the check cannot be made: {e}")),
    };
    let done = runtime.block_on(async { tokio::time::timeout(limit, probe).await });
    // A name that is still being looked up must not hold us up.
    runtime.shutdown_background();
    match done {
        Ok(Ok(probe)) => probe,
        Ok(Err(why)) => Probe::ill(why),
        Err(_) => Probe::ill(format!("no answer within {} s", limit.as_secs())),
    }
}

async fn connect(place: &HostPort) -> Result<TcpStream, String> {
    TcpStream::connect((place.host.as_str(), place.port)).await.map_err(|e| format!("no connection: {e}"))
}

async fn status(mut stream: impl AsyncRead + AsyncWrite + Unpin, target: &HttpTarget) -> Result<u16, String> {
    let standard = if target.tls { 443 } else { 80 };
    let authority = target.place.authority();
    let host = authority.strip_suffix(&format!(":{standard}")).unwrap_or(&authority);
    let path = &target.path;
    let ask =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.map_err(|e| format!("the request could not be sent: {e}"))?;
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        if line.len() >= STATUS_LINE_MAX_BYTES {
            return Err("the answer is not HTTP".to_owned());
        }
        line.push(stream.read_u8().await.map_err(|e| format!("the connection ended before the answer: {e}"))?);
    }
    let text = String::from_utf8_lossy(&line);
    let mut words = text.split_ascii_whitespace();
    let http = words.next().is_some_and(|w| w.starts_with("HTTP/1."));
    let status = words.next().filter(|w| w.len() == 3).and_then(|w| w.parse().ok());
    status.filter(|_| http).ok_or_else(|| "the answer is not HTTP".to_owned())
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
