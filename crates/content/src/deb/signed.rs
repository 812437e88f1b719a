//! The Release of an upstream, fetched and believed: InRelease, or Release with Release.gpg where there is none.
//!
//! apt upstreams sign: with `signatures` other than `none` a signature by one of the source's keys is needed, and without
//! keys nothing is fetched. Absent: reading the text (see [`super::release`]).

use drydock_domain::source::spec::{SignatureCheck, SourceSpec};
use jiff::Timestamp;

use super::plan::Plan;
use super::release::RELEASE_MAX_BYTES;
use crate::fetch::{FetchError, Fetched, Fetcher, Validators};
use crate::openpgp::{self, Keyring, OpenPgpError, Verified};
use crate::sync::{self, Findings, ProgressSink, SyncError};

/// Largest detached signature, bytes: a dozen keys need 10 kB.
const SIGNATURE_MAX_BYTES: u64 = 1024 * 1024;
/// The file that is signed in place.
pub(crate) const INRELEASE: &str = "InRelease";
/// The file with a signature beside it.
pub(crate) const RELEASE: &str = "Release";

/// A step of a sync that failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Files of the upstream do not fit each other: it is being updated, and the next try may go well.
    Torn(SyncError),
    /// Trying again changes nothing.
    Final(SyncError),
}

impl<E: Into<SyncError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}

/// What was got.
pub(crate) enum Got {
    /// The upstream still has the one we had.
    Unchanged,
    /// Another one, believed.
    Text {
        /// What was signed.
        text: Vec<u8>,
        /// Of [`Self::Text::file`].
        validators: Validators,
        /// [`INRELEASE`] or [`RELEASE`].
        file: &'static str,
    },
}

/// What of the last sync lets the upstream answer "unchanged".
#[derive(Default)]
pub(crate) struct Known<'a> {
    /// Of the file below.
    pub validators: Option<&'a Validators>,
    /// [`INRELEASE`] or [`RELEASE`].
    pub file: &'a str,
}

impl Known<'_> {
    fn of(&self, file: &str) -> Option<&Validators> {
        self.validators.filter(|_| self.file == file)
    }
}

/// Who may sign; none = nothing is verified.
///
/// # Errors
/// When signatures are wanted and there are no keys.
pub(crate) fn keyring(spec: &SourceSpec, findings: &mut Findings) -> Result<Option<Keyring>, SyncError> {
    if spec.signatures == SignatureCheck::None {
        findings.note(
            &spec.name,
            "signatures are not checked: whoever stands between this server and the upstream decides what hosts install",
        );
        return Ok(None);
    }
    if spec.keys.is_empty() {
        let problem = "has none, but apt repositories are signed: add the upstream's public key (ASCII-armoured), or set `signatures` to `none`";
        return Err(SyncError::Spec { field: "keys", problem: problem.to_owned() });
    }
    let keyring = Keyring::parse(&spec.keys);
    keyring.map(Some).map_err(|error| SyncError::Spec { field: "keys", problem: error.to_string() })
}

/// Fetches the Release and verifies it.
pub(crate) async fn release(
    fetcher: &Fetcher,
    plan: &Plan<'_>,
    keyring: Option<&Keyring>,
    known: Known<'_>,
    now: Timestamp,
    findings: &mut Findings,
) -> Result<Got, Failed> {
    let path = format!("{}{INRELEASE}", plan.base);
    let (bytes, validators) = match fetcher.get(&path, RELEASE_MAX_BYTES, known.of(INRELEASE)).await {
        Ok(Fetched::NotModified) => return Ok(Got::Unchanged),
        Ok(Fetched::Body { bytes, validators, .. }) => (bytes, validators),
        Err(error) if error.is_not_found() => return detached(fetcher, plan, keyring, known, now, findings).await,
        Err(error) => return Err(error.into()),
    };
    let keyring = keyring.cloned();
    let verified =
        sync::blocking("verifying InRelease", &ProgressSink::none(), move |_| Ok(inline(&bytes, keyring.as_ref(), now))).await?;
    let (text, verified) = verified.map_err(|source| SyncError::Signature { file: path.clone(), source })?;
    note_weak(&path, verified, findings);
    Ok(Got::Text { text, validators, file: INRELEASE })
}

fn inline(bytes: &[u8], keyring: Option<&Keyring>, now: Timestamp) -> Result<(Vec<u8>, Option<Verified>), OpenPgpError> {
    let Some(keyring) = keyring else {
        let text =
            if bytes.starts_with(b"-----BEGIN PGP") { openpgp::clearsigned_payload(bytes)?.into_bytes() } else { bytes.to_vec() };
        return Ok((text, None));
    };
    let (text, verified) = keyring.verify_clearsigned(bytes, now)?;
    Ok((text.into_bytes(), Some(verified)))
}

async fn detached(
    fetcher: &Fetcher,
    plan: &Plan<'_>,
    keyring: Option<&Keyring>,
    known: Known<'_>,
    now: Timestamp,
    findings: &mut Findings,
) -> Result<Got, Failed> {
    let path = format!("{}{RELEASE}", plan.base);
    let (text, validators) = match fetcher.get(&path, RELEASE_MAX_BYTES, known.of(RELEASE)).await {
        Ok(Fetched::NotModified) => return Ok(Got::Unchanged),
        Ok(Fetched::Body { bytes, validators, .. }) => (bytes, validators),
        Err(error) if error.is_not_found() => return Err(no_release(plan, &error).into()),
        Err(error) => return Err(error.into()),
    };
    let Some(keyring) = keyring.cloned() else { return Ok(Got::Text { text, validators, file: RELEASE }) };
    let signature_path = format!("{path}.gpg");
    let signature = match fetcher.get(&signature_path, SIGNATURE_MAX_BYTES, None).await {
        Ok(Fetched::Body { bytes, .. }) => bytes,
        Ok(Fetched::NotModified) => {
            return Err(SyncError::metadata(signature_path, "the mirror answered a question nobody asked").into());
        }
        Err(error) if error.is_not_found() => {
            let problem = "there is neither an InRelease nor this signature, so nobody vouches for the repository; \
                           set `signatures` of the source to `none` to take it all the same";
            return Err(SyncError::metadata(signature_path, problem).into());
        }
        Err(error) => return Err(error.into()),
    };
    let verify = move |_: &ProgressSink| Ok((keyring.verify_detached(&text, &signature, now), text));
    let (verified, text) = sync::blocking("verifying Release.gpg", &ProgressSink::none(), verify).await?;
    // Two files: between their fetches the mirror may have been updated.
    let verified = verified.map_err(|source| Failed::Torn(SyncError::Signature { file: path.clone(), source }))?;
    note_weak(&path, Some(verified), findings);
    Ok(Got::Text { text, validators, file: RELEASE })
}

fn note_weak(path: &str, verified: Option<Verified>, findings: &mut Findings) {
    if let Some(weak) = verified.and_then(|verified| verified.weak) {
        findings.note(path, weak);
    }
}

fn no_release(plan: &Plan<'_>, error: &FetchError) -> SyncError {
    let problem = format!("there is neither an InRelease nor a Release ({error}); check the URL and the suite of the source");
    SyncError::metadata(format!("{}{INRELEASE}", plan.base), problem)
}
