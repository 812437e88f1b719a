//! The table: statements, a request, what is expected.

use super::super::permissions::{Family, ResourceType, Target, Verb};
use super::{ask, compiled};

/// Statements; the compartment the policy is attached to; who asks; for which permission; where; the circumstances; allowed?
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str, bool);

const INSPECT: &str = "DRYDOCK_INSTANCE_INSPECT";
const READ: &str = "DRYDOCK_INSTANCE_READ";
const UPDATE: &str = "DRYDOCK_INSTANCE_UPDATE";
const DELETE: &str = "DRYDOCK_INSTANCE_DELETE";

fn check(rows: &[Row]) {
    for (text, attached, who, permission, place, circumstances, expected) in rows {
        let compiled = compiled(attached, text);
        assert_eq!(compiled.misplaced(), [], "{text}");
        let decision = ask(&compiled, who, permission, place, circumstances);
        assert_eq!(
            decision.is_allowed(),
            *expected,
            "{text}\nattached to {attached}: {who} asks for {permission} in {place} with [{circumstances}]: {decision}"
        );
    }
}

#[test]
#[rustfmt::skip]
fn families_and_verbs() {
    const F: [(&str, [&str; 4]); 3] = [
        ("osms-family", ["OSMS_MANAGED_INSTANCE_GROUP_INSPECT", "OSMS_SOFTWARE_SOURCE_READ", "OSMS_MANAGED_INSTANCE_INSTALL_PACKAGE", "OSMS_SCHEDULED_JOB_CREATE"]),
        ("osmh-family", ["OSMH_SOFTWARE_SOURCE_INSPECT", "OSMH_MANAGED_INSTANCE_READ", "OSMH_LIFECYCLE_STAGE_PROMOTE_SOFTWARE_SOURCE", "OSMH_PROFILE_CREATE"]),
        ("drydock-family", ["DRYDOCK_INSTANCE_INSPECT", "DRYDOCK_AUDIT_RECORD_READ", "DRYDOCK_ENVIRONMENT_PROMOTE", "DRYDOCK_PATCH_JOB_CREATE"]),
    ];
    // Verb; what it gives of inspect, read, use, manage.
    const V: [(&str, [bool; 4]); 4] = [
        ("inspect", [true, false, false, false]),
        ("read", [true, true, false, false]),
        ("use", [true, true, true, false]),
        ("manage", [true, true, true, true]),
    ];
    for (family, permissions) in F {
        for (verb, gives) in V {
            for (permission, expected) in permissions.iter().zip(gives) {
                let text = format!("Allow group Patchers to {verb} {family} in compartment A");
                let policy = compiled("t", &text);
                assert_eq!(ask(&policy, "ann", permission, "b", "").is_allowed(), expected, "{text}: {permission}");
                assert!(!ask(&policy, "eve", permission, "b", "").is_allowed());
                assert!(!ask(&policy, "ann", permission, "x", "").is_allowed());
                let all = compiled("t", &format!("allow group Patchers to {verb} all-resources in tenancy"));
                assert_eq!(ask(&all, "ann", permission, "x", "").is_allowed(), expected);
                for (other, others) in F {
                    let foreign = others.iter().any(|p| ask(&policy, "ann", p, "a", "").is_allowed());
                    assert_eq!(foreign, other == family, "{text} gives nothing of {other}");
                }
            }
        }
    }
}

