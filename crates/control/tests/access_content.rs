//! Who may do what to sources, environments, policies and secrets: each team sees and changes exactly its own, through every
//! operation there is.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeSet;

use common::policy::{assignment, at_once, read};
use common::sources::{Yum, promotion};
use common::teams::Teams;
use drydock_control::records::PageQuery;
use drydock_control::store::compliance::{IntervalQuery, ResultQuery};
use drydock_control::store::drift::DriftQuery;
use drydock_control::{
    ApplyAsk, AttachTarget, CheckAsk, ContentJobQuery, Error, ErrorKind, Movable, OpCtx, Result, Secret, SourceQuery, UnitQuery,
};
use drydock_domain::access::operations::OPERATIONS;
use drydock_domain::ids::{ContentJobId, PreviewId};
use drydock_domain::policy::{ComplianceState, OsPolicyAssignment};
use drydock_domain::source::environment::EnvironmentSpec;

/// Whose operations these tests go through.
const NOUNS: [&str; 10] = [
    "source",
    "snapshot",
    "environment",
    "content-job",
    "policy-assignment",
    "policy",
    "policy-preview",
    "compliance",
    "drift",
    "secret",
];
/// Of these, what is said of the tenancy, or has its own test.
const LEFT_OUT: [&str; 3] = ["source.upload", "environment.rollback", "environment.promote"];

struct Things {
    source: String,
    environment: String,
    job: ContentJobId,
    assignment: String,
    preview: PreviewId,
    secret: String,
    host: String,
}

impl Things {
    fn missing() -> Self {
        let id = "0198c0de-0000-7000-8000-00000000dead";
        let [source, environment, assignment, secret, host] = [(); 5].map(|()| "nothing".to_owned());
        let (job, preview) = (id.parse().expect("an id"), id.parse().expect("an id"));
        Things { source, environment, job, assignment, preview, secret, host }
    }

    fn blank(&self, text: &str) -> String {
        let (job, preview) = (self.job.to_string(), self.preview.to_string());
        let names = [&job, &preview, &self.source, &self.environment, &self.assignment, &self.secret, &self.host];
        names.iter().fold(text.to_owned(), |text, name| text.replace(name.as_str(), "…"))
    }
}

fn document(name: &str) -> OsPolicyAssignment {
    read(&assignment(name, at_once()))
}

fn environment(name: &str, rank: u32, compartment: Option<&str>) -> EnvironmentSpec {
    EnvironmentSpec { name: name.into(), description: String::new(), rank, compartment: compartment.map(str::to_owned) }
}

async fn things_of(t: &Teams, who: &OpCtx, side: &str, rank: u32) -> Things {
    let c = &t.w.control;
    let name = format!("of-{side}");
    let yum = Yum::new(1);
    c.create_source(who, yum.spec(&name, "")).await.expect("a source");
    let job = c.sync_source(who, &name).await.expect("a job").id;
    t.w.run_jobs().await;
    c.create_environment(who, environment(&name, rank, None)).await.expect("an environment");
    c.apply_policy(who, document(&name), &ApplyAsk::default()).await.expect("an assignment");
    c.set_secret(who, &name, &Secret::new("x"), None).await.expect("a secret");
    let preview = c.start_preview(who, document(&name), None).await.expect("a preview").id;
    t.w.settle().await;
    t.w.pass(60);
    t.w.settle().await;
    let host = if side == "a" { "h1" } else { "h3" };
    let [source, environment, assignment, secret] = [(); 4].map(|()| name.clone());
    Things { source, environment, job, assignment, preview, secret, host: host.into() }
}

