//! Who may read which repository, and what a repository is at that moment: asked for every package request.
//!
//! Who may is read from the rows each time, so a revoked instance or token is refused from the next request on. What is
//! served is remembered as long as the pointer stays where it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use drydock_content::Head;
use drydock_content::serve::{ORIGINS_MAX, ServeView, UnitOrigin};
use drydock_content::snapshot::SnapshotRoot;
use drydock_domain::access::Permission;
use drydock_domain::ids::{EnvironmentId, InstanceId, SourceId};
use drydock_domain::instance::InstanceState;
use drydock_domain::source::name::LATEST;
use drydock_domain::source::spec::Origin;
use drydock_store::compartments::Kind;
use drydock_store::records::InstanceRecord;
use drydock_store::source_records::SourceRecord;
use drydock_store::{Connection, attachments, commit, environments, instances, pointers, sources};
use jiff::{SignedDuration, Timestamp};

use super::act::cut;
use super::describe::source_named;
use super::enrolment::is_sha256;
use super::host_sources::targets;
use super::promotion::served_roots;
use super::snapshots::parse_root;
use crate::content_part::ContentPart;
use crate::content_views::{ContentPeer, ContentView, KeyRotation, RepositoryKeyView};
use crate::context::{OpCtx, Principal};
use crate::error::{Error, Result};
use crate::{CallFrom, Control};

/// Repositories remembered, count: 64 environments of a hundred sources. Beyond it all are forgotten.
const REMEMBERED_MAX: usize = 8192;
/// What is remembered of a source's specification is read anew after this, seconds: another server of the same database
/// may have edited it. Edits made here count at once.
const SPEC_FRESH_SECS: i64 = 5;
/// How deep custom sources are followed to the sources that have the packages, count.
const DEPTH_MAX: usize = 8;
/// Longest certificate serial number, hexadecimal digits (RFC 5280: 20 bytes).
const SERIAL_MAX_DIGITS: usize = 40;

/// Repositories as they were last served.
#[derive(Default)]
pub(crate) struct AccessCache {
    repositories: HashMap<(String, String), Remembered>,
}

#[derive(Clone)]
struct Remembered {
    environment: Option<EnvironmentId>,
    source: SourceId,
    view: ContentView,
    read_at: Timestamp,
}

impl AccessCache {
    /// Everything is read anew.
    pub(crate) fn forget(&mut self) {
        self.repositories.clear();
    }
}

impl Control {
    /// May this peer read this repository? What it is now. `view`: an environment's name, or `latest`.
    pub async fn authorize_content(&self, peer: &ContentPeer, view: &str, source: &str) -> Result<ContentView> {
        let part = self.content_part()?;
        let now = self.now();
        match peer {
            ContentPeer::Person(ctx) => {
                self.known(ctx, "content.read", Kind::Source, source).await?;
                if view != LATEST {
                    self.known(ctx, "environment.show", Kind::Environment, view).await?;
                }
                Ok(self.repository(part, view, source, now).await?.view)
            }
            ContentPeer::Agent { instance, .. } | ContentPeer::Host { instance, .. } => {
                let record = self.content_instance(peer, *instance).await?;
                let found = self.repository(part, view, source, now).await;
                // What a host may not see does not exist for it: names of other sources stay unknown.
                let refused = || refused(&record, view, source);
                let found = match found {
                    Err(Error::NotFound(_)) => return Err(refused()),
                    other => other?,
                };
                if found.environment != record.place() {
                    return Err(refused());
                }
                let targets = targets(record.id, record.group, record.place());
                let attached = attachments::of_targets(&mut *self.read().await?, &targets).await?;
                if attached.iter().any(|a| a.source == found.source) { Ok(found.view) } else { Err(refused()) }
            }
        }
    }

