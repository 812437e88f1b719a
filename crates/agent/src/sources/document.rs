//! The document that says what this host is to see: verified, then kept durably before anybody acts on it.

use std::path::Path;

use drydock_domain::ids::InstanceId;
use drydock_domain::source::host::{HOST_SOURCES_VERSION, HostSources, SourcesRefused, signed_bytes};
use serde::{Deserialize, Serialize};

use crate::ledger::{seal, unseal};
use crate::platform::write_durably;

/// Largest document, bytes: a thousand sources with their keys.
const DOCUMENT_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Why a document was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The signature does not fit.
    #[error(
        "the signature of the sources document does not fit the server's key; somebody changed it, or the server's signing key was replaced: enrol again"
    )]
    Signature,
    /// Signed, but not a document this agent knows.
    #[error("the sources document cannot be read: {0}; upgrade the agent")]
    Unreadable(String),
    /// Address, generation, version or content.
    #[error(transparent)]
    Refused(#[from] SourcesRefused),
    /// The disk said no.
    #[error("the sources document cannot be kept in {path}: {source}", path = .path.display())]
    Keep {
        /// Where.
        path: std::path::PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
}

/// Only the version: a document of a newer form may have other fields everywhere else.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// What is kept.
#[derive(Serialize, Deserialize)]
struct KeptDocument {
    document: String,
}

/// Who takes documents.
#[derive(Debug, Clone, Copy)]
pub struct Taker<'a> {
    /// This instance.
    pub instance: InstanceId,
    /// The server's signing key.
    pub work_key: &'a [u8],
}

/// Verifies `document` and keeps it at `path`; on return the disk has it. `Ok(None)`: it is the one we have.
pub fn take(path: &Path, document: &[u8], signature: &[u8], taker: &Taker<'_>) -> Result<Option<HostSources>, NotTaken> {
    let new = read(document, signature, taker)?;
    // One of an earlier enrolment counts nothing: numbers are an instance's own.
    let held = load(path).ok().flatten().filter(|h| h.instance == taker.instance);
    let applied = held.as_ref().map(|h| (h.generation, h.fingerprint()));
    new.accept(taker.instance, applied.as_ref().map(|(generation, content)| (*generation, content.as_str())))?;
    if held.is_some_and(|h| h.generation == new.generation) {
        return Ok(None);
    }
    let keep = |source| NotTaken::Keep { path: path.to_owned(), source };
    let text = String::from_utf8(document.to_vec()).map_err(|e| NotTaken::Unreadable(e.to_string()))?;
    let sealed = seal(&KeptDocument { document: text }).map_err(|e| keep(std::io::Error::other(e)))?;
    write_durably(path, &sealed, 0o600).map_err(keep)?;
    Ok(Some(new))
}

fn read(document: &[u8], signature: &[u8], taker: &Taker<'_>) -> Result<HostSources, NotTaken> {
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, taker.work_key);
    key.verify(&signed_bytes(document), signature).map_err(|_| NotTaken::Signature)?;
    if document.len() > DOCUMENT_MAX_BYTES {
        return Err(NotTaken::Unreadable(format!("it has more than {DOCUMENT_MAX_BYTES} bytes")));
    }
    let unreadable = |e: serde_json::Error| NotTaken::Unreadable(e.to_string());
    let version = serde_json::from_slice::<Versioned>(document).map_err(unreadable)?.version;
    if version > HOST_SOURCES_VERSION {
        return Err(SourcesRefused::Version { given: version }.into());
    }
    serde_json::from_slice(document).map_err(unreadable)
}

/// The kept document; `Ok(None)` when there was never one, an error when the file cannot be believed.
pub fn load(path: &Path) -> Result<Option<HostSources>, String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let kept: KeptDocument = unseal(&bytes)?;
    serde_json::from_str(&kept.document).map(Some).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use drydock_domain::source::host::SourcesMode;
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use uuid::Uuid;

    fn document(generation: u64, mode: SourcesMode) -> Vec<u8> {
        let document = HostSources {
            version: HOST_SOURCES_VERSION,
            instance: InstanceId(Uuid::from_u128(1)),
            generation,
            mode,
            repository_keys: Vec::new(),
            sources: Vec::new(),
        };
        serde_json::to_vec(&document).expect("json")
    }

    #[test]
    fn only_a_signed_addressed_newer_document_is_kept() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).expect("a key");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("document");
        let taker = Taker { instance: InstanceId(Uuid::from_u128(1)), work_key: pair.public_key().as_ref() };
        let offer = |bytes: &[u8], taker: &Taker<'_>| take(&path, bytes, pair.sign(&signed_bytes(bytes)).as_ref(), taker);
        let good = document(5, SourcesMode::Additive);

        assert!(matches!(take(&path, &good, pair.sign(&good).as_ref(), &taker), Err(NotTaken::Signature)), "another context");
        let stranger = Taker { instance: InstanceId(Uuid::from_u128(2)), ..taker };
        assert!(matches!(offer(&good, &stranger), Err(NotTaken::Refused(SourcesRefused::Address { .. }))));
        assert!(matches!(
            offer(br#"{"version":9,"strange":1}"#, &taker),
            Err(NotTaken::Refused(SourcesRefused::Version { given: 9 }))
        ));
        assert_eq!(load(&path), Ok(None), "nothing refused was kept");

        assert!(offer(&good, &taker).expect("taken").is_some());
        assert!(offer(&good, &taker).expect("known").is_none());
        assert!(matches!(
            offer(&document(5, SourcesMode::Exclusive), &taker),
            Err(NotTaken::Refused(SourcesRefused::Content { given: 5 }))
        ));
        assert!(matches!(
            offer(&document(4, SourcesMode::Additive), &taker),
            Err(NotTaken::Refused(SourcesRefused::Generation { .. }))
        ));
        assert_eq!(load(&path).expect("read").expect("there").generation, 5);
        let now_another: HostSources = HostSources { generation: 1, ..serde_json::from_slice(&good).expect("a document") };
        let now_another = HostSources { instance: stranger.instance, ..now_another };
        let bytes = serde_json::to_vec(&now_another).expect("json");
        assert!(offer(&bytes, &stranger).expect("taken").is_some(), "enrolled anew as another instance");
        std::fs::write(&path, "torn").expect("written");
        assert!(load(&path).is_err());
        assert!(offer(&good, &taker).expect("taken anew").is_some());
    }
}
