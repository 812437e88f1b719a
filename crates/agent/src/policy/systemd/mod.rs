//! Units of systemd: asked and changed through process 1's own socket or the bus, and by `systemctl` where neither answers.
//!
//! Each call has a connection of its own (about a millisecond): nothing has to be mended after process 1 executed itself anew,
//! and no signal of a busy host wakes a quiet keeper. Absent: listening (the watcher does), hosts without systemd.

pub(crate) mod bus;
mod command;
mod direct;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drydock_pkgmgr::run::{Runner, SystemRunner};
use futures::StreamExt;
use zbus::message::Type;
use zbus::{OwnedObjectPath, OwnedVariant};

use super::kind::{Failure, UnitState, Units};
use bus::{ANSWER_LIMIT, Bus};

/// Does systemd run the host at `root`?
pub fn is_there(root: &Path) -> bool {
    root.join("run/systemd/system").is_dir()
}

/// `httpd` as systemd names it: what has no suffix is a service.
pub fn unit_name(name: &str) -> String {
    const SUFFIXES: [&str; 11] =
        [".service", ".socket", ".target", ".device", ".mount", ".automount", ".swap", ".timer", ".path", ".slice", ".scope"];
    if SUFFIXES.iter().any(|s| name.ends_with(s)) { name.to_owned() } else { format!("{name}.service") }
}

/// systemd of this host.
pub fn units() -> Box<dyn Units> {
    Box::new(Systemd::new(Path::new("/"), Box::new(SystemRunner::new())))
}

/// systemd of a host.
pub struct Systemd {
    root: PathBuf,
    runner: Box<dyn Runner>,
}

/// Why a call did not bring what it should.
enum Setback {
    /// Nobody answers there: another way may do.
    Unreachable(String),
    /// systemd said no.
    Refused {
        /// `org.freedesktop.systemd1.NoSuchUnit`.
        name: String,
        /// In its words.
        words: String,
    },
    /// Its answer did not come in time.
    TimedOut,
}

impl From<zbus::Error> for Setback {
    fn from(e: zbus::Error) -> Self {
        match e {
            zbus::Error::MethodError(name, words, _) => {
                Setback::Refused { name: name.as_str().to_owned(), words: words.unwrap_or_else(|| name.as_str().to_owned()) }
            }
            zbus::Error::FDO(e) => Setback::Refused { name: String::new(), words: e.to_string() },
            zbus::Error::InputOutput(e) if e.kind() == std::io::ErrorKind::TimedOut => Setback::TimedOut,
            e => Setback::Unreachable(e.to_string()),
        }
    }
}

impl Systemd {
    /// Of the host at `root`; `runner` is for `systemctl`.
    pub fn new(root: &Path, runner: Box<dyn Runner>) -> Self {
        Systemd { root: root.to_owned(), runner }
    }

    /// Asks over the bus; `Ok(None)` when nobody answers there and `systemctl` has to.
    fn ask<T: Send, F>(&self, operation: &str, call: impl FnOnce(PathBuf) -> F + Send) -> Result<Option<T>, Failure>
    where
        F: Future<Output = Result<T, Setback>>,
    {
        let root = self.root.clone();
        // A thread of its own: the caller may be inside a runtime already.
        let asked = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map_err(|e| Setback::Unreachable(e.to_string()))?.block_on(call(root))
            });
            asking.join().unwrap_or_else(|_| Err(Setback::Unreachable("the asking thread has ended".to_owned())))
        });
        match asked {
            Ok(answer) => Ok(Some(answer)),
            Err(Setback::Unreachable(why)) => {
                tracing::debug!("{operation}: systemd is not reachable by its socket or the bus ({why}); systemctl is used");
                Ok(None)
            }
            Err(Setback::Refused { name, words }) => Err(Failure::of(refusal(operation, &name, &words))),
            Err(Setback::TimedOut) => Err(Failure {
                message: format!(
                    "{operation}: systemd did not answer within {} s; is the host overloaded?",
                    ANSWER_LIMIT.as_secs()
                ),
                evidence: None,
                timed_out: true,
            }),
        }
    }

    /// A job of systemd and its end.
    fn job(&self, operation: &str, method: &'static str, unit: &str, limit: Duration) -> Result<(), Failure> {
        let label = format!("{operation} {unit}");
        let name = unit.to_owned();
        let asked = self.ask(&label, move |root| async move { finish(&root, method, name, limit).await })?;
        match asked {
            None => command::run(&*self.runner, &[operation, unit], limit),
            Some(Some(result)) if result == "done" || result == "skipped" => Ok(()),
            Some(Some(result)) => Err(Failure::of(format!(
                "{label}: systemd says {}; see `systemctl status {unit}` and `journalctl -u {unit}`",
                in_words(&result)
            ))),
            Some(None) => Err(Failure {
                message: format!("{label}: the job did not end within {} s; see `systemctl status {unit}`", limit.as_secs()),
                evidence: None,
                timed_out: true,
            }),
        }
    }

    /// Changes unit files and has them read anew, as `systemctl` does.
    fn files<B>(&self, verb: &'static str, method: &'static str, unit: &str, body: B) -> Result<(), Failure>
    where
        B: serde::Serialize + zbus::DynamicType + Send + Sync,
    {
        let changed = self.ask(&format!("{verb} {unit}"), move |root| async move {
            let bus = Bus::open(&root, false).await?;
            bus.manager(method, &body).await?;
            bus.manager("Reload", &()).await?;
            Ok(())
        });
        match changed {
            Ok(Some(())) => Ok(()),
            // systemctl knows scripts of System V, which systemd's own call does not.
            Ok(None) => command::run(&*self.runner, &[verb, unit], ANSWER_LIMIT),
            Err(_) if verb == "enable" || verb == "disable" => command::run(&*self.runner, &[verb, unit], ANSWER_LIMIT),
            Err(failure) => Err(failure),
        }
    }
}

