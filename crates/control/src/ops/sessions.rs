//! Sessions of the console: kept in the store, so that they survive a restart and can be listed and ended. What the browser
//! keeps is 256 random bits; a session knows its SHA-256.

use std::sync::Arc;

use drydock_domain::ids::{SessionId, UserId};
use drydock_store::records::{PageQuery, Paged};
use drydock_store::sessions::{self, Ends, SessionRecord};
use drydock_store::{Tx, access_tokens, commit};
use jiff::{SignedDuration, Timestamp};

use super::accounts::{about_user, find_user, not_narrowed, own_user};
use super::sign_in::SignInFrom;
use super::{cut, digest};
use crate::Control;
use crate::context::{Account, OpCtx, Principal, Secret};
use crate::error::{Error, Result};

/// A session ends when nothing was asked with it for this long, seconds (8 hours: a shift).
pub const SESSION_IDLE_SECS: i64 = 8 * 3600;
/// A session ends this long after sign-in in any case, seconds (24 hours).
pub const SESSION_ABSOLUTE_SECS: i64 = 24 * 3600;
/// Sessions of one user at once, count; the oldest go.
const SESSIONS_PER_USER_MAX: u32 = 20;
/// A use is noted this often, seconds: a busy browser must not cost a write per request.
const USED_EVERY_SECS: i64 = 60;
/// Longest secret looked at, bytes: ours have 47.
const SECRET_MAX_BYTES: usize = 128;
/// What the secret of a session begins with.
const SECRET_PREFIX: &str = "dds_";
/// Longest description of a browser kept, bytes.
const USER_AGENT_MAX_BYTES: usize = 255;

/// A session that is alive.
#[derive(Debug, Clone)]
pub struct OpenSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub who: Principal,
    /// Every form of it carries this.
    pub csrf: String,
}

/// Which sessions to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhoseSessions<'a> {
    /// The caller's.
    Own,
    /// Of this user.
    User(&'a str),
    /// Everybody's.
    All,
}

/// Ends what a user got by signing in, sessions and tokens, but for what the caller uses.
pub(super) async fn end_sign_ins(tx: &mut Tx, user: UserId, but: Option<&Account>) -> Result<()> {
    sessions::end_others(tx, user, but.and_then(|own| own.session)).await?;
    Ok(access_tokens::revoke_signed_in(tx, user, but.and_then(|own| own.token)).await?)
}

fn ends(now: Timestamp) -> Ends {
    let before = |secs| now.checked_sub(SignedDuration::from_secs(secs)).unwrap_or(Timestamp::UNIX_EPOCH);
    Ends { idle: before(SESSION_IDLE_SECS), absolute: before(SESSION_ABSOLUTE_SECS) }
}

impl Control {
    /// Starts a session of a user who has just shown who they are; the answer is for their browser only. `way`: `password` or
    /// `oidc`. The sign-in itself is recorded by who checked it.
    pub async fn start_session(&self, user: UserId, way: &'static str, second_factor: bool, from: &SignInFrom) -> Result<Secret> {
        let who = self.own_account(user, second_factor, None).await?;
        let now = self.now();
        let secret = self.new_secret(SECRET_PREFIX)?;
        let record = SessionRecord {
            id: SessionId(self.mint(now)),
            user,
            user_name: who.name,
            csrf: self.new_secret("")?.expose().to_owned(),
            way: way.to_owned(),
            second_factor,
            address: from.address.map(|address| address.to_string()).unwrap_or_default(),
            user_agent: cut(&from.user_agent, USER_AGENT_MAX_BYTES).chars().filter(|c| !c.is_control()).collect(),
            created_at: now,
            used_at: now,
        };
        let mut tx = self.begin().await?;
        sessions::insert(&mut tx, &record, &digest(secret.expose())).await?;
        sessions::sweep(&mut tx, user, ends(now), SESSIONS_PER_USER_MAX).await?;
        commit(tx).await?;
        Ok(secret)
    }