    /// May this peer have the public keys of the repositories? All of them, armoured, one after the other.
    pub async fn authorize_content_keys(&self, peer: &ContentPeer) -> Result<String> {
        let part = self.content_part()?;
        match peer {
            ContentPeer::Person(ctx) => {
                // The keys are the same everywhere: whoever may read content anywhere checks it with them.
                self.scope(ctx, "content.read", Permission::SourceRead).await?;
            }
            ContentPeer::Agent { instance, .. } | ContentPeer::Host { instance, .. } => {
                self.content_instance(peer, *instance).await.map(drop)?;
            }
        }
        Ok(part.public_keys()?.join("\n"))
    }

    /// The instance of a certificate: active, and with this key.
    async fn content_instance(&self, peer: &ContentPeer, instance: InstanceId) -> Result<InstanceRecord> {
        let Some(record) = instances::find(&mut *self.read().await?, instance).await? else {
            return Err(Error::Unauthenticated("this server knows no such instance; enrol the host again"));
        };
        if record.state != InstanceState::Active {
            return Err(Error::Forbidden(format!("the instance {} is {}", record.name, record.state.as_str())));
        }
        let known = match peer {
            ContentPeer::Agent { spki_sha256, .. } => {
                record.spki_sha256 == *spki_sha256 || record.previous_spki_sha256.as_ref() == Some(spki_sha256)
            }
            ContentPeer::Host { spki_sha256, .. } => {
                record.content_spki_sha256.as_ref() == Some(spki_sha256)
                    || record.previous_content_spki_sha256.as_ref() == Some(spki_sha256)
            }
            ContentPeer::Person(_) => false,
        };
        if known {
            Ok(record)
        } else {
            Err(Error::Unauthenticated("the certificate's key was replaced by a newer one; the agent renews it by itself"))
        }
    }

    /// A repository as it is now: from memory while its pointer stays.
    async fn repository(&self, part: &ContentPart, view: &str, source: &str, now: Timestamp) -> Result<Remembered> {
        let key = (view.to_owned(), source.to_owned());
        let remembered = part.access().repositories.get(&key).cloned();
        let mut c = self.read().await?;
        if let Some(found) = remembered
            && now.duration_since(found.read_at) < SignedDuration::from_secs(SPEC_FRESH_SECS)
            && pointers::find(&mut c, found.environment, found.source).await?.is_some_and(|p| p.version == found.view.version)
        {
            return Ok(found);
        }
        let found = read_repository(&mut c, view, source, now).await?;
        let mut access = part.access();
        if access.repositories.len() >= REMEMBERED_MAX {
            access.forget();
        }
        access.repositories.insert(key, found.clone());
        Ok(found)
    }

