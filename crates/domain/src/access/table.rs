//! The rows behind verbs: which permissions each resource type has and from which verb on.
//!
//! A name is the stem, `_` and a suffix. The rows of `osmh-family` are the vendor's; those of `osms-family` follow them,
//! since the vendor's own table is no longer to be had; those of other services exist so that statements for agents can be
//! taken over as they are, and guard nothing here.

use super::permissions::Family;

/// A resource type.
pub(super) struct Row {
    /// As it is written, plural.
    pub(super) name: &'static str,
    pub(super) family: Option<Family>,
    /// What its permissions begin with.
    pub(super) stem: &'static str,
    pub(super) inspect: &'static [&'static str],
    pub(super) read: &'static [&'static str],
    pub(super) r#use: &'static [&'static str],
    pub(super) manage: &'static [&'static str],
    /// In no verb: only `{PERMISSION}` gives them.
    pub(super) by_name_only: &'static [&'static str],
}

impl Row {
    const fn new(family: Family, name: &'static str, stem: &'static str) -> Row {
        let (inspect, read) = (&["INSPECT"], &["READ"]);
        Row { name, family: Some(family), stem, inspect, read, r#use: &[], manage: &[], by_name_only: &[] }
    }

    const fn osms(name: &'static str, stem: &'static str) -> Row {
        Row::new(Family::Osms, name, stem)
    }

    const fn osmh(name: &'static str, stem: &'static str) -> Row {
        Row::new(Family::Osmh, name, stem)
    }

    const fn ours(name: &'static str, stem: &'static str) -> Row {
        Row::new(Family::Drydock, name, stem)
    }

    const fn foreign(name: &'static str, stem: &'static str) -> Row {
        Row { family: None, ..Row::new(Family::Instance, name, stem) }
    }

    const fn uses(self, r#use: &'static [&'static str]) -> Row {
        Row { r#use, ..self }
    }

    const fn manages(self, manage: &'static [&'static str]) -> Row {
        Row { manage, ..self }
    }
}

const UPDATE: &[&str] = &["UPDATE"];
const LIFE: &[&str] = &["CREATE", "DELETE", "MOVE"];
const MADE: &[&str] = &["CREATE", "DELETE"];

/// All types. Rights are numbered in this order; nothing stores the numbers.
pub(super) const ROWS: &[Row] = &[
    // osms-family
    Row::osms("osms-managed-instances", "OSMS_MANAGED_INSTANCE").uses(&[
        // The agent's check-in: the vendor asks for `use` of its dynamic group.
        "ACCESS",
        "UPDATE",
        "INSTALL_PACKAGE",
        "REMOVE_PACKAGE",
        "INSTALL_UPDATE",
        "ADD_SOFTWARE_SOURCE",
        "REMOVE_SOFTWARE_SOURCE",
        "MANAGE_MODULE_STREAMS",
    ]),
    Row::osms("osms-managed-instance-groups", "OSMS_MANAGED_INSTANCE_GROUP")
        .uses(&["UPDATE", "INSTALL_UPDATE", "ATTACH_INSTANCE", "DETACH_INSTANCE"])
        .manages(LIFE),
    Row::osms("osms-software-sources", "OSMS_SOFTWARE_SOURCE").uses(UPDATE).manages(&[
        "CREATE",
        "DELETE",
        "MOVE",
        "ADD_PACKAGE",
        "REMOVE_PACKAGE",
    ]),
    Row::osms("osms-scheduled-jobs", "OSMS_SCHEDULED_JOB").uses(UPDATE).manages(LIFE),
    Row::osms("osms-work-requests", "OSMS_WORK_REQUEST"),
    Row::osms("osms-errata", "OSMS_ERRATUM"),
    Row::osms("osms-events", "OSMS_EVENT").uses(UPDATE).manages(&["MANAGE"]),
    // osmh-family
    Row::osmh("osmh-lifecycle-environments", "OSMH_LIFECYCLE_ENVIRONMENT").uses(UPDATE).manages(LIFE),
    Row::osmh("osmh-lifecycle-stages", "OSMH_LIFECYCLE_STAGE").uses(&[
        "ATTACH_INSTANCE",
        "DETACH_INSTANCE",
        "PROMOTE_SOFTWARE_SOURCE",
        "REBOOT",
    ]),
    Row {
        manage: &["DELETE"],
        by_name_only: &["ACCESS"],
        ..Row::osmh("osmh-managed-instances", "OSMH_MANAGED_INSTANCE").uses(&[
            "UPDATE",
            "INSTALL_PACKAGE",
            "REMOVE_PACKAGE",
            "INSTALL_UPDATE",
            "ADD_SOFTWARE_SOURCE",
            "REMOVE_SOFTWARE_SOURCE",
            "MANAGE_MODULE_STREAM",
            "ENABLE_MODULE_STREAM",
            "DISABLE_MODULE_STREAM",
            "SWITCH_MODULE_STREAM",
            "INSTALL_MODULE_STREAM_PROFILE",
            "REMOVE_MODULE_STREAM_PROFILE",
            "ADD_PROFILE",
            "REMOVE_PROFILE",
            "REBOOT",
        ])
    },
    Row::osmh("osmh-managed-instance-groups", "OSMH_MANAGED_INSTANCE_GROUP")
        .uses(&[
            "UPDATE",
            "INSTALL_PACKAGE",
            "REMOVE_PACKAGE",
            "INSTALL_UPDATE",
            "ADD_SOFTWARE_SOURCE",
            "REMOVE_SOFTWARE_SOURCE",
            "MANAGE_MODULE_STREAM",
            "ENABLE_MODULE_STREAM",
            "DISABLE_MODULE_STREAM",
            "SWITCH_MODULE_STREAM",
            "INSTALL_MODULE_STREAM_PROFILE",
            "REMOVE_MODULE_STREAM_PROFILE",
            "ADD_PROFILE",
            "REMOVE_PROFILE",
            "REBOOT",
            "ATTACH_INSTANCE",
            "DETACH_INSTANCE",
        ])
        .manages(LIFE),
    Row::osmh("osmh-profiles", "OSMH_PROFILE")
        .uses(&[
            "UPDATE",
            "ATTACH_LIFECYCLE_STAGE",
            "ATTACH_MANAGED_INSTANCE_GROUP",
            "ATTACH_MANAGEMENT_STATION",
            "ADD_SOFTWARE_SOURCE",
            "REMOVE_SOFTWARE_SOURCE",
        ])
        .manages(LIFE),
    Row::osmh("osmh-management-stations", "OSMH_MANAGEMENT_STATION").uses(UPDATE).manages(LIFE),
    Row::osmh("osmh-scheduled-jobs", "OSMH_SCHEDULED_JOB").uses(UPDATE).manages(LIFE),
    Row::osmh("osmh-work-requests", "OSMH_WORK_REQUEST").uses(&["RERUN"]),
    Row::osmh("osmh-software-sources", "OSMH_SOFTWARE_SOURCE").uses(UPDATE).manages(LIFE),
    Row { read: &[], ..Row::osmh("osmh-entitlements", "OSMH_ENTITLEMENTS").manages(&["CREATE"]) },
    Row::osmh("osmh-events", "OSMH_EVENT").uses(UPDATE).manages(&["CREATE", "DELETE", "MANAGE", "MOVE"]),
    // drydock-family: hosts
    Row::ours("drydock-instances", "DRYDOCK_INSTANCE")
        .uses(&["UPDATE", "PATCH", "ADD_SOFTWARE_SOURCE", "REMOVE_SOFTWARE_SOURCE"])
        .manages(&["ACCEPT", "REJECT", "REVOKE", "DELETE", "MOVE"]),
    Row::ours("drydock-groups", "DRYDOCK_GROUP")
        .uses(&["UPDATE", "ADD_MEMBER", "REMOVE_MEMBER", "ADD_SOFTWARE_SOURCE", "REMOVE_SOFTWARE_SOURCE"])
        .manages(LIFE),
    Row::ours("drydock-enrolment-profiles", "DRYDOCK_ENROLMENT_PROFILE").manages(&["CREATE", "REVOKE", "MOVE"]),
    // drydock-family: content
    Row::ours("drydock-software-sources", "DRYDOCK_SOFTWARE_SOURCE").uses(&["UPDATE", "SYNC", "UPLOAD"]).manages(LIFE),
    Row::ours("drydock-snapshots", "DRYDOCK_SNAPSHOT"),
    Row::ours("drydock-environments", "DRYDOCK_ENVIRONMENT")
        .uses(&["PROMOTE", "ROLLBACK", "ADD_SOFTWARE_SOURCE", "REMOVE_SOFTWARE_SOURCE"])
        .manages(LIFE),
    Row::ours("drydock-content", "DRYDOCK_CONTENT").manages(&["EXPORT", "IMPORT", "COLLECT"]),
    Row::ours("drydock-content-jobs", "DRYDOCK_CONTENT_JOB").uses(&["CANCEL"]),
    Row::ours("drydock-repository-keys", "DRYDOCK_REPOSITORY_KEY").manages(&["PREPARE", "SWITCH", "RETIRE"]),
    // drydock-family: patching. Who watches a patch job (`use`) may hold it, end it and let it go on; starting one takes
    // `manage` and DRYDOCK_INSTANCE_PATCH on the hosts.
    Row::ours("drydock-patch-jobs", "DRYDOCK_PATCH_JOB")
        .uses(&["PAUSE", "RESUME", "HALT", "CANCEL", "ABORT", "APPROVE"])
        .manages(&["CREATE", "RERUN", "UNDO"]),
    Row::ours("drydock-barred-versions", "DRYDOCK_BARRED_VERSION").manages(&["LIFT"]),
    Row::ours("drydock-patch-deployments", "DRYDOCK_PATCH_DEPLOYMENT")
        .uses(&["UPDATE", "RUN", "SKIP", "PAUSE", "RESUME"])
        .manages(LIFE),
    Row::ours("drydock-maintenance-windows", "DRYDOCK_MAINTENANCE_WINDOW").uses(UPDATE).manages(LIFE),
    Row::ours("drydock-freeze-calendars", "DRYDOCK_FREEZE_CALENDAR").uses(UPDATE).manages(LIFE),
    Row::ours("drydock-reboot-slot-groups", "DRYDOCK_REBOOT_SLOT_GROUP").uses(&["UPDATE", "RELEASE"]).manages(LIFE),
    // drydock-family: OS policies
    Row::ours("drydock-os-policy-assignments", "DRYDOCK_OS_POLICY_ASSIGNMENT")
        .uses(&["UPDATE", "CHECK", "PREVIEW", "CONTROL_ROLLOUT"])
        .manages(LIFE),
    // A secret's value is given to hosts and never shown: there is nothing to read.
    Row { read: &[], ..Row::ours("drydock-secrets", "DRYDOCK_SECRET").uses(UPDATE).manages(LIFE) },
    // drydock-family: advisories
    Row::ours("drydock-advisories", "DRYDOCK_ADVISORY"),
    Row::ours("drydock-advisory-feeds", "DRYDOCK_ADVISORY_FEED").uses(&["IMPORT"]).manages(MADE),
    Row::ours("drydock-vulnerabilities", "DRYDOCK_VULNERABILITY").manages(&["SET_DEADLINES"]),
    Row::ours("drydock-vulnerability-exceptions", "DRYDOCK_VULNERABILITY_EXCEPTION").uses(UPDATE).manages(MADE),
    // drydock-family: access
    Row::ours("drydock-compartments", "DRYDOCK_COMPARTMENT").uses(UPDATE).manages(LIFE),
    Row::ours("drydock-access-policies", "DRYDOCK_ACCESS_POLICY").uses(UPDATE).manages(LIFE),
    Row::ours("drydock-access-tokens", "DRYDOCK_ACCESS_TOKEN").manages(&["CREATE", "REVOKE"]),
    Row::ours("drydock-users", "DRYDOCK_USER").uses(UPDATE).manages(MADE),
    Row::ours("drydock-user-groups", "DRYDOCK_USER_GROUP").uses(&["UPDATE", "ADD_MEMBER", "REMOVE_MEMBER"]).manages(MADE),
    Row::ours("drydock-dynamic-groups", "DRYDOCK_DYNAMIC_GROUP").uses(UPDATE).manages(MADE),
    Row::ours("drydock-audit-records", "DRYDOCK_AUDIT_RECORD").uses(&["EXPORT"]).manages(&["CONFIGURE"]),
    // Other services
    Row::new(Family::Instance, "instances", "INSTANCE").uses(UPDATE).manages(LIFE),
    Row::new(Family::ManagementAgent, "management-agents", "MGMT_AGENT").uses(UPDATE).manages(LIFE),
    Row::new(Family::ManagementAgent, "management-agent-install-keys", "MGMT_AGENT_INSTALL_KEY").uses(UPDATE).manages(LIFE),
    Row::foreign("ons-topics", "ONS_TOPIC").uses(&["UPDATE", "PUBLISH"]).manages(LIFE),
    Row::foreign("metrics", "METRIC").uses(&["WRITE"]),
];
