//! Secrets inside specifications of sources: written, never shown again, and kept when an edit leaves them out.
//!
//! A client key is shown as absent. A password of a proxy is shown as [`HIDDEN`]; a spec that comes back with that word
//! in the password's place means the password that is stored, so that what was read can be edited and written back.
//! URLs of upstreams hold no passwords: they are refused there.

use drydock_domain::source::spec::{Origin, SourceSpec};
use drydock_domain::source::url::HIDDEN_PASSWORD as HIDDEN;

/// The spec as people may see it.
pub(super) fn redacted(mut spec: SourceSpec) -> SourceSpec {
    if let Origin::Upstream(upstream) = &mut spec.origin {
        upstream.client_key_pem = None;
        upstream.proxy = upstream.proxy.take().map(|proxy| with_password(&proxy, HIDDEN));
    }
    spec
}

/// The new spec, with the old one's secrets where the new one leaves them out.
pub(super) fn merged(old: &SourceSpec, mut new: SourceSpec) -> SourceSpec {
    let (Origin::Upstream(before), Origin::Upstream(after)) = (&old.origin, &mut new.origin) else { return new };
    // A key belongs to its certificate: a new certificate without a key does not get the old one's.
    if after.client_key_pem.is_none() && after.client_certificate_pem == before.client_certificate_pem {
        after.client_key_pem.clone_from(&before.client_key_pem);
    }
    if let Some(proxy) = &mut after.proxy {
        restore(proxy, before.proxy.as_deref());
    }
    new
}

/// Puts the stored password back into a proxy that came back hidden, when it is the same proxy and user.
fn restore(proxy: &mut String, before: Option<&str>) {
    if let Some(stored) = before.filter(|b| password(proxy) == Some(HIDDEN) && with_password(b, HIDDEN) == *proxy) {
        stored.clone_into(proxy);
    }
}

/// Where the password of `scheme://user:password@host` lies.
fn password_at(url: &str) -> Option<(usize, usize)> {
    let authority = url.find("://")? + 3;
    let rest = &url[authority..];
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let at = rest[..end].rfind('@')?;
    let colon = rest[..at].find(':')?;
    Some((authority + colon + 1, authority + at))
}

fn password(url: &str) -> Option<&str> {
    password_at(url).map(|(from, to)| &url[from..to])
}

fn with_password(url: &str, with: &str) -> String {
    match password_at(url) {
        Some((from, to)) => format!("{}{with}{}", &url[..from], &url[to..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(upstream: &str) -> SourceSpec {
        let json = format!(r#"{{"name":"a","format":"rpm","origin":{{"upstream":{upstream}}}}}"#);
        serde_json::from_str(&json).expect("a spec")
    }

    #[test]
    fn secrets_are_not_shown_and_come_back_with_an_edit() {
        let stored = spec(
            r#"{"urls":["https://up.example/x"],"proxy":"http://u:secret@proxy:3128","clientCertificatePem":"C","clientKeyPem":"K"}"#,
        );
        let shown = redacted(stored.clone());
        let text = serde_json::to_string(&shown).expect("JSON");
        for secret in ["secret", "\"K\""] {
            assert!(!text.contains(secret), "{text}");
        }
        assert_eq!(merged(&stored, shown), stored, "what was shown can be written back");
        let other =
            r#"{"urls":["https://up.example/x"],"proxy":"http://u:********@evil.example:3128","clientCertificatePem":"D"}"#;
        let after = merged(&stored, spec(other));
        assert_eq!(after, spec(other), "a password does not go to another host, a key not to another certificate");
    }

    #[test]
    fn a_url_without_a_password_stays() {
        for url in ["http://proxy:3128", "http://user@proxy:3128/a:b@c", "nonsense", "https://h/p?x=a:b@c"] {
            assert_eq!(with_password(url, HIDDEN), url);
        }
        assert_eq!(password("http://u:a@b@h/"), Some("a@b"));
    }
}
