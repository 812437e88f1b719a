//! Users, their groups, tokens and what those may do: across `control` as it is.
#![allow(missing_docs)]

mod common;

use common::*;
use drydock_control::records::PageQuery;
use drydock_control::{ErrorKind, OpCtx, Principal, SignInFrom, TokenAsk, UserEdit};
use drydock_domain::access::Role;
use drydock_domain::access::user::{UserGroupSpec, UserKind, UserSpec};

fn spec(name: &str) -> UserSpec {
    UserSpec { name: name.into(), kind: UserKind::User, description: String::new(), email: String::new() }
}

fn group(name: &str) -> UserGroupSpec {
    UserGroupSpec { name: name.into(), description: String::new() }
}

impl World {
    async fn user(&self, name: &str, groups: &[&str]) {
        self.control.create_user(&self.server(), spec(name)).await.expect("made");
        for group in groups {
            let names = [name.to_owned()];
            self.control.change_user_group_members(&self.server(), group, &names, &[]).await.expect("joined");
        }
    }

    /// Makes a token of this user as the server does, and shows it.
    async fn as_user(&self, name: &str, scope: &[&str]) -> (String, OpCtx) {
        let scope = scope.iter().map(|entry| (*entry).to_owned()).collect();
        let ask = TokenAsk { name: "test".into(), user: Some(name.into()), scope, ..TokenAsk::default() };
        let (_, secret) = self.control.create_access_token(&self.server(), ask).await.expect("made");
        let who = self.control.authenticate(secret.expose()).await.expect("known");
        (secret.expose().to_owned(), self.control.ctx(who, "req"))
    }
}

fn kind<T: std::fmt::Debug>(result: drydock_control::Result<T>) -> ErrorKind {
    result.expect_err("refused").kind()
}

#[tokio::test]
async fn a_user_has_the_rights_of_its_groups_from_the_next_request_on() {
    let w = World::new().await;
    w.user("ann", &["Viewers"]).await;
    let (secret, ann) = w.as_user("ann", &[]).await;
    let me = w.control.whoami(&ann).await.expect("known");
    assert_eq!((me.name.as_str(), me.kind, me.groups.join(" ")), ("ann", "user", "Viewers".to_owned()));
    w.control.list_groups(&ann).await.expect("a viewer reads");
    assert_eq!(kind(w.control.create_user(&ann, spec("bob")).await), ErrorKind::Forbidden);
    let names = ["ANN".to_owned()];
    let group = w.control.change_user_group_members(&w.server(), "viewers", &[], &names).await.expect("left");
    assert_eq!(group.members, 0);
    let again = w.control.ctx(w.control.authenticate(&secret).await.expect("known"), "req");
    assert_eq!(kind(w.control.list_groups(&again).await), ErrorKind::Forbidden);
}

#[tokio::test]
async fn what_belongs_to_a_disabled_or_deleted_user_lets_nobody_in() {
    let w = World::new().await;
    w.user("ann", &["Viewers"]).await;
    let (secret, _) = w.as_user("ann", &[]).await;
    let disable = |disabled| UserEdit { disabled: Some(disabled), ..UserEdit::default() };
    assert!(w.control.edit_user(&w.server(), "ann", &disable(true)).await.expect("edited").user.disabled);
    assert_eq!(kind(w.control.authenticate(&secret).await), ErrorKind::Unauthenticated);
    w.control.edit_user(&w.server(), "ann", &disable(false)).await.expect("edited");
    w.control.authenticate(&secret).await.expect("let in again");
    w.control.delete_user(&w.server(), "ann").await.expect("deleted");
    assert_eq!(kind(w.control.authenticate(&secret).await), ErrorKind::Unauthenticated);
    let audit = w.audit().await;
    assert!(audit.iter().any(|a| a.operation == "user.edit" && a.resource == "user ann, disabled"));
}

#[tokio::test]
async fn a_narrowed_token_gives_no_more_than_it_says_and_makes_no_wider_one() {
    let w = World::new().await;
    w.user("ann", &["Administrators"]).await;
    let (_, ann) = w.as_user("ann", &["read drydock-family", "{DRYDOCK_ACCESS_TOKEN_CREATE}"]).await;
    w.control.list_users(&ann, &PageQuery::default()).await.expect("reading is in it");
    assert_eq!(kind(w.control.create_user(&ann, spec("bob")).await), ErrorKind::Forbidden);
    let own = |scope: &[&str]| TokenAsk {
        name: "t".into(),
        scope: scope.iter().map(|entry| (*entry).to_owned()).collect(),
        ..TokenAsk::default()
    };
    assert_eq!(kind(w.control.create_access_token(&ann, own(&[])).await), ErrorKind::Forbidden);
    assert_eq!(kind(w.control.create_access_token(&ann, own(&["use drydock-instances"])).await), ErrorKind::Forbidden);
    w.control.create_access_token(&ann, own(&["read drydock-instances"])).await.expect("within its own");
    let role = TokenAsk { role: Some(Role::Viewer), ..own(&[]) };
    assert_eq!(kind(w.control.create_access_token(&ann, role).await), ErrorKind::Forbidden);
    assert_eq!(
        kind(w.control.create_access_token(&w.server(), TokenAsk { user: Some("ann".into()), ..own(&["x y"]) }).await),
        ErrorKind::Invalid
    );
}

