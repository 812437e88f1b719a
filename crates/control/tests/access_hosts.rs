//! Two teams and the hosts of their compartments, one compartment inside another: each sees and changes exactly its own,
//! through every operation about hosts, groups, enrolment, advisories and exceptions. An operation that is not in the table
//! here fails the first test.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use common::alma::{osv, report};
use common::*;
use drydock_control::records::{InstanceQuery, PageQuery};
use drydock_control::store::access_policies::{self, AccessPolicyRecord};
use drydock_control::store::{Location, Store, commit};
use drydock_control::{
    Account, AdvisoryQuery, AttachTarget, Control, ErrorKind, GroupEdit, HoldingQuery, ImportAsk, InstanceEdit, OpCtx, Principal,
    SourcesChange, VulnerabilityQuery,
};
use drydock_domain::access::Role;
use drydock_domain::access::operations::OPERATIONS;
use drydock_domain::access::request::{self, Membership};
use drydock_domain::advisory::exception::{ExceptionEdit, ExceptionSpec, ScopeSpec};
use drydock_domain::advisory::sla::Sla;
use drydock_domain::enrolment::ProfileSpec;
use drydock_domain::group::GroupSpec;
use drydock_domain::ids::{AccessPolicyId, AccessTokenId, ProfileId};
use drydock_domain::source::host::SourcesMode;
use jiff::SignedDuration;

const CVE: &str = "CVE-2026-0001";
const ADVISORY: &str = "ALSA-2026:0001";

/// Every host: its name and its compartment.
const HOSTS: [(&str, &str); 4] = [("alpha", "/A"), ("webby", "/A/web"), ("bravo", "/B"), ("rooty", "/")];

/// Who may see which hosts.
const SEES: [(&str, &[&str]); 5] = [
    ("TeamA", &["alpha", "webby"]),
    ("TeamWeb", &["webby"]),
    ("TeamB", &["bravo"]),
    // Everything but what is denied.
    ("AllButB", &["alpha", "webby", "rooty"]),
    ("Administrators", &["alpha", "webby", "bravo", "rooty"]),
];

const STATEMENTS: &str = "allow group TeamA to manage drydock-family in compartment A
allow group TeamWeb to manage drydock-family in compartment A:web
allow group TeamB to manage drydock-family in compartment B
allow group AllButB to manage drydock-family in tenancy
deny group AllButB to manage drydock-family in compartment B";

struct Scene {
    w: World,
    /// Name of the compartment's last part → id of its profile, its group, its exception.
    profiles: Vec<(String, String)>,
    exceptions: Vec<(String, String)>,
}

/// Somebody in one group.
fn member(w: &World, group: &str) -> OpCtx {
    let id = AccessTokenId(uuid::Uuid::new_v4());
    let mut own = Account::of_token(id, &format!("ann of {group}"), Role::Viewer);
    let membership = Membership::new(&group.to_lowercase(), None, group);
    own.subject = request::Principal::user(&id.to_string(), "ann", true).in_group(&membership);
    w.tick();
    w.control.ctx(Principal::Account(Arc::new(own)), "req-1")
}

async fn scene() -> Scene {
    let w = World::new().await;
    let server = w.server();
    for (parent, name) in [("/", "A"), ("/A", "web"), ("/", "B")] {
        w.control.create_compartment(&server, parent, name, "").await.expect("made");
    }
    let store = Store::open(&Location::Sqlite(w.dir.path().join("drydock.sqlite"))).await.expect("a store");
    let mut tx = store.begin().await.expect("begins");
    let policy = AccessPolicyRecord {
        id: AccessPolicyId(uuid::Uuid::new_v4()),
        name: "teams".into(),
        compartment: "/".into(),
        description: String::new(),
        statements: STATEMENTS.into(),
        created_by: "test".into(),
        created_at: w.control.now(),
        updated_at: w.control.now(),
        version: 1,
    };
    access_policies::insert(&mut tx, &policy).await.expect("stored");
    commit(tx).await.expect("committed");
    let (mut profiles, mut exceptions) = (Vec::new(), Vec::new());
    for (n, (name, compartment)) in HOSTS.into_iter().enumerate() {
        let spec = ProfileSpec { compartment: compartment.into(), ..auto_accept() };
        let (profile, token) = w.control.create_profile(&server, spec).await.expect("a profile");
        profiles.push((name.to_owned(), profile.id.to_string()));
        let ask = ask(&token, name, &format!("m{n}"));
        let key = ask.spki_sha256.clone();
        let enrolled = w.control.enrol("req", ask).await.expect("enrolled");
        let host = Host { id: enrolled.instance, name: enrolled.name, key };
        report(&w, &host, &[("bash", "4.4.20-4.el8")]).await;
        let group = GroupSpec {
            name: format!("g-{name}"),
            description: String::new(),
            environment: None,
            compartment: Some(compartment.into()),
        };
        w.control.create_group(&server, group).await.expect("a group");
        w.control.add_members(&server, &format!("g-{name}"), &[name.to_owned()]).await.expect("a member");
        let spec = ExceptionSpec {
            cve: format!("CVE-2026-100{n}"),
            scope: ScopeSpec::All {},
            owner: String::new(),
            reason: name.to_owned(),
            until: w.control.now() + SignedDuration::from_hours(24),
            compartment: Some(compartment.into()),
        };
        exceptions.push((name.to_owned(), w.control.create_exception(&server, spec).await.expect("made").id.to_string()));
    }
    w.import("alma8", &osv(ADVISORY, "Critical", "bash", "0:4.4.20-5.el8", CVE)).await;
    Scene { w, profiles, exceptions }
}

