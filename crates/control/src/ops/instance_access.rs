//! Hosts as those who ask: may an agent speak for its host, and access tokens for what a host asks beyond that. What a host
//! may do is said by statements about dynamic groups, `resource instance` and `any-user`; nothing is given beforehand.

use std::sync::Arc;

use drydock_domain::access::decide::{Decision, Why, decide};
use drydock_domain::access::permissions::Right;
use drydock_domain::ids::InstanceId;
use drydock_domain::instance::InstanceState;
use drydock_store::compartments::{Kind, Lying};
use drydock_store::records::InstanceRecord;
use drydock_store::{commit, instances};
use jiff::{SignedDuration, Timestamp};

use super::act::{About, own_instance};
use crate::Control;
use crate::context::{Account, AccountKind, OpCtx, Principal, Secret};
use crate::error::{Error, Result};
use crate::instance_token::{self, Claims};

/// What an agent needs to speak for its host.
const CONTACT: &str = "OSMH_MANAGED_INSTANCE_ACCESS";
/// Life of a token, seconds: unless asked otherwise, and at most.
const TOKEN_SECS: u32 = 15 * 60;
const TOKEN_MAX_SECS: u32 = 60 * 60;

impl Control {
    /// Is this host let in by the statements? By what comes with the server it is; a `deny` about a dynamic group keeps hosts out.
    pub(super) async fn may_contact(&self, record: &InstanceRecord, now: Timestamp) -> Result<()> {
        let loaded = self.access().await?;
        let Some(right) = Right::find(CONTACT) else { return Ok(()) };
        let lying = Lying { id: record.id.to_string(), name: record.name.clone(), compartment: record.compartment.clone() };
        let about = About::one(Kind::Instance, &lying).labelled(&record.labels);
        let (subject, _) = loaded.instance(&lying.id, &lying.name, &lying.compartment, &record.labels);
        match decide(&loaded.compiled, &subject, right, &about.resource(&loaded), &about.facts("instance.contact", now)) {
            Decision::Allow { .. } => Ok(()),
            Decision::Deny { why: Why::Denied(by) } => Err(Error::Forbidden(format!(
                "the instance {} may not reach this server: {CONTACT} is denied by {by}",
                record.name
            ))),
            Decision::Deny { .. } => Err(Error::Forbidden(format!(
                "the instance {} may not reach this server: no statement gives {CONTACT}",
                record.name
            ))),
        }
    }

    /// An access token for the host whose agent asks: its secret and its end.
    pub async fn issue_instance_token(&self, ctx: &OpCtx, spki_sha256: &str, secs: Option<u32>) -> Result<(Secret, Timestamp)> {
        let instance = own_instance(ctx)?;
        let text = format!("instance {instance}");
        let act = self.act_of_host(&ctx.into(), &ctx.who.name(), "instance-token.issue", text, ctx.now);
        let issued = async {
            let secs = secs.unwrap_or(TOKEN_SECS);
            if !(1..=TOKEN_MAX_SECS).contains(&secs) {
                return Err(Error::invalid("lifetime", format!("is 1 to {TOKEN_MAX_SECS} seconds, not {secs}")));
            }
            let far = || Error::invalid("lifetime", "ends beyond all times");
            let expires_at = ctx.now.checked_add(SignedDuration::from_secs(secs.into())).map_err(|_| far())?;
            let claims = Claims { instance, spki_sha256: spki_sha256.to_owned(), expires_at };
            let token = instance_token::write(self.key(), &claims);
            let token = token.ok_or_else(|| Error::invalid("certificate", "has no readable public key"))?;
            let mut tx = self.begin().await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            Ok((token, expires_at))
        }
        .await;
        act.settle(issued).await
    }

    /// Who shows this access token of an instance? Refused when the host is not active any more or has another key.
    pub(super) async fn authenticate_instance(&self, token: &str) -> Result<Principal> {
        let Some(claims) = instance_token::read(self.key(), token) else {
            return Err(Error::Unauthenticated("the access token is not known"));
        };
        if claims.expires_at <= self.now() {
            return Err(Error::Unauthenticated("the instance's access token has expired; get a new one (drydock-agent token)"));
        }
        let found = instances::find(&mut *self.read().await?, claims.instance).await?;
        let Some(record) = found.filter(|record| record.state == InstanceState::Active) else {
            return Err(Error::Unauthenticated("the instance this belongs to is not active any more"));
        };
        let previous = record.previous_spki_sha256.as_deref();
        if record.spki_sha256 != claims.spki_sha256 && previous != Some(claims.spki_sha256.as_str()) {
            return Err(Error::Unauthenticated("the key this was asked with was replaced; get a new one (drydock-agent token)"));
        }
        Ok(Principal::Account(Arc::new(self.instance_account(&record).await?)))
    }

    /// The same for a run in the name of a host.
    pub(super) async fn account_of_instance(&self, instance: InstanceId) -> Result<std::result::Result<Principal, String>> {
        let found = instances::find(&mut *self.read().await?, instance).await?;
        Ok(match found.filter(|record| record.state == InstanceState::Active) {
            Some(record) => Ok(Principal::Account(Arc::new(self.instance_account(&record).await?))),
            None => Err(format!("instance {instance} is not active any more")),
        })
    }

    /// A host as an account.
    pub(super) async fn instance_account(&self, record: &InstanceRecord) -> Result<Account> {
        let id = record.id.to_string();
        let (subject, groups) = self.access().await?.instance(&id, &record.name, &record.compartment, &record.labels);
        Ok(Account {
            kind: AccountKind::Instance,
            id,
            name: format!("instance {}", record.name),
            token: None,
            session: None,
            second_factor: false,
            role: None,
            groups,
            narrowed: None,
            subject,
        })
    }
}
