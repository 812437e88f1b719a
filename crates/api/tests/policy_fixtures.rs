//! Documents in the shapes of Google's examples load as they are, and each limit of the format has a document that breaks it,
//! with the line, the column and the whole message.

#![expect(clippy::too_many_lines, reason = "tables")]

use std::collections::BTreeSet;
use std::path::Path;

use drydock_api::documents::{Document, read_policies};
use drydock_domain::policy::{OsPolicy, ResourceKind};

fn fixtures() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/policies");
    let mut files: Vec<_> = std::fs::read_dir(dir).expect("fixtures").map(|f| f.expect("a file").path()).collect();
    files.sort();
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).expect("text"))).collect()
}

fn policies(document: &Document) -> Vec<OsPolicy> {
    match document {
        Document::Assignment(own) => own.os_policies.clone(),
        Document::Policy(own) => vec![own.as_ref().clone()],
    }
}

/// What a resource is, down to its system and where its file comes from.
fn shape(kind: ResourceKind<'_>, text: &str) -> Vec<String> {
    let places = ["remote", "gcs", "localPath", "content", "script"];
    let place = places.iter().filter(|place| text.contains(&format!("\"{place}\":"))).map(|p| (*p).to_owned());
    let (what, word) = match kind {
        ResourceKind::Pkg(p) => ("pkg", format!("{:?}", p.desired_state)),
        ResourceKind::Repository(_) => ("repository", String::new()),
        ResourceKind::Exec(e) => ("exec", format!("{:?}", e.validate.interpreter)),
        ResourceKind::File(f) => ("file", format!("{:?}", f.state)),
        other => panic!("not of Google's format: {other:?}"),
    };
    let systems = ["apt", "deb", "yum", "zypper", "rpm", "googet", "msi", "goo"];
    let system = systems.iter().filter(|s| text.contains(&format!("\"{s}\":{{"))).map(|s| format!("{what} {s}"));
    [what.to_owned(), format!("{what} {word}")].into_iter().chain(place.map(|p| format!("{what} {p}"))).chain(system).collect()
}

#[test]
fn every_shape_of_googles_examples_loads_unchanged() {
    let mut seen = BTreeSet::new();
    for (name, text) in fixtures() {
        let read = read_policies(&name, &text);
        assert_eq!(read.problems, [], "{name}");
        assert_eq!(read.documents.len(), 1, "{name}");
        for policy in policies(&read.documents[0]) {
            seen.insert(format!("{:?}", policy.mode));
            for resource in policy.resource_groups.iter().flat_map(|g| &g.resources) {
                let text = serde_json::to_string(resource).expect("JSON");
                seen.extend(resource.kinds().into_iter().flat_map(|kind| shape(kind, &text)));
            }
            // What was read is written so that it is read again as the same.
            let again = read_policies(&name, &serde_json::to_string(&policy).expect("JSON"));
            assert_eq!(again.documents, [Document::Policy(Box::new(policy))], "{name}");
        }
    }
    for want in [
        "Validation",
        "Enforcement",
        "pkg Installed",
        "pkg Removed",
        "pkg apt",
        "pkg deb",
        "pkg yum",
        "pkg zypper",
        "pkg rpm",
        "pkg googet",
        "pkg msi",
        "pkg remote",
        "pkg gcs",
        "pkg localPath",
        "repository apt",
        "repository yum",
        "repository zypper",
        "repository goo",
        "exec None",
        "exec Shell",
        "exec Powershell",
        "exec script",
        "exec remote",
        "exec gcs",
        "exec localPath",
        "file Present",
        "file Absent",
        "file ContentsMatch",
        "file content",
        "file remote",
        "file gcs",
        "file localPath",
    ] {
        assert!(seen.contains(want), "no document has {want}: {seen:?}");
    }
}

/// `RESOURCE` stands in line 6, column 5.
const BASE: &str = "\
osPolicies:
- id: web
  mode: ENFORCEMENT
  resourceGroups:
  - resources:
    - RESOURCE
instanceFilter: {all: true}
rollout: {disruptionBudget: {percent: 10}, minWaitDuration: 300s}
variables: {port: '80'}
";