type Done<'a> = Pin<Box<dyn Future<Output = drydock_control::Result<String>> + 'a>>;
type On = for<'a> fn(&'a Control, &'a OpCtx, &'a str) -> Done<'a>;
type All = for<'a> fn(&'a Control, &'a OpCtx) -> Done<'a>;

/// What an operation is about, and how it is asked for. Of what lies somewhere, the name or id is given.
enum Case {
    /// One host.
    Host(On),
    /// One group.
    Group(On),
    /// One profile.
    Profile(On),
    /// One exception.
    Exception(On),
    /// Makes something in the compartment with this path.
    Within(On),
    /// A list or a count: what is told of hosts, by name, or how many they are.
    Names(All),
    Count(All),
    /// Of the tenancy: these teams may not, administrators may.
    Tenancy(All),
    /// Public knowledge: whoever may somewhere.
    Anywhere(All),
    /// Asked in the test of this name.
    Elsewhere(&'static str),
}

fn said<T: std::fmt::Debug>(result: drydock_control::Result<T>) -> drydock_control::Result<String> {
    result.map(|value| format!("{value:?}"))
}

macro_rules! on {
    (|$c:ident, $who:ident, $name:ident| $asked:expr) => {{
        fn ask<'a>($c: &'a Control, $who: &'a OpCtx, $name: &'a str) -> Done<'a> {
            Box::pin(async move { said($asked.await) })
        }
        ask
    }};
}

macro_rules! all {
    (|$c:ident, $who:ident| $asked:expr) => {{
        fn ask<'a>($c: &'a Control, $who: &'a OpCtx) -> Done<'a> {
            Box::pin(async move { said($asked.await) })
        }
        ask
    }};
}

/// The answer to `asked` as a text in which names stand alone.
macro_rules! told {
    (|$c:ident, $who:ident| $asked:expr, $text:expr) => {{
        fn ask<'a>($c: &'a Control, $who: &'a OpCtx) -> Done<'a> {
            Box::pin(async move { $asked.await.map($text) })
        }
        ask
    }};
}

fn page() -> PageQuery {
    PageQuery { cursor: None, limit: Some(1000) }
}

fn named(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(" ")
}

fn exception_in(who: &OpCtx, compartment: &str) -> ExceptionSpec {
    ExceptionSpec {
        cve: "CVE-2026-7777".into(),
        scope: ScopeSpec::All {},
        owner: String::new(),
        reason: "r".into(),
        until: who.now + SignedDuration::from_hours(24),
        compartment: Some(compartment.into()),
    }
}

fn profile_id(text: &str) -> ProfileId {
    text.parse().expect("an id")
}

