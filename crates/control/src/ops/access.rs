//! Access tokens: who a caller is, and who may call.

use std::sync::Arc;

use drydock_domain::access::{Permission, Role};
use drydock_domain::ids::AccessTokenId;
use drydock_domain::limits::DISPLAY_NAME_MAX_BYTES;
use drydock_domain::validate::{Invalid, Problems};
use drydock_store::records::{AccessTokenRecord, PageQuery, Paged};
use drydock_store::{access_tokens, commit};
use jiff::Timestamp;

use super::digest;
use crate::Control;
use crate::context::{Account, OpCtx, Principal, Secret};
use crate::error::{Error, Result};
use crate::views::WhoAmI;

/// Longest secret looked at, bytes: ours have 47.
const SECRET_MAX_BYTES: usize = 256;
/// What an access token's secret begins with.
const SECRET_PREFIX: &str = "ddt_";

impl Control {
    /// Who shows this access token?
    pub async fn authenticate(&self, bearer: &str) -> Result<Principal> {
        if bearer.is_empty() || bearer.len() > SECRET_MAX_BYTES {
            return Err(Error::Unauthenticated("no access token was given; send it as `Authorization: Bearer ddt_…`"));
        }
        let now = self.now();
        let found = access_tokens::find_by_secret(&mut *self.read().await?, &digest(bearer)).await?;
        let Some(token) = found else { return Err(Error::Unauthenticated("the access token is not known")) };
        if token.revoked {
            return Err(Error::Unauthenticated("the access token was revoked; ask an administrator for a new one"));
        }
        if token.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::Unauthenticated("the access token has expired; ask an administrator for a new one"));
        }
        // Kept to the minute: a busy client must not cost a write per second.
        if token.last_used_at.is_none_or(|used| now.as_second() - used.as_second() >= 60) {
            self.contacts().tokens.insert(token.id, now);
        }
        Ok(Principal::Account(Arc::new(Account::of_token(token.id, &token.name, token.role))))
    }

    /// Who am I?
    pub async fn whoami(&self, ctx: &OpCtx) -> Result<WhoAmI> {
        match &ctx.who {
            Principal::Account(own) => Ok(WhoAmI { name: own.name.clone(), role: own.role.unwrap_or(Role::Viewer) }),
            Principal::Server => Ok(WhoAmI { name: ctx.who.name(), role: Role::Administrator }),
            Principal::Instance(_) => Err(Error::Forbidden("an agent has no role".to_owned())),
        }
    }

    /// Makes an access token; its secret is returned once.
    pub async fn create_access_token(
        &self,
        ctx: &OpCtx,
        name: &str,
        role: Role,
        expires_at: Option<Timestamp>,
    ) -> Result<(AccessTokenRecord, Secret)> {
        let resource = format!("access-token {name}");
        let act = self.act(ctx, "access-token.create", resource, Permission::AccessManage).await?;
        let made = async {
            check_token(name, expires_at, ctx.now)?;
            let secret = self.new_secret(SECRET_PREFIX)?;
            let record = AccessTokenRecord {
                id: AccessTokenId(self.mint(ctx.now)),
                name: name.to_owned(),
                role,
                expires_at,
                created_at: ctx.now,
                last_used_at: None,
                revoked: false,
            };
            let mut tx = self.begin().await?;
            access_tokens::insert(&mut tx, &record, &digest(secret.expose())).await?;
            act.allowed_on(&mut tx, &format!("access-token {} ({name}, {})", record.id, role.as_str())).await?;
            commit(tx).await?;
            Ok((record, secret))
        }
        .await;
        act.settle(made).await
    }

    /// Makes a token for the server's own operator: first run, or when every administrator's token is lost.
    pub async fn bootstrap_admin_token(&self, name: &str, role: Role) -> Result<(AccessTokenRecord, Secret)> {
        let ctx = self.ctx(Principal::Server, "local");
        self.create_access_token(&ctx, name, role, None).await
    }

    /// Access tokens, oldest first.
    pub async fn list_access_tokens(&self, ctx: &OpCtx, page: &PageQuery) -> Result<Paged<AccessTokenRecord>> {
        self.may_read(ctx, "access-token.list", Permission::AccessManage).await?;
        Ok(access_tokens::list(&mut *self.read().await?, page).await?)
    }

    /// Revokes an access token; from the next request on it is refused.
    pub async fn revoke_access_token(&self, ctx: &OpCtx, id: AccessTokenId) -> Result<AccessTokenRecord> {
        let act = self.act(ctx, "access-token.revoke", format!("access-token {id}"), Permission::AccessManage).await?;
        let revoked = async {
            let mut tx = self.begin().await?;
            // Revoking twice is no error: the outcome is what was asked for.
            access_tokens::revoke(&mut tx, id).await?;
            let found = access_tokens::find(&mut tx, id).await?;
            let record = found.ok_or_else(|| Error::NotFound(format!("access token {id}")))?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            Ok(record)
        }
        .await;
        act.settle(revoked).await
    }
}

fn check_token(name: &str, expires_at: Option<Timestamp>, now: Timestamp) -> std::result::Result<(), Invalid> {
    let mut problems = Problems::default();
    if name.trim().is_empty() {
        problems.add("name", "is empty; say whose token it is");
    }
    problems.text("name", name, DISPLAY_NAME_MAX_BYTES);
    if expires_at.is_some_and(|at| at <= now) {
        problems.add("expiresAt", "lies in the past");
    }
    problems.finish()
}
