//! Source package and phasing out of a stored stanza, and what pins look at out of a snapshot's Release.

use drydock_domain::applicability::facts::{PackageFacts, ReleaseFacts};

use crate::deb::control;
use crate::deb::head::released_names;
use crate::snapshot::SnapshotDoc;

/// Phased to everybody, percent.
pub(super) const PHASED_ALL: u8 = 100;

/// Fills in what the stanza says.
pub(super) fn complete(mut facts: PackageFacts, stanza: &[u8]) -> PackageFacts {
    facts.source.clone_from(&facts.name);
    for field in control::fields(stanza.trim_ascii_end()).map_while(Result::ok) {
        match field.name.first().map(|first| first | 0x20) {
            Some(b's') if field.is("Source") => {
                let value = field.line().unwrap_or_default();
                let (name, version) = value.split_once('(').unwrap_or((value, ""));
                if !name.trim().is_empty() {
                    name.trim().clone_into(&mut facts.source);
                }
                let version = version.trim_end_matches(')').trim();
                if version != facts.version {
                    version.clone_into(&mut facts.source_version);
                }
            }
            Some(b'p') if field.is("Phased-Update-Percentage") => {
                let percent = field.line().and_then(|value| value.parse::<u8>().ok()).unwrap_or(PHASED_ALL);
                facts.phased_percent = percent.min(PHASED_ALL);
            }
            _ => {}
        }
    }
    facts
}

/// What hosts read in the Release this server publishes for a snapshot; empty for rpm.
pub(super) fn release(doc: &SnapshotDoc) -> ReleaseFacts {
    let Some(info) = &doc.deb else { return ReleaseFacts::default() };
    let (suite, codename) = released_names(info);
    let is_yes = |field: &str| info.fields.get(field).is_some_and(|value| value.trim().eq_ignore_ascii_case("yes"));
    ReleaseFacts {
        origin: info.origin.clone(),
        label: info.label.clone(),
        suite: suite.to_owned(),
        codename: codename.to_owned(),
        version: info.fields.get("Version").cloned().unwrap_or_default(),
        not_automatic: is_yes("NotAutomatic"),
        but_automatic_upgrades: is_yes("ButAutomaticUpgrades"),
    }
}