/// Type, the least verb, the permissions it adds: the vendor's table and ours, written down once more.
#[rustfmt::skip]
const TYPES: &[(&str, &str, &str)] = &[
    ("osms-managed-instances", "inspect", "OSMS_MANAGED_INSTANCE_INSPECT"),
    ("osms-managed-instances", "read", "OSMS_MANAGED_INSTANCE_READ"),
    ("osms-managed-instances", "use", "OSMS_MANAGED_INSTANCE_UPDATE OSMS_MANAGED_INSTANCE_INSTALL_PACKAGE OSMS_MANAGED_INSTANCE_REMOVE_PACKAGE OSMS_MANAGED_INSTANCE_INSTALL_UPDATE OSMS_MANAGED_INSTANCE_ADD_SOFTWARE_SOURCE OSMS_MANAGED_INSTANCE_REMOVE_SOFTWARE_SOURCE OSMS_MANAGED_INSTANCE_MANAGE_MODULE_STREAMS OSMS_MANAGED_INSTANCE_ACCESS"),
    ("osms-managed-instance-groups", "inspect", "OSMS_MANAGED_INSTANCE_GROUP_INSPECT"),
    ("osms-managed-instance-groups", "use", "OSMS_MANAGED_INSTANCE_GROUP_ATTACH_INSTANCE"),
    ("osms-managed-instance-groups", "manage", "OSMS_MANAGED_INSTANCE_GROUP_CREATE OSMS_MANAGED_INSTANCE_GROUP_MOVE"),
    ("osms-software-sources", "manage", "OSMS_SOFTWARE_SOURCE_DELETE OSMS_SOFTWARE_SOURCE_ADD_PACKAGE"),
    ("osms-scheduled-jobs", "use", "OSMS_SCHEDULED_JOB_UPDATE"),
    ("osms-work-requests", "read", "OSMS_WORK_REQUEST_READ"),
    ("osms-errata", "read", "OSMS_ERRATUM_READ"),
    ("osms-events", "manage", "OSMS_EVENT_MANAGE"),
    ("osmh-lifecycle-environments", "inspect", "OSMH_LIFECYCLE_ENVIRONMENT_INSPECT"),
    ("osmh-lifecycle-environments", "use", "OSMH_LIFECYCLE_ENVIRONMENT_UPDATE"),
    ("osmh-lifecycle-environments", "manage", "OSMH_LIFECYCLE_ENVIRONMENT_CREATE OSMH_LIFECYCLE_ENVIRONMENT_DELETE OSMH_LIFECYCLE_ENVIRONMENT_MOVE"),
    ("osmh-lifecycle-stages", "use", "OSMH_LIFECYCLE_STAGE_ATTACH_INSTANCE OSMH_LIFECYCLE_STAGE_DETACH_INSTANCE OSMH_LIFECYCLE_STAGE_PROMOTE_SOFTWARE_SOURCE OSMH_LIFECYCLE_STAGE_REBOOT"),
    ("osmh-managed-instances", "read", "OSMH_MANAGED_INSTANCE_READ"),
    ("osmh-managed-instances", "use", "OSMH_MANAGED_INSTANCE_SWITCH_MODULE_STREAM OSMH_MANAGED_INSTANCE_INSTALL_MODULE_STREAM_PROFILE OSMH_MANAGED_INSTANCE_ADD_PROFILE OSMH_MANAGED_INSTANCE_REBOOT"),
    ("osmh-managed-instances", "manage", "OSMH_MANAGED_INSTANCE_DELETE"),
    ("osmh-managed-instance-group", "use", "OSMH_MANAGED_INSTANCE_GROUP_INSTALL_PACKAGE OSMH_MANAGED_INSTANCE_GROUP_REBOOT OSMH_MANAGED_INSTANCE_GROUP_ATTACH_INSTANCE"),
    ("osmh-managed-instance-groups", "manage", "OSMH_MANAGED_INSTANCE_GROUP_CREATE"),
    ("osmh-profiles", "use", "OSMH_PROFILE_ATTACH_LIFECYCLE_STAGE OSMH_PROFILE_ATTACH_MANAGED_INSTANCE_GROUP OSMH_PROFILE_ATTACH_MANAGEMENT_STATION OSMH_PROFILE_ADD_SOFTWARE_SOURCE OSMH_PROFILE_REMOVE_SOFTWARE_SOURCE"),
    ("osmh-profile", "manage", "OSMH_PROFILE_CREATE"),
    ("osmh-management-station", "use", "OSMH_MANAGEMENT_STATION_UPDATE"),
    ("osmh-management-stations", "manage", "OSMH_MANAGEMENT_STATION_MOVE"),
    ("osmh-scheduled-jobs", "manage", "OSMH_SCHEDULED_JOB_CREATE"),
    ("osmh-work-requests", "use", "OSMH_WORK_REQUEST_RERUN"),
    ("osmh-software-sources", "use", "OSMH_SOFTWARE_SOURCE_UPDATE"),
    ("osmh-entitlements", "inspect", "OSMH_ENTITLEMENTS_INSPECT"),
    ("osmh-entitlements", "manage", "OSMH_ENTITLEMENTS_CREATE"),
    ("osmh-events", "use", "OSMH_EVENT_UPDATE"),
    ("osmh-events", "manage", "OSMH_EVENT_CREATE OSMH_EVENT_DELETE OSMH_EVENT_MANAGE OSMH_EVENT_MOVE"),
    ("drydock-instances", "use", "DRYDOCK_INSTANCE_UPDATE DRYDOCK_INSTANCE_PATCH"),
    ("drydock-instances", "manage", "DRYDOCK_INSTANCE_ACCEPT DRYDOCK_INSTANCE_REVOKE DRYDOCK_INSTANCE_DELETE"),
    ("drydock-groups", "use", "DRYDOCK_GROUP_ADD_MEMBER"),
    ("drydock-enrolment-profiles", "manage", "DRYDOCK_ENROLMENT_PROFILE_CREATE"),
    ("drydock-software-sources", "use", "DRYDOCK_SOFTWARE_SOURCE_SYNC DRYDOCK_SOFTWARE_SOURCE_UPLOAD"),
    ("drydock-snapshots", "read", "DRYDOCK_SNAPSHOT_READ"),
    ("drydock-environments", "use", "DRYDOCK_ENVIRONMENT_PROMOTE DRYDOCK_ENVIRONMENT_ROLLBACK"),
    ("drydock-content", "read", "DRYDOCK_CONTENT_READ"),
    ("drydock-content", "manage", "DRYDOCK_CONTENT_COLLECT"),
    ("drydock-content-jobs", "use", "DRYDOCK_CONTENT_JOB_CANCEL"),
    ("drydock-repository-keys", "manage", "DRYDOCK_REPOSITORY_KEY_SWITCH"),
    ("drydock-patch-jobs", "use", "DRYDOCK_PATCH_JOB_HALT DRYDOCK_PATCH_JOB_APPROVE"),
    ("drydock-patch-jobs", "manage", "DRYDOCK_PATCH_JOB_CREATE DRYDOCK_PATCH_JOB_UNDO"),
    ("drydock-barred-versions", "manage", "DRYDOCK_BARRED_VERSION_LIFT"),
    ("drydock-patch-deployments", "use", "DRYDOCK_PATCH_DEPLOYMENT_RUN"),
    ("drydock-maintenance-windows", "use", "DRYDOCK_MAINTENANCE_WINDOW_UPDATE"),
    ("drydock-freeze-calendars", "manage", "DRYDOCK_FREEZE_CALENDAR_DELETE"),
    ("drydock-reboot-slot-groups", "use", "DRYDOCK_REBOOT_SLOT_GROUP_RELEASE"),
    ("drydock-os-policy-assignments", "use", "DRYDOCK_OS_POLICY_ASSIGNMENT_CHECK"),
    ("drydock-secrets", "use", "DRYDOCK_SECRET_UPDATE"),
    ("drydock-advisories", "inspect", "DRYDOCK_ADVISORY_INSPECT"),
    ("drydock-advisory-feeds", "use", "DRYDOCK_ADVISORY_FEED_IMPORT"),
    ("drydock-vulnerabilities", "manage", "DRYDOCK_VULNERABILITY_SET_DEADLINES"),
    ("drydock-vulnerability-exceptions", "manage", "DRYDOCK_VULNERABILITY_EXCEPTION_CREATE"),
    ("drydock-compartments", "manage", "DRYDOCK_COMPARTMENT_MOVE"),
    ("drydock-access-policies", "use", "DRYDOCK_ACCESS_POLICY_UPDATE"),
    ("drydock-access-tokens", "manage", "DRYDOCK_ACCESS_TOKEN_REVOKE"),
    ("drydock-users", "read", "DRYDOCK_USER_READ"),
    ("drydock-user-groups", "use", "DRYDOCK_USER_GROUP_ADD_MEMBER"),
    ("drydock-dynamic-groups", "manage", "DRYDOCK_DYNAMIC_GROUP_CREATE"),
    ("drydock-audit-records", "use", "DRYDOCK_AUDIT_RECORD_EXPORT"),
    ("instances", "read", "INSTANCE_READ"),
    ("ons-topics", "use", "ONS_TOPIC_PUBLISH"),
];