#[tokio::test]
async fn a_narrowed_token_takes_nothing_from_its_user_and_is_outlived_by_none_it_makes() {
    let w = World::new().await;
    w.user("ann", &["Viewers"]).await;
    let (_, whole) = w.as_user("ann", &[]).await;
    let key = w.control.add_api_key(&whole, "ann", include_str!("fixtures/known_key.pem")).await.expect("added").record;
    let user = w.control.get_user(&whole, "ann").await.expect("read").user.id;
    let session = w.control.start_session(user, "oidc", false, &SignInFrom::default()).await.expect("a session");
    let session = w.control.open_session(session.expose(), false).await.expect("asked").expect("alive").id;
    let ends = w.control.now().checked_add(jiff::SignedDuration::from_hours(1)).ok();
    let scope = vec!["read drydock-family".to_owned()];
    let ask = |expires_at| TokenAsk { name: "ci".into(), scope: scope.clone(), expires_at, ..TokenAsk::default() };
    let (own, secret) = w.control.create_access_token(&whole, ask(ends)).await.expect("made");
    let ci = w.control.ctx(w.control.authenticate(secret.expose()).await.expect("known"), "req");

    assert_eq!(kind(w.control.delete_api_key(&ci, "ann", &key.fingerprint).await), ErrorKind::Forbidden);
    assert_eq!(kind(w.control.revoke_session(&ci, session).await), ErrorKind::Forbidden);
    let others = w.control.list_access_tokens(&whole, Some("ann"), &PageQuery::default()).await.expect("read").items;
    let other = others.iter().find(|token| token.id != own.id).expect("the first one").id;
    assert_eq!(kind(w.control.revoke_access_token(&ci, other).await), ErrorKind::Forbidden);

    assert_eq!(kind(w.control.create_access_token(&ci, ask(None)).await), ErrorKind::Forbidden);
    let later = ends.and_then(|ends| ends.checked_add(jiff::SignedDuration::from_secs(1)).ok());
    assert_eq!(kind(w.control.create_access_token(&ci, ask(later)).await), ErrorKind::Forbidden);
    w.control.create_access_token(&ci, ask(ends)).await.expect("as long as itself");
    w.control.revoke_access_token(&ci, own.id).await.expect("it may end itself");
}

#[tokio::test]
async fn everybody_looks_after_their_own_tokens_and_nobody_elses() {
    let w = World::new().await;
    w.user("ann", &["Viewers"]).await;
    w.user("bob", &["Viewers"]).await;
    let (_, ann) = w.as_user("ann", &[]).await;
    w.as_user("bob", &[]).await;
    let ask = |user: Option<&str>| TokenAsk { name: "laptop".into(), user: user.map(str::to_owned), ..TokenAsk::default() };
    let (made, secret) = w.control.create_access_token(&ann, ask(None)).await.expect("for herself");
    assert_eq!(made.user.as_ref().map(|user| user.name.as_str()), Some("ann"));
    assert_eq!(w.control.authenticate(secret.expose()).await.expect("known").name(), "ann");
    let listed = w.control.list_access_tokens(&ann, Some("ann"), &PageQuery::default()).await.expect("her own").items;
    assert_eq!(listed.len(), 2);
    assert_eq!(kind(w.control.list_access_tokens(&ann, None, &PageQuery::default()).await), ErrorKind::Forbidden);
    // Whoever may not see users is not told which there are.
    let others = w.control.list_access_tokens(&ann, Some("bob"), &PageQuery::default()).await.expect_err("refused");
    let nobody = w.control.list_access_tokens(&ann, Some("nob"), &PageQuery::default()).await.expect_err("refused");
    assert_eq!(others.to_string().replace("bob", "nob"), nobody.to_string());
    assert!(w.control.create_access_token(&ann, ask(Some("bob"))).await.is_err());
    let all = w.control.list_access_tokens(&w.server(), Some("bob"), &PageQuery::default()).await.expect("read").items;
    assert_eq!(kind(w.control.revoke_access_token(&ann, all[0].id).await), ErrorKind::Forbidden);
    w.control.revoke_access_token(&ann, made.id).await.expect("her own");
    assert!(w.control.authenticate(secret.expose()).await.is_err());
}

