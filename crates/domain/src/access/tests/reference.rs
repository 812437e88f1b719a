//! The statements that the vendor's users know: they are read as they stand and mean what is said of them.

use super::super::decide::{Bearing, Decision, Why, decide_all, explain, who_can, who_of};
use super::super::dynamic_group::{DynamicGroup, Join, MatchingRules, MemberFacts, groups_of};
use super::super::request::{Facts, Membership, Principal, Resource};
use super::super::statement::Effect;
use super::{ask, compiled, facts, principal, right};

#[test]
fn an_administrator_of_a_compartment() {
    let text = "Allow group OsmsAdmins to manage osms-family in compartment A";
    let policy = compiled("t", text);
    let admins = Membership::new("g", None, "OsmsAdmins");
    let who = Principal::user("u", "joe", false).in_group(&admins);
    let may = |permission: &str, place: &str| {
        super::decide(&policy, &who, right(permission), &Resource::in_compartment(place), &Facts::default()).is_allowed()
    };
    assert!(may("OSMS_SCHEDULED_JOB_CREATE", "a") && may("OSMS_MANAGED_INSTANCE_INSTALL_PACKAGE", "c"));
    assert!(!may("OSMS_SCHEDULED_JOB_CREATE", "x"), "team A patches compartment A, and nothing else");
    assert!(!may("OSMH_SCHEDULED_JOB_CREATE", "a"), "another family");
    assert!(!ask(&policy, "ann", "OSMS_SCHEDULED_JOB_CREATE", "a", "").is_allowed(), "and nobody else");
}

#[test]
fn what_agents_need() {
    let policy = compiled(
        "t",
        "Allow dynamic-group Insts to use osms-managed-instances in tenancy
         Allow dynamic-group Insts to read instance-family in tenancy
         Allow service osms to read instances in tenancy
         Allow dynamic-group Insts to {INSTANCE_UPDATE} in tenancy
         Allow dynamic-group Insts to use metrics in tenancy where target.metrics.namespace = 'oracle_appmgmt'",
    );
    let rows = [
        ("host", "OSMS_MANAGED_INSTANCE_ACCESS", "", true),
        ("other", "OSMS_MANAGED_INSTANCE_ACCESS", "", false),
        ("host", "OSMS_MANAGED_INSTANCE_GROUP_READ", "", false),
        ("host", "INSTANCE_READ", "", true),
        ("host", "INSTANCE_UPDATE", "", true),
        ("host", "INSTANCE_DELETE", "", false),
        ("osms", "INSTANCE_READ", "", true),
        ("osms", "INSTANCE_UPDATE", "", false),
        ("host", "METRIC_WRITE", "target.metrics.namespace=oracle_appmgmt", true),
        ("host", "METRIC_WRITE", "target.metrics.namespace=other", false),
        ("host", "METRIC_WRITE", "", false),
    ];
    for (who, permission, circumstances, expected) in rows {
        let decision = ask(&policy, who, permission, "b", circumstances);
        assert_eq!(decision.is_allowed(), expected, "{who} {permission} [{circumstances}]: {decision}");
    }
}

