//! Users and service accounts: made, edited, disabled, deleted. What they sign in with is in [`super::passwords`] and
//! [`super::second_factor`].

use drydock_domain::access::Permission;
use drydock_domain::access::builtin::BUILTIN_GROUPS;
use drydock_domain::access::user::{UserSpec, check_texts};
use drydock_domain::ids::UserId;
use drydock_domain::validate::Problems;
use drydock_store::records::{PageQuery, Paged};
use drydock_store::users::UserRecord;
use drydock_store::{Connection, Tx, commit, user_groups, users};
use jiff::Timestamp;

use super::RACE_RETRIES;
use super::accounts::{about_user, find_user, membership, no_user, own_user};
use super::sessions::end_sign_ins;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Users and service accounts of one server, count.
const USERS_MAX: i64 = 50_000;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserView {
    /// As it is stored.
    pub user: UserRecord,
    /// Names of the groups it is in.
    pub groups: Vec<String>,
}

/// What an edit changes; absent: it stays.
#[derive(Debug, Clone, Default)]
pub struct UserEdit {
    /// Free text.
    pub description: Option<String>,
    /// Address.
    pub email: Option<String>,
    /// Lock it out, or let it in again.
    pub disabled: Option<bool>,
}

impl Control {
    /// Makes a user. It is in no group and has nothing to sign in with.
    pub async fn create_user(&self, ctx: &OpCtx, spec: UserSpec) -> Result<UserView> {
        let act = self.act(ctx, "user.create", format!("user {}", spec.name), Permission::AccessManage).await?.asking(&spec);
        let made = async {
            let record = self.new_user(ctx, &spec)?;
            let mut tx = self.begin().await?;
            insert_user(&mut tx, &record).await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            Ok(UserView { user: record, groups: Vec::new() })
        }
        .await;
        act.settle(made).await
    }

    /// A checked record of a user that is not stored yet.
    pub(super) fn new_user(&self, ctx: &OpCtx, spec: &UserSpec) -> Result<UserRecord> {
        spec.validate()?;
        Ok(UserRecord {
            id: UserId(self.mint(ctx.now)),
            name: spec.name.clone(),
            kind: spec.kind,
            description: spec.description.clone(),
            email: spec.email.clone(),
            disabled: false,
            has_password: false,
            password_changed_at: None,
            password_expired: false,
            second_factor: false,
            locked_until: None,
            oidc: None,
            created_by: ctx.who.name(),
            created_at: ctx.now,
            last_sign_in_at: None,
            version: 1,
        })
    }

    /// Users and service accounts by name.
    pub async fn list_users(&self, ctx: &OpCtx, page: &PageQuery) -> Result<Paged<UserView>> {
        self.may_read(ctx, "user.list", Permission::AccessManage).await?;
        let mut c = self.read().await?;
        let found = users::list(&mut c, page).await?;
        let ids: Vec<UserId> = found.items.iter().map(|user| user.id).collect();
        let joined = user_groups::of_users(&mut c, &ids).await?;
        Ok(found.map(|user| {
            let own = joined.iter().filter(|(id, _)| *id == user.id).filter_map(|(_, joined)| membership(joined));
            UserView { groups: own.map(|group| group.name().to_owned()).collect(), user }
        }))
    }

    /// One user; everybody may read about themselves.
    pub async fn get_user(&self, ctx: &OpCtx, name: &str) -> Result<UserView> {
        let mut c = self.read().await?;
        let found = find_user(&mut c, name).await?;
        if found.is_none() || found.as_ref().map(|user| user.id) != own_user(&ctx.who) {
            drop(c);
            self.may_see(ctx, "user.show", about_user(found.as_ref(), name)).await?;
            c = self.read().await?;
        }
        let user = found.ok_or_else(|| no_user(name))?;
        user_view(&mut c, user).await
    }

