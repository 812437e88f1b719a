//! apt repositories: Release and Packages files in, snapshots out, and the other way round.
//!
//! Absent: sources packages, Contents and Translation files, pdiffs; apt does without them.

pub(crate) mod control;
pub mod file;
pub mod head;
pub(crate) mod index;
pub mod local;
pub mod packages;
pub(crate) mod plan;
pub mod publish;
pub mod release;
pub(crate) mod signed;
pub mod sync;

/// See [`crate::fuzz`].
pub(crate) fn fuzz(input: &[u8]) {
    if let Ok(release) = release::Release::parse(input) {
        for (path, _) in release.entries {
            assert!(crate::path::safe_relative(&path).is_ok(), "{path:?} leaves the suite");
        }
    }
    let mut stanzas = packages::Stanzas::new(input);
    while let Ok(Some(piece)) = stanzas.next() {
        let packages::Piece::Stanza(stanza) = piece else { continue };
        if let Ok(package) = packages::Package::parse(stanza) {
            assert!(crate::path::safe_relative(&package.location).is_ok(), "{:?} leaves the repository", package.location);
            // What is published must be read as the same package, by us and so by apt.
            let mut published = packages::Stanzas::new(package.stanza.as_slice());
            let again = match published.next() {
                Ok(Some(packages::Piece::Stanza(stanza))) => packages::Package::parse(stanza),
                other => panic!("{other:?} was published"),
            };
            let again = again.unwrap_or_else(|refused| panic!("{refused:?} was published"));
            assert_eq!((&again.name, &again.version, again.sha256), (&package.name, &package.version, package.sha256));
            assert_eq!(again.pool_path(), package.pool_path());
        }
    }
    let sum = crate::digest::Sha256::of(input);
    if let Ok(package) = file::package(input, 1, &sum) {
        assert_eq!((package.sha256, package.size), (sum, 1), "a control file cannot say what its file is");
    }
    let _ = file::control_in(std::io::Cursor::new(input), input.len() as u64);
}
