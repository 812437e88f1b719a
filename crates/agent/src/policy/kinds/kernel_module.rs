//! A kernel module: loaded now and at boot, or barred from being loaded.
//!
//! Absent: parameters of modules. In a container the kernel belongs to somebody else: that is a clear failure.

use std::fs;

use drydock_domain::policy::additive::{KernelModuleResource, ModuleState};
use serde::{Deserialize, Serialize};

use super::command;
use super::evidence;
use super::managed::{self, Managed};
use super::note;
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};

/// The resource.
pub struct KernelModuleKind {
    spec: KernelModuleResource,
    settings: Managed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Before {
    loaded: bool,
}

/// How a module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    Loaded,
    BuiltIn,
    Absent,
}

impl KernelModuleKind {
    /// From the document.
    pub fn new(spec: &KernelModuleResource) -> Self {
        let name = &spec.name;
        let settings = match spec.state {
            ModuleState::Loaded => {
                Managed::text(format!("/etc/modules-load.d/drydock-{name}.conf"), format!("# Managed by Drydock\n{name}\n"))
            }
            // `blacklist` alone does not stop a load by name or by another module.
            ModuleState::Barred => Managed::text(
                format!("/etc/modprobe.d/drydock-{name}.conf"),
                format!("# Managed by Drydock\nblacklist {name}\ninstall {name} /bin/false\n"),
            ),
        };
        KernelModuleKind { settings, spec: spec.clone() }
    }

    /// The kernel writes `_` where people write `-`.
    fn kernel_name(&self) -> String {
        self.spec.name.replace('-', "_")
    }

    fn now(&self, cx: &Cx<'_>) -> Now {
        let name = self.kernel_name();
        let loaded = fs::read_to_string(cx.root.join("proc/modules")).unwrap_or_default();
        if loaded.lines().any(|l| l.split(' ').next() == Some(name.as_str())) {
            return Now::Loaded;
        }
        // Built-in ones with parameters have a directory here, too.
        if cx.root.join("sys/module").join(&name).exists() { Now::BuiltIn } else { Now::Absent }
    }

    fn told(&self, now: Now) -> &'static str {
        match now {
            Now::Loaded => "loaded",
            Now::BuiltIn => "built into the kernel",
            Now::Absent => "not loaded",
        }
    }

    fn is_right(&self, now: Now) -> bool {
        match self.spec.state {
            ModuleState::Loaded => now != Now::Absent,
            ModuleState::Barred => now == Now::Absent,
        }
    }
}

/// Is this a container, whose kernel is its host's?
fn in_container(cx: &Cx<'_>) -> bool {
    let marked = ["run/systemd/container", ".dockerenv", "run/.containerenv"].iter().any(|p| cx.root.join(p).exists());
    marked || !cx.root.join("lib/modules").exists()
}

impl Kind for KernelModuleKind {
    fn validate(&mut self, _cx: &Cx<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        let now = self.now(cx);
        let want = if self.spec.state == ModuleState::Loaded { "loaded" } else { "barred" };
        if !self.is_right(now) {
            let told = self.told(now);
            return Ok(Found::NonCompliant { what: told.to_owned(), evidence: evidence::state(told, want) });
        }
        Ok(match self.settings.differs(cx)? {
            None => Found::Compliant,
            Some((what, evidence)) => Found::NonCompliant { what, evidence },
        })
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let (name, now) = (self.spec.name.as_str(), self.now(cx));
        if !self.is_right(now) && in_container(cx) {
            return Err(Failure::of(format!(
                "the kernel module {name} cannot be changed from here: this is a container, its kernel belongs to its host"
            )));
        }
        if self.spec.state == ModuleState::Barred && now == Now::BuiltIn {
            return Err(Failure::of(format!("{name} is built into this kernel and cannot be barred")));
        }
        note::remember_first(cx, || Ok(Before { loaded: now == Now::Loaded }))?;
        let mut shown = None;
        if self.settings.differs(cx)?.is_some() {
            shown = self.settings.write(cx)?;
        }
        if !self.is_right(now) {
            match self.spec.state {
                ModuleState::Loaded => command::run(cx, "modprobe", &["--", name])?,
                ModuleState::Barred => command::run(cx, "modprobe", &["-r", "--", name])?,
            };
            shown = evidence::state(self.told(now), self.told(self.now(cx)));
        }
        let what = if self.spec.state == ModuleState::Loaded { "loaded, also at boot" } else { "removed and barred" };
        Ok(Done { what: what.to_owned(), evidence: shown, ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let Some(before) = note::recall::<Before>(cx)? else {
            return Ok(Done { what: "left as it is: the policy never changed it".to_owned(), ..Done::default() });
        };
        managed::remove(cx, &self.settings.path)?;
        // Something may use it by now: a loaded module stays until the next boot.
        let reload = self.spec.state == ModuleState::Barred && before.loaded && self.now(cx) == Now::Absent;
        if reload && !in_container(cx) {
            command::run(cx, "modprobe", &["--", &self.spec.name])?;
        }
        Ok(Done { what: "its file is removed; the rest follows at the next boot".to_owned(), ..Done::default() })
    }

    fn watches(&self) -> Vec<Watch> {
        vec![self.settings.watch()]
    }
}
