//! Where two rooms of the house meet: what is moved, asked about, or goes on by itself is held to the same statements as what is
//! done at once.
#![allow(missing_docs)]

mod common;

use common::policy::{assignment, at_once, read};
use common::teams::Teams;
use drydock_control::store::compliance::{IntervalQuery, ResultQuery};
use drydock_control::store::undo::BarQuery;
use drydock_control::{ApplyAsk, ErrorKind, InstanceEdit, Movable, OpCtx, Result, UserEdit};
use drydock_domain::patch::deployment::PatchDeploymentSpec;
use drydock_domain::patch::spec::PatchJobSpec;

fn job(compartment: &str) -> PatchJobSpec {
    let json = format!(r#"{{"compartment":"{compartment}","instanceFilter":{{"all":true}}}}"#);
    serde_json::from_str(&json).expect("a spec")
}

fn deployment(name: &str, compartment: &str) -> PatchDeploymentSpec {
    let json = format!(
        r#"{{"name":"{name}","compartment":"{compartment}","instanceFilter":{{"all":true}},"recurringSchedule":
            {{"timeZone":{{"id":"UTC"}},"timeOfDay":{{"hours":12}},"frequency":"DAILY"}}}}"#
    );
    serde_json::from_str(&json).expect("a spec")
}

/// Somebody who looks after both sides, but for some rights in some places.
async fn mia(t: &Teams, but: &str) -> OpCtx {
    t.user("mia", "Both").await;
    let both =
        "allow group Both to manage drydock-family in compartment A\nallow group Both to manage drydock-family in compartment B";
    t.statements("both", &format!("{both}\n{but}")).await;
    t.as_user("mia").await
}

fn same<T: std::fmt::Debug, U: std::fmt::Debug>(hidden: Result<T>, absent: Result<U>, names: [&str; 2]) {
    let (hidden, absent) = (hidden.expect_err("hidden"), absent.expect_err("absent"));
    assert_eq!(hidden.kind(), absent.kind(), "{hidden} / {absent}");
    let blank = |text: String| names.iter().fold(text, |text, name| text.replace(name, "…"));
    assert_eq!(blank(hidden.to_string()), blank(absent.to_string()));
}

#[tokio::test]
async fn an_assignment_moves_only_where_whoever_moves_it_could_make_it() {
    let t = Teams::new().await;
    let mia = mia(&t, "deny group Both to manage drydock-os-policy-assignments in compartment A:web").await;
    let (c, there) = (&t.w.control, |path: &str| ApplyAsk { compartment: Some(path.to_owned()), ..ApplyAsk::default() });
    let document = || read(&assignment("motd", at_once()));
    let refused = c.apply_policy(&mia, document(), &there("/A")).await.expect_err("h2 lies in /A/web");
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    c.apply_policy(&mia, document(), &there("/B")).await.expect("hers");
    let moved = c.move_thing(&mia, Movable::Assignment, "motd", "/A").await.expect_err("the same by another way");
    assert_eq!(moved.kind(), ErrorKind::Forbidden, "{moved}");
    assert_eq!(c.get_policy(&mia, "motd").await.expect("hers").compartment, "/B");
    t.w.settle().await;
    assert!(t.w.policy_hosts("motd").await.iter().all(|host| host.instance_name == "h3"));
}

#[tokio::test]
async fn a_deployment_that_is_moved_runs_in_the_name_of_whoever_moved_it() {
    let t = Teams::new().await;
    let mia = mia(&t, "deny group Both to {DRYDOCK_INSTANCE_PATCH} in compartment A").await;
    let c = &t.w.control;
    c.create_deployment(&t.admin, deployment("nightly", "/B")).await.expect("made");
    let refused = c.move_thing(&mia, Movable::Deployment, "nightly", "/A").await.expect_err("she patches nothing there");
    assert_eq!(refused.kind(), ErrorKind::Forbidden, "{refused}");
    c.create_deployment(&t.admin, deployment("weekly", "/A")).await.expect("made");
    c.move_thing(&mia, Movable::Deployment, "weekly", "/B").await.expect("hers to patch");
    let owner = c.get_deployment(&t.admin, "weekly").await.expect("seen").record.owner;
    let user = mia.who.account().expect("an account").id.clone();
    assert_eq!(owner, format!("user {user}"), "not in the administrator's");
}

