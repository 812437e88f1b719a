//! Signing in with a password and, for who has one, a second factor. Whoever fails learns nothing: not whether there is such a
//! user, whether the password was right, whether the account is locked; all of it takes the same time.

use std::net::IpAddr;
use std::time::Duration;

use drydock_domain::access::user::{ACCOUNT_NAME_MAX_BYTES, PASSWORD_MAX_BYTES, UserKind, check_password};
use drydock_domain::ids::{AccessTokenId, UserId};
use drydock_domain::limits::DISPLAY_NAME_MAX_BYTES;
use drydock_store::records::{AccessTokenRecord, TokenUser};
use drydock_store::users::{SignInSecrets, UserRecord};
use drydock_store::{commit, users};
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep_until};

use super::sessions::end_sign_ins;
use super::{cut, digest};
use crate::audit_part::SignInTry;
use crate::context::Secret;
use crate::error::{Error, Result};
use crate::{Control, totp};

/// Failures before a user is locked out, count.
const FAILURES_FREE: i64 = 5;
/// Locked out first for this long, seconds; twice as long after each further failure …
const LOCKED_FIRST_SECS: i64 = 60;
/// … at most, seconds.
const LOCKED_MAX_SECS: i64 = 3600;
/// A token got with a password is good for this long, hours: a working day.
const TOKEN_HOURS: i64 = 12;
/// A refusal is answered after so long. What it was about (there is no such user, it is locked out, its password was wrong)
/// takes some milliseconds more or less, which many tries would tell apart.
pub const REFUSAL_TAKES: Duration = Duration::from_millis(250);
/// Longest code read, bytes: a recovery code with its signs.
const CODE_MAX_BYTES: usize = 64;

/// The one refusal.
const REFUSED: Error = Error::Unauthenticated(
    "name, password or code is wrong, or there were too many failures: after five, a user waits a minute, then twice as long each time",
);

/// Who tries to sign in, and from where.
#[derive(Debug, Clone, Default)]
pub struct SignInFrom {
    /// The peer.
    pub address: Option<IpAddr>,
    /// The request.
    pub request_id: String,
    /// What a browser says of itself.
    pub user_agent: String,
}

/// What they show.
#[derive(Debug)]
pub struct SignInAsk {
    /// Name of the user.
    pub name: String,
    /// The password.
    pub password: Secret,
    /// The code of the second factor, or a recovery code.
    pub code: Option<String>,
    /// Another password, for who has to choose one.
    pub new_password: Option<Secret>,
}

/// Somebody who has signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who.
    pub user: UserRecord,
    /// They showed a second factor.
    pub second_factor: bool,
}

/// What a right password was shown with.
enum Factor {
    /// The user has no second one.
    None,
    /// The code of this step.
    Step(i64),
    /// A recovery code, as it is stored.
    Recovery(String),
}

impl Control {
    /// Signs in with a password. Who has to choose another one and gives none is told so (`newPassword`).
    pub async fn sign_in(&self, from: &SignInFrom, ask: &SignInAsk) -> Result<SignedIn> {
        let now = self.now();
        let answer_at = Instant::now() + REFUSAL_TAKES;
        let done = self.try_sign_in(ask, now).await;
        if matches!(done, Err(Error::Unauthenticated(_))) {
            sleep_until(answer_at).await;
        }
        let way = if ask.code.is_some() { "password and code" } else { "password" };
        let principal = match &done {
            Ok(signed) => Some(self.account_of_user(signed.user.id, signed.second_factor, None).await?),
            Err(_) => None,
        };
        let refused = done.as_ref().err().map(ToString::to_string);
        self.audit_sign_in(SignInTry {
            operation: "session.sign-in",
            who: principal.as_ref(),
            name: cut(&ask.name, ACCOUNT_NAME_MAX_BYTES),
            address: from.address,
            request_id: &from.request_id,
            way,
            refused: refused.as_deref(),
        })
        .await;
        done
    }

    async fn try_sign_in(&self, ask: &SignInAsk, now: Timestamp) -> Result<SignedIn> {
        let place = self.passwords().place()?;
        let candidate = self.candidate(&ask.name, now).await?;
        let hash = candidate.as_ref().and_then(|(_, secrets)| secrets.password_hash.clone());
        let too_long = ask.password.expose().len() > PASSWORD_MAX_BYTES;
        let shown = if too_long { Secret::new("") } else { ask.password.clone() };
        let right = self.passwords().verify(place, &shown, hash).await? && !too_long;
        let Some((user, secrets)) = candidate.filter(|_| right) else { return Err(REFUSED) };
        let factor = self.factor(&user, &secrets, ask.code.as_deref(), now).await?.ok_or(REFUSED)?;
        if user.password_expired || ask.new_password.is_some() {
            // They are who they say; a new password that is not taken is no failure.
            self.forgive(user.id).await?;
        }
        if user.password_expired && ask.new_password.is_none() {
            return Err(Error::invalid("newPassword", "this password is good for one sign-in only: choose another one"));
        }
        let new_hash = match &ask.new_password {
            Some(new) => Some(self.new_hash("newPassword", &user, &shown, new).await?),
            None => None,
        };
        let mut tx = self.begin().await?;
        let fresh = match &factor {
            Factor::None => true,
            Factor::Step(step) => users::take_step(&mut tx, user.id, *step).await?,
            Factor::Recovery(code) => users::use_recovery_code(&mut tx, user.id, code).await?,
        };
        if !fresh {
            return Err(REFUSED);
        }
        if let Some(hash) = new_hash {
            users::set_password(&mut tx, user.id, Some(&hash), false, now).await?;
            end_sign_ins(&mut tx, user.id, None).await?;
        }
        users::signed_in(&mut tx, user.id, now).await?;
        commit(tx).await?;
        Ok(SignedIn { second_factor: !matches!(factor, Factor::None), user })
    }

