//! What one host is to see: a signed, numbered document that the agent turns into repository files, and what the agent
//! answers. DESIGN decision 17.

use serde::{Deserialize, Serialize};

use super::name::check_name;
use super::unit::Format;
use crate::ids::InstanceId;
use crate::inventory::{Finding, fingerprint};
use crate::validate::{Invalid, Problems};

/// Sources of one host, count.
pub const HOST_SOURCES_MAX: usize = 1000;
/// A document of a host's sources, bytes: 1,000 sources with a key of 4 KiB each, doubled.
pub const HOST_SOURCES_MAX_BYTES: usize = 8 * 1024 * 1024;
/// A report on a host's sources, bytes.
pub const HOST_SOURCES_REPORT_MAX_BYTES: usize = 1024 * 1024;
/// Entries of each list in a report, count.
pub const HOST_SOURCES_REPORT_ENTRIES_MAX: usize = 1000;
/// A path in a report, bytes (Linux: 4,096).
const PATH_MAX_BYTES: usize = 4096;
/// One word of a source (suite, component, architecture), bytes.
const WORD_MAX_BYTES: usize = 128;

/// What becomes of repository definitions that were on the host before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SourcesMode {
    /// They stay; ours are added.
    #[default]
    Additive,
    /// They are renamed to `*.drydock-backup` and come back, byte for byte, at `drydock-agent unregister` or when the
    /// mode changes back.
    Exclusive,
}

impl SourcesMode {
    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            SourcesMode::Additive => "additive",
            SourcesMode::Exclusive => "exclusive",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [SourcesMode::Additive, SourcesMode::Exclusive].into_iter().find(|m| m.as_str() == text)
    }
}

/// Version of [`HostSources`]' form.
pub const HOST_SOURCES_VERSION: u32 = 1;

/// What the signature of a [`HostSources`] document covers in front of its bytes.
pub const HOST_SOURCES_SIGNATURE_CONTEXT: &[u8] = b"drydock-host-sources-v1\n";

/// The bytes the signature of a sources document covers.
pub fn signed_bytes(document: &[u8]) -> Vec<u8> {
    [HOST_SOURCES_SIGNATURE_CONTEXT, document].concat()
}

/// The sources of one host. An agent that never had one (or has one with neither sources nor exclusive mode) leaves the
/// host's repository files alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostSources {
    /// [`HOST_SOURCES_VERSION`] of the sender.
    pub version: u32,
    /// The only instance that may act on it.
    pub instance: InstanceId,
    /// Grows with every change for this instance; the agent refuses a lower one than it has applied.
    pub generation: u64,
    /// See [`SourcesMode`].
    pub mode: SourcesMode,
    /// OpenPGP public keys of this server's repositories, ASCII-armoured: all that may sign metadata now.
    pub repository_keys: Vec<String>,
    /// Sorted by name.
    pub sources: Vec<HostSource>,
}

/// One source of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HostSource {
    /// Source name; the repository id on the host is `drydock-<name>`.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// rpm or deb.
    pub format: Format,
    /// Path below the server's URL, with slashes at both ends: `/content/prod/ol9-base/`.
    pub path: String,
    /// deb: suite below `dists/`.
    #[serde(default)]
    pub suite: String,
    /// deb: components.
    #[serde(default)]
    pub components: Vec<String>,
    /// deb: architectures (without `all`).
    #[serde(default)]
    pub architectures: Vec<String>,
    /// OpenPGP public keys that sign packages.
    #[serde(default)]
    pub keys: Vec<String>,
    /// rpm: check package signatures.
    pub gpgcheck: bool,
    /// See `SourceSpec::priority`.
    #[serde(default)]
    pub priority: Option<u32>,
    /// rpm.
    #[serde(default)]
    pub module_hotfixes: bool,
}

/// How far a host is with its sources document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HostSourcesState {
    /// The host's files say what the document says.
    Applied,
    /// Something could not be written, renamed or restored; the findings say what.
    Failed,
}

