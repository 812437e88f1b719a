//! Judging a host. Three answers: yes, no, and "not known yet", so that a host whose row already decides (`state`,
//! `label`) costs no look into its packages. A host without a fact (no inventory yet, in no group) has an empty text, zero
//! packages and zero updates; one that never spoke was last seen longer ago than any duration.

use jiff::Timestamp;

use super::ast::{Equality, Expr, PackageTerm, Term};
use super::fields::{CountField, Flag, TextField, VersionField};
use super::{Query, SectionTerm};
use crate::instance::{InstanceState, Labels};
use crate::inventory::{ManagerKind, OsFacts};
use crate::version::{Scheme, compare, rpm};

/// What a host's row says.
#[derive(Debug, Clone, Copy)]
pub struct HostFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its state.
    pub state: InstanceState,
    /// Its zone.
    pub zone: &'a str,
    /// Name of its group; empty when it is in none.
    pub group: &'a str,
    /// Name of the environment it looks through; empty when there is none.
    pub environment: &'a str,
    /// Path of its compartment.
    pub compartment: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
    /// Its operating system.
    pub os: Option<&'a OsFacts>,
    /// When its agent last spoke.
    pub last_seen: Option<Timestamp>,
    /// It has sent an inventory.
    pub inventory: bool,
    /// Installed packages.
    pub packages: u32,
    /// Updates that are not held.
    pub updates: u32,
    /// Of these, security updates.
    pub security_updates: u32,
    /// Held updates.
    pub held_updates: u32,
    /// It asks for a reboot.
    pub reboot: bool,
}

/// Whose versions the packages of such a host have; `None`: it has named no package manager.
pub fn scheme_of(os: &OsFacts) -> Option<Scheme> {
    os.managers.first().map(|manager| match manager {
        ManagerKind::Apt => Scheme::Deb,
        ManagerKind::Dnf | ManagerKind::Dnf5 | ManagerKind::Yum | ManagerKind::Zypper => Scheme::Rpm,
    })
}

impl HostFacts<'_> {
    /// Whose versions its packages have; `None`: it has named no package manager.
    pub fn scheme(&self) -> Option<Scheme> {
        self.os.and_then(scheme_of)
    }

    fn text(&self, field: TextField) -> &str {
        match field {
            TextField::Name => self.name,
            TextField::Zone => self.zone,
            TextField::Group => self.group,
            TextField::Environment => self.environment,
            TextField::Compartment => self.compartment,
            TextField::OsId => self.os.map_or("", |os| &os.short_name),
            TextField::OsArch => self.os.map_or("", |os| &os.architecture),
            // Several: asked one by one.
            TextField::Manager => "",
        }
    }

    fn version(&self, field: VersionField) -> &str {
        match field {
            VersionField::OsVersion => self.os.map_or("", |os| &os.version),
            VersionField::Kernel => self.os.map_or("", |os| &os.kernel_release),
        }
    }

    fn count(&self, field: CountField) -> u64 {
        u64::from(match field {
            CountField::Packages => self.packages,
            CountField::Updates => self.updates,
            CountField::SecurityUpdates => self.security_updates,
            CountField::HeldUpdates => self.held_updates,
        })
    }
}

impl Query {
    /// Does the host match? `section` answers what the row does not; where it says `None` the answer may be `None`, and is
    /// one only when it depends on that.
    pub fn judge(
        &self,
        host: &HostFacts<'_>,
        now: Timestamp,
        section: &mut dyn FnMut(&SectionTerm) -> Option<bool>,
    ) -> Option<bool> {
        judge(self.expr(), host, now, section)
    }
}