#[tokio::test]
async fn who_asks_about_themselves_learns_nothing_of_others() {
    let t = Teams::new().await;
    let (c, eve) = (&t.w.control, t.as_user("eve").await);
    let asked = ["DRYDOCK_INSTANCE_INSPECT".to_owned()];
    let own = c.test_access(&eve, None, &asked, "/A").await.expect("about herself");
    assert!(own[0].allowed);
    let texts: Vec<&str> = own[0].considered.iter().map(|(_, _, text, _)| text.as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("WatchA")), "{texts:?}");
    assert!(texts.iter().all(|text| !text.contains("Team") && !text.contains("Operators")), "statements of others: {texts:?}");
    let ask = async |resource: &str| c.test_access(&eve, None, &asked, resource).await;
    same(ask("instance/h3").await, ask("instance/nobody").await, ["h3", "nobody"]);
    same(ask("/B").await, ask("/nothing").await, ["/B", "/nothing"]);
    ask("instance/h1").await.expect("she may see it");
    let all = c.test_access(&t.admin, None, &asked, "/A").await.expect("an administrator");
    assert!(all[0].considered.iter().any(|(_, _, text, _)| text.contains("TeamB")), "who reads policies sees all of them");
}

#[tokio::test]
async fn no_order_goes_out_in_the_name_of_somebody_who_may_no_more() {
    for ends in ["disabled", "out of the group", "denied that host", "nothing"] {
        let t = Teams::new().await;
        let c = &t.w.control;
        let ann = t.as_user("ann").await;
        c.create_patch_job(&ann, job("/A"), None).await.expect("made");
        t.w.settle().await;
        match ends {
            "disabled" => {
                let edit = UserEdit { disabled: Some(true), ..UserEdit::default() };
                c.edit_user(&t.admin, "ann", &edit).await.map(drop).expect("disabled");
            }
            "out of the group" => {
                let gone = ["ann".to_owned()];
                c.change_user_group_members(&t.admin, "TeamA", &[], &gone).await.map(drop).expect("out");
            }
            "denied that host" => {
                let text = "deny group TeamA to {DRYDOCK_INSTANCE_PATCH} in tenancy where target.managed-instance.id = ";
                t.statements("not-h1", &format!("{text}'{}'", t.hosts[0].id)).await;
            }
            _ => {}
        }
        let orders = t.hosts[0].pull(&t.w, &[]).await.orders.len();
        assert_eq!(orders, usize::from(ends == "nothing"), "{ends}");
    }
}

#[tokio::test]
async fn a_job_goes_on_when_the_token_that_started_it_has_run_out() {
    let t = Teams::new().await;
    let (c, ann) = (&t.w.control, t.as_user("ann").await);
    let expires_at = Some(c.now() + jiff::SignedDuration::from_secs(600));
    let ask = drydock_control::TokenAsk {
        name: "ci".into(),
        scope: vec!["manage drydock-family".into()],
        expires_at,
        ..Default::default()
    };
    let secret = c.create_access_token(&ann, ask).await.expect("a token").1;
    let narrow = c.ctx(c.authenticate(secret.expose()).await.expect("known"), "req");
    c.create_patch_job(&narrow, job("/A"), None).await.expect("made");
    t.w.settle().await;
    t.w.pass(601);
    assert_eq!(t.hosts[0].pull(&t.w, &[]).await.orders.len(), 1, "it was good when the job began");
}

