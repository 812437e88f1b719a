//! Whom a user's credentials stand for, and who may act on whom. Groups are read anew for each request, so that what an
//! administrator changes counts from the next request on.

use std::sync::Arc;

use drydock_domain::access::builtin::BUILTIN_GROUPS;
use drydock_domain::access::operations::COARSE;
use drydock_domain::access::permissions::{Right, RightSet};
use drydock_domain::access::request::{self, Membership};
use drydock_domain::access::scope::maybe_somewhere;
use drydock_domain::access::user::UserKind;
use drydock_domain::access::{Permission, Role};
use drydock_domain::ids::UserId;
use drydock_store::user_groups::Joined;
use drydock_store::users::UserRecord;
use drydock_store::{Connection, user_groups, users};

use super::act::{About, Act};
use super::cut;
use crate::Control;
use crate::access_part::ROOT;
use crate::context::{Account, AccountKind, OpCtx, Principal};
use crate::error::{Error, Result};

/// Longest name repeated in a refusal, bytes.
const SHOWN_MAX_BYTES: usize = 255;

/// The group as statements see it.
pub(super) fn membership(joined: &Joined) -> Option<Membership> {
    match &joined.name {
        Some(name) => Some(Membership::new(&joined.id, None, name)),
        None => {
            let own = BUILTIN_GROUPS.into_iter().find(|group| group.id == joined.id)?;
            Some(Membership::new(own.id, None, own.name))
        }
    }
}

/// The account of a user who has shown who they are.
pub(super) fn account(user: &UserRecord, joined: &[Joined], second_factor: bool, narrowed: Option<RightSet>) -> Account {
    let id = user.id.to_string();
    let memberships: Vec<Membership> = joined.iter().filter_map(membership).collect();
    let (kind, subject) = match user.kind {
        UserKind::User => (AccountKind::User, request::Principal::user(&id, &user.name, second_factor)),
        UserKind::ServiceAccount => (AccountKind::ServiceAccount, request::Principal::service_account(&id, &user.name)),
    };
    let subject = memberships.iter().fold(subject, request::Principal::in_group);
    let strongest = BUILTIN_GROUPS.into_iter().find(|group| joined.iter().any(|own| own.id == group.id));
    Account {
        kind,
        id,
        name: user.name.clone(),
        token: None,
        session: None,
        second_factor,
        role: strongest.map(|group| group.role),
        groups: memberships.iter().map(|group| group.name().to_owned()).collect(),
        narrowed,
        subject,
    }
}

/// The user with this name or id.
pub(super) async fn find_user(c: &mut Connection, name_or_id: &str) -> Result<Option<UserRecord>> {
    Ok(match name_or_id.parse::<UserId>() {
        Ok(id) => users::find(c, id).await?,
        Err(_) => users::find_by_name(c, name_or_id).await?,
    })
}

/// The user whose account this is; `None`: it is none of a user.
pub(super) fn own_user(who: &Principal) -> Option<UserId> {
    let own = who.account()?;
    matches!(own.kind, AccountKind::User | AccountKind::ServiceAccount).then(|| own.id.parse().ok())?
}

/// Refuses a narrowed token what nobody needs a permission for: its user's own sessions, tokens and keys.
pub(super) fn not_narrowed(ctx: &OpCtx) -> Result<()> {
    match ctx.who.account().filter(|own| own.narrowed.is_some() && own_user(&ctx.who).is_some()) {
        None => Ok(()),
        Some(_) => Err(Error::Forbidden("a narrowed token does not change its user's account".to_owned())),
    }
}

/// May they do everything? A narrowed credential of an administrator may not.
pub(super) fn is_administrator(who: &Principal) -> bool {
    match who {
        Principal::Server => true,
        Principal::Instance(_) => false,
        Principal::Account(own) => own.role == Some(Role::Administrator) && own.narrowed.is_none(),
    }
}

impl Control {
    /// The account of a user; refused when the user is gone or disabled.
    pub(crate) async fn account_of_user(
        &self,
        user: UserId,
        second_factor: bool,
        narrowed: Option<RightSet>,
    ) -> Result<Principal> {
        let own = self.own_account(user, second_factor, narrowed).await?;
        Ok(Principal::Account(Arc::new(own)))
    }