#[test]
fn types_and_verbs() {
    for (name, least, permissions) in TYPES {
        let least = Verb::find(least).expect("a verb");
        for permission in permissions.split(' ') {
            for verb in Verb::ALL {
                let text = format!("allow group Patchers to {} {name} in tenancy", verb.as_str());
                let policy = compiled("t", &text);
                assert_eq!(ask(&policy, "ann", permission, "c", "").is_allowed(), verb >= least, "{text}: {permission}");
                assert!(!ask(&policy, "eve", permission, "c", "").is_allowed(), "{text}: {permission}");
            }
        }
    }
    for own in ResourceType::all().filter(|t| matches!(t.family(), Some(Family::Osms | Family::Osmh | Family::Drydock))) {
        let named = |(name, ..): &(&str, &str, &str)| Target::find(name) == Some(Target::Type(own));
        assert!(own.name() == "osmh-lifecycle-stages" || TYPES.iter().any(named), "{} has no row", own.name());
    }
}

#[test]
#[rustfmt::skip]
fn subjects() {
    check(&[
        ("allow group Patchers to read drydock-instances in tenancy", "t", "ann", READ, "t", "", true),
        ("allow group patchers to read drydock-instances in tenancy", "t", "ann", READ, "t", "", true),
        ("allow group 'Patchers' to read drydock-instances in tenancy", "t", "ann", READ, "t", "", true),
        ("allow groups Others, Patchers to read drydock-instances in tenancy", "t", "ann", READ, "t", "", true),
        ("allow group Others, 'Yet others' to read drydock-instances in tenancy", "t", "ann", READ, "t", "", false),
        ("allow group Patchers to read drydock-instances in tenancy", "t", "bob", READ, "t", "", false),
        ("allow group 'Partner'/'Patchers' to read drydock-instances in tenancy", "t", "bob", READ, "t", "", true),
        ("allow group partner/patchers to read drydock-instances in tenancy", "t", "bob", READ, "t", "", true),
        ("allow group 'Partner'/'Patchers' to read drydock-instances in tenancy", "t", "ann", READ, "t", "", false),
        ("allow group 'Default'/'Patchers' to read drydock-instances in tenancy", "t", "ann", READ, "t", "", true),
        ("allow group id g-1 to read drydock-instances in tenancy", "t", "ann", READ, "t", "", true),
        ("allow group id G-9, id 'g-1' to read drydock-instances in tenancy", "t", "ann", READ, "t", "", true),
        ("allow group id g-9 to read drydock-instances in tenancy", "t", "ann", READ, "t", "", false),
        ("allow group 'Default/Patchers' to read drydock-instances in tenancy", "t", "ann", READ, "t", "", false),
        ("allow any-user to read drydock-instances in tenancy", "t", "eve", READ, "t", "", true),
        ("allow any-user to read drydock-instances in tenancy", "t", "host", READ, "t", "", true),
        ("allow any-user to read drydock-instances in tenancy", "t", "osms", READ, "t", "", true),
        ("allow any-group to read drydock-instances in tenancy", "t", "eve", READ, "t", "", false),
        ("allow any-group to read drydock-instances in tenancy", "t", "bob", READ, "t", "", true),
        ("allow any-group to read drydock-instances in tenancy", "t", "host", READ, "t", "", false),
        ("allow dynamic-group Insts to read drydock-instances in tenancy", "t", "host", READ, "t", "", true),
        ("allow dynamic-groups insts, other to read drydock-instances in tenancy", "t", "host", READ, "t", "", true),
        ("allow dynamic-group id dg-1 to read drydock-instances in tenancy", "t", "host", READ, "t", "", true),
        ("allow dynamic-group Insts to read drydock-instances in tenancy", "t", "other", READ, "t", "", false),
        ("allow group Insts to read drydock-instances in tenancy", "t", "host", READ, "t", "", false),
        ("allow dynamic-group Patchers to read drydock-instances in tenancy", "t", "ann", READ, "t", "", false),
        ("allow service osms to read drydock-instances in tenancy", "t", "osms", READ, "t", "", true),
        ("allow service OSMS, other to read drydock-instances in tenancy", "t", "osms", READ, "t", "", true),
        ("allow service osms to read drydock-instances in tenancy", "t", "ann", READ, "t", "", false),
        ("allow resource osmh-dynamic-sets to read drydock-instances in tenancy", "t", "set", READ, "t", "", true),
        ("allow resource osmh-dynamic-sets nightly to read drydock-instances in tenancy", "t", "set", READ, "t", "", true),
        ("allow resource osmh-dynamic-sets ds-1 to read drydock-instances in tenancy", "t", "set", READ, "t", "", true),
        ("allow resource osmh-dynamic-sets weekly to read drydock-instances in tenancy", "t", "set", READ, "t", "", false),
        ("allow resource instance to read drydock-instances in tenancy", "t", "set", READ, "t", "", false),
        ("allow group Patchers to read drydock-instances in tenancy", "t", "robot", READ, "t", "", true),
        // Union over groups.
        ("allow group Patchers to inspect drydock-instances in tenancy\nallow group Web to {DRYDOCK_INSTANCE_UPDATE} in tenancy", "t", "ann", UPDATE, "a", "", true),
        ("allow group Patchers to inspect drydock-instances in tenancy\nallow group Web to {DRYDOCK_INSTANCE_UPDATE} in tenancy", "t", "ann", INSPECT, "a", "", true),
        ("allow group Patchers to inspect drydock-instances in tenancy\nallow group Web to {DRYDOCK_INSTANCE_UPDATE} in tenancy", "t", "ann", READ, "a", "", false),
    ]);
}

