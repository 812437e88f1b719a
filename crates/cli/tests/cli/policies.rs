//! `drydock policy check` and `resolve`: documents read without a server.

use crate::fake::Prepared;

const WEB: &str = "\
name: web
osPolicies:
- id: motd
  mode: ENFORCEMENT
  resourceGroups:
  - inventoryFilters: [{osShortName: debian}]
    resources:
    - {id: motd, file: {path: /etc/motd, state: CONTENTS_MATCH, content: web}}
instanceFilter: {inclusionLabels: [{labels: {role: web}}]}
rollout: {disruptionBudget: {fixed: 1}, minWaitDuration: 0s}
";
const ALL: &str = "\
id: base
mode: VALIDATION
resourceGroups:
- resources:
  - {id: motd, file: {path: /etc/motd, state: CONTENTS_MATCH, content: base}}
  - {id: ssh, service: {name: ssh, running: true}}
";

#[tokio::test]
async fn a_directory_is_checked_and_what_is_wrong_has_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
    write("web.yaml", WEB);
    write("base.yml", ALL);
    write("README", "no policy");
    let path = dir.path().display();
    let ran = Prepared::new().run(&format!("policy check {path}")).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "1 assignment with 2 policies in all: no problem found\n"), "{}", ran.err);
    write(
        "bad.yaml",
        &WEB.replace("state: CONTENTS_MATCH, content: web", "state: CONTENTS_MATCH").replace("fixed: 1", "fixed: 0"),
    );
    let ran = Prepared::new().run(&format!("policy check {path}")).await;
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    let at = format!("{path}/bad.yaml:8:18: osPolicies[0].resourceGroups[0].resources[0].file: needs file or content");
    assert!(ran.err.contains(&at) && ran.err.contains("bad.yaml:10:30: rollout.disruptionBudget.fixed"), "{}", ran.err);
    let ran = Prepared::new().run("policy check /nowhere.yaml").await;
    assert!(ran.code == 2 && ran.err.contains("cannot open /nowhere.yaml"), "{}", ran.err);
}

#[tokio::test]
async fn a_host_gets_what_is_for_it_and_conflicts_are_named() {
    let both = format!("{WEB}---\n{ALL}");
    let run = async |line: &str| Prepared::new().input(&both).run(line).await;
    let ran = run("policy resolve - --os debian:12 --label role=web").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("conflict: file /etc/motd: base/base/motd wants")
            || ran.out.contains("conflict: file /etc/motd: web/motd/motd wants"),
        "{}",
        ran.out
    );
    let ran = run("policy resolve - --os debian:12 -o json").await;
    let told: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let resources: Vec<&str> =
        told["resources"].as_array().expect("a list").iter().filter_map(|r| r["resource"].as_str()).collect();
    assert_eq!((resources, told["conflicts"].as_array().map(Vec::len)), (vec!["motd", "ssh"], Some(0)));
    let ran = run("policy resolve - --os rhel:9 --label role=web").await;
    assert!(ran.out.contains("no resource group of web/motd is for this host"), "{}", ran.out);
}
