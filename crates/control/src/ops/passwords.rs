//! Passwords: set by administrators for one sign-in, changed by their owners. A change ends other sessions
//! and the tokens that were got by signing in.

use drydock_domain::access::user::{UserKind, check_password};
use drydock_domain::ids::UserId;
use drydock_store::{commit, users};

use super::accounts::{not_narrowed, own_user};
use super::sessions::end_sign_ins;
use super::users::{UserView, user_view};
use crate::Control;
use crate::context::{OpCtx, Secret};
use crate::error::{Error, Result};

/// Characters of a password that the server makes up: 120 bits.
const MADE_UP_CHARS: usize = 20;

impl Control {
    /// Gives somebody a password, or makes one up and answers it. Unless it is `lasting`, the next sign-in has to choose another
    /// one. Their sessions end, and the tokens that they got by signing in.
    pub async fn set_password(
        &self,
        ctx: &OpCtx,
        name: &str,
        password: Option<Secret>,
        lasting: bool,
    ) -> Result<(UserView, Option<Secret>)> {
        let (act, user) = self.others_act(ctx, "user.set-password", name).await?;
        let done = async {
            if user.kind == UserKind::ServiceAccount {
                return Err(Error::conflict(format!(
                    "{} is a service account: it has tokens and API keys, no password",
                    user.name
                )));
            }
            let made_up = match &password {
                Some(_) => None,
                None => Some(Secret::new(super::cut(self.new_secret("")?.expose(), MADE_UP_CHARS))),
            };
            if let Some(given) = &password {
                check_password("password", &user.name, given.expose())?;
            }
            let Some(chosen) = password.as_ref().or(made_up.as_ref()) else {
                return Err(Error::invalid("password", "is missing"));
            };
            let hash = self.passwords().hash(chosen).await?;
            let mut tx = self.begin().await?;
            if !users::set_password(&mut tx, user.id, Some(&hash), !lasting, ctx.now).await? {
                return Err(Error::NotFound(format!("user {}", user.name)));
            }
            end_sign_ins(&mut tx, user.id, None).await?;
            act.allowed(&mut tx).await?;
            let after = users::find(&mut tx, user.id).await?;
            commit(tx).await?;
            let after = after.ok_or_else(|| Error::NotFound(format!("user {}", user.name)))?;
            Ok((user_view(&mut *self.read().await?, after).await?, made_up))
        }
        .await;
        act.settle(done).await
    }

    /// Changes one's own password. Other sessions end, and tokens got by signing in; tokens that were made stay.
    pub async fn change_password(&self, ctx: &OpCtx, old: &Secret, new: &Secret) -> Result<()> {
        let id = own_account(ctx)?;
        let act = self.own_act(ctx, "user.change-password", format!("user {}", ctx.who.name()));
        let changed = async {
            let user = users::find(&mut *self.read().await?, id).await?;
            let user = user.ok_or(Error::Unauthenticated("the user this belongs to was deleted"))?;
            let place = self.passwords().place()?;
            // Counted like a sign-in: a session that was left open is no place to guess at.
            let secrets = self.count_try(id, ctx.now).await?;
            let wrong = || Error::invalid("oldPassword", "is wrong, or there were too many failures; wait a while");
            let hash = secrets.and_then(|secrets| secrets.password_hash);
            if !self.passwords().verify(place, old, hash).await? {
                return Err(wrong());
            }
            self.forgive(id).await?;
            let hash = self.new_hash("newPassword", &user, old, new).await?;
            let mut tx = self.begin().await?;
            users::set_password(&mut tx, id, Some(&hash), false, ctx.now).await?;
            end_sign_ins(&mut tx, id, ctx.who.account()).await?;
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(changed).await
    }
}

/// The caller's own account, for what is done to it; a narrowed token does nothing to it.
pub(super) fn own_account(ctx: &OpCtx) -> Result<UserId> {
    let id = own_user(&ctx.who);
    let id = id.ok_or_else(|| Error::Forbidden("only a user has an account; this token stands for itself".to_owned()))?;
    not_narrowed(ctx)?;
    Ok(id)
}
