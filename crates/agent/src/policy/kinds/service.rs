//! A unit of systemd: running, enabled, masked. A unit on its way somewhere is waited for; what is absent is left alone.

use std::time::{Duration, Instant};

use drydock_domain::policy::additive::ServiceResource;
use drydock_pkgmgr::run::CommandSpec;
use serde::{Deserialize, Serialize};

use super::evidence::{self, output};
use super::note;
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, UnitState, Watch};
use crate::policy::systemd::{self, unit_name};

/// How long a unit may be on its way before it is judged as it is: one that restarts for ever never arrives.
const TRANSITION_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at a unit on its way.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Asking for a unit's last words.
const STATUS_LIMIT: Duration = Duration::from_secs(20);

/// The resource.
pub struct ServiceKind {
    spec: ServiceResource,
    unit: String,
}

/// How it was before the first change.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Before {
    active: bool,
    enabled: bool,
    masked: bool,
}

impl ServiceKind {
    /// From the document.
    pub fn new(spec: &ServiceResource) -> Self {
        ServiceKind { spec: spec.clone(), unit: unit_name(&spec.name) }
    }

    /// Its state once it is not on its way any more.
    fn settled(&self, cx: &Cx<'_>) -> Result<UnitState, Failure> {
        let until = Instant::now() + cx.limit.min(TRANSITION_LIMIT);
        loop {
            let state = cx.units.state(&self.unit)?;
            let on_its_way = matches!(state.active.as_str(), "activating" | "deactivating" | "reloading" | "refreshing");
            if !on_its_way || self.spec.running.is_none() || Instant::now() >= until {
                return Ok(state);
            }
            cx.runner.pause(LOOK_INTERVAL);
        }
    }

    /// What is not as it should be: `inactive`, `disabled`.
    fn wanting(&self, now: &UnitState) -> Vec<String> {
        let mut found = Vec::new();
        let is_there = now.load != "not-found" || !now.file.is_empty();
        if self.spec.masked.is_some_and(|want| want != is_masked(now)) {
            found.push(if is_masked(now) { "masked" } else { "not masked" }.to_owned());
        }
        if self.spec.running.is_some_and(|want| want != is_active(now)) {
            found.push(if is_there { now.active.clone() } else { "not installed".to_owned() });
        }
        if self.spec.enabled.is_some_and(|want| want != is_enabled(now) && !(want && is_always(now))) {
            let file = if now.file.is_empty() { "without a unit file" } else { &now.file };
            if is_there || found.is_empty() {
                found.push(file.to_owned());
            }
        }
        found
    }

