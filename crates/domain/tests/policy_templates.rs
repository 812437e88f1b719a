//! Templates: what is filled in, what is refused and how it is named, secrets only where they may stand, and resolution of
//! generated assignments with templates against a slow implementation of its own.

use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::ids::InstanceId;
use drydock_domain::instance::Labels;
use drydock_domain::policy::assignment::SelectionFacts;
use drydock_domain::policy::host::{HOST_POLICIES_VERSION, SECRET_MARKS};
use drydock_domain::policy::template::{TemplateFacts, fill, secrets_of};
use drydock_domain::policy::{HostFacts, HostPolicies, OsPolicyAssignment, Resolution, Resource, resolve};
use proptest::prelude::*;
use serde_json::{Value, json};

fn facts(labels: &Labels) -> HostFacts<'_> {
    let selection = SelectionFacts { labels, os_short_name: "debian", os_version: "12", group: None, environment: Some("prod") };
    HostFacts { selection, name: "web1", hostname: "web1.example.org", architecture: "x86_64", zone: "a" }
}

fn labels() -> Labels {
    Labels::from([("role".into(), "web".into()), ("empty".into(), String::new())])
}

/// Fills the content of a file.
fn content(text: &str) -> Result<(String, BTreeSet<String>), String> {
    let resource =
        json!({ "id": "conf", "template": true, "file": { "path": "/etc/conf", "state": "CONTENTS_MATCH", "content": text } });
    let resource: Resource = serde_json::from_value(resource).expect("a resource");
    let variables = BTreeMap::from([
        ("port".into(), "80".into()),
        ("nested".into(), "{{ host.name }}".into()),
        ("none".into(), String::new()),
    ]);
    let (filled, secrets) =
        fill(&resource, &TemplateFacts { host: facts(&labels()), variables: &variables }).map_err(|e| e.to_string())?;
    assert!(!filled.template);
    assert_eq!(secrets_of(&filled), secrets);
    Ok((filled.file.and_then(|f| f.content).expect("content"), secrets))
}

#[test]
fn names_are_filled_in() {
    for (text, want) in [
        ("Listen {{ vars.port }}\n", "Listen 80\n"),
        ("{{host.name}} {{ host.hostname }} {{host.os.shortName}}{{host.os.version}}", "web1 web1.example.org debian12"),
        ("{{ host.arch }}/{{ host.zone }}/{{ host.environment }}", "x86_64/a/prod"),
        ("{{ labels.role }} {{ labels.tier | default \"back }} \\\"end\\\\\" }}.", "web back }} \"end\\."),
        ("{{ labels.role | default \"db\" }}{{ host.group|default \"none\" }}", "webnone"),
        ("[{{ vars.none }}{{ labels.empty }}]", "[]"),
        // What was filled in is not read again, and signs can be written.
        ("{{ vars.nested }} {{ \"{{\" }} x }} }}", "{{ host.name }} {{ x }} }}"),
        ("no template, {\"a\": {\"b\": 1}} { { }", "no template, {\"a\": {\"b\": 1}} { { }"),
    ] {
        assert_eq!(content(text).map(|(text, _)| text), Ok(want.to_owned()), "{text}");
    }
    let (open, close) = SECRET_MARKS;
    let (text, secrets) = content("password={{ secret.db_password }}").expect("a secret is named");
    assert_eq!((text, secrets), (format!("password={open}db_password{close}"), BTreeSet::from(["db_password".to_owned()])));
}

