//! The picture of the fleet follows the store and the content: feeds, snapshots that hosts see, hosts. Everything is looked
//! at when this process begins, when something that concerns many changed, and every minute as the net below; a host that
//! reported is looked at alone and at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drydock_content::Content;
use drydock_domain::ids::InstanceId;
use drydock_domain::source::unit::Format;
use drydock_store::fleet_hosts::{self, FleetHost};
use drydock_store::{advisory_feeds, commit, open_cves};
use jiff::SignedDuration;
use tokio::sync::watch;

use crate::Control;
use crate::content_part::blocking;
use crate::error::Result;
use crate::fleet::feeds::FeedChange;
use crate::fleet::hosts::{Bodies, HostChange};
use crate::fleet::roots::RootFacts;
use crate::fleet::since::Since;
use crate::fleet::{LookedAt, Model, RootSeen, Work, feeds, hosts, roots, state};
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
/// The picture is kept at least this often while it changes: a restart after a kill reads again what changed since.
const KEEP_EVERY: SignedDuration = SignedDuration::from_mins(10);
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
            () = super::ended(&mut shutdown) => break,
        }
    }
    let mut looked_at = control.fleet().looked_at.lock().await;
    if looked_at.unsaved {
        keep(&control, &mut looked_at).await;
    }
}

/// Brings the picture up to date.
pub(super) async fn turn(control: &Control) -> Result<()> {
    let mut looked_at = control.fleet().looked_at.lock().await;
    if !std::mem::replace(&mut looked_at.begun, true) {
        restore(control).await;
    }
    let done = look(control, &mut looked_at).await;
    let now = control.now();
    let long_ago = looked_at.saved_at.is_none_or(|at| now.duration_since(at).abs() >= KEEP_EVERY);
    if looked_at.unsaved && long_ago {
        keep(control, &mut looked_at).await;
    }
    done
}

/// Looks at what changed.
async fn look(control: &Control, looked_at: &mut LookedAt) -> Result<()> {
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
        Ok(changed) => {
            looked_at.unsaved |= changed;
            if all {
                (looked_at.changes, looked_at.all_at) = (Some(changes), Some(now));
            }
        }
        Err(e) => {
            control.fleet().changed_hosts().append(&mut dirty);
            looked_at.changes = None;
            return Err(e);
        }
    }
    Ok(())
}

/// Takes up the picture that the process before kept, if there is one that can be used.
async fn restore(control: &Control) {
    let Some(place) = control.fleet().file.get().cloned() else { return };
    let server = control.work_public_key();
    let path = place.path.clone();
    let read = blocking("read the kept picture of the fleet", move || state::load(&place, server)).await;
    match read {
        Ok(Ok(Some(model))) => {
            tracing::info!(hosts = model.hosts.len(), "the picture of the fleet is taken up as it was kept");
            let handle = control.clone();
            let put = move || *handle.fleet().model_to_change() = Some(model);
            if let Err(error) = blocking("take up the kept picture of the fleet", put).await {
                tracing::warn!(error = %chain(&error), "the kept picture of the fleet is not taken up");
            }
        }
        Ok(Ok(None)) => {}
        Ok(Err(error)) => {
            let error = chain(&error);
            tracing::warn!(path = %path.display(), error, "the kept picture of the fleet is of no use; it is made anew");
        }
        Err(error) => tracing::warn!(error = %chain(&error), "the kept picture of the fleet is of no use; it is made anew"),
    }
}

