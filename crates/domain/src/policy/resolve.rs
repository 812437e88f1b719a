//! What one host gets of all assignments, and where they contradict each other. Pure: assignments and facts of the host
//! in, the host's resources in order and every conflict out.
//!
//! Two resources conflict when they want different things of one object: a file with two owners, a package that is to be
//! both there and not, two repositories with one id. The policy with the higher priority has its way and the other's
//! resource is left out, by name; of equal priority neither is: the one that comes first stays, the conflict is named,
//! and who applies such an assignment is refused. Resources that want the same are no conflict. What depends on a resource
//! that is left out is left out, too.
//!
//! Templates are filled in first, so a path that a template makes is the same object as one that is written out. A policy
//! of which one template has no value on the host has no resources there and says why; the others are not touched.
//!
//! Absent: what `exec` resources do, which nobody can read from outside.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::additive::{Existence, ModuleState};
use super::assignment::{OsPolicyAssignment, SelectionFacts};
use super::host::{CHECK_INTERVAL_DEFAULT_SECS, HostPolicy};
use super::spec::{FileState, Mode, OsPolicy, PackageState, Resource, ResourceKind};
use super::template::{TemplateFacts, fill};
use crate::validate::Invalid;

/// What is known of the host. An empty text: it is not known, or there is none.
#[derive(Debug, Clone, Copy)]
pub struct HostFacts<'a> {
    /// What filters look at.
    pub selection: SelectionFacts<'a>,
    /// Its name here.
    pub name: &'a str,
    /// Its name as it says itself.
    pub hostname: &'a str,
    /// `x86_64`, `aarch64` …, as in its inventory.
    pub architecture: &'a str,
    /// Its zone.
    pub zone: &'a str,
}

/// What one host gets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resolution<'a> {
    /// In the order in which they run: higher priority first, then as given.
    pub policies: Vec<ResolvedPolicy<'a>>,
    /// Contradictions of equal priority.
    pub conflicts: Vec<Conflict>,
    /// Resources left out because a higher priority wants something else.
    pub overridden: Vec<Conflict>,
    /// Names of the secrets that the resources refer to.
    pub secrets: BTreeSet<String>,
}

/// A policy as one host gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedPolicy<'a> {
    /// Id of its assignment.
    pub assignment: &'a str,
    /// The policy.
    pub policy: &'a OsPolicy,
    /// Place of the group that matched; `None`: none did.
    pub group: Option<usize>,
    /// Resources of that group without those left out, with their templates filled in.
    pub resources: Vec<Cow<'a, Resource>>,
    /// Why the templates could not be filled in: there are no resources then, and nobody can tell how the policy stands.
    pub invalid: Option<Invalid>,
}

impl ResolvedPolicy<'_> {
    /// No group is for this host, and the policy does not allow that: it is not compliant.
    pub fn is_unmatched(&self) -> bool {
        self.group.is_none() && !self.policy.allow_no_resource_group_match
    }

    /// Repair, or report only.
    pub fn mode(&self) -> Mode {
        self.policy.mode
    }

    /// As the host gets it.
    pub fn for_host(&self, revision: u64) -> HostPolicy {
        HostPolicy {
            assignment: self.assignment.to_owned(),
            revision,
            policy: self.policy.id.clone(),
            mode: self.mode(),
            check_interval_secs: self.policy.check_interval_secs.unwrap_or(CHECK_INTERVAL_DEFAULT_SECS),
            unmatched: self.is_unmatched(),
            resources: self.resources.iter().map(|r| r.as_ref().clone()).collect(),
        }
    }
}

/// Two resources that want different things of one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// What: `file /etc/motd`, `package httpd`.
    pub object: String,
    /// Who stays.
    pub kept: Claimant,
    /// Who is left out.
    pub dropped: Claimant,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Claimant {
    /// Id of the assignment.
    pub assignment: String,
    /// Id of the policy.
    pub policy: String,
    /// Id of the resource.
    pub resource: String,
    /// What it wants.
    pub wants: String,
}

impl Conflict {
    /// For people.
    pub fn describe(&self) -> String {
        let side = |c: &Claimant| format!("{}/{}/{} wants {}", c.assignment, c.policy, c.resource, c.wants);
        format!("{}: {}, {}", self.object, side(&self.kept), side(&self.dropped))
    }
}