#[test]
fn what_has_no_value_names_resource_field_and_name() {
    for (text, words) in [
        ("{{ vars.host }}", "{{ vars.host }}: the assignment has no variable host"),
        ("{{ labels.tier }}", "{{ labels.tier }}: the host has no label tier"),
        ("{{ host.group }}", "{{ host.group }}: the host has no group"),
        ("{{ host.colour }}", "{{ host.colour }}: there is no such name"),
        ("{{ env.HOME }}", "there is no such name"),
        ("{{ port }}", "there is no such name"),
        ("{{ vars.a.b }}", "there is no such name"),
        ("{{ vars.port", "{{ without }}"),
        ("{{ }}", "without a name"),
        ("{{ {{ vars.port }} }}", "without a name"),
        ("{{ vars.port | upper }}", "only }} or | default"),
        ("{{ vars.port | default 80 }}", "only }} or | default"),
        ("{{ vars.port | default \"80 }}", "only }} or | default"),
        ("{{ vars.port | default \"a\" | default \"b\" }}", "only }} or | default"),
        ("{{ if vars.port }}", "only }} or | default"),
        ("{{ \"a }}", "closing quote"),
        ("{{ secret.a | default \"b\" }}", "a secret has no default"),
    ] {
        let refused = content(text).expect_err(text);
        assert!(refused.starts_with("conf.file.content: ") && refused.contains(words), "{text}: {refused}");
    }
    // A short template cannot become a huge text.
    let refused =
        content(&"{{ labels.long | default \"0123456789012345678901234567890123456789\" }}".repeat(450)).map(|(t, _)| t.len());
    assert_eq!(refused, Ok(18_000));
    let resource = json!({ "id": "conf", "template": true,
        "file": { "path": "/etc/conf", "state": "PRESENT", "content": "{{ vars.a }}".repeat(2000) } });
    let resource: Resource = serde_json::from_value(resource).expect("a resource");
    let variables = BTreeMap::from([("a".to_owned(), "x".repeat(4096))]);
    let refused = fill(&resource, &TemplateFacts { host: facts(&labels()), variables: &variables }).expect_err("too long");
    assert!(refused.to_string().contains("longer than 32768 bytes"), "{refused}");
}

/// An assignment with one resource, mode ENFORCEMENT.
fn document(resource: Value) -> OsPolicyAssignment {
    let document = json!({
        "osPolicies": [{ "id": "p", "mode": "ENFORCEMENT", "resourceGroups": [{ "resources": [resource] }] }],
        "instanceFilter": { "all": true },
        "rollout": { "disruptionBudget": { "percent": 100 }, "minWaitDuration": "0s" },
        "variables": { "port": "80", "mode": "0999", "pkg": "nginx" },
    });
    serde_json::from_value(document).expect("an assignment")
}

fn problems(resource: Value) -> Vec<String> {
    let told = document(resource).validate().err().map(|invalid| invalid.errors).unwrap_or_default();
    told.into_iter()
        .map(|e| format!("{}: {}", e.field.replace("osPolicies[0].resourceGroups[0].resources[0]", "@"), e.message))
        .collect()
}

