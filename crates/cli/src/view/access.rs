//! Access tokens.

use comfy_table::Table;
use drydock_api::rest::AccessToken;
use jiff::Timestamp;

use crate::text::{ago_or, clean, state_cell, table};

/// What a token stands for: its role, or its user.
pub fn whose(token: &AccessToken) -> String {
    let narrowed = if token.scope.is_empty() { "" } else { ", narrowed" };
    match (&token.user, token.role) {
        (Some(user), _) => format!("user {}{narrowed}", clean(user)),
        (None, Some(role)) => format!("{}{narrowed}", role.as_str()),
        (None, None) => "-".to_owned(),
    }
}

/// The list of access tokens.
pub fn tokens(items: &[AccessToken], now: Timestamp) -> Table {
    let mut rows = table(&["ID", "NAME", "WHOSE", "STATE", "LAST USED", "EXPIRES"]);
    for token in items {
        let state = match token.expires_at {
            _ if token.revoked => "REVOKED",
            Some(end) if end <= now => "EXPIRED",
            _ => "ACTIVE",
        };
        rows.add_row([
            token.id.to_string().into(),
            clean(&token.name).into(),
            whose(token).into(),
            state_cell(state),
            ago_or(token.last_used_at, now, "never").into(),
            ago_or(token.expires_at, now, "never").into(),
        ]);
    }
    rows
}
