//! From the records of `control` to the types of the wire.

use drydock_api::rest;
use drydock_control::records::{AccessTokenRecord, HistoryRecord, InventorySummary, Paged, ProfileRecord, TaskRecord};
use drydock_control::store::undo::BarRecord;
use drydock_control::store::user_groups::MemberRecord;
use drydock_control::{
    InstanceView, JobView, NamedHost, PackagesView, RolloutView, RulesView, TaskDetail, UndoHost, UpdatesView, UserGroupView,
    UserView, ZoneView,
};
use drydock_domain::patch::job::JobOrigin;

/// A page, row by row.
pub fn page<T, U>(page: Paged<T>, row: impl FnMut(T) -> U) -> rest::Page<U> {
    let page = page.map(row);
    rest::Page { items: page.items, next_cursor: page.next_cursor }
}

/// An instance.
pub fn instance(view: InstanceView) -> rest::Instance {
    let etag = view.etag();
    let r = view.record;
    rest::Instance {
        id: r.id,
        name: r.name,
        state: r.state,
        pending_reason: r.pending_reason,
        duplicate_of: r.duplicate_of,
        reachability: view.reachability,
        last_seen: view.last_seen,
        created_at: r.created_at,
        labels: r.labels,
        zone: r.zone,
        compartment: r.compartment,
        group: view.group,
        environment: view.environment,
        machine_id: r.machine_id,
        os: r.os,
        inventory: r.inventory.map(summary),
        certificate_expires_at: r.certificate_expires_at,
        etag,
    }
}

/// A host by id and name.
pub fn named_instance(host: NamedHost) -> rest::NamedInstance {
    rest::NamedInstance { id: host.id, name: host.name }
}

fn summary(s: InventorySummary) -> rest::InventorySummary {
    rest::InventorySummary {
        packages: s.packages,
        updates: s.updates,
        security_updates: s.security_updates,
        held_updates: s.held_updates,
        reboot_required: s.reboot_required,
        findings: s.findings,
        changed_at: s.changed_at,
    }
}

/// Installed packages.
pub fn packages(v: PackagesView) -> rest::PackageList {
    rest::PackageList { fingerprint: v.fingerprint, changed_at: v.changed_at, packages: v.packages }
}

/// Available updates.
pub fn updates(v: UpdatesView) -> rest::UpdateList {
    rest::UpdateList {
        changed_at: v.changed_at,
        updates: v.updates,
        findings: v.findings,
        health: v.health,
        managers: v.managers,
        answered_by: v.answered_by,
        snapshots: v.snapshots,
    }
}

/// Rules of a host.
pub fn rules(v: RulesView) -> rest::InstanceRules {
    rest::InstanceRules { changed_at: v.changed_at, managers: v.managers, rules: v.rules }
}

/// One entry of an instance's history.
pub fn history(r: HistoryRecord) -> rest::HistoryEntry {
    rest::HistoryEntry {
        at: r.at,
        kind: r.kind,
        message: r.message,
        changes: r.changes,
        changes_total: r.changes_total,
        task: r.task,
    }
}

/// An enrolment profile.
pub fn profile(r: ProfileRecord) -> rest::EnrolmentProfile {
    rest::EnrolmentProfile {
        id: r.id,
        spec: r.spec,
        uses: r.uses,
        revoked: r.revoked,
        created_by: r.created_by,
        created_at: r.created_at,
    }
}

/// An access token, without its secret.
pub fn access_token(r: AccessTokenRecord) -> rest::AccessToken {
    rest::AccessToken {
        id: r.id,
        name: r.name,
        role: r.role,
        user: r.user.map(|user| user.name),
        scope: r.scope,
        expires_at: r.expires_at,
        created_at: r.created_at,
        last_used_at: r.last_used_at,
        revoked: r.revoked,
    }
}

/// A user.
pub fn user(view: UserView) -> rest::User {
    let r = view.user;
    rest::User {
        id: r.id,
        name: r.name,
        kind: r.kind,
        description: r.description,
        email: r.email,
        groups: view.groups,
        disabled: r.disabled,
        has_password: r.has_password,
        password_expired: r.password_expired,
        password_changed_at: r.password_changed_at,
        second_factor: r.second_factor,
        locked_until: r.locked_until,
        oidc_issuer: r.oidc.map(|(issuer, _)| issuer),
        created_by: r.created_by,
        created_at: r.created_at,
        last_sign_in_at: r.last_sign_in_at,
    }
}

