//! Groups: one kind of host, its sources through group and environment, jobs over groups.
#![allow(missing_docs)]

mod common;

use common::sources::{Yum, attach, into};
use common::*;
use drydock_control::records::{InstanceQuery, PageQuery};
use drydock_control::{AttachTarget, Error, ErrorKind, GroupEdit, SectionBodyIn, SectionIn};
use drydock_domain::access::Role;
use drydock_domain::group::GroupSpec;
use drydock_domain::inventory::{ManagerKind, OsFacts, fingerprint};
use drydock_domain::patch::task::TaskState;
use drydock_domain::source::host::HostSources;

fn named(name: &str) -> GroupSpec {
    GroupSpec { name: name.to_owned(), description: String::new(), environment: None, compartment: None }
}

fn words(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// The host says what it is.
async fn says(w: &World, host: &Host, os: &str, version: &str, architecture: &str) {
    let facts = OsFacts {
        short_name: os.into(),
        version: version.into(),
        long_name: format!("{os} {version}"),
        architecture: architecture.into(),
        managers: vec![ManagerKind::Dnf],
        ..OsFacts::default()
    };
    let body = serde_json::to_vec(&facts).expect("JSON");
    let section = SectionIn { kind: "os".into(), fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) };
    w.control.report_inventory(&host.ctx(w).await, vec![section]).await.expect("stored");
}

/// The group and the environment people are shown, alike in the list.
async fn place(w: &World, host: &str) -> (Option<String>, Option<String>) {
    let one = w.control.get_instance(&w.server(), host).await.expect("there");
    let all = w.control.list_instances(&w.server(), &InstanceQuery::default()).await.expect("listed").items;
    assert!(all.contains(&one));
    (one.group, one.environment)
}

async fn add(w: &World, group: &str, hosts: &[&str]) -> Result<(), Error> {
    w.control.add_members(&w.server(), group, &words(hosts)).await.map(drop)
}

/// What the host's agent is told.
async fn paths(w: &World, host: &Host) -> Vec<String> {
    let signed = w.control.host_sources_for(&host.ctx(w).await, 0).await.expect("an answer").expect("a document");
    let document: HostSources = serde_json::from_slice(&signed.document).expect("a document");
    document.sources.into_iter().map(|s| s.path).collect()
}

