//! Inventory reports: fingerprints first, bodies only when they are not known, each body stored once.

use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::{
    Health, OsFacts, PackageDelta, PackageSet, SectionKind, UpdateKind, UpdateSet, changes, check_body, diff, fingerprint,
};
use drydock_domain::limits::SECTION_MAX_BYTES;
use drydock_domain::validate::{FieldError, Invalid};
use drydock_store::inventory::Pointer;
use drydock_store::records::{HistoryRecord, InstanceRecord, InventorySummary};
use drydock_store::{Tx, commit, history, instances, inventory};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::act::own_instance;
use super::enrolment::is_sha256;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::views::{SectionBodyIn, SectionIn};

/// Sections in one report, count: the four there are, doubled for agents newer than this.
const SECTIONS_MAX: usize = 8;
/// Package changes kept in one history entry, count.
pub(super) const HISTORY_CHANGES_MAX: usize = 500;
/// A body larger than this is checked beside the threads that serve connections, bytes (some milliseconds of work).
const CHECK_INLINE_MAX_BYTES: usize = 128 * 1024;

/// A section that is to be stored.
struct Checked {
    kind: SectionKind,
    /// As the agent names it.
    reported: String,
    /// SHA-256 of the canonical body.
    fingerprint: String,
    /// Absent: the body is stored already.
    body: Option<Vec<u8>>,
}

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
        let pointers = inventory::pointers(&mut *self.read().await?, instance).await?;
        let (mut confirmed, mut checked, mut wanted, mut refused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for section in sections {
            // An agent newer than this server may know more kinds.
            let Some(kind) = SectionKind::parse(&section.kind) else { continue };
            let pointer = pointers.iter().find(|p| p.kind == kind);
            match self.look_at(kind, section, pointer).await {
                Ok(Step::Confirm(kind)) => confirmed.push(kind),
                Ok(Step::Store(section)) => checked.push(section),
                Ok(Step::Want(kind)) => wanted.push(kind),
                Err(Error::Invalid(invalid)) => refused.extend::<Vec<FieldError>>(invalid.errors),
                Err(other) => return Err(other),
            }
        }
        let os_changed = checked.iter().any(|section| section.kind == SectionKind::Os);
        if !confirmed.is_empty() || !checked.is_empty() {
            let mut tx = self.begin().await?;
            for kind in confirmed {
                inventory::confirm(&mut tx, instance, kind, ctx.now).await?;
            }
            if !checked.is_empty() {
                let found = instances::find(&mut tx, instance).await?;
                let record = found.ok_or_else(|| Error::NotFound(format!("instance {instance}")))?;
                self.store_sections(&mut tx, &record, checked, ctx.now).await?;
            }
            commit(tx).await?;
            if os_changed {
                // Its package manager and architecture decide which sources it can see.
                self.host_changed(instance).await;
            }
        }
        if refused.is_empty() { Ok(wanted) } else { Err(Error::Invalid(Invalid { errors: refused })) }
    }

    async fn look_at(&self, kind: SectionKind, section: SectionIn, pointer: Option<&Pointer>) -> Result<Step> {
        let SectionIn { fingerprint: reported, body, .. } = section;
        if !is_sha256(&reported) {
            return Err(Error::invalid(kind.as_str(), "has a fingerprint that is no SHA-256 in lower-case hexadecimal"));
        }
        if pointer.is_some_and(|p| p.reported_fingerprint == reported) {
            return Ok(Step::Confirm(kind));
        }
        let mut c = self.read().await?;
        if inventory::has_body(&mut c, kind, &reported).await? {
            return Ok(Step::Store(Checked { kind, fingerprint: reported.clone(), reported, body: None }));
        }
        match body {
            SectionBodyIn::None => Ok(Step::Want(kind)),
            SectionBodyIn::Full(bytes) => {
                // Its canonical form may have another fingerprint than the agent's (another version writes other
                // fields): it is stored under its own, and the agent's name for it is remembered.
                let (fingerprint, body) = check(kind, bytes).await?;
                Ok(Step::Store(Checked { kind, reported, fingerprint, body: Some(body) }))
            }
            SectionBodyIn::Delta { base_fingerprint, delta } => {
                if kind != SectionKind::Packages {
                    return Err(Error::invalid(kind.as_str(), "has a delta; only packages may"));
                }
                let base = match pointer {
                    Some(p) if p.reported_fingerprint == base_fingerprint => p.fingerprint.clone(),
                    _ => base_fingerprint,
                };
                let Some(base) = inventory::body(&mut c, kind, &base).await? else { return Ok(Step::Want(kind)) };
                drop(c);
                let Some(bytes) = apply(&base, &delta)? else { return Ok(Step::Want(kind)) };
                let (fingerprint, body) = check(kind, bytes).await?;
                // Another result than the agent's: its base was not ours. The whole set settles it.
                if fingerprint != reported {
                    return Ok(Step::Want(kind));
                }
                Ok(Step::Store(Checked { kind, reported, fingerprint, body: Some(body) }))
            }
        }
    }

    async fn store_sections(&self, tx: &mut Tx, record: &InstanceRecord, sections: Vec<Checked>, now: Timestamp) -> Result<()> {
        let mut summary = record.inventory.unwrap_or_default();
        let mut os = None;
        for section in sections {
            let kind = section.kind;
            let old = inventory::section(tx, record.id, kind).await?;
            let body = match section.body {
                Some(body) => {
                    inventory::put_body(tx, kind, &section.fingerprint, &body, now).await?;
                    body
                }
                None => match inventory::body(tx, kind, &section.fingerprint).await? {
                    Some(body) => body,
                    // Forgotten between the look and now: the next report is asked for the body.
                    None => continue,
                },
            };
            let unchanged = old.as_ref().is_some_and(|old| old.fingerprint == section.fingerprint);
            let changed_at = old.as_ref().filter(|_| unchanged).map_or(now, |old| old.changed_at);
            let Checked { reported: reported_fingerprint, fingerprint, .. } = section;
            let pointer = Pointer { kind, fingerprint, reported_fingerprint, changed_at };
            inventory::set_pointer(tx, record.id, &pointer).await?;
            if unchanged {
                continue;
            }
            summary.changed_at = Some(now);
            match kind {
                SectionKind::Os => {
                    let facts: OsFacts = stored(&body)?;
                    self.note_reboot(tx, record, &facts, now).await?;
                    os = Some(String::from_utf8_lossy(&body).into_owned());
                }
                SectionKind::Packages => {
                    let set: PackageSet = stored(&body)?;
                    summary.packages = count(set.as_slice().len());
                    if let Some(old) = old {
                        self.note_packages(tx, record.id, &stored(&old.body)?, &set, now).await?;
                    }
                }
                SectionKind::Updates => sum_updates(&mut summary, &stored(&body)?),
                SectionKind::Health => summary.reboot_required = stored::<Health>(&body)?.reboot_required(),
            }
        }
        Ok(instances::set_inventory(tx, record.id, &summary, os.as_deref()).await?)
    }

    async fn note_reboot(&self, tx: &mut Tx, record: &InstanceRecord, facts: &OsFacts, now: Timestamp) -> Result<()> {
        let before = record.os.as_ref().map_or("", |os| os.boot_id.as_str());
        if before.is_empty() || facts.boot_id.is_empty() || before == facts.boot_id {
            return Ok(());
        }
        let message = match facts.booted_at {
            Some(at) => format!("rebooted at {at}, kernel {}", facts.kernel_release),
            None => format!("rebooted, kernel {}", facts.kernel_release),
        };
        self.note(tx, record.id, "rebooted", message, now).await
    }

    async fn note_packages(
        &self,
        tx: &mut Tx,
        instance: InstanceId,
        old: &PackageSet,
        new: &PackageSet,
        now: Timestamp,
    ) -> Result<()> {
        let mut list = changes(&diff(old, new));
        let total = count(list.len());
        list.truncate(HISTORY_CHANGES_MAX);
        let entry = HistoryRecord {
            at: now,
            kind: "packages-changed".to_owned(),
            message: if total == 1 { "1 package changed".to_owned() } else { format!("{total} packages changed") },
            changes: list,
            changes_total: total,
            task: None,
        };
        Ok(history::insert(tx, self.mint(now), instance, &entry).await?)
    }
}

