//! The document that says what this host is to be like, and the values of its secrets: verified, then kept durably in one
//! file that only root may read, before anybody acts on it.

use std::collections::BTreeMap;
use std::path::Path;

use drydock_domain::ids::InstanceId;
use drydock_domain::policy::host::{HOST_POLICIES_MAX_BYTES, HOST_POLICIES_VERSION, signed_bytes};
use drydock_domain::policy::{HostPolicies, PoliciesRefused};
use serde::{Deserialize, Serialize};

use super::values::Values;
use crate::ledger::{seal, unseal};
use crate::platform::write_durably;

/// Values of all secrets of a document, bytes of JSON.
const SECRETS_MAX_BYTES: usize = 1024 * 1024;

/// Why a document was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The signature does not fit.
    #[error(
        "the signature of the policies document does not fit the server's key; somebody changed it, or the server's signing key was replaced: enrol again"
    )]
    Signature,
    /// Signed, but not a document this agent knows.
    #[error("the policies document cannot be read: {0}; upgrade the agent")]
    Unreadable(String),
    /// The values beside it are not what they should be. Nothing of them is told.
    #[error("the secrets of the policies document cannot be read; the server made a mistake")]
    Secrets,
    /// Address, generation, version or content.
    #[error(transparent)]
    Refused(#[from] PoliciesRefused),
    /// The disk said no.
    #[error("the policies document cannot be kept in {path}: {source}", path = .path.display())]
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

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct KeptText {
    document: String,
    secrets: BTreeMap<String, String>,
}

/// A kept document.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// What this host is to be like.
    pub document: HostPolicies,
    /// Values of the secrets its texts name.
    pub secrets: Values,
}

/// What a server sent.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// JSON of the document.
    pub document: &'a [u8],
    /// Its signature.
    pub signature: &'a [u8],
    /// JSON object of name and value.
    pub secrets: &'a [u8],
}

/// Who takes documents.
#[derive(Debug, Clone, Copy)]
pub struct Taker<'a> {
    /// This instance.
    pub instance: InstanceId,
    /// The server's signing key.
    pub work_key: &'a [u8],
}

/// Verifies what is offered and keeps it at `path`; on return the disk has it. `Ok(None)`: it is the one we have.
pub fn take(path: &Path, offer: Offer<'_>, taker: Taker<'_>) -> Result<Option<HostPolicies>, NotTaken> {
    let new = read(offer, taker)?;
    // One of an earlier enrolment counts nothing: numbers are an instance's own.
    let held = load(path).ok().flatten().map(|k| k.document).filter(|h| h.instance == taker.instance);
    let applied = held.as_ref().map(|h| (h.generation, h.fingerprint()));
    new.accept(taker.instance, applied.as_ref().map(|(generation, content)| (*generation, content.as_str())))?;
    if new.preview.is_some() {
        return Err(NotTaken::Unreadable("it is a preview, which is never kept".to_owned()));
    }
    if held.is_some_and(|h| h.generation == new.generation) {
        return Ok(None);
    }
    keep(path, offer)?;
    Ok(Some(new))
}

/// As [`take`], for a preview: it has no number, and is gone when it was looked at (`done`). True when it was kept.
pub fn take_preview(
    path: impl FnOnce(&str) -> std::path::PathBuf,
    done: impl FnOnce(&str) -> bool,
    offer: Offer<'_>,
    taker: Taker<'_>,
) -> Result<bool, NotTaken> {
    let new = read(offer, taker)?;
    new.accept(taker.instance, None)?;
    let Some(id) = &new.preview else {
        return Err(NotTaken::Unreadable("it is no preview".to_owned()));
    };
    let path = path(id);
    if path.exists() || done(id) {
        return Ok(false);
    }
    keep(&path, offer)?;
    Ok(true)
}

fn keep(path: &Path, offer: Offer<'_>) -> Result<(), NotTaken> {
    let failed = |source| NotTaken::Keep { path: path.to_owned(), source };
    let document = String::from_utf8(offer.document.to_vec()).map_err(|e| NotTaken::Unreadable(e.to_string()))?;
    let secrets = secrets(offer.secrets)?;
    let sealed = seal(&KeptText { document, secrets }).map_err(|e| failed(std::io::Error::other(e)))?;
    write_durably(path, &sealed, 0o600).map_err(failed)
}

