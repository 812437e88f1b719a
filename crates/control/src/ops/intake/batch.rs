//! One batch of reports as one transaction: every table once for all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::{Health, OsFacts, SectionKind, UpdateKind, UpdateSet};
use drydock_store::history::Ready;
use drydock_store::inventory::Pointer;
use drydock_store::records::{HistoryRecord, InventorySummary};
use drydock_store::{Tx, commit, history, instances, inventory};
use jiff::Timestamp;

use super::packages::{Change, PackageReport};
use super::{Body, Checked, Intake};
use crate::Control;
use crate::error::{Error, Result};
use crate::ops::inventory::stored;

/// Bodies by kind and fingerprint.
type Bodies<'a> = HashMap<(SectionKind, &'a str), std::borrow::Cow<'a, [u8]>>;

/// An instance as it was before the batch.
struct Before {
    summary: InventorySummary,
    /// JSON of its operating-system facts.
    os: Option<String>,
    pointers: Vec<Pointer>,
}

impl Before {
    fn pointer(&self, kind: SectionKind) -> Option<&Pointer> {
        self.pointers.iter().find(|p| p.kind == kind)
    }

    /// Is the section as it was?
    fn has(&self, section: &Checked) -> bool {
        let same = |p: &Pointer| p.fingerprint == section.fingerprint && p.reported_fingerprint == section.reported;
        self.pointer(section.kind).is_some_and(same)
    }
}

/// What is written once for the whole batch.
#[derive(Default)]
struct Writes {
    pointers: Vec<(InstanceId, Pointer, Timestamp)>,
    confirmed: BTreeMap<InstanceId, BTreeSet<SectionKind>>,
    summaries: Vec<(InstanceId, InventorySummary, Option<String>)>,
    history: Vec<Ready>,
}

impl Control {
    /// Stores reports, at most one of each host; returns which sections of each changed. The outer error is of all, an
    /// inner one of one report.
    pub(super) async fn store_reports(&self, intakes: &[Intake]) -> Result<Vec<Result<Vec<SectionKind>>>> {
        let Some(now) = intakes.iter().map(|i| i.now).max() else { return Ok(Vec::new()) };
        let mut tx = self.begin().await?;
        let before = self.before(&mut tx, intakes).await?;
        let bodies = plain_bodies(&mut tx, intakes, &before, now).await?;
        let (mut changes, learnt) = self.store_packages(&mut tx, &package_reports(intakes, &before), now).await?;
        let mut writes = Writes::default();
        let mut results = Vec::with_capacity(intakes.len());
        for intake in intakes {
            for kind in &intake.confirmed {
                writes.confirmed.entry(intake.instance).or_default().insert(*kind);
            }
            let Some(before) = before.get(&intake.instance) else {
                let gone = !intake.sections.is_empty();
                results.push(if gone { Err(Error::NotFound(format!("instance {}", intake.instance))) } else { Ok(Vec::new()) });
                continue;
            };
            let change = changes.remove(&intake.instance);
            results.push(Ok(self.store_report(&mut tx, intake, before, &bodies, change, &mut writes).await?));
        }
        inventory::set_pointers(&mut tx, &writes.pointers).await?;
        instances::set_inventories(&mut tx, &writes.summaries).await?;
        history::insert_all(&mut tx, &writes.history).await?;
        // Nearly all hosts confirm the same sections.
        let mut alike: BTreeMap<BTreeSet<SectionKind>, Vec<InstanceId>> = BTreeMap::new();
        for (host, kinds) in writes.confirmed {
            alike.entry(kinds).or_default().push(host);
        }
        for (kinds, hosts) in &alike {
            inventory::confirm_all(&mut tx, kinds, hosts, now).await?;
        }
        commit(tx).await?;
        if let Some(learnt) = learnt {
            learnt.remember();
        }
        Ok(results)
    }

    async fn before(&self, tx: &mut Tx, intakes: &[Intake]) -> Result<HashMap<InstanceId, Before>> {
        let hosts: Vec<InstanceId> = intakes.iter().filter(|i| !i.sections.is_empty()).map(|i| i.instance).collect();
        if hosts.is_empty() {
            return Ok(HashMap::new());
        }
        let mut pointers = inventory::pointers_of(tx, &hosts).await?;
        let found = instances::inventories(tx, &hosts).await?;
        let before = |(id, (summary, os))| (id, Before { summary, os, pointers: pointers.remove(&id).unwrap_or_default() });
        Ok(found.into_iter().map(before).collect())
    }