const GOOD_RESOURCE: &str = "{id: a, pkg: {desiredState: INSTALLED, apt: {name: nginx}}}";

/// Reads the document with a part changed; problems as `line:column: path: message`.
fn problems(part: &str, instead: &str) -> Vec<String> {
    assert!(BASE.contains(part), "{part:?} is not in the document");
    let text = BASE.replacen(part, instead, 1).replace("RESOURCE", GOOD_RESOURCE);
    let read = read_policies("f", &text);
    assert_eq!(read.documents.is_empty(), !read.problems.is_empty(), "{instead:?}");
    read.problems.iter().map(|p| p.to_string().split_off(2)).collect()
}

#[test]
fn the_base_is_good() {
    assert_eq!(problems("RESOURCE", GOOD_RESOURCE), Vec::<String>::new());
}

fn check(table: &[(&str, &str, &str)]) {
    let mut wrong = Vec::new();
    for (part, instead, want) in table {
        let found = problems(part, instead).join(" | ");
        if found != *want {
            let cut = instead.chars().take(100).collect::<String>();
            wrong.push(format!("{cut}\n  wanted {want}\n  found  {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Limits of the assignment, its filter and its rollout.
#[test]
fn bad_assignments_have_line_column_and_message() {
    let long = |n: usize| "x".repeat(n);
    let id = format!("- id: {}", long(64));
    let description = format!("description: {}\nosPolicies:", long(1025));
    check(&[
        (
            "- id: web",
            "- id: Web",
            r#"2:3: osPolicies[0].id: "Web" is not 1 to 63 of a-z, 0-9 and -, beginning with a letter, not ending with -"#,
        ),
        (
            "- id: web",
            "- id: web-",
            r#"2:3: osPolicies[0].id: "web-" is not 1 to 63 of a-z, 0-9 and -, beginning with a letter, not ending with -"#,
        ),
        (
            "- id: web",
            "- id: 1web",
            r#"2:3: osPolicies[0].id: "1web" is not 1 to 63 of a-z, 0-9 and -, beginning with a letter, not ending with -"#,
        ),
        (
            "- id: web",
            &id,
            r#"2:3: osPolicies[0].id: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" is not 1 to 63 of a-z, 0-9 and -, beginning with a letter, not ending with -"#,
        ),
        (
            "osPolicies:",
            "name: projects/p/locations/z/osPolicyAssignments/Bad\nosPolicies:",
            r#"1:1: name: "Bad" is not 1 to 63 of a-z, 0-9 and -, beginning with a letter, not ending with -"#,
        ),
        ("osPolicies:", &description, r#"1:1: description: is 1025 bytes long; at most 1024 are allowed"#),
        (
            "instanceFilter:",
            "- {id: web, mode: VALIDATION, resourceGroups: [{resources: [RESOURCE]}]}\ninstanceFilter:",
            r#"7:4: osPolicies[1].id: web is the id of an earlier policy of this assignment"#,
        ),
        (
            "  mode: ENFORCEMENT",
            "  mode: MODE_UNSPECIFIED",
            r#"3:9: osPolicies[0].mode: unknown variant `MODE_UNSPECIFIED`, expected `VALIDATION` or `ENFORCEMENT`"#,
        ),
        (
            "{all: true}",
            "{}",
            r#"7:1: instanceFilter: is empty; set all, inclusionLabels, exclusionLabels, inventories, groups or environments"#,
        ),
        (
            "{all: true}",
            "{all: true, inventories: [{osShortName: rhel}]}",
            r#"7:18: instanceFilter.all: cannot be combined with other criteria"#,
        ),
        (
            "{all: true}",
            "{inclusionLabels: [{labels: {}}]}",
            r#"7:37: instanceFilter.inclusionLabels[0].labels: is empty; it would match every host"#,
        ),
        (
            "{all: true}",
            "{exclusionLabels: [{labels: {Env: prod}}]}",
            r#"7:46: instanceFilter.exclusionLabels[0].labels.Env: a label key starts with a-z, holds a-z 0-9 _ - and has at most 63 characters"#,
        ),
        (
            "{all: true}",
            "{inventories: [{osVersion: '8'}]}",
            r#"7:32: instanceFilter.inventories[0]: missing field `osShortName`"#,
        ),
        (
            "{all: true}",
            "{inventories: [{osShortName: rhel, osVersion: '8*.1'}]}",
            r#"7:52: instanceFilter.inventories[0].osVersion: may have one * and only at its end"#,
        ),
        ("{all: true}", "{groups: ['']}", r#"7:18: instanceFilter.groups: has an empty entry"#),
        ("percent: 10", "percent: 101", r#"8:30: rollout.disruptionBudget.percent: must be between 1 and 100"#),
        ("percent: 10", "percent: -1", r#"8:39: rollout.disruptionBudget.percent: invalid value: integer `-1`, expected u32"#),
        ("percent: 10", "fixed: 0", r#"8:30: rollout.disruptionBudget.fixed: must be at least 1"#),
        ("{percent: 10}", "{}", r#"8:29: rollout.disruptionBudget: has 0 keys; give exactly one of fixed, percent"#),
        ("300s", "5m", r#"8:44: rollout.minWaitDuration: is seconds with an s, such as 300s"#),
        ("300s", "-3s", r#"8:44: rollout.minWaitDuration: is seconds with an s, such as 300s"#),
        ("rollout: {disruptionBudget: {percent: 10}, minWaitDuration: 300s}\n", "", r#"1:1: missing field `rollout`"#),
        (
            "  - resources:\n    - RESOURCE",
            "  - resources: []",
            r#"5:5: osPolicies[0].resourceGroups[0].resources: is empty; a resource group has at least one resource"#,
        ),
        (
            "  resourceGroups:\n  - resources:\n    - RESOURCE",
            "  resourceGroups: []",
            r#"4:3: osPolicies[0].resourceGroups: is empty; a policy has at least one resource group"#,
        ),
        (
            "    - RESOURCE",
            "    - RESOURCE\n  - resources: [RESOURCE]",
            r#"5:5: osPolicies[0].resourceGroups[0]: matches every host, so the groups after it are never used; give inventoryFilters, or put it last"#,
        ),
        (
            "{port: '80'}",
            "{1port: '80'}",
            r#"9:13: variables.1port: "1port" is not 1 to 63 letters, digits, _ and -, beginning with a letter or _"#,
        ),
        ("{port: '80'}", "{port: [80]}", r#"9:19: variables.port: invalid type: sequence, expected a string"#),
    ]);
}

/// Limits of the four kinds of Google's format.
#[test]
fn bad_resources_of_googles_kinds_have_line_column_and_message() {
    let content = format!("{{id: a, file: {{path: /a, state: CONTENTS_MATCH, content: {}}}}}", "x".repeat(32 * 1024 + 1));
    let script = format!(
        "{{id: a, exec: {{validate: {{interpreter: SHELL, script: {0}}}, enforce: {{interpreter: SHELL, script: x}}}}}}",
        "x".repeat(32 * 1024 + 1)
    );
    let sum = "a".repeat(63);
    let short =
        format!("{{id: a, file: {{path: /a, state: PRESENT, file: {{remote: {{uri: 'https://e/a', sha256Checksum: {sum}}}}}}}}}");
    let table: &[(&str, &str)] = &[
        (
            "{id: A, sysctl: {key: a.b, value: '1'}}",
            r#"6:8: osPolicies[0].resourceGroups[0].resources[0].id: "A" is not 1 to 63 of a-z, 0-9 and -, beginning with a letter, not ending with -"#,
        ),
        (
            "{id: a}",
            r#"6:7: osPolicies[0].resourceGroups[0].resources[0]: says nothing; give one of pkg, repository, exec, file, service, user, group, sysctl, kernelModule, timer, cron, directory, symlink or line"#,
        ),
        (
            "{id: a, pkg: {desiredState: INSTALLED, apt: {name: x}}, file: {path: /a, state: ABSENT}}",
            r#"6:7: osPolicies[0].resourceGroups[0].resources[0]: is 2 things at once; make a resource of each"#,
        ),
        (
            "{id: a, pkg: {desiredState: PRESENT, apt: {name: x}}}",
            r#"6:35: osPolicies[0].resourceGroups[0].resources[0].pkg.desiredState: unknown variant `PRESENT`, expected `INSTALLED` or `REMOVED`"#,
        ),
        (
            "{id: a, pkg: {apt: {name: x}}}",
            r#"6:20: osPolicies[0].resourceGroups[0].resources[0].pkg: missing field `desiredState`"#,
        ),
        (
            "{id: a, pkg: {desiredState: INSTALLED}}",
            r#"6:15: osPolicies[0].resourceGroups[0].resources[0].pkg: has 0 package systems; give one of apt, deb, yum, zypper, rpm, googet and msi"#,
        ),
        (
            "{id: a, pkg: {desiredState: INSTALLED, apt: {name: x}, yum: {name: x}}}",
            r#"6:15: osPolicies[0].resourceGroups[0].resources[0].pkg: has 2 package systems; give one of apt, deb, yum, zypper, rpm, googet and msi"#,
        ),
        (
            "{id: a, pkg: {desiredState: INSTALLED, apt: {name: 'x; rm'}}}",
            r#"6:52: osPolicies[0].resourceGroups[0].resources[0].pkg.apt.name: "x; rm" is not 1 to 255 letters, digits and +-._:"#,
        ),
        (
            "{id: a, pkg: {desiredState: INSTALLED, apt: {name: x, versions: 1}}}",
            r#"6:61: osPolicies[0].resourceGroups[0].resources[0].pkg.apt.versions: unknown field `versions`, expected one of `name`, `version`, `hold`"#,
        ),
        (
            "{id: a, pkg: {desiredState: REMOVED, deb: {source: {localPath: /a.deb}}}}",
            r#"6:21: osPolicies[0].resourceGroups[0].resources[0].pkg.desiredState: is REMOVED, and deb can only be INSTALLED"#,
        ),
        (
            "{id: a, pkg: {desiredState: REMOVED, rpm: {source: {localPath: /a.rpm}}}}",
            r#"6:21: osPolicies[0].resourceGroups[0].resources[0].pkg.desiredState: is REMOVED, and rpm can only be INSTALLED"#,
        ),
        (
            "{id: a, pkg: {desiredState: REMOVED, msi: {source: {localPath: 'C:\\a.msi'}}}}",
            r#"6:21: osPolicies[0].resourceGroups[0].resources[0].pkg.desiredState: is REMOVED, and msi can only be INSTALLED"#,
        ),
        (
            "{id: a, pkg: {desiredState: INSTALLED, deb: {source: {remote: {uri: 'https://e/a.deb'}}}}}",
            r#"6:61: osPolicies[0].resourceGroups[0].resources[0].pkg.deb.source.remote.sha256Checksum: is needed; or say allowInsecure"#,
        ),
        (
            "{id: a, pkg: {desiredState: INSTALLED, rpm: {source: {gcs: {bucket: b, object: o}}}}}",
            r#"6:61: osPolicies[0].resourceGroups[0].resources[0].pkg.rpm.source.gcs.generation: is needed; or say allowInsecure"#,
        ),
        (
            "{id: a, pkg: {desiredState: INSTALLED, rpm: {source: {gcs: {bucket: b, object: o, generation: x1}}}}}",
            r#"6:89: osPolicies[0].resourceGroups[0].resources[0].pkg.rpm.source.gcs.generation: is not a generation number"#,
        ),
        (
            "{id: a, pkg: {desiredState: INSTALLED, rpm: {source: {localPath: /a, gcs: {bucket: b, object: o, generation: 1}}}}}",
            r#"6:52: osPolicies[0].resourceGroups[0].resources[0].pkg.rpm.source: has 2 places; give one of remote, gcs and localPath"#,
        ),
        (
            &short,
            r#"6:84: osPolicies[0].resourceGroups[0].resources[0].file.file.remote.sha256Checksum: is not 64 hexadecimal digits"#,
        ),
        (
            "{id: a, repository: {}}",
            r#"6:15: osPolicies[0].resourceGroups[0].resources[0].repository: has 0 systems; give one of apt, yum, zypper and goo"#,
        ),
        (
            "{id: a, repository: {apt: {archiveType: DEB, uri: 'https://e', distribution: s, components: []}}}",
            r#"6:87: osPolicies[0].resourceGroups[0].resources[0].repository.apt.components: is empty; give at least one, such as main"#,
        ),
        (
            "{id: a, repository: {apt: {archiveType: RPM, uri: 'https://e', distribution: s, components: [main]}}}",
            r#"6:47: osPolicies[0].resourceGroups[0].resources[0].repository.apt.archiveType: unknown variant `RPM`, expected `DEB` or `DEB_SRC`"#,
        ),
        (
            "{id: a, repository: {yum: {id: 'a b', baseUrl: 'https://e'}}}",
            r#"6:34: osPolicies[0].resourceGroups[0].resources[0].repository.yum.id: "a b" is not 1 to 255 letters, digits and -_.:"#,
        ),
        (
            "{id: a, repository: {zypper: {id: a, baseUrl: e}}}",
            r#"6:44: osPolicies[0].resourceGroups[0].resources[0].repository.zypper.baseUrl: "e" is not an address such as https://example.org/file"#,
        ),
        (
            "{id: a, exec: {validate: {interpreter: SHELL, script: x}}}",
            r#"6:15: osPolicies[0].resourceGroups[0].resources[0].exec.enforce: is needed: the policy's mode is ENFORCEMENT"#,
        ),
        (
            "{id: a, exec: {validate: {script: x}, enforce: {interpreter: SHELL, script: x}}}",
            r#"6:32: osPolicies[0].resourceGroups[0].resources[0].exec.validate: missing field `interpreter`"#,
        ),
        (
            "{id: a, exec: {validate: {interpreter: BASH, script: x}, enforce: {interpreter: SHELL, script: x}}}",
            r#"6:46: osPolicies[0].resourceGroups[0].resources[0].exec.validate.interpreter: unknown variant `BASH`, expected one of `NONE`, `SHELL`, `POWERSHELL`"#,
        ),
        (
            "{id: a, exec: {validate: {interpreter: SHELL}, enforce: {interpreter: SHELL, script: x}}}",
            r#"6:22: osPolicies[0].resourceGroups[0].resources[0].exec.validate: needs exactly one of file and script"#,
        ),
        (
            "{id: a, exec: {validate: {interpreter: SHELL, script: x, file: {localPath: /a}}, enforce: {interpreter: SHELL, script: x}}}",
            r#"6:22: osPolicies[0].resourceGroups[0].resources[0].exec.validate: needs exactly one of file and script"#,
        ),
        (
            "{id: a, exec: {validate: {interpreter: SHELL, script: x}, enforce: {interpreter: SHELL, script: x, outputFilePath: out}}}",
            r#"6:106: osPolicies[0].resourceGroups[0].resources[0].exec.enforce.outputFilePath: "out" is not an absolute path"#,
        ),
        (
            &script,
            r#"6:53: osPolicies[0].resourceGroups[0].resources[0].exec.validate.script: is 32769 bytes long; at most 32768 are allowed"#,
        ),
        (
            &content,
            r#"6:55: osPolicies[0].resourceGroups[0].resources[0].file.content: is 32769 bytes long; at most 32768 are allowed"#,
        ),
        (
            "{id: a, file: {path: etc/motd, state: ABSENT}}",
            r#"6:22: osPolicies[0].resourceGroups[0].resources[0].file.path: "etc/motd" is not an absolute path"#,
        ),
        (
            "{id: a, file: {path: /etc/../motd, state: ABSENT}}",
            r#"6:22: osPolicies[0].resourceGroups[0].resources[0].file.path: must not hold . or .. parts"#,
        ),
        (
            "{id: a, file: {path: /a, state: MATCH, content: x}}",
            r#"6:39: osPolicies[0].resourceGroups[0].resources[0].file.state: unknown variant `MATCH`, expected one of `PRESENT`, `ABSENT`, `CONTENTS_MATCH`"#,
        ),
        (
            "{id: a, file: {path: /a, state: CONTENTS_MATCH}}",
            r#"6:15: osPolicies[0].resourceGroups[0].resources[0].file: needs file or content"#,
        ),
        (
            "{id: a, file: {path: /a, state: PRESENT, content: x, file: {localPath: /b}}}",
            r#"6:15: osPolicies[0].resourceGroups[0].resources[0].file: has file and content; keep one"#,
        ),
        (
            "{id: a, file: {path: /a, state: PRESENT, content: x, permissions: rw-r--r--}}",
            r#"6:60: osPolicies[0].resourceGroups[0].resources[0].file.permissions: "rw-r--r--" is not three or four octal digits, such as "644""#,
        ),
        (
            "{id: a, file: {path: /a, state: PRESENT, content: x, permissions: 64}}",
            r#"6:60: osPolicies[0].resourceGroups[0].resources[0].file.permissions: "64" is not three or four octal digits, such as "644""#,
        ),
        (
            "{id: a, file: {path: /a, state: PRESENT, file: {localPath: b}}}",
            r#"6:55: osPolicies[0].resourceGroups[0].resources[0].file.file.localPath: "b" is not an absolute path"#,
        ),
    ];
    let table: Vec<(&str, &str, &str)> = table.iter().map(|(resource, want)| ("RESOURCE", *resource, *want)).collect();
    check(&table);
}

/// What is additional: order, notices, templates and the kinds that Google's format lacks.
#[test]
fn bad_additions_have_line_column_and_message() {
    let cycle =
        "{id: a, dependsOn: [b], sysctl: {key: a.b, value: '1'}}\n    - {id: b, dependsOn: [a], sysctl: {key: a.c, value: '1'}}";
    let file = "sysctl: {key: a.b, value: '1'}";
    let with = |more: &str| format!("{{id: a, {more}, {file}}}");
    let rows = [
        (
            cycle.to_owned(),
            r#"6:27: osPolicies[0].resourceGroups[0].resources[0].dependsOn[0]: "b" is not the id of an earlier resource of this group"#,
        ),
        (
            with("dependsOn: [nobody]"),
            r#"6:27: osPolicies[0].resourceGroups[0].resources[0].dependsOn[0]: "nobody" is not the id of an earlier resource of this group"#,
        ),
        (
            with("dependsOn: [a]"),
            r#"6:27: osPolicies[0].resourceGroups[0].resources[0].dependsOn[0]: "a" is not the id of an earlier resource of this group"#,
        ),
        (
            with("notify: [nobody]"),
            r#"6:24: osPolicies[0].resourceGroups[0].resources[0].notify[0]: "nobody" is not the id of a service resource of this group"#,
        ),
        (
            format!("{}\n    - {{id: b, notify: [a], {file}}}", with("timeoutSecs: 5")),
            r#"7:24: osPolicies[0].resourceGroups[0].resources[1].notify[0]: "a" is not the id of a service resource of this group"#,
        ),
        (
            with("timeoutSecs: 0"),
            r#"6:15: osPolicies[0].resourceGroups[0].resources[0].timeoutSecs: must be between 1 and 21600 seconds"#,
        ),
        (
            with("timeoutSecs: 21601"),
            r#"6:15: osPolicies[0].resourceGroups[0].resources[0].timeoutSecs: must be between 1 and 21600 seconds"#,
        ),
        (
            with("onUnassign: DROP"),
            r#"6:27: osPolicies[0].resourceGroups[0].resources[0].onUnassign: unknown variant `DROP`, expected `KEEP` or `REMOVE`"#,
        ),
        (
            "{id: a, service: {name: x}}".to_owned(),
            r#"6:15: osPolicies[0].resourceGroups[0].resources[0].service: says nothing; set running, enabled or masked"#,
        ),
        (
            "{id: a, service: {name: x, running: maybe}}".to_owned(),
            r#"6:43: osPolicies[0].resourceGroups[0].resources[0].service.running: invalid value: "maybe", expected true or false"#,
        ),
        (
            "{id: a, user: {name: Bad}}".to_owned(),
            r#"6:22: osPolicies[0].resourceGroups[0].resources[0].user.name: "Bad" is not the name of an account: 1 to 32 of a-z, 0-9, _ and -"#,
        ),
        (
            "{id: a, line: {path: /a, line: b=1, startsWith: c=}}".to_owned(),
            r#"6:43: osPolicies[0].resourceGroups[0].resources[0].line.startsWith: is not how the line begins: it would be added again and again"#,
        ),
        (
            "{id: a, template: true, file: {path: /a, state: PRESENT, content: '{{ vars.host }}'}}".to_owned(),
            r#"6:64: osPolicies[0].resourceGroups[0].resources[0].file.content: {{ vars.host }}: the assignment has no variable host; give it, or write {{ vars.host | default "…" }}"#,
        ),
        (
            "{id: a, template: true, file: {path: /a, state: PRESENT, content: '{{ hosts.name }}'}}".to_owned(),
            r#"6:64: osPolicies[0].resourceGroups[0].resources[0].file.content: {{ hosts.name }}: there is no such name; there are vars.NAME, labels.KEY, secret.NAME, host.name, host.hostname, host.os.shortName, host.os.version, host.arch, host.zone, host.group and host.environment"#,
        ),
        (
            "{id: a, template: true, file: {path: /a, state: PRESENT, content: '{{ vars.port | upper }}'}}".to_owned(),
            r#"6:64: osPolicies[0].resourceGroups[0].resources[0].file.content: {{ vars.port …: after a name only }} or | default "…" may come"#,
        ),
        (
            "{id: a, template: true, file: {path: /a, state: PRESENT, content: '{{ vars.port '}}".to_owned(),
            r#"6:64: osPolicies[0].resourceGroups[0].resources[0].file.content: has {{ without }}; write {{ "{{" }} for the signs themselves"#,
        ),
        (
            "{id: a, template: true, file: {path: '/{{ secret.x }}', state: ABSENT}}".to_owned(),
            r#"6:38: osPolicies[0].resourceGroups[0].resources[0].file.path: {{ secret.x }}: a secret may stand only in the content of a file, a line, the script or arguments of exec, and the command of cron or timer"#,
        ),
        (
            "{id: a, template: true, file: {path: '{{ vars.port }}', state: ABSENT}}".to_owned(),
            r#"6:38: osPolicies[0].resourceGroups[0].resources[0].file.path: "80" is not an absolute path"#,
        ),
        (
            "{id: a, file: {path: /a, state: PRESENT, content: \"\u{F5EC}x\u{F5ED}\"}}".to_owned(),
            r#"6:48: osPolicies[0].resourceGroups[0].resources[0].file.content: holds U+F5EC or U+F5ED, which mark secrets; remove them and write {{ secret.NAME }}"#,
        ),
        (
            "{id: a, pkg: {desiredState: INSTALLED, apt: {name: x, version: {newest: {}}}}}".to_owned(),
            r#"6:71: osPolicies[0].resourceGroups[0].resources[0].pkg.apt.version.newest: unknown variant `newest`, expected one of `latest`, `exact`, `atLeast`, `below`"#,
        ),
        (
            "{id: a, pkg: {desiredState: REMOVED, apt: {name: x, hold: true}}}".to_owned(),
            r#"6:44: osPolicies[0].resourceGroups[0].resources[0].pkg.apt: cannot say a version or hold of a package that is to be removed"#,
        ),
    ];
    let table: Vec<(&str, &str, &str)> = rows.iter().map(|(resource, want)| ("RESOURCE", resource.as_str(), *want)).collect();
    check(&table);
    // A policy that stands alone: its variables are unknown, so any name will do; places are its own.
    let alone = "id: p\nmode: ENFORCEMENT\nresourceGroups:\n- resources:\n  - {id: a, template: true, file: {path: '/{{ vars.any }}', state: ABSENT}}\n";
    assert_eq!(read_policies("f", alone).problems, []);
}
