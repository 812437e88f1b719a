//! OS policy documents: read from files, and for `check` and `resolve` put together without a server.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use comfy_table::Table;
use drydock_api::documents::{Document, Problem, read_policies};
use drydock_domain::instance::Labels;
use drydock_domain::policy::assignment::SelectionFacts;
use drydock_domain::policy::{
    AssignmentFilter, Conflict, HostFacts, LabelSet, Mode, OsPolicy, OsPolicyAssignment, PolicyRollout, Resolution, resolve,
};
use serde::Serialize;

use crate::args::policy::{BareArgs, CheckArgs, ResolveArgs};
use crate::commands::{document, print_table};
use crate::failure::Failure;
use crate::world::World;

/// One file, bytes; a larger one is no policy.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Files of one directory, count.
const FILES_MAX: usize = 1000;

/// `policy check`.
pub fn check(args: &CheckArgs, world: &mut World) -> Result<(), Failure> {
    let found = read_all(&args.paths, world)?;
    let (mut assignments, mut policies) = (0, 0);
    for (_, document) in &found {
        match document {
            Document::Assignment(own) => {
                assignments += 1;
                policies += own.os_policies.len();
            }
            Document::Policy(_) => policies += 1,
        }
    }
    let plural = |n: usize, one: &str, many: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {many}") };
    let (assignments, policies) = (plural(assignments, "assignment", "assignments"), plural(policies, "policy", "policies"));
    Ok(writeln!(world.out, "{assignments} with {policies} in all: no problem found")?)
}

/// Documents with the name of their file; every problem of every file is in the failure.
pub fn read_all(paths: &[PathBuf], world: &mut World) -> Result<Vec<(String, Document)>, Failure> {
    let mut documents = Vec::new();
    let mut problems: Vec<Problem> = Vec::new();
    for (name, text) in texts(paths, world)? {
        let read = read_policies(&name, &text);
        documents.extend(read.documents.into_iter().map(|d| (name.clone(), d)));
        problems.extend(read.problems);
    }
    if problems.is_empty() {
        return Ok(documents);
    }
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(Failure::Usage(format!("{} in the policy documents:\n{}", count(lines.len()), lines.join("\n"))))
}

fn count(n: usize) -> String {
    if n == 1 { "1 problem".to_owned() } else { format!("{n} problems") }
}

fn texts(paths: &[PathBuf], world: &mut World) -> Result<Vec<(String, String)>, Failure> {
    let mut texts = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            texts.push(("-".to_owned(), read_text(&mut world.input, "standard input")?));
        } else if path.is_dir() {
            let mut files = files_of(path)?;
            files.sort();
            if files.is_empty() {
                return Err(Failure::Usage(format!("{} holds no .yaml, .yml or .json file", path.display())));
            }
            for file in files {
                texts.push(open(&file)?);
            }
        } else {
            texts.push(open(path)?);
        }
    }
    Ok(texts)
}

fn files_of(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |e: std::io::Error| Failure::Usage(format!("cannot read the directory {}: {e}", dir.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_ours = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if is_ours && path.is_file() {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(Failure::Usage(format!("{} holds more than {FILES_MAX} files", dir.display())));
        }
    }
    Ok(files)
}

fn open(path: &Path) -> Result<(String, String), Failure> {
    let name = path.display().to_string();
    let mut file = std::fs::File::open(path).map_err(|e| Failure::Usage(format!("cannot open {name}: {e}")))?;
    let text = read_text(&mut file, &name)?;
    Ok((name, text))
}

fn read_text(from: &mut dyn Read, name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    from.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| Failure::Usage(format!("cannot read {name}: {e}")))?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(Failure::Usage(format!("{name} is longer than {FILE_MAX_BYTES} bytes; it is no policy")));
    }
    String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{name} is not UTF-8 text")))
}

/// What one host gets, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Resolved {
    resources: Vec<ResolvedResource>,
    unmatched: Vec<String>,
    /// Policies whose templates have no value on the host, each with what is missing.
    invalid: Vec<String>,
    conflicts: Vec<Conflict>,
    overridden: Vec<Conflict>,
    /// Names of secrets that the host needs.
    secrets: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResolvedResource {
    assignment: String,
    policy: String,
    mode: Mode,
    resource: String,
}

/// `policy resolve`.
pub fn resolve_for(args: &ResolveArgs, world: &mut World) -> Result<(), Failure> {
    let documents = read_all(&args.paths, world)?;
    let assignments = assignments(documents)?;
    let given: Vec<(&str, &OsPolicyAssignment)> = assignments.iter().map(|(id, a)| (id.as_str(), a)).collect();
    let labels: Labels = args.labels.iter().cloned().collect();
    let (os_short_name, os_version) = args.os.split_once(':').unwrap_or((&args.os, ""));
    let (group, environment) = (args.group.as_deref(), args.environment.as_deref());
    let selection = SelectionFacts { labels: &labels, os_short_name, os_version, group, environment };
    let text = |given: &'_ Option<String>| given.clone().unwrap_or_default();
    let (name, hostname, architecture, zone) =
        (text(&args.name), text(&args.hostname), text(&args.architecture), text(&args.zone));
    let facts = HostFacts { selection, name: &name, hostname: &hostname, architecture: &architecture, zone: &zone };
    let resolution = resolve(&given, facts);
    let resolved = told(&resolution);
    if document(&resolved, args.output, world)? {
        return Ok(());
    }
    let mut table = Table::new();
    table.set_header(["#", "ASSIGNMENT", "POLICY", "MODE", "RESOURCE"]);
    for (i, r) in resolved.resources.iter().enumerate() {
        let mode = if r.mode == Mode::Enforcement { "ENFORCEMENT" } else { "VALIDATION" };
        table.add_row([&(i + 1).to_string(), &r.assignment, &r.policy, mode, &r.resource]);
    }
    print_table(table, world)?;
    for policy in &resolved.unmatched {
        writeln!(world.out, "no resource group of {policy} is for this host: it would be NON_COMPLIANT")?;
    }
    for policy in &resolved.invalid {
        writeln!(world.out, "cannot be filled in: {policy}")?;
    }
    for (what, list) in [("conflict", &resolved.conflicts), ("overridden", &resolved.overridden)] {
        for conflict in list {
            writeln!(world.out, "{what}: {}", conflict.describe())?;
        }
    }
    Ok(())
}

