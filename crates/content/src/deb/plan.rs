//! What a source wants of an apt upstream, and which files of a Release that is. Pure.
//!
//! Absent: fetching; sources packages, Contents and Translation files.

use drydock_domain::source::spec::{DownloadPolicy, Origin, SourceSpec, Upstream};
use serde::Serialize;

use super::publish::FLAT_DIST;
use super::release::{IndexEntry, Release, is_path_word};
use crate::digest::Sha256;
use crate::snapshot::DebInfo;
use crate::sync::{Findings, SyncError};

/// Largest compressed index, bytes: the largest plain one allowed.
pub const INDEX_FILE_MAX_BYTES: u64 = super::index::INDEX_RAW_MAX_BYTES;
/// Compressions that are read, the best first.
const SUFFIXES: [&str; 5] = [".xz", ".zst", ".gz", ".bz2", ""];
/// Architecture of sources that name none.
const DEFAULT_ARCHITECTURE: &str = "amd64";
/// The component that a flat repository is published as.
pub const FLAT_COMPONENT: &str = "main";
/// Changes when the same files make other trees.
const EDITION: u32 = 1;

/// What a source wants.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// The upstream as the operator wrote it.
    pub upstream: &'a Upstream,
    /// It has no `dists/`.
    pub flat: bool,
    /// Directory of its Release: `dists/bookworm/`, or empty.
    pub base: String,
    /// Directory below `dists/` it is published as.
    pub dist: String,
    /// Components; none = all that the Release has.
    pub components: Vec<String>,
    /// Architectures without `all`.
    pub architectures: Vec<String>,
    /// Names everything of the source that shapes a snapshot: another one means that nothing can be reused.
    pub settings: String,
}

/// What [`Plan::settings`] is made of.
#[derive(Serialize)]
struct Settings<'a> {
    edition: u32,
    suite: &'a str,
    components: &'a [String],
    architectures: &'a [String],
    spec: (&'a [String], &'a drydock_domain::source::filter::Selection),
    checks: (drydock_domain::source::spec::SignatureCheck, DownloadPolicy),
}

fn spec_error(field: &'static str, problem: impl Into<String>) -> SyncError {
    SyncError::Spec { field, problem: problem.into() }
}

impl<'a> Plan<'a> {
    /// Reads a source.
    ///
    /// # Errors
    /// When it is not one of an apt upstream.
    pub fn of(spec: &'a SourceSpec) -> Result<Self, SyncError> {
        let Origin::Upstream(upstream) = &spec.origin else {
            return Err(spec_error("origin", "names no upstream; only sources with one are synced"));
        };
        if spec.policy == DownloadPolicy::MetadataOnly {
            return Err(spec_error(
                "policy",
                "metadata-only is for rpm sources: apt metadata cannot name another server; choose on-demand",
            ));
        }
        let suite = upstream.suite.as_deref().unwrap_or_default().trim();
        let flat = suite.ends_with('/') || suite == ".";
        let path = suite.trim_start_matches("./").trim_matches('/');
        let path = if path == "." { "" } else { path };
        if suite.is_empty() {
            return Err(spec_error("suite", "is missing; give for example `bookworm`, or `./` for a flat repository"));
        }
        if !(is_path_word(path) || flat && path.is_empty()) {
            return Err(spec_error("suite", format!("{suite:?} is not a suite or a path")));
        }
        let base = match (flat, path) {
            (true, "") => String::new(),
            (true, path) => format!("{path}/"),
            (false, path) => format!("dists/{path}/"),
        };
        let mut architectures: Vec<String> =
            spec.architectures.iter().filter(|arch| !matches!(arch.as_str(), "all" | "source" | "src")).cloned().collect();
        if architectures.is_empty() {
            architectures.push(DEFAULT_ARCHITECTURE.to_owned());
        }
        for (field, words) in [("components", &upstream.components), ("architectures", &architectures)] {
            if let Some(bad) = words.iter().find(|word| !is_path_word(word)) {
                return Err(spec_error(field, format!("{bad:?} cannot be part of a path")));
            }
        }
        let settings = Settings {
            edition: EDITION,
            suite,
            components: &upstream.components,
            architectures: &architectures,
            spec: (&spec.keys, &spec.selection),
            checks: (spec.signatures, spec.policy),
        };
        // Plain structures of text always have a JSON form.
        let settings = Sha256::of(&serde_json::to_vec(&settings).unwrap_or_default()).to_string();
        let dist = if flat { FLAT_DIST.to_owned() } else { path.to_owned() };
        Ok(Self { upstream, flat, base, dist, components: upstream.components.clone(), architectures, settings })
    }