/// Keeps the picture for the next process. What fails is tried again at the next time: only a restart gets slower by it.
async fn keep(control: &Control, looked_at: &mut LookedAt) {
    looked_at.saved_at = Some(control.now());
    let Some(place) = control.fleet().file.get().cloned() else { return };
    let handle = control.clone();
    let path = place.path.clone();
    let kept = blocking("keep the picture of the fleet", move || {
        let picture = handle.fleet().model_to_read();
        let Some(model) = picture.as_ref().filter(|m| m.complete) else { return Ok(false) };
        let bytes = state::write(model, &place.build, handle.work_public_key()).map_err(std::io::Error::other)?;
        drop(picture);
        state::keep(&place.path, &bytes).map(|()| true)
    })
    .await;
    match kept {
        Ok(Ok(true)) => looked_at.unsaved = false,
        Ok(Ok(false)) => {}
        Ok(Err(error)) => tracing::warn!(path = %path.display(), %error, "the picture of the fleet cannot be kept"),
        Err(error) => tracing::warn!(error = %chain(&error), "the picture of the fleet cannot be kept"),
    }
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

/// Looks at everything. Returns whether anything changed.
async fn whole(control: &Control) -> Result<bool> {
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
    let first = !model.as_ref().is_some_and(|m| m.complete);
    drop(model);
    if first {
        batch.since = Some(Since::of(open_cves::all(&mut *control.read().await?).await?));
    }
    apply(control, batch).await
}

/// Looks at some hosts.
async fn some(control: &Control, dirty: &BTreeSet<InstanceId>) -> Result<bool> {
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
            Work::add(&control.fleet().work.feeds_read, 1);
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
    for (root, (seen, format)) in &wanted {
        let model = control.fleet().model().await;
        let known = model.as_ref().map(|m| &m.roots);
        if known.is_some_and(|roots| roots.contains_key(root)) {
            continue;
        }
        let same_source = |(_, other): &(&String, &RootSeen)| other.source == seen.source;
        let newest = known.into_iter().flatten().filter(same_source).max_by_key(|(_, other)| other.number);
        let base = newest.map(|(root, _)| root.clone());
        drop(model);
        match read_root(control, part.content(), root, base, *format).await? {
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

/// What differs from the newest snapshot of the source that is in the picture; all of it when there is none, or when they do
/// not compare.
async fn read_root(
    control: &Control,
    content: &Content,
    root: &str,
    base: Option<String>,
    format: Format,
) -> Result<Result<RootFacts>> {
    let (content, root) = (content.clone(), root.to_owned());
    let read = blocking("read a snapshot", move || {
        let compared = base.map(|base| roots::read_after(&content, &root, &base, format));
        match compared {
            Some(Ok(read)) => Ok(read),
            _ => roots::read(&content, &root, format),
        }
    })
    .await?;
    if let Ok(read) = &read {
        let work = &control.fleet().work;
        Work::add(if read.is_whole() { &work.snapshots_read } else { &work.snapshots_compared }, 1);
    }
    Ok(read)
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
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
    Work::add(&control.fleet().work.hosts_read, change.is_some().into());
    batch.hosts.extend(change);
    Ok(())
}

/// Puts a batch in, decides, and stores since when what is open where. Returns whether there was anything.
async fn apply(control: &Control, batch: Batch) -> Result<bool> {
    if batch.is_empty() {
        return Ok(false);
    }
    let now = control.now();
    let handle = control.clone();
    let changed = blocking("decide about the updates of hosts", move || {
        let fleet = handle.fleet();
        let mut guard = fleet.model_to_change();
        // The first picture is made beside the readers, who wait for none; later ones are changed in place.
        if !guard.as_ref().is_some_and(|m| m.complete) {
            let mut model = guard.take().unwrap_or_default();
            drop(guard);
            let changed = put(&mut model, batch, now, &fleet.work);
            *fleet.model_to_change() = Some(model);
            return changed;
        }
        match guard.as_mut() {
            Some(model) => put(model, batch, now, &fleet.work),
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
    Ok(true)
}

type Open = (InstanceId, drydock_store::advisory_records::OpenCves);

fn put(model: &mut Model, batch: Batch, now: jiff::Timestamp, work: &Work) -> Vec<Open> {
    if let Some(since) = batch.since {
        model.since = since;
    }
    for feed in batch.feeds_gone {
        model.forget_feed(feed);
    }
    for feed in batch.feeds {
        model.put_feed(feed);
    }
    let mut wanted = batch.roots;
    for root in &batch.roots_read {
        if !model.put_root(root)
            && let Some(wanted) = &mut wanted
        {
            // Not known: the next look reads it whole.
            wanted.remove(root.name());
        }
    }
    for host in batch.hosts_gone {
        model.forget_host(host);
    }
    for (old, new) in hosts::promoted(model, &batch.hosts) {
        model.engine.replace_root(&old, &new);
    }
    for host in batch.hosts {
        model.put_host(host);
    }
    if let Some(wanted) = wanted {
        let gone: Vec<String> = model.roots.keys().filter(|root| !wanted.contains_key(*root)).cloned().collect();
        for root in gone {
            model.forget_root(&root);
        }
        model.roots = wanted;
    }
    let settled = model.engine.settle();
    Work::add(&work.classes_computed, settled.classes_computed);
    model.changed();
    // What a restored picture says was stored or not before the process ended: all hosts are compared once.
    let hosts = match std::mem::replace(&mut model.complete, true) {
        true => settled.hosts_changed,
        false => model.hosts.keys().copied().collect(),
    };
    let mut changed = Vec::new();
    for host in hosts {
        let Some(open) = model.engine.open_on(host) else { continue };
        changed.extend(model.since.note(host, open, now).map(|open| (host, open)));
    }
    changed
}