    fn bring(&self, cx: &Cx<'_>, want: &ServiceResource, now: &UnitState) -> Result<Vec<&'static str>, Failure> {
        let mut did = Vec::new();
        let mut masked = is_masked(now);
        if masked && want.masked == Some(false) {
            cx.units.set_masked(&self.unit, false)?;
            masked = false;
            did.push("unmasked");
        }
        let now = if did.is_empty() { now.clone() } else { cx.units.state(&self.unit)? };
        if want.enabled.is_some_and(|want| want != is_enabled(&now) && !(want && is_always(&now))) {
            let enable = want.enabled == Some(true);
            cx.units.set_enabled(&self.unit, enable)?;
            did.push(if enable { "enabled" } else { "disabled" });
        }
        match want.running {
            Some(true) if !is_active(&now) => {
                cx.units.start(&self.unit, cx.limit).map_err(|f| self.with_status(cx, f))?;
                did.push("started");
            }
            Some(false) if is_active(&now) || now.active == "activating" => {
                cx.units.stop(&self.unit, cx.limit)?;
                did.push("stopped");
            }
            _ => {}
        }
        if want.masked == Some(true) && !masked {
            cx.units.set_masked(&self.unit, true)?;
            did.push("masked");
        }
        Ok(did)
    }

    /// The unit's last words beside a failure to start it.
    fn with_status(&self, cx: &Cx<'_>, failure: Failure) -> Failure {
        let args = ["status", "--no-pager", "--full", "--lines=20", "--", &self.unit];
        let command = CommandSpec::new("systemctl", "systemctl status", STATUS_LIMIT).args(args);
        match cx.runner.run(&command) {
            Ok(finished) => Failure { evidence: Some(output(cx, &finished)), ..failure },
            Err(_) => failure,
        }
    }
}

fn is_active(state: &UnitState) -> bool {
    matches!(state.active.as_str(), "active" | "reloading" | "refreshing")
}

fn is_masked(state: &UnitState) -> bool {
    state.load == "masked" || state.file.starts_with("masked")
}

/// Enabled also at the next boot.
fn is_enabled(state: &UnitState) -> bool {
    state.file == "enabled"
}

/// Started by others' wish, without a setting of its own.
fn is_always(state: &UnitState) -> bool {
    matches!(state.file.as_str(), "static" | "alias" | "indirect" | "generated")
}

/// `active, enabled`.
fn told(state: &UnitState) -> String {
    let words = [state.active.as_str(), state.file.as_str(), if state.load == "loaded" { "" } else { &state.load }];
    words.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(", ")
}

impl Kind for ServiceKind {
    fn validate(&mut self, _cx: &Cx<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        if !systemd::is_there(cx.root) {
            return Ok(Found::NotApplicable("this host is not run by systemd, so it has no units".to_owned()));
        }
        let now = self.settled(cx)?;
        let wanting = self.wanting(&now);
        if wanting.is_empty() {
            return Ok(Found::Compliant);
        }
        Ok(Found::NonCompliant { what: wanting.join(", "), evidence: evidence::state(told(&now), wish(&self.spec)) })
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let now = self.settled(cx)?;
        note::remember_first(cx, || Ok(Before { active: is_active(&now), enabled: is_enabled(&now), masked: is_masked(&now) }))?;
        let did = self.bring(cx, &self.spec, &now)?;
        let after = cx.units.state(&self.unit)?;
        Ok(Done { what: did.join(", "), evidence: evidence::state(told(&now), told(&after)), ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let done = |what: &str| Ok(Done { what: what.to_owned(), ..Done::default() });
        let Some(before) = note::recall::<Before>(cx)? else {
            return done("left as it is: the policy never changed it");
        };
        if !systemd::is_there(cx.root) {
            return done("left as it is: this host is not run by systemd");
        }
        let now = self.settled(cx)?;
        if now.load == "not-found" && !is_masked(&now) {
            return done("gone already");
        }
        let want = ServiceResource {
            name: self.spec.name.clone(),
            running: self.spec.running.map(|_| before.active),
            enabled: self.spec.enabled.map(|_| before.enabled),
            masked: self.spec.masked.map(|_| before.masked),
        };
        let did = self.bring(cx, &want, &now)?;
        let what = if did.is_empty() { "is as it was before".to_owned() } else { format!("{}, as before", did.join(", ")) };
        Ok(Done { what, evidence: evidence::state(told(&now), told(&cx.units.state(&self.unit)?)), ..Done::default() })
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::Unit(self.unit.clone())]
    }

    fn notified(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        if !systemd::is_there(cx.root) {
            return Err(Failure::of(format!("{} cannot be reloaded: this host is not run by systemd", self.unit)));
        }
        let now = self.settled(cx)?;
        if !is_active(&now) {
            return Ok(Done { what: format!("not reloaded: it is {}", now.active), ..Done::default() });
        }
        cx.units.reload_or_restart(&self.unit, cx.limit).map_err(|f| self.with_status(cx, f))?;
        let what = if now.can_reload { "reloaded" } else { "restarted" };
        Ok(Done { what: what.to_owned(), ..Done::default() })
    }
}

/// `active, enabled` as the document says it.
fn wish(spec: &ServiceResource) -> String {
    let words = [
        spec.running.map(|on| if on { "active" } else { "inactive" }),
        spec.enabled.map(|on| if on { "enabled" } else { "disabled" }),
        spec.masked.map(|on| if on { "masked" } else { "not masked" }),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;

    fn bench() -> Bench {
        let bench = Bench::new();
        std::fs::create_dir_all(bench.host("/run/systemd/system")).expect("made");
        bench
    }

    const RUNNING: &str = r#"{"id":"web","service":{"name":"httpd","running":true,"enabled":true}}"#;

    #[test]
    fn what_was_stopped_and_disabled_runs_again_and_un_assignment_brings_back_what_was() {
        let bench = bench();
        bench.units.put("httpd.service", "inactive", "disabled");
        let mut kind = bench.kind(RUNNING);
        assert_eq!(kind.watches(), [Watch::Unit("httpd.service".to_owned())]);
        assert_eq!(bench.enforce(&mut *kind), ("inactive, disabled".to_owned(), "enabled, started".to_owned()));
        bench.units.put("httpd.service", "failed", "enabled");
        assert_eq!(bench.enforce(&mut *kind).0, "failed");
        assert_eq!(bench.units.asked(), ["enable httpd.service", "start httpd.service", "start httpd.service"]);
        let done = kind.remove(&bench.cx()).expect("taken back");
        assert_eq!((done.what.as_str(), bench.units.asked().len()), ("disabled, stopped, as before", 2));
    }

    #[test]
    fn a_masked_unit_is_unmasked_first_and_what_is_not_said_is_left() {
        let bench = bench();
        bench.units.put("x.timer", "inactive", "masked");
        let mut kind = bench.kind(r#"{"id":"t","service":{"name":"x.timer","running":true,"masked":false}}"#);
        bench.enforce(&mut *kind);
        assert_eq!(bench.units.asked(), ["unmask x.timer", "start x.timer"]);
        let mut kind = bench.kind(r#"{"id":"t","service":{"name":"x.timer","masked":true,"running":false}}"#);
        bench.enforce(&mut *kind);
        assert_eq!(bench.units.asked(), ["stop x.timer", "mask x.timer"]);
    }

    #[test]
    fn a_unit_on_its_way_is_waited_for() {
        let bench = bench();
        bench.units.put("httpd.service", "active", "enabled");
        bench.units.passing.lock().expect("lock").extend(["deactivating", "activating"]);
        bench.compliant(&mut *bench.kind(RUNNING));
        assert!(bench.units.passing.lock().expect("lock").is_empty());
    }

    #[test]
    fn units_that_are_not_there_are_not_started_and_need_not_be_stopped() {
        let bench = bench();
        let mut kind = bench.kind(RUNNING);
        assert_eq!(bench.wanting(&mut *kind).0, "not installed");
        assert!(kind.enforce(&bench.cx()).is_err());
        bench.compliant(&mut *bench.kind(r#"{"id":"web","service":{"name":"httpd","running":false,"enabled":false}}"#));
        bench.units.put("dbus.service", "active", "static");
        bench.compliant(&mut *bench.kind(r#"{"id":"d","service":{"name":"dbus","running":true,"enabled":true}}"#));
    }

    #[test]
    fn a_notified_service_is_reloaded_only_where_it_runs() {
        let bench = bench();
        bench.units.put("httpd.service", "active", "enabled");
        let mut kind = bench.kind(RUNNING);
        assert_eq!(kind.notified(&bench.cx()).expect("reloaded").what, "reloaded");
        bench.units.put("httpd.service", "inactive", "enabled");
        assert_eq!(kind.notified(&bench.cx()).expect("left").what, "not reloaded: it is inactive");
        assert_eq!(bench.units.asked(), ["reload httpd.service"]);
    }

    #[test]
    fn a_host_without_systemd_has_no_units() {
        let bench = Bench::new();
        let mut kind = bench.kind(RUNNING);
        assert!(matches!(kind.check(&bench.cx()), Ok(Found::NotApplicable(_))));
    }
}
