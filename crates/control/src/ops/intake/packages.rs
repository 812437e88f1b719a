//! The package sets of a batch: interned, pointed to, and written into the histories of their hosts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::{PackageSet, SectionKind, changes_between, fingerprint};
use drydock_domain::inventory_history::{ClassId, IdDelta, PackageId, Timeline, diff};
use drydock_store::history_memo::Step;
use drydock_store::history_writer::{Learnt, Reported, Writer};
use drydock_store::inventory::Pointer;
use drydock_store::{Tx, commit, history, history_timelines, inventory};
use jiff::Timestamp;

use super::{Body, Checked};
use crate::Control;
use crate::error::Result;
use crate::ops::inventory::{HISTORY_CHANGES_MAX, stored};

const KIND: SectionKind = SectionKind::Packages;
/// Hosts whose history begins in one transaction, count.
const BEGIN_HOSTS: u32 = 200;

/// What a host reports of its packages.
pub(super) struct PackageReport<'a> {
    pub(super) instance: InstanceId,
    pub(super) now: Timestamp,
    pub(super) section: &'a Checked,
    /// What it had, as far as that is known.
    pub(super) old: Option<&'a Pointer>,
}

/// What a report says of a host's packages.
pub(super) struct Change {
    /// How many it has.
    pub(super) packages: usize,
    /// What changed; absent: nothing was known before, or nothing changed.
    pub(super) changes: Option<Step>,
}

/// What changed in the packages of hosts that went from one class to the same other one.
type Told = HashMap<(ClassId, ClassId), Step>;

/// Package sets on their way to classes.
struct Sets {
    /// Sets whose class is known, by fingerprint.
    classes: HashMap<String, ClassId>,
    /// Sets that are stored as JSON, by a version without classes.
    as_json: Vec<(String, Reported)>,
    /// Sets that are not stored.
    new: Vec<(String, Reported)>,
}

impl Sets {
    /// Looks for stored sets.
    async fn find(tx: &mut Tx, fingerprints: BTreeSet<&str>) -> Result<Self> {
        let wanted: Vec<String> = fingerprints.into_iter().map(str::to_owned).collect();
        let mut sets = Sets { classes: HashMap::new(), as_json: Vec::new(), new: Vec::new() };
        for (fingerprint, body) in inventory::stored_bodies(tx, KIND, &wanted).await? {
            match inventory::class_of(&body)? {
                Some(class) => drop(sets.classes.insert(fingerprint, class)),
                None => sets.as_json.push((fingerprint, Reported::Parsed(stored::<PackageSet>(&body)?.into_vec()))),
            }
        }
        Ok(sets)
    }

    /// Gives every set its class, and stores the new ones as that.
    async fn intern(&mut self, tx: &mut Tx, writer: &mut Writer, bases: &HashMap<&str, ClassId>, now: Timestamp) -> Result<()> {
        for (as_json, list) in [(true, std::mem::take(&mut self.as_json)), (false, std::mem::take(&mut self.new))] {
            if list.is_empty() {
                continue;
            }
            let (fingerprints, sets): (Vec<String>, Vec<Reported>) = list.into_iter().unzip();
            let ids = writer.intern(tx, sets).await?;
            let based: Vec<(Arc<[PackageId]>, Option<ClassId>)> =
                ids.into_iter().zip(&fingerprints).map(|(ids, print)| (ids, bases.get(print.as_str()).copied())).collect();
            let classes = writer.classes(tx, &based).await?;
            let mut bodies = Vec::new();
            for (fingerprint, class) in fingerprints.into_iter().zip(classes) {
                let body = inventory::class_body(class);
                if as_json {
                    inventory::replace_body(tx, KIND, &fingerprint, &body).await?;
                } else {
                    bodies.push((KIND, fingerprint.clone(), body));
                }
                self.classes.insert(fingerprint, class);
            }
            inventory::put_bodies(tx, bodies, now).await?;
        }
        Ok(())
    }
}

