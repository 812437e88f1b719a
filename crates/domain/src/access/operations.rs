//! Which permissions of the statement language each operation asks for, and how they fit the coarse [`Permission`]s that roles
//! are made of ([`builtin`](super::builtin)). Absent on purpose: operations of the cloud faces, which are not there yet.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Permission::{
    self, AccessManage, AdvisoryManage, AdvisoryRead, AuditRead, EnrolmentManage, EnrolmentRead, EnvironmentManage,
    InstanceManage, InstanceRead, PatchManage, PatchRead, PolicyManage, PolicyRead, SecretManage, SourceManage, SourceRead,
};
use super::permissions::Right;

/// What a coarse permission stands for: every permission of `drydock-family` is in exactly one row or in [`UNGUARDED`].
pub const COARSE: &[(Permission, &[&str])] = &[
    (InstanceRead, &["DRYDOCK_INSTANCE_INSPECT", "DRYDOCK_INSTANCE_READ", "DRYDOCK_GROUP_INSPECT", "DRYDOCK_GROUP_READ"]),
    (
        InstanceManage,
        &[
            "DRYDOCK_INSTANCE_UPDATE",
            "DRYDOCK_INSTANCE_ADD_SOFTWARE_SOURCE",
            "DRYDOCK_INSTANCE_REMOVE_SOFTWARE_SOURCE",
            "DRYDOCK_INSTANCE_ACCEPT",
            "DRYDOCK_INSTANCE_REJECT",
            "DRYDOCK_INSTANCE_REVOKE",
            "DRYDOCK_INSTANCE_DELETE",
            "DRYDOCK_GROUP_UPDATE",
            "DRYDOCK_GROUP_ADD_MEMBER",
            "DRYDOCK_GROUP_REMOVE_MEMBER",
            "DRYDOCK_GROUP_ADD_SOFTWARE_SOURCE",
            "DRYDOCK_GROUP_REMOVE_SOFTWARE_SOURCE",
            "DRYDOCK_GROUP_CREATE",
            "DRYDOCK_GROUP_DELETE",
            // Attaching sources to an environment is asked for with the hosts' permission today.
            "DRYDOCK_ENVIRONMENT_ADD_SOFTWARE_SOURCE",
            "DRYDOCK_ENVIRONMENT_REMOVE_SOFTWARE_SOURCE",
        ],
    ),
    (EnrolmentRead, &["DRYDOCK_ENROLMENT_PROFILE_INSPECT", "DRYDOCK_ENROLMENT_PROFILE_READ"]),
    (EnrolmentManage, &["DRYDOCK_ENROLMENT_PROFILE_CREATE", "DRYDOCK_ENROLMENT_PROFILE_REVOKE"]),
    (
        PatchRead,
        &[
            "DRYDOCK_PATCH_JOB_INSPECT",
            "DRYDOCK_PATCH_JOB_READ",
            "DRYDOCK_BARRED_VERSION_INSPECT",
            "DRYDOCK_BARRED_VERSION_READ",
            "DRYDOCK_PATCH_DEPLOYMENT_INSPECT",
            "DRYDOCK_PATCH_DEPLOYMENT_READ",
            "DRYDOCK_MAINTENANCE_WINDOW_INSPECT",
            "DRYDOCK_MAINTENANCE_WINDOW_READ",
            "DRYDOCK_FREEZE_CALENDAR_INSPECT",
            "DRYDOCK_FREEZE_CALENDAR_READ",
            "DRYDOCK_REBOOT_SLOT_GROUP_INSPECT",
            "DRYDOCK_REBOOT_SLOT_GROUP_READ",
        ],
    ),
    (
        PatchManage,
        &[
            "DRYDOCK_INSTANCE_PATCH",
            "DRYDOCK_PATCH_JOB_PAUSE",
            "DRYDOCK_PATCH_JOB_RESUME",
            "DRYDOCK_PATCH_JOB_HALT",
            "DRYDOCK_PATCH_JOB_CANCEL",
            "DRYDOCK_PATCH_JOB_ABORT",
            "DRYDOCK_PATCH_JOB_APPROVE",
            "DRYDOCK_PATCH_JOB_CREATE",
            "DRYDOCK_PATCH_JOB_RERUN",
            "DRYDOCK_PATCH_JOB_UNDO",
            "DRYDOCK_BARRED_VERSION_LIFT",
            "DRYDOCK_PATCH_DEPLOYMENT_UPDATE",
            "DRYDOCK_PATCH_DEPLOYMENT_RUN",
            "DRYDOCK_PATCH_DEPLOYMENT_SKIP",
            "DRYDOCK_PATCH_DEPLOYMENT_PAUSE",
            "DRYDOCK_PATCH_DEPLOYMENT_RESUME",
            "DRYDOCK_PATCH_DEPLOYMENT_CREATE",
            "DRYDOCK_PATCH_DEPLOYMENT_DELETE",
            "DRYDOCK_MAINTENANCE_WINDOW_UPDATE",
            "DRYDOCK_MAINTENANCE_WINDOW_CREATE",
            "DRYDOCK_MAINTENANCE_WINDOW_DELETE",
            "DRYDOCK_FREEZE_CALENDAR_UPDATE",
            "DRYDOCK_FREEZE_CALENDAR_CREATE",
            "DRYDOCK_FREEZE_CALENDAR_DELETE",
            "DRYDOCK_REBOOT_SLOT_GROUP_UPDATE",
            "DRYDOCK_REBOOT_SLOT_GROUP_RELEASE",
            "DRYDOCK_REBOOT_SLOT_GROUP_CREATE",
            "DRYDOCK_REBOOT_SLOT_GROUP_DELETE",
        ],
    ),
    (
        AccessManage,
        &[
            "DRYDOCK_ACCESS_TOKEN_INSPECT",
            "DRYDOCK_ACCESS_TOKEN_READ",
            "DRYDOCK_ACCESS_TOKEN_CREATE",
            "DRYDOCK_ACCESS_TOKEN_REVOKE",
            "DRYDOCK_COMPARTMENT_INSPECT",
            "DRYDOCK_COMPARTMENT_READ",
            "DRYDOCK_COMPARTMENT_UPDATE",
            "DRYDOCK_COMPARTMENT_CREATE",
            "DRYDOCK_COMPARTMENT_DELETE",
            "DRYDOCK_COMPARTMENT_MOVE",
            "DRYDOCK_ACCESS_POLICY_INSPECT",
            "DRYDOCK_ACCESS_POLICY_READ",
            "DRYDOCK_ACCESS_POLICY_UPDATE",
            "DRYDOCK_ACCESS_POLICY_CREATE",
            "DRYDOCK_ACCESS_POLICY_DELETE",
            "DRYDOCK_USER_INSPECT",
            "DRYDOCK_USER_READ",
            "DRYDOCK_USER_UPDATE",
            "DRYDOCK_USER_CREATE",
            "DRYDOCK_USER_DELETE",
            "DRYDOCK_USER_GROUP_INSPECT",
            "DRYDOCK_USER_GROUP_READ",
            "DRYDOCK_USER_GROUP_UPDATE",
            "DRYDOCK_USER_GROUP_ADD_MEMBER",
            "DRYDOCK_USER_GROUP_REMOVE_MEMBER",
            "DRYDOCK_USER_GROUP_CREATE",
            "DRYDOCK_USER_GROUP_DELETE",
            "DRYDOCK_DYNAMIC_GROUP_INSPECT",
            "DRYDOCK_DYNAMIC_GROUP_READ",
            "DRYDOCK_DYNAMIC_GROUP_UPDATE",
            "DRYDOCK_DYNAMIC_GROUP_CREATE",
            "DRYDOCK_DYNAMIC_GROUP_DELETE",
            // Moving takes a thing out of the reach of statements: whoever looks after access does it.
            "DRYDOCK_INSTANCE_MOVE",
            "DRYDOCK_GROUP_MOVE",
            "DRYDOCK_ENROLMENT_PROFILE_MOVE",
            "DRYDOCK_SOFTWARE_SOURCE_MOVE",
            "DRYDOCK_ENVIRONMENT_MOVE",
            "DRYDOCK_PATCH_DEPLOYMENT_MOVE",
            "DRYDOCK_MAINTENANCE_WINDOW_MOVE",
            "DRYDOCK_FREEZE_CALENDAR_MOVE",
            "DRYDOCK_REBOOT_SLOT_GROUP_MOVE",
            "DRYDOCK_OS_POLICY_ASSIGNMENT_MOVE",
            "DRYDOCK_SECRET_MOVE",
            "DRYDOCK_REPOSITORY_KEY_PREPARE",
            "DRYDOCK_REPOSITORY_KEY_SWITCH",
            "DRYDOCK_REPOSITORY_KEY_RETIRE",
        ],
    ),
    (
        AuditRead,
        &[
            "DRYDOCK_AUDIT_RECORD_INSPECT",
            "DRYDOCK_AUDIT_RECORD_READ",
            "DRYDOCK_AUDIT_RECORD_EXPORT",
            "DRYDOCK_AUDIT_RECORD_CONFIGURE",
        ],
    ),
    (
        SourceRead,
        &[
            "DRYDOCK_SOFTWARE_SOURCE_INSPECT",
            "DRYDOCK_SOFTWARE_SOURCE_READ",
            "DRYDOCK_SNAPSHOT_INSPECT",
            "DRYDOCK_SNAPSHOT_READ",
            "DRYDOCK_ENVIRONMENT_INSPECT",
            "DRYDOCK_ENVIRONMENT_READ",
            "DRYDOCK_CONTENT_INSPECT",
            "DRYDOCK_CONTENT_READ",
            "DRYDOCK_CONTENT_JOB_INSPECT",
            "DRYDOCK_CONTENT_JOB_READ",
            "DRYDOCK_REPOSITORY_KEY_INSPECT",
            "DRYDOCK_REPOSITORY_KEY_READ",
        ],
    ),
    (
        SourceManage,
        &[
            "DRYDOCK_SOFTWARE_SOURCE_UPDATE",
            "DRYDOCK_SOFTWARE_SOURCE_SYNC",
            "DRYDOCK_SOFTWARE_SOURCE_UPLOAD",
            "DRYDOCK_SOFTWARE_SOURCE_CREATE",
            "DRYDOCK_SOFTWARE_SOURCE_DELETE",
            "DRYDOCK_CONTENT_EXPORT",
            "DRYDOCK_CONTENT_IMPORT",
            "DRYDOCK_CONTENT_COLLECT",
            "DRYDOCK_CONTENT_JOB_CANCEL",
        ],
    ),
    (
        EnvironmentManage,
        &[
            "DRYDOCK_ENVIRONMENT_PROMOTE",
            "DRYDOCK_ENVIRONMENT_ROLLBACK",
            "DRYDOCK_ENVIRONMENT_CREATE",
            "DRYDOCK_ENVIRONMENT_DELETE",
        ],
    ),
    (
        AdvisoryRead,
        &[
            "DRYDOCK_ADVISORY_INSPECT",
            "DRYDOCK_ADVISORY_READ",
            "DRYDOCK_ADVISORY_FEED_INSPECT",
            "DRYDOCK_ADVISORY_FEED_READ",
            "DRYDOCK_VULNERABILITY_INSPECT",
            "DRYDOCK_VULNERABILITY_READ",
            "DRYDOCK_VULNERABILITY_EXCEPTION_INSPECT",
            "DRYDOCK_VULNERABILITY_EXCEPTION_READ",
        ],
    ),
    (
        AdvisoryManage,
        &[
            "DRYDOCK_ADVISORY_FEED_IMPORT",
            "DRYDOCK_ADVISORY_FEED_CREATE",
            "DRYDOCK_ADVISORY_FEED_DELETE",
            "DRYDOCK_VULNERABILITY_SET_DEADLINES",
            "DRYDOCK_VULNERABILITY_EXCEPTION_UPDATE",
            "DRYDOCK_VULNERABILITY_EXCEPTION_CREATE",
            "DRYDOCK_VULNERABILITY_EXCEPTION_DELETE",
        ],
    ),
    (PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_INSPECT", "DRYDOCK_OS_POLICY_ASSIGNMENT_READ", "DRYDOCK_SECRET_INSPECT"]),
    (
        PolicyManage,
        &[
            "DRYDOCK_OS_POLICY_ASSIGNMENT_UPDATE",
            "DRYDOCK_OS_POLICY_ASSIGNMENT_CHECK",
            "DRYDOCK_OS_POLICY_ASSIGNMENT_PREVIEW",
            "DRYDOCK_OS_POLICY_ASSIGNMENT_CONTROL_ROLLOUT",
            "DRYDOCK_OS_POLICY_ASSIGNMENT_CREATE",
            "DRYDOCK_OS_POLICY_ASSIGNMENT_DELETE",
        ],
    ),
    (SecretManage, &["DRYDOCK_SECRET_UPDATE", "DRYDOCK_SECRET_CREATE", "DRYDOCK_SECRET_DELETE"]),
];

/// Permissions whose operations are not there yet.
pub const UNGUARDED: &[&str] = &["DRYDOCK_ACCESS_POLICY_MOVE"];

/// One operation: the name in its audit records, the coarse permission it belongs to, the permissions it asks for (it needs
/// all of them).
#[derive(Debug)]
pub struct Operation {
    /// For example `patch-job.create`.
    pub name: &'static str,
    /// The part of a role it belongs to.
    pub coarse: Permission,
    /// What it asks for.
    pub rights: &'static [&'static str],
}

