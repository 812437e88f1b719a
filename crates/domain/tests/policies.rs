//! OS policies: Google's shapes are read unchanged, what is wrong is named with its path, and resolution misses no conflict.

use drydock_domain::instance::Labels;
use drydock_domain::policy::assignment::SelectionFacts;
use drydock_domain::policy::{HostFacts, OsPolicyAssignment, Resolution, resolve};
use proptest::prelude::*;
use serde_json::{Value, json};

fn assignment(policies: Value) -> OsPolicyAssignment {
    let document = json!({
        "osPolicies": policies,
        "instanceFilter": { "all": true },
        "rollout": { "disruptionBudget": { "percent": 100 }, "minWaitDuration": "0s" },
    });
    serde_json::from_value(document).expect("an assignment")
}

fn policy(id: &str, priority: i32, resources: Value) -> Value {
    json!({ "id": id, "mode": "ENFORCEMENT", "priority": priority, "resourceGroups": [{ "resources": resources }] })
}

fn host(labels: &Labels) -> HostFacts<'_> {
    let selection = SelectionFacts { labels, os_short_name: "debian", os_version: "12", group: None, environment: None };
    HostFacts { selection, name: "web1", hostname: "web1.example.org", architecture: "x86_64", zone: "a" }
}

fn resolved<'a>(assignments: &'a [(&'a str, &'a OsPolicyAssignment)]) -> Resolution<'a> {
    static LABELS: Labels = Labels::new();
    resolve(assignments, host(&LABELS))
}

fn problems(document: Value) -> Vec<String> {
    let read: OsPolicyAssignment = serde_json::from_value(document).expect("the form is right");
    match read.validate() {
        Ok(()) => Vec::new(),
        Err(invalid) => invalid.errors.into_iter().map(|e| format!("{}: {}", e.field, e.message)).collect(),
    }
}

/// All four kinds of resources in both spellings of names, as Google's documentation has them.
#[test]
fn googles_shapes_are_read_unchanged() {
    let camel = json!({
        "osPolicies": [{
            "id": "install-and-run",
            "mode": "ENFORCEMENT",
            "resourceGroups": [
                { "inventoryFilters": [{ "osShortName": "rhel", "osVersion": "8*" }], "resources": [
                    { "id": "install-pkg", "pkg": { "desiredState": "INSTALLED", "yum": { "name": "httpd" } } },
                    { "id": "exec-script", "exec": {
                        "validate": { "interpreter": "SHELL", "script": "systemctl is-active httpd && exit 100 || exit 101" },
                        "enforce": { "interpreter": "SHELL", "script": "systemctl start httpd && exit 100", "outputFilePath": "/tmp/out" },
                    } },
                ] },
                { "inventoryFilters": [{ "osShortName": "windows" }], "resources": [
                    { "id": "msi", "pkg": { "desiredState": "INSTALLED", "msi": {
                        "source": { "gcs": { "bucket": "b", "object": "o.msi", "generation": "1546030865175603" } }, "properties": ["A=1"] } } },
                    { "id": "goo", "pkg": { "desiredState": "REMOVED", "googet": { "name": "certgen" } } },
                    { "id": "ps", "exec": { "validate": { "interpreter": "POWERSHELL", "file": { "localPath": "C:\\check.ps1" } },
                        "enforce": { "interpreter": "POWERSHELL", "script": "exit 100" } } },
                ] },
                { "resources": [
                    { "id": "repo", "repository": { "apt": { "archiveType": "DEB", "uri": "https://packages.example.org/apt",
                        "distribution": "stable", "components": ["main"], "gpgKey": "https://packages.example.org/key.gpg" } } },
                    { "id": "file", "file": { "path": "/etc/motd", "state": "CONTENTS_MATCH", "content": "hello\n", "permissions": "644" } },
                    { "id": "deb", "pkg": { "desiredState": "INSTALLED", "deb": { "pullDeps": true, "source": {
                        "remote": { "uri": "https://example.org/a.deb", "sha256Checksum": "a".repeat(64) } } } } },
                ] },
            ],
            "allowNoResourceGroupMatch": true,
        }],
        "instanceFilter": { "inclusionLabels": [{ "labels": { "env": "prod" } }], "inventories": [{ "osShortName": "rhel" }] },
        "rollout": { "disruptionBudget": { "fixed": 10 }, "minWaitDuration": "300s" },
    });
    assert_eq!(problems(camel.clone()), Vec::<String>::new());
    let snake: Value = serde_json::from_str(&snake_names(&camel.to_string())).expect("JSON");
    assert_ne!(snake, camel);
    let read = |v: Value| serde_json::from_value::<OsPolicyAssignment>(v).expect("an assignment");
    assert_eq!(read(snake), read(camel));
}