/// A group of users.
pub fn user_group(view: UserGroupView) -> rest::UserGroup {
    rest::UserGroup {
        id: view.id,
        name: view.name,
        description: view.description,
        built_in: view.built_in,
        members: view.members,
        created_by: view.record.as_ref().map(|r| r.created_by.clone()),
        created_at: view.record.map(|r| r.created_at),
    }
}

/// A member of a group of users.
pub fn user_group_member(r: MemberRecord) -> rest::UserGroupMember {
    rest::UserGroupMember { id: r.id, name: r.name, disabled: r.disabled, added_by: r.added_by, added_at: r.added_at }
}

/// A patch job.
pub fn job(view: JobView) -> rest::PatchJob {
    let etag = view.etag();
    let r = view.record;
    let (mut patch_deployment, mut rerun_of, mut undo_of) = (None, None, None);
    match r.origin {
        JobOrigin::Asked => {}
        JobOrigin::Deployment { name, .. } => patch_deployment = Some(name),
        JobOrigin::Rerun { job, .. } => rerun_of = Some(job),
        JobOrigin::Undo { job, .. } => undo_of = Some(job),
    }
    rest::PatchJob {
        id: r.id,
        spec: r.spec,
        state: r.state,
        compartment: r.compartment,
        not_patchable: view.not_patchable,
        created_by: r.created_by,
        created_at: r.created_at,
        finished_at: r.finished_at,
        deadline: r.deadline,
        cancel_requested: r.cancel_requested,
        instance_details_summary: view.counts,
        percent_complete: view.percent_complete,
        error_message: r.error_message,
        patch_deployment,
        rerun_of,
        undo_of,
        rollout: view.rollout.map(rollout),
        etag,
    }
}

fn rollout(view: RolloutView) -> rest::PatchRollout {
    let zone = |z: ZoneView| rest::PatchZone {
        in_use: z.running.saturating_add(z.failed).saturating_add(z.others),
        zone: z.zone,
        running: z.running,
        failed: z.failed,
        others: z.others,
    };
    rest::PatchRollout {
        plan: view.plan,
        waves: view.waves,
        zones: view.zones.into_iter().map(zone).collect(),
        halted_because: view.control.halted.as_ref().map(|h| h.cause.describe()),
        control: view.control,
        undo_job: view.undo_job,
        undone_by: view.undone_by,
    }
}

/// What an undo means to one host.
pub fn undo_host(host: UndoHost) -> rest::UndoPreview {
    rest::UndoPreview {
        task: host.task,
        instance: host.instance,
        instance_name: host.instance_name,
        actions: host.actions,
        refused: host.refused,
    }
}

/// A barred version.
pub fn bar(r: BarRecord) -> rest::BarredVersion {
    rest::BarredVersion {
        instance: r.instance,
        instance_name: r.instance_name,
        name: r.bar.name,
        arch: r.bar.arch,
        version: r.bar.version,
        reason: r.bar.reason,
        job: r.job,
        created_at: r.created_at,
    }
}

/// A patch task.
pub fn task(r: TaskRecord) -> rest::PatchTask {
    rest::PatchTask {
        id: r.id,
        job: r.job,
        job_display_name: r.job_display_name,
        dry_run: r.dry_run,
        instance: r.instance,
        instance_name: r.instance_name,
        wave: r.wave,
        zone: r.zone,
        state: r.state,
        waiting_on: r.waiting_on,
        message: r.message,
        planned: r.planned,
        applied: r.applied,
        skipped: r.skipped,
        reboots: r.reboots,
        updated_at: r.updated_at,
        finished_at: r.finished_at,
    }
}

/// A patch task with its report.
pub fn task_detail(d: TaskDetail) -> rest::PatchTaskDetail {
    rest::PatchTaskDetail { task: task(d.task), report: d.report }
}