/// An operation with its permissions looked up.
#[derive(Debug)]
pub struct Asked {
    /// Of the table.
    pub operation: &'static Operation,
    /// What it asks for.
    pub rights: Vec<Right>,
    /// What whoever may know that the thing is there holds, for the type of the first permission.
    pub inspect: Option<Right>,
}

static ASKED: LazyLock<HashMap<&'static str, Vec<Asked>>> = LazyLock::new(|| {
    let mut all: HashMap<&'static str, Vec<Asked>> = HashMap::new();
    for operation in OPERATIONS {
        let rights: Vec<Right> = operation.rights.iter().filter_map(|name| Right::find(name)).collect();
        let inspect = rights.first().and_then(|right| right.inspect());
        all.entry(operation.name).or_default().push(Asked { operation, rights, inspect });
    }
    all
});

/// What an operation asks for; `coarse` tells reading and changing apart where both have one name. `None`: there is no such
/// operation, and nobody may do it.
pub fn asked(name: &str, coarse: Option<Permission>) -> Option<&'static Asked> {
    let rows = ASKED.get(name)?;
    match coarse {
        Some(coarse) => rows.iter().find(|row| row.operation.coarse == coarse),
        None => rows.first(),
    }
}

const fn op(name: &'static str, coarse: Permission, rights: &'static [&'static str]) -> Operation {
    Operation { name, coarse, rights }
}

/// All operations. `group.members` is there twice: reading and changing bear the same name today.
pub const OPERATIONS: &[Operation] = &[
    op("overview.show", InstanceRead, &["DRYDOCK_INSTANCE_INSPECT"]),
    op("metrics.show", InstanceRead, &["DRYDOCK_INSTANCE_READ"]),
    op("instance.list", InstanceRead, &["DRYDOCK_INSTANCE_INSPECT"]),
    op("instance.show", InstanceRead, &["DRYDOCK_INSTANCE_READ"]),
    op("instance.packages", InstanceRead, &["DRYDOCK_INSTANCE_READ"]),
    op("instance.updates", InstanceRead, &["DRYDOCK_INSTANCE_READ"]),
    op("instance.history", InstanceRead, &["DRYDOCK_INSTANCE_READ"]),
    op("instance.modules", InstanceRead, &["DRYDOCK_INSTANCE_READ"]),
    op("instance.rules", InstanceRead, &["DRYDOCK_INSTANCE_READ"]),
    op("instance.sbom", InstanceRead, &["DRYDOCK_INSTANCE_READ"]),
    op("instance.sources-show", InstanceRead, &["DRYDOCK_INSTANCE_READ"]),
    op("package.list", InstanceRead, &["DRYDOCK_INSTANCE_READ"]),
    op("package.who-had", InstanceRead, &["DRYDOCK_INSTANCE_READ"]),
    op("instance.tasks", PatchRead, &["DRYDOCK_PATCH_JOB_READ"]),
    op("instance.match", PatchManage, &["DRYDOCK_INSTANCE_PATCH"]),
    op("instance.edit", InstanceManage, &["DRYDOCK_INSTANCE_UPDATE"]),
    op("instance.sources", InstanceManage, &["DRYDOCK_INSTANCE_ADD_SOFTWARE_SOURCE", "DRYDOCK_INSTANCE_REMOVE_SOFTWARE_SOURCE"]),
    op("instance.accept", InstanceManage, &["DRYDOCK_INSTANCE_ACCEPT"]),
    op("instance.reject", InstanceManage, &["DRYDOCK_INSTANCE_REJECT"]),
    op("instance.revoke", InstanceManage, &["DRYDOCK_INSTANCE_REVOKE"]),
    op("instance.delete", InstanceManage, &["DRYDOCK_INSTANCE_DELETE"]),
    op("group.list", InstanceRead, &["DRYDOCK_GROUP_INSPECT"]),
    op("group.show", InstanceRead, &["DRYDOCK_GROUP_READ"]),
    op("group.members", InstanceRead, &["DRYDOCK_GROUP_READ"]),
    op("group.members", InstanceManage, &["DRYDOCK_GROUP_ADD_MEMBER", "DRYDOCK_GROUP_REMOVE_MEMBER"]),
    op("group.create", InstanceManage, &["DRYDOCK_GROUP_CREATE"]),
    op("group.edit", InstanceManage, &["DRYDOCK_GROUP_UPDATE"]),
    op("group.delete", InstanceManage, &["DRYDOCK_GROUP_DELETE"]),
    op("group.sources", InstanceManage, &["DRYDOCK_GROUP_ADD_SOFTWARE_SOURCE", "DRYDOCK_GROUP_REMOVE_SOFTWARE_SOURCE"]),
    op("enrolment-profile.list", EnrolmentRead, &["DRYDOCK_ENROLMENT_PROFILE_INSPECT"]),
    op("enrolment-profile.show", EnrolmentRead, &["DRYDOCK_ENROLMENT_PROFILE_READ"]),
    op("enrolment-profile.create", EnrolmentManage, &["DRYDOCK_ENROLMENT_PROFILE_CREATE"]),
    op("enrolment-profile.revoke", EnrolmentManage, &["DRYDOCK_ENROLMENT_PROFILE_REVOKE"]),
    op("source.list", SourceRead, &["DRYDOCK_SOFTWARE_SOURCE_INSPECT"]),
    op("source.show", SourceRead, &["DRYDOCK_SOFTWARE_SOURCE_READ"]),
    op("source.create", SourceManage, &["DRYDOCK_SOFTWARE_SOURCE_CREATE"]),
    op("source.edit", SourceManage, &["DRYDOCK_SOFTWARE_SOURCE_UPDATE"]),
    op("source.delete", SourceManage, &["DRYDOCK_SOFTWARE_SOURCE_DELETE"]),
    op("source.sync", SourceManage, &["DRYDOCK_SOFTWARE_SOURCE_SYNC"]),
    op("source.upload", SourceManage, &["DRYDOCK_SOFTWARE_SOURCE_UPLOAD"]),
    op("snapshot.list", SourceRead, &["DRYDOCK_SNAPSHOT_INSPECT"]),
    op("snapshot.show", SourceRead, &["DRYDOCK_SNAPSHOT_READ"]),
    op("snapshot.units", SourceRead, &["DRYDOCK_SNAPSHOT_READ"]),
    op("snapshot.diff", SourceRead, &["DRYDOCK_SNAPSHOT_READ"]),
    op("environment.list", SourceRead, &["DRYDOCK_ENVIRONMENT_INSPECT"]),
    op("environment.show", SourceRead, &["DRYDOCK_ENVIRONMENT_READ"]),
    op("environment.history", SourceRead, &["DRYDOCK_ENVIRONMENT_READ"]),
    op("environment.preview", SourceRead, &["DRYDOCK_ENVIRONMENT_READ"]),
    op("environment.create", EnvironmentManage, &["DRYDOCK_ENVIRONMENT_CREATE"]),
    op("environment.delete", EnvironmentManage, &["DRYDOCK_ENVIRONMENT_DELETE"]),
    op("environment.promote", EnvironmentManage, &["DRYDOCK_ENVIRONMENT_PROMOTE"]),
    op("environment.rollback", EnvironmentManage, &["DRYDOCK_ENVIRONMENT_ROLLBACK"]),
    op(
        "environment.sources",
        InstanceManage,
        &["DRYDOCK_ENVIRONMENT_ADD_SOFTWARE_SOURCE", "DRYDOCK_ENVIRONMENT_REMOVE_SOFTWARE_SOURCE"],
    ),
    op("content.read", SourceRead, &["DRYDOCK_CONTENT_READ"]),
    op("content.collect-preview", SourceManage, &["DRYDOCK_CONTENT_COLLECT"]),
    op("content.collect", SourceManage, &["DRYDOCK_CONTENT_COLLECT"]),
    op("content.export", SourceManage, &["DRYDOCK_CONTENT_EXPORT"]),
    op("content.import", SourceManage, &["DRYDOCK_CONTENT_IMPORT"]),
    op("content-job.list", SourceRead, &["DRYDOCK_CONTENT_JOB_INSPECT"]),
    op("content-job.show", SourceRead, &["DRYDOCK_CONTENT_JOB_READ"]),
    op("content-job.cancel", SourceManage, &["DRYDOCK_CONTENT_JOB_CANCEL"]),
    op("repository-key.list", SourceRead, &["DRYDOCK_REPOSITORY_KEY_READ"]),
    op("repository-key.prepare", AccessManage, &["DRYDOCK_REPOSITORY_KEY_PREPARE"]),
    op("repository-key.switch", AccessManage, &["DRYDOCK_REPOSITORY_KEY_SWITCH"]),
    op("repository-key.retire", AccessManage, &["DRYDOCK_REPOSITORY_KEY_RETIRE"]),
    op("patch-job.list", PatchRead, &["DRYDOCK_PATCH_JOB_INSPECT"]),
    op("patch-job.show", PatchRead, &["DRYDOCK_PATCH_JOB_READ"]),
    op("patch-job.plans", PatchRead, &["DRYDOCK_PATCH_JOB_READ"]),
    op("patch-job.report", PatchRead, &["DRYDOCK_PATCH_JOB_READ"]),
    op("patch-job.undo-preview", PatchRead, &["DRYDOCK_PATCH_JOB_READ"]),
    op("patch-task.list", PatchRead, &["DRYDOCK_PATCH_JOB_READ"]),
    op("patch-task.show", PatchRead, &["DRYDOCK_PATCH_JOB_READ"]),
    // What follows reaches hosts: of those only the ones on which the caller holds DRYDOCK_INSTANCE_PATCH, asked of each.
    op("patch-job.create", PatchManage, &["DRYDOCK_PATCH_JOB_CREATE"]),
    op("patch-job.rerun", PatchManage, &["DRYDOCK_PATCH_JOB_RERUN"]),
    op("patch-job.undo", PatchManage, &["DRYDOCK_PATCH_JOB_UNDO"]),
    op("patch-job.pause", PatchManage, &["DRYDOCK_PATCH_JOB_PAUSE"]),
    op("patch-job.resume", PatchManage, &["DRYDOCK_PATCH_JOB_RESUME"]),
    op("patch-job.halt", PatchManage, &["DRYDOCK_PATCH_JOB_HALT"]),
    op("patch-job.cancel", PatchManage, &["DRYDOCK_PATCH_JOB_CANCEL"]),
    op("patch-job.kill", PatchManage, &["DRYDOCK_PATCH_JOB_CANCEL"]),
    op("patch-job.abort", PatchManage, &["DRYDOCK_PATCH_JOB_ABORT"]),
    op("patch-job.approve", PatchManage, &["DRYDOCK_PATCH_JOB_APPROVE"]),
    op("barred-version.list", PatchRead, &["DRYDOCK_BARRED_VERSION_READ"]),
    op("barred-version.lift", PatchManage, &["DRYDOCK_BARRED_VERSION_LIFT"]),
    op("patch-deployment.list", PatchRead, &["DRYDOCK_PATCH_DEPLOYMENT_INSPECT"]),
    op("patch-deployment.show", PatchRead, &["DRYDOCK_PATCH_DEPLOYMENT_READ"]),
    op("patch-deployment.executions", PatchRead, &["DRYDOCK_PATCH_DEPLOYMENT_READ"]),
    op("patch-deployment.create", PatchManage, &["DRYDOCK_PATCH_DEPLOYMENT_CREATE"]),
    op("patch-deployment.edit", PatchManage, &["DRYDOCK_PATCH_DEPLOYMENT_UPDATE"]),
    op("patch-deployment.delete", PatchManage, &["DRYDOCK_PATCH_DEPLOYMENT_DELETE"]),
    op("patch-deployment.run", PatchManage, &["DRYDOCK_PATCH_DEPLOYMENT_RUN"]),
    op("patch-deployment.skip-next", PatchManage, &["DRYDOCK_PATCH_DEPLOYMENT_SKIP"]),
    op("patch-deployment.pause", PatchManage, &["DRYDOCK_PATCH_DEPLOYMENT_PAUSE"]),
    op("patch-deployment.resume", PatchManage, &["DRYDOCK_PATCH_DEPLOYMENT_RESUME"]),
    op("window.list", PatchRead, &["DRYDOCK_MAINTENANCE_WINDOW_INSPECT"]),
    op("window.show", PatchRead, &["DRYDOCK_MAINTENANCE_WINDOW_READ"]),
    op("window.create", PatchManage, &["DRYDOCK_MAINTENANCE_WINDOW_CREATE"]),
    op("window.edit", PatchManage, &["DRYDOCK_MAINTENANCE_WINDOW_UPDATE"]),
    op("window.delete", PatchManage, &["DRYDOCK_MAINTENANCE_WINDOW_DELETE"]),
    op("freeze.list", PatchRead, &["DRYDOCK_FREEZE_CALENDAR_INSPECT"]),
    op("freeze.show", PatchRead, &["DRYDOCK_FREEZE_CALENDAR_READ"]),
    op("freeze.create", PatchManage, &["DRYDOCK_FREEZE_CALENDAR_CREATE"]),
    op("freeze.edit", PatchManage, &["DRYDOCK_FREEZE_CALENDAR_UPDATE"]),
    op("freeze.delete", PatchManage, &["DRYDOCK_FREEZE_CALENDAR_DELETE"]),
    op("reboot-slot.list", PatchRead, &["DRYDOCK_REBOOT_SLOT_GROUP_INSPECT"]),
    op("reboot-slot.show", PatchRead, &["DRYDOCK_REBOOT_SLOT_GROUP_READ"]),
    op("reboot-slot.create", PatchManage, &["DRYDOCK_REBOOT_SLOT_GROUP_CREATE"]),
    op("reboot-slot.edit", PatchManage, &["DRYDOCK_REBOOT_SLOT_GROUP_UPDATE"]),
    op("reboot-slot.delete", PatchManage, &["DRYDOCK_REBOOT_SLOT_GROUP_DELETE"]),
    op("reboot-slot.release", PatchManage, &["DRYDOCK_REBOOT_SLOT_GROUP_RELEASE"]),
    op("advisory.list", AdvisoryRead, &["DRYDOCK_ADVISORY_INSPECT"]),
    op("advisory.export", AdvisoryRead, &["DRYDOCK_ADVISORY_READ"]),
    op("advisory.show", AdvisoryRead, &["DRYDOCK_ADVISORY_READ"]),
    op("advisory.instances", AdvisoryRead, &["DRYDOCK_ADVISORY_READ"]),
    op("instance.advisories", AdvisoryRead, &["DRYDOCK_ADVISORY_READ"]),
    op("advisory-feed.list", AdvisoryRead, &["DRYDOCK_ADVISORY_FEED_INSPECT"]),
    op("advisory-feed.show", AdvisoryRead, &["DRYDOCK_ADVISORY_FEED_READ"]),
    op("advisory-feed.import", AdvisoryManage, &["DRYDOCK_ADVISORY_FEED_IMPORT"]),
    op("advisory-feed.delete", AdvisoryManage, &["DRYDOCK_ADVISORY_FEED_DELETE"]),
    op("vulnerability.list", AdvisoryRead, &["DRYDOCK_VULNERABILITY_INSPECT"]),
    op("vulnerability.export", AdvisoryRead, &["DRYDOCK_VULNERABILITY_READ"]),
    op("vulnerability.show", AdvisoryRead, &["DRYDOCK_VULNERABILITY_READ"]),
    op("vulnerability.instances", AdvisoryRead, &["DRYDOCK_VULNERABILITY_READ"]),
    op("instance.vulnerabilities", AdvisoryRead, &["DRYDOCK_VULNERABILITY_READ"]),
    op("instance.vex", AdvisoryRead, &["DRYDOCK_VULNERABILITY_READ"]),
    op("fleet.security", AdvisoryRead, &["DRYDOCK_VULNERABILITY_READ"]),
    op("sla.show", AdvisoryRead, &["DRYDOCK_VULNERABILITY_READ"]),
    op("sla.set", AdvisoryManage, &["DRYDOCK_VULNERABILITY_SET_DEADLINES"]),
    op("exception.list", AdvisoryRead, &["DRYDOCK_VULNERABILITY_EXCEPTION_INSPECT"]),
    op("exception.show", AdvisoryRead, &["DRYDOCK_VULNERABILITY_EXCEPTION_READ"]),
    op("exception.create", AdvisoryManage, &["DRYDOCK_VULNERABILITY_EXCEPTION_CREATE"]),
    op("exception.edit", AdvisoryManage, &["DRYDOCK_VULNERABILITY_EXCEPTION_UPDATE"]),
    op("exception.delete", AdvisoryManage, &["DRYDOCK_VULNERABILITY_EXCEPTION_DELETE"]),
    op("policy-assignment.list", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_INSPECT"]),
    op("policy-assignment.show", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("policy-assignment.instances", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("policy-assignment.revisions", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("policy-assignment.revision", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("policy-assignment.diff", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("policy-assignment.create", PolicyManage, &["DRYDOCK_OS_POLICY_ASSIGNMENT_CREATE"]),
    op("policy-assignment.edit", PolicyManage, &["DRYDOCK_OS_POLICY_ASSIGNMENT_UPDATE"]),
    op("policy-assignment.delete", PolicyManage, &["DRYDOCK_OS_POLICY_ASSIGNMENT_DELETE"]),
    op("policy-assignment.cancel", PolicyManage, &["DRYDOCK_OS_POLICY_ASSIGNMENT_CONTROL_ROLLOUT"]),
    op("policy-assignment.resume", PolicyManage, &["DRYDOCK_OS_POLICY_ASSIGNMENT_CONTROL_ROLLOUT"]),
    op("policy.check", PolicyManage, &["DRYDOCK_OS_POLICY_ASSIGNMENT_CHECK"]),
    op("policy-preview.create", PolicyManage, &["DRYDOCK_OS_POLICY_ASSIGNMENT_PREVIEW"]),
    op("policy-preview.delete", PolicyManage, &["DRYDOCK_OS_POLICY_ASSIGNMENT_PREVIEW"]),
    op("policy-preview.list", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("policy-preview.show", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("policy-preview.answers", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("compliance.summary", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("compliance.policies", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("compliance.resources", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("compliance.results", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("compliance.history", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("compliance.trend", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("compliance.host", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("compliance.document", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("drift.list", PolicyRead, &["DRYDOCK_OS_POLICY_ASSIGNMENT_READ"]),
    op("secret.list", PolicyRead, &["DRYDOCK_SECRET_INSPECT"]),
    op("secret.show", PolicyRead, &["DRYDOCK_SECRET_INSPECT"]),
    op("secret.create", SecretManage, &["DRYDOCK_SECRET_CREATE"]),
    op("secret.edit", SecretManage, &["DRYDOCK_SECRET_UPDATE"]),
    op("secret.delete", SecretManage, &["DRYDOCK_SECRET_DELETE"]),
    op("access-token.list", AccessManage, &["DRYDOCK_ACCESS_TOKEN_INSPECT"]),
    op("access-token.create", AccessManage, &["DRYDOCK_ACCESS_TOKEN_CREATE"]),
    op("access-token.revoke", AccessManage, &["DRYDOCK_ACCESS_TOKEN_REVOKE"]),
    op("audit.list", AuditRead, &["DRYDOCK_AUDIT_RECORD_READ"]),
    op("audit.export", AuditRead, &["DRYDOCK_AUDIT_RECORD_EXPORT"]),
    op("audit.settings-show", AuditRead, &["DRYDOCK_AUDIT_RECORD_READ"]),
    op("audit.settings-set", AuditRead, &["DRYDOCK_AUDIT_RECORD_CONFIGURE"]),
    op("audit.seal", AuditRead, &["DRYDOCK_AUDIT_RECORD_CONFIGURE"]),
    op("audit.drop-segment", AuditRead, &["DRYDOCK_AUDIT_RECORD_CONFIGURE"]),
    op("compartment.list", AccessManage, &["DRYDOCK_COMPARTMENT_INSPECT"]),
    op("compartment.show", AccessManage, &["DRYDOCK_COMPARTMENT_READ"]),
    op("compartment.create", AccessManage, &["DRYDOCK_COMPARTMENT_CREATE"]),
    op("compartment.edit", AccessManage, &["DRYDOCK_COMPARTMENT_UPDATE"]),
    op("compartment.move", AccessManage, &["DRYDOCK_COMPARTMENT_MOVE"]),
    op("compartment.delete", AccessManage, &["DRYDOCK_COMPARTMENT_DELETE"]),
    op("instance.move", AccessManage, &["DRYDOCK_INSTANCE_MOVE"]),
    op("group.move", AccessManage, &["DRYDOCK_GROUP_MOVE"]),
    op("enrolment-profile.move", AccessManage, &["DRYDOCK_ENROLMENT_PROFILE_MOVE"]),
    op("source.move", AccessManage, &["DRYDOCK_SOFTWARE_SOURCE_MOVE"]),
    op("environment.move", AccessManage, &["DRYDOCK_ENVIRONMENT_MOVE"]),
    op("patch-deployment.move", AccessManage, &["DRYDOCK_PATCH_DEPLOYMENT_MOVE"]),
    op("window.move", AccessManage, &["DRYDOCK_MAINTENANCE_WINDOW_MOVE"]),
    op("freeze.move", AccessManage, &["DRYDOCK_FREEZE_CALENDAR_MOVE"]),
    op("reboot-slot.move", AccessManage, &["DRYDOCK_REBOOT_SLOT_GROUP_MOVE"]),
    op("policy-assignment.move", AccessManage, &["DRYDOCK_OS_POLICY_ASSIGNMENT_MOVE"]),
    op("secret.move", AccessManage, &["DRYDOCK_SECRET_MOVE"]),
    op("access-policy.list", AccessManage, &["DRYDOCK_ACCESS_POLICY_INSPECT"]),
    op("access-policy.show", AccessManage, &["DRYDOCK_ACCESS_POLICY_READ"]),
    op("access-policy.create", AccessManage, &["DRYDOCK_ACCESS_POLICY_CREATE"]),
    op("access-policy.edit", AccessManage, &["DRYDOCK_ACCESS_POLICY_UPDATE"]),
    op("access-policy.delete", AccessManage, &["DRYDOCK_ACCESS_POLICY_DELETE"]),
    op("access.test", AccessManage, &["DRYDOCK_ACCESS_POLICY_READ"]),
    op("access.who-can", AccessManage, &["DRYDOCK_ACCESS_POLICY_READ"]),
    op("dynamic-group.list", AccessManage, &["DRYDOCK_DYNAMIC_GROUP_INSPECT"]),
    op("dynamic-group.show", AccessManage, &["DRYDOCK_DYNAMIC_GROUP_READ"]),
    op("dynamic-group.create", AccessManage, &["DRYDOCK_DYNAMIC_GROUP_CREATE"]),
    op("dynamic-group.edit", AccessManage, &["DRYDOCK_DYNAMIC_GROUP_UPDATE"]),
    op("dynamic-group.delete", AccessManage, &["DRYDOCK_DYNAMIC_GROUP_DELETE"]),
    op("user.list", AccessManage, &["DRYDOCK_USER_INSPECT"]),
    op("user.show", AccessManage, &["DRYDOCK_USER_READ"]),
    op("user.create", AccessManage, &["DRYDOCK_USER_CREATE"]),
    op("user.edit", AccessManage, &["DRYDOCK_USER_UPDATE"]),
    op("user.set-password", AccessManage, &["DRYDOCK_USER_UPDATE"]),
    op("user.reset-second-factor", AccessManage, &["DRYDOCK_USER_UPDATE"]),
    op("user.delete", AccessManage, &["DRYDOCK_USER_DELETE"]),
    op("user-group.list", AccessManage, &["DRYDOCK_USER_GROUP_INSPECT"]),
    op("user-group.show", AccessManage, &["DRYDOCK_USER_GROUP_READ"]),
    op("user-group.create", AccessManage, &["DRYDOCK_USER_GROUP_CREATE"]),
    op("user-group.edit", AccessManage, &["DRYDOCK_USER_GROUP_UPDATE"]),
    op("user-group.members", AccessManage, &["DRYDOCK_USER_GROUP_ADD_MEMBER", "DRYDOCK_USER_GROUP_REMOVE_MEMBER"]),
    op("user-group.delete", AccessManage, &["DRYDOCK_USER_GROUP_DELETE"]),
    op("api-key.list", AccessManage, &["DRYDOCK_USER_READ"]),
    op("api-key.add", AccessManage, &["DRYDOCK_USER_UPDATE"]),
    op("api-key.delete", AccessManage, &["DRYDOCK_USER_UPDATE"]),
    op("session.list", AccessManage, &["DRYDOCK_USER_READ"]),
    op("session.revoke", AccessManage, &["DRYDOCK_USER_UPDATE"]),
    op("approval-rule.list", AccessManage, &["DRYDOCK_ACCESS_POLICY_READ"]),
    op("approval-rule.set", AccessManage, &["DRYDOCK_ACCESS_POLICY_UPDATE"]),
    op("approval-rule.delete", AccessManage, &["DRYDOCK_ACCESS_POLICY_DELETE"]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::permissions::{Family, Target, Verb};
    use super::*;

    #[test]
    fn every_permission_of_ours_has_one_place() {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let all = COARSE.iter().flat_map(|(_, rights)| rights.iter()).chain(UNGUARDED);
        for name in all {
            assert!(Right::find(name).is_some(), "{name} is not in the table");
            assert!(seen.insert(name), "{name} is there twice");
        }
        for right in Target::Family(Family::Drydock).rights(Verb::Manage).iter() {
            let placed = seen.contains(right.name());
            assert!(placed, "{right} stands for no coarse permission and is not said to be unguarded");
        }
        for permission in Permission::ALL {
            assert_eq!(COARSE.iter().filter(|(p, _)| *p == permission).count(), 1, "{permission:?}");
        }
    }

    #[test]
    fn operations_agree_with_what_they_ask_for_today() {
        for operation in OPERATIONS {
            let own = COARSE.iter().find(|(p, _)| *p == operation.coarse).map(|(_, rights)| *rights).expect("listed");
            assert!(!operation.rights.is_empty(), "{}", operation.name);
            for right in operation.rights {
                assert!(own.contains(right), "{}: {right} is not what {:?} stands for", operation.name, operation.coarse);
            }
        }
        let twice: BTreeSet<(&str, &str)> = OPERATIONS.iter().map(|o| (o.name, o.rights[0])).collect();
        assert_eq!(twice.len(), OPERATIONS.len(), "no operation is there twice");
    }
}
