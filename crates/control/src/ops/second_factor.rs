//! The second factor of a user: offered (a secret, sealed under the server's key), confirmed with its first code, taken away by a
//! code or by an administrator. Recovery codes open the door once each.

use drydock_domain::ids::UserId;
use drydock_store::users::SignInSecrets;
use drydock_store::{commit, sessions, users};
use ring::rand::{SecureRandom, SystemRandom};

use super::passwords::own_account;
use super::sessions::end_sign_ins;
use super::users::{UserView, user_view};
use super::{cut, digest};
use crate::context::{OpCtx, Secret};
use crate::error::{Error, Result};
use crate::{Control, totp};

/// Recovery codes, count.
const RECOVERY_CODES: usize = 10;
/// Random bytes of a recovery code (80 bit): 16 letters and digits.
const RECOVERY_BYTES: usize = 10;
/// Letters of a recovery code between two signs, count.
const RECOVERY_GROUP: usize = 4;
/// Version of what is sealed.
const SEALED_VERSION: u64 = 1;

/// A second factor that waits for its first code.
#[derive(Debug, Clone)]
pub struct OfferedFactor {
    /// What an authenticator app reads; it holds the secret.
    pub uri: Secret,
    /// The secret in Base32, for typing.
    pub secret: Secret,
}

fn random(bytes: &mut [u8]) -> Result<()> {
    let none = |_| Error::Internal { doing: "make a secret", source: "the machine gives no random bytes".into() };
    SystemRandom::new().fill(bytes).map_err(none)
}

/// What is authenticated with a sealed secret: one row cannot stand for another.
fn sealed_name(user: UserId) -> String {
    format!("second factor of user {user}")
}

impl Control {
    /// Makes a secret for an authenticator app; it counts once [`Control::confirm_second_factor`] has seen a code of it.
    pub async fn offer_second_factor(&self, ctx: &OpCtx) -> Result<OfferedFactor> {
        let id = own_account(ctx)?;
        let act = self.own_act(ctx, "user.offer-second-factor", format!("user {}", ctx.who.name()));
        let offered = async {
            let mut secret = [0_u8; totp::SECRET_BYTES];
            random(&mut secret)?;
            let hex: String = secret.iter().map(|b| format!("{b:02x}")).collect();
            let sealed = self.policies().key()?.seal(&sealed_name(id), SEALED_VERSION, &hex);
            let sealed = sealed.map_err(|e| Error::Internal { doing: "seal a second factor", source: Box::new(e) })?;
            let mut tx = self.begin().await?;
            if !users::offer_totp(&mut tx, id, &sealed).await? {
                return Err(Error::conflict("there is a second factor already; remove it first"));
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            let uri = totp::uri(&ctx.who.name(), &secret);
            Ok(OfferedFactor { uri: Secret::new(uri), secret: Secret::new(totp::base32(&secret)) })
        }
        .await;
        act.settle(offered).await
    }

    /// Confirms the second factor with its first code; answers the recovery codes, once.
    pub async fn confirm_second_factor(&self, ctx: &OpCtx, code: &str) -> Result<Vec<Secret>> {
        let id = own_account(ctx)?;
        let act = self.own_act(ctx, "user.confirm-second-factor", format!("user {}", ctx.who.name()));
        let confirmed = async {
            let secrets = self.count_try(id, ctx.now).await?;
            let wrong = || Error::invalid("code", "is not the code of this moment; is the telephone's clock right?");
            let secrets = secrets.filter(|s| s.totp_secret.is_some() && !s.totp_confirmed).ok_or_else(wrong)?;
            let secret = self.open_totp(id, &secrets)?;
            let step = totp::matching_step(&secret, code.trim(), ctx.now).ok_or_else(wrong)?;
            let mut codes = Vec::with_capacity(RECOVERY_CODES);
            for _ in 0..RECOVERY_CODES {
                codes.push(recovery_code()?);
            }
            let digests: Vec<String> = codes.iter().map(|code| digest(&plain(code))).collect();
            let mut tx = self.begin().await?;
            if !users::take_step(&mut tx, id, step).await? || !users::confirm_totp(&mut tx, id).await? {
                return Err(wrong());
            }
            users::put_recovery_codes(&mut tx, id, &digests).await?;
            users::forgive(&mut tx, id).await?;
            if let Some(session) = ctx.who.account().and_then(|own| own.session) {
                sessions::verified(&mut tx, session).await?;
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            Ok(codes.into_iter().map(Secret::new).collect())
        }
        .await;
        act.settle(confirmed).await
    }

    /// Takes one's own second factor away, with a code of it.
    pub async fn remove_second_factor(&self, ctx: &OpCtx, code: &str) -> Result<()> {
        let id = own_account(ctx)?;
        let act = self.own_act(ctx, "user.remove-second-factor", format!("user {}", ctx.who.name()));
        let removed = async {
            let secrets = self.count_try(id, ctx.now).await?;
            let wrong = || Error::invalid("code", "is not the code of this moment, or was used already");
            let secrets = secrets.filter(|s| s.totp_confirmed).ok_or_else(wrong)?;
            let secret = self.open_totp(id, &secrets)?;
            let step = totp::matching_step(&secret, code.trim(), ctx.now).ok_or_else(wrong)?;
            let mut tx = self.begin().await?;
            if !users::take_step(&mut tx, id, step).await? {
                return Err(wrong());
            }
            users::clear_totp(&mut tx, id).await?;
            users::forgive(&mut tx, id).await?;
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(removed).await
    }

    /// Takes somebody's second factor away; whoever signed in with it has to sign in again.
    pub async fn reset_second_factor(&self, ctx: &OpCtx, name: &str) -> Result<UserView> {
        let (act, user) = self.others_act(ctx, "user.reset-second-factor", name).await?;
        let reset = async {
            let mut tx = self.begin().await?;
            users::clear_totp(&mut tx, user.id).await?;
            end_sign_ins(&mut tx, user.id, None).await?;
            act.allowed(&mut tx).await?;
            let after = users::find(&mut tx, user.id).await?;
            commit(tx).await?;
            let after = after.ok_or_else(|| Error::NotFound(format!("user {}", cut(name, 255))))?;
            user_view(&mut *self.read().await?, after).await
        }
        .await;
        act.settle(reset).await
    }

    /// Recovery codes that the caller has left, count.
    pub async fn recovery_codes_left(&self, ctx: &OpCtx) -> Result<i64> {
        let id = own_account(ctx)?;
        Ok(users::recovery_codes(&mut *self.read().await?, id).await?)
    }

    /// The secret of a user's second factor.
    pub(super) fn open_totp(&self, user: UserId, secrets: &SignInSecrets) -> Result<Vec<u8>> {
        let sealed = secrets.totp_secret.as_deref().unwrap_or_default();
        let opened = self.policies().key()?.open(&sealed_name(user), SEALED_VERSION, sealed);
        let hex = opened.map_err(|e| Error::Internal { doing: "open a second factor", source: Box::new(e) })?;
        let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
        let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
        bytes.ok_or_else(|| Error::Internal { doing: "open a second factor", source: "it is damaged".into() })
    }
}

/// `abcd-efgh-…`.
fn recovery_code() -> Result<String> {
    let mut bytes = [0_u8; RECOVERY_BYTES];
    random(&mut bytes)?;
    let letters = totp::base32(&bytes).to_ascii_lowercase();
    let groups: Vec<&str> =
        letters.as_bytes().chunks(RECOVERY_GROUP).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    Ok(groups.join("-"))
}

/// A code without its signs, as it is hashed.
fn plain(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}