fn instances() -> Vec<(&'static str, Case)> {
    use Case::*;
    vec![
        (
            "instance.list",
            Names(told!(|c, who| c.list_instances(who, &InstanceQuery::default()), |p| named(
                p.items.into_iter().map(|i| i.record.name)
            ))),
        ),
        ("instance.show", Host(on!(|c, who, name| c.get_instance(who, name)))),
        ("instance.packages", Host(on!(|c, who, name| c.instance_packages(who, name, "")))),
        ("instance.updates", Host(on!(|c, who, name| c.instance_updates(who, name)))),
        ("instance.history", Host(on!(|c, who, name| c.instance_history(who, name, &page())))),
        ("instance.modules", Host(on!(|c, who, name| c.instance_modules(who, name)))),
        ("instance.rules", Elsewhere("the_rest_is_not_there_either")),
        ("instance.sbom", Host(on!(|c, who, name| c.instance_sbom(who, name)))),
        ("instance.vex", Host(on!(|c, who, name| c.instance_vex(who, name)))),
        ("instance.sources-show", Host(on!(|c, who, name| c.instance_sources(who, name)))),
        ("instance.tasks", Host(on!(|c, who, name| c.instance_tasks(who, name, &page())))),
        ("instance.advisories", Host(on!(|c, who, name| c.instance_advisories(who, name)))),
        ("instance.vulnerabilities", Host(on!(|c, who, name| c.instance_vulnerabilities(who, name, true)))),
        ("instance.match", Elsewhere("the_rest_is_not_there_either")),
        (
            "instance.edit",
            Host(on!(|c, who, name| {
                c.edit_instance(who, name, InstanceEdit { labels: None, zone: Some("z2".into()) }, None)
            })),
        ),
        (
            "instance.sources",
            Host(on!(|c, who, name| {
                let wanted =
                    SourcesChange { attach: vec![], detach: vec![], mode: Some(SourcesMode::Additive), environment: None };
                async move { c.change_instance_sources(who, name, &wanted).await }
            })),
        ),
        // They are ACTIVE: who may is told that they cannot be accepted.
        ("instance.accept", Host(on!(|c, who, name| c.accept_instance(who, name)))),
        ("instance.reject", Host(on!(|c, who, name| c.reject_instance(who, name, "")))),
        ("instance.move", Elsewhere("a_move_needs_both_ends")),
        ("instance.revoke", Host(on!(|c, who, name| c.revoke_instance(who, name)))),
        ("instance.delete", Host(on!(|c, who, name| c.delete_instance(who, name)))),
        ("overview.show", Count(told!(|c, who| c.overview(who), |n| n.instances.values().sum::<u64>().to_string()))),
        (
            "package.list",
            Count(told!(|c, who| c.list_packages(who, "bash", None, &page()), |p| {
                p.items.first().map_or(0, |row| row.hosts).to_string()
            })),
        ),
        (
            "package.who-had",
            Names(told!(
                |c, who| {
                    let query = HoldingQuery { page: page(), ..HoldingQuery::default() };
                    async move { c.who_had(who, "bash", &query).await }
                },
                |p| named(p.items.into_iter().map(|row| row.host))
            )),
        ),
    ]
}

fn groups_and_profiles() -> Vec<(&'static str, Case)> {
    use Case::*;
    vec![
        (
            "group.list",
            Names(told!(|c, who| c.list_groups(who), |all| named(all.into_iter().map(|g| g.spec.name.replace("g-", ""))))),
        ),
        ("group.show", Group(on!(|c, who, name| c.get_group(who, name)))),
        ("group.members", Group(on!(|c, who, name| c.group_members(who, name, &page())))),
        (
            "group.edit",
            Group(on!(|c, who, name| {
                let edit = GroupEdit { description: Some("d".into()), environment: None };
                async move { c.edit_group(who, name, &edit).await }
            })),
        ),
        (
            "group.sources",
            Group(on!(|c, who, name| {
                let target = AttachTarget::Group(name.to_owned());
                async move { c.change_attachments(who, &target, &[], &[]).await }
            })),
        ),
        (
            "group.create",
            Within(on!(|c, who, path| {
                let name = format!("made-in{}", path.to_lowercase().replace('/', "-"));
                let compartment = Some(path.to_owned());
                c.create_group(who, GroupSpec { name, description: String::new(), environment: None, compartment })
            })),
        ),
        ("group.move", Elsewhere("a_move_needs_both_ends")),
        ("group.delete", Group(on!(|c, who, name| c.delete_group(who, name)))),
        ("enrolment-profile.list", Count(told!(|c, who| c.list_profiles(who, &page()), |p| p.items.len().to_string()))),
        ("enrolment-profile.show", Profile(on!(|c, who, id| c.get_profile(who, profile_id(id))))),
        ("enrolment-profile.create", Elsewhere("a_profile_puts_hosts_where_its_maker_may")),
        ("enrolment-profile.move", Elsewhere("a_move_needs_both_ends")),
        ("enrolment-profile.revoke", Profile(on!(|c, who, id| c.revoke_profile(who, profile_id(id))))),
    ]
}