#[tokio::test]
async fn a_group_holds_one_kind_of_host() {
    let w = World::new().await;
    let hosts = w.hosts(5).await;
    let server = w.server();
    let made = w.control.create_group(&server, named("web")).await.expect("a group");
    assert_eq!((made.instances, made.family), (0, None));
    assert_eq!(w.control.create_group(&server, named("web")).await.expect_err("taken").kind(), ErrorKind::Conflict);
    assert_eq!(w.control.create_group(&server, named("We b")).await.expect_err("no name").kind(), ErrorKind::Invalid);
    let viewer = w.person(Role::Viewer).await;
    assert_eq!(w.control.create_group(&viewer, named("db")).await.expect_err("no").kind(), ErrorKind::Forbidden);
    assert_eq!(w.control.list_groups(&viewer).await.expect("may read").len(), 1);

    let unknown = add(&w, "web", &["h1"]).await.expect_err("no inventory").to_string();
    assert!(unknown.contains("h1 has not sent an inventory yet") && unknown.contains("try again"), "{unknown}");
    for (host, (os, version, arch)) in hosts.iter().zip([
        ("ol", "8.10", "x86_64"),
        ("ol", "8.4", "x86_64"),
        ("ol", "9.4", "x86_64"),
        ("ol", "8.10", "aarch64"),
        ("rhel", "8.10", "x86_64"),
    ]) {
        says(&w, host, os, version, arch).await;
    }
    add(&w, "web", &["h1", "h1", "h2"]).await.expect("of one kind");
    let web = w.control.get_group(&server, "web").await.expect("the group");
    assert_eq!((web.instances, web.family.expect("known").to_string()), (2, "ol 8 x86_64".to_owned()));
    add(&w, "web", &["h2"]).await.expect("it is there already");
    for (host, why) in [("h3", "release 9 of ol, not 8"), ("h4", "aarch64, not x86_64"), ("h5", "rhel 8, not ol 8")] {
        let refused = add(&w, "web", &[host]).await.expect_err("another kind");
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        let text = refused.to_string();
        assert!(text.contains(&format!("{host} does not fit")) && text.contains("beside h1") && text.contains(why), "{text}");
    }
    w.control.create_group(&server, named("other")).await.expect("a group");
    let refused = add(&w, "other", &["h3", "h1"]).await.expect_err("it is in web").to_string();
    assert!(refused.contains("h1 is in the group web already"), "{refused}");
    assert_eq!(w.control.get_group(&server, "other").await.expect("the group").instances, 0, "all or nothing");
    let mixed = add(&w, "other", &["h3", "h4"]).await.expect_err("two kinds at once").to_string();
    assert!(mixed.contains("h4 does not fit") && mixed.contains("beside h3"), "{mixed}");
    assert_eq!(add(&w, "none-such", &["h3"]).await.expect_err("no group").kind(), ErrorKind::NotFound);

    // A member that is upgraded to something else stays, and is pointed out.
    says(&w, &hosts[1], "ol", "9.4", "x86_64").await;
    let page = PageQuery { cursor: None, limit: Some(10) };
    let members = w.control.group_members(&viewer, "web", &page).await.expect("members").items;
    let differs: Vec<_> = members.iter().map(|m| (m.name.as_str(), m.differs.as_deref())).collect();
    assert_eq!(differs, [("h1", None), ("h2", Some("it runs release 9 of ol, not 8"))]);

    assert_eq!(w.control.delete_group(&server, "web").await.expect_err("not empty").kind(), ErrorKind::Conflict);
    let left = w.control.remove_members(&server, "web", &words(&["h1", "h2"])).await.expect("left");
    assert_eq!((left.instances, left.family), (0, None));
    let refused = w.control.remove_members(&server, "web", &words(&["h1"])).await.expect_err("not in it").to_string();
    assert!(refused.contains("h1 is not in the group web"), "{refused}");
    add(&w, "web", &["h5"]).await.expect("an empty group forgets what it was");
    w.control.delete_instance(&server, "h5").await.expect("deleted");
    w.control.delete_group(&server, "web").await.expect("deleted");
    assert_eq!(w.control.get_group(&server, "web").await.expect_err("gone").kind(), ErrorKind::NotFound);
    let audit = w.audit().await;
    let says = |operation: &str, outcome: &str| audit.iter().any(|a| a.operation == operation && a.outcome == outcome);
    assert!(says("group.create", "allowed") && says("group.create", "denied") && says("group.delete", "allowed"));
    assert!(audit.iter().any(|a| a.operation == "group.members" && a.resource == "group web, add h1, h2"));
}

