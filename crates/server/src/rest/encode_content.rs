//! From the views of sources, snapshots, environments and content jobs to the types of the wire.

use drydock_api::rest;
use drydock_control::{
    AddedView, CollectView, ContentJobView, DiffCounts, DiffView, EnvironmentView, Freed, GroupMemberView, GroupView,
    InstanceSourceView, InstanceSourcesView, LeftOut, MoveView, PointerMoveView, PointerView, PromotionView, RepositoryKeyView,
    SnapshotRef, SnapshotView, SourceView, UnitPage,
};

/// A number that a person counts up by one each time.
fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A software source.
pub fn source(view: SourceView) -> rest::Source {
    let etag = view.etag();
    rest::Source {
        id: view.id,
        compartment: view.compartment,
        spec: view.spec,
        current: view.current.map(snapshot),
        last_job: view.last_job.map(content_job),
        last_synced_at: view.last_synced_at,
        next_sync_at: view.next_sync_at,
        failures: view.failures,
        attachments: view.attachments,
        used_by: view.used_by,
        created_by: view.created_by,
        created_at: view.created_at,
        etag,
    }
}

/// A snapshot, without its findings.
pub fn snapshot(view: SnapshotView) -> rest::Snapshot {
    rest::Snapshot {
        id: view.id,
        source: view.source,
        number: short(view.number),
        root: view.root,
        stats: view.stats,
        origin: view.origin,
        created_at: view.created_at,
        findings_total: view.findings_total,
        environments: view.environments,
        latest: view.latest,
    }
}

/// A snapshot with its findings.
pub fn snapshot_detail(mut view: SnapshotView) -> rest::SnapshotDetail {
    let findings = std::mem::take(&mut view.findings);
    rest::SnapshotDetail { snapshot: snapshot(view), findings }
}

fn snapshot_ref(r: SnapshotRef) -> rest::SnapshotRef {
    rest::SnapshotRef { id: r.id, number: short(r.number), created_at: r.created_at }
}

/// Units of a snapshot.
pub fn units(page: UnitPage) -> rest::UnitPage {
    rest::UnitPage { snapshot: snapshot_ref(page.snapshot), items: page.units, next_cursor: page.next_cursor }
}

fn counts(c: DiffCounts) -> rest::DiffCounts {
    rest::DiffCounts { added: c.added, removed: c.removed, changed: c.changed, advisories: c.advisories }
}

/// What differs between two snapshots.
pub fn diff(view: DiffView) -> rest::SnapshotDiff {
    rest::SnapshotDiff {
        source: view.source,
        from: snapshot_ref(view.from),
        to: snapshot_ref(view.to),
        counts: counts(view.counts),
        changes: view.changes,
        truncated: view.truncated,
    }
}

/// A lifecycle environment.
pub fn environment(view: EnvironmentView) -> rest::Environment {
    let pointer = |p: PointerView| rest::EnvironmentPointer {
        source: p.source,
        snapshot: snapshot_ref(p.snapshot),
        moved_at: p.moved_at,
        moved_by: p.moved_by,
        behind: p.behind,
    };
    rest::Environment {
        id: view.id,
        compartment: view.compartment,
        spec: view.spec,
        pointers: view.pointers.into_iter().map(pointer).collect(),
        sources: view.attached,
        instances: view.instances,
        created_at: view.created_at,
    }
}

/// A group.
pub fn group(view: GroupView) -> rest::Group {
    rest::Group {
        id: view.id,
        spec: view.spec,
        family: view.family,
        sources: view.attached,
        instances: view.instances,
        created_by: view.created_by,
        created_at: view.created_at,
    }
}

/// An instance as a member of a group.
pub fn group_member(view: GroupMemberView) -> rest::GroupMember {
    rest::GroupMember { id: view.id, name: view.name, state: view.state, os: view.os, differs: view.differs }
}