#[test]
fn the_others_of_the_vendor() {
    let policy = compiled(
        "t",
        "Allow group Patchers to read osms-software-sources in tenancy
         Allow dynamic-group Insts to use ons-topics in compartment A
         Allow dynamic-group Insts to manage osms-events in compartment A
         Allow group Web to manage osmh-family in tenancy
         Allow dynamic-group Insts to {OSMH_MANAGED_INSTANCE_ACCESS} in tenancy where request.principal.id = target.managed-instance.id
         Allow group 'Partner'/'Patchers' to read osmh-profiles in tenancy where target.profile.compartment.id = 't'
         Allow group 'Partner'/'Patchers' to read osmh-software-sources in tenancy where target.softwareSource.compartment.id = 't'
         Allow group Patchers to manage management-agents in compartment A
         Allow group Patchers to manage management-agent-install-keys in compartment A
         Allow any-user to use osmh-managed-instances in tenancy where request.principal.type = 'osmh-dynamic-sets'",
    );
    let rows = [
        ("ann", "OSMS_SOFTWARE_SOURCE_READ", "t", "", true),
        ("ann", "OSMS_SOFTWARE_SOURCE_UPDATE", "t", "", false),
        ("host", "ONS_TOPIC_PUBLISH", "a", "", true),
        ("host", "ONS_TOPIC_PUBLISH", "x", "", false),
        ("host", "OSMS_EVENT_MANAGE", "b", "", true),
        ("ann", "OSMH_MANAGEMENT_STATION_CREATE", "x", "", true),
        ("robot", "OSMH_MANAGEMENT_STATION_CREATE", "x", "", false),
        ("host", "OSMH_MANAGED_INSTANCE_ACCESS", "b", "target.managed-instance.id=i-1", true),
        ("host", "OSMH_MANAGED_INSTANCE_ACCESS", "b", "target.managed-instance.id=i-2", false),
        ("ann", "OSMH_MANAGED_INSTANCE_ACCESS", "b", "target.managed-instance.id=u-ann", false),
        ("bob", "OSMH_PROFILE_INSPECT", "t", "target.profile.compartment.id=t", true),
        ("bob", "OSMH_PROFILE_INSPECT", "a", "target.profile.compartment.id=a", false),
        ("bob", "OSMH_PROFILE_READ", "t", "", false),
        ("bob", "OSMH_SOFTWARE_SOURCE_INSPECT", "t", "target.softwareSource.compartment.id=t", true),
        ("ann", "MGMT_AGENT_CREATE", "c", "", true),
        ("ann", "MGMT_AGENT_INSTALL_KEY_CREATE", "t", "", false),
        ("set", "OSMH_MANAGED_INSTANCE_INSTALL_UPDATE", "x", "", true),
        ("eve", "OSMH_MANAGED_INSTANCE_INSTALL_UPDATE", "x", "", false),
    ];
    for (who, permission, place, circumstances, expected) in rows {
        let decision = ask(&policy, who, permission, place, circumstances);
        assert_eq!(decision.is_allowed(), expected, "{who} {permission} {place} [{circumstances}]: {decision}");
    }
}

#[test]
fn dynamic_groups_from_facts() {
    let rules = "ALL {instance.compartment.id = 'b', tag.ops.tier.value = 'web'}";
    let group = DynamicGroup {
        membership: Membership::new("dg-9", None, "WebHosts"),
        rules: MatchingRules::parse(rules, Join::Any).expect("valid"),
    };
    let policy = compiled("t", "allow dynamic-group webhosts to read drydock-software-sources in compartment A");
    let groups = [group];
    let may = |facts: MemberFacts| {
        let of = groups_of(&groups, &facts);
        let who = of.into_iter().fold(Principal::instance("i-5", "h5"), |who, group| who.in_dynamic_group(group));
        let resource = Resource::in_compartment("a");
        super::decide(&policy, &who, right("DRYDOCK_SOFTWARE_SOURCE_READ"), &resource, &Facts::default()).is_allowed()
    };
    assert!(may(MemberFacts::instance("i-5", "b").tag("ops", "tier", "web")));
    assert!(!may(MemberFacts::instance("i-5", "b").tag("ops", "tier", "db")));
    assert!(!may(MemberFacts::instance("i-5", "c").tag("ops", "tier", "web")), "a compartment inside is another one");
}

