//! Access tokens: who a caller is, and who may call. A token belongs to a user, or stands for itself in the group of its role.
//! It may be narrowed; a narrowed one makes none that is wider.

use std::sync::Arc;

use drydock_domain::access::permissions::RightSet;
use drydock_domain::access::user::parse_scope;
use drydock_domain::access::{Permission, Role};
use drydock_domain::ids::{AccessTokenId, UserId};
use drydock_domain::limits::DISPLAY_NAME_MAX_BYTES;
use drydock_domain::validate::{Invalid, Problems};
use drydock_store::records::{AccessTokenRecord, PageQuery, Paged, TokenUser};
use drydock_store::{Tx, access_tokens, commit};
use jiff::{SignedDuration, Timestamp};

use super::accounts::{about_user, find_user, is_administrator, no_user, not_narrowed, own_user};
use super::act::Act;
use super::digest;
use super::users::still_administered;
use crate::Control;
use crate::context::{Account, OpCtx, Principal, Secret};
use crate::error::{Error, Result};
use crate::instance_token;
use crate::views::WhoAmI;

/// Longest secret looked at, bytes: ours have 47.
const SECRET_MAX_BYTES: usize = 256;
/// What an access token's secret begins with.
const SECRET_PREFIX: &str = "ddt_";
/// Tokens of one user that are not revoked, count.
const TOKENS_PER_USER_MAX: usize = 100;
/// Tokens of users are forgotten so long after they expired, days.
const SPENT_KEPT_DAYS: i64 = 30;

/// A token to be made.
#[derive(Debug, Clone, Default)]
pub struct TokenAsk {
    /// What it is for, or whose it is.
    pub name: String,
    /// It stands for itself, with this role.
    pub role: Option<Role>,
    /// It belongs to this user; neither role nor user: to the caller.
    pub user: Option<String>,
    /// What it is narrowed to; empty: it is not.
    pub scope: Vec<String>,
    /// Ends; absent = never.
    pub expires_at: Option<Timestamp>,
}

/// What a token will stand for.
enum Owner {
    Role(Role),
    User(TokenUser),
}

