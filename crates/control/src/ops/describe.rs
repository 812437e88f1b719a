//! Rows around software sources turned into what people see: ids become names, secrets go.

use std::collections::{BTreeMap, HashMap};

use drydock_domain::access::Scope;
use drydock_domain::ids::{EnvironmentId, GroupId, SnapshotId, SourceId};
use drydock_store::source_records::{
    ContentJobRecord, EnvironmentRecord, GroupRecord, PointerRecord, SnapshotRecord, SourceOutline, SourceRecord,
};
use drydock_store::{Connection, attachments, content_jobs, environments, groups, pointers, snapshots, sources};
use jiff::Timestamp;

use super::secrets::redacted;
use crate::content_views::{ContentJobView, SnapshotRef, SnapshotView, SourceView};
use crate::error::{Error, Result};

/// In which compartments somebody may know what there is.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) sources: Scope,
    pub(crate) environments: Scope,
    pub(crate) groups: Scope,
    pub(crate) instances: Scope,
}

/// Every source in outline, every environment and every group: a handful to some thousand, read together.
pub(crate) struct Names {
    pub(crate) sources: Vec<SourceOutline>,
    pub(crate) environments: Vec<EnvironmentRecord>,
    pub(crate) groups: Vec<GroupRecord>,
    by_id: HashMap<SourceId, usize>,
    /// Where sources lie that may be named as users of others.
    users: Scope,
}

impl Names {
    /// As somebody sees them: environments and users of sources that he may not know of are left out.
    pub(crate) fn seen_by(mut self, sight: Sight) -> Names {
        self.environments.retain(|own| sight.environments.holds_in(&own.compartment));
        Names { users: sight.sources, ..self }
    }

    pub(crate) async fn read(c: &mut Connection) -> Result<Names> {
        let sources = sources::outlines(c).await?;
        let environments = environments::list(c).await?;
        let groups = groups::list(c).await?;
        let by_id = sources.iter().enumerate().map(|(n, s)| (s.id, n)).collect();
        Ok(Names { sources, environments, groups, by_id, users: Scope::Everywhere })
    }

    pub(crate) fn outline(&self, id: SourceId) -> Option<&SourceOutline> {
        self.by_id.get(&id).and_then(|n| self.sources.get(*n))
    }

    pub(crate) fn outline_of(&self, name: &str) -> Option<&SourceOutline> {
        self.sources.iter().find(|s| s.name == name)
    }

    /// The name of a source; its id when it is being deleted.
    pub(crate) fn source(&self, id: SourceId) -> String {
        self.outline(id).map_or_else(|| id.to_string(), |s| s.name.clone())
    }

    pub(crate) fn environment(&self, id: EnvironmentId) -> Option<&EnvironmentRecord> {
        self.environments.iter().find(|e| e.id == id)
    }

    pub(crate) fn environment_of(&self, name: &str) -> Option<&EnvironmentRecord> {
        self.environments.iter().find(|e| e.spec.name == name)
    }

    /// The name of a group; its id when it is being deleted.
    pub(crate) fn group(&self, id: GroupId) -> String {
        self.groups.iter().find(|g| g.id == id).map_or_else(|| id.to_string(), |g| g.name.clone())
    }

    pub(crate) fn job(&self, job: ContentJobRecord) -> ContentJobView {
        ContentJobView {
            id: job.id,
            kind: job.kind,
            source: job.source.map(|id| self.source(id)),
            state: job.state,
            progress: job.progress,
            message: job.message,
            findings: Vec::new(),
            findings_total: job.findings_total,
            requested_by: job.requested_by,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            cancel_requested: job.cancel_requested,
        }
    }

    /// A snapshot; `pointers` are those on its source.
    pub(crate) fn snapshot(&self, snapshot: SnapshotRecord, pointers: &[PointerRecord]) -> SnapshotView {
        let here = || pointers.iter().filter(|p| p.snapshot == snapshot.id);
        let names = here().filter_map(|p| p.environment).filter_map(|id| self.environment(id));
        // By rank, as environments are listed.
        let mut environments: Vec<_> = names.map(|e| (e.spec.rank, e.spec.name.clone())).collect();
        environments.sort_unstable();
        SnapshotView {
            latest: here().any(|p| p.environment.is_none()),
            environments: environments.into_iter().map(|(_, name)| name).collect(),
            source: self.source(snapshot.source),
            id: snapshot.id,
            number: u64::from(snapshot.number),
            root: snapshot.root,
            stats: snapshot.stats,
            origin: snapshot.origin,
            created_at: snapshot.created_at,
            findings: Vec::new(),
            findings_total: snapshot.findings_total,
        }
    }

    /// Sources that take from `name` or belong to it.
    pub(crate) fn users_of(&self, name: &str) -> Vec<String> {
        let uses = |s: &&SourceOutline| s.parent.as_deref() == Some(name) || s.from.iter().any(|f| f == name);
        let seen = self.sources.iter().filter(uses).filter(|s| self.users.holds_in(&s.compartment));
        seen.map(|s| s.name.clone()).collect()
    }
}