/// Checks a body: hostile input. Returns the fingerprint of its canonical form and that form.
async fn check(kind: SectionKind, bytes: Vec<u8>) -> Result<(String, Vec<u8>)> {
    if bytes.len() > SECTION_MAX_BYTES {
        return Err(Error::invalid(kind.as_str(), format!("is {} bytes long; at most {SECTION_MAX_BYTES}", bytes.len())));
    }
    let small = bytes.len() <= CHECK_INLINE_MAX_BYTES;
    let work = move || check_body(kind, &bytes).map(|body| (fingerprint(&body), body));
    if small {
        return Ok(work()?);
    }
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|e| Error::Internal { doing: "check an inventory section", source: Box::new(e) })??)
}

/// The set after a delta; `None`: it does not fit the base.
fn apply(base: &[u8], delta: &[u8]) -> Result<Option<Vec<u8>>> {
    if delta.len() > SECTION_MAX_BYTES {
        return Err(Error::invalid("packages", format!("has a delta of {} bytes; at most {SECTION_MAX_BYTES}", delta.len())));
    }
    let delta: PackageDelta =
        serde_json::from_slice(delta).map_err(|e| Error::invalid("packages", format!("has a delta that cannot be read: {e}")))?;
    let Some(set) = delta.apply(&stored(base)?) else { return Ok(None) };
    let bytes = serde_json::to_vec(&set);
    bytes.map(Some).map_err(|e| Error::Internal { doing: "write a package set", source: Box::new(e) })
}

fn sum_updates(summary: &mut InventorySummary, set: &UpdateSet) {
    let free = || set.updates.iter().filter(|u| u.held.is_empty());
    summary.updates = count(free().count());
    summary.security_updates = count(free().filter(|u| u.kind == UpdateKind::Security).count());
    summary.held_updates = count(set.updates.len()) - summary.updates;
    summary.findings = count(set.findings.len());
}

fn stored<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|e| Error::Internal { doing: "read a stored inventory section", source: Box::new(e) })
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