#[test]
fn decisions_name_their_statement_and_explain_themselves() {
    let policy = compiled(
        "t",
        "allow group Patchers to use drydock-instances in compartment A:B where request.region = 'eu'
allow group Nobody to manage drydock-instances in tenancy

deny group Web to {DRYDOCK_INSTANCE_PATCH} in compartment A where all {
    request.region = 'eu', request.user.mfaTotpVerified = 'false'}",
    );
    let decision = ask(&policy, "ann", "DRYDOCK_INSTANCE_PATCH", "b", "request.region=eu");
    let Decision::Allow { by } = decision else { panic!("{decision}") };
    assert_eq!((by.policy.as_str(), by.line), ("p", 1));
    let (who, resource) = (principal("ann"), Resource::in_compartment("b"));
    let told = |circumstances: &str| {
        let found = explain(&policy, &who, right("DRYDOCK_INSTANCE_PATCH"), &resource, &facts(circumstances));
        let bearings: Vec<(usize, Bearing)> = found.considered.into_iter().map(|(p, b)| (p.line, b)).collect();
        (found.decision.is_allowed(), bearings)
    };
    let second = "request.user.mfaTotpVerified = 'false': it is 'true'".to_owned();
    assert_eq!(
        told("request.region=eu"),
        (true, vec![(1, Bearing::Holds), (4, Bearing::ConditionFalse(second)), (2, Bearing::Others)])
    );
    let (is, none) =
        ("request.region = 'eu': it is 'us'".to_owned(), "request.region = 'eu': request.region does not apply to this request");
    let (allowed, bearings) = told("request.region=us");
    assert!(!allowed && bearings[0] == (1, Bearing::ConditionFalse(is)), "{bearings:?}");
    let (allowed, bearings) = told("");
    assert!(!allowed && bearings[0] == (1, Bearing::ConditionFalse(none.to_owned())), "{bearings:?}");
    let elsewhere =
        explain(&policy, &who, right("DRYDOCK_INSTANCE_PATCH"), &Resource::in_compartment("x"), &facts("request.region=eu"));
    assert!(elsewhere.considered.iter().any(|(p, b)| p.line == 1 && *b == Bearing::Elsewhere("A:B".into())));
    let denied =
        compiled("t", "allow any-user to manage all-resources in tenancy\ndeny group Web to read drydock-instances in tenancy");
    let decision = ask(&denied, "ann", "DRYDOCK_INSTANCE_READ", "b", "");
    assert!(matches!(decision, Decision::Deny { why: Why::Denied(by) } if by.line == 2), "{decision}");
    assert_eq!(decision.to_string(), "denied by policy p, line 2: deny group Web to read drydock-instances in tenancy");
    assert_eq!(ask(&denied, "ann", "DRYDOCK_INSTANCE_READ", "no", "").to_string(), "denied: there is no such compartment");
}

#[test]
fn who_can_lists_statements_and_people() {
    let policy = compiled(
        "t",
        "allow group Patchers to use drydock-instances in compartment A
         allow any-user to read drydock-instances in tenancy where request.region = 'eu'
         deny group Web to use drydock-instances in compartment A
         allow group Patchers to manage drydock-instances in compartment X",
    );
    let resource = Resource::in_compartment("b");
    let holders: Vec<(usize, bool, bool)> = who_can(&policy, right("DRYDOCK_INSTANCE_READ"), &resource)
        .into_iter()
        .map(|h| (h.placed.line, h.effect == Effect::Deny, h.conditional))
        .collect();
    assert_eq!(holders, [(3, true, false), (1, false, false), (2, false, true)]);
    let people = ["ann", "bob", "eve", "robot"].map(principal);
    let who = who_of(&policy, &people, right("DRYDOCK_INSTANCE_READ"), &resource, &facts(""));
    assert_eq!(who.iter().map(|(p, by)| (p.name(), by.line)).collect::<Vec<_>>(), [("robot", 1)]);
    let who = who_of(&policy, &people, right("DRYDOCK_INSTANCE_READ"), &resource, &facts("request.region=eu"));
    assert_eq!(who.iter().map(|(p, _)| p.name()).collect::<Vec<_>>(), ["bob", "eve", "robot"]);
}

#[test]
fn several_permissions_are_all_needed() {
    let policy = compiled("t", "allow any-user to {DRYDOCK_PATCH_JOB_CREATE} in tenancy");
    let rights = ["DRYDOCK_PATCH_JOB_CREATE", "DRYDOCK_INSTANCE_PATCH"].map(right);
    let (who, resource) = (principal("eve"), Resource::in_compartment("a"));
    assert!(decide_all(&policy, &who, &rights[..1], &resource, &facts("")).is_allowed());
    assert!(!decide_all(&policy, &who, &rights, &resource, &facts("")).is_allowed());
    assert!(!decide_all(&policy, &who, &[], &resource, &facts("")).is_allowed(), "nothing asked is nothing allowed");
}

#[test]
fn facts_that_cannot_be_given() {
    let bad = |name: &str| Facts::default().with(name, "x").expect_err("refused").to_string();
    assert!(bad("request.user.id").contains("follows from who asks"));
    assert!(bad("request.utc-timestamp").contains("follows from who asks"));
    assert!(bad("request.regoin").contains("did you mean request.region?"));
    assert!(bad("target.resource.tag.x").contains("no variable"));
}