impl Control {
    /// Stores the package sets of a batch and what they change in the histories. A host that is left out has a set that
    /// is not stored any more.
    pub(super) async fn store_packages(
        &self,
        tx: &mut Tx,
        reports: &[PackageReport<'_>],
        now: Timestamp,
    ) -> Result<(HashMap<InstanceId, Change>, Option<Learnt>)> {
        if reports.is_empty() {
            return Ok((HashMap::new(), None));
        }
        let mut writer = Writer::begin(tx, self.history()).await?;
        let hosts: Vec<InstanceId> = reports.iter().map(|r| r.instance).collect();
        let mut lines = history_timelines::of_hosts(tx, &hosts).await?;
        let begun = |r: &&PackageReport<'_>| !lines.contains_key(&r.instance);
        let before_history = reports.iter().filter(begun).filter_map(|r| r.old);
        let of_reports = reports.iter().map(|r| r.section.fingerprint.as_str());
        let wanted = of_reports.chain(before_history.map(|old| old.fingerprint.as_str())).collect();
        let mut sets = Sets::find(tx, wanted).await?;
        let mut bases = HashMap::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for r in reports {
            let fingerprint = r.section.fingerprint.as_str();
            let known = sets.classes.contains_key(fingerprint) || sets.as_json.iter().any(|(f, _)| f == fingerprint);
            if let Some(base) = lines.get(&r.instance).and_then(Timeline::present) {
                bases.insert(fingerprint, base);
            }
            if known || seen.contains(fingerprint) {
                continue;
            }
            if let Some(set) = self.reported(r.section)? {
                seen.insert(fingerprint);
                sets.new.push((fingerprint.to_owned(), set));
            }
        }
        sets.intern(tx, &mut writer, &bases, now).await?;
        let mut moved = BTreeMap::new();
        let mut steps = Vec::new();
        for r in reports {
            let Some(class) = sets.classes.get(&r.section.fingerprint).copied() else { continue };
            let old = r.old.and_then(|old| Some((old.changed_at.as_second(), *sets.classes.get(&old.fingerprint)?)));
            let begun = lines.remove(&r.instance);
            let begins = begun.is_none();
            let mut line = begun.unwrap_or_else(|| match old {
                Some((since, class)) => Timeline::starting(since, class),
                None => Timeline::default(),
            });
            let before = line.present();
            if line.record(r.now.as_second(), class) || begins {
                moved.insert(r.instance, line);
            }
            steps.push((r.instance, before.filter(|before| *before != class), class));
        }
        history_timelines::put(tx, &moved).await?;
        let (changes, told) = self.changes(tx, &mut writer, steps).await?;
        let mut learnt = writer.finish(tx).await?;
        learnt.stored(sets.classes.into_keys());
        learnt.stepped(told);
        Ok((changes, Some(learnt)))
    }

    /// The set that a report brought.
    fn reported(&self, section: &Checked) -> Result<Option<Reported>> {
        Ok(match &section.body {
            Body::Packages(set) => Some(set.clone()),
            // Forgotten since; and nobody has looked yet whether it is what its sender calls it.
            Body::Known(bytes) if fingerprint(bytes) != section.fingerprint => None,
            Body::Known(bytes) => Some(match self.history().recognise(bytes) {
                Some(known) => Reported::Recognised(known),
                None => Reported::Parsed(stored::<PackageSet>(bytes)?.into_vec()),
            }),
            Body::Stored | Body::Bytes(_) => None,
        })
    }

    /// What the steps of hosts from class to class mean.
    async fn changes(
        &self,
        tx: &mut Tx,
        writer: &mut Writer,
        steps: Vec<(InstanceId, Option<ClassId>, ClassId)>,
    ) -> Result<(HashMap<InstanceId, Change>, Told)> {
        let wanted = steps.iter().flat_map(|(_, before, class)| before.iter().copied().chain([*class])).collect();
        let ids = writer.ids(tx, wanted).await?;
        let of = |class: ClassId| ids.get(&class).map(|ids| ids.as_slice()).unwrap_or_default();
        let pairs: BTreeSet<(ClassId, ClassId)> =
            steps.iter().filter_map(|(_, before, class)| Some(((*before)?, *class))).collect();
        let (mut known, mut new): (Told, Told) = (HashMap::new(), HashMap::new());
        known.extend(pairs.iter().filter_map(|s| Some((*s, self.history().step(s.0, s.1)?))));
        let pairs = pairs.into_iter().filter(|s| !known.contains_key(s));
        let deltas: Vec<((ClassId, ClassId), IdDelta)> = pairs.map(|s| (s, diff(of(s.0), of(s.1)))).collect();
        let named = deltas.iter().flat_map(|(_, d)| d.removed.iter().chain(&d.added)).copied().collect();
        let packages = writer.packages(tx, &named).await?;
        let of_ids = |ids: &[PackageId]| ids.iter().filter_map(|id| packages.get(id)).map(|p| &p.package).collect::<Vec<_>>();
        for (step, delta) in &deltas {
            let list = changes_between(of_ids(&delta.removed).into_iter(), of_ids(&delta.added).into_iter());
            let json = history::changes(&list[..list.len().min(HISTORY_CHANGES_MAX)])?;
            new.insert(*step, (u32::try_from(list.len()).unwrap_or(u32::MAX), json));
        }
        let mut out = HashMap::with_capacity(steps.len());
        for (instance, before, class) in steps {
            let changes = before.and_then(|before| known.get(&(before, class)).or_else(|| new.get(&(before, class))).cloned());
            out.insert(instance, Change { packages: of(class).len(), changes });
        }
        Ok((out, new))
    }
}

/// Begins the histories of hosts that reported their packages to a server without histories, some of them: with what
/// they have, since they have it. Returns how many.
pub(crate) async fn begin_histories(control: &Control) -> Result<usize> {
    let mut tx = control.begin().await?;
    let hosts = history_timelines::without(&mut tx, BEGIN_HOSTS).await?;
    if hosts.is_empty() {
        return Ok(0);
    }
    let mut writer = Writer::begin(&mut tx, control.history()).await?;
    let mut sets = Sets::find(&mut tx, hosts.iter().map(|(_, fingerprint, _)| fingerprint.as_str()).collect()).await?;
    sets.intern(&mut tx, &mut writer, &HashMap::new(), control.now()).await?;
    let mut lines = BTreeMap::new();
    for (instance, fingerprint, since) in &hosts {
        if let Some(class) = sets.classes.get(fingerprint) {
            lines.insert(*instance, Timeline::starting(since.as_second(), *class));
        }
    }
    history_timelines::put(&mut tx, &lines).await?;
    let learnt = writer.finish(&mut tx).await?;
    commit(tx).await?;
    learnt.remember();
    Ok(lines.len())
}
