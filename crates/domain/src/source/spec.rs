//! What an operator says when making a software source, and what is refused.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::filter::Selection;
use super::unit::Format;

/// When package files are fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DownloadPolicy {
    /// With the sync: a snapshot is complete only with every file.
    Immediate,
    /// When the first host asks; kept afterwards.
    #[default]
    OnDemand,
    /// Never through this server: metadata names the upstream's own URLs (`xml:base`; rpm only).
    MetadataOnly,
}

/// Where units come from. Exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Origin {
    /// Mirrors a repository elsewhere (a *vendor* source).
    Upstream(Upstream),
    /// Takes units from other sources of this server (a *custom* source): the union, first source wins for equal
    /// (name, arch, version).
    Sources {
        /// Names of sources of the same format; at least one.
        from: Vec<String>,
    },
    /// Filled by uploads.
    Local {
        /// deb: name of the suite, for example `stable`; the only component is `main`. Ignored for rpm.
        #[serde(default = "local_suite")]
        suite: String,
    },
}

fn local_suite() -> String {
    "local".to_owned()
}

/// A repository elsewhere. `Debug` shows neither its key nor the proxy's password.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Upstream {
    /// `http://` or `https://` URLs of equal mirrors, tried in order. rpm: the directory that holds `repodata/`;
    /// deb: the directory that holds `dists/`, or for a flat repository the one that holds `Release`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// rpm: URL of a list of mirrors, one a line.
    pub mirrorlist: Option<String>,
    /// rpm: URL of a metalink document.
    pub metalink: Option<String>,
    /// deb: suite or codename, for example `bookworm`, `bookworm-security`; `./` for a flat repository.
    pub suite: Option<String>,
    /// deb: components, for example `main`; none for a flat repository.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// PEM: certificate authorities to trust besides the system's.
    pub ca_pem: Option<String>,
    /// PEM: client certificate chain for the upstream.
    pub client_certificate_pem: Option<String>,
    /// PEM: its key. Written, never shown again.
    pub client_key_pem: Option<String>,
    /// `http://[user:password@]host:port`. Written; shown without the password.
    pub proxy: Option<String>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every field is named: a new one has to be thought of here.
        let Upstream { urls, mirrorlist, metalink, suite, components, ca_pem, client_certificate_pem, client_key_pem, proxy } =
            self;
        let given = |text: &Option<String>| text.as_ref().map(|_| "…");
        let proxy = proxy.as_ref().map(|url| url.rsplit_once('@').map_or(url.clone(), |(_, host)| format!("…@{host}")));
        f.debug_struct("Upstream")
            .field("urls", urls)
            .field("mirrorlist", mirrorlist)
            .field("metalink", metalink)
            .field("suite", suite)
            .field("components", components)
            .field("ca_pem", &given(ca_pem))
            .field("client_certificate_pem", &given(client_certificate_pem))
            .field("client_key_pem", &given(client_key_pem))
            .field("proxy", &proxy)
            .finish()
    }
}

/// How much of the upstream's signatures must be right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SignatureCheck {
    /// Metadata must be signed by one of the source's keys (deb always has such a signature; rpm: `repomd.xml.asc`).
    Required,
    /// Metadata is verified when a signature and a key are there (rpm upstreams seldom sign theirs).
    #[default]
    Optional,
    /// Nothing is verified but checksums; a finding says so.
    None,
}

/// A software source as made or edited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceSpec {
    /// Unique; part of URLs and of the repository id on hosts (`drydock-<name>`). Never changes.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub display_name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// rpm or deb. Never changes.
    pub format: Format,
    /// Where units come from.
    pub origin: Origin,
    /// Source this one belongs to (Oracle's parent/child: a child can be attached only where its parent is).
    #[serde(default)]
    pub parent: Option<String>,
    /// Architectures to take (`x86_64`, `amd64`; `noarch`/`all` and `src` only when listed or implied): empty = all that
    /// the upstream has (rpm), `amd64` (deb). `noarch` and `all` come with every architecture.
    #[serde(default)]
    pub architectures: Vec<String>,
    /// OpenPGP public keys, ASCII-armoured: metadata and packages are signed with one of them.
    #[serde(default)]
    pub keys: Vec<String>,
    /// See [`SignatureCheck`].
    #[serde(default)]
    pub signatures: SignatureCheck,
    /// Hosts check package signatures with [`Self::keys`] (rpm `gpgcheck`).
    #[serde(default = "yes")]
    pub gpgcheck: bool,
    /// When package files are fetched.
    #[serde(default)]
    pub policy: DownloadPolicy,
    /// What to take.
    #[serde(default)]
    pub selection: Selection,
    /// Seconds between syncs; absent = only when asked.
    #[serde(default)]
    pub sync_interval_secs: Option<u64>,
    /// Snapshots kept besides those that environments use; the oldest go first (default 30).
    #[serde(default)]
    pub keep_snapshots: Option<u32>,
    /// rpm `priority` or the deb pin this source has on hosts; absent = the tool's default.
    #[serde(default)]
    pub priority: Option<u32>,
    /// rpm: modules of this source do not hide its other packages (`module_hotfixes`).
    #[serde(default)]
    pub module_hotfixes: bool,
    /// Path of the compartment in which it is made, for example `/A`. Absent: the tenancy, or the one topmost
    /// compartment in which the caller may. Said only when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<String>,
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret_of_a_source() {
        let upstream = Upstream {
            urls: vec!["https://mirror.example/".into()],
            client_key_pem: Some("-----BEGIN PRIVATE KEY-----s3cret".into()),
            proxy: Some("http://user:s3cret@proxy.example:3128".into()),
            ..Upstream::default()
        };
        let shown = format!("{:?}", Origin::Upstream(upstream));
        assert!(!shown.contains("s3cret") && !shown.contains("user"), "{shown}");
        assert!(shown.contains("mirror.example") && shown.contains("proxy.example:3128"), "{shown}");
    }
}