#[test]
#[rustfmt::skip]
fn places() {
    check(&[
        ("allow group Patchers to read drydock-instances in tenancy", "t", "ann", READ, "t", "", true),
        ("allow group Patchers to read drydock-instances in tenancy", "t", "ann", READ, "c", "", true),
        ("allow group Patchers to read drydock-instances in compartment A", "t", "ann", READ, "a", "", true),
        ("allow group Patchers to read drydock-instances in compartment a", "t", "ann", READ, "c", "", true),
        ("allow group Patchers to read drydock-instances in compartment A", "t", "ann", READ, "t", "", false),
        ("allow group Patchers to read drydock-instances in compartment A", "t", "ann", READ, "x", "", false),
        ("allow group Patchers to read drydock-instances in compartment A:B", "t", "ann", READ, "a", "", false),
        ("allow group Patchers to read drydock-instances in compartment A:B", "t", "ann", READ, "b", "", true),
        ("allow group Patchers to read drydock-instances in compartment a:b:c", "t", "ann", READ, "c", "", true),
        ("allow group Patchers to read drydock-instances in compartment a : b\n: 'c'", "t", "ann", READ, "c", "", true),
        ("allow group Patchers to read drydock-instances in compartment a:b:c", "t", "ann", READ, "b", "", false),
        ("allow group Patchers to read drydock-instances in compartment id b", "t", "ann", READ, "c", "", true),
        ("allow group Patchers to read drydock-instances in compartment id 'B'", "t", "ann", READ, "c", "", true),
        ("allow group Patchers to read drydock-instances in compartment id b", "t", "ann", READ, "a", "", false),
        ("allow group Patchers to read drydock-instances in compartment B:C", "a", "ann", READ, "c", "", true),
        ("allow group Patchers to read drydock-instances in compartment A:B", "a", "ann", READ, "b", "", true),
        ("allow group Patchers to read drydock-instances in compartment A", "a", "ann", READ, "a", "", true),
        ("allow group Patchers to read drydock-instances in compartment B", "a", "ann", READ, "a", "", false),
        ("allow group Patchers to read drydock-instances in tenancy", "t", "ann", READ, "nowhere", "", false),
    ]);
}