    /// The index files to take, best compression first, none twice.
    ///
    /// # Errors
    /// When a component or every architecture is missing in the Release.
    pub fn indexes(&self, release: &Release, findings: &mut Findings) -> Result<Vec<WantedIndex>, SyncError> {
        if self.flat {
            return self.flat_indexes(release);
        }
        let components = if self.components.is_empty() { &release.components } else { &self.components };
        let mut wanted = Vec::new();
        for component in components {
            let found = self.component(component, release, findings);
            if found.is_empty() {
                return Err(self.nothing_of(component, release));
            }
            wanted.extend(found);
        }
        if wanted.is_empty() {
            return Err(spec_error("components", "is empty, and the Release names none; name the ones you want"));
        }
        Ok(wanted)
    }

    fn flat_indexes(&self, release: &Release) -> Result<Vec<WantedIndex>, SyncError> {
        let candidates = candidates("Packages", release);
        if candidates.is_empty() {
            return Err(SyncError::metadata(
                format!("{}Release", self.base),
                "it names no Packages file; is this a flat repository?",
            ));
        }
        let index = |arch: &String| WantedIndex {
            index: format!("{FLAT_COMPONENT}/{arch}"),
            only: Some(arch.clone()),
            candidates: candidates.clone(),
            raw_size: release.entries.get("Packages").map(|entry| entry.size),
        };
        Ok(self.architectures.iter().map(index).collect())
    }

    fn component(&self, component: &str, release: &Release, findings: &mut Findings) -> Vec<WantedIndex> {
        // Debian's security archive says `updates/main` and means `main`.
        let last = component.rsplit('/').next().unwrap_or(component);
        let all = release.has_index_of_all().then_some("all");
        let mut wanted: Vec<WantedIndex> = Vec::new();
        for arch in self.architectures.iter().map(String::as_str).chain(all) {
            let found = [component, last].into_iter().find_map(|name| {
                let path = format!("{name}/binary-{arch}/Packages");
                let candidates = candidates(&path, release);
                let raw_size = release.entries.get(&path).map(|entry| entry.size);
                let index = format!("{component}/{arch}");
                (!candidates.is_empty()).then_some(WantedIndex { index, only: None, candidates, raw_size })
            });
            match found {
                Some(found) => wanted.push(found),
                None if arch == "all" => {}
                None => findings.note(component, format!("the Release names no packages of architecture {arch}; skipped")),
            }
        }
        // Packages for all architectures alone are of no use to a host without an index of its own architecture.
        if wanted.iter().all(|found| found.index.ends_with("/all")) { Vec::new() } else { wanted }
    }

    fn nothing_of(&self, component: &str, release: &Release) -> SyncError {
        let known = |has: &String| has == component || has.rsplit('/').next() == Some(component);
        if release.components.iter().any(known) || release.components.is_empty() {
            let (want, has) = (self.architectures.join(", "), release.architectures.join(", "));
            spec_error(
                "architectures",
                format!("asks for {want}, of which component {component} has none; the Release has: {has}"),
            )
        } else {
            spec_error(
                "components",
                format!("asks for {component}, which the Release does not have; it has: {}", release.components.join(", ")),
            )
        }
    }

    /// What the snapshot says of itself.
    pub fn info(&self, release: &Release, indexes: &[WantedIndex]) -> DebInfo {
        let mut info = DebInfo {
            dist: self.dist.clone(),
            origin: release.origin.clone(),
            label: release.label.clone(),
            suite: release.suite.clone(),
            codename: release.codename.clone(),
            flat: self.flat,
            fields: release.fields.clone(),
            ..DebInfo::default()
        };
        for (component, arch) in indexes.iter().filter_map(|wanted| wanted.index.rsplit_once('/')) {
            if !info.components.iter().any(|has| has == component) {
                info.components.push(component.to_owned());
            }
            // apt asks for `all` by itself where the Release offers it.
            if arch != "all" && !info.architectures.iter().any(|has| has == arch) {
                info.architectures.push(arch.to_owned());
            }
        }
        info
    }
}

/// One index to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedIndex {
    /// `main/amd64`.
    pub index: String,
    /// Only packages of this architecture (and `all`).
    pub only: Option<String>,
    /// Files that have it, below the Release's directory.
    pub candidates: Vec<(String, IndexEntry)>,
    /// How long it is without compression, when the Release says so.
    pub raw_size: Option<u64>,
}

impl WantedIndex {
    /// Names its content: the same checksum, the same tree.
    pub fn identity(&self) -> String {
        let (_, entry) = &self.candidates[0];
        format!("{} {}", entry.sha256, self.only.as_deref().unwrap_or_default())
    }
}

