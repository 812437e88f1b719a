//! Resources that Google's format lacks and that people otherwise script (*ours*).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What becomes of a resource when nothing assigns it any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnUnassign {
    /// It stays as it is, as with Google.
    #[default]
    Keep,
    /// What the policy brought is taken back.
    Remove,
}

impl OnUnassign {
    /// The default, which is not written.
    pub fn is_keep(&self) -> bool {
        *self == OnUnassign::Keep
    }
}

/// A unit of systemd. What is absent is left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceResource {
    /// `httpd` or `httpd.service`.
    pub name: String,
    /// Active, or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// Started at boot, or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Cannot be started at all, or can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked: Option<bool>,
}

/// There or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Existence {
    /// There.
    #[default]
    Present,
    /// Not there.
    Absent,
}

/// A local user. What is absent is left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserResource {
    /// Its name.
    pub name: String,
    /// There or not.
    #[serde(default)]
    pub state: Existence,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Its first group, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Exactly these further groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Home directory, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Shell, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// A number below 1000 is chosen when it is made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
}

/// A local group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupResource {
    /// Its name.
    pub name: String,
    /// There or not.
    #[serde(default)]
    pub state: Existence,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// A number below 1000 is chosen when it is made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
}

/// A kernel parameter, now and after the next boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SysctlResource {
    /// `net.ipv4.ip_forward`.
    pub key: String,
    /// As sysctl(8) prints it.
    pub value: String,
}

/// A kernel module, now and after the next boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KernelModuleResource {
    /// Its name.
    pub name: String,
    /// Loaded, or barred from being loaded.
    #[serde(default)]
    pub state: ModuleState,
}

/// Loaded, or barred.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = PolicyModuleState))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ModuleState {
    /// Loaded.
    #[default]
    Loaded,
    /// Not loaded, and cannot be.
    Barred,
}

/// A timer of systemd and the command it starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimerResource {
    /// Name of both units, without suffix.
    pub name: String,
    /// systemd.time(7): `*-*-* 04:00`.
    #[serde(alias = "on_calendar")]
    pub on_calendar: String,
    /// What it starts, with arguments; the first is an absolute path.
    pub command: Vec<String>,
    /// Whose rights it has; absent = root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Runs at the next boot when it was missed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub persistent: bool,
}

/// A file in /etc/cron.d.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CronResource {
    /// The file's name: letters, digits, `_` and `-`, because cron ignores others.
    pub name: String,
    /// crontab(5): `0 4 * * *`.
    pub schedule: String,
    /// Whose rights it has.
    pub user: String,
    /// One line for the shell.
    pub command: String,
    /// Variables above it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

/// A directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectoryResource {
    /// Absolute.
    pub path: String,
    /// There or not. One that is not empty is never removed.
    #[serde(default)]
    pub state: Existence,
    /// Three or four octal digits; absent = 755 for a new one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub permissions: String,
    /// Name or number of the owner.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Name or number of the group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
}

/// A symbolic link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SymlinkResource {
    /// Absolute.
    pub path: String,
    /// Where it points.
    pub target: String,
    /// There or not.
    #[serde(default)]
    pub state: Existence,
}

/// A line in a file that others write, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LineResource {
    /// The file, absolute.
    pub path: String,
    /// The line.
    pub line: String,
    /// A line that begins so is the one that is replaced; absent = the whole line must be there.
    #[serde(default, alias = "starts_with", skip_serializing_if = "Option::is_none")]
    pub starts_with: Option<String>,
    /// There or not.
    #[serde(default)]
    pub state: Existence,
    /// The file is made where it is not there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create: bool,
}