/// What can be told without a host is told when the document is read.
#[test]
fn documents_with_templates_are_checked_without_a_host() {
    let good = [
        json!({ "id": "a", "template": true, "pkg": { "desiredState": "INSTALLED", "apt": { "name": "{{ vars.pkg }}-{{ host.os.version }}" } } }),
        json!({ "id": "a", "template": true, "file": { "path": "/srv/{{ labels.site }}", "state": "ABSENT", "permissions": "{{ labels.mode }}" } }),
        json!({ "id": "a", "template": true, "line": { "path": "/a", "line": "{{ labels.x }}=1", "startsWith": "b=" } }),
        json!({ "id": "a", "template": true, "cron": { "name": "a", "schedule": "0 4 * * *", "user": "root", "command": "x {{ secret.token }}" } }),
        json!({ "id": "a", "template": true, "timer": { "name": "a", "onCalendar": "daily", "command": ["/bin/x", "{{ secret.token }}"] } }),
        json!({ "id": "a", "template": true, "exec": {
            "validate": { "interpreter": "SHELL", "script": "test {{ secret.a }}", "args": ["{{ secret.b }}"] },
            "enforce": { "interpreter": "SHELL", "script": "echo {{ secret.a }}", "args": ["{{ secret.b }}"] } } }),
        // Without template: true texts are taken as they are.
        json!({ "id": "a", "file": { "path": "/a", "state": "PRESENT", "content": "{{ if }} {{ secret.x }}" } }),
    ];
    for resource in good {
        assert_eq!(problems(resource.clone()), Vec::<String>::new(), "{resource}");
    }
    let secret = "{{ secret.x }}: a secret may stand only in";
    for (resource, path, words) in [
        (
            json!({ "file": { "path": "/a", "state": "PRESENT", "content": "{{ vars.host }}" } }),
            ".file.content",
            "no variable host",
        ),
        (json!({ "file": { "path": "/a", "state": "PRESENT", "content": "{{ hosts.name }}" } }), ".file.content", "no such name"),
        (
            json!({ "file": { "path": "/a", "state": "ABSENT", "permissions": "{{ vars.mode }}" } }),
            ".file.permissions",
            "\"0999\" is not",
        ),
        (json!({ "file": { "path": "{{ vars.port }}", "state": "ABSENT" } }), ".file.path", "not an absolute path"),
        (json!({ "file": { "path": "/{{ labels.a }}", "state": "PRESENT" } }), ".file", "needs file or content"),
        (json!({ "file": { "path": "/{{ secret.x }}", "state": "ABSENT" } }), ".file.path", secret),
        (json!({ "user": { "name": "{{ secret.x }}" } }), ".user.name", secret),
        (json!({ "sysctl": { "key": "a.b", "value": "{{ secret.x }}" } }), ".sysctl.value", secret),
        (
            json!({ "cron": { "name": "a", "schedule": "@daily", "user": "root", "command": "x", "environment": { "A": "{{ secret.x }}" } } }),
            ".cron.environment.A",
            secret,
        ),
        (json!({ "timer": { "name": "a", "onCalendar": "daily", "command": ["/{{ secret.x }}"] } }), ".timer.command[0]", secret),
        (json!({ "line": { "path": "/a", "line": "x", "startsWith": "{{ secret.x }}" } }), ".line.startsWith", secret),
        (
            json!({ "dependsOn": ["{{ vars.port }}"], "sysctl": { "key": "a.b", "value": "1" } }),
            ".dependsOn[0]",
            "earlier resource",
        ),
    ] {
        let mut resource = resource;
        (resource["id"], resource["template"]) = (json!("a"), json!(true));
        let found = problems(resource.clone());
        let want = format!("@{path}: ");
        assert!(found.iter().any(|p| p.starts_with(&want) && p.contains(words)), "{resource}: {found:#?}");
    }
}

#[test]
fn variables_and_marks_are_checked() {
    let mut own = document(json!({ "id": "a", "sysctl": { "key": "a.b", "value": "1" } }));
    own.variables = (0..101).map(|i| (format!("v{i}"), String::new())).collect();
    own.variables.insert("0".into(), "x".repeat(4097));
    own.os_policies[0].description = format!("a{}b", SECRET_MARKS.0);
    own.variables.insert("v1".into(), SECRET_MARKS.1.to_string());
    let found: Vec<String> =
        own.validate().expect_err("refused").errors.into_iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
    for want in [
        "variables: has 102 entries; at most 100",
        "variables.0: \"0\" is not 1 to 63",
        "variables.0: is 4097 bytes long",
        "osPolicies[0].description: holds U+F5EC",
        "variables.v1: holds U+F5EC",
    ] {
        assert!(found.iter().any(|p| p.starts_with(want)), "{want}: {found:#?}");
    }
    // A value that only looks like a secret never comes from a host or a label.
    let marks = format!("{}root{}", SECRET_MARKS.0, SECRET_MARKS.1);
    let resource =
        json!({ "id": "a", "template": true, "file": { "path": "/a", "state": "PRESENT", "content": "{{ labels.x }}" } });
    let resource: Resource = serde_json::from_value(resource).expect("a resource");
    let labels = Labels::from([("x".into(), marks)]);
    let variables = BTreeMap::new();
    let refused = fill(&resource, &TemplateFacts { host: facts(&labels), variables: &variables }).expect_err("refused");
    assert!(refused.to_string().contains("mark secrets"), "{refused}");
}