/// Assignments by id; a bare policy stands for one that is for every host, with its own id.
fn assignments(documents: Vec<(String, Document)>) -> Result<Vec<(String, OsPolicyAssignment)>, Failure> {
    let mut out: Vec<(String, OsPolicyAssignment)> = Vec::new();
    for (n, (file, document)) in documents.into_iter().enumerate() {
        let (id, assignment) = match document {
            Document::Assignment(own) if own.name.is_empty() => (format!("{file}#{}", n + 1), *own),
            Document::Assignment(own) => (own.id().to_owned(), *own),
            Document::Policy(policy) => {
                let mut whole = OsPolicyAssignment { os_policies: vec![*policy], ..OsPolicyAssignment::default() };
                whole.instance_filter.all = true;
                (whole.os_policies[0].id.clone(), whole)
            }
        };
        if out.iter().any(|(other, _)| *other == id) {
            return Err(Failure::Usage(format!("two documents are called {id}; the later is in {file}")));
        }
        out.push((id, assignment));
    }
    Ok(out)
}

fn told(resolution: &Resolution<'_>) -> Resolved {
    let mut resources = Vec::new();
    for own in &resolution.policies {
        resources.extend(own.resources.iter().map(|resource| ResolvedResource {
            assignment: own.assignment.to_owned(),
            policy: own.policy.id.clone(),
            mode: own.mode(),
            resource: resource.id.clone(),
        }));
    }
    let unmatched = resolution.policies.iter().filter(|p| p.is_unmatched());
    let invalid = resolution.policies.iter().filter_map(|p| {
        let invalid = p.invalid.as_ref()?;
        Some(format!("{}/{}: {invalid}", p.assignment, p.policy.id))
    });
    Resolved {
        resources,
        unmatched: unmatched.map(|p| format!("{}/{}", p.assignment, p.policy.id)).collect(),
        invalid: invalid.collect(),
        conflicts: resolution.conflicts.clone(),
        overridden: resolution.overridden.clone(),
        secrets: resolution.secrets.iter().cloned().collect(),
    }
}

/// Assignments as they are to be applied, each with its name.
pub fn assignments_to_apply(
    paths: &[PathBuf],
    name: Option<&str>,
    bare: &BareArgs,
    world: &mut World,
) -> Result<Vec<(String, OsPolicyAssignment)>, Failure> {
    let documents = read_all(paths, world)?;
    if let (Some(name), true) = (name, documents.len() != 1) {
        let n = documents.len();
        return Err(Failure::Usage(format!("--name {name} is for one document, and there are {n}")));
    }
    let mut out: Vec<(String, OsPolicyAssignment)> = Vec::new();
    for (file, document) in documents {
        let mut own = match document {
            Document::Assignment(own) => *own,
            Document::Policy(policy) => wrapped(*policy, bare, &file)?,
        };
        if let Some(name) = name {
            name.clone_into(&mut own.name);
        }
        let id = own.id().to_owned();
        if id.is_empty() {
            return Err(Failure::Usage(format!("the assignment in {file} has no name; write name: in it, or give --name")));
        }
        if out.iter().any(|(other, _)| *other == id) {
            return Err(Failure::Usage(format!("two documents are called {id}; the later is in {file}")));
        }
        // Google's full name holds a project and a zone; here the id is the name.
        id.clone_into(&mut own.name);
        own.validate().map_err(|e| Failure::Usage(format!("{file}: {e}")))?;
        out.push((id, own));
    }
    Ok(out)
}

/// A bare policy as an assignment of its own.
fn wrapped(policy: OsPolicy, bare: &BareArgs, file: &str) -> Result<OsPolicyAssignment, Failure> {
    let labels: Labels = bare.with_labels.iter().cloned().collect();
    let instance_filter = AssignmentFilter {
        all: bare.all,
        inclusion_labels: if labels.is_empty() { Vec::new() } else { vec![LabelSet { labels }] },
        groups: bare.in_groups.clone(),
        environments: bare.in_environments.clone(),
        ..AssignmentFilter::default()
    };
    if instance_filter.is_empty() {
        let id = &policy.id;
        return Err(Failure::Usage(format!(
            "{file} holds the bare policy {id}, which does not say for which hosts it is; give --all, --in-group, --in-environment or --with-label"
        )));
    }
    let mut rollout = PolicyRollout::default();
    rollout.disruption_budget = bare.disruption_budget.unwrap_or(rollout.disruption_budget);
    if let Some(secs) = bare.min_wait {
        rollout.min_wait_duration = format!("{secs}s");
    }
    rollout.health_checks = bare.health.made();
    let name = policy.id.clone();
    Ok(OsPolicyAssignment { name, os_policies: vec![policy], instance_filter, rollout, ..OsPolicyAssignment::default() })
}