impl Control {
    /// Who shows this access token?
    pub async fn authenticate(&self, bearer: &str) -> Result<Principal> {
        if bearer.is_empty() || bearer.len() > SECRET_MAX_BYTES {
            return Err(Error::Unauthenticated("no access token was given; send it as `Authorization: Bearer ddt_…`"));
        }
        if bearer.starts_with(instance_token::PREFIX) {
            return self.authenticate_instance(bearer).await;
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
        let who = self.account_by_token(&token).await?;
        // Kept to the minute: a busy client must not cost a write per second.
        if token.last_used_at.is_none_or(|used| now.as_second() - used.as_second() >= 60) {
            self.contacts().tokens.insert(token.id, now);
        }
        Ok(who)
    }

    /// Whoever acts with a token that is good.
    pub(super) async fn account_by_token(&self, token: &AccessTokenRecord) -> Result<Principal> {
        Ok(Principal::Account(Arc::new(self.account_of_token(token).await?)))
    }

    async fn account_of_token(&self, token: &AccessTokenRecord) -> Result<Account> {
        // What cannot be read (a later version wrote it) is narrowed to nothing.
        let narrowed = (!token.scope.is_empty()).then(|| parse_scope(&token.scope).unwrap_or_default());
        let own = match (&token.user, token.role) {
            (Some(user), _) => self.own_account(user.id, token.second_factor, narrowed).await?,
            (None, Some(role)) => Account { narrowed, ..Account::of_token(token.id, &token.name, role) },
            (None, None) => return Err(Error::Unauthenticated("the access token belongs to nobody")),
        };
        Ok(Account { token: Some(token.id), ..own })
    }

    /// Who am I?
    pub async fn whoami(&self, ctx: &OpCtx) -> Result<WhoAmI> {
        match &ctx.who {
            Principal::Account(own) => Ok(WhoAmI {
                name: own.name.clone(),
                kind: own.kind.as_str(),
                role: own.role,
                groups: own.groups.clone(),
                second_factor: own.second_factor,
                narrowed: own.narrowed.is_some(),
            }),
            Principal::Server => Ok(WhoAmI {
                name: ctx.who.name(),
                kind: ctx.who.kind(),
                role: Some(Role::Administrator),
                groups: Vec::new(),
                second_factor: false,
                narrowed: false,
            }),
            Principal::Instance(_) => Err(Error::Forbidden("an agent has no account".to_owned())),
        }
    }

    /// Makes an access token; its secret is returned once. Everybody makes tokens for themselves; those have at most their own
    /// rights.
    pub async fn create_access_token(&self, ctx: &OpCtx, ask: TokenAsk) -> Result<(AccessTokenRecord, Secret)> {
        let (act, owner) = self.token_act(ctx, &ask).await?;
        let made = async {
            check_token(&ask, ctx.now)?;
            check_not_wider(&ctx.who, &ask)?;
            self.check_not_longer(&ctx.who, &ask).await?;
            let (role, user) = match owner {
                Owner::Role(role) => (Some(role), None),
                Owner::User(user) => (None, Some(user)),
            };
            // Only who has just shown a second factor passes that on, and only to themselves.
            let own = ctx.who.account().filter(|_| user.as_ref().map(|user| user.id) == own_user(&ctx.who));
            let second_factor = user.is_some() && own.is_some_and(|own| own.second_factor);
            let record = AccessTokenRecord {
                id: AccessTokenId(self.mint(ctx.now)),
                name: ask.name.clone(),
                role,
                user,
                scope: ask.scope.clone(),
                second_factor,
                signed_in: false,
                created_by: ctx.who.key(),
                expires_at: ask.expires_at,
                created_at: ctx.now,
                last_used_at: None,
                revoked: false,
            };
            let mut tx = self.begin().await?;
            let secret = self.store_token(&mut tx, &record, ctx.now).await?;
            act.allowed_on(&mut tx, &token_text(&record)).await?;
            commit(tx).await?;
            Ok((record, secret))
        }
        .await;
        act.settle(made).await
    }

    /// Refuses a token that outlives the narrowed one that asks for it.
    async fn check_not_longer(&self, who: &Principal, ask: &TokenAsk) -> Result<()> {
        let Some(own) = who.account().filter(|own| own.narrowed.is_some()).and_then(|own| own.token) else { return Ok(()) };
        let ends = access_tokens::find(&mut *self.read().await?, own).await?.and_then(|token| token.expires_at);
        match ends {
            Some(ends) if ask.expires_at.is_none_or(|asked| asked > ends) => {
                Err(Error::Forbidden(format!("a narrowed token makes none that outlives it; let it end at {ends} or before")))
            }
            _ => Ok(()),
        }
    }

    /// Stores a new token and answers its secret.
    pub(super) async fn store_token(&self, tx: &mut Tx, record: &AccessTokenRecord, now: Timestamp) -> Result<Secret> {
        if let Some(user) = &record.user {
            let before = now.checked_sub(SignedDuration::from_hours(24 * SPENT_KEPT_DAYS)).unwrap_or(now);
            access_tokens::forget_spent(tx, user.id, before).await?;
            let page = PageQuery { cursor: None, limit: Some(drydock_domain::limits::PAGE_MAX) };
            let all = access_tokens::list_of_user(tx, user.id, &page).await?.items;
            let good = all.iter().filter(|own| !own.revoked && own.expires_at.is_none_or(|end| end > now)).count();
            if good >= TOKENS_PER_USER_MAX {
                return Err(Error::conflict(format!(
                    "{} has {TOKENS_PER_USER_MAX} access tokens already; revoke some (drydock access list)",
                    user.name
                )));
            }
        }
        let secret = self.new_secret(SECRET_PREFIX)?;
        access_tokens::insert(tx, record, &digest(secret.expose())).await?;
        Ok(secret)
    }

    /// Who may make the token that is asked for, and whose it will be.
    async fn token_act<'a>(&'a self, ctx: &'a OpCtx, ask: &TokenAsk) -> Result<(Act<'a>, Owner)> {
        const CREATE: &str = "access-token.create";
        let text = format!("access-token {}", ask.name);
        let wanted = match (ask.role, &ask.user) {
            (Some(_), Some(_)) => return Err(Error::invalid("role", "a token has a role or a user, not both")),
            (Some(role), None) => {
                let act = self.act(ctx, CREATE, text, Permission::AccessManage).await?;
                if !holds_role(&ctx.who, role) {
                    let why = format!("only who is {} makes such tokens; name a user instead", role.as_str());
                    return act.settle(Err(Error::Forbidden(why))).await;
                }
                return Ok((act, Owner::Role(role)));
            }
            (None, Some(user)) => user.clone(),
            (None, None) => match own_user(&ctx.who) {
                Some(user) => user.to_string(),
                None => return Err(Error::invalid("role", "say whose token it is: a user, or a role for a token of its own")),
            },
        };
        let found = find_user(&mut *self.read().await?, &wanted).await?;
        let owner = |id: UserId, name: &str| Owner::User(TokenUser { id, name: name.to_owned() });
        if let Some(user) = found.as_ref().filter(|user| own_user(&ctx.who) == Some(user.id)) {
            return Ok((self.own_act(ctx, CREATE, text), owner(user.id, &user.name)));
        }
        let about = about_user(found.as_ref(), &wanted).called(format!("{text} for user {wanted}"));
        let act = self.act_on(ctx, CREATE, about).await?;
        let Some(user) = found else { return Err(no_user(&wanted)) };
        if !is_administrator(&ctx.who) && self.administers(user.id).await? {
            let why = format!("{} is an administrator; only administrators make tokens for them", user.name);
            return act.settle(Err(Error::Forbidden(why))).await;
        }
        Ok((act, owner(user.id, &user.name)))
    }

