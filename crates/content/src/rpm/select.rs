//! Which files of a `repomd.xml` are read, which are taken over as they are, and which are left.

use super::notes::Notes;
use super::repomd::{Repomd, RepomdData};
use super::xml::cut;
use crate::digest::{Digest, Sha256};
use crate::sync::SyncError;

/// Compressed size of a metadata file, bytes.
pub const METADATA_MAX_BYTES: u64 = 4 << 30;
/// Size of a file that is taken over as it is, bytes.
pub const EXTRA_MAX_BYTES: u64 = 64 << 20;
/// Files that are taken over as they are, count.
const MAX_EXTRAS: usize = 50;

/// A file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub kind: String,
    /// Path below the repository, as given.
    pub location: String,
    pub digest: Digest,
    pub size: Option<u64>,
    pub open_size: Option<u64>,
}

/// What a repository offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wants {
    pub primary: Wanted,
    pub filelists: Option<Wanted>,
    pub other: Option<Wanted>,
    pub updateinfo: Option<Wanted>,
    pub modules: Option<Wanted>,
    pub extras: Vec<Wanted>,
}

/// Chooses.
///
/// # Errors
/// When there is no `primary`, or a file that is read can only be had in a way that is not supported.
pub(crate) fn select(repomd: &Repomd, notes: &mut Notes) -> Result<Wants, SyncError> {
    let primary = read_file(repomd, "primary")?.ok_or_else(|| no_primary(repomd))?;
    let lists = ["filelists", "other", "updateinfo", "modules"].map(|kind| read_file(repomd, kind));
    let [filelists, other, updateinfo, modules] = lists;
    let wants = Wants {
        primary,
        filelists: filelists?,
        other: other?,
        updateinfo: updateinfo?,
        modules: modules?,
        extras: extras(repomd, notes),
    };
    for (kind, file) in [("filelists", &wants.filelists), ("other", &wants.other)] {
        if file.is_none() {
            notes.single("repomd.xml", format!("names no {kind}; packages get empty entries"));
        }
    }
    Ok(wants)
}

fn no_primary(repomd: &Repomd) -> SyncError {
    let kinds: Vec<_> = repomd.data.iter().map(|data| cut(&data.kind)).take(20).collect();
    if repomd.data.iter().any(|data| data.kind == "primary_db") {
        return SyncError::Unsupported {
            what: format!("a repository without primary.xml (repomd.xml names only {})", kinds.join(", ")),
            advice: "ask the upstream for gzip, xz, zstd or zchunk metadata beside sqlite".to_owned(),
        };
    }
    SyncError::metadata("repomd.xml", format!("it names no primary (only: {})", kinds.join(", ")))
}

/// A file in the form it is offered; where it is offered twice, not as zchunk.
fn read_file(repomd: &Repomd, kind: &str) -> Result<Option<Wanted>, SyncError> {
    let Some(data) = repomd.get(kind).or_else(|| repomd.get(&format!("{kind}_zck"))) else { return Ok(None) };
    if let Some(base) = &data.base {
        return Err(SyncError::Unsupported {
            what: format!("{kind} at another place than repomd.xml (xml:base {})", cut(base)),
            advice: "use the URL of that place for the source".to_owned(),
        });
    }
    let digest = data.checksum.clone().map_err(|source| SyncError::Unsupported {
        what: format!("the checksum of {kind} in repomd.xml: {source}; it"),
        advice: "ask the upstream for SHA-256 (createrepo_c makes it)".to_owned(),
    })?;
    Ok(Some(Wanted { kind: kind.to_owned(), ..wanted(data, digest) }))
}

fn wanted(data: &RepomdData, digest: Digest) -> Wanted {
    let RepomdData { kind, location, size, open_size, .. } = data.clone();
    Wanted { kind, location, digest, size, open_size }
}

/// Files that hosts read as they are: groups, product ids, application descriptions, what else there may be. Variants of
/// files we make ourselves and deltas of packages, which we do not serve, are left.
fn extras(repomd: &Repomd, notes: &mut Notes) -> Vec<Wanted> {
    const MADE: [&str; 5] = ["primary", "filelists", "other", "updateinfo", "modules"];
    const LEFT: [&str; 4] = ["filelists-ext", "filelists_ext", "prestodelta", "deltainfo"];
    let mut extras: Vec<Wanted> = Vec::new();
    for data in &repomd.data {
        let kind = data.kind.as_str();
        let plain = kind.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if MADE.contains(&kind) || LEFT.contains(&kind) || kind.ends_with("_db") || kind.ends_with("_zck") {
            continue;
        }
        let problem = if kind.is_empty() || kind.len() > 64 || !plain {
            Some("its type is no plain name".to_owned())
        } else if extras.iter().any(|extra| extra.kind == kind) {
            Some("it is there twice; the first is taken".to_owned())
        } else if extras.len() >= MAX_EXTRAS {
            Some(format!("there are more than {MAX_EXTRAS} files of other types"))
        } else if data.base.is_some() {
            Some("it is at another place (xml:base)".to_owned())
        } else if data.size.is_some_and(|size| size > EXTRA_MAX_BYTES) {
            Some(format!("it is larger than {EXTRA_MAX_BYTES} bytes"))
        } else {
            data.checksum.as_ref().err().map(ToString::to_string)
        };
        match (problem, &data.checksum) {
            (None, Ok(digest)) => extras.push(wanted(data, digest.clone())),
            (problem, _) => {
                let message = format!("the file of type {} is left out: {}", cut(kind), problem.unwrap_or_default());
                notes.add("files of other types that are left out", "repomd.xml", message);
            }
        }
    }
    extras
}