    /// Whoever may try a password now. The try is counted before it is known how it ends: many at once are so many.
    async fn candidate(&self, name: &str, now: Timestamp) -> Result<Option<(UserRecord, SignInSecrets)>> {
        if name.is_empty() || name.len() > ACCOUNT_NAME_MAX_BYTES {
            return Ok(None);
        }
        let found = users::find_by_name(&mut *self.read().await?, name).await?;
        let may = |user: &UserRecord| user.kind == UserKind::User && !user.disabled && user.has_password;
        let Some(user) = found.filter(may) else { return Ok(None) };
        let secrets = self.count_try(user.id, now).await?;
        Ok(secrets.map(|secrets| (user, secrets)))
    }

    /// Counts a try with the password of a user; `None`: it is locked out.
    pub(super) async fn count_try(&self, user: UserId, now: Timestamp) -> Result<Option<SignInSecrets>> {
        let mut tx = self.begin().await?;
        let count = users::failed(&mut tx, user).await?;
        let Some(secrets) = users::secrets(&mut tx, user).await? else { return Ok(None) };
        if secrets.locked_until.is_some_and(|until| until > now) {
            return Ok(None);
        }
        users::lock(&mut tx, user, locked_until(count, now)).await?;
        commit(tx).await?;
        Ok(Some(secrets))
    }

    /// The last try was right, after all.
    pub(super) async fn forgive(&self, user: UserId) -> Result<()> {
        let mut tx = self.begin().await?;
        users::forgive(&mut tx, user).await?;
        Ok(commit(tx).await?)
    }

    /// What is shown beside a right password; `None`: nothing good, and something was needed. It is used up later: whoever has
    /// to choose another password shows it once more.
    async fn factor(
        &self,
        user: &UserRecord,
        secrets: &SignInSecrets,
        code: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Factor>> {
        if !secrets.totp_confirmed {
            return Ok(Some(Factor::None));
        }
        let code: String = code.unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        if code.is_empty() || code.len() > CODE_MAX_BYTES {
            return Ok(None);
        }
        let secret = self.open_totp(user.id, secrets)?;
        if let Some(step) = totp::matching_step(&secret, &code, now) {
            return Ok((step > secrets.totp_last_step).then_some(Factor::Step(step)));
        }
        let recovery = digest(&code.to_ascii_lowercase());
        let is_one = users::is_recovery_code(&mut *self.read().await?, user.id, &recovery).await?;
        Ok(is_one.then_some(Factor::Recovery(recovery)))
    }

    /// The hash of a password that somebody chose in place of another one.
    pub(super) async fn new_hash(&self, field: &str, user: &UserRecord, old: &Secret, new: &Secret) -> Result<String> {
        check_password(field, &user.name, new.expose())?;
        if old == new {
            return Err(Error::invalid(field, "is the one until now; choose another one"));
        }
        self.passwords().hash(new).await
    }

    /// Signs in with a password for an access token that is good for half a day.
    pub async fn sign_in_for_token(&self, from: &SignInFrom, ask: &SignInAsk, name: &str) -> Result<(AccessTokenRecord, Secret)> {
        let signed = self.sign_in(from, ask).await?;
        let now = self.now();
        let name = if name.trim().is_empty() { "sign-in" } else { cut(name, DISPLAY_NAME_MAX_BYTES) };
        let record = AccessTokenRecord {
            id: AccessTokenId(self.mint(now)),
            name: name.chars().filter(|c| !c.is_control()).collect(),
            role: None,
            user: Some(TokenUser { id: signed.user.id, name: signed.user.name.clone() }),
            scope: Vec::new(),
            second_factor: signed.second_factor,
            signed_in: true,
            created_by: format!("user {}", signed.user.id),
            expires_at: now.checked_add(SignedDuration::from_hours(TOKEN_HOURS)).ok(),
            created_at: now,
            last_used_at: None,
            revoked: false,
        };
        let mut tx = self.begin().await?;
        let secret = self.store_token(&mut tx, &record, now).await?;
        commit(tx).await?;
        Ok((record, secret))
    }
}

/// Until when a user is locked out after so many failures.
fn locked_until(failures: i64, now: Timestamp) -> Option<Timestamp> {
    let doubled = u32::try_from(failures - FAILURES_FREE).ok()?;
    let secs = LOCKED_FIRST_SECS.checked_shl(doubled.min(16)).unwrap_or(LOCKED_MAX_SECS).min(LOCKED_MAX_SECS);
    now.checked_add(SignedDuration::from_secs(secs)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_cost_a_minute_and_each_further_one_twice_as_long_up_to_an_hour() {
        let now = Timestamp::UNIX_EPOCH;
        let secs = |failures| locked_until(failures, now).map(Timestamp::as_second);
        assert_eq!((secs(1), secs(4)), (None, None));
        assert_eq!([5, 6, 7, 10, 11, 12, 80].map(secs), [60, 120, 240, 1920, 3600, 3600, 3600].map(Some));
    }
}