fn advisories() -> Vec<(&'static str, Case)> {
    use Case::*;
    vec![
        (
            "advisory.list",
            Count(told!(
                |c, who| {
                    let query = AdvisoryQuery::default();
                    async move { c.list_advisories(who, &query, &page()).await }
                },
                |p| p.items[0].applicable.to_string()
            )),
        ),
        (
            "advisory.export",
            Count(told!(
                |c, who| {
                    let query = AdvisoryQuery::default();
                    async move { c.export_advisories(who, &query).await }
                },
                |all| all[0].applicable.to_string()
            )),
        ),
        ("advisory.show", Count(told!(|c, who| c.get_advisory(who, ADVISORY), |a| a.applicable.to_string()))),
        (
            "advisory.instances",
            Names(told!(|c, who| c.advisory_instances(who, ADVISORY, &page()), |p| named(p.items.into_iter().map(|i| i.name)))),
        ),
        ("advisory-feed.list", Anywhere(all!(|c, who| c.list_feeds(who)))),
        ("advisory-feed.show", Anywhere(all!(|c, who| c.get_feed(who, "alma8")))),
        (
            "advisory-feed.import",
            Tenancy(all!(|c, who| {
                let ask = ImportAsk::default();
                async move { c.import_feed(who, "mine", &ask, std::path::Path::new("/nonexistent")).await.map(drop) }
            })),
        ),
        (
            "vulnerability.list",
            Count(told!(
                |c, who| {
                    let query = VulnerabilityQuery::default();
                    async move { c.list_vulnerabilities(who, &query, &page()).await }
                },
                |p| p.items[0].hosts.to_string()
            )),
        ),
        (
            "vulnerability.export",
            Count(told!(
                |c, who| {
                    let query = VulnerabilityQuery::default();
                    async move { c.export_vulnerabilities(who, &query).await }
                },
                |all| all[0].hosts.to_string()
            )),
        ),
        ("vulnerability.show", Count(told!(|c, who| c.get_vulnerability(who, CVE), |v| v.summary.hosts.to_string()))),
        (
            "vulnerability.instances",
            Names(told!(|c, who| c.vulnerability_instances(who, CVE, true, &page()), |p| named(
                p.items.into_iter().map(|i| i.name)
            ))),
        ),
        ("fleet.security", Count(told!(|c, who| c.fleet_security(who), |n| n.hosts.to_string()))),
    ]
}

fn exceptions() -> Vec<(&'static str, Case)> {
    use Case::*;
    vec![
        ("sla.show", Anywhere(all!(|c, who| c.vulnerability_sla(who)))),
        ("sla.set", Tenancy(all!(|c, who| c.set_vulnerability_sla(who, Sla::default())))),
        ("exception.list", Names(told!(|c, who| c.list_exceptions(who), |all| named(all.into_iter().map(|e| e.reason))))),
        ("exception.show", Exception(on!(|c, who, id| c.get_exception(who, id)))),
        ("exception.create", Within(on!(|c, who, path| c.create_exception(who, exception_in(who, path))))),
        (
            "exception.edit",
            Exception(on!(|c, who, id| {
                c.edit_exception(who, id, ExceptionEdit { owner: Some("o".into()), ..ExceptionEdit::default() })
            })),
        ),
        ("exception.delete", Exception(on!(|c, who, id| c.delete_exception(who, id)))),
        ("advisory-feed.delete", Tenancy(all!(|c, who| c.delete_feed(who, "alma8")))),
    ]
}

fn table() -> Vec<(&'static str, Case)> {
    instances().into_iter().chain(groups_and_profiles()).chain(advisories()).chain(exceptions()).collect()
}

#[test]
fn every_operation_about_hosts_is_asked() {
    let nouns = ["instance", "overview", "package", "group", "enrolment-profile", "advisory", "advisory-feed", "vulnerability"];
    let more = ["fleet", "sla", "exception"];
    let ours = |name: &str| {
        let noun = name.split('.').next().unwrap_or_default();
        nouns.contains(&noun) || more.contains(&noun)
    };
    let there: BTreeSet<&str> = OPERATIONS.iter().map(|o| o.name).filter(|name| ours(name)).collect();
    let asked: BTreeSet<&str> = table().into_iter().map(|(name, _)| name).collect();
    assert_eq!(there, asked);
}

/// Asks for each of `things` (host name → its name or id) and checks who is let through.
async fn each(w: &World, operation: &str, noun: &str, ask: On, things: &[(String, String)]) {
    let unknown = if noun == "enrolment profile" { uuid::Uuid::new_v4().to_string() } else { "nope".to_owned() };
    for (team, sees) in SEES {
        for (host, thing) in things {
            let who = member(w, team);
            let answer = ask(&w.control, &who, thing).await;
            if sees.contains(&host.as_str()) {
                if let Err(refused) = answer {
                    let kind = refused.kind();
                    let denied = matches!(kind, ErrorKind::Forbidden | ErrorKind::NotFound);
                    assert!(!denied, "{operation} of {host} by {team}: {refused}");
                }
                continue;
            }
            let refused = answer.expect_err(&format!("{operation} of {host} by {team}"));
            let none = ask(&w.control, &who, &unknown).await.expect_err("there is none");
            assert_eq!((refused.kind(), none.kind()), (ErrorKind::NotFound, ErrorKind::NotFound), "{operation} by {team}");
            assert_eq!(refused.to_string(), none.to_string().replace(&unknown, thing), "{operation} by {team}");
            assert_eq!(refused.to_string(), format!("there is no {noun} {thing}"), "{operation} by {team}");
        }
    }
}

