//! An OS policy as written. Field names and meanings are Google's (`google.cloud.osconfig.v1.OSPolicy`) in their JSON form;
//! as proto3 JSON demands, `lowerCamel` and `snake_case` names are both read. Additions are marked *ours*.

use serde::{Deserialize, Serialize};

use super::additive::{
    CronResource, DirectoryResource, GroupResource, KernelModuleResource, LineResource, OnUnassign, ServiceResource,
    SymlinkResource, SysctlResource, TimerResource, UserResource,
};

/// One policy: a list of resources for each kind of host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OsPolicy {
    /// Unique in its assignment.
    pub id: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Report only, or repair.
    pub mode: Mode,
    /// The first group whose filters match is the host's.
    #[serde(alias = "resource_groups")]
    pub resource_groups: Vec<ResourceGroup>,
    /// A host that no group matches is compliant; else it is not.
    #[serde(default, alias = "allow_no_resource_group_match", skip_serializing_if = "std::ops::Not::not")]
    pub allow_no_resource_group_match: bool,
    /// *Ours*: seconds between two checks of the whole policy; drift is seen by events before that. Absent = 3600.
    #[serde(default, alias = "check_interval_secs", skip_serializing_if = "Option::is_none")]
    pub check_interval_secs: Option<u64>,
    /// *Ours*: where two policies want different things of one object, the higher one has its way; equal ones are refused.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(n: &i32) -> bool {
    *n == 0
}

/// What is done about a resource that is not as it should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    /// It is reported.
    #[default]
    Validation,
    /// It is repaired.
    Enforcement,
}

/// Resources for hosts of some kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceGroup {
    /// Any of them; none = every host.
    #[serde(default, alias = "inventory_filters", skip_serializing_if = "Vec::is_empty")]
    pub inventory_filters: Vec<InventoryFilter>,
    /// In the order in which they are brought about.
    pub resources: Vec<Resource>,
}

/// A kind of host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InventoryFilter {
    /// `debian`, `ol`, `rhel`, `sles`, `windows` …, exactly.
    #[serde(alias = "os_short_name")]
    pub os_short_name: String,
    /// Exactly, or with `*` at its end what begins so; empty = every version.
    #[serde(default, alias = "os_version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
}

impl InventoryFilter {
    /// Is the host of this kind?
    pub fn matches(&self, os_short_name: &str, os_version: &str) -> bool {
        self.os_short_name == os_short_name
            && match self.os_version.strip_suffix('*') {
                Some(prefix) => os_version.starts_with(prefix),
                None => self.os_version.is_empty() || self.os_version == os_version,
            }
    }
}

/// One thing on a host: exactly one of the kinds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resource {
    /// Unique in its policy.
    pub id: String,
    /// A package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pkg: Option<PackageResource>,
    /// A package repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryResource>,
    /// A script that checks, and one that repairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecResource>,
    /// A file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileResource>,
    /// *Ours*: a unit of systemd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceResource>,
    /// *Ours*: a local user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserResource>,
    /// *Ours*: a local group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupResource>,
    /// *Ours*: a kernel parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysctl: Option<SysctlResource>,
    /// *Ours*: a kernel module.
    #[serde(alias = "kernel_module", skip_serializing_if = "Option::is_none")]
    pub kernel_module: Option<KernelModuleResource>,
    /// *Ours*: a timer of systemd with the service it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timer: Option<TimerResource>,
    /// *Ours*: a file in /etc/cron.d.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<CronResource>,
    /// *Ours*: a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryResource>,
    /// *Ours*: a symbolic link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symlink: Option<SymlinkResource>,
    /// *Ours*: a line in a file that others write, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<LineResource>,
    /// *Ours*: resources of the same policy that must be as they should first.
    #[serde(alias = "depends_on", skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// *Ours*: services of the same policy that are reloaded (restarted where they cannot) after this one was changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<String>,
    /// *Ours*: seconds that one step of this resource may take; absent = 600.
    #[serde(alias = "timeout_secs", skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u64>,
    /// *Ours*: `{{ vars.port }}`, `{{ host.name }}` and their like in its texts are filled in; absent = texts are taken as they are.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub template: bool,
    /// *Ours*: what becomes of it when nothing assigns it any more.
    #[serde(alias = "on_unassign", skip_serializing_if = "OnUnassign::is_keep")]
    pub on_unassign: OnUnassign,
}