#[tokio::test]
async fn only_administrators_act_on_administrators_and_one_always_stays() {
    let w = World::new().await;
    w.user("root", &["Administrators"]).await;
    w.control.create_user_group(&w.server(), group("helpdesk")).await.expect("made");
    w.user("help", &["helpdesk"]).await;
    let statements = "allow group helpdesk to manage drydock-users in tenancy\n\
                      allow group helpdesk to manage drydock-user-groups in tenancy\n\
                      allow group helpdesk to manage drydock-access-tokens in tenancy";
    w.control.create_access_policy(&w.server(), "helpdesk", "/", "", statements).await.expect("made");
    let (_, help) = w.as_user("help", &[]).await;
    w.control.create_user(&help, spec("ann")).await.expect("that is what they are for");
    let token = |user: &str| TokenAsk { name: "t".into(), user: Some(user.into()), ..TokenAsk::default() };
    w.control.create_access_token(&help, token("ann")).await.expect("for others");
    assert_eq!(kind(w.control.create_access_token(&help, token("root")).await), ErrorKind::Forbidden);
    let myself = ["help".to_owned()];
    let promoted = w.control.change_user_group_members(&help, "Administrators", &myself, &[]).await;
    assert_eq!(kind(promoted), ErrorKind::Forbidden);
    let role = TokenAsk { role: Some(Role::Operator), ..TokenAsk { name: "t".into(), ..TokenAsk::default() } };
    assert_eq!(kind(w.control.create_access_token(&help, role).await), ErrorKind::Forbidden);
    let disable = UserEdit { disabled: Some(true), ..UserEdit::default() };
    assert_eq!(kind(w.control.edit_user(&help, "root", &disable).await), ErrorKind::Forbidden);
    assert_eq!(kind(w.control.delete_user(&help, "root").await), ErrorKind::Forbidden);

    // Nobody else is left, not even a token of that role.
    let root = ["root".to_owned()];
    assert_eq!(kind(w.control.edit_user(&w.server(), "root", &disable).await), ErrorKind::Conflict);
    assert_eq!(kind(w.control.delete_user(&w.server(), "root").await), ErrorKind::Conflict);
    assert_eq!(kind(w.control.change_user_group_members(&w.server(), "administrators", &[], &root).await), ErrorKind::Conflict);
    let (_, root_ctx) = w.as_user("root", &[]).await;
    assert_eq!(kind(w.control.delete_user(&root_ctx, "root").await), ErrorKind::Conflict, "nobody deletes themselves");
    w.control.bootstrap_admin_token("rescue", Role::Administrator).await.expect("made");
    w.control.delete_user(&w.server(), "root").await.expect("a token is left");
    let tokens = w.control.list_access_tokens(&w.server(), None, &PageQuery::default()).await.expect("read").items;
    let rescue = tokens.iter().find(|token| token.name == "rescue").expect("listed").id;
    assert_eq!(kind(w.control.revoke_access_token(&w.server(), rescue).await), ErrorKind::Conflict, "the last way in");
    w.control.bootstrap_admin_token("another", Role::Administrator).await.expect("made");
    w.control.revoke_access_token(&w.server(), rescue).await.expect("another one is left");
}

#[tokio::test]
async fn groups_are_named_once_in_any_case_and_the_built_in_ones_stay() {
    let w = World::new().await;
    let ctx = w.server();
    w.control.create_user_group(&ctx, group("Team-A")).await.expect("made");
    assert_eq!(kind(w.control.create_user_group(&ctx, group("team-a")).await), ErrorKind::Conflict);
    assert_eq!(kind(w.control.create_user_group(&ctx, group("operators")).await), ErrorKind::Invalid);
    assert_eq!(kind(w.control.delete_user_group(&ctx, "Viewers").await), ErrorKind::Conflict);
    let names: Vec<String> = w.control.list_user_groups(&ctx).await.expect("read").into_iter().map(|g| g.name).collect();
    assert_eq!(names, ["Administrators", "Operators", "Viewers", "Team-A"]);
    let nobody = ["nobody".to_owned()];
    let refused = w.control.change_user_group_members(&ctx, "team-a", &nobody, &[]).await.expect_err("refused");
    assert!(refused.to_string().contains("add[0]: there is no user nobody"), "{refused}");
    w.user("ann", &["team-a"]).await;
    assert_eq!(w.control.get_user(&ctx, "ann").await.expect("read").groups, ["Team-A"]);
    assert_eq!(w.control.edit_user_group(&ctx, "TEAM-a", "new").await.expect("edited").description, "new");
    let members = w.control.user_group_members(&ctx, "Team-A", &PageQuery::default()).await.expect("read").items;
    assert_eq!(members.len(), 1);
    w.control.delete_user_group(&ctx, "Team-A").await.expect("deleted");
    assert!(w.control.get_user(&ctx, "ann").await.expect("read").groups.is_empty());
    assert_eq!(kind(w.control.get_user_group(&w.control.ctx(Principal::Server, "t"), "Team-A").await), ErrorKind::NotFound);
}