/// Asks for something new in each compartment.
async fn within(s: &Scene, operation: &str, ask: On) {
    let places = HOSTS.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect::<Vec<_>>();
    for (team, sees) in SEES {
        for (host, path) in &places {
            let answer = ask(&s.w.control, &member(&s.w, team), path).await;
            let kind = answer.as_ref().err().map(drydock_control::Error::kind);
            let denied = matches!(kind, Some(ErrorKind::Forbidden | ErrorKind::NotFound));
            assert_eq!(denied, !sees.contains(&host.as_str()), "{operation} in {path} by {team}: {answer:?}");
        }
    }
}

async fn asked(s: &Scene, operation: &'static str, case: Case) {
    let own = |prefix: &str| HOSTS.iter().map(|(name, _)| ((*name).to_owned(), format!("{prefix}{name}"))).collect::<Vec<_>>();
    match case {
        Case::Host(ask) => each(&s.w, operation, "instance", ask, &own("")).await,
        Case::Group(ask) => each(&s.w, operation, "group", ask, &own("g-")).await,
        Case::Profile(ask) => each(&s.w, operation, "enrolment profile", ask, &s.profiles).await,
        Case::Exception(ask) => each(&s.w, operation, "exception", ask, &s.exceptions).await,
        Case::Within(ask) => within(s, operation, ask).await,
        Case::Names(ask) => {
            for (team, sees) in SEES {
                let told = ask(&s.w.control, &member(&s.w, team)).await.expect(operation);
                let told: BTreeSet<&str> = told.split_whitespace().collect();
                assert_eq!(told, sees.iter().copied().collect(), "{operation} by {team}");
            }
        }
        Case::Count(ask) => {
            for (team, sees) in SEES {
                let told = ask(&s.w.control, &member(&s.w, team)).await.expect(operation);
                assert_eq!(told, sees.len().to_string(), "{operation} by {team}");
            }
        }
        Case::Tenancy(ask) => {
            for team in ["TeamA", "TeamWeb", "TeamB"] {
                let refused = ask(&s.w.control, &member(&s.w, team)).await.expect_err(operation);
                assert_eq!(refused.kind(), ErrorKind::Forbidden, "{operation} by {team}: {refused}");
            }
            let answer = ask(&s.w.control, &member(&s.w, "Administrators")).await;
            assert!(answer.as_ref().err().is_none_or(|e| e.kind() != ErrorKind::Forbidden), "{operation}: {answer:?}");
        }
        Case::Anywhere(ask) => {
            for (team, _) in SEES {
                ask(&s.w.control, &member(&s.w, team)).await.unwrap_or_else(|e| panic!("{operation} by {team}: {e}"));
            }
            let stranger = ask(&s.w.control, &member(&s.w, "Strangers")).await.expect_err(operation);
            assert_eq!(stranger.kind(), ErrorKind::Forbidden, "{operation}");
        }
        Case::Elsewhere(test) => assert!(include_str!("access_hosts.rs").contains(&format!("async fn {test}")), "{test}"),
    }
}

#[tokio::test]
async fn each_team_sees_and_changes_its_own() {
    let s = scene().await;
    for (operation, case) in table() {
        // These leave nothing for the others.
        let last = operation.ends_with(".delete") || operation.ends_with(".revoke");
        if !last {
            asked(&s, operation, case).await;
        }
    }
    for operation in ["enrolment-profile.revoke", "group.delete", "exception.delete", "instance.revoke", "instance.delete"] {
        let (_, case) = table().into_iter().find(|(name, _)| *name == operation).expect("in the table");
        ends(&s, operation, case).await;
    }
}

