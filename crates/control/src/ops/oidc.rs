//! People whom an OpenID Connect provider vouches for: which user that is, and which groups it is in. The provider's word was
//! checked by the server (`identity::oidc` there).
//!
//! Who somebody is says the pair of issuer and subject alone. Names and addresses are never used to find a user: whoever can
//! choose their own at the provider could become anybody.

use drydock_domain::access::Role;
use drydock_domain::access::builtin::find_group;
use drydock_domain::access::user::{UserKind, UserSpec, folded_name};
use drydock_domain::ids::UserId;
use drydock_domain::validate::Problems;
use drydock_store::users::UserRecord;
use drydock_store::{Tx, commit, sessions, user_groups, users};

use super::act::About;
use super::sign_in::SignInFrom;
use super::users::{UserView, insert_user, user_view};
use crate::Control;
use crate::audit_part::SignInTry;
use crate::context::{OpCtx, Principal, Secret};
use crate::error::{Error, Result};

/// Longest issuer, bytes.
const ISSUER_MAX_BYTES: usize = 512;
/// Longest subject, bytes (the standard's bound).
const SUBJECT_MAX_BYTES: usize = 255;

/// How sessions of vouched users say that they began.
const BEGUN_BY: &str = "oidc";

/// Whom a provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// The provider.
    pub issuer: String,
    /// Who, for ever.
    pub subject: String,
    /// What to call a user that is made now.
    pub name: Option<String>,
    /// Its address.
    pub email: Option<String>,
    /// Its groups; `None`: they are not taken from the provider.
    pub groups: Option<Vec<String>>,
    /// Make a user when there is none.
    pub may_create: bool,
    /// The provider saw more than one factor.
    pub second_factor: bool,
}

impl Control {
    /// Starts a session of the user whom a provider vouches for; the answer is for their browser only.
    pub async fn sign_in_vouched(&self, vouched: &Vouched, from: &SignInFrom) -> Result<Secret> {
        let done = self.session_of_vouched(vouched, from).await;
        let refused = done.as_ref().err().map(ToString::to_string);
        self.audit_sign_in(SignInTry {
            operation: "session.sign-in",
            who: done.as_ref().ok().map(|(who, _)| who),
            name: &format!("{} of {}", vouched.subject, vouched.issuer),
            address: from.address,
            request_id: &from.request_id,
            way: "oidc",
            refused: refused.as_deref(),
        })
        .await;
        done.map(|(_, secret)| secret)
    }

    async fn session_of_vouched(&self, vouched: &Vouched, from: &SignInFrom) -> Result<(Principal, Secret)> {
        let user = self.vouched_user(vouched, &from.request_id).await?;
        let who = self.account_of_user(user, vouched.second_factor, None).await?;
        let secret = self.start_session(user, BEGUN_BY, vouched.second_factor, from).await?;
        let mut tx = self.begin().await?;
        users::let_in(&mut tx, user, self.now()).await?;
        commit(tx).await?;
        Ok((who, secret))
    }

    /// The user whom a provider vouches for; made when that is wished, and put into the groups that the provider names, as far
    /// as there are such groups here. Groups that people put the user into stay. Nobody becomes an administrator this way.
    async fn vouched_user(&self, vouched: &Vouched, request_id: &str) -> Result<UserId> {
        let ctx = self.ctx(Principal::Server, request_id);
        let found = users::find_by_oidc(&mut *self.read().await?, &vouched.issuer, &vouched.subject).await?;
        let user = match found {
            Some(user) => user,
            None if vouched.may_create => self.create_vouched(&ctx, vouched).await?,
            None => return Err(Error::Unauthenticated("no user here is the one that the provider vouches for")),
        };
        if user.disabled {
            return Err(Error::Unauthenticated("the user is disabled; ask an administrator"));
        }
        if let Some(groups) = &vouched.groups {
            self.vouched_groups(&ctx, vouched, &user, groups).await?;
        }
        Ok(user.id)
    }

    async fn create_vouched(&self, ctx: &OpCtx, vouched: &Vouched) -> Result<UserRecord> {
        let name = vouched.name.clone().unwrap_or_default();
        let about = About::tenancy(format!("user {name} ({} of {})", vouched.subject, vouched.issuer));
        let act = self.act_on(ctx, "user.create", about).await?;
        let made = async {
            let spec = UserSpec {
                name,
                kind: UserKind::User,
                description: String::new(),
                email: vouched.email.clone().unwrap_or_default(),
            };
            let record = UserRecord {
                oidc: Some((vouched.issuer.clone(), vouched.subject.clone())),
                created_by: by(vouched),
                ..self.new_user(ctx, &spec)?
            };
            let mut tx = self.begin().await?;
            insert_user(&mut tx, &record).await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            Ok(record)
        }
        .await;
        act.settle(made).await
    }

