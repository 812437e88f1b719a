//! What the engine is told of packages, modules and sources. Filled by room `content` (snapshots) and from a host's inventory.

use serde::{Deserialize, Serialize};

/// How a dependency bounds a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Bound {
    /// Any version.
    Any,
    /// `<` (deb `<<`).
    Less,
    /// `<=`.
    LessEqual,
    /// `=`.
    Equal,
    /// `>=`.
    GreaterEqual,
    /// `>` (deb `>>`).
    Greater,
}

/// `name`, or `name < version`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dependency {
    /// Name of a package.
    pub name: String,
    /// How it is bounded.
    pub bound: Bound,
    /// Version; empty for [`Bound::Any`].
    pub version: String,
}

/// An available package: what decides whether it is an update for a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageFacts {
    /// Name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Full version, in the form of [`crate::inventory::Package`].
    pub version: String,
    /// Name of its source package; empty when unknown.
    pub source: String,
    /// Version of its source package; empty = as the package.
    pub source_version: String,
    /// rpm: vendor.
    pub vendor: String,
    /// rpm: what it replaces.
    pub obsoletes: Vec<Dependency>,
    /// rpm: names of packages that it provides beside its own.
    pub provides: Vec<String>,
    /// deb: `Phased-Update-Percentage`; 100 when absent.
    pub phased_percent: u8,
}

/// A build of a module stream (rpm).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModuleFacts {
    /// Module name.
    pub name: String,
    /// Stream.
    pub stream: String,
    /// Version of the build, compared as a number.
    pub version: u64,
    /// Context of the build.
    pub context: String,
    /// Architecture.
    pub arch: String,
    /// Packages of the build, `name-epoch:version-release.arch` each.
    pub artifacts: Vec<String>,
    /// Streams of other modules it needs: (module, streams; none = any).
    pub requires: Vec<(String, Vec<String>)>,
}

/// Everything of one snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFacts {
    /// Packages, in no order.
    pub packages: Vec<PackageFacts>,
    /// Module builds.
    pub modules: Vec<ModuleFacts>,
    /// Default streams.
    pub default_streams: Vec<DefaultStream>,
    /// deb: what pins look at.
    pub release: ReleaseFacts,
}

/// What a repository says is a module's stream where nobody chose one. Repositories may contradict each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DefaultStream {
    /// Name of the module.
    pub module: String,
    /// Stream.
    pub stream: String,
    /// When it was written, as its upstream counts: `202007071533`; 0 where it does not say.
    pub modified: u64,
}

/// Module builds and default streams.
pub type ModulesOf = (Vec<ModuleFacts>, Vec<DefaultStream>);

/// How the facts of one snapshot become those of another: what is gone is taken away, then what is there is put in, in place
/// of a package of the same name, architecture and version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotChange {
    /// Packages that are gone: name, architecture, version.
    pub gone: Vec<(String, String, String)>,
    /// New packages, and those of which other facts are known now.
    pub there: Vec<PackageFacts>,
    /// All module builds and default streams, when anything about modules changed.
    pub modules: Option<ModulesOf>,
    /// What pins look at, when it changed.
    pub release: Option<ReleaseFacts>,
}

/// What a deb snapshot's Release file says and pins look at (rpm: empty).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleaseFacts {
    /// `Origin` (`o=`).
    pub origin: String,
    /// `Label` (`l=`).
    pub label: String,
    /// `Suite` (`a=`).
    pub suite: String,
    /// `Codename` (`n=`).
    pub codename: String,
    /// `Version` (`v=`).
    pub version: String,
    /// `NotAutomatic: yes`: priority 1 instead of 500.
    pub not_automatic: bool,
    /// `ButAutomaticUpgrades: yes` with it: priority 100.
    pub but_automatic_upgrades: bool,
}

/// A snapshot as one host sees it through a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// Name of the source; its repository id on the host is `drydock-<name>`.
    pub source: String,
    /// Root of the snapshot, hexadecimal.
    pub root: String,
    /// rpm: lower goes first; dnf's default 99.
    pub priority: u32,
    /// rpm: packages are taken regardless of module streams.
    pub module_hotfixes: bool,
}
