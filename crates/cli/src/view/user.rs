//! Users, their groups, sessions.

use comfy_table::Table;
use drydock_api::rest::{Session, User, UserGroup, UserGroupMember};
use drydock_domain::access::user::UserKind;
use jiff::Timestamp;

use super::{facts, some};
use crate::text::{ago, ago_or, clean, or_dash, state_cell, table};

/// What a user's account is in.
fn state(user: &User, now: Timestamp) -> &'static str {
    match user {
        _ if user.disabled => "DISABLED",
        _ if user.locked_until.is_some_and(|until| until > now) => "LOCKED",
        _ => "ACTIVE",
    }
}

/// What a user signs in with.
fn signs_in(user: &User) -> String {
    let password = match (user.has_password, user.password_expired) {
        (true, true) => Some("one-time password"),
        (true, false) => Some("password"),
        (false, _) => None,
    };
    let all = [password, user.second_factor.then_some("code"), user.oidc_issuer.as_ref().map(|_| "oidc")];
    all.into_iter().flatten().collect::<Vec<_>>().join(" + ")
}

/// The list.
pub fn users(items: &[User], now: Timestamp) -> Table {
    let mut rows = table(&["NAME", "STATE", "GROUPS", "SIGNS IN WITH", "LAST SIGN-IN", "DESCRIPTION"]);
    for user in items {
        let with = match user.kind {
            UserKind::User => or_dash(&signs_in(user)),
            UserKind::ServiceAccount => "(service account)".to_owned(),
        };
        rows.add_row([
            clean(&user.name).into(),
            state_cell(state(user, now)),
            or_dash(&user.groups.join(" ")).into(),
            with.into(),
            ago_or(user.last_sign_in_at, now, "never").into(),
            or_dash(&user.description).into(),
        ]);
    }
    rows
}

/// One user.
pub fn user(found: &User, now: Timestamp) -> String {
    let noun = match found.kind {
        UserKind::User => "User",
        UserKind::ServiceAccount => "Service account",
    };
    let mut text = format!("{noun} {}\n", clean(&found.name));
    text += &facts(&[
        ("id", Some(found.id.to_string())),
        ("description", some(&found.description)),
        ("address", some(&found.email)),
        ("state", Some(state(found, now).to_owned())),
        ("locked", found.locked_until.filter(|until| *until > now).map(|until| format!("until {until}"))),
        ("groups", Some(or_dash(&found.groups.join(", ")))),
        ("signs in with", some(&signs_in(found))),
        ("password", found.password_changed_at.map(|at| format!("set {}", ago(at, now)))),
        ("vouched for by", found.oidc_issuer.as_deref().map(clean)),
        ("last sign-in", Some(ago_or(found.last_sign_in_at, now, "never"))),
        ("made", Some(format!("{} by {}", ago(found.created_at, now), clean(&found.created_by)))),
    ]);
    text
}

/// The list of groups.
pub fn groups(items: &[UserGroup]) -> Table {
    let mut rows = table(&["NAME", "MEMBERS", "DESCRIPTION"]);
    for group in items {
        rows.add_row([clean(&group.name), group.members.to_string(), or_dash(&group.description)]);
    }
    rows
}

/// One group, without its members.
pub fn group(found: &UserGroup) -> String {
    let mut text = format!("User group {}\n", clean(&found.name));
    text += &facts(&[
        ("id", Some(clean(&found.id))),
        ("description", some(&found.description)),
        ("members", Some(found.members.to_string())),
        (
            "made",
            Some(
                found.created_by.as_deref().map_or_else(|| "comes with the server".to_owned(), |by| format!("by {}", clean(by))),
            ),
        ),
    ]);
    text
}

/// Its members.
pub fn members(items: &[UserGroupMember], now: Timestamp) -> Table {
    let mut rows = table(&["USER", "STATE", "SINCE", "PUT IN BY"]);
    for member in items {
        rows.add_row([
            clean(&member.name).into(),
            state_cell(if member.disabled { "DISABLED" } else { "ACTIVE" }),
            ago(member.added_at, now).into(),
            clean(&member.added_by).into(),
        ]);
    }
    rows
}

/// The list of sessions.
pub fn sessions(items: &[Session], now: Timestamp) -> Table {
    let mut rows = table(&["ID", "USER", "SIGNED IN", "LAST USED", "WITH", "FROM"]);
    for session in items {
        let code = if session.second_factor { " + code" } else { "" };
        rows.add_row([
            session.id.to_string(),
            clean(&session.user),
            ago(session.created_at, now),
            ago(session.used_at, now),
            format!("{}{code}", clean(&session.way)),
            or_dash(&session.address),
        ]);
    }
    rows
}
