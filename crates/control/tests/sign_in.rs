//! Passwords, lock-out, second factor, sessions: across `control` as it is, with a clock that the test sets.
#![allow(missing_docs)]

mod common;

use common::*;
use drydock_control::records::PageQuery;
use drydock_control::{ErrorKind, OpCtx, Secret, SignInAsk, SignInFrom, TokenAsk, UserEdit, Vouched, WhoseSessions};
use drydock_domain::access::user::{UserKind, UserSpec};
use drydock_domain::ids::UserId;

const PASSWORD: &str = "unten rot acht mauer";
const OTHER: &str = "gelber hund neben dach";

fn ask(name: &str, password: &str) -> SignInAsk {
    SignInAsk { name: name.into(), password: Secret::new(password), code: None, new_password: None }
}

fn with_code(name: &str, password: &str, code: &str) -> SignInAsk {
    SignInAsk { code: Some(code.into()), ..ask(name, password) }
}

fn from() -> SignInFrom {
    SignInFrom { address: "192.0.2.1".parse().ok(), request_id: "req-1".into(), user_agent: "a browser".into() }
}

impl World {
    /// A user with a password that is good for more than one sign-in.
    async fn somebody(&self, name: &str) -> UserId {
        let spec = UserSpec { name: name.into(), kind: UserKind::User, description: String::new(), email: String::new() };
        let user = self.control.create_user(&self.server(), spec).await.expect("made").user.id;
        let password = Some(Secret::new(PASSWORD));
        self.control.set_password(&self.server(), name, password, true).await.expect("set");
        user
    }

    async fn turned_away(&self, ask: &SignInAsk) -> String {
        let error = self.control.sign_in(&from(), ask).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        error.to_string()
    }

    /// Signs in as a browser does: the secret of a session, and what its requests carry.
    async fn browser(&self, ask: &SignInAsk) -> (Secret, OpCtx) {
        let signed = self.control.sign_in(&from(), ask).await.expect("let in");
        let started = self.control.start_session(signed.user.id, "password", signed.second_factor, &from()).await;
        let secret = started.expect("a session");
        let ctx = self.of_session(&secret).await.expect("alive");
        (secret, ctx)
    }

    async fn of_session(&self, secret: &Secret) -> Option<OpCtx> {
        let open = self.control.open_session(secret.expose(), true).await.expect("asked")?;
        Some(self.control.ctx(open.who, "req-2"))
    }
}

/// The code of a secret at this moment, computed here by RFC 6238.
fn code(w: &World, base32: &str) -> String {
    let mut bits = 0_u64;
    let (mut have, mut secret) = (0, Vec::new());
    for letter in base32.bytes() {
        let value = if letter.is_ascii_alphabetic() { letter - b'A' } else { letter - b'2' + 26 };
        bits = bits << 5 | u64::from(value);
        have += 5;
        if have >= 8 {
            have -= 8;
            secret.push(u8::try_from(bits >> have & 0xFF).expect("a byte"));
        }
    }
    let step = w.control.now().as_second() / 30;
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &secret);
    let tag = ring::hmac::sign(&key, &step.to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 15);
    let word: [u8; 4] = tag.as_ref()[at..at + 4].try_into().expect("four");
    format!("{:06}", (u32::from_be_bytes(word) & 0x7FFF_FFFF) % 1_000_000)
}

