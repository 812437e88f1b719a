//! The picture of the fleet follows the store and the content: feeds, snapshots that hosts see, hosts. Everything is looked
//! at when this process begins, when something that concerns many changed, and every minute as the net below; a host that
//! reported is looked at alone and at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drydock_domain::ids::InstanceId;
use drydock_store::fleet_hosts::{self, FleetHost};
use drydock_store::{advisory_feeds, commit, open_cves};
use jiff::SignedDuration;
use tokio::sync::watch;

use crate::Control;
use crate::content_part::blocking;
use crate::error::{Error, Result};
use crate::fleet::feeds::FeedChange;
use crate::fleet::hosts::{Bodies, HostChange};
use crate::fleet::roots::RootFacts;
use crate::fleet::since::Since;
use crate::fleet::{Model, RootSeen, feeds, hosts, roots};
use crate::ops::DocumentInputs;

/// It is looked at least this often whether anything changed.
const PERIOD: Duration = Duration::from_secs(1);
/// And at most this often: a burst of reports is one settlement.
const PAUSE: Duration = Duration::from_millis(100);
/// Hosts read at once, count.
const HOSTS_AT_ONCE: u32 = 500;
/// Everything is looked at at least this often: what other servers on the same database did is found by it.
const ALL_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// More hosts than this changed at once: everything is looked at.
const HOSTS_ALONE_MAX: usize = 500;
/// Rows of open CVEs written in one transaction, count.
const ROWS_AT_ONCE: usize = 500;

/// Keeps the picture up to date until `shutdown` turns true: beside the other reconcilers, because reading a new snapshot
/// takes seconds.
pub(super) async fn run(control: Control, mut shutdown: watch::Receiver<bool>) {
    loop {
        if let Err(error) = turn(&control).await {
            tracing::error!(error = %chain(&error), "the picture of the fleet is not up to date; trying again in a second");
        }
        let rested = async {
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                () = control.fleet().woken() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        };
        tokio::select! {
            () = rested => {}
            () = super::ended(&mut shutdown) => return,
        }
    }
}

/// Brings the picture up to date.
pub(super) async fn turn(control: &Control) -> Result<()> {
    let mut looked_at = control.fleet().looked_at.lock().await;
    // Taken first: a change while the picture is made is seen by the next turn.
    let sources = control.content_part().map_or(0, |part| part.changes());
    let changes = (control.fleet().changes(), sources);
    let mut dirty = std::mem::take(&mut *control.fleet().changed_hosts());
    let now = control.now();
    let long_ago = looked_at.all_at.is_none_or(|at| now.duration_since(at).abs() >= ALL_EVERY);
    let all = looked_at.changes != Some(changes) || long_ago || dirty.len() > HOSTS_ALONE_MAX;
    if !all && dirty.is_empty() {
        return Ok(());
    }
    let done = if all { whole(control).await } else { some(control, &dirty).await };
    match done {
        Ok(()) if all => (looked_at.changes, looked_at.all_at) = (Some(changes), Some(now)),
        Ok(()) => {}
        Err(e) => {
            control.fleet().changed_hosts().append(&mut dirty);
            looked_at.changes = None;
            return Err(e);
        }
    }
    Ok(())
}

/// What is to be put in, read without the picture being locked.
#[derive(Default)]
struct Batch {
    feeds: Vec<FeedChange>,
    feeds_gone: Vec<drydock_domain::ids::FeedId>,
    roots_read: Vec<RootFacts>,
    /// Absent: they are as they were.
    roots: Option<BTreeMap<String, RootSeen>>,
    hosts: Vec<HostChange>,
    hosts_gone: Vec<InstanceId>,
    since: Option<Since>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.feeds.is_empty()
            && self.feeds_gone.is_empty()
            && self.roots_read.is_empty()
            && self.roots.is_none()
            && self.hosts.is_empty()
            && self.hosts_gone.is_empty()
            && self.since.is_none()
    }
}

/// Looks at everything.
async fn whole(control: &Control) -> Result<()> {
    let mut batch = Batch::default();
    look_at_feeds(control, &mut batch).await?;
    let inputs = DocumentInputs::read(control, None).await?;
    let wanted = look_at_roots(control, &inputs, &mut batch).await?;
    let mut there: BTreeSet<InstanceId> = BTreeSet::new();
    let mut bodies = Bodies::default();
    let mut last = None;
    loop {
        let found = fleet_hosts::after(&mut *control.read().await?, last, HOSTS_AT_ONCE).await?;
        let Some(end) = found.last().map(|h| h.inputs.instance) else { break };
        for host in &found {
            there.insert(host.inputs.instance);
            look_at_host(control, &inputs, host, &mut bodies, &mut batch).await?;
        }
        last = Some(end);
    }
    let model = control.fleet().model().await;
    match model.as_ref() {
        Some(model) => {
            batch.hosts_gone.extend(model.hosts.keys().filter(|id| !there.contains(id)));
            if model.roots != wanted {
                batch.roots = Some(wanted);
            }
        }
        None => batch.roots = Some(wanted),
    }
    let first = model.is_none();
    drop(model);
    if first {
        batch.since = Some(Since::of(open_cves::all(&mut *control.read().await?).await?));
    }
    apply(control, batch).await
}

