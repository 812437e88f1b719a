//! `drydock access check|test`: access policies, read and tried without a server, before they are handed to one.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use drydock_domain::access::POLICY_MAX_BYTES;
use drydock_domain::access::compartment::{Compartment, Tree};
use drydock_domain::access::compile::{Compiled, Policy, compile};
use drydock_domain::access::decide::{Bearing, Explanation, explain};
use drydock_domain::access::dynamic_group::{DynamicGroup, Join, MatchingRules, MemberFacts, groups_of};
use drydock_domain::access::parse::statements;
use drydock_domain::access::permissions::Right;
use drydock_domain::access::request::{Facts, Membership, Principal, Resource};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document;
use crate::args::statement::{CheckStatementsArgs, TestAccessArgs};
use crate::failure::Failure;
use crate::world::World;

/// One file, bytes.
const FILE_MAX_BYTES: u64 = POLICY_MAX_BYTES as u64;

/// Runs `access check`.
pub(super) fn check(args: &CheckStatementsArgs, world: &mut World) -> Result<(), Failure> {
    let (mut found, mut problems) = (0, Vec::new());
    for file in &args.files {
        let (name, text) = read(file, world)?;
        match statements(&text) {
            Ok(all) => found += all.len(),
            Err(bad) => problems.push(format!("{name}:{}:{}: {}", bad.line, bad.column, bad.message)),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Usage(format!("the statements cannot be read:\n{}", problems.join("\n"))));
    }
    let what = if found == 1 { "statement" } else { "statements" };
    Ok(writeln!(world.out, "{found} {what}: no problem found")?)
}

pub(super) fn read(file: &Path, world: &mut World) -> Result<(String, String), Failure> {
    let name = if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() };
    let unreadable = |e: std::io::Error| Failure::Usage(format!("cannot read {name}: {e}"));
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        world.input.by_ref().take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        opened.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(Failure::Usage(format!("{name} is longer than {FILE_MAX_BYTES} bytes; split it")));
    }
    let text = String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{name} is not UTF-8 text")))?;
    Ok((name, text))
}