#[test]
fn a_statement_holds_only_inside_the_compartment_of_its_policy() {
    for (attached, location) in [
        ("a", "tenancy"),
        ("a", "compartment X"),
        ("a", "compartment id x"),
        ("b", "compartment A"),
        ("t", "compartment nowhere"),
        ("t", "compartment id nowhere"),
        ("t", "compartment acme"),
        ("gone", "tenancy"),
    ] {
        let compiled = compiled(attached, &format!("\nallow any-user to manage all-resources in {location}"));
        assert_eq!(compiled.misplaced().len(), 1, "{attached} {location}");
        assert_eq!(compiled.misplaced()[0].line, 2);
        for place in ["t", "a", "b", "c", "x"] {
            assert!(!ask(&compiled, "ann", READ, place, "").is_allowed(), "{attached} {location} {place}");
        }
    }
}

#[test]
#[rustfmt::skip]
fn deny_wins() {
    const BOTH: &str = "allow group Patchers to manage drydock-family in tenancy\ndeny group Web to use drydock-instances in compartment A";
    const REVERSED: &str = "deny group Web to use drydock-instances in compartment A; allow group Patchers to manage drydock-family in tenancy";
    const NOT_BY_NIGHT: &str = "allow any-user to manage all-resources in tenancy
        deny any-user to {DRYDOCK_INSTANCE_DELETE} in tenancy where request.utc-timestamp.time-of-day between '22:00:00Z' and '06:00:00Z'";
    const NO_FACTOR: &str = "allow any-user to manage all-resources in tenancy
        deny any-user to {DRYDOCK_INSTANCE_DELETE} in tenancy where request.user.mfaTotpVerified != 'true'";
    check(&[
        (BOTH, "t", "ann", UPDATE, "a", "", false),
        (BOTH, "t", "ann", UPDATE, "c", "", false),
        (BOTH, "t", "ann", READ, "c", "", false),
        (BOTH, "t", "ann", INSPECT, "c", "", false),
        (BOTH, "t", "ann", DELETE, "a", "", true),
        (BOTH, "t", "ann", UPDATE, "x", "", true),
        (BOTH, "t", "robot", UPDATE, "a", "", true),
        (REVERSED, "t", "ann", UPDATE, "a", "", false),
        (REVERSED, "t", "ann", DELETE, "a", "", true),
        (NOT_BY_NIGHT, "t", "ann", DELETE, "a", "", true),
        (NOT_BY_NIGHT, "t", "ann", DELETE, "a", "now=2026-11-23T23:00:00Z", false),
        (NOT_BY_NIGHT, "t", "ann", DELETE, "a", "now=2026-11-23T05:59:59Z", false),
        (NOT_BY_NIGHT, "t", "ann", UPDATE, "a", "now=2026-11-23T23:00:00Z", true),
        (NO_FACTOR, "t", "ann", DELETE, "a", "", true),
        (NO_FACTOR, "t", "bob", DELETE, "a", "", false),
        // A host has no second factor to show: the comparison does not apply and the deny does not hold.
        (NO_FACTOR, "t", "host", DELETE, "a", "", true),
        ("deny any-user to inspect drydock-instances in tenancy", "t", "ann", INSPECT, "a", "", false),
        ("allow any-user to read drydock-instances in tenancy; deny any-user to inspect drydock-instances in tenancy", "t", "ann", READ, "a", "", true),
    ]);
}