/// What ends something: first by those who may not, to whom nothing is there; afterwards all of it is there still.
async fn ends(s: &Scene, operation: &'static str, case: Case) {
    let own = |prefix: &str| HOSTS.iter().map(|(name, _)| ((*name).to_owned(), format!("{prefix}{name}"))).collect::<Vec<_>>();
    let (ask, noun, things) = match case {
        Case::Host(ask) => (ask, "instance", own("")),
        Case::Group(ask) => (ask, "group", own("g-")),
        Case::Profile(ask) => (ask, "enrolment profile", s.profiles.clone()),
        Case::Exception(ask) => (ask, "exception", s.exceptions.clone()),
        _ => unreachable!("they are about one thing"),
    };
    for (team, sees) in SEES {
        for (host, thing) in things.iter().filter(|(host, _)| !sees.contains(&host.as_str())) {
            let refused = ask(&s.w.control, &member(&s.w, team), thing).await.expect_err(host);
            assert_eq!(refused.to_string(), format!("there is no {noun} {thing}"), "{operation} by {team}");
        }
    }
    for (host, team) in [("webby", "TeamWeb"), ("alpha", "TeamA"), ("bravo", "TeamB"), ("rooty", "AllButB")] {
        let (_, thing) = things.iter().find(|(own, _)| own == host).expect("there");
        match ask(&s.w.control, &member(&s.w, team), thing).await {
            Ok(_) => {}
            // A group with a member cannot go.
            Err(e) => assert_eq!((e.kind(), operation), (ErrorKind::Conflict, "group.delete"), "{e}"),
        }
    }
}

#[tokio::test]
async fn whoever_may_look_and_not_change_is_told_what_is_missing() {
    let s = scene().await;
    let viewer = s.w.person(Role::Viewer).await;
    let refused = s.w.control.delete_instance(&viewer, "bravo").await.expect_err("not a viewer");
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert!(refused.to_string().contains("DRYDOCK_INSTANCE_DELETE") && refused.to_string().contains("/B"), "{refused}");
    let audit = s.w.audit().await;
    assert!(audit.iter().any(|a| a.operation == "instance.delete" && a.outcome == "denied" && a.resource == "instance bravo"));
    s.w.control.get_instance(&viewer, "bravo").await.expect("viewers see all");
}

#[tokio::test]
async fn lists_are_narrowed_by_compartment_and_by_filter() {
    let s = scene().await;
    let c = &s.w.control;
    let names = async |team: &str, compartment: Option<&str>, filter: Option<&str>| {
        let query = InstanceQuery { compartment: compartment.map(str::to_owned), ..InstanceQuery::default() };
        let who = member(&s.w, team);
        let found = match filter {
            Some(filter) => c.search_instances(&who, &query, filter).await,
            None => c.list_instances(&who, &query).await,
        };
        found.map(|p| named(p.items.into_iter().map(|i| i.record.name)))
    };
    assert_eq!(names("Administrators", Some("/A"), None).await.expect("listed"), "alpha webby");
    assert_eq!(names("Administrators", Some("/a/WEB"), None).await.expect("listed"), "webby");
    assert_eq!(names("TeamWeb", Some("/A"), None).await.expect("listed"), "webby", "below it is something he may see");
    assert_eq!(names("TeamA", None, Some("compartment = \"/A*\"")).await.expect("listed"), "alpha webby");
    assert_eq!(names("TeamA", None, Some("compartment = /A")).await.expect("listed"), "alpha");
    assert_eq!(names("TeamA", None, Some("compartment = /B or package bash")).await.expect("listed"), "alpha webby");
    assert_eq!(names("AllButB", Some("/"), Some("name = *")).await.expect("listed"), "alpha rooty webby");
    let hidden = names("TeamA", Some("/B"), None).await.expect_err("not for him").to_string();
    let none = names("TeamA", Some("/C"), None).await.expect_err("not there").to_string();
    assert_eq!((hidden.as_str(), none.as_str()), ("there is no compartment /B", "there is no compartment /C"));
    // Pages go on where they ended, over what may be seen.
    let who = member(&s.w, "AllButB");
    let mut query = InstanceQuery { page: PageQuery { cursor: None, limit: Some(1) }, ..InstanceQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = c.list_instances(&who, &query).await.expect("listed");
        seen.extend(page.items.into_iter().map(|i| i.record.name));
        let Some(next) = page.next_cursor else { break };
        query.page.cursor = Some(next);
    }
    assert_eq!(seen, ["alpha", "rooty", "webby"]);
}

