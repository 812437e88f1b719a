//! URLs as operators give them: what is refused early, with the reason. Absent on purpose: a full parser (the HTTP
//! client has one) and looking anything up.

use crate::validate::Problems;

/// Longest URL, bytes.
pub const URL_MAX_BYTES: usize = 2048;
/// Longest host name, bytes.
const HOST_MAX_BYTES: usize = 253;
/// What stands for a password that is stored and not shown.
pub const HIDDEN_PASSWORD: &str = "********";
/// Variables of yum and dnf that only hosts know.
const YUM_VARIABLES: [&str; 4] = ["$releasever", "$basearch", "$arch", "${"];

/// A directory of a repository: files are named below it, so it has no query.
pub(super) fn check_base_url(field: &str, url: &str, problems: &mut Problems) {
    if let Err(why) = http_url(url) {
        problems.add(field, why);
    } else if url.contains('?') {
        problems.add(field, "holds a query (?…), below which no file can be named; give the directory's URL");
    }
}

/// A list of mirrors: one document.
pub(super) fn check_list_url(field: &str, url: &str, problems: &mut Problems) {
    if let Err(why) = http_url(url) {
        problems.add(field, why);
    }
}

/// `http://[user:password@]host[:port]`.
pub(super) fn check_proxy(field: &str, url: &str, problems: &mut Problems) {
    let form = "is http://host:port or http://user:password@host:port";
    if let Some(why) = bad_text(url) {
        return problems.add(field, why);
    }
    let Some(rest) = url.strip_prefix("http://") else {
        return problems.add(field, format!("{form}; other kinds of proxies are not supported"));
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    if user.is_some_and(|u| u.is_empty() || u.starts_with(':') || u.contains(['/', '?', '#', '@'])) {
        return problems.add(field, format!("{form}; write / ? # @ inside a password as %2F %3F %23 %40"));
    }
    if user.is_some_and(|u| u.ends_with(&format!(":{HIDDEN_PASSWORD}"))) {
        return problems.add(field, "has the stars in place of its password that stand for the stored one; write the password");
    }
    if let Err(why) = authority(host) {
        problems.add(field, format!("{form}; {why}"));
    }
}

/// Checks an `http://` or `https://` URL of something to fetch.
fn http_url(url: &str) -> Result<(), String> {
    if let Some(why) = bad_text(url) {
        return Err(why);
    }
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or("begins with http:// or https://")?;
    if url.contains('#') {
        return Err("holds a fragment (#…); leave it out".to_owned());
    }
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if host.contains('@') {
        return Err("holds a user name or password; use a client certificate or a proxy instead".to_owned());
    }
    authority(host)?;
    if let Some(variable) = YUM_VARIABLES.into_iter().find(|v| url.contains(v)) {
        return Err(format!("holds {variable}, which only a host knows; write the value, one source for each"));
    }
    Ok(())
}

fn bad_text(url: &str) -> Option<String> {
    if url.len() > URL_MAX_BYTES {
        return Some(format!("is {} bytes long; at most {URL_MAX_BYTES} are allowed", url.len()));
    }
    let bad = url.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '\\' | '"' | '<' | '>' | '`' | '^' | '|'))?;
    Some(format!("holds {bad:?}; write it percent-encoded"))
}

/// `host[:port]`, with IPv6 addresses in brackets.
fn authority(text: &str) -> Result<(), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or("has no ] after an IPv6 address")?;
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(format!("{address} is no IPv6 address"));
        }
        (None, after)
    } else {
        let (host, _) = text.split_once(':').unwrap_or((text, ""));
        (Some(host), &text[host.len()..])
    };
    if let Some(host) = host {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if host.is_empty() || host.len() > HOST_MAX_BYTES || !host.bytes().all(fine) || host.starts_with(['.', '-']) {
            return Err("has no host name after ://".to_owned());
        }
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(()),
        Some(number) if number.parse::<u16>().is_ok_and(|n| n != 0) => Ok(()),
        _ => Err("has a port that is not a number from 1 to 65535".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(check: fn(&str, &str, &mut Problems), url: &str) -> Option<String> {
        let mut problems = Problems::default();
        check("u", url, &mut problems);
        problems.finish().err().map(|e| e.to_string())
    }

    #[test]
    fn urls_of_repositories() {
        for good in [
            "http://h",
            "https://repo.example/OracleLinux/OL9/baseos/latest/x86_64/",
            "https://h:8443/a%20b/~x/+y",
            "http://127.0.0.1:8080/x",
            "http://[::1]:8080/x",
            "http://under_score.example/x$y",
        ] {
            assert_eq!(refusal(check_base_url, good), None, "{good}");
        }
        for (bad, says) in [
            ("", "http://"),
            ("HTTP://h/", "http://"),
            ("file:///srv/x", "http://"),
            ("http:///x", "no host"),
            ("http://-o/x", "no host"),
            ("https://u:p@h/x", "password"),
            ("https://u@h/x", "password"),
            ("https://h/x#y", "fragment"),
            ("https://h/x?y=1", "query"),
            ("https://h:0/", "port"),
            ("https://h:99999/", "port"),
            ("https://[::g]/", "IPv6"),
            ("https://[::1/", "]"),
            ("https://h/a b", "percent"),
            ("https://h/\n", "percent"),
            ("https://h\\x/", "percent"),
            ("https://bücher.example/", "percent"),
            ("https://h/$releasever/$basearch/", "$releasever"),
        ] {
            let why = refusal(check_base_url, bad);
            assert!(why.as_ref().is_some_and(|w| w.contains(says)), "{bad}: {why:?}");
        }
        assert!(refusal(check_base_url, &format!("https://h/{}", "x".repeat(URL_MAX_BYTES))).is_some());
        assert_eq!(refusal(check_list_url, "https://h/x?repo=a&arch=b"), None);
    }

    #[test]
    fn proxies() {
        for good in ["http://p:3128", "http://p", "http://p:3128/", "http://u:p%40@p.example:3128", "http://u@[::1]:1"] {
            assert_eq!(refusal(check_proxy, good), None, "{good}");
        }
        for bad in [
            "https://p:1",
            "p:3128",
            "http://p:1/x",
            "http://@p:1",
            "http://:x@p:1",
            "http://u:a@b@p:1",
            "http://u:********@p:1",
            "http://",
        ] {
            assert!(refusal(check_proxy, bad).is_some(), "{bad}");
        }
    }
}