    async fn vouched_groups(&self, ctx: &OpCtx, vouched: &Vouched, user: &UserRecord, groups: &[String]) -> Result<()> {
        let mut tx = self.begin().await?;
        let wanted = known_groups(&mut tx, groups).await?;
        let joined: Vec<String> = user_groups::of_user(&mut tx, user.id).await?.into_iter().map(|own| own.id).collect();
        let by = by(vouched);
        let given = user_groups::joined_by(&mut tx, user.id, &by).await?;
        let new: Vec<&(String, String)> = wanted.iter().filter(|(id, _)| !joined.contains(id)).collect();
        let old: Vec<&String> = given.iter().filter(|id| !wanted.iter().any(|(own, _)| own == *id)).collect();
        if new.is_empty() && old.is_empty() {
            return Ok(());
        }
        for (group, _) in &new {
            user_groups::join(&mut tx, group, user.id, &by, ctx.now).await?;
        }
        for group in &old {
            user_groups::leave(&mut tx, group, user.id).await?;
        }
        let names: Vec<&str> = new.iter().map(|(_, name)| name.as_str()).collect();
        let what = format!("user {}: into {:?}, out of {} groups, as {by} says", user.name, names, old.len());
        let act = self.act_on(ctx, "user-group.members", About::tenancy(what)).await?;
        act.allowed(&mut tx).await?;
        Ok(commit(tx).await?)
    }

    /// Says who vouches for a user (`None`: nobody any more): whoever the provider says is that subject signs in as this user.
    pub async fn link_user(&self, ctx: &OpCtx, name: &str, identity: Option<(&str, &str)>) -> Result<UserView> {
        let (act, user) = self.others_act(ctx, "user.edit", name).await?;
        let linked = async {
            if let Some((issuer, subject)) = identity {
                check(issuer, subject)?;
                if user.kind == UserKind::ServiceAccount {
                    return Err(Error::conflict(format!("{} is a service account: nobody signs in as it", user.name)));
                }
            }
            let mut tx = self.begin().await?;
            match users::set_oidc(&mut tx, user.id, identity).await {
                Err(e) if e.is_duplicate() => {
                    return Err(Error::conflict("another user signs in as that subject already; unlink it there first"));
                }
                other => other?,
            }
            // Nobody goes on by the word of whoever vouched until now.
            sessions::end_begun_by(&mut tx, user.id, BEGUN_BY).await?;
            let how = match identity {
                Some((issuer, subject)) => format!("user {} is {subject} of {issuer}", user.name),
                None => format!("user {}: no provider vouches for it", user.name),
            };
            act.allowed_on(&mut tx, &how).await?;
            let stored = users::find(&mut tx, user.id).await?.unwrap_or(user.clone());
            commit(tx).await?;
            user_view(&mut *self.read().await?, stored).await
        }
        .await;
        act.settle(linked).await
    }
}

/// Ids and names of those groups that are here. The group of administrators is kept by people.
async fn known_groups(tx: &mut Tx, names: &[String]) -> Result<Vec<(String, String)>> {
    let stored = user_groups::list(tx).await?;
    let mut known: Vec<(String, String)> = Vec::new();
    for name in names {
        let builtin = find_group(name).filter(|group| group.role != Role::Administrator);
        let own = stored.iter().find(|group| folded_name(&group.name) == folded_name(name));
        let group = builtin.map(|group| (group.id.to_owned(), group.name.to_owned()));
        let group = group.or_else(|| own.map(|group| (group.id.to_string(), group.name.clone())));
        known.extend(group.filter(|(id, _)| !known.iter().any(|(other, _)| other == id)));
    }
    Ok(known)
}

/// Who put a user, or a user into a group.
fn by(vouched: &Vouched) -> String {
    format!("oidc {}", vouched.issuer)
}

fn check(issuer: &str, subject: &str) -> Result<()> {
    let mut problems = Problems::default();
    for (field, text, max) in [("issuer", issuer, ISSUER_MAX_BYTES), ("subject", subject, SUBJECT_MAX_BYTES)] {
        if text.is_empty() {
            problems.add(field, "is empty; it stands in the refusal of the sign-in");
        }
        problems.text(field, text, max);
    }
    Ok(problems.finish()?)
}
