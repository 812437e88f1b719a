//! Hosts as those who ask: dynamic groups say what they may, a `deny` keeps them out, and their tokens end with them.
#![allow(missing_docs)]

mod common;

use common::World;
use common::teams::Teams;
use drydock_control::{DynamicGroupSpec, ErrorKind, InstanceEdit, OpCtx, Secret};
use drydock_domain::access::Role;
use drydock_store::records::InstanceQuery;

async fn dynamic_group(w: &World, name: &str, rules: &str) {
    let spec = DynamicGroupSpec { name: name.into(), description: String::new(), rules: rules.into(), match_all: false };
    w.control.create_dynamic_group(&w.server(), &spec).await.expect("a dynamic group");
}

async fn token(t: &Teams, host: usize) -> Secret {
    let host = &t.hosts[host];
    t.w.control.issue_instance_token(&host.ctx(&t.w).await, &host.key, None).await.expect("issued").0
}

async fn shows(t: &Teams, token: &Secret) -> OpCtx {
    t.w.tick();
    t.w.control.ctx(t.w.control.authenticate(token.expose()).await.expect("known"), "req")
}

async fn seen(t: &Teams, who: &OpCtx) -> Vec<String> {
    let listed = t.w.control.list_instances(who, &InstanceQuery::default()).await;
    listed.map(|page| page.items.into_iter().map(|own| own.record.name).collect()).unwrap_or_default()
}

async fn label(t: &Teams, host: usize, value: &str) {
    let labels = Some([("tier".to_owned(), value.to_owned())].into());
    let edit = InstanceEdit { labels, zone: None };
    t.w.control.edit_instance(&t.w.server(), &t.hosts[host].name, edit, None).await.expect("edited");
}

#[tokio::test]
async fn what_a_host_may_is_said_by_its_dynamic_groups_as_they_are_now() {
    let t = Teams::new().await;
    let own = token(&t, 0).await;
    let host = shows(&t, &own).await;
    assert_eq!(seen(&t, &host).await, [""; 0], "nothing is given beforehand");
    let listed = t.w.control.list_instances(&host, &InstanceQuery::default()).await.expect_err("no statement");
    assert_eq!(listed.kind(), ErrorKind::Forbidden, "{listed}");

    dynamic_group(&t.w, "Gates", "label.tier = 'gate'").await;
    t.statements("gates", "allow dynamic-group Gates to read drydock-instances in compartment A").await;
    assert_eq!(seen(&t, &shows(&t, &own).await).await, [""; 0], "it is not in the group");
    label(&t, 0, "gate").await;
    let host = shows(&t, &own).await;
    assert_eq!(seen(&t, &host).await, ["h1", "h2"]);
    let said = t.w.control.whoami(&host).await.expect("it is somebody");
    assert_eq!((said.name.as_str(), said.kind, said.groups), ("instance h1", "instance", vec!["Gates".to_owned()]));
    let other = t.w.control.get_instance(&host, "h3").await.expect_err("elsewhere");
    assert_eq!(other.kind(), ErrorKind::NotFound, "{other}");
    label(&t, 0, "web").await;
    assert_eq!(seen(&t, &shows(&t, &own).await).await, [""; 0], "it left the group");
    let audit = t.w.audit().await;
    let record = audit.iter().find(|r| r.operation == "instance-token.issue").expect("on record");
    assert_eq!((record.who_kind.as_ref(), record.who_id.as_ref()), ("instance", t.hosts[0].id.to_string().as_str()));
}

#[tokio::test]
async fn a_condition_compares_the_host_that_asks_with_the_one_it_asks_about() {
    let t = Teams::new().await;
    let text =
        "allow resource instance to read drydock-instances in tenancy where request.principal.id = target.managed-instance.id";
    t.statements("own", text).await;
    let host = shows(&t, &token(&t, 2).await).await;
    t.w.control.get_instance(&host, "h3").await.expect("itself");
    assert_eq!(t.w.control.get_instance(&host, "h1").await.expect_err("another").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_token_ends_with_its_time_its_host_and_its_key() {
    let t = Teams::new().await;
    let host = &t.hosts[0];
    let refused = async |token: &Secret| t.w.control.authenticate(token.expose()).await.expect_err("refused").to_string();
    let ask = async |secs| t.w.control.issue_instance_token(&host.ctx(&t.w).await, &host.key, Some(secs)).await;
    for secs in [0, 3601] {
        assert_eq!(ask(secs).await.expect_err("too short or long").fields()[0].field, "lifetime");
    }
    let short = ask(60).await.expect("issued").0;
    t.w.control.authenticate(short.expose()).await.expect("good");
    t.w.pass(61);
    assert!(refused(&short).await.contains("has expired"), "{}", refused(&short).await);
    let forged = Secret::new(short.expose().replace("ddi_A", "ddi_B"));
    assert_eq!(refused(&forged).await, "the access token is not known");

    let good = ask(3600).await.expect("issued").0;
    t.w.control.unregister(&host.ctx(&t.w).await).await.expect("it left");
    assert!(refused(&good).await.contains("not active"), "{}", refused(&good).await);
}

#[tokio::test]
async fn a_deny_keeps_hosts_out_until_it_goes() {
    let t = Teams::new().await;
    dynamic_group(&t.w, "Quarantine", "ANY {label.tier = 'ill'}").await;
    t.statements("quarantine", "deny dynamic-group Quarantine to {OSMH_MANAGED_INSTANCE_ACCESS} in tenancy").await;
    t.hosts[0].ctx(&t.w).await;
    label(&t, 0, "ill").await;
    let host = &t.hosts[0];
    let out = t.w.control.agent_session(host.id, &host.key, "agent").await.expect_err("kept out");
    assert!(out.to_string().contains("policy quarantine, line 1"), "{out}");
    assert_eq!(out.kind(), ErrorKind::Forbidden);
    t.hosts[1].ctx(&t.w).await;
    t.w.control.delete_access_policy(&t.admin, "quarantine").await.expect("deleted");
    t.hosts[0].ctx(&t.w).await;
}

#[tokio::test]
async fn questions_about_access_are_answered_for_hosts_too() {
    let t = Teams::new().await;
    dynamic_group(&t.w, "Gates", "label.tier = 'gate'").await;
    t.statements("gates", "allow dynamic-group Gates to read drydock-instances in compartment A").await;
    label(&t, 0, "gate").await;
    let asked = ["DRYDOCK_INSTANCE_READ".to_owned()];
    let said = t.w.control.test_access(&t.admin, Some("instance/h1"), &asked, "/A").await.expect("answered");
    assert!(said[0].allowed && said[0].decision.contains("policy gates"), "{said:?}");
    let said = t.w.control.test_access(&t.admin, Some("instance/h2"), &asked, "/A").await.expect("answered");
    assert!(!said[0].allowed, "{said:?}");
    let holders = t.w.control.who_can(&t.admin, "DRYDOCK_INSTANCE_READ", "/A").await.expect("answered");
    let hosts: Vec<_> =
        holders.accounts.iter().filter(|(kind, ..)| *kind == "instance").map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(hosts, ["instance h1"]);
    // Whoever may not read policies learns nothing of hosts either.
    let ann = t.as_user("ann").await;
    assert!(t.w.control.test_access(&ann, Some("instance/h3"), &asked, "/B").await.is_err());
    let viewer = t.w.person(Role::Viewer).await;
    assert_eq!(
        t.w.control.test_access(&viewer, Some("instance/h1"), &asked, "/A").await.expect_err("no").kind(),
        ErrorKind::Forbidden
    );
}