fn candidates(path: &str, release: &Release) -> Vec<(String, IndexEntry)> {
    let found = SUFFIXES.into_iter().filter_map(|suffix| {
        let path = format!("{path}{suffix}");
        release.entries.get(&path).map(|entry| (path, *entry))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn spec(suite: &str, components: &[&str], architectures: &[&str]) -> SourceSpec {
        let upstream = serde_json::json!({ "suite": suite, "components": components });
        serde_json::from_value(serde_json::json!({
            "name": "x", "format": "deb", "architectures": architectures, "origin": { "upstream": upstream }
        }))
        .unwrap()
    }

    fn release(head: &str, files: &[&str]) -> Release {
        let sums: String = files.iter().map(|file| format!(" {SUM} 5 {file}\n")).collect();
        Release::parse(format!("{head}\nSHA256:\n{sums}").as_bytes()).unwrap()
    }

    fn names(spec: &SourceSpec, release: &Release) -> Result<Vec<(String, String)>, String> {
        let wanted = Plan::of(spec).and_then(|plan| plan.indexes(release, &mut Findings::new()));
        let name = |wanted: WantedIndex| {
            (wanted.index, wanted.candidates.into_iter().map(|(path, _)| path).collect::<Vec<_>>().join(" "))
        };
        wanted.map(|all| all.into_iter().map(name).collect()).map_err(|error| error.to_string())
    }

    fn pairs(expected: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(expected.iter().map(|(index, files)| ((*index).to_owned(), (*files).to_owned())).collect())
    }

    #[test]
    fn components_and_architectures_as_apt_takes_them() {
        let has = release(
            "Components: main contrib\nArchitectures: all amd64 arm64",
            &[
                "main/binary-amd64/Packages",
                "main/binary-amd64/Packages.gz",
                "main/binary-amd64/Packages.xz",
                "main/binary-all/Packages.xz",
                "contrib/binary-arm64/Packages",
            ],
        );
        let expected = [
            ("main/amd64", "main/binary-amd64/Packages.xz main/binary-amd64/Packages.gz main/binary-amd64/Packages"),
            ("main/all", "main/binary-all/Packages.xz"),
        ];
        assert_eq!(names(&spec("stable", &["main"], &[]), &has), pairs(&expected));
        let mut in_every = has.clone();
        in_every.all_in_every_index = true;
        assert_eq!(names(&spec("stable", &["main"], &["all", "amd64", "i386"]), &in_every), pairs(&expected[..1]));
        assert_eq!(names(&spec("stable", &[], &["arm64", "amd64"]), &has).unwrap().len(), 3, "no components = all");
        let refusal = names(&spec("stable", &["non-free"], &[]), &has).unwrap_err();
        assert!(refusal.contains("non-free") && refusal.contains("main, contrib"), "{refusal}");
        let refusal = names(&spec("stable", &["contrib"], &[]), &has).unwrap_err();
        assert!(refusal.contains("asks for amd64") && refusal.contains("all, amd64, arm64"), "{refusal}");
    }

    #[test]
    fn components_with_a_directory_in_front() {
        let has = release("Components: updates/main\nArchitectures: amd64", &["main/binary-amd64/Packages.xz"]);
        for component in ["main", "updates/main"] {
            let expected = [(format!("{component}/amd64"), "main/binary-amd64/Packages.xz".to_owned())];
            assert_eq!(names(&spec("bookworm/updates", &[component], &[]), &has), Ok(expected.to_vec()));
        }
    }

    #[test]
    fn flat_repositories_are_one_file_for_every_architecture() {
        let has = release("Suite: x", &["Packages", "Packages.gz"]);
        for (suite, base) in [("./", ""), ("/", ""), (".", ""), ("sub/dir/", "sub/dir/"), ("./sub/", "sub/")] {
            let spec = spec(suite, &[], &["amd64", "arm64"]);
            let plan = Plan::of(&spec).unwrap();
            assert_eq!((plan.base.as_str(), plan.dist.as_str()), (base, "flat"), "{suite}");
            let both = pairs(&[("main/amd64", "Packages.gz Packages"), ("main/arm64", "Packages.gz Packages")]);
            assert_eq!(names(&spec, &has), both);
        }
        for suite in ["", "../x", "../", "a/../b/", "a b", "http://x/"] {
            assert!(names(&spec(suite, &[], &[]), &has).unwrap_err().contains("suite"), "{suite}");
        }
    }

    #[test]
    fn settings_name_what_shapes_a_snapshot() {
        let one = spec("stable", &["main"], &[]);
        let mut renamed = one.clone();
        renamed.display_name = "other".to_owned();
        let other = spec("stable", &["main"], &["arm64"]);
        let of = |spec: &SourceSpec| Plan::of(spec).unwrap().settings;
        assert_eq!(of(&one), of(&renamed));
        assert_ne!(of(&one), of(&other));
    }
}