    async fn store_report(
        &self,
        tx: &mut Tx,
        intake: &Intake,
        before: &Before,
        bodies: &Bodies<'_>,
        change: Option<Change>,
        writes: &mut Writes,
    ) -> Result<Vec<SectionKind>> {
        let mut summary = before.summary;
        let mut os = None;
        let mut changed = Vec::new();
        let mut change = change;
        for section in &intake.sections {
            let Checked { kind, fingerprint, reported, .. } = section;
            if before.has(section) {
                writes.confirmed.entry(intake.instance).or_default().insert(*kind);
                continue;
            }
            let body = bodies.get(&(*kind, fingerprint.as_str()));
            // Forgotten between the look and now: the next report is asked for the body.
            if if *kind == SectionKind::Packages { change.is_none() } else { body.is_none() } {
                continue;
            }
            let old = before.pointer(*kind);
            let unchanged = old.filter(|old| old.fingerprint == *fingerprint);
            let pointer = Pointer {
                kind: *kind,
                fingerprint: fingerprint.clone(),
                reported_fingerprint: reported.clone(),
                changed_at: unchanged.map_or(intake.now, |old| old.changed_at),
            };
            writes.pointers.push((intake.instance, pointer, intake.now));
            if unchanged.is_some() {
                continue;
            }
            changed.push(*kind);
            match (kind, body, change.take_if(|_| *kind == SectionKind::Packages)) {
                (SectionKind::Os, Some(body), _) => {
                    let facts: OsFacts = stored(body)?;
                    self.note_reboot(tx, intake, before, &facts).await?;
                    os = Some(String::from_utf8_lossy(body).into_owned());
                }
                (SectionKind::Updates, Some(body), _) => sum_updates(&mut summary, &stored(body)?),
                (SectionKind::Health, Some(body), _) => summary.reboot_required = stored::<Health>(body)?.reboot_required(),
                (SectionKind::Packages, _, Some(change)) => {
                    summary.packages = count(change.packages);
                    self.note_packages(intake, change, writes);
                }
                _ => {}
            }
        }
        if !changed.is_empty() {
            summary.changed_at = Some(intake.now);
            writes.summaries.push((intake.instance, summary, os));
        }
        Ok(changed)
    }

    async fn note_reboot(&self, tx: &mut Tx, intake: &Intake, before: &Before, facts: &OsFacts) -> Result<()> {
        let last: Option<OsFacts> = before.os.as_deref().map(|os| stored(os.as_bytes())).transpose()?;
        let last = last.map_or_else(String::new, |os| os.boot_id);
        if last.is_empty() || facts.boot_id.is_empty() || last == facts.boot_id {
            return Ok(());
        }
        let message = match facts.booted_at {
            Some(at) => format!("rebooted at {at}, kernel {}", facts.kernel_release),
            None => format!("rebooted, kernel {}", facts.kernel_release),
        };
        self.note(tx, intake.instance, "rebooted", message, intake.now).await
    }

    fn note_packages(&self, intake: &Intake, change: Change, writes: &mut Writes) {
        let Some((total, changes)) = change.changes else { return };
        let entry = HistoryRecord {
            at: intake.now,
            kind: "packages-changed".to_owned(),
            message: if total == 1 { "1 package changed".to_owned() } else { format!("{total} packages changed") },
            changes: Vec::new(),
            changes_total: total,
            task: None,
        };
        let id = self.mint(intake.now);
        writes.history.push(Ready { id, instance: intake.instance, entry, changes });
    }
}

fn package_reports<'a>(intakes: &'a [Intake], before: &'a HashMap<InstanceId, Before>) -> Vec<PackageReport<'a>> {
    let report = |intake: &'a Intake| {
        let section = intake.sections.iter().find(|s| s.kind == SectionKind::Packages)?;
        let before = before.get(&intake.instance)?;
        let old = before.pointer(SectionKind::Packages);
        (!before.has(section)).then_some(PackageReport { instance: intake.instance, now: intake.now, section, old })
    };
    intakes.iter().filter_map(report).collect()
}

/// The bodies of all changed sections but packages: new ones are stored, stored ones read.
async fn plain_bodies<'a>(
    tx: &mut Tx,
    intakes: &'a [Intake],
    before: &HashMap<InstanceId, Before>,
    now: Timestamp,
) -> Result<Bodies<'a>> {
    let mut bodies: Bodies<'a> = HashMap::new();
    let mut missing: BTreeMap<SectionKind, Vec<String>> = BTreeMap::new();
    let news = |i: &'a Intake| {
        let before = before.get(&i.instance);
        let news = move |s: &&Checked| s.kind != SectionKind::Packages && !before.is_some_and(|before| before.has(s));
        i.sections.iter().filter(news)
    };
    let sections = || intakes.iter().flat_map(news);
    for section in sections() {
        match &section.body {
            Body::Bytes(bytes) => drop(bodies.insert((section.kind, &section.fingerprint), bytes.as_slice().into())),
            _ => missing.entry(section.kind).or_default().push(section.fingerprint.clone()),
        }
    }
    let new = bodies.iter().map(|((kind, fingerprint), body)| (*kind, (*fingerprint).to_owned(), body.to_vec()));
    let mut new: Vec<_> = new.collect();
    // In one order everywhere: two servers on one database must not wait for each other in a circle.
    new.sort_unstable();
    inventory::put_bodies(tx, new, now).await?;
    for (kind, fingerprints) in missing {
        let mut found = inventory::stored_bodies(tx, kind, &fingerprints).await?;
        for section in sections().filter(|s| s.kind == kind) {
            if let Some(body) = found.remove(&section.fingerprint) {
                bodies.entry((kind, &section.fingerprint)).or_insert(body.into());
            }
        }
    }
    Ok(bodies)
}

fn sum_updates(summary: &mut InventorySummary, set: &UpdateSet) {
    let free = || set.updates.iter().filter(|u| u.held.is_empty());
    summary.updates = count(free().count());
    summary.security_updates = count(free().filter(|u| u.kind == UpdateKind::Security).count());
    summary.held_updates = count(set.updates.len()) - summary.updates;
    summary.findings = count(set.findings.len());
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
