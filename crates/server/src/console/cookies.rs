//! Cookies of the console, and where a browser may be sent on to.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// The session's id. `__Host-`: only over TLS, only this host, every path.
pub(super) const SESSION_COOKIE: &str = "__Host-drydock-session";
/// An address to go to after sign-in, bytes.
pub(super) const NEXT_MAX_BYTES: usize = 2048;

/// `path` when it stays on this server, else the first page: nobody is sent elsewhere by a link to our sign-in.
pub(super) fn local_path(path: &str) -> &str {
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let local = path.starts_with('/') && !path.starts_with("//") && plain && path.len() <= NEXT_MAX_BYTES;
    if local && !path.starts_with("/sign-") && path != "/overview/live" { path } else { "/" }
}

/// The value of a cookie; an empty one is none.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    all.flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
        .filter(|value| !value.is_empty())
}

/// A cookie that no script reads and no other site sends.
pub(super) fn set_cookie(name: &str, value: &str, max_age_secs: i64) -> String {
    format!("{name}={value}; Path=/; Max-Age={max_age_secs}; Secure; HttpOnly; SameSite=Strict")
}

/// The response with these cookies set.
pub(super) fn with_cookies<const N: usize>(response: impl IntoResponse, cookies: [String; N]) -> Response {
    let mut response = response.into_response();
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_in_leads_nowhere_else() {
        for path in
            ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "", "/sign-out", "/a b", "/a\nb"]
        {
            assert_eq!(local_path(path), "/", "{path:?}");
        }
        assert_eq!(local_path("/patch-jobs?state=PATCHING"), "/patch-jobs?state=PATCHING");
    }

    #[test]
    fn a_cookie_is_found_among_others_and_an_empty_one_is_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; __Host-drydock-session=abc; b=2"));
        assert_eq!(cookie(&headers, SESSION_COOKIE), Some("abc".into()));
        assert_eq!(cookie(&headers, "c"), None);
        assert!(set_cookie(SESSION_COOKIE, "x", 1).contains("Secure; HttpOnly; SameSite=Strict"));
    }
}