/// What became of the instances that match a filter.
pub fn added_members(view: AddedView) -> rest::AddedMembers {
    let left_out = |l: LeftOut| rest::LeftOutInstance { id: l.host.id, name: l.host.name, why: l.why };
    rest::AddedMembers {
        group: group(view.group),
        added_total: view.added_total,
        added: view.added.into_iter().map(super::encode::named_instance).collect(),
        already_members: view.there,
        left_out_total: view.left_out_total,
        left_out: view.left_out.into_iter().map(left_out).collect(),
    }
}

/// What a promotion did.
pub fn promotion(view: PromotionView) -> rest::PromotionResult {
    rest::PromotionResult {
        environment: view.environment,
        dry_run: view.dry_run,
        moves: view.moves.into_iter().map(promotion_move).collect(),
        unchanged: view.unchanged,
    }
}

fn promotion_move(m: MoveView) -> rest::PromotionMove {
    let affected = m.affected.into_iter();
    let upgrades = m.upgrades.into_iter();
    rest::PromotionMove {
        source: m.source,
        from: m.from.map(snapshot_ref),
        to: snapshot_ref(m.to),
        counts: counts(m.counts),
        changes: m.changes,
        instances: m.hosts,
        instances_affected: m.hosts_affected,
        affected: affected.map(|a| rest::AffectedInstance { id: a.id, name: a.name, updates: a.updates }).collect(),
        upgrades: upgrades.map(|u| rest::OfferedUpgrade { name: u.name, arch: u.arch, to: u.to, instances: u.hosts }).collect(),
        truncated: m.truncated,
    }
}

/// An earlier move of a pointer.
pub fn pointer_move(view: PointerMoveView) -> rest::PointerMove {
    rest::PointerMove {
        source: view.source,
        from: view.from.map(snapshot_ref),
        to: view.to.map(snapshot_ref),
        at: view.at,
        who: view.who,
    }
}

/// What an instance sees.
pub fn instance_sources(view: InstanceSourcesView) -> rest::InstanceSources {
    let source = |s: InstanceSourceView| rest::InstanceSource {
        name: s.name,
        attached_to: s.through,
        path: s.host_source.map(|h| h.path),
        snapshot: s.snapshot.map(snapshot_ref),
        problem: (!s.problems.is_empty()).then(|| s.problems.join("; ")),
    };
    rest::InstanceSources {
        instance: view.instance,
        name: view.name,
        mode: view.mode,
        environment: view.environment,
        sources: view.sources.into_iter().map(source).collect(),
        generation: view.generation,
        applied: view.applied,
        report: view.report,
        reported_at: view.reported_at,
    }
}

/// A content job, without its findings.
pub fn content_job(view: ContentJobView) -> rest::ContentJob {
    rest::ContentJob {
        id: view.id,
        kind: view.kind,
        source: view.source,
        state: view.state,
        progress: view.progress,
        message: view.message,
        findings_total: view.findings_total,
        requested_by: view.requested_by,
        created_at: view.created_at,
        started_at: view.started_at,
        finished_at: view.finished_at,
        cancel_requested: view.cancel_requested,
    }
}

/// A content job with its findings.
pub fn content_job_detail(mut view: ContentJobView) -> rest::ContentJobDetail {
    let findings = std::mem::take(&mut view.findings);
    rest::ContentJobDetail { job: content_job(view), findings }
}

/// What a collection freed.
pub fn collected(view: CollectView) -> rest::CollectReport {
    let freed = |f: Freed| rest::Freed { count: f.count, bytes: f.bytes };
    rest::CollectReport {
        dry_run: view.dry_run,
        objects: freed(view.objects),
        blobs: freed(view.blobs),
        metadata: freed(view.metadata),
        kept: view.kept,
    }
}

/// The keys of this server's repositories.
pub fn repository_keys(keys: Vec<RepositoryKeyView>) -> rest::RepositoryKeys {
    let key =
        |k: RepositoryKeyView| rest::RepositoryKey { fingerprint: k.fingerprint, signing: k.signs, public_key: k.public_key };
    rest::RepositoryKeys { keys: keys.into_iter().map(key).collect() }
}
