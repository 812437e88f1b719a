//! Which sources a host sees, through which environment, and why one that is attached is not visible. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::host::HostSource;
use super::name::LATEST;
use super::spec::{Origin, SourceSpec};
use super::unit::Format;
use crate::ids::{EnvironmentId, GroupId, InstanceId, SourceId};
use crate::inventory::{ManagerKind, OsFacts};

/// Suite a flat deb repository is published as.
pub const FLAT_SUITE: &str = "flat";
/// Architecture of a deb source that names none.
pub const DEB_ARCHITECTURE_DEFAULT: &str = "amd64";

/// What a source is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AttachedTo {
    /// One instance.
    Instance(InstanceId),
    /// Every instance of a group.
    Group(GroupId),
    /// Every instance in an environment.
    Environment(EnvironmentId),
}

impl AttachedTo {
    /// The stored name of the kind, for example `INSTANCE`.
    pub fn kind(self) -> &'static str {
        match self {
            AttachedTo::Instance(_) => "INSTANCE",
            AttachedTo::Group(_) => "GROUP",
            AttachedTo::Environment(_) => "ENVIRONMENT",
        }
    }
}

/// What one host is, as far as it decides about its sources.
#[derive(Debug, Clone)]
pub struct HostFacts<'a> {
    /// Its id.
    pub instance: InstanceId,
    /// What it says of itself; absent before its first inventory.
    pub os: Option<&'a OsFacts>,
    /// Its own environment: wins over the group's.
    pub environment: Option<Place<'a>>,
    /// The group it is in, with the group's environment.
    pub group: Option<(GroupId, Option<Place<'a>>)>,
    /// What is attached; entries for other hosts, groups and environments are passed over.
    pub attachments: &'a [(AttachedTo, SourceId)],
}

/// An environment by id and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Its id.
    pub id: EnvironmentId,
    /// Its name.
    pub name: &'a str,
}

/// What one source is, as far as it decides about hosts.
#[derive(Debug, Clone)]
pub struct SourceFacts<'a> {
    /// Its id.
    pub id: SourceId,
    /// As made.
    pub spec: &'a SourceSpec,
    /// The view the host looks through (its environment, or `latest`) points at a snapshot of it.
    pub pointed: bool,
    /// deb: what the published tree holds.
    pub deb: Option<DebFacts>,
    /// Keys of the sources it takes packages from, for custom sources.
    pub inherited_keys: &'a [String],
}

/// How a deb source is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebFacts {
    /// Path below `dists/`.
    pub suite: String,
    /// Components.
    pub components: Vec<String>,
    /// Architectures.
    pub architectures: Vec<String>,
}

impl DebFacts {
    /// What the specification alone says: all there is to know of upstream and local sources. `None`: rpm, or made from
    /// other sources (components and architectures are in the snapshot then).
    pub fn of_spec(spec: &SourceSpec) -> Option<DebFacts> {
        if spec.format != Format::Deb {
            return None;
        }
        let main = || vec!["main".to_owned()];
        let (suite, components) = match &spec.origin {
            Origin::Upstream(upstream) => match upstream.suite.as_deref() {
                Some(suite) if !suite.ends_with('/') => (suite.to_owned(), upstream.components.clone()),
                _ => (FLAT_SUITE.to_owned(), main()),
            },
            Origin::Local { suite } => (suite.clone(), main()),
            Origin::Sources { .. } => return None,
        };
        let mut architectures: Vec<String> = spec.architectures.iter().filter(|a| *a != "all").cloned().collect();
        if architectures.is_empty() {
            architectures.push(DEB_ARCHITECTURE_DEFAULT.to_owned());
        }
        Some(DebFacts { suite, components, architectures })
    }
}

