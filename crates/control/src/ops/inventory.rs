//! Inventory reports: fingerprints first, bodies only when they are not known, each body stored once. What is to be
//! stored is checked here and written by [`super::intake`], together with what other hosts report at the moment.

use std::sync::Arc;

use drydock_domain::inventory::{PackageDelta, PackageSet, SectionKind, check_body, fingerprint};
use drydock_domain::limits::SECTION_MAX_BYTES;
use drydock_domain::validate::{FieldError, Invalid};
use drydock_store::history_writer::Reported;
use drydock_store::inventory;
use drydock_store::inventory::Pointer;
use serde::de::DeserializeOwned;

use super::act::own_instance;
use super::enrolment::is_sha256;
use super::intake::{Body, Checked, Intake};
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::views::{SectionBodyIn, SectionIn};

/// Sections in one report, count: the five there are, and some for agents newer than this.
const SECTIONS_MAX: usize = 8;
/// Package changes kept in one history entry, count.
pub(super) const HISTORY_CHANGES_MAX: usize = 500;
/// A body larger than this is checked beside the threads that serve connections, bytes (some milliseconds of work).
const CHECK_INLINE_MAX_BYTES: usize = 128 * 1024;

/// What is to be done about one reported section.
enum Step {
    /// It is as it was.
    Confirm(SectionKind),
    /// It is new.
    Store(Checked),
    /// Its body is needed.
    Want(SectionKind),
}

impl Control {
    /// Takes what an agent reports of its host; returns the sections whose body is to be sent in full. A section that
    /// is refused does not keep the others from being stored.
    pub async fn report_inventory(&self, ctx: &OpCtx, sections: Vec<SectionIn>) -> Result<Vec<SectionKind>> {
        let instance = own_instance(ctx)?;
        if sections.len() > SECTIONS_MAX {
            return Err(Error::invalid(
                "sections",
                format!("has {} entries; at most {SECTIONS_MAX} are allowed", sections.len()),
            ));
        }
        // Whole bodies need no look at what is stored: whether they are news is seen where they are.
        let whole = sections.iter().all(|s| matches!(s.body, SectionBodyIn::Full(_)));
        let pointers = if whole { Vec::new() } else { inventory::pointers(&mut *self.read().await?, instance).await? };
        let mut intake = Intake { instance, now: ctx.now, confirmed: Vec::new(), sections: Vec::new() };
        let (mut wanted, mut refused) = (Vec::new(), Vec::new());
        for section in sections {
            // An agent newer than this server may know more kinds.
            let Some(kind) = SectionKind::parse(&section.kind) else { continue };
            let pointer = pointers.iter().find(|p| p.kind == kind);
            match self.look_at(kind, section, pointer).await {
                Ok(Step::Confirm(kind)) => intake.confirmed.push(kind),
                // Of one kind given twice the last counts, as if it had come in a report of its own.
                Ok(Step::Store(section)) => {
                    intake.sections.retain(|s| s.kind != kind);
                    intake.sections.push(section);
                }
                Ok(Step::Want(kind)) => wanted.push(kind),
                Err(Error::Invalid(invalid)) => refused.extend::<Vec<FieldError>>(invalid.errors),
                Err(other) => return Err(other),
            }
        }
        if !intake.confirmed.is_empty() || !intake.sections.is_empty() {
            let changed = self.take_report(intake).await?;
            if changed.contains(&SectionKind::Os) {
                // Its package manager and architecture decide which sources it can see.
                self.host_changed(instance).await;
            } else if changed.iter().any(|kind| matches!(kind, SectionKind::Packages | SectionKind::Rules)) {
                self.fleet_host_changed(instance);
            }
        }
        if refused.is_empty() { Ok(wanted) } else { Err(Error::Invalid(Invalid { errors: refused })) }
    }

    /// Notes that everything is as it was, if the fingerprints of all sections together are these; `false`: they are
    /// not, and each is to be told.
    pub async fn confirm_inventory(&self, ctx: &OpCtx, combined: &[u8]) -> Result<bool> {
        let instance = own_instance(ctx)?;
        let pointers = inventory::pointers(&mut *self.read().await?, instance).await?;
        let sections: Vec<_> = pointers.iter().map(|p| (p.kind, p.reported_fingerprint.as_str())).collect();
        if sections.is_empty() || drydock_domain::inventory::combined_fingerprint(&sections)[..] != *combined {
            return Ok(false);
        }
        let confirmed = pointers.iter().map(|p| p.kind).collect();
        self.take_report(Intake { instance, now: ctx.now, confirmed, sections: Vec::new() }).await?;
        Ok(true)
    }