#[tokio::test]
async fn deny_on_a_label_holds_for_barred_versions() {
    let t = Teams::new().await;
    let (c, ann) = (&t.w.control, t.as_user("ann").await);
    let labels = Some([("env".to_owned(), "prod".to_owned())].into());
    c.edit_instance(&ann, "h1", InstanceEdit { labels, ..InstanceEdit::default() }, None).await.expect("labelled");
    let text = "deny group TeamA to {DRYDOCK_BARRED_VERSION_LIFT} in tenancy where target.resource.label.env = 'prod'";
    t.statements("keep-bars", text).await;
    let lift = async |query: BarQuery| c.lift_bars(&ann, &query).await;
    let by_host = lift(BarQuery { instance: Some(t.hosts[0].id), ..BarQuery::default() }).await;
    assert_eq!(by_host.expect_err("denied on h1").kind(), ErrorKind::Forbidden);
    lift(BarQuery { instance: Some(t.hosts[1].id), ..BarQuery::default() }).await.expect("h2 has no such label");
    let by_name = lift(BarQuery { name: Some("bash".into()), ..BarQuery::default() }).await.expect_err("h1 would be among them");
    assert_eq!(by_name.fields()[0].field, "instance", "{by_name}");
}

#[tokio::test]
async fn lists_of_how_hosts_stand_name_only_hosts_that_may_be_known() {
    let t = Teams::new().await;
    t.user("aud", "Auditors").await;
    let text = "allow group Auditors to read drydock-os-policy-assignments in tenancy\n\
                allow group Auditors to inspect drydock-instances in compartment B";
    t.statements("auditors", text).await;
    t.w.apply(&assignment("motd", at_once())).await;
    let (c, aud) = (&t.w.control, t.as_user("aud").await);
    let results = c.compliance_results(&aud, None, ResultQuery::default()).await.expect("listed").items;
    assert_eq!(results.iter().map(|r| r.instance_name.as_str()).collect::<Vec<_>>(), ["h3"]);
    let past = c.compliance_history(&aud, None, IntervalQuery::default()).await.expect("listed").items;
    assert!(past.iter().all(|r| r.instance_name == "h3"), "{past:?}");
    let fleet = c.fleet_compliance(&aud).await.expect("counted");
    assert_eq!(fleet.hosts.total() + fleet.without_policies, 1, "{fleet:?}");
}

#[tokio::test]
async fn compartments_that_may_not_be_known_are_as_good_as_none() {
    let t = Teams::new().await;
    let (c, bob) = (&t.w.control, t.as_user("bob").await);
    let names = ["/A", "/nothing"];
    let make = async |parent: &str| c.create_compartment(&bob, parent, "x", "").await;
    same(make("/A").await, make("/nothing").await, names);
    let text = "allow group TeamB to read drydock-family in tenancy";
    let policy = async |place: &str| c.create_access_policy(&bob, "p", place, "", text).await;
    same(policy("/A").await, policy("/nothing").await, names);
    let edit = |parent: &str| drydock_control::CompartmentEdit { parent: Some(parent.to_owned()), ..Default::default() };
    c.create_compartment(&bob, "/B", "y", "").await.expect("his");
    let moved = async |parent: &str| c.edit_compartment(&bob, "/B/y", &edit(parent), None).await;
    same(moved("/A").await, moved("/nothing").await, names);
    // By another spelling, or by its id, its path is not told either.
    let all = c.list_compartments(&t.admin).await.expect("listed");
    let id = all.iter().find(|own| own.path == "/A").expect("there").id.to_string();
    for asked in ["/a", id.as_str()] {
        let told = c.get_compartment(&bob, asked).await.expect_err("hidden").to_string();
        assert!(told.contains(asked) && !told.contains("/A"), "{told}");
    }
}

#[tokio::test]
async fn an_environment_counts_the_hosts_that_may_be_known() {
    let t = Teams::new().await;
    t.w.environment("prod", 1).await;
    for host in &t.hosts {
        t.w.change(host, common::sources::into("prod")).await;
    }
    t.statements("team-b-looks", "allow group TeamB to read drydock-environments in tenancy").await;
    let bob = t.as_user("bob").await;
    assert_eq!(t.w.control.get_environment(&bob, "prod").await.expect("seen").instances, 1);
    assert_eq!(t.w.control.get_environment(&t.admin, "prod").await.expect("seen").instances, 4);
}
