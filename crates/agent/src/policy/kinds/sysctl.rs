//! A kernel parameter: its value now, and the file that sets it at the next boot.
//!
//! Absent: parameters of other network namespaces.

use std::fs;
use std::path::PathBuf;

use drydock_domain::policy::additive::SysctlResource;
use serde::{Deserialize, Serialize};

use super::evidence;
use super::managed::{self, Managed};
use super::note;
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};

/// Values are compared by their words: the kernel prints tabs where people write blanks.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// The resource.
pub struct SysctlKind {
    spec: SysctlResource,
    /// Below /proc/sys.
    file: String,
    settings: Managed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Before {
    value: String,
}

impl SysctlKind {
    /// From the document.
    pub fn new(spec: &SysctlResource) -> Self {
        let file = format!("/proc/sys/{}", path_of(&spec.key));
        // Last in the order of names, so that a package's own file does not undo it at boot.
        let name: String = spec.key.chars().map(|c| if c == '/' { '.' } else { c }).collect();
        let text = format!("# Managed by Drydock\n{} = {}\n", spec.key, spec.value.trim());
        SysctlKind { settings: Managed::text(format!("/etc/sysctl.d/99-zz-drydock-{name}.conf"), text), file, spec: spec.clone() }
    }

    fn now(&self, cx: &Cx<'_>) -> Result<String, Failure> {
        let read = fs::read_to_string(cx.root.join(self.file.trim_start_matches('/')));
        read.map(|t| t.trim().to_owned()).map_err(|e| {
            let key = &self.spec.key;
            if e.kind() == std::io::ErrorKind::NotFound {
                Failure::of(format!("this kernel has no parameter {key}; is its module loaded?"))
            } else {
                Failure::of(format!("the kernel parameter {key} cannot be read: {e}"))
            }
        })
    }

    fn set(&self, cx: &Cx<'_>, value: &str) -> Result<(), Failure> {
        fs::write(cx.root.join(self.file.trim_start_matches('/')), format!("{value}\n")).map_err(|e| {
            let hint = match e.raw_os_error() {
                Some(30) => "; /proc/sys is read-only here, as in a container: set it on the host of the container",
                Some(22) => "; the kernel does not take that value",
                Some(1 | 13) => "; the kernel does not let it be changed",
                _ => "",
            };
            Failure::of(format!("the kernel parameter {} cannot be set to {value:?}: {e}{hint}", self.spec.key))
        })
    }
}

/// As sysctl(8): the first separator decides; `net.ipv4.conf.eth0/1.x` names the interface `eth0.1`.
fn path_of(key: &str) -> String {
    let dots_first = key.find(['.', '/']).is_none_or(|at| key[at..].starts_with('.'));
    if !dots_first {
        return key.to_owned();
    }
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    key.chars().map(swap).collect()
}

impl Kind for SysctlKind {
    fn validate(&mut self, cx: &Cx<'_>) -> Result<(), Failure> {
        self.now(cx).map(drop)
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        let now = self.now(cx)?;
        let settings = self.settings.differs(cx)?;
        if words(&now) != words(&self.spec.value) {
            let evidence = evidence::state(now.clone(), self.spec.value.clone());
            return Ok(Found::NonCompliant { what: format!("is {now}"), evidence });
        }
        Ok(match settings {
            None => Found::Compliant,
            Some((what, evidence)) => Found::NonCompliant { what, evidence },
        })
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let now = self.now(cx)?;
        note::remember_first(cx, || Ok(Before { value: now.clone() }))?;
        let mut did = Vec::new();
        let mut shown = None;
        if self.settings.differs(cx)?.is_some() {
            shown = self.settings.write(cx)?;
            did.push("written for the next boot");
        }
        if words(&now) != words(&self.spec.value) {
            self.set(cx, self.spec.value.trim())?;
            shown = evidence::state(now, self.now(cx)?);
            did.push("set");
        }
        Ok(Done { what: did.join(", "), evidence: shown, ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let Some(before) = note::recall::<Before>(cx)? else {
            return Ok(Done { what: "left as it is: the policy never changed it".to_owned(), ..Done::default() });
        };
        managed::remove(cx, &self.settings.path)?;
        let now = self.now(cx)?;
        // What somebody else set meanwhile is theirs.
        if words(&now) == words(&self.spec.value) && words(&now) != words(&before.value) {
            self.set(cx, &before.value)?;
        }
        let what = "its file is removed, the former value is back".to_owned();
        Ok(Done { what, evidence: evidence::state(now, before.value), ..Done::default() })
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::Sysctl(PathBuf::from(&self.file)), self.settings.watch()]
    }
}