#[tokio::test]
async fn a_password_lets_its_user_in_and_every_refusal_reads_the_same() {
    let w = World::new().await;
    w.somebody("ann").await;
    let (_, ann) = w.browser(&ask("ANN", PASSWORD)).await;
    assert_eq!(w.control.whoami(&ann).await.expect("known").name, "ann");
    let user = w.control.get_user(&w.server(), "ann").await.expect("read").user;
    assert!(user.last_sign_in_at.is_some());

    let wrong = w.turned_away(&ask("ann", OTHER)).await;
    assert_eq!(wrong, w.turned_away(&ask("nobody", PASSWORD)).await);
    assert_eq!(wrong, w.turned_away(&ask("", "")).await);
    assert_eq!(wrong, w.turned_away(&ask("ann", &"x".repeat(10_000))).await);
    let robot =
        UserSpec { name: "robot".into(), kind: UserKind::ServiceAccount, description: String::new(), email: String::new() };
    w.control.create_user(&w.server(), robot).await.expect("made");
    assert_eq!(wrong, w.turned_away(&ask("robot", PASSWORD)).await);
    let none = w.control.set_password(&w.server(), "robot", None, true).await.expect_err("no password for programs");
    assert_eq!(none.kind(), ErrorKind::Conflict);
    let disable = UserEdit { disabled: Some(true), ..UserEdit::default() };
    w.control.edit_user(&w.server(), "ann", &disable).await.expect("disabled");
    assert_eq!(wrong, w.turned_away(&ask("ann", PASSWORD)).await);
    let session = w.control.start_session(user.id, "oidc", false, &from()).await;
    assert_eq!(session.expect_err("whoever vouches for them").kind(), ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn five_failures_lock_a_user_out_and_the_right_password_does_not_help() {
    let w = World::new().await;
    w.somebody("ann").await;
    for _ in 0..5 {
        w.turned_away(&ask("ann", OTHER)).await;
    }
    w.turned_away(&ask("ann", PASSWORD)).await;
    assert!(w.control.get_user(&w.server(), "ann").await.expect("read").user.locked_until.is_some());
    // Tries while locked out do not prolong it.
    w.pass(59);
    w.turned_away(&ask("ann", PASSWORD)).await;
    w.pass(2);
    w.turned_away(&ask("ann", OTHER)).await;
    // The sixth failure: two minutes.
    w.pass(61);
    w.turned_away(&ask("ann", PASSWORD)).await;
    w.pass(60);
    w.browser(&ask("ann", PASSWORD)).await;
    // A good sign-in forgets the failures.
    for _ in 0..4 {
        w.turned_away(&ask("ann", OTHER)).await;
    }
    w.browser(&ask("ann", PASSWORD)).await;
    // An administrator's new password lets a locked user try again.
    for _ in 0..5 {
        w.turned_away(&ask("ann", PASSWORD.trim_start_matches('u'))).await;
    }
    w.control.set_password(&w.server(), "ann", Some(Secret::new(OTHER)), true).await.expect("set");
    w.browser(&ask("ann", OTHER)).await;
}

#[tokio::test]
async fn many_tries_at_once_are_as_many_failures() {
    let w = World::new().await;
    w.somebody("ann").await;
    let ask = ask("ann", OTHER);
    let from = from();
    let tries = (0..8).map(|_| w.control.sign_in(&from, &ask));
    for one in futures_join(tries).await {
        assert!(one.is_err());
    }
    w.turned_away(&self::ask("ann", PASSWORD)).await;
}

/// All of them, at the same time.
async fn futures_join<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|cx| {
        let mut open = false;
        for (one, done) in &mut pending {
            if done.is_none() {
                match one.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *done = Some(value),
                    std::task::Poll::Pending => open = true,
                }
            }
        }
        if open { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    pending.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test]
async fn a_password_from_an_administrator_is_good_for_one_sign_in() {
    let w = World::new().await;
    w.somebody("ann").await;
    let (session, _) = w.browser(&ask("ann", PASSWORD)).await;
    let (view, made_up) = w.control.set_password(&w.server(), "ann", None, false).await.expect("set");
    let once = made_up.expect("made up");
    assert!(view.user.password_expired && once.expose().len() >= 20);
    assert!(w.of_session(&session).await.is_none(), "their sessions ended");
    let again = w.control.sign_in(&from(), &ask("ann", once.expose())).await.expect_err("has to choose another");
    assert_eq!((again.kind(), again.fields()[0].field.as_str()), (ErrorKind::Invalid, "newPassword"));
    let choose = |new: &str| SignInAsk { new_password: Some(Secret::new(new)), ..ask("ann", once.expose()) };
    for weak in ["kurz", once.expose(), "password1234"] {
        let error = w.control.sign_in(&from(), &choose(weak)).await.expect_err("weak");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(!error.to_string().contains(weak), "{error}");
    }
    w.browser(&choose(OTHER)).await;
    w.browser(&ask("ann", OTHER)).await;
    w.turned_away(&ask("ann", once.expose())).await;
    let audit = w.audit().await;
    assert!(audit.iter().any(|a| a.operation == "user.set-password" && a.resource == "user ann"));
    let told = format!("{audit:?}");
    assert!(!told.contains(once.expose()) && !told.contains(OTHER), "no password is written down");
}

#[tokio::test]
async fn changing_ones_password_asks_for_the_old_one_and_ends_other_sessions() {
    let w = World::new().await;
    w.somebody("ann").await;
    let (left_open, _) = w.browser(&ask("ann", PASSWORD)).await;
    let (own, ctx) = w.browser(&ask("ann", PASSWORD)).await;
    let wrong = w.control.change_password(&ctx, &Secret::new(OTHER), &Secret::new(OTHER)).await.expect_err("wrong");
    assert_eq!((wrong.kind(), wrong.fields()[0].field.as_str()), (ErrorKind::Invalid, "oldPassword"));
    w.control.change_password(&ctx, &Secret::new(PASSWORD), &Secret::new(OTHER)).await.expect("changed");
    assert!(w.of_session(&own).await.is_some() && w.of_session(&left_open).await.is_none());
    w.turned_away(&ask("ann", PASSWORD)).await;
    let narrowed = TokenAsk { name: "t".into(), scope: vec!["read drydock-family".into()], ..TokenAsk::default() };
    let (_, token) = w.control.create_access_token(&ctx, narrowed).await.expect("made");
    let program = w.control.ctx(w.control.authenticate(token.expose()).await.expect("known"), "r");
    let refused = w.control.change_password(&program, &Secret::new(OTHER), &Secret::new(PASSWORD)).await.expect_err("narrowed");
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert!(w.control.offer_second_factor(&program).await.is_err());
}

#[tokio::test]
async fn a_second_factor_is_asked_for_and_each_code_is_good_once() {
    let w = World::new().await;
    w.somebody("ann").await;
    let (_, ctx) = w.browser(&ask("ann", PASSWORD)).await;
    let offered = w.control.offer_second_factor(&ctx).await.expect("offered");
    assert!(offered.uri.expose().starts_with("otpauth://totp/Drydock:ann?secret="));
    // It counts for nothing until it is confirmed.
    w.browser(&ask("ann", PASSWORD)).await;
    assert!(w.control.confirm_second_factor(&ctx, "000000").await.is_err());
    let first = code(&w, offered.secret.expose());
    let recovery = w.control.confirm_second_factor(&ctx, &first).await.expect("confirmed");
    assert_eq!(recovery.len(), 10);
    assert_eq!(w.control.offer_second_factor(&ctx).await.expect_err("there is one").kind(), ErrorKind::Conflict);

    w.turned_away(&ask("ann", PASSWORD)).await;
    w.turned_away(&with_code("ann", PASSWORD, &first)).await;
    w.pass(30);
    let second = code(&w, offered.secret.expose());
    w.turned_away(&with_code("ann", OTHER, &second)).await;
    let (_, verified) = w.browser(&with_code("ann", PASSWORD, &second)).await;
    assert!(w.control.whoami(&verified).await.expect("known").second_factor);
    w.turned_away(&with_code("ann", PASSWORD, &second)).await;

    let (_, recovered) = w.browser(&with_code("ann", PASSWORD, recovery[0].expose())).await;
    w.turned_away(&with_code("ann", PASSWORD, recovery[0].expose())).await;
    assert_eq!(w.control.recovery_codes_left(&recovered).await.expect("counted"), 9);
    w.pass(60);
    let third = code(&w, offered.secret.expose());
    let later = w.control.ctx(recovered.who.clone(), "req-3");
    w.control.remove_second_factor(&later, &third).await.expect("removed");
    w.browser(&ask("ann", PASSWORD)).await;

    let offered = w.control.offer_second_factor(&recovered).await.expect("offered");
    w.pass(60);
    let later = w.control.ctx(recovered.who.clone(), "req-4");
    w.control.confirm_second_factor(&later, &code(&w, offered.secret.expose())).await.expect("confirmed");
    w.turned_away(&ask("ann", PASSWORD)).await;
    let reset = w.control.reset_second_factor(&w.server(), "ann").await.expect("reset");
    assert!(!reset.user.second_factor);
    w.browser(&ask("ann", PASSWORD)).await;
    let told = format!("{:?}", w.audit().await);
    assert!(!told.contains(offered.secret.expose()) && !told.contains(recovery[0].expose()), "no secret is written down");
}

/// Ann with a second factor: the secret of it, and the session that confirmed it.
async fn with_factor(w: &World) -> (Secret, Secret, OpCtx) {
    w.somebody("ann").await;
    let (session, ctx) = w.browser(&ask("ann", PASSWORD)).await;
    let offered = w.control.offer_second_factor(&ctx).await.expect("offered");
    w.control.confirm_second_factor(&ctx, &code(w, offered.secret.expose())).await.expect("confirmed");
    (offered.secret, session, ctx)
}

#[tokio::test]
async fn without_the_second_factor_nobody_learns_that_the_password_was_right() {
    let w = World::new().await;
    let (factor, ..) = with_factor(&w).await;
    let used = code(&w, factor.expose());
    let weak = |code: &str| SignInAsk { new_password: Some(Secret::new("kurz")), ..with_code("ann", PASSWORD, code) };
    // No recovery code of hers, and a code that was taken before.
    w.turned_away(&weak("abcd-efgh")).await;
    w.turned_away(&weak(&used)).await;
    w.control.set_password(&w.server(), "ann", Some(Secret::new(OTHER)), false).await.expect("set");
    for _ in 0..5 {
        w.turned_away(&with_code("ann", OTHER, "abcd-efgh")).await;
    }
    let user = w.control.get_user(&w.server(), "ann").await.expect("read").user;
    assert!(user.locked_until.is_some(), "such tries are failures, and none of them forgives the others");
    w.pass(3600);
    let right = with_code("ann", OTHER, &code(&w, factor.expose()));
    let choose = w.control.sign_in(&from(), &right).await.expect_err("has to choose another");
    assert_eq!(choose.kind(), ErrorKind::Invalid);
    w.browser(&SignInAsk { new_password: Some(Secret::new(PASSWORD)), ..right }).await;
}

#[tokio::test]
async fn what_a_second_factor_proved_ends_with_it() {
    let w = World::new().await;
    let (factor, _, _) = with_factor(&w).await;
    let verified = async || {
        w.pass(60);
        w.browser(&with_code("ann", PASSWORD, &code(&w, factor.expose()))).await
    };
    let (session, ctx) = verified().await;
    let (_, token) = w.control.create_access_token(&ctx, own_token()).await.expect("made");
    w.pass(60);
    let ctx = w.control.ctx(ctx.who, "req-3");
    w.control.remove_second_factor(&ctx, &code(&w, factor.expose())).await.expect("removed");
    let still = w.of_session(&session).await.expect("the session goes on");
    assert!(!still.who.account().expect("hers").second_factor);
    let who = w.control.authenticate(token.expose()).await.expect("known");
    assert!(!who.account().expect("hers").second_factor, "the token says no more than the session");

    let offered = w.control.offer_second_factor(&still).await.expect("offered");
    w.pass(60);
    let ctx = w.control.ctx(still.who, "req-4");
    w.control.confirm_second_factor(&ctx, &code(&w, offered.secret.expose())).await.expect("confirmed");
    w.control.reset_second_factor(&w.server(), "ann").await.expect("reset");
    assert!(w.of_session(&session).await.is_none(), "whoever found the telephone is out");
}

fn own_token() -> TokenAsk {
    TokenAsk { name: "t".into(), ..TokenAsk::default() }
}

#[tokio::test]
async fn a_token_got_with_a_password_ends_with_the_password() {
    let w = World::new().await;
    w.somebody("ann").await;
    let get = async |password: &str| {
        let (_, secret) = w.control.sign_in_for_token(&from(), &ask("ann", password), "laptop").await.expect("let in");
        secret
    };
    let good = async |secret: &Secret| w.control.authenticate(secret.expose()).await.is_ok();
    let (own, other) = (get(PASSWORD).await, get(PASSWORD).await);
    let ctx = w.control.ctx(w.control.authenticate(own.expose()).await.expect("known"), "req-3");
    let (_, made) = w.control.create_access_token(&ctx, own_token()).await.expect("made");
    w.control.change_password(&ctx, &Secret::new(PASSWORD), &Secret::new(OTHER)).await.expect("changed");
    assert!(good(&own).await, "the one that changed it stays");
    assert!(!good(&other).await, "whoever knew the old password is out");
    assert!(good(&made).await, "one that was made for a purpose stays");

    let once = w.control.set_password(&w.server(), "ann", None, false).await.expect("set").1.expect("made up");
    assert!(!good(&own).await);
    let choose = SignInAsk { new_password: Some(Secret::new(PASSWORD)), ..ask("ann", once.expose()) };
    let (_, chosen) = w.control.sign_in_for_token(&from(), &choose, "laptop").await.expect("let in");
    assert!(good(&chosen).await);
    let again = SignInAsk { new_password: Some(Secret::new(OTHER)), ..ask("ann", PASSWORD) };
    w.control.sign_in(&from(), &again).await.expect("let in");
    assert!(!good(&chosen).await);

    let before = get(OTHER).await;
    for disabled in [true, false] {
        let edit = UserEdit { disabled: Some(disabled), ..UserEdit::default() };
        w.control.edit_user(&w.server(), "ann", &edit).await.expect("edited");
    }
    assert!(!good(&before).await && good(&made).await, "let in again, they sign in again");
}

#[tokio::test]
async fn a_providers_word_forgives_no_wrong_passwords_and_its_sessions_end_with_the_link() {
    let w = World::new().await;
    w.somebody("ann").await;
    let link = Some(("https://login.example", "s-1"));
    w.control.link_user(&w.server(), "ann", link).await.expect("linked");
    for _ in 0..5 {
        w.turned_away(&ask("ann", OTHER)).await;
    }
    let vouched = Vouched {
        issuer: "https://login.example".into(),
        subject: "s-1".into(),
        name: None,
        email: None,
        groups: None,
        may_create: false,
        second_factor: false,
    };
    let session = w.control.sign_in_vouched(&vouched, &from()).await.expect("let in");
    let user = w.control.get_user(&w.server(), "ann").await.expect("read").user;
    assert!(user.locked_until.is_some() && user.last_sign_in_at.is_some());
    w.turned_away(&ask("ann", PASSWORD)).await;
    assert!(w.of_session(&session).await.is_some());
    w.pass(61);
    let (by_password, _) = w.browser(&ask("ann", PASSWORD)).await;
    w.control.link_user(&w.server(), "ann", None).await.expect("unlinked");
    assert!(w.of_session(&session).await.is_none(), "nobody vouches for it any more");
    assert!(w.of_session(&by_password).await.is_some());

    let robot =
        UserSpec { name: "robot".into(), kind: UserKind::ServiceAccount, description: String::new(), email: String::new() };
    w.control.create_user(&w.server(), robot).await.expect("made");
    let refused = w.control.link_user(&w.server(), "robot", link).await.expect_err("a program sits at no browser");
    assert_eq!(refused.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_crowd_at_the_door_and_weak_choices_lock_nobody_out() {
    let w = World::new().await;
    w.somebody("ann").await;
    let from = from();
    // More than wait for their turn, and behind them the right password: told to come back, and no failure.
    let crowd: Vec<SignInAsk> = std::iter::repeat_with(|| ask("nobody", OTHER)).take(80).collect();
    let right: Vec<SignInAsk> = std::iter::repeat_with(|| ask("ann", PASSWORD)).take(6).collect();
    let answers = futures_join(crowd.iter().chain(&right).map(|ask| w.control.sign_in(&from, ask))).await;
    for answer in answers.into_iter().skip(80) {
        assert_eq!(answer.expect_err("no place").kind(), ErrorKind::Unavailable);
    }
    w.browser(&ask("ann", PASSWORD)).await;
    for _ in 0..6 {
        let weak = SignInAsk { new_password: Some(Secret::new("kurz")), ..ask("ann", PASSWORD) };
        assert_eq!(w.control.sign_in(&from, &weak).await.expect_err("weak").kind(), ErrorKind::Invalid);
    }
    w.browser(&ask("ann", PASSWORD)).await;
}

#[tokio::test]
async fn refusals_take_the_same_time_whoever_is_asked_for() {
    let w = World::new().await;
    w.somebody("ann").await;
    for ask in [ask("nobody", PASSWORD), ask("ann", OTHER), ask("", "")] {
        let began = std::time::Instant::now();
        w.turned_away(&ask).await;
        let took = began.elapsed();
        assert!(took >= drydock_control::REFUSAL_TAKES, "{ask:?}: {took:?}");
    }
}

#[tokio::test]
async fn a_statement_can_ask_for_a_second_factor() {
    let w = World::new().await;
    w.somebody("ann").await;
    let statements = "allow any-user to inspect drydock-users in tenancy where request.user.mfaTotpVerified = 'true'";
    w.control.create_access_policy(&w.server(), "careful", "/", "", statements).await.expect("made");
    let (_, ctx) = w.browser(&ask("ann", PASSWORD)).await;
    assert_eq!(w.control.list_users(&ctx, &PageQuery::default()).await.expect_err("no code").kind(), ErrorKind::Forbidden);
    let offered = w.control.offer_second_factor(&ctx).await.expect("offered");
    w.control.confirm_second_factor(&ctx, &code(&w, offered.secret.expose())).await.expect("confirmed");
    w.pass(30);
    let (_, verified) = w.browser(&with_code("ann", PASSWORD, &code(&w, offered.secret.expose()))).await;
    w.control.list_users(&verified, &PageQuery::default()).await.expect("a code was shown");
    // A token made in that session carries it on.
    let own = TokenAsk { name: "t".into(), ..TokenAsk::default() };
    let (record, _) = w.control.create_access_token(&verified, own).await.expect("made");
    assert!(record.second_factor);
}

#[tokio::test]
async fn sessions_survive_a_restart_end_by_age_and_are_ended_by_hand() {
    let mut w = World::new().await;
    w.somebody("ann").await;
    w.somebody("bob").await;
    let (first, _) = w.browser(&ask("ann", PASSWORD)).await;
    w.restart().await;
    let ann = w.of_session(&first).await.expect("survives");
    let (second, bob) = w.browser(&ask("bob", PASSWORD)).await;
    let own = w.control.list_sessions(&ann, WhoseSessions::Own, &PageQuery::default()).await.expect("read").items;
    assert_eq!((own.len(), own[0].user_name.as_str(), own[0].address.as_str()), (1, "ann", "192.0.2.1"));
    let all = w.control.list_sessions(&w.server(), WhoseSessions::All, &PageQuery::default()).await.expect("read").items;
    assert_eq!(all.len(), 2);
    assert_eq!(
        w.control.list_sessions(&ann, WhoseSessions::All, &PageQuery::default()).await.expect_err("no").kind(),
        ErrorKind::Forbidden
    );
    // Whoever may not see users is not told whether there is such a session.
    let others = w.control.revoke_session(&bob, own[0].id).await.expect_err("not his");
    assert_eq!(others.kind(), ErrorKind::NotFound, "{others}");
    assert!(w.of_session(&first).await.is_some());
    w.control.revoke_session(&ann, own[0].id).await.expect("her own");
    assert!(w.of_session(&first).await.is_none());
    w.control.sign_out(&bob).await.expect("signed out");
    assert!(w.of_session(&second).await.is_none());

    let (idle, _) = w.browser(&ask("ann", PASSWORD)).await;
    let (used, _) = w.browser(&ask("ann", PASSWORD)).await;
    w.pass(drydock_control::SESSION_IDLE_SECS - 60);
    assert!(w.of_session(&used).await.is_some());
    w.pass(61);
    assert!(w.of_session(&idle).await.is_none(), "nobody used it");
    for _ in 0..2 {
        assert!(w.of_session(&used).await.is_some());
        w.pass(drydock_control::SESSION_IDLE_SECS - 60);
    }
    assert!(w.of_session(&used).await.is_some());
    w.pass(120);
    assert!(w.of_session(&used).await.is_none(), "a day is over");
    for wrong in ["", "dds_", "dds_wrong", first.expose()] {
        assert!(w.of_session(&Secret::new(wrong)).await.is_none());
    }
}

#[tokio::test]
async fn a_password_gets_a_token_for_half_a_day() {
    let w = World::new().await;
    w.somebody("ann").await;
    let (record, secret) = w.control.sign_in_for_token(&from(), &ask("ann", PASSWORD), "laptop").await.expect("let in");
    assert_eq!((record.name.as_str(), record.user.map(|user| user.name)), ("laptop", Some("ann".to_owned())));
    assert_eq!(w.control.authenticate(secret.expose()).await.expect("known").name(), "ann");
    w.pass(12 * 3600);
    assert!(w.control.authenticate(secret.expose()).await.is_err());
    assert!(w.control.sign_in_for_token(&from(), &ask("ann", OTHER), "laptop").await.is_err());
}