/// Why a source that is attached to a host is not visible on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVisible {
    /// No inventory yet.
    #[error("the host has not said yet which package manager it has; it shows up after the first inventory")]
    HostUnknown,
    /// An rpm source on an apt host, or the other way round.
    #[error("source {source_name} holds {source_format} packages, the host takes {host}")]
    Format {
        /// The source.
        source_name: String,
        /// Its format.
        source_format: &'static str,
        /// The host's.
        host: &'static str,
    },
    /// No common architecture.
    #[error("source {source_name} has only {architectures}, the host is {host}")]
    Architecture {
        /// The source.
        source_name: String,
        /// What it has.
        architectures: String,
        /// What the host is.
        host: String,
    },
    /// A child without its parent.
    #[error("source {source_name} belongs to {parent}, which is not attached to this host; attach {parent} too")]
    ParentMissing {
        /// The child.
        source_name: String,
        /// Its parent.
        parent: String,
    },
    /// Its environment has no snapshot of it.
    #[error(
        "source {source_name} was never promoted to {environment} (drydock environment promote {environment} --source {source_name})"
    )]
    NeverPromoted {
        /// The source.
        source_name: String,
        /// The environment of the host.
        environment: String,
    },
    /// There is no snapshot at all.
    #[error("source {source_name} has no snapshot yet; it was never synced with success (drydock source sync {source_name})")]
    NeverSynced {
        /// The source.
        source_name: String,
    },
    /// Attached, but nothing is known of it.
    #[error("source {id} is attached, but gone")]
    Gone {
        /// Its id.
        id: SourceId,
    },
}

/// One attached source and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSource {
    /// The source.
    pub id: SourceId,
    /// Its name; its id when nothing is known of it.
    pub name: String,
    /// By what it came to the host; sorted, never empty.
    pub attached_to: Vec<AttachedTo>,
    /// What the host sees, or why it does not.
    pub outcome: Result<HostSource, NotVisible>,
}

/// The sources of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The environment it looks through; `None` sees the newest snapshots.
    pub environment: Option<EnvironmentId>,
    /// Every source attached to it, by name.
    pub sources: Vec<ResolvedSource>,
}

impl Resolved {
    /// What goes into the host's document, by name.
    pub fn visible(&self) -> Vec<HostSource> {
        self.sources.iter().filter_map(|s| s.outcome.as_ref().ok()).cloned().collect()
    }

    /// Why the others do not, by name.
    pub fn problems(&self) -> Vec<String> {
        self.sources.iter().filter_map(|s| s.outcome.as_ref().err()).map(ToString::to_string).collect()
    }
}

/// Which sources the host sees. The order of attachments and sources does not matter.
pub fn resolve(host: &HostFacts<'_>, sources: &[SourceFacts<'_>]) -> Resolved {
    let place = host.environment.or(host.group.and_then(|(_, place)| place));
    let applies = |target: AttachedTo| match target {
        AttachedTo::Instance(id) => id == host.instance,
        AttachedTo::Group(id) => host.group.is_some_and(|(group, _)| group == id),
        AttachedTo::Environment(id) => place.is_some_and(|place| place.id == id),
    };
    let mut attached: BTreeMap<SourceId, BTreeSet<AttachedTo>> = BTreeMap::new();
    for (target, source) in host.attachments.iter().filter(|(target, _)| applies(*target)) {
        attached.entry(*source).or_default().insert(*target);
    }
    let known: BTreeMap<SourceId, &SourceFacts<'_>> = sources.iter().map(|s| (s.id, s)).collect();
    let names: BTreeSet<&str> = attached.keys().filter_map(|id| known.get(id)).map(|source| source.spec.name.as_str()).collect();
    let mut resolved: Vec<ResolvedSource> = attached
        .into_iter()
        .map(|(id, targets)| ResolvedSource {
            id,
            name: known.get(&id).map_or_else(|| id.to_string(), |s| s.spec.name.clone()),
            attached_to: targets.into_iter().collect(),
            outcome: known.get(&id).ok_or(NotVisible::Gone { id }).and_then(|s| see(host, place, s, &names)),
        })
        .collect();
    resolved.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    Resolved { environment: place.map(|place| place.id), sources: resolved }
}

