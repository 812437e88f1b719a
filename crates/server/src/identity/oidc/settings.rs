//! `[oidc]` of the configuration: one provider. The client's secret is a file, as all secrets are.

use std::path::PathBuf;

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// Longest text of one setting, bytes.
const TEXT_MAX_BYTES: usize = 255;
/// Scopes asked for, count.
const SCOPES_MAX: usize = 20;

/// One OpenID Connect provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSettings {
    /// The issuer, exactly as its discovery document and its tokens say it.
    pub issuer: String,
    /// Under which name the provider knows this server.
    pub client_id: String,
    /// A file with the client's secret; without one this is a public client, which PKCE alone protects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<PathBuf>,
    /// A file with certificate authorities (PEM) that the provider's certificate may come from, besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// What the button says.
    #[serde(default = "default_label")]
    pub label: String,
    /// What is asked for besides `openid`.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// Which claim of the ID token names a user that is made at the first sign-in.
    #[serde(default = "default_name_claim")]
    pub name_claim: String,
    /// Which claim lists the person's groups; without one, groups are kept by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups_claim: Option<String>,
    /// Make a user at the first sign-in; otherwise an administrator makes it beforehand.
    #[serde(default)]
    pub create_users: bool,
}

fn default_label() -> String {
    "Sign in with OpenID Connect".to_owned()
}

fn default_scopes() -> Vec<String> {
    vec!["profile".to_owned(), "email".to_owned()]
}

fn default_name_claim() -> String {
    "preferred_username".to_owned()
}

impl OidcSettings {
    /// What is wrong, by key.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        if let Err(problem) = usable(&self.issuer) {
            wrong.push(("oidc.issuer", problem));
        }
        let is_text = |text: &str| (1..=TEXT_MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        let mut text = |key, value: &str| {
            if !is_text(value) {
                wrong.push((key, format!("{value:?} is empty, longer than {TEXT_MAX_BYTES} bytes, or has control characters")));
            }
        };
        text("oidc.client_id", &self.client_id);
        text("oidc.label", &self.label);
        text("oidc.name_claim", &self.name_claim);
        if let Some(claim) = &self.groups_claim {
            text("oidc.groups_claim", claim);
        }
        let is_scope =
            |scope: &String| is_text(scope) && scope.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
        if self.scopes.len() > SCOPES_MAX || !self.scopes.iter().all(is_scope) {
            wrong.push(("oidc.scopes", format!("are at most {SCOPES_MAX} words without spaces and quotes")));
        }
        for (key, path) in [("oidc.client_secret_file", &self.client_secret_file), ("oidc.ca_file", &self.ca_file)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
                wrong.push((key, format!("{} is not an absolute path", path.display())));
            }
        }
        wrong
    }
}

/// An address that a provider may have: https, or http on this machine's loopback (for tests and sidecars).
pub(super) fn usable(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("{text:?} is not a URL ({e})"))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let is_local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match url.scheme() {
        "https" => {}
        "http" if is_local => {}
        _ => return Err(format!("{text:?} is not https")),
    }
    if host.is_empty() || !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(format!("{text:?} has no host, or holds a user, a password or a fragment"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> OidcSettings {
        serde_json::from_str(text).expect("settings")
    }

    #[test]
    fn the_least_is_enough() {
        let least = of(r#"{"issuer":"https://login.example/realms/ops","client_id":"drydock"}"#);
        assert_eq!(least.problems(), []);
        assert!(!least.create_users && least.groups_claim.is_none());
        assert_eq!(least.scopes, ["profile", "email"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, key) in [
            (r#"{"issuer":"http://login.example","client_id":"d"}"#, "oidc.issuer"),
            (r#"{"issuer":"https://u:p@login.example","client_id":"d"}"#, "oidc.issuer"),
            (r#"{"issuer":"login.example","client_id":"d"}"#, "oidc.issuer"),
            (r#"{"issuer":"https://a","client_id":""}"#, "oidc.client_id"),
            (r#"{"issuer":"https://a","client_id":"d","scopes":["a b"]}"#, "oidc.scopes"),
            (r#"{"issuer":"https://a","client_id":"d","label":"a\nb"}"#, "oidc.label"),
            (r#"{"issuer":"https://a","client_id":"d","ca_file":"ca.pem"}"#, "oidc.ca_file"),
            (r#"{"issuer":"https://a","client_id":"d","client_secret_file":"s"}"#, "oidc.client_secret_file"),
        ] {
            assert_eq!(of(text).problems().first().map(|p| p.0), Some(key), "{text}");
        }
        assert_eq!(of(r#"{"issuer":"http://127.0.0.1:5556/dex","client_id":"d"}"#).problems(), []);
    }
}