impl Units for Systemd {
    fn state(&self, unit: &str) -> Result<UnitState, Failure> {
        let name = unit.to_owned();
        let label = format!("state of {unit}");
        match self.ask(&label, move |root| async move { state(&root, &name).await })? {
            Some(state) => Ok(state),
            None => command::state(&*self.runner, unit),
        }
    }

    fn start(&self, unit: &str, limit: Duration) -> Result<(), Failure> {
        self.job("start", "StartUnit", unit, limit)
    }

    fn stop(&self, unit: &str, limit: Duration) -> Result<(), Failure> {
        self.job("stop", "StopUnit", unit, limit)
    }

    fn reload_or_restart(&self, unit: &str, limit: Duration) -> Result<(), Failure> {
        self.job("try-reload-or-restart", "ReloadOrTryRestartUnit", unit, limit)
    }

    fn set_enabled(&self, unit: &str, enabled: bool) -> Result<(), Failure> {
        let units = vec![unit.to_owned()];
        if enabled {
            self.files("enable", "EnableUnitFiles", unit, (units, false, false))
        } else {
            self.files("disable", "DisableUnitFiles", unit, (units, false))
        }
    }

    fn set_masked(&self, unit: &str, masked: bool) -> Result<(), Failure> {
        let units = vec![unit.to_owned()];
        if masked {
            self.files("mask", "MaskUnitFiles", unit, (units, false, true))
        } else {
            // Also one that is masked until the next boot only.
            self.files("unmask", "UnmaskUnitFiles", unit, (units.clone(), false))?;
            self.files("unmask", "UnmaskUnitFiles", unit, (units, true))
        }
    }

    fn daemon_reload(&self) -> Result<(), Failure> {
        let asked = self.ask("daemon-reload", |root| async move {
            Bus::open(&root, false).await?.manager("Reload", &()).await?;
            Ok(())
        })?;
        asked.map_or_else(|| command::run(&*self.runner, &["daemon-reload"], ANSWER_LIMIT), Ok)
    }
}

fn refusal(operation: &str, name: &str, words: &str) -> String {
    let hint = match name.rsplit('.').next() {
        Some("NoSuchUnit") => "; is its package installed?",
        Some("UnitMasked") => "; unmask it first (`masked: false`)",
        _ => "",
    };
    format!("{operation}: systemd refuses: {words}{hint}")
}

/// The results of jobs.
fn in_words(result: &str) -> &str {
    match result {
        "failed" => "it failed",
        "timeout" => "it took too long",
        "canceled" => "somebody else's job took its place",
        "dependency" => "a unit it needs failed",
        "invalid" => "the unit cannot do that",
        other => other,
    }
}

async fn state(root: &Path, unit: &str) -> Result<UnitState, Setback> {
    let bus = Bus::open(root, false).await?;
    // From the disk, also when somebody changed it without telling systemd.
    let file = match bus.manager("GetUnitFileState", &unit).await {
        Ok(answer) => answer.body().deserialize::<String>().map_err(Setback::from)?,
        Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_)) => String::new(),
        Err(e) => return Err(e.into()),
    };
    let path = bus.load(unit).await?;
    let properties = bus.properties(&path).await?;
    let text = |name: &str| {
        let value: Option<&OwnedVariant> = properties.get(name);
        value.and_then(|v| String::try_from(v.clone()).ok()).unwrap_or_default()
    };
    Ok(UnitState {
        load: text("LoadState"),
        active: text("ActiveState"),
        file,
        can_reload: properties.get("CanReload").and_then(|v| bool::try_from(v.clone()).ok()).unwrap_or(false),
    })
}

/// Begins a job and waits for its result; `None` when that does not come in time.
async fn finish(root: &Path, method: &'static str, unit: String, limit: Duration) -> Result<Option<String>, Setback> {
    let mut bus = Bus::open(root, true).await?;
    let stream = bus.stream.take();
    // The answers of the bus come by the same stream: it is read from the beginning.
    let job: OwnedObjectPath = bus.manager(method, &(unit, "replace")).await?.body().deserialize().map_err(Setback::from)?;
    let Some(mut stream) = stream else { return Ok(None) };
    let ended = async {
        while let Some(message) = stream.next().await {
            let message = message?;
            let is_end =
                message.message_type() == Type::Signal && message.header().member().is_some_and(|m| m.as_str() == "JobRemoved");
            if !is_end {
                continue;
            }
            let (_, path, _, result): (u32, OwnedObjectPath, String, String) = message.body().deserialize()?;
            if path == job {
                return Ok(result);
            }
        }
        Err(Setback::Unreachable("the connection ended while the job ran".to_owned()))
    };
    match tokio::time::timeout(limit, ended).await {
        Ok(result) => result.map(Some),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod lab_tests;
#[cfg(test)]
mod tests;