/// One source as the host sees it. `attached`: names of everything attached to the host.
fn see(
    host: &HostFacts<'_>,
    place: Option<Place<'_>>,
    source: &SourceFacts<'_>,
    attached: &BTreeSet<&str>,
) -> Result<HostSource, NotVisible> {
    let spec = source.spec;
    let source_name = || spec.name.clone();
    let os = host.os.ok_or(NotVisible::HostUnknown)?;
    let format = host_format(os).ok_or(NotVisible::HostUnknown)?;
    if spec.format != format {
        let (source_format, host) = (spec.format.as_str(), format.as_str());
        return Err(NotVisible::Format { source_name: source_name(), source_format, host });
    }
    let deb = match format {
        Format::Rpm => None,
        Format::Deb => source.deb.clone().or_else(|| DebFacts::of_spec(spec)),
    };
    let offered = deb.as_ref().map_or(&spec.architectures, |deb| &deb.architectures);
    let common = common_architectures(format, &os.architecture, offered);
    if common.is_empty() && !offered.is_empty() {
        let (architectures, host) = (offered.join(", "), os.architecture.clone());
        return Err(NotVisible::Architecture { source_name: source_name(), architectures, host });
    }
    if let Some(parent) = spec.parent.as_ref().filter(|parent| !attached.contains(parent.as_str())) {
        return Err(NotVisible::ParentMissing { source_name: source_name(), parent: parent.clone() });
    }
    if !source.pointed {
        return Err(match place {
            Some(place) => NotVisible::NeverPromoted { source_name: source_name(), environment: place.name.to_owned() },
            None => NotVisible::NeverSynced { source_name: source_name() },
        });
    }
    let view = place.map_or(LATEST, |place| place.name);
    let mut keys = spec.keys.clone();
    keys.extend(source.inherited_keys.iter().filter(|key| !spec.keys.contains(key)).cloned());
    let (suite, components) = deb.map(|deb| (deb.suite, deb.components)).unwrap_or_default();
    Ok(HostSource {
        name: source_name(),
        display_name: if spec.display_name.is_empty() { source_name() } else { spec.display_name.clone() },
        format,
        path: format!("/content/{view}/{}/", spec.name),
        suite,
        components,
        architectures: if format == Format::Deb { common } else { Vec::new() },
        keys,
        gpgcheck: spec.gpgcheck,
        priority: spec.priority,
        module_hotfixes: spec.module_hotfixes,
    })
}

/// The family of repository a host takes packages from: that of the package manager that owns it.
pub fn host_format(os: &OsFacts) -> Option<Format> {
    os.managers.first().map(|manager| match manager {
        ManagerKind::Apt => Format::Deb,
        ManagerKind::Dnf | ManagerKind::Dnf5 | ManagerKind::Yum | ManagerKind::Zypper => Format::Rpm,
    })
}

/// What of the offered architectures a host can use. A host of an architecture unknown here uses what has its own name.
fn common_architectures(format: Format, host: &str, offered: &[String]) -> Vec<String> {
    if host.is_empty() {
        return offered.to_vec();
    }
    let row = USABLE.iter().find(|row| row.host == host);
    let usable = |arch: &str| match (row, format) {
        // Packages of every architecture; a source that has nothing else is usable everywhere.
        _ if arch == "noarch" => true,
        (Some(row), Format::Rpm) => row.rpm.contains(&arch),
        (Some(row), Format::Deb) => row.deb.contains(&arch),
        (None, _) => arch == host,
    };
    offered.iter().filter(|arch| usable(arch)).cloned().collect()
}

/// Architectures a host can use, by its normal form.
struct Usable {
    host: &'static str,
    rpm: &'static [&'static str],
    deb: &'static [&'static str],
}

