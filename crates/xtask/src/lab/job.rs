//! Patch jobs for scenarios: submit, follow to the end, and compare what a host reports with its package database.
//!
//! Absent: what a job should lead to; each scenario says that itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use drydock_testkit::command::run;
use drydock_testkit::lab::{Host, PackageManager};
use serde_json::{Value, json};

use crate::drydock::Drydock;

/// One job over a few lab hosts takes seconds; a busy machine gets minutes.
pub const JOB_LIMIT: Duration = Duration::from_secs(180);

/// Name and version of the lab's packages on one host.
pub type Installed = BTreeMap<String, String>;
/// The tasks of a job by host name.
pub type Tasks = BTreeMap<String, Value>;

/// Submits a job and gives its id.
pub fn submit(drydock: &Drydock, name: &str, mut spec: Value) -> Result<String> {
    spec["displayName"] = json!(name);
    let file = tempfile::Builder::new().suffix(".json").tempfile()?;
    std::fs::write(file.path(), spec.to_string())?;
    let path = file.path().to_str().context("the temporary directory's name is not UTF-8")?;
    let job = drydock.json(&["patch", "run", "--file", path, "--no-wait"])?;
    let id = job["id"].as_str().context("patch run printed no job id")?;
    eprintln!("{name}: job {id}");
    Ok(id.to_owned())
}

/// The job and its tasks as they stand.
pub fn show(drydock: &Drydock, job: &str) -> Result<(Value, Tasks)> {
    let shown = drydock.json(&["patch", "show", job])?;
    let tasks = shown["tasks"].as_array().context("patch show printed no tasks")?;
    let tasks = tasks.iter().map(|t| (t["instanceName"].as_str().unwrap_or_default().to_owned(), t.clone())).collect();
    Ok((shown["job"].clone(), tasks))
}

/// Waits for the job's end, which must be `state`, and gives its tasks.
pub fn finish(drydock: &Drydock, job: &str, state: &str) -> Result<Tasks> {
    let begun = Instant::now();
    let mut follow = drydock.cli_command(&["patch", "show", job, "--follow", "--summary"]);
    let followed = run(&mut follow, JOB_LIMIT).with_context(|| {
        let shown = drydock.json(&["patch", "show", job]).unwrap_or_default();
        format!("the job is not done: {shown:#}")
    })?;
    let (job, tasks) = show(drydock, job)?;
    // The command's own promise: 0 when every host succeeded, 1 when not.
    let promised = i32::from(job["state"] != "SUCCEEDED");
    ensure!(followed.code() == Some(promised), "patch show --follow ended with {:?}:\n{}", followed.code(), followed.stderr);
    for (host, task) in &tasks {
        let word = |field: &str| task[field].as_str().unwrap_or_default().to_owned();
        eprintln!("  {host:20} {:26} {}", word("state"), word("message"));
    }
    ensure!(job["state"] == state, "the job ended as {}, not {state}:\n{tasks:#?}", job["state"]);
    eprintln!("  {state} after {:.1} s", begun.elapsed().as_secs_f64());
    Ok(tasks)
}

/// The lab's packages of a host, as dpkg and rpm have them.
pub fn snapshot(host: &Host) -> Result<Installed> {
    let list = if host.root().kind.manager() == PackageManager::Apt {
        host.sh("dpkg-query -W -f '${Package} ${Version}\\n' 'dd-*'")?
    } else {
        host.sh("rpm -qa --qf '%{NAME} %{EVR}\\n' 'dd-*'")?
    };
    Ok(list.lines().filter_map(|line| line.split_once(' ')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
}

/// The report names exactly the packages whose version changed in the host's database since `before`, from what to what.
pub fn truthful(host: &Host, before: &Installed, task: &Value) -> Result<()> {
    let after = snapshot(host)?;
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed: BTreeMap<&str, (Option<&str>, Option<&str>)> = names
        .into_iter()
        .map(|name| (name.as_str(), (before.get(name).map(String::as_str), after.get(name).map(String::as_str))))
        .filter(|(_, (old, new))| old != new)
        .collect();
    let none = Vec::new();
    let packages = task["report"]["packages"].as_array().unwrap_or(&none);
    let reported: BTreeMap<&str, (Option<&str>, Option<&str>)> = packages
        .iter()
        .map(|p| (p["name"].as_str().unwrap_or_default(), (p["from"].as_str(), p["found"].as_str())))
        .filter(|(_, (old, new))| old != new)
        .collect();
    let host = host.hostname();
    ensure!(changed == reported, "{host}: the database changed by\n{changed:#?}\nbut the report says\n{reported:#?}\n{task:#}");
    Ok(())
}