#[test]
#[rustfmt::skip]
fn exact_permissions() {
    check(&[
        ("allow group Patchers to {DRYDOCK_INSTANCE_READ} in tenancy", "t", "ann", READ, "a", "", true),
        ("allow group Patchers to {DRYDOCK_INSTANCE_READ} in tenancy", "t", "ann", INSPECT, "a", "", false),
        ("allow group Patchers to { drydock_instance_read , DRYDOCK_INSTANCE_DELETE } in tenancy", "t", "ann", DELETE, "a", "", true),
        ("allow group Patchers to {OSMH_MANAGED_INSTANCE_ACCESS} in tenancy", "t", "ann", "OSMH_MANAGED_INSTANCE_ACCESS", "a", "", true),
        ("allow group Patchers to manage osmh-managed-instances in tenancy", "t", "ann", "OSMH_MANAGED_INSTANCE_ACCESS", "a", "", false),
        ("allow group Patchers to manage osmh-family in tenancy", "t", "ann", "OSMH_MANAGED_INSTANCE_ACCESS", "a", "", false),
        ("allow group Patchers to manage all-resources in tenancy", "t", "ann", "OSMH_MANAGED_INSTANCE_ACCESS", "a", "", false),
    ]);
}

macro_rules! cond {
    ($condition:literal) => {
        concat!("allow any-user to manage drydock-family in tenancy where ", $condition)
    };
}