/// Sources as people see them, in the order given.
pub(crate) async fn source_views(c: &mut Connection, records: Vec<SourceRecord>, names: &Names) -> Result<Vec<SourceView>> {
    let ids: Vec<SourceId> = records.iter().map(|r| r.id).collect();
    let mut newest = snapshots::newest_of(c, &ids).await?;
    let mut jobs = content_jobs::newest_of(c, &ids).await?;
    let attached = attachments::counts(c, &ids).await?;
    let mut on: BTreeMap<SourceId, Vec<PointerRecord>> = BTreeMap::new();
    for pointer in pointers::all(c).await? {
        on.entry(pointer.source).or_default().push(pointer);
    }
    let view = |record: SourceRecord| {
        let last_job = jobs.remove(&record.id);
        let on = on.get(&record.id).map(Vec::as_slice).unwrap_or_default();
        let ended = last_job.as_ref().and_then(|j| j.finished_at);
        let open = last_job.as_ref().is_some_and(|j| !j.state.is_final());
        let interval = record.spec.sync_interval_secs.filter(|_| !open);
        SourceView {
            id: record.id,
            compartment: record.compartment,
            created_by: record.created_by,
            created_at: record.created_at,
            current: newest.remove(&record.id).map(|s| names.snapshot(s, on)),
            next_sync_at: interval.map(|secs| due_at(secs, record.failures, ended, record.created_at)),
            last_job: last_job.map(|j| names.job(j)),
            last_synced_at: record.last_sync_at,
            failures: record.failures,
            attachments: attached.get(&record.id).copied().unwrap_or_default(),
            used_by: names.users_of(&record.spec.name),
            version: record.version,
            spec: redacted(record.spec),
        }
    };
    Ok(records.into_iter().map(view).collect())
}

/// A failing upstream is asked again after the interval, doubled with each failure in a row, at most so often …
const DOUBLINGS_MAX: u32 = 4;
/// … and not beyond this, seconds, unless the interval itself is longer.
const BACK_OFF_MAX_SECS: u64 = 6 * 3600;

/// When a source with an interval is synced again by itself. `ended`: the end of its last job.
pub(crate) fn due_at(interval_secs: u64, failures: u32, ended: Option<Timestamp>, created_at: Timestamp) -> Timestamp {
    let Some(ended) = ended else { return created_at };
    let doubled = interval_secs.saturating_mul(1 << failures.min(DOUBLINGS_MAX));
    let secs = doubled.min(BACK_OFF_MAX_SECS.max(interval_secs));
    let wait = jiff::SignedDuration::from_secs(i64::try_from(secs).unwrap_or(i64::MAX));
    ended.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// Short names of these snapshots, as far as they still exist.
pub(crate) async fn refs(c: &mut Connection, ids: &[SnapshotId]) -> Result<BTreeMap<SnapshotId, SnapshotRef>> {
    let found = snapshots::find_all(c, ids).await?;
    Ok(found.into_values().map(|s| (s.id, short(&s))).collect())
}

/// A snapshot, named shortly.
pub(crate) fn short(snapshot: &SnapshotRecord) -> SnapshotRef {
    SnapshotRef { id: snapshot.id, number: u64::from(snapshot.number), created_at: snapshot.created_at }
}

/// The source of this name.
pub(crate) async fn source_named(c: &mut Connection, name: &str) -> Result<SourceRecord> {
    sources::find_by_name(c, name).await?.ok_or_else(|| no_source(name))
}

/// The environment of this name.
pub(crate) async fn environment_named(c: &mut Connection, name: &str) -> Result<EnvironmentRecord> {
    environments::find_by_name(c, name).await?.ok_or_else(|| no_environment(name))
}

/// The group of this name.
pub(crate) async fn group_named(c: &mut Connection, name: &str) -> Result<GroupRecord> {
    groups::find_by_name(c, name).await?.ok_or_else(|| no_group(name))
}

pub(crate) fn no_group(name: &str) -> Error {
    Error::NotFound(format!("group {}", super::act::cut(name, 255)))
}

pub(crate) fn no_source(name: &str) -> Error {
    Error::NotFound(format!("software source {}", super::act::cut(name, 255)))
}

pub(crate) fn no_environment(name: &str) -> Error {
    Error::NotFound(format!("lifecycle environment {}", super::act::cut(name, 255)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_upstream_is_asked_less_often_and_never_sooner_than_the_interval() {
        let at = |s| Timestamp::from_second(s).expect("in range");
        let next = |interval, failures| due_at(interval, failures, Some(at(1000)), at(0)).as_second() - 1000;
        assert_eq!(next(600, 0), 600);
        assert_eq!(next(600, 2), 2400);
        assert_eq!(next(600, 99), 9600);
        assert_eq!(next(7200, 3), 6 * 3600);
        assert_eq!(next(86_400, 3), 86_400);
        assert_eq!(due_at(600, 0, None, at(5)), at(5), "the first sync is due at once");
    }
}