    /// Makes a token for the server's own operator: first run, or when every administrator's token is lost.
    pub async fn bootstrap_admin_token(&self, name: &str, role: Role) -> Result<(AccessTokenRecord, Secret)> {
        let ctx = self.ctx(Principal::Server, "local");
        let ask = TokenAsk { name: name.to_owned(), role: Some(role), ..TokenAsk::default() };
        self.create_access_token(&ctx, ask).await
    }

    /// Access tokens, oldest first: of a user, or all of them. Everybody may list their own.
    pub async fn list_access_tokens(
        &self,
        ctx: &OpCtx,
        user: Option<&str>,
        page: &PageQuery,
    ) -> Result<Paged<AccessTokenRecord>> {
        let Some(wanted) = user else {
            self.may_read(ctx, "access-token.list", Permission::AccessManage).await?;
            return Ok(access_tokens::list(&mut *self.read().await?, page).await?);
        };
        let found = find_user(&mut *self.read().await?, wanted).await?;
        let own = found.as_ref().is_some_and(|user| own_user(&ctx.who) == Some(user.id));
        if !own {
            self.may_see(ctx, "access-token.list", about_user(found.as_ref(), wanted)).await?;
        }
        let user = found.ok_or_else(|| no_user(wanted))?;
        Ok(access_tokens::list_of_user(&mut *self.read().await?, user.id, page).await?)
    }

    /// Revokes an access token; from the next request on it is refused. Everybody may revoke their own.
    pub async fn revoke_access_token(&self, ctx: &OpCtx, id: AccessTokenId) -> Result<AccessTokenRecord> {
        const REVOKE: &str = "access-token.revoke";
        let found = access_tokens::find(&mut *self.read().await?, id).await?;
        let owner = found.as_ref().and_then(|token| token.user.as_ref()).map(|user| user.id);
        let text = format!("access-token {id}");
        let is_own = own_user(&ctx.who).is_some_and(|own| Some(own) == owner);
        let act = match is_own {
            true => self.own_act(ctx, REVOKE, text),
            false => self.act(ctx, REVOKE, text, Permission::AccessManage).await?,
        };
        let revoked = async {
            if is_own && ctx.who.account().and_then(|own| own.token) != Some(id) {
                not_narrowed(ctx)?;
            }
            let mut tx = self.begin().await?;
            // Revoking twice is no error: the outcome is what was asked for.
            let was_good = access_tokens::revoke(&mut tx, id).await?;
            if was_good && found.is_some_and(|token| is_way_in(&token, ctx.now)) {
                still_administered(&mut tx, ctx.now).await?;
            }
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

/// Does it let an administrator in by itself?
fn is_way_in(token: &AccessTokenRecord, now: Timestamp) -> bool {
    let is_whole = token.role == Some(Role::Administrator) && token.user.is_none() && token.scope.is_empty();
    is_whole && token.expires_at.is_none_or(|ends| ends > now)
}

/// How audit records name a token.
pub(super) fn token_text(record: &AccessTokenRecord) -> String {
    let whose = match (&record.user, record.role) {
        (Some(user), _) => format!("user {}", user.name),
        (None, role) => role.map_or("", Role::as_str).to_owned(),
    };
    format!("access-token {} ({}, {whose})", record.id, record.name)
}

/// May they hand a role on? Whoever has it, or a stronger one.
fn holds_role(who: &Principal, role: Role) -> bool {
    let strength = |role: Role| match role {
        Role::Viewer => 0,
        Role::Operator => 1,
        Role::Administrator => 2,
    };
    is_administrator(who) || who.account().and_then(|own| own.role).is_some_and(|own| strength(own) >= strength(role))
}

/// Refuses a token that gives more than the narrowed one that asks for it.
fn check_not_wider(who: &Principal, ask: &TokenAsk) -> Result<()> {
    let Some(narrowed) = who.account().and_then(|own| own.narrowed) else { return Ok(()) };
    let asked: Option<RightSet> = match ask.scope.as_slice() {
        [] => None,
        entries => Some(parse_scope(entries)?),
    };
    if asked.is_some_and(|asked| narrowed.contains(&asked)) {
        return Ok(());
    }
    Err(Error::Forbidden("a narrowed token makes no wider one; name a scope within its own".to_owned()))
}

fn check_token(ask: &TokenAsk, now: Timestamp) -> std::result::Result<(), Invalid> {
    let mut problems = Problems::default();
    if ask.name.trim().is_empty() {
        problems.add("name", "is empty; say what the token is for");
    }
    problems.text("name", &ask.name, DISPLAY_NAME_MAX_BYTES);
    if ask.expires_at.is_some_and(|at| at <= now) {
        problems.add("expiresAt", "lies in the past");
    }
    problems.finish()?;
    if ask.scope.is_empty() { Ok(()) } else { parse_scope(&ask.scope).map(drop) }
}