/// Which kind a resource is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the fields")]
pub enum ResourceKind<'a> {
    Pkg(&'a PackageResource),
    Repository(&'a RepositoryResource),
    Exec(&'a ExecResource),
    File(&'a FileResource),
    Service(&'a ServiceResource),
    User(&'a UserResource),
    Group(&'a GroupResource),
    Sysctl(&'a SysctlResource),
    KernelModule(&'a KernelModuleResource),
    Timer(&'a TimerResource),
    Cron(&'a CronResource),
    Directory(&'a DirectoryResource),
    Symlink(&'a SymlinkResource),
    Line(&'a LineResource),
}

impl Resource {
    /// The kinds it says it is; one, where it is valid.
    pub fn kinds(&self) -> Vec<ResourceKind<'_>> {
        use ResourceKind as K;
        let all = [
            self.pkg.as_ref().map(K::Pkg),
            self.repository.as_ref().map(K::Repository),
            self.exec.as_ref().map(K::Exec),
            self.file.as_ref().map(K::File),
            self.service.as_ref().map(K::Service),
            self.user.as_ref().map(K::User),
            self.group.as_ref().map(K::Group),
            self.sysctl.as_ref().map(K::Sysctl),
            self.kernel_module.as_ref().map(K::KernelModule),
            self.timer.as_ref().map(K::Timer),
            self.cron.as_ref().map(K::Cron),
            self.directory.as_ref().map(K::Directory),
            self.symlink.as_ref().map(K::Symlink),
            self.line.as_ref().map(K::Line),
        ];
        all.into_iter().flatten().collect()
    }
}

/// Names of the fields that say what a resource is, for messages.
pub const KIND_NAMES: &str =
    "pkg, repository, exec, file, service, user, group, sysctl, kernelModule, timer, cron, directory, symlink or line";

/// Where a file comes from: exactly one of remote, gcs and localPath.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FileSource {
    /// An address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteFile>,
    /// An object of a bucket, read through the configured S3- or GCS-compatible address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcs: Option<GcsFile>,
    /// A file on the host.
    #[serde(alias = "local_path", skip_serializing_if = "Option::is_none")]
    pub local_path: Option<String>,
    /// Lifts the demand for a checksum or generation.
    #[serde(alias = "allow_insecure", skip_serializing_if = "std::ops::Not::not")]
    pub allow_insecure: bool,
}

/// A file at an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoteFile {
    /// `https://…` or `http://…`.
    pub uri: String,
    /// Lower- or upper-case hex.
    #[serde(default, alias = "sha256_checksum", rename = "sha256Checksum", skip_serializing_if = "String::is_empty")]
    pub sha256_checksum: String,
}

/// An object of a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GcsFile {
    /// The bucket.
    pub bucket: String,
    /// The object.
    pub object: String,
    /// Its generation: a number, also as text (proto3 JSON writes 64 bits so).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
}

/// 64 bits, as a number or as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Generation {
    /// A number.
    Number(i64),
    /// Digits.
    Text(String),
}

/// A package: `desiredState` and exactly one system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageResource {
    /// There or not.
    #[serde(alias = "desired_state")]
    pub desired_state: PackageState,
    /// apt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apt: Option<NamedPackage>,
    /// A deb file. Only INSTALLED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deb: Option<PackageFile>,
    /// yum and dnf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yum: Option<NamedPackage>,
    /// zypper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zypper: Option<NamedPackage>,
    /// An rpm file. Only INSTALLED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpm: Option<PackageFile>,
    /// Windows: kept, no agent reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub googet: Option<NamedPackage>,
    /// Windows: kept, no agent reads it. Only INSTALLED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msi: Option<MsiPackage>,
}

/// There or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PackageState {
    /// There.
    #[default]
    Installed,
    /// Not there.
    Removed,
}

/// A package by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedPackage {
    /// Its name.
    pub name: String,
    /// *Ours*: which versions will do; absent = any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionWish>,
    /// *Ours*: the package manager keeps the version as it is (apt-mark hold, versionlock, addlock).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
}

/// Which versions of a package will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum VersionWish {
    /// The newest that the host's repositories offer.
    Latest {},
    /// Exactly this one.
    Exact(String),
    /// This one or a newer one.
    AtLeast(String),
    /// An older one than this.
    Below(String),
}

/// A package by file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageFile {
    /// Where it is.
    pub source: FileSource,
    /// What it needs is installed, too.
    #[serde(default, alias = "pull_deps", skip_serializing_if = "std::ops::Not::not")]
    pub pull_deps: bool,
}

/// A Windows installer package.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MsiPackage {
    /// Where it is.
    pub source: FileSource,
    /// `Property=Setting`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<String>,
}

/// A package repository: exactly one system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RepositoryResource {
    /// apt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apt: Option<AptRepository>,
    /// yum and dnf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yum: Option<RpmRepository>,
    /// zypper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zypper: Option<RpmRepository>,
    /// Windows: kept, no agent reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goo: Option<GooRepository>,
}

/// One `deb` line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AptRepository {
    /// Binary or source packages.
    #[serde(alias = "archive_type")]
    pub archive_type: ArchiveType,
    /// Address.
    pub uri: String,
    /// Suite, codename or path.
    pub distribution: String,
    /// At least one.
    pub components: Vec<String>,
    /// Address of the key that signs it.
    #[serde(default, alias = "gpg_key", skip_serializing_if = "String::is_empty")]
    pub gpg_key: String,
}