impl Wants {
    /// The files that are parsed.
    pub fn read(&self) -> [Option<&Wanted>; 5] {
        let Self { primary, filelists, other, updateinfo, modules, .. } = self;
        [Some(primary), filelists.as_ref(), other.as_ref(), updateinfo.as_ref(), modules.as_ref()]
    }

    /// Names what the trees of packages, advisories and modules are made of: equal sums, equal trees. A selection makes
    /// each of them depend on all files.
    pub fn sums(&self, shape: &str, everything: bool) -> [String; 3] {
        let [primary, filelists, other, updateinfo, modules] = self.read();
        let all = [primary, filelists, other, updateinfo, modules];
        let sum = |what: &str, files: &[Option<&Wanted>]| {
            let digests: Vec<String> = files.iter().map(|f| f.map_or("-".to_owned(), |f| f.digest.to_string())).collect();
            Sha256::of(format!("{what} {shape} {}", digests.join(" ")).as_bytes()).to_string()
        };
        if everything {
            [sum("packages", &[primary, filelists, other]), sum("advisories", &[updateinfo]), sum("modules", &[modules])]
        } else {
            ["packages", "advisories", "modules"].map(|what| sum(what, &all))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::BadDigest;

    fn data(kind: &str) -> RepomdData {
        RepomdData {
            kind: kind.into(),
            location: format!("repodata/{kind}.xml.gz"),
            base: None,
            checksum: Ok(Sha256::of(kind.as_bytes()).digest()),
            size: Some(1),
            open_size: None,
        }
    }

    fn repomd(kinds: &[&str]) -> Repomd {
        Repomd { revision: String::new(), data: kinds.iter().map(|kind| data(kind)).collect() }
    }

    #[test]
    fn everything_readable_is_taken_and_the_rest_left() {
        let all = [
            "primary",
            "filelists",
            "other",
            "primary_db",
            "other_zck",
            "prestodelta",
            "group",
            "group_gz",
            "productid",
            "susedata",
        ];
        let mut notes = Notes::default();
        let wants = select(&repomd(&all), &mut notes).unwrap();
        assert!(wants.updateinfo.is_none() && wants.filelists.is_some());
        let extras: Vec<_> = wants.extras.iter().map(|extra| extra.kind.as_str()).collect();
        assert_eq!(extras, ["group", "group_gz", "productid", "susedata"]);
        assert!(notes.into_findings().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_advice() {
        let refused = |repomd: &Repomd| select(repomd, &mut Notes::default()).unwrap_err().to_string();
        assert!(refused(&repomd(&["filelists"])).contains("names no primary"));
        assert!(refused(&repomd(&["primary_db"])).contains("beside sqlite"));
        let mut md5 = repomd(&["primary"]);
        md5.data[0].checksum = Err(BadDigest::Algorithm("md5".into()));
        assert!(refused(&md5).contains("SHA-256"));
        let mut elsewhere = repomd(&["primary", "other"]);
        elsewhere.data[1].base = Some("http://x/".into());
        assert!(refused(&elsewhere).contains("another place"));
    }

    #[test]
    fn zchunk_is_read_where_there_is_nothing_else() {
        let wants = select(&repomd(&["primary", "primary_zck", "other_zck"]), &mut Notes::default()).unwrap();
        assert_eq!((wants.primary.kind.as_str(), wants.primary.location.as_str()), ("primary", "repodata/primary.xml.gz"));
        let other = wants.other.unwrap();
        assert_eq!((other.kind.as_str(), other.location.as_str()), ("other", "repodata/other_zck.xml.gz"));
    }

    #[test]
    fn odd_extras_are_left_with_a_finding() {
        let mut repomd = repomd(&["primary", "filelists", "other", "group", "group", "a b", "big", "old"]);
        repomd.data[6].size = Some(EXTRA_MAX_BYTES + 1);
        repomd.data[7].checksum = Err(BadDigest::Algorithm("md5".into()));
        let mut notes = Notes::default();
        assert_eq!(select(&repomd, &mut notes).unwrap().extras.len(), 1);
        assert_eq!(notes.into_findings().into_vec().len(), 4);
    }

    #[test]
    fn sums_change_with_what_they_cover() {
        let wants = select(&repomd(&["primary", "updateinfo"]), &mut Notes::default()).unwrap();
        let mut other = wants.clone();
        other.updateinfo = None;
        let (a, b) = (wants.sums("s", true), other.sums("s", true));
        assert_eq!((a[0] == b[0], a[1] == b[1], a[2] == b[2]), (true, false, true));
        assert_ne!(wants.sums("s", false)[0], other.sums("s", false)[0]);
        assert_ne!(wants.sums("s", true)[0], wants.sums("t", true)[0]);
    }
}