#[tokio::test]
async fn a_group_takes_hosts_of_its_compartment_that_its_editor_may_edit() {
    let s = scene().await;
    let c = &s.w.control;
    let (team, admin) = (member(&s.w, "TeamA"), s.w.server());
    for name in ["alpha", "webby", "bravo"] {
        c.remove_members(&admin, &format!("g-{name}"), &[name.to_owned()]).await.expect("out");
    }
    let add = async |who: &OpCtx, group: &str, host: &str| {
        c.add_members(who, group, &[host.to_owned()]).await.map(|g| g.instances).map_err(|e| e.to_string())
    };
    assert_eq!(add(&team, "g-alpha", "bravo").await, Err("there is no instance bravo".to_owned()));
    assert_eq!(add(&team, "g-alpha", "nope").await, Err("there is no instance nope".to_owned()));
    let above = add(&team, "g-webby", "alpha").await.expect_err("it lies above");
    assert!(above.contains("alpha lies in /A, and the group g-webby takes hosts in /A/web and below"), "{above}");
    assert_eq!(add(&team, "g-alpha", "webby").await, Ok(1), "below is inside");
    assert_eq!(add(&team, "g-alpha", "alpha").await, Ok(2));
    // Who may see the group and not all of its hosts counts those he sees.
    let text = "allow group Halfway to read drydock-groups in tenancy\n\
                allow group Halfway to read drydock-instances in compartment A:web";
    c.create_access_policy(&admin, "half", "/", "", text).await.expect_err("nobody made the group");
    let filter = c.add_matching(&team, "g-alpha", "name = *", true).await.expect("matched");
    assert_eq!((filter.there, filter.added_total, filter.left_out_total), (2, 0, 0), "bravo and rooty are nobody's business");
    let web = member(&s.w, "TeamWeb");
    let refused = c.remove_members(&web, "g-alpha", &["webby".to_owned()]).await.expect_err("the group is above");
    assert_eq!(refused.to_string(), "there is no group g-alpha");
}

#[tokio::test]
async fn a_profile_puts_hosts_where_its_maker_may() {
    let s = scene().await;
    let c = &s.w.control;
    let team = member(&s.w, "TeamA");
    let spec = |path: &str| ProfileSpec { compartment: path.into(), ..auto_accept() };
    for (path, why) in [("/B", "there is no compartment /B"), ("/C", "there is no compartment /C")] {
        assert_eq!(c.create_profile(&team, spec(path)).await.expect_err("not there").to_string(), why);
    }
    assert_eq!(c.create_profile(&team, spec("/")).await.map(drop).expect_err("above").kind(), ErrorKind::NotFound);
    c.create_compartment(&s.w.server(), "/A", "db", "").await.expect("made");
    let (profile, token) = c.create_profile(&team, spec("/a/DB/")).await.expect("made");
    assert_eq!(profile.spec.compartment, "/A/db", "as it is written");
    let enrolled = c.enrol("req", ask(&token, "fresh", "m9")).await.expect("enrolled");
    let shown = c.get_instance(&team, &enrolled.instance.to_string()).await.expect("his");
    assert_eq!(shown.record.compartment, "/A/db");
    // The profile goes where its compartment goes.
    let renamed = drydock_control::CompartmentEdit { name: Some("www".into()), ..Default::default() };
    c.edit_compartment(&s.w.server(), "/A/db", &renamed, None).await.expect("renamed");
    assert_eq!(c.get_profile(&team, profile.id).await.expect("his").spec.compartment, "/A/www");
    let enrolled = c.enrol("req", ask(&token, "later", "m10")).await.expect("enrolled");
    assert_eq!(c.get_instance(&team, &enrolled.name).await.expect("his").record.compartment, "/A/www");
}

#[tokio::test]
async fn a_move_needs_both_ends() {
    let s = scene().await;
    let c = &s.w.control;
    let (team, admin) = (member(&s.w, "TeamA"), s.w.server());
    let there = async |name: &str| c.get_instance(&s.w.server(), name).await.expect("there").record.compartment;
    assert_eq!(c.move_instance(&team, "bravo", "/A").await.expect_err("unseen").to_string(), "there is no instance bravo");
    assert_eq!(c.move_instance(&team, "alpha", "/B").await.expect_err("unseen").to_string(), "there is no compartment /B");
    assert_eq!(c.move_instance(&team, "alpha", "/C").await.expect_err("none").to_string(), "there is no compartment /C");
    let held = c.move_instance(&team, "webby", "/A").await.expect_err("its group stays").to_string();
    assert!(held.contains("webby is in the group g-webby, which reaches hosts in /A/web and below"), "{held}");
    assert_eq!(there("webby").await, "/A/web", "nothing of it was done");
    let held = c.move_group(&admin, "g-webby", "/B").await.expect_err("its member stays").to_string();
    assert!(held.contains("members of the group g-webby do not lie in /B or below, webby"), "{held}");
    c.move_group(&team, "g-webby", "/A").await.expect("above its members");
    let before = c.get_instance(&team, "webby").await.expect("there").etag();
    let moved = c.move_instance(&team, "webby", "/A").await.expect("moved");
    assert_eq!(moved.record.compartment, "/A");
    assert_ne!(moved.etag(), before);
    let gone = c.get_instance(&member(&s.w, "TeamWeb"), "webby").await.expect_err("theirs no more");
    assert_eq!(gone.to_string(), "there is no instance webby");
    let history = c.instance_history(&team, "webby", &page()).await.expect("history").items;
    assert!(history.iter().any(|h| h.kind == "moved" && h.message.starts_with("moved from /A/web to /A by")), "{history:?}");
    let (_, profile) = s.profiles.iter().find(|(host, _)| host == "alpha").expect("there").clone();
    assert!(c.move_profile(&team, profile_id(&profile), "/B").await.is_err());
    let moved = c.move_profile(&team, profile_id(&profile), "/A/web").await.expect("moved");
    assert_eq!(moved.spec.compartment, "/A/web");
    // An administrator moves anything anywhere.
    c.remove_members(&admin, "g-bravo", &["bravo".to_owned()]).await.expect("out");
    c.move_instance(&admin, "bravo", "/A").await.expect("moved");
    c.get_instance(&team, "bravo").await.expect("his now");
    let operator = s.w.person(Role::Operator).await;
    let refused = c.move_instance(&operator, "bravo", "/B").await.expect_err("moving is about access");
    assert!(refused.kind() == ErrorKind::Forbidden && refused.to_string().contains("DRYDOCK_INSTANCE_MOVE"), "{refused}");
}