    pub(super) async fn own_account(&self, user: UserId, second_factor: bool, narrowed: Option<RightSet>) -> Result<Account> {
        let mut c = self.read().await?;
        let found = users::find(&mut c, user).await?;
        let user = found.ok_or(Error::Unauthenticated("the user this belongs to was deleted"))?;
        if user.disabled {
            return Err(Error::Unauthenticated("the user this belongs to is disabled; ask an administrator"));
        }
        let joined = user_groups::of_user(&mut c, user.id).await?;
        Ok(account(&user, &joined, second_factor, narrowed))
    }

    /// Begins what somebody does to a user: to themselves without any permission, to others with the operation's; to an
    /// administrator only as one, because a password or a key of theirs is as good as being one.
    pub(super) async fn user_act<'a>(
        &'a self,
        ctx: &'a OpCtx,
        operation: &'static str,
        name_or_id: &str,
    ) -> Result<(Act<'a>, UserRecord)> {
        let mut c = self.read().await?;
        let found = find_user(&mut c, name_or_id).await?;
        drop(c);
        if let Some(user) = found.as_ref().filter(|user| own_user(&ctx.who) == Some(user.id)) {
            return Ok((self.own_act(ctx, operation, format!("user {}", user.name)), user.clone()));
        }
        self.other_act(ctx, operation, name_or_id, found).await
    }

    /// The same for what nobody does to themselves.
    pub(super) async fn others_act<'a>(
        &'a self,
        ctx: &'a OpCtx,
        operation: &'static str,
        name_or_id: &str,
    ) -> Result<(Act<'a>, UserRecord)> {
        let found = find_user(&mut *self.read().await?, name_or_id).await?;
        self.other_act(ctx, operation, name_or_id, found).await
    }

    async fn other_act<'a>(
        &'a self,
        ctx: &'a OpCtx,
        operation: &'static str,
        asked: &str,
        found: Option<UserRecord>,
    ) -> Result<(Act<'a>, UserRecord)> {
        let act = self.act_on(ctx, operation, about_user(found.as_ref(), asked)).await?;
        let Some(user) = found else { return Err(no_user(asked)) };
        if !is_administrator(&ctx.who) && self.administers(user.id).await? {
            let why = format!("{} is an administrator; only administrators may do {operation} to them", user.name);
            return act.settle(Err(Error::Forbidden(why))).await;
        }
        Ok((act, user))
    }

    /// Is the user in the group of administrators?
    pub(super) async fn administers(&self, user: UserId) -> Result<bool> {
        super::users::is_in_administrators(&mut *self.read().await?, user).await
    }

    /// The parts of roles of which somebody may do something, somewhere: for showing buttons; decides nothing.
    pub async fn permissions_somewhere(&self, who: &Principal) -> Result<Vec<Permission>> {
        let own = match who {
            Principal::Server => return Ok(Permission::ALL.to_vec()),
            Principal::Instance(_) => return Ok(Vec::new()),
            Principal::Account(own) => own,
        };
        let loaded = self.access().await?;
        let held = |name: &&str| {
            let right = Right::find(name).filter(|right| own.narrowed.is_none_or(|narrowed| narrowed.has(*right)));
            right.is_some_and(|right| maybe_somewhere(&loaded.compiled, &own.subject, right))
        };
        Ok(COARSE.iter().filter(|(_, names)| names.iter().any(held)).map(|(permission, _)| *permission).collect())
    }
}

/// A user, or the one somebody asked for.
pub(super) fn about_user(found: Option<&UserRecord>, asked: &str) -> About {
    match found {
        Some(user) => About::named("user", "drydock-user", ROOT, &user.id.to_string(), &user.name).asked(asked),
        None => About::named("user", "drydock-user", ROOT, "", cut(asked, SHOWN_MAX_BYTES)).asked(asked).absent(),
    }
}

pub(super) fn no_user(asked: &str) -> Error {
    Error::NotFound(format!("user {}", cut(asked, SHOWN_MAX_BYTES)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_built_in_group_is_that_of_administrators() {
        assert_eq!(BUILTIN_GROUPS[0].role, Role::Administrator);
        let roles: Vec<Role> = BUILTIN_GROUPS.iter().map(|group| group.role).collect();
        assert_eq!(roles, [Role::Administrator, Role::Operator, Role::Viewer], "the strongest first");
    }
}