    async fn look_at(&self, kind: SectionKind, section: SectionIn, pointer: Option<&Pointer>) -> Result<Step> {
        let SectionIn { fingerprint: reported, body, .. } = section;
        if !is_sha256(&reported) {
            return Err(Error::invalid(kind.as_str(), "has a fingerprint that is no SHA-256 in lower-case hexadecimal"));
        }
        if pointer.is_some_and(|p| p.reported_fingerprint == reported) {
            return Ok(Step::Confirm(kind));
        }
        match body {
            SectionBodyIn::Full(bytes) => {
                // Its canonical form may have another fingerprint than the agent's (another version writes other
                // fields): it is stored under its own, and the agent's name for it is remembered.
                let (fingerprint, body) = self.check(kind, Some(&reported), bytes).await?;
                Ok(Step::Store(Checked { kind, reported, fingerprint, body }))
            }
            _ if inventory::has_body(&mut *self.read().await?, kind, &reported).await? => {
                Ok(Step::Store(Checked { kind, fingerprint: reported.clone(), reported, body: Body::Stored }))
            }
            SectionBodyIn::None => Ok(Step::Want(kind)),
            SectionBodyIn::Delta { base_fingerprint, delta } => {
                if kind != SectionKind::Packages {
                    return Err(Error::invalid(kind.as_str(), "has a delta; only packages may"));
                }
                let base = match pointer {
                    Some(p) if p.reported_fingerprint == base_fingerprint => p.fingerprint.clone(),
                    _ => base_fingerprint,
                };
                let Some(base) = self.packages_body(&base).await? else { return Ok(Step::Want(kind)) };
                let Some(bytes) = apply(&base, &delta)? else { return Ok(Step::Want(kind)) };
                let (fingerprint, body) = self.check(kind, None, bytes).await?;
                // Another result than the agent's: its base was not ours. The whole set settles it.
                if fingerprint != reported {
                    return Ok(Step::Want(kind));
                }
                Ok(Step::Store(Checked { kind, reported, fingerprint, body }))
            }
        }
    }

    /// A stored package set.
    async fn packages_body(&self, fingerprint: &str) -> Result<Option<PackageSet>> {
        let mut c = self.read().await?;
        let Some(body) = inventory::stored_body(&mut c, SectionKind::Packages, fingerprint).await? else { return Ok(None) };
        match inventory::class_of(&body)? {
            None => stored(&body).map(Some),
            Some(class) => Ok(self.history().set(&mut c, class).await.map(Some)?),
        }
    }

    /// Checks a body: hostile input. Returns the fingerprint of its canonical form and that form. A sender that calls it what a
    /// stored set is called is believed, as one that sends the name alone is: it can only be wrong about its own host.
    async fn check(&self, kind: SectionKind, named: Option<&str>, bytes: Vec<u8>) -> Result<(String, Body)> {
        if bytes.len() > SECTION_MAX_BYTES {
            return Err(Error::invalid(kind.as_str(), format!("is {} bytes long; at most {SECTION_MAX_BYTES}", bytes.len())));
        }
        if let Some(named) = named.filter(|named| kind == SectionKind::Packages && self.history().was_stored(named)) {
            return Ok((named.to_owned(), Body::Known(Arc::new(bytes))));
        }
        let small = bytes.len() <= CHECK_INLINE_MAX_BYTES;
        let memo = self.history().clone();
        let work = move || {
            if kind == SectionKind::Packages {
                let print = fingerprint(&bytes);
                let bytes = Arc::new(bytes);
                // Many hosts have it, and it was checked when the first one sent it.
                if memo.was_stored(&print) {
                    return Ok((print, Body::Known(bytes)));
                }
                if let Some(known) = memo.recognise(&bytes) {
                    return Ok((print, Body::Packages(Reported::Recognised(known))));
                }
                let canonical = check_body(kind, &bytes)?;
                let set: PackageSet = stored(&canonical)?;
                return Ok((fingerprint(&canonical), Body::Packages(Reported::Parsed(set.into_vec()))));
            }
            let canonical = check_body(kind, &bytes)?;
            Ok((fingerprint(&canonical), Body::Bytes(canonical)))
        };
        if small {
            return work();
        }
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|e| Error::Internal { doing: "check an inventory section", source: Box::new(e) })?
    }
}

/// The set after a delta; `None`: it does not fit the base.
fn apply(base: &PackageSet, delta: &[u8]) -> Result<Option<Vec<u8>>> {
    if delta.len() > SECTION_MAX_BYTES {
        return Err(Error::invalid("packages", format!("has a delta of {} bytes; at most {SECTION_MAX_BYTES}", delta.len())));
    }
    let delta: PackageDelta =
        serde_json::from_slice(delta).map_err(|e| Error::invalid("packages", format!("has a delta that cannot be read: {e}")))?;
    let Some(set) = delta.apply(base) else { return Ok(None) };
    let bytes = serde_json::to_vec(&set);
    bytes.map(Some).map_err(|e| Error::Internal { doing: "write a package set", source: Box::new(e) })
}

pub(super) fn stored<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|e| Error::Internal { doing: "read a stored inventory section", source: Box::new(e) })
}
