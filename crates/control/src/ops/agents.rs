//! Enrolled agents: their sessions, keys, certificates and departure.

use drydock_domain::ids::InstanceId;
use drydock_domain::instance::InstanceState;
use drydock_store::instances::Certificate;
use drydock_store::{commit, instances};
use jiff::Timestamp;

use super::RACE_RETRIES;
use super::act::own_instance;
use super::enrolment::is_sha256;
use crate::context::{OpCtx, Principal};
use crate::error::{Error, Result};
use crate::{CallFrom, Control};

/// Longest certificate serial number, hexadecimal digits (RFC 5280: 20 bytes).
const SERIAL_MAX_DIGITS: usize = 40;

impl Control {
    /// The first thing of every call of an enrolled agent: is this instance active, do the statements let it in, and is this key its own? The
    /// previous key counts until the newest one was used. Notes the contact.
    pub async fn agent_session(&self, instance: InstanceId, spki_sha256: &str, request_id: &str) -> Result<OpCtx> {
        let ctx = self.ctx(Principal::Instance(instance), request_id);
        let Some(record) = instances::find(&mut *self.read().await?, instance).await? else {
            return Err(Error::Unauthenticated("this server knows no such instance; enrol the host again"));
        };
        if record.state != InstanceState::Active {
            return Err(Error::Forbidden(format!("the instance {} is {}", record.name, record.state.as_str())));
        }
        self.may_contact(&record, ctx.now).await?;
        if record.spki_sha256 == spki_sha256 {
            if record.previous_spki_sha256.is_some() {
                let mut tx = self.begin().await?;
                instances::drop_previous_key(&mut tx, instance, spki_sha256).await?;
                commit(tx).await?;
            }
        } else if record.previous_spki_sha256.as_deref() != Some(spki_sha256) {
            return Err(Error::Unauthenticated("the certificate's key was replaced by a newer one; use that, or enrol again"));
        }
        self.touch(instance);
        Ok(ctx)
    }

    /// Records the certificate the server has just signed for an active instance. A new key becomes the current one;
    /// the key in use goes on being accepted until the new one is used (the answer may be lost on its way).
    pub async fn record_certificate(
        &self,
        instance: InstanceId,
        from: impl Into<CallFrom>,
        spki_sha256: &str,
        serial: &str,
        not_after: Timestamp,
    ) -> Result<()> {
        if !is_sha256(spki_sha256) || serial.is_empty() || serial.len() > SERIAL_MAX_DIGITS {
            return Err(Error::invalid("certificate", "has no readable public key or serial number"));
        }
        let who = Principal::Instance(instance).name();
        let act = self.act_of_host(&from.into(), &who, "certificate.issue", format!("certificate {serial}"), self.now());
        let recorded = async {
            for _ in 0..RACE_RETRIES {
                let mut tx = self.begin().await?;
                let found = instances::find(&mut tx, instance).await?;
                let record = found.ok_or_else(|| Error::NotFound(format!("instance {instance}")))?;
                if record.state != InstanceState::Active {
                    return Err(Error::Forbidden(format!("the instance {} is {}", record.name, record.state.as_str())));
                }
                let previous = if record.spki_sha256 == spki_sha256 {
                    record.previous_spki_sha256.as_deref()
                } else {
                    // A current key that was never used stands beside the one in use: that one is kept.
                    Some(record.previous_spki_sha256.as_deref().unwrap_or(&record.spki_sha256))
                };
                let certificate = Certificate { spki_sha256, previous, serial, not_after };
                let stored =
                    instances::set_certificate(&mut tx, instance, certificate, &record.spki_sha256, InstanceState::Active).await;
                match stored {
                    Err(e) if e.is_duplicate() => {
                        return Err(Error::conflict("the key belongs to another instance; make a new one"));
                    }
                    Err(e) => return Err(e.into()),
                    Ok(false) => continue,
                    Ok(true) => {}
                }
                act.allowed(&mut tx).await?;
                commit(tx).await?;
                return Ok(());
            }
            Err(Error::conflict("the instance's key changes too often at once; try again"))
        }
        .await;
        act.settle(recorded).await
    }

    /// The host leaves: its record goes, and with it the right of its certificate.
    pub async fn unregister(&self, ctx: &OpCtx) -> Result<()> {
        let instance = own_instance(ctx)?;
        let act = self.act_of_host(&ctx.into(), &ctx.who.name(), "instance.unregister", format!("instance {instance}"), ctx.now);
        let gone = async {
            let mut tx = self.begin().await?;
            instances::delete(&mut tx, instance).await?;
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(gone).await?;
        self.left(instance);
        Ok(())
    }

    /// An instance is active no more: its stream ends, its tasks are looked at.
    pub(super) fn left(&self, instance: InstanceId) {
        self.hub().cut(instance);
        self.contacts().instances.remove(&instance);
        self.wake();
    }
}
