//! The local socket: whoever may open it (root) gets the agent's state as one JSON document. Nothing can be asked for
//! and nothing changed through it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;

use crate::inventory::Board;
use crate::ledger::Ledger;
use crate::link::session::lock;

/// A reader that does not read is left alone after this.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// One task for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskStatus {
    /// Patch task.
    pub task: String,
    /// Patch job.
    pub job: String,
    /// What the server is told.
    pub state: String,
    /// The step to be done or under way.
    pub step: String,
    /// One line.
    pub message: String,
}

/// The host's software sources for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourcesStatus {
    /// Number of the document.
    pub generation: u64,
    /// `APPLIED` or `FAILED`.
    pub state: String,
    /// Repository definitions that were set aside, by their path before.
    pub set_aside: Vec<String>,
    /// What is wrong.
    pub findings: Vec<String>,
}

/// The host's policies for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoliciesStatus {
    /// Number of the document.
    pub generation: u64,
    /// A keeper is at work.
    pub kept: bool,
    /// Resources that are as they should be, count.
    pub compliant: usize,
    /// Resources that are not, count.
    pub non_compliant: usize,
    /// Resources of which nobody can tell, count.
    pub unknown: usize,
    /// Drift repaired since the agent was enrolled, count.
    pub drift_repaired: u64,
    /// Resources that something changes back again and again.
    pub flapping: Vec<String>,
    /// What keeps the policies as a whole from being kept; empty = nothing.
    pub problem: String,
}

/// What the socket tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// Process id.
    pub pid: i32,
    /// Who we are.
    pub instance_id: String,
    /// The server.
    pub server: String,
    /// Since when the session is up; absent = no connection.
    pub connected_since: Option<Timestamp>,
    /// Why there is no connection.
    pub last_error: Option<String>,
    /// End of the certificate.
    pub certificate_expires: Option<Timestamp>,
    /// When the inventory was last read.
    pub inventory_collected: Option<Timestamp>,
    /// When it was last reported.
    pub inventory_reported: Option<Timestamp>,
    /// The task under way.
    pub current: Option<TaskStatus>,
    /// Tasks waiting behind it.
    pub queue: Vec<TaskStatus>,
    /// The host's software sources; absent = the server never had any for it.
    pub sources: Option<SourcesStatus>,
    /// The host's policies; absent = the server never had any for it.
    pub policies: Option<PoliciesStatus>,
    /// Finished tasks whose report waits for the server.
    pub reports_waiting: usize,
    /// What is wrong and needs a person.
    pub problems: Vec<String>,
}

/// The whole status now.
pub fn snapshot(status: &Mutex<Status>, board: &Board, ledger: &Mutex<Ledger>) -> Status {
    let mut out = lock(status).clone();
    let (collected, problems) = board.state();
    out.inventory_collected = collected;
    out.problems.extend(problems.into_iter().map(|(kind, why)| format!("inventory: {}: {why}", kind.as_str())));
    if let Some(sources) = out.sources.as_ref().filter(|s| s.state == "FAILED") {
        out.problems.extend(sources.findings.iter().map(|f| format!("sources: {f}")));
    }
    if let Some(problem) = out.policies.as_ref().map(|p| &p.problem).filter(|p| !p.is_empty()) {
        out.problems.push(format!("policies: {problem}"));
    }
    let ledger = lock(ledger);
    out.problems.extend(ledger.problems().iter().cloned());
    let mut open: Vec<_> = ledger.entries().filter(|e| !e.state.is_finished()).collect();
    open.sort_by_key(|e| e.order.number);
    let mut tasks = open.into_iter().map(|e| TaskStatus {
        task: e.id().to_string(),
        job: e.order.task.job.to_string(),
        state: e.state.task_state().as_str().to_owned(),
        step: e.state.label().to_owned(),
        message: e.report.message.clone(),
    });
    out.current = tasks.next();
    out.queue = tasks.collect();
    out.reports_waiting = ledger.entries().filter(|e| e.state.is_finished()).count();
    out
}

/// Serves the socket at `path` until the agent ends.
pub async fn serve(
    path: std::path::PathBuf,
    status: Arc<Mutex<Status>>,
    board: Arc<Board>,
    ledger: Arc<Mutex<Ledger>>,
) -> std::io::Result<()> {
    let listener = bind(&path)?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let text = serde_json::to_vec(&snapshot(&status, &board, &ledger)).unwrap_or_default();
        let writing = async {
            stream.write_all(&text).await?;
            stream.shutdown().await
        };
        match tokio::time::timeout(WRITE_LIMIT, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::debug!("the reader of the status socket went away: {e}"),
            Err(_) => tracing::debug!("the reader of the status socket does not read"),
        }
    }
}

/// The directory keeps strangers out, so there is no moment in which the socket is open to them.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        crate::platform::private_dir(dir)?;
    }
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Asks a running agent.
pub fn ask(path: &Path) -> std::io::Result<Status> {
    use std::io::Read;
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(WRITE_LIMIT))?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(std::io::Error::other)
}