    /// Edits a user. A disabled one is refused from the next request on, whatever it shows, and what it
    /// got by signing in ends.
    pub async fn edit_user(&self, ctx: &OpCtx, name: &str, edit: &UserEdit) -> Result<UserView> {
        let (act, _) = self.others_act(ctx, "user.edit", name).await?;
        let edited = async {
            for _ in 0..RACE_RETRIES {
                let mut tx = self.begin().await?;
                let user = find_user(&mut tx, name).await?.ok_or_else(|| no_user(name))?;
                let administers = is_in_administrators(&mut tx, user.id).await?;
                let after = UserRecord {
                    description: edit.description.clone().unwrap_or_else(|| user.description.clone()),
                    email: edit.email.clone().unwrap_or_else(|| user.email.clone()),
                    disabled: edit.disabled.unwrap_or(user.disabled),
                    ..user.clone()
                };
                let mut problems = Problems::default();
                check_texts(&after.description, &after.email, &mut problems);
                if after.disabled && !user.disabled && own_user(&ctx.who) == Some(user.id) {
                    problems.add("disabled", "nobody disables themselves; let another administrator do it");
                }
                problems.finish()?;
                if !users::update(&mut tx, &after).await? {
                    continue;
                }
                if after.disabled && !user.disabled {
                    end_sign_ins(&mut tx, user.id, None).await?;
                    if administers {
                        still_administered(&mut tx, ctx.now).await?;
                    }
                }
                let how = match (user.disabled, after.disabled) {
                    (false, true) => ", disabled",
                    (true, false) => ", enabled",
                    _ => "",
                };
                act.allowed_on(&mut tx, &format!("user {}{how}", user.name)).await?;
                commit(tx).await?;
                let user = UserRecord { version: after.version + 1, ..after };
                return user_view(&mut *self.read().await?, user).await;
            }
            Err(Error::conflict(format!("somebody else changes the user {name} all the time; try again")))
        }
        .await;
        act.settle(edited).await
    }

    /// Deletes a user with its tokens, keys and sessions.
    pub async fn delete_user(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let (act, user) = self.others_act(ctx, "user.delete", name).await?;
        let deleted = async {
            if own_user(&ctx.who) == Some(user.id) {
                return Err(Error::conflict("nobody deletes themselves; let another administrator do it"));
            }
            let mut tx = self.begin().await?;
            let administers = is_in_administrators(&mut tx, user.id).await?;
            if !users::delete(&mut tx, user.id).await? {
                return Err(no_user(name));
            }
            if administers {
                still_administered(&mut tx, ctx.now).await?;
            }
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(deleted).await
    }
}

/// Stores a new user.
pub(super) async fn insert_user(tx: &mut Tx, record: &UserRecord) -> Result<()> {
    if users::count(tx).await? >= USERS_MAX {
        return Err(Error::conflict(format!("there are {USERS_MAX} users already; delete some")));
    }
    match users::insert(tx, record).await {
        Err(e) if e.is_duplicate() => Err(Error::conflict(format!("there is a user {} already", record.name))),
        other => Ok(other?),
    }
}

pub(super) async fn user_view(c: &mut Connection, user: UserRecord) -> Result<UserView> {
    let joined = user_groups::of_user(c, user.id).await?;
    let groups = joined.iter().filter_map(membership).map(|group| group.name().to_owned()).collect();
    Ok(UserView { user, groups })
}

/// Is the user in the group of administrators?
pub(super) async fn is_in_administrators(c: &mut Connection, user: UserId) -> Result<bool> {
    Ok(user_groups::of_user(c, user).await?.iter().any(|own| own.id == BUILTIN_GROUPS[0].id))
}

/// Refuses what would leave nobody who may do everything.
pub(super) async fn still_administered(tx: &mut Tx, now: Timestamp) -> Result<()> {
    let own = BUILTIN_GROUPS[0];
    if user_groups::ways_in(tx, own.id, own.role.as_str(), now).await? > 0 {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "nobody would be left in {} who may sign in; put somebody else into it first (drydock user-group add {0} USER)",
        own.name
    )))
}