/// Binary or source packages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ArchiveType {
    /// `deb`.
    #[default]
    Deb,
    /// `deb-src`.
    DebSrc,
}

/// One section of a .repo file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RpmRepository {
    /// Its id; also its name where there is none.
    pub id: String,
    /// Its name.
    #[serde(default, alias = "display_name", skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Its address.
    #[serde(alias = "base_url")]
    pub base_url: String,
    /// Addresses of keys.
    #[serde(default, alias = "gpg_keys", skip_serializing_if = "Vec::is_empty")]
    pub gpg_keys: Vec<String>,
}

/// A GooGet repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GooRepository {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
}

/// A script that checks, and one that repairs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecResource {
    /// Exit 100: as it should be; 101: it is not; anything else is an error.
    pub validate: Exec,
    /// Exit 100: done; anything else is an error. Needed in mode ENFORCEMENT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce: Option<Exec>,
    /// *Ours*: something happened here → `validate` runs at once, not only when the interval is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<ExecWatch>,
}

/// What makes the answer of a script old.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExecWatch {
    /// Files and directories, absolute, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Units of systemd: `httpd` or `httpd.service`, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<String>,
    /// The database of packages.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub packages: bool,
}

/// A script: exactly one of file and script.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exec {
    /// A file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
    /// The script itself, at most 32 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// What runs it.
    pub interpreter: Interpreter,
    /// Of `enforce`: a file whose content is reported, at most 500 KB.
    #[serde(default, alias = "output_file_path", skip_serializing_if = "String::is_empty")]
    pub output_file_path: String,
}

/// What runs a script.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = PolicyInterpreter))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Interpreter {
    /// The file itself.
    #[default]
    None,
    /// /bin/sh.
    Shell,
    /// Windows.
    Powershell,
}

/// A file: exactly one of file and content, unless it is to be absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileResource {
    /// Its content is in another file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
    /// Its content, at most 32 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Absolute.
    pub path: String,
    /// What must hold.
    pub state: FileState,
    /// Three or four octal digits. Absent = 644 for a new file, as Google's agent does; an existing one is left.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub permissions: String,
    /// *Ours*: name or number of the owner.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// *Ours*: name or number of the group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// *Ours*: SELinux label, as `user:role:type:level`; absent = what the host's rules say.
    #[serde(default, alias = "selinux_label", rename = "selinuxLabel", skip_serializing_if = "String::is_empty")]
    pub selinux_label: String,
}

/// What must hold of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FileState {
    /// It is there; its content does not matter once it is.
    #[default]
    Present,
    /// It is not there.
    Absent,
    /// It is there with this content.
    ContentsMatch,
}