/// What the agent tells after applying (or failing to).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HostSourcesReport {
    /// Generation of the document; 0 = none was ever received.
    pub generation: u64,
    /// Applied or failed.
    pub state: HostSourcesState,
    /// Which repository definitions were set aside, by their path before.
    #[serde(default)]
    pub taken_over: Vec<String>,
    /// Files that could not be written, sources that fail on the host.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

/// Why an agent refuses a sources document. It is reported, never ignored in silence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourcesRefused {
    /// The form is newer than this agent.
    #[error("the sources document has form version {given}, this agent reads up to {HOST_SOURCES_VERSION}; upgrade the agent")]
    Version {
        /// Version in the document.
        given: u32,
    },
    /// Addressed to another instance.
    #[error("the sources document is addressed to instance {to}, this is {own}")]
    Address {
        /// Addressee.
        to: InstanceId,
        /// This agent.
        own: InstanceId,
    },
    /// Older than what was applied.
    #[error("the sources document has generation {given}, but {applied} was applied before; it is old or replayed")]
    Generation {
        /// Generation in the document.
        given: u64,
        /// Highest generation applied.
        applied: u64,
    },
    /// Two documents of one number.
    #[error(
        "the sources document has generation {given} like the one applied before, but other content; the server made a mistake"
    )]
    Content {
        /// The generation.
        given: u64,
    },
    /// Something in it can never be right.
    #[error("the sources document cannot be used: {0}")]
    Malformed(#[from] Invalid),
}

impl HostSources {
    /// SHA-256, lower-case hex, of everything but the generation: two documents with the same ask for the same files.
    pub fn fingerprint(&self) -> String {
        let content = HostSources { generation: 0, ..self.clone() };
        // Plain structs of text and numbers always have a JSON form.
        fingerprint(&serde_json::to_vec(&content).unwrap_or_default())
    }

    /// May this agent act on the document? `applied`: generation and fingerprint of the newest one it ever applied.
    pub fn accept(&self, own: InstanceId, applied: Option<(u64, &str)>) -> Result<(), SourcesRefused> {
        if self.version > HOST_SOURCES_VERSION {
            return Err(SourcesRefused::Version { given: self.version });
        }
        if self.instance != own {
            return Err(SourcesRefused::Address { to: self.instance, own });
        }
        if let Some((applied, content)) = applied {
            if self.generation < applied {
                return Err(SourcesRefused::Generation { given: self.generation, applied });
            }
            if self.generation == applied && self.fingerprint() != content {
                return Err(SourcesRefused::Content { given: self.generation });
            }
        }
        Ok(self.check()?)
    }

    /// What becomes file names, URLs and lines of files on a host is plain words, also when the server is wrong.
    fn check(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        problems.count("sources", self.sources.len(), HOST_SOURCES_MAX);
        for (i, source) in self.sources.iter().enumerate().take(HOST_SOURCES_MAX) {
            let at = format!("sources[{i}]");
            check_name(&format!("{at}.name"), &source.name, &mut problems);
            if self.sources[..i].iter().any(|s| s.name == source.name) {
                problems.add(format!("{at}.name"), format!("repeats {}", source.name));
            }
            check_path(&format!("{at}.path"), source, &mut problems);
            let words = source.components.iter().chain(&source.architectures).chain(std::iter::once(&source.suite));
            if words.into_iter().any(|w| w.len() > WORD_MAX_BYTES || !w.bytes().all(is_word_byte)) {
                problems.add(&at, "has a suite, component or architecture that is not a plain word");
            }
            if source.display_name.chars().any(char::is_control) {
                problems.add(format!("{at}.displayName"), "holds control characters");
            }
        }
        problems.finish()
    }
}

impl HostSourcesReport {
    /// Checks a report: what a host says is not trusted.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        problems.count("takenOver", self.taken_over.len(), HOST_SOURCES_REPORT_ENTRIES_MAX);
        for (i, path) in self.taken_over.iter().enumerate().take(HOST_SOURCES_REPORT_ENTRIES_MAX) {
            problems.text(&format!("takenOver[{i}]"), path, PATH_MAX_BYTES);
        }
        problems.count("findings", self.findings.len(), HOST_SOURCES_REPORT_ENTRIES_MAX);
        problems.finish()
    }
}