fn secrets(bytes: &[u8]) -> Result<BTreeMap<String, String>, NotTaken> {
    if bytes.is_empty() {
        return Ok(BTreeMap::new());
    }
    if bytes.len() > SECRETS_MAX_BYTES {
        return Err(NotTaken::Secrets);
    }
    serde_json::from_slice(bytes).map_err(|_| NotTaken::Secrets)
}

fn read(offer: Offer<'_>, taker: Taker<'_>) -> Result<HostPolicies, NotTaken> {
    let document = offer.document;
    if document.len() > HOST_POLICIES_MAX_BYTES {
        return Err(NotTaken::Unreadable(format!("it has more than {HOST_POLICIES_MAX_BYTES} bytes")));
    }
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, taker.work_key);
    key.verify(&signed_bytes(document), offer.signature).map_err(|_| NotTaken::Signature)?;
    let unreadable = |e: serde_json::Error| NotTaken::Unreadable(e.to_string());
    let version = serde_json::from_slice::<Versioned>(document).map_err(unreadable)?.version;
    if version > HOST_POLICIES_VERSION {
        return Err(PoliciesRefused::Version { given: version }.into());
    }
    serde_json::from_slice(document).map_err(unreadable)
}

/// The kept document; `Ok(None)` when there was never one, an error when the file cannot be believed.
pub fn load(path: &Path) -> Result<Option<Kept>, String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let kept: KeptText = unseal(&bytes)?;
    let document = serde_json::from_str(&kept.document).map_err(|e| e.to_string())?;
    Ok(Some(Kept { document, secrets: Values::new(kept.secrets) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use drydock_domain::policy::{HostPolicy, Mode};
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use std::os::unix::fs::PermissionsExt;
    use uuid::Uuid;

    fn document(generation: u64, policies: usize) -> Vec<u8> {
        let policy = |n: usize| HostPolicy {
            assignment: "a".into(),
            revision: 1,
            policy: format!("p{n}"),
            mode: Mode::Enforcement,
            check_interval_secs: 60,
            unmatched: true,
            resources: Vec::new(),
        };
        let document = HostPolicies {
            version: HOST_POLICIES_VERSION,
            instance: InstanceId(Uuid::from_u128(1)),
            generation,
            preview: None,
            policies: (0..policies).map(policy).collect(),
            secrets: BTreeMap::new(),
            health: Vec::new(),
        };
        serde_json::to_vec(&document).expect("json")
    }

    #[test]
    fn only_a_signed_addressed_newer_document_is_kept_with_its_secrets() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).expect("a key");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("document");
        let taker = Taker { instance: InstanceId(Uuid::from_u128(1)), work_key: pair.public_key().as_ref() };
        let offer = |document: &[u8], taker: Taker<'_>| {
            let signature = pair.sign(&signed_bytes(document));
            take(&path, Offer { document, signature: signature.as_ref(), secrets: br#"{"db":"hunter22"}"# }, taker)
        };
        let good = document(5, 1);

        let another_context = pair.sign(&good);
        let bare = Offer { document: &good, signature: another_context.as_ref(), secrets: b"" };
        assert!(matches!(take(&path, bare, taker), Err(NotTaken::Signature)));
        let stranger = Taker { instance: InstanceId(Uuid::from_u128(2)), ..taker };
        assert!(matches!(offer(&good, stranger), Err(NotTaken::Refused(PoliciesRefused::Address { .. }))));
        assert!(matches!(
            offer(br#"{"version":9,"strange":1}"#, taker),
            Err(NotTaken::Refused(PoliciesRefused::Version { given: 9 }))
        ));
        assert_eq!(load(&path), Ok(None), "nothing refused was kept");

        assert!(offer(&good, taker).expect("taken").is_some());
        assert!(offer(&good, taker).expect("known").is_none());
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(matches!(offer(&document(5, 2), taker), Err(NotTaken::Refused(PoliciesRefused::Content { given: 5 }))));
        assert!(matches!(offer(&document(4, 1), taker), Err(NotTaken::Refused(PoliciesRefused::Generation { .. }))));
        let kept = load(&path).expect("read").expect("there");
        assert_eq!(kept.document.generation, 5);
        assert!(!format!("{kept:?}").contains("hunter22"), "nobody prints a value by mistake");
        assert_eq!(kept.secrets, Values::new(BTreeMap::from([("db".to_owned(), "hunter22".to_owned())])));

        std::fs::write(&path, "torn").expect("written");
        assert!(load(&path).is_err());
        assert!(offer(&good, taker).expect("taken anew").is_some());
    }
}