/// Puts together what a host gets. `assignments` are those that exist, each with its id, in a fixed order (by id).
pub fn resolve<'a>(assignments: &[(&'a str, &'a OsPolicyAssignment)], host: HostFacts<'_>) -> Resolution<'a> {
    let mut chosen: Vec<(&'a str, &'a OsPolicyAssignment, &'a OsPolicy)> = Vec::new();
    for (id, assignment) in assignments.iter().filter(|(_, a)| a.instance_filter.matches(host.selection)) {
        chosen.extend(assignment.os_policies.iter().map(|policy| (*id, *assignment, policy)));
    }
    // Stable: equal priorities stay in the order given.
    chosen.sort_by_key(|(.., policy)| std::cmp::Reverse(policy.priority));
    let mut out = Resolution::default();
    let mut owners: BTreeMap<Object, (i32, Claimant)> = BTreeMap::new();
    for (assignment, whole, policy) in chosen {
        let fits = |g: &&super::spec::ResourceGroup| {
            let filters = &g.inventory_filters;
            filters.is_empty() || filters.iter().any(|f| f.matches(host.selection.os_short_name, host.selection.os_version))
        };
        let group = policy.resource_groups.iter().position(|g| fits(&g));
        let resources = group.map(|g| policy.resource_groups[g].resources.as_slice()).unwrap_or_default();
        let facts = TemplateFacts { host, variables: &whole.variables };
        let (resources, invalid) = match filled(resources, &facts, &mut out.secrets) {
            Ok(resources) => (keep(resources, &mut owners, assignment, policy, &mut out), None),
            Err(invalid) => (Vec::new(), Some(invalid)),
        };
        out.policies.push(ResolvedPolicy { assignment, policy, group, resources, invalid });
    }
    out
}

/// The resources with their templates filled in, all or none.
fn filled<'a>(
    resources: &'a [Resource],
    facts: &TemplateFacts<'_>,
    secrets: &mut BTreeSet<String>,
) -> Result<Vec<Cow<'a, Resource>>, Invalid> {
    let (mut out, mut named, mut errors) = (Vec::with_capacity(resources.len()), BTreeSet::new(), Vec::new());
    for resource in resources {
        if !resource.template {
            out.push(Cow::Borrowed(resource));
            continue;
        }
        match fill(resource, facts) {
            Ok((resource, secrets)) => {
                out.push(Cow::Owned(resource));
                named.extend(secrets);
            }
            Err(invalid) => errors.extend(invalid.errors),
        }
    }
    if !errors.is_empty() {
        return Err(Invalid { errors });
    }
    secrets.extend(named);
    Ok(out)
}

/// The resources that nobody before them contradicts, and whose dependencies are kept.
fn keep<'a>(
    resources: Vec<Cow<'a, Resource>>,
    owners: &mut BTreeMap<Object, (i32, Claimant)>,
    assignment: &str,
    policy: &OsPolicy,
    out: &mut Resolution<'_>,
) -> Vec<Cow<'a, Resource>> {
    let mut kept = Vec::with_capacity(resources.len());
    let mut dropped: BTreeMap<String, Conflict> = BTreeMap::new();
    for resource in resources {
        // A conflict of what it depends on is its own.
        let needed = resource.depends_on.iter().find_map(|id| Some((id.clone(), dropped.get(id)?.clone())));
        let found = match needed {
            Some((id, conflict)) => {
                let wants = format!("{id}, which is left out, first");
                let claimant = Claimant { resource: resource.id.clone(), wants, ..conflict.dropped.clone() };
                let overridden = out.overridden.contains(&conflict);
                Some((overridden, Conflict { dropped: claimant, ..conflict }))
            }
            None => claim(owners, assignment, policy, &resource),
        };
        let Some((overridden, conflict)) = found else {
            kept.push(resource);
            continue;
        };
        dropped.insert(resource.id.clone(), conflict.clone());
        if overridden { out.overridden.push(conflict) } else { out.conflicts.push(conflict) }
    }
    // A service that is left out is told nothing.
    for resource in kept.iter_mut().filter(|r| r.notify.iter().any(|id| dropped.contains_key(id))) {
        resource.to_mut().notify.retain(|id| !dropped.contains_key(id));
    }
    kept
}

