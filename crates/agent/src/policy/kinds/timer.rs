//! A timer of systemd and the service it starts: two unit files, enabled and running.

use drydock_domain::policy::additive::TimerResource;

use super::evidence::{self, has_secret};
use super::managed::{self, Managed};
use super::place::Place;
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};
use crate::policy::systemd;

/// Where an administrator's units are.
const DIRECTORY: &str = "/etc/systemd/system";

/// The resource.
pub struct TimerKind {
    spec: TimerResource,
}

impl TimerKind {
    /// From the document.
    pub fn new(spec: &TimerResource) -> Self {
        TimerKind { spec: spec.clone() }
    }

    fn timer(&self) -> String {
        format!("{}.timer", self.spec.name)
    }

    fn files(&self, cx: &Cx<'_>) -> Result<[Managed; 2], Failure> {
        let spec = &self.spec;
        let mut words = Vec::new();
        for word in &spec.command {
            words.push(quoted(&cx.secrets.reveal(word)?));
        }
        let user = spec.user.as_ref().map(|u| format!("User={u}\n")).unwrap_or_default();
        let service = format!(
            "# Managed by Drydock\n[Unit]\nDescription={} (Drydock)\n\n[Service]\nType=oneshot\n{user}ExecStart={}\n",
            spec.name,
            words.join(" ")
        );
        let persistent = if spec.persistent { "Persistent=true\n" } else { "" };
        let timer = format!(
            "# Managed by Drydock\n[Unit]\nDescription={} (Drydock)\n\n[Timer]\nOnCalendar={}\n{persistent}\n[Install]\nWantedBy=timers.target\n",
            spec.name,
            spec.on_calendar.replace('%', "%%")
        );
        let secret = spec.command.iter().any(|w| has_secret(w));
        Ok([
            Managed::text(format!("{DIRECTORY}/{}.service", spec.name), service).secret(secret),
            Managed::text(format!("{DIRECTORY}/{}", self.timer()), timer),
        ])
    }

    /// `inactive`, `disabled`: what of the running timer is wanting.
    fn wanting(&self, cx: &Cx<'_>) -> Result<Vec<String>, Failure> {
        let state = cx.units.state(&self.timer())?;
        let mut found = Vec::new();
        if state.active != "active" {
            found.push(state.active);
        }
        if state.file != "enabled" {
            found.push(if state.file.is_empty() { "disabled".to_owned() } else { state.file });
        }
        Ok(found)
    }
}

/// One word of a command line of systemd: quoted, and nothing in it is expanded.
fn quoted(word: &str) -> String {
    let word = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+=:,@%$".contains(c));
    if plain { word } else { format!("\"{word}\"") }
}

impl Kind for TimerKind {
    fn validate(&mut self, cx: &Cx<'_>) -> Result<(), Failure> {
        self.files(cx).map(drop)
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        if !systemd::is_there(cx.root) {
            return Ok(Found::NotApplicable(
                "this host is not run by systemd, so it has no timers; use a cron resource".to_owned(),
            ));
        }
        for file in self.files(cx)? {
            if let Some((what, evidence)) = file.differs(cx)? {
                return Ok(Found::NonCompliant { what, evidence });
            }
        }
        let wanting = self.wanting(cx)?;
        if wanting.is_empty() {
            return Ok(Found::Compliant);
        }
        let what = wanting.join(", ");
        Ok(Found::NonCompliant { evidence: evidence::state(what.clone(), "active, enabled"), what })
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let mut evidence = None;
        let mut did = Vec::new();
        for file in self.files(cx)? {
            if file.differs(cx)?.is_some() {
                // Both files of a new timer are alike; the timer's own tells more.
                evidence = file.write(cx)?.or(evidence);
                did.push("written");
            }
        }
        did.dedup();
        if !did.is_empty() {
            cx.units.daemon_reload()?;
        }
        let timer = self.timer();
        let state = cx.units.state(&timer)?;
        if state.load == "masked" {
            return Err(Failure::of(format!("{timer} is masked; unmask it with a service resource (`masked: false`)")));
        }
        if state.file != "enabled" {
            cx.units.set_enabled(&timer, true)?;
            did.push("enabled");
        }
        if state.active == "active" && did.contains(&"written") {
            // A running timer keeps its old times.
            cx.units.stop(&timer, cx.limit)?;
        }
        if state.active != "active" || did.contains(&"written") {
            cx.units.start(&timer, cx.limit)?;
            did.push("started");
        }
        Ok(Done { what: did.join(", "), evidence, ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let timer = self.timer();
        let ours = format!("{DIRECTORY}/{timer}");
        if Place::find(cx.root, &ours)?.map(|p| p.look()).transpose()?.flatten().is_none() {
            managed::remove(cx, &format!("{DIRECTORY}/{}.service", self.spec.name))?;
            return Ok(Done { what: "gone already".to_owned(), ..Done::default() });
        }
        if systemd::is_there(cx.root) {
            cx.units.stop(&timer, cx.limit)?;
            cx.units.set_enabled(&timer, false)?;
        }
        managed::remove(cx, &ours)?;
        managed::remove(cx, &format!("{DIRECTORY}/{}.service", self.spec.name))?;
        if systemd::is_there(cx.root) {
            cx.units.daemon_reload()?;
        }
        Ok(Done { what: "stopped, disabled, removed".to_owned(), ..Done::default() })
    }

    fn watches(&self) -> Vec<Watch> {
        let file = |suffix| Watch::Path(format!("{DIRECTORY}/{}.{suffix}", self.spec.name).into());
        vec![Watch::Unit(self.timer()), file("timer"), file("service")]
    }
}