/// Looks at some hosts.
async fn some(control: &Control, dirty: &BTreeSet<InstanceId>) -> Result<()> {
    let mut batch = Batch::default();
    let inputs = DocumentInputs::read(control, None).await?;
    let mut bodies = Bodies::default();
    for id in dirty {
        let found = fleet_hosts::find(&mut *control.read().await?, *id).await?;
        match found {
            Some(host) => look_at_host(control, &inputs, &host, &mut bodies, &mut batch).await?,
            None => batch.hosts_gone.push(*id),
        }
    }
    // A source that no host saw before: its snapshot is read first, or the host would seem to have no updates.
    let model = control.fleet().model().await;
    let known = |root: &str| model.as_ref().is_some_and(|m| m.roots.contains_key(root));
    let unread = batch.hosts.iter().any(|host| !host.roots().all(known));
    drop(model);
    if unread { whole(control).await } else { apply(control, batch).await }
}

async fn look_at_feeds(control: &Control, batch: &mut Batch) -> Result<()> {
    let records = advisory_feeds::list(&mut *control.read().await?).await?;
    let model = control.fleet().model().await;
    let seen = |id| model.as_ref().and_then(|m| m.feeds.get(&id));
    let mut c = control.read().await?;
    for record in &records {
        if seen(record.id).is_none_or(|s| s.version != record.version) {
            batch.feeds.push(feeds::read(&mut c, record, seen(record.id)).await?);
        }
    }
    if let Some(model) = model.as_ref() {
        batch.feeds_gone.extend(model.feeds.keys().filter(|id| !records.iter().any(|r| r.id == **id)));
    }
    Ok(())
}

/// Every snapshot that a pointer is on; those that are new are read.
async fn look_at_roots(control: &Control, inputs: &DocumentInputs, batch: &mut Batch) -> Result<BTreeMap<String, RootSeen>> {
    let mut wanted = inputs.roots();
    let Ok(part) = control.content_part() else { return Ok(BTreeMap::new()) };
    let mut broken = Vec::new();
    for (root, (_, format)) in &wanted {
        let known = control.fleet().model().await.as_ref().is_some_and(|m| m.roots.contains_key(root));
        if known {
            continue;
        }
        let (content, wanted, format) = (part.content().clone(), root.clone(), *format);
        match blocking("read a snapshot", move || roots::read(&content, &wanted, format)).await? {
            Ok(read) => batch.roots_read.push(read),
            // Damaged or collected: hosts that see it get what the other sources have, until it can be read.
            Err(error) => {
                tracing::error!(root, error = %chain(&error), "a snapshot cannot be read; its packages count for nothing");
                broken.push(root.clone());
            }
        }
    }
    wanted.retain(|root, _| !broken.contains(root));
    let wanted: BTreeMap<String, RootSeen> = wanted.into_iter().map(|(root, (seen, _))| (root, seen)).collect();
    Ok(wanted)
}

fn chain(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

async fn look_at_host(
    control: &Control,
    inputs: &DocumentInputs,
    host: &FleetHost,
    bodies: &mut Bodies,
    batch: &mut Batch,
) -> Result<()> {
    let id = host.inputs.instance;
    let Some(seen) = hosts::seen(host, inputs.views(&host.inputs)) else { return Ok(()) };
    let same = control.fleet().model().await.as_ref().and_then(|m| m.hosts.get(&id)).is_some_and(|before| *before == seen);
    if same {
        return Ok(());
    }
    let change = hosts::read(&mut *control.read().await?, control.history(), host, seen, bodies).await?;
    batch.hosts.extend(change);
    Ok(())
}

/// Puts a batch in, decides, and stores since when what is open where.
async fn apply(control: &Control, batch: Batch) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let now = control.now();
    let handle = control.clone();
    let changed = blocking("decide about the updates of hosts", move || {
        let fleet = handle.fleet();
        // The first picture is made beside the readers, who wait for none; later ones change it in place.
        if !fleet.is_ready() {
            let mut model = Model::default();
            let changed = put(&mut model, batch, now);
            *fleet.model_to_change() = Some(model);
            return changed;
        }
        let mut guard = fleet.model_to_change();
        match guard.as_mut() {
            Some(model) => put(model, batch, now),
            None => Vec::new(),
        }
    })
    .await?;
    for some in changed.chunks(ROWS_AT_ONCE) {
        let mut tx = control.begin().await?;
        for (host, open) in some {
            match open_cves::put(&mut tx, *host, open, now).await {
                // The instance was deleted meanwhile.
                Err(e) if e.is_referenced() => break,
                other => other.map(drop)?,
            }
        }
        commit(tx).await?;
    }
    Ok(())
}

type Open = (InstanceId, drydock_store::advisory_records::OpenCves);

fn put(model: &mut Model, batch: Batch, now: jiff::Timestamp) -> Vec<Open> {
    if let Some(since) = batch.since {
        model.since = since;
    }
    for feed in batch.feeds_gone {
        model.forget_feed(feed);
    }
    for feed in batch.feeds {
        model.put_feed(feed);
    }
    for root in &batch.roots_read {
        model.put_root(root);
    }
    for host in batch.hosts_gone {
        model.forget_host(host);
    }
    for host in batch.hosts {
        model.put_host(host);
    }
    if let Some(wanted) = batch.roots {
        let gone: Vec<String> = model.roots.keys().filter(|root| !wanted.contains_key(*root)).cloned().collect();
        for root in gone {
            model.forget_root(&root);
        }
        model.roots = wanted;
    }
    let settled = model.engine.settle();
    model.changed();
    let mut changed = Vec::new();
    for host in settled.hosts_changed {
        let Some(report) = model.engine.host(host) else { continue };
        let open = report.vulnerabilities.iter().map(|v| v.id.as_str());
        changed.extend(model.since.note(host, open, now).map(|open| (host, open)));
    }
    changed
}