/// Notes what a resource wants, or finds who before it wants something else, and whether that is a higher priority's right.
fn claim(
    owners: &mut BTreeMap<Object, (i32, Claimant)>,
    assignment: &str,
    policy: &OsPolicy,
    resource: &Resource,
) -> Option<(bool, Conflict)> {
    let claims: Vec<(Object, String)> = resource.kinds().into_iter().flat_map(claims).collect();
    let claimant = |wants: &str| Claimant {
        assignment: assignment.to_owned(),
        policy: policy.id.clone(),
        resource: resource.id.clone(),
        wants: wants.to_owned(),
    };
    for (object, wants) in &claims {
        let Some((priority, owner)) = contradicted(owners, object, wants) else { continue };
        let conflict = Conflict { object: object.describe(), kept: owner.clone(), dropped: claimant(wants) };
        return Some((*priority > policy.priority, conflict));
    }
    for (object, wants) in claims {
        let own = claimant(&wants);
        owners.entry(object).or_insert((policy.priority, own));
    }
    None
}

/// Who wants something else of the object.
fn contradicted<'o>(owners: &'o BTreeMap<Object, (i32, Claimant)>, object: &Object, wants: &str) -> Option<&'o (i32, Claimant)> {
    if let Some(owner) = owners.get(object) {
        return (owner.1.wants != wants).then_some(owner);
    }
    // A line in a file and a file as a whole have two owners, too.
    match object {
        Object::Line(path, _) => owners.get(&Object::Path(path.clone())),
        Object::Path(path) => {
            let first = Object::Line(path.clone(), String::new());
            owners.range(first..).next().filter(|(o, _)| matches!(o, Object::Line(p, _) if p == path)).map(|(_, owner)| owner)
        }
        _ => None,
    }
}

/// A thing on a host that can have one owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Object {
    Path(String),
    /// A line, by what it begins with.
    Line(String, String),
    /// By name: a host has one system of packages.
    Package(String),
    Repository(String),
    Unit(String, &'static str),
    User(String),
    Group(String),
    Sysctl(String),
    KernelModule(String),
}

impl Object {
    fn describe(&self) -> String {
        match self {
            Object::Path(path) => format!("file {path}"),
            Object::Line(path, line) => format!("line {line:?} of {path}"),
            Object::Package(name) => format!("package {name}"),
            Object::Repository(id) => format!("repository {id}"),
            Object::Unit(name, what) => format!("{name} {what}"),
            Object::User(name) => format!("user {name}"),
            Object::Group(name) => format!("group {name}"),
            Object::Sysctl(key) => format!("sysctl {key}"),
            Object::KernelModule(name) => format!("kernel module {name}"),
        }
    }
}

/// The objects a resource is the owner of, in words (`file /etc/motd`): what an agent takes back when nobody owns it any
/// more. None: nobody can read from outside what it does.
pub fn objects(resource: &Resource) -> BTreeSet<String> {
    resource.kinds().into_iter().flat_map(claims).map(|(object, _)| object.describe()).collect()
}

