//! Secrets of policies: set and deleted by people, opened for the hosts whose documents name them, shown to nobody.

use std::collections::BTreeMap;

use drydock_domain::access::Permission;
use drydock_domain::policy::standing::PolicySecret;
use drydock_domain::policy::template::check_name;
use drydock_domain::validate::Problems;
use drydock_store::commit;
use drydock_store::compartments::Kind;
use drydock_store::policy_secrets::{self, SealedSecret};

use super::RACE_RETRIES;
use super::act::cut;
use crate::Control;
use crate::context::{OpCtx, Secret};
use crate::error::{Error, Result};
use crate::seal::{SealError, SecretKey};

/// Secrets of one server, count.
const SECRETS_MAX: usize = 10_000;
/// A value, bytes.
const VALUE_MAX_BYTES: usize = 32 * 1024;

fn internal(error: SealError) -> Error {
    Error::Internal { doing: "seal or open a secret", source: Box::new(error) }
}

impl Control {
    /// The same with the key of its secrets.
    #[must_use]
    pub fn with_secret_key(self, key: SecretKey) -> Self {
        self.policies().set_key(key);
        self
    }

    /// Sets a secret. Hosts whose policies name it get the new value. `compartment`: where a new one is made.
    pub async fn set_secret(&self, ctx: &OpCtx, name: &str, value: &Secret, compartment: Option<&str>) -> Result<PolicySecret> {
        let about = self.about(Kind::Secret, name).await?;
        let (act, lies) = if about.is_there() {
            let lies = about.compartment.clone();
            match self.act_on(ctx, "secret.edit", about).await {
                // Names are unique: that this one is taken cannot be kept from whoever may make one.
                Err(Error::NotFound(_)) => {
                    let text = format!("secret {}", cut(name, 64));
                    let (act, _) = self.act_in(ctx, "secret.create", compartment, text).await?;
                    return act.settle(Err(taken(name))).await;
                }
                act => (act?, lies),
            }
        } else {
            self.act_in(ctx, "secret.create", compartment, format!("secret {}", cut(name, 64))).await?
        };
        let set = async {
            check(name, value.expose())?;
            let key = self.policies().key()?;
            for _ in 0..RACE_RETRIES {
                let mut c = self.read().await?;
                let before = policy_secrets::find(&mut c, name).await?.map(|s| s.shown);
                if before.as_ref().is_some_and(|b| b.compartment != lies) {
                    return Err(taken(name));
                }
                if let Some(before) = &before {
                    self.stays(compartment, &before.compartment).await?;
                }
                if before.is_none() && policy_secrets::versions(&mut c).await?.len() >= SECRETS_MAX {
                    return Err(Error::conflict(format!("there are {SECRETS_MAX} secrets already; delete some")));
                }
                drop(c);
                // Versions start at the time in seconds: one that was deleted and made anew is another one for hosts.
                let floor = u64::try_from(ctx.now.as_second()).unwrap_or_default();
                let shown = PolicySecret {
                    name: name.to_owned(),
                    compartment: lies.clone(),
                    version: before.as_ref().map_or(0, |b| b.version).saturating_add(1).max(floor),
                    updated_by: ctx.who.name(),
                    created_at: before.map_or(ctx.now, |b| b.created_at),
                    updated_at: ctx.now,
                };
                let sealed = key.seal(name, shown.version, value.expose()).map_err(internal)?;
                let mut tx = self.begin().await?;
                if policy_secrets::put(&mut tx, &SealedSecret { shown: shown.clone(), sealed }).await? {
                    act.allowed(&mut tx).await?;
                    commit(tx).await?;
                    self.policies_moved();
                    return Ok(shown);
                }
            }
            Err(Error::conflict(format!("secret {name} is changed by others at the same time; try again")))
        }
        .await;
        act.settle(set).await
    }

    /// Deletes a secret. Policies that name it are not given to further hosts; hosts that have them keep what they have.
    pub async fn delete_secret(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let act = self.act_on(ctx, "secret.delete", self.about(Kind::Secret, name).await?).await?;
        let deleted = async {
            let mut tx = self.begin().await?;
            if !policy_secrets::delete(&mut tx, name).await? {
                return Err(Error::NotFound(format!("secret {}", cut(name, 255))));
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.policies_moved();
            Ok(())
        }
        .await;
        act.settle(deleted).await
    }

    /// Secrets by name, without values.
    pub async fn list_secrets(&self, ctx: &OpCtx) -> Result<Vec<PolicySecret>> {
        let scope = self.scope(ctx, "secret.list", Permission::PolicyRead).await?;
        Ok(policy_secrets::all(&mut *self.read().await?, &scope).await?)
    }

    /// One secret, without its value.
    pub async fn get_secret(&self, ctx: &OpCtx, name: &str) -> Result<PolicySecret> {
        self.known(ctx, "secret.show", Kind::Secret, name).await?;
        let found = policy_secrets::find(&mut *self.read().await?, name).await?;
        found.map(|s| s.shown).ok_or_else(|| Error::NotFound(format!("secret {}", cut(name, 255))))
    }

    /// The values of these secrets, as far as they are there.
    pub(super) async fn open_secrets(&self, names: &[String]) -> Result<BTreeMap<String, String>> {
        let found = policy_secrets::find_all(&mut *self.read().await?, names).await?;
        let key = self.policies().key()?;
        let open = |s: SealedSecret| {
            let value = key.open(&s.shown.name, s.shown.version, &s.sealed).map_err(internal)?;
            Ok((s.shown.name, value))
        };
        found.into_iter().map(open).collect()
    }
}

fn taken(name: &str) -> Error {
    Error::conflict(format!("the name {} is taken; choose another one", cut(name, 64)))
}

fn check(name: &str, value: &str) -> Result<()> {
    let mut problems = Problems::default();
    check_name("name", name, &mut problems);
    if value.is_empty() {
        problems.add("value", "is empty");
    }
    if value.len() > VALUE_MAX_BYTES {
        problems.add("value", format!("is {} bytes long; at most {VALUE_MAX_BYTES} are allowed", value.len()));
    }
    if value.contains('\0') {
        problems.add("value", "holds NUL bytes");
    }
    Ok(problems.finish()?)
}
