//! Policy documents: what is wrong is said with line, column and path; Google's shapes load as they are.

use drydock_api::documents::{Document, read_policies};

const GOOD: &str = "\
# Google's example: install a package, keep its service running.
osPolicies:
- id: install-httpd
  mode: ENFORCEMENT
  resourceGroups:
  - inventoryFilters:
    - osShortName: rhel
      osVersion: 8*
    resources:
    - id: pkg
      pkg: {desiredState: INSTALLED, yum: {name: httpd}}
    - id: run
      exec:
        validate:
          interpreter: SHELL
          script: |-
            if systemctl is-active --quiet httpd; then exit 100; else exit 101; fi
        enforce:
          interpreter: SHELL
          script: systemctl start httpd && exit 100
instanceFilter:
  inclusionLabels:
  - labels: {role: web}
rollout:
  disruptionBudget: {percent: 10}
  minWaitDuration: 300s
";

#[test]
fn assignments_policies_several_and_json_are_read() {
    let read = read_policies("a.yaml", GOOD);
    assert_eq!(read.problems, []);
    let [Document::Assignment(own)] = read.documents.as_slice() else { panic!("{:?}", read.documents) };
    let script = own.os_policies[0].resource_groups[0].resources[1].exec.as_ref().and_then(|e| e.validate.script.clone());
    assert_eq!(script.as_deref(), Some("if systemctl is-active --quiet httpd; then exit 100; else exit 101; fi"));
    // A number where a text is meant, a policy alone, an empty document between two others.
    let several = "id: a\nmode: VALIDATION\nresource_groups:\n- inventory_filters: [{os_short_name: ol, os_version: 8}]\n  resources:\n  \
                   - {id: f, file: {path: /etc/motd, state: PRESENT, content: 8.10, permissions: 0644}}\n---\n---\n";
    let read = read_policies("b.yaml", &format!("{several}{GOOD}"));
    assert_eq!(read.problems, []);
    let [Document::Policy(own), Document::Assignment(_)] = read.documents.as_slice() else { panic!("{:?}", read.documents) };
    let file = own.resource_groups[0].resources[0].file.clone().expect("a file");
    assert_eq!((file.content.as_deref(), file.permissions.as_str()), (Some("8.10"), "0644"));
    assert_eq!(own.resource_groups[0].inventory_filters[0].os_version, "8");
    let gated = GOOD.replace(
        "  minWaitDuration: 300s\n",
        "  minWaitDuration: 300s\n  healthChecks:\n    withinSecs: 30\n    checks:\n    - unitActive: {unit: httpd.service}\n    - http: {url: 'http://localhost/'}\n    - noNewFailedUnits: {}\n",
    );
    let read = read_policies("d.yaml", &gated);
    assert_eq!(read.problems, []);
    let Document::Assignment(own) = &read.documents[0] else { panic!("no assignment") };
    let health = own.rollout.health_checks.as_ref().expect("checks");
    assert_eq!((health.checks.len(), health.within_secs, health.settle_secs), (3, 30, 0));
    let Document::Assignment(own) = &read_policies("c", GOOD).documents[0] else { panic!("no assignment") };
    let json = serde_json::to_string(own).expect("JSON");
    assert_eq!(read_policies("c.json", &json).documents, [Document::Assignment(own.clone())]);
}

/// What is put in the place of a part of the good document, and the problem's line, column and path.
#[test]
fn every_problem_has_its_place() {
    for (part, instead, line, column, path, words) in [
        ("mode: ENFORCEMENT", "mode: ENFORCE", 4, 9, "osPolicies[0].mode", "unknown variant"),
        (
            "  minWaitDuration: 300s\n",
            "  minWaitDuration: 300s\n  healthChecks: {checks: [{tcp: {address: nowhere}}]}\n",
            27,
            34,
            "rollout.healthChecks.checks[0].tcp.address",
            "needs a port",
        ),
        ("mode: ENFORCEMENT", "modus: ENFORCEMENT", 4, 3, "osPolicies[0].modus", "unknown field `modus`"),
        ("  mode: ENFORCEMENT\n", "", 3, 3, "osPolicies[0]", "missing field `mode`"),
        ("id: install-httpd", "id: Install_httpd", 3, 3, "osPolicies[0].id", "a-z, 0-9 and -"),
        ("id: run", "id: pkg", 12, 7, "osPolicies[0].resourceGroups[0].resources[1].id", "earlier resource"),
        (
            "yum: {name: httpd}",
            "yum: {name: [httpd]}",
            11,
            50,
            "osPolicies[0].resourceGroups[0].resources[0].pkg.yum.name",
            "a string",
        ),
        ("yum: {name: httpd}", "yum: {name: -x}", 11, 44, "osPolicies[0].resourceGroups[0].resources[0].pkg.yum.name", "letters"),
        (", yum: {name: httpd}", "", 11, 7, "osPolicies[0].resourceGroups[0].resources[0].pkg", "0 package systems"),
        (
            "          interpreter: SHELL\n          script: |",
            "          script: |",
            15,
            11,
            "osPolicies[0].resourceGroups[0].resources[1].exec.validate",
            "missing field",
        ),
        (
            "osShortName: rhel",
            "osShortName: ''",
            7,
            7,
            "osPolicies[0].resourceGroups[0].inventoryFilters[0].osShortName",
            "is needed",
        ),
        ("percent: 10", "percent: 0", 25, 22, "rollout.disruptionBudget.percent", "between 1 and 100"),
        ("percent: 10", "percent: many", 25, 31, "rollout.disruptionBudget.percent", "invalid type"),
        ("{percent: 10}", "{percent: 10, fixed: 1}", 25, 21, "rollout.disruptionBudget", "exactly one of"),
        ("minWaitDuration: 300s", "minWaitDuration: 5m", 26, 3, "rollout.minWaitDuration", "seconds with an s"),
        ("rollout:", "instanceFilter: {all: true}\nrollout:", 24, 1, "", "given twice"),
        ("role: web", "role: [web", 25, 1, "", ""),
        (
            "instanceFilter:\n  inclusionLabels:\n  - labels: {role: web}",
            "instanceFilter: {}",
            21,
            1,
            "instanceFilter",
            "is empty",
        ),
    ] {
        assert!(GOOD.contains(part), "{part:?} is not in the document");
        let read = read_policies("p.yaml", &GOOD.replacen(part, instead, 1));
        let found: Vec<String> = read.problems.iter().map(ToString::to_string).collect();
        let want = read
            .problems
            .iter()
            .any(|p| p.path == path && p.message.contains(words) && (path.is_empty() || (p.line, p.column) == (line, column)));
        assert!(want, "{instead:?}: wanted {line}:{column}: {path}: {words}; found {found:#?}");
        assert!(read.documents.is_empty(), "{instead:?} was taken all the same");
    }
}

#[test]
fn hostile_texts_are_refused() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &(b'b'..=b'h')
            .map(|c| format!("{}: &{} [{}]\n", c as char, c as char, vec![format!("*{}", (c - 1) as char); 10].join(",")))
            .collect::<String>();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for (text, words) in [
        (bomb, "values"),
        (deep, "nest"),
        ("a: *b\n".to_owned(), ""),
        (String::new(), "no document"),
        ("- 1\n".into(), "neither"),
    ] {
        let read = read_policies("x", &text);
        assert_eq!(read.documents, []);
        assert!(read.problems.iter().any(|p| p.message.contains(words)), "{words:?}: {:?}", read.problems);
    }
}