/// A request, as a file describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestFile {
    /// Absent: the tenancy alone, with the id `tenancy`.
    #[serde(default)]
    compartments: Vec<CompartmentEntry>,
    /// Id of the compartment the policies are attached to; absent: the tenancy.
    attached_to: Option<String>,
    principal: PrincipalEntry,
    #[serde(default)]
    dynamic_groups: Vec<DynamicGroupEntry>,
    #[serde(default)]
    resource: ResourceEntry,
    /// Absent: the time of this computer.
    now: Option<Timestamp>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CompartmentEntry {
    id: String,
    name: String,
    parent: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PrincipalEntry {
    /// `user`, `serviceaccount`, `service`, `instance` or the type of another resource.
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    name: String,
    #[serde(default)]
    second_factor: bool,
    #[serde(default)]
    groups: Vec<GroupEntry>,
    /// Where an instance or another resource lives, for dynamic groups; absent: in the tenancy.
    compartment: Option<String>,
    /// `NAMESPACE.KEY: value`, for dynamic groups.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// For dynamic groups.
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupEntry {
    name: String,
    id: Option<String>,
    domain: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DynamicGroupEntry {
    name: String,
    id: Option<String>,
    rules: String,
    /// Of several rules all have to match; absent: one is enough.
    #[serde(default)]
    all_rules: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceEntry {
    /// Its id; absent: the tenancy.
    compartment: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    id: Option<String>,
    name: Option<String>,
}

/// What is decided, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    permission: &'static str,
    allowed: bool,
    decision: String,
    considered: Vec<Considered>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Considered {
    policy: String,
    line: usize,
    statement: String,
    bearing: String,
}

/// Runs `access test` on files.
pub(super) fn test(args: &TestAccessArgs, facts: &Path, world: &mut World) -> Result<(), Failure> {
    let (name, text) = read(facts, world)?;
    let is_json = facts.extension().is_some_and(|e| e == "json");
    let request: RequestFile = if is_json {
        serde_json::from_str(&text).map_err(|e| Failure::Usage(format!("{name}: {e}")))?
    } else {
        serde_saphyr::from_str(&text)
            .map_err(|e| Failure::Usage(format!("{name}: {}", e.to_string().trim_start_matches("error: "))))?
    };
    let rights = args.permissions.iter().map(|p| right(p)).collect::<Result<Vec<_>, _>>()?;
    let tree = tree(&request).map_err(|e| Failure::Usage(format!("{name}: {e}")))?;
    let root = tree.id(tree.root()).to_owned();
    let attached = request.attached_to.clone().unwrap_or_else(|| root.clone());
    let compiled = compile(&policies(&args.policies, &attached, world)?, tree);
    for misplaced in compiled.misplaced() {
        writeln!(world.err, "note: {misplaced}")?;
    }
    let answers =
        answers(&compiled, &request, &rights, &root, (world.now)()).map_err(|e| Failure::Usage(format!("{name}: {e}")))?;
    if document(&answers, args.output, world)? {
        return Ok(());
    }
    for answer in &answers {
        writeln!(world.out, "{}: {}", answer.permission, answer.decision)?;
        for one in &answer.considered {
            writeln!(world.out, "  {}:{}: {}\n    {}", one.policy, one.line, one.statement, one.bearing)?;
        }
    }
    Ok(())
}

fn right(name: &str) -> Result<Right, Failure> {
    Right::named(name).map_err(|e| Failure::Usage(e.to_string()))
}

fn policies(files: &[PathBuf], attached: &str, world: &mut World) -> Result<Vec<Policy>, Failure> {
    let mut found = Vec::new();
    for file in files {
        let (name, text) = read(file, world)?;
        let policy = Policy::parse(&name, attached, &text)
            .map_err(|bad| Failure::Usage(format!("{name}:{}:{}: {}", bad.line, bad.column, bad.message)))?;
        found.push(policy);
    }
    Ok(found)
}

fn tree(request: &RequestFile) -> Result<Tree, String> {
    let given = request.compartments.iter();
    let mut all: Vec<Compartment> =
        given.map(|c| Compartment { id: c.id.clone(), name: c.name.clone(), parent: c.parent.clone() }).collect();
    if all.is_empty() {
        all.push(Compartment { id: "tenancy".to_owned(), name: "tenancy".to_owned(), parent: None });
    }
    Tree::build(&all).map_err(|e| e.to_string())
}

fn answers(
    compiled: &Compiled,
    request: &RequestFile,
    rights: &[Right],
    root: &str,
    now: Timestamp,
) -> Result<Vec<Answer>, String> {
    let principal = principal(request, root)?;
    let mut resource = Resource::in_compartment(request.resource.compartment.as_deref().unwrap_or(root));
    let ResourceEntry { kind, id, name, .. } = &request.resource;
    if let (Some(kind), Some(id)) = (kind, id) {
        resource = resource.one(kind, id, name.as_deref().unwrap_or_default());
    } else if kind.is_some() || id.is_some() || name.is_some() {
        return Err("resource: one resource needs type and id".to_owned());
    }
    let mut facts = Facts::at(request.now.unwrap_or(now));
    for (variable, value) in &request.variables {
        facts = facts.with(variable, value).map_err(|e| format!("variables: {e}"))?;
    }
    Ok(rights.iter().map(|right| answer(*right, explain(compiled, &principal, *right, &resource, &facts))).collect())
}

fn answer(right: Right, explained: Explanation<'_>) -> Answer {
    let considered = explained.considered.into_iter().map(|(placed, bearing)| Considered {
        policy: placed.policy.clone(),
        line: placed.line,
        statement: placed.statement.to_string(),
        bearing: match bearing {
            Bearing::Holds => "holds".to_owned(),
            Bearing::ConditionFalse(why) => format!("its condition is false: {why}"),
            Bearing::Elsewhere(path) => format!("holds elsewhere: {path}"),
            Bearing::Others => "is about others".to_owned(),
        },
    });
    Answer {
        permission: right.name(),
        allowed: explained.decision.is_allowed(),
        decision: explained.decision.to_string(),
        considered: considered.collect(),
    }
}

fn principal(request: &RequestFile, root: &str) -> Result<Principal, String> {
    let own = &request.principal;
    let id = own.id.as_deref().unwrap_or(&own.name);
    let start = match own.kind.as_str() {
        "user" => Principal::user(id, &own.name, own.second_factor),
        "serviceaccount" => Principal::service_account(id, &own.name),
        "service" => Principal::service(&own.name),
        "instance" => Principal::instance(id, &own.name),
        kind => Principal::resource(kind, id, &own.name),
    };
    let member =
        |name: &str, id: &Option<String>, domain: Option<&str>| Membership::new(id.as_deref().unwrap_or(name), domain, name);
    let with_groups = own.groups.iter().fold(start, |p, g| p.in_group(&member(&g.name, &g.id, g.domain.as_deref())));
    if matches!(own.kind.as_str(), "user" | "serviceaccount" | "service") {
        return Ok(with_groups);
    }
    let mut facts = MemberFacts::resource(&own.kind, id, own.compartment.as_deref().unwrap_or(root));
    for (tag, value) in &own.tags {
        let (namespace, key) = tag.split_once('.').ok_or_else(|| format!("principal.tags: {tag} is not NAMESPACE.KEY"))?;
        facts = facts.tag(namespace, key, value);
    }
    let facts = own.labels.iter().fold(facts, |facts, (key, value)| facts.label(key, value));
    let mut groups = Vec::new();
    for group in &request.dynamic_groups {
        let join = if group.all_rules { Join::All } else { Join::Any };
        let rules =
            MatchingRules::parse(&group.rules, join).map_err(|e| format!("the rules of dynamic group {}: {e}", group.name))?;
        groups.push(DynamicGroup { membership: member(&group.name, &group.id, None), rules });
    }
    Ok(groups_of(&groups, &facts).into_iter().fold(with_groups, |p, group| p.in_dynamic_group(group)))
}