/// Does an operation to one thing. `None`: it is one of [`list`] or [`make`].
async fn attempt(t: &Teams, who: &OpCtx, operation: &str, on: &Things) -> Option<Result<()>> {
    let c = &t.w.control;
    let page = PageQuery::default();
    let (s, e, a) = (on.source.as_str(), on.environment.as_str(), on.assignment.as_str());
    Some(match operation {
        "source.show" => c.get_source(who, s).await.map(drop),
        "source.edit" => c.edit_source(who, s, Yum::new(1).spec(s, ""), None).await.map(drop),
        "source.sync" => c.sync_source(who, s).await.map(drop),
        "source.delete" => c.delete_source(who, s).await,
        "snapshot.list" => c.list_snapshots(who, s, &page).await.map(drop),
        "snapshot.show" => c.get_snapshot(who, s, "latest").await.map(drop),
        "snapshot.units" => c.snapshot_units(who, s, "latest", &UnitQuery::default()).await.map(drop),
        "snapshot.diff" => c.snapshot_diff(who, s, "latest", "latest", None).await.map(drop),
        "environment.show" => c.get_environment(who, e).await.map(drop),
        "environment.history" => c.environment_history(who, e, &page).await.map(drop),
        "environment.preview" => c.promote(who, e, promotion(r#"{"dryRun":true}"#)).await.map(drop),
        "environment.sources" => c.attach_source(who, &AttachTarget::Environment(e.into()), s).await,
        "environment.delete" => c.delete_environment(who, e).await,
        "content-job.show" => c.get_content_job(who, on.job).await.map(drop),
        "content-job.cancel" => c.cancel_content_job(who, on.job).await.map(drop),
        "policy-assignment.show" => c.get_policy(who, a).await.map(drop),
        "policy-assignment.instances" => c.policy_instances(who, a, None, &page).await.map(drop),
        "policy-assignment.revisions" => c.policy_revisions(who, a, &page).await.map(drop),
        "policy-assignment.revision" => c.policy_revision(who, a, 1).await.map(drop),
        "policy-assignment.diff" => c.policy_diff(who, a, 1, None).await.map(drop),
        "policy-assignment.cancel" => c.cancel_policy(who, a).await.map(drop),
        "policy-assignment.resume" => c.resume_policy(who, a).await.map(drop),
        "policy-assignment.delete" => c.delete_policy(who, a, "", None).await.map(drop),
        "policy.check" => {
            let ask = CheckAsk { instances: vec![on.host.clone()], ..CheckAsk::default() };
            c.check_policies(who, &ask).await.map(drop)
        }
        "policy-preview.show" => c.get_preview(who, on.preview).await.map(drop),
        "policy-preview.answers" => c.preview_answers(who, on.preview, None, &page).await.map(drop),
        "policy-preview.delete" => c.delete_preview(who, on.preview).await,
        "compliance.host" => c.host_compliance(who, &on.host).await.map(drop),
        "compliance.document" => c.host_policies(who, &on.host).await.map(drop),
        "secret.show" => c.get_secret(who, &on.secret).await.map(drop),
        "secret.delete" => c.delete_secret(who, &on.secret).await,
        _ => return None,
    })
}

/// What a list shows. `None`: the operation is none.
async fn list(t: &Teams, who: &OpCtx, operation: &str) -> Option<Result<BTreeSet<String>>> {
    let c = &t.w.control;
    let page = PageQuery::default();
    Some(match operation {
        "source.list" => {
            c.list_sources(who, &SourceQuery::default()).await.map(|p| p.items.into_iter().map(|s| s.spec.name).collect())
        }
        "environment.list" => c.list_environments(who).await.map(|all| all.into_iter().map(|e| e.spec.name).collect()),
        "content-job.list" => c
            .list_content_jobs(who, &ContentJobQuery::default())
            .await
            .map(|p| p.items.into_iter().filter_map(|job| job.source).collect()),
        "policy-assignment.list" => c.list_policies(who, &page).await.map(|p| p.items.into_iter().map(|a| a.name).collect()),
        "policy-preview.list" => c.list_previews(who, &page).await.map(|p| p.items.into_iter().map(|a| a.name).collect()),
        "secret.list" => c.list_secrets(who).await.map(|all| all.into_iter().map(|s| s.name).collect()),
        "compliance.results" => c
            .compliance_results(who, None, ResultQuery::default())
            .await
            .map(|p| p.items.into_iter().map(|r| r.instance_name).collect()),
        "compliance.history" => c
            .compliance_history(who, None, IntervalQuery::default())
            .await
            .map(|p| p.items.into_iter().map(|r| r.instance_name).collect()),
        "compliance.policies" => {
            c.compliance_by_policy(who, None).await.map(|all| all.into_iter().map(|p| p.assignment).collect())
        }
        "compliance.resources" => {
            c.compliance_by_resource(who, None, None).await.map(|all| all.into_iter().map(|p| p.assignment).collect())
        }
        "compliance.summary" => c.fleet_compliance(who).await.map(|f| f.assignments.into_iter().map(|a| a.assignment).collect()),
        // Numbers without names.
        "compliance.trend" => c.compliance_trend(who, None, 1).await.map(|_| BTreeSet::new()),
        "drift.list" => {
            c.drift_events(who, None, DriftQuery::default()).await.map(|p| p.items.into_iter().map(|e| e.instance_name).collect())
        }
        _ => return None,
    })
}

/// Makes something new in a compartment, and says in which it is. `None`: the operation makes nothing.
async fn make(t: &Teams, who: &OpCtx, operation: &str, at: Option<&str>, n: u32) -> Option<Result<String>> {
    let c = &t.w.control;
    let name = format!("new-{n}");
    Some(match operation {
        "source.create" => {
            let mut spec = Yum::new(1).spec(&name, "");
            spec.compartment = at.map(str::to_owned);
            c.create_source(who, spec).await.map(|v| v.compartment)
        }
        "environment.create" => c.create_environment(who, environment(&name, 100 + n, at)).await.map(|v| v.compartment),
        "policy-assignment.create" => {
            let ask = ApplyAsk { compartment: at.map(str::to_owned), ..ApplyAsk::default() };
            let applied = c.apply_policy(who, document(&name), &ask).await;
            applied.map(|v| v.assignment.map(|own| own.compartment).unwrap_or_default())
        }
        "policy-preview.create" => c.start_preview(who, document(&name), at).await.map(|v| v.compartment),
        "secret.create" => c.set_secret(who, &name, &Secret::new("x"), at).await.map(|v| v.compartment),
        _ => return None,
    })
}

fn own_operations() -> Vec<&'static str> {
    let is_own = |name: &&str| NOUNS.iter().any(|noun| name.split_once('.').is_some_and(|(own, _)| own == *noun));
    let mut names: Vec<&str> = OPERATIONS.iter().map(|o| o.name).filter(is_own).collect();
    // Moving is asked of administrators and edits of what has one name for making and editing have their own tests.
    names.retain(|n| !n.ends_with(".move") && !LEFT_OUT.contains(n) && !["policy-assignment.edit", "secret.edit"].contains(n));
    // What hosts say comes before a rollout is cancelled, and what is gone answers nothing any more.
    names.sort_by_key(|n| (n.ends_with(".delete"), *n == "source.delete", !n.starts_with("compliance.")));
    names
}

fn kind<V: std::fmt::Debug>(result: &Result<V>) -> Option<ErrorKind> {
    result.as_ref().err().map(Error::kind)
}

#[tokio::test]
async fn each_team_sees_and_changes_exactly_its_own_through_every_operation() {
    let t = Teams::new().await;
    let (ann, bob, eve) = (t.as_user("ann").await, t.as_user("bob").await, t.as_user("eve").await);
    // Hosts that are there get their policies.
    let _there: Vec<_> = t.hosts.iter().map(|host| t.w.control.hub().attach(host.id)).collect();
    for host in &t.hosts {
        t.w.control.pull_policies(&host.ctx(&t.w).await, 0, 0).await.expect("an answer");
    }
    let a = things_of(&t, &ann, "a", 1).await;
    // The budget of a zone is shared: the hosts of one team are done before those of the other begin.
    for host in &t.hosts[..2] {
        host.obey(&t.w, ComplianceState::Compliant).await;
    }
    let b = things_of(&t, &bob, "b", 2).await;
    let missing = Things::missing();
    let mut n = 0;
    for operation in own_operations() {
        n += 10;
        if let Some(of_bob) = list(&t, &bob, operation).await {
            let (of_bob, of_ann) = (of_bob.expect("his"), list(&t, &ann, operation).await.expect("a list").expect("hers"));
            assert!(of_ann.is_disjoint(&of_bob), "{operation}: {of_ann:?} {of_bob:?}");
            let foreign = |names: &BTreeSet<String>, theirs: &Things| {
                [&theirs.source, &theirs.host].into_iter().any(|name| names.contains(name))
            };
            assert!(!foreign(&of_bob, &a) && !foreign(&of_ann, &b), "{operation}: {of_ann:?} {of_bob:?}");
            let has_names = !matches!(operation, "compliance.trend" | "compliance.resources" | "drift.list");
            assert!(!has_names || (!of_ann.is_empty() && !of_bob.is_empty()), "{operation} shows nothing: {of_ann:?} {of_bob:?}");
        } else if let Some(by_bob) = make(&t, &bob, operation, Some("/A"), n).await {
            let nowhere = make(&t, &bob, operation, Some("/nowhere"), n).await.expect("makes").expect_err("no such place");
            let by_bob = by_bob.expect_err("not his");
            assert_eq!(by_bob.to_string(), nowhere.to_string().replace("/nowhere", "/A"), "{operation}");
            let by_eve = make(&t, &eve, operation, Some("/A"), n).await.expect("makes");
            assert_eq!(kind(&by_eve), Some(ErrorKind::Forbidden), "{operation}: {by_eve:?}");
            let inside = make(&t, &ann, operation, Some("/a/web"), n + 1).await.expect("makes").expect("hers");
            assert_eq!(inside, "/A/web", "{operation}");
            let usual = make(&t, &ann, operation, None, n + 2).await.expect("makes").expect("hers");
            assert_eq!(usual, "/A", "{operation}");
        } else {
            let by_bob = attempt(&t, &bob, operation, &a).await.unwrap_or_else(|| panic!("{operation} is not in the table"));
            let by_bob = by_bob.expect_err("not his");
            let unknown = attempt(&t, &bob, operation, &missing).await.expect("in the table").expect_err("not there");
            assert_eq!(by_bob.kind(), ErrorKind::NotFound, "{operation}: {by_bob}");
            assert_eq!(a.blank(&by_bob.to_string()), missing.blank(&unknown.to_string()), "{operation}");
            let by_eve = attempt(&t, &eve, operation, &a).await.expect("in the table");
            // A secret's name and age are all that anybody sees of it.
            let wanted = if ["secret.show", "snapshot.list"].contains(&operation) { None } else { Some(ErrorKind::Forbidden) };
            assert_eq!(kind(&by_eve), wanted, "{operation}: {by_eve:?}");
            for (who, own) in [(&ann, &a), (&bob, &b)] {
                let done = attempt(&t, who, operation, own).await.expect("in the table");
                let refused = kind(&done).filter(|kind| !matches!(kind, ErrorKind::Conflict | ErrorKind::Invalid));
                assert_eq!(refused, None, "{operation}: {done:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_assignment_reaches_hosts_of_its_compartment_and_names_of_others_stay_unknown() {
    let t = Teams::new().await;
    let (ann, bob) = (t.as_user("ann").await, t.as_user("bob").await);
    let c = &t.w.control;
    let applied = c.apply_policy(&ann, document("web"), &ApplyAsk::default()).await.expect("applied");
    assert_eq!(applied.hosts, 2, "h1 and h2 lie in /A and below");
    t.w.settle().await;
    let of = |who: OpCtx| async move { c.policy_instances(&who, "web", None, &PageQuery::default()).await };
    let hosts = of(ann.clone()).await.expect("hers").items;
    assert_eq!(hosts.into_iter().map(|h| h.instance_name).collect::<Vec<_>>(), ["h1", "h2"]);

    // The name is taken, and that is all that is told.
    let taken = c.apply_policy(&bob, document("web"), &ApplyAsk::default()).await.expect_err("taken");
    assert_eq!(taken.kind(), ErrorKind::Conflict, "{taken}");
    assert!(!taken.to_string().contains("/A"), "{taken}");
    // A host that is moved away leaves it, one that comes gets it.
    c.move_instance(&t.w.server(), "h2", "/B").await.expect("moved");
    c.move_instance(&t.w.server(), "h4", "/A").await.expect("moved");
    t.w.pass(60);
    t.w.settle().await;
    let hosts = of(ann).await.expect("hers").items;
    assert_eq!(hosts.into_iter().map(|h| h.instance_name).collect::<Vec<_>>(), ["h1", "h4"]);
}

#[tokio::test]
async fn a_source_takes_only_from_sources_that_its_maker_may_read() {
    let t = Teams::new().await;
    let (ann, bob) = (t.as_user("ann").await, t.as_user("bob").await);
    let yum = Yum::new(1);
    t.w.control.create_source(&ann, yum.spec("of-a", "")).await.expect("a source");
    let derived = |from: &str| {
        common::sources::spec(&format!(r#"{{"name":"mine","format":"rpm","origin":{{"sources":{{"from":["{from}"]}}}}}}"#))
    };
    let theirs = t.w.control.create_source(&bob, derived("of-a")).await.expect_err("not his to take from");
    let none = t.w.control.create_source(&bob, derived("nothing")).await.expect_err("not there");
    assert_eq!(theirs.to_string().replace("of-a", "…"), none.to_string().replace("nothing", "…"));
    t.w.control.create_source(&ann, derived("of-a")).await.expect("her own");
}

#[tokio::test]
async fn things_are_moved_by_who_may_in_both_places() {
    let t = Teams::new().await;
    let ann = t.as_user("ann").await;
    let c = &t.w.control;
    c.set_secret(&ann, "db", &Secret::new("x"), None).await.expect("a secret");
    c.create_environment(&ann, environment("prod", 1, None)).await.expect("an environment");
    for (what, name) in [(Movable::Secret, "db"), (Movable::Environment, "prod")] {
        let nowhere = c.move_thing(&ann, what, name, "/B").await.expect_err("not hers");
        assert_eq!((nowhere.kind(), nowhere.to_string().as_str()), (ErrorKind::NotFound, "there is no compartment /B"));
        assert_eq!(c.move_thing(&ann, what, name, "/a/web").await.expect("moved"), "/A/web");
        assert_eq!(c.move_thing(&t.admin, what, name, "/B").await.expect("moved"), "/B");
        let gone = c.move_thing(&ann, what, name, "/A").await.expect_err("out of her sight");
        assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
    }
}
