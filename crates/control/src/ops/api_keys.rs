//! API keys: public RSA keys with which users sign requests. The server verifies signatures (`identity::signature` there);
//! here is whose key it is, and that a signature is taken once.

use drydock_domain::ids::{ApiKeyId, UserId};
use drydock_domain::validate::Invalid;
use drydock_store::api_keys::{self, ApiKeyRecord};
use drydock_store::{commit, users};
use jiff::Timestamp;

use super::accounts::{not_narrowed, own_user};
use super::cut;
use crate::Control;
use crate::api_key::ApiPublicKey;
use crate::context::{OpCtx, Principal};
use crate::error::{Error, Result};

/// Keys of one user, count (the vendor's bound): one in use, one to change to, one for a program.
pub const API_KEYS_MAX: usize = 3;
/// What a keyId says before the user: this server has one tenancy.
pub const TENANCY: &str = "tenancy";
/// A use is noted this often, seconds: a busy client must not cost a write per request.
const USED_EVERY_SECS: i64 = 60;
/// Longest fingerprint repeated in a refusal, bytes.
const FINGERPRINT_SHOWN_BYTES: usize = 64;

/// A key that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldApiKey {
    id: ApiKeyId,
    user: UserId,
    last_used_at: Option<Timestamp>,
    /// What signatures are held against.
    pub key: ApiPublicKey,
}

/// A key, and what clients call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyView {
    /// As it is stored.
    pub record: ApiKeyRecord,
    /// Length, bits.
    pub bits: usize,
    /// What clients send as keyId.
    pub key_id: String,
}

impl Control {
    /// Keys of a user.
    pub async fn list_api_keys(&self, ctx: &OpCtx, user: &str) -> Result<Vec<ApiKeyView>> {
        let (_act, user) = self.user_act(ctx, "api-key.list", user).await?;
        let keys = api_keys::of_user(&mut *self.read().await?, user.id).await?;
        keys.into_iter().map(|record| view(record, &user.name)).collect()
    }

    /// Adds a public key to a user. From the next request on, whoever has its private half is that user.
    pub async fn add_api_key(&self, ctx: &OpCtx, user: &str, public_key_pem: &str) -> Result<ApiKeyView> {
        let (act, user) = self.user_act(ctx, "api-key.add", user).await?;
        let added = async {
            if ctx.who.account().is_some_and(|own| own.narrowed.is_some()) {
                let why = "whoever shows a narrowed token cannot add an API key, which is not narrowed";
                return Err(Error::Forbidden(why.to_owned()));
            }
            let key = ApiPublicKey::from_pem(public_key_pem).map_err(|bad| Invalid::one("publicKey", bad.to_string()))?;
            let record = ApiKeyRecord {
                id: ApiKeyId(self.mint(ctx.now)),
                user: user.id,
                fingerprint: key.fingerprint().to_owned(),
                public_key: public_key_pem.trim().to_owned() + "\n",
                created_at: ctx.now,
                last_used_at: None,
            };
            let mut tx = self.begin().await?;
            let taken = || Error::conflict(format!("{} has the key {} already", user.name, record.fingerprint));
            let all = api_keys::of_user(&mut tx, user.id).await?;
            if all.iter().any(|own| own.fingerprint == record.fingerprint) {
                return Err(taken());
            }
            if all.len() >= API_KEYS_MAX {
                return Err(Error::conflict(format!("{} has {API_KEYS_MAX} API keys already; delete one", user.name)));
            }
            match api_keys::insert(&mut tx, &record).await {
                Err(e) if e.is_duplicate() => return Err(taken()),
                other => other?,
            }
            act.allowed_on(&mut tx, &format!("user {} (API key {})", user.name, record.fingerprint)).await?;
            commit(tx).await?;
            view(record, &user.name)
        }
        .await;
        act.settle(added).await
    }

    /// Deletes a key of a user; requests that it signed are refused from now on.
    pub async fn delete_api_key(&self, ctx: &OpCtx, user: &str, fingerprint: &str) -> Result<()> {
        let (act, user) = self.user_act(ctx, "api-key.delete", user).await?;
        let deleted = async {
            if own_user(&ctx.who) == Some(user.id) {
                not_narrowed(ctx)?;
            }
            let mut tx = self.begin().await?;
            let shown = cut(fingerprint, FINGERPRINT_SHOWN_BYTES);
            let found = api_keys::find(&mut tx, user.id, fingerprint).await?;
            let key = found.ok_or_else(|| Error::NotFound(format!("API key {shown} of {}", user.name)))?;
            api_keys::delete(&mut tx, key.id).await?;
            act.allowed_on(&mut tx, &format!("user {} (API key {})", user.name, key.fingerprint)).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(deleted).await
    }

    /// The key that a request names; `None`: nobody has it. Says nothing about who asks: the signature does.
    pub async fn held_api_key(&self, tenancy: &str, user: &str, fingerprint: &str) -> Result<Option<HeldApiKey>> {
        if tenancy != TENANCY {
            return Ok(None);
        }
        let mut reader = self.read().await?;
        let found = match user.parse::<UserId>() {
            Ok(id) => users::find(&mut reader, id).await?,
            Err(_) => users::find_by_name(&mut reader, user).await?,
        };
        let Some(user) = found else { return Ok(None) };
        let Some(record) = api_keys::find(&mut reader, user.id, fingerprint).await? else { return Ok(None) };
        let key = read(&record)?;
        Ok(Some(HeldApiKey { id: record.id, user: user.id, last_used_at: record.last_used_at, key }))
    }

    /// Takes a signature of a request that changes something, to be remembered until then. `false`: it was taken before.
    pub async fn take_signature(&self, sha256: &str, until: Timestamp) -> Result<bool> {
        let mut tx = self.begin().await?;
        let fresh = api_keys::take_signature(&mut tx, sha256, until).await?;
        commit(tx).await?;
        Ok(fresh)
    }

    /// Whoever signs with this key, whose signature was verified; refused when the key or its user is gone or disabled.
    pub async fn authenticate_key(&self, held: &HeldApiKey) -> Result<Principal> {
        if !api_keys::is_there(&mut *self.read().await?, held.id).await? {
            return Err(Error::Unauthenticated("the API key was deleted"));
        }
        let principal = self.account_of_user(held.user, false, None).await?;
        let now = self.now();
        if held.last_used_at.is_none_or(|used| now.as_second() - used.as_second() >= USED_EVERY_SECS) {
            self.contacts().api_keys.insert(held.id, now);
        }
        Ok(principal)
    }
}

fn view(record: ApiKeyRecord, user: &str) -> Result<ApiKeyView> {
    let bits = read(&record)?.bits();
    let key_id = format!("{TENANCY}/{user}/{}", record.fingerprint);
    Ok(ApiKeyView { record, bits, key_id })
}

fn read(record: &ApiKeyRecord) -> Result<ApiPublicKey> {
    let damaged = |source| Error::Internal { doing: "read a stored API key", source: Box::new(source) };
    ApiPublicKey::from_pem(&record.public_key).map_err(damaged)
}