const USABLE: [Usable; 7] = [
    Usable {
        host: "x86_64",
        rpm: &["x86_64", "x86_64_v2", "x86_64_v3", "i686", "i586", "i486", "i386"],
        deb: &["amd64", "i386"],
    },
    Usable { host: "x86_32", rpm: &["i686", "i586", "i486", "i386"], deb: &["i386"] },
    Usable { host: "aarch64", rpm: &["aarch64"], deb: &["arm64", "armhf", "armel"] },
    Usable { host: "armv7l", rpm: &["armv7hl", "armv7l"], deb: &["armhf", "armel"] },
    Usable { host: "ppc64le", rpm: &["ppc64le"], deb: &["ppc64el"] },
    Usable { host: "s390x", rpm: &["s390x", "s390"], deb: &["s390x"] },
    Usable { host: "riscv64", rpm: &["riscv64"], deb: &["riscv64"] },
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const PROD: Place<'static> = Place { id: EnvironmentId(Uuid::from_u128(91)), name: "prod" };
    const TEST: Place<'static> = Place { id: EnvironmentId(Uuid::from_u128(92)), name: "test" };
    const HOST: InstanceId = InstanceId(Uuid::from_u128(81));
    const GROUP: GroupId = GroupId(Uuid::from_u128(71));

    fn id(n: u8) -> SourceId {
        SourceId(Uuid::from_u128(n.into()))
    }

    fn os(manager: ManagerKind, architecture: &str) -> OsFacts {
        OsFacts { managers: vec![manager], architecture: architecture.into(), ..OsFacts::default() }
    }

    fn spec(json: &str) -> SourceSpec {
        serde_json::from_str(json).expect("a spec")
    }

    fn rpm(name: &str, more: &str) -> SourceSpec {
        spec(&format!(r#"{{"name":"{name}","format":"rpm","origin":{{"upstream":{{"urls":["https://h/"]}}}}{more}}}"#))
    }

    fn deb(name: &str, suite: &str, components: &str) -> SourceSpec {
        spec(&format!(
            r#"{{"name":"{name}","format":"deb","architectures":["amd64","arm64","i386","all"],
                "origin":{{"upstream":{{"urls":["https://h/"],"suite":"{suite}","components":{components}}}}}}}"#
        ))
    }

    fn facts(n: u8, spec: &SourceSpec) -> SourceFacts<'_> {
        SourceFacts { id: id(n), spec, pointed: true, deb: None, inherited_keys: &[] }
    }

    fn host<'a>(os: &'a OsFacts, attachments: &'a [(AttachedTo, SourceId)]) -> HostFacts<'a> {
        HostFacts { instance: HOST, os: Some(os), environment: None, group: None, attachments }
    }

    fn here(sources: &[u8]) -> Vec<(AttachedTo, SourceId)> {
        sources.iter().map(|n| (AttachedTo::Instance(HOST), id(*n))).collect()
    }

    fn names(resolved: &Resolved) -> Vec<String> {
        resolved.visible().into_iter().map(|s| s.name).collect()
    }

    #[test]
    fn sources_come_from_the_instance_its_group_and_its_environment() {
        let (a, b, c, d, e) = (rpm("a", ""), rpm("b", ""), rpm("c", ""), rpm("d", ""), rpm("e", ""));
        let sources = [facts(1, &a), facts(2, &b), facts(3, &c), facts(4, &d), facts(5, &e)];
        let os = os(ManagerKind::Dnf, "x86_64");
        let attachments = [
            (AttachedTo::Environment(TEST.id), id(5)),
            (AttachedTo::Environment(PROD.id), id(3)),
            (AttachedTo::Group(GROUP), id(2)),
            (AttachedTo::Instance(HOST), id(1)),
            (AttachedTo::Instance(InstanceId(Uuid::from_u128(82))), id(4)),
            (AttachedTo::Instance(HOST), id(3)),
        ];
        let alone = host(&os, &attachments);
        assert_eq!(names(&resolve(&alone, &sources)), ["a", "c"]);
        let grouped = HostFacts { group: Some((GROUP, Some(TEST))), ..alone.clone() };
        let got = resolve(&grouped, &sources);
        assert_eq!((names(&got).join(" "), got.environment), ("a b c e".to_owned(), Some(TEST.id)));
        let own = HostFacts { environment: Some(PROD), ..grouped };
        let got = resolve(&own, &sources);
        assert_eq!((names(&got).join(" "), got.environment), ("a b c".to_owned(), Some(PROD.id)), "its own environment wins");
        assert!(got.visible().iter().all(|s| s.path == format!("/content/prod/{}/", s.name)));
        assert_eq!(got.sources[2].attached_to, [AttachedTo::Instance(HOST), AttachedTo::Environment(PROD.id)]);
        assert_eq!(resolve(&alone, &sources).visible()[0].path, "/content/latest/a/");
    }

    #[test]
    fn what_is_not_visible_says_why() {
        let debian = deb("debian", "bookworm", r#"["main"]"#);
        let (arm, child, plain) =
            (rpm("arm", r#","architectures":["aarch64","noarch"]"#), rpm("child", r#","parent":"base""#), rpm("plain", ""));
        let arm_only = rpm("arm-only", r#","architectures":["aarch64"]"#);
        let sources = [
            facts(1, &debian),
            facts(2, &arm),
            facts(3, &child),
            SourceFacts { pointed: false, ..facts(4, &plain) },
            facts(6, &arm_only),
        ];
        let facts_of_host = os(ManagerKind::Dnf5, "x86_64");
        let attachments = here(&[1, 2, 3, 4, 5, 6]);
        let got = resolve(&host(&facts_of_host, &attachments), &sources);
        assert_eq!(names(&got), ["arm"], "noarch packages of it are usable");
        let gone = format!("source {} is attached, but gone", id(5));
        assert_eq!(
            got.problems(),
            [
                gone.as_str(),
                "source arm-only has only aarch64, the host is x86_64",
                "source child belongs to base, which is not attached to this host; attach base too",
                "source debian holds deb packages, the host takes rpm",
                "source plain has no snapshot yet; it was never synced with success (drydock source sync plain)",
            ]
        );
        let in_prod = HostFacts { environment: Some(PROD), ..host(&facts_of_host, &attachments) };
        let never = resolve(&in_prod, &sources).problems().pop().expect("a problem");
        assert!(never.starts_with("source plain was never promoted to prod"), "{never}");
        let unknown = HostFacts { os: None, ..host(&facts_of_host, &attachments[3..4]) };
        assert_eq!(resolve(&unknown, &sources).sources[0].outcome, Err(NotVisible::HostUnknown));
    }

    #[test]
    fn a_child_is_seen_with_its_parent() {
        let (base, child) = (rpm("base", ""), rpm("child", r#","parent":"base""#));
        let sources = [facts(1, &base), facts(2, &child)];
        let os = os(ManagerKind::Yum, "x86_64");
        assert_eq!(names(&resolve(&host(&os, &here(&[1, 2])), &sources)), ["base", "child"]);
        assert!(names(&resolve(&host(&os, &here(&[2])), &sources)).is_empty());
    }

    #[test]
    fn deb_sources_say_how_they_are_published() {
        let facts_of_host = os(ManagerKind::Apt, "x86_64");
        let see = |spec: &SourceSpec, deb: Option<DebFacts>| {
            let sources = [SourceFacts { deb, ..facts(1, spec) }];
            resolve(&host(&facts_of_host, &here(&[1])), &sources).visible().pop().expect("visible")
        };
        let words = |s: &HostSource| format!("{} {} {}", s.suite, s.components.join(","), s.architectures.join(","));
        let suite = deb("a", "bookworm-updates", r#"["main","contrib"]"#);
        assert_eq!(words(&see(&suite, None)), "bookworm-updates main,contrib amd64,i386");
        assert_eq!(words(&see(&deb("a", "./", "[]"), None)), "flat main amd64,i386");
        let local = spec(r#"{"name":"a","format":"deb","origin":{"local":{"suite":"ours"}}}"#);
        assert_eq!(words(&see(&local, None)), "ours main amd64");
        let custom = spec(r#"{"name":"a","format":"deb","origin":{"sources":{"from":["b"]}}}"#);
        let published = DebFacts { suite: "s".into(), components: vec!["c".into()], architectures: vec!["amd64".into()] };
        assert_eq!(words(&see(&custom, Some(published))), "s c amd64");
    }

    #[test]
    fn keys_of_the_sources_below_come_along() {
        let own = rpm("a", r#","keys":["K1"],"gpgcheck":false,"priority":7,"moduleHotfixes":true"#);
        let inherited = ["K1".to_owned(), "K2".to_owned()];
        let sources = [SourceFacts { inherited_keys: &inherited, ..facts(1, &own) }];
        let os = os(ManagerKind::Dnf, "aarch64");
        let seen = resolve(&host(&os, &here(&[1])), &sources).visible().pop().expect("visible");
        assert_eq!(seen.keys, ["K1", "K2"]);
        assert_eq!((seen.gpgcheck, seen.priority, seen.module_hotfixes, seen.display_name.as_str()), (false, Some(7), true, "a"));
    }

    #[test]
    fn architectures() {
        for (format, host, offered, usable) in [
            (Format::Rpm, "x86_64", "x86_64 i686 src", "x86_64 i686"),
            (Format::Rpm, "aarch64", "x86_64", ""),
            (Format::Rpm, "loongarch64", "loongarch64 x86_64", "loongarch64"),
            (Format::Rpm, "", "x86_64", "x86_64"),
            (Format::Deb, "aarch64", "amd64 arm64", "arm64"),
            (Format::Deb, "x86_32", "amd64 i386", "i386"),
        ] {
            let offered: Vec<String> = offered.split_whitespace().map(str::to_owned).collect();
            assert_eq!(common_architectures(format, host, &offered).join(" "), usable, "{host}");
        }
    }

    fn any_source() -> impl Strategy<Value = (SourceSpec, bool)> {
        let format = prop_oneof![3 => Just("rpm"), 1 => Just("deb")];
        let arch = prop::sample::subsequence(vec!["x86_64", "aarch64", "amd64", "noarch"], 0..3);
        (format, arch, prop::option::of(0u8..8), any::<bool>()).prop_map(|(format, arch, parent, pointed)| {
            let parent = parent.map(|p| format!("s{p}"));
            let spec = serde_json::json!({"name": "x", "format": format, "architectures": arch, "parent": parent,
                "origin": {"local": {"suite": "s"}}});
            (serde_json::from_value(spec).expect("a spec"), pointed)
        })
    }

    fn any_attachment() -> impl Strategy<Value = (AttachedTo, SourceId)> {
        let target = prop_oneof![
            Just(AttachedTo::Instance(HOST)),
            Just(AttachedTo::Instance(InstanceId(Uuid::from_u128(82)))),
            Just(AttachedTo::Group(GROUP)),
            Just(AttachedTo::Environment(PROD.id)),
            Just(AttachedTo::Environment(TEST.id)),
        ];
        (target, (0u8..10).prop_map(id))
    }

    proptest! {
        #[test]
        fn order_never_matters_and_every_attached_source_is_seen_or_explained(
            specs in prop::collection::vec(any_source(), 8),
            attachments in prop::collection::vec(any_attachment(), 0..20),
            environment in prop::option::of(prop_oneof![Just(PROD), Just(TEST)]),
            grouped in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let specs: Vec<(SourceSpec, bool)> =
                specs.into_iter().enumerate().map(|(n, (s, p))| (SourceSpec { name: format!("s{n}"), ..s }, p)).collect();
            let mut sources: Vec<SourceFacts<'_>> =
                (0u8..).zip(&specs).map(|(n, (spec, pointed))| SourceFacts { pointed: *pointed, ..facts(n, spec) }).collect();
            let os = os(ManagerKind::Dnf, "x86_64");
            let group = grouped.then_some((GROUP, Some(TEST)));
            let host = HostFacts { environment, group, ..host(&os, &attachments) };
            let first = resolve(&host, &sources);

            let place = environment.or(group.and_then(|(_, place)| place));
            let mine = |target: &AttachedTo| match target {
                AttachedTo::Instance(i) => *i == HOST,
                AttachedTo::Group(_) => grouped,
                AttachedTo::Environment(e) => place.is_some_and(|p| p.id == *e),
            };
            let wanted: BTreeSet<SourceId> = attachments.iter().filter(|(t, _)| mine(t)).map(|(_, s)| *s).collect();
            let told: BTreeSet<SourceId> = first.sources.iter().map(|s| s.id).collect();
            prop_assert_eq!(wanted, told, "neither lost nor made up");
            prop_assert_eq!(first.visible().len() + first.problems().len(), first.sources.len());
            for source in first.visible() {
                prop_assert!(specs.iter().any(|(s, pointed)| s.name == source.name && *pointed && s.format == Format::Rpm));
            }

            let turned = usize::try_from(seed % 7).expect("small");
            sources.rotate_left(turned);
            let mut shuffled = attachments.clone();
            shuffled.reverse();
            let len = shuffled.len().max(1);
            shuffled.rotate_left(turned % len);
            let again = resolve(&HostFacts { attachments: &shuffled, ..host.clone() }, &sources);
            prop_assert_eq!(first, again);
        }
    }
}