#[tokio::test]
async fn an_exception_reaches_no_further_than_its_compartment() {
    let s = scene().await;
    let c = &s.w.control;
    let (team, admin) = (member(&s.w, "TeamA"), s.w.server());
    let spec = |scope: ScopeSpec, path: Option<&str>| ExceptionSpec {
        cve: CVE.into(),
        scope,
        compartment: path.map(str::to_owned),
        ..exception_in(&team, "/A")
    };
    let open = async |who: &OpCtx| {
        let query = VulnerabilityQuery { excepted: true, ..VulnerabilityQuery::default() };
        let all = c.list_vulnerabilities(who, &query, &page()).await.expect("listed").items;
        (all[0].hosts, all[0].excepted)
    };
    let beyond = c.create_exception(&team, spec(ScopeSpec::Instance("bravo".into()), None)).await.expect_err("unseen");
    assert_eq!(beyond.to_string(), "there is no instance bravo");
    let above = c.create_exception(&team, spec(ScopeSpec::Instance("alpha".into()), Some("/A/web"))).await.expect_err("above");
    assert!(above.to_string().contains("which lies in /A and not in /A/web or below"), "{above}");
    let made = c.create_exception(&team, spec(ScopeSpec::All {}, None)).await.expect("made");
    assert_eq!((made.compartment.as_str(), made.hosts), ("/A", 2), "in the one compartment in which he may");
    assert_eq!(open(&admin).await, (2, 2), "all hosts of /A, and no other");
    assert_eq!(open(&team).await, (0, 2));
    assert_eq!(open(&member(&s.w, "TeamB")).await, (1, 0));
    let label = ScopeSpec::Label { key: "env".into(), value: "test".into() };
    let everywhere = c.create_exception(&admin, spec(label, Some("/"))).await.expect("made");
    assert_eq!((everywhere.hosts, open(&admin).await), (4, (0, 4)));
    let other = c.get_exception(&member(&s.w, "TeamB"), &made.id.to_string()).await.expect_err("unseen");
    assert_eq!(other.to_string(), format!("there is no exception {}", made.id));
}

#[tokio::test]
async fn the_rest_is_not_there_either() {
    let s = scene().await;
    let c = &s.w.control;
    let team = member(&s.w, "TeamB");
    for name in ["alpha", "nope"] {
        let refused = c.instance_rules(&team, name).await.expect_err("unseen").to_string();
        assert_eq!(refused, format!("there is no instance {name}"));
    }
    let own = c.instance_rules(&team, "bravo").await.expect_err("none reported").to_string();
    assert!(own.contains("rules of bravo"), "{own}");
    let filter = serde_json::from_str(r#"{"all":true}"#).expect("a filter");
    let reached = c.match_instances(&team, &filter, None).await.expect("matched");
    assert_eq!(reached.hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["bravo"]);
    // By id nothing of the name is told.
    let alpha = c.get_instance(&s.w.server(), "alpha").await.expect("there").record.id.to_string();
    let refused = c.get_instance(&team, &alpha).await.expect_err("unseen").to_string();
    assert_eq!(refused, format!("there is no instance {alpha}"));
    // What somebody may read of advisories tells him nothing of hosts he may not see.
    let stranger = member(&s.w, "Strangers");
    for refused in [
        c.list_instances(&stranger, &InstanceQuery::default()).await.map(drop),
        c.overview(&stranger).await.map(drop),
        c.list_groups(&stranger).await.map(drop),
    ] {
        assert_eq!(refused.expect_err("nowhere").kind(), ErrorKind::Forbidden);
    }
}