/// What a resource wants of which objects.
fn claims(kind: ResourceKind<'_>) -> Vec<(Object, String)> {
    use Existence::{Absent, Present};
    match kind {
        ResourceKind::Exec(_) => Vec::new(),
        ResourceKind::Pkg(pkg) => package_claims(pkg),
        ResourceKind::Repository(own) => repository_claims(own),
        ResourceKind::File(own) => vec![(Object::Path(plain(&own.path)), file_wish(own))],
        ResourceKind::Service(own) => service_claims(own),
        ResourceKind::User(own) => vec![(Object::User(own.name.clone()), written(own))],
        ResourceKind::Group(own) => vec![(Object::Group(own.name.clone()), written(own))],
        ResourceKind::Sysctl(own) => {
            // sysctl(8): both signs divide, and blanks between numbers are one.
            let value = own.value.split_whitespace().collect::<Vec<_>>().join(" ");
            vec![(Object::Sysctl(own.key.replace('/', ".")), value)]
        }
        ResourceKind::KernelModule(own) => {
            let wish = if own.state == ModuleState::Loaded { "loaded" } else { "barred" };
            vec![(Object::KernelModule(own.name.replace('-', "_")), wish.to_owned())]
        }
        ResourceKind::Timer(own) => {
            let path = |suffix: &str| Object::Path(format!("/etc/systemd/system/{}.{suffix}", own.name));
            vec![(path("timer"), written(own)), (path("service"), written(own))]
        }
        ResourceKind::Cron(own) => vec![(Object::Path(format!("/etc/cron.d/{}", own.name)), written(own))],
        ResourceKind::Directory(own) => {
            let wish = if own.state == Absent {
                "absent".to_owned()
            } else {
                format!("directory {} {}:{}", own.permissions, own.owner, own.group)
            };
            vec![(Object::Path(plain(&own.path)), wish)]
        }
        ResourceKind::Symlink(own) => {
            let wish = if own.state == Present { format!("link to {}", own.target) } else { "absent".to_owned() };
            vec![(Object::Path(plain(&own.path)), wish)]
        }
        ResourceKind::Line(own) => {
            let key = own.starts_with.clone().unwrap_or_else(|| own.line.clone());
            let wish = if own.state == Present { own.line.clone() } else { format!("no {}", own.line) };
            vec![(Object::Line(plain(&own.path), key), wish)]
        }
    }
}

fn package_claims(pkg: &super::spec::PackageResource) -> Vec<(Object, String)> {
    let named = [&pkg.apt, &pkg.yum, &pkg.zypper, &pkg.googet].into_iter().flatten();
    let wish = |named: &super::spec::NamedPackage| {
        if pkg.desired_state == PackageState::Removed {
            return "it removed".to_owned();
        }
        let version = named.version.as_ref().map(|v| format!(" in version {}", written(v))).unwrap_or_default();
        format!("it installed{version}{}", if named.hold { " and held" } else { "" })
    };
    named.map(|named| (Object::Package(named.name.clone()), wish(named))).collect()
}

fn repository_claims(own: &super::spec::RepositoryResource) -> Vec<(Object, String)> {
    let rpm = own.yum.iter().chain(&own.zypper).map(|rpm| (Object::Repository(rpm.id.clone()), written(rpm)));
    let apt = own.apt.iter().map(|apt| {
        let what = if apt.archive_type == super::spec::ArchiveType::Deb { "deb" } else { "deb-src" };
        (Object::Repository(format!("{what} {} {}", apt.uri.trim_end_matches('/'), apt.distribution)), written(apt))
    });
    let goo = own.goo.iter().map(|goo| (Object::Repository(goo.name.clone()), written(goo)));
    rpm.chain(apt).chain(goo).collect()
}

/// Each aspect of a unit is an object of its own: one policy may enable what another starts.
fn service_claims(own: &super::additive::ServiceResource) -> Vec<(Object, String)> {
    let name = if own.name.contains('.') { own.name.clone() } else { format!("{}.service", own.name) };
    let aspects = [("running", own.running), ("enabled", own.enabled), ("masked", own.masked)];
    let told = aspects.into_iter().filter_map(|(what, wish)| Some((Object::Unit(name.clone(), what), wish?.to_string())));
    told.collect()
}

fn file_wish(own: &super::spec::FileResource) -> String {
    let what = match (own.state, &own.content, &own.file) {
        (FileState::Absent, ..) => return "it absent".to_owned(),
        (state, Some(content), _) => format!("{} {}", state_word(state), digest(content.as_bytes())),
        (state, None, file) => format!("{} {}", state_word(state), written(file)),
    };
    let more = [&own.permissions, &own.owner, &own.group, &own.selinux_label];
    let more: Vec<&str> = more.into_iter().filter(|m| !m.is_empty()).map(String::as_str).collect();
    if more.is_empty() { what } else { format!("{what} ({})", more.join(" ")) }
}

fn state_word(state: FileState) -> &'static str {
    if state == FileState::Present { "some content, at first" } else { "the content" }
}

/// What was written, as one line: equal texts are equal wishes.
fn written<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let sum = sha2::Sha256::digest(bytes);
    sum.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// One spelling of a path.
fn plain(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", parts.join("/"))
}