#[test]
#[rustfmt::skip]
fn conditions_on_texts() {
    check(&[
        (cond!("request.operation = 'instance.edit'"), "t", "ann", UPDATE, "a", "request.operation=instance.edit", true),
        (cond!("REQUEST.Operation = 'Instance.Edit'"), "t", "ann", UPDATE, "a", "request.operation=instance.EDIT", true),
        (cond!("request.operation = 'instance.edit'"), "t", "ann", UPDATE, "a", "request.operation=instance.delete", false),
        (cond!("request.operation = 'instance.edit'"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.operation != 'instance.edit'"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.operation != 'instance.edit'"), "t", "ann", UPDATE, "a", "request.operation=other", true),
        (cond!("request.operation in ('a', 'b')"), "t", "ann", UPDATE, "a", "request.operation=B", true),
        (cond!("request.operation in ('a', 'b')"), "t", "ann", UPDATE, "a", "request.operation=c", false),
        (cond!("request.operation in ('a', 'b')"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.operation not in ('a', 'b')"), "t", "ann", UPDATE, "a", "request.operation=c", true),
        (cond!("request.operation NOT IN ('a', 'b')"), "t", "ann", UPDATE, "a", "request.operation=a", false),
        (cond!("request.operation not in ('a', 'b')"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.operation = ('a', 'b')"), "t", "ann", UPDATE, "a", "request.operation=b", true),
        (cond!("request.operation != ('a', 'b')"), "t", "ann", UPDATE, "a", "request.operation=b", false),
        (cond!("request.operation in ('a', /get*/)"), "t", "ann", UPDATE, "a", "request.operation=GetErratum", true),
        (cond!("request.region = 'eu-1'"), "t", "ann", UPDATE, "a", "request.region=eu-1", true),
        (cond!("request.ad = 'ad-1'"), "t", "ann", UPDATE, "a", "request.ad=ad-2", false),
        (cond!("request.networkSource.name = 'office'"), "t", "ann", UPDATE, "a", "request.networkSource.name=office", true),
        (cond!("request.permission = 'DRYDOCK_INSTANCE_UPDATE'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.permission = 'drydock_instance_update'"), "t", "ann", DELETE, "a", "", false),
        (cond!("request.permission != 'DRYDOCK_INSTANCE_DELETE'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.permission != 'DRYDOCK_INSTANCE_DELETE'"), "t", "ann", DELETE, "a", "", false),
        (cond!("request.permission = /*_DELETE/"), "t", "ann", DELETE, "a", "", true),
        (cond!("request.permission != /*_delete/"), "t", "ann", DELETE, "a", "", false),
        (cond!("request.user.name = 'ANN'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.user.id = 'u-bob'"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.user.id != 'u-bob'"), "t", "host", UPDATE, "a", "", false),
        (cond!("request.user.mfaTotpVerified = 'true'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.user.mfaTotpVerified = 'true'"), "t", "bob", UPDATE, "a", "", false),
        (cond!("request.user.mfaTotpVerified = 'false'"), "t", "robot", UPDATE, "a", "", false),
        (cond!("request.principal.type = 'instance'"), "t", "host", UPDATE, "a", "", true),
        (cond!("request.principal.type = 'instance'"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.principal.type = 'user'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.principal.type = 'serviceaccount'"), "t", "robot", UPDATE, "a", "", true),
        (cond!("request.principal.type = 'service'"), "t", "osms", UPDATE, "a", "", true),
        (cond!("request.principal.id = 'i-1'"), "t", "host", UPDATE, "a", "", true),
        (cond!("request.instance.id = 'i-1'"), "t", "host", UPDATE, "a", "", true),
        (cond!("request.instance.id != 'i-9'"), "t", "ann", UPDATE, "a", "", false),
        (cond!("target.compartment.id = 'b'"), "t", "ann", UPDATE, "b", "", true),
        (cond!("target.compartment.id = 'b'"), "t", "ann", UPDATE, "c", "", false),
        (cond!("target.compartment.name = 'C'"), "t", "ann", UPDATE, "c", "", true),
        (cond!("target.group.name != 'Administrators'"), "t", "ann", UPDATE, "c", "", false),
        (cond!("target.group.name != 'Administrators'"), "t", "ann", UPDATE, "c", "target.group.name=web", true),
        (cond!("target.user.name = 'ann'"), "t", "ann", UPDATE, "c", "target.user.name=Ann", true),
        (cond!("target.resource.name = /web*/"), "t", "ann", UPDATE, "c/web1", "", true),
        (cond!("target.resource.name = /web*/"), "t", "ann", UPDATE, "c/db1", "", false),
        (cond!("target.resource.name = /web*/"), "t", "ann", UPDATE, "c", "", false),
        (cond!("target.resource.id = 'id-web1'"), "t", "ann", UPDATE, "c/web1", "", true),
        (cond!("target.resource.type = 'drydock-instances'"), "t", "ann", UPDATE, "c/web1", "", true),
        (cond!("request.principal.id = target.managed-instance.id"), "t", "host", UPDATE, "c", "target.managed-instance.id=I-1", true),
        (cond!("request.principal.id = target.managedInstance.id"), "t", "host", UPDATE, "c", "target.managed-instance.id=i-1", true),
        (cond!("request.principal.id = target.managed-instance.id"), "t", "host", UPDATE, "c", "target.managed-instance.id=i-2", false),
        (cond!("request.principal.id = target.managed-instance.id"), "t", "host", UPDATE, "c", "", false),
        (cond!("request.principal.id != target.managed-instance.id"), "t", "host", UPDATE, "c", "", false),
        (cond!("request.principal.id != target.managed-instance.id"), "t", "host", UPDATE, "c", "target.managed-instance.id=i-2", true),
        (cond!("request.principal.id in ('i-1', target.managed-instance.id)"), "t", "host", UPDATE, "c", "", false),
        (cond!("target.lifecycleStage.id = 's'"), "t", "ann", UPDATE, "c", "target.lifecyclestage.id=s", true),
        (cond!("target.lifecycleEnvironment.id = 's'"), "t", "ann", UPDATE, "c", "target.lifecycleStage.id=s", false),
    ]);
}

#[test]
#[rustfmt::skip]
fn conditions_on_lists_tags_and_patterns() {
    check(&[
        (cond!("request.groups.id = 'g-2'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.groups.id = 'g-9'"), "t", "ann", UPDATE, "a", "", false),
        // Not equal: no element equals.
        (cond!("request.groups.id != 'g-2'"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.groups.id != 'g-9'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.groups.id in ('g-9', 'g-1')"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.groups.id not in ('g-9', 'g-1')"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.groups.id not in ('g-8', 'g-9')"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.groups.id = 'g-2'"), "t", "eve", UPDATE, "a", "", false),
        (cond!("request.groups.id != 'g-2'"), "t", "eve", UPDATE, "a", "", true),
        (cond!("request.groups.id != 'g-2'"), "t", "host", UPDATE, "a", "", false),
        (cond!("target.resource.tag.Ops.Tier = 'web'"), "t", "ann", UPDATE, "a", "target.resource.tag.ops.tier=Web", true),
        (cond!("target.resource.tag.ops.tier = 'web'"), "t", "ann", UPDATE, "a", "target.resource.tag.ops.tier=db", false),
        (cond!("target.resource.tag.ops.tier != 'web'"), "t", "ann", UPDATE, "a", "target.resource.tag.ops.tier=db", true),
        (cond!("target.resource.tag.ops.tier != 'web'"), "t", "ann", UPDATE, "a", "", false),
        (cond!("target.resource.compartment.tag.ops.tier = 'web'"), "t", "ann", UPDATE, "a", "target.resource.tag.ops.tier=web", false),
        (cond!("target.resource.compartment.tag.ops.tier = 'web'"), "t", "ann", UPDATE, "a", "target.resource.compartment.tag.ops.tier=web", true),
        (cond!("request.principal.compartment.tag.ops.tier = 'web'"), "t", "host", UPDATE, "a", "request.principal.compartment.tag.ops.tier=web", true),
        (cond!("request.principal.group.tag.ops.team = 'b'"), "t", "ann", UPDATE, "a", "request.principal.group.tag.ops.team=a, request.principal.group.tag.ops.team=b", true),
        (cond!("request.principal.group.tag.ops.team != 'b'"), "t", "ann", UPDATE, "a", "request.principal.group.tag.ops.team=a, request.principal.group.tag.ops.team=b", false),
        (cond!("request.principal.group.tag.ops.team = target.resource.tag.ops.team"), "t", "ann", UPDATE, "a", "request.principal.group.tag.ops.team=a, request.principal.group.tag.ops.team=b, target.resource.tag.ops.team=b", true),
        (cond!("target.resource.label.env = 'prod'"), "t", "ann", UPDATE, "a", "target.resource.label.env=prod", true),
        (cond!("target.resource.label.env = 'prod'"), "t", "ann", UPDATE, "a", "target.resource.label.env=test", false),
        (cond!("request.region = /eu*/"), "t", "ann", UPDATE, "a", "request.region=EU-west", true),
        (cond!("request.region = /eu*/"), "t", "ann", UPDATE, "a", "request.region=us-eu", false),
        (cond!("request.region = /*west/"), "t", "ann", UPDATE, "a", "request.region=eu-WEST", true),
        (cond!("request.region = /*west/"), "t", "ann", UPDATE, "a", "request.region=west-eu", false),
        (cond!("request.region = /*-w*/"), "t", "ann", UPDATE, "a", "request.region=eu-west", true),
        (cond!("request.region = /*-w*/"), "t", "ann", UPDATE, "a", "request.region=eu", false),
        (cond!("request.region = /eu/"), "t", "ann", UPDATE, "a", "request.region=eu", true),
        (cond!("request.region = /eu/"), "t", "ann", UPDATE, "a", "request.region=eu-west", false),
        (cond!("request.region = /*/"), "t", "ann", UPDATE, "a", "request.region=eu-west", true),
        (cond!("request.region = /*/"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.region != /eu*/"), "t", "ann", UPDATE, "a", "request.region=us", true),
        (cond!("request.region != /eu*/"), "t", "ann", UPDATE, "a", "", false),
    ]);
}

#[test]
#[rustfmt::skip]
fn conditions_on_time_and_nesting() {
    check(&[
        (cond!("request.utc-timestamp before '2027-01-01T00:00:00Z'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.utc-timestamp before '2026-11-23T07:30:00Z'"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.utc-timestamp before '2027-01-01T00:00Z'"), "t", "ann", UPDATE, "a", "now=never", false),
        (cond!("request.utc-timestamp between '2026-11-23T07:30:00Z' and '2026-11-24T00:00Z'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.utc-timestamp between '2026-11-24T00:00Z' and '2026-11-25T00:00Z'"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.utc-timestamp.time-of-day between '07:00:00Z' and '08:00:00Z'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.utc-timestamp.time-of-day between '08:00Z' and '09:00Z'"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.utc-timestamp.time-of-day between '22:00Z' and '08:00Z'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.utc-timestamp.time-of-day before '07:31Z'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.utc-timestamp.time-of-day before '07:30Z'"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.utc-timestamp.day-of-week = 'monday'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.utc-timestamp.day-of-week in ('Saturday', 'Sunday')"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.utc-timestamp.day-of-week in ('Saturday', 'Sunday')"), "t", "ann", UPDATE, "a", "now=2026-11-22T00:00:00Z", true),
        (cond!("request.utc-timestamp.day-of-week not in ('Saturday', 'Sunday')"), "t", "ann", UPDATE, "a", "now=never", false),
        (cond!("request.utc-timestamp.month-of-year = '11'"), "t", "ann", UPDATE, "a", "", true),
        (cond!("request.utc-timestamp.month-of-year != '11'"), "t", "ann", UPDATE, "a", "", false),
        (cond!("request.utc-timestamp.day-of-month in ('22', '23')"), "t", "ann", UPDATE, "a", "", true),
        (cond!("all {request.region = 'eu', request.operation = 'x'}"), "t", "ann", UPDATE, "a", "request.region=eu, request.operation=x", true),
        (cond!("all {request.region = 'eu', request.operation = 'x'}"), "t", "ann", UPDATE, "a", "request.region=eu", false),
        (cond!("ANY {request.region = 'eu', request.operation = 'x'}"), "t", "ann", UPDATE, "a", "request.region=eu", true),
        (cond!("any {request.region = 'eu', request.operation = 'x'}"), "t", "ann", UPDATE, "a", "", false),
        (cond!("any {request.region != 'eu', request.principal.type = 'user'}"), "t", "ann", UPDATE, "a", "", true),
        (cond!("all {any {request.region = 'eu', request.region = 'us'}, all {request.operation != 'x'}}"), "t", "ann", UPDATE, "a", "request.region=us, request.operation=y", true),
        (cond!("all {any {request.region = 'eu', request.region = 'us'}, all {request.operation != 'x'}}"), "t", "ann", UPDATE, "a", "request.region=us, request.operation=x", false),
        (cond!("all {any {request.region = 'eu', request.region = 'us'}, all {request.operation != 'x'}}"), "t", "ann", UPDATE, "a", "request.region=as, request.operation=y", false),
        (cond!("all { request.region = 'eu' // where we are\n , request.permission != 'DRYDOCK_INSTANCE_DELETE' }"), "t", "ann", UPDATE, "a", "request.region=eu", true),
        (cond!("all { request.region = 'eu' // where we are\n , request.permission != 'DRYDOCK_INSTANCE_DELETE' }"), "t", "ann", DELETE, "a", "request.region=eu", false),
    ]);
}