/// The agent takes marks only where secrets may stand, and nothing that is still a template.
#[test]
fn a_hosts_document_holds_secrets_only_where_they_may_stand() {
    let (open, close) = SECRET_MARKS;
    let with = |resource: Value| {
        let own = document(json!({ "id": "a", "sysctl": { "key": "a.b", "value": "1" } }));
        let labels = labels();
        let all = [("one", &own)];
        let resolution = resolve(&all, facts(&labels));
        let mut policy = resolution.policies[0].for_host(1);
        policy.resources = vec![serde_json::from_value(resource).expect("a resource")];
        let instance = InstanceId(uuid::Uuid::from_u128(1));
        let document = HostPolicies {
            version: HOST_POLICIES_VERSION,
            instance,
            generation: 1,
            preview: None,
            policies: vec![policy],
            secrets: BTreeMap::new(),
            health: Vec::new(),
        };
        document.accept(instance, None)
    };
    let file = |content: String| json!({ "id": "a", "file": { "path": "/a", "state": "PRESENT", "content": content } });
    assert_eq!(with(file(format!("a{open}b{close}c{open}d{close}"))), Ok(()));
    for bad in [
        file(format!("a{open}b")),
        file(format!("a{close}b{open}")),
        file(format!("{open}{open}b{close}{close}")),
        file(format!("{open}no name{close}")),
        json!({ "id": "a", "file": { "path": format!("/{open}b{close}"), "state": "ABSENT" } }),
        json!({ "id": "a", "template": true, "file": { "path": "/a", "state": "ABSENT" } }),
    ] {
        assert!(with(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn conflicts_are_seen_after_filling_and_one_bad_template_spoils_only_its_policy() {
    let literal = document(json!({ "id": "a", "file": { "path": "/srv/web1/conf", "state": "CONTENTS_MATCH", "content": "a" } }));
    let made = document(json!({ "id": "b", "template": true,
        "file": { "path": "/srv/{{ host.name }}/conf", "state": "CONTENTS_MATCH", "content": "{{ labels.role }}" } }));
    let labels = labels();
    let both = [("one", &literal), ("two", &made)];
    let resolution = resolve(&both, facts(&labels));
    let told: Vec<String> = resolution.conflicts.iter().map(|c| c.object.clone()).collect();
    assert_eq!(told, ["file /srv/web1/conf"]);
    let mut same = literal.clone();
    same.os_policies[0].resource_groups[0].resources[0].file.as_mut().expect("a file").content = Some("web".into());
    assert_eq!(resolve(&[("one", &same), ("two", &made)], facts(&labels)).conflicts, []);
    let nobody = Labels::new();
    let resolution = resolve(&both, facts(&nobody));
    assert_eq!(resolution.conflicts, [], "what cannot be filled in claims nothing");
    let told: Vec<_> =
        resolution.policies.iter().map(|p| (p.resources.len(), p.invalid.as_ref().map(ToString::to_string))).collect();
    let why =
        "b.file.content: {{ labels.role }}: the host has no label role; give it, or write {{ labels.role | default \"…\" }}";
    assert_eq!(told, [(1, None), (0, Some(why.to_owned()))]);
}

/// What depends on a resource that is left out goes with it, and nobody notifies what is not there: the host's document is
/// one that its agent takes.
#[test]
fn dependents_of_what_is_left_out_are_left_out() {
    let mut low = document(json!({ "id": "x", "service": { "name": "x", "running": true } }));
    low.os_policies[0].resource_groups[0].resources = serde_json::from_value(json!([
        { "id": "conf", "notify": ["x"], "file": { "path": "/x", "state": "ABSENT" } },
        { "id": "x", "service": { "name": "x", "running": true } },
        { "id": "after", "dependsOn": ["x"], "file": { "path": "/y", "state": "ABSENT" } },
        { "id": "later", "dependsOn": ["after"], "file": { "path": "/z", "state": "ABSENT" } },
        { "id": "free", "file": { "path": "/free", "state": "ABSENT" } },
    ]))
    .expect("resources");
    low.validate().expect("valid");
    let mut high = document(json!({ "id": "x", "service": { "name": "x.service", "running": false } }));
    high.os_policies[0].priority = 1;
    let labels = labels();
    let all = [("low", &low), ("high", &high)];
    let resolution = resolve(&all, facts(&labels));
    assert_eq!(resolution.conflicts, []);
    let dropped: Vec<&str> = resolution.overridden.iter().map(|c| c.dropped.resource.as_str()).collect();
    assert_eq!(dropped, ["x", "after", "later"]);
    let kept: Vec<(&str, usize)> = resolution.policies[1].resources.iter().map(|r| (r.id.as_str(), r.notify.len())).collect();
    assert_eq!(kept, [("conf", 0), ("free", 0)]);
    let instance = InstanceId(uuid::Uuid::from_u128(1));
    assert_eq!(for_host(&resolution, instance).accept(instance, None), Ok(()));
}

fn for_host(resolution: &Resolution<'_>, instance: InstanceId) -> HostPolicies {
    let policies = resolution.policies.iter().map(|p| p.for_host(1)).collect();
    let secrets = resolution.secrets.iter().map(|name| (name.clone(), 1)).collect();
    HostPolicies { version: HOST_POLICIES_VERSION, instance, generation: 1, preview: None, policies, secrets, health: Vec::new() }
}

/// A generated wish: which object, what of it, written out or through which template.
type Wish = (usize, usize, usize);

fn wish() -> impl Strategy<Value = Wish> {
    (0usize..8, 0usize..3, 0usize..4)
}

/// Text `n` under one of four spellings; all mean the same on the host of [`facts`] with [`generated_labels`].
fn spelled(text: &str, how: usize, key: &str) -> String {
    match how {
        0 => text.to_owned(),
        1 => format!("{{{{ vars.{key} }}}}"),
        2 => format!("{{{{ labels.{key} }}}}"),
        _ => format!("{{{{ labels.absent | default \"{text}\" }}}}"),
    }
}

fn generated_labels() -> Labels {
    (0..8).map(|o| (format!("o{o}"), format!("o{o}"))).chain((0..3).map(|v| (format!("v{v}"), format!("v{v}")))).collect()
}

fn generated(index: usize, wishes: &[Wish], priority: i32) -> OsPolicyAssignment {
    let resource = |(i, (object, value, how)): (usize, &Wish)| {
        let name = spelled(&format!("o{object}"), *how, &format!("o{object}"));
        let text = spelled(&format!("v{value}"), (how + i) % 4, &format!("v{value}"));
        let kind = match object % 4 {
            0 => json!({ "sysctl": { "key": format!("net.{name}"), "value": text } }),
            1 => json!({ "file": { "path": format!("/etc/{name}"), "state": "CONTENTS_MATCH", "content": text } }),
            // The same paths as files have, by another kind.
            2 => {
                json!({ "symlink": { "path": format!("/etc//{}", spelled(&format!("o{}", object - 1), *how, &format!("o{}", object - 1))), "target": text } })
            }
            _ => {
                let state = ["INSTALLED", "REMOVED"][value % 2];
                json!({ "pkg": { "desiredState": state, "apt": { "name": name } } })
            }
        };
        let mut kind = kind;
        (kind["id"], kind["template"]) = (json!(format!("r{i}")), json!(true));
        kind
    };
    let resources: Vec<Value> = wishes.iter().enumerate().map(resource).collect();
    let mut own = document(json!({ "id": "a", "sysctl": { "key": "a.b", "value": "1" } }));
    own.variables = generated_labels();
    own.os_policies[0].id = format!("p{index}");
    own.os_policies[0].priority = priority;
    own.os_policies[0].resource_groups[0].resources = serde_json::from_value(json!(resources)).expect("resources");
    own
}

/// By hand: the object and what is wanted of it, as two plain texts.
fn by_hand((object, value, _): Wish) -> (String, String) {
    match object % 4 {
        0 => (format!("sysctl {object}"), format!("{value}")),
        1 => (format!("path {object}"), format!("content {value}")),
        2 => (format!("path {}", object - 1), format!("link {value}")),
        _ => (format!("package {object}"), format!("{}", value % 2)),
    }
}

/// Slow: policies by priority, then each wish against every wish kept before it. Who is kept, as (assignment, place), and how many are
/// left out in conflict and by priority.
fn slow(all: &[(Vec<Wish>, i32)]) -> (BTreeSet<(usize, usize)>, usize, usize) {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|i| -all[*i].1);
    let mut kept: Vec<(usize, usize)> = Vec::new();
    let (mut conflicts, mut overridden) = (0, 0);
    for a in order {
        for (i, own) in all[a].0.iter().enumerate() {
            let (object, wants) = by_hand(*own);
            let other = kept.iter().find(|(b, j)| {
                let (taken, wish) = by_hand(all[*b].0[*j]);
                taken == object && wish != wants
            });
            match other {
                None => kept.push((a, i)),
                Some((b, _)) if all[*b].1 > all[a].1 => overridden += 1,
                Some(_) => conflicts += 1,
            }
        }
    }
    (kept.into_iter().collect(), conflicts, overridden)
}

proptest! {
    #[test]
    fn resolution_of_templates_is_that_of_a_slow_one(
        all in proptest::collection::vec((proptest::collection::vec(wish(), 1..6), 0i32..3), 1..6),
    ) {
        let documents: Vec<OsPolicyAssignment> = all.iter().enumerate().map(|(i, (w, p))| generated(i, w, *p)).collect();
        for own in &documents {
            prop_assert_eq!(own.validate(), Ok(()));
        }
        let names: Vec<String> = (0..all.len()).map(|i| format!("a{i}")).collect();
        let given: Vec<(&str, &OsPolicyAssignment)> = names.iter().map(String::as_str).zip(&documents).collect();
        let labels = generated_labels();
        let resolution = resolve(&given, facts(&labels));
        let (kept, conflicts, overridden) = slow(&all);
        let number = |text: &str| text[1..].parse::<usize>().expect("a number");
        let found: BTreeSet<(usize, usize)> = resolution.policies.iter()
            .flat_map(|p| p.resources.iter().map(|r| (number(p.assignment), number(&r.id)))).collect();
        prop_assert_eq!(found, kept);
        prop_assert_eq!((resolution.conflicts.len(), resolution.overridden.len()), (conflicts, overridden));
        prop_assert!(resolution.policies.iter().all(|p| p.invalid.is_none()));
        // The host's document is one that its agent takes, and it is the same when nothing changed.
        let instance = InstanceId(uuid::Uuid::from_u128(1));
        let first = for_host(&resolution, instance);
        prop_assert_eq!(first.accept(instance, None), Ok(()));
        let (again, others) = (generated_labels(), documents.clone());
        let given_again: Vec<(&str, &OsPolicyAssignment)> = names.iter().map(String::as_str).zip(&others).collect();
        prop_assert_eq!(for_host(&resolve(&given_again, facts(&again)), instance).fingerprint(), first.fingerprint());
        // Where nobody contradicts anybody, the order in which assignments are given changes nothing but the order.
        if conflicts == 0 {
            let reversed: Vec<_> = given.iter().rev().copied().collect();
            let told = |r: &Resolution<'_>| r.policies.iter().map(|p| format!("{:?}", p.for_host(1))).collect::<BTreeSet<_>>();
            let other = resolve(&reversed, facts(&labels));
            // Equal wishes are kept in both; which of two with different priorities stays does not depend on the order.
            prop_assert_eq!(told(&other), told(&resolution));
        }
        // A value that is used is part of the document: another one is another document.
        let mut changed = generated_labels();
        changed.insert("o0".into(), "other".into());
        let uses = all.iter().flat_map(|(w, _)| w).any(|(object, _, how)| *object == 0 && *how == 2);
        let other = resolve(&given, facts(&changed));
        if conflicts == 0 && overridden == 0 {
            prop_assert_eq!(for_host(&other, instance).fingerprint() != first.fingerprint(), uses);
        }
    }
}