#[tokio::test]
async fn members_see_what_group_and_environment_have() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    for host in &hosts {
        says(&w, host, "ol", "8.10", "x86_64").await;
    }
    let server = w.server();
    let yum = Yum::new(3);
    for source in ["base", "extra", "own"] {
        w.synced(&yum, source).await;
    }
    w.environment("dev", 1).await;
    w.environment("prod", 2).await;
    w.promote("dev", r#"{"sources":["base","extra","own"]}"#).await;
    w.promote("prod", r#"{"sources":["base","own"]}"#).await;
    w.control.create_group(&server, named("web")).await.expect("a group");
    let web = AttachTarget::Group("web".into());
    w.control.attach_source(&server, &web, "base").await.expect("attached");
    let refused = w.control.delete_source(&server, "base").await.expect_err("attached").to_string();
    assert!(refused.contains("group web"), "{refused}");

    // Joining is enough, and the host is told at once.
    let mut stream = w.control.hub().attach(hosts[0].id);
    add(&w, "web", &["h1"]).await.expect("joins");
    assert_eq!(stream.next().await, Some(()), "the host is hinted");
    assert_eq!(paths(&w, &hosts[0]).await, ["/content/latest/base/"]);
    w.control.authorize_content(&hosts[0].peer(), "latest", "base").await.expect("may read");
    let stranger = w.control.authorize_content(&hosts[1].peer(), "latest", "base").await.expect_err("not in the group");
    assert_eq!(stranger.kind(), ErrorKind::Forbidden);
    w.change(&hosts[0], attach(&["own"])).await;
    let seen = w.sources_of(&hosts[0]).await;
    let through: Vec<_> = seen.sources.iter().map(|s| (s.name.as_str(), s.through.join(" "))).collect();
    assert_eq!(through, [("base", "group web".to_owned()), ("own", "instance".to_owned())]);

    // The group's environment, what is attached to that, and a source that was never promoted there.
    let edit = GroupEdit { environment: Some("prod".into()), ..GroupEdit::default() };
    w.control.edit_group(&server, "web", &edit).await.expect("edited");
    w.control.attach_source(&server, &AttachTarget::Environment("prod".into()), "extra").await.expect("attached");
    w.run_jobs().await;
    assert_eq!(paths(&w, &hosts[0]).await, ["/content/prod/base/", "/content/prod/own/"]);
    let seen = w.sources_of(&hosts[0]).await;
    assert_eq!(seen.environment.as_deref(), Some("prod"));
    assert_eq!(place(&w, "h1").await, (Some("web".into()), Some("prod".into())));
    assert_eq!(place(&w, "h2").await, (None, None));
    let extra = seen.sources.iter().find(|s| s.name == "extra").expect("attached");
    assert!(extra.problems[0].contains("never promoted to prod"), "{extra:?}");
    w.control.authorize_content(&hosts[0].peer(), "prod", "base").await.expect("may read");
    assert!(w.control.authorize_content(&hosts[0].peer(), "latest", "base").await.is_err(), "through prod only");
    let preview = w.promote("prod", r#"{"sources":["extra"],"dryRun":true}"#).await;
    assert_eq!(preview.moves[0].hosts, 1, "the group's member would see it");
    assert_eq!(w.control.delete_environment(&server, "prod").await.expect_err("used").kind(), ErrorKind::Conflict);

    // Its own environment wins; then the group's is back; then it leaves.
    w.change(&hosts[0], into("dev")).await;
    assert_eq!(paths(&w, &hosts[0]).await, ["/content/dev/base/", "/content/dev/own/"]);
    assert_eq!(place(&w, "h1").await, (Some("web".into()), Some("dev".into())));
    w.change(&hosts[0], into("")).await;
    assert_eq!(paths(&w, &hosts[0]).await, ["/content/prod/base/", "/content/prod/own/"]);
    w.control.remove_members(&server, "web", &words(&["h1"])).await.expect("left");
    assert_eq!(paths(&w, &hosts[0]).await, ["/content/latest/own/"]);
    assert!(w.control.authorize_content(&hosts[0].peer(), "prod", "base").await.is_err());

    // The reconciler alone does the same: what another server of this database changed.
    let second = w.second().await;
    second.add_members(&w.server(), "web", &words(&["h1", "h2"])).await.expect("joins");
    w.run_jobs().await;
    assert_eq!(paths(&w, &hosts[1]).await, ["/content/prod/base/"]);
    w.control.detach_source(&server, &web, "base").await.expect("detached");
    w.run_jobs().await;
    assert_eq!(paths(&w, &hosts[1]).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_patch_job_reaches_the_members_of_its_groups() {
    let w = World::new().await;
    let hosts = w.hosts(3).await;
    for host in &hosts {
        says(&w, host, "ol", "8.10", "x86_64").await;
    }
    let server = w.server();
    for (group, host) in [("a", "h1"), ("b", "h2")] {
        w.control.create_group(&server, named(group)).await.expect("a group");
        add(&w, group, &[host]).await.expect("joins");
    }
    w.control.create_group(&server, named("empty")).await.expect("a group");
    let refused = async |filter: &str| {
        let spec = serde_json::from_str(&format!(r#"{{"instanceFilter":{filter}}}"#)).expect("a spec");
        w.control.create_patch_job(&server, spec, None).await.expect_err("refused")
    };
    let unknown = refused(r#"{"groups":["a","c"]}"#).await;
    assert!(unknown.kind() == ErrorKind::Invalid && unknown.to_string().contains("there is no group c"), "{unknown}");
    assert!(refused(r#"{"groups":["empty"]}"#).await.to_string().contains("matches no active instance"));
    let job = w.job(r#"{"instanceFilter":{"groups":["a","b"]}}"#).await;
    w.settle().await;
    let mut names: Vec<String> = w.tasks(job).await.into_iter().map(|t| t.instance_name).collect();
    names.sort_unstable();
    assert_eq!(names, ["h1", "h2"]);
    assert!(w.tasks(job).await.iter().all(|t| t.state == TaskState::Notified || !t.state.is_final()));
}