/// Field names with underscores instead of capitals; texts that are no names have none in these documents.
fn snake_names(text: &str) -> String {
    let mut out = String::new();
    for (i, part) in text.split('"').enumerate() {
        if i > 0 {
            out.push('"');
        }
        let is_name =
            i % 2 == 1 && part.starts_with(|c: char| c.is_ascii_lowercase()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
        for c in part.chars() {
            if is_name && c.is_ascii_uppercase() {
                out.push('_');
                out.push(c.to_ascii_lowercase());
            } else {
                out.push(c);
            }
        }
    }
    out
}

#[test]
fn what_is_wrong_is_named_with_its_path() {
    let with = |resource: Value| {
        json!({ "osPolicies": [policy("p", 0, json!([resource]))], "instanceFilter": { "all": true },
            "rollout": { "disruptionBudget": { "fixed": 1 }, "minWaitDuration": "0s" } })
    };
    let at = "osPolicies[0].resourceGroups[0].resources[0]";
    for (resource, path) in [
        (json!({ "id": "Bad_Id", "file": { "path": "/a", "state": "ABSENT" } }), ".id"),
        (json!({ "id": "a" }), ""),
        (json!({ "id": "a", "file": { "path": "/a", "state": "ABSENT" }, "sysctl": { "key": "a.b", "value": "1" } }), ""),
        (json!({ "id": "a", "pkg": { "desiredState": "INSTALLED" } }), ".pkg"),
        (json!({ "id": "a", "pkg": { "desiredState": "INSTALLED", "apt": { "name": "-rf" } } }), ".pkg.apt.name"),
        (
            json!({ "id": "a", "pkg": { "desiredState": "REMOVED", "rpm": { "source": { "localPath": "/a.rpm" } } } }),
            ".pkg.desiredState",
        ),
        (
            json!({ "id": "a", "pkg": { "desiredState": "INSTALLED", "rpm": { "source": { "remote": { "uri": "https://x/a" } } } } }),
            ".pkg.rpm.source.remote.sha256Checksum",
        ),
        (json!({ "id": "a", "file": { "path": "etc/motd", "state": "ABSENT" } }), ".file.path"),
        (json!({ "id": "a", "file": { "path": "/etc/../x", "state": "ABSENT" } }), ".file.path"),
        (json!({ "id": "a", "file": { "path": "/etc/motd", "state": "PRESENT" } }), ".file"),
        (
            json!({ "id": "a", "file": { "path": "/a", "state": "PRESENT", "content": "", "permissions": "0999" } }),
            ".file.permissions",
        ),
        (
            json!({ "id": "a", "file": { "path": "/a", "state": "PRESENT", "content": "x".repeat(32 * 1024 + 1) } }),
            ".file.content",
        ),
        (json!({ "id": "a", "exec": { "validate": { "interpreter": "SHELL", "script": "exit 100" } } }), ".exec.enforce"),
        (
            json!({ "id": "a", "exec": { "validate": { "interpreter": "SHELL" }, "enforce": { "interpreter": "SHELL", "script": "x" } } }),
            ".exec.validate",
        ),
        (json!({ "id": "a", "service": { "name": "httpd" } }), ".service"),
        (json!({ "id": "a", "service": { "name": "httpd", "masked": true, "running": true } }), ".service.masked"),
        (json!({ "id": "a", "user": { "name": "root" } }), ".user.name"),
        (json!({ "id": "a", "sysctl": { "key": "net..x", "value": "1" } }), ".sysctl.key"),
        (json!({ "id": "a", "cron": { "name": "a.b", "schedule": "* * * * *", "user": "root", "command": "x" } }), ".cron.name"),
        (json!({ "id": "a", "cron": { "name": "a", "schedule": "* *", "user": "root", "command": "x" } }), ".cron.schedule"),
        (json!({ "id": "a", "line": { "path": "/a", "line": "b=1", "startsWith": "c=" } }), ".line.startsWith"),
        (json!({ "id": "a", "dependsOn": ["a"], "file": { "path": "/a", "state": "ABSENT" } }), ".dependsOn[0]"),
        (json!({ "id": "a", "notify": ["b"], "file": { "path": "/a", "state": "ABSENT" } }), ".notify[0]"),
        (
            json!({ "id": "a", "repository": { "apt": { "archiveType": "DEB", "uri": "https://x", "distribution": "s", "components": [] } } }),
            ".repository.apt.components",
        ),
    ] {
        let found = problems(with(resource.clone()));
        assert!(found.iter().any(|p| p.starts_with(&format!("{at}{path}: "))), "{resource}: {found:#?}");
    }
    let found = problems(
        json!({ "osPolicies": [], "instanceFilter": {}, "rollout": { "disruptionBudget": { "percent": 0 }, "minWaitDuration": "5m" } }),
    );
    for path in ["osPolicies", "instanceFilter", "rollout.disruptionBudget.percent", "rollout.minWaitDuration"] {
        assert!(found.iter().any(|p| p.starts_with(&format!("{path}: "))), "{path}: {found:?}");
    }
}

#[test]
fn conflicts_are_named_and_priority_decides() {
    let file = |id: &str, content: &str| json!({ "id": id, "file": { "path": "/etc/motd", "state": "CONTENTS_MATCH", "content": content } });
    let (a, b) = (
        assignment(json!([policy("p", 0, json!([file("f", "a")]))])),
        assignment(json!([policy("q", 0, json!([file("g", "b")]))])),
    );
    let pair = [("one", &a), ("two", &b)];
    let both = resolved(&pair);
    assert_eq!(both.conflicts.len(), 1);
    assert!(both.conflicts[0].describe().starts_with("file /etc/motd: one/p/f wants"), "{}", both.conflicts[0].describe());
    assert_eq!(both.policies.iter().map(|p| p.resources.len()).collect::<Vec<_>>(), [1, 0]);
    let higher = assignment(json!([policy("q", 5, json!([file("g", "b")]))]));
    let pair = [("one", &a), ("two", &higher)];
    let both = resolved(&pair);
    assert_eq!((both.conflicts.len(), both.overridden.len()), (0, 1));
    assert_eq!((both.policies[0].assignment, both.overridden[0].dropped.assignment.as_str()), ("two", "one"));
    // The same wish twice is none.
    let same = assignment(json!([policy("q", 0, json!([file("g", "a")]))]));
    assert!(resolved(&[("one", &a), ("two", &same)]).conflicts.is_empty());
}

#[test]
fn each_kind_of_contradiction_is_found() {
    let pairs = [
        (
            json!({ "pkg": { "desiredState": "INSTALLED", "apt": { "name": "x" } } }),
            json!({ "pkg": { "desiredState": "REMOVED", "apt": { "name": "x" } } }),
        ),
        (
            json!({ "repository": { "yum": { "id": "r", "baseUrl": "https://a" } } }),
            json!({ "repository": { "yum": { "id": "r", "baseUrl": "https://b" } } }),
        ),
        (json!({ "service": { "name": "x", "running": true } }), json!({ "service": { "name": "x.service", "running": false } })),
        (json!({ "file": { "path": "/a//b", "state": "ABSENT" } }), json!({ "directory": { "path": "/a/b" } })),
        (
            json!({ "file": { "path": "/a", "state": "CONTENTS_MATCH", "content": "x" } }),
            json!({ "line": { "path": "/a", "line": "b" } }),
        ),
        (
            json!({ "line": { "path": "/a", "line": "b=1", "startsWith": "b=" } }),
            json!({ "line": { "path": "/a", "line": "b=2", "startsWith": "b=" } }),
        ),
        (json!({ "sysctl": { "key": "net.x", "value": "1" } }), json!({ "sysctl": { "key": "net/x", "value": "0" } })),
        (json!({ "kernelModule": { "name": "a-b" } }), json!({ "kernelModule": { "name": "a_b", "state": "BARRED" } })),
        (json!({ "user": { "name": "u", "uid": 1 } }), json!({ "user": { "name": "u", "uid": 2 } })),
    ];
    for (mut a, mut b) in pairs {
        (a["id"], b["id"]) = (json!("a"), json!("b"));
        for (first, second) in [(&a, &b), (&b, &a)] {
            let x = assignment(json!([policy("p", 0, json!([first]))]));
            let y = assignment(json!([policy("q", 0, json!([second]))]));
            assert_eq!(resolved(&[("one", &x), ("two", &y)]).conflicts.len(), 1, "{first} and {second}");
        }
    }
    // Different aspects of a unit, different lines of a file: nobody contradicts anybody.
    let x = assignment(json!([policy(
        "p",
        0,
        json!([{ "id": "a", "service": { "name": "x", "running": true } }, { "id": "b", "line": { "path": "/a", "line": "1" } }])
    )]));
    let y = assignment(json!([policy(
        "q",
        0,
        json!([{ "id": "a", "service": { "name": "x", "enabled": true } }, { "id": "b", "line": { "path": "/a", "line": "2" } }])
    )]));
    assert!(resolved(&[("one", &x), ("two", &y)]).conflicts.is_empty());
}

#[test]
fn the_first_group_that_matches_is_the_hosts() {
    let group = |os: &str, id: &str| json!({ "inventoryFilters": [{ "osShortName": os }], "resources": [{ "id": id, "file": { "path": format!("/{id}"), "state": "ABSENT" } }] });
    let p = json!({ "id": "p", "mode": "VALIDATION", "resourceGroups": [group("rhel", "a"), group("debian", "b"), group("debian", "c")] });
    let q = json!({ "id": "q", "mode": "VALIDATION", "resourceGroups": [group("rhel", "a")] });
    let r = json!({ "id": "r", "mode": "VALIDATION", "resourceGroups": [group("rhel", "a")], "allowNoResourceGroupMatch": true });
    let own = assignment(json!([p, q, r]));
    let all = [("one", &own)];
    let resolution = resolved(&all);
    let told: Vec<_> = resolution.policies.iter().map(|p| (p.policy.id.as_str(), p.group, p.is_unmatched())).collect();
    assert_eq!(told, [("p", Some(1), false), ("q", None, true), ("r", None, false)]);
    assert_eq!(resolution.policies[0].resources[0].id, "b");
}

/// What a generated resource wants: object and value.
fn wishes() -> impl Strategy<Value = Vec<(usize, usize)>> {
    proptest::collection::vec((0usize..6, 0usize..3), 1..5)
}

fn generated(index: usize, wishes: &[(usize, usize)], priority: i32) -> OsPolicyAssignment {
    let resource = |(i, (object, value)): (usize, &(usize, usize))| match object % 3 {
        0 => json!({ "id": format!("r{i}"), "sysctl": { "key": format!("net.o{object}"), "value": value.to_string() } }),
        1 => {
            json!({ "id": format!("r{i}"), "file": { "path": format!("/o{object}"), "state": "CONTENTS_MATCH", "content": value.to_string() } })
        }
        _ => {
            let state = ["INSTALLED", "REMOVED"][value % 2];
            json!({ "id": format!("r{i}"), "pkg": { "desiredState": state, "apt": { "name": format!("o{object}") } } })
        }
    };
    let resources: Vec<Value> = wishes.iter().enumerate().map(resource).collect();
    assignment(json!([policy(&format!("p{index}"), priority, json!(resources))]))
}

fn wanted((object, value): (usize, usize)) -> usize {
    if object % 3 == 2 { value % 2 } else { value }
}

proptest! {
    #[test]
    fn no_conflict_is_missed_and_order_matters_to_nobody_else(all in proptest::collection::vec(wishes(), 1..6)) {
        let documents: Vec<OsPolicyAssignment> = all.iter().enumerate().map(|(i, w)| generated(i, w, 0)).collect();
        let names: Vec<String> = (0..all.len()).map(|i| format!("a{i}")).collect();
        let given: Vec<(&str, &OsPolicyAssignment)> = names.iter().map(String::as_str).zip(&documents).collect();
        let resolution = resolved(&given);
        // By hand: does any object have two wishes?
        let flat: Vec<(usize, usize)> = all.iter().flatten().map(|w| (w.0, wanted(*w))).collect();
        let contradicts = flat.iter().any(|a| flat.iter().any(|b| a.0 == b.0 && a.1 != b.1));
        prop_assert_eq!(!resolution.conflicts.is_empty(), contradicts);
        // What is kept never contradicts itself.
        let kept: usize = resolution.policies.iter().map(|p| p.resources.len()).sum();
        prop_assert_eq!(kept + resolution.conflicts.len(), flat.len());
        // Where nothing contradicts, the order of assignments changes nothing but the order.
        if !contradicts {
            let reversed: Vec<_> = given.iter().rev().copied().collect();
            let mut a: Vec<String> = resolution.policies.iter().map(|p| format!("{p:?}")).collect();
            let mut b: Vec<String> = resolved(&reversed).policies.iter().map(|p| format!("{p:?}")).collect();
            a.sort();
            b.sort();
            prop_assert_eq!(a, b);
        }
        prop_assert_eq!(resolved(&given), resolution);
    }
}