    /// The session with this secret, if it is alive and its user may still sign in. `keep`: being asked keeps it from idling
    /// out; an open live page is not a person.
    pub async fn open_session(&self, secret: &str, keep: bool) -> Result<Option<OpenSession>> {
        if !secret.starts_with(SECRET_PREFIX) || secret.len() > SECRET_MAX_BYTES {
            return Ok(None);
        }
        let now = self.now();
        let found = sessions::find_by_secret(&mut *self.read().await?, &digest(secret)).await?;
        let ends = ends(now);
        let alive = |session: &SessionRecord| session.used_at > ends.idle && session.created_at > ends.absolute;
        let Some(session) = found.filter(alive) else { return Ok(None) };
        let who = match self.own_account(session.user, session.second_factor, None).await {
            Ok(own) => Account { session: Some(session.id), ..own },
            Err(Error::Unauthenticated(_)) => return Ok(None),
            Err(other) => return Err(other),
        };
        if keep && now.as_second() - session.used_at.as_second() >= USED_EVERY_SECS {
            let mut tx = self.begin().await?;
            sessions::touch(&mut tx, session.id, now).await?;
            commit(tx).await?;
        }
        Ok(Some(OpenSession { id: session.id, who: Principal::Account(Arc::new(who)), csrf: session.csrf }))
    }

    /// Ends the session that the caller uses.
    pub async fn sign_out(&self, ctx: &OpCtx) -> Result<()> {
        let Some(session) = ctx.who.account().and_then(|own| own.session) else { return Ok(()) };
        let act = self.own_act(ctx, "session.sign-out", format!("session {session}"));
        let ended = async {
            let mut tx = self.begin().await?;
            sessions::end(&mut tx, session).await?;
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(ended).await
    }

    /// Sessions, newest first. Everybody may list their own.
    pub async fn list_sessions(&self, ctx: &OpCtx, whose: WhoseSessions<'_>, page: &PageQuery) -> Result<Paged<SessionRecord>> {
        let user = match whose {
            WhoseSessions::Own => {
                let none = || Error::invalid("user", "say whose sessions: this token stands for itself and has none");
                Some(own_user(&ctx.who).ok_or_else(none)?)
            }
            WhoseSessions::User(name) => {
                let found = find_user(&mut *self.read().await?, name).await?;
                if found.is_none() || found.as_ref().map(|user| user.id) != own_user(&ctx.who) {
                    self.may_see(ctx, "session.list", about_user(found.as_ref(), name)).await?;
                }
                Some(found.ok_or_else(|| super::accounts::no_user(name))?.id)
            }
            WhoseSessions::All => {
                self.may_read(ctx, "session.list", drydock_domain::access::Permission::AccessManage).await?;
                None
            }
        };
        Ok(sessions::list(&mut *self.read().await?, user, ends(ctx.now), page).await?)
    }

    /// Ends a session at once. Everybody may end their own.
    pub async fn revoke_session(&self, ctx: &OpCtx, id: SessionId) -> Result<()> {
        const REVOKE: &str = "session.revoke";
        let found = sessions::find(&mut *self.read().await?, id).await?;
        let missing = || Error::NotFound(format!("session {id}"));
        let act = match &found {
            Some(session) if own_user(&ctx.who) == Some(session.user) => {
                self.own_act(ctx, REVOKE, format!("session {id} of user {}", session.user_name))
            }
            Some(session) => {
                let begun = self.others_act(ctx, REVOKE, &session.user.to_string()).await;
                // Whoever may not see the user learns nothing of the session.
                begun.map_err(|e| if matches!(e, Error::NotFound(_)) { missing() } else { e })?.0
            }
            None => {
                let absent = about_user(None, &id.to_string()).called(format!("session {id}"));
                let begun = self.act_on(ctx, REVOKE, absent).await;
                return match begun {
                    Err(Error::NotFound(_)) | Ok(_) => Err(missing()),
                    Err(other) => Err(other),
                };
            }
        };
        let revoked = async {
            if found.is_some_and(|session| own_user(&ctx.who) == Some(session.user)) {
                not_narrowed(ctx)?;
            }
            let mut tx = self.begin().await?;
            sessions::end(&mut tx, id).await?;
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(revoked).await
    }
}