fn is_word_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"._+~/-".contains(&b)
}

/// `/content/<view>/<name>/`.
fn check_path(field: &str, source: &HostSource, problems: &mut Problems) {
    let view = source.path.strip_prefix("/content/").and_then(|rest| rest.strip_suffix(&format!("/{}/", source.name)));
    let fine = view.is_some_and(|view| {
        let mut in_view = Problems::default();
        check_name(field, view, &mut in_view);
        view == super::name::LATEST || in_view.finish().is_ok()
    });
    if !fine {
        problems.add(field, "is /content/<view>/<name>/");
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn source(name: &str) -> HostSource {
        HostSource {
            name: name.into(),
            display_name: "Base".into(),
            format: Format::Deb,
            path: format!("/content/prod/{name}/"),
            suite: "bookworm-updates".into(),
            components: vec!["main".into(), "updates/main".into()],
            architectures: vec!["amd64".into()],
            keys: Vec::new(),
            gpgcheck: true,
            priority: None,
            module_hotfixes: false,
        }
    }

    fn document(generation: u64) -> HostSources {
        HostSources {
            version: 1,
            instance: InstanceId(Uuid::from_u128(1)),
            generation,
            mode: SourcesMode::Additive,
            repository_keys: vec!["K".into()],
            sources: vec![source("a"), HostSource { path: "/content/latest/b/".into(), ..source("b") }],
        }
    }

    #[test]
    fn only_a_newer_document_or_the_same_again_is_accepted() {
        let own = document(5).instance;
        let print = document(5).fingerprint();
        assert_eq!(document(5).accept(own, None), Ok(()));
        assert_eq!(document(5).accept(own, Some((4, "x"))), Ok(()));
        assert_eq!(document(5).accept(own, Some((5, &print))), Ok(()), "the same again");
        assert_eq!(document(9).fingerprint(), print, "the generation is not part of it");
        assert_eq!(document(5).accept(own, Some((6, "x"))), Err(SourcesRefused::Generation { given: 5, applied: 6 }));
        let other = HostSources { mode: SourcesMode::Exclusive, ..document(5) };
        assert_eq!(other.accept(own, Some((5, &print))), Err(SourcesRefused::Content { given: 5 }));
        let to = InstanceId(Uuid::from_u128(2));
        assert_eq!(document(5).accept(to, None), Err(SourcesRefused::Address { to: own, own: to }));
        let newer = HostSources { version: 2, ..document(5) };
        assert_eq!(newer.accept(own, None), Err(SourcesRefused::Version { given: 2 }));
    }

    #[test]
    fn nothing_in_a_document_becomes_more_than_a_word() {
        let bad: [fn(&mut HostSource); 9] = [
            |s| s.name = "../a".into(),
            |s| s.name = "b".into(),
            |s| s.path = "/content/prod/other/".into(),
            |s| s.path = "/content/../a/".into(),
            |s| s.path = "https://evil.example/content/prod/a/".into(),
            |s| s.suite = "x\nTrusted: yes".into(),
            |s| s.components = vec!["a b".into()],
            |s| s.architectures = vec!["amd64]".into()],
            |s| s.display_name = "x\n[other]".into(),
        ];
        for (i, break_it) in bad.into_iter().enumerate() {
            let mut wrong = document(5);
            break_it(&mut wrong.sources[0]);
            let refused = wrong.accept(wrong.instance, None);
            assert!(matches!(refused, Err(SourcesRefused::Malformed(_))), "{i}: {refused:?}");
        }
    }

    #[test]
    fn a_report_is_bounded() {
        let report = HostSourcesReport {
            generation: 1,
            state: HostSourcesState::Applied,
            taken_over: vec!["/etc/yum.repos.d/a.repo".into()],
            findings: Vec::new(),
        };
        assert_eq!(report.validate(), Ok(()));
        let long = HostSourcesReport { taken_over: vec!["x".repeat(5000)], ..report.clone() };
        assert!(long.validate().is_err());
        let many = HostSourcesReport { taken_over: vec![String::new(); 1001], ..report };
        assert!(many.validate().is_err());
    }
}