fn judge(
    expr: &Expr,
    host: &HostFacts<'_>,
    now: Timestamp,
    section: &mut dyn FnMut(&SectionTerm) -> Option<bool>,
) -> Option<bool> {
    match expr {
        Expr::All(parts) => settle(parts, false, &mut |part| judge(part, host, now, section)),
        Expr::Any(parts) => settle(parts, true, &mut |part| judge(part, host, now, section)),
        Expr::Not(inner) => judge(inner, host, now, section).map(|yes| !yes),
        Expr::Term(Term::Section(term)) => section(term),
        Expr::Term(term) => Some(holds(term, host, now)),
    }
}

/// One part that says `decisive` decides; without one, one that is not known leaves it open.
fn settle(parts: &[Expr], decisive: bool, ask: &mut dyn FnMut(&Expr) -> Option<bool>) -> Option<bool> {
    let mut open = false;
    for part in parts {
        match ask(part) {
            Some(answer) if answer == decisive => return Some(decisive),
            Some(_) => {}
            None => open = true,
        }
    }
    if open { None } else { Some(!decisive) }
}

fn holds(term: &Term, host: &HostFacts<'_>, now: Timestamp) -> bool {
    match term {
        Term::Text(TextField::Manager, op, value) => {
            let managers = host.os.map(|os| os.managers.as_slice()).unwrap_or_default();
            is(*op, managers.iter().any(|m| value.matches(m.as_str())))
        }
        Term::Text(field, op, value) => is(*op, value.matches(host.text(*field))),
        Term::Version(field, op, value) => match (op.equality(), value.exact()) {
            (Some(op), _) => is(op, value.matches(host.version(*field))),
            (None, Some(wanted)) => {
                let own = host.version(*field);
                !own.is_empty() && op.holds(rpm::segments(own, wanted))
            }
            (None, None) => false,
        },
        Term::Count(field, op, n) => op.holds(host.count(*field).cmp(n)),
        Term::LastSeen(op, secs) => op.holds(age(host.last_seen, now).cmp(secs)),
        Term::State(op, state) => is(*op, host.state == *state),
        Term::Label(key, None) => host.labels.contains_key(key),
        Term::Label(key, Some((op, value))) => is(*op, host.labels.get(key).is_some_and(|own| value.matches(own))),
        Term::Flag(Flag::Reboot) => host.reboot,
        Term::Flag(Flag::Inventory) => host.inventory,
        // Asked of the caller.
        Term::Section(_) => false,
    }
}

fn is(op: Equality, equal: bool) -> bool {
    equal == (op == Equality::Is)
}

/// Seconds since the host last spoke; more than any duration when it never did.
fn age(last_seen: Option<Timestamp>, now: Timestamp) -> u64 {
    last_seen.map_or(u64::MAX, |seen| u64::try_from(now.as_second().saturating_sub(seen.as_second())).unwrap_or(0))
}

impl PackageTerm {
    /// Does an installed package of this name and version answer it?
    pub fn matches(&self, name: &str, version: &str, scheme: Option<Scheme>) -> bool {
        self.name.matches(name) && self.version_matches(version, scheme)
    }

    /// Is this version one that it asks for? Compared are the parts that the filter names: without an epoch in the filter
    /// the host's is left out, without a release (rpm) or revision (deb) that is, so that `< 3.0.14` says of
    /// `1:3.0.7-27.el9` what people mean. A version that cannot be read by the host's rules matches nothing.
    pub fn version_matches(&self, version: &str, scheme: Option<Scheme>) -> bool {
        let Some((op, wanted)) = &self.version else { return true };
        let own = if wanted.holds(':') { version } else { without_epoch(version) };
        let Some(wanted_text) = wanted.exact() else {
            return op.equality().is_some_and(|op| is(op, wanted.matches(own)));
        };
        let own = if wanted_text.contains('-') { own } else { without_release(own) };
        let Some(scheme) = scheme else { return false };
        compare(scheme, own, wanted_text).is_ok_and(|order| op.holds(order))
    }
}

fn without_epoch(version: &str) -> &str {
    match version.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => version,
    }
}

fn without_release(version: &str) -> &str {
    version.rsplit_once('-').map_or(version, |(before, _)| before)
}