    /// Records the certificate that the server has just signed for an instance's package managers. The one before it
    /// goes on being accepted: files on the host change one after the other.
    pub async fn record_content_certificate(
        &self,
        instance: InstanceId,
        from: impl Into<CallFrom>,
        spki_sha256: &str,
        serial: &str,
        _not_after: Timestamp,
    ) -> Result<()> {
        if !is_sha256(spki_sha256) || serial.is_empty() || serial.len() > SERIAL_MAX_DIGITS {
            return Err(Error::invalid("certificate", "has no readable public key or serial number"));
        }
        let (who, resource) = (Principal::Instance(instance).name(), format!("content certificate {serial}"));
        let act = self.act_of_host(&from.into(), &who, "content-certificate.issue", resource, self.now());
        let recorded = async {
            let mut tx = self.begin().await?;
            match instances::set_content_key(&mut tx, instance, spki_sha256, InstanceState::Active).await {
                Err(e) if e.is_duplicate() => {
                    return Err(Error::conflict("the key belongs to another instance; make a new one"));
                }
                Err(e) => return Err(e.into()),
                Ok(false) => return Err(Error::Forbidden("the instance is not active".to_owned())),
                Ok(true) => {}
            }
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(recorded).await
    }

    /// The keys of this server's repositories, the signing ones first.
    pub async fn repository_keys(&self, ctx: &OpCtx) -> Result<Vec<RepositoryKeyView>> {
        self.may_read(ctx, "repository-key.list", Permission::SourceRead).await?;
        self.content_part()?.key_views()
    }

    /// Takes one step of changing the key that signs repositories. After `Switch` and `Retire` every repository is
    /// signed anew within a minute.
    pub async fn rotate_repository_key(&self, ctx: &OpCtx, step: KeyRotation) -> Result<Vec<RepositoryKeyView>> {
        let operation = match step {
            KeyRotation::Prepare => "repository-key.prepare",
            KeyRotation::Switch => "repository-key.switch",
            KeyRotation::Retire => "repository-key.retire",
        };
        let act = self.act(ctx, operation, "repository keys".to_owned(), Permission::AccessManage).await?;
        let rotated = async {
            let part = self.content_part()?;
            let now = ctx.now;
            part.change_keys(move |keys| match step {
                KeyRotation::Prepare => keys.prepare(now).map(drop),
                KeyRotation::Switch => keys.activate(now).map(drop),
                KeyRotation::Retire => keys.retire(now).map(drop),
            })
            .await?;
            let mut tx = self.begin().await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.sources_moved();
            part.key_views()
        }
        .await;
        act.settle(rotated).await
    }
}

/// The same words whether the source is not attached, not promoted or not there.
fn refused(record: &InstanceRecord, view: &str, source: &str) -> Error {
    Error::Forbidden(format!(
        "the instance {} has no source {} through {}; see `drydock instance sources {}`",
        record.name,
        cut(source, 64),
        cut(view, 64),
        record.name
    ))
}

async fn read_repository(c: &mut Connection, view: &str, source: &str, now: Timestamp) -> Result<Remembered> {
    let environment = if view == LATEST {
        None
    } else {
        let found = environments::find_by_name(c, view).await?;
        Some(found.ok_or_else(|| super::describe::no_environment(view))?.id)
    };
    let record = source_named(c, source).await?;
    let Some((pointer, head)) = pointers::with_head(c, environment, record.id).await? else {
        return Err(Error::NotFound(format!("snapshot of software source {} in {}", cut(source, 64), cut(view, 64))));
    };
    let head: Head = serde_json::from_str(&head)
        .map_err(|e| Error::Internal { doing: "read the head of a repository", source: Box::new(e) })?;
    let mut publications: Vec<SnapshotRoot> = Vec::new();
    for root in served_roots(c, &pointer).await? {
        publications.push(parse_root(&root)?);
    }
    let serve = ServeView { format: record.spec.format, head: Arc::new(head), origins: origins(c, &record).await?, publications };
    Ok(Remembered {
        environment,
        source: record.id,
        view: ContentView { view: Arc::new(serve), moved_at: pointer.moved_at, version: pointer.version },
        read_at: now,
    })
}

/// The sources that have the packages of this one: itself, or, for a custom source, all it takes from.
async fn origins(c: &mut Connection, record: &SourceRecord) -> Result<Vec<UnitOrigin>> {
    let (mut origins, mut seen) = (Vec::new(), BTreeSet::new());
    let mut level = vec![record.clone()];
    for _ in 0..=DEPTH_MAX {
        let mut next = Vec::new();
        for source in std::mem::take(&mut level) {
            if !seen.insert(source.id) || origins.len() >= ORIGINS_MAX {
                continue;
            }
            match &source.spec.origin {
                Origin::Upstream(upstream) => {
                    origins.push(UnitOrigin { source: source.id, upstream: Some(upstream.into()), policy: source.spec.policy })
                }
                Origin::Local { .. } => {
                    origins.push(UnitOrigin { source: source.id, upstream: None, policy: source.spec.policy });
                }
                Origin::Sources { from } => {
                    for name in from {
                        next.extend(sources::find_by_name(c, name).await?);
                    }
                }
            }
        }
        level = next;
    }
    Ok(origins)
}
